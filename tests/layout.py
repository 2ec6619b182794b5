"""What is wrong with the layout of an SVG of Graphviz's: texts over texts, edges through boxes, margins cut.

Texts are measured in Helvetica, which viewers with Arial or Liberation Sans share, and in DejaVu Sans, the
widest of those that stand in for it; a picture is right if it is so in both.
"""
from __future__ import annotations

import functools
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.font_manager import get_font

MPL = Path(matplotlib.get_data_path()) / "fonts"
ASCENT, DESCENT = 0.75, 0.22  # of the size; what letters reach, in both fonts
STEPS = 12                    # straight pieces that a curve is cut into
TOUCH = 0.75                  # points that may overlap: a line's own width
EVEN = 6.0                    # points by which one margin may be wider than another

Box = tuple[float, float, float, float]  # left, top, right, bottom


@functools.cache
def helvetica() -> dict[int, float]:
    afm = (MPL / "pdfcorefonts" / "Helvetica.afm").read_text()
    return {int(code): int(width) / 1000 for code, width in re.findall(r"^C (\d+) ; WX (\d+)", afm, re.M)}


@functools.cache
def width_of(text: str, font: str) -> float:
    """In ems."""
    text = text.replace("\xa0", " ")
    if font == "Helvetica":
        return sum(helvetica().get(ord(c), 0.6 if ord(c) < 0x2000 else 1.0) for c in text)
    dejavu = get_font(str(MPL / "ttf" / "DejaVuSans.ttf"))
    dejavu.set_size(100, 72)
    dejavu.set_text(text)
    return dejavu.get_width_height()[0] / 64 / 100


@dataclass
class Shape:
    """A node, a frame, or an edge: its outline, or its lines, arrowheads and texts."""

    name: str
    outlines: list[np.ndarray] = field(default_factory=list)  # of points; of an ellipse, its box
    round: bool = False
    texts: list[tuple[str, Box]] = field(default_factory=list)
    heads: list[np.ndarray] = field(default_factory=list)

    @functools.cached_property
    def box(self) -> Box:
        return around(np.concatenate(self.outlines))


def around(points: np.ndarray) -> Box:
    return (*points.min(0), *points.max(0))


def under(box: Box, others: np.ndarray) -> np.ndarray:
    """Which of the others a box lies on."""
    low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
    return np.flatnonzero(((high - low) > TOUCH).all(1))


def inside(a: Box, b: Box, by: float = TOUCH) -> bool:
    return a[0] >= b[0] - by and a[1] >= b[1] - by and a[2] <= b[2] + by and a[3] <= b[3] + by


def flat(d: str) -> np.ndarray:
    """The points of a path of M, C and L."""
    points: list[np.ndarray] = []
    for letter, numbers in re.findall(r"([MCL])([^MCLZz]*)", d):
        given = np.array(re.findall(r"-?[\d.]+(?:e-?\d+)?", numbers), float).reshape(-1, 2)
        if letter == "C":
            t = np.linspace(0, 1, STEPS + 1)[1:, None]
            for a, b, c in given.reshape(-1, 3, 2):
                o = points[-1][-1]
                points.append((1 - t) ** 3 * o + 3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t ** 2 * b + t ** 3 * c)
        else:
            points.append(given)
    return np.concatenate(points)


def read(svg: bytes, font: str) -> tuple[Box, dict[str, list[Shape]]]:
    """The picture's border, and what is drawn, by class: node, cluster, edge."""
    root = ET.fromstring(svg)
    left, top, wide, high = map(float, root.get("viewBox").split())
    main = next(g for g in root if g.get("class") == "graph")
    dx, dy = map(float, re.search(r"translate\(([-\d.]+)[ ,]([-\d.]+)\)", main.get("transform")).groups())
    scale = float(re.search(r"scale\(([\d.]+)", main.get("transform")).group(1))
    found: dict[str, list[Shape]] = {"node": [], "cluster": [], "edge": []}
    for group in main:
        if group.get("class") not in found:
            continue
        shape = Shape("".join(next(iter(group)).itertext()))
        for part in group.iter():
            tag = part.tag.split("}")[1]
            if tag == "text":
                size, said = float(part.get("font-size")), "".join(part.itertext()).rstrip("\xa0 ")
                w, x, y = width_of(said, font) * size, float(part.get("x")), float(part.get("y"))
                x -= {"middle": w / 2, "end": w}.get(part.get("text-anchor"), 0)
                if said:
                    shape.texts.append((said, (x, y - ASCENT * size, x + w, y + DESCENT * size)))
            elif tag == "ellipse":
                cx, cy, rx, ry = (float(part.get(k)) for k in ("cx", "cy", "rx", "ry"))
                shape.outlines.append(np.array([[cx - rx, cy - ry], [cx + rx, cy + ry]]))
                shape.round = True
            elif tag in ("polygon", "polyline"):
                points = np.array([p.split(",") for p in part.get("points").split()], float)
                (shape.heads if group.get("class") == "edge" else shape.outlines).append(points)
            elif tag == "path":
                shape.outlines.append(flat(part.get("d")))
        if shape.outlines or shape.texts:
            found[group.get("class")].append(shape)
    return (left / scale - dx, top / scale - dy, (left + wide) / scale - dx, (top + high) / scale - dy), found


