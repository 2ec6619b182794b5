"""3x3 convolution at stride 1 by Winograd's algorithm: 16 products for 2x2 outputs, where there were 36.

A tile of 2x2 outputs sees d, 4x4 cells. For one channel and filter (Lavin & Gray 2016)

    y = A' [(G w G') * (B' d B)] A,     * entry by entry, ' the transpose,

and over channels each of the 16 entries is a matrix product of its own, (tiles, C) by (C, O). The weight
adjoint is the adjoint of that in w, dw = G' [sum over tiles of (A g A') * (B' d B)] G; the input adjoint
is the convolution of g with the filters turned. B and A have entries 0, 1 and -1 only: sums of rows, then of
columns. To make those of columns long runs, even and odd columns of an image lie apart. Since sums of cells
are multiplied, an output is exact to the rounding of the largest numbers in its tile, not of its own terms.
"""
import math

import numpy as np

from .geometry import Geometry
from .layout import compute_dtype, in_bands
from .parallel import workspace
from .patches import rotated
from .product import product

G = np.array([[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1]])
FILTER = np.kron(G, G)  # on filters as (9, C*O)
SUMS = 500       # multiply-adds of a large product in the time that the sums of a tile's channel take
FEW = 256        # tiles, below which calls cost more than they save
ROOM = 2.0 ** 10  # how many times larger than products of the operands a term may be


def _largest(a: np.ndarray) -> float:
    return max(float(np.maximum.reduce(a, None, initial=0)), -float(np.minimum.reduce(a, None, initial=0)))


def serves(image: np.ndarray, other: np.ndarray, c: int, o: int, geometry: Geometry) -> bool:
    """Whether a map of an image of C channels to O filters is faster so, and no sum can overflow.

    A term that is inf, less another, would be nan where the result is inf or even finite.
    """
    if geometry.kernel != (3, 3) or not geometry.stride == geometry.dilation == (1, 1) or geometry.groups > 1:
        return False
    tiles, windows = len(image) * math.prod(_tiles(geometry)), len(image) * math.prod(geometry.out)
    if tiles < FEW or (9 * windows - 16 * tiles) * c * o < SUMS * tiles * (c + o):
        return False
    terms = _largest(image) * _largest(other) * image.size * ROOM
    return terms < np.finfo(compute_dtype(image, other)).max


