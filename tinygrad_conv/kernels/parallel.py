"""Threads over the batch: chunks that fit the cache, spread over a few Python threads.

NumPy's copies, ufuncs and matrix products release the GIL, so plain threads scale, as long as
BLAS does not start threads of its own inside. `threadpoolctl` holds it to one thread; where it knows
no BLAS of this process, one Python thread works and BLAS may use its own.

Whatever waits here waits in C, for a lock that `with` takes and frees, or for a part that somebody is doing.
So an interrupt leaves nothing taken, and a signal handler, a finaliser or a part may run ops of its own.
"""
import math
import operator
import os
import threading
from _thread import allocate_lock, start_new_thread
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..arguments import is_whole
from .memory import keep_memory

MOST = 1024  # threads
CHUNK_BYTES = 1 << 21  # columns, padded input and output of one chunk; about the L2 caches
BYTES_WORTH_THREADS = 1 << 20  # of workspace traffic; below, handing work over costs more
BLAS_ALONE = 1 << 18  # multiply-adds of a matrix product up to which OpenBLAS starts no threads itself


def _blas_libraries() -> list[Any]:
    """Handles on the BLAS libraries of this process."""
    from threadpoolctl import ThreadpoolController  # not with NumPy: `import tinygrad_conv` is quick
    return ThreadpoolController().select(user_api="blas").lib_controllers


def _set_threads(library: Any, n: int) -> None:
    """From whatever thread this is: threadpoolctl itself heeds one only, and takes a lock."""
    getattr(library, "_real_set_num_threads", library.set_num_threads)(n)


class _Part:
    """A part of a call. Who takes the lock first does it; who comes later waits, and finds it done."""

    __slots__ = ("lock", "work", "result", "errors")
    work: Callable[[], Any] | None

    def __init__(self, work: Callable[[], Any], errors: list[BaseException]) -> None:
        self.lock, self.work, self.errors = allocate_lock(), work, errors

    def do(self) -> None:
        with self.lock:
            try:
                if self.work is not None:
                    self.result = self.work()
            except BaseException as e:  # raised where the call was made
                self.errors.append(e)
            finally:
                self.work = None  # the arrays are free before the lock is


def _serve(parts: SimpleQueue[_Part | None]) -> None:
    """What a worker does until it gets None. It keeps nothing of a part while it waits for the next."""
    while (part := parts.get()) is not None:
        part.do()
        del part


