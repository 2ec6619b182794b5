"""backward, grad and vjp: seeds, accumulation, aliasing, several outputs, any order, errors."""
from __future__ import annotations

import functools
import numpy as np
import pytest

import tinygrad_conv as tg


def leaf(*values, dtype=np.float64):
    return tg.tensor(np.array(values, dtype), requires_grad=True)


def boom_once():
    """An identity whose VJP fails the first time it is called."""
    calls = []

    @tg.primitive
    def boom(x):
        return x * 1
    def vjp(g, ans, x):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("first time")
        return g * 1.0
    boom.defvjp(vjp)
    return boom


# ----- backward -----

def test_backward_needs_a_gradient_beyond_one_value():
    y = leaf(1.0, 2.0) * 2.0
    with pytest.raises(RuntimeError, match=r"only implied for a single value.*\(2,\).*gradient="):
        y.backward()
    with pytest.raises(ValueError, match=r"gradient has shape \(3,\), the tensor \(2,\)"):
        y.backward(gradient=np.ones(3))


def test_backward_with_a_gradient():
    x = leaf(1.0, 2.0)
    (x * x).backward(gradient=np.array([1.0, 10.0]))
    assert x.grad.data.tolist() == [2.0, 40.0]


def test_backward_of_one_value_in_any_shape_and_of_a_leaf():
    x = tg.tensor(np.array([[3.0]]), requires_grad=True)
    (x * x).backward()
    assert x.grad.data.tolist() == [[6.0]]
    x.grad = None
    x.backward()
    assert x.grad.data.tolist() == [[1.0]]


def test_backward_of_something_unrecorded_says_why():
    with pytest.raises(RuntimeError, match="does not require a gradient.*requires_grad=True"):
        (tg.tensor(np.ones(1)) * 2.0).backward()
    with tg.no_grad():
        y = leaf(1.0) * 2.0
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        y.backward()


def test_gradients_accumulate_over_backwards_and_paths():
    x, w = leaf(2.0), leaf(5.0)
    (x * w + x * x).backward()
    assert (x.grad.item(), w.grad.item()) == (9.0, 2.0)
    (x * 3.0).backward()
    assert x.grad.item() == 12.0


def test_only_leaves_that_ask_get_a_gradient():
    x, c = leaf(2.0), tg.tensor(np.array([5.0]))
    y = x * c
    (y * y).backward()
    assert c.grad is None and y.grad is None and x.grad.item() == 100.0


def test_second_backward_raises_with_advice():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="already used by a backward.*retain_graph=True"):
        y.backward()
    assert x.grad.data.tolist() == [2.0, 4.0]


def test_second_backward_with_retain_graph_accumulates():
    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.data.tolist() == [4.0, 8.0]
    with pytest.raises(RuntimeError, match="already used"):
        y.backward()


def test_two_losses_on_one_trunk():
    x = leaf(2.0)
    trunk = x * x
    a, b = trunk * 2.0, trunk * 3.0
    a.backward(retain_graph=True)
    b.backward()
    assert x.grad.item() == 20.0
    c, d = (x * x) * 2.0, None
    c.backward()
    assert d is None and x.grad.item() == 28.0


def test_the_trunk_of_a_used_graph_cannot_be_used_silently():
    x = leaf(2.0)
    trunk = x * x
    (trunk * 2.0).backward()
    with pytest.raises(RuntimeError, match="already used"):
        (trunk * 3.0).backward()
    assert x.grad.item() == 8.0


def test_grad_beside_a_used_graph_is_no_error():
    x, w = leaf(2.0), leaf(3.0)
    hidden = x * x
    (hidden * 2.0).backward()
    assert tg.grad(lambda t: (t * t * hidden).sum())(w).item() == 24.0


