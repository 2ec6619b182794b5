"""Random programs, geometries, indices and files, the same ones in every run.

Each is compared with something that shares no code with it: NumPy's own value and central
differences, seven plain loops, a dense Jacobian, the bytes that went in.
"""
from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import nn
import tinygrad_conv as tg
from tests import conv_reference, pool_reference


def numbers(draw, shape, ties: bool = False, salt: int = 0) -> np.ndarray:
    rng = np.random.default_rng((draw(st.integers(0, 2**32 - 1)), salt))
    return rng.integers(-2, 3, shape).astype(np.float64) if ties else rng.standard_normal(shape)


def laid_out(draw, a: np.ndarray) -> np.ndarray:
    """The same values in another order in memory: Fortran, reversed, or every second entry."""
    kind = draw(st.sampled_from(["C", "F", "reversed", "strided"]))
    if kind == "C" or not a.ndim:
        return a
    if kind == "F":
        return np.asfortranarray(a)
    return a[..., ::-1].copy()[..., ::-1] if kind == "reversed" else np.repeat(a, 2, axis=-1)[..., ::2]


# ----- programs: a list of steps, run by tg and by NumPy -----

UNARY = {"tanh": np.tanh, "sin": np.sin, "cos": np.cos, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
         "softplus": lambda x: np.log1p(np.exp(x)), "silu": lambda x: x / (1 + np.exp(-x)), "neg": np.negative}
SAFE = {"exp": (lambda x: tg.exp(tg.tanh(x)), lambda x: np.exp(np.tanh(x))),
        "log": (lambda x: tg.log(x * x + 0.5), lambda x: np.log(x * x + 0.5)),
        "sqrt": (lambda x: tg.sqrt(x * x + 0.5), lambda x: np.sqrt(x * x + 0.5)),
        "pow": (lambda x: (x * x + 0.5) ** 1.5, lambda x: (x * x + 0.5) ** 1.5),
        "logsumexp": (lambda x: tg.logsumexp(x, 0, keepdims=True), lambda x: np.log(np.exp(x).sum(0, keepdims=True))),
        "softmax": (lambda x: tg.softmax(x, 0), lambda x: np.exp(x) / np.exp(x).sum(0, keepdims=True))}
