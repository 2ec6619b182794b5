"""Kernels in machine code, made by LLVM for this CPU: the family `compiled` (extra `fast`).

A reader begins with `ir.py` (the language in which kernels are written), then reads `pool.py` and `conv.py`;
`plan.py` and `family.py` lead from the arrays of a call to them, `machine.py` to the CPU. Nothing of it, nor LLVM,
is loaded before the first call.
"""
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..table import register

CONVOLUTION_WORTH = 1 << 16  # products; for fewer, NumPy takes about as long, and no kernel has to be made
POOLING_WORTH = 1 << 10      # numbers
TAPS = 64                    # of a window that is pooled: all are written out
PHASES = 16                  # of an input adjoint: each is written out


def _late(operation: str) -> Callable[..., np.ndarray]:
    def function(*call: Any) -> np.ndarray:
        from . import family
        return getattr(family, operation)(*call)
    return function


def _known(*arrays: np.ndarray) -> bool:
    """Whether these are numbers that LLVM knows, all of one kind, something of each."""
    kind = arrays[0].dtype
    return kind in (np.float32, np.float64) and all(a.dtype == kind and a.size for a in arrays)


def _convolution(x: np.ndarray, w: np.ndarray, *rest: Any) -> bool:
    return math.prod(rest[-1].stride) <= PHASES and _known(x, w, *[a for a in rest if isinstance(a, np.ndarray)])


def _products(x: np.ndarray, w: np.ndarray, b: Any, geometry: Any) -> bool:
    return len(x) * math.prod(geometry.out) * w.size >= CONVOLUTION_WORTH


def _pooling(x: np.ndarray, *rest: Any) -> bool:
    """Results have the memory layout of x, which is channels last."""
    return x.strides[1] == x.itemsize and math.prod(rest[-1].kernel) <= TAPS and _known(x, *[a for a in rest[:-1] if a.ndim == 4])


if importlib.util.find_spec("llvmlite"):
    for operation in ("conv2d", "input_adjoint"):
        register("compiled", operation, _late(operation), _convolution, _products)
    register("compiled", "weight_adjoint", _late("weight_adjoint"), _convolution, lambda g, x, geometry:
             g.size * x.shape[1] // geometry.groups * math.prod(geometry.kernel) >= CONVOLUTION_WORTH)
    for operation in ("maxima", "averages", "averages_adjoint"):
        register("compiled", operation, _late(operation), _pooling, lambda x, *rest: x.size >= POOLING_WORTH)
    for operation in ("maxima_scatter", "maxima_gather"):
        register("compiled", operation, _late(operation), lambda g, x, y, geometry: _pooling(x, g, y, geometry),
                 lambda g, x, *rest: x.size >= POOLING_WORTH)
