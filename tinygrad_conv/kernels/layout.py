"""How arrays lie in memory for the strategies: dtypes to compute in, and a geometry's windows as views.

Physical layout is channels-last; a padded image xp is (n, Hp, Wp, C).
"""
import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .geometry import REMEMBERED, Geometry
from .parallel import BYTES_WORTH_THREADS, fitting, get_num_threads, in_chunks, split

Band = tuple[slice, slice, Geometry]
LEAST = 1024  # windows a band should have: every product reads all weights


def compute_dtype(*arrays: np.ndarray | None) -> np.dtype:
    """The common dtype, at least float32: half precision is for storage, not for sums. None has no part."""
    dtype = np.result_type(*[a for a in arrays if a is not None])
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def finite(a: np.ndarray) -> bool:
    """Whether no entry is inf or nan, so that a product by 0 is 0."""
    return bool(np.isfinite(np.maximum.reduce(a, None, initial=0)) and
                np.isfinite(np.minimum.reduce(a, None, initial=0)))


def fill(geometry: Geometry, xp: np.ndarray, x: np.ndarray) -> None:
    """Copy x (..., H, W, C) into the middle of xp, whose border is zero."""
    (rows, columns), (rows_p, columns_p) = geometry.copied
    xp[..., rows_p, columns_p, :] = x[..., rows, columns, :]


def crop(geometry: Geometry, x: np.ndarray, xp: np.ndarray) -> None:
    """The adjoint of `fill`, added to x (n, H, W, C)."""
    (rows, columns), (rows_p, columns_p) = geometry.copied
    x[:, rows, columns] += xp[:, rows_p, columns_p]


def patches(geometry: Geometry, xp: np.ndarray) -> np.ndarray:
    """All windows of xp (G, n, Hp, Wp, C/G) as a view (G, n, OH, OW, KH, KW, C/G)."""
    sg, sn, sh, sw, sc = xp.strides
    dh, dw = geometry.dilation
    ah, aw = map(min, geometry.stride, geometry.padded)  # beyond, there is one window
    shape = *xp.shape[:2], *geometry.out, *geometry.kernel, xp.shape[4]
    strides = sg, sn, ah * sh, aw * sw, dh * sh, dw * sw, sc
    if xp.flags.c_contiguous:  # the same, five times faster
        return np.ndarray(shape, xp.dtype, xp, 0, strides)
    return as_strided(xp, shape, strides, writeable=False)


def tap(geometry: Geometry, xp: np.ndarray, a: int, b: int) -> np.ndarray:
    """The cells of xp that kernel tap (a, b) sees: a view (n, OH, OW, C)."""
    (dh, dw), (sh, sw), (oh, ow) = geometry.dilation, geometry.stride, geometry.out
    return xp[:, a * dh:a * dh + (oh - 1) * sh + 1:sh, b * dw:b * dw + (ow - 1) * sw + 1:sw]


def fitting_bands(geometry: Geometry, item: int) -> list[Band]:
    """Bands that fit the cache, if a sample takes `item` bytes: one, or chunks hold one sample."""
    oh, ow = geometry.out
    twice = 2 * geometry.kernel[0]  # neighbours share the rows that one kernel sees
    return bands(geometry, max(fitting(item // oh), -(-LEAST // ow), twice))


@lru_cache(maxsize=REMEMBERED)
def bands(geometry: Geometry, rows: int) -> list[Band]:
    """Bands of at most `rows` output rows: those, the input rows they see, their own geometry."""
    s, (before, _), h = geometry.stride[0], geometry.padding[0], geometry.size[0]
    count, found = -(-geometry.out[0] // rows), []
    for lo, hi in pairwise([geometry.out[0] * i // count for i in range(count + 1)]):
        first, last = lo * s - before, (hi - 1) * s - before + geometry.spans[0]
        a, b = (min(max(i, 0), h) for i in (first, last))
        found.append((slice(lo, hi), slice(a, b), replace(
            geometry, size=(b - a, *geometry.size[1:]),
            padding=((a - first, last - b), *geometry.padding[1:]))))
    return found


def in_bands(count: int, geometry: Geometry, item: int, work: Callable[[list[slice], int, list[Band]], Any],
             products: float = math.inf) -> list[Any]:
    """`in_chunks` with `work(slices, n, bands)`, for work whose bands do not meet.

    All bands of some samples are a part or, where there are fewer samples than threads, some bands of all.
    """
    found, threads = fitting_bands(geometry, item), get_num_threads()
    if count >= threads or count * item <= BYTES_WORTH_THREADS:
        return in_chunks(count, item, lambda slices, n: work(slices, n, found), products)
    if len(found) < threads:
        found = bands(geometry, -(-geometry.out[0] // threads))
    samples = [slice(i, i + 1) for i in range(count)]
    return split(len(found), True, lambda lo, hi: work(samples, 1, found[lo:hi]), products > 0)
