"""Initialisation: distributions, fans, gains; seeded by the generator alone."""
from __future__ import annotations

import math

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn import init

DRAWN = {  # name: (call, standard deviation for a (64, 32, 3, 3) weight, largest value)
    "uniform_": (lambda t, r: init.uniform_(t, -2, 2, rng=r), 4 / math.sqrt(12), 2),
    "normal_": (lambda t, r: init.normal_(t, 0, 0.5, rng=r), 0.5, None),
    "trunc_normal_": (lambda t, r: init.trunc_normal_(t, 0, 1, -2, 2, rng=r), 0.8796, 2),
    "kaiming_uniform_": (lambda t, r: init.kaiming_uniform_(t, nonlinearity="relu", rng=r), math.sqrt(2 / 288),
                         math.sqrt(6 / 288)),
    "kaiming_normal_": (lambda t, r: init.kaiming_normal_(t, mode="fan_out", rng=r), math.sqrt(2 / 576), None),
    "xavier_uniform_": (lambda t, r: init.xavier_uniform_(t, rng=r), math.sqrt(2 / 864), math.sqrt(6 / 864)),
    "xavier_normal_": (lambda t, r: init.xavier_normal_(t, 2.0, rng=r), 2 * math.sqrt(2 / 864), None),
    "lecun_uniform_": (lambda t, r: init.lecun_uniform_(t, rng=r), math.sqrt(1 / 288), math.sqrt(3 / 288)),
    "lecun_normal_": (lambda t, r: init.lecun_normal_(t, rng=r), math.sqrt(1 / 288), 2 / math.sqrt(288) / 0.8796),
}


@pytest.mark.parametrize("name", DRAWN)
def test_init_distribution(name):
    call, std, largest = DRAWN[name]
    t = tg.zeros(64, 32, 3, 3)
    assert call(t, np.random.default_rng(0)) is t and t.dtype == np.float32
    assert t.data.std() == pytest.approx(std, rel=0.02) and abs(t.data.mean()) < 0.02 * std
    if largest is not None:
        assert 0.99 * largest < abs(t.data).max() <= largest * (1 + 1e-6)
    again = call(tg.zeros(64, 32, 3, 3), np.random.default_rng(0))
    assert np.array_equal(t.data, again.data)


@pytest.mark.parametrize("name", DRAWN)
def test_init_needs_a_generator(name):
    call, *_ = DRAWN[name]
    for bad, seed in ((None, "seed"), (0, "0")):
        with pytest.raises(TypeError, match=rf"rng must be a np.random.Generator, .*default_rng\({seed}\)"):
            call(tg.zeros(4, 4), bad)


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (6, 2, 3, 1), (4, 4)])
def test_init_orthogonal(shape, rng):
    w = init.orthogonal_(tg.zeros(*shape, dtype=np.float64), 3.0, rng=rng).data.reshape(shape[0], -1) / 3
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)
    with pytest.raises(ValueError, match="at least two axes"):
        init.orthogonal_(tg.zeros(3), rng=rng)


def test_init_fans():
    assert init.fans((16, 3, 5, 5)) == (75, 400)
    assert init.fans(nn.Conv2d(8, 6, 3, groups=2).weight.shape) == (36, 54)  # of one group
    assert init.fans(nn.ConvTranspose2d(8, 6, 3).weight.shape) == (54, 72)  # axis 1, as PyTorch counts
    assert init.fans((10, 20)) == (20, 10)
    with pytest.raises(ValueError, match=r"at least two axes, got shape \(3,\)"):
        init.kaiming_uniform_(tg.zeros(3), rng=np.random.default_rng(0))


def test_init_gains_of_conventions():
    gains = {"linear": 1, "conv2d": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    assert {k: init.calculate_gain(k) for k in gains} == pytest.approx(gains)
    assert init.calculate_gain("leaky_relu", 0.2) == pytest.approx(math.sqrt(2 / 1.04))
    with pytest.raises(ValueError, match="nonlinearity must be one of .linear., .*, got 'gelu'"):
        init.calculate_gain("gelu")


def test_init_default_bound_of_conventions(rng):
    """kaiming_uniform with a = sqrt 5 is U(+-1/sqrt(fan_in)): 0.3333 for k 3x3, C 1."""
    w = init.kaiming_uniform_(tg.zeros(5000, 1, 3, 3), a=math.sqrt(5), rng=rng).data
    assert abs(w).max() == pytest.approx(1 / 3, abs=1e-4) and abs(w).max() <= 1 / 3


def test_init_constants_and_refusals(rng):
    assert init.zeros_(tg.ones(2)).data.tolist() == [0, 0] and init.ones_(tg.zeros(1)).data.tolist() == [1]
    assert init.constant_(tg.zeros(2), 5).data.tolist() == [5, 5]
    with pytest.raises(TypeError, match="zeros_: expects a floating point tensor to fill, got ndarray"):
        init.zeros_(np.zeros(2))
    with pytest.raises(TypeError, match="got int64"):
        init.normal_(tg.tensor([1, 2]), rng=rng)
    with pytest.raises(ValueError, match="mode must be one of 'fan_in', 'fan_out', got 'fan'"):
        init.kaiming_normal_(tg.zeros(2, 2), mode="fan", rng=rng)
    with pytest.raises(ValueError, match="hardly any"):
        init.trunc_normal_(tg.zeros(2), 0, 1, 50, 51, rng=rng)
    with pytest.raises(ValueError, match="std must be above 0"):
        init.trunc_normal_(tg.zeros(2), 0, 0, rng=rng)
    with pytest.raises(ValueError, match="std must be at least 0, got -1"):
        init.normal_(tg.zeros(2), 0, -1, rng=rng)
    with pytest.raises(ValueError, match="b must be at least 2, got 1"):
        init.uniform_(tg.zeros(2), 2, 1, rng=rng)


def test_init_of_a_recorded_parameter_is_noticed(rng):
    p = nn.Parameter(np.ones((2, 2)))
    y = (p * p).sum()
    init.normal_(p, rng=rng)
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_sizes_in_numbers_of_few_bits_do_not_wrap_around():
    few = np.uint8
    x = np.ones((1, 2), np.float32)
    pairs = [(nn.Linear(few(200), few(200)), 200), (nn.Conv2d(few(16), 4096, 6), 576), (nn.Conv2d(few(16), few(16), few(16)), 4096),
             (nn.Conv1d(few(64), few(64), few(8), groups=few(2)), 256), (nn.ConvTranspose2d(few(16), few(128), 8), 8192)]
    for layer, inputs in pairs:
        assert 0.9 / math.sqrt(inputs) < abs(layer.weight.numpy()).max() <= 1 / math.sqrt(inputs)
        assert 0.5 / math.sqrt(inputs) < abs(layer.bias.numpy()).max() <= 1 / math.sqrt(inputs)
    assert init.fans((few(16), few(16), few(16))) == (256, 256)
    counts = [nn.BatchNorm2d(few(200)).num_features, nn.GroupNorm(few(2), few(200)).num_groups, pairs[1][0].in_channels]
    assert [type(n) for n in counts] == [int] * 3
    assert nn.GroupNorm(few(3), few(180))(tg.ones(2, 180, 4)).shape == (2, 180, 4)
    net = nn.Linear(2, 2)
    assert len(nn.fit(net, [(x, x)], epochs=few(255), optimizer=nn.SGD(net.parameters()), loss=tg.mse_loss, callbacks=())) == 255
