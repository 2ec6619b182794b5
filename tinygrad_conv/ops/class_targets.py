"""Targets of classification losses: checked, and turned into coefficients of log-probabilities.

The loss is -sum(target * logp): class numbers, weights, ignored rows, smoothing and the divisor of a
mean only determine `target`, (N, C, ...) like logp. Imports core,
arguments and shape.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor, share
from . import shape as sh
from ..arguments import is_whole
from ..operands import as_floats, as_tensor


def values_of(a: Any) -> np.ndarray:
    """The array of a tensor, or of what is like one."""
    return a._data if isinstance(a, Tensor) else np.asarray(a)


def batched(op: str, input: Any, target: Any) -> tuple[Tensor, Any, bool]:
    """A batch axis for input (C,) and its target; and whether it was added."""
    x = as_floats(input, op, "input")
    if x.ndim == 0:
        raise ValueError(f"{op}: input must have shape (C,), (N, C) or (N, C, ...), got ()")
    if x.ndim > 1:
        return x, target, False
    target = sh.expand_dims(target, 0) if isinstance(target, Tensor) else np.asarray(target)[None]
    return sh.expand_dims(x, 0), target, True


def class_numbers(op: str, target: Any, shape: tuple[int, ...], ignore_index: int | None) -> np.ndarray:
    """Class numbers for input of `shape`, (N, C, ...), checked."""
    y, expected = values_of(target), (shape[0], *shape[2:])
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


def class_weights(op: str, weight: Any, c: int, dtype: np.dtype) -> np.ndarray | None:
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


def class_coefficients(op: str, logp: Tensor, target: Any, weight: Any, ignore_index: int,
                        smoothing: float, reduction: str) -> tuple[Tensor, bool]:
    """The factor of each -log-probability, (N, C, ...), and whether any row counts."""
    y = class_numbers(op, target, logp.shape, ignore_index)
    c, dtype = logp.shape[1], logp.dtype
    w = class_weights(op, weight, c, dtype)
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
