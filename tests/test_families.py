"""Which family of kernels computes, and who says so: where LLVM is there, where it is not, and where it is of no use."""
from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.families import FAMILIES
from tinygrad_conv.kernels import memory, table

HIDDEN = """
import importlib.machinery, sys
find = importlib.machinery.PathFinder.find_spec
importlib.machinery.PathFinder.find_spec = lambda name, *rest: None if name == "llvmlite" else find(name, *rest)
"""
STEP = """
import numpy as np
import tinygrad_conv as tg
x, w = tg.ones(8, 3, 16, 16, requires_grad=True), tg.ones(8, 3, 3, 3, requires_grad=True)
tg.max_pool2d(tg.conv2d(x, w), 2).sum().backward()
"""


def said(code: str, **environment: str) -> str:
    """What a process of its own prints: the end of its error, if there is one."""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                         env={**os.environ, **environment})
    return run.stdout + run.stderr


def test_where_llvm_is_absent_numpy_computes_and_it_is_said_how_to_get_it():
    text = said(HIDDEN + STEP + "print(tg.kernels_in_use(), tg.show_config(), sep='\\n')")
    assert text.startswith("numpy\n") and "llvmlite" not in said(HIDDEN + STEP + "print(*sys.modules)").split()
    assert "\nkernels          numpy; machine code needs pip install 'tinygrad_conv[fast]'\n" in text


def test_where_llvm_is_absent_the_family_is_refused_by_name():
    text = said(HIDDEN + "import tinygrad_conv as tg\ntg.use_kernels('compiled')")
    assert text.splitlines()[-1] == ("ImportError: use_kernels: the family 'compiled' is not here; it needs the "
                                     "extra: pip install 'tinygrad_conv[fast]'")


@pytest.mark.skipif("compiled" not in FAMILIES, reason="needs llvmlite")
@pytest.mark.parametrize(("what", "why"), [
    ("llvmlite.binding.llvm_version_info = (15, 0, 7)", "is too old: pip install 'tinygrad_conv[fast]'"),
    ("llvmlite.binding.initialize_native_target = lambda: exec('raise OSError(7)')", "7")])
def test_where_llvm_is_of_no_use_numpy_computes_with_one_warning(what, why):
    text = said(f"import llvmlite.binding\n{what}{STEP * 2}print(tg.kernels_in_use(), tg.show_config().kernels)")
    assert text.count("RuntimeWarning: kernels: no machine code can be made here, numpy computes: ") == 1
    assert why in text and "numpy numpy; machine code needs pip install" in text


def test_the_environment_says_which_family_computes_first():
    assert said("import tinygrad_conv as tg; print(tg.kernels_in_use())", TINYGRAD_CONV_KERNELS="numpy") == "numpy\n"


def test_a_family_that_is_not_here_is_told_by_the_first_op_not_by_the_import():
    text = said("import tinygrad_conv as tg; print(tg.ones(2).sum().item(), tg.show_config().kernels)" + STEP,
                TINYGRAD_CONV_KERNELS="gpu")
    assert text.startswith("2.0 TINYGRAD_CONV_KERNELS: family must be one of 'auto', ")
    assert "\nValueError: conv2d: TINYGRAD_CONV_KERNELS: family must be one of 'auto', " in text
    text = said(HIDDEN + STEP, TINYGRAD_CONV_KERNELS="compiled")
    assert "ImportError: TINYGRAD_CONV_KERNELS: the family 'compiled' is not here; it needs the extra" in text


def test_a_family_of_ones_own_may_be_registered_after_the_import():
    own = "from tinygrad_conv.kernels import table; table.register('mine', 'conv2d', lambda *call: 1 / 0)\n"
    assert "\nin the kernel of family 'mine' for conv2d\n" in said(own + STEP, TINYGRAD_CONV_KERNELS="mine")


def test_a_choice_holds_although_the_environment_is_wrong(monkeypatch):
    monkeypatch.setattr(table, "_process", [])
    monkeypatch.setenv(table.VARIABLE, "gpu")
    with tg.use_kernels("numpy"):
        assert tg.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3))).item() == 9
    with pytest.raises(ValueError, match="TINYGRAD_CONV_KERNELS"):
        tg.kernels_in_use()


def test_threads_that_choose_for_a_block_at_once_leave_the_process_as_it_was():
    before = tg.kernels_in_use()
    first, second = tg.use_kernels("numpy"), tg.use_kernels("auto")
    for choice in (first, second):
        contextvars.copy_context().run(choice.__enter__)
    assert tg.kernels_in_use() == before and tg.show_config().kernels.startswith("auto") == (before == "auto")
    for _ in range(2):
        with first:
            assert tg.kernels_in_use() == "numpy"
    assert tg.kernels_in_use() == before


def test_show_config_says_which_family_computes_and_why():
    found = tg.show_config()
    assert found.kernels.endswith("numpy" if "compiled" in FAMILIES else "'tinygrad_conv[fast]'")
    if "compiled" in FAMILIES:
        assert found.kernels.startswith("auto: compiled (LLVM ") and os.environ["TINYGRAD_CONV_CODE"] in found.kernels
    with tg.use_kernels("numpy"):
        assert tg.show_config().kernels.startswith("numpy")


def test_malloc_is_told_unless_the_environment_says_off(monkeypatch):
    told = []
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: type("C", (), {"mallopt": lambda *call: told.append(call)}))
    monkeypatch.setattr(sys, "platform", "linux")
    memory.keep_memory()
    assert len(told) == 3 and "TINYGRAD_CONV_MALLOC=off" in tg.show_config().memory
    monkeypatch.setenv(memory.VARIABLE, "off")
    memory.keep_memory()
    assert len(told) == 3 and tg.show_config().memory == "malloc is left as it is"


def test_a_choice_may_be_entered_again_and_by_several_threads():
    choice = tg.use_kernels("numpy")
    before = tg.use_kernels("auto")
    with choice, choice:
        assert tg.kernels_in_use() == "numpy"
    with choice:
        pass
    done = []

    def enter():
        with choice:
            done.append(tg.kernels_in_use())
    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == ["numpy"] * 4
    with pytest.raises(RuntimeError, match="use_kernels: this block was left that was not entered"):
        choice.__exit__()
    with pytest.raises(TypeError, match="use_kernels: .*the name of a family"):
        tg.use_kernels(["numpy"])
    del before
