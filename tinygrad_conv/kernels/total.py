"""Sums over axes. NumPy keeps one running sum where kept axes lie innermost in memory: slow, and in
float32 wrong in the fourth digit. There the sums of slabs are taken by BLAS and then added."""
from __future__ import annotations

import math

import numpy as np

WORTH = 1 << 13  # entries from which it pays
SLAB = 1024      # rows summed by one product


def total(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """x added up over `axes`."""
    rows = _rows(x, axes)
    if rows is None:
        return np.add.reduce(x, axis=axes, keepdims=keepdims)
    ones = np.ones((1, rows.shape[1]), x.dtype)
    kept = np.add.reduce(np.matmul(ones, rows), axis=(0, 1))
    order = [i for i in _order(x) if i not in axes]  # of the axes of `kept`
    kept = kept.reshape([x.shape[i] for i in order]).transpose(np.argsort(order))
    return kept.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdims else kept


def _order(x: np.ndarray) -> list[int]:
    """The axes as they lie in memory."""
    return sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))


def _rows(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray | None:
    """x as (slabs, rows, numbers kept), or None if its memory does not fall into such rows."""
    order = _order(x)
    if x.size < WORTH or x.dtype.char not in "fd" or not axes or len(axes) == x.ndim or set(
            order[:len(axes)]) != set(axes) or not x.transpose(order).flags.c_contiguous:
        return None
    count = math.prod(x.shape[i] for i in axes)
    slab = next((n for n in range(min(SLAB, count), 0, -1) if count % n == 0), 1)
    return x.transpose(order).reshape(count // slab, slab, -1) if slab >= 32 else None
