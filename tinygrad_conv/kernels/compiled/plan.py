"""Where the windows of a geometry lie in the scratch, band by band: arrays of numbers that the kernels read.

Along one axis, a phase is (steps, places): its taps, and for a range of y's cells, which windows it has
there.
"""
from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..geometry import REMEMBERED, Geometry
from .conv import Phase, Steps

BAND_BYTES = 1 << 17  # of the scratch, which stays in a second-level cache beside the weights


class Axis(NamedTuple):
    """A phase along one axis: the taps by number and where they lie, and which outputs are of this phase.

    Output u, of those with u = `first` modulo `spacing`, has its first window cell at (u + `shift`) //
    `spacing` * `stride` + `origin` of the image.
    """

    taps: tuple[int, ...]
    steps: Steps
    first: int
    spacing: int
    stride: int
    shift: int
    origin: int

    def place(self, lo: int, hi: int) -> tuple[int, int, int]:
        """Of the outputs lo to hi: the first window's cell, how many outputs there are, the first."""
        u = lo + (self.first - lo) % self.spacing
        cell = (u + self.shift) // self.spacing * self.stride + self.origin
        return cell, len(range(u, hi, self.spacing)), u

    def reach(self, lo: int, hi: int) -> tuple[int, int] | None:
        """The image's cells that outputs lo to hi see."""
        cell, count, _ = self.place(lo, hi)
        span = self.steps.first + (self.steps.count - 1) * self.steps.step + 1
        return (cell, cell + (count - 1) * self.stride + max(span, 1)) if count else None


class Plan(NamedTuple):
    """What a kernel is told about a geometry: `numbers`, as it reads them, and their sizes."""

    numbers: np.ndarray
    phases: tuple[Phase, ...]
    taps: tuple[np.ndarray, ...]  # rows and columns of the kernel, in the order in which they are met
    bands: int
    fields: int     # of a band
    cells: int      # of the largest scratch
    narrowest: int  # outputs in a row of any phase
    step: tuple[int, int]
    spacing: tuple[int, int]


def _forward(geometry: Geometry, axis: int) -> list[Axis]:
    k, s, d = geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis]
    return [Axis(tuple(range(k)), Steps(k, 0, d), 0, 1, s, 0, -geometry.padding[axis][0])]


def _backward(geometry: Geometry, axis: int) -> list[Axis]:
    """Cell u is met by tap a from output i = (u + p - a*d)/s: for each remainder r of u + p, the taps with
    a*d = r modulo s, the largest first, which lie (a*d - r)/s before output (u + p)//s.
    """
    k, s, d = geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis]
    p, found = geometry.padding[axis][0], []
    for r in range(s):
        met = [a for a in reversed(range(k)) if (a * d - r) % s == 0 and a * d >= r]
        back = [(a * d - r) // s for a in met]
        far = max(back, default=0)
        steps = Steps(len(met), 0, back[0] - back[1] if len(met) > 1 else 1)
        found.append(Axis(tuple(met), steps, (r - p) % s, s, 1, p - r, -far))
    return [a for a in found if a.first < geometry.size[axis]]


def _copied(lo: int, hi: int, size: int) -> tuple[int, int, int, int]:
    """Of the cells lo to hi of an axis of `size`: the first that is there, how many are, zeros before and
    after.
    """
    count = max(0, min(hi, size) - max(lo, 0))
    before = min(max(0, -lo), hi - lo)
    return max(lo, 0) if count else 0, count, before, hi - lo - before - count


def _union(ranges: list[tuple[int, int] | None]) -> tuple[int, int]:
    there = [r for r in ranges if r]
    return min(lo for lo, _ in there), max(hi for _, hi in there)


def _make(rows: list[Axis], columns: list[Axis], source: tuple[int, ...], target: tuple[int, ...],
          cell_bytes: int, least_bands: int) -> Plan:
    left, right = _union([c.reach(0, target[1]) for c in columns])
    width = right - left
    first, count, before, after = _copied(left, right, source[1])
    head = [first, count, before, after, width]
    phases = [(r, c) for r in rows for c in columns]
    for _, c in phases:
        cell, outputs, u = c.place(0, target[1])
        head += [cell - left, outputs, u]
    spacing = rows[0].spacing
    most = max(1, BAND_BYTES // (width * cell_bytes) * spacing // rows[0].stride)
    periods = -(-target[0] // spacing)
    count = min(max(-(-target[0] // most), least_bands), periods)
    cuts = [periods * i // count * spacing for i in range(count)] + [target[0]]
    numbers, cells = list(head), 0
    for lo, hi in zip(cuts, cuts[1:]):
        top, bottom = _union([r.reach(lo, hi) for r in rows])
        numbers += _copied(top, bottom, source[0])
        cells = max(cells, (bottom - top) * width)
        for r, _ in phases:
            cell, outputs, u = r.place(lo, hi)
            numbers += [cell - top, outputs, u]
    pairs = [(a, b) for r, c in phases for a in r.taps for b in c.taps]
    return Plan(np.array(numbers, np.int64), tuple(Phase(r.steps, c.steps) for r, c in phases),
                tuple(np.array(pairs, np.intp).reshape(-1, 2).T), count, 4 + 3 * len(phases), cells,
                min(c.place(0, target[1])[1] for c in columns),
                (rows[0].stride, columns[0].stride), (spacing, columns[0].spacing))


@lru_cache(REMEMBERED)
def forward(geometry: Geometry, cell_bytes: int, least_bands: int) -> Plan:
    """Of `conv2d`, and of the weight adjoint, which sees the same windows."""
    return _make(_forward(geometry, 0), _forward(geometry, 1), geometry.size, geometry.out, cell_bytes,
                 least_bands)


@lru_cache(REMEMBERED)
def backward(geometry: Geometry, cell_bytes: int, least_bands: int) -> Plan:
    """Of the input adjoint."""
    return _make(_backward(geometry, 0), _backward(geometry, 1), geometry.out, geometry.size, cell_bytes,
                 least_bands)
