"""Learning-rate schedules: the rate as a function of the number of `step()` calls so far.

A schedule sets the rate of every group of its optimiser when it is made, and at each `step()`.
Names, arguments and values are PyTorch's. The forms are closed: `load_state_dict` can put a
schedule at any step. If something else changes the rate, `step()` raises rather than overwrite it.
`ReduceLROnPlateau` alone is no function of the step: it watches a metric.
"""
import bisect
import inspect
import math
from collections.abc import Sequence
from typing import Any

import tinygrad_conv as tg

from .optimizer import Optimizer


def _per_group(op: str, name: str, value: Any, optimizer: Optimizer) -> list[float]:
    """A rate for each group of the optimiser: one number for all, or as many as there are groups."""
    groups = len(tg.arguments.instance(optimizer, Optimizer, op, "an optimiser first").param_groups)
    rates = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(rates) != groups:
        raise ValueError(f"{op}: {name} has {len(rates)} rates for {groups} groups")
    return [tg.arguments.number(rate, op, name, 0) for rate in rates]


class _Scheduler:
    """What all schedules have: an optimiser, whose rates they set."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer: Optimizer = tg.arguments.instance(optimizer, Optimizer, type(self).__name__,
                                                          "an optimiser first")

    def get_last_lr(self) -> list[float]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def __repr__(self) -> str:
        names = [*inspect.signature(type(self)).parameters][1:]  # without the optimiser
        given = {name: vars(self)[name] for name in names if name in vars(self)}
        options = ", ".join(f"{name}={f'{value:g}' if isinstance(value, float) else repr(value)}"
                            for name, value in given.items())
        progress = ", ".join(f"{'step' if key == 't' else key} {value}"
                             for key, value in self.state_dict().items())
        rates = ", ".join(f"{rate:.4g}" for rate in self.get_last_lr())
        return f"{type(self).__name__}({options}): {progress}, rate {rates}"


class Schedule(_Scheduler):
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
        super().__init__(optimizer)
        self._move(0)

    def rate(self, base: float, t: int) -> float:
        """The rate after t steps."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(); define it")

    def set_rates(self) -> None:
        """Give every group of the optimiser the rate of this moment."""
        groups = self.optimizer.param_groups
        bases = [group.setdefault("initial_lr", group["lr"]) for group in groups]
        for group, rate in zip(groups, [float(self.rate(base, self.t)) for base in bases]):
            group["lr"] = rate

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
        before, self.t = vars(self).get("t", t), t
        try:
            self.set_rates()
        except Exception:  # no rate at that step
            self.t = before
            raise
        self._rates = self.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The schedule's progress, as numbers."""
        return {"t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`; load the optimiser first."""
        self._move(tg.arguments.whole(state["t"], type(self).__name__, "t", 0))


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
        self.step_size = tg.arguments.number(step_size, type(self).__name__, "step_size", 1)
        self.gamma = tg.arguments.number(gamma, type(self).__name__, "gamma")
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
        self.milestones = sorted(tg.arguments.number(m, "MultiStepLR", "a milestone") for m in milestones)
        self.gamma = tg.arguments.number(gamma, "MultiStepLR", "gamma")
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** bisect.bisect_right(self.milestones, t)


class ExponentialLR(StepLR):
    """Multiplies the rate by `gamma` at every step: a `StepLR` of step size 1.

    Example:
        >>> import nn
        >>> nn.ExponentialLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), 0.5).rate(1.0, 3)
        0.125
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        super().__init__(optimizer, 1, gamma)


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
        self.T_max = tg.arguments.number(T_max, "CosineAnnealingLR", "T_max", 1)
        self.eta_min = tg.arguments.number(eta_min, "CosineAnnealingLR", "eta_min")
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine from the base rate to `eta_min` in `T_0` steps, and again, each `T_mult` times as long.

    Example:
        >>> import nn
        >>> s = nn.CosineAnnealingWarmRestarts(nn.SGD([nn.Parameter([1.0])], lr=1.0), 2, 2)
        >>> [round(s.rate(1.0, t), 9) for t in range(7)]
        [1.0, 0.5, 1.0, 0.853553391, 0.5, 0.146446609, 1.0]

    Source: Loshchilov & Hutter 2017.
    """

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0) -> None:
        name = type(self).__name__
        self.T_0 = tg.arguments.whole(T_0, name, "T_0", 1)
        self.T_mult = tg.arguments.whole(T_mult, name, "T_mult", 1)
        self.eta_min = tg.arguments.number(eta_min, name, "eta_min")
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        length = self.T_0
        if self.T_mult == 1:
            t %= length
        while t >= length:
            t, length = t - length, length * self.T_mult
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / length)) / 2


