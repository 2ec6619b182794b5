"""One pass over the tape, from the newest node to the oldest, that carries cotangents back.

Each node's VJPs turn the cotangent of its output into cotangents of its inputs; cotangents that
meet are added; broadcasting and dtype promotion are undone here, once, not in each VJP. VJPs are written
in tensor ops, so with recording on the gradient is an ordinary tape and can be differentiated.
"""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .core import Fixed, checksum
from .hooks import hooked, key_of, through
from .primitive import Node, freed
from .state import State, call_of, current, enter
from .tape import Made, reach
from .tensor import Tensor, share


NO_TENSOR = {  # what to say of a VJP that returns something else
    "NoneType": "does it lack a return? Register None in its place if no gradient flows there",
    "function": "it takes everything at once, not `lambda ans, x: lambda g: ...`",
    "tuple": "there is one function for each argument", "list": "there is one function for each argument"}


def _fit(g: Any, x: Tensor, node: Node, argnum: int) -> Tensor:
    """What a VJP returned, with x's shape and dtype: broadcasting and dtype promotion undone."""
    if not isinstance(g, Tensor):
        advice = NO_TENSOR.get(type(g).__name__, "write it in tensor ops, so that it has a derivative, too")
        raise TypeError(f"{node.primitive.name}: the VJP for argument {argnum} must return a tensor, "
                        f"got {type(g).__name__}; {advice}")
    if g.dtype.kind != "f":
        raise TypeError(f"{node.primitive.name}: the VJP for argument {argnum} returned {g.dtype}, which "
                        f"cannot be a multiple of g; multiply by g")
    if g.shape != x.shape:
        lead = g.ndim - x.ndim
        pairs = list(zip(g.shape[lead:], x.shape)) if lead >= 0 else []
        if lead < 0 or any(n != m and m != 1 for n, m in pairs):
            raise ValueError(f"{node.primitive.name}: the VJP for argument {argnum} returned shape "
                             f"{g.shape} for an input of shape {x.shape}")
        axes = tuple(range(lead)) + tuple(lead + i for i, (n, m) in enumerate(pairs) if n != m)
        g = ops.reshape(ops.sum(g, axis=axes), shape=x.shape)
    return g if g.dtype == x.dtype else ops.astype(g, dtype=x.dtype)


def _locate(e: Exception, node: Node, argnum: int) -> None:
    """Note which VJP `e` comes from, how it is called, and where the user called the op."""
    op, (file, line) = node.primitive, node.where
    name = f" ({op.names[argnum]})" if argnum < len(op.names) else ""
    e.add_note(f"in {op.name}'s VJP for argument {argnum}{name}, called as vjp(g, ans, *inputs, **params) "
               f"with {len(node.inputs)} inputs and params {node.params}; {op.name} was called in {file}, "
               f"line {line}")


def changed(node: Node, i: int) -> bool:
    """Whether the memory of a call's input has changed since the call."""
    t = node.inputs[i]
    return t.memory.changed > node.order or node.checksums is not None and (
        i in node.checksums and checksum(t._data) != node.checksums[i])


def check_usable(node: Node) -> None:
    """Refuse a call whose graph was freed or whose inputs have changed since.

    Raises:
        RuntimeError: naming the call and the input.
    """
    name = node.primitive.name
    if node.freed:
        raise RuntimeError(
            f"backward: the graph at {name} was already used by a backward(); call the first "
            f"one with retain_graph=True, or compute the output again")
    for i, t in enumerate(node.inputs):
        if changed(node, i):
            what = repr(t.name) if t.name else f"of shape {t.shape}"
            raise RuntimeError(
                f"backward: argument {i} of {name}, tensor {what}, was changed in place after {name} used "
                f"it; change it after backward(), or compute the output again")


def vjp_arguments(output: Made, parts: dict[int, Tensor]) -> tuple[Any, Any]:
    """(g, ans) of a call as its VJPs expect them: tensors, or tuples if the call has several outputs.

    `parts` are the cotangents by number of the output; where there is none, g is zero.
    """
    node = output.node
    values = node.values
    if values is None:
        return parts[0], output
    if node.freed:  # looked at after the values: they are whole
        check_usable(node)
    answers = []
    for i, value in enumerate(values):
        t = value.detach() if isinstance(value, Tensor) else freed(value)
        if t.dtype.kind == "f":
            t.node, t.index, t._requires_grad = node, i, True
        answers.append(t)
    g = tuple([parts[i] if i in parts else share(np.zeros(v.shape, v.dtype)) for i, v in enumerate(values)])
    return g, tuple(answers)


