"""What happens op by op, in words: the forward calls, then what each does with its gradient.

From a graph and its sources alone, no values needed. May import primitive, labels, graph and tape.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..graph import CALLS, Box, Edge, Graph, backwards
from ..labels import SUMMED, slot_name
from ...tape import Entry

SUMS = {  # what the gradient of an argument is a sum over; of the three convolutions it is another one
    ("conv2d", "x"): SUMMED["conv_transpose2d"], ("conv2d", "w"): SUMMED["conv2d_weight"],
    ("conv2d", "b"): "n, oh, ow",
    ("conv_transpose2d", "g"): SUMMED["conv2d"], ("conv_transpose2d", "w"): SUMMED["conv2d_weight"],
    ("conv_transpose2d", "b"): "n, h, w",
    ("conv2d_weight", "g"): SUMMED["conv2d"], ("conv2d_weight", "x"): SUMMED["conv_transpose2d"],
    ("linear", "x"): "the outputs", ("linear", "w"): "the samples", ("linear", "b"): "the samples"}
BROADCASTING = {"add", "sub", "mul", "div", "pow", "maximum", "minimum", "where", "broadcast_to",
                "normalize", "scale"}


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of the replay: `box` is at work; `phase` is "forward" or "backward"."""

    phase: str
    box: str
    text: str


def words(shape: Sequence[int]) -> str:
    """A shape as it is read: "(8, 16, 26, 26)", "(4)", "one number".

    Example:
        >>> words((8, 16)), words((4,)), words(())
        ('(8, 16)', '(4)', 'one number')
    """
    return f"({', '.join(map(str, shape))})" if shape else "one number"


def story(graph: Graph) -> list[Step]:
    """The steps of a replay: ops in the order of the tape, then their derivatives, last op first.

    A recorded backward (`create_graph=True`) is described by its own boxes; after a failed forward
    there is none.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> for step in story(tg.graph((x * 3.0).sum())):
        ...     print(step.text)
        forward 1: mul: x (2) and y one number give (2)
        forward 2: sum axis 0: x (2) gives one number
        backward 1: sum axis 0: g one number gives dx (2), copied along the axes that were summed
        backward 2: mul: g (2) gives dx (2)
    """
    into: dict[str, list[Edge]] = {box.id: [] for box in graph.boxes}
    uses: dict[str, int] = {}
    for edge in graph.edges:
        into[edge.target].append(edge)
        uses[edge.source] = uses.get(edge.source, 0) + 1
    calls = [box for box in graph.boxes if box.kind in CALLS]
    backward = [box for box in calls if backwards(box.scope)]
    forward = [box for box in calls if not backwards(box.scope)]
    steps = [Step("forward", box.id, f"forward {i}: {_forward(graph, box, into[box.id])}")
             for i, box in enumerate(forward, 1)]
    if any(box.mark == "failed" for box in forward):
        return steps
    if backward:
        return steps + [
            Step("backward", box.id,
                 f"backward {i}: {_forward(graph, box, into[box.id])}{_summed(graph, box)}")
            for i, box in enumerate(backward, 1)]
    return steps + [
        Step("backward", box.id,
             f"backward {i}: {_backward(graph, box, into[box.id], uses.get(box.id, 0))}")
        for i, box in enumerate(reversed(forward), 1)]


def argument(graph: Graph, edge: Edge) -> str:
    """What the op calls the argument an edge leads to; "" for a module's."""
    source = graph.sources.get(edge.target)
    return slot_name(source.node.primitive, edge.slot) if isinstance(source, Entry) else ""


def wants_gradient(graph: Graph, edge: Edge) -> bool:
    """Whether a gradient runs back along an edge; into a module it is taken to."""
    source = graph.sources.get(edge.target)
    return not isinstance(source, Entry) or bool(source.node.inputs[edge.slot].requires_grad)


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _forward(graph: Graph, box: Box, edges: Sequence[Edge]) -> str:
    parts = [f"{argument(graph, e)} {words(e.shape)}".strip() for e in edges]
    if box.mark == "failed":
        return f"{box.label}: fails with {_joined(parts) or 'its arguments'}"
    if not parts:
        return f"{box.label}: {words(box.shape)}"
    return f"{box.label}: {_joined(parts)} {'give' if len(parts) > 1 else 'gives'} {words(box.shape)}"


def _backward(graph: Graph, box: Box, edges: Sequence[Edge], uses: int) -> str:
    start = f"{box.label}: g {words(box.shape)}"
    if uses > 1:
        start += f", summed over {uses} uses,"
    parts = [_part(graph, box, e) for e in edges if wants_gradient(graph, e)]
    return f"{start} gives {'; '.join(parts)}" if parts else f"{start} goes no further"


def _summed(graph: Graph, box: Box) -> str:
    source = graph.sources.get(box.id)
    axes = SUMMED.get(source.node.primitive.name) if isinstance(source, Entry) else None
    return f", summed over {axes}" if axes else ""


def _part(graph: Graph, box: Box, edge: Edge) -> str:
    """ "dw (16, 6, 3, 3), summed over n, oh, ow"."""
    source, name = graph.sources.get(edge.target), argument(graph, edge)
    op = source.node.primitive.name if isinstance(source, Entry) else ""
    why = f"summed over {SUMS[op, name]}" if (op, name) in SUMS else ""
    if op == "sum":
        why = "copied along the axes that were summed"
    if op in BROADCASTING and edge.shape != box.shape:
        lead = len(box.shape) - len(edge.shape)
        axes = [a for a, n in enumerate(box.shape) if a < lead or edge.shape[a - lead] != n]
        why = f"summed over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    return f"d{name} {words(edge.shape)}" + (f", {why}" if why else "")
