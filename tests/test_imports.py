"""Importing both packages loads NumPy and the standard library, and nothing else."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
