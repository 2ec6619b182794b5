"""The fully connected layer, and the two that only change shape."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_conv as tg

from . import init
from .module import Module, Parameter


def default_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator given, or a fresh one seeded by the system.

    Give all layers the same generator, made with a seed, to get the same network every time.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a NumPy generator or None, got {type(rng).__name__}; use "
                        f"np.random.default_rng(seed)")
    return np.random.default_rng() if rng is None else rng


def fresh_weight_and_bias(shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any,
                          rng: np.random.Generator | None) -> tuple[Parameter, Parameter | None]:
    """PyTorch's default: both U(-1/sqrt(fan_in), 1/sqrt(fan_in)), that is kaiming with a=sqrt(5)."""
    rng = default_rng(rng)
    weight = Parameter(np.empty(shape, dtype))
    init.kaiming_uniform_(weight, a=math.sqrt(5), rng=rng)
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(max(1, init.fans(shape)[0]))
    return weight, init.uniform_(Parameter(np.empty(outputs, dtype)), -bound, bound, rng=rng)


class Linear(Module):
    """y = x w' + b: x (..., in_features) -> (..., out_features).

    Args:
        in_features, out_features: sizes, at least 1.
        bias: whether there is a b.
        dtype: of the parameters.
        rng: where the initial values come from (see `default_rng`).

    Raises:
        ValueError: at the call, if the last axis of x is not `in_features` long.

    Example:
        >>> Linear(3, 2)(tg.ones(4, 3)).shape
        (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *,
                 dtype: Any = np.float32, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise ValueError(f"Linear: sizes must be at least 1, got in_features={in_features}, "
                             f"out_features={out_features}")
        self.in_features, self.out_features = in_features, out_features
        weight, b = fresh_weight_and_bias((out_features, in_features), out_features, bias, dtype, rng)
        self.weight = weight
        self.register_parameter("bias", b)

    def forward(self, x: Any) -> tg.Tensor:
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            fits = x.shape[-1] if x.ndim else 1
            raise ValueError(f"Linear: expects in_features={self.in_features} on the last axis, got x of "
                             f"shape {x.shape}; in_features={fits} would fit"
                             + ("; is a Flatten missing?" if x.ndim > 2 else ""))
        return tg.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim`; by default all but the batch.

    Example:
        >>> Flatten()(tg.ones(2, 3, 4, 4)).shape
        (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> tg.Tensor:
        return tg.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Identity(Module):
    """x itself."""

    def forward(self, x: Any) -> Any:
        return x
