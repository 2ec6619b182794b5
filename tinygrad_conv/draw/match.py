"""Which box of one graph is which of another: what `diff` compares.

Frames are paired from the outside in. What stands in a pair of frames is aligned in the order of the tape, at
the least cost; frames with the same parameters, the very same tensors, belong together, wherever they stand.
The backward of a frame is that of its partner, and leaves are paired by the calls that use them.
"""
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .graph import LEAVES, Box, Edge, Graph, Path, backwards, frames, grouped, module_path

GAP = 1.0  # what it costs to leave a box or a frame without a partner; a pair may cost less than two


@dataclass(eq=False, slots=True)
class Part:
    """A call or a frame, with the parts in it in the order of the tape."""

    path: Path
    box: Box | None = None
    kind: str = ""
    parts: list["Part"] = field(default_factory=list)
    words: Counter = field(default_factory=Counter)  # of all boxes in it: the op or name alone
    looks: Counter = field(default_factory=Counter)  # the same with parameters and shape
    weights: list[Any] = field(default_factory=list)  # name and shape of the parameters in it
    known: frozenset[int] = frozenset()              # of the parameters in it, those in both drawings
    key: Any = None                                  # equal for parts that are the same all through


class Side:
    """One of the two graphs, by part, box and edge."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.boxes = {box.id: box for box in graph.boxes}
        self.order = {box.id: i for i, box in enumerate(graph.boxes)}
        self.inputs: Mapping[str, list[Edge]] = grouped((e.target, e) for e in graph.edges)
        self.users: Mapping[str, list[str]] = grouped((e.source, e.target) for e in graph.edges)
        self.tensors = {id(t): box for box, t in graph.sources.items() if self.boxes[box].kind in LEAVES}
        self.parts: dict[Path, Part] = {(): Part(())}
        for box in graph.boxes:
            for path in frames(box.scope):
                if path not in self.parts:
                    self.parts[path] = Part(path, kind=graph.scopes[path].kind)
                    self.parts[path[:-1]].parts.append(self.parts[path])
            word, look = (box.kind, box.label.split(" ")[0]), (box.label, box.shape, box.dtype)
            for path in [(), *frames(box.scope)]:
                self.parts[path].words[word] += 1
                self.parts[path].looks[look] += 1
                self.parts[path].weights += [(box.label, box.shape)] * (box.kind == "parameter")
            if box.kind not in LEAVES:
                self.parts[box.scope].parts.append(Part(box.scope, box))
        self.units = {path for path, part in self.parts.items() if module_path(path)
                      and all([inner.box for inner in part.parts])}  # modules with no others in them

    def prepare(self, common: set[int], keys: dict[Any, int]) -> None:
        """Set `known` and `key`; `common` are tensors, and `keys` those of parts, of both sides."""
        inside = grouped((path, t) for t, box in self.tensors.items() if t in common
                         for path in frames(self.boxes[box].scope))
        for part in sorted(self.parts.values(), key=lambda part: -len(part.path)):
            part.known = frozenset(inside.get(part.path, ()))
            for inner in filter(lambda inner: inner.box, part.parts):
                inner.key = keys.setdefault(_look(inner.box), len(keys))
            own = str(part.path[-1]) if part.path else "", part.kind, part.known
            what = tuple([inner.key for inner in part.parts]), frozenset(part.looks.items())
            part.key = keys.setdefault((own, what), len(keys))


def _look(box: Box) -> tuple[Any, ...]:
    return box.kind, box.label, box.shape, box.dtype


def _contents(part: Part) -> Any:
    """What tells a module that was moved: itself, or its class and parameters; None if it has neither."""
    return part.known or ((part.kind, tuple(part.weights)) if part.kind and part.weights else None)


def _shared(a: Counter, b: Counter) -> float:
    return sum((a & b).values()) / max(sum(a.values()), sum(b.values()), 1)


def _cost(p: Part, q: Part) -> float:
    """What it costs to call two parts the same: 0 if they are, infinite if they cannot be."""
    if p.key == q.key:
        return 0.0
    if p.box and q.box:
        same = (p.box.kind, p.box.label.split(" ")[0]) == (q.box.kind, q.box.label.split(" ")[0])
        return 0.2 + 0.3 * (p.box.label != q.box.label) if same else math.inf
    if p.box or q.box or (p.known or q.known) and p.known.isdisjoint(q.known):
        return math.inf
    words, named = _shared(p.words, q.words), p.path[-1] == q.path[-1]
    alike = (words + _shared(p.looks, q.looks)) / 2
    if p.known:
        return 0.05 * (not named) + 0.6 * (1 - len(p.known & q.known) / len(p.known | q.known))
    if (p.kind != q.kind and not (named and alike > 0.5)) or not (named or words):
        return math.inf
    return 0.05 * (not named) + 1.2 * (1 - alike)


def _aligned(ps: Sequence[Part], qs: Sequence[Part]) -> list[tuple[Part, Part]]:
    """The pairs of the cheapest alignment of two sequences."""
    start = next((i for i, (p, q) in enumerate(zip(ps, qs)) if p.key != q.key), min(len(ps), len(qs)))
    rest = min(len(ps), len(qs)) - start
    end = next((i for i, (p, q) in enumerate(zip(ps[::-1][:rest], qs[::-1])) if p.key != q.key), rest)
    pairs = [*zip(ps[:start], qs[:start]), *zip(ps[len(ps) - end:], qs[len(qs) - end:])]
    ps, qs = ps[start:len(ps) - end], qs[start:len(qs) - end]
    if not (ps and qs):
        return pairs
    firsts, seconds = {p.key: p for p in ps}, {q.key: q for q in qs}
    place = {key: i for i, key in enumerate(seconds)}
    columns = np.array([place[q.key] for q in qs])
    costs = {key: np.array([_cost(p, q) for q in seconds.values()]) for key, p in firsts.items()}
    steps = np.arange(len(qs) + 1) * GAP
    best, chosen = steps, []
    for p in ps:  # the usual table, a row at a time
        paired = np.concatenate([[math.inf], best[:-1] + costs[p.key][columns]])
        reached = np.minimum(paired, best + GAP)
        row = steps + np.minimum.accumulate(reached - steps)
        most = row + 1e-9
        chosen.append(np.where(paired <= most, 0, np.where(best + GAP <= most, 1, 2)).astype(np.int8))
        best = row
    i, j = len(ps), len(qs)
    while i and j:
        step = chosen[i - 1][j]
        if step == 0:
            pairs.append((ps[i - 1], qs[j - 1]))
        i, j = i - (step != 2), j - (step != 1)
    return pairs


class _Pairing:
    """Which frames of two sides are the same, by path, and which boxes, by id."""

    def __init__(self, one: Side, two: Side) -> None:
        self.one, self.two = one, two
        self.scopes: dict[Path, Path] = {(): ()}
        self.boxes: dict[str, str] = {}
        common = {t for t, box in one.tensors.items() if t in two.tensors and (
            "parameter" in (one.boxes[box].kind, two.boxes[two.tensors[t]].kind))}
        keys: dict[Any, int] = {}
        for side in (one, two):
            side.prepare(common, keys)
        self._descend([((), ())])
        self._find_moved()
        self._follow_backward()
        self._match_leaves()

    def _descend(self, pairs: list[tuple[Path, Path]]) -> None:
        """Align what is in pairs of forward frames, and in those that turn out to be pairs."""
        while pairs:
            a, b = pairs.pop()
            ps, qs = ([inner for inner in side.parts[path].parts if inner.box or not backwards(inner.path)]
                      for side, path in ((self.one, a), (self.two, b)))
            for p, q in _aligned(ps, qs):
                if p.box and q.box:
                    self.boxes[p.box.id] = q.box.id
                else:
                    self.scopes[p.path] = q.path
                    pairs.append((p.path, q.path))

    def _find_moved(self) -> None:
        """Frames left over with the same parameters, or the only ones of their class and their shapes."""
        taken = set(self.scopes.values())
        left, right = (grouped((key, path) for path, part in side.parts.items() if not (
            path in known or backwards(path)) and (key := _contents(part)))
            for side, known in ((self.one, self.scopes), (self.two, taken)))
        for key, paths in left.items():
            for a, b in zip(paths, right.get(key, ())):
                alone = len(paths) == len(right[key]) == 1
                free = a not in self.scopes and b not in self.scopes.values()
                if free and (alone or isinstance(key, frozenset)):
                    self.scopes[a] = b
                    self._descend([(a, b)])

    def _follow_backward(self) -> None:
        """The backward of a frame is that of its partner; only the calls in it are aligned."""
        for path in self.one.parts:
            level = backwards(path)
            other = (*path[:level], *self.scopes.get(module_path(path), ("",)))
            if level and other in self.two.parts:
                self.scopes[path] = other
                self.boxes |= {p.box.id: q.box.id for p, q in _aligned(*[
                    [inner for inner in side.parts[own].parts if inner.box]
                    for side, own in ((self.one, path), (self.two, other))])}

    def _match_leaves(self) -> None:
        """The same tensor; what enters a pair of calls in one place; else one of that name in its frame."""
        one, two = self.one, self.two
        found = [(box, two.tensors[t]) for t, box in one.tensors.items() if t in two.tensors]
        for alike in (lambda x, y: x.label == y.label and x.kind == y.kind,
                      lambda x, y: x.label == y.label or x.kind == y.kind):
            for a, b in [*self.boxes.items()]:
                slots = {e.slot: e.source for e in two.inputs.get(b, ())}
                found += [(e.source, slots[e.slot]) for e in one.inputs.get(a, ()) if e.slot in slots
                          and alike(one.boxes[e.source], two.boxes[slots[e.slot]])]
        self._take(found)
        taken, paths = {*self.boxes.values()}, {path: path for path in two.parts}
        left, right = (grouped(((to.get(box.scope), box.label), box.id) for box in side.graph.boxes
                               if box.kind in LEAVES and box.id not in done)
                       for side, to, done in ((one, self.scopes, self.boxes), (two, paths, taken)))
        self._take([pair for key, boxes in left.items() for pair in zip(boxes, right.get(key, ()))])

    def _take(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Of pairs of leaves those whose two are still free."""
        taken = {*self.boxes.values()}
        for a, b in pairs:
            kinds = {self.one.boxes[a].kind, self.two.boxes[b].kind}
            if kinds <= {*LEAVES} and a not in self.boxes and b not in taken:
                self.boxes[a] = b
                taken.add(b)


