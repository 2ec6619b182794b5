"""The update rules: SGD with momentum, Adam, AdamW, Adagrad and RMSprop, with PyTorch's arguments."""
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .optimizer import Group, Optimizer, Slots


def decayed(p: np.ndarray, g: np.ndarray, weight_decay: float) -> np.ndarray:
    """The gradient with L2 decay in it."""
    return g + weight_decay * p if weight_decay else g


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g, first v = g; p -= lr v (nesterov: lr (g + momentum v)).

    The learning rate multiplies v, as in PyTorch, so a new rate applies to old momentum, too.

    Args:
        params: parameters or groups.
        lr, momentum, dampening, weight_decay, nesterov: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or nesterov without momentum or with dampening.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * p).sum().backward()
        >>> nn.SGD([p], lr=0.25).step()
        >>> p.item()
        0.5

    Source: Sutskever et al. 2013, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, momentum: float = 0.0,
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov})

    def check(self, group: Group) -> None:
        super().check(group)
        if group["nesterov"] and (not group["momentum"] or group["dampening"]):
            raise ValueError(f"SGD: nesterov needs momentum above 0 and no dampening, got "
                             f"momentum={group['momentum']}, dampening={group['dampening']}")

    def slots(self, group: Group) -> dict[str, float]:
        return {"momentum": 0.0} if group["momentum"] else {}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        if slots:
            v = slots["momentum"]
            v *= group["momentum"]
            v += g if t == 1 or not group["dampening"] else (1 - group["dampening"]) * g
            g = g + group["momentum"] * v if group["nesterov"] else v
        p -= group["lr"] * g


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


class Adagrad(Optimizer):
    """s += g^2; p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps).

    Args:
        params: parameters or groups.
        lr, lr_decay, weight_decay, initial_accumulator_value, eps: as in PyTorch.

    Raises:
        ValueError: for negative numbers.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 2.0).sum().backward()
        >>> nn.Adagrad([p], lr=0.25).step()
        >>> p.item()
        0.75

    Source: Duchi et al. 2011, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, lr_decay: float = 0.0,
                 weight_decay: float = 0.0, initial_accumulator_value: float = 0.0,
                 eps: float = 1e-10) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
                                  "initial_accumulator_value": initial_accumulator_value})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": group["initial_accumulator_value"]}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g = decayed(p, g, group["weight_decay"])
        slots["square"] += g * g
        lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
        p -= lr * g / (np.sqrt(slots["square"]) + group["eps"])


class RMSprop(Optimizer):
    """v = alpha v + (1 - alpha) g^2; p -= lr g / (sqrt(v) + eps), with eps outside the root.

    `centered` subtracts the squared mean of g from v; `momentum` accumulates steps.

    Args:
        params: parameters or groups.
        lr, alpha, eps, weight_decay, momentum, centered: as in PyTorch.

    Raises:
        ValueError: for negative numbers.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 2.0).sum().backward()
        >>> nn.RMSprop([p], lr=0.25, alpha=0.0).step()
        >>> p.item()
        0.75

    Source: Hinton's lecture 6e, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8,
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": 0.0, **({"mean": 0.0} if group["centered"] else {}),
                **({"momentum": 0.0} if group["momentum"] else {})}

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        g, alpha, v = decayed(p, g, group["weight_decay"]), group["alpha"], slots["square"]
        v *= alpha
        v += (1 - alpha) * (g * g)
        scale = v
        if group["centered"]:
            m = slots["mean"]
            m *= alpha
            m += (1 - alpha) * g
            scale = v - m * m
        step = g / (np.sqrt(scale) + group["eps"])
        if group["momentum"]:
            slots["momentum"] *= group["momentum"]
            slots["momentum"] += step
            step = slots["momentum"]
        p -= group["lr"] * step
