"""Ctrl-C while something runs that should end in good order."""
import signal
from contextlib import suppress
from typing import Any


class CtrlC:
    """Inside the `with` block Ctrl-C is noted, not raised: `check()` raises it, where the work is in order.

    While `breakable` is True, where nothing is changed by halves, a second Ctrl-C does not wait for that.
    Whoever makes it True ends it in a `finally`, and what is to be put in order afterwards is.

    Outside the main thread, and in a program with a handler of its own for SIGINT, nothing is changed.

    Example:
        >>> with CtrlC() as ctrl_c:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print("still here")
        still here
        >>> ctrl_c.pressed, signal.getsignal(signal.SIGINT) is signal.default_int_handler
        (1, True)
    """

    def __init__(self) -> None:
        self.pressed, self.breakable, self._previous = 0, False, None

    def __enter__(self) -> "CtrlC":
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            with suppress(ValueError):  # not the main thread
                self._previous = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _press(self, number: int, frame: Any) -> None:
        self.pressed += 1
        if self.breakable and self.pressed > 1:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
