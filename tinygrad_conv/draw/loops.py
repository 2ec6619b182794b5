"""Loops rolled: equal stretches that follow one another drawn once, with their number: "x20".

A stretch is some boxes and frames that stand side by side in one frame. The rules are meant to be
predictable: `roll` says them. What is drawn is one of the repetitions; an edge between two boxes becomes
one between those that stand for them, and leads `back` where it went from one repetition to the next.
"""
import heapq
import itertools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..state import Call
from ..tape import Entry
from .graph import (
    BACKWARD, CALLS, LEAVES, Box, Edge, Graph, Loop, Path, Scope, backwards, common, frames, grouped, pass_on,
    sum_figures,
)
from .heat import amount_text
from .style import call_label, value_text

LONGEST = 200  # boxes and frames in a stretch
MOST = 4  # repetitions with an alarm that are named
SAME = "same weights each time"

_NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_FACTORS = re.compile(rf" \((?:{_NUMBER}|_)(?:, (?:{_NUMBER}|_))*\)$")  # constants written into a call


@dataclass(eq=False, slots=True)
class _Item:
    """What may be repeated: a call, or a frame with all in it; and the leaves and outputs of it alone.

    `look` is the same for items of equal insides. `entries` are the boxes outside that lead in, in the order
    of what they lead to; `exits` say which box of the item leads to which outside.
    """

    boxes: list[str]
    frames: list[Path]
    look: int
    numbers: tuple[float, ...]
    entries: list[str]
    exits: list[tuple[int, str]]
    start: int  # its first call, on the tape
    index: int = 0


@dataclass(eq=False, slots=True)
class _Loop:
    """One that was rolled: what is drawn of it, and the frame around it, or its own if it is a module's."""

    times: int
    boxes: list[str]
    frames: list[Path]
    loose: list[str]  # boxes in none of these
    frame: Path
    synthetic: bool

    @property
    def depth(self) -> int:
        return len(self.frame) - (not self.synthetic)


def roll(graph: Graph) -> Graph:
    """The graph with equal stretches that follow one another drawn once, `Scope.times` saying how often.

    A stretch is up to 200 calls and frames side by side in one frame. The next one is equal if it holds the
    same calls with the same parameters, shapes and frames, joined by the same edges. What may differ: values
    of arrays; numbers in names; and, if they rise or fall from each repetition to the next, constants and the
    place that an index takes (`defvarying`).

    What leads in is the same for each repetition, or comes from the same place of the one before, or is one
    of some boxes that look the same, in their order. What leads on goes to the next repetition, or to the
    same boxes from each; from the last one anywhere. Values of the forward may go to any call of a backward,
    which rolls where its forward did.

    Two equal frames of which the second takes up what the first gives are a loop; of all else three are.
    Short stretches roll before long ones, outer frames before inner ones.

    One frame that repeats says how often; a stretch of several boxes has a frame of its own, whose name is a
    `Loop`. Figures are added up; `each` holds those of each repetition, of the outermost loop.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for i in range(8):
        ...     y = tg.exp(tg.neg(y))
        >>> rolled = roll(tg.graph(y))
        >>> [box.label for box in rolled.boxes], [scope.times for scope in rolled.scopes.values()]
        (['x', 'neg', 'exp'], [8])
    """
    work = _Rolling(graph)
    for level in sorted({backwards(box.scope) for box in graph.boxes}):
        work.level(level)
    return _drawn(work) if work.loops else graph


