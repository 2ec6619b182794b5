"""A graph as DOT text, by the classes of the `graphviz` package.

Boxes and edges come in the order of the graph, frames are numbered: the same graph gives the same
text, byte for byte. Names are text, whatever they look like. May import graph.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..graph import Box, Edge, Graph, Path, backwards, title
from .style import FAINT, FONT, INK, look
from .words import printable, tensor_text

if TYPE_CHECKING:
    from graphviz import Digraph

FRAMES = ("#f7f7f7", "#efefef")  # every other depth of nesting


def dot(graph: Graph) -> str:
    """The graph as DOT text.

    Ops are rounded boxes, parameters ellipses, inputs pentagons, constants sheets with a folded
    corner, modules drawn as one box are blocks. Shapes stand on the edges between calls and in the
    leaves and last results; the dtype follows where it is not float32, the default of the library.
    A gradient's calls are a frame of their own beside the forward ones and run upwards, so that
    each is level with the call it belongs to: there `a -> b [dir=back]` is an edge from b to a.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> dot(tg.graph(x * x)).count("leaf0 -> op0")
        2
    """
    from graphviz import Digraph
    root = Digraph("graph", graph_attr={
        **FONT, "fontcolor": INK, "rankdir": "TB", "nodesep": "0.25", "ranksep": "0.35", "newrank": "true"},
        node_attr={**FONT, "fontcolor": INK, "color": INK, "margin": "0.12,0.05", "height": "0.3"},
        edge_attr={**FONT, "fontcolor": INK, "fontsize": "9", "color": INK, "arrowsize": "0.6"})
    frames = _frames(graph, root)
    used = {edge.source for edge in graph.edges}
    modules = [box.id for box in graph.boxes if box.kind == "module"]
    ids = {box.id: box.id for box in graph.boxes} | {box: f"module{i}" for i, box in enumerate(modules)}
    for box in graph.boxes:
        frames[box.scope].node(ids[box.id], _label(box, box.id not in used), **look(box.kind, box.mark))
    for path in sorted(frames, key=len, reverse=True):
        if path:
            frames[path[:-1]].subgraph(frames[path])
    boxes = {box.id: box for box in graph.boxes}
    for edge in graph.edges:
        _draw_edge(root, edge, ids, boxes[edge.source], boxes[edge.target])
    _legend(graph, root)
    return root.source


def text(lines: Iterable[str]) -> str:
    """Lines as a label that shows exactly them: no escapes, entities or markup of DOT's.

    Example:
        >>> text(["<b>", 'a "b" \\\\N', "&lt;"])
        '<b>\\\\na "b" \\\\\\\\N\\\\n&amp;lt;'
    """
    from graphviz import escape, nohtml
    return nohtml("\\n".join(escape(printable(line)).replace("&", "&amp;") for line in lines))


def _frames(graph: Graph, root: Digraph) -> dict[Path, Digraph]:
    """A cluster a scope, not yet put into one another; the root under ()."""
    frames = {(): root}
    for number, scope in enumerate(graph.scopes.values()):
        frame = type(root)(f"cluster{number}", graph_attr={
            "label": text([title(scope)]), "labeljust": "l", "color": FAINT, "style": "rounded,filled",
            "fillcolor": FRAMES[len(scope.path) % 2]})
        if scope.times > 1:
            frame.graph_attr.update({"style": "rounded,filled,dashed", "penwidth": "2"})
        frames[scope.path] = frame
    return frames


def _label(box: Box, last: bool) -> str:
    lines = [box.label, *box.notes]
    if box.kind not in ("op", "module"):
        lines.insert(1, tensor_text(box.shape, box.dtype))
    elif last:
        lines.insert(1, f"-> {tensor_text(box.shape, box.dtype)}")
    return text([*lines, *([f"[{box.mark}]"] if box.mark else [])])


def _draw_edge(root: Digraph, edge: Edge, ids: dict[str, str], source: Box, target: Box) -> None:
    ends = ids[edge.source], ids[edge.target]
    drawn = {"label": text([tensor_text(edge.shape, edge.dtype)])}
    if source.kind not in ("op", "module"):
        drawn = {"color": FAINT}
    level = backwards(source.scope)
    if level != backwards(target.scope):  # must not pull one picture below the other
        root.edge(*ends, **drawn, constraint="false", style="dashed")
    elif level % 2:
        root.edge(*reversed(ends), **drawn, dir="back")
    else:
        root.edge(*ends, **drawn)


def _legend(graph: Graph, root: Digraph) -> None:
    """A frame that explains the marks there are, and says what else is to be said."""
    present = {box.mark for box in graph.boxes}
    lines = [(mark, meaning) for mark, meaning in graph.legend if not mark or mark in present]
    if not lines:
        return
    with root.subgraph(name="cluster_legend") as frame:
        frame.attr(label="legend", labeljust="l", color=FAINT, style="rounded", fillcolor="white")
        for number, (mark, meaning) in enumerate(lines):
            shown = look("op", mark) if mark else {"shape": "plaintext"}
            frame.node(f"legend{number}", text([f"[{mark}] {meaning}" if mark else meaning]), **shown)
            if number:
                frame.edge(f"legend{number - 1}", f"legend{number}", style="invis")
