"""The numbers behind a convolution of the page: what its microscope multiplies and adds.

A page has a budget for them. Convolutions that need little get all of their numbers, larger ones an equal
share of the rest: fewer samples, then a part of the plane, then fewer channels. Each array knows which
part of it is here, so that the page never adds up what it does not have. Which array lies on which side
of the windows is what the primitive says (`defsides`); where they lie, the geometry of the call.
"""
import base64
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...primitive import Node
from ...pullback import changed
from ...state import recording
from ...tape import Entry
from ...tensor import Tensor, share
from ..graph import Graph, backwards, grouped

PART = 8            # cells along a plane's side, before channels are left out
PLAIN = ("x", "input"), ("w", "filter")  # name and role of an argument that no backward made
GONE = "The values were freed by backward(); draw before it, or keep them with backward(retain_graph=True)."
LARGE = "The numbers of this call do not fit into the page; tg.explain shows them."


class Cut(NamedTuple):
    """How much of a call is kept: samples, cells along a side of the small plane, channels of the result."""

    samples: int
    side: int
    channels: int


@dataclass(frozen=True)
class Call:
    """One recorded call with its arrays by the name that the page gives them; the result is the last."""

    node: Node
    names: dict[str, str]          # by side: of the two factors and the result
    roles: dict[str, str]          # by name: "input", "filter", "gradient" or "output"
    arrays: dict[str, np.ndarray]  # by name; "g" beside a result of the forward, "dw" if it is known
    sides: dict[str, str]          # by name

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """By side."""
        return {self.sides[name]: array.shape for name, array in self.arrays.items()}

    @property
    def result(self) -> str:
        return self.names[self.node.primitive.sides["ans"]]


def microscopes(graph: Graph, found: Mapping[int, np.ndarray], budget: int) -> dict[str, dict[str, Any]]:
    """What the page's microscope shows, by box.

    Args:
        graph: a drawing; boxes of calls whose primitive has sides are looked at.
        found: gradients by the id of a tensor.
        budget: bytes of all numbers together, before base64.

    Returns:
        for each of them "missing", why there are no numbers, or the geometry ("axes", "groups", "line"),
        "arrays", what of them is "here" in words, "questions", which sums can be asked for, and "bias".
    """
    boxes = {box.id: box for box in graph.boxes}
    past = grouped((e.target, e.slot) for e in graph.edges
                   if backwards(boxes[e.source].scope) or boxes[e.source].kind == "seed")
    made, calls = {}, {}
    for box in graph.boxes:
        source = graph.sources.get(box.id)
        if isinstance(source, Entry) and source.node.primitive.sides:
            why = _unusable(source)
            if why:
                made[box.id] = {"missing": why}
            else:
                calls[box.id] = _call(source, past.get(box.id, []), found)
    left = budget
    sizes = {key: _bytes(call, Cut(*_whole(call))) for key, call in calls.items()}
    for number, key in enumerate(sorted(sizes, key=sizes.__getitem__)):
        share = left // (len(sizes) - number)
        cut = next((cut for cut in _cuts(*_whole(calls[key])) if _bytes(calls[key], cut) <= share), None)
        made[key] = {"missing": LARGE} if cut is None else _content(calls[key], cut)
        left -= 0 if cut is None else _bytes(calls[key], cut)
    return made


def _unusable(source: Entry) -> str:
    """Why the numbers of a call are not there; "" if they are."""
    node = source.node
    if node.freed or not all(isinstance(t, Tensor) for t in (*node.inputs, *source.outputs)):
        return GONE
    old = [name for i, name in enumerate(node.primitive.names[:len(node.inputs)]) if changed(node, i)]
    return f"{old[0]} was changed in place after the call: these are not the numbers that met." if old else ""


def _call(source: Entry, past: list[int], found: Mapping[int, np.ndarray]) -> Call:
    """A call with its arrays. `past`: the slots of arguments that a backward made."""
    node, ans = source.node, source.outputs[0]
    kinds = node.primitive.sides
    slots = {kinds[name]: slot for slot, name in enumerate(node.primitive.names) if name in kinds}
    names, roles, arrays, sides = {}, {}, {}, {}  # names by side, the rest by name

    def add(name: str, role: str, side: str, array: np.ndarray) -> None:
        roles[name], arrays[name], sides[name] = role, array, side

    for side, slot in slots.items():
        name, role = ("g", "gradient") if slot in past else PLAIN[side == "kernel"]
        names[side] = name + "'" * (name in arrays)
        add(names[side], role, side, node.inputs[slot]._data)
    side = kinds["ans"]
    names[side] = "y" if not past else "dw" if side == "kernel" else "dx"
    if id(ans) in found and not past:
        g = found[id(ans)]
        add("g", "gradient", side, g)
        if "kernel" in slots:
            with recording(False), np.errstate(all="ignore"):  # this call's share, from the kernels
                vjp = node.primitive.vjp_for(slots["kernel"])
                add("dw", "filter", "kernel", vjp(share(g), ans, *node.inputs, **node.params)._data)
    add(names[side], {"dw": "filter", "dx": "input", "y": "output"}[names[side]], side, ans._data)
    return Call(node, names, roles, arrays, sides)


# ----- how much of it is here -----

def _whole(call: Call) -> Cut:
    shapes, side = call.shapes, call.node.primitive.sides["ans"]
    return Cut(shapes["small"][0], max(shapes["small"][2:]), shapes[side][side != "kernel"])


