"""The update rules: SGD with momentum, Adam, AdamW, Adagrad and RMSprop, with PyTorch's arguments.

A rule is made for those options that decide which terms it has, once; L2 decay is added to the gradient.
"""
import math
from collections.abc import Iterable
from functools import cache
from typing import Any

from .optimizer import Group, Optimizer, Rule


@cache
def _sgd(momentum: bool, nesterov: bool, decay: bool) -> Rule:
    def plain(p, g, lr, weight_decay):
        return (p - lr * (g + weight_decay * p if decay else g),)

    def moving(p, v, g, lr, weight_decay, momentum, gain):
        g = g + weight_decay * p if decay else g
        v = momentum * v + gain * g
        return p - lr * (g + momentum * v if nesterov else v), v
    return moving if momentum else plain


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

    def rule(self, group: Group) -> Rule:
        return _sgd(bool(group["momentum"]), bool(group["nesterov"]), bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        momentum, gain = group["momentum"], 1.0 if t == 1 else 1 - group["dampening"]
        return (group["lr"], group["weight_decay"], *((momentum, gain) if momentum else ()))


@cache
def _adam(l2: bool, decoupled: bool) -> Rule:
    def rule(p, m, v, g, weight_decay, kept, beta1, rest1, beta2, rest2, root, eps, rate):
        if decoupled:
            p = p * kept
        if l2:
            g = g + weight_decay * p
        m = m * beta1 + g * rest1
        v = v * beta2 + g * g * rest2
        return p - m / (v ** 0.5 * root + eps) * rate, m, v
    return rule


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

    def rule(self, group: Group) -> Rule:
        return _adam(bool(group["weight_decay"]) and not self.decoupled, self.decoupled)

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        return (decay, 1 - lr * decay, beta1, 1 - beta1, beta2, 1 - beta2, 1 / math.sqrt(1 - beta2 ** t),
                group["eps"], lr / (1 - beta1 ** t))


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


@cache
def _adagrad(decay: bool) -> Rule:
    def rule(p, s, g, weight_decay, rate, eps):
        g = g + weight_decay * p if decay else g
        s = s + g * g
        return p - rate * g / (s ** 0.5 + eps), s
    return rule


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

    def rule(self, group: Group) -> Rule:
        return _adagrad(bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        return group["weight_decay"], group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"]


@cache
def _rmsprop(centered: bool, momentum: bool, decay: bool) -> Rule:
    def rule(p, v, *rest):
        m, rest = (rest[0], rest[1:]) if centered else (None, rest)
        b, rest = (rest[0], rest[1:]) if momentum else (None, rest)
        g, lr, weight_decay, alpha, others, mu, eps = rest
        g = g + weight_decay * p if decay else g
        v = v * alpha + others * (g * g)
        kept = [v]
        if centered:
            m = m * alpha + others * g
            kept.append(m)
        step = g / ((v - m * m if centered else v) ** 0.5 + eps)
        if momentum:
            step = b * mu + step
            kept.append(step)
        return (p - lr * step, *kept)
    return rule


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

    def rule(self, group: Group) -> Rule:
        return _rmsprop(bool(group["centered"]), bool(group["momentum"]), bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        alpha = group["alpha"]
        return group["lr"], group["weight_decay"], alpha, 1 - alpha, group["momentum"], group["eps"]
