"""Forward mode: jvp and linearize of every primitive, and of functions, against VJPs, differences and PyTorch."""
from __future__ import annotations

import functools
import gc
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.op_table.row import Row
from tests.plant_errors import without_some
from tests.test_op_table import ROWS, as_tuple, each_sample, floats

DIFFERENTIABLE = [row for row in ROWS if row.order]
every_row = pytest.mark.parametrize("row", DIFFERENTIABLE, ids=lambda row: row.name)


def direction(shape, rng):
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.0, shape)


def of_floats(row: Row, args: tuple, params: dict):
    """The op as a function of its floating point arguments; its floating point outputs, in a tuple."""
    own = floats(args)

    def f(*values):
        given = dict(zip(own, values))
        outputs = as_tuple(row.primitive(*[given.get(i, a) for i, a in enumerate(args)], **params))
        return tuple(y for y in outputs if y.dtype.kind == "f")
    return f, [args[i] for i in own]


def check_tangents(row: Row, rng) -> None:
    """<g, J v> = <Jᵀ g, v> for each argument on its own, and for all at once."""
    for args, params in each_sample(row):
        f, values = of_floats(row, args, params)
        if not values:
            continue
        y, pullback = tg.vjp(f, *values)
        g = [direction(t.shape, rng) for t in y]
        back = [t.data for t in pullback(*g)]
        vs = [direction(np.shape(a), rng) for a in values]
        for chosen in [[i] for i in range(len(values))] + [list(range(len(values)))]:
            tangents = [v if i in chosen else None for i, v in enumerate(vs)]
            value, tangent = tg.jvp(f, values, tangents)
            assert [t.shape for t in tangent] == [t.shape for t in value] == [t.shape for t in y]
            assert {t.dtype for t in tangent} == {np.dtype(np.float64)}
            by_jvp = sum(np.vdot(a, t.data) for a, t in zip(g, tangent))
            by_vjp = sum(np.vdot(back[i], vs[i]) for i in chosen)
            scale = sum(np.abs(back[i] * vs[i]).sum() for i in chosen)
            assert abs(by_jvp - by_vjp) <= 1e-10 * scale + 1e-12, f"J v of {row.name}: {by_jvp} by its JVP, {by_vjp} by its VJP"


@every_row
def test_the_tangent_of_every_op_is_adjoint_to_its_gradient(row, rng):
    check_tangents(row, rng)


def check_derivatives_of_tangents(row: Row, rng) -> None:
    """The gradient of <g, J v>, which is that of <Jᵀ g, v>."""
    for args, params in each_sample(row):
        f, values = of_floats(row, args, params)
        vs = [direction(np.shape(a), rng) for a in values]
        g = [direction(t.shape, rng) for t in f(*values)]
        if not values:
            continue

        def by_jvp(*x):
            return sum((tg.tensor(a) * t).sum() for a, t in zip(g, tg.jvp(f, x, vs)[1]))

        def by_vjp(*x):
            return sum((tg.tensor(v) * t).sum() for v, t in zip(vs, tg.vjp(f, *x)[1](*g)))
        every = tuple(range(len(values)))
        for a, b in zip(tg.grad(by_jvp, every)(*values), tg.grad(by_vjp, every)(*values)):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-8, atol=1e-10)


@every_row
def test_the_tangent_of_every_op_has_a_derivative(row, rng):
    check_derivatives_of_tangents(row, rng)


def times(jvp, t, ans, *xs, **params):
    return on_parts(lambda part: part * 1.001, jvp(t, ans, *xs, **params))


def some_dropped(jvp, t, ans, *xs, **params):
    return on_parts(without_some, jvp(t, ans, *xs, **params))


def constants(jvp, t, ans, *xs, **params):
    """Wrong in the second derivative only."""
    detached = [x.detach() if isinstance(x, tg.Tensor) else x for x in (*as_tuple(ans), *xs)]
    count = len(as_tuple(ans))
    return jvp(t, tuple(detached[:count]) if isinstance(ans, tuple) else detached[0], *detached[count:], **params)


