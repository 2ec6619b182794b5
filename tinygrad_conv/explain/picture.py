"""An explanation as a picture (SVG): the number asked for, and the planes that meet, one row per channel.

Left to right it reads as the equation does: result = input x weight = products, summed. Cells with the
same letter meet. Line and texture, not colour alone, tell what a cell is: thickly outlined cells meet,
hatched ones are padding, crossed ones no window covers. Large planes are cut to the part of interest.
"""
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import accumulate, cycle, groupby, product
from operator import itemgetter
from string import ascii_uppercase
from typing import Any

import numpy as np

from ..draw.style import PAINTS
from .terms import SIDES, Factor, Terms
from .text import (
    PLANES, addition, as_text, equations, holds, note, partial, plane_label, result_label,
    short,
)

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
PATTERNS = """<defs>
<pattern id="padding-cell" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect width="5" height="5" fill="#ececec"/><path d="M2.5 0V5" stroke="#b0b0b0" stroke-width="0.8"/></pattern>
<pattern id="unread-cell" width="1" height="1" viewBox="0 0 10 10" preserveAspectRatio="none">
<path d="M0 0L10 10M10 0L0 10" stroke="#c4c4c4" stroke-width="0.25"/></pattern>
</defs>"""
MARKS = {"padding": "padding, counts as 0", "unread": "no window covers it"}  # classes of marked cells


def _attributes(values: dict[str, Any]) -> str:
    return "".join(f' {key.replace("_", "-")}="{escape(str(v))}"' for key, v in values.items())


def _at(v: float) -> str:
    """A coordinate, in tenths."""
    return f"{round(v, 1):g}"


def _grouped(kind: str, style: str, elements: list[str]) -> str:
    """Elements of one style, written once; rectangles without a mark are one path."""
    inner = "".join(elements)
    return f'<path{style} d="{inner}"/>' if kind == "path" else f"<g{style}>{inner}</g>"


