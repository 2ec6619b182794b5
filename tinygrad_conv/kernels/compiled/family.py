"""Family `compiled`: what the table of kernels asks for, done by machine code made for the call's shape.

Arrays are laid out, a kernel is chosen (and made, once), and its work is spread over the threads. Kernels are
specialised on channels, filters, kernel, stride and dtype. Each thread has a scratch, and sums, of its own,
so that calls from several threads do not meet.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ..geometry import REMEMBERED, Geometry
from .. import patches
from ..layout import compute_dtype, finite
from ..parallel import get_num_threads
from . import conv, plan as plans, pool, tiled
from .arrays import NUMBERS, even, lanes_for, made, places
from .conv import Shape
from .launch import BYTES_WORTH_THREADS, WORTH_THREADS, launch, parts_of
from .machine import target
from .pool import Windows

FEW = 8        # filters for which vectors may run along the channels
LONG = 512     # and products of a tap that are written out
ADDING_UP = 8  # instructions that the lanes of a vector take to be added up


def _readable(a: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, list[int]]:
    """The array in a dtype, and its strides counted in numbers."""
    if a.dtype != dtype or not a.flags.aligned or any(s % a.itemsize for s in a.strides):
        a = np.array(a, dtype)
    return a, [s // a.itemsize for s in a.strides]


def _last(a: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """(N, C, H, W) as a dense array (N, H, W, C)."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1), dtype)


# ----- registers: how many lanes, vectors of filters and neighbours -----

def _vectors(count: int) -> int:
    """Of so many vectors of filters, how many go together."""
    return count if count <= 2 else 3 if count % 3 == 0 and target().registers == 32 else 2


