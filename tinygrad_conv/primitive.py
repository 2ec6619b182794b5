"""The record, second half: Primitive, a named op with its derivatives, and Node, one call of it.

Calling a primitive runs its function on arrays and, if any input requires a gradient and the
recording flag is on, records a Node. Whatever a derivative may rely on is locked or stamped here,
so that a later change is noticed.
"""
from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .core import Tensor, share
from .operands import tensors_of
from .state import state

_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(_home, package, "") for package in ("tinygrad_conv", "nn"))
ARRAYS = (Tensor, np.ndarray)
_creation = itertools.count()  # creation order is a topological order


def _caller() -> tuple[str, int]:
    """File and line of the innermost frame that is not this library's: where the user called."""
    frame = sys._getframe(3)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


class Node:
    """One recorded call: `primitive(*inputs, **params)`.

    `order` is the creation number, `scope` the path of enclosing scopes, `where` the file and line
    of the caller, `stamps` the state of the inputs' memory at the call. `values` holds what an op
    with several outputs made, detached.
    """

    __slots__ = ("primitive", "inputs", "params", "order", "scope", "where", "stamps", "values",
                 "freed")

    def __init__(self, primitive: Primitive, inputs: tuple[Tensor, ...], params: dict[str, Any]):
        self.primitive, self.inputs = primitive, inputs
        self.params = {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in params.items()}
        self.order, self.scope, self.where = next(_creation), state.scope, _caller()
        self.stamps = tuple([t.memory.stamp(t._data) for t in inputs])
        self.values: tuple[Tensor | Freed, ...] | None = None
        self.freed = False

    def lock(self) -> list[tuple[Tensor, bool]]:
        """Make the inputs read-only; returns those that were not, with whether a graph knew them."""
        free = [(t, t.memory.recorded) for t in self.inputs if t._data.flags.writeable]
        for t in self.inputs:
            t._data.flags.writeable = False
            t.memory.recorded = True
        return free

    def free(self, stand_ins: dict[int, tuple[Tensor | Freed, Freed]]) -> None:
        """Release the arrays kept for the derivative; structure and shapes stay, to be drawn.

        Leaves that require gradients and single numbers stay too. The nodes of a graph share
        `stand_ins`, so that a tensor used twice keeps one identity.
        """
        self.inputs = tuple([
            t if t.node is None and (t.requires_grad or t.shape == ())
            else stand_ins.setdefault(id(t), (t, Freed(t)))[1] for t in self.inputs])
        self.values = self.values and tuple([Freed(t) for t in self.values])
        self.freed = True


class Freed:
    """What is left of a tensor once `backward()` has used it: all but its values."""

    __slots__ = ("node", "index", "shape", "dtype", "name", "requires_grad", "memory")

    def __init__(self, t: Tensor | Freed) -> None:
        self.node, self.index, self.name, self.memory = t.node, t.index, t.name, t.memory
        self.shape, self.dtype, self.requires_grad = t.shape, t.dtype, t.requires_grad


