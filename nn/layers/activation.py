"""Activations as modules."""
from __future__ import annotations

from typing import Any

import tinygrad_conv as tg

from .module import Module
from .options import Options, not_in_place


class Activation(Options):
    """One that PyTorch can also compute in place.

    Raises:
        ValueError: for `inplace=True`.
    """

    def __init__(self, inplace: bool = False, **options: Any) -> None:
        not_in_place(type(self).__name__, inplace)
        super().__init__(**options)


class ReLU(Activation):
    """max(x, 0).

    Example:
        >>> ReLU()(tg.tensor([-1.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.relu(x)


class ReLU6(Activation):
    """min(max(x, 0), 6).

    Example:
        >>> ReLU6()(tg.tensor([-1.0, 9.0])).numpy().tolist()
        [0.0, 6.0]
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.relu6(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)).

    Example:
        >>> Sigmoid()(tg.tensor([0.0])).item()
        0.5
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.sigmoid(x)


class Tanh(Module):
    """tanh(x).

    Example:
        >>> Tanh()(tg.tensor([0.0])).item()
        0.0
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.tanh(x)


class SiLU(Activation):
    """x sigmoid(x), also called swish.

    Example:
        >>> SiLU()(tg.tensor([0.0])).item()
        0.0
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.silu(x)


class SELU(Activation):
    """The self-normalising ELU (Klambauer et al. 2017).

    Example:
        >>> round(SELU()(tg.tensor([1.0])).item(), 4)
        1.0507
    """

    def forward(self, x: Any) -> tg.Tensor:
        return tg.selu(x)


class LeakyReLU(Activation):
    """x, or negative_slope x below 0.

    Example:
        >>> LeakyReLU(0.5)(tg.tensor([-1.0, 2.0])).numpy().tolist()
        [-0.5, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace, negative_slope=negative_slope)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.leaky_relu(x, self.negative_slope)


class ELU(Activation):
    """x, or alpha (exp(x) - 1) below 0.

    Example:
        >>> ELU()(tg.tensor([0.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace, alpha=alpha)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.elu(x, self.alpha)


class GELU(Options):
    """x Phi(x), Phi the normal distribution function; approximate="tanh" for the approximation.

    Example:
        >>> GELU()(tg.tensor([0.0])).item()
        0.0
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.gelu(x, self.approximate)


class Softplus(Options):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold.

    Example:
        >>> round(Softplus()(tg.tensor([0.0])).item(), 4)
        0.6931
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.softplus(x, self.beta, self.threshold)


class Hardtanh(Activation):
    """x between min_val and max_val.

    Example:
        >>> Hardtanh()(tg.tensor([-3.0, 0.5])).numpy().tolist()
        [-1.0, 0.5]
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace, min_val=min_val, max_val=max_val)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.hardtanh(x, self.min_val, self.max_val)


class Softmax(Options):
    """exp(x) / sum(exp(x)) along `dim`, by default the last axis.

    Example:
        >>> Softmax()(tg.zeros(1, 4)).numpy().tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.softmax(x, self.dim)


class LogSoftmax(Options):
    """log(softmax(x)) along `dim`, by default the last axis.

    Example:
        >>> round(LogSoftmax()(tg.zeros(1, 4))[0, 0].item(), 4)
        -1.3863
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.log_softmax(x, self.dim)
