"""Functions hung on modules: called with what enters and leaves, and with the gradients on their way back.

A module without hooks has no `Hooks`, and its call nothing to do here. With backward hooks, tensors that
enter and leave pass `backward_hook`, an op that changes nothing and whose derivative calls them.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_conv as tg

MOST = 32  # tensors that enter or leave a module


class Hooks:
    """The hooks of one module by handle: (function, with_kwargs), with always_call for those after."""

    def __init__(self) -> None:
        self.before: dict[tg.Handle, tuple[Callable[..., Any], bool]] = {}
        self.after: dict[tg.Handle, tuple[Callable[..., Any], bool, bool]] = {}
        self.backward: dict[tg.Handle, tuple[Callable[..., Any]]] = {}


def add(op: str, hooks: dict[tg.Handle, Any], hook: Any, prepend: bool, *how: bool) -> tg.Handle:
    """Put a hook behind the others, or before them."""
    if not callable(hook):
        raise TypeError(f"{op}: expects a function, got {type(hook).__name__}")
    handle = tg.Handle(hooks, (hook, *how))
    for other in [*hooks][:-1] if prepend else ():
        hooks[other] = hooks.pop(other)
    return handle


def hooked_call(module: Any, hooks: Hooks, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` with the hooks around it."""
    y, left = None, [*hooks.after.values()]
    try:
        for hook, with_kwargs in [*hooks.before.values()]:
            args, kwargs = _entering(module, hook, with_kwargs, args, kwargs)
        passing = _Passing(module, [hook for hook, in hooks.backward.values()])
        args = passing.enter(args)
        y = module.forward(*args, **kwargs)
        while left:
            hook, with_kwargs, _ = left.pop(0)
            new = hook(module, args, kwargs, y) if with_kwargs else hook(module, args, y)
            y = y if new is None else _checked("register_forward_hook", module, y, new)
        return passing.leave(y)
    except Exception as e:
        for hook, with_kwargs, always in left:
            try:
                if always:
                    hook(module, args, kwargs, y) if with_kwargs else hook(module, args, y)
            except Exception as another:
                e.add_note(f"a hook that is always called raised {another!r}")
        raise


def _entering(module: Any, hook: Callable[..., Any], with_kwargs: bool, args: tuple[Any, ...],
              kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments after a hook has seen them."""
    if with_kwargs:
        new = hook(module, args, kwargs)
        if new is None:
            return args, kwargs
        if not (isinstance(new, tuple) and len(new) == 2 and isinstance(new[0], tuple)):
            raise TypeError(f"register_forward_pre_hook: a hook with_kwargs must return None or a pair "
                            f"(args, kwargs) of a tuple and a dictionary, got {type(new).__name__}")
        new_args, kwargs = new
    else:
        new_args = hook(module, args)
    if new_args is None:
        return args, kwargs
    new_args = new_args if isinstance(new_args, tuple) else (new_args,)
    for old, value in zip(args, new_args):
        _checked("register_forward_pre_hook", module, old, value)
    return new_args, kwargs


def _checked(op: str, module: Any, old: Any, new: Any) -> Any:
    """What a hook returned in the place of `old`, which would silently leave the graph if it is an array."""
    if isinstance(old, tg.Tensor) and not isinstance(new, tg.Tensor):
        raise TypeError(f"{op}: a hook of {type(module).__name__} must return a tensor in the place of one, "
                        f"or None, got {type(new).__name__}")
    return new


@tg.primitive
def backward_hook(*xs, told):
    return tuple(xs)


backward_hook.defvjp_joint(lambda g, ans, *xs, told: told(g))
backward_hook.defjvp(*[functools.partial(  # so that a tangent, which follows from VJPs, calls no hooks
    lambda i, t, ans, *xs, told: tuple([t if k == i else None for k in range(len(xs))]), i)
    for i in range(MOST)])
backward_hook.defsaved()
backward_hook.defsamples([(np.array([1.0, -2.0]), np.ones((2, 3)), {"told": lambda g: g})])
backward_hook.deflabel(lambda *xs, told: "")


class _Told:
    """A function, which a listing of the tape prints as the module's class."""

    def __init__(self, module: Any, function: Callable[..., Any]) -> None:
        self.module, self.function = module, function

    def __call__(self, g: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.function(g)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return type(self.module).__name__


class _Passing:
    """One call of a module with backward hooks: the gradients of its results are kept until those of its
    arguments are there."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks = module, hooks
        self.inputs: tuple[bool, ...] = ()  # which arguments get a gradient
        self.grad_output: tuple[Any, ...] | None = None

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.inputs = _differentiable(args)
        return self._passed(args, self.inputs, self._arrived) if self.hooks else args

    def leave(self, y: Any) -> Any:
        if not self.hooks:
            return y
        outputs, found = y if isinstance(y, tuple) else (y,), {}  # the gradients that there are
        which = _differentiable(outputs)

        def told(g: tuple[Any, ...]) -> tuple[Any, ...]:
            self.grad_output = tuple([found.pop(i, None) for i in range(len(outputs))])
            if not any(self.inputs):
                self._call((None,) * len(self.inputs))
            return g
        passed = self._passed(outputs, which, told)
        for i, has in enumerate(which):
            if has:
                passed[i].register_hook(functools.partial(found.__setitem__, i))
        return passed if isinstance(y, tuple) else passed[0]

    def _arrived(self, g: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_output is None:  # of nothing that the module returned
            return g
        new = self._call(_spread(g, self.inputs))
        return tuple([tg.zeros_like(old) if x is None else x
                      for old, x in zip(g, [x for x, has in zip(new, self.inputs) if has])])

    def _passed(self, values: tuple[Any, ...], which: tuple[bool, ...], told: Callable[..., Any],
                ) -> tuple[Any, ...]:
        """The values, of which the differentiable ones passed the op that calls `told` with gradients."""
        if not any(which):
            return values
        tensors = [t for t, has in zip(values, which) if has]
        passed = iter(backward_hook(*tensors, told=_Told(self.module, told)))
        return tuple([next(passed) if has else t for t, has in zip(values, which)])

    def _call(self, grad_input: tuple[Any, ...]) -> tuple[Any, ...]:
        given, self.grad_output = self.grad_output, None
        for hook in self.hooks:
            new = hook(self.module, grad_input, given)
            if new is None:
                continue
            if not isinstance(new, tuple) or len(new) != len(grad_input):
                got = f"{len(new)} of them" if isinstance(new, tuple) else type(new).__name__
                raise TypeError(f"register_full_backward_hook: a hook of {type(self.module).__name__} must "
                                f"return None or a tuple, a gradient for each of {len(grad_input)} "
                                f"arguments, got {got}")
            grad_input = new
        return grad_input


def _differentiable(values: tuple[Any, ...]) -> tuple[bool, ...]:
    return tuple([isinstance(t, tg.Tensor) and t.requires_grad and tg.is_recording() for t in values])


def _spread(g: tuple[Any, ...], which: tuple[bool, ...]) -> tuple[Any, ...]:
    """The gradients in the places of their tensors; None in all others."""
    rest = iter(g)
    return tuple([next(rest) if has else None for has in which])
