"""Gradients as users ask for them: `t.backward()`, and `grad` and `vjp` of functions.

All are one `pull` over the tape; they differ in where it starts, which gradients are wanted, and
whether it is recorded.
"""
from collections.abc import Callable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from . import ops
from .arguments import whole
from .core import Fixed, as_array, exchange
from .tensor import Tensor, share
from .primitive import ALONE, free
from .pullback import pull
from .state import State, current, enter, is_recording, recording
from .tape import reach, walk


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
    if not (gradient.requires_grad or is_recording()):
        gradient = share(gradient._data, Fixed())  # for the pass; the user's own stays writeable
    return gradient if gradient.dtype == t.dtype else ops.astype(gradient, dtype=t.dtype)


def backward(t: Tensor, gradient: Any = None, create_graph: bool = False,
             retain_graph: bool | None = None) -> None:
    """What `Tensor.backward` does; its documentation is there."""
    if not t.requires_grad:
        raise RuntimeError("backward: this tensor does not require a gradient; make an input with "
                           "requires_grad=True, outside no_grad()")
    outside, done = current(), False
    try:
        enter(State(create_graph, outside.calls, outside, outside.backward))
        calls = reach([t])
        found = [*pull([t], [_seed(t, gradient)], calls=calls).values()]
        leaves = [leaf for leaf, _ in found]
        while not done:  # again, if another thread's backward came between
            before = [leaf.grad for leaf in leaves]
            done = exchange(leaves, "grad", before, _totals(found, before))
    finally:
        enter(outside)
    if not (create_graph if retain_graph is None else retain_graph):
        free(outputs[0].node for outputs in calls.values())


def _totals(found: Sequence[tuple[Tensor, Tensor]], before: Sequence[Any]) -> list[Tensor]:
    """What each leaf's `.grad` becomes: the gradient, added to what was there before."""
    for leaf, old in zip([leaf for leaf, _ in found], before):
        if old is not None and np.shape(old) != leaf.shape:
            raise ValueError(f"backward: .grad of a leaf of shape {leaf.shape} was set to shape "
                             f"{np.shape(old)}; set it to None, or to zeros of the leaf's shape")
    own = iter(_own([g for (_, g), old in zip(found, before) if old is None]))
    return [next(own) if old is None else ops.add(old, g) for (_, g), old in zip(found, before)]


def _own(gradients: list[Tensor]) -> list[Tensor]:
    """The gradients, each a tensor of its own on memory that is nobody else's (or, if recorded, fixed)."""
    own, given = [], set()
    for g in gradients:
        if not (g.requires_grad and is_recording()):
            alone = getrefcount(g) == ALONE + 2  # held here, by the list, and beside its leaf
            g = share(_handed(g._data) if alone and g.node is None else g._data.copy(order="K"))
        elif g.node is None or (g.node.order, g.index) in given:
            g = ops.identity(g)
        else:
            given.add((g.node.order, g.index))
        own.append(g)
    return own


def _handed(array: np.ndarray) -> np.ndarray:
    """The array of a tensor that nobody else holds; a copy if anything else lies on its memory."""
    view = array.base is not None
    owner = array.base if view else array
    alone = getrefcount(array) == ALONE + (1 if view else 2) and (  # ours, the tensor's, and `owner`
        not view or getrefcount(owner) == ALONE + 1)
    if not (alone and isinstance(owner, np.ndarray) and owner.flags.owndata and owner.nbytes == array.nbytes
            and min(array.strides, default=0) >= 0):
        return array.copy(order="K")
    owner.setflags(write=True)
    array.setflags(write=True)
    return array


def _fresh(x: Any) -> Tensor:
    """A tensor to differentiate with respect to, connected to an outer differentiation if x is in one."""
    if isinstance(x, Tensor) and x.requires_grad:
        return ops.identity(x)
    t = x.detach() if isinstance(x, Tensor) else share(as_array(x, copy=True, what="grad"))
    t.requires_grad = True
    return t


def _gradients(outputs: Sequence[Tensor], cotangents: Sequence[Tensor],
               targets: Sequence[Tensor]) -> list[Tensor]:
    """Gradients with respect to `targets`; recorded only if something outside could differentiate them."""
    own = {id(t) for t in targets}
    used = [x for entry in walk([*outputs, *cotangents]) for x in entry.node.inputs]
    outside = any(x.requires_grad and x.node is None and id(x) not in own
                  for x in (*used, *cotangents))
    with recording(is_recording() and outside):
        found = pull(outputs, cotangents, targets)
        return _own([found[id(t)][1] if id(t) in found else share(np.zeros_like(t._data)) for t in targets])


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function: `grad(f)(x)` has the shape of `x`. Nests to any order.

    Args:
        f: a function of tensors that returns a tensor with one value.
        argnums: position(s) of the argument(s) to differentiate with respect to; several give a tuple.

    Raises:
        TypeError: if `f` does not return one value.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.grad(tg.grad(lambda x: x * x * x))(tg.tensor(2.0)).item()
        12.0
    """
    if not callable(f):
        raise TypeError(f"grad: expects a function, got {type(f).__name__}; of a tensor that is "
                        f"computed already, take the gradient with y.backward()")
    single = not isinstance(argnums, Sequence)
    wanted = [whole(i, "grad", "argnums") for i in ((argnums,) if single else argnums)]

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
        return result[0] if single else tuple(result)

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
    if not callable(f):
        raise TypeError(f"vjp: expects a function, got {type(f).__name__}")
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
