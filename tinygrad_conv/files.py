"""Files that are whole at any moment: how pictures, weights and data are written to disk."""
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_atomically(path: str | os.PathLike[str], content: bytes | Callable[[Path], Any]) -> None:
    """Write a file beside `path`, then move it into place in one step.

    Whatever happens, even a power failure, `path` is the old file or the new one.

    Args:
        path: the file; missing folders are made.
        content: the bytes, or a function that writes a file at the path it is given.

    Raises:
        IsADirectoryError, NotADirectoryError: if `path` is a folder, or one of its
            parents is a file. OSError: if the disk is full or cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(folder + "/new/a.txt", b"whole")
        ...     pathlib.Path(folder, "new", "a.txt").read_text()
        'whole'
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"write_atomically: {os.fspath(path)!r} is a folder; name a file in it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(f"write_atomically: no folder {os.fspath(path.parent)!r} can be made for "
                                 f"{path.name!r}, a file is in its place; name another") from None
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
    try:
        temporary.touch(exist_ok=False)
        mode = temporary.stat().st_mode  # what the user's umask allows, whatever `content` makes of it
        temporary.write_bytes(content) if isinstance(content, bytes) else content(temporary)
        os.chmod(temporary, mode)
        with open(temporary, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
