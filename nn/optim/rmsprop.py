"""RMSprop: steps scaled by a running mean of the squared gradient."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Group, Optimizer, Slots, decayed


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps), with eps outside the root.

    `centered` subtracts the squared mean of g from v; `momentum` accumulates steps.

    Args:
        params: parameters or groups.
        lr, alpha, eps, weight_decay, momentum, centered: as in PyTorch.

    Raises:
        ValueError: for negative numbers.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 2.0).sum().backward()
        >>> nn.RMSprop([p], lr=0.25, alpha=0.0).step()
        >>> p.item()
        0.75

    Source: Hinton's lecture 6e, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": 0.0, **({"mean": 0.0} if group["centered"] else {}),
                **({"momentum": 0.0} if group["momentum"] else {})}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g, alpha, v = decayed(p, g, group["weight_decay"]), group["alpha"], slots["square"]
        v *= alpha
        v += (1 - alpha) * (g * g)
        scale = v
        if group["centered"]:
            m = slots["mean"]
            m *= alpha
            m += (1 - alpha) * g
            scale = v - m * m
        step = g / (np.sqrt(scale) + group["eps"])
        if group["momentum"]:
            slots["momentum"] *= group["momentum"]
            slots["momentum"] += step
            step = slots["momentum"]
        p -= group["lr"] * step
