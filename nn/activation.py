"""Activations as modules."""
from __future__ import annotations

from typing import Any

import tinygrad_conv as tg

from .module import Module


class _Activation(Module):
    """A function of x and of keyword options that are kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


class ReLU(_Activation):
    """max(x, 0)."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: Any) -> tg.Tensor:
        return tg.relu(x)


class ReLU6(ReLU):
    """min(max(x, 0), 6)."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.relu6(x)


class Sigmoid(ReLU):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.sigmoid(x)


class Tanh(ReLU):
    """tanh(x)."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.tanh(x)


class SiLU(ReLU):
    """x sigmoid(x)."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.silu(x)


class SELU(ReLU):
    """The self-normalising ELU."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.selu(x)


class LeakyReLU(_Activation):
    """x, or negative_slope x below 0."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.leaky_relu(x, **self.options)


class ELU(_Activation):
    """x, or alpha (exp(x) - 1) below 0."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.elu(x, **self.options)


class GELU(_Activation):
    """x Phi(x); approximate="tanh" for the approximation."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.gelu(x, **self.options)


class Softplus(_Activation):
    """log(1 + exp(beta x)) / beta."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.softplus(x, **self.options)


class Hardtanh(_Activation):
    """x between min_val and max_val."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.hardtanh(x, **self.options)


class Softmax(_Activation):
    """exp(x) / sum(exp(x)) along `dim`."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)

    def forward(self, x: Any) -> tg.Tensor:
        return tg.softmax(x, self.options["dim"])


class LogSoftmax(Softmax):
    """log(softmax(x)) along `dim`."""

    def forward(self, x: Any) -> tg.Tensor:
        return tg.log_softmax(x, self.options["dim"])
