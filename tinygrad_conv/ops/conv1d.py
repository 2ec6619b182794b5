"""Convolution along one axis: `conv2d` on images of height 1. Composites, no primitives."""
from __future__ import annotations

from typing import Any

from ..core import Tensor
from ..kernels.geometry import single
from .conv import as_conv_inputs, conv2d, conv_transpose2d
from .shape import reshape


def _as_image(t: Tensor) -> Tensor:
    """(..., L) as (..., 1, L)."""
    return reshape(t, shape=(*t.shape[:-1], 1, t.shape[-1]))


def _as_line(y: Tensor) -> Tensor:
    return reshape(y, shape=(*y.shape[:-2], y.shape[-1]))


def _line_padding(padding: Any, op: str) -> Any:
    padding = padding if isinstance(padding, str) else single(padding, op, "padding")
    if isinstance(padding, list | tuple):
        return ((0, 0), tuple(padding))
    return padding if isinstance(padding, str) else (0, padding)


def conv1d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1) -> Tensor:
    """`conv2d` along one axis: x (N, C, L) or (C, L), w (O, C/groups, K) -> (N, O, OL).

    Arguments as for `conv2d`; padding is an int, "valid", "same" or ((left, right),).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.conv1d(tg.tensor([[1.0, 2.0, 3.0]]), tg.tensor([[[1.0, 1.0]]])).data.tolist()
        [[3.0, 5.0]]
    """
    x, w, *rest = as_conv_inputs("conv1d", x, w, bias, groups, 1)
    y = conv2d(_as_image(x), _as_image(w), *(rest or [None]),
               stride=(1, single(stride, "conv1d", "stride")),
               padding=_line_padding(padding, "conv1d"),
               dilation=(1, single(dilation, "conv1d", "dilation")), groups=groups)
    return _as_line(y)


def conv_transpose1d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
                     output_size: Any = None) -> Tensor:
    """`conv_transpose2d` along one axis: x (N, C, L), w (C, O/groups, K) -> (N, O, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 10.0]]])
        >>> tg.conv_transpose1d(x, w, stride=2).data.tolist()
        [[1.0, 10.0, 2.0, 20.0]]
    """
    op = "conv_transpose1d"
    x, w, *rest = as_conv_inputs(op, x, w, bias, groups, 1)
    if output_size is not None:
        output_size = (1, single(output_size, op, "output_size"))
    y = conv_transpose2d(_as_image(x), _as_image(w), *(rest or [None]),
                         stride=(1, single(stride, op, "stride")),
                         padding=_line_padding(padding, op),
                         output_padding=(0, single(output_padding, op, "output_padding")),
                         groups=groups, dilation=(1, single(dilation, op, "dilation")),
                         output_size=output_size)
    return _as_line(y)
