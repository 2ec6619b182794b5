"""Kernels in machine code, made by LLVM for this CPU: the family `compiled` (extra `fast`).

A reader begins with `ir.py` (the language in which kernels are written), then reads `pool.py` and `conv.py`;
`plan.py` and `family.py` lead from the arrays of a call to them, `machine.py` to the CPU. None of it, nor
LLVM, is loaded before the first call that is worth it.
"""
import functools
import importlib
import importlib.util
import math
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..norm import alike
from ..table import register, unregister

CONVOLUTION_WORTH = 1 << 16  # products; for fewer, NumPy takes about as long, and no kernel has to be made
POOLING_WORTH = 1 << 10      # numbers
NUMBERS_WORTH = 1 << 14       # of an elementwise op or a sum
MATRICES_WORTH = 1 << 18      # products
ENTRIES_WORTH = 1 << 12       # that are overwritten or normalised
TAPS = 64                    # of a window that is pooled: all are written out
PHASES = 16                  # of an input adjoint: each is written out
KNOWN = frozenset(map(np.dtype, (np.float32, np.float64)))


@functools.cache
def _here() -> bool:
    """Whether LLVM can be loaded: if not, NumPy computes, and a warning says why."""
    try:
        _module("machine").target()
        _module("arrays").check()
        return True
    except Exception as e:  # whatever a library that is broken raises
        unregister("compiled")
        warnings.warn(f"kernels: no machine code can be made here, numpy computes: {e}", RuntimeWarning,
                      stacklevel=2)
        return False


@functools.cache
def _module(name: str) -> types.ModuleType:
    return importlib.import_module(f".{name}", __name__)


def description() -> str | None:
    """By what machine code is made here, for which CPU, and where it is kept; None if it cannot be made."""
    if not HERE or not _here():
        return None
    text: str = _module("machine").description()
    return text


def _late(module: str, function: str, *first: str) -> Callable[..., np.ndarray]:
    """The function of a module of this folder, which is imported when it is first called."""
    return lambda *call: getattr(_module(module), function)(*first, *call)


def _known(*arrays: np.ndarray) -> bool:
    """Whether these are numbers that LLVM knows, all of one kind, something of each."""
    kind = arrays[0].dtype
    for a in arrays:
        if a.dtype is not kind and a.dtype != kind or not a.size:
            return False
    return kind in KNOWN and _here()


def _convolution(x: np.ndarray, w: np.ndarray, *rest: Any) -> bool:
    """Of `conv2d`, of the input adjoint (g, w, b, geometry), and of the weight adjoint (g, x, geometry)."""
    return math.prod(rest[-1].stride) <= PHASES and all(rest[-1].size) and _known(
        x, w, *[a for a in rest if isinstance(a, np.ndarray)])


def _pooling(x: np.ndarray, *rest: Any) -> bool:
    return math.prod(rest[-1].kernel) <= TAPS and _known(x, *[a for a in rest[:-1] if a.ndim == 4])


def _worth_products(x: np.ndarray, w: np.ndarray, b: Any, geometry: Any) -> bool:
    return len(x) * math.prod(geometry.out) * w.size >= CONVOLUTION_WORTH


def _worth_sums(g: np.ndarray, x: np.ndarray, geometry: Any) -> bool:
    weights = x.shape[1] // geometry.groups * math.prod(geometry.kernel)
    return g.size * weights >= CONVOLUTION_WORTH


def _worth_pooling(x: np.ndarray, *rest: Any) -> bool:
    """Where channels come last in memory, as kernels need them: a copy would take longer than the rest."""
    return x.strides[1] == x.itemsize and x.size >= POOLING_WORTH


def _of_matrices(x: np.ndarray, y: np.ndarray, *b: np.ndarray | None) -> bool:
    """Of one kind and aligned: strides are counted in numbers."""
    arrays = [x, y, *[a for a in b if a is not None]]
    return _known(*arrays) and all([
        a.flags.aligned and not any([s % a.itemsize for s in a.strides]) for a in arrays])


def _one_run(*call: Any) -> bool:
    arrays = [a for a in call if isinstance(a, np.ndarray)]
    return _known(*arrays) and bool(_module("arrays").one_run(*arrays))


def _along_a_row(*call: Any) -> bool:
    *arrays, axis = call
    return arrays[0].strides[axis] == arrays[0].itemsize and _one_run(*arrays)


def _worth_numbers(x: np.ndarray, *rest: Any) -> bool:
    return x.size >= NUMBERS_WORTH


def _worth_entries(x: np.ndarray, *rest: Any) -> bool:
    return x.size >= ENTRIES_WORTH


def _overwriting(*call: Any) -> bool:
    return _here() and bool(_module("overwrite").serves(*call))


def _normalizing(x: np.ndarray, *call: Any) -> bool:
    return _known(x) and bool(_module("norm").serves(x, *call))


HERE = importlib.util.find_spec("llvmlite") is not None
if HERE:
    for operation in ("conv2d", "input_adjoint"):
        register("compiled", operation, _late("family", operation), _convolution, _worth_products)
    register("compiled", "weight_adjoint", _late("family", "weight_adjoint"), _convolution, _worth_sums)
    for operation in ("maxima", "averages", "averages_adjoint"):
        register("compiled", operation, _late("family", operation), _pooling, _worth_pooling)
    for operation in ("maxima_scatter", "maxima_gather"):
        register("compiled", operation, _late("family", operation), _pooling,
                 lambda g, x, *rest: _worth_pooling(x))
    for operation in ("relu", "relu_vjp", "leaky_relu", "leaky_relu_vjp", "hardtanh", "hardtanh_vjp",
                      "sigmoid"):
        register("compiled", operation, _late("pointwise", "computed", operation), _one_run, _worth_numbers)
    register("compiled", "log_softmax", _late("softmax", "forward"), _along_a_row, _worth_numbers)
    register("compiled", "log_softmax_vjp", _late("softmax", "adjoint"), _along_a_row, _worth_numbers)
    register("compiled", "matmul", _late("product", "product"), _of_matrices,
             lambda x, y: x.size * y.shape[1] >= MATRICES_WORTH)
    register("compiled", "linear", _late("product", "linear"), _of_matrices,
             lambda x, w, b: x.size * len(w) >= MATRICES_WORTH)
    register("compiled", "slabs", _late("sums", "slabs"), _known, _worth_numbers)
    register("compiled", "overwrite", _late("overwrite", "overwrite"), _overwriting,
             lambda rule, rows, *rest: sum([row[0].size for row in rows]) >= ENTRIES_WORTH)
    register("compiled", "normalize", _late("norm", "normalize"),
             lambda x, w, b, axes, eps: _normalizing(x, axes, w.shape, b.shape), _worth_entries)
    register("compiled", "normalize_adjoint", _late("norm", "normalize_adjoint"),
             lambda g, x, w, axes, eps, shape: _normalizing(x, axes, w.shape, shape) and g.dtype == x.dtype,
             _worth_entries)
    register("compiled", "scale", _late("norm", "scale"), lambda x, a, b: _normalizing(
        x, alike(range(x.ndim), x.ndim, a.shape, b.shape), a.shape, b.shape), _worth_entries)
