"""Elementwise maths: a value and its derivative, side by side.

Each op is a primitive on arrays; the row below it gives one VJP an argument, in tensor ops, so
every order of derivative follows. Broadcasting and dtypes are undone in autodiff. Where a
function has a kink the sub-gradient is PyTorch's. Values follow IEEE arithmetic, NumPy's warnings
included: log(0) is -inf. Imports core, primitive and kernels only.
"""
from __future__ import annotations

import math

import numpy as np

from ..primitive import primitive

# ---- copies and types ----------------------------------------------------------------------


@primitive
def identity(x):
    return x


identity.defvjp(lambda g, ans, x: g)


@primitive
def astype(x, *, dtype):
    return x.astype(dtype, copy=False)


astype.defvjp(lambda g, ans, x, *, dtype: astype(g, dtype=x.dtype))


# ---- arithmetic ----------------------------------------------------------------------------


@primitive
def add(x, y):
    return np.add(x, y)


add.defvjp(lambda g, ans, x, y: g,
           lambda g, ans, x, y: g)


@primitive
def sub(x, y):
    return np.subtract(x, y)


sub.defvjp(lambda g, ans, x, y: g,
           lambda g, ans, x, y: neg(g))


@primitive
def mul(x, y):
    return np.multiply(x, y)


mul.defvjp(lambda g, ans, x, y: mul(g, y),
           lambda g, ans, x, y: mul(g, x))


@primitive
def div(x, y):
    return np.true_divide(x, y)


div.defvjp(lambda g, ans, x, y: div(g, y),
           lambda g, ans, x, y: neg(div(mul(g, ans), y)))


@primitive
def div_no_nan(x, y):
    return np.divide(x, np.where((x == 0) & (y == 0), 1, y))


div_no_nan.defvjp(lambda g, ans, x, y: div_no_nan(g, y),
                  lambda g, ans, x, y: neg(div_no_nan(mul(g, ans), y)))


@primitive
def neg(x):
    return np.negative(x)


neg.defvjp(lambda g, ans, x: neg(g))


@primitive
def pow(x, y):
    if y.ndim == 0 and y in (1, 2, 3):
        return [x, x * x, x * x * x][int(y) - 1]
    return np.power(x, y)


def _pow_x(g, ans, x, y):
    """y x**(y-1), and 0 where x and y are 0."""
    free = mul(equal(y, 0), equal(x, 0))
    return mul(g, mul(y, pow(x, sub(where(free, 1.0, y), 1.0))))


def _pow_y(g, ans, x, y):
    """x**y log x, and 0 where x is 0 (unless y < 0: -inf)."""
    free = mul(equal(x, 0), greater_equal(y, 0))
    return mul(g, mul(ans, log(where(free, 1.0, x))))


pow.defvjp(_pow_x, _pow_y)


@primitive
def exp(x):
    return np.exp(x)


exp.defvjp(lambda g, ans, x: mul(g, ans))


@primitive
def log(x):
    return np.log(x)


log.defvjp(lambda g, ans, x: div(g, x))


@primitive
def log1p(x):
    return np.log1p(x)


log1p.defvjp(lambda g, ans, x: div(g, add(x, 1.0)))


@primitive
def expm1(x):
    return np.expm1(x)


expm1.defvjp(lambda g, ans, x: mul(g, add(ans, 1.0)))


@primitive
def sqrt(x):
    return np.sqrt(x)


sqrt.defvjp(lambda g, ans, x: div_no_nan(mul(g, 0.5), ans))


@primitive
def abs(x):
    return np.abs(x)


abs.defvjp(lambda g, ans, x: mul(g, sign(x)))


@primitive
def sign(x):
    return np.sign(x)


sign.defvjp(lambda g, ans, x: where(False, g, 0.0))


@primitive
def floor(x):
    return np.floor(x)


floor.defvjp(lambda g, ans, x: where(False, g, 0.0))


@primitive
def sin(x):
    return np.sin(x)


sin.defvjp(lambda g, ans, x: mul(g, cos(x)))


@primitive
def cos(x):
    return np.cos(x)


cos.defvjp(lambda g, ans, x: neg(mul(g, sin(x))))


@primitive
def tanh(x):
    return np.tanh(x)


tanh.defvjp(lambda g, ans, x: mul(g, sub(1.0, mul(ans, ans))))


@primitive
def erf(x):
    return np.vectorize(math.erf, otypes=[x.dtype])(x)


erf.defvjp(lambda g, ans, x: mul(mul(g, 2.0 / math.sqrt(math.pi)), exp(neg(mul(x, x)))))

# ---- choices -------------------------------------------------------------------------------


@primitive
def where(condition, x, y):
    return np.where(condition, x, y)


where.defvjp(None,
             lambda g, ans, condition, x, y: where(condition, g, 0.0),
             lambda g, ans, condition, x, y: where(condition, 0.0, g))


