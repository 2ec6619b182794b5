"""Rows of the elementwise primitives; references are NumPy's, SciPy's or plain formulas."""
from __future__ import annotations

import math

import numpy as np
from scipy import special

from tinygrad_conv.ops import activation, elementwise

from .row import Row

SHAPES = [(), (3,), (2, 3), (2, 3, 4, 5)]
PAIRS = [((2, 3), (2, 3)), ((2, 3, 4, 2), (3, 1, 2)), ((4, 1), (3,)), ((), (2, 3)), ((3,), ())]


def normal(rng, shape, away=()):
    """Numbers in about [-3, 3], none closer than 0.05 to a kink."""
    x = np.asarray(rng.standard_normal(shape) * 1.5)
    for kink in away:
        x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
    return x


def positive(rng, shape):
    return np.asarray(rng.uniform(0.3, 3.0, shape))


def unary(make=normal, params=({},), **kwargs):
    """Samples of every shape; each of the parameters in turn."""
    def samples(rng):
        return [((make(rng, shape, **kwargs),), p) for shape in SHAPES for p in params]
    return samples


def binary(first=normal, second=normal):
    def samples(rng):
        return [((first(rng, a), second(rng, b)), {}) for a, b in PAIRS]
    return samples


def apart(rng):
    """Pairs at least 0.1 apart: even and odd tenths."""
    return [((np.asarray(0.2 * rng.integers(-9, 9, a)),
              np.asarray(0.2 * rng.integers(-9, 9, b) + 0.1)), {}) for a, b in PAIRS]


def compared(rng):
    """Whole numbers, so that all three outcomes happen."""
    return [((np.asarray(rng.integers(-1, 2, a).astype(np.float64)),
              np.asarray(rng.integers(-1, 2, b).astype(np.float64))), {}) for a, b in PAIRS]


def truth(count):
    def samples(rng):
        return [(tuple(rng.integers(0, 2, s).astype(bool) for s in pair[:count]), {})
                for pair in PAIRS[:3]]
    return samples


def special_values(rng):
    x = normal(rng, (3, 4))
    x[0, :3] = np.nan, np.inf, -np.inf
    return [((x,), {})]


def chosen(rng):
    return [((rng.integers(0, 2, c).astype(bool), normal(rng, a), normal(rng, b)), {})
            for c, (a, b) in zip([(2, 3), (4, 2), (4, 3), (1,), (3,)], PAIRS)]


def casts(rng):
    return [((normal(rng, s),), {"dtype": np.dtype(np.float64)}) for s in SHAPES]


def powers(rng):
    """Any exponent of positive numbers, whole exponents (constant) of any."""
    cases = [((positive(rng, a), normal(rng, b, (0.0,))), {}) for a, b in PAIRS]
    for p in (-2.0, -1.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0):
        cases.append(((positive(rng, (2, 3)), np.array(p)), {}))
    return cases


def divisions(rng):
    x, y = normal(rng, (3, 4)), positive(rng, (3, 4)) * np.where(rng.random((3, 4)) < 0.5, -1, 1)
    return [((x, y), {}), ((normal(rng, (2, 3)), positive(rng, (3,))), {})]


def quotients(rng):
    """Pairs whose quotient is at least 0.1 from a whole number."""
    cases = []
    for a, b in PAIRS:
        y = positive(rng, b) * np.where(rng.random(b) < 0.5, -1, 1)
        whole, part = rng.integers(-3, 3, a), rng.uniform(0.1, 0.9, a)
        shape = np.broadcast_shapes(a, b)
        cases.append((((whole + part) * np.broadcast_to(y, shape), np.broadcast_to(y, shape).copy()), {}))
    return cases


def within(low, high):
    return lambda rng, shape: np.asarray(rng.uniform(low, high, shape))


def masked(rng):
    return [((normal(rng, s), normal(rng, s, (0.0,))), {}) for s in SHAPES]


def sloped(rng):
    return [(args, {"negative_slope": slope}) for (args, _), slope in zip(masked(rng), (0.01, 0.0, 1.5, -0.5, 0.3))]


def bounded(rng):
    return [((normal(rng, s), normal(rng, s, (-1.0, 0.5))), {"min_val": -1.0, "max_val": 0.5}) for s in SHAPES]


