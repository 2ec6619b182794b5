"""Two drawings compared: what was added, removed, changed and moved, as lines and as one picture of both.

What only follows from another difference (a shape after a layer that was inserted) is not a difference of its
own. Takes and gives plain models; reads no values but single numbers.
"""
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ..arguments import instance
from ..state import Call
from ..tensor import Tensor
from .collapse import close, frame_each_call
from .drawing import Drawing
from .graph import (
    LEAVES, OUTPUT, Box, Edge, Graph, Path, Scope, backwards, frames, grouped, module_path, title,
)
from .loops import roll
from .match import Match, Side
from .style import number_text, parameters_text, printable, shape_text, tensor_text

SIGNS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
MEANINGS = {"added": "in the second drawing only", "removed": "in the first drawing only",
            "changed": "other than in the first drawing"}
MOST = 4    # modules in the legend that moved; leaves with the same difference that have lines of their own
BULK = re.compile(r" (\w+ -> \w+)$")  # of a leaf: its kind or its dtype
MANY, AROUND = 25, 2  # a picture of more boxes shows those so many steps from a difference


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
        """A line for each difference, and one for equal ones in a row."""
        runs = [[*run] for _, run in groupby(self.changes, lambda change: re.sub(r"#\d+", "", str(change)))]
        lines = [f"{run[0]}  x{len(run)}" if len(run) > 1 else str(run[0]) for run in runs]
        follow = [f"and {self.follow} of what follows in shape or dtype"] * (self.follow > 0)
        return "\n".join([*lines, *follow]) or "no difference"

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
        ~ conv2d 3x3 -> conv2d 3x3 stride 2
        + exp  -> 1x3x4x4
        and 1 of what follows in shape or dtype
        >>> bool(tg.diff(a, a)), len(tg.diff(b, a).removed)
        (False, 1)
    """
    match = Match(*[frame_each_call(instance(
        drawing, Drawing, "diff", "two drawings, of tg.draw or nn.draw").whole) for drawing in (a, b)])
    changes, said, follow = _compared(match)
    whole = _union(match, said)
    moved = [str(change) for change in changes if change.mark == "moved"]
    remarks = [*moved[:MOST], *[f"and {len(moved) - MOST} more moved"] * (len(moved) > MOST)]
    whole = replace(whole, legend=(*whole.legend, *[("", text) for text in remarks]))
    return Difference(changes, follow, _signed(_closed(roll(whole))), _signed(whole))


# ----- what the pairs, and what has no partner, say -----

def _name(box: Box) -> str:
    return ".".join((*module_path(box.scope), box.label.split(" ")[0]))


def _arrow(old: str, new: str) -> list[str]:
    return [f"{old} -> {new}"] if old != new else []


def _value(side: Side, box: Box) -> str:
    """A single number as text; "" for any other leaf."""
    source = side.graph.sources.get(box.id)
    return number_text(source) if isinstance(source, Tensor) and not box.shape else ""


def _leaf_causes(match: Match, x: Box, y: Box) -> list[str]:
    names = _arrow(x.label, y.label) if x.kind == y.kind != "constant" else []
    of_tensor = [*_arrow(x.kind, y.kind), *_arrow(shape_text(x.shape), shape_text(y.shape)),
                 *_arrow(x.dtype, y.dtype), *_arrow(_value(match.one, x), _value(match.two, y))]
    return names + [f"{y.label} {change}" for change in of_tensor]


def _call_causes(match: Match, x: Box, y: Box) -> list[str]:
    """What is different in a call itself; "" alone if only its result is, for reasons before it."""
    one, two = match.one, match.two
    ins, outs = one.inputs.get(x.id, []), two.inputs.get(y.id, [])
    causes = _arrow(x.label, y.label) + _rewired(match, ins, outs, y)
    if causes or (x.shape, x.dtype) == (y.shape, y.dtype):
        return causes
    if [(e.shape, e.dtype) for e in ins] != [(e.shape, e.dtype) for e in outs]:
        return [""]
    return [f"{y.label} {tensor_text(x.shape, x.dtype)} -> {tensor_text(y.shape, y.dtype)}"]


def _rewired(match: Match, ins: Sequence[Edge], outs: Sequence[Edge], y: Box) -> list[str]:
    """Other inputs, if not because one was removed or another one added in its place."""
    word = y.label.split(" ")[0]
    olds = [(match.boxes.get(e.source, ""), e.output) for e in ins]
    news = [(e.source, e.output) for e in outs]
    known = [each for each in olds if each[0]]
    gone, come = Counter(known) - Counter(news), Counter(news) - Counter(olds)
    fresh = sum(count for (box, _), count in come.items() if box not in match.back)
    if gone.total() > fresh or come.total() - fresh > len(olds) - len(known):
        old, new = (", ".join([_name(match.two.boxes[box]) + f" result {k + 1}" * (k > 0)
                               for box, k in results]) for results in (gone, come))
        return [f"input of {word} {old or 'none'} -> {new or 'none'}"]
    swapped = not (gone or come) and known != news
    return [f"inputs of {word} in another order"] * swapped


Line = tuple[tuple[int, int], Change]  # with its place in the net


def _compared(match: Match) -> tuple[tuple[Change, ...], dict[str, list[str]], int]:
    """All differences; by box of the second drawing what is different in it; how many boxes only follow."""
    one, two = match.one, match.two
    pairs = [(one.boxes[a], two.boxes[b]) for a, b in match.boxes.items()]
    causes = {y.id: (_leaf_causes if x.kind in LEAVES else _call_causes)(match, x, y) for x, y in pairs}
    said = {b: own for b, own in causes.items() if own and own != [""]}
    often = _often(said)
    lone = {side: match.lone(side) for side in (one, two)}
    lines = [*_altered(match, lone, {b: own for b, own in said.items() if b not in often}), *_moved(match),
             *_everywhere(match, often), *_of_another_class(match)]
    for side, mark in ((one, "removed"), (two, "added")):
        lines += [*_whole_frames(match, side, lone[side], mark), *_single(match, side, lone[side], mark)]
    lines.sort(key=lambda line: line[0])
    follow = [b for b, own in causes.items() if own == [""] and two.boxes[b].kind != OUTPUT]
    return tuple([change for _, change in lines]), said, len(follow)


def _often(said: Mapping[str, list[str]]) -> dict[str, str]:
    """Boxes that share their difference with many: all parameters frozen, or of another dtype."""
    lines = {b: own[0].split(" ", 1)[1] for b, own in said.items() if len(own) == 1 and BULK.search(own[0])}
    counts = Counter(lines.values())
    return {b: line for b, line in lines.items() if counts[line] > MOST}


def _everywhere(match: Match, often: Mapping[str, str]) -> Iterator[Line]:
    for what, ids in grouped((what, b) for b, what in often.items()).items():
        own = sorted([match.two.boxes[b] for b in ids], key=lambda box: match.two.order[box.id])
        names = ", ".join([_name(box) for box in own[:MOST]])
        yield _line(match, "changed", (), f"{len(own)} times {what}: {names}, ...",
                    [match.one.boxes[match.back[box.id]] for box in own], own)


def _whole_frames(match: Match, side: Side, lone: Mapping[str, Path], mark: str) -> Iterator[Line]:
    """Modules that are new as a whole; not their backward beside them."""
    inside = grouped((path, side.boxes[box]) for box, path in lone.items() if path)
    for path, own in inside.items():
        if not backwards(path) or module_path(path) not in inside:
            calls = [box for box in own if box.kind not in LEAVES] or own
            count = sum([math.prod(box.shape) for box in own if box.kind == "parameter"])
            said = [side.graph.scopes[path].kind, f"-> {tensor_text(calls[-1].shape, calls[-1].dtype)}",
                    parameters_text(count) if count else ""]
            yield _line(match, mark, path, "  ".join(filter(None, said)), *_sides(match, side, own))


def _line(match: Match, mark: str, path: Path, what: str, before: Sequence[Box],
          after: Sequence[Box]) -> Line:
    place = match.place(match.two, after[0].id) if after else match.place(match.one, before[0].id)
    return place, Change(mark, title(Scope(path)) if path else "", what, tuple(before), tuple(after))


def _sides(match: Match, side: Side, own: list[Box]) -> tuple[list[Box], list[Box]]:
    """Boxes of one side, as those before and after."""
    return (own, []) if side is match.one else ([], own)


def _unit(match: Match, side: Side, box: Box) -> Path | None:
    """The second drawing's frame of a module that holds no others, and stands in both."""
    path = match.scopes.get(box.scope) if side is match.one else box.scope
    first = match.partners[match.two][1].get(path)
    return path if first in match.one.units and path in match.two.units else None


