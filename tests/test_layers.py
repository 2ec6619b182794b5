"""Layers: shapes, options, errors, float32 throughout, exactness against the engine's functions."""
from __future__ import annotations

import math

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

LAYERS = {
    "Linear": (lambda r, d: nn.Linear(6, 3, rng=r, dtype=d), (2, 5, 6)),
    "Conv1d": (lambda r, d: nn.Conv1d(4, 6, 3, 2, 1, 1, 2, rng=r, dtype=d), (2, 4, 9)),
    "Conv2d": (lambda r, d: nn.Conv2d(4, 6, (3, 2), 2, 1, 1, 2, rng=r, dtype=d), (2, 4, 6, 7)),
    "Conv2d same": (lambda r, d: nn.Conv2d(2, 3, 4, padding="same", rng=r, dtype=d), (2, 2, 5, 6)),
    "Conv2d sides": (lambda r, d: nn.Conv2d(2, 3, 2, padding=((1, 0), (2, 1)), rng=r, dtype=d), (2, 2, 4, 4)),
    "Conv2d reflect": (lambda r, d: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect", rng=r, dtype=d),
                       (2, 2, 5, 5)),
    "Conv2d circular": (lambda r, d: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", rng=r, dtype=d),
                        (2, 2, 5, 5)),
    "ConvTranspose1d": (lambda r, d: nn.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, rng=r, dtype=d), (2, 4, 5)),
    "ConvTranspose2d": (lambda r, d: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, rng=r, dtype=d), (2, 4, 4, 5)),
    "MaxPool1d": (lambda r, d: nn.MaxPool1d(2), (2, 3, 6)),
    "MaxPool2d": (lambda r, d: nn.MaxPool2d(3, 2, 1, ceil_mode=True), (2, 3, 6, 7)),
    "AvgPool1d": (lambda r, d: nn.AvgPool1d(2), (2, 3, 6)),
    "AvgPool2d": (lambda r, d: nn.AvgPool2d(3, 2, 1, True, False), (2, 3, 6, 7)),
    "AdaptiveAvgPool2d": (lambda r, d: nn.AdaptiveAvgPool2d((2, None)), (2, 3, 5, 7)),
    "AdaptiveMaxPool2d": (lambda r, d: nn.AdaptiveMaxPool2d(2), (2, 3, 5, 7)),
    "GlobalAvgPool2d": (lambda r, d: nn.GlobalAvgPool2d(), (2, 3, 5, 7)),
    "GlobalMaxPool2d": (lambda r, d: nn.GlobalMaxPool2d(), (2, 3, 5, 7)),
    "BatchNorm1d": (lambda r, d: nn.BatchNorm1d(3, dtype=d), (5, 3)),
    "BatchNorm1d NCL": (lambda r, d: nn.BatchNorm1d(3, dtype=d), (5, 3, 4)),
    "BatchNorm2d": (lambda r, d: nn.BatchNorm2d(3, dtype=d), (4, 3, 3, 2)),
    "LayerNorm": (lambda r, d: nn.LayerNorm((3, 4), dtype=d), (2, 3, 4)),
    "GroupNorm": (lambda r, d: nn.GroupNorm(2, 4, dtype=d), (2, 4, 3, 3)),
    "InstanceNorm2d": (lambda r, d: nn.InstanceNorm2d(3, affine=True, track_running_stats=True, dtype=d), (2, 3, 3, 3)),
    "Dropout": (lambda r, d: nn.Dropout(0.5, rng=np.random.default_rng(3)), (4, 5)),
    "Dropout2d": (lambda r, d: nn.Dropout2d(0.5, rng=np.random.default_rng(3)), (4, 5, 2, 2)),
    "Flatten": (lambda r, d: nn.Flatten(), (2, 3, 4)),
    "Identity": (lambda r, d: nn.Identity(1, x=2), (2, 3)),
    **{name: (lambda r, d, name=name: getattr(nn, name)(), (3, 4)) for name in (
        "ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Softplus", "Hardtanh", "Sigmoid", "Tanh",
        "Softmax", "LogSoftmax")},
}
LOSSES = {
    "CrossEntropyLoss": (lambda: nn.CrossEntropyLoss([1.0, 2.0, 3.0], label_smoothing=0.1), "class"),
    "NLLLoss": (lambda: nn.NLLLoss(np.ones(3)), "class"), "MultiMarginLoss": (lambda: nn.MultiMarginLoss(2), "class"),
    "MSELoss": (nn.MSELoss, "same"), "L1Loss": (nn.L1Loss, "same"), "SmoothL1Loss": (nn.SmoothL1Loss, "same"),
    "HuberLoss": (lambda: nn.HuberLoss(delta=0.3), "same"),
    "BCEWithLogitsLoss": (lambda: nn.BCEWithLogitsLoss(pos_weight=[1.0, 2.0, 3.0]), "probability"),
    "KLDivLoss": (lambda: nn.KLDivLoss("batchmean"), "probability"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_keeps_float32_in_value_and_gradients(name, rng):
    make, shape = LAYERS[name]
    layer = make(rng, np.float32)
    x = tg.tensor(rng.standard_normal(shape).astype(np.float32), requires_grad=True)
    y = layer(x)
    assert y.dtype == np.float32
    (y * y).sum().backward()
    assert x.grad.dtype == np.float32
    assert all(p.grad.dtype == p.dtype == np.float32 for p in layer.parameters())
    assert all(b.dtype in (np.float32, np.int64) for b in layer.buffers())


@pytest.mark.parametrize("name", [n for n in LAYERS if "Dropout" not in n])
def test_layer_gradients_of_order_two(name, rng):
    """Of input and parameters together; in training mode."""
    make, shape = LAYERS[name]
    layer = make(rng, np.float64)
    names, values = [n for n, _ in layer.named_parameters()], [p.data.copy() for p in layer.parameters()]

    def f(x, *params):
        for n, p in zip(names, params):
            vars(layer)[n] = p  # plain tensors stand in for the parameters
        return layer(x)

    x = rng.permutation(np.prod(shape)).reshape(shape) / np.prod(shape) * 4 - 2.013  # no ties, no kinks
    tg.check_grads(f, (x, *values), order=2)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_loss_keeps_float32_and_reduces(name, reduction, rng):
    make, kind = LOSSES[name]
    loss = make()
    loss.reduction = reduction
    x = tg.tensor(rng.standard_normal((4, 3)).astype(np.float32), requires_grad=True)
    target = {"class": rng.integers(0, 3, 4), "same": rng.standard_normal((4, 3)).astype(np.float32),
              "probability": rng.dirichlet(np.ones(3), 4).astype(np.float32)}[kind]
    y = loss(x, target)
    assert y.dtype == np.float32 and (y.shape == ()) == (reduction != "none")
    y.sum().backward()
    assert x.grad.dtype == np.float32 and np.isfinite(x.grad.data).all()


def test_loss_weights_are_buffers_that_are_saved_and_not_trained():
    loss = nn.CrossEntropyLoss(np.array([1.0, 2.0], np.float32))
    assert list(loss.state_dict()) == ["weight"] and list(loss.parameters()) == []
    assert list(nn.CrossEntropyLoss().state_dict()) == []
    other = nn.CrossEntropyLoss([0.0, 0.0])
    other.load_state_dict(loss.state_dict())
    x, y = tg.tensor([[1.0, 0.0], [0.0, 0.0]]), [0, 1]
    assert other(x, y).item() == loss(x, y).item()


# ----- linear and convolution -----

def test_linear_mismatch_says_what_would_fit():
    layer = nn.Linear(10, 3)
    with pytest.raises(ValueError, match=r"expects in_features=10 .* shape \(2, 7\); this input needs in_features=7"):
        layer(tg.ones(2, 7))
    with pytest.raises(ValueError, match="put a Flatten before, with in_features=400"):
        layer(tg.ones(2, 16, 5, 5))
    with pytest.raises(ValueError, match="x needs an axis"):
        layer(tg.tensor(1.0))
    with pytest.raises(ValueError, match="in_features must be at least 1, got 0"):
        nn.Linear(0, 3)
    assert layer([[0.0] * 10]).shape == (1, 3)


def test_layers_draw_from_the_generator_they_are_given():
    def net(seed):
        rng = np.random.default_rng(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.ConvTranspose1d(2, 3, 2, rng=rng), nn.Linear(4, 5, rng=rng))

    a, b, c = (net(s).state_dict() for s in (0, 0, 1))
    assert all(np.array_equal(a[k], b[k]) for k in a) and not any(np.array_equal(a[k], c[k]) for k in a)
    assert not np.array_equal(nn.Linear(4, 5).weight.data, nn.Linear(4, 5).weight.data)
    with pytest.raises(TypeError, match=r"^Linear: rng must be .*got 3; make one with rng=np.random.default_rng\(3\)"):
        nn.Linear(2, 2, rng=3)


@pytest.mark.parametrize("layer, fan_in", [
    (lambda r: nn.Linear(50, 40, rng=r), 50), (lambda r: nn.Conv2d(8, 40, 3, groups=2, rng=r), 36),
    (lambda r: nn.ConvTranspose2d(8, 40, 3, groups=2, rng=r), 180), (lambda r: nn.Conv2d(1, 99, 3, rng=r), 9)])
def test_layer_initial_values_are_torchs_distribution(layer, fan_in, rng):
    m, bound = layer(rng), 1 / math.sqrt(fan_in)
    for p in (m.weight.data.ravel(), m.bias.data):
        assert abs(p).max() <= bound * (1 + 1e-6) and abs(p).max() > 0.8 * bound
    assert m.weight.data.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_conv_arguments_that_make_no_convolution():
    with pytest.raises(ValueError, match="in_channels=3 and out_channels=4 must be at least 1 and divisible by groups=2"):
        nn.Conv2d(3, 4, 3, groups=2)
    for bad in (0, (3, 0)):
        with pytest.raises(ValueError, match="Conv2d: kernel_size must be at least 1, got "):
            nn.Conv2d(1, 1, bad)
    for bad in ((3, 3, 3), 1.5):
        with pytest.raises(TypeError, match="Conv2d: kernel_size expects an int or a pair of ints, got "):
            nn.Conv2d(1, 1, bad)
    with pytest.raises(ValueError, match="Conv1d: stride must be at least 1, got 0"):
        nn.Conv1d(1, 1, 2, stride=0)
    with pytest.raises(ValueError, match="padding_mode must be one of"):
        nn.Conv2d(1, 1, 3, padding_mode="mirror")
    with pytest.raises(ValueError, match="padding_mode must be one of 'zeros', got 'reflect'"):
        nn.ConvTranspose2d(1, 1, 3, padding_mode="reflect")
    with pytest.raises(ValueError, match="padding must be numbers, 'same' or 'valid', got 'full'"):
        nn.Conv2d(1, 1, 3, padding="full", padding_mode="reflect")(tg.ones(1, 1, 4, 4))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, (1, 2), ((1, 0), (0, 2)), "same", "valid"])
