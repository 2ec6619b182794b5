"""Arrays changed by a rule, entry by entry: both families, every rule of nn, whatever lies where."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.families import FAMILIES
from tinygrad_conv.kernels import table

SIZES = [(), (0,), (1,), (7,), (15,), (16,), (17,), (3, 5, 2), (4096,), (4097,), (100, 101)]


@pytest.fixture(params=FAMILIES)
def family(request):
    with tg.use_kernels(request.param):
        yield request.param


def test_a_rule_that_has_no_value_for_ones_gives_no_warning_of_them(family):
    """How many arrays it writes is found by a trial, of which the user knows nothing."""
    p = np.full(3, 4.0)
    with np.errstate(all="raise"):
        tg.overwrite(lambda p, a: (1.0 / (p - a) + (p - 2.0 * a) ** 0.5,), [(p,)], (2.0,))
    assert p.tolist() == [0.5, 0.5, 0.5]


def everything(p, v, g, a, b):
    """Each operation, with arrays and numbers on both sides."""
    return 2.0 * p - v / 4 + -g * a + (1.5 - p) / (3 + v ** 2) + (g * g + 1) ** 0.5 - 1 / (b + v * v), p + v ** -1 * 0.1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_rule_is_applied_to_every_entry(rng, family, kind):
    rows = [[rng.uniform(0.5, 2, size).astype(kind) for _ in range(3)] for size in SIZES]
    before = [[a.copy() for a in row] for row in rows]
    with tg.use_kernels(family):
        tg.overwrite(everything, rows, (0.25, 2.0))
    for row, (p, v, g) in zip(rows, before):
        for found, right in zip(row, everything(p.astype(np.float64), v.astype(np.float64), g.astype(np.float64), 0.25, 2.0)):
            assert found.dtype == kind
            np.testing.assert_allclose(found, right, rtol=20 * np.finfo(kind).eps, atol=20 * np.finfo(kind).eps)
        assert (row[2] == g).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_may_have_gaps_and_what_is_read_may_lie_anyhow(rng, family):
    wide, g = rng.standard_normal((40, 300)), rng.standard_normal((200, 40))
    right, rest = wide.copy()[:, ::2][:, :100] - 0.5 * g.T[:, ::2], wide[:, 1::2].copy()
    with tg.use_kernels(family):
        tg.overwrite(lambda p, g, lr: (p - lr * g,), [(wide[:, ::2][:, :100], g.T[:, ::2])], (0.5,))
        shifted = np.frombuffer(bytearray(b"0" + right.tobytes()), np.float64, offset=1).reshape(right.shape)
        tg.overwrite(lambda p, g: (p + g,), [(shifted, right)])
    np.testing.assert_allclose(wide[:, ::2][:, :100], right, rtol=1e-15)
    np.testing.assert_allclose(shifted, 2 * right, rtol=1e-15)
    assert (wide[:, 1::2] == rest).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_numbers_do_not_widen_and_nan_and_inf_are_numpys(family):
    p, g = np.ones(20, np.float32), np.array([np.nan, np.inf, -np.inf, 0.0] * 5, np.float32)
    with tg.use_kernels(family), np.errstate(all="ignore"):
        tg.overwrite(lambda p, g, lr: (p - lr * g,), [(p, g)], (np.float64(0.5),))
        assert p.dtype == np.float32
        np.testing.assert_array_equal(p, np.float32(1) - np.float32(0.5) * g)
        tg.overwrite(lambda p, g: (g / g + p,), [(q := np.ones(20, np.float32), g)])
        np.testing.assert_array_equal(q, g / g + np.float32(1))


def test_wrong_rows_and_rules_are_refused_and_nothing_is_changed():
    p, g = np.ones(3), np.ones(3)

    def descend(p, g):
        return (p - g,)
    with pytest.raises(ValueError, match=r"overwrite: rows must be of one length, 2, .* of one shape, got \(3,\), \(2,\)"):
        tg.overwrite(descend, [(p, g), (p, np.ones(2))])
    with pytest.raises(ValueError, match="rows must be of one length, 2, .* got "):
        tg.overwrite(descend, [(p, g), (p,)])
    with pytest.raises(TypeError, match="the rule must return a tuple, .* first of its 2 arrays, got ndarray"):
        tg.overwrite(lambda p, g: p - g, [(p, g)])
    with pytest.raises(TypeError, match="got 3"):
        tg.overwrite(lambda p, g: (p, g, g), [(p, g)])
    with pytest.raises(TypeError):
        tg.overwrite(descend, [(p, g)], (0.5,))
    assert (p == 1).all()
    tg.overwrite(descend, [])


def test_half_precision_is_left_to_numpy():
    p = np.ones(5000, np.float16)
    tg.overwrite(lambda p, g: (p - g,), [(p, p.copy())])
    assert p.dtype == np.float16 and (p == 0).all()


@pytest.mark.parametrize("rule", [lambda p, g: (p ** 3 - g,), lambda p, g: (np.maximum(p, g),), lambda p, g: (1.0,),
                                  lambda p, g: (abs(p - g),), lambda p, g: ((p > g) * 1.0,)])
def test_what_no_kernel_does_is_left_to_numpy(rule):
    p, g = np.linspace(-2.0, 2.0, 5000), np.ones(5000)
    expected = np.broadcast_to(rule(p, g)[0], p.shape).copy()
    for family in FAMILIES:
        with tg.use_kernels(family):
            tg.overwrite(rule, [(q := p.copy(), g)])
        np.testing.assert_array_equal(q, expected)


def test_a_rule_that_changes_meanwhile_is_computed_as_it_is(family):
    settings, rate = {"lr": 1.0}, 1.0

    def by_dictionary(p, g):
        return (p - settings["lr"] * g,)

    def by_variable(p, g):
        return (p - rate * g,)

    class Scaled(nn.Optimizer):
        scale = 1.0

        def rule(self, group):
            return self.descend

        def numbers(self, t, group):
            return ()

        def descend(self, p, g):
            return (p - self.scale * g,)
    for rule in (by_dictionary, by_variable):
        settings["lr"] = rate = 1.0
        p, g = np.zeros(5000), np.ones(5000)
        tg.overwrite(rule, [(p, g)])
        settings["lr"] = rate = 0.5
        tg.overwrite(rule, [(p, g)])
        assert p[0] == p[-1] == -1.5
    p = nn.Parameter(np.zeros(5000))
    optimizer = Scaled([p], {"lr": 1.0})
    for Scaled.scale in (1.0, 0.5):
        p.grad = tg.ones(5000, dtype=np.float64)
        optimizer.step()
    assert p.data[0] == -1.5


def test_arrays_of_any_order_are_all_written(family):
    def moving(p, v, g):
        v = 0.5 * v + g
        return p - v, v
    for size in (3, 300):
        p, v, g = np.zeros((size, size)), np.zeros((size, size), order="F"), np.ones((size, size))
        for _ in range(2):
            tg.overwrite(moving, [(p, v, g)])
        assert (p == -2.5).all() and (v == 1.5).all()


@pytest.mark.parametrize("size", [3, 5000])
def test_a_rule_may_return_what_it_was_given(family, size):
    a, b, g = np.arange(float(size)), np.zeros(size), np.ones(size)
    tg.overwrite(lambda p, v, g: (p - g, p), [(a, b, g)])          # the old p is kept
    assert (b == np.arange(size)).all() and (a == b - 1).all()
    tg.overwrite(lambda p, v: (v, p), [(a, b)])                    # exchanged
    assert (a == np.arange(size)).all() and (b == a - 1).all()


@pytest.mark.parametrize("size", [3, 5000])
def test_what_may_not_be_written_is_not_written(family, size):
    def rule(p, g):
        return (p - g,)
    for make in (lambda: np.frombuffer(bytes(8 * size)), lambda: np.broadcast_to(np.zeros(1), size),
                 lambda: (tg.ones(size, requires_grad=True) * 2.0).data):
        array = make()
        with pytest.raises(ValueError, match="overwrite: array 0 of a row, .* is read-only; p.mutate"):
            tg.overwrite(rule, [(array, np.ones(size))])
    a = np.zeros(size + 1)
    for rows in ([(a, np.ones(size + 1)), (a[:], np.ones(size + 1))], [(a[1:], np.ones(size)), (a[:-1], np.ones(size))]):
        with pytest.raises(ValueError, match="overwrite: two of the arrays that are to be written share memory"):
            tg.overwrite(rule, rows)
    assert (a == 0).all()


def test_what_is_read_is_read_before_anything_is_written(family):
    a = np.arange(200_001.0)
    expected = a[1:] - a[:-1]
    tg.overwrite(lambda p, g: (p - g,), [(a[1:], a[:-1])])
    assert (a[1:] == expected).all()
    p, q = (nn.Parameter(np.ones(400_000)) for _ in range(2))
    for _ in range(5):
        p.mutate()[...], q.mutate()[...] = 1.0, 1.0
        p.grad, q.grad = tg.ones(400_000, dtype=np.float64), p.detach()
        nn.SGD([p, q], lr=1.0).step()
        assert (p.data == 0).all() and (q.data == 0).all()


@pytest.mark.parametrize("wrong", [[(tg.ones(3), np.ones(3))], [([1.0], [2.0])], [(np.ones(3, int), np.ones(3))], [(1.0, 2.0)]])
def test_rows_hold_arrays_of_floats(wrong):
    with pytest.raises(TypeError, match="overwrite: expects NumPy arrays of floats, got .*p.mutate"):
        tg.overwrite(lambda p, g: (p - g,), wrong)
    with pytest.raises(ValueError, match="rows must be of one length"):
        tg.overwrite(lambda p, g: (p - g,), [()])
    with pytest.raises(ValueError, match="overwrite: the rule must work entry by entry, got a value of shape"):
        tg.overwrite(lambda p, g: (p.sum(),), [(np.ones(3), np.ones(3))])


def test_a_step_that_fails_is_no_step():
    p, locked = nn.Parameter([1.0, 1.0]), np.ones(2, np.float32)
    locked.flags.writeable = False
    q = tg.from_numpy(locked).requires_grad_()
    optimizer = nn.Adam([{"params": [p]}, {"params": [q]}], lr=0.1)
    for _ in range(3):
        p.grad = q.grad = tg.ones(2)
        with pytest.raises(RuntimeError):
            optimizer.step()
    assert p.data.tolist() == [1.0, 1.0]
    q.grad = None
    optimizer.step()
    np.testing.assert_allclose(p.data, 0.9, rtol=1e-6)             # the first step of Adam moves by lr
    for wrong in (np.array([1, 2j]), np.array(["a", "b"])):
        p.grad = wrong
        with pytest.raises(TypeError, match="Adam: the gradient of parameter 0, .*must be of real numbers"):
            optimizer.step()


OPTIMIZERS = [
    lambda p: nn.SGD(p, lr=0.1), lambda p: nn.SGD(p, lr=0.1, weight_decay=0.1),
    lambda p: nn.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.1),
    lambda p: nn.SGD(p, lr=0.1, momentum=0.9, nesterov=True), lambda p: nn.Adam(p), lambda p: nn.Adam(p, weight_decay=0.1),
    lambda p: nn.AdamW(p), lambda p: nn.Adagrad(p, lr_decay=0.1, weight_decay=0.1),
    lambda p: nn.RMSprop(p), lambda p: nn.RMSprop(p, centered=True, momentum=0.9, weight_decay=0.1)]


@pytest.mark.skipif("compiled" not in FAMILIES, reason="needs LLVM")
@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_both_families_take_the_same_steps(rng, make, kind):
    """Also with parameters that have no gradient in some of them, so that their counts differ."""
    start = [rng.standard_normal(size).astype(kind) for size in SIZES]
    grads = [[rng.standard_normal(size).astype(kind) for size in SIZES] for _ in range(20)]
    found = []
    for family in ("compiled", "numpy"):
        params = [nn.Parameter(a) for a in start]
        optimizer = make(params)
        with tg.use_kernels(family):
            for step, row in enumerate(grads):
                for k, (p, g) in enumerate(zip(params, row)):
                    p.grad = tg.tensor(g) if step % 3 or k % 2 else None
                optimizer.step()
        found.append([p.data.copy() for p in params] + [s for state in optimizer.state.values() for s in state.values()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=200 * np.finfo(kind).eps, atol=200 * np.finfo(kind).eps)


@pytest.mark.skipif("compiled" not in FAMILIES, reason="needs LLVM")
def test_all_parameters_are_changed_in_one_call(monkeypatch):
    calls = []
    kernel = table.kernels["overwrite"][0]
    assert kernel.family == "compiled"
    monkeypatch.setitem(table.kernels, "overwrite", [kernel._replace(
        function=lambda *call: (calls.append(call), kernel.function(*call))[1]), *table.kernels["overwrite"][1:]])
    net = nn.Sequential(nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 80))
    optimizer = nn.Adam(net.parameters())
    for _ in range(3):
        net(tg.ones(2, 80)).sum().backward()
        optimizer.step()
    assert [len(call[1]) for call in calls] == [4, 4, 4] and len({call[0] for call in calls}) == 1  # nothing made anew


PROTECTED = """
import sys
from tests import test_compiled as cases
exec(cases.PROTECTED[:cases.PROTECTED.index("rng = ")])
from tinygrad_conv.kernels.compiled import overwrite
from tests.test_overwrite import everything

rng = np.random.default_rng(int(sys.argv[1]))
for _ in range(40):
    kind, at_end = rng.choice([np.float32, np.float64]), bool(rng.integers(2))
    rows = []
    for _ in range(4):
        row = [fenced(size, kind, at_end) for size in [int(rng.choice([1, 3, 16, 33, 4096, 5000]))] for _ in range(3)]
        for a in row:
            a[...] = rng.uniform(1, 2, a.shape)
        rows.append(row)
    overwrite.overwrite(everything, rows, [1.0, 2.0], 2)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux" or "compiled" not in FAMILIES, reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_a_compiled_rule_stays_inside_its_arrays(seed):
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
