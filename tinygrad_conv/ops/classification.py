"""Losses on classes: cross entropy, negative log-likelihood, multi-class hinge.

The first two are -sum(target * logp): class numbers, weights, ignored rows, smoothing and the
divisor of a mean only decide the numbers in `target`, (N, C, ...) like logp. For class targets
they are a constant of the tape. Imports softmax, loss and what they import.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor, share
from ..kernels import pointwise
from ..primitive import primitive
from . import reduce as rd
from . import shape as sh
from .activation import relu
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


def _array(a: Any) -> np.ndarray:
    return a._data if isinstance(a, Tensor) else np.asarray(a)


def _batched(op: str, input: Any, target: Any) -> tuple[Tensor, Any, bool]:
    """input (C,) gets a batch axis, and its target; whether it was added."""
    x = sh.as_tensor(input, op)
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: input must be floating point, got {x.dtype}; convert it, e.g. "
                        f"x.astype(np.float32)")
    if x.ndim == 0:
        raise ValueError(f"{op}: input must have shape (C,), (N, C) or (N, C, ...), got ()")
    if x.ndim > 1:
        return x, target, False
    target = sh.expand_dims(target, 0) if isinstance(target, Tensor) else np.asarray(target)[None]
    return sh.expand_dims(x, 0), target, True


def _unbatched(loss: Tensor, single: bool, reduction: str) -> Tensor:
    return sh.reshape(loss, ()) if single and reduction == "none" else loss


def _classes(op: str, target: Any, shape: tuple[int, ...], ignore_index: int | None) -> np.ndarray:
    """Class numbers for input of `shape`, (N, C, ...), checked."""
    y, expected = _array(target), (shape[0], *shape[2:])
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


def _weights(op: str, weight: Any, c: int, dtype: np.dtype) -> np.ndarray | None:
    if weight is None:
        return None
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise ValueError(f"{op}: weight is a constant, it must not require a gradient; pass "
                         f"weight.detach()")
    w = _array(weight).astype(dtype)
    if w.shape != (c,):
        raise ValueError(f"{op}: weight must have shape ({c},), one number a class, got {w.shape}")
    return w


def _class_coefficients(op: str, logp: Tensor, target: Any, weight: Any, ignore_index: int,
                        smoothing: float, reduction: str) -> tuple[Tensor, bool]:
    """What each -log-probability is multiplied by, (N, C, ...), and whether any row counts."""
    y = _classes(op, target, logp.shape, ignore_index)
    c, dtype = logp.shape[1], logp.dtype
    w = _weights(op, weight, c, dtype)
    counted = y != ignore_index
    y = np.where(counted, y, 0)
    own = counted.astype(dtype) if w is None else np.where(counted, w[y], dtype.type(0))  # (N, ...)
    divisor = float(np.add.reduce(own, axis=None, dtype=np.float64))
    scale = 1.0 if reduction != "mean" else 1.0 / divisor if divisor else 0.0
    if smoothing:
        even = np.full(c, 1.0, dtype) if w is None else w
        even = (even * (smoothing / c * scale)).reshape(c, *[1] * (logp.ndim - 2))
        t = counted[:, None] * even
    else:
        t = np.zeros(logp.shape, dtype)
    rows = np.indices(y.shape, sparse=True)
    t[(rows[0], y, *rows[1:])] += own * ((1.0 - smoothing) * scale)
    return share(t), divisor != 0


def _class_loss(op: str, logp: Tensor, single: bool, target: Any, weight: Any, ignore_index: int,
                smoothing: float, reduction: str) -> Tensor:
    t, some = _class_coefficients(op, logp, target, weight, ignore_index, smoothing, reduction)
    loss = _unbatched(_total(logp, t, reduction), single, reduction)
    return loss if some or reduction != "mean" else loss + float("nan")  # and gradient 0


def _probability_loss(op: str, x: Tensor, single: bool, target: Any, weight: Any,
                      ignore_index: int, smoothing: float, reduction: str) -> Tensor:
    t, c = sh.as_tensor(target, op), x.shape[1]
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
    w = _weights(op, weight, c, x.dtype)
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
        ignore_index: class targets with this number count nothing; if all do, the mean is nan.
        reduction: "mean", "sum", or "none" for one number a row, (), (N,) or (N, d1, ...).
        label_smoothing: between 0 and 1: so much of the target is spread evenly over the classes.

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
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{op}: label_smoothing must be between 0 and 1, got {label_smoothing}")
    x, target, single = _batched(op, input, target)
    options = (single, target, weight, ignore_index, label_smoothing, reduction)
    if _array(target).dtype.kind == "f":
        return _probability_loss(op, x, *options)
    return _class_loss(op, log_softmax(x, 1), *options)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-input at the target class: `cross_entropy` of input that is log-probabilities already.

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
    x, target, single = _batched(op, input, target)
    return _class_loss(op, x, single, target, weight, ignore_index, 0.0, reduction)


def hinge_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
               reduction: str = "mean") -> Tensor:
    """Multi-class hinge (PyTorch's multi_margin_loss): how far other classes come too near.

    For each row, w[y] / C times the sum over classes c other than the target y of
    max(0, margin - x[y] + x[c]) ** p.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers, integers (N,) or one.
        p: 1 or 2.
        margin: how much the score of the target should be ahead.
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
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    x, target, single = _batched(op, input, target)
    if x.ndim != 2:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,), got {x.shape}")
    y, c = _classes(op, target, x.shape, None), x.shape[1]
    w = _weights(op, weight, c, x.dtype)
    each = (np.arange(c) != y[:, None]) * x.dtype.type(1.0 / c)      # (N, C), the target itself 0
    each = each if w is None else each * w[y][:, None]
    short = relu(x - take_along_axis(x, y[:, None], 1) + margin)
    terms = (short if p == 1 else short * short) * share(each)
    loss = rd.sum(terms, axis=1)
    if reduction == "none":
        return _unbatched(loss, single, reduction)
    return rd.mean(loss) if reduction == "mean" else rd.sum(loss)
