"""What each task and thread sets for the ops it calls: whether they are recorded, and in which scope.

The state is an immutable value in a context variable, so that threads and asyncio tasks do not see each
other's. Each `with` block sets one that leads back to the one before. Apart from the clock (`tick` in
core.py), this is the recorder's only global state.
"""
from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, NamedTuple, ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")


class State(NamedTuple):
    """The recording flag, the path of enclosing scopes, the state outside the innermost block.

    `backward` says that a backward pass is under way: its results are fixed, though not recorded. `block`
    is the one that set this state.
    """

    recording: bool = True
    scope: tuple[str, ...] = ()
    outer: State | None = None
    backward: bool = False
    block: Block | None = None


_variable: ContextVar[State] = ContextVar("tinygrad_conv", default=State())  # noqa: B039  (a tuple)
current, enter = _variable.get, _variable.set


class Block:
    """A `with` block, or decorator, that changes the state; may be used again, also inside itself."""

    def __init__(self, recording: bool | None, names: tuple[str, ...]) -> None:
        self.recording, self.names = recording, names

    # Python lets an interrupt in when a function begins, and after a call: here only when `__exit__` begins.

    def __enter__(self) -> None:
        outer = current()
        try:
            enter(self._within(outer))
        except BaseException:
            enter(outer)
            raise

    def __exit__(self, *exception: Any) -> None:
        try:
            left = self._left(current())
        except BaseException:
            enter(self._left(current()))
            raise
        enter(left)

    def _within(self, outer: State) -> State:
        recording = outer.recording if self.recording is None else self.recording
        return State(recording, outer.scope + self.names, outer, outer.backward, self)

    def _left(self, state: State) -> State:
        """The state without this block, which need not be the innermost: generators end when they like."""
        if state.block is self or state.outer is None:
            return state.outer or state
        outer = self._left(state.outer)
        return state.block._within(outer) if state.block else state._replace(outer=outer)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if any(kind(function) for kind in (isgeneratorfunction, iscoroutinefunction, isasyncgenfunction)):
            raise TypeError(f"{function.__name__}: a generator or coroutine runs after the decorated call; "
                            f"use the `with` block inside it")

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)
        return inside


def is_recording() -> bool:
    """Whether operations on tensors that require gradients are put on the tape.

    Example:
        >>> is_recording()
        True
    """
    return current().recording


def recording(flag: bool) -> Block:
    """Set the recording flag within a `with` block, or a decorated function."""
    return Block(flag, ())


def no_grad() -> Block:
    """Context manager and decorator: inside, nothing is put on the tape.

    Example:
        >>> with no_grad():
        ...     is_recording()
        False
    """
    return recording(False)


def scope(*names: str) -> Block:
    """Name a stretch of the tape: nodes made inside carry the path of the enclosing scopes.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.ones(2, requires_grad=True)
        >>> with tg.scope("head"), tg.scope("norm"):
        ...     y = tg.exp(x)
        >>> tg.tape(y)
        leaf0 : leaf float32[2]
        %0 = exp(leaf0) -> float32[2]  # head.norm
    """
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"scope: names must be strings, got {names!r}")
    return Block(None, names)
