"""Gradients of every example of a batch in one backward pass.

Cotangents along the examples are the ordinary ones: row n is of example n. Only where something that all
examples share enters a call is their sum not taken: there the op says what its gradient is by example
(`Primitive.defexamples`); of one that works entry by entry, the sum over all axes but the first is left out.
Whatever has no such rule is pulled back once an example, by the definition.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .core import Fixed
from .hooks import key_of
from .operands import as_floats
from .primitive import Node
from .pullback import pull, vjp_arguments
from .state import recording
from .tape import Made, reach
from .tensor import Tensor, share

OP = "per_example_vjp"


class Entrance(NamedTuple):
    """Argument `argnum` of a call, which all examples share; `outputs` are those of the call."""

    node: Node
    argnum: int
    outputs: list[Made]


def per_example_vjp(f: Callable[[Tensor], Tensor], x: Any, targets: Sequence[Tensor],
                    ) -> tuple[Tensor, Callable[[Any], list[Tensor]]]:
    """`f(x)`, and the map from a cotangent g of it to the gradients of targets, one for each example.

    Entry n of the gradient of t is that of <g[n], f(x)[n]>. The pass back through f is done once for all
    examples; and once more to see that they do not mix, where f uses other ops than layers of a convolutional
    network and those that work entry by entry.

    Args:
        f: a function of x (N, ...) that returns a tensor (N, ...), each row of the same row of x.
        x: floating point.
        targets: tensors that require gradients and that f uses; one that it does not use gets zeros.

    Returns:
        y, and a function of a tensor or array of y's shape that returns a list of (N, *t.shape).

    Raises:
        TypeError: if x is not floating point, or f returns no tensor. ValueError: if y has another number of
            rows; when pulled back, if g has another shape, or if f mixes the examples, as batch norm does
            in training, naming the op.

    Example:
        >>> import tinygrad_conv as tg
        >>> w = tg.tensor([[1.0, 10.0]], requires_grad=True)
        >>> y, pullback = per_example_vjp(lambda x: tg.linear(x, w), [[1.0, 2.0], [3.0, 4.0]], [w])
        >>> y.tolist(), pullback([[1.0], [2.0]])[0].tolist()
        ([[21.0], [43.0]], [[[1.0, 2.0]], [[6.0, 8.0]]])
    """
    x = as_floats(x, OP).detach()
    x.requires_grad = True
    with recording(True):
        y = f(x)
    if not isinstance(y, Tensor):
        raise TypeError(f"{OP}: expects a function that returns a tensor, got {type(y).__name__}")
    if not x.ndim or y.shape[:1] != x.shape[:1]:
        raise ValueError(f"{OP}: x and f(x) must have an axis of examples, the first, of one length, got "
                         f"shapes {x.shape} and {y.shape}")

    def pullback(g: Any) -> list[Tensor]:
        cotangent = np.asarray(g.detach() if isinstance(g, Tensor) else g, y.dtype)
        if cotangent.shape != y.shape:
            raise ValueError(f"{OP}: the cotangent must have y's shape {y.shape}, got {cotangent.shape}")
        with recording(False):
            found = _pulled(x, y, cotangent, list(targets)) if len(x) else {}
        return [share(found[id(t)] if id(t) in found else np.zeros((len(x), *t.shape), t.dtype))
                for t in targets]
    return y, pullback


def _pulled(x: Tensor, y: Tensor, g: np.ndarray, targets: list[Tensor]) -> dict[int, np.ndarray]:
    """The gradients by id of the target; of one that has none, nothing."""
    entrances, by_definition, apart = _entrances(x, y, targets)
    ends = {key_of(t): t for entrance in entrances for t in entrance.outputs}
    if not apart:
        _check_apart(x, y, [*ends.values()])
    gradients = {key_of(t): gradient for t, gradient in pull([y], [_seed(g)], [*ends.values()]).values()}
    totals: dict[int, np.ndarray] = {}
    for entrance in entrances:
        t = entrance.node.inputs[entrance.argnum]
        below = [s for s in targets if id(s) in _used(t)]
        parts = {out.index: gradients[key_of(out)] for out in entrance.outputs if key_of(out) in gradients}
        rows = _rows(entrance, parts, len(x)) if parts else ()
        if rows is None:
            by_definition |= {*map(id, below)}
        elif t.node is not None:  # computed from targets alone
            _add(totals, [([t], [_seed(row)]) for row in rows], below)
        elif parts:
            totals[id(t)] = totals[id(t)] + rows if id(t) in totals else rows
    slow = [t for t in targets if id(t) in by_definition]
    for t in slow:
        totals.pop(id(t), None)
    if slow:
        _add(totals, [([y], [_seed(_only(g, np.arange(len(g)) == n))]) for n in range(len(g))], slow)
    return totals


def _used(t: Made) -> set[int]:
    """Ids of a tensor and of all that it is computed from."""
    return {id(t), *[id(x) for outputs in reach([t]).values() for x in outputs[0].node.inputs]}


def _add(totals: dict[int, np.ndarray], passes: list[Any], targets: list[Tensor]) -> None:
    """Pull back once an example, outputs and cotangents, and add what comes out to its row."""
    for t in targets:
        totals.setdefault(id(t), np.zeros((len(passes), *t.shape), t.dtype))
    for n, (outputs, cotangents) in enumerate(passes):
        for t, gradient in pull(outputs, cotangents, targets).values():
            totals[id(t)][n] += gradient._data


def _entrances(x: Tensor, y: Tensor, targets: list[Tensor]) -> tuple[list[Entrance], set[int], bool]:
    """Where targets, or what is computed from them, meet what is computed from x; ids of those that reach y
    without; whether all ops on the way from x are known to keep the examples apart."""
    own, shared, apart = {key_of(x)}, {key_of(t) for t in targets}, True
    calls, found = reach([y]), []
    for number in sorted(calls):
        node = calls[number][0].node
        inputs = [*map(key_of, node.inputs)]
        kind = shared if own.isdisjoint(inputs) else own
        if kind is own or not shared.isdisjoint(inputs):
            kind.update(map(key_of, calls[number]))
        if kind is own:
            found += [Entrance(node, i, calls[number]) for i, key in enumerate(inputs) if key in shared]
            examples = [t for t, key in zip(node.inputs, inputs) if key in own]
            apart = apart and _apart(calls[number][0], examples, len(x))
    return found, set() if key_of(y) in own else {id(t) for t in targets}, apart


def _apart(out: Made, examples: list[Any], n: int) -> bool:
    """Whether a call of these inputs is known to keep the examples apart."""
    op = out.node.primitive
    alone = len(examples) == 1 and examples[0] is out.node.inputs[0]
    entrywise = op.broadcasts and not op.examples and all([t.ndim == out.ndim for t in examples])
    return (op.apart and alone or entrywise) and all([t.shape[:1] == (n,) for t in (out, *examples)])


def _rows(entrance: Entrance, parts: dict[int, Tensor], n: int) -> np.ndarray | None:
    """The gradient of a shared argument by example; None if the op has no rule for it, or the call's first
    axis does not count the examples."""
    node, i, outputs = entrance
    op, t = node.primitive, node.inputs[i]
    if outputs[0].shape[:1] != (n,):
        return None
    g, ans = vjp_arguments(outputs[0], parts)
    rule = op.examples.get(op.names[i]) if i < len(op.names) else None
    if rule is not None:
        gradient = rule(g, ans, *node.inputs, **node.params)
        if gradient is None:
            return None
        rows = gradient._data.reshape(n, *t.shape)
        used = [s._data for s in (*node.inputs, *parts.values()) if isinstance(s, Tensor)]
        return rows.copy() if any([np.may_share_memory(rows, a) for a in used]) else rows
    vjp = op.vjp_for(i)
    if not op.broadcasts or vjp is None or t.ndim == outputs[0].ndim and t.shape[0] != 1:
        return None
    gradient = vjp(g, ans, *node.inputs, **node.params)
    if gradient.shape != outputs[0].shape:
        return None
    lead = gradient.ndim - t.ndim
    axes = [i for i in range(1, gradient.ndim) if i < lead or t.shape[i - lead] != gradient.shape[i]]
    return np.add.reduce(gradient._data, axis=tuple(axes)).reshape(n, *t.shape).astype(t.dtype)


def _seed(array: np.ndarray) -> Tensor:
    return share(array, Fixed())


def _only(g: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The cotangent, zero in all rows but the chosen ones."""
    return np.where(chosen.reshape(-1, *[1] * (g.ndim - 1)), g, g.dtype.type(0))


