"""The update rules: SGD with momentum, Adam and its relatives, Adagrad, Adadelta, RMSprop, Lion.

Arguments are PyTorch's; `maximize` climbs instead of descending. A rule is made for those options that decide
which terms it has, once; L2 decay is added to the gradient. Rules share lines, not functions: one that calls
another is not made into machine code.
"""
import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

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
        lr, momentum, dampening, weight_decay, nesterov, maximize: as in PyTorch.

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
                 dampening: float = 0.0, weight_decay: float = 0.0, nesterov: bool = False, *,
                 maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "dampening": dampening,
                                  "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize})

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
def _adam(l2: bool, decoupled: bool, amsgrad: bool) -> Rule:
    def rule(p, m, v, g, weight_decay, kept, beta1, rest1, beta2, rest2, root, eps, rate):
        if decoupled:
            p = p * kept
        if l2:
            g = g + weight_decay * p
        m = m * beta1 + g * rest1
        v = v * beta2 + g * g * rest2
        return p - m / (v ** 0.5 * root + eps) * rate, m, v

    def with_largest(p, m, v, most, g, weight_decay, kept, beta1, rest1, beta2, rest2, root, eps, rate):
        p = p * kept if decoupled else p
        g = g + weight_decay * p if l2 else g
        m = m * beta1 + g * rest1
        v = v * beta2 + g * g * rest2
        most = np.maximum(most, v)
        return p - m / (most ** 0.5 * root + eps) * rate, m, v, most
    return with_largest if amsgrad else rule


class _Moments(Optimizer):
    """Running means of g and of g^2, with the two rates `betas`."""

    def check(self, group: Group) -> None:
        super().check(group)
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2 or not all(b < 1 for b in betas):
            raise ValueError(f"{type(self).__name__}: betas must be two numbers in [0, 1), got {betas}")

    def slots(self, group: Group) -> dict[str, float]:
        return {"mean": 0.0, "square": 0.0}


class Adam(_Moments):
    """p -= lr m^ / (sqrt(v^) + eps), with m^ and v^ bias-corrected running means of g and g^2.

    eps is added outside the root of v^ (Kingma & Ba 2015, algorithm 1, and PyTorch).
    Weight decay is L2: it is added to the gradient; see AdamW.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay, maximize: as in PyTorch.
        amsgrad: whether the largest v so far takes the place of v (Reddi et al. 2018).

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
                 eps: float = 1e-8, weight_decay: float = 0.0, amsgrad: bool = False, *,
                 maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "amsgrad": amsgrad, "maximize": maximize})

    def slots(self, group: Group) -> dict[str, float]:
        return {**super().slots(group), **({"largest": 0.0} if group["amsgrad"] else {})}

    def rule(self, group: Group) -> Rule:
        return _adam(bool(group["weight_decay"]) and not self.decoupled, self.decoupled,
                     bool(group["amsgrad"]))

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
                 eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
                 maximize: bool = False) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)


@cache
def _nadam(l2: bool, decoupled: bool) -> Rule:
    def rule(p, m, v, product, g, weight_decay, kept, beta1, rest1, beta2, rest2, root, eps, lr, mu, later):
        p = p * kept if decoupled else p
        g = g + weight_decay * p if l2 else g
        m = m * beta1 + g * rest1
        v = v * beta2 + g * g * rest2
        product = product * mu
        step = g * (1.0 - mu) / (1.0 - product) + m * later / (1.0 - product * later)
        return p - lr * step / (v ** 0.5 * root + eps), m, v, product
    return rule


class NAdam(_Moments):
    """Adam that looks ahead, as Nesterov's momentum does, with a momentum that grows towards beta1.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or betas outside [0, 1).

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 3.0).sum().backward()
        >>> nn.NAdam([p], lr=0.25).step()
        >>> round(p.item(), 4)
        0.7359

    Source: Dozat 2016, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, momentum_decay: float = 4e-3,
                 decoupled_weight_decay: bool = False, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "momentum_decay": momentum_decay, "maximize": maximize,
                                  "decoupled_weight_decay": decoupled_weight_decay})

    def slots(self, group: Group) -> dict[str, float]:
        return {**super().slots(group), "product": 1.0}  # of the momenta so far

    def rule(self, group: Group) -> Rule:
        decoupled = bool(group["decoupled_weight_decay"])
        return _nadam(bool(group["weight_decay"]) and not decoupled, decoupled)

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        mu, later = (beta1 * (1 - 0.5 * 0.96 ** (k * group["momentum_decay"])) for k in (t, t + 1))
        return (decay, 1 - lr * decay, beta1, 1 - beta1, beta2, 1 - beta2, 1 / math.sqrt(1 - beta2 ** t),
                group["eps"], lr, mu, later)


@cache
def _radam(l2: bool, decoupled: bool) -> Rule:
    def rule(p, m, v, g, weight_decay, kept, beta1, rest1, beta2, rest2, eps, adaptive, plain):
        p = p * kept if decoupled else p
        g = g + weight_decay * p if l2 else g
        m = m * beta1 + g * rest1
        v = v * beta2 + g * g * rest2
        return p - m * (adaptive / (v ** 0.5 + eps) + plain), m, v
    return rule