class PolynomialLR(Schedule):
    """base (1 - t / total_iters)**power, and 0 from `total_iters` steps on.

    Example:
        >>> import nn
        >>> s = nn.PolynomialLR(nn.SGD([nn.Parameter([1.0])], lr=1.0), 4, 2.0)
        >>> s.rate(1.0, 0), s.rate(1.0, 2), s.rate(1.0, 9)
        (1.0, 0.25, 0.0)
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = tg.arguments.number(total_iters, "PolynomialLR", "total_iters", 1)
        self.power = tg.arguments.number(power, "PolynomialLR", "power", 0)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power


class LambdaLR(Schedule):
    """base times a function of the number of steps: one for all groups, or a list with one for each.

    The function is not part of the state that is saved.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.LambdaLR(opt, lambda t: 0.5 ** t)
        >>> s.step(); s.get_last_lr()
        [0.5]
    """

    def __init__(self, optimizer: Optimizer, lr_lambda: Any) -> None:
        self.lr_lambda = list(lr_lambda) if isinstance(lr_lambda, list | tuple) else lr_lambda
        each = self.lr_lambda if isinstance(self.lr_lambda, list) else [self.lr_lambda]
        if not all(map(callable, each)):
            raise TypeError(f"LambdaLR: lr_lambda must be a function of the step, or a list of them, got "
                            f"{lr_lambda!r}")
        super().__init__(optimizer)

    def set_rates(self) -> None:
        """Give every group the rate of this moment, by its own function."""
        groups, each = self.optimizer.param_groups, self.lr_lambda
        if isinstance(each, list) and len(each) != len(groups):
            raise ValueError(f"LambdaLR: lr_lambda has {len(each)} functions for {len(groups)} groups")
        factors = [float(f(self.t)) for f in (each if isinstance(each, list) else [each] * len(groups))]
        for group, factor in zip(groups, factors):
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor


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
        self.total_iters = tg.arguments.number(total_iters, "LinearLR", "total_iters", 1)
        self.start_factor = tg.arguments.number(start_factor, "LinearLR", "start_factor", 0, 1)
        self.end_factor = tg.arguments.number(end_factor, "LinearLR", "end_factor", 0, 1)
        if not start_factor:
            raise ValueError(f"LinearLR: start_factor must be above 0, got {start_factor}")
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
        self.schedulers = list(schedulers)
        self.milestones = [tg.arguments.number(m, "SequentialLR", "a milestone") for m in milestones]
        if len(milestones) != len(schedulers) - 1 or self.milestones != sorted(milestones):
            raise ValueError(f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} "
                             f"milestones in order, got {list(milestones)}")
        for s in schedulers:
            if not isinstance(s, Schedule) or s.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: {type(s).__name__} is not a step schedule over the same "
                                 f"optimiser")
        super().__init__(optimizer)

    def set_rates(self) -> None:
        """Put the schedule whose turn it is at its own step."""
        i = bisect.bisect_right(self.milestones, self.t)
        current = self.schedulers[i]
        current.t = self.t - (int(self.milestones[i - 1]) if i else 0)
        current.set_rates()


class OneCycleLR(Schedule):
    """The rate rises to `max_lr` and falls to almost 0, while momentum does the opposite.

    Args:
        max_lr: the highest rate, one number or one per group (the optimiser's own is not used).
        total_steps: number of `step()` calls of the whole cycle, or `epochs` times
            `steps_per_epoch`.
        pct_start: the fraction of them in which the rate rises.
        anneal_strategy: along cosines ("cos") or straight lines ("linear").
        cycle_momentum: whether momentum (or Adam's first beta) goes from `max_momentum` down to
            `base_momentum` and back.
        div_factor, final_div_factor: the start is max_lr / div_factor, the end start /
            final_div_factor.
        three_phase: up, down to the start, and only then to the end.

    Raises:
        ValueError: for options out of range, or at a step after the last.

    Example:
        >>> import nn
        >>> opt = nn.SGD([nn.Parameter([1.0])], lr=1.0)
        >>> s = nn.OneCycleLR(opt, 1.0, total_steps=10, div_factor=10.0)
        >>> s.step(); s.step(); s.get_last_lr(), opt.param_groups[0]["momentum"]
        ([1.0], 0.85)

    Source: Smith & Topin 2017, in PyTorch's form.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float | Sequence[float],
                 total_steps: int | None = None, epochs: int | None = None,
                 steps_per_epoch: int | None = None, pct_start: float = 0.3,
                 anneal_strategy: str = "cos", cycle_momentum: bool = True,
                 base_momentum: float = 0.85, max_momentum: float = 0.95, div_factor: float = 25.0,
                 final_div_factor: float = 1e4, three_phase: bool = False) -> None:
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError("OneCycleLR: needs total_steps, or epochs and steps_per_epoch")
            total_steps = epochs * steps_per_epoch
        rates = _per_group("OneCycleLR", "max_lr", max_lr, optimizer)
        tg.arguments.number(total_steps, "OneCycleLR", "total_steps", 1)
        tg.arguments.number(pct_start, "OneCycleLR", "pct_start", 0, 1)
        self.base_momentum = tg.arguments.number(base_momentum, "OneCycleLR", "base_momentum", 0)
        self.max_momentum = tg.arguments.number(max_momentum, "OneCycleLR", "max_momentum", 0)
        self.div_factor = tg.arguments.number(div_factor, "OneCycleLR", "div_factor", 0)
        self.final_div_factor = tg.arguments.number(final_div_factor, "OneCycleLR", "final_div_factor", 0)
        self.anneal_strategy = tg.arguments.one_of(anneal_strategy, "OneCycleLR", "anneal_strategy",
                                                   ("cos", "linear"))
        if not div_factor or not final_div_factor:
            raise ValueError("OneCycleLR: div_factor and final_div_factor must be above 0, they divide")
        if cycle_momentum and not all("betas" in g or "momentum" in g for g in optimizer.param_groups):
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum to cycle; pass "
                             f"cycle_momentum=False")
        self.total_steps, self.cycle_momentum, self.three_phase = total_steps, cycle_momentum, three_phase
        up = pct_start * total_steps - 1
        self.ends = [up, 2 * up, total_steps - 1] if three_phase else [up, total_steps - 1]
        for group, rate in zip(optimizer.param_groups, rates):
            group["initial_lr"] = rate / self.div_factor
        super().__init__(optimizer)

    def _anneal(self, knots: Sequence[float], t: int) -> float:
        """The value at t on the way from knot to knot, which are passed at 0 and `ends`."""
        if t > self.total_steps:
            raise ValueError(f"OneCycleLR: step {t} is after the last of total_steps={self.total_steps}")
        i = next((i for i, end in enumerate(self.ends) if t <= end), len(self.ends) - 1)
        begin, end = self.ends[i - 1] if i else 0.0, self.ends[i]
        part = (t - begin) / (end - begin) if end != begin else 1.0
        a, b = knots[i], knots[i + 1]
        if self.anneal_strategy == "linear":
            return a + (b - a) * part
        return b + (a - b) / 2 * (1 + math.cos(math.pi * part))

    def rate(self, base: float, t: int) -> float:
        return self._anneal([base, base * self.div_factor, *[base] * self.three_phase,
                             base / self.final_div_factor], t)

    def set_rates(self) -> None:
        """Give every group the rate and the momentum of this moment."""
        super().set_rates()
        if self.cycle_momentum:
            high = self.max_momentum
            value = float(self._anneal([high, self.base_momentum, high, high], self.t))
            for group in self.optimizer.param_groups:
                group.update({"betas": (value, *group["betas"][1:])} if "betas" in group
                             else {"momentum": value})


