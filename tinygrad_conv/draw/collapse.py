"""The same thing drawn differently: without some leaves, each call of a module framed, modules as one box.

Each function maps a Graph to a Graph; figures of boxes that become one are added up. The rules are meant
to be predictable, not clever.
"""
import math
from collections.abc import Iterable, Iterator, Set
from dataclasses import replace
from typing import Any

from ..arguments import instance, one_of, whole
from ..state import Call
from ..tensor import Tensor
from .graph import (
    CALLS, LEAVES, OUTPUT, Box, Edge, Graph, Loop, Path, Scope, backwards, frames, grouped, module_path,
    pass_on, sum_figures, title,
)
from .style import gravest, number_text, parameters_text, shape_text

MOST = 4  # results of a module whose shapes are written out


def without(graph: Graph, kinds: Iterable[str]) -> Graph:
    """The graph without boxes of some kinds; a constant that is a number is written into its call.

    The figures of a leaf go to the first call that uses it: the bytes of a mask to its dropout.

    Args:
        graph: any.
        kinds: any of "parameter", "input", "constant", "seed" and "output".

    Raises:
        ValueError: for another kind.

    Example:
        >>> import tinygrad_conv as tg
        >>> g = tg.graph(2.0 * tg.ones(3, requires_grad=True))
        >>> [box.label for box in without(g, ["constant"]).boxes]
        ['y', 'mul (2, _)']
    """
    kinds = [kinds] if isinstance(kinds, str) else kinds
    instance(kinds, str | Iterable, "draw", "kinds of boxes as hide, such as (\"constant\",)")
    hidden = {one_of(kind, "draw", "hide", (*LEAVES, OUTPUT)) for kind in kinds}
    gone = {box.id for box in graph.boxes if box.kind in hidden}
    slots = grouped((e.target, _number(graph, e) if e.source in gone else "_") for e in graph.edges)
    boxes = [replace(box, label=f"{box.label} ({', '.join(slots[box.id])})")
             if box.kind in CALLS and {*slots.get(box.id, "_")} != {"_"} and "" not in slots[box.id] else box
             for box in graph.boxes if box.id not in gone]
    edges = tuple([edge for edge in graph.edges if not {edge.source, edge.target} & gone])
    heirs = {edge.source: edge.target for edge in reversed(graph.edges) if edge.source in gone}
    return replace(graph, boxes=tuple(boxes), edges=edges, figures=pass_on(graph.figures, heirs))


def _number(graph: Graph, edge: Edge) -> str:
    """The value of a constant that is a single number; "_" for any other."""
    source = graph.sources.get(edge.source)
    return number_text(source) if isinstance(source, Tensor) and not edge.shape else "_"


def frame_each_call(graph: Graph) -> Graph:
    """The graph with a frame for each call of a module: an activation used twice in a block is drawn twice.

    Otherwise one frame would reach around what lies between the two calls, and the collapsed module
    would seem to get its own output: a loop where there is none.

    The second call's frame is "relu#2", and so is its backward's, though that comes first. Leaves belong to
    the first call. A list of modules, which is never called itself, remains one frame. What uses parameters
    that were used before says so: "same weights as trunk.0".

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for f in (tg.exp, tg.neg, tg.exp):
        ...     with tg.scope("a" if f is tg.exp else "b"):
        ...         y = f(y)
        >>> [".".join(path) for path in frame_each_call(tg.graph(y)).scopes]
        ['a', 'b', 'a#2']
    """
    calls = {_calls(box.scope): module_path(box.scope) for box in graph.boxes}
    counts: dict[Path, dict[int, int]] = {}
    numbered = {each: _numbered(calls[each], counts) for each in sorted(calls)}  # in the order of the calls
    scopes: dict[Path, Scope] = {}
    boxes = []
    for box in graph.boxes:
        level = backwards(box.scope)
        path = (*box.scope[:level], *numbered[_calls(box.scope)])
        scopes |= {frame: replace(graph.scopes[plain], path=frame)
                   for frame, plain in zip(frames(path), frames(box.scope)) if frame not in scopes}
        boxes.append(replace(box, scope=path))
    return _shared(replace(graph, boxes=tuple(boxes), scopes=scopes))


