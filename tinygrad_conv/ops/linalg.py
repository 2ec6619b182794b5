"""Products of matrices: matmul, linear, outer.

Each is linear in every operand, so its derivative in one operand is a product of the cotangent
with the others, and the rows below are written with the ops themselves. Imports core, primitive,
arguments and shape.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Tensor
from ..kernels.product import product
from ..primitive import primitive
from ..operands import as_tensor
from .shape import expand_dims, reshape, swapaxes


def _check_matmul(x: np.ndarray, y: np.ndarray) -> None:
    shapes = f"(x.shape={x.shape}, y.shape={y.shape})"
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: needs vectors or matrices {shapes}; for a number use x * y")
    rows = y.shape[0] if y.ndim == 1 else y.shape[-2]
    if x.shape[-1] != rows:
        raise ValueError(f"matmul: the last axis of x has length {x.shape[-1]} but y has {rows} "
                         f"rows {shapes}")
    try:
        np.broadcast_shapes(x.shape[:-2], y.shape[:-2])
    except ValueError:
        raise ValueError(f"matmul: stacks of {x.shape[:-2]} and of {y.shape[:-2]} matrices do not "
                         f"broadcast {shapes}") from None


@primitive
def matmul(x, y):
    """The matrix product over the last two axes; axes before them are stacks, and broadcast.

    A vector counts as one row on the left and as one column on the right (NumPy's rule).

    Raises:
        ValueError: if the shapes do not fit; names both.

    Example:
        >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).data.tolist()
        [3.0, 7.0]
    """
    _check_matmul(x, y)
    if x.ndim > 2 and y.ndim == 2 and x.flags.c_contiguous:  # one product, not one a matrix
        return product(_rows(x), y).reshape(*x.shape[:-1], y.shape[1])
    return product(x, y)


def _rows(x: Any) -> Any:
    """(..., K) as (rows, K), of an array or a tensor."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _t(x: Tensor) -> Tensor:
    """Every matrix of a stack transposed."""
    return swapaxes(x, -1, -2)


def _matmul_x(g, ans, x, y):
    if y.ndim == 1:
        return expand_dims(g, -1) * y                             # (..., M, 1) * (K,)
    if x.ndim == 1:
        column = matmul(y, expand_dims(g, -1))                    # (..., K, N) @ (..., N, 1)
        return reshape(column, column.shape[:-1])
    return matmul(g, _t(y))                                       # (..., M, N) @ (..., N, K)


def _matmul_y(g, ans, x, y):
    if x.ndim == 1 and y.ndim == 1:
        return g * x
    if x.ndim == 1:
        return expand_dims(x, -1) * expand_dims(g, -2)            # (K, 1) * (..., 1, N)
    if y.ndim == 1:
        return matmul(_t(_rows(x)), reshape(g, (g.size,)))        # (K, rows) @ (rows,)
    if y.ndim == 2:
        return matmul(_t(_rows(x)), _rows(g))                     # (K, rows) @ (rows, N)
    return matmul(_t(x), g)                                       # (..., K, M) @ (..., M, N)


matmul.defvjp(_matmul_x, _matmul_y)
matmul.defcost(lambda out, x, y: math.prod(out) * x[-1])


@primitive
def _linear(x, w, b=None):
    y = product(_rows(x), w.T)                                   # (rows, I) @ (I, O)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], len(w))


_linear.defvjp(lambda g, ans, x, w, b=None: matmul(g, w),
               lambda g, ans, x, w, b=None: matmul(_t(_rows(g)), _rows(x)),
               lambda g, ans, x, w, b: g)
_linear.defcost(lambda out, x, w, b=None: math.prod(out) * x[-1])
_linear.defnotes(x="summed over the outputs", w="summed over the samples", b="summed over the samples")


def linear(x: Any, w: Any, bias: Any = None) -> Tensor:
    """x @ w.T + bias, the layer (torch.nn.functional.linear).

    Args:
        x: (..., I).
        w: (O, I).
        bias: (O,) or None.

    Returns:
        (..., O).

    Raises:
        ValueError: if the shapes do not fit; names them.

    Example:
        >>> linear([1.0, 2.0], [[3.0, 4.0]], [0.5]).data.tolist()
        [11.5]
    """
    x, w = as_tensor(x, "linear"), as_tensor(w, "linear")
    if w.ndim != 2:
        raise ValueError(f"linear: weight must have two axes, (outputs, inputs), got {w.shape}")
    if not x.ndim or x.shape[-1] != w.shape[1]:
        got = f"the last axis of x has length {x.shape[-1]}" if x.ndim else "x is a single number"
        raise ValueError(f"linear: weight expects {w.shape[1]} inputs but {got} (x.shape={x.shape}, "
                         f"weight.shape={w.shape})")
    if bias is None:
        return _linear(x, w)
    bias = as_tensor(bias, "linear")
    if bias.shape != w.shape[:1]:
        raise ValueError(f"linear: bias must have shape {w.shape[:1]}, one value per output, got "
                         f"{bias.shape} (weight.shape={w.shape})")
    return _linear(x, w, bias)


def outer(x: Any, y: Any) -> Tensor:
    """x[i] * y[j] of all pairs; both are flattened first (NumPy's rule).

    Example:
        >>> outer([1.0, 2.0], [3.0, 4.0]).data.tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    x, y = as_tensor(x, "outer"), as_tensor(y, "outer")
    return reshape(x, (x.size, 1)) * reshape(y, (1, y.size))
