"""Work shared in machine code: each part is done once, by whoever is free, whatever comes between."""
from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import parallel

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import arrays, ir, launch, machine  # noqa: E402


def written() -> ir.Code:
    """Adds to x[i], for each i, one more than the number of the part that does it; each part counts itself."""
    code = ir.Code("double", x=ir.POINTER, parts=ir.POINTER, first=ir.INDEX, last=ir.INDEX, part=ir.INDEX)
    x, parts, first, last, part = code.arguments
    number = code.emit("double", f"sitofp i64 {part + 1} to double")
    for i in code.range(first, last):
        code.store(code.load(x, i, "double") + number, x, i)
    code.store(code.load(parts, part, "double") + code.constant(1.0), parts, part)
    return code


@pytest.fixture(scope="module")
def kernel() -> int:
    return machine.compiled(written())


def check(kernel: int, count: int, parts: int) -> None:
    x, done = np.zeros(count), np.zeros(parts)
    launch.launch(kernel, arrays.places(x, done), count, parts)
    expected = np.zeros(count)
    for k in range(parts):
        expected[count * k // parts:count * (k + 1) // parts] += k + 1
    assert (x == expected).all() and (done == 1).all()


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_each_part_is_done_once(kernel, parts):
    for count in (0, 1, 2, 5, 97, 10_000):
        check(kernel, count, parts)


def test_a_worker_that_is_late_takes_nothing_of_a_later_call(kernel):
    """Calls of other sizes and numbers of parts follow one another at once, while workers come and go."""
    for k in range(20_000):
        check(kernel, k % 53, k % 5 + 1)


def test_threads_that_call_at_once_get_their_own_parts(kernel):
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda n: [check(kernel, n + k % 7, k % 4 + 1) for k in range(500)], range(8)):
            pass


MEETING = """
define void @meet(ptr %given, i64 %first, i64 %last, i64 %part) {
entry:
  %flags = load ptr, ptr %given
  %mine = getelementptr i64, ptr %flags, i64 %part
  %other = sub i64 1, %part
  %theirs = getelementptr i64, ptr %flags, i64 %other
  store atomic i64 1, ptr %mine seq_cst, align 8
  br label %look
look:
  %looks = phi i64 [0, %entry], [%more, %look]
  %flag = load atomic i64, ptr %theirs seq_cst, align 8
  %more = add i64 %looks, 1
  %there = icmp ne i64 %flag, 0
  %long = icmp ugt i64 %more, 300000000
  %end = or i1 %there, %long
  br i1 %end, label %done, label %look
done:
  %met = getelementptr i64, ptr %mine, i64 2
  %seen = zext i1 %there to i64
  store i64 %seen, ptr %met
  ret void
}
"""


def met() -> bool:
    """Whether two parts run at the same time: each waits until the other has begun.

    A worker may have waited in vain and left, if this thread was stopped between asking and calling: so, again.
    """
    meet, = machine.loaded(MEETING, "meet")
    for _ in range(20):
        flags = (ctypes.c_int64 * 4)()
        launch.launch(meet, [ctypes.addressof(flags)], 2, 2)
        assert list(flags[:2]) == [1, 1]
        if flags[2] and flags[3]:
            return True
    return False


def test_two_parts_run_at_the_same_time():
    assert met()


def away(seconds: float = 30) -> bool:
    """Whether the workers have left within that time."""
    end = time.monotonic() + seconds
    while (there := launch.team().fields[launch.AWAKE]) and time.monotonic() < end:
        time.sleep(0.001)
    return not there


def test_workers_leave_when_nothing_comes(kernel):
    check(kernel, 10, 2)
    assert away()


def test_workers_leave_at_once_for_parts_of_the_other_family(monkeypatch):
    assert away()
    monkeypatch.setattr(launch, "PATIENCE", 1 << 62)  # by themselves, they would not
    try:
        assert met() and launch.team().fields[launch.AWAKE] == 1
        assert parallel.split(4, True, lambda lo, hi: hi - lo) == [2, 2]
        assert away()
    finally:
        parallel.let_go()


def test_a_handler_may_launch_between_any_two_launches(kernel):
    came = []

    def handler(*signal_and_frame):
        check(kernel, 11, 3)
        came.append(1)
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        for k in range(3000):
            check(kernel, k % 53, k % 5 + 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert came


FORKED = """
import os, signal, threading
from tests import test_launch as cases
from tinygrad_conv.kernels.compiled import launch, machine

signal.alarm(100)
kernel = machine.compiled(cases.written())
stop = threading.Event()
def work():
    while not stop.is_set():
        cases.check(kernel, 100_000, 2)
threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(30):
    child = os.fork()
    if not child:
        signal.alarm(30)
        alone = launch.team().fields[launch.AWAKE] == launch.team().fields[launch.CALL] == 0
        os._exit(not (alone and cases.met()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
"""


@pytest.mark.skipif(not hasattr(signal, "alarm"), reason="forks")
def test_a_child_that_is_forked_in_a_call_has_workers_of_its_own():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=150)
    assert run.stdout == "done\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"


def test_a_process_may_end_while_workers_wait_for_the_next_call():
    code = """if True:
        import tinygrad_conv as tg
        from tests import test_launch as cases
        from tinygrad_conv.kernels.compiled import launch
        launch.PATIENCE = 1 << 62
        print(cases.met())"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0 and run.stdout == "True\n", run.stderr


def test_one_thread_asks_no_worker(kernel):
    assert away()
    tg.set_num_threads(1)
    try:
        assert launch.parts_of(100, 9) == 1
        check(kernel, 10, 3)  # parts by number all the same
        assert launch.team().fields[launch.AWAKE] == 0
    finally:
        tg.set_num_threads(2)


def test_parts_are_no_more_than_there_is_to_do():
    assert launch.parts_of(0, 9) == launch.parts_of(1, 9) == launch.parts_of(100, 0.9) == 1
    assert launch.parts_of(2, 9) == launch.parts_of(100, 1) == 2 == tg.get_num_threads()
    tg.set_num_threads(16)
    try:
        assert launch.parts_of(100, 5.5) == 6 and launch.parts_of(100, 1e9) == 16  # no more than it is worth
    finally:
        tg.set_num_threads(2)


def test_interrupts_come_after_the_call(kernel):
    """Whatever is interrupted, the next call finds the threads free."""
    x, done = np.zeros(1 << 20), np.zeros(2)
    for _ in range(50):
        timer = threading.Timer(0.0005, signal.raise_signal, [signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                launch.launch(kernel, arrays.places(x, done), len(x), 2)
        timer.join()
        assert launch.team().fields[launch.CALL] == 0
        check(kernel, 20, 2)
