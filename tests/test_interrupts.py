"""An interrupt, or a signal handler that runs ops, at every instant at which Python lets one in.

`at(n, ...)` keeps a signal pending all the time: its handler, in C alone, is called wherever Python looks for
signals, and counts; at the n-th instant it raises, or calls the handler to be tested.
"""
from __future__ import annotations

import signal
from _thread import interrupt_main
from contextlib import contextmanager
from functools import partial
from itertools import chain, count, islice, repeat
from operator import is_

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv import state
from tinygrad_conv.kernels import parallel


@contextmanager
def at(n, action, *args):
    """`action(*args)` at the n-th instant of the block; yields a list that is then no longer empty."""
    reached = []
    again = map(is_, map(interrupt_main, repeat(signal.SIGINT)), repeat(None))
    first = map(is_, map(reached.append, repeat(True, 1)), repeat(None))  # zip: both or none
    then = map(lambda _: True, ()) if action is None else map(action, *[repeat(a, 1) for a in args])
    steps = chain(islice(again, 2 * n), first, then, repeat(True))
    # min(signal, frame, key=...) asks for the next step twice
    before = signal.signal(signal.SIGINT, partial(min, key=partial(next, steps)))
    try:
        interrupt_main()
        yield reached
    finally:
        signal.signal(signal.SIGINT, partial(max, key=id))  # what is still pending goes nowhere
        for _ in range(2):
            pass
        signal.signal(signal.SIGINT, before)


def instants(operation, most=100_000):
    """Run `operation` again and again, each time interrupted one instant later, until it comes to its end."""
    for n in range(most):
        done = False
        try:
            with at(n, signal.default_int_handler, signal.SIGINT, None) as reached:
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
    """Whatever happens in a test: BLAS, the recording state, locks and workers are as they were."""
    tg.set_num_threads(2)
    parallel.split(1, False, lambda lo, hi: None)
    before = blas_threads()
    yield
    team = parallel._team
    assert blas_threads() == before and team.before is None and not team.inside
    assert team.lock.acquire(False)
    team.lock.release()
    assert tg.is_recording() and tg.exp(tg.ones(1, requires_grad=True)).node.scope == ()
    assert parallel.split(8, True, lambda lo, hi: (lo, hi)) == [(0, 4), (4, 8)]


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
    for n in range(3):
        params = [draw(3), draw(2)]
        optimizer = nn.SGD(params, lr=0.1, momentum=momentum)
        for p in params:
            p.grad = tg.ones(*p.shape)
        for _ in instants(optimizer.step):
            nn.SGD(params, lr=0.1, momentum=momentum).load_state_dict(optimizer.state_dict())
        optimizer.step()


@pytest.mark.parametrize("operation", [
    lambda: with_block(tg.no_grad()), lambda: with_block(tg.scope("inside")),
    lambda: tg.grad(lambda x: (x * x).sum())(np.ones(2, np.float32))])
def test_an_interrupt_of_a_block_leaves_the_state_as_before_but_when_its_exit_begins(operation):
    """Python looks for signals when a function begins that is written in Python, `__exit__` too."""
    stuck = 0
    for n in instants(operation):
        if state.current() != state.State():
            stuck += 1
            state.enter(state.State())
    assert stuck <= 2 and n > 5  # a gradient has two blocks


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
