"""What an op makes of numbers, lists and arrays passed along with tensors.

Numbers and lists take the float type of the tensors they meet; arrays are not copied, but watched
for changes.
"""
from typing import Any

import numpy as np

from .core import as_array
from .tensor import Tensor, share


def _weak(value: Any, dtypes: list[np.dtype]) -> np.ndarray:
    """A scalar takes the float type of the tensors it meets (NEP 50, and NumPy scalars too)."""
    if len(dtypes) == 1 and dtypes[0].kind == "f":
        return np.array(value, dtypes[0])
    value = value.item() if isinstance(value, np.generic | np.ndarray) else value
    dtype = np.result_type(value, *dtypes)
    if dtype.kind == "f" and not any(d.kind == "f" for d in dtypes):
        dtype = np.dtype(np.float32)
    try:
        return np.asarray(value, dtype)
    except OverflowError:  # 300 beside uint8
        dtype = np.result_type(np.min_scalar_type(value), *dtypes)
        if dtype.kind == "O":
            raise
        return np.asarray(value, dtype)


def tensors_of(name: str, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The arguments of a call of the op `name`, as tensors."""
    strong = [a.dtype for a in args if isinstance(a, Tensor) or isinstance(a, np.ndarray) and a.ndim]
    out = []
    for i, a in enumerate(args):
        if isinstance(a, Tensor):
            out.append(a)
        elif strong and (isinstance(a, bool | int | float) or isinstance(a, np.generic | np.ndarray)
                         and a.ndim == 0 and a.dtype.kind in "fiub"):
            try:
                out.append(share(_weak(a, strong)))
            except OverflowError:
                raise ValueError(f"{name}: argument {i}, an integer of {a.bit_length()} bits, fits into no "
                                 f"dtype of a tensor") from None
        else:
            array = as_array(a, copy=False, what=f"{name} argument {i}")
            floats = [d for d in strong if d.kind == "f"]
            if array.dtype.kind == "f" and floats and not isinstance(a, np.ndarray):
                array = np.array(a, np.result_type(*floats))  # a list of floats is as weak as one
            t = share(array)
            if isinstance(a, np.ndarray):
                t.memory.expose(a)
            out.append(t)
    return tuple(out)


def as_tensor(x: Any, op: str, beside: Any = None) -> Tensor:
    """`x` itself, or a tensor of what it holds; numbers and lists get the float type of a tensor `beside`."""
    if isinstance(x, Tensor):
        return x
    array = as_array(x, copy=True, what=op)
    if array.dtype.kind == "f" and isinstance(beside, Tensor) and beside.dtype.kind == "f" and not (
            isinstance(x, np.ndarray) and x.ndim):
        array = np.array(x, beside.dtype)
    return share(array)


def as_floats(x: Any, op: str, name: str = "x", beside: Any = None) -> Tensor:
    """The argument `name` as a tensor, which must be floating point; `beside` as for `as_tensor`.

    Raises:
        TypeError: if it is not.
    """
    t = as_tensor(x, f"{op} {name}", beside)
    if t.dtype.kind != "f":
        raise TypeError(f"{op}: {name} must be floating point, got {t.dtype}; convert it, e.g. "
                        f"{name}.astype(np.float32)")
    return t
