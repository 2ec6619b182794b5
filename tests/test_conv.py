"""conv2d, conv_transpose2d, conv2d_weight: the full grid against seven loops, and the conventions."""
from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.conv_reference import out_size, seven_loops
from tinygrad_conv.kernels import conv as kernels
from tinygrad_conv.kernels import depthwise, layout, parallel, patches, wide, winograd
from tinygrad_conv.kernels.geometry import Geometry
from tinygrad_conv.kernels.layout import bands

STRIDES = [(1, 1), (2, 2), (3, 3), (1, 2), (3, 2)]
PADDINGS = [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((2, 0), (0, 1)), ((4, 5), (3, 4))]
DILATIONS = [(1, 1), (2, 2), (3, 3), (1, 2)]
KERNELS = [(1, 1), (3, 3), (2, 3)]
SIZES = [(5, 6), (7, 4)]


@pytest.fixture(autouse=True)
def always_wide(monkeypatch):
    """Small samples are computed by wider windows too, which is not worth it."""
    monkeypatch.setattr(wide, "LAYING", 0)


def close(a, b, tolerance=1e-12):
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def chosen_maps():
    return (lambda x, w, win: kernels.conv2d(x, w, None, win),
            lambda g, w, win: kernels.input_adjoint(g, w, None, win), kernels.weight_adjoint)


def patch_maps():
    return (lambda x, w, win: patches.conv2d(x, w, None, win),
            lambda g, w, win: patches.scatter(g, w, None, win), patches.weight_adjoint)


def wide_maps():
    return (lambda x, w, win: wide.conv2d(x, w, None, win),
            lambda g, w, win: wide.input_adjoint(g, w, None, win), wide.weight_adjoint)


def winograd_maps():
    return (lambda x, w, win: winograd.conv2d(x, w, None, win),
            lambda g, w, win: winograd.input_adjoint(g, w, None, win), winograd.weight_adjoint)


def depthwise_maps():
    return (lambda x, w, win: depthwise.conv2d(x, w, None, win),
            lambda g, w, win: depthwise.input_adjoint(g, w, None, win), depthwise.weight_adjoint)


ALGORITHMS = [(chosen_maps, 1), (chosen_maps, 2), (patch_maps, 1), (patch_maps, 2), (patch_maps, 4),
              (wide_maps, 1), (depthwise_maps, 4)]


