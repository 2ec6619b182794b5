"""Activations: relu and its family, softplus, silu, gelu.

Kinks have PyTorch's sub-gradients: relu'(0) = 0, leaky_relu'(0) = slope, hardtanh' = 0 at both
bounds, elu'(0) = alpha. None overflows for any finite input. Imports core, primitive, kernels,
compare, elementwise and functions.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Tensor
from ..kernels import pointwise
from ..primitive import primitive
from ..arguments import number
from .compare import where
from .elementwise import clip
from .functions import erf, exp, sigmoid, tanh


@primitive
def relu(x):
    """max(x, 0); nan stays nan. Derivative 0 at 0.

    >>> relu([-1.0, 2.0]).data.tolist()
    [0.0, 2.0]
    """
    if x.dtype.kind != "f":
        return np.maximum(x, 0)
    return np.clip(x, 0, np.inf)  # the same as maximum(x, 0), vectorised better


@primitive
def relu_vjp(g, ans):
    """g where ans > 0 (or nan), else 0: the derivative of relu, in one pass.

    >>> relu_vjp([3.0, 4.0], [0.0, 2.0]).data.tolist()
    [0.0, 4.0]
    """
    return pointwise.keep(np.logical_not(np.less_equal(ans, 0)), g)


relu.defvjp(lambda g, ans, x: relu_vjp(g, ans))
relu_vjp.defvjp(lambda h, out, g, ans: relu_vjp(h, ans), None)


@primitive
def _leaky_relu(x, *, negative_slope):
    if 0 < negative_slope <= 1:
        return np.maximum(x, x * negative_slope)
    return np.where(x > 0, x, np.minimum(x, 0) * negative_slope)


_leaky_relu.defvjp(lambda g, ans, x, *, negative_slope:
                   where(x > 0, g, g * negative_slope))
_leaky_relu.deflabel(lambda x, *, negative_slope:
                     "" if negative_slope == 0.01 else f"negative_slope {negative_slope}")


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """x if x > 0, else negative_slope * x; the derivative at 0 is the slope.

    >>> leaky_relu([-1.0, 2.0], 0.5).data.tolist()
    [-0.5, 2.0]
    """
    return _leaky_relu(x, negative_slope=number(negative_slope, "leaky_relu", "negative_slope"))


@primitive
def _elu(x, *, alpha):
    x = pointwise.floating(x)
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


def _elu_x(g, ans, x, *, alpha):
    """From exp(x), not ans + alpha, which is 0 below -17 in float32."""
    return g * where(x > 0, 1.0, alpha * exp(where(x > 0, 0.0, x)))


_elu.defvjp(_elu_x)


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """x if x > 0, else alpha * (e**x - 1).

    >>> elu([0.0, 2.0]).data.tolist()
    [0.0, 2.0]
    """
    return _elu(x, alpha=number(alpha, "elu", "alpha"))


def selu(x: Any) -> Tensor:
    """scale * elu(x, alpha), with the constants that keep mean 0 and variance 1 (Klambauer 2017).

    >>> selu([0.0]).data.tolist()
    [0.0]
    """
    return elu(x, 1.6732632423543772) * 1.0507009873554805


@primitive
def silu(x):
    """x * sigmoid(x), also called swish.

    >>> silu([0.0]).data.tolist()
    [0.0]
    """
    return x * pointwise.sigmoid(x)


def _silu_x(g, ans, x):
    s = sigmoid(x)
    return g * (s + ans * (1.0 - s))


silu.defvjp(_silu_x)


@primitive
def _softplus(x, *, beta, threshold):
    x = pointwise.floating(x)
    z = x * beta
    return pointwise.choose(z > threshold, x, pointwise.softplus(z) / beta)


def _softplus_x(g, ans, x, *, beta, threshold):
    z = x * beta
    return where(z > threshold, g, g * sigmoid(z))


_softplus.defvjp(_softplus_x)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e**(beta x)) / beta; as in PyTorch, exactly x where beta x > threshold.

    Raises:
        ValueError: if beta is 0.

    >>> [round(v, 4) for v in softplus([0.0, 1000.0]).data.tolist()]
    [0.6931, 1000.0]
    """
    beta, threshold = number(beta, "softplus", "beta"), number(threshold, "softplus", "threshold")
    if beta == 0:
        raise ValueError("softplus: beta must not be 0, the result is divided by it")
    return _softplus(x, beta=beta, threshold=threshold)


@primitive
def _gelu(x, *, approximate):
    if approximate == "tanh":
        with np.errstate(over="ignore"):
            cdf = np.tanh(x * (_SLOPE + _CUBIC * np.square(x)))
    else:
        cdf = pointwise.erf(x * math.sqrt(0.5))
    return x * (0.5 * cdf + 0.5)


_SLOPE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _SLOPE
_FLAT = 30.0  # from here on the curve is straight in any precision


def _gelu_x(g, ans, x, *, approximate):
    if approximate == "tanh":
        x = clip(x, -_FLAT, _FLAT)  # the square of a large x overflows, times 0 it would be nan
        t = tanh(x * (_SLOPE + _CUBIC * x * x))
        cdf = 0.5 * t + 0.5
        density = (0.5 - 0.5 * t * t) * (_SLOPE + 3 * _CUBIC * x * x)
    else:
        cdf = 0.5 * erf(x * math.sqrt(0.5)) + 0.5
        density = exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (cdf + x * density)


_gelu.defvjp(_gelu_x)


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """x times the normal distribution function of x (Hendrycks & Gimpel 2016).

    Args:
        x: any shape.
        approximate: "none", or "tanh" for the paper's approximation by tanh.

    Raises:
        ValueError: for any other `approximate`.

    >>> gelu([0.0]).data.tolist()
    [0.0]
    """
    if not isinstance(approximate, str) or approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gelu(x, approximate=approximate)


@primitive
def _hardtanh(x, *, min_val, max_val):
    return np.clip(x, min_val, max_val)


_hardtanh.defvjp(lambda g, ans, x, *, min_val, max_val:
                 where(x <= min_val, 0.0, where(x >= max_val, 0.0, g)))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """x limited to [min_val, max_val]; the derivative is 0 at both bounds (clip's is 1).

    Raises:
        ValueError: if min_val > max_val.

    >>> hardtanh([-3.0, 0.5]).data.tolist()
    [-1.0, 0.5]
    """
    min_val, max_val = number(min_val, "hardtanh", "min_val"), number(max_val, "hardtanh", "max_val")
    if not min_val <= max_val:
        raise ValueError(f"hardtanh: min_val must not exceed max_val, got {min_val} and {max_val}")
    return _hardtanh(x, min_val=min_val, max_val=max_val)


def relu6(x: Any) -> Tensor:
    """x limited to [0, 6]; the derivative is 0 at both.

    >>> relu6([-1.0, 2.0, 7.0]).data.tolist()
    [0.0, 2.0, 6.0]
    """
    return hardtanh(x, 0.0, 6.0)
