"""The three bilinear maps of convolution for many channels: chunked im2col, one GEMM per chunk.

Physical layout is channels-last: a patch row is KW*C numbers in one run, a GEMM writes into the
output's own memory. The columns are those of one chunk (some samples, or a band of one), small enough
for the L2 cache. Shapes are logical NCHW throughout; results are channels-last memory seen as NCHW.
A cotangent g is read as channels-last rows, one per window: where O numbers make a window they may
lie in several columns of g.
"""
from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .parallel import fitting, over, workspace
from .window import Window, compute_dtype

RUNS = 5  # how many times more adds of long runs are as fast as adds of single cells
LEAST = 1024  # windows a band should have: every product reads all weights


def _matrix(w: np.ndarray, groups: int, dtype: np.dtype) -> np.ndarray:
    """Weights (O, C/G, KH, KW) as G matrices (G, KH*KW*C/G, O/G)."""
    o, cg, kh, kw = w.shape
    m = w.reshape(groups, o // groups, cg, kh, kw).transpose(0, 3, 4, 2, 1)
    return np.ascontiguousarray(m, dtype).reshape(groups, kh * kw * cg, o // groups)


def _rows(y: np.ndarray, groups: int, filters: int) -> np.ndarray:
    """Contiguous channels-last y as G matrices (G, n*OH*OW, O/G), a view."""
    return y.reshape(-1, groups, filters // groups).transpose(1, 0, 2)


def _bands(win: Window, item: int) -> list[tuple[slice, slice, Window]]:
    """The window in bands that fit the cache, if a sample takes `item` bytes: one, or n is 1."""
    oh, ow = win.out
    twice = 2 * win.kernel[0]  # neighbours share the rows that one kernel sees
    return list(win.bands(max(fitting(item // oh), math.ceil(LEAST / ow), twice)))


def _filters(g: np.ndarray, win: Window) -> int:
    """How many numbers of g (N, ., ., .) belong to one window."""
    return math.prod(g.shape[1:]) // math.prod(win.out)


def _last(g: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A chunk g (n, O, OH, OW) in contiguous channels-last memory (n, OH, OW, O)."""
    gl = g.transpose(0, 2, 3, 1)
    if gl.flags.c_contiguous and gl.dtype == dtype:
        return gl
    copy = workspace("cotangent", gl.shape, dtype)
    np.copyto(copy, gl)
    return copy


class _Columns:
    """Workspace of one thread: the padded chunk and its columns, after them `ones` columns of 1."""

    def __init__(self, win: Window, n: int, x: np.ndarray, groups: int, ones: int,
                 dtype: np.dtype) -> None:
        self.win, self.groups, (kh, kw), c = win, groups, win.kernel, x.shape[1]
        k = kh * kw * c // groups
        self.bare = win.bare(x)
        self.columns = workspace("columns", (groups, n, *win.out, k + ones), dtype)
        self.patches = self.columns[..., :k].reshape(groups, n, *win.out, kh, kw, -1)
        self.columns[..., k:] = 1
        if not self.bare:
            self.padded = workspace("padded", (n, *win.padded, c), dtype)
            self.padded.fill(0)

    def of(self, x: np.ndarray) -> np.ndarray:
        """The columns (G, n*OH*OW, KH*KW*C/G + ones) of a chunk x (n, C, H, W)."""
        n = len(x)
        xp = x.transpose(0, 2, 3, 1) if self.bare else self.padded[:n]
        if not self.bare:
            self.win.fill(xp, x)
        np.copyto(self.patches[:, :n], self.win.patches(xp, self.groups))
        return self.columns[:, :n].reshape(self.groups, -1, self.columns.shape[-1])


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
           groups: int) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    dtype = compute_dtype(x, w)
    n_samples, c, _, _ = x.shape
    wm = _matrix(w, groups, dtype)
    if b is not None:  # one more row, which the ones meet
        wm = np.concatenate([wm, b.astype(dtype, copy=False).reshape(groups, 1, -1)], axis=1)
    y = np.empty((n_samples, *win.out, w.shape[0]), dtype)
    item = (wm.shape[1] * groups + len(w)) * math.prod(win.out) * dtype.itemsize
    bands = _bands(win, item)

    def work(slices, n):
        for rows, cells, band in bands:
            space = _Columns(band, n, x, groups, int(b is not None), dtype)
            for s in slices:
                np.matmul(space.of(x[s, :, cells]), wm, out=_rows(y[s, rows], groups, len(w)))

    over(n_samples, item, work)
    return y.transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    n_samples, c, _, _ = x.shape
    o, (kh, kw) = _filters(g, win), win.kernel
    k = kh * kw * c // groups
    item = (k * groups + o) * math.prod(win.out) * dtype.itemsize
    bands = _bands(win, item)

    def work(slices, n):
        total = np.zeros((groups, k, o // groups), dtype)
        for rows, cells, band in bands:
            space = _Columns(band, n, x, groups, 0, dtype)
            for s in slices:
                gl = _rows(_last(g[s, :, rows], dtype), groups, o)
                total += np.matmul(space.of(x[s, :, cells]).transpose(0, 2, 1), gl)
        return total

    parts = over(n_samples, item, work)
    total = parts[0] if len(parts) == 1 else np.add.reduce(parts)
    return np.ascontiguousarray(total.reshape(groups, kh, kw, c // groups, o // groups).transpose(
        0, 4, 3, 1, 2)).reshape(o, c // groups, kh, kw)


def rotated(w: np.ndarray, groups: int) -> np.ndarray:
    """Filters turned by 180 degrees with in and out axes swapped: (C, O/G, KH, KW)."""
    o, cg, kh, kw = w.shape
    w = w.reshape(groups, o // groups, cg, kh, kw)[..., ::-1, ::-1]
    return w.transpose(0, 2, 1, 3, 4).reshape(groups * cg, o // groups, kh, kw)


def _meeting(win: Window, xp: np.ndarray, columns: np.ndarray) -> Iterator[
        tuple[np.ndarray, np.ndarray]]:
    """Cells of xp (n, Hp, Wp, C) and what of columns (G, n, OH, OW, KH, KW, C/G) is added to them.

    By kernel rows and output columns where those are few (long runs), else by kernel taps, whose
    runs are whole rows in an image of one channel.
    """
    columns = columns.transpose(1, 2, 3, 4, 5, 0, 6)
    (kh, kw), few = win.kernel, 1 if xp.shape[3] == 1 else RUNS
    if win.dilation[1] == 1 and win.out[1] <= few * kw:
        for i, j in np.ndindex(kh, win.out[1]):
            yield win.run(xp, i, j), columns[:, :, j, i]
    else:
        for i, j in np.ndindex(kh, kw):
            yield win.tap(xp, i, j), columns[:, :, :, i, j]


def scatter(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
            groups: int) -> np.ndarray:
    """The input adjoint at any stride: columns of the gradient, added to the cells taps saw."""
    dtype = compute_dtype(g, w)
    n_samples, (o, cg, kh, kw) = len(g), w.shape
    wm = _matrix(w, groups, dtype).transpose(0, 2, 1)
    dx = np.zeros((n_samples, *win.size, cg * groups), dtype)
    if b is not None:
        dx[...] = b
    item = (kh * kw * cg * groups + o) * math.prod(win.out) * dtype.itemsize
    bands = _bands(win, item)

    def work(slices, n):
        for rows, cells, band in bands:
            for s in slices:
                _scatter(_rows(_last(g[s, :, rows], dtype), groups, o), wm, band, dx[s, cells])

    over(n_samples, item, work)
    return dx.transpose(0, 3, 1, 2)


def _scatter(rows: np.ndarray, wm: np.ndarray, win: Window, dx: np.ndarray) -> None:
    """Add one chunk: rows (G, n*OH*OW, O/G) by wm (G, O/G, KH*KW*C/G), to dx (n, H, W, C)."""
    n, groups, bare = len(dx), len(wm), win.padding == ((0, 0), (0, 0))
    columns = workspace("columns", (groups, n, *win.out, *win.kernel, dx.shape[3] // groups), dx.dtype)
    np.matmul(rows, wm, out=columns.reshape(*rows.shape[:2], -1))
    xp = dx
    if not bare:
        xp = workspace("padded", (n, *win.padded, dx.shape[3]), dx.dtype)
        xp.fill(0)
    for cells, run in _meeting(win, xp, columns):
        cells += run.reshape(cells.shape)
    if not bare:
        win.crop(dx, xp)
