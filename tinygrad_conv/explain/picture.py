"""An explanation as a picture: the number asked for, and the planes that meet, one row per channel.

Left to right it reads as the equation does: result = input x weight = products, summed. Cells with
the same letter meet. Imports terms, formula, text, grid and svg.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from string import ascii_uppercase

import numpy as np

from .formula import depth_letter, general, plane_label, result_label, with_numbers
from .grid import (
    AROUND, FITS, FITS_SMALL, HEIGHT, PADDING, TITLE, UNREAD, WIDTH, Span, Tags, View, cross, cut,
    draw_plane, hatch,
)
from .meet import Line
from .svg import Sheet
from .terms import SIDES, Factor, Terms
from .text import PLANES, addition, as_text, holds, note, partial

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
    for y, line in ((48, general(e)), (66, with_numbers(e))):
        sheet.text(16, y, line, 12, font_family="monospace")
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
