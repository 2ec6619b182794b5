"""A layout by Graphviz, with the titles of frames moved to where no edge runs through them.

Graphviz leads edges around boxes, but into a frame across its title, which it keeps at one place. Its layout is
text (`-Tdot`), in which a title can be moved before the picture is made of it (`-Knop2`).
"""
import re
from collections.abc import Iterator

from .style import LINE, text_width

STRING = r'"(?:[^"\\]|\\.)*"'
ATTRIBUTES = rf"\[(?:{STRING}|[^\]\"])*\]"
FRAME = re.compile(rf'(subgraph cluster\w* \{{\s+graph )({ATTRIBUTES})', re.DOTALL)
EDGE = re.compile(rf"^\s*\w+ -> \w+\s*({ATTRIBUTES})", re.MULTILINE | re.DOTALL)
PIECES, SIDE, GAP = 8, 8.0, 3.0  # straight pieces of a curve; points left of a title, and beside an edge
Interval = tuple[float, float]


def move_titles(layout: str) -> str:
    """A layout in DOT with each frame's title in the leftmost gap between the edges that is wide enough.

    Where there is none, or the text is no layout, nothing changes.
    """
    pieces = [piece for edge in EDGE.finditer(layout) for piece in _pieces(_value(edge[1], "pos"))]
    return FRAME.sub(lambda frame: frame[1] + _moved(frame[2], pieces), layout)


def _value(attributes: str, name: str) -> str:
    """The value of an attribute as it is written, without quotes and broken lines; "" if it has none."""
    found = re.search(rf"[\[\s]{name}=({STRING}|[^\s,\]]+)", attributes, re.DOTALL)
    return found[1].strip('"').replace("\\\n", "") if found else ""


def _points(text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, pair.split(",")[-2:])) for pair in text.split()]


def _pieces(pos: str) -> Iterator[tuple[Interval, Interval]]:
    """An edge as short straight lines, each from low to high: ((y, x), (y, x))."""
    for spline in pos.split(";"):
        ends = re.findall(r"[se],\S+", spline)
        curve = _points(re.sub(r"[se],\S+", "", spline))
        line = curve[:1]
        for i in range(0, len(curve) - 3, 3):
            for t in (n / PIECES for n in range(1, PIECES + 1)):
                weights = (1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t ** 2, t ** 3
                line.append(tuple(sum(w * p[axis] for w, p in zip(weights, curve[i:])) for axis in (0, 1)))
        for end in ends:  # the arrowhead
            line = [*_points(end), *line] if end[0] == "s" else [*line, *_points(end)]
        for (x, y), (x2, y2) in zip(line, line[1:]):
            yield tuple(sorted([(y, x), (y2, x2)]))


def _moved(attributes: str, pieces: list[tuple[Interval, Interval]]) -> str:
    bounds, place, label = (_value(attributes, name) for name in ("bb", "lp", "label"))
    if not (bounds and place and label):
        return attributes
    (left, _), (right, top) = (tuple(map(float, bounds.split(",")[i:i + 2])) for i in (0, 2))
    x, y = map(float, place.split(","))
    low, high = y - LINE / 2, min(top, y + LINE / 2)
    wide = text_width(re.sub(r"\\l$", "", label).rstrip().replace("&amp;", "&"))
    gap = _gap(left, right, wide, sorted(_crossings(pieces, low, high)))
    return attributes.replace(place, f"{x + gap - left - SIDE:.2f},{y:.2f}", 1) if gap else attributes


def _crossings(pieces: list[tuple[Interval, Interval]], low: float, high: float) -> Iterator[Interval]:
    """The stretches, from left to right, in which edges run between two heights."""
    for (y, x), (y2, x2) in pieces:
        if y < high and y2 > low:
            slope = (x2 - x) / (y2 - y) if y2 > y else 0.0
            at = [x + slope * (max(low, y) - y), x2 - slope * (y2 - min(high, y2))]
            yield min(at) - GAP, max(at) + GAP


def _gap(left: float, right: float, wide: float, taken: list[Interval]) -> float | None:
    """Where a title of this width begins; None if there is no room for it."""
    start = left + SIDE
    for begin, end in taken:
        if begin >= start + wide:
            break
        start = max(start, end)
    return start if start + wide <= right - SIDE / 2 else None
