"""Convolution layers, with PyTorch's arguments, attribute names and default initialisation."""
from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_conv as tg

from .linear import fresh_weight_and_bias
from .module import Module

PADDING_MODES = ("zeros", "reflect", "replicate")


def _sizes(name: str, kernel_size: Any, dims: int) -> tuple[int, ...]:
    sizes = tuple(kernel_size) if isinstance(kernel_size, list | tuple) else (kernel_size,) * dims
    if len(sizes) != dims or not all(isinstance(k, int) and k > 0 for k in sizes):
        raise ValueError(f"{name}: kernel_size must be {dims} positive whole number(s), got "
                         f"{kernel_size!r}")
    return sizes


class _Conv(Module):
    """What the four layers share: parameters and printing."""

    dims, transposed = 2, False

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any,
                 padding: Any, dilation: Any, groups: int, bias: bool, dtype: Any,
                 rng: np.random.Generator | None) -> None:
        super().__init__()
        name = type(self).__name__
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: in_channels={in_channels} and out_channels={out_channels} must "
                             f"be at least 1 and divisible by groups={groups}")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _sizes(name, kernel_size, self.dims)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        weight, b = fresh_weight_and_bias(shape, out_channels, bias, dtype, rng)
        self.weight = weight
        self.register_parameter("bias", b)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1)):
            value = getattr(self, name)
            text += f", {name}={value}" if value != usual else ""
        return text + (", bias=False" if self.bias is None else "")


class Conv2d(_Conv):
    """`tg.conv2d` with its own weight (out, in/groups, KH, KW) and bias.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in PyTorch.
        padding: also per side, "valid" and "same" (see `tg.conv2d`).
        padding_mode: "zeros", "reflect" or "replicate" (the last two need `padding` in numbers).
        dtype, rng: of the initial parameters.

    Example:
        >>> Conv2d(3, 8, 3, padding=1)(tg.ones(2, 3, 6, 6)).shape
        (2, 8, 6, 6)
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", *, dtype: Any = np.float32,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, dtype, rng)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"Conv2d: padding_mode must be one of {', '.join(PADDING_MODES)}, got "
                             f"{padding_mode!r}")
        if padding_mode != "zeros" and isinstance(padding, str):
            raise ValueError(f"Conv2d: padding_mode {padding_mode!r} needs padding in numbers, got "
                             f"{padding!r}")
        self.padding_mode = padding_mode

    def forward(self, x: Any) -> tg.Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            sides = padding if isinstance(padding, tuple | list) else (padding, padding)
            sides = [s if isinstance(s, tuple | list) else (s, s) for s in sides]
            x = tg.pad(x, [(0, 0)] * (x.ndim - 2) + [tuple(s) for s in sides], self.padding_mode)
            padding = 0
        return tg.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv1d(_Conv):
    """`tg.conv1d` with its own weight (out, in/groups, K) and bias.

    Example:
        >>> Conv1d(3, 8, 3)(tg.ones(2, 3, 6)).shape
        (2, 8, 4)
    """

    dims = 1

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True, *,
                 dtype: Any = np.float32, rng: np.random.Generator | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, dtype, rng)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                         self.groups)


class ConvTranspose2d(_Conv):
    """`tg.conv_transpose2d` with its own weight (in, out/groups, KH, KW) and bias.

    Example:
        >>> up = ConvTranspose2d(3, 8, 2, stride=2)
        >>> up(tg.ones(2, 3, 5, 5)).shape, up(tg.ones(2, 3, 5, 5), output_size=(11, 10)).shape
        ((2, 8, 10, 10), (2, 8, 11, 10))
    """

    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, *, dtype: Any = np.float32,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, dtype, rng)
        self.output_padding = output_padding

    def forward(self, x: Any, output_size: Any = None) -> tg.Tensor:
        return tg.conv_transpose2d(x, self.weight, self.bias, self.stride, self.padding,
                                   self.output_padding, self.groups, self.dilation, output_size)


class ConvTranspose1d(_Conv):
    """`tg.conv_transpose1d` with its own weight (in, out/groups, K) and bias.

    Example:
        >>> ConvTranspose1d(3, 8, 2, stride=2)(tg.ones(2, 3, 5)).shape
        (2, 8, 10)
    """

    dims, transposed = 1, True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, *, dtype: Any = np.float32,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, dtype, rng)
        self.output_padding = output_padding

    def forward(self, x: Any, output_size: Any = None) -> tg.Tensor:
        return tg.conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding,
                                   self.output_padding, self.groups, self.dilation, output_size)
