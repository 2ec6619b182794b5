"""One row of the op table: where a primitive may be sampled and what its value should be.

Rows live in the module of their family (`tests/op_table/<family>.py`, list `ROWS`); the tests that
run on every row are in `tests/test_op_table.py`. Imports only the engine's public record.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_conv.primitive import Primitive

Sample = tuple[tuple[Any, ...], dict[str, Any]]  # (arrays, params) of one call


@dataclass(frozen=True)
class Row:
    """What the generic tests need to know about one primitive.

    Args:
        primitive: the op.
        samples: `samples(rng)` gives several `(args, params)`: float64 or integer arrays inside
            the domain and at least 1e-3 away from kinks and ties, parameters as keywords.
        reference: `reference(*args, **params)` gives the value(s), independently of our kernels.
        order: how many times it can be differentiated; 0 for ops without a gradient.
        linear: argnums in which the op is linear; there differences are exact (eps=1, 1e-12).
        atol, rtol: tolerance of the value against the reference, in float64.
        empty: False where arguments without rows have no meaning, whatever the reference says.
    """

    primitive: Primitive
    samples: Callable[[np.random.Generator], list[Sample]]
    reference: Callable[..., Any]
    order: int = 2
    linear: tuple[int, ...] = ()
    atol: float = 1e-12
    rtol: float = 1e-10
    empty: bool = True

    @property
    def name(self) -> str:
        """The name of the op, which the test ids carry."""
        return self.primitive.name
