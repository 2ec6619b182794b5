"""The picture of a forward pass that raised: what was computed until then, and the failing call.

Read off the traceback: the library function called by the user's innermost line is the call
that failed, and its arguments lead back along the tape.
"""
import contextlib
import inspect
import os
import re
import textwrap
import traceback
from dataclasses import replace
from types import FrameType

import numpy as np

from ..tensor import Tensor, share
from ..primitive import OURS, Primitive
from ..state import Call, current, is_recording
from .graph import (
    Box, Edge, Graph, Path, Scope, backwards, frames, graph, kind_of, local_name, module_path, plain_path,
)
from .style import argument_name, source_line

NUMPY = os.path.join(os.path.dirname(np.__file__), "")
WIDTH = 90  # columns of the message in its box


def failed_graph(error: BaseException) -> Graph:
    """The calls that led to an error, and the one that raised it, marked "failed".

    Args:
        error: as caught. One raised inside an `nn.Module` already carries its picture as `.graph`;
            otherwise the traceback is read.

    Returns:
        a `Graph`; without a tape (under `no_grad`) it is the failing call and its arguments.

    Raises:
        TypeError: if it is not an exception. ValueError: if it was never raised.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.ones(2, 3, requires_grad=True)
        >>> try:
        ...     tg.exp(x) @ tg.ones(4, 5)
        ... except ValueError as error:
        ...     g = failed_graph(error)
        >>> [(box.label, box.mark) for box in g.boxes]
        [('x', ''), ('exp', ''), ('y', ''), ('matmul', 'failed')]
    """
    if not isinstance(error, BaseException):
        raise TypeError(f"failed_graph: expects a caught exception, got {type(error).__name__}")
    known = getattr(error, "graph", None)
    if isinstance(known, Graph):
        return known
    if error.__traceback__ is None:
        raise ValueError("failed_graph: this exception has no traceback; pass it as it was caught")
    return _picture(error, (), *failing_call(error))


def attach_failure(error: Exception) -> None:
    """Give an error on its way out of a module `.graph`, and notes on where its inputs came from.

    Call it in the innermost scope that the error leaves; later calls change nothing. The picture is made at
    once, while the scope is still known, and holds only text and shapes: keeping the error keeps no tensor
    alive.

    Example:
        >>> import tinygrad_conv as tg
        >>> try:
        ...     with tg.scope("head"):
        ...         try:
        ...             tg.matmul(tg.ones(2, 3, requires_grad=True), tg.ones(4, 5))
        ...         except ValueError as error:
        ...             tg.attach_failure(error)
        ...             raise
        ... except ValueError as error:
        ...     [(box.label, box.mark) for box in tg.failed_graph(error).boxes if box.mark]
        [('matmul', 'failed')]
    """
    with contextlib.suppress(Exception):  # whatever goes wrong here must not hide the user's error
        if not isinstance(getattr(error, "graph", None), Graph):
            name, inputs, where = failing_call(error)
            for note in _origins(inputs):
                error.add_note(note)
            error.graph = replace(_picture(error, current().calls, name, inputs, where), sources={})


def failing_call(error: BaseException) -> tuple[str, list[tuple[str, Tensor]], tuple[str, int]]:
    """The call of an op, or of a module's `forward`, in which an error was raised.

    Returns:
        its name; its arguments that are tensors, with their names; the user's file and line.
    """
    stack = [*traceback.walk_tb(error.__traceback__)]  # frames with their lines, outermost first
    calls = [frame for frame, _ in stack]
    forward = next((frame for frame in reversed(calls) if frame.f_code.co_name == "forward"), calls[-1])
    start = _start(calls)
    call = forward if start is None else calls[start]
    outside = [*traceback.walk_stack(calls[0])][:0:-1]  # what the traceback does not reach
    where = next(((frame.f_code.co_filename, line) for frame, line in reversed([*outside, *stack[:start]])
                  if not frame.f_code.co_filename.startswith((*OURS, NUMPY))), ("", 0))
    return _name(call), _arguments(call), where


def _start(calls: list[FrameType]) -> int | None:
    """Where the last stretch of the engine's frames begins, if the error came from there."""
    ours = [i for i, frame in enumerate(calls) if frame.f_code.co_filename.startswith(OURS[0])
            and frame.f_code.co_name != "on_views"]  # a function of the user's has begun
    last = ours[-1] if ours else 0
    calls_out = calls[last].f_code is Primitive.__call__.__code__
    below = all(frame.f_code.co_filename.startswith(NUMPY) for frame in calls[last + 1:])
    if not ours or not (calls_out or below):
        return None
    before = max((i for i in range(last) if i not in ours), default=-1)
    return next((i for i in range(before + 1, last) if not _passes_on(calls[i])), last)


