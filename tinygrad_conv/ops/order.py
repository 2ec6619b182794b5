"""Ops that order values: where they go is found on the arrays, and picking by index carries the gradient."""
from typing import Any

import numpy as np

from ..arguments import axis_of, flag, whole
from ..operands import as_tensor
from ..tensor import Tensor, ValuesIndices
from .shape import _reshape, take_along_axis


def _order(x: Tensor, axis: int, descending: bool) -> np.ndarray:
    """Where along the axis the smallest (largest) is, the next, ...: equal ones in order, nan is largest."""
    values = x.data
    if not descending:
        return np.argsort(values, axis, kind="stable")
    last = values.shape[axis] - 1
    return np.flip(last - np.argsort(np.flip(values, axis), axis, kind="stable"), axis)


def argsort(x: Any, axis: int | None = -1, descending: bool = False) -> Tensor:
    """Where the smallest entry along an axis is, the next one, and so on; equal ones stay in order.

    Args:
        x: any shape.
        axis: the axis; None: of all entries in a row.
        descending: from the largest down; then nan, taken for the largest, comes first.

    Example:
        >>> argsort([3.0, 1.0, 2.0]).data.tolist()
        [1, 2, 0]
    """
    x, axis = _in_a_row(x, axis, "argsort")
    return Tensor(_order(x, axis, flag(descending, "argsort", "descending")))


def sort(x: Any, axis: int | None = -1, descending: bool = False) -> Tensor:
    """The entries along an axis in ascending order (NumPy's; `t.sort` gives PyTorch's pair).

    Args:
        x: any shape.
        axis: the axis; None: of all entries in a row.
        descending: from the largest down.

    Example:
        >>> sort([[3.0, 1.0, 2.0]]).data.tolist()
        [[1.0, 2.0, 3.0]]
    """
    x, axis = _in_a_row(x, axis, "sort")
    return take_along_axis(x, _order(x, axis, flag(descending, "sort", "descending")), axis)


def _in_a_row(x: Any, axis: int | None, op: str) -> tuple[Tensor, int]:
    x = as_tensor(x, op)
    if axis is None or not x.ndim:
        axis_of(0 if axis is None else axis, 1, op)
        return _reshape(x, shape=(x.size,)), 0
    return x, axis_of(axis, x.ndim, op)


def topk(x: Any, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest entries along an axis, and where they are (PyTorch's).

    Args:
        x: at least one axis, of length k or more.
        k: how many.
        axis: the axis; `dim` is PyTorch's name for it.
        largest: False: the k smallest.
        sorted: they always are.

    Returns:
        (values, indices), in order; of equal ones the first.

    Raises:
        ValueError: if the axis has fewer than k entries.

    Example:
        >>> values, indices = topk([1.0, 4.0, 2.0], 2)
        >>> values.data.tolist(), indices.data.tolist()
        ([4.0, 2.0], [1, 2])
    """
    x = as_tensor(x, "topk")
    axis, k = axis_of(axis, x.ndim, "topk"), whole(k, "topk", "k", 0)
    flag(sorted, "topk", "sorted")
    if not x.ndim or k > x.shape[axis]:
        raise ValueError(f"topk: axis {axis} of shape {x.shape} has fewer than k={k} entries")
    first = (slice(None),) * axis + (slice(k),)
    indices = _order(x, axis, flag(largest, "topk", "largest"))[first]
    return ValuesIndices(take_along_axis(x, indices, axis), Tensor(indices))
