"""Loss scaling: gradients of float16 numbers that would vanish are computed larger, and divided again."""
import math
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .optimizer import Optimizer


class GradScaler:
    """Multiplies a loss so that float16 gradients neither vanish nor, more than now and then, overflow.

    A step with a gradient that is not finite is left out and the scale multiplied by `backoff_factor`; after
    `growth_interval` steps in a row without one it is multiplied by `growth_factor`.

    Args:
        init_scale: the first scale.
        growth_factor, backoff_factor, growth_interval: as in PyTorch.

    Raises:
        ValueError: for a factor out of range.

    Example:
        >>> import nn
        >>> p, scaler = nn.Parameter(np.ones(2, np.float16)), nn.GradScaler(init_scale=1024.0)
        >>> optimizer = nn.SGD([p], lr=0.5)
        >>> scaler.scale((p * p).sum()).backward()
        >>> p.grad.numpy().tolist()
        [2048.0, 2048.0]
        >>> scaler.unscale_(optimizer)
        >>> scaler.step(optimizer), p.numpy().tolist()
        (True, [0.0, 0.0])

    Source: Micikevicius et al., Mixed Precision Training, 2018; PyTorch's torch.amp.GradScaler.
    """

    def __init__(self, init_scale: float = 65536.0, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000) -> None:
        self.value = _scale(init_scale)
        self.growth_factor = tg.arguments.number(growth_factor, "GradScaler", "growth_factor", 1)
        self.backoff_factor = tg.arguments.number(backoff_factor, "GradScaler", "backoff_factor", 0, 1)
        self.growth_interval = tg.arguments.whole(growth_interval, "GradScaler", "growth_interval", 1)
        self.good_steps, self._finite = 0, True

    def scale(self, loss: tg.Tensor) -> tg.Tensor:
        """The loss, in float32 at least, times the scale."""
        return loss.astype(np.promote_types(loss.dtype, np.float32)) * self.value

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients, in float32 at least, by the scale: once before each `step`."""
        for p in optimizer.parameters():
            if p.grad is not None:
                wide = p.grad.detach().numpy().astype(np.promote_types(p.dtype, np.float32))
                p.grad = tg.tensor(wide / wide.dtype.type(self.value))
        self._finite = all(np.isfinite(p.grad.numpy()).all() for p in optimizer.parameters()
                           if p.grad is not None)

    def step(self, optimizer: Optimizer) -> bool:
        """A step of the optimiser, if the unscaled gradients were finite, and the scale of the next.

        Returns:
            whether there was a step.
        """
        if self._finite:
            optimizer.step()
            self.good_steps += 1
            if self.good_steps == self.growth_interval:
                self.value, self.good_steps = min(self.value * self.growth_factor, 2.0 ** 100), 0
        else:
            self.value, self.good_steps = max(self.value * self.backoff_factor, 2.0 ** -100), 0
        return self._finite

    def state_dict(self) -> dict[str, Any]:
        """The scale, and the steps since it changed."""
        return {"scale": self.value, "good_steps": self.good_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`.

        Raises:
            ValueError, TypeError: if they are no such numbers; nothing has changed then.
        """
        good = tg.arguments.whole(state["good_steps"], "GradScaler", "good_steps", 0)
        self.value, self.good_steps = _scale(state["scale"]), good

    def __repr__(self) -> str:
        return f"GradScaler(scale {self.value:g}, {self.good_steps} steps since it changed)"


def _scale(value: Any) -> float:
    scale = tg.arguments.number(value, "GradScaler", "scale", 0)
    if not 0 < scale < math.inf:
        raise ValueError(f"GradScaler: the scale must be above 0 and finite, got {scale}")
    return scale
