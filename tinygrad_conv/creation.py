"""Ways to make a tensor: from data, filled, counted, random.

float32 unless said otherwise. Random ones take the generator as an argument, there is no hidden
state: `rng = np.random.default_rng(seed)`. Imports core only.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .core import Tensor, as_array, share


def _finish(array: np.ndarray, requires_grad: bool) -> Tensor:
    t = share(array)
    t.requires_grad = requires_grad
    return t


def _dtype(op: str, dtype: Any, kinds: str = "fiub") -> np.dtype:
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found.kind not in kinds:
        what = "a floating point dtype" if kinds == "f" else "a float, integer or boolean dtype"
        raise TypeError(f"{op}: dtype must be {what}, got {dtype!r}; e.g. dtype=np.float32")
    return found


def _shape(op: str, *shape: Any) -> tuple[int, ...]:
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


def _generator(op: str, rng: Any) -> np.random.Generator:
    if isinstance(rng, np.random.Generator):
        return rng
    seed = rng if isinstance(rng, int | np.integer) else "seed"
    got = "it is missing" if rng is None else f"got {rng!r}"
    raise TypeError(f"{op}: rng must be a np.random.Generator, {got}; make one with "
                    f"rng=np.random.default_rng({seed}) and pass it to every call")


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
    kind = None if dtype is None else _dtype("tensor", dtype)
    return _finish(as_array(data, copy=True, dtype=kind), requires_grad)


def from_numpy(array: np.ndarray, requires_grad: bool = False) -> Tensor:
    """A tensor on the memory of `array`, without a copy: each sees the other's changes.

    A change between an operation and its `backward()` is noticed by a checksum, which costs time:
    prefer `tensor` for what is changed or differentiated often.

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
    t = share(as_array(array, copy=False, what="from_numpy").view())
    t.memory.exposed = True
    t.requires_grad = requires_grad
    return t


def zeros(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros; `zeros(2, 3)` and `zeros((2, 3))` are the same.

    Example:
        >>> zeros(2).data.tolist()
        [0.0, 0.0]
    """
    return _finish(np.zeros(_shape("zeros", *shape), _dtype("zeros", dtype)), requires_grad)


def ones(*shape: Any, dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """A tensor of ones; `ones(2, 3)` and `ones((2, 3))` are the same.

    Example:
        >>> ones(2).data.tolist()
        [1.0, 1.0]
    """
    return _finish(np.ones(_shape("ones", *shape), _dtype("ones", dtype)), requires_grad)


def full(shape: Any, value: float, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with the same value everywhere; the dtype is that of `tensor(value)`.

    Example:
        >>> full((2,), 7.0).data.tolist()
        [7.0, 7.0]
    """
    value = as_array(value, copy=False, dtype=None if dtype is None else _dtype("full", dtype),
                     shape=(), what="full value")
    return _finish(np.full(_shape("full", shape), value, value.dtype), requires_grad)


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
    kind = like.dtype if dtype is None else _dtype("full_like", dtype)
    return _finish(np.full_like(like, value, dtype=kind), requires_grad)


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None,
           requires_grad: bool = False) -> Tensor:
    """start, start + step, ... below stop; `arange(n)` counts from 0. int64 or float32.

    Example:
        >>> arange(3).data.tolist()
        [0, 1, 2]
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ValueError("arange: step must not be 0")
    whole = all(isinstance(v, int | np.integer) for v in (start, stop, step))
    kind = _dtype("arange", (np.int64 if whole else np.float32) if dtype is None else dtype)
    return _finish(np.arange(start, stop, step).astype(kind), requires_grad)


def linspace(start: float, stop: float, num: int = 50, dtype: Any = np.float32,
             requires_grad: bool = False) -> Tensor:
    """`num` evenly spaced values from start to stop, both included.

    Example:
        >>> linspace(0, 1, 3).data.tolist()
        [0.0, 0.5, 1.0]
    """
    (num,) = _shape("linspace", num)
    return _finish(np.linspace(start, stop, num, dtype=_dtype("linspace", dtype)), requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = np.float32,
        requires_grad: bool = False) -> Tensor:
    """The identity matrix, n x n or n x m.

    Example:
        >>> eye(2).data.tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    n, m = _shape("eye", n, n if m is None else m)
    return _finish(np.eye(n, m, dtype=_dtype("eye", dtype)), requires_grad)


