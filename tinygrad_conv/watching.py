"""What stands around every op and derivative while somebody watches: a profile, the search for anomalies.

Without watchers the class `Primitive` is as it was, and nothing is added to an op.
"""
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from .primitive import Primitive

Function: TypeAlias = Callable[..., Any]
# from what the class calls and differentiates by, `__call__` and `vjps_for`, to what it does while watched
Watcher: TypeAlias = Callable[[Function, Function], tuple[Function, Function]]

_plain: tuple[Function, Function] = Primitive.__call__, Primitive.vjps_for
_watchers: dict[Watcher, None] = {}
_lock = threading.RLock()


def watch(watcher: Watcher) -> None:
    """Let it stand around all ops, of all threads, if it does not yet."""
    with _lock:
        _watchers[watcher] = None
        _arrange()


def unwatch(watcher: Watcher) -> None:
    """Take it away, if it is there."""
    with _lock:
        _watchers.pop(watcher, None)
        _arrange()


def _arrange() -> None:
    call, vjps_for = _plain
    for watcher in _watchers:
        call, vjps_for = watcher(call, vjps_for)
    Primitive.__call__, Primitive.vjps_for = call, vjps_for  # type: ignore[method-assign]
