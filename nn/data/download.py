"""MNIST, Fashion-MNIST and CIFAR-10: fetched once, kept in a cache folder, read without running any code.

A file is complete and checked, or not there at all.
"""
import gzip
import hashlib
import http.client
import os
import struct
import tarfile
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .dataset import Dataset

TIMEOUT = 30  # seconds without an answer
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
FILES = {"train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
         "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")}
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_MD5 = {  # as published, and as packed by Debian
    "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                                   "cf8536b0aa1a6ac5fa3f23001093305c"),
    "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe",
                                   "10bea18fdb374794d4bb42e356e600c9"),
    "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79",
                                  "f78720b4224f21cce2f2ccf2d7a94c9a"),
    "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310",
                                  "0d30e22e447f3c33dab9ed536400ac01")}
FASHION_CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
                   "bag", "ankle boot")
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_MD5 = {"train-images-idx3-ubyte.gz": ("f68b3c2dcbeaaa9fbdd348bbdeb94873",),
             "train-labels-idx1-ubyte.gz": ("d53e105ee54ea40749a09fcbcd1e9432",),
             "t10k-images-idx3-ubyte.gz": ("9fb629c4189551a2d022fa330f9573f3",),
             "t10k-labels-idx1-ubyte.gz": ("ec29112dd5afa0611ce80d1b7f02629c",)}
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_MEMBERS = {"train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
                 "test": ["cifar-10-batches-bin/test_batch.bin"]}
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                 "truck")
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label and three planes
NO_DOWNLOAD = "use nn.data.digits(), which needs no download"


def cache_folder(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Where the files of a data set are kept: `folder`, else $TINYGRAD_CONV_DATA/name, else the
    user's cache folder. A leading ~ is the user's home."""
    if folder is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tinygrad_conv"
        folder = Path(os.environ.get("TINYGRAD_CONV_DATA") or cache) / name
    return Path(folder).expanduser()


def md5(path: Path) -> str:
    """The checksum data sets are published with (against damage, not against malice)."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _blocks(url: str, name: str) -> Iterator[bytes]:
    """The content of an address, block by block, beside a progress bar; whatever goes wrong with it is a
    ConnectionError."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            total, got = int(response.headers.get("Content-Length", 0)), 0
            with tqdm.wrapattr(response, "read", total=total or None, desc=name) as stream:
                while block := stream.read(1 << 16):
                    yield block
                    got += len(block)
            if got < total:  # reading in blocks, http.client takes a lost connection for the end
                raise ConnectionError(f"broke off after {got} of {total} bytes")
    except (OSError, http.client.HTTPException) as e:
        raise ConnectionError(f"download: {url} failed ({e})") from None


def download(url: str, path: Path, checksum: str) -> None:
    """Fetch `url` into `path`; on any failure `path` is as it was.

    Raises:
        ConnectionError: if the address cannot be reached or breaks off. OSError: if the disk is full.
        ValueError: if what came has another checksum.
    """
    def fetch(temporary: Path) -> None:
        with open(temporary, "wb") as out:
            out.writelines(_blocks(url, path.name))
        if (got := md5(temporary)) != checksum:
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


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of unsigned bytes in a gzipped IDX file: 00 00 08 ndim, sizes, values.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, not gzip, of another kind, or of another length.
    """
    packed = Path(path).read_bytes()
    try:
        content = gzip.decompress(packed)
    except (OSError, EOFError, zlib.error) as e:
        raise ValueError(f"read_idx: {os.fspath(path)} is not a whole gzip file ({e}); delete it and try "
                         f"again") from None
    if not content.startswith(b"\x00\x00\x08") or len(content) < 4 or len(content) < 4 + 4 * content[3]:
        raise ValueError(f"read_idx: {os.fspath(path)} begins with {content[:4].hex(' ')}, expected "
                         f"00 00 08 and the number of axes: not an IDX file of bytes")
    ndim = content[3]
    shape = struct.unpack(f">{ndim}I", content[4:4 + 4 * ndim])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    if values.size != int(np.prod(shape, dtype=object)):
        raise ValueError(f"read_idx: {os.fspath(path)} holds {values.size} values, its header promises "
                         f"{shape}; it is damaged")
    return values.reshape(shape)


def _load(name: str, split: str, url: str, checksums: Mapping[str, tuple[str, ...]],
          folders: list[Path], classes: tuple[str, ...], advice: str) -> Dataset:
    tg.arguments.one_of(split, name, "split", list(FILES))
    images, labels = [read_idx(locate(name, file, url + file, checksums[file], folders, advice))
                      for file in FILES[split]]
    return Dataset(images[:, None], labels, classes)


def fashion_mnist(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Fashion-MNIST: (1, 28, 28) images of ten kinds of clothes, 60,000 and 10,000.

    Looked for in `folder` (or the cache), where Debian's package dataset-fashion-mnist puts it,
    then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if a file is damaged.

    Example:
        >>> import nn
        >>> nn.data.fashion_mnist("train").images.shape  # doctest: +SKIP
        (60000, 1, 28, 28)

    Source: Xiao, Rasul & Vollgraf 2017, MIT licence.
    """
    return _load("fashion_mnist", split, FASHION_URL, FASHION_MD5,
                 [cache_folder("fashion-mnist", folder), DEBIAN_FASHION], FASHION_CLASSES,
                 "install the files with 'apt-get install dataset-fashion-mnist'")


def mnist(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """MNIST: (1, 28, 28) images of handwritten digits, 60,000 and 10,000.

    Looked for in `folder` (or the cache), then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if a file is damaged.

    Example:
        >>> import nn
        >>> nn.data.mnist("train").images.shape  # doctest: +SKIP
        (60000, 1, 28, 28)

    Source: LeCun, Cortes & Burges.
    """
    return _load("mnist", split, MNIST_URL, MNIST_MD5, [cache_folder("mnist", folder)],
                 tuple("0123456789"), NO_DOWNLOAD)


def cifar10(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """CIFAR-10: (3, 32, 32) colour images of ten classes, 50,000 and 10,000.

    Looked for in `folder` (or the cache), then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if the archive is damaged, by its checksum.

    Example:
        >>> import nn
        >>> nn.data.cifar10("train").images.shape  # doctest: +SKIP
        (50000, 3, 32, 32)

    Source: Krizhevsky 2009.
    """
    tg.arguments.one_of(split, "cifar10", "split", list(CIFAR_MEMBERS))
    archive = locate("cifar10", CIFAR_URL.rsplit("/", 1)[1], CIFAR_URL, (CIFAR_MD5,),
                     [cache_folder("cifar-10", folder)], NO_DOWNLOAD)
    with tarfile.open(archive, "r:gz") as tar:  # read in place, never unpacked to disk
        parts: list[Any] = [tar.extractfile(name) for name in CIFAR_MEMBERS[split]]
        records = np.frombuffer(b"".join(part.read() for part in parts), np.uint8).reshape(-1, CIFAR_RECORD)
    return Dataset(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], CIFAR_CLASSES)
