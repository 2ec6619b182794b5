"""A graph as text: DOT, by the classes of the `graphviz` package, and a listing for a terminal.

Boxes and edges come in the order of the graph, frames are numbered: the same graph gives the same
text, byte for byte. Names are text, whatever they look like.
"""
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from html import escape
from typing import Any

from .graph import CALLS, OUTPUT, Box, Edge, Graph, Path, Scope, backwards, common, grouped, title
from .heat import SCALE, color
from .style import FAINT, FONT, INK, MARKS, attributes, box_size, printable, tensor_text, text_width

WIDER = 40.0  # points that a frame is wider than twice its title, so that edges can enter beside it
FRAMES = ("#f7f7f7", "#efefef")  # every other depth of nesting
WIDEST = 60  # characters of a column; what is longer pushes its own line aside alone


def dot(graph: Graph) -> str:
    """The graph as DOT text.

    Ops are rounded boxes, parameters ellipses, inputs trapezia, outputs boxes with lines across their
    corners, constants sheets with a folded corner, modules drawn as one box have a tab. Each box says the
    shape of its result, with the dtype where it is not float32, the library's default, and is as large as its
    text in any font.
    A gradient's calls have a frame of their own beside the forward ones and run upwards, so that each
    is level with the call it belongs to: there, and where a leaf is drawn right of its call,
    `a -> b [dir=back]` is an edge from b to a.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> dot(tg.graph(x * x)).count("leaf0 -> op0")
        2
    """
    root = _root()
    frames = _frames(graph, root)
    boxes = {box.id: box for box in graph.boxes}
    odd = [box for box in boxes if not (box.isascii() and box.isalnum())]  # such as modules' paths
    ids = {box: box for box in boxes} | {box: f"module{i}" for i, box in enumerate(odd)}
    sides = _sides(graph, boxes)
    for box in graph.boxes:
        look = attributes(box.kind, box.mark)
        lines = [*map(printable, _lines(box))]
        width, height = box_size(lines, look["shape"])
        extra = look if box.mark or box.kind != "op" else {}  # beyond the default
        extra |= {"fillcolor": color(box.heat)} if graph.heat else {}
        frames[box.scope].node(ids[box.id], text(lines), width=f"{width / 72:.2f}",
                               height=f"{height / 72:.2f}", **extra)
    for call, leaves in sides.items():
        level = "; ".join(ids[box] for box in (*leaves[:1], call, *leaves[1:]))
        frames[boxes[call].scope].body.append(f"\t{{rank=same; {level}}}\n")
    for path in sorted(filter(None, frames), key=len, reverse=True):
        frames[path[:-1]].subgraph(frames[path])
    bundles = grouped(((e.source, e.target, e.back, e.mark, e.slot * (boxes[e.target].kind == "op")), e)
                      for e in graph.edges)  # tensors to or from a module share a line
    for edges in bundles.values():
        right = edges[0].source in sides.get(edges[0].target, ())[1:]
        _draw_edge(root, (ids[edges[0].source], ids[edges[0].target]), edges[0], boxes, right)
    _order(graph, root, ids, boxes)
    _legend(graph, root)
    return root.source


def _root() -> Any:
    from graphviz import Digraph
    return Digraph("graph", graph_attr={
        **FONT, "fontcolor": INK, "rankdir": "TB", "nodesep": "0.35", "ranksep": "0.35", "pad": "0.15",
        "newrank": "true"},
        node_attr={**FONT, "fontcolor": INK, "color": INK, "fixedsize": "true", **attributes("op", "")},
        edge_attr={"color": INK, "arrowsize": "0.6"})


def _sides(graph: Graph, boxes: dict[str, Box]) -> dict[str, list[str]]:
    """By call: a leaf to stand left of it and one to stand right, so that calls make a column.

    They are the first two that it alone uses, its module's own.
    """
    users = grouped((edge.source, edge.target) for edge in graph.edges
                    if backwards(boxes[edge.target].scope) == backwards(boxes[edge.source].scope))
    leaves = grouped((calls[0], leaf) for leaf, calls in users.items() if len(set(calls)) == 1
                     and boxes[leaf].kind not in CALLS and boxes[leaf].scope == boxes[calls[0]].scope)
    return {call: own[:2] for call, own in leaves.items()}


