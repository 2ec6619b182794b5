"""The windows of images as columns, and columns added back: a convolution whose filters each pick one cell.

With the filter of channel c and cell (a, b) being 1 there and 0 elsewhere, conv2d copies the cell (a, b) of
each window: `unfold` is that convolution, in groups of one channel, and `fold` its adjoint. So the rules of
conv2d are theirs, for every stride, padding and dilation, and each is the other's derivative.
"""
import math
from typing import Any

import numpy as np

from ..arguments import sizes
from ..operands import as_floats
from ..tensor import Tensor
from .conv import conv2d, conv_transpose2d
from .shape import reshape


def _cells(channels: int, kernel: tuple[int, int], dtype: Any) -> np.ndarray:
    """(C KH KW, 1, KH, KW): for each channel a filter for each cell."""
    each = math.prod(kernel)
    return np.tile(np.eye(each, dtype=dtype).reshape(each, 1, *kernel), (channels, 1, 1, 1))


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """Each window of x as a column (PyTorch's unfold, also called im2col).

    Args:
        x: (N, C, H, W) or (C, H, W); floating point.
        kernel_size, dilation, padding, stride: as of `conv2d`.

    Returns:
        (N, C KH KW, L), L = OH OW windows: a channel's cells in a row, then the next channel's.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.unfold(tg.tensor([[[1.0, 2.0, 3.0]]]), (1, 2)).data.tolist()
        [[1.0, 2.0], [2.0, 3.0]]
    """
    x, kernel = as_floats(x, "unfold"), sizes(kernel_size, "unfold", "kernel_size", 2)
    if x.ndim not in (3, 4) or not x.shape[-3]:
        raise ValueError(f"unfold: x must have axes NCHW (or CHW, one sample), with channels, got {x.shape}")
    channels = x.shape[-3]
    y = conv2d(x, _cells(channels, kernel, x.dtype), None, stride, padding, dilation, channels)
    return reshape(y, (*y.shape[:-2], y.shape[-2] * y.shape[-1]))


def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0,
         stride: Any = 1) -> Tensor:
    """Columns added back to where `unfold` took them from (PyTorch's fold, also called col2im).

    Args:
        x: (N, C KH KW, L) or (C KH KW, L); floating point.
        output_size: (H, W) of the images.
        kernel_size, dilation, padding, stride: those of the `unfold`.

    Returns:
        (N, C, H, W): each cell is the sum of all columns that hold it.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.fold(tg.tensor([[1.0, 2.0], [2.0, 3.0]]), (1, 3), (1, 2)).data.tolist()
        [[[1.0, 4.0, 3.0]]]
    """
    x, kernel = as_floats(x, "fold"), sizes(kernel_size, "fold", "kernel_size", 2)
    size, step = sizes(output_size, "fold", "output_size", 2), sizes(stride, "fold", "stride", 2)
    apart = sizes(dilation, "fold", "dilation", 2)
    border = padding if isinstance(padding, tuple | list) else (padding, padding)
    sides = [p if isinstance(p, tuple | list) else (p, p) for p in border]
    windows = [(n + sum(p) - d * (k - 1) - 1) // s + 1
               for n, p, d, k, s in zip(size, sides, apart, kernel, step)]
    if x.ndim not in (2, 3) or x.shape[-2] % math.prod(kernel) or x.shape[-1] != math.prod(windows) or min(
            windows) < 1:
        raise ValueError(f"fold: x must have axes (N, C KH KW, L), KH KW = {math.prod(kernel)}, and "
                         f"L = {' x '.join(map(str, windows))} windows of {kernel} in {size}, got {x.shape}")
    channels = x.shape[-2] // math.prod(kernel)
    columns = reshape(x, (*x.shape[:-1], *windows))
    return conv_transpose2d(columns, _cells(channels, kernel, x.dtype), None, stride, padding, 0, channels,
                            dilation, size)
