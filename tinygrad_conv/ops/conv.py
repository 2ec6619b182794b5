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
below (and two for the bias), and with them every order of derivative. Without spatial axes it is the
matrix product: y = w x, dx = wᵀ g, dw = g xᵀ.

In the table of kernels `conv_transpose2d` is called `input_adjoint`, and `conv2d_weight` `weight_adjoint`.
"""
import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import PADDING_MODES, misplaced, one_of, sizes, whole
from ..kernels.geometry import Geometry, brief, conv_geometry, transposed_geometry
from ..kernels.table import run
from ..operands import as_floats
from ..primitive import FIXED, primitive
from ..tensor import Tensor, share
from .padding import pad
from .reduce import sum as _sum
from .shape import reshape, transpose

FIXED.add(Geometry)  # of whole numbers only


@primitive
def _conv2d(x, w, b=None, *, geometry):
    return run("conv2d", x, w, b, geometry)


@primitive
def _conv_transpose2d(g, w, b=None, *, geometry):
    return run("input_adjoint", g, w, b, geometry)


@primitive
def _conv2d_weight(g, x, *, geometry):
    return run("weight_adjoint", g, x, geometry)


_conv2d.defvjp(
    lambda g, ans, x, w, b=None, *, geometry: _conv_transpose2d(g, w, geometry=geometry),
    lambda g, ans, x, w, b=None, *, geometry: _conv2d_weight(g, x, geometry=geometry),
    lambda g, ans, x, w, b, *, geometry: _sum(g, axis=(0, 2, 3)))

_conv_transpose2d.defvjp(
    lambda u, ans, g, w, b=None, *, geometry: _conv2d(u, w, geometry=geometry),
    lambda u, ans, g, w, b=None, *, geometry: _conv2d_weight(g, u, geometry=geometry),
    lambda u, ans, g, w, b, *, geometry: _sum(u, axis=(0, 2, 3)))

_conv2d_weight.defvjp(
    lambda v, ans, g, x, *, geometry: _conv2d(x, v, geometry=geometry),
    lambda v, ans, g, x, *, geometry: _conv_transpose2d(g, v, geometry=geometry))

for _op in (_conv2d, _conv_transpose2d, _conv2d_weight):
    _op.defsaved(*_op.names[:2])

_conv2d.defjvp(
    lambda t, ans, x, w, b=None, *, geometry: _conv2d(t, w, geometry=geometry),
    lambda t, ans, x, w, b=None, *, geometry: _conv2d(x, t, geometry=geometry),
    lambda t, ans, x, w, b, *, geometry: reshape(t, (1, -1, 1, 1)))
_conv_transpose2d.defjvp(
    lambda t, ans, g, w, b=None, *, geometry: _conv_transpose2d(t, w, geometry=geometry),
    lambda t, ans, g, w, b=None, *, geometry: _conv_transpose2d(g, t, geometry=geometry),
    lambda t, ans, g, w, b, *, geometry: reshape(t, (1, -1, 1, 1)))
_conv2d_weight.defjvp("same", "same")

WORTH_A_CALL = 200_000  # multiply-adds of an example, above which it gets a call of its own


def _weight_by_example(g: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """(N, O, C/groups, KH, KW): an example a call, or small ones as groups of channels of one image."""
    n, images = len(x), (g._data, x._data)
    if g.size * math.prod(geometry.kernel) * (x.shape[1] // geometry.groups) > n * WORTH_A_CALL:
        return share(np.stack([run("weight_adjoint", *[a[i:i + 1] for a in images], geometry)
                               for i in range(n)]))
    folded = [a.reshape(1, n * a.shape[1], *a.shape[2:]) for a in images]          # (1, N*C, H, W)
    dw = run("weight_adjoint", *folded, replace(geometry, groups=n * geometry.groups))
    return share(dw.reshape(n, g.shape[1], *dw.shape[1:]))


_conv2d.defapart()
_conv_transpose2d.defapart()
_conv2d.defexamples(w=lambda g, ans, x, w, b=None, *, geometry: _weight_by_example(g, x, geometry),
                    b=lambda g, ans, x, w, b, *, geometry: _sum(g, axis=(2, 3)))
_conv_transpose2d.defexamples(w=lambda u, ans, g, w, b=None, *, geometry: _weight_by_example(g, u, geometry),
                              b=lambda u, ans, g, w, b, *, geometry: _sum(u, axis=(2, 3)))

# What a reader of the tape asks. The sums are those of the derivation; products with padding count.
_SUM_Y, _SUM_DX, _SUM_DW = "summed over c, kh, kw", "summed over o, kh, kw", "summed over n, oh, ow"
_conv2d.defnotes(_SUM_Y, x=_SUM_DX, w=_SUM_DW, b="summed over n, oh, ow")
_conv_transpose2d.defnotes(_SUM_DX, g=_SUM_Y, w=_SUM_DW, b="summed over n, h, w")
_conv2d_weight.defnotes(_SUM_DW, g=_SUM_Y, x=_SUM_DX)
_conv2d.defsides("small", x="large", w="kernel")
_conv_transpose2d.defsides("large", g="small", w="kernel")
_conv2d_weight.defsides("kernel", g="small", x="large")
_conv2d.defcost(lambda y, x, w, b=None, *, geometry: math.prod(y) * math.prod(w[1:]))
_conv_transpose2d.defcost(lambda dx, g, w, b=None, *, geometry: math.prod(g) * math.prod(w[1:]))
_conv2d_weight.defcost(lambda dw, g, x, *, geometry: math.prod(g) * math.prod(dw[1:]))
_conv2d.deflabel(lambda x, w, b=None, *, geometry: geometry.label())
_conv2d_weight.deflabel(lambda g, x, *, geometry: geometry.label())


def _transposed_label(g: Any, w: Any, b: Any = None, *, geometry: Geometry) -> str:
    """The label as the user wrote the call.

    An output padding of n is recorded in the geometry as n rows or columns less padding at the end; here it
    is added back to the padding and named.
    """
    extra = tuple(max(0, before - after) for before, after in geometry.padding)
    padding = tuple((before, after + e) for (before, after), e in zip(geometry.padding, extra))
    text = replace(geometry, padding=padding).label()
    return f"{text} output_padding {brief(extra)}" if any(extra) else text


_conv_transpose2d.deflabel(_transposed_label)


# ----- in ONNX, where pads are (top, left, bottom, right) and none is below 0 -----


def bordered(to, x, sides, value):
    """x with so many cells before and after each of its last axes, fewer where negative."""
    if not np.any(sides):
        return x
    return to("Pad", x, np.array(((0, 0), (0, 0), *sides), np.int64).T.ravel(), value)


def windows(geometry, pads):
    """The attributes of Conv, ConvTranspose and the pools."""
    return {"kernel_shape": geometry.kernel, "strides": geometry.stride, "dilations": geometry.dilation,
            "pads": pads.T.ravel().tolist()}


def _conv_export(to, x, w, b=None, *, geometry):
    pads = np.array(geometry.padding)
    return to("Conv", bordered(to, x, np.minimum(pads, 0), x.dtype.type(0)), w, b, group=geometry.groups,
              **windows(geometry, np.maximum(pads, 0)))


def _transposed_export(to, g, w, b=None, *, geometry):
    """Cells that ONNX cannot add, in front or far behind, are added to the result, then the bias."""
    pads = np.maximum(geometry.padding, 0)
    made = [(n - 1) * s + span for n, s, span in zip(geometry.out, geometry.stride, geometry.spans)]
    front = np.maximum(-np.array(geometry.padding)[:, 0], 0)
    behind = np.array(geometry.size) - made + pads.sum(1) - front
    plain = not front.any() and all(0 <= n < s for n, s in zip(behind, geometry.stride))
    y = to("ConvTranspose", g, w, b if plain else None, group=geometry.groups,
           output_padding=behind.tolist() if plain else None, **windows(geometry, pads))
    if plain:
        return y
    y = bordered(to, y, np.stack([front, behind], 1), g.dtype.type(0))
    return y if b is None else to("Add", y, to("Reshape", b, np.array((1, -1, 1, 1))))


_conv2d.defexport(_conv_export)
_conv_transpose2d.defexport(_transposed_export)


def as_images(op: str, x: Tensor, axes: str) -> Tensor:
    """x as a batch of images (N, C, H, W).

    `axes` says how x came: "NCHW", "NHWC" or "NCL", with or without the batch axis N. One sample becomes a
    batch of one, a line (NCL) an image of height 1.
    """
    if x.ndim not in (len(axes) - 1, len(axes)):
        raise ValueError(f"{op}: x must have axes {axes} (or {axes[1:]}, one sample), got shape {x.shape}")
    shape = (1,) * (len(axes) - x.ndim) + x.shape
    if axes == "NCL":
        shape = (*shape[:2], 1, shape[2])
    x = x if shape == x.shape else reshape(x, shape=shape)
    return transpose(x, axes=(0, 3, 1, 2)) if axes == "NHWC" else x


def as_given(y: Tensor, ndim: int, axes: str) -> Tensor:
    """The way back: y (N, O, OH, OW) with the axes of the op's input, which had `ndim` of `axes`."""
    y = transpose(y, axes=(0, 2, 3, 1)) if axes == "NHWC" else y
    shape = y.shape[len(axes) - ndim:2] + y.shape[4 - len(axes[2:]):]
    return y if shape == y.shape else reshape(y, shape=shape)


