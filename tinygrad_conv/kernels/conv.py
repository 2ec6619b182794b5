"""The three bilinear maps of convolution on arrays: which algorithm runs when.

Every algorithm takes and returns logical NCHW arrays of any strides, and all agree to rounding; the
choice affects only speed.
"""
from __future__ import annotations

import numpy as np

from . import depthwise, patches, wide
from .window import Window, finite, turned


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
           groups: int) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    if x.shape[1] == groups > 1:
        return depthwise.conv2d(x, w, b, win)
    if groups == 1:
        return wide.conv2d(x, w, b, win)
    return patches.conv2d(x, w, b, win, groups)


def weight_adjoint(g: np.ndarray, x: np.ndarray, win: Window, groups: int) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    if x.shape[1] == groups > 1:
        return depthwise.weight_adjoint(g, x, win)
    if groups == 1:
        return wide.weight_adjoint(g, x, win)
    return patches.weight_adjoint(g, x, win, groups)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, win: Window,
                  groups: int) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    if w.shape[1] == 1 and groups > 1:
        return depthwise.input_adjoint(g, w, b, win, groups)
    if groups == 1:
        return wide.input_adjoint(g, w, b, win)
    if win.stride == (1, 1) and finite(w):  # the zeros around g meet it
        return patches.conv2d(g, patches.rotated(w, groups), b, turned(win), groups)
    return patches.scatter(g, w, b, win, groups)
