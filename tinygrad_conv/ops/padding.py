"""Borders: pad with a constant, and its adjoint crop; reflected or repeated borders are indexing."""
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import is_whole, number, one_of
from ..operands import as_tensor
from ..primitive import primitive
from ..tensor import Tensor
from .shape import getitem

BORDERS = {"reflect": "reflect", "replicate": "edge", "edge": "edge", "circular": "wrap"}  # NumPy's names


@primitive
def _pad(x, *, width, value):
    out = np.full([n + a + b for n, (a, b) in zip(x.shape, width)], value, x.dtype)
    out[_inside(width, out.shape)] = x
    return out


def _inside(width: Sequence[tuple[int, int]], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(a, n - b) for (a, b), n in zip(width, shape))


_pad.defvjp(lambda g, ans, x, *, width, value: getitem(g, _inside(width, g.shape)))
_pad.defjvp(lambda t, ans, x, *, width, value: _pad(t, width=width, value=0))
_pad.defsaved()
_pad.defexport(lambda to, x, *, width, value: to(
    "Pad", x, np.array(width, np.int64).T.ravel(), x.dtype.type(value)))


def _border(x: Tensor, width: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Each axis in turn, indexed by which of its cells stands where."""
    for axis, (before, after) in enumerate(width):
        n = x.shape[axis]
        if before == after == 0:
            continue
        if n == 0 or mode == "reflect" and max(before, after) >= n:
            raise ValueError(f"pad: cannot {mode} ({before}, {after}) cells on axis {axis} of shape "
                             f"{x.shape}; 'reflect' needs less than the axis holds")
        x = getitem(x, (slice(None),) * axis + (np.pad(np.arange(n), (before, after), BORDERS[mode]),))
    return x


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """NumPy's forms: one int, one (before, after), or one pair per axis."""
    try:
        width = np.broadcast_to(np.array(pad_width, object), (ndim, 2))
    except ValueError:
        width = np.full((1, 2), None)
    if not all(map(is_whole, width.flat)):
        raise ValueError(f"pad: pad_width must be an int, a pair or {ndim} pairs of ints, the "
                         f"first axis first, got {pad_width!r}")
    return [(operator.index(before), operator.index(after)) for before, after in width]


def _constant(value: Any, dtype: np.dtype) -> bool | int | float:
    """The value of new cells, which must be a number that the dtype can hold."""
    fill = number(value, "pad", "constant_values")
    if dtype.kind == "f":
        return fill
    with np.errstate(invalid="ignore"):
        cell = np.asarray(value).astype(dtype)
    if cell != value:
        raise ValueError(f"pad: constant_values {value!r} does not fit x's dtype, {dtype}; "
                         f"convert x first, e.g. tg.tensor(x, dtype=np.float32)")
    return cell.item()


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: float = 0.0) -> Tensor:
    """Add cells before and after each axis (NumPy's pad); negative widths crop.

    Args:
        x: any shape.
        pad_width: an int, (before, after), or one such pair per axis.
        mode: "constant", "reflect" (the edge is not repeated), "replicate" (NumPy's "edge"), or
            "circular" (NumPy's "wrap").
        constant_values: the value of "constant" cells; x's dtype must be able to hold it.

    Raises:
        ValueError: for other modes or widths, or if a border needs more cells than there are.
        TypeError: if `constant_values` is not a number.

    Example:
        >>> pad([1.0, 2.0, 3.0], (2, 1), "reflect").data.tolist()
        [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    x = as_tensor(x, "pad")
    one_of(mode, "pad", "mode", ("constant", *BORDERS))
    width = _widths(pad_width, x.ndim)
    crop = [(max(0, -a), max(0, -b)) for a, b in width]
    if any(a + b > n for (a, b), n in zip(crop, x.shape)):
        raise ValueError(f"pad: pad_width {pad_width!r} crops more than shape {x.shape} has")
    width = tuple([(max(0, a), max(0, b)) for a, b in width])
    x = (_pad(x, width=width, value=_constant(constant_values, x.dtype)) if mode == "constant" else
         _border(x, width, mode))
    return getitem(x, _inside(crop, x.shape)) if any(map(any, crop)) else x
