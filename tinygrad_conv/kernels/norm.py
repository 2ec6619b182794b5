"""Normalisation and its adjoints: sums over pieces of memory, then one elementwise pass.

Speed comes from the cut (cut.py): memory is read in order, each block once and while it is in
cache. Sums of pieces are merged by Chan's formula (Chan, Golub & LeVeque 1979), in float64:
float32 loses nothing in long sums.
Arrays in, arrays out, any strides; outputs have the memory layout of x.

A small array has x's number of axes, or none, and length 1 on the axes of the sums.
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import numpy as np

from .cut import Cut, Plain, cut_for
from .table import register
from .total import total

CANCELS = 4.0  # mean**2 / var from which sum(x**2) loses more than two bits of the variance


class Sums(NamedTuple):
    """Of groups of `n` entries of x and, if given, g: small arrays in float64.

    mean and sum((x - mean)**2) of x, sum(g), and sum(g (x - mean)).
    """

    n: int
    mean: np.ndarray
    square: np.ndarray
    total: np.ndarray | None = None
    inner: np.ndarray | None = None

    def merge(self, axes: tuple[int, ...]) -> Sums:
        """Of the unions of groups along `axes`."""
        groups = math.prod([self.mean.shape[i] for i in axes])
        if groups <= 1:
            return self
        add = partial(np.add.reduce, axis=axes, keepdims=True)
        mean = add(self.mean) / groups
        off = self.mean - mean
        more = () if self.total is None else (add(self.total), add(self.inner + off * self.total))
        return Sums(self.n * groups, mean, add(self.square + self.n * off * off), *more)

    def about(self, mean: np.ndarray) -> np.ndarray:
        """sum(g (x - mean)) for another mean."""
        return self.inner + (self.mean - mean) * self.total

    def var(self) -> np.ndarray:
        return self.square / self.n

    def inverse_std(self, eps: float) -> np.ndarray:
        return 1.0 / np.sqrt(self.var() + eps)


def sums(cut: Cut | Plain, x: np.ndarray, g: np.ndarray | None = None) -> Sums:
    """What `Sums` holds, merged over the axes of the cut; x and g in its form."""
    def work(s, _):
        parts = cut.sums(x[s]), cut.dots(x[s], x[s])
        return parts if g is None else (*parts, cut.sums(g[s]), cut.dots(g[s], x[s]))

    mean, square, *more = map(cut.collect, zip(*cut.each(1 if g is None else 2, work)))
    mean /= cut.count
    square -= cut.count * mean * mean
    if more:
        more[1] -= mean * more[0]
    n, *arrays = Sums(cut.count, mean, np.maximum(square, 0.0, out=square), *more).merge((0,))
    return Sums(n, *(a[0] for a in arrays if a is not None)).merge(cut.axes)


def prepare(cut: Cut | Plain, axes: tuple[int, ...], x: np.ndarray,
            g: np.ndarray | None = None) -> tuple[np.ndarray, Sums, np.ndarray | float]:
    """x in the form of the cut, or x less a centre; its sums (g in that form too); the centre.

    Sums about 0 are fastest. Where the mean is large beside the spread they would lose digits;
    then x - mean is made first, as in the two-pass algorithm.
    """
    found = sums(cut, x, g)
    whole = found.merge(axes)
    if not np.any(whole.mean * whole.mean > CANCELS * whole.var()):
        return x, found, 0.0
    centre = whole.mean.astype(cut.dtype)
    near = x - cut.spread(centre)
    return near, sums(cut, near, g), centre


def combine(cut: Cut | Plain, c: np.ndarray, *terms: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The sum of x * a over the terms (x, a), and c: a and c are small, x has the form of the cut."""
    c, terms = cut.spread(c), [(x, cut.spread(a)) for x, a in terms]
    (first, a), *others = terms
    out = cut.empty()

    def work(s, scratch):
        y = np.multiply(first[s], a[s], out=out[s])
        for x, b in others:
            y += np.multiply(x[s], b[s], out=scratch)
        y += c[s]
    cut.each(2 * len(terms), work)
    return cut.whole(out)


def alike(axes: Iterable[int], ndim: int, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Those of the axes of an array along which small arrays of these shapes have length 1, or no axis."""
    return tuple([i for i in axes if all([ndim - i > len(s) or s[i - ndim] == 1 for s in shapes])])


def normalize(x: np.ndarray, w: np.ndarray, b: np.ndarray, axes: tuple[int, ...],
              eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """xhat * w + b for xhat = (x - mean) / sqrt(var + eps); the mean; the biased variance."""
    if x.size == 0:
        stats = np.full([1 if i in axes else n for i, n in enumerate(x.shape)], np.nan, x.dtype)
        return np.empty_like(x), stats, stats
    common = alike(axes, x.ndim, w.shape, b.shape)
    if not common:  # layer norm: weight and bias differ where the sums run
        y, mean, var = normalize(x, np.ones(()), np.zeros(()), axes, eps)
        y *= w
        y += b
        return y, mean, var
    cut = cut_for(x, common)
    near, parts, centre = prepare(cut, axes, cut.dense(x))
    whole = parts.merge(axes)
    a = whole.inverse_std(eps) * w
    y = combine(cut, b - whole.mean * a, (near, a))
    return y, (whole.mean + centre).astype(x.dtype), whole.var().astype(x.dtype)


def normalize_adjoint(g: np.ndarray, x: np.ndarray, w: np.ndarray, axes: tuple[int, ...], eps: float,
                      shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r (u - mean(u) - xhat mean(u xhat)) for u = g w, r = 1/sqrt(var + eps); down to `shape`, the sums of
    g xhat and of g.
    """
    summed, common = alike(range(x.ndim), x.ndim, shape), alike(axes, x.ndim, w.shape, shape)
    if x.size == 0:
        return np.empty_like(x), np.zeros(shape, x.dtype), np.zeros(shape, x.dtype)
    if not common:  # layer norm
        dx, _, _ = normalize_adjoint(g * w, x, np.ones((), x.dtype), axes, eps, ())
        xhat, _, _ = normalize(x, np.ones(()), np.zeros(()), axes, eps)
        dw = np.add.reduce(np.multiply(g, xhat, out=xhat), axis=summed)
        return dx, dw.reshape(shape), total(g, summed, False).reshape(shape)
    cut = cut_for(x, common)
    u = cut.dense(g)
    near, parts, _ = prepare(cut, axes, cut.dense(x), u)
    whole = parts.merge(axes)
    r = whole.inverse_std(eps)
    inner = r * parts.about(whole.mean)  # sum(g xhat)

    def mean(a):
        return np.add.reduce(a * w, axis=axes, keepdims=True) / whole.n
    slope = r * r * mean(inner)
    dx = combine(cut, slope * whole.mean - r * mean(parts.total), (u, r * w), (near, -slope))
    dw, db = [np.add.reduce(a, axis=summed).reshape(shape).astype(x.dtype) for a in (inner, parts.total)]
    return dx, dw, db


def scale(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x * a + b."""
    cut = cut_for(x, alike(range(x.ndim), x.ndim, a.shape, b.shape))
    return combine(cut, b, (cut.dense(x), a))


register("numpy", "normalize", normalize)
register("numpy", "normalize_adjoint", normalize_adjoint)
register("numpy", "scale", scale)
