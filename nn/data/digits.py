"""Handwritten digits inside the package: 1,797 images of 8x8, real data without a download.

The UCI "Optical Recognition of Handwritten Digits" test set, by E. Alpaydin and C. Kaynak (1998),
https://doi.org/10.24432/C50P49, licensed CC BY 4.0. Each pixel counts, from 0 to 16, the dark cells
of a 4x4 block of the original scan.
"""
from __future__ import annotations

from importlib.resources import files

import numpy as np

from .dataset import Dataset


def digits(split: str = "train") -> Dataset:
    """The digits: (1, 8, 8) images with values between 0 and 1, labels 0 to 9.

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
    if split not in ("train", "test", "all"):
        raise ValueError(f"digits: split must be 'train', 'test' or 'all', got {split!r}")
    with files("nn.data").joinpath("digits.npz").open("rb") as f, np.load(f, allow_pickle=False) as z:
        images, labels = z["images"], z["labels"]
    held_out = np.zeros(len(labels), bool)
    for digit in range(10):
        held_out[np.flatnonzero(labels == digit)[4::5]] = True
    chosen = {"train": ~held_out, "test": held_out, "all": np.ones(len(labels), bool)}[split]
    return Dataset(images[chosen], labels[chosen], [str(d) for d in range(10)], scale=1 / 16)
