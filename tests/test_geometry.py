"""One geometry for convolutions and pools: one rule for padding, and a table of kernels beside it."""
from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests import pool_reference
from tinygrad_conv.kernels import table
from tinygrad_conv.kernels.geometry import Geometry, conv_geometry


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


# ----- the value -----

def test_a_geometry_is_a_value():
    a, b = (Geometry((5, 6), (3, 3), (1, 2), ((1, 1), (0, 2)), (1, 1), groups=2) for _ in range(2))
    assert a == b and hash(a) == hash(b) and a is not b
    assert repr(a) == "Geometry(5x6, 3x3 stride (1,2) padding (1,(0,2)) groups 2)"
    assert (a.out, a.padded, a.spans) == ((5, 3), (7, 8), (3, 3))
    assert dataclasses.replace(a, dilation=(2, 1)).spans == (5, 3) and a.spans == (3, 3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        a.stride = (1, 1)


def test_a_geometry_is_made_once_and_equal_numbers_of_other_types_do_not_pass():
    given = ("conv2d", (5, 6), (3, 3), (1, 1), 0, 1, 1)
    assert conv_geometry(*given) is conv_geometry(*given)
    x, w = np.ones((1, 1, 5, 6)), np.ones((1, 1, 3, 3))
    assert tg.conv2d(x, w, stride=(1, 1)).shape == (1, 1, 3, 4)
    for stride in ((True, 1), (1.0, 1.0), True, 1.0):
        with pytest.raises(TypeError, match="^conv2d: stride expects an int or a pair of ints"):
            tg.conv2d(x, w, stride=stride)
    assert tg.conv2d(x, w, stride=np.int64(1)).shape == tg.conv2d(x, w, stride=[1, 1]).shape == (1, 1, 3, 4)


def test_of_three_axes():
    geometry = Geometry((4, 5, 6), (2, 2, 3), (1, 2, 1), ((0, 0), (1, 0), (1, 1)), (1, 1, 2))
    assert geometry.out == (3, 3, 4) and len(geometry.along) == 3
    covered = np.zeros(geometry.size, int)
    for outs, cells in geometry.taps:
        covered[cells] += np.ones(geometry.out, int)[outs]
    assert covered.sum() == sum(
        0 <= u < 4 and 0 <= v < 5 and 0 <= z < 6 for i, j, k, a, b, c in itertools.product(*map(range, (3, 3, 4, 2, 2, 3)))
        for u, v, z in [(i + a, 2 * j + b - 1, k + 2 * c - 1)])


def test_a_stride_beyond_the_image_leaves_one_window():
    x, w = tg.tensor(np.ones((1, 1, 5, 5)), requires_grad=True), tg.tensor(np.ones((1, 1, 2, 2)), requires_grad=True)
    for y in (tg.conv2d(x, w, stride=2**63), tg.max_pool2d(x, 2, 2**63), tg.avg_pool2d(x, 2, 2**63)):
        assert y.shape == (1, 1, 1, 1)
        y.sum().backward()
    assert (w.grad.data == 1).all() and x.grad.data[0, 0, :2, :2].sum() == 4 + 1 + 1


# ----- padding: one rule -----

@pytest.mark.parametrize("op", [tg.conv2d, tg.max_pool2d, tg.avg_pool2d])
def test_convolutions_and_pools_refuse_the_same_paddings(op):
    x, second = np.ones((1, 1, 6, 6)), np.ones((1, 1, 3, 3)) if op is tg.conv2d else 3
    for padding, error, text in (
            (-1, ValueError, "padding must be at least 0, got -1"), ("banana", ValueError, "'same' or 'valid', got 'banana'"),
            (True, TypeError, "padding expects an int or a pair of ints, got True"),
            (((1, 0), 1), TypeError, "padding expects"), (((1, 0),), TypeError, "padding expects"),
            (((-7, 0), (0, 0)), ValueError, "padding must be at least -6")):
        with pytest.raises(error, match=f"^{op.__name__}: .*{text}"):
            op(x, second, padding=padding)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_layers_refuse_nonsense_where_they_are_made_in_every_padding_mode(mode):
    for padding in (-1, (-1, 0), "banana", True, 1.5):
        with pytest.raises((TypeError, ValueError), match="^Conv2d: padding"):
            nn.Conv2d(1, 1, 3, padding=padding, padding_mode=mode)
    cropped = nn.Conv2d(1, 1, 3, padding=((-1, 0), (0, -1)), padding_mode=mode)(tg.ones(1, 1, 6, 6))
    assert cropped.shape == (1, 1, 3, 3)


@pytest.mark.parametrize("layer", [nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d])
def test_true_is_no_number_of_channels(layer):
    for channels in ((True, 8), (8, True), (2.0, 2)):
        with pytest.raises(ValueError, match="all whole numbers"):
            layer(*channels, 3)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid", 1, ((2, 0),)])
def test_a_line_has_borders_too(mode, padding, rng):
    x, w = rng.standard_normal((2, 3, 7)), rng.standard_normal((4, 3, 4))
    before, after = {"same": (1, 2), "valid": (0, 0), 1: (1, 1), ((2, 0),): (2, 0)}[padding]
    bordered = np.pad(x, [(0, 0), (0, 0), (before, after)], {"replicate": "edge", "circular": "wrap"}.get(mode, mode))
    close(tg.conv1d(x, w, padding=padding, padding_mode=mode).data, tg.conv1d(bordered, w).data)
    with pytest.raises(ValueError, match="^conv1d: padding_mode must be one of 'zeros', 'reflect'"):
        tg.conv1d(x, w, padding_mode="mirror")


PADDINGS = ["same", "valid", ((2, 0), (0, 1)), ((0, 2), (1, 2)), ((-1, 0), (1, -2)), ((-1, -1), (0, 0))]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", PADDINGS, ids=str)
def test_pools_pad_each_side_as_convolutions_do(padding, ceil_mode, rng):
    """Against pooling of x that was padded, or cropped, before."""
    for kernel, stride, size in itertools.product([(3, 3), (3, 4)], [(1, 1), (2, 3)], [(7, 8), (6, 9)]):
        sides = padding
        if isinstance(padding, str):
            totals = [max(0, (-(-n // s) - 1) * s + k - n) if padding == "same" else 0
                      for n, k, s in zip(size, kernel, stride)]
            sides = [(total // 2, total - total // 2) for total in totals]
        x = rng.standard_normal((2, 3, *size))
        inner = x[:, :, *[slice(max(0, -a), n - max(0, -b)) for n, (a, b) in zip(size, sides)]]
        width = [(0, 0), (0, 0), *[(max(0, a), max(0, b)) for a, b in sides]]
        geo = {"kernel": kernel, "stride": stride, "padding": (0, 0), "ceil_mode": False}
        t = tg.tensor(x, requires_grad=True)
        y, indices = tg.max_pool2d(t, kernel, stride, padding, ceil_mode=ceil_mode, return_indices=True)
        oh, ow = (slice(0, n) for n in pool_reference.max_pool(np.pad(inner, width), **geo)[0].shape[2:])
        low = np.pad(inner, width, constant_values=-np.inf)
        close(y.data[:, :, oh, ow], pool_reference.max_pool(low, **geo)[0])  # ceil_mode may add windows
        close(np.take_along_axis(x.reshape(2, 3, -1), indices.data.reshape(2, 3, -1), 2).reshape(y.shape), y.data)
        g = rng.standard_normal(y.shape)
        y.backward(g)
        close(t.grad.data, pool_reference.pile(g, indices.data, size=size))
        means = [tg.avg_pool2d(x, kernel, stride, padding, ceil_mode, include).data[:, :, oh, ow] for include in (True, False)]
        close(means[0], pool_reference.avg_pool(np.pad(inner, width), **geo, count_include_pad=True, divisor_override=None))
        sums, ones = (pool_reference.avg_pool(np.pad(a, width), **geo, count_include_pad=True, divisor_override=1)
                      for a in (inner, np.ones_like(inner)))
        close(means[1], sums / ones)
        tg.check_grads(lambda x, args=(kernel, stride, padding, ceil_mode, False): tg.avg_pool2d(x, *args) ** 2.0, (x,))
    if padding == "same":
        assert tg.max_pool1d(np.ones((1, 7)), 3, 2, "same").shape == tg.avg_pool1d(np.ones((1, 7)), 3, 2, "same").shape == (1, 4)


def test_a_pool_refuses_windows_of_padding_alone():
    with pytest.raises(ValueError, match="^max_pool2d: some windows see padding only"):
        tg.max_pool2d(np.ones((1, 1, 4, 4)), 2, 1, ((2, 0), (0, 0)))
    with pytest.raises(ValueError, match="^max_unpool2d: padding must be numbers, got 'same'"):
        tg.max_unpool2d(np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2), int), 2, padding="same")


@pytest.mark.parametrize("op, x, w, groups", [
    (tg.conv2d, (1, 1, 0, 4), (1, 1, 2, 2), 1), (tg.conv2d, (2, 4, 0, 0), (4, 1, 2, 2), 4),
    (tg.conv2d, (2, 4, 3, 0), (4, 2, 2, 2), 2), (tg.conv1d, (2, 1, 0), (3, 1, 2), 1)])
def test_an_image_without_cells_is_padding_forward_and_backward(op, x, w, groups):
    x, w, b = (tg.tensor(np.ones(shape), requires_grad=True) for shape in (x, w, (w[0],)))
    y = op(x, w, b, padding=1, groups=groups)
    assert y.size and (y.data == 1).all()
    y.sum().backward()
    assert x.grad.shape == x.shape and not w.grad.data.any() and (b.grad.data == y.size / y.shape[1]).all()


def test_a_border_is_made_of_the_whole_axis_before_the_other_side_is_cropped():
    assert tg.pad(np.arange(4.0), (3, -2), "reflect").data.tolist() == [3, 2, 1, 0, 1]
    assert tg.pad(np.arange(4.0), (-3, 2), "circular").data.tolist() == [3, 0, 1]
    assert tg.pad(np.arange(4.0), (1, -3), "constant", 7.0).data.tolist() == [7, 0]


# ----- the table -----

@pytest.mark.parametrize("family", ["auto", "test"])
def test_a_second_family_serves_what_it_says_and_the_first_the_rest(rng, family):
    calls = []

    def only_ones(x, w, b, geometry):
        calls.append(geometry)
        return np.zeros((len(x), len(w), *geometry.out), x.dtype)

    table.register("test", "conv2d", only_ones, lambda x, w, b, geometry: geometry.kernel == (1, 1))
    try:
        x, one, three = (rng.standard_normal(s) for s in ((1, 2, 5, 5), (3, 2, 1, 1), (3, 2, 3, 3)))
        assert tg.conv2d(x, one).data.any() and not calls  # another was asked for
        with tg.use_kernels(family):
            assert not tg.conv2d(x, one).data.any() and len(calls) == 1
            assert tg.conv2d(x, three).data.any() and len(calls) == 1
    finally:
        table.unregister("test")
    assert tg.conv2d(x, one).data.any() and len(calls) == 1
    with pytest.raises(LookupError, match="no kernel is registered that serves this call of conv9d"):
        table.run("conv9d", x)


def test_a_kernel_of_no_operation_is_refused_and_an_error_names_its_family():
    with pytest.raises(ValueError, match="register: operation must be one of 'conv2d', .*, got 'conv2D'"):
        table.register("test", "conv2D", np.add)
    table.register("test", "conv2d", lambda x, w, b, geometry: 1 / 0)
    try:
        with pytest.raises(ZeroDivisionError) as e, tg.use_kernels("test"):
            tg.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    finally:
        table.unregister("test")
    assert e.value.__notes__[0] == "in the kernel of family 'test' for conv2d"


def test_facets_of_convolutions_and_pools():
    x, w = tg.tensor(np.ones((2, 4, 7, 7)), requires_grad=True), np.ones((8, 2, 3, 3))
    conv = tg.conv2d(x, w, stride=2, padding=1, groups=2).node
    shapes = [t.shape for t in conv.inputs]
    assert conv.primitive.label(*shapes, **conv.params) == "3x3 stride 2 padding 1 groups 2"
    assert conv.primitive.cost((2, 8, 4, 4), *shapes, **conv.params) == 2 * 8 * 4 * 4 * 2 * 3 * 3
    assert conv.primitive.notes == {"ans": "summed over c, kh, kw", "x": "summed over o, kh, kw",
                                    "w": "summed over n, oh, ow", "b": "summed over n, oh, ow"}
    up = tg.conv_transpose2d(x, np.ones((4, 2, 3, 3)), stride=2, output_padding=(1, 0)).node
    assert up.primitive.label(*[t.shape for t in up.inputs], **up.params) == "3x3 stride 2 output_padding (1,0)"
    for node, label in ((tg.max_pool2d(x, 2, 1).node, "2x2 stride 1"),
                        (tg.avg_pool2d(x, (2, 3), 2, (0, 1), True, False, 5).node,
                         "2x3 count_include_pad False divisor_override 5 stride 2 padding (0,1) ceil_mode True")):
        assert node.primitive.label(x.shape, **node.params) == label


# ----- kept by value -----

class Disguised(int):
    """An integer that prints as another one."""

    def __repr__(self):
        return "1"


def test_a_geometry_is_kept_by_its_numbers_and_not_by_how_they_print():
    x, w = np.ones((1, 1, 9, 9)), np.ones((1, 1, 3, 3))
    for call, plain, other in [
            (lambda v: tg.conv2d(x, w, stride=v), 1, 2), (lambda v: tg.conv2d(x, w, padding=((v, 1), (1, 1))), 1, 3),
            (lambda v: tg.conv2d(x, w, dilation=(v, 1)), 1, 2), (lambda v: tg.conv_transpose2d(x, w, stride=v), 1, 3),
            (lambda v: tg.conv_transpose2d(x, w, stride=4, output_padding=v), 1, 2),
            (lambda v: tg.max_pool2d(x, v), 1, 4), (lambda v: tg.avg_pool2d(x, 3, v), 1, 2), (lambda v: tg.conv2d_weight(x, x, v), 1, 1)]:
        assert call(plain).shape == call(Disguised(plain)).shape
        assert call(other).shape == call(Disguised(other)).shape
    with np.printoptions(formatter={"int": lambda v: "1"}):
        assert tg.conv2d(x, w, stride=np.array(1)).shape[2] == 7 and tg.conv2d(x, w, stride=np.array(2)).shape[2] == 4


# ----- sizes beyond memory and patience -----

ONE = np.ones((1, 1, 4, 4), np.float32)


MANY = np.ones(10**7, np.float32)  # the results below are larger than any address space


@pytest.mark.parametrize(("name", "call"), [
    ("adaptive_max_pool2d", lambda: tg.adaptive_max_pool2d(ONE, 10**7)), ("adaptive_avg_pool2d", lambda: tg.adaptive_avg_pool2d(ONE, 10**7)),
    ("matmul", lambda: tg.matmul(MANY[:, None], MANY[None])), ("mul", lambda: tg.outer(MANY, MANY)), ("add", lambda: tg.add(MANY[:, None], MANY)),
    ("conv2d", lambda: tg.conv2d(ONE, ONE[..., :1, :1], padding=10**7)), ("conv_transpose2d", lambda: tg.conv_transpose2d(ONE, ONE[..., :1, :1], stride=10**7)),
    ("einsum", lambda: tg.einsum("i,j->ij", MANY, MANY)), ("linear", lambda: tg.linear(MANY[:, None], MANY[:, None])),
    ("max_unpool2d", lambda: tg.max_unpool2d(ONE, np.zeros((1, 1, 4, 4), int), 10**7)),
    ("concatenate", lambda: tg.concat([tg.broadcast_to(1.0, (10**7, 10**7))] * 2)), ("pad", lambda: tg.pad(ONE, 10**4))])
def test_a_result_that_no_memory_holds_names_the_op_and_the_shape_at_once(name, call):
    with pytest.raises(MemoryError, match=rf"^{name}: Unable to allocate .* with shape \(.*\(inputs "):
        call()


def test_a_window_of_a_billion_taps_and_a_border_of_a_billion_cells_are_decided_at_once():
    assert tg.max_pool2d(ONE, 10**9, 1, 5 * 10**8).shape == (1, 1, 5, 5)
    assert tg.avg_pool2d(ONE, 10**9, 10**9, 5 * 10**8).item() == pytest.approx(16 / 10**18)
    with pytest.raises(ValueError, match="^max_pool2d: some windows see padding only"):
        tg.max_pool2d(ONE, 2, 1, ((10**9, 0), (0, 0)))


def test_taps_and_blind_windows_are_those_that_counting_finds():
    for n, k, s, d, before, after in itertools.product((1, 4), (1, 2, 3), (1, 2, 3), (1, 2), (-1, 0, 1, 4), (-1, 0, 2)):
        g = Geometry((n,), (k,), (s,), ((before, after),), (d,))
        if n + before + after < g.spans[0] or before < -n or after < -n:
            continue
        seen = [[(i, i * s + a * d - before) for i in range(g.out[0]) if i * s + a * d - before in range(n + min(0, after))] for a in range(k)]
        ours = [list(zip(range(g.out[0])[outs], range(n)[where], strict=True)) for outs, where in g.along[0]]
        assert ours == [tap for tap in seen if tap], g
        assert g.blind == ({i for tap in seen for i, _ in tap} != set(range(g.out[0]))), g
