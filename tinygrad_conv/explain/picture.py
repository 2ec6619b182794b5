"""An explanation as a picture (SVG): the number asked for, and the planes that meet, one row per channel.

Left to right it reads as the equation does: result = input x weight = products, summed. Cells with the
same letter meet. Line and texture, not colour alone, tell what a cell is: thickly outlined cells meet,
hatched ones are padding, crossed ones no window covers. Large planes are cut to the part of interest.
Imports terms and text.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from html import escape
from string import ascii_uppercase
from typing import Any

import numpy as np

from .terms import SIDES, Factor, Line, Terms
from .text import (
    PLANES, addition, as_text, depth_letter, equations, holds, note, partial, plane_label, result_label, short,
)

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


# ----- one plane of an array as a grid of numbers -----

WIDTH, HEIGHT, SMALL, DOTS = 44, 32, 13, 16  # of a cell; of one without numbers; of a gap
FITS, FITS_SMALL = 11, 26                    # so many cells are shown with and without numbers
AROUND = 7                                   # so many of a plane that does not fit, if few meet
COLOURS = {"first": ("#d6ebf7", "#0072b2"), "second": ("#fde3c4", "#b34700"),
           "product": ("#d9f0e7", "#00664b"), "result": ("#f7efa6", "#000000")}  # after Okabe and Ito
PADDING, UNREAD = "padding", "unread"         # classes of the marks
TITLE = 46                                   # height of what stands above the cells
Tags = dict[tuple[int, int], str]


@dataclass(frozen=True)
class Span:
    """One axis of a plane: `size` real cells, and the positions `shown`, in their order.

    None in `shown` is a gap. `read` are the positions that any window covers, None for all; `name`
    is what is written beside a position.
    """

    size: int
    shown: list[int | None]
    read: set[int] | None = None
    name: Callable[[int], str] = str


def cut(first: int, last: int, hits: Iterable[int], fits: int) -> list[int | None]:
    """The positions first..last; if more than `fits`, those around the hits, and None for the rest.

    Example:
        >>> cut(0, 99, [50, 52], 11)
        [None, 48, 49, 50, 51, 52, 53, 54, None]
    """
    if last - first + 1 <= fits:
        return list(range(first, last + 1))
    hits = list(hits) or [first]
    span = max(hits) - min(hits) + 1
    count = min(fits, max(AROUND, span + 4))
    start = min(max(first, min(hits) - max(0, count - span) // 2), last + 1 - count)
    stop = start + count
    return [None] * (start > first) + list(range(start, stop)) + [None] * (stop <= last)


@dataclass(frozen=True)
class View:
    """A plane to draw: `value(row, column)` of real cells; `hits` are outlined, with a letter."""

    caption: str
    label: str
    style: str
    rows: Span
    columns: Span
    value: Callable[[int, int], float]
    hits: Tags = field(default_factory=dict)
    small: bool = False
    window: bool = False  # draw a dashed frame around all that is hit
    padded: frozenset[tuple[int, int]] = frozenset()  # cells that are padding though in range


def _places(span: Span, start: float, step: float) -> tuple[dict[int, float], list[float], float]:
    """Where each position lies, where the gaps are, and the end."""
    at, gaps = {}, []
    for position in span.shown:
        if position is None:
            gaps.append(start)
            start += DOTS
        else:
            at[position] = start
            start += step
    return at, gaps, start


def draw_plane(sheet: Sheet, view: View, x: float, y: float) -> tuple[float, float]:
    """Draw with the caption's top left at (x, y); the right and the lower end."""
    width, height = (SMALL, SMALL) if view.small else (WIDTH, HEIGHT)
    sheet.text(x, y + 11, view.caption, 12, font_weight="bold")
    sheet.text(x, y + 26, view.label, 11, font_family="monospace")
    left, top = x + 20, y + TITLE
    across, gaps_across, right = _places(view.columns, left, width)
    down, gaps_down, bottom = _places(view.rows, top, height)
    _numbers(sheet, view, across, down, left, top, (width, height))
    dots = [(gap + DOTS / 2, (top + bottom) / 2, "…") for gap in gaps_across]
    dots += [((left + right) / 2, gap + DOTS / 2 + 4, "⋮") for gap in gaps_down]
    for gap in dots:
        sheet.text(*gap, 14, "middle", fill="#555555")
    cells = [(r, c) for r in down for c in across]
    for cell in sorted(cells, key=view.hits.__contains__):  # outlines lie above their neighbours
        _cell(sheet, view, cell, (across[cell[1]], down[cell[0]], width, height))
    hit_x = [across[c] for _, c in view.hits if c in across]
    hit_y = [down[r] for r, _ in view.hits if r in down]
    if view.window and hit_x and hit_y:
        sheet.rect(min(hit_x) - 3, min(hit_y) - 3, max(hit_x) - min(hit_x) + width + 6,
                   max(hit_y) - min(hit_y) + height + 6, fill="none", stroke=COLOURS[view.style][1],
                   stroke_width=1.2, stroke_dasharray="5 3")
    return max(right, x + 7 * len(view.caption)), bottom


