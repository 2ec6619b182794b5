"""Classification losses: cross entropy, negative log-likelihood, multi-class hinge.

The first two are -sum(target * logp). Class numbers, weights, ignored rows, smoothing and the divisor
of a mean only determine the coefficients `target`, (N, C, ...) like logp: for class numbers a constant
of the tape.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..arguments import is_whole, number, one_of
from ..kernels.pointwise import keep
from ..operands import as_floats, as_tensor
from ..primitive import primitive
from ..tensor import Tensor, share
from .activation import relu
from .indexing import take_along_axis
from .loss import REDUCTIONS, reduced
from .reduce import kept, sum
from .shape import _reshape, expand_dims
from .softmax import _log_softmax


def _products(logp: np.ndarray, target: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    if len(axis) == logp.ndim:
        return np.asarray(np.vdot(logp, target))
    with np.errstate(invalid="ignore"):
        return np.add.reduce(logp * target, axis=axis)


@primitive
def _nll(logp, target, *, axis):
    total = _products(logp, target, axis)
    if np.isnan(total).any():  # a probability of 0 counts 0 also beside logp = -inf
        total = _products(keep(target != 0, logp), target, axis)
    return -total


def _nll_vjp(g, other, axis):
    return -(_reshape(g, shape=kept(other, axis)) if g.ndim else g) * other


_nll.defvjp(lambda g, ans, logp, target, *, axis: _nll_vjp(g, target, axis),
            lambda g, ans, logp, target, *, axis: _nll_vjp(g, logp, axis))


# ----- targets: checked, and turned into coefficients of log-probabilities -----


def _batched(op: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Any, tuple[int, ...]]:
    """Input and target with a batch axis, and the axes that "none" sums over: with those of a single row."""
    one_of(reduction, op, "reduction", REDUCTIONS)
    x = as_floats(input, op, "input")
    if not isinstance(target, Tensor):
        target = np.asarray(target)
    if x.ndim == 0:
        raise ValueError(f"{op}: input must have shape (C,), (N, C) or (N, C, ...), got ()")
    if x.ndim > 1:
        return x, target, (1,)
    return expand_dims(x, 0), target[None], (0, 1)


def _class_numbers(op: str, target: Any, shape: tuple[int, ...], ignore_index: int | None) -> np.ndarray:
    """Class numbers for input of `shape`, (N, C, ...), checked."""
    y, expected = target._data if isinstance(target, Tensor) else target, (shape[0], *shape[2:])
    if ignore_index is not None and not is_whole(ignore_index):
        raise TypeError(f"{op}: ignore_index must be a whole number, got {ignore_index!r}")
    if y.shape != expected:
        hint = "; probability targets must be floating point" if y.shape == shape else ""
        raise ValueError(f"{op}: class targets must have shape {expected} for input of shape "
                         f"{shape}, got {y.shape}{hint}")
    if y.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {y.dtype}; convert them, e.g. "
                        f"target.astype(np.int64)")
    wrong = (y < 0) | (y >= shape[1])
    if ignore_index is not None:
        wrong &= y != ignore_index
    if wrong.any():
        but = "" if ignore_index is None else f", ignore_index={ignore_index}"
        raise ValueError(f"{op}: target {y[wrong].flat[0]} is out of range for {shape[1]} classes "
                         f"(input shape {shape}{but}); classes are numbered from 0")
    return y


def _class_weights(op: str, weight: Any, c: int, dtype: np.dtype) -> np.ndarray | None:
    """The constant factor of each class, (C,), checked; None if there is none."""
    if weight is None:
        return None
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise ValueError(f"{op}: weight is a constant, it must not require a gradient; pass "
                         f"weight.detach()")
    w = as_tensor(weight, f"{op} weight")._data.astype(dtype)
    if w.shape != (c,):
        raise ValueError(f"{op}: weight must have shape ({c},), one number per class, got {w.shape}")
    return w


def _of_classes(op: str, x: Tensor, target: Any, weight: Any, ignore_index: int, smoothing: float,
                reduction: str) -> tuple[Tensor, bool]:
    """The factor of each -log-probability, (N, C, ...), and whether any row counts."""
    y = _class_numbers(op, target, x.shape, ignore_index)
    (n, c, *rest), dtype = x.shape, x.dtype
    w = _class_weights(op, weight, c, dtype)
    counted = y != ignore_index
    y = y * counted                                                         # (N, ...), in range
    own = counted.astype(dtype) if w is None else w[y] * counted
    divisor = float(np.add.reduce(own, axis=None, dtype=np.float64))
    scale = 1.0 if reduction != "mean" else 1.0 / divisor if divisor else 0.0
    if smoothing:
        even = np.full(c, 1.0, dtype) if w is None else w
        even = (even * (smoothing / c * scale)).reshape(c, *[1] * len(rest))
        t = counted[:, None] * even
    else:
        t = np.zeros(x.shape, dtype)
    rows, places = np.arange(n)[:, None], np.arange(math.prod(rest))
    flat, own = t.reshape(n, c, len(places)), own.reshape(n, len(places))
    flat[rows, y.reshape(own.shape), places] += own * ((1.0 - smoothing) * scale)
    return share(t), divisor != 0


def _of_probabilities(op: str, x: Tensor, target: Any, weight: Any, ignore_index: int, smoothing: float,
                      reduction: str) -> tuple[Tensor, bool]:
    """The same of probabilities, which may require a gradient."""
    t, c = as_tensor(target, op), x.shape[1]
    if t.shape != x.shape:
        if t.shape == (x.shape[0], *x.shape[2:]):
            raise TypeError(f"{op}: class targets must be integers, got {t.dtype}; convert them, "
                            f"e.g. target.astype(np.int64)")
        raise ValueError(f"{op}: probability targets must have the shape of input, {x.shape}, got "
                         f"{t.shape}; class targets must be integers")
    if ignore_index >= 0:
        raise ValueError(f"{op}: ignore_index={ignore_index} goes with class targets, these are "
                         f"probabilities")
    if smoothing:
        t = t * (1.0 - smoothing) + smoothing / c
    w = _class_weights(op, weight, c, x.dtype)
    if w is not None:
        t = t * share(w.reshape(c, *[1] * (x.ndim - 2)))
    return t * (c / x.size) if reduction == "mean" and x.size else t, x.size > 0


def _loss(logp: Tensor, target: Tensor, some: bool, reduction: str, row: tuple[int, ...]) -> Tensor:
    loss = _nll(logp, target, axis=row if reduction == "none" else tuple(range(logp.ndim)))
    return loss if some or reduction != "mean" else loss + float("nan")  # of no rows, and gradient 0


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(input) at the target class, or its mean under target probabilities.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...).
        target: class numbers (integers; the shape of input without C), or probabilities (floating
            point; the shape of input), which may require a gradient.
        weight: (C,), a constant factor for each class. The mean over class targets is divided by
            the sum of the weights of the targets; over probabilities by the number of rows.
        ignore_index: class targets with this number count nothing; if all have it, the mean is nan.
        reduction: "mean", "sum", or "none" for one number per row, (), (N,) or (N, d1, ...).
        label_smoothing: between 0 and 1: the part of the target that is spread evenly over the classes.

    Raises:
        ValueError: if shapes, a class number or an option do not fit; both sides are named.
        TypeError: if class targets are not integers, or input is not floating point.

    Example:
        >>> loss = cross_entropy([[1.0, 2.0], [3.0, 0.4]], np.array([-100, 1]), weight=[0.2, 0.3],
        ...                      label_smoothing=0.1)
        >>> round(loss.item(), 5)
        2.54045

    Source: PyTorch's torch.nn.functional.cross_entropy.
    """
    op = "cross_entropy"
    smoothing = number(label_smoothing, op, "label_smoothing", 0, 1)
    x, target, row = _batched(op, input, target, reduction)
    coefficients = _of_probabilities if target.dtype.kind == "f" else _of_classes
    t, some = coefficients(op, x, target, weight, ignore_index, smoothing, reduction)
    return _loss(_log_softmax(x, axis=1), t, some, reduction, row)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-input at the target class: `cross_entropy` for input that already holds log-probabilities.

    Args:
        input: log-probabilities (C,), (N, C) or (N, C, d1, ...).
        target, weight, ignore_index, reduction: as in `cross_entropy`, classes only.

    Raises:
        ValueError, TypeError: as `cross_entropy`.

    Example:
        >>> nll_loss([[-1.0, -2.0]], np.array([1])).item()
        2.0

    Source: PyTorch's torch.nn.functional.nll_loss.
    """
    x, target, row = _batched("nll_loss", input, target, reduction)
    t, some = _of_classes("nll_loss", x, target, weight, ignore_index, 0.0, reduction)
    return _loss(x, t, some, reduction, row)


def hinge_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
               reduction: str = "mean") -> Tensor:
    """Multi-class hinge (PyTorch's multi_margin_loss): by how much other classes violate the margin.

    For each row, w[y] / C times the sum over classes c other than the target y of
    max(0, margin - x[y] + x[c]) ** p.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers, integers (N,) or one.
        p: 1 or 2.
        margin: by how much the target's score should exceed the others.
        weight: (C,), a constant factor for each target class.
        reduction: "mean" (over rows), "sum", or "none".

    Raises:
        ValueError, TypeError: if shapes, a class number or an option do not fit.

    Example:
        >>> hinge_loss([[0.0, 0.5, 1.25, 2.0]], np.array([3]), reduction="sum").item()
        0.0625

    Source: Crammer & Singer 2001; arguments as torch.nn.functional.multi_margin_loss.
    """
    op = "hinge_loss"
    margin = number(margin, op, "margin")
    if not is_whole(p) or p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    x, target, row = _batched(op, input, target, reduction)
    if x.ndim != 2:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,), got {x.shape}")
    y, c = _class_numbers(op, target, x.shape, None), x.shape[1]
    w = _class_weights(op, weight, c, x.dtype)
    each = (np.arange(c) != y[:, None]) * x.dtype.type(1.0 / c)      # (N, C), the target itself 0
    each = each if w is None else each * w[y][:, None]
    short = relu(x - take_along_axis(x, y[:, None], 1) + margin)
    return reduced(sum((short if p == 1 else short * short) * share(each), row), reduction)
