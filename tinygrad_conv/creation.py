"""Tensors from data, filled with a value, counted, or random.

float32 unless said otherwise. Random ones take `rng = np.random.default_rng(seed)`: no hidden state.
"""
import math
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .arguments import checked_dtype, generator, instance, is_whole, number, whole
from .core import as_array
from .state import is_recording
from .tensor import Tensor, share


def finished(array: np.ndarray, requires_grad: bool) -> Tensor:
    """A leaf on an array of our own."""
    return share(array).requires_grad_(requires_grad)


def checked_shape(op: str, *shape: Any) -> tuple[int, ...]:
    """(2, 3) of `op(2, 3)` and of `op((2, 3))`."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    for n in sizes:
        if not is_whole(n):
            raise TypeError(f"{op}: a shape is made of whole numbers, got {n!r} "
                            f"({type(n).__name__}); write {op}(2, 3) or {op}((2, 3)), and all other "
                            f"arguments by keyword")
    checked = tuple([whole(n, op, "a size in shape", 0) for n in sizes])
    if math.prod(checked) > sys.maxsize // 8:
        raise MemoryError(f"{op}: no memory holds a tensor of shape {checked}")
    return checked


def checked_range(op: str, kind: np.dtype, *values: Any) -> None:
    """Raise unless integers of the dtype can hold the values, which else would wrap around."""
    if kind.kind in "iu":
        info = np.iinfo(kind)
        if not all(info.min <= v <= info.max for v in values):
            raise ValueError(f"{op}: numbers from {min(values)} to {max(values)} do not fit into {kind} "
                             f"({info.min} to {info.max}); give a wider dtype")


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`, outside any graph: a warning says so where a gradient would be lost.

    Args:
        data: a number, nested lists, an array or a tensor. Python floats become float32, arrays
            keep their dtype.
        dtype: the dtype to convert to.
        requires_grad: whether `backward()` fills `.grad`; floating point only.

    Raises:
        TypeError: for data that is not real numbers, or `requires_grad` on a non-float.

    Example:
        >>> tensor([[1, 2], [3, 4]], dtype=np.float64).shape
        (2, 2)
    """
    kind = None if dtype is None else checked_dtype("tensor", dtype)
    if isinstance(data, Tensor) and data.node is not None and is_recording():
        warnings.warn(f"tensor: a copy of the result of {data.node.primitive.name}, through which no "
                      f"gradient flows; use the result itself, or t.detach() if that is meant", stacklevel=3)
    return finished(as_array(data, copy=True, dtype=kind), requires_grad)


