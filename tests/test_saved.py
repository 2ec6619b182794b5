"""What the tape keeps for the derivative: no values that none needs; and gradients are handed over, not copied."""
from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.test_op_table import ROWS, each_sample, floats
from tinygrad_conv.draw import measure
from tinygrad_conv.primitive import SMALL, Freed
from tinygrad_conv.tape import revive, walk

SAVING = [row for row in ROWS if row.order and (row.primitive.unsaved or not row.primitive.saves_ans)]
MANY = 4 * SMALL


def leaf(*shape):
    return tg.tensor(np.random.default_rng(0).standard_normal(shape), requires_grad=True)


@pytest.fixture
def dropped_always(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygrad_conv.primitive"], "SMALL", -1)


@pytest.mark.parametrize("row", SAVING, ids=[row.name for row in SAVING])
def test_derivatives_need_no_values_but_those_that_are_saved(row, dropped_always):
    """Between ops that drop all they may, a row's gradients stay what they are, to its order."""
    for args, params in each_sample(row):
        if floats(args):
            def f(*tensors, _params=params):
                y = row.primitive(*[t * 1.0 if t.dtype.kind == "f" else t for t in tensors], **_params)
                return tuple(t + 0.0 for t in (y if isinstance(y, tuple) else (y,)) if t.dtype.kind == "f")
            entries = max(np.size(a) for a in args)
            tg.check_grads(f, args, order=row.order, atol=1e-9 * max(10, entries ** 0.5))


def test_this_file_tests_what_drops():
    names = {row.name for row in SAVING}
    assert {"conv2d", "relu", "add", "normalize", "sum", "linear", "log_softmax", "avg_pool2d"} <= names


def test_a_value_that_no_derivative_needs_is_released_at_once():
    x, w = leaf(4, 3, 32, 32), leaf(8, 3, 3, 3)
    y = tg.conv2d(x, w, padding=1)
    array = weakref.ref(y._data if y._data.base is None else y._data.base)
    z = tg.relu(y)
    del y
    assert array() is None
    z.sum().backward()
    x2, w2 = (tg.tensor(t.data, requires_grad=True) for t in (x, w))
    y = tg.conv2d(x2, w2, padding=1)
    tg.relu(y).sum().backward()  # while y is held
    assert x.grad.data.tolist() == x2.grad.data.tolist() and w.grad.data.tolist() == w2.grad.data.tolist()


def test_a_value_that_its_maker_needs_stays():
    x = leaf(MANY)
    y = tg.exp(x) + 1.0  # the derivative of exp is its result
    assert not isinstance(y.node.inputs[0], Freed)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, np.exp(x.data))


def test_memory_of_a_net_is_that_of_the_values_that_its_derivative_needs():
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    x = tg.ones(4, 3, 32, 32)
    net(x)  # kernels are made
    gc.collect()
    tracemalloc.start()
    try:
        y = net(x)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert y.data.nbytes * 1.9 < kept < y.data.nbytes * 2.3  # what batch norm read, and what relu made


def chain():
    x = leaf(MANY)
    y = tg.tanh(x)
    z = (y * 2.0 - 1.0) + y  # nothing needs y * 2 - 1, nor y * 2
    return x, y, z


def test_readers_of_values_get_them_all():
    x, y, z = chain()
    outputs = [t for entry in walk([z]) for t in entry.outputs]
    assert any(isinstance(t, Freed) for t in outputs)
    entries = revive([z.sum()])
    values = {entry.node.primitive.name: entry.output.data for entry in entries}
    np.testing.assert_array_equal(values["mul"], y.data * 2.0)
    np.testing.assert_array_equal(values["sub"], y.data * 2.0 - 1.0)
    assert all(isinstance(t, tg.Tensor) for entry in entries for t in (*entry.outputs, *entry.node.inputs))
    z.sum().backward()
    np.testing.assert_allclose(x.grad.data, 3.0 * (1.0 - y.data ** 2))


def test_revived_outputs_of_an_op_that_has_several():
    x = leaf(64, 40)
    y = tg.batch_norm(x, None, None, training=True) * 3.0
    entry = next(e for e in revive([y + 1.0]) if e.node.primitive.name == "normalize")
    assert all(isinstance(t, tg.Tensor) for t in entry.outputs)
    np.testing.assert_allclose(entry.outputs[1].data.reshape(-1), x.data.mean(0))


