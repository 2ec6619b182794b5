"""Sums and means: as exact as their dtype allows, wherever the summed axes lie in memory."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import total


@pytest.mark.parametrize("axes", [axes for n in range(5) for axes in itertools.combinations(range(4), n)],
                         ids=str)
@pytest.mark.parametrize("shape", [(5, 7, 3, 4), (1, 13, 1, 6), (2, 1, 37, 5), (0, 3, 2, 2)], ids=str)
def test_total_equals_numpy_in_any_layout(monkeypatch, axes, shape):
    """Slabs of few rows, so that a rest is left; every order of the axes in memory, and reversed."""
    for name, value in (("WORTH", 1), ("ROWS", 2), ("SLAB", 4)):
        monkeypatch.setattr(total, name, value)
    rng = np.random.default_rng(0)
    for order in itertools.permutations(range(4)):
        x = rng.standard_normal([shape[i] for i in order]).transpose(np.argsort(order))
        arrays = (x, x[:, ::-1], np.broadcast_to(x[:, :1], shape))
        for a, keepdims in itertools.product(arrays, (True, False)):
            expected = np.add.reduce(a, axis=axes, keepdims=keepdims)
            got = total.total(a, axes, keepdims)
            assert got.shape == expected.shape
            np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("op", [tg.sum, tg.mean])
@pytest.mark.parametrize("shape, axis", [((99991, 16), 0), ((4, 10007, 16), 1), ((3, 101, 103, 8), (1, 2))],
                         ids=str)
def test_a_float32_sum_of_many_rows_keeps_six_digits(op, shape, axis):
    """Also of a prime number of them, and between axes that are kept."""
    x = np.random.default_rng(0).random(shape, np.float32) + 1
    exact = op(tg.tensor(x.astype(np.float64)), axis=axis).data
    np.testing.assert_allclose(op(tg.tensor(x), axis=axis).data, exact, rtol=3e-6)


@pytest.mark.parametrize("axis", [0, (0, 1)], ids=str)
def test_half_precision_is_summed_in_single(axis):
    """A running sum in float16 ends at 2048, where adding 1 changes nothing."""
    x = tg.tensor(np.full((30000, 2), 1.0, np.float16))
    total = tg.sum(x, axis=axis)
    assert total.dtype == np.float16 and (total.data == 30000 * (1 if axis == 0 else 2)).all()
    mean = tg.mean(x * 10.0, axis=axis)  # the sum itself is beyond float16
    assert mean.dtype == np.float16 and (mean.data == 10).all()


def test_running_sums_do_not_drift():
    half = tg.cumsum(np.ones(5000, np.float16), 0)
    assert half.dtype == np.float16 and half.data[-1] == 5000
    x = np.random.default_rng(0).random(300_000, np.float32) + 1
    np.testing.assert_allclose(tg.cumsum(x, 0).data, np.cumsum(x, dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("op", [tg.var, tg.std, tg.norm])
def test_half_precision_spread_is_computed_in_single(op):
    """The squares, and the sum of many of them, are beyond 65504."""
    a = np.random.default_rng(0).integers(-4, 5, 70000) * (1 if op is tg.var else 20)
    x, exact = [tg.tensor(a.astype(t), requires_grad=True) for t in (np.float16, np.float64)]
    for t in (x, exact):
        y = op(t)
        y.backward(tg.ones_like(y) * 1000.0)
        np.testing.assert_allclose(y.data, op(exact).data, rtol=1e-3)
    assert x.grad.dtype == np.float16
    np.testing.assert_allclose(x.grad.data, exact.grad.data, atol=2e-3 * np.abs(exact.grad.data).max())


def test_the_bias_of_a_half_precision_convolution_gets_its_whole_gradient():
    x = tg.tensor(np.ones((16, 1, 16, 16), np.float16))
    w = tg.tensor(np.ones((2, 1, 1, 1), np.float16))
    b = tg.tensor(np.zeros(2, np.float16), requires_grad=True)
    tg.conv2d(x, w, b).backward(np.ones((16, 2, 16, 16), np.float16))
    assert b.grad.data.tolist() == [4096, 4096]


def test_half_precision_softmax_over_many_rows_adds_up_to_one():
    x = np.zeros((5000, 2), np.float16)
    p = tg.softmax(x, axis=0)
    assert p.dtype == np.float16
    np.testing.assert_allclose(p.data.astype(np.float64).sum(axis=0), 1.0, rtol=1e-3)
    np.testing.assert_allclose(tg.log_softmax(x, axis=0).data, np.log(1 / 5000), rtol=1e-3)
    np.testing.assert_allclose(tg.logsumexp(x, axis=0).data, np.log(5000), rtol=1e-3)
