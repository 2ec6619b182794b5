"""softmax and log_softmax: shifted by the largest value of each row, so that nothing overflows.

Imports core, primitive, elementwise, functions, reduce and shape.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..primitive import primitive
from . import elementwise as ew
from . import functions as fn
from . import reduce as rd
from . import shape as sh


def _shifted(x: np.ndarray, axis: int) -> np.ndarray:
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    return x - np.where(np.isneginf(top), x.dtype.type(0), top)


@primitive
def _softmax(x, *, axis):
    e = np.exp(_shifted(x, axis))
    e /= np.add.reduce(e, axis=axis, keepdims=True)
    return e


_softmax.defvjp(lambda g, ans, x, *, axis: ew.mul(
    ans, ew.sub(g, rd.sum(ew.mul(g, ans), axis, keepdims=True))))


@primitive
def _log_softmax(x, *, axis):
    y = _shifted(x, axis)
    y -= np.log(np.add.reduce(np.exp(y), axis=axis, keepdims=True))
    return y


_log_softmax.defvjp(lambda g, ans, x, *, axis: ew.sub(
    g, ew.mul(fn.exp(ans), rd.sum(g, axis, keepdims=True))))


def _along(primitive_, x: Any, axis: int) -> Tensor:
    x = sh.as_tensor(x, primitive_.name)
    axis = sh.axis_of(axis, x.ndim, primitive_.name)
    if x.dtype.kind != "f":
        raise TypeError(f"{primitive_.name}: expects floating point, got {x.dtype}; convert it with "
                        f".astype(np.float32)")
    return primitive_(x, axis=axis) if x.shape[axis] else x


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis.

    Example:
        >>> softmax([[1000.0, 0.0], [0.0, 1000.0]]).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _along(_softmax, x, axis)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """x - log(sum(exp(x))) along an axis.

    Example:
        >>> log_softmax([[0.0, 0.0]]).data.tolist()
        [[-0.6931471824645996, -0.6931471824645996]]
    """
    return _along(_log_softmax, x, axis)
