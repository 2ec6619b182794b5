"""The one walk of the graph, from some tensors back to the leaves, and what it met in creation order.

`reach` walks and gives the calls by creation number: all that a gradient needs. `walk` puts them in order,
each with all its outputs, for listings, pictures and costs. Iterative, so no chain is too long; every
call is visited once, however many paths lead to it.
"""
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

from .core import Fixed
from .primitive import Freed, Node
from .state import recording
from .tensor import Tensor


Made: TypeAlias = Tensor | Freed  # `Freed` if the tape does not keep its values


class Entry(NamedTuple):
    """A node and what it produced: `output`, by which the walk came, and all `outputs` of the call."""

    node: Node
    output: Made
    outputs: tuple[Made, ...]


def reach(outputs: Iterable[Made]) -> dict[int, list[Made]]:
    """By creation number, every call that `outputs` depend on: its outputs that were met on the way."""
    seen: dict[int, list[Made]] = {}
    stack = list(outputs)
    while stack:
        t = stack.pop()
        node = t.node
        if node is None:
            continue
        known = seen.get(node.order)
        if known is None:
            seen[node.order] = [t]
            stack += node.inputs
        elif node.values is not None:  # an op with several outputs
            known.append(t)
    return seen


def walk(outputs: Iterable[Made]) -> list[Entry]:
    """Every node that `outputs` depend on, in order of creation, with its outputs."""
    entries = []
    for _, (first, *others) in sorted(reach(outputs).items()):
        values = list(first.node.values or (first,))
        for t in (*others, first):
            values[t.index if first.node.values else 0] = t
        entries.append(Entry(first.node, first, tuple(values)))
    return entries


class Recomputed(Fixed):
    """Memory of values that a call had not kept."""

    __slots__ = ()


def revive(outputs: Iterable[Made]) -> list[Entry]:
    """`walk`, for who reads values: those that no derivative needs are computed again, and from now on kept.

    What a `backward()` has freed stays away.
    """
    outputs = [*outputs]
    entries = walk(outputs)
    kept: dict[Any, Made] = {(t.node.order, t.index): t for e in entries for t in (*e.outputs, *e.node.inputs)
                             if isinstance(t, Tensor) and t.node is not None}
    with recording(False):
        for node, _, results in entries:
            if node.freed:
                continue
            inputs = node.inputs = tuple([
                kept.get((t.node.order, t.index), t) if isinstance(t, Freed) else t for t in node.inputs])
            lost = [i for i, t in enumerate(results) if isinstance(kept.get((node.order, i), t), Freed)]
            if lost and all([isinstance(t, Tensor) for t in inputs]):
                again = node.primitive(*[t.detach() for t in inputs], **node.params)
                again = again if isinstance(again, tuple) else (again,)
                if node.values is not None:
                    node.values = tuple([t.detach() for t in again])
                for i in lost:
                    t = kept[node.order, i] = again[i]
                    t.node, t.index, t.memory, t._requires_grad = node, i, Recomputed(), t.dtype.kind == "f"
    return walk(outputs)


class Tape:
    """The recorded calls behind a tensor: a sequence of entries that prints as a listing."""

    def __init__(self, root: Tensor) -> None:
        self.root = root
        self.entries = walk([root])

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __getitem__(self, i: int) -> Entry:
        return self.entries[i]

    def __repr__(self) -> str:
        names: dict[int, str] = {}  # of calls by order, of leaves by -id
        counts = {"leaf": 0, "const": 0}
        lines = []
        for number, entry in enumerate(self.entries):
            node = entry.node
            args = [names[t.node.order] + (f"[{t.index}]" if t.index else "")
                    if t.node is not None else _leaf(t, names, counts, lines)
                    for t in node.inputs]
            args += [f"{k}={v!r}" for k, v in node.params.items()]
            names[node.order] = f"%{number}"
            where = f"  # {'.'.join(node.scope)}" if node.scope else ""
            lines.append(f"%{number} = {node.primitive.name}({', '.join(args)})"
                         f" -> {entry.output.dtype}{list(entry.output.shape)}{where}")
        return "\n".join(lines) or f"(a leaf of shape {self.root.shape}: nothing is recorded)"


def _leaf(t: Tensor | Freed, names: dict[int, str], counts: dict[str, int],
          lines: list[str]) -> str:
    """The leaf's name; at its first appearance a line of its own."""
    if -id(t) not in names:
        kind = "leaf" if t.requires_grad else "const"
        names[-id(t)] = t.name or f"{kind}{counts[kind]}"
        counts[kind] += 1
        lines.append(f"{names[-id(t)]} : {kind} {t.dtype}{list(t.shape)}")
    return names[-id(t)]


def tape(t: Tensor) -> Tape:
    """The calls that made `t`, oldest first, as an object to print, iterate and index.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> tg.tape((x * x).sum())
        leaf0 : leaf float32[2]
        %0 = mul(leaf0, leaf0) -> float32[2]
        %1 = sum(%0, axis=(0,), keepdims=False) -> float32[]
    """
    if not isinstance(t, Tensor):
        raise TypeError(f"tape: expects a tensor, got {type(t).__name__}")
    return Tape(t)
