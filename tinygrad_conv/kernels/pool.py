"""Max and average pooling and their adjoints: one pass of whole chunks for each kernel tap.

Windows are maxima (sums) of rows and then of columns, KH + KW passes. Which cell won is found
again in the backward pass by comparing cells with the maximum: cheaper than keeping indices.
Results have the memory layout of their input.
"""
from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .parallel import over
from .pool_geometry import Place, Windows


def _like(x: np.ndarray, size: tuple[int, ...], n: int | None = None) -> np.ndarray:
    """An empty array (n, C, *size) in the memory layout of x (N, C, H, W)."""
    return np.empty_like(x, shape=(len(x) if n is None else n, x.shape[1], *size))


def _gather(ufunc: np.ufunc, empty: float, y: np.ndarray, x: np.ndarray, places: list[Place],
            lead: tuple) -> None:
    """y = ufunc over the taps of one axis of x; `lead` are the axes before it."""
    whole = [x[(*lead, cells)] for outs, cells in places if outs == slice(0, y.shape[len(lead) - 1 + 0])]
    raise NotImplementedError
