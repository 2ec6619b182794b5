"""An interrupt, or a signal handler that runs ops, at every instant at which Python lets one in.

`at(n, ...)` keeps a signal pending all the time: its handler, in C alone, is called wherever Python looks for
signals, and counts; at the n-th instant it raises, or calls the handler to be tested.
"""
from __future__ import annotations

import signal
import subprocess
import sys
from _thread import interrupt_main
from contextlib import contextmanager, suppress
from contextvars import Context
from functools import partial
from itertools import chain, islice, repeat
from operator import is_

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv import state
from tinygrad_conv.kernels import parallel


@contextmanager
def at(n, action):
    """`action(signal, frame)` at the n-th instant of the block; yields a list that is then no longer empty."""
    reached = []
    again = map(is_, map(interrupt_main, repeat(signal.SIGINT)), repeat(None))  # pending once more
    there = map(is_, map(reached.append, [n]), [None])
    steps = chain(islice(again, 2 * n), there, map(bool, map(action, [signal.SIGINT], [None])), repeat(True))
    # `min(signal, frame, key=...)` takes two steps
    before = signal.signal(signal.SIGINT, partial(min, key=partial(next, steps)))
    try:
        interrupt_main()
        yield reached
    finally:
        signal.signal(signal.SIGINT, partial(max, key=id))  # what is still pending goes nowhere
        abs(0)
        signal.signal(signal.SIGINT, before)


def instants(operation, most=100_000):
    """Run `operation` again and again, each time interrupted one instant later, until it comes to its end."""
    for n in range(most):
        done = False
        try:
            with at(n, signal.default_int_handler) as reached:
                operation()
                done = True
        except KeyboardInterrupt:
            pass
        if done and not reached:
            return
        yield n
    raise AssertionError(f"no end after {most} instants")


def blas_threads():
    return [library.get_num_threads() for library in parallel._team.blas]


@pytest.fixture(autouse=True)
def _as_before():
    """Whatever happens in a test: BLAS, the recording state, locks and workers are as they were; it ends."""
    def too_long(*_):
        raise TimeoutError("the test hangs")

    on_interrupt = signal.getsignal(signal.SIGINT)
    handler = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 120, 1)  # again and again, should that be swallowed
    tg.set_num_threads(2)
    parallel.split(1, False, lambda lo, hi: None)
    before = blas_threads()
    yield
    signal.signal(signal.SIGINT, on_interrupt)  # the last instant of all lies in `at`, before it does so itself
    team = parallel._team
    assert blas_threads() == before and team.before is None and not team.inside
    assert team.lock.acquire(False)
    team.lock.release()
    assert tg.is_recording() and tg.exp(tg.ones(1, requires_grad=True)).node.scope == ()
    assert parallel.split(8, True, lambda lo, hi: (lo, hi)) == [(0, 4), (4, 8)]
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def draw(*shape, requires_grad=True):
    values = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    return tg.tensor(values, requires_grad=requires_grad)


X, W, SQUARE = draw(4, 3, 200, 200), draw(4, 3, 3, 3), draw(256, 256)  # as much as is shared among threads
DEEP = draw(3, 1, 3, 3)
KERNELS = {
    "conv2d": lambda: tg.conv2d(X, W, padding=1),
    "depthwise": lambda: tg.conv2d(X, DEEP, groups=3),
    "max_pool2d": lambda: tg.max_pool2d(X, 2),
    "batch_norm": lambda: tg.batch_norm(X, None, None, training=True),
    "matmul": lambda: tg.matmul(SQUARE, SQUARE),
    "einsum": lambda: tg.einsum("ij,jk->ik", SQUARE, SQUARE),
}


@pytest.mark.parametrize("name", KERNELS)
def test_an_interrupt_at_any_instant_of_a_kernel_leaves_nothing_behind(name):
    wanted, before = KERNELS[name]().numpy(), blas_threads()
    seen = 0
    for _ in instants(KERNELS[name]):
        seen += 1
        assert blas_threads() == before and not parallel._team.inside and parallel._team.before is None
        assert tg.is_recording()
    assert seen > 20
    np.testing.assert_array_equal(KERNELS[name]().numpy(), wanted)


