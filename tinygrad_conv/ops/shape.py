"""Ops that move values and compute nothing. Each is linear, and its VJP is its adjoint.

Pairs: reshape and reshape, transpose and transpose, broadcast and sum, a roll and the roll back.
Imports core, primitive, arguments and indexing.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor
from ..primitive import primitive
from ..arguments import Axis, axes_of, axis_of, is_whole
from ..operands import as_tensor
from .indexing import getitem


@primitive
def _reshape(x, *, shape):
    return x.reshape(shape)


_reshape.defvjp(lambda g, ans, x, *, shape: _reshape(g, shape=x.shape))


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The same values in another shape; one entry may be -1.

    Raises:
        ValueError: if the sizes differ; names both shapes.

    Example:
        >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1)).shape
        (2, 2)
    """
    x = as_tensor(x, "reshape")
    shape = tuple(shape) if isinstance(shape, Sequence | np.ndarray) else (shape,)
    if not all(is_whole(n) for n in shape):
        raise TypeError(f"reshape: shape must be whole numbers, got {shape!r}")
    known = math.prod(n for n in shape if n != -1)
    if shape.count(-1) == 1 and known > 0 and x.size % known == 0:
        shape = tuple(x.size // known if n == -1 else n for n in shape)
    if min(shape, default=0) < 0 or math.prod(shape) != x.size:
        raise ValueError(f"reshape: cannot arrange {x.size} values of shape {x.shape} as {shape}")
    return _reshape(x, shape=shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from `start_dim` to `end_dim` into one (C order of the logical axes).

    Raises:
        ValueError: if `start_dim` lies after `end_dim`.

    Example:
        >>> flatten(np.ones((2, 3, 4)), 1).shape
        (2, 12)
    """
    x = as_tensor(x, "flatten")
    if x.ndim == 0:
        return reshape(x, (1,))
    lo, hi = axis_of(start_dim, x.ndim, "flatten"), axis_of(end_dim, x.ndim, "flatten")
    if lo > hi:
        raise ValueError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}")
    return reshape(x, (*x.shape[:lo], math.prod(x.shape[lo:hi + 1]), *x.shape[hi + 1:]))


@primitive
def _transpose(x, *, axes):
    return x.transpose(axes)


_transpose.defvjp(
    lambda g, ans, x, *, axes: _transpose(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes; without `axes` reverse them (NumPy's transpose).

    Raises:
        ValueError: if `axes` is not a permutation.

    Example:
        >>> transpose(np.ones((2, 3, 4)), (0, 2, 1)).shape
        (2, 4, 3)
    """
    x = as_tensor(x, "transpose")
    given = range(x.ndim)[::-1] if axes is None else axes if isinstance(axes, Sequence) else (axes,)
    axes = [axis_of(a, x.ndim, "transpose") for a in given]
    if sorted(axes) != list(range(x.ndim)):
        raise ValueError(f"transpose: axes {tuple(axes)} are not a permutation of the {x.ndim} axes of "
                         f"shape {x.shape}")
    return _transpose(x, axes=tuple(axes))


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes.

    Example:
        >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
        (4, 3, 2)
    """
    x = as_tensor(x, "swapaxes")
    axes = list(range(x.ndim))
    i, j = axis_of(axis1, x.ndim, "swapaxes"), axis_of(axis2, x.ndim, "swapaxes")
    axes[i], axes[j] = j, i
    return _transpose(x, axes=tuple(axes))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Drop axes of length 1: all of them, or those given (an axis of another length stays,
    as in PyTorch; NumPy raises).

    Example:
        >>> squeeze(np.ones((1, 3, 1)), 0).shape
        (3, 1)
    """
    x = as_tensor(x, "squeeze")
    drop = axes_of(axis, x.ndim, "squeeze")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in drop))


def expand_dims(x: Any, axis: int) -> Tensor:
    """Insert an axis of length 1 (PyTorch's unsqueeze).

    Example:
        >>> expand_dims(np.ones((2, 3)), -1).shape
        (2, 3, 1)
    """
    x = as_tensor(x, "expand_dims")
    i = axis_of(axis, x.ndim + 1, "expand_dims")
    return reshape(x, (*x.shape[:i], 1, *x.shape[i:]))


@primitive
def _broadcast_to(x, *, shape):
    return np.broadcast_to(x, shape)


_broadcast_to.defvjp(lambda g, ans, x, *, shape: g)  # summed in pullback.py, like all broadcasting
_broadcast_to.defbroadcast()


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Repeat along new axes and axes of length 1, without a copy.

    Raises:
        ValueError: if the shapes do not broadcast; names both.

    Example:
        >>> broadcast_to([1.0, 2.0], (3, 2)).shape
        (3, 2)
    """
    x, shape = as_tensor(x, "broadcast_to"), shape if isinstance(shape, Sequence) else (shape,)
    shape = tuple(shape)
    if not all(map(is_whole, shape)):
        raise TypeError(f"broadcast_to: shape must be whole numbers, got {shape!r}")
    if min(shape, default=0) < 0:
        raise ValueError(f"broadcast_to: a shape has no negative sizes, got {shape}")
    tail = shape[len(shape) - x.ndim:] if len(shape) >= x.ndim else None
    if tail is None or any(n not in (1, m) for n, m in zip(x.shape, tail)):
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}; an axis must "
                         f"be equal, 1 or missing in front")
    return _broadcast_to(x, shape=shape)


def flip(x: Any, axis: Axis = None) -> Tensor:
    """Reverse the order along axes (all by default).

    Example:
        >>> flip([1.0, 2.0, 3.0]).data.tolist()
        [3.0, 2.0, 1.0]
    """
    x = as_tensor(x, "flip")
    turned = axes_of(axis, x.ndim, "flip")
    return getitem(x, tuple(slice(None, None, -1 if i in turned else None) for i in range(x.ndim)))


@primitive
def _roll(x, *, shift, axis):
    return np.roll(x, shift, axis)


_roll.defvjp(lambda g, ans, x, *, shift, axis: _roll(g, shift=tuple(-s for s in shift), axis=axis))


def roll(x: Any, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Shift values along axes; those shifted out at the end return at the start.

    Raises:
        ValueError: if there is not one shift per axis.

    Example:
        >>> roll([1.0, 2.0, 3.0], 1).data.tolist()
        [3.0, 1.0, 2.0]
    """
    x = as_tensor(x, "roll")
    if axis is None:
        return reshape(roll(reshape(x, (x.size,)), shift, 0), x.shape)
    axes = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    shifts = tuple(shift) if isinstance(shift, Sequence) else (shift,)
    if len(axes) != len(shifts):
        raise ValueError(f"roll: expects one shift per axis, got shift={shift} and axis={axis}")
    if not all(is_whole(s) for s in shifts):
        raise TypeError(f"roll: shift must be a whole number, got {shift!r}")
    return _roll(x, shift=shifts, axis=tuple(axis_of(a, x.ndim, "roll") for a in axes))
