"""The gradient of every box of a drawing, by one backward pass that changes no tensor.

May import core, tape, graph, replay and annotate.
"""
from __future__ import annotations

import numpy as np

from ..annotate import ends
from ...tensor import Tensor
from ..graph import Graph, backwards
from ..replay import pulled
from ...tape import Entry


def gradients(graph: Graph) -> tuple[dict[str, np.ndarray], str]:
    """The cotangent of what each box shows by the box's id, and one sentence on what it is.

    It is the gradient of the drawing's last results, each with a cotangent of ones. Where there
    is none (values freed or changed, or the backward drawn as boxes of its own) the dictionary is
    empty and the sentence says why; a leaf then has its `.grad`, if any.

    Example:
        >>> import tinygrad_conv as tg
        >>> from tinygrad_conv.draw.page.gradients import gradients
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> found, what = gradients(tg.graph((x * x).sum()))
        >>> found["leaf0"].tolist(), what
        ([2.0, 4.0], 'Gradients are those of the result.')
    """
    entries = [s for s in graph.sources.values() if isinstance(s, Entry)]
    left = {box: s.grad._data for box, s in graph.sources.items()
            if isinstance(s, Tensor) and s.grad is not None}
    if any(backwards(box.scope) for box in graph.boxes):
        return left, "The backward is drawn as boxes of its own; their values are the gradients."
    if not entries:
        return left, "Shapes only: there are no values to look at."
    if any(e.node.freed for e in entries):
        return left, ("The intermediate values were freed by backward(): draw before it, or call "
                      "backward(retain_graph=True).")
    results = ends(graph)
    targets = {box: s.output if isinstance(s, Entry) else s for box, s in graph.sources.items()}
    targets = {box: t for box, t in targets.items() if isinstance(t, Tensor) and t.requires_grad}
    try:
        found = pulled(results, targets.values())
    except Exception as e:  # a derivative may be the user's, and the page be drawn to see what is wrong
        return left, f"No gradients: {e}."
    single = len(results) == 1 and results[0].size == 1
    what = f"Gradients are those of {'the result' if single else 'the sum of the results'}."
    return {box: found[id(t)][1]._data for box, t in targets.items() if id(t) in found}, what
