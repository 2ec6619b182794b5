"""Two drawings compared: what was added, removed, changed and moved, as lines and as one picture of both.

Frames are matched first: by the module itself where both drawings are of the same one, else by aligning what
stands in the same frame, in order and at the least cost. Boxes are matched inside matched frames, leaves by
the calls that use them. What only follows from another difference (a shape after a layer that was inserted)
is not a difference of its own. Takes and gives plain models; reads no values but single numbers.
"""
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arguments import instance
from ..state import Call
from .collapse import close, frame_each_call
from .drawing import Drawing
from .graph import (
    LEAVES, Box, Edge, Graph, Path, Scope, backwards, frames, grouped, module_path, title,
)
from .style import parameters_text, printable, tensor_text

SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
MEANINGS = {"added": "in the second drawing only", "removed": "in the first drawing only",
            "changed": "other than in the first drawing"}
GAP = 1.0  # what it costs to leave a box or a frame without a partner; a pair may cost less than two
MOST = 4   # names written out in one line


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `mark` is "added", "removed", "changed" or "moved"; `what` says it about `path`."""

    mark: str
    path: str
    what: str
    before: tuple[Box, ...] = ()
    after: tuple[Box, ...] = ()

    def __str__(self) -> str:
        return printable(f"{SIGNS[self.mark]} {'  '.join(filter(None, [self.path, self.what]))}")


class Difference(Drawing):
    """What `diff` returns: prints as lines, is true if there is any, and is the drawing of both together.

    `changes` are all differences, from the top of the net to its end; `added`, `removed`, `changed` and
    `moved` those of one kind. `follow` counts the boxes whose shape or dtype is another for these reasons.
    """

    def __init__(self, changes: tuple[Change, ...], follow: int, graph: Graph, whole: Graph) -> None:
        super().__init__(graph, whole)
        self.changes, self.follow = changes, follow
        self.added, self.removed, self.changed, self.moved = (
            tuple([change for change in changes if change.mark == mark]) for mark in SIGNS)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def listing(self) -> str:
        """A line for each difference."""
        follow = [f"and {self.follow} of what follows in shape or dtype"] * (self.follow > 0)
        return "\n".join([*map(str, self.changes), *follow]) or "no difference"

    __repr__ = __str__ = listing


def diff(a: Drawing, b: Drawing) -> Difference:
    """What is different in drawing `b` from drawing `a`: training and evaluation, before and after an edit.

    Compared are calls with their parameters, shapes, dtypes, what is connected to what, the parameters and
    single numbers; not other values, and not what `show` wrote. It does not matter how the drawings are
    folded. In the picture both are one graph: what is added bears a "+", removed a "-" (dashed), changed
    a "~" and lines "old -> new"; modules without a difference are one box each.

    Args:
        a, b: drawings, of `tg.draw` or `nn.draw`.

    Returns:
        a `Difference`: `bool()` of it says whether there is any, `print` lists them, `.save("diff.svg")`
        draws them.

    Raises:
        TypeError: for anything but two drawings.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.ones(1, 2, 9, 9), tg.ones(3, 2, 3, 3, requires_grad=True)
        >>> a = tg.draw(tg.relu(tg.conv2d(x, w)))
        >>> b = tg.draw(tg.relu(tg.exp(tg.conv2d(x, w, stride=2))))
        >>> tg.diff(a, b)
        ~ conv2d  conv2d 3x3 -> conv2d 3x3 stride 2
        + exp  -> 1x3x4x4
        and 1 of what follows in shape or dtype
        >>> bool(tg.diff(a, a)), len(tg.diff(b, a).removed)
        (False, 1)
    """
    one, two = (_Side(frame_each_call(instance(d, Drawing, "diff", "two drawings, of tg.draw or nn.draw").whole))
                for d in (a, b))
    match = _Match(one, two)
    changes, said, follow = _compared(match)
    whole = _union(match, said)
    remarks = [("", str(change)) for change in changes if change.mark == "moved"]
    whole = replace(whole, legend=(*whole.legend, *remarks[:MOST], *[("", f"and {len(remarks) - MOST} more moved")] * (
        len(remarks) > MOST)))
    return Difference(changes, follow, _signed(_closed(whole)), _signed(whole))


# ----- the two sides, and which part of one is which of the other -----

@dataclass(eq=False, slots=True)
class _Part:
    """A call or a frame, with the parts in it in the order of the tape."""

    path: Path
    box: Box | None = None
    kind: str = ""
    parts: list["_Part"] = field(default_factory=list)
    words: Counter = field(default_factory=Counter)  # of all boxes in it: the op or name alone
    looks: Counter = field(default_factory=Counter)  # the same with parameters and shape
    weights: list[Any] = field(default_factory=list)  # name and shape of the parameters in it
    known: int | None = None                         # the module, if it is in both drawings
    key: Any = None                                  # equal for parts that are the same all through


class _Side:
    """One of the two graphs, by part, box and edge."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.boxes = {box.id: box for box in graph.boxes}
        self.order = {box.id: i for i, box in enumerate(graph.boxes)}
        self.inputs: Mapping[str, list[Edge]] = grouped((e.target, e) for e in graph.edges)
        self.users: Mapping[str, list[str]] = grouped((e.source, e.target) for e in graph.edges)
        self.modules = {id(path[-1].module) for path in graph.scopes if getattr(path[-1], "module", None)}
        self.parts: dict[Path, _Part] = {(): _Part(())}
        for box in graph.boxes:
            for path in frames(box.scope):
                if path not in self.parts:
                    self.parts[path] = _Part(path, kind=graph.scopes[path].kind)
                    self.parts[path[:-1]].parts.append(self.parts[path])
            word, look = (box.kind, box.label.split(" ")[0]), (box.label, box.shape, box.dtype)
            for path in [(), *frames(box.scope)]:
                self.parts[path].words[word] += 1
                self.parts[path].looks[look] += 1
                self.parts[path].weights += [(box.label, box.shape)] * (box.kind == "parameter")
            if box.kind not in LEAVES:
                self.parts[box.scope].parts.append(_Part(box.scope, box))
        self.units = {path for path, part in self.parts.items() if module_path(path)
                      and all([inner.box for inner in part.parts])}  # modules with no others in them

    def prepare(self, common: set[int], keys: dict[Any, int]) -> None:
        """Set `known` and `key`; `keys` are those of both sides."""
        for part in sorted(self.parts.values(), key=lambda part: -len(part.path)):
            module = id(getattr(part.path[-1], "module", None)) if part.path else None
            part.known = module if module in common else None
            for inner in filter(lambda inner: inner.box, part.parts):
                inner.key = keys.setdefault(_look(inner.box), len(keys))
            own = str(part.path[-1]) if part.path else "", part.kind, part.known
            what = tuple([inner.key for inner in part.parts]), frozenset(part.looks.items())
            part.key = keys.setdefault((own, what), len(keys))


