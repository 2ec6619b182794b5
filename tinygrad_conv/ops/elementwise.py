"""Ops that work entry by entry: a value and its derivative, side by side.

A row of the table gives an op its name, its function on arrays, a line of documentation, and one VJP
per argument, in tensors, so that every order of derivative follows; many are written in terms of the
result `ans`. Broadcasting and dtypes are undone in pullback.py. Derivatives at kinks: the table in
__init__.py of this folder. Values are IEEE's, with NumPy's warnings: log(0) is -inf and NumPy says so.
"""
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arguments import checked_dtype, whole
from ..kernels import pointwise
from ..kernels.table import run
from ..operands import as_tensor
from ..primitive import Primitive, primitive
from ..tensor import Tensor


def named(function: Any, name: str, doc: str) -> Any:
    """The function, called `name` and documented."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def row(template: Callable[..., Any], name: str, fn: Callable[..., Any], doc: str,
        vjps: Sequence[Callable[..., Any]]) -> Primitive[...]:
    """The op `name`: `fn`, whose arguments are called as the template's."""
    op = primitive(named(template, name, doc))
    op.fn = fn  # called without the template in between
    op.__module__ = next((vjp.__module__ for vjp in vjps), op.__module__)  # where the row is
    op.defvjp(*vjps)
    return op


def unary(name: str, fn: Callable[..., Any], doc: str, *vjps: Callable[..., Any]) -> Primitive[[Any]]:
    """A row of the table: an op of one array."""
    def op(x: Any) -> Any:
        return fn(x)
    op = row(op, name, fn, doc, vjps)
    op.defjvp(*vjps)  # entry by entry: the Jacobian is diagonal, J t is Jᵀ t
    op.defapart()
    return op


def real(name: str, fn: Callable[..., Any], doc: str, *vjps: Callable[..., Any]) -> Primitive[[Any]]:
    """A row for a function of real numbers: integers are taken as floats."""
    return unary(name, lambda x: fn(pointwise.floating(x)), doc, *vjps)


def binary(name: str, fn: Callable[..., Any], doc: str, *vjps: Callable[..., Any]) -> Primitive[[Any, Any]]:
    """A row for an op of two arrays, which broadcast."""
    def op(x: Any, y: Any) -> Any:
        return fn(x, y)
    op = row(op, name, fn, doc, vjps)
    op.defjvp(*vjps)
    op.defbroadcast()
    return op


# ----- comparisons and logic: the result is boolean, and the graph ends there -----

equal = binary("equal", np.equal, "x == y.")
not_equal = binary("not_equal", np.not_equal, "x != y; nan differs from everything.")
less = binary("less", np.less, "x < y.")
less_equal = binary("less_equal", np.less_equal, "x <= y.")
greater = binary("greater", np.greater, "x > y.")
greater_equal = binary("greater_equal", np.greater_equal, "x >= y.")
logical_and = binary("logical_and", np.logical_and, "True where both are true.")
logical_or = binary("logical_or", np.logical_or, "True where one or both are true.")
logical_not = unary("logical_not", np.logical_not, "True where x is false or 0.")
isnan = unary("isnan", np.isnan, "True where x is not a number.")
isfinite = unary("isfinite", np.isfinite, "True where x is neither infinite nor nan.")

# ----- arithmetic -----

identity = unary("identity", lambda x: x, "x itself, as a new tensor on the same memory.",
                 lambda g, ans, x: g)
neg = unary("neg", operator.neg, "-x.", lambda g, ans, x: -g)
add = binary("add", operator.add, "x + y.",
             lambda g, ans, x, y: g,
             lambda g, ans, x, y: g)
sub = binary("sub", operator.sub, "x - y.",
             lambda g, ans, x, y: g,
             lambda g, ans, x, y: -g)
mul = binary("mul", operator.mul, "x * y.",
             lambda g, ans, x, y: g * y,
             lambda g, ans, x, y: g * x)
div = binary("div", operator.truediv, "x / y, also of integers.",
             lambda g, ans, x, y: g / y,
             lambda g, ans, x, y: -(g * ans) / y)

