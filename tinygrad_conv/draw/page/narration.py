"""What happens op by op, in sentences: the forward calls, then what each does with its gradient.

From a graph and its sources alone, no values needed. May import primitive, text and graph.
"""
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ...primitive import Node
from ..graph import CALLS, Box, Edge, Graph, backwards, grouped
from ..text import argument_name


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of the replay: `box` is at work; `phase` is "forward" or "backward"."""

    phase: str
    box: str
    text: str


def spoken_shape(shape: Sequence[int]) -> str:
    """A shape as it is read: "(8, 16, 26, 26)", "(4)", "one number".

    Example:
        >>> spoken_shape((8, 16)), spoken_shape((4,)), spoken_shape(())
        ('(8, 16)', '(4)', 'one number')
    """
    return f"({', '.join(map(str, shape))})" if shape else "one number"


def narration(graph: Graph) -> list[Step]:
    """The steps of a replay: ops in the order of the tape, then their derivatives, last op first.

    Why a gradient has its shape is what the op's `defnotes` say. A recorded backward
    (`create_graph=True`) is described by its own boxes; after a failed forward there is none.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> for step in narration(tg.graph((x * 3.0).sum())):
        ...     print(step.text)
        forward 1: mul: x (2) and y one number give (2)
        forward 2: sum axis 0: x (2) gives one number
        backward 1: sum axis 0: g one number gives dx (2), copied along the axes that were summed
        backward 2: mul: g (2) gives dx (2)
    """
    into = {box.id: [] for box in graph.boxes} | grouped((edge.target, edge) for edge in graph.edges)
    uses = Counter(edge.source for edge in graph.edges)
    calls = [box for box in graph.boxes if box.kind in CALLS]
    forward = [(box.id, _forward(graph, box, into[box.id])) for box in calls if not backwards(box.scope)]
    backward = [(box.id, _forward(graph, box, into[box.id])) for box in calls if backwards(box.scope)]
    if not backward and not any(box.mark == "failed" for box in calls):
        backward = [(box.id, _backward(graph, box, into[box.id], uses[box.id])) for box in reversed(calls)]
    return [Step(phase, box, f"{phase} {number}: {text}")
            for phase, steps in (("forward", forward), ("backward", backward))
            for number, (box, text) in enumerate(steps, 1)]


def argument(graph: Graph, edge: Edge) -> str:
    """What the op calls the argument an edge leads to; "" for a module's."""
    node = _node(graph, edge.target)
    return argument_name(node.primitive, edge.slot) if node else ""


def wants_gradient(graph: Graph, edge: Edge) -> bool:
    """Whether a gradient runs back along an edge; into a module it is taken to."""
    node = _node(graph, edge.target)
    return node is None or bool(node.inputs[edge.slot].requires_grad)


def _node(graph: Graph, box: str) -> Node | None:
    return getattr(graph.sources.get(box), "node", None)


def _forward(graph: Graph, box: Box, edges: Sequence[Edge]) -> str:
    parts = [f"{argument(graph, e)} {spoken_shape(e.shape)}".strip() for e in edges]
    joined = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    if box.mark == "failed":
        return f"{box.label}: fails with {joined or 'its arguments'}"
    gives = "" if not parts else " gives " if len(parts) == 1 else " give "
    node = _node(graph, box.id)
    how = node.primitive.notes.get("ans", "") if node and backwards(box.scope) else ""
    return f"{box.label}: {joined}{gives}{spoken_shape(box.shape)}" + f", {how}" * bool(how)


def _backward(graph: Graph, box: Box, edges: Sequence[Edge], uses: int) -> str:
    start = f"{box.label}: g {spoken_shape(box.shape)}" + f", summed over {uses} uses," * (uses > 1)
    parts = [_part(graph, box, e) for e in edges if wants_gradient(graph, e)]
    return f"{start} gives {'; '.join(parts)}" if parts else f"{start} goes no further"


def _part(graph: Graph, box: Box, edge: Edge) -> str:
    """ "dw (16, 6, 3, 3), summed over n, oh, ow"."""
    node, name = _node(graph, edge.target), argument(graph, edge)
    note = node.primitive.notes.get(name, "") if node else ""
    if not note and node and node.primitive.broadcasts and edge.shape != box.shape:
        lead = len(box.shape) - len(edge.shape)
        axes = [a for a, n in enumerate(box.shape) if a < lead or edge.shape[a - lead] != n]
        note = f"summed over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    return ", ".join(filter(None, [f"d{name} {spoken_shape(edge.shape)}", note]))
