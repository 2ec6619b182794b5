"""One pass over the tape, from the oldest node to the newest, that carries tangents forward.

Each node's JVPs turn the tangents of its inputs into those of its outputs. Where an op has none, they are
derived: a VJP is linear in its cotangent, u = Jᵀ g, so pulling t back from u to g gives J t. JVPs are written
in tensor ops, so with recording on the tangent is an ordinary tape and can be differentiated.
"""
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import ops
from .hooks import key_of
from .primitive import Node
from .pullback import _fit, check_usable, pull, vjp_arguments
from .state import State, current, enter, recording
from .tape import Made, reach
from .tensor import Tensor, share


def _fitted(t: Any, output: Made, node: Node, argnum: int) -> Tensor:
    """What a JVP returned, with the output's shape and dtype."""
    start = f"{node.primitive.name}: the JVP for argument {argnum} returned"
    if not isinstance(t, Tensor) or t.dtype.kind != "f":
        got = t.dtype if isinstance(t, Tensor) else type(t).__name__
        raise TypeError(f"{start} {got}; a tangent is a floating point tensor, for an op with several "
                        f"outputs a tuple of them, None where it is 0")
    if t.shape != output.shape:
        try:
            t = ops.broadcast_to(t, output.shape)
        except ValueError:
            raise ValueError(f"{start} shape {t.shape} for an output of shape {output.shape}") from None
    return t if t.dtype == output.dtype else ops.astype(t, dtype=output.dtype)


def _by_jvp(i: int, t: Tensor, node: Node, made: Made) -> list[Tensor | None]:
    """The tangents of a call's outputs due to that of one input, by the JVP of the op."""
    jvp = node.primitive.jvps[i]
    outputs = (made,) if node.values is None else node.values
    ans = vjp_arguments(made, {0: t})[1]
    parts = jvp(t, ans, *node.inputs, **node.params)  # type: ignore[misc]
    parts = (parts,) if node.values is None else parts
    if not isinstance(parts, tuple) or len(parts) != len(outputs):
        raise TypeError(f"{node.primitive.name}: the JVP for argument {i} must return a tuple of "
                        f"{len(outputs)} tangents, one for each output")
    return [part if part is None and node.values is not None else _fitted(part, output, node, i)
            for part, output in zip(parts, outputs)]


def _transposed(moved: dict[int, Tensor], node: Node, made: Made) -> list[Tensor | None]:
    """The tangents of a call's outputs due to those of some inputs, by the VJPs of the op."""
    zeros = [share(np.zeros(v.shape, v.dtype)) for v in ((made,) if node.values is None else node.values)]
    targets = [g for g in zeros if g.dtype.kind == "f"]
    for g in targets:
        g.requires_grad = True
    with recording(True):
        g, ans = vjp_arguments(made, dict(enumerate(zeros)))
        vjps = node.primitive.vjps_for(len(node.inputs))
        back = {i: _fit(vjp(g, ans, *node.inputs, **node.params), node.inputs[i], node, i)
                for i in moved if (vjp := vjps[i]) is not None}
    found = pull([*back.values()], [moved[i] for i in back], targets)
    return [found[id(g)][1] if id(g) in found else None for g in zeros]


def _tangents(moved: dict[int, Tensor], node: Node, made: Made) -> list[Tensor | None]:
    """The tangents of a call's outputs; None where they are 0."""
    jvps = node.primitive.jvps
    given = [i for i in moved if i < len(jvps) and jvps[i] is not None]
    rest = {i: t for i, t in moved.items() if i not in given}
    try:
        parts = [_by_jvp(i, moved[i], node, made) for i in given]
        parts += [_transposed(rest, node, made)] if rest else []
    except Exception as e:
        op, (file, line) = node.primitive, node.where
        e.add_note(f"in the tangent of {op.name} by its arguments {sorted(moved)}; a JVP is called as "
                   f"jvp(t, ans, *inputs, **params), here with params {node.params}; {op.name} was called in "
                   f"{file}, line {line}")
        raise
    total = parts[0]
    for more in parts[1:]:
        total = [a if b is None else b if a is None else ops.add(a, b) for a, b in zip(total, more)]
    return total


def push(outputs: Sequence[Tensor], targets: Sequence[Tensor],
         tangents: Sequence[Tensor]) -> list[Tensor | None]:
    """Carry `tangents` of `targets` forward to `outputs`; None where nothing arrives.

    Runs under the recording flag as it stands. Changes no tensor.
    """
    before, calls = current(), reach(outputs)
    known: dict[Any, Tensor] = {key_of(t): tangent for t, tangent in zip(targets, tangents)}
    try:
        enter(State(before.recording, before.calls, before, True))
        for number in sorted(calls):
            made = calls[number][0]
            node: Any = made.node
            moved = {i: known[key_of(x)] for i, x in enumerate(node.inputs)
                     if x._requires_grad and key_of(x) in known}
            if not moved:
                continue
            check_usable(node)
            if before.recording:
                enter(State(True, ("forward", *node.calls), before, True))
            for i, t in enumerate(_tangents(moved, node, made)):
                if t is not None:
                    known[number if node.values is None else (number, i)] = t
    finally:
        enter(before)
    return [known.get(key_of(t)) for t in outputs]
