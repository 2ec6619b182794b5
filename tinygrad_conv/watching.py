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
_watchers: list[Watcher] = []
_lock = threading.RLock()


def watch(watcher: Watcher) -> None:
    """Let it stand around all ops, of all threads, until `unwatch` was called as often."""
    with _lock:
        _watchers.append(watcher)
        _arrange()


def unwatch(watcher: Watcher) -> None:
    """Take it away once."""
    with _lock:
        _watchers.remove(watcher)
        _arrange()


def _arrange() -> None:
    call, vjps_for = _plain
    for watcher in dict.fromkeys(_watchers):
        call, vjps_for = watcher(call, vjps_for)
    Primitive.__call__, Primitive.vjps_for = call, vjps_for  # type: ignore[method-assign]
