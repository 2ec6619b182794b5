"""One HTML page about a graph: text, styles, program and data in a single file, no network.

The program is the .js files beside this one; here they are joined, and the values are reduced to what
a panel shows. Everything of the user's is data: it enters the page as JSON that cannot end its
element, and the policy lets nothing run but the program.
"""
import base64
import functools
import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from html import escape
from itertools import chain
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ...tensor import Tensor
from ...primitive import Freed, Node
from ...tape import Entry
from ..annotate import ends
from ..collapse import frame_each_call
from ..graph import CALLS, Box, Edge, Graph, backwards, grouped, names_of, shown
from ..heat import SCALE, SPAN, Sizes
from ..measure import pulled
from ..style import KINDS, MARKS, argument_name, dtype_name, printable, shape_text
from .arrays import BUDGET, PICTURE, STATISTICS, affordable, is_picture, short, statistics, thumbnails
from .microscope import microscopes

HERE = Path(__file__).parent
PROGRAM = ("data.js", "tree.js", "ranks.js", "frames.js", "levels.js", "routes.js", "camera.js", "sizes.js",
           "far.js", "view.js", "minimap.js", "meetings.js", "microscope.js", "panel.js", "heat.js",
           "replay.js", "search.js", "legend.js", "page.js")

FIELDS = {"values": STATISTICS, "gradient": STATISTICS, "picture": PICTURE}  # of what has no names


def page(graph: Graph, title: str = "", rolled: Graph | None = None, budget: int = BUDGET) -> str:
    """A self-contained interactive page: pan, zoom, search, collapse, inspect, replay.

    Args:
        graph: from `tg.graph`; if its tape is alive, the page has statistics, histograms, gradients and
            pictures of feature maps and kernels, otherwise it says why not.
        title: the title of the browser's tab.
        rolled: the same graph with its loops rolled, if it has any: what is shown at first.
        budget: bytes that its pictures of feature maps and kernels may take; the numbers under its
            microscopes may take half as many.

    Returns:
        HTML that loads nothing: its Content-Security-Policy forbids it to.

    Example:
        >>> import tinygrad_conv as tg
        >>> text = page(tg.graph(tg.ones(3, requires_grad=True).sum()))
        >>> text[:15], "src=" in text, "https:" in text
        ('<!DOCTYPE html>', False, False)
    """
    style = "\n" + _colours() + (HERE / "page.css").read_text(encoding="utf-8")
    program = "\n" + "\n".join((HERE / name).read_text(encoding="utf-8") for name in PROGRAM)
    policy = (f"default-src 'none'; script-src '{_digest(program)}'; style-src '{_digest(style)}'; "
              "base-uri 'none'; form-action 'none'")
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(title.encode("utf-8", "replace").decode() or f"Graph of {len(graph.boxes)} boxes"),
        policy=escape(policy, quote=True), style=style, program=program,
        data=_embedded(_packed(_content(frame_each_call(graph), rolled, budget))))


