"""Rows of normalisation and dropout; references are the textbook formulas, group by group."""
from __future__ import annotations

import numpy as np

from tinygrad_conv.ops.dropout import _dropout
from tinygrad_conv.ops.normalize import _scale, normalize, normalize_adjoint

from .row import Row

# (shape, axes, shape of w): batch norm of rows and images, group, layer and instance norm, none;
# the last three are large enough to be cut, and their means are large beside their spread.
GEOMETRIES = [((5, 3), (0,), (1, 3)), ((3, 2, 4, 3), (0, 2, 3), (1, 2, 1, 1)),
              ((2, 2, 2, 3, 2), (2, 3, 4), (1, 2, 2, 1, 1)), ((4, 6), (1,), (6,)),
              ((3, 2, 4), (1, 2), (2, 4)), ((2, 3, 5), (2,), (1, 3, 1)), ((4, 3), (0, 1), ()),
              ((40, 7, 12, 10), (0, 2, 3), (1, 7, 1, 1)), ((300, 19), (0,), (1, 19)),
              ((40, 2, 3, 15, 10), (2, 3, 4), (1, 2, 3, 1, 1))]


def draws(rng):
    """x, g, w, b and the parameters of each geometry."""
    for shape, axes, small in GEOMETRIES:
        offset = 4.0 if np.prod(shape) > 1000 else 0.5
        x, g = rng.standard_normal(shape) + offset, rng.standard_normal(shape)
        w, b = (np.asarray(rng.uniform(0.5, 1.5, small)) for _ in range(2))
        yield x, g, w, b, {"axes": axes, "eps": 1e-3}


def normalizes(rng):
    return [((x, w, b), how) for x, _, w, b, how in draws(rng)]


def adjoints(rng):
    return [((g, x, w), {**how, "shape": w.shape}) for x, g, w, _, how in draws(rng)]


def standard(x, axes, eps):
    n = np.prod([x.shape[a] for a in axes])
    mean = x.sum(axes, keepdims=True) / n
    var = ((x - mean) ** 2).sum(axes, keepdims=True) / n
    return (x - mean) / np.sqrt(var + eps), mean, var


def normalized(x, w, b, *, axes, eps):
    y, mean, var = standard(x, axes, eps)
    return y * w + b, mean, var


def gradients(g, x, w, *, axes, eps, shape):
    return (input_gradient(g, x, w, axes=axes, eps=eps), summed_down(g * standard(x, axes, eps)[0], shape),
            summed_down(g, shape))


def summed_down(g, shape):
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))
    return g.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)


def input_gradient(g, x, w, *, axes, eps):
    """The Jacobian of a group, written out, times g w."""
    u, out = np.broadcast_to(g * w, x.shape), np.empty_like(x)
    rest = [n for i, n in enumerate(x.shape) if i not in axes]
    for group in np.ndindex(*rest):
        at, left = [slice(None)] * x.ndim, list(group)
        for i in range(x.ndim):
            if i not in axes:
                at[i] = left.pop(0)
        values, one = x[tuple(at)].ravel(), u[tuple(at)].ravel()
        n = len(values)
        off = values - values.sum() / n
        r = 1 / np.sqrt((off ** 2).sum() / n + eps)
        hat = off * r
        jacobian_u = r * (one - np.full(n, 1 / n) * one.sum() - np.dot(hat, one) / n * hat)
        out[tuple(at)] = jacobian_u.reshape(out[tuple(at)].shape)
    return out


def scales(rng):
    return [((rng.standard_normal(shape), *rng.standard_normal((3, shape[1])), rng.uniform(0.5, 2.0, shape[1])),
             {"eps": eps}) for shape, eps in [((5, 3), 1e-3), ((2, 3, 4), 0.0), ((4, 7, 12, 10), 0.5)]]


def scaled(x, w, b, mean, var, *, eps):
    w, b, mean, var = [np.reshape(t, (-1, *[1] * (x.ndim - 2))) for t in (w, b, mean, var)]
    return (x - mean) / np.sqrt(var + eps) * w + b


def dropouts(rng):
    return [((rng.standard_normal(s), (rng.random(m) < 0.5) / 0.5), {})
            for s, m in [((4, 3), (4, 3)), ((2, 3, 2, 2), (2, 3, 1, 1))]]


ROWS = [
    Row(normalize, normalizes, normalized, linear=(1, 2)),
    Row(normalize_adjoint, adjoints, gradients, linear=(0, 2)),
    Row(_scale, scales, scaled, linear=(0, 1, 2, 3)),
    Row(_dropout, dropouts, lambda x, mask: np.where(mask != 0, 2.0, 0.0) * x,
        linear=(0, 1)),
]
