"""Ops that order, repeat, pick and arrange, and the activations made of others: beside NumPy and PyTorch."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg

A = np.random.default_rng(0).standard_normal((3, 4, 2))
TIES = np.array([[2.0, 1.0, 2.0, np.nan, -1.0], [0.0, 0.0, -0.0, 5.0, 0.0]])
INDEX = np.array([[[0, 2], [1, 1]], [[3, 3], [0, 0]]])
MASK = A > 0

LIKE_NUMPY = {
    "tile": lambda np, x: np.tile(x, (2, 1, 3)), "tile, more axes": lambda np, x: np.tile(x, (2, 1, 1, 2)),
    "tile, fewer": lambda np, x: np.tile(x, 2), "tile, none": lambda np, x: np.tile(x, (0, 1, 1)),
    "repeat": lambda np, x: np.repeat(x, 3, axis=1), "repeat all": lambda np, x: np.repeat(x, 2),
    "repeat by entry": lambda np, x: np.repeat(x, [2, 0, 1], axis=0), "moveaxis": lambda np, x: np.moveaxis(x, 0, -1),
    "moveaxis, several": lambda np, x: np.moveaxis(x, (0, 2), (1, 0)), "sort": lambda np, x: np.sort(x, axis=1),
    "sort all": lambda np, x: np.sort(x, axis=None), "sort last": lambda np, x: np.sort(x),
    "vstack": lambda np, x: np.vstack([x[0], x[1]]), "vstack rows": lambda np, x: np.vstack([x[0, 0], x[1, 1]]),
    "hstack": lambda np, x: np.hstack([x, x * 2.0]), "hstack vectors": lambda np, x: np.hstack([x[0, 0], x[0, :, 1]]),
    "diff": lambda np, x: np.diff(x), "diff twice": lambda np, x: np.diff(x, n=2, axis=1),
    "diff to nothing": lambda np, x: np.diff(x, n=5, axis=1), "diag": lambda np, x: np.diag(x[0, :, 0]),
    "diag above": lambda np, x: np.diag(x[0, :, 0], 2), "diag of a matrix": lambda np, x: np.diag(x[:, :, 0]),
    "diag below": lambda np, x: np.diag(x[:, :, 0], -1), "diag outside": lambda np, x: np.diag(x[:, :, 0], 7),
    "tril": lambda np, x: np.tril(x), "triu": lambda np, x: np.triu(x, 1), "tril above": lambda np, x: np.tril(x, k=1),
    "cumprod": lambda np, x: np.cumprod(x, axis=1), "cumprod all": lambda np, x: np.cumprod(x),
    "tensordot": lambda np, x: np.tensordot(x, x, axes=([0, 1], [0, 1])),
    "tensordot, one": lambda np, x: np.tensordot(x, x[0, 0], 1), "tensordot, none": lambda np, x: np.tensordot(x[0], x[1], 0),
    "tensordot, all": lambda np, x: np.tensordot(x, x, 3), "tensordot, a number": lambda np, x: np.tensordot(x, x, axes=(1, 1)),
    "round": lambda np, x: np.round(x, 1), "norm": lambda np, x: np.linalg.norm(x),
    "norm along": lambda np, x: np.linalg.norm(x, axis=1, keepdims=True), "norm of a matrix": lambda np, x: np.linalg.norm(x[0]),
}


@pytest.mark.parametrize("f", LIKE_NUMPY.values(), ids=LIKE_NUMPY)
def test_numpys_function_takes_tensors_and_gradients_are_those_of_differences(f):
    x = tg.tensor(A, requires_grad=True)
    y = f(np, x)
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(y.data, f(np, A), rtol=1e-12, atol=1e-14)
    if "round" not in f.__code__.co_names and y.size:
        tg.check_grads(lambda x: f(np, x), (A,), order=2)


def test_our_functions_are_numpys():
    for name in ("tile", "repeat", "moveaxis", "sort", "argsort", "vstack", "hstack", "diag", "tril", "triu", "cumprod", "tensordot"):
        np.testing.assert_array_equal(getattr(np, name).__name__, getattr(tg, name).__name__)
        assert getattr(tg, name).__doc__


@pytest.mark.parametrize("descending", [False, True])
def test_ties_stay_in_order_and_nan_is_the_largest(descending):
    torch = pytest.importorskip("torch")
    t = torch.tensor(TIES)
    values, indices = torch.sort(t, dim=1, descending=descending, stable=True)
    np.testing.assert_array_equal(tg.argsort(TIES, 1, descending).data, indices.numpy())
    np.testing.assert_array_equal(tg.sort(TIES, 1, descending).data, values.numpy())
    ours = tg.tensor(TIES).sort(1, descending)
    np.testing.assert_array_equal(ours.values.data, values.numpy())
    np.testing.assert_array_equal(ours.indices.data, indices.numpy())
    if not descending:
        np.testing.assert_array_equal(tg.argsort(TIES, 1).data, np.argsort(TIES, 1, stable=True))


LIKE_PYTORCH = {  # (torch's, ours)
    "topk": (lambda t, x: t.topk(x, 2, 1)[0], lambda x: tg.topk(x, 2, 1)[0]),
    "topk smallest": (lambda t, x: t.topk(x, 3, dim=0, largest=False)[0], lambda x: x.topk(3, dim=0, largest=False).values),
    "gather": (lambda t, x: t.gather(x, 1, t.tensor(INDEX)), lambda x: tg.gather(x, 1, INDEX)),
    "scatter_add": (lambda t, x: t.scatter_add(t.zeros(2, 4, 2, dtype=x.dtype), 1, t.tensor(INDEX), x),
                    lambda x: tg.scatter_add(tg.zeros(2, 4, 2, dtype=np.float64), 1, INDEX, x)),
    "scatter_add to it": (lambda t, x: x.scatter_add(1, t.tensor(INDEX), x[:2, :2]), lambda x: x.scatter_add(1, INDEX, x)),
    "repeat": (lambda t, x: x.repeat(2, 1, 1, 3), lambda x: x.repeat(2, 1, 1, 3)),
    "repeat_interleave": (lambda t, x: t.repeat_interleave(x, 2, 1), lambda x: tg.repeat(x, 2, 1)),
    "masked_fill": (lambda t, x: x.masked_fill(t.tensor(MASK), -1.0), lambda x: x.masked_fill(MASK, -1.0)),
    "tril": (lambda t, x: x.tril(-1), lambda x: x.tril(-1)), "triu": (lambda t, x: x.triu(1), lambda x: x.triu(1)),
    "cumprod": (lambda t, x: x.cumprod(1), lambda x: x.cumprod(1)),
    "cumprod of zeros": (lambda t, x: t.where(t.tensor(MASK), x, 0.0).cumprod(0), lambda x: tg.where(MASK, x, 0.0).cumprod(0)),
    "clip by tensors": (lambda t, x: t.clip(x, 0 * x - 0.5, x.detach() * 0 + 0.5), lambda x: tg.clip(x, 0 * x - 0.5, x.detach() * 0 + 0.5)),
    "clip by a tensor that learns": (lambda t, x: t.clip(x[0], min=x[1]), lambda x: tg.clip(x[0], min=x[1])),
    "clip, crossed": (lambda t, x: t.clip(x[0], x[1], x[2]), lambda x: tg.clip(x[0], x[1], x[2])),
    "softmax over two axes": (lambda t, x: t.softmax(x.permute(1, 0, 2).reshape(4, 6), 1).reshape(4, 3, 2).permute(1, 0, 2),
                              lambda x: tg.softmax(x, (0, 2))),
    "log_softmax over all": (lambda t, x: t.log_softmax(x.reshape(-1), 0).reshape(3, 4, 2), lambda x: tg.log_softmax(x, dim=(0, 1, 2))),
    "hardswish": (lambda t, x: t.nn.functional.hardswish(x * 3), lambda x: tg.hardswish(x * 3)),
    "hardsigmoid": (lambda t, x: t.clip(x * 3 + 3, 0, 6) / 6, lambda x: tg.hardsigmoid(x * 3)),  # theirs has no second derivative
    "mish": (lambda t, x: t.nn.functional.mish(x), tg.mish),
    "logsigmoid": (lambda t, x: t.nn.functional.logsigmoid(x * 30), lambda x: tg.logsigmoid(x * 30)),
    "prelu": (lambda t, x: t.nn.functional.prelu(x, x[0, :, 0]), lambda x: tg.prelu(x, x[0, :, 0])),
    "prelu, one": (lambda t, x: t.nn.functional.prelu(x, x[0, 0, :1]), lambda x: tg.prelu(x, x[0, 0, :1])),
    "remainder": (lambda t, x: x % 0.7, lambda x: x % 0.7), "the other way": (lambda t, x: t.remainder(0 * x.detach() + 0.7, x), lambda x: 0.7 % x),
}


@pytest.mark.parametrize("theirs, ours", LIKE_PYTORCH.values(), ids=LIKE_PYTORCH)
def test_values_and_two_derivatives_are_pytorchs(theirs, ours):
    torch = pytest.importorskip("torch")
    start = A[:2, :2] if "zeros" in ours.__code__.co_names else A
    x, t = tg.tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    y, z = ours(x), theirs(torch, t)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-14)
    g = np.random.default_rng(1).standard_normal(y.shape)
    (y * y * tg.tensor(g)).sum().backward(create_graph=True)
    first, = torch.autograd.grad((z * z * torch.tensor(g)).sum(), t, create_graph=True)
    np.testing.assert_allclose(x.grad.data, first.detach().numpy(), rtol=1e-10, atol=1e-12)
    first_ours, x.grad = x.grad, None
    (first_ours * first_ours).sum().backward()
    second, = torch.autograd.grad((first * first).sum(), t)
    np.testing.assert_allclose(x.grad.data, second.numpy(), rtol=1e-9, atol=1e-11)


def test_hardswish_and_hardsigmoid_at_their_corners_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in ("hardswish", "hardsigmoid", "mish", "logsigmoid"):
        x, t = tg.tensor(np.array([-3.0, 0.0, 3.0, 1e3, -1e3]), requires_grad=True), torch.tensor([-3.0, 0.0, 3.0, 1e3, -1e3], dtype=torch.float64, requires_grad=True)
        y, z = getattr(tg, name)(x), getattr(torch.nn.functional, name)(t)
        y.sum().backward()
        z.sum().backward()
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-12, atol=1e-15, err_msg=name)
        np.testing.assert_allclose(x.grad.data, t.grad.numpy(), rtol=1e-7, atol=1e-15, err_msg=name)


def test_one_hot_is_pytorchs():
    torch = pytest.importorskip("torch")
    labels = np.array([[0, 3], [1, 1]])
    for classes in (-1, 4, 6):
        ours, theirs = tg.one_hot(labels, classes), torch.nn.functional.one_hot(torch.tensor(labels), classes)
        assert ours.dtype == np.int64 and np.array_equal(ours.data, theirs.numpy())


def test_whole_numbers_and_booleans_are_arranged_too():
    assert tg.cumprod(np.array([2, 3, 4], np.int8), 0).data.tolist() == [2, 6, 24] and tg.cumprod(np.array([2, 3], np.int8), 0).dtype == np.int64
    assert tg.sort(np.array([3, 1])).data.tolist() == [1, 3] and np.diff(tg.tensor([True, False])).data.tolist() == [True]
    assert tg.triu(np.ones((2, 2), int)).data.tolist() == [[1, 1], [0, 1]]
    assert np.argsort(tg.tensor([3.0, 1.0])).data.tolist() == [1, 0]
    assert (tg.tensor([7, -7]) // 2).data.tolist() == [3, -4] and (tg.tensor([7, -7]) % 4).data.tolist() == [3, 1]


def test_half_precision_stays():
    for f in (tg.mish, tg.hardswish, tg.hardsigmoid, tg.logsigmoid, lambda x: tg.prelu(x, np.float16([0.5])), lambda x: tg.tril(x), lambda x: tg.tile(x, 2)):
        assert f(tg.tensor(np.ones((2, 2), np.float16))).dtype == np.float16


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.topk(A, 9), ValueError, r"topk: axis 2 of shape \(3, 4, 2\) has fewer than k=9 entries"),
    (lambda: tg.topk(A, -1), ValueError, "topk: k must be"), (lambda: tg.sort(A, 5), IndexError, "sort: axis"),
    (lambda: tg.repeat(A, [1, 2], 0), ValueError, "repeat: expects a number of repeats for each of the 3 entries along axis 0, got 2"),
    (lambda: tg.repeat(A, -1, 0), ValueError, "repeat: repeats"), (lambda: tg.tile(A, (2, -1)), ValueError, "tile: reps"),
    (lambda: tg.moveaxis(A, (0, 1), 2), ValueError, r"moveaxis: expects as many destinations as sources.*\(0, 1\) and 2"),
    (lambda: tg.moveaxis(A, (0, 0), (1, 2)), ValueError, "no axis twice"), (lambda: tg.diag(A), ValueError, r"diag: .*got shape \(3, 4, 2\)"),
    (lambda: tg.tril(A[0, 0]), ValueError, r"tril: expects at least two axes, got shape \(2,\)"),
    (lambda: tg.tensordot(A, A, 9), ValueError, "tensordot: axes are a number of at most 3"),
    (lambda: tg.tensordot(A, A, 1), ValueError, r"tensordot: the axes \[2\] of \(3, 4, 2\) and \[0\] of \(3, 4, 2\) have not"),
    (lambda: tg.scatter_add(A, 1, INDEX * 9, A), IndexError, "scatter_add: index is from 0 to 27, axis 1 .* has places 0 to 3"),
    (lambda: tg.scatter_add(A, 1, INDEX, A[0]), ValueError, "scatter_add: index, beside src,"),
    (lambda: tg.scatter_add(A, 1, INDEX * 1.0, A), TypeError, "scatter_add: index must be integers, got float64"),
    (lambda: tg.gather(A, 1, INDEX[0]), ValueError, "gather: index must have the 3 axes"),
    (lambda: tg.prelu(A, np.ones(3)), ValueError, r"prelu: expects 1 weight, or one for each of the 4 channels of \(3, 4, 2\), got shape \(3,\)"),
    (lambda: tg.one_hot([0.5]), TypeError, "one_hot: labels must be integers, got float32"),
    (lambda: tg.one_hot([0, 5], 3), ValueError, r"one_hot: labels are from 0 to 5, but must be in \[0, 3\)"),
    (lambda: tg.one_hot(np.zeros(0, int)), ValueError, "one_hot: of no labels"), (lambda: np.diff(tg.tensor(1.0)), ValueError, "diff: a single number"),
    (lambda: np.linalg.norm(tg.tensor(A[0]), 2), TypeError, "np.linalg.norm: ord must be left out.*got 2"), (lambda: tg.vstack([np.ones(2), np.ones(3)]), ValueError, "concatenate: "),
])
def test_mistakes_are_told_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call()
