"""How the programs here end: in a line instead of a traceback.

Imports the standard library only.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def plainly() -> Iterator[None]:
    """Ctrl-C ends a program with exit code 130, a folder that cannot be written with 1; both in a
    line. A terminal that lacks a letter shows "?" for it.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        yield
    except KeyboardInterrupt as e:
        print(f"\ninterrupted {str(e) or 'before the end; no file is left half-written'}", file=sys.stderr)
        raise SystemExit(130) from None
    except OSError as e:
        raise SystemExit(f"{type(e).__name__}: {e}") from None
