"""Activations: relu and its family, softplus, silu, gelu; softmax and its logarithm, along an axis.

None overflows for any finite input. Derivatives at kinks: the table in __init__.py of this folder.
"""
import math
from typing import Any

import numpy as np

from ..arguments import Axis, axes_of, axis_of, number, one_of
from ..kernels import pointwise
from ..kernels.softmax import shifted
from ..kernels.table import run
from ..kernels.total import total
from ..operands import as_floats
from ..primitive import Primitive, primitive
from ..tensor import Tensor
from .elementwise import add, clip, erf, exp, mul, neg, sigmoid, tanh, unary, where
from .reduce import sum
from .shape import _reshape, _transpose


@primitive
def relu_vjp(g, ans):
    """g where ans > 0 (or nan), else 0: the derivative of relu, in one pass.

    >>> relu_vjp([3.0, 4.0], [0.0, 2.0]).data.tolist()
    [0.0, 4.0]
    """
    return run("relu_vjp", g, ans)


relu_vjp.defvjp(lambda h, out, g, ans: relu_vjp(h, ans), None)
relu_vjp.defjvp("same")
relu = unary("relu", lambda x: run("relu", x),
             "max(x, 0); nan stays nan. Derivative 0 at 0.",
             lambda g, ans, x: relu_vjp(g, ans))
relu.defsaved("ans")
relu.defexport("Relu")


@primitive
def _leaky_relu(x, *, negative_slope=0.01):  # the default is left out of pictures
    return run("leaky_relu", x, negative_slope)


@primitive
def leaky_relu_vjp(g, x, *, negative_slope):
    """g where x > 0, else negative_slope * g: the derivative of leaky_relu, in one pass.

    >>> leaky_relu_vjp([3.0, 4.0], [0.0, 2.0], negative_slope=0.5).data.tolist()
    [1.5, 4.0]
    """
    return run("leaky_relu_vjp", g, x, negative_slope)


_leaky_relu.defapart()
_leaky_relu.defvjp(lambda g, ans, x, **slope: leaky_relu_vjp(g, x, **slope))
_leaky_relu.defjvp(*_leaky_relu.vjps)
_leaky_relu.defsaved("x")
_leaky_relu.defexport(lambda to, x, *, negative_slope: to("LeakyRelu", x, alpha=negative_slope))
leaky_relu_vjp.defvjp(lambda h, out, g, x, **slope: leaky_relu_vjp(h, x, **slope), None)
leaky_relu_vjp.defjvp("same")


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


# from exp(x), not ans + alpha, which is 0 below -17 in float32
_elu.defapart()
_elu.defvjp(lambda g, ans, x, *, alpha: g * where(x > 0, 1.0, alpha * exp(where(x > 0, 0.0, x))))
_elu.defjvp(*_elu.vjps)
_elu.defexport(lambda to, x, *, alpha: to("Elu", x, alpha=alpha))


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


def _silu_x(g, ans, x):
    s = sigmoid(x)
    return g * (s + ans * (1.0 - s))


silu = unary("silu", lambda x: x * pointwise.sigmoid(x), "x * sigmoid(x), also called swish.", _silu_x)
silu.defsaved("x", "ans")
silu.defexport(lambda to, x: to("Mul", x, to("Sigmoid", x)))


@primitive
def _softplus(x, *, beta, threshold):
    x = pointwise.floating(x)
    z = x * beta
    return pointwise.choose(z > threshold, x, pointwise.softplus(z) / beta)


_softplus.defapart()
_softplus.defvjp(lambda g, ans, x, *, beta, threshold:
                 where(x * beta > threshold, g, g * sigmoid(x * beta)))
_softplus.defjvp(*_softplus.vjps)


def _softplus_export(to, x, *, beta, threshold):
    """Beyond a usual threshold the two sides differ by less than rounding."""
    z = x if beta == 1 else to("Mul", x, x.dtype.type(beta))
    y = to("Softplus", z)
    y = y if beta == 1 else to("Div", y, x.dtype.type(beta))
    return y if threshold >= 20 else to("Where", to("Greater", z, x.dtype.type(threshold)), x, y)


_softplus.defexport(_softplus_export)


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


_SLOPE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715 * _SLOPE


@primitive
def _gelu(x, *, approximate):
    with np.errstate(over="ignore"):
        cdf = (np.tanh(x * (_SLOPE + _CUBIC * np.square(x))) if approximate == "tanh" else
               pointwise.erf(x * math.sqrt(0.5)))
    return x * (0.5 * cdf + 0.5)


