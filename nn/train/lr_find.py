"""Which learning rate to begin with: a few steps at ever larger ones, and what the loss does."""
import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module, evaluating
from ..optim.optimizer import Optimizer
from . import curves
from .given import check_model, one_value, pair

SMOOTH = 0.9  # how much of the running mean of the loss is kept
DIVERGED = 4  # times the smallest loss


@dataclass(frozen=True)
class LRFind:
    """What `lr_find` saw: the rates, the loss at each, and its running mean."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float:
        """The rate at which the running mean falls most steeply over the logarithm of the rate."""
        upto = max(2, int(self.smoothed.argmin()) + 1)
        return float(self.rates[np.gradient(self.smoothed[:upto]).argmin()])

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the losses over the rates, and the suggestion.

        Args:
            path: as of `nn.History.plot`; without it the figure is returned.
        """
        figure = curves.figure_of(5.4, 3.6)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, ".", color="#d55e00", markersize=3, alpha=0.5, label="batch")
        axes.plot(self.rates, self.smoothed, color="#0072b2", label="running mean")
        axes.axvline(self.suggestion, color="0.4", linestyle="--", label=f"suggestion {self.suggestion:.2g}")
        low, high = self.smoothed.min(), self.smoothed.max()
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss",
                 ylim=(low - 0.1 * (high - low or 1), high + 0.1 * (high - low or 1)))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        return curves.kept(figure, path)


def lr_find(model: Module, train: Any, optimizer: Optimizer,
            loss: Callable[..., tg.Tensor] = tg.cross_entropy, *, start: float = 1e-6, end: float = 1.0,
            steps: int = 100) -> LRFind:
    """Train for some steps at rates from `start` to `end`, and forget it again.

    Model, gradients, optimiser, and the generators of the model and the loader are as they were then. It
    ends early where the loss is no longer finite or has grown to four times its smallest mean.

    Args:
        model, train, optimizer, loss: as of `nn.fit`; the loader is begun anew when it is at its end.
        start, end: the first and the last rate, of all groups; those between grow by one factor.
        steps: how many.

    Raises:
        ValueError: if the loader gives no batches, or the rates are not 0 < start < end.
        TypeError: as of `nn.fit`.

    Example:
        >>> import nn
        >>> rng = np.random.default_rng(0)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=rng))
        >>> train = nn.data.DataLoader(nn.data.digits("train"), 64, shuffle=True, rng=rng)
        >>> found = nn.lr_find(net, train, nn.Adam(net.parameters()), steps=40)
        >>> 1e-5 < found.suggestion < 1
        True

    Source: Smith, Cyclical Learning Rates for Training Neural Networks, 2017.
    """
    check_model("lr_find", model, loss, train)
    tg.arguments.instance(optimizer, Optimizer, "lr_find", "an optimiser third")
    steps = tg.arguments.whole(steps, "lr_find", "steps", 3)
    if not 0 < start < end < math.inf:
        raise ValueError(f"lr_find: the rates must be 0 < start < end, got {start} and {end}")
    rates, losses = np.geomspace(start, end, steps), []
    mean = best = 0.0
    smoothed: list[float] = []
    with (tg.state_kept(), evaluating(model), _undone(model, optimizer, getattr(train, "rng", None)),
          np.errstate(all="ignore")):
        model.train()  # evaluating(model) gives the modes back
        for i, (rate, batch) in enumerate(zip(rates, _endless(train)), 1):
            x, y = pair("lr_find", batch)
            optimizer.zero_grad()
            value = one_value("lr_find", loss(model(tg.tensor(x)), y))
            value.backward()
            if not math.isfinite(value.item()):
                break
            losses.append(value.item())
            mean = SMOOTH * mean + (1 - SMOOTH) * losses[-1]
            smoothed.append(mean / (1 - SMOOTH ** i))  # without the bias to the 0 it began with
            best = min(best or smoothed[-1], smoothed[-1])
            if smoothed[-1] > DIVERGED * best:
                break
            for group in optimizer.param_groups:
                group["lr"] = float(rate)
            optimizer.step()
    if len(losses) < 2:
        raise ValueError(f"lr_find: the loss is not finite at the rate {start}; lower start")
    return LRFind(rates[:len(losses)], np.array(losses), np.array(smoothed))


def _endless(train: Any) -> Iterator[Any]:
    while True:
        count = 0
        for count, batch in enumerate(train, 1):  # noqa: B007
            yield batch
        if not count:
            raise ValueError("lr_find: the loader gave no batches; its data set is empty, or it is an "
                             "iterator that was used up")


@contextmanager
def _undone(model: Module, optimizer: Optimizer, rng: Any) -> Iterator[None]:
    """What is done in the block is undone at its end, but for the modes."""
    generators = [g for _, g in model.named_generators()] + [rng] * isinstance(rng, np.random.Generator)
    weights, states = model.state_dict(), [copy.deepcopy(g.bit_generator.state) for g in generators]
    params = {id(p): p for p in (*model.parameters(), *optimizer.parameters())}.values()
    grads, others = [p.grad for p in params], [p.detach().numpy().copy() for p in params]
    progress, groups = copy.deepcopy(optimizer.state), [dict(group) for group in optimizer.param_groups]
    try:
        yield
    finally:
        model.load_state_dict(weights)
        tg.change([*params], lambda _: others)
        for p, g in zip(params, grads):
            p.grad = g
        optimizer.state = progress
        for group, kept in zip(optimizer.param_groups, groups):
            group.update(kept)
        for g, state in zip(generators, states):
            g.bit_generator.state = state
