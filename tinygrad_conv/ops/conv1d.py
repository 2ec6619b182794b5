"""Convolution along one axis: `conv2d` on images of height 1. Composites, no primitives."""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..kernels.geometry import single
from .conv import convolve, convolve_transposed
from .conv_inputs import as_conv_inputs, check_channels
from .shape import reshape


def _as_images(tensors: list[Tensor]) -> list[Tensor]:
    """x (N, C, L) or (C, L) and w (O, C, K) as images and filters of height 1, and the bias."""
    x, w, *rest = tensors
    lead = (1, *x.shape[:-1])[-2:]  # (N, C), N = 1 for one sample
    return [reshape(x, shape=(*lead, 1, x.shape[-1])),
            reshape(w, shape=(*w.shape[:-1], 1, w.shape[-1])), *rest]


def _as_line(y: Tensor, ndim: int) -> Tensor:
    """y (N, C, 1, L) as (N, C, L), or (C, L) if x had two axes."""
    return reshape(y, shape=(*y.shape[3 - ndim:2], y.shape[-1]))


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
    op = "conv1d"
    x, w, *_ = tensors = as_conv_inputs(op, x, w, bias, groups, "NCL")
    check_channels(op, tensors, groups, w.shape[1] * groups, w.shape[0], "NCL")
    y = convolve(op, _as_images(tensors), (1, single(stride, op, "stride")),
                 _line_padding(padding, op), (1, single(dilation, op, "dilation")), groups)
    return _as_line(y, x.ndim)


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
    x, w, *_ = tensors = as_conv_inputs(op, x, w, bias, groups, "NCL")
    check_channels(op, tensors, groups, w.shape[0], w.shape[1] * groups, "NCL")
    if output_size is not None:
        output_size = (1, single(output_size, op, "output_size"))
    y = convolve_transposed(
        op, _as_images(tensors), (1, single(stride, op, "stride")), _line_padding(padding, op),
        (0, single(output_padding, op, "output_padding")), groups,
        (1, single(dilation, op, "dilation")), output_size)
    return _as_line(y, x.ndim)
