"""Ctrl-C in a training run: always `interrupted`, everything in order, and a resumed run is the same to the bit."""
from __future__ import annotations

import _thread
import ctypes
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train.interrupt import CtrlC

ROOT = Path(__file__).parent.parent
EPOCHS = 3


def press():
    signal.raise_signal(signal.SIGINT)


class Loader:
    """Batches of a generator; calls `at(what, number)` as they are fetched."""

    def __init__(self, at=lambda *place: None):
        self.rng, self.at = np.random.default_rng(7), at

    def __iter__(self):
        x, y = nn.data.digits("test")[:96]
        order = self.rng.permutation(96)
        for n in range(3):
            self.at("loader", n)
            yield x[order[n::3]], y[order[n::3]]


class Told(nn.Callback):
    """Calls `at(event, number)`; counts how often it was closed."""

    def __init__(self, at=lambda *place: None):
        self.at, self.closed, self.batch = at, 0, 0

    def epoch_begin(self, epoch, epochs, batches):
        self.at("epoch_begin", epoch)

    def batch_end(self, row):
        self.batch += 1
        self.at("batch_end", self.batch)

    def epoch_end(self, row):
        self.at("epoch_end", row["epoch"])

    def close(self):
        self.closed += 1
        self.at("close", 1)


def train(folder, at=lambda *place: None, resume=False, epochs=EPOCHS):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, rng=rng), nn.BatchNorm1d(16), nn.ReLU(),
                        nn.Dropout(0.2, rng=np.random.default_rng(1)), nn.Linear(16, 10, rng=rng))
    optimizer, told, calls = nn.Adam(net.parameters(), 0.01), Told(at), []

    def loss(output, y):
        calls.append(0)
        at("loss", len(calls))
        return tg.cross_entropy(output, y)

    step = optimizer.step

    def stepped():
        at("before step", told.batch)
        step()
        at("after step", told.batch)
    optimizer.step = stepped
    history = nn.fit(net, Loader(at), Loader(lambda what, n: at("validation", n)), epochs=epochs, optimizer=optimizer,
                     loss=loss, schedule=nn.ExponentialLR(optimizer, 0.99), checkpoint=folder, resume=resume,
                     callbacks=[told])
    return net, history, told


def same(net, other):
    return all(np.array_equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))[:2]


PLACES = [("epoch_begin", 1), ("epoch_begin", 3), ("loader", 0), ("loader", 2), ("loss", 1), ("loss", 9), ("before step", 4),
          ("after step", 0), ("batch_end", 1), ("batch_end", 3), ("validation", 1), ("saving", 1), ("saving", 4),
          ("epoch_end", 1), ("epoch_end", 3), ("close", 1)]


@pytest.mark.parametrize("presses", [1, 2, 3])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]} {place[1]}")
def test_ctrl_c_at_any_point_ends_in_good_order(place, presses, whole, tmp_path, monkeypatch):
    """The weights are those after a whole batch, the checkpoint is that of the last epoch in the history."""
    weights, writes, pressed, replace = [], [], [], os.replace

    def at(*here):
        if here[0] == "after step":
            weights.append(here[1])
        if here == place and not pressed:
            pressed.append(here)
            for _ in range(presses):
                press()

    def replaced(*paths):
        writes.append(paths)
        at("saving", len(writes))
        replace(*paths)

    monkeypatch.setattr(os, "replace", replaced)
    net, history, told = train(tmp_path, at)
    assert pressed and history.interrupted and told.closed == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert tg.is_recording() and all(m.training for m in net.modules())
    assert told.batch in (len(weights), len(weights) - 1) and not list(tmp_path.glob("*.part"))
    kept = nn.train.saving.load_with_metadata(tmp_path / "last.safetensors")[1]["run"]
    assert kept.count('"epoch": ') == len(history) <= EPOCHS
    monkeypatch.undo()
    again, rows, _ = train(tmp_path, resume=True)
    assert same(again, whole[0]) and not rows.interrupted
    assert [rows[key] == whole[1][key] for key in ("loss", "valid_loss", "lr")] == [True] * 3


def test_one_ctrl_c_waits_for_the_batch_two_do_not(tmp_path):
    reached = []

    def at(what, n):
        if (what, n) == ("loss", 2):
            press()
            reached.append("once")
            press()
            reached.append("twice")
    _, history, told = train(tmp_path, at)
    assert reached == ["once"] and told.batch == 1 and history.interrupted


