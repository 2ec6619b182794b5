"""Batch norm in machine code: numbers of float64 in every layout, digits kept, nothing else touched."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import norm as plain
from tinygrad_conv.kernels import table

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import norm  # noqa: E402

IMAGES = (0, 2, 3)
EPS = 1e-5


def last(a: np.ndarray) -> np.ndarray:
    """Channels last in memory."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


LAYOUTS = {"channels last": last, "channels first": np.ascontiguousarray}
both_layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
both_kinds = pytest.mark.parametrize("kind", [np.float32, np.float64])


def exact(x, g, w, b, axes, eps=EPS):
    """All that the kernels return, by the formulas, in long double."""
    x, g, w, b = (a.astype(np.longdouble) for a in (x, g, w, b))

    def mean(a):
        return a.mean(axes, keepdims=True)
    m = mean(x)
    var = mean((x - m) ** 2)
    r = 1 / np.sqrt(var + eps)
    hat, u = (x - m) * r, g * w
    dx = r * (u - mean(u) - hat * mean(u * hat))
    return hat * w + b, m, var, dx, (g * hat).sum(axes, keepdims=True), g.sum(axes, keepdims=True)


def found(module, x, g, w, b, axes, eps=EPS):
    return (*module.normalize(x, w, b, axes, eps), *module.normalize_adjoint(g, x, w, axes, eps, w.shape))


def operands(rng, shape, axes, kind, layout=np.ascontiguousarray):
    small = [1 if i in axes else n for i, n in enumerate(shape)]
    x, g = (layout((rng.standard_normal(shape) * 2 + 1).astype(kind)) for _ in range(2))
    return x, g, *(rng.uniform(0.5, 1.5, small).astype(kind) for _ in range(2))


def compare(x, g, w, b, axes, tolerance: float) -> None:
    """With the formulas; sums may be off in proportion to what they are sums of."""
    assert norm.serves(x, axes, w.shape, b.shape)
    right, ours = exact(x, g, w, b, axes), found(norm, x, g, w, b, axes)
    sums = np.abs(right[4]).max() + np.abs(g).sum(axes, dtype=float).max()
    scales = [1 + np.abs(right[0]).max(), np.abs(x).max(), np.abs(x).max() ** 2 / 4, np.abs(g * w / np.sqrt(right[2] + EPS)).max(),
              sums, sums]
    for a, e, scale in zip(ours, right, scales):
        assert a.dtype == x.dtype and a.shape == e.shape
        np.testing.assert_allclose(a, e.astype(np.float64), rtol=0, atol=tolerance * float(scale))
    assert ours[0].strides == ours[3].strides == np.empty_like(x).strides


@both_kinds
@both_layouts
def test_batch_norm_of_images_equals_the_formulas(rng, layout, kind):
    for shape in [(2, 1, 3, 3), (4, 2, 5, 3), (3, 7, 6, 6), (5, 8, 4, 9), (3, 15, 7, 5), (2, 16, 9, 8), (3, 17, 8, 8),
                  (2, 33, 13, 10), (1, 64, 12, 11), (2, 130, 4, 3), (1, 515, 3, 3), (70, 3, 6, 7), (2, 5, 70, 65), (1, 1, 1, 3),
                  (300, 24, 1, 1), (6, 31, 1, 9)]:
        compare(*operands(rng, shape, IMAGES, kind, layout), IMAGES, {np.float32: 2e-6, np.float64: 3e-15}[kind])


@both_kinds
@pytest.mark.parametrize("shape, axes", [
    ((5, 3), (0,)), ((129, 40), (0,)), ((40, 129), (1,)), ((3, 4, 50), (0, 2)), ((2, 3, 4, 5), (2, 3)), ((6, 7, 8), (2,)),
    ((3, 2, 4, 2, 3), (0, 2, 3, 4)), ((2, 3, 4, 5000), (3,)), ((60, 70), (0, 1)), ((1, 9, 1), (0, 2))])
def test_other_axes_equal_the_formulas(rng, shape, axes, kind):
    compare(*operands(rng, shape, axes, kind), axes, {np.float32: 2e-6, np.float64: 3e-15}[kind])


@both_kinds
def test_sizes_around_vectors_and_blocks(rng, kind):
    lanes = norm.lanes_for(norm.NUMBERS[np.dtype(kind)], 100)
    sizes = [1, 2, lanes - 1, lanes, lanes + 1, norm.BLOCK - 1, norm.BLOCK, norm.BLOCK + 1, norm.BLOCK * lanes - 1,
             norm.BLOCK * lanes, norm.BLOCK * lanes + 1, 2 * norm.BLOCK * lanes + lanes + 1]
    for n in sizes:
        for kept in (2, lanes + 1):
            x, g, w, b = operands(rng, (n, kept), (0,), kind)
            tolerance = {np.float32: 4e-6, np.float64: 1e-14}[kind]
            compare(x, g, w, b, (0,), tolerance)
            compare(*(np.ascontiguousarray(a.T) for a in (x, g, w, b)), (1,), tolerance)


