"""Losses on real values: squared, absolute, Huber, and on logits of yes or no; KL divergence.

All end in `_reduced`. Shapes must be equal: a loss that broadcasts (N, 1) against (N,) is nearly
always a mistake, so it is refused (PyTorch warns). Composites of other ops, no primitives.
"""
from __future__ import annotations

from typing import Any

from ..core import Tensor
from . import elementwise as ew
from . import functions as fn
from . import reduce as rd
from . import shape as sh
from .activation import softplus
from .compare import greater, less, where

REDUCTIONS = ("mean", "sum", "none")


def check_reduction(op: str, reduction: str, choices: tuple[str, ...] = REDUCTIONS) -> None:
    """Refuse an unknown reduction, naming the choices."""
    if reduction not in choices:
        raise ValueError(f"{op}: reduction must be one of {', '.join(map(repr, choices))}, got "
                         f"{reduction!r}")


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    return loss if reduction == "none" else rd.mean(loss) if reduction == "mean" else rd.sum(loss)


def _pair(op: str, x: Any, target: Any, reduction: str,
          choices: tuple[str, ...] = REDUCTIONS) -> tuple[Tensor, Tensor]:
    x, target = sh.as_tensor(x, op), sh.as_tensor(target, op)
    check_reduction(op, reduction, choices)
    if x.shape != target.shape:
        raise ValueError(f"{op}: input and target must have one shape, got {x.shape} and "
                         f"{target.shape}; reshape one of them")
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: input must be floating point, got {x.dtype}")
    return x, target if target.dtype.kind == "f" else ew.astype(target, x.dtype)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)^2; "mean" is over all elements.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> mse_loss([1.0, 2.0], [0.0, 0.0]).item()
        2.5
    """
    x, y = _pair("mse_loss", input, target, reduction)
    off = ew.sub(x, y)
    return _reduced(ew.mul(off, off), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input - target|; the derivative at equality is 0.

    Example:
        >>> l1_loss([1.0, 2.0], [0.0, 0.0]).item()
        1.5
    """
    x, y = _pair("l1_loss", input, target, reduction)
    return _reduced(ew.abs(ew.sub(x, y)), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2/2 where d = |input - target| is below delta, else delta (d - delta/2).

    Example:
        >>> huber_loss([0.5, 3.0], [0.0, 0.0], "none").data.tolist()
        [0.125, 2.5]
    """
    if delta <= 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    x, y = _pair("huber_loss", input, target, reduction)
    d = ew.abs(ew.sub(x, y))
    near, far = ew.mul(ew.mul(d, d), 0.5), ew.mul(ew.sub(d, 0.5 * delta), delta)
    return _reduced(where(less(d, delta), near, far), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """huber_loss(delta=beta) / beta; for beta = 0 the absolute difference.

    Example:
        >>> smooth_l1_loss([0.5, 3.0], [0.0, 0.0], "none").data.tolist()
        [0.125, 2.5]
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    _pair("smooth_l1_loss", input, target, reduction)
    return ew.mul(huber_loss(input, target, reduction, beta), 1.0 / beta)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None,
                                     reduction: str = "mean", pos_weight: Any = None) -> Tensor:
    """-(p t log s(x) + (1 - t) log(1 - s(x))), s the sigmoid, p = `pos_weight`; safe at any x.

    Args:
        input: logits, any shape.
        target: of the same shape, between 0 and 1.
        weight: broadcasts to the loss, multiplies it.
        pos_weight: broadcasts to the loss, multiplies the part of the ones.

    Example:
        >>> binary_cross_entropy_with_logits([1000.0, -1000.0], [1.0, 0.0]).item()
        0.0
    """
    op = "binary_cross_entropy_with_logits"
    x, t = _pair(op, input, target, reduction)
    log_no = softplus(ew.neg(x), threshold=float("inf"))                       # -log s(x)
    ones = t if pos_weight is None else ew.mul(t, sh.as_tensor(pos_weight, op))
    loss = ew.add(ew.mul(ew.sub(1.0, t), x), ew.mul(ew.add(ew.sub(1.0, t), ones), log_no))
    if weight is not None:
        loss = ew.mul(loss, sh.as_tensor(weight, op))
    if loss.shape != x.shape:
        raise ValueError(f"{op}: weight and pos_weight must broadcast to {x.shape}, the loss would "
                         f"have shape {loss.shape}")
    return _reduced(loss, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """t (log t - input): input holds log-probabilities, target probabilities (or their logs).

    "mean" divides by the number of elements (PyTorch's rule), "batchmean" by the batch size: that
    is the divergence.

    Example:
        >>> kl_div([[-0.6931472, -0.6931472]], [[1.0, 0.0]], "batchmean").item()
        0.6931471824645996
    """
    x, t = _pair("kl_div", input, target, reduction, (*REDUCTIONS, "batchmean"))
    if log_target:
        loss = ew.mul(fn.exp(t), ew.sub(t, x))
    else:
        some = greater(t, 0.0)
        log_t = fn.log(where(some, t, 1.0))  # the inner where: no log(0), no nan behind the outer
        loss = where(some, ew.mul(t, ew.sub(log_t, x)), 0.0)
    if reduction == "batchmean":
        return ew.mul(rd.sum(loss), 1.0 / max(1, x.shape[0] if x.ndim else 1))
    return _reduced(loss, reduction)
