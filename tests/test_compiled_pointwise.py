"""Elementwise ops and sums in machine code: the numbers of NumPy's, in every layout, and nothing else touched."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.plant_errors import rewritten
from tinygrad_conv.kernels import pointwise as plain
from tinygrad_conv.kernels import table
from tinygrad_conv.kernels.total import slabs, total

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import arrays, pointwise, sums  # noqa: E402

SIZES = [1, 2, 3, 7, 8, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 70_001]
OPS = {"relu": (plain.relu, 1, ()), "relu_vjp": (plain.relu_vjp, 2, ()), "leaky_relu": (plain.leaky_relu, 1, (0.01,)),
       "leaky_relu_vjp": (plain.leaky_relu_vjp, 2, (0.3,)), "hardtanh": (np.clip, 1, (-1.0, 0.5)),
       "hardtanh_vjp": (plain.hardtanh_vjp, 2, (0.0, 6.0))}
ODD = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-300, -1e-300]


def numbers(rng: np.random.Generator, kind: type, *shape: int) -> np.ndarray:
    """Random ones, among them zeros of both signs, infinite ones and nan."""
    a = rng.standard_normal(shape).astype(kind)
    odd = rng.random(shape) < 0.3
    a[odd] = rng.choice(ODD, odd.sum()).astype(kind)
    return a


def same_bits(a: np.ndarray, b: np.ndarray) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    number = ~np.isnan(b)
    np.testing.assert_array_equal(np.signbit(a[number]), np.signbit(b[number]))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
def test_compiled_elementwise_ops_equal_those_of_numpy(rng, name, kind):
    right, count, parameters = OPS[name]
    for size in SIZES:
        operands = [numbers(rng, kind, size) for _ in range(count)]
        same_bits(pointwise.computed(name, *operands, *parameters), right(*operands, *parameters))


@pytest.mark.parametrize("slope", [0.0, 1.0, 1.5, -0.5])
def test_a_slope_may_be_any_number(rng, slope):
    x, g = numbers(rng, np.float64, 500), numbers(rng, np.float64, 500)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(pointwise.computed("leaky_relu", x, slope), plain.leaky_relu(x, slope))
        same_bits(pointwise.computed("leaky_relu_vjp", g, x, slope), plain.leaky_relu_vjp(g, x, slope))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_sigmoid_equals_numpys_to_rounding(rng, kind):
    for size in SIZES:
        x = (numbers(rng, kind, size) * 30).astype(kind)
        found, right = pointwise.computed("sigmoid", x), plain.sigmoid(x)
        assert found.dtype == kind
        np.testing.assert_allclose(found, right, rtol=8 * np.finfo(kind).eps, atol=np.finfo(kind).tiny)


def test_every_op_of_the_table_is_tested_here():
    assert {*OPS, "sigmoid"} == set(pointwise.EXPRESSIONS)


LAYOUTS = {
    "rows first": lambda a: a, "channels last": lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "columns first": lambda a: np.asfortranarray(a), "every second": lambda a: np.repeat(a, 2, axis=3)[..., ::2],
    "backwards": lambda a: a[:, ::-1].copy()[:, ::-1], "one for all": lambda a: np.broadcast_to(a[:, :1], a.shape),
    "misaligned": lambda a: np.frombuffer(b"0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape)}
ONE_RUN = {"rows first", "channels last", "columns first"}


@pytest.mark.parametrize("other", LAYOUTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_of_any_layout_have_numpys_values_and_layout(rng, layout, other):
    g, ans = (LAYOUTS[how](rng.standard_normal((3, 4, 5, 6))) for how in (layout, other))
    assert arrays.one_run(g, ans) == (layout == other and layout in ONE_RUN)
    results = []
    for family in ("compiled", "numpy"):
        with tg.use_kernels(family):
            results.append([table.run("relu_vjp", g, ans), table.run("relu", g)])
    for found, right in zip(*results):
        same_bits(found, right)
        assert found.strides == right.strides


def test_arrays_with_gaps_or_overlaps_are_no_run():
    window = np.lib.stride_tricks.as_strided(np.arange(9.0), (3, 3), (16, 16))  # as long as a dense one, overlapping
    assert not arrays.one_run(window) and not arrays.one_run(window.T, window.T)
    assert arrays.one_run(np.zeros((3, 1, 4)).transpose(2, 1, 0)) and not arrays.one_run(np.zeros((3, 4))[:, :3])
    assert not arrays.one_run(np.zeros((3, 4)), np.zeros((4, 3))) and not arrays.one_run(np.zeros((3, 4)), np.zeros(4))


def test_large_activations_go_to_machine_code_and_small_ones_do_not(monkeypatch):
    names = []
    real = pointwise.computed
    monkeypatch.setattr(pointwise, "computed", lambda name, *call: (names.append(name), real(name, *call))[1])
    for shape, expected in (((200, 200), ["relu", "relu_vjp"]), ((20, 20), [])):
        names.clear()
        tg.relu(tg.ones(*shape, requires_grad=True)).backward(tg.ones(*shape))
        assert names == expected


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_compiled_sums_over_rows_equal_those_in_float64(rng, kind):
    for groups, count, kept in [(1, 1, 1), (1, 7, 3), (2, 8, 16), (3, 9, 17), (1, 255, 5), (1, 256, 8), (2, 257, 33), (5, 1000, 6),
                                (1, 5000, 64), (70, 40, 10), (1, 3, 300)]:
        x = rng.standard_normal((groups, count, kept)).astype(kind)
        found, right = sums.slabs(x), x.astype(np.float64).sum(1)
        assert found.dtype == kind and found.shape == right.shape
        scale = np.abs(x).astype(np.float64).sum(1)
        assert (np.abs(found - right) <= scale * np.finfo(kind).eps * 40).all()
        np.testing.assert_allclose(found, slabs(x), rtol=1e-4, atol=1e-4 * np.sqrt(count))


def test_a_sum_of_millions_keeps_its_digits(rng):
    """One running sum of float32 would be off in the third digit."""
    x = rng.random((1, 10_000_000, 2)).astype(np.float32)
    np.testing.assert_allclose(sums.slabs(x), x.astype(np.float64).sum(1), rtol=1e-6)


def test_sums_of_nan_and_inf_are_numpys(rng):
    for bad in (np.nan, np.inf, -np.inf):
        x = rng.standard_normal((2, 300, 20))
        x[1, 270, 7] = bad
        np.testing.assert_allclose(sums.slabs(x), x.sum(1), rtol=1e-12, atol=1e-12)
    x[1, 3, 7] = np.inf
    x[1, 4, 7] = -np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(sums.slabs(x), x.sum(1), rtol=1e-12, atol=1e-12)


def test_sums_over_axes_of_images_take_that_way(rng, monkeypatch):
    taken = []
    real = sums.slabs
    monkeypatch.setattr(sums, "slabs", lambda x: (taken.append(x.shape), real(x))[1])
    x = np.ascontiguousarray(rng.standard_normal((8, 20, 20, 16))).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(total(x, (0, 2, 3), False), x.sum((0, 2, 3)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(total(x, (2, 3), True), x.sum((2, 3), keepdims=True), rtol=1e-12, atol=1e-12)
    assert taken == [(1, 3200, 16), (8, 400, 16)]


@pytest.mark.parametrize("old, new", [("range(1, UNROLLED)", "range(1, UNROLLED - 1)"), ("code.loop(whole, n, 1", "code.loop(whole, whole, 1"),
                                      ("g * kept + k * width", "k * width"), ("(u % blocks) * BLOCK", "0 * BLOCK")])
def test_an_error_in_the_kernel_of_sums_is_noticed(rng, old, new):
    x = rng.standard_normal((3, 700, 20))
    assert np.allclose(sums.slabs(x), x.sum(1))
    with rewritten("sums", old, new):
        assert not np.allclose(sums.slabs(x), x.sum(1))


def test_results_are_the_same_bits_every_time(rng):
    x = rng.standard_normal((3, 5000, 12)).astype(np.float32)
    first = sums.slabs(x)
    assert all(np.array_equal(sums.slabs(x), first) for _ in range(50))


PROTECTED = """
import sys
from tests import test_compiled as cases
exec(cases.PROTECTED[:cases.PROTECTED.index("rng = ")])
from tinygrad_conv.kernels.compiled import pointwise, sums

rng = np.random.default_rng(int(sys.argv[1]))
for _ in range(60):
    at_end, kind = bool(rng.integers(2)), rng.choice([np.float32, np.float64])
    pointwise.np = sums.np = Numpy(at_end)
    def filled(*shape):
        a = fenced(shape, kind, at_end)
        a[...] = rng.standard_normal(shape)
        return a
    size = int(rng.choice([1, 3, 16, 33, 5000]))
    pointwise.computed("relu", filled(size)), pointwise.computed("relu_vjp", filled(size), filled(size))
    sums.slabs(filled(int(rng.integers(1, 4)), int(rng.integers(1, 600)), int(rng.integers(1, 40))))
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_elementwise_ops_and_sums_stay_inside_their_arrays(seed):
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
