"""Which kernel serves a call: one table of functions on arrays, by operation.

A family of kernels (`numpy` and `compiled` come with this package) registers its functions, and touches no
other file. The one registered last is asked first; `use_kernels` says which are. Inputs are read-only,
of any strides, of float16, float32 or float64; b may be None; the result is an array of the inputs' dtype,
or a tuple of them.
Operations and their arguments, x (N, C, H, W), with a `Geometry`:

    conv2d(x, w, b, geometry)              maxima(x, geometry)
    input_adjoint(g, w, b, geometry)       maxima_scatter(g, x, y, geometry)
    weight_adjoint(g, x, geometry)         maxima_gather(u, x, y, geometry)
    averages(x, divisor, geometry)         maxima_indices(x, y, geometry)
    averages_adjoint(g, divisor, geometry)

    relu(x)    relu_vjp(g, ans)            of any shape
    leaky_relu(x, slope)                   leaky_relu_vjp(g, x, slope)
    hardtanh(x, least, most)               hardtanh_vjp(g, x, least, most)
    sigmoid(x)
    log_softmax(x, axis)    log_softmax_vjp(g, ans, axis)
    matmul(x, y)    linear(x, w, b)        of matrices; x w^T + b
    slabs(x)                               (groups, rows, numbers), dense: the sums over the rows
    overwrite(rule, rows, numbers, written)    see overwrite.py; returns nothing
    normalize(x, w, b, axes, eps)          y, mean, var
    normalize_adjoint(g, x, w, axes, eps, shape)    dx; dw and db, of `shape`
    scale(x, a, b)                         x a + b, broadcast against x
"""
import os
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from typing import Any, NamedTuple

import numpy as np

from ..arguments import instance, one_of

BUILT_IN = ("numpy", "compiled")    # whose shapes are tested here
VARIABLE = "TINYGRAD_CONV_KERNELS"  # the environment's variable with the family to begin with
EXTRAS = {"compiled": "; it needs the extra: pip install 'tinygrad_conv[fast]'"}


class Kernel(NamedTuple):
    """One row: whether `function` can take a call (`serves`), and should if "auto" is chosen (`worth`)."""

    family: str
    function: Callable[..., np.ndarray]
    serves: Callable[..., bool] | None
    worth: Callable[..., bool] | None


kernels: dict[Any, list[Kernel]] = {operation: [] for operation in (
    "conv2d", "input_adjoint", "weight_adjoint", "averages", "averages_adjoint",
    "maxima", "maxima_scatter", "maxima_gather", "maxima_indices", "relu", "relu_vjp",
    "leaky_relu", "leaky_relu_vjp", "hardtanh", "hardtanh_vjp", "sigmoid",
    "log_softmax", "log_softmax_vjp", "slabs",
    "matmul", "linear", "overwrite", "normalize", "normalize_adjoint", "scale")}  # and ops with `defkernel`


