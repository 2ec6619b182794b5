"""What a convolution costs as its batch, channels, images or kernel grow: figures, and a picture of them."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .convs import Conv
from .rows import Row

BASE = Conv(16, 32, 32, 32, 3, 1)
CURVES = {"batch": [1, 4, 16, 64], "channels": [1, 2, 4, 8, 16, 32, 64, 128], "image size": [8, 16, 32, 64],
          "kernel size": [1, 3, 5, 7, 9]}
LINES = {"compiled": "o-", "numpy": "s-", "PyTorch": "^--"}


def convolution(axis: str, value: int) -> Conv:
    """The base with one thing changed; images keep their size."""
    changed = {"batch": {"n": value}, "channels": {"c": value, "o": value}, "image size": {"h": value},
               "kernel size": {"k": value, "padding": value // 2}}
    return BASE._replace(**changed[axis])


def name(axis: str, value: int) -> str:
    return f"curve, {axis} {value}"


NAMES = {name(axis, value) for axis, values in CURVES.items() for value in values}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Four panels, a line a side. ImportError without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator
    figure = Figure((11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    found = {(row.name, row.side): row.figure for row in rows}
    for panel, (axis, values) in zip(figure.subplots(2, 2).flat, CURVES.items()):
        for side, style in LINES.items():
            if (name(axis, values[0]), side) in found:
                panel.plot(values, [found[name(axis, v), side] for v in values], style, label=side)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xticks(values, map(str, values))
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.set_xlabel(axis)
        panel.set_ylabel("ms")
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(f"{BASE}: time of a call, forward and backward, as one thing changes")
    figure.savefig(path, format="png", dpi=120)
