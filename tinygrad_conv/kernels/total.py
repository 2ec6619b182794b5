"""Sums over axes. NumPy keeps one running sum where kept axes lie innermost in memory: slow, and in
float32 wrong in the fourth digit. There the sums of slabs are taken by BLAS and then added."""
import math

import numpy as np

from .table import register, run

WORTH = 1 << 13  # entries from which it pays
ROWS = 32        # and rows
SLAB = 128       # rows summed by one product, or more, as many as there are slabs


def total(x: np.ndarray, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    """x added up over `axes`; half precision, which ends at 65504, as float32."""
    if x.dtype == np.float16:
        x = x.astype(np.float32)
    if x.size < WORTH or x.dtype.char not in "fd":
        return np.add.reduce(x, axis=axes, keepdims=keepdims)
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]) if x.shape[i] > 1 else -math.inf)
    rows = _rows(x, order, axes)
    if rows is None:
        return np.add.reduce(x, axis=axes, keepdims=keepdims)
    order = [i for i in order if i not in axes]  # of the axes of what is kept
    kept = run("slabs", rows).reshape([x.shape[i] for i in order]).transpose(np.argsort(order))
    return kept.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdims else kept


def _rows(x: np.ndarray, order: list[int], axes: tuple[int, ...]) -> np.ndarray | None:
    """x as (groups, rows, numbers kept), or None if its memory does not fall into such rows."""
    ordered = x.transpose(order)
    places = [i for i, axis in enumerate(order) if axis in axes and x.shape[axis] > 1]
    if not ordered.flags.c_contiguous or not places or places[-1] - places[0] >= len(places):
        return None
    groups, count, kept = (math.prod(ordered.shape[part]) for part in (
        slice(places[0]), slice(places[0], places[-1] + 1), slice(places[-1] + 1, None)))
    return None if kept == 1 or count < ROWS else ordered.reshape(groups, count, kept)


def slabs(rows: np.ndarray) -> np.ndarray:
    """The sums (groups, numbers kept) over the rows."""
    groups, count, kept = rows.shape
    slab = min(count, max(SLAB, math.isqrt(count)))
    whole = count - count % slab
    ones = np.ones(slab, rows.dtype)
    sums = np.add.reduce(ones @ rows[:, :whole].reshape(groups, -1, slab, kept), axis=1)
    return sums if whole == count else sums + ones[:count - whole] @ rows[:, whole:]


register("numpy", "slabs", slabs)