def from_numpy(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A tensor that shares the memory of `array`: each sees the other's changes.

    A change between an operation and its `backward()` is noticed by a checksum, which costs time:
    prefer `tensor` for what is often changed or differentiated.

    Raises:
        TypeError: if it is not an array of real numbers.

    Example:
        >>> a = np.array([1.0, 2.0])
        >>> t = from_numpy(a)
        >>> a[0] = 5
        >>> t.data.tolist()
        [5.0, 2.0]
    """
    instance(array, np.ndarray, "from_numpy", "a NumPy array", "; use tg.tensor, which copies")
    t = share(as_array(array, copy=False, what="from_numpy"))
    t.memory.expose(array)
    return t.requires_grad_(requires_grad)


def from_dlpack(x: Any) -> Tensor:
    """A tensor on the same memory as another library's array on the CPU, as `from_numpy` makes of NumPy's.

    Raises:
        TypeError, BufferError: if it has no `__dlpack__`, lies on another device, or requires a gradient.

    Example:
        >>> from_dlpack(np.ones(3)).shape
        (3,)
    """
    try:
        array = np.from_dlpack(x)
    except AttributeError:
        raise TypeError(f"from_dlpack: expects an array with __dlpack__, got {type(x).__name__}") from None
    return from_numpy(array)


def zeros(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros; `zeros(2, 3)` and `zeros((2, 3))` are the same.

    Example:
        >>> zeros(2).data.tolist()
        [0.0, 0.0]
    """
    return finished(np.zeros(checked_shape("zeros", *shape), checked_dtype("zeros", dtype)), requires_grad)


def ones(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones; `ones(2, 3)` and `ones((2, 3))` are the same.

    Example:
        >>> ones(2).data.tolist()
        [1.0, 1.0]
    """
    return finished(np.ones(checked_shape("ones", *shape), checked_dtype("ones", dtype)), requires_grad)


def _value(value: Any, op: str, dtype: Any) -> np.ndarray:
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{op}: the gradient of the value, a tensor, would be lost; write value.item(), or "
                        f"multiply ones by it")
    return as_array(value, False, None if dtype is None else checked_dtype(op, dtype), (), f"{op} value")


def full(shape: Any, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with the same value everywhere; the dtype is that of `tensor(fill_value)`.

    Example:
        >>> full((2,), 7.0).data.tolist()
        [7.0, 7.0]
    """
    value = _value(fill_value, "full", dtype)
    return finished(np.full(checked_shape("full", shape), value, value.dtype), requires_grad)


def zeros_like(t: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of the shape and, unless given, dtype of a tensor or array.

    Example:
        >>> zeros_like(ones(2)).data.tolist()
        [0.0, 0.0]
    """
    return full_like(t, 0, dtype, requires_grad)


def ones_like(t: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of the shape and, unless given, dtype of a tensor or array.

    Example:
        >>> ones_like(zeros(2)).data.tolist()
        [1.0, 1.0]
    """
    return full_like(t, 1, dtype, requires_grad)


def full_like(t: Any, fill_value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, in the shape and, unless given, dtype of a tensor or array.

    Example:
        >>> full_like(zeros(2), 7).data.tolist()
        [7.0, 7.0]
    """
    like = as_array(t, copy=False, what="full_like")
    kind = like.dtype if dtype is None else checked_dtype("full_like", dtype)
    return finished(np.full_like(like, _value(fill_value, "full_like", kind), kind), requires_grad)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below stop; `arange(n)` counts from 0. int64 or float32.

    Raises:
        ValueError: if step is 0.

    Example:
        >>> arange(3).data.tolist()
        [0, 1, 2]
    """
    start, stop = (0, start) if stop is None else (start, stop)
    for name, value in (("start", start), ("stop", stop), ("step", step)):
        number(value, "arange", name)
    if step == 0:
        raise ValueError("arange: step must not be 0")
    usual = np.int64 if all(map(is_whole, (start, stop, step))) else np.float32
    kind = checked_dtype("arange", usual if dtype is None else dtype)
    numbers = np.arange(start, stop, step)
    checked_range("arange", kind, *numbers[[0, -1]] if numbers.size else ())
    return finished(numbers.astype(kind), requires_grad)


def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True, dtype: Any = np.float32,
             requires_grad: bool = False) -> Tensor:
    """`num` evenly spaced values from start to stop, which is left out if `endpoint` is False.

    Example:
        >>> linspace(0, 1, 3).data.tolist()
        [0.0, 0.5, 1.0]
    """
    num, = checked_shape("linspace", num)
    start, stop = number(start, "linspace", "start"), number(stop, "linspace", "stop")
    instance(endpoint, bool | np.bool, "linspace", "True or False as endpoint")
    kind = checked_dtype("linspace", dtype)
    return finished(np.linspace(start, stop, num, endpoint, dtype=kind), requires_grad)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = np.float32,
        requires_grad: bool = False) -> Tensor:
    """The identity matrix, n x n or n x m; its ones are moved k places to the right.

    Example:
        >>> eye(2).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    n, m = checked_shape("eye", n, n if m is None else m)
    return finished(np.eye(n, m, whole(k, "eye", "k"), dtype=checked_dtype("eye", dtype)), requires_grad)


# ----- random tensors: the generator is an argument, there is no hidden state -----

def one_hot(labels: Any, num_classes: int = -1) -> Tensor:
    """A row of zeros with a 1 at its number for each label: (...) to (..., num_classes), integers.

    Args:
        labels: integers from 0 on, any shape.
        num_classes: -1: as many as the largest label needs.

    Raises:
        TypeError, ValueError: if labels are not integers, or outside [0, num_classes).

    Example:
        >>> one_hot([0, 2], 3).data.tolist()
        [[1, 0, 0], [0, 0, 1]]
    """
    labels, classes = as_array(labels, copy=False), whole(num_classes, "one_hot", "num_classes", -1)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"one_hot: labels must be integers, got {labels.dtype}")
    if not labels.size and classes < 1:
        raise ValueError("one_hot: of no labels the number of classes is not known; give num_classes")
    classes = int(labels.max()) + 1 if classes == -1 else classes
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"one_hot: labels are from {labels.min()} to {labels.max()}, but must be in [0, "
                         f"{classes})")
    return share((labels[..., None] == np.arange(classes)).astype(np.int64))


def _draw(op: str, method: Callable[..., Any], shape: tuple[Any, ...], rng: Any, dtype: Any) -> np.ndarray:
    """What a method of the generator draws; it knows float32 and float64 itself."""
    kind = checked_dtype(op, dtype, "f")
    native = kind if kind in (np.float32, np.float64) else np.float32
    return method(generator(rng, op), checked_shape(op, *shape), dtype=native).astype(kind, copy=False)


def randn(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
          requires_grad: bool = False) -> Tensor:
    """Samples of the standard normal distribution.

    Raises:
        TypeError: if `rng` is not a NumPy generator; it must be given.

    Example:
        >>> randn(2, 3, rng=np.random.default_rng(0)).shape
        (2, 3)
    """
    return finished(_draw("randn", np.random.Generator.standard_normal, shape, rng, dtype), requires_grad)


def rand(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
         requires_grad: bool = False) -> Tensor:
    """Samples of the uniform distribution on [0, 1). `rng` as for `randn`.

    Example:
        >>> rand(2, rng=np.random.default_rng(0)).shape
        (2,)
    """
    return finished(_draw("rand", np.random.Generator.random, shape, rng, dtype), requires_grad)


def normal(mean: float, std: float, shape: Any, rng: np.random.Generator | None = None,
           dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Samples of the normal distribution. `rng` as for `randn`.

    Raises:
        ValueError: if std is negative.

    Example:
        >>> normal(5.0, 0.0, (2,), rng=np.random.default_rng(0)).data.tolist()
        [5.0, 5.0]
    """
    mean, std = number(mean, "normal", "mean"), number(std, "normal", "std", 0)
    array = _draw("normal", np.random.Generator.standard_normal, (shape,), rng, dtype)
    return finished(np.asarray(array * std + mean), requires_grad)


def uniform(low: float, high: float, shape: Any, rng: np.random.Generator | None = None,
            dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Samples of the uniform distribution between low and high. `rng` as for `randn`.

    Raises:
        ValueError: if low exceeds high.

    Example:
        >>> uniform(2.0, 2.0, (2,), rng=np.random.default_rng(0)).data.tolist()
        [2.0, 2.0]
    """
    low, high = number(low, "uniform", "low"), number(high, "uniform", "high")
    if not low <= high:
        raise ValueError(f"uniform: low must not exceed high, got {low:g} and {high:g}")
    array = _draw("uniform", np.random.Generator.random, (shape,), rng, dtype)
    return finished(np.asarray(array * (high - low) + low), requires_grad)


def randint(low: int, high: int, shape: Any, rng: np.random.Generator | None = None,
            dtype: Any = np.int64) -> Tensor:
    """Whole numbers from low up to, not including, high. `rng` as for `randn`.

    Raises:
        ValueError: if there is no number between low and high.

    Example:
        >>> randint(3, 4, (2,), rng=np.random.default_rng(0)).data.tolist()
        [3, 3]
    """
    rng = generator(rng, "randint")
    low, high = whole(low, "randint", "low"), whole(high, "randint", "high")
    if low >= high:
        raise ValueError(f"randint: low must be below high, got {low} and {high}")
    kind = checked_dtype("randint", dtype)
    checked_range("randint", kind, low, high - 1)
    return finished(np.asarray(rng.integers(low, high, checked_shape("randint", shape)), kind), False)


def permutation(n: int, rng: np.random.Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order, int64: `x[permutation(len(x), rng)]` shuffles x.

    `rng` as for `randn`.

    Example:
        >>> sorted(permutation(3, rng=np.random.default_rng(0)).data.tolist())
        [0, 1, 2]
    """
    return finished(generator(rng, "permutation").permutation(whole(n, "permutation", "n", 0)), False)
