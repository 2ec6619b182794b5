"""What machine code is made of, for those who want to look: which kernels a call runs, their loops, their
instructions, and the most that this machine can do.
"""
from __future__ import annotations

import functools
import operator
import re
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from ..parallel import get_num_threads
from ..table import kernels
from . import arrays, family
from .arrays import NUMBERS, made, places
from .ir import END, INDEX, POINTER, Code, Value
from .launch import launch
from .machine import NAME, assembly_of, target

WORDS = (("fma", "fma"), ("load", "load"), ("store", "store"), ("shufflevector", "spread"))
TURNS = 1 << 17  # of the loop that is the measure of all, over all threads
UNROLLED = 8
TRIES = 9


def kernels_of(operation: str, *call: Any) -> list[tuple[str, Code]]:
    """The kernels that a call of the family `compiled` runs, by the names of their generators, as text again.

    Example:
        >>> from tinygrad_conv.kernels.geometry import pool_geometry
        >>> x = np.ones((1, 8, 4, 4), np.float32)
        >>> [name for name, _ in kernels_of("maxima", x, pool_geometry("pool", (4, 4), 2, 2, 0, 1, False))]
        ['maxima']
    """
    function = next(kernel.function for kernel in kernels[operation] if kernel.family == "compiled")
    for cache in (made, family._convolution, family._correlation, family._windows):
        cache.cache_clear()
    before = len(arrays.MADE)
    function(*call)
    return [(generator.__name__, generator(*shape)) for generator, shape in arrays.MADE[before:]]


def nest(code: Code) -> str:
    """The loops of a kernel, as its generator writes them, and how many instructions each has in a turn."""
    lines: list[str] = []
    open_: list[tuple[int, Counter[str]]] = []
    for line in code.lines:
        if line == END:
            at, counts = open_.pop()
            if said := ", ".join(f"{n} {word}" for word, n in counts.items()):
                lines[at] += f"    [{said}]"
        elif line.startswith("  ; "):
            open_.append((len(lines), Counter()))
            lines.append("    " * (len(open_) - 1) + line[4:])
        elif open_:
            open_[-1][1].update(word for name, word in WORDS if re.search(rf"\b{name}\b|\.{name}\.", line))
    return "\n".join(lines)


def assembly(code: Code) -> str:
    """The CPU's instructions."""
    return assembly_of(code.text(NAME))


def hottest(text: str) -> str:
    """The stretch of assembly without a jump into it that has the most multiply-adds; "" without any."""
    blocks = re.split(r"\n(?=[.\w$]+:)", text)
    counts = [len(re.findall(r"\bvfn?m(?:add|sub)\w*|\bfml[as]\b", block)) for block in blocks]
    return blocks[counts.index(max(counts))].strip("\n") if any(counts) else ""


# ----- the most that this machine can do -----

def fma_loop(number: str, lanes: int, chains: int) -> Code:
    """A kernel that does nothing but multiply and add, in so many sums at a time, each in a register."""
    code = Code(number, numbers=POINTER, first=INDEX, last=INDEX, part=INDEX)
    numbers, first, last, part = code.arguments
    start = [code.load(numbers, k * lanes, code.vector(lanes)) for k in range(chains)]
    half = code.load(numbers, chains * lanes, code.vector(lanes))

    def turn(i: Value, *sums: Value) -> list[Value]:
        total = list(sums)
        for _ in range(UNROLLED):
            total = [code.fma(s, half, half) for s in total]
        return total
    ends = code.loop(first, last, 1, turn, *start)
    code.store(functools.reduce(operator.add, ends), numbers, part * lanes + (chains + 1) * lanes)
    return code


def multiply_and_add(dtype: str) -> tuple[Callable[[], None], float]:
    """A call that does so on all threads, and how many operations it is."""
    lanes, chains = target().width // np.dtype(dtype).itemsize, target().registers * 3 // 4
    kernel = made(fma_loop, NUMBERS[np.dtype(dtype)], lanes, chains)
    numbers = np.linspace(1, 0.5, chains * lanes + lanes * (1 + get_num_threads())).astype(dtype)
    return (lambda: launch(kernel, places(numbers), TURNS, get_num_threads()),
            2.0 * TURNS * UNROLLED * chains * lanes)


def peak(dtype: str) -> float:
    """Operations in a second, on as many threads as the kernels use: the best of some tries."""
    step, operations = multiply_and_add(dtype)
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return operations / min(times)