def _gelu_x(g, ans, x, *, approximate):
    if approximate == "tanh":
        x = clip(x, -30.0, 30.0)  # straight from there on; the square of a large x, times 0, would be nan
        t = tanh(x * (_SLOPE + _CUBIC * x * x))
        cdf = 0.5 * t + 0.5
        density = (0.5 - 0.5 * t * t) * (_SLOPE + 3 * _CUBIC * x * x)
    else:
        cdf = 0.5 * erf(x * math.sqrt(0.5)) + 0.5
        density = exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return g * (cdf + x * density)


_gelu.defapart()
_gelu.defvjp(_gelu_x)
_gelu.defjvp(_gelu_x)
_gelu.defsaved("x")
_gelu.defexport(lambda to, x, *, approximate: to("Gelu", x, approximate=approximate))


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
    return _gelu(x, approximate=one_of(approximate, "gelu", "approximate", ("none", "tanh")))


@primitive
def _hardtanh(x, *, min_val, max_val):
    return run("hardtanh", x, min_val, max_val)


@primitive
def hardtanh_vjp(g, x, *, min_val, max_val):
    """g where min_val < x < max_val (or x is nan), else 0: the derivative of hardtanh, in one pass.

    >>> hardtanh_vjp([3.0, 4.0], [1.0, 0.5], min_val=-1.0, max_val=1.0).data.tolist()
    [0.0, 4.0]
    """
    return run("hardtanh_vjp", g, x, min_val, max_val)


_hardtanh.defapart()
_hardtanh.defvjp(lambda g, ans, x, **bounds: hardtanh_vjp(g, x, **bounds))
_hardtanh.defjvp(*_hardtanh.vjps)
_hardtanh.defsaved("x")
_hardtanh.defexport(lambda to, x, *, min_val, max_val: to(
    "Clip", x, x.dtype.type(min_val), x.dtype.type(max_val)))
hardtanh_vjp.defvjp(lambda h, out, g, x, **bounds: hardtanh_vjp(h, x, **bounds), None)
hardtanh_vjp.defjvp("same")


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


def hardsigmoid(x: Any) -> Tensor:
    """relu6(x + 3) / 6: a sigmoid of three straight pieces.

    >>> hardsigmoid([-3.0, 0.0, 9.0]).data.tolist()
    [0.0, 0.5, 1.0]
    """
    return relu6(add(x, 3.0)) / 6.0


def hardswish(x: Any) -> Tensor:
    """x * relu6(x + 3) / 6 (Howard 2019); the derivative is 0 at -3 and 1 at 3.

    >>> hardswish([0.0, 3.0]).data.tolist()
    [0.0, 3.0]
    """
    x = as_floats(x, "hardswish")
    return where(x >= 3.0, x, x * hardsigmoid(x))


def logsigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)), finite where the sigmoid underflows to 0.

    >>> logsigmoid([-1000.0]).data.tolist()
    [-1000.0]
    """
    return -softplus(neg(x), threshold=math.inf)


def mish(x: Any) -> Tensor:
    """x * tanh(softplus(x)) (Misra 2019).

    >>> mish([0.0]).data.tolist()
    [0.0]
    """
    return mul(x, tanh(softplus(x)))


def prelu(x: Any, weight: Any) -> Tensor:
    """x if x > 0, else weight * x, which is the slope at 0; one weight, or one for each channel (axis 1).

    Args:
        x: (N, C, ...) for a weight a channel; any shape for one weight.
        weight: (1,) or (C,).

    Raises:
        ValueError: if there are other than 1 or C weights.

    >>> prelu([[-1.0, 2.0]], [0.5, 0.1]).data.tolist()
    [[-0.5, 2.0]]
    """
    x, weight = as_floats(x, "prelu"), as_floats(weight, "prelu")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.size not in (1, channels):
        raise ValueError(f"prelu: expects 1 weight, or one for each of the {channels} channels of {x.shape}, "
                         f"got shape {weight.shape}")
    slope = _reshape(weight, shape=(weight.size, *(1,) * max(x.ndim - 2, 0)))
    return where(x > 0, x, slope * where(x > 0, 0.0, x))


# ----- softmax: shifted by the largest value of each row, so that nothing overflows. A logit of -inf has
# probability 0 and a finite gradient; a row of only -inf, or with +inf, gives nan, without a warning -----


@primitive
def _softmax(x, *, axis):
    with np.errstate(invalid="ignore", over="ignore"):
        y = shifted(x, axis)
        np.exp(y, out=y)
        y /= total(y, (axis,), keepdims=True)
    return y


@primitive
def softmax_vjp(g, ans, *, axis):
    """ans * (g - sum(g * ans)): the derivative of softmax, in one pass.

    >>> softmax_vjp([1.0, 0.0], [0.5, 0.5], axis=0).data.tolist()
    [0.25, -0.25]
    """
    out = g * ans
    out -= ans * total(out, (axis,), keepdims=True)
    return out


_softmax.defvjp(lambda g, ans, x, *, axis: softmax_vjp(g, ans, axis=axis))
_softmax.defjvp(*_softmax.vjps)  # symmetric: diag(s) - s sᵀ
_softmax.defsaved("ans")
_softmax.defexport(lambda to, x, *, axis: to("Softmax", x, axis=axis))
softmax_vjp.defvjp(
    lambda h, out, g, ans, *, axis: softmax_vjp(h, ans, axis=axis),
    lambda h, out, g, ans, *, axis: (h * (g - sum(g * ans, axis, keepdims=True))
                                     - sum(h * ans, axis, keepdims=True) * g))
softmax_vjp.defjvp("same")


@primitive
def _log_softmax(x, *, axis):
    return run("log_softmax", x, axis)


@primitive
def log_softmax_vjp(g, ans, *, axis):
    """g - exp(ans) * sum(g): the derivative of log_softmax, in one pass.

    >>> log_softmax_vjp([1.0, 0.0], np.log([0.5, 0.5]), axis=0).data.tolist()
    [0.5, -0.5]
    """
    return run("log_softmax_vjp", g, ans, axis)


_log_softmax.defvjp(lambda g, ans, x, *, axis: log_softmax_vjp(g, ans, axis=axis))
_log_softmax.defjvp(lambda t, ans, x, *, axis: t - sum(t * exp(ans), axis, keepdims=True))
_log_softmax.defsaved("ans")
_log_softmax.defexport(lambda to, x, *, axis: to("LogSoftmax", x, axis=axis))
log_softmax_vjp.defnotes("after a cross entropy (softmax - target) / N")
log_softmax_vjp.defvjp(
    lambda h, out, g, ans, *, axis: h - sum(h * exp(ans), axis, keepdims=True),
    lambda h, out, g, ans, *, axis: -(h * exp(ans)) * sum(g, axis, keepdims=True))
log_softmax_vjp.defjvp("same", lambda t, out, g, ans, *, axis: -(t * exp(ans)) * sum(g, axis, keepdims=True))


def _along(op: Primitive, x: Any, axis: Axis) -> Tensor:
    x = as_floats(x, op.name)
    if not isinstance(axis, tuple | list):
        axis = axis_of(axis, x.ndim, op.name)
        return op(x, axis=axis) if x.ndim else _reshape(op(_reshape(x, shape=(1,)), axis=0), shape=())
    axes = axes_of(axis, x.ndim, op.name)  # in a row, as the last axis, and back
    rest = tuple([a for a in range(x.ndim) if a not in axes])
    moved = _transpose(x, axes=(*rest, *axes))
    sizes = *moved.shape[:len(rest)], math.prod(moved.shape[len(rest):])
    y = op(_reshape(moved, shape=sizes), axis=len(rest))
    back = sorted(range(x.ndim), key=(*rest, *axes).__getitem__)
    return _transpose(_reshape(y, shape=moved.shape), axes=tuple(back))


def softmax(x: Any, axis: Axis = -1, *, dim: Axis = None) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis, or over several.

    Args:
        x: floating point.
        axis: the axis, or a tuple of axes; `dim` is PyTorch's name for it.

    Raises:
        TypeError, IndexError: if x is not floating point, or the axis is out of range.

    Example:
        >>> softmax([[1000.0, 0.0], [0.0, 1000.0]]).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _along(_softmax, x, axis if dim is None else dim)


def log_softmax(x: Any, axis: Axis = -1, *, dim: Axis = None) -> Tensor:
    """x - log(sum(exp(x))) along an axis: log(softmax(x)), but finite where softmax underflows to 0.

    Args:
        x: floating point.
        axis: the axis, or a tuple of axes; `dim` is PyTorch's name for it.

    Raises:
        TypeError, IndexError: if x is not floating point, or the axis is out of range.

    Example:
        >>> log_softmax([[1000.0, 0.0]]).data.tolist()
        [[0.0, -1000.0]]
    """
    return _along(_log_softmax, x, axis if dim is None else dim)
