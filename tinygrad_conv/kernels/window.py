"""How the windows of a convolution lie on its padded, channels-last input."""
from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .geometry import Sides, reach

Pair = tuple[int, int]
FEW = 8  # up to so many channels, copying one after the other is faster


def compute_dtype(*arrays: np.ndarray) -> np.dtype:
    """The common dtype, at least float32: half precision is for storage, not for sums."""
    return np.result_type(np.float32, *arrays) if all(
        a.dtype == np.float16 for a in arrays) else np.result_type(*arrays)


def finite(a: np.ndarray) -> bool:
    """Whether no entry is inf or nan, so that a product by 0 is 0."""
    return bool(np.isfinite(np.max(a, initial=0)) and np.isfinite(np.min(a, initial=0)))


def _overlap(size: int, before: int, after: int) -> tuple[slice, slice]:
    """Which part of an axis is copied, and where to, when it is padded (or cropped, if < 0)."""
    count = max(0, size - max(0, -before) - max(0, -after))
    src, dst = max(0, -before), max(0, before)
    return slice(src, src + count), slice(dst, dst + count)


class Window:
    """One geometry: how windows of KHxKW lie on the padded input of HxW."""

    def __init__(self, size: Pair, kernel: Pair, stride: Pair, padding: Sides, dilation: Pair):
        self.size, self.kernel, self.stride, self.dilation = size, kernel, stride, dilation
        self.padding = padding
        self.padded = tuple(n + sum(p) for n, p in zip(size, padding))
        self.out = tuple((n - reach(k, d)) // s + 1 for n, k, d, s in zip(
            self.padded, kernel, dilation, stride))
        (self.src_h, self.dst_h), (self.src_w, self.dst_w) = [
            _overlap(n, *p) for n, p in zip(size, padding)]

    def bare(self, x: np.ndarray) -> bool:
        """Whether x (N, C, H, W) can serve as its padded self: nothing is padded, pixels lie whole."""
        return self.padding == ((0, 0), (0, 0)) and x.strides[1] == x.itemsize

    def fill(self, xp: np.ndarray, x: np.ndarray) -> None:
        """Copy x (n, C, H, W) into the middle of xp (n, Hp, Wp, C), whose border is zero."""
        cells, values = xp[:, self.dst_h, self.dst_w], x[:, :, self.src_h, self.src_w]
        if x.shape[1] > FEW:
            cells[...] = values.transpose(0, 2, 3, 1)
        else:
            for c in range(x.shape[1]):
                cells[..., c] = values[:, c]

    def crop(self, x: np.ndarray, xp: np.ndarray) -> None:
        """The adjoint of `fill`, added to x (n, H, W, C)."""
        x[:, self.src_h, self.src_w] += xp[:, self.dst_h, self.dst_w]

    def patches(self, xp: np.ndarray, groups: int) -> np.ndarray:
        """All windows of xp (n, Hp, Wp, C) as a view (G, n, OH, OW, KH, KW, C/G)."""
        n, _, _, c = xp.shape
        sn, sh, sw, sc = xp.strides
        cg = c // groups
        shape = (groups, n, *self.out, *self.kernel, cg)
        (ah, aw), (dh, dw) = self.stride, self.dilation
        return as_strided(xp, shape, (cg * sc, sn, ah * sh, aw * sw, dh * sh, dw * sw, sc),
                          writeable=False)

    def tap(self, xp: np.ndarray, a: int, b: int) -> np.ndarray:
        """The cells of xp (n, Hp, Wp, C) that kernel tap (a, b) sees: a view (n, OH, OW, C)."""
        (dh, dw), (sh, sw), (oh, ow) = self.dilation, self.stride, self.out
        return xp[:, a * dh:a * dh + (oh - 1) * sh + 1:sh, b * dw:b * dw + (ow - 1) * sw + 1:sw]

    def run(self, xp: np.ndarray, a: int, j: int) -> np.ndarray:
        """What row a of the kernel sees at output column j, undilated: a view (n, OH, KW, C)."""
        (dh, _), (sh, sw), oh, kw = self.dilation, self.stride, self.out[0], self.kernel[1]
        return xp[:, a * dh:a * dh + (oh - 1) * sh + 1:sh, j * sw:j * sw + kw]


    def bands(self, rows: int) -> Iterator[tuple[slice, slice, Window]]:
        """Bands of at most `rows` output rows: those, the input rows they see, their own Window."""
        (sh, _), (dh, _), ((top, _), sides) = self.stride, self.dilation, self.padding
        h, count = self.size[0], -(-self.out[0] // rows)
        cuts = [self.out[0] * i // count for i in range(count + 1)]
        for lo, hi in pairwise(cuts):
            first, last = lo * sh - top, (hi - 1) * sh - top + reach(self.kernel[0], dh)
            a, b = (min(max(i, 0), h) for i in (first, last))
            yield slice(lo, hi), slice(a, b), window(
                (b - a, self.size[1]), self.kernel, self.stride, ((a - first, last - b), sides),
                self.dilation)


window = lru_cache(maxsize=256)(Window)  # the same few geometries come again every step


def turned(win: Window) -> Window:
    """The window in which, at stride 1, the input adjoint is a convolution of the gradient."""
    full = tuple((reach(k, d) - 1 - lo, reach(k, d) - 1 - hi) for k, d, (lo, hi) in zip(
        win.kernel, win.dilation, win.padding))
    return window(win.out, win.kernel, (1, 1), full, win.dilation)
