"""The one-cycle schedule: the rate goes up and down again, momentum down and up."""
from __future__ import annotations

import math
from collections.abc import Sequence

from ..numbers import number
from .optimizer import Optimizer, check_optimizer
from .schedule import Schedule


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
        check_optimizer("OneCycleLR", optimizer)
        number("OneCycleLR", "total_steps", total_steps, 1)
        for name, value in (("pct_start", pct_start), ("base_momentum", base_momentum),
                            ("max_momentum", max_momentum), ("div_factor", div_factor),
                            ("final_div_factor", final_div_factor)):
            number("OneCycleLR", name, value, 0)
        if not div_factor or not final_div_factor:
            raise ValueError("OneCycleLR: div_factor and final_div_factor must be above 0, they divide")
        if not 0 <= pct_start <= 1 or anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"OneCycleLR: expects pct_start in [0, 1] and anneal_strategy 'cos' or "
                             f"'linear', got {pct_start} and {anneal_strategy!r}")
        self.total_steps, self.anneal_strategy, self.three_phase = total_steps, anneal_strategy, three_phase
        self.cycle_momentum, self.base_momentum = cycle_momentum, base_momentum
        self.max_momentum, self.div_factor = max_momentum, div_factor
        self.final_div_factor = final_div_factor
        up = pct_start * total_steps - 1
        self.ends = [up, 2 * up, total_steps - 1] if three_phase else [up, total_steps - 1]
        self._begin(optimizer, max_lr)
        super().__init__(optimizer)

    def _begin(self, optimizer: Optimizer, max_lr: float | Sequence[float]) -> None:
        groups = optimizer.param_groups
        rates = list(max_lr) if isinstance(max_lr, list | tuple) else [max_lr] * len(groups)
        if len(rates) != len(groups):
            raise ValueError(f"OneCycleLR: max_lr has {len(rates)} rates for {len(groups)} groups")
        if self.cycle_momentum and not all("betas" in g or "momentum" in g for g in groups):
            raise ValueError(f"OneCycleLR: {type(optimizer).__name__} has no momentum to cycle; pass "
                             f"cycle_momentum=False")
        for rate in rates:
            number("OneCycleLR", "max_lr", rate, 0)
        for group, rate in zip(groups, rates):
            group["initial_lr"] = rate / self.div_factor

    def _along(self, knots: Sequence[float], t: int) -> float:
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
        back = [base] if self.three_phase else []
        return self._along([base, base * self.div_factor, *back, base / self.final_div_factor], t)

    def set_rates(self) -> None:
        """Give every group the rate and the momentum of this moment."""
        super().set_rates()
        if not self.cycle_momentum:
            return
        high, low = self.max_momentum, self.base_momentum
        value = self._along([high, low, high, high], self.t)
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value
