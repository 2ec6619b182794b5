"""The first value that is not finite, forward or backward: which op made it, in which module and line."""
from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .primitive import OURS, Node, Primitive
from .state import current
from .tensor import Tensor
from .watching import Function, unwatch, watch

_judging: ContextVar[bool] = ContextVar("judging", default=False)
_lock = threading.RLock()
_open: list[object] = []  # blocks, of all threads


@contextmanager
def detect_anomaly() -> Iterator[None]:
    """Context manager and decorator: inside, the first op or derivative that makes nan or inf raises.

    Every result of an op and of a derivative is looked at, which takes about as long as a sum of its entries;
    what a derivative computes on the way is its own affair, and so is a sum in the `.grad` of a leaf.
    Infinities that come of one in a constant are taken to be intended, like the -inf of a mask before a
    softmax, until they make nan. Ops of other threads are not judged.

    Raises:
        FloatingPointError: in the block, naming the op, the place in its result, the module and the line of
            the user's call. Inside an `nn.Module` it also carries the picture `e.graph` of what led there.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
        >>> with tg.detect_anomaly():
        ...     try:
        ...         tg.sqrt(x).sum().backward()
        ...     except FloatingPointError as error:
        ...         print(str(error).split("; ")[0])
        sqrt: the gradient of argument 0 (x) has 1 nan or inf among 2 values, first inf at [1], of
        finite numbers
    """
    outside, block = _judging.set(True), object()
    try:
        with _lock:
            _open.append(block)
            watch(_judged)
        yield
    finally:
        _judging.reset(outside)
        with _lock:
            _open.remove(block)
            if not _open:
                unwatch(_judged)


def _judged(call: Function, vjps_for: Function) -> tuple[Function, Function]:
    def judged_call(self: Primitive[Any], *args: Any, **params: Any) -> Any:
        made = call(self, *args, **params)
        if _judging.get():
            for t in made if isinstance(made, tuple) else (made,):
                _judge(t, f"{self.name}: the result", "argument", args)
        return made

    def judged_vjps_for(self: Primitive[Any], count: int) -> Sequence[Callable[..., Any] | None]:
        return [vjp and _judged_vjp(self, i, vjp) for i, vjp in enumerate(vjps_for(self, count))]
    return judged_call, judged_vjps_for


def _judged_vjp(op: Primitive[Any], i: int, vjp: Callable[..., Any]) -> Callable[..., Any]:
    name = f" ({op.names[i]})" if i < len(op.names) else ""

    def judged(g: Any, ans: Any, *inputs: Any, **params: Any) -> Any:
        outside = _judging.get()
        _judging.set(False)
        try:
            gx = vjp(g, ans, *inputs, **params)
        finally:
            _judging.set(outside)
        if outside and isinstance(gx, Tensor):
            node: Node = (ans[0] if isinstance(ans, tuple) else ans).node
            given = g if isinstance(g, tuple) else (g,)
            _judge(gx, f"{op.name}: the gradient of argument {i}{name}", "cotangent", given, node)
        return gx
    return judged


def _judge(t: Tensor, what: str, kind: str, given: tuple[Any, ...], node: Node | None = None) -> None:
    """Raise if not all values are finite, which an op, or a derivative of `node`, made of what is given."""
    wrong = _wrong(t)
    if wrong is None:
        return
    bad = [(i, x, x_wrong) for i, x in enumerate(given) if (x_wrong := _wrong(x)) is not None]
    if node is None and not np.isnan(t._data).any() and any(map(_is_meant, [x for _, x, _ in bad])):
        return
    first = np.unravel_index(np.argmax(wrong), t.shape)
    source = next((f"{kind} {i}, which holds {_array(x)[x_wrong][0]}" for i, x, x_wrong in bad),
                  "finite numbers")
    module = ".".join(filter(None, node.calls if node else current().calls))
    file, line = node.where if node else _line()
    raise FloatingPointError(
        f"{what} has {np.count_nonzero(wrong)} nan or inf among {t.size} values, first {t._data[first]} at "
        f"{[*map(int, first)]}, of {source}; {f'in {module}, ' * bool(module)}called in {file}, line {line}")


def _array(x: Any) -> np.ndarray:
    return np.asarray(x._data if isinstance(x, Tensor) else x)


def _wrong(x: Any) -> np.ndarray | None:
    """Where the values of an argument are not finite; None if all are."""
    finite = np.isfinite(_array(x))
    return None if finite.all() else ~finite


def _is_meant(x: Any) -> bool:
    """Whether values that are infinite are taken to be intended: not those of a leaf that is trained."""
    return not (isinstance(x, Tensor) and x.requires_grad and x.is_leaf)


def _line() -> tuple[str, int]:
    """File and line of the user's call that is under way."""
    return next(((frame.f_code.co_filename, line) for frame, line in traceback.walk_stack(None)
                 if not frame.f_code.co_filename.startswith(OURS)), ("", 0))
