"""How a layer changes the variance of what passes through: fan-in, fan-out, gains of nonlinearities.

Names and numbers are PyTorch's torch.nn.init. Imports the check of numbers.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

from .numbers import number


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): inputs per output value, outputs per input value.

    With groups, `in` is the channels of one group. A transposed convolution's weight is
    (in, out, *kernel); as in PyTorch, its fan_in is counted on axis 1 all the same.

    Raises:
        ValueError: for fewer than two axes.

    Example:
        >>> fans((16, 3, 5, 5))
        (75, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"init: fans need a weight of at least two axes, got shape {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor that preserves the variance through a nonlinearity; `a` is leaky_relu's slope.

    Raises:
        ValueError: for a nonlinearity without a known factor; lists those there are.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
    """
    number("calculate_gain", "a", a)
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv_transpose1d": 1.0,
             "conv_transpose2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3,
             "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + a * a)), "selu": 0.75}
    if not isinstance(nonlinearity, str) or nonlinearity not in gains:
        raise ValueError(f"calculate_gain: expects one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]
