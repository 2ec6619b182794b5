"""Threads over the batch: chunks that fit the cache, spread over a few Python threads.

NumPy's copies, ufuncs and matrix products release the GIL, so plain threads scale, as long as
BLAS does not start threads of its own inside. `threadpoolctl` holds it to one thread; where it knows
no BLAS of this process, one Python thread works and BLAS may use its own.
"""
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np

from ..arguments import is_whole
from .memory import keep_memory

CHUNK_BYTES = 1 << 21  # columns, padded input and output of one chunk; about the L2 caches
BYTES_WORTH_THREADS = 1 << 20  # of workspace traffic; below, handing work over costs more
BLAS_ALONE = 1 << 18  # multiply-adds of a matrix product up to which OpenBLAS starts no threads itself


def _blas_libraries() -> list[Any]:
    """Handles on the BLAS libraries of this process."""
    from threadpoolctl import ThreadpoolController  # not with NumPy: `import tinygrad_conv` is quick
    return ThreadpoolController().select(user_api="blas").lib_controllers


class _Team:
    """`size` threads: the worker threads and the handles on BLAS, made at first use.

    A pool that is dropped ends by itself, once the calls that still use it are done.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.forget()

    def forget(self) -> None:
        self.blas: list[Any] = []
        self.pool: ThreadPoolExecutor | None = None
        self.ready = False
        self.lock = threading.Lock()
        self.inside: set[object] = set()  # calls under way that hold BLAS to one thread
        self.before: list[int] = []       # how many threads each BLAS had before the first of them
        self.limiter = 0                  # the thread that last set a BLAS

    def start(self) -> None:
        with self.lock:
            if not self.ready:
                keep_memory()
                self.blas = _blas_libraries()
                if self.blas and self.size > 1:
                    self.pool = ThreadPoolExecutor(self.size - 1, thread_name_prefix="tinygrad_conv")
                self.ready = True

    def resize(self, size: int) -> None:
        with self.lock:
            self.size, self.pool, self.ready = size, None, False

    @contextmanager
    def one_blas_thread(self):
        """BLAS works in the calling thread only; its idle threads would spin beside ours."""
        call = object()
        try:
            with self.lock:
                if not self.inside:
                    self.before = [library.get_num_threads() for library in self.blas]
                self.inside.add(call)
                self._limit([1] * len(self.blas))
            yield
        finally:
            with self.lock:
                self.inside.discard(call)
                if not self.inside:
                    self._limit(self.before)

    def _limit(self, sizes: list[int]) -> None:
        """Tell each BLAS how many threads it may use, from whatever thread this is."""
        here = threading.get_ident()
        for library, n in zip(self.blas, sizes):
            if here != self.limiter and hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)  # else only who asked first is heard
            library.set_num_threads(n)
        self.limiter = here


# as many as there are CPUs that this process may use
_team = _Team(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_kept = threading.local()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_team.forget)  # threads do not survive a fork


def set_num_threads(n: int) -> None:
    """How many threads the heavy kernels may use (default: one per CPU this process may use).

    Raises:
        ValueError: if `n` is not a whole number of at least 1.

    Example:
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
    """
    if not is_whole(n, 1):
        raise ValueError(f"set_num_threads: expects a whole number of at least 1, got {n!r}")
    _team.resize(int(n))


def get_num_threads() -> int:
    """How many threads the heavy kernels may use.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.get_num_threads() >= 1
        True
    """
    return _team.size


def workspace(role: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to compute in, of this thread's own, overwritten by the next call for `role`.

    Not initialised. Kept between calls: fresh memory would cost page faults each time.
    """
    buffers = _kept.__dict__
    size = math.prod(shape) * dtype.itemsize
    if role not in buffers or buffers[role].size < size:
        buffers[role] = np.empty(size, np.uint8)
    return buffers[role][:size].view(dtype).reshape(shape)


def split(count: int, worth: bool, work: Callable[[int, int], Any], hold: bool = True) -> list[Any]:
    """Run `work(lo, hi)` on equal parts of range(count), one per thread if `worth` it; in order.

    The parts depend on `count` and the number of threads only, so results are reproducible. BLAS is
    held to one thread inside, which `hold=False` saves where it would start none.
    """
    if not _team.ready:
        _team.start()
    pool = _team.pool
    threads = max(1, min(_team.size, count)) if pool and worth else 1
    with _team.one_blas_thread() if hold else nullcontext():
        if threads == 1:
            return [work(0, count)]
        cuts = [count * i // threads for i in range(threads + 1)]
        rest = [pool.submit(work, lo, hi) for lo, hi in pairwise(cuts[1:])]
        try:
            first = work(0, cuts[1])
        finally:
            for f in rest:
                f.exception()  # waits
    return [first, *[f.result() for f in rest]]


def fitting(item_bytes: int) -> int:
    """How many items of so many bytes fit the cache, at least one."""
    return max(1, CHUNK_BYTES // max(item_bytes, 1))


def in_chunks(count: int, item_bytes: int, work: Callable[[list[slice], int], Any],
              products: float = math.inf) -> list[Any]:
    """Run `work(slices, n)` over range(count), once per thread; its results in order.

    Each slice holds at most `n` items, as many as fit the cache at `item_bytes` each. `products` are
    the multiply-adds of an item in a call of BLAS, 0 if there is none.
    """
    n = fitting(item_bytes)

    def part(lo: int, hi: int) -> Any:
        m = max(1, min(n, hi - lo))
        return work([slice(a, min(a + m, hi)) for a in range(lo, hi, m)], m)

    return split(count, count * item_bytes > BYTES_WORTH_THREADS, part,
                 products > 0 and min(n, count) * products > BLAS_ALONE)