for _op in (identity, neg, add, sub):
    _op.defsaved()
mul.defsaved("x", "y")
div.defsaved("y", "ans")
for _op, _name in ((identity, "Identity"), (neg, "Neg"), (add, "Add"), (sub, "Sub"), (mul, "Mul"),
                   (div, "Div")):
    _op.defexport(_name)

# ----- choosing; kinks and steps -----


@primitive
def where(condition: Any, x: Any, y: Any) -> Any:
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
where.defjvp(*where.vjps)
where.defsaved("condition")
where.defbroadcast()
where.defexport(lambda to, condition, x, y: to(
    "Where", condition if condition.dtype == bool else to("Cast", condition, to=np.dtype(bool)), x, y))


def masked_fill(x: Any, mask: Any, value: Any) -> Tensor:
    """`value` where the mask is true, else x: `where(mask, value, x)`, as PyTorch says it.

    >>> masked_fill([1.0, 2.0], [True, False], 0.0).data.tolist()
    [0.0, 2.0]
    """
    return where(mask, value, x)


def _triangle(op: str, choose: Callable[..., np.ndarray], x: Any, k: int) -> Tensor:
    x = as_tensor(x, op)
    if x.ndim < 2:
        raise ValueError(f"{op}: expects at least two axes, got shape {x.shape}")
    return where(choose(np.ones(x.shape[-2:], bool), whole(k, op, "k")), x, x.dtype.type(0))


def tril(x: Any, k: int = 0) -> Tensor:
    """The entries on and below the k-th diagonal of the last two axes, 0 above.

    >>> tril([[1.0, 2.0], [3.0, 4.0]]).data.tolist()
    [[1.0, 0.0], [3.0, 4.0]]
    """
    return _triangle("tril", np.tril, x, k)


def triu(x: Any, k: int = 0) -> Tensor:
    """The entries on and above the k-th diagonal of the last two axes, 0 below.

    >>> triu([[1.0, 2.0], [3.0, 4.0]], 1).data.tolist()
    [[0.0, 2.0], [0.0, 0.0]]
    """
    return _triangle("triu", np.triu, x, k)


_zero = lambda g, ans, x: where(False, g, 0.0)  # of a step function, where it has a derivative
_to_the_larger = lambda g, ans, x, y: where(x < y, 0.0, where(x == y, g * 0.5, g))
_to_the_smaller = lambda g, ans, x, y: where(x > y, 0.0, where(x == y, g * 0.5, g))
sign = unary("sign", np.sign, "-1, 0 or 1 by the sign of x; nan stays nan. Zero gradient.", _zero)
floor = unary("floor", np.floor, "The largest whole number not above x. Zero gradient.", _zero)
ceil = unary("ceil", np.ceil, "The smallest whole number not below x. Zero gradient.", _zero)
trunc = unary("trunc", np.trunc, "The whole number next to x, towards 0. Zero gradient.", _zero)
abs = unary("abs", np.abs, "The absolute value; derivative 0 at 0.", lambda g, ans, x: g * sign(x))
maximum = binary("maximum", np.maximum, "The larger one, nan if either is; a tie halves the gradient.",
                 _to_the_larger, _to_the_smaller)
minimum = binary("minimum", np.minimum, "The smaller one, nan if either is; a tie halves the gradient.",
                 _to_the_smaller, _to_the_larger)
for _op, _name in ((sign, "Sign"), (floor, "Floor"), (ceil, "Ceil"), (abs, "Abs"), (maximum, "Max"),
                   (minimum, "Min")):
    _op.defexport(_name)
for _op in (floor, ceil, trunc):
    _op.defsaved()
trunc.defexport(lambda to, x: to("Mul", to("Sign", x), to("Floor", to("Abs", x))))


@primitive
def _round(x, *, decimals=0):
    return np.round(x, decimals)


_round.defapart()
_round.defvjp(lambda g, ans, x, *, decimals: _zero(g, ans, x))
_round.defjvp(*_round.vjps)
_round.defsaved()
_round.defexport(lambda to, x, *, decimals: to("Round", x) if decimals == 0 else to(
    "Div", to("Round", to("Mul", x, x.dtype.type(10.0**decimals))), x.dtype.type(10.0**decimals)))