def on_parts(f, t):
    return tuple(part if part is None else f(part) for part in t) if isinstance(t, tuple) else f(t)


PLANTS = [(row, i, error) for row in DIFFERENTIABLE for i, jvp in enumerate(row.primitive.jvps) if jvp
          for error in (times, some_dropped, constants)]


@pytest.mark.parametrize("row, argnum, error", PLANTS, ids=[f"{row.name}-{i}-{e.__name__}" for row, i, e in PLANTS])
def test_an_error_planted_in_a_jvp_is_noticed(row, argnum, error, rng, monkeypatch):
    """Unless the tangents are as they would be: of a step function, of a JVP that does not look at values."""
    def measured():
        f_and_values = [of_floats(row, args, params) for args, params in each_sample(row)]
        waves = [[np.cos(np.arange(np.size(a))).reshape(np.shape(a)) for a in values] for _, values in f_and_values]
        once = lambda f, v: lambda *x: tg.jvp(f, x, v)[1]
        return [t.data for (f, values), v in zip(f_and_values, waves) for t in (
            *tg.jvp(f, values, v)[1], *(tg.jvp(once(f, v), values, v)[1] if error is constants else ()))]
    right, jvps = measured(), row.primitive.jvps
    wrong = functools.partial(error, jvps[argnum])
    monkeypatch.setattr(row.primitive, "jvps", (*jvps[:argnum], wrong, *jvps[argnum + 1:]))
    if all(np.array_equal(a, b) for a, b in zip(right, measured())):
        return
    with pytest.raises(AssertionError, match="J v of|Not equal to tolerance"):
        (check_derivatives_of_tangents if error is constants else check_tangents)(row, rng)


@every_row
def test_a_jvp_reads_only_what_the_tape_keeps(row, rng, monkeypatch):
    for args, params in list(each_sample(row))[:2]:
        f, values = of_floats(row, args, params)
        if not values:
            continue
        vs = [direction(np.shape(a), rng) for a in values]
        expected = tg.jvp(f, values, vs)[1]
        with monkeypatch.context() as m:
            m.setattr(sys.modules["tinygrad_conv.primitive"], "SMALL", -1)  # drop all that may be dropped
            dropped = tg.jvp(lambda *x: [y * 1.0 for y in f(*[t * 1.0 for t in x])], values, vs)[1]
        for a, b in zip(dropped, expected):
            np.testing.assert_array_equal(a.data, b.data)


# ----- JVPs that an op registers -----

def told(e):
    return "\n".join([str(e.value), *getattr(e.value, "__notes__", [])])


def scaled(*jvps):
    """x w by: linear in x and w, with the VJPs that belong to it and the JVPs given."""
    @tg.primitive
    def scaled(x, w, *, by=2.0):
        return x * w * by
    scaled.defvjp(lambda g, ans, x, w, *, by: g * w * by, lambda g, ans, x, w, *, by: g * x * by)
    scaled.defjvp(*jvps)
    return scaled


X, W = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])


@pytest.mark.parametrize("jvps", [(), ("same",), (None, "same"), ("same", "same"),
                                  (lambda t, ans, x, w, *, by: t * w * by, lambda t, ans, x, w, *, by: ans * t / w)])
def test_a_jvp_is_given_derived_or_the_op_itself(jvps):
    op = scaled(*jvps)
    value, tangent = tg.jvp(op, (X, W), (np.ones(3), np.array([1.0, 0.0, 0.0])))
    np.testing.assert_allclose(value.data, 2 * X * W)
    np.testing.assert_allclose(tangent.data, 2 * W + [2.0, 0.0, 0.0])
    second = tg.jvp(lambda x: tg.jvp(lambda x: op(x, x), (x,), (np.ones(3),))[1], (X,), (np.ones(3),))[1]
    np.testing.assert_allclose(second.data, 4.0)
    np.testing.assert_allclose(tg.grad(lambda w: tg.jvp(lambda x: op(x, w, by=3.0), (X,), (X,))[1].sum())(W).data, 3 * X)