def test_the_dtype_of_a_gradient_is_the_dtype_of_its_leaf():
    x32, x64 = leaf(2.0, dtype=np.float32), leaf(3.0)
    (x32 * x64).backward()
    assert x32.grad.dtype == np.float32 and x64.grad.dtype == np.float64
    assert (x32.grad.item(), x64.grad.item()) == (3.0, 2.0)


def test_integers_on_the_way_get_no_gradient():
    x = leaf(2.0, 3.0)
    k = tg.tensor(np.array([4, 5]))
    (x * k).sum().backward()
    assert x.grad.data.tolist() == [4.0, 5.0] and k.grad is None


# ----- what a failing backward leaves behind: nothing -----

def test_a_failing_vjp_leaves_grad_flag_and_graph_as_they_were():
    x, w = leaf(2.0), leaf(3.0)
    w.grad = tg.tensor(np.array([100.0]))
    y = boom_once()(x * w) * w
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert x.grad is None and w.grad.item() == 100.0
    assert (x * 1.0).requires_grad
    y.backward()                                             # the graph is still whole
    assert (x.grad.item(), w.grad.item()) == (9.0, 112.0)


def test_a_failing_grad_leaves_the_outer_differentiation_alone():
    boom = boom_once()

    def f(x):
        with pytest.raises(ZeroDivisionError):
            tg.grad(lambda u: boom(u).sum())(x)
        return (x * x).sum()
    assert tg.grad(f)(leaf(3.0)).item() == 6.0
    assert not (tg.tensor(np.ones(1)) * 1.0).requires_grad


def test_a_failing_function_inside_grad_restores_the_flag():
    x = leaf(1.0)
    with tg.no_grad():
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                tg.grad(lambda t: 1 / 0)(x)
        assert not (x * 1.0).requires_grad


@pytest.mark.parametrize("returned, error, text", [
    (lambda g: np.ones(2), TypeError, "wrong: the VJP for argument 0 must return a tensor, got nd"),
    (lambda g: 1.0, TypeError, "must return a tensor, got float"),
    (lambda g: tg.tensor(np.ones(3)), ValueError, r"returned shape \(3,\) for an input of shape"),
    (lambda g: tg.tensor(np.ones(())), ValueError, r"returned shape \(\) for an input of shape"),
    (lambda g: tg.tensor(np.ones((1,))), ValueError, r"returned shape \(1,\) for an input of s"),
])
def test_a_vjp_that_returns_the_wrong_thing_is_named(returned, error, text):
    @tg.primitive
    def wrong(x):
        return x * 2
    wrong.defvjp(lambda g, ans, x: returned(g))
    x = leaf(1.0, 2.0)
    with pytest.raises(error, match=text):
        wrong(x).sum().backward()
    assert x.grad is None


def test_a_vjp_that_writes_into_the_cotangent_is_stopped():
    """`x + y` gives one cotangent to both: what one VJP writes would reach the other."""
    @tg.primitive
    def scaled(x):
        return x * 2
    def vjp(g, ans, x):
        g.data[...] *= 2
        return g
    scaled.defvjp(vjp)
    x, y, g = leaf(1.0, 2.0), leaf(3.0, 4.0), tg.tensor(np.ones(2))
    with pytest.raises(ValueError, match="read-only"):
        (scaled(x) + y).backward(g)
    with pytest.raises(ValueError, match="read-only"):
        scaled(x).backward(g)
    assert x.grad is None and y.grad is None
    g.data[0] = 5.0                                           # the user's own stays writeable
    assert g.data.tolist() == [5.0, 1.0]


def test_a_leaf_changed_while_backward_runs_is_noticed():
    w, x = leaf(1.0, 2.0), leaf(1.0, 1.0)

    @tg.primitive
    def passed(x):
        return x * 1
    def vjp(g, ans, x):
        w.mutate()[:] = 100.0
        return g
    passed.defvjp(vjp)
    with pytest.raises(RuntimeError, match="argument 0 of mul, .* was changed in place"):
        passed(w * x).sum().backward()
    assert x.grad is None and w.grad is None


