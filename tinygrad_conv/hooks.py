"""Functions hung on tensors, which see their gradients and may replace them; handles take them away again.

A leaf holds its hooks; those of other tensors are held by the call that made them, since the tape does not
keep every tensor. `hooked` says, without keeping it alive, who holds any. While it is empty, a backward pass
has nothing to look for.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from .core import Record

hooked: dict[Any, weakref.ref[Any]] = {}  # by `key_of`


class Handle:
    """What takes a hook away again: `remove()`, or the end of a `with` block.

    Args:
        hooks: where the hook lies, by handle; they run in that order.
        hook: what to put there.

    Example:
        >>> hooks = {}
        >>> with Handle(hooks, print):
        ...     len(hooks)
        1
        >>> len(hooks)
        0
    """

    def __init__(self, hooks: dict[Handle, Any], hook: Any) -> None:
        self._hooks = hooks
        hooks[self] = hook

    def remove(self) -> None:
        """Take the hook away; a second time does nothing."""
        self._hooks.pop(self, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.remove()


def key_of(t: Record) -> Any:
    """A call's output, by the call's number (and its own if there are several); a leaf by its identity."""
    node = t.node
    return -id(t) if node is None else node.order if node.values is None else (node.order, t.index)


def hang(t: Record, hook: Callable[[Any], Any]) -> Handle:
    """What `Tensor.register_hook` does; its documentation is there."""
    if not callable(hook):
        raise TypeError(f"register_hook: expects a function of the gradient, got {type(hook).__name__}")
    if not t.requires_grad:
        raise RuntimeError("register_hook: this tensor has no gradient, since it does not require one; make "
                           "it, or an input it is computed from, with requires_grad=True, outside no_grad()")
    key, holder = key_of(t), t if t.node is None else t.node
    if getattr(holder, "hooks", None) is None:
        holder.hooks = {}
    handle = Handle(holder.hooks.setdefault(key, {}), hook)
    hooked[key] = weakref.ref(holder, lambda _: hooked.pop(key, None))
    return handle


def through(key: Any, g: Any) -> Any:
    """A tensor's gradient after its hooks."""
    known = hooked.get(key)
    holder = known and known()
    if holder is None:  # another thread has taken the last hook away
        return g
    hooks = holder.hooks[key]
    for hook in tuple(hooks.values()):
        new = hook(g)
        if new is None:
            continue
        if not isinstance(new, Record):
            raise TypeError(f"register_hook: a hook must return the gradient as a tensor, or None to leave "
                            f"it as it is, got {type(new).__name__}")
        if new.shape != g.shape or new.dtype != g.dtype:
            raise ValueError(f"register_hook: the gradient of a tensor has its shape and dtype, {g.shape} "
                             f"and {g.dtype}, but a hook returned {new.shape} and {new.dtype}")
        g = new
    if not hooks:
        hooked.pop(key, None)
        if hooks:  # registered meanwhile, by another thread
            hooked[key] = known
    return g
