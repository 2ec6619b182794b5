"""Elementwise arithmetic: a value and its derivative, side by side.

Each op is a primitive on arrays; the rows below it give one VJP per argument, in tensors, so every
order of derivative follows. Broadcasting and dtypes are undone in pullback.py. At a kink the
sub-gradient is PyTorch's. Values are IEEE's, with NumPy's warnings: log(0) is -inf and NumPy
says so. Imports core, primitive, kernels and compare.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..primitive import primitive
from ..arguments import checked_dtype
from .compare import sign, where


@primitive
def identity(x):
    """x itself, as a new tensor on the same memory.

    >>> identity([1.0, 2.0]).data.tolist()
    [1.0, 2.0]
    """
    return x


identity.defvjp(lambda g, ans, x: g)


@primitive
def _astype(x, *, dtype):
    return x.astype(dtype, copy=False)


_astype.defvjp(lambda g, ans, x, *, dtype: _astype(g, dtype=x.dtype))


def astype(x: Any, dtype: Any) -> Tensor:
    """x in another dtype; the gradient comes back in the dtype of x.

    Raises:
        TypeError: if `dtype` is not a float, integer or boolean type.

    >>> astype([1.0, 2.0], np.float64).dtype
    dtype('float64')
    """
    return _astype(x, dtype=checked_dtype("astype", dtype))


@primitive
def add(x, y):
    """x + y.

    >>> add([1.0, 2.0], 3.0).data.tolist()
    [4.0, 5.0]
    """
    return np.add(x, y)


add.defvjp(lambda g, ans, x, y: g,
           lambda g, ans, x, y: g)
add.defbroadcast()


@primitive
def sub(x, y):
    """x - y.

    >>> sub([1.0, 2.0], 3.0).data.tolist()
    [-2.0, -1.0]
    """
    return np.subtract(x, y)


sub.defvjp(lambda g, ans, x, y: g,
           lambda g, ans, x, y: -g)
sub.defbroadcast()


@primitive
def mul(x, y):
    """x * y.

    >>> mul([1.0, 2.0], 3.0).data.tolist()
    [3.0, 6.0]
    """
    return np.multiply(x, y)


mul.defvjp(lambda g, ans, x, y: g * y,
           lambda g, ans, x, y: g * x)
mul.defbroadcast()


@primitive
def div(x, y):
    """x / y, also of integers.

    >>> div([1.0, 2.0], 4.0).data.tolist()
    [0.25, 0.5]
    """
    return np.true_divide(x, y)


div.defvjp(lambda g, ans, x, y: g / y,
           lambda g, ans, x, y: -(g * ans) / y)
div.defbroadcast()


@primitive
def div_no_nan(x, y):
    """x / y, but 0 wherever y is 0: for gradients that are defined as 0 at a singular point.

    >>> div_no_nan([3.0, 1.0], [0.0, 2.0]).data.tolist()
    [0.0, 0.5]
    """
    zero = y == 0
    if not np.any(zero):
        return np.divide(x, y)
    return np.where(zero, 0, np.divide(x, np.where(zero, 1, y)))


div_no_nan.defvjp(lambda g, ans, x, y: div_no_nan(g, y),
                  lambda g, ans, x, y: -div_no_nan(g * ans, y))
div_no_nan.defbroadcast()


@primitive
def neg(x):
    """-x.

    >>> neg([1.0, -2.0]).data.tolist()
    [-1.0, 2.0]
    """
    return np.negative(x)


neg.defvjp(lambda g, ans, x: -g)

@primitive
def abs(x):
    """The absolute value; derivative 0 at 0.

    >>> abs([-2.0, 3.0]).data.tolist()
    [2.0, 3.0]
    """
    return np.abs(x)


abs.defvjp(lambda g, ans, x: g * sign(x))


@primitive
def maximum(x, y):
    """The larger one, nan if either is; where they tie each gets half of the gradient.

    >>> maximum([1.0, 5.0], 3.0).data.tolist()
    [3.0, 5.0]
    """
    return np.maximum(x, y)


@primitive
def minimum(x, y):
    """The smaller one, nan if either is; where they tie each gets half of the gradient.

    >>> minimum([1.0, 5.0], 3.0).data.tolist()
    [1.0, 3.0]
    """
    return np.minimum(x, y)


maximum.defvjp(lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g * 0.5, g)),
               lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g * 0.5, g)))
maximum.defbroadcast()
minimum.defvjp(lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g * 0.5, g)),
               lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g * 0.5, g)))
minimum.defbroadcast()


@primitive
def _clip(x, *, min, max):
    return np.clip(x, min, max)


_clip.defvjp(lambda g, ans, x, *, min, max: where(x == ans, g, 0.0))


def clip(x: Any, min: float | None = None, max: float | None = None) -> Tensor:
    """x limited to [min, max]; the gradient passes where x is inside, bounds included.

    Raises:
        TypeError: if a bound is not a number, or neither is given.

    >>> clip([-1.0, 0.5, 9.0], 0, 1).data.tolist()
    [0.0, 0.5, 1.0]
    """
    if min is None and max is None:
        raise TypeError("clip: needs min, max or both")
    bounds = [b.item() if isinstance(b, np.generic) else b for b in (min, max)]
    for bound in bounds:
        if not isinstance(bound, int | float | None):
            raise TypeError(f"clip: bounds are numbers, got {type(bound).__name__}; use tg.maximum "
                            f"and tg.minimum with tensors")
    return _clip(x, min=bounds[0], max=bounds[1])
