"""Derivatives of functions of lists and dictionaries, with values and what comes with them; trees themselves."""
from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv import trees

X, W = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
Pair = namedtuple("Pair", "first second")


def leaf(a=X):
    return tg.tensor(a, requires_grad=True)


def plain(tree):
    """Tensors as lists, in their structure."""
    return trees.rebuilt(tree, [t.tolist() for t in trees.leaves(tree)])


# ----- trees -----

@pytest.mark.parametrize("tree", [
    {"w": X, "b": [X, (W,)]}, [X, {"a": None}], (), [], {}, None, Pair(X, [W]), {"n": {"m": {"k": X}}}, [X, 2.0]], ids=str)
def test_trees_are_taken_apart_and_put_together(tree):
    parts = trees.leaves(tree)
    again = trees.rebuilt(tree, parts)
    assert type(again) is type(tree) and str(again) == str(tree)
    assert all(a is b for a, b in zip(trees.leaves(again), parts))


@pytest.mark.parametrize("array", [1.0, [1.0, 2.0], [[1.0], [2.0]], (1.0, 2.0), np.float32(3)], ids=str)
def test_lists_of_plain_numbers_are_arrays(array):
    assert trees.leaves(array) == [array]
    assert tg.grad(lambda x: (x * 2.0).sum())(array).shape == np.shape(array)


def test_leaves_are_matched_by_key_not_by_order():
    assert trees.matched({"a": X, "b": [X, X]}, {"b": (1, 2), "a": 3}, "it") == [3, 1, 2]
    assert trees.matched({"a": X, "b": [X, X]}, {"b": None, "a": 3}, "it") == [3, None, None]


@pytest.mark.parametrize("other, text", [
    ({"a": 1}, r"tangent: must have the structure of what it belongs to, expects keys \['a', 'b'\], got keys \['a'\]"),
    ([1, 2, 3], "expects keys .*, got 3 parts"), (X, "expects keys .*, got ndarray"),
    ({"a": 1, "b": [1]}, r"tangent\['b'\]: must .* expects 2 parts, got 1 parts"),
    ({"a": 1, "b": 2}, r"tangent\['b'\]: .*got int")])
def test_another_structure_is_named(other, text):
    with pytest.raises(TypeError, match=text):
        trees.matched({"a": X, "b": [X, X]}, other, "tangent")


# ----- gradients -----

def model(params, x):
    return (x * params["w"]).sum() + (params["b"][0] * params["b"][1]).sum()


def params():
    return {"w": W, "b": [X, 2.0 * W]}


def test_gradients_have_the_structure_of_the_argument():
    x = tg.tensor(X)
    assert plain(tg.grad(model)(params(), x)) == {"w": X.tolist(), "b": [(2 * W).tolist(), X.tolist()]}
    both = tg.grad(model, (1, 0))(params(), X)
    assert plain(both) == (W.tolist(), {"w": X.tolist(), "b": [(2 * W).tolist(), X.tolist()]})
    assert plain(tg.grad(lambda p: (p.first * p.second).sum())(Pair(tg.tensor(X), W))) == Pair(W.tolist(), X.tolist())
    assert tg.grad(lambda p, x: (x * 1.0).sum())({"unused": None}, x) == {"unused": None}


def test_a_tensor_twice_in_a_tree_gets_a_gradient_at_each_place():
    t = tg.tensor(X)
    assert plain(tg.grad(lambda p: (p[0] * p[1] * p[1]).sum())([t, t])) == [(X * X).tolist(), (2 * X * X).tolist()]


def test_what_cannot_be_differentiated_is_refused():
    for wrong in ({"n": np.array(3)}, [tg.tensor([1, 2])]):
        with pytest.raises(TypeError, match="only floating point tensors can be differentiated, got int64"):
            tg.grad(lambda p: tg.tensor(1.0))(wrong)
    with pytest.raises(TypeError, match="cannot make|expects real numbers"):
        tg.grad(lambda p: tg.tensor(1.0))({"name": "w", "w": X})


def test_value_and_grad():
    y, g = tg.value_and_grad(model, 1)(params(), X)
    assert y.item() == model({k: v if k == "w" else [*map(tg.tensor, v)] for k, v in params().items()}, tg.tensor(X)).item()
    assert g.tolist() == W.tolist() and not y.requires_grad and y.is_leaf
    with pytest.raises(TypeError, match=r"value_and_grad: .*one value, got shape \(3,\)"):
        tg.value_and_grad(lambda x: x * 2.0)(X)
    with pytest.raises(TypeError, match="value_and_grad: expects a function, got ndarray"):
        tg.value_and_grad(X)
    with pytest.raises(TypeError, match="value_and_grad: argnums=3 but the function got 1"):
        tg.value_and_grad(lambda x: x.sum(), 3)(X)


