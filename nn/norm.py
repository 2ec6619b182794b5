"""Normalisation layers; BatchNorm also keeps running statistics."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .module import Module, Parameter


class _BatchNorm(Module):
    """Batch normalisation of channels, as in PyTorch.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: the weight of the new statistics; None averages all batches so far.
        affine: whether there are a weight and a bias.
        track_running_stats: whether evaluation uses running statistics instead of the batch's.
    """

    axes: tuple[int, ...] = ()

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True, *,
                 dtype: Any = np.float32) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(np.ones(num_features, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(num_features, dtype)) if affine else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", tg.zeros(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", tg.ones(num_features, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", tg.tensor(0) if tracked else None)

    def forward(self, x: Any) -> tg.Tensor:
        if x.ndim not in self.axes or x.shape[1] != self.num_features:
            raise ValueError(f"{type(self).__name__}: expects {self.num_features} channels on axis 1 and "
                             f"{' or '.join(map(str, self.axes))} axes, got x of shape {x.shape}")
        use_batch = self.training or not self.track_running_stats
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.mutate()[...] += 1
            momentum = 1 / self.num_batches_tracked.item() if momentum is None else momentum
        return tg.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, use_batch,
                             momentum or 0.0, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of x (N, C, H, W).

    Example:
        >>> BatchNorm2d(3)(tg.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """

    axes = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (N, C) or (N, C, L).

    Example:
        >>> BatchNorm1d(3)(tg.ones(2, 3)).shape
        (2, 3)
    """

    axes = (2, 3)


class LayerNorm(Module):
    """Normalise over the last axes, of shape `normalized_shape`.

    Example:
        >>> LayerNorm(8)(tg.ones(2, 8)).shape
        (2, 8)
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, *, dtype: Any = np.float32) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.normalized_shape, self.eps = shape, eps
        affine = elementwise_affine
        self.register_parameter("weight", Parameter(np.ones(shape, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(shape, dtype)) if affine else None)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class GroupNorm(Module):
    """Normalise groups of channels of each sample.

    Example:
        >>> GroupNorm(2, 4)(tg.ones(2, 4, 3, 3)).shape
        (2, 4, 3, 3)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *,
                 dtype: Any = np.float32) -> None:
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(f"GroupNorm: num_channels={num_channels} must be divisible by "
                             f"num_groups={num_groups}")
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.register_parameter("weight", Parameter(np.ones(num_channels, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(num_channels, dtype)) if affine else None)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}"


class InstanceNorm2d(Module):
    """Normalise each channel of each sample of x (N, C, H, W); no weights by default, as in PyTorch.

    Example:
        >>> InstanceNorm2d(3)(tg.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """

    def __init__(self, num_features: int, eps: float = 1e-5, affine: bool = False, *,
                 dtype: Any = np.float32) -> None:
        super().__init__()
        self.num_features, self.eps = num_features, eps
        self.register_parameter("weight", Parameter(np.ones(num_features, dtype)) if affine else None)
        self.register_parameter("bias", Parameter(np.zeros(num_features, dtype)) if affine else None)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"
