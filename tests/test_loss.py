"""Softmax and losses: values by loops over rows, golden numbers, extremes, order 2, errors."""
from __future__ import annotations

import functools
import itertools
import math
import warnings

import numpy as np
import pytest

import tinygrad_conv as tg


def log_sum_exp(row):
    top = max(row)
    return top + math.log(sum(math.exp(v - top) for v in row))


def by_loops(logits, target, weight, ignore_index, reduction, smoothing):
    """Cross entropy of class targets, one place at a time."""
    n, c, *rest = logits.shape
    w = np.ones(c) if weight is None else weight
    losses, weights = np.zeros((n, *rest)), 0.0
    for at in np.ndindex(n, *rest):
        y = target[at]
        if y == ignore_index:
            continue
        row = [float(v) for v in logits[at[0], :, *at[1:]]]
        logp = [v - log_sum_exp(row) for v in row]
        losses[at] = -(1 - smoothing) * w[y] * logp[y]
        losses[at] -= smoothing / c * sum(w[k] * logp[k] for k in range(c))
        weights += w[y]
    return {"none": losses, "sum": losses.sum(),
            "mean": losses.sum() / weights if weights else math.nan}[reduction]


@pytest.fixture
def strict():
    """No warnings allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# ----- softmax -----

@pytest.mark.parametrize("shape, axis", [((4, 3), -1), ((4, 3), 0), ((2, 3, 4), 1), ((5,), 0)])
def test_softmax_and_log_softmax(shape, axis, rng):
    x = rng.standard_normal(shape) * 5
    expected = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    np.testing.assert_allclose(tg.softmax(x, axis).data, expected, rtol=1e-12)
    np.testing.assert_allclose(tg.log_softmax(x, axis).data, np.log(expected), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(tg.softmax(x, dim=axis).data, expected, rtol=1e-12)
    tg.check_grads(lambda x: tg.softmax(x, axis), (x,), order=2)
    tg.check_grads(lambda x: tg.log_softmax(x, axis), (x,), order=2)


def test_row_q_softmax_shifts_each_row(strict):
    x = np.array([[1000.0, 0.0], [0.0, 1.0], [-1000.0, -1000.0], [-1e308, 1e308]])
    small = 1 / (1 + math.e)
    np.testing.assert_allclose(tg.softmax(x).data, [[1, 0], [small, 1 - small], [0.5, 0.5], [0, 1]],
                               rtol=1e-14)
    y = tg.log_softmax(tg.tensor(x[:3], requires_grad=True))
    assert y.data[0].tolist() == [0.0, -1000.0] and y.data[2].tolist() == pytest.approx([-math.log(2)] * 2, rel=1e-14)
    y.backward(np.ones((3, 2)))


@pytest.mark.parametrize("f", [tg.softmax, tg.log_softmax])
def test_softmax_of_minus_infinity_is_zero_with_a_finite_gradient(f, strict, rng):
    x = tg.tensor(np.array([[0.0, -np.inf, 1.0]]), requires_grad=True)
    y = f(x)
    assert y.data[0, 1] == (0 if f is tg.softmax else -np.inf)
    (tg.exp(y) * np.array([1.0, 2.0, 3.0])).sum().backward()
    assert np.isfinite(x.grad.data).all() and x.grad.data[0, 1] == 0


@pytest.mark.parametrize("f", [tg.softmax, tg.log_softmax])
def test_softmax_of_a_row_without_one_is_nan(f, strict):
    y = f(np.array([[-np.inf, -np.inf], [np.inf, 0.0], [0.0, 0.0]])).data
    assert np.isnan(y[0]).all() and np.isnan(y[1, 0]) and np.isfinite(y[2]).all()


@pytest.mark.parametrize("f", [tg.softmax, tg.log_softmax])
def test_softmax_errors_and_edges(f):
    with pytest.raises(TypeError, match=rf"^{f.__name__}: x must be floating point, got int64"):
        f(np.ones((2, 2), int))
    with pytest.raises(IndexError, match=rf"^{f.__name__}: axis 2 is out of range"):
        f(np.ones((2, 2)), 2)
    assert f(np.zeros((0, 3))).shape == (0, 3) and f(np.zeros((3, 0))).shape == (3, 0)
    assert f(np.ones((2, 3), np.float32)).dtype == np.float32


# ----- cross entropy of classes -----

@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 2), (2, 3, 2, 2)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_cross_entropy_of_classes(shape, reduction, rng):
    x = rng.standard_normal(shape) * 3
    for weighted, smoothing, ignored in itertools.product((False, True), (0.0, 0.1, 1.0),
                                                          (-100, 1, 77)):
        target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        if ignored in (-100, 77):
            target[0] = ignored
        weight = rng.random(shape[1]) if weighted else None
        expected = by_loops(x, target, weight, ignored, reduction, smoothing)

        f = functools.partial(tg.cross_entropy, target=target, weight=weight,
                              ignore_index=ignored, reduction=reduction, label_smoothing=smoothing)
        np.testing.assert_allclose(f(x).data, expected, rtol=1e-11, atol=1e-13)
        tg.check_grads(f, (x,), order=2)


def test_cross_entropy_gradient_is_probabilities_less_target(rng):
    x, y = tg.tensor(rng.standard_normal((4, 3)), requires_grad=True), np.array([0, 2, 1, 2])
    tg.cross_entropy(x, y).backward()
    np.testing.assert_allclose(x.grad.data, (tg.softmax(x).data - np.eye(3)[y]) / 4, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_cross_entropy_takes_arrays_tensors_and_lists_of_classes(dtype, rng):
    x, y = rng.standard_normal((4, 3)), np.array([0, 2, 1, 2], dtype)
    expected = tg.cross_entropy(x, y.astype(np.int64)).item()
    for target in (y, tg.tensor(y), y.tolist()):
        assert tg.cross_entropy(x, target).item() == expected


def test_cross_entropy_of_one_sample(rng):
    x = rng.standard_normal(4)
    one, batch = tg.cross_entropy(x, 2), tg.cross_entropy(x[None], np.array([2]))
    assert one.shape == () and one.item() == batch.item()
    assert tg.cross_entropy(x, tg.tensor(2), reduction="none").shape == ()
    assert tg.cross_entropy(x, np.array([0.1, 0.2, 0.3, 0.4]), reduction="none").shape == ()
    assert tg.nll_loss(x, np.int64(1)).item() == -x[1]


def test_cross_entropy_with_every_row_ignored_is_nan_with_gradient_zero(strict):
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    loss = tg.cross_entropy(x, np.array([-100, -100]))
    assert math.isnan(loss.item())
    loss.backward()
    assert x.grad.data.tolist() == [[0, 0, 0], [0, 0, 0]]
    for reduction, expected in (("sum", 0.0), ("none", [0.0, 0.0])):
        loss = tg.cross_entropy(x, np.array([-100, -100]), reduction=reduction)
        assert loss.data.tolist() == expected
    assert math.isnan(tg.cross_entropy(np.ones((0, 3)), np.zeros(0, int)).item())
    assert math.isnan(tg.cross_entropy(np.ones((0, 3)), np.zeros((0, 3))).item())


def test_cross_entropy_at_extremes(strict):
    for dtype in (np.float32, np.float64):
        x = tg.tensor(np.array([[1000, -1000, 0], [-1000, 1000, -1000]], dtype), requires_grad=True)
        for target in (np.array([1, 1]), np.array([[0, 1, 0], [0, 1, 0]], dtype)):
            for smoothing in (0.0, 0.1):
                x.grad = None
                loss = tg.cross_entropy(x, target, label_smoothing=smoothing)
                loss.backward()
                assert np.isfinite(loss.item()) and np.isfinite(x.grad.data).all()
                assert loss.dtype == x.grad.dtype == dtype


def test_cross_entropy_beside_an_impossible_class(strict):
    """A logit of -inf that is no target: masked classes."""
    x = tg.tensor(np.array([[1.0, -np.inf, 2.0]]), requires_grad=True)
    for target in (np.array([2]), np.array([[0.5, 0.0, 0.5]])):
        for reduction in ("mean", "sum", "none"):
            loss = tg.cross_entropy(x, target, reduction=reduction)
            assert np.isfinite(loss.data).all()
            x.grad = None
            loss.sum().backward()
            assert np.isfinite(x.grad.data).all() and x.grad.data[0, 1] == 0
    assert tg.cross_entropy(x, np.array([1])).item() == np.inf


# ----- cross entropy of probabilities -----

@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 2)])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted, smoothing", [(False, 0.0), (True, 0.0), (True, 0.2)])
def test_cross_entropy_of_probabilities(shape, reduction, weighted, smoothing, rng):
    x, t = rng.standard_normal(shape), rng.random(shape)
    w = rng.random(3) if weighted else np.ones(3)
    logp = x - np.log(np.exp(x).sum(1, keepdims=True))
    smooth = (1 - smoothing) * t + smoothing / 3
    rows = -(smooth * w.reshape(3, *[1] * (len(shape) - 2)) * logp).sum(1)
    expected = {"none": rows, "sum": rows.sum(), "mean": rows.sum() / rows.size}[reduction]

    def f(x, t):
        return tg.cross_entropy(x, t, w if weighted else None, reduction=reduction,
                                label_smoothing=smoothing)
    np.testing.assert_allclose(f(x, t).data, expected, rtol=1e-12)
    tg.check_grads(f, (x, t), order=2, linear=(1,))


def test_cross_entropy_of_one_hot_probabilities_is_that_of_the_classes(rng):
    x, y = rng.standard_normal((5, 4)), np.array([0, 1, 2, 3, 3])
    for smoothing in (0.0, 0.3):
        a = tg.cross_entropy(x, y, label_smoothing=smoothing)
        b = tg.cross_entropy(x, np.eye(4)[y], label_smoothing=smoothing)
        assert a.item() == pytest.approx(b.item(), rel=1e-14)


# ----- nll, hinge -----

def test_nll_loss_is_cross_entropy_after_log_softmax(rng):
    x, y, w = rng.standard_normal((4, 3, 2)), rng.integers(0, 3, (4, 2)), rng.random(3)
    y[1, 1] = -1
    for reduction in ("none", "sum", "mean"):
        a = tg.nll_loss(tg.log_softmax(x, 1), y, w, -1, reduction)
        b = tg.cross_entropy(x, y, w, -1, reduction)
        np.testing.assert_allclose(a.data, b.data, rtol=1e-14)
    tg.check_grads(lambda x: tg.nll_loss(x, y, w, -1), (x,), order=2, linear=(0,))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_hinge_loss(p, reduction, weighted, rng):
    x, y = rng.standard_normal((5, 4)), np.array([0, 3, 1, 2, 2])
    w = rng.random(4) if weighted else None
    rows = np.array([sum((1.0 if w is None else w[k]) * max(0, 0.7 - r[k] + r[c]) ** p
                         for c in range(4) if c != k) / 4 for r, k in zip(x, y)])
    expected = {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]
    f = lambda x: tg.hinge_loss(x, y, p, 0.7, w, reduction)
    np.testing.assert_allclose(f(x).data, expected, rtol=1e-12)
    tg.check_grads(f, (x,), order=2)
    assert tg.hinge_loss(x[0], 2).shape == ()


# ----- losses on values -----

def elementwise(name, x, t, **options):
    r = x - t
    d = options.get("delta", options.get("beta", 1.0))
    huber = np.where(np.abs(r) < d, r * r / 2, d * (np.abs(r) - d / 2))
    return {"mse_loss": r * r, "l1_loss": np.abs(r), "huber_loss": huber,
            "smooth_l1_loss": huber / d}[name]


VALUES = [("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {}), ("huber_loss", {"delta": 0.3}),
          ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3})]


@pytest.mark.parametrize("name, options", VALUES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_losses_on_values(name, options, reduction, rng):
    x, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    f = lambda x, t: getattr(tg, name)(x, t, reduction=reduction, **options)
    rows = elementwise(name, x, t, **options)
    expected = {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]
    np.testing.assert_allclose(f(x, t).data, expected, rtol=1e-13)
    tg.check_grads(f, (x, t), order=2)


def test_smooth_l1_loss_with_beta_zero_is_l1_loss(rng):
    x, t = rng.standard_normal(5), rng.standard_normal(5)
    assert tg.smooth_l1_loss(x, t, beta=0.0).item() == tg.l1_loss(x, t).item()


def test_huber_loss_at_equality_has_gradient_zero_and_curvature_one():
    at = lambda f: tg.grad(lambda x: f(x).sum())
    f = lambda x: tg.huber_loss(x, np.zeros(2), "sum")
    x = np.array([0.0, 1.0])
    assert at(f)(x).data.tolist() == [0.0, 1.0]
    assert at(lambda x: at(f)(x))(np.zeros(2)).data.tolist() == [1.0, 1.0]
    assert at(lambda x: tg.l1_loss(x, np.zeros(2), "sum"))(np.zeros(2)).data.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name, options", VALUES)
def test_losses_on_values_at_extremes(name, options, strict):
    x = tg.tensor(np.array([1e18, -1e18, 0.0], np.float32), requires_grad=True)
    loss = getattr(tg, name)(x, np.zeros(3, np.float32), "sum", **options)
    loss.backward()
    assert np.isfinite(loss.item()) and np.isfinite(x.grad.data).all()


# ----- binary cross entropy -----

@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("positive", [False, True])
def test_binary_cross_entropy_with_logits(reduction, weighted, positive, rng):
    x, t = rng.standard_normal((4, 3)) * 3, rng.random((4, 3))
    w = rng.random(3) if weighted else None
    p = rng.random((1, 3)) * 3 if positive else None
    s = 1 / (1 + np.exp(-x))
    rows = -((1 if p is None else p) * t * np.log(s) + (1 - t) * np.log(1 - s))
    rows = rows if w is None else rows * w
    expected = {"none": rows, "sum": rows.sum(), "mean": rows.mean()}[reduction]
    f = lambda x, t: tg.binary_cross_entropy_with_logits(x, t, w, reduction, p)
    np.testing.assert_allclose(f(x, t).data, expected, rtol=1e-11)
    tg.check_grads(f, (x, t), order=2, linear=(1,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_with_logits_at_extremes(dtype, strict):
    x = tg.tensor(np.array([1000, -1000, 1000, -1000, 0], dtype), requires_grad=True)
    t = np.array([1, 0, 0, 1, 0.5], dtype)
    loss = tg.binary_cross_entropy_with_logits(x, t, reduction="none")
    np.testing.assert_allclose(loss.data, [0, 0, 1000, 1000, math.log(2)], rtol=1e-6)
    loss.sum().backward()
    assert x.grad.data.tolist() == [0, 0, 1, -1, 0] and x.grad.dtype == dtype


def test_binary_cross_entropy_with_logits_is_accurate_where_it_is_small():
    """A right and confident no: 1e-13, not the rounding error of 30 - 30."""
    x = np.array([-30.0, -15.0], np.float32)
    loss = tg.binary_cross_entropy_with_logits(x, np.zeros(2, np.float32), reduction="none")
    np.testing.assert_allclose(loss.data, np.exp([-30.0, -15.0]), rtol=1e-6)


# ----- KL divergence -----

@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target, rng):
    x = np.log(rng.random((4, 3)))
    t = rng.random((4, 3)) + 0.1
    rows = t * (np.log(t) - x)
    t = np.log(t) if log_target else t
    expected = {"none": rows, "sum": rows.sum(), "mean": rows.mean(),
                "batchmean": rows.sum() / 4}[reduction]
    f = lambda x, t: tg.kl_div(x, t, reduction, log_target)
    np.testing.assert_allclose(f(x, t).data, expected, rtol=1e-12)
    tg.check_grads(f, (x, t), order=2)


def test_kl_div_of_a_probability_zero(strict):
    x = tg.tensor(np.array([[0.0, -np.inf]]), requires_grad=True)
    loss = tg.kl_div(x, np.array([[1.0, 0.0]]), "batchmean")
    loss.backward()
    assert loss.item() == 0 and x.grad.data.tolist() == [[-1.0, 0.0]]


# ----- float32 and errors -----

LOSSES = {
    "cross_entropy": lambda x, **o: tg.cross_entropy(x, np.array([0, 1]), **o),
    "nll_loss": lambda x, **o: tg.nll_loss(x, np.array([0, 1]), **o),
    "hinge_loss": lambda x, **o: tg.hinge_loss(x, np.array([0, 1]), **o),
    **{name: (lambda x, name=name, **o: getattr(tg, name)(x, np.full((2, 3), 0.5, np.float32), **o))
       for name in ("mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "kl_div",
                    "binary_cross_entropy_with_logits")},
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_losses_keep_float32(name, reduction, rng):
    x = tg.tensor(-rng.random((2, 3)).astype(np.float32), requires_grad=True)
    loss = LOSSES[name](x, reduction=reduction)
    loss.sum().backward()
    assert loss.dtype == x.grad.dtype == np.float32
    for entry in tg.tape(loss):
        assert entry.output.dtype == np.float32
    options = {"weight": np.ones(3), "label_smoothing": 0.1} if name == "cross_entropy" else {}
    assert LOSSES[name](x, reduction=reduction, **options).dtype == np.float32


@pytest.mark.parametrize("name", LOSSES)
def test_losses_refuse_an_unknown_reduction(name):
    with pytest.raises(ValueError, match=rf"^{name}: reduction must be one of 'mean', 'sum', 'none'"
                                         r".* got 'average'"):
        LOSSES[name](np.ones((2, 3), np.float32), reduction="average")
    with pytest.raises(TypeError, match=rf"^{name}: input must be floating point, got int64"):
        LOSSES[name](np.ones((2, 3), int))


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss", "smooth_l1_loss", "kl_div",
                                  "binary_cross_entropy_with_logits"])
def test_losses_on_values_refuse_to_broadcast(name):
    f = getattr(tg, name)
    with pytest.raises(ValueError, match=rf"^{name}: .*\(5, 1\) and \(5,\); reshape one of them, "
                                         r"e.g. target.reshape\(\(5, 1\)\)"):
        f(np.ones((5, 1)), np.ones(5))
    with pytest.raises(ValueError, match=rf"^{name}: .*\(5, 2\) and \(5,\); nothing is broadcast"):
        f(np.ones((5, 2)), np.ones(5))


@pytest.mark.parametrize("call, error, text", [
    (lambda x: tg.cross_entropy(x, np.array([0, 3])), ValueError,
     r"target 3 is out of range for 3 classes \(input shape \(2, 3\), ignore_index=-100\)"),
    (lambda x: tg.cross_entropy(x, np.array([0, -1])), ValueError, "target -1 is out of range"),
    (lambda x: tg.hinge_loss(x, np.array([0, -100])), ValueError, "target -100 is out of range"),
    (lambda x: tg.cross_entropy(x, np.array([0.0, 1.0])), TypeError,
     r"class targets must be integers, got float64.*astype"),
    (lambda x: tg.nll_loss(x, np.array([0.0, 1.0])), TypeError, "must be integers, got float64"),
    (lambda x: tg.cross_entropy(x, np.array([True, False])), TypeError, "integers, got bool"),
    (lambda x: tg.cross_entropy(x, np.array([0, 1, 2])), ValueError,
     r"class targets must have shape \(2,\) for input of shape \(2, 3\), got \(3,\)"),
    (lambda x: tg.cross_entropy(x, np.array([[0], [1]])), ValueError, r"got \(2, 1\)"),
    (lambda x: tg.cross_entropy(x, np.eye(3, dtype=int)[:2]), ValueError,
     "probability targets must be floating point"),
    (lambda x: tg.cross_entropy(x, np.ones((2, 4))), ValueError,
     r"input of shape \(2, 3\), got \(2, 4\); probability targets must be .* of the shape of input"),
    (lambda x: tg.cross_entropy(x, np.ones((2, 3)), ignore_index=1), ValueError,
     "ignore_index=1 goes with class targets"),
    (lambda x: tg.cross_entropy(x, np.array([0, 1]), label_smoothing=1.5), ValueError,
     "label_smoothing must be between 0 and 1, got 1.5"),
    (lambda x: tg.cross_entropy(x, np.array([0, 1]), np.ones(2)), ValueError,
     r"weight must have shape \(3,\), one number per class, got \(2,\)"),
    (lambda x: tg.cross_entropy(x, np.array([0, 1]), tg.ones(3, requires_grad=True)), ValueError,
     "weight is a constant"),
    (lambda x: tg.cross_entropy(np.float64(1.0), np.array(0)), ValueError, "input must have shape"),
    (lambda x: tg.hinge_loss(x, np.array([0, 1]), p=3), ValueError, "p must be 1 or 2, got 3"),
    (lambda x: tg.hinge_loss(x[None], np.array([[0, 1]])), ValueError, r"\(N, C\) or \(C,\)"),
    (lambda x: tg.huber_loss(x, x, delta=0), ValueError, "delta must be above 0, got 0"),
    (lambda x: tg.smooth_l1_loss(x, x, beta=-1), ValueError, "beta must be at least 0, got -1"),
    (lambda x: tg.kl_div(x, x, "batch"), ValueError, "'none', 'batchmean', got 'batch'"),
    (lambda x: tg.binary_cross_entropy_with_logits(x, x, np.ones((4, 1, 3))), ValueError,
     r"weight must broadcast to the shape of input, \(2, 3\), got"),
])
def test_loss_errors(call, error, text):
    with pytest.raises(error, match=rf"^\w+: .*{text}"):
        call(np.ones((2, 3)))
