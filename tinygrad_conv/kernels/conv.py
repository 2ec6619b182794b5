"""The three bilinear maps of convolution on arrays, family `numpy`: which strategy runs when.

Every strategy takes and returns logical NCHW arrays of any strides, and all agree to rounding; the
choice affects only speed.
"""
from types import ModuleType

import numpy as np

from . import depthwise, patches, wide, winograd
from .geometry import Geometry
from .layout import compute_dtype
from .table import register


def _strategy(one_channel: bool, geometry: Geometry) -> ModuleType:
    """For groups of one channel, for a single group, or for any."""
    return wide if geometry.groups == 1 else depthwise if one_channel else patches


def conv2d(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """y[n,o,i,j] = b[o] + sum over c,a,b of xp[n,c,i*s+a*d,j*s+b*d] w[o,c,a,b]."""
    if winograd.serves(x, w, w.shape[1], len(w), geometry):
        return winograd.conv2d(x, w, b, geometry)
    return _strategy(w.shape[1] == 1, geometry).conv2d(x, w, b, geometry)


def weight_adjoint(g: np.ndarray, x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """dw[o,c,a,b] = sum over n,i,j of g[n,o,i,j] xp[n,c,i*s+a*d,j*s+b*d]."""
    if winograd.serves(x, g, x.shape[1], g.shape[1], geometry):
        return winograd.weight_adjoint(g, x, geometry)
    return _strategy(x.shape[1] == geometry.groups, geometry).weight_adjoint(g, x, geometry)


def input_adjoint(g: np.ndarray, w: np.ndarray, b: np.ndarray | None, geometry: Geometry) -> np.ndarray:
    """dx[n,c,u,v] = b[c] + sum over o,i,j,a,b with i*s+a*d = u+p of g[n,o,i,j] w[o,c,a,b]."""
    if 0 in geometry.size:  # windows of padding only
        return np.zeros((len(g), w.shape[1] * geometry.groups, *geometry.size), compute_dtype(g, w, b))
    if winograd.serves(g, w, len(w), w.shape[1], geometry.turned):
        return winograd.input_adjoint(g, w, b, geometry)
    return _strategy(w.shape[1] == 1, geometry).input_adjoint(g, w, b, geometry)


register("numpy", "conv2d", conv2d)
register("numpy", "weight_adjoint", weight_adjoint)
register("numpy", "input_adjoint", input_adjoint)
