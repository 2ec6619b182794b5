"""What the values of an array look like in a few numbers: extremes, moments, zeros, a histogram.

Plain numbers that can be written as JSON, bounded in size whatever the array's. Imports NumPy only.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

BINS = 32
FINEST = 1e-12  # part of the greatest value that a histogram can still divide
SAMPLE = 1_000_000  # more values than that are counted by a regular sample


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
        counts = np.histogram(scaled[::step], BINS, (low / scale, high / scale))[0]
        found |= {"histogram": counts.tolist(), "sampled": step > 1}
    return found
