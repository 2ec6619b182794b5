"""Reductions over axes, and how each entry contributes to the result.

`axis` is an int, a tuple or None (all); `keepdims` leaves axes of length 1. A VJP gives the
cotangent its lost axes back (`_spread`) and lets broadcasting do the rest. Composites come last.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Tensor
from ..kernels.total import total
from ..primitive import primitive
from . import elementwise as ew
from . import shape as sh
from ..arguments import Axis, axes_of, axis_of
from ..operands import as_floats, as_tensor
from .compare import equal


def _kept(x: Tensor, axis: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if i in axis else n for i, n in enumerate(x.shape))


def _back(t: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """A reduced tensor with its lost axes back, of length 1."""
    return sh.reshape(t, _kept(x, axis))


def _spread(g: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    return sh.broadcast_to(_back(g, x, axis), x.shape)


def _reduction(primitive_, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x, primitive_.name)
    return primitive_(x, axis=axes_of(axis, x.ndim, primitive_.name), keepdims=bool(keepdims))


@primitive
def _sum(x, *, axis, keepdims):
    return total(x, axis, keepdims)


_sum.defvjp(lambda g, ans, x, *, axis, keepdims: _spread(g, x, axis))
_sum.defnotes(x="copied along the axes that were summed")


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over axes.

    Example:
        >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0).data.tolist()
        [4.0, 6.0]
    """
    return _reduction(_sum, x, axis, keepdims)


def _count(x: Tensor | np.ndarray, axis: tuple[int, ...]) -> int:
    return math.prod(x.shape[a] for a in axis)


@primitive
def _mean(x, *, axis, keepdims):
    n = _count(x, axis)
    return total(x, axis, keepdims) * (1.0 / n if n else math.nan)


_mean.defvjp(lambda g, ans, x, *, axis, keepdims: _spread(
    ew.mul(g, 1.0 / _count(x, axis) if _count(x, axis) else math.nan), x, axis))


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over axes; of nothing, nan.

    Raises:
        TypeError: for integers, whose mean need not be an integer; convert them first.

    Example:
        >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=(0, 1)).item()
        2.5
    """
    return _reduction(_mean, as_floats(x, "mean"), axis, keepdims)


@primitive
def _max(x, *, axis, keepdims):
    return np.maximum.reduce(x, axis=axis, keepdims=keepdims)


@primitive
def _min(x, *, axis, keepdims):
    return np.minimum.reduce(x, axis=axis, keepdims=keepdims)


def _extreme_vjp(g, ans, x, *, axis, keepdims):
    hit = ew.astype(equal(x, _back(ans, x, axis)), x.dtype)
    return ew.mul(ew.div(_back(g, x, axis), _sum(hit, axis=axis, keepdims=True)), hit)


_max.defvjp(_extreme_vjp)
_min.defvjp(_extreme_vjp)


def _extreme(primitive_, x: Any, axis: Axis, keepdims: bool) -> Tensor:
    x = as_tensor(x, primitive_.name)
    if 0 in [x.shape[a] for a in axes_of(axis, x.ndim, primitive_.name)]:
        raise ValueError(f"{primitive_.name}: nothing to compare along axis {axis} of shape {x.shape}")
    return _reduction(primitive_, x, axis, keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest value over axes (nan wins); ties share the gradient evenly.

    Raises:
        ValueError: over an axis of length 0.

    Example:
        >>> max([[1.0, 5.0], [3.0, 4.0]], axis=1).data.tolist()
        [5.0, 4.0]
    """
    return _extreme(_max, x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest value over axes (nan wins); ties share the gradient evenly.

    Raises:
        ValueError: over an axis of length 0.

    Example:
        >>> min([[1.0, 5.0], [3.0, 4.0]], axis=1).data.tolist()
        [1.0, 3.0]
    """
    return _extreme(_min, x, axis, keepdims)


amax, amin = max, min


@primitive
def _argmax(x, *, axis, keepdims):
    return np.argmax(x, axis=axis, keepdims=keepdims)


@primitive
def _argmin(x, *, axis, keepdims):
    return np.argmin(x, axis=axis, keepdims=keepdims)


def _arg(primitive_, x: Any, axis: int | None, keepdims: bool) -> Tensor:
    x = as_tensor(x, primitive_.name)
    axis = None if axis is None else axis_of(axis, x.ndim, primitive_.name)
    if (x.size if axis is None else x.shape[axis]) == 0:
        raise ValueError(f"{primitive_.name}: nothing to compare along axis {axis} of shape {x.shape}")
    return primitive_(x, axis=axis, keepdims=bool(keepdims))


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the (first) largest value is, as integers; the first nan wins. Not differentiable.

    Example:
        >>> argmax([[1.0, 5.0], [3.0, 3.0]], axis=1).data.tolist()
        [1, 0]
    """
    return _arg(_argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Where the (first) smallest value is, as integers; the first nan wins. Not differentiable.

    Example:
        >>> argmin([[1.0, 5.0], [3.0, 3.0]], axis=1).data.tolist()
        [0, 0]
    """
    return _arg(_argmin, x, axis, keepdims)


@primitive
def _any(x, *, axis, keepdims):
    return np.any(x, axis=axis, keepdims=keepdims)


@primitive
def _all(x, *, axis, keepdims):
    return np.all(x, axis=axis, keepdims=keepdims)


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any entry is not 0.

    Example:
        >>> any([0.0, 1.0]).item()
        True
    """
    return _reduction(_any, x, axis, keepdims)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether no entry is 0.

    Example:
        >>> all([0.0, 1.0]).item()
        False
    """
    return _reduction(_all, x, axis, keepdims)
