"""Derivatives as users ask for them: `t.backward()`, and `grad`, `vjp` and `jvp` of functions.

All are one `pull` over the tape, or one `push`; they differ in where it starts, what is wanted, and
whether it is recorded. Arguments and results of functions may be trees: lists, tuples and dictionaries of
tensors.
"""
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from sys import getrefcount
from typing import Any

import numpy as np

from . import ops
from .arguments import instance, whole
from .core import Fixed, as_array, exchange
from .forward import push
from .tensor import Tensor, share
from .primitive import ALONE, free
from .pullback import pull
from .state import State, current, enter, is_recording, recording
from .tape import reach, walk
from .trees import leaves, matched, rebuilt


def _seed(t: Tensor, gradient: Any) -> Tensor:
    if gradient is None:
        if t.size != 1:
            raise RuntimeError(f"backward: a gradient is only implied for a single value, this "
                               f"tensor has shape {t.shape}; call .sum() or .mean() first, or pass "
                               f"gradient=")
        return share(np.ones_like(t._data))
    return _beside(t, gradient, "backward: gradient")


def _beside(t: Tensor, gradient: Any, what: str) -> Tensor:
    """A cotangent or tangent of t, with its shape and dtype."""
    if not isinstance(gradient, Tensor):
        gradient = share(as_array(gradient, copy=True, dtype=t.dtype, what=what.replace(":", "")))
    if gradient.shape != t.shape:
        raise ValueError(f"{what} has shape {gradient.shape}, the tensor {t.shape}; "
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
        calls_around = (*_level(t), *outside.calls) if create_graph else outside.calls
        enter(State(create_graph, calls_around, outside, outside.backward))
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


def _level(t: Tensor) -> list[str]:
    """The scope of what belongs to a backward of t, and to the derivative of none of its calls."""
    return ["backward", *takewhile("backward".__eq__, t.node.calls if t.node else ())]


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


def fresh(tree: Any) -> Any:
    """The tree with tensors to differentiate with respect to; recording must be on."""
    return rebuilt(tree, map(_fresh, leaves(tree)))


def _parted(op: str, y: Any, has_aux: bool) -> Any:
    """A result and what comes with it."""
    if not has_aux:
        return y, None
    if not isinstance(y, tuple) or len(y) != 2:
        raise TypeError(f"{op}: with has_aux=True the function must return a pair (result, aux), got "
                        f"{type(y).__name__}")
    return y


def traced(op: str, f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any],
           has_aux: bool = False) -> tuple[Any, list[Tensor], Any]:
    """What f returns: its result, the tensors in it, and what comes with it if `has_aux`."""
    y, aux = _parted(op, f(*args, **kwargs), has_aux)
    for t in [y] if y is None else leaves(y):
        if not isinstance(t, Tensor):
            raise TypeError(f"{op}: expects a function that returns tensors (one, or a tuple, list or "
                            f"dictionary of them), got {type(t).__name__}")
    return y, leaves(y), aux


def _outside(outputs: Iterable[Tensor], targets: Iterable[Tensor]) -> bool:
    """Whether `outputs` depend on leaves that require gradients and are not among the targets."""
    own, outputs = {id(t) for t in targets}, [*outputs]
    used = [x for entry in walk(outputs) for x in entry.node.inputs]
    return any(x.requires_grad and x.node is None and id(x) not in own for x in (*used, *outputs))


def released(tree: Any, targets: Iterable[Tensor] = ()) -> Any:
    """The tree, its tensors detached unless something outside could differentiate them."""
    found = leaves(tree)
    if is_recording() and _outside([t for t in found if isinstance(t, Tensor)], targets):
        return tree
    return rebuilt(tree, [t.detach() if isinstance(t, Tensor) and t.requires_grad else t for t in found])


def gradients(outputs: Sequence[Tensor], cotangents: Sequence[Tensor],
              targets: Sequence[Tensor]) -> list[Tensor]:
    """Gradients with respect to `targets`; recorded only if something outside could differentiate them."""
    with recording(is_recording() and _outside([*outputs, *cotangents], targets)):
        found = pull(outputs, cotangents, targets)
        return _own([found[id(t)][1] if id(t) in found else share(np.zeros_like(t._data)) for t in targets])


def pushed(outputs: Sequence[Tensor], tangents: Sequence[tuple[Any, Tensor | None]]) -> list[Tensor]:
    """The tangents of `outputs`, zeros where nothing arrives, from pairs (target, its tangent or None).

    Recorded as `gradients` are.
    """
    pairs = [(x, t) for x, t in tangents if t is not None]
    used = [*outputs, *[t for _, t in pairs]]
    with recording(is_recording() and _outside(used, [x for x, _ in tangents])):
        moved = push(outputs, [x for x, _ in pairs], [t for _, t in pairs])
        return _own([share(np.zeros_like(y._data)) if t is None else t for y, t in zip(outputs, moved)])


