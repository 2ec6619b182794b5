"""Runs of equal modules drawn once, with their number: "x8".

The rules are meant to be predictable, not clever: see `fold`. May import graph.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .graph import CALLS, Box, Edge, Graph, Path, backwards, grouped, sum_figures

Entrance = tuple[int, int]  # of an edge into a block: number of the box in it, slot


@dataclass
class _Block:
    """A module's boxes in the order of the tape, backward ones too, and the edges that cross its border."""

    path: Path
    boxes: list[Box] = field(default_factory=list)
    inner: list[tuple[Any, ...]] = field(default_factory=list)
    inputs: dict[Entrance, Edge] = field(default_factory=dict)
    outputs: list[Edge] = field(default_factory=list)
    appearance: Any = ()  # equal if the blocks look the same


Positions = dict[str, tuple[_Block | None, int]]  # of boxes: the block and the number in it
NOWHERE = (None, 0)


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


def _own(path: Path) -> Path:
    """The module's path, of its backward too."""
    return path[backwards(path):]


def _fold_level(graph: Graph, level: int) -> Graph:
    paths = dict.fromkeys(own for path in graph.scopes if len(own := _own(path)) == level)
    if len({path[:-1] for path in paths}) == len(paths):  # nobody has a sibling
        return graph
    families, position = _families(graph, level)
    runs = []
    for family in families:
        for block in family if len(family) > 1 else ():
            block.appearance = _appearance(graph, block, level)
        start = 0
        while start < len(family):
            runs.append(family[start:start + _run(family, start, position)])
            start += len(runs[-1])
    runs = [run for run in runs if len(run) > 1]
    return _folded(graph, runs) if runs else graph


def _families(graph: Graph, level: int) -> tuple[list[list[_Block]], Positions]:
    """The modules at one level of nesting, siblings together, in the order of their first box."""
    blocks: dict[Path, _Block] = {}
    position: Positions = {}
    for box in graph.boxes:
        if len(own := _own(box.scope)) >= level:
            block = blocks.setdefault(own[:level], _Block(own[:level]))
            position[box.id] = block, len(block.boxes)
            block.boxes.append(box)
    for edge in graph.edges:
        (a, i), (b, j) = position.get(edge.source, NOWHERE), position.get(edge.target, NOWHERE)
        if a and a is b:
            a.inner.append((i, j, edge.slot, edge.shape, edge.dtype))
            continue
        if a:
            a.outputs.append(edge)
        if b:
            b.inputs[j, edge.slot] = edge
    return [*grouped((block.path[:-1], block) for block in blocks.values()).values()], position


def _appearance(graph: Graph, block: _Block, level: int) -> Any:
    boxes = [(box.kind, box.label if box.kind in CALLS else "", box.shape, box.dtype, backwards(box.scope),
              _own(box.scope)[level:], [note for note in box.notes if not note.startswith("= ")],
              box.mark, graph.figures.get(box.id)) for box in block.boxes]  # "= name" may differ
    kinds = [graph.scopes[path] for path in dict.fromkeys(
        box.scope[:i] for box in block.boxes
        for i in range(level + backwards(box.scope), len(box.scope) + 1))]
    inputs = [(entrance, edge.shape, edge.dtype) for entrance, edge in block.inputs.items()]
    return boxes, [(_own(s.path)[level:], s.kind, s.times) for s in kinds], block.inner, inputs


def _run(family: list[_Block], start: int, position: Positions) -> int:
    """How many equal blocks follow one another from `start` on."""
    end, link = start + 1, None
    while end < len(family):
        one, two = family[end - 1], family[end]
        step = _link(one, two, position)
        if step is None or link not in (None, step):
            break
        back = {source for source, _ in step[1]} if end == start + 1 else set()
        if not _leaving(one, [*family[max(start, end - 2):end - 1], two], position) <= back:
            break
        end, link = end + 1, step
    onward = {source for source, _ in link[0]} if link else set()
    while end > start + 1 and not _leaving(family[end - 1], [family[end - 2]], position) <= onward:
        end -= 1
    return end - start


def _leaving(block: _Block, near: list[_Block], position: Positions) -> set[int]:
    """The boxes from which something goes to others than the blocks beside."""
    return {position[e.source][1] for e in block.outputs
            if not any(position.get(e.target, NOWHERE)[0] is other for other in near)}


def _link(one: _Block, two: _Block, position: Positions) -> Any:
    """Where edges lead on from `one` to `two`, where back; None if `two` does not follow `one`."""
    if one.appearance != two.appearance:
        return None
    onward, back = [tuple([(position[e.source][1], at) for at, e in b.inputs.items()
                           if position.get(e.source, NOWHERE)[0] is a]) for a, b in ((one, two), (two, one))]
    joined = {at for _, at in onward + back}
    others = [{at: e.source for at, e in b.inputs.items() if at not in joined} for b in (one, two)]
    return (onward, back) if onward and others[0] == others[1] else None


def _folded(graph: Graph, runs: list[list[_Block]]) -> Graph:
    """The graph with the first block of each run standing for all of it."""
    home = {box.id: i for i, run in enumerate(runs) for block in run for box in block.boxes}
    gone = {box.id for run in runs for block in run[1:] for box in block.boxes}
    stand_in = {b.id: a.id for run in runs for a, b in zip(run[0].boxes, run[-1].boxes)}
    entered = {(run[0].boxes[i].id, slot) for run in runs for (i, slot), e in run[0].inputs.items()
               if home.get(e.source) == home[e.target]}  # by what comes back: the last block is the first

    def kept(e: Edge) -> bool:
        if e.target in home and home[e.target] == home.get(e.source):
            return not {e.source, e.target} & gone
        return e.target not in gone or (stand_in.get(e.target), e.slot) in entered

    order = {box.id: i for i, box in enumerate(graph.boxes)}
    edges = [replace(e, source=stand_in.get(e.source, e.source), target=stand_in.get(e.target, e.target))
             for e in graph.edges if kept(e)]
    edges.sort(key=lambda e: (order[e.target], e.slot))
    figures = {box: own for box, own in graph.figures.items() if box not in gone}
    for run in runs:
        for same in zip(*(block.boxes for block in run)):
            if same[0].id in figures:
                figures[same[0].id] = sum_figures(graph.figures.get(box.id, {}) for box in same)
    level, paths = len(runs[0][0].path), {block.path for run in runs for block in run[1:]}
    times = {run[0].path: len(run) for run in runs}
    scopes = {path: replace(scope, times=times.get(_own(path), scope.times))
              for path, scope in graph.scopes.items() if _own(path)[:level] not in paths}
    return replace(graph, boxes=tuple([box for box in graph.boxes if box.id not in gone]),
                   edges=tuple(edges), scopes=scopes, figures=figures)
