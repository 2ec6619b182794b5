"""softmax and log_softmax: shifted by the largest value of each row, so that nothing overflows.

A logit of -inf has probability 0 and a finite gradient; a row of only -inf, or with +inf, gives
nan, without a warning.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..arguments import axis_of
from ..kernels.total import total
from ..operands import as_floats
from ..primitive import Primitive, primitive
from ..tensor import Tensor
from . import reduce as rd
from .elementwise import exp


def _shifted(x: np.ndarray, axis: int) -> np.ndarray:
    return x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)


@primitive
def _softmax(x, *, axis):
    with np.errstate(invalid="ignore", over="ignore"):
        y = _shifted(x, axis)
        np.exp(y, out=y)
        y /= total(y, (axis,), keepdims=True)
    return y


@primitive
def softmax_vjp(g, ans, *, axis):
    """ans * (g - sum(g * ans)): the derivative of softmax, in one pass.

    >>> softmax_vjp([1.0, 0.0], [0.5, 0.5], axis=0).data.tolist()
    [0.25, -0.25]
    """
    out = g * ans
    out -= ans * total(out, (axis,), keepdims=True)
    return out


def _softmax_vjp_ans(h, out, g, ans, *, axis):
    along = rd.sum(g * ans, axis, keepdims=True)
    across = rd.sum(h * ans, axis, keepdims=True)
    return h * (g - along) - across * g


_softmax.defvjp(lambda g, ans, x, *, axis: softmax_vjp(g, ans, axis=axis))
softmax_vjp.defvjp(lambda h, out, g, ans, *, axis: softmax_vjp(h, ans, axis=axis),
                   _softmax_vjp_ans)


@primitive
def _log_softmax(x, *, axis):
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        y = _shifted(x, axis)
        y -= np.log(total(np.exp(y), (axis,), keepdims=True))
    return y


@primitive
def log_softmax_vjp(g, ans, *, axis):
    """g - exp(ans) * sum(g): the derivative of log_softmax, in one pass.

    >>> log_softmax_vjp([1.0, 0.0], np.log([0.5, 0.5]), axis=0).data.tolist()
    [0.5, -0.5]
    """
    out = np.exp(ans)
    out *= total(g, (axis,), keepdims=True)
    return np.subtract(g, out, out=out)


_log_softmax.defvjp(lambda g, ans, x, *, axis: log_softmax_vjp(g, ans, axis=axis))
log_softmax_vjp.defvjp(
    lambda h, out, g, ans, *, axis: h - rd.sum(h * exp(ans), axis, keepdims=True),
    lambda h, out, g, ans, *, axis: -(h * exp(ans)) * rd.sum(g, axis, keepdims=True))


def _along(op: Primitive, x: Any, axis: int) -> Tensor:
    x = as_floats(x, op.name)
    return op(x, axis=axis_of(axis, x.ndim, op.name))


def softmax(x: Any, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis.

    Args:
        x: floating point.
        axis: the axis; `dim` is PyTorch's name for it.

    Raises:
        TypeError, IndexError: if x is not floating point, or the axis is out of range.

    Example:
        >>> softmax([[1000.0, 0.0], [0.0, 1000.0]]).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _along(_softmax, x, axis if dim is None else dim)


def log_softmax(x: Any, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """x - log(sum(exp(x))) along an axis: log(softmax(x)), but finite where softmax underflows to 0.

    Args:
        x: floating point.
        axis: the axis; `dim` is PyTorch's name for it.

    Raises:
        TypeError, IndexError: if x is not floating point, or the axis is out of range.

    Example:
        >>> log_softmax([[1000.0, 0.0]]).data.tolist()
        [[0.0, -1000.0]]
    """
    return _along(_log_softmax, x, axis if dim is None else dim)
