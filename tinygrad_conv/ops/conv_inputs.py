"""What the convolutions accept: floating point tensors whose axes, channels and groups fit.

Imports the record, the sizes of windows and arguments; knows no op.
"""
from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from ..arguments import is_whole
from ..operands import as_floats


def as_conv_inputs(op: str, x: Any, w: Any, bias: Any, groups: int, axes: str) -> list[Tensor]:
    """x, w and the bias, if any, as float tensors; x has `axes`, or all of them but N."""
    x, w = as_floats(x, op), as_floats(w, op, "weight")
    rest = [] if bias is None else [as_floats(bias, op, "bias")]
    if x.ndim not in (len(axes) - 1, len(axes)):
        raise ValueError(f"{op}: x must have axes {axes} (or {axes[1:]}, one sample), got shape "
                         f"{x.shape}")
    if w.ndim != len(axes):
        raise ValueError(f"{op}: weight must have {len(axes)} axes, got shape {w.shape}")
    if 0 in w.shape:
        raise ValueError(f"{op}: weight has no elements, got shape {w.shape}")
    check_groups(op, groups)
    return [x, w, *rest]


def check_groups(op: str, groups: Any) -> None:
    """Raise unless it is a whole number of at least 1."""
    if not is_whole(groups) or groups < 1:
        raise ValueError(f"{op}: groups must be a whole number of at least 1, got {groups!r}")


def check_channels(op: str, tensors: list[Tensor], groups: int, inputs: int, outputs: int,
                   axes: str) -> None:
    """Raise unless x has `inputs` channels, the groups share the filters, and a bias `outputs`."""
    x, w, *rest = tensors
    channels = x.shape[axes.index("C") - len(axes)]
    if channels != inputs:
        raise ValueError(
            f"{op}: weight expects {inputs} input channels but x has {channels} (x.shape="
            f"{x.shape}, weight.shape={w.shape}, groups={groups})")
    if w.shape[0] % groups:
        raise ValueError(f"{op}: weight.shape[0]={w.shape[0]} must be divisible by groups={groups} "
                         f"(weight.shape={w.shape})")
    if rest and rest[0].shape != (outputs,):
        raise ValueError(f"{op}: bias must have shape ({outputs},), one value per output channel, "
                         f"got {rest[0].shape}")


def check_cotangent(op: str, g: Tensor, x: Tensor, out: tuple[int, int], groups: int) -> None:
    """Raise unless g can be a cotangent of a convolution of x whose output is of size `out`."""
    if g.shape[0] != x.shape[0] or g.shape[2:] != out:
        raise ValueError(f"{op}: g must have shape ({x.shape[0]}, O, {out[0]}, {out[1]}), that of "
                         f"the convolution's output, got {g.shape} (x.shape={x.shape})")
    if g.shape[1] % groups or x.shape[1] % groups:
        raise ValueError(f"{op}: the channels of g and x must be divisible by groups={groups}, got "
                         f"{g.shape[1]} and {x.shape[1]}")