class Sheet:
    """Elements in drawing order, and how far they reach to the right and down.

    Those of one style that follow one another are written as one.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[str, str, str]] = []  # kind, style, element
        self.marks: set[str] = set()
        self.right = self.bottom = 0.0

    def _reach(self, right: float, bottom: float) -> None:
        self.right, self.bottom = max(self.right, right), max(self.bottom, bottom)

    def rect(self, x: float, y: float, width: float, height: float, mark: str = "", **style: Any) -> None:
        """A rectangle; one with a mark has it as its class."""
        self._reach(x + width, y + height)
        self.marks.add(mark)
        left, top, w, h = map(_at, (x, y, width, height))
        element = (f'<rect class="{mark}" x="{left}" y="{top}" width="{w}" height="{h}"/>' if mark else
                   f"M{left} {top}h{w}v{h}h-{w}z")
        self.parts.append(("rect" if mark else "path", _attributes(style), element))

    def text(self, x: float, y: float, text: str, size: float = 12, anchor: str = "start",
             **style: Any) -> float:
        """A line of text with its baseline at y; returns about how wide it is."""
        width = (0.61 if style.get("font_family") == "monospace" else 0.56) * size * len(text)
        self._reach(x + width * {"start": 1.0, "middle": 0.5, "end": 0.0}[anchor], y + 0.3 * size)
        self.parts.append(("text", _attributes({"font_size": size, "text_anchor": anchor} | style),
                           f'<text x="{_at(x)}" y="{_at(y)}">{escape(text, quote=False)}</text>'))
        return width

    def svg(self, title: str, description: str, margin: float = 14) -> str:
        """The document: white, with a title and a description for screen readers."""
        width, height = (round(n + margin) for n in (self.right, self.bottom))
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img"{_attributes({"font_family": FONT})}>',
            f"<title>{escape(title, quote=False)}</title>",
            f"<desc>{escape(description, quote=False)}</desc>",
            PATTERNS, f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *(_grouped(*key, [element for *_, element in parts])
              for key, parts in groupby(self.parts, key=itemgetter(0, 1))), "</svg>", ""])


# ----- one plane of an array as a grid of numbers -----

WIDTH, HEIGHT, SMALL, DOTS = 44, 32, 13, 16  # of a cell; of one without numbers; of a gap
FITS = 11                                    # so many cells are shown with numbers
ROOMS = (PLANES, 26), (2, 26), (1, 26), (1, 18), (1, FITS)  # planes, and cells without numbers:
LIMIT = 85_000                               # the first that is written in so many characters
AROUND = 7                                   # so many of a plane that does not fit, if few meet
COLOURS = {  # fill and line of cells that meet
    **{name: (paint.fill, paint.line) for name, paint in PAINTS.items()},
    "product": ("#fbf8d8", "#6b6000"), "result": ("#f7efa6", "#000000")}
TONES = {"fill": "#666666"}, {"fill": "#000000", "font_weight": "bold"}  # of numbers; of those that meet
FEW = {"kernel": 4}                          # a weight sees whole planes: cut around so many rows and columns
Tags = dict[tuple[int, int], str]
TITLE = 46                                   # height of what stands above the cells


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
    """A plane of `numbers` to draw; `hits` are outlined, with a letter."""

    caption: str
    label: str
    style: str
    spans: tuple[Span, Span]  # rows and columns
    numbers: np.ndarray
    hits: Tags
    small: bool = False
    window: bool = False  # draw a dashed frame around all that is hit
    padded: frozenset[tuple[int, int]] = frozenset()  # cells that are padding though in range


def _places(span: Span, start: float, step: float) -> tuple[list[tuple[int | None, float, float]], float]:
    """Each position or gap with its start and its length; and the end."""
    lengths = [DOTS if k is None else step for k in span.shown]
    *starts, end = accumulate(lengths, initial=start)
    return list(zip(span.shown, starts, lengths)), end


def draw_plane(sheet: Sheet, view: View, x: float, y: float) -> tuple[float, float]:
    """Draw with the caption's top left at (x, y); the right and the lower end."""
    sheet.text(x, y + 11, view.caption, 12, font_weight="bold")
    sheet.text(x, y + 26, view.label, 11, font_family="monospace")
    left, top = x + 20, y + TITLE
    down, bottom = _places(view.spans[0], top, SMALL if view.small else HEIGHT)
    across, right = _places(view.spans[1], left, SMALL if view.small else WIDTH)
    for k, start, length in across:
        _number(sheet, view, 1, k, start + length / 2, top - 6, "middle")
    for k, start, length in down:
        _number(sheet, view, 0, k, left - 6, start + length / 2 + 3, "end")
    boxes = {(row, column): (x, y, width, height) for row, y, height in down
             for column, x, width in across if None not in (row, column)}
    _cells(sheet, view, boxes)
    if view.window:
        met = [boxes[cell] for cell in view.hits if cell in boxes]
        (x, y, _, _), (last_x, last_y, width, height) = min(met), max(met)
        sheet.rect(x - 3, y - 3, last_x - x + width + 6, last_y - y + height + 6, fill="none",
                   stroke=COLOURS[view.style][1], stroke_width=1.2, stroke_dasharray="5 3")
    return max(right, left - 20 + 7 * len(view.caption)), bottom


def _number(sheet: Sheet, view: View, axis: int, k: int | None, x: float, y: float, anchor: str) -> None:
    """A row or column number, bold if cells of it meet; every fifth on small cells; dots for a gap."""
    if k is None:
        sheet.text(x, y, "⋮…"[axis], 14, anchor, fill="#555555")
    elif k % (5 if view.small else 1) == 0:
        sheet.text(x, y, view.spans[axis].name(k), 9, anchor,
                   **TONES[any(k == hit[axis] for hit in view.hits)])


def _cells(sheet: Sheet, view: View, boxes: dict[tuple[int, int], tuple[float, float, float, float]]) -> None:
    """Padding is hatched, cells that no window covers are crossed out; those that meet lie on top."""
    colours, hit = {True: COLOURS[view.style], False: ("#ffffff", "#b8b8b8")}, view.hits.__contains__
    real = {cell for cell in boxes if cell not in view.padded and all(
        0 <= p < span.size for p, span in zip(cell, view.spans))}
    ordered = sorted(boxes, key=hit)
    for cell in ordered:
        fill, line = colours[hit(cell)]
        sheet.rect(*boxes[cell], fill=fill, stroke=line, stroke_width=0.8)
    for cell in ordered:
        read = all(span.read is None or p in span.read for p, span in zip(cell, view.spans))
        if cell not in real or not read:
            _mark(sheet, *boxes[cell], "unread" if cell in real else "padding", colours[hit(cell)][1])
    line = colours[True][1]
    for cell in filter(hit, boxes):
        x, y, width, height = boxes[cell]
        sheet.rect(x + 1.2, y + 1.2, width - 2.4, height - 2.4, fill="none", stroke=line, stroke_width=2.4)
    for cell in filter(view.hits.get, boxes):
        x, y, *_ = boxes[cell]
        sheet.text(x + 4, y + 10, view.hits[cell], 7.5, font_weight="bold", fill=line)
    for cell in ordered if not view.small else ():
        if cell in real or hit(cell):
            x, y, width, height = boxes[cell]
            number = short(view.numbers[cell].item()) if cell in real else "0"
            sheet.text(x + width / 2, y + height / 2 + 6, number, 10, "middle", **TONES[hit(cell)])


