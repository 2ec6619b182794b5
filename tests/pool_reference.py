"""Pooling as plain loops over output pixels: what every fast kernel must equal."""
from __future__ import annotations

import itertools
import math

import numpy as np


def axis_windows(n, k, s, p, d, ceil_mode):
    """For each window of one axis, the real cells it sees and its span clipped to the padded axis."""
    before, after = p if isinstance(p, tuple) else (p, p)
    span = n + before + after - d * (k - 1) - 1
    out = (math.ceil(span / s) if ceil_mode else math.floor(span / s)) + 1
    if ceil_mode and (out - 1) * s >= n + before:
        out -= 1
    found = []
    for i in range(out):
        cells = [i * s - before + a * d for a in range(k)]
        clipped = len([u for u in cells if u < n + after])
        found.append(([u for u in cells if 0 <= u < n], clipped))
    return found


def windows(size, kernel, stride, padding, dilation, ceil_mode):
    """(out size, {(i, j): (cells row by row, number of cells with padding)})."""
    rows, columns = [axis_windows(*axis, ceil_mode)
                     for axis in zip(size, kernel, stride, padding, dilation)]
    table = {(i, j): (list(itertools.product(us, vs)), a * b)
             for (i, (us, a)), (j, (vs, b)) in itertools.product(enumerate(rows),
                                                                 enumerate(columns))}
    return (len(rows), len(columns)), table


def max_pool(x, *, kernel, stride, padding, dilation=(1, 1), ceil_mode=False):
    """(values, indices): the first largest cell row by row, the first NaN before all else."""
    out, table = windows(x.shape[2:], kernel, stride, padding, dilation, ceil_mode)
    y, indices = np.full((*x.shape[:2], *out), -np.inf), np.zeros((*x.shape[:2], *out), int)
    for n, c, (i, j) in itertools.product(range(x.shape[0]), range(x.shape[1]), table):
        cells = table[i, j][0]
        values = [math.inf if math.isnan(x[n, c, u, v]) else x[n, c, u, v] for u, v in cells]
        nans = [math.isnan(x[n, c, u, v]) for u, v in cells]
        first = nans.index(True) if any(nans) else values.index(max(values))
        y[n, c, i, j] = x[n, c][cells[first]]
        indices[n, c, i, j] = cells[first][0] * x.shape[3] + cells[first][1]
    return y, indices


def scatter(g, x, **geo):
    """Each number of g added to the cell that won its window."""
    indices, dx = max_pool(x, **geo)[1], np.zeros(x.shape)
    assert g.shape == indices.shape
    for n, c, i, j in np.ndindex(g.shape):
        dx[n, c].flat[indices[n, c, i, j]] += g[n, c, i, j]
    return dx


def gather(u, x, **geo):
    """What stands in u at the cells that won."""
    assert u.shape == x.shape
    indices = max_pool(x, **geo)[1]
    v = np.zeros(indices.shape)
    for n, c, i, j in np.ndindex(v.shape):
        v[n, c, i, j] = u[n, c].flat[indices[n, c, i, j]]
    return v


def _divisor(cells, clipped, count_include_pad, divisor_override):
    if divisor_override is not None:
        return divisor_override
    return clipped if count_include_pad else len(cells)


def avg_pool(x, *, count_include_pad=True, divisor_override=None, dilation=(1, 1), **geo):
    out, table = windows(x.shape[2:], dilation=dilation, **geo)
    y = np.zeros((*x.shape[:2], *out))
    for (i, j), (cells, clipped) in table.items():
        total = sum(x[:, :, u, v] for u, v in cells)
        y[:, :, i, j] = total / _divisor(cells, clipped, count_include_pad, divisor_override)
    return y


def avg_spread(g, *, size, count_include_pad=True, divisor_override=None, dilation=(1, 1), **geo):
    dx = np.zeros((*g.shape[:2], *size))
    for (i, j), (cells, clipped) in windows(size, dilation=dilation, **geo)[1].items():
        for u, v in cells:
            dx[:, :, u, v] += g[:, :, i, j] / _divisor(cells, clipped, count_include_pad,
                                                      divisor_override)
    return dx


def adaptive_windows(size, out):
    """{(i, j): cells}: bin i holds cells floor(i*n/out) to ceil((i+1)*n/out)."""
    rows, columns = [[range(math.floor(i * n / o), math.ceil((i + 1) * n / o)) for i in range(o)]
                     for n, o in zip(size, out)]
    return {(i, j): list(itertools.product(rows[i], columns[j]))
            for i, j in np.ndindex(tuple(out))}


def adaptive_avg(x, *, output_size):
    y = np.zeros((*x.shape[:2], *output_size))
    for (i, j), cells in adaptive_windows(x.shape[2:], output_size).items():
        y[:, :, i, j] = sum(x[:, :, u, v] for u, v in cells) / len(cells)
    return y


def adaptive_spread(g, *, size):
    dx = np.zeros((*g.shape[:2], *size))
    for (i, j), cells in adaptive_windows(size, g.shape[2:]).items():
        for u, v in cells:
            dx[:, :, u, v] += g[:, :, i, j] / len(cells)
    return dx


def adaptive_max(x, *, output_size):
    y = np.zeros((*x.shape[:2], *output_size))
    indices = np.zeros(y.shape, int)
    table = adaptive_windows(x.shape[2:], output_size)
    for n, c, (i, j) in itertools.product(range(x.shape[0]), range(x.shape[1]), table):
        values = [x[n, c, u, v] for u, v in table[i, j]]
        u, v = table[i, j][values.index(max(values))]
        y[n, c, i, j], indices[n, c, i, j] = x[n, c, u, v], u * x.shape[3] + v
    return y, indices


def pile(g, indices, *, size, add=True):
    """Planes of zeros with every number added (or written) at its place."""
    assert g.shape == indices.shape
    y = np.zeros((*g.shape[:2], *size))
    for n, c, i, j in np.ndindex(g.shape):
        before = y[n, c].flat[indices[n, c, i, j]] if add else 0
        y[n, c].flat[indices[n, c, i, j]] = before + g[n, c, i, j]
    return y


def pick(x, indices):
    assert x.shape[:2] == indices.shape[:2]
    y = np.zeros(indices.shape)
    for place in np.ndindex(y.shape):
        y[place] = x[place[:2]].flat[indices[place]]
    return y


def pick_put(u, indices):
    """The adjoint of writing: a number that was written over gets 0."""
    assert u.shape[:2] == indices.shape[:2]
    v, owner = np.zeros(indices.shape), {}
    for n, c, i, j in np.ndindex(v.shape):
        owner[n, c, indices[n, c, i, j]] = (i, j)
    for (n, c, place), (i, j) in owner.items():
        v[n, c, i, j] = u[n, c].flat[place]
    return v
