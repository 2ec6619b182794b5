"""Just enough SVG: a sheet that grows with what is put on it. Everything is escaped.

Knows no convolution; imports nothing of the package.
"""
from __future__ import annotations

from html import escape
from typing import Any

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


def _attributes(values: dict[str, Any]) -> str:
    return "".join(f' {key.replace("_", "-")}="{escape(_text(v))}"' for key, v in values.items())


def _text(v: Any) -> str:
    return f"{v:.1f}".removesuffix(".0") if isinstance(v, float) else str(v)


class Sheet:
    """Elements in drawing order, and how far they reach to the right and down."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.right = self.bottom = 0.0

    def _reach(self, x: float, y: float) -> None:
        self.right, self.bottom = max(self.right, x), max(self.bottom, y)

    def rect(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        self._reach(x + width, y + height)
        shape = {"x": x, "y": y, "width": width, "height": height}
        self.parts.append(f"<rect{_attributes(shape | style)}/>")

    def path(self, points: list[tuple[float, float]], **style: Any) -> None:
        """A line through `points`."""
        for point in points:
            self._reach(*point)
        d = "M" + " L".join(f"{_text(x)} {_text(y)}" for x, y in points)
        self.parts.append(f"<path{_attributes({'d': d, 'fill': 'none'} | style)}/>")

    def text(self, x: float, y: float, text: str, size: float = 12, anchor: str = "start",
             **style: Any) -> float:
        """A line of text with its baseline at y; returns about how wide it is."""
        width = (0.61 if style.get("font_family") == "monospace" else 0.56) * size * len(text)
        self._reach(x + width * {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor], y + 0.3 * size)
        place = {"x": float(x), "y": float(y), "font_size": size, "text_anchor": anchor}
        self.parts.append(f"<text{_attributes(place | style)}>{escape(text, quote=False)}</text>")
        return width

    def svg(self, title: str, description: str, margin: float = 14) -> str:
        """The document: white, with a title and a description for screen readers."""
        width, height = (round(n + margin) for n in (self.right, self.bottom))
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img"{_attributes({"font_family": FONT})}>',
            f"<title>{escape(title, quote=False)}</title>",
            f"<desc>{escape(description, quote=False)}</desc>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>', *self.parts, "</svg>", ""])
