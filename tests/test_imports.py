"""Importing both packages loads NumPy and the standard library, and nothing else."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def loaded(statement: str) -> set[str]:
    """Top-level modules loaded by a statement in a fresh interpreter."""
    code = (f"import sys; before = set(sys.modules); {statement}; "
            "print(*{m.split('.')[0] for m in set(sys.modules) - before})")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                         cwd=ROOT)
    assert not out.stderr
    return set(out.stdout.split())


def test_import_loads_only_numpy_and_the_standard_library():
    extra = loaded("import tinygrad_conv, nn") - loaded("import numpy.random")
    assert extra - set(sys.stdlib_module_names) == {"tinygrad_conv", "nn"}


def test_import_prints_nothing_and_is_quick():
    code = ("import numpy, time; t = time.process_time(); import tinygrad_conv, nn; "
            "assert time.process_time() - t < 2")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                         check=True)
    assert out.stdout == out.stderr == ""


def test_import_leaves_global_random_state_and_error_settings_alone():
    code = ("import numpy as np; np.random.seed(0); a = str(np.random.get_state()), np.geterr(); "
            "import tinygrad_conv, nn; "
            "assert a == (str(np.random.get_state()), np.geterr())")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def run(code: str) -> None:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr


def test_pictures_downloads_and_reports_are_loaded_when_first_used():
    """They take more time than the engine and the layers together."""
    run("import numpy.random, sys; before = set(sys.modules); import tinygrad_conv, nn; "
        "new = set(sys.modules) - before; "
        "late = [m for m in new if m.startswith(('tinygrad_conv.draw', 'tinygrad_conv.explain', "
        "'urllib.request', 'http.client', 'ssl', 'importlib.metadata', 'html', 'email'))]; "
        "assert not late, sorted(late)")


@pytest.mark.parametrize("first", [
    "import tinygrad_conv as tg", "import tinygrad_conv.draw.drawing", "import tinygrad_conv.draw.graph",
    "import tinygrad_conv.draw", "import tinygrad_conv.explain", "from tinygrad_conv import draw",
    "import nn", "import nn.summary", "import nn.drawing", "from nn import draw"])
def test_a_public_name_is_what_it_is_in_whatever_order_modules_are_loaded(first):
    """Loading the folder `draw` binds its name in the package, over a function that is loaded later."""
    run(f"""
{first}
import importlib, pkgutil, types
import tinygrad_conv as tg, nn
for round in range(2):
    for package, modules in ((tg, {{"advice", "arguments", "explain"}}), (nn, {{"data", "init", "models", "onnx", "parallel"}})):
        for name in package.__all__:
            value = getattr(package, name)
            assert isinstance(value, types.ModuleType) == (name in modules), (package, name, value)
            assert name in dir(package), name
    assert callable(tg.draw) and callable(nn.draw) and callable(nn.summary) and callable(tg.graph)
    for package in (tg, nn):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            importlib.import_module(info.name)
""")


@pytest.mark.parametrize("package", ["tinygrad_conv", "nn"])
def test_everything_public_comes_with_a_star(package):
    run(f"import {package}; names = set({package}.__all__); from {package} import *; "
        "missing = names - set(globals()); assert not missing, missing")