@pytest.mark.parametrize("stride", STRIDES, ids=str)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv2d_algorithms_equal_seven_loops(stride, groups):
    """Each algorithm and each of its three maps; two filters a group, non-square everything."""
    rng = np.random.default_rng(0)
    tried = 0
    for padding, dilation, kernel, size in itertools.product(PADDINGS, DILATIONS, KERNELS, SIZES):
        window = Geometry(size, kernel, stride, padding, dilation, groups)
        if min(window.out) < 1:
            continue
        x = rng.standard_normal((1, 4, *size))
        w = rng.standard_normal((2 * groups, 4 // groups, *kernel))
        g = rng.standard_normal((1, 2 * groups, *window.out))
        y, dx, dw = seven_loops(x, w, g, stride, padding, dilation, groups)
        for maps in [maps for maps, n in ALGORITHMS if n == groups]:
            forward, to_input, to_weight = maps()
            close(forward(x, w, window), y)
            close(to_input(g, w, window), dx)
            close(to_weight(g, x, window), dw)
        tried += 1
    assert tried > 50


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv2d_adjoint_identity(groups):
    """<g, conv2d(x, w)> = <conv_transpose2d(g, w), x> = <conv2d_weight(g, x), w>, to rounding."""
    rng = np.random.default_rng(1)
    for stride, padding, dilation, kernel, size in itertools.product(
            STRIDES, PADDINGS, DILATIONS, KERNELS, SIZES):
        window = Geometry(size, kernel, stride, padding, dilation, groups)
        if min(window.out) < 1:
            continue
        for c in (4, 12):
            x, w = rng.standard_normal((3, c, *size)), rng.standard_normal((8, c // groups, *kernel))
            g = rng.standard_normal((3, 8, *window.out))
            number = np.vdot(g, kernels.conv2d(x, w, None, window))
            scale = np.linalg.norm(g) * np.linalg.norm(x) * np.linalg.norm(w)
            back = kernels.input_adjoint(g, w, None, window)
            turned = kernels.weight_adjoint(g, x, window)
            assert abs(np.vdot(back, x) - number) <= 1e-12 * scale
            assert abs(np.vdot(turned, w) - number) <= 1e-12 * scale


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 8, 9])
def test_conv2d_equals_seven_loops_whatever_runs(channels):
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((2, channels, 5, 6)), rng.standard_normal((3, channels, 3, 2))
    b = rng.standard_normal(3)
    for stride in ((1, 1), (2, 1)):
        geo = {"stride": stride, "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 1}
        g = rng.standard_normal((2, 3, *out_size((5, 6), (3, 2), stride, geo["padding"], (1, 2))))
        y, dx, dw = seven_loops(x, w, g, **geo)
        xt, wt, bt = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
        yt = tg.conv2d(xt, wt, bt, **geo)
        yt.backward(g)
        close(yt.data, y + b[:, None, None])
        close(xt.grad.data, dx)
        close(wt.grad.data, dw)
        close(bt.grad.data, g.sum(axis=(0, 2, 3)))


def test_conv2d_order_three():
    rng = np.random.default_rng(3)
    x, w, b = rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((4, 2, 2, 3)), rng.standard_normal(4)

    def f(x, w, b):
        return tg.tanh(tg.conv2d(x, w, b, stride=2, padding=((1, 2), (0, 1)), dilation=2, groups=2))

    tg.check_grads(f, (x, w, b), order=3)


def test_conv_transpose2d_order_three():
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((2, 4, 3, 4)), rng.standard_normal((4, 2, 2, 3))

    def f(x, w):
        return tg.sin(tg.conv_transpose2d(x, w, stride=(2, 3), padding=1, output_padding=(1, 2),
                                          groups=2))

    tg.check_grads(f, (x, w), order=3)


@pytest.mark.parametrize("n, k, s, sides", [
    (5, 4, 1, (1, 2)), (6, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (224, 7, 2, (2, 3))])
def test_conv2d_same_padding_is_same_upper(n, k, s, sides):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, n, n)), rng.standard_normal((1, 1, k, k))
    same = tg.conv2d(x, w, stride=s, padding="same")
    assert same.shape[2:] == (-(-n // s),) * 2
    close(same.data, tg.conv2d(x, w, stride=s, padding=(sides, sides)).data)


def test_conv2d_valid_padding_and_batch_zero():
    w = np.ones((3, 2, 3, 3), np.float32)
    x = tg.tensor(np.zeros((0, 2, 5, 5), np.float32), requires_grad=True)
    wt = tg.tensor(w, requires_grad=True)
    y = tg.conv2d(x, wt, padding="valid")
    assert y.shape == (0, 3, 3, 3)
    y.sum().backward()
    assert x.grad.shape == (0, 2, 5, 5) and (wt.grad.data == 0).all()


def test_conv2d_negative_padding_crops():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 2, 7, 7)), rng.standard_normal((3, 2, 3, 3))
    close(tg.conv2d(x, w, padding=((0, -1), (-2, 1))).data,
          tg.conv2d(np.pad(x[:, :, :-1, 2:], ((0, 0), (0, 0), (0, 0), (0, 1))), w).data)
    wide = np.repeat(x[:, :, :3], 3, axis=3)  # of an axis as much as it has, however small the other
    sides = ((0, 0), (-5, -6))
    y = tg.conv2d(wide, w, padding=sides)
    close(y.data, tg.conv2d(wide[..., 5:-6], w).data)
    g = rng.standard_normal(y.shape)
    dx = tg.vjp(lambda x: tg.conv2d(x, w, padding=sides), wide)[1](g)[0]
    close(tg.conv_transpose2d(g, w, padding=sides).data, dx.data)


def test_conv2d_nhwc_layout():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 6, 5)), rng.standard_normal((4, 3, 3, 3))
    last = tg.conv2d(x.transpose(0, 2, 3, 1), w, padding=1, stride=2, layout="NHWC")
    assert last.shape == (2, 3, 3, 4)
    close(last.data.transpose(0, 3, 1, 2), tg.conv2d(x, w, padding=1, stride=2).data)


