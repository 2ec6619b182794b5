"""How a call is labelled in a picture: the op's name and the parameters that matter.

Defaults are left out, pairs of equal numbers become one, long values are cut.
May import primitive.
"""
from __future__ import annotations

import functools
import linecache
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..primitive import Primitive

Shape = tuple[int, ...]

PLAIN = {  # parameter values that say nothing, by name, as they are written
    "stride": "1", "dilation": "1", "padding": "0", "groups": "1", "keepdims": "False",
    "ceil_mode": "False", "count_include_pad": "True", "negative_slope": "0.01"}
HIDDEN = {"size", "shape", "kernel", "kernel_size", "dtype"}  # told by the edges, or by the size in front
LONGEST = 32  # characters of a parameter's value
LINE = 70     # characters of a line of code

SUMMED = {  # the axes over which the convolutions' products are summed (ops/conv.py)
    "conv2d": "c, kh, kw", "conv_transpose2d": "o, kh, kw", "conv2d_weight": "n, oh, ow"}


def _times(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _value(v: Any) -> str:
    """A parameter's value, shortest: (2, 2) is 2, ((1, 1), (1, 1)) is 1."""
    if isinstance(v, tuple) and v and all(_value(item) == _value(v[0]) for item in v):
        return _value(v[0])
    if isinstance(v, np.ndarray):
        return f"{v.dtype}[{shape_text(v.shape)}]"
    if isinstance(v, slice):
        ends = (v.start, v.stop, v.step) if v.step is not None else (v.start, v.stop)
        return ":".join("" if n is None else str(n) for n in ends)
    text = f"({','.join(map(_value, v))})" if isinstance(v, tuple) else str(v).replace(" ", "")
    return text if len(text) <= LONGEST else text[:LONGEST - 3] + "..."


def shape_text(shape: Sequence[int]) -> str:
    """A shape as pictures show it.

    Example:
        >>> shape_text((8, 3, 32, 32)), shape_text(())
        ('8x3x32x32', 'scalar')
    """
    return _times(shape) or "scalar"


def _window(name: str, shapes: Sequence[Shape], params: Mapping[str, Any]) -> str:
    """The size of the window an op slides, "3x3", or "" if it slides none."""
    if name in ("conv2d", "conv_transpose2d"):
        return _times(shapes[1][2:])
    kernel = params.get("kernel", params.get("kernel_size"))
    return _times(kernel) if isinstance(kernel, tuple) else ""


def _as_called(name: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """A transposed convolution pads less at the end by its output padding: told apart again."""
    if name != "conv_transpose2d" or not any(before > after for before, after in params.get("padding", ())):
        return params
    extra = tuple(max(0, before - after) for before, after in params["padding"])
    padding = tuple((before, after + e) for (before, after), e in zip(params["padding"], extra))
    return {**params, "padding": padding, "output_padding": extra}


def call_label(name: str, shapes: Sequence[Shape], params: Mapping[str, Any]) -> str:
    """One call in a line: "conv2d 3x3 stride 2 groups 4".

    Example:
        >>> call_label("conv2d", [(1, 8, 9, 9), (8, 2, 3, 3)], {"stride": (2, 2), "groups": 4})
        'conv2d 3x3 stride 2 groups 4'
    """
    words = [name, _window(name, shapes, params)]
    said = [(key, _value(value)) for key, value in _as_called(name, params).items()
            if key not in HIDDEN and value is not None]
    words += [f"{key} {value}" for key, value in said
              if PLAIN.get(key) != value or key == "stride" and "pool" in name]
    return " ".join(filter(None, words))


@functools.cache
def dtype_name(dtype: np.dtype) -> str:
    """A dtype's name; NumPy takes its time to find it, and a tape asks often."""
    return str(dtype)


def place(where: tuple[str, int]) -> str:
    """A file and line as the reader knows them, with the source line: "train.py:12: y = tg.log(x)".

    A notebook's cells are files with a number for a name, in a folder named after the kernel.

    Example:
        >>> place(("/home/me/train.py", 12)), place(("/tmp/ipykernel_7/4711.py", 2))
        ('train.py:12', 'notebook cell:2')
    """
    file, number = where
    folder, name = os.path.split(file)
    linecache.checkcache(file)
    code = linecache.getline(file, number).strip()
    name = "notebook cell" if os.path.basename(folder).startswith("ipykernel_") else name
    code = code if len(code) <= LINE else code[:LINE - 3] + "..."
    return f"{name}:{number}" + f": {code}" * bool(code)


def conv_notes(name: str, shapes: Sequence[Shape], output: Shape) -> tuple[str, ...]:
    """The shapes a convolution or one of its adjoints maps, and its sums, in two lines; () for other ops.

    Source of the sums: the derivation that heads ops/conv.py.

    Example:
        >>> conv_notes("conv2d_weight", [(8, 5, 9, 9), (8, 3, 9, 9)], (5, 3, 3, 3))
        ('8x5x9x9, 8x3x9x9 -> 5x3x3x3', 'sums over n, oh, ow')
    """
    if name not in SUMMED:
        return ()
    return (f"{', '.join(map(shape_text, shapes[:2]))} -> {shape_text(output)}",
            f"sums over {SUMMED[name]}")


def slot_name(primitive: Primitive, slot: int) -> str:
    """What the op calls its argument: "w"; "x1" for the second of many."""
    names = primitive.names
    return names[slot] if slot < len(names) else f"x{slot}"
