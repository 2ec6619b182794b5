"""Python's operators and PyTorch's method names on tensors, against NumPy."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg

RNG = np.random.default_rng(0)
A = RNG.standard_normal((2, 3, 4))
T = tg.tensor(A)

METHODS = {
    "sum dim": (lambda t: t.sum(dim=1), A.sum(1)), "sum axis": (lambda t: t.sum(axis=(0, 2)), A.sum((0, 2))),
    "mean keepdim": (lambda t: t.mean(dim=-1, keepdim=True), A.mean(-1, keepdims=True)),
    "mean keepdims": (lambda t: t.mean(1, True), A.mean(1, keepdims=True)), "prod": (lambda t: t.prod(), A.prod()),
    "amax": (lambda t: t.amax(dim=2), A.max(2)), "max": (lambda t: t.max(), A.max()),
    "max dim": (lambda t: t.max(dim=1).values, A.max(1)), "min indices": (lambda t: t.min(1).indices, A.argmin(1)),
    "max keepdim": (lambda t: t.max(dim=1, keepdim=True)[0], A.max(1, keepdims=True)),
    "argmax": (lambda t: t.argmax(dim=0), A.argmax(0)), "var": (lambda t: t.var(dim=1), A.var(1, ddof=1)),
    "std biased": (lambda t: t.std(correction=0), A.std()), "any": (lambda t: (t > 9).any(), False),
    "reshape": (lambda t: t.reshape(4, -1), A.reshape(4, -1)), "view": (lambda t: t.view((6, 4)), A.reshape(6, 4)),
    "flatten": (lambda t: t.flatten(1), A.reshape(2, 12)), "T": (lambda t: t.T, A.T),
    "transpose": (lambda t: t.transpose(0, 2), A.swapaxes(0, 2)), "permute": (lambda t: t.permute(2, 0, 1), A.transpose(2, 0, 1)),
    "unsqueeze": (lambda t: t.unsqueeze(1).shape, (2, 1, 3, 4)), "squeeze": (lambda t: t[:1].squeeze(0), A[0]),
    "expand": (lambda t: t[:, :1].expand(2, 5, -1), np.broadcast_to(A[:, :1], (2, 5, 4))),
    "split": (lambda t: t.split(3, dim=2)[1], A[:, :, 3:]), "split sizes": (lambda t: t.split([1, 2], 1)[1], A[:, 1:]),
    "flip": (lambda t: t.flip(0, 2), A[::-1, :, ::-1]), "roll": (lambda t: t.roll(1, 2), np.roll(A, 1, 2)),
    "clamp": (lambda t: t.clamp(-0.5, 0.5), A.clip(-0.5, 0.5)), "cumsum": (lambda t: t.cumsum(dim=1), A.cumsum(1)),
    "softmax": (lambda t: t.softmax(dim=1).sum(dim=1), np.ones((2, 4))), "rpow": (lambda t: 2.0 ** t, 2.0 ** A),
    "rsub": (lambda t: 1 - t, 1 - A), "rdiv": (lambda t: 1 / t, 1 / A), "neg": (lambda t: -t, -A),
    "abs": (lambda t: abs(t), abs(A)), "matmul": (lambda t: t @ A[0].T, A @ A[0].T), "getitem": (lambda t: t[..., 1:3], A[..., 1:3]),
    "compare": (lambda t: t <= 0, A <= 0), "invert": (lambda t: ~(t > 0), A <= 0), "float": (lambda t: t.float().dtype, np.float32),
    "len": (lambda t: len(t), 2), "iter": (lambda t: sum(list(t), 0.0), A.sum(0)), "numel": (lambda t: t.numel(), 24),
}


@pytest.mark.parametrize("name", METHODS)
def test_method_equals_numpy(name):
    method, expected = METHODS[name]
    result = method(T)
    if isinstance(result, tg.Tensor):
        np.testing.assert_allclose(result.data, expected, rtol=1e-13)
    else:
        assert result == expected


def test_max_along_an_axis_sends_the_gradient_to_the_first_maximum():
    t = tg.tensor([[1.0, 3.0, 3.0]], requires_grad=True)
    t.max(dim=1).values.sum().backward()
    assert t.grad.data.tolist() == [[0.0, 1.0, 0.0]]
    t.grad = None
    t.amax(dim=1).sum().backward()
    assert t.grad.data.tolist() == [[0.0, 0.5, 0.5]]


@pytest.mark.parametrize("call, error, text", [
    (lambda: bool(T), ValueError, r"truth of a tensor of shape \(2, 3, 4\)"), (lambda: float(T), ValueError, "item: expects one"),
    (lambda: len(tg.tensor(1.0)), TypeError, "no length"), (lambda: list(tg.tensor(1.0)), TypeError, "cannot be iterated"),
    (lambda: T.split([1, 1], 1), ValueError, "add up to 3"), (lambda: T.split([4, -1], 1), ValueError, "at least 0"),
    (lambda: T.split(2, 5), IndexError, "split: axis 5 is out of range"), (lambda: T.split("a"), TypeError, "whole number"),
    (lambda: T.sum(dim=5), IndexError, "sum: axis 5 is out of range"), (lambda: f"{T:.2f}", ValueError, "item: expects one value"),
    (lambda: T.reshape(5, 5), ValueError, r"^reshape: cannot reshape array of size 24 into shape \(5,5\)"), (lambda: T + np.ones(3), ValueError, "add: shapes"),
])
def test_mistakes_are_explained(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_tensors_are_hashable_by_identity():
    assert len({T, T, tg.tensor(A)}) == 2


def test_repr_shows_shape_dtype_and_op():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert repr(x) == "Tensor([1., 2.], shape=(2,), float32, requires_grad=True)"
    assert repr(x * 2.0) == "Tensor([2., 4.], shape=(2,), float32, op=mul)"


def test_one_value_is_formatted_like_a_number():
    loss = tg.tensor([1.0, 2.0], requires_grad=True).sum()
    assert f"{loss:.2f}" == "3.00" and f"{tg.tensor(7):03d}" == "007" and f"{loss}" == repr(loss)


def test_flip_turns_all_axes_unless_told_which():
    assert (T.flip().data == A[::-1, ::-1, ::-1]).all() and (T.flip(1).data == A[:, ::-1]).all()


def test_logical_operators_join_comparisons_and_refuse_integers():
    a, b = tg.tensor([1.0, -1.0, 2.0]), np.array([True, True, False])
    assert ((a > 0) & b).tolist() == [True, False, False]
    assert (b & (a > 0)).tolist() == [True, False, False]
    assert ((a > 1) | b).tolist() == [True, True, True] and (~(a > 0)).tolist() == [False, True, False]
    for use in (lambda t: t & 1, lambda t: ~t, lambda t: t | t):
        with pytest.raises(TypeError, match="expects booleans, got int64; compare first"):
            use(tg.tensor([1, 2]))
