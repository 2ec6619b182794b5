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
from .core import Tensor, share
from .primitive import Node
from .state import scope, state
from .tape import Entry, walk


def _fit(g: Any, x: Tensor, node: Node, argnum: int) -> Tensor:
    """What a VJP returned, with x's shape and dtype: broadcasting and dtype promotion undone."""
    if not isinstance(g, Tensor):  # a raw array could not be differentiated again
        raise TypeError(f"{node.primitive.name}: the VJP for argument {argnum} must return a tensor, "
                        f"got {type(g).__name__}; write it in tensor ops")
    if g.shape != x.shape:
        lead = g.ndim - x.ndim
        pairs = list(zip(g.shape[lead:], x.shape)) if lead >= 0 else []
        if lead < 0 or any(n != m and m != 1 for n, m in pairs):
            raise ValueError(f"{node.primitive.name}: the VJP for argument {argnum} returned shape "
                             f"{g.shape} for an input of shape {x.shape}")
        axes = tuple(range(lead)) + tuple(lead + i for i, (n, m) in enumerate(pairs) if n != m)
        g = ops.reshape(ops.sum(g, axis=axes), shape=x.shape)
    return g if g.dtype == x.dtype else ops.astype(g, dtype=x.dtype)


def _check(node: Node) -> None:
    """Refuse a call whose graph was freed or whose values have changed, even during the pass."""
    name = node.primitive.name
    if node.freed:
        raise RuntimeError(
            f"backward: the graph at {name} was already used by a backward(); call the first "
            f"one with retain_graph=True, or compute the output again")
    for i, (t, stamp) in enumerate(zip(node.inputs, node.stamps)):
        now = t.memory.stamp(t._data, stamp)
        if now != stamp:
            label = repr(t.name) if t.name else f"of shape {t.shape}"
            how = "by its checksum" if isinstance(now, tuple) else f"version {stamp} then, {now} now"
            raise RuntimeError(
                f"backward: argument {i} of {name}, tensor {label}, was changed in place after "
                f"{name} used it ({how}); change it after backward(), or compute the output again")


def answer(entry: Entry) -> Any:
    """What the call returned, as its VJPs expect it: a tensor, or a tuple of them."""
    node = entry.node
    if node.values is None:
        return entry.output
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


def _needed(entries: list[Entry], targets: Sequence[Tensor] | None) -> Callable[[Tensor], bool]:
    """Whether a tensor lies between the outputs and what is asked for: other VJPs never run."""
    if targets is None:
        return lambda t: t.requires_grad
    leaves = {id(t) for t in targets}
    nodes = {t.node.order for t in targets if t.node is not None}

    def needed(t: Tensor) -> bool:
        return id(t) in leaves if t.node is None else t.node.order in nodes

    for entry in entries:
        if any(needed(t) for t in entry.node.inputs):
            nodes.add(entry.node.order)
    return needed


def pull(outputs: Sequence[Tensor], cotangents: Sequence[Tensor],
         targets: Sequence[Tensor] | None = None) -> dict[int, tuple[Tensor, Tensor]]:
    """Carry `cotangents` of `outputs` back; {id(t): (t, gradient)} of the targets, or all leaves.

    Runs under the recording flag as it stands. Changes no tensor.
    """
    entries = walk(outputs)
    inner = {(t.node.order, t.index): t for t in targets or () if t.node is not None}
    needed = _needed(entries, targets)
    pending: dict[int, dict[int, Tensor]] = {}
    found: dict[int, tuple[Tensor, Tensor]] = {}

    def add(t: Tensor, g: Tensor) -> None:
        if t.node is not None:
            parts = pending.setdefault(t.node.order, {})
            parts[t.index] = ops.add(parts[t.index], g) if t.index in parts else g
        else:
            found[id(t)] = (t, ops.add(found[id(t)][1], g) if id(t) in found else g)

    for t, g in zip(outputs, cotangents):
        if needed(t):
            add(t, g)
    with scope():
        while entries:
            entry = entries.pop()
            node = entry.node
            if (parts := pending.pop(node.order, None)) is None:
                continue
            for index, g in parts.items():
                g._data.flags.writeable = False  # several VJPs get it: none may change it
                target = inner.get((node.order, index))
                if target is not None:
                    found[id(target)] = (target, g)
            _check(node)
            g, ans = joined_cotangent(node, parts), answer(entry)
            del entry, parts
            state.scope = ("backward", *node.scope)
            for i, x in enumerate(node.inputs):
                if x._requires_grad and needed(x):
                    vjp = node.primitive.vjp_for(i)
                    gx = None if vjp is None else vjp(g, ans, *node.inputs, **node.params)
                    if gx is not None:
                        add(x, _fit(gx, x, node, i))
    return found
