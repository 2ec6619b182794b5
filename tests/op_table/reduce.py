"""Rows of the reductions; samples of max and min have no ties."""
from __future__ import annotations

import numpy as np
from scipy import special

from tinygrad_conv.ops import reduce

from .row import Row

AXES = [((2, 3, 4), (1,)), ((2, 3, 4), (0, 2)), ((3, 4), (0, 1)), ((5,), (0,)), ((), ())]


def spread_out(rng, shape):
    """Numbers 0.1 apart in random order."""
    n = int(np.prod(shape))
    return 0.1 * (rng.permutation(n).reshape(shape) - n / 2)


def reduced(make=lambda rng, shape: rng.standard_normal(shape), axes=AXES):
    def samples(rng):
        return [((np.asarray(make(rng, shape)),), {"axis": axis, "keepdims": keep})
                for shape, axis in axes for keep in (False, True)]
    return samples


def one_axis(rng):
    return [((spread_out(rng, (3, 4)),), {"axis": axis, "keepdims": keep})
            for axis in (None, 0, 1) for keep in (False, True)]


ROWS = [
    Row(reduce._sum, reduced(), lambda x, **how: x.sum(**how), linear=(0,)),
    Row(reduce._mean, reduced(), lambda x, **how: x.mean(**how), linear=(0,)),
    Row(reduce._max, reduced(spread_out), lambda x, **how: x.max(**how)),
    Row(reduce._min, reduced(spread_out), lambda x, **how: x.min(**how)),
    Row(reduce._argmax, one_axis, lambda x, **how: x.argmax(**how), order=0),
    Row(reduce._argmin, one_axis, lambda x, **how: x.argmin(**how), order=0),
    Row(reduce._any, reduced(), lambda x, **how: x.any(**how), order=0),
    Row(reduce._all, reduced(), lambda x, **how: x.all(**how), order=0),
    Row(reduce._logsumexp, reduced(axes=AXES[:4]),
        lambda x, **how: special.logsumexp(x, **how), empty=False),
    Row(reduce._cumsum, lambda rng: [((rng.standard_normal((3, 4)),), {"axis": a}) for a in (0, 1)],
        lambda x, *, axis: np.stack([x.take(range(i + 1), axis).sum(axis)
                                     for i in range(x.shape[axis])], axis), linear=(0,)),
    Row(reduce._root, lambda rng: [((rng.uniform(0.5, 2.0, shape),), {}) for shape in ((), (2, 3))],
        lambda x: x ** 0.5),
]