def test_an_array_parameter_changed_before_backward_does_no_harm():
    @tg.primitive
    def scaled(x, *, factors):
        return x * factors
    scaled.defvjp(lambda g, ans, x, *, factors: g * factors)
    x, factors = leaf(1.0, 2.0), np.array([3.0, 4.0])
    y = scaled(x, factors=factors)
    factors[:] = 0.0
    y.sum().backward()
    assert x.grad.data.tolist() == [3.0, 4.0]


def test_a_tensor_given_by_name_gets_its_gradient():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    tg.mul(x, y=w).sum().backward()
    tg.mul(y=w, x=x.detach()).sum().backward()
    assert x.grad.data.tolist() == [3.0, 4.0] and w.grad.data.tolist() == [2.0, 4.0]
    tg.mul(x=2.0, y=w).sum().backward()
    assert w.grad.data.tolist() == [4.0, 6.0]

    @tg.primitive
    def total(x, axis=0):                                     # metadata that is not keyword-only
        return x.sum(axis)
    assert total(np.ones((2, 3)), axis=1).data.tolist() == [3.0, 3.0]


def test_the_default_of_a_keyword_reaches_vjps_cost_and_label():
    @tg.primitive
    def powered(x, *, power=2):
        return x ** power
    powered.defvjp(lambda g, ans, x, *, power: g * power * x ** (power - 1))
    powered.defcost(lambda out, x, *, power: power * x[0])
    powered.deflabel(lambda x, *, power: f"to the {power}")
    y = powered(leaf(1.0, 2.0))
    assert "powered to the 2" in str(tg.draw(y)) and tg.graph(y).boxes[-1].label == "powered to the 2"
    tg.check_grads(powered, (np.array([1.0, 2.0]),), order=2)


def test_an_error_in_a_vjp_has_a_note_that_names_the_op():
    @tg.primitive
    def same(x):
        return x * 1
    same.defvjp(lambda g: g)
    y = same(leaf(1.0))
    with pytest.raises(TypeError) as e:
        y.backward()
    assert e.value.__notes__ == [
        "in same's VJP for argument 0 (x), called as vjp(g, ans, *inputs, **params) with 1 inputs and params {}; "
        f"same was called in {__file__}, line {y.node.where[1]}"]


def test_a_grad_set_to_a_list_is_added_to_like_an_array():
    x = leaf(1.0, 2.0)
    x.grad = [1, 2]
    x.sum().backward()
    assert x.grad.numpy().tolist() == [2.0, 3.0]
    x.grad = [1, 2, 3]
    with pytest.raises(ValueError, match=r"was set to shape \(3,\)"):
        x.sum().backward()


def test_a_function_without_a_name_makes_an_op():
    total = tg.primitive(functools.partial(np.sum, axis=0))
    assert repr(total) == "<primitive op>" and total(np.ones((2, 3))).data.tolist() == [2, 2, 2]


def test_shapes_that_an_op_does_not_broadcast_are_left_to_numpy():
    @tg.primitive
    def contracted(x, y):
        return (x + y).sum()
    with pytest.raises(ValueError, match=r"contracted: operands could not be broadcast .*float32\[2, 5\]"):
        contracted(tg.ones(2, 5), tg.ones(4, 3))


def test_a_parameter_given_by_position_is_told_to_go_by_keyword():
    @tg.primitive
    def summed(x, axis=0):
        return x.sum(axis=axis)
    with pytest.raises(TypeError, match="summed: .*arrays are positional, all else goes by keyword"):
        summed(tg.ones(2, 5), 0)


