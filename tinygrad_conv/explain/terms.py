"""One number of a convolution taken apart: the numbers that meet, their products, their sum.

Data only; text.py and picture.py show it. Imports the call and the index sets of meet.py.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .call import Index, RecordedConv
from .meet import Line, Meeting

SIDES = {"small": ("n", "small", "i", "j"), "large": ("n", "large", "u", "v"),
         "kernel": ("small", "k", "a", "b")}


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
    def products(self) -> np.ndarray:
        """(planes, rows, columns), float64; a plane is a channel, or a sample for a weight."""
        with np.errstate(all="ignore"):
            return self.first.values * self.second.values

    @cached_property
    def partials(self) -> np.ndarray:
        """The sum of each plane's products."""
        with np.errstate(all="ignore"):
            return self.products.sum(axis=(1, 2))

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
        """The formula's letters for the channels of the small and the large side."""
        small, large = ("c", "o") if self.call.transposed else ("o", "c")
        return {"small": small, "large": large}

    @property
    def terms(self) -> np.ndarray:
        """One record per product, with the fields n, o, c, k, i, j, a, b, u, v, inside, the two
        factors by name, and product.

        (i, j) is the position on the small side, (a, b) the tap, (u, v) the position on the large
        side, k the second index of the weight; `inside` is False where (u, v) is padding.
        """
        at = self.meeting.indices()
        columns = {self.letters.get(name, name): at[name] for name in
                   ("n", "small", "large", "k", "i", "j", "a", "b", "u", "v")}
        columns["inside"] = np.broadcast_to(self.meeting.inside, self.meeting.shape)
        columns |= {self.first.name: self.first.values, self.second.name: self.second.values,
                    "product": self.products}
        out = np.empty(self.products.size, [(name, v.dtype) for name, v in columns.items()])
        for name, v in columns.items():
            out[name] = v.reshape(-1)
        return out

    @property
    def im2col(self) -> tuple[int, np.ndarray] | None:
        """The number and the content of the row of the im2col matrix, if the number is such a
        row times the filter: (n*OH + i)*OW + j, and the patch in the order (c, a, b).
        """
        if self.side != "small":
            return None
        n, _, i, j = self.at
        row = (n * self.meeting.rows.sizes[0] + i) * self.meeting.columns.sizes[0] + j
        return row, self.first.values.reshape(-1)

    def lines(self, factor: Factor) -> list[tuple[Line, np.ndarray]]:
        """For the rows and the columns of a factor: the axis, and the positions that meet."""
        part = SIDES[factor.side][2]
        return [(line, getattr(line, part)) for line in (self.meeting.rows, self.meeting.columns)]