def _mark(sheet: Sheet, x: float, y: float, width: float, height: float, mark: str, line: str) -> None:
    sheet.rect(x, y, width, height, mark, fill=f"url(#{mark}-cell)", stroke=line, stroke_width=0.8)


# ----- the whole picture -----

CAPTIONS = {"x": "input", "w": "weight", "y": "output", "g": "gradient at y", "dx": "gradient of x",
            "dw": "gradient of w"}
SIGN = 24   # width of a "=" between two planes
STRIP = 20  # numbers of an im2col row


def _tags(rows: Iterable[int], columns: Iterable[int]) -> Tags:
    """A letter for each cell that meets, in reading order, while the alphabet lasts."""
    cells = list(product(rows, columns))
    letters = ascii_uppercase if len(cells) <= len(ascii_uppercase) else [""] * len(cells)
    return dict(zip(cells, letters))


def _fits(e: Terms, hits: Iterable[Sequence[int]], room: int) -> int:
    """How many cells of an axis are shown: `room`, without numbers, if what meets needs it and then fits."""
    small = e.side != "kernel" and any(at and FITS < max(at) - min(at) + 1 <= ROOMS[0][1] for at in hits)
    return room if small else FITS


def _spans(e: Terms, side: str, hits: Iterable[list[int]], fits: int) -> tuple[Span, ...]:
    """The axes of a plane on `side`, cut around the hits; a factor is shown with its padding."""
    geometry, spans = e.call.geometry, []
    names = ("".format if geometry.line else str, str)  # a line has no rows
    sizes = {"small": geometry.out, "kernel": geometry.kernel, "large": geometry.size}[side]
    for line, size, sides, at, name in zip(
            (e.meeting.rows, e.meeting.columns), sizes, geometry.padding, hits, names):
        before, after = (max(0, p) if side == "large" != e.side else 0 for p in sides)
        shown = cut(-before, size + after - 1, at[:FEW.get(e.side)], fits)
        spans.append(Span(size, shown, line.read if side == "large" else None, name))
    return tuple(spans)


def _factor(e: Terms, factor: Factor, plane: int, room: int) -> View:
    hits, caption = e.positions(factor), CAPTIONS[factor.name]
    fits = _fits(e, hits, room)
    spans = _spans(e, factor.side, hits, fits)
    if e.side == "large" and factor.side == "kernel":
        spans = tuple(replace(s, shown=s.shown[::-1]) for s in spans)
        caption += ", turned by 180°" if max(s.size for s in spans) > 1 else ""
    at = e.meeting.plane(plane)
    numbers = factor.array[tuple(at[letter] for letter in SIDES[factor.side][:2])]
    label = plane_label(e, factor.name, factor.side, plane)
    return View(caption, label, factor.name, spans, numbers, _tags(*hits), fits > FITS,
                window=e.side == "small" and factor.side == "large")


def _product(e: Terms, plane: int, room: int) -> View:
    hits = [range(n) for n in e.meeting.shape[1:]]
    fits = _fits(e, hits, room)
    spans = tuple(Span(len(at), cut(0, len(at) - 1, at[:FEW.get(e.side)], fits), name="".format)
                  for at in hits)
    return View("products", "", "product", spans, e.products[plane], _tags(*hits), fits > FITS)


def _result(e: Terms) -> View:
    spans = _spans(e, e.side, [[k] for k in e.at[2:]], AROUND)
    return View(CAPTIONS[e.name], result_label(e), "result", spans, e.result[e.at[:2]], {e.at[2:]: ""})


