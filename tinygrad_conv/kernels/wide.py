"""Convolution by wider windows: T neighbouring outputs of a row are computed as one.

A patch row of few channels is too short to copy fast, and a product for few filters too thin for
BLAS. T neighbours together see a window (T-1)*stride wider; each filter is laid into it T times, a
step apart, with zeros beside it. y becomes (N, T*O, OH, OW/T), whose channels-last memory is that
of y, so the maps of patches.py serve as they are: fewer and longer copies and a broader product,
for some multiplications by zero.
"""
from dataclasses import replace
from functools import lru_cache

import numpy as np

from . import patches
from .geometry import REMEMBERED, Geometry
from .layout import finite

RUN, NUMBER = 10.0, 0.14  # ns to copy one run of a patch, and each number in it
ADDS = 5.0  # adding a run takes so many times longer
PRODUCTS, THIN = 30.0, 10.0  # multiply-adds a ns, and how many filters halve the speed
LAYING = 40000.0  # ns that laying filters wide, or adding tap by tap, takes however small the arrays are
WIDEST = 256  # the T that pays never came near it


@lru_cache(maxsize=REMEMBERED)
def _plan(width: int, kernel: tuple[int, int], stride: int, channels: int, filters: int,
          moves: float) -> tuple[float, int, float]:
    """The least estimated time of an output row (ns), the T that takes it, and what it saves.

    A run is copied or added `moves` times. The constants were measured; only ratios matter.
    """
    kh, kw = kernel

    def cost(t: int) -> float:
        run = (kw + (t - 1) * stride) * channels
        copies = kh / t * moves * (RUN + NUMBER * run)
        if t == 1 and (channels == 1 or moves == stride == 1):  # by taps, a row of outputs in a run
            copies = min(copies, kh * run * moves * (RUN / width + NUMBER))
        return width * (copies + kh * run * filters / PRODUCTS * (1 + THIN / (t * filters)))

    least, t = min((cost(t), t) for t in range(1, min(width, WIDEST) + 1) if width % t == 0)
    return least, t, cost(1) - least


def _times(n: int, geometry: Geometry, channels: int, filters: int, moves: float = 1) -> int:
    """The T that takes least time for n samples."""
    (rows, width), (_, stride) = geometry.out, geometry.stride
    _, t, saved = _plan(width, geometry.kernel, stride, channels, filters, moves)
    return t if geometry.dilation[1] == 1 and n * rows * saved >= LAYING else 1


@lru_cache(maxsize=REMEMBERED)
def _widened(geometry: Geometry, t: int) -> Geometry:
    (kh, kw), (sh, sw) = geometry.kernel, geometry.stride
    return geometry if t == 1 else replace(geometry, kernel=(kh, kw + (t - 1) * sw), stride=(sh, t * sw))


def _lay(w: np.ndarray, t: int, step: int) -> np.ndarray:
    """Filters (O, C, KH, KW) at T places of the wider window: (T*O, C, KH, KW+(T-1)*step)."""
    if t == 1:
        return w
    o, c, kh, kw = w.shape
    wide = np.zeros((kh, kw + (t - 1) * step, c, t, o), w.dtype)  # as patches.py multiplies it
    for i in range(t):
        wide[:, i * step:i * step + kw, :, i] = w.transpose(2, 3, 1, 0)
    return wide.reshape(kh, -1, c, t * o).transpose(3, 2, 0, 1)


def _gather(wide: np.ndarray, t: int, step: int, kw: int) -> np.ndarray:
    """The adjoint of `_lay`: the T places added up."""
    places = wide.reshape(t, -1, *wide.shape[1:])
    return sum(places[i, ..., i * step:i * step + kw] for i in range(t))


def _apart(y: np.ndarray, t: int) -> np.ndarray:
    """y (N, T*O, OH, OW/T), channels-last, as (N, O, OH, OW): the same memory."""
    n, o, oh, ow = y.shape
    return y.transpose(0, 2, 3, 1).reshape(n, oh, ow * t, o // t).transpose(0, 3, 1, 2)


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    t = _times(len(x), geometry, x.shape[1], len(w))
    if t > 1 and not finite(x):  # the zeros beside the filters meet it
        t = 1
    bias = b if b is None else np.concatenate([b] * t)
    return _apart(patches.conv2d(x, _lay(w, t, geometry.stride[1]), bias, _widened(geometry, t)), t)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    t = _times(len(x), geometry, x.shape[1], g.shape[1])
    wide = patches.weight_adjoint(g, x, _widened(geometry, t))
    return _gather(wide, t, geometry.stride[1], geometry.kernel[1])


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    o, c = w.shape[:2]
    if geometry.stride == (1, 1):
        (rows, width), (out_rows, out_width) = geometry.size, geometry.out
        convolved = rows * _plan(width, geometry.kernel, 1, o, c, 1)[0]
        scattered = out_rows * _plan(out_width, geometry.kernel, 1, c, o, ADDS)[0]
        fewer_calls = len(g) * (convolved - scattered) <= LAYING  # few rows: calls cost more than copies
        if fewer_calls and finite(w):  # the zeros around g meet it
            return conv2d(g, patches.rotated(w, 1), b, geometry.turned)
    t = _times(len(g), geometry, c, o, ADDS)
    if t > 1 and not finite(g):
        t = 1
    return patches.scatter(g, _lay(w, t, geometry.stride[1]), b, _widened(geometry, t))
