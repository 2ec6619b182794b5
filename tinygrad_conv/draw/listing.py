"""A graph as text for a terminal: modules indented, one line per box, with where its inputs come from.

May import graph.
"""
from __future__ import annotations

from .graph import CALLS, Box, Graph, Path, common, title
from .words import printable, tensor_text

WIDEST = 60  # characters of a column; what is longer pushes its own line aside alone


def listing(graph: Graph) -> str:
    """The boxes in the order of the tape, each under the heads of its modules.

    A box's output follows "->". The inputs of a call are the result of the call before it and the
    leaves in between; where they are not, "<-" names them.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> print(listing(tg.graph(x + tg.exp(x))))
        leaf0  x    -> 2  (parameter)
        op0    exp  -> 2
        op1    add  -> 2  <- leaf0, op0
    """
    inputs: dict[str, list[str]] = {}
    for edge in graph.edges:
        inputs.setdefault(edge.target, []).append(edge.source)
    rows: list[tuple[str, str, str]] = []
    here: Path = ()
    recent: list[str] = []
    for box in graph.boxes:
        rows += _heads(graph, here, box.scope)
        here = box.scope
        indent = "  " * len(here)
        call = box.kind in CALLS
        sources = inputs.get(box.id, [])
        made = [f"-> {tensor_text(box.shape, box.dtype)}"] if box.dtype else []  # a failed call makes nothing
        said = [*made, *_said(box, sources if sources != recent else [])]
        rows.append((printable(box.id), indent + printable(box.label), "  ".join(said)))
        recent = [box.id] if call else [*recent, box.id]
    left, middle = (min(max((len(row[i]) for row in rows if row[2]), default=0), WIDEST) for i in (0, 1))
    lines = [f"{a:{left}}  {b:{middle}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([*lines, *[f"{mark or 'note'}: {printable(meaning)}" for mark, meaning in graph.legend]])


def _heads(graph: Graph, here: Path, scope: Path) -> list[tuple[str, str, str]]:
    """A line for each scope that is entered on the way from one box to the next."""
    return [("", "  " * depth + printable(title(graph.scopes[scope[:depth + 1]])), "")
            for depth in range(common(here, scope), len(scope))]


def _said(box: Box, sources: list[str]) -> list[str]:
    """What follows the shape: the kind of a leaf, where the inputs come from, notes, the mark."""
    return [*([f"({box.kind})"] if box.kind not in CALLS else []),
            *([f"<- {', '.join(map(printable, sources))}"] if sources else []),
            *(["; ".join(map(printable, box.notes))] if box.notes else []),
            *([f"[{box.mark}]"] if box.mark else [])]
