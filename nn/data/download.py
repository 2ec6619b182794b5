"""MNIST and its kin, CIFAR-10 and -100: fetched once, kept in a cache folder, read without running any code.

A file is complete and checked, or not there at all.
"""
import gzip
import hashlib
import http.client
import math
import os
import struct
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .dataset import Dataset

TIMEOUT = 30  # seconds without an answer
SLOWEST = 10_000  # bytes a second
LARGEST = 1 << 28  # bytes; the largest archive has 170 million
DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # Debian's package dataset-fashion-mnist
FILES = {"train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
         "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")}
FASHION_URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
FASHION_SHA256 = {  # as published, and as packed by Debian
    "train-images-idx3-ubyte.gz": ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                                   "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7"),
    "train-labels-idx1-ubyte.gz": ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                                   "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056"),
    "t10k-images-idx3-ubyte.gz": ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                                  "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa"),
    "t10k-labels-idx1-ubyte.gz": ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                                  "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05")}
FASHION_CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
                   "bag", "ankle boot")
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": ("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",),
    "train-labels-idx1-ubyte.gz": ("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",),
    "t10k-images-idx3-ubyte.gz": ("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",),
    "t10k-labels-idx1-ubyte.gz": ("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",)}
KMNIST_URL = "https://codh.rois.ac.jp/kmnist/dataset/kmnist/"
KMNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": ("51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",),
    "train-labels-idx1-ubyte.gz": ("e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",),
    "t10k-images-idx3-ubyte.gz": ("edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",),
    "t10k-labels-idx1-ubyte.gz": ("20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",)}
QMNIST_URL = "https://raw.githubusercontent.com/facebookresearch/qmnist/master/"
QMNIST_FILES = {split: (f"qmnist-{split}-images-idx3-ubyte.gz", f"qmnist-{split}-labels-idx2-int.gz")
                for split in ("train", "test")}
