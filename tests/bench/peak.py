"""The most floating-point operations that this machine does in a second, measured: what shares are shares of."""
from __future__ import annotations

import functools
import time

import numpy as np

from .clock import Step, quietest, seconds
from .sides import FAMILIES

LASTING = 1.0     # seconds; of the calls in them, the fastest counts
TRIES = 10        # until nobody else computes
SIDE = 2048       # of the matrices, where there is no machine code


def matrix_product(dtype: str) -> tuple[Step, float]:
    a = np.ones((SIDE, SIDE), dtype)
    return lambda: a @ a, 2.0 * SIDE ** 3


@functools.cache
def peak(dtype: str) -> float:
    """Operations in a second, on as many threads as our kernels use."""
    if "compiled" in FAMILIES:
        from tinygrad_conv.kernels.compiled.anatomy import multiply_and_add
        step, operations = multiply_and_add(dtype)
    else:
        step, operations = matrix_product(dtype)

    def fastest() -> float:
        end, times = time.perf_counter() + LASTING, [seconds(step)]
        while time.perf_counter() < end:
            times.append(seconds(step))
        return min(times)
    return operations / quietest(fastest, TRIES)[0]
