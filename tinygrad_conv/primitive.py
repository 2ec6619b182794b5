"""An op and everything about it: Primitive, a named function on arrays, and Node, one recorded call of it.

Calling a primitive runs its function on arrays and, if any input requires a gradient and the recording flag
is on, records a Node. Whatever a derivative may rely on is fixed or stamped here, so that a later
change is noticed. Derivatives, costs and labels are registered on the primitive, beside one another.
"""
from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable
from types import CodeType
from typing import Any, Generic, ParamSpec

import numpy as np

from .core import Fixed, Memory
from .operands import tensors_of
from .state import current
from .tensor import Tensor

P = ParamSpec("P")
_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(_home, package, "") for package in ("tinygrad_conv", "nn"))
_creation = itertools.count()  # creation order is a topological order
_new = Tensor.__new__


class _Files(dict[str, bool]):
    """Whether a file is this library's."""

    def __missing__(self, name: str) -> bool:
        ours = self[name] = name.startswith(OURS)
        return ours


_is_ours = _Files()


def _caller() -> tuple[CodeType, int]:
    """The innermost frame that is not this library's, as code and instruction: what to find its line by."""
    frame = sys._getframe(3)
    while _is_ours[frame.f_code.co_filename] and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code, frame.f_lasti


class Node:
    """One recorded call: `primitive(*inputs, **params)`.

    `order` is the creation number, `scope` the path of enclosing scopes, `stamps` the state of each input's
    memory at the call (None where it is fixed). `values` holds what an op
    with several outputs made, detached.
    """

    __slots__ = ("primitive", "inputs", "params", "order", "scope", "caller", "stamps", "values", "freed")

    def __init__(self, primitive: Primitive[Any], inputs: tuple[Any, ...], params: dict[str, Any],
                 scope: tuple[str, ...], stamps: list[Any]) -> None:
        self.primitive, self.inputs, self.params = primitive, inputs, params
        self.order, self.scope, self.stamps, self.caller = next(_creation), scope, stamps, _caller()
        self.values: tuple[Any, ...] | None = None
        self.freed = False
        for t in inputs:
            if t.memory.__class__ is not Fixed:
                t.memory.recorded = True

    @property
    def where(self) -> tuple[str, int]:
        """File and line of the user's call."""
        code, instruction = self.caller
        line = next(itertools.islice(code.co_positions(), instruction // 2, None))[0]
        return code.co_filename, line or code.co_firstlineno

    def free(self, stand_ins: dict[int, tuple[Any, Freed]]) -> None:
        """Release the arrays kept for the derivative; structure and shapes stay, to be drawn.

        Leaves that require gradients and single numbers stay too. The nodes of a graph share
        `stand_ins`, so that a tensor used twice keeps one identity.
        """
        inputs = []
        for t in self.inputs:
            if t.node is not None or not (t._requires_grad or t.shape == ()):
                known = stand_ins.get(id(t))
                if known is None:
                    known = stand_ins[id(t)] = t, Freed(t)
                t = known[1]
            inputs.append(t)
        self.inputs = tuple(inputs)
        self.values = self.values and tuple([Freed(t) for t in self.values])
        self.freed = True


class Freed:
    """What is left of a tensor once `backward()` has used it: all but its values."""

    __slots__ = ("node", "index", "shape", "dtype", "name", "_requires_grad", "memory")

    def __init__(self, t: Tensor | Freed) -> None:
        self.node, self.index, self.name, self.memory = t.node, t.index, t.name, t.memory
        self.shape, self.dtype, self._requires_grad = t.shape, t.dtype, t._requires_grad

    @property
    def requires_grad(self) -> bool:
        """Whether the tensor did."""
        return self._requires_grad


class Primitive(Generic[P]):
    """A named function on arrays with a vector-Jacobian product for each argument.

    Call it with tensors (arrays and numbers are converted) and pass metadata by keyword. `fn` gets
    plain arrays and returns an array, or a tuple of arrays.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.tanh, tg.tanh.name
        (<primitive tanh>, 'tanh')
    """

    def __init__(self, fn: Callable[P, Any]) -> None:
        functools.update_wrapper(self, fn)
        self.fn: Callable[..., Any] = fn
        self.name = fn.__name__.strip("_")  # a wrapper `conv2d` calls `_conv2d`
        code = getattr(fn, "__code__", None)  # a NumPy ufunc has none
        self.names: tuple[str, ...] = code.co_varnames[:code.co_argcount] if code else ()
        self.required = len(self.names) - len(getattr(fn, "__defaults__", None) or ())
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

    # ----- calling -----

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
        for i in range(len(args), len(self.names)):
            value = params.get(self.names[i])
            if value is None or i >= self.required and not isinstance(value, Tensor | np.ndarray):
                break
            args += (params.pop(self.names[i]),)
        for name, value in params.items():
            if isinstance(value, Tensor):
                raise TypeError(f"{self.name}: parameter {name!r} is a tensor, its gradient would be "
                                f"lost; arrays are positional: {self.name}({', '.join(self.names)})")
        return args

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:  # or a tuple, which unpacks alike
        if params:
            args = self._by_position(args, params)  # type: ignore[assignment]
        inputs: Any = args
        for a in args:
            if not isinstance(a, Tensor):
                inputs = tensors_of(self.name, args)
                break
        state = current()
        record = state.recording and any([t._requires_grad for t in inputs])
        if record:
            stamps = [None if t.memory.__class__ is Fixed else t.memory.stamp(t._data) for t in inputs]
            kept = {key: _frozen(value) for key, value in params.items()}
        arrays = [t._data for t in inputs]
        try:
            values = self.fn(*arrays, **params)
            several = values.__class__ is tuple
            made = [_result(v, arrays, params) for v in (values if several else (values,))]
        except (ValueError, IndexError, TypeError) as e:
            if str(e).startswith(f"{self.name}: "):
                raise
            raise self._explain(e, arrays, params) from e
        node = None
        if record and (several or made[0].dtype.kind == "f"):
            node = Node(self, inputs, kept, state.scope, stamps)
        if not several:
            return _output(made[0], inputs, node, 0)
        outputs = tuple([_output(value, inputs, node, i) for i, value in enumerate(made)])
        if node is not None:  # also the integer ones are kept for the derivative
            node.values = tuple([t.detach() for t in outputs])
        return outputs  # type: ignore[return-value]

    def _explain(self, e: Exception, arrays: list[np.ndarray], params: dict[str, Any]) -> Exception:
        if str(e).startswith("operands could not be broadcast"):
            return ValueError(f"{self.name}: shapes {' and '.join(str(a.shape) for a in arrays)} do "
                              f"not broadcast; counted from the last, axes must be equal or 1")
        written = "; an op must not write into its inputs" if "read-only" in str(e) else ""
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
        kind = next(k for k in (IndexError, ValueError, TypeError) if isinstance(e, k))
        return kind(f"{self.name}: {e}{written} (inputs {shapes}, parameters {params})")


def _frozen(value: Any) -> Any:
    """A parameter that later changes by the caller do not reach."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | set):
        return type(value)(map(_frozen, value))
    if isinstance(value, dict):
        return {k: _frozen(v) for k, v in value.items()}
    if type(value) is tuple:
        return tuple(map(_frozen, value))
    return value


def _result(value: Any, arrays: list[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    """What a primitive returned, as an array of a dtype no wider than the inputs'."""
    array = value if value.__class__ is np.ndarray else np.asarray(value)
    if arrays and array.dtype is arrays[0].dtype:
        return array
    if array.dtype.kind not in "fiub":
        raise TypeError(f"the function must return an array of real numbers, got "
                        f"{type(value).__name__} of dtype {array.dtype}")
    if array.dtype.kind != "f":
        return array
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"] or [np.dtype(np.float32)]
    told = [np.dtype(params["dtype"])] if "dtype" in params else []  # astype may widen
    widest = max(floats + told, key=lambda d: d.itemsize)
    return array.astype(widest) if array.dtype.itemsize > widest.itemsize else array


def _owner(array: np.ndarray) -> Any:
    """What holds the memory: the array itself, or its base (NumPy keeps no views of views)."""
    return array if array.base is None else array.base


def _output(value: np.ndarray, inputs: tuple[Tensor, ...], node: Node | None, index: int) -> Tensor:
    """Wrap what a primitive returned, on an input's memory, on fixed memory, or on memory free to change."""
    owner, memory = _owner(value), None
    for t in inputs:
        if _owner(t._data) is owner:
            memory = t.memory
    if owner is not value and memory is None:
        if isinstance(owner, np.ndarray):
            owner.setflags(False)  # a buffer that the op may use again, or that somebody holds
        else:  # as_strided, or memory that is not NumPy's
            memory = next((t.memory for t in inputs if np.may_share_memory(value, t._data)), None)
            value = value.copy() if memory is None else value
    value.setflags(False)
    out: Tensor = _new(Tensor)
    out._data, out.grad, out.index, out.name = value, None, index, ""
    if node is None or value.dtype.kind != "f":
        out.node, out._requires_grad = None, False
    else:
        out.node, out._requires_grad = node, True
    out.memory = memory or (Memory() if node is None else Fixed())
    return out


def primitive(fn: Callable[P, Any]) -> Primitive[P]:
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
