"""Module: a tree of named parameters, buffers and modules with a forward function.

Everything is kept in the order in which it was assigned; dotted names and the keys of a state are
PyTorch's.
"""
from __future__ import annotations

import copy
import sys
from collections import UserList, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from types import FunctionType, SimpleNamespace
from typing import Any, NamedTuple, Self

import numpy as np

import tinygrad_conv as tg

from ..advice import HIDDEN, KERAS, METHODS
from .hooks import Hooks, add, hooked_call

# attributes that are found in the tree, and what they must be
KINDS = {"parameter": "a Parameter", "buffer": "a tensor", "module": "a Module"}


class Parameter(tg.Tensor):
    """A tensor that a module trains: a leaf that requires a gradient.

    Args:
        data: anything `tg.Tensor` takes, floating point; copied.
        requires_grad: False for one that is kept fixed.

    Raises:
        TypeError: for data that cannot be differentiated.

    Example:
        >>> Parameter([1.0, 2.0]).requires_grad
        True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class LoadResult(NamedTuple):
    """What a load did not find in the state, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class of layers and networks: assign parameters and modules in `__init__`, compute in
    `forward`.

    Example:
        >>> import nn
        >>> class Twice(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.inner = nn.Linear(2, 2)
        ...     def forward(self, x):
        ...         return self.inner(self.inner(x))
        >>> [name for name, _ in Twice().named_parameters()]
        ['inner.weight', 'inner.bias']
    """

    training: bool
    _hooks: Hooks | None = None

    def __init__(self) -> None:
        # the kind of each attribute that has one; the scope is the name by which the parent calls it
        self.__dict__.update(_kinds={}, training=True)
        self._enter_scope("")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(); define it, or call the "
                                  f"modules it holds one by one")

    def __call__(self, *args: Any, **kwargs: Any) -> tg.Tensor:
        with self._frame:
            try:
                y = (self.forward(*args, **kwargs) if self._hooks is None else
                     hooked_call(self, self._hooks, args, kwargs))
                if y is None:
                    raise TypeError(f"{type(self).__name__}.forward returned None; does it lack a return?")
                return y
            except Exception as e:
                _locate(e, self)
                raise

    # ----- attributes -----

    def __setattr__(self, name: str, value: Any) -> None:
        if "_kinds" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning "
                                 f"{name!r}")
        kind = self._kind(name, value)
        own = getattr(type(self), name, None)
        if kind and hasattr(type(self), name) or isinstance(own, FunctionType) and not callable(value):
            raise AttributeError(f"{type(self).__name__}: {name!r} is a method or attribute of the class, "
                                 f"one would hide the other; {HIDDEN.get(name, 'choose another name')}")
        if own is None and name in HIDDEN:
            raise AttributeError(f"{type(self).__name__}: {name!r} would do nothing; {HIDDEN[name]}")
        if isinstance(value, Module):
            if any(m is self for m in value.modules()):
                raise ValueError(f"{type(self).__name__}: {name!r} would make the module contain itself; "
                                 f"pass what it needs to forward() instead")
            value._enter_scope(name)
            for inner, t in (*value._parameters().items(), *value.named_buffers()):
                t.name = f"{name}.{inner}"
        elif kind and value is not None:
            value.name = value.name or name
        if kind:  # `_kinds` anew: a copy has its own; both at once, whatever interrupts
            self.__dict__.update({name: value, "_kinds": {**self._kinds, name: kind}})
        else:
            object.__setattr__(self, name, value)

    def _kind(self, name: str, value: Any) -> str | None:
        """What `value` is under that name: one of KINDS, or None for a plain attribute."""
        if isinstance(value, Parameter | Module):
            return "parameter" if isinstance(value, Parameter) else "module"
        kind = self._kinds.get(name)
        if kind and value is not None and not (kind == "buffer" and isinstance(value, tg.Tensor)):
            raise TypeError(f"{type(self).__name__}: {name!r} must be {KINDS[kind]} or None, got "
                            f"{type(value).__name__}; values are changed with {name}.mutate()[...]")
        return kind

    def _check_held(self) -> None:
        """Refuse a plain container of modules or parameters that are not found in the tree."""
        known = {*map(id, self.modules()), *map(id, self._parameters().values())}
        for path, m in self.named_modules():
            for name, value in vars(m).items():
                if name in m._kinds or not _opener(type(value)):
                    continue
                for part in parts_of(value):
                    if isinstance(part, Parameter | Module) and id(part) not in known:
                        kind = type(part).__name__
                        advice = ("assign each to an attribute of its own, or use register_parameter(name, p)"
                                  if isinstance(part, Parameter) else "use nn.ModuleList or nn.ModuleDict")
                        raise TypeError(
                            f"{type(self).__name__}: {joined(path, name)!r} is a plain "
                            f"{type(value).__name__} that holds a {kind}, which would be neither trained nor "
                            f"saved, nor in eval(); {advice}; object.__setattr__(self, name, it) hides it")

    def _of_kind(self, kind: str) -> dict[str, Any]:
        """Its own parameters, buffers or modules by name, in order; None where a place is kept."""
        return {name: vars(self)[name] for name, k in self._kinds.items() if k == kind}

    def __getattr__(self, name: str) -> Any:  # only called for what is not there
        if name in ("_kinds", "_scope", "_frame", "training"):
            raise AttributeError(f"{type(self).__name__}: call super().__init__() first")
        text = tg.advice.missing(type(self).__name__, name, METHODS | KERAS)
        raise AttributeError(text, name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        kinds = {other: kind for other, kind in self._kinds.items() if other != name}
        if kinds != self._kinds and name in vars(self):
            self.__dict__["_kinds"] = kinds  # first: an interrupt then leaves a plain attribute
        object.__delattr__(self, name)

    def _enter_scope(self, name: str, around: str = "") -> None:
        """Go by a name on the tape; `around` are the classes of the lists whose names it begins with."""
        kind = joined(around, type(self).__name__)
        self.__dict__.update(_scope=name, _frame=tg.scope(name, kind=kind))

    def _declare(self, op: str, kind: str, name: str, value: Any, fits: bool) -> None:
        if value is not None and not fits:
            raise TypeError(f"{op}: {name!r} must be {KINDS[kind]} or None, got {type(value).__name__}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{op}: expects a name without dots, got {name!r}")
        if self._kinds.get(name) != kind and hasattr(self, name):
            raise ValueError(f"{op}: {type(self).__name__} already has an attribute {name!r}")
        self.__dict__.update({name: vars(self).get(name), "_kinds": {**self._kinds, name: kind}})
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Declare a parameter; None keeps its place empty.

        Raises:
            TypeError: if it is not a Parameter. ValueError: if the name is taken or has a dot.
        """
        self._declare("register_parameter", "parameter", name, value, isinstance(value, Parameter))

    def register_buffer(self, name: str, value: tg.Tensor | None) -> None:
        """Declare a tensor that is saved with the module but not trained; None keeps its place.

        Raises:
            TypeError: if it is not a tensor. ValueError: if the name is taken or has a dot.
        """
        self._declare("register_buffer", "buffer", name, value,
                      isinstance(value, tg.Tensor) and not isinstance(value, Parameter))

    def add_module(self, name: str, module: Module | None) -> None:
        """Declare a submodule under a name that need not be a Python name ("0").

        Raises:
            TypeError: if it is not a Module. ValueError: if the name is taken or has a dot.
        """
        self._declare("add_module", "module", name, module, isinstance(module, Module))

    # ----- the tree below -----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules, in order."""
        return ((name, m) for name, m in self._of_kind("module").items() if m is not None)

    def children(self) -> Iterator[Module]:
        """Direct submodules, in order."""
        return (m for _, m in self.named_children())

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module ("") and all below, each once, with dotted names."""
        return _once(self._paths())

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (m for _, m in self.named_modules())

    def _paths(self) -> Iterator[tuple[str, Module]]:
        """This module and all below with dotted names; a shared one under each of its names."""
        stack: list[tuple[str, Module]] = [("", self)]
        while stack:
            path, m = stack.pop()
            yield path, m
            stack += [(joined(path, name), child) for name, child in m.named_children()][::-1]

    def _depth(self) -> int:
        """How deep modules are nested, this one included."""
        depth, level = 0, {id(self): self}
        while level:
            depth, level = depth + 1, {id(child): child for m in level.values() for child in m.children()}
        return depth

    def _parameters(self) -> dict[str, Parameter]:
        return dict(_once((joined(path, name), p) for path, m in self.named_modules()
                          for name, p in m._of_kind("parameter").items() if p is not None))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, in order; a shared one once.

        Raises:
            TypeError: if a plain list or the like holds modules or parameters that are not among them.
        """
        self._check_held()
        return iter(self._parameters().items())

    def parameters(self) -> Iterator[Parameter]:
        """Parameters in order; a shared one once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, tg.Tensor]]:
        """Buffers with dotted names, in order; a shared one once."""
        return _once((joined(path, name), b) for path, m in self.named_modules()
                     for name, b in m._of_kind("buffer").items() if b is not None)

    def buffers(self) -> Iterator[tg.Tensor]:
        """Buffers in order; a shared one once."""
        return (b for _, b in self.named_buffers())

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The modules' own random generators (dropout) with dotted names; a shared one once.

        Their `bit_generator.state` is as much a part of a training run as the weights.
        """
        return _once((joined(path, name), value) for path, m in self.named_modules()
                     for name, value in vars(m).items() if isinstance(value, np.random.Generator))

    def apply(self, f: Callable[[Module], Any]) -> Self:
        """Call `f` on every module below, children before parents, and on this one; returns self."""
        stack = [(self, self.children())]
        while stack:
            m, rest = stack[-1]
            if (child := next(rest, None)) is not None:
                stack.append((child, child.children()))
            else:
                f(m)
                stack.pop()
        return self

    # ----- hooks: called whenever the module is -----

    def _hung(self) -> Hooks:
        return vars(self).setdefault("_hooks", Hooks())

    def register_forward_pre_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                                  with_kwargs: bool = False) -> tg.Handle:
        """Call `hook(module, args)` before each forward; what it returns, unless None, replaces args.

        Args:
            hook: returns None, a tuple of arguments, or one that is no tuple.
            prepend: run before the hooks that are there, instead of after.
            with_kwargs: `hook(module, args, kwargs)`, which returns None or (args, kwargs).

        Returns:
            a handle: `handle.remove()`, or the end of `with handle:`, takes the hook away.

        Raises:
            TypeError: if `hook` is no function.
        """
        return add("register_forward_pre_hook", self._hung().before, hook, prepend, with_kwargs)

    def register_forward_hook(self, hook: Callable[..., Any], *, prepend: bool = False,
                              with_kwargs: bool = False, always_call: bool = False) -> tg.Handle:
        """Call `hook(module, args, y)` after each forward; what it returns, unless None, replaces y.

        Args:
            prepend: run before the hooks that are there, instead of after.
            with_kwargs: `hook(module, args, kwargs, y)`.
            always_call: also if the forward, or a hook, raises; y is then None if there is no result.

        Returns:
            a handle: `handle.remove()`, or the end of `with handle:`, takes the hook away.

        Raises:
            TypeError: if `hook` is no function.

        Example:
            >>> import nn
            >>> layer, shapes = nn.Linear(3, 2), []
            >>> with layer.register_forward_hook(lambda module, args, y: shapes.append(y.shape)):
            ...     y = layer(tg.ones(4, 3))
            >>> shapes
            [(4, 2)]
        """
        return add("register_forward_hook", self._hung().after, hook, prepend, with_kwargs, always_call)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> tg.Handle:
        """Call `hook(module, grad_input, grad_output)` once the gradients of the arguments are there.

        Both are tuples, an entry for each positional argument and each result; None for one that has no
        gradient. If no argument has one, the hook runs with those of the results. What it returns, unless
        None, replaces grad_input.

        Args:
            hook: returns None or a tuple as long as grad_input.
            prepend: run before the hooks that are there, instead of after.

        Returns:
            a handle: `handle.remove()`, or the end of `with handle:`, takes the hook away.

        Raises:
            TypeError: if `hook` is no function, or, in the backward pass, returns anything else.
        """
        return add("register_full_backward_hook", self._hung().backward, hook, prepend)

    # ----- modes and gradients -----

    def train(self, mode: bool = True) -> Self:
        """Training mode (dropout drops, batch norm uses the batch) for all modules below.

        A module that is to stay frozen overrides this: `return super().train(False)`.
        """
        stack = [self]
        while stack:
            m = stack.pop()
            if m is not self and type(m).train is not Module.train:
                m.train(mode)
            else:
                vars(m)["training"] = bool(mode)
                stack += m.children()
        return self

    def eval(self) -> Self:
        """Evaluation mode.

        Raises:
            TypeError: as `named_parameters`.
        """
        self._check_held()
        return self.train(False)

    @tg.advice.advised
    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self._parameters().values():
            p.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or train all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    # ----- state -----

    def _state(self) -> dict[str, tg.Tensor]:
        return {joined(path, name): t for path, m in self._paths()
                for kind in ("parameter", "buffer") for name, t in m._of_kind(kind).items() if t is not None}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Read-only copies of all parameters and buffers by dotted name, in PyTorch's order.

        What is shared appears under each of its names, as in PyTorch.

        Raises:
            TypeError: as `named_parameters`.
        """
        self._check_held()
        state = {name: np.array(t.detach().numpy(), order="C") for name, t in self._state().items()}
        for a in state.values():
            a.flags.writeable = False
        return state

    @tg.advice.advised
    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy values in by name; shapes must be equal. On an error nothing has changed.

        Args:
            state: arrays or tensors by dotted name.
            strict: whether missing and unexpected names are errors.

        Returns:
            the missing and the unexpected names (both empty if `strict`).

        Raises:
            RuntimeError: listing every missing, unexpected and mis-shaped entry.
            TypeError: if `state` is not a mapping.

        Example:
            >>> import nn
            >>> nn.Linear(3, 2).load_state_dict({"weight": np.ones((2, 3)), "b": 0}, strict=False)
            LoadResult(missing_keys=['bias'], unexpected_keys=['b'])
        """
        tg.arguments.instance(state, Mapping, "load_state_dict", "a mapping of names to arrays",
                              "; pass module.state_dict() or nn.load(path)")
        self._check_held()
        own = self._state()
        given = {name: _array(name, state[name]) for name in own if name in state}
        result = LoadResult([name for name in own if name not in state],
                            [name for name in state if name not in own])
        faults = {
            "missing": result.missing_keys if strict else [],
            "unexpected": result.unexpected_keys if strict else [],
            "of another shape": [f"{name} (expects {own[name].shape}, got {a.shape})"
                                 for name, a in given.items() if a.shape != own[name].shape],
            "of another kind": [f"{name} (expects {own[name].dtype}, got {a.dtype})"
                                for name, a in given.items()
                                if not np.can_cast(a.dtype, own[name].dtype, "same_kind")]}
        text = "; ".join(f"{what}: {', '.join(map(str, names))}" for what, names in faults.items() if names)
        if text:
            if result.unexpected_keys and {"model", "optimizer"} <= {str(k).split(".")[0] for k in state}:
                text = ("this is the checkpoint of a whole run; nn.fit(..., checkpoint=folder, resume=True) "
                        "continues it, and best.safetensors beside it has weights alone; " + text)
            raise RuntimeError(f"load_state_dict: {type(self).__name__} was not changed; {text}")
        tg.change([own[name] for name in given], lambda _: given.values())
        return result

    # ----- printing -----

    def extra_repr(self) -> str:
        """What is printed between the brackets in the tree."""
        return ""

    def __repr__(self) -> str:
        lines: list[str] = []
        stack: list[tuple[str, Any]] = [("", self)]
        while stack:
            start, m = stack.pop()
            indent = start[:len(start) - len(start.lstrip())]
            if isinstance(m, str):  # the end of one with children
                lines.append(start + m)
            elif m is None or m is not self and type(m).__repr__ is not Module.__repr__:
                lines.append(start + repr(m).replace("\n", "\n" + indent))
            else:
                extra, children = m.extra_repr(), m._of_kind("module")
                lines.append(f"{start}{type(m).__name__}(" + ("" if children else f"{extra})"))
                lines += [f"{indent}  {extra}"] * bool(children and extra)
                stack += [(indent, ")")] * bool(children)
                stack += [(f"{indent}  ({name}): ", child) for name, child in children.items()][::-1]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """The tree for a notebook, with the number of parameters in each branch."""
        lines: list[tuple[int, str]] = []
        stack: list[tuple[int, str, Any]] = [(0, "", self)]
        while stack:
            depth, name, m = stack.pop()
            children = m._of_kind("module") if isinstance(m, Module) else {}
            count = sum(p.size for p in m.parameters()) if isinstance(m, Module) else 0
            kind = type(m).__name__ if children else repr(m)
            lines.append((depth, f"{name} {kind}".strip() + f": {count:,} parameters" * (count > 0)))
            stack += [(depth + 1, child_name, child) for child_name, child in children.items()][::-1]
        return tg.tree_html(lines)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        for path, m in [*self.named_modules()][::-1]:  # what is below first, so that no copy goes deep
            if id(m) in memo:
                continue
            new = memo[id(m)] = type(m).__new__(type(m))
            try:
                state = copy.deepcopy(m.__getstate__(), memo)
            except RuntimeError as e:
                kept = [joined(path, name) for name, value in vars(m).items()
                        if any(isinstance(t, tg.Tensor) and not t.is_leaf for t in parts_of(value))]
                raise RuntimeError(f"deepcopy: {type(self).__name__} keeps what an op computed, in "
                                   f"{' and '.join(kept) or path}; {e}") from None
            getattr(new, "__setstate__", vars(new).update)(state)
        return memo[id(self)]


