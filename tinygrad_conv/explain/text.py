"""An explanation as text: the index equation, in letters or with numbers substituted, the planes that
meet side by side, and the sum.

Equations are written in their simplest form: no factor 1, no summand 0. Long rows and many planes are
shown in part, with their count.
"""
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from .terms import SIDES, Factor, Terms

PLANES, CELLS, ROW = 3, 8, 16  # at most so many are printed


def spell(e: Terms, name: str, side: str, parts: list[str]) -> str:
    """`x[n,c,u,v]` with the axes the reader sees."""
    axes = e.call.kernel_axes if side == "kernel" else e.call.axes
    return f"{name}[{','.join(parts[k] for k in axes)}]"


def _times(factor: int, letter: str) -> str:
    return letter if factor == 1 else f"{factor}*{letter}"


def _shift(text: str, by: int) -> str:
    return f"{text}{by:+d}" if by else text


def _large(i: str, a: str, s: int, d: int, padding: tuple[int, int]) -> str:
    """u = i*s + a*d - p."""
    return _shift(f"{_times(s, i)}+{_times(d, a)}", -padding[0])


def _small(u: str, a: str, s: int, d: int, padding: tuple[int, int]) -> str:
    """i = (u + p - a*d) / s."""
    text = f"{_shift(u, padding[0])}-{_times(d, a)}"
    return text if s == 1 else f"({text})/{s}"


def _channel(e: Terms, small: str, k: str) -> str:
    """The large side's channel: of the same group as `small`, number k in it."""
    groups, (channels, depth) = e.call.geometry.groups, e.call.w.shape[:2]
    filters = channels // groups
    if groups == 1:
        return k
    if small.isdigit():
        first = int(small) // filters * depth
        return str(first + int(k)) if k.isdigit() else f"{first}+{k}"
    return f"{_times(depth, small if filters == 1 else f'({small}//{filters})')}+{k}"


def _kernel_channel(e: Terms, large: str) -> str:
    """The second index of the weight for a channel of the large side."""
    depth = e.call.w.shape[1]
    if e.call.geometry.groups == 1:
        return large
    return str(int(large) % depth) if large.isdigit() else f"{large}%{depth}"


def _indices(e: Terms, at: Mapping[str, str]) -> dict[str, list[str]]:
    """The index of each side's array, everything that follows from something else computed."""
    g = e.call.geometry
    rows, columns = zip(g.stride, g.dilation, g.padding)
    sides = {side: [at[letter] for letter in letters] for side, letters in SIDES.items()}
    if e.side == "large":
        sides["small"][2:] = _small(at["u"], at["a"], *rows), _small(at["v"], at["b"], *columns)
        sides["kernel"][1] = _kernel_channel(e, at["large"])
    else:
        sides["large"][1:] = (_channel(e, at["small"], at["k"]), _large(at["i"], at["a"], *rows),
                              _large(at["j"], at["b"], *columns))
    return sides


def _summed(e: Terms) -> str:
    letters = {"small": [e.letters["k"], "a", "b"], "large": [e.letters["small"], "a", "b"],
               "kernel": ["n", "i", "j"]}[e.side]
    unseen = ("i", "a") * e.call.geometry.line + ("n",) * (0 not in e.call.axes)
    return ",".join(x for x in letters if x not in unseen)


def _condition(e: Terms, numbers: bool) -> str:
    """What the letters may be, if that is not plain."""
    geometry, text = e.call.geometry, ""
    if e.side != "large":
        return ", 0 in the padding" if any(max(sides) > 0 for sides in geometry.padding) else ""
    if geometry.groups > 1:
        small = e.meeting.planes["small"]
        which = f"= {small[0]}..{small[-1]}" if numbers else "of the same group"
        text = f", {e.letters['small']} {which}"
    return f"{text}, only where the index is {'whole and ' if max(geometry.stride) > 1 else ''}in range"


def _sentence(e: Terms, held: Mapping[str, str]) -> str:
    at = {name: name for name in "nijabuv"} | e.letters | held
    sides = _indices(e, at)
    factors = " ".join(spell(e, f.name, f.side, sides[f.side]) for f in (e.first, e.second))
    text = f"{spell(e, e.name, e.side, [at[x] for x in SIDES[e.side]])} = sum over {_summed(e)} of {factors}"
    if e.bias is not None:
        text += f" + bias[{at[SIDES[e.side][1]]}]"
    return text + _condition(e, bool(held))


def equations(e: Terms) -> list[str]:
    """The equation in letters, with this call's stride, padding, dilation and groups; and with numbers."""
    return [_sentence(e, {}), _sentence(e, {letter: str(n) for letter, n in zip(SIDES[e.side], e.at)})]


def result_label(e: Terms) -> str:
    """`y[0,3,2,5]`."""
    return spell(e, e.name, e.side, [str(n) for n in e.at])