def _look(box: Box) -> tuple[Any, ...]:
    return box.kind, box.label, box.shape, box.dtype


def _contents(part: _Part) -> Any:
    """What tells a module that was moved: itself, or its class and parameters; None if it has neither."""
    return part.known or ((part.kind, tuple(part.weights)) if part.kind and part.weights else None)


def _shared(a: Counter, b: Counter) -> float:
    return sum((a & b).values()) / max(sum(a.values()), sum(b.values()), 1)


def _cost(p: _Part, q: _Part) -> float:
    """What it costs to call two parts the same: 0 if they are, infinite if they cannot be."""
    if p.key == q.key:
        return 0.0
    if p.box and q.box:
        same = (p.box.kind, p.box.label.split(" ")[0]) == (q.box.kind, q.box.label.split(" ")[0])
        return 0.2 + 0.3 * (p.box.label != q.box.label) if same else math.inf
    if p.box or q.box or p.known != q.known:
        return math.inf
    words, named = _shared(p.words, q.words), p.path[-1] == q.path[-1]
    alike = (words + _shared(p.looks, q.looks)) / 2
    if not p.known and (p.kind != q.kind and not (named and alike > 0.5) or not (named or words)):
        return math.inf
    return 0.05 * (not named) + (0.01 if p.known else 1.2) * (1 - alike)


