"""The backward of max pooling whose windows tile the plane: columns and rows apart.

Taking all columns' taps first and the rows' taps then makes every pass but one run over the whole
chunk as one long strided line, however short a row is. Row-major order survives: the first row that
holds the maximum wins, and in it the first column.
"""
from __future__ import annotations

import numpy as np

from .parallel import over
from .pool_geometry import Windows


def tile(win: Windows) -> bool:
    """Whether every cell lies in one window, windows are full, and nothing is padded."""
    return (win.kernel == win.stride and win.padding == (0, 0) and win.dilation == (1, 1)
            and all(n == k * out for n, k, out in zip(win.size, win.kernel, win.out)))


def _bits(a: np.ndarray) -> np.ndarray:
    return a.view(f"i{a.itemsize}")


def _hand_out(g: np.ndarray, top: np.ndarray, taps: list[np.ndarray], out: list[np.ndarray]) -> None:
    """out[k] = g where taps[k] is the first to equal `top`, else 0."""
    free: np.ndarray | None = None
    for k, tap in enumerate(taps):
        if k < len(taps) - 1:
            hit = tap == top
            mask = hit if free is None else hit & free
            free = ~hit if free is None else free & ~hit
        else:
            mask = free  # one tap equals it: the last, if none before
        if mask is None:
            out[k][...] = g
        else:  # bits times 0 or 1: right for inf and nan, and without branches
            bits = _bits(out[k])
            np.multiply(_bits(g), mask.view(np.int8), out=bits, dtype=bits.dtype)


def scatter(g: np.ndarray, x: np.ndarray, win: Windows) -> np.ndarray:
    """dx[n,c,u,v] = g[n,c,i,j] where cell (u, v) is the maximum of its window, else 0; x has no nan."""
    dx = np.empty_like(x, g.dtype)
    kh, kw = win.kernel

    def work(slices, n):
        for s in slices:
            columns = [x[s][..., b::kw] for b in range(kw)]
            half = np.maximum(columns[0], columns[-1])
            for column in columns[1:-1]:
                np.maximum(half, column, out=half)
            rows = [half[..., a::kh, :] for a in range(kh)]
            top = np.maximum(rows[0], rows[-1])
            for row in rows[1:-1]:
                np.maximum(top, row, out=top)
            spread = np.empty_like(half, g.dtype)
            _hand_out(g[s], top, rows, [spread[..., a::kh, :] for a in range(kh)])
            _hand_out(spread, half, columns, [dx[s][..., b::kw] for b in range(kw)])

    over(len(x), 4 * x[:1].nbytes, work)
    return dx
