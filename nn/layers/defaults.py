"""Defaults of layers: a random generator, and PyTorch's initial values."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .. import init
from .parameter import Parameter


def default_rng(rng: np.random.Generator | None) -> np.random.Generator:
    """The generator given, or a fresh one seeded by the system.

    Give all layers the same generator, made with a seed, to get the same network every time.

    Raises:
        TypeError: for anything else, a bare seed included.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a NumPy generator or None, got {type(rng).__name__}; use "
                        f"np.random.default_rng(seed)")
    return np.random.default_rng() if rng is None else rng


def fresh_weight_and_bias(shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any,
                          rng: np.random.Generator | None) -> tuple[Parameter, Parameter | None]:
    """PyTorch's default: both U(-1/sqrt(fan_in), 1/sqrt(fan_in)), that is kaiming with a=sqrt(5)."""
    rng = default_rng(rng)
    weight = init.kaiming_uniform_(Parameter(tg.zeros(shape, dtype=dtype)), a=math.sqrt(5), rng=rng)
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(init.fans(shape)[0])
    return weight, init.uniform_(Parameter(tg.zeros(outputs, dtype=dtype)), -bound, bound, rng=rng)
