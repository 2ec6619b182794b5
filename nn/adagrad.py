"""Adagrad: steps scaled by the sum of all squared gradients so far."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .optim import Optimizer, State, decayed


class Adagrad(Optimizer):
    """s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    Source: Duchi et al. 2011, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0,
                 weight_decay: float = 0.0, initial_accumulator_value: float = 0.0,
                 eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
                                  "initial_accumulator_value": initial_accumulator_value})

    def _update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        g = decayed(p, g, group["weight_decay"])
        if "step" not in state:
            state.update(step=0, square=np.full_like(p, group["initial_accumulator_value"]))
        state["step"] += 1
        lr = group["lr"] / (1 + (state["step"] - 1) * group["lr_decay"])
        state["square"] += g * g
        p -= lr * g / (np.sqrt(state["square"]) + group["eps"])
