"""NumPy functions called with tensors: recorded where there is an op, refused where a gradient would
be lost.

`np_array @ t`, `np.float64(2) * t` and `np.exp(t)` arrive at `__array_ufunc__`, `np.concatenate`
and the like at `__array_function__`; a table for each says which op answers.
"""
import functools
import inspect
from typing import Any

import numpy as np

from . import ops
from .advice import advised, here, instead
from .primitive import Primitive
from .tensor import Tensor

UFUNCS = {
    np.add: ops.add, np.subtract: ops.sub, np.multiply: ops.mul, np.divide: ops.div,
    np.negative: ops.neg, np.positive: ops.identity,
    np.power: ops.pow, np.float_power: ops.pow, np.matmul: ops.matmul, np.exp: ops.exp, np.log: ops.log,
    np.log1p: ops.log1p, np.expm1: ops.expm1, np.sqrt: ops.sqrt, np.absolute: ops.abs, np.fabs: ops.abs,
    np.sin: ops.sin, np.cos: ops.cos, np.tanh: ops.tanh, np.maximum: ops.maximum, np.minimum: ops.minimum,
    np.sign: ops.sign, np.floor: ops.floor, np.equal: ops.equal, np.not_equal: ops.not_equal,
    np.less: ops.less, np.less_equal: ops.less_equal, np.greater: ops.greater,
    np.greater_equal: ops.greater_equal, np.logical_not: ops.logical_not, np.isnan: ops.isnan,
    np.isfinite: ops.isfinite, np.logical_and: ops.logical_and, np.logical_or: ops.logical_or,
    np.bitwise_and: lambda a, b: Tensor.__and__(a, b), np.bitwise_or: lambda a, b: Tensor.__or__(a, b),
    np.invert: lambda a: ~a,
    np.tan: ops.tan, np.arcsin: ops.asin, np.arccos: ops.acos, np.arctan: ops.atan, np.sinh: ops.sinh,
    np.cosh: ops.cosh, np.arcsinh: ops.asinh, np.arccosh: ops.acosh, np.arctanh: ops.atanh,
    np.log2: ops.log2, np.log10: ops.log10, np.exp2: ops.exp2, np.ceil: ops.ceil, np.trunc: ops.trunc,
    np.rint: ops.round, np.remainder: ops.remainder, np.floor_divide: ops.floor_divide,
    np.arctan2: ops.atan2, np.hypot: ops.hypot, np.logaddexp: ops.logaddexp,
    np.square: lambda x: ops.mul(x, x), np.reciprocal: lambda x: ops.div(1.0, x),
}


def _dot(a: Any, b: Any) -> Tensor:
    """NumPy's dot, where it is a matrix product."""
    if np.ndim(a) > 1 and np.ndim(b) > 2:
        raise TypeError(f"np.dot: of shapes {np.shape(a)} and {np.shape(b)} it pairs every matrix with every "
                        f"other, for which there is no op; use tg.matmul or tg.einsum")
    return ops.matmul(a, b)


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    """NumPy's where, which of a condition alone says where it is true."""
    return np.nonzero(condition) if x is None and y is None else ops.where(condition, x, y)


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """NumPy's norm: of vectors Euclid's, of a matrix Frobenius'."""
    axes = np.ndim(x) if axis is None else np.size(axis)
    if ord is not None and not (ord == 2 and axes == 1 or ord == "fro" and axes == 2):
        raise TypeError(f"np.linalg.norm: ord must be left out, there is only the root of the sum of squares"
                        f", no singular values; got {ord!r} for {axes} axes")
    return ops.norm(x, 2, axis, keepdims)