def test_a_tensor_as_a_parameter_is_refused():
    @tg.primitive
    def scaled(x, *, factor):
        return x * factor
    with pytest.raises(TypeError, match=r"scaled: parameter 'factor' is a tensor.*positional: scaled\(x\)"):
        scaled(leaf(1.0), factor=leaf(2.0))
    for several in ((leaf(2.0),), [leaf(2.0)]):
        with pytest.raises(TypeError, match="scaled: parameter 'factor' .* holds one, whose gradient would be lost"):
            scaled(1.0, factor=several)
    with pytest.raises(TypeError, match="mul: parameter 'x' is a tensor"):
        tg.mul(leaf(1.0), leaf(2.0), x=leaf(3.0))


@pytest.mark.parametrize("made", [None, "text", 1j, np.array([1j]), [[1.0], [1.0, 2.0]], (1.0, None)])
def test_an_op_that_returns_no_real_numbers_is_named_and_leaves_its_inputs_usable(made):
    @tg.primitive
    def odd(x):
        return made
    x = leaf(1.0)
    for t in (x, x.detach()):
        with pytest.raises((TypeError, ValueError), match="^odd: "):
            odd(t)
    x.data[0] = 2.0
    assert x.data[0] == 2.0


def test_an_op_without_arrays_makes_a_constant():
    @tg.primitive
    def counted(*, n):
        return np.arange(float(n))
    assert counted(n=2).data.tolist() == [0.0, 1.0] and not counted(n=2).requires_grad


def test_defvjp_wants_functions():
    @tg.primitive
    def twice(x):
        return x * 2
    with pytest.raises(TypeError, match="twice.defvjp: expects one function .* got list"):
        twice.defvjp([lambda g, ans, x: g])


def test_a_grad_of_another_shape_is_refused_not_broadcast():
    x = leaf(1.0, 2.0)
    x.grad = tg.zeros(3, 2)
    with pytest.raises(ValueError, match=r"\.grad of a leaf of shape \(2,\) was set to shape \(3, 2\)"):
        (x * x).sum().backward()


def test_an_op_without_a_vjp_fails_only_where_it_is_needed():
    @tg.primitive
    def half_known(x, y):
        return x * y
    half_known.defvjp(lambda g, ans, x, y: g * y)
    x, y = leaf(2.0), leaf(3.0)
    half_known(x, y.detach()).backward()
    assert x.grad.item() == 3.0
    with pytest.raises(NotImplementedError, match=r"half_known has no VJP for argument 1 \('y'\); "
                                                  r"register one with half_known.defvjp"):
        half_known(x, y).backward()
    assert x.grad.item() == 3.0


def test_a_ufunc_as_a_primitive():
    sine = tg.primitive(np.sin)
    with pytest.raises(NotImplementedError, match="sin has no VJP for argument 0"):
        sine(leaf(1.0)).backward()
    sine.defvjp(lambda g, ans, x: g * tg.cos(x))
    tg.check_grads(sine, (np.array([0.3, 1.0]),))


def test_a_none_row_means_no_gradient():
    @tg.primitive
    def gate(x, where):
        return x * where
    gate.defvjp(lambda g, ans, x, where: g * where, None)
    x, where = leaf(2.0), leaf(3.0)
    gate(x, where).backward()
    assert x.grad.item() == 3.0 and where.grad is None
    assert tg.grad(lambda a, b: gate(a, b).sum(), (0, 1))(x, where)[1].item() == 0.0


def test_vjps_that_are_not_needed_never_run():
    ran = []

    @tg.primitive
    def noted(x, y):
        return x * y
    noted.defvjp(lambda g, ans, x, y: (ran.append("x"), g * y)[1],
                 lambda g, ans, x, y: (ran.append("y"), g * x)[1])
    x, y = leaf(2.0), leaf(3.0)
    noted(x.detach(), y).backward()
    assert ran == ["y"]
    ran.clear()
    tg.grad(lambda a: noted(a, y * 1.0).sum())(x)
    assert ran == ["x"]


# ----- gradients belong to their leaf alone -----