def _inputs(op: str, axes: str, x: Tensor, w: Any, bias: Any, groups: int, transposed: bool = False
            ) -> list[Tensor]:
    """Images (N, C, H, W), filters and the bias, if any, whose channels fit."""
    images, w = as_images(op, x, axes), as_floats(w, op, "weight", x)
    if w.ndim != len(axes) or 0 in w.shape:
        raise ValueError(f"{op}: weight must have {len(axes)} axes, none of length 0, got shape {w.shape}")
    first, second = w.shape[0], w.shape[1] * groups
    inputs, outputs = (first, second) if transposed else (second, first)
    if images.shape[1] != inputs:
        raise ValueError(
            f"{op}: weight expects {inputs} input channels but x has {images.shape[1]} (x.shape={x.shape}, "
            f"weight.shape={w.shape}, groups={groups})" + misplaced(x.shape, inputs, len(axes) - 2))
    if first % groups:
        raise ValueError(f"{op}: weight.shape[0]={first} must be divisible by groups={groups} "
                         f"(weight.shape={w.shape})")
    if w.ndim == 3:
        w = reshape(w, shape=(*w.shape[:2], 1, w.shape[2]))
    if bias is None:
        return [images, w]
    bias = as_floats(bias, op, "bias", x)
    if bias.shape != (outputs,):
        raise ValueError(f"{op}: bias must have shape ({outputs},), one value per output channel, got "
                         f"{bias.shape}")
    return [images, w, bias]


