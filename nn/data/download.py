"""Files from the network, kept in a cache folder: complete and checked, or not there at all."""
from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tinygrad_conv as tg

TIMEOUT = 30  # seconds without an answer


def cache_folder(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Where the files of a data set are kept: `folder`, else $TINYGRAD_CONV_DATA/name, else the
    user's cache folder. A leading ~ is the user's home."""
    if folder is not None:
        return Path(folder).expanduser()
    if os.environ.get("TINYGRAD_CONV_DATA"):
        return Path(os.environ["TINYGRAD_CONV_DATA"]).expanduser() / name
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "tinygrad_conv" / name


def md5(path: Path) -> str:
    """The checksum data sets are published with (against damage, not against malice)."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _bar(total: int, name: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total or None, unit="B", unit_scale=True, desc=name)


def _blocks(url: str, name: str) -> Iterator[bytes]:
    """What stands at an address; whatever goes wrong with it is a ConnectionError."""
    bar = None
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            total, got = int(response.headers.get("Content-Length", 0)), 0
            bar = _bar(total, name)
            while block := response.read(1 << 16):
                yield block
                got += len(block)
                if bar is not None:
                    bar.update(len(block))
            if got < total:  # reading in blocks, http.client takes a lost connection for the end
                raise ConnectionError(f"broke off after {got} of {total} bytes")
    except (OSError, http.client.HTTPException) as e:
        raise ConnectionError(f"download: {url} failed ({e})") from None
    finally:
        if bar is not None:
            bar.close()


def download(url: str, path: Path, checksum: str) -> None:
    """Fetch `url` into `path`; on any failure `path` is as it was.

    Raises:
        ConnectionError: if the address cannot be reached or breaks off. OSError: if the disk is full.
        ValueError: if what came has another checksum.
    """
    def fetch(temporary: Path) -> None:
        with open(temporary, "wb") as out:
            out.writelines(_blocks(url, path.name))
        got = md5(temporary)
        if got != checksum:
            raise ValueError(f"download: {url} has checksum {got}, expected {checksum}; it is damaged or "
                             f"has been replaced, nothing was kept")

    tg.write_atomically(path, fetch)


def locate(name: str, file: str, url: str, checksums: tuple[str, ...], folders: list[Path],
           advice: str) -> Path:
    """The first of `folders` that holds `file` whole, else a download into the first folder.

    `checksums` begins with that of the published file; others are of the same data packed anew.

    Raises:
        ValueError: if a file is there but damaged; names it.
        FileNotFoundError: if it is nowhere and cannot be fetched; says what can be done.
        OSError: if the first folder cannot be written; says how to choose another.
    """
    for folder in folders:
        path = folder / file
        if path.is_file():
            if md5(path) not in checksums:
                raise ValueError(f"{name}: {path} is damaged (checksum {md5(path)}, expected "
                                 f"{' or '.join(checksums)}); delete it and try again")
            return path
    path = folders[0] / file
    try:
        download(url, path, checksums[0])
    except ConnectionError as e:
        raise FileNotFoundError(
            f"{name}: {file} is not in {', '.join(map(str, folders))}, and {e}. Either connect to the "
            f"network once, or {advice}, or put the file into {folders[0]}") from None
    except OSError as e:
        raise OSError(f"{name}: {file} cannot be kept in {folders[0]} ({e}); name another folder: "
                      f"folder=..., or the variable TINYGRAD_CONV_DATA") from None
    return path
