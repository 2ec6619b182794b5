"""Question 3 drawn: one product of two tall matrices, and what the averaging recipe makes of it."""
from __future__ import annotations

import numpy as np

from ..planes import FAINT, INK, SOFT, Picture, levels

TOP, HEIGHT, ROW = 84, 220, 96              # of the two tall matrices, and the row that is followed


def draw(x: np.ndarray, right: np.ndarray, wrong: np.ndarray, error: float, rows: int) -> str:
    """x (N, H, W, C); right, wrong (F, 3, 3, C): the gradient and the recipe's."""
    p = Picture("q3", 760, 698, "Patches as rows of a tall matrix, gradients as rows of another; their "
                "product is the kernel gradient. Below, the recipe gives all channels one average")
    _image(p, *x.shape)
    _product(p, right, rows, len(x))
    p.line(20, 366, 740, 366, FAINT)
    both = levels(np.stack([right, wrong]))
    _kernels(p, 62, right, both[0], "dL/dK: each channel its own kernel", "")
    _kernels(p, 466, wrong, both[1], "the recipe: one average, copied", "=")
    p.text(354, 540, "≠", 34, "middle", True)
    p.text(354, 568, f"relative\nerror {error:.2f}", 13, "middle", True)
    return p.svg()


def _image(p: Picture, n: int, height: int, width: int, channels: int) -> None:
    """One sample: channels one behind the other, a window through all of them."""
    p.text(18, 34, f"X: N = {n} images,\n{height}×{width}, C = {channels}", 14, bold=True)
    p.text(18, TOP + 22, f"one of the {n}", 13, color=SOFT)
    for c in (2, 1, 0):
        x, y = 18 + 12 * c, TOP + 42 + 12 * (2 - c)
        p.plane(x, y, 90, 90, "x")
        p.cells(x + 36, y + 27, np.zeros((3, 3)), 9, "x")
        p.box(x + 36, y + 27, 27, 27, INK, 1.8)
    p.text(18, TOP + 176, "one window =\none row", 13, color=SOFT)
    p.line(112, TOP + ROW + 6, 160, TOP + ROW + 6, INK, 1.6, arrow=True)


def _product(p: Picture, right: np.ndarray, rows: int, n: int) -> None:
    filters, channels = len(right), right.shape[-1]
    taps = 9 * channels
    p.text(168, 34, f"P: {rows}×{taps}", 14, bold=True)
    p.text(168, 56, "a column for each (a,b,c)", 12, color=SOFT)
    p.plane(168, TOP, taps * 6, HEIGHT, "x")
    p.text(396, 34, f"dL/dZ: {rows}×{filters}", 14, bold=True)
    p.text(396, 56, "a column for each f", 12, color=SOFT)
    p.plane(396, TOP, filters * 12, HEIGHT, "g")
    p.cells(168, TOP + ROW, np.zeros((1, taps)), (6, 12), "x")
    p.cells(396, TOP + ROW, np.zeros((1, filters)), (12, 12), "g")
    for x, width in ((168, taps * 6), (396, filters * 12)):
        p.box(x, TOP + ROW, width, 12, INK, 1.8)
    p.line(168 + taps * 6 + 3, TOP + ROW + 6, 393, TOP + ROW + 6, INK, 1.4, "4 3")
    p.text(363, TOP + ROW - 8, "same\n(n,i,j)", 12, "middle", halo=True)
    p.text(168, TOP + HEIGHT + 24, f"multiply row by row, add up all {n}·8·8 rows:\nthe only sum is over "
           "(n, i, j)", 13, color=SOFT)
    p.text(500, TOP + ROW + 14, "=", 24, "middle", True)
    p.text(538, TOP + 22, f"dL/dK: {filters}×{taps}", 14, bold=True)
    flat = right.reshape(filters, -1)
    p.cells(538, TOP + 52, flat, (7, 14), heavy=True)
    p.text(538, TOP + 42, "a, b, c →", 12, color=SOFT)
    p.text(532, TOP + 64, "f\n↓", 12, "end", color=SOFT)
    p.text(538, TOP + 162, "channels stay apart:\nc names a column", 13, color=SOFT)


def _kernels(p: Picture, x: float, k: np.ndarray, shades: np.ndarray, title: str, between: str) -> None:
    """Two filters, a kernel for each channel."""
    p.text(x - 44, 398, title, 14, bold=True)
    for f in (0, 1):
        y = 436 + f * 128
        p.text(x - 8, y + 40, f"f = {f}", 13, "end")
        for c in range(k.shape[-1]):
            p.cells(x + c * 88, y, k[f, :, :, c], 22, steps=shades[f, :, :, c])
            p.text(x + c * 88 + 33, y + 84, f"c = {c}", 12, "middle")
            if c and between:
                p.text(x + c * 88 - 11, y + 40, between, 18, "middle", True)
    p.text(x - 44, 680, "only f = 0 and 1 of six; shades on one scale" if not between else
           "no channel gets its own gradient", 12, color=SOFT)
