"""Module: a tree of named parameters, buffers and modules with a forward function.

Everything is kept in the order in which it was assigned; dotted names and the keys of a state are
PyTorch's. May import the engine's public names only.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .parameter import Parameter
from ..advice import METHODS, missing
from .state import LoadResult, copies, load_into
from .tree import Tree, joined

HOMES = {"_parameters": "a Parameter", "_buffers": "a tensor", "_modules": "a Module"}


class Module(Tree):
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

    def __init__(self) -> None:
        for home in HOMES:
            object.__setattr__(self, home, {})
        object.__setattr__(self, "training", True)
        object.__setattr__(self, "_scope", "")  # the name its parent calls it by

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(); define it, or call the "
                                  f"modules it holds one by one")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not self._scope:
                return self.forward(*args, **kwargs)
            with tg.scope(self._scope):
                return self.forward(*args, **kwargs)
        except Exception as e:
            _locate(e, self)
            raise

    # ----- attributes -----

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning "
                                 f"{name!r}")
        home = self._home(name, value)
        if home is not None and hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__}: {name!r} is a method or attribute of the class "
                                 f"and would hide what is assigned; choose another name")
        if isinstance(value, Module):
            if any(m is self for m in value.modules()):
                raise ValueError(f"{type(self).__name__}: {name!r} would make the module contain itself; "
                                 f"pass what it needs to forward() instead")
            value._enter_scope(name)
            for inner, t in (*value.named_parameters(), *value.named_buffers()):
                t.name = f"{name}.{inner}"
        elif home is not None and value is not None:
            value.name = value.name or name
        for other in (self.__dict__, *self._homes()):
            if other is not home:
                other.pop(name, None)
        if home is None:
            object.__setattr__(self, name, value)
        else:
            home[name] = value

    def _homes(self) -> list[dict[str, Any]]:
        return [self.__dict__[home] for home in HOMES]

    def _home(self, name: str, value: Any) -> dict[str, Any] | None:
        """The dictionary that `value` belongs in under `name`; None for a plain attribute."""
        if isinstance(value, Parameter):
            return self._parameters
        if isinstance(value, Module):
            return self._modules
        key = next((key for key in HOMES if name in self.__dict__[key]), None)
        if key is None:
            return None
        if value is not None and not (key == "_buffers" and isinstance(value, tg.Tensor)):
            raise TypeError(f"{type(self).__name__}: {name!r} must be {HOMES[key]} or None, got "
                            f"{type(value).__name__}; values are changed with {name}.mutate()[...]")
        return self.__dict__[key]

    def __getattr__(self, name: str) -> Any:  # only called for what is not a plain attribute
        own = self.__dict__
        for home in HOMES:
            if home in own and name in own[home]:
                return own[home][name]
        if name in (*HOMES, "_scope", "training"):
            raise AttributeError(f"{type(self).__name__}: call super().__init__() first")
        raise AttributeError(missing(type(self).__name__, name, METHODS), name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        for home in self._homes():
            if name in home:
                del home[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for home in self._homes() for name in home)})

    def _enter_scope(self, name: str) -> None:
        object.__setattr__(self, "_scope", name)

    def _declare(self, op: str, home: str, name: str, value: Any, fits: bool) -> None:
        if value is not None and not fits:
            raise TypeError(f"{op}: {name!r} must be {HOMES[home]} or None, got {type(value).__name__}")
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{op}: expects a name without dots, got {name!r}")
        declared = getattr(self, home)
        if name not in declared and hasattr(self, name):
            raise ValueError(f"{op}: {type(self).__name__} already has an attribute {name!r}")
        declared.setdefault(name)
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Declare a parameter; None keeps its place empty.

        Raises:
            TypeError: if it is not a Parameter. ValueError: if the name is taken or has a dot.
        """
        self._declare("register_parameter", "_parameters", name, value, isinstance(value, Parameter))

    def register_buffer(self, name: str, value: tg.Tensor | None) -> None:
        """Declare a tensor that is saved with the module but not trained; None keeps its place.

        Raises:
            TypeError: if it is not a tensor. ValueError: if the name is taken or has a dot.
        """
        fits = isinstance(value, tg.Tensor) and not isinstance(value, Parameter)
        self._declare("register_buffer", "_buffers", name, value, fits)

    def add_module(self, name: str, module: Module | None) -> None:
        """Declare a submodule under a name that need not be a Python name ("0").

        Raises:
            TypeError: if it is not a Module. ValueError: if the name is taken or has a dot.
        """
        self._declare("add_module", "_modules", name, module, isinstance(module, Module))

    # ----- state -----

    def _state(self) -> dict[str, tg.Tensor]:
        return {joined(path, name): t for path, m in self._paths()
                for name, t in (*m._parameters.items(), *m._buffers.items()) if t is not None}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Read-only copies of all parameters and buffers by dotted name, in PyTorch's order.

        What is shared appears under each of its names, as in PyTorch.
        """
        return copies(self._state())

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
        return load_into(self._state(), state, strict, type(self).__name__)

    # ----- printing -----

    def extra_repr(self) -> str:
        """What is printed between the brackets in the tree."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): " + repr(m).replace("\n", "\n  ") for name, m in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}(", *([extra] if extra else []), *lines]) + "\n)"


def _locate(e: Exception, module: Module) -> None:
    """Note where in the tree `e` was raised: each module it passes adds its name to one note.

    The picture of what was computed until then (`e.graph`) learns the kinds of modules on the way.
    """
    kind = type(module).__name__
    with tg.scope(*filter(None, [module._scope])):
        tg.attach_failure(e, {path: type(m).__name__ for path, m in module._called()})
    inner = vars(e).get("module_path")
    if inner is None:
        path, e.module_kind = module._scope or kind, kind
    else:
        path, note = f"{module._scope or kind}.{inner}", f"in {inner} ({e.module_kind})"
        e.__notes__ = [n for n in e.__notes__ if n != note]
    e.module_path = path
    e.add_note(f"in {path} ({e.module_kind})")
