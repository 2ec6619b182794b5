"""Images in folders, one folder for each class, read with Pillow when they are asked for."""
from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .loader import collate

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # whatever the suffix: none that runs a program
WHITE = (255, 255, 255, 255)


def _files(folder: str) -> Iterator[str]:
    """The images in a folder and in those inside it, links to which are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            elif entry.name.lower().endswith(SUFFIXES):
                if not entry.is_file():  # a pipe, which would never end, or a link to nothing
                    tg.arguments.file(entry.path, "ImageFolder")
                yield entry.path


def _pillow() -> Any:
    try:
        import PIL.Image
        import PIL.ImageOps
    except ImportError:
        raise ImportError("ImageFolder: needs Pillow; pip install 'tinygrad_conv[images]'") from None
    return PIL


def _plain(image: Any, mode: str) -> Any:
    """A Pillow image as "RGB" or "L", or as "F" between 0 and 255 if it is grey of 16 bits."""
    deep = image.mode.startswith("I;16") or image.mode == "I" and image.format == "PPM"
    if deep:
        return _pillow().Image.fromarray(np.asarray(image).astype(np.float32) / np.float32(257))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are of mode {image.mode!r}, of 32 bits without a known range; save it "
                         f"with 8 or 16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = _pillow().Image.alpha_composite(_pillow().Image.new("RGBA", image.size, WHITE), image)
    return image.convert("RGB").convert(mode)


def read_image(path: str | os.PathLike[str], mode: str = "RGB",
               size: int | tuple[int, int] | None = None) -> np.ndarray:
    """An image file as float32 between 0 and 1: (3, H, W) for mode "RGB", (1, H, W) for "L", grey.

    JPEG, PNG, PPM, BMP, TIFF and WebP; of several pictures in a file the first. A picture is turned the way
    its EXIF note says. Palettes and CMYK are converted, transparent parts lie on white, 16 bits of grey are
    kept.

    Args:
        path: of the file.
        mode: "RGB" or "L".
        size: resized to (h, w) as Pillow does linearly; the proportions are not kept.

    Raises:
        FileNotFoundError: if there is no such file. ValueError: if it is no whole image, or has more pixels
            than `PIL.Image.MAX_IMAGE_PIXELS`: a small file may unpack to gigabytes. ImportError: without
            Pillow.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (4, 2), "red").save(f"{folder}/red.png")
        ...     read_image(f"{folder}/red.png", size=1).ravel().tolist()
        [1.0, 0.0, 0.0]
    """
    pillow = _pillow()
    tg.arguments.one_of(mode, "read_image", "mode", ["RGB", "L"])
    shape = None if size is None else tg.arguments.sizes(size, "read_image", "size", 2)
    path, most = tg.arguments.file(path, "read_image"), pillow.Image.MAX_IMAGE_PIXELS
    try:
        with pillow.Image.open(path, formats=FORMATS) as image:
            if most is not None and image.width * image.height > most:
                raise ValueError(f"{image.width}x{image.height} pixels are more than "
                                 f"PIL.Image.MAX_IMAGE_PIXELS, {most}; raise that if the file can be trusted")
            image.load()
            pillow.ImageOps.exif_transpose(image, in_place=True)
            plain = _plain(image, mode)
            pixels = np.asarray(plain if shape is None else plain.resize(
                shape[::-1], pillow.Image.Resampling.BILINEAR))
    except Exception as e:  # decoders raise all kinds: SyntaxError, struct.error, EOFError, ...
        raise ValueError(f"read_image: {os.fspath(path)!r} cannot be read as an image "
                         f"({type(e).__name__}: {e})") from None
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    scaled = np.multiply(planes, np.float32(1 / 255), dtype=np.float32)
    return np.repeat(scaled, 3, axis=0) if mode == "RGB" and len(scaled) == 1 else scaled


class ImageFolder:
    """Images in folders, one folder for each class; each file is read when it is asked for.

    `root/cat/1.jpg` and `root/cat/old/2.jpg` are of class "cat". Names that begin with a dot and files of
    other kinds are passed over. `data[i]` is an (image, label), `data[indices]` a batch of them. With a
    DataLoader's `num_workers` files are read in threads, ahead of the loop.

    Args:
        root: the folder of the folders.
        mode: "RGB", images (3, H, W), or "L", grey ones (1, H, W).
        size: of each image, (h, w), as of `nn.data.read_image`; without it the images keep theirs.

    Attributes:
        classes: the names of the folders, sorted; a label is the place in them.
        class_to_idx: the label of each class.
        paths: the files, sorted within each class.
        targets: (N,) the label of each file.

    Raises:
        FileNotFoundError: if there is no such folder, or a class without images; or, when it is read, if a
            file is gone. ValueError: when a file is read that is no image.

    Example:
        >>> import nn, tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("blue", "red"):
        ...         os.mkdir(f"{folder}/{name}")
        ...         Image.new("RGB", (8, 8), name).save(f"{folder}/{name}/1.png")
        ...     data = nn.data.ImageFolder(folder)
        ...     x, y = data[[0, 1]]
        >>> data.classes, x.shape, y.tolist(), x[:, :, 0, 0].tolist()
        (('blue', 'red'), (2, 3, 8, 8), [0, 1], [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    """

    def __init__(self, root: str | os.PathLike[str], mode: str = "RGB",
                 size: int | tuple[int, int] | None = None) -> None:
        tg.arguments.instance(root, str | os.PathLike, "ImageFolder", "the path of a folder")
        self.mode = tg.arguments.one_of(mode, "ImageFolder", "mode", ["RGB", "L"])
        self.size: Any = None if size is None else tg.arguments.sizes(size, "ImageFolder", "size", 2)
        self.root = os.fspath(root)
        if not os.path.isdir(self.root):
            raise FileNotFoundError(f"ImageFolder: there is no folder {self.root!r}")
        with os.scandir(self.root) as entries:
            self.classes = tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))
        found = [sorted(_files(os.path.join(self.root, name))) for name in self.classes]
        if empty := [name for name, files in zip(self.classes, found) if not files]:
            raise FileNotFoundError(f"ImageFolder: no images ({', '.join(SUFFIXES)}) in the folders of "
                                    f"{self.root!r} named {', '.join(map(repr, empty[:5]))}")
        if not found:
            raise FileNotFoundError(f"ImageFolder: there are no folders in {self.root!r}; put the images of "
                                    f"each class into a folder of its name")
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}
        self.paths = [path for files in found for path in files]
        self.targets = np.repeat(np.arange(len(found)), [len(files) for files in found])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, Any]:
        chosen = np.arange(len(self))[index]
        if chosen.ndim == 0:
            return read_image(self.paths[chosen], self.mode, self.size), self.targets[chosen]
        return collate([self[int(i)] for i in chosen])

    def __repr__(self) -> str:
        return f"ImageFolder({len(self)} images in {len(self.classes)} classes, {self.root!r})"
