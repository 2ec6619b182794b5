"""Powers, exp and log, sin and cos, sigmoid, tanh and erf.

Most derivatives are written in terms of the result `ans`. Values outside a function's domain are
IEEE's, with NumPy's warning. Imports primitive, kernels and compare.
"""
from __future__ import annotations

import math

import numpy as np

from ..kernels import pointwise
from ..primitive import primitive
from .compare import isnan, logical_and, logical_or, where

_SHORT = {0.0: np.ones_like, 0.5: np.sqrt, 1.0: lambda x: x, 2.0: np.square,
          3.0: lambda x: x * x * x, -1.0: np.reciprocal}


@primitive
def pow(x, y):
    """x ** y. As in PyTorch, x**0 has gradient 0 at x = 0, and 0**y has gradient 0 in y > 0.

    >>> pow([2.0, -3.0], 2.0).data.tolist()
    [4.0, 9.0]
    """
    if y.ndim or x.dtype != y.dtype or x.dtype.kind != "f":
        return np.power(x, y)
    p = float(y)
    if p in _SHORT:
        return _SHORT[p](x)
    if not p.is_integer():
        return np.power(x, y)
    size = np.power(np.abs(x), y)  # np.power is 20 times slower for negative x
    return np.copysign(size, x) if p % 2 else size


def _pow_x(g, ans, x, y):
    """g y x**(y-1), and 0 instead of 0 * inf where y is 0 and x is 0 or nan."""
    if (y == 0).any():
        lost = logical_and(y == 0, logical_or(x == 0, isnan(x)))
        x, y = where(lost, 1.0, x), where(lost, 0.0, y)
    return g * (y * x ** (y - 1.0))


def _pow_y(g, ans, x, y):
    """g x**y log x, and 0 instead of 0 * inf where x is 0 and y >= 0."""
    return g * (ans * log(where(logical_and(x == 0, y >= 0), 1.0, x)))


pow.defvjp(_pow_x, _pow_y)
pow.defbroadcast()


@primitive
def sqrt(x):
    """The square root. The derivative at 0 is infinite, but a zero cotangent stays 0, not nan.

    >>> sqrt([4.0]).data.tolist()
    [2.0]
    """
    return np.sqrt(pointwise.floating(x))


@primitive
def sqrt_vjp(g, ans):
    """g / (2 ans), where 0 / 0 is 0: the derivative of sqrt.

    >>> sqrt_vjp([0.0, 4.0], [0.0, 2.0]).data.tolist()
    [0.0, 1.0]
    """
    lost = (ans == 0) & (g == 0)
    return np.divide(g, 2 * (np.where(lost, 1, ans) if np.any(lost) else ans))


sqrt.defvjp(lambda g, ans, x: sqrt_vjp(g, ans))
sqrt_vjp.defvjp(lambda h, out, g, ans: sqrt_vjp(h, ans),
                lambda h, out, g, ans: -2.0 * sqrt_vjp(h * out, ans))


@primitive
def exp(x):
    """e**x.

    >>> exp([0.0]).data.tolist()
    [1.0]
    """
    return np.exp(pointwise.floating(x))


exp.defvjp(lambda g, ans, x: g * ans)


@primitive
def expm1(x):
    """e**x - 1, accurate near 0.

    >>> expm1([0.0]).data.tolist()
    [0.0]
    """
    return np.expm1(pointwise.floating(x))


expm1.defvjp(lambda g, ans, x: g * (ans + 1.0))


@primitive
def log(x):
    """The natural logarithm.

    >>> log([1.0]).data.tolist()
    [0.0]
    """
    return np.log(pointwise.floating(x))


log.defvjp(lambda g, ans, x: g / x)


@primitive
def log1p(x):
    """log(1 + x), accurate near 0.

    >>> log1p([0.0]).data.tolist()
    [0.0]
    """
    return np.log1p(pointwise.floating(x))


log1p.defvjp(lambda g, ans, x: g / (x + 1.0))


@primitive
def sin(x):
    """The sine of x in radians.

    >>> sin([0.0]).data.tolist()
    [0.0]
    """
    return np.sin(pointwise.floating(x))


sin.defvjp(lambda g, ans, x: g * cos(x))


@primitive
def cos(x):
    """The cosine of x in radians.

    >>> cos([0.0]).data.tolist()
    [1.0]
    """
    return np.cos(pointwise.floating(x))


cos.defvjp(lambda g, ans, x: -g * sin(x))


@primitive
def sigmoid(x):
    """1 / (1 + e**-x).

    >>> sigmoid([0.0, -1000.0, 1000.0]).data.tolist()
    [0.5, 0.0, 1.0]
    """
    return pointwise.sigmoid(x)


sigmoid.defvjp(lambda g, ans, x: g * (ans * (1.0 - ans)))


@primitive
def tanh(x):
    """The hyperbolic tangent.

    >>> tanh([0.0, 1000.0]).data.tolist()
    [0.0, 1.0]
    """
    return np.tanh(pointwise.floating(x))


tanh.defvjp(lambda g, ans, x: g * (1.0 - ans * ans))


@primitive
def erf(x):
    """The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.

    Relative error below 5e-16 in float64 (the approximation: kernels/pointwise.py).

    >>> erf([0.0, 6.0]).data.tolist()
    [0.0, 1.0]
    """
    return pointwise.erf(x)


erf.defvjp(lambda g, ans, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)))
