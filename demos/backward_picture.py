"""Draws the picture of the README: how the gradient gets through a convolution.

    python -m demos.backward_picture [demos/images/conv_backward.svg]
"""
from __future__ import annotations

import io

try:
    from matplotlib import rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError:
    raise SystemExit("this picture needs matplotlib; install the extra: pip install '.[viz]'") from None

import tinygrad_conv as tg
from demos.program import parser, plainly, svg

INK, X, W, G = "#333333", "#9ecae1", "#fdd0a2", "#a1d99b"


def stack(axes: Axes, x: float, y: float, count: int, side: float, color: str, label: str) -> None:
    """`count` planes one behind the other, with a label below."""
    for k in reversed(range(count)):
        axes.add_patch(Rectangle((x + 0.16 * k, y + 0.16 * k), side, side, facecolor=color,
                                 edgecolor=INK, linewidth=0.9))
    axes.text(x + side / 2, y - 0.12, label, ha="center", va="top", fontsize=9, color=INK)


def filters(axes: Axes, x: float, y: float, rows: int, columns: int, color: str, label: str) -> None:
    """A small square for each plane of each filter, one row per filter, with a label below."""
    for r in range(rows):
        for c in range(columns):
            axes.add_patch(Rectangle((x + 0.3 * c, y + 0.3 * r), 0.24, 0.24, facecolor=color, edgecolor=INK,
                                     linewidth=0.9))
    axes.text(x + 0.15 * columns, y - 0.12, label, ha="center", va="top", fontsize=9, color=INK)


def row(axes: Axes, title: str, first: tuple, second: tuple, result: tuple, rule: str) -> None:
    axes.set_xlim(0, 10.4)
    axes.set_ylim(-0.75, 2.5)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.text(0, 2.42, title, fontsize=10.5, fontweight="bold", va="top", color=INK)
    for x, part in zip((0.2, 2.9, 5.5), (first, second, result)):
        draw, *what = part
        draw(axes, x, 0.15, *what)
    axes.text(2.35, 0.75, "*", fontsize=16, ha="center", va="center", color=INK)
    axes.text(4.95, 0.75, "=", fontsize=14, ha="center", va="center", color=INK)
    axes.text(7.55, 0.9, rule, fontsize=9, va="center", color=INK, linespacing=1.5)


@plainly()
def main() -> None:
    takes = parser(__doc__)
    takes.add_argument("picture", nargs="?", type=svg, default="runs/conv_backward.svg", metavar="FILE.svg",
                       help="(default %(default)s)")
    path = takes.parse_args().picture
    figure = Figure(figsize=(10.4, 8.0), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1)
    row(top, "forward: conv2d(x, w)", (stack, 3, 1.3, X, "x: 3 channels"),
        (filters, 5, 3, W, "w: 5 filters of 3"), (stack, 5, 1.0, G, "y: 5 channels"),
        "each filter o slides over all channels c;\nthe sum over channels and the window\n"
        "gives one plane of y: 3 -> 5")
    row(middle, "to the input: conv_transpose2d(g, w)", (stack, 5, 1.0, G, "g: 5 channels"),
        (filters, 3, 5, W, "each turned by 180°,\nrows become columns:\n3 filters of 5"),
        (stack, 3, 1.3, X, "dx: 3 channels"),
        "a convolution over the full overlap;\nthe sum over the five filters o\n"
        "gives one plane of dx: 5 -> 3")
    row(bottom, "to the filters: conv2d_weight(g, x)", (stack, 3, 1.3, X, "x: 3 channels"),
        (stack, 5, 1.0, G, "g: 5 channels"), (filters, 5, 3, W, "dw: 5 filters of 3"),
        "every plane of x with every plane of g:\n15 pairs, 15 small planes; the sum runs\n"
        "over positions and samples only")
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": "conv_backward"}):  # the same picture each time
        figure.savefig(content, format="svg", metadata={"Date": None})
    tg.write_atomically(path, content.getvalue())
    print("->", path)


if __name__ == "__main__":
    main()
