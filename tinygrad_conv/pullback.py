"""One pass over the tape, from the newest node to the oldest, that carries cotangents back.

Each node's VJPs turn the cotangent of its output into cotangents of its inputs; cotangents that
meet are added; broadcasting and dtype promotion are undone here, once, not in each VJP. VJPs are written
in tensor ops, so with recording on the gradient is an ordinary tape and can be differentiated.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .core import Memory
from .primitive import Node
from .state import State, current, enter
from .tape import Made, reach
from .tensor import Tensor, share


def _fit(g: Any, x: Tensor, node: Node, argnum: int) -> Tensor:
    """What a VJP returned, with x's shape and dtype: broadcasting and dtype promotion undone."""
    if not isinstance(g, Tensor):  # a raw array could not be differentiated again
        raise TypeError(f"{node.primitive.name}: the VJP for argument {argnum} must return a tensor, "
                        f"got {type(g).__name__}; write it in tensor ops, as vjp(g, ans, *inputs, **params), "
                        f"or register None if no gradient flows there")
    if g.shape != x.shape:
        lead = g.ndim - x.ndim
        pairs = list(zip(g.shape[lead:], x.shape)) if lead >= 0 else []
        if lead < 0 or any(n != m and m != 1 for n, m in pairs):
            raise ValueError(f"{node.primitive.name}: the VJP for argument {argnum} returned shape "
                             f"{g.shape} for an input of shape {x.shape}")
        axes = tuple(range(lead)) + tuple(lead + i for i, (n, m) in enumerate(pairs) if n != m)
        g = ops.reshape(ops.sum(g, axis=axes), shape=x.shape)
    return g if g.dtype == x.dtype else ops.astype(g, dtype=x.dtype)


def check_unchanged(node: Node) -> None:
    """Refuse a call whose graph was freed or whose inputs have changed since.

    Raises:
        RuntimeError: naming the call and the input.
    """
    name = node.primitive.name
    if node.freed:
        raise RuntimeError(
            f"backward: the graph at {name} was already used by a backward(); call the first "
            f"one with retain_graph=True, or compute the output again")
    for i, (t, stamp) in enumerate(zip(node.inputs, node.stamps)):
        if stamp is None or not isinstance(t.memory, Memory):
            continue
        now = t.memory.stamp(t._data, stamp)
        if now != stamp:
            label = repr(t.name) if t.name else f"of shape {t.shape}"
            how = "by its checksum" if isinstance(now, tuple) else f"version {stamp} then, {now} now"
            raise RuntimeError(
                f"backward: argument {i} of {name}, tensor {label}, was changed in place after "
                f"{name} used it ({how}); change it after backward(), or compute the output again")


def answer(output: Made) -> Any:
    """What the call behind `output` returned, as its VJPs expect it: a tensor, or a tuple of them."""
    node = output.node
    if node.values is None:
        return output
    outs = []
    for i, value in enumerate(node.values):
        t = value.detach()
        if t.dtype.kind == "f":
            t.node, t.index, t._requires_grad = node, i, True
        outs.append(t)
    return tuple(outs)


def joined_cotangent(node: Node, parts: dict[int, Tensor]) -> Any:
    """The cotangent in the form the VJP expects: a tensor, or a tuple with zeros where unused."""
    if node.values is None:
        return parts[0]
    return tuple(parts[i] if i in parts else share(np.zeros_like(v._data))
                 for i, v in enumerate(node.values))


def _between(nodes: list[Node], targets: Sequence[Tensor]) -> Callable[[Tensor], bool]:
    """Whether a tensor lies between the outputs and what is asked for: other VJPs never run."""
    leaves = {id(t) for t in targets}
    orders = {t.node.order for t in targets if t.node is not None}

    def needed(t: Tensor) -> bool:
        return id(t) in leaves if t.node is None else t.node.order in orders

    for node in nodes:
        if any(map(needed, node.inputs)):
            orders.add(node.order)
    return needed


def pull(outputs: Sequence[Tensor], cotangents: Sequence[Tensor],
         targets: Sequence[Tensor] | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Carry `cotangents` of `outputs` back; {id(t): (t, gradient)} of the targets, or all leaves.

    Runs under the recording flag as it stands. Changes no tensor.
    """
    calls = reach(outputs)
    order = sorted(calls)
    needed = None if targets is None else _between([calls[i][0].node for i in order], targets)
    inner = {(t.node.order, t.index): t for t in targets or () if t.node is not None}
    pending: dict[int, dict[int, Tensor]] = {}
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def add(t: Tensor, g: Tensor) -> None:
        if g.memory.__class__ is Memory:
            g.memory.recorded = True  # several VJPs get it: none may change it
        if t.node is None:
            known = found.get(id(t))
            found[id(t)] = t, g if known is None else ops.add(known[1], g)
            return
        parts = pending.get(t.node.order)
        if parts is None:
            pending[t.node.order] = {t.index: g}
        else:
            parts[t.index] = ops.add(parts[t.index], g) if t.index in parts else g

    for t, g in zip(outputs, cotangents):
        if needed is None or needed(t):
            add(t, g)
    before = current()
    try:
        while order:
            number = order.pop()
            output = calls.pop(number)[0]
            if (parts := pending.pop(number, None)) is None:
                continue
            for index, g in parts.items() if inner else ():
                target = inner.get((number, index))
                if target is not None:
                    found[id(target)] = (target, g)
            node = output.node
            check_unchanged(node)
            if before.recording:
                enter(State(True, (*before.scope, "backward", *node.scope), before))
            g, ans = joined_cotangent(node, parts), answer(output)
            del output, parts
            inputs, params = node.inputs, node.params
            for i, x in enumerate(inputs):
                if x._requires_grad and (needed is None or needed(x)):
                    vjp = node.primitive.vjp_for(i)
                    if vjp is not None:
                        gx = vjp(g, ans, *inputs, **params)
                        if gx.__class__ is not Tensor or gx._data.shape != x._data.shape or (
                                gx._data.dtype is not x._data.dtype):
                            gx = _fit(gx, x, node, i)
                        add(x, gx)
    finally:
        enter(before)
    return found
