"""The plain model of a drawing: boxes, edges and nested scopes, read off a tape.

Pure and deterministic: boxes are numbered in the order of the tape, so the same program gives the
same graph, before and after `backward()`. Renderers and annotations are other files; this one may
import core, primitive, tape and labels.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .core import Tensor
from .labels import call_label, slot_name
from .primitive import Freed, Node
from .tape import Entry, walk

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing drawn: the call of an op, a leaf, or a module drawn as one box.

    `kind` is "op", "parameter", "input", "constant" or "module"; `shape` and `dtype` are those of
    what comes out; `notes` are lines of annotation; `mark` names what its colour says ("" nothing).
    """

    id: str
    kind: str
    label: str
    shape: tuple[int, ...]
    dtype: str
    scope: Path
    notes: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Edge:
    """A tensor on its way from `source` to argument `slot` of `target`."""

    source: str
    target: str
    shape: tuple[int, ...]
    dtype: str
    slot: int


@dataclass(frozen=True, slots=True)
class Scope:
    """A module seen as a frame around its boxes; `times` > 1 stands for so many equal ones."""

    path: Path
    kind: str = ""
    times: int = 1


@dataclass(frozen=True)
class Graph:
    """A drawing: boxes in the order of the tape, edges by target and slot, scopes by path.

    `sources` leads from a box's id back to what it shows: the tape's Entry, or the leaf. `figures`
    are numbers about boxes by id and name, all of a kind that can be added up (annotate.py).
    """

    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    scopes: Mapping[Path, Scope]
    legend: tuple[tuple[str, str], ...] = ()  # (mark, what it means)
    sources: Mapping[str, Entry | Tensor | Freed] = field(default_factory=dict, compare=False, repr=False)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict, compare=False, repr=False)


def total(figures: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The figures of several boxes as those of one that stands for all of them."""
    sums: dict[str, float] = {}
    for own in figures:
        for name, value in own.items():
            sums[name] = sums.get(name, 0.0) + value
    return sums


def _leaf(t: Tensor | Freed, node: Node, slot: int, number: int) -> Box:
    kind = "parameter" if t.requires_grad else "input" if t.shape else "constant"
    label = t.name or slot_name(node.primitive, slot)
    return Box(f"leaf{number}", kind, label, t.shape, str(t.dtype), node.scope)


def graph(*outputs: Tensor, kinds: Mapping[str, str] | None = None) -> Graph:
    """The calls behind some tensors as a plain model of a drawing.

    Args:
        outputs: tensors: an output, a loss, gradients made with `create_graph=True`.
        kinds: what a scope is by its dotted path, e.g. {"features.conv1": "Conv2d"}.

    Returns:
        a `Graph`; a leaf stands in the scope of the first call that uses it.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> g = tg.graph(x * x)
        >>> [box.label for box in g.boxes], len(g.edges)
        (['x', 'mul'], 2)
    """
    kinds = kinds or {}
    boxes: list[Box] = []
    edges: list[Edge] = []
    sources: dict[str, Entry | Tensor | Freed] = {}
    leaves: dict[int, str] = {}
    made: dict[int, str] = {}
    scopes: dict[Path, Scope] = {}
    for number, entry in enumerate(walk(outputs)):
        node, out = entry.node, entry.output
        op = made[node.order] = f"op{number}"
        for depth in range(1, len(node.scope) + 1):
            path = node.scope[:depth]
            scopes.setdefault(path, Scope(path, kinds.get(".".join(path), "")))
        for slot, t in enumerate(node.inputs):
            if t.node is None and id(t) not in leaves:
                leaf = _leaf(t, node, slot, len(leaves))
                leaves[id(t)] = leaf.id
                boxes.append(leaf)
                sources[leaf.id] = t
            source = leaves[id(t)] if t.node is None else made[t.node.order]
            edges.append(Edge(source, op, t.shape, str(t.dtype), slot))
        label = call_label(node.primitive.name, [t.shape for t in node.inputs], node.params)
        boxes.append(Box(op, "op", label, out.shape, str(out.dtype), node.scope))
        sources[op] = entry
    return Graph(tuple(boxes), tuple(edges), scopes, sources=sources)
