"""Forward mode: jvp and linearize of every primitive, and of functions, against VJPs, differences and PyTorch."""
from __future__ import annotations

import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.op_table.row import Row
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


@every_row
def test_the_tangent_of_every_op_has_a_derivative(row, rng):
    """JVPs of their own are differentiated like the derived ones: the gradient of <g, J v> both ways."""
    for args, params in list(each_sample(row))[:3]:
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