# ----- state that is read, changed and written back: all of it is old or all of it new -----

def test_an_interrupt_at_any_instant_of_a_backward_leaves_all_gradients_old_or_all_new():
    leaves = [draw(3), draw(1), draw(2, 3)]

    def step():
        ((leaves[0] * leaves[1]) * leaves[2]).sum().backward()

    step()
    once = [leaf.grad.numpy().copy() for leaf in leaves]
    seen = set()
    for _ in instants(step):
        rounds = {np.rint((leaf.grad.numpy() / grad).mean()) for leaf, grad in zip(leaves, once)}
        assert len(rounds) == 1 and tg.is_recording() and tg.exp(leaves[0]).requires_grad
        seen |= rounds
        for leaf, grad in zip(leaves, once):
            leaf.grad = tg.tensor(grad)
    assert seen == {1.0, 2.0}


@pytest.mark.parametrize("layer", [lambda: nn.BatchNorm2d(600), lambda: nn.BatchNorm2d(2, momentum=None),
                                   lambda: nn.InstanceNorm2d(3, track_running_stats=True)])
def test_an_interrupt_at_any_instant_of_a_norm_leaves_all_its_statistics_old_or_all_new(layer):
    layer = layer()
    x = draw(2, layer.num_features, 2, 2)
    seen = set()
    old = layer.state_dict()
    layer(x)
    new = layer.state_dict()
    layer.load_state_dict(old)
    for _ in instants(lambda: layer(x)):
        now = layer.state_dict()
        matches = [all(np.array_equal(now[key], state[key]) for key in now) for state in (old, new)]
        assert sum(matches) == 1
        seen.add(matches.index(True))
        layer.load_state_dict(old)
    assert seen == {0, 1}


def test_an_interrupt_at_any_instant_of_loading_weights_leaves_all_old_or_all_new():
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    states = [layer.state_dict(), other.state_dict()]
    seen = set()
    for _ in instants(lambda: layer.load_state_dict(states[1])):
        now = layer.state_dict()
        matches = [all(np.array_equal(now[key], state[key]) for key in now) for state in states]
        assert sum(matches) == 1
        seen.add(matches.index(True))
        layer.load_state_dict(states[0])
    assert seen == {0, 1}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_after_an_interrupt_at_any_instant_of_a_step_the_optimizer_can_be_saved_and_goes_on(momentum):
    params = [draw(3), draw(2)]
    optimizer = nn.SGD(params, lr=0.1, momentum=momentum)
    for p in params:
        p.grad = tg.ones(*p.shape)
    for _ in instants(optimizer.step):
        nn.SGD(params, lr=0.1, momentum=momentum).load_state_dict(optimizer.state_dict())
    optimizer.step()


def test_an_interrupt_at_any_instant_of_an_assignment_leaves_a_module_that_works():
    layers, nets = [nn.Linear(2, 2), nn.Linear(2, 2)], []

    def assign():
        nets.append(nn.Sequential())
        nets[-1].first = layers[0]
        nets[-1].first = layers[1]

    for _ in instants(assign):
        for net in nets[-1:]:
            assert len(net.state_dict()) in (0, 2)
            assert all(m is net or m in layers for m in net.modules())


@pytest.mark.parametrize("operation", [
    lambda: with_block(tg.no_grad()), lambda: with_block(tg.scope("inside")),
    lambda: tg.grad(lambda x: (x * x).sum())(np.ones(2, np.float32))])
def test_an_interrupt_of_a_block_leaves_the_state_as_before_but_when_its_exit_begins(operation):
    """Python looks for signals when a function begins that is written in Python, `__exit__` too."""
    stuck = seen = 0
    for _ in instants(operation):
        seen += 1
        if state.current() != state.State():
            stuck += 1
            state.enter(state.State())
    assert stuck <= 2 and seen > 5  # a gradient has two blocks


