"""Comparisons, and choosing by a condition.

Comparisons give boolean tensors and end the graph. sign and floor are flat wherever they are
differentiable: their gradient is zero. Imports primitive and kernels only.
"""
from __future__ import annotations

import numpy as np

from ..kernels import pointwise
from ..primitive import primitive


@primitive
def equal(x, y):
    """x == y, elementwise.

    >>> equal([1.0, 2.0], 2.0).data.tolist()
    [False, True]
    """
    return np.equal(x, y)


@primitive
def not_equal(x, y):
    """x != y, elementwise; nan differs from everything.

    >>> not_equal([1.0, 2.0], 2.0).data.tolist()
    [True, False]
    """
    return np.not_equal(x, y)


@primitive
def less(x, y):
    """x < y, elementwise.

    >>> less([1.0, 2.0], 2.0).data.tolist()
    [True, False]
    """
    return np.less(x, y)


@primitive
def less_equal(x, y):
    """x <= y, elementwise.

    >>> less_equal([1.0, 2.0], 2.0).data.tolist()
    [True, True]
    """
    return np.less_equal(x, y)


@primitive
def greater(x, y):
    """x > y, elementwise.

    >>> greater([1.0, 2.0], 1.0).data.tolist()
    [False, True]
    """
    return np.greater(x, y)


@primitive
def greater_equal(x, y):
    """x >= y, elementwise.

    >>> greater_equal([1.0, 2.0], 1.0).data.tolist()
    [True, True]
    """
    return np.greater_equal(x, y)


@primitive
def logical_not(x):
    """True where x is false or 0.

    >>> logical_not([True, False]).data.tolist()
    [False, True]
    """
    return np.logical_not(x)


@primitive
def logical_and(x, y):
    """True where both are true.

    >>> logical_and([True, False], True).data.tolist()
    [True, False]
    """
    return np.logical_and(x, y)


@primitive
def logical_or(x, y):
    """True where one or both are true.

    >>> logical_or([True, False], False).data.tolist()
    [True, False]
    """
    return np.logical_or(x, y)


@primitive
def isnan(x):
    """True where x is not a number.

    >>> isnan([0.0, float("nan")]).data.tolist()
    [False, True]
    """
    return np.isnan(x)


@primitive
def isfinite(x):
    """True where x is neither infinite nor nan.

    >>> isfinite([0.0, float("inf")]).data.tolist()
    [True, False]
    """
    return np.isfinite(x)


@primitive
def where(condition, x, y):
    """x where the condition is true, else y; all three broadcast.

    The gradient of the side not chosen is 0. But if that side was computed by an op whose derivative
    is infinite there, 0 times infinity makes nan further back: `where(x > 0, sqrt(x), 0)` at x <= 0.
    Make the input safe first: `where(x > 0, sqrt(where(x > 0, x, 1)), 0)`.

    >>> where(np.array([True, False]), [1.0, 2.0], 0.0).data.tolist()
    [1.0, 0.0]
    """
    if condition.dtype != bool:
        if condition.ndim:
            raise TypeError(f"where: the condition must be boolean, got {condition.dtype}; write "
                            f"x > 0 or x != 0")
        condition = condition != 0  # a Python bool that met tensors
    if x.dtype != y.dtype or x.dtype.kind != "f" or x.itemsize > 8:
        return np.where(condition, x, y)
    if y.ndim == 0 and y == 0:
        return pointwise.keep(condition, x)
    return pointwise.choose(condition, x, y)


where.defvjp(None,
             lambda g, ans, condition, x, y: where(condition, g, 0.0),
             lambda g, ans, condition, x, y: where(logical_not(condition), g, 0.0))
where.defbroadcast()


@primitive
def sign(x):
    """-1, 0 or 1 by the sign of x; nan stays nan. Zero gradient.

    >>> sign([-2.0, 0.0, 5.0]).data.tolist()
    [-1.0, 0.0, 1.0]
    """
    return np.sign(x)


sign.defvjp(lambda g, ans, x: where(False, g, 0.0))


@primitive
def floor(x):
    """The largest whole number not above x. Zero gradient.

    >>> floor([1.5, -1.5]).data.tolist()
    [1.0, -2.0]
    """
    return np.floor(x)


floor.defvjp(lambda g, ans, x: where(False, g, 0.0))
