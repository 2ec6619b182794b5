"""An explanation as text: the equation, the planes that meet side by side, the sum.

Long rows and many planes are shown in part, with their count. Imports terms and formula.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .terms import Terms, Factor
from .formula import general, plane_label, result_label, with_numbers

PLANES, CELLS, ROW = 3, 8, 16  # at most so many are printed


def short(v: float) -> str:
    """A number in a few characters.

    Example:
        >>> [short(v) for v in (0.0, 12.0, -0.12345, 12.345, 1234.5, 1.5e-7)]
        ['0', '12', '-0.123', '12.3', '1.2e3', '1.5e-7']
    """
    if not math.isfinite(v) or v == int(v) and abs(v) < 10000:
        return f"{v + 0.0:.0f}"  # no -0
    if 0.01 <= abs(v) < 1000:
        return f"{v:.3g}" if abs(v) >= 1 else f"{round(v, 3):g}"
    mantissa, exponent = f"{v:.1e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def partial(v: float) -> str:
    """Enough digits that sums of a few can be checked by eye."""
    return f"{v + 0.0:.6g}"


def exact(v: float, dtype: np.dtype) -> str:
    """As many digits as the dtype holds."""
    return repr(float(v)) if dtype.itemsize >= 8 else f"{v:.{8 if dtype.itemsize == 4 else 4}g}"


def _block(title: str, rows: Sequence[Any], columns: Sequence[Any], cells: list[list[str]]) -> list[str]:
    """A table with its row and column numbers, cut after a few of each."""
    more_rows, more_columns = len(rows) > CELLS, len(columns) > CELLS
    head = ["", *map(str, columns[:CELLS]), *([f"..{columns[-1]}"] if more_columns else [])]
    table = [head] + [[str(r), *line[:CELLS], *(["..."] if more_columns else [])]
                      for r, line in zip(rows[:CELLS], cells)]
    table += [[f"..{rows[-1]}"]] if more_rows else []
    widths = [max(len(line[k]) for line in table if k < len(line)) for k in range(len(head))]
    out = [title] + ["  ".join(cell.rjust(w) for cell, w in zip(line, widths)) for line in table]
    width = max(map(len, out))
    return [line.ljust(width) for line in out]


def _factor_block(e: Terms, factor: Factor, plane: int) -> list[str]:
    (_, rows), (_, columns) = e.lines(factor)
    padding = ~e.meeting.inside if factor.side == "large" else np.zeros(e.meeting.shape[1:], bool)
    cells = [[f"({short(v)})" if out else short(v) for v, out in zip(values, outside)]
             for values, outside in zip(factor.values[plane, :CELLS], padding)]
    return _block(plane_label(e, factor.name, factor.side, plane), [""] if e.call.geometry.line else rows, columns,
                  cells)


def _plane(e: Terms, plane: int) -> list[str]:
    """first * second = products, a table each, and their sum."""
    first, second = (_factor_block(e, factor, plane) for factor in (e.first, e.second))
    _, rows, columns = e.meeting.shape
    cells = [[short(v) for v in line] for line in e.products[plane, :CELLS]]
    product = _block("product", [""] * rows, [""] * columns, cells)
    middle = (len(first) + 1) // 2
    lines = ["    " + (" * " if k == middle else "   ").join([a, b]) + (" = " if k == middle else "   ") + c
             for k, (a, b, c) in enumerate(zip(first, second, product))]
    count = f"{rows * columns} products, " if rows > CELLS or columns > CELLS else ""
    return [line.rstrip() for line in lines] + [f"    {count}sum {partial(e.partials[plane])}", ""]


def _im2col(e: Terms) -> list[str]:
    if e.im2col is None:
        return []
    number, row = e.im2col
    weights = e.second.values.reshape(-1)
    cut = [" ".join(map(short, v[:ROW])) + (" ..." if len(v) > ROW else "") for v in (row, weights)]
    return [f"as a matrix product: row {number} of im2col({e.first.name}), {len(row)} numbers, times "
            f"a filter", f"    [{cut[0]}]", f"    [{cut[1]}]", ""]


def addition(e: Terms) -> str:
    """`0.5 + 1.2 + 4 more (0.3) + bias 0.1`: how the planes' sums make the total."""
    parts = [partial(v) for v in e.partials[:PLANES]] if e.products.size else []
    if len(e.partials) > PLANES:
        parts.append(f"{len(e.partials) - PLANES} more ({partial(e.partials[PLANES:].sum())})")
    if e.bias is not None:
        parts.append(f"bias {partial(e.bias)}")
    return " + ".join(parts).replace("+ -", "- ") or "0"


def holds(e: Terms) -> str:
    """The sum beside what the kernels made of it."""
    dtype, apart = e.result.dtype, abs(e.total - e.value)
    return (f"{exact(e.total, np.dtype(np.float64))}; {result_label(e)} holds {exact(e.value, dtype)} "
            f"({dtype}), difference {f'{apart:.1e}' if apart else 0}")


def note(e: Terms) -> str:
    """What the tables do not show: that nothing meets, or that only a part is shown."""
    planes, rows, columns = e.meeting.shape
    if not planes * rows * columns:
        return "Nothing meets here: the sum is empty."
    kind = "samples" if e.side == "kernel" else "channels"
    return f"Not shown: {planes - PLANES} of {planes} {kind}, like these." if planes > PLANES else ""


def as_text(e: Terms) -> str:
    """The whole explanation as lines of text."""
    lines = [e.call.label, f"  {general(e)}", f"  {with_numbers(e)}", ""]
    if e.products.size:
        for plane in range(min(PLANES, e.meeting.shape[0])):
            lines += _plane(e, plane)
    lines += [f"    {note(e)}", ""] if note(e) else []
    padded = any(not e.meeting.inside.all() and f.side == "large" for f in (e.first, e.second))
    lines += ["    (0) is a padding cell", ""] if padded else []
    return "\n".join([*lines, *_im2col(e), f"sum of {e.products.size} products: {addition(e)}",
                      f"    = {holds(e)}"])