def _halves(n: int, least: int = 1) -> Iterator[int]:
    """n, about half of it, and so on, while more than `least`; then that."""
    while n > least:
        yield n
        n = -(-n // 2)
    yield min(n, least)


def _cuts(samples: int, side: int, channels: int) -> Iterator[Cut]:
    """From the whole to one cell, in the order in which numbers are left out."""
    yield from (Cut(n, side, channels) for n in _halves(samples))
    yield from (Cut(1, n, channels) for n in _halves(side, PART))
    yield from (Cut(1, min(side, PART), n) for n in _halves(channels))
    yield from (Cut(1, n, 1) for n in _halves(min(side, PART)))


def _parts(call: Call, cut: Cut) -> dict[str, tuple[slice, ...]]:
    """By side, what is kept: first samples and channels, the middle of the small plane and what it meets."""
    geometry, shapes = call.node.params["geometry"], call.shapes
    filters, depth = shapes["kernel"][0] // geometry.groups, shapes["kernel"][1]
    if call.node.primitive.sides["ans"] == "large":
        large = cut.channels
        small, k = -(-large // depth) * filters, min(large, depth)
    else:
        small = cut.channels
        large, k = -(-small // filters) * depth, depth
    rows: dict[str, list[slice]] = {"small": [], "large": []}
    for out, size, s, span, (before, _) in zip(
            geometry.out, geometry.size, geometry.stride, geometry.spans, geometry.padding):
        kept = min(out, cut.side)
        first = (out - kept) // 2
        start, stop = first * s - before, (first + kept - 1) * s - before + span
        rows["small"].append(slice(first, first + kept))
        rows["large"].append(slice(0, size) if kept == out else
                             slice(min(size, max(0, start)), min(size, max(0, stop))))
    n = slice(0, cut.samples)
    return {"small": (n, slice(0, small), *rows["small"]), "large": (n, slice(0, large), *rows["large"]),
            "kernel": (slice(0, small), slice(0, k), *(slice(0, n) for n in geometry.kernel))}


def _width(array: np.ndarray) -> int:
    """Bytes of a number in the page, where there are two kinds of floats."""
    return 8 if array.dtype.itemsize > 4 else 4


def _bytes(call: Call, cut: Cut) -> int:
    parts = _parts(call, cut)
    return sum(_width(array) * math.prod(p.stop - p.start for p in parts[call.sides[name]])
               for name, array in call.arrays.items())


# ----- as JSON -----

def _content(call: Call, cut: Cut) -> dict[str, Any]:
    geometry, parts = call.node.params["geometry"], _parts(call, cut)
    axes = ("size", "kernel", "out", "stride", "dilation", "padding")
    return {
        "axes": [dict(zip(axes, axis)) for axis in zip(*(getattr(geometry, name) for name in axes))],
        "groups": geometry.groups, "line": geometry.line, "here": _here(call, cut, parts),
        "questions": _questions(call),
        "arrays": {name: _embedded(array, parts[call.sides[name]], side=call.sides[name],
                                   role=call.roles[name]) for name, array in call.arrays.items()},
        "bias": [_embedded(t._data, (slice(0, len(t)),)) for t in call.node.inputs[2:]]}


def _questions(call: Call) -> list[dict[str, Any]]:
    """The sums that the numbers allow: first the result, then the gradients that its own makes.

    "name" of the sum, its "side", its two "factors", the filter last, "how" it is summed, and the array that
    holds what the kernels made of it, if there is one ("held").
    """
    primitive, found = call.node.primitive, []
    for argument, side in primitive.sides.items():
        factors = [call.names[other] for other in sorted(call.names, key="kernel".__eq__) if other != side]
        name = call.names[side]
        if argument != "ans":
            name = "dw" if side == "kernel" else "dx"
            factors = ["g" if factor == call.result else factor for factor in factors]
        if argument == "ans" or call.result == "y" and "g" in call.arrays:
            found.append({"side": side, "name": name, "factors": factors, "how": primitive.notes[argument],
                          "held": name if name in call.arrays else None})
    return found


def _embedded(array: np.ndarray, part: tuple[slice, ...], **about: str) -> dict[str, Any]:
    """The part of an array that is here, as base64 of floats, lowest byte first."""
    numbers = array[part].astype(f"<f{_width(array)}")
    return {**about, "shape": array.shape, "start": [p.start for p in part], "lengths": numbers.shape,
            "dtype": str(array.dtype), "width": _width(array),
            "numbers": base64.b64encode(numbers.tobytes()).decode()}


def _here(call: Call, cut: Cut, parts: dict[str, tuple[slice, ...]]) -> str:
    """What is left out, in words; "" if nothing is."""
    whole, said = _whole(call), []
    if cut.samples < whole.samples:
        said.append(f"{_through('sample', slice(0, cut.samples))} of {whole.samples}")
    if cut.channels < whole.channels:
        said.append(f"{_through('channel', slice(0, cut.channels))} of {whole.channels} of {call.result}")
    if cut.side < whole.side:
        rows, columns = map(_through, ("row", "column"), parts["small"][2:])
        said.append(f"{rows} and {columns} of {call.names['small']}")
    return f"Here: {'; '.join(said)}; and what meets them." if said else ""


def _through(name: str, part: slice) -> str:
    """ "sample 0", "samples 0 to 3"."""
    last = part.stop - 1
    return f"{name} {last}" if last == part.start else f"{name}s {part.start} to {last}"
