"""What the calls on a tape cost, from shapes alone; and times, gradients and the first NaN of a live tape.

Costs are the same before and after `backward()`. Nothing here changes a tensor: calls are repeated on the
recorded arrays, and gradients go into dictionaries, not into `.grad`; NumPy's warnings, which the first run
gave, are not given again.
"""
import math
import statistics
import time
import timeit
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..tensor import Tensor, share
from ..primitive import Freed, Node, Primitive
from ..pullback import pull, vjp_arguments
from ..state import recording
from ..tape import Entry, Recomputed, revive, walk


def multiply_adds(op: Primitive, inputs: Sequence[tuple[int, ...]], output: tuple[int, ...],
                  params: Mapping[str, Any] | None = None) -> int:
    """The multiply-adds of one call of an op, from shapes alone: what its `defcost` says, 0 if it has none.

    A convolution makes C/groups * KH * KW of them for each output value, whatever the stride,
    padding, dilation or groups: exactly the size of one filter. Products with padding count.

    Args:
        op: the primitive.
        inputs: the shapes of its arguments.
        output: the shape of what it returns.
        params: the call's parameters.

    Example:
        >>> import tinygrad_conv as tg
        >>> multiply_adds(tg.matmul, [(3, 4), (4, 5)], (3, 5))
        60
    """
    try:
        return op.cost(output, *inputs, **params or {}) if op.cost else 0
    except Exception as e:
        e.add_note(f"in the function of {op.name}.defcost, called with {(output, *inputs)} and "
                   f"{params or {}}")
        raise


def saved_bytes(sources: Iterable[Entry | Tensor | Freed]) -> list[int]:
    """Bytes that each call or leaf of a tape keeps alive until `backward()`.

    Each piece of memory counts once, where it was made: a view (reshape, transpose, a slice) keeps
    nothing new. Parameters live on anyway and count 0; constants, index arrays and all outputs of
    an op count. What no derivative needs is not kept.

    Args:
        sources: `Graph.sources.values()`: leaves before the calls that use them.

    Example:
        >>> import tinygrad_conv as tg
        >>> w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> y = tg.reshape(tg.exp(w), (4,))
        >>> saved_bytes(tg.graph(y).sources.values())         # w, exp, reshape
        [0, 16, 0]
    """
    seen: set[Any] = set()  # of memory: an object that all tensors on it share
    sizes = []
    for source in sources:
        call = isinstance(source, Entry)
        new = [t for t in (source.outputs if call else (source,))
               if t.memory not in seen and not isinstance(t.memory, Recomputed)]
        seen.update(t.memory for t in new)
        size = sum(v.nbytes for v in source.node.params.values() if isinstance(v, np.ndarray)) if call else 0
        if call or not source.requires_grad:
            size += sum({t.memory: math.prod(t.shape) * t.dtype.itemsize for t in reversed(new)}.values())
        sizes.append(size)
    return sizes


def _live(outputs: Iterable[Tensor | Freed]) -> list[Entry]:
    entries = revive(outputs)
    if any(entry.node.freed for entry in entries):
        raise RuntimeError("values freed by backward(); draw before it, or backward(retain_graph=True)")
    return entries