def test_a_jvp_that_is_given_is_used_and_only_where_needed():
    ran = []
    op = scaled(lambda t, ans, x, w, *, by: (ran.append("x"), t * w * by)[1],
                lambda t, ans, x, w, *, by: (ran.append("w"), t * x * by)[1])
    tg.jvp(op, (X, W), (X, None))
    assert ran == ["x"]
    tg.jvp(lambda x: op(tg.tensor(X), W) * x, (X,), (X,))
    assert ran == ["x"]


def test_defjvp_wants_functions():
    for jvps in ((3,), ("linear",), (None, None, None)):
        with pytest.raises(TypeError, match="scaled.defjvp: expects one function"):
            scaled(*jvps)


@pytest.mark.parametrize("returned, error, text", [
    (lambda t: None, TypeError, "the JVP for argument 0 returned NoneType"),
    (lambda t: t.data, TypeError, "returned ndarray; a tangent is a floating point tensor"),
    (lambda t: tg.tensor([1, 2, 3]), TypeError, "returned int64"),
    (lambda t: tg.ones(7), ValueError, r"returned shape \(7,\) for an output of shape \(3,\)"),
    (lambda t: 1 / 0, ZeroDivisionError, "division")])
def test_a_jvp_that_returns_the_wrong_thing_is_named(returned, error, text):
    op = scaled(lambda t, ans, x, w, *, by: returned(t))
    with pytest.raises(error, match=text) as e:
        tg.jvp(op, (X, W), (X, None))
    assert "in the tangent of scaled by its arguments [0]; a JVP is called as jvp(t, ans, *inputs, **params), here " \
           "with params {'by': 2.0}; scaled was called in " in told(e)
    assert tg.jvp(scaled(), (X, W), (X, None))[1].shape == (3,)  # no state is left behind


def test_a_tangent_is_broadcast_and_cast_to_its_output():
    op = scaled(lambda t, ans, x, w, *, by: tg.tensor(np.float32(3.0)))
    tangent = tg.jvp(op, (X, W), (X, None))[1]
    assert tangent.dtype == np.float64 and tangent.data.tolist() == [3.0] * 3


def several(jvp=None):
    """x -> (x², argmax, x + 1): with a JVP, or without."""
    @tg.primitive
    def several(x):
        return x * x, np.array(x.argmax()), x + 1
    several.defvjp(lambda g, ans, x: g[0] * 2.0 * x + g[2])
    if jvp:
        several.defjvp(jvp)
    return several


@pytest.mark.parametrize("jvp", [None, lambda t, ans, x: (2.0 * t * x, None, t)])
def test_an_op_with_several_outputs(jvp):
    op = several(jvp)
    value, tangent = tg.jvp(op, (X,), (W,))
    assert [t.data.tolist() for t in tangent] == [[8.0, 20.0, 36.0], 0, [4.0, 5.0, 6.0]]
    assert [t.dtype.kind for t in tangent] == ["f", "i", "f"]
    assert tg.jvp(lambda x: op(x)[2], (X,), (W,))[1].data.tolist() == [4.0, 5.0, 6.0]
    twice = tg.jvp(lambda x: tg.jvp(op, (x,), (W,))[1][0], (X,), (W,))[1]
    assert twice.data.tolist() == [32.0, 50.0, 72.0]


@pytest.mark.parametrize("jvp", [lambda t, ans, x: t, lambda t, ans, x: (t, t)])
def test_a_jvp_of_several_outputs_returns_a_tuple_of_them(jvp):
    with pytest.raises(TypeError, match="several: the JVP for argument 0 must return a tuple of 3 tangents"):
        tg.jvp(several(jvp), (X,), (W,))


def test_an_op_without_a_vjp_has_no_tangent_either():
    @tg.primitive
    def opaque(x):
        return x * 1
    with pytest.raises(NotImplementedError, match="opaque has no VJP for argument 0"):
        tg.jvp(opaque, (X,), (X,))
    opaque.defjvp("same")
    assert tg.jvp(opaque, (X,), (W,))[1].data.tolist() == W.tolist()


