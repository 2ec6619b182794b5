"""Kernels in machine code: their numbers, their limits, what is kept on disk, and how they are chosen."""
from __future__ import annotations

import ctypes
import math
import mmap
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.conv_reference import seven_loops
from tinygrad_conv.kernels import pool as plain
from tinygrad_conv.kernels import table
from tinygrad_conv.kernels.geometry import Geometry, conv_geometry, pool_geometry

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import conv, family, ir, machine, plan  # noqa: E402

CLOSE = {np.float64: 1e-12, np.float32: 1e-4}


def close(a: np.ndarray, b: np.ndarray, kind: type) -> None:
    assert a.dtype == kind and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=CLOSE[kind], atol=CLOSE[kind])


def laid_out(rng: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Random numbers, channels last in memory, or first, or every second of a larger array."""
    a = rng.standard_normal(shape).astype(kind)
    how = rng.integers(3)
    if how == 0:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return a if how == 1 else np.repeat(a, 2, axis=3)[..., ::2]


def geometries(rng: np.random.Generator, count: int):
    """(batch, channels, filters of all groups, geometry), small and odd."""
    while count:
        groups = int(rng.choice([1, 1, 2, 3]))
        c, o = groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 20))
        if rng.random() < 0.2:
            c = o = groups = int(rng.integers(2, 20))
        size, kernel = rng.integers(1, 12, 2).tolist(), rng.integers(1, 4, 2).tolist()
        try:
            geometry = conv_geometry("conv2d", tuple(size), tuple(kernel), tuple(rng.integers(1, 4, 2).tolist()),
                                     tuple(map(tuple, rng.integers(-1, 3, (2, 2)).tolist())),
                                     tuple(rng.integers(1, 3, 2).tolist()), groups)
        except ValueError:
            continue
        count -= 1
        yield int(rng.integers(1, 4)), c, o, geometry


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_compiled_convolution_equals_seven_loops(rng, kind):
    for n, c, o, geometry in geometries(rng, 40):
        x = laid_out(rng, (n, c, *geometry.size), kind)
        w = rng.standard_normal((o, c // geometry.groups, *geometry.kernel)).astype(kind)
        g = laid_out(rng, (n, o, *geometry.out), kind)
        b = rng.standard_normal(o).astype(kind)
        y, dx, dw = seven_loops(x, w, g, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
        close(family.conv2d(x, w, b, geometry), y + b[:, None, None], kind)
        close(family.input_adjoint(g, w, None, geometry), dx, kind)
        close(family.weight_adjoint(g, x, geometry), dw, kind)
