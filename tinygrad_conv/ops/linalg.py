"""Sums of products: matmul, linear, outer, and einsum, any of them, its axes named by letters.

Each is linear in every operand, so its derivative in one operand is a product of the cotangent
with the others, and the VJPs are written with the ops themselves.
"""
import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import axis_of, is_whole
from ..kernels.parallel import split
from ..kernels.product import product
from ..kernels.table import run
from ..operands import tensors_of
from ..primitive import primitive
from ..tensor import Tensor, share
from .reduce import sum as _sum
from .shape import _reshape, _transpose, expand_dims

Shape = tuple[int, ...]


def _check_matmul(x: np.ndarray, y: np.ndarray) -> None:
    shapes = f"(x.shape={x.shape}, y.shape={y.shape})"
    if not x.ndim or not y.ndim:
        raise ValueError(f"matmul: needs vectors or matrices {shapes}; for a number use x * y")
    rows = y.shape[0] if y.ndim == 1 else y.shape[-2]
    if x.shape[-1] != rows:
        raise ValueError(f"matmul: the last axis of x has length {x.shape[-1]} but y has {rows} "
                         f"rows {shapes}")
    if any(n != m and 1 not in (n, m) for n, m in zip(x.shape[-3::-1], y.shape[-3::-1])):
        raise ValueError(f"matmul: stacks of {x.shape[:-2]} and of {y.shape[:-2]} matrices do not "
                         f"broadcast {shapes}")


@primitive
def matmul(x: Any, y: Any) -> Any:
    """The matrix product over the last two axes; axes before them are stacks, and broadcast.

    A vector counts as one row on the left and as one column on the right (NumPy's rule).

    Raises:
        ValueError: if the shapes do not fit; names both.

    Example:
        >>> matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).data.tolist()
        [3.0, 7.0]
    """
    if not (x.ndim == y.ndim == 2 and x.shape[1] == y.shape[0]):
        _check_matmul(x, y)
    if x.ndim > 2 and y.ndim == 2 and x.flags.c_contiguous:  # one product, not one a matrix
        return product(_rows(x), y).reshape(*x.shape[:-1], y.shape[1])
    return product(x, y)


