"""Adam and AdamW: steps scaled by running means of the gradient and of its square."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Group, Optimizer, Slots, decayed


class Adam(Optimizer):
    """p -= lr m^ / (sqrt(v^) + eps), with m^ and v^ bias-corrected running means of g and g^2.

    eps is added outside the root of v^ (Kingma & Ba 2015, algorithm 1, and PyTorch).
    Weight decay is L2: it is added to the gradient; see AdamW.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or betas outside [0, 1).

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 3.0).sum().backward()
        >>> nn.Adam([p], lr=0.25).step()
        >>> p.item()
        0.75
    """

    decoupled = False

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: Group) -> None:
        super().check(group)
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2 or not all(b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), got {betas}")

    def slots(self, group: Group) -> dict[str, float]:
        return {"mean": 0.0, "square": 0.0}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        m, v, lr, (beta1, beta2) = slots["mean"], slots["square"], group["lr"], group["betas"]
        if self.decoupled:
            p *= 1 - lr * group["weight_decay"]
        else:
            g = decayed(p, g, group["weight_decay"])
        m *= beta1
        s = g * (1 - beta1)
        m += s
        v *= beta2
        np.multiply(g, g, out=s)
        s *= 1 - beta2
        v += s
        np.sqrt(v, out=s)
        s *= 1 / math.sqrt(1 - beta2 ** t)
        s += group["eps"]
        np.divide(m, s, out=s)
        s *= lr / (1 - beta1 ** t)
        p -= s


class AdamW(Adam):
    """Adam whose weight decay multiplies p by 1 - lr weight_decay before the step.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 0.0).sum().backward()
        >>> nn.AdamW([p], lr=0.5, weight_decay=0.5).step()
        >>> p.item()
        0.75

    Source: Loshchilov & Hutter 2019, with PyTorch's default of 0.01.
    """

    decoupled = True

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
