"""How pooling windows lie on a plane: which cells each kernel tap sees, without a padded copy.

A tap that falls outside the plane is left out, which is what padding with -inf (max) or with 0
(sums) means. Imports only the sizes of windows.
"""
from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .geometry import reach

Pair = tuple[int, int]
Place = tuple[slice, slice]  # (outputs, cells) along one axis


def out_length(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Number of windows: rounded up, one that would start beyond n + p is dropped (PyTorch)."""
    span = n + 2 * p - reach(k, d)
    if not ceil_mode:
        return span // s + 1
    out = -(-span // s) + 1
    return out - 1 if (out - 1) * s >= n + p else out


def _tap(n: int, out: int, a: int, s: int, p: int, d: int) -> Place | None:
    """The outputs i whose tap a is a cell u = i*s + a*d - p of the plane, and those cells."""
    shift = a * d - p
    lo, hi = max(0, -(shift // s)), min(out, (n - 1 - shift) // s + 1)
    if lo >= hi:
        return None
    first = lo * s + shift
    return slice(lo, hi), slice(first, first + (hi - lo - 1) * s + 1, s)


@dataclass(frozen=True)
class Windows:
    """One geometry: windows of KHxKW on a plane of HxW; padding is the same on both sides."""

    size: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    @cached_property
    def out(self) -> Pair:
        """(OH, OW)."""
        return tuple(out_length(*axis, self.ceil_mode) for axis in zip(
            self.size, self.kernel, self.stride, self.padding, self.dilation))

    def along(self, axis: int) -> list[Place]:
        """The taps of one axis in order: 0 the rows, 1 the columns."""
        n, out, s, p, d = (v[axis] for v in (self.size, self.out, self.stride, self.padding,
                                             self.dilation))
        places = [_tap(n, out, a, s, p, d) for a in range(self.kernel[axis])]
        return [place for place in places if place is not None]

    @cached_property
    def taps(self) -> list[tuple[tuple, tuple]]:
        """All taps in row-major order as indices (outputs, cells) of arrays (N, C, ., .)."""
        return [((..., oh, ow), (..., ch, cw)) for (oh, ch), (ow, cw) in itertools.product(
            self.along(0), self.along(1))]

    def blind(self) -> bool:
        """Whether some window sees padding only, which a dilated one can on a small plane."""
        seen = [np.zeros(out, bool) for out in self.out]
        for axis in (0, 1):
            for outs, _ in self.along(axis):
                seen[axis][outs] = True
        return not all(rows.all() for rows in seen)

    @cached_property
    def overlap(self) -> bool:
        """Whether two windows may share a cell."""
        return any(reach(k, d) > s for k, s, d in zip(self.kernel, self.stride, self.dilation))

    @cached_property
    def cover(self) -> bool:
        """Whether every cell is some tap of one window only."""
        return not self.overlap and all(
            sum(cells.stop - cells.start + s - 1 for _, cells in self.along(axis))
            == s * self.size[axis] for axis, s in enumerate(self.stride))

    def counts(self, include_pad: bool) -> np.ndarray:
        """How many cells each window averages, (OH, OW): its part inside the (padded) plane."""
        per_axis = []
        for n, k, s, p, out in zip(self.size, self.kernel, self.stride, self.padding, self.out):
            first = np.arange(out) * s - p
            last = np.minimum(first + k, n + p)
            if not include_pad:
                first, last = np.maximum(first, 0), np.minimum(last, n)
            per_axis.append(last - first)
        return np.multiply.outer(*per_axis)


windows = lru_cache(maxsize=256)(Windows)  # the same few geometries come again every step
