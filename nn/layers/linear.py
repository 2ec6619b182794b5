"""The fully connected layer, and two that compute nothing: Flatten and Identity."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .defaults import fresh_weight_and_bias
from .module import Module
from ..numbers import counts


class Linear(Module):
    """y = x w' + b: x (..., in_features) -> (..., out_features).

    Args:
        in_features, out_features: sizes, at least 1.
        bias: whether there is a b.
        dtype: of the parameters.
        rng: the generator of the initial values; by default a fresh one. Give all layers the same,
            made with a seed, to get the same network every time.

    Raises:
        ValueError: at the call, if the last axis of x is not `in_features` long.

    Example:
        >>> Linear(3, 2)(tg.ones(4, 3)).shape
        (4, 2)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *,
                 dtype: Any = np.float32, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        if not counts(in_features, out_features):
            raise ValueError(f"Linear: sizes must be whole numbers of at least 1, got "
                             f"in_features={in_features!r}, out_features={out_features!r}")
        self.in_features, self.out_features = in_features, out_features
        weight, b = fresh_weight_and_bias((out_features, in_features), out_features, bias, dtype, rng)
        self.weight = weight
        self.register_parameter("bias", b)

    def forward(self, x: Any) -> tg.Tensor:
        shape = x.shape if hasattr(x, "shape") else np.shape(x)
        if not shape or shape[-1] != self.in_features:
            fits = f"this input needs in_features={shape[-1]}" if shape else "x needs an axis"
            if len(shape) > 2:
                fits += f", or a Flatten before and in_features={math.prod(shape[1:])}"
            raise ValueError(f"Linear: expects in_features={self.in_features} on the last axis, got x of "
                             f"shape {tuple(shape)}; {fits}")
        return tg.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")


class Flatten(Module):
    """Merge the axes from `start_dim` to `end_dim`; by default all but the first, the batch.

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
    """Returns x; takes and ignores any arguments, as in PyTorch.

    Example:
        >>> import nn
        >>> nn.Identity(54, unused=True)([1.0])
        [1.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x
