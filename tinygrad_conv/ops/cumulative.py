"""Reductions that take more than one op: logsumexp, cumsum, prod, var, std, norm.

Imports reduce and what reduce imports.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..kernels.total import total
from ..primitive import primitive
from . import elementwise as ew
from . import functions as fn
from . import reduce as rd
from . import shape as sh
from ..arguments import Axis, axes_of, axis_of, number
from ..operands import as_floats, as_tensor
from .compare import equal, where
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
    share = fn.exp(ew.sub(x, where(equal(top, -np.inf), 0.0, top)))  # a row of -inf: shares of 0
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
    x = x if x.dtype.kind == "f" else ew.astype(x, np.float32)
    return rd._reduction(_logsumexp, x, axis, keepdims)


@primitive
def _cumsum(x, *, axis):
    if x.dtype.kind != "f":
        return np.add.accumulate(x, axis=axis)
    return np.add.accumulate(x, axis=axis, dtype=np.float64).astype(x.dtype, copy=False)


_cumsum.defvjp(lambda g, ans, x, *, axis: sh.flip(_cumsum(sh.flip(g, axis), axis=axis), axis))


def cumsum(x: Any, axis: int) -> Tensor:
    """Running sums along an axis, kept in float64.

    Example:
        >>> cumsum([1.0, 2.0, 3.0], 0).data.tolist()
        [1.0, 3.0, 6.0]
    """
    x = as_tensor(x, "cumsum")
    return _cumsum(x, axis=axis_of(axis, x.ndim, "cumsum"))


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over axes, by halves, so that gradients of every order are right where factors are 0.

    Small integers are multiplied as int64 (NumPy's rule, and that of `sum`).

    Example:
        >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
        [2.0, 12.0]
    """
    x = as_tensor(x, "prod")
    if x.dtype.kind != "f":
        x = ew.astype(x, np.uint64 if x.dtype.kind == "u" else np.int64)
    axes = axes_of(axis, x.ndim, "prod")
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    left = tuple(x.shape[i] for i in rest)
    y = sh.reshape(sh.transpose(x, (*axes, *rest)), (rd._count(x, axes), *left))
    while y.shape[0] > 1:
        half = y.shape[0] // 2
        pairs = ew.mul(getitem(y, slice(half)), getitem(y, slice(half, 2 * half)))
        y = pairs if y.shape[0] % 2 == 0 else concatenate([pairs, getitem(y, slice(2 * half, None))])
    if y.shape[0] == 0:
        y = concatenate([y, np.ones((1, *left), x.dtype)])
    return sh.reshape(y, rd._kept(x, axes) if keepdims else left)


def _as(x: Tensor, dtype: Any) -> Tensor:
    return x if x.dtype == dtype else ew.astype(x, dtype)


def _wide(x: Tensor) -> Tensor:
    """Half precision, in which squares from 256 on and their sums overflow, as float32."""
    return _as(x, np.float32 if x.dtype == np.float16 else x.dtype)


def _var(x: Tensor, axis: Axis, correction: float, keepdims: bool, op: str) -> Tensor:
    axes = axes_of(axis, x.ndim, op)
    off = ew.sub(x, rd.mean(x, axes, keepdims=True))
    n = rd._count(x, axes) - number(correction, op, "correction")
    return ew.mul(rd.sum(ew.mul(off, off), axes, keepdims), 1.0 / n if n > 0 else float("nan"))


def var(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The variance over axes, divided by n - correction.

    `correction` is 1, as in PyTorch (unbiased); NumPy's default is 0. With n <= correction, nan.

    Example:
        >>> var([1.0, 2.0, 3.0, 4.0, 5.0]).item(), var([1.0, 3.0], correction=0).item()
        (2.5, 1.0)
    """
    x = as_floats(x, "var")
    return _as(_var(_wide(x), axis, correction, keepdims, "var"), x.dtype)


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
    x = as_floats(x, "std")
    return _as(_root(_var(_wide(x), axis, correction, keepdims, "std")), x.dtype)


def norm(x: Any, p: Any = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The Euclidean norm over axes, by default of all entries; the gradient at 0 is 0.

    Args:
        p: 2 or "fro", in PyTorch's and NumPy's place for it; there is no other norm here.

    Raises:
        ValueError: for another p.

    Example:
        >>> norm([3.0, 4.0]).item()
        5.0
    """
    if not isinstance(p, int | float | str) or p not in (2, "fro"):
        raise ValueError(f"norm: expects p=2, the Euclidean norm, got {p!r}; an axis is given by name, "
                         f"axis= or dim=; other norms are made of tg.abs, tg.sum and tg.amax")
    x = as_floats(x, "norm")
    axes, y = axes_of(axis, x.ndim, "norm"), _wide(x)
    return _as(_root(rd.sum(ew.mul(y, y), axes, keepdims)), x.dtype)