class _Rolling:
    """What is known while loops are looked for: edges by box, which box stands for which, the loops found."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.boxes = {box.id: box for box in graph.boxes}
        self.order = {box: i for i, box in enumerate(self.boxes)}
        self.levels = {box.id: backwards(box.scope) for box in graph.boxes}
        edges = [e for e in graph.edges if not e.back]
        self.into = {box: [] for box in self.boxes} | grouped((e.target, e) for e in edges)
        self.onto = {box: [] for box in self.boxes} | grouped((e.source, e.target) for e in edges)
        for box in graph.boxes:  # a leaf belongs to the first that use it
            if box.kind in LEAVES and self.onto[box.id]:
                self.levels[box.id] = min(self.levels[user] for user in self.onto[box.id])
        self.labels = {box.id: _label(graph, box) for box in graph.boxes}
        self.looks: dict[Hashable, int] = {}
        self.faces = {box.id: (box.kind, self.labels[box.id][0], box.shape, box.dtype, box.mark)
                      for box in graph.boxes}
        self.stands: dict[str, str] = {}      # by box of a repetition that is not drawn, the one that is
        self.hops: dict[str, list[tuple[int, int, str]]] = {}  # by box: loop, repetition, box that is drawn
        self.moved: dict[Path, Path] = {}     # by frame that is not drawn, the one that is
        self.loops: list[_Loop] = []
        self.starts: dict[str, set[str]] = {}  # by a box that leads back, what leads in the first time
        self.home: dict[str, tuple[_Item, int]] = {}  # of the frame looked at: item, and place in it
        self.lists: dict[Path, list[_Item]] = {}

    def find(self, box: str) -> str:
        """The box that stands for a box."""
        while box in self.stands:
            box = self.stands[box]
        return box

    # ----- frame by frame -----

    def level(self, level: int) -> None:
        """Roll the forward (0) or one backward: the outer frames until nothing changes, then those in them.

        The last come first: what takes results is rolled before what gives them.
        """
        places = [((BACKWARD,) * level, [box for box in self.boxes if self.levels[box] == level])]
        while places:
            before = -1
            while before < len(self.loops):
                before = len(self.loops)
                lists = [self.frame(path, own, level) for path, own in reversed(places)]
            places = [(frame, [box for box in item.boxes if self.inside(box, frame)])
                      for items in reversed(lists) for item in items for frame in item.frames]

    def inside(self, box: str, frame: Hashable) -> bool:
        return isinstance(frame, tuple) and self.boxes[box].scope[:len(frame)] == frame

    def place(self, end: str) -> Hashable:
        """What a leaf or an output looks like, and the call that it stands at."""
        if self.boxes[end].kind not in LEAVES:
            return self.faces[end], self.faces[self.into[end][0].source]
        user = self.onto[end][0]
        return self.faces[end], self.faces[user], next(e.slot for e in self.into[user] if e.source == end)

    def frame(self, path: Path, own: list[str], level: int) -> list[_Item]:
        items = self.lists.get(path) or self.items(path, own)
        stretch = 1
        self.settle(items)
        while stretch <= min(LONGEST, len(items) // 2):
            runs = self.runs(items, stretch)
            for start, times, link in reversed(runs):
                length = stretch * times
                items[start:start + length] = [self.rolled(items[start:start + length], times, link, level)]
            if runs:
                self.settle(items)
            stretch = 1 if runs else stretch + 1
        self.lists[path] = items
        return items

    def settle(self, items: list[_Item]) -> None:
        """Number items, and note where each box is."""
        self.home = {}
        for index, item in enumerate(items):
            item.index = index
            self.home.update({box: (item, place) for place, box in enumerate(item.boxes)})

    def items(self, path: Path, own: list[str]) -> list[_Item]:
        """What stands side by side in a frame; parts of a list of modules stand where the list does."""
        where: dict[str, Hashable] = {}
        for box in own:
            if self.boxes[box].kind in CALLS:
                where[box] = _part(self.boxes[box].scope, len(path)) or box
        self.ends(own, where)
        parts = grouped((where[box], box) for box in own if box in where)
        outlines = {key: self.outline(key, boxes) for key, boxes in parts.items()}
        alike = Counter(outlines.values())
        items = [self.item(key if isinstance(key, tuple) else (), boxes, len(path), alike[outlines[key]] > 1)
                 for key, boxes in parts.items()]
        return sorted(items, key=lambda item: item.start)

    def ends(self, own: list[str], where: dict[str, Hashable]) -> None:
        """Add the leaves and outputs that belong to one item each, or to one after the other.

        What none of the other items has is not part of an item, such as the first state of a loop.
        """
        beside: dict[str, list[str]] = {}
        for box in (box for box in own if self.boxes[box].kind not in CALLS):
            others = self.onto[box] if self.boxes[box].kind in LEAVES else [e.source for e in self.into[box]]
            beside[box] = [other for other in others if self.levels[other] == self.levels[box]]
        alike = grouped(((_name(where[others[0]]), self.place(box)), box) for box, others in beside.items()
                        if others and all(other in where for other in others))
        for boxes in alike.values():
            orders = [sorted(map(self.order.__getitem__, beside[box])) for box in boxes]
            spans = [order for own in orders for order in (own[0], own[-1])]
            in_turn = len(boxes) > 1 and spans == sorted(spans) and len({*map(len, orders)}) == 1
            for box in boxes:
                first, *others = {where[other]: 0 for other in beside[box]}
                if in_turn or not others and (len(boxes) > 1 or self.inside(box, first)):
                    where[box] = first

    def outline(self, key: Hashable, boxes: list[str]) -> Hashable:
        """What is seen at once of what may be an item."""
        return _name(key), len(boxes), self.faces[boxes[0]], self.faces[boxes[-1]]

    def item(self, path: Path, boxes: list[str], depth: int, closely: bool) -> _Item:
        """An item; `closely` if others look like it, else nothing follows from what is inside."""
        start = next(self.order[box] for box in boxes if self.boxes[box].kind in CALLS)
        item = _Item(boxes, [path] if path else [], len(self.looks), (), [], [], start)
        if not closely:
            self.looks[item] = item.look
            return item
        places, faces, numbers = {box: i for i, box in enumerate(boxes)}, [], []
        for place, box in enumerate(boxes):
            scope = self.boxes[box].scope
            inside = scope[len(path):] if path and self.inside(box, path) else ("", *scope[depth:])
            wires = [(places.get(e.source, -1), e.slot, e.shape, e.dtype) for e in self.into[box]]
            item.entries += [e.source for e in self.into[box] if e.source not in places]
            item.exits += [(place, user) for user in self.onto[box] if user not in places]
            numbers += self.labels[box][1]
            faces.append((self.faces[box], inside, tuple(wires)))
        inner = dict.fromkeys(frame for scope in {self.boxes[box].scope: 0 for box in boxes if path}
                              if scope[:len(path)] == path for frame in frames(scope)[len(path) - 1:])
        scopes = [(frame[len(path):], self.graph.scopes[frame].kind, self.graph.scopes[frame].times)
                  for frame in inner]
        outline = self.outline(path or boxes[0], boxes)
        item.look = self.looks.setdefault((outline, tuple(faces), tuple(scopes)), len(self.looks))
        item.numbers = tuple(numbers)
        return item

    # ----- runs: where stretches are equal -----

    def runs(self, items: list[_Item], stretch: int) -> list[tuple[int, int, Any]]:
        """First item, number of repetitions, and what joins them, of each run of stretches so long."""
        looks = np.array([item.look for item in items])
        equal = np.concatenate([[False], looks[:-stretch] == looks[stretch:], [False]])
        found, free = [], 0  # the first item that is in no run yet
        changes = np.flatnonzero(equal[1:] != equal[:-1]).reshape(-1, 2)
        for begin, end in changes[changes[:, 1] - changes[:, 0] >= stretch].tolist():
            begin = max(begin, free)
            while begin + 2 * stretch <= end + stretch:
                times, link = self.times(items, begin, stretch, (end + stretch - begin) // stretch)
                later, _ = self.times(items, begin + stretch, stretch, (end - begin) // stretch)
                if times < 2 or times < later:
                    begin += 1  # no run, or one whose first is the end of another kind
                    continue
                found.append((begin, times, link))
                begin = free = begin + stretch * times
        return found

    def times(self, items: list[_Item], begin: int, stretch: int, most: int) -> tuple[int, Any]:
        """How many stretches from `begin` on are repetitions, and what joins them."""
        link, times, first = None, 1, frozenset()
        while times < most:
            step = self.link(items, begin, stretch, times)
            if step is None or link not in (None, step):
                break
            exits = self.exits(items, begin, stretch, times - 1)
            if times > 1 and exits != first:
                break
            first, link, times = exits, step, times + 1
        while times > 1 and not first <= self.exits(items, begin, stretch, times - 1, last=True):
            times -= 1
        chain = link is not None and any(way[0] == "back" for way in link)
        worth = 2 if chain and stretch == 1 and items[begin].frames else 3
        return (times, link) if times >= worth else (1, None)

    def link(self, items: list[_Item], begin: int, stretch: int, times: int) -> tuple[Any, ...] | None:
        """How a stretch follows on the one before, entry by entry; None if it is no repetition of it."""
        start, ways = begin + times * stretch, []
        for before, item in zip(items[start - stretch:start], items[start:start + stretch]):
            for a, b in zip(before.entries, item.entries):
                way = self.way(self.find(a), self.find(b), begin, start, stretch)
                if way is None:
                    return None
                ways.append(way)
            ways += [("number", (b > a) - (b < a)) for a, b in zip(before.numbers, item.numbers)]
        return tuple(ways)

    def way(self, a: str, b: str, begin: int, start: int, stretch: int) -> tuple[Any, ...] | None:
        """How what leads into a stretch, `b`, is like what leads to the same place of the one before, `a`."""
        (one, at_a), (two, at_b) = [self.home.get(box, (None, 0)) for box in (a, b)]
        before = one.index if one else -1
        if two is None or two.index < begin:  # from outside
            return self._alike(a, b) if before < begin else None
        if not start - stretch <= two.index < start + stretch:
            return None
        same_place = before == two.index - stretch and at_a == at_b
        if two.index >= start:
            return ("inside", two.index - start, at_b) if same_place else None
        first_time = start - stretch == begin and before < begin
        return ("back", two.index - start, at_b) if same_place or first_time else None

    def _alike(self, a: str, b: str) -> tuple[Any, ...] | None:
        """How boxes outside of a loop are alike that lead to two repetitions of it."""
        if a == b or b in self.starts.get(a, ()) or a in self.starts.get(b, ()):
            return ("same",)
        if self.boxes[a].kind == "parameter" or self.faces[a] != self.faces[b]:
            return None
        return ("alike", (self.order[b] > self.order[a]) - (self.order[b] < self.order[a]))

    def exits(self, items: list[_Item], begin: int, stretch: int, time: int,
              last: bool = False) -> frozenset[tuple[int, int, str]]:
        """What leads out of a repetition and not into the next: which item, box of it, and where to."""
        start = begin + time * stretch
        end = start + stretch * (1 if last else 2)
        found = set()
        for number, item in enumerate(items[start:start + stretch]):
            for place, target in item.exits:
                target = self.find(target)
                home = self.home.get(target)
                near = home and start <= home[0].index < end
                if not near and self.levels[target] == self.levels[item.boxes[place]]:
                    found.add((number, place, target))
        return frozenset(found)

    # ----- rolling: one stretch stands for all -----

    def rolled(self, members: list[_Item], times: int, link: Any, level: int) -> _Item:
        """The item in place of a run: in a forward its first repetition, in a backward the last, its pair."""
        stretch, number = len(members) // times, len(self.loops)
        repetitions = [members[i:i + stretch] for i in range(0, len(members), stretch)]
        kept = repetitions[-1 if level % 2 else 0]
        boxes = [box for item in kept for box in item.boxes]
        kept_frames = [frame for item in kept for frame in item.frames]
        for (a, b), way in zip(zip(*map(_ways, repetitions[:2])), link):
            if way[0] == "back":
                self.starts.setdefault(self.find(b), set()).add(self.find(a))
        for time, items in enumerate(repetitions):
            for box, drawn in zip([box for item in items for box in item.boxes], boxes):
                self.hops.setdefault(box, []).append((number, time, drawn))
                if box != drawn:
                    self.stands[box] = drawn
            self.moved |= {frame: drawn for frame, drawn in zip(
                [frame for item in items for frame in item.frames], kept_frames) if frame != drawn}
        self.loops.append(self.loop(times, boxes, kept_frames, stretch))
        places = {box: i for i, box in enumerate(boxes)}
        entries = [box for item in members for box in item.entries if self.find(box) not in places]
        exits = [(places[self.find(item.boxes[place])], target) for item in members
                 for place, target in item.exits if self.find(target) not in places]
        look = self.looks.setdefault((times, link, *[item.look for item in repetitions[0]]), len(self.looks))
        return _Item(boxes, kept_frames, look, tuple([n for item in members for n in item.numbers]), entries,
                     exits, members[0].start)

    def loop(self, times: int, boxes: list[str], inner: list[Path], stretch: int) -> _Loop:
        loose = [box for box in boxes if not any(self.inside(box, frame) for frame in inner)]
        framed = {loop.frame for loop in self.loops if not loop.synthetic}
        if stretch == 1 and not loose and len(inner) == 1 and inner[0] not in framed:
            return _Loop(times, boxes, inner, loose, inner[0], synthetic=False)
        around = [frame[:-1] for frame in inner] + [
            self.boxes[box].scope for box in loose if self.boxes[box].kind in CALLS]
        frame = min(around)[:common(min(around), max(around))]
        return _Loop(times, boxes, inner, loose, frame, synthetic=True)


def _name(key: Hashable) -> str:
    """The name of a frame without its numbers; "" for a call."""
    return re.sub(r"\d+", "#", re.sub(r"#\d+$", "", key[-1])) if isinstance(key, tuple) else ""


def _ways(items: list[_Item]) -> list[str]:
    """What leads into a stretch, in the order of its link, where numbers have a place too."""
    return [box for item in items for box in (*item.entries, *[""] * len(item.numbers))]


def _part(scope: Path, depth: int) -> Path:
    """The frame that stands in one at `depth`, or () for what lies in none: lists of modules are none."""
    for end in range(depth + 1, len(scope) + 1):
        if not isinstance(scope[end - 1], Call) or scope[end - 1].number:
            return scope[:end]
    return ()


def _label(graph: Graph, box: Box) -> tuple[str, tuple[float, ...]]:
    """What must be the same in all repetitions of a label, and the numbers in it that may run."""
    source = graph.sources.get(box.id)
    if not isinstance(source, Entry):
        value = getattr(source, "item", None) if box.kind == "constant" and not box.shape else None
        label = box.label if box.kind in CALLS else re.sub(r"\d+", "#", box.label)
        return label, (float(value()),) if value else ()
    label, running = box.label, []
    op, params = source.node.primitive, source.node.params
    places = [f"{name} {value_text(params[name])}" for name in op.varying if name in params]
    places += [found[0] for found in [_FACTORS.search(label)] if found and label == call_label(
        source.node, source.output) + found[0]]
    for place in places:
        if place in label:
            running += map(float, re.findall(_NUMBER, place))
            label = label.replace(place, re.sub(_NUMBER, "#", place), 1)
    return label, tuple(running)


# ----- the drawing of what was found -----

class _Paths:
    """Where things are drawn: in the frames of what stands for them, and in those of the loops around."""

    def __init__(self, work: _Rolling) -> None:
        self.work, self.times = work, dict[Path, int]()
        self.scopes: dict[str, Path] = {}  # of boxes from outside of the frame that their loop is in
        self.rules: dict[Path | str, list[tuple[int, int]]] = {}  # how deep which loop's frame is put in
        self.names: dict[int, str] = {}
        taken = {*work.graph.scopes}
        drawn = [(work.order[loop.boxes[0]], number) for number, loop in enumerate(work.loops)
                 if loop.boxes[0] not in work.stands]
        for _, number in sorted(drawn):
            loop = work.loops[number]
            if not loop.synthetic:
                self.times[loop.frame] = loop.times
                continue
            self.names[number] = name = next(name for name in _names() if (*loop.frame, name) not in taken)
            taken.add((*loop.frame, name))
            for box in loop.loose:
                scope = self.scopes.get(box, work.boxes[box].scope)
                self.scopes[box] = scope if scope[:len(loop.frame)] == loop.frame else loop.frame
            for inner in (*loop.frames, *loop.loose):
                self.rules.setdefault(inner, []).append((len(loop.frame), -number))

    def box(self, box: Box) -> Path:
        return self.of(self.scopes.get(box.id, box.scope), self.rules.get(box.id, ()))

    def plain(self, path: Path) -> Path:
        """The path of the frame that stands for a frame."""
        while found := next((frame for frame in frames(path) if frame in self.work.moved), None):
            path = (*self.work.moved[found], *path[len(found):])
        return path

    def of(self, path: Path, rules: Iterable[tuple[int, int]] = ()) -> Path:
        path = self.plain(path)
        around = [*rules, *(rule for frame in frames(path) for rule in self.rules.get(frame, ()))]
        for shift, (depth, number) in enumerate(sorted(around)):
            end = depth + shift
            path = (*path[:end], Loop(self.names[-number]), *path[end:])
            self.times[path[:end + 1]] = self.work.loops[-number].times
        return path


def _names() -> Iterator[str]:
    yield "loop"
    yield from (f"loop#{number}" for number in itertools.count(2))


def _drawn(work: _Rolling) -> Graph:
    graph, paths = work.graph, _Paths(work)
    members = grouped((work.find(box), box) for box in work.boxes)
    boxes = [_standing_for([work.boxes[each] for each in members[box]], work, paths)
             for box in work.boxes if box not in work.stands]
    edges, order = _edges(work), dict(work.order)
    begin = {box: min(order[each] for each in loop.boxes) for loop in work.loops for box in loop.boxes}
    inside = {*begin, *(box.id for box in boxes if any(isinstance(name, Loop) for name in box.scope))}
    before = grouped((e.source, (order if e.source in inside else begin).get(e.target, order[e.target]))
                     for e in edges if work.boxes[e.source].kind in LEAVES)
    order |= {leaf: min(users) - 0.5 for leaf, users in before.items()}  # not between a loop's boxes
    order = _in_turn(order, edges, [box.id for box in boxes])
    boxes.sort(key=lambda box: order[box.id])
    edges.sort(key=lambda edge: (order[edge.target], edge.slot))
    counts = {box: len(own) for box, own in members.items() if len(own) > 1}
    scopes = _scopes(graph, paths, boxes)
    rolled = replace(graph, boxes=tuple(boxes), edges=tuple(edges), scopes=scopes,
                     counts=counts, stands={box: work.find(box) for box in work.stands},
                     figures=pass_on(graph.figures, {box: work.find(box) for box in graph.figures}),
                     each=_each(work, members) if graph.figures else {})
    return replace(rolled, scopes=_with_weights(rolled))


def _in_turn(order: Mapping[str, float], edges: list[Edge], boxes: list[str]) -> dict[str, int]:
    """The boxes' numbers in this order, but each after what leads into it, where no way back does."""
    waiting = Counter(edge.target for edge in edges if not edge.back)
    onto = grouped((edge.source, edge.target) for edge in edges if not edge.back)
    ready = [(order[box], box) for box in boxes if not waiting[box]]
    heapq.heapify(ready)
    numbers: dict[str, int] = {}
    while ready:
        _, box = heapq.heappop(ready)
        numbers[box] = len(numbers)
        for target in onto.get(box, []):
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, (order[target], target))
    rest = sorted((box for box in boxes if box not in numbers), key=order.__getitem__)
    return {box: number for number, box in enumerate([*numbers, *rest])}