@both_layouts
@pytest.mark.parametrize("mean, std", [(0, 1), (1e4, 1), (-1e4, 0.1), (1e6, 10), (0, 1e-6), (3e-5, 1e-6)])
def test_a_large_mean_costs_no_digits_in_float32(rng, layout, mean, std):
    x, g, w, b = operands(rng, (16, 20, 24, 24), IMAGES, np.float32, layout)
    x = layout((mean + std * rng.standard_normal(x.shape)).astype(np.float32))
    right, ours = exact(x, g, w, b, IMAGES, 1e-14), found(norm, x, g, w, b, IMAGES, 1e-14)
    np.testing.assert_allclose(ours[2], right[2].astype(float), rtol=2e-6)
    np.testing.assert_allclose(ours[0], right[0].astype(float), rtol=1e-5, atol=3e-6)
    np.testing.assert_allclose(ours[3], right[3].astype(float), atol=2e-6 * float(np.abs(right[3]).max()))
    np.testing.assert_allclose(ours[4], right[4].astype(float), atol=1e-6 * float(np.abs(g).sum(IMAGES).max()))


@both_layouts
def test_what_is_looked_at_first_may_be_far_from_the_rest(rng, layout):
    """The origin, and a block's own centre, are no more than a good choice."""
    x, g, w, b = operands(rng, (16, 20, 24, 24), IMAGES, np.float32, layout)
    x = layout(np.where(np.arange(x.size).reshape(x.shape) % 10_000 == 0, 1e3, x + 1e3).astype(np.float32))
    x[0, :, 0, 0], x[3] = -5e3, 0
    right, ours = exact(x, g, w, b, IMAGES), found(norm, x, g, w, b, IMAGES)
    np.testing.assert_allclose(ours[2], right[2].astype(float), rtol=1e-5)
    np.testing.assert_allclose(ours[3], right[3].astype(float), atol=1e-5 * float(np.abs(right[3]).max()))


@both_layouts
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_travel_as_in_numpy(rng, layout, bad):
    for place in [(0, 2, 0, 0), (1, 2, 7, 3), (2, 2, 8, 8)]:  # the first entry of all, one inside, the last
        for which in (0, 1):
            call = [*operands(rng, (3, 20, 9, 9), IMAGES, np.float32, layout)]
            call[which][place] = bad
            with np.errstate(all="ignore"):
                ours, numpys = found(norm, *call, IMAGES), found(plain, *call, IMAGES)
            for a, e in zip(ours, numpys):
                np.testing.assert_array_equal(np.isfinite(a), np.isfinite(e))
                np.testing.assert_array_equal(np.isnan(a), np.isnan(e))


@both_layouts
def test_squares_that_overflow_leave_the_mean(rng, layout):
    x, _, w, b = operands(rng, (3, 20, 9, 9), IMAGES, np.float32, layout)
    x[0, 2, 0, 0] = x[2, 2, 8, 8] = 1e38
    y, mean, var = norm.normalize(x, w, b, IMAGES, EPS)
    np.testing.assert_allclose(mean, x.mean(IMAGES, np.float64, keepdims=True), rtol=1e-6, atol=1e-6)
    assert np.isinf(var).ravel().tolist() == [k == 2 for k in range(20)] and (y[:, 2] == b[0, 2]).all()


@both_layouts
def test_constants_have_no_spread(layout):
    x = layout(np.full((8, 20, 5, 5), 7.3, np.float32))
    y, mean, var = norm.normalize(x, np.ones((1, 20, 1, 1), np.float32), np.full((1, 20, 1, 1), 2, np.float32), IMAGES, EPS)
    assert (y == 2).all() and (mean == np.float32(7.3)).all() and (var == 0).all()


@both_kinds
@both_layouts
def test_scaling_by_channel(rng, layout, kind):
    for shape in [(3, 4, 5, 6), (7, 17, 3, 3), (300, 2, 1, 1), (2, 1, 9, 9)]:
        x, _, a, b = operands(rng, shape, IMAGES, kind, layout)
        found = norm.scale(x, a, b)
        assert found.dtype == kind and found.strides == np.empty_like(x).strides
        np.testing.assert_allclose(found, x * a + b, rtol=10 * np.finfo(kind).eps, atol=10 * np.finfo(kind).eps)