OPS = {"x+x": lambda x, z: x + x, "x+z": lambda x, z: x + z, "sum": lambda x, z: x * 1.0,
       "reshape": lambda x, z: tg.reshape(x, (2, 1)), "identity": lambda x, z: tg.identity(x),
       "broadcast": lambda x, z: tg.broadcast_to(x, (3, 2)), "leaf": lambda x, z: x}


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("name", OPS)
def test_gradients_share_no_memory(name, create_graph):
    x, z = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = OPS[name](x, z)
    seed = tg.tensor(np.full(y.shape, 5.0))
    y.backward(gradient=seed, create_graph=create_graph)
    gradients = [t.grad for t in (x, z) if t.grad is not None]
    expected = [g.data.copy() for g in gradients]
    seed.mutate()[...] = -1.0
    for t in (x, z, y):
        if t.is_leaf:
            t.mutate()[...] = -2.0
    for g, value in zip(gradients, expected):
        assert np.array_equal(g.data, value)
    if not create_graph and len(gradients) == 2:
        gradients[0].mutate()[...] = -3.0
        assert np.array_equal(gradients[1].data, expected[1])


def test_an_accumulated_gradient_leaves_the_earlier_one_alone():
    x = leaf(1.0)
    (x * 2.0).backward()
    first = x.grad
    (x * 3.0).backward()
    assert first.item() == 2.0 and x.grad.item() == 5.0


def test_the_results_of_a_pullback_share_no_memory():
    x = tg.tensor(np.array([1.0, 2.0]))
    _, pullback = tg.vjp(lambda a, b: a + b, x, x)
    seed = tg.tensor(np.array([1.0, 1.0]))
    a, b = pullback(seed)
    seed.mutate()[...] = 7.0
    a.mutate()[...] = 8.0
    assert b.data.tolist() == [1.0, 1.0]


def test_a_gradient_that_requires_a_gradient_stays_connected():
    """d x.grad / d seed is 1, also where the VJP hands the seed through untouched."""
    x, seed = leaf(2.0), leaf(3.0)
    tg.identity(x).backward(gradient=seed, create_graph=True)
    (x.grad * x.grad).backward()
    assert seed.grad.item() == 6.0


# ----- create_graph and higher orders -----

def test_create_graph_then_backward():
    x = leaf(2.0)
    (x * x * x).backward(create_graph=True)
    first = x.grad
    assert first.item() == 12.0 and first.requires_grad
    x.grad = None
    first.backward()
    assert x.grad.item() == 12.0


def test_create_graph_accumulates_into_a_graph():
    x = leaf(2.0)
    (x * x).backward(create_graph=True)
    (x * x * x).backward(create_graph=True)
    total = x.grad
    x.grad = None
    total.backward()
    assert total.item() == 16.0 and x.grad.item() == 2.0 + 12.0


def test_a_gradient_penalty():
    x, w = leaf(1.0, 2.0), leaf(3.0, -1.0)
    gx = tg.grad(lambda t: (t * t * w).sum())(x)             # 2 x w
    (gx * gx).sum().backward()                               # 4 x^2 w^2
    assert w.grad.data.tolist() == [8.0 * 3.0, 8.0 * 4.0 * -1.0]


@pytest.mark.parametrize("n, expected", [(1, 80.0), (2, 160.0), (3, 240.0), (4, 240.0), (5, 120.0),
                                         (6, 0.0)])
def test_grad_nests_to_any_order(n, expected):
    f = lambda x: x * x * x * x * x
    for _ in range(n):
        f = tg.grad(f)
    assert f(tg.tensor(2.0)).item() == expected


def test_nested_grad_of_an_inner_function_of_the_outer_variable():
    """Perturbation confusion: d/dx (x * d/dy (x + y)) is 1, not 2."""
    inner = lambda x: x * tg.grad(lambda y: x + y)(tg.tensor(1.0))
    assert tg.grad(inner)(tg.tensor(5.0)).item() == 1.0


