"""The three bilinear maps of convolution on arrays, family `numpy`: which strategy runs when.

Every strategy takes and returns logical NCHW arrays of any strides, and all agree to rounding; the
choice affects only speed.
"""
from __future__ import annotations

import numpy as np

from . import depthwise, patches, wide
from .geometry import Geometry
from .layout import compute_dtype, finite
from .table import register


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    if w.shape[1] == 1 and geometry.groups > 1:
        return depthwise.conv2d(x, w, b, geometry)
    strategy = wide if geometry.groups == 1 else patches
    return strategy.conv2d(x, w, b, geometry)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    if x.shape[1] == geometry.groups > 1:
        return depthwise.weight_adjoint(g, x, geometry)
    strategy = wide if geometry.groups == 1 else patches
    return strategy.weight_adjoint(g, x, geometry)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    if 0 in geometry.size:  # windows of padding only
        return np.zeros((len(g), w.shape[1] * geometry.groups, *geometry.size), compute_dtype(g, w))
    if w.shape[1] == 1 and geometry.groups > 1:
        return depthwise.input_adjoint(g, w, b, geometry)
    if geometry.groups == 1:
        return wide.input_adjoint(g, w, b, geometry)
    if geometry.stride == (1, 1) and finite(w):  # the zeros around g meet it
        return patches.conv2d(g, patches.rotated(w, geometry.groups), b, geometry.turned)
    return patches.scatter(g, w, b, geometry)


for function in (conv2d, weight_adjoint, input_adjoint):
    register("numpy", function.__name__, function)
