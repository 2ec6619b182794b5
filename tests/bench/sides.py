"""Who is measured: the families of kernels of ours that are here, and PyTorch."""
from __future__ import annotations

from collections.abc import Callable

import tinygrad_conv as tg
from tinygrad_conv.kernels.table import families

from .clock import Step, block, by_turns
from .rows import Row, Target, Work, compared

try:
    import torch
except ImportError:
    torch = None

FAMILIES = {"compiled": "auto", "numpy": "numpy"} if "compiled" in families() else {"numpy": "numpy"}
FORMATS = "contiguous_format", "channels_last"


def at_most(compiled: float, numpy: float) -> dict[str, Target]:
    return {"compiled": Target(most=compiled), "numpy": Target(most=numpy)}


def by(family: str, step: Step) -> Step:
    """The step with that family of kernels."""
    def chosen() -> None:
        with tg.use_kernels(family):
            step()
    return chosen


def better(make: Callable[..., Step], *what: object) -> Step | None:
    """PyTorch's step in the memory format in which it is faster; none without PyTorch."""
    if torch is None:
        return None
    steps = [make(*what, layout) for layout in FORMATS]
    return min(steps, key=lambda step: (step(), min(block(step) for _ in range(3)))[1])


def versus(name: str, ours: Step, theirs: Step | None, work: Work, targets: dict[str, Target],
           budget: float = 7.0) -> list[Row]:
    """Our families and PyTorch, by turns."""
    sides = {side: by(family, ours) for side, family in FAMILIES.items()}
    if theirs:
        sides["PyTorch"] = theirs
    return compared(name, list(sides), by_turns(list(sides.values()), budget), work, targets)