def _locate(e: Any, module: Module) -> None:
    """Note where in the tree `e` was raised: each module it passes adds its name to one note.

    The innermost makes the picture of what was computed until then (`e.graph`).
    """
    kind = type(module).__name__
    if isinstance(e, RecursionError):  # a path and a picture would be as deep
        if not module._scope:
            e.add_note(f"in {kind}, whose modules are nested {module._depth()} deep: each takes some of the "
                       f"{sys.getrecursionlimit()} calls that Python nests (sys.setrecursionlimit)")
        return
    tg.attach_failure(e)
    inner = vars(e).get("module_path")
    if inner is None:
        path, e.module_kind = module._scope or kind, kind
    else:
        path, note = f"{module._scope or kind}.{inner}", f"in {inner} ({e.module_kind})"
        e.__notes__ = [n for n in e.__notes__ if n != note]
    e.module_path = path
    e.add_note(f"in {path} ({e.module_kind})")


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value.detach() if isinstance(value, tg.Tensor) else value)
    except (ValueError, TypeError, RuntimeError) as e:  # ragged lists; torch's bfloat16, and its parameters
        raise TypeError(f"load_state_dict: {name} is not an array: {e}") from None


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode inside a `with` block; then every module is as it was."""
    kept, modes = zip(*[(vars(m), {"training": m.training}) for m in model.modules()])
    try:
        model.eval()
        yield
    finally:
        deque(map(dict.update, kept, modes), 0)  # no interrupt comes in between


def joined(path: str, name: str) -> str:
    """The dotted name below a path."""
    return f"{path}.{name}" if path else name


def tensors_in(y: Any) -> Iterator[tg.Tensor]:
    """The tensors in what a model returned: tuples, lists and dictionaries are searched."""
    if isinstance(y, tg.Tensor):
        yield y
    elif isinstance(y, Mapping | tuple | list):
        for part in y.values() if isinstance(y, Mapping) else y:
            yield from tensors_in(part)


def _opener(kind: type) -> Callable[[Any], Iterable[Any]] | None:
    """What gives the parts of a plain container of that type; None for what is none."""
    if issubclass(kind, Module):
        return None
    if issubclass(kind, list | tuple | set | frozenset | deque | UserList):
        return iter
    if issubclass(kind, Mapping):
        return lambda value: chain(value.keys(), value.values())
    if issubclass(kind, SimpleNamespace):
        return lambda value: vars(value).values()
    if issubclass(kind, np.ndarray):
        return lambda value: value.flat if value.dtype == object else ()
    fields = getattr(kind, "__dataclass_fields__", None)
    return fields and (lambda value: [getattr(value, field, None) for field in fields])


def parts_of(value: Any) -> Iterator[Any]:
    """Modules and tensors in plain containers, whatever they are nested in: lists, tuples, dictionaries,
    sets, deques, arrays of objects, data classes."""
    level, seen = [value], {id(value): value}
    while level:
        inner: list[Any] = []
        for kind in dict.fromkeys(map(type, level)):  # by type: a million numbers or pairs are soon done
            same = [v for v in level if type(v) is kind]
            if (parts := _opener(kind)) is None:
                yield from same
            else:
                inner += chain.from_iterable(map(parts, same))
        kinds = {kind for kind in set(map(type, inner))
                 if issubclass(kind, Module | tg.Tensor) or _opener(kind)}
        inner = [v for v in inner if type(v) in kinds] if kinds else []
        found = dict(zip(map(id, inner), inner))
        level = [v for key, v in found.items() if key not in seen]
        seen |= found


def _once(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Without what was seen under an earlier name."""
    first: dict[int, tuple[str, Any]] = {}
    for name, value in named:
        first.setdefault(id(value), (name, value))
    return iter(first.values())