def simpler(dot: str) -> Iterator[tuple[str, str]]:
    """DOT text of `dot`, and the same with less that a layout can stumble over; each with what is lost.

    Graphviz gives up ("trouble in init_rank") on some frames whose calls are apart, beside dashed edges.

    Example:
        >>> import tinygrad_conv as tg
        >>> with tg.scope("a"):
        ...     y = tg.exp(tg.ones(3, requires_grad=True))
        >>> [(text.count("newrank"), text.count("cluster")) for text, _ in simpler(dot(tg.graph(y)))]
        [(1, 1), (1, 1), (0, 1), (0, 0)]
    """
    yield dot, ""
    straight = re.sub(r"(?m)^(\tgraph .*) newrank=true", r"\1 newrank=true splines=line", dot, count=1)
    if straight != dot:
        yield straight, ", edges straight"
    local = re.sub(r"(?m)^(\tgraph .*) newrank=true", r"\1", dot, count=1)
    if local != dot:
        yield local, ", calls of different frames not level"
    free = re.sub(r"(?m)^\t*(\{rank=same;.*\}|\w+ -> \w+ \[(minlen=0 )?style=invis\])\n", "", local)
    free = re.sub(r"(?m)^(\t*subgraph )cluster", r"\1part", free)
    if free != local:
        yield free, ", without frames"


def with_remark(dot: str, line: str) -> str:
    """DOT text with a line below the picture.

    Example:
        >>> with_remark("digraph {\\n}\\n", "drawn plainer").splitlines()
        ['digraph {', '\\tlabel="drawn plainer" labeljust=l', '}']
    """
    said = text([line]).replace('"', r'\"')
    return f'{dot.rstrip().removesuffix("}")}\tlabel="{said}" labeljust=l\n}}\n'


def text(lines: Iterable[str]) -> str:
    """Lines as a label that shows exactly them: no escapes, entities or markup of DOT's.

    Example:
        >>> text(["<b>", 'a "b" \\\\N', "&lt;"])
        '<b>\\\\na "b" \\\\\\\\N\\\\n&amp;lt;'
    """
    from graphviz import nohtml
    return nohtml("\\n".join(
        printable(line).replace("\\", "\\\\").replace("&", "&amp;") for line in lines))


def _frames(graph: Graph, root: Any) -> dict[Path, Any]:
    """One cluster per scope, not yet nested; the root under ()."""
    frames = {(): root}
    for number, scope in enumerate(graph.scopes.values()):
        label = heading(scope)
        room = " " * int((WIDER + text_width(label)) / text_width(" "))
        frames[scope.path] = type(root)(f"cluster{number}", graph_attr={
            "label": text([label]) + room + r"\l", "labeljust": "l", "color": FAINT,
            "style": "rounded,filled" + ",dashed" * (scope.times > 1),
            "penwidth": "2" if scope.times > 1 else "1", "fillcolor": FRAMES[len(scope.path) % 2]})
    return frames


def heading(scope: Scope) -> str:
    """The title of a frame, which lies in that of the module around it.

    Example:
        >>> heading(Scope(("backward", "features", "0"), "Conv2d", 3))
        '0  Conv2d  x3'
    """
    return printable(title(replace(scope, path=scope.path[-1:])))


def _lines(box: Box) -> list[str]:
    """The text of a box: label, shape, notes and mark."""
    told = not box.dtype or any("-> " in note for note in box.notes)
    return [box.label, *([] if told else [tensor_text(box.shape, box.dtype)]), *box.notes,
            *([f"[{box.mark}]"] if box.mark else [])]


def _draw_edge(root: Any, ends: tuple[str, str], edge: Edge, boxes: dict[str, Box], right: bool) -> None:
    source, target = boxes[edge.source], boxes[edge.target]
    drawn = {} if source.kind in CALLS else {"color": FAINT}
    level = backwards(source.scope)
    if edge.back:  # beside the boxes that it leads around
        drawn |= {"constraint": "false", "style": "bold"}
    elif level < backwards(target.scope):  # level with what it belongs to, or below
        own = {"weight": "3"} if target.of == source.id else {}
        drawn |= {"minlen": "0", "style": "dashed", **own}
    elif level > backwards(target.scope):
        drawn |= {"constraint": "false", "style": "dashed"}
    elif right or level % 2 and source.kind in CALLS:
        ends, drawn = ends[::-1], {**drawn, "dir": "back"}
    if edge.mark:
        drawn |= {key: value for key, value in MARKS[edge.mark].items() if key != "fillcolor"}
    root.edge(*ends, **drawn)