def test_a_loader_that_waits_for_ever_is_left_by_two():
    class Stuck:
        def __iter__(self):
            timer = [threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)) for seconds in (0.1, 0.3)]
            [t.start() for t in timer]
            time.sleep(60)
            yield

    net, start = nn.Linear(2, 2), time.monotonic()
    history = nn.fit(net, Stuck(), epochs=1, optimizer=nn.SGD(net.parameters()), callbacks=())
    assert history.interrupted and time.monotonic() - start < 30


def test_evaluate_restores_the_modes_before_ctrl_c_is_raised():
    for presses in (1, 2):
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.5))
        with pytest.raises(KeyboardInterrupt):
            nn.evaluate(net, Loader(lambda what, n: [press() for _ in range(presses)]))
        assert all(m.training for m in net.modules()) and tg.is_recording()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("how", ["raise", "interrupt_main", "asynchronous"])
def test_other_keyboard_interrupts_end_a_run_too(how, tmp_path):
    def at(what, n):
        if what == "batch_end" and n == 2:
            if how == "raise":
                raise KeyboardInterrupt
            if how == "interrupt_main":
                _thread.interrupt_main()
            else:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()),
                                                           ctypes.py_object(KeyboardInterrupt))
    _, history, told = train(tmp_path, at)
    assert history.interrupted and told.closed == 1 and told.batch == 2


def test_a_handler_of_the_programs_own_is_left_alone(tmp_path):
    calls = []
    before = signal.signal(signal.SIGINT, lambda *_: calls.append(signal.getsignal(signal.SIGINT)))
    try:
        _, history, _ = train(tmp_path, lambda what, n: press() if (what, n) == ("loss", 1) else None)
        own = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [own] and not history.interrupted and len(history) == EPOCHS


