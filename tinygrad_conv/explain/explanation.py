"""The three questions: why does this output pixel, or this gradient of an input or weight, have its value?

Each fixes one letter of the index equation (terms.py) on the arrays of a recorded call, and returns
an `Explanation`, to print, show and save.
"""
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..files import write_atomically
from ..state import no_grad
from .call import cotangent, index_on_four_axes, recorded
from .picture import draw
from .terms import SIDES, Factor, Meeting, Terms, line, planes
from .text import as_text

LETTERS = {"y": "noij", "dx": "ncuv", "dw": "ocab"}  # of the axes of conv2d's arrays
TRANSPOSED = {"y": "nouv", "dx": "ncij", "dw": "coab"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 1.5em }} svg {{ max-width: 100%; height: auto }}
pre {{ overflow-x: auto }}</style></head>
<body>
{body}
</body></html>
"""


class Explanation(Terms):
    """Why one number of a convolution is what it is; prints as text, shows as a picture in a notebook.

    Attributes: `index` as asked; `terms`, one record per product; `partials`, their sum for each
    channel (for a weight: each sample); `bias`; `total`, the float64 sum of all; `value`, what
    the tensor or its gradient holds; `im2col`, row number and row of the patch matrix.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.conv2d(tg.ones(1, 2, 3, 3, requires_grad=True), tg.ones(1, 2, 2, 2))
        >>> why = tg.explain.output(y, (0, 0, 1, 1))
        >>> why.partials.tolist(), why.total, why.value
        ([4.0, 4.0], 8.0, 8.0)
    """

    __repr__ = as_text
    _repr_svg_ = draw

    def _repr_html_(self) -> str:
        return f"{draw(self)}<details><summary>as text</summary><pre>{escape(as_text(self))}</pre></details>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture (.svg), or a page with picture and text (.html); old file or new one.

        Raises:
            ValueError: for another ending.

        Example:
            >>> import tempfile, tinygrad_conv as tg
            >>> y = tg.conv2d(tg.ones(1, 1, 3, 3, requires_grad=True), tg.ones(1, 1, 2, 2))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     tg.explain.output(y, (0, 0, 1, 1)).save(f"{folder}/pixel.svg").name
            'pixel.svg'
        """
        path = Path(path)
        if path.suffix not in (".svg", ".html"):
            raise ValueError(f"explain: a picture is saved as .svg or .html, got {str(path)!r}")
        write_atomically(path, (draw(self) if path.suffix == ".svg" else PAGE.format(
            title=escape(self.call.label), body=self._repr_html_())).encode())
        return path


def _explained(what: str, name: str, y: Any, index: Any, g: Any = None) -> Explanation:
    """Why `name` ("y", "dx" or "dw") at `index` is the sum over products of two other arrays."""
    call = recorded(y, what)
    at = index_on_four_axes(index, call.kernel_axes if name == "dw" else call.axes,
                            {"y": call.y, "dx": call.x, "dw": call.w}[name].shape,
                            (TRANSPOSED if call.transposed else LETTERS)[name], what)
    node, geometry = call.y.node, call.geometry
    arrays, result = {"x": call.x.data, "w": call.w.data}, call.y.data
    bias = float(node.inputs[2].data[at[1]]) if name == "y" and len(node.inputs) == 3 else None
    if name != "y":
        g = cotangent(y, call, g, what)
        arrays = {"g": g.data, "w": call.w.data} if name == "dx" else {"x": call.x.data, "g": g.data}
        with no_grad():  # this call's share of the gradient, from the kernels that backward() runs
            result = node.primitive.vjp_for(int(name == "dw"))(g, call.y, *node.inputs, **node.params).data
    y_side, x_side, w_side = node.primitive.sides.values()
    sides = {"x": x_side, "dx": x_side, "y": y_side, "g": y_side, "w": w_side, "dw": w_side}
    held = dict(zip(SIDES[sides[name]], at))
    sizes = zip(geometry.out, geometry.kernel, geometry.size)
    rows, columns = (line(*axis, **{SIDES[sides[name]][2]: k}) for *axis, k in zip(
        sizes, geometry.stride, geometry.dilation, geometry.padding, at[2:]))
    samples = np.array([held["n"]]) if "n" in held else np.arange(len(call.x.data))
    meeting = Meeting(planes(samples, call.w.shape, geometry.groups, held), rows, columns)
    first, second = (Factor(key, sides[key], array, meeting.values(sides[key], array))
                     for key, array in arrays.items())
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
    return _explained("explain.output", "y", y, index)


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
    return _explained("explain.input", "dx", y, index, g)


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
    return _explained("explain.weight", "dw", y, index, g)