def _legend(graph: Graph, root: Any) -> None:
    """A frame that explains the marks in use and holds other remarks."""
    present = {"", *(drawn.mark for drawn in (*graph.boxes, *graph.edges))}
    marks = {"": {"penwidth": "0"}, **MARKS}  # a remark without a mark has no border
    rows = _scale(graph) + "".join(
        f'<TR><TD BORDER="{marks.get(mark, {}).get("penwidth", "1")}" '
        f'COLOR="{marks.get(mark, {}).get("color", INK)}" '
        f'BGCOLOR="{marks.get(mark, {}).get("fillcolor", "white")}">{_html(mark) or " "}</TD>'
        f'<TD ALIGN="LEFT">{_html(meaning)}</TD></TR>' for mark, meaning in graph.legend if mark in present)
    if rows:
        with root.subgraph(name="cluster_legend") as frame:
            frame.attr(label="legend", labeljust="l", color=FAINT, style="rounded")
            frame.node("legend", f'<<TABLE BORDER="0" CELLSPACING="4">{rows}</TABLE>>', shape="plain",
                       style="solid", fixedsize="false")


def _scale(graph: Graph) -> str:
    """A row of the legend: the colours from end to end, and what they say."""
    if graph.heat is None:
        return ""
    cells = "".join([f'<TD BGCOLOR="{each}" WIDTH="16"> </TD>' for each in SCALE])
    return (f'<TR><TD BORDER="1">heat</TD><TD ALIGN="LEFT"><TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0">'
            f'<TR><TD>{_html(graph.heat.what)}: {_html(graph.heat.low)} </TD>{cells}'
            f'<TD> {_html(graph.heat.high)}; white: none</TD></TR></TABLE></TD></TR>')


def _html(line: str) -> str:
    """A line in an HTML-like label of DOT's, where a backslash would still be an escape."""
    return escape(printable(line)).replace("\\", "\\\\")


def _order(graph: Graph, root: Any, ids: dict[str, str], boxes: dict[str, Box]) -> None:
    """Invisible edges that keep a call on leaves alone below what enters its module, not beside it.

    Otherwise the module's frame would reach up beside the one before it, and a chain become a staircase.
    The start of a backward, if nothing leads to it (the gradient of a sum is ones), is tied to the last
    forward call: just above it, or level with it if it is that call's derivative.
    """
    number = {box: i for i, box in enumerate(boxes)}
    calls = [box for box in graph.boxes if box.kind in CALLS]
    inner = [(boxes[e.source], boxes[e.target]) for e in graph.edges if boxes[e.source].kind in CALLS
             and backwards(boxes[e.source].scope) == backwards(boxes[e.target].scope)]
    fed = {target.id for _, target in inner}
    enters = {target.scope: source.id for source, target in reversed(inner)  # the first of each scope stays
              if source.scope[:len(target.scope)] != target.scope}
    joined = {(edge.source, edge.target) for edge in graph.edges}
    ground = next((box.id for box in reversed(calls) if not backwards(box.scope)), None)
    for box in calls:
        back = backwards(box.scope) % 2
        above = enters.get(box.scope) or (ground if back else None)
        if box.id not in fed and above and number[above] < number[box.id]:
            ends = ids[above], ids[box.id]
            level = {"minlen": "0"} if (above, box.id) in joined and back else {}
            root.edge(*(reversed(ends) if back else ends), style="invis", **level)


def listing(graph: Graph) -> str:
    """The boxes in the order of the tape, each under the headings of its modules.

    A box's output follows "->". A call takes the result of the call before it and the leaves in between,
    an output is that of the call before it; if it takes others, "<-" names them.

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
        sources = [*dict.fromkeys(sources)] if box.kind == "module" else sources
        follows = (call or box.kind == OUTPUT) and sources == recent
        said = [f"-> {tensor_text(box.shape, box.dtype)}" if box.dtype else "",  # a failed call makes nothing
                "" if call else f"({box.kind})",
                f"<- {', '.join(map(printable, sources))}" if sources and not follows else "",
                "; ".join(map(printable, box.notes)), f"[{box.mark}]" if box.mark else ""]
        label = "  " * len(here) + printable(box.label)
        rows.append((printable(box.id), label, "  ".join(filter(None, said))))
        recent = [box.id] if call else recent if box.kind == OUTPUT else [*recent, box.id]
    left, middle = (min(max((len(row[i]) for row in rows if row[2]), default=0), WIDEST) for i in (0, 1))
    lines = [f"{a:{left}}  {b:{middle}}  {c}".rstrip() for a, b, c in rows]
    return "\n".join([*lines, *[f"{mark or 'note'}: {printable(meaning)}" for mark, meaning in graph.legend]])
