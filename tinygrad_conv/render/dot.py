"""A plain drawing of a tape as DOT text, by the `graphviz` package; pictures where a renderer is.

Deterministic: nodes are numbered in the order of the tape. May import core, primitive and tape.
"""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..core import Tensor
from ..primitive import Freed
from ..tape import tape


def _label(name: str, params: dict[str, Any]) -> str:
    return "\n".join([name, *[f"{k}={v}" for k, v in params.items()]])


def _edge(t: Tensor | Freed) -> str:
    return "x".join(map(str, t.shape)) or "scalar"


def to_dot(t: Tensor) -> str:
    """The calls behind `t` as DOT text: boxes are ops, ovals tensors, edges carry shapes.

    The same program gives the same text, before and after `backward()`.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> tg.to_dot(x * x).count("->")
        2
    """
    from graphviz import Digraph
    dot = Digraph("tape", graph_attr={"rankdir": "TB"},
                  node_attr={"fontname": "Helvetica", "fontsize": "10"},
                  edge_attr={"fontname": "Helvetica", "fontsize": "9"})
    made: dict[int, str] = {}
    leaves: dict[int, str] = {}
    for number, entry in enumerate(tape(t)):
        node = entry.node
        made[node.order] = f"op{number}"
        dot.node(made[node.order], _label(node.primitive.name, node.params), shape="box",
                 style="rounded,filled", fillcolor="#dce9f7")
        for x in node.inputs:
            if x.node is None and id(x) not in leaves:
                leaves[id(x)] = f"leaf{len(leaves)}"
                kind = "parameter" if x.requires_grad else "constant"
                dot.node(leaves[id(x)], f"{x.name or kind}\n{_edge(x)}", shape="ellipse",
                         style="filled", fillcolor="#fbe8c8" if x.requires_grad else "#eeeeee")
            source = leaves[id(x)] if x.node is None else made[x.node.order]
            dot.edge(source, made[node.order], label=_edge(x))
    return dot.source


def save_graph(t: Tensor, path: str | os.PathLike[str]) -> list[Path]:
    """Write `path` with the ending .dot, and beside it .svg if a renderer is installed.

    Renderers: Graphviz's `dot`, else the `graphviz-pure` command of the `viz` extra.

    Returns:
        the files written.
    """
    dot = Path(path).with_suffix(".dot")
    dot.write_text(to_dot(t), encoding="utf-8")
    svg = dot.with_suffix(".svg")
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which("dot") or shutil.which("graphviz-pure", path=beside)
    if command is None:
        return [dot]
    done = subprocess.run([command, "-Tsvg", "-o", str(svg), str(dot)], capture_output=True, check=False)
    return [dot, svg] if done.returncode == 0 else [dot]