def finished(targets: Iterable[Any]) -> None:
    """Leaves made for a derivative that is known by now: to others they are constants."""
    for t in targets:
        if isinstance(t, Tensor) and t.node is None:
            t.requires_grad = False


class Selected:
    """The arguments of a function that `argnums` chooses; `argnums` and the function are checked at once."""

    def __init__(self, op: str, f: Callable[..., Any], argnums: int | Sequence[int]) -> None:
        instance(f, Callable, op, "a function", "; of a tensor that is computed already, take the gradient "
                 "with y.backward()")
        if isinstance(argnums, Tensor | np.ndarray | float):
            raise TypeError(f"{op}: expects argnums second, whole numbers; it gives a function: "
                            f"tg.{op}(f)(x)")
        self.op, self.argnums, self.single = op, argnums, not isinstance(argnums, Sequence)
        self.wanted = [whole(i, op, "argnums") for i in ([argnums] if self.single else argnums)]

    def of(self, args: Sequence[Any]) -> tuple[list[Any], list[Any], list[Tensor]]:
        """All arguments, the chosen ones fresh; these alone; and their leaves."""
        nums = [i + len(args) if i < 0 else i for i in self.wanted]
        if not all(0 <= i < len(args) for i in nums):
            raise TypeError(f"{self.op}: argnums={self.argnums} but the function got {len(args)} positional "
                            f"arguments")
        chosen = {i: fresh(args[i]) for i in nums}
        trees = [chosen[i] for i in nums]
        return [chosen.get(i, a) for i, a in enumerate(args)], trees, [t for x in trees for t in leaves(x)]

    def built(self, trees: Sequence[Any], values: Iterable[Any]) -> Any:
        """Values for all leaves, arranged as the chosen arguments are."""
        left: Iterator[Any] = iter(values)
        found = [rebuilt(tree, left) for tree in trees]
        return found[0] if self.single else tuple(found)


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0,
                   has_aux: bool = False) -> Callable[..., Any]:
    """The value of a scalar function and its gradient, of one evaluation: `value_and_grad(f)(x)` is a pair.

    Arguments as for `grad`; with `has_aux` the value is the pair (value, aux).

    Raises:
        TypeError: if `f` does not return one value.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, g = tg.value_and_grad(lambda x: (x * x).sum())(tg.tensor([1.0, 2.0]))
        >>> y.item(), g.tolist()
        (5.0, [2.0, 4.0])
    """
    gradient_too = _with_gradient("value_and_grad", f, argnums, has_aux)

    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        y, aux, found = gradient_too(*args, **kwargs)
        return released((y, aux) if has_aux else y), found

    return value_and_gradient