def _colours() -> str:
    """The colours of pictures, for the page's light theme."""
    colours = {**{kind: look["fillcolor"] for kind, look in KINDS.items()},
               **{mark: look["color"] for mark, look in MARKS.items()}}
    return f":root {{ {' '.join(f'--light-{name}: {colour};' for name, colour in colours.items())} }}\n"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _embedded(content: Any) -> str:
    """JSON that is safe inside a script element: no "<" can end it, no "&" is an entity."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _packed(content: dict[str, Any]) -> dict[str, Any]:
    """The same with lists of records as columns, numbers about arrays without their names: half the size."""
    for box in content["boxes"]:
        for tensor in (box, *box.get("outputs", ())):
            for name, fields in FIELDS.items():
                if name in tensor:
                    tensor[name] = [tensor[name][field] for field in fields if field in tensor[name]]
    rolled = content["rolled"] and _columns(content["rolled"])
    return {"fields": FIELDS} | _columns(content) | {"rolled": rolled}


def _columns(content: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: [row.get(key) for row in rows] for key in dict.fromkeys(chain.from_iterable(rows))}
            if name in ("boxes", "edges", "scopes", "steps") else rows for name, rows in content.items()}


def gradients(graph: Graph) -> tuple[dict[int, np.ndarray], str]:
    """The gradient of each tensor of a drawing by the tensor's id, and one sentence on what it is.

    By one backward pass that changes no tensor, from the drawing's last results, each with a cotangent
    of ones. Where there is none (values freed or changed, or the backward drawn as boxes of its own) only
    leaves have theirs, their `.grad` if any, and the sentence says why.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> found, what = gradients(tg.graph((x * x).sum()))
        >>> found[id(x)].tolist(), what
        ([2.0, 4.0], 'Gradients are those of the result.')
    """
    tensors = [t for source in graph.sources.values() for t in shown(source)]
    live = [t for t in tensors if isinstance(t, Tensor)]
    left = {id(t): t.grad._data for t in live if isinstance(t.grad, Tensor)}
    if any(backwards(box.scope) for box in graph.boxes):
        return left, "The backward is drawn as boxes of its own; their values are the gradients."
    results = ends(graph)
    if not results:
        return left, "Shapes only: there are no values to look at."
    try:
        found = pulled(results, [t for t in live if t.requires_grad])
    except Exception as e:  # freed, changed, or a derivative of the user's that fails
        return left, f"No gradients: {e}."
    what = "the result" if len(results) == results[0].size == 1 else "the sum of the results"
    return {key: g._data for key, (_, g) in found.items()}, f"Gradients are those of {what}."


def _content(graph: Graph, rolled: Graph | None, budget: int) -> dict[str, Any]:
    """All the page knows, as plain lists and dictionaries; boxes are referred to by number."""
    number = {box.id: i for i, box in enumerate(graph.boxes)}
    found, about = gradients(graph)
    size = affordable([t.shape for source in graph.sources.values() for t in shown(source)
                       if isinstance(t, Tensor) and is_picture(t.shape)], budget)
    kernels = {box.shape for box in graph.boxes if box.kind == "parameter"}
    return {
        "boxes": [{**_box(graph.sources.get(box.id), box, found, size, kernels), **_drawn(graph, box, number)}
                  for box in graph.boxes],
        "microscopes": microscopes(graph, found, budget // 2),
        **_wiring(graph, number), "about": about,
        "heat": graph.heat and {"what": graph.heat.what, "unit": graph.heat.unit, "scale": SCALE,
                                "span": SPAN if isinstance(graph.heat, Sizes) else None},
        "steps": [{**step, "box": number[step["box"]]} for step in narration(graph)],
        "rolled": _rolled(rolled, number) if rolled and rolled.counts else None}


def _rolled(graph: Graph, whole: dict[str, int]) -> dict[str, Any]:
    """What is different where loops are rolled: `box` is a box's number in the whole, and `stands` says which
    of these boxes stands for each of the whole's.
    """
    number = {box.id: i for i, box in enumerate(graph.boxes)}
    return {"boxes": [{"box": whole[box.id], **_drawn(graph, box, number)} for box in graph.boxes],
            **_wiring(graph, number), "stands": [number[graph.stands.get(box, box)] for box in whole]}


def _wiring(graph: Graph, number: dict[str, int]) -> dict[str, Any]:
    return {
        "edges": [{"source": number[e.source], "target": number[e.target], "shape": e.shape,
                   "dtype": e.dtype, "slot": e.slot, "back": e.back, "argument": argument(graph, e),
                   "gradient": wants_gradient(graph, e), **({"mark": e.mark} if e.mark else {})}
                  for e in graph.edges],
        "scopes": [{"path": [*map(printable, s.path)], "kind": s.kind, "times": s.times,
                    "notes": [*map(printable, s.notes)], "names": [*map(printable, names_of(s.path))]}
                   for s in graph.scopes.values()],
        "legend": graph.legend}


def _box(source: Any, box: Box, found: dict[int, np.ndarray], size: tuple[int, int],
         kernels: set[tuple[int, ...]]) -> dict[str, Any]:
    # a weight, or something of its shape in the backward: its gradient
    weight = box.kind == "parameter" or bool(backwards(box.scope)) and box.shape in kernels
    first, *others = [_described(t, found, size, weight) for t in shown(source)] or [{}]
    content = {**first, "id": box.id, "kind": box.kind, "shape": box.shape, "dtype": box.dtype}
    if isinstance(source, Entry):
        certificate = source.node.primitive.certificate
        content |= {"op": source.node.primitive.name, "outputs": others,
                    "where": _where(source.node.where, Path.cwd()),
                    "certificate": certificate.summary if certificate else "",
                    "parameters": {k: repr(v) for k, v in source.node.params.items()}}
    return content


def _drawn(graph: Graph, box: Box, number: dict[str, int]) -> dict[str, Any]:
    """What is said of a box, which is another thing where it stands for several."""
    source = graph.sources.get(box.id)
    value = f" = {source.item():g}" if box.kind == "constant" and isinstance(source, Tensor) and not (
        source.shape or " = " in box.label) else ""
    return {"label": printable(box.label) + value, "scope": [*map(printable, box.scope)], "mark": box.mark,
            "notes": [*map(printable, box.notes)], "of": number.get(box.of), **_parts(graph, box)}


def _parts(graph: Graph, box: Box) -> dict[str, list[float]]:
    """What the heat of a box, and of a closed module around it, follows from."""
    parts = graph.heat.parts(graph.figures.get(box.id, {})) if graph.heat else []
    return {"heat": [*map(short, parts)]} if any(parts) and all(map(math.isfinite, parts)) else {}


def _described(t: Tensor | Freed, found: dict[int, np.ndarray], size: tuple[int, int],
               kernels: bool) -> dict[str, Any]:
    """What the panel shows of a tensor."""
    content: dict[str, Any] = {"shape": t.shape, "dtype": dtype_name(t.dtype)}
    if id(t) in found:
        content["gradient"] = statistics(found[id(t)])
    if not isinstance(t, Tensor):
        return content | {"freed": True}
    if is_picture(t.shape) and size[1]:
        content["picture"] = thumbnails(t._data, *size, kernels=kernels)
    return content | {"values": statistics(t._data)}


@functools.cache
def _where(where: tuple[str, int], here: Path) -> str:
    """File and line, short: from a folder, or the file and its own folder alone."""
    path = Path(where[0])
    short = path.relative_to(here) if path.is_relative_to(here) else Path(*path.parts[-2:])
    return f"{short}:{where[1]}"


# ----- the replay: what happens op by op, in sentences -----

def narration(graph: Graph) -> list[dict[str, str]]:
    """The steps of a replay: ops in the order of the tape, then their derivatives, last op first.

    In each step `box` is at work; `phase` is "forward" or "backward". From the graph and its sources alone.
    Why a gradient has its shape is what the op's `defnotes` say. A recorded backward
    (`create_graph=True`) is described by its own boxes; after a failed forward there is none.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> for step in narration(tg.graph((x * 3.0).sum())):
        ...     print(step["text"])
        forward 1: mul: x 2 and y scalar give 2
        forward 2: sum axis 0: x 2 gives scalar
        backward 1: sum axis 0: g scalar gives dx 2, copied along the axes that were summed
        backward 2: mul: g 2 gives dx 2
    """
    into = {box.id: [] for box in graph.boxes} | grouped((edge.target, edge) for edge in graph.edges)
    uses = Counter(edge.source for edge in graph.edges)
    calls = [box for box in graph.boxes if box.kind in CALLS]
    forward = [(box.id, _forward(graph, box, into[box.id])) for box in calls if not backwards(box.scope)]
    backward = [(box.id, _forward(graph, box, into[box.id])) for box in calls if backwards(box.scope)]
    if not backward and not any(box.mark == "failed" for box in calls):
        backward = [(box.id, _backward(graph, box, into[box.id], uses[box.id])) for box in reversed(calls)]
    return [{"phase": phase, "box": box, "text": f"{phase} {number}: {text}"}
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
    source = graph.sources.get(box)
    return source.node if isinstance(source, Entry) else None


def _forward(graph: Graph, box: Box, edges: Sequence[Edge]) -> str:
    parts = [f"{argument(graph, e)} {shape_text(e.shape)}".strip() for e in edges]
    joined = " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))
    if box.mark == "failed":
        return f"{box.label}: fails with {joined or 'its arguments'}"
    gives = "" if not parts else " gives " if len(parts) == 1 else " give "
    node = _node(graph, box.id)
    how = node.primitive.notes.get("ans", "") if node and backwards(box.scope) else ""
    return f"{box.label}: {joined}{gives}{shape_text(box.shape)}" + f", {how}" * bool(how)


def _backward(graph: Graph, box: Box, edges: Sequence[Edge], uses: int) -> str:
    start = f"{box.label}: g {shape_text(box.shape)}" + f", summed over {uses} uses," * (uses > 1)
    parts = [_part(graph, box, e) for e in edges if wants_gradient(graph, e)]
    return f"{start} gives {'; '.join(parts)}" if parts else f"{start} goes no further"


def _part(graph: Graph, box: Box, edge: Edge) -> str:
    """ "dw 16x6x3x3, summed over n, oh, ow"."""
    node, name = _node(graph, edge.target), argument(graph, edge)
    note = node.primitive.notes.get(name, "") if node else ""
    if not note and node and node.primitive.broadcasts and edge.shape != box.shape:
        lead = len(box.shape) - len(edge.shape)
        axes = [a for a, n in enumerate(box.shape) if a < lead or edge.shape[a - lead] != n]
        note = f"summed over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"
    return ", ".join(filter(None, [f"d{name} {shape_text(edge.shape)}", note]))