def test_conv2d_border_is_numpys(mode, padding, rng):
    layer = nn.Conv2d(2, 3, 3, stride=2, padding=padding, padding_mode=mode, rng=rng, dtype=np.float64)
    x = rng.standard_normal((2, 2, 5, 6))
    sides = {1: [(1, 1), (1, 1)], (1, 2): [(1, 1), (2, 2)], ((1, 0), (0, 2)): [(1, 0), (0, 2)],
             "same": [(1, 1), (0, 1)], "valid": [(0, 0), (0, 0)]}[padding]
    padded = np.pad(x, [(0, 0), (0, 0), *sides], {"replicate": "edge", "circular": "wrap"}.get(mode, mode))
    expected = tg.conv2d(padded, layer.weight, layer.bias, 2).data
    np.testing.assert_allclose(layer(tg.tensor(x)).data, expected, rtol=1e-12)
    np.testing.assert_allclose(layer(tg.tensor(x[0])).data, expected[0], rtol=1e-12)  # one sample


def test_conv_transpose_output_size():
    up = nn.ConvTranspose2d(1, 1, 3, stride=2, padding=1)
    assert up(tg.ones(1, 1, 4, 4)).shape == (1, 1, 7, 7)
    assert up(tg.ones(1, 1, 4, 4), output_size=(8, 7)).shape == (1, 1, 8, 7)
    assert nn.ConvTranspose1d(1, 1, 3, stride=2, padding=1)(tg.ones(1, 1, 4), output_size=8).shape == (1, 1, 8)