class Primitive:
    """A named function on arrays with a vector-Jacobian product for each argument.

    Call it with tensors (arrays and numbers are converted) and pass metadata by keyword. `fn` gets
    plain arrays and returns an array, or a tuple of arrays.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.tanh, tg.tanh.name
        (<primitive tanh>, 'tanh')
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn, self.name = fn, fn.__name__.strip("_")  # a wrapper `conv2d` calls `_conv2d`
        code = getattr(fn, "__code__", None)  # a NumPy ufunc has none
        self.names = code.co_varnames[:code.co_argcount] if code else ()
        self.vjps: tuple[Callable[..., Any] | None, ...] = ()
        self.variadic_vjp: Callable[..., Any] | None = None
        self.cost: Callable[..., int] | None = None
        self.label: Callable[..., str] | None = None
        self.notes: dict[str, str] = {}
        self.broadcasts = False

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def defvjp(self, *vjps: Callable[..., Any] | None) -> None:
        """One VJP per argument: `vjp(g, ans, *inputs, **params)`, tensors in, tensor out.

        `None` says that no gradient flows to that argument. A VJP written in tensor ops that uses
        nothing but its arguments can be differentiated again.
        """
        for vjp in vjps:
            if vjp is not None and not callable(vjp):
                raise TypeError(f"{self.name}.defvjp: expects one function (or None) per argument, got "
                                f"{type(vjp).__name__}")
        self.vjps = vjps

    def defvjp_variadic(self, vjp: Callable[..., Any]) -> None:
        """One VJP for ops of any number of arguments: `vjp(argnum, g, ans, *inputs, **params)`."""
        self.variadic_vjp = vjp

    # ----- facets: what a reader of the tape may ask about a call -----

    def defcost(self, cost: Callable[..., int]) -> None:
        """The multiply-adds of a call: `cost(output, *inputs, **params)`, of shapes; 0 if none is given."""
        self.cost = cost

    def deflabel(self, label: Callable[..., str]) -> None:
        """What pictures write behind the op's name: `label(*inputs, **params)`, of shapes."""
        self.label = label

    def defnotes(self, ans: str = "", **arguments: str) -> None:
        """A few words on how the result, and the gradient of each argument, come about.

        `conv2d.defnotes("summed over c, kh, kw", x="summed over o, kh, kw", ...)`.
        """
        self.notes = {"ans": ans, **arguments}

    def defbroadcast(self) -> None:
        """The op works entry by entry: its arguments broadcast, their gradients are summed back."""
        self.broadcasts = True

    def vjp_for(self, argnum: int) -> Callable[..., Any] | None:
        """The VJP of an argument.

        Raises:
            NotImplementedError: if none is registered.
        """
        if self.variadic_vjp is not None:
            return functools.partial(self.variadic_vjp, argnum)
        if argnum < len(self.vjps):
            return self.vjps[argnum]
        label = f" ({self.names[argnum]!r})" if argnum < len(self.names) else ""
        raise NotImplementedError(f"{self.name} has no VJP for argument {argnum}{label}; register "
                                  f"one with {self.name}.defvjp(...)")

    def _by_position(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[Any, ...]:
        """All arrays, also those given by name as in `mul(x, y=w)`, which are taken from `params`."""
        names = self.names[len(args):]
        given = [i for i, n in enumerate(names) if isinstance(params.get(n), ARRAYS)]
        for name in names[:max(given, default=-1) + 1]:
            if name not in params:
                break
            args += (params.pop(name),)
        for name, value in params.items():
            if isinstance(value, Tensor):
                raise TypeError(f"{self.name}: parameter {name!r} is a tensor, its gradient would be "
                                f"lost; arrays are positional: {self.name}({', '.join(self.names)})")
        return args

    def __call__(self, *args: Any, **params: Any) -> Tensor:  # or a tuple, which unpacks alike
        if params and any([isinstance(v, ARRAYS) for v in params.values()]):
            args = self._by_position(args, params)
        inputs = args
        for a in args:
            if not isinstance(a, Tensor):
                inputs = tensors_of(self.name, args)
                break
        node = None
        if state.recording and any([t._requires_grad for t in inputs]):
            node = Node(self, inputs, params)
            free = node.lock()
        arrays = [t._data for t in inputs]
        try:
            values = self.fn(*arrays, **params)
            several = isinstance(values, tuple)
            values = [_real(v) for v in values] if several else _real(values)
        except BaseException as e:
            if node is not None:
                _unlock(free)
            explained = str(e).startswith(f"{self.name}: ")
            if explained or not isinstance(e, ValueError | IndexError | TypeError):
                raise
            raise self._explain(e, arrays, params) from e
        if "dtype" in params:  # an op that is told its dtype (astype) may widen
            arrays.append(np.empty(0, params["dtype"]))
        if not several:
            return _output(values, arrays, inputs, node, 0)
        if node is not None:
            node.values = ()  # several outputs: also the integer ones are kept for the derivative
        outputs = tuple([_output(v, arrays, inputs, node, i) for i, v in enumerate(values)])
        if node is not None:
            node.values = tuple([t.detach() for t in outputs])
        return outputs

    def _explain(self, e: Exception, arrays: list[np.ndarray], params: dict[str, Any]) -> Exception:
        if str(e).startswith("operands could not be broadcast"):
            return ValueError(f"{self.name}: shapes {' and '.join(str(a.shape) for a in arrays)} do "
                              f"not broadcast; counted from the last, axes must be equal or 1")
        written = "; an op must not write into its inputs" if "read-only" in str(e) else ""
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
        kind = next(k for k in (IndexError, ValueError, TypeError) if isinstance(e, k))
        return kind(f"{self.name}: {e}{written} (inputs {shapes}, parameters {params})")


def _unlock(free: list[tuple[Tensor, bool]]) -> None:
    """As before `Node.lock`: a call that failed leaves nothing behind. Owners of memory first."""
    for t, recorded in sorted(free, key=lambda item: item[0]._data.base is not None):
        t.memory.recorded = recorded
        t._data.flags.writeable = True


def _real(value: Any) -> np.ndarray:
    """What a primitive returned, as an array."""
    array = value if type(value) is np.ndarray else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"the function must return an array of real numbers, got "
                        f"{type(value).__name__} of dtype {array.dtype}")
    return array


def _output(value: np.ndarray, arrays: list[np.ndarray], inputs: tuple[Tensor, ...],
            node: Node | None, index: int) -> Tensor:
    """Wrap what a primitive returned: dtype no wider than the inputs', memory known as shared."""
    if value.dtype.kind == "f" and value.dtype != (arrays[0].dtype if arrays else None):
        floats = [a.dtype for a in arrays if a.dtype.kind == "f"] or [np.dtype(np.float32)]
        widest = max(floats, key=lambda d: d.itemsize)
        value = value.astype(widest) if value.dtype.itemsize > widest.itemsize else value
    memory = None
    if value.base is not None or any([value is a for a in arrays]):
        memory = next((t.memory for t in inputs if np.may_share_memory(value, t._data)), None)
        value = value.view() if memory else value
    t = share(value, memory)
    if node is not None and (value.dtype.kind == "f" or node.values is not None):
        t.memory.recorded, t.memory.result = True, t.memory.result or memory is None
        value.flags.writeable = False
        if value.dtype.kind == "f":
            t.node, t.index, t._requires_grad = node, index, True
    return t


def primitive(fn: Callable[..., Any]) -> Primitive:
    """Make a function on arrays an op; `.defvjp` gives it derivatives.

    Arrays are positional, metadata keyword-only.

    Example:
        >>> @primitive
        ... def cube(x):
        ...     return x * x * x
        >>> cube.defvjp(lambda g, ans, x: 3.0 * g * x * x)
        >>> cube(Tensor([2.0])).data.tolist()
        [8.0]
    """
    return Primitive(fn)
