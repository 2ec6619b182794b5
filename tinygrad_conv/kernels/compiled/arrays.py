"""From arrays to kernels: what a kernel is specialised on, where arrays lie, how they are laid out."""
from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..geometry import REMEMBERED
from ..table import Unserved, making
from .machine import compiled, target

HEAD = object.__basicsize__
MOST = 200   # kernels of one generator
MADE: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []  # in this order
NUMBERS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}


@cache
def made(generator: Callable[..., Any], *shape: Any) -> int:
    """The kernel that `generator(*shape)` writes, made once.

    Machine code stays as long as the process, and takes long to make. Whoever comes with ever new shapes
    (sentences of any length) is better served by NumPy.

    Raises:
        Unserved: if there are `MOST` of this generator already.
    """
    if sum([known is generator for known, _ in MADE]) >= MOST:
        raise Unserved
    began = time.perf_counter()
    address = compiled(generator(*shape))
    making.append(time.perf_counter() - began)
    MADE.append((generator, shape))
    return address


def places(*arrays: np.ndarray) -> list[int]:
    """Where it stands where they lie: in the array object, right after what all of Python's objects have.

    That is NumPy's binary interface; to ask an array for the address takes as long as a small kernel. Whoever
    calls a kernel keeps the arrays until it has ended.
    """
    return [id(a) + HEAD for a in arrays]


def check() -> None:
    """Whether addresses stand where we think.

    Raises:
        RuntimeError: if not.
    """
    array = np.zeros(3)
    if (sys.implementation.name != "cpython"
            or ctypes.c_void_p.from_address(*places(array)).value != array.ctypes.data):
        raise RuntimeError("arrays of this NumPy, or objects of this Python, are of another form")


def lanes_for(number: str, count: int) -> int:
    """Numbers of a vector: all that a register holds, or half of it and less if that is enough."""
    most = target().width // {"float": 4, "double": 8}[number]
    while most // 2 >= count and most > 2:
        most //= 2
    return most


def even(count: int, most: int) -> int:
    """The length of the longest of equal parts, none above `most`."""
    return -(-count // -(-count // most))


def one_run(first: np.ndarray, *others: np.ndarray) -> bool:
    """Whether all are of one shape and lie in memory alike, without gaps: number i is the same entry."""
    if not all([a.flags.aligned for a in (first, *others)]):
        return False
    shape = first.shape
    if first.flags.c_contiguous:
        return all([a.flags.c_contiguous and a.shape == shape for a in others])
    strides = first.strides
    return (all([a.strides == strides and a.shape == shape for a in others])
            and _dense(shape, strides, first.itemsize))


@lru_cache(REMEMBERED)
def _dense(shape: tuple[int, ...], strides: tuple[int, ...], expected: int) -> bool:
    for n, stride in sorted(zip(shape, strides), key=lambda axis: axis[1]):
        if n != 1 and stride != expected:
            return False
        expected *= n
    return True