def _few(number: str, o: int, c: int, taps: int) -> bool:
    """Whether vectors along the channels take fewer instructions than vectors along the filters."""
    along_channels = o * (taps * -(-c // lanes_for(number, c)) + ADDING_UP)
    along_filters = taps * c * -(-o // lanes_for(number, o))
    return o <= FEW and o * c <= LONG and along_channels < along_filters


# ----- convolution -----

class Convolution(NamedTuple):
    """How the outputs of a geometry are computed: made once, used at every call."""

    kernel: int
    pack: int
    shape: Shape
    plan: plans.Plan
    packed: int                # weights as the kernel reads them, in numbers
    offsets: np.ndarray        # of each tap in w
    counts: tuple[int, ...]    # groups, taps, channels and filters, as `pack` sees them
    strides: tuple[int, ...]   # of groups, channels and filters in w
    zeros: np.ndarray          # a bias of none


@lru_cache(REMEMBERED)
def _convolution(make: Callable[..., plans.Plan], geometry: Geometry, o: int, c: int, dtype: np.dtype,
                 bands: int) -> Convolution:
    """Of `conv2d`, or of the input adjoint if the plan is made `backward`; w is (groups * o, c, KH, KW)."""
    number, groups, (kh, kw) = NUMBERS[dtype], geometry.groups, geometry.kernel
    so, sc, sg = c * kh * kw, kh * kw, o * c * kh * kw
    if make is plans.backward:
        o, c, so, sc = c, o, sc, so
    plan = make(geometry, c * groups * dtype.itemsize, bands)

    def shape(lanes: int, vectors: int, most: int, c: int = c, o: int = o, g: int = groups) -> Shape:
        return Shape(number, lanes, vectors, even(plan.narrowest, most), c, o, g, plan.phases, plan.step,
                     plan.spacing)
    wide = target().registers == 32
    if c == o == 1 and groups > 1:
        lanes = lanes_for(number, groups)
        kind, found = conv.gather_each, shape(lanes, 1, 12 if wide else 6, groups, groups, 1)
        counts, strides, block = (1, found.taps, 1, groups), (0, 0, sg), found.block
    elif _few(number, o, c, kh * kw):
        kind, found = conv.gather_few, shape(lanes_for(number, c), 1, max(1, (24 if wide else 10) // o))
        counts, strides, block = (groups, found.taps, o, c), (sg, so, sc), c
    else:
        lanes = lanes_for(number, o)
        vectors = _vectors(-(-o // lanes))
        kind = conv.gather
        most = (24 if vectors == 1 else 20) if wide else 12  # sums; beside them, T numbers wait to be spread
        found = shape(lanes, vectors, most // vectors - (not wide and vectors == 1))
        counts, strides, block = (groups, found.taps, c, o), (sg, sc, so), found.block
    packed = counts[0] * -(-counts[3] // block) * block * counts[1] * counts[2]
    offsets = plan.taps[0] * kw + plan.taps[1]
    return Convolution(made(kind, found), made(conv.pack, number, block), found, plan, packed,
                       offsets.astype(np.int64), counts, strides, np.zeros(o * groups, dtype))


def _convolve(make: Callable[..., plans.Plan], x: np.ndarray, w: np.ndarray, b: np.ndarray | None,
              geometry: Geometry, channels: int, size: tuple[int, ...]) -> np.ndarray:
    """y (N, channels, *size)."""
    dtype, n, groups = compute_dtype(x, w), len(x), geometry.groups
    y = np.empty((n, *size, channels), dtype)  # first: a plan for more than fits in memory would take long
    bands = max(1, -(-get_num_threads() // max(n, 1)))
    found = _convolution(make, geometry, len(w) // groups, w.shape[1], dtype, bands)
    kernel, shape, plan = found.kernel, found.shape, found.plan
    x, (sn, sc, sh, sw) = _readable(x, dtype)
    w = np.ascontiguousarray(w, dtype)
    b = found.zeros if b is None else np.ascontiguousarray(b, dtype)
    packed = np.empty(found.packed, dtype)
    px, pw, pb, py, pk, po, pp = places(x, w, b, y, packed, found.offsets, plan.numbers)
    launch(found.pack, [pw, pk, po, *found.counts, *found.strides], 1)
    parts, room = parts_of(n * plan.bands, y.size * found.packed // max(1, shape.filters) / WORTH_THREADS
                           ), plan.cells * shape.scratch
    scratch, yh = np.empty(parts * room, dtype), size[1] * channels
    launch(kernel, [px, pk, pb, py, *places(scratch), pp, room, plan.bands, plan.fields, sn, sh, sw, sc,
                    size[0] * yh, yh], n * plan.bands, parts)
    return y.transpose(0, 3, 1, 2)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    if tiled.worth(geometry, len(x), x.shape[1], len(w), x.dtype):
        y = tiled.conv2d(x, w, b, geometry)
        if y is not None:
            return y
    return _convolve(plans.forward, x, w, b, geometry, len(w), geometry.out)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    if geometry.stride == (1, 1) and tiled.worth(geometry.turned, len(g), g.shape[1], w.shape[1], g.dtype):
        dx = tiled.input_adjoint(g, w, b, geometry)
        if dx is not None:
            return dx
    if not finite(w):  # the zeros around g would meet it
        return patches.scatter(g, w, b, geometry)
    return _convolve(plans.backward, g, w, b, geometry, w.shape[1] * geometry.groups, geometry.size)


class Correlation(NamedTuple):
    """How the weight adjoint of a geometry is computed."""

    kernel: int
    shape: Shape
    plan: plans.Plan
    size: tuple[int, ...]  # of the sums as the kernel leaves them
    each: bool             # each filter sees one channel


@lru_cache(REMEMBERED)
def _correlation(geometry: Geometry, o: int, c: int, dtype: np.dtype, bands: int) -> Correlation:
    number, groups, (kh, kw) = NUMBERS[dtype], geometry.groups, geometry.kernel
    plan, wide = plans.forward(geometry, c * groups * dtype.itemsize, bands), target().registers == 32
    each = c == o == 1 and groups > 1
    if each:
        c = o = groups
        groups, rows = 1, kh * kw
    else:
        rows = kh * kw * c
    lanes = lanes_for(number, o)
    vectors = 1 if each else min(2, -(-o // lanes))
    most = (24 if wide else 12) // vectors - (not wide and vectors == 1)
    tile = even(rows, most) if rows <= 4 * most else most
    shape = Shape(number, lanes, vectors, tile, c, o, groups, plan.phases, plan.step)
    size = (shape.blocks, kh, kw, shape.block) if each else (groups, kh, kw, c, shape.blocks * shape.block)
    generator = conv.correlate_each if each else conv.correlate
    return Correlation(made(generator, shape), shape, plan, size, each)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    if tiled.worth(geometry, len(x), x.shape[1], g.shape[1], x.dtype):
        dw = tiled.weight_adjoint(g, x, geometry)
        if dw is not None:
            return dw
    dtype, n, groups, (kh, kw) = compute_dtype(g, x), len(x), geometry.groups, geometry.kernel
    o, c = g.shape[1] // groups, x.shape[1] // groups
    bands = max(1, -(-get_num_threads() // max(n, 1)))
    kernel, shape, plan, size, each = _correlation(geometry, o, c, dtype, bands)
    x, (sn, sc, sh, sw) = _readable(x, dtype)
    g = _last(g, dtype)
    pg, px, pp = places(g, x, plan.numbers)
    gh = g.shape[2] * g.shape[3]
    parts, room = parts_of(n * plan.bands, g.size * kh * kw * c / WORTH_THREADS), plan.cells * shape.scratch
    dw, scratch = np.zeros((parts, *size), dtype), np.empty(parts * room, dtype)
    ps, pd = places(dw, scratch)
    launch(kernel, [px, pg, ps, pd, pp, room, dw[0].size, plan.bands, plan.fields, sn, sh, sw, sc,
                    g.shape[1] * gh, gh], n * plan.bands, parts)
    dw = dw[0] if parts == 1 else np.add.reduce(dw)
    if each:
        return np.ascontiguousarray(dw.transpose(0, 3, 1, 2).reshape(-1, 1, kh, kw)[:groups])
    return np.ascontiguousarray(dw[..., :o].transpose(0, 4, 3, 1, 2)).reshape(groups * o, c, kh, kw)


# ----- pooling -----

@lru_cache(REMEMBERED)
def _windows(generator: Callable[..., Any], geometry: Geometry, c: int, dtype: np.dtype
             ) -> tuple[int, tuple[int, ...]]:
    """The kernel, and where the images lie."""
    number = NUMBERS[dtype]
    shape = Windows(number, lanes_for(number, c), c, geometry.kernel, geometry.stride, geometry.dilation,
                    geometry.bare and not geometry.ceil_mode, geometry.overlap, geometry.cover)
    return made(generator, shape), (
        *geometry.size, *geometry.out, *[before for before, _ in geometry.padding],
        *[n + min(0, after) for n, (_, after) in zip(geometry.size, geometry.padding)])


def _pool(generator: Callable[..., Any], geometry: Geometry, size: tuple[int, ...], images: list[np.ndarray],
          divisor: np.ndarray | None = None, like: int = 0) -> np.ndarray:
    """The kernel's last array, (N, C, *size), from the images; it lies in memory as number `like` of them."""
    (n, c), dtype = images[0].shape[:2], compute_dtype(*images)
    kernel, rest = _windows(generator, geometry, c, dtype)
    arrays = [_last(a, dtype) for a in images]
    if divisor is not None:
        arrays.append(np.ascontiguousarray(np.broadcast_to(divisor, geometry.out), dtype))
    result = np.empty((n, *size, c), dtype)
    launch(kernel, [*places(*arrays, result), *rest], n,
           parts_of(n, (result.nbytes + arrays[0].nbytes) / BYTES_WORTH_THREADS))
    result, last = result.transpose(0, 3, 1, 2), images[like].strides[1] == images[like].itemsize
    return result if last else np.ascontiguousarray(result)


def maxima(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = max over a,b of x[n,c,i*s+a*d-p,j*s+b*d-p]; NaN if one of them is."""
    return _pool(pool.maxima, geometry, geometry.out, [x])


def maxima_scatter(g: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum of g[n,c,i,j] over the windows (i, j) whose maximum y is cell (u, v)."""
    return _pool(pool.maxima_scatter, geometry, geometry.size, [g, x, y], like=1)


def maxima_gather(u: np.ndarray, x: np.ndarray, y: np.ndarray, geometry: Geometry) -> np.ndarray:
    """What stands in u where the maxima y of x stood."""
    return _pool(pool.maxima_gather, geometry, geometry.out, [u, x, y], like=1)


def averages(x: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """y[n,c,i,j] = sum over a,b of x[n,c,i*s+a-p,j*s+b-p] / divisor[i,j]."""
    return _pool(pool.averages, geometry, geometry.out, [x], divisor)


def averages_adjoint(g: np.ndarray, divisor: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = sum over i,j,a,b with i*s+a-p = u, .. of g[n,c,i,j] / divisor[i,j]."""
    return _pool(pool.averages_adjoint, geometry, geometry.size, [g], divisor)
