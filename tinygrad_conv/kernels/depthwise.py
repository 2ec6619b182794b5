"""The three bilinear maps of convolution when every group has one input channel.

A GEMM for one channel is mostly overhead; here each kernel tap is one multiply-add of whole chunks
with channels innermost. M is the number of filters per channel.
"""
from __future__ import annotations

import numpy as np

from .parallel import fitting, over
from .window import Window, compute_dtype


def _taps(w: np.ndarray, c: int, dtype: np.dtype) -> np.ndarray:
    """Weights (C*M, 1, KH, KW) by tap: (KH, KW, C, M)."""
    kh, kw = w.shape[2:]
    return np.ascontiguousarray(w.reshape(c, -1, kh, kw).transpose(2, 3, 0, 1), dtype)


def _bands(win: Window, item: int) -> list[tuple[slice, slice, Window]]:
    """The window in bands that fit the cache, if a sample takes `item` bytes: one, or n is 1."""
    return list(win.bands(max(fitting(item // win.out[0]), 2 * win.kernel[0])))


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window) -> np.ndarray:
    """y[n,c*M+m,i,j] = b + sum over a,b of xp[n,c,i*s+a*d,j*s+b*d] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(x, w)
    n_samples, c = x.shape[:2]
    taps = _taps(w, c, dtype)
    y = np.zeros((n_samples, *win.out, c, taps.shape[-1]), dtype)
    bands = _bands(win, 2 * y[:1].nbytes + x[:1].nbytes)

    def work(slices, n):
        for rows, cells, band in bands:
            padded = np.zeros((n, *band.padded, c), dtype)
            product = np.empty((n, *band.out, *y.shape[3:]), dtype)
            for s in slices:
                m, part = s.stop - s.start, y[s, rows]
                band.fill(padded[:m], x[s, :, cells])
                for i, j in np.ndindex(win.kernel):
                    seen = band.tap(padded[:m], i, j)[..., None]
                    part += np.multiply(seen, taps[i, j], out=product[:m])
                if b is not None:
                    part += b.reshape(c, -1)

    over(n_samples, 2 * y[:1].nbytes + x[:1].nbytes, work)
    return y.reshape(n_samples, *win.out, len(w)).transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, win: Window) -> np.ndarray:
    """dw[c*M+m,0,a,b] = sum over n,i,j of g[n,c*M+m,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    n_samples, c = x.shape[:2]
    o, oh, ow = g.shape[1:]
    item = (2 * o + c) * oh * ow * dtype.itemsize
    gl, bands = g.transpose(0, 2, 3, 1), _bands(win, item)

    def work(slices, n):
        total = np.zeros((*win.kernel, o), dtype)
        for rows, cells, band in bands:
            padded = np.zeros((n, *band.padded, c), dtype)
            product = np.empty((n, *band.out, c, o // c), dtype)
            ones = np.ones(product.size // o, dtype)
            for s in slices:
                m = s.stop - s.start
                band.fill(padded[:m], x[s, :, cells])
                part = np.ascontiguousarray(gl[s, rows], dtype).reshape(product[:m].shape)
                for i, j in np.ndindex(win.kernel):
                    np.multiply(band.tap(padded[:m], i, j)[..., None], part, out=product[:m])
                    lines = product[:m].reshape(-1, o)
                    total[i, j] += ones[:len(lines)] @ lines
        return total

    parts = over(n_samples, item, work)
    return np.ascontiguousarray(np.add.reduce(parts).transpose(2, 0, 1))[:, None]


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
                  groups: int) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over m,i,j,a,b with i*s+a*d = u+p of g[n,c*M+m,i,j] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(g, w)
    n_samples, o, oh, ow = g.shape
    c = groups
    taps = _taps(w, c, dtype)
    gl = g.transpose(0, 2, 3, 1)
    dx = np.zeros((n_samples, *win.size, c), dtype)
    if b is not None:
        dx[...] = b
    item = (2 * o + c) * oh * ow * dtype.itemsize
    bands = _bands(win, item)

    def work(slices, n):
        for rows, cells, band in bands:
            padded = np.empty((n, *band.padded, c), dtype)
            for s in slices:
                m = s.stop - s.start
                part = np.ascontiguousarray(gl[s, rows], dtype).reshape(m, *band.out, c, o // c)
                padded[:m] = 0
                for i, j in np.ndindex(win.kernel):
                    band.tap(padded[:m], i, j)[...] += np.einsum("nijcm,cm->nijc", part, taps[i, j])
                band.crop(dx[s, cells], padded[:m])

    over(n_samples, item, work)
    return dx.transpose(0, 3, 1, 2)