def holds(shape: Shape, box: Box) -> bool:
    """Whether the first outline, the innermost, goes around a text."""
    outline = shape.outlines[0]
    left, top, right, bottom = around(outline)
    if shape.round:
        centre, radius = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) / 2
        return all((((np.array(p) - centre) / radius) ** 2).sum() <= 1.04
                   for p in ((box[0], box[1]), (box[2], box[3])))
    if len(outline) > 12 or len(outline) == 5 and len({*outline[:, 0]}) == 2:  # rounded, or a rectangle
        return inside(box, (left, top, right, bottom))
    a, b = outline, np.roll(outline, -1, 0)
    for x, y in ((box[0], box[1]), (box[2], box[1]), (box[0], box[3]), (box[2], box[3])):
        crosses = (a[:, 1] > y) != (b[:, 1] > y)
        at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / np.where(b[:, 1] == a[:, 1], 1, b[:, 1] - a[:, 1])
        if (crosses & (at > x)).sum() % 2 == 0:
            return False
    return True


def hit(path: np.ndarray, boxes: np.ndarray, by: float = TOUCH) -> np.ndarray:
    """Which of some boxes a line of points goes through: each piece is clipped to each box."""
    found = np.zeros(len(boxes), bool)
    near = np.flatnonzero((boxes[:, :2] < path.max(0)).all(1) & (boxes[:, 2:] > path.min(0)).all(1))
    low, high = boxes[None, near, :2] + by, boxes[None, near, 2:] - by
    start, step = path[:-1, None], np.diff(path, axis=0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        one, two = (low - start) / step, (high - start) / step
        enter, leave = np.fmin(one, two), np.fmax(one, two)
    still = step == 0
    within = (start >= low) & (start <= high)
    enter = np.where(still, np.where(within, 0, np.inf), enter)
    leave = np.where(still, np.where(within, 1, -np.inf), leave)
    found[near] = (np.maximum(enter.max(2), 0) < np.minimum(leave.min(2), 1)).any(0)
    return found


def faults(svg: bytes, font: str = "Helvetica") -> dict[str, list[str]]:
    """By kind of fault, where it is; without faults an empty dictionary."""
    border, found = read(svg, font)
    nodes, clusters, edges = found["node"], found["cluster"], found["edge"]
    bad: list[tuple[str, str]] = []
    solid = [node for node in nodes if node.outlines]
    outlines, frames = (np.array([s.box for s in shapes]).reshape(-1, 4) for shapes in (solid, clusters))
    texts = [(shape, said, box) for shape in (*nodes, *clusters, *edges) for said, box in shape.texts]
    boxes = np.array([box for *_, box in texts]).reshape(-1, 4)
    for i, (_, said, box) in enumerate(texts):  # each other text it lies on
        bad += [("text over text", f"{said} / {texts[i + 1 + j][1]}") for j in under(box, boxes[i + 1:])]
    bad += [("text leaves its box", said) for node in nodes for said, box in node.texts
            if node.outlines and node.name != "legend" and not holds(node, box)]  # whose cells grow with it
    for frame in clusters:
        for said, box in frame.texts:
            bad += [("title leaves its frame", said)] * (not inside(box, frame.box))
            bad += [("title over a box", f"{said} / {solid[j].name}") for j in under(box, outlines)]
            bad += [("title over a frame", f"{said} / {clusters[j].name}") for j in under(box, frames)
                    if clusters[j] is not frame and not inside(frame.box, clusters[j].box)]
    titles = {id(frame) for frame in clusters}
    for edge in edges:
        if not edge.outlines:
            continue
        ends = re.split(r"->|--", edge.name)
        ends = [end.split(":")[0] for end in ends]
        path = edge.outlines[0]
        through = hit(path, boxes) if len(boxes) else []
        for j in np.flatnonzero(through):
            shape, said, _ = texts[j]
            if shape is not edge:
                bad.append(("edge through a title" if id(shape) in titles else "edge through text",
                            f"{edge.name} / {said}"))
        bad += [("edge through a box", f"{edge.name} / {solid[j].name}")
                for j in np.flatnonzero(hit(path, outlines, 1.5)) if solid[j].name not in ends]
        for head in map(around, edge.heads):
            bad += [("arrowhead over text", f"{edge.name} / {texts[j][1]}") for j in under(head, boxes)]
    everything = [s.box for s in (*nodes, *clusters, *edges) if s.outlines] + [box for *_, box in texts]
    extent = (*np.array(everything)[:, :2].min(0), *np.array(everything)[:, 2:].max(0))
    margins = extent[0] - border[0], extent[1] - border[1], border[2] - extent[2], border[3] - extent[3]
    shown = ", ".join(f"{m:.1f}" for m in margins)
    bad += [("cut at the margin", shown)] * bool(min(margins) < 0)
    bad += [("uneven margins", shown)] * bool(max(margins) - min(margins) > EVEN)
    kinds: dict[str, list[str]] = {}
    for kind, where in bad:
        kinds.setdefault(kind, []).append(where)
    return kinds
