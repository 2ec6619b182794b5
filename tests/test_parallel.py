"""Threads of the kernels: BLAS gets its threads back, and sizes may change while work is under way."""
from __future__ import annotations

import os
import queue
import threading
import warnings

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import parallel


class Blas:
    """A BLAS library of 4 threads."""

    n = 4

    def get_num_threads(self):
        return self.n

    def set_num_threads(self, n):
        self.n = n


@pytest.fixture
def team(monkeypatch):
    """A team of 3 whose BLAS is a fake one."""
    blas = [Blas()]
    monkeypatch.setattr(parallel, "_blas_libraries", lambda: blas)
    team = parallel._Team(3)
    team.start()
    monkeypatch.setattr(parallel, "_team", team)
    yield team
    for _ in range(team.workers):
        team.parts.put(None)


def test_work_goes_in_equal_parts_in_order(team):
    assert parallel.split(8, True, lambda lo, hi: (lo, hi)) == [(0, 2), (2, 5), (5, 8)]
    assert parallel.split(8, False, lambda lo, hi: (lo, hi)) == [(0, 8)]
    assert parallel.split(0, True, lambda lo, hi: (lo, hi)) == [(0, 0)]


@pytest.mark.parametrize("where", ["first", "worker"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_blas_has_its_threads_back_after_an_error(team, error, where):
    seen = []

    def work(lo, hi):
        seen.append(team.blas[0].n)
        if (lo == 0) == (where == "first"):
            raise error

    with pytest.raises(error):
        parallel.split(8, True, work)
    assert team.blas[0].n == 4 and set(seen) == {1} and not team.inside


def test_blas_is_held_to_one_thread_in_whatever_thread_the_user_calls():
    """threadpoolctl heeds only the thread that asked first; the sums would be other ones, too."""
    seen = []

    def look(lo, hi):
        seen.extend(library.get_num_threads() for library in parallel._team.blas)

    parallel.split(1, False, look)
    blas = parallel._team.blas
    before = [library.get_num_threads() for library in blas]
    for library in blas:
        library.set_num_threads(2)
    other = threading.Thread(target=parallel.split, args=(1, False, look))
    other.start()
    other.join()
    for library, n in zip(blas, before):
        library.set_num_threads(n)
    assert set(seen) == {1}


def test_blas_has_its_threads_back_after_two_overlapping_calls(team):
    """The second call finds one thread and must not take that for what was there before."""
    inside, first_left = threading.Event(), threading.Event()
    seen = []

    def second(lo, hi):
        inside.set()
        assert first_left.wait(10)
        seen.append(team.blas[0].n)

    other = threading.Thread(target=parallel.split, args=(1, False, second))

    def first(lo, hi):
        other.start()
        assert inside.wait(10)

    parallel.split(1, False, first)
    first_left.set()
    other.join()
    assert seen == [1], "BLAS started threads while a call was under way"
    assert team.blas[0].n == 4


def test_small_work_takes_no_lock_and_asks_blas_nothing(team):
    """Neither a small convolution nor a pool of one sample, forward and backward."""
    team.lock = team.blas = None
    x, w = (tg.tensor(np.ones(s, np.float32), requires_grad=True) for s in ((1, 1, 12, 12), (2, 1, 3, 3)))
    y = tg.max_pool2d(tg.conv2d(x, w), 2)
    y.backward(np.ones(y.shape, np.float32))
    assert w.grad.data.sum() == 2 * 9 * 25
    with pytest.raises(TypeError):
        parallel.split(1, False, lambda lo, hi: None)  # what would have happened


def test_the_number_of_threads_may_change_while_work_is_handed_over(team):
    class Parts(queue.SimpleQueue):
        def put(self, part):
            tg.set_num_threads(2)
            super().put(part)

    team.parts = Parts()  # which no worker looks at: the calling thread does it all
    assert parallel.split(8, True, lambda lo, hi: hi - lo) == [2, 3, 3]
    assert tg.get_num_threads() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_keeps_the_number_of_threads():
    before = tg.get_num_threads()
    tg.set_num_threads(before + 3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
            child = os.fork()
        if child == 0:
            os._exit(tg.get_num_threads() - before)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    finally:
        tg.set_num_threads(before)