FUNCTIONS = {
    np.sum: ops.sum, np.mean: ops.mean, np.prod: ops.prod, np.max: ops.max, np.min: ops.min,
    np.argmax: ops.argmax, np.argmin: ops.argmin, np.any: ops.any, np.all: ops.all,
    np.amax: ops.max, np.amin: ops.min, np.var: ops.var, np.std: ops.std, np.astype: ops.astype,
    np.cumsum: ops.cumsum, np.clip: ops.clip, np.round: ops.round,
    np.where: _where, np.reshape: ops.reshape,
    np.transpose: ops.transpose, np.swapaxes: ops.swapaxes, np.squeeze: ops.squeeze,
    np.expand_dims: ops.expand_dims, np.broadcast_to: ops.broadcast_to, np.concatenate: ops.concatenate,
    np.stack: ops.stack, np.split: ops.split, np.pad: ops.pad, np.flip: ops.flip, np.roll: ops.roll,
    np.take_along_axis: ops.take_along_axis, np.outer: ops.outer, np.einsum: ops.einsum,
    np.dot: _dot, np.sort: ops.sort, np.argsort: ops.argsort, np.tile: ops.tile, np.repeat: ops.repeat,
    np.moveaxis: ops.moveaxis, np.vstack: ops.vstack, np.hstack: ops.hstack, np.diff: ops.shape.diff,
    np.diag: ops.diag, np.tril: ops.tril, np.triu: ops.triu, np.cumprod: ops.cumprod,
    np.tensordot: ops.tensordot, np.linalg.norm: _norm,
}

LIKE = {np.zeros_like, np.ones_like, np.full_like, np.empty_like}  # of the first argument the shape counts
# Answers that have no gradient anyway: NumPy's own function, on the values.
INSPECTIONS = {np.allclose, np.isclose, np.array_equal, np.array_equiv, np.shape, np.ndim, np.size,
               np.array2string, np.array_repr, np.array_str, np.count_nonzero, np.result_type,
               np.may_share_memory, np.shares_memory, np.nonzero, np.iscomplexobj, np.isrealobj}


NOT_GIVEN = np._NoValue  # NumPy's word for a default that depends


def ufunc(ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    if kwargs.get("out") is not None:
        raise TypeError(f"np.{ufunc.__name__}: cannot write a tensor's result into an array, the gradient "
                        f"would be lost; write a = a + t instead of a += t, or t.numpy() if no gradient "
                        f"is wanted")
    refusals = {k: advice for k, v in kwargs.items() if (advice := instead(k, v, ())) is not None}
    op = UFUNCS.get(ufunc)
    if op is None or method != "__call__" or refusals:
        how = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        which = f" with {', '.join(refusals)}" * bool(refusals)
        raise TypeError(f"np.{how}: no op for tensors{which}; use a function of tinygrad_conv, or t.numpy() "
                        f"to leave the graph{''.join(refusals.values())}")
    return op(*inputs)


def function(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if function in FUNCTIONS:
        return _called(function, FUNCTIONS[function], args, kwargs)
    tensors: list[Tensor] = []
    first = args[0] if function in LIKE and args else None
    args, kwargs = _unwrapped(args, tensors), _unwrapped(kwargs, tensors)
    if function not in INSPECTIONS and any(t.requires_grad and t is not first for t in tensors):
        raise TypeError(f"np.{function.__name__}: no op for tensors, the gradient would be lost; use a "
                        f"function of tinygrad_conv, or t.numpy() to leave the graph")
    return function(*args, **kwargs)


signature, named_errors = functools.cache(inspect.signature), functools.cache(advised)


def _called(function: Any, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The op, with NumPy's arguments and defaults under the op's own names; it refuses what it lacks."""
    known, positional, named = signature(op).parameters, [], {}
    given = signature(function).bind(*args, **kwargs).arguments
    if len({here(name, known) for name in given}) < len(given):  # a_min and min
        raise TypeError(f"np.{function.__name__}: {', '.join(given)} name one argument twice")
    for name, parameter in signature(function).parameters.items():
        value = given.get(name, parameter.default)
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            named.update(given.get(name, {}))
        elif value is not parameter.default or here(name, known) in known and value is not NOT_GIVEN:
            named[here(name, known)] = value
    try:
        return (op if isinstance(op, Primitive) else named_errors(op))(*positional, **named)
    except TypeError as e:
        e.add_note(f"in np.{function.__name__}, of a tensor")
        raise


def _unwrapped(value: Any, found: list[Tensor]) -> Any:
    """The same arguments with arrays for tensors, which are noted in `found`."""
    if isinstance(value, Tensor):
        found.append(value)
        return value.data
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(v, found) for v in value)
    if isinstance(value, dict):
        return {k: _unwrapped(v, found) for k, v in value.items()}
    return value
