"""Gradient clipping."""
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

import tinygrad_conv as tg


def _norm(g: np.ndarray, norm_type: float) -> float:
    """The norm of a flat array; in float64 where its own type would overflow."""
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(g, norm_type)) if g.dtype != np.float16 else math.inf
    return norm if math.isfinite(norm) else float(np.linalg.norm(g.astype(np.float64), norm_type))


def clip_grad_norm_(parameters: Iterable[tg.Tensor], max_norm: float, norm_type: float = 2.0,
                    error_if_nonfinite: bool = False) -> float:
    """Scale all gradients down together if their common norm is above `max_norm`.

    Args:
        parameters: tensors; those without a gradient are skipped.
        max_norm: the largest norm allowed.
        norm_type: p of the p-norm; inf for the largest entry.
        error_if_nonfinite: raise instead of scaling by nan.

    Returns:
        the norm before clipping.

    Raises:
        RuntimeError: if the norm is not finite and `error_if_nonfinite`; gradients are unchanged.
        ValueError: for no parameters, a negative `max_norm`, or a `norm_type` of 0 or less.
        TypeError: for anything but tensors.

    Example:
        >>> p = tg.tensor([3.0, 4.0], requires_grad=True)
        >>> (p * p).sum().backward()
        >>> clip_grad_norm_([p], 5.0), p.grad.numpy().round(3).tolist()
        (10.0, [3.0, 4.0])

    Source: PyTorch's torch.nn.utils.clip_grad_norm_ (Pascanu et al. 2013).
    """
    if not (all(isinstance(n, int | float | np.number) for n in (max_norm, norm_type))
            and max_norm >= 0 and norm_type > 0):
        raise ValueError(f"clip_grad_norm_: max_norm must be at least 0 and norm_type above 0, got "
                         f"{max_norm!r} and {norm_type!r}")
    one = isinstance(parameters, tg.Tensor) or not isinstance(parameters, Iterable)
    given: list[Any] = [parameters] if one else list(parameters)
    for p in given:
        tg.arguments.instance(p, tg.Tensor, "clip_grad_norm_", "tensors", "; pass model.parameters()")
    if not given:
        raise ValueError("clip_grad_norm_: got no parameters; pass model.parameters(), anew at each step "
                         "(an iterator is used up by its first reader)")
    tensors = [p for p in given if p.grad is not None]
    for p in tensors:
        if not (isinstance(p.grad, tg.Tensor) and p.grad.dtype.kind == "f"):  # set by hand
            p.grad = tg.tensor(p.grad, dtype=p.dtype)
    norms = [_norm(p.grad.numpy().ravel(), norm_type) for p in tensors if p.size]
    total = float(np.linalg.norm(norms, norm_type)) if norms else 0.0
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {total}; look for nan in the "
                           f"loss, or lower the learning rate")
    scale = max_norm / (total + 1e-6)
    if not scale >= 1:  # a norm that is not finite makes nan, as in PyTorch
        with np.errstate(invalid="ignore"):
            for p in tensors:
                if p.grad.is_leaf:
                    np.multiply(p.grad.numpy(), scale, out=p.grad.mutate())
                else:  # made with create_graph=True: a graph relies on its values
                    p.grad = p.grad.detach() * scale
    return total
