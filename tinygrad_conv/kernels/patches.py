"""The three bilinear maps of convolution for any channels and groups: chunked im2col, one GEMM per chunk.

Called directly for groups of several channels, and by wide.py for a single group.
Physical layout is channels-last: a patch row is KW*C numbers in one run, a GEMM writes into the
output's own memory. The columns are those of one chunk (some samples, or a band of one), small enough
for the L2 cache. Shapes are logical NCHW throughout; results are channels-last memory seen as NCHW.
A cotangent g is read as channels-last rows, one per window: where O numbers make a window they may
lie in several columns of g.
"""
import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from .geometry import Geometry
from .layout import compute_dtype, crop, fill, finite, fitting_bands, in_bands, patches, tap
from .parallel import in_chunks, workspace

RUNS = 5  # how many times more adds of long runs are as fast as adds of single cells


def _matrix(w: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """Weights (O, C/G, KH, KW) as G matrices (G, KH*KW*C/G, O/G)."""
    o, cg, kh, kw = w.shape
    m = w.reshape(groups, o // groups, cg, kh, kw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(m, dtype).reshape(groups, kh * kw * cg, o // groups)


def _rows(y: np.ndarray, groups: int, filters: int) -> np.ndarray:
    """Contiguous channels-last y as G matrices (G, n*OH*OW, O/G), a view."""
    return y.reshape(-1, groups, filters // groups).transpose(1, 0, 2)


def _sizes(geometry: Geometry, c: int, o: int, itemsize: int) -> tuple[int, int, int]:
    """Numbers in a column, bytes of a sample's columns and outputs, multiply-adds of its product."""
    k, windows = math.prod(geometry.kernel) * c // geometry.groups, math.prod(geometry.out)
    return k, (k * geometry.groups + o) * windows * itemsize, k * (o // geometry.groups) * windows


def _last(g: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A chunk g (n, O, OH, OW) in contiguous channels-last memory (n, OH, OW, O)."""
    gl = g.transpose(0, 2, 3, 1)
    if gl.flags.c_contiguous and gl.dtype == dtype:
        return gl
    copy = workspace("cotangent", gl.shape, dtype)
    np.copyto(copy, gl)
    return copy


class _Columns:
    """Workspace of one thread: the padded chunk and its columns, after them `ones` columns of 1.

    A patch is copied in KH runs of KW*C/G numbers or, where that makes fewer runs, a row of OW outputs in
    KH*KW*C/G runs, one for each tap and channel: columns and image lie in memory with these outermost.
    """

    def __init__(self, geometry: Geometry, n: int, x: np.ndarray, ones: int, dtype: np.dtype) -> None:
        self.geometry, groups, cg = geometry, geometry.groups, x.shape[1] // geometry.groups
        k, kw = math.prod(geometry.kernel) * cg, geometry.kernel[1]
        by_taps = geometry.stride[1] == 1 < kw and kw * cg < geometry.out[1]
        self.bare = geometry.bare and x.strides[3 if by_taps else 1] == x.itemsize  # x serves: runs lie whole

        def space(role: str, size: tuple[int, ...], last: int) -> np.ndarray:
            if by_taps:
                return workspace(role, (groups, last, n, *size), dtype).transpose(0, 2, 3, 4, 1)
            return workspace(role, (groups, n, *size, last), dtype)

        self.columns = space("columns", geometry.out, k + ones)
        self.patches = self.columns[..., :k].reshape(groups, n, *geometry.out, *geometry.kernel, cg)
        self.columns[..., k:] = 1
        if not self.bare:
            self.padded = space("padded", geometry.padded, cg)
            self.padded.fill(0)

    def of(self, x: np.ndarray) -> np.ndarray:
        """The columns (G, n*OH*OW, KH*KW*C/G + ones) of a chunk x (n, C, H, W)."""
        (n, c, h, w), groups = x.shape, self.geometry.groups
        xp = x.reshape(n, groups, c // groups, h, w).transpose(1, 0, 3, 4, 2)  # (G, n, H, W, C/G)
        if not self.bare:
            fill(self.geometry, self.padded[:, :n], xp)
            xp = self.padded[:, :n]
        np.copyto(self.patches[:, :n], patches(self.geometry, xp))
        return self.columns[:, :n].reshape(len(self.columns), -1, self.columns.shape[-1])


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    dtype, groups = compute_dtype(x, w, b), geometry.groups
    wm = _matrix(w, groups, dtype)
    if b is not None:  # one more row, which the ones meet
        wm = np.concatenate([wm, b.astype(dtype, copy=False).reshape(groups, 1, -1)], axis=1)
    y = np.empty((len(x), *geometry.out, len(w)), dtype)
    _, item, products = _sizes(geometry, x.shape[1], len(w), dtype.itemsize)

    def work(slices, n, found):
        for rows, cells, band in found:
            space = _Columns(band, n, x, int(b is not None), dtype)
            for s in slices:
                np.matmul(space.of(x[s, :, cells]), wm, out=_rows(y[s, rows], groups, len(w)))

    in_bands(len(x), geometry, item, work, products)
    return y.transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype, groups, (kh, kw), c = compute_dtype(x, g), geometry.groups, geometry.kernel, x.shape[1]
    o = math.prod(g.shape[1:]) // math.prod(geometry.out)  # numbers of g that belong to one window
    k, item, products = _sizes(geometry, c, o, dtype.itemsize)

    def work(slices, n, found):
        total = np.zeros((groups, k, o // groups), dtype)
        for rows, cells, band in found:
            space = _Columns(band, n, x, 0, dtype)
            for s in slices:
                gl = _rows(_last(g[s, :, rows], dtype), groups, o)
                total += np.matmul(space.of(x[s, :, cells]).transpose(0, 2, 1), gl)
        return total

    parts = in_bands(len(x), geometry, item, work, products)
    total = parts[0] if len(parts) == 1 else np.add.reduce(parts)
    return np.ascontiguousarray(total.reshape(groups, kh, kw, c // groups, o // groups).transpose(
        0, 4, 3, 1, 2)).reshape(o, c // groups, kh, kw)


def rotated(w: np.ndarray, groups: int) -> np.ndarray:
    """Filters turned by 180 degrees with in and out axes swapped: (C, O/G, KH, KW)."""
    o, cg, kh, kw = w.shape
    w = w.reshape(groups, o // groups, cg, kh, kw)[..., ::-1, ::-1]
    return w.transpose(0, 2, 1, 3, 4).reshape(groups * cg, o // groups, kh, kw)


def _meeting(geometry: Geometry, xp: np.ndarray, columns: np.ndarray) -> Iterator[
        tuple[np.ndarray, np.ndarray]]:
    """Cells of xp (n, Hp, Wp, C) and what of columns (G, n, OH, OW, KH, KW, C/G) is added to them.

    By kernel rows and output columns where those are few (long runs), else by kernel taps, whose
    runs are whole rows in an image of one channel.
    """
    columns = columns.transpose(1, 2, 3, 4, 5, 0, 6)
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = (geometry.kernel, geometry.out, geometry.stride,
                                              geometry.dilation)
    few = 1 if xp.shape[3] == 1 else RUNS
    if dw == 1 and ow <= few * kw:
        for a, j in product(range(kh), range(ow)):  # what row a of the kernel sees at output column j
            rows = slice(a * dh, a * dh + (oh - 1) * sh + 1, sh)
            yield xp[:, rows, j * sw:j * sw + kw], columns[:, :, j, a]
    else:
        for a, b in product(range(kh), range(kw)):
            yield tap(geometry, xp, a, b), columns[:, :, :, a, b]


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    if geometry.stride == (1, 1) and finite(w):  # the zeros around g meet it
        return conv2d(g, rotated(w, geometry.groups), b, geometry.turned)
    return scatter(g, w, b, geometry)


def scatter(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """The input adjoint at any stride: columns of the gradient, added to the cells taps saw."""
    dtype, (o, cg, _, _), groups = compute_dtype(g, w, b), w.shape, geometry.groups
    wm = _matrix(w, groups, dtype).transpose(0, 2, 1)
    dx = np.zeros((len(g), *geometry.size, cg * groups), dtype)
    if b is not None:
        dx[...] = b
    _, item, products = _sizes(geometry, cg * groups, o, dtype.itemsize)

    def work(slices, n):
        for rows, cells, band in fitting_bands(geometry, item):
            for s in slices:
                _scatter(_rows(_last(g[s, :, rows], dtype), groups, o), wm, band, dx[s, cells])

    in_chunks(len(g), item, work, products)
    return dx.transpose(0, 3, 1, 2)


def _scatter(rows: np.ndarray, wm: np.ndarray, geometry: Geometry, dx: np.ndarray) -> None:
    """Add one chunk: rows (G, n*OH*OW, O/G) by wm (G, O/G, KH*KW*C/G), to dx (n, H, W, C)."""
    (n, _, _, c), groups = dx.shape, len(wm)
    columns = workspace("columns", (groups, n, *geometry.out, *geometry.kernel, c // groups), dx.dtype)
    np.matmul(rows, wm, out=columns.reshape(*rows.shape[:2], -1))
    xp = dx
    if not geometry.bare:
        xp = workspace("padded", (n, *geometry.padded, c), dx.dtype)
        xp.fill(0)
    for cells, run in _meeting(geometry, xp, columns):
        cells += run.reshape(cells.shape)
    if not geometry.bare:
        crop(geometry, dx, xp)
