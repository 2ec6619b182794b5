"""Reductions over axes, and how each entry contributes to the result.

`axis` is an int, a tuple or None (all); `()` is no axis, as in NumPy (to PyTorch it is all). `keepdims`
leaves axes of length 1. A single number has an axis 0, along which nothing happens to it. A VJP gives the
cotangent its lost axes back (`_back`) and lets broadcasting do the rest. Composites come last.
"""
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ..arguments import Axis, axes_of, axis_of, flag, number
from ..kernels.pointwise import floating
from ..kernels.total import total
from ..operands import as_floats, as_tensor
from ..primitive import Primitive, primitive
from ..tensor import Tensor
from . import elementwise as ew
from .shape import _broadcast_to, _reshape, concatenate, flip, getitem, transpose


class Reduction(Protocol):
    """How the reductions of the table are called."""

    def __call__(self, x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor: ...


def reduction(name: str, fn: Callable[..., Any], doc: str, *vjps: Callable[..., Any],
              operand: Callable[[Any, str], Tensor] = as_tensor,
              counted: Callable[..., Any] = axes_of) -> tuple[Primitive[...], Reduction]:
    """A row of the table: the primitive, and the function for users, which counts axes from the front."""
    def op(x, *, axis, keepdims):
        return fn(x, axis=axis, keepdims=keepdims)

    def reduce(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        x = operand(x, name)
        return made(x, axis=counted(axis, x.ndim, name), keepdims=flag(keepdims, name, "keepdims"))
    made = ew.row(op, name, fn, doc, vjps)
    return made, ew.named(reduce, name, doc)


def kept(x: Any, axis: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x, with length 1 along the axes of a reduction."""
    return tuple([1 if i in axis else n for i, n in enumerate(x.shape)])


def _back(t: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """A reduced tensor with its lost axes back, of length 1."""
    return _reshape(t, shape=kept(x, axis))


def _spread(g: Tensor, x: Tensor, axis: tuple[int, ...]) -> Tensor:
    return _broadcast_to(_back(g, x, axis), shape=x.shape)


def count(x: Any, axis: tuple[int, ...]) -> int:
    """How many entries are reduced to one."""
    return math.prod([x.shape[a] for a in axis])


def _inverse(n: float) -> float:
    """1 / n; the mean of nothing is nan."""
    return 1.0 / n if n > 0 else math.nan


def _extreme_vjp(g, ans, x, *, axis, keepdims):
    hit = ew.astype(ew.equal(x, _back(ans, x, axis)), x.dtype)
    return ew.mul(ew.div(_back(g, x, axis), _sum(hit, axis=axis, keepdims=True)), hit)


def _log_of_sum(x, *, axis, keepdims):
    x = floating(x)
    top = np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    with np.errstate(divide="ignore"):
        out = np.log(total(np.exp(x - top), axis, keepdims=True)) + top
    return out if keepdims else out.squeeze(axis)


def _logsumexp_x(g, ans, x, *, axis, keepdims):
    top = _back(ans, x, axis)
    share = ew.exp(ew.sub(x, ew.where(ew.equal(top, -np.inf), 0.0, top)))  # a row of -inf: shares of 0
    return ew.mul(_back(g, x, axis), share)


def _one_axis(axis: int | None, ndim: int, op: str) -> int | None:
    return None if axis is None else axis_of(axis, ndim, op)


_sum, sum = reduction(
    "sum", lambda x, *, axis, keepdims: total(x, axis, keepdims), "The sum over axes.",
    lambda g, ans, x, *, axis, keepdims: _spread(g, x, axis))
_mean, mean = reduction(
    "mean", lambda x, *, axis, keepdims: total(x, axis, keepdims) * _inverse(count(x, axis)),
    "The mean over axes; of nothing, nan. Floats only: the mean of integers need not be one.",
    lambda g, ans, x, *, axis, keepdims: _spread(ew.mul(g, _inverse(count(x, axis))), x, axis),
    operand=as_floats)
_max, max = reduction(
    "max", np.maximum.reduce, "The largest value over axes (nan wins); ties share the gradient evenly.",
    _extreme_vjp)
_min, min = reduction(
    "min", np.minimum.reduce, "The smallest value over axes (nan wins); ties share the gradient evenly.",
    _extreme_vjp)
_logsumexp, logsumexp = reduction(
    "logsumexp", _log_of_sum, "log(sum(exp(x))) over axes, shifted by the largest value: nothing overflows.",
    _logsumexp_x)
_any, any = reduction("any", np.any, "Whether any entry is not 0.")
_all, all = reduction("all", np.all, "Whether no entry is 0.")
_argmax, argmax = reduction(
    "argmax", np.argmax, "Where the first largest value is, of all or along one axis; nan wins.",
    counted=_one_axis)
_argmin, argmin = reduction(
    "argmin", np.argmin, "Where the first smallest value is, of all or along one axis; nan wins.",
    counted=_one_axis)
amax, amin = max, min
_sum.defsaved()
_mean.defsaved()
_sum.defjvp("same")
_mean.defjvp("same")
_sum.defnotes(x="copied along the axes that were summed")


def _reduce_export(operator):
    return lambda to, x, *, axis, keepdims: to(
        operator, x, np.array(axis, np.int64), keepdims=int(keepdims), noop_with_empty_axes=1)


for _op, _name in ((_sum, "ReduceSum"), (_mean, "ReduceMean"), (_max, "ReduceMax"), (_min, "ReduceMin"),
                   (_logsumexp, "ReduceLogSumExp")):
    _op.defexport(_reduce_export(_name))


@primitive
def _cumsum(x, *, axis):
    if x.dtype.kind != "f":
        return np.add.accumulate(x, axis=axis)
    return np.add.accumulate(x, axis=axis, dtype=np.float64).astype(x.dtype, copy=False)


_cumsum.defvjp(lambda g, ans, x, *, axis: flip(_cumsum(flip(g, axis), axis=axis), axis))
_cumsum.defjvp("same")
_cumsum.defexport(lambda to, x, *, axis: to("CumSum", x, np.int64(axis)))


def cumsum(x: Any, axis: int | None = None) -> Tensor:
    """Running sums along an axis, kept in float64; of all entries in a row by default (NumPy's rule).

    Example:
        >>> cumsum([1.0, 2.0, 3.0], 0).data.tolist()
        [1.0, 3.0, 6.0]
    """
    x = as_tensor(x, "cumsum")
    if axis is None:
        x, axis = _reshape(x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim, "cumsum")
    return _cumsum(x, axis=axis) if x.ndim else sum(x)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over axes, by halves, so that gradients of every order are right where factors are 0.

    Small integers are multiplied as int64 (NumPy's rule, and that of `sum`).

    Example:
        >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
        [2.0, 12.0]
    """
    x = as_tensor(x, "prod")
    if x.dtype.kind != "f":
        x = ew.astype(x, np.uint64 if x.dtype.kind == "u" else np.int64)
    axes = axes_of(axis, x.ndim, "prod")
    rest = tuple([i for i in range(x.ndim) if i not in axes])
    left = tuple([x.shape[i] for i in rest])
    y = _reshape(transpose(x, (*axes, *rest)), shape=(count(x, axes), *left))
    while y.shape[0] > 1:
        half = y.shape[0] // 2
        pairs = ew.mul(getitem(y, slice(half)), getitem(y, slice(half, 2 * half)))
        y = pairs if y.shape[0] % 2 == 0 else concatenate([pairs, getitem(y, slice(2 * half, None))])
    if y.shape[0] == 0:
        y = concatenate([y, np.ones((1, *left), x.dtype)])
    return _reshape(y, shape=kept(x, axes) if flag(keepdims, "prod", "keepdims") else left)


def cumprod(x: Any, axis: int | None = None) -> Tensor:
    """Running products along an axis; of all entries in a row by default (NumPy's rule).

    By doubling, so that gradients of every order are right where factors are 0.
    Small integers are multiplied as int64, as by `prod`.

    Example:
        >>> cumprod([1.0, 2.0, 3.0], 0).data.tolist()
        [1.0, 2.0, 6.0]
    """
    x = as_tensor(x, "cumprod")
    if axis is None or not x.ndim:
        x, axis = _reshape(x, shape=(x.size,)), 0 if axis is None else axis
    axis = axis_of(axis, x.ndim, "cumprod")
    if x.dtype.kind != "f":
        x = ew.astype(x, np.uint64 if x.dtype.kind == "u" else np.int64)
    before, step = (slice(None),) * axis, 1
    while step < x.shape[axis]:
        head, tail = getitem(x, (*before, slice(step))), getitem(x, (*before, slice(step, None)))
        x = concatenate([head, ew.mul(tail, getitem(x, (*before, slice(-step))))], axis)
        step *= 2
    return x


def _half_as_single(op: str, x: Any, f: Callable[[Tensor], Tensor]) -> Tensor:
    """f(x); of half precision, in which squares from 256 on and their sums overflow, as float32."""
    x = as_floats(x, op)
    if x.dtype != np.float16:
        return f(x)
    return ew.astype(f(ew.astype(x, np.float32)), np.float16)


def _var(x: Tensor, axis: Axis, correction: float, keepdims: bool, op: str) -> Tensor:
    axes = axes_of(axis, x.ndim, op)
    off = ew.sub(x, mean(x, axes, keepdims=True))
    n = count(x, axes) - number(correction, op, "correction")
    return ew.mul(sum(ew.mul(off, off), axes, keepdims), _inverse(n))


def var(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The variance over axes, divided by n - correction.

    `correction` is 1, as in PyTorch (unbiased); NumPy's default is 0. With n <= correction, nan.

    Example:
        >>> var([1.0, 2.0, 3.0, 4.0, 5.0]).item(), var([1.0, 3.0], correction=0).item()
        (2.5, 1.0)
    """
    return _half_as_single("var", x, lambda y: _var(y, axis, correction, keepdims, "var"))


_root = ew.unary("root", np.sqrt, "The square root, with gradient 0 at 0.",
                 lambda g, ans, x: ew.div_no_nan(g, ew.mul(ans, 2.0)))
_root.defexport("Sqrt")


def std(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Tensor:
    """The square root of `var`; where it is 0, so is the gradient.

    Example:
        >>> std([1.0, 3.0], correction=0).item()
        1.0
    """
    return _half_as_single("std", x, lambda y: _root(_var(y, axis, correction, keepdims, "std")))


def norm(x: Any, p: Any = 2, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The Euclidean norm over axes, by default of all entries; the gradient at 0 is 0.

    Args:
        p: 2 or "fro", in PyTorch's and NumPy's place for it; there is no other norm here.

    Raises:
        ValueError: for another p.

    Example:
        >>> norm([3.0, 4.0]).item()
        5.0
    """
    if not isinstance(p, int | float | str | np.number) or p not in (2, "fro"):
        raise ValueError(f"norm: expects p=2, the Euclidean norm, got {p!r}; an axis is given by name, "
                         f"axis= or dim=; other norms are made of tg.abs, tg.sum and tg.amax")
    return _half_as_single("norm", x, lambda y: _root(
        sum(ew.mul(y, y), axes_of(axis, y.ndim, "norm"), keepdims)))