def _check_apart(x: Tensor, y: Tensor, ends: list[Tensor]) -> None:
    """Refuse what mixes examples: with a cotangent of some of them, gradients of the others are zero.

    Any two examples differ in a bit of their numbers, so the halves with and without each bit tell all apart.
    """
    g = np.random.default_rng(0).standard_normal(y.shape).astype(y.dtype)

    def mixed(tensors: list[Tensor], chosen: np.ndarray) -> list[Tensor]:
        found = pull([y], [_seed(_only(g, chosen))], tensors)
        return [t for t, gradient in found.values() if t.shape[:1] == x.shape[:1] and
                ((gradient._data[~chosen] != 0) & np.isfinite(gradient._data[~chosen])).any()]
    bits = [np.arange(len(x)) >> k & 1 == value for k in range((len(x) - 1).bit_length()) for value in (0, 1)]
    chosen = next((half for half in bits if mixed([*ends, x], half)), None)
    if chosen is None:
        return
    calls = reach([y])
    wrong = {*map(key_of, mixed([t for outputs in calls.values() for t in outputs] + [x], chosen))}
    guilty = max((number for number, outputs in calls.items() if not wrong.isdisjoint(
        map(key_of, outputs[0].node.inputs))))
    node = calls[guilty][0].node
    file, line = node.where
    scope = f" in {'.'.join(node.scope)}" * bool(node.scope)
    raise ValueError(f"{OP}: {node.primitive.name}{scope}, called in {file}, line {line}, mixes the "
                     f"examples: a row of its result depends on other rows of x; batch norm does in "
                     f"training, model.eval() ends it")
