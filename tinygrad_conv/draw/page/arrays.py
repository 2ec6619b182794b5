"""What an array looks like: in a few numbers and a histogram, and four axes as small grey pictures.

All of it can be written as JSON, and is bounded in size whatever the array's: pictures are sized before
anything is drawn, so that those of a page fit into one budget.
"""
import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

STATISTICS = ("count", "nonfinite", "zeros", "min", "max", "mean", "std", "histogram", "sampled")
PICTURE = ("title", "what", "low", "high", "count", "height", "width", "pixels")
BINS = 32
FINEST = 1e-12  # part of the greatest value that a histogram can still divide
SAMPLE = 1_000_000  # more values than that are counted by a regular sample
BUDGET = 2_000_000  # bytes of all pictures of a page, before base64
SIZES = [(64, 16), (32, 16), (16, 16), (16, 4), (1, 0)]  # (longest side, planes), best first
MISSING = 255  # the level of a value that is not finite; the others are 0 to 254


def short(value: float) -> float:
    """Six digits: as many as a reader wants, a third of the text."""
    return float(f"{float(value):.6g}")


def statistics(array: np.ndarray) -> dict[str, Any]:
    """The numbers behind a panel; minimum to deviation are those of the finite values.

    Args:
        array: any shape, numbers or booleans.

    Returns:
        "count", "zeros" (a share of the count) and "nonfinite" (a count); if a value is finite
        also "min", "max", "mean", "std"; if they differ enough "histogram": 32 counts between min and max.

    Example:
        >>> numbers = statistics(np.array([0.0, 1.0, 2.0, np.inf]))
        >>> numbers["max"], numbers["zeros"], numbers["nonfinite"], sum(numbers["histogram"])
        (2.0, 0.25, 1, 3)
    """
    finite = np.isfinite(array)
    missing = array.size - int(np.count_nonzero(finite))
    found: dict[str, Any] = {
        "count": array.size, "nonfinite": missing,
        "zeros": short(1 - np.count_nonzero(array) / array.size) if array.size else 0.0}
    values = (array[finite] if missing else array).reshape(-1)
    if not values.size:
        return found
    low, high = float(values.min()), float(values.max())
    scale = max(abs(low), abs(high)) or 1.0  # squares of 1e200 are no numbers
    scaled = values.astype(np.float64) / scale
    found |= {"min": short(low), "max": short(high), "mean": short(scaled.mean() * scale),
              "std": short(scaled.std() * scale)}
    if high / scale - low / scale > FINEST:
        step = math.ceil(values.size / SAMPLE)
        bins = (scaled[::step] - low / scale) * (BINS / (high / scale - low / scale))
        # as np.histogram does, in a third of the time
        counts = np.bincount(np.minimum(bins, BINS - 1).astype(np.intp), minlength=BINS)
        found |= {"histogram": counts.tolist(), "sampled": step > 1}
    return found


def picture_size(shape: tuple[int, ...], side: int, planes: int) -> int:
    step = math.ceil(max(shape[2:]) / side)
    return min(planes, max(shape[:2])) * math.ceil(shape[2] / step) * math.ceil(shape[3] / step)


def affordable(shapes: Sequence[tuple[int, ...]], budget: int = BUDGET) -> tuple[int, int]:
    """The best (side, planes) at which pictures of all these 4-d arrays fit into the budget.

    Example:
        >>> affordable([(8, 16, 28, 28)]), affordable([(1, 64, 64, 64)] * 100)
        ((64, 16), (32, 16))
    """
    return next((size for size in SIZES if sum(picture_size(s, *size) for s in shapes) <= budget), SIZES[-1])


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
    step = math.ceil(max(stack.shape[1:]) / side)
    shown, low, high = levels(shrunk(stack[:planes].astype(np.float64), step))  # (planes, H, W)
    through = f"0 to {len(shown) - 1} of {len(stack)}"
    title, what = (("Kernels", f"filters {through}, channel 0 of each") if kernels else
                   ("Feature maps", f"sample 0, channels {through}"))
    return {"title": title, "what": what, "low": short(low), "high": short(high),
            "count": len(shown), "height": shown.shape[1], "width": shown.shape[2],
            "pixels": base64.b64encode(shown.tobytes()).decode()}


def levels(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """What numbers are as grey: 0 for the smallest to 254, 255 for what is not finite; smallest, largest."""
    finite = np.isfinite(values)
    low, high = (float(values[finite].min()), float(values[finite].max())) if finite.any() else (0.0, 0.0)
    scale = max(abs(low), abs(high)) or 1.0  # differences of 1e308 are no numbers
    found = np.full(values.shape, MISSING, np.uint8)
    spread = high / scale - low / scale or 1.0
    found[finite] = np.rint((values[finite] / scale - low / scale) * (254 / spread))
    return found, low, high


def shrunk(planes: np.ndarray, step: int) -> np.ndarray:
    """Means over blocks of step by step; the last ones may be smaller."""
    for axis in (1, 2) if step > 1 else ():
        starts = np.arange(0, planes.shape[axis], step)
        sizes = np.diff([*starts, planes.shape[axis]]).reshape([-1 if i == axis else 1 for i in range(3)])
        with np.errstate(all="ignore"):  # a mean of infinities is drawn as not finite
            planes = np.add.reduceat(planes, starts, axis) / sizes
    return planes
