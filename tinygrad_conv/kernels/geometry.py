"""Sizes of sliding windows: what stride, padding and dilation mean, in one place."""
from __future__ import annotations

from typing import Any

from ..arguments import is_whole

Sides = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))


def pair(value: Any, op: str, name: str, least: int = 1) -> tuple[int, int]:
    """An int or a pair of ints as (vertical, horizontal), each at least `least`.

    Raises:
        TypeError, ValueError: naming the op, the argument and the value.
    """
    values = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(values) != 2 or not all(is_whole(v) for v in values):
        raise TypeError(f"{op}: {name} expects an int or a pair of ints, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {value!r}")
    return int(values[0]), int(values[1])


def single(value: Any, op: str, name: str) -> Any:
    """A geometry argument along one axis (an int or a tuple of one) as its one value.

    What a tuple of one holds is not looked at: padding may hold a pair there.

    Raises:
        TypeError: naming the op, the argument and the value.
    """
    if isinstance(value, list | tuple):
        if len(value) != 1:
            raise TypeError(f"{op}: {name} expects an int or a tuple of one, got {value!r}")
        return value[0]
    return value


def reach(kernel: int, dilation: int) -> int:
    """How many cells a dilated kernel spans: d(k-1)+1."""
    return dilation * (kernel - 1) + 1


def conv_padding(value: Any, op: str, size: tuple[float, float], kernel: tuple[int, int],
                 stride: tuple[int, int], dilation: tuple[int, int]) -> Sides:
    """Padding in any accepted form as ((top, bottom), (left, right)).

    An int or a pair pads both sides alike; a pair of pairs gives each side (below 0 crops);
    "valid" is none; "same" makes the output ceil(n / stride), an odd cell going to the bottom and right
    (TensorFlow's rule and ONNX's SAME_UPPER at any stride; PyTorch's at stride 1).
    """
    if isinstance(value, str):
        if value not in ("valid", "same"):
            raise ValueError(f"{op}: padding expects numbers, 'valid' or 'same', got {value!r}")
        return ((0, 0), (0, 0)) if value == "valid" else tuple(
            _same(*axis) for axis in zip(size, kernel, stride, dilation))
    if isinstance(value, list | tuple) and len(value) == 2 and all(
            isinstance(v, list | tuple) for v in value):
        return tuple(pair(v, op, "padding", least=-n) for v, n in zip(value, size))
    vertical, horizontal = pair(value, op, "padding", least=0)
    return (vertical, vertical), (horizontal, horizontal)


def _same(n: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    out = -(-n // stride)
    total = max(0, (out - 1) * stride + reach(kernel, dilation) - n)
    return total // 2, total - total // 2


def conv_size(op: str, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int],
              padding: Sides, dilation: tuple[int, int]) -> tuple[int, int]:
    """floor((n + padding - reach) / stride) + 1 on both axes.

    Raises:
        ValueError: if the kernel is larger than the padded input.
    """
    padded = tuple(n + sum(p) for n, p in zip(size, padding))
    spans = tuple(reach(k, d) for k, d in zip(kernel, dilation))
    if padded[0] < spans[0] or padded[1] < spans[1]:
        raise ValueError(
            f"{op}: the kernel spans {spans[0]}x{spans[1]} (size {kernel[0]}x{kernel[1]}, dilation "
            f"{dilation}) but the padded input is only {padded[0]}x{padded[1]} (input "
            f"{size[0]}x{size[1]}, padding {padding}); pad more or use a smaller kernel")
    return tuple((n - r) // s + 1 for n, r, s in zip(padded, spans, stride))