def _scopes(graph: Graph, paths: _Paths, boxes: list[Box]) -> dict[Path, Scope]:
    """The frames that are drawn, with those of loops; without those whose boxes all went elsewhere."""
    left = [paths.of(path) for path in graph.scopes if paths.plain(path) == path]
    had, have = ({frame for scope in {box.scope: 0 for box in each} for frame in frames(scope)}
                 for each in (graph.boxes, boxes))
    scopes: dict[Path, Scope] = {}
    paths_left = [*left, *dict.fromkeys(box.scope for box in boxes)]
    for frame in dict.fromkeys(frame for path in paths_left for frame in frames(path)):
        plain = tuple([name for name in frame if not isinstance(name, Loop)])
        if isinstance(frame[-1], Loop):
            scopes[frame] = Scope(frame, times=paths.times[frame])
        elif frame in have or plain not in had:
            scope = graph.scopes[plain]
            scopes[frame] = replace(scope, path=frame, times=scope.times * paths.times.get(plain, 1))
    return scopes


def _standing_for(members: list[Box], work: _Rolling, paths: _Paths) -> Box:
    """The box drawn for some, which says what runs from the first of them to the last."""
    drawn = next(box for box in members if box.id not in work.stands)
    label = _running([box.label for box in members], drawn.label)
    values = [work.labels[box.id][1] for box in members] if drawn.kind == "constant" else []
    if values and values[0] != values[-1]:
        label += f" = {values[0][0]:g}..{values[-1][0]:g}"
    texts = zip(*[box.notes for box in members])
    notes = [_running([*each], usual) for each, usual in zip(texts, drawn.notes)]
    return replace(drawn, label=label, notes=tuple(notes) if len(notes) == len(drawn.notes) else drawn.notes,
                   scope=paths.box(drawn), of=work.find(drawn.of) if drawn.of else "")


