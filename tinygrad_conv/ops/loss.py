"""Losses on real values: squared, absolute, Huber; binary cross entropy on logits; KL divergence.

All end in `reduced`. Shapes must be equal: a loss that broadcasts (N, 1) against (N,) is nearly
always a mistake, so it is refused (PyTorch warns). Composites of other ops, no primitives.
"""
from __future__ import annotations

from typing import Any

from ..arguments import number, one_of
from ..operands import as_floats, as_tensor
from . import elementwise as ew
from .activation import softplus
from .reduce import mean, sum

REDUCTIONS = ("mean", "sum", "none")


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """One number for the whole batch, or the losses themselves."""
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


def _pair(op: str, input: Any, target: Any, reduction: str,
          choices: tuple[str, ...] = REDUCTIONS) -> tuple[Tensor, Tensor]:
    one_of(reduction, op, "reduction", choices)
    x, t = as_floats(input, op, "input"), as_tensor(target, op)
    if x.shape != t.shape:
        fix = "nothing is broadcast here, since (N, 1) against (N,) would compare all pairs"
        if [n for n in x.shape if n != 1] == [n for n in t.shape if n != 1]:
            fix = f"reshape one of them, e.g. target.reshape({x.shape})"
        raise ValueError(f"{op}: input and target must have one shape, got {x.shape} and {t.shape}; {fix}")
    return x, t if t.dtype.kind == "f" else ew.astype(t, x.dtype)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)**2; the mean is over all elements.

    Args:
        input, target: of one shape; PyTorch would broadcast, with a warning.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> mse_loss([1.0, 2.0], [0.0, 0.0]).item()
        2.5
    """
    x, t = _pair("mse_loss", input, target, reduction)
    r = x - t
    return reduced(r * r, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input - target|, with derivative 0 where they are equal; the mean is over all elements.

    Args:
        input, target: of one shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> l1_loss([1.0, 2.0], [0.0, 0.0]).item()
        1.5
    """
    x, t = _pair("l1_loss", input, target, reduction)
    return reduced(ew.abs(x - t), reduction)


def _huber(x: Tensor, t: Tensor, delta: float) -> Tensor:
    """e (r - e/2), with e = r cut off at +-delta: r**2/2 inside, delta (|r| - delta/2) outside."""
    r = x - t
    e = ew.clip(r, -delta, delta)
    return e * (r - 0.5 * e)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """r**2/2 where r = |input - target| is at most delta, else delta (r - delta/2).

    Args:
        input, target: of one shape.
        reduction: "mean" (over all elements), "sum" or "none".
        delta: above 0.

    Raises:
        ValueError: if the shapes differ, or for another reduction or delta.

    Example:
        >>> huber_loss([0.5, 3.0], [0.0, 0.0], "none").data.tolist()
        [0.125, 2.5]

    Source: Huber 1964; arguments as torch.nn.functional.huber_loss.
    """
    delta = number(delta, "huber_loss", "delta")
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    return reduced(_huber(*_pair("huber_loss", input, target, reduction), delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """huber_loss with delta = beta, divided by beta: slope 1 outside. For beta = 0, l1_loss.

    Args:
        input, target: of one shape.
        reduction: "mean" (over all elements), "sum" or "none".
        beta: at least 0.

    Raises:
        ValueError: if the shapes differ, or for another reduction or beta.

    Example:
        >>> smooth_l1_loss([0.5, 3.0], [0.0, 0.0], "none", 2.0).data.tolist()
        [0.0625, 2.0]

    Source: Girshick 2015; arguments as torch.nn.functional.smooth_l1_loss.
    """
    beta = number(beta, "smooth_l1_loss", "beta", 0)
    x, t = _pair("smooth_l1_loss", input, target, reduction)
    return reduced(_huber(x, t, beta) * (1.0 / beta) if beta else ew.abs(x - t), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None,
                                     reduction: str = "mean", pos_weight: Any = None) -> Tensor:
    """-(p t log s + (1 - t) log(1 - s)), s = sigmoid(input), p = pos_weight; safe at any input.

    Args:
        input: logits, any shape.
        target: of that shape, between 0 and 1.
        weight: multiplies the loss; broadcasts to the shape of input.
        reduction: "mean" (over all elements, also with weights), "sum" or "none".
        pos_weight: multiplies the term of the positive targets; broadcasts to that shape.

    Raises:
        ValueError: if shapes do not fit, or for another reduction.

    Example:
        >>> binary_cross_entropy_with_logits([1000.0, -1000.0], [1.0, 0.0]).item()
        0.0

    Source: PyTorch's function of that name.
    """
    op = "binary_cross_entropy_with_logits"
    x, t = _pair(op, input, target, reduction)
    weight, pos_weight = [None if w is None else as_tensor(w, op) for w in (weight, pos_weight)]
    for name, w in (("weight", weight), ("pos_weight", pos_weight)):
        if w is not None and (w.ndim > x.ndim or any(
                n not in (1, m) for n, m in zip(w.shape[::-1], x.shape[::-1]))):
            raise ValueError(f"{op}: {name} must broadcast to the shape of input, {x.shape}, got "
                             f"{w.shape}")
    ones = t if pos_weight is None else t * pos_weight
    inf = float("inf")                                          # softplus(-x) = -log(sigmoid(x))
    loss = ones * softplus(-x, threshold=inf) + (1.0 - t) * softplus(x, threshold=inf)
    return reduced(loss if weight is None else loss * weight, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log target - input), elementwise: input holds log-probabilities.

    Args:
        input: log-probabilities, any shape.
        target: probabilities of that shape (0 counts 0), or their logarithms.
        reduction: "sum" and "batchmean" (divided by the length of the first axis) are the
            Kullback-Leibler divergence. "mean" is PyTorch's: divided by the number of elements,
            classes included. Or "none".
        log_target: whether target holds logarithms.

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> kl_div([[-0.5, -1.0]], [[1.0, 0.0]], "batchmean").item()
        0.5

    Source: PyTorch's torch.nn.functional.kl_div.
    """
    x, t = _pair("kl_div", input, target, reduction, (*REDUCTIONS, "batchmean"))
    if log_target:
        loss = ew.exp(t) * (t - x)
    else:
        some = t != 0.0
        loss = ew.where(some, t * (ew.log(ew.where(some, t, 1.0)) - ew.where(some, x, 0.0)), 0.0)
    if reduction != "batchmean":
        return reduced(loss, reduction)
    n = x.shape[0] if x.ndim else 1
    return sum(loss) * (1.0 / n if n else float("nan"))
