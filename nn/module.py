"""Module and Parameter: a tree of named tensors with a forward function.

Parameters, buffers and children are kept in the order in which they were assigned; names are
PyTorch's dotted ones. May import the engine's public names only.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

import tinygrad_conv as tg


class Parameter(tg.Tensor):
    """A tensor that a module trains: a leaf that requires a gradient.

    Example:
        >>> Parameter(np.zeros(3, np.float32)).requires_grad
        True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


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

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, name, {})
        self.training = True
        self._scope = ""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(); define it")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if not self._scope:
                return self.forward(*args, **kwargs)
            with tg.scope(self._scope):
                return self.forward(*args, **kwargs)
        except Exception as e:
            e.add_note(f"in module {self._scope or '(root)'}: {type(self).__name__}({self.extra_repr()})")
            raise

    # ----- attributes -----

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before assigning "
                                 f"{name!r}")
        if name in self._buffers and value is not None and not isinstance(value, tg.Tensor):
            raise TypeError(f"{type(self).__name__}: buffer {name!r} must be a tensor or None, got "
                            f"{type(value).__name__}")
        kinds = ((Parameter, self._parameters), (Module, self._modules))
        home = next((d for kind, d in kinds if isinstance(value, kind)), None)
        if home is None:
            home = next((d for d in (self._buffers, self._parameters, self._modules) if name in d), None)
            if home is not None and value is not None and home is not self._buffers:
                raise TypeError(f"{type(self).__name__}: {name!r} is a parameter or module, cannot "
                                f"become {type(value).__name__}")
        if home is None:
            object.__setattr__(self, name, value)
            return
        for other in (self.__dict__, self._parameters, self._buffers, self._modules):
            if other is not home:
                other.pop(name, None)
        home[name] = value
        if isinstance(value, Module):
            value._enter_scope(name)

    def __getattr__(self, name: str) -> Any:
        for home in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(home, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for home in (self._parameters, self._buffers, self._modules):
            if name in home:
                del home[name]
                return
        object.__delattr__(self, name)

    def _enter_scope(self, name: str) -> None:
        object.__setattr__(self, "_scope", name)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Declare a parameter; None keeps its place empty."""
        self._parameters[name] = value

    def register_buffer(self, name: str, value: tg.Tensor | None) -> None:
        """Declare a tensor that is saved with the module but not trained.

        Raises:
            TypeError: if it is no tensor.
        """
        if value is not None and not isinstance(value, tg.Tensor):
            raise TypeError(f"register_buffer: {name!r} must be a tensor or None, got "
                            f"{type(value).__name__}")
        self._buffers[name] = value

    # ----- the tree -----

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct submodules, in order."""
        return ((name, m) for name, m in self._modules.items() if m is not None)

    def children(self) -> Iterator[Module]:
        """Direct submodules, in order."""
        return (m for _, m in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module ("") and all below, each once, with dotted names."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            path, m = stack.pop()
            if id(m) in seen:
                continue
            seen.add(id(m))
            yield path, m
            stack.extend((f"{path}.{name}" if path else name, child)
                         for name, child in reversed(list(m.named_children())))

    def modules(self) -> Iterator[Module]:
        """This module and all below, each once."""
        return (m for _, m in self.named_modules())

    def _named(self, home: str, once: bool = True) -> Iterator[tuple[str, tg.Tensor]]:
        seen: set[int] = set()
        for path, m in self.named_modules():
            for name, t in getattr(m, home).items():
                if t is not None and not (once and id(t) in seen):
                    seen.add(id(t))
                    yield f"{path}.{name}" if path else name, t

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, in order; a shared one once."""
        return self._named("_parameters")

    def parameters(self) -> Iterator[Parameter]:
        """Parameters in order; a shared one once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, tg.Tensor]]:
        """Buffers with dotted names, in order."""
        return self._named("_buffers")

    def buffers(self) -> Iterator[tg.Tensor]:
        """Buffers in order."""
        return (b for _, b in self.named_buffers())

    def named_generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        """The modules' own random generators (dropout), with dotted names; shared ones once."""
        seen: set[int] = set()
        for path, m in self.named_modules():
            for name, value in vars(m).items():
                if isinstance(value, np.random.Generator) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def apply(self, f: Callable[[Module], Any]) -> Module:
        """Call `f` on every module below and on this one; returns self."""
        for m in [*self.modules()][::-1]:
            f(m)
        return self

    # ----- modes and gradients -----

    def train(self, mode: bool = True) -> Module:
        """Training mode (dropout drops, batch norm uses the batch) for all modules below."""
        for m in self.modules():
            m.training = bool(mode)
        return self

    def eval(self) -> Module:
        """Evaluation mode."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Freeze (False) or train all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    # ----- state -----

    def _state(self) -> dict[str, tg.Tensor]:
        state: dict[str, tg.Tensor] = {}
        for path, m in self.named_modules():
            for name, t in (*m._parameters.items(), *m._buffers.items()):
                if t is not None:
                    state[f"{path}.{name}" if path else name] = t
        return state

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all parameters and buffers by dotted name, in PyTorch's order."""
        return {name: np.array(t.detach().numpy(), order="C") for name, t in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True
                        ) -> tuple[list[str], list[str]]:
        """Copy values in by name; shapes must be equal. On an error nothing has changed.

        Returns:
            the missing and the unexpected names (both empty if `strict`).

        Raises:
            RuntimeError: listing every missing, unexpected and mis-shaped entry.
        """
        own = self._state()
        arrays = {name: np.asarray(state[name]) for name in own if name in state}
        missing = [name for name in own if name not in state]
        unexpected = [name for name in state if name not in own]
        shaped = [f"{name} (expects {own[name].shape}, got {a.shape})" for name, a in arrays.items()
                  if a.shape != own[name].shape]
        kinds = [f"{name} (expects numbers like {own[name].dtype}, got {a.dtype})"
                 for name, a in arrays.items() if not np.can_cast(a.dtype, own[name].dtype, "same_kind")]
        faults = [("missing", missing if strict else []), ("unexpected", unexpected if strict else []),
                  ("of another shape", shaped), ("of another kind", kinds)]
        text = "; ".join(f"{what}: {', '.join(names)}" for what, names in faults if names)
        if text:
            raise RuntimeError(f"load_state_dict: {type(self).__name__} was not changed; {text}")
        for name, a in arrays.items():
            own[name].mutate()[...] = a
        return missing, unexpected

    # ----- printing -----

    def extra_repr(self) -> str:
        """What stands between the brackets in the printed tree."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): " + repr(m).replace("\n", "\n  ") for name, m in self._modules.items()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + "".join(f"\n  {line}" for line in lines) + ("\n)" if lines else ")")
