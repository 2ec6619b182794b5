"""Transforms that move pixels: images (N, C, H, W) of floats between them, masks of integers to the nearest.

A transform draws the same numbers for either, whatever the size: so masks go where their images go
(`nn.data.with_mask`).
"""
from __future__ import annotations

import functools
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .augment import Transform

TRIES = 10  # as often a crop is drawn until one fits


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
        return _windows(padded, top, left, h, w)

    return transform


def _windows(x: np.ndarray, top: Any, left: Any, h: int, w: int) -> np.ndarray:
    """Of each image the (h, w) window that begins at its own place."""
    rows = (top[:, None] + np.arange(h))[:, None, :, None]
    columns = (left[:, None] + np.arange(w))[:, None, None, :]
    return x[np.arange(len(x))[:, None, None, None], np.arange(x.shape[1])[:, None, None], rows, columns]


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


def center_crop(size: int | tuple[int, int]) -> Transform:
    """The (h, w) `size` in the middle of each image; what is smaller gets zeros around it.

    Raises:
        TypeError, ValueError: for a size below 1, or a batch of another shape.

    Example:
        >>> center_crop(2)(np.arange(16.0).reshape(1, 1, 4, 4), None).tolist()
        [[[[5.0, 6.0], [9.0, 10.0]]]]
    """
    h, w = tg.arguments.sizes(size, "center_crop", "size", 2)

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("center_crop", x)
        missing = [max(0, a - b) for a, b in zip((h, w), x.shape[2:])]
        x = np.pad(x, ((0, 0), (0, 0), *((m // 2, m - m // 2) for m in missing)))
        top, left = round((x.shape[2] - h) / 2), round((x.shape[3] - w) / 2)
        return x[..., top:top + h, left:left + w]

    return transform


def random_crop(size: int | tuple[int, int], padding: Any = 0) -> Transform:
    """An (h, w) `size` of each image, from a place by chance, after zeros are added around it.

    Args:
        size: an int or a pair.
        padding: zeros on each side, as of `nn.Conv2d`: an int, one for each axis, or pairs.

    Raises:
        TypeError, ValueError: for sizes below 1, paddings below 0, or images smaller than `size`.

    Example:
        >>> random_crop(32, padding=4)(np.ones((2, 3, 32, 32), np.float32), np.random.default_rng(0)).shape
        (2, 3, 32, 32)
    """
    h, w = tg.arguments.sizes(size, "random_crop", "size", 2)
    sides: Any = tg.arguments.sides(padding, "random_crop", 2, ())

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("random_crop", x)
        x = np.pad(x, ((0, 0), (0, 0), *sides))
        if x.shape[2] < h or x.shape[3] < w:
            raise ValueError(f"random_crop: images of {x.shape[2]}x{x.shape[3]}, padding included, are "
                             f"smaller than {h}x{w}; give more padding, or nn.data.resize before")
        top, left = rng.random((2, len(x)))
        return _windows(x, (top * (x.shape[2] - h + 1)).astype(int),
                        (left * (x.shape[3] - w + 1)).astype(int), h, w)

    return transform


@functools.lru_cache(64)
def _weights(out: int, size: int) -> np.ndarray:
    """(out, size): of each new pixel the shares of the old ones, a triangle as wide as a new pixel or as an
    old one, whichever is wider."""
    scale = size / out
    reach = max(scale, 1.0)
    center = (np.arange(out) + 0.5) * scale - 0.5
    shares = np.maximum(0, 1 - np.abs(np.arange(size) - center[:, None]) / reach)
    shares /= shares.sum(axis=1, keepdims=True)
    shares.setflags(write=False)
    return shares


def _resized(x: np.ndarray, h: int, w: int) -> np.ndarray:
    if x.dtype.kind != "f":
        rows, columns = (((np.arange(out) + 0.5) * (size / out)).astype(int)
                         for out, size in zip((h, w), x.shape[-2:]))
        return x[..., rows[:, None], columns]
    rows, columns = (_weights(out, size).astype(x.dtype) for out, size in zip((h, w), x.shape[-2:]))
    return rows @ x @ columns.T


def resize(size: int | tuple[int, int]) -> Transform:
    """Images of (h, w) `size`, by linear interpolation, smoothed where they shrink; masks from the nearest
    pixel. The proportions are not kept.

    The same as PyTorch's `interpolate(mode="bilinear", antialias=True)`, and "nearest-exact".

    Raises:
        TypeError, ValueError: for a size below 1, or a batch of another shape.

    Example:
        >>> resize((1, 2))(np.arange(8.0).reshape(1, 1, 2, 4), None).round(3).tolist()
        [[[[2.714, 4.286]]]]
    """
    h, w = tg.arguments.sizes(size, "resize", "size", 2)

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("resize", x)
        return _resized(x, h, w)

    return transform


def draw_box(rng: np.random.Generator, n: int, height: int, width: int, scale: tuple[float, float],
             ratio: tuple[float, float]) -> list[tuple[int, int, int, int] | None]:
    """For each of n images (top, left, h, w) of a box of a share of its area within `scale` and w/h within
    `ratio`, or None where no try fitted. The same numbers are drawn for every size."""
    area = height * width * rng.uniform(*scale, (n, TRIES))
    shape = np.exp(rng.uniform(np.log(ratio[0]), np.log(ratio[1]), (n, TRIES)))
    place = rng.random((2, n))
    hs, ws = np.round(np.sqrt(area / shape)).astype(int), np.round(np.sqrt(area * shape)).astype(int)
    fits = (hs >= 1) & (hs <= height) & (ws >= 1) & (ws <= width)
    boxes: list[tuple[int, int, int, int] | None] = []
    for i, first in enumerate(fits.argmax(axis=1)):
        h, w = int(hs[i, first]), int(ws[i, first])
        boxes.append((int(place[0, i] * (height - h + 1)), int(place[1, i] * (width - w + 1)), h, w)
                     if fits[i, first] else None)
    return boxes


def span(op: str, name: str, pair: Any, least: float, most: float) -> tuple[float, float]:
    """A pair (low, high) of numbers."""
    low, high = tg.arguments.instance(pair, tuple | list, op, f"{name}=(low, high)")
    low, high = (tg.arguments.number(v, op, name, least, most) for v in (low, high))
    if low > high or high <= 0:
        raise ValueError(f"{op}: {name} must be (low, high), got {pair!r}")
    return low, high


def random_resized_crop(size: int | tuple[int, int], scale: tuple[float, float] = (0.08, 1.0),
                        ratio: tuple[float, float] = (3 / 4, 4 / 3)) -> Transform:
    """A box of each image, of an area, proportions and a place by chance, resized to (h, w) `size`.

    Args:
        size: an int or a pair.
        scale: the least and largest share of the image's area.
        ratio: the least and largest width divided by height, evenly in its logarithm.

    Where ten tries give no box that fits, it is the largest in the middle with proportions within `ratio`.

    Raises:
        TypeError, ValueError: for a size below 1, or spans that are none.

    Example:
        >>> x = np.ones((2, 3, 40, 60), np.float32)
        >>> random_resized_crop(32)(x, np.random.default_rng(0)).shape
        (2, 3, 32, 32)

    Source: Szegedy et al. 2015; the rule is torchvision's.
    """
    h, w = tg.arguments.sizes(size, "random_resized_crop", "size", 2)
    scale = span("random_resized_crop", "scale", scale, 0, 1)
    ratio = span("random_resized_crop", "ratio", ratio, 1e-3, 1e3)

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("random_resized_crop", x)
        height, width = x.shape[2:]
        out = np.empty((*x.shape[:2], h, w), x.dtype)
        for row, image, box in zip(out, x, draw_box(rng, len(x), height, width, scale, ratio)):
            if box is None:
                shape = min(max(width / height, ratio[0]), ratio[1])
                bh, bw = min(height, round(width / shape)), min(width, round(height * shape))
                box = (height - bh) // 2, (width - bw) // 2, bh, bw
            top, left, bh, bw = box
            row[...] = _resized(image[:, top:top + bh, left:left + bw], h, w)
        return out

    return transform


def _turned(image: np.ndarray, angle: float) -> np.ndarray:
    """(C, H, W) turned by `angle`, in radians, about its middle; zeros come in from outside."""
    h, w = image.shape[1:]
    y, x = np.arange(h)[:, None] - (h - 1) / 2, np.arange(w) - (w - 1) / 2
    rows = np.cos(angle) * y + np.sin(angle) * x + (h - 1) / 2  # where each pixel comes from
    columns = np.cos(angle) * x - np.sin(angle) * y + (w - 1) / 2
    if image.dtype.kind != "f":
        return _taken(image, np.rint(rows).astype(int), np.rint(columns).astype(int))
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, right = (rows - top).astype(image.dtype), (columns - left).astype(image.dtype)
    above, below = ((1 - right) * _taken(image, row, left) + right * _taken(image, row, left + 1)
                    for row in (top, top + 1))
    return (1 - down) * above + down * below


def _taken(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The pixels at these places, 0 outside the image."""
    h, w = image.shape[1:]
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    return np.where(inside, image[:, rows.clip(0, h - 1), columns.clip(0, w - 1)], image.dtype.type(0))


def rotate(degrees: float) -> Transform:
    """Turn each image about its middle by an angle by chance, of up to `degrees` either way.

    Linear between pixels, masks from the nearest; what comes in from outside is 0; the size stays.

    Raises:
        TypeError, ValueError: for degrees outside [0, 180], or a batch of another shape.

    Example:
        >>> rotate(15)(np.ones((2, 1, 8, 8), np.float32), np.random.default_rng(0)).shape
        (2, 1, 8, 8)
    """
    degrees = tg.arguments.number(degrees, "rotate", "degrees", 0, 180)

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("rotate", x)
        angles = np.radians(rng.uniform(-degrees, degrees, len(x)))
        return np.stack([_turned(image, angle) for image, angle in zip(x, angles)]) if len(x) else x

    return transform
