"""Max and average pooling and their adjoints: one pass over whole chunks for each kernel tap.

Windows are maxima (sums) of rows and then of columns, KH + KW passes. Which cell won is found
again in the backward pass by comparing cells with the maximum: cheaper than keeping indices.
Results have the memory layout of their input.
"""
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from .geometry import REMEMBERED, Geometry, Taps
from .layout import compute_dtype
from .parallel import in_chunks
from .table import register

SHORT = 32  # bytes up to which a pixel of all channels is copied faster as one item,
MANY = 1 << 13  # where there are so many numbers
FEW = 1 << 14   # up to so many cells the winners of all windows are found at once


def _like(x: np.ndarray, size: tuple[int, ...], n: int | None = None,
          dtype: np.dtype | None = None) -> np.ndarray:
    """An empty array (n, C, *size) in the memory layout of x (N, C, H, W)."""
    return np.empty_like(x, dtype, shape=(len(x) if n is None else n, x.shape[1], *size))


def _on(axis: int, s: slice) -> tuple:
    """The index that takes `s` of the rows (axis 0) or the columns (axis 1) of (N, C, H, W)."""
    return (..., s, slice(None)) if axis == 0 else (..., s)


def _pixels(*arrays: np.ndarray) -> list[np.ndarray] | None:
    """Channels-last arrays (n, C, ., .) as n*.*. items of C numbers; None if one lies otherwise.

    NumPy copies short runs a number at a time, items whole.
    """
    itemsize, c = arrays[0].itemsize, arrays[0].shape[1]
    few = arrays[0].size < MANY or c == 1 or c * itemsize > SHORT
    if few or any(a.strides[1] != itemsize for a in arrays):
        return None
    return [a.transpose(0, 2, 3, 1).view(np.dtype((np.void, c * itemsize)))[..., 0] for a in arrays]


def _in_run(x: np.ndarray, run: np.ndarray) -> np.ndarray:
    """x, copied to `run` where that makes one long run of many short ones."""
    pixels = _pixels(run, x)
    if pixels is None or x.strides[3] == x.strides[1] * x.shape[1]:
        return x
    np.copyto(*pixels)
    return run


def _reduce(ufunc: np.ufunc, empty: float, x: np.ndarray, y: np.ndarray, taps: Taps, axis: int) -> None:
    """y = ufunc over the taps of one axis of x, `empty` where there are none."""
    whole, run = [outs == slice(0, y.shape[axis - 2]) for outs, _ in taps[:2]], np.empty_like(y)
    if whole == [True, True]:
        a, b = (_in_run(x[_on(axis, cells)], to) for (_, cells), to in zip(taps, (y, run)))
        ufunc(a, b, out=y)
        taps = taps[2:]
    else:
        y.fill(empty)
    for outs, cells in taps:
        part = y[_on(axis, outs)]
        ufunc(part, _in_run(x[_on(axis, cells)], run[_on(axis, outs)]), out=part)


def _windows(ufunc: np.ufunc, empty: float, x: np.ndarray, geometry: Geometry, dtype: np.dtype,
             divisor: np.ndarray | None = None) -> np.ndarray:
    y = _like(x, geometry.out, dtype=dtype)
    rows, columns = geometry.along

    def work(slices, n):
        half = _like(x, (geometry.out[0], geometry.size[1]), n, dtype)
        for s in slices:
            part = half[:s.stop - s.start]
            _reduce(ufunc, empty, x[s], part, rows, 0)
            _reduce(ufunc, empty, part, y[s], columns, 1)
            if divisor is not None:
                y[s] /= divisor

    in_chunks(len(x), x[:1].nbytes, work, products=0)
    return y


