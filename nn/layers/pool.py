"""Pooling layers: the engine's functions with their arguments kept."""
from typing import Any

import tinygrad_conv as tg

from .function import FunctionLayer, OptionLayer, PlainLayer


class _Windows(OptionLayer):
    """Windows on `dims` axes, told where the layer is made if they are none.

    A stride of None is the kernel's size, as in PyTorch.
    """

    dims = 2
    words: tuple[str, ...] = ("same", "valid")

    def __init__(self, kernel_size: Any, stride: Any, **options: Any) -> None:
        stride, name = kernel_size if stride is None else stride, type(self).__name__
        options = {"kernel_size": kernel_size, "stride": stride, **options}
        for option in ("kernel_size", "stride", "dilation"):
            if option in options:
                tg.arguments.sizes(options[option], name, option, self.dims)
        tg.arguments.sides(options["padding"], name, self.dims, self.words)
        super().__init__(**options)


class _Pool(_Windows, FunctionLayer):
    unprinted: tuple[str, ...] = ("return_indices",)


class _MaxPool(_Pool):
    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                 return_indices: bool = False, ceil_mode: bool = False) -> None:
        super().__init__(kernel_size, stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
                         return_indices=return_indices)


class MaxPool2d(_MaxPool):
    """`tg.max_pool2d`.

    Example:
        >>> MaxPool2d(2)(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 3, 3)
    """

    function = staticmethod(tg.max_pool2d)


class MaxPool1d(_MaxPool):
    """`tg.max_pool1d`.

    Example:
        >>> MaxPool1d(2)(tg.ones(1, 3, 6)).shape
        (1, 3, 3)
    """

    dims, function = 1, staticmethod(tg.max_pool1d)


class MaxUnpool2d(_Windows):
    """`tg.max_unpool2d`: values back to where `MaxPool2d(return_indices=True)` took them.

    Example:
        >>> y, indices = MaxPool2d(2, return_indices=True)(tg.ones(1, 3, 6, 6))
        >>> MaxUnpool2d(2)(y, indices).shape
        (1, 3, 6, 6)
    """

    words = ()

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__(kernel_size, stride, padding=padding)

    def forward(self, x: Any, indices: Any, output_size: Any = None) -> tg.Tensor:
        return tg.max_unpool2d(x, indices, **self.options(), output_size=output_size)


class AvgPool2d(_Pool):
    """`tg.avg_pool2d`.

    Example:
        >>> AvgPool2d(2)(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 3, 3)
    """

    function = staticmethod(tg.avg_pool2d)
    unprinted = ("ceil_mode", "count_include_pad", "divisor_override")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: float | None = None) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode,
                         count_include_pad=count_include_pad, divisor_override=divisor_override)


class AvgPool1d(_Pool):
    """`tg.avg_pool1d`.

    Example:
        >>> AvgPool1d(2)(tg.ones(1, 3, 6)).shape
        (1, 3, 3)
    """

    dims, function = 1, staticmethod(tg.avg_pool1d)
    unprinted = ("ceil_mode", "count_include_pad")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__(kernel_size, stride, padding=padding, ceil_mode=ceil_mode,
                         count_include_pad=count_include_pad)


class _Bins(FunctionLayer):
    def __init__(self, output_size: Any, **options: Any) -> None:
        wanted = output_size if isinstance(output_size, list | tuple) else (output_size,) * 2
        tg.arguments.sizes([1 if n is None else n for n in wanted], type(self).__name__, "output_size", 2)
        super().__init__(output_size=output_size, **options)


class AdaptiveAvgPool2d(_Bins):
    """`tg.adaptive_avg_pool2d`.

    Example:
        >>> AdaptiveAvgPool2d(1)(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 1, 1)
    """

    function = staticmethod(tg.adaptive_avg_pool2d)

    def __init__(self, output_size: Any) -> None:
        super().__init__(output_size)


class AdaptiveAvgPool1d(FunctionLayer):
    """`tg.adaptive_avg_pool1d`.

    Example:
        >>> AdaptiveAvgPool1d(2)(tg.ones(1, 3, 6)).shape
        (1, 3, 2)
    """

    function = staticmethod(tg.adaptive_avg_pool1d)

    def __init__(self, output_size: Any) -> None:
        tg.arguments.sizes(output_size, "AdaptiveAvgPool1d", "output_size", 1)
        super().__init__(output_size=output_size)


class AdaptiveMaxPool2d(_Bins):
    """`tg.adaptive_max_pool2d`.

    Example:
        >>> AdaptiveMaxPool2d((2, 3))(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 2, 3)
    """

    function = staticmethod(tg.adaptive_max_pool2d)
    unprinted = ("return_indices",)

    def __init__(self, output_size: Any, return_indices: bool = False) -> None:
        super().__init__(output_size, return_indices=return_indices)


class GlobalAvgPool2d(PlainLayer):
    """The mean of each channel's plane: (N, C, H, W) -> (N, C, 1, 1).

    Example:
        >>> GlobalAvgPool2d()(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 1, 1)
    """

    function = staticmethod(tg.global_avg_pool2d)


class GlobalMaxPool2d(PlainLayer):
    """The largest value of each channel's plane: (N, C, H, W) -> (N, C, 1, 1).

    Example:
        >>> GlobalMaxPool2d()(tg.ones(1, 3, 6, 6)).shape
        (1, 3, 1, 1)
    """

    function = staticmethod(tg.global_max_pool2d)
