"""Adagrad: steps scaled by the sum of all squared gradients so far."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Group, Optimizer, Slots, decayed


class Adagrad(Optimizer):
    """s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    Args:
        params: parameters or groups.
        lr, lr_decay, weight_decay, initial_accumulator_value, eps: as in PyTorch.

    Raises:
        ValueError: for negative numbers.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 2.0).sum().backward()
        >>> nn.Adagrad([p], lr=0.25).step()
        >>> p.item()
        0.75

    Source: Duchi et al. 2011, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0,
                 weight_decay: float = 0.0, initial_accumulator_value: float = 0.0,
                 eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
                                  "initial_accumulator_value": initial_accumulator_value})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": group["initial_accumulator_value"]}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        slots["square"] += g * g
        lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        p -= lr * g / (np.sqrt(slots["square"]) + group["eps"])