def test_weight_and_bias_of_other_shapes(rng):
    """One number for all, or axes left out; sums go down to the shape that is asked for."""
    x, g = (rng.standard_normal((4, 3, 5, 6)) for _ in range(2))
    for axes, small, shape in [(IMAGES, (), ()), (IMAGES, (3, 1, 1), (3, 1, 1)), ((2, 3), (1, 3, 1, 1), (1, 3, 1, 1)),
                               ((2, 3), (), (3, 1, 1)), ((0, 1, 2, 3), (), ())]:
        w = rng.uniform(0.5, 1.5, small)
        assert norm.serves(x, axes, w.shape, shape)
        for a, e in zip(norm.normalize_adjoint(g, x, w, axes, EPS, shape), plain.normalize_adjoint(g, x, w, axes, EPS, shape)):
            assert a.shape == e.shape
            np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def test_a_cotangent_may_lie_otherwise(rng):
    x, g, w, b = operands(rng, (4, 6, 5, 5), IMAGES, np.float64, last)
    right = norm.normalize_adjoint(g, x, w, IMAGES, EPS, w.shape)
    for other in (np.ascontiguousarray(g), np.repeat(g, 2, axis=3)[..., ::2], np.asfortranarray(g),
                  np.frombuffer(b"0" + np.ascontiguousarray(g).tobytes(), offset=1).reshape(g.shape)):
        for a, e in zip(norm.normalize_adjoint(other, x, w, IMAGES, EPS, w.shape), right):
            assert np.array_equal(a, e)


def test_what_the_kernels_cannot_read_is_left_to_numpy(rng):
    x, w = rng.standard_normal((4, 6, 5, 5)), np.ones((1, 6, 1, 1))
    misaligned = np.frombuffer(b"0" + x.tobytes(), offset=1).reshape(x.shape)
    for a in (x[:, :, ::2], x[..., ::-1], misaligned, np.broadcast_to(x[:1], x.shape), x.astype(np.float16), x[:0]):
        with tg.use_kernels("compiled"):
            y, mean, var = table.run("normalize", a, w, w, IMAGES, EPS)
            dx, dw, db = table.run("normalize_adjoint", a, a, w, IMAGES, EPS, w.shape)
        right = (*plain.normalize(a, w, w, IMAGES, EPS), *plain.normalize_adjoint(a, a, w, IMAGES, EPS, w.shape))
        for ours, numpys in zip((y, mean, var, dx, dw, db), right):
            assert np.array_equal(ours, numpys, equal_nan=True)
    assert not norm.serves(x, (2, 3), (1, 6, 5, 5), ())         # differs along the axes
    assert not norm.serves(last(x), (2, 3), (1, 6, 1, 1), ())   # what is kept does not lie together


@both_layouts
def test_bits_are_the_same_every_time_and_threads_change_roundings_only(rng, layout):
    call = operands(rng, (32, 20, 24, 24), IMAGES, np.float32, layout)
    before, results = tg.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            tg.set_num_threads(threads)
            first = found(norm, *call, IMAGES)
            for _ in range(10):
                assert all(np.array_equal(a, b) for a, b in zip(found(norm, *call, IMAGES), first))
            results.append(first)
    finally:
        tg.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_a_training_step_asks_once_each_way(monkeypatch, rng):
    names = []
    for name in ("normalize", "normalize_adjoint", "scale"):
        monkeypatch.setattr(norm, name, lambda *call, name=name, real=getattr(norm, name): (names.append(name), real(*call))[1])
    x = tg.tensor(last(rng.standard_normal((8, 8, 16, 16)).astype(np.float32)), requires_grad=True)
    w, b = tg.ones(8, requires_grad=True), tg.zeros(8, requires_grad=True)
    tg.batch_norm(x, None, None, w, b, training=True).backward(x.detach())
    assert names == ["normalize", "normalize_adjoint"] and x.grad.shape == x.shape and w.grad.shape == b.grad.shape == (8,)
    tg.batch_norm(x, tg.zeros(8), tg.ones(8), w, b)
    assert names[2:] == ["scale"]
    tg.batch_norm(tg.ones(2, 3, 4, 4), None, None, training=True)  # small: NumPy's
    assert len(names) == 3


PROTECTED = """
import sys
from tests import test_compiled as cases
exec(cases.PROTECTED[:cases.PROTECTED.index("rng = ")])
from tinygrad_conv.kernels.compiled import norm

rng = np.random.default_rng(int(sys.argv[1]))
for _ in range(60):
    at_end, kind = bool(rng.integers(2)), rng.choice([np.float32, np.float64])
    norm.np = Numpy(at_end)
    def filled(shape):
        a = fenced(shape, kind, at_end)
        a[...] = rng.standard_normal(shape)
        return a
    outer, channels, inner = (int(rng.choice(sizes)) for sizes in ([1, 2, 9, 200], [1, 3, 8, 17, 40], [1, 1, 2, 15, 33, 2500]))
    shape = outer, channels, inner
    x, g, w, b = map(filled, (shape, shape, (1, channels, 1), (1, channels, 1)))
    norm.normalize(x, w, b, (0, 2), 1e-5), norm.normalize_adjoint(g, x, w, (0, 2), 1e-5, w.shape), norm.scale(x, w, b)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_norms_stay_inside_their_arrays(seed):
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
