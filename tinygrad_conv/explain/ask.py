"""The three questions: why does this output pixel, or this gradient of an input or weight, have its value?

Each fixes one letter of the index equation (meet.py) on the arrays of a recorded call.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor
from ..state import no_grad
from .call import RecordedConv, cotangent, index_on_four_axes, recorded
from .explanation import Explanation
from .meet import Meeting, channels, line
from .terms import SIDES, Factor


def _meeting(call: RecordedConv, side: str, at: Sequence[int], small: tuple[int, ...],
             large: tuple[int, ...]) -> Meeting:
    """The terms of the number at `at` on `side`, of arrays of shape `small` and `large`."""
    w, geometry = call.w.shape, call.geometry
    held = dict(zip(SIDES[side], at))
    axes = [line((small[2 + k], w[2 + k], large[2 + k]), geometry.stride[k], geometry.dilation[k],
                 geometry.padding[k], **{SIDES[side][2]: held[letter]})
            for k, letter in enumerate(SIDES[side][2:])]
    pairs = channels(w, geometry.groups, **{k: v for k, v in held.items() if k in ("small", "large", "k")})
    return Meeting(np.array([held["n"]]) if "n" in held else np.arange(small[0]), pairs, *axes)


def _explanation(call: RecordedConv, name: str, index: Any, at: tuple[int, int, int, int],
                 factors: dict[str, np.ndarray], result: np.ndarray, bias: float | None = None
                 ) -> Explanation:
    """Put together the explanation of `name` at `at`, the sum over products of `factors`."""
    x_side, y_side = ("small", "large") if call.transposed else ("large", "small")
    sides = {"x": x_side, "dx": x_side, "y": y_side, "g": y_side, "w": "kernel", "dw": "kernel"}
    arrays = {sides[key]: array.shape for key, array in (factors | {name: result}).items()}
    meeting = _meeting(call, sides[name], at, arrays["small"], arrays["large"])
    read = {"small": meeting.small_side, "large": meeting.large_side, "kernel": meeting.kernel}
    first, second = (Factor(key, sides[key], array, read[sides[key]](array))
                     for key, array in factors.items())
    return Explanation(call, name, sides[name], tuple(index), at, meeting, first, second, bias, result)


def output(y: Tensor, index: Sequence[int]) -> Explanation:
    """Which inputs and weights make one output pixel of a convolution.

    Args:
        y: what `tg.conv2d`, `tg.conv_transpose2d`, their one-dimensional forms or a layer of
            `nn` returned. It must be recorded: one of its inputs has to require a gradient.
        index: of the pixel in y, (n, o, i, j), with as many numbers as y has axes.

    Returns:
        an `Explanation`: prints as text, shows as a picture in a notebook; `.terms`, `.total`
        (their float64 sum), `.value` (what y holds), `.save("pixel.svg")`.

    Raises:
        TypeError: if y was not made by a convolution, or not recorded.
        IndexError: if the index is out of range; names the axis.
        RuntimeError: if `backward()` has freed the inputs, or they were changed since.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[[1.0, 2.0, 3.0]]]], requires_grad=True)
        >>> print(tg.explain.output(tg.conv2d(x, tg.tensor([[[[1.0, 10.0]]]])), (0, 0, 0, 1)))
        conv2d 1x2
          y[n,o,i,j] = sum over c,a,b of x[n,c,i+a,j+b] w[o,c,a,b]
          y[0,0,0,1] = sum over c,a,b of x[0,c,0+a,1+b] w[0,c,a,b]
        <BLANKLINE>
            x[0,0,:,:]   w[0,0,:,:]   product
               1  2         0   1
            0  2  3    * 0  1  10   =   2  30
            sum 32
        <BLANKLINE>
        as a matrix product: row 1 of im2col(x), 2 numbers, times a filter
            [2 3]
            [1 10]
        <BLANKLINE>
        sum of 2 products: 32
            = 32.0; y[0,0,0,1] holds 32 (float32), difference 0

    Source: the index equations that head ops/conv.py.
    """
    call = recorded(y, "explain.output")
    letters = "nouv" if call.transposed else "noij"
    at = index_on_four_axes(index, call.axes, call.y.shape, letters, "explain.output")
    bias = None if call.bias is None else float(call.bias.data[at[1]])
    return _explanation(call, "y", index, at, {"x": call.x.data, "w": call.w.data}, call.y.data, bias)


def input(y: Tensor, index: Sequence[int], g: Any = None) -> Explanation:
    """Which output gradients reach one input pixel of a convolution, through which weights.

    Args:
        y: as for `output`.
        index: of the pixel in the convolution's input, (n, c, u, v).
        g: the gradient at y: an array of y's shape, or the loss to compute it from; by default
            ones, as if the loss were y.sum().

    Returns:
        an `Explanation` of the gradient there; if x is also used elsewhere, of this use's share.

    Raises:
        TypeError, IndexError, RuntimeError: as for `output`.
        ValueError: if g has another shape, or no gradient flows from the loss to y.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[[1.0, 2.0, 3.0]]]], requires_grad=True)
        >>> y = tg.conv2d(x, tg.tensor([[[[1.0, 10.0]]]]))
        >>> tg.explain.input(y, (0, 0, 0, 1), g=[[[[5.0, 7.0]]]]).terms[["j", "b", "g", "w"]].tolist()
        [(0, 1, 5.0, 10.0), (1, 0, 7.0, 1.0)]

    Source: the index equations that head ops/conv.py.
    """
    what = "explain.input"
    call = recorded(y, what)
    letters = "ncij" if call.transposed else "ncuv"
    at = index_on_four_axes(index, call.axes, call.x.shape, letters, what)
    g = cotangent(y, call, g, what)
    return _explanation(call, "dx", index, at, {"g": g.data, "w": call.w.data}, _gradient(call, g, 0))


def weight(y: Tensor, index: Sequence[int], g: Any = None) -> Explanation:
    """All positions whose products make the gradient of one weight of a convolution.

    Args:
        y: as for `output`.
        index: of the weight, (o, c, a, b); c counts inside the group. Transposed: (c, o, a, b).
        g: as for `input`.

    Returns:
        an `Explanation` of the weight's gradient; if w is also used elsewhere, of this use's share.

    Raises:
        TypeError, IndexError, RuntimeError, ValueError: as for `input`.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[[1.0, 2.0, 3.0]]]], requires_grad=True)
        >>> y = tg.conv2d(x, tg.tensor([[[[1.0, 10.0]]]]))
        >>> why = tg.explain.weight(y, (0, 0, 0, 1), (y * y).sum())
        >>> why.terms["x"].tolist(), why.terms["g"].tolist(), why.total, why.value
        ([2.0, 3.0], [42.0, 64.0], 276.0, 276.0)

    Source: the index equations that head ops/conv.py.
    """
    what = "explain.weight"
    call = recorded(y, what)
    letters = "coab" if call.transposed else "ocab"
    at = index_on_four_axes(index, call.kernel_axes, call.w.shape, letters, what)
    g = cotangent(y, call, g, what)
    return _explanation(call, "dw", index, at, {"x": call.x.data, "g": g.data}, _gradient(call, g, 1))


def _gradient(call: RecordedConv, g: Tensor, argument: int) -> np.ndarray:
    """This call's gradient of x or w, from the kernels that `backward()` runs."""
    node = call.y.node
    with no_grad():
        return node.primitive.vjp_for(argument)(g, call.y, *node.inputs, **node.params).data
