"""Dropout layers, each with a random generator of its own."""
from __future__ import annotations

from typing import Any

import numpy as np

import tinygrad_conv as tg

from .defaults import default_rng
from .module import Module
from ..numbers import number
from .options import not_in_place


class Dropout(Module):
    """In training, sets each entry to 0 with probability p and divides the others by 1 - p.

    Args:
        p: probability.
        inplace: False; nothing here is computed in place.
        rng: the generator masks are drawn from; by default a fresh one.

    Example:
        >>> Dropout(0.5, rng=np.random.default_rng(2))(tg.ones(4)).numpy().tolist()
        [2.0, 0.0, 0.0, 0.0]
    """

    drop = staticmethod(tg.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False, *,
                 rng: np.random.Generator | None = None) -> None:
        super().__init__()
        not_in_place(type(self).__name__, inplace)
        number(type(self).__name__, "p", p, 0, 1)
        self.p, self.rng = p, default_rng(rng)

    def forward(self, x: Any) -> tg.Tensor:
        return self.drop(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout2d(Dropout):
    """Dropout of whole channels of x (N, C, H, W).

    Example:
        >>> Dropout2d(0.0)(tg.ones(1, 2, 3, 3)).shape
        (1, 2, 3, 3)
    """

    drop = staticmethod(tg.dropout2d)
