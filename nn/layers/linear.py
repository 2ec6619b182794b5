"""The fully connected layer, and the initial values that it shares with convolutions."""
import math
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .. import init
from .function import default_rng
from .module import Module, Parameter


def add_weight_and_bias(layer: Module, shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any,
                        rng: np.random.Generator | None) -> None:
    """PyTorch's default: both U(-1/sqrt(fan_in), 1/sqrt(fan_in)), that is kaiming with a=sqrt(5)."""
    rng = default_rng(rng, type(layer).__name__)
    layer.weight = Parameter(tg.zeros(shape, dtype=dtype))
    init.kaiming_uniform_(layer.weight, a=math.sqrt(5), rng=rng)
    layer.register_parameter("bias", Parameter(tg.zeros(outputs, dtype=dtype)) if bias else None)
    if bias:
        bound = 1 / math.sqrt(init.fans(shape)[0])
        init.uniform_(layer.bias, -bound, bound, rng=rng)


class Linear(Module):
    """y = x w' + b: x (..., in_features) -> (..., out_features).

    Args:
        in_features, out_features: sizes, at least 1.
        bias: whether there is a b.
        dtype: of the parameters.
        rng: the generator of the initial values; by default a fresh one. Give all layers the same,
            made with a seed, to get the same network every time.

    Raises:
        TypeError, ValueError: for sizes that are not whole numbers of at least 1; at the call, if the
            last axis of x is not `in_features` long.

    Example:
        >>> Linear(3, 2)(tg.ones(4, 3)).shape
        (4, 2)
    """

    weight: Parameter

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *,
                 dtype: Any = np.float32, rng: np.random.Generator | None = None) -> None:
        super().__init__()
        self.in_features = tg.arguments.whole(in_features, "Linear", "in_features", 1)
        self.out_features = tg.arguments.whole(out_features, "Linear", "out_features", 1)
        add_weight_and_bias(self, (self.out_features, self.in_features), self.out_features, bias, dtype, rng)

    def forward(self, x: Any) -> tg.Tensor:
        shape = x.shape if hasattr(x, "shape") else np.shape(x)
        if not shape or shape[-1] != self.in_features:
            fits = f"this input needs in_features={shape[-1]}" if shape else "x needs an axis"
            flat = ""
            if len(shape) > 2:
                fits, flat = f"put a Flatten before, with in_features={math.prod(shape[1:])}", f", or {fits}"
            if len(shape) > 1 and math.prod(shape) == self.in_features:
                fits, flat = "the batch axis is missing: call the network with x[None], a batch of one", ""
            raise ValueError(f"Linear: expects in_features={self.in_features} on the last axis, got x of "
                             f"shape {tuple(shape)}; {fits}{flat}")
        return tg.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in_features={self.in_features}, out_features={self.out_features}, "
                f"bias={self.bias is not None}")