def test_pools_keep_torchs_attributes():
    pool = nn.MaxPool2d(2)
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (2, 2, 0, False)
    assert nn.AvgPool2d(3, 1).stride == 1 and nn.AdaptiveAvgPool2d(2).output_size == 2
    y, indices = nn.MaxPool2d(2, return_indices=True)(tg.arange(16.0).reshape(1, 1, 4, 4))
    assert indices.data.tolist() == [[[[5, 7], [13, 15]]]]
    assert nn.MaxUnpool2d(2)(y, indices).data.sum() == 40
    assert nn.LeakyReLU(0.3).negative_slope == 0.3 and nn.ELU(2.0).alpha == 2.0 and nn.Softmax(1).dim == 1


# ----- normalisation -----

def test_batch_norm_running_statistics():
    layer = nn.BatchNorm1d(1)
    layer(tg.tensor([[1.0], [2.0], [3.0], [4.0]]))
    assert layer.running_mean.item() == pytest.approx(0.25)
    assert layer.running_var.item() == pytest.approx(1.0666667)  # unbiased (CONVENTIONS 4)
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    before = layer.state_dict()
    y = layer(tg.tensor([[1.0]]))
    assert y.item() == pytest.approx((1 - 0.25) / math.sqrt(1.0666667 + 1e-5), rel=1e-6)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), layer.state_dict().values()))