def test_a_value_stays_connected_to_what_is_outside():
    w = leaf(W)
    y, g = tg.value_and_grad(lambda x: (x * x * w).sum())(X)
    assert y.requires_grad and g.requires_grad
    y.backward()
    assert w.grad.tolist() == (X * X).tolist()
    double = tg.grad(lambda x: tg.value_and_grad(lambda x: (x * x).sum())(x)[0])(X)
    assert double.tolist() == (2 * X).tolist()
    with tg.no_grad():
        y, g = tg.value_and_grad(lambda x: (x * x * w).sum())(X)
        assert not y.requires_grad and not g.requires_grad


def test_aux_is_handed_on():
    def f(x):
        return (x * x).sum(), {"y": x * 3.0, "n": 7, "names": ["a"]}
    g, aux = tg.grad(f, has_aux=True)(X)
    assert g.tolist() == (2 * X).tolist() and aux["y"].tolist() == (3 * X).tolist() and not aux["y"].requires_grad
    assert aux["n"] == 7 and aux["names"] == ["a"]
    (y, aux), g = tg.value_and_grad(f, has_aux=True)(X)
    assert y.item() == 14.0 and aux["n"] == 7 and g.tolist() == (2 * X).tolist()
    y, pullback, aux = tg.vjp(lambda x: (x * x, x + 1.0), X, has_aux=True)
    assert pullback(W)[0].tolist() == (2 * X * W).tolist() and aux.tolist() == (X + 1).tolist() and not aux.requires_grad
    y, t, aux = tg.jvp(f, (X,), (W,), has_aux=True)
    assert (y.item(), t.item(), aux["n"]) == (14.0, float(2 * X @ W), 7)
    # inside another derivative aux is differentiated like everything else
    assert tg.grad(lambda x: tg.grad(f, has_aux=True)(x)[1]["y"].sum())(X).tolist() == [3.0] * 3
    for d in (lambda f: tg.grad(f, has_aux=True)(X), lambda f: tg.vjp(f, X, has_aux=True),
              lambda f: tg.jvp(f, (X,), (X,), has_aux=True)):
        with pytest.raises(TypeError, match=r"with has_aux=True the function must return a pair \(result, aux\), got Tensor"):
            d(lambda x: x.sum())


# ----- vjp and jvp of trees -----

def test_vjp_of_trees():
    y, pullback = tg.vjp(lambda p, x: {"a": p["w"] * x, "b": [x]}, {"w": W}, X)
    assert plain(y) == {"a": (X * W).tolist(), "b": [X.tolist()]}
    gp, gx = pullback({"b": [np.ones(3)], "a": np.ones(3)})
    assert gp["w"].tolist() == X.tolist() and gx.tolist() == (W + 1).tolist()
    with pytest.raises(TypeError, match=r"vjp: cotangents\[0\]: must .* keys \['a', 'b'\], got ndarray"):
        pullback(X)
    y, pullback = tg.vjp(lambda x, y: (x * y, {"s": x}), 3.0, 4.0)
    assert [g.item() for g in pullback(1.0, {"s": 10.0})] == [14.0, 3.0]


def test_jvp_of_trees():
    y, t = tg.jvp(lambda p, x: {"a": p["w"] * x, "b": [x]}, ({"w": W}, tg.tensor(X)), ({"w": X}, None))
    assert plain(t) == {"a": (X * X).tolist(), "b": [[0.0] * 3]}
    y, t = tg.jvp(lambda n, p: p[0] * n, (3, [X, W]), (None, [W, None]))  # a whole number, held fixed
    assert t.tolist() == (3 * W).tolist()
    assert tg.jvp(lambda x, y: x * y, (3.0, 4.0), (1.0, 0.0))[1].item() == 4.0
    assert [t.item() for t in tg.linearize(lambda x, y: (x * y, x), 3.0, 4.0)[1](1.0, 10.0)] == [34.0, 1.0]


def test_mistakes_in_primals_and_tangents_are_named():
    f = lambda x: x * 2.0
    for call, text in (
            (lambda: tg.jvp(f, X, X), r"jvp: expects a tuple of primals, got ndarray; write \(x,\)"),
            (lambda: tg.jvp(f, (X,), X), "jvp: expects a tuple of tangents, got ndarray"),
            (lambda: tg.jvp(f, (X,), (X, X)), "jvp: there are 1 primals, got 2 tangents"),
            (lambda: tg.jvp(X, (X,), (X,)), "jvp: expects a function, got ndarray"),
            (lambda: tg.linearize(f, X)[1](X, X), "linearize: there are 1 primals, got 2 tangents"),
            (lambda: tg.jvp(f, ({"w": X},), ([X],)), r"jvp: tangents\[0\]: must have the structure"),
            (lambda: tg.jvp(lambda x: 3.0, (X,), (X,)), "jvp: expects a function that returns tensors.*got float"),
            (lambda: tg.jvp(lambda x: None, (X,), (X,)), "jvp: expects a function that returns tensors.*got NoneType"),
            (lambda: tg.jvp(f, (3,), (1,)), "only floating point tensors"),
            (lambda: tg.linearize(lambda x: [1.0, x], X), "linearize: .*got float")):
        with pytest.raises(TypeError, match=text):
            call()
    with pytest.raises(ValueError, match=r"jvp: tangent has shape \(2,\), the tensor \(3,\)"):
        tg.jvp(f, (X,), (np.ones(2),))


