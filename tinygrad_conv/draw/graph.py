"""The plain model of a drawing: boxes, edges and nested scopes, read off a tape.

Pure and deterministic: boxes are numbered in the order of the tape, so the same program gives the
same graph, before and after `backward()`. Scopes are paths of names without dots: a scope called
"blocks.0" is the part "0" of "blocks". The parts know the calls they name (`Call`), so that modules are told
apart by identity, whatever they are called. Renderers and annotations are other files.
"""
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..tensor import Tensor
from ..primitive import Freed, Node
from ..state import Call, call_of
from ..tape import Entry, revive
from .heat import Heat
from .style import argument_name, call_label, dtype_name, shape_text, tensor_text

class Loop(str):
    """The name of a frame around what a loop repeats, in a path: no module's."""

    __slots__ = ()


Path = tuple[str, ...]
Use = tuple[Node, int, Path]  # of a leaf: the call, which of its arguments, and the call's scope
CALLS, LEAVES = ("op", "module"), ("parameter", "input", "constant", "seed")  # kinds of boxes
OUTPUT = "output"  # the kind of a box that stands for a result of the whole, with its name
LIST = call_of("", 0, None, "")  # a list of modules is never called
SEED = "seed"  # the name of the gradient that a loss is given
BACKWARD = "backward"  # the scope of what a gradient's computation records


@dataclass(frozen=True, slots=True)
class Box:
    """One thing drawn: the call of an op, a leaf, or a module drawn as one box.

    `kind` is one of CALLS or LEAVES, or OUTPUT; `shape` and `dtype` are those of the output (of several, the
    first one in use); `notes` are lines of annotation; `mark` is an alarm, drawn on top ("": none); `heat` is
    the place on the drawing's scale of colours, from 0 to 1 (None: not on it). In a backward, `of` is the id
    of the box that it stands level with: the call whose derivatives these are, or the leaf whose gradient it
    is ("": none; it may be no longer drawn).
    """

    id: str
    kind: str
    label: str
    shape: tuple[int, ...]
    dtype: str
    scope: Path
    notes: tuple[str, ...] = ()
    mark: str = ""
    heat: float | None = None
    of: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor on its way from `source` to argument `slot` of `target`; or a leaf beside its gradient.

    One that leads `back` goes to the same boxes, the next time they are run: `Scope.times` times. `mark` is
    "added" or "removed" in a picture of differences (diff.py); `output` says which of a call's results it is.
    """

    source: str
    target: str
    shape: tuple[int, ...]
    dtype: str
    slot: int
    back: bool = False
    mark: str = ""
    output: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """A module as a frame around its boxes; it stands for `times` equal modules. `notes` follow its title."""

    path: Path
    kind: str = ""
    times: int = 1
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Graph:
    """A drawing: boxes in the order of the tape, edges by target and slot, scopes by path.

    `sources` maps a box's id to what it shows: the tape's Entry, the leaf or the output. `figures` are
    numbers about boxes by id and name, all of which can be added up (annotate.py).

    In a rolled graph `stands` says which box stands for one that is not drawn, `counts` for how many a box
    stands, and `each` has its figures in each repetition of the loop (loops.py).
    """

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    scopes: Mapping[Path, Scope]
    legend: tuple[tuple[str, str], ...] = ()  # (mark, what it means)
    sources: Mapping[str, Entry | Tensor | Freed] = field(default_factory=dict, compare=False, repr=False)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict, compare=False, repr=False)
    heat: Heat | None = None
    stands: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    counts: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    each: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict, compare=False, repr=False)


def grouped(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """The second of each pair in lists by the first.

    Example:
        >>> grouped([("a", 1), ("b", 2), ("a", 3)])
        {'a': [1, 3], 'b': [2]}
    """
    groups: dict[Any, list[Any]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def sum_figures(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several boxes as those of one that stands for all of them."""
    return {name: sum(values) for name, values in
            grouped(item for own in figures for item in own.items()).items()}


