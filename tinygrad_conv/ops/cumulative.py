"""Reductions that are more than one op deep: logsumexp, cumsum, prod, var, std, norm.

Imports reduce and what reduce imports.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..kernels.total import total
from ..primitive import primitive
from . import elementwise as ew
from . import functions as fn
from . import reduce as rd
from . import shape as sh
from .arguments import Axis, as_tensor, axes_of, axis_of
from .compare import isfinite, where
from .indexing import getitem
from .joining import concatenate


@primitive
def _logsumexp(x, *, axis, keepdims):
    top = np.maximum.reduce(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(divide="ignore"):
        out = np.log(total(np.exp(x - top), axis, keepdims=True)) + top
    return out if keepdims else out.reshape([n for i, n in enumerate(x.shape) if i not in axis])


def _logsumexp_x(g, ans, x, *, axis, keepdims):
    top = rd._back(ans, x, axis)
    share = fn.exp(ew.sub(x, where(isfinite(top), top, 0.0)))
    return ew.mul(rd._back(g, x, axis), share)


_logsumexp.defvjp(_logsumexp_x)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes, shifted by the largest value so that nothing overflows.

    Raises:
        ValueError: if there is nothing to sum.

    Example:
        >>> logsumexp([1000.0, 1000.0]).item() > 1000
        True
    """
    x = as_tensor(x, "logsumexp")
    if 0 in [x.shape[a] for a in axes_of(axis, x.ndim, "logsumexp")]:
        raise ValueError(f"logsumexp: nothing to sum along axis {axis} of shape {x.shape}")
    return rd._reduction(_logsumexp, x, axis, keepdims)


@primitive
def _cumsum(x, *, axis):
    return np.add.accumulate(x, axis=axis)


_cumsum.defvjp(lambda g, ans, x, *, axis: sh.flip(_cumsum(sh.flip(g, axis), axis=axis), axis))


def cumsum(x: Any, axis: int) -> Tensor:
    """Running sums along an axis.

    Example:
        >>> cumsum([1.0, 2.0, 3.0], 0).data.tolist()
        [1.0, 3.0, 6.0]
    """
    x = as_tensor(x, "cumsum")
    return _cumsum(x, axis=axis_of(axis, x.ndim, "cumsum"))


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over axes, by halves: gradients are right where factors are 0, at every order.

    Example:
        >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
        [2.0, 12.0]
    """
    x = as_tensor(x, "prod")
    axes = axes_of(axis, x.ndim, "prod")
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    left = tuple(x.shape[i] for i in rest)
    y = sh.reshape(sh.transpose(x, (*axes, *rest)), (rd._count(x, axes), *left))
    while y.shape[0] > 1:
        half = y.shape[0] // 2
        pairs = ew.mul(getitem(y, slice(half)), getitem(y, slice(half, 2 * half)))
        y = pairs if y.shape[0] % 2 == 0 else concatenate([pairs, getitem(y, slice(2 * half, None))])
    if y.shape[0] == 0:
        y = as_tensor(np.ones((1, *left), x.dtype), "prod")
    return sh.reshape(y, rd._kept(x, axes) if keepdims else left)


def var(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The variance over axes, divided by n - correction.

    `correction` is 1, as in PyTorch (unbiased); NumPy's default is 0. With n <= correction, nan.

    Example:
        >>> var([1.0, 2.0, 3.0, 4.0, 5.0]).item(), var([1.0, 3.0], correction=0).item()
        (2.5, 1.0)
    """
    x = as_tensor(x, "var")
    axes = axes_of(axis, x.ndim, "var")
    off = ew.sub(x, rd.mean(x, axes, keepdims=True))
    n = rd._count(x, axes) - correction
    return ew.mul(rd.sum(ew.mul(off, off), axes, keepdims), 1.0 / n if n > 0 else float("nan"))


@primitive
def _root(x):
    return np.sqrt(x)


_root.defvjp(lambda g, ans, x: ew.div_no_nan(g, ew.mul(ans, 2.0)))


def std(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The square root of `var`; the gradient of constants is 0.

    Example:
        >>> std([1.0, 3.0], correction=0).item()
        1.0
    """
    return _root(var(x, axis, correction, keepdims))


def norm(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The Euclidean norm over axes; the gradient at 0 is 0.

    Example:
        >>> norm([3.0, 4.0]).item()
        5.0
    """
    x = as_tensor(x, "norm")
    return _root(rd.sum(ew.mul(x, x), axis, keepdims))
