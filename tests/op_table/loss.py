"""Rows of softmax and of the losses on classes; references are loops over rows."""
from __future__ import annotations

import numpy as np

from tinygrad_conv.ops.activation import _log_softmax, _softmax, log_softmax_vjp, softmax_vjp
from tinygrad_conv.ops.loss import _bce, _nll, nll_vjp

from .row import Row

SHAPES = [((4, 3), 1), ((4, 3), 0), ((2, 3, 2, 2), 1), ((5,), 0), ((2, 3, 4), 2)]


def rows(f, x, axis):
    """`f` of every row along the axis."""
    return np.apply_along_axis(f, axis, x) if x.size else x.copy()


def probabilities(row):
    e = np.array([np.exp(v - max(row)) for v in row])
    return e / e.sum()


def logits(rng):
    return [((rng.standard_normal(s) * 3,), {"axis": axis}) for s, axis in SHAPES]


def softmax_pairs(rng):
    return [((rng.standard_normal(s), rows(probabilities, rng.standard_normal(s), axis)),
             {"axis": axis}) for s, axis in SHAPES]


def log_softmax_pairs(rng):
    return [((g, np.log(p)), how) for (g, p), how in softmax_pairs(rng)]


def softmax_gradient(g, ans, *, axis):
    """The Jacobian diag(p) - p p', row by row."""
    out = np.empty_like(g * ans)
    moved, gs, ps = (np.moveaxis(a, axis, -1) for a in (out, g, ans))
    for i in np.ndindex(moved.shape[:-1]):
        p = ps[i]
        moved[i] = (np.diag(p) - np.outer(p, p)) @ gs[i]
    return out


def log_softmax_gradient(g, ans, *, axis):
    """The Jacobian I - 1 p', transposed, row by row."""
    out = np.empty_like(g * ans)
    moved, gs, ls = (np.moveaxis(a, axis, -1) for a in (out, g, ans))
    for i in np.ndindex(moved.shape[:-1]):
        p = np.exp(ls[i])
        moved[i] = (np.eye(len(p)) - np.outer(p, np.ones(len(p)))) @ gs[i]
    return out


def targets(rng):
    out = []
    for shape in [(4, 3), (2, 3, 2)]:
        for axis in [(1,), tuple(range(len(shape)))]:
            t = rng.random(shape) * (rng.random(shape) < 0.6)
            out.append(((-rng.random(shape) * 4, t), {"axis": axis}))
    return out


def nll_pairs(rng):
    return [((nll(*args, **params), other), params) for args, params in targets(rng) for other in args]


def nll(logp, target, *, axis):
    return -np.sum(logp * target, axis=axis)


def chances(rng):
    return [((rng.uniform(0.05, 0.95, s), rng.uniform(0, 1, s)), {}) for s, _ in SHAPES]


ROWS = [
    Row(_bce, chances, lambda p, t: -(t * np.log2(p) + (1 - t) * np.log2(1 - p)) * np.log(2), linear=(1,)),
    Row(_softmax, logits, lambda x, *, axis: rows(probabilities, x, axis)),
    Row(softmax_vjp, softmax_pairs, softmax_gradient, linear=(0,)),
    Row(_log_softmax, logits, lambda x, *, axis: np.log(rows(probabilities, x, axis))),
    Row(log_softmax_vjp, log_softmax_pairs, log_softmax_gradient, linear=(0,)),
    Row(_nll, targets, nll, linear=(0, 1)),
    Row(nll_vjp, nll_pairs, lambda g, other, *, axis: -np.expand_dims(g, axis) * other, linear=(0, 1)),
]
