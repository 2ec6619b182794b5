"""What a profile sees: every op and derivative once, with its costs, scope and family, and nothing afterwards."""
from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.draw import profiling
from tinygrad_conv.draw.annotate import annotate
from tinygrad_conv.kernels import table
from tinygrad_conv.primitive import Primitive

CALL, VJPS = Primitive.__call__, Primitive.vjps_for


@pytest.fixture(autouse=True)
def _nothing_left():
    yield
    assert Primitive.__call__ is CALL and Primitive.vjps_for is VJPS and table.watched is None
    assert not profiling._open and not vars(profiling._mine).get("events")


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5))


def step(model: nn.Module, optimizer: nn.Optimizer | None = None) -> tg.Tensor:
    loss = tg.cross_entropy(model(tg.ones(4, 3, 6, 6)), np.array([0, 1, 2, 3]))
    loss.backward()
    if optimizer is not None:
        optimizer.step()
    return loss


def test_every_op_is_counted_once_with_its_multiply_adds_both_ways():
    model = net()
    with tg.profile() as p:
        step(model)
    rows = {row["op"]: row for row in p.rows()}
    assert {name: row["calls"] for name, row in rows.items() if row["calls"]} == {
        "conv2d": 1, "relu": 1, "reshape": 1, "linear": 1, "log_softmax": 1, "nll": 1}
    conv, linear = 4 * 36 * 8 * 27, 4 * 8 * 36 * 5
    assert rows["conv2d"]["multiply_adds"] == 2 * conv  # of the input no gradient is asked
    assert rows["linear"]["multiply_adds"] == 3 * linear
    assert rows["relu"]["bytes"] == 4 * 4 * 8 * 36 * (2 + 3)
    for row in rows.values():
        assert row["milliseconds"] == row["forward"] + row["backward"] > 0
        assert row["gflops"] == pytest.approx(2e-6 * row["multiply_adds"] / row["milliseconds"])
    assert sum(row["share"] for row in rows.values()) <= 1
    assert [row["milliseconds"] for row in p.rows()] == sorted((row["milliseconds"] for row in rows.values()), reverse=True)


def test_values_graphs_and_gradients_are_the_same():
    model, found = net(), []
    for profiled in (False, True):
        model.zero_grad()
        if profiled:
            with tg.profile():
                loss = step(model)
        else:
            loss = step(model)
        found.append([loss.data, *(p.grad.data for p in model.parameters())])
        assert str(tg.draw(loss)).count("conv2d") == 1
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_a_slow_op_comes_first_and_its_module_too():
    @tg.primitive
    def slow(x):
        time.sleep(0.02)
        return x * 1.0

    @tg.primitive
    def slow_vjp(g):
        time.sleep(0.05)
        return g * 1.0
    slow.defvjp(lambda g, ans, x: slow_vjp(g))
    x = tg.ones(3, requires_grad=True)
    with tg.profile() as p, tg.scope("inner"):
        tg.exp(slow(x)).sum().backward()
    first, module = p.rows()[0], p.rows("scope")[0]
    assert first["op"] == "slow" and first["forward"] >= 20 and first["backward"] >= 50
    assert module["scope"] == "inner" and module["milliseconds"] >= 70
    assert "slow_vjp" not in {row["op"] for row in p.rows()}  # it is part of the derivative of `slow`
    assert "slow_vjp" in {event.name for event in p.events if event.inside}
    assert p.table().splitlines()[1].startswith("slow ")


def test_scopes_are_those_of_the_modules_also_of_derivatives():
    with tg.profile() as p:
        step(net())
    rows = {row["scope"]: row for row in p.rows("scope")}
    assert {"0", "1", "2", "3", "(no module)"} == set(rows)
    assert rows["0"]["backward"] > 0 and rows["0"]["multiply_adds"] == 2 * 4 * 36 * 8 * 27
    with pytest.raises(ValueError, match="by must be 'op' or 'scope', got 'name'"):
        p.rows("name")


def test_the_family_of_kernels_and_the_optimiser_are_seen():
    model = net()
    optimizer = nn.Adam(model.parameters())
    with tg.use_kernels("numpy"), tg.profile() as p:
        step(model, optimizer)
    rows = {row["op"]: row for row in p.rows()}
    assert rows["conv2d"]["families"] == rows["relu"]["families"] == "numpy" and rows["reshape"]["families"] == ""
    assert rows["overwrite"]["calls"] == 1 and rows["overwrite"]["forward"] > 0


def test_a_block_opened_again_adds_up_and_time_between_ops_is_told():
    p = tg.profile()
    x = tg.ones(3)
    for _ in range(3):
        with p:
            tg.exp(x)
            time.sleep(0.01)
        tg.exp(x)  # outside
    assert p.rows()[0]["calls"] == 3 and p.seconds >= 0.03
    last, total = p.table().splitlines()[-2:]
    assert last.startswith("between the ops") and float(last.split()[3]) >= 30
    assert total.startswith("in all") and "100.0%" in total


def test_threads_are_all_seen_each_with_its_own_events():
    def work():
        tg.sin(tg.ones(3))
    with tg.profile() as p:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tg.exp(tg.ones(3))
    assert {row["op"]: row["calls"] for row in p.rows()} == {"sin": 4, "exp": 1}
    assert not any(event.inside for event in p.events)
    assert threading.get_ident() in {event.thread for event in p.events}


