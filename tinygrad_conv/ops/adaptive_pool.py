"""Pooling to a given output size, over bins that may be uneven, and over whole planes.

Averages are linear, and their adjoint is the other half of the pair; maxima pick numbers from places
(`pick2d`), and the adjoint adds them there (`pile2d`).
"""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..kernels import planes as kernels
from ..kernels.geometry import pair
from ..primitive import primitive
from .pool import as_planes, with_lead
from .reduce import mean


@primitive
def _adaptive_avg_pool2d(x, *, output_size):
    return kernels.bin_averages(x, output_size)


@primitive
def adaptive_avg_pool2d_spread(g, *, size):
    return kernels.bin_averages_adjoint(g, size)


_adaptive_avg_pool2d.defvjp(
    lambda g, ans, x, *, output_size: adaptive_avg_pool2d_spread(g, size=x.shape[2:]))
adaptive_avg_pool2d_spread.defvjp(
    lambda u, ans, g, *, size: _adaptive_avg_pool2d(u, output_size=g.shape[2:]))


@primitive
def pick2d(x, indices):
    return kernels.pick(x, indices)


@primitive
def pile2d(g, indices, *, size):
    return kernels.pile(g, indices, size)


pick2d.defvjp(lambda g, ans, x, indices: pile2d(g, indices, size=x.shape[2:]), None)
pile2d.defvjp(lambda u, ans, g, indices, *, size: pick2d(u, indices), None)


@primitive
def _adaptive_max_pool2d(x, *, output_size):
    return kernels.bin_maxima(x, output_size)


_adaptive_max_pool2d.defvjp(
    lambda g, ans, x, *, output_size: pile2d(g[0], ans[1], size=x.shape[2:]))


def _output_size(op: str, value: Any, size: tuple[int, ...]) -> tuple[int, int]:
    """`None` keeps an axis as it is."""
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) == 2:
        values = tuple(n if v is None else v for v, n in zip(values, size))
    return pair(values, op, "output_size")


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """Average pooling to a given size: bin i of OH covers rows floor(i*H/OH) to ceil((i+1)*H/OH).

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        output_size: an int or a pair (OH, OW); None for an axis keeps its size.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.adaptive_avg_pool2d(tg.tensor([[[1.0, 2.0, 3.0]]]), (1, 2)).data.tolist()
        [[[1.5, 2.5]]]

    Source: PyTorch's torch.nn.functional.adaptive_avg_pool2d.
    """
    x, lead = as_planes("adaptive_avg_pool2d", x)
    size = _output_size("adaptive_avg_pool2d", output_size, x.shape[2:])
    return with_lead(_adaptive_avg_pool2d(x, output_size=size), lead)


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Max pooling to a given size, over the bins of `adaptive_avg_pool2d`; ties as in `max_pool2d`.

    Args:
        x, output_size: as for `adaptive_avg_pool2d`.
        return_indices: also return the place of each maximum, u*W + v in its plane of x.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.adaptive_max_pool2d(tg.tensor([[[1.0, 3.0, 2.0]]]), (1, 2)).data.tolist()
        [[[3.0, 3.0]]]

    Source: PyTorch's torch.nn.functional.adaptive_max_pool2d.
    """
    x, lead = as_planes("adaptive_max_pool2d", x)
    size = _output_size("adaptive_max_pool2d", output_size, x.shape[2:])
    y, indices = _adaptive_max_pool2d(x, output_size=size)
    return (with_lead(y, lead), with_lead(indices, lead)) if return_indices else with_lead(y, lead)


def global_avg_pool2d(x: Any) -> Tensor:
    """The average of each plane, (N, C, 1, 1) of (N, C, H, W).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.global_avg_pool2d(tg.tensor([[[1.0, 2.0], [3.0, 6.0]]])).data.tolist()
        [[[3.0]]]
    """
    x, lead = as_planes("global_avg_pool2d", x)
    return with_lead(mean(x, axis=(2, 3), keepdims=True), lead)


def global_max_pool2d(x: Any) -> Tensor:
    """The largest number of each plane, (N, C, 1, 1) of (N, C, H, W); a tie goes to the first.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.global_max_pool2d(tg.tensor([[[1.0, 2.0], [3.0, 6.0]]])).data.tolist()
        [[[6.0]]]
    """
    x, lead = as_planes("global_max_pool2d", x)
    return with_lead(_adaptive_max_pool2d(x, output_size=(1, 1))[0], lead)
