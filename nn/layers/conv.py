"""Convolution layers, with PyTorch's arguments, attribute names and default initialisation."""
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .linear import add_weight_and_bias
from .module import Module, Parameter


class _Conv(Module):
    """What the four layers share: parameters and printing."""

    dims, transposed = 2, False
    function: Callable[..., tg.Tensor]
    weight: Parameter

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, dilation: Any = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", *, dtype: Any = np.float32,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__()
        name, dims = type(self).__name__, self.dims
        if (not all(tg.arguments.is_whole(n, 1) for n in (in_channels, out_channels, groups))
                or in_channels % groups or out_channels % groups):
            raise ValueError(f"{name}: in_channels={in_channels!r} and out_channels={out_channels!r} must be "
                             f"at least 1 and divisible by groups={groups!r}, all whole numbers")
        # NumPy's whole numbers wrap around
        in_channels, out_channels, groups = map(int, (in_channels, out_channels, groups))
        modes = ("zeros",) if self.transposed else tg.arguments.PADDING_MODES
        self.padding_mode = tg.arguments.one_of(padding_mode, name, "padding_mode", modes)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = tg.arguments.sizes(kernel_size, name, "kernel_size", dims)
        self.stride = tg.arguments.sizes(stride, name, "stride", dims)
        self.dilation = tg.arguments.sizes(dilation, name, "dilation", dims)
        words = () if self.transposed else ("same", "valid")
        tg.arguments.sides(padding, name, dims, words)  # refused here if it is no padding
        self.padding = (int(padding),) * dims if tg.arguments.is_whole(padding) else padding
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        add_weight_and_bias(self, (first, second // groups, *self.kernel_size), out_channels, bias, dtype,
                            rng)

    def forward(self, x: Any) -> tg.Tensor:
        return self.function(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                             self.groups, padding_mode=self.padding_mode)

    def extra_repr(self) -> str:
        zeros, ones = (0,) * self.dims, (1,) * self.dims
        options = [("padding", self.padding, zeros), ("dilation", self.dilation, ones),
                   ("output_padding", getattr(self, "output_padding", zeros), zeros),
                   ("groups", self.groups, 1), ("bias", self.bias is not None, True),
                   ("padding_mode", self.padding_mode, "zeros")]
        return ", ".join([f"{self.in_channels}, {self.out_channels}", f"kernel_size={self.kernel_size}",
                          f"stride={self.stride}",
                          *[f"{name}={value}" for name, value, usual in options if value != usual]])


class Conv2d(_Conv):
    """`tg.conv2d` with its own weight (out, in/groups, KH, KW) and bias.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation, groups, bias: as in PyTorch.
        padding: as in PyTorch, or per side (see `tg.conv2d`), in every padding_mode.
        padding_mode: what the border holds: "zeros", "reflect", "replicate" or "circular".
        dtype, rng: of the initial parameters; `rng` by default is a fresh generator.

    Raises:
        TypeError, ValueError: for sizes, groups or modes that do not make a convolution.

    Example:
        >>> Conv2d(3, 8, 3, padding=1)(tg.ones(2, 3, 6, 6)).shape
        (2, 8, 6, 6)
    """

    function = staticmethod(tg.conv2d)


class Conv1d(_Conv):
    """`tg.conv1d` with its own weight (out, in/groups, K) and bias; arguments as `Conv2d`.

    Example:
        >>> Conv1d(3, 8, 3)(tg.ones(2, 3, 6)).shape
        (2, 8, 4)
    """

    dims, function = 1, staticmethod(tg.conv1d)


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1,
                 padding: Any = 0, output_padding: Any = 0, groups: int = 1, bias: bool = True,
                 dilation: Any = 1, padding_mode: str = "zeros", *, dtype: Any = np.float32,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups,
                         bias, padding_mode, dtype=dtype, rng=rng)
        self.output_padding = tg.arguments.sizes(output_padding, type(self).__name__, "output_padding",
                                                 self.dims, 0)

    def forward(self, x: Any, output_size: Any = None) -> tg.Tensor:
        return self.function(x, self.weight, self.bias, self.stride, self.padding, self.output_padding,
                             self.groups, self.dilation, output_size)


class ConvTranspose2d(_ConvTranspose):
    """`tg.conv_transpose2d` with its own weight (in, out/groups, KH, KW) and bias.

    Example:
        >>> up = ConvTranspose2d(3, 8, 2, stride=2)
        >>> up(tg.ones(2, 3, 5, 5)).shape, up(tg.ones(2, 3, 5, 5), output_size=(11, 10)).shape
        ((2, 8, 10, 10), (2, 8, 11, 10))
    """

    function = staticmethod(tg.conv_transpose2d)


class ConvTranspose1d(_ConvTranspose):
    """`tg.conv_transpose1d` with its own weight (in, out/groups, K) and bias.

    Example:
        >>> ConvTranspose1d(3, 8, 2, stride=2)(tg.ones(2, 3, 5)).shape
        (2, 8, 10)
    """

    dims, function = 1, staticmethod(tg.conv_transpose1d)