def _shared(graph: Graph) -> Graph:
    """Notes on the frames of modules that are called again, and where else a parameter is used again."""
    boxes = {box.id: box for box in graph.boxes}
    named = [path for path in graph.scopes if getattr(path[-1], "module", None) and not backwards(path)]
    first = {path[-1].module: path for path in reversed(named)}
    again = {path: first[path[-1].module] for path in named if first[path[-1].module] != path}
    begun: dict[str, Box] = {}  # by parameter, the call that uses it first
    same: dict[Any, dict[str, None]] = {}  # by frame (or call outside) and by what is the same there
    for edge in graph.edges:
        leaf, call = boxes[edge.source], boxes[edge.target]
        if leaf.kind != "parameter" or call.kind != "op" or backwards(call.scope):
            continue
        user = begun.setdefault(leaf.id, call)
        repeated = {path: again[path] for path in frames(call.scope) if path in again}
        for path, before in repeated.items():
            same.setdefault(path, {})[f"same weights as {'.'.join(before)}"] = None
        if not repeated and user.scope != call.scope:
            inside = user.scope[:len(call.scope)] == call.scope  # of its frame the first use is a part
            what = f"same {leaf.label.rpartition('.')[2]} as {'.'.join(user.scope) or user.label}"
            same.setdefault(call.id if inside else call.scope, {})[what] = None
    scopes = {path: replace(scope, notes=(*same.get(path, ()),)) for path, scope in graph.scopes.items()}
    return replace(graph, scopes=scopes, boxes=tuple([
        replace(box, notes=(*box.notes, *same[box.id])) if box.id in same else box for box in graph.boxes]))


def _calls(path: Path) -> tuple[tuple[int, str], ...]:
    """What tells the calls of a path from those of others with the same names."""
    return tuple([(name.number if isinstance(name, Call) else 0, name) for name in module_path(path)])


def _numbered(path: Path, counts: dict[Path, dict[int, int]]) -> Path:
    """The path with "#2" behind the name of a second call; `counts` are, by path, the calls so far."""
    names: Path = ()
    for name in path:
        if isinstance(name, Call):
            calls = counts.setdefault((*names, name), {})
            number = calls.setdefault(name.number, len(calls) + 1)
            name = name.renamed(f"{name}#{number}") if number > 1 else name
        names = (*names, name)
    return names


def collapse(graph: Graph, depth: int) -> Graph:
    """The graph with every module below `depth` frames drawn as one box of kind "module".

    Inside a backward pass frames are counted from the module's name. Calls of a module that are
    apart on the tape become the same box (unless each has its own frame). What happens inside is no
    longer drawn; equal edges between two boxes become one. Parameters are counted by identity: a second call
    of a module has "same weights as" the first, and those that several modules use count in each.

    Args:
        graph: any; figures are added up, the most serious mark is kept.
        depth: how many modules may be nested, 0 or more.

    Raises:
        TypeError, ValueError: if depth is not a whole number, or negative.

    Example:
        >>> import tinygrad_conv as tg
        >>> with tg.scope("layer"):
        ...     y = tg.exp(tg.exp(tg.ones(3, requires_grad=True)))
        >>> [(box.id, box.kind) for box in collapse(tg.graph(y * y), 0).boxes]
        [('leaf0', 'parameter'), ('module:layer', 'module'), ('op2', 'op')]
    """
    depth = whole(depth, "draw", "depth", 0)
    return close(graph, {path for path in graph.scopes if path == _closed(path, depth)})


def close(graph: Graph, closed: Set[Path]) -> Graph:
    """The graph with these frames drawn as one box each, see `collapse`; of nested ones the outermost."""
    paths = {box.id: next((path for path in frames(box.scope) if path in closed), ()) for box in graph.boxes}
    inside = grouped((paths[box.id], box) for box in graph.boxes if paths[box.id])
    ids = {box.id: f"module:{'.'.join(path)}" for path, own in inside.items() for box in own}
    again = {ids[own[0].id] for path, own in inside.items() if _times(graph, path) > 1}
    crossing = [e for e in graph.edges if ids.get(e.source, e.source) != ids.get(e.target, e.target)
                or e.back and ids.get(e.source) in again]
    leaves = {box.id for box in graph.boxes if box.kind in LEAVES and box.id in ids}
    outputs = {box.id for box in graph.boxes if box.kind == OUTPUT}
    level = {box.id: backwards(box.scope) for box in graph.boxes}
    edges = dict.fromkeys(
        replace(e, source=ids.get(e.source, e.source), target=ids.get(e.target, e.target),
                slot=0 if e.target in ids else e.slot, output=0 if e.source in ids else e.output)
        for e in crossing if e.source not in leaves or level[e.source] != level[e.target] and not (
            e.target in ids and e.target in outputs))  # of gradients the module says how many
    onwards = sorted(crossing, key=lambda e: level[e.source] == level[e.target])  # not what a backward uses
    last = {ids[e.source]: e.source for e in onwards if e.source in ids and e.source not in leaves}
    used = {e.source for e in graph.edges}
    lent = _lent(graph, ids, level)
    beside = {path: next((ids[box.of] for box in own if box.of in ids), "") for path, own in inside.items()}
    made = {path: _module(graph, path, own, last.get(ids[own[0].id]), used, lent.get(ids[own[0].id], []))
            for path, own in inside.items()}
    made = {path: replace(box, of=beside[path]) for path, box in made.items()}
    boxes = dict.fromkeys(made[paths[box.id]] if box.id in ids else box for box in graph.boxes)
    scopes = {path: scope for path, scope in graph.scopes.items() if closed.isdisjoint(frames(path))}
    figures = pass_on(graph.figures, ids)
    each = {box: own for box, own in graph.each.items() if box not in ids}
    for path, own in inside.items():
        module = ids[own[0].id]
        if _times(graph, path) > 1:
            parts = [graph.each[box.id] for box in own if box.id in graph.each]
            each[module] = [*map(sum_figures, zip(*parts))]
        shared = sum_figures(graph.figures.get(box.id, {}) for box in lent.get(module, [])).get("parameters")
        if shared and not _is_again(graph.scopes[path], own):
            figures.setdefault(module, {})["shared"] = shared
    return replace(graph, boxes=tuple(boxes), edges=tuple(edges), scopes=scopes, figures=figures, each=each)


