"""Files that are whole at any moment: how pictures, weights and data are written to disk."""
import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PART = ".tinygrad_conv-"  # how the names of unfinished files begin
ABANDONED = 3600  # seconds since anything was written to it


def write_atomically(path: str | os.PathLike[str], content: bytes | Callable[[Path], Any]) -> None:
    """Write a file beside `path`, then move it into place in one step.

    Whatever happens, even a power failure, `path` is the old file or the new one. A link is followed and
    stays; a file that is replaced keeps its mode.

    Args:
        path: the file; missing folders are made.
        content: the bytes, or a function that writes a file at the path it is given.

    Raises:
        IsADirectoryError, NotADirectoryError: if `path` is a folder, or one of its
            parents is a file. OSError: if it is a device, a pipe or a socket, or is protected, or if the
            disk is full or cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(folder + "/new/a.txt", b"whole")
        ...     pathlib.Path(folder, "new", "a.txt").read_text()
        'whole'
    """
    path = Path(os.path.realpath(Path(path)))
    if path.is_dir():
        raise IsADirectoryError(f"write_atomically: {os.fspath(path)!r} is a folder; name a file in it")
    if os.path.lexists(path) and not path.is_file():
        raise OSError(f"write_atomically: {os.fspath(path)!r} is no file but a device, a pipe, a socket or a "
                      f"link to itself, which would be replaced; name a file")
    if path.exists():
        os.close(os.open(path, os.O_WRONLY))  # refuses one that is protected
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"write_atomically: no folder {os.fspath(path.parent)!r} can be made for "
                                 f"{path.name!r}, a file is in its place; name another") from None
    _remove_abandoned(path.parent)
    temporary = path.with_name(f"{PART}{os.urandom(6).hex()}.part")  # short: a name has 255 bytes at most
    try:
        temporary.touch(exist_ok=False)
        mode = (path if path.exists() else temporary).stat().st_mode  # it stays so, whatever `content` does
        temporary.write_bytes(content) if isinstance(content, bytes) else content(temporary)
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, path)
    except OSError as e:
        if e.errno is not None:  # one of the system's
            e.filename, e.filename2 = os.fspath(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes that were killed while they wrote left in a folder an hour ago or earlier."""
    for part in folder.glob(f"{PART}*.part"):
        with contextlib.suppress(OSError):  # another process's, or just removed by one
            if part.stat().st_mtime < time.time() - ABANDONED:
                part.unlink()