def round(x: Any, decimals: int = 0) -> Tensor:
    """The nearest whole number, of two the even one; or the nearest multiple of 10**-decimals. Zero gradient.

    >>> round([0.5, 1.5, 2.6]).data.tolist(), round([126.0], -1).data.tolist()
    ([0.0, 2.0, 3.0], [130.0])
    """
    return _round(x, decimals=whole(decimals, "round", "decimals"))


floor_divide = binary("floor_divide", np.floor_divide, "floor(x / y), x // y. Zero gradient.",
                      lambda g, ans, x, y: where(False, g, 0.0), lambda g, ans, x, y: where(False, g, 0.0))
remainder = binary("remainder", np.remainder, "x - y floor(x / y), x % y, with the sign of y.",
                   lambda g, ans, x, y: g,
                   lambda g, ans, x, y: -g * floor_divide(x, y))
floor_divide.defsaved()
remainder.defsaved("x", "y")
floor_divide.defexport(lambda to, x, y: to("Floor", to("Div", x, y)))
remainder.defexport(lambda to, x, y: to("Sub", x, to("Mul", y, to("Floor", to("Div", x, y)))))


@primitive
def _clip(x, *, min, max):
    return np.clip(x, min, max)


_clip.defapart()
_clip.defvjp(lambda g, ans, x, *, min, max: where(x == ans, g, 0.0))
_clip.defjvp(*_clip.vjps)
_clip.defexport(lambda to, x, *, min, max: to(
    "Clip", x, *[None if bound is None else x.dtype.type(bound) for bound in (min, max)]))


