"""Max and average pooling as two closed pairs.

Fix which cell of each window is the largest: then max pooling picks numbers from fixed places and
its derivative adds numbers to the same places. `max_pool2d_scatter` and `max_pool2d_gather` are
that pair, each the adjoint and so the VJP of the other. Average pooling is linear; its adjoint
`avg_pool2d_spread` has average pooling as its VJP. So derivatives of every order exist.

A tie goes to the first cell, row by row; padding never wins; NaN always does (the first one).
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..kernels import pool as kernels
from ..kernels.geometry import pair, reach
from ..kernels.pool_geometry import Windows, windows
from ..primitive import primitive
from ..operands import as_floats
from .shape import reshape


@primitive
def _max_pool2d(x, **geo):
    return kernels.maxima(x, windows(x.shape[2:], **geo))


@primitive
def max_pool2d_scatter(g, x, y, **geo):
    return kernels.scatter(g, x, y, windows(x.shape[2:], **geo))


@primitive
def max_pool2d_gather(u, x, y, **geo):
    return kernels.gather(u, x, y, windows(x.shape[2:], **geo))


@primitive
def max_pool2d_indices(x, y, **geo):
    return kernels.indices(x, y, windows(x.shape[2:], **geo))


_max_pool2d.defvjp(lambda g, ans, x, **geo: max_pool2d_scatter(g, x, ans, **geo))
max_pool2d_scatter.defvjp(
    lambda u, ans, g, x, y, **geo: max_pool2d_gather(u, x, y, **geo), None, None)
max_pool2d_gather.defvjp(
    lambda v, ans, u, x, y, **geo: max_pool2d_scatter(v, x, y, **geo), None, None)
max_pool2d_indices.defvjp(None, None)


def _divisor(win: Windows, count_include_pad: bool, divisor_override: float | None) -> np.ndarray:
    if divisor_override is not None:
        return np.asarray(float(divisor_override))
    return win.counts(count_include_pad)


@primitive
def _avg_pool2d(x, *, count_include_pad, divisor_override, **geo):
    win = windows(x.shape[2:], **geo)
    return kernels.averages(x, win, _divisor(win, count_include_pad, divisor_override))


@primitive
def avg_pool2d_spread(g, *, size, count_include_pad, divisor_override, **geo):
    win = windows(size, **geo)
    return kernels.averages_adjoint(g, win, _divisor(win, count_include_pad, divisor_override))


_avg_pool2d.defvjp(lambda g, ans, x, **geo: avg_pool2d_spread(g, size=x.shape[2:], **geo))
avg_pool2d_spread.defvjp(lambda u, ans, g, *, size, **geo: _avg_pool2d(u, **geo))


def _label(*shapes, kernel, size=None, **params):
    def text(v):
        texts = [*map(text, v)] if isinstance(v, tuple) else [str(v)]
        return texts[0] if len(set(texts)) == 1 else f"({','.join(texts)})"
    plain = {"padding": "0", "dilation": "1", "ceil_mode": "False", "count_include_pad": "True",
             "divisor_override": "None"}
    return " ".join(["x".join(map(str, kernel)), *(
        f"{key} {text(v)}" for key, v in params.items() if text(v) != plain.get(key))])


for _op in (_max_pool2d, max_pool2d_scatter, max_pool2d_gather, max_pool2d_indices, _avg_pool2d,
            avg_pool2d_spread):
    _op.deflabel(_label)


def as_planes(op: str, x: Any, axes: str = "NCHW") -> tuple[Tensor, tuple[int, ...]]:
    """x as a float tensor (N, C, H, W), and the leading axes its results should have."""
    x = as_floats(x, op)
    if x.ndim not in (len(axes) - 1, len(axes)):
        raise ValueError(f"{op}: x must have axes {axes} (or {axes[1:]}, one sample), got shape "
                         f"{x.shape}")
    spatial = x.shape[2 - len(axes):]
    if 0 in spatial:
        raise ValueError(f"{op}: x has no cells to pool, got shape {x.shape}")
    lead = x.shape[:-len(spatial)]
    size = spatial if len(spatial) == 2 else (1, *spatial)
    shape = (*((1,) * (2 - len(lead))), *lead, *size)
    return (x if shape == x.shape else reshape(x, shape=shape)), lead


def with_lead(y: Tensor, lead: tuple[int, ...]) -> Tensor:
    """y (N, C, OH, OW) with the leading axes its input had."""
    return y if y.shape[:2] == lead else reshape(y, shape=(*lead, *y.shape[2:]))


def _geometry(op: str, size: tuple[int, ...], kernel_size: Any, stride: Any, padding: Any,
              dilation: Any, ceil_mode: bool) -> dict[str, Any]:
    """The checked parameters of a pooling primitive."""
    kernel = pair(kernel_size, op, "kernel_size")
    stride = kernel if stride is None else pair(stride, op, "stride")
    padding, dilation = pair(padding, op, "padding", least=0), pair(dilation, op, "dilation")
    spans = tuple(reach(k, d) for k, d in zip(kernel, dilation))
    if any(p > span // 2 for p, span in zip(padding, spans)):
        raise ValueError(f"{op}: padding {padding} must be at most half of what the kernel spans, "
                         f"{spans} (kernel_size {kernel}, dilation {dilation}); pad x first")
    geo = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
           "ceil_mode": bool(ceil_mode)}
    win = windows(size, **geo)
    if min(win.out) < 1:
        raise ValueError(f"{op}: the kernel spans {spans[0]}x{spans[1]} but the padded input is "
                         f"only {size[0] + 2 * padding[0]}x{size[1] + 2 * padding[1]} (input "
                         f"{size[0]}x{size[1]}, padding {padding}); use a smaller kernel")
    if dilation != (1, 1) and win.blind():
        raise ValueError(f"{op}: some windows see padding only (input {size}, kernel_size {kernel}, "
                         f"stride {stride}, padding {padding}, dilation {dilation}); pad less")
    return geo


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def max_planes(op: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
               ceil_mode: bool, return_indices: bool) -> tuple[Tensor, Tensor | None]:
    """Max pooling of (N, C, H, W) for the public `op`, with indices if they are wanted."""
    geo = _geometry(op, x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y = _max_pool2d(x, **geo)
    return y, max_pool2d_indices(x, y, **geo) if return_indices else None


def avg_planes(op: str, x: Tensor, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
               count_include_pad: bool, divisor_override: float | None = None) -> Tensor:
    """Average pooling of (N, C, H, W) for the public `op`."""
    geo = _geometry(op, x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and not _is_number(divisor_override):
        raise TypeError(f"{op}: divisor_override expects a number, got {divisor_override!r}")
    if divisor_override == 0:
        raise ValueError(f"{op}: divisor_override must not be 0")
    return _avg_pool2d(x, count_include_pad=bool(count_include_pad),
                       divisor_override=divisor_override, **geo)


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest number of each window.

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        kernel_size, dilation: an int or a pair, at least 1.
        stride: an int or a pair; default: the kernel size.
        padding: an int or a pair, at most half the window; padded cells never win.
        ceil_mode: round the output size up, except for windows that begin beyond the padding.
        return_indices: also return the place of each maximum, u*W + v in its plane of x.

    Returns:
        (N, C, OH, OW), OH = floor((H + 2*padding - dilation*(KH-1) - 1) / stride) + 1; with
        `return_indices` a pair of it and the int64 indices of the same shape.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    A tie goes to the first cell, row by row, which gets the whole gradient; a NaN wins.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[1.0, 2.0, 0.0, 1.0], [4.0, 3.0, 1.0, 1.0]]])
        >>> tg.max_pool2d(x, 2).data.tolist()
        [[[4.0, 1.0]]]

    Source: PyTorch's torch.nn.functional.max_pool2d.
    """
    x, lead = as_planes("max_pool2d", x)
    y, indices = max_planes("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode,
                            return_indices)
    return (with_lead(y, lead), with_lead(indices, lead)) if return_indices else with_lead(y, lead)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: float | None = None) -> Tensor:
    """The average of each window.

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        kernel_size, stride, padding, ceil_mode: as for `max_pool2d`; padded cells are 0.
        count_include_pad: whether padded cells count in the divisor; cells beyond the padding, which
            `ceil_mode` can reach, never do.
        divisor_override: divide by this instead.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[1.0, 2.0, 0.0, 1.0], [4.0, 3.0, 1.0, 1.0]]])
        >>> tg.avg_pool2d(x, 2).data.tolist()
        [[[2.5, 0.75]]]

    Source: PyTorch's torch.nn.functional.avg_pool2d.
    """
    x, lead = as_planes("avg_pool2d", x)
    y = avg_planes("avg_pool2d", x, kernel_size, stride, padding, ceil_mode, count_include_pad,
                   divisor_override)
    return with_lead(y, lead)
