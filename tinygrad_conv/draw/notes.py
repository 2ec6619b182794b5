"""What the figures of a drawing say: lines of text and marks on its boxes, and a legend.

The last step before rendering, after modules were collapsed. May import graph and annotate.
"""
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from .annotate import FAR, LAST
from .graph import Box, Graph, total

TIMES = re.compile(r"  x\d+$")  # how the title of repeated modules ends (graph.py)
HOT = 3       # at most so many boxes are marked as hot for one cost

MEANING = {
    "exploding": f"gradient over {FAR:g} times that of the last {LAST} parameters (root mean square)",
    "vanishing": f"gradient under 1/{FAR:g} of that of the last {LAST} parameters, or exactly zero",
    "no-gradient": "requires a gradient and has none (yet)",
    "hot": "the one to three boxes that hold half of a cost",
}


def told(graph: Graph) -> Graph:
    """The figures as notes and marks on the boxes, and a legend; the last step before rendering.

    A box with several marks shows the most serious: failed, nan, exploding, vanishing, no-gradient,
    hot. "hot" compares the boxes as drawn: a collapsed module counts as a whole.

    Example:
        >>> import tinygrad_conv as tg
        >>> from tinygrad_conv.draw.annotate import annotate
        >>> y = tg.linear(tg.ones(1, 2), tg.ones(3, 2, requires_grad=True))
        >>> [box.notes for box in told(annotate(tg.graph(y), ["flops", "parameters"])).boxes]
        [(), ('6 parameters',), ('6 multiply-adds',)]
    """
    sums = total(graph.figures.get(box.id, {}) for box in graph.boxes)
    hot = {box for cost in ("time", "flops", "memory") for box in _hottest(graph, cost)}
    nan = next((text for mark, text in graph.legend if mark == "nan"), "")
    boxes = tuple(_told(box, graph.figures.get(box.id, {}), sums, box.id in hot, nan)
                  for box in graph.boxes)
    used = {box.mark for box in boxes}
    known = {mark for mark, _ in graph.legend}
    meanings = [(m, text) for m, text in MEANING.items() if m in used and m not in known]
    folded = any(scope.times > 1 for scope in graph.scopes.values()) or any(
        box.kind == "module" and TIMES.search(box.label) for box in graph.boxes)
    meanings += [("", 'numbers in a frame "xN" are the sums of all N')] if sums and folded else []
    whole = ", ".join(_costs(sums, {}))
    return replace(graph, boxes=boxes, legend=(
        *graph.legend, *meanings, *([("", f"in all: {whole}")] if whole else [])))


def _told(box: Box, own: Mapping[str, float], sums: Mapping[str, float], hot: bool, nan: str) -> Box:
    found = nan.split(": ", 1) if own.get("first nan") else []
    notes = [*box.notes, *_costs(own, sums), *_gradient(box, own), *found]
    dead = box.kind == "op" and own.get("result squares") == 0
    marks = {"failed": box.mark == "failed",
             "nan": own.get("first nan") or own.get("not finite"),
             "exploding": own.get("exploding"),
             "vanishing": own.get("vanishing") or dead,
             "no-gradient": own.get("missing") or own.get("waiting"),
             "hot": hot}
    mark = next((name for name, applies in marks.items() if applies), box.mark)
    return replace(box, notes=tuple(notes), mark=mark)


def _cost(own: Mapping[str, float], cost: str) -> float:
    return own.get("forward", 0.0) + own.get("backward", 0.0) if cost == "time" else own.get(cost, 0.0)


def _hottest(graph: Graph, cost: str) -> list[str]:
    """The fewest boxes that together hold half of a cost; none if it takes more than a few."""
    amounts = {box.id: _cost(graph.figures.get(box.id, {}), cost) for box in graph.boxes}
    order = sorted((box for box in amounts if amounts[box]), key=lambda box: -amounts[box])
    for count in range(1, min(HOT, len(order) - 1) + 1):
        if sum(amounts[box] for box in order[:count]) >= sum(amounts.values()) / 2:
            return order[:count]
    return []


def _costs(own: Mapping[str, float], sums: Mapping[str, float]) -> list[str]:
    """Lines on what a box has and costs; with its part of the sum if the sum is given."""
    notes = []
    if own.get("parameters"):
        notes.append(f"{own['parameters']:,.0f} parameter{'s' * (own['parameters'] > 1)}")
    if own.get("flops"):
        notes.append(f"{_short(own['flops'])} multiply-adds{_part(own, sums, 'flops')}")
    if own.get("memory"):
        notes.append(f"{_short(own['memory'])} bytes kept{_part(own, sums, 'memory')}")
    if "forward" in own:
        notes.append(f"{own['forward']:.2g} + {own['backward']:.2g} ms{_part(own, sums, 'time')}")
    return notes


def _part(own: Mapping[str, float], sums: Mapping[str, float], cost: str) -> str:
    all_of_it = _cost(sums, cost)
    return f" ({_cost(own, cost) / all_of_it:.0%})" if all_of_it > _cost(own, cost) else ""


def _short(n: float) -> str:
    """A count in three digits and a letter: 117600 is 118k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.3g}{letter}"
    return f"{n:.0f}"


def _gradient(box: Box, own: Mapping[str, float]) -> list[str]:
    """Norms, and how many parameters of a module have none or strange ones."""
    notes = []
    for prefix, what in (("", "gradient"), ("result ", "gradient of the result")):
        if prefix + "values" in own and (not prefix or box.kind == "op"):
            zero = "" if own[prefix + "squares"] else ", exactly zero"
            notes.append(f"{what} {math.sqrt(own[prefix + 'squares']):.2g}{zero}")
    leaves = own.get("leaves", 0)
    for name, text in (("missing", "without a gradient"), ("vanishing", "vanishing"),
                       ("exploding", "exploding"), ("not finite", "not finite")):
        if own.get(name) and leaves > 1:
            notes.append(f"{own[name]:.0f} of {leaves:.0f} {text}")
        elif own.get(name) and name == "missing":
            notes.append("no gradient came here")
    return [*notes, *(["no backward yet"] if own.get("waiting") else [])]
