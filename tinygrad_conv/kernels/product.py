"""Matrix products of arrays, each by the fastest of NumPy's ways; large ones on several threads."""
import math

import numpy as np

from .parallel import BLAS_ALONE, split
from .table import register, run

PRODUCTS_WORTH_THREADS = 1 << 23  # multiply-adds below which handing work over costs more than it saves


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """np.matmul, by the table's kernels for two matrices."""
    return run("matmul", x, y) if x.ndim == y.ndim == 2 else matmul(x, y)


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """x w^T + b, for x (rows, I) and w (O, I)."""
    y = product(x, w.T)
    return y if b is None else np.add(y, b, out=y if y.dtype == b.dtype else None)  # else wider


def matmul(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """np.matmul, but five times faster for a column by a row (the weight gradient of a batch of
    1), where it leaves BLAS, and twice for a single row, where np.dot is better.

    Large products are made in parts, one per thread: no BLAS thread is woken.
    """
    if x.ndim < 2 or y.ndim < 2:
        return np.matmul(x, y)
    if x.shape[-1] == 1:
        return np.multiply(x, y)
    one = x.shape[-2] * x.shape[-1] * y.shape[-1]  # multiply-adds of one matrix
    if x.ndim == y.ndim == 2 and one <= BLAS_ALONE:
        return np.dot(x, y)
    lead = np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    work = one * math.prod(lead)
    if one <= BLAS_ALONE and work <= PRODUCTS_WORTH_THREADS:
        return np.matmul(x, y)
    out = np.empty((*lead, x.shape[-2], y.shape[-1]), np.result_type(x, y))
    if lead:
        axis = lead.index(max(lead))
        x, y = (np.moveaxis(np.broadcast_to(a, (*lead, *a.shape[-2:])), axis, 0) for a in (x, y))
        outs = np.moveaxis(out, axis, 0)
        split(lead[axis], work > PRODUCTS_WORTH_THREADS,
              lambda lo, hi: np.matmul(x[lo:hi], y[lo:hi], out=outs[lo:hi]))
    elif len(out) > out.shape[1]:
        split(len(out), work > PRODUCTS_WORTH_THREADS, lambda lo, hi: np.matmul(x[lo:hi], y, out=out[lo:hi]))
    else:
        split(out.shape[1], work > PRODUCTS_WORTH_THREADS,
              lambda lo, hi: np.matmul(x, y[:, lo:hi], out=out[:, lo:hi]))
    return out


register("numpy", "matmul", matmul)
register("numpy", "linear", linear)
