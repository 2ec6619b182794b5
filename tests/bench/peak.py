"""The most floating-point operations that this machine does in a second, measured: what shares are shares of."""
from __future__ import annotations

import functools
import operator
import time

import numpy as np

import tinygrad_conv as tg

from .clock import Step, quietest, seconds
from .sides import FAMILIES

LASTING = 1.0     # seconds; of the calls in them, the fastest counts
TRIES = 10        # until nobody else computes
TURNS = 1 << 17   # of the loop, over all threads
UNROLLED = 8
SIDE = 2048       # of the matrices, where there is no machine code


def fma_loop(number: str, lanes: int, chains: int):
    """A kernel that does nothing but multiply and add, in so many sums at a time, each in a register."""
    from tinygrad_conv.kernels.compiled.ir import INDEX, POINTER, Code
    code = Code(number, numbers=POINTER, first=INDEX, last=INDEX, part=INDEX)
    numbers, first, last, part = code.arguments
    start = [code.load(numbers, k * lanes, code.vector(lanes)) for k in range(chains)]
    half = code.load(numbers, chains * lanes, code.vector(lanes))

    def turn(i, *sums):
        for _ in range(UNROLLED):
            sums = [code.fma(s, half, half) for s in sums]
        return sums
    ends = code.loop(first, last, 1, turn, *start)
    code.store(functools.reduce(operator.add, ends), numbers, part * lanes + (chains + 1) * lanes)
    return code


def multiply_and_add(dtype: str) -> tuple[Step, float]:
    """A call on all threads, and its operations."""
    from tinygrad_conv.kernels.compiled.arrays import NUMBERS, made, places
    from tinygrad_conv.kernels.compiled.launch import launch
    from tinygrad_conv.kernels.compiled.machine import target
    lanes, chains, threads = target().width // np.dtype(dtype).itemsize, target().registers * 3 // 4, tg.get_num_threads()
    kernel = made(fma_loop, NUMBERS[np.dtype(dtype)], lanes, chains)
    numbers = np.linspace(1, 0.5, chains * lanes + lanes * (1 + threads)).astype(dtype)
    return lambda: launch(kernel, places(numbers), TURNS, threads), 2.0 * TURNS * UNROLLED * chains * lanes


def matrix_product(dtype: str) -> tuple[Step, float]:
    a = np.ones((SIDE, SIDE), dtype)
    return lambda: a @ a, 2.0 * SIDE ** 3


@functools.cache
def peak(dtype: str) -> float:
    """Operations in a second, on as many threads as our kernels use."""
    step, operations = multiply_and_add(dtype) if "compiled" in FAMILIES else matrix_product(dtype)

    def fastest() -> float:
        end, times = time.perf_counter() + LASTING, [seconds(step)]
        while time.perf_counter() < end:
            times.append(seconds(step))
        return min(times)
    return operations / quietest(fastest, TRIES)[0]