def _closed(path: Path, depth: int) -> Path:
    """The outermost frame of a path that is nested too deep; () if none is. Those of loops are no modules."""
    modules = [end for end, name in enumerate(path, 1) if not isinstance(name, Loop)][backwards(path):]
    return path[:modules[depth]] if len(modules) > depth else ()


def _lent(graph: Graph, ids: dict[str, str], level: dict[str, int]) -> dict[str, list[Box]]:
    """By collapsed module the parameters that it uses and that are drawn elsewhere."""
    parameters = {box.id: box for box in graph.boxes if box.kind == "parameter"}
    users = dict.fromkeys((ids[e.target], e.source) for e in graph.edges
                          if e.target in ids and e.source in parameters and level[e.source] == level[e.target]
                          and ids.get(e.source) != ids[e.target])
    return grouped((module, parameters[leaf]) for module, leaf in users)


def _module(graph: Graph, path: Path, own: list[Box], last: str | None, used: set[str],
            lent: list[Box]) -> Box:
    """One box for all of a module's; its output is that of its last call which is used outside."""
    calls = [box for box in own if box.kind in CALLS] or own
    gradients = sum(box.kind == OUTPUT for box in own)
    ends = [box for box in own if box.id not in used and box.kind != OUTPUT]
    out = next((box for box in own if box.id == last), calls[-1])
    times, held = _times(graph, path), [box for box in own if box.kind == "parameter"]
    count = sum(math.prod(box.shape) * graph.counts.get(box.id, 1) for box in held)
    notes = [*_shares(graph, path, own)] if lent else []
    shared = 0 if _is_again(graph.scopes[path], own) else sum(math.prod(box.shape) for box in lent)
    if count + shared and not any("parameters" in graph.figures.get(box.id, {}) for box in [*own, *lent]):
        notes.append(parameters_text(count + shared, shared) if shared or times == 1 else
                     _of_all(count, {graph.counts.get(box.id, 1) for box in held}, times))
    if gradients:
        notes.append(f"{times} x " * (times > 1) + f"{gradients} gradient{'s' * (gradients > 1)}")
    if len(ends) > 1:
        shapes = [shape_text(box.shape) for box in ends[:MOST]]
        notes.append(f"-> {', '.join(shapes)}" + f" and {len(ends) - MOST} more" * (len(ends) > MOST))
    notes += [note for box in own if box.mark == "failed" for note in box.notes]
    label = title(replace(graph.scopes[path], notes=()))
    shape, dtype = (out.shape, out.dtype) if last or not gradients else ((), "")  # no other result
    return Box(f"module:{'.'.join(path)}", "module", label, shape, dtype, path[:-1], tuple(notes),
               gravest({box.mark for box in own}))


def _of_all(count: float, sets: set[int], times: int) -> str:
    """The number of parameters of a module drawn once for several, which may have some in common.

    Example:
        >>> _of_all(80, {4}, 4), _of_all(20, {1}, 5), _of_all(80, {4}, 20)
        ('4 x 20 parameters', '20 parameters, the same each time', '4 x 20 parameters, each 5 times')
    """
    own = sets.pop() if len(sets) == 1 else 0
    if own == times or own and own > 1:
        return f"{own} x {parameters_text(count / own)}" + f", each {times // own} times" * (own < times)
    return f"{parameters_text(count)}, the same each time" if own else f"{parameters_text(count)} in all"


def _is_again(scope: Scope, own: list[Box]) -> bool:
    """Whether all parameters of a module were used before, outside of it: they count there."""
    return bool(scope.notes) and not any(box.kind == "parameter" for box in own)


def _shares(graph: Graph, path: Path, own: list[Box]) -> Iterator[str]:
    """What a closed module says of parameters used before: its own notes, or those of frames inside."""
    inner = dict.fromkeys(frame for box in own for frame in frames(box.scope)[len(path) - 1:])
    for frame in [path] if graph.scopes[path].notes else inner:
        for note in graph.scopes[frame].notes:
            yield ": ".join(filter(None, [".".join(frame[len(path):]), note]))


def _times(graph: Graph, path: Path) -> int:
    """How many modules a frame stands for, with all around it."""
    return math.prod(graph.scopes[frame].times for frame in frames(path))
