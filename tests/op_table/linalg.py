"""Rows of matmul, linear and einsum; references are loops over the labels."""
from __future__ import annotations

import itertools

import numpy as np

from tinygrad_conv.ops import linalg

from .row import Row

MATMULS = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 1, 4, 3), (5, 3, 2)),
           ((2, 4, 3), (3, 2)), ((4, 3), (2, 3, 2)), ((3,), (2, 3, 4)), ((2, 2, 3), (3,)),
           ((1, 1), (1, 1)), ((2, 3, 2, 3), (2, 1, 3, 2))]
EINSUMS = ["ij,jk->ik", "ij->ji", "i,i->", "ij->j", "ij->", "ii->i", "ii->", "iij->ji", "ij,kj->ijk",
           "bij,bjk->bik", "i,j,k->kji", "ij,jk,kl->il", "ij,k->i", "ii,i->i", "iij,j->", ",i->i",
           "ij,ij->ij", "aab,bcc->ac", "ia,ib,ic->abc"]
SIZES = {k: n for k, n in zip("ijklabc", (2, 3, 4, 2, 3, 2, 4))}


def draw(rng, shape):
    return np.asarray(rng.standard_normal(shape))


def matmuls(rng):
    return [((draw(rng, a), draw(rng, b)), {}) for a, b in MATMULS]


def matmul(x, y):
    """Sums over the shared axis, one entry of it at a time."""
    rows = x[None] if x.ndim == 1 else x
    columns = y[:, None] if y.ndim == 1 else y
    out = sum(rows[..., :, k, None] * columns[..., None, k, :] for k in range(x.shape[-1]))
    out = np.asarray(out)
    if y.ndim == 1:
        out = out[..., 0]
    return (out[0] if y.ndim == 1 else out[..., 0, :]) if x.ndim == 1 else out


def linears(rng):
    out = []
    for lead in [(5,), (), (2, 3)]:
        x, w, b = draw(rng, (*lead, 3)), draw(rng, (4, 3)), draw(rng, (4,))
        out += [((x, w), {}), ((x, w, b), {})]
    return out


def linear(x, w, b=0.0):
    return (x[..., None, :] * w).sum(axis=-1) + b


def einsums(rng):
    out = []
    for subscripts in EINSUMS:
        terms = subscripts.split("->")[0].split(",")
        xs = [draw(rng, tuple(SIZES[k] for k in t)) for t in terms]
        out.append((tuple(xs), {"subscripts": subscripts}))
    out.append(((draw(rng, (1, 3)), draw(rng, (2, 3))), {"subscripts": "ij,ij->i"}))
    out.append(((draw(rng, (1, 3)), draw(rng, (1, 2))), {"subscripts": "ij,ik->jk"}))
    return out


def by_loops(*xs, subscripts):
    """The definition: for every value of every label, multiply and add."""
    left, out = subscripts.split("->")
    terms = left.split(",")
    sizes = {}
    for t, x in zip(terms, xs):
        for k, n in zip(t, x.shape):
            known = sizes.setdefault(k, n)
            if known != n and 1 not in (known, n):
                raise ValueError(f"label {k!r} has lengths {known} and {n}")
            sizes[k] = n if known == 1 else known
    total = np.zeros([sizes[k] for k in out])
    for values in itertools.product(*map(range, sizes.values())):
        at = dict(zip(sizes, values))
        product = 1.0
        for t, x in zip(terms, xs):
            product *= x[tuple(at[k] % n for k, n in zip(t, x.shape))]
        total[tuple(at[k] for k in out)] += product
    return total


ROWS = [
    Row(linalg.matmul, matmuls, matmul, linear=(0, 1)),
    Row(linalg._linear, linears, linear, linear=(0, 1, 2)),
    Row(linalg._einsum, einsums, by_loops, linear=(0, 1, 2)),
]
