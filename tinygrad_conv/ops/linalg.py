"""Products of matrices: matmul, linear, einsum, outer.

All are multilinear, so the derivative by one operand is a product of the cotangent with the
others: every row below is written with the op itself. Imports elementwise, shape and reduce.
"""
from __future__ import annotations

import string
from typing import Any

import numpy as np

from ..core import Tensor, share
from ..primitive import primitive
from . import elementwise as ew
from . import shape


@primitive
def matmul(x, y):
    return np.matmul(x, y)


def _mt(x):
    """The matrices of a stack, transposed."""
    return shape.transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _rows(x):
    """(..., n) as (rows, n)."""
    return x if x.ndim == 2 else shape.reshape(x, shape=(x.size // max(x.shape[-1], 1), x.shape[-1]))


def _matmul_x(g, ans, x, y):
    if y.ndim == 1:                                               # g (..., M), y (K,)
        return ew.mul(shape.reshape(g, shape=(*g.shape, 1)), y)
    if x.ndim == 1:                                               # g (..., N), y (..., K, N)
        column = matmul(y, shape.reshape(g, shape=(*g.shape, 1)))
        return shape.reshape(column, shape=column.shape[:-1])
    return matmul(g, _mt(y))


def _matmul_y(g, ans, x, y):
    if x.ndim == 1:                                               # x (K,), g (..., N)
        column = x if y.ndim == 1 else shape.reshape(x, shape=(x.shape[0], 1))
        return ew.mul(column, shape.reshape(g, shape=(*g.shape[:-1], 1, *g.shape[-1:])) if g.ndim else g)
    if y.ndim == 1:                                               # x (..., M, K), g (..., M)
        column = matmul(_mt(x), shape.reshape(g, shape=(*g.shape, 1)))
        return shape.reshape(column, shape=column.shape[:-1])
    if y.ndim == 2:                                               # one matrix for all of the stack
        x, g = _rows(x), _rows(g)
    return matmul(_mt(x), g)


matmul.defvjp(_matmul_x, _matmul_y)


@primitive
def _linear(x, w, b=None):
    y = np.matmul(x, w.T)
    if b is not None:
        y += b
    return y


_linear.defvjp(lambda g, ans, x, w, b=None: matmul(g, w),
               lambda g, ans, x, w, b=None: matmul(_mt(_rows(g)), _rows(x)),
               lambda g, ans, x, w, b: g)


def linear(x, w, bias=None):
    return _linear(x, w) if bias is None else _linear(x, w, bias)


@primitive
def _einsum(*xs, subscripts):
    return np.einsum(subscripts, *xs, optimize=len(xs) > 1)


def _einsum_vjp(i, g, ans, *xs, subscripts):
    terms, out = _parse(subscripts)
    sizes = {}
    for labels, x in zip(terms, xs):
        for k, n in zip(labels, x.shape):
            sizes[k] = max(n, sizes.get(k, 0)) if n != 0 else 0
    fresh = iter(sorted(set(string.ascii_letters) - set(sizes)))
    new_terms, operands = [out], [g]
    for j, x in enumerate(xs):
        if j != i:
            new_terms.append(terms[j])
            operands.append(x)
    known = {k for t, x in zip(new_terms, operands) for k, n in zip(t, x.shape) if n == sizes[k]}
    target = ""
    dtype = xs[i].dtype
    for k in terms[i]:
        if k in target:                                           # diagonal
            other = next(fresh)
            new_terms.append(k + other)
            operands.append(share(np.eye(sizes[k], dtype=dtype)))
            target += other
        else:
            target += k
            if k not in known:                                    # summed out in this operand alone
                new_terms.append(k)
                operands.append(share(np.ones(sizes[k], dtype=dtype)))
    return _einsum(*operands, subscripts=f"{','.join(new_terms)}->{target}")


_einsum.defvjp_variadic(_einsum_vjp)


def _parse(subscripts: str) -> tuple[list[str], str]:
    left, _, out = subscripts.partition("->")
    return left.split(","), out


def einsum(subscripts: str, *operands: Any) -> Tensor:
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    if not arrow:
        out = "".join(sorted(k for k in set(left) - {","} if left.count(k) == 1))
    return _einsum(*operands, subscripts=f"{left}->{out}")


def outer(x, y):
    x = ew.identity(x)
    y = ew.identity(y)
    return ew.mul(shape.reshape(x, shape=(x.size, 1)), shape.reshape(y, shape=(1, y.size)))
