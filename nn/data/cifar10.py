"""CIFAR-10, from the archive's binary version: nothing in it is ever executed."""
from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from .dataset import Dataset
from .download import cache_folder, locate

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
MEMBERS = {"train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
           "test": ["cifar-10-batches-bin/test_batch.bin"]}
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD = 1 + 3 * 32 * 32  # a label and three planes


def _read(archive: Path, members: list[str]) -> np.ndarray:
    """The records (N, 3073) of members of the archive, read in place, never unpacked to disk."""
    parts = []
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for name in members:
                f = tar.extractfile(name)
                parts.append(np.frombuffer(f.read() if f else b"", np.uint8))
    except (tarfile.TarError, OSError, EOFError, KeyError, zlib.error) as e:
        raise ValueError(f"cifar10: {archive} is not the whole archive ({e}); delete it and try again"
                         ) from None
    values = np.concatenate(parts)
    if values.size == 0 or values.size % RECORD:
        raise ValueError(f"cifar10: {archive} holds {values.size} bytes of images, not a multiple of "
                         f"{RECORD}; it is truncated")
    return values.reshape(-1, RECORD)


def cifar10(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """CIFAR-10: (3, 32, 32) colour images of ten classes, 50,000 and 10,000.

    Looked for in `folder` (or the cache), then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if the archive is damaged.

    Example:
        >>> import nn
        >>> nn.data.cifar10("train").images.shape  # doctest: +SKIP
        (50000, 3, 32, 32)

    Source: Krizhevsky 2009.
    """
    if split not in MEMBERS:
        raise ValueError(f"cifar10: split must be 'train' or 'test', got {split!r}")
    archive = locate("cifar10", URL.rsplit("/", 1)[1], URL, (MD5,), [cache_folder("cifar-10", folder)],
                     "use nn.data.digits(), which needs no download")
    records = _read(archive, MEMBERS[split])
    if records[:, 0].max() >= len(CLASSES):
        raise ValueError(f"cifar10: {archive} holds label {records[:, 0].max()}, expected 0 to 9")
    return Dataset(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], CLASSES)
