"""Intermediate values and their gradients, by the name of the module that returned them."""
from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tinygrad_conv as tg

from .module import Module, tensors_in


class Captured:
    """What `nn.capture` has seen: `values`, and of those that a backward pass reached, `grads`.

    Example:
        >>> import nn
        >>> with nn.capture(nn.Sequential(nn.ReLU()), "0") as seen:
        ...     pass
        >>> seen.values, seen.grads
        ({}, {})
    """

    def __init__(self) -> None:
        self.values: dict[str, tg.Tensor] = {}
        self.grads: dict[str, tg.Tensor] = {}
        self._handles: dict[str, tg.Handle] = {}

    def __repr__(self) -> str:
        return f"Captured(values of {', '.join(self.values)}; grads of {', '.join(self.grads)})"

    def __getitem__(self, name: str) -> tg.Tensor:
        """The value of that name."""
        return self.values[name]

    def _see(self, name: str, module: Module, args: Any, y: Any) -> None:
        for i, t in enumerate(tensors_in(y)):
            key = name if t is y else f"{name}[{i}]"
            if key in self._handles:  # a call before this one
                self._handles.pop(key).remove()
            self.values[key] = t
            self.grads.pop(key, None)
            if t.requires_grad:
                self._handles[key] = t.register_hook(functools.partial(self.grads.__setitem__, key))


@contextmanager
def capture(model: Module, *names: str) -> Iterator[Captured]:
    """Context manager: keep what modules return inside the block, and its gradients, by module name.

    Gradients come with the backward pass, which may be after the block; values that require none get none.
    Of a module that is called several times the newest call counts; one that returns several tensors has
    entries "name[0]", "name[1]".

    Args:
        model: the module that is called.
        names: dotted, as in `named_modules()`; all modules, if there are none.

    Raises:
        ValueError: for a name that the model does not have.

    Example:
        >>> import nn
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
        >>> with nn.capture(model, "1") as seen:
        ...     model(tg.ones(1, 1, 4, 4))[0, 0].backward()
        >>> seen.values["1"].shape, seen.grads["1"].shape
        ((1, 4, 2, 2), (1, 4, 2, 2))
    """
    for name in names:
        tg.arguments.instance(name, str, "capture", "names of modules one by one, words")
    modules = dict(tg.arguments.instance(model, Module, "capture", "a Module")._paths())
    unknown = [name for name in names if name not in modules]
    if unknown:
        raise ValueError(f"capture: {type(model).__name__} has no module {unknown[0]!r}; there are "
                         f"{', '.join(filter(None, modules))}")
    seen = Captured()
    with ExitStack() as hooks:
        for name in dict.fromkeys(names or modules):
            hooks.enter_context(modules[name].register_forward_hook(functools.partial(seen._see, name)))
        yield seen