def _aligned(ps: Sequence[_Part], qs: Sequence[_Part]) -> list[tuple[_Part, _Part]]:
    """The pairs of the cheapest alignment of two sequences."""
    start = next((i for i, (p, q) in enumerate(zip(ps, qs)) if p.key != q.key), min(len(ps), len(qs)))
    most = min(len(ps), len(qs)) - start
    end = next((i for i, (p, q) in enumerate(zip(ps[::-1][:most], qs[::-1])) if p.key != q.key), most)
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
        chosen.append(np.where(paired <= row + 1e-9, 0, np.where(best + GAP <= row + 1e-9, 1, 2)).astype(np.int8))
        best = row
    i, j = len(ps), len(qs)
    while i and j:
        step = chosen[i - 1][j]
        if step == 0:
            pairs.append((ps[i - 1], qs[j - 1]))
        i, j = i - (step != 2), j - (step != 1)
    return pairs


class _Match:
    """Which boxes and frames of the two sides are the same: `boxes` by id, `scopes` by path."""

    def __init__(self, one: _Side, two: _Side) -> None:
        self.one, self.two = one, two
        self.scopes: dict[Path, Path] = {(): ()}
        self.boxes: dict[str, str] = {}
        common, keys = one.modules & two.modules, {}
        for side in (one, two):
            side.prepare(common, keys)
        self._descend([((), ())])
        self._find_moved()
        self._follow_backward()
        self._match_leaves()
        self.back = {b: a for a, b in self.boxes.items()}
        self.after: dict[str, int] = {}
        last = -1
        for box in one.graph.boxes:
            last = two.order.get(self.boxes.get(box.id, ""), last)
            self.after[box.id] = last
        frames_back = {b: a for a, b in self.scopes.items()}
        self.partners = {one: (self.boxes, self.scopes), two: (self.back, frames_back)}

    def lone(self, side: _Side) -> dict[str, Path]:
        """Boxes of a side without a partner, each with the outermost frame that is new as a whole, or ()."""
        boxes, scopes = self.partners[side]
        old = {path for box in side.graph.boxes if box.id in boxes and box.kind not in LEAVES
               for path in frames(box.scope)} | {*scopes}
        return {box.id: next((path for path in frames(box.scope) if path not in old), ())
                for box in side.graph.boxes if box.id not in boxes}

    def place(self, side: _Side, box: str) -> tuple[int, int]:
        """Where a box stands in the net: what is in the first drawing alone behind what it followed there."""
        if side is self.two:
            return self.two.order[box], -1
        return self.after[box], self.one.order[box]

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
        """Frames left over on both sides with the same module, or the only ones of their class and parameters."""
        taken = set(self.scopes.values())
        left, right = (grouped((key, path) for path, part in side.parts.items() if not (
            path in known or backwards(path)) and (key := _contents(part)))
            for side, known in ((self.one, self.scopes), (self.two, taken)))
        for key, paths in left.items():
            for a, b in zip(paths, right.get(key, ())):
                alone = len(paths) == len(right[key]) == 1
                if (isinstance(key, int) or alone) and a not in self.scopes and b not in self.scopes.values():
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
        """The same tensor; what enters matched calls at the same place; else one of that name in its frame."""
        one, two = self.one, self.two
        same = {id(source): box for box, source in two.graph.sources.items() if two.boxes[box].kind in LEAVES}
        found = [(box, same[id(source)]) for box, source in one.graph.sources.items() if id(source) in same]
        for alike in (lambda x, y: x.label == y.label and x.kind == y.kind,
                      lambda x, y: x.label == y.label or x.kind == y.kind):
            for a, b in [*self.boxes.items()]:
                slots = {e.slot: e.source for e in two.inputs.get(b, ())}
                found += [(e.source, slots[e.slot]) for e in one.inputs.get(a, ()) if e.slot in slots
                          and alike(one.boxes[e.source], two.boxes[slots[e.slot]])]
        names = grouped(((box.scope, box.label), box.id) for box in two.graph.boxes if box.kind in LEAVES)
        found += [(box.id, other) for box in one.graph.boxes if box.kind in LEAVES
                  for other in names.get((self.scopes.get(box.scope), box.label), ())]
        taken = set(self.boxes.values())
        for a, b in found:
            if one.boxes[a].kind in LEAVES and two.boxes[b].kind in LEAVES and a not in self.boxes and b not in taken:
                self.boxes[a] = b
                taken.add(b)


# ----- what the pairs, and what has no partner, say -----

def _name(box: Box) -> str:
    return ".".join((*module_path(box.scope), box.label.split(" ")[0]))


