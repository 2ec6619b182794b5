"""Cutting an array into equal pieces that lie together in memory, for sums over some axes.

Written once for any order of axes in memory: C-order and channels-last images, rows, columns.
"""
import math
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from .layout import compute_dtype
from .parallel import in_chunks

BLOCK = 1 << 15  # entries worked on at a time: with temporaries they stay in the L2 cache
RUN = 256        # entries an inner loop should have; from LONG on a scalar beside it is free
LONG = 1 << 13
PLAIN = 1 << 15  # entries up to which an array is not worth cutting


def _divisor(n: int, most: int) -> int:
    """The largest divisor of n that is at most `most` (and at least 1)."""
    return next(d for d in range(max(1, min(n, most)), 0, -1) if n % d == 0)


class Cut:
    """An array, cut for sums over `axes`.

    Axes in the order of memory are lead, run, trail: the run is the longest of summed axes that
    lie together. Without a trail, a piece is a row: blocks (p, run), summed over the last axis.
    Else a piece is a column: the run is cut into slabs, `side` short rows are laid side by side,
    and blocks are (run / (slabs * side), side * trail), summed over the first axis.

    The cut is periodic if a small array (length 1 on `axes`) looks the same from every block. It
    is then expanded to a block: NumPy broadcasts inside short inner loops at a third of its speed.
    """

    def __init__(self, x: np.ndarray, axes: tuple[int, ...]) -> None:
        self.axes, self.dtype = axes, compute_dtype(x)
        self.order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
        self.back = sorted(range(x.ndim), key=self.order.__getitem__)
        self.sizes = [x.shape[i] for i in self.order]                # in the order of memory
        summed = [i in axes or x.shape[i] == 1 for i in self.order]
        runs = [run for run in combinations(range(x.ndim + 1), 2) if all(summed[slice(*run)])]
        start, stop = max(runs or [(0, 0)], key=lambda run: math.prod(self.sizes[slice(*run)]))
        self.small = [*self.sizes[:start], *[1] * (stop - start), *self.sizes[stop:]]
        lead, run, trail = map(math.prod, (
            self.sizes[:start], self.sizes[start:stop], self.sizes[stop:]))
        self.slabs = self.side = 1
        if trail == 1:
            self.axis, self.form = -1, (lead, 1, run)
            samples = self.sizes[0]
            self.periodic = (start > 0 and self.order[0] in axes and run < LONG
                             and x.size // samples <= 4 * BLOCK)
            if self.periodic:
                self.form = (samples, lead // samples, run)
        else:
            self.side = _divisor(run, RUN // trail)
            rows = run // self.side
            self.slabs = _divisor(rows, min(rows // 16, run * trail // BLOCK))
            self.axis, self.periodic = -2, lead == 1
            self.form = (lead * self.slabs, rows // self.slabs, self.side * trail)
        self.places = (lead, self.slabs * self.side, trail)          # of pieces: copies in between
        self.count = self.form[self.axis]                            # entries a piece

    def dense(self, a: np.ndarray) -> np.ndarray:
        """An array of x's shape in the form of the cut; a copy only if it lies otherwise."""
        return np.ascontiguousarray(a.transpose(self.order), self.dtype).reshape(self.form)

    def empty(self) -> np.ndarray:
        return np.empty(self.form, self.dtype)

    def whole(self, a: np.ndarray) -> np.ndarray:
        """Back from the form of the cut to x's shape."""
        return a.reshape(self.sizes).transpose(self.back)

    def spread(self, small: np.ndarray) -> np.ndarray:
        """A small array, repeated so that it broadcasts against the form of the cut, block by block."""
        lead, _, trail = self.places
        full = np.full([self.small[i] for i in self.back], small, self.dtype).transpose(self.order)
        pieces = np.full(self.places, full.reshape(lead, 1, trail))
        pieces = pieces.reshape((*self.form[:2], 1) if self.axis == -1 else (self.form[0], 1, self.form[2]))
        if self.periodic:
            pieces = pieces[:1]
            if math.prod(self.form[1:]) <= 4 * BLOCK:
                pieces = np.ascontiguousarray(np.broadcast_to(pieces, (1, *self.form[1:])))
            pieces = np.broadcast_to(pieces, (self.form[0], *pieces.shape[1:]))
        return pieces

    def collect(self, results: Sequence[np.ndarray]) -> np.ndarray:
        """Values of pieces, as from `each`, as small arrays in float64, one behind the other."""
        pieces = np.concatenate(results, dtype=np.float64).reshape(self.places)
        pieces = pieces.swapaxes(0, 1).reshape(-1, *self.small)
        return pieces.transpose(0, *[1 + i for i in self.back])

    def each(self, arrays: int, work: Callable) -> list:
        """Run `work(slice, scratch)` on some blocks at a time; its results in order."""
        def run(slices, n):
            scratch = np.empty((n, *self.form[1:]), self.dtype)
            return [work(s, scratch[:s.stop - s.start]) for s in slices]

        item = math.prod(self.form[1:]) * self.dtype.itemsize * arrays
        return [result for part in in_chunks(self.form[0], item, run) for result in part]

    def sums(self, a: np.ndarray) -> np.ndarray:
        """The sum of each piece, by BLAS."""
        ones = np.ones(self.count, self.dtype)
        return a @ ones if self.axis == -1 else ones @ a

    def dots(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The inner product of each piece of a with that of b."""
        return np.vecdot(a, b) if self.axis == -1 else np.einsum("bpq,bpq->bq", a, b)


class Plain:
    """The same for an array that is not worth cutting: one block, pieces wherever they lie."""

    def __init__(self, x: np.ndarray, axes: tuple[int, ...]) -> None:
        self.axes, self.dtype, self.like = axes, compute_dtype(x), x
        self.count = max(1, math.prod([x.shape[a] for a in axes]))  # of nothing: sum and mean are 0

    def dense(self, a: np.ndarray) -> np.ndarray:
        return a.astype(self.dtype, copy=False)

    def empty(self) -> np.ndarray:
        return np.empty_like(self.like, self.dtype)

    def whole(self, a: np.ndarray) -> np.ndarray:
        return a

    def spread(self, small: np.ndarray) -> np.ndarray:
        return small.reshape(small.shape or 1).astype(self.dtype)

    def collect(self, results: Sequence[np.ndarray]) -> np.ndarray:
        return results[0].astype(np.float64)[None]

    def each(self, arrays: int, work: Callable) -> list:
        return [work(slice(None), self.empty())]

    def sums(self, a: np.ndarray) -> np.ndarray:
        return np.add.reduce(a, axis=self.axes, keepdims=True)

    def dots(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.add.reduce(a * b, axis=self.axes, keepdims=True)


def cut_for(x: np.ndarray, axes: tuple[int, ...]) -> Cut | Plain:
    """The cut of an array."""
    return Cut(x, axes) if x.size > PLAIN else Plain(x, axes)