BINARY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum}
REDUCTIONS = {"sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min}


def sizes_of(shape):
    """Ways to write the same number of entries."""
    n = math.prod(shape)
    return st.sampled_from([(n,), (1, n), (n, 1), shape[::-1], (-1,)] + [(k, -1) for k in (2, 3) if n and n % k == 0])


@st.composite
def broadcastable(draw, shape):
    """A shape that broadcasts against `shape`, or reaches beyond it."""
    own = tuple(draw(st.sampled_from([n, 1])) for n in shape[draw(st.integers(0, len(shape))):])
    return (*draw(st.lists(st.integers(1, 2), max_size=1)), *own) if len(own) == len(shape) < 3 else own


def elementwise(draw, shape, leaves):
    kind = draw(st.sampled_from(["unary", "safe", "binary", "div", "where"]))
    if kind == "unary" or kind == "safe" and not shape:
        name = draw(st.sampled_from(sorted(UNARY)))
        return lambda x, _: getattr(tg, name)(x), lambda x, _: UNARY[name](x)
    if kind == "safe":
        ours, theirs = SAFE[draw(st.sampled_from(sorted(SAFE)))]
        return lambda x, _: ours(x), lambda x, _: theirs(x)
    leaves.append(numbers(draw, draw(broadcastable(shape)), salt=len(leaves)))
    i = len(leaves) - 1
    if kind == "div":
        return lambda x, ts: x / (ts[i] * ts[i] + 1.0), lambda x, ts: x / (ts[i] * ts[i] + 1.0)
    if kind == "where":
        mask = leaves[i] > 0
        return lambda x, ts: tg.where(mask, x, ts[i]), lambda x, ts: np.where(mask, x, ts[i])
    name = draw(st.sampled_from(sorted(BINARY)))
    left = draw(st.booleans())
    return (lambda x, ts: getattr(tg, name)(*((ts[i], x) if left else (x, ts[i]))),
            lambda x, ts: BINARY[name](*((ts[i], x) if left else (x, ts[i]))))


def shaping(draw, shape, leaves):
    n = len(shape)
    kind = draw(st.sampled_from(["reshape", "transpose", "expand_dims", "broadcast", "flip", "roll", "pad", "slice",
                                 "concatenate", "stack", "split"][0 if n else 3:]))
    axis = draw(st.integers(-n, n - 1)) if n else 0
    if kind in ("reshape", "expand_dims", "broadcast") or not n:
        to = {"reshape": lambda: draw(sizes_of(shape)), "expand_dims": lambda: (*shape[:axis], 1, *shape[axis:])}
        if kind in to:
            target = to[kind]()
            return lambda x, _: tg.reshape(x, target), lambda x, _: np.reshape(x, target)
        target = (*draw(st.lists(st.integers(1, 3), max_size=1)), *[draw(st.integers(1, 3)) if m == 1 else m for m in shape])
        return lambda x, _: tg.broadcast_to(x, target), lambda x, _: np.broadcast_to(x, target)
    if kind == "transpose":
        axes = tuple(draw(st.permutations(range(n))))
        return lambda x, _: tg.transpose(x, axes), lambda x, _: np.transpose(x, axes)
    if kind in ("flip", "roll"):
        args = (axis,) if kind == "flip" else (draw(st.integers(-4, 4)), axis)
        return lambda x, _: getattr(tg, kind)(x, *args), lambda x, _: getattr(np, kind)(x, *args)
    if kind == "pad":
        width = [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in shape]
        mode = draw(st.sampled_from(["constant", "edge", "reflect"]))
        width = [(min(a, m - 1), min(b, m - 1)) for (a, b), m in zip(width, shape)] if mode == "reflect" else width
        ours = {"edge": "replicate"}.get(mode, mode)
        return lambda x, _: tg.pad(x, width, ours), lambda x, _: np.pad(x, width, mode)
    if kind == "slice":
        index = draw(hnp.basic_indices(shape, min_dims=0, allow_newaxis=True).filter(
            lambda i: np.empty(shape)[i].size > 0))
        return lambda x, _: x[index], lambda x, _: x[index]
    if kind == "split":
        k = draw(st.sampled_from([k for k in (1, 2, 3) if shape[axis] % k == 0]))
        part = draw(st.integers(0, k - 1))
        return lambda x, _: tg.split(x, k, axis)[part], lambda x, _: np.split(x, k, axis)[part]
    leaves.append(numbers(draw, shape, salt=len(leaves)))
    i = len(leaves) - 1
    return (lambda x, ts: getattr(tg, kind)([x, ts[i], x], axis), lambda x, ts: getattr(np, kind)([x, ts[i], x], axis))


def reducing(draw, shape, leaves):
    n = len(shape)
    if not n:
        return elementwise(draw, shape, leaves)
    axis = draw(st.one_of(st.none(), st.integers(-n, n - 1), st.sets(st.integers(0, n - 1), min_size=1).map(tuple)))
    kind = draw(st.sampled_from([*sorted(REDUCTIONS), "var", "cumsum", "prod", "matmul"]))
    keep = draw(st.booleans())
    if kind == "cumsum":
        axis = draw(st.integers(-n, n - 1))
        return lambda x, _: tg.cumsum(x, axis), lambda x, _: np.cumsum(x, axis)
    if kind == "matmul":
        leaves.append(numbers(draw, (shape[-1], draw(st.integers(1, 3))), salt=len(leaves)))
        i = len(leaves) - 1
        return lambda x, ts: x @ ts[i], lambda x, ts: x @ ts[i]
    if kind == "prod":
        return (lambda x, _: tg.prod(tg.tanh(x), axis, keepdims=keep), lambda x, _: np.prod(np.tanh(x), axis, keepdims=keep))
    if kind == "var":
        return lambda x, _: tg.var(x, axis, 0, keep), lambda x, _: np.var(x, axis, ddof=0, keepdims=keep)
    return (lambda x, _: getattr(tg, kind)(x, axis, keepdims=keep), lambda x, _: REDUCTIONS[kind](x, axis, keepdims=keep))


@st.composite
def programs(draw):
    """(steps for tensors, steps for arrays, leaves): the first leaf goes through all steps."""
    leaves = [numbers(draw, draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)))]
    ours, theirs, shape = [], [], leaves[0].shape
    for _ in range(draw(st.integers(1, 6))):
        family = draw(st.sampled_from([elementwise, shaping, reducing]))
        a, b = family(draw, shape, leaves)
        ours, theirs = [*ours, a], [*theirs, b]
        value = run(theirs, leaves)
        assume(np.size(value) <= 200 and np.abs(value).max() < 1e3 and np.ndim(value) <= 5)
        shape = np.shape(value)
    return ours, theirs, [laid_out(draw, a) for a in leaves]


