"""A layout by Graphviz mended: titles of frames where no edge runs through them, even margins.

Graphviz leads edges around boxes, but into a frame across its title, which it keeps at one place; and it
leaves room for the points that bend a curve, which may lie far from it. A layout is text (`-Tdot`), in which
both are mended before a picture is made of it (`-Knop2`).
"""
import re
from collections.abc import Iterator

from .style import LINE, text_width

STRING = r'"(?:[^"\\]|\\.)*"'
INSIDE = rf'(?:{STRING}|[^\]"])*'  # of the brackets around attributes
FRAME = re.compile(rf"(subgraph cluster\w* \{{\s+graph )(\[{INSIDE}\])", re.DOTALL)
HIDDEN = re.compile(rf"^\s*\w+ -> \w+\s*\[{INSIDE}style=invis{INSIDE}\];\n", re.MULTILINE | re.DOTALL)
CURVES = re.compile(r'(?<=\bpos=")[^"]* [^"]*(?=")')  # of an edge; of a node it is one point
SIDE, GAP = 8.0, 3.0  # points left of a title, and beside an edge
NEAR = 40.0           # points from the border at which a curve may be what makes it wide
Point = tuple[float, ...]


def mended(layout: str) -> str:
    """A layout in DOT with each frame's title in the leftmost gap between edges that is wide enough.

    Where there is none, or the text is no layout, nothing changes. Curves at the border are written in
    pieces, whose points are close to them.
    """
    numbers = [float(n) for n in _value(layout, "bb").split(",") if n]
    if len(numbers) != 4:
        return layout
    inner = [side + off for side, off in zip(numbers, (NEAR, NEAR, -NEAR, -NEAR))]
    layout = HIDDEN.sub("", layout)  # it has done its work, and would count for the margins
    layout = CURVES.sub(lambda found: _in_pieces(found[0].replace("\\\n", ""), inner), layout)
    lines = [line for found in CURVES.finditer(layout) for line in _lines(found[0])]
    return FRAME.sub(lambda frame: frame[1] + _moved(frame[2], lines), layout)


def _value(attributes: str, name: str) -> str:
    """The value of an attribute as it is written, without quotes and broken lines; "" if it has none."""
    found = re.search(rf"[\[\s]{name}=({STRING}|[^\s,\]]+)", attributes, re.DOTALL)
    return found[1].strip('"').replace("\\\n", "") if found else ""


def _points(words: list[str]) -> list[Point]:
    return [tuple(map(float, word.split(",")[-2:])) for word in words]


def _halves(curve: list[Point]) -> list[Point]:
    """The same curve as twice as many pieces, of three points each after the first (de Casteljau)."""
    def middle(a: Point, b: Point) -> Point:
        return (a[0] + b[0]) / 2, (a[1] + b[1]) / 2
    halves = curve[:1]
    for a, b, c, d in zip(curve[::3], curve[1::3], curve[2::3], curve[3::3]):
        ab, bc, cd = middle(a, b), middle(b, c), middle(c, d)
        left, right = middle(ab, bc), middle(bc, cd)
        halves += [ab, left, middle(left, right), right, cd, d]
    return halves


def _read(pos: str) -> tuple[list[str], list[Point]]:
    """An edge's curve: the ends of its arrowheads as they are written, and its points.

    Of a level edge into a frame Graphviz writes two curves, the second the first's mirror image.
    """
    words = pos.split(";")[0].split()
    ends = [word for word in words if word[0] in "se"]
    return ends, _points(words[len(ends):])  # they come first


def _in_pieces(pos: str, inner: list[float]) -> str:
    """An edge's curve, in pieces if it reaches out of a rectangle."""
    ends, curve = _read(pos)
    if any(x < inner[0] or y < inner[1] or x > inner[2] or y > inner[3] for x, y in curve):
        curve = _halves(_halves(_halves(curve)))
    return " ".join([*ends, *(f"{x:.2f},{y:.2f}" for x, y in curve)])


def _lines(pos: str) -> Iterator[tuple[Point, Point]]:
    """An edge as short straight lines with its arrowheads, each from low to high: (y, x), (y, x)."""
    ends, curve = _read(pos)
    line = _halves(_halves(_halves(curve)))[::3]
    for end in ends:
        line = [*_points([end]), *line] if end[0] == "s" else [*line, *_points([end])]
    for (x, y), (x2, y2) in zip(line, line[1:]):
        yield min((y, x), (y2, x2)), max((y, x), (y2, x2))


def _moved(attributes: str, lines: list[tuple[Point, Point]]) -> str:
    """The attributes of a frame with another place for its label, if there is a better one."""
    border, place, label = (_value(attributes, name) for name in ("bb", "lp", "label"))
    if not (border and place and label):
        return attributes
    left, _, right, top = map(float, border.split(","))
    x, y = map(float, place.split(","))
    wide = text_width(label.removesuffix(r"\l").rstrip())
    start = left + SIDE
    for begin, end in sorted(_crossings(lines, y - LINE / 2, min(top, y + LINE / 2))):
        if begin >= start + wide:
            break
        start = max(start, end)
    if start + wide > right - SIDE / 2:
        return attributes
    return attributes.replace(f'"{place}"', f'"{x + start - left - SIDE:.2f},{y:.2f}"', 1)


def _crossings(lines: list[tuple[Point, Point]], low: float, high: float) -> Iterator[Point]:
    """The stretches in which edges run between two heights."""
    for (y, x), (y2, x2) in lines:
        if y < high and y2 > low:
            slope = (x2 - x) / (y2 - y) if y2 > y else 0.0
            ends = x + slope * max(0.0, low - y), x2 - slope * max(0.0, y2 - high)
            yield min(ends) - GAP, max(ends) + GAP
