"""One number of a convolution taken apart: the numbers that meet, their products, their sum.

What meets solves one index equation with one of its letters fixed. Along an axis position i of the
small side (conv2d's output), tap a of the kernel and position u of the large side (conv2d's input)
meet where u = i*s + a*d - p. Fix i, and the rest is a patch; fix u, and it is what reaches this
pixel; fix a, and it is all that one weight sees. Channels have an equation of their own.

Data only; text.py and picture.py show it.
"""
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from .call import Index, RecordedConv

SIDES = {"small": ("n", "small", "i", "j"), "large": ("n", "large", "u", "v"),
         "kernel": ("small", "k", "a", "b")}


class Line(NamedTuple):
    """One axis: the triples (i, a, u) that meet."""

    i: np.ndarray
    a: np.ndarray
    u: np.ndarray
    inside: np.ndarray  # whether u is a cell of the large plane; elsewhere it is padding, whose value is 0
    read: set[int]      # the positions of the large side that any window covers; strides may skip some


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
    i, a = np.indices(sizes[:2]).reshape(2, -1)
    u = i * stride + a * dilation - padding[0]
    kept = _agrees({"i": i, "a": a, "u": u}, held)
    return Line(i[kept], a[kept], u[kept], (u[kept] >= 0) & (u[kept] < sizes[2]), set(u.tolist()))


def planes(samples: np.ndarray, w_shape: tuple[int, ...], groups: int,
           held: dict[str, int]) -> dict[str, np.ndarray]:
    """Each sample with each solution of large = (small // filters)*depth + k, some of small, k, large held.

    A group has `filters` channels of the small side and `depth` of the large.

    Example:
        >>> planes(np.array([0]), (4, 2, 3, 3), 2, {"small": 3})["large"].tolist()
        [2, 3]
    """
    small, k = np.indices(w_shape[:2]).reshape(2, -1)
    values = {"small": small, "large": small // (w_shape[0] // groups) * w_shape[1] + k, "k": k}
    kept = _agrees(values, held)
    return dict(zip(("n", *values), np.broadcast_arrays(samples, *(v[kept] for v in values.values()))))


def _agrees(values: dict[str, np.ndarray], held: dict[str, int]) -> np.ndarray:
    """Where the values named in `held` are those."""
    return np.logical_and.reduce([v == held.get(name, v) for name, v in values.items()])


@dataclass(frozen=True)
class Meeting:
    """All terms of one sum: planes x rows x columns.

    A plane is a sample, n, with channels: `small` of the small side, `large` of the large, w[small, k].
    """

    planes: dict[str, np.ndarray]
    rows: Line
    columns: Line

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.planes["n"]), len(self.rows.i), len(self.columns.i)

    @property
    def inside(self) -> np.ndarray:
        """(rows, columns): whether the cell of the large plane exists."""
        return self.rows.inside[:, None] & self.columns.inside

    def indices(self) -> dict[str, np.ndarray]:
        """Every index of every term, (planes, rows, columns) each."""
        rows, columns = self.rows, self.columns
        out = {name: v[:, None, None] for name, v in self.planes.items()} | {
            "i": rows.i[:, None], "j": columns.i, "a": rows.a[:, None], "b": columns.a,
            "u": rows.u[:, None], "v": columns.u}
        return {name: np.broadcast_to(v, self.shape) for name, v in out.items()}

    def plane(self, number: int) -> dict[str, int]:
        """Sample and channels (n, small, large, k) of one plane."""
        return {name: int(v[number]) for name, v in self.planes.items()}

    def values(self, side: str, array: np.ndarray) -> np.ndarray:
        """The numbers of an array on `side` that meet, in float64; 0 for padding cells."""
        at, out = self.indices(), np.zeros(self.shape)
        exist = np.broadcast_to(self.inside if side == "large" else True, self.shape)
        out[exist] = array[tuple(at[letter][exist] for letter in SIDES[side])]
        return out


@dataclass(frozen=True, eq=False)
class Factor:
    """One of the two numbers in each product: `array` on its side, `values` those that meet."""

    name: str
    side: str
    array: np.ndarray
    values: np.ndarray  # (planes, rows, columns), float64


@dataclass(frozen=True, repr=False, eq=False)
class Terms:
    """The terms of one number.

    `side` is where the number lies: "small" (conv2d's output), "large" (its input) or "kernel";
    for a transposed convolution output and input change places.
    """

    call: RecordedConv
    name: str              # "y", "dx" or "dw"
    side: str
    index: tuple[int, ...]  # as asked
    at: Index              # on all four axes
    meeting: Meeting
    first: Factor
    second: Factor
    bias: float | None
    result: np.ndarray     # what the kernels made: the whole of y, dx or dw

    @cached_property
    @np.errstate(all="ignore")
    def products(self) -> np.ndarray:
        """(planes, rows, columns), float64; a plane is a channel, or a sample for a weight."""
        return self.first.values * self.second.values

    @cached_property
    @np.errstate(all="ignore")
    def partials(self) -> np.ndarray:
        """The sum of each plane's products."""
        return self.products.sum(axis=(1, 2))

    @cached_property
    def largest(self) -> list[int]:
        """The planes in the order in which they are shown: those with the largest sums first."""
        sums = np.abs(self.partials)
        return np.argsort(-np.where(np.isnan(sums), np.inf, sums), kind="stable").tolist()

    @property
    def total(self) -> float:
        """The sum of all products, and the bias, in float64."""
        return float(self.partials.sum()) + (self.bias or 0.0)

    @property
    def value(self) -> float:
        """What the tensor, or its gradient, holds there: computed by the fast kernels."""
        return self.result[self.at].item()

    @property
    def letters(self) -> dict[str, str]:
        """The formula's letters for the channels of the small and the large side, and for the second index
        of the weight: the large side's channel, or a number inside its group."""
        small, large = ("c", "o") if self.call.transposed else ("o", "c")
        return {"small": small, "large": large, "k": large if self.call.geometry.groups == 1 else "k"}

    @property
    def terms(self) -> np.ndarray:
        """One record per product, with the fields n, o, c, k, i, j, a, b, u, v, inside, the two
        factors by name, and product.

        (i, j) is the position on the small side, (a, b) the tap, (u, v) the position on the large
        side, k the second index of the weight; `inside` is False where (u, v) is padding.
        """
        columns = {self.letters[name] if name in ("small", "large") else name: v
                   for name, v in self.meeting.indices().items()} | {
            "inside": np.broadcast_to(self.meeting.inside, self.meeting.shape),
            self.first.name: self.first.values, self.second.name: self.second.values,
            "product": self.products}
        return np.rec.fromarrays([v.reshape(-1) for v in columns.values()], names=[*columns])

    @property
    def im2col(self) -> tuple[int, np.ndarray] | None:
        """The number and the content of the row of the im2col matrix, if the number is such a
        row times the filter: (n*OH + i)*OW + j, and the patch in the order (c, a, b).
        """
        if self.side != "small":
            return None
        n, _, i, j = self.at
        height, width = self.call.geometry.out
        return (n * height + i) * width + j, self.first.values.reshape(-1)

    def positions(self, factor: Factor) -> list[list[int]]:
        """The rows and the columns of a factor that meet."""
        letter = SIDES[factor.side][2]
        return [getattr(line, letter).tolist() for line in (self.meeting.rows, self.meeting.columns)]
