"""Sums over rows in machine code: what lies side by side in memory is kept, in vectors.

Up to BLOCK rows are added up in the dtype of x, in several running sums, and these then in float64. So a sum
of float32 is off by at most BLOCK / UNROLLED roundings of it, however many rows there are.
"""
from __future__ import annotations

import numpy as np

from .arrays import NUMBERS, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of

BLOCK = 256   # rows
UNROLLED = 8  # running sums


def rows(number: str, width: int, kept: int) -> Code:
    """sums[g,k] += sum over rows r of x[g,r,k]: for the blocks `first` to `last`, `blocks` of each group g.

    x is (groups, count, kept), sums float64 (parts, groups, kept), of which each part has its own `room`.
    """
    code = Code(number, x=POINTER, sums=POINTER, count=INDEX, blocks=INDEX, room=INDEX, first=INDEX,
                last=INDEX, part=INDEX)
    x, sums, count, blocks, room, first, last, part = code.arguments
    vector = code.vector(width)
    sums = code.at(sums, part * room, "double")
    for u in code.range(first, last):
        g, lo = u // blocks, (u % blocks) * BLOCK
        start = code.at(x, (g * count + lo) * kept)
        n = code.least(count - lo, BLOCK)
        for k, used in code.blocks(kept, width):
            column = code.at(start, k * width)

            def add(r: Value, *total: Value, column: Value = column, used: int = used) -> list[Value]:
                return [t + code.load(column, (r + j) * kept, vector, used) for j, t in enumerate(total)]
            whole = n - n % UNROLLED
            total = code.loop(0, whole, UNROLLED, add, *[code.constant(0.0, vector)] * UNROLLED)
            for j in range(1, UNROLLED):
                total[0] = total[0] + total[j]
            found, = code.loop(whole, n, 1, add, total[0])
            place = code.at(sums, g * kept + k * width, "double")
            code.store(code.load(place, 0, f"<{width} x double>", used) + code.widened(found), place, 0, used)
    return code


def slabs(x: np.ndarray) -> np.ndarray:
    """The sums (groups, kept) over the rows of x (groups, rows, kept), dense."""
    groups, count, kept = x.shape
    number, blocks = NUMBERS[x.dtype], -(-count // BLOCK)
    parts = parts_of(groups * blocks, x.nbytes / BYTES_WORTH_THREADS)
    sums = np.zeros((parts, groups, kept))
    launch(made(rows, number, lanes_for(number, kept), kept),
           [*places(x, sums), count, blocks, groups * kept], groups * blocks, parts)
    return (sums[0] if parts == 1 else np.add.reduce(sums)).astype(x.dtype)