def test_nested_grad_at_the_same_point():
    """The inner variable equals the outer one in value, not in identity, and is evaluated at it."""
    assert tg.grad(lambda x: x * tg.grad(lambda y: x * y)(x))(tg.tensor(3.0)).item() == 6.0
    assert tg.grad(lambda x: tg.grad(lambda y: x * y * y)(x))(tg.tensor(3.0)).item() == 12.0
    assert tg.grad(lambda x: tg.grad(lambda y: x)(x) + x)(tg.tensor(3.0)).item() == 1.0


def test_nested_grad_that_ignores_the_outer_variable():
    assert tg.grad(lambda x: tg.grad(lambda y: y * y)(tg.tensor(3.0)))(tg.tensor(1.0)).item() == 0.0


def test_nested_grad_over_a_closed_over_leaf():
    w = leaf(3.0)
    g = tg.grad(lambda x: tg.grad(lambda y: (y * y * x * w).sum())(x).sum())(leaf(2.0))
    assert g.item() == 4.0 * 2.0 * 3.0                       # d/dx 2 x x w
    g.sum().backward()
    assert w.grad.item() == 8.0


def test_backward_inside_grad():
    """An inner backward() fills .grad of the leaf it was meant for and nothing of the outer."""
    w = leaf(3.0)

    def f(x):
        (w * w).backward()
        return x * w.grad.detach()
    assert tg.grad(f)(tg.tensor(np.array([1.0]))).item() == 6.0
    assert w.grad.item() == 6.0


def test_mixed_partials_commute(rng):
    f = lambda x, y: (tg.exp(x * y) * x).sum()
    x, y = tg.tensor(rng.random(3)), tg.tensor(rng.random(3))
    xy = tg.grad(lambda b: tg.grad(f, 0)(x, b).sum())(y)
    yx = tg.grad(lambda a: tg.grad(f, 1)(a, y).sum())(x)
    np.testing.assert_allclose(xy.data, yx.data, rtol=1e-13)


def test_hessian_vector_product_by_vjp_of_grad(rng):
    a = rng.standard_normal((3, 3))
    v = rng.standard_normal(3)
    f = lambda x: (x * tg.matmul(tg.tensor(a), x)).sum()
    _, pullback = tg.vjp(tg.grad(f), tg.tensor(rng.random(3)))
    np.testing.assert_allclose(pullback(v)[0].data, (a + a.T) @ v, rtol=1e-12)


# ----- grad and vjp as functions -----

def test_grad_leaves_its_arguments_alone():
    x, a, w = leaf(2.0), np.array([2.0]), leaf(5.0)
    assert tg.grad(lambda t: (t * t * w).sum())(x).item() == 20.0
    assert tg.grad(lambda t: (t * t).sum())(a).item() == 4.0
    assert x.grad is None and w.grad is None and a.flags.writeable


def test_argnums():
    f = lambda x, y, k=1.0: (x * x * y * k).sum()
    x, y = np.array([2.0]), np.array([3.0])
    assert tg.grad(f, 1)(x, y).item() == 4.0
    assert [g.item() for g in tg.grad(f, (1, 0))(x, y)] == [4.0, 12.0]
    assert [g.item() for g in tg.grad(f, [0])(x, y, k=2.0)] == [24.0]
    assert tg.grad(f, -1)(x, y).item() == 4.0
    for bad in (2, -3, (0, 5)):
        with pytest.raises(TypeError, match=r"grad: argnums=.* but the function got 2 positional"):
            tg.grad(f, bad)(x, y)


def test_argnums_of_numpy_and_what_is_no_function():
    assert tg.grad(lambda x, y: x * y, np.int64(1))(leaf(2.0), leaf(3.0)).data.tolist() == [2.0]
    x = leaf(2.0)
    with pytest.raises(TypeError, match=r"grad: expects a function, got Tensor; .* y.backward\(\)"):
        tg.grad((x * x).sum(), x)
    with pytest.raises(TypeError, match="vjp: expects a function, got Tensor"):
        tg.vjp(x * x, x)