def plane_label(e: Terms, name: str, side: str, plane: int) -> str:
    """`x[0,2]`: which plane of an array takes part, as the reader counts."""
    at = e.meeting.plane(plane)
    return spell(e, name, side, [*(str(at[letter]) for letter in SIDES[side][:2]), ":", ":"])


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


def _block(title: str, rows: Sequence[Any], columns: Sequence[Any], cells: list[list[str]]) -> list[str]:
    """A table with its row and column numbers, cut after a few of each."""
    more = len(columns) > CELLS
    table = [["", *map(str, columns[:CELLS]), *([f"..{columns[-1]}"] if more else [])],
             *([str(r), *line[:CELLS], *(["..."] if more else [])] for r, line in zip(rows[:CELLS], cells)),
             *([[f"..{rows[-1]}"]] if len(rows) > CELLS else [])]
    widths = [max(map(len, column)) for column in zip_longest(*table, fillvalue="")]
    out = [title] + ["  ".join(cell.rjust(w) for cell, w in zip(line, widths)) for line in table]
    width = max(map(len, out))
    return [line.ljust(width) for line in out]


def _factor_block(e: Terms, factor: Factor, plane: int) -> list[str]:
    rows, columns = e.positions(factor)
    padding = ~e.meeting.inside if factor.side == "large" else np.zeros(e.meeting.shape[1:], bool)
    cells = [[f"({short(v)})" if out else short(v) for v, out in zip(values, outside)]
             for values, outside in zip(factor.values[plane, :CELLS], padding)]
    return _block(plane_label(e, factor.name, factor.side, plane), [""] if e.call.geometry.line else rows,
                  columns, cells)


def _plane(e: Terms, plane: int) -> list[str]:
    """first * second = products, a table each, and their sum."""
    first, second = (_factor_block(e, factor, plane) for factor in (e.first, e.second))
    _, rows, columns = e.meeting.shape
    product = _block("product", [""] * rows, [""] * columns,
                     [[short(v) for v in line] for line in e.products[plane, :CELLS]])
    middle = (len(first) + 1) // 2
    lines = ["    " + (" * " if k == middle else "   ").join([a, b]) + (" = " if k == middle else "   ") + c
             for k, (a, b, c) in enumerate(zip(first, second, product))]
    count = f"{rows * columns} products, " if rows > CELLS or columns > CELLS else ""
    return [line.rstrip() for line in lines] + [f"    {count}sum {partial(e.partials[plane])}", ""]


def _im2col(e: Terms) -> list[str]:
    if e.im2col is None:
        return []
    number, row = e.im2col
    cut = [" ".join(map(short, v[:ROW])) + (" ..." if len(v) > ROW else "")
           for v in (row, e.second.values.reshape(-1))]
    return [f"as a matrix product: row {number} of im2col({e.first.name}), {len(row)} numbers, times "
            f"a filter", f"    [{cut[0]}]", f"    [{cut[1]}]", ""]


def addition(e: Terms) -> str:
    """`0.5 + 1.2 + 4 more (0.3) + bias 0.1`: how the planes' sums make the total."""
    parts = [partial(v) for v in e.partials[e.largest[:PLANES]]] if e.products.size else []
    if len(e.partials) > PLANES:
        parts.append(f"{len(e.partials) - PLANES} more ({partial(e.partials[e.largest[PLANES:]].sum())})")
    if e.bias is not None:
        parts.append(f"bias {partial(e.bias)}")
    return " + ".join(parts).replace("+ -", "- ") or "0"


def holds(e: Terms) -> str:
    """The sum beside what the kernels made of it."""
    apart, size = abs(e.total - e.value), e.result.itemsize
    value = e.value if size == 8 else f"{e.value:.{2 * size}g}"  # as many digits as the dtype holds
    return (f"{e.total}; {result_label(e)} holds {value} ({e.result.dtype}), "
            f"difference {f'{apart:.1e}' if apart else 0}")


def note(e: Terms, shown: int = PLANES) -> str:
    """What the tables do not show: that nothing meets, or that only a part is shown."""
    planes, rows, columns = e.meeting.shape
    if not planes * rows * columns:
        return "Nothing meets here: the sum is empty."
    kind = "samples" if e.side == "kernel" else "channels"
    return f"Not shown: {planes - shown} of {planes} {kind}, with smaller sums." if planes > shown else ""


def as_text(e: Terms) -> str:
    """The whole explanation as lines of text."""
    lines = [e.call.label, *(f"  {equation}" for equation in equations(e)), ""]
    for plane in e.largest[:PLANES] if e.products.size else ():
        lines += _plane(e, plane)
    lines += [f"    {note(e)}", ""] if note(e) else []
    lines += ["    (0) is a padding cell", ""] if e.side != "large" and not e.meeting.inside.all() else []
    return "\n".join([*lines, *_im2col(e), f"sum of {e.products.size} products: {addition(e)}",
                      f"    = {holds(e)}"])
