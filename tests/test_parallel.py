"""Threads of the kernels: BLAS gets its threads back, and sizes may change while work is under way."""
from __future__ import annotations

import _thread
import gc
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nn
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


def test_a_part_sees_the_settings_of_the_call(team):
    """NumPy keeps errstate in the context, which a thread does not share."""
    each = threading.Barrier(3)  # in a thread of its own

    def work(lo, hi):
        each.wait(10)
        return np.geterr()["divide"]

    for setting in ("raise", "ignore", "warn"):
        with np.errstate(divide=setting):
            assert parallel.split(3, True, work) == [setting] * 3


def test_parts_that_no_worker_begins_are_done_by_the_caller(team):
    busy, free = threading.Event(), threading.Event()
    for _ in range(team.workers):
        team.parts.put(parallel._Part(lambda: busy.set() or free.wait(10), []))
    assert busy.wait(10)
    here = parallel.split(8, True, lambda lo, hi: threading.get_ident())
    free.set()
    assert here == [threading.get_ident()] * 3


def test_a_part_may_itself_be_split(team):
    inner = lambda lo, hi: parallel.split(4, True, lambda a, b: (lo, a, b))
    assert parallel.split(3, True, inner) == [[(i, 0, 1), (i, 1, 2), (i, 2, 4)] for i in range(3)]
    assert team.blas[0].n == 4


def test_parts_that_nobody_has_begun_are_dropped_after_an_error(team):
    begun, team.parts = [], queue.SimpleQueue()  # which no worker looks at yet

    def work(lo, hi):
        begun.append(lo)
        raise KeyError

    with pytest.raises(KeyError):
        parallel.split(8, True, work)
    while not team.parts.empty():
        team.parts.get().do()
    assert begun == [5]


def test_a_worker_keeps_nothing_of_a_call_that_is_done():
    both, results = threading.Barrier(2), []

    def work(lo, hi):
        both.wait(10)
        return np.zeros(hi)

    for _ in range(20):
        results = [weakref.ref(a) for a in parallel.split(2, True, work)]
        time.sleep(0.001)
        assert [r() for r in results] == [None, None]


def test_surplus_workers_end():
    """Also of a team that grows and shrinks while others use it."""
    alive = _thread._count
    tg.set_num_threads(1)
    parallel.split(1, False, lambda lo, hi: None)
    before = settled(alive, 1)
    for n in (6, 3, 2, 5, 1):
        tg.set_num_threads(n)
        assert len(parallel.split(8, True, lambda lo, hi: lo)) == n
        assert settled(alive, before + n - 1) == before + n - 1
    tg.set_num_threads(2)


def settled(count, wanted):
    """What `count()` says, after some time to become what is wanted."""
    end = time.monotonic() + 1
    while time.monotonic() < end and count() != wanted:
        time.sleep(0.001)
    return count()


def test_without_more_threads_the_caller_does_all(monkeypatch):
    def refuse(*call):
        raise RuntimeError("can't start new thread")
    monkeypatch.setattr(parallel, "start_new_thread", refuse)
    tg.set_num_threads(5)
    assert parallel.split(5, True, lambda lo, hi: lo) == [0, 1, 2, 3, 4]
    monkeypatch.undo()
    tg.set_num_threads(2)


