"""Draws the picture of the README: how the gradient gets through a convolution.

    python -m demos.backward_picture [demos/images/conv_backward.svg]
"""
from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError:
    raise SystemExit("this picture needs matplotlib; install the extra: pip install '.[viz]'") from None

import tinygrad_conv as tg
from demos.program import parser, plainly, svg
from tinygrad_conv.draw.style import PAINTS

INK = "#24292f"


def outline(kind: str, result: bool) -> dict[str, Any]:
    """The colours of a quantity; the gradient from above is hatched, a result has a heavy outline."""
    paint = PAINTS["g" if kind == "y" else kind]
    return {"facecolor": paint.fill, "edgecolor": paint.line, "linewidth": 2.4 if result else 0.9,
            "hatch": "///" if kind == "g" else None}


def stack(axes: Axes, x: float, y: float, count: int, side: float, label: str, **how: Any) -> None:
    """`count` planes one behind the other, with a label below."""
    for k in reversed(range(count)):
        axes.add_patch(Rectangle((x + 0.16 * k, y + 0.16 * k), side, side, **how))
    axes.text(x + side / 2, y - 0.12, label, ha="center", va="top", fontsize=9, color=INK)


def filters(axes: Axes, x: float, y: float, rows: int, columns: int, label: str, **how: Any) -> None:
    """A small square for each plane of each filter, one row per filter, with a label below."""
    for r in range(rows):
        for c in range(columns):
            axes.add_patch(Rectangle((x + 0.3 * c, y + 0.3 * r), 0.24, 0.24, **how))
    axes.text(x + 0.15 * columns, y - 0.12, label, ha="center", va="top", fontsize=9, color=INK)


def row(axes: Axes, y: float, title: str, parts: Sequence[tuple], rule: str) -> None:
    """Two quantities and what they give; each is what draws it, its kind and the rest for that."""
    axes.text(0, y + 2.3, title, fontsize=10.5, fontweight="bold", va="top", color=INK)
    for x, (draw, kind, *what) in zip((0.1, 2.8, 5.4), parts):
        draw(axes, x, y, *what, **outline(kind, result=x > 5))
    for x, sign in ((2.25, "*"), (4.85, "=")):
        axes.text(x, y + 0.6, sign, fontsize=15, ha="center", va="center", color=INK)
    axes.text(7.45, y + 0.75, rule, fontsize=9, va="center", color=INK, linespacing=1.5)


@plainly()
def main() -> None:
    takes = parser(__doc__)
    takes.add_argument("picture", nargs="?", type=svg, default="runs/conv_backward.svg", metavar="FILE.svg",
                       help="(default %(default)s)")
    path = takes.parse_args().picture
    figure = Figure(figsize=(8.3, 7.3))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 10.4), ylim=(-0.3, 8.85), aspect="equal")
    axes.axis("off")
    row(axes, 6.4, "forward: conv2d(x, w)", [(stack, "x", 3, 1.3, "x: 3 channels"), (
        filters, "w", 5, 3, "w: 5 filters of 3"), (stack, "y", 5, 1.0, "y: 5 channels")],
        "each filter o slides over all channels c;\nthe sum over channels and the window\n"
        "gives one plane of y: 3 -> 5")
    row(axes, 3.45, "to the input: conv_transpose2d(g, w)", [(stack, "g", 5, 1.0, "g: 5 channels"), (
        filters, "w", 3, 5, "each turned by 180°,\nrows become columns:\n3 filters of 5"), (
        stack, "x", 3, 1.3, "dx: 3 channels")],
        "a convolution over the full overlap;\nthe sum over the five filters o\n"
        "gives one plane of dx: 5 -> 3")
    row(axes, 0.05, "to the filters: conv2d_weight(g, x)", [(stack, "x", 3, 1.3, "x: 3 channels"), (
        stack, "g", 5, 1.0, "g: 5 channels"), (filters, "w", 5, 3, "dw: 5 filters of 3")],
        "every plane of x with every plane of g:\n15 pairs, 15 small planes; the sum runs\n"
        "over positions and samples only")
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "conv_backward"}):  # the same picture each time
        figure.savefig(content, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.12)
    tg.write_atomically(path, content.getvalue())
    print("->", path)


if __name__ == "__main__":
    main()
