"""Losses on classes: cross entropy, negative log-likelihood, multi-class hinge.

A loss here is a sum of logits' logs times coefficients: the target, weights, smoothing and
reduction only decide the coefficients, which are a constant of the tape (or, for probability
targets, a tensor). Imports softmax, loss and what they import.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor, share
from ..primitive import primitive
from . import elementwise as ew
from . import functions as fn
from . import reduce as rd
from . import shape as sh
from .activation import relu
from .indexing import take_along_axis
from .loss import check_reduction
from .softmax import log_softmax


@primitive
def masked_mul(x, y):
    """x * y, but 0 wherever y is 0: a class of probability 0 with log-probability -inf counts 0."""
    return np.multiply(x, y, out=np.zeros(x.shape, np.result_type(x, y)), where=y != 0)


masked_mul.defvjp(lambda g, ans, x, y: masked_mul(g, y), lambda g, ans, x, y: ew.mul(g, x))


def _class_targets(op: str, target: Any, shape: tuple[int, ...], ignore_index: int) -> np.ndarray:
    """Class numbers for logits of `shape`, (N, C, ...), checked."""
    y = target._data if isinstance(target, Tensor) else np.asarray(target)
    if y.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {y.dtype}")
    if y.shape != (shape[0], *shape[2:]):
        raise ValueError(f"{op}: class targets must have shape {(shape[0], *shape[2:])} for input of "
                         f"shape {shape}, got {y.shape}")
    wrong = (y != ignore_index) & ((y < 0) | (y >= shape[1]))
    if wrong.any():
        raise ValueError(f"{op}: class {y[wrong].flat[0]} is out of range for {shape[1]} classes "
                         f"(input shape {shape})")
    return y


def _weights(op: str, weight: Any, c: int, dtype: np.dtype) -> np.ndarray:
    if weight is None:
        return np.ones(c, dtype)
    w = weight._data if isinstance(weight, Tensor) else np.asarray(weight)
    if w.shape != (c,):
        raise ValueError(f"{op}: weight must have shape ({c},), one a class, got {w.shape}")
    return w.astype(dtype)


def _coefficients(op: str, logp: Tensor, target: Any, weight: Any, ignore_index: int,
                  smoothing: float) -> tuple[Tensor, float]:
    """What each log-probability is multiplied by, (N, C, ...), and the divisor of "mean"."""
    n, c, *rest = logp.shape
    y = _class_targets(op, target, logp.shape, ignore_index)
    w = _weights(op, weight, c, logp.dtype)
    counted = y != ignore_index
    safe = np.where(counted, y, 0)
    own = w[safe] * counted                                                    # (N, ...)
    t = np.zeros(logp.shape, logp.dtype)
    np.put_along_axis(t, safe[:, None], own[:, None] * (smoothing - 1.0), 1)
    if smoothing:
        t -= smoothing / c * w.reshape(1, c, *[1] * len(rest)) * counted[:, None]
    return share(t.astype(logp.dtype, copy=False)), float(own.sum())


def _finish(logp: Tensor, t: Tensor, divisor: float, reduction: str) -> Tensor:
    terms = masked_mul(logp, t)
    if reduction == "none":
        return rd.sum(terms, axis=1)
    total = rd.sum(terms)
    if reduction == "sum":
        return total
    return ew.mul(total, 1.0 / divisor if divisor else float("nan"))


def _batched(op: str, x: Any) -> tuple[Tensor, bool]:
    """Logits with a batch axis, and whether it was added."""
    x = sh.as_tensor(x, op)
    if x.ndim == 0 or x.dtype.kind != "f":
        raise ValueError(f"{op}: input must be floating point (C,), (N, C) or (N, C, ...), got "
                         f"{x.dtype} of shape {x.shape}")
    return (sh.expand_dims(x, 0), True) if x.ndim == 1 else (x, False)


def _dtype_kind(target: Any) -> str:
    return (target if isinstance(target, Tensor) else np.asarray(target)).dtype.kind


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(input) at the target class, or its mean under target probabilities.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...).
        target: class numbers (integers; the shape of input without C), or probabilities (floats;
            the shape of input).
        weight: (C,), a factor for each class. "mean" then divides by the weights of the classes
            that occur; for probability targets always by the number of samples.
        ignore_index: class targets of this number count nothing.
        label_smoothing: in [0, 1]: so much of the target is spread evenly over all classes.

    Raises:
        ValueError, TypeError: for shapes, classes or options that do not fit; both are named.

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
    x, single = _batched(op, input)
    if _dtype_kind(target) == "f":
        return _soft_cross_entropy(x, single, target, weight, ignore_index, reduction,
                                   label_smoothing)
    if single:
        target = np.asarray(target)[None]
    logp = log_softmax(x, 1)
    t, divisor = _coefficients(op, logp, target, weight, ignore_index, label_smoothing)
    loss = _finish(logp, t, divisor, reduction)
    return sh.reshape(loss, ()) if single and reduction == "none" else loss


def _soft_cross_entropy(x: Tensor, single: bool, target: Any, weight: Any, ignore_index: int,
                        reduction: str, smoothing: float) -> Tensor:
    op = "cross_entropy"
    t = sh.as_tensor(target, op)
    t = sh.expand_dims(t, 0) if single and t.ndim == 1 else t
    if ignore_index >= 0:
        raise ValueError(f"{op}: ignore_index={ignore_index} needs class targets, these are "
                         f"probabilities")
    if t.shape != x.shape:
        raise ValueError(f"{op}: probability targets must have the shape of input, {x.shape}, got "
                         f"{t.shape}; class targets must be integers")
    c = x.shape[1]
    if smoothing:
        t = ew.add(ew.mul(t, 1.0 - smoothing), smoothing / c)
    w = _weights(op, weight, c, x.dtype).reshape(1, c, *[1] * (x.ndim - 2))
    loss = _finish(log_softmax(x, 1), ew.mul(t, share(-w)), x.size / c, reduction)
    return sh.reshape(loss, ()) if single and reduction == "none" else loss


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-input at the target class: `cross_entropy` for input that is log-probabilities already.

    Example:
        >>> nll_loss([[-1.0, -2.0]], np.array([1])).item()
        2.0
    """
    check_reduction("nll_loss", reduction)
    logp, single = _batched("nll_loss", input)
    target = np.asarray(target)[None] if single else target
    t, divisor = _coefficients("nll_loss", logp, target, weight, ignore_index, 0.0)
    loss = _finish(logp, t, divisor, reduction)
    return sh.reshape(loss, ()) if single and reduction == "none" else loss