def test_an_op_may_run_when_the_process_ends():
    code = """
import atexit, weakref
import numpy as np
import tinygrad_conv as tg
x, w = tg.ones(8, 3, 64, 64), tg.ones(4, 3, 3, 3)
class Last: pass
last = Last()
weakref.finalize(last, lambda: print(tg.conv2d(x, w).sum().item()))
atexit.register(lambda: print(tg.conv2d(x, w).sum().item()))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (out.stdout, out.stderr) == (f"{27.0 * 8 * 4 * 62 * 62}\n" * 2, "")


# ----- finalisers -----

class Last:
    """Its finaliser, in whatever thread it comes, runs `action`."""

    def __init__(self, action):
        self.action = action

    def __del__(self):
        self.action()


@pytest.mark.parametrize("collected", [False, True])
def test_a_finaliser_that_runs_an_op_may_come_in_any_thread(collected):
    x, w = tg.tensor(np.ones((8, 3, 64, 64), np.float32)), tg.ones(4, 3, 3, 3)
    wanted, seen = tg.conv2d(x, w).numpy(), []

    def work(lo, hi):
        last = Last(lambda: seen.append(np.array_equal(tg.conv2d(x, w).numpy(), wanted)))
        if collected:
            last.itself = last
        del last
        gc.collect()

    parallel.split(2, True, work)
    gc.collect()
    assert seen == [True, True]


# ----- state that threads share: read, changed and written back -----

def at_once(*functions):
    """Run the functions, each in a thread of its own, switching as often as Python can."""
    start, errors = threading.Barrier(len(functions)), []

    def run(function):
        start.wait(10)
        try:
            function()
        except BaseException as e:
            errors.append(e)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert errors == []


@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_passes_of_four_threads_on_one_leaf_all_count(create_graph):
    w, times = tg.ones(2, requires_grad=True), 100 if create_graph else 500

    def passes():
        for _ in range(times):
            (w * 1.0).sum().backward(create_graph=create_graph)

    at_once(*[passes] * 4)
    assert w.grad.tolist() == [4.0 * times] * 2


def test_backward_passes_of_threads_on_several_leaves_all_count():
    """Each thread uses other leaves, in another order."""
    leaves = [tg.ones(2, requires_grad=True) for _ in range(4)]

    def passes(order):
        for _ in range(200):
            y = leaves[order[0]] * 1.0
            for i in order[1:]:
                y = y * leaves[i]
            y.sum().backward()

    at_once(*[lambda order=order: passes(order) for order in ([0, 1, 2], [2, 1, 0], [3, 2], [1, 3, 0])])
    assert [leaf.grad.tolist() for leaf in leaves] == [[600.0] * 2] * 4 or (
        [leaf.grad.tolist() for leaf in leaves] == [[600.0] * 2, [600.0] * 2, [600.0] * 2, [400.0] * 2])


@pytest.mark.parametrize("layer, shape", [
    (lambda: nn.BatchNorm1d(2, momentum=0.01), (4, 2)), (lambda: nn.BatchNorm1d(1500, momentum=0.01), (4, 1500)),
    (lambda: nn.InstanceNorm2d(3, momentum=0.01, track_running_stats=True), (2, 3, 4, 4)),
    (lambda: nn.BatchNorm1d(2, momentum=None), (4, 2))])
def test_no_update_of_running_statistics_is_lost(layer, shape):
    one, many = layer(), layer()
    x = tg.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
    for _ in range(400):
        one(x)
    at_once(*[lambda: [many(x) for _ in range(100)]] * 4)
    for key, value in one.state_dict().items():
        np.testing.assert_allclose(many.state_dict()[key], value, rtol=1e-5, err_msg=key)


def test_changes_of_several_leaves_by_several_threads_all_count():
    leaves = [tg.tensor(0), tg.zeros(700), tg.tensor(np.zeros((3, 2)).T)]
    at_once(*[lambda: [tg.change(leaves[:2], lambda values: [v + 1 for v in values]) for _ in range(200)]] * 4)
    assert leaves[0].item() == 800 and (leaves[1].numpy() == 800).all()
    tg.change(leaves, lambda values: [v + i for i, v in enumerate(values)])
    assert [t.numpy().ravel()[0] for t in leaves] == [800, 801, 2]


def test_a_change_that_is_refused_changes_nothing():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="only leaves"):
        tg.change([x, x * 1.0], lambda values: [v + 1 for v in values])
    with pytest.raises(ValueError):
        tg.change([x, x], lambda values: [values[0] + 1, np.ones((2, 2))])
    assert x.tolist() == [1.0, 1.0]


def test_memory_that_one_thread_lends_while_another_records_is_watched():
    """A flag kept beside the list of views would be computed from it too early by one of the two."""
    for _ in range(300):
        x, views, ys = tg.ones(2, requires_grad=True), [], []
        (x * x).sum().backward()

        def lend():
            for _ in range(5):
                x.mutate()  # and back at once
            views.append(x.mutate())

        at_once(lend, lambda: ys.extend((x * x).sum() for _ in range(5)))
        views[0][0] = 2.0
        for y in ys:
            with pytest.raises(RuntimeError, match="changed in place"):
                y.backward()


def test_a_call_that_fails_does_not_unlock_what_another_thread_recorded():
    u, recorded = tg.ones(2, requires_grad=True), []

    @tg.primitive
    def failing(x):
        thread = threading.Thread(target=lambda: recorded.append((u * u).sum()))
        thread.start()
        thread.join()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        failing(u)
    with pytest.raises(ValueError, match="read-only"):
        u.numpy()[0] = 9.0
    recorded[0].backward()
    assert u.grad.tolist() == [2.0, 2.0]


# ----- pools of threads around, tasks, processes -----

def test_kernels_run_in_a_pool_of_the_users_threads_that_overlap():
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((8, 3, 64, 64), (4, 3, 3, 3)))

    def step(scale):
        t = tg.tensor(w * scale, requires_grad=True)
        tg.conv2d(x, t).sum().backward()
        return t.grad.numpy()

    wanted = step(1.0)
    before = [library.get_num_threads() for library in parallel._team.blas]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(step, [1.0] * 40):
            np.testing.assert_array_equal(found, wanted)
    assert [library.get_num_threads() for library in parallel._team.blas] == before


def child(action):
    """What the exit status of a forked child is, which `action` returns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside threads
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(action())
        finally:
            os._exit(111)
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if (done := os.waitpid(pid, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(done[1])
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the child hangs")


forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@forks
def test_a_child_forked_while_blas_is_held_has_the_threads_of_before(team):
    def look():
        ours = team.blas[0].n
        assert parallel.split(8, True, lambda lo, hi: team.blas[0].n) == [1, 1, 1]
        return ours * 10 + team.blas[0].n

    assert parallel.split(1, False, lambda lo, hi: child(look)) == [44]
    assert team.blas[0].n == 4


@forks
def test_a_child_forked_while_another_thread_computes_computes_too():
    x, w = tg.tensor(np.ones((8, 3, 64, 64), np.float32)), tg.ones(4, 3, 3, 3)
    wanted, stop = tg.conv2d(x, w).numpy(), threading.Event()
    before = [library.get_num_threads() for library in parallel._team.blas]

    def compute():
        while not stop.is_set():
            tg.conv2d(x, w)

    thread = threading.Thread(target=compute)
    thread.start()
    try:
        for _ in range(10):
            assert child(lambda: [library.get_num_threads() for library in parallel._team.blas] == before
                         and np.array_equal(tg.conv2d(x, w).numpy(), wanted)) == 1
    finally:
        stop.set()
        thread.join()


@forks
def test_a_forked_child_can_be_interrupted_and_end(team):
    def interrupted():
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            while True:
                parallel.split(8, True, lambda lo, hi: time.sleep(0.001))
        except KeyboardInterrupt:
            return team.blas[0].n
    assert child(interrupted) == 4


def test_a_spawned_process_computes():
    code = """
import multiprocessing
import numpy as np
import tinygrad_conv as tg
if __name__ == "__main__":
    x, w = np.ones((8, 3, 64, 64), np.float32), np.ones((4, 3, 3, 3), np.float32)
    tg.conv2d(x, w)
    for method in multiprocessing.get_all_start_methods():
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, {float(y) for y in pool.starmap(total, [(x, w)] * 4)})
"""
    job = "import tinygrad_conv as tg\ndef total(x, w):\n    return tg.conv2d(x, w).sum().item()\n"
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("job.py", job), ("main.py", "from job import total" + code)):
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        out = subprocess.run([sys.executable, os.path.join(folder, "main.py")], capture_output=True, text=True,
                             timeout=120)
    assert out.stderr == "" and len(out.stdout.splitlines()) >= 1
    assert all(line.split()[1] == "{%s}" % (27.0 * 8 * 4 * 62 * 62) for line in out.stdout.splitlines())


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
