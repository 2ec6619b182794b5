"""Convolution as a closed family of three bilinear maps.

Fix the geometry (stride s, padding p, dilation d, groups) and look at the number

    T(g, x, w) = <g, conv2d(x, w)>
               = sum over n,o,i,j,c,a,b of g[n,o,i,j] x[n,c,i*s+a*d-p,j*s+b*d-p] w[o,c,a,b].

T is linear in each of g, x and w. A backward pass supplies the cotangent g = dL/dy, the gradient of
the loss L with respect to the output y. If x changes by e, then L changes by T(g, e, w), to first order:
what multiplies x in T is the gradient of x, and what multiplies w is that of w. Fix two of the three
and read off what multiplies the third:

    times g:   conv2d(x, w)            y[n,o,i,j]  = sum over c,a,b of x[n,c,i*s+a*d-p,..] w[o,c,a,b]
    times x:   conv_transpose2d(g, w)  dx[n,c,u,v] = sum over o,a,b of g[n,o,(u+p-a*d)/s,..] w[o,c,a,b]
               (only where the division is exact and the index in range)
    times w:   conv2d_weight(g, x)     dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] x[n,c,i*s+a*d-p,..]

The first index equation is the definition; the second solves u = i*s + a*d - p for i; the third
fixes (a, b) and sums over (n, i, j), so stride and dilation change places: it correlates plane x[c]
with plane g[o], dilated by s, in steps of d. Nothing is tiled or averaged: with several channels and
filters, dw has one such plane for each pair (o, c), and dx sums over the filters o. Since all three
come from one T, the VJP of each with respect to each argument is another of the three: the six rows
below, and with them every order of derivative. Without spatial axes it is the matrix product:
y = w x, dx = w' g, dw = g x'.
"""
from __future__ import annotations

import math
from typing import Any

from ..core import Tensor
from ..kernels import conv as kernels
from ..kernels.geometry import conv_padding, conv_size, pair, reach
from ..kernels.window import window
from ..primitive import primitive
from ..operands import as_floats
from .conv_inputs import as_conv_inputs, check_channels, check_cotangent, check_groups
from .reduce import sum as _sum
from .shape import reshape, transpose


@primitive
def _conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    win = window(x.shape[2:], w.shape[2:], stride, padding, dilation)
    return kernels.conv2d(x, w, b, win, groups)


@primitive
def _conv_transpose2d(g, w, b=None, *, size, stride, padding, dilation, groups):
    win = window(size, w.shape[2:], stride, padding, dilation)
    return kernels.input_adjoint(g, w, b, win, groups)


@primitive
def _conv2d_weight(g, x, *, kernel, stride, padding, dilation, groups):
    win = window(x.shape[2:], kernel, stride, padding, dilation)
    return kernels.weight_adjoint(g, x, win, groups)


def _over_positions(g: Tensor) -> Tensor:
    return _sum(g, axis=(0, 2, 3))


_conv2d.defvjp(
    lambda g, ans, x, w, b=None, **geo: _conv_transpose2d(g, w, size=x.shape[2:], **geo),
    lambda g, ans, x, w, b=None, **geo: _conv2d_weight(g, x, kernel=w.shape[2:], **geo),
    lambda g, ans, x, w, b, **geo: _over_positions(g))

_conv_transpose2d.defvjp(
    lambda u, ans, g, w, b=None, *, size, **geo: _conv2d(u, w, **geo),
    lambda u, ans, g, w, b=None, *, size, **geo: _conv2d_weight(g, u, kernel=w.shape[2:], **geo),
    lambda u, ans, g, w, b, *, size, **geo: _over_positions(u))

_conv2d_weight.defvjp(
    lambda v, ans, g, x, *, kernel, **geo: _conv2d(x, v, **geo),
    lambda v, ans, g, x, *, kernel, **geo: _conv_transpose2d(g, v, size=x.shape[2:], **geo))


def _pairs(**params):
    """Each parameter in a word, a pair of equal numbers as one; until the geometry writes itself."""
    def text(v):
        texts = [*map(text, v)] if isinstance(v, tuple) else [str(v)]
        return texts[0] if len(set(texts)) == 1 else f"({','.join(texts)})"
    return {key: text(v) for key, v in params.items()}


def _label(x, w, b=None, *, stride, padding, dilation, groups, size=None):
    less = size and any(lo > hi for lo, hi in padding)
    extra = tuple(max(0, lo - hi) for lo, hi in padding) if less else ()
    padding = tuple((lo, hi + e) for (lo, hi), e in zip(padding, extra)) if extra else padding
    said = {**_pairs(stride=stride, padding=padding, dilation=dilation, groups=groups),
            **(_pairs(output_padding=extra) if extra else {})}
    plain = {"stride": "1", "padding": "0", "dilation": "1", "groups": "1"}
    return " ".join(["x".join(map(str, w[2:])), *(f"{k} {v}" for k, v in said.items() if plain.get(k) != v)])


