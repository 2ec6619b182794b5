"""Which kernel serves a call: one table of functions on arrays, by operation.

A family (`numpy` here; compiled ones elsewhere) registers its functions, and touches no other file. The one
registered last is asked first. Operations and their arguments, x (N, C, H, W), with a `Geometry`:

    conv2d(x, w, b, geometry)              maxima(x, geometry)
    input_adjoint(g, w, b, geometry)       maxima_scatter(g, x, y, geometry)
    weight_adjoint(g, x, geometry)         maxima_gather(u, x, y, geometry)
    averages(x, divisor, geometry)         maxima_indices(x, y, geometry)
    averages_adjoint(g, divisor, geometry)
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Kernel(NamedTuple):
    """One row: `serves`, of the same arguments, says whether `function` takes the call."""

    family: str
    function: Callable[..., np.ndarray]
    serves: Callable[..., bool] | None


kernels: dict[str, list[Kernel]] = {}


def register(family: str, operation: str, function: Callable[..., np.ndarray],
             serves: Callable[..., bool] | None = None) -> None:
    """Let `function` take the calls of an operation that it serves (default: all)."""
    kernels[operation] = [Kernel(family, function, serves), *kernels.get(operation, [])]


def unregister(family: str) -> None:
    """Take all functions of a family out of the table."""
    for operation, rows in kernels.items():
        kernels[operation] = [row for row in rows if row.family != family]


def run(operation: str, *call: Any) -> np.ndarray:
    """The operation, by the first kernel that serves this call.

    Raises:
        LookupError: if none does.

    Example:
        >>> register("mine", "conv2d", lambda x, w, b, geometry: x * w, lambda x, w, b, geometry: x.ndim == 0)
        >>> int(run("conv2d", np.array(2), np.array(3), None, None))
        6
        >>> unregister("mine")
    """
    for kernel in kernels.get(operation, ()):
        if kernel.serves is None or kernel.serves(*call):
            return kernel.function(*call)
    raise LookupError(f"no kernel is registered that serves this call of {operation}")
