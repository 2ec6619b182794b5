"""Whole Jacobians and Hessians, row by row or column by column, and products of Hessians with vectors."""
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from . import ops
from .arguments import one_of
from .autodiff import Selected, finished, grad, gradients, jvp, pushed, traced, vjp
from .state import recording
from .tensor import Tensor, share
from .trees import rebuilt


def _basis(t: Tensor) -> Iterator[Tensor]:
    """Tensors like t, each with a single 1, in the order of the entries."""
    for k in range(t.size):
        yield share(np.eye(1, t.size, k, dtype=t.dtype).reshape(t.shape))


def _rows(y: Tensor, targets: list[Tensor]) -> list[Tensor]:
    """The derivative of y by each target, a pull for each entry of y."""
    rows = [gradients([y], [g], targets) for g in _basis(y)]
    return [_joined([row[i] for row in rows], y, x, 0) for i, x in enumerate(targets)]


def _columns(outputs: list[Tensor], x: Tensor, targets: list[Tensor]) -> list[Tensor]:
    """The derivative of each output by x, one of the targets, a push for each entry of x."""
    columns = [pushed(outputs, [(other, t if other is x else None) for other in targets]) for t in _basis(x)]
    return [_joined([column[i] for column in columns], y, x, -1) for i, y in enumerate(outputs)]


def _joined(parts: Sequence[Tensor], y: Tensor, x: Tensor, axis: int) -> Tensor:
    shape = y.shape + x.shape
    return ops.reshape(ops.stack(parts, axis), shape) if parts else share(np.zeros(shape, y.dtype))


def jacobian(f: Callable[..., Any], argnums: int | Sequence[int] = 0,
             mode: str = "reverse") -> Callable[..., Any]:
    """All derivatives of all outputs: `jacobian(f)(x)` has the shape `f(x).shape + x.shape`.

    Of outputs in a tuple, list or dictionary it has their structure, with that of the argument at each place.

    Args:
        f: a function of tensors, or of lists, tuples and dictionaries of them, that returns such.
        argnums: position(s) of the argument(s) to differentiate with respect to; several give a tuple.
        mode: "reverse", one pass for each entry of the output, or "forward", one for each of the argument.

    Raises:
        TypeError: if `f` returns something else, or what is not floating point.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.jacobian(lambda x: x * x)(tg.tensor([1.0, 2.0])).tolist()
        [[2.0, 0.0], [0.0, 4.0]]
    """
    one_of(mode, "jacobian", "mode", ("reverse", "forward"))
    selected = Selected("jacobian", f, argnums)

    def derivative(*args: Any, **kwargs: Any) -> Any:
        with recording(True):
            values, trees, targets = selected.of(args)
            y, outputs, _ = traced("jacobian", f, values, kwargs)
        for t in outputs:
            if t.dtype.kind != "f":
                raise TypeError(f"jacobian: the function returned {t.dtype}, which has no derivative; leave "
                                f"it out of what it returns")
        if mode == "reverse":
            blocks = [_rows(t, targets) for t in outputs]
        else:
            columns = [_columns(outputs, x, targets) for x in targets]
            blocks = [[column[i] for column in columns] for i in range(len(outputs))]
        finished(targets)
        return rebuilt(y, [selected.built(trees, row) for row in blocks])

    return derivative


def hessian(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """All second derivatives of a scalar function: `hessian(f)(x)` has the shape `x.shape + x.shape`.

    With several argnums, or arguments that are lists, tuples or dictionaries, it has their structure twice:
    the block at `[i][j]` belongs to the i-th and the j-th.

    Args:
        f, argnums: as for `grad`.

    Raises:
        TypeError: if `f` does not return one value.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.hessian(lambda x: x[0] * x[0] * x[1])(tg.tensor([1.0, 2.0])).tolist()
        [[4.0, 2.0], [2.0, 0.0]]
    """
    Selected("hessian", f, argnums)  # whose errors name this function
    return jacobian(grad(f, argnums), argnums, mode="forward")


def _gradient(f: Callable[..., Any], primals: Sequence[Any]) -> Callable[..., Any]:
    """The gradient by all arguments; of one it comes without a tuple."""
    return grad(f, 0 if len(primals) == 1 else tuple(range(len(primals))))


def hvp(f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The Hessian of a scalar function times a vector, in two passes, without the Hessian.

    Args:
        f: a function of tensors, or of lists, tuples and dictionaries of them, that returns one value.
        primals: its arguments, a tuple.
        tangents: the vector, with the structure of the primals.

    Returns:
        the product, like the primals; of one primal without a tuple.

    Raises:
        TypeError, ValueError: as `grad` and `jvp`.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.hvp(lambda x: x[0] * x[0] * x[1], (tg.tensor([1.0, 2.0]),), ([1.0, 0.0],)).tolist()
        [4.0, 2.0]
    """
    return jvp(_gradient(f, primals), primals, tangents)[1]


def vhp(f: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]) -> Any:
    """A vector times the Hessian of a scalar function, by two backward passes; otherwise as `hvp`.

    Where second derivatives exist the Hessian is symmetric, and both are the same.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.vhp(lambda x: x[0] * x[0] * x[1], (tg.tensor([1.0, 2.0]),), ([1.0, 0.0],)).tolist()
        [4.0, 2.0]
    """
    found = vjp(_gradient(f, primals), *primals)[1](*cotangents)
    return found[0] if len(primals) == 1 else found
