"""The same thing drawn differently: without some leaves, each call of a module framed, modules as one box.

Each function maps a Graph to a Graph; figures of boxes that become one are added up. May import
text, style and graph.
"""
import math
from collections.abc import Iterable
from dataclasses import replace

from ..arguments import is_whole, one_of
from ..tape import Entry
from .graph import (
    CALLS, LEAVES, Box, Edge, Graph, Path, Scope, backwards, common, frames, grouped, pass_on, plain_path,
    title,
)
from .style import gravest
from .text import shape_text

MOST = 4  # results of a module whose shapes are written out


def without(graph: Graph, kinds: Iterable[str]) -> Graph:
    """The graph without leaves of some kinds; a constant that is a number is written into its call.

    The figures of a leaf go to the first call that uses it: the bytes of a mask to its dropout.

    Args:
        graph: any.
        kinds: any of "parameter", "input" and "constant".

    Raises:
        ValueError: for another kind.

    Example:
        >>> import tinygrad_conv as tg
        >>> g = tg.graph(2.0 * tg.ones(3, requires_grad=True))
        >>> [box.label for box in without(g, ["constant"]).boxes]
        ['y', 'mul (2, _)']
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in kinds:
        one_of(kind, "draw", "hide", LEAVES)
    gone = {box.id for box in graph.boxes if box.kind in kinds}
    slots = grouped((e.target, _number(graph, e) if e.source in gone else "_") for e in graph.edges)
    boxes = [replace(box, label=f"{box.label} ({', '.join(slots[box.id])})")
             if set(slots.get(box.id, "_")) != {"_"} and "" not in slots[box.id] else box
             for box in graph.boxes if box.id not in gone]
    edges = tuple([edge for edge in graph.edges if edge.source not in gone])
    heirs = {edge.source: edge.target for edge in reversed(graph.edges) if edge.source in gone}
    return replace(graph, boxes=tuple(boxes), edges=edges, figures=pass_on(graph.figures, heirs))


def _number(graph: Graph, edge: Edge) -> str:
    """The value of a constant that is a single number; "_" for any other."""
    value = getattr(graph.sources.get(edge.source), "item", None)
    return f"{value():g}" if value and not edge.shape else "_"


def frame_each_call(graph: Graph) -> Graph:
    """The graph with a frame for each call of a module: an activation used twice in a block is drawn twice.

    Otherwise one frame would reach around what lies between the two calls, and the collapsed module
    would seem to get its own output: a loop where there is none.

    The second call's frame is "relu#2", and so is its backward's, though that comes first; a backward
    of a backward is not numbered. Leaves belong to the first call. A list of modules, which is never
    called itself, remains one frame.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for f in (tg.exp, tg.neg, tg.exp):
        ...     with tg.scope("a" if f is tg.exp else "b"):
        ...         y = f(y)
        >>> [".".join(path) for path in frame_each_call(tg.graph(y)).scopes]
        ['a', 'b', 'a#2']
    """
    counts: dict[Path, int] = {}
    scopes: dict[Path, Scope] = {}
    before: Path = ()
    now: list[str] = []  # the names of `before`, each with its number
    boxes = []
    for box in graph.boxes:
        path, source = box.scope, graph.sources.get(box.id)
        if isinstance(source, Entry):
            names = source.node.scope
            del now[common(before, names):]
            for name in names[len(now):]:
                number = _call_number(counts, (*now, name))
                now.append(f"{name}#{number}" if number > 1 else name)
            before, path = names, plain_path(now)
        if path not in scopes:
            scopes |= {frame: replace(graph.scopes[plain], path=frame)
                       for frame, plain in zip(frames(path), frames(box.scope)) if frame not in scopes}
        boxes.append(replace(box, scope=path) if path != box.scope else box)
    return replace(graph, boxes=tuple(boxes), scopes=scopes)


def _call_number(counts: dict[Path, int], path: Path) -> int:
    """Which call of its module a new frame is; `counts` are those so far."""
    level = backwards(path)
    count = counts[path] = counts.get(path, 0) + 1
    if level == 1:  # the backward comes in the opposite order
        return counts.get(path[1:], 0) + 1 - count
    return 1 if level else count


def collapse(graph: Graph, depth: int) -> Graph:
    """The graph with every module below `depth` frames drawn as one box of kind "module".

    Inside a backward pass frames are counted from the module's name. Calls of a module that are
    apart on the tape become the same box (unless each has its own frame). What happens inside is no
    longer drawn, nor which other calls share its parameters; equal edges between two boxes become one.

    Args:
        graph: any; figures are added up, the most serious mark is kept.
        depth: how many modules may be nested, 0 or more.

    Raises:
        ValueError: if depth is negative, or not a whole number.

    Example:
        >>> import tinygrad_conv as tg
        >>> with tg.scope("layer"):
        ...     y = tg.exp(tg.exp(tg.ones(3, requires_grad=True)))
        >>> [(box.id, box.kind) for box in collapse(tg.graph(y * y), 0).boxes]
        [('leaf0', 'parameter'), ('module:layer', 'module'), ('op2', 'op')]
    """
    if not is_whole(depth, 0):
        raise ValueError(f"collapse: depth must be a whole number, 0 or more, got {depth!r}")
    paths = {box.id: box.scope[:depth + 1 + backwards(box.scope)] for box in graph.boxes}
    inside = grouped((paths[box.id], box) for box in graph.boxes
                     if len(paths[box.id]) > depth + backwards(box.scope))
    ids = {box.id: f"module:{'.'.join(path)}" for path, own in inside.items() for box in own}
    crossing = [e for e in graph.edges if ids.get(e.source, e.source) != ids.get(e.target, e.target)]
    leaves = {box.id for box in graph.boxes if box.kind in LEAVES and box.id in ids}
    level = {box.id: backwards(box.scope) for box in graph.boxes}
    edges = dict.fromkeys(
        replace(e, source=ids.get(e.source, e.source), target=ids.get(e.target, e.target),
                slot=0 if e.target in ids else e.slot)
        for e in crossing if e.source not in leaves or level[e.source] != level[e.target])
    onwards = sorted(crossing, key=lambda e: level[e.source] == level[e.target])  # not what a backward uses
    last = {ids[e.source]: e.source for e in onwards if e.source in ids and e.source not in leaves}
    used = {e.source for e in graph.edges}
    made = {path: _module(graph, path, own, last.get(ids[own[0].id]), used) for path, own in inside.items()}
    boxes = dict.fromkeys(made[paths[box.id]] if box.id in ids else box for box in graph.boxes)
    scopes = {path: scope for path, scope in graph.scopes.items() if path not in inside
              and len(path) <= depth + backwards(path)}
    return replace(graph, boxes=tuple(boxes), edges=tuple(edges), scopes=scopes,
                   figures=pass_on(graph.figures, ids))


def _module(graph: Graph, path: Path, own: list[Box], last: str | None, used: set[str]) -> Box:
    """One box for all of a module's; its output is that of its last call which is used outside."""
    calls = [box for box in own if box.kind in CALLS] or own
    ends = [box for box in own if box.id not in used]
    out = next((box for box in own if box.id == last), calls[-1])
    times = _times(graph, frames(path))
    count = sum(math.prod(box.shape) * _times(graph, frames(box.scope)[len(path):])
                for box in own if box.kind == "parameter")
    notes = []
    if count and not any("parameters" in graph.figures.get(box.id, {}) for box in own):
        notes.append(f"{times} x " * (times > 1) + f"{count:,} parameters")
    if len(ends) > 1:
        shapes = [shape_text(box.shape) for box in ends[:MOST]]
        notes.append(f"-> {', '.join(shapes)}" + f" and {len(ends) - MOST} more" * (len(ends) > MOST))
    notes += [note for box in own if box.mark == "failed" for note in box.notes]
    return Box(f"module:{'.'.join(path)}", "module", title(graph.scopes[path]), out.shape, out.dtype,
               path[:-1], tuple(notes), gravest({box.mark for box in own}))


def _times(graph: Graph, paths: Iterable[Path]) -> int:
    """How many modules frames one inside the other stand for."""
    return math.prod(graph.scopes[path].times for path in paths)