def with_block(block):
    with block:
        abs(1)


def test_an_interrupt_at_any_instant_of_a_change_leaves_the_memory_watched_and_then_settled():
    x = draw(3)
    for _ in instants(lambda: x.mutate().fill(1.0)):
        (x * x).sum().backward()
        x.grad = None
        view = x.mutate()
        y = (x * x).sum()
        view[0] += 1
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()
        del view
        assert not x.memory.unsettled


# ----- a signal handler that runs ops, at any instant -----

@pytest.mark.parametrize("name", ["conv2d", "matmul", "depthwise"])
def test_a_handler_that_runs_an_op_at_any_instant_gets_right_numbers_and_disturbs_none(name):
    other = tg.ones(*X.shape) + X.detach()
    wanted, of_handler = KERNELS[name]().numpy(), tg.conv2d(other, W).numpy()
    before, seen = blas_threads(), []

    def handler(*_):
        seen.append(np.array_equal(tg.conv2d(other, W).numpy(), of_handler))
    for n in range(0, 100_000, 3):
        with at(n, handler) as reached:
            y = KERNELS[name]()
        assert np.array_equal(y.numpy(), wanted) and blas_threads() == before
        if not reached:
            break
    assert len(seen) > 20 and all(seen)


def test_a_handler_that_runs_a_backward_at_any_instant_of_another_loses_no_gradient():
    """In a context of its own: the one that was interrupted may record nothing just now."""
    x = draw(3)
    for n in range(100_000):
        x.grad = None
        with at(n, lambda *_: Context().run(lambda: (x * 1.0).sum().backward())) as reached:
            (x * 1.0).sum().backward()
        assert x.grad.tolist() == [2.0 if reached else 1.0] * 3
        if not reached:
            return


def test_of_a_graph_that_a_handler_uses_at_any_instant_of_a_backward_one_is_told():
    """Also with ops of several outputs; whoever comes second is told that the graph was used."""
    for n in range(100_000):
        w = tg.ones(2, 3, requires_grad=True)
        y, told = tg.layer_norm(w * 1.5, 3).sum(), []

        def pull(*signal, y=y, told=told):
            try:
                y.backward()
            except RuntimeError as e:
                told.append(str(e))

        with at(n, pull) as reached:
            pull()
        assert len(told) <= 1 and all("already used by a backward()" in text for text in told)
        if not reached:
            break
    assert n > 200


def test_a_handler_that_trains_a_norm_at_any_instant_of_another_loses_no_statistics():
    layer, x = nn.BatchNorm2d(2), draw(2, 2, 2, 2)
    start = layer.state_dict()
    states = []
    for _ in range(2):
        layer(x)
        states.append(layer.state_dict())
    for n in range(100_000):
        layer.load_state_dict(start)
        with at(n, lambda *_: layer(x).shape) as reached:
            layer(x)
        for key, value in states[bool(reached)].items():
            np.testing.assert_array_equal(layer.state_dict()[key], value)
        if not reached:
            return


def test_memory_that_a_handler_begins_to_change_at_any_instant_is_watched():
    """As another thread might: the view is written to after the call, which then has to notice."""
    for n in range(100_000):
        x, views = draw(3), []
        (x * x).sum().backward()
        with at(n, lambda *_: views.append(x.mutate())) as reached:
            y = (x * x).sum()
        for view in views:
            view[0] += 1
            with pytest.raises(RuntimeError, match="changed in place"):
                y.backward()
        if not reached:
            return


def test_a_call_that_a_handler_records_at_any_instant_of_a_change_is_told():
    for n in range(100_000):
        x, ys = draw(3), []
        (x * x).sum().backward()
        with at(n, lambda *_: ys.append((x * x).sum())) as reached:
            x_view = x.mutate()
        x_view[0] += 1
        for y in ys:
            with pytest.raises(RuntimeError, match="changed in place"):
                y.backward()
        if not reached:
            return


