"""Layers that change an image's size: upsampling, pixel shuffling; its windows as columns, and back."""
from typing import Any

import tinygrad_conv as tg

from .function import FunctionLayer


class Upsample(FunctionLayer):
    """`tg.interpolate`: images or lines of another size.

    Example:
        >>> Upsample(scale_factor=2, mode="bilinear")(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 8, 8)
    """

    function = staticmethod(tg.interpolate)

    def __init__(self, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                 align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> None:
        super().__init__(size=size, scale_factor=scale_factor, mode=mode, align_corners=align_corners,
                         recompute_scale_factor=recompute_scale_factor)

    def extra_repr(self) -> str:
        given = f"scale_factor={_float(self.scale_factor)!r}" if self.size is None else f"size={self.size!r}"
        return f"{given}, mode={self.mode!r}"


def _float(factor: Any) -> Any:
    return tuple(map(float, factor)) if isinstance(factor, list | tuple) else factor and float(factor)


class UpsamplingNearest2d(Upsample):
    """Upsample of images with mode "nearest".

    Example:
        >>> UpsamplingNearest2d(scale_factor=2)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 8, 8)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Upsample of images with mode "bilinear" and aligned corners.

    Example:
        >>> UpsamplingBilinear2d(scale_factor=2)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 8, 8)
    """

    def __init__(self, size: Any = None, scale_factor: Any = None) -> None:
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(FunctionLayer):
    """`tg.pixel_shuffle`: r x r channels become r x r pixels.

    Example:
        >>> PixelShuffle(2)(tg.ones(1, 8, 4, 4)).shape
        (1, 2, 8, 8)
    """

    function = staticmethod(tg.pixel_shuffle)

    def __init__(self, upscale_factor: int) -> None:
        super().__init__(upscale_factor=tg.arguments.whole(upscale_factor, "PixelShuffle",
                                                           "upscale_factor", 1))


class PixelUnshuffle(FunctionLayer):
    """`tg.pixel_unshuffle`: r x r pixels become r x r channels.

    Example:
        >>> PixelUnshuffle(2)(tg.ones(1, 2, 8, 8)).shape
        (1, 8, 4, 4)
    """

    function = staticmethod(tg.pixel_unshuffle)

    def __init__(self, downscale_factor: int) -> None:
        super().__init__(downscale_factor=tg.arguments.whole(downscale_factor, "PixelUnshuffle",
                                                             "downscale_factor", 1))


class Unfold(FunctionLayer):
    """`tg.unfold`: each window as a column, (N, C, H, W) to (N, C KH KW, L).

    Example:
        >>> Unfold(2)(tg.ones(1, 3, 4, 4)).shape
        (1, 12, 9)
    """

    function = staticmethod(tg.unfold)

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__(kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride)


class Fold(FunctionLayer):
    """`tg.fold`: columns added back to images, (N, C KH KW, L) to (N, C, H, W).

    Example:
        >>> Fold(4, 2)(tg.ones(1, 12, 9)).shape
        (1, 3, 4, 4)
    """

    function = staticmethod(tg.fold)

    def __init__(self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
                 stride: Any = 1) -> None:
        super().__init__(output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding,
                         stride=stride)