def _planes(sheet: Sheet, e: Terms, left: float, top: float, count: int, room: int) -> float:
    """first x second = products -> sum, a row for each of `count` planes, those with the largest sums."""
    for row, plane in enumerate(e.largest[:count]):
        x, lower = left, top
        middle = top + TITLE + HEIGHT
        sheet.text(left - SIGN / 2 - 4, middle, "+" if row else "=", 18, "middle")
        views = (_factor(e, e.first, plane, room), _factor(e, e.second, plane, room),
                 _product(e, plane, room))
        for sign, view in zip("×=→", views):
            x, bottom = draw_plane(sheet, view, x, top)
            lower = max(lower, bottom)
            sheet.text(x + SIGN / 2 + 4, middle, sign, 18, "middle")
            x += SIGN + 8
        sheet.text(x, middle, partial(e.partials[plane]), 14, font_weight="bold")
        sheet.text(x, middle + 14, "sum of products", 9, fill="#555555")
        top = max(lower, middle + 14) + 22
    return top


def _im2col(sheet: Sheet, e: Terms, x: float, y: float) -> float:
    """The patch as one row of the im2col matrix, above the filter as a column."""
    if e.im2col is None:
        return y
    number, row = e.im2col
    at, letters = e.meeting.indices(), "kb" if e.call.geometry.line else "kab"
    taps = [",".join(map(str, tap)) for tap in zip(*(at[letter].ravel().tolist() for letter in letters))]
    tags = _tags(*map(range, e.meeting.shape[1:])).values()
    hits = {(0, k): tag for k, tag in zip(range(row.size), cycle(tags))}
    padded = frozenset((0, k) for k in np.flatnonzero(
        ~np.broadcast_to(e.meeting.inside, e.meeting.shape)).tolist())
    sheet.text(x, y + 11, f"the same as a matrix product: row {number} of im2col({e.first.name}), in the "
                          f"order ({','.join([e.letters['k'], *letters[1:]])}), times the filter", 12,
               font_weight="bold")
    shown = cut(0, row.size - 1, range(STRIP), STRIP)
    for name, numbers, above, hatched in (
            (e.first.name, row, taps.__getitem__, padded),
            (e.second.name, e.second.values.reshape(-1), "".format, frozenset())):
        spans = Span(1, [0], name=name.format), Span(row.size, shown, name=above)
        view = View("", "", name, spans, numbers[None], hits, padded=hatched)
        y = draw_plane(sheet, view, x, y - 16)[1] - 16
    return y + 38


def _legend(sheet: Sheet, e: Terms, x: float, y: float) -> float:
    """What hatched and crossed cells are, where the picture has them."""
    for mark, words in MARKS.items():
        if mark in sheet.marks:
            _mark(sheet, x, y, WIDTH * 0.6, 18, mark, "#b8b8b8")
            x += WIDTH * 0.6 + 22 + sheet.text(x + WIDTH * 0.6 + 6, y + 13, words, 11)
    lettered = e.products[:1].size <= len(ascii_uppercase)
    words = ["cells with the same letter meet" if lettered else
             "outlined cells meet in reading order: first with first, and so on"] if e.products.size else []
    if e.side == "large" and e.products.shape[1:] != e.call.geometry.kernel:
        words.append("taps without an outline fall between cells or outside the plane")
    sheet.text(x, y + 13, "; ".join(words), 11)
    return y + 34


def draw(e: Terms) -> str:
    """The picture as SVG text, as much as `LIMIT` has room for; the same explanation gives the same text."""
    for planes, cells in ROOMS:
        svg = _drawn(e, planes, cells)
        if len(svg) <= LIMIT:
            break
    return svg


def _drawn(e: Terms, planes: int, cells: int) -> str:
    sheet = Sheet()
    sheet.text(16, 26, e.call.label, 15, font_weight="bold")
    for y, equation in zip((48, 66), equations(e)):
        sheet.text(16, y, equation, 12, font_family="monospace")
    right, low = draw_plane(sheet, _result(e), 16, 88)
    top = max(_planes(sheet, e, right + SIGN + 12, 88, planes, cells), low + 22)
    if note(e, planes):
        sheet.text(right + SIGN + 12, top, note(e, planes), 12, font_style="italic")
        top += 24
    top = _legend(sheet, e, 16, _im2col(sheet, e, 16, top))
    sheet.text(16, top + 6, f"sum of {e.products.size} products: {addition(e)}", 12)
    sheet.text(16, top + 26, f"= {holds(e)}", 12, font_weight="bold")
    return sheet.svg(f"{result_label(e)} of {e.call.label}", as_text(e))