class _Team:
    """`size` threads: those that call and `size - 1` workers, begun at first use; the handles on BLAS.

    Workers are daemons that wait in C: they hold up neither an interrupt nor the end of the process.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.blas: list[Any] = []
        self.before: list[tuple[Any, int]] | None = None  # each BLAS and its threads, before they were held
        self.forget()

    def forget(self) -> None:
        """Begin anew, also in the child of a fork, where there are no workers and no calls under way."""
        self.lock = threading.RLock()  # a handler may come while its own thread has it
        self.parts: SimpleQueue[_Part | None] = SimpleQueue()
        self.workers, self.ready = 0, False
        self.inside: set[object] = set()  # calls under way that hold BLAS to one thread
        self.restore()

    def start(self) -> None:
        with self.lock:
            if not self.ready:
                keep_memory()
                self.blas = _blas_libraries()
                while self.workers > self.size - 1:
                    self.workers -= 1
                    self.parts.put(None)
                with suppress(RuntimeError):  # no more threads to be had: those there are do all parts
                    while self.workers < self.size - 1:
                        start_new_thread(_serve, (self.parts,))
                        self.workers += 1
                self.ready = True

    def resize(self, size: int) -> None:
        with self.lock:
            self.size, self.ready = size, False

    # BLAS works in the calling thread only while `inside` is not empty: its idle threads would spin beside
    # ours. Each step is right if a whole other call comes before or after it, by a handler in this thread.

    def enter(self, call: object) -> None:
        with self.lock:
            self.inside.add(call)
            if self.before is None:
                before = [(library, library.get_num_threads()) for library in self.blas]
                if self.before is None:  # nobody set BLAS while this looked
                    self.before = before
            for library, _ in self.before:
                _set_threads(library, 1)

    def leave(self, call: object) -> None:
        """Idempotent."""
        with self.lock:
            self.inside.discard(call)
            if not self.inside:
                self.restore()

    def restore(self) -> None:
        for library, n in self.before or ():
            _set_threads(library, n)
        self.before = None

    def share(self, work: Callable[[int, int], Any], count: int, threads: int) -> list[Any]:
        """What `work` returns for each part: whoever is free does it, the calling thread too."""
        if threads == 1:
            return [work(0, count)]
        cuts = [count * i // threads for i in range(threads + 1)]
        errors: list[BaseException] = []
        parts = [_Part(partial(copy_context().run, work, lo, hi), errors)  # np.errstate holds for all
                 for lo, hi in pairwise(cuts)]
        try:
            let_go()
            for part in parts[:-1]:
                self.parts.put(part)
            for part in reversed(parts):  # the workers come from the other end
                part.do()
                if errors:
                    raise errors.pop()
        except BaseException:
            for part in parts:
                part.work = None  # not begun: nobody will
            for part in parts:
                with part.lock:  # until it is done
                    pass
            raise
        return [part.result for part in parts]


# as many as there are CPUs that this process may use
_team = _Team(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_mine = threading.local()  # the workspaces of a thread: `space` that its part uses, `spare` that none does


def around_forks(lock: Callable[[], Any], forget: Callable[[], None]) -> None:
    """Hold a lock while a child is born, which lacks the thread that had it; `forget` is called in the child.

    Python goes on without the lock if a signal's handler raises something; so it is asked for again. To take
    it and to note that is one call into C.
    """
    held: list[bool] = []

    def before() -> None:
        count = len(held)
        while len(held) == count:
            with suppress(BaseException):
                held.extend(map(operator.call, (lock().acquire,)))

    def after() -> None:
        held.pop()
        lock().release()

    def in_child() -> None:
        held.clear()
        forget()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=before, after_in_parent=after, after_in_child=in_child)


around_forks(lambda: _team.lock, lambda: _team.forget())  # nor does what a thread was just importing survive


def set_num_threads(n: int) -> None:
    """How many threads the heavy kernels may use (default: one per CPU this process may use).

    Raises:
        ValueError: if `n` is not a whole number from 1 to 1024.

    Example:
        >>> set_num_threads(2)
        >>> get_num_threads()
        2
    """
    if not is_whole(n, 1) or n > MOST:
        raise ValueError(f"set_num_threads: expects a whole number from 1 to {MOST}, got {n!r}")
    _team.resize(int(n))


def get_num_threads() -> int:
    """How many threads the heavy kernels may use.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.get_num_threads() >= 1
        True
    """
    return _team.size


def let_go() -> None:
    """Workers that do what they were asked to (see `ask`) come back; who asks them puts a function here."""


def ask(work: Callable[..., Any], *arguments: Any) -> None:
    """Let a worker that is free do some work, now or soon, unless others wait to be done.

    So it may happen that nobody does it. It must not raise.
    """
    if not _team.ready:
        _team.start()
    if _team.parts.empty():
        _team.parts.put(_Part(partial(work, *arguments), []))


def workspace(role: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array to compute in, of this part's own, overwritten by the next call for `role`.

    Not initialised. Kept between calls: fresh memory would cost page faults each time.
    """
    buffers = _mine.space
    size = math.prod(shape) * dtype.itemsize
    if role not in buffers or buffers[role].size < size:
        buffers[role] = np.empty(size, np.uint8)
    return buffers[role][:size].view(dtype).reshape(shape)


def split(count: int, worth: bool, work: Callable[[int, int], Any], hold: bool = True) -> list[Any]:
    """Run `work(lo, hi)` on equal parts of range(count), one per thread if `worth` it; in order.

    The parts depend on `count` and the number of threads only, so results are reproducible. BLAS is
    held to one thread inside, which `hold=False` saves where it would start none.
    """
    team = _team
    if not team.ready:
        team.start()
    threads = max(1, min(team.size, count)) if team.blas and worth else 1

    def part(lo: int, hi: int) -> Any:
        mine = vars(_mine)
        outer, spare = mine.get("space"), mine.setdefault("spare", [])  # outer: a handler's op in a kernel
        mine["space"] = space = spare.pop() if spare else {}
        try:
            return work(lo, hi)
        finally:
            mine["space"] = outer
            spare.append(space)

    if not hold:
        return team.share(part, count, threads)
    call = object()
    try:
        team.enter(call)
        return team.share(part, count, threads)
    finally:
        try:
            team.leave(call)
        finally:
            team.leave(call)  # an interrupt may have cut the first one short


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
