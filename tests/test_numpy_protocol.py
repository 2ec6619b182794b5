"""NumPy's functions and operators with tensors on either side: recorded, or refused."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg


def leaf(*shape):
    return tg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


@pytest.mark.parametrize("f, expected", [
    (lambda a, t: a @ t, lambda a, g: a.T @ g), (lambda a, t: a * t, lambda a, g: a * g),
    (lambda a, t: a - t, lambda a, g: -g), (lambda a, t: np.float64(2) * t, lambda a, g: 2 * g),
    (lambda a, t: np.float32(2) * t, lambda a, g: 2 * g), (lambda a, t: np.add(a, t), lambda a, g: g),
    (lambda a, t: np.array(3.0) * t, lambda a, g: 3 * g)])
def test_left_hand_arrays_are_recorded(f, expected):
    a, t = np.random.default_rng(1).standard_normal((3, 3)), leaf(3, 3)
    y = f(a, t)
    assert isinstance(y, tg.Tensor)
    g = np.random.default_rng(2).standard_normal((3, 3))
    y.backward(g)
    np.testing.assert_allclose(t.grad.data, expected(a, g), rtol=1e-13)


def test_ufuncs_and_functions_are_recorded():
    t = leaf(2, 3)
    for y in (np.exp(t), np.concatenate([t, t]), np.sum(t, axis=0), np.where(t > 0, t, 0.0), np.stack([t, t]),
              np.square(t), np.einsum("ij->j", t), np.clip(t, -1, 1), np.mean(t)):
        assert isinstance(y, tg.Tensor) and y.requires_grad


def test_dot_is_a_matrix_product_where_numpy_says_so():
    rng = np.random.default_rng(0)
    a, b, stack = rng.standard_normal((3, 4)), rng.standard_normal((4, 5)), rng.standard_normal((2, 4, 5))
    for x, y in ((a, b), (a[0], b), (a[0], stack), (rng.standard_normal((2, 3, 4)), b), (a, b[:, 0])):
        assert np.allclose(np.dot(tg.tensor(x), y).data, np.dot(x, y))
    with pytest.raises(TypeError, match=r"np.dot: of shapes \(3, 4\) and \(2, 4, 5\).*tg.matmul"):
        np.dot(tg.tensor(a), stack)                           # (3, 2, 5), where matmul is (2, 3, 5)


def test_augmented_assignment_to_an_array_is_refused():
    a, t = np.ones(3), leaf(3)
    with pytest.raises(TypeError, match="np.add: cannot write .* gradient would be lost"):
        a += t
    assert (a == 1).all()


@pytest.mark.parametrize("f", [np.zeros_like, np.ones_like, np.empty_like, lambda t: np.full_like(t, 2.0)])
def test_what_only_looks_at_the_shape_takes_a_tensor_of_a_graph(f):
    for t in (leaf(2, 3), leaf(2, 3) * 1.0):
        assert f(t).shape == (2, 3) and f(t).dtype == np.float64
    with pytest.raises(TypeError, match="the gradient would be lost"):
        np.full_like(tg.ones(2), leaf()[()])


def test_what_would_lose_the_gradient_is_refused():
    t = leaf(3)
    with pytest.raises(TypeError, match="np.median: no op for tensors, the gradient would be lost"):
        np.median(t)
    with pytest.raises(TypeError, match="np.heaviside: no op"):
        np.heaviside(t, 0.0)
    with pytest.raises(TypeError, match="np.add.reduce: no op"):
        np.add.reduce(t)
    assert np.median(t.numpy()) == np.median(t.detach()) and np.allclose(t, t.numpy())
