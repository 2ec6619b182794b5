"""Numbers on a drawing: parameters, costs, times, gradients, the first NaN; and whatever else is registered.

`annotate` reads figures off a live tape. Figures can be added up, so that a module drawn as one box has
them too; `write_figures` turns them into lines, marks and colours, last of all. Everything about one word
of `show=` is in its record, at the end.
"""
import math
import re
import statistics
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..arguments import one_of
from ..tensor import Tensor
from ..tape import Entry
from . import measure
from .graph import CALLS, Box, Graph, backwards, grouped, module_path, names_of, sum_figures
from .heat import Heat, Sizes, amount_text
from .loops import spread, which
from .style import gravest, parameters_text, source_line

FAR = 1e3     # a gradient so many times larger or smaller than the last ones explodes, or vanishes
LAST = 4      # the parameters nearest the output, whose median is the measure
NO_LOSS = "draw a loss, one number: tg.draw(loss), nn.draw(model, x, loss=...)"

Figures = dict[str, dict[str, float]]
Legend = list[tuple[str, str]]
Own = Mapping[str, float]  # the figures of one box


@dataclass(frozen=True)
class Show:
    """One word of `show=`, and everything that follows from it; `register` makes it known.

    Args:
        word: as users write it.
        read: `read(graph, legend)` gives figures {box id: {name: number}}, all of which can be added up,
            and may append remarks to the legend as (mark or "", text).
        lines: `lines(own, sums, box, legend)` writes a box's figures, beside the sums over the drawing.
            For the total in the legend `own` are the sums, and `sums` and `box` are empty: {} and None.
        heat: how boxes are coloured by the figures; None for words that say nothing of how much.
        marks: {mark: (what it means, `applies(own, box)`)}.
        shapes_suffice: whether the figures can be read without a tape, as of a failed pass.
    """

    word: str
    read: Callable[[Graph, Legend], Figures]
    lines: Callable[[Own, Own, Box | None, Legend], list[str]]
    heat: Heat | None = None
    marks: Mapping[str, tuple[str, Callable[[Own, Box], object]]] = field(default_factory=dict)
    shapes_suffice: bool = False


SHOW: dict[str, Show] = {}


def register(show: Show) -> None:
    """Make a word known to `show=`.

    Example:
        >>> import tinygrad_conv as tg
        >>> register(Show("calls", lambda graph, legend: {box.id: {"calls": 1} for box in graph.boxes},
        ...               lambda own, *_: [f"{own['calls']:.0f} boxes"] if "calls" in own else []))
        >>> tg.draw(tg.ones(2, requires_grad=True) * 2.0, show="calls").graph.legend
        (('', 'in all: 3 boxes'),)
        >>> del SHOW["calls"]
    """
    SHOW[show.word] = show


def annotate(graph: Graph, show: str | Show | Iterable[str | Show]) -> Graph:
    """The same graph with `figures`; collapse it, if at all, afterwards, and call `write_figures` last.

    Args:
        graph: as `tg.graph` gives it.
        show: any of "parameters" (how many), "flops" (multiply-adds), "memory" (bytes kept for
            the backward), "time" (measured ms), "grad" (norms: of parameters their `.grad`, of
            results the gradient of the drawn loss) and "nan" (the first value that is not finite).
            "time", "grad" of results and "nan" need a live tape; otherwise the legend says so. A record
            instead of a word is read in its place: a `tg.profile()`'s `time`, or the profile itself.

    Raises:
        ValueError: for an unknown word; lists the known ones.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.ones(1, 2), tg.ones(3, 2, requires_grad=True)
        >>> g = annotate(tg.graph(tg.linear(x, w)), ["flops", "parameters"])
        >>> [(box.label, g.figures.get(box.id)) for box in g.boxes]
        [('x', None), ('w', {'parameters': 6}), ('linear', {'flops': 6})]
    """
    show = getattr(show, "time", show)  # of a profile
    asked = [show] if isinstance(show, str | Show) else [getattr(word, "time", word) for word in show]
    records = [word if isinstance(word, Show) else SHOW[one_of(word, "draw", "show", [*SHOW])]
               for word in asked]
    words = {record.word: record for record in records}
    figures: Figures = {}
    legend: Legend = [*graph.legend]
    for word in (word for word in SHOW if word in words):
        if not (graph.sources or words[word].shapes_suffice):
            legend.append(("", f"{word}: not known, an error keeps no values alive"))
            continue
        try:
            for box, own in words[word].read(graph, legend).items():
                figures.setdefault(box, {}).update(own)
        except Exception as e:  # used up, changed since, or a derivative of the user's that fails
            legend.append(("", f"{word}: {str(e).removeprefix('backward: ')}"))
    heats = [record.heat for record in words.values() if record.heat and any(
        map(record.heat.amount, figures.values()))]
    return replace(graph, figures=figures, legend=tuple(legend), heat=next(iter(heats), None))


