"""Threads over the batch: chunks that fit the cache, spread over a few Python threads.

NumPy's copies, ufuncs and matrix products release the GIL, so plain threads scale, as long as
BLAS does not start threads of its own inside. Holding BLAS to one thread needs `threadpoolctl`;
without it, one Python thread works and BLAS may use its own.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CHUNK_BYTES = 1 << 21  # columns, padded input and output of one chunk; about the L2 caches
WORTH_THREADS = 1 << 20  # bytes of workspace traffic below which handing work over costs more


def _controller() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    blas = ThreadpoolController().select(user_api="blas")
    return blas if blas.lib_controllers else None


class _Team:
    """The worker threads and the handle on BLAS; made at first use."""

    def __init__(self) -> None:
        self.size = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (
            os.cpu_count() or 1)
        self.blas: Any = None
        self.pool: ThreadPoolExecutor | None = None
        self.ready = False

    def start(self) -> None:
        self.ready = True
        self.blas = _controller()
        if self.blas is not None and self.size > 1:
            self.pool = ThreadPoolExecutor(self.size - 1, thread_name_prefix="tinygrad_conv")


_team = _Team()


def set_num_threads(n: int) -> None:
    """How many threads the heavy kernels may use (at first: one a CPU this process may run on).

    Raises:
        ValueError: if `n` is not a whole number of at least 1.

    Example:
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
    """
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: expects a whole number of at least 1, got {n!r}")
    pool = _team.pool
    _team.size, _team.pool, _team.ready = n, None, False
    if pool is not None:
        pool.shutdown()


def get_num_threads() -> int:
    """How many threads the heavy kernels may use."""
    return _team.size


def _chunks(lo: int, hi: int, n: int) -> Iterator[slice]:
    for a in range(lo, hi, n):
        yield slice(a, min(a + n, hi))


def over(count: int, item_bytes: int, work: Callable[[Iterator[slice], int], Any]) -> list[Any]:
    """Run `work(slices, n)` over range(count), once a thread; its results in order.

    Each slice holds at most `n` items, as many as fit the cache at `item_bytes` each. The split
    depends on the sizes and the number of threads only, so results are reproducible.
    """
    n = max(1, min(count, CHUNK_BYTES // max(item_bytes, 1)))
    if not _team.ready:
        _team.start()
    threads = min(_team.size, count) if _team.pool and count * item_bytes > WORTH_THREADS else 1
    if threads == 1:
        return [work(_chunks(0, count, n), n)]
    cuts = [count * i // threads for i in range(threads + 1)]
    n = min(n, -(-count // threads))
    with _team.blas.limit(limits=1):
        rest = [_team.pool.submit(work, _chunks(lo, hi, n), n)
                for lo, hi in zip(cuts[1:-1], cuts[2:])]
        try:
            first = work(_chunks(cuts[0], cuts[1], n), n)
        finally:
            results = [f.exception() or f.result() for f in rest]
    for r in results:
        if isinstance(r, BaseException):
            raise r
    return [first, *results]
