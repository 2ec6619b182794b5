"""Stochastic gradient descent, with momentum."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optim import Optimizer, State, decayed, scratch


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g, first v = g; p -= lr v (nesterov: lr (g + momentum v)).

    The learning rate stands outside v, as in PyTorch: another rate acts on old momentum too.

    Args:
        params: parameters or groups.
        lr, momentum, dampening, weight_decay, nesterov: as in PyTorch.

    Example:
        >>> import nn, tinygrad_conv as tg
        >>> p = nn.Parameter([1.0])
        >>> (p * p).sum().backward()
        >>> nn.SGD([p], lr=0.25).step()
        >>> p.item()
        0.5

    Source: Sutskever et al. 2013, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        if nesterov and (momentum <= 0 or dampening):
            raise ValueError(f"SGD: nesterov needs momentum above 0 and no dampening, got "
                             f"momentum={momentum}, dampening={dampening}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov})

    def _update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        g = decayed(p, g, group["weight_decay"])
        momentum = group["momentum"]
        if momentum:
            if "momentum" not in state:
                state["momentum"] = np.array(g)
            else:
                v = state["momentum"]
                v *= momentum
                v += g if not group["dampening"] else (1 - group["dampening"]) * g
            v = state["momentum"]
            g = g + momentum * v if group["nesterov"] else v
        p -= np.multiply(g, group["lr"], out=scratch(state, p))
