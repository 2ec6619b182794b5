"""Max unpooling, the partial inverse of max pooling with indices, and its adjoint: a closed pair."""
from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor
from ..kernels import planes as kernels
from ..kernels.geometry import pair
from ..primitive import primitive
from ..operands import as_tensor
from .elementwise import astype
from .pool import as_planes, with_lead
from .shape import reshape


@primitive
def _max_unpool2d(x, indices, *, size):
    return kernels.put(x, indices, size)


@primitive
def max_unpool2d_pick(u, indices):
    return kernels.pick_put(u, indices)


_max_unpool2d.defvjp(lambda g, ans, x, indices, *, size: max_unpool2d_pick(g, indices), None)
max_unpool2d_pick.defvjp(
    lambda v, ans, u, indices: _max_unpool2d(v, indices, size=u.shape[2:]), None)


def _unpooled_size(output_size: Any, pooled: tuple[int, ...], kernel_size: Any, stride: Any,
                   padding: Any) -> tuple[int, int]:
    """The plane that was pooled: `output_size` if it is within a stride of the least one."""
    op = "max_unpool2d"
    kernel = pair(kernel_size, op, "kernel_size")
    stride = kernel if stride is None else pair(stride, op, "stride")
    padding = pair(padding, op, "padding", least=0)
    least = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip(pooled, stride, padding, kernel))
    if output_size is None:
        size = least
    else:
        plane = output_size[-2:] if isinstance(output_size, list | tuple) else output_size
        size = pair(plane, op, "output_size")
        if any(abs(n - m) >= s for n, m, s in zip(size, least, stride)):
            raise ValueError(f"{op}: output_size {size} must be less than a stride {stride} away "
                             f"from {least}, the size that pools to {pooled}")
    if min(size) < 1:
        raise ValueError(f"{op}: the output would have size {size} (input {pooled}, kernel "
                         f"{kernel}, padding {padding}); pass output_size")
    return size


def max_unpool2d(x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Tensor:
    """Zeros with each number of x at the place its maximum had before pooling.

    Args:
        x: (N, C, OH, OW) or (C, OH, OW); floating point.
        indices: integers of the shape of x, as `max_pool2d(..., return_indices=True)` gives them.
        kernel_size, stride, padding: those of the max pooling.
        output_size: (H, W), or the whole shape; default (OH-1)*stride - 2*padding + KH. Several
            sizes pool to the same one; this selects one.

    Returns:
        (N, C, H, W). Where windows overlap, a place may be named twice: the last number is kept and
        alone gets the gradient (PyTorch gives it to both, which is not the derivative).

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.
        IndexError: if an index lies outside the plane.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, indices = tg.max_pool2d(tg.tensor([[[1.0, 2.0, 5.0, 3.0]]]), (1, 2),
        ...                            return_indices=True)
        >>> tg.max_unpool2d(y, indices, (1, 2)).data.tolist()
        [[[0.0, 2.0, 5.0, 0.0]]]

    Source: PyTorch's torch.nn.functional.max_unpool2d.
    """
    op = "max_unpool2d"
    x, lead = as_planes(op, x)
    indices = as_tensor(indices, f"{op} indices")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got {indices.dtype}")
    if indices.shape != (*lead, *x.shape[2:]):
        raise ValueError(f"{op}: indices must have the shape of x, {(*lead, *x.shape[2:])}, got "
                         f"{indices.shape}")
    if indices.dtype != np.int64:  # np.divmod keeps a narrow type, which may not hold the width
        indices = astype(indices, dtype=np.int64)
    size = _unpooled_size(output_size, x.shape[2:], kernel_size, stride, padding)
    places = np.asarray(indices.data)
    if places.size and (places.min() < 0 or places.max() >= size[0] * size[1]):
        raise IndexError(f"{op}: indices must lie in 0..{size[0] * size[1] - 1} for planes of "
                         f"{size[0]}x{size[1]}, got {places.min()}..{places.max()}; pass "
                         f"output_size, the size before pooling")
    return with_lead(_max_unpool2d(x, reshape(indices, shape=x.shape), size=size), lead)