def test_grad_of_an_argument_used_twice_or_never():
    x = leaf(3.0)
    assert [g.item() for g in tg.grad(lambda a, b: (a * b * b).sum(), (0, 1))(x, x)] == [9.0, 18.0]
    assert tg.grad(lambda a, b: (a * 1.0).sum(), 1)(x, x).item() == 0.0
    assert tg.grad(lambda a: tg.tensor(1.0))(x).item() == 0.0


def test_grad_wants_one_value():
    with pytest.raises(TypeError, match=r"grad: .*one value, got shape \(2,\).*tg\.vjp"):
        tg.grad(lambda x: x * 2.0)(np.ones(2))
    with pytest.raises(TypeError, match="grad: .*one value, got float"):
        tg.grad(lambda x: 3.0)(np.ones(2))


def test_grad_of_a_float_is_float32_as_everywhere():
    g = tg.grad(lambda x: x * x)(3.0)
    assert g.item() == 6.0 and g.dtype == np.float32


def test_grad_is_not_recorded_unless_something_outside_asks():
    x = tg.tensor(np.array([2.0]))
    assert not tg.grad(lambda t: (t * t).sum())(x).requires_grad
    assert tg.grad(lambda t: (t * t).sum())(leaf(2.0)).requires_grad
    with tg.no_grad():
        assert not tg.grad(lambda t: (t * t).sum())(leaf(2.0)).requires_grad


def test_vjp_with_several_outputs_and_inputs():
    (a, b), pullback = tg.vjp(lambda x, y: (x * y, x + y), np.array([2.0]), np.array([3.0]))
    assert (a.item(), b.item()) == (6.0, 5.0)
    gx, gy = pullback(np.array([10.0]), np.array([1.0]))
    assert (gx.item(), gy.item()) == (31.0, 21.0)
    gx, gy = pullback(np.array([0.0]), np.array([1.0]))      # as often as one likes
    assert (gx.item(), gy.item()) == (1.0, 1.0)
    with pytest.raises(TypeError, match="vjp: the function has 2 outputs, got 1 cotangents"):
        pullback(np.array([1.0]))
    with pytest.raises(ValueError, match="shape"):
        pullback(np.ones(2), np.ones(1))


def test_vjp_wants_tensors():
    for wrong, kind in ((3.0, "float"), ([1.0, 2.0], "list"), (None, "NoneType"), ("y", "str")):
        with pytest.raises(TypeError, match=f"vjp: expects a function that returns tensors.*got {kind}"):
            tg.vjp(lambda x: wrong, np.ones(1))


def test_vjp_of_the_identity_and_of_a_constant():
    x = np.array([2.0])
    assert tg.vjp(lambda t: t, x)[1](np.array([5.0]))[0].item() == 5.0
    assert tg.vjp(lambda t: tg.tensor(x), x)[1](np.array([5.0]))[0].item() == 0.0


# ----- primitives with several outputs -----

def split3():
    """x -> (x**2, argmax, 3 x) with VJPs that see all cotangents and all outputs."""
    @tg.primitive
    def split3(x):
        return x * x, np.array(x.argmax()), 3 * x
    split3.defvjp(lambda g, ans, x: g[0] * 2.0 * x + g[2] * 3.0 + 0.0 * ans[2])
    return split3


def test_several_outputs_all_used():
    tg.check_grads(lambda x: split3()(x), (np.array([1.0, 3.0, 2.0]),), order=3)


@pytest.mark.parametrize("used", [0, 2])
def test_several_outputs_one_used(used):
    tg.check_grads(lambda x: split3()(x)[used] * x, (np.array([1.0, 3.0, 2.0]),), order=3)


def test_an_output_of_several_is_kept_as_an_answer():
    """The VJP may differentiate through its own other output."""
    @tg.primitive
    def with_exp(x):
        return x + 0, np.exp(x)
    with_exp.defvjp(lambda g, ans, x: g[0] + g[1] * ans[1])
    tg.check_grads(lambda x: with_exp(x)[1] * with_exp(x)[0], (np.array([0.3, -1.0]),), order=3)