def _tiles(geometry: Geometry) -> tuple[int, int]:
    oh, ow = geometry.out
    return -(-oh // 2), -(-ow // 2)


def _item(geometry: Geometry, c: int, o: int, dtype: np.dtype) -> int:
    """Half the bytes of a sample's tiles: many calls cost more, on several threads, than the cache saves."""
    return 8 * (c + o) * math.prod(_tiles(geometry)) * dtype.itemsize


def _apart(role: str, image: np.ndarray, top: int, left: int, rows: int, pairs: int,
           dtype: np.dtype) -> np.ndarray:
    """An image (n, C, H, W) in one of zeros, even and odd columns apart: (n, rows, 2, pairs, C)."""
    n, c, h, w = image.shape
    padded = workspace(role, (n, rows, 2, pairs, c), dtype)
    padded.fill(0)
    last = image.transpose(0, 2, 3, 1)
    for first in range(min(2, w)):
        odd, pair = (left + first) % 2, (left + first) // 2
        columns = last[:, :, first::2]
        padded[:, top:top + h, odd, pair:pair + columns.shape[2]] = columns
    return padded


def _spread(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray, out: np.ndarray) -> None:
    """B' of four rows."""
    np.subtract(a, c, out=out[0])
    np.add(b, c, out=out[1])
    np.subtract(c, b, out=out[2])
    np.subtract(b, d, out=out[3])


def _of_cells(x: np.ndarray, geometry: Geometry, dtype: np.dtype) -> np.ndarray:
    """B' d B of the tiles of a chunk x (n, C, H, W): (4, 4, n*tiles, C)."""
    (n, c), (th, tw) = x.shape[:2], _tiles(geometry)
    (rows, columns), ((top, _), (left, _)) = geometry.copied[0], geometry.padding
    padded = _apart("padded", x[:, :, rows, columns], max(0, top), max(0, left), 2 * th + 2, tw + 1, dtype)
    half = workspace("rows", (4, n, th, 2, tw + 1, c), dtype)
    _spread(*[padded[:, i:i + 2 * th - 1:2] for i in range(4)], half)
    cells = workspace("cells", (4, 4, n, th, tw, c), dtype)
    even, odd = half[:, :, :, 0], half[:, :, :, 1]
    _spread(even[..., :-1, :], odd[..., :-1, :], even[..., 1:, :], odd[..., 1:, :], cells.swapaxes(0, 1))
    return cells.reshape(4, 4, -1, c)


def _of_grads(g: np.ndarray, geometry: Geometry, dtype: np.dtype) -> np.ndarray:
    """A g A' of the tiles of a chunk g (n, O, OH, OW): (4, 4, n*tiles, O)."""
    (n, o), (th, tw) = g.shape[:2], _tiles(geometry)
    apart = _apart("cotangent", g, 0, 0, 2 * th, tw, dtype)
    half = workspace("rows", (4, n, th, 2, tw, o), dtype)
    grads = workspace("tiles", (4, 4, n, th, tw, o), dtype)
    for a, b, out in ((apart[:, ::2], apart[:, 1::2], half),
                      (half[:, :, :, 0], half[:, :, :, 1], grads.swapaxes(0, 1))):
        np.copyto(out[0], a)
        np.add(a, b, out=out[1])
        np.subtract(a, b, out=out[2])
        np.negative(b, out=out[3])
    return grads.reshape(4, 4, -1, o)


def _to_outputs(tiles: np.ndarray, y: np.ndarray) -> None:
    """A' m A of tiles (4, 4, n*tiles, O), written to y (n, OH, OW, O)."""
    (n, oh, ow, o), dtype = y.shape, y.dtype
    th, tw = -(-oh // 2), -(-ow // 2)
    m = tiles.reshape(4, 4, n, th, tw, o)
    half = workspace("rows", (2, 4, n, th, tw, o), dtype)
    np.add(np.add(m[1], m[2], out=half[0]), m[0], out=half[0])
    np.subtract(np.subtract(m[1], m[2], out=half[1]), m[3], out=half[1])
    both = workspace("both", (n, th, tw, o), dtype)
    for i, (a, b, c, d) in enumerate(half):
        h, w = (oh + 1 - i) // 2, ow // 2  # rows; of the columns of y, even ones may be one more
        np.add(b, c, out=both)
        np.add(both[:, :h], a[:, :h], out=y[:, i::2, ::2])
        np.subtract(b, c, out=both)
        np.subtract(both[:, :h, :w], d[:, :h, :w], out=y[:, i::2, 1::2])


def _by_place(w: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """G w G': (4, 4, C, O)."""
    o, c = w.shape[:2]
    taps = w.transpose(2, 3, 1, 0).reshape(9, -1)
    return product(FILTER.astype(dtype), taps.astype(dtype, copy=False)).reshape(4, 4, c, o)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i+a,j+b] w[o,c,a,b]."""
    dtype, (o, c) = compute_dtype(x, w, b), w.shape[:2]
    wm, item = _by_place(w, dtype), _item(geometry, c, o, dtype)
    y = np.empty((len(x), *geometry.out, o), dtype)

    def work(slices, _, found):
        for s in slices:
            for rows, cells, band in found:
                d = _of_cells(x[s, :, cells], band, dtype)
                m = np.matmul(d, wm, out=workspace("tiles", (*d.shape[:3], o), dtype))
                if b is not None:
                    m[1, 1] += b  # which each of the four outputs holds once
                _to_outputs(m, y[s, rows])

    in_bands(len(x), geometry, item, work)
    return y.transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i+a,j+b]."""
    dtype, c, o = compute_dtype(x, g), x.shape[1], g.shape[1]
    item = _item(geometry, c, o, dtype)

    def work(slices, _, found):
        total = np.zeros((4, 4, c, o), dtype)
        for s in slices:
            for rows, cells, band in found:
                d = _of_cells(x[s, :, cells], band, dtype)
                total += np.matmul(d.swapaxes(2, 3), _of_grads(g[s, :, rows], band, dtype))
        return total

    total = np.add.reduce(in_bands(len(x), geometry, item, work)).reshape(16, -1)
    taps = product(FILTER.T.astype(dtype), total)
    return np.ascontiguousarray(taps.reshape(3, 3, c, o).transpose(3, 2, 0, 1))


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i+a = u+p of g[n,o,i,j] w[o,c,a,b]."""
    return conv2d(g, rotated(w, 1), b, geometry.turned)

