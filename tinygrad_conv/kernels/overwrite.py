"""Arrays changed in place by a rule of arithmetic, entry by entry, as an optimiser changes its parameters."""
from __future__ import annotations

import ctypes
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from .table import register, run

BLOCK = 1 << 16  # entries: with four arrays of float32, the size of a second-level cache

Rule = Callable[..., tuple[Any, ...]]


def overwrite(rule: Rule, rows: Sequence[Sequence[np.ndarray]],
              numbers: Sequence[float] = ()) -> None:
    """Change arrays in place, entry by entry: for each row, a, b, ... = rule(a, b, ..., *numbers).

    What the rule returns is written to the first arrays of a row; those after are only read, as they are
    before anything is written. The rule is plain arithmetic, + - * / and powers; with machine code, one pass
    over all rows does it, if the rule uses nothing but its arguments and numbers.

    Args:
        rule: a function of arrays and numbers that returns a tuple. Make it once, not anew for each call: it
            is known by identity.
        rows: arrays of one shape in each row, floating point, all of one dtype; the first can be written.
        numbers: what may differ from call to call, like a learning rate.

    Raises:
        ValueError: if the shapes within a row differ, rows are not of one length, or an array to be written
            is read-only or shares memory with another one that is. TypeError: for anything but arrays of
            floats, or if the rule returns no tuple, or too long a one. Nothing is changed then.

    Example:
        >>> def descend(p, v, g, rate, momentum):
        ...     v = momentum * v + g
        ...     return p - rate * v, v
        >>> p, v, g = np.ones(2), np.zeros(2), np.array([1.0, 2.0])
        >>> overwrite(descend, [(p, v, g)], (0.5, 0.9))
        >>> p.tolist(), v.tolist()
        ([0.5, 0.0], [1.0, 2.0])
    """
    rows = [[*row] for row in rows]
    if not rows:
        return
    _check(rows)
    numbers = [*map(float, numbers)]
    written = _written(rule, tuple([a.ndim for a in rows[0]]), len(numbers))
    _set_apart(rows, written)
    run("overwrite", rule, rows, numbers, written)


def _check(rows: list[list[np.ndarray]]) -> None:
    count = len(rows[0])
    for row in rows:
        for a in row:
            if a.__class__ is not np.ndarray and not isinstance(a, np.ndarray) or a.dtype.kind != "f":
                what = f"an array of {a.dtype}" if isinstance(a, np.ndarray) else type(a).__name__
                raise TypeError(f"overwrite: expects NumPy arrays of floats, got {what}; p.mutate() gives "
                                f"that of a tensor that is changed, t.numpy() that of one that is read")
        if not row or len(row) != count or any([a.shape != row[0].shape for a in row]):
            raise ValueError(f"overwrite: rows must be of one length, {count}, and the arrays of a row of "
                             f"one shape, got {', '.join(str(a.shape) for a in row) or 'none'}")


@lru_cache
def _written(rule: Rule, axes: tuple[int, ...], numbers: int) -> int:
    """How many arrays of a row the rule changes."""
    with np.errstate(all="ignore"):  # only the number of the values counts
        values = rule(*[np.ones((1,) * n) for n in axes], *[1.0] * numbers)
    if not isinstance(values, tuple) or not 0 < len(values) <= len(axes):
        got = f"{len(values)}" if isinstance(values, tuple) else type(values).__name__
        raise TypeError(f"overwrite: the rule must return a tuple, of the new values of the first of its "
                        f"{len(axes)} arrays, got {got}")
    return len(values)


def _set_apart(rows: list[list[np.ndarray]], written: int) -> None:
    """Copy what is only read where something is to be written; refuse what would be written twice."""
    for row in rows:
        for k in range(written):
            if not row[k].flags.writeable:
                raise ValueError(f"overwrite: array {k} of a row, of shape {row[k].shape}, is to be written, "
                                 f"and is read-only; p.mutate() gives one of a tensor that can be changed")
    flat = [a for row in rows for a in row]
    starts = sorted([(_address(a), a.nbytes) for a in flat])
    if all([one + size <= other for (one, size), (other, _) in pairwise(starts)]) and (
            all([a.flags.forc for a in flat])):
        return
    spans = sorted([(*_span(a), k >= written, i, k) for i, row in enumerate(rows) for k, a in enumerate(row)])
    changed = [(start, end) for start, end, only_read, *_ in spans if not only_read]
    if any(end > start for (_, end), (start, _) in zip(changed, changed[1:])):
        raise ValueError("overwrite: two of the arrays that are to be written share memory")
    for start, end, only_read, i, k in spans:
        before = bisect_left(changed, (end,)) - 1
        if only_read and before >= 0 and changed[before][1] > start:
            rows[i][k] = rows[i][k].copy()


def _told(a: np.ndarray) -> int:
    start: int = a.__array_interface__["data"][0]
    return start


def _read(a: np.ndarray) -> int:
    """The same ten times as fast: the address stands right after what all of Python's objects have."""
    return ctypes.c_size_t.from_address(id(a) + object.__basicsize__).value


_TRIAL = np.ones(3)
_address = _read if sys.implementation.name == "cpython" and _read(_TRIAL) == _told(_TRIAL) else _told


def _span(a: np.ndarray) -> tuple[int, int]:
    """Where the memory of an array begins and ends."""
    start = _address(a)
    if a.flags.forc or not a.size:
        return start, start + a.nbytes
    spans = [(n - 1) * s for n, s in zip(a.shape, a.strides)]
    return start + sum([s for s in spans if s < 0]), start + sum([s for s in spans if s > 0]) + a.itemsize


def in_blocks(rule: Rule, rows: Sequence[Sequence[np.ndarray]], numbers: Sequence[float],
              written: int) -> None:
    """By NumPy, in blocks that fit the cache: temporaries are small."""
    for row in rows:
        for parts in _blocks(row):
            new = [value.copy() if isinstance(value, np.ndarray) and value.base is not None
                   or any([value is part for part in parts]) else value for value in rule(*parts, *numbers)]
            for part, value in zip(parts, new):
                if np.shape(value) not in ((), part.shape) or isinstance(value, np.generic) and part.ndim:
                    raise ValueError(f"overwrite: the rule must work entry by entry, got a value of shape "
                                     f"{np.shape(value)} for arrays of shape {part.shape}")
            for part, value in zip(parts, new):
                np.copyto(part, value)


def _blocks(arrays: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Corresponding parts, small enough for the cache, of arrays of one shape."""
    size = arrays[0].size
    if size <= BLOCK or not all([a.flags.c_contiguous for a in arrays]):
        yield list(arrays)  # fits, or would be a copy if it were flat
    else:
        flat = [a.reshape(-1) for a in arrays]
        for i in range(0, size, BLOCK):
            yield [a[i:i + BLOCK] for a in flat]


register("numpy", "overwrite", in_blocks)
