"""Rows of pooling: both halves of every pair are checked on their own."""
from __future__ import annotations

import numpy as np

from tests import pool_reference as reference
from tinygrad_conv.kernels.geometry import Geometry
from tinygrad_conv.ops import pool

from .row import Row

# (size, kernel, stride, padding, dilation, ceil_mode)
GEOMETRIES = [
    ((4, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),    # tiles the plane
    ((5, 7), (2, 2), (2, 2), (0, 0), (1, 1), False),    # remainder
    ((5, 6), (3, 2), (1, 2), (1, 1), (1, 1), False),    # overlap, padding
    ((6, 5), (3, 3), (2, 2), (0, 1), (1, 1), True),
    ((6, 7), (2, 3), (3, 1), (1, 2), (2, 2), False),
    ((7, 4), (1, 2), (3, 3), (0, 0), (1, 1), True),     # stride above the kernel
    ((3, 6), (3, 2), (3, 2), (0, 0), (1, 1), False),    # tiles, 3 rows
    ((4, 5), (2, 3), (3, 2), ((0, 1), (1, 0)), (1, 1), False),  # as many windows with the numbers exchanged
]
SIZES = [((7, 5), (3, 4)), ((3, 4), (5, 2)), ((4, 6), (2, 3)), ((3, 3), (1, 1))]


def distinct(rng, shape):
    """Numbers at least 0.1 apart, so that no window is near a tie."""
    return (rng.permutation(int(np.prod(shape))).reshape(shape) - 20) * 0.1


def params(geo, **options):
    """What the op is called with for the plain numbers of a geometry; one number pads both sides alike."""
    sides = tuple(p if isinstance(p, tuple) else (p, p) for p in geo["padding"])
    return {"geometry": Geometry(**{**geo, "padding": sides}), **options}


def by_loops(loops, size=False):
    """The reference with the plain numbers of a geometry."""
    def expected(*arrays, geometry, **options):
        names = ("kernel", "stride", "dilation", "ceil_mode", *["size"] * size)
        geo = {name: getattr(geometry, name) for name in names}
        return loops(*arrays, padding=geometry.padding, **geo, **options)
    return expected


def max_geometries(rng):
    for size, kernel, stride, padding, dilation, ceil_mode in GEOMETRIES:
        yield distinct(rng, (2, 3, *size)), {"kernel": kernel, "stride": stride, "padding": padding,
                                             "dilation": dilation, "ceil_mode": ceil_mode}


def max_samples(rng):
    return [((x,), params({"size": x.shape[2:], **geo})) for x, geo in max_geometries(rng)]


def with_maxima(rng, made):
    """Samples (v, x, maxima of x): v of the shape of the maxima or of x."""
    for x, geo in max_geometries(rng):
        y = reference.max_pool(x, **geo)[0]
        yield ((rng.standard_normal({"outputs": y.shape, "cells": x.shape}[made]), x, y),
               params({"size": x.shape[2:], **geo}))


def indices_samples(rng):
    return [((x, reference.max_pool(x, **geo)[0]), params({"size": x.shape[2:], **geo}))
            for x, geo in max_geometries(rng)]


def avg_geometries():
    counts = [(True, None), (False, None), (True, 7), (False, 2.5)]
    plain = [geo for geo in GEOMETRIES if geo[4] == (1, 1)]
    for number, (size, kernel, stride, padding, dilation, ceil_mode) in enumerate(plain):
        include, override = counts[number % 4]
        geo = {"size": size, "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation,
               "ceil_mode": ceil_mode}
        yield params(geo, count_include_pad=include, divisor_override=override)


def avg_samples(rng):
    return [((rng.standard_normal((2, 3, *given["geometry"].size)),), given) for given in avg_geometries()]


def spread_samples(rng):
    return [((rng.standard_normal((2, 3, *given["geometry"].out)),), given) for given in avg_geometries()]


def places(rng):
    """(numbers, indices, size): places of planes, some named several times."""
    for size, out in [((3, 4), (2, 3)), ((5, 2), (2, 2)), ((2, 2), (2, 2))]:
        cells, count = size[0] * size[1], out[0] * out[1]
        indices = np.array([rng.choice(cells, count) for _ in range(6)])
        yield rng.standard_normal((2, 3, *out)), indices.reshape(2, 3, *out), size


def writing(rng):
    return [((v, indices), {"size": size}) for v, indices, size in places(rng)]


def reading(rng):
    return [((rng.standard_normal((2, 3, *size)), indices), {}) for _, indices, size in places(rng)]


ROWS = [
    Row(pool._max_pool2d, max_samples, by_loops(lambda x, **geo: reference.max_pool(x, **geo)[0])),
    Row(pool.max_pool2d_scatter, lambda rng: list(with_maxima(rng, "outputs")),
        by_loops(lambda g, x, y, **geo: reference.scatter(g, x, **geo)), linear=(0,)),
    Row(pool.max_pool2d_gather, lambda rng: list(with_maxima(rng, "cells")),
        by_loops(lambda u, x, y, **geo: reference.gather(u, x, **geo)), linear=(0,)),
    Row(pool.max_pool2d_indices, indices_samples,
        by_loops(lambda x, y, **geo: reference.max_pool(x, **geo)[1]), order=0),
    Row(pool._avg_pool2d, avg_samples, by_loops(reference.avg_pool), order=3, linear=(0,)),
    Row(pool.avg_pool2d_spread, spread_samples, by_loops(reference.avg_spread, size=True), order=3, linear=(0,)),
    Row(pool._adaptive_avg_pool2d, lambda rng: [
        ((rng.standard_normal((2, 3, *n)),), {"output_size": out}) for n, out in SIZES],
        reference.adaptive_avg, linear=(0,)),
    Row(pool.adaptive_avg_pool2d_spread, lambda rng: [
        ((rng.standard_normal((2, 3, *out)),), {"size": n}) for n, out in SIZES],
        reference.adaptive_spread, linear=(0,)),
    Row(pool._adaptive_max_pool2d, lambda rng: [
        ((distinct(rng, (2, 3, *n)),), {"output_size": out}) for n, out in SIZES],
        reference.adaptive_max),
    Row(pool.pick2d, reading, reference.pick, linear=(0,)),
    Row(pool.pile2d, writing, reference.pile, linear=(0,)),
    Row(pool._max_unpool2d, writing,
        lambda x, indices, *, size: reference.pile(x, indices, size=size, add=False), linear=(0,)),
    Row(pool.max_unpool2d_pick, reading, reference.pick_put, linear=(0,)),
]
