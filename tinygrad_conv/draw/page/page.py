"""One HTML page about a graph: text, styles, program and data in a single file, no network.

The program is the .js files beside this one; here they are joined, and the values are reduced to what
a panel shows. Everything of the user's is data: it enters the page as JSON that cannot end its
element, and the policy lets nothing run but the program.
"""
from __future__ import annotations

import base64
import hashlib
import json
import os
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from ..calls import calls_apart
from ...tensor import Tensor
from ..graph import Box, Graph
from ...tape import Entry
from .gradients import gradients
from .statistics import statistics
from .story import argument, story, wants_gradient
from .thumbnails import affordable, is_picture, thumbnails
from ..words import printable

HERE = Path(__file__).parent
PROGRAM = ("tree.js", "ranks.js", "frames.js", "routes.js", "camera.js", "view.js", "panel.js",
           "replay.js", "search.js", "page.js")


def page(graph: Graph, title: str = "") -> str:
    """A self-contained interactive page: pan, zoom, search, collapse, inspect, replay.

    Args:
        graph: from `tg.graph`; if its tape is alive, the page has statistics, histograms, gradients and
            pictures of feature maps and kernels, otherwise it says why not.
        title: the title of the browser's tab.

    Returns:
        HTML that loads nothing: its Content-Security-Policy forbids it to.

    Example:
        >>> import tinygrad_conv as tg
        >>> text = page(tg.graph(tg.ones(3, requires_grad=True).sum()))
        >>> text[:15], "src=" in text, "https:" in text
        ('<!DOCTYPE html>', False, False)
    """
    style = "\n" + (HERE / "page.css").read_text(encoding="utf-8")
    program = "\n" + "\n".join((HERE / name).read_text(encoding="utf-8") for name in PROGRAM)
    policy = (f"default-src 'none'; script-src '{_digest(program)}'; style-src '{_digest(style)}'; "
              "base-uri 'none'; form-action 'none'")
    template = Template((HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=escape(_sound(title) or f"Graph of {len(graph.boxes)} boxes"),
        policy=escape(policy, quote=True), style=style, program=program,
        data=_embedded(_content(calls_apart(graph))))


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _sound(text: str) -> str:
    """Text that can be encoded: names of files need not be."""
    return text.encode("utf-8", "replace").decode()


def _embedded(content: Any) -> str:
    """JSON that is safe inside a script element: no "<" can end it, no "&" is an entity."""
    text = json.dumps(content, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _content(graph: Graph) -> dict[str, Any]:
    """All the page knows, as plain lists and dictionaries; boxes are referred to by number."""
    number = {box.id: i for i, box in enumerate(graph.boxes)}
    found, about = gradients(graph)
    arrays = {box.id: array for box in graph.boxes
              if (array := _values(graph.sources.get(box.id))) is not None}
    size = affordable(a.shape for a in arrays.values() if is_picture(a.shape))
    return {
        "boxes": [_box(graph, box, arrays, found, size) for box in graph.boxes],
        "edges": [{"source": number[e.source], "target": number[e.target], "shape": e.shape,
                   "dtype": e.dtype, "slot": e.slot, "argument": argument(graph, e),
                   "gradient": wants_gradient(graph, e)} for e in graph.edges],
        "scopes": [{"path": _names(s.path), "kind": s.kind, "times": s.times} for s in graph.scopes.values()],
        "legend": graph.legend, "about": about,
        "steps": [{"phase": s.phase, "box": number[s.box], "text": s.text} for s in story(graph)]}


def _names(path: tuple[str, ...]) -> list[str]:
    return [printable(name) for name in path]


def _values(source: Any) -> np.ndarray | None:
    """What a box shows, if it is still there."""
    shown = source.output if isinstance(source, Entry) else source
    return shown._data if isinstance(shown, Tensor) else None


def _box(graph: Graph, box: Box, arrays: dict[str, np.ndarray], found: dict[str, np.ndarray],
         size: tuple[int, int]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "id": box.id, "kind": box.kind, "label": printable(box.label), "shape": box.shape, "dtype": box.dtype,
        "scope": _names(box.scope), "notes": [*map(printable, box.notes)], "mark": box.mark}
    source, array = graph.sources.get(box.id), arrays.get(box.id)
    if box.kind == "constant" and array is not None and not array.shape:
        content["label"] += f" = {array.item():g}"
    if isinstance(source, Entry):
        content |= {"op": source.node.primitive.name, "where": _where(source.node.where),
                    "parameters": {k: repr(v) for k, v in source.node.params.items()}}
    if array is not None:
        content["values"] = statistics(array)
        if is_picture(array.shape) and size[0]:
            content["picture"] = thumbnails(array, *size, kernels=_holds_kernels(box, source))
    elif source is not None:
        content["freed"] = True
    if box.id in found:
        content["gradient"] = statistics(found[box.id])
    return content


def _holds_kernels(box: Box, source: Any) -> bool:
    """Whether a 4-d array is a weight, or the gradient of one, rather than a batch of maps."""
    return box.kind == "parameter" or (
        isinstance(source, Entry) and source.node.primitive.name == "conv2d_weight")


def _where(where: tuple[str, int]) -> str:
    """File and line, short: from the working directory, or the file and its folder alone."""
    path = Path(where[0])
    inside = path.is_relative_to(os.getcwd())
    shown = path.relative_to(os.getcwd()) if inside else Path(*path.parts[-2:])
    return f"{shown}:{where[1]}"
