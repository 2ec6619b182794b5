"""The convolutions that are measured alone, forward and backward."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

import tinygrad_conv as tg

from .clock import Step
from .sides import torch


class Conv(NamedTuple):
    """N images of C channels and H x H pixels, O filters of K x K; `op` of both libraries."""

    n: int
    c: int
    h: int
    o: int
    k: int
    padding: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1
    dtype: str = "float32"
    op: str = "conv2d"

    def __str__(self) -> str:
        usual = {"conv2d": "conv", "conv_transpose2d": "transposed conv"}[self.op]
        rest = [f"{key} {getattr(self, key)}" for key in ("stride", "dilation", "groups") if getattr(self, key) > 1]
        rest += [self.dtype] * (self.dtype != "float32")
        return ", ".join([f"{usual} {self.n}x{self.c}x{self.h}x{self.h} -> {self.o}, k{self.k}", *rest])

    @property
    def out(self) -> int:
        """Rows and columns of the result."""
        reach = self.dilation * (self.k - 1) + 1
        if self.op == "conv_transpose2d":
            return (self.h - 1) * self.stride + reach - 2 * self.padding
        return (self.h + 2 * self.padding - reach) // self.stride + 1

    @property
    def operations(self) -> int:
        """Of a call, forward and backward: each product has two adjoints."""
        pixels = self.h if self.op == "conv_transpose2d" else self.out
        return 2 * 3 * self.n * pixels ** 2 * self.c * self.o // self.groups * self.k ** 2

    @property
    def options(self) -> dict[str, int]:
        return {key: getattr(self, key) for key in ("stride", "padding", "dilation", "groups")}

    def arrays(self) -> list[np.ndarray]:
        """x, w, b and g."""
        rng, many, each = np.random.default_rng(0), self.o, self.c // self.groups
        if self.op == "conv_transpose2d":
            many, each = self.c, self.o // self.groups
        shapes = [(self.n, self.c, self.h, self.h), (many, each, self.k, self.k), (self.o,),
                  (self.n, self.o, self.out, self.out)]
        return [rng.standard_normal(s, self.dtype) for s in shapes]


EIGHT = [Conv(64, 1, 28, 32, 3, 1), Conv(64, 32, 14, 64, 3, 1), Conv(64, 64, 32, 64, 3, 1), Conv(1, 5, 100, 10, 5, 0),
         Conv(64, 1, 28, 6, 5, 2), Conv(64, 6, 14, 16, 5, 0), Conv(32, 3, 32, 32, 3, 1), Conv(32, 128, 8, 128, 3, 1)]
SINGLE = [Conv(32, 64, 32, 64, 3, 1, stride=2), Conv(32, 32, 32, 32, 3, 2, dilation=2),
          Conv(32, 64, 32, 64, 3, 1, groups=4), Conv(32, 64, 32, 64, 3, 1, groups=64), Conv(32, 64, 32, 128, 1, 0),
          Conv(32, 16, 32, 32, 7, 3), Conv(32, 64, 16, 32, 4, 1, stride=2, op="conv_transpose2d"),
          Conv(32, 32, 16, 64, 3, 1, dtype="float64")]


def our_conv(conv: Conv) -> Step:
    x, w, b, g = conv.arrays()
    x, g = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, g)]  # as ops leave them
    x, w, b = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    g, op = tg.tensor(g), getattr(tg, conv.op)

    def step() -> list[tg.Tensor]:
        x.grad = w.grad = b.grad = None
        op(x, w, b, **conv.options).backward(g)
        return [x.grad, w.grad]

    return step


def torch_conv(conv: Conv, layout: str = "contiguous_format") -> Step:
    *leaves, g = [torch.tensor(a).contiguous(memory_format=getattr(torch, layout)) if a.ndim == 4
                  else torch.tensor(a) for a in conv.arrays()]
    x, w, b = [t.requires_grad_() for t in leaves]
    op = getattr(torch.nn.functional, conv.op)

    def step() -> list[torch.Tensor]:
        x.grad = w.grad = b.grad = None
        op(x, w, b, **conv.options).backward(g)
        return [x.grad, w.grad]

    return step
