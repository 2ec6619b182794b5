"""Matrix products of arrays, each by the fastest of NumPy's ways; large ones on several threads."""
from __future__ import annotations

import math

import numpy as np

from .parallel import BLAS_ALONE, split

PRODUCTS_WORTH_THREADS = 1 << 23  # multiply-adds below which handing work over costs more than it saves


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """np.matmul, but five times faster for a column by a row (the weight gradient of a batch of
    1), where it leaves BLAS, and twice for a single row, where np.dot is better."""
    if x.ndim > 1 and y.ndim > 1 and x.shape[-1] == 1:
        return np.multiply(x, y)
    if x.ndim != 2 or y.ndim != 2:
        return _of_stacks(x, y)
    (rows, inner), columns = x.shape, y.shape[1]
    work = rows * inner * columns
    if work <= BLAS_ALONE:
        return np.dot(x, y)
    return _in_parts(x, y, rows, columns, work > PRODUCTS_WORTH_THREADS)


def _in_parts(x: np.ndarray, y: np.ndarray, rows: int, columns: int, worth: bool) -> np.ndarray:
    """One block of the longer side of the result per thread; no BLAS thread is woken."""
    out = np.empty((rows, columns), np.result_type(x, y))
    if rows > columns:
        split(rows, worth, lambda lo, hi: np.matmul(x[lo:hi], y, out=out[lo:hi]))
    else:
        split(columns, worth, lambda lo, hi: np.matmul(x, y[:, lo:hi], out=out[:, lo:hi]))
    return out


def _of_stacks(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The matrices of two stacks, their longest axis shared out over threads."""
    if min(x.ndim, y.ndim) < 2:
        return np.matmul(x, y)
    lead, one = np.broadcast_shapes(x.shape[:-2], y.shape[:-2]), math.prod(x.shape[-2:]) * y.shape[-1]
    work = one * math.prod(lead)
    if one <= BLAS_ALONE and work <= PRODUCTS_WORTH_THREADS:
        return np.matmul(x, y)
    out = np.empty((*lead, x.shape[-2], y.shape[-1]), np.result_type(x, y))
    x, y = (np.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (x, y))
    axis = lead.index(max(lead))
    xs, ys, outs = (np.moveaxis(a, axis, 0) for a in (x, y, out))
    split(len(outs), work > PRODUCTS_WORTH_THREADS,
          lambda lo, hi: np.matmul(xs[lo:hi], ys[lo:hi], out=outs[lo:hi]))
    return out
