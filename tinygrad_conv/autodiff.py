"""Gradients: one pass over the tape from the newest node to the oldest.

Each node's VJPs turn the cotangent of its output into cotangents of its inputs; cotangents that
meet are added; broadcasting and dtype are undone here, once, not in each VJP. VJPs are written
in tensor ops, so with recording on the gradient is an ordinary tape and can be differentiated.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import ops
from .core import Tensor, as_array, is_recording, recording, scope, share, state
from .primitive import Node
from .tape import Entry, walk


def _fit(g: Tensor, x: Tensor, node: Node, argnum: int) -> Tensor:
    """Undo broadcasting and dtype promotion: the cotangent of `x` has x's shape and dtype."""
    if g.shape != x.shape:
        lead = g.ndim - x.ndim
        pairs = list(zip(g.shape[lead:], x.shape)) if lead >= 0 else []
        if lead < 0 or any(n != m and m != 1 for n, m in pairs):
            raise ValueError(f"{node.primitive.name}: the VJP for argument {argnum} returned shape "
                             f"{g.shape} for an input of shape {x.shape}")
        axes = tuple(range(lead)) + tuple(lead + i for i, (n, m) in enumerate(pairs) if n != m)
        g = ops.reshape(ops.sum(g, axis=axes), shape=x.shape)
    return g if g.dtype == x.dtype else ops.astype(g, dtype=x.dtype)


def _as_tensor(g: Any, node: Node, argnum: int) -> Tensor:
    """What a VJP returned, unless it is a raw array, which could not be differentiated again."""
    if isinstance(g, Tensor):
        return g
    raise TypeError(f"{node.primitive.name}: the VJP for argument {argnum} must return a tensor, "
                    f"got {type(g).__name__}; write it in tensor ops")


def _check(entries: list[Entry]) -> None:
    """Refuse, before anything is computed, a graph that was used up or whose values changed."""
    for entry in entries:
        node = entry.node
        name = node.primitive.name
        if node.freed:
            raise RuntimeError(
                f"backward: the graph at {name} was already used by a backward(); call the first "
                f"one with retain_graph=True, or compute the output again")
        for i, (t, stamp) in enumerate(zip(node.inputs, node.stamps)):
            now = t.memory.stamp(t._data, stamp)
            if now != stamp:
                label = repr(t.name) if t.name else f"of shape {t.shape}"
                raise RuntimeError(
                    f"backward: argument {i} of {name}, tensor {label}, was changed in place after "
                    f"{name} used it (version {stamp} then, {now} now); change it after backward(),"
                    f" or compute the output again")


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
    _check([entry for entry in entries if any([needed(t) for t in entry.node.inputs])])
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
            parts = pending.pop(node.order, None)
            if parts is None:
                continue
            for index, g in parts.items():
                target = inner.get((node.order, index))
                if target is not None:
                    found[id(target)] = (target, g)
            g, ans = joined_cotangent(node, parts), answer(entry)
            del entry, parts
            state.scope = ("backward", *node.scope)
            for i, x in enumerate(node.inputs):
                if x._requires_grad and needed(x):
                    vjp = node.primitive.vjp_for(i)
                    gx = None if vjp is None else vjp(g, ans, *node.inputs, **node.params)
                    if gx is not None:
                        add(x, _fit(_as_tensor(gx, node, i), x, node, i))
    return found


def _seed(t: Tensor, gradient: Any) -> Tensor:
    if gradient is None:
        if t.size != 1:
            raise RuntimeError(f"backward: a gradient is only implied for a single value, this "
                               f"tensor has shape {t.shape}; call .sum() or .mean() first, or pass "
                               f"gradient=")
        return share(np.ones_like(t._data))
    if not isinstance(gradient, Tensor):
        gradient = share(as_array(gradient, copy=True, dtype=t.dtype, what="backward gradient"))
    if gradient.shape != t.shape:
        raise ValueError(f"backward: gradient has shape {gradient.shape}, the tensor {t.shape}; "
                         f"they must be equal")
    return gradient if gradient.dtype == t.dtype else ops.astype(gradient, dtype=t.dtype)


