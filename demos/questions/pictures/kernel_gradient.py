"""Question 1 drawn: a table of planes of X and planes of dE/dO, with a kernel in every cell."""
from __future__ import annotations

import numpy as np

from ..planes import FAINT, INK, SOFT, Picture, levels

O, C, A, B = 3, 2, 1, 3                     # the pair, and its number, that are followed
LEFT, TOP, STEP_X, STEP_Y = 106, 158, 58, 48


def draw(df: np.ndarray) -> str:
    """df (10, 5, 5, 5): the gradient, its numbers as shades."""
    p = Picture("q1", 760, 660, "Table of 5 input planes by 10 gradient planes; every cell holds a "
                "5 by 5 kernel, the correlation of its column with its row")
    _table(p, df)
    _one_pair(p, levels(df)[O, C], df[O, C])
    return p.svg()


def _table(p: Picture, df: np.ndarray) -> None:
    shades, x, y = levels(df), LEFT + C * STEP_X, TOP + O * STEP_Y
    p.text(LEFT, 34, "X: 5 planes, 100×100", 14, bold=True)
    p.text(18, 96, "dE/dO:\n10 planes,\n96×96", 14, bold=True)
    p.box(x - 6, 46, 50, y - 6, FAINT, fill="#eceef0", round=6)
    p.box(16, y - 6, x + 28, 48, FAINT, fill="#eceef0", round=6)
    for c in range(5):
        p.plane(LEFT + c * STEP_X, 54, 38, 38, "x", heavy=c == C)
        p.text(LEFT + c * STEP_X + 19, 110, f"X[{c}]", 12, "middle", bold=c == C)
    for o in range(10):
        p.plane(24, TOP + o * STEP_Y, 36, 36, "g", heavy=o == O)
        p.text(68, TOP + o * STEP_Y + 22, f"[{o}]", 12, bold=o == O)
        for c in range(5):
            p.cells(LEFT + c * STEP_X + 1.5, TOP + o * STEP_Y, df[o, c], 7, steps=shades[o, c],
                    heavy=(o, c) == (O, C))
    p.text(LEFT, 646, "dE/dF: 10×5 kernels of 5×5", 14, bold=True)


def _one_pair(p: Picture, shades: np.ndarray, kernel: np.ndarray) -> None:
    x, y, unit = 440, 62, 8
    p.line(x - 26, 34, x - 26, 640, FAINT)
    p.text(x, 34, f"one pair: X[{C}] with dE/dO[{O}]", 14, bold=True)
    p.plane(x, y, 200, 200, "x")
    p.plane(x + B * unit, y + A * unit, 168, 168, "g", opacity=0.85)
    p.text(x + B * unit + 84, y + A * unit + 90, f"dE/dO[{O}]", 14, "middle", True, halo=True)
    p.text(x + 6, y + 194, f"X[{C}]", 13, bold=True)
    p.text(x + 212, y + 16, f"shifted by\na = {A}, b = {B}", 13)
    p.text(x + 212, y + 78, "96 fits into\n100 in 5 ways,\nin each\ndirection", 13, color=SOFT)
    p.text(x, y + 234, "multiply the cells that coincide,\nadd the 96×96 products: one "
           "number", 13)
    side, top = 32, y + 300
    p.line(x + 100, y + 262, x + 100, top - 24, INK, 1.4, arrow=True)
    p.cells(x + 20, top, kernel, side, steps=shades, heavy=True)
    p.box(x + 20 + B * side, top + A * side, side, side, INK, 4)
    p.text(x + 194, top + A * side + 14, f"← a = {A}, b = {B}", 13)
    p.text(x + 20, top + 5 * side + 26, f"dE/dF[{O},{C}], 5×5", 14, bold=True)
    p.text(x + 20, top + 5 * side + 50, "lighter: smaller, darker: larger\n(the 4 pixels of slack are "
           "drawn enlarged)", 12, color=SOFT)
