"""Stochastic gradient descent, with momentum."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Group, Optimizer, Slots, decayed


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g, first v = g; p -= lr v (nesterov: lr (g + momentum v)).

    The learning rate multiplies v, as in PyTorch, so a new rate applies to old momentum, too.

    Args:
        params: parameters or groups.
        lr, momentum, dampening, weight_decay, nesterov: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or nesterov without momentum or with dampening.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * p).sum().backward()
        >>> nn.SGD([p], lr=0.25).step()
        >>> p.item()
        0.5

    Source: Sutskever et al. 2013, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov})

    def check(self, group: Group) -> None:
        super().check(group)
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError(f"SGD: nesterov needs momentum above 0 and no dampening, got "
                             f"momentum={group['momentum']}, dampening={group['dampening']}")

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0} if group["momentum"] else {}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        if slots:
            v = slots["momentum"]
            v *= group["momentum"]
            v += g if t == 1 or not group["dampening"] else (1 - group["dampening"]) * g
            g = g + group["momentum"] * v if group["nesterov"] else v
        p -= group["lr"] * g
