"""Measurements on a live tape: they agree with autodiff, and they change nothing."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.draw import measure

LINE = "test_measure.py"


def leaf(*values):
    return tg.tensor(values, dtype=np.float64, requires_grad=True)


def network_loss():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.Tanh(), nn.Flatten(), nn.Linear(72, 3, rng=rng))
    x = tg.tensor(rng.standard_normal((2, 1, 8, 8)).astype(np.float32))
    return net, tg.cross_entropy(net(x), np.array([0, 1]))


def test_cotangents_are_the_gradients_by_the_results():
    x = leaf(0.3, -0.7)
    h = tg.exp(x)
    y = tg.sum(h * h * 3.0)
    found = measure.cotangents(y)
    assert np.allclose(found[h.node.order, 0].data, 6 * h.data)
    assert found[y.node.order, 0].item() == 1.0


def test_cotangents_of_several_ends_add_up():
    x = leaf(0.3, -0.7)
    h = tg.exp(x)
    a, b = h * 2.0, h * 5.0
    assert measure.cotangents(a, b)[h.node.order, 0].data.tolist() == [7.0, 7.0]


def test_cotangents_of_a_call_with_two_outputs():
    @tg.primitive
    def both(x):
        return x * 2.0, x * 3.0
    both.defvjp(lambda g, ans, x: g[0] * 2.0 + g[1] * 3.0)
    x = leaf(1.0)
    a, b = both(tg.exp(x))
    found = measure.cotangents(tg.sum(a * 10.0 + b * 100.0))
    order = a.node.order
    assert found[order, 0].data.tolist() == [10.0] and found[order, 1].data.tolist() == [100.0]


def test_measuring_changes_no_gradient_frees_nothing_and_records_nothing():
    net, loss = network_loss()
    before = len(tg.tape(loss))
    measure.cotangents(loss)
    measure.times(loss, repeats=1)
    assert all(p.grad is None for p in net.parameters())
    assert len(tg.tape(loss)) == before and tg.is_recording()
    loss.backward()
    first = [p.grad.data.copy() for p in net.parameters()]
    net, loss = network_loss()
    loss.backward()
    assert all(np.array_equal(a, p.grad.data) for a, p in zip(first, net.parameters()))


@pytest.mark.filterwarnings("error")
def test_measuring_does_not_warn_a_second_time():
    x = leaf(0.0)
    with np.errstate(divide="ignore"):
        y = tg.log(x)
    assert len(measure.times(y, repeats=1)) == len(measure.cotangents(y)) == 1


def test_times_tell_the_slow_call_forward_and_backward(monkeypatch):
    now = [0.0]

    def clock():  # a clock of its own: a busy machine stops any call for as long as it likes
        now[0] += 0.001
        return now[0]
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=clock))

    @tg.primitive
    def slow(x):
        now[0] += 2.0
        return x * 1.0
    slow.defvjp(lambda g, ans, x: slow(g))
    y = tg.sum(slow(tg.exp(leaf(1.0, 2.0))))
    measured = {e.node.primitive.name: measure.times(y)[e.node.order] for e in tg.tape(y)}
    for name, expected in (("exp", 1.0), ("slow", 2001.0)):  # milliseconds
        assert [*measured[name].values()] == pytest.approx([expected] * 2)


def test_times_of_a_call_that_no_gradient_reaches_are_forward_only():
    x = leaf(2.0, 3.0)
    y = tg.sum(tg.where(tg.greater(x, 0.0), x, 0.0))
    assert all(t["forward"] > 0 for t in measure.times(y).values())


@pytest.mark.parametrize("read", [measure.cotangents, measure.times, measure.first_nonfinite_gradient,
                                  lambda y: measure.first_nonfinite([y])])
def test_a_tape_that_was_used_says_how_to_keep_it(read):
    _, loss = network_loss()
    loss.backward(retain_graph=True)
    read(loss)
    loss.backward()
    with pytest.raises(RuntimeError, match=r"values freed by backward\(\); draw before it, or backward\("
                                           r"retain_graph=True\)"):
        read(loss)


def test_values_changed_since_are_refused():
    x, w = leaf(1.0, 2.0), leaf(1.0, 2.0)
    y = tg.sum(tg.exp(x) * w)
    w.mutate()[0] = 5.0
    with pytest.raises(RuntimeError, match="was changed in place"):
        measure.cotangents(y)


def test_the_first_nan_is_found_with_its_line():
    x = leaf(1.0, -1.0)
    h = tg.exp(x) - 1.0
    with np.errstate(invalid="ignore"):
        bad = tg.log(h)
        y = tg.sum(tg.exp(bad) * bad)
    found = measure.first_nonfinite([y])
    assert found.source.node is bad.node and found.kind == "nan"
    file, line = found.where
    assert file.endswith(LINE) and "bad = tg.log(h)" in Path(file).read_text(encoding="utf-8").splitlines()[line - 1]


def test_an_infinity_and_a_bad_leaf_are_found():
    big = leaf(1e200)
    with np.errstate(over="ignore"):
        assert measure.first_nonfinite([big * big]).kind == "inf"
    bad = tg.tensor([np.nan, 1.0])
    found = measure.first_nonfinite([tg.sum(leaf(1.0, 2.0) * bad)])
    assert found.source is bad and found.kind == "nan"


def test_all_finite_finds_nothing():
    _, loss = network_loss()
    assert measure.first_nonfinite([loss]) is None
    assert measure.first_nonfinite_gradient(loss) is None


def test_the_first_infinite_gradient_is_found_where_its_derivative_was_recorded():
    x = leaf(0.0, 4.0)
    h = x * 1.0
    root = tg.sqrt(h)
    y = tg.sum(root * 2.0)
    assert measure.first_nonfinite([y]) is None
    found = measure.first_nonfinite_gradient(y)
    assert found.source.node is root.node and found.kind == "inf" and found.where[0].endswith(LINE)


def test_a_deep_tape_is_measured_without_recursion():
    y = leaf(1.0)
    for _ in range(3000):
        y = y * 1.0
    assert len(measure.cotangents(y)) == 3000
    assert measure.first_nonfinite([y]) is None
