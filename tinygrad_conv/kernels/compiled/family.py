"""The three maps of convolution on arrays, family `compiled`: arrays laid out, kernels chosen and run."""
from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from ..geometry import Geometry
from ..layout import compute_dtype
from ..parallel import BYTES_WORTH_THREADS, get_num_threads, split, workspace
from . import conv, plan as plans, pool
from .conv import Shape
from .machine import compiled, target
from .pool import Windows

NUMBERS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
WORTH_THREADS = 1 << 18  # multiply-adds; below, handing work over costs more


@lru_cache(1024)
def _kernel(generator: Any, shape: Shape) -> Any:
    return compiled(generator(shape))


def _lanes(number: str, count: int) -> int:
    """Numbers of a vector: all that a register holds, or half of it and less if that is enough."""
    most = target().width // (4 if number == "float" else 8)
    while most // 2 >= count and most > 2:
        most //= 2
    return most


def _blocking(number: str, filters: int, narrowest: int, channels: int) -> tuple[int, int, int]:
    """(lanes, V, T): as many neighbours as registers and the row allow."""
    lanes = _lanes(number, filters)
    vectors, registers = -(-filters // lanes), target().registers
    v = vectors if vectors <= (4 if registers == 32 else 2) and vectors != 4 else 2 if vectors % 3 or registers < 32 else 3
    most = max(1, (registers - 8 if registers == 32 else registers - 3) // v - (v > 1))
    return lanes, v, -(-narrowest // -(-narrowest // most))


def _addresses(*arrays: np.ndarray) -> list[int]:
    return [a.__array_interface__["data"][0] for a in arrays]


def _elements(a: np.ndarray) -> list[int]:
    """Strides counted in numbers."""
    return [s // a.itemsize for s in a.strides]


def _outputs(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, plan: plans.Plan, groups: int,
             size: tuple[int, int], dtype: np.dtype) -> np.ndarray:
    """y (N, G*O, *size) of x (N, G*C, ., .) and w (G, KH, KW, C, O)."""
    n, number = len(x), NUMBERS[dtype]
    c, o = w.shape[3:]
    shape_of = lambda lanes, v, t, c, o, g: Shape(number, lanes, v, t, c, o, g, plan.phases, plan.step, plan.spacing)
    w = w[:, plan.taps[0], plan.taps[1]]  # (G, taps, C, O)
    if c == o == 1 and groups > 1:
        lanes, v, t = _blocking(number, groups, plan.narrowest, 1)
        generator, shape = conv.gather_each, shape_of(lanes, v, t, groups, groups, 1)
        packed = _in_blocks(w[:, :, 0].transpose(2, 1, 0), shape)
    elif o <= 3 and c >= 4:
        lanes = _lanes(number, c)
        most = max(1, min(8, (target().registers - o - 2) // (o + 1)))
        t = -(-plan.narrowest // -(-plan.narrowest // most))
        generator, shape = conv.gather_few, shape_of(lanes, 1, t, c, o, groups)
        packed = np.ascontiguousarray(w.transpose(0, 1, 3, 2), dtype)
    else:
        generator, shape = conv.gather, shape_of(*_blocking(number, o, plan.narrowest, c), c, o, groups)
        packed = _in_blocks(w.reshape(groups, -1, o), shape)
    kernel = _kernel(generator, shape)
    y = np.empty((n, *size, o * groups), dtype)
    bias = np.zeros(o * groups, dtype) if b is None else np.ascontiguousarray(b, dtype)
    px, pw, pb, py, pp = _addresses(x, packed, bias, y, plan.numbers)
    sn, sc, sh, sw = _elements(x)

    def work(lo: int, hi: int) -> None:
        scratch = workspace("band", (plan.cells * shape.scratch,), dtype)
        kernel(px, pw, pb, py, *_addresses(scratch), pp, lo, hi, plan.bands, plan.fields, sn, sh, sw, sc,
               math.prod(y.shape[1:]), size[1] * o * groups)
    units = n * plan.bands
    split(units, y.size * shape.taps * c > WORTH_THREADS * len(plan.phases), work, hold=False)
    return y.transpose(0, 3, 1, 2)


def _in_blocks(w: np.ndarray, shape: Shape) -> np.ndarray:
    """w (G, K, O) as (G, blocks, K, V * lanes), filled up with zeros."""
    g, k, o = w.shape
    padded = np.zeros((g, k, shape.blocks * shape.block), NUMPY[shape.number])
    padded[..., :o] = w
    return np.ascontiguousarray(padded.reshape(g, k, shape.blocks, shape.block).transpose(0, 2, 1, 3))


NUMPY = {number: dtype for dtype, number in NUMBERS.items()}


def _readable(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """In the dtype, its strides whole numbers of entries."""
    a = a.astype(dtype, copy=False)
    return a if a.flags.aligned and not any(s % a.itemsize for s in a.strides) else a.copy()


def _bands(n: int) -> int:
    return -(-get_num_threads() // n) if n else 1


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    dtype, groups = compute_dtype(x, w), geometry.groups
    plan = plans.forward(geometry, x.shape[1] * dtype.itemsize, _bands(len(x)))
    w = w.reshape(groups, -1, *w.shape[1:]).transpose(0, 3, 4, 2, 1)
    return _outputs(_readable(x, dtype), w, b, plan, groups, geometry.out, dtype)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    dtype, groups = compute_dtype(g, w), geometry.groups
    plan = plans.backward(geometry, g.shape[1] * dtype.itemsize, _bands(len(g)))
    w = w.reshape(groups, -1, *w.shape[1:]).transpose(0, 3, 4, 1, 2)
    return _outputs(_readable(g, dtype), w, b, plan, groups, geometry.size, dtype)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype, groups, (kh, kw) = compute_dtype(g, x), geometry.groups, geometry.kernel
    number, n, c, o = NUMBERS[dtype], len(x), x.shape[1] // groups, g.shape[1] // groups
    plan = plans.forward(geometry, x.shape[1] * dtype.itemsize, _bands(n))
    x, registers = _readable(x, dtype), target().registers
    g = np.ascontiguousarray(g.transpose(0, 2, 3, 1), dtype)
    each = c == o == 1 and groups > 1
    lanes = _lanes(number, groups if each else o)
    vectors = -(-(groups if each else o) // lanes)
    v = 1 if each else min(vectors, 2)
    rows = kh * kw if each else kh * kw * c
    most = (registers - 2 - v) // v if not each else registers - 4
    most = min(most, 24 // v) if registers == 32 else most - (v > 1)
    t = -(-rows // -(-rows // most)) if rows <= 4 * most else most
    shape = Shape(number, lanes, v, t, groups if each else c, groups if each else o, 1 if each else groups,
                  plan.phases, plan.step)
    kernel = _kernel(conv.correlate_each if each else conv.correlate, shape)
    pg, px, pp = _addresses(g, x, plan.numbers)
    sn, sc, sh, sw = _elements(x)
    size = (shape.blocks, kh, kw, shape.block) if each else (groups, kh, kw, c, shape.blocks * shape.block)

    def work(lo: int, hi: int) -> np.ndarray:
        scratch, dw = workspace("band", (plan.cells * shape.scratch,), dtype), np.zeros(size, dtype)
        kernel(px, pg, *_addresses(dw, scratch), pp, lo, hi, plan.bands, plan.fields, sn, sh, sw, sc,
               math.prod(g.shape[1:]), math.prod(g.shape[2:]))
        return dw
    parts = split(n * plan.bands, g.size * rows > WORTH_THREADS, work, hold=False)
    dw = parts[0] if len(parts) == 1 else np.add.reduce(parts)
    if each:
        return np.ascontiguousarray(dw.transpose(0, 3, 1, 2).reshape(-1, 1, kh, kw)[:groups])
    return np.ascontiguousarray(dw[..., :o].transpose(0, 4, 3, 1, 2)).reshape(groups * o, c, kh, kw)


# ----- pooling: dense images, channels last -----

def _last(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """(N, C, H, W) as a dense array (N, H, W, C)."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1), dtype)


def _pooling(generator: Any, geometry: Geometry, size: tuple[int, int], images: list[np.ndarray],
             divisor: np.ndarray | None = None) -> np.ndarray:
    """The kernel's last array, (N, C, *size), from the images."""
    (n, c), dtype = images[0].shape[:2], compute_dtype(*images)
    number = NUMBERS[dtype]
    kernel = _kernel(generator, Windows(
        number, _lanes(number, c), c, geometry.kernel, geometry.stride, geometry.dilation,
        geometry.bare and not geometry.ceil_mode, geometry.overlap, geometry.cover))
    result = np.empty((n, *size, c), dtype)
    arrays = [_last(a, dtype) for a in images]
    if divisor is not None:
        arrays.append(np.ascontiguousarray(np.broadcast_to(divisor, geometry.out), dtype))
    addresses = _addresses(*arrays, result)
    rest = (*geometry.size, *geometry.out, geometry.padding[0][0], geometry.padding[1][0],
            *[n + min(0, after) for n, (_, after) in zip(geometry.size, geometry.padding)])
    split(n, result.nbytes + arrays[0].nbytes > BYTES_WORTH_THREADS,
          lambda lo, hi: kernel(*addresses, lo, hi, *rest), hold=False)
    return result.transpose(0, 3, 1, 2)


def maxima(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = max over a,b of x[n,c,i*s+a*d-p,j*s+b*d-p]; NaN if one of them is."""
    return _pooling(pool.maxima, geometry, geometry.out, [x])


def maxima_scatter(g: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum of g[n,c,i,j] over the windows (i, j) whose maximum y is cell (u, v)."""
    return _pooling(pool.maxima_scatter, geometry, geometry.size, [g, x, y])


def maxima_gather(u: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What stands in u where the maxima y of x stood."""
    return _pooling(pool.maxima_gather, geometry, geometry.out, [u, x, y])


def averages(x: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = sum over a,b of x[n,c,i*s+a-p,j*s+b-p] / divisor[i,j]."""
    return _pooling(pool.averages, geometry, geometry.out, [x], divisor)


def averages_adjoint(g: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum over i,j,a,b with i*s+a-p = u, .. of g[n,c,i,j] / divisor[i,j]."""
    return _pooling(pool.averages_adjoint, geometry, geometry.size, [g], divisor)