def _with_gradient(op: str, f: Callable[..., Any], argnums: int | Sequence[int],
                   has_aux: bool) -> Callable[..., Any]:
    """The value of f, what comes with it, and the gradient."""
    selected = Selected(op, f, argnums)

    def gradient_too(*args: Any, **kwargs: Any) -> Any:
        with recording(True):
            args, trees, targets = selected.of(args)  # type: ignore[assignment]
            y, aux = _parted(op, f(*args, **kwargs), has_aux)
        if not isinstance(y, Tensor) or y.size != 1:
            advice = "does it lack a return?" if y is None else "leave out item() or float()"
            got = (f"shape {y.shape}; sum it, or use tg.vjp" if isinstance(y, Tensor) else
                   f"{type(y).__name__}; {advice}")
            raise TypeError(f"{op}: expects a function that returns a tensor with one value, got {got}")
        found = gradients([y], [share(np.ones_like(y._data))], targets)
        finished(targets)
        return y, aux, selected.built(trees, found)

    return gradient_too


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0,
         has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a scalar function: `grad(f)(x)` has the shape of `x`. Nests to any order.

    Args:
        f: a function of tensors, or of lists, tuples and dictionaries of them, that returns a tensor with one
            value.
        argnums: position(s) of the argument(s) to differentiate with respect to; several give a tuple.
        has_aux: whether `f` returns a pair (value, aux), of which aux is not differentiated but handed on:
            the result is then (gradient, aux).

    Raises:
        TypeError: if `f` does not return one value.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.grad(tg.grad(lambda x: x * x * x))(tg.tensor(2.0)).item()
        12.0
        >>> tg.grad(lambda p: p["w"] * p["b"])({"w": tg.tensor(2.0), "b": tg.tensor(3.0)})["w"].item()
        3.0
    """
    gradient_too = _with_gradient("grad", f, argnums, has_aux)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        _, aux, found = gradient_too(*args, **kwargs)
        return (found, released(aux)) if has_aux else found

    return gradient


def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """`f(*primals)` and the map from a cotangent of its output to cotangents of the primals.

    Args:
        f: a function that returns a tensor, or a tuple, list or dictionary of tensors. The map takes one
            cotangent, of the same structure; of a tuple one for each part.
        primals: tensors, arrays or numbers (floats), or lists, tuples and dictionaries of them.
        has_aux: whether `f` returns a pair (result, aux), of which aux is not differentiated: then a third
            result is aux.

    Raises:
        TypeError: if f returns something else.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, pullback = tg.vjp(lambda x: x * x, tg.tensor([1.0, 2.0]))
        >>> pullback(tg.tensor([1.0, 10.0]))[0].data.tolist()
        [2.0, 40.0]
    """
    instance(f, Callable, "vjp", "a function")
    with recording(True):
        inner = tuple(map(fresh, primals))
        y, outputs, aux = traced("vjp", f, inner, {}, has_aux)

    def pullback(*cotangents: Any) -> tuple[Any, ...]:
        parts = y if isinstance(y, tuple) else (y,)
        if len(cotangents) != len(parts):
            raise TypeError(f"vjp: the function has {len(parts)} outputs, got {len(cotangents)} "
                            f"cotangents")
        given = matched(tuple(parts), cotangents, "vjp: cotangents")
        seeds = [_seed(t, g) for t, g in zip(outputs, given)]
        return rebuilt(inner, gradients(outputs, seeds, leaves(inner)))  # type: ignore[no-any-return]

    return (y, pullback, released(aux, leaves(inner))) if has_aux else (y, pullback)


def linearize(f: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """`f(*primals)` and the map from tangents of the primals to that of the output: `jvp` with f run once.

    Args:
        f: a function as for `vjp`; the tangent has the structure of its result.
        primals: as for `vjp`. The map takes a tangent for each, of the same structure, or None for 0.

    Raises:
        TypeError: if f returns something else.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, pushforward = tg.linearize(lambda x: x * x, tg.tensor([1.0, 2.0]))
        >>> pushforward(tg.tensor([1.0, 10.0])).tolist()
        [2.0, 40.0]
    """
    instance(f, Callable, "linearize", "a function")
    with recording(True):
        inner = tuple(map(fresh, primals))
        y, outputs, _ = traced("linearize", f, inner, {})

    def pushforward(*tangents: Any) -> Any:
        given = _in_each("linearize", inner, tangents)
        return rebuilt(y, _moved("linearize", outputs, leaves(inner), given))

    return released(y, leaves(inner)), pushforward


def jvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """`f(*primals)` and its derivative in the direction of `tangents`: a pair. Nests to any order.

    Args:
        f: a function that returns a tensor, or a tuple, list or dictionary of tensors.
        primals: its arguments: tensors, arrays, numbers, or lists, tuples and dictionaries of them.
        tangents: one for each, of the same structure. None stands for 0, also for all of a list or
            dictionary; such an argument need not be floating point.
        has_aux: whether `f` returns a pair (result, aux); then a third result is aux.

    Returns:
        the output and its tangent, of the same structure (of integers zeros).

    Raises:
        TypeError: if numbers of arguments or structures differ, or f returns something else.
        ValueError: if the shapes of a primal and its tangent differ.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, t = tg.jvp(lambda x, w: (x * w).sum(), (tg.ones(2), tg.tensor([3.0, 4.0])), (tg.ones(2), None))
        >>> y.item(), t.item()
        (7.0, 7.0)
    """
    instance(f, Callable, "jvp", "a function")
    for name, value in (("primals", primals), ("tangents", tangents)):
        instance(value, tuple | list, "jvp", f"a tuple of {name}", "; write (x,)")
    given = _in_each("jvp", primals, tangents)
    with recording(True):
        values = [x if t is None else _fresh(x) for x, t in zip(_in_each("jvp", primals, primals), given)]
        left = iter(values)
        y, outputs, aux = traced("jvp", f, [rebuilt(x, left) for x in primals], {}, has_aux)
    moved = rebuilt(y, _moved("jvp", outputs, values, given))
    own = [x for x, t in zip(values, given) if t is not None]
    finished(own)
    return (released(y), moved, released(aux)) if has_aux else (released(y), moved)


def _in_each(op: str, primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """What is in the tangents, in the order of what is in the primals."""
    if len(primals) != len(tangents):
        raise TypeError(f"{op}: there are {len(primals)} primals, got {len(tangents)} tangents")
    return [leaf for i, x in enumerate(primals) for leaf in matched(x, tangents[i], f"{op}: tangents[{i}]")]


def _moved(op: str, outputs: Sequence[Tensor], targets: Sequence[Any],
           tangents: Sequence[Any]) -> list[Tensor]:
    """The tangents of `outputs` due to those of the targets, None for 0."""
    return pushed(outputs, [(x, t if t is None else _beside(x, t, f"{op}: tangent"))
                            for x, t in zip(targets, tangents)])
