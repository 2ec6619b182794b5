"""Arguments of ops, checked, so that an error names the op and what it got. Imports core and kernels."""
from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .core import Tensor, as_array, share
from .kernels.geometry import is_whole

Axis = int | Sequence[int] | None


def as_tensor(x: Any, op: str) -> Tensor:
    """`x` itself, or a tensor of what it holds."""
    return x if isinstance(x, Tensor) else share(as_array(x, copy=True, what=op))


def as_floats(x: Any, op: str, name: str = "x") -> Tensor:
    """The argument `name` as a tensor, which must be floating point.

    Raises:
        TypeError: if it is not.
    """
    t = as_tensor(x, f"{op} {name}")
    if t.dtype.kind != "f":
        raise TypeError(f"{op}: {name} must be floating point, got {t.dtype}; convert it, e.g. "
                        f"{name}.astype(np.float32)")
    return t


def number(value: Any, op: str, name: str) -> float:
    """The option `name` as a float: a number, or an array or a tensor that holds one.

    Raises:
        TypeError, ValueError: for anything else, or a tensor whose gradient would be lost.
    """
    if isinstance(value, Tensor) and value.requires_grad:
        raise TypeError(f"{op}: {name} must be a number, the gradient of this tensor would be lost; "
                        f"write {name}.item()")
    held = isinstance(value, np.generic | np.ndarray | Tensor) and value.ndim == 0
    plain = value.item() if held else value
    if not isinstance(plain, int | float):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    try:
        return float(plain)
    except OverflowError:
        raise ValueError(f"{op}: {name}, an integer of {plain.bit_length()} bits, fits into no "
                         f"float") from None


def axis_of(axis: Any, ndim: int, op: str) -> int:
    """The axis counted from the front.

    Raises:
        TypeError, IndexError: if it is not a whole number, or is out of range.
    """
    if not is_whole(axis):
        got = f"a {type(axis).__name__} of shape {axis.shape}" if getattr(axis, "shape", ()) else repr(axis)
        raise TypeError(f"{op}: axis must be a whole number, got {got}")
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise IndexError(f"{op}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


def axes_of(axis: Axis, ndim: int, op: str) -> tuple[int, ...]:
    """One axis, several or all (None), counted from the front.

    Raises:
        TypeError, IndexError, ValueError: as `axis_of`, or if one is named twice.
    """
    given = range(ndim) if axis is None else axis if isinstance(axis, Sequence) else (axis,)
    axes = tuple(axis_of(a, ndim, op) for a in given)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: axis {axis} names an axis twice")
    return axes


def checked_dtype(op: str, dtype: Any, kinds: str = "fiub") -> np.dtype:
    """The dtype, of one of the kinds a tensor may have; None, which NumPy reads as float64, is none."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found is None or found.kind not in kinds:
        what = "a floating point dtype" if kinds == "f" else "a float, integer or boolean dtype"
        raise TypeError(f"{op}: dtype must be {what}, got {dtype!r}; e.g. dtype=np.float32")
    return found


def generator(rng: Any, op: str) -> np.random.Generator:
    """The generator itself; anything else is a TypeError that says how to make one."""
    if isinstance(rng, np.random.Generator):
        return rng
    seed = rng if isinstance(rng, int | np.integer) else "seed"
    got = "it is missing" if rng is None else f"got {rng!r}"
    raise TypeError(f"{op}: rng must be a np.random.Generator, {got}; make one with "
                    f"rng=np.random.default_rng({seed}) and pass it to every call")