SHAPES: dict[str, Callable[..., Any]] = {  # of the results; a list if there are several
    "conv2d": lambda x, w, b, geometry: (len(x), len(w), *geometry.out),
    "input_adjoint": lambda g, w, b, geometry: (len(g), w.shape[1] * geometry.groups, *geometry.size),
    "weight_adjoint": lambda g, x, geometry: (g.shape[1], x.shape[1] // geometry.groups, *geometry.kernel),
    "averages": lambda x, divisor, geometry: (*x.shape[:2], *geometry.out),
    "averages_adjoint": lambda g, divisor, geometry: (*g.shape[:2], *geometry.size),
    "maxima": lambda x, geometry: (*x.shape[:2], *geometry.out),
    "maxima_scatter": lambda g, x, y, geometry: x.shape,
    "maxima_gather": lambda u, x, y, geometry: y.shape,
    "maxima_indices": lambda x, y, geometry: y.shape,
    "relu": lambda x: x.shape,
    "relu_vjp": lambda g, ans: np.broadcast_shapes(g.shape, ans.shape),
    **{name: lambda x, *numbers: x.shape for name in ("leaky_relu", "hardtanh", "sigmoid")},
    **{name: lambda g, x, *numbers: np.broadcast_shapes(g.shape, x.shape)
       for name in ("leaky_relu_vjp", "hardtanh_vjp")},
    "log_softmax": lambda x, axis: x.shape,
    "log_softmax_vjp": lambda g, ans, axis: np.broadcast_shapes(g.shape, ans.shape),
    "slabs": lambda x: (len(x), x.shape[2]),
    "matmul": lambda x, y: (len(x), y.shape[1]),
    "linear": lambda x, w, b: (len(x), len(w)),
    "overwrite": lambda *call: (),
    "normalize": lambda x, w, b, axes, eps: [
        x.shape, *[tuple([1 if i in axes else n for i, n in enumerate(x.shape)])] * 2],
    "normalize_adjoint": lambda g, x, w, axes, eps, shape: [x.shape, shape, shape],
    "scale": lambda x, a, b: x.shape,
}


class Unserved(Exception):
    """What a kernel raises that, after all, does not take a call: the next one is asked."""


def register(family: str, operation: str, function: Callable[..., np.ndarray],
             serves: Callable[..., bool] | None = None, worth: Callable[..., bool] | None = None) -> None:
    """Let `function` take the calls of an operation that it serves, and that are worth it (default: all).

    `serves` and `worth` have the same arguments as `function`.

    Raises:
        ValueError: for an operation that is none of those above.
    """
    one_of(operation, "register", "operation", list(SHAPES))
    kernels[operation].insert(0, Kernel(family, function, serves, worth))


def unregister(family: str) -> None:
    """Take all functions of a family out of the table."""
    for operation, rows in kernels.items():
        kernels[operation] = [row for row in rows if row.family != family]


def families() -> list[str]:
    """The families that are registered."""
    return list(dict.fromkeys(row.family for rows in kernels.values() for row in rows))


# While a profile is open: calls the kernel, and notes its family and time
watched: Callable[[Any, Kernel, tuple[Any, ...], dict[str, Any]], np.ndarray] | None = None

making: list[float] = []  # seconds that each kernel of this process took to be made, or read from disk

_process: list["Choice"] = []  # of the whole process; the last one holds
_here: ContextVar[str | None] = ContextVar("kernels", default=None)


class Choice:
    """What `use_kernels` returns: as a context manager, the choice of one thread or task inside the block."""

    def __init__(self, family: str) -> None:
        self.family = family
        self.tokens: ContextVar[tuple[Token[str | None], ...]] = ContextVar("tokens", default=())

    def __enter__(self) -> None:
        with suppress(ValueError):  # entered before
            _process.remove(self)
        self.tokens.set((*self.tokens.get(), _here.set(self.family)))

    def __exit__(self, *exception: Any) -> None:
        *rest, token = self.tokens.get() or [None]
        if token is None:
            raise RuntimeError("use_kernels: this block was left that was not entered")
        self.tokens.set(tuple(rest))
        _here.reset(token)


def use_kernels(family: str) -> Choice:
    """Let a family of kernels compute from now on: "numpy", "compiled" or, as at first, "auto".

    A family that does not serve a call (half precision, say) leaves it to "numpy". "auto" takes the fastest
    for each call: large ones go to "compiled", if the extra `fast` is installed. Results of one family are
    the same in every run with as many threads; those of two differ by rounding. The variable
    TINYGRAD_CONV_KERNELS says what a process begins with.

    Returns:
        a context manager: `with use_kernels("numpy"):` chooses for this thread or task inside the block only.

    Raises:
        ValueError: if there is no such family. ImportError: if it needs an extra.

    Example:
        >>> with use_kernels("numpy"):
        ...     kernels_in_use()
        'numpy'
    """
    choice = Choice(_checked(family, "use_kernels"))
    _process.append(choice)
    return choice


def _checked(family: str, where: str) -> str:
    instance(family, str, where, "the name of a family")
    if family in EXTRAS and family not in families():
        raise ImportError(f"{where}: the family {family!r} is not here{EXTRAS[family]}")
    return one_of(family, where, "family", ["auto", *families()])


def _chosen() -> str:
    """The choice of the thread or task, else of the process.

    That begins with the environment's, read when it is needed: families may be registered after the import.
    """
    if here := _here.get():
        return here
    while not (last := _process[-1:]):  # other threads may choose meanwhile
        _process.insert(0, Choice(_checked(os.environ.get(VARIABLE) or "auto", VARIABLE)))
    return last[0].family


def kernels_in_use() -> str:
    """The family that computes: "numpy", "compiled", or "auto" if each call has the fastest of several.

    Raises:
        ValueError, ImportError: if the variable TINYGRAD_CONV_KERNELS names a family that is not here; the
            first convolution or pooling raises it, too.

    Example:
        >>> with use_kernels("numpy"):
        ...     kernels_in_use()
        'numpy'
    """
    chosen, known = _chosen(), families()
    if chosen == "auto":
        return known[0] if len(known) == 1 else chosen
    return chosen if chosen in known else "numpy"  # where LLVM turned out to be broken


def _shape(value: Any) -> Any:
    """Of a result, or a list of those of several."""
    return [*map(np.shape, value)] if isinstance(value, tuple) else np.shape(value)


def run(operation: Any, *call: Any, **params: Any) -> Any:
    """The operation, by the first kernel of the families in use that serves this call.

    An op of a user's that has kernels of its own is the operation itself, and has parameters.

    Raises:
        LookupError: if none does.

    Example:
        >>> register("mine", "maxima_gather", lambda u, x, y, g: y + u, lambda u, x, y, g: u.ndim == 0)
        >>> int(run("maxima_gather", np.array(2), np.array(1), np.array(3), None))
        5
        >>> unregister("mine")
    """
    family = _chosen()
    for kernel in kernels.get(operation, ()):
        asked = kernel.family == family
        if (asked or kernel.family == "numpy" or family == "auto" and (
                kernel.worth is None or kernel.worth(*call, **params))) and (
                kernel.serves is None or kernel.serves(*call, **params)):
            try:
                watch = watched  # another thread may close its profile now
                value = kernel.function(*call, **params) if watch is None else watch(
                    operation, kernel, call, params)
                if kernel.family not in BUILT_IN and operation in SHAPES and (
                        _shape(value) != (shape := SHAPES[operation](*call))):
                    raise ValueError(f"{operation}: a result of shape {_shape(value)}, expects {shape}")
                return value
            except Unserved:
                continue
            except Exception as e:
                e.add_note(f"in the kernel of family {kernel.family!r} for {operation}")
                raise
    shapes = [np.shape(a) if isinstance(a, np.ndarray) else a for a in call]
    raise LookupError(f"no kernel is registered that serves this call of {operation}: {shapes}")