QMNIST_SHA256 = {
    "qmnist-train-images-idx3-ubyte.gz": (
        "9e26a7bf1683614e065d7b76460ccd52807165b3f22561fb782bd9f38c52b51d",),
    "qmnist-train-labels-idx2-int.gz": ("2c05dc77f6b916b38e455e97ab129a42a444f3dbef09b278a366f82904e0dd9f",),
    "qmnist-test-images-idx3-ubyte.gz": ("43fc22bf7498b8fc98de98369d72f752d0deabc280a43a7bcc364ab19e57b375",),
    "qmnist-test-labels-idx2-int.gz": ("9fbcbe594c3766fdf4f0b15c5165dc0d1e57ac604e01422608bb72c906030d06",)}
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
CIFAR_MEMBERS = {"train": [f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)],
                 "test": ["cifar-10-batches-bin/test_batch.bin"]}
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                 "truck")
CIFAR100_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz"
CIFAR100_SHA256 = "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec"
CIFAR100_MEMBERS = {split: [f"cifar-100-binary/{split}.bin"] for split in ("train", "test")}
CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
    lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
    pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal
    shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank
    telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm"""
CIFAR_RECORD = 1 + 3 * 32 * 32  # a label and three planes; CIFAR-100 has a coarse label before it
IDX_TYPES: dict[int, np.dtype] = {8: np.dtype(np.uint8), 12: np.dtype(">i4")}  # by the third byte of a file
NO_DOWNLOAD = "use nn.data.digits(), which needs no download"


def cache_folder(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """Where the files of a data set are kept: `folder`, else $TINYGRAD_CONV_DATA/name, else the
    user's cache folder. A leading ~ is the user's home."""
    if folder is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tinygrad_conv"
        folder = Path(os.environ.get("TINYGRAD_CONV_DATA") or cache) / name
    return Path(folder).expanduser()


def sha256(path: Path) -> str:
    """The checksum of a file."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows an address to another of its kind, or to https; never from there to plain http, or to ftp."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if newurl.partition(":")[0].lower() not in ("https", req.type):
            raise urllib.error.HTTPError(newurl, code, f"sent on to {newurl}, not https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _blocks(url: str, name: str) -> Iterator[bytes]:
    """The content of an address, block by block, beside a progress bar; whatever goes wrong with it, also
    that it does not end, is a ConnectionError."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    try:
        with urllib.request.build_opener(_Redirects).open(url, timeout=TIMEOUT) as response:
            total, got, start = response.length, 0, time.monotonic()
            with tqdm(total=total, desc=name, unit="B", unit_scale=True) as bar:
                while block := response.read1(1 << 16):
                    yield block
                    got += len(block)
                    bar.update(len(block))
                    if got > LARGEST or time.monotonic() - start > TIMEOUT + got / SLOWEST:
                        raise ConnectionError(f"gave up after {got} bytes in "
                                              f"{time.monotonic() - start:.0f} s")
            if got < (total or 0):  # reading in blocks, http.client takes a lost connection for the end
                raise ConnectionError(f"broke off after {got} of {total} bytes")
    except (OSError, http.client.HTTPException, ValueError) as e:
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
        if (got := sha256(temporary)) != checksum:
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
            if sha256(path) not in checksums:
                raise ValueError(f"{name}: {path} is damaged (checksum {sha256(path)}, expected "
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
    """The array in an IDX file, gzipped or not: 00 00 type ndim, sizes, values; bytes (08) or int32 (0c).

    No more is unpacked than the header promises, whatever the file holds.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is truncated, of another kind, or of another length.
    """
    tg.arguments.instance(path, str | os.PathLike, "read_idx", "the path of a file")
    path, values = tg.arguments.file(path, "read_idx"), bytearray()
    try:
        with open(path, "rb") as f, gzip.open(f) if f.peek(2).startswith(b"\x1f\x8b") else f as content:
            begin = content.read(4)
            sound = len(begin) == 4 and begin.startswith(b"\0\0") and begin[2] in IDX_TYPES
            sizes = content.read(4 * begin[3]) if sound else b""
            if not sound or len(sizes) < 4 * begin[3]:
                raise ValueError(f"read_idx: {path} begins with {begin.hex(' ')}, expected 00 00 08, or 0c, "
                                 f"and the number of axes: not an IDX file of bytes or int32")
            shape, kind = struct.unpack(f">{begin[3]}I", sizes), IDX_TYPES[begin[2]]
            while len(values) <= math.prod(shape) * kind.itemsize and (block := content.read(1 << 20)):
                values += block
    except (gzip.BadGzipFile, EOFError, zlib.error) as e:
        raise ValueError(f"read_idx: {path} is not a whole gzip file ({e})") from None
    if len(values) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"read_idx: {path} holds {len(values) // kind.itemsize} values, its header promises "
                         f"{shape}; it is damaged")
    try:
        return np.frombuffer(values, kind).astype(kind.newbyteorder("="), copy=False).reshape(shape)
    except ValueError as e:
        raise ValueError(f"read_idx: {path} promises {len(shape)} axes ({e})") from None


def _load(name: str, split: str, url: str, checksums: Mapping[str, tuple[str, ...]],
          folders: list[Path], classes: Sequence[str], advice: str = NO_DOWNLOAD,
          files: Mapping[str, tuple[str, str]] = FILES) -> Dataset:
    """The images of IDX files and their labels, the first column of several."""
    tg.arguments.one_of(split, name, "split", list(files))
    images, labels = [read_idx(locate(name, file, url + file, checksums[file], folders, advice))
                      for file in files[split]]
    return Dataset(images[:, None], labels if labels.ndim == 1 else labels[:, 0], classes)


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
    return _load("fashion_mnist", split, FASHION_URL, FASHION_SHA256,
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
    return _load("mnist", split, MNIST_URL, MNIST_SHA256, [cache_folder("mnist", folder)], "0123456789")


def kmnist(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """KMNIST: (1, 28, 28) images of ten cursive Japanese characters, 60,000 and 10,000.

    Looked for in `folder` (or the cache), then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if a file is damaged.

    Example:
        >>> import nn
        >>> nn.data.kmnist("train").images.shape  # doctest: +SKIP
        (60000, 1, 28, 28)

    Source: Clanuwat et al. 2018, CC BY-SA 4.0.
    """
    return _load("kmnist", split, KMNIST_URL, KMNIST_SHA256, [cache_folder("kmnist", folder)],
                 ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"])


def qmnist(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """QMNIST: (1, 28, 28) images of handwritten digits, made again from MNIST's sources; 60,000 and 60,000.

    The first 10,000 of "test" are MNIST's test set, the others those that MNIST left out.

    Looked for in `folder` (or the cache), then on the network.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if a file is damaged.

    Example:
        >>> import nn
        >>> nn.data.qmnist("test").images.shape  # doctest: +SKIP
        (60000, 1, 28, 28)

    Source: Yadav & Bottou 2019, BSD licence.
    """
    return _load("qmnist", split, QMNIST_URL, QMNIST_SHA256, [cache_folder("qmnist", folder)], "0123456789",
                 files=QMNIST_FILES)


def _cifar(name: str, split: str, url: str, checksum: str, members: Mapping[str, list[str]], labels: int,
           classes: Sequence[str], folder: Path) -> Dataset:
    """The records of an archive, each of `labels` labels, the last of which counts, and an image."""
    tg.arguments.one_of(split, name, "split", list(members))
    archive = locate(name, url.rsplit("/", 1)[1], url, (checksum,), [folder], NO_DOWNLOAD)
    try:
        with tarfile.open(archive, "r:gz") as tar:  # read in place, never unpacked to disk
            found = [tar.getmember(member) for member in members[split]]
            if links := [m.name for m in found if not m.isreg()]:
                raise ValueError(f"{links[0]} is a link or a folder")
            parts: list[Any] = [tar.extractfile(m) for m in found]
            content = b"".join(part.read() for part in parts)
        records = np.frombuffer(content, np.uint8).reshape(-1, labels - 1 + CIFAR_RECORD)
    except (tarfile.TarError, EOFError, LookupError, RecursionError, ValueError, zlib.error) as e:
        raise ValueError(f"{name}: {archive} is damaged ({e})") from None
    return Dataset(records[:, labels:].reshape(-1, 3, 32, 32), records[:, labels - 1], classes)


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
    return _cifar("cifar10", split, CIFAR_URL, CIFAR_SHA256, CIFAR_MEMBERS, 1, CIFAR_CLASSES,
                  cache_folder("cifar-10", folder))


def cifar100(split: str = "train", folder: str | os.PathLike[str] | None = None) -> Dataset:
    """CIFAR-100: (3, 32, 32) colour images of a hundred classes, 50,000 and 10,000.

    Looked for in `folder` (or the cache), then on the network. The labels are the fine ones.

    Raises:
        FileNotFoundError: if it is nowhere and cannot be downloaded; says what can be done.
        ValueError: if the archive is damaged, by its checksum.

    Example:
        >>> import nn
        >>> nn.data.cifar100("train").images.shape  # doctest: +SKIP
        (50000, 3, 32, 32)

    Source: Krizhevsky 2009.
    """
    return _cifar("cifar100", split, CIFAR100_URL, CIFAR100_SHA256, CIFAR100_MEMBERS, 2,
                  CIFAR100_CLASSES.split(), cache_folder("cifar-100", folder))
