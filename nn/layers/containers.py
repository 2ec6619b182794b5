"""Modules that hold modules: Sequential runs them in turn, ModuleList and ModuleDict only keep them."""
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import tinygrad_conv as tg

from .module import Module, joined


class _Container(Module):
    """What all three share: children that are modules, and their number."""

    def _add(self, name: str, module: Module) -> None:
        advice = f" at {name!r}"
        if isinstance(module, type):
            advice += f", the class {module.__name__}; write {module.__name__}()"
        elif isinstance(module, list | tuple):
            advice += f"; write {type(self).__name__}(*modules)"
        elif callable(module):
            advice += "; functions have layers, such as nn.ReLU() for tg.relu, or are called in a forward"
        tg.arguments.instance(module, Module, type(self).__name__, "modules", advice)
        self.add_module(name, module)

    def __len__(self) -> int:
        return len(self._of_kind("module"))


class _Indexed(_Container):
    """Children by position; their names are numbers unless other names were given."""

    renumbers = False  # whether a slice has new names

    def append(self, module: Module) -> Self:
        """Add a module at the end; returns self.

        Raises:
            TypeError: if it is not a module.
        """
        number = len(self)
        while str(number) in self._kinds:  # a slice keeps its names
            number += 1
        self._add(str(number), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add several modules at the end; returns self."""
        for m in tg.arguments.instance(modules, Iterable, type(self).__name__, "a list of modules"):
            self.append(m)
        return self

    def _name(self, i: int) -> str:
        names = list(self._of_kind("module"))
        if not -len(names) <= tg.arguments.whole(i, type(self).__name__, "index") < len(names):
            raise IndexError(f"{type(self).__name__}: index {i} is out of range for {len(names)} modules")
        return names[i]

    def __iter__(self) -> Iterator[Module]:
        return iter(self._of_kind("module").values())

    def __getitem__(self, i: int | slice) -> Any:
        if not isinstance(i, slice):
            return vars(self)[self._name(i)]
        part, kept = type(self)(), list(self._of_kind("module").items())[i]
        modules = {str(n) if self.renumbers else name: m for n, (name, m) in enumerate(kept)}
        vars(part).update(modules, _kinds=dict.fromkeys(modules, "module"))  # no new names or scopes
        return part

    def __setitem__(self, i: int, module: Module) -> None:
        self._add(self._name(i), module)


class Sequential(_Indexed):
    """Modules applied one after the other.

    Args:
        modules: the modules, or one mapping of names to modules.

    Raises:
        TypeError: for anything but modules.

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
                self._add(name, m)
        else:
            self.extend(modules)  # type: ignore[arg-type]  # a mapping among others is refused there

    def forward(self, x: Any) -> Any:
        for m in self:
            x = m(x)
        return x


class _Uncalled(_Container):
    """A container that is never called: its own name goes before those of its modules."""

    def add_module(self, name: str, module: Module | None) -> None:
        """Declare a submodule; None keeps its place empty."""
        super().add_module(name, module)
        self._enter_scope(self._scope, self._frame.kind.rpartition(".")[0])

    def _enter_scope(self, name: str, around: str = "") -> None:
        stack: list[tuple[str, str, Module]] = [(name, around, self)]
        while stack:
            name, around, m = stack.pop()
            Module._enter_scope(m, name, around)
            if isinstance(m, _Uncalled):
                stack += [(joined(name, key), m._frame.kind if name else "", child)
                          for key, child in m.named_children()]


class ModuleList(_Uncalled, _Indexed):
    """A list of modules whose parameters are found; call them yourself.

    Example:
        >>> import nn
        >>> len(list(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]).parameters()))
        4
    """

    renumbers = True

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        super().__init__()
        self.extend(modules)


class ModuleDict(_Uncalled, Mapping[str, Module]):
    """A dictionary of modules whose parameters are found; call them yourself.

    Example:
        >>> import nn
        >>> nn.ModuleDict({"a": nn.Linear(2, 3)})["a"].out_features
        3
    """

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        tg.arguments.instance(modules, Mapping | None, "ModuleDict", "a mapping of names to modules")
        for name, m in (modules or {}).items():
            self._add(name, m)

    __setitem__ = _Container._add

    def __getitem__(self, name: str) -> Module:
        modules = self._of_kind("module")
        if name not in modules:
            raise KeyError(f"ModuleDict: no module {name!r}; there are {', '.join(modules)}")
        return modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._of_kind("module"))

    __eq__, __hash__ = object.__eq__, object.__hash__  # a module is itself, whatever it holds
