"""Convolution as plain loops over single numbers: what every answer is compared with.

Python floats in lists, no NumPy arithmetic and nothing of the library, so that an error of its
kernels cannot hide here.
"""
from __future__ import annotations

import itertools
from operator import mul

import numpy as np


def seven_loops(x: np.ndarray, w: np.ndarray, g: np.ndarray, stride: int = 1, padding: int = 0,
                dilation: int = 1, groups: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(y, dx, dw) of sum(g * conv(x, w)): one line of arithmetic for each of the three.

    x (N, C, H, W), w (K, C/groups, KH, KW), g (N, K, OH, OW).

    Example:
        >>> x, w, g = np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
        >>> seven_loops(x, w, g)[1][0, 0].tolist()
        [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    (_, _, height, width), (filters, depth, _, _) = x.shape, w.shape
    xs, ws, gs = x.tolist(), w.tolist(), g.tolist()
    y, dx, dw = (np.zeros(a.shape).tolist() for a in (g, x, w))
    samples, _, rows, columns = g.shape
    sizes = (samples, filters, rows, columns, *w.shape[1:])
    for n, k, i, j, u, a, b in itertools.product(*map(range, sizes)):
        m, q = i * stride + a * dilation - padding, j * stride + b * dilation - padding
        if 0 <= m < height and 0 <= q < width:
            c = k // (filters // groups) * depth + u             # the channel this filter reads
            y[n][k][i][j] += xs[n][c][m][q] * ws[k][u][a][b]
            dx[n][c][m][q] += gs[n][k][i][j] * ws[k][u][a][b]
            dw[k][u][a][b] += gs[n][k][i][j] * xs[n][c][m][q]
    return np.array(y), np.array(dx), np.array(dw)


def kernel_gradient_by_rows(x: np.ndarray, g: np.ndarray, size: int) -> np.ndarray:
    """dw for one sample, stride 1, no padding; the loop along a row is Python's `sum(map(mul))`.

    x (C, H, W), g (K, OH, OW) -> (K, C, size, size). The same sum as `seven_loops`, quick enough
    for eleven million products.

    Example:
        >>> kernel_gradient_by_rows(np.eye(3)[None], np.ones((1, 2, 2)), 2).tolist()
        [[[[2.0, 1.0], [1.0, 2.0]]]]
    """
    xs, gs = x.tolist(), g.tolist()
    filters, rows, columns = g.shape
    dw = np.zeros((filters, len(x), size, size))
    for k, c, a, b in itertools.product(*map(range, dw.shape)):
        dw[k, c, a, b] = sum(sum(map(mul, xs[c][i + a][b:b + columns], gs[k][i]))
                             for i in range(rows))
    return dw
