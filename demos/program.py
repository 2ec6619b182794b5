"""How the programs here end and write: whole files, and a line instead of a traceback.

Imports the standard library only.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all; missing folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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
