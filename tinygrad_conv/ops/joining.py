"""Joining tensors and cutting them up: concatenating and taking slices are each other's adjoint.

Imports core, primitive, arguments, indexing and shape.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..primitive import primitive
from ..arguments import axis_of, is_whole
from ..operands import as_tensor
from .indexing import getitem
from .shape import expand_dims


@primitive
def _concatenate(*xs, axis):
    return np.concatenate(xs, axis)


def _part(i, g, ans, *xs, axis):
    start = sum(x.shape[axis] for x in xs[:i])
    return getitem(g, (slice(None),) * axis + (slice(start, start + xs[i].shape[axis]),))


_concatenate.defvjp_variadic(_part)


def _tensors(op: str, arrays: Any) -> list[Tensor]:
    if not np.iterable(arrays):
        raise TypeError(f"{op}: expects a list of tensors, got {arrays!r}")
    return [as_tensor(x, op) for x in arrays]


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an axis they have.

    Raises:
        ValueError: if the shapes differ elsewhere; names them.

    Example:
        >>> concatenate([[1.0], [2.0, 3.0]]).data.tolist()
        [1.0, 2.0, 3.0]
    """
    xs = _tensors("concatenate", arrays)
    if not xs:
        raise ValueError("concatenate: expects at least one tensor, got none")
    axis = axis_of(axis, xs[0].ndim, "concatenate")
    if len({(*x.shape[:axis], *x.shape[axis + 1:]) for x in xs}) > 1 or len({x.ndim for x in xs}) > 1:
        raise ValueError(f"concatenate: shapes must be equal except along axis {axis}, got "
                         f"{', '.join(str(x.shape) for x in xs)}")
    return _concatenate(*xs, axis=axis)


concat = concatenate


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    xs = _tensors("stack", arrays)
    if len({x.shape for x in xs}) != 1:
        raise ValueError(f"stack: expects tensors of one shape, got {[x.shape for x in xs]}")
    axis = axis_of(axis, xs[0].ndim + 1, "stack")
    return concatenate([expand_dims(x, axis) for x in xs], axis)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut along an axis into equal sections, or at the given indices (NumPy's split).

    Raises:
        ValueError: if the axis is not a multiple of the number of sections.

    Example:
        >>> [part.shape for part in split(np.ones((6, 2)), 3)]
        [(2, 2), (2, 2), (2, 2)]
    """
    x = as_tensor(x, "split")
    axis = axis_of(axis, x.ndim, "split")
    n = x.shape[axis]
    if is_whole(indices_or_sections):
        if indices_or_sections < 1 or n % indices_or_sections:
            raise ValueError(f"split: axis {axis} of shape {x.shape} cannot be cut into "
                             f"{indices_or_sections} equal sections")
        cuts = list(range(0, n + 1, n // indices_or_sections or 1))
        cuts = cuts if n else [0] * (indices_or_sections + 1)
    else:
        cuts = [0, *(indices_or_sections if np.iterable(indices_or_sections) else [None]), n]
        if not all(map(is_whole, cuts)):
            raise TypeError(f"split: indices_or_sections must be a whole number or a list of them, got "
                            f"{indices_or_sections!r}")
    return [getitem(x, (slice(None),) * axis + (slice(a, b),)) for a, b in zip(cuts, cuts[1:])]
