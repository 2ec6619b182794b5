"""Batch, layer, group and instance normalisation: one closed pair and four choices of axes.

With mu and v the mean and (biased) variance over the axes, r = 1/sqrt(v + eps) and
xhat = (x - mu) r, differentiate r and xhat:

    dr    = -r^2/n  sum(xhat dx)                       so   r's VJP    = -g r^2 xhat / n
    dxhat = r (dx - mean(dx) - xhat mean(xhat dx))     so   xhat's VJP = r (g - mean(g) - xhat mean(g xhat))

Each VJP is written with the other op of the pair, computed anew from x: nothing is captured, and
every order follows. (Ioffe & Szegedy 2015, section 3, give the first order.)
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor
from ..primitive import primitive
from . import elementwise as ew
from . import reduce as rd
from . import shape as sh


def _moments(x, axes):
    n = math.prod(x.shape[a] for a in axes)
    mu = np.add.reduce(x, axis=axes, keepdims=True) * (1.0 / max(n, 1))
    off = x - mu
    return mu, off, np.add.reduce(off * off, axis=axes, keepdims=True) * (1.0 / max(n, 1))


@primitive
def _normalize(x, *, axes, eps):
    _, off, v = _moments(x, axes)
    off *= 1.0 / np.sqrt(v + eps)
    return off


@primitive
def _inverse_std(x, *, axes, eps):
    return 1.0 / np.sqrt(_moments(x, axes)[2] + eps)


def _normalize_x(g, ans, x, *, axes, eps):
    along = ew.mul(ans, rd.mean(ew.mul(g, ans), axes, keepdims=True))
    inner = ew.sub(ew.sub(g, rd.mean(g, axes, keepdims=True)), along)
    return ew.mul(_inverse_std(x, axes=axes, eps=eps), inner)


def _inverse_std_x(g, ans, x, *, axes, eps):
    n = math.prod(x.shape[a] for a in axes)
    scale = ew.mul(ew.mul(g, ew.mul(ans, ans)), -1.0 / n)
    return ew.mul(scale, _normalize(x, axes=axes, eps=eps))


_normalize.defvjp(_normalize_x)
_inverse_std.defvjp(_inverse_std_x)


def _checked(op: str, x: Any, least: int) -> Tensor:
    x = sh.as_tensor(x, op)
    if x.ndim < least or x.dtype.kind != "f":
        raise ValueError(f"{op}: x must be floating point with at least {least} axes, got {x.dtype} of "
                         f"shape {x.shape}")
    return x


def _affine(op: str, y: Tensor, weight: Any, bias: Any, shape: Sequence[int],
            view: Sequence[int]) -> Tensor:
    """y * weight + bias, both of `shape`, seen as `view`."""
    for name, value, combine in (("weight", weight, ew.mul), ("bias", bias, ew.add)):
        if value is None:
            continue
        value = sh.as_tensor(value, op)
        if value.shape != tuple(shape):
            raise ValueError(f"{op}: {name} must have shape {tuple(shape)}, got {value.shape}")
        y = combine(y, sh.reshape(value, view))
    return y


def _update(running: Tensor | None, new: np.ndarray, momentum: float) -> None:
    if running is not None:
        values = running.mutate()
        values *= 1 - momentum
        values += momentum * new


def batch_norm(x: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any = None,
               bias: Any = None, training: bool = False, momentum: float = 0.1,
               eps: float = 1e-5) -> Tensor:
    """Normalise each channel of x (N, C), (N, C, L) or (N, C, H, W) over all other axes.

    In training by the batch's mean and biased variance; the running tensors, if given, are moved
    in place to (1 - momentum) * old + momentum * new, with the unbiased variance. Otherwise by the
    running tensors.

    Args:
        x: floating point.
        running_mean, running_var: tensors (C,) that require no gradient, or None in training.
        weight, bias: (C,) or None.

    Raises:
        ValueError: with one value a channel in training, or if shapes do not fit.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, var = tg.tensor([[1.0], [2.0], [3.0], [4.0]]), tg.ones(1)
        >>> y = tg.batch_norm(x, tg.zeros(1), var, training=True)
        >>> round(var.item(), 4)
        1.0667
    """
    x = _checked("batch_norm", x, 2)
    c = x.shape[1]
    axes, view = tuple(i for i in range(x.ndim) if i != 1), (1, c, *[1] * (x.ndim - 2))
    for name, t in (("running_mean", running_mean), ("running_var", running_var)):
        if t is None and not training:
            raise ValueError(f"batch_norm: {name} is needed outside training")
        if t is not None and (not isinstance(t, Tensor) or t.shape != (c,)):
            raise ValueError(f"batch_norm: {name} must be a tensor of shape ({c},), got "
                             f"{getattr(t, 'shape', type(t).__name__)}")
    if not training:
        mean, var = [sh.reshape(t.detach(), view) for t in (running_mean, running_var)]
        y = ew.mul(ew.sub(x, mean), 1.0 / np.sqrt(var._data + eps))
        return _affine("batch_norm", y, weight, bias, (c,), view)
    n = math.prod(x.shape[a] for a in axes)
    if n == 1:
        raise ValueError(f"batch_norm: training needs more than one value a channel, got shape "
                         f"{x.shape}; use a larger batch or eval()")
    y = _affine("batch_norm", _normalize(x, axes=axes, eps=eps), weight, bias, (c,), view)
    if n and (running_mean is not None or running_var is not None):
        mu, _, v = _moments(x._data, axes)
        _update(running_mean, mu.reshape(c), momentum)
        _update(running_var, v.reshape(c) * (n / (n - 1)), momentum)
    return y


def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise over the last axes, whose shape is `normalized_shape`, that of weight and bias.

    Raises:
        ValueError: if x does not end in `normalized_shape`.

    Example:
        >>> layer_norm([[1.0, 3.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0]]
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    x = _checked("layer_norm", x, len(shape))
    if not shape or x.shape[-len(shape):] != shape:
        raise ValueError(f"layer_norm: x must end in normalized_shape {shape}, got shape {x.shape}")
    y = _normalize(x, axes=tuple(range(x.ndim - len(shape), x.ndim)), eps=eps)
    return _affine("layer_norm", y, weight, bias, shape, shape)


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise each sample of x (N, C, ...) over groups of C / num_groups channels.

    Raises:
        ValueError: if C is not a multiple of `num_groups`.

    Example:
        >>> group_norm([[1.0, 3.0, 5.0, 9.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0, -1.0, 1.0]]
    """
    x = _checked("group_norm", x, 2)
    n, c, *rest = x.shape
    if num_groups < 1 or c % num_groups:
        raise ValueError(f"group_norm: {c} channels cannot be cut into {num_groups} groups (shape "
                         f"{x.shape})")
    grouped = sh.reshape(x, (n, num_groups, c // num_groups, *rest))
    y = sh.reshape(_normalize(grouped, axes=tuple(range(2, grouped.ndim)), eps=eps), x.shape)
    return _affine("group_norm", y, weight, bias, (c,), (1, c, *[1] * len(rest)))


def instance_norm(x: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Normalise each channel of each sample of x (N, C, L) or (N, C, H, W).

    Raises:
        ValueError: with one value a channel.

    Example:
        >>> instance_norm([[[1.0, 3.0], [2.0, 2.0]]], eps=1e-12).data.tolist()
        [[[-1.0, 1.0], [0.0, 0.0]]]
    """
    x = _checked("instance_norm", x, 3)
    if math.prod(x.shape[2:]) == 1:
        raise ValueError(f"instance_norm: needs more than one value a channel, got shape {x.shape}")
    c = x.shape[1]
    y = _normalize(x, axes=tuple(range(2, x.ndim)), eps=eps)
    return _affine("instance_norm", y, weight, bias, (c,), (1, c, *[1] * (x.ndim - 2)))
