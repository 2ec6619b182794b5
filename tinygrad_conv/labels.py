"""How a call is written in a picture: the op's name and what a reader wants to know of it.

Parameters at their defaults are left out, pairs of equal numbers become one. May import primitive.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .primitive import Primitive

Shape = tuple[int, ...]

PLAIN = {  # parameter values that say nothing, by name
    "stride": (1, 1), "dilation": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1, "keepdims": False}
HIDDEN = {"size", "shape", "kernel", "kernel_size", "dtype"}  # told by the edges, or by the size in front


def _times(values: Sequence[int]) -> str:
    return "x".join(map(str, values))


def _value(v: Any) -> str:
    """A parameter's value, shortest: (2, 2) is 2, ((1, 1), (1, 1)) is 1."""
    if isinstance(v, tuple) and v and all(_value(item) == _value(v[0]) for item in v):
        return _value(v[0]) if len(v) > 1 else str(v[0])
    return str(v).replace(" ", "")


def _window(name: str, shapes: Sequence[Shape], params: Mapping[str, Any]) -> str:
    """The size of the window an op slides, "3x3", or "" if it slides none."""
    if name in ("conv2d", "conv_transpose2d"):
        return _times(shapes[1][2:])
    kernel = params.get("kernel", params.get("kernel_size"))
    return _times(kernel) if isinstance(kernel, tuple) else ""


def call_label(name: str, shapes: Sequence[Shape], params: Mapping[str, Any]) -> str:
    """One call in a line: "conv2d 3x3 stride 2 groups 4".

    Example:
        >>> call_label("conv2d", [(1, 8, 9, 9), (8, 2, 3, 3)], {"stride": (2, 2), "groups": 4})
        'conv2d 3x3 stride 2 groups 4'
    """
    words = [name, _window(name, shapes, params)]
    words += [f"{key} {_value(value)}" for key, value in params.items()
              if key not in HIDDEN and value is not None and PLAIN.get(key, object) != value]
    return " ".join(filter(None, words))


def slot_name(primitive: Primitive, slot: int) -> str:
    """What the op calls its argument: "w"; "x1" for the second of many."""
    code = getattr(primitive.fn, "__code__", None)  # a NumPy ufunc has none
    names = code.co_varnames[:code.co_argcount] if code else ()
    return names[slot] if slot < len(names) else f"x{slot}"
