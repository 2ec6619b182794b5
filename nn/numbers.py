"""Options that must be numbers, checked in one wording. Imports NumPy only."""
from __future__ import annotations

import math
from typing import Any

import numpy as np


def number(op: str, name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> None:
    """Raise an error that names the option, unless it is a number between `least` and `most`."""
    if not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    if not least <= value <= most:
        where = (f"between {least} and {most}" if most < math.inf else
                 f"at least {least}" if least > -math.inf else "a number")
        raise ValueError(f"{op}: {name} must be {where}, got {value!r}")