def backward(t: Tensor, gradient: Any = None, create_graph: bool = False,
             retain_graph: bool | None = None) -> None:
    """Add d<gradient, t>/dleaf to `.grad` of every leaf that requires a gradient.

    Args:
        t: the tensor to start from; without `gradient` it must hold one value.
        gradient: the cotangent, shape of `t`; default 1.
        create_graph: record the computation, so that the gradients can be differentiated.
        retain_graph: keep the graph for a second call; default: the value of `create_graph`.

    Raises:
        RuntimeError: if `t` was not recorded, the graph was used up, or a value it relies on
            was changed. `.grad` is then untouched.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad.item()
        6.0
    """
    if not t.requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient; make an input with "
                           "requires_grad=True, outside no_grad()")
    with recording(create_graph):
        found = pull([t], [_seed(t, gradient)])
        totals = [(leaf, _own(g) if leaf.grad is None else ops.add(leaf.grad, g))
                  for leaf, g in found.values()]
    for leaf, g in totals:
        leaf.grad = g
    if not (create_graph if retain_graph is None else retain_graph):
        stand_ins: dict[int, Any] = {}
        for entry in walk([t]):
            entry.node.free(stand_ins)


def _own(g: Tensor) -> Tensor:
    """A gradient whose memory is nobody else's (results of recorded ops can't be changed)."""
    if g.node is not None:
        return g
    return ops.mul(g, 1.0) if g.requires_grad else share(g._data.copy(order="K"))


def _fresh(x: Any) -> Tensor:
    """A tensor to differentiate by: connected to an outer differentiation if `x` is part of one."""
    if isinstance(x, Tensor) and x.requires_grad:
        return ops.identity(x)
    t = x.detach() if isinstance(x, Tensor) else share(as_array(x, copy=True, what="grad"))
    t.requires_grad = True
    return t


def _gradients(outputs: Sequence[Tensor], cotangents: Sequence[Tensor],
               targets: Sequence[Tensor]) -> list[Tensor]:
    """Gradients by `targets`; recorded only if something outside could ask for more."""
    own = {id(t) for t in targets}
    used = [x for entry in walk([*outputs, *cotangents]) for x in entry.node.inputs]
    outside = any(x.requires_grad and x.node is None and id(x) not in own
                  for x in (*used, *cotangents))
    with recording(is_recording() and outside):
        found = pull(outputs, cotangents, targets)
        return [_own(found[id(t)][1]) if id(t) in found else share(np.zeros_like(t._data))
                for t in targets]


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function: `grad(f)(x)` has the shape of `x`. Nests to any order.

    Args:
        f: a function of tensors that returns a tensor with one value.
        argnums: the argument(s) to differentiate by; several give a tuple.

    Raises:
        TypeError: if `f` does not return one value.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.grad(tg.grad(lambda x: x * x * x))(tg.tensor(2.0)).item()
        12.0
    """
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        nums = [i + len(args) if i < 0 else i for i in wanted]
        if not all(0 <= i < len(args) for i in nums):
            raise TypeError(f"grad: argnums={argnums} but the function got {len(args)} positional "
                            f"arguments")
        with recording(True):
            fresh = {i: _fresh(args[i]) for i in nums}
            y = f(*[fresh.get(i, a) for i, a in enumerate(args)], **kwargs)
        if not isinstance(y, Tensor) or y.size != 1:
            got = f"shape {y.shape}" if isinstance(y, Tensor) else type(y).__name__
            raise TypeError(f"grad: expects a function that returns a tensor with one value, got "
                            f"{got}; sum it, or use tg.vjp")
        result = _gradients([y], [share(np.ones_like(y._data))], [fresh[i] for i in nums])
        return result[0] if isinstance(argnums, int) else tuple(result)

    return gradient


def vjp(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """`f(*primals)` and the map from a cotangent of its output to cotangents of the primals.

    Args:
        f: a function of tensors that returns a tensor or a tuple of tensors.
        primals: tensors, arrays or numbers (floats).

    Raises:
        TypeError: if f returns something else.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, pullback = tg.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
        >>> pullback(tg.tensor([1.0, 10.0]))[0].data.tolist()
        [2.0, 40.0]
    """
    with recording(True):
        fresh = [_fresh(x) for x in primals]
        y = f(*fresh)
    outputs = y if isinstance(y, tuple) else (y,)
    for t in outputs:
        if not isinstance(t, Tensor):
            raise TypeError(f"vjp: expects a function that returns a tensor or a tuple of tensors, "
                            f"got {type(t).__name__}")

    def pullback(*cotangents: Any) -> tuple[Tensor, ...]:
        if len(cotangents) != len(outputs):
            raise TypeError(f"vjp: the function has {len(outputs)} outputs, got {len(cotangents)} "
                            f"cotangents")
        seeds = [_seed(t, g) for t, g in zip(outputs, cotangents)]
        return tuple(_gradients(outputs, seeds, fresh))

    return y, pullback
