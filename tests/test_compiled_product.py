"""Matrix products in machine code: NumPy's numbers, for operands of any layout, and nothing else touched."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import table

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import machine, product  # noqa: E402

LAYOUTS = {
    "rows": lambda a: a, "columns": np.asfortranarray, "every second": lambda a: np.repeat(np.repeat(a, 2, 1), 3, 0)[::3, ::2],
    "rows apart": lambda a: np.hstack([a, a])[:, :a.shape[1]], "upside down": lambda a: a[::-1].copy()[::-1],
    "one row for all": lambda a: np.broadcast_to(a[:1], a.shape), "one column for all": lambda a: np.broadcast_to(a[:, :1], a.shape)}
SHAPES = [(1, 1, 1), (1, 400, 120), (2, 3, 4), (7, 16, 5), (5, 1, 70), (13, 33, 17), (64, 10, 84), (64, 64, 64), (6, 129, 65),
          (25, 7, 100), (3, 300, 1), (70, 31, 200)]


def near(found: np.ndarray, x: np.ndarray, y: np.ndarray) -> None:
    assert found.dtype == x.dtype
    x, y = x.astype(np.float64), y.astype(np.float64)
    assert found.shape == (len(x), y.shape[1])
    assert (np.abs(found - x @ y) <= max(4, len(y)) * np.finfo(found.dtype).eps * (np.abs(x) @ np.abs(y))).all()


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_products_of_any_layout_equal_numpys(rng, left, right):
    for kind in (np.float32, np.float64):
        for m, k, n in [SHAPES[i] for i in rng.choice(len(SHAPES), 3, replace=False)]:
            x, y = LAYOUTS[left](rng.standard_normal((m, k)).astype(kind)), LAYOUTS[right](rng.standard_normal((k, n)).astype(kind))
            near(product.product(x, y), x, y)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_any_shape_equal_numpys(rng, shape, kind):
    m, k, n = shape
    x, y = rng.standard_normal((m, k)).astype(kind), rng.standard_normal((k, n)).astype(kind)
    near(product.product(x, y), x, y)
    near(product.product(x, np.asfortranarray(y)), x, y)
    near(product.product(np.asfortranarray(x), np.asfortranarray(y)), x, y)
    b = rng.standard_normal(n).astype(kind)
    for bias in (None, b, np.repeat(b, 2)[::2]):
        found = product.linear(np.asfortranarray(x), y.T, bias)
        near(found - (0 if bias is None else bias), x, y) if bias is None else np.testing.assert_allclose(
            found, x.astype(np.float64) @ y + b, rtol=1e-4, atol=1e-4 * (np.abs(x) @ np.abs(y)).max())


def test_nan_and_inf_travel_as_in_numpy(rng):
    for bad in (np.nan, np.inf, -np.inf):
        for which in range(2):
            x, y = rng.standard_normal((9, 21)), rng.standard_normal((21, 35))
            (x, y)[which][4, 7] = bad
            (y, x)[which][(7, slice(None)) if which == 0 else (slice(None), 4)] = 0
            for a, b in ((x, y), (x, np.asfortranarray(y)), (np.asfortranarray(x), np.asfortranarray(y))):
                with np.errstate(invalid="ignore"):
                    np.testing.assert_array_equal(np.isnan(product.product(a, b)), np.isnan(x @ y))


@pytest.mark.parametrize("width, registers", [(32, 16), (16, 16), (16, 32)])
def test_registers_of_other_sizes_give_the_same_numbers(rng, monkeypatch, width, registers):
    narrow = machine.target()._replace(width=width, registers=registers)
    for module in (product, sys.modules["tinygrad_conv.kernels.compiled.arrays"]):
        monkeypatch.setattr(module, "target", lambda: narrow)
    x, y = rng.standard_normal((25, 33)), rng.standard_normal((33, 41))
    near(product.product(x, y), x, y)
    near(product.product(x, np.asfortranarray(y)), x, y)


def test_large_products_go_to_machine_code_and_small_ones_do_not(rng, monkeypatch):
    names = []
    for name in ("product", "linear"):
        monkeypatch.setattr(product, name, lambda *call, name=name, real=getattr(product, name): (names.append(name), real(*call))[1])
    w, b = tg.tensor(rng.standard_normal((120, 400)), requires_grad=True), tg.ones(120, requires_grad=True, dtype=np.float64)
    x = tg.tensor(rng.standard_normal((64, 400)), requires_grad=True)
    g = tg.ones(64, 120)
    tg.linear(x, w, b).backward(g)
    assert names == ["linear", "product", "product"]
    np.testing.assert_allclose(w.grad.data, np.ones((120, 64)) @ x.data, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(x.grad.data, np.ones((64, 120)) @ w.data, rtol=1e-10, atol=1e-10)
    names.clear()
    tg.linear(x[:2], w[:3])
    tg.matmul(np.ones((300, 300), np.int64), np.ones((300, 300), np.int64))
    assert names == []


def test_misaligned_operands_are_left_to_numpy(rng):
    x = rng.standard_normal((40, 90))
    shifted = np.frombuffer(b"0" + x.tobytes(), np.float64, offset=1).reshape(x.shape)
    with tg.use_kernels("compiled"):
        np.testing.assert_allclose(table.run("matmul", shifted, shifted.T), x @ x.T, rtol=1e-12)


def test_results_are_the_same_bits_every_time(rng):
    x, y = rng.standard_normal((64, 300), np.float32), rng.standard_normal((300, 90), np.float32)
    first = product.product(x, y), product.linear(x, np.ascontiguousarray(y.T), None)
    for _ in range(30):
        assert np.array_equal(product.product(x, y), first[0])
        assert np.array_equal(product.linear(x, np.ascontiguousarray(y.T), None), first[1])


PROTECTED = """
import sys
from tests import test_compiled as fences
exec(fences.PROTECTED[:fences.PROTECTED.index("rng = ")])
from tinygrad_conv.kernels.compiled import product
from tests.test_compiled_product import SHAPES

rng = np.random.default_rng(int(sys.argv[1]))
for m, k, n in SHAPES:
    at_end, kind = bool(rng.integers(2)), rng.choice([np.float32, np.float64])
    product.np = Numpy(at_end)
    x, y, w = [product.np.ascontiguousarray(rng.standard_normal(s), kind) for s in ((m, k), (k, n), (n, k))]
    product.product(x, y), product.product(x, w.T), product.product(y.T, x.T), product.linear(x, w, None)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_products_stay_inside_their_arrays(seed):
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