def test_integer_outputs_require_no_gradient():
    a, index, b = split3()(leaf(1.0, 3.0, 2.0))
    assert a.requires_grad and b.requires_grad and not index.requires_grad
    assert index.dtype.kind == "i" and index.is_leaf


def test_variadic_primitives():
    @tg.primitive
    def total(*xs):
        return sum(xs)
    total.defvjp_variadic(lambda i, g, ans, *xs: g * 1.0)
    tg.check_grads(total, tuple(np.ones((2, 3)) * k for k in range(1, 5)), linear=(0, 1, 2, 3))


# ----- broadcasting and dtype are undone in one place -----

@pytest.mark.parametrize("a, b", [((), (2, 3)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 1), (2, 3)),
                                  ((2, 3), (4, 1, 3)), ((1,), ()), ((0, 3), (1, 3)),
                                  ((1, 0), (2, 1))])
def test_broadcasting_of_any_pair_of_shapes(rng, a, b):
    tg.check_grads(lambda x, y: x * y * y, (rng.random(a) + 0.5, rng.random(b) + 0.5), order=3)
    x, y = (tg.tensor(rng.random(s), requires_grad=True) for s in (a, b))
    (x + y).sum().backward()
    assert x.grad.shape == a and y.grad.shape == b


# ----- random graphs -----

def random_graph(seed, values):
    """A fixed random program: every step reads one or two earlier values, shapes broadcast."""
    rng = np.random.default_rng(seed)
    values = list(values)
    for _ in range(25):
        a, b = (values[rng.integers(len(values))] for _ in range(2))
        values.append([lambda a, b: a * b * 0.5, lambda a, b: a + b, lambda a, b: tg.sin(a),
                       lambda a, b: tg.tanh(a) - b, lambda a, b: a,
                       lambda a, b: tg.sum(a, axis=0, keepdims=True) * 0.3 + b,
                       lambda a, b: a * tg.tensor(np.array(0.7))][rng.integers(7)](a, b))
    return values[-1] + values[-2]


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_at_order_2(seed, rng):
    args = (rng.standard_normal((2, 3)), rng.standard_normal(3), rng.standard_normal((2, 1)))
    tg.check_grads(lambda *xs: random_graph(seed, xs), args, order=2)


@pytest.mark.parametrize("seed", range(12))
def test_backward_equals_grad_equals_vjp_on_random_graphs(seed, rng):
    args = (rng.standard_normal((2, 3)), rng.standard_normal(3), rng.standard_normal((2, 1)))
    f = lambda *xs: (random_graph(seed, xs) * 1.0).sum()
    leaves = [tg.tensor(a, requires_grad=True) for a in args]
    f(*leaves).backward()
    by_backward = [np.zeros(t.shape) if t.grad is None else t.grad.data for t in leaves]
    by_grad = tg.grad(f, (0, 1, 2))(*args)
    by_vjp = tg.vjp(f, *args)[1](1.0)
    for a, b, c in zip(by_backward, by_grad, by_vjp):
        assert np.array_equal(a, b.data) and np.array_equal(a, c.data)


def test_mistakes_with_functions_are_named():
    x = tg.tensor([1.0, 2.0])
    for name in ("grad", "hessian", "jacobian", "value_and_grad"):
        with pytest.raises(TypeError, match=rf"{name}: expects argnums second.*tg.{name}\(f\)\(x\)"):
            getattr(tg, name)(lambda x: (x * x).sum(), x)
    with pytest.raises(TypeError, match="grad: .*got NoneType; does it lack a return"):
        tg.grad(lambda x: None)(x)
    with pytest.raises(TypeError, match=r"grad: .*got float; leave out item\(\)"):
        tg.grad(lambda x: 3.0)(x)
