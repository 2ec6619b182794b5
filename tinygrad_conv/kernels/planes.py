"""Numbers at given places of planes, and maxima and sums over the uneven bins of adaptive pooling.

A place is u*W + v in the plane of its own sample and channel. Bins take one pass each and axis.
Results have the memory layout of their first argument.
"""
import numpy as np

from .layout import compute_dtype

Pair = tuple[int, int]


def _like(x: np.ndarray, size: Pair, dtype: np.dtype | None = None) -> np.ndarray:
    return np.zeros_like(x, dtype, shape=(*x.shape[:2], *size))


def _at(indices: np.ndarray, size: Pair) -> tuple[np.ndarray, ...]:
    """Places (N, C, ., .) as an index of an array (N, C, *size)."""
    n, c = indices.shape[:2]
    rows, columns = np.divmod(indices, size[1])
    return np.arange(n).reshape(n, 1, 1, 1), np.arange(c).reshape(c, 1, 1), rows, columns


def pick(x: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """y[n,c,i,j] = what stands in plane x[n,c] at place indices[n,c,i,j]."""
    y = _like(x, indices.shape[2:])
    y[...] = x[_at(indices, x.shape[2:])]
    return y


def pile(g: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """The adjoint of `pick`: planes of zeros with every number added at its place."""
    dx = _like(g, size)
    np.add.at(dx, _at(indices, size), g)
    return dx


def put(x: np.ndarray, indices: np.ndarray, size: Pair) -> np.ndarray:
    """Planes of zeros with every number put at its place; of several the last one stays."""
    y = _like(x, size)
    y[tuple([i.ravel() for i in np.broadcast_arrays(*_at(indices, size))])] = x.ravel()  # in order
    return y


def pick_put(u: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """The adjoint of `put`: what stands at each place, 0 for numbers that were written over."""
    order = np.arange(indices.size).reshape(indices.shape)
    stays = pick(put(order, indices, u.shape[2:]), indices) == order
    return np.where(stays, pick(u, indices), u.dtype.type(0))


def _reserve(x: np.ndarray, size: Pair) -> None:
    """A MemoryError for a result too large, now and not when half of the work is done."""
    np.empty((*x.shape[:2], *size), x.dtype)


def bins(n: int, out: int) -> list[slice]:
    """Bin i of `out` holds cells floor(i*n/out) to ceil((i+1)*n/out); neighbours may overlap."""
    return [slice(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


def bin_averages(x: np.ndarray, out: Pair) -> np.ndarray:
    """y[n,c,i,j] = the average of x over row bin i and column bin j."""
    _reserve(x, out)
    for n in out:  # rows; then columns, which lie as rows in the meantime
        y = _like(x, (n, x.shape[3]), compute_dtype(x))
        for i, rows in enumerate(bins(x.shape[2], n)):
            np.mean(x[:, :, rows], axis=2, dtype=y.dtype, out=y[:, :, i])
        x = y.swapaxes(2, 3)
    return x


def bin_averages_adjoint(g: np.ndarray, size: Pair) -> np.ndarray:
    """dx[n,c,u,v] = the sum of g over the bins that hold cell (u, v), each by its number of cells."""
    if g.shape[2:] == (1, 1):  # lies both ways; the images that were averaged had channels last
        g = g.transpose(0, 2, 3, 1).astype(compute_dtype(g), copy=False)
        dx = np.empty((len(g), *size, g.shape[3]), g.dtype)
        dx[...] = g / g.dtype.type(size[0]) / g.dtype.type(size[1])
        return dx.transpose(0, 3, 1, 2)
    for n in size:
        dx = _like(g, (n, g.shape[3]), compute_dtype(g))
        for i, rows in enumerate(bins(n, g.shape[2])):
            dx[:, :, rows] += g[:, :, i:i + 1] / dx.dtype.type(rows.stop - rows.start)
        g = dx.swapaxes(2, 3)
    return g


def _row_maxima(x: np.ndarray, out: int) -> np.ndarray:
    """The row of the largest number of each row bin, in each column."""
    found = _like(x, (out, x.shape[3]), np.dtype(np.int64))
    for i, rows in enumerate(bins(x.shape[2], out)):
        found[:, :, i] = np.argmax(x[:, :, rows], axis=2) + rows.start
    return found


def bin_maxima(x: np.ndarray, out: Pair) -> tuple[np.ndarray, np.ndarray]:
    """The largest number of each bin and its place, the first one row by row; NaN wins."""
    _reserve(x, out)
    columns = _row_maxima(x.swapaxes(2, 3), out[1]).swapaxes(2, 3)  # of each row's maxima: (N, C, H, OW)
    rows = _row_maxima(np.take_along_axis(x, columns, 3), out[0])
    indices = rows * x.shape[3] + np.take_along_axis(columns, rows, 2)
    return pick(x, indices), indices
