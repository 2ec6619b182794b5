"""3x3 convolutions by Winograd's method: which calls are worth it, and from their arrays to the kernels."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..geometry import REMEMBERED, Geometry
from . import conv, winograd
from .arrays import NUMBERS, lanes_for, made, places
from .launch import BYTES_WORTH_THREADS, WORTH_THREADS, launch, parts_of
from .machine import target
from .winograd import ENTRIES, Tiling

BLOCK = 48       # tiles that are transformed together: V and M stay in a second-level cache
TRANSFORMS = 60  # about the instructions that it takes to transform a vector of a tile, there and back
TAPS = np.arange(9)
BACK = TAPS[::-1].copy()


def worth(geometry: Geometry, n: int, c: int, o: int, dtype: np.dtype) -> bool:
    """Whether it takes fewer instructions for n images than the definition, by far: c channels, o filters."""
    if (geometry.kernel, geometry.stride, geometry.dilation, geometry.groups) != ((3, 3), (1, 1), (1, 1), 1):
        return False
    oh, ow = geometry.out
    lanes = lanes_for(NUMBERS[dtype], o)
    tiles, vectors = n * -(-oh // 2) * -(-ow // 2), -(-o // lanes)
    transforms = TRANSFORMS * (tiles + c) * (vectors + -(-c // lanes))
    return tiles * 16 * c * vectors + 2 * transforms < 0.9 * n * oh * ow * 9 * c * vectors


@lru_cache(REMEMBERED)
def _tiling(number: str, c: int, o: int) -> Tiling:
    lanes, registers = lanes_for(number, o), 24 if target().registers == 32 else 12
    count, most = -(-o // lanes), 4 if registers == 24 else 2
    vectors = next(v for v in range(most, 0, -1) if count % v == 0)
    tile = registers // vectors
    return Tiling(number, lanes, vectors, tile, BLOCK // tile * tile, c, o)


def _sizes(geometry: Geometry, n: int) -> list[int]:
    """Of images, outputs and tiles, as the kernels are told them."""
    (h, w), (oh, ow) = geometry.size, geometry.out
    rows, columns = -(-oh // 2), -(-ow // 2)
    return [h, w, oh, ow, rows, columns, n * rows * columns, *[before for before, _ in geometry.padding]]


def _last(a: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as a dense array (N, H, W, C)."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1))


def _convolved(x: np.ndarray, u: np.ndarray, b: np.ndarray | None, shape: Tiling, geometry: Geometry
               ) -> np.ndarray | None:
    """y (N, O, OH, OW) from transformed weights; None if it is not finite."""
    sizes = _sizes(geometry, len(x))
    y, x = np.empty((len(x), *geometry.out, shape.filters), x.dtype), _last(x)
    b = np.zeros(shape.filters, x.dtype) if b is None else np.ascontiguousarray(b)
    count = -(-sizes[6] // shape.tile)
    parts = parts_of(count, sizes[6] * 16 * shape.channels * shape.filters / WORTH_THREADS)
    bad, scratch = np.zeros((parts, shape.lanes), x.dtype), np.empty(parts * shape.room, x.dtype)
    launch(made(winograd.forward, shape), [*places(x, u, b, y, bad, scratch), *sizes], count, parts)
    return y.transpose(0, 3, 1, 2) if np.isfinite(bad).all() else None


def _transformed(w: np.ndarray, shape: Tiling, taps: np.ndarray, channel: int, filter: int) -> np.ndarray:
    """U of the weights w, whose channels and filters lie so many numbers apart."""
    rows = shape.blocks * shape.channels
    w, packed, u = np.ascontiguousarray(w), *(np.empty(k * rows * shape.width, w.dtype) for k in (9, ENTRIES))
    launch(made(conv.pack, shape.number, shape.width),
           [*places(w, packed, taps), 1, 9, shape.channels, shape.filters, 0, channel, filter], 1)
    launch(made(winograd.weights, shape), places(packed, u), rows,
           parts_of(rows, u.nbytes / BYTES_WORTH_THREADS))
    return u


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray | None:
    """y, or None if it is not finite."""
    o, c = w.shape[:2]
    shape = _tiling(NUMBERS[x.dtype], c, o)
    return _convolved(x, _transformed(w, shape, TAPS, 9, 9 * c), b, shape, geometry)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry
                  ) -> np.ndarray | None:
    """dx, a convolution of g with turned filters, whose channels are the filters of w; None if not finite."""
    o, c = w.shape[:2]
    shape = _tiling(NUMBERS[g.dtype], o, c)
    return _convolved(g, _transformed(w, shape, BACK, 9 * c, 9), b, shape, geometry.turned)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray | None:
    """dw (O, C, 3, 3), or None if it is not finite."""
    o, c, sizes, dtype = g.shape[1], x.shape[1], _sizes(geometry, len(x)), x.dtype
    shape = _tiling(NUMBERS[dtype], c, o)
    count = -(-sizes[6] // shape.tile)
    parts = parts_of(count, sizes[6] * 16 * c * o / WORTH_THREADS)
    g, x, scratch = _last(g), _last(x), np.empty(parts * shape.room, dtype)
    sums, dw = np.zeros((parts, ENTRIES, c, shape.padded), dtype), np.empty((3, 3, c, shape.padded), dtype)
    launch(made(winograd.adjoint, shape), [*places(x, g, sums, scratch), *sizes], count, parts)
    total = sums[0] if parts == 1 else np.add.reduce(sums)
    rows = c * shape.padded // shape.lanes
    launch(made(winograd.filters, shape), places(total, dw), rows,
           parts_of(rows, total.nbytes / BYTES_WORTH_THREADS))
    dw = np.ascontiguousarray(dw[..., :o].transpose(3, 2, 0, 1))
    return dw if np.isfinite(dw).all() else None