def _running(texts: list[str], usual: str) -> str:
    """Texts that differ in numbers as one.

    Example:
        >>> _running(["index (:,0)", "index (:,1)", "index (:,2)"], "")
        'index (:,0..2)'
    """
    if texts.count(usual) == len(texts):
        return usual
    first, *others = [re.split(f"({_NUMBER})", text) for text in texts]
    if any(parts[::2] != first[::2] for parts in others):
        return usual
    return "".join(a if a == b else f"{a}..{b}" for a, b in zip(first, others[-1]))


def _edges(work: _Rolling) -> list[Edge]:
    """One for all edges between boxes for which the same stand; of two slots of the same box both."""
    when = {box: _when(work, box) for box in work.hops}
    pairs: dict[tuple[str, str, bool], tuple[str, str]] = {}
    edges = []
    for e in work.graph.edges:
        one, two = when.get(e.source, {}), when.get(e.target, {})
        back = e.back or any(loop in two and two[loop] != time for loop, time in one.items())
        source, target = work.find(e.source), work.find(e.target)
        if pairs.setdefault((source, target, back), (e.source, e.target)) == (e.source, e.target):
            edges.append(replace(e, source=source, target=target, back=back))
    return edges


def spread(amounts: Sequence[float], unit: str) -> list[str]:
    """A line on amounts that differ between repetitions; those that are no finite numbers do not count.

    Example:
        >>> spread([1.0, 2.0, 6.0], "ms"), spread([2.0, 2.0], "ms")
        (['each: mean 3, 1 to 6 ms'], [])
    """
    amounts = [*filter(math.isfinite, amounts)]
    if min(amounts, default=0) == max(amounts, default=0):
        return []
    mean, least, most = map(amount_text, (sum(amounts) / len(amounts), min(amounts), max(amounts)))
    return [f"each: mean {mean}, {least} to {most} {unit}"]