def test_conv2d_unbatched():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, 6, 5)), rng.standard_normal((4, 3, 3, 3)), rng.standard_normal(4)
    close(tg.conv2d(x, w, b).data, tg.conv2d(x[None], w, b).data[0])
    close(tg.conv_transpose2d(x, w.transpose(1, 0, 2, 3), b).data,
          tg.conv_transpose2d(x[None], w.transpose(1, 0, 2, 3), b).data[0])


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_conv2d_any_memory_layout(groups):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 6, 5)), rng.standard_normal((4, 4 // groups, 3, 3))
    expected = tg.conv2d(x, w, padding=1, groups=groups).data
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for x2, w2 in [(last, w), (np.asfortranarray(x), np.asfortranarray(w)),
                   (np.repeat(x, 2, axis=3)[..., ::2], w[:, :, ::-1][:, :, ::-1])]:
        close(tg.conv2d(x2, w2, padding=1, groups=groups).data, expected)


def test_conv2d_threads_and_chunks_change_nothing():
    """Many chunks on one and on two threads: equal to a batch done sample by sample."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((48, 16, 20, 20)), rng.standard_normal((24, 16, 3, 3))
    window = Geometry((20, 20), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    g = rng.standard_normal((48, 24, 20, 20))
    y = np.concatenate([kernels.conv2d(x[i:i + 1], w, None, window) for i in range(48)])
    dw = sum(kernels.weight_adjoint(g[i:i + 1], x[i:i + 1], window) for i in range(48))
    before = parallel.get_num_threads()
    try:
        for threads in (1, 2, 3):
            parallel.set_num_threads(threads)
            close(kernels.conv2d(x, w, None, window), y)
            close(kernels.weight_adjoint(g, x, window), dw, 1e-10)
            again = kernels.weight_adjoint(g, x, window)
            assert (kernels.weight_adjoint(g, x, window) == again).all()
    finally:
        parallel.set_num_threads(before)


def test_conv2d_keeps_no_column_matrix():
    """Peak of forward and backward stays below one whole-batch column matrix."""
    x = tg.tensor(np.ones((64, 32, 14, 14), np.float32), requires_grad=True)
    w = tg.tensor(np.ones((64, 32, 3, 3), np.float32), requires_grad=True)
    columns = 64 * 14 * 14 * 9 * 32 * 4
    tracemalloc.start()
    y = tg.conv2d(x, w, padding=1)
    y.backward(np.ones(y.shape, np.float32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    needed = 2 * y.data.nbytes + 2 * x.data.nbytes
    assert peak < needed + columns, (peak, needed, columns)


@pytest.mark.parametrize("maps, groups", [(patch_maps, 1), (patch_maps, 2), (wide_maps, 1), (depthwise_maps, 4)])
def test_conv2d_in_bands_equals_seven_loops(monkeypatch, maps, groups):
    """Samples too large for the cache are cut into bands of rows, some of which see padding only."""
    monkeypatch.setattr(parallel, "CHUNK_BYTES", 1)
    monkeypatch.setattr(layout, "LEAST", 1)
    rng = np.random.default_rng(0)
    forward, to_input, to_weight = maps()
    paddings = [*PADDINGS, ((-2, -1), (0, 1)), ((9, 11), (0, 0))]
    for stride, padding, dilation, kernel in itertools.product(
            [(1, 1), (2, 1), (3, 2)], paddings, [(1, 1), (2, 1)], [(1, 1), (2, 3)]):
        window = Geometry((9, 5), kernel, stride, padding, dilation, groups)
        if min(window.out) < 1:
            continue
        assert len(bands(window, 2)) == -(-window.out[0] // 2)
        x = rng.standard_normal((2, 4, 9, 5))
        w = rng.standard_normal((2 * groups, 4 // groups, *kernel))
        g = rng.standard_normal((2, 2 * groups, *window.out))
        y, dx, dw = seven_loops(x, w, g, stride, padding, dilation, groups)
        close(forward(x, w, window), y)
        close(to_input(g, w, window), dx)
        close(to_weight(g, x, window), dw)


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
@pytest.mark.parametrize("padding", [*PADDINGS, ((-2, -1), (0, 1)), ((0, 1), (-1, -2))], ids=str)
def test_winograds_algorithm_equals_seven_loops(monkeypatch, padding, chunk_bytes):
    """Whole samples and bands, odd and even sizes, images with padding or cropped."""
    monkeypatch.setattr(parallel, "CHUNK_BYTES", chunk_bytes)
    monkeypatch.setattr(layout, "LEAST", 1)
    rng = np.random.default_rng(0)
    forward, to_input, to_weight = winograd_maps()
    for size in ((9, 6), (10, 7), (6, 9), (7, 6)):
        window = Geometry(size, (3, 3), (1, 1), padding, (1, 1))
        x, w = rng.standard_normal((3, 4, *size)), rng.standard_normal((5, 4, 3, 3))
        g = rng.standard_normal((3, 5, *window.out))
        y, dx, dw = seven_loops(x, w, g, (1, 1), padding, (1, 1), 1)
        close(forward(x, w, window), y)
        close(winograd.conv2d(x, w, np.arange(5.0), window), y + np.arange(5.0)[:, None, None])
        close(to_input(g, w, window), dx)
        close(to_weight(g, x, window), dw)


@pytest.mark.parametrize("bad", [np.inf, np.nan, 3e38])
def test_winograds_algorithm_is_left_where_a_sum_might_overflow(bad):
    """Among its terms, inf less inf would be nan where the result is inf or even finite."""
    rng = np.random.default_rng(0)
    window = Geometry((16, 16), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    x, g = rng.standard_normal((2, 4, 64, 16, 16), np.float32)
    w = rng.standard_normal((64, 64, 3, 3), np.float32)
    assert winograd.serves(x, w, 64, 64, window) and winograd.serves(g, w, 64, 64, window.turned)
    assert winograd.serves(x, g, 64, 64, window)
    x[0, 0, 4, 4] = g[1, 2, 0, 0] = bad
    with np.errstate(invalid="ignore", over="ignore"):
        found = [f(*arrays, window) for f, arrays in zip(chosen_maps(), ((x, w), (g, w), (g, x)))]
        expected = [f(*arrays, window) for f, arrays in zip(patch_maps(), ((x, w), (g, w), (g, x)))]
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("maps, groups", [(patch_maps, 1), (patch_maps, 2), (wide_maps, 1), (winograd_maps, 1),
                                          (depthwise_maps, 4)])
@pytest.mark.parametrize("count", [1, 3])
def test_fewer_samples_than_threads_are_shared_by_bands(monkeypatch, maps, groups, count):
    monkeypatch.setattr(layout, "BYTES_WORTH_THREADS", 0)
    parts = []
    monkeypatch.setattr(layout, "split", lambda n, *rest: parts.append(n) or parallel.split(n, *rest))
    rng = np.random.default_rng(0)
    forward, to_input, to_weight = maps()
    x, w = rng.standard_normal((count, 4, 11, 8)), rng.standard_normal((8, 4 // groups, 3, 3))
    window = Geometry((11, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), groups)
    g = rng.standard_normal((count, 8, 11, 8))
    y, dx, dw = seven_loops(x, w, g, (1, 1), ((1, 1), (1, 1)), (1, 1), groups)
    threads = tg.get_num_threads()
    try:
        tg.set_num_threads(4)
        close(forward(x, w, window), y)
        close(to_input(g, w, window), dx)
        close(to_weight(g, x, window), dw)
    finally:
        tg.set_num_threads(threads)
    assert len(parts) >= 2 and set(parts) == {4}


@pytest.mark.parametrize("stride", [1, 2])
def test_conv2d_of_one_large_image_needs_little_more_than_the_image(stride):
    """Neither while it runs nor afterwards, when workspaces are kept for the next call."""
    x = tg.tensor(np.ones((1, 16, 256, 256), np.float32), requires_grad=True)
    w = tg.tensor(np.ones((16, 16, 5, 5), np.float32), requires_grad=True)
    b = tg.tensor(np.ones(16, np.float32), requires_grad=True)
    columns = 25 * x.data.nbytes // stride**2
    tracemalloc.start()
    y = tg.conv2d(x, w, b, padding=2, stride=stride)
    y.backward(np.ones(y.shape, np.float32))
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    needed = 2 * y.data.nbytes + x.data.nbytes
    assert peak < needed + columns / 2, (peak, needed, columns)
    assert kept < needed + columns / 4, (kept, needed, columns)


@pytest.mark.parametrize("op", [tg.conv2d, tg.conv_transpose2d])
def test_depthwise_conv2d_of_one_large_image_is_made_in_bands(op):
    """Beside the result it takes little memory, and the bias is added once where bands meet."""
    x, w, b = (tg.tensor(np.ones(shape, np.float32)) for shape in ((1, 16, 256, 256), (16, 1, 3, 3), 16))
    tracemalloc.start()
    y = op(x, w, b, padding=1, groups=16)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * y.data.nbytes, (peak, y.data.nbytes)
    assert (y.data[..., 1:-1, 1:-1] == 10).all() and (y.data[..., 0, 0] == 5).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_conv2d_dtype_is_kept(dtype):
    x = tg.tensor(np.ones((2, 2, 5, 5), dtype), requires_grad=True)
    w = tg.tensor(np.ones((4, 1, 3, 3), dtype), requires_grad=True)
    b = tg.tensor(np.ones(4, dtype), requires_grad=True)
    y = tg.conv2d(x, w, b, stride=2, groups=2)
    y.sum().backward()
    assert {t.dtype for t in (y, x.grad, w.grad, b.grad)} == {np.dtype(dtype)}


def test_conv_transpose2d_output_size_and_padding():
    rng = np.random.default_rng(0)
    w = rng.standard_normal((3, 2, 3, 3))
    for n in (7, 8):
        y = tg.conv2d(rng.standard_normal((1, 2, n, n)), w, stride=2, padding=1)
        back = tg.conv_transpose2d(y, w, stride=2, padding=1, output_size=(n, n))
        assert back.shape == (1, 2, n, n)
        close(back.data, tg.conv_transpose2d(y, w, stride=2, padding=1, output_padding=n - 7).data)


def test_conv1d_equals_conv2d_of_height_one():
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((2, 4, 9)), rng.standard_normal((6, 2, 3)), rng.standard_normal(6)
    for padding in (1, "same", ((2, 1),)):
        y = tg.conv1d(x, w, b, stride=2, padding=padding, groups=2)
        wide = padding if padding == "same" else ((0, 0), (1, 1) if padding == 1 else padding[0])
        close(y.data, tg.conv2d(x[:, :, None], w[:, :, None], b, stride=(1, 2), padding=wide,
                                groups=2).data[:, :, 0])
    tg.check_grads(lambda x, w: tg.conv1d(x, w, stride=2, groups=2), (x, w), linear=(0, 1))
    tg.check_grads(lambda x, w: tg.conv_transpose1d(x, w, stride=2, output_padding=1),
                   (x, rng.standard_normal((4, 2, 3))), linear=(0, 1))


X, W = np.ones((8, 4, 28, 28), np.float32), np.ones((16, 3, 5, 5), np.float32)


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.conv2d(X, W), ValueError,
     r"conv2d: weight expects 3 input channels but x has 4 \(x.shape=\(8, 4, 28, 28\), "
     r"weight.shape=\(16, 3, 5, 5\)"),
    (lambda: tg.conv2d(X[0, 0], W), ValueError, r"conv2d: x must have axes NCHW .* got shape \(28, 28\)"),
    (lambda: tg.conv2d(X[:, :3, :4], W), ValueError, "kernel spans 5x5 .* padded input is only 4x28"),
    (lambda: tg.conv2d(X[:, :3], W, stride=0), ValueError, "conv2d: stride must be at least 1, got 0"),
    (lambda: tg.conv2d(X[:, :3], W, stride=1.5), TypeError, "conv2d: stride expects an int"),
    (lambda: tg.conv2d(X[:, :3], W, padding=-1), ValueError, "conv2d: padding must be at least 0"),
    (lambda: tg.conv2d(X[:, :3], W, padding="full"), ValueError, "'same' or 'valid', got 'full'"),
    (lambda: tg.conv2d(X, W, groups=3), ValueError, "expects 9 input channels but x has 4"),
    (lambda: tg.conv2d(X, np.ones((6, 1, 3, 3), np.float32), groups=4), ValueError,
     r"weight.shape\[0\]=6 must be divisible by groups=4"),
    (lambda: tg.conv2d(X[:, :3], W, np.ones(3)), ValueError, r"bias must have shape \(16,\).*got \(3,\)"),
    (lambda: tg.conv2d(X[:, :3].astype(np.uint8), W), TypeError, "x must be floating point, got uint8"),
    (lambda: tg.conv2d(X[:, :3], W, layout="CHWN"), ValueError, "layout must be one of 'NCHW', 'NHWC'"),
    (lambda: tg.conv_transpose2d(X, W), ValueError, "weight expects 16 input channels but x has 4"),
    (lambda: tg.conv_transpose2d(X[:, :3], W.transpose(1, 0, 2, 3), stride=2, output_padding=2),
     ValueError, r"output_padding \(2, 2\) must be smaller than stride"),
    (lambda: tg.conv_transpose2d(X[:, :3], W.transpose(1, 0, 2, 3), output_size=(3, 3)),
     ValueError, r"output_size \(3, 3\) is smaller than the smallest possible output \(32, 32\)"),
    (lambda: tg.conv_transpose2d(X[:, :3], W.transpose(1, 0, 2, 3), padding="same"), ValueError,
     "padding must be numbers, got 'same'"),
    (lambda: tg.conv_transpose2d(X[:, :3, :0], W.transpose(1, 0, 2, 3)), ValueError, "conv_transpose2d: x has no cells"),
    (lambda: tg.conv2d(None, W), TypeError, "^conv2d x: expects real numbers"),
    (lambda: tg.conv2d(X, None), TypeError, "^conv2d weight: expects real numbers"),
    (lambda: tg.conv2d(X[:, :3], W, stride=np.array([1, 2])), TypeError, "^conv2d: stride expects an int or a pair"),
    (lambda: tg.conv2d(X[:, :3], W, padding=np.array([1, 2])), TypeError, "^conv2d: padding expects an int or a pair"),
    (lambda: tg.conv2d(X[:, :3], W, padding=tg.tensor(1)), TypeError, "^conv2d: padding expects an int or a pair"),
    (lambda: tg.conv2d(X[:, :3], W, groups=True), TypeError, "^conv2d: groups must be a whole number"),
    (lambda: tg.conv2d(X, W, layout="NHWC"), ValueError,
     r"expects 3 input channels but x has 28 \(x.shape=\(8, 4, 28, 28\)"),
    (lambda: tg.conv2d(X[0, 0], W, layout="NHWC"), ValueError, r"x must have axes NHWC \(or HWC, one sample\)"),
    (lambda: tg.conv1d(X, W), ValueError, "conv1d: x must have axes NCL"),
    (lambda: tg.conv1d(X[0], W[0]), ValueError,
     r"^conv1d: weight expects 5 input channels but x has 28 \(x.shape=\(4, 28, 28\), weight.shape=\(3, 5, 5\)"),
    (lambda: tg.conv1d(X[0, :, :5, :4], W[0]), ValueError, "^conv1d: the kernel spans 1x5"),
    (lambda: tg.conv1d(X[0, :, :5], W[0], stride=1.5), TypeError, "^conv1d: stride expects an int"),
    (lambda: tg.conv_transpose1d(X[0, :, :3], W[0], output_size=99), ValueError, "^conv_transpose1d: output_padding"),
    (lambda: tg.conv_transpose1d(X[0], W[0]), ValueError, "^conv_transpose1d: weight expects 3 input channels"),
    (lambda: tg.conv2d_weight(X[:, :, :7], X, 5), ValueError,
     r"^conv2d_weight: g must have shape \(8, O, 24, 24\), .*got \(8, 4, 7, 28\)"),
    (lambda: tg.conv2d_weight(X, X[:4], 1), ValueError, r"^conv2d_weight: g must have shape \(4, O, 28, 28\)"),
    (lambda: tg.conv2d_weight(X, X, 1, groups=3), ValueError, "channels of g and x must be divisible by groups=3"),
    (lambda: tg.conv2d_weight(X[:, :3], X, 1, groups=4), ValueError, "must be divisible by groups=4, got 3 and 4"),
    (lambda: tg.conv2d_weight(X, X[:, :3], 1, groups=4), ValueError, "must be divisible by groups=4, got 4 and 3"),
    (lambda: tg.conv2d_weight(X, X, 1, groups=0), ValueError, "^conv2d_weight: groups must be at least 1"),
    (lambda: tg.conv2d_weight(X, X, (0, 1)), ValueError, "^conv2d_weight: kernel must be at least 1"),
    (lambda: tg.conv2d_weight(X[0], X[0], 1), ValueError, "^conv2d_weight: g must have axes N, O, OH, OW"),
    (lambda: tg.conv2d_weight(X.astype(int), X, 1), TypeError, "^conv2d_weight: g must be floating point"),
])
def test_conv2d_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_conv2d_keeps_infinity_and_nan_inside_the_windows_that_see_them(bad):
    """Zeros beside a filter must not meet them: 0 * inf is nan, in outputs that never saw it."""
    rng = np.random.default_rng(0)
    window = Geometry((8, 8), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1))
    assert wide._plan(8, (3, 3), 1, 1, 4, 1)[1] > 1, "the sample is not widened"
    x, w = rng.standard_normal((2, 1, 8, 8)), rng.standard_normal((4, 1, 3, 3))
    x[0, 0, 4, 4] = bad
    with np.errstate(invalid="ignore"):
        y = kernels.conv2d(x, w, None, window)
    assert (~np.isfinite(y)).sum() == 4 * 9 and not np.isfinite(y[0, :, 3:6, 3:6]).any()
    g = rng.standard_normal(y.shape)
    g[1, 2, 0, 0] = bad
    dx = kernels.input_adjoint(g, w, None, window)
    assert (~np.isfinite(dx)).sum() == 4 and not np.isfinite(dx[1, 0, :2, :2]).any()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_conv_transpose2d_keeps_infinite_weights_where_they_meet_a_number(groups, bad):
    """Seen as a convolution of g, padding surrounds it: 0 * inf is nan in cells no filter tap reaches."""
    rng = np.random.default_rng(0)
    g, w = rng.standard_normal((1, 4, 5, 5)), rng.standard_normal((4, 4 // groups, 3, 3))
    w[0, 0, 0, 0] = bad
    window = Geometry((7, 7), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), groups)
    dx = kernels.input_adjoint(g, w, None, window)
    assert not np.isfinite(dx[0, 0, :5, :5]).any()
    dx[0, 0, :5, :5] = 0
    assert np.isfinite(dx).all()