@primitive
def maximum(x, y):
    return np.maximum(x, y)


maximum.defvjp(lambda g, ans, x, y: _winner(g, less(x, y), equal(x, y)),
               lambda g, ans, x, y: _winner(g, less(y, x), equal(x, y)))


@primitive
def minimum(x, y):
    return np.minimum(x, y)


minimum.defvjp(lambda g, ans, x, y: _winner(g, less(y, x), equal(x, y)),
               lambda g, ans, x, y: _winner(g, less(x, y), equal(x, y)))


def _winner(g, loses, tie):
    return where(loses, 0.0, where(tie, mul(g, 0.5), g))


@primitive
def clip(x, *, min=None, max=None):
    return np.clip(x, min, max)


def _clip_x(g, ans, x, *, min=None, max=None):
    inside = equal(x, ans)
    return where(inside, g, 0.0)


clip.defvjp(_clip_x)

# ---- activations ---------------------------------------------------------------------------


@primitive
def relu(x):
    return np.maximum(x, 0)


@primitive
def relu_vjp(g, ans):
    return np.where(ans <= 0, 0, g)


relu.defvjp(lambda g, ans, x: relu_vjp(g, ans))
relu_vjp.defvjp(lambda h, ans, g, y: relu_vjp(h, y), None)


@primitive
def leaky_relu(x, *, negative_slope=0.01):
    return np.where(x > 0, x, x * negative_slope)


leaky_relu.defvjp(lambda g, ans, x, *, negative_slope=0.01:
                  where(greater(x, 0), g, mul(g, negative_slope)))


@primitive
def elu(x, *, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


elu.defvjp(lambda g, ans, x, *, alpha=1.0:
           where(greater(x, 0), g, mul(g, add(ans, alpha))))


def selu(x):
    return mul(elu(x, alpha=1.6732632423543772), 1.0507009873554805)


@primitive
def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


sigmoid.defvjp(lambda g, ans, x: mul(g, mul(ans, sub(1.0, ans))))


@primitive
def silu(x):
    return x * sigmoid.fn(x)


def _silu_x(g, ans, x):
    s = sigmoid(x)
    return mul(g, add(s, mul(ans, sub(1.0, s))))


silu.defvjp(_silu_x)


@primitive
def softplus(x, *, beta=1.0, threshold=20.0):
    z = x * beta
    return np.where(z > threshold, x, (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta)


def _softplus_x(g, ans, x, *, beta=1.0, threshold=20.0):
    z = mul(x, beta)
    return where(greater(z, threshold), g, mul(g, sigmoid(z)))


softplus.defvjp(_softplus_x)


@primitive
def hardtanh(x, *, min_val=-1.0, max_val=1.0):
    return np.clip(x, min_val, max_val)


hardtanh.defvjp(lambda g, ans, x, *, min_val=-1.0, max_val=1.0: where(
    greater(x, min_val), where(less(x, max_val), g, 0.0), 0.0))


def relu6(x):
    return hardtanh(x, min_val=0.0, max_val=6.0)


@primitive
def gelu(x, *, approximate="none"):
    if approximate == "none":
        return x * (0.5 * (1 + erf.fn(x * math.sqrt(0.5))))
    return x * (0.5 * (1 + np.tanh(_K * (x + 0.044715 * x * x * x))))


_K = math.sqrt(2 / math.pi)


def _gelu_x(g, ans, x, *, approximate="none"):
    xx = mul(x, x)
    if approximate == "none":
        cdf = mul(add(erf(mul(x, math.sqrt(0.5))), 1.0), 0.5)
        pdf = mul(exp(mul(xx, -0.5)), 1 / math.sqrt(2 * math.pi))
        return mul(g, add(cdf, mul(x, pdf)))
    t = tanh(mul(x, add(mul(xx, 0.044715 * _K), _K)))
    slope = mul(x, add(mul(xx, 3 * 0.044715 * _K), _K))  # x du/dx
    return mul(mul(g, 0.5), add(add(t, 1.0), mul(sub(1.0, mul(t, t)), slope)))


gelu.defvjp(_gelu_x)

# ---- comparisons: boolean, not differentiable -------------------------------------------------


@primitive
def equal(x, y):
    return np.equal(x, y)


@primitive
def not_equal(x, y):
    return np.not_equal(x, y)


@primitive
def less(x, y):
    return np.less(x, y)


@primitive
def less_equal(x, y):
    return np.less_equal(x, y)


@primitive
def greater(x, y):
    return np.greater(x, y)


@primitive
def greater_equal(x, y):
    return np.greater_equal(x, y)


@primitive
def logical_not(x):
    return np.logical_not(x)


@primitive
def isnan(x):
    return np.isnan(x)


@primitive
def isfinite(x):
    return np.isfinite(x)