_conv2d.deflabel(_label)
_conv2d.defcost(lambda y, x, w, b=None, **geo: math.prod(y) * math.prod(w[1:]))
_conv2d.defnotes("summed over c, kh, kw", x="summed over o, kh, kw", w="summed over n, oh, ow",
                 b="summed over n, oh, ow")
_conv_transpose2d.deflabel(_label)
_conv_transpose2d.defcost(lambda y, g, w, b=None, **geo: math.prod(g) * math.prod(w[1:]))
_conv_transpose2d.defnotes("summed over o, kh, kw", g="summed over c, kh, kw", w="summed over n, oh, ow",
                           b="summed over n, h, w")
_conv2d_weight.deflabel(lambda g, x, *, kernel, **geo: _label(g, (0, 0, *kernel), **geo))
_conv2d_weight.defcost(lambda y, g, x, **geo: math.prod(g) * math.prod(y[1:]))
_conv2d_weight.defnotes("summed over n, oh, ow", g="summed over c, kh, kw", x="summed over o, kh, kw")


def convolve(op: str, tensors: list[Tensor], stride: Any, padding: Any, dilation: Any,
             groups: int) -> Tensor:
    """The call behind `op`: its x (N, C, H, W) and w fit, the geometry is still to be checked."""
    size, kernel = [t.shape[2:] for t in tensors[:2]]
    stride, dilation = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    padding = conv_padding(padding, op, size, kernel, stride, dilation)
    conv_size(op, size, kernel, stride, padding, dilation)
    return _conv2d(*tensors, stride=stride, padding=padding, dilation=dilation, groups=int(groups))


def conv2d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1, layout: str = "NCHW") -> Tensor:
    """Cross-correlate images with filters: y[n,o,i,j] = b[o] + sum of x[n,c,i*s+a*d-p,..] w[o,c,a,b].

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        w: (O, C/groups, KH, KW).
        bias: (O,) or None.
        stride, dilation: an int or a pair, at least 1.
        padding: an int or pair; ((top, bottom), (left, right)), where a negative number crops;
            "valid"; or "same": OH = ceil(H / stride), an odd cell going to the bottom and right
            (TensorFlow's rule, ONNX's SAME_UPPER, at any stride; PyTorch refuses stride > 1).
        groups: the number of blocks that channels and filters are split into, which do not mix.
        layout: "NCHW", or "NHWC" if x and the result have their channels last (w is the same).

    Returns:
        (N, O, OH, OW), OH = floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[[1.0, 2.0, 3.0, 4.0, 5.0]]]])
        >>> tg.conv2d(x, tg.tensor([[[[1.0, 2.0, 3.0]]]])).data.tolist()
        [[[[14.0, 20.0, 26.0]]]]

    Source: PyTorch's torch.nn.functional.conv2d; the derivation heads this file.
    """
    if not isinstance(layout, str) or layout not in ("NCHW", "NHWC"):
        raise ValueError(f"conv2d: layout must be 'NCHW' or 'NHWC', got {layout!r}")
    x, w, *rest = tensors = as_conv_inputs("conv2d", x, w, bias, groups, layout)
    check_channels("conv2d", tensors, groups, w.shape[1] * groups, w.shape[0], layout)
    if x.ndim == 3:
        y = conv2d(reshape(x, shape=(1, *x.shape)), w, *(rest or [None]), stride, padding, dilation,
                   groups, layout)
        return reshape(y, shape=y.shape[1:])
    if layout == "NCHW":
        return convolve("conv2d", tensors, stride, padding, dilation, groups)
    x = transpose(x, axes=(0, 3, 1, 2))
    y = convolve("conv2d", [x, w, *rest], stride, padding, dilation, groups)
    return transpose(y, axes=(0, 2, 3, 1))


def conv2d_weight(g: Any, x: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
                  groups: int = 1) -> Tensor:
    """The adjoint of `conv2d` in its weight: <g, conv2d(x, w)> = <result, w> for every w.

    Args:
        g: (N, O, OH, OW), a cotangent of the convolution's output; floating point.
        x: (N, C, H, W); floating point.
        kernel: an int or a pair (KH, KW).
        stride, padding, dilation, groups: those of the convolution.

    Returns:
        (O, C/groups, KH, KW): the filters' gradient, one plane for each filter and channel it sees.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, g = tg.tensor([[[[0.0, 1.0, 2.0, 3.0]]]]), tg.tensor([[[[1.0, 10.0]]]])
        >>> tg.conv2d_weight(g, x, kernel=(1, 3)).data.tolist()
        [[[[10.0, 21.0, 32.0]]]]

    Source: the derivation heads this file.
    """
    op = "conv2d_weight"
    g, x = as_floats(g, op, "g"), as_floats(x, op)
    if not g.ndim == x.ndim == 4:
        raise ValueError(f"{op}: g must have axes N, O, OH, OW and x N, C, H, W, got shapes "
                         f"{g.shape} and {x.shape}")
    check_groups(op, groups)
    kernel, stride = pair(kernel, op, "kernel"), pair(stride, op, "stride")
    dilation = pair(dilation, op, "dilation")
    padding = conv_padding(padding, op, x.shape[2:], kernel, stride, dilation)
    out = conv_size(op, x.shape[2:], kernel, stride, padding, dilation)
    check_cotangent(op, g, x, out, groups)
    return _conv2d_weight(g, x, kernel=kernel, stride=stride, padding=padding, dilation=dilation,
                          groups=int(groups))


