"""Tree: walks over modules and what they hold, and the calls that go to all of them.

May import the engine's public names only; it knows modules by their dictionaries of children,
parameters and buffers, which `Module` fills.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import tinygrad_conv as tg

from .parameter import Parameter

if TYPE_CHECKING:
    from .module import Module


class Tree:
    """What a module knows of itself and of all modules below it, in order of assignment."""

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, tg.Tensor | None]
    _modules: dict[str, Module | None]
    _scope: str

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules, in order."""
        return ((name, m) for name, m in self._modules.items() if m is not None)

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
            stack.extend((joined(path, name), child)
                         for name, child in reversed([*m.named_children()]))

    def _called(self) -> Iterator[tuple[str, Module]]:
        """This module and all below by the paths the tape has for their calls; below the calls' own.

        A shared one goes by its newest name, one in a list by the list's name and its own.
        """
        stack: list[tuple[str, str, Module]] = [("", "", self)]  # path of the caller, own path, module
        while stack:
            caller, path, m = stack.pop()
            yield path, m
            for child in reversed([*m.children()]):
                inside = caller if "." in child._scope else path
                stack.append((inside, joined(inside, child._scope), child))

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, in order; a shared one once."""
        return _once((joined(path, name), p) for path, m in self.named_modules()
                     for name, p in m._parameters.items() if p is not None)

    def parameters(self) -> Iterator[Parameter]:
        """Parameters in order; a shared one once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, tg.Tensor]]:
        """Buffers with dotted names, in order; a shared one once."""
        return _once((joined(path, name), b) for path, m in self.named_modules()
                     for name, b in m._buffers.items() if b is not None)

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
        for m in self.children():
            m.apply(f)
        f(self)
        return self

    # ----- modes and gradients -----

    def train(self, mode: bool = True) -> Self:
        """Training mode (dropout drops, batch norm uses the batch) for all modules below.

        A module that is to stay frozen overrides this: `return super().train(False)`.
        """
        self.training = bool(mode)
        for m in self.children():
            m.train(mode)
        return self

    def eval(self) -> Self:
        """Evaluation mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze (False) or train all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Evaluation mode inside a `with` block; then every module is as it was."""
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


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


def _once(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Without what was seen under an earlier name."""
    seen: set[int] = set()
    for name, value in named:
        if id(value) not in seen:
            seen.add(id(value))
            yield name, value
