"""One plane of an array drawn as a grid of numbers, with the cells that meet outlined.

Line and texture, not colour alone, tell what a cell is: thickly outlined cells meet, hatched ones are
padding, crossed ones no window covers. Large planes are cut to the part of interest.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .svg import Sheet
from .text import short

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
    for gap in gaps_across:
        sheet.text(gap + DOTS / 2, (top + bottom) / 2, "…", 14, "middle", fill="#555555")
    for gap in gaps_down:
        sheet.text((left + right) / 2, gap + DOTS / 2 + 4, "⋮", 14, "middle", fill="#555555")
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
    for c, place in across.items():
        if c % every == 0:
            sheet.text(place + cell[0] / 2, top - 6, view.columns.name(c), 9, "middle",
                       **_weight(any(c == hit for _, hit in view.hits)))
    for r, place in down.items():
        if r % every == 0:
            sheet.text(left - 6, place + cell[1] / 2 + 3, view.rows.name(r), 9, "end",
                       **_weight(any(r == hit for hit, _ in view.hits)))


def _weight(bold: bool) -> dict[str, str]:
    return {"font_weight": "bold", "fill": "#000000"} if bold else {"fill": "#666666"}


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
