"""Sizes of sliding windows: what stride, padding and dilation mean, in one place."""
from __future__ import annotations

from typing import Any

Sides = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))


def pair(value: Any, op: str, name: str, least: int = 1) -> tuple[int, int]:
    """An int or a pair of ints as (vertical, horizontal), each at least `least`.

    Raises:
        TypeError, ValueError: naming the op, the argument and the value.
    """
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) != 2 or not all(_is_int(v) for v in values):
        raise TypeError(f"{op}: {name} expects an int or a pair of ints, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {value!r}")
    return int(values[0]), int(values[1])


def _is_int(v: Any) -> bool:
    return hasattr(v, "__index__") and not isinstance(v, bool)


def reach(kernel: int, dilation: int) -> int:
    """How many cells a dilated kernel spans: d(k-1)+1."""
    return dilation * (kernel - 1) + 1