def _lies_between(nodes: list[Node], targets: Sequence[Tensor]) -> Callable[[Tensor], bool]:
    """Whether a tensor lies between the outputs and what is asked for: other VJPs never run."""
    leaves = {id(t) for t in targets}
    orders = {t.node.order for t in targets if t.node is not None}

    def needed(t: Tensor) -> bool:
        return id(t) in leaves if t.node is None else t.node.order in orders

    for node in nodes:
        if any(map(needed, node.inputs)):
            orders.add(node.order)
    return needed


def pull(outputs: Sequence[Tensor], cotangents: Sequence[Tensor], targets: Sequence[Tensor] | None = None,
         calls: dict[int, list[Made]] | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Carry `cotangents` of `outputs` back; {id(t): (t, gradient)} of the targets, or all leaves.

    Runs under the recording flag as it stands. Changes no tensor. `calls` is `reach(outputs)`, if known.
    """
    recording = (before := current()).recording
    calls = reach(outputs) if calls is None else calls
    needed = None if targets is None else _lies_between([calls[i][0].node for i in sorted(calls)], targets)
    inner = {key_of(t): t for t in targets or () if t.node is not None}
    awaited = inner or hooked         # what `take` has to look at
    pending: dict[Any, Tensor] = {}   # by key_of: the cotangents so far
    totals: dict[Any, Any] = {}       # if not recording: sums of several, in arrays of our own
    leaves: dict[Any, Tensor] = {}
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def beside(node: Node) -> State:
        """Where what belongs to the backward of a call is recorded."""
        return State(True, (call_of("backward", node.order, None, ""), *node.calls), before, True)

    def accumulate(key: Any, known: Tensor, g: Tensor, made: Node | None) -> None:
        if recording:
            here = current()
            enter(here if made is None else beside(made))  # a sum belongs to where the paths part
            pending[key] = ops.add(known, g)
            enter(here)
        elif g._data.ndim == 0:  # NumPy's scalars add up several times faster than its arrays without axes
            totals[key] = (totals[key] if key in totals else known._data[()]) + g._data[()]
        elif key not in totals:
            totals[key] = np.add(known._data, g._data)
        else:
            np.add(totals[key], g._data, out=totals[key])

    def take(key: Any) -> Tensor | None:
        g = pending.pop(key, None)
        if key in totals:
            g = share(np.asarray(totals.pop(key)), Fixed())
        g = through(key, g) if key in hooked and g is not None else g
        if key in inner and g is not None:
            found[id(inner[key])] = inner[key], g
        return g

    for t, g in zip(outputs, cotangents):
        if needed is None or needed(t):
            key = key_of(t)
            if key in pending:
                accumulate(key, pending[key], g, None)
            else:
                pending[key] = g
            if t.node is None:
                leaves[key] = t
    try:
        enter(State(recording, before.calls, before, True))
        for number in sorted(calls, reverse=True):
            ans = calls[number][0]  # one of the outputs, which will do if there is only one
            node = ans.node
            if node.values is not None:
                parts = {i: g for i in range(len(node.values)) if (g := take((number, i))) is not None}
                if not parts:
                    continue
                g, ans = vjp_arguments(ans, parts)
            else:
                g = take(number) if totals or awaited else pending.pop(number, None)
                if g is None:
                    continue
            inputs, params, called_at = node.inputs, node.params, node.order
            if node.freed or node.checksums is not None:
                check_usable(node)
            for x in inputs:
                if x.memory.changed > called_at:
                    check_usable(node)
            if recording:
                enter(beside(node))
            vjps = node.primitive.vjps_for(len(inputs))
            for i, x in enumerate(inputs):
                vjp = vjps[i]
                if vjp is not None and x._requires_grad and (needed is None or needed(x)):
                    try:
                        gx = vjp(g, ans, *inputs, **params) if params else vjp(g, ans, *inputs)
                        array = x._data
                        if gx.__class__ is not Tensor or gx._data.dtype is not array.dtype or (
                                gx._data.shape != array.shape):
                            gx = _fit(gx, x, node, i)
                    except Exception as e:
                        _locate(e, node, i)
                        raise
                    made = x.node  # this is key_of(x)
                    key = -id(x) if made is None else (
                        made.order if made.values is None else (made.order, x.index))
                    known = pending.get(key)
                    if known is not None:
                        accumulate(key, known, gx, made)
                    else:
                        pending[key] = gx
                        if made is None:
                            leaves[key] = x
    finally:
        enter(before)
    for key, leaf in leaves.items():
        found[id(leaf)] = leaf, take(key)  # type: ignore[assignment]
    return found
