"""log softmax in machine code: NumPy's numbers along any axis that lies side by side, and nothing else touched."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import softmax as plain
from tinygrad_conv.kernels import table

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import ir, launch, machine, softmax  # noqa: E402
from tinygrad_conv.kernels.compiled.arrays import places  # noqa: E402

SHAPES = [(1, 1), (64, 10), (5, 16), (7, 37), (1, 100), (3, 1000), (33, 8)]


def near(a: np.ndarray, b: np.ndarray, scale: float = 1.0) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=20 * np.finfo(b.dtype).eps, atol=20 * scale * np.finfo(b.dtype).eps)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_any_length_equal_numpys(rng, shape, kind):
    for size in (0.1, 5, 300):
        x, g = ((rng.standard_normal(shape) * size).astype(kind) for _ in range(2))
        y = softmax.forward(x, 1)
        near(y, plain.log_softmax(x, 1), size)
        near(softmax.adjoint(g, y, 1), plain.log_softmax_vjp(g, y, 1), np.abs(g).sum(1).max())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_exponential_is_exact_to_two_roundings_from_zero_to_infinity(kind):
    number, lanes = {np.float32: ("float", 8), np.float64: ("double", 4)}[kind]
    code = ir.Code(number, x=ir.POINTER, first=ir.INDEX, last=ir.INDEX)
    x, first, last = code.arguments
    for i in code.range(first, last):
        code.store(softmax.exponential(code, code.load(x, i * lanes, code.vector(lanes))), x, i * lanes)
    edge = np.log(float(np.finfo(kind).max))
    values = np.concatenate([np.linspace(-edge, edge, 99_989), np.linspace(-1e-3, 1e-3, 1000), [0, -0.0, np.nan, np.inf, -np.inf],
                             [-1000, 1000, -edge - 5, edge + 5, 1, -1]]).astype(kind)
    found = values.copy()
    launch.launch(machine.compiled(code), places(found), len(values) // lanes)
    with np.errstate(over="ignore", under="ignore"):
        right = np.exp(values.astype(np.longdouble))
        rounded = right.astype(kind)
    normal = np.isfinite(rounded) & (rounded > np.finfo(kind).tiny)
    assert normal.sum() > 100_000 and len(values) % lanes == 0
    assert (np.abs(found[normal] - right[normal]) <= 2 * np.finfo(kind).eps * right[normal]).all()
    np.testing.assert_array_equal(np.isnan(found), np.isnan(values))
    rest = ~normal & ~np.isnan(values)
    np.testing.assert_allclose(found[rest], rounded[rest], atol=4 * float(np.finfo(kind).smallest_subnormal), rtol=1e-6)


def test_an_axis_inside_counts_if_it_lies_side_by_side(rng):
    x = np.ascontiguousarray(rng.standard_normal((3, 5, 6, 20))).transpose(0, 3, 1, 2)  # channels last
    g = np.ascontiguousarray(rng.standard_normal((3, 5, 6, 20))).transpose(0, 3, 1, 2)
    y = softmax.forward(x, 1)
    assert y.strides == x.strides
    near(y, plain.log_softmax(x, 1))
    near(softmax.adjoint(g, y, 1), plain.log_softmax_vjp(g, y, 1), 20)
    column = np.ascontiguousarray(rng.standard_normal((40, 1, 1)))
    near(softmax.forward(column.transpose(1, 0, 2), 1), plain.log_softmax(column.transpose(1, 0, 2), 1))
    with tg.use_kernels("compiled"):  # other axes and layouts go to NumPy
        for axis in range(4):
            for a in (x, np.ascontiguousarray(x), x[:, ::2], x[:, ::-1]):
                near(table.run("log_softmax", a, axis), plain.log_softmax(a, axis))


def test_nan_and_inf_travel_as_in_numpy(rng):
    for values in ([np.nan, 1], [np.inf, 1], [-np.inf, 1], [-np.inf, -np.inf], [np.inf, -np.inf], [np.inf, np.inf]):
        for width in (2, 17, 40):
            x = rng.standard_normal((3, width))
            x[1, [0, -1]] = values
            if values == [-np.inf, -np.inf]:
                x[1] = -np.inf
            found, right = softmax.forward(x, 1), plain.log_softmax(x, 1)
            np.testing.assert_allclose(found, right, rtol=1e-12)


def test_large_ones_go_to_machine_code_and_the_loss_is_the_same(rng, monkeypatch):
    names = []
    for name in ("forward", "adjoint"):
        monkeypatch.setattr(softmax, name, lambda *call, name=name, real=getattr(softmax, name): (names.append(name), real(*call))[1])
    x, y = rng.standard_normal((300, 100)), rng.integers(0, 100, 300)
    found = []
    for family in ("auto", "numpy"):
        t = tg.tensor(x, requires_grad=True)
        with tg.use_kernels(family):
            loss = tg.cross_entropy(t, y)
            loss.backward()
        found.append((loss.data, t.grad.data))
    assert names == ["forward", "adjoint"]
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


PROTECTED = """
import sys
from tests import test_compiled as fences
exec(fences.PROTECTED[:fences.PROTECTED.index("rng = ")])
from tinygrad_conv.kernels.compiled import softmax
from tests.test_compiled_softmax import SHAPES

rng = np.random.default_rng(0)
for shape in SHAPES:
    for at_end in (False, True):
        softmax.np = Numpy(at_end)
        x, g = (softmax.np.ascontiguousarray(rng.standard_normal(shape), np.float32) for _ in range(2))
        softmax.adjoint(g, softmax.forward(x, 1), 1)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
def test_its_kernels_stay_inside_their_arrays():
    run = subprocess.run([sys.executable, "-c", PROTECTED], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