def _numbers(sheet: Sheet, view: View, across: dict[int, float], down: dict[int, float], left: float,
             top: float, cell: tuple[int, int]) -> None:
    """Row and column numbers, those that meet in bold; every fifth on small cells."""
    every = 5 if view.small else 1
    for axis, span, starts in ((1, view.columns, across), (0, view.rows, down)):
        for k in filter(lambda k: k % every == 0, starts):
            bold = any(k == hit[axis] for hit in view.hits)
            style = {"font_weight": "bold", "fill": "#000000"} if bold else {"fill": "#666666"}
            x, y, anchor = ((starts[k] + cell[0] / 2, top - 6, "middle") if axis else
                            (left - 6, starts[k] + cell[1] / 2 + 3, "end"))
            sheet.text(x, y, span.name(k), 9, anchor, **style)


def _cell(sheet: Sheet, view: View, cell: tuple[int, int], box: tuple[float, float, int, int]) -> None:
    x, y, width, height = box
    row, column = cell
    hit, real = cell in view.hits, (0 <= row < view.rows.size and 0 <= column < view.columns.size
                                    and cell not in view.padded)
    fill, line = COLOURS[view.style] if hit else ("#ffffff", "#b8b8b8")
    inner = {"fill": fill if real else "#ececec", "stroke": line, "stroke_width": 0.8}
    sheet.rect(x, y, width, height, **inner)
    if not real:
        hatch(sheet, *box)
    elif not all(span.read is None or p in span.read for p, span in zip(cell, (view.rows, view.columns))):
        cross(sheet, *box)
    if hit:
        sheet.rect(x + 1.2, y + 1.2, width - 2.4, height - 2.4, fill="none", stroke=line, stroke_width=2.4)
        sheet.text(x + 4, y + 10, view.hits[cell], 7.5, font_weight="bold", fill=line)
    if not view.small and (real or hit):
        tone = {"fill": "#000000", "font_weight": "bold"} if hit else {"fill": "#707070"}
        sheet.text(x + width / 2, y + height / 2 + 6, short(view.value(*cell)) if real else "0", 10, "middle",
                   **tone)