def _inverse(pairs: Mapping[Any, Any]) -> dict[Any, Any]:
    return {b: a for a, b in pairs.items()}


class Match:
    """The pairs of two graphs: `boxes` by id, `back` the other way round, `scopes` by path.

    It is the same whichever graph is the first.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.ones(3, requires_grad=True)
        >>> Match(tg.graph(tg.exp(x)), tg.graph(tg.exp(tg.tanh(x)))).boxes
        {'op0': 'op1', 'leaf0': 'leaf0'}
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.one, self.two = one, two = Side(a), Side(b)
        swapped = [*map(_look, b.boxes)] < [*map(_look, a.boxes)]
        pairing = _Pairing(two, one) if swapped else _Pairing(one, two)
        self.boxes, self.scopes = (_inverse(pairs) if swapped else pairs
                                   for pairs in (pairing.boxes, pairing.scopes))
        self.back = _inverse(self.boxes)
        self.partners = {one: (self.boxes, self.scopes), two: (self.back, _inverse(self.scopes))}
        self.after: dict[str, int] = {}
        last = -1
        for box in a.boxes:
            last = two.order.get(self.boxes.get(box.id, ""), last)
            self.after[box.id] = last

    def lone(self, side: Side) -> dict[str, Path]:
        """Boxes of a side without a partner, each with the outermost frame that is new as a whole, or ()."""
        boxes, scopes = self.partners[side]
        old = {path for box in side.graph.boxes if box.id in boxes and box.kind not in LEAVES
               for path in frames(box.scope)} | {*scopes}
        return {box.id: next((path for path in frames(box.scope) if path not in old), ())
                for box in side.graph.boxes if box.id not in boxes}

    def place(self, side: Side, box: str) -> tuple[int, int]:
        """Where a box stands in the net: what is in the first drawing alone behind what it followed there."""
        if side is self.two:
            return self.two.order[box], -1
        return self.after[box], self.one.order[box]
