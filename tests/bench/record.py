"""The record: what an op costs beside PyTorch, each figure with the floor it must keep."""
from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import tinygrad_conv as tg

from .clock import Step, by_turns
from .nets import our_step, torch_step
from .rows import Row, Target
from .sides import torch

CHAIN = 2000


def our_chain(n: int = CHAIN) -> tg.Tensor:
    x = y = tg.tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + x
    return y


def torch_chain(n: int = CHAIN):
    x = y = torch.tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + x
    return y


def beside(name: str, sides: list[Step], most: float, calls: int = 1) -> list[Row]:
    """Median of the rounds' ratios; `calls` ops in a step."""
    rounds = by_turns(sides)
    ours, theirs = [statistics.median(column) / calls * 1e6 for column in zip(*rounds)]
    ratio = statistics.median(r[0] / r[1] for r in rounds)
    return [Row(name, "ours", ours, "us", ratio, target=Target(most)), Row(name, "PyTorch", theirs, "us")]


def recorded_add(name: str) -> list[Row]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return beside(name, [lambda: our_chain().backward(), lambda: torch_chain().backward()], 1.5, CHAIN)
    finally:
        torch.set_num_threads(threads)


def small_step(name: str) -> list[Row]:
    return beside(name, [our_step("lenet", 1), torch_step("lenet", 1)], 1.0)


def unrecorded_above_numpy(name: str) -> list[Row]:
    """Microseconds of an unrecorded add above those of NumPy's, on arrays of 10."""
    a, t = np.ones(10, np.float32), tg.ones(10)

    def repeat(step: Step, n: int = 1000) -> Step:
        return lambda: [step() for _ in range(n)]
    rounds = by_turns([repeat(lambda: tg.add(t, t)), repeat(lambda: np.add(a, a))])
    return [Row(name, "ours", statistics.median(ours - numpys for ours, numpys in rounds) * 1e3, "us", target=Target(2))]


def seconds_an_op(n: int) -> float:
    start = time.process_time()  # of this process alone: the two figures are not taken at the same time
    our_chain(n).backward()
    return (time.process_time() - start) / n


def long_chain(name: str) -> list[Row]:
    pairs = [(seconds_an_op(10_000), seconds_an_op(100_000)) for _ in range(3)]
    short, long = [statistics.median(column) * 1e6 for column in zip(*pairs)]
    return [Row(name, "ours", long, "us", long / short, target=Target(2))]  # the collector walks more


def memory_an_op(name: str, n: int = 10_000) -> list[Row]:
    """Kilobytes that a recorded scalar add keeps."""
    tracemalloc.start()
    kept = our_chain(n)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return [Row(name, "ours", size / n / 1000, "kB", target=Target(1))]


def import_time(name: str, times: int = 9) -> list[Row]:
    """Median milliseconds of an import, each in a process that has imported NumPy, from compiled files."""
    code = "import numpy, time; t = time.perf_counter(); import tinygrad_conv, nn; print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        taken = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                                env=environment).stdout for _ in range(times + 1)]
    figure = statistics.median(map(float, taken[1:])) * 1e3  # the first one compiles
    return [Row(name, "ours", figure, "ms", target=Target(60))]


BESIDE_PYTORCH: dict[str, Callable[[str], list[Row]]] = {
    "recorded scalar add, both ways": recorded_add, "LeNet-5 training step, batch 1": small_step}
RECORD: dict[str, Callable[[str], list[Row]]] = {
    **(BESIDE_PYTORCH if torch else {}),
    "unrecorded add above NumPy's": unrecorded_above_numpy,
    "an op of 100,000 against one of 10,000": long_chain,
    "memory of a recorded scalar add": memory_an_op,
    "import tinygrad_conv, nn, above NumPy": import_time}