class ReduceLROnPlateau(_Scheduler):
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
        super().__init__(optimizer)
        for name, value in {"factor": factor, "patience": patience, "threshold": threshold,
                            "cooldown": cooldown, "eps": eps}.items():
            tg.arguments.number(value, "ReduceLROnPlateau", name, 0)
        if factor >= 1:
            raise ValueError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        _per_group("ReduceLROnPlateau", "min_lr", min_lr, optimizer)
        self.mode = tg.arguments.one_of(mode, "ReduceLROnPlateau", "mode", ("min", "max"))
        self.threshold_mode = tg.arguments.one_of(threshold_mode, "ReduceLROnPlateau", "threshold_mode",
                                                  ("rel", "abs"))
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.min_lr, self.eps = cooldown, min_lr, eps
        self.best = math.inf if mode == "min" else -math.inf
        self.bad_epochs = self.cooling = 0

    def step(self, metric: float) -> None:
        """Report the newest value of the metric, once per epoch."""
        sign = 1 if self.mode == "min" else -1
        part = sign * self.threshold
        bound = self.best * (1 - part) if self.threshold_mode == "rel" else self.best - part
        if sign * float(metric) < sign * bound:
            self.best, self.bad_epochs = float(metric), 0
        else:
            self.bad_epochs += 1
        if self.cooling:
            self.cooling, self.bad_epochs = self.cooling - 1, 0
        if self.bad_epochs > self.patience:
            least = _per_group("ReduceLROnPlateau", "min_lr", self.min_lr, self.optimizer)
            for group, lowest in zip(self.optimizer.param_groups, least):
                new = float(max(group["lr"] * self.factor, lowest))
                if group["lr"] - new > self.eps:
                    group["lr"] = new
            self.cooling, self.bad_epochs = self.cooldown, 0

    def state_dict(self) -> dict[str, Any]:
        """The schedule's progress, as numbers; the rates are in the optimiser's state."""
        return {"best": self.best, "bad_epochs": self.bad_epochs, "cooling": self.cooling}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        name = type(self).__name__
        best, *counts = (tg.arguments.number(state["best"], name, "best"),
                         *(tg.arguments.whole(state[key], name, key, 0) for key in ("bad_epochs", "cooling")))
        if math.isnan(best):
            raise ValueError(f"{name}: best is nan, which nothing is better than")
        self.best, (self.bad_epochs, self.cooling) = best, counts
