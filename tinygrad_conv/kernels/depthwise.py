"""The three bilinear maps of convolution for several groups of one input channel each.

A GEMM for one channel is mostly overhead; here each kernel tap is one multiply-add of whole chunks
with channels innermost. M is the number of filters per channel.
"""
import numpy as np

from .geometry import Geometry
from .layout import compute_dtype, crop, fill, fitting_bands, tap
from .parallel import in_chunks


def _taps(w: np.ndarray, c: int, dtype: np.dtype) -> np.ndarray:
    """Weights (C*M, 1, KH, KW) by tap: (KH, KW, C, M)."""
    kh, kw = w.shape[2:]
    return np.ascontiguousarray(w.reshape(c, -1, kh, kw).transpose(2, 3, 0, 1), dtype)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,c*M+m,i,j] = b + sum over a,b of xp[n,c,i*s+a*d,j*s+b*d] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(x, w, b)
    n_samples, c = x.shape[:2]
    taps = _taps(w, c, dtype)
    y = np.zeros((n_samples, *geometry.out, c, taps.shape[-1]), dtype)
    item = 2 * y[:1].nbytes + x[:1].nbytes

    def work(slices, n):
        for rows, cells, band in fitting_bands(geometry, item):
            padded = np.zeros((n, *band.padded, c), dtype)
            product = np.empty((n, *band.out, *y.shape[3:]), dtype)
            for s in slices:
                m, part = s.stop - s.start, y[s, rows]
                fill(band, padded[:m], x[s, :, cells])
                for i, j in np.ndindex(band.kernel):
                    seen = tap(band, padded[:m], i, j)[..., None]
                    part += np.multiply(seen, taps[i, j], out=product[:m])
                if b is not None:
                    part += b.reshape(c, -1)

    in_chunks(n_samples, item, work, products=0)
    return y.reshape(n_samples, *geometry.out, len(w)).transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[c*M+m,0,a,b] = sum over n,i,j of g[n,c*M+m,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    c, (n_samples, o, oh, ow) = x.shape[1], g.shape
    item, gl = (2 * o + c) * oh * ow * dtype.itemsize, g.transpose(0, 2, 3, 1)

    def work(slices, n):
        total = np.zeros((*geometry.kernel, o), dtype)
        for rows, cells, band in fitting_bands(geometry, item):
            padded = np.zeros((n, *band.padded, c), dtype)
            product = np.empty((n, *band.out, c, o // c), dtype)
            ones = np.ones(product.size // o, dtype)
            for s in slices:
                m = s.stop - s.start
                fill(band, padded[:m], x[s, :, cells])
                part = np.ascontiguousarray(gl[s, rows], dtype).reshape(product[:m].shape)
                for i, j in np.ndindex(band.kernel):
                    np.multiply(tap(band, padded[:m], i, j)[..., None], part, out=product[:m])
                    lines = product[:m].reshape(-1, o)
                    total[i, j] += ones[:len(lines)] @ lines
        return total

    total = np.add.reduce(in_chunks(n_samples, item, work))
    return np.ascontiguousarray(total.transpose(2, 0, 1))[:, None]


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over m,i,j,a,b with i*s+a*d = u+p of g[n,c*M+m,i,j] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(g, w, b)
    c, (n_samples, o, oh, ow) = geometry.groups, g.shape
    taps, gl = _taps(w, c, dtype), g.transpose(0, 2, 3, 1)
    dx = np.full((n_samples, *geometry.size, c), 0 if b is None else b, dtype)
    item = (2 * o + c) * oh * ow * dtype.itemsize

    def work(slices, n):
        for rows, cells, band in fitting_bands(geometry, item):
            padded = np.empty((n, *band.padded, c), dtype)
            for s in slices:
                m = s.stop - s.start
                part = np.ascontiguousarray(gl[s, rows], dtype).reshape(m, *band.out, c, o // c)
                padded[:m] = 0
                for i, j in np.ndindex(band.kernel):
                    seen = tap(band, padded[:m], i, j)
                    seen += np.einsum("nijcm,cm->nijc", part, taps[i, j])
                crop(band, dx[s, cells], padded[:m])

    in_chunks(n_samples, item, work, products=0)
    return dx.transpose(0, 3, 1, 2)