def _convolve(op: str, axes: str, x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any,
              groups: Any, padding_mode: str) -> Tensor:
    x, groups, dims = as_floats(x, op, beside=w), whole(groups, op, "groups", 1), len(axes) - 2
    images, w, *rest = _inputs(op, axes, x, w, bias, groups)
    geometry = conv_geometry(op, images.shape[-dims:], w.shape[-dims:], stride, padding, dilation, groups)
    if one_of(padding_mode, op, "padding_mode", PADDING_MODES) != "zeros":
        images = pad(images, ((0, 0), (0, 0), *geometry.padding), padding_mode)
        geometry = geometry.unpadded
    return as_given(_conv2d(images, w, *rest, geometry=geometry), x.ndim, axes)


def _convolve_transposed(op: str, axes: str, x: Any, w: Any, bias: Any, stride: Any, padding: Any,
                         output_padding: Any, groups: Any, dilation: Any, output_size: Any) -> Tensor:
    x, groups, dims = as_floats(x, op, beside=w), whole(groups, op, "groups", 1), len(axes) - 2
    images, w, *rest = _inputs(op, axes, x, w, bias, groups, transposed=True)
    geometry = transposed_geometry(op, images.shape[-dims:], w.shape[-dims:], stride, padding,
                                   output_padding, dilation, groups, output_size)
    return as_given(_conv_transpose2d(images, w, *rest, geometry=geometry), x.ndim, axes)


def conv2d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1, layout: str = "NCHW", padding_mode: str = "zeros") -> Tensor:
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
        padding_mode: what padding holds: "zeros", "reflect", "replicate" or "circular" (see `pad`).

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
    one_of(layout, "conv2d", "layout", ("NCHW", "NHWC"))
    return _convolve("conv2d", layout, x, w, bias, stride, padding, dilation, groups, padding_mode)


def conv1d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
           groups: int = 1, padding_mode: str = "zeros") -> Tensor:
    """`conv2d` along one axis: x (N, C, L) or (C, L), w (O, C/groups, K) -> (N, O, OL).

    Arguments as for `conv2d`; padding is an int, "valid", "same" or ((left, right),).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.conv1d(tg.tensor([[1.0, 2.0, 3.0]]), tg.tensor([[[1.0, 1.0]]])).data.tolist()
        [[3.0, 5.0]]
    """
    return _convolve("conv1d", "NCL", x, w, bias, stride, padding, dilation, groups, padding_mode)


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
    g = as_floats(g, op, "g", x)
    x = as_floats(x, op, beside=g)
    if not g.ndim == x.ndim == 4:
        raise ValueError(f"{op}: g must have axes N, O, OH, OW and x N, C, H, W, got shapes "
                         f"{g.shape} and {x.shape}")
    kernel, groups = sizes(kernel, op, "kernel", 2), whole(groups, op, "groups", 1)
    geometry = conv_geometry(op, x.shape[2:], kernel, stride, padding, dilation, groups)
    if g.shape[0] != x.shape[0] or g.shape[2:] != geometry.out:
        raise ValueError(f"{op}: g must have shape ({x.shape[0]}, O, {geometry.out[0]}, {geometry.out[1]}), "
                         f"that of the convolution's output, got {g.shape} (x.shape={x.shape})")
    if 0 in (g.shape[1], x.shape[1]) or g.shape[1] % groups or x.shape[1] % groups:
        raise ValueError(f"{op}: the channels of g and x must be divisible by groups={groups}, got "
                         f"{g.shape[1]} and {x.shape[1]}; neither may be 0")
    return _conv2d_weight(g, x, geometry=geometry)


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
    return _convolve_transposed("conv_transpose2d", "NCHW", x, w, bias, stride, padding, output_padding,
                                groups, dilation, output_size)


def conv_transpose1d(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0,
                     output_padding: Any = 0, groups: int = 1, dilation: Any = 1,
                     output_size: Any = None) -> Tensor:
    """`conv_transpose2d` along one axis: x (N, C, L), w (C, O/groups, K) -> (N, O, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> x, w = tg.tensor([[1.0, 2.0]]), tg.tensor([[[1.0, 10.0]]])
        >>> tg.conv_transpose1d(x, w, stride=2).data.tolist()
        [[1.0, 10.0, 2.0, 20.0]]
    """
    return _convolve_transposed("conv_transpose1d", "NCL", x, w, bias, stride, padding, output_padding,
                                groups, dilation, output_size)