def run(steps, leaves):
    x = leaves[0]
    for step in steps:
        x = step(x, leaves)
    return x


def central(f, leaves, directions, eps=1e-5):
    """The derivative of f along `directions`, and how far the two one-sided ones are apart."""
    before, here, after = [f([a + e * d for a, d in zip(leaves, directions)]) for e in (-eps, 0.0, eps)]
    return (after - before) / (2 * eps), abs(after - 2 * here + before) / eps


@settings(max_examples=150)
@given(programs(), st.integers(0, 2**32 - 1))
def test_programs_equal_numpy_and_central_differences_to_order_two(program, seed):
    ours, theirs, leaves = program
    rng = np.random.default_rng(seed)
    value = run(theirs, leaves)
    g = rng.standard_normal(np.shape(value))
    u, v = [[rng.standard_normal(a.shape) for a in leaves] for _ in range(2)]
    nums = tuple(range(len(leaves)))

    def loss(*ts):
        return tg.sum(run(ours, ts) * g)

    def slope(*ts):  # the gradient along u, a scalar function again
        return sum(((d * w).sum() for d, w in zip(tg.grad(loss, nums)(*ts), u)), start=tg.tensor(0.0))

    np.testing.assert_allclose(run(ours, [tg.tensor(a) for a in leaves]).data, value, rtol=1e-9, atol=1e-9)
    first, doubt = central(lambda a: float(np.sum(run(theirs, a) * g)), leaves, u)
    assume(doubt < 1e-2)  # no kink within the step
    assert slope(*leaves).item() == pytest.approx(first, rel=1e-5, abs=1e-5)
    second, doubt = central(lambda a: slope(*a).item(), leaves, v)
    assume(doubt < 1e-2)
    found = sum(float((d.data * w).sum()) for d, w in zip(tg.grad(slope, nums)(*leaves), v))
    assert found == pytest.approx(second, rel=1e-4, abs=1e-4)


@settings(max_examples=60)
@given(programs())
def test_programs_keep_float32_and_leave_their_inputs_alone(program):
    ours, _, leaves = program
    leaves = [a.astype(np.float32) for a in leaves]
    before = [a.copy() for a in leaves]
    ts = [tg.tensor(a, requires_grad=True) for a in leaves]
    y = run(ours, ts)
    assert y.dtype == np.float32
    tg.sum(y).backward()
    for t, a, b in zip(ts, leaves, before):
        assert t.grad is None or (t.grad.dtype, t.grad.shape) == (np.float32, t.shape)
        assert np.array_equal(t.data, b) and np.array_equal(a, b)


def test_a_vjp_can_be_differentiated_by_its_cotangent_alone():
    x, h = np.array([2.0, 3.0]), np.array([1.0, 10.0])
    slope = tg.grad(lambda g: tg.sum(tg.vjp(lambda x: x * x, x)[1](g)[0] * h))
    assert slope(np.ones(2)).data.tolist() == [4.0, 60.0]
    g = tg.tensor(np.ones(2), requires_grad=True)
    assert tg.vjp(lambda x: x * x, x)[1](g)[0].requires_grad


# ----- indexing -----