class RAdam(_Moments):
    """Adam without a warm-up: the root of v counts as far as enough steps have been seen to know it.

    Args:
        params: parameters or groups.
        lr, betas, eps, weight_decay, decoupled_weight_decay, maximize: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or betas outside [0, 1).

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 3.0).sum().backward()
        >>> nn.RAdam([p], lr=0.25).step()
        >>> p.item()
        0.25

    Source: Liu et al. 2020, in PyTorch's form.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, decoupled_weight_decay: bool = False, *,
                 maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                                  "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize})

    def rule(self, group: Group) -> Rule:
        decoupled = bool(group["decoupled_weight_decay"])
        return _radam(bool(group["weight_decay"]) and not decoupled, decoupled)

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        lr, decay, (beta1, beta2) = group["lr"], group["weight_decay"], group["betas"]
        rate, left = lr / (1 - beta1 ** t), 1 - beta2 ** t
        longest = 2 / (1 - beta2) - 1  # the average's length in the end, and now
        length = longest - 2 * t * beta2 ** t / left
        sure = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        adaptive, plain = (rate * math.sqrt(sure * left), 0.0) if length > 5 else (0.0, rate)
        return decay, 1 - lr * decay, beta1, 1 - beta1, beta2, 1 - beta2, group["eps"], adaptive, plain


def _lion(p, m, g, kept, beta1, rest1, beta2, rest2, lr):
    return p * kept - lr * np.sign(m * beta1 + g * rest1), m * beta2 + g * rest2


class Lion(_Moments):
    """p -= lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g; decay as in AdamW.

    Every entry moves by lr: a third to a tenth of Adam's rate does as much.

    Args:
        params: parameters or groups.
        lr, betas, weight_decay: as in the paper. maximize: climb.

    Raises:
        ValueError: for negative numbers, or betas outside [0, 1).

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 3.0).sum().backward()
        >>> nn.Lion([p], lr=0.25).step()
        >>> p.item()
        0.75

    Source: Chen et al. 2023, algorithm 2.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99),
                 weight_decay: float = 0.0, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay,
                                  "maximize": maximize})

    def slots(self, group: Group) -> dict[str, float]:
        return {"mean": 0.0}

    def rule(self, group: Group) -> Rule:
        return _lion

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        return 1 - lr * group["weight_decay"], beta1, 1 - beta1, beta2, 1 - beta2, lr


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
        lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize: as in PyTorch.

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
                 eps: float = 1e-10, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
                                  "initial_accumulator_value": initial_accumulator_value,
                                  "maximize": maximize})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": group["initial_accumulator_value"]}

    def rule(self, group: Group) -> Rule:
        return _adagrad(bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        return group["weight_decay"], group["lr"] / (1 + (t - 1) * group["lr_decay"]), group["eps"]


@cache
def _adadelta(decay: bool) -> Rule:
    def rule(p, s, moved, g, weight_decay, rho, rest, eps, lr):
        g = g + weight_decay * p if decay else g
        s = s * rho + g * g * rest
        step = (moved + eps) ** 0.5 / (s + eps) ** 0.5 * g
        return p - lr * step, s, moved * rho + step * step * rest
    return rule


class Adadelta(Optimizer):
    """p -= lr d, d = sqrt(mean of d^2 + eps) / sqrt(mean of g^2 + eps) g, the means running ones.

    Args:
        params: parameters or groups.
        lr, rho, eps, weight_decay, maximize: as in PyTorch.

    Raises:
        ValueError: for negative numbers, or rho above 1.

    Example:
        >>> import nn
        >>> p = nn.Parameter([1.0])
        >>> (p * 2.0).sum().backward()
        >>> nn.Adadelta([p]).step()
        >>> round(p.item(), 4)
        0.9968

    Source: Zeiler 2012.
    """

    def __init__(self, params: Iterable[Any], lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6,
                 weight_decay: float = 0.0, *, maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                                  "maximize": maximize})

    def check(self, group: Group) -> None:
        super().check(group)
        if group["rho"] > 1:
            raise ValueError(f"Adadelta: rho must be between 0 and 1, got {group['rho']}")

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": 0.0, "moved": 0.0}

    def rule(self, group: Group) -> Rule:
        return _adadelta(bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        rho = group["rho"]
        return group["weight_decay"], rho, 1 - rho, group["eps"], group["lr"]


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
        lr, alpha, eps, weight_decay, momentum, centered, maximize: as in PyTorch.

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
                 weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False, *,
                 maximize: bool = False) -> None:
        super().__init__(params, {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                                  "momentum": momentum, "centered": centered, "maximize": maximize})

    def slots(self, group: Group) -> dict[str, float]:
        return {"square": 0.0, **({"mean": 0.0} if group["centered"] else {}),
                **({"momentum": 0.0} if group["momentum"] else {})}

    def rule(self, group: Group) -> Rule:
        return _rmsprop(bool(group["centered"]), bool(group["momentum"]), bool(group["weight_decay"]))

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        alpha = group["alpha"]
        return group["lr"], group["weight_decay"], alpha, 1 - alpha, group["momentum"], group["eps"]
