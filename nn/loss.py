"""Losses as modules: the engine's functions with their options kept."""
from __future__ import annotations

from typing import Any

import tinygrad_conv as tg

from .module import Module


class _Loss(Module):
    """A function of (input, target) and of keyword options that are kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.options.items() if v is not None)


class CrossEntropyLoss(_Loss):
    """`tg.cross_entropy`.

    Example:
        >>> import numpy as np
        >>> round(CrossEntropyLoss()(tg.zeros(2, 4), np.array([0, 3])).item(), 4)
        1.3863
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction,
                         label_smoothing=label_smoothing)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.cross_entropy(input, target, **self.options)


class NLLLoss(_Loss):
    """`tg.nll_loss`."""

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.nll_loss(input, target, **self.options)


class MSELoss(_Loss):
    """`tg.mse_loss`."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.mse_loss(input, target, **self.options)


class L1Loss(MSELoss):
    """`tg.l1_loss`."""

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.l1_loss(input, target, **self.options)


class SmoothL1Loss(_Loss):
    """`tg.smooth_l1_loss`."""

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction, beta=beta)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.smooth_l1_loss(input, target, **self.options)


class HuberLoss(_Loss):
    """`tg.huber_loss`."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.huber_loss(input, target, **self.options)


class BCEWithLogitsLoss(_Loss):
    """`tg.binary_cross_entropy_with_logits`."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.binary_cross_entropy_with_logits(input, target, **self.options)


class KLDivLoss(_Loss):
    """`tg.kl_div`."""

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction, log_target=log_target)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.kl_div(input, target, **self.options)


class MultiMarginLoss(_Loss):
    """`tg.hinge_loss`: the multi-class hinge."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__(p=p, margin=margin, weight=weight, reduction=reduction)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return tg.hinge_loss(input, target, **self.options)