def test_batch_norm_momentum_none_averages_all_batches(rng):
    layer, batches = nn.BatchNorm2d(2, momentum=None, dtype=np.float64), rng.standard_normal((5, 3, 2, 4, 4))
    for x in batches:
        layer(tg.tensor(x))
    np.testing.assert_allclose(layer.running_mean.data, batches.mean((1, 3, 4)).mean(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.data, batches.var((1, 3, 4), ddof=1).mean(0), rtol=1e-12)


def test_batch_norm_without_tracking_uses_the_batch_in_evaluation_too(rng):
    layer, x = nn.BatchNorm2d(2, affine=False, track_running_stats=False), tg.tensor(rng.standard_normal((3, 2, 4, 4)))
    assert layer.state_dict() == {}
    train = layer(x).data
    assert np.array_equal(layer.eval()(x).data, train)


def test_batch_norm_errors_change_nothing():
    layer = nn.BatchNorm2d(3)
    before = layer.state_dict()
    with pytest.raises(ValueError, match=r"num_features=3 .* \(2, 4, 5, 5\); num_features=4 would fit"):
        layer(tg.ones(2, 4, 5, 5))
    with pytest.raises(ValueError, match="BatchNorm2d: expects 4 axes"):
        layer(tg.ones(2, 3))
    with pytest.raises(ValueError, match="more than one value"):
        layer(tg.ones(1, 3, 1, 1))
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), layer.state_dict().values()))
    with pytest.raises(ValueError, match="num_features must be at least 1"):
        nn.BatchNorm1d(0)