def hinge_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
               reduction: str = "mean") -> Tensor:
    """Multi-class hinge, PyTorch's multi_margin_loss: over all classes c but the target y,
    w[y] max(0, margin - x[y] + x[c])^p / C summed; "mean" divides by N.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers (N,) or one.
        p: 1 or 2.
        weight: (C,), a factor for each target class.

    Example:
        >>> hinge_loss([[0.1, 0.2, 0.4, 0.8]], np.array([3])).item()
        0.32499998807907104
    """
    op = "hinge_loss"
    check_reduction(op, reduction)
    if p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p}")
    x, single = _batched(op, input)
    if x.ndim != 2:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,), got {x.shape}")
    y = _class_targets(op, np.asarray(target)[None] if single else target, x.shape, -100)
    if (y < 0).any():
        raise ValueError(f"{op}: class {y.min()} is out of range for {x.shape[1]} classes")
    w = _weights(op, weight, x.shape[1], x.dtype)[y][:, None] / x.shape[1]
    others = share((np.arange(x.shape[1]) != y[:, None]) * w)
    short = relu(ew.add(ew.sub(x, take_along_axis(x, y[:, None], 1)), margin))
    loss = rd.sum(ew.mul(short if p == 1 else fn.pow(short, 2), others), axis=1)
    if reduction == "none":
        return sh.reshape(loss, ()) if single else loss
    return rd.mean(loss) if reduction == "mean" else rd.sum(loss)
