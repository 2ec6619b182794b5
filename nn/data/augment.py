"""Augmentation of batches: functions (x, rng) -> x for `DataLoader(transform=...)`."""
import functools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

import tinygrad_conv as tg

# as text, so that importing it does not load numpy.random
Transform: TypeAlias = "Callable[[np.ndarray, np.random.Generator], np.ndarray]"


def _check(op: str, x: np.ndarray) -> None:
    if x.ndim != 4:
        raise ValueError(f"{op}: expects a batch of images (N, C, H, W), got shape {x.shape}")


def shift(cells: int, p: float = 1.0) -> Transform:
    """Move images of x (N, C, H, W), each with probability p, by up to `cells` in both directions.

    New cells are 0.

    Raises:
        TypeError, ValueError: for cells below 0, p outside [0, 1], or a batch of another shape.

    Example:
        >>> x = np.ones((4, 1, 8, 8), np.float32)
        >>> shift(2)(x, np.random.default_rng(0)).shape
        (4, 1, 8, 8)
    """
    cells = tg.arguments.whole(cells, "shift", "cells", 0)
    p = tg.arguments.number(p, "shift", "p", 0, 1)

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("shift", x)
        n, c, h, w = x.shape
        padded = np.pad(x, ((0, 0), (0, 0), (cells, cells), (cells, cells)))
        moved = rng.random(n) < p
        top, left = np.where(moved, rng.integers(0, 2 * cells + 1, (2, n)), cells)
        rows = (top[:, None] + np.arange(h))[:, None, :, None]
        columns = (left[:, None] + np.arange(w))[:, None, None, :]
        return padded[np.arange(n)[:, None, None, None], np.arange(c)[:, None, None], rows, columns]

    return transform


def flip() -> Transform:
    """Mirror each image of x (N, C, H, W) left to right, or not, with probability one half.

    Raises:
        ValueError: for a batch of another shape.

    Example:
        >>> x = np.arange(8, dtype=np.float32).reshape(2, 1, 1, 4)
        >>> flip()(x, np.random.default_rng(1)).tolist()
        [[[[0.0, 1.0, 2.0, 3.0]]], [[[4.0, 5.0, 6.0, 7.0]]]]
    """
    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("flip", x)
        turned = (rng.random(len(x)) < 0.5)[:, None, None, None]
        return np.where(turned, x[..., ::-1], x)

    return transform


def compose(*transforms: Transform) -> Transform:
    """One transform after the other.

    Example:
        >>> import nn
        >>> both = nn.data.compose(nn.data.shift(1), nn.data.flip())
        >>> both(np.zeros((8, 1, 28, 28), np.float32), np.random.default_rng(0)).shape
        (8, 1, 28, 28)
    """
    for t in transforms:
        tg.arguments.instance(t, Callable, "compose", "transforms, functions of (x, rng)")

    return lambda x, rng: functools.reduce(lambda changed, t: t(changed, rng), transforms, x)
