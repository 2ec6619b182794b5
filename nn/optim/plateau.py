"""The schedule that watches a metric: it lowers the rate when the metric stops improving."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..numbers import number
from .optimizer import Optimizer, check_optimizer


class ReduceLROnPlateau:
    """Multiplies the rate by `factor` when a metric has not improved for more than `patience` steps.

    Args:
        mode: "min" if a smaller metric is better, else "max".
        factor, patience, threshold, cooldown, eps: as in PyTorch.
        threshold_mode: "rel": better than best * (1 -+ threshold); "abs": than best -+ threshold.
        min_lr: the lowest rate, one number or one per group.

    Raises:
        ValueError: for other modes, or a factor that does not reduce.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.ReduceLROnPlateau(opt, patience=0)
        >>> s.step(1.0); s.step(1.0); opt.param_groups[0]["lr"]
        0.1
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float | Sequence[float] = 0.0, eps: float = 1e-8) -> None:
        op = "ReduceLROnPlateau"
        check_optimizer(op, optimizer)
        rates = min_lr if isinstance(min_lr, list | tuple) else (min_lr,)
        for name, value in (("factor", factor), ("patience", patience), ("threshold", threshold),
                            ("cooldown", cooldown), ("eps", eps), *(("min_lr", rate) for rate in rates)):
            number(op, name, value, 0)
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: expects mode 'min' or 'max', threshold_mode 'rel' or "
                             f"'abs', factor in [0, 1), got {mode!r}, {threshold_mode!r}, {factor}")
        if isinstance(min_lr, list | tuple) and len(min_lr) != len(optimizer.param_groups):
            raise ValueError(f"ReduceLROnPlateau: min_lr has {len(min_lr)} rates for "
                             f"{len(optimizer.param_groups)} groups")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = self.cooling = 0

    def _improved(self, metric: float) -> bool:
        part = -self.threshold if self.mode == "min" else self.threshold
        bound = self.best * (1 + part) if self.threshold_mode == "rel" else self.best + part
        return metric < bound if self.mode == "min" else metric > bound

    def step(self, metric: float) -> None:
        """Report the newest value of the metric, once per epoch."""
        metric = float(metric)
        if self._improved(metric):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.cooling:
            self.cooling, self.bad_epochs = self.cooling - 1, 0
        if self.bad_epochs > self.patience:
            self._reduce()
            self.cooling, self.bad_epochs = self.cooldown, 0

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        least = self.min_lr if isinstance(self.min_lr, list | tuple) else [self.min_lr] * len(groups)
        for group, lowest in zip(groups, least):
            new = max(group["lr"] * self.factor, lowest)
            if group["lr"] - new > self.eps:
                group["lr"] = new

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The schedule's progress, as numbers; the rates are in the optimiser's state."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.best, self.bad_epochs, self.cooling = (
            float(state["best"]), int(state["bad_epochs"]), int(state["cooling"]))
