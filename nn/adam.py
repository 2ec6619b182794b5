"""Adam and AdamW: steps scaled by running means of the gradient and of its square."""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optim import Optimizer, State, decayed, scratch


class Adam(Optimizer):
    """m, v running means of g and g^2, freed of their start at 0; p -= lr m^ / (sqrt(v^) + eps).

    eps stands outside the root of the corrected v (Kingma & Ba 2015, algorithm 1, and PyTorch).
    Weight decay is L2: it is added to the gradient; see AdamW.

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
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must be in [0, 1), got {betas}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
        if self.decoupled:
            p *= 1 - lr * decay
        else:
            g = decayed(p, g, decay)
        if "step" not in state:
            state.update(step=0, mean=np.zeros_like(p), square=np.zeros_like(p))
        state["step"] += 1
        m, v, t = state["mean"], state["square"], scratch(state, p)
        m *= beta1
        m += np.multiply(g, 1 - beta1, out=t)
        v *= beta2
        np.multiply(g, g, out=t)
        v += np.multiply(t, 1 - beta2, out=t)
        np.sqrt(v, out=t)
        t *= 1 / math.sqrt(1 - beta2 ** state["step"])
        t += group["eps"]
        np.divide(m, t, out=t)
        p -= np.multiply(t, lr / (1 - beta1 ** state["step"]), out=t)


class AdamW(Adam):
    """Adam whose weight decay multiplies p by 1 - lr weight_decay before the step.

    Source: Loshchilov & Hutter 2019, with PyTorch's default of 0.01.
    """

    decoupled = True

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 1e-2) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