def write_figures(graph: Graph) -> Graph:
    """The figures as notes, marks and colours of the boxes, and a legend; the last step before rendering.

    A box with several marks shows the most serious, see style.py. Colours compare the boxes as drawn: a
    collapsed module counts as a whole.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.linear(tg.ones(1, 2), tg.ones(3, 2, requires_grad=True))
        >>> [box.notes for box in write_figures(annotate(tg.graph(y), ["flops", "parameters"])).boxes]
        [(), ('6 parameters',), ('6 multiply-adds',)]
    """
    sums = sum_figures(graph.figures.get(box.id, {}) for box in graph.boxes)
    marks = [item for show in SHOW.values() for item in show.marks.items()]
    boxes, legend = [], [*graph.legend]
    for box in graph.boxes:
        own, each = graph.figures.get(box.id, {}), graph.each.get(box.id, ())
        lines = [line for show in SHOW.values() for line in _said(show, own, sums, each, box, legend)]
        found = {mark for mark, (_, applies) in marks if any(applies(one, box) for one in (own, *each))}
        lines += [f"{mark}: {text}" for mark in sorted(found) if (text := which([any(
            applies(one, box) for each_mark, (_, applies) in marks if each_mark == mark) for one in each]))]
        boxes.append(replace(box, notes=(*box.notes, *lines), mark=gravest({box.mark, *found})))
    meanings = {mark: text for mark, (text, _) in marks if text}
    used, known = {box.mark for box in boxes}, {mark for mark, _ in legend}
    total = [line for show in SHOW.values() for line in show.lines(sums, {}, None, legend)]
    legend += [(mark, text) for mark, text in meanings.items() if mark in used - known]
    if sums and (any(scope.times > 1 for scope in graph.scopes.values()) or any(
            box.kind == "module" and re.search(r"  x\d+$", box.label) for box in boxes)):  # as `title` ends
        legend.append(("", 'numbers in a frame "xN" are the sums of all N'))
    if total:
        legend.append(("", f"in all: {', '.join(total)}"))
    return _coloured(replace(graph, boxes=tuple(boxes), legend=tuple(legend)))


def _said(show: Show, own: Own, sums: Own, each: Sequence[Own], box: Box, legend: Legend) -> list[str]:
    """What a word says of a box, and of the differences between repetitions."""
    lines, heat = show.lines(own, sums, box, legend), show.heat
    return [*lines, *spread([*map(heat.amount, each)], heat.unit)] if lines and heat else lines


def _coloured(graph: Graph) -> Graph:
    """The graph with the heat of its boxes, the ends of the scale, and a line that names the hottest."""
    if graph.heat is None:
        return graph
    found = {box.id: graph.heat.amount(graph.figures.get(box.id, {})) for box in graph.boxes}
    amounts = {box: amount for box, amount in found.items() if 0 < amount < math.inf}
    if not amounts:
        return replace(graph, heat=None)
    heat = graph.heat.over(amounts.values())
    boxes = [replace(box, heat=heat.place(amounts[box.id])) if box.id in amounts else box
             for box in graph.boxes]
    hottest = heat.summary(amounts, {box.id: _place(box) for box in graph.boxes})
    return replace(graph, boxes=tuple(boxes), heat=heat, legend=(*graph.legend, ("", hottest)))


def _place(box: Box) -> str:
    """A box in one line: its module, and what it is called there."""
    if box.kind == "module":
        return " ".join(box.label.split())
    names = filter(None, [".".join(names_of(module_path(box.scope))), box.label])
    return "backward of " * backwards(box.scope) + (" " if box.kind in CALLS else ".").join(names)


# ----- what the readers and writers below have in common -----

def _amount(own: Own, names: Iterable[str]) -> float:
    return sum(own.get(name, 0.0) for name in names)


def _share(own: Own, sums: Own, *names: str) -> str:
    part, whole = _amount(own, names), _amount(sums, names)
    return f" ({part / whole:.0%})" if whole > part else ""


