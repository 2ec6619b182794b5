"""Runs of equal modules drawn once, with their number: "x8".

The rules are meant to be predictable, not clever: see `fold`. May import graph.
"""
from dataclasses import dataclass, field, replace
from typing import Any

from .graph import CALLS, Box, Edge, Graph, Path, backwards, frames, grouped, module_path, pass_on


@dataclass(eq=False)
class _Block:
    """A module's boxes in the order of the tape, backward ones too, and the edges that cross its border."""

    path: Path
    boxes: list[Box] = field(default_factory=list)
    inner: list[tuple[Any, ...]] = field(default_factory=list)
    inputs: dict[tuple[int, int], Edge] = field(default_factory=dict)  # by the number of the box, and slot
    outputs: list[Edge] = field(default_factory=list)
    appearance: Any = ()  # equal if the blocks look the same


Positions = dict[str, tuple[_Block, int]]  # of boxes: the block and the number in it


def fold(graph: Graph) -> Graph:
    """The graph with runs of equal modules drawn as the first of them, `Scope.times` saying how many.

    Modules fold if they are consecutive children of the same module; if they hold the same
    calls with the same parameters, shapes and figures, joined by the same edges (names and
    values of tensors may differ; measured times and gradients always do, so drawings with those
    show every module); and if they form a chain: what leaves one enters those beside it, at the
    same place each time, and goes nowhere else. Other inputs must come from the same box. A
    module's backward is part of it: both fold, or neither. Outer modules are folded before those
    inside them. Figures are added up.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for i in range(8):
        ...     with tg.scope(str(i)):
        ...         y = tg.exp(tg.neg(y))
        >>> [box.label for box in fold(tg.graph(y)).boxes]
        ['x', 'neg', 'exp']
    """
    for level in range(1, max(map(len, graph.scopes), default=0) + 1):
        graph = _fold_level(graph, level)
    return graph


def _fold_level(graph: Graph, level: int) -> Graph:
    families, position = _families(graph, level)
    runs = []
    for family in families:
        for block in family:
            block.appearance = _appearance(graph, block, level)
        start = 0
        while start < len(family):
            runs.append(family[start:_run(family, start, position)])
            start += len(runs[-1])
    runs = [run for run in runs if len(run) > 1]
    return _folded(graph, runs) if runs else graph


def _families(graph: Graph, level: int) -> tuple[list[list[_Block]], Positions]:
    """The modules at one level of nesting, siblings together, in the order of their first box."""
    blocks: dict[Path, _Block] = {}
    position: Positions = {}
    for box in graph.boxes:
        path = module_path(box.scope)[:level]
        path = path if len(path) == level else ()  # what lies outside of all is a block too
        block = blocks.setdefault(path, _Block(path))
        position[box.id] = block, len(block.boxes)
        block.boxes.append(box)
    for edge in graph.edges:
        (a, i), (b, j) = position[edge.source], position[edge.target]
        if a is b:
            a.inner.append((i, j, edge.slot, edge.shape, edge.dtype))
        else:
            a.outputs.append(edge)
            b.inputs[j, edge.slot] = edge
    siblings = grouped((path[:-1], block) for path, block in blocks.items() if path).values()
    return [family for family in siblings if len(family) > 1], position


def _appearance(graph: Graph, block: _Block, level: int) -> Any:
    boxes = [(box.kind, box.label if box.kind in CALLS else "", box.shape, box.dtype, backwards(box.scope),
              module_path(box.scope)[level:], [note for note in box.notes if not note.startswith("= ")],
              box.mark, graph.figures.get(box.id)) for box in block.boxes]  # "= name" may differ
    scopes = [graph.scopes[path] for path in dict.fromkeys(
        path for box in block.boxes for path in frames(box.scope)[level + backwards(box.scope) - 1:])]
    inputs = [(entrance, edge.shape, edge.dtype) for entrance, edge in block.inputs.items()]
    return boxes, [(module_path(s.path)[level:], s.kind, s.times) for s in scopes], block.inner, inputs


def _run(family: list[_Block], start: int, position: Positions) -> int:
    """Where the blocks end that follow one another from `start` on and are equal."""
    end, link, before = start + 1, None, None
    for one, two in ((family[i], family[i + 1]) for i in range(start, len(family) - 1)):
        step = _link(one, two, position)
        if step is None or link not in (None, step):
            break
        back = {source for source, _ in step[1]} if before is None else set()
        if not _leaving(one, [before, two], position) <= back:
            break
        end, link, before = end + 1, step, one
    onward = {source for source, _ in link[0]} if link else set()
    while end > start + 1 and not _leaving(family[end - 1], [family[end - 2]], position) <= onward:
        end -= 1
    return end


def _leaving(block: _Block, near: list[_Block | None], position: Positions) -> set[int]:
    """The boxes from which something goes to others than the blocks beside."""
    return {position[e.source][1] for e in block.outputs if position[e.target][0] not in near}


def _link(one: _Block, two: _Block, position: Positions) -> Any:
    """Where edges lead on from `one` to `two`, where back; None if `two` does not follow `one`."""
    if one.appearance != two.appearance:
        return None
    onward, back = [tuple([(position[e.source][1], at) for at, e in b.inputs.items()
                           if position[e.source][0] is a]) for a, b in ((one, two), (two, one))]
    joined = {at for _, at in onward + back}
    others = [{at: e.source for at, e in b.inputs.items() if at not in joined} for b in (one, two)]
    return (onward, back) if onward and others[0] == others[1] else None


def _folded(graph: Graph, runs: list[list[_Block]]) -> Graph:
    """The graph with the first block of each run standing for all of it."""
    home = {box.id: i for i, run in enumerate(runs) for block in run for box in block.boxes}
    first = {b.id: a.id for run in runs for block in run[1:] for a, b in zip(run[0].boxes, block.boxes)}
    stand_in = {b.id: a.id for run in runs for a, b in zip(run[0].boxes, run[-1].boxes)}
    entered = {(run[0].boxes[i].id, slot) for run in runs for (i, slot), e in run[0].inputs.items()
               if home.get(e.source) == home[e.target]}  # by what comes back: the last block is the first

    def kept(e: Edge) -> bool:
        if e.target in home and home[e.target] == home.get(e.source):
            return e.source not in first and e.target not in first
        return e.target not in first or (stand_in.get(e.target), e.slot) in entered

    order = {box.id: i for i, box in enumerate(graph.boxes)}
    edges = [replace(e, source=stand_in.get(e.source, e.source), target=stand_in.get(e.target, e.target))
             for e in graph.edges if kept(e)]
    edges.sort(key=lambda e: (order[e.target], e.slot))
    level, paths = len(runs[0][0].path), {block.path for run in runs for block in run[1:]}
    times = {run[0].path: len(run) for run in runs}
    scopes = {path: replace(scope, times=times.get(module_path(path), scope.times))
              for path, scope in graph.scopes.items() if module_path(path)[:level] not in paths}
    return replace(graph, boxes=tuple([box for box in graph.boxes if box.id not in first]),
                   edges=tuple(edges), scopes=scopes, figures=pass_on(graph.figures, first))
