"""The three bilinear maps of convolution for few channels: planes stay planes.

With few channels a channels-last patch row is too short to copy fast. Here a row of the column
matrix is what one tap of one channel sees of the planes of a whole chunk, and one GEMM serves the
chunk. At stride 1 a plane's part is one run of the padded plane, cells between the rows included:
the GEMM computes those too; they are dropped (forward) or hold zeros (backward). Results are
C-order NCHW; the workspace has its channels first.
"""
from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .parallel import over, workspace
from .window import Window, compute_dtype


class _Planes:
    """Workspace of one thread: padded planes, their columns, and output planes with gaps."""

    def __init__(self, win: Window, n: int, channels: int, filters: int, dtype: np.dtype) -> None:
        (oh, ow), width = win.out, win.padded[1]
        runs = win.stride == (1, 1)
        self.win, self.pitch = win, width if runs else ow
        self.rows = (1, (oh - 1) * width + ow) if runs else (oh, ow)
        self.cells = self.rows[0] * self.rows[1]
        taps = win.kernel[0] * win.kernel[1]
        self.padded = workspace("padded", (channels, n, *win.padded), dtype)
        self.columns = workspace("columns", (channels * taps, n * self.cells), dtype)
        self.out = workspace("out", (filters, n * self.cells), dtype)
        self.padded.fill(0)
        self.out.fill(0)

    @staticmethod
    def bytes(win: Window, channels: int, filters: int, dtype: np.dtype) -> int:
        """What one sample needs."""
        kh, kw = win.kernel
        return (channels * kh * kw + filters) * win.out[0] * win.padded[1] * dtype.itemsize

    def taps(self, n: int) -> np.ndarray:
        """What each tap sees of the padded planes: a view (C, KH, KW, n, rows, run)."""
        xp, (ah, aw), (dh, dw) = self.padded[:, :n], self.win.stride, self.win.dilation
        sc, sn, sh, sw = xp.strides
        return as_strided(xp, (len(xp), *self.win.kernel, n, *self.rows),
                          (sc, dh * sh, dw * sw, sn, ah * sh, aw * sw))

    def matrix(self, n: int) -> np.ndarray:
        """The column matrix (C*KH*KW, n*cells)."""
        return self.columns[:, :n * self.cells]

    def output(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """The output matrix (O, n*cells), and its cells without the gaps: a view (n, O, OH, OW)."""
        out = self.out[:, :n * self.cells]
        so, s = out.strides
        return out, as_strided(out, (n, len(out), *self.win.out),
                               (self.cells * s, so, self.pitch * s, s))

    def gather(self, x: np.ndarray) -> np.ndarray:
        """The column matrix of a chunk x (n, C, H, W)."""
        win, n = self.win, len(x)
        self.padded[:, :n, win.dst_h, win.dst_w] = x[:, :, win.src_h, win.src_w].swapaxes(0, 1)
        columns, taps = self.matrix(n), self.taps(n)
        np.copyto(columns.reshape(taps.shape), taps)
        return columns

    def scatter(self, n: int, dx: np.ndarray) -> None:
        """The adjoint of `gather`: add the columns up into dx (n, C, H, W), zero elsewhere."""
        win, taps = self.win, self.taps(n)
        self.padded[:, :n] = 0
        columns = self.matrix(n).reshape(taps.shape)
        for i, j in np.ndindex(win.kernel):
            taps[:, i, j] += columns[:, i, j]
        dx[:, :, win.src_h, win.src_w] = self.padded[:, :n, win.dst_h, win.dst_w].swapaxes(0, 1)


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
            out, cells = planes.output(s.stop - s.start)
            np.matmul(wm, planes.gather(x[s]), out=out)
            np.add(cells, bias, out=y[s])

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
            out, cells = planes.output(s.stop - s.start)
            cells[...] = g[s]
            total += np.matmul(out, planes.gather(x[s]).T)
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
            out, cells = planes.output(s.stop - s.start)
            cells[...] = g[s]
            np.matmul(wm, out, out=planes.matrix(s.stop - s.start))
            planes.scatter(s.stop - s.start, dx[s])
            if b is not None:
                dx[s] += b[:, None, None]

    over(len(g), _Planes.bytes(win, c, o, dtype), work)
    return dx
