"""Rows of the ops that move values: shape, indexing and padding. All are linear."""
from __future__ import annotations

import numpy as np

from tinygrad_conv.ops import padding, shape

from .row import Row


def sampled(*cases):
    """Samples of one array each: (shape, params)."""
    def samples(rng):
        return [((rng.standard_normal(size),), params) for size, params in cases]
    return samples


INDICES = [
    ((4, 3), (slice(None), 1)), ((4, 3), (slice(3, 0, -2), None, Ellipsis)),
    ((4, 3), (np.array([0, 2, 0, 3, 0]),)), ((4, 3, 2), (slice(1, 3), np.array([[1, 1], [0, 2]]))),
    ((4, 3), (np.array([[True, False, True]] * 4),)), ((4, 3), (np.array([1, 1]), np.array([2, 2]))),
    ((5,), (np.array([], np.int64),)), ((2, 3), (0, 1)),
    ((3, 4), (np.arange(3)[:, None], np.array([[1, 3], [0, 0], [2, 1]]))),  # as take_along_axis has them
    ((3, 4), (np.array([[0, 2, 1, 1], [0, 0, 0, 2]]), np.arange(4)[None])),
    ((2, 3, 2), (np.arange(2)[:, None, None], np.array([[[1, 0]], [[2, 2]]]), np.arange(2)[None, None])),
]


def getitem_samples(rng):
    return [((rng.standard_normal(size),), {"index": index}) for size, index in INDICES]


def scatter_samples(rng):
    return [((rng.standard_normal(np.zeros(size)[index].shape),), {"index": index, "shape": size})
            for size, index in INDICES]


def scatter_add(g, *, index, shape):
    """Entry by entry: each value of g is added where x[index] would have read it."""
    places = np.arange(np.prod(shape)).reshape(shape)[index]
    out = np.zeros(int(np.prod(shape)))
    for place, value in zip(np.ravel(places), np.ravel(g)):
        out[place] += value
    return out.reshape(shape)


def joined(rng):
    return [((rng.standard_normal((2, 3)), rng.standard_normal((1, 3))), {"axis": 0}),
            ((rng.standard_normal((2, 1)), rng.standard_normal((2, 2)), rng.standard_normal((2, 0))),
             {"axis": 1})]


ROWS = [
    Row(shape._reshape, sampled(((2, 6), {"shape": (3, 4)}), ((4,), {"shape": (2, 1, 2)}),
                                ((), {"shape": (1,)})),
        lambda x, *, shape: x.reshape(shape), linear=(0,)),
    Row(shape._transpose, sampled(((2, 3, 4), {"axes": (2, 0, 1)}), ((2, 3), {"axes": (1, 0)})),
        lambda x, *, axes: np.moveaxis(x, axes, range(len(axes))), linear=(0,)),
    Row(shape._broadcast_to, sampled(((3, 1), {"shape": (2, 3, 4)}), ((), {"shape": (2,)})),
        lambda x, *, shape: x + np.zeros(shape), linear=(0,)),
    Row(shape._concatenate, joined, lambda *xs, axis: np.concatenate(xs, axis), linear=(0, 1)),
    Row(shape._roll, sampled(((4, 3), {"shift": (1,), "axis": (0,)}),
                             ((4, 3), {"shift": (-2, 5), "axis": (0, 1)})),
        lambda x, *, shift, axis: np.roll(x, shift, axis), linear=(0,)),
    Row(padding._pad, sampled(((2, 3), {"width": ((1, 0), (2, 3)), "value": 0.0}),
                              ((3,), {"width": ((2, 1),), "value": 7.0})),
        lambda x, *, width, value: np.pad(x, width, constant_values=value), linear=(0,)),
    Row(shape._getitem, getitem_samples, lambda x, *, index: x[index], linear=(0,)),
    Row(shape._scatter_add, scatter_samples, scatter_add, linear=(0,), empty=False),
]