def test_what_a_backward_has_freed_is_not_revived():
    x, y, z = chain()
    z.sum().backward()
    assert any(isinstance(t, Freed) for entry in revive([z]) for t in entry.node.inputs)


def test_a_picture_times_and_the_search_for_nan_work_beside_dropped_values():
    x, y, z = chain()
    assert all(t["forward"] > 0 for t in measure.times(z.sum()).values())
    x = leaf(MANY)
    with np.errstate(invalid="ignore"):
        found = measure.first_nonfinite([((tg.sqrt(x) * 1.0 + 1.0) * 1.0).sum()])
    assert found.source.node.primitive.name == "sqrt"
    assert "mul" in str(tg.draw(chain()[2].sum(), show="time"))


def test_bytes_kept_are_counted_without_the_dropped():
    x, y, z = chain()
    g = tg.graph(z)
    kept = dict(zip([box.label.split()[0] for box in g.boxes], measure.saved_bytes(g.sources.values())))
    assert kept["tanh"] == y.data.nbytes and kept["mul"] == kept["sub"] == 0


def test_a_vjp_that_reads_what_its_op_did_not_save_is_told():
    @tg.primitive
    def twice(x):
        return x * 2.0
    twice.defvjp(lambda g, ans, x: g * 2.0 + 0.0 * g * x)
    twice.defsaved()
    with pytest.raises(TypeError, match="not kept these values.*defsaved") as e:
        twice(leaf(MANY) - 1.0).sum().backward()
    assert "twice's VJP" in "".join(e.value.__notes__)


def test_names_that_are_saved_are_those_of_arguments():
    with pytest.raises(TypeError, match="twice.defsaved: expects names among ans, x, got"):
        tg.primitive(twice_of_x).defsaved("y")


def twice_of_x(x):
    return x * 2.0


twice_of_x.__name__ = "twice"


# ----- gradients handed over -----

def test_a_gradient_is_handed_over_without_a_copy():
    x, w = leaf(1 << 20), leaf()
    y = x * w
    y.sum().backward()
    x.grad = None
    y = x * w
    tracemalloc.start()
    try:
        y.backward(tg.ones(1 << 20, dtype=np.float64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3.5 * x.data.nbytes  # the cotangent, its product with x, x's gradient; no copy of the last
    x.grad.mutate()[...] = 5.0   # it is nobody else's, and changeable
    assert x.grad.data[0] == 5.0


@pytest.mark.parametrize("case", ["the user's cotangent", "an array of the user's", "kept by a VJP", "seen by a view",
                                  "used by two leaves", "two views of one", "part of a larger one"])
def test_memory_that_anybody_else_holds_is_not_handed_over(case):
    x, z, held = leaf(6), leaf(6), []

    @tg.primitive
    def op(a, b):
        return a + b

    def kept(g, ans, a, b):
        g = g * 1.0
        held.append(g)
        return g

    def seen(g, ans, a, b):
        g = g * 1.0
        held.append(g.detach().numpy()[:2])
        return g

    def users(g, ans, a, b):
        held.append(np.full(6, 2.0))
        return tg.from_numpy(held[-1])

    def part(g, ans, a, b):
        return tg.concat([g * 2.0, g])[:6]
    plain = lambda g, ans, a, b: g
    first = {"kept by a VJP": kept, "seen by a view": seen, "an array of the user's": users,
             "part of a larger one": part}.get(case, plain)
    op.defvjp(first, plain if case != "two views of one" else lambda g, ans, a, b: g[::-1][::-1])
    g = tg.ones(6, dtype=np.float64) * 2.0
    op(x, z).backward(g)
    for t in (g, *held):
        assert not np.shares_memory(np.asarray(t), x.grad.data) and not np.shares_memory(np.asarray(t), z.grad.data)
    assert not np.shares_memory(x.grad.data, z.grad.data)
    before = z.grad.data.tolist(), [np.array(t).tolist() for t in (g, *held)]
    x.grad.mutate()[...] = -1.0
    assert before == (z.grad.data.tolist(), [np.array(t).tolist() for t in (g, *held)])
    assert x.grad.data.nbytes == x.data.nbytes and (x.grad.data.base is None or x.grad.data.base.nbytes == x.data.nbytes)
