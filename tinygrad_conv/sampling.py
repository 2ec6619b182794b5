"""Random tensors. The generator is an argument, `rng = np.random.default_rng(seed)`: no hidden state.

float32 unless said otherwise. Imports core, creation and ops.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .tensor import Tensor
from .creation import checked_range, checked_shape, finished
from .arguments import checked_dtype, generator, is_whole, number


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
