"""Arrays changed in place by a rule of arithmetic, entry by entry, as an optimiser changes its parameters."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .table import register, run

BLOCK = 1 << 16  # entries: with four arrays of float32, the size of a second-level cache

Rule = Callable[..., tuple[Any, ...]]


def overwrite(rule: Rule, rows: Sequence[Sequence[np.ndarray]],
              numbers: Sequence[float] = ()) -> None:
    """Change arrays in place, entry by entry: for each row, a, b, ... = rule(a, b, ..., *numbers).

    What the rule returns is written to the first arrays of a row; those after are only read. The rule is
    plain arithmetic, + - * / and powers of 0.5, 2 and -1: with machine code, one pass over all rows does it.

    Args:
        rule: a function of arrays and numbers that returns a tuple. Make it once, not anew for each call: it
            is known by identity.
        rows: arrays of one shape in each row, floating point, all of one dtype; the first can be written.
        numbers: what may differ from call to call, like a learning rate.

    Raises:
        ValueError: if the shapes within a row differ, or rows are not of one length. TypeError: if the rule
            returns no tuple, or too long a one. Nothing is changed then.

    Example:
        >>> def descend(p, v, g, rate, momentum):
        ...     v = momentum * v + g
        ...     return p - rate * v, v
        >>> p, v, g = np.ones(2), np.zeros(2), np.array([1.0, 2.0])
        >>> overwrite(descend, [(p, v, g)], (0.5, 0.9))
        >>> p.tolist(), v.tolist()
        ([0.5, 0.0], [1.0, 2.0])
    """
    if not rows:
        return
    for row in rows:
        shape = row[0].shape
        if len(row) != len(rows[0]) or any([a.shape != shape for a in row]):
            raise ValueError(f"overwrite: rows must be of one length, {len(rows[0])}, and the arrays of a "
                             f"row of one shape, got {', '.join(str(a.shape) for a in row)}")
    run("overwrite", rule, rows, [*map(float, numbers)], _written(rule, len(rows[0]), len(numbers)))


@lru_cache
def _written(rule: Rule, arrays: int, numbers: int) -> int:
    """How many arrays of a row the rule changes."""
    values = rule(*[np.ones(0)] * arrays, *[1.0] * numbers)
    if not isinstance(values, tuple) or not 0 < len(values) <= arrays:
        got = f"{len(values)}" if isinstance(values, tuple) else type(values).__name__
        raise TypeError(f"overwrite: the rule must return a tuple, of the new values of the first of its "
                        f"{arrays} arrays, got {got}")
    return len(values)


def in_blocks(rule: Rule, rows: Sequence[Sequence[np.ndarray]], numbers: Sequence[float],
              written: int) -> None:
    """By NumPy, in blocks that fit the cache: temporaries are small."""
    for row in rows:
        for parts in _blocks(row):
            for part, value in zip(parts, rule(*parts, *numbers)):
                np.copyto(part, value)


def _blocks(arrays: Sequence[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Corresponding parts, small enough for the cache, of arrays of one shape; the first is written."""
    first = arrays[0]
    if first.ndim and (first.size <= BLOCK or not first.flags.c_contiguous):
        yield list(arrays)  # fits, or would be a copy if it were flat
    else:
        flat = [a.reshape(-1) for a in arrays]
        for i in range(0, first.size, BLOCK):
            yield [a[i:i + BLOCK] for a in flat]


register("numpy", "overwrite", in_blocks)