def hatch(sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
    """Slanted lines: a padding cell."""
    for k in range(7, int(width + height), 7):
        start = (x + min(k, width), y + max(0, k - width))
        end = (x + max(0, k - height), y + min(k, height))
        sheet.path([start, end], stroke="#b0b0b0", stroke_width=0.8, **{"class": PADDING})


def cross(sheet: Sheet, x: float, y: float, width: float, height: float) -> None:
    """Crossed out: a cell that no window covers."""
    for start, end in ((x, x + width), (x + width, x)):
        sheet.path([(start, y), (end, y + height)], stroke="#c4c4c4", stroke_width=0.8, **{"class": UNREAD})


# ----- the whole picture -----

CAPTIONS = {"x": "input", "w": "weight", "y": "output", "g": "gradient at y", "dx": "gradient of x",
            "dw": "gradient of w"}
SIGN = 24   # width of a "=" between two planes
STRIP = 20  # numbers of an im2col row
Name = Callable[[int], str]


def _tags(rows: list[int], columns: list[int]) -> Tags:
    """A letter for each cell that meets, in reading order, while the alphabet lasts."""
    cells = [(r, c) for r in rows for c in columns]
    letters = ascii_uppercase if len(cells) <= len(ascii_uppercase) else [""] * len(cells)
    return dict(zip(cells, letters))


def _names(e: Terms) -> tuple[Name, Name]:
    """What is written beside rows and columns; a line has no rows."""
    return (lambda k: "") if e.call.geometry.line else str, str


def _span(line: Line, side: str, hits: list[int], small: bool, name: Name) -> Span:
    """The axis of a plane on `side`, cut around the hits."""
    fits = FITS_SMALL if small else FITS
    size = line.sizes[("small", "kernel", "large").index(side)]
    if side != "large":
        return Span(size, cut(0, size - 1, hits, fits), name=name)
    before, after = (max(0, p) for p in line.padding)
    return Span(size, cut(-before, size + after - 1, hits, fits), line.read, name)


def _small(hits: list[int]) -> bool:
    """Whether what meets is too wide for numbers but can be shown without."""
    return bool(hits) and FITS < max(hits) - min(hits) + 1 <= FITS_SMALL


def _few(e: Terms) -> int | None:
    """How many of what meets along an axis the cut of a plane goes by: for a weight, everything
    meets, and the first few tell it."""
    return 4 if e.side == "kernel" else None


def _factor(e: Terms, factor: Factor, style: str, plane: int) -> View:
    lines = [(line, at.tolist()) for line, at in e.lines(factor)]
    small = e.side != "kernel" and any(_small(at) for _, at in lines)
    spans = [_span(line, factor.side, at[:_few(e)], small, name)
             for (line, at), name in zip(lines, _names(e))]
    caption = CAPTIONS[factor.name]
    if e.side == "large" and factor.side == "kernel":
        spans = [replace(s, shown=s.shown[::-1]) for s in spans]
        caption += ", turned by 180°" if max(s.size for s in spans) > 1 else ""
    at = e.meeting.plane(plane)
    array = factor.array[tuple(at[letter] for letter in SIDES[factor.side][:2])]
    return View(caption, plane_label(e, factor.name, factor.side, plane), style, *spans,
                lambda r, c: array[r, c].item(), _tags(lines[0][1], lines[1][1]), small,
                window=e.side == "small" and factor.side == "large")


def _product(e: Terms, plane: int) -> View:
    _, rows, columns = e.meeting.shape
    small = e.side != "kernel" and any(FITS < n <= FITS_SMALL for n in (rows, columns))
    fits = FITS_SMALL if small else FITS
    spans = [Span(n, cut(0, n - 1, range(n)[:_few(e)], fits), name=lambda k: "") for n in (rows, columns)]
    return View("products", "", "product", *spans, lambda r, c: e.products[plane, r, c].item(),
                _tags(list(range(rows)), list(range(columns))), small)


def _result(e: Terms) -> View:
    held = dict(zip(SIDES[e.side], e.at))
    lines = (e.meeting.rows, e.meeting.columns)
    spans = [Span(n, cut(0, n - 1, [held[letter]], AROUND), line.read if e.side == "large" else None, name)
             for n, line, letter, name in zip(e.result.shape[2:], lines, SIDES[e.side][2:], _names(e))]
    array = e.result[e.at[:2]]
    return View(CAPTIONS[e.name], result_label(e), "result", *spans, lambda r, c: array[r, c].item(),
                {e.at[2:]: ""})


def _planes(sheet: Sheet, e: Terms, left: float, top: float) -> float:
    """first x second = products -> sum, a row for each of the first planes."""
    for plane in range(min(PLANES, e.meeting.shape[0])):
        x, lower = left, top
        middle = top + TITLE + HEIGHT
        sheet.text(left - SIGN / 2 - 4, middle, "+" if plane else "=", 18, "middle")
        views = [_factor(e, e.first, "first", plane), _factor(e, e.second, "second", plane)]
        views += [_product(e, plane)] if e.products.size else []
        for sign, view in zip("×=→", views):
            x, bottom = draw_plane(sheet, view, x, top)
            lower = max(lower, bottom)
            if e.products.size:
                sheet.text(x + SIGN / 2 + 4, middle, sign, 18, "middle")
            x += SIGN + 8
        if e.products.size:
            sheet.text(x, middle, partial(e.partials[plane]), 14, font_weight="bold")
            sheet.text(x, middle + 14, "sum of the", 9, fill="#555555")
            sheet.text(x, middle + 25, "products", 9, fill="#555555")
        top = max(lower, middle + 25) + 22
    return top


def _im2col(sheet: Sheet, e: Terms, x: float, y: float) -> float:
    """The patch as one row of the im2col matrix, above the filter as a column."""
    if e.im2col is None or not e.products.size:
        return y
    number, row = e.im2col
    shown: list[int | None] = [*range(min(row.size, STRIP))] + [None] * (row.size > STRIP)
    letters = list(_tags(*(list(range(n)) for n in e.meeting.shape[1:])).values())
    tags = {(0, k): letters[k % len(letters)] for k in range(row.size)}
    at = e.meeting.indices()
    parts = "kb" if e.call.geometry.line else "kab"
    taps = [",".join(map(str, tap)) for tap in zip(*(at[letter].ravel().tolist() for letter in parts))]
    outside = np.flatnonzero(~np.broadcast_to(e.meeting.inside, e.meeting.shape))
    padded = frozenset((0, k) for k in outside.tolist())
    order = ",".join([depth_letter(e), *parts[1:]])
    sheet.text(x, y + 11, f"the same as a matrix product: row {number} of im2col({e.first.name}), in the "
                          f"order ({order}), times the filter", 12, font_weight="bold")
    for style, name, numbers, above, hatched in (
            ("first", e.first.name, row, taps.__getitem__, padded),
            ("second", "w", e.second.values.reshape(-1), lambda k: "", frozenset())):
        columns = Span(row.size, shown, name=above)
        view = View("", "", style, Span(1, [0], name=lambda k, name=name: name), columns,
                    lambda r, c, numbers=numbers: numbers[c].item(), tags, padded=hatched)
        _, low = draw_plane(sheet, view, x, y - 16)
        y = low - 24
    return low + 22


def _legend(sheet: Sheet, e: Terms, x: float, y: float) -> float:
    """What hatched and crossed cells are, where the picture has them."""
    drawn = "".join(sheet.parts)
    for mark, name, fill, words in ((hatch, PADDING, "#ececec", "padding, counts as 0"),
                                    (cross, UNREAD, "#ffffff", "no window covers it")):
        if f'class="{name}"' in drawn:
            sheet.rect(x, y, WIDTH * 0.6, 18, fill=fill, stroke="#b8b8b8")
            mark(sheet, x, y, WIDTH * 0.6, 18)
            x += WIDTH * 0.6 + 22 + sheet.text(x + WIDTH * 0.6 + 6, y + 13, words, 11)
    lettered = e.products[:1].size <= len(ascii_uppercase)
    words = ["cells with the same letter meet" if lettered else
             "outlined cells meet in reading order: first with first, and so on"] if e.products.size else []
    if e.side == "large" and e.products.shape[1:] != e.call.w.shape[2:]:
        words.append("taps without an outline fall between cells or outside the plane")
    sheet.text(x, y + 13, "; ".join(words), 11)
    return y + 34


def draw(e: Terms) -> str:
    """The picture as SVG text; the same explanation gives the same text."""
    sheet = Sheet()
    sheet.text(16, 26, e.call.label, 15, font_weight="bold")
    for y, equation in zip((48, 66), equations(e)):
        sheet.text(16, y, equation, 12, font_family="monospace")
    right, low = draw_plane(sheet, _result(e), 16, 88)
    top = max(_planes(sheet, e, right + SIGN + 12, 88), low + 22)
    if note(e):
        sheet.text(right + SIGN + 12, top, note(e), 12, font_style="italic")
        top += 24
    top = _im2col(sheet, e, 16, top)
    top = _legend(sheet, e, 16, top)
    sheet.text(16, top + 6, f"sum of {e.products.size} products: {addition(e)}", 12)
    sheet.text(16, top + 26, f"= {holds(e)}", 12, font_weight="bold")
    return sheet.svg(f"{result_label(e)} of {e.call.label}", as_text(e))