def clip(x: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], numbers or tensors; the gradient passes where x is inside, bounds included.

    Elsewhere it goes to the bound, if that is a tensor. Where min is above max, the result is max.

    Raises:
        TypeError: if a bound is neither a number nor a tensor, or neither is given.

    >>> clip([-1.0, 0.5, 9.0], 0, 1).data.tolist(), clip([1.0, 5.0], max=np.float32([2.0, 3.0])).data.tolist()
    ([0.0, 0.5, 1.0], [1.0, 3.0])
    """
    if min is None and max is None:
        raise TypeError("clip: needs min, max or both")
    bounds = [b.item() if isinstance(b, np.generic) else b for b in (min, max)]
    if all(isinstance(b, int | float | None) for b in bounds):
        return _clip(x, min=bounds[0], max=bounds[1])
    low, high = [None if b is None else as_tensor(b, f"clip, {name}")
                 for b, name in zip(bounds, ("min", "max"))]
    y = x if low is None else where(less(x, low), low, x)
    return y if high is None else where(greater(y, high), high, y)


@primitive
def _astype(x, *, dtype):
    return x.astype(dtype, copy=False)


_astype.defapart()
_astype.defvjp(lambda g, ans, x, *, dtype: _astype(g, dtype=x.dtype))
_astype.defjvp("same")


def astype(x: Any, dtype: Any) -> Tensor:
    """x in another dtype; the gradient comes back in the dtype of x.

    Raises:
        TypeError: if `dtype` is not a float, integer or boolean type.

    >>> astype([1.0, 2.0], np.float64).dtype
    dtype('float64')
    """
    return _astype(x, dtype=checked_dtype("astype", dtype))


_astype.defsaved()
_astype.defexport(lambda to, x, *, dtype: to("Cast", x, to=dtype))

# ----- functions -----

exp = real("exp", np.exp, "e**x.", lambda g, ans, x: g * ans)
expm1 = real("expm1", np.expm1, "e**x - 1, accurate near 0.", lambda g, ans, x: g * (ans + 1.0))
log = real("log", np.log, "The natural logarithm.", lambda g, ans, x: g / x)
log1p = real("log1p", np.log1p, "log(1 + x), accurate near 0.", lambda g, ans, x: g / (x + 1.0))
sin = real("sin", np.sin, "The sine of x in radians.", lambda g, ans, x: g * cos(x))
cos = real("cos", np.cos, "The cosine of x in radians.", lambda g, ans, x: -g * sin(x))
tanh = real("tanh", np.tanh, "The hyperbolic tangent.", lambda g, ans, x: g * (1.0 - ans * ans))
sigmoid = unary("sigmoid", lambda x: run("sigmoid", x), "1 / (1 + e**-x).",
                lambda g, ans, x: g * (ans * (1.0 - ans)))
tan = real("tan", np.tan, "The tangent of x in radians.", lambda g, ans, x: g * (1.0 + ans * ans))
asin = real("asin", np.arcsin, "The angle from -pi/2 to pi/2 whose sine is x; nan outside [-1, 1].",
            lambda g, ans, x: g / sqrt((1.0 - x) * (1.0 + x)))
acos = real("acos", np.arccos, "The angle from 0 to pi whose cosine is x; nan outside [-1, 1].",
            lambda g, ans, x: -g / sqrt((1.0 - x) * (1.0 + x)))
atan = real("atan", np.arctan, "The angle from -pi/2 to pi/2 whose tangent is x.",
            lambda g, ans, x: g / (1.0 + x * x))
sinh = real("sinh", np.sinh, "The hyperbolic sine.", lambda g, ans, x: g * cosh(x))
cosh = real("cosh", np.cosh, "The hyperbolic cosine.", lambda g, ans, x: g * sinh(x))
asinh = real("asinh", np.arcsinh, "The number whose hyperbolic sine is x.",
             lambda g, ans, x: g / hypot(x, 1.0))
acosh = real("acosh", np.arccosh, "The number from 0 on whose hyperbolic cosine is x; nan below 1.",
             lambda g, ans, x: g / (sqrt(x - 1.0) * sqrt(x + 1.0)))
atanh = real("atanh", np.arctanh, "The number whose hyperbolic tangent is x; nan outside [-1, 1].",
             lambda g, ans, x: g / ((1.0 - x) * (1.0 + x)))
log2 = real("log2", np.log2, "The logarithm to base 2.", lambda g, ans, x: g / (x * math.log(2)))
log10 = real("log10", np.log10, "The logarithm to base 10.", lambda g, ans, x: g / (x * math.log(10)))
exp2 = real("exp2", np.exp2, "2**x.", lambda g, ans, x: g * (ans * math.log(2)))
erf = unary("erf", pointwise.erf,
            "The error function: 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x.",
            lambda g, ans, x: g * (2 / math.sqrt(math.pi) * exp(-x * x)))


@primitive
def sqrt_vjp(g, ans):
    """g / (2 ans), where 0 / 0 is 0: the derivative of sqrt.

    >>> sqrt_vjp([0.0, 4.0], [0.0, 2.0]).data.tolist()
    [0.0, 1.0]
    """
    lost = (ans == 0) & (g == 0)
    return np.divide(g, 2 * (np.where(lost, 1, ans) if np.any(lost) else ans))


for _op in (exp, exp2, expm1, tan, tanh, sigmoid):
    _op.defsaved("ans")
for _op in (log, log2, log10, log1p, sin, cos, asin, acos, atan, sinh, cosh, asinh, acosh, atanh, erf):
    _op.defsaved("x")
sqrt_vjp.defvjp(lambda h, out, g, ans: sqrt_vjp(h, ans),
                lambda h, out, g, ans: -2.0 * sqrt_vjp(h * out, ans))
sqrt_vjp.defjvp(*sqrt_vjp.vjps)
sqrt = real("sqrt", np.sqrt,
            "The square root. The derivative at 0 is infinite, but a zero cotangent stays 0, not nan.",
            lambda g, ans, x: sqrt_vjp(g, ans))
sqrt.defsaved("ans")
for _op, _name in ((exp, "Exp"), (log, "Log"), (sin, "Sin"), (cos, "Cos"), (tan, "Tan"), (asin, "Asin"),
                   (acos, "Acos"), (atan, "Atan"), (sinh, "Sinh"), (cosh, "Cosh"), (tanh, "Tanh"),
                   (asinh, "Asinh"), (acosh, "Acosh"), (atanh, "Atanh"), (sigmoid, "Sigmoid"), (erf, "Erf"),
                   (sqrt, "Sqrt")):
    _op.defexport(_name)
for _op, _base in ((log2, 2), (log10, 10)):
    _op.defexport(lambda to, x, _base=_base: to("Div", to("Log", x), x.dtype.type(math.log(_base))))
exp2.defexport(lambda to, x: to("Pow", x.dtype.type(2), x))
expm1.defexport(lambda to, x: to("Sub", to("Exp", x), x.dtype.type(1)))
log1p.defexport(lambda to, x: to("Log", to("Add", x, x.dtype.type(1))))


@primitive
def div_no_nan(x, y):
    """x / y, but 0 wherever y is 0: for gradients that are defined as 0 at a singular point.

    >>> div_no_nan([3.0, 1.0], [0.0, 2.0]).data.tolist()
    [0.0, 0.5]
    """
    zero = y == 0
    return np.where(zero, 0, np.divide(x, np.where(zero, 1, y)))


div_no_nan.defvjp(lambda g, ans, x, y: div_no_nan(g, y),
                  lambda g, ans, x, y: -div_no_nan(g * ans, y))
div_no_nan.defjvp(*div_no_nan.vjps)
atan2 = binary("atan2", lambda x, y: np.arctan2(pointwise.floating(x), pointwise.floating(y)),
               "The angle from -pi to pi of the point x up and y to the right. Gradient 0 at (0, 0).",
               lambda g, ans, x, y: div_no_nan(g * y, x * x + y * y),
               lambda g, ans, x, y: -div_no_nan(g * x, x * x + y * y))
hypot = binary("hypot", lambda x, y: np.hypot(pointwise.floating(x), pointwise.floating(y)),
               "sqrt(x**2 + y**2), without overflow. At (0, 0) the gradient is 0.",
               lambda g, ans, x, y: g * div_no_nan(x, ans),
               lambda g, ans, x, y: g * div_no_nan(y, ans))


def _share(x, y):
    """e**x / (e**x + e**y); of two equal infinities a half."""
    alike = logical_and(equal(x, y), logical_not(isfinite(x)))
    return sigmoid(where(alike, 0.0, x) - where(alike, 0.0, y))


logaddexp = binary("logaddexp", lambda x, y: np.logaddexp(pointwise.floating(x), pointwise.floating(y)),
                   "log(e**x + e**y), without overflow.",
                   lambda g, ans, x, y: g * _share(x, y),
                   lambda g, ans, x, y: g * _share(y, x))
atan2.defsaved("x", "y")
hypot.defsaved("x", "y", "ans")
logaddexp.defsaved("x", "y")


def _atan2_export(to, x, y):
    """atan(x / y), turned by half a circle where y is negative; a quarter where it is 0."""
    zero, half = x.dtype.type(0), x.dtype.type(math.pi)
    turn = to("Where", to("Less", y, zero), to("Where", to("Less", x, zero), -half, half), zero)
    upright = to("Mul", to("Sign", x), x.dtype.type(math.pi / 2))
    return to("Where", to("Equal", y, zero), upright, to("Add", to("Atan", to("Div", x, y)), turn))


atan2.defexport(_atan2_export)
hypot.defexport(lambda to, x, y: to("Sqrt", to("Add", to("Mul", x, x), to("Mul", y, y))))
logaddexp.defexport(lambda to, x, y: to("Add", to("Max", x, y), to("Softplus", to(
    "Neg", to("Abs", to("Sub", x, y))))))

_SHORT: dict[float, Callable[..., Any]] = {
    -1.0: np.reciprocal, 0.0: np.ones_like, 0.5: np.sqrt, 1.0: lambda x: x, 2.0: np.square,
    3.0: lambda x: x * x * x}


def _power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    p = math.nan if y.ndim or x.dtype != y.dtype or x.dtype.kind != "f" else float(y)
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


pow = binary("pow", _power, "x ** y. As in PyTorch, x**0 has gradient 0 at x = 0, and 0**y in y > 0.",
             _pow_x, _pow_y)
pow.defexport("Pow")