def _tells(side: Side, lone: Mapping[str, Path], box: Box) -> bool:
    """Whether a box without a partner is a difference of its own: not the mask of a dropout."""
    return box.kind in ("op", "output", "parameter", "input") or not all(
        [user in lone for user in side.users.get(box.id, ())])


def _single(match: Match, side: Side, lone: Mapping[str, Path], mark: str) -> Iterator[Line]:
    """Boxes without a partner that stand in frames with other things."""
    for box in (side.boxes[box] for box, path in lone.items() if not path):
        if _tells(side, lone, box) and _unit(match, side, box) is None:
            what = f"{box.label}  -> {tensor_text(box.shape, box.dtype)}" if box.kind not in LEAVES else (
                f"{box.label}  {tensor_text(box.shape, box.dtype)} ({box.kind})")
            yield _line(match, mark, box.scope, what, *_sides(match, side, [box]))


def _altered(match: Match, lone: Mapping[Side, Mapping[str, Path]],
             said: Mapping[str, list[str]]) -> Iterator[Line]:
    """Boxes that are not what they were; those of one module in a line, without its backward."""
    one, two = match.one, match.two
    units: dict[Path, tuple[list[Box], list[Box], list[str]]] = {}
    for side in (one, two):
        for box in (side.boxes[box] for box, path in lone[side].items() if not path):
            path = _unit(match, side, box)
            if path and _tells(side, lone[side], box):
                units.setdefault(path, ([], [], []))[side is two].append(box)
    for b, own in said.items():
        box = two.boxes[b]
        path = _unit(match, two, box)
        if path:
            units.setdefault(path, ([], [], []))[2].extend(own)
        else:
            yield _line(match, "changed", box.scope, "; ".join(own), [one.boxes[match.back[b]]], [box])
    old, new = (grouped((scopes.get(box.scope), box) for box in side.graph.boxes)
                for side, scopes in ((one, match.scopes), (two, {path: path for path in units})))
    for path, (gone, come, own) in units.items():
        if not backwards(path) or module_path(path) not in units:
            what = "; ".join([*_swapped(gone, come), *own])
            yield _line(match, "changed", path, f"{two.graph.scopes[path].kind}: {what}".removeprefix(": "),
                        old.get(path, []), new[path])


