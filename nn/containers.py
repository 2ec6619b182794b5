"""Modules that hold modules: Sequential runs them in turn, ModuleList and ModuleDict only keep."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .module import Module


class _Indexed(Module):
    """Children named by their position."""

    def append(self, module: Module) -> _Indexed:
        """Add a module at the end; returns self."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: expects modules, got {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, i: int | slice) -> Any:
        modules = list(self._modules.values())
        if isinstance(i, slice):
            return type(self)._of(modules[i])
        if not -len(modules) <= i < len(modules):
            raise IndexError(f"{type(self).__name__}: index {i} is out of range for {len(modules)} "
                             f"modules")
        return modules[i]

    @classmethod
    def _of(cls, modules: list[Module]) -> Any:
        raise NotImplementedError


class Sequential(_Indexed):
    """Modules applied one after the other.

    Args:
        modules: the modules, or one mapping of names to modules.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> len(net), net[0].out_features
        (2, 3)
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, m in modules[0].items():
                setattr(self, name, m)
        else:
            for m in modules:
                self.append(m)

    @classmethod
    def _of(cls, modules: list[Module]) -> Sequential:
        return cls(*modules)

    def forward(self, x: Any) -> Any:
        for m in self._modules.values():
            x = m(x)
        return x


class ModuleList(_Indexed):
    """A list of modules whose parameters are found; call them yourself.

    Example:
        >>> import nn
        >>> len(list(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]).parameters()))
        4
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        for m in modules:
            self.append(m)

    @classmethod
    def _of(cls, modules: list[Module]) -> ModuleList:
        return cls(modules)

    def append(self, module: Module) -> _Indexed:
        """Add a module at the end; returns self."""
        super().append(module)
        self._enter_scope(self._scope)
        return self

    def _enter_scope(self, name: str) -> None:
        super()._enter_scope(name)
        for key, m in self._modules.items():
            m._enter_scope(f"{name}.{key}" if name else key)


class ModuleDict(Module):
    """A dictionary of modules whose parameters are found; call them yourself.

    Example:
        >>> import nn
        >>> nn.ModuleDict({"a": nn.Linear(2, 3)})["a"].out_features
        3
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        for name, m in (modules or {}).items():
            self[name] = m

    def __setitem__(self, name: str, module: Module) -> None:
        setattr(self, name, module)
        self._enter_scope(self._scope)

    def __getitem__(self, name: str) -> Module:
        if name not in self._modules:
            raise KeyError(f"ModuleDict: no module {name!r}; there are {', '.join(self._modules)}")
        return self._modules[name]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def keys(self) -> Any:
        """Names."""
        return self._modules.keys()

    def values(self) -> Any:
        """Modules."""
        return self._modules.values()

    def items(self) -> Any:
        """(name, module) pairs."""
        return self._modules.items()

    def _enter_scope(self, name: str) -> None:
        super()._enter_scope(name)
        for key, m in self._modules.items():
            m._enter_scope(f"{name}.{key}" if name else key)
