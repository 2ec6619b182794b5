"""Data sets in memory, and one that comes with the package: handwritten digits."""
from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

import tinygrad_conv as tg


class Dataset:
    """Images and labels of equal length; indexing gives a batch of arrays, converted to floats.

    Args:
        images: (N, C, H, W); integer images stay as they are and are multiplied by `scale` batch by
            batch, which saves memory. Floats keep their dtype: on float64 images a float32 model
            computes in float64, slowly.
        labels: (N,) integers, or any array of N targets.
        classes: names of the classes, for pictures.
        scale: what integer pixels are multiplied by; default 1/255, if none is larger than 255.

    Raises:
        ValueError: if lengths differ or are 0, or pixels above 255 (of 12 or 16 bits) come without
            a scale.

    Example:
        >>> data = Dataset(np.full((3, 1, 2, 2), 255, np.uint8), np.array([0, 1, 0]))
        >>> x, y = data[[0, 2]]
        >>> x.shape, x.dtype, float(x.max()), y.tolist()
        ((2, 1, 2, 2), dtype('float32'), 1.0, [0, 0])
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, classes: Sequence[str] = (),
                 scale: float | None = None) -> None:
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        if not self.images.ndim or self.images.shape[:1] != self.labels.shape[:1]:
            raise ValueError(f"Dataset: expects arrays of N images and of as many labels, got shapes "
                             f"{self.images.shape} and {self.labels.shape}")
        wide = self.images.dtype.kind in "iu" and self.images.itemsize > 1 and self.images.size
        if scale is None and wide and self.images.max() > 255:
            raise ValueError(f"Dataset: expects scale for pixels up to {self.images.max()}, the default "
                             f"1/255 would make them larger than 1; pass scale=1/4095 for 12 bits, "
                             f"1/65535 for 16")
        self.classes, self.scale = tuple(classes), 1 / 255 if scale is None else scale

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> tuple[np.ndarray, np.ndarray]:
        images = self.images[index]
        if images.dtype.kind in "iu":
            images = np.multiply(images, np.float32(self.scale), dtype=np.float32)
        labels = self.labels[index]
        return images, labels.astype(np.int64) if labels.dtype.kind in "iu" else labels

    def __repr__(self) -> str:
        return f"Dataset({len(self)} images of shape {self.images.shape[1:]}, {self.images.dtype})"

    def _repr_html_(self) -> str:
        """Its first images for a notebook, and their labels."""
        labels = ", ".join(str(self.classes[y] if self.classes and np.ndim(y) == 0 else y)
                           for y in self.labels[:8]) if self.labels.ndim == 1 else ""
        images = tg.tensor(self[:8][0])
        images.name = "first images"
        lines = repr(self), *[f"labels {labels}"] * bool(labels)
        return tg.table_html([lines]) + images._repr_html_()


def digits(split: str = "train") -> Dataset:
    """Handwritten digits: (1, 8, 8) images with values between 0 and 1, labels 0 to 9.

    The UCI "Optical Recognition of Handwritten Digits" test set of 1,797 images, by E. Alpaydin and
    C. Kaynak (1998), https://doi.org/10.24432/C50P49, licensed CC BY 4.0. Each pixel counts, from 0 to
    16, the dark cells of a 4x4 block of the original scan.

    Args:
        split: "test" is every fifth image of each class in the file's order (355 images), "train"
            the other 1,442, "all" both.

    Raises:
        ValueError: for another split.

    Example:
        >>> import nn
        >>> len(nn.data.digits("train")), len(nn.data.digits("test"))
        (1442, 355)
    """
    with files("nn.data").joinpath("digits.npz").open("rb") as f, np.load(f, allow_pickle=False) as z:
        images, labels = z["images"], z["labels"]
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    splits = {"train": ~held_out, "test": held_out, "all": np.ones(len(labels), bool)}
    chosen = splits[tg.arguments.one_of(split, "digits", "split", list(splits))]
    return Dataset(images[chosen], labels[chosen], [str(d) for d in range(10)], scale=1 / 16)