def test_a_run_in_another_thread_changes_no_handler(tmp_path):
    found = []
    thread = threading.Thread(target=train, args=(
        tmp_path, lambda what, n: found.append(signal.getsignal(signal.SIGINT))))
    thread.start()
    thread.join()
    assert set(found) == {signal.default_int_handler} and (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_the_handler_is_restored_after_an_error(error):
    with pytest.raises(error), CtrlC():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        raise error
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def swept(folder, first, stride, presses, whole):
    """Ctrl-C where the n-th function of a run begins, for n = first, first + stride, ..., to its end."""
    number = first
    while True:
        calls, pressed, inside, where = itertools.count(), [], [], folder / str(number)

        def profile(frame, event, argument, calls=calls, pressed=pressed, inside=inside, number=number):
            if frame.f_code is nn.fit.__wrapped__.__code__ and event in ("call", "return"):
                inside[:] = [0] * (event == "call")
            if inside and event == "call" and (n := next(calls)) >= number and len(pressed) < presses:
                pressed.append(n)
                press()
        sys.setprofile(profile)
        try:
            history, ended = train(where, epochs=2)[1], True
        except KeyboardInterrupt as e:  # before the run or after it: Python's own handler raised it
            ended = False
            assert not {"_press", "check"} & {f.f_code.co_name for f, _ in traceback.walk_tb(e.__traceback__)}, number
        finally:
            sys.setprofile(None)
        if not pressed:
            break
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler and tg.is_recording(), number
        assert not ended or history.interrupted, number
        if (where / "last.safetensors").exists():
            assert sorted({p.suffix for p in where.iterdir()}) == [".safetensors"], number
            assert same(train(where, resume=True)[0], whole), number
        number += stride
    return number


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_at_any_call_of_a_function(presses, whole, tmp_path):
    assert swept(tmp_path, presses, 997, presses, whole[0]) > 2000


@pytest.mark.slow
@pytest.mark.parametrize("presses", [1, 2, 3])
def test_ctrl_c_at_every_call_of_a_function(presses, whole, tmp_path):
    swept(tmp_path, 0, 59, presses, whole[0])


CHILD = """import signal, sys, traceback
sys.path.insert(0, {root!r})
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.test_interrupt import same, train
for number in range({runs}):
    folder, events = {folder!r} + "/" + str(number), []
    def at(what, n):
        if not events:
            print("begun", flush=True)
        if what in ("epoch_begin", "close"):
            events.append(what)
    try:
        net, history, told = train(folder, at, epochs=400)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert history.interrupted
    except KeyboardInterrupt as e:  # one that came after the run
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        assert not {{"_press", "check"}} & {{f.f_code.co_name for f, _ in traceback.walk_tb(e.__traceback__)}}
    assert events.count("close") == 1
    again, rows, _ = train(folder, resume=True, epochs=3)
    whole, expected, _ = train(folder + "-whole", epochs=max(3, len(rows)))
    assert same(again, whole) and rows["loss"] == expected["loss"], number
    signal.signal(signal.SIGINT, signal.default_int_handler)
    print("ended", flush=True)
"""


def interrupted_at_random(folder, runs, seed):
    """Send one, two or three SIGINTs to a child's runs, after a random time each."""
    rng = random.Random(seed)
    with subprocess.Popen([sys.executable, "-c", CHILD.format(root=str(ROOT), folder=str(folder), runs=runs)],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        for _ in range(runs):
            if child.stdout.readline() != b"begun\n":
                break
            time.sleep(rng.random() * 0.15)
            for _ in range(rng.choice([1, 1, 2, 3])):
                child.send_signal(signal.SIGINT)
                time.sleep(rng.choice([0, 0.0003, 0.002]))
            if child.stdout.readline() != b"ended\n":
                break
        said = child.stderr.read().decode()
        assert child.wait(60) == 0, said


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C")
def test_ctrl_c_at_random_moments(tmp_path):
    interrupted_at_random(tmp_path, 40, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal of Ctrl-C")
def test_ctrl_c_at_many_random_moments(tmp_path):
    interrupted_at_random(tmp_path, 300, 1)


# ----- exceptions of other signals' handlers, and runs inside runs -----

class TooLong(BaseException):
    """What a time-out raises."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as a generator is closed
def test_an_exception_at_any_call_of_a_run_leaves_ctrl_c_and_modes_as_they_were():
    """As a time-out's handler raises it, where the n-th function of an evaluation or a run begins."""
    layer = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Dropout(0.5))
    loader = Loader()
    operations = [lambda: nn.evaluate(layer, loader),
                  lambda: nn.fit(layer, loader, epochs=1, optimizer=nn.SGD(layer.parameters(), 0.1), callbacks=())]
    for operation, stride in zip(operations, (1, 7)):
        stuck = number = 0
        while True:
            calls, raised = itertools.count(), []

            def profile(frame, event, argument, calls=calls, raised=raised, number=number):
                if event == "call" and not raised and "nn/" in frame.f_code.co_filename and next(calls) == number:
                    raised.append(number)
                    raise TooLong
            sys.setprofile(profile)
            try:
                operation()
            except TooLong:
                pass
            finally:
                sys.setprofile(None)
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                stuck += 1  # as `__exit__` began: the next Ctrl-C, and the next run, are as always
                if stuck % 2:
                    with pytest.raises(KeyboardInterrupt):
                        press()
                else:
                    nn.evaluate(layer, loader)
                assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, number
            assert tg.is_recording() and all(m.training for m in layer.modules()), number
            if not raised:
                break
            number += stride
        assert number > 50 and stuck <= 2


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_in_a_run_inside_another_ends_both(presses):
    net, inner, batches = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), [], []

    class Inside(nn.Callback):
        def batch_end(self, row):
            batches.append(row)
            at = Told(lambda what, n: what == "batch_end" and [press() for _ in range(presses)])
            other = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
            inner.append((at, nn.fit(other, Loader(), epochs=9, optimizer=nn.SGD(other.parameters()), callbacks=[at])))

    history = nn.fit(net, Loader(), epochs=9, optimizer=nn.SGD(net.parameters()), callbacks=[Inside()])
    assert history.interrupted and len(batches) == 1
    [(told, of_inner)] = inner
    assert of_inner.interrupted and told.batch == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_ctrl_c_still_leave_a_callback_after_a_run_inside_it():
    class Stuck(nn.Callback):
        def batch_end(self, row):
            nn.evaluate(net, Loader())
            press()
            press()
            raise AssertionError("not reached")

    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert nn.fit(net, Loader(), epochs=1, optimizer=nn.SGD(net.parameters()), callbacks=[Stuck()]).interrupted


def test_ctrl_c_as_the_handler_is_given_back_counts_as_pressed(monkeypatch):
    give, given = signal.signal, []

    def pressed_then(number, handler):
        before = give(number, handler)
        if handler is signal.default_int_handler:
            given.append(handler)
            press()
        return before

    monkeypatch.setattr(signal, "signal", pressed_then)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    assert nn.fit(net, Loader(), epochs=1, optimizer=nn.SGD(net.parameters()), callbacks=()).interrupted
    assert len(given) == 1
