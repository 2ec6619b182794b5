"""Tensors from data, filled with a value, counted, or random.

float32 unless said otherwise. Random ones take `rng = np.random.default_rng(seed)`: no hidden state. Imports
the record and the checks of arguments.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .core import as_array
from .tensor import Tensor, share
from .arguments import checked_dtype, generator, is_whole, number


def finished(array: np.ndarray, requires_grad: bool) -> Tensor:
    """A leaf on an array of our own."""
    t = share(array)
    t.requires_grad = requires_grad
    return t


def checked_shape(op: str, *shape: Any) -> tuple[int, ...]:
    """(2, 3) of `op(2, 3)` and of `op((2, 3))`."""
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    for n in sizes:
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise TypeError(f"{op}: a shape is made of whole numbers, got {n!r} "
                            f"({type(n).__name__}); write {op}(2, 3) or {op}((2, 3)), and all other "
                            f"arguments by keyword")
        if n < 0:
            raise ValueError(f"{op}: a shape has no negative sizes, got {sizes}")
    return tuple(map(int, sizes))


def checked_range(op: str, kind: np.dtype, *values: Any) -> None:
    """Raise unless integers of the dtype can hold the values, which else would wrap around."""
    if kind.kind in "iu":
        info = np.iinfo(kind)
        if not all(info.min <= v <= info.max for v in values):
            raise ValueError(f"{op}: numbers from {min(values)} to {max(values)} do not fit into {kind} "
                             f"({info.min} to {info.max}); give a wider dtype")


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`.

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
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy: expects a NumPy array, got {type(array).__name__}; use "
                        f"tg.tensor, which copies")
    t = share(as_array(array, copy=False, what="from_numpy"))
    t.memory.expose(array)
    t.requires_grad = requires_grad
    return t


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


def full(shape: Any, value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with the same value everywhere; the dtype is that of `tensor(value)`.

    Example:
        >>> full((2,), 7.0).data.tolist()
        [7.0, 7.0]
    """
    value = _value(value, "full", dtype)
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


def full_like(t: Any, value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """One value everywhere, in the shape and, unless given, dtype of a tensor or array.

    Example:
        >>> full_like(zeros(2), 7).data.tolist()
        [7.0, 7.0]
    """
    like = as_array(t, copy=False, what="full_like")
    kind = like.dtype if dtype is None else checked_dtype("full_like", dtype)
    value = _value(value, "full_like", None)
    return finished(np.full_like(like, value, dtype=kind), requires_grad)


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
    whole = all(isinstance(v, int | np.integer) for v in (start, stop, step))
    kind = checked_dtype("arange", (np.int64 if whole else np.float32) if dtype is None else dtype)
    numbers = np.arange(start, stop, step)
    checked_range("arange", kind, *numbers[[0, -1]] if numbers.size else ())
    return finished(numbers.astype(kind), requires_grad)


def linspace(start: float, stop: float, num: int = 50, dtype: Any = np.float32,
             requires_grad: bool = False) -> Tensor:
    """`num` evenly spaced values from start to stop, both included.

    Example:
        >>> linspace(0, 1, 3).data.tolist()
        [0.0, 0.5, 1.0]
    """
    (num,) = checked_shape("linspace", (num,))
    start, stop = number(start, "linspace", "start"), number(stop, "linspace", "stop")
    return finished(np.linspace(start, stop, num, dtype=checked_dtype("linspace", dtype)), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = np.float32,
        requires_grad: bool = False) -> Tensor:
    """The identity matrix, n x n or n x m.

    Example:
        >>> eye(2).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    n, m = checked_shape("eye", n, n if m is None else m)
    return finished(np.eye(n, m, dtype=checked_dtype("eye", dtype)), requires_grad)


# ----- random tensors: the generator is an argument, there is no hidden state -----

def _draw(draw: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Generators draw float32 and float64 themselves."""
    native = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
    return draw(shape, dtype=native).astype(dtype, copy=False)


def randn(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
          requires_grad: bool = False) -> Tensor:
    """Samples of the standard normal distribution.

    Raises:
        TypeError: if `rng` is not a NumPy generator; it must be given.

    Example:
        >>> randn(2, 3, rng=np.random.default_rng(0)).shape
        (2, 3)
    """
    draw, kind = generator(rng, "randn").standard_normal, checked_dtype("randn", dtype, "f")
    return finished(_draw(draw, checked_shape("randn", *shape), kind), requires_grad)


def rand(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
         requires_grad: bool = False) -> Tensor:
    """Samples of the uniform distribution on [0, 1). `rng` as for `randn`.

    Example:
        >>> rand(2, rng=np.random.default_rng(0)).shape
        (2,)
    """
    draw, kind = generator(rng, "rand").random, checked_dtype("rand", dtype, "f")
    return finished(_draw(draw, checked_shape("rand", *shape), kind), requires_grad)


def normal(mean: float, std: float, shape: Any, rng: np.random.Generator | None = None,
           dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Samples of the normal distribution. `rng` as for `randn`.

    Raises:
        ValueError: if std is negative.

    Example:
        >>> normal(5.0, 0.0, (2,), rng=np.random.default_rng(0)).data.tolist()
        [5.0, 5.0]
    """
    mean, std = number(mean, "normal", "mean"), number(std, "normal", "std")
    if not std >= 0:
        raise ValueError(f"normal: std must not be negative, got {std}")
    draw, kind = generator(rng, "normal").standard_normal, checked_dtype("normal", dtype, "f")
    array = _draw(draw, checked_shape("normal", shape), kind)
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
    draw, kind = generator(rng, "uniform").random, checked_dtype("uniform", dtype, "f")
    array = _draw(draw, checked_shape("uniform", shape), kind)
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
    draw = generator(rng, "randint").integers
    if not is_whole(low) or not is_whole(high):
        raise TypeError(f"randint: low and high must be whole numbers, got {low!r} and {high!r}")
    if low >= high:
        raise ValueError(f"randint: low must be below high, got {low} and {high}")
    kind = checked_dtype("randint", dtype)
    checked_range("randint", kind, low, high - 1)
    array = draw(low, high, checked_shape("randint", shape))
    return finished(np.asarray(array).astype(kind), False)


def permutation(n: int, rng: np.random.Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order, int64. `rng` as for `randn`.

    Example:
        >>> sorted(permutation(3, rng=np.random.default_rng(0)).data.tolist())
        [0, 1, 2]
    """
    if not is_whole(n) or n < 0:
        raise TypeError(f"permutation: n must be a whole number of at least 0, got {n!r}; shuffle data by "
                        f"x[permutation(len(x), rng=rng)]")
    return finished(generator(rng, "permutation").permutation(n), False)
