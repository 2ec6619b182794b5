"""Normalisation to mean 0 and variance 1 over any axes, as a closed family of maps.

With m and v the mean and the biased variance over the axes, n their number of entries, and
r = 1/sqrt(v + eps), let xhat = (x - m) r and look at the number

    T(g, x, w, b) = <g, w xhat(x) + b>,

which is linear in g and in (w, b). Read off what multiplies each, and differentiate with respect to x:

    times g:   normalize(x, w, b)         w xhat + b
    times w:   normalize_weight(g, x)     sum of g xhat
    times b:   normalize_bias(g)          sum of g
    d/dx:      normalize_input(g, x, w)   J(x)(g w),  J(x)h = r (h - mean(h) - xhat mean(h xhat))

J is symmetric, so the derivatives of these maps in g and w are the same maps again. What is left
is the derivative of <h, J(x)u> in x; since dr = -r^2/n <xhat, dx> and dxhat = J dx, it is

    -r/n [ r (<h,u> - n mean(h) mean(u) - <h,xhat><u,xhat>/n) xhat + <u,xhat> J h + <h,xhat> J u ].

Each is computed from x itself, not from saved values, so every order follows.
"""
from __future__ import annotations

import math

import numpy as np

from ..kernels import norm as kernels
from ..primitive import primitive
from . import reduce as rd
from .shape import broadcast_to


@primitive
def normalize(x, w, b, *, axes, eps):
    """xhat w + b, and the mean and variance: three outputs. w and b broadcast against x."""
    return kernels.normalize(x, w, b, axes, eps)


@primitive
def normalize_weight(g, x, *, axes, eps, shape):
    """The sum of g xhat down to `shape`, that of w."""
    return kernels.weight_adjoint(g, x, axes, eps, shape)


@primitive
def normalize_bias(g, *, shape):
    """The sum of g down to `shape`, that of b."""
    return kernels.bias_adjoint(g, shape)


@primitive
def normalize_input(g, x, w, *, axes, eps):
    """J(x)(g w)."""
    return kernels.input_adjoint(g, x, w, axes, eps)


def _normalize_x(g, ans, x, w, b, *, axes, eps):
    g, g_mean, g_var = g
    dx = normalize_input(g, x, w, axes=axes, eps=eps)
    if not any(t.requires_grad or np.any(t._data) for t in (g_mean, g_var)):
        return dx  # mean and variance were not used, or for the running statistics only
    n = max(1, math.prod(x.shape[a] for a in axes))
    return dx + (g_mean + 2.0 * g_var * (x - ans[1])) * (1.0 / n)


normalize.defvjp(
    _normalize_x,
    lambda g, ans, x, w, b, **where: normalize_weight(g[0], x, shape=w.shape, **where),
    lambda g, ans, x, w, b, **where: normalize_bias(g[0], shape=b.shape))
normalize.defbroadcast()

normalize_weight.defvjp(
    lambda u, ans, g, x, *, shape, **where: normalize(x, u, 0.0, **where)[0],
    lambda u, ans, g, x, *, shape, **where: normalize_input(g, x, u, **where))

normalize_bias.defvjp(lambda u, ans, g, *, shape: broadcast_to(u, g.shape))


def _normalize_input_x(h, ans, g, x, w, *, axes, eps):
    """The last formula at the head of this file, with u = g w."""
    n = max(1, math.prod(x.shape[a] for a in axes))
    u = g * w
    xhat, _, v = normalize(x, 1.0, 0.0, axes=axes, eps=eps)
    r = (v + eps) ** -0.5

    def dot(s, t):
        return rd.sum(s * t, axes, keepdims=True)
    hx, ux = dot(h, xhat), dot(u, xhat)
    means = rd.mean(h, axes, keepdims=True) * rd.mean(u, axes, keepdims=True)
    along = r * (dot(h, u) - n * means - hx * ux * (1.0 / n)) * xhat
    across = ux * normalize_input(h, x, 1.0, axes=axes, eps=eps)
    across = across + hx * normalize_input(u, x, 1.0, axes=axes, eps=eps)
    return (along + across) * (r * (-1.0 / n))


normalize_input.defvjp(
    lambda h, ans, g, x, w, **where: w * normalize_input(h, x, 1.0, **where),
    _normalize_input_x,
    lambda h, ans, g, x, w, **where: g * normalize_input(h, x, 1.0, **where))
