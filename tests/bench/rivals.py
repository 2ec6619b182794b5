"""Other libraries of our kind that differentiate a convolution in NumPy; those that are not installed are left out.

Each is given the convolution as it likes it best: images padded beforehand, axes in its own order.
"""
from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from .clock import Step
from .convs import Conv


def padded(conv: Conv) -> list[np.ndarray]:
    """x with its border, up to the end of the last window, w, b and g."""
    x, *rest = conv.arrays()
    end = (conv.out - 1) * conv.stride + conv.dilation * (conv.k - 1) + 1
    return [np.pad(x, [(0, 0), (0, 0), *[(conv.padding, conv.padding)] * 2])[:, :, :end, :end].copy(), *rest]


def mygrad(conv: Conv) -> Step:
    import mygrad
    from mygrad.nnet.layers import conv_nd
    mygrad.turn_memory_guarding_off()  # as its manual advises for speed
    x, w, b, g = padded(conv)
    x, w, b = [mygrad.tensor(a) for a in (x, w, b[:, None, None])]

    def step() -> list[np.ndarray]:
        x.null_grad(), w.null_grad(), b.null_grad()
        (conv_nd(x, w, stride=conv.stride, dilation=conv.dilation) + b).backward(g)
        return [x.grad, w.grad]

    return step


def smallpebble(conv: Conv) -> Step:
    import smallpebble as sp
    x, w, b, g = padded(conv)
    x, g = [sp.Variable(np.ascontiguousarray(a.transpose(0, 2, 3, 1))) for a in (x, g)]  # (N, H, W, C)
    w, b = sp.Variable(np.ascontiguousarray(w.transpose(2, 3, 1, 0))), sp.Variable(b)    # (KH, KW, C, O)

    def step() -> list[np.ndarray]:
        y = sp.conv2d(x, w, padding="VALID", strides=(conv.stride, conv.stride))
        grads = sp.get_gradients(sp.mul(sp.add(y, b), g))  # it begins with ones
        return [grads[x].transpose(0, 3, 1, 2), grads[w].transpose(3, 2, 0, 1)]

    return step


def autograd(conv: Conv) -> Step:
    from autograd import make_vjp
    from autograd.scipy.signal import convolve
    x, w, b, g = padded(conv)
    w, b = w[:, :, ::-1, ::-1], b[:, None, None]  # what it calls a convolution turns the kernel around

    def forward(leaves):
        x, w, b = leaves
        return convolve(x, w, axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid") + b

    def step() -> list[np.ndarray]:
        vjp, _ = make_vjp(forward)((x, w, b))
        dx, dw, _ = vjp(g)
        return [dx, dw[:, :, ::-1, ::-1]]

    return step


class Rival(NamedTuple):
    """`step` makes it; it needs these modules, and knows these options of a convolution."""

    name: str
    needs: tuple[str, ...]
    step: Callable[[Conv], Step]
    knows: tuple[str, ...] = ()

    def serves(self, conv: Conv) -> bool:
        return conv.op == "conv2d" and all(
            getattr(conv, key) == 1 or key in self.knows for key in ("stride", "dilation", "groups"))


RIVALS = [Rival("MyGrad", ("mygrad",), mygrad, ("stride", "dilation")),
          Rival("SmallPebble", ("smallpebble",), smallpebble, ("stride",)),
          Rival("HIPS autograd", ("autograd", "scipy"), autograd)]


def installed(rivals: Iterable[Rival] = RIVALS) -> tuple[list[Rival], list[str]]:
    """Those that are here, and the names of those that are not."""
    here = {rival: all(map(importlib.util.find_spec, rival.needs)) for rival in rivals}
    return [rival for rival, is_here in here.items() if is_here], [r.name for r, is_here in here.items() if not is_here]