@st.composite
def indices(draw, shape):
    """Basic, advanced and mixed: arrays that broadcast, masks, duplicates, negative, empty."""
    together = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    index, axis = [], 0
    while axis < len(shape):
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "int", "array", "list", "mask", "new", "end", "tensor"]))
        if kind == "end":
            break
        if kind == "new":
            index.append(None)
            continue
        if kind == "mask" and sum(together) == 0:
            wide = draw(st.integers(1, len(shape) - axis))
            index.append(draw(hnp.arrays(bool, shape[axis:axis + wide])))
            axis += wide
            continue
        if kind == "slice" or n == 0 or kind == "mask":
            index.append(draw(st.slices(n)))
        elif kind == "int":
            index.append(draw(st.integers(-n, n - 1)))
        else:
            a = draw(hnp.arrays(draw(st.sampled_from([np.int64, np.int8, np.int32])), together,
                                elements=st.integers(-n, n - 1)))
            index.append({"array": a, "list": a.tolist(), "tensor": tg.tensor(a)}[kind])
        axis += 1
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, len(index))), Ellipsis) if axis == len(shape) else index.append(Ellipsis)
    return tuple(index) if len(index) != 1 or draw(st.booleans()) else index[0]


def plain(index):
    """The index with arrays for tensors, as NumPy takes it."""
    parts = [i.data if isinstance(i, tg.Tensor) else i for i in (index if isinstance(index, tuple) else (index,))]
    return tuple(np.asarray(i, dtype=int) if isinstance(i, list) and not np.size(i) else i for i in parts)


@settings(max_examples=250)
@given(st.data())
def test_indexing_equals_numpy_and_its_dense_jacobian(data):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    index = data.draw(indices(shape))
    x = numbers(data.draw, shape)
    try:
        value = x[plain(index)]
    except IndexError:
        with pytest.raises(IndexError, match="^getitem: "):
            tg.getitem(x, index)
        return
    places = np.arange(x.size).reshape(shape)[plain(index)].reshape(-1)  # row r of the Jacobian has a 1 at places[r]
    g, h = numbers(data.draw, value.shape), numbers(data.draw, shape)
    t = tg.tensor(x, requires_grad=True)
    y = tg.getitem(t, index)
    assert np.array_equal(y.data, value) and y.shape == value.shape
    dx, = tg.grad(lambda t: tg.sum(tg.getitem(t, index) * g), (0,))(t)
    np.testing.assert_allclose(dx.data, np.bincount(places, g.reshape(-1), x.size).reshape(shape)[()], atol=1e-12)
    # the derivative of <h, dx> by g is h at the same places
    dg = tg.grad(lambda g: tg.sum(tg.vjp(lambda t: tg.getitem(t, index), t)[1](g)[0] * h))(g)
    np.testing.assert_allclose(dg.data, h[plain(index)], atol=1e-12)


@settings(max_examples=80)
@given(st.data())
def test_an_index_that_does_not_fit_is_an_error_of_getitem(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=3))
    bad = data.draw(st.sampled_from([shape[0], -shape[0] - 1, 1.0, "a", [0.5], {}, np.zeros(shape[0] + 1, bool), [[0], [0, 1]],
                                     (slice(None),) * (len(shape) + 1), (..., ...), np.array(["a"]), 1j, object()]))
    with pytest.raises((IndexError, TypeError, ValueError), match="^getitem: "):
        tg.tensor(numbers(data.draw, shape))[bad]


# ----- convolution -----

@st.composite
def geometries(draw, side=6, kernel=4):
    pairs = lambda lo, hi: tuple(draw(st.lists(st.integers(lo, hi), min_size=2, max_size=2)))
    size, k, stride, dilation = pairs(1, side), pairs(1, kernel), pairs(1, 4), pairs(1, 3)
    padding = (pairs(0, 4), pairs(0, 4))
    assume(min(conv_reference.out_size(size, k, stride, padding, dilation)) >= 1)
    return size, k, {"stride": stride, "padding": padding, "dilation": dilation, "groups": draw(st.integers(1, 3))}