# ----- Jacobians and Hessians -----

@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_a_jacobian_has_the_structure_of_output_and_argument(mode):
    f = lambda p, x: (p["w"] * x, {"s": x.sum()})
    j = tg.jacobian(f, mode=mode)({"w": W}, tg.tensor(X))
    assert plain(j) == ({"w": np.diag(X).tolist()}, {"s": {"w": [0.0] * 3}})
    j = tg.jacobian(f, (0, 1), mode)({"w": W}, X)
    assert plain(j) == (({"w": np.diag(X).tolist()}, np.diag(W).tolist()), {"s": ({"w": [0.0] * 3}, [1.0] * 3)})
    assert tg.jacobian(f, -1, mode)({"w": tg.tensor(W)}, X)[0].tolist() == np.diag(W).tolist()
    assert tg.jacobian(lambda x, by=1.0: x * by, mode=mode)(X, by=2.0).tolist() == (2 * np.eye(3)).tolist()


@pytest.mark.parametrize("mode", ["reverse", "forward"])
@pytest.mark.parametrize("shape, out", [((0,), (0,)), ((0, 2), (3,)), ((2,), (0, 3))])
def test_jacobians_of_nothing(mode, shape, out):
    f = lambda x: tg.zeros(*out, dtype=np.float64) * x.sum()
    j = tg.jacobian(f, mode=mode)(np.ones(shape))
    assert j.shape == out + shape and j.dtype == np.float64 and not j.data.any()


def test_jacobians_are_differentiated_in_turn():
    f = lambda x: x * x * x
    for inner in ("reverse", "forward"):
        for outer in ("reverse", "forward"):
            h = tg.jacobian(tg.jacobian(f, mode=inner), mode=outer)(X)
            expected = np.zeros((3, 3, 3))
            expected[range(3), range(3), range(3)] = 6 * X
            assert h.tolist() == expected.tolist() and not h.requires_grad
    w = leaf(W)
    tg.jacobian(lambda x: x * w)(X).sum().backward()
    assert w.grad.tolist() == [1.0] * 3


def test_hessians_of_trees_and_products_with_them():
    f = lambda p, x: (p["w"] * p["w"] * x).sum()
    h = tg.hessian(f, (0, 1))({"w": W}, X)
    assert plain(h) == (({"w": ({"w": np.diag(2 * X).tolist()}, np.diag(2 * W).tolist())},)[0],
                        ({"w": np.diag(2 * W).tolist()}, np.zeros((3, 3)).tolist()))
    for product in (tg.hvp, tg.vhp):
        gp, gx = product(f, ({"w": W}, X), ({"w": np.ones(3)}, np.ones(3)))
        assert gp["w"].tolist() == (2 * X + 2 * W).tolist() and gx.tolist() == (2 * W).tolist()
        assert product(lambda p: f(p, X), ({"w": W},), ({"w": np.ones(3)},))["w"].tolist() == (2 * X).tolist()
        assert not product(lambda p: f(p, X), ({"w": W},), ({"w": np.ones(3)},))["w"].requires_grad
    assert not any(t.requires_grad for t in trees.leaves(h))
    assert tg.hvp(f, ({"w": W}, X), ({"w": np.ones(3)}, None))[1].tolist() == (2 * W).tolist()
    with pytest.raises(TypeError, match=r"grad: .*one value, got shape \(3,\)"):
        tg.hessian(lambda x: x)(X)


def test_modes_and_outputs_that_there_are_not():
    with pytest.raises(ValueError, match="jacobian: mode must be one of 'reverse', 'forward', got 'backward'"):
        tg.jacobian(lambda x: x, mode="backward")
    with pytest.raises(TypeError, match="jacobian: the function returned bool, which has no derivative"):
        tg.jacobian(lambda x: x > 1)(X)


def test_the_two_products_and_the_hessian_agree_through_a_network(rng):
    x, w = rng.standard_normal((4, 1, 6, 6)), rng.standard_normal((2, 1, 3, 3))

    def f(w):
        y = tg.batch_norm(tg.max_pool2d(tg.tanh(tg.conv2d(x, w)), 2), None, None, training=True)
        return tg.cross_entropy(y.flatten(1), np.array([0, 3, 1, 7]))
    h = tg.hessian(f)(w).data.reshape(18, 18)
    np.testing.assert_allclose(h, h.T, atol=1e-12)
    v = rng.standard_normal(w.shape)
    for product in (tg.hvp, tg.vhp):
        np.testing.assert_allclose(product(f, (w,), (v,)).data.ravel(), h @ v.ravel(), atol=1e-12)
    eps = 1e-5
    by_differences = (tg.grad(f)(w + eps * v).data - tg.grad(f)(w - eps * v).data) / (2 * eps)
    np.testing.assert_allclose(by_differences.ravel(), h @ v.ravel(), atol=1e-7)
