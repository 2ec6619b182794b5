"""The three bilinear maps of convolution for few channels: planes stay planes, C-order NCHW.

With few channels a channels-last patch row is too short to copy fast. Here a row of the column
matrix is what one tap of one channel sees of the whole plane. At stride 1 that is one run of the
padded plane, cells between the rows included: the GEMM computes them too, and they are dropped
(forward) or hold zeros (backward).
"""
from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .parallel import over
from .window import Window, compute_dtype


class _Planes:
    """Workspace of one thread: padded planes, their columns, and output planes with gaps."""

    def __init__(self, win: Window, n: int, channels: int, filters: int, dtype: np.dtype) -> None:
        (oh, ow), width = win.out, win.padded[1]
        runs = win.stride == (1, 1)
        self.win, self.pitch = win, width if runs else ow
        self.rows = (1, (oh - 1) * width + ow) if runs else (oh, ow)
        self.cells = self.rows[0] * self.rows[1]
        self.padded = np.zeros((n, channels, *win.padded), dtype)
        self.columns = np.empty((n, channels, *win.kernel, *self.rows), dtype)
        self.out = np.zeros((n, filters, self.cells), dtype)

    @staticmethod
    def bytes(win: Window, channels: int, filters: int, dtype: np.dtype) -> int:
        """What one sample needs."""
        kh, kw = win.kernel
        return (channels * kh * kw + filters) * win.out[0] * win.padded[1] * dtype.itemsize

    def patches(self, n: int) -> np.ndarray:
        """What each tap sees of the padded planes: a view (n, C, KH, KW, rows, run)."""
        xp, (ah, aw), (dh, dw) = self.padded[:n], self.win.stride, self.win.dilation
        sn, sc, sh, sw = xp.strides
        return as_strided(xp, (n, *self.columns.shape[1:]), (sn, sc, dh * sh, dw * sw, ah * sh, aw * sw))

    def matrix(self, n: int) -> np.ndarray:
        """The columns as matrices (n, C*KH*KW, cells)."""
        rows = self.columns.shape[1] * self.win.kernel[0] * self.win.kernel[1]
        return self.columns[:n].reshape(n, rows, self.cells)

    def gather(self, x: np.ndarray) -> np.ndarray:
        """The column matrices of a chunk x (n, C, H, W)."""
        n, win = len(x), self.win
        self.padded[:n, :, win.dst_h, win.dst_w] = x[:, :, win.src_h, win.src_w]
        np.copyto(self.columns[:n], self.patches(n))
        return self.matrix(n)

    def scatter(self, n: int, dx: np.ndarray) -> None:
        """The adjoint of `gather`: add the columns up into dx (n, C, H, W), zero elsewhere."""
        win = self.win
        self.padded[:n] = 0
        taps = self.patches(n)
        for i, j in np.ndindex(win.kernel):
            taps[:, :, i, j] += self.columns[:n, :, i, j]
        dx[:, :, win.src_h, win.src_w] = self.padded[:n, :, win.dst_h, win.dst_w]

    def output(self, n: int) -> np.ndarray:
        """The output planes without their gaps: a view (n, O, OH, OW)."""
        out = self.out[:n]
        sn, so, s = out.strides
        return as_strided(out, (*out.shape[:2], *self.win.out), (sn, so, self.pitch * s, s))


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    dtype = compute_dtype(x, w)
    o, c, kh, kw = w.shape
    wm = np.ascontiguousarray(w, dtype).reshape(o, c * kh * kw)
    bias = np.zeros((), dtype) if b is None else b[:, None, None]
    y = np.empty((len(x), o, *win.out), dtype)

    def work(slices, n):
        planes = _Planes(win, n, c, o, dtype)
        for s in slices:
            m = s.stop - s.start
            np.matmul(wm, planes.gather(x[s]), out=planes.out[:m])
            np.add(planes.output(m), bias, out=y[s])

    over(len(x), _Planes.bytes(win, c, o, dtype), work)
    return y


def weight_adjoint(g: np.ndarray, x: np.ndarray, win: Window) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    o, c = g.shape[1], x.shape[1]

    def work(slices, n):
        planes = _Planes(win, n, c, o, dtype)
        total = np.zeros((o, c * win.kernel[0] * win.kernel[1]), dtype)
        for s in slices:
            m = s.stop - s.start
            planes.output(m)[...] = g[s]
            total += np.matmul(planes.out[:m], planes.gather(x[s]).transpose(0, 2, 1)).sum(axis=0)
        return total

    parts = over(len(x), _Planes.bytes(win, c, o, dtype), work)
    return np.add.reduce(parts).reshape(o, c, *win.kernel)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    dtype = compute_dtype(g, w)
    o, c, kh, kw = w.shape
    wm = np.ascontiguousarray(w.reshape(o, c * kh * kw).T, dtype)
    dx = np.zeros((len(g), c, *win.size), dtype)

    def work(slices, n):
        planes = _Planes(win, n, c, o, dtype)
        for s in slices:
            m = s.stop - s.start
            planes.output(m)[...] = g[s]
            np.matmul(wm, planes.out[:m], out=planes.matrix(m))
            planes.scatter(m, dx[s])
            if b is not None:
                dx[s] += b[:, None, None]

    over(len(g), _Planes.bytes(win, c, o, dtype), work)
    return dx
