"""Question 4 drawn: the 144x75 matrix, its repeated weights, and the vectors it multiplies."""
from __future__ import annotations

import itertools

import numpy as np

from ..planes import FAINT, INK, PAINTS, SOFT, Picture, levels

LEFT, TOP, WIDE, HIGH = 96, 118, 6.6, 4.2
O, CH, A, B = 9, 1, 1, 2                    # the weight whose nine copies are marked
M, N = 2, 2                                 # the pixel whose column is followed


def draw(matrix: np.ndarray, x: np.ndarray, g: np.ndarray) -> str:
    """matrix (144, 75), x (5, 5, 3), g (3, 3, 16): values as shades."""
    p = Picture("q4", 760, 822, "A sparse matrix of 144 rows and 75 columns: 9 by 25 blocks; the blocks "
                "along a diagonal are equal; forward reads a row, backward reads a column")
    _blocks(p, matrix)
    _vectors(p, x, g)
    _copies(p)
    _column(p)
    return p.svg()


def _corner(row: float, column: float) -> tuple[float, float]:
    return LEFT + column * WIDE, TOP + row * HIGH


def _blocks(p: Picture, matrix: np.ndarray) -> None:
    """Values as shades where the matrix is not zero, a fine frame around each 16x3 block."""
    steps = np.where(matrix != 0, levels(matrix), -1)
    p.cells(LEFT, TOP, matrix, (WIDE, HIGH), steps=steps, lines=False)
    for i, j in itertools.product(range(3), repeat=2):
        for a, b in itertools.product(range(3), repeat=2):
            x, y = _corner((3 * i + j) * 16, (5 * (i + a) + j + b) * 3)
            p.box(x, y, 3 * WIDE, 16 * HIGH, PAINTS["w"].line, 0.7)
    for k in range(1, 3):
        x, y = _corner(48 * k, 0)
        p.line(LEFT, y, LEFT + 75 * WIDE, y, FAINT)
    for k in range(1, 5):
        x, y = _corner(0, 15 * k)
        p.line(x, TOP, x, TOP + 144 * HIGH, FAINT)


def _vectors(p: Picture, x: np.ndarray, g: np.ndarray) -> None:
    """x above its columns, dL/dh beside its rows."""
    p.text(LEFT, 32, "x, flattened: 5·5·3 = 75 numbers", 14, bold=True)
    p.cells(LEFT, TOP - 26, x.reshape(1, 75), (WIDE, 14), "x")
    for m in range(5):
        p.text(LEFT + (15 * m + 7.5) * WIDE, TOP - 36, f"m = {m}", 12, "middle")
    right = LEFT + 75 * WIDE + 12
    p.cells(right, TOP, g.reshape(144, 1), (14, HIGH), "g", lines=False)
    for r in range(9):
        p.text(LEFT - 8, TOP + (16 * r + 8) * HIGH + 4, f"({r // 3},{r % 3})", 12, "end")
        p.line(right, TOP + 16 * r * HIGH, right + 14, TOP + 16 * r * HIGH, PAINTS["g"].line)
    p.text(16, TOP - 34, "window\n(i,j), 16\nfilters o", 12, color=SOFT)
    p.text(right - 2, TOP - 66, "h and dL/dh:\n3·3·16 = 144", 14, bold=True)


def _copies(p: Picture) -> None:
    """Rings around the nine places of one weight."""
    for i, j in itertools.product(range(3), repeat=2):
        x, y = _corner((3 * i + j) * 16 + O + 0.5, (5 * (i + A) + j + B) * 3 + CH + 0.5)
        p.add("circle", cx=x, cy=y, r=7, fill="none", stroke="#fff", stroke_width=4)
        p.add("circle", cx=x, cy=y, r=7, fill="none", stroke=INK, stroke_width=2)
    x, y = LEFT + 75 * WIDE + 46, TOP + 40
    p.add("circle", cx=x, cy=y - 4, r=7, fill="none", stroke=INK, stroke_width=2)
    p.text(x + 14, y, f"one weight,\nW[{O},{CH},{A},{B}],\nin 9 places", 13)


def _column(p: Picture) -> None:
    """One row, read forward; one column, read backward."""
    x, y = _corner(0, (5 * M + N) * 3 + CH)
    bottom, right = TOP + 144 * HIGH, LEFT + 75 * WIDE
    p.box(x - 1, TOP - 29, WIDE + 2, bottom - TOP + 32, INK, 1.8)
    p.line(x + WIDE / 2, bottom + 6, x + WIDE / 2, bottom + 34, INK, 1.6, arrow=True)
    p.text(x + WIDE / 2, bottom + 56, f"backward: dL/dx[{M},{N},{CH}] = this column · dL/dh", 14,
           "middle", True)
    p.text(x + WIDE / 2, bottom + 78, "the centre pixel lies in all 9 windows: 9 · 16 weights", 13,
           "middle", color=SOFT)
    row = 16 * 6 + 2                          # window (2, 0), filter 2
    _, y = _corner(row, 0)
    p.box(LEFT - 3, y - 1.5, right - LEFT + 32, HIGH + 3, INK, 1.8)
    p.line(right + 32, y + HIGH / 2, right + 50, y + HIGH / 2, INK, 1.6, arrow=True)
    p.text(right + 56, y - 8, "forward:\nh[2,0,2] =\nthis row · x", 14, bold=True)
    p.text(right + 56, y + 58, "27 weights,\nthe rest 0", 13, color=SOFT)