def _swapped(gone: list[Box], come: list[Box]) -> list[str]:
    """The calls and parameters of a module that went, and those that came."""
    old, new = (", ".join([box.label for box in boxes if box.kind not in LEAVES]) for boxes in (gone, come))
    swapped = [f"{old} -> {new}"] if old and new else [f"- {old}"] * bool(old) + [f"+ {new}"] * bool(new)
    return swapped + [f"{sign} {box.label} {tensor_text(box.shape, box.dtype)}"
                      for sign, boxes in (("-", gone), ("+", come)) for box in boxes if box.kind in LEAVES]


def _moved(match: Match) -> Iterator[Line]:
    """Modules under another name or in another frame; a run of numbers that shifted is one line."""
    runs: list[list[tuple[Path, Path]]] = []
    for a in match.one.parts:  # in the order of the tape
        b = match.scopes.get(a, ())
        if not (a and b) or backwards(a) or (match.scopes.get(a[:-1]) == b[:-1] and _plain(a) == _plain(b)):
            continue
        before = runs[-1][-1] if runs else ((), ())
        if [_next(path) for path in before] == [a, b]:
            runs[-1].append((a, b))
        else:
            runs.append([(a, b)])
    for pairs in runs:
        old, new = (".".join(path) for path in pairs[0])
        if len(pairs) > 1:
            old, new = f"{old}..{pairs[-1][0][-1]}", f"{new}..{pairs[-1][1][-1]}"
        inside = [box for box in match.two.graph.boxes if box.scope[:len(pairs[0][1])] == pairs[0][1]]
        place, change = _line(match, "moved", (), f"-> {new}", [], inside)
        yield place, replace(change, path=old, after=())


