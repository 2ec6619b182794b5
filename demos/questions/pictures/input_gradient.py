"""Question 2 drawn: filters turned and regrouped, then five maps summed into one of three planes."""
from __future__ import annotations

import numpy as np

from ..planes import FAINT, INK, SOFT, Picture, levels

C = 1                                        # the plane of dE/dX that is followed
CELL, STEP = 9, 40


def draw(f: np.ndarray, swapped: np.ndarray) -> str:
    """f (5, 3, 3, 3) and the same turned and swapped (3, 5, 3, 3)."""
    p = Picture("q2", 760, 690, "Five filters of depth 3 are turned and regrouped into three of depth "
                "5; each sums full convolutions of the five gradient planes into one plane")
    _kernels(p, 60, f, "F: 5 filters of depth 3", "F[{}]", "c = {}", column=C)
    _turn(p)
    _kernels(p, 500, swapped, "3 filters of depth 5", "c = {}", "F[{}]", row=C)
    _sum(p, levels(swapped)[C], swapped[C])
    return p.svg()


def _kernels(p: Picture, x: float, filters: np.ndarray, title: str, row_name: str, column_name: str,
             row: int | None = None, column: int | None = None) -> None:
    """A grid of 3x3 kernels, one row or column of it marked."""
    rows, columns = filters.shape[:2]
    shades, y = levels(filters), 84
    p.text(x - 42, 32, title, 14, bold=True)
    if column is not None:
        p.box(x + column * STEP - 6, y - 26, 39, rows * STEP + 26, INK, 1.6, round=6)
    if row is not None:
        p.box(x - 48, y + row * STEP - 6, columns * STEP + 48, 39, INK, 1.6, round=6)
    for k in range(columns):
        p.text(x + k * STEP + 13.5, y - 10, column_name.format(k), 12, "middle")
    for r in range(rows):
        p.text(x - 8, y + r * STEP + 18, row_name.format(r), 12, "end")
        for k in range(columns):
            p.cells(x + k * STEP, y + r * STEP, filters[r, k], CELL, steps=shades[r, k])


def _turn(p: Picture) -> None:
    """A kernel with numbered cells before and after: turned, not mirrored."""
    for x, numbers in ((240, range(1, 10)), (346, range(9, 0, -1))):
        p.cells(x, 134, np.zeros((3, 3)), 22)
        for k, number in enumerate(numbers):
            p.text(x + 11 + k % 3 * 22, 150 + k // 3 * 22, str(number), 13, "middle", number == 1)
    p.line(312, 167, 340, 167, INK, 1.6, arrow=True)
    p.text(326, 112, "turn each by 180°", 13, "middle", bold=True)
    p.text(326, 226, "rows become columns", 13, "middle", bold=True)
    p.line(210, 240, 442, 240, INK, 1.6, arrow=True)


def _sum(p: Picture, shades: np.ndarray, kernels: np.ndarray) -> None:
    top, step = 396, 112
    p.line(20, 310, 740, 310, FAINT)
    p.text(18, 340, f"the filter c = {C} on the five maps of dE/dO", 14, bold=True)
    for o in range(5):
        x = 28 + o * step
        p.cells(x + 25, top - 36, kernels[o], CELL, steps=shades[o])
        p.text(x + 60, top - 16, "∗ full", 12, color=SOFT)
        p.box(x, top + 2, 78, 78, SOFT, 1.2, "4 3")
        p.plane(x + 9, top + 11, 60, 60, "g")
        p.cells(x, top + 2, kernels[o], 4.5, steps=shades[o], lines=False)
        p.text(x + 39, top + 47, f"[{o}]", 13, "middle", True, halo=True)
        p.text(x + 95, top + 48, "+" if o < 4 else "=", 20, "middle", True)
    x = 28 + 5 * step + 6
    p.plane(x + 4, top + 6, 67, 67, "x", heavy=True)
    p.text(x + 38, top + 46, f"[{C}]", 14, "middle", True)
    p.text(x + 38, top + 100, f"dE/dX[{C}]\n20×20", 13, "middle", bold=True)
    p.text(28, top + 104, "each map 18×18, with a border of 2 zeros (dashed);\nthe 3×3 kernel visits all "
           "20×20 places where it touches the map", 13, color=SOFT)
    p.line(20, top + 150, 740, top + 150, FAINT)
    _result(p, top + 176)


def _result(p: Picture, y: float) -> None:
    p.text(18, y + 4, "dE/dX: 3 planes", 14, bold=True)
    for c in range(3):
        x = 28 + c * 236
        for o in range(5):
            p.plane(x + o * 18, y + 26 + o * 5, 34, 34, "g")
        p.text(x + 122, y + 58, "→", 20, "middle")
        p.plane(x + 142, y + 36, 38, 38, "x", heavy=c == C)
        p.text(x + 161, y + 60, f"[{c}]", 12, "middle", bold=c == C)
        p.text(x + 128, y + 40, "Σ", 13, "middle", bold=True)
