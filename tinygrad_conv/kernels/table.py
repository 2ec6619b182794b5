"""Which kernel serves a call: one table of functions on arrays, by operation.

A family of kernels (`numpy` comes with this package) registers its functions, and touches no other file.
The one registered last is asked first. Inputs are read-only, of any strides, of float16, float32 or
float64; b may be None; the result is an array of the inputs' dtype. Operations and their arguments,
x (N, C, H, W), with a `Geometry`:

    conv2d(x, w, b, geometry)              maxima(x, geometry)
    input_adjoint(g, w, b, geometry)       maxima_scatter(g, x, y, geometry)
    weight_adjoint(g, x, geometry)         maxima_gather(u, x, y, geometry)
    averages(x, divisor, geometry)         maxima_indices(x, y, geometry)
    averages_adjoint(g, divisor, geometry)
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arguments import one_of


BUILT_IN = ("numpy", "compiled")  # whose shapes are tested here


class Kernel(NamedTuple):
    """One row: `serves`, of the same arguments, says whether `function` takes the call."""

    family: str
    function: Callable[..., np.ndarray]
    serves: Callable[..., bool] | None


kernels: dict[str, list[Kernel]] = {operation: [] for operation in (
    "conv2d", "input_adjoint", "weight_adjoint", "averages", "averages_adjoint",
    "maxima", "maxima_scatter", "maxima_gather", "maxima_indices")}


SHAPES: dict[str, Callable[..., tuple[int, ...]]] = {  # of the results
    "conv2d": lambda x, w, b, geometry: (len(x), len(w), *geometry.out),
    "input_adjoint": lambda g, w, b, geometry: (len(g), w.shape[1] * geometry.groups, *geometry.size),
    "weight_adjoint": lambda g, x, geometry: (g.shape[1], x.shape[1] // geometry.groups, *geometry.kernel),
    "averages": lambda x, divisor, geometry: (*x.shape[:2], *geometry.out),
    "averages_adjoint": lambda g, divisor, geometry: (*g.shape[:2], *geometry.size),
    "maxima": lambda x, geometry: (*x.shape[:2], *geometry.out),
    "maxima_scatter": lambda g, x, y, geometry: x.shape,
    "maxima_gather": lambda u, x, y, geometry: y.shape,
    "maxima_indices": lambda x, y, geometry: y.shape,
}


def register(family: str, operation: str, function: Callable[..., np.ndarray],
             serves: Callable[..., bool] | None = None) -> None:
    """Let `function` take the calls of an operation that it serves (default: all).

    Raises:
        ValueError: for an operation that is none of those above.
    """
    one_of(operation, "register", "operation", list(kernels))
    kernels[operation].insert(0, Kernel(family, function, serves))


def unregister(family: str) -> None:
    """Take all functions of a family out of the table."""
    for operation, rows in kernels.items():
        kernels[operation] = [row for row in rows if row.family != family]


def run(operation: str, *call: Any) -> np.ndarray:
    """The operation, by the first kernel that serves this call.

    Raises:
        LookupError: if none does.

    Example:
        >>> register("mine", "maxima_gather", lambda u, x, y, g: y + u, lambda u, x, y, g: u.ndim == 0)
        >>> int(run("maxima_gather", np.array(2), np.array(1), np.array(3), None))
        5
        >>> unregister("mine")
    """
    for kernel in kernels.get(operation, ()):
        if kernel.serves is None or kernel.serves(*call):
            try:
                value = kernel.function(*call)
                if kernel.family not in BUILT_IN and np.shape(value) != (shape := SHAPES[operation](*call)):
                    raise ValueError(f"{operation}: a result of shape {np.shape(value)}, expects {shape}")
                return value
            except Exception as e:
                e.add_note(f"in the kernel of family {kernel.family!r} for {operation}")
                raise
    shapes = [np.shape(a) if isinstance(a, np.ndarray) else a for a in call]
    raise LookupError(f"no kernel is registered that serves this call of {operation}: {shapes}")