# ----- the pass -----

def test_tangents_of_float32_are_float32_and_mixed_dtypes_meet():
    x, w = tg.ones(3), tg.tensor(W)
    value, tangent = tg.jvp(lambda x: tg.sin(x) * 2.0, (x,), (np.ones(3),))
    assert value.dtype == tangent.dtype == np.float32
    assert tg.jvp(lambda x: x * w, (x,), (x,))[1].dtype == np.float64


def test_nothing_is_recorded_unless_something_outside_could_differentiate():
    x, leaf = tg.tensor(X), tg.tensor(W, requires_grad=True)
    value, tangent = tg.jvp(lambda x: x * x, (x,), (x,))
    assert not value.requires_grad and not tangent.requires_grad
    value, tangent = tg.jvp(lambda x: x * leaf, (x,), (x,))
    assert value.requires_grad and tangent.requires_grad
    tangent.sum().backward()
    assert leaf.grad.data.tolist() == X.tolist()
    with tg.no_grad():
        assert not any(t.requires_grad for t in tg.jvp(lambda x: x * leaf, (x,), (x,)))
    tangent = tg.jvp(lambda x: x * x, (x,), (leaf,))[1]  # by the tangent
    tangent.sum().backward()
    assert leaf.grad.data.tolist() == (3 * X).tolist()


def test_results_are_nobody_elses_memory():
    v = tg.tensor(W)
    value, tangent = tg.jvp(lambda x: x, (X,), (v,))
    assert tangent is not v and not np.shares_memory(tangent.data, v.data)
    tangent.mutate()[...] = 0
    assert v.data.tolist() == W.tolist()
    a, b = tg.jvp(lambda x: (x, x), (X,), (v,))[1]
    assert not np.shares_memory(a.data, b.data)


def test_linearize_notices_what_has_changed_since():
    w = tg.tensor(W)
    value, pushforward = tg.linearize(lambda x: tg.exp(x * w), X)
    first = pushforward(X).data.copy()
    assert pushforward(2 * X).data.tolist() == (2 * first).tolist()
    assert pushforward(None).data.tolist() == [0.0] * 3
    w.mutate()[...] = 0
    with pytest.raises(RuntimeError, match="was changed in place"):
        pushforward(X)


def test_perturbations_of_nested_derivatives_are_not_confused():
    inner = lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1]
    assert tg.jvp(inner, (5.0,), (1.0,))[1].item() == 1.0
    assert tg.jvp(lambda x: tg.jvp(lambda y: x * y * y, (x,), (1.0,))[1], (3.0,), (1.0,))[1].item() == 12.0
    assert tg.jvp(lambda x: tg.grad(lambda y: x * y)(x), (3.0,), (1.0,))[1].item() == 1.0
    assert tg.grad(lambda x: tg.jvp(lambda y: x, (x,), (1.0,))[1] + x)(3.0).item() == 1.0


def test_a_long_chain_needs_no_recursion_and_is_freed_by_reference_counting():
    def f(x):
        for _ in range(20_000):
            x = x + 1e-5
        return x
    gc.collect()
    gc.disable()
    try:
        x = tg.tensor(X)
        value, pushforward = tg.linearize(f, x)
        assert pushforward(W).data.tolist() == W.tolist()
        before = len(gc.get_objects())
        del value, pushforward
        assert len(gc.get_objects()) < before - 20_000
        tg.jvp(f, (x,), (x,)), tg.jacobian(f, mode="forward")(tg.ones(2)), tg.hvp(lambda x: f(x * x).sum(), (x,), (x,))
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_calls_of_the_pass_carry_a_scope_when_they_are_recorded():
    leaf = tg.tensor(W, requires_grad=True)

    def f(x):
        with tg.scope("net"):
            return tg.conv2d(x.reshape(1, 1, 1, 3), leaf.reshape(1, 1, 1, 3)).sum()
    tangent = tg.jvp(f, (X,), (X,))[1]
    assert ("forward", "net") in {entry.node.scope for entry in tg.tape(tangent)}