def pass_on(figures: Mapping[str, Mapping[str, float]],
            heirs: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The figures by box, where those of a box with an heir are added to the heir's.

    Example:
        >>> pass_on({"mask": {"memory": 8}, "dropout": {"memory": 32}}, {"mask": "dropout"})
        {'dropout': {'memory': 40}}
    """
    by_heir = grouped((heirs.get(box, box), own) for box, own in figures.items())
    return {box: sum_figures(own) for box, own in by_heir.items()}


def plain_path(scope: Iterable[str]) -> Path:
    """A scope of the tape as a path of names without dots; each part knows the call it names, and its kind.

    Example:
        >>> plain_path(("blocks.0", "conv"))
        ('blocks', '0', 'conv')
    """
    path: list[str] = []
    for name in scope:
        parts = name.split(".")
        if isinstance(name, Call):
            kinds = [*[""] * len(parts), *name.kind.split(".")][-len(parts):]
            lists = [LIST.renamed(part, kind) for part, kind in zip(parts[:-1], kinds)]
            parts = [*lists, name.renamed(parts[-1], kinds[-1])]
        path += parts
    return tuple(path)


def _chains(entries: list[Entry]) -> tuple[dict[int, tuple[Call, ...]], set[int]]:
    """By number each call of a scope with those around it; and which hold a module, or use a parameter."""
    chains: dict[int, Any] = {}
    full: set[int] = set()
    for entry in entries:
        calls = module_path(entry.node.calls)
        if calls and calls[-1].number not in chains:
            chains |= {call.number: calls[:i] for i, call in enumerate(calls, 1)}
        if any([t.node is None and t.requires_grad for t in entry.node.inputs]):
            full.update([call.number for call in calls if not call])
    full.update([call.number for chain in chains.values() if chain[-1].module for call in chain[:-1]])
    return chains, full


def _paths(entries: list[Entry], variables: Mapping[int, str]) -> list[Path]:
    """Where each call of the tape is drawn.

    A module that no other holds has no name, and needs none while it is alone. If several calls of such
    modules, with parameters or modules of their own, stand side by side, each goes by the caller's variable,
    or its class. Another module under the same name is "name (2)".
    """
    chains, full = _chains(entries)
    unnamed = grouped((chain[-2].number if len(chain) > 1 else 0, number)
                      for number, chain in chains.items() if not chain[-1] and number in full)
    called = {number for beside in unnamed.values() if len(beside) > 1 for number in beside}
    known: dict[Path, list[Any]] = {}  # by path, the modules of that name
    paths: dict[int, Path] = {}
    for number in sorted(chains):
        *around, call = chains[number]
        path = paths[around[-1].number] if around else ()
        if number in called:
            variable = variables.get(id(call.module))
            call = call.renamed(variable) if variable else call.renamed(call.kind, "")
        if call:
            *lists, last = plain_path([call])
            modules = known.setdefault((*path, *lists, last), [])
            which = next((i for i, m in enumerate(modules) if m is call.module), len(modules))
            modules += [call.module] * (which == len(modules))
            path = (*path, *lists, last.renamed(f"{last} ({which + 1})") if which else last)
        paths[number] = path
    levels = [(entry.node.calls, backwards(entry.node.calls)) for entry in entries]
    return [(*calls[:level], *(paths[calls[-1].number] if calls[level:] else ())) for calls, level in levels]


def kind_of(path: Path) -> str:
    """The class of the module that a path names, if it is one's."""
    return getattr(path[-1], "kind", "")


def frames(path: Path) -> list[Path]:
    """The paths of the frames around what lies in `path`, outermost first; the last is `path` itself."""
    return [path[:depth] for depth in range(1, len(path) + 1)]


def backwards(scope: Path) -> int:
    """The order of derivative a scope belongs to: 0 forward, 1 backward, 2 the backward of that.

    Example:
        >>> backwards(("features", "0")), backwards(("backward", "features", "0"))
        (0, 1)
    """
    return next((i for i, name in enumerate(scope) if name != BACKWARD), len(scope))


def module_path(scope: Path) -> Path:
    """The path of the module itself, whose backward the scope may be."""
    return scope[backwards(scope):]


def common(a: Path, b: Path) -> int:
    """How many names two paths share from the start."""
    return next((i for i, (m, n) in enumerate(zip(a, b)) if m != n), min(len(a), len(b)))


def names_of(path: Path) -> Path:
    """The names in a path that a reader knows: of loops only the one whose path it is.

    Example:
        >>> names_of(("backward", Loop("loop"), "cell")), names_of(("net", Loop("loop#2")))
        (('backward', 'cell'), ('loop',))
    """
    if path and isinstance(path[-1], Loop):
        return (*path[:backwards(path)], "loop")
    return tuple([name for name in path if not isinstance(name, Loop)])


def title(scope: Scope) -> str:
    """Path, kind, number of repetitions and notes of a scope.

    Example:
        >>> title(Scope(("backward", "features", "0"), "Conv2d", 3))
        'backward of features.0  Conv2d  x3'
    """
    level = backwards(scope.path)
    names = [BACKWARD] * level + [".".join(names_of(scope.path)[level:])]
    path = " of ".join(filter(None, names))
    times = f"x{scope.times}" if scope.times > 1 else ""
    return "  ".join(filter(None, [path, scope.kind, times, *scope.notes]))


def shown(source: Entry | Tensor | Freed | None) -> list[Tensor | Freed]:
    """What a box shows: its tensor, or all outputs of the call; first those that something drawn uses."""
    if isinstance(source, Entry):
        return sorted(source.outputs, key=lambda t: t.node is None)
    return [] if source is None else [source]


def _is_data(node: Node, slot: int) -> bool:
    """Whether an unnamed array is what the call works on, not a factor or a mask beside it."""
    return slot == 0 and not (node.primitive.broadcasts and any(
        t.node is not None and math.prod(t.shape) >= math.prod(node.inputs[0].shape) for t in node.inputs))


def local_name(name: str, scope: Path) -> str:
    """What the module at `scope` calls a tensor of its own; "" if its name lies elsewhere.

    The scope may begin with names outside of the model, which its tensors do not have.

    Example:
        >>> local_name("features.0.weight", ("net", "features", "0")), local_name("weight", ("features", "0"))
        ('weight', '')
    """
    inside = [".".join((*scope[i:], "")) for i in range(len(scope))]
    return next((name[len(start):] for start in inside if name.startswith(start)), "")


def _leaf_box(box: str, t: Tensor | Freed, uses: list[Use], seed: bool) -> Box:
    """A leaf with its kind, its name, and the scope it belongs to; see `graph`."""
    node, slot, _ = uses[0]
    scopes = [scope for *_, scope in uses if not backwards(scope)] or [scope for *_, scope in uses]
    scope = min(scopes)[:common(min(scopes), max(scopes))]  # the deepest around all of them
    own = local_name(t.name, scope)
    outside = not backwards(scope) and not own and (bool(t.name) or _is_data(node, slot) or not scope)
    kind = "parameter" if t.requires_grad else "input" if outside and t.shape else "constant"
    if outside and t.shape and not (kind == "parameter" and t.name):
        scope = ()
    label = own or t.name or argument_name(node.primitive, slot)
    if seed:
        kind, label = "seed", f"seed {t.item():g}" if t.name == SEED and not t.shape else t.name or "g"
    notes = ("made by calls that are not recorded",) if seed and not t.name else ()
    return Box(box, kind, label, t.shape, dtype_name(t.dtype), scope, notes)


def _number_of(node: Node) -> int:
    """The number of the call whose derivatives a call of a backward computes; 0 for others."""
    return getattr(node.calls[0], "number", 0) if backwards(node.calls) else 0


def _is_seed(t: Tensor | Freed, uses: list[Use], fed: Container[int]) -> bool:
    """Whether a backward starts with a leaf: one named so, or else an array that its first calls alone use.

    Of the calls before those nothing is recorded, unless the seed required a gradient. `fed` are the numbers
    of the calls to whose derivatives something recorded leads.
    """
    if t.name or t.requires_grad or not t.shape or t.dtype.kind != "f":
        return t.name == SEED and all([backwards(scope) for *_, scope in uses])
    return uses[0][1] == 0 and all([backwards(scope) == 1 and _number_of(node) not in fed
                                    for node, _, scope in uses])


def _call_box(box: str, entry: Entry, scope: Path, explained: bool, of: str) -> Box:
    """A call, with its result's name, all results if several are used, and how they come about if asked."""
    node, outputs = entry.node, shown(entry)
    out = outputs[0]
    used = [tensor_text(t.shape, dtype_name(t.dtype)) for t in outputs if t.node is not None]
    notes = [f"= {out.name}"] if out.name else []
    try:
        label = call_label(node, out)
    except Exception as e:  # the user's `deflabel`
        label, notes = node.primitive.name, [*notes, f"its label failed: {type(e).__name__}: {e}"]
    if len(used) > 1:
        notes.append(f"-> {', '.join(used)}")
    how = node.primitive.notes.get("ans") if explained else ""
    if how:
        inputs = ", ".join([shape_text(t.shape) for t in node.inputs[:2]])
        notes += [f"{inputs} -> {shape_text(out.shape)}", how.replace("summed over", "sums over")]
    return Box(box, "op", label, out.shape, dtype_name(out.dtype), scope, tuple(notes), of=of)


def graph(*outputs: Tensor, kinds: Mapping[str, str] | None = None,
          variables: Mapping[int, str] | None = None) -> Graph:
    """The calls behind some tensors as a plain model of a drawing.

    A leaf that requires a gradient is a parameter. Of the others, arrays are inputs if they are
    used outside all modules, have a name not given by a module, or are the first argument of a call
    (and not merely added to or multiplied with something computed); the rest (single numbers,
    running means, masks) are constants. Inputs, and parameters that would be inputs by
    these rules and have no name, lie outside all modules; other leaves lie in the deepest scope
    around all calls that use them, or all forward calls if there are any. The gradient that a backward starts
    with is its seed, to which the first of `outputs` leads.

    Args:
        outputs: tensors: an output, a loss, gradients made with `create_graph=True`.
        kinds: the kind of scopes that are no modules by their dotted path, e.g. {"stage1.block": "residual"}.
        variables: names by `id` for modules that no other holds; without, they go by their class.

    Returns:
        a `Graph`; if it contains a backward pass, ops with notes on their result (`defnotes`) show them.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> g = tg.graph(x * x)
        >>> [box.label for box in g.boxes], len(g.edges)
        (['x', 'mul'], 2)
    """
    entries = revive(outputs)
    drawn = _paths(entries, variables or {})
    sources: dict[str, Entry | Tensor | Freed] = {}
    uses: dict[str, list[Use]] = {}    # of leaves
    ids: dict[Node | int, str] = {}    # of calls by node, of leaves by id (`sources` holds them)
    edges: list[Edge] = []
    for number, entry in enumerate(entries):
        node, scope = entry.node, drawn[number]
        call = ids[node] = f"op{number}"
        for slot, t in enumerate(node.inputs):
            source = ids.setdefault(t.node or id(t), f"leaf{len(uses)}")
            if t.node is None:
                sources[source] = t
                uses.setdefault(source, []).append((node, slot, scope))
            edges.append(Edge(source, call, t.shape, dtype_name(t.dtype), slot, output=t.index))
        sources[call] = entry
    fed = {_number_of(node) for node in ids if isinstance(node, Node) and backwards(node.calls) and any(
        [x.node is not None and _number_of(x.node) not in (0, _number_of(node)) for x in node.inputs])}
    seeds = [box for box, own in uses.items() if _is_seed(sources[box], own, fed)]
    loss = next((t for t in outputs if t.node is not None and not backwards(t.node.calls)), None)
    if loss is not None:  # its backward starts there
        edges += [Edge(ids[loss.node], seed, loss.shape, dtype_name(loss.dtype), 0) for seed in seeds
                  if uses[seed][0][0].order > loss.node.order]  # not one of what the seed led to
        position = {box: i for i, box in enumerate(sources)}
        edges.sort(key=lambda edge: position[edge.target])
    scope_of = {ids[entry.node]: path for entry, path in zip(entries, drawn)}
    explained = any(map(backwards, dict.fromkeys(drawn)))
    numbered = {entry.node.order: ids[entry.node] for entry in entries}
    of = {ids[entry.node]: numbered.get(_number_of(entry.node), "") for entry in entries}
    boxes = [_leaf_box(box, source, uses[box], box in seeds) if box in uses else
             _call_box(box, source, scope_of[box], explained, of[box]) for box, source in sources.items()]
    names = {**(kinds or {}), "": ""}  # a backward as a whole is no module
    scopes = {path: Scope(path, names.get(".".join(module_path(path)), kind_of(path)))
              for path in dict.fromkeys(frame for path in dict.fromkeys(drawn) for frame in frames(path))}
    return Graph(tuple(boxes), tuple(edges), scopes, sources=sources)


def with_outputs(graph: Graph, outputs: Iterable[Tensor], names: Mapping[int, str]) -> Graph:
    """The graph with a box for each output, behind the call that made it.

    One that is the `.grad` of a leaf lies in the backward of the leaf's module, and an edge leads to it from
    the leaf too. The others lie outside all modules.

    Args:
        graph: what `tg.graph` read off them.
        outputs: the tensors.
        names: names by `id`, for those that have none themselves; the rest are "output", or "output 0", ...

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> [box.label for box in with_outputs(tg.graph(y), [y], {id(y): "square"}).boxes]
        ['x', 'mul', 'square']
    """
    made = {source.node: box for box, source in graph.sources.items() if isinstance(source, Entry)}
    boxes = {box.id: box for box in graph.boxes}
    leaves = {id(t.grad): boxes[box] for box, t in graph.sources.items()
              if isinstance(t, Tensor) and t.grad is not None}
    given = {id(t): t for t in outputs if t.node in made or id(t) in leaves and (BACKWARD,) in graph.scopes}
    results = [key for key in given if key not in leaves]
    plain = {key: f"output {i}" if results[1:] else "output" for i, key in enumerate(results)}
    edges, after, sources = [*graph.edges], {}, dict(graph.sources)
    for number, (key, t) in enumerate(given.items()):
        call, leaf = made.get(t.node, ""), leaves.get(key)
        name = t.name or names.get(key, plain.get(key, ""))
        box = _output_box(graph, f"output{number}", t, name, leaf)
        after.setdefault(call, []).append(box)
        sources[box.id] = t
        ends = [Edge(call, box.id, box.shape, box.dtype, 0)] if call else []
        edges += ends + ([Edge(leaf.id, box.id, leaf.shape, leaf.dtype, 1)] if leaf else [])
        if call:  # whose name its box says
            notes = tuple([note for note in boxes[call].notes if note != f"= {t.name}"])
            boxes[call] = replace(boxes[call], notes=notes)
    ordered = [each for box in boxes.values() for each in (box, *after.get(box.id, []))] + after.get("", [])
    position = {box.id: i for i, box in enumerate(ordered)}
    edges.sort(key=lambda edge: (position[edge.target], edge.slot))
    return replace(graph, boxes=tuple(ordered), edges=tuple(edges), sources=sources)


def _output_box(graph: Graph, box: str, t: Tensor, name: str, leaf: Box | None) -> Box:
    """An output, outside all modules; the gradient of a leaf, in its module's backward if that is drawn."""
    level = (BACKWARD,) * (backwards(t.node.calls) if t.node else 1)
    if leaf is None:
        return Box(box, OUTPUT, name, t.shape, dtype_name(t.dtype), level)
    level = level or (BACKWARD,)
    module = module_path(leaf.scope)
    depth = next((i for i in range(len(module), 0, -1) if (*level, *module[:i]) in graph.scopes), 0)
    scope = (*level, *module[:depth]) if level in graph.scopes else ()
    label = f"gradient of {'.'.join((*module[depth:], leaf.label))}"
    notes = () if t.node else ("made by calls that are not recorded",)
    return Box(box, OUTPUT, label, t.shape, dtype_name(t.dtype), scope, notes, of=leaf.id)
