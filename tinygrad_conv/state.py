"""What each task and thread sets for the ops it calls: whether they are recorded, and in which scope.

The state is an immutable value in a context variable, so that threads and asyncio tasks do not see each
other's. Each `with` block sets one that leads back to the one before. Apart from the clock (`tick`), this is
the recorder's only global state.
"""
from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from contextvars import ContextVar
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Generic, NamedTuple, Never, ParamSpec, TypeVar

P, R = ParamSpec("P"), TypeVar("R")
tick = itertools.count(1).__next__  # one clock: what changed after a call has a later time than the call


class Call(str):
    """The name of one call of a module, or of one `with tg.scope(...)` block: equal to it, and prints so.

    Calls of one name are told apart by `number`, the time of the call; modules by the block that each enters,
    `module`, None for what is no module's. `kind` is the module's class.
    """

    __slots__ = ("number", "module", "kind")

    def renamed(self, name: str, kind: str | None = None) -> Call:
        """The same call under another name."""
        return call_of(name, self.number, self.module, self.kind if kind is None else kind)


def call_of(name: str, number: int, module: Block | None, kind: str) -> Call:
    """A `Call` with these attributes."""
    call = str.__new__(Call, name)
    call.number, call.module, call.kind = number, module, kind
    return call


class State(NamedTuple):
    """The recording flag, the enclosing scopes (`Call`), the state outside the innermost block.

    `backward` says that a backward pass is under way: its results are fixed, though not recorded. `block`
    is the one that set this state.
    """

    recording: bool = True
    calls: tuple[str, ...] = ()
    outer: State | None = None
    backward: bool = False
    block: Block | None = None


_variable: ContextVar[State] = ContextVar("tinygrad_conv", default=State())  # noqa: B039  (a tuple)
current, enter = _variable.get, _variable.set


class Block:
    """A `with` block, or decorator, that changes the state; may be used again, also inside itself."""

    def __init__(self, recording: bool | None, name: str | None = None, kind: str = "") -> None:
        self.recording, self.name, self.kind = recording, name, kind

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
        calls, name = outer.calls, self.name
        if name is not None:
            calls += (call_of(name, tick(), self if self.kind else None, self.kind),)
        return State(recording, calls, outer, outer.backward, self)

    def _left(self, state: State) -> State:
        """The state without this block, which need not be the innermost: generators end when they like."""
        if state.block is self or state.outer is None:
            return state.outer or state
        outer = self._left(state.outer)
        return state.block._within(outer) if state.block else state._replace(outer=outer)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if not callable(function):
            raise TypeError(f"no_grad, scope: decorate functions, got {type(function).__name__}")
        if any(kind(function) for kind in (isgeneratorfunction, iscoroutinefunction, isasyncgenfunction)):
            raise TypeError(f"{function.__name__}: a generator or coroutine runs after the decorated call; "
                            f"use the `with` block inside it")

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with self:
                return function(*args, **kwargs)
        return inside


class state_kept:  # noqa: N801  (used like a function, as no_grad is)
    """Context manager: at its end, recording and scopes are as they were, whatever happened in between.

    A block of `no_grad` or `scope` can miss its end: an exception of a signal handler may come at the
    instant at which it ends.

    Example:
        >>> with state_kept():
        ...     no_grad().__enter__()
        >>> is_recording()
        True
    """

    def __enter__(self) -> None:
        self.before = current()

    def __exit__(self, *exception: Any) -> None:
        enter(self.before)


def is_recording() -> bool:
    """Whether operations on tensors that require gradients are put on the tape.

    Example:
        >>> is_recording()
        True
    """
    return current().recording


class Maker(Generic[P]):
    """A function that makes blocks; in place of one, without its parentheses, it says what to write."""

    def __init__(self, make: Callable[P, Block]) -> None:
        functools.update_wrapper(self, make)
        self.make = make

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Block:
        if any(map(callable, args)):
            raise self._bare()
        return self.make(*args, **kwargs)

    def __enter__(self) -> Never:
        raise self._bare()

    def __exit__(self, *exception: Any) -> None: ...

    def _bare(self) -> TypeError:
        name = self.make.__name__
        return TypeError(f"{name}: the parentheses are missing; write `with tg.{name}():`, or @tg.{name}()")


def recording(flag: bool) -> Block:
    """Set the recording flag within a `with` block, or a decorated function."""
    return Block(flag)


@Maker
def no_grad() -> Block:
    """Context manager and decorator: inside, nothing is put on the tape.

    The state is a context variable: an asyncio task keeps that of the moment at which it was created.

    Example:
        >>> with no_grad():
        ...     is_recording()
        False
    """
    return recording(False)


@Maker
def scope(*names: str, kind: str = "") -> Block:
    """Name a stretch of the tape: nodes made inside carry the path of the enclosing scopes.

    Args:
        names: one name, or a path of several, outermost first; so is a name with dots.
        kind: the class of a module whose calls these are, for pictures; of a name with dots the classes of
            its last parts, "List.Conv". Keep the block: another is another module. "" is the name of one that
            has none, and shows only beside others.

    Raises:
        TypeError: for a name that is not a string.

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
    return Block(None, ".".join(names), kind)
