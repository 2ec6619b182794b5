"""A module as a function of its parameters: what `tg.grad`, `tg.jvp` and the others can differentiate."""
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .module import Module, joined

_lock = threading.RLock()


def functional_call(module: Module, params: Mapping[str, Any], args: Any = (),
                    kwargs: Mapping[str, Any] | None = None) -> Any:
    """Call a module with other tensors in the place of some of its parameters and buffers, for this once.

    The module is as before afterwards, whatever happens; while the call runs, other threads see the tensors
    too, and their calls of this function wait. A parameter that is shared is replaced wherever it is used.

    Args:
        module: any.
        params: tensors or arrays by dotted name, as `named_parameters` and `named_buffers` have them; what is
            missing stays. Of recorded ones derivatives are recorded too: give detached ones to `tg.grad`.
        args: the module's inputs, a tuple; anything else is the one input.
        kwargs: its keyword arguments.

    Raises:
        KeyError: for a name that the module lacks. TypeError: for what is no tensor.
        ValueError: for a tensor of another shape.

    Example:
        >>> import nn
        >>> net, x = nn.Linear(2, 1), tg.tensor([[1.0, 2.0]])
        >>> params = {name: p.detach() for name, p in net.named_parameters()}
        >>> g = tg.grad(lambda params: nn.functional_call(net, params, x).sum())(params)
        >>> g["weight"].tolist(), g["bias"].tolist()
        ([[1.0, 2.0]], [1.0])

    Source: torch.func.functional_call.
    """
    tg.arguments.instance(module, Module, "functional_call", "a module first")
    tg.arguments.instance(params, Mapping, "functional_call", "a mapping of names to tensors",
                          "; pass dict(module.named_parameters())")
    with _lock:
        return _called(module, params, args if isinstance(args, tuple) else (args,), kwargs or {})


def _called(module: Module, params: Mapping[str, Any], args: tuple[Any, ...],
            kwargs: Mapping[str, Any]) -> Any:
    places = {joined(path, name): (vars(m), name) for path, m in module._paths()
              for name, kind in m._kinds.items() if kind != "module" and vars(m)[name] is not None}
    new: dict[int, tg.Tensor] = {}  # by the identity of what is replaced
    for name, t in params.items():
        if name not in places:
            raise KeyError(f"functional_call: {type(module).__name__} has no parameter or buffer {name!r}, "
                           f"only {', '.join(places)}")
        t = tg.tensor(t) if isinstance(t, np.ndarray) else tg.arguments.instance(
            t, tg.Tensor, "functional_call", f"a tensor for {name!r}", "; see tg.tensor")
        old = places[name][0][places[name][1]]
        if t.shape != old.shape:
            raise ValueError(f"functional_call: {name!r} must have shape {old.shape}, got {t.shape}")
        if new.setdefault(id(old), t) is not t:
            raise ValueError(f"functional_call: {name!r} is shared, and has another value by another name")
    changed = [place for place in places.values() if id(place[0][place[1]]) in new]
    owners, before = [owner for owner, _ in changed], [{name: owner[name]} for owner, name in changed]
    after = [{name: new[id(t)] for name, t in part.items()} for part in before]
    try:
        deque(map(dict.update, owners, after), 0)  # no interrupt comes in between
        return module(*args, **kwargs)
    finally:
        deque(map(dict.update, owners, before), 0)