class Blas:
    n = 4

    def get_num_threads(self):
        return self.n

    def set_num_threads(self, n):
        self.n = n


@pytest.mark.parametrize("raises", [False, True])
def test_two_blas_libraries_have_their_threads_back_whatever_comes_at_any_instant(monkeypatch, raises):
    """A handler's whole call, and then an interrupt or not."""
    libraries, seen = [Blas(), Blas()], []
    monkeypatch.setattr(parallel._team, "blas", libraries)

    def look(lo, hi):
        seen.append([library.n for library in libraries])

    def handler(*_):
        parallel.split(1, False, look)
        if raises:
            raise KeyboardInterrupt
    for n in range(100_000):
        reached = [n]  # if the first instant is before the block
        with suppress(KeyboardInterrupt), at(n, handler) as found:
            reached = found
            parallel.split(1, False, look)
        assert [library.n for library in libraries] == [4, 4] and not parallel._team.inside
        if not reached:
            break
    assert n > 20 and seen.count([1, 1]) == len(seen)


# ----- real signals, in a process of its own that has to end -----

INTERRUPTED = """
import random, signal, sys, time
import numpy as np
import tinygrad_conv as tg
from tinygrad_conv.kernels import parallel

tg.set_num_threads(2)
rng = np.random.default_rng(0)
x, w, m = (tg.tensor(rng.standard_normal(s, np.float32), requires_grad=True)
           for s in ((8, 3, 64, 64), (4, 3, 3, 3), (256, 256)))
KERNELS = [lambda: tg.conv2d(x, w), lambda: tg.matmul(m, m), lambda: tg.max_pool2d(x, 2)]
wanted = [k().numpy() for k in KERNELS]
before = [b.get_num_threads() for b in parallel._team.blas]
seconds, count, chance = float(sys.argv[1]), 0, random.Random(0)
end = time.monotonic() + seconds
while time.monotonic() < end:
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 4e-3))
            for i in range(10**6):
                KERNELS[i % 3]()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        count += 1
    assert [b.get_num_threads() for b in parallel._team.blas] == before
    assert tg.is_recording()
for k, numbers in zip(KERNELS, wanted):
    assert np.array_equal(k().numpy(), numbers)
print(count)
"""


def hammered(seconds):
    code = INTERRUPTED.replace("tg.set_num_threads(2)", "tg.set_num_threads(2)\n"
                               "signal.signal(signal.SIGALRM, signal.default_int_handler)", 1)
    out = subprocess.run([sys.executable, "-c", code, str(seconds)], capture_output=True, text=True,
                         timeout=seconds + 60)
    assert out.returncode == 0 and not out.stderr, out.stderr
    return int(out.stdout)


def test_a_process_that_is_interrupted_hundreds_of_times_computes_on_and_ends():
    assert hammered(3) > 100


@pytest.mark.slow
def test_a_process_that_is_interrupted_thousands_of_times_computes_on_and_ends():
    assert hammered(60) > 5000


@pytest.mark.parametrize("where", ["kernel", "worker", "start"])
def test_an_interrupted_process_can_end_at_once(where):
    """Also by a KeyboardInterrupt that nobody catches, and while a part is still under way."""
    code = """
import _thread, signal, sys, threading, time
import numpy as np
import tinygrad_conv as tg
from tinygrad_conv.kernels import parallel
tg.set_num_threads(2)
main = threading.main_thread()
signal.signal(signal.SIGALRM, signal.default_int_handler)
def work(lo, hi):
    here = threading.get_ident() == main.ident
    if sys.argv[1] == "start" or here == (sys.argv[1] == "kernel"):
        signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(0.3)
try:
    parallel.split(2, True, work)
except KeyboardInterrupt:
    print("interrupted")
"""
    out = subprocess.run([sys.executable, "-c", code, where], capture_output=True, text=True, timeout=60)
    assert (out.returncode, out.stdout, out.stderr) == (0, "interrupted\n", "")
