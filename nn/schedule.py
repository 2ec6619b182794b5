"""Learning-rate schedules: the rate as a function of the number of `step()` calls so far.

A schedule sets the rate of every group of its optimiser when it is made, and at each `step()`.
Names, arguments and values are PyTorch's; the forms are closed, so a schedule can be put at any
step by `load_state_dict`.
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from .optim import Optimizer


class Schedule:
    """Base class: `rate(base, t)` gives the rate after t steps for a group that began at `base`."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.t = optimizer, 0
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self._set()

    def rate(self, base: float, t: int) -> float:
        raise NotImplementedError

    def _set(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group["initial_lr"], self.t)

    def step(self) -> None:
        """Go on by one: after each batch or each epoch, as you counted."""
        self.t += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, as numbers."""
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.t = int(state["t"])
        self._set()


class StepLR(Schedule):
    """Times `gamma` every `step_size` steps.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.StepLR(opt, 2)
        >>> s.step(); s.step(); opt.param_groups[0]["lr"]
        0.1
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """Times `gamma` at each of the milestones."""

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """Times `gamma` at every step."""

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** t


class CosineAnnealingLR(Schedule):
    """Half a cosine from the base rate to `eta_min` in `T_max` steps (and back, if it goes on)."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LinearLR(Schedule):
    """Linear warm-up: the factor goes from `start_factor` to `end_factor` in `total_iters` steps."""

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        part = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class OneCycleLR(Schedule):
    """Up to `max_lr` and down to almost nothing along cosines; momentum the other way round.

    Args:
        max_lr: the highest rate (the base rate is not used).
        total_steps: number of `step()` calls of the whole cycle.
        pct_start: the part of them that goes up.
        div_factor, final_div_factor: the start is max_lr / div_factor, the end start /
            final_div_factor.
        cycle_momentum: whether momentum (or Adam's first beta) goes from `max_momentum` down to
            `base_momentum` and back.

    Raises:
        ValueError: at a step after the last.

    Source: Smith & Topin 2017, in PyTorch's form (anneal_strategy "cos").
    """

    def __init__(self, optimizer: Optimizer, max_lr: float, total_steps: int, pct_start: float = 0.3,
                 cycle_momentum: bool = True, base_momentum: float = 0.85, max_momentum: float = 0.95,
                 div_factor: float = 25.0, final_div_factor: float = 1e4) -> None:
        self.max_lr, self.total_steps, self.pct_start = max_lr, total_steps, pct_start
        self.cycle_momentum = cycle_momentum
        self.momenta = (max_momentum, base_momentum)
        self.start = max_lr / div_factor
        self.end = self.start / final_div_factor
        super().__init__(optimizer)

    def _cycle(self, start: float, top: float, end: float, t: int) -> float:
        if t >= self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} is after the last of total_steps={self.total_steps}")
        peak = float(self.pct_start * self.total_steps) - 1
        if t <= peak:
            a, b, part = start, top, t / peak if peak else 1.0
        else:
            a, b, part = top, end, (t - peak) / (self.total_steps - 1 - peak)
        return b + (a - b) / 2 * (1 + math.cos(math.pi * part))

    def rate(self, base: float, t: int) -> float:
        return self._cycle(self.start, self.max_lr, self.end, t)

    def _set(self) -> None:
        super()._set()
        if not self.cycle_momentum:
            return
        high, low = self.momenta
        value = self._cycle(high, low, high, self.t)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            elif "momentum" in group:
                group["momentum"] = value


class SequentialLR(Schedule):
    """One schedule after the other: the next begins, at its step 0, at each milestone."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Schedule],
                 milestones: Sequence[int]) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                             f"milestones, got {len(milestones)}")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        i = bisect.bisect_right(self.milestones, t)
        return self.schedulers[i].rate(base, t - (self.milestones[i - 1] if i else 0))


class ReduceLROnPlateau:
    """Times `factor` when a metric has not improved for more than `patience` steps.

    Args:
        mode: "min" if a smaller metric is better, else "max".
        factor, patience, threshold, cooldown, min_lr, eps: as in PyTorch.
        threshold_mode: "rel": better by the part `threshold`; "abs": by the amount.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.ReduceLROnPlateau(opt, patience=0)
        >>> s.step(1.0); s.step(1.0); opt.param_groups[0]["lr"]
        0.1
    """

    def __init__(self, optimizer: Optimizer, mode: str = "min", factor: float = 0.1, patience: int = 10,
                 threshold: float = 1e-4, threshold_mode: str = "rel", cooldown: int = 0,
                 min_lr: float = 0.0, eps: float = 1e-8) -> None:
        if mode not in ("min", "max") or threshold_mode not in ("rel", "abs") or not 0 < factor < 1:
            raise ValueError(f"ReduceLROnPlateau: expects mode 'min' or 'max', threshold_mode 'rel' or "
                             f"'abs', factor in (0, 1), got {mode!r}, {threshold_mode!r}, {factor}")
        self.optimizer, self.mode, self.factor, self.patience = optimizer, mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = self.cooling = 0

    def _improved(self, metric: float) -> bool:
        sign = 1 if self.mode == "max" else -1
        margin = self.threshold * (abs(self.best) if self.threshold_mode == "rel" else 1)
        if math.isinf(self.best):
            return not math.isnan(metric)
        return sign * metric > sign * self.best + margin

    def step(self, metric: float) -> None:
        """Tell the newest value of the metric, once an epoch."""
        metric = float(metric)
        if self._improved(metric):
            self.best, self.bad_epochs = metric, 0
        else:
            self.bad_epochs += 1
        if self.cooling:
            self.cooling, self.bad_epochs = self.cooling - 1, 0
        if self.bad_epochs > self.patience:
            for group in self.optimizer.param_groups:
                new = max(group["lr"] * self.factor, self.min_lr)
                group["lr"] = new if group["lr"] - new > self.eps else group["lr"]
            self.cooling, self.bad_epochs = self.cooldown, 0

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands, as numbers."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.best, self.bad_epochs, self.cooling = (
            float(state["best"]), int(state["bad_epochs"]), int(state["cooling"]))
