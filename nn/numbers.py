"""Options that must be numbers, checked in one way. Imports NumPy only."""
from __future__ import annotations

import math
from typing import Any

import numpy as np


def counts(*values: Any, least: int = 1) -> bool:
    """Whether all are integers, Python's or NumPy's, of at least `least`."""
    return all(isinstance(n, int | np.integer) and n >= least for n in values)


def number(op: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Raise an error that names the option, unless it is a number between `least` and `most`."""
    if not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    if not least <= value <= most:
        where = (f"between {least} and {most}" if most < math.inf else
                 f"at least {least}" if least > -math.inf else "a number")
        raise ValueError(f"{op}: {name} must be {where}, got {value!r}")