def which(times: Sequence[bool]) -> str:
    """Which repetitions something is said of; "" for all.

    Example:
        >>> which([False, True, False, True]), which([True, True])
        ('repetitions 2, 4 of 4', '')
    """
    found = [str(i) for i, said in enumerate(times, 1) if said]
    shown = ", ".join(found[:MOST]) + f" and {len(found) - MOST} more" * (len(found) > MOST)
    text = f"repetition{'s' * (len(found) > 1)} {shown} of {len(times)}"
    return text if 0 < len(found) < len(times) else ""


def _when(work: _Rolling, box: str) -> dict[int, int]:
    """By loop, in which of its repetitions a box is."""
    found: dict[int, int] = {}
    while True:
        here = box
        for loop, time, drawn in work.hops.get(here, []):
            found.setdefault(loop, time)
            box = drawn
        if box == here:
            return found


def _each(work: _Rolling, members: Mapping[str, list[str]]) -> dict[str, tuple[dict[str, float], ...]]:
    """By box the figures of each repetition of the outermost loop around it."""
    found = {}
    for drawn, own in members.items():
        if len(own) > 1:
            loop = min(_when(work, drawn), key=lambda number: (work.loops[number].depth, -number))
            times = grouped((_when(work, box)[loop], work.graph.figures.get(box, {})) for box in own)
            found[drawn] = tuple([sum_figures(times.get(i, [])) for i in range(work.loops[loop].times)])
    return found


def _with_weights(graph: Graph) -> dict[Path, Scope]:
    """The scopes, where one whose repetitions have their parameters in common says so."""
    boxes = {box.id: box for box in graph.boxes}
    back = {(e.target, e.slot) for e in graph.edges if e.back}
    used = grouped((frame, graph.counts.get(e.source, 1) < graph.counts.get(e.target, 1)) for e in graph.edges
                   if boxes[e.source].kind == "parameter" and (e.target, e.slot) not in back
                   for frame in frames(boxes[e.target].scope) if not backwards(frame))
    return {path: replace(scope, notes=scope.notes or (SAME,)) if scope.times > 1 and all(
        used.get(path, [False])) else scope for path, scope in graph.scopes.items()}
