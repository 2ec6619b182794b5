"""What each thread sets for the ops it calls: whether they are recorded, and in which scope.

Apart from the count of calls, this is the recorder's only global state. Imports nothing.
"""
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import _GeneratorContextManager, contextmanager


class _State(threading.local):
    recording = True
    scope: tuple[str, ...] = ()


state = _State()


def is_recording() -> bool:
    """Whether operations on tensors that require gradients are put on the tape.

    Example:
        >>> is_recording()
        True
    """
    return state.recording


@contextmanager
def recording(flag: bool) -> Iterator[None]:
    """Set the recording flag within a `with` block (or a decorated function), then restore it."""
    before, state.recording = state.recording, flag
    try:
        yield
    finally:
        state.recording = before


def no_grad() -> _GeneratorContextManager[None]:
    """Context manager and decorator: inside, nothing is put on the tape.

    Example:
        >>> with no_grad():
        ...     is_recording()
        False
    """
    return recording(False)


@contextmanager
def scope(*names: str) -> Iterator[None]:
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
    before, state.scope = state.scope, (*state.scope, *names)
    try:
        yield
    finally:
        state.scope = before