def randn(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
          requires_grad: bool = False) -> Tensor:
    """Samples of the standard normal distribution.

    Raises:
        TypeError: if `rng` is not a NumPy generator; it must be given.

    Example:
        >>> randn(2, 3, rng=np.random.default_rng(0)).shape
        (2, 3)
    """
    draw, kind = _generator("randn", rng).standard_normal, _dtype("randn", dtype, "f")
    return _finish(_draw(draw, _shape("randn", *shape), kind), requires_grad)


def rand(*shape: Any, rng: np.random.Generator | None = None, dtype: Any = np.float32,
         requires_grad: bool = False) -> Tensor:
    """Samples of the uniform distribution on [0, 1). `rng` as for `randn`.

    Example:
        >>> rand(2, rng=np.random.default_rng(0)).shape
        (2,)
    """
    draw, kind = _generator("rand", rng).random, _dtype("rand", dtype, "f")
    return _finish(_draw(draw, _shape("rand", *shape), kind), requires_grad)


def _draw(draw: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Generators draw float32 and float64 themselves."""
    native = dtype if dtype in (np.float32, np.float64) else np.dtype(np.float32)
    return draw(shape, dtype=native).astype(dtype, copy=False)


def normal(mean: float, std: float, shape: Any, rng: np.random.Generator | None = None,
           dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Samples of the normal distribution. `rng` as for `randn`.

    Example:
        >>> normal(5.0, 0.0, (2,), rng=np.random.default_rng(0)).data.tolist()
        [5.0, 5.0]
    """
    if std < 0:
        raise ValueError(f"normal: std must not be negative, got {std}")
    draw, kind = _generator("normal", rng).standard_normal, _dtype("normal", dtype, "f")
    array = _draw(draw, _shape("normal", shape), kind)
    return _finish(np.asarray(array * float(std) + float(mean)), requires_grad)


def uniform(low: float, high: float, shape: Any, rng: np.random.Generator | None = None,
            dtype: Any = np.float32, requires_grad: bool = False) -> Tensor:
    """Samples of the uniform distribution between low and high. `rng` as for `randn`.

    Example:
        >>> uniform(2.0, 2.0, (2,), rng=np.random.default_rng(0)).data.tolist()
        [2.0, 2.0]
    """
    if low > high:
        raise ValueError(f"uniform: low must not exceed high, got {low} and {high}")
    draw, kind = _generator("uniform", rng).random, _dtype("uniform", dtype, "f")
    array = _draw(draw, _shape("uniform", shape), kind)
    return _finish(np.asarray(array * float(high - low) + float(low)), requires_grad)


def randint(low: int, high: int, shape: Any, rng: np.random.Generator | None = None,
            dtype: Any = np.int64) -> Tensor:
    """Whole numbers from low up to, not including, high. `rng` as for `randn`.

    Example:
        >>> randint(3, 4, (2,), rng=np.random.default_rng(0)).data.tolist()
        [3, 3]
    """
    draw = _generator("randint", rng).integers
    if low >= high:
        raise ValueError(f"randint: low must be below high, got {low} and {high}")
    array = draw(low, high, _shape("randint", shape))
    return _finish(np.asarray(array).astype(_dtype("randint", dtype)), False)


def permutation(n: int, rng: np.random.Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order, int64. `rng` as for `randn`.

    Example:
        >>> sorted(permutation(3, rng=np.random.default_rng(0)).data.tolist())
        [0, 1, 2]
    """
    (n,) = _shape("permutation", n)
    return _finish(_generator("permutation", rng).permutation(n), False)
