"""Layers that are a function of the engine with its options kept as attributes."""
from __future__ import annotations

from typing import Any

from .module import Module


class Options(Module):
    """Keeps keyword arguments as attributes of the same names, and prints them in their order."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.option_names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    def options(self) -> dict[str, Any]:
        """The options as they are now, to hand on as keyword arguments."""
        return {name: getattr(self, name) for name in self.option_names}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options().items())


def not_in_place(kind: str, inplace: Any) -> None:
    """Refuse PyTorch's `inplace=True`, which here would silently leave x as it is."""
    if inplace:
        raise ValueError(f"{kind}: inplace must be False, got {inplace!r}: a graph may rely on x, so nothing "
                         f"overwrites it; leave it out, and write x = layer(x) where x is used again")