def _arrow(old: str, new: str) -> list[str]:
    return [f"{old} -> {new}"] if old != new else []


def _value(side: _Side, box: Box) -> str:
    """A single number as text; "" for any other leaf."""
    item = getattr(side.graph.sources.get(box.id), "item", None)
    return f"{item():g}" if item and not box.shape else ""


def _leaf_causes(match: _Match, x: Box, y: Box) -> list[str]:
    names = _arrow(x.label, y.label) if x.kind == y.kind != "constant" else []
    of_tensor = [*_arrow(x.kind, y.kind), *_arrow(tensor_text(x.shape, "float32"), tensor_text(y.shape, "float32")),
                 *_arrow(x.dtype, y.dtype), *_arrow(_value(match.one, x), _value(match.two, y))]
    return names + [f"{y.label} {change}" for change in of_tensor]


def _call_causes(match: _Match, x: Box, y: Box) -> list[str]:
    """What is different in a call itself; "" alone if only its result is, for reasons before it."""
    one, two = match.one, match.two
    ins, outs = one.inputs.get(x.id, []), two.inputs.get(y.id, [])
    causes = _arrow(x.label, y.label) + _rewired(match, ins, outs, y)
    if causes or (x.shape, x.dtype) == (y.shape, y.dtype):
        return causes
    if [(e.shape, e.dtype) for e in ins] != [(e.shape, e.dtype) for e in outs]:
        return [""]
    return [f"{y.label} {tensor_text(x.shape, x.dtype)} -> {tensor_text(y.shape, y.dtype)}"]


def _rewired(match: _Match, ins: Sequence[Edge], outs: Sequence[Edge], y: Box) -> list[str]:
    """Other inputs, if not because one was removed or another one added in its place."""
    word = y.label.split(" ")[0]
    olds, news = [match.boxes.get(e.source, "") for e in ins], [e.source for e in outs]
    gone, come = Counter(filter(None, olds)) - Counter(news), Counter(news) - Counter(olds)
    fresh = sum(count for box, count in come.items() if box not in match.back)
    if gone.total() > fresh or come.total() - fresh > olds.count(""):
        old, new = ([_name(side.boxes[e.source]) for e in edges if match_of(e.source) in changed]
                    for side, edges, match_of, changed in (
                        (match.one, ins, match.boxes.get, gone), (match.two, outs, str, come)))
        return [f"input of {word} {', '.join(old) or 'none'} -> {', '.join(new) or 'none'}"]
    return [f"inputs of {word} in another order"] if not (gone or come) and olds != news else []


Line = tuple[tuple[int, int], Change]  # with its place in the net


def _compared(match: _Match) -> tuple[tuple[Change, ...], dict[str, list[str]], int]:
    """All differences; by box of the second drawing what is different in it; how many boxes only follow."""
    one, two = match.one, match.two
    causes = {b: (_leaf_causes if one.boxes[a].kind in LEAVES else _call_causes)(match, one.boxes[a], two.boxes[b])
              for a, b in match.boxes.items()}
    said = {b: own for b, own in causes.items() if own and own != [""]}
    fresh = {side: match.lone(side) for side in (one, two)}
    lines = [*_whole_frames(match, one, fresh[one], "removed"), *_whole_frames(match, two, fresh[two], "added"),
             *_single(match, one, fresh[one], "removed"), *_single(match, two, fresh[two], "added"),
             *_altered(match, fresh, said), *_moved(match)]
    lines.sort(key=lambda line: line[0])
    return tuple([change for _, change in lines]), said, sum(own == [""] for own in causes.values())


def _whole_frames(match: _Match, side: _Side, lone: Mapping[str, Path], mark: str) -> Iterator[Line]:
    """Modules that are new as a whole; not their backward beside them."""
    inside = grouped((path, side.boxes[box]) for box, path in lone.items() if path)
    for path, own in inside.items():
        if not backwards(path) or module_path(path) not in inside:
            calls = [box for box in own if box.kind not in LEAVES] or own
            count = sum([math.prod(box.shape) for box in own if box.kind == "parameter"])
            said = [side.graph.scopes[path].kind, f"-> {tensor_text(calls[-1].shape, calls[-1].dtype)}",
                    parameters_text(count) if count else ""]
            yield _line(match, side, mark, path, "  ".join(filter(None, said)), own)


