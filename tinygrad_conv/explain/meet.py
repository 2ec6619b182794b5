"""What meets in a convolution: the solutions of one index equation with one of its letters fixed.

Along an axis position i of the small side (conv2d's output), tap a of the kernel and position u of
the large side (conv2d's input) meet where u = i*s + a*d - p. Fix i, and the rest is a patch; fix
u, and it is what reaches this pixel; fix a, and it is all that one weight sees. Channels have an
equation of their own. Imports NumPy only.
"""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Line:
    """One axis: the triples (i, a, u) that meet, and the sizes they live in."""

    i: np.ndarray
    a: np.ndarray
    u: np.ndarray
    sizes: tuple[int, int, int]
    stride: int
    dilation: int
    padding: tuple[int, int]

    @property
    def inside(self) -> np.ndarray:
        """Where u is a cell of the large plane; elsewhere it is padding, whose value is 0."""
        return (self.u >= 0) & (self.u < self.sizes[2])

    @property
    def read(self) -> set[int]:
        """The positions of the large side that any window covers; strides may skip some."""
        i, a = np.arange(self.sizes[0])[:, None], np.arange(self.sizes[1])
        return set((i * self.stride + a * self.dilation - self.padding[0]).ravel().tolist())


def line(sizes: tuple[int, int, int], stride: int, dilation: int, padding: tuple[int, int],
         **held: int) -> Line:
    """The solutions of u = i*stride + a*dilation - padding with one of i, a, u held.

    Args:
        sizes: of the small plane, the kernel and the large plane along this axis.

    Example:
        >>> meeting = line((3, 3, 6), 2, 1, (1, 1), u=3)
        >>> meeting.i.tolist(), meeting.a.tolist()
        ([1, 2], [2, 0])
    """
    i, a = (n.ravel() for n in np.meshgrid(np.arange(sizes[0]), np.arange(sizes[1]), indexing="ij"))
    u = i * stride + a * dilation - padding[0]
    (letter, value), = held.items()
    kept = {"i": i, "a": a, "u": u}[letter] == value
    return Line(i[kept], a[kept], u[kept], sizes, stride, dilation, padding)


@dataclass(frozen=True)
class Channels:
    """Channels that meet: `small` of the small side, `large` of the large, w[small, k]."""

    small: np.ndarray
    k: np.ndarray
    large: np.ndarray
    filters: int  # of the small side, in a group
    depth: int    # of the large side, in a group
    groups: int


def channels(w_shape: tuple[int, ...], groups: int, **held: int) -> Channels:
    """The solutions of large = (small // filters)*depth + k with some of small, k, large held.

    Example:
        >>> channels((4, 2, 3, 3), 2, small=3).large.tolist()
        [2, 3]
    """
    filters, depth = w_shape[0] // groups, w_shape[1]
    small, k = (n.ravel() for n in np.meshgrid(np.arange(w_shape[0]), np.arange(depth), indexing="ij"))
    values = {"small": small, "k": k, "large": small // filters * depth + k}
    kept = np.logical_and.reduce([values[letter] == value for letter, value in held.items()])
    return Channels(*[v[kept] for v in values.values()], filters, depth, groups)


@dataclass(frozen=True)
class Meeting:
    """All terms of one sum: samples x channels (together: planes) x rows x columns.

    Exactly one of samples and channels is longer than one number.
    """

    n: np.ndarray  # (planes,)
    channels: Channels
    rows: Line
    columns: Line

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.n) * len(self.channels.small), len(self.rows.i), len(self.columns.i)

    @property
    def inside(self) -> np.ndarray:
        """(rows, columns): whether the cell of the large plane exists."""
        return self.rows.inside[:, None] & self.columns.inside

    def indices(self) -> dict[str, np.ndarray]:
        """Every index of every term, (planes, rows, columns) each."""
        out = {name: v[:, None, None] for name, v in self._planes().items()}
        out |= {name: getattr(self.rows, part)[:, None] for name, part in zip("iau", "iau")}
        out |= {name: getattr(self.columns, part)[None] for name, part in zip("jbv", "iau")}
        return {name: np.broadcast_to(v, self.shape) for name, v in out.items()}

    def _planes(self) -> dict[str, np.ndarray]:
        c, samples = self.channels, len(self.n)
        return {"n": np.repeat(self.n, len(c.small)), "small": np.tile(c.small, samples),
                "k": np.tile(c.k, samples), "large": np.tile(c.large, samples)}

    def plane(self, number: int) -> dict[str, int]:
        """Sample and channels (n, small, k, large) of one plane."""
        return {name: int(v[number]) for name, v in self._planes().items()}

    def small_side(self, array: np.ndarray) -> np.ndarray:
        """The values of a (N, small channels, ...) array that meet."""
        at = self.indices()
        return array[at["n"], at["small"], at["i"], at["j"]].astype(np.float64)

    def kernel(self, array: np.ndarray) -> np.ndarray:
        """The weights that meet."""
        at = self.indices()
        return array[at["small"], at["k"], at["a"], at["b"]].astype(np.float64)

    def large_side(self, array: np.ndarray) -> np.ndarray:
        """The values of a (N, large channels, ...) array that meet, 0 for padding cells."""
        at, inside = self.indices(), np.broadcast_to(self.inside, self.shape)
        out = np.zeros(self.shape)
        out[inside] = array[tuple(at[letter][inside] for letter in ("n", "large", "u", "v"))]
        return out
