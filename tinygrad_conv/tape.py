"""The one walk of the graph: from some tensors back to the leaves, as a list in creation order.

Gradients, listings, pictures and costs are readers of this list. Iterative, so depth costs
nothing, and every node is visited once, so diamonds cost nothing.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .core import Tensor
from .primitive import Freed, Node


@dataclass(frozen=True, slots=True)
class Entry:
    """A node and what it produced (`Freed` once `backward()` has used it).

    `output` is the one by which the walk came, `outputs` are all of the call.
    """

    node: Node
    output: Tensor | Freed
    outputs: tuple[Tensor | Freed, ...]


def walk(outputs: Iterable[Tensor | Freed]) -> list[Entry]:
    """Every node that `outputs` depend on, in order of creation, with its outputs."""
    seen: dict[int, dict[int, Tensor | Freed]] = {}  # by order of the node, then by index of the output
    stack = list(outputs)
    while stack:
        t = stack.pop()
        if t.node is None:
            continue
        made = seen.get(t.node.order)
        if made is None:
            made = seen[t.node.order] = {}
            stack.extend(t.node.inputs)
        made.setdefault(t.index, t)
    return [_entry(seen[order]) for order in sorted(seen)]


def _entry(made: dict[int, Tensor | Freed]) -> Entry:
    first = next(iter(made.values()))
    values = first.node.values
    return Entry(first.node, first, (first,) if values is None else
                 tuple([made.get(i, v) for i, v in enumerate(values)]))


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
