"""Runs of equal modules drawn once, with their number: "x8".

The rules are meant to be predictable, not clever: see `fold`. May import graph.
"""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from .graph import CALLS, Box, Edge, Graph, Path, total


@dataclass
class _Block:
    """A module's boxes in the order of the tape, and the edges that cross its border."""

    path: Path
    boxes: list[Box] = field(default_factory=list)
    inner: list[tuple[Any, ...]] = field(default_factory=list)
    inputs: dict[tuple[int, int], Edge] = field(default_factory=dict)  # by place and slot of the target
    outputs: list[Edge] = field(default_factory=list)
    look: Any = ()  # equal if the blocks look the same


def fold(graph: Graph) -> Graph:
    """The graph with runs of equal modules drawn as the first of them, `Scope.times` saying how many.

    Modules fold if they are consecutive children of the same module; if they hold the same
    calls with the same parameters, shapes and figures, joined by the same edges (names and
    values of tensors may differ; measured times and gradients always do, so drawings with those
    show every module); and if they form a chain: what leaves one enters the next, at the same
    place each time, and goes nowhere else. Other inputs must come from the same box for all but
    the first. Outer modules are folded before those inside them. Figures are added up.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for i in range(8):
        ...     with tg.scope(str(i)):
        ...         y = tg.exp(tg.neg(y))
        >>> [box.label for box in fold(tg.graph(y)).boxes]
        ['x', 'neg', 'exp']
    """
    level = 1
    while any(len(path) >= level for path in graph.scopes):
        graph = _fold_level(graph, level)
        level += 1
    return graph


def _fold_level(graph: Graph, level: int) -> Graph:
    parents = [path[:-1] for path in graph.scopes if len(path) == level]
    if len(set(parents)) == len(parents):  # nobody has a sibling
        return graph
    blocks = _blocks(graph, level)
    families: dict[Path, list[_Block]] = {}
    for block in blocks.values():
        families.setdefault(block.path[:-1], []).append(block)
    place = {box.id: (block, i) for block in blocks.values() for i, box in enumerate(block.boxes)}
    runs = []
    for family in families.values():
        for block in family if len(family) > 1 else ():
            block.look = _look(graph, block, level)
        start = 0
        while start < len(family):
            runs.append(family[start:start + _run(family, start, place)])
            start += len(runs[-1])
    runs = [run for run in runs if len(run) > 1]
    return _folded(graph, runs) if runs else graph


def _blocks(graph: Graph, level: int) -> dict[Path, _Block]:
    """The modules at one level of nesting, in the order of their first box."""
    blocks: dict[Path, _Block] = {}
    place: dict[str, tuple[Path, int]] = {}
    for box in graph.boxes:
        if len(box.scope) >= level:
            block = blocks.setdefault(box.scope[:level], _Block(box.scope[:level]))
            place[box.id] = block.path, len(block.boxes)
            block.boxes.append(box)
    nowhere = ((), 0)
    for edge in graph.edges:
        (a, i), (b, j) = place.get(edge.source, nowhere), place.get(edge.target, nowhere)
        if a == b and a:
            blocks[a].inner.append((i, j, edge.slot, edge.shape, edge.dtype))
            continue
        if a:
            blocks[a].outputs.append(edge)
        if b:
            blocks[b].inputs[j, edge.slot] = edge
    return blocks


def _look(graph: Graph, block: _Block, level: int) -> Any:
    boxes = [(box.kind, box.label if box.kind in CALLS else "", box.shape, box.dtype,
              box.scope[level:], box.notes, box.mark, graph.figures.get(box.id)) for box in block.boxes]
    kinds = [graph.scopes[path] for path in dict.fromkeys(
        box.scope[:i] for box in block.boxes for i in range(level, len(box.scope) + 1))]
    inputs = [(place, edge.shape, edge.dtype) for place, edge in block.inputs.items()]
    return boxes, [(s.path[level:], s.kind, s.times) for s in kinds], block.inner, inputs


def _run(family: list[_Block], start: int, place: dict[str, tuple[_Block, int]]) -> int:
    """How many equal blocks follow one another from `start` on."""
    end, link = start + 1, None
    while end < len(family):
        step = _link(family[end - 1], family[end], place)
        if step is None or link not in (None, step):
            break
        link, end = step, end + 1
    leaving = {source for source, _ in link[0]} if link else set()
    while end > start + 1 and not {place[e.source][1] for e in family[end - 1].outputs} <= leaving:
        end -= 1
    return end - start


def _link(one: _Block, two: _Block, place: dict[str, tuple[_Block, int]]) -> Any:
    """How `two` follows `one`: places the edges lead from and to; None if it does not follow."""
    if one.look != two.look or any(place.get(e.target, (None,))[0] is not two for e in one.outputs):
        return None
    chain, others = [], []
    for at, edge in two.inputs.items():
        if place.get(edge.source, (None,))[0] is one:
            chain.append((place[edge.source][1], at))
        else:
            others.append((at, edge.source))
    return (tuple(chain), tuple(others)) if chain else None


def _folded(graph: Graph, runs: list[list[_Block]]) -> Graph:
    """The graph with the first block of each run standing for all of it."""
    gone = {box.id for run in runs for block in run[1:] for box in block.boxes}
    stand_in = {b.id: a.id for run in runs for a, b in zip(run[0].boxes, run[-1].boxes)}
    edges = [replace(e, source=stand_in.get(e.source, e.source)) for e in graph.edges
             if e.target not in gone and (e.source not in gone or e.source in stand_in)]
    figures = {box: own for box, own in graph.figures.items() if box not in gone}
    for run in runs:
        for same in zip(*(block.boxes for block in run)):
            if same[0].id in figures:
                figures[same[0].id] = total(graph.figures.get(box.id, {}) for box in same)
    level, paths = len(runs[0][0].path), {block.path for run in runs for block in run[1:]}
    scopes = {path: scope for path, scope in graph.scopes.items() if path[:level] not in paths}
    for run in runs:
        scopes[run[0].path] = replace(scopes[run[0].path], times=len(run))
    return replace(graph, boxes=tuple([box for box in graph.boxes if box.id not in gone]),
                   edges=tuple(edges), scopes=scopes, figures=figures)