def _rows(x: Any) -> Any:
    """(..., K) as (rows, K), of an array or a tensor."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _t(x: Tensor) -> Tensor:
    """Every matrix of a stack transposed."""
    return _transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _matmul_x(g, ans, x, y):
    if y.ndim == 1:
        return expand_dims(g, -1) * y                             # (..., M, 1) * (K,)
    if x.ndim == 1:
        return _reshape(matmul(y, expand_dims(g, -1)), shape=y.shape[:-1])  # (..., K, N) @ (..., N, 1)
    return matmul(g, _t(y))                                       # (..., M, N) @ (..., N, K)


def _matmul_y(g, ans, x, y):
    if x.ndim == 1:
        return g * x if y.ndim == 1 else expand_dims(x, -1) * expand_dims(g, -2)  # (K, 1) * (..., 1, N)
    if y.ndim <= 2:
        g = _rows(g) if y.ndim == 2 else _reshape(g, shape=(g.size,))
        return matmul(_t(_rows(x)), g)                            # (K, rows) @ (rows, N) or (rows,)
    return matmul(_t(x), g)                                       # (..., K, M) @ (..., M, N)


def _by_example(x: Tensor) -> Tensor:
    """(N, ..., K) as (N, rows, K)."""
    return _reshape(x, shape=(len(x), math.prod(x.shape[1:-1]), x.shape[-1]))


matmul.defvjp(_matmul_x, _matmul_y)
matmul.defjvp("same", "same")
matmul.defsaved("x", "y")
matmul.defexamples(y=lambda g, ans, x, y: matmul(_t(_by_example(x)), _by_example(g)) if y.ndim == 2 else None)
matmul.defcost(lambda ans, x, y: math.prod(ans) * x[-1])
matmul.defexport("MatMul")


@primitive
def _linear(x, w, b=None):
    if w.ndim != 2:
        raise ValueError(f"linear: weight must have two axes, (outputs, inputs), got {w.shape}")
    if not x.ndim or x.shape[-1] != w.shape[1]:
        got = f"the last axis of x has length {x.shape[-1]}" if x.ndim else "x is a single number"
        raise ValueError(f"linear: weight expects {w.shape[1]} inputs but {got} (x.shape={x.shape}, "
                         f"weight.shape={w.shape})")
    if b is not None and b.shape != w.shape[:1]:
        raise ValueError(f"linear: bias must have shape {w.shape[:1]}, one value per output, got {b.shape} "
                         f"(weight.shape={w.shape})")
    y = run("linear", _rows(x), w, b)                            # (rows, I) @ (I, O)
    return y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(w))


_linear.defvjp(lambda g, ans, x, w, b=None: matmul(g, w),
               lambda g, ans, x, w, b=None: matmul(_t(_rows(g)), _rows(x)),
               lambda g, ans, x, w, b: g)
_linear.defjvp(lambda t, ans, x, w, b=None: _linear(t, w),
               lambda t, ans, x, w, b=None: _linear(x, t),
               lambda t, ans, x, w, b: t)
_linear.defsaved("x", "w")
_linear.defapart()
_linear.defexamples(w=lambda g, ans, x, w, b=None: matmul(_t(_by_example(g)), _by_example(x)),
                    b=lambda g, ans, x, w, b: _sum(_by_example(g), axis=1))
_linear.defcost(lambda ans, x, w, b=(): math.prod(ans) * x[-1])
_linear.defnotes(x="summed over the outputs", w="summed over the samples", b="summed over the samples")


def _linear_export(to, x, w, b=None):
    if len(x.shape) == 2:
        return to("Gemm", x, w, b, transB=1)
    y = to("MatMul", x, to("Transpose", w, perm=(1, 0)))
    return y if b is None else to("Add", y, b)


_linear.defexport(_linear_export)


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
    return _linear(x, w) if bias is None else _linear(x, w, bias)


def outer(x: Any, y: Any) -> Tensor:
    """x[i] * y[j] of all pairs; both are flattened first (NumPy's rule).

    Example:
        >>> outer([1.0, 2.0], [3.0, 4.0]).data.tolist()
        [[3.0, 4.0], [6.0, 8.0]]
    """
    x, y = tensors_of("outer", (x, y))
    return _reshape(x, shape=(x.size, 1)) * _reshape(y, shape=(1, y.size))


# ----- einsum: the primitive sees letters only; ellipses and an implicit output are written out first -----


@primitive
def _einsum(*xs, subscripts):
    # BLAS threads that wait for a busy core would make hundreds of times slower
    return split(1, False, lambda lo, hi: np.einsum(subscripts, *xs, optimize=len(xs) > 1))[0]


def _sizes(terms: list[str], shapes: Sequence[Shape]) -> dict[str, int]:
    """The length of each label; 1 broadcasts to any other."""
    sizes: dict[str, int] = {}
    for labels, shape in zip(terms, shapes):
        for k, n in zip(labels, shape):
            sizes[k] = n if sizes.get(k, 1) == 1 else sizes[k]
    return sizes


def _einsum_vjp(i, g, ans, *xs, subscripts):
    """g with the other operands, keeping the labels of operand i.

    A label that i repeats (a diagonal) gets a new name at its second place, a twin, and an identity matrix
    that ties the two. Along a label that no other term has, which was summed out of i alone, g is repeated:
    a vector of ones has it.
    """
    *terms, out = subscripts.replace("->", ",").split(",")
    sizes = _sizes(terms, [x.shape for x in xs])
    names = [out, *terms[:i], *terms[i + 1:]]
    operands = [g, *xs[:i], *xs[i + 1:]]
    found = {k for labels, x in zip(names, operands) for k, n in zip(labels, x.shape) if n == sizes[k]}
    unused = iter(k for k in string.ascii_letters if k not in sizes)
    own = ""
    for k in terms[i]:
        twin = next(unused) if k in own else ""
        own += twin or k
        if twin or k not in found:
            factor = np.eye(sizes[k]) if twin else np.ones(sizes[k])
            names.append(k + twin)
            operands.append(share(factor.astype(xs[i].dtype)))
    return _einsum(*operands, subscripts=f"{','.join(names)}->{own}")


def _einsum_cost(ans: Shape, *shapes: Shape, subscripts: str) -> int:
    """Pair by pair as NumPy contracts them: the product of the lengths of all labels of a pair."""
    *letters, out = subscripts.replace("->", ",").split(",")
    sizes, terms = _sizes(letters, shapes), [set(labels) for labels in letters]
    cost, blanks = 0, [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    for picked in np.einsum_path(subscripts, *blanks, optimize="greedy")[0][1:]:
        met = [terms.pop(i) for i in sorted(picked, reverse=True)]
        labels = set().union(*met)
        cost += math.prod([sizes[k] for k in labels]) * (len(met) > 1)
        terms.append(labels & set(out).union(*terms))
    return cost


_einsum.defvjp_variadic(_einsum_vjp)
_einsum.defcost(_einsum_cost)


def _einsum_export(to, *xs, subscripts):
    """ONNX repeats nothing along a label: what has length 1 there is repeated before."""
    terms = subscripts.partition("->")[0].split(",")
    sizes = _sizes(terms, [x.shape for x in xs])
    whole = [tuple([sizes[k] for k in labels]) for labels in terms]
    xs = [x if x.shape == shape else to("Expand", x, to.sizes(shape)) for x, shape in zip(xs, whole)]
    return to("Einsum", *xs, equation=subscripts)


_einsum.defexport(_einsum_export)


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein's summation: labels that the output does not name are summed over.

    Args:
        subscripts: as for `np.einsum`: "ij,jk->ik", implicit output "ij,jk", diagonals "ii->i",
            "...ij,...jk->...ik". Letters only, at most 52.
        operands: tensors, arrays or numbers, one per term.

    Raises:
        ValueError: if labels and shapes do not fit; names the label or term, and the shapes.

    Example:
        >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).data.tolist()
        [3.0, 7.0]
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {type(subscripts).__name__}")
    xs = tensors_of("einsum", operands)
    return _einsum(*xs, subscripts=_explicit(subscripts, [x.shape for x in xs]))


def tensordot(x: Any, y: Any, axes: int | Sequence[Any] = 2) -> Tensor:
    """The sum of products over pairs of axes, one of x and one of y; the others of x come before those of y.

    Args:
        x, y: any shapes.
        axes: how many, the last ones of x and the first ones of y; or two lists of axes.

    Raises:
        ValueError: if the lengths of a pair of axes differ; names both shapes.

    Example:
        >>> tensordot(np.ones((2, 3)), np.ones((3, 4)), 1).shape
        (2, 4)
        >>> tensordot(np.ones((2, 3, 4)), np.ones((4, 2, 5)), ([0, 2], [1, 0])).shape
        (3, 5)
    """
    x, y = tensors_of("tensordot", (x, y))
    counted = is_whole(axes) and 0 <= axes <= min(x.ndim, y.ndim)
    pairs = (range(x.ndim - axes, x.ndim), range(axes)) if counted else axes
    try:
        left, right = [[axis_of(a, t.ndim, "tensordot") for a in (given if np.iterable(given) else (given,))]
                       for given, t in zip(pairs, (x, y), strict=True)]
    except (TypeError, ValueError):
        raise ValueError(f"tensordot: axes are a number of at most {min(x.ndim, y.ndim)}, or two lists, "
                         f"got {axes!r} for shapes {x.shape} and {y.shape}") from None
    if [x.shape[a] for a in left] != [y.shape[a] for a in right]:
        raise ValueError(f"tensordot: the axes {left} of {x.shape} and {right} of {y.shape} have not the "
                         f"same lengths")
    rows, columns = ([a for a in range(t.ndim) if a not in own] for t, own in ((x, left), (y, right)))
    summed = math.prod([x.shape[a] for a in left])
    outer = tuple([x.shape[a] for a in rows] + [y.shape[a] for a in columns])
    x = _reshape(_transpose(x, axes=(*rows, *left)), shape=(math.prod(outer[:len(rows)]), summed))
    y = _reshape(_transpose(y, axes=(*right, *columns)), shape=(summed, math.prod(outer[len(rows):])))
    return _reshape(matmul(x, y), shape=outer)


def _explicit(subscripts: str, shapes: list[Shape]) -> str:
    """The subscripts in letters only: ellipses named, an implicit output written out.

    What is not checked here, NumPy reports as well.
    """
    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum: {subscripts!r} has {len(terms)} terms for {len(shapes)} operands")
    hidden = [max(0, len(s) - len(t.replace("...", ""))) for t, s in zip(terms, shapes)]
    depth = max([n for t, n in zip(terms, hidden) if "..." in t], default=0)
    fresh = [k for k in string.ascii_letters if k not in subscripts]
    if depth > len(fresh):
        raise ValueError(f"einsum: {subscripts!r} needs more than the 52 letters (operand shapes {shapes})")
    dots = "".join(fresh[:depth])
    once = {k for k in left if k.isalpha() and left.count(k) == 1}
    out = out.replace("...", dots) if arrow else dots + "".join(sorted(once))
    terms = [t.replace("...", dots[depth - n:]) for t, n in zip(terms, hidden)]
    sizes = _sizes(terms, shapes)
    for labels, shape in zip(terms, shapes):
        for k, n in zip(labels, shape):
            if n not in (1, sizes[k]):
                raise ValueError(f"einsum: {subscripts!r} gives label {k!r} the lengths {sizes[k]} and {n} "
                                 f"(operand shapes {shapes})")
    return f"{','.join(terms)}->{out}"
