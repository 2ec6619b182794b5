"""What can be measured on a live tape: times, gradients of intermediate values, the first NaN.

Nothing here changes a tensor: calls are repeated on the recorded arrays, and gradients go into
dictionaries, not into `.grad`. Imports core, primitive, tape and pullback.
"""
from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..tensor import Tensor, share
from ..primitive import Freed
from ..pullback import pull, received
from ..state import recording
from ..tape import Entry, walk

WORSE = ["", "inf", "nan"]  # each worse than the one before
FREED = "values freed by backward(); draw before it, or backward(retain_graph=True)"


@contextmanager
def _quietly():
    """Not recorded, and without a second warning where the first run gave one."""
    with recording(False), np.errstate(all="ignore"):
        yield


def _check_alive(what: str, entries: Iterable[Entry]) -> None:
    for entry in entries:
        if entry.node.freed:
            raise RuntimeError(f"{what}: {FREED}")


def pulled(outputs: Sequence[Tensor], targets: Iterable[Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
    """By the id of each target that it reaches: the target, and the gradient of the outputs' sum.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> pulled([(x * x).sum()], [x])[id(x)][1].data.tolist(), x.grad
        ([2.0, 4.0], None)
    """
    with _quietly():
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
    entries = walk(outputs)
    _check_alive("cotangents", entries)
    made = {(t.node.order, t.index): t for entry in entries
            for t in (entry.output, *entry.node.inputs) if t.node is not None}
    found = pulled(outputs, made.values())
    return {key: found[id(t)][1] for key, t in sorted(made.items()) if id(t) in found}


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one call: its function, and all its derivatives together."""

    forward: float
    backward: float


def times(*outputs: Tensor, repeats: int = 3) -> dict[int, Times]:
    """Each call's time, measured by repeating it alone on the recorded arrays.

    The backward runs the derivatives of the arguments that need one, on the real cotangents.

    Args:
        outputs: the tape's ends, as for `cotangents`.
        repeats: how many calls the median is taken over, after one that does not count.

    Returns:
        {node.order: Times}.

    Raises:
        RuntimeError: if the values have been freed, or changed since.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> [t.forward > 0 for t in times((x * x).sum()).values()]
        [True, True]
    """
    parts = _parts(outputs)
    measured = {}
    with _quietly():
        for entry in walk(outputs):
            node = entry.node
            arrays = [t._data for t in node.inputs]
            forward = _median_ms(partial(node.primitive.fn, *arrays, **node.params), repeats)
            back = _backward_call(entry, parts.get(node.order))
            measured[node.order] = Times(forward, _median_ms(back, repeats) if back else 0.0)
    return measured


def _parts(outputs: Sequence[Tensor]) -> dict[int, dict[int, Tensor]]:
    """The cotangents by node.order, then by index of the output."""
    parts: dict[int, dict[int, Tensor]] = {}
    for (order, index), g in cotangents(*outputs).items():
        parts.setdefault(order, {})[index] = g
    return parts


def _backward_call(entry: Entry, parts: dict[int, Tensor] | None) -> Callable[[], Any] | None:
    """All derivatives of one call, as `backward()` takes them; None where no gradient comes."""
    if parts is None:
        return None
    node, (g, ans) = entry.node, received(entry.output, parts)
    vjps = [node.primitive.vjp_for(i) for i, t in enumerate(node.inputs) if t.requires_grad]
    return lambda: [vjp and vjp(g, ans, *node.inputs, **node.params) for vjp in vjps]


def _median_ms(call: Callable[[], Any], repeats: int) -> float:
    call()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return 1e3 * statistics.median(taken)


@dataclass(frozen=True, slots=True)
class NonFinite:
    """The origin of the first non-finite value: a call, or a leaf and its first use.

    `where` is the user's file and line.
    """

    source: Entry | Tensor
    where: tuple[str, int]
    kind: str  # "nan" or "inf"


def first_nonfinite(outputs: Iterable[Tensor | Freed]) -> NonFinite | None:
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
    outputs = list(outputs)
    entries = walk(outputs)
    _check_alive("first_nonfinite", entries)
    kinds: dict[int, str] = {}  # of calls by order
    meant: list[NonFinite] = []
    for entry in entries:
        node = entry.node
        given = [NonFinite(t, node.where, _kind(t)) for t in node.inputs if t.node is None]
        bad = [leaf for leaf in given if leaf.kind]
        for leaf in bad:
            if leaf.kind == "nan" or leaf.source.requires_grad:
                return leaf
        came = [leaf.kind for leaf in bad] + [kinds[t.node.order] for t in node.inputs if t.node is not None]
        made = _worst([_kind(t) for t in node.values or [entry.output]])
        if WORSE.index(made) > WORSE.index(_worst(came)):
            return bad[0] if bad else NonFinite(entry, node.where, made)
        kinds[node.order] = made
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
    parts = _parts(outputs)
    with _quietly():
        for entry in reversed(walk(outputs)):
            own = parts.get(entry.node.order)
            call = _backward_call(entry, own)
            if call and not any([_kind(g) for g in own.values()]):
                kind = next(filter(None, [_kind(g) for g in call() if g is not None]), "")
                if kind:
                    return NonFinite(entry, entry.node.where, kind)
    return None


def _kind(t: Tensor) -> str:
    if t.dtype.kind != "f" or np.isfinite(t._data).all():
        return ""
    return "nan" if np.isnan(t._data).any() else "inf"


def _worst(kinds: Iterable[str]) -> str:
    return max(kinds, key=WORSE.index, default="")
