"""Picking values by index, and its adjoint, adding them back: one closed pair.

`getitem` and `scatter_add` are each other's VJP; if an index names a place twice, the
adjoint adds to it twice. Index arrays are copied, so that a later change cannot affect the gradient.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..primitive import primitive
from ..tensor import Tensor
from ..arguments import axis_of
from ..operands import as_tensor


def _is_plain(index: tuple[Any, ...]) -> bool:
    """Whether an index names every place at most once: no integer arrays."""
    return not any(isinstance(i, np.ndarray) and i.dtype.kind != "b" for i in index)


def _zeros_to_add_to(g: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float16 is added up in float32: in float16 2048 + 1 is 2048."""
    return np.zeros(shape, np.promote_types(g.dtype, np.float32))


@primitive
def _getitem(x, *, index):
    return x[index]


@primitive
def _scatter_add(g, *, index, shape):
    if _is_plain(index):
        out = np.zeros(shape, g.dtype)
        out[index] = g
        return out
    out = _zeros_to_add_to(g, shape)
    np.add.at(out, index, g)
    return out


_getitem.defvjp(lambda g, ans, x, *, index: _scatter_add(g, index=index, shape=x.shape))
_scatter_add.defvjp(lambda u, ans, g, *, index, shape: _getitem(u, index=index))


def _frozen(i: Any) -> Any:
    """An index as plain slices, integers and arrays nobody else can change."""
    if i is None or i is Ellipsis or isinstance(i, slice):
        return i
    try:
        array = np.array(i.data if isinstance(i, Tensor) else i)
    except ValueError as e:
        raise TypeError(f"getitem: {i!r} is not an index: {e}") from None
    if array.size == 0 and not isinstance(i, Tensor | np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise TypeError(f"getitem: indices must be integers, booleans, slices, None or ..., got "
                        f"{type(i).__name__} of dtype {array.dtype}")
    return int(array) if array.ndim == 0 and array.dtype.kind != "b" else array


def getitem(x: Any, index: Any) -> Tensor:
    """x[index], NumPy's basic and advanced indexing.

    Raises:
        IndexError: if the index is out of range or has too many axes; names both.

    Example:
        >>> getitem([1.0, 2.0, 3.0], [0, 0, 2]).data.tolist()
        [1.0, 1.0, 3.0]
    """
    x = as_tensor(x, "getitem")
    index = tuple(_frozen(i) for i in (index if isinstance(index, tuple) else (index,)))
    try:
        return _getitem(x, index=index)
    except IndexError as e:
        raise IndexError(f"getitem: {e.__cause__} (index {index}, shape {x.shape})") from None


@primitive
def _take_along_axis(x, *, indices, axis):
    return np.take_along_axis(x, indices, axis)


@primitive
def _put_along_axis(g, *, indices, axis, shape):
    out = _zeros_to_add_to(g, shape)
    grid = list(np.ogrid[tuple(slice(n) for n in shape)])  # not of indices: they may broadcast
    grid[axis] = indices
    np.add.at(out, tuple(grid), g)
    return out


_take_along_axis.defvjp(lambda g, ans, x, *, indices, axis: _put_along_axis(
    g, indices=indices, axis=axis, shape=x.shape))
_put_along_axis.defvjp(lambda u, ans, g, *, indices, axis, shape: _take_along_axis(
    u, indices=indices, axis=axis))


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """out[.., i, ..] = x[.., indices[.., i, ..], ..] (NumPy's name; PyTorch's gather).

    Example:
        >>> take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], 1).data.tolist()
        [[2.0], [3.0]]
    """
    x = as_tensor(x, "take_along_axis")
    indices = np.asarray(indices)
    if indices.dtype.kind not in "iu" or indices.ndim != x.ndim:
        raise TypeError(f"take_along_axis: indices must be integers with {x.ndim} axes, got "
                        f"{indices.dtype} of shape {indices.shape}")
    return _take_along_axis(x, indices=indices, axis=axis_of(axis, x.ndim, "take_along_axis"))
