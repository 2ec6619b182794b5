"""Whole numbers are tested in one way everywhere: neither True nor 2.0 nor an array is one, and none is too large to be told."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

IMAGE, LINE, FILTERS = np.ones((2, 2, 4, 4), np.float32), np.ones((2, 2, 4), np.float32), np.ones((2, 2, 2, 2), np.float32)
X = np.ones((4, 4), np.float32)
T, PLACES = tg.tensor(X), np.zeros(IMAGE.shape, int)


HUGE = 2 ** 63


def rng():
    return np.random.default_rng(0)


FUNCTIONS = {
    "conv2d stride": lambda v: tg.conv2d(IMAGE, FILTERS, stride=v), "conv2d padding": lambda v: tg.conv2d(IMAGE, FILTERS, padding=v),
    "conv2d dilation": lambda v: tg.conv2d(IMAGE, FILTERS, dilation=v), "conv2d groups": lambda v: tg.conv2d(IMAGE, FILTERS, groups=v),
    "conv2d one stride": lambda v: tg.conv2d(IMAGE, FILTERS, stride=(1, v)), "conv2d one side": lambda v: tg.conv2d(IMAGE, FILTERS, padding=((1, v), (1, 1))),
    "conv1d stride": lambda v: tg.conv1d(LINE, FILTERS[0], stride=v), "conv1d padding": lambda v: tg.conv1d(LINE, FILTERS[0], padding=((v, 1),)),
    "conv2d_weight kernel": lambda v: tg.conv2d_weight(IMAGE[..., 1:, 1:], IMAGE, v), "conv_transpose2d stride": lambda v: tg.conv_transpose2d(IMAGE, FILTERS, stride=v),
    "conv_transpose2d padding": lambda v: tg.conv_transpose2d(IMAGE, FILTERS, padding=v), "conv_transpose2d dilation": lambda v: tg.conv_transpose2d(IMAGE, FILTERS, dilation=v),
    "conv_transpose2d output_padding": lambda v: tg.conv_transpose2d(IMAGE, FILTERS, stride=3, output_padding=v),
    "conv_transpose2d groups": lambda v: tg.conv_transpose2d(IMAGE, FILTERS, groups=v), "conv_transpose1d padding": lambda v: tg.conv_transpose1d(LINE, FILTERS[0], padding=v),
    "max_pool2d kernel": lambda v: tg.max_pool2d(IMAGE, v), "max_pool2d padding": lambda v: tg.max_pool2d(IMAGE, 2, 1, v),
    "max_pool2d dilation": lambda v: tg.max_pool2d(IMAGE, 2, 1, 0, v), "avg_pool2d kernel": lambda v: tg.avg_pool2d(IMAGE, v), "avg_pool2d one stride": lambda v: tg.avg_pool2d(IMAGE, 2, (1, v)),
    "max_unpool2d kernel": lambda v: tg.max_unpool2d(IMAGE, PLACES, v), "max_unpool2d padding": lambda v: tg.max_unpool2d(IMAGE, PLACES, 4, padding=v),
    "adaptive_avg_pool2d": lambda v: tg.adaptive_avg_pool2d(IMAGE, (v, 2)) if v is not None else tg.max_pool2d(IMAGE, v),
    "layer_norm": lambda v: tg.layer_norm(X[:, :2], v), "layer_norm last": lambda v: tg.layer_norm(X[:, :2], (4, v)), "group_norm": lambda v: tg.group_norm(X, v),
    "reshape": lambda v: tg.reshape(X, (v, 8)) if v != -1 else tg.reshape(X, (v, v)), "t.reshape": lambda v: T.reshape(8, v) if v != -1 else T.reshape(v, v),
    "broadcast_to": lambda v: tg.broadcast_to(1.0, (2, v)), "expand": lambda v: T.expand(v, 4, 4), "roll": lambda v: tg.roll(X, v, 0), "split": lambda v: tg.split(X, v),
    "split at": lambda v: tg.split(X, [1, v]), "t.split": lambda v: T.split(v), "t.split sizes": lambda v: T.split([v, 2]),
    "pad": lambda v: tg.pad(X, v), "pad one side": lambda v: tg.pad(X, (1, v)), "pad one of all": lambda v: tg.pad(X, ((0, 1), (v, 1))), "hinge_loss p": lambda v: tg.hinge_loss(X, [0] * 4, p=v),
    "cross_entropy ignore_index": lambda v: tg.cross_entropy(X, [0] * 4, ignore_index=v), "zeros": lambda v: tg.zeros(2, v), "ones": lambda v: tg.ones((v,)),
    "eye": lambda v: tg.eye(v), "linspace": lambda v: tg.linspace(0, 1, v), "randn": lambda v: tg.randn(v, rng=rng()), "randint": lambda v: tg.randint(0, 3, (v,), rng()),
    "permutation": lambda v: tg.permutation(v, rng()), "check_grads": lambda v: tg.check_grads(tg.exp, (np.ones(2),), order=v if v is not HUGE else 0),
    "grad": lambda v: tg.grad(tg.mul, v)(1.0, 2.0, 3.0) if v != -1 else tg.grad(tg.mul, -9)(1.0),
}
LAYERS = {
    "Linear in": lambda v: nn.Linear(v, 2), "Linear out": lambda v: nn.Linear(2, v), "Conv2d in": lambda v: nn.Conv2d(v, 2, 2), "Conv2d out": lambda v: nn.Conv2d(2, v, 2),
    "Conv2d kernel": lambda v: nn.Conv2d(2, 2, v), "Conv2d stride": lambda v: nn.Conv2d(2, 2, 2, v), "Conv2d padding": lambda v: nn.Conv2d(2, 2, 2, 1, v),
    "Conv2d one side": lambda v: nn.Conv2d(2, 2, 2, 1, ((0, 0), (0, v))) if v != -1 else nn.Conv2d(2, 2, 2, 1, v), "Conv2d dilation": lambda v: nn.Conv2d(2, 2, 2, 1, 0, v),
    "Conv2d groups": lambda v: nn.Conv2d(2, 2, 2, groups=v), "Conv1d kernel": lambda v: nn.Conv1d(2, 2, v), "Conv1d padding": lambda v: nn.Conv1d(2, 2, 2, 1, v),
    "ConvTranspose2d padding": lambda v: nn.ConvTranspose2d(2, 2, 2, 3, v), "ConvTranspose2d output_padding": lambda v: nn.ConvTranspose2d(2, 2, 2, 3, output_padding=v),
    "MaxPool2d kernel": lambda v: nn.MaxPool2d(v), "MaxPool2d stride": lambda v: nn.MaxPool2d(2, (v, 1)), "MaxPool2d padding": lambda v: nn.MaxPool2d(2, 1, v),
    "MaxPool2d dilation": lambda v: nn.MaxPool2d(2, 1, 0, v), "MaxPool1d kernel": lambda v: nn.MaxPool1d(v), "MaxPool1d padding": lambda v: nn.MaxPool1d(2, 1, ((v, v),) if v != -1 else v),
    "AvgPool2d kernel": lambda v: nn.AvgPool2d(v), "AvgPool2d padding": lambda v: nn.AvgPool2d(2, 1, v), "AvgPool1d kernel": lambda v: nn.AvgPool1d(v),
    "MaxUnpool2d kernel": lambda v: nn.MaxUnpool2d(v), "MaxUnpool2d padding": lambda v: nn.MaxUnpool2d(2, 2, v),
    "AdaptiveAvgPool2d": lambda v: nn.AdaptiveAvgPool2d(v) if v is not None else nn.MaxPool2d(v), "AdaptiveMaxPool2d": lambda v: nn.AdaptiveMaxPool2d((v, 2)) if v is not None else nn.MaxPool2d(v),
    "BatchNorm2d": lambda v: nn.BatchNorm2d(v), "InstanceNorm2d": lambda v: nn.InstanceNorm2d(v), "LayerNorm": lambda v: nn.LayerNorm(v),
    "Flatten": lambda v: nn.Flatten(v)(IMAGE), "Flatten end": lambda v: nn.Flatten(0, v)(IMAGE),
    "CrossEntropyLoss ignore_index": lambda v: nn.CrossEntropyLoss(ignore_index=v)(X, [0] * 4), "MultiMarginLoss p": lambda v: nn.MultiMarginLoss(v)(X, [0] * 4),
    "GroupNorm groups": lambda v: nn.GroupNorm(v, 4), "GroupNorm channels": lambda v: nn.GroupNorm(1, v), "DataLoader": lambda v: nn.data.DataLoader(nn.data.Dataset(X, X), v),
}
NEGATIVE = {"roll", "split at", "pad", "pad one side", "pad one of all", "conv2d one side", "conv1d padding", "cross_entropy ignore_index",
            "CrossEntropyLoss ignore_index", "Flatten", "Flatten end"}  # may be below 0


@pytest.mark.parametrize("value", [True, np.True_, 2.0, np.float64(2), np.array([2]), "2", None, 1j], ids=repr)
@pytest.mark.parametrize("name", [*FUNCTIONS, *LAYERS])
def test_what_only_looks_like_a_whole_number_is_refused_by_name(name, value):
    if name in ("split", "pad") and isinstance(value, np.ndarray):
        pytest.skip("a list of places, or NumPy's widths of all axes")
    with pytest.raises((TypeError, ValueError), match=r"^[A-Za-z_0-9]+: "):
        {**FUNCTIONS, **LAYERS}[name](value)


@pytest.mark.parametrize("name", [n for n in (*FUNCTIONS, *LAYERS) if n not in NEGATIVE])
def test_a_size_below_0_is_refused_by_name(name):
    with pytest.raises((TypeError, ValueError), match=r"^[A-Za-z_0-9]+: "):
        {**FUNCTIONS, **LAYERS}[name](-1)


def test_true_is_no_size_of_a_shape():
    for call in (lambda: tg.reshape(X, (16, True)), lambda: T.reshape(True, 16), lambda: T.view((16, np.True_)), lambda: tg.broadcast_to(X, (True, 4, 4))):
        with pytest.raises(TypeError, match="^(reshape|broadcast_to): a size in shape must be a whole number, got"):
            call()


HARMLESS = {"conv2d one stride", "conv2d stride", "conv1d stride", "avg_pool2d one stride", "roll", "split at", "t.split", "cross_entropy ignore_index", "permutation", "linspace"}


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in HARMLESS])
def test_a_number_beyond_64_bits_is_no_overflow_error(name):
    with pytest.raises((TypeError, ValueError, MemoryError)):
        FUNCTIONS[name](HUGE)


@pytest.mark.parametrize("name", ["conv2d one stride", "conv2d stride", "conv1d stride", "avg_pool2d one stride"])
def test_a_stride_beyond_64_bits_leaves_one_window(name):
    assert np.array_equal(FUNCTIONS[name](HUGE).data, FUNCTIONS[name](100).data)


@pytest.mark.parametrize("value", [np.int64(2), np.uint8(2), np.array(2)], ids=repr)
@pytest.mark.parametrize("name", ["conv2d stride", "conv2d padding", "max_pool2d kernel", "adaptive_avg_pool2d", "group_norm", "layer_norm", "reshape",
                                  "roll", "split", "t.split", "pad", "pad one side", "eye", "Conv2d kernel", "Conv2d padding", "MaxPool2d kernel", "Linear in"])
def test_numpys_whole_numbers_are_taken_as_pythons(name, value):
    call = {**FUNCTIONS, **LAYERS}[name]
    ours, plain = call(value), call(2)
    if isinstance(plain, nn.Module):
        assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    else:
        for a, b in zip(*[y if isinstance(y, list) else [y] for y in (ours, plain)], strict=True):
            assert np.array_equal(a.data, b.data)


# ----- one rule for padding, where a layer is made and where an op is called -----

PADDINGS = [0, 1, (1, 0), [1, 2], ((1, 0), (0, 2)), ((-1, 0), (2, -1)), "same", "valid", -1, (-1, 0), 1.5, "banana", "SAME", None, (1,), (1, 1, 1, 1), ((1, 0),), True, X,
            ((1, 0), 1), (None, 0)]


def refusal(call):
    try:
        call()
    except (TypeError, ValueError) as e:
        return type(e), str(e).partition(": ")[2]
    return None


@pytest.mark.parametrize("mode", tg.arguments.PADDING_MODES)
@pytest.mark.parametrize("padding", PADDINGS, ids=lambda p: "array" if isinstance(p, np.ndarray) else repr(p))
def test_a_layer_takes_and_refuses_the_padding_that_its_op_does_in_the_same_words(padding, mode):
    image = np.ones((1, 1, 8, 8), np.float32)
    op = refusal(lambda: tg.conv2d(image, FILTERS[:1, :1], padding=padding, padding_mode=mode))
    assert refusal(lambda: nn.Conv2d(1, 1, 2, padding=padding, padding_mode=mode)) == op
    if op is None:
        layer = nn.Conv2d(1, 1, 2, padding=padding, padding_mode=mode)
        assert np.array_equal(layer(image).data, tg.conv2d(image, layer.weight, layer.bias, padding=padding, padding_mode=mode).data)


@pytest.mark.parametrize("padding", PADDINGS, ids=lambda p: "array" if isinstance(p, np.ndarray) else repr(p))
@pytest.mark.parametrize(("make", "op"), [
    (lambda p: nn.ConvTranspose2d(1, 1, 4, padding=p), lambda p: tg.conv_transpose2d(np.ones((1, 1, 8, 8)), np.ones((1, 1, 4, 4)), padding=p)),
    (lambda p: nn.MaxPool2d(4, padding=p), lambda p: tg.max_pool2d(np.ones((1, 1, 8, 8)), 4, padding=p)),
    (lambda p: nn.AvgPool2d(4, padding=p), lambda p: tg.avg_pool2d(np.ones((1, 1, 8, 8)), 4, padding=p)),
    (lambda p: nn.MaxUnpool2d(4, padding=p), lambda p: tg.max_unpool2d(np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2), int), 4, padding=p))],
    ids=["ConvTranspose2d", "MaxPool2d", "AvgPool2d", "MaxUnpool2d"])
def test_so_do_transposed_convolutions_and_pools(make, op, padding):
    assert refusal(lambda: make(padding)) == refusal(lambda: op(padding))


def test_whole_numbers_of_numpy_do_not_overflow():
    assert [p.size for p in tg.split(tg.arange(300), np.uint8(3))] == [100, 100, 100]
    assert [p.size for p in tg.arange(300).split([np.uint8(200), np.uint8(100)])] == [200, 100]
    assert tg.group_norm(tg.ones((2, 300)), np.uint8(150)).shape == (2, 300)


@pytest.mark.parametrize("cut", [{2}, b"\2", "2"])
def test_what_only_looks_like_whole_numbers_is_refused(cut):
    for op in (tg.split, tg.roll):
        with pytest.raises(TypeError, match="must be a whole number"):
            op(tg.arange(4.0), cut)