def _line(match: _Match, side: _Side, mark: str, path: Path, what: str, own: Sequence[Box]) -> Line:
    name = title(Scope(path)) if path else ""
    sides = {"before": tuple(own)} if side is match.one else {"after": tuple(own)}
    return match.place(side, own[0].id), Change(mark, name, what, **sides)


def _unit(match: _Match, side: _Side, box: Box) -> Path | None:
    """The second drawing's frame of a module that holds no others, and stands in both."""
    path = match.scopes.get(box.scope) if side is match.one else box.scope
    first = match.partners[match.two][1].get(path)
    return path if first in match.one.units and path in match.two.units else None


def _tells(side: _Side, lone: Mapping[str, Path], box: Box) -> bool:
    """Whether a box without a partner is a difference of its own: not the mask of a dropout."""
    return box.kind in ("op", "output", "parameter", "input") or not all(
        [user in lone for user in side.users.get(box.id, ())])


def _single(match: _Match, side: _Side, lone: Mapping[str, Path], mark: str) -> Iterator[Line]:
    """Boxes without a partner that stand in frames with other things."""
    for box in (side.boxes[box] for box, path in lone.items() if not path):
        if _tells(side, lone, box) and _unit(match, side, box) is None:
            what = f"{box.label}  -> {tensor_text(box.shape, box.dtype)}" if box.kind not in LEAVES else (
                f"{box.label}  {tensor_text(box.shape, box.dtype)} ({box.kind})")
            yield _line(match, side, mark, box.scope, what, [box])


def _altered(match: _Match, fresh: Mapping[_Side, Mapping[str, Path]], said: Mapping[str, list[str]]) -> Iterator[Line]:
    """Boxes that are not what they were; those of one module in a line."""
    one, two = match.one, match.two
    units: dict[Path, tuple[list[Box], list[Box], list[str]]] = {}
    for side in (one, two):
        for box in (side.boxes[box] for box, path in fresh[side].items() if not path):
            path = _unit(match, side, box)
            if path is not None and _tells(side, fresh[side], box):
                units.setdefault(path, ([], [], []))[side is two].append(box)
    for b, own in said.items():
        path = _unit(match, two, two.boxes[b])
        if path is not None:
            units.setdefault(path, ([], [], []))[2].extend(own)
        else:
            place, change = _line(match, two, "changed", two.boxes[b].scope, "; ".join(own), [two.boxes[b]])
            yield place, replace(change, before=(one.boxes[match.back[b]],))
    for path, (gone, come, own) in units.items():
        if backwards(path) and module_path(path) in units:
            continue
        what = f"{two.graph.scopes[path].kind}: {'; '.join([*_swapped(gone, come), *own])}".removeprefix(": ")
        inside = [box for box in two.graph.boxes if box.scope == path]
        place, change = _line(match, two, "changed", path, what, inside)
        yield place, replace(change, before=tuple([box for box in one.graph.boxes if match.scopes.get(box.scope) == path]))


def _swapped(gone: list[Box], come: list[Box]) -> list[str]:
    """The calls and parameters of a module that went, and those that came."""
    (old, left), (new, found) = ([[box for box in boxes if (box.kind in LEAVES) == leaf] for leaf in (False, True)]
                                 for boxes in (gone, come))
    calls = [", ".join([box.label for box in boxes]) for boxes in (old, new)]
    swapped = [" -> ".join(calls)] if all(calls) else [f"{sign} {text}" for sign, text in zip("-+", calls) if text]
    return swapped + [f"{sign} {box.label} {tensor_text(box.shape, box.dtype)}"
                      for sign, boxes in (("-", left), ("+", found)) for box in boxes]


