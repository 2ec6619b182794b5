"""Learning-rate schedules: the rate as a function of the number of `step()` calls so far.

A schedule sets the rate of every group of its optimiser when it is made, and at each `step()`.
Names, arguments and values are PyTorch's. The forms are closed: `load_state_dict` can put a
schedule at any step. If something else changes the rate, `step()` raises rather than overwrite it.
"""
from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import Any

from ..numbers import number
from .optimizer import Optimizer, check_optimizer


class Schedule:
    """Base class: `rate(base, t)` gives the rate after t steps for a group that began at `base`.

    Example:
        >>> import nn
        >>> class Inverse(nn.Schedule):
        ...     def rate(self, base, t):
        ...         return base / (1 + t)
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = Inverse(opt)
        >>> s.step(); s.get_last_lr()
        [0.5]
    """

    def __init__(self, optimizer: Optimizer) -> None:
        check_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        self._move(0)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(); define it")

    def set_rates(self) -> None:
        """Give every group of the optimiser the rate of this moment."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(group.setdefault("initial_lr", group["lr"]), self.t)

    def step(self) -> None:
        """Advance by one step: call it after each batch or each epoch, whichever the arguments count.

        Raises:
            RuntimeError: if something else has changed the rate.
        """
        for i, (now, own) in enumerate(zip(self.get_last_lr(), self._rates)):
            if now != own:
                raise RuntimeError(
                    f"{type(self).__name__}: the rate of group {i} is {now:g}, this schedule set {own:g}; "
                    f"chain schedules with SequentialLR, change a rate by the group's "
                    f"'initial_lr', and load a schedule's state with the optimiser's")
        self._move(self.t + 1)

    def _move(self, t: int) -> None:
        self.t = t
        self.set_rates()
        self._rates = self.get_last_lr()

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """The schedule's progress, as numbers."""
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`; load the optimiser first."""
        self._move(int(state["t"]))


class StepLR(Schedule):
    """Multiplies the rate by `gamma` every `step_size` steps.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.StepLR(opt, 2)
        >>> s.step(); s.step(); opt.param_groups[0]["lr"]
        0.1
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        number("StepLR", "step_size", step_size, 1)
        number("StepLR", "gamma", gamma)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """Multiplies the rate by `gamma` at each of the milestones.

    Example:
        >>> import nn
        >>> s = nn.MultiStepLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), [1, 2], gamma=0.5)
        >>> s.rate(1.0, 0), s.rate(1.0, 1), s.rate(1.0, 2)
        (1.0, 0.5, 0.25)
    """

    def __init__(self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1) -> None:
        number("MultiStepLR", "gamma", gamma)
        for milestone in milestones:
            number("MultiStepLR", "a milestone", milestone)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, t)


class ExponentialLR(Schedule):
    """Multiplies the rate by `gamma` at every step.

    Example:
        >>> import nn
        >>> nn.ExponentialLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), 0.5).rate(1.0, 3)
        0.125
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        number("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** t


class CosineAnnealingLR(Schedule):
    """Half a cosine from the base rate to `eta_min` in `T_max` steps (and back, if continued).

    Example:
        >>> import nn
        >>> s = nn.CosineAnnealingLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), 10)
        >>> s.rate(1.0, 0), round(s.rate(1.0, 5), 9), s.rate(1.0, 10)
        (1.0, 0.5, 0.0)

    Source: Loshchilov & Hutter 2017, without restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        number("CosineAnnealingLR", "T_max", T_max, 1)
        number("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class LinearLR(Schedule):
    """Linear warm-up: the factor goes from `start_factor` to `end_factor` in `total_iters` steps.

    Put another schedule after it with `SequentialLR`.

    Example:
        >>> import nn
        >>> s = nn.LinearLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), 0.5, total_iters=2)
        >>> s.rate(1.0, 0), s.rate(1.0, 1), s.rate(1.0, 2), s.rate(1.0, 3)
        (0.5, 0.75, 1.0, 1.0)
    """

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0,
                 total_iters: int = 5) -> None:
        number("LinearLR", "total_iters", total_iters, 1)
        number("LinearLR", "start_factor", start_factor)
        number("LinearLR", "end_factor", end_factor)
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1:
            raise ValueError(f"LinearLR: factors must be between 0 and 1, the first above 0, got "
                             f"{start_factor} and {end_factor}")
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        part = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * part)


class SequentialLR(Schedule):
    """One schedule after the other: at each milestone the next one begins, at its step 0.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.SequentialLR(opt, [nn.LinearLR(opt, 0.5, total_iters=2), nn.StepLR(opt, 1)], [2])
        >>> for _ in range(3): s.step()
        >>> opt.param_groups[0]["lr"]
        0.1
    """

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[Schedule],
                 milestones: Sequence[int]) -> None:
        for milestone in milestones:
            number("SequentialLR", "a milestone", milestone)
        if len(milestones) != len(schedulers) - 1 or list(milestones) != sorted(milestones):
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                             f"milestones in order, got {list(milestones)}")
        for s in schedulers:
            if not isinstance(s, Schedule) or s.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: {type(s).__name__} is not a step schedule over the same "
                                 f"optimiser")
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer)

    def set_rates(self) -> None:
        """Put the schedule whose turn it is at its own step."""
        i = bisect.bisect_right(self.milestones, self.t)
        current = self.schedulers[i]
        current.t = self.t - (self.milestones[i - 1] if i else 0)
        current.set_rates()