def test_profiles_may_be_nested_and_errors_leave_nothing():
    with tg.profile() as outer:
        tg.exp(tg.ones(2))
        with pytest.raises(ValueError, match="conv2d"), tg.profile() as inner:
            tg.conv2d(tg.ones(1, 2, 4, 4), tg.ones(1, 3, 3, 3))
        with tg.profile() as inner:
            tg.sin(tg.ones(2))
    assert {row["op"] for row in inner.rows()} == {"sin"}
    assert {"exp", "sin"} <= {row["op"] for row in outer.rows()}
    bad = tg.primitive(lambda x: np.ones(2) @ np.ones(3))
    with pytest.raises(ValueError), tg.profile():
        bad(tg.ones(2))


def test_a_trace_can_be_read_by_others(tmp_path):
    with tg.profile() as p:
        step(net())
    events = json.loads(p.save(tmp_path / "trace.json").read_text())["traceEvents"]
    assert len(events) == len(p.events)
    for event in events:
        assert event["ph"] == "X" and event["ts"] >= 0 and event["dur"] > 0 and isinstance(event["name"], str)
        assert event["pid"] and event["tid"] and event["cat"] in ("forward", "backward", "kernel")
    conv = next(event for event in events if event["name"] == "conv2d")
    assert conv["args"]["multiply_adds"] == 4 * 36 * 8 * 27 and conv["args"]["scope"] == "0"
    whole = next(event for event in events if event["name"] == "conv2d (derivative)")
    part = next(event for event in events if event["name"].startswith("conv2d_weight"))
    assert whole["ts"] <= part["ts"] and part["ts"] + part["dur"] <= whole["ts"] + whole["dur"] + 1
    assert "conv2d" in p.save(tmp_path / "p.txt").read_text()
    with pytest.raises(ValueError, match=r"ends in .json \(a trace\) or .txt, got 'p.csv'"):
        p.save(tmp_path / "p.csv")


def test_a_drawing_takes_the_times_of_a_profile_also_after_backward():
    with tg.profile() as p:
        loss = step(net())
    figures = tg.draw(loss, show=[p.time, "flops"]).whole
    text = str(tg.draw(loss, show=p.time))
    conv = next(line for line in text.splitlines() if "conv2d" in line)
    own = next(row for row in p.rows() if row["op"] == "conv2d")
    assert f"{own['forward']:.2g} + {own['backward']:.2g} ms" in conv and "not known" not in text
    assert any("flops" in own for own in figures.figures.values())
    assert "ms" not in str(tg.draw(tg.exp(tg.ones(2, requires_grad=True)), show=p.time)).split("note")[0]


def test_a_notebook_shows_the_table():
    with tg.profile() as p:
        tg.exp(tg.ones(2))
    assert p._repr_html_().startswith("<pre>") and "exp" in p._repr_html_() and repr(p) == str(p) == p.table()


def test_a_profile_that_saw_nothing_of_what_is_drawn_says_so_and_a_profile_is_its_times():
    w = tg.ones(3, requires_grad=True)
    other = (w * 2.0).sum()
    with tg.profile() as p:
        loss = (w * w).sum()
    assert any("has seen none of these calls" in text for _, text in tg.draw(other, show=p.time).graph.legend)
    assert " ms" in str(tg.draw(loss, show=p)) and str(tg.draw(loss, show=p)) == str(tg.draw(loss, show=(p,)))
    with pytest.raises(TypeError, match="save: .*path"):
        p.save(5)


def test_kernels_that_are_made_within_a_profile_are_told():
    with tg.profile() as p:
        (tg.ones(3, requires_grad=True) * 2.0).sum()
    assert "kernels" not in p.table().splitlines()[-1]
    with tg.profile() as p:
        table.making.append(0.25)
    assert "to make 1 kernels, or read them from disk, took 250.0 ms" in p.table().splitlines()[-1]


def test_time_counts_a_backward_that_is_drawn_once():
    x = tg.ones(3, requires_grad=True)
    y = (x * x).sum()
    y.backward(create_graph=True)
    whole, alone = tg.graph(x.grad, y), tg.graph(y)
    figures = annotate(whole, "time").figures
    assert all(own["backward"] == 0.0 for own in figures.values()) and len(figures) > 3
    assert any(own["backward"] > 0.0 for own in annotate(alone, "time").figures.values())


def test_a_profile_is_open_once_and_one_that_nobody_holds_is_closed():
    with tg.profile() as p:
        with pytest.raises(RuntimeError, match="profile: this one is open already"):
            p.__enter__()
        tg.ones(3) * 2.0
        assert "0.000 ms" not in p.table().splitlines()[-1] and p.rows()[0]["share"] > 0
    with pytest.raises(RuntimeError, match="profile: this block was left that was not entered"):
        p.__exit__(None, None, None)
    first = p.events[-1].start
    with p:
        tg.ones(3) * 2.0
    assert p.events[-1].start > first
    tg.profile().__enter__()  # an interrupt kept it from being closed
    tg.ones(3) * 2.0
    assert not profiling._open and table.watched is None


def test_a_cost_that_fails_does_not_fail_the_op():
    @tg.primitive
    def own(x):
        return x * 2.0
    own.defcost(lambda ans, x: 1 / 0)
    with tg.profile() as p:
        own(tg.ones(3))
    assert p.rows()[0]["multiply_adds"] == 0