def _passes_on(frame: FrameType) -> bool:
    """Whether it only calls the op: x + y is a lambda, np.exp(x) a protocol, tg.sum is advised."""
    return frame.f_code.co_name.startswith(("<", "__array_")) or (
        frame.f_globals["__name__"].endswith(("numpy_protocol", "advice")))


def _name(frame: FrameType) -> str:
    own = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))  # `self`, whatever it is called
    if isinstance(own, Primitive):
        return own.name
    method = own is not None and frame.f_code.co_name in ("forward", "__call__")
    return type(own).__name__ if method else frame.f_code.co_name.strip("_<>")


def _arguments(frame: FrameType) -> list[tuple[str, Tensor]]:
    """Names and values of the arguments that are tensors or arrays; of all locals of a `forward`."""
    code, values = frame.f_code, frame.f_locals
    if code is Primitive.__call__.__code__:
        named = [(argument_name(values["self"], i), t) for i, t in enumerate(values["args"])]
    else:
        named = []
        count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
        for name in code.co_varnames[:None if code.co_name == "forward" else count]:
            value = values.get(name)
            several = isinstance(value, tuple | list)  # the tensors that concat joins
            named += [(f"{name}{j}", v) for j, v in enumerate(value)] if several else [(name, value)]
    return [("x" if name == "self" else name, share(v) if isinstance(v, np.ndarray) else v)
            for name, v in named if isinstance(v, Tensor) or isinstance(v, np.ndarray) and v.ndim]


def _origins(inputs: list[tuple[str, Tensor]]) -> list[str]:
    """A line for each argument that was computed: its shape, and what made it where."""
    return [f"{name} {t.shape} came from {_origin(t)}" if t.node is not None else
            f"{name} {t.shape}: nothing is recorded under no_grad(), so what made it is not known"
            for name, t in inputs if t.node is not None or not (is_recording() or t.name)]


def _origin(t: Tensor) -> str:
    """What made a tensor; of one that only got another shape also what made the one before."""
    text, x = _maker(t), t.node.inputs[0]
    while len(t.node.inputs) == 1 and x.node is not None and x.shape != t.shape and (
            np.prod(x.shape) == np.prod(t.shape)):
        text += f", from {x.shape} of {_maker(x)}"
        t, x = x, x.node.inputs[0]
    return text


def _maker(t: Tensor) -> str:
    """The module, op and line that made a tensor."""
    name, path, position = t.node.primitive.name, ".".join(t.node.scope), source_line(t.node.where)[0]
    return f"{path} ({name}, {position})" if path else f"{name} at {position}"


def _place(calls: Path, g: Graph) -> Path:
    """Where a call made inside `calls` stands in a drawing: beside what was computed there before."""
    drawn = {path[-1].number: path for box in g.boxes for path in frames(module_path(box.scope))
             if isinstance(path[-1], Call)}
    place = calls[:backwards(calls)]
    for call in module_path(calls):
        outer = drawn.get(call.number)
        place = (*calls[:backwards(calls)], *outer) if outer else (*place, *plain_path(filter(None, [call])))
    return place


def _picture(error: BaseException, calls: Path, name: str, inputs: list[tuple[str, Tensor]],
             where: tuple[str, int]) -> Graph:
    """The tape behind the arguments and a box for the call."""
    g = graph(*[t for _, t in inputs])
    scope = _place(calls, g)
    ids = {source.node or id(source): box for box, source in g.sources.items()}
    boxes, edges, sources = [*g.boxes], [*g.edges], dict(g.sources)
    for slot, (argument, t) in enumerate(inputs):
        key = t.node or id(t)
        if key not in ids:
            ids[key] = f"given{slot}"
            kind = "parameter" if t.requires_grad else "input" if t.shape else "constant"
            own = local_name(t.name, scope)
            boxes.append(Box(ids[key], kind, own or t.name or argument, t.shape, str(t.dtype),
                             scope if own else ()))
            sources[ids[key]] = t
        edges.append(Edge(ids[key], "failed", t.shape, str(t.dtype), slot))
    parts = re.split(r"; |(?<=\S) +(?=\([\w.]*shape|\(inputs)", str(error) or type(error).__name__)
    text = [line for part in parts for line in textwrap.wrap(part, WIDTH)]
    text += source_line(where) if where[0] else ()
    boxes.append(Box("failed", "op", name, (), "", scope, tuple(text), "failed"))
    scopes = {path: Scope(path, kind_of(path)) for path in frames(scope)} | g.scopes
    return Graph(tuple(boxes), tuple(edges), scopes,
                 (("failed", f"the call that raised {type(error).__name__}"),), sources)