def maxima(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = max over a,b of x[n,c,i*s+a*d-p,j*s+b*d-p]; NaN if one of them is."""
    return _windows(np.maximum, -np.inf, x, geometry, x.dtype)


def averages(x: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = sum over a,b of x[n,c,i*s+a-p,j*s+b-p] / divisor[i,j]."""
    dtype = compute_dtype(x)
    return _windows(np.add, 0.0, x, geometry, dtype, divisor.astype(dtype))


def _spread(g: np.ndarray, dx: np.ndarray, taps: Taps, axis: int) -> None:
    """The adjoint of summing the taps of one axis."""
    dx.fill(0)
    for outs, cells in taps:
        part = dx[_on(axis, cells)]
        np.add(part, g[_on(axis, outs)], out=part)


def averages_adjoint(g: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum over i,j,a,b with i*s+a-p = u, .. of g[n,c,i,j] / divisor[i,j]."""
    dtype = compute_dtype(g)
    divisor, dx = divisor.astype(dtype), _like(g, geometry.size, dtype=dtype)
    rows, columns = geometry.along

    def work(slices, n):
        share = _like(g, geometry.out, n, dtype)
        half = _like(g, (geometry.out[0], geometry.size[1]), n, dtype)
        for s in slices:
            m = s.stop - s.start
            np.divide(g[s], divisor, out=share[:m])
            _spread(share[:m], half[:m], columns, 1)
            _spread(half[:m], dx[s], rows, 0)

    in_chunks(len(g), 2 * dx[:1].nbytes, work, products=0)
    return dx


def _winners(x: np.ndarray, y: np.ndarray, geometry: Geometry) -> Iterator[tuple[tuple, tuple, np.ndarray]]:
    """For each tap (outputs, cells, mask): -1 where it is the first to equal the maximum y, else 0."""
    hits, taken = np.empty_like(y, np.int8), np.zeros_like(y, np.int8)
    run, nan = np.empty_like(y, x.dtype), np.isnan(np.maximum.reduce(y, None, initial=-np.inf))
    *taps, (last, last_cells) = geometry.taps
    for outs, cells in taps:
        mask, before, seen = hits[outs], taken[outs], _in_run(x[cells], run[outs])
        np.equal(seen, y[outs], out=mask.view(bool))
        if nan:
            mask |= np.isnan(seen)
        np.greater(mask, before, out=mask.view(bool))
        np.bitwise_or(before, mask, out=before)
        yield outs, cells, np.negative(mask, out=mask)
    yield last, last_cells, np.subtract(taken[last], 1, out=hits[last])  # what no tap before has won


def _bits(a: np.ndarray) -> np.ndarray:
    """The numbers as integers, so that `& mask` keeps or clears them, inf and nan too."""
    return a.view(f"i{a.itemsize}")


def scatter(g: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum of g[n,c,i,j] over the windows (i, j) whose maximum y is cell (u, v)."""
    dx = _like(x, geometry.size, dtype=g.dtype)
    overlap = geometry.overlap

    def work(slices, n):
        share, won = (_like(y, geometry.out, n, g.dtype) for _ in range(2))
        for s in slices:
            m, part, bits = s.stop - s.start, dx[s], _bits(g[s])
            if g.strides != y.strides:  # once, not for every tap
                np.copyto(_bits(share[:m]), bits)
                bits = _bits(share[:m])
            direct = not overlap and _pixels(won[:m], part) is None
            if not geometry.cover:
                part.fill(0)
            for outs, cells, mask in _winners(x[s], y[s], geometry):
                to = part[cells] if direct else won[:m][outs]
                np.bitwise_and(bits[outs], mask, out=_bits(to))
                if overlap:
                    np.add(part[cells], to, out=part[cells])
                elif not direct:
                    np.copyto(*(_pixels(part[cells], to) or (part[cells], to)))

    in_chunks(len(x), x[:1].nbytes, work, products=0)
    return dx


def gather(u: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What stands in u where the maxima y of x stood: the adjoint of `scatter`."""
    v = _like(x, geometry.out, dtype=u.dtype)

    def work(slices, _):
        for s in slices:
            part, bits = _bits(v[s]), _bits(u[s])
            part.fill(0)
            for outs, cells, mask in _winners(x[s], y[s], geometry):
                part[outs] |= bits[cells] & mask

    in_chunks(len(x), x[:1].nbytes, work, products=0)
    return v


def indices(x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Where each maximum stands: its place in the plane, row by row, without padding."""
    cells_of = np.arange(np.prod(geometry.size, dtype=np.int64)).reshape(1, 1, *geometry.size)
    return gather(np.broadcast_to(cells_of, x.shape), x, y, geometry)


# ----- few cells: the places of each window's cells are known, and one call of NumPy finds the winners -----

@lru_cache(maxsize=REMEMBERED)
def _in_memory(strides: tuple[int, ...]) -> tuple[int, ...]:
    """The axes in the order in which they lie in memory."""
    return tuple(sorted(range(len(strides)), key=lambda i: -abs(strides[i])))


@lru_cache(maxsize=64)  # up to 128 kB each
def _places(geometry: Geometry, shape: tuple[int, ...], order: tuple[int, ...]
            ) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of each window stand in memory, (windows, KH*KW); where its first is in that list."""
    back, lengths = np.argsort(order), [shape[i] for i in order]
    cells = np.arange(math.prod(shape)).reshape(lengths).transpose(back)
    taps = [cells[seen] for _, seen in geometry.taps]
    places = np.stack([tap.transpose(order).reshape(-1) for tap in taps], axis=1)
    return places, np.arange(len(places)) * len(taps)


def scatter_few(g: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """`scatter` for few cells, none in two windows, each window whole."""
    order = _in_memory(x.strides)
    places, firsts = _places(geometry, x.shape, order)
    won = x.transpose(order).reshape(-1).take(places).argmax(1)
    dx = np.zeros_like(x, g.dtype)
    dx.transpose(order).reshape(-1)[places.reshape(-1).take(won + firsts)] = g.transpose(order).reshape(-1)
    return dx


def _few(g: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> bool:
    return x.size < FEW and geometry.bare and not (geometry.overlap or geometry.ceil_mode) and (
        x.transpose(_in_memory(x.strides)).flags.c_contiguous)


for operation, function in (("maxima", maxima), ("maxima_scatter", scatter), ("maxima_gather", gather),
                            ("maxima_indices", indices), ("averages", averages),
                            ("averages_adjoint", averages_adjoint)):
    register("numpy", operation, function)
register("numpy", "maxima_scatter", scatter_few, _few)