def calls(graph: Graph) -> dict[str, Entry]:
    """The calls of the tape by the id of their box."""
    return {box: source for box, source in graph.sources.items() if isinstance(source, Entry)}


def ends(graph: Graph) -> list[Tensor]:
    """The results that no call of the graph uses."""
    entries = calls(graph).values()
    used = {(t.node, t.index) for entry in entries for t in entry.node.inputs}
    return [t for entry in entries for t in entry.outputs
            if t.node is not None and (t.node, t.index) not in used]


def _differentiated(graph: Graph) -> list[Tensor]:
    """The results whose gradient is meant: beside a loss, not those its own backward gave."""
    return min(grouped((backwards(t.node.scope), t) for t in ends(graph)).items(), default=(0, []))[1]


def _is_loss(results: Iterable[Tensor]) -> bool:
    """Whether gradients of these results say anything: of many numbers no sum is meant."""
    return all(math.prod(t.shape) == 1 for t in results)


# ----- parameters and costs -----

def _cost_lines(name: str, what: str) -> Callable[..., list[str]]:
    return lambda own, sums, *_: [
        f"{amount_text(own[name])} {what}{_share(own, sums, name)}"] if own.get(name) else []


def _flops(graph: Graph, legend: Legend) -> Figures:
    found: Figures = {}
    for box, e in calls(graph).items():
        op = e.node.primitive
        try:
            count = measure.multiply_adds(op, [t.shape for t in e.node.inputs], e.output.shape, e.node.params)
        except Exception as error:  # the user's `defcost`; the others still count
            legend.append(("", f"flops of {op.name}: its cost failed: {type(error).__name__}: {error}"))
            continue
        if count:
            found[box] = {"flops": count}
    return found


def _time(graph: Graph, legend: Legend) -> Figures:
    times, entries = measure.times(*ends(graph)), calls(graph)
    if any(backwards(e.node.scope) for e in entries.values()):  # the backward has boxes of its own
        for own in times.values():
            own["backward"] = 0.0
    return {box: times[e.node.order] for box, e in entries.items()}


# ----- gradients -----

def _size(g: Tensor) -> dict[str, float]:
    """What the norm and the root mean square of a gradient are made of, in a form that adds up."""
    return {"squares": float(np.vdot(*[g.data.astype(np.float64).reshape(-1)] * 2)), "values": g.size}


def _leaf_gradients(graph: Graph, reached: Container[int] | None) -> Figures:
    """The `.grad` of the parameters; `reached` are the ids of those that a backward gives one, if known."""
    leaves = {box: t for box, t in graph.sources.items() if isinstance(t, Tensor) and t.requires_grad}
    untouched = all(t.grad is None for t in leaves.values())
    found = {box: {"leaves": 1.0, **(_size(t.grad) if t.grad is not None else {"waiting": 1.0} if (
                untouched if reached is None else id(t) in reached) else {"missing": 1.0})}
             for box, t in leaves.items()}
    rms = {box: math.sqrt(own["squares"] / own["values"]) for box, own in found.items() if own.get("values")}
    usual = statistics.median([*filter(math.isfinite, rms.values())][-LAST:] or [0.0])
    user = {edge.source: edge.target for edge in reversed(graph.edges)}
    reaching = {call: max(values) for call, values in grouped((user[box], rms[box]) for box in rms).items()}
    for box, value in rms.items():
        most = reaching[user[box]]  # a bias before a norm has none, though its weight shows that one came
        found[box] |= {"not finite": float(not math.isfinite(value)),
                       "vanishing": float(most == 0 or most * FAR < usual),
                       "exploding": float(math.inf > value > usual * FAR and usual > 0)}
    return found


def _grad(graph: Graph, legend: Legend) -> Figures:
    meant = _differentiated(graph)
    try:
        leaves = measure.pulled(meant, [t for t in graph.sources.values() if isinstance(t, Tensor)])
        reached = measure.cotangents(*meant) if _is_loss(meant) else None
    except Exception as e:  # as in `annotate`; what leaves have is known all the same
        legend.append(("", f"grad of results: {str(e).removeprefix('backward: ')}"))
        return _leaf_gradients(graph, None)
    found = _leaf_gradients(graph, leaves)
    if reached is None:
        legend.append(("", f"grad of results: {NO_LOSS}"))
        return found
    for t in meant:  # whose own gradient is 1, whatever was computed
        reached.pop((t.node.order, t.index), None)
    for box, e in calls(graph).items():
        sizes = [_size(reached[key]) for i in range(len(e.outputs)) if (key := (e.node.order, i)) in reached]
        found[box] = {f"result {name}": value for name, value in sum_figures(sizes).items()}
    if len(meant) > 1:
        legend.append(("", "grad of results: the gradient of the sum of the outputs"))
    return found