def test_norm_layers_take_lists():
    x = [[1.0, 2.0], [3.0, 5.0]]
    for layer in (nn.BatchNorm1d(2), nn.GroupNorm(1, 2), nn.LayerNorm(2)):
        np.testing.assert_array_equal(layer(x).data, layer(tg.tensor(x)).data)


def test_group_norm_and_layer_norm_errors():
    with pytest.raises(ValueError, match="num_channels=3 must be divisible by num_groups=2"):
        nn.GroupNorm(2, 3)
    with pytest.raises(ValueError, match="num_channels=4"):
        nn.GroupNorm(2, 4)(tg.ones(1, 6, 2))
    with pytest.raises(ValueError, match=r"must end in normalized_shape \(3,\)"):
        nn.LayerNorm(3)(tg.ones(2, 4))
    assert nn.LayerNorm(3, bias=False).bias is None


# ----- dropout -----

def test_dropout_is_seeded_scaled_and_off_in_evaluation():
    a, b = (nn.Dropout(0.25, rng=np.random.default_rng(0)) for _ in range(2))
    x = tg.ones(100, 100)
    y = a(x).data
    assert np.array_equal(y, b(x).data) and not np.array_equal(y, a(x).data)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and y.mean() == pytest.approx(1, abs=0.02)
    assert np.array_equal(a.eval()(x).data, x.data)
    planes = nn.Dropout2d(0.5, rng=np.random.default_rng(0))(tg.ones(8, 8, 3, 3)).data
    assert np.array_equal(planes, np.broadcast_to(planes[:, :, :1, :1], planes.shape))
    with pytest.raises(ValueError, match="p must be between 0 and 1, got 1.5"):
        nn.Dropout(1.5)


@pytest.mark.parametrize("make, match", [
    (lambda: nn.Linear(3.5, 2), "Linear: in_features must be a whole number, got 3.5"),
    (lambda: nn.Linear("3", 2), "Linear: in_features must be a whole number, got '3'"),
    (lambda: nn.Linear(None, 2), "in_features must be a whole number, got None"), (lambda: nn.Conv2d("1", 2, 3), "in_channels='1' and"),
    (lambda: nn.Conv2d(4, 4, 3, groups=2.0), "divisible by groups=2.0, all whole numbers"),
    (lambda: nn.BatchNorm2d(2.5), "num_features must be a whole number, got 2.5"),
    (lambda: nn.Conv2d(True, 8, 3), "in_channels=True and"), (lambda: nn.Linear(3, True), "out_features must be a whole number, got True"),
    (lambda: nn.Conv2d(4, 4, True), "kernel_size"), (lambda: nn.GroupNorm(True, 4), "num_groups=True, both whole"),
    (lambda: nn.BatchNorm1d(True), "got True"), (lambda: nn.LayerNorm((3, True)), r"got \(3, True\)"),
    (lambda: nn.data.DataLoader(nn.data.digits("test"), True), "batch_size must be a whole number, got True"),
    (lambda: nn.GroupNorm(2.0, 4), "num_groups=2.0, both whole numbers")])
def test_sizes_that_are_no_whole_numbers_are_named(make, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make()


@pytest.mark.parametrize("layer, shape", [
    (lambda: nn.BatchNorm1d(3), (4, 3)), (lambda: nn.BatchNorm2d(3), (2, 3, 4, 4)), (lambda: nn.GroupNorm(1, 3), (2, 3, 4)),
    (lambda: nn.InstanceNorm2d(3), (2, 3, 4, 4)), (lambda: nn.LayerNorm(3), (4, 3)), (lambda: nn.Linear(3, 2), (4, 3)),
    (lambda: nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"), (2, 3, 4, 4)),
    (lambda: nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular"), (2, 3, 4, 4))])
def test_layers_take_lists_as_they_take_arrays(layer, shape, rng):
    x, net = rng.standard_normal(shape).astype(np.float32), layer()
    expected = net(x).numpy()
    assert np.abs(net(x.tolist()).numpy() - expected).max() < 1e-5
