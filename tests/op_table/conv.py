"""Rows of the conv family: each of the three maps is checked on its own, on every geometry."""
from __future__ import annotations

from tests import conv_reference as reference
from tests.op_table.row import Row
from tinygrad_conv.kernels.geometry import Geometry
from tinygrad_conv.ops import conv

# (size, kernel, stride, padding, dilation, groups, channels, filters)
GEOMETRIES = [
    ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 2, 3),
    ((6, 7), (3, 2), (2, 3), ((0, 0), (0, 1)), (1, 1), 1, 2, 3),      # remainder rows
    ((5, 5), (2, 2), (1, 2), ((3, 2), (0, 4)), (2, 1), 2, 4, 6),      # padding above the kernel
    ((4, 5), (1, 1), (3, 2), ((0, 0), (0, 0)), (1, 1), 1, 3, 2),      # stride above the kernel
    ((6, 5), (2, 3), (1, 1), ((0, 1), (1, 0)), (3, 2), 3, 3, 6),      # depthwise, two filters each
    ((6, 5), (2, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 4, 4, 4),      # depthwise, strided
    ((5, 6), (2, 2), (1, 1), ((-1, 0), (0, -2)), (1, 1), 1, 2, 2),    # negative padding crops
    ((4, 4), (4, 4), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 2, 2),      # one output pixel
    ((4, 5), (2, 3), (3, 2), ((0, 1), (1, 0)), (1, 1), 1, 2, 3),      # as many pixels with the numbers exchanged
    ((3, 4), (2, 2), (1, 1), ((1, 0), (0, 1)), (1, 1), 1, 9, 1),      # few filters of many channels
    ((3, 4), (2, 2), (1, 1), ((0, 1), (1, 0)), (1, 1), 1, 1, 9),      # and the other way round
]


def _arrays(rng):
    for size, kernel, stride, padding, dilation, groups, c, o in GEOMETRIES:
        geometry = Geometry(size, kernel, stride, padding, dilation, groups)
        out = reference.out_size(size, kernel, stride, padding, dilation)
        x, w = rng.standard_normal((2, c, *size)), rng.standard_normal((o, c // groups, *kernel))
        yield x, w, rng.standard_normal((2, o, *out)), {"geometry": geometry}


def conv2d_samples(rng):
    for x, w, _, params in _arrays(rng):
        yield (x, w), params
        yield (x, w, rng.standard_normal(len(w))), params


def conv_transpose2d_samples(rng):
    for x, w, g, params in _arrays(rng):
        yield (g, w), params
        yield (g, w, rng.standard_normal(x.shape[1])), params


def conv2d_weight_samples(rng):
    for x, _, g, params in _arrays(rng):
        yield (g, x), params


def by_loops(loops, *given):
    """The seven loops with the numbers of a geometry, those `given` among them."""
    def expected(*arrays, geometry):
        names = (*given, "stride", "padding", "dilation", "groups")
        return loops(*arrays, **{name: getattr(geometry, name) for name in names})
    return expected


ROWS = [
    Row(conv._conv2d, lambda rng: list(conv2d_samples(rng)), by_loops(reference.conv2d),
        order=3, linear=(0, 1, 2)),
    Row(conv._conv_transpose2d, lambda rng: list(conv_transpose2d_samples(rng)),
        by_loops(reference.conv_transpose2d, "size"), order=3, linear=(0, 1, 2)),
    Row(conv._conv2d_weight, lambda rng: list(conv2d_weight_samples(rng)),
        by_loops(reference.conv2d_weight, "kernel"), order=3, linear=(0, 1)),
]
