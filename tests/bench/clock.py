"""How long a call takes: by turns, since what else the machine does changes from one second to the next."""
from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

ROUNDS, LEAST = 10, 3        # blocks of each side, and the fewest if they take long
SETTLE, COUNT = 0.06, 0.15   # seconds of a block that are not counted, and that are
PATIENCE, CALLS = 3.0, 4     # seconds and calls for a side that is slow
Step = Callable[[], object]
T = TypeVar("T")
BUSY = 0.1  # CPUs that others use: where it is more, figures are not to be relied on


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def block(step: Step) -> float:
    """Median seconds of a call, once the side has settled."""
    start = time.perf_counter()
    while time.perf_counter() - start < SETTLE:
        step()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < COUNT or len(times) < 3:
        times.append(seconds(step))
    return statistics.median(times)


def by_turns(steps: Sequence[Step], budget: float = 7.0) -> list[list[float]]:
    """A block of each step, again and again, until `budget` seconds have gone."""
    for step in steps:
        step()
    rounds: list[list[float]] = []
    start = time.perf_counter()
    while len(rounds) < LEAST or len(rounds) < ROUNDS and time.perf_counter() - start < budget:
        rounds.append([block(step) for step in steps])
    return rounds


def best(step: Step) -> float:
    """The least of a few calls: for a side so slow that the others' turns would take too long."""
    times = [seconds(step)]
    while len(times) < CALLS and sum(times) < PATIENCE:
        times.append(seconds(step))
    return min(times)


# ----- whether the machine is quiet: PyTorch's threads wait for each other a hundred times as long if it is not -----

def used_by_others() -> float:
    """CPU seconds of other processes since the machine began, those stolen from it too; 0 where nobody says."""
    if not os.path.exists("/proc/stat"):
        return 0.0
    with open("/proc/stat") as f:
        user, nice, system, _, _, *rest = map(int, f.readline().split()[1:])  # _: idle
    return (user + nice + system + sum(rest[:3])) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def watched(work: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and how many CPUs others used meanwhile."""
    before, start = used_by_others(), time.perf_counter()
    result = work()
    return result, max(0.0, (used_by_others() - before) / (time.perf_counter() - start))


def quietest(work: Callable[[], T], tries: int = 2) -> tuple[T, float]:
    """As `watched`; again if others were busy, and then of all tries the one with the least of that."""
    found = [watched(work)]
    while found[-1][1] > BUSY and len(found) < tries:
        found.append(watched(work))
    return min(found, key=lambda one: one[1])