def _grad_lines(own: Own, sums: Own, box: Box | None, legend: Legend) -> list[str]:
    """Sizes, and how many parameters of a module have none or strange ones."""
    if box is None:
        return []
    lines = []
    for prefix, what in (("", "gradient"), ("result ", "gradient of the result")):
        if prefix + "values" in own and (not prefix or box.kind == "op" or "values" not in own):
            rms = math.sqrt(own[prefix + "squares"] / own[prefix + "values"])
            lines.append(f"{what} {rms:.2g} rms" if rms else f"{what} exactly zero")
    if own.get("leaves", 0) > 1:
        counted = {"missing": "without a gradient"} | {n: n for n in ("vanishing", "exploding", "not finite")}
        lines += [f"{own[n]:.0f} of {own['leaves']:.0f} {text}" for n, text in counted.items() if own.get(n)]
    elif own.get("missing"):
        lines.append("no gradient came here")
    return lines + ["no backward yet"] * bool(own.get("waiting"))


# ----- the first value that is not finite -----

def _nan(graph: Graph, legend: Legend) -> Figures:
    found, meant = measure.first_nonfinite(ends(graph)), _differentiated(graph)
    if found is None and _is_loss(meant):
        found = measure.first_nonfinite_gradient(*meant)
    if found is None:
        legend.append(("", "nan: all values and gradients are finite" if _is_loss(meant) else
                       f"nan: all values are finite; gradients: {NO_LOSS}"))
        return {}
    legend.append(("nan", f"first {found.kind}{found.how} {': '.join(source_line(found.where))}"))
    origin = found.source.node or found.source  # a leaf has no node
    return {box: {"first nan": 1.0} for box, source in graph.sources.items()
            if (source.node or source) is origin}


# ----- the words of `show=` -----

GRADIENT = Sizes("gradient of the loss, log scale", "rms", (
    ("squares", "values"), ("result squares", "result values")))

for _show in (
    Show("parameters",
         lambda graph, legend: {box.id: {"parameters": math.prod(box.shape)} for box in graph.boxes
                                if box.kind == "parameter"},
         lambda own, sums, box, legend: [parameters_text(n + shared, shared)] if (
             n := own.get("parameters", 0)) + (shared := own.get("shared", 0) if box else 0) else [],
         Heat("size", "parameters", ("parameters",)), shapes_suffice=True),
    Show("flops",
         _flops, _cost_lines("flops", "multiply-adds"), Heat("work", "multiply-adds", ("flops",))),
    Show("memory",
         lambda graph, legend: {box: {"memory": size} for box, size in zip(
             graph.sources, measure.saved_bytes(graph.sources.values())) if size},
         _cost_lines("memory", "bytes kept"), Heat("memory", "bytes kept", ("memory",))),
    Show("time", _time,
         lambda own, sums, *_: [f"{own['forward']:.2g}" + f" + {own['backward']:.2g}" * bool(own["backward"])
                                + f" ms{_share(own, sums, 'forward', 'backward')}"]
         if "forward" in own else [],
         Heat("time, forward + backward", "ms", ("forward", "backward"))),
    Show("grad", _grad, _grad_lines, GRADIENT, {
        "nan": ("a gradient whose values are not all finite", lambda own, box: own.get("not finite")),
        "exploding": (f"gradient over {FAR:g} times that of the {LAST} parameters nearest the end",
                      lambda own, box: own.get("exploding")),
        "vanishing": (f"gradient under 1/{FAR:g} of that of the {LAST} parameters nearest the end, or zero",
                      lambda own, box: (
                          own.get("vanishing") or box.kind == "op" and own.get("result squares") == 0)),
        "no-gradient": ("requires a gradient, and none came here", lambda own, box: own.get("missing"))}),
    Show("nan", _nan,  # the box says what the legend says, in two lines: where, and the code there
         lambda own, sums, box, legend: (
             dict(legend)["nan"].split(": ", 1) if box and own.get("first nan") else []),
         marks={"nan": ("", lambda own, box: own.get("first nan"))})):
    register(_show)
