"""How the programs here begin and end: with --help, and in a line instead of a traceback.

Imports the standard library only.
"""
from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def parser(about: str) -> argparse.ArgumentParser:
    """A parser for the program with this docstring: a sentence, then `python -m demos.name`."""
    called = re.search(r"python -m [\w.]+", about)
    return argparse.ArgumentParser(prog=called and called[0], description=about.splitlines()[0])


def with_folder(about: str, default: str) -> argparse.ArgumentParser:
    """The parser of a program that leaves pictures, in the folder that is its first argument."""
    takes = parser(about)
    takes.add_argument("folder", nargs="?", type=Path, default=default,
                       help="for the pictures (default %(default)s)")
    return takes


def folder(about: str, default: str) -> Path:
    """The folder, of a program that takes nothing else."""
    return with_folder(about, default).parse_args().folder


def svg(text: str) -> Path:
    """A path that ends in .svg, for `add_argument(type=svg)`."""
    if not text.endswith(".svg"):
        raise argparse.ArgumentTypeError(f"the picture is an .svg file, got {text!r}")
    return Path(text)


def whole(least: int) -> Callable[[str], int]:
    """A whole number of at least so much, for `add_argument(type=whole(1))`."""
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"expects a whole number of at least {least}, got {text!r}")
        return int(text)
    return read


@contextmanager
def plainly() -> Iterator[None]:
    """Ctrl-C ends a program with exit code 130, a folder that cannot be written and an extra that is
    not installed with 1; each in a line. A terminal that lacks a letter shows "?" for it.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        yield
    except KeyboardInterrupt as e:
        print(f"\ninterrupted {str(e) or 'before the end; no file is left half-written'}", file=sys.stderr)
        raise SystemExit(130) from None
    except (OSError, ImportError) as e:
        raise SystemExit(f"{type(e).__name__}: {e}") from None
