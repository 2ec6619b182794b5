"""Pooling beside PyTorch, where it is installed: values, indices, gradients, second derivatives."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional

KERNELS = [1, 2, 3, (2, 3), (3, 1)]
STRIDES = [None, 1, 2, (3, 2)]
PADDINGS = [0, 1, (1, 0)]
SIZES = [(6, 6), (7, 5)]


def compare(ours, theirs, x):
    """Values and indices, the gradient, and the derivative of that by its cotangent."""
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = ours(a), theirs(b)
    if isinstance(y, tuple):
        np.testing.assert_array_equal(y[1].data, z[1].numpy())
        y, z = y[0], z[0]
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-12)
    g = np.random.default_rng(9).standard_normal(y.shape)
    u = np.random.default_rng(8).standard_normal(x.shape)
    ga, gb = tg.tensor(g, requires_grad=True), torch.tensor(g, requires_grad=True)
    (y * ga).sum().backward(create_graph=True)
    dx, = torch.autograd.grad(z, b, gb, create_graph=True)
    np.testing.assert_allclose(a.grad.data, dx.detach().numpy(), rtol=1e-12, atol=1e-12)
    first = a.grad
    a.grad = ga.grad = None
    (first * u).sum().backward()
    v, = torch.autograd.grad(dx, gb, torch.tensor(u))
    np.testing.assert_allclose(ga.grad.data, v.numpy(), rtol=1e-12, atol=1e-12)


def both_or_neither(ours, theirs, x):
    """Compare where PyTorch accepts the numbers; where it refuses we do, with our own text."""
    try:
        theirs(torch.tensor(x))
    except RuntimeError:
        with pytest.raises(ValueError, match=r"pool[12]d: "):
            ours(tg.tensor(x))
    else:
        compare(ours, theirs, x)


def input_of(size):
    return np.random.default_rng(0).standard_normal((2, 3, *size))


@pytest.mark.parametrize("size, dilation, ceil_mode",
                         list(itertools.product(SIZES, [1, 2, (1, 3)], [False, True])), ids=str)
def test_max_pool2d_equals_torch(size, dilation, ceil_mode):
    x = input_of(size)
    for k, s, p in itertools.product(KERNELS, STRIDES, PADDINGS):
        args = (k, s, p, dilation, ceil_mode, True)
        both_or_neither(lambda t, args=args: tg.max_pool2d(t, *args),
                        lambda t, args=args: F.max_pool2d(t, *args), x)


@pytest.mark.parametrize("size, include, ceil_mode",
                         list(itertools.product(SIZES, [True, False], [False, True])), ids=str)
def test_avg_pool2d_equals_torch(size, include, ceil_mode):
    x = input_of(size)
    for k, s, p, divisor in itertools.product(KERNELS, STRIDES, PADDINGS, [None, 5] if include else [None]):
        args = (k, s, p, ceil_mode, include, divisor)
        both_or_neither(lambda t, args=args: tg.avg_pool2d(t, *args),
                        lambda t, args=args: F.avg_pool2d(t, *args), x)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_pool2d_equals_torch_near_the_smallest_sizes(ceil_mode):
    for n, k, s, p, d in itertools.product(range(1, 5), range(1, 4), [1, 3], range(2), [1, 2]):
        x = input_of((n, 4))
        args = ((k, 1), (s, 1), (p, 0))
        if (n > 1 or d == 1) and p <= k // 2:       # a window without a cell has no index; see test_pool.py
            both_or_neither(lambda t, a=args, d=d: tg.max_pool2d(t, *a, (d, 1), ceil_mode, True),
                            lambda t, a=args, d=d: F.max_pool2d(t, *a, (d, 1), ceil_mode, True), x)
        both_or_neither(lambda t, a=args: tg.avg_pool2d(t, *a, ceil_mode, False),
                        lambda t, a=args: F.avg_pool2d(t, *a, ceil_mode, False), x)


@pytest.mark.parametrize("ceil_mode", [False, True])
def test_max_pool2d_equals_torch_on_ties_and_minus_infinity(ceil_mode):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (2, 3, 7, 8)).astype(float)
    x[rng.random(x.shape) < 0.3] = -np.inf
    x[0, 0] = -np.inf
    for k, s, p, d in itertools.product([2, 3], [1, 2, 3], [0, 1], [1, 2]):
        args = (k, s, p, d, ceil_mode, True)
        y, i = tg.max_pool2d(x, *args)
        z, j = F.max_pool2d(torch.tensor(x), *args)
        np.testing.assert_array_equal(y.data, z.numpy())
        np.testing.assert_array_equal(i.data, j.numpy())
        t, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        g = rng.standard_normal(y.shape)
        tg.max_pool2d(t, *args[:-1]).backward(g)
        F.max_pool2d(b, *args[:-1]).backward(torch.tensor(g))
        np.testing.assert_allclose(t.grad.data, b.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 9), (3, 9)], ids=str)
def test_max_pool1d_and_avg_pool1d_equal_torch(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    for k, s, p, ceil in itertools.product([1, 2, 3], [None, 1, 2], [0, 1], [False, True]):
        both_or_neither(
            lambda t, k=k, s=s, p=p, ceil=ceil: tg.max_pool1d(t, k, s, p, 2, ceil, True),
            lambda t, k=k, s=s, p=p, ceil=ceil: F.max_pool1d(t, k, s, p, 2, ceil, True), x)
        both_or_neither(
            lambda t, k=k, s=s, p=p, ceil=ceil: tg.avg_pool1d(t, k, s, p, ceil, False),
            lambda t, k=k, s=s, p=p, ceil=ceil: F.avg_pool1d(t, k, s, p, ceil, False), x)


@pytest.mark.parametrize("size", [(7, 5), (3, 8), (1, 1)], ids=str)
def test_adaptive_pool2d_equals_torch(size):
    x = input_of(size)
    for out in [1, 2, 3, (5, 4), (None, 2), (9, None)]:
        compare(lambda t, o=out: tg.adaptive_avg_pool2d(t, o),
                lambda t, o=out: F.adaptive_avg_pool2d(t, o), x)
        compare(lambda t, o=out: tg.adaptive_max_pool2d(t, o, True),
                lambda t, o=out: F.adaptive_max_pool2d(t, o, True), x)


@pytest.mark.parametrize("size, k, s, p, output_size", [
    ((6, 8), 2, None, 0, None), ((7, 9), 2, 2, 0, (7, 9)), ((7, 9), 3, 3, 1, (2, 3, 7, 9)),
    ((6, 6), (2, 3), (2, 3), (0, 1), (6, 6))], ids=str)
def test_max_unpool2d_equals_torch(size, k, s, p, output_size):
    y, i = F.max_pool2d(torch.tensor(input_of(size)), k, s, p, return_indices=True)
    compare(lambda t: tg.max_unpool2d(t, i.numpy(), k, s, p, output_size),
            lambda t: F.max_unpool2d(t, i, k, s, p, output_size), y.numpy())


def test_max_unpool2d_equals_torch_where_a_place_is_named_twice():
    y, i = F.max_pool2d(torch.tensor(input_of((6, 6))), 3, 1, return_indices=True)
    y = np.random.default_rng(2).standard_normal(y.shape)
    np.testing.assert_array_equal(tg.max_unpool2d(y, i.numpy(), 3, 1).data,
                                  F.max_unpool2d(torch.tensor(y), i, 3, 1).numpy())
