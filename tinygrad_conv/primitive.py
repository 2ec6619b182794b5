"""An op and everything about it: Primitive, a named function on arrays, and Node, one recorded call of it.

Calling a primitive runs its function on arrays and, if any input requires a gradient and the recording flag
is on, records a Node. Whatever a derivative may rely on is fixed or watched, so that a later
change is noticed. Derivatives, costs and labels are registered on the primitive, beside one another.
"""
from __future__ import annotations

import array
import collections
import copy
import functools
import inspect
import itertools
import operator
import os
import types
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from sys import _getframe, getrefcount
from typing import Any, Generic, ParamSpec, overload

import numpy as np

from .advice import instead
from .core import Fixed, Memory, checksum
from .kernels.table import Kernel, kernels, run
from .operands import tensors_of
from .state import current, tick
from .tensor import Tensor, share

P = ParamSpec("P")
_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OURS = tuple(os.path.join(_home, package, "") for package in ("tinygrad_conv", "nn"))
SMALL = 1024  # numbers: to drop fewer from the tape takes longer than it is worth
_new = object.__new__  # here a constructor's own call would cost more than the rest of it
ndarray = np.ndarray
registered: weakref.WeakSet[Primitive[Any]] = weakref.WeakSet()  # all there are


class _Files(dict[str, bool]):
    """Whether a file is this library's."""

    def __missing__(self, name: str) -> bool:
        ours = self[name] = name.startswith(OURS)
        return ours


_is_ours = _Files()


