"""Layers that pad images or lines: `tg.pad`, widths in PyTorch's order, the last axis first."""
from collections.abc import Sequence
from typing import Any

import tinygrad_conv as tg

from .function import FunctionLayer


def _padded(x: Any, padding: tuple[int, ...], mode: str, value: float = 0.0) -> tg.Tensor:
    """x with (left, right) or (left, right, top, bottom) cells more; negative numbers crop."""
    x = x if isinstance(x, tg.Tensor) else tg.tensor(x)
    sides = [*zip(padding[::2], padding[1::2])][::-1]
    if x.ndim not in (len(sides) + 1, len(sides) + 2):
        axes = "(N, C, L) or (C, L)" if len(sides) == 1 else "(N, C, H, W) or (C, H, W)"
        raise ValueError(f"pad: x must have axes {axes}, got shape {x.shape}")
    return tg.pad(x, [(0, 0)] * (x.ndim - len(sides)) + sides, mode, value)


class _Pad(FunctionLayer):
    """Keeps `padding` as one number for each side, the last axis first."""

    dims, mode, function = 2, "constant", staticmethod(_padded)

    def __init__(self, padding: int | Sequence[int], **options: Any) -> None:
        name, sides = type(self).__name__, 2 * self.dims
        each = list(padding) if isinstance(padding, list | tuple) else [padding] * sides
        if len(each) != sides:
            words = ("left", "right", "top", "bottom")[:sides]
            raise ValueError(f"{name}: padding must be a number or ({', '.join(words)}), got {padding!r}")
        super().__init__(padding=tuple([tg.arguments.whole(n, name, "padding") for n in each]), **options)

    def forward(self, x: Any) -> tg.Tensor:
        return self.function(x, mode=self.mode, **self.options())

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPad(_Pad):
    def __init__(self, padding: int | Sequence[int], value: float) -> None:
        super().__init__(padding, value=tg.arguments.number(value, type(self).__name__, "value"))

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Cells of one value on both sides of the last axis: padding a number, or (left, right).

    Example:
        >>> ConstantPad1d((1, 0), 7.0)(tg.ones(1, 1, 2)).numpy().tolist()
        [[[7.0, 1.0, 1.0]]]
    """

    dims = 1


class ConstantPad2d(_ConstantPad):
    """Cells of one value around images: padding a number, or (left, right, top, bottom).

    Example:
        >>> ConstantPad2d((0, 0, 1, 0), 7.0)(tg.ones(1, 1, 1, 2)).numpy().tolist()
        [[[[7.0, 7.0], [1.0, 1.0]]]]
    """


class ZeroPad1d(_Pad):
    """Zeros on both sides of the last axis: padding a number, or (left, right).

    Example:
        >>> ZeroPad1d(1)(tg.ones(1, 1, 1)).numpy().tolist()
        [[[0.0, 1.0, 0.0]]]
    """

    dims = 1


class ZeroPad2d(_Pad):
    """Zeros around images: padding a number, or (left, right, top, bottom).

    Example:
        >>> ZeroPad2d(1)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 6, 6)
    """


class ReflectionPad1d(_Pad):
    """The last axis mirrored at its ends, which are not repeated.

    Example:
        >>> ReflectionPad1d(1)(tg.tensor([[[1.0, 2.0, 3.0]]])).numpy().tolist()
        [[[2.0, 1.0, 2.0, 3.0, 2.0]]]
    """

    dims, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Images mirrored at their borders, which are not repeated.

    Example:
        >>> ReflectionPad2d(1)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 6, 6)
    """

    mode = "reflect"


class ReplicationPad1d(_Pad):
    """The end cells of the last axis, repeated.

    Example:
        >>> ReplicationPad1d((0, 2))(tg.tensor([[[1.0, 2.0]]])).numpy().tolist()
        [[[1.0, 2.0, 2.0, 2.0]]]
    """

    dims, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """The border cells of images, repeated.

    Example:
        >>> ReplicationPad2d(1)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 6, 6)
    """

    mode = "replicate"


class CircularPad1d(_Pad):
    """The last axis continued from its other end.

    Example:
        >>> CircularPad1d((1, 0))(tg.tensor([[[1.0, 2.0]]])).numpy().tolist()
        [[[2.0, 1.0, 2.0]]]
    """

    dims, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Images continued from their other side.

    Example:
        >>> CircularPad2d(1)(tg.ones(1, 3, 4, 4)).shape
        (1, 3, 6, 6)
    """

    mode = "circular"
