"""Pictures of planes, filters and wires as SVG text: one visual language for the five questions.

The input is blue and plain, the gradient from above green and hatched, filters are orange grids of
cells; a result has a heavy outline. Hue is never the only difference (Okabe-Ito colours, and a
texture each).
"""
from __future__ import annotations

from html import escape
from typing import Any

import numpy as np

from tinygrad_conv.draw.style import PAINTS


PAINTS = {**PAINTS, "y": PAINTS["g"]}  # an output is as its gradient, but not hatched
INK, SOFT, FAINT = "#24292f", "#5b646e", "#c9ced4"
LEVELS = 8
FONT = "'Helvetica Neue',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif"


def shade(kind: str, level: int) -> str:
    """The colour of one of the `LEVELS` steps of a kind's scale."""
    paint, t = PAINTS[kind], level / (LEVELS - 1)
    return "#" + "".join(f"{round(p + (d - p) * t):02x}" for p, d in zip(paint.pale, paint.dark))


def levels(values: np.ndarray) -> np.ndarray:
    """Values as steps 0 .. LEVELS-1 between the smallest and the largest.

    Example:
        >>> levels(np.array([-1.0, 0.1, 3.0])).tolist()
        [0, 2, 7]
    """
    low, high = values.min(), values.max()
    steps = (values - low) / (high - low or 1) * LEVELS
    return np.minimum(steps.astype(int), LEVELS - 1)


class Picture:
    """An SVG being drawn; coordinates in pixels of its own width."""

    def __init__(self, name: str, width: int, height: int, says: str) -> None:
        self.name, self.width, self.height, self.says = name, width, height, says
        self.parts: list[str] = []

    def add(self, tag: str, content: str = "", **attributes: Any) -> None:
        """One element; `stroke_width` becomes stroke-width, numbers lose needless digits."""
        words = " ".join(f'{key.replace("_", "-")}="{_short(value)}"'
                         for key, value in attributes.items() if value is not None)
        self.parts.append(f"<{tag} {words}>{content}</{tag}>" if content else f"<{tag} {words}/>")

    def text(self, x: float, y: float, words: str, size: float = 13, anchor: str = "start",
             bold: bool = False, color: str = INK, halo: bool = False) -> None:
        around = {"paint_order": "stroke", "stroke": "#fff", "stroke_width": 4} if halo else {}
        for k, line in enumerate(words.split("\n")):
            self.add("text", escape(line), x=x, y=y + k * size * 1.35, font_size=size, fill=color,
                     text_anchor=None if anchor == "start" else anchor,
                     font_weight="bold" if bold else None, **around)

    def line(self, x1: float, y1: float, x2: float, y2: float, color: str = SOFT,
             width: float = 1, dash: str | None = None, arrow: bool = False) -> None:
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=color, stroke_width=width,
                 stroke_dasharray=dash, marker_end=f"url(#{self.name}-tip)" if arrow else None)

    def box(self, x: float, y: float, width: float, height: float, color: str = INK,
            line: float = 1, dash: str | None = None, fill: str = "none", round: float = 0) -> None:
        self.add("rect", x=x, y=y, width=width, height=height, fill=fill, stroke=color,
                 stroke_width=line, stroke_dasharray=dash, rx=round or None)

    def plane(self, x: float, y: float, width: float, height: float, kind: str,
              heavy: bool = False, opacity: float | None = None) -> None:
        """A whole map, its numbers not shown; the gradient from above is hatched."""
        paint = PAINTS[kind]
        self.add("rect", x=x, y=y, width=width, height=height, fill=paint.fill,
                 stroke=paint.line, stroke_width=3 if heavy else 1.2, fill_opacity=opacity)
        if kind == "g":
            self.add("rect", x=x, y=y, width=width, height=height, fill=f"url(#{self.name}-hatch)")

    def cells(self, x: float, y: float, values: np.ndarray, size: float | tuple[float, float],
              kind: str = "w", heavy: bool = False, steps: np.ndarray | None = None,
              lines: bool = True) -> None:
        """A grid of numbers, darker is larger; `steps` are levels taken over several grids."""
        width, height = size if isinstance(size, tuple) else (size, size)
        steps = levels(values) if steps is None else steps
        for level in range(LEVELS):
            path = "".join(f"M{_short(x + c * width)} {_short(y + r * height)}h{_short(width)}"
                           f"v{_short(height)}h-{_short(width)}z"
                           for r, c in np.argwhere(steps == level))
            if path:
                self.add("path", d=path, fill=shade(kind, level),
                         stroke=PAINTS[kind].line if lines else None,
                         stroke_width=0.5 if lines else None)
        self.box(x, y, values.shape[1] * width, values.shape[0] * height, PAINTS[kind].line,
                 3 if heavy else 1)

    def svg(self) -> str:
        """The finished picture, readable by itself and inside a page."""
        tip = (f'<marker id="{self.name}-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
               f'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
               f'<path d="M0 0L8 4L0 8z" fill="{SOFT}"/></marker>')
        hatch = (f'<pattern id="{self.name}-hatch" width="6" height="6" '
                 f'patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V6" '
                 f'stroke="{PAINTS["g"].line}" stroke-width="1" stroke-opacity=".55"/></pattern>')
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'font-family="{FONT}" role="img" aria-label="{escape(self.says)}">',
            f"<defs>{tip}{hatch}</defs>",
            f'<rect width="{self.width}" height="{self.height}" rx="8" fill="#fff"/>',
            *self.parts, "</svg>"])


def _short(value: Any) -> str:
    """12.50 -> 12.5, 3.0 -> 3, text as it is."""
    return f"{round(float(value), 2):g}" if isinstance(value, int | float | np.number) else value