def _moved(match: _Match) -> Iterator[Line]:
    """Modules under another name or in another frame; a run of numbers that shifted is one line."""
    runs: list[tuple[list[tuple[Path, Path]], Any]] = []
    for a in match.one.parts:  # in the order of the tape
        b = match.scopes.get(a, ())
        if not (a and b) or backwards(a) or (match.scopes.get(a[:-1]) == b[:-1] and _plain(a) == _plain(b)):
            continue
        shift = int(b[-1]) - int(a[-1]) if a[-1].isdigit() and b[-1].isdigit() else None
        kind = a[:-1], b[:-1], shift
        if runs and shift is not None and runs[-1][1] == kind and int(runs[-1][0][-1][0][-1]) + 1 == int(a[-1]):
            runs[-1][0].append((a, b))
        else:
            runs.append(([(a, b)], kind))
    for pairs, _ in runs:
        old, new = (".".join(path) for path in pairs[0])
        if len(pairs) > 1:
            old, new = f"{old}..{pairs[-1][0][-1]}", f"{new}..{pairs[-1][1][-1]}"
        inside = [box for box in match.two.graph.boxes if box.scope[:len(pairs[0][1])] == pairs[0][1]]
        place, change = _line(match, match.two, "moved", (), f"-> {new}", inside)
        yield place, replace(change, path=old, after=())


def _plain(path: Path) -> str:
    """The name without the number of the call."""
    return re.sub(r"#\d+$", "", path[-1])


# ----- both in one picture -----

def _union(match: _Match, said: Mapping[str, list[str]]) -> Graph:
    """The second graph, with what is in the first one alone."""
    one, two = match.one, match.two
    scopes = dict(two.graph.scopes)
    boxes = [replace(box, notes=tuple([line.removeprefix(f"{box.label} ") for line in said.get(box.id, ())]),
                     heat=None, mark="changed" if box.id in said else "" if box.id in match.back else "added")
             for box in two.graph.boxes]
    places = {box.id: match.place(two, box.id) for box in boxes}
    names = {box.id: match.boxes.get(box.id, f"was:{box.id}") for box in one.graph.boxes}
    paths = _old_paths(match)
    for box in one.graph.boxes:
        if box.id not in match.boxes:
            scope = paths[box.scope]
            for old, new in zip(frames(box.scope), frames(scope)):
                scopes.setdefault(new, replace(one.graph.scopes[old], path=new))
            places[names[box.id]] = match.place(one, box.id)
            boxes.append(replace(box, id=names[box.id], scope=scope, notes=(), heat=None, mark="removed"))
    boxes.sort(key=lambda box: places[box.id])
    joined = Counter((names[e.source], names[e.target]) for e in one.graph.edges)
    edges = []
    for e in two.graph.edges:
        there = joined[e.source, e.target] > 0
        joined[e.source, e.target] -= there
        edges.append(e if there else replace(e, mark="added"))
    for e in reversed(one.graph.edges):
        ends = names[e.source], names[e.target]
        if joined[ends] > 0:
            joined[ends] -= 1
            edges.append(replace(e, source=ends[0], target=ends[1], mark="removed",
                                 back=places[ends[0]] >= places[ends[1]]))
    edges.sort(key=lambda e: (places[e.target], e.slot, e.mark, places[e.source]))
    marks = {box.mark for box in boxes} | {e.mark for e in edges}
    legend = tuple([(mark, text) for mark, text in MEANINGS.items() if mark in marks])
    return Graph(tuple(boxes), tuple(edges), scopes, legend)


def _old_paths(match: _Match) -> dict[Path, Path]:
    """Where the first drawing's frames stand in the picture of both."""
    paths: dict[Path, Path] = {(): ()}
    for path in sorted(match.one.parts, key=len):
        if path:
            new = match.scopes.get(path) or (*paths[path[:-1]], path[-1])
            if path not in match.scopes and new in match.two.parts:
                name = f"{path[-1]} (old)"
                new = (*new[:-1], path[-1].renamed(name) if isinstance(path[-1], Call) else name)
            paths[path] = new
    return paths


def _closed(graph: Graph) -> Graph:
    """The graph without constants that are as they were, frames with one kind of mark inside drawn as a box."""
    gone = {box.id for box in graph.boxes if box.kind == "constant" and not box.mark}
    graph = replace(graph, boxes=tuple([box for box in graph.boxes if box.id not in gone]),
                    edges=tuple([e for e in graph.edges if not {e.source, e.target} & gone]))
    marks = grouped((path, box.mark) for box in graph.boxes for path in frames(box.scope))
    return close(graph, {path for path, own in marks.items() if len({*own}) == 1 and own[0] != "changed"})


def _signed(graph: Graph) -> Graph:
    return replace(graph, boxes=tuple([replace(box, label=f"{SIGNS[box.mark]} {box.label}") if box.mark else box
                                       for box in graph.boxes]))
