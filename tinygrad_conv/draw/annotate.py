"""Numbers on a drawing: parameters, costs, times, gradients, the first NaN.

Figures can be added up, so that a module drawn as one box has them too; notes.py turns them into
text and marks, last of all. May import core, graph, tape,
costs and replay.
"""
from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from . import replay
from ..tensor import Tensor
from .costs import multiply_adds, saved_bytes
from .graph import Graph, backwards
from .labels import place
from ..tape import Entry

SHOW = ("parameters", "flops", "memory", "time", "grad", "nan")
FAR = 1e3     # a gradient so many times larger or smaller than the last ones explodes, or vanishes
LAST = 4      # the parameters nearest the output, whose median is the measure

Figures = dict[str, dict[str, float]]
Statements = list[tuple[str, str]]


def annotate(graph: Graph, show: str | Iterable[str]) -> Graph:
    """The same graph with `figures`; collapse it, if at all, afterwards, and call `told` (notes.py) last.

    Args:
        graph: as `tg.graph` gives it.
        show: any of "parameters" (how many), "flops" (multiply-adds), "memory" (bytes kept for
            the backward), "time" (measured ms), "grad" (norms) and "nan" (the first value that is
            not finite). "time", "grad" of results and "nan" need a live tape; otherwise the
            legend says so.

    Raises:
        ValueError: for an unknown word; lists the known ones.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.ones(1, 2), tg.ones(3, 2, requires_grad=True)
        >>> g = annotate(tg.graph(tg.linear(x, w)), ["flops", "parameters"])
        >>> [(box.label, g.figures.get(box.id)) for box in g.boxes]
        [('x', None), ('w', {'parameters': 6}), ('linear', {'flops': 6})]
    """
    words = [show] if isinstance(show, str) else list(show)
    unknown = [word for word in words if word not in SHOW]
    if unknown:
        raise ValueError(f"annotate: show knows {', '.join(map(repr, SHOW))}, got {unknown[0]!r}")
    figures: Figures = {}
    legend: Statements = [*graph.legend]
    for word in SHOW:
        if word in words:
            if not graph.sources and word != "parameters":
                legend.append(("", f"{word}: not known, an error keeps no values alive"))
                continue
            try:
                found = READERS[word](graph, legend)
            except Exception as e:  # used up, changed since, or a derivative of the user's that fails
                legend.append(("", f"{word}: {_why(e)}"))
                continue
            for box, own in found.items():
                figures.setdefault(box, {}).update(own)
    return replace(graph, figures=figures, legend=tuple(legend))


def _calls(graph: Graph) -> dict[str, Entry]:
    return {box: source for box, source in graph.sources.items() if isinstance(source, Entry)}


def _leaves(graph: Graph) -> dict[str, Tensor]:
    """Leaves that require a gradient, in the order of their first use."""
    return {box: source for box, source in graph.sources.items()
            if isinstance(source, Tensor) and source.requires_grad}


def ends(graph: Graph) -> list[Tensor]:
    """The results that no call of the graph uses."""
    calls = _calls(graph).values()
    used = {t.node.order for entry in calls for t in entry.node.inputs if t.node is not None}
    return [entry.output for entry in calls if entry.node.order not in used]


def _differentiated(graph: Graph) -> list[Tensor]:
    """The results whose gradient is meant: beside a loss, not those its own backward gave."""
    results = ends(graph)
    levels = [backwards(t.node.scope) for t in results]
    return [t for t, level in zip(results, levels) if level == min(levels)]


def _why(e: Exception) -> str:
    """What an error says, without the name of the engine's function that said it."""
    who, _, text = str(e).partition(": ")
    return text if who in ("backward", "cotangents", "first_nonfinite") else str(e)


def _parameters(graph: Graph, legend: Statements) -> Figures:
    return {box.id: {"parameters": math.prod(box.shape)} for box in graph.boxes if box.kind == "parameter"}


def _flops(graph: Graph, legend: Statements) -> Figures:
    counts = {box: multiply_adds(e.node.primitive.name, [t.shape for t in e.node.inputs],
                                 e.output.shape, e.node.params) for box, e in _calls(graph).items()}
    return {box: {"flops": count} for box, count in counts.items() if count}


def _memory(graph: Graph, legend: Statements) -> Figures:
    return {box: {"memory": size} for box, size in zip(
        graph.sources, saved_bytes(graph.sources.values())) if size}


def _time(graph: Graph, legend: Statements) -> Figures:
    measured = replay.times(*ends(graph))
    return {box: {"forward": measured[e.node.order].forward,
                  "backward": measured[e.node.order].backward} for box, e in _calls(graph).items()}


def _size(g: Tensor) -> dict[str, float]:
    """What the norm and the root mean square of a gradient are made of, in a form that adds up."""
    return {"squares": float(np.vdot(*[g.data.astype(np.float64).reshape(-1)] * 2)), "values": g.size}


def _grad(graph: Graph, legend: Statements) -> Figures:
    leaves = _leaves(graph)
    why = "waiting" if all(t.grad is None for t in leaves.values()) else "missing"
    found = {box: {"leaves": 1.0, why: 1.0} if t.grad is None else
             {"leaves": 1.0, **_size(t.grad)} for box, t in leaves.items()}
    rms = {box: _rms(own) for box, own in found.items() if own.get("values")}
    last = [value for value in rms.values() if math.isfinite(value)][-LAST:]
    measure = statistics.median(last) if last else 0.0
    for box, value in rms.items():
        verdict = _verdict(value, measure)
        if verdict:
            found[box][verdict] = 1.0
    meant = _differentiated(graph)
    try:
        reached = replay.cotangents(*meant)
    except Exception as e:  # as in `annotate`; what leaves have is known all the same
        legend.append(("", f"grad of results: {_why(e)}"))
        return found
    for box, e in _calls(graph).items():
        g = reached.get((e.node.order, e.output.index))
        if g is not None:
            found[box] = {f"result {name}": value for name, value in _size(g).items()}
    if len(meant) > 1 or any(t.shape for t in meant):
        legend.append(("", "grad of results: the gradient of the sum of the outputs"))
    return found


def _rms(own: Mapping[str, float]) -> float:
    return math.sqrt(own["squares"] / own["values"])


def _verdict(value: float, measure: float) -> str:
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or value * FAR < measure:
        return "vanishing"
    return "exploding" if value > measure * FAR and measure else ""


def _nan(graph: Graph, legend: Statements) -> Figures:
    results = ends(graph)
    found, how = replay.first_nonfinite(results), ", made at"
    if found is None:
        found = replay.first_nonfinite_gradient(*_differentiated(graph))
        how = " of the backward, made by the derivative of the call at"
    elif isinstance(found.source, Tensor):
        how = " in a leaf, first used at"
    if found is None:
        legend.append(("", "nan: all values and gradients are finite"))
        return {}
    legend.append(("nan", f"first {found.kind}{how} {place(found.where)}"))
    return {box: {"first nan": 1.0} for box, source in graph.sources.items()
            if _same(source, found.source)}


def _same(one: Entry | Tensor, other: Entry | Tensor) -> bool:
    if isinstance(one, Entry) and isinstance(other, Entry):
        return one.node is other.node
    return one is other


READERS: dict[str, Callable[[Graph, Statements], Figures]] = {
    "parameters": _parameters, "flops": _flops, "memory": _memory, "time": _time, "grad": _grad,
    "nan": _nan}
