"""A graph as text for a terminal: modules indented, one line per box, with where its inputs come from.

May import graph and text.
"""
from .graph import CALLS, Graph, Path, common, grouped, title
from .text import printable, tensor_text

WIDEST = 60  # characters of a column; what is longer pushes its own line aside alone


def listing(graph: Graph) -> str:
    """The boxes in the order of the tape, each under the headings of its modules.

    A box's output follows "->". A call takes the result of the call before it and the leaves in between;
    if it takes others, "<-" names them.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> print(listing(tg.graph(x + tg.exp(x))))
        leaf0  x    -> 2  (parameter)
        op0    exp  -> 2
        op1    add  -> 2  <- leaf0, op0
    """
    inputs = grouped((edge.target, edge.source) for edge in graph.edges)
    rows: list[tuple[str, str, str]] = []
    here: Path = ()
    recent: list[str] = []
    for box in graph.boxes:
        rows += [("", "  " * depth + printable(title(graph.scopes[box.scope[:depth + 1]])), "")
                 for depth in range(common(here, box.scope), len(box.scope))]
        here, call, sources = box.scope, box.kind in CALLS, inputs.get(box.id, [])
        said = [f"-> {tensor_text(box.shape, box.dtype)}" if box.dtype else "",  # a failed call makes nothing
                "" if call else f"({box.kind})",
                f"<- {', '.join(map(printable, sources))}" if sources and sources != recent else "",
                "; ".join(map(printable, box.notes)), f"[{box.mark}]" if box.mark else ""]
        label = "  " * len(here) + printable(box.label)
        rows.append((printable(box.id), label, "  ".join(filter(None, said))))
        recent = [box.id] if call else [*recent, box.id]
    left, middle = (min(max((len(row[i]) for row in rows if row[2]), default=0), WIDEST) for i in (0, 1))
    lines = [f"{a:{left}}  {b:{middle}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([*lines, *[f"{mark or 'note'}: {printable(meaning)}" for mark, meaning in graph.legend]])
