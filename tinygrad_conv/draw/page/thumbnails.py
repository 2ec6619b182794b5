"""Planes of a 4-d array as small grey pictures: feature maps of a sample, kernels of a weight.

Sized before anything is drawn, so that all pictures of a page fit into one budget. Imports NumPy only.
"""
from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .statistics import short

BUDGET = 2_000_000  # bytes of all pictures of a page, before base64
SIZES = [(64, 16), (32, 16), (16, 16), (16, 4), (0, 0)]  # (longest side, planes), best first
MISSING = 255  # the level of a value that is not finite; the others are 0 to 254


def _cost(shape: tuple[int, ...], side: int, planes: int) -> int:
    if not side:
        return 0
    step = math.ceil(max(shape[2:]) / side)
    return min(planes, max(shape[:2])) * math.ceil(shape[2] / step) * math.ceil(shape[3] / step)


def affordable(shapes: Iterable[tuple[int, ...]]) -> tuple[int, int]:
    """The best (side, planes) at which pictures of all these 4-d arrays fit into the budget.

    Example:
        >>> affordable([(8, 16, 28, 28)]), affordable([(1, 64, 64, 64)] * 100)
        ((64, 16), (32, 16))
    """
    shapes = list(shapes)
    return next(size for size in SIZES if sum(_cost(s, *size) for s in shapes) <= BUDGET)


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether there is something to see: planes (N, C, H, W) of more than one pixel."""
    return len(shape) == 4 and shape[2] * shape[3] > 1 and 0 not in shape


def thumbnails(array: np.ndarray, side: int, planes: int, kernels: bool) -> dict[str, Any]:
    """Up to `planes` grey planes of a 4-d array on one scale, black the smallest value, white the largest.

    Args:
        array: (N, C, H, W): the channels of sample 0; or, for kernels (O, C, KH, KW), the first
            channel of each filter.

    Returns:
        "title", "width", "height", "count", "low", "high", "what" in words, and "pixels": base64 of
        count * height * width levels, 0 to 254, 255 where the mean is not finite.

    Example:
        >>> picture = thumbnails(np.arange(8.0).reshape(1, 2, 2, 2), 64, 16, kernels=False)
        >>> picture["what"], list(base64.b64decode(picture["pixels"]))
        ('sample 0, channels 0 to 1 of 2', [0, 36, 73, 109, 145, 181, 218, 254])
    """
    stack = array[:, 0] if kernels else array[0]
    shown = stack[:planes].astype(np.float64)  # (planes, H, W)
    shown = _shrunk(shown, math.ceil(max(shown.shape[1:]) / side))
    finite = np.isfinite(shown)
    low, high = (float(shown[finite].min()), float(shown[finite].max())) if finite.any() else (0, 0)
    scale = max(abs(low), abs(high)) or 1.0  # differences of 1e308 are no numbers
    levels = np.full(shown.shape, MISSING, np.uint8)
    spread = high / scale - low / scale or 1.0
    levels[finite] = np.rint((shown[finite] / scale - low / scale) * (254 / spread))
    through = f"0 to {len(shown) - 1} of {len(stack)}"
    title, what = (("Kernels", f"filters {through}, channel 0 of each") if kernels else
                   ("Feature maps", f"sample 0, channels {through}"))
    return {"title": title, "what": what, "low": short(low), "high": short(high),
            "count": len(shown), "height": shown.shape[1], "width": shown.shape[2],
            "pixels": base64.b64encode(levels.tobytes()).decode()}


def _shrunk(planes: np.ndarray, step: int) -> np.ndarray:
    """Means over blocks of step by step; the last ones may be smaller."""
    if step == 1:
        return planes
    for axis in (1, 2):
        starts = np.arange(0, planes.shape[axis], step)
        sizes = np.diff([*starts, planes.shape[axis]]).reshape([-1 if i == axis else 1 for i in range(3)])
        with np.errstate(all="ignore"):  # a mean of infinities is drawn as not finite
            planes = np.add.reduceat(planes, starts, axis) / sizes
    return planes
