"""A table of a model's layers, output shapes, parameters and multiply-adds, from one forward pass.

The pass is recorded, and its tape says which calls were made inside which module: functions called
in a `forward` count too, and a module used twice counts twice.
"""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import tinygrad_conv as tg

from .layers.module import Module, evaluating, tensors_in

MARK = "(summary)"  # the scope that the pass is recorded in


class Line(NamedTuple):
    """One module: its path, kind, output shape, own parameters, and multiply-adds inside it."""

    path: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


class Summary:
    """What `summary` returns: prints as a table, shows as one in a notebook.

    `lines` holds the modules that compute anything themselves, in the order in which they were called;
    `parameters` and `multiply_adds` are totals.

    Example:
        >>> import nn
        >>> table = nn.summary(nn.Linear(3, 2), (1, 3))
        >>> table.parameters, table.multiply_adds, table.lines[0].shape
        (8, 6, (1, 2))
    """

    def __init__(self, lines: list[Line], parameters: int, input_shape: tuple[int, ...]) -> None:
        self.lines, self.parameters, self.input_shape = lines, parameters, input_shape
        self.multiply_adds = sum(line.multiply_adds for line in lines)

    def _rows(self) -> list[list[str]]:
        return [["layer", "kind", "output", "parameters", "multiply-adds"],
                *[[line.path, line.kind, "x".join(map(str, line.shape)), f"{line.parameters:,}",
                   f"{line.multiply_adds:,}"] for line in self.lines],
                ["total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"]]

    def __repr__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(cell.ljust(w) if i < 3 else cell.rjust(w)
                           for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in rows]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _repr_html_(self) -> str:
        return tg.table_html(self._rows())


def summary(model: Module, input_shape: Any) -> Summary:
    """Run zeros through the model in evaluation mode, and tabulate what happened.

    Args:
        model: a module that takes one tensor.
        input_shape: with the batch axis, e.g. (1, 1, 28, 28); or an array or tensor that has it.

    Returns:
        a `Summary`; the model is left as it was. A module used under two names has one line, under the
        newer name, with the work of both.

    Raises:
        TypeError, ValueError: if it is not a module, or not a shape.
        RuntimeError: inside `tg.no_grad()`, where nothing is recorded.

    Example:
        >>> import nn
        >>> s = nn.summary(nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU()), (1, 1, 8, 8))
        >>> s.parameters, s.multiply_adds
        (80, 2592)
    """
    tg.arguments.instance(model, Module, "summary", "a module and the shape of its input")
    if not tg.is_recording():
        raise RuntimeError("summary: nothing is recorded inside no_grad(), and the calls are read off the "
                           "record; call it outside")
    input_shape = getattr(input_shape, "shape", input_shape)
    if not isinstance(input_shape, tuple | list) or not all(
            tg.arguments.is_whole(n) and n >= 0 for n in input_shape):
        raise ValueError(f"summary: input_shape must be whole numbers, the batch first, as (1, 1, 28, 28), "
                         f"got {input_shape!r}")
    with evaluating(model), tg.scope(MARK):
        y = model(tg.tensor(np.zeros(tuple(input_shape), np.float32), requires_grad=True))
    entries = {e.node.order: e for t in tensors_in(y) for e in tg.tape(t)}
    modules = {m._frame: m for m in model.modules()}
    found: dict[tuple[str, Any], tuple[int, Line]] = {}  # by path and module: when first called, its line
    for _, entry in sorted(entries.items()):
        node, shape, calls = entry.node, entry.output.shape, entry.node.calls
        if MARK in calls:
            path, call = _innermost(calls[calls.index(MARK) + 1:])
            m = modules.get(call.module)
            own = [p.size for p in m._of_kind("parameter").values() if p is not None] if m else []
            work = tg.multiply_adds(node.primitive, [t.shape for t in node.inputs], shape, node.params)
            begun, line = found.get((path, call.module), (call.number, None))
            work += line.multiply_adds if line else 0
            found[path, call.module] = begun, Line(path, call.kind.rpartition(".")[2], shape, sum(own), work)
    lines = [line for _, line in sorted(found.values(), key=lambda item: item[0])]
    return Summary(lines, sum(p.size for p in model.parameters()), tuple(input_shape))


def _innermost(calls: Sequence[Any]) -> tuple[str, Any]:
    """The innermost call of a module, and its path below the first."""
    last = max(i for i, call in enumerate(calls) if call.module)  # what tg.scope names is its module's
    path = ".".join(call or call.kind for call in calls[1:last + 1])  # in a plain list a module has no name
    return path or "(root)", calls[last]