@settings(max_examples=90)
@given(st.data())
def test_convolution_and_its_adjoints_equal_seven_loops(data):
    size, k, geo = data.draw(geometries())
    n, cg, og = [data.draw(st.integers(lo, 2)) for lo in (0, 1, 1)]
    x = laid_out(data.draw, numbers(data.draw, (n, cg * geo["groups"], *size)))
    w = laid_out(data.draw, numbers(data.draw, (og * geo["groups"], cg, *k)))
    y, pull = tg.vjp(lambda x, w: tg.conv2d(x, w, **geo), x, w)
    g = laid_out(data.draw, numbers(data.draw, y.shape))
    expected = conv_reference.seven_loops(x, w, g, **geo)
    for found, value in zip((y, *pull(g)), expected):
        np.testing.assert_allclose(found.data, value, atol=1e-11)
    u = tg.conv_transpose2d(g, w, output_size=size, **geo)
    np.testing.assert_allclose(u.data, expected[1], atol=1e-11)
    assert np.vdot(y.data, g) == pytest.approx(np.vdot(x, u.data), abs=1e-9)


@settings(max_examples=60)
@given(st.data())
def test_transposed_convolution_is_the_adjoint_for_every_output_padding(data):
    _, k, geo = data.draw(geometries())
    size = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    extra = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(geo["stride"], geo["dilation"]))
    whole = [(m - 1) * s - sum(p) + d * (a - 1) + e + 1 for m, s, p, d, a, e in zip(
        size, geo["stride"], geo["padding"], geo["dilation"], k, extra)]
    assume(min(whole) >= 1)
    og, cg = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))
    x = numbers(data.draw, (2, cg * geo["groups"], *size))
    w = numbers(data.draw, (cg * geo["groups"], og, *k))
    y, pull = tg.vjp(lambda x, w: tg.conv_transpose2d(x, w, output_padding=extra, **geo), x, w)
    assert y.shape == (2, og * geo["groups"], *whole)
    g = numbers(data.draw, y.shape)
    dx, dw = pull(g)
    # <y, g> = sum of x w g over the index equation: the same seven loops, on rows that the window reaches
    reach = conv_reference.out_size(whole, k, geo["stride"], geo["padding"], geo["dilation"])
    grown = np.zeros((2, x.shape[1], *[max(a, b) for a, b in zip(reach, size)]))
    grown[:, :, :size[0], :size[1]] = x
    assume(reach == grown.shape[2:])
    value, u, v = conv_reference.seven_loops(g, w, grown, **geo)
    np.testing.assert_allclose(y.data, u, atol=1e-11)
    np.testing.assert_allclose(dx.data, value[:, :, :size[0], :size[1]], atol=1e-11)
    np.testing.assert_allclose(dw.data, v, atol=1e-11)


