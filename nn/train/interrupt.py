"""Ctrl-C while something runs that should end in good order."""
import signal
from contextlib import suppress
from threading import get_ident
from typing import Any


class CtrlC:
    """Inside the `with` block Ctrl-C is noted, not raised: `check()` raises it, where the work is in order.

    While `breakable` is True, where nothing is changed by halves, a second Ctrl-C does not wait for that.
    Whoever makes it True ends it in a `finally`, and what is to be put in order afterwards is.

    Outside the main thread, and in a program with a handler of its own for SIGINT, nothing is changed. A
    block inside another is given the outer one, so that one Ctrl-C ends both. Should an exception of another
    signal's handler keep `__exit__` from running, `over = True` gives Ctrl-C back to Python.

    Example:
        >>> with CtrlC() as ctrl_c:
        ...     signal.raise_signal(signal.SIGINT)
        ...     print("still here")
        still here
        >>> ctrl_c.pressed, signal.getsignal(signal.SIGINT) is signal.default_int_handler
        (1, True)
    """

    def __init__(self) -> None:
        self.pressed, self.breakable, self.over = 0, False, False
        self._thread, self._outer = get_ident(), (self, False)

    def __enter__(self) -> "CtrlC":
        handler = signal.getsignal(signal.SIGINT)
        outer = getattr(handler, "__self__", None)
        if isinstance(outer, CtrlC) and not outer.over and outer._thread == self._thread:
            self._outer, outer.breakable = (outer, outer.breakable), False
            return outer
        if handler is signal.default_int_handler or isinstance(outer, CtrlC):
            try:
                with suppress(ValueError):  # not the main thread
                    signal.signal(signal.SIGINT, self._press)
            except BaseException:  # another signal's handler raised it
                self.__exit__()
                raise
        return self

    def __exit__(self, *error: Any) -> None:
        outer, outer.breakable = self._outer
        if signal.getsignal(signal.SIGINT) == self._press:
            try:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            except KeyboardInterrupt:  # the handler is Python's again, and was called at once
                self.pressed += 1

    def _press(self, number: int, frame: Any) -> None:
        if self.over:
            self.__exit__()
            raise KeyboardInterrupt
        self.pressed += 1
        if self.breakable and self.pressed > 1:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self.pressed:
            raise KeyboardInterrupt
