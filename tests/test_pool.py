"""Pooling: conventions in numbers, the grid against plain loops, ties, orders, layouts, errors."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg
from tests import pool_reference as reference
from tinygrad_conv.kernels import parallel, planes, pool
from tinygrad_conv.kernels.geometry import Geometry
from tinygrad_conv.ops.pool import _divisor

KERNELS = [(1, 1), (2, 2), (3, 3), (3, 2), (1, 4)]
STRIDES = [(1, 1), (2, 2), (3, 3), (3, 1)]
PADDINGS = [(0, 0), (1, 1), (0, 1)]
SIZES = [(5, 6), (7, 4)]


@pytest.fixture(autouse=True)
def pixels_as_items(monkeypatch):
    """In small arrays too, where it is not worth it."""
    monkeypatch.setattr(pool, "MANY", 0)


def windows(size, kernel, stride, padding, dilation=(1, 1), ceil_mode=False):
    """The geometry with the same padding on both sides."""
    return Geometry(size, kernel, stride, tuple((p, p) for p in padding), dilation, ceil_mode=ceil_mode)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def channels_last(a):
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def gradient(f, x, g):
    t = tg.tensor(x, requires_grad=True)
    f(t).backward(g)
    return t.grad.data


def valid(sizes, dilations):
    """All geometries on which every window exists and sees a cell."""
    for size, k, s, p, d, ceil in itertools.product(
            sizes, KERNELS, STRIDES, PADDINGS, dilations, [False, True]):
        if all(b <= (c * (a - 1) + 1) // 2 for a, b, c in zip(k, p, d)):
            win = windows(size, k, s, p, d, ceil)
            if min(win.out) >= 1 and not win.blind:
                yield size, {"kernel": k, "stride": s, "padding": p, "dilation": d,
                             "ceil_mode": ceil}


# ----- the grid -----

@pytest.mark.parametrize("dilation", [(1, 1), (2, 2), (1, 2)], ids=str)
@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_max_pool2d_equals_plain_loops(dilation, layout):
    """Values, indices and gradients, on numbers of which many tie."""
    rng = np.random.default_rng(0)
    for size, geo in valid(SIZES, [dilation]):
        x = layout(rng.integers(-2, 2, (1, 2, *size)).astype(float))
        args = tuple(geo.values())
        y, indices = tg.max_pool2d(x, *args, return_indices=True)
        expected, places = reference.max_pool(x, **geo)
        assert np.array_equal(y.data, expected) and np.array_equal(indices.data, places), geo
        g = layout(rng.standard_normal(y.shape))
        close(gradient(lambda t, args=args: tg.max_pool2d(t, *args), x, g),
              reference.pile(g, places, size=size))


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
@pytest.mark.parametrize("include, divisor", [(True, None), (False, None), (True, 3)])
def test_avg_pool2d_equals_plain_loops(layout, include, divisor):
    rng = np.random.default_rng(0)
    for size, geo in valid(SIZES, [(1, 1)]):
        x = layout(rng.standard_normal((1, 2, *size)))
        del geo["dilation"]
        counting = {"count_include_pad": include, "divisor_override": divisor}
        args = (*geo.values(), include, divisor)
        y = tg.avg_pool2d(x, *args)
        close(y.data, reference.avg_pool(x, **geo, **counting))
        g = layout(rng.standard_normal(y.shape))
        close(gradient(lambda t, args=args: tg.avg_pool2d(t, *args), x, g),
              reference.avg_spread(g, size=size, **geo, **counting))


# ----- numbers of the conventions -----

@pytest.mark.parametrize("k, s, p", [(2, 2, 1), (3, 1, 1), (3, 2, 1)])
def test_max_pool2d_padding_never_wins(k, s, p):
    y, indices = tg.max_pool2d(-np.ones((1, 1, 3, 3)), k, s, p, return_indices=True)
    assert np.all(y.data == -1)
    assert indices.data.min() >= 0 and indices.data.max() < 9


@pytest.mark.parametrize("n, out, expected", [
    (7, 3, [(0, 3), (2, 5), (4, 7)]), (5, 4, [(0, 2), (1, 3), (2, 4), (3, 5)]),
    (3, 5, [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)])])
def test_adaptive_pool2d_bins(n, out, expected):
    assert [(b.start, b.stop) for b in planes.bins(n, out)] == expected
    x = np.arange(float(n)).reshape(1, 1, n)
    close(tg.adaptive_max_pool2d(x, (1, out)).data[0, 0], [hi - 1 for _, hi in expected])
    close(tg.adaptive_avg_pool2d(x, (1, out)).data[0, 0], [(a + b - 1) / 2 for a, b in expected])


def test_max_pool2d_gives_a_tie_to_the_first_index():
    x = np.ones((1, 4, 4))
    assert tg.max_pool2d(x, 2, return_indices=True)[1].data.tolist() == [[[0, 2], [8, 10]]]
    dx = gradient(lambda t: tg.max_pool2d(t, 2), x, np.ones((1, 2, 2)))
    assert dx[0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_max_pool2d_first_index_is_row_by_row_not_column_by_column():
    x = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    assert tg.max_pool2d(x, 2, return_indices=True)[1].item() == 1
    assert gradient(lambda t: tg.max_pool2d(t, 2), x, [[[5.0]]])[0].tolist() == [[0, 5], [0, 0]]


@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 1), (3, 2), ((2, 3), (2, 3))])
def test_max_pool2d_gradient_of_ties_sums_to_the_cotangent(kernel, stride):
    rng = np.random.default_rng(0)
    x = np.maximum(rng.integers(-3, 2, (2, 3, 8, 9)), 0).astype(float)
    g = rng.standard_normal(tg.max_pool2d(x, kernel, stride).shape)
    dx = gradient(lambda t: tg.max_pool2d(t, kernel, stride), x, g)
    close(dx.sum(axis=(2, 3)), g.sum(axis=(2, 3)))


@pytest.mark.parametrize("kernel, stride", [(2, 2), (3, 2), (2, 3)])
@pytest.mark.parametrize("op", [tg.max_pool2d, tg.avg_pool2d])
def test_pool2d_remainder_rows_have_gradient_zero(op, kernel, stride):
    rng = np.random.default_rng(0)
    n = stride * 3 + kernel + 1                                     # one row too many
    x = rng.standard_normal((2, 3, n, n))
    y = op(x, kernel, stride)
    assert y.shape == (2, 3, 4, 4)
    dx = gradient(lambda t: op(t, kernel, stride), x, rng.standard_normal(y.shape))
    assert dx.shape == x.shape
    assert np.all(dx[:, :, -1] == 0) and np.all(dx[..., -1] == 0) and np.any(dx[:, :, :-1] != 0)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 1, 1), (3, 2, 1)])
def test_max_pool2d_nan_wins(layout, kernel, stride, padding):
    x = np.zeros((1, 3, 6, 6))
    x[0, 1, 2, 3] = x[0, 1, 3, 3] = np.nan
    x[0, 2] = np.inf
    x = layout(x)
    y, indices = tg.max_pool2d(x, kernel, stride, padding, return_indices=True)
    hit = np.isnan(y.data)
    assert hit.any() and not hit[0, 0].any() and not hit[0, 2].any()
    assert set(indices.data[hit].tolist()) <= {2 * 6 + 3, 3 * 6 + 3}
    dx = gradient(lambda t: tg.max_pool2d(t, kernel, stride, padding), x, np.ones(y.shape))
    close(dx, reference.pile(np.ones(y.shape), indices.data, size=(6, 6)))


@pytest.mark.parametrize("kernel, stride", [(2, 2), (2, 3), (3, 2)])
def test_max_pool2d_infinite_cotangent_reaches_the_winner_only(kernel, stride):
    x = np.random.default_rng(0).standard_normal((1, 1, 6, 6))
    y = tg.max_pool2d(x, kernel, stride)
    dx = gradient(lambda t: tg.max_pool2d(t, kernel, stride), x, np.full(y.shape, np.inf))
    assert not np.isnan(dx).any() and np.isinf(dx).any()


def test_max_pool2d_of_minus_infinity_points_into_the_plane():
    x = np.full((1, 4, 4), -np.inf)
    y, indices = tg.max_pool2d(x, 3, 2, 1, return_indices=True)
    assert np.all(y.data == -np.inf) and indices.data.tolist() == [[[0, 1], [4, 5]]]


# ----- closed pairs -----

def random_geometries(count, dilations):
    found = list(valid([(6, 5), (4, 7)], dilations))
    chosen = np.random.default_rng(3).choice(len(found), count, replace=False)
    return [found[i] for i in chosen]


@pytest.mark.parametrize("layout", [np.ascontiguousarray, channels_last])
def test_pool2d_adjoint_identities(layout):
    """<max part(u), g> = <u, scatter(g)> and the same for averages, to 1e-12."""
    rng = np.random.default_rng(0)
    for size, geo in random_geometries(60, [(1, 1), (2, 1)]):
        win = windows(size, **geo)
        x, u = (layout(rng.standard_normal((2, 3, *size))) for _ in "xu")
        y = pool.maxima(x, win)
        g = layout(rng.standard_normal(y.shape))
        close(np.vdot(pool.gather(u, x, y, win), g), np.vdot(u, pool.scatter(g, x, y, win)))
        close(pool.gather(x, x, y, win), y)
        divisor = _divisor(win, True, None)
        close(np.vdot(pool.averages(u, divisor, win), g),
              np.vdot(u, pool.averages_adjoint(g, divisor, win)))


@pytest.mark.parametrize("size, out", [((7, 5), (3, 4)), ((3, 4), (5, 6)), ((6, 4), (2, 2))])
def test_adaptive_pool2d_adjoint_identities(size, out):
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((2, 3, *size)), rng.standard_normal((2, 3, *out))
    close(np.vdot(planes.bin_averages(x, out), g),
          np.vdot(x, planes.bin_averages_adjoint(g, size)))
    y, indices = planes.bin_maxima(x, out)
    close(planes.pick(x, indices), y)
    close(np.vdot(planes.pick(x, indices), g), np.vdot(x, planes.pile(g, indices, size)))


@pytest.mark.parametrize("make", [np.ascontiguousarray, channels_last])
def test_max_pool2d_windows_that_tile_the_plane(make):
    """Each cell is written once, into memory that was never cleared."""
    rng = np.random.default_rng(0)
    for kernel, out in itertools.product([(1, 1), (2, 2), (3, 2), (1, 3), (4, 4)], [(3, 2), (1, 5)]):
        size = (kernel[0] * out[0], kernel[1] * out[1])
        win = windows(size, kernel, kernel, (0, 0))
        assert win.cover and not win.overlap
        x = make(rng.integers(0, 3, (3, 2, *size)).astype(np.float32))
        g = rng.standard_normal((3, 2, *out)).astype(np.float32)
        geo = {"kernel": kernel, "stride": kernel, "padding": (0, 0)}
        y = pool.maxima(x, win)
        for cotangent in (g, channels_last(g)):
            close(pool.scatter(cotangent, x, y, win), reference.scatter(g, x, **geo), 1e-6)


@pytest.mark.parametrize("size, kernel, stride, padding, cover", [
    ((6, 6), (2, 2), (2, 2), (0, 0), True), ((7, 6), (2, 2), (2, 2), (0, 0), False),
    ((6, 6), (2, 2), (2, 2), (1, 1), True), ((6, 6), (2, 2), (3, 2), (0, 0), False),
    ((6, 6), (3, 3), (2, 2), (0, 0), False), ((5, 5), (2, 2), (2, 2), (1, 0), False)])
def test_pool_geometry_knows_whether_every_cell_has_one_tap(size, kernel, stride, padding, cover):
    win = windows(size, kernel, stride, padding)
    times = np.zeros(size, int)
    for _, cells in win.taps:
        times[cells] += 1
    assert win.cover == cover == bool(np.all(times == 1))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 12])
@pytest.mark.parametrize("kernel, stride, size", [((2, 2), (2, 2), 28), ((2, 2), (2, 2), 27), ((3, 2), (2, 3), 28),
                                                  ((1, 1), (2, 2), 28)])
def test_max_pool2d_gradient_is_the_same_above_and_below_the_size_that_pays_for_items(monkeypatch, n, kernel, stride, size):
    rng = np.random.default_rng(0)
    x = channels_last(rng.integers(0, 9, (n, 6, size, size)).astype(np.float32))
    win = windows((size, size), kernel, stride, (0, 0))
    y = pool.maxima(x, win)
    g = channels_last(rng.standard_normal(y.shape).astype(np.float32))
    whole = pool.scatter(g, x, y, win)
    monkeypatch.setattr(pool, "MANY", 1 << 13)
    assert np.array_equal(pool.scatter(g, x, y, win), whole)
    assert np.array_equal(pool.gather(whole, x, y, win), pool.gather(np.array(whole), x, y, win))


NETS = {
    "max_pool2d": lambda x: tg.max_pool2d(x * x * x, 3, 2, 1, ceil_mode=True),
    "max_pool2d_tiles": lambda x: tg.max_pool2d(x * x * x, 2),
    "avg_pool2d": lambda x: tg.avg_pool2d(x * x * x, 3, 2, 1, True, False),
    "adaptive_avg_pool2d": lambda x: tg.adaptive_avg_pool2d(x * x * x, (3, 4)),
    "adaptive_max_pool2d": lambda x: tg.adaptive_max_pool2d(x * x * x, (3, 4)),
    "global_avg_pool2d": lambda x: tg.global_avg_pool2d(x * x * x),
    "global_max_pool2d": lambda x: tg.global_max_pool2d(x * x * x),
    "max_pool1d": lambda x: tg.max_pool1d((x * x * x).reshape(2, 2, -1), 3, 2, 1),
    "avg_pool1d": lambda x: tg.avg_pool1d((x * x * x).reshape(2, 2, -1), 3, 2, 1),
    "max_unpool2d": lambda x: tg.max_unpool2d(
        *tg.max_pool2d(x * x * x, 2, return_indices=True), 2),
}


@pytest.mark.parametrize("name", NETS)
def test_pool_derivatives_to_order_3(name):
    x = np.random.default_rng(0).permutation(2 * 2 * 24).reshape(2, 2, 6, 4) / 48.0 - 0.99
    tg.check_grads(NETS[name], (x,), order=3)


def test_max_unpool2d_inverts_max_pool2d_at_the_maxima():
    x = np.random.default_rng(0).standard_normal((2, 3, 7, 9))
    y, indices = tg.max_pool2d(x, 2, return_indices=True)
    back = tg.max_unpool2d(y, indices, 2, output_size=(7, 9))
    assert back.shape == x.shape
    kept = back.data != 0
    assert kept.sum() == y.size and np.array_equal(back.data[kept], x[kept])
    assert np.array_equal(tg.max_pool2d(back - 100.0 * (back.data == 0), 2).data, y.data)


def test_pools_along_a_line_take_tuples_of_one():
    x = np.random.default_rng(0).standard_normal((2, 3, 9))
    for pooled in (tg.max_pool1d, tg.avg_pool1d):
        assert np.array_equal(pooled(x, (3,), (2,), (1,)).data, pooled(x, 3, 2, 1).data)


@pytest.mark.parametrize("size, plane", [(5, (5, 5)), ((1, 1, 5, 4), (5, 4)), (None, (4, 4))])
def test_max_unpool2d_takes_a_number_a_plane_or_a_shape(size, plane):
    assert tg.max_unpool2d(np.ones((1, 1, 2, 2)), np.arange(4).reshape(1, 1, 2, 2), 2, output_size=size).shape[2:] == plane


def test_max_unpool2d_gradient_goes_to_the_number_that_stayed():
    x, indices = np.array([[[1.0, 2.0]]]), np.array([[[3, 3]]])
    assert tg.max_unpool2d(x, indices, 2).data.tolist() == [[[0, 0, 0, 2], [0, 0, 0, 0]]]
    dx = gradient(lambda t: tg.max_unpool2d(t, indices, 2), x, np.ones((1, 2, 4)))
    assert dx.tolist() == [[[0, 1]]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.uint64])
def test_max_unpool2d_takes_indices_of_a_type_that_does_not_hold_the_width(dtype):
    y, indices = tg.max_pool2d(np.random.default_rng(0).standard_normal((1, 1, 8)), (1, 2), return_indices=True)
    wide = tg.max_unpool2d(y, indices.data.astype(dtype), (1, 100), output_size=(1, 400))
    assert np.array_equal(wide.data[..., :8], tg.max_unpool2d(y, indices, (1, 2)).data) and not wide.data[..., 8:].any()


# ----- shapes, types, layout -----

UNARY = {
    "max_pool2d": lambda t: tg.max_pool2d(t, 2), "avg_pool2d": lambda t: tg.avg_pool2d(t, 2),
    "max_pool2d_overlap": lambda t: tg.max_pool2d(t, 3, 2, 1),
    "adaptive_avg_pool2d": lambda t: tg.adaptive_avg_pool2d(t, 3),
    "adaptive_max_pool2d": lambda t: tg.adaptive_max_pool2d(t, 3),
    "global_avg_pool2d": tg.global_avg_pool2d, "global_max_pool2d": tg.global_max_pool2d}


@pytest.mark.parametrize("name", UNARY)
def test_pool2d_takes_one_sample_and_no_sample(name):
    f, x = UNARY[name], np.random.default_rng(0).standard_normal((3, 4, 6))
    one = f(x)
    assert one.ndim == 3 and np.array_equal(one.data, f(x[None]).data[0])
    empty = np.zeros((0, 3, 4, 6))
    y = f(empty)
    assert y.shape == (0, *one.shape)
    assert gradient(f, empty, np.zeros(y.shape)).shape == empty.shape


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", UNARY)
def test_pool2d_keeps_the_dtype(name, dtype):
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 6)).astype(dtype)
    y = UNARY[name](x)
    assert y.dtype == dtype
    dx = gradient(UNARY[name], x, np.ones(y.shape, dtype))
    assert dx.dtype == dtype
    close(y.data, UNARY[name](x.astype(float)).data, 2e-3)
    close(dx, gradient(UNARY[name], x.astype(float), np.ones(y.shape)), 2e-3)


@pytest.mark.parametrize("name", [n for n in UNARY if not n.startswith("global")])
def test_pool2d_keeps_channels_last_memory(name):
    x = channels_last(np.random.default_rng(0).standard_normal((2, 5, 6, 8)))
    t = tg.from_numpy(x)
    t.requires_grad = True
    y = UNARY[name](t)
    assert y.data.transpose(0, 2, 3, 1).flags.c_contiguous
    y.backward(channels_last(np.ones(y.shape)))
    assert t.grad.data.transpose(0, 2, 3, 1).flags.c_contiguous
    c = UNARY[name](np.ascontiguousarray(x))
    assert c.data.flags.c_contiguous and np.array_equal(c.data, y.data)


@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1)])
def test_pool2d_chunks_and_threads_change_no_bit(monkeypatch, kernel, stride, padding):
    x = np.random.default_rng(0).standard_normal((7, 3, 8, 8)).astype(np.float32)
    win = windows((8, 8), (kernel,) * 2, (stride,) * 2, (padding,) * 2)

    def everything():
        y, divisor = pool.maxima(x, win), _divisor(win, False, None)
        return [y, pool.scatter(y, x, y, win), pool.gather(x, x, y, win), pool.indices(x, y, win),
                pool.averages(x, divisor, win), pool.averages_adjoint(y, divisor, win)]

    whole = everything()
    monkeypatch.setattr(parallel, "CHUNK_BYTES", 2 * x[:1].nbytes)
    monkeypatch.setattr(parallel, "BYTES_WORTH_THREADS", 0)
    for a, b in zip(everything(), whole):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("overlap", [False, True])
def test_max_pool2d_gradient_where_x_only_seems_to_be_channels_last(overlap):
    """Of one pixel, or a broadcast one, the channels lie together, but not those of the result."""
    g = np.random.default_rng(0).standard_normal((2, 4, 2, 2)).astype(np.float32)
    pixel = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    one = np.ascontiguousarray(np.broadcast_to(pixel, (2, 4, 1, 1)))
    for x, pool2d in [(one, lambda t: tg.max_pool2d(t, 2, 1, padding=1)),
                      (np.broadcast_to(pixel, (2, 4, 5, 5)), lambda t: tg.max_pool2d(t, 2 + overlap, 2))]:
        t = tg.from_numpy(x)
        t.requires_grad = True
        pool2d(t).backward(g)
        assert np.array_equal(t.grad.data, gradient(pool2d, np.ascontiguousarray(x), g))
        close(t.grad.data.sum(axis=(2, 3)), g.sum(axis=(2, 3)), 1e-6)


def test_pool2d_takes_lists():
    assert tg.max_pool2d([[[1.0, 2.0], [3.0, 4.0]]], 2).item() == 4


def test_max_pool2d_indices_are_not_differentiable():
    x = tg.tensor(np.ones((1, 4, 4)), requires_grad=True)
    y, indices = tg.max_pool2d(x, 2, return_indices=True)
    assert y.requires_grad and not indices.requires_grad and indices.dtype == np.int64


# ----- errors -----

X = np.ones((1, 1, 4, 4))


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.max_pool2d(X, 2, padding=2), ValueError,
     r"^max_pool2d: padding \(2, 2\) must be at most half of what the kernel spans, \(2, 2\)"),
    (lambda: tg.avg_pool2d(X, 3, padding=(1, 2)), ValueError, r"^avg_pool2d: padding \(1, 2\)"),
    (lambda: tg.max_pool2d(X, 5), ValueError,
     r"^max_pool2d: the kernel spans 5x5 but the padded input is only 4x4"),
    (lambda: tg.max_pool2d(X, 3, dilation=3), ValueError, r"^max_pool2d: the kernel spans 7x7"),
    (lambda: tg.avg_pool2d(X, (2, 7), padding=(0, 1)), ValueError, r"only 4x6"),
    (lambda: tg.max_pool2d(X[:, :, :1], (2, 1), padding=(1, 0), dilation=2), ValueError,
     r"^max_pool2d: some windows see padding only"),
    (lambda: tg.max_pool2d(X, 0), ValueError, r"^max_pool2d: kernel_size must be at least 1"),
    (lambda: tg.max_pool2d(X, 2, 0), ValueError, r"^max_pool2d: stride must be at least 1, got 0"),
    (lambda: tg.max_pool2d(X, 2.5), TypeError, r"^max_pool2d: kernel_size expects an int or a pair"),
    (lambda: tg.avg_pool2d(X, 2, padding=-1), ValueError, r"^avg_pool2d: padding must be at least 0"),
    (lambda: tg.avg_pool2d(X, 2, divisor_override=0), ValueError, r"^avg_pool2d: divisor_override"),
    (lambda: tg.avg_pool2d(X, 2, divisor_override="3"), TypeError, r"^avg_pool2d: divisor_override must be a number"),
    (lambda: tg.max_pool2d(X, np.array([2, 2])), TypeError, r"^max_pool2d: kernel_size expects an int or a pair"),
    (lambda: tg.max_pool2d(np.ones((4, 4)), 2), ValueError,
     r"^max_pool2d: x must have axes NCHW \(or CHW, one sample\), got shape \(4, 4\)"),
    (lambda: tg.max_pool2d(np.ones((1, 1, 4, 4), int), 2), TypeError,
     r"^max_pool2d: x must be floating point, got int64"),
    (lambda: tg.avg_pool2d(np.ones((1, 1, 0, 4)), 2), ValueError, r"^avg_pool2d: x has no cells"),
    (lambda: tg.max_pool1d(np.ones((1, 4)), 5), ValueError, r"^max_pool1d: the kernel spans 1x5"),
    (lambda: tg.avg_pool1d(np.ones((1, 4)), (2, 2)), TypeError,
     r"^avg_pool1d: kernel_size expects an int or a tuple of one"),
    (lambda: tg.max_pool1d(np.ones(4), 2), ValueError, r"^max_pool1d: x must have axes NCL"),
    (lambda: tg.adaptive_avg_pool2d(X, 0), ValueError, r"^adaptive_avg_pool2d: output_size must"),
    (lambda: tg.adaptive_max_pool2d(X, (1, 2, 3)), TypeError, r"^adaptive_max_pool2d: output_size"),
    (lambda: tg.global_avg_pool2d(np.ones(3)), ValueError, r"^global_avg_pool2d: x must have axes"),
    (lambda: tg.max_unpool2d(X, np.full(X.shape, 64), 2), IndexError,
     r"^max_unpool2d: indices must lie in 0..63 for planes of 8x8, got 64..64"),
    (lambda: tg.max_unpool2d(X, np.full(X.shape, -1), 2), IndexError, r"got -1..-1"),
    (lambda: tg.max_unpool2d(X, np.zeros((1, 1, 4, 3), int), 2), ValueError,
     r"^max_unpool2d: indices must have the shape of x, \(1, 1, 4, 4\), got \(1, 1, 4, 3\)"),
    (lambda: tg.max_unpool2d(X, X, 2), TypeError, r"^max_unpool2d: indices must be integers"),
    (lambda: tg.max_unpool2d(X, np.zeros(X.shape, int), 2, output_size=(8, 10)), ValueError,
     r"^max_unpool2d: output_size \(8, 10\) must be less than a stride"),
    (lambda: tg.max_unpool2d(X, np.zeros(X.shape, int), 2, output_size=(9,)), TypeError,
     r"^max_unpool2d: output_size"),
])
def test_pool_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kernel, stride", [((2, 2), (2, 2)), ((3, 2), (3, 4)), ((1, 3), (2, 3))])
def test_winners_of_few_cells_are_those_found_tap_by_tap(kernel, stride, layout):
    """Ties, NaN, infinities and cells that no window sees included."""
    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (2, 3, 9, 11)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    x[0, 0] = -np.inf
    if layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    geometry = Geometry((9, 11), kernel, stride, ((0, 0), (0, 0)), (1, 1))
    y = pool.maxima(x, geometry)
    g = rng.standard_normal(y.shape).astype(np.float32)
    assert pool._few(g, x, y, geometry)
    few, by_taps = pool.scatter_few(g, x, y, geometry), pool.scatter(g, x, y, geometry)
    assert few.strides == by_taps.strides and np.array_equal(few, by_taps)
