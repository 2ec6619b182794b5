"""The three bilinear maps of convolution when every group has one input channel.

A GEMM for one channel is mostly overhead; here each kernel tap is one multiply-add of whole
chunks, channels in the innermost run. M is the number of filters a channel.
"""
from __future__ import annotations

import numpy as np

from .parallel import over
from .window import Window, compute_dtype


def _taps(w: np.ndarray, c: int, dtype: np.dtype) -> np.ndarray:
    """Weights (C*M, 1, KH, KW) by tap: (KH, KW, C, M)."""
    kh, kw = w.shape[2:]
    return np.ascontiguousarray(w.reshape(c, -1, kh, kw).transpose(2, 3, 0, 1), dtype)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window) -> np.ndarray:
    """y[n,c*M+m,i,j] = b + sum over a,b of xp[n,c,i*s+a*d,j*s+b*d] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(x, w)
    n_samples, c = x.shape[:2]
    taps = _taps(w, c, dtype)
    y = np.zeros((n_samples, *win.out, c, taps.shape[-1]), dtype)

    def work(slices, n):
        padded = np.zeros((n, *win.padded, c), dtype)
        product = np.empty((n, *y.shape[1:]), dtype)
        for s in slices:
            m = s.stop - s.start
            win.fill(padded[:m], x[s])
            for i, j in np.ndindex(win.kernel):
                cells = win.tap(padded[:m], i, j)[..., None]
                y[s] += np.multiply(cells, taps[i, j], out=product[:m])
            if b is not None:
                y[s] += b.reshape(c, -1)

    over(n_samples, 2 * y[:1].nbytes + x[:1].nbytes, work)
    return y.reshape(n_samples, *win.out, len(w)).transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, win: Window) -> np.ndarray:
    """dw[c*M+m,0,a,b] = sum over n,i,j of g[n,c*M+m,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    n_samples, c = x.shape[:2]
    o, oh, ow = g.shape[1:]
    gl = g.transpose(0, 2, 3, 1)

    def work(slices, n):
        padded = np.zeros((n, *win.padded, c), dtype)
        product = np.empty((n, oh, ow, c, o // c), dtype)
        total = np.zeros((*win.kernel, o), dtype)
        ones = np.ones(n * oh * ow, dtype)
        for s in slices:
            m = s.stop - s.start
            win.fill(padded[:m], x[s])
            rows = np.ascontiguousarray(gl[s], dtype).reshape(m, oh, ow, c, o // c)
            for i, j in np.ndindex(win.kernel):
                np.multiply(win.tap(padded[:m], i, j)[..., None], rows, out=product[:m])
                total[i, j] += ones[:m * oh * ow] @ product[:m].reshape(m * oh * ow, o)
        return total

    parts = over(n_samples, (2 * o + c) * oh * ow * dtype.itemsize, work)
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

    def work(slices, n):
        padded = np.empty((n, *win.padded, c), dtype)
        for s in slices:
            m = s.stop - s.start
            rows = np.ascontiguousarray(gl[s], dtype).reshape(m, oh, ow, c, o // c)
            padded[:m] = 0
            for i, j in np.ndindex(win.kernel):
                win.tap(padded[:m], i, j)[...] += np.einsum("nijcm,cm->nijc", rows, taps[i, j])
            win.crop(dx[s], padded[:m])
            if b is not None:
                dx[s] += b

    over(n_samples, (2 * o + c) * oh * ow * dtype.itemsize, work)
    return dx.transpose(0, 3, 1, 2)
