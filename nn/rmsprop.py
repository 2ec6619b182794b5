"""RMSprop: steps scaled by a running mean of the squared gradient."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optim import Optimizer, State, decayed


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps), with eps outside the root.

    `centered` subtracts the squared mean of g from v; `momentum` collects steps.

    Source: Hinton's lecture 6e, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered})

    def _update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        g, alpha = decayed(p, g, group["weight_decay"]), group["alpha"]
        v = state.setdefault("square", np.zeros_like(p))
        v *= alpha
        v += (1 - alpha) * (g * g)
        scale = v
        if group["centered"]:
            m = state.setdefault("mean", np.zeros_like(p))
            m *= alpha
            m += (1 - alpha) * g
            scale = v - m * m
        step = g / (np.sqrt(scale) + group["eps"])
        if group["momentum"]:
            b = state.setdefault("momentum", np.zeros_like(p))
            b *= group["momentum"]
            b += step
            step = b
        p -= group["lr"] * step
