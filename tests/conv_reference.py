"""Convolution and its two adjoints as seven plain loops: what every fast kernel must equal."""
from __future__ import annotations

import itertools

import numpy as np


def out_size(size, kernel, stride, padding, dilation):
    return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1
                 for n, k, s, p, d in zip(size, kernel, stride, padding, dilation))


def seven_loops(x, w, g, stride, padding, dilation, groups):
    """(y, dx, dw) of <g, conv2d(x, w)>, from the index equation alone."""
    (n_all, _, h, wd), (o_all, cg, kh, kw) = x.shape, w.shape
    oh, ow = out_size((h, wd), (kh, kw), stride, padding, dilation)
    y, dx, dw = np.zeros((n_all, o_all, oh, ow)), np.zeros(x.shape), np.zeros(w.shape)
    ranges = [range(r) for r in (n_all, o_all, oh, ow, cg, kh, kw)]
    for n, o, i, j, k, a, b in itertools.product(*ranges):
        u = i * stride[0] + a * dilation[0] - padding[0][0]
        v = j * stride[1] + b * dilation[1] - padding[1][0]
        if 0 <= u < h and 0 <= v < wd:
            c = o // (o_all // groups) * cg + k
            y[n, o, i, j] += x[n, c, u, v] * w[o, k, a, b]
            dx[n, c, u, v] += g[n, o, i, j] * w[o, k, a, b]
            dw[o, k, a, b] += g[n, o, i, j] * x[n, c, u, v]
    return y, dx, dw


def conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    g = np.zeros((len(x), len(w), *out_size(x.shape[2:], w.shape[2:], stride, padding, dilation)))
    y = seven_loops(x, w, g, stride, padding, dilation, groups)[0]
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(g, w, b=None, *, size, stride, padding, dilation, groups):
    x = np.zeros((len(g), w.shape[1] * groups, *size))
    dx = seven_loops(x, w, g, stride, padding, dilation, groups)[1]
    return dx if b is None else dx + b[:, None, None]


def conv2d_weight(g, x, *, kernel, stride, padding, dilation, groups):
    w = np.zeros((g.shape[1], x.shape[1] // groups, *kernel))
    return seven_loops(x, w, g, stride, padding, dilation, groups)[2]
