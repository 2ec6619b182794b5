"""Losses as modules: the engine's functions with their options kept.

`reduction` is "mean", "sum" or "none" (`KLDivLoss` also "batchmean"). Weights are buffers: they
are saved with the module and not trained.
"""
from typing import Any

import tinygrad_conv as tg

from .function import OptionLayer


class _Loss(OptionLayer):
    """A function of (input, target); weights become buffers. Prints nothing, like PyTorch's."""

    inputs = ("input", "target")  # the first argument may be a weight, an array; the second never is

    def __init__(self, weights: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(**options)
        for name, value in (weights or {}).items():
            kept = value if value is None or isinstance(value, tg.Tensor) else tg.tensor(value)
            self.register_buffer(name, None if kept is None else kept.detach())
            self.option_names += (name,)

    def forward(self, input: Any, target: Any) -> tg.Tensor:
        return self.function(input, target, **self.options())

    def extra_repr(self) -> str:
        return ""


class CrossEntropyLoss(_Loss):
    """`tg.cross_entropy`: class indices or probabilities against logits.

    Example:
        >>> import numpy as np
        >>> round(CrossEntropyLoss()(tg.zeros(2, 4), np.array([0, 3])).item(), 4)
        1.3863
    """

    function = staticmethod(tg.cross_entropy)

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
                 label_smoothing: float = 0.0) -> None:
        super().__init__({"weight": weight}, ignore_index=ignore_index, reduction=reduction,
                         label_smoothing=label_smoothing)


class NLLLoss(_Loss):
    """`tg.nll_loss`: class indices against log-probabilities.

    Example:
        >>> NLLLoss()(tg.tensor([[-0.5, -1.0]]), [1]).item()
        1.0
    """

    function = staticmethod(tg.nll_loss)

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__({"weight": weight}, ignore_index=ignore_index, reduction=reduction)


class _Difference(_Loss):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)


class MSELoss(_Difference):
    """`tg.mse_loss`: the mean over all elements of the squared difference.

    Example:
        >>> MSELoss()(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0])).item()
        2.0
    """

    function = staticmethod(tg.mse_loss)


class L1Loss(_Difference):
    """`tg.l1_loss`: the mean over all elements of the absolute difference.

    Example:
        >>> L1Loss()(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0])).item()
        1.0
    """

    function = staticmethod(tg.l1_loss)


class SmoothL1Loss(_Loss):
    """`tg.smooth_l1_loss`: squared below `beta`, absolute above.

    Example:
        >>> SmoothL1Loss()(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0])).item()
        0.75
    """

    function = staticmethod(tg.smooth_l1_loss)

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction=reduction, beta=beta)


class HuberLoss(_Loss):
    """`tg.huber_loss`: delta times the smooth L1 loss with beta = delta.

    Example:
        >>> HuberLoss()(tg.tensor([1.0, 2.0]), tg.tensor([1.0, 4.0])).item()
        0.75
    """

    function = staticmethod(tg.huber_loss)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction, delta=delta)


class BCELoss(_Loss):
    """`tg.binary_cross_entropy`, of probabilities; of what comes before the sigmoid, `BCEWithLogitsLoss`.

    Example:
        >>> round(BCELoss()(tg.tensor([0.5]), tg.tensor([1.0])).item(), 4)
        0.6931
    """

    function = staticmethod(tg.binary_cross_entropy)

    def __init__(self, weight: Any = None, reduction: str = "mean") -> None:
        super().__init__({"weight": weight}, reduction=reduction)


class BCEWithLogitsLoss(_Loss):
    """`tg.binary_cross_entropy_with_logits`.

    Example:
        >>> round(BCEWithLogitsLoss()(tg.tensor([0.0]), tg.tensor([1.0])).item(), 4)
        0.6931
    """

    function = staticmethod(tg.binary_cross_entropy_with_logits)

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None) -> None:
        super().__init__({"weight": weight, "pos_weight": pos_weight}, reduction=reduction)


class KLDivLoss(_Loss):
    """`tg.kl_div`: input are log-probabilities; "batchmean" is the mathematical definition.

    Example:
        >>> KLDivLoss("batchmean")(tg.log_softmax(tg.zeros(1, 2), 1), tg.full((1, 2), 0.5)).item()
        0.0
    """

    function = staticmethod(tg.kl_div)

    def __init__(self, reduction: str = "mean", log_target: bool = False) -> None:
        super().__init__(reduction=reduction, log_target=log_target)


class MultiMarginLoss(_Loss):
    """`tg.hinge_loss`: the multi-class hinge.

    Example:
        >>> MultiMarginLoss()(tg.tensor([[0.0, 0.5]]), [1]).item()
        0.25
    """

    function = staticmethod(tg.hinge_loss)

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None,
                 reduction: str = "mean") -> None:
        super().__init__({"weight": weight}, p=p, margin=margin, reduction=reduction)


class MarginRankingLoss(_Loss):
    """`tg.margin_ranking_loss`: which of two inputs should be the larger.

    Example:
        >>> MarginRankingLoss()(tg.tensor([1.0]), tg.tensor([3.0]), tg.tensor([1.0])).item()
        2.0
    """

    inputs = ("input1", "input2", "target")
    function = staticmethod(tg.margin_ranking_loss)

    def __init__(self, margin: float = 0.0, reduction: str = "mean") -> None:
        super().__init__(margin=margin, reduction=reduction)

    def forward(self, input1: Any, input2: Any, target: Any) -> tg.Tensor:
        return self.function(input1, input2, target, **self.options())


class TripletMarginLoss(_Loss):
    """`tg.triplet_margin_loss`: the anchor should be nearer to the positive than to the negative.

    Example:
        >>> loss = TripletMarginLoss(eps=0.0)
        >>> loss(tg.zeros(1, 2), tg.tensor([[3.0, 4.0]]), tg.tensor([[0.0, 1.0]])).item()
        5.0
    """

    inputs = ("anchor", "positive", "negative")
    function = staticmethod(tg.triplet_margin_loss)

    def __init__(self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
                 reduction: str = "mean") -> None:
        super().__init__(margin=margin, p=p, eps=eps, swap=swap, reduction=reduction)

    def forward(self, anchor: Any, positive: Any, negative: Any) -> tg.Tensor:
        return self.function(anchor, positive, negative, **self.options())