def _output_padding(op: str, output_size: Any, least: tuple[int, int]) -> tuple[int, int]:
    size = pair(output_size, op, "output_size", least=0)
    extra = tuple(n - m for n, m in zip(size, least))
    if min(extra) < 0:
        raise ValueError(f"{op}: output_size {size} is smaller than the smallest possible output "
                         f"{least}")
    return extra


def convolve_transposed(op: str, tensors: list[Tensor], stride: Any, padding: Any,
                        output_padding: Any, groups: int, dilation: Any, output_size: Any) -> Tensor:
    """The call behind `op`: its x (N, C, H, W) and w fit, the geometry is still to be checked."""
    cells, kernel = [t.shape[2:] for t in tensors[:2]]
    stride, dilation = pair(stride, op, "stride"), pair(dilation, op, "dilation")
    if isinstance(padding, str):
        raise ValueError(f"{op}: padding must be numbers, got {padding!r}; 'same' and 'valid' do "
                         f"not say which output size is meant")
    anything = (math.inf, math.inf)  # below 0 it adds cells, as many as you like
    padding = conv_padding(padding, op, anything, kernel, stride, dilation)
    if 0 in cells:
        raise ValueError(f"{op}: x has no cells, got shape {tensors[0].shape}")
    least = tuple((n - 1) * s - sum(p) + reach(k, d) for n, s, p, k, d in zip(
        cells, stride, padding, kernel, dilation))
    if output_size is not None:
        output_padding = _output_padding(op, output_size, least)
    extra = pair(output_padding, op, "output_padding", least=0)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{op}: output_padding {extra} must be smaller than stride {stride} or "
                         f"dilation {dilation}; the output is between {least} and a step larger")
    size = tuple(n + e for n, e in zip(least, extra))
    if min(size) < 1:
        raise ValueError(f"{op}: the output would have size {size} (input {cells}, padding "
                         f"{padding}, kernel {kernel}); pad less")
    # Cells added at the end lie outside the last window: the adjoint conv pads that much less.
    padding = tuple((lo, hi - e) for (lo, hi), e in zip(padding, extra))
    return _conv_transpose2d(*tensors, size=size, stride=stride, padding=padding,
                             dilation=dilation, groups=int(groups))


def conv_transpose2d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
                     output_size: Any = None) -> Tensor:
    """The adjoint (not the inverse) of `conv2d` in its input: <conv2d(u, w), x> = <u, result>.

    Args:
        x: (N, C, H, W) or (C, H, W); floating point.
        w: (C, O/groups, KH, KW): the weight of the conv2d it is the adjoint of.
        bias: (O,) or None.
        stride, padding, dilation, groups: those of that conv2d; padding an int, a pair or
            ((top, bottom), (left, right)).
        output_padding: rows and columns added at the bottom and right; below max(stride, dilation).
        output_size: the output's (OH, OW), instead of `output_padding`: several input sizes of a
            strided conv2d give the same output size; this selects one.

    Returns:
        (N, O, OH, OW), OH = (H-1)*stride - top - bottom + dilation*(KH-1) + output_padding + 1.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.tensor([[[[1.0, 2.0]]]]), tg.tensor([[[[1.0, 10.0]]]])
        >>> tg.conv_transpose2d(x, w, stride=(1, 2)).data.tolist()
        [[[[1.0, 10.0, 2.0, 20.0]]]]

    Source: PyTorch's torch.nn.functional.conv_transpose2d; the derivation heads this file.
    """
    op = "conv_transpose2d"
    x, w, *rest = tensors = as_conv_inputs(op, x, w, bias, groups, "NCHW")
    check_channels(op, tensors, groups, w.shape[0], w.shape[1] * groups, "NCHW")
    if x.ndim == 3:
        y = conv_transpose2d(reshape(x, shape=(1, *x.shape)), w, *(rest or [None]), stride, padding,
                             output_padding, groups, dilation, output_size)
        return reshape(y, shape=y.shape[1:])
    return convolve_transposed(op, tensors, stride, padding, output_padding, groups, dilation,
                               output_size)
