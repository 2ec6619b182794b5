"""Curves of a training run: loss and accuracy over the epochs, as small SVG for a cell, or by matplotlib.

Training is a dashed orange line, held-out data a blue one with points: told apart without colour too. A loss
that falls by more than a factor of 30 is drawn on a scale of powers.
Source of the colours: Okabe, Ito, "Color Universal Design", 2008.
"""
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tinygrad_conv as tg

Rows = Sequence[Mapping[str, float]]

PANELS = ("loss", "accuracy")
LINES = {"": ("training", "#d55e00", "4 3"), "valid_": ("held out", "#0072b2", "none")}
POWERS = 30  # the largest over the smallest value from which on powers are shown
MOST = 150   # points of a line in a cell
WIDTH, HEIGHT = 300, 150  # of a panel in a cell
LEFT, TOP, RIGHT, BOTTOM = 58, 22, 12, 24


def series(rows: Rows, panel: str) -> dict[str, list[tuple[float, float]]]:
    """(epoch, value) by the key of a line, of the epochs that have a finite one."""
    found = {start: [(row["epoch"], row[start + panel]) for row in rows
                     if math.isfinite(row.get(start + panel, math.nan))] for start in LINES}
    return {start: points for start, points in found.items() if points}


def logarithmic(values: Sequence[float]) -> bool:
    """Whether powers show more of the values.

    Example:
        >>> logarithmic([2.0, 0.5]), logarithmic([2.0, 0.01]), logarithmic([1.0, 0.0])
        (False, True, False)
    """
    return min(values) > 0 and max(values) > POWERS * min(values)


def svg(rows: Rows, epochs: int = 0) -> str:
    """The curves as SVG for a cell, in its text colour; "" without an epoch.

    Args:
        rows: of a history.
        epochs: how many there will be; the axis goes that far.

    Example:
        >>> svg([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]).count("<polyline")
        1
    """
    found = {panel: lines for panel in PANELS if (lines := series(rows, panel))}
    last = max(epochs, 2, *[int(row["epoch"]) for row in rows]) if rows else 0
    panels = [f"<g transform='translate({i * WIDTH} 0)'>{_panel(panel, lines, last)}</g>"
              for i, (panel, lines) in enumerate(found.items())]
    width = WIDTH * len(panels)
    return (f"<svg width='{width}' height='{HEIGHT}' viewBox='0 0 {width} {HEIGHT}' role='img' aria-label='"
            f"{' and '.join(found)} by epoch' font-family='sans-serif' font-size='11' fill='currentColor'>"
            f"{''.join(panels)}</svg>") * bool(panels)


def _panel(panel: str, lines: Mapping[str, Sequence[tuple[float, float]]], last: int) -> str:
    values = [value for points in lines.values() for _, value in points]
    powers = panel == "loss" and logarithmic(values)
    place = math.log10 if powers else float
    low, high = place(min(values)), place(max(values))
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def at(epoch: float, value: float) -> tuple[float, float]:
        return (LEFT + (epoch - 1) / (last - 1) * (right - LEFT),
                bottom - (place(value) - low) / (high - low) * (bottom - TOP - 8))

    back = (lambda v: 10.0 ** v) if powers else float
    parts = [f"<path d='M{LEFT} {TOP}V{bottom}H{right}' fill='none' stroke='currentColor' opacity='.5'/>",
             f"<text x='{LEFT}' y='12' font-weight='bold'>{panel}{', log scale' * powers}</text>",
             f"<text x='{right}' y='{HEIGHT - 8}' text-anchor='end'>{last}</text>",
             f"<text x='{(LEFT + right) / 2:g}' y='{HEIGHT - 8}' text-anchor='middle'>epoch</text>",
             f"<text x='{LEFT}' y='{HEIGHT - 8}' text-anchor='middle'>1</text>"]
    for value in (back(low), back((low + high) / 2), back(high)):
        y = at(1, value)[1]
        parts += [f"<path d='M{LEFT} {y:.1f}H{right}' stroke='currentColor' opacity='.15'/>",
                  f"<text x='{LEFT - 5}' y='{y + 4:.1f}' text-anchor='end'>{value:.3g}</text>"]
    for i, (start, points) in enumerate(lines.items()):
        name, colour, dashes = LINES[start]
        step = -(-len(points) // MOST)
        spots = [at(*point) for point in points[::-step][::-1]]  # the last one is always there
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='1.8' "
                     f"stroke-dasharray='{dashes}'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2.2' fill='{colour}'/>" for x, y in spots
                  if dashes == "none" and step == 1 or len(spots) == 1]
        end = right - 70 * (len(lines) - 1 - i)
        parts.append(f"<text x='{end}' y='12' text-anchor='end' fill='{colour}'>"
                     f"{'- - ' if dashes != 'none' else '• '}{name}</text>")
    return "".join(parts)


def figure_of(width: float, height: float) -> Any:
    """A figure of matplotlib's; a cell whose last line it is shows it, and no other does.

    Raises:
        ImportError: without matplotlib; names the extra.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib; install the extra: pip install "
                          "'tinygrad_conv[viz]'") from None

    class Picture(Figure):
        """pyplot does not know it; a notebook asks it for its picture."""

        def _repr_png_(self) -> bytes:
            self.savefig(picture := io.BytesIO(), dpi=80, format="png")
            return picture.getvalue()

    return Picture(figsize=(width, height), layout="constrained")


def kept(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """A figure, or without a return a file of it, whole or not at all; see `History.plot`."""
    if path is None:
        return figure
    ending = Path(path).suffix[1:].lower()
    if ending not in figure.canvas.get_supported_filetypes():
        raise ValueError(f"plot: expects a picture file such as .png or .svg, got {os.fspath(path)!r}")
    tg.write_atomically(path, lambda part: figure.savefig(part, dpi=120, format=ending))
    return None


def figure(rows: Rows) -> Any:
    """The curves as a figure."""
    made = figure_of(9, 3.6)
    for axes, panel in zip(made.subplots(1, 2), PANELS):
        lines = series(rows, panel)
        for start, points in lines.items():
            name, colour, dashes = LINES[start]
            axes.plot(*zip(*points), "--" if dashes != "none" and len(points) > 1 else "o-", color=colour,
                      markersize=3.5, label=name)
        axes.set(xlabel="epoch", ylabel=panel)
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if lines:
            axes.legend(frameon=False)
            if panel == "loss" and logarithmic([value for points in lines.values() for _, value in points]):
                axes.set_yscale("log")
    return made
