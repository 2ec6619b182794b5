"""Pooling along one axis: the 2-d ops on planes of height 1. Composites, no primitives."""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..kernels.geometry import single
from .pool import as_planes, avg_planes, max_planes
from .shape import reshape


def _flat_windows(op: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[Any, ...]:
    """Kernel, stride and padding as pairs for planes of height 1."""
    kernel = single(kernel_size, op, "kernel_size")
    stride = kernel if stride is None else single(stride, op, "stride")
    return (1, kernel), (1, stride), (0, single(padding, op, "padding"))


def _as_line(y: Tensor, lead: tuple[int, ...]) -> Tensor:
    """(N, C, 1, OL) as (N, C, OL) or (C, OL)."""
    return reshape(y, shape=(*lead, y.shape[-1]))


def max_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """`max_pool2d` along one axis: x (N, C, L) or (C, L) -> (N, C, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.max_pool1d(tg.tensor([[1.0, 2.0, 0.0, 5.0]]), 2).data.tolist()
        [[2.0, 5.0]]
    """
    op = "max_pool1d"
    x, lead = as_planes(op, x, "NCL")
    y, indices = max_planes(op, x, *_flat_windows(op, kernel_size, stride, padding),
                            (1, single(dilation, op, "dilation")), ceil_mode, return_indices)
    return (_as_line(y, lead), _as_line(indices, lead)) if return_indices else _as_line(y, lead)


def avg_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """`avg_pool2d` along one axis: x (N, C, L) or (C, L) -> (N, C, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.avg_pool1d(tg.tensor([[1.0, 2.0, 0.0, 5.0]]), 2).data.tolist()
        [[1.5, 2.5]]
    """
    op = "avg_pool1d"
    x, lead = as_planes(op, x, "NCL")
    y = avg_planes(op, x, *_flat_windows(op, kernel_size, stride, padding), ceil_mode,
                   count_include_pad)
    return _as_line(y, lead)