def pulled(outputs: Sequence[Tensor], targets: Iterable[Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
    """By the id of each target that it reaches: the target, and the gradient of the outputs' sum.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> pulled([(x * x).sum()], [x])[id(x)][1].data.tolist(), x.grad
        ([2.0, 4.0], None)
    """
    _live(outputs)
    with recording(False), np.errstate(all="ignore"):
        return pull(outputs, [share(np.ones_like(t._data)) for t in outputs], [*targets])


def cotangents(*outputs: Tensor) -> dict[tuple[int, int], Tensor]:
    """The gradient that reaches the result of every call: a backward pass that changes nothing.

    Args:
        outputs: where to start, each with a cotangent of ones: the gradient is that of their sum.

    Returns:
        {(node.order, index of the output): cotangent}; results that no gradient reaches are missing.

    Raises:
        RuntimeError: if the values have been freed, or changed since.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> y = x * x
        >>> [g.data.tolist() for g in cotangents((y * 3.0).sum()).values()]
        [[3.0, 3.0], [1.0, 1.0], 1.0]
    """
    made = {(t.node.order, t.index): t for entry in walk(outputs)
            for t in (*entry.outputs, *entry.node.inputs) if t.node is not None}
    found = pulled(outputs, made.values())
    return {key: found[id(t)][1] for key, t in sorted(made.items()) if id(t) in found}


def times(*outputs: Tensor, repeats: int = 3) -> dict[int, dict[str, float]]:
    """Each call's time, measured by repeating it alone on the recorded arrays.

    The backward runs the derivatives of the arguments that need one, on the real cotangents.

    Args:
        outputs: the tape's ends, as for `cotangents`.
        repeats: how many calls the median is taken over, after one that does not count.

    Returns:
        {node.order: {"forward": ms of the function, "backward": ms of all its derivatives together}}.

    Raises:
        RuntimeError: if the values have been freed, or changed since.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> [t["forward"] > 0 for t in times((x * x).sum()).values()]
        [True, True]
    """
    with recording(False), np.errstate(all="ignore"):
        backward = {entry.node: _median_ms(call, repeats) for entry, _, call in _backward_calls(outputs)}
        return {node.order: {"forward": _median_ms(partial(node.primitive.fn, *[t._data for t in node.inputs],
                                                           **node.params), repeats),
                             "backward": backward.get(node, 0.0)}
                for node in (entry.node for entry in walk(outputs))}


def _backward_calls(outputs: Sequence[Tensor]) -> Iterator[tuple[Entry, list[Tensor], Callable[[], Any]]]:
    """Where a gradient comes, newest call first: its cotangents, and all its derivatives to be run."""
    reached = cotangents(*outputs)
    for entry in reversed(walk(outputs)):
        node = entry.node
        own = {i: reached[node.order, i] for i in range(len(entry.outputs)) if (node.order, i) in reached}
        if own:
            g, ans = vjp_arguments(entry.output, own)
            yield entry, [*own.values()], partial(_pulled, node, g, ans)


def _pulled(node: Node, g: Any, ans: Any) -> list[Any]:
    """The gradients of a call's inputs."""
    vjps = node.primitive.vjps_for(len(node.inputs))
    return [vjp(g, ans, *node.inputs, **node.params) for vjp, t in zip(vjps, node.inputs)
            if vjp and t.requires_grad]


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    return 1e3 * statistics.median(timeit.repeat(
        call, timer=time.perf_counter, number=1, repeat=repeats + 1)[1:])


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The origin of the first non-finite value: a call, or a leaf and its first use."""

    source: Entry | Tensor
    kind: str               # "nan" or "inf"
    how: str                # it came about, in words that `where` follows
    where: tuple[str, int]  # the user's file and line


def first_nonfinite(outputs: Sequence[Tensor | Freed]) -> NonFinite | None:
    """The first leaf or call that turns finite values infinite, or finite or infinite ones into NaN.

    Infinities in a constant are taken to be intended, like the -inf of a mask before a softmax, unless
    a call turns them into NaN, or nothing else explains a non-finite output.

    Returns:
        the oldest such source; None if every value is finite, or infinite as intended.

    Raises:
        RuntimeError: if the values have been freed.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
        >>> with np.errstate(divide="ignore"):
        ...     found = first_nonfinite([(tg.log(x) * 2.0).sum()])
        >>> found.source.node.primitive.name, found.kind
        ('log', 'inf')
    """
    kinds: dict[Node, str] = {}
    meant: list[NonFinite] = []
    for entry in _live(outputs):
        node = entry.node
        bad = [NonFinite(t, kind, " in a leaf, first used at", node.where)
               for t in node.inputs if t.node is None and (kind := _kind(t))]
        for leaf in bad:
            if leaf.kind == "nan" or leaf.source.requires_grad:
                return leaf
        came = [leaf.kind for leaf in bad] + [kinds[t.node] for t in node.inputs if t.node is not None]
        kinds[node] = max(map(_kind, entry.outputs))
        if kinds[node] > max(came, default=""):
            return bad[0] if bad else NonFinite(entry, kinds[node], ", made at", node.where)
        meant += bad
    return meant[0] if meant and any(_kind(t) for t in outputs) else None


def first_nonfinite_gradient(*outputs: Tensor) -> NonFinite | None:
    """The call whose derivative first turns a finite gradient into an infinite one or a NaN.

    Args:
        outputs: the tape's ends, as for `cotangents`.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
        >>> found = first_nonfinite_gradient(tg.sqrt(x).sum())
        >>> found.source.node.primitive.name, found.kind
        ('sqrt', 'inf')
    """
    with recording(False), np.errstate(all="ignore"):
        for entry, cotangent, call in _backward_calls(outputs):
            if not any(map(_kind, cotangent)):
                kind = next(filter(None, [_kind(g) for g in call() if g is not None]), "")
                if kind:
                    return NonFinite(entry, kind, " of the backward, made by the derivative of the call at",
                                     entry.node.where)
    return None


def _kind(t: Tensor) -> str:
    """"nan", "inf" or "" for finite: the worse the later in the alphabet."""
    if t.dtype.kind != "f" or np.isfinite(t._data).all():
        return ""
    return "nan" if np.isnan(t._data).any() else "inf"