def _of_another_class(match: Match) -> Iterator[Line]:
    """Modules with the same parameters, or about the same in them, whose class has another name."""
    for a, b in match.scopes.items():
        change = _arrow(*[side.parts[path].kind for side, path in ((match.one, a), (match.two, b))])
        if change and not backwards(b):
            inside = [[box for box in side.graph.boxes if path in frames(box.scope)] for side, path in (
                (match.one, a), (match.two, b))]
            yield _line(match, "changed", b, *change, *inside)


def _next(path: Path) -> Path:
    """The path that follows in a list of modules: ("blocks", "4") after ("blocks", "3")."""
    return (*path[:-1], str(int(path[-1]) + 1)) if path and path[-1].isdecimal() else ()


def _plain(path: Path) -> str:
    """The name without the number of the call."""
    return re.sub(r"#\d+$", "", path[-1])


# ----- both in one picture -----

def _union(match: Match, said: Mapping[str, list[str]]) -> Graph:
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
            boxes.append(replace(box, id=names[box.id], scope=scope, notes=(), heat=None, mark="removed",
                                 of=names.get(box.of, "")))
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


def _old_paths(match: Match) -> dict[Path, Path]:
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
    """The graph without constants that are as they were; frames with one kind of mark inside are one box."""
    gone = {box.id for box in graph.boxes if box.kind == "constant" and not box.mark}
    graph = replace(graph, boxes=tuple([box for box in graph.boxes if box.id not in gone]),
                    edges=tuple([e for e in graph.edges if not {e.source, e.target} & gone]))
    marks = grouped((path, box.mark) for box in graph.boxes for path in frames(box.scope))
    graph = close(graph, {path for path, own in marks.items() if len({*own}) == 1 and own[0] != "changed"})
    return graph if len(graph.boxes) <= MANY else _near(graph)


def _near(graph: Graph) -> Graph:
    """The boxes with a mark, and those a few steps away; the legend says how many are left out."""
    near = {box.id for box in graph.boxes if box.mark} | {
        box for e in graph.edges if e.mark for box in (e.source, e.target)}
    for _ in range(AROUND):
        near |= {box for e in graph.edges if {e.source, e.target} & near for box in (e.source, e.target)}
    boxes = tuple([box for box in graph.boxes if box.id in near])
    kept = {path for box in boxes for path in frames(box.scope)}
    left = ("", f"{len(graph.boxes) - len(boxes)} boxes without a difference are left out; the page has them")
    return replace(graph, boxes=boxes, edges=tuple([e for e in graph.edges if {e.source, e.target} <= near]),
                   scopes={path: scope for path, scope in graph.scopes.items() if path in kept},
                   legend=(*graph.legend, *[left] * (len(boxes) < len(graph.boxes))))


def _signed(graph: Graph) -> Graph:
    """The graph with the sign of each mark before the label."""
    return replace(graph, boxes=tuple([
        replace(box, label=f"{SIGNS[box.mark]} {box.label}") if box.mark else box for box in graph.boxes]))