def relu6_or_so(x, *, min_val, max_val):
    return np.minimum(np.maximum(x, min_val), max_val)


def gelu(x, *, approximate):
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * special.ndtr(x)


def softplus(x, *, beta, threshold):
    return np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta)


def elu(x, *, alpha):
    return np.where(x > 0, x, alpha * (np.exp(x) - 1))


def clip(x, *, min, max):
    low, high = (-np.inf if min is None else min), (np.inf if max is None else max)
    return np.where(x < low, low, np.where(x > high, high, x))


ROWS = [
    # ---- comparisons, steps
    Row(elementwise.equal, compared, lambda x, y: x == y, order=0),
    Row(elementwise.not_equal, compared, lambda x, y: x != y, order=0),
    Row(elementwise.less, compared, lambda x, y: x < y, order=0),
    Row(elementwise.less_equal, compared, lambda x, y: x <= y, order=0),
    Row(elementwise.greater, compared, lambda x, y: x > y, order=0),
    Row(elementwise.greater_equal, compared, lambda x, y: x >= y, order=0),
    Row(elementwise.logical_not, truth(1), lambda x: ~x, order=0),
    Row(elementwise.logical_and, truth(2), lambda x, y: x & y, order=0),
    Row(elementwise.logical_or, truth(2), lambda x, y: x | y, order=0),
    Row(elementwise.isnan, special_values, lambda x: ~((x > 0) | (x <= 0)), order=0),
    Row(elementwise.isfinite, special_values, lambda x: np.abs(x) < np.inf, order=0),
    Row(elementwise.where, chosen, lambda c, x, y: np.where(c, x, y), linear=(1, 2)),
    Row(elementwise.sign, unary(away=(0.0,)), lambda x: (x > 0) * 1.0 - (x < 0)),
    Row(elementwise.floor, unary(away=range(-6, 7)), lambda x: x // 1),
    Row(elementwise.ceil, unary(away=range(-6, 7)), lambda x: -(-x // 1)),
    Row(elementwise.trunc, unary(away=range(-6, 7)), lambda x: np.sign(x) * (np.abs(x) // 1)),
    Row(elementwise._round, unary(away=np.arange(-6, 7) + 0.5, params=({"decimals": 0}, {"decimals": -1})),
        lambda x, *, decimals: np.floor(x * 10.0**decimals + 0.5) / 10.0**decimals),
    Row(elementwise.floor_divide, quotients, lambda x, y: np.floor(x / y)),
    Row(elementwise.remainder, quotients, lambda x, y: x - y * np.floor(x / y)),
    # ---- arithmetic
    Row(elementwise.identity, unary(), lambda x: x, linear=(0,)),
    Row(elementwise._astype, casts, lambda x, *, dtype: x.astype(dtype), linear=(0,)),
    Row(elementwise.add, binary(), lambda x, y: x + y, linear=(0, 1)),
    Row(elementwise.sub, binary(), lambda x, y: x - y, linear=(0, 1)),
    Row(elementwise.mul, binary(), lambda x, y: x * y, linear=(0, 1)),
    Row(elementwise.div, binary(second=positive), lambda x, y: x / y, linear=(0,)),
    Row(elementwise.div_no_nan, divisions, lambda x, y: x / y, linear=(0,)),
    Row(elementwise.neg, unary(), lambda x: -x, linear=(0,)),
    Row(elementwise.abs, unary(away=(0.0,)), lambda x: np.sqrt(x * x)),
    Row(elementwise.maximum, apart, lambda x, y: np.where(x > y, x, y)),
    Row(elementwise.minimum, apart, lambda x, y: np.where(x < y, x, y)),
    Row(elementwise._clip, unary(away=(-1.0, 0.5), params=(
        {"min": -1.0, "max": 0.5}, {"min": None, "max": 0.5}, {"min": -1.0, "max": None})), clip),
    # ---- functions
    Row(elementwise.pow, powers, lambda x, y: np.exp(y * np.log(x))),
    Row(elementwise.sqrt, unary(positive), lambda x: x**0.5),
    Row(elementwise.sqrt_vjp, divisions, lambda g, ans: 0.5 * g / ans, linear=(0,)),
    Row(elementwise.exp, unary(), lambda x: special.exp2(x / math.log(2))),
    Row(elementwise.expm1, unary(), lambda x: np.exp(x) - 1, rtol=1e-9),
    Row(elementwise.log, unary(positive), lambda x: np.log2(x) * math.log(2)),
    Row(elementwise.log1p, unary(positive), lambda x: np.log(1 + x)),
    Row(elementwise.sin, unary(), lambda x: np.imag(np.exp(1j * x))),
    Row(elementwise.cos, unary(), lambda x: np.real(np.exp(1j * x))),
    Row(elementwise.tan, unary(within(-1.3, 1.3)), lambda x: np.sin(x) / np.cos(x)),
    Row(elementwise.asin, unary(within(-0.9, 0.9)), lambda x: 2 * np.arctan(x / (1 + np.sqrt(1 - x * x)))),
    Row(elementwise.acos, unary(within(-0.9, 0.9)), lambda x: math.pi / 2 - 2 * np.arctan(x / (1 + np.sqrt(1 - x * x)))),
    Row(elementwise.atan, unary(), lambda x: np.angle(1 + 1j * x)),
    Row(elementwise.sinh, unary(), lambda x: (np.exp(x) - np.exp(-x)) / 2),
    Row(elementwise.cosh, unary(), lambda x: (np.exp(x) + np.exp(-x)) / 2),
    Row(elementwise.asinh, unary(), lambda x: np.sign(x) * np.log(np.abs(x) + np.sqrt(x * x + 1)), atol=1e-11),
    Row(elementwise.acosh, unary(within(1.2, 4.0)), lambda x: np.log(x + np.sqrt(x * x - 1))),
    Row(elementwise.atanh, unary(within(-0.9, 0.9)), lambda x: np.log((1 + x) / (1 - x)) / 2, atol=1e-11),
    Row(elementwise.log2, unary(positive), lambda x: np.log(x) / math.log(2)),
    Row(elementwise.log10, unary(positive), lambda x: np.log(x) / math.log(10)),
    Row(elementwise.exp2, unary(), lambda x: np.exp(x * math.log(2))),
    Row(elementwise.atan2, binary(), lambda x, y: np.angle(y + 1j * x)),
    Row(elementwise.hypot, binary(), lambda x, y: np.sqrt(x * x + y * y)),
    Row(elementwise.logaddexp, binary(), lambda x, y: np.log(np.exp(x) + np.exp(y)), rtol=1e-9),
    Row(elementwise.sigmoid, unary(), special.expit),
    Row(elementwise.tanh, unary(), lambda x: np.sinh(x) / np.cosh(x)),
    Row(elementwise.erf, unary(), special.erf, rtol=1e-15, atol=0.0),
    # ---- activation
    Row(activation.relu, unary(away=(0.0,)), lambda x: np.where(x > 0, x, 0)),
    Row(activation.relu_vjp, masked, lambda g, a: np.where(a > 0, g, 0), linear=(0,)),
    Row(activation._leaky_relu, unary(away=(0.0,), params=[
        {"negative_slope": s} for s in (0.01, 0.0, 1.5, -0.5)]),
        lambda x, *, negative_slope: np.where(x > 0, x, x * negative_slope)),
    Row(activation.leaky_relu_vjp, sloped, lambda g, x, *, negative_slope: g * np.where(x > 0, 1, negative_slope),
        linear=(0,)),
    Row(activation._elu, unary(away=(0.0,), params=({"alpha": 1.0}, {"alpha": 0.3})), elu),
    Row(activation.silu, unary(), lambda x: x * special.expit(x)),
    Row(activation._softplus, unary(away=(0.8,), params=(
        {"beta": 1.0, "threshold": 20.0}, {"beta": -0.7, "threshold": 20.0})), softplus),
    Row(activation._gelu, unary(params=({"approximate": "none"}, {"approximate": "tanh"})), gelu),
    Row(activation._hardtanh, unary(away=(-1.0, 0.5), params=(
        {"min_val": -1.0, "max_val": 0.5},)), relu6_or_so),
    Row(activation.hardtanh_vjp, bounded, lambda g, x, *, min_val, max_val: g * ((min_val < x) & (x < max_val)),
        linear=(0,)),
]
