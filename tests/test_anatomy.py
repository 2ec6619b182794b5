"""Machine code for those who look at it: the right kernels, their loops, the hot instructions; the demo."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinygrad_conv.kernels.geometry import conv_geometry

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import anatomy, ir  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


def conv(c: int, o: int, k: int, operation: str = "conv2d") -> list[str]:
    geometry = conv_geometry("conv2d", (12, 12), (k, k), 1, 1, 1, 1)
    x, w = np.ones((4, c, 12, 12), np.float32), np.ones((o, c, k, k), np.float32)
    g = np.ones((4, o, *geometry.out), np.float32)
    call = {"conv2d": (x, w, None), "input_adjoint": (g, w, None), "weight_adjoint": (g, x)}[operation]
    return [name for name, _ in anatomy.kernels_of(operation, *call, geometry)]


def test_the_kernels_of_a_call_are_those_that_it_runs():
    for _ in range(2):  # whatever was made before
        assert conv(6, 16, 5) == ["gather", "pack"]
        assert conv(32, 32, 3) == ["pack", "weights", "forward"]
        assert conv(32, 32, 3, "weight_adjoint") == ["adjoint", "filters"]
        assert conv(6, 16, 5, "weight_adjoint") == ["correlate"]


def test_a_nest_shows_each_loop_within_the_one_around_it_and_counts_its_instructions():
    code = ir.Code("float", x=ir.POINTER, n=ir.INDEX)
    x, n = code.arguments
    vector = code.vector(4)
    for i in code.range(0, n):
        for j in code.range(0, 8, 4):
            v = code.load(x, i * 8 + j, vector)
            code.store(code.fma(v, v, code.fma(v, v, v)), x, i * 8 + j)
        code.store(code.load(x, 0, "float"), x, i)
    assert anatomy.nest(code).splitlines() == [
        "for i in code.range(0, n):    [1 load, 1 store]",
        "    for j in code.range(0, 8, 4):    [1 load, 2 fma, 1 store]"]


def test_the_hot_stretch_is_the_one_with_the_multiply_adds():
    text = "kernel:\n\tmov a\n.LBB0_1:\n\tvfmadd231ps x\n\tjmp .LBB0_1\n.LBB0_2:\n\tvfmadd213pd y\n\tvfmadd213pd z\n.LBB0_3:\n\tret"
    assert anatomy.hottest(text) == ".LBB0_2:\n\tvfmadd213pd y\n\tvfmadd213pd z"
    assert anatomy.hottest("kernel:\n\tret") == ""
    code = anatomy.fma_loop("float", 4, 3)
    assert len(re.findall("fma|fml", anatomy.hottest(anatomy.assembly(code)))) >= 3 * anatomy.UNROLLED


def test_the_peak_is_above_what_kernels_reach_by_the_definition():
    assert anatomy.peak("float32") > 1e9


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "demos.machine_code", *arguments], cwd=ROOT, capture_output=True, text=True,
                          timeout=120)


@pytest.mark.parametrize("operation", ["conv2d", "input_adjoint", "weight_adjoint"])
def test_the_demo_shows_loops_text_instructions_and_speed(operation):
    said = run("--operation", operation, "--batch", "2", "--channels", "6", "--filters", "16", "--kernel", "5", "--show", "nest",
               "hot", "ir", "assembly")
    assert said.returncode == 0, said.stderr
    out = said.stdout
    grown = 5 * 5 * 6 * 16 * 2 * 14 * 14 / 1e6
    assert f"{operation} of 2x" in out and f"{grown:.1f} million multiply-adds" in out
    for family in ("compiled", "numpy"):
        assert re.search(rf"{family} +[\d.]+ ms +[\d.]+ GFLOP/s +\d+% of the \d+ that", out)
    assert "for u in code.range(first, last):" in out and "define internal void @body" in out and ", the CPU's instructions" in out


def test_the_demo_refuses_what_is_no_convolution():
    said = run("--channels", "6", "--filters", "4", "--groups", "4")
    assert said.returncode == 1 and said.stderr.strip() == "channels (6) and filters (4) must be divisible by groups, 4"
    said = run("--kernel", "30", "--padding", "0")
    assert said.returncode != 0 and "kernel" in said.stderr and "Traceback" not in said.stderr
    assert run("--size", "0").returncode == 2


def test_without_llvm_the_demo_says_what_to_install():
    code = "import sys; sys.modules['llvmlite'] = None; from demos.machine_code import main; sys.argv = ['x']; main()"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert said.returncode == 1 and "install the extra: pip install '.[fast]'" in said.stderr
