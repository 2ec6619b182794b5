"""The three bilinear maps of convolution for several groups of one input channel each.

A GEMM for one channel is mostly overhead. Here channels lie innermost, so a row of outputs of all of
them is one run of multiply-adds for each kernel tap, and `einsum` makes them while the row is in cache.
M is the number of filters per channel: images are laid out with each channel M times, weights for each
output of a row.
"""
import numpy as np

from .geometry import Geometry
from .layout import compute_dtype, crop, fill, finite, fitting_bands, in_bands, tap
from .parallel import in_chunks


def _runs(geometry: Geometry, o: int) -> tuple[int, int]:
    """A row of outputs as so many runs of so many numbers; at stride 1 neighbours see neighbours: one run."""
    ow = geometry.out[1]
    return (1, ow * o) if geometry.stride[1] == 1 else (ow, o)


def _taps(w: np.ndarray, geometry: Geometry, dtype: np.dtype) -> np.ndarray:
    """Weights (C*M, 1, KH, KW) by tap, the same along a row: (KH, KW, runs, numbers)."""
    taps = np.repeat(w.transpose(2, 3, 1, 0).astype(dtype), geometry.out[1], axis=2)
    return taps.reshape(*geometry.kernel, *_runs(geometry, len(w)))


def _windows(geometry: Geometry, padded: np.ndarray) -> np.ndarray:
    """What the taps see of padded images (n, Hp, Wp, C*M): a view (n, OH, KH, KW, runs, numbers)."""
    (n, _, _, o), (sn, sr, sc, one) = padded.shape, padded.strides
    (sh, sw), (dh, dw), oh = geometry.stride, geometry.dilation, geometry.out[0]
    return np.ndarray((n, oh, *geometry.kernel, *_runs(geometry, o)), padded.dtype, padded, 0,
                      (sn, sh * sr, dh * sr, dw * sc, sw * sc, one))


def _fill(geometry: Geometry, padded: np.ndarray, x: np.ndarray) -> None:
    """Copy x (n, C, H, W) into padded (n, Hp, Wp, C*M), each channel M times."""
    times = padded.shape[3] // x.shape[1]
    for k in range(times):
        fill(geometry, padded[..., k::times], x.transpose(0, 2, 3, 1))


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,c*M+m,i,j] = b + sum over a,b of xp[n,c,i*s+a*d,j*s+b*d] w[c*M+m,0,a,b]."""
    dtype, o = compute_dtype(x, w, b), len(w)
    taps = _taps(w, geometry, dtype)
    y = np.empty((len(x), *geometry.out, o), dtype)
    item = 2 * y[:1].nbytes

    def work(slices, n, found):
        for rows, cells, band in found:
            padded = np.zeros((n, *band.padded, o), dtype)
            for s in slices:
                m, part = s.stop - s.start, y[s, rows]
                _fill(band, padded[:m], x[s, :, cells])
                np.einsum("niabrx,abrx->nirx", _windows(band, padded[:m]), taps,
                          out=part.reshape(*part.shape[:2], *taps.shape[2:]))
                if b is not None:
                    part += b

    in_bands(len(x), geometry, item, work, products=0)
    return y.transpose(0, 3, 1, 2)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[c*M+m,0,a,b] = sum over n,i,j of g[n,c*M+m,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    dtype = compute_dtype(x, g)
    n_samples, o, oh, ow = g.shape
    item, gl = 2 * o * oh * ow * dtype.itemsize, g.transpose(0, 2, 3, 1)

    def work(slices, n, found):
        runs = _runs(geometry, o)
        total = np.zeros((*geometry.kernel, *runs), dtype)
        for rows, cells, band in found:
            padded = np.zeros((n, *band.padded, o), dtype)
            for s in slices:
                m = s.stop - s.start
                _fill(band, padded[:m], x[s, :, cells])
                part = np.ascontiguousarray(gl[s, rows], dtype)
                part, seen = part.reshape(*part.shape[:2], *runs), _windows(band, padded[:m])
                for i, j in np.ndindex(band.kernel):
                    total[i, j] += np.einsum("nirx,nirx->rx", seen[:, :, i, j], part)
        return np.add.reduce(total.reshape(*geometry.kernel, ow, o), axis=2)

    total = np.add.reduce(in_bands(n_samples, geometry, item, work, products=0))
    return np.ascontiguousarray(total.transpose(2, 0, 1))[:, None]


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over m,i,j,a,b with i*s+a*d = u+p of g[n,c*M+m,i,j] w[c*M+m,0,a,b]."""
    dtype = compute_dtype(g, w, b)
    c, (n_samples, o, oh, ow) = geometry.groups, g.shape
    if o == c and geometry.stride == (1, 1) and finite(w):  # the zeros around g meet it
        return conv2d(g, w[..., ::-1, ::-1], b, geometry.turned)
    taps, gl = _taps(w, geometry, dtype), g.transpose(0, 2, 3, 1)
    dx = np.full((n_samples, *geometry.size, c), 0 if b is None else b, dtype)
    item = 2 * o * oh * ow * dtype.itemsize

    def work(slices, n):
        for rows, cells, band in fitting_bands(geometry, item):
            padded = np.empty((n, *band.padded, o), dtype)
            product = np.empty((n, *band.out, o), dtype)
            for s in slices:
                m, part = s.stop - s.start, gl[s, rows]
                padded[:m] = 0
                for i, j in np.ndindex(band.kernel):
                    seen = tap(band, padded[:m], i, j)
                    seen += np.multiply(part, taps[i, j].reshape(ow, o), out=product[:m])
                for k in range(o // c):
                    crop(band, dx[s, cells], padded[:m, ..., k::o // c])

    in_chunks(n_samples, item, work, products=0)
    return dx.transpose(0, 3, 1, 2)