class Node:
    """One recorded call: `primitive(*inputs, **params)`.

    `order` is the time of the call, `calls` are the enclosing scopes, `code` and `instruction` say where
    the user called; `checksums` are those of inputs whose memory was watched, by position. `values` holds
    what an op with several outputs made, detached. `freed`: a `backward()` has released the arrays. `hooks`
    are those of its results, if there are any.
    """

    __slots__ = ("primitive", "inputs", "params", "order", "calls", "checksums", "code", "instruction",
                 "values", "freed", "hooks", "__weakref__")
    primitive: Primitive[Any]
    inputs: tuple[Any, ...]
    values: tuple[Any, ...] | None
    calls: tuple[str, ...]

    @property
    def scope(self) -> tuple[str, ...]:
        """The names of the enclosing scopes."""
        return tuple(filter(None, self.calls))

    @property
    def where(self) -> tuple[str, int]:
        """File and line of the user's call."""
        line = next(itertools.islice(self.code.co_positions(), self.instruction // 2, None))[0]
        return self.code.co_filename, line or self.code.co_firstlineno


class Outline:
    """What is left of an array when its values are gone."""

    __slots__ = ("shape", "dtype", "ndim", "size")


class Freed:
    """What is left of a tensor that the tape no longer keeps: all but its values.

    `backward()` frees what it has used; a call keeps no values that no derivative needs (`defsaved`).
    """

    __slots__ = ("node", "index", "_data", "name", "_requires_grad", "memory")
    shape, dtype, ndim, size = [property(operator.attrgetter(f"_data.{part}")) for part in Outline.__slots__]
    requires_grad = property(operator.attrgetter("_requires_grad"))

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise RuntimeError("the tape has not kept these values: backward() has freed them, or their op says "
                           "by defsaved that its VJPs need only shape and dtype")


def freed(t: Any) -> Freed:
    """What is left of it."""
    left, outline, array = _new(Freed), _new(Outline), t._data
    outline.shape, outline.dtype = array.shape, array.dtype
    outline.ndim, outline.size = array.ndim, array.size
    left.node, left.index, left.name, left.memory = t.node, t.index, t.name, t.memory
    left._data, left._requires_grad = outline, t._requires_grad
    return left


def free(nodes: Iterable[Node]) -> None:
    """Release the arrays that the calls of a graph keep for the derivative; the rest stays, to be drawn.

    Single numbers stay too, and leaves that require gradients.
    """
    leaves: dict[int, tuple[Any, Freed]] = {}  # a leaf used twice keeps one identity
    for node in nodes:
        if node.freed:  # another thread's backward was quicker
            continue
        node.freed = True  # first: who sees inputs without arrays is told why
        inputs: list[Any] = []
        for t in node.inputs:
            if t._data.ndim and t.node is not None:
                t = freed(t)
            elif t._data.ndim and not t._requires_grad:
                t = leaves.setdefault(id(t), (t, freed(t)))[1]
            inputs.append(t)
        node.inputs = tuple(inputs)
        if node.values is not None:
            node.values = tuple(map(freed, node.values))


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
        if not callable(fn):
            raise TypeError(f"primitive: expects a function on arrays, got {type(fn).__name__}")
        functools.update_wrapper(self, fn)
        ours = str(getattr(fn, "__module__", "")).startswith("tinygrad_conv.")
        self.fn: Callable[..., Any] = fn if ours else _on_views(fn)
        self.name = getattr(fn, "__name__", "op").strip("_")  # a wrapper `conv2d` calls `_conv2d`
        code = getattr(fn, "__code__", None)  # a NumPy ufunc has none
        self.names: tuple[str, ...] = code.co_varnames[:code.co_argcount] if code else ()
        self.several = code is None or bool(code.co_flags & inspect.CO_VARARGS)  # any number of arrays
        self.keywords = None if code is None or code.co_flags & inspect.CO_VARKEYWORDS else {  # None: any
            *code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]}
        self.defaults: dict[str, Any] = getattr(fn, "__kwdefaults__", None) or {}
        self.required = len(self.names) - len(getattr(fn, "__defaults__", None) or ())
        self.vjps: tuple[Callable[..., Any] | None, ...] = ()
        self.variadic_vjp: Callable[..., Any] | None = None
        self.joint_vjp: Callable[..., Any] | None = None
        self.jvps: tuple[Callable[..., Any] | None, ...] = ()
        self.unsaved: tuple[int, ...] = ()  # the arguments whose values no derivative needs
        self.saves_ans = True
        self.examples: dict[str, Callable[..., Any]] = {}
        self.apart = False
        self.cost: Callable[..., int] | None = None
        self.label: Callable[..., str] | None = None
        self.export: str | Callable[..., Any] | None = None
        self.notes: dict[str, str] = {}
        self.varying: tuple[str, ...] = ()
        self.sides: dict[str, str] = {}
        self.broadcasts = False
        self.samples: list[tuple[Any, ...]] = []
        self.axes: dict[str, tuple[str, ...]] = {}
        self.certificate: Any = None  # of the last `tg.certify`
        registered.add(self)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str:
        return getattr(self, "__qualname__", self.name)  # copied and pickled by name; a `partial` has none

    def defvjp(self, *vjps: Callable[..., Any] | None) -> None:
        """One VJP per argument: `vjp(g, ans, *inputs, **params)`, tensors in, tensor out.

        `None` says that no gradient flows to that argument. A VJP written in tensor ops that uses
        nothing but its arguments can be differentiated again.

        Raises:
            TypeError: for anything but functions, or for more VJPs than there are arguments.
        """
        self.vjps = self._row("defvjp", vjps)

    def _row(self, facet: str, functions: tuple[Callable[..., Any] | None, ...]) -> Any:
        for function in functions:
            if function is not None and not callable(function):
                raise TypeError(f"{self.name}.{facet}: expects one function (or None) per argument, got "
                                f"{type(function).__name__}")
        if len(functions) > len(self.names) and not self.several:
            raise TypeError(f"{self.name}.{facet}: expects one function (or None) for each of "
                            f"{', '.join(self.names) or 'no arguments'}, got {len(functions)}")
        return functions

    def defvjp_variadic(self, vjp: Callable[..., Any]) -> None:
        """One VJP for ops of any number of arguments: `vjp(argnum, g, ans, *inputs, **params)`."""
        self.variadic_vjp = vjp

    def defvjp_joint(self, vjp: Callable[..., Any]) -> None:
        """One VJP for all arguments, where their gradients come of the same work: it returns a tuple of them.

        It runs once a call, if any of them is needed.
        """
        self.joint_vjp = vjp

    def defjvp(self, *jvps: Callable[..., Any] | str | None) -> None:
        """One JVP per argument: `jvp(t, ans, *inputs, **params)`, tensors in, tensor out.

        t is a tangent of that argument, the result that of `ans`; of several outputs a tuple, None for zeros.
        "same" says that the op is linear in the argument: the JVP is the op itself, with t in its place.
        Where there is None, or no JVP at all, it is derived from the VJP, at about twice the work. A JVP may
        read the values that a VJP may (`defsaved`).

        Raises:
            TypeError: for what is no function, or for more JVPs than there are arguments.
        """
        self.jvps = self._row("defjvp", tuple([functools.partial(self._same, i) if jvp == "same" else jvp
                                               for i, jvp in enumerate(jvps)]))

    def _same(self, argnum: int, t: Any, ans: Any, *inputs: Any, **params: Any) -> Any:
        return self(*inputs[:argnum], t, *inputs[argnum + 1:], **params)  # type: ignore[arg-type]

    def defsaved(self, *names: str) -> None:
        """Whose values the VJPs need: arguments by name, and "ans"; by default all. The tape keeps no others.

        Of the rest the VJPs get shape and dtype.

        Raises:
            TypeError: for a name that is none of these.
        """
        known = {*self.names, "ans"}
        if not known.issuperset(names):
            raise TypeError(f"{self.name}.defsaved: expects names among {', '.join(sorted(known))}, got "
                            f"{names}")
        self.unsaved = tuple([i for i, name in enumerate(self.names) if name not in names])
        self.saves_ans = "ans" in names

    def defexamples(self, **rules: Callable[..., Any]) -> None:
        """By argument, the VJP where all examples share it: `rule(g, ans, *inputs, **params)`, (N, *shape).

        Axis 0 of the result counts the examples; entry n is the gradient of those terms of which g[n] is a
        factor. A rule that does not fit a call returns None. Ops that work entry by entry need none.
        """
        self.examples = rules

    def defapart(self) -> None:
        """Row n of the result comes of row n of the first argument alone, where axis 0 counts examples."""
        self.apart = True

    # ----- facets: what a reader of the tape may ask about a call -----

    def defcost(self, cost: Callable[..., int]) -> None:
        """The multiply-adds of a call: `cost(output, *inputs, **params)`, of shapes instead of arrays."""
        self.cost = cost

    def deflabel(self, label: Callable[..., str]) -> None:
        """What pictures write behind the op's name: `label(*inputs, **params)`, shapes not arrays."""
        self.label = label

    def defvarying(self, *names: str) -> None:
        """Parameters that say where, not what: the repetitions of a loop in a picture may differ in them."""
        self.varying = names

    def defexport(self, rule: str | Callable[..., Any]) -> None:
        """How `nn.onnx.export` writes a call: the name of an ONNX operator of the same inputs, or a function.

        A name is for ops without parameters. `rule(to, *inputs, **params)` returns the name of the result; of
        several outputs a tuple, which may leave out the last ones. Inputs are names too, which know `.shape`
        and `.dtype`, as does `to.ans`, the result. `to(operator, *inputs, **attributes)` adds a node and
        returns the name of what it makes (with `outputs=2` a tuple); arrays among its inputs become
        constants, None is an input left out. A length that follows the batch is no number: `to.sizes(shape)`
        makes an input of a shape that may hold one.

        Raises:
            TypeError: for what is neither.

        Example:
            >>> import tinygrad_conv as tg
            >>> @tg.primitive
            ... def cube(x):
            ...     return x ** 3
            >>> cube.defexport(lambda to, x: to("Mul", to("Mul", x, x), x))
        """
        if not isinstance(rule, str) and not callable(rule):
            raise TypeError(f"{self.name}.defexport: expects the name of an ONNX operator or a function, got "
                            f"{type(rule).__name__}")
        self.export = rule

    def defkernel(self, family: str, function: Callable[..., Any],
                  serves: Callable[..., bool] | None = None) -> None:
        """Another function for the same op, which computes under a family of kernels, and if it is "auto".

        `serves` says which calls it can take (default: all); the op's own function, of family "numpy", takes
        the rest. Both have the arguments and parameters of the op.

        Example:
            >>> import tinygrad_conv as tg
            >>> @tg.primitive
            ... def square(x):
            ...     return x * x
            >>> square.defkernel("pow", lambda x: x ** 2, serves=lambda x: x.dtype == np.float32)
            >>> with tg.use_kernels("pow"):
            ...     square([3.0]).tolist()
            [9.0]
            >>> from tinygrad_conv.kernels import table
            >>> table.unregister("pow")
        """
        for what in (function, serves):
            if what is not None and not callable(what):
                raise TypeError(f"{self.name}.defkernel: expects a function, got {type(what).__name__}")
        if self not in kernels:
            kernels[self] = [Kernel("numpy", self.fn, None, None)]
            self.fn = functools.partial(run, self)
        kernels[self].insert(0, Kernel(family, _on_views(function), serves, None))

    def defmethod(self) -> None:
        """Let tensors have the op as a method: `t.softplus()`.

        Raises:
            AttributeError: if they have an attribute of that name.
        """
        if hasattr(Tensor, self.name):
            raise AttributeError(f"{self.name}.defmethod: tensors already have an attribute {self.name!r}")
        setattr(Tensor, self.name, functools.wraps(self)(lambda *args, **params: self(*args, **params)))

    def defnotes(self, ans: str = "", **arguments: str) -> None:
        """A few words on how the result, and the gradient of each argument, come about.

        `conv2d.defnotes("summed over c, kh, kw", x="summed over o, kh, kw", ...)`.
        """
        self.notes = {"ans": ans, **arguments}

    def defsides(self, ans: str, **arguments: str) -> None:
        """Where the result and two arguments of a convolution lie: what a microscope must know.

        Windows number the cells of the "small" side, "kernel" are the taps in a window, and the "large" side
        has the cells that windows cover. The call has a parameter `geometry`; small times kernel meet on
        the large side as it says.
        """
        self.sides = {"ans": ans, **arguments}

    def defbroadcast(self) -> None:
        """The op works entry by entry: its arguments broadcast, their gradients are summed back."""
        self.broadcasts = True

    def defsamples(self, samples: Iterable[tuple[Any, ...]], **axes: str) -> None:
        """Calls with which `tg.certify` checks the op: tuples of arguments, a dict at the end by keyword.

        `axes` are the names of an argument's axes, for reports: `defsamples(samples, w="out in kh kw")`.

        Raises:
            TypeError: for a sample that is no tuple, or the axes of what is no argument.
        """
        samples = list(samples)
        for sample in samples:
            if not isinstance(sample, tuple):
                raise TypeError(f"{self.name}.defsamples: expects a list of tuples of arguments, got "
                                f"{type(sample).__name__}; write [(x,)]")
        if not axes.keys() <= {*self.names}:
            raise TypeError(f"{self.name}.defsamples: expects axes of {', '.join(self.names)}, got "
                            f"{', '.join(axes)}")
        self.samples, self.axes = samples, {name: tuple(words.split()) for name, words in axes.items()}

    # ----- calling -----

    def vjps_for(self, count: int) -> Sequence[Callable[..., Any] | None]:
        """The VJPs of a call with `count` inputs; of an argument without one, a function that says so."""
        if len(self.vjps) >= count:
            return self.vjps
        given = self._joint() if self.joint_vjp else self.variadic_vjp or self._no_vjp
        return [*self.vjps, *[functools.partial(given, i) for i in range(len(self.vjps), count)]]

    def vjp_for(self, argnum: int) -> Callable[..., Any] | None:
        """The VJP of one argument."""
        return self.vjps_for(argnum + 1)[argnum]

    def _joint(self) -> Callable[..., Any]:
        """The VJPs of one call, by argument: the first that runs finds the gradients of all."""
        found: list[Any] = []

        def vjp(argnum: int, *call: Any, **params: Any) -> Any:
            if not found:
                gradients = self.joint_vjp(*call, **params)  # type: ignore[misc]
                if not isinstance(gradients, tuple):
                    raise TypeError(f"{self.name}: its joint VJP must return a tuple, a gradient for each "
                                    f"argument, got {type(gradients).__name__}")
                if len(gradients) != len(call) - 2:  # g, ans and the inputs
                    raise TypeError(f"{self.name}: its joint VJP must return a gradient for each of its "
                                    f"{len(call) - 2} arguments, or None, got {len(gradients)}")
                found.extend(gradients)
            return found[argnum]
        return vjp

    def _no_vjp(self, argnum: int, *call: Any, **params: Any) -> Any:
        label = f" ({self.names[argnum]!r})" if argnum < len(self.names) else ""
        raise NotImplementedError(f"{self.name} has no VJP for argument {argnum}{label}; register "
                                  f"one with {self.name}.defvjp(...)")

    def _by_position(self, args: tuple[Any, ...], params: dict[str, Any]) -> tuple[Any, ...]:
        """All arrays, also those given by name as in `mul(x, y=w)`; `params` then holds all the rest."""
        for name, value in self.defaults.items():
            params.setdefault(name, value)  # the VJPs get these too
        for i in range(len(args), len(self.names)):
            value = params.get(self.names[i])
            if value is None or i >= self.required and not isinstance(value, Tensor | np.ndarray):
                break
            args += (params.pop(self.names[i]),)
        for name, value in params.items():
            if value.__class__ in FIXED or value.__class__ is tuple and FIXED.issuperset(map(type, value)):
                continue
            if isinstance(value, Iterator):
                raise TypeError(f"{self.name}: parameter {name!r} is an iterator, used up when the "
                                f"derivative needs it; pass a list")
            if _holds_tensor(value):
                raise TypeError(f"{self.name}: parameter {name!r} is a tensor or holds one, whose gradient "
                                f"would be lost; arrays are positional: {self.name}({', '.join(self.names)})")
        if self.keywords is not None and not params.keys() <= self.keywords:
            self._check_keywords(params)
        return args

    def _check_keywords(self, params: dict[str, Any]) -> None:
        for name in params.keys() - self.keywords:  # type: ignore[operator]
            advice = instead(name, params[name], self.keywords)  # type: ignore[arg-type]
            if advice is not None:
                raise TypeError(f"{self.name}: got an unexpected keyword argument {name!r}{advice} (inputs "
                                f"{', '.join(self.names)})")
            del params[name]

    def __call__(self, *args: P.args, **params: P.kwargs) -> Tensor:  # or a tuple, which unpacks alike
        if params or self.defaults:
            args = self._by_position(args, params)  # type: ignore[assignment]
        arrays, differentiable = [], False
        for a in args:
            if not isinstance(a, Tensor):
                args = tensors_of(self.name, args)  # type: ignore[assignment]
                arrays, differentiable = [t._data for t in args], any([t._requires_grad for t in args])
                break
            arrays.append(a._data)
            if a._requires_grad:
                differentiable = True
        recording, calls, _, backward, _ = current()
        node, unsettled = None, False
        if differentiable and recording:
            node = _new(Node)
            node.primitive, node.inputs, node.values, node.freed = self, args, None, False
            node.order, node.calls, node.checksums = tick(), calls, None  # a change is later from here on
            node.params = {key: _frozen(value) for key, value in params.items()} if params else params
            frame = _getframe(1)
            while _is_ours[frame.f_code.co_filename] and frame.f_back is not None:
                frame = frame.f_back
            node.code, node.instruction = frame.f_code, frame.f_lasti
            for t in args:
                unsettled = unsettled or t.memory.unsettled
            if unsettled:
                node.checksums = {i: checksum(t._data) for i, t in enumerate(args) if t.memory.watched}
        try:
            value = self.fn(*arrays, **params)
            if isinstance(value, tuple):  # also a named one, like those of np.linalg
                value = [_narrowed(np.asarray(v), arrays, params) for v in value]
            else:
                if value.__class__ is not ndarray:
                    value = np.asarray(value)
                if not arrays or value.dtype is not arrays[0].dtype:
                    value = _narrowed(value, arrays, params)
        except Exception as e:
            raise self._explain(e, arrays, params)  # noqa: B904  (which knows its cause)
        if unsettled:
            for t in args:
                if t.memory.unsettled:
                    t.memory.record()
        if node is not None and self.unsaved and arrays[0].size > SMALL:
            node.inputs = self._kept(args)
        if value.__class__ is list:
            return self._several(value, node, args, backward)  # type: ignore[return-value]
        memory = None
        if value.base is not None or getrefcount(value) > ALONE:  # somebody else holds it or its owner
            value, memory = _placed(value, args)
        value.setflags(False)  # write=False, without what a keyword costs
        out: Tensor = _new(Tensor)
        out._data, out.grad, out.index, out.name = value, None, 0, ""
        if node is not None and value.dtype.kind == "f":
            out.node, out._requires_grad, out.memory = node, True, memory or Fixed()
            return out
        out.node, out._requires_grad = None, False
        if memory is None and not backward:
            out._data = value.view()
            out._data.setflags(False)
        out.memory = memory or (Fixed() if backward else Memory())
        return out

    def _kept(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs of a call as the tape keeps them: without large values that no derivative needs."""
        for i in self.unsaved:
            if i < len(args):
                t = args[i]
                if t._data.size > SMALL and t.node is not None and t.memory.__class__ is Fixed and (
                        not t.node.primitive.saves_ans):
                    args = args[:i] + (freed(t),) + args[i + 1:]
        return args

    def _several(self, values: list[np.ndarray], node: Node | None, inputs: tuple[Any, ...],
                 fixed: bool) -> tuple[Tensor, ...]:
        """Wrap the outputs of an op that has several; also the integer ones are kept for the derivative."""
        outputs = []
        for i in range(len(values)):
            value, memory = values[i], None
            if value.base is not None or getrefcount(value) > ALONE + 1:
                value, memory = _placed(value, inputs)
            value.setflags(write=False)
            out = share(value, memory or (Memory() if node is None and not fixed else Fixed()))
            if node is not None and value.dtype.kind == "f":
                out.node, out.index, out._requires_grad = node, i, True
            outputs.append(out)
        if node is not None:
            node.values = tuple([t.detach() if self.saves_ans else freed(t.detach()) for t in outputs])
        return tuple(outputs)

    def _explain(self, e: Exception, arrays: list[np.ndarray], params: dict[str, Any]) -> Exception:
        """The error of a call with the op's name and inputs; one of an unusual kind gets them as a note."""
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
        call = f"(inputs {shapes}, parameters {params})"
        kind = next((k for k in (IndexError, ValueError, TypeError, MemoryError) if isinstance(e, k)), None)
        if kind is None:
            e.add_note(f"in {self.name} {call}")
        if kind is None or str(e).startswith(f"{self.name}: "):
            return e
        advice = ""
        if "read-only" in str(e):
            advice = "; an op must not write into its inputs"
        elif self.names and any(a.ndim == 0 for a in arrays[self.required:]):
            advice = "; arrays are positional, all else goes by keyword"
        explained = kind(f"{self.name}: {e}{advice} {call}")
        if self.broadcasts and str(e).startswith("operands could not be broadcast"):
            explained = ValueError(f"{self.name}: shapes {' and '.join(str(a.shape) for a in arrays)} do "
                                   f"not broadcast; counted from the last, axes must be equal or 1")
        explained.__cause__ = e
        for note in getattr(e, "__notes__", ()):
            explained.add_note(note)
        return explained


def _references() -> int:
    array = np.empty(0)
    return getrefcount(array)


ALONE = _references()  # what Python counts, in this version, for an array that only a local variable holds


def _on_views(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the user's: it may give its arrays another shape, `x.shape = -1`, but not unlock them."""
    @functools.wraps(fn)
    def on_views(*arrays: np.ndarray, **params: Any) -> Any:
        return fn(*[np.asarray(memoryview(a)) for a in arrays], **params)
    return on_views


def _holds_tensor(value: Any) -> bool:
    """Whether a tensor is somewhere in nested containers, of those whose contents `_frozen` copies."""
    if isinstance(value, Tensor):
        return True
    if isinstance(value, collections.UserList | collections.UserDict):
        value = value.data
    if isinstance(value, dict | types.SimpleNamespace):
        value = [*(value if isinstance(value, dict) else vars(value)).values()]
    elif hasattr(value, "__dataclass_params__") and not isinstance(value, type):
        value = [getattr(value, name, None) for name in value.__dataclass_fields__]
    return isinstance(value, tuple | list | set | frozenset | collections.deque) and any(
        [part.__class__ not in FIXED and _holds_tensor(part) for part in value])


FIXED = {int, float, bool, str, type(None)}  # parameters that hold nothing else and never change
PLAIN = (np.ndarray | np.random.Generator | list | dict | set | bytearray | collections.deque
         | types.SimpleNamespace | array.array | collections.UserList | collections.UserDict)


def _frozen(value: Any) -> Any:
    """A parameter that the caller's later changes do not reach."""
    if value.__class__ in FIXED:
        return value
    if isinstance(value, PLAIN):
        return copy.deepcopy(value)
    if isinstance(value, tuple) and not FIXED.issuperset(map(type, value)):
        parts = [part if part.__class__ in FIXED else _frozen(part) for part in value]
        if any(part is not given for part, given in zip(parts, value)):
            return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    elif hasattr(value, "__dataclass_params__") and not isinstance(value, type):
        try:
            hash(value if value.__dataclass_params__.frozen else [])
        except TypeError:  # it, or something inside, can change
            return copy.deepcopy(value)
    return value


def _narrowed(array: np.ndarray, arrays: list[np.ndarray], params: dict[str, Any]) -> np.ndarray:
    """What a primitive returned, in a dtype no wider than the inputs'."""
    if array.dtype.kind not in "fiub":
        kind = type(array.item()).__name__ if array.ndim == 0 else ""
        got = {"NoneType": "None; does it lack a return?", "": f"dtype {array.dtype}"}.get(kind, kind)
        raise TypeError(f"the function must return an array of real numbers, or a tuple of them, got {got}")
    if array.dtype.kind != "f":
        return array
    floats = [a.dtype for a in arrays if a.dtype.kind == "f"] or [np.dtype(np.float32)]
    wanted = [np.dtype(params["dtype"])] if "dtype" in params else []  # astype may widen
    widest = max(floats + wanted, key=lambda d: d.itemsize)
    return array.astype(widest) if array.dtype.itemsize > widest.itemsize else array


def _placed(value: np.ndarray, inputs: tuple[Any, ...]) -> tuple[np.ndarray, Any]:
    """A result and, if it is an input's, its memory; copied if somebody else holds its owner."""
    owner = value if value.base is None else value.base  # NumPy keeps no views of views
    for t in inputs:
        if t._data is owner or t._data.base is owner:
            return value, t.memory
    if isinstance(owner, ndarray) and owner is not value and owner.base is None and (
            getrefcount(owner) <= ALONE + 1):  # the result holds it, and nobody else
        owner.setflags(write=False)
        return value, None
    for t in inputs:  # as_strided, or memory that is not NumPy's
        if np.may_share_memory(value, t._data):
            return value, t.memory
    return value.copy(order="K"), None


@overload
def primitive(fn: Callable[P, Any]) -> Primitive[P]: ...
@overload
def primitive(*, samples: Iterable[tuple[Any, ...]]) -> Callable[[Callable[P, Any]], Primitive[P]]: ...
def primitive(fn: Any = ..., *, samples: Iterable[tuple[Any, ...]] = ()) -> Any:
    """Make a function on arrays an op, which `defvjp` gives derivatives of every order.

    Arrays are positional; everything else is keyword-only (`def op(x, y, *, axis)`) and reaches the VJPs
    under the same keyword. There is one VJP for each array, `vjp(g, ans, *inputs, **params)`: g is the
    cotangent, ans the result, and all of them are tensors. It uses only these and constants: an array kept
    from the forward pass would make second derivatives silently wrong. Broadcasting need not be undone.
    `None` in place of a VJP says that no gradient flows. An op with several outputs returns a tuple; g and
    ans are then tuples. An op of any number of arrays takes one VJP, whose first argument is the position
    of the array: `op.defvjp_variadic(lambda i, g, ans, *inputs: ...)`. Where the gradients come of the same
    work, one function may return all, as a tuple: `op.defvjp_joint(...)`. VJPs that need only the shapes of
    some arguments may say so: `op.defsaved("x")` keeps x alone. Tangents, those of `tg.jvp`, follow from the
    VJPs; `op.defjvp(...)` can give them at less work. Never write into an input. Numbers, words,
    arrays and their lists, tuples, dictionaries and data classes are copied for the VJPs where they could
    change; leave any other object that is a parameter as it is until `backward()`.
    `tg.certify` tests it all, with `@tg.primitive(samples=[(x,)])` or `op.defsamples([(x,)])`.

    Example:
        >>> import tinygrad_conv as tg
        >>> @tg.primitive
        ... def softplus2(x):
        ...     return np.logaddexp2(0, x)
        >>> softplus2.defvjp(lambda g, ans, x: g * tg.sigmoid(x * float(np.log(2))))
        >>> tg.check_grads(softplus2, (np.array([-1.0, 0.0, 2.0]),), order=3)
        >>> round(tg.grad(tg.grad(softplus2))(0.0).item(), 6)
        0.173287
    """
    if fn is ...:
        return functools.partial(primitive, samples=samples)
    op: Primitive[Any] = Primitive(fn)
    op.defsamples(samples)
    return op
