"""Batch, layer, group and instance normalisation: `normalize` over four choices of axes.

The affine part, weight and bias, is done in the same pass. Running statistics are tensors outside
the tape; they change through `Tensor.mutate`. Imports core, kernels, normalize and shape.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor, share
from ..kernels import norm as kernels
from ..primitive import primitive
from . import shape as sh
from ..arguments import is_whole, number
from ..operands import as_floats, as_tensor
from .normalize import normalize


@primitive
def _scale(x, a, b):
    return kernels.scale(x, a, b)


_scale.defvjp(lambda g, ans, x, a, b: g * a,
              lambda g, ans, x, a, b: g * x,
              lambda g, ans, x, a, b: g)
_scale.defbroadcast()


def _checked(op: str, x: Any, least: int) -> Tensor:
    x = as_floats(x, op)
    if x.ndim < least:
        raise ValueError(f"{op}: x must have at least {least} axes, got shape {x.shape}")
    return x


def _eps(op: str, eps: Any) -> float:
    eps = number(eps, op, "eps")
    if not eps >= 0:
        raise ValueError(f"{op}: eps must be at least 0, got {eps}; the root of the variance + eps is taken")
    return eps


def _affine(op: str, weight: Any, bias: Any, shape: tuple[int, ...],
            view: tuple[int, ...]) -> tuple[Any, Any]:
    """weight and bias, both of `shape`, seen as `view`; 1 and 0 if they are None."""
    out = []
    for name, value, neutral in (("weight", weight, 1.0), ("bias", bias, 0.0)):
        if value is not None:
            value = as_tensor(value, op)
            if value.shape != shape:
                raise ValueError(f"{op}: {name} must have shape {shape}, got {value.shape}")
        out.append(neutral if value is None else sh.reshape(value, view))
    return out[0], out[1]


def _check_running(op: str, running: dict[str, Any], c: int, needed: bool) -> None:
    for name, t in running.items():
        if t is None and needed:
            raise ValueError(f"{op}: {name} is needed to normalise without the batch's statistics")
        if t is not None and (not isinstance(t, Tensor) or t.shape != (c,) or t.requires_grad
                              or t.dtype.kind != "f"):
            got = f"{type(t).__name__} of shape {np.shape(t)} and {getattr(t, 'dtype', 'no dtype')}"
            got += ", requires_grad=True" if getattr(t, "requires_grad", False) else ""
            raise ValueError(f"{op}: {name} must be a tensor of shape ({c},) of floats that requires no "
                             f"gradient (it is changed in place), got {got}")


def _by_running(x: Tensor, mean: Tensor, var: Tensor, weight: Any, bias: Any, eps: float,
                view: tuple[int, ...]) -> Tensor:
    """(x - mean) r weight + bias; mean and r are constants, the buffers may change any time."""
    r = 1.0 / np.sqrt(var._data.astype(np.float64) + eps)
    r, mean = [share(c.reshape(view).astype(x.dtype)) for c in (r, mean._data * r)]
    return _scale(x, r * weight, bias - mean * weight)


def _update(running: Tensor | None, new: np.ndarray, momentum: float) -> None:
    """running = (1 - momentum) running + momentum new."""
    if running is not None:
        values = running.mutate()
        values *= 1.0 - momentum
        values += momentum * new


def batch_norm(x: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any = None,
               bias: Any = None, training: bool = False, momentum: float = 0.1,
               eps: float = 1e-5) -> Tensor:
    """Normalise each channel of x (N, C), (N, C, L) or (N, C, H, W) over all other axes.

    In training it uses the batch's mean and biased variance; the running tensors, if given, are then
    updated in place (by `Tensor.mutate`) to (1 - momentum) * running + momentum * new, with unbiased
    new variances, n/(n-1). Otherwise it uses the running tensors, as constants.

    Args:
        x: floating point.
        running_mean, running_var: tensors (C,) that require no gradient, or None in training.
        weight, bias: (C,) or None.
        training: whether to use the batch's statistics.
        momentum: the weight of the new value (PyTorch's meaning), in [0, 1].
        eps: added to the variance.

    Raises:
        ValueError: in training with one value per channel, or if shapes or numbers do not fit.
        TypeError: if x is not floating point.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, var = tg.tensor([[1.0], [2.0], [3.0], [4.0]]), tg.ones(1)
        >>> y = tg.batch_norm(x, tg.zeros(1), var, training=True)
        >>> round(var.item(), 4)
        1.0667

    Source: Ioffe & Szegedy 2015; arguments as torch.nn.functional.batch_norm.
    """
    op = "batch_norm"
    x, eps = _checked(op, x, 2), _eps(op, eps)
    c = x.shape[1]
    view = (1, c, *[1] * (x.ndim - 2))
    _check_running(op, {"running_mean": running_mean, "running_var": running_var}, c, not training)
    weight, bias = _affine(op, weight, bias, (c,), view)
    if not training:
        return _by_running(x, running_mean, running_var, weight, bias, eps, view)
    if not isinstance(momentum, int | float) or not 0 <= momentum <= 1:
        raise ValueError(f"{op}: momentum must be a number between 0 and 1, got {momentum!r}; for "
                         f"a cumulative average pass 1/(number of batches so far)")
    n = x.size // max(c, 1)
    if n == 1:
        raise ValueError(f"{op}: training needs more than one value per channel, got shape "
                         f"{x.shape}; use a larger batch, or training=False (eval())")
    axes = (0, *range(2, x.ndim))
    y, mean, var = normalize(x, weight, bias, axes=axes, eps=eps)
    if n:
        _update(running_mean, mean._data.reshape(c), momentum)
        _update(running_var, var._data.reshape(c) * (n / (n - 1)), momentum)
    return y


def instance_norm(x: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Any = None, bias: Any = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each sample of x (N, C, L) or (N, C, H, W).

    Args:
        x: floating point.
        running_mean, running_var: as in `batch_norm`: updated with the averages over samples of the
            means and unbiased variances; used unless `use_input_stats`.
        weight, bias: (C,) or None.
        use_input_stats, momentum, eps: as `training`, `momentum`, `eps` of `batch_norm`.

    Raises:
        ValueError: with one value per channel and sample, or if shapes do not fit.

    Example:
        >>> instance_norm([[[1.0, 3.0], [2.0, 2.0]]], eps=1e-12).data.tolist()
        [[[-1.0, 1.0], [0.0, 0.0]]]

    Source: Ulyanov et al. 2016; arguments as torch.nn.functional.instance_norm.
    """
    op = "instance_norm"
    x, eps = _checked(op, x, 3), _eps(op, eps)
    c, n = x.shape[1], math.prod(x.shape[2:])
    view = (1, c, *[1] * (x.ndim - 2))
    _check_running(op, {"running_mean": running_mean, "running_var": running_var}, c,
                   not use_input_stats)
    weight, bias = _affine(op, weight, bias, (c,), view)
    if not use_input_stats:
        return _by_running(x, running_mean, running_var, weight, bias, eps, view)
    if n == 1:
        raise ValueError(f"{op}: needs more than one value per channel, got shape {x.shape}")
    y, mean, var = normalize(x, weight, bias, axes=tuple(range(2, x.ndim)), eps=eps)
    if x.size:
        _update(running_mean, mean._data.reshape(-1, c).mean(axis=0), momentum)
        _update(running_var, var._data.reshape(-1, c).mean(axis=0) * (n / (n - 1)), momentum)
    return y


def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise over the last axes, of shape `normalized_shape`, as are weight and bias.

    Raises:
        ValueError: if x does not end in `normalized_shape`.

    Example:
        >>> layer_norm([[1.0, 3.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0]]

    Source: Ba et al. 2016; arguments as torch.nn.functional.layer_norm.
    """
    shape = tuple(normalized_shape) if isinstance(normalized_shape, Sequence) else (
        normalized_shape,)
    x, eps = _checked("layer_norm", x, len(shape)), _eps("layer_norm", eps)
    if not shape or x.shape[-len(shape):] != shape:
        raise ValueError(f"layer_norm: x must end in normalized_shape {shape}, got shape {x.shape}")
    weight, bias = _affine("layer_norm", weight, bias, shape, shape)
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    return normalize(x, weight, bias, axes=axes, eps=eps)[0]


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise each sample of x (N, C, ...) over groups of C / num_groups channels.

    Args:
        x: floating point.
        num_groups: a divisor of C.
        weight, bias: (C,) or None.
        eps: added to the variance.

    Raises:
        ValueError: if C is not a multiple of `num_groups`, or shapes do not fit.

    Example:
        >>> group_norm([[1.0, 3.0, 5.0, 9.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu & He 2018; arguments as torch.nn.functional.group_norm.
    """
    x, eps = _checked("group_norm", x, 2), _eps("group_norm", eps)
    n, c, *rest = x.shape
    if not is_whole(num_groups) or num_groups < 1 or c % num_groups:
        raise ValueError(f"group_norm: {c} channels cannot be cut into {num_groups!r} groups (shape "
                         f"{x.shape})")
    grouped = (num_groups, c // num_groups)
    weight, bias = _affine("group_norm", weight, bias, (c,), (1, *grouped, *[1] * len(rest)))
    y, _, _ = normalize(sh.reshape(x, (n, *grouped, *rest)), weight, bias,
                         axes=tuple(range(2, x.ndim + 1)), eps=eps)
    return sh.reshape(y, x.shape)