def by_windows(x, w, g, stride, padding, dilation, groups):
    """(y, dx, dw) with one loop over the kernel: quick enough for sizes that are cut in chunks."""
    n, c, h, wd = x.shape
    (oh, ow), (kh, kw) = g.shape[2:], w.shape[2:]
    xp = np.pad(x, ((0, 0), (0, 0), *padding)).reshape(n, groups, c // groups, h + sum(padding[0]), -1)
    wg, gg = w.reshape(groups, -1, *w.shape[1:]), g.reshape(n, groups, -1, oh, ow)
    y, dx, dw = np.zeros(gg.shape), np.zeros(xp.shape), np.zeros(wg.shape)
    for a, b in np.ndindex(kh, kw):
        seen = (..., slice(a * dilation[0], a * dilation[0] + (oh - 1) * stride[0] + 1, stride[0]),
                slice(b * dilation[1], b * dilation[1] + (ow - 1) * stride[1] + 1, stride[1]))
        y += np.einsum("ngchw,goc->ngohw", xp[seen], wg[..., a, b])
        dx[seen] += np.einsum("ngohw,goc->ngchw", gg, wg[..., a, b])
        dw[..., a, b] = np.einsum("ngohw,ngchw->goc", gg, xp[seen])
    dx = dx[..., padding[0][0]:padding[0][0] + h, padding[1][0]:padding[1][0] + wd]
    return y.reshape(g.shape), dx.reshape(x.shape), dw.reshape(w.shape)


@settings(max_examples=40)
@given(st.data())
def test_large_convolutions_equal_a_loop_over_the_kernel(data):
    """Sizes at which work is cut into chunks and threads, and other algorithms are chosen."""
    size, k, geo = data.draw(geometries(side=34, kernel=6))
    channels = {"few": st.integers(1, 3), "some": st.integers(4, 20), "many": st.sampled_from([32, 64])}
    n = data.draw(st.integers(1, 9))
    cg, og = [data.draw(channels[data.draw(st.sampled_from(sorted(channels)))]) for _ in range(2)]
    if data.draw(st.booleans()):
        geo["groups"], cg, og = data.draw(st.integers(4, 24)), 1, data.draw(st.integers(1, 2))
    assume(n * cg * og * geo["groups"] * math.prod(size) * math.prod(k) / math.prod(geo["stride"]) < 3e7)
    x = laid_out(data.draw, numbers(data.draw, (n, cg * geo["groups"], *size)))
    w = laid_out(data.draw, numbers(data.draw, (og * geo["groups"], cg, *k)))
    y, pull = tg.vjp(lambda x, w: tg.conv2d(x, w, **geo), x, w)
    g = laid_out(data.draw, numbers(data.draw, y.shape))
    for found, value in zip((y, *pull(g)), by_windows(x, w, g, **geo)):
        np.testing.assert_allclose(found.data, value, atol=1e-9)


@settings(max_examples=40)
@given(st.data())
def test_same_padding_keeps_the_size_over_the_stride(data):
    size, k, geo = data.draw(geometries())
    x, w = numbers(data.draw, (1, geo["groups"], *size)), numbers(data.draw, (geo["groups"], 1, *k))
    y = tg.conv2d(x, w, **{**geo, "padding": "same"})
    assert y.shape[2:] == tuple(-(-m // s) for m, s in zip(size, geo["stride"]))
    total = [max((o - 1) * s + d * (a - 1) + 1 - m, 0) for o, s, d, a, m in zip(
        y.shape[2:], geo["stride"], geo["dilation"], k, size)]
    padding = tuple((t // 2, t - t // 2) for t in total)
    np.testing.assert_allclose(y.data, conv_reference.conv2d(x, w, **{**geo, "padding": padding}), atol=1e-11)


# ----- pooling -----

@st.composite
def pools(draw, dilated: bool):
    pairs = lambda lo, hi: (draw(st.integers(lo, hi)), draw(st.integers(lo, hi)))
    size, kernel, stride = pairs(1, 7), pairs(1, 4), pairs(1, 4)
    dilation = pairs(1, 2) if dilated else (1, 1)
    padding = tuple(draw(st.integers(0, (d * (k - 1) + 1) // 2)) for k, d in zip(kernel, dilation))
    geo = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": draw(st.booleans())}
    out, table = pool_reference.windows(size, **geo)
    assume(min(out) >= 1 and all(cells for cells, _ in table.values()))
    return size, geo


def public(geo):
    return {"kernel_size" if name == "kernel" else name: value for name, value in geo.items()}


@settings(max_examples=120)
@given(st.data())
def test_max_pooling_with_ties_and_nan_equals_loops(data):
    size, geo = data.draw(pools(dilated=True))
    x = laid_out(data.draw, numbers(data.draw, (2, 2, *size), ties=data.draw(st.booleans())))
    if data.draw(st.booleans()):
        x = np.where(np.random.default_rng(0).random(x.shape) < 0.2, np.nan, x)
    y, places = tg.max_pool2d(x, **public(geo), return_indices=True)
    expected, where = pool_reference.max_pool(x, **geo)
    assert np.array_equal(y.data, expected, equal_nan=True) and np.array_equal(places.data, where)
    g, h = numbers(data.draw, y.shape), numbers(data.draw, x.shape)
    dx, = tg.vjp(lambda x: tg.max_pool2d(x, **public(geo)), x)[1](g)
    np.testing.assert_allclose(dx.data, pool_reference.scatter(g, x, **geo), atol=1e-12)
    dg = tg.grad(lambda g: tg.sum(tg.vjp(lambda x: tg.max_pool2d(x, **public(geo)), x)[1](g)[0] * h))(g)
    np.testing.assert_allclose(dg.data, pool_reference.gather(h, x, **geo), atol=1e-12)
    if geo["dilation"] == (1, 1):
        put = tg.max_unpool2d(y, places, geo["kernel"], geo["stride"], geo["padding"], output_size=size)
        np.testing.assert_array_equal(put.data, pool_reference.pile(expected, where, size=size, add=False))


@settings(max_examples=100)
@given(st.data())
def test_average_pooling_equals_loops_and_is_its_own_adjoint(data):
    size, geo = data.draw(pools(dilated=False))
    how = {"count_include_pad": data.draw(st.booleans()), "divisor_override": data.draw(st.sampled_from([None, 3, -2]))}
    x = laid_out(data.draw, numbers(data.draw, (2, 2, *size)))
    ours = {name: value for name, value in public(geo).items() if name != "dilation"}
    y, pull = tg.vjp(lambda x: tg.avg_pool2d(x, **ours, **how), x)
    np.testing.assert_allclose(y.data, pool_reference.avg_pool(x, **geo, **how), atol=1e-12)
    g = numbers(data.draw, y.shape)
    np.testing.assert_allclose(pull(g)[0].data, pool_reference.avg_spread(g, size=size, **geo, **how), atol=1e-12)


@settings(max_examples=60)
@given(st.data())
def test_adaptive_pooling_equals_loops(data):
    size, out = [data.draw(st.tuples(st.integers(1, 7), st.integers(1, 7))) for _ in range(2)]
    x = laid_out(data.draw, numbers(data.draw, (1, 2, *size), ties=data.draw(st.booleans())))
    y, pull = tg.vjp(lambda x: tg.adaptive_avg_pool2d(x, out), x)
    np.testing.assert_allclose(y.data, pool_reference.adaptive_avg(x, output_size=out), atol=1e-12)
    g = numbers(data.draw, y.shape)
    np.testing.assert_allclose(pull(g)[0].data, pool_reference.adaptive_spread(g, size=size), atol=1e-12)
    values, where = pool_reference.adaptive_max(x, output_size=out)
    top, pull = tg.vjp(lambda x: tg.adaptive_max_pool2d(x, out), x)
    np.testing.assert_array_equal(top.data, values)
    np.testing.assert_allclose(pull(g)[0].data, pool_reference.pile(g, where, size=size), atol=1e-12)


# ----- data and files -----

@settings(max_examples=100)
@given(st.integers(0, 40), st.integers(1, 45), st.booleans(), st.booleans(), st.integers(0, 99))
def test_a_loader_gives_every_sample_once_and_the_same_order_again(n, size, shuffle, drop_last, seed):
    data = nn.data.Dataset(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n))
    one, two = [nn.data.DataLoader(data, size, shuffle, np.random.default_rng(seed), drop_last) for _ in range(2)]
    batches = list(one)
    assert len(batches) == len(one) == (n // size if drop_last else math.ceil(n / size))
    assert all(len(x) == len(y) == size for x, y in batches[:-1])
    seen = [int(i) for _, y in batches for i in y]
    assert all(np.array_equal(x.reshape(-1), y) for x, y in batches)
    assert len(set(seen)) == len(seen) == (n // size * size if drop_last else n)
    assert shuffle or seen == list(range(len(seen)))
    assert [y.tolist() for _, y in two] == [y.tolist() for _, y in batches]


NAMES = st.one_of(st.text(max_size=20), st.sampled_from([
    "a.b", "", " ", "é\n\"\\", "\x00", "weight", "../up", "__class__", "__metadata__", "\ud800"]))
KINDS = [np.float16, np.float32, np.float64, np.int8, np.uint8, np.int16, np.int32, np.int64, np.uint64, bool]
STATES = st.dictionaries(NAMES, st.sampled_from(KINDS).flatmap(lambda kind: hnp.arrays(
    kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))), max_size=5)


@settings(max_examples=80)
@given(STATES, st.dictionaries(NAMES, NAMES, max_size=2))
def test_what_is_saved_is_loaded_bit_for_bit_or_refused(tmp_path, state, notes):
    pytest.importorskip("safetensors")
    path = tmp_path / "f.safetensors"
    path.unlink(missing_ok=True)
    text = [*state, *notes, *notes.values()]
    if "__metadata__" in state or any(0xD800 <= ord(c) < 0xE000 for name in text for c in name):
        with pytest.raises(ValueError, match="^save: "):
            nn.save(state, path, notes)
        assert list(tmp_path.iterdir()) == []
        return
    nn.save(state, path, notes)
    back = nn.load(path)
    assert set(back) == set(state)
    for name, a in state.items():
        assert (back[name].dtype, back[name].shape, back[name].tobytes()) == (a.dtype, a.shape, a.tobytes())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("state, notes, text", [
    pytest.param({"w": np.ones(2, np.longdouble)}, None, "save: expects numeric arrays by name, got .* at 'w'",
                 marks=pytest.mark.skipif(np.finfo(np.longdouble).bits == 64, reason="is float64 here")),
    ({"w": np.ones(2)}, {"epoch": 3}, "save: expects metadata to be text by name, got int")])
def test_what_the_format_has_no_place_for_is_refused(tmp_path, state, notes, text):
    pytest.importorskip("safetensors")
    with pytest.raises(TypeError, match=text):
        nn.save(state, tmp_path / "f.safetensors", notes)


@pytest.mark.parametrize("kind, size", [("F8_E5M2", 2), ("F8_E4M3", 2)])
def test_types_that_numpy_does_not_have_are_said_to_be_the_reason(tmp_path, kind, size):
    pytest.importorskip("safetensors")
    header = json.dumps({"w": {"dtype": kind, "shape": [2], "data_offsets": [0, size]}}).encode()
    (tmp_path / "f.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(size))
    with pytest.raises(ValueError, match="of a type NumPy does not have"):
        nn.load(tmp_path / "f.safetensors")


@st.composite
def damaged(draw, content: bytes) -> bytes:
    """The bytes cut, grown, overwritten, or with another header length."""
    kind = draw(st.sampled_from(["cut", "grow", "overwrite", "length", "header", "random"]))
    if kind == "cut":
        return content[:draw(st.integers(0, len(content) - 1))]
    if kind == "grow":
        return content + draw(st.binary(min_size=1, max_size=20))
    if kind == "length":
        return struct.pack("<Q", draw(st.integers(0, 2**64 - 1))) + content[8:]
    if kind == "random":
        return draw(st.binary(max_size=60))
    if kind == "header":
        text = draw(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(
            ["F32", "I64", "dtype", "shape", "data_offsets"]), lambda inner: st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["w", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4), max_leaves=8))
        header = json.dumps(text).encode()
        return struct.pack("<Q", len(header)) + header + content[-8:]
    a = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        a[draw(st.integers(0, len(a) - 1))] = draw(st.integers(0, 255))
    return bytes(a)


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_file_is_a_clear_error_and_never_changes_the_model(tmp_path, data):
    pytest.importorskip("safetensors")
    net = nn.Sequential(nn.Linear(2, 3, rng=np.random.default_rng(0)), nn.BatchNorm1d(3))
    before = net.state_dict()
    path = tmp_path / "f.safetensors"
    nn.save(net, path)
    path.write_bytes(data.draw(damaged(path.read_bytes())))
    try:
        state = nn.load(path)
    except ValueError as e:
        assert str(e).startswith("load: ") and "f.safetensors" in str(e)
        return
    try:
        net.load_state_dict(state)
    except RuntimeError as e:
        assert str(e).startswith("load_state_dict: ")
        assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


@settings(max_examples=150)
@given(st.data())
def test_a_damaged_idx_file_is_a_clear_error(tmp_path, data):
    import gzip

    from nn.data.download import read_idx
    content = struct.pack(">BBBB3I", 0, 0, 8, 3, 2, 3, 2) + bytes(range(12))
    packed = gzip.compress(content, mtime=0)
    inside = data.draw(st.booleans())
    bad = gzip.compress(data.draw(damaged(content)), mtime=0) if inside else data.draw(damaged(packed))
    (tmp_path / "f.gz").write_bytes(bad)
    try:
        a = read_idx(tmp_path / "f.gz")
    except ValueError as e:
        assert str(e).startswith("read_idx: ") and "f.gz" in str(e)
    else:
        assert a.dtype == np.uint8
