"""Normalisation layers, as in PyTorch; batch and instance norm can keep running statistics."""
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .module import Module, Parameter


class Norm(Module):
    """Base class of the normalisation layers: a weight of ones and a bias of zeros, if asked for."""

    def __init__(self, shape: int | tuple[int, ...], weight: bool, bias: bool, dtype: Any) -> None:
        super().__init__()
        self.register_parameter("weight", Parameter(tg.ones(shape, dtype=dtype)) if weight else None)
        self.register_parameter("bias", Parameter(tg.zeros(shape, dtype=dtype)) if bias else None)


class _ChannelNorm(Norm):
    """`op` over the channels of x, with as many axes as `ndims` says; mean and variance can be tracked."""

    op: Callable[..., tg.Tensor] = staticmethod(tg.batch_norm)
    ndims: tuple[int, ...] = (4,)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = True, track_running_stats: bool = True, *,
                 dtype: Any = np.float32) -> None:
        num_features = tg.arguments.whole(num_features, type(self).__name__, "num_features", 1)
        super().__init__(num_features, affine, affine, dtype)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        for name, start in (("running_mean", tg.zeros(num_features, dtype=dtype)),
                            ("running_var", tg.ones(num_features, dtype=dtype)),
                            ("num_batches_tracked", tg.tensor(0))):
            self.register_buffer(name, start if track_running_stats else None)

    def forward(self, x: Any) -> tg.Tensor:
        shape = np.shape(x)
        if len(shape) not in self.ndims or shape[1] != self.num_features:
            fits = f"; num_features={shape[1]} would fit" if len(shape) in self.ndims else ""
            fits += tg.arguments.misplaced(shape, self.num_features, max(self.ndims) - 2)
            raise ValueError(f"{type(self).__name__}: expects {' or '.join(map(str, self.ndims))} axes with "
                             f"num_features={self.num_features} channels on axis 1, got x of shape "
                             f"{shape}{fits}")
        count = self.num_batches_tracked
        learns = self.training and count is not None
        return self.op(x, self.running_mean, self.running_var, self.weight, self.bias,
                       learns or count is None, self.momentum if learns else 0.0, self.eps,
                       num_batches_tracked=count if learns else None)

    def extra_repr(self) -> str:
        return (f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
                f"track_running_stats={self.track_running_stats}")


class BatchNorm2d(_ChannelNorm):
    """Normalise each channel of x (N, C, H, W) over the batch and the plane.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: the weight of the new statistics; None averages all batches so far.
        affine: whether there are a weight and a bias.
        track_running_stats: whether evaluation uses running statistics instead of the batch's.

    Raises:
        ValueError: at the call, if x has other channels, or one value per channel in training.

    Example:
        >>> BatchNorm2d(3)(tg.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """


class BatchNorm1d(_ChannelNorm):
    """Normalise each channel of x (N, C) or (N, C, L); arguments as `BatchNorm2d`.

    Example:
        >>> BatchNorm1d(3)(tg.ones(2, 3)).shape
        (2, 3)
    """

    ndims = (2, 3)


class InstanceNorm2d(_ChannelNorm):
    """Normalise each channel of each sample of x (N, C, H, W); no weights by default, as in PyTorch.

    Arguments as `BatchNorm2d`; running statistics, if tracked, are averages over the samples. Unlike
    in PyTorch, `num_batches_tracked` counts up, so that `momentum=None` averages.

    Example:
        >>> InstanceNorm2d(3)(tg.ones(2, 3, 4, 4)).shape
        (2, 3, 4, 4)
    """

    op = staticmethod(tg.instance_norm)

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
                 affine: bool = False, track_running_stats: bool = False, *,
                 dtype: Any = np.float32) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype=dtype)


class LayerNorm(Norm):
    """Normalise over the last axes, of shape `normalized_shape`.

    Args:
        normalized_shape: sizes of the last axes, or of the last one.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias of that shape.
        bias: whether there is a bias, if there is a weight.

    Example:
        >>> LayerNorm(8)(tg.ones(2, 8)).shape
        (2, 8)
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5,
                 elementwise_affine: bool = True, bias: bool = True, *, dtype: Any = np.float32) -> None:
        dims = len(normalized_shape) if isinstance(normalized_shape, Sequence) else 1
        shape = tg.arguments.sizes(normalized_shape, "LayerNorm", "normalized_shape", max(1, dims))
        super().__init__(shape, elementwise_affine, elementwise_affine and bias, dtype)
        self.normalized_shape, self.eps, self.elementwise_affine = shape, eps, elementwise_affine

    def forward(self, x: Any) -> tg.Tensor:
        return tg.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Norm):
    """Normalise groups of channels of each sample.

    Args:
        num_groups, num_channels: the second divisible by the first.
        eps: added to the variance.
        affine: whether there are a weight and a bias, one value per channel.

    Example:
        >>> GroupNorm(2, 4)(tg.ones(2, 4, 3, 3)).shape
        (2, 4, 3, 3)
    """

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *,
                 dtype: Any = np.float32) -> None:
        if (not all(tg.arguments.is_whole(n, 1) for n in (num_groups, num_channels))
                or num_channels % num_groups):
            raise ValueError(f"GroupNorm: num_channels={num_channels!r} must be divisible by "
                             f"num_groups={num_groups!r}, both whole numbers of at least 1")
        num_groups, num_channels = int(num_groups), int(num_channels)  # NumPy's wrap around
        super().__init__(num_channels, affine, affine, dtype)
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine

    def forward(self, x: Any) -> tg.Tensor:
        shape = np.shape(x)
        if len(shape) < 2 or shape[1] != self.num_channels:
            raise ValueError(f"GroupNorm: expects num_channels={self.num_channels} on axis 1, got x of shape "
                             f"{shape}" + tg.arguments.misplaced(shape, self.num_channels, 2))
        return tg.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"
