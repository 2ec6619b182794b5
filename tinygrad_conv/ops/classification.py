"""Classification losses: cross entropy, negative log-likelihood, multi-class hinge.

The first two are -sum(target * logp), with the coefficients `target` of class_targets.py: a
constant of the tape for class numbers. Imports softmax, loss, class_targets and what they import.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, share
from ..kernels import pointwise
from ..primitive import primitive
from . import reduce as rd
from . import shape as sh
from .activation import relu
from ..arguments import is_whole, number
from ..operands import as_tensor
from .class_targets import batched, class_coefficients, class_numbers, class_weights, values_of
from .indexing import take_along_axis
from .loss import check_reduction
from .softmax import log_softmax


def _products(logp: np.ndarray, target: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
    if len(axis) == logp.ndim:
        return np.asarray(np.vdot(logp, target))
    with np.errstate(invalid="ignore"):
        return np.add.reduce(logp * target, axis=axis)


@primitive
def _nll(logp, target, *, axis):
    total = _products(logp, target, axis)
    if np.isnan(total).any():  # a probability of 0 counts 0 also beside logp = -inf
        total = _products(pointwise.keep(target != 0, logp), target, axis)
    return -total


def _nll_vjp(g, other, axis):
    if g.ndim:
        g = sh.reshape(g, tuple(1 if i in axis else n for i, n in enumerate(other.shape)))
    return -g * other


_nll.defvjp(lambda g, ans, logp, target, *, axis: _nll_vjp(g, target, axis),
            lambda g, ans, logp, target, *, axis: _nll_vjp(g, logp, axis))


def _total(logp: Tensor, target: Tensor, reduction: str) -> Tensor:
    return _nll(logp, target, axis=(1,) if reduction == "none" else tuple(range(logp.ndim)))


def _unbatched(loss: Tensor, single: bool, reduction: str) -> Tensor:
    return sh.reshape(loss, ()) if single and reduction == "none" else loss


def _class_loss(op: str, logp: Tensor, single: bool, target: Any, weight: Any, ignore_index: int,
                smoothing: float, reduction: str) -> Tensor:
    t, some = class_coefficients(op, logp, target, weight, ignore_index, smoothing, reduction)
    loss = _unbatched(_total(logp, t, reduction), single, reduction)
    return loss if some or reduction != "mean" else loss + float("nan")  # and gradient 0


def _probability_loss(op: str, x: Tensor, single: bool, target: Any, weight: Any,
                      ignore_index: int, smoothing: float, reduction: str) -> Tensor:
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
    w = class_weights(op, weight, c, x.dtype)
    if w is not None:
        t = t * share(w.reshape(c, *[1] * (x.ndim - 2)))
    if reduction == "mean":
        t = t * (c / x.size if x.size else float("nan"))
    loss = _unbatched(_total(log_softmax(x, 1), t, reduction), single, reduction)
    return loss if x.size or reduction != "mean" else loss + float("nan")


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
    check_reduction(op, reduction)
    label_smoothing = number(label_smoothing, op, "label_smoothing")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    x, target, single = batched(op, input, target)
    options = (single, target, weight, ignore_index, label_smoothing, reduction)
    if values_of(target).dtype.kind == "f":
        return _probability_loss(op, x, *options)
    return _class_loss(op, log_softmax(x, 1), *options)


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
    op = "nll_loss"
    check_reduction(op, reduction)
    x, target, single = batched(op, input, target)
    return _class_loss(op, x, single, target, weight, ignore_index, 0.0, reduction)


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
    check_reduction(op, reduction)
    margin = number(margin, op, "margin")
    if not is_whole(p) or p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    x, target, single = batched(op, input, target)
    if x.ndim != 2:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,), got {x.shape}")
    y, c = class_numbers(op, target, x.shape, None), x.shape[1]
    w = class_weights(op, weight, c, x.dtype)
    each = (np.arange(c) != y[:, None]) * x.dtype.type(1.0 / c)      # (N, C), the target itself 0
    each = each if w is None else each * w[y][:, None]
    short = relu(x - take_along_axis(x, y[:, None], 1) + margin)
    terms = (short if p == 1 else short * short) * share(each)
    loss = rd.sum(terms, axis=1)
    if reduction == "none":
        return _unbatched(loss, single, reduction)
    return rd.mean(loss) if reduction == "mean" else rd.sum(loss)
