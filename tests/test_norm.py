"""Normalisation and dropout: values by plain NumPy, statistics, memory layouts, order 2, errors."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import cut as cuts
from tinygrad_conv.kernels import norm as kernels
from tinygrad_conv.ops.normalize import normalize


def channels_last(x):
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def standard(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def per_channel(v, x):
    return v.reshape(-1, *[1] * (x.ndim - 2))


def running(c, dtype=np.float64):
    return tg.zeros(c, dtype=dtype), tg.ones(c, dtype=dtype)


# ----- values -----

SHAPES = [(6, 3), (4, 3, 5), (3, 4, 5, 2), (2, 4, 3, 2, 2)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_in_training(shape, affine, rng):
    x, w, b = rng.standard_normal(shape), rng.random(shape[1]), rng.random(shape[1])
    w, b = (w, b) if affine else (None, None)
    y = tg.batch_norm(x, None, None, w, b, training=True)
    axes = tuple(i for i in range(len(shape)) if i != 1)
    expected = standard(x, axes)
    if affine:
        expected = expected * per_channel(w, x) + per_channel(b, x)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
def test_batch_norm_by_running_statistics(shape, rng):
    x, w, b = rng.standard_normal(shape), rng.random(shape[1]), rng.random(shape[1])
    mean, var = rng.random(shape[1]), rng.random(shape[1])
    y = tg.batch_norm(x, tg.tensor(mean), tg.tensor(var), w, b)
    mean, var, w, b = (per_channel(a, x) for a in (mean, var, w, b))
    np.testing.assert_allclose(y.data, (x - mean) / np.sqrt(var + 1e-5) * w + b, rtol=1e-12,
                               atol=1e-13)


def test_weight_and_bias_may_be_lists(rng):
    x, w, b = rng.standard_normal((4, 3)), [0.5, 1.0, 2.0], [0.0, 3.0, -1.0]
    for norm in (lambda *a: tg.layer_norm(x, 3, *a), lambda *a: tg.batch_norm(x, None, None, *a, training=True)):
        assert np.array_equal(norm(w, b).data, norm(np.array(w), np.array(b)).data)


@pytest.mark.parametrize("shape, normalized", [((4, 6), 6), ((2, 3, 4), (3, 4)), ((5,), (5,))])
def test_layer_norm(shape, normalized, rng):
    x = rng.standard_normal(shape)
    w, b = rng.random(normalized), rng.random(normalized)
    axes = tuple(range(len(shape) - np.ndim(w), len(shape)))
    np.testing.assert_allclose(tg.layer_norm(x, normalized, w, b, eps=1e-3).data,
                               standard(x, axes, 1e-3) * w + b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(tg.layer_norm(x, normalized).data, standard(x, axes), rtol=1e-12,
                               atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 6), (3, 6, 4), (2, 6, 3, 5)])
@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm(shape, groups, rng):
    if shape == (2, 6) and groups == 6:
        shape = (2, 12)
    x, w, b = rng.standard_normal(shape), rng.random(shape[1]), rng.random(shape[1])
    grouped = x.reshape(shape[0], groups, -1)
    expected = standard(grouped, (2,)).reshape(shape) * per_channel(w, x) + per_channel(b, x)
    np.testing.assert_allclose(tg.group_norm(x, groups, w, b).data, expected, rtol=1e-12,
                               atol=1e-13)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_instance_norm_is_group_norm_with_a_group_a_channel(shape, rng):
    x, w, b = rng.standard_normal(shape), rng.random(shape[1]), rng.random(shape[1])
    y = tg.instance_norm(x, weight=w, bias=b)
    by_groups = tg.group_norm(x, shape[1], w, b)
    np.testing.assert_allclose(y.data, by_groups.data, rtol=1e-12, atol=1e-14)
    expected = standard(x, tuple(range(2, x.ndim))) * per_channel(w, x) + per_channel(b, x)
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-13)


def test_batch_norm_of_an_empty_batch(rng):
    mean, var = running(3)
    y = tg.batch_norm(np.zeros((0, 3, 2, 2)), mean, var, training=True)
    assert y.shape == (0, 3, 2, 2)
    assert mean.data.tolist() == [0, 0, 0] and var.data.tolist() == [1, 1, 1]


# ----- the cut of the kernels -----

LAYOUTS = {
    "C order": lambda x: x,
    "channels last": channels_last,
    "Fortran": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "a slice": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(64, 8, 9, 8), (5, 3, 60, 50), (40, 33, 5, 6), (3, 1, 200, 60),
                                   (1, 7, 90, 61), (200, 170, 1, 1), (64, 96, 3, 2)])
@pytest.mark.parametrize("axes", [(0, 2, 3), (2, 3), (1, 2, 3), (0,), (1,)])
def test_a_cut_gives_the_same_sums_as_the_plain_formulas(layout, shape, axes, rng):
    x, g = (LAYOUTS[layout](rng.standard_normal(shape)) for _ in range(2))
    cut = cuts.Cut(x, axes)
    assert np.array_equal(cut.whole(cut.dense(x)), x)
    assert cut.form[0] * cut.form[1] * cut.form[2] == x.size
    small = tuple(1 if i in axes else n for i, n in enumerate(shape))
    a, b, c = (rng.standard_normal(small) for _ in range(3))
    near, parts, centre = kernels.prepare(cut, axes, cut.dense(x), cut.dense(g))
    mean = x.mean(axes, keepdims=True)
    total = np.sum(np.abs(g), axis=axes, keepdims=True).max()
    np.testing.assert_allclose(parts.mean + centre, mean, atol=1e-13)
    np.testing.assert_allclose(parts.var(), x.var(axes, keepdims=True), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(parts.total, g.sum(axes, keepdims=True), atol=1e-13 * total)
    np.testing.assert_allclose(parts.about(mean - centre),
                               (g * (x - mean)).sum(axes, keepdims=True), atol=1e-12 * total)
    np.testing.assert_allclose(kernels.combine(cut, b, (cut.dense(x), a)), x * a + b, atol=1e-13)
    y = kernels.combine(cut, c, (cut.dense(g), a), (cut.dense(x), b))
    np.testing.assert_allclose(y, g * a + x * b + c, atol=1e-13)


def test_cuts_take_both_forms(rng):
    """The forms that the cases above are meant to reach."""
    found = [cuts.Cut(layout(np.zeros(shape)), axes) for layout, shape, axes in itertools.product(
        [LAYOUTS["C order"], channels_last], [(64, 8, 9, 8), (5, 3, 60, 50)], [(0, 2, 3), (2, 3)])]
    forms = {(cut.axis, cut.periodic) for cut in found}
    assert forms == {(-1, True), (-1, False), (-2, True), (-2, False)}


@pytest.mark.parametrize("layout", [LAYOUTS["C order"], channels_last])
@pytest.mark.parametrize("norm", ["batch", "group", "instance"])
@pytest.mark.parametrize("hw", [3, 40])
def test_normalisation_keeps_the_memory_layout(layout, norm, hw, rng):
    """Of x, in the value and in the gradient, also beside a cotangent that lies otherwise."""
    x = layout(rng.standard_normal((6, 8, hw, hw)).astype(np.float32))
    g = np.ascontiguousarray(rng.standard_normal(x.shape).astype(np.float32))
    f = {"batch": lambda t: tg.batch_norm(t, None, None, training=True),
         "group": lambda t: tg.group_norm(t, 4), "instance": tg.instance_norm}[norm]
    y, pullback = tg.vjp(f, tg.tensor(x))
    dx, = pullback(g)
    order = lambda a: tuple(np.argsort(a.strides))
    assert order(y.data) == order(x) == order(dx.data)
    plain, back = tg.vjp(f, tg.tensor(np.ascontiguousarray(x)))
    np.testing.assert_allclose(y.data, plain.data, atol=1e-5)  # values up to 4, in float32
    np.testing.assert_allclose(dx.data, back(g)[0].data, atol=1e-5 * np.abs(dx.data).max())


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_batch_norm_does_not_depend_on_the_number_of_threads(threads, rng):
    before = tg.get_num_threads()
    x, g = (rng.standard_normal((64, 8, 28, 28)) for _ in range(2))
    try:
        tg.set_num_threads(threads)
        y, pullback = tg.vjp(lambda x: tg.batch_norm(x, None, None, training=True), x)
        dx, = pullback(g)
    finally:
        tg.set_num_threads(before)
    np.testing.assert_allclose(y.data, standard(x, (0, 2, 3)), rtol=1e-11, atol=1e-12)
    assert abs(dx.data.sum(axis=(0, 2, 3))).max() < 1e-10


# ----- float32 -----

@pytest.mark.parametrize("layout", [LAYOUTS["C order"], channels_last])
@pytest.mark.parametrize("mean, std", [(0, 1), (3, 1), (1000, 1), (-1e4, 0.1), (0, 1e-6),
                                       (1e6, 1e4)])
@pytest.mark.parametrize("shape", [(16, 4, 5, 5), (64, 5, 24, 24)])
def test_batch_norm_is_accurate_in_float32(layout, mean, std, shape, rng):
    """As exact as the float32 input allows, however large the mean is beside the spread."""
    x = layout((mean + std * rng.standard_normal(shape)).astype(np.float32))
    g = layout(rng.standard_normal(shape).astype(np.float32))
    exact = tg.vjp(lambda x: tg.batch_norm(x, None, None, training=True, eps=1e-12),
                   x.astype(np.float64))
    ours = tg.vjp(lambda x: tg.batch_norm(x, None, None, training=True, eps=1e-12), x)
    assert ours[0].dtype == np.float32
    np.testing.assert_allclose(ours[0].data, exact[0].data, rtol=1e-5, atol=3e-6)
    dx, = exact[1](g.astype(np.float64))
    np.testing.assert_allclose(ours[1](g)[0].data, dx.data, atol=2e-6 * np.abs(dx.data).max())


def test_batch_norm_of_constants_is_the_bias():
    x = np.full((8, 2, 3, 3), 7.3, np.float32)
    y = tg.batch_norm(x, None, None, None, np.array([1, 2], np.float32), training=True)
    np.testing.assert_allclose(y.data, np.broadcast_to([[[1.0]], [[2.0]]], x.shape), rtol=1e-6)


# ----- running statistics -----

def test_batch_norm_running_variance_is_unbiased():
    x = tg.tensor(np.array([[1.0], [2.0], [3.0], [4.0]]))
    mean, var = running(1)
    tg.batch_norm(x, mean, var, training=True)
    assert mean.item() == pytest.approx(0.25, rel=1e-15)
    assert var.item() == pytest.approx(0.9 + 0.1 * 5 / 3, rel=1e-15)     # 1.0667, biased: 1.025


def test_batch_norm_running_statistics_over_batches(rng):
    mean, var = running(3)
    m, v = np.zeros(3), np.ones(3)
    for _ in range(5):
        x = rng.standard_normal((4, 3, 5)) * 2 + 1
        tg.batch_norm(x, mean, var, training=True, momentum=0.3)
        m = 0.7 * m + 0.3 * x.mean((0, 2))
        v = 0.7 * v + 0.3 * x.var((0, 2), ddof=1)
    np.testing.assert_allclose(mean.data, m, rtol=1e-13)
    np.testing.assert_allclose(var.data, v, rtol=1e-13)
    tg.batch_norm(x, mean, var)
    np.testing.assert_allclose(mean.data, m, rtol=1e-13)             # evaluation changes nothing


def test_instance_norm_running_statistics_are_averages_over_samples(rng):
    mean, var = running(3)
    x = rng.standard_normal((4, 3, 5))
    tg.instance_norm(x, mean, var, momentum=0.3)
    np.testing.assert_allclose(mean.data, 0.3 * x.mean(2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(var.data, 0.7 + 0.3 * x.var(2, ddof=1).mean(0), rtol=1e-12)
    y = tg.instance_norm(x, mean, var, use_input_stats=False)
    np.testing.assert_allclose(y.data, tg.batch_norm(x, mean, var).data, rtol=1e-14)


def test_batch_norm_running_statistics_keep_their_dtype(rng):
    mean, var = running(3, np.float32)
    tg.batch_norm(rng.standard_normal((4, 3)), mean, var, training=True)
    assert mean.dtype == var.dtype == np.float32
    assert tg.batch_norm(np.ones((2, 3), np.float32), *running(3)).dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_running_statistics_may_change_before_backward(training, rng):
    """Another batch between forward and backward is no error and changes no gradient."""
    x, mean, var = tg.tensor(rng.random((4, 3)), requires_grad=True), *running(3)
    y = tg.batch_norm(x, mean, var, training=training)
    tg.batch_norm(rng.random((4, 3)), mean, var, training=True)
    y.backward(np.eye(4, 3))
    other = tg.tensor(x, requires_grad=True)
    tg.batch_norm(other, *running(3), training=training).backward(np.eye(4, 3))
    np.testing.assert_allclose(x.grad.data, other.grad.data)


def test_batch_norm_in_training_under_no_grad_still_moves_the_statistics(rng):
    mean, var = running(3)
    with tg.no_grad():
        tg.batch_norm(rng.random((4, 3)) + 5, mean, var, training=True)
    assert np.all(mean.data > 0.5)


# ----- gradients -----

def batch_norm(x, w, b):
    return tg.batch_norm(x, None, None, w, b, training=True)


CASES = {
    "batch_norm rows": (batch_norm, (5, 3), 3),
    "batch_norm images": (batch_norm, (3, 2, 3, 2), 2),
    "batch_norm evaluation": (lambda x, w, b: tg.batch_norm(x, *running(2), w, b), (3, 2, 4), 2),
    "layer_norm": (lambda x, w, b: tg.layer_norm(x, 4, w, b), (3, 4), 4),
    "layer_norm 2": (lambda x, w, b: tg.layer_norm(x, (2, 3), w, b), (2, 2, 3), (2, 3)),
    "group_norm": (lambda x, w, b: tg.group_norm(x, 2, w, b), (2, 4, 3), 4),
    "instance_norm": (lambda x, w, b: tg.instance_norm(x, None, None, w, b), (2, 3, 4), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_normalisation_is_differentiable_twice(case, rng):
    f, shape, small = CASES[case]
    x, w, b = rng.standard_normal(shape), rng.random(small) + 0.5, rng.standard_normal(small)
    tg.check_grads(f, (x, w, b), order=2, linear=(1, 2))
    tg.check_grads(lambda x: f(x, None, None), (x,), order=2)
    tg.check_grads(lambda x, w: f(x, w, None), (x, w), order=2)
    tg.check_grads(lambda x, b: f(x, None, b), (x, b), order=2)


def test_batch_norm_is_differentiable_three_times(rng):
    x, w = rng.standard_normal((4, 2)), rng.random(2) + 0.5
    tg.check_grads(lambda x, w: tg.batch_norm(x, None, None, w, None, True), (x, w), order=3,
                   rtol=1e-5)


def test_normalize_has_a_gradient_for_mean_and_variance_too(rng):
    x = rng.standard_normal((4, 3))

    def spread(x):
        _, mean, var = normalize(x, 1.0, 0.0, axes=(0,), eps=1e-5)
        return var * mean
    tg.check_grads(spread, (x,), order=2)


def test_the_mean_of_one_value_has_the_whole_gradient():
    g = tg.grad(lambda x: normalize(x, 1.0, 0.0, axes=(0,), eps=1e-5)[1].sum())(np.array([[3.0, 4.0]]))
    assert g.data.tolist() == [[1.0, 1.0]]


# ----- errors -----

def test_batch_norm_with_one_value_a_channel_in_training():
    with pytest.raises(ValueError, match=r"^batch_norm: training needs more than one value per chan"):
        tg.batch_norm(np.ones((1, 3, 1, 1)), None, None, training=True)
    assert tg.batch_norm(np.ones((1, 3, 1, 1)), *running(3)).shape == (1, 3, 1, 1)


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.batch_norm(np.ones((2, 3)), None, None), ValueError, "running_mean is needed"),
    (lambda: tg.batch_norm(np.ones((2, 3)), tg.zeros(3), None), ValueError, "running_var is need"),
    (lambda: tg.batch_norm(np.ones((2, 3)), tg.zeros(4), tg.ones(3)), ValueError,
     r"running_mean must be a tensor of shape \(3,\).*Tensor of shape \(4,\)"),
    (lambda: tg.batch_norm(np.ones((2, 3)), np.zeros(3), tg.ones(3), training=True), ValueError,
     "running_mean must be a tensor.*ndarray"),
    (lambda: tg.batch_norm(np.ones((2, 3)), tg.zeros(3, requires_grad=True), tg.ones(3)),
     ValueError, "requires no gradient"),
    (lambda: tg.batch_norm(np.ones((2, 3)), None, None, np.ones(2), training=True), ValueError,
     r"weight must have shape \(3,\), got \(2,\)"),
    (lambda: tg.batch_norm(np.ones((2, 3)), None, None, None, np.ones((3, 1)), training=True),
     ValueError, r"bias must have shape \(3,\), got \(3, 1\)"),
    (lambda: tg.batch_norm(np.ones((2, 3), int), None, None, training=True), TypeError,
     "floating point, got int64"),
    (lambda: tg.batch_norm(np.ones(3), None, None, training=True), ValueError, "at least 2 axes"),
    (lambda: tg.batch_norm(np.ones((2, 3)), None, None, training=True, momentum=None), TypeError,
     "momentum must be a number"),
    (lambda: tg.layer_norm(np.ones((2, 3)), 4), ValueError,
     r"normalized_shape \(4,\), got.*\(2, 3\)"),
    (lambda: tg.layer_norm(np.ones((2, 3)), ()), ValueError, "normalized_shape"),
    (lambda: tg.group_norm(np.ones((2, 6, 2)), 4), ValueError, "6 channels cannot be cut into 4"),
    (lambda: tg.group_norm(np.ones((2, 6, 2)), 0), ValueError, "cut into 0"),
    (lambda: tg.instance_norm(np.ones((2, 3, 1))), ValueError, "more than one value per channel"),
    (lambda: tg.instance_norm(np.ones((2, 3))), ValueError, "at least 3 axes"),
])
def test_normalisation_errors(call, error, text):
    with pytest.raises(error, match=rf"^(batch|layer|group|instance)_norm: .*{text}"):
        call()


# ----- dropout -----

def test_dropout_keeps_the_mean_and_scales(rng):
    x = np.ones((200, 300), np.float32)
    y = tg.dropout(x, 0.3, rng=rng).data
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.7)}
    assert np.mean(y == 0) == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1.0, abs=0.02)


def test_dropout_is_drawn_from_the_generator():
    x = np.ones((50, 4))
    first, again, other = (tg.dropout(x, rng=np.random.default_rng(s)).data for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    rng = np.random.default_rng(1)
    assert np.array_equal(tg.dropout(x, rng=rng).data, first)
    assert not np.array_equal(tg.dropout(x, rng=rng).data, first)


def test_dropout2d_drops_whole_channels(rng):
    y = tg.dropout2d(np.ones((20, 30, 3, 2)), 0.5, rng=rng).data
    assert np.all(y == y[:, :, :1, :1]) and set(np.unique(y)) == {0.0, 2.0}
    assert tg.dropout2d(np.ones((2, 3, 4)), 0.5, rng=rng).shape == (2, 3, 4)


@pytest.mark.parametrize("drop", [tg.dropout, tg.dropout2d])
def test_dropout_edge_cases(drop, rng):
    x = tg.tensor(np.arange(24.0).reshape(1, 2, 3, 4), requires_grad=True)
    assert drop(x, 0.5, False) is x                          # evaluation: no generator needed
    assert drop(x, 0) is x
    y = drop(x, 1.0, rng=rng)
    assert not y.data.any()
    y.sum().backward()
    assert not x.grad.data.any()


@pytest.mark.parametrize("drop", [tg.dropout, tg.dropout2d])
def test_dropout_errors(drop, rng):
    x = np.ones((1, 2, 3, 4))
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=rf"^{drop.__name__}: p must be between 0 and 1.*{p}"):
            drop(x, p, rng=rng)
    with pytest.raises(TypeError, match=rf"^{drop.__name__}: rng must be .*missing.*default_rng"):
        drop(x)
    with pytest.raises(TypeError, match=rf"^{drop.__name__}: rng must be .*got 3; make one with"):
        drop(x, rng=3)
    with pytest.raises(TypeError, match="floating point, got int64"):
        drop(np.ones((1, 2, 3, 4), int), rng=rng)
    with pytest.raises(ValueError, match=r"^dropout2d: x must have axes NCHW or NCL.*\(3, 2\)"):
        tg.dropout2d(np.ones((3, 2)), rng=rng)


def test_dropout_is_differentiable_twice(rng):
    x = rng.standard_normal((4, 5))
    f = lambda x: tg.tanh(tg.dropout(x * x, 0.4, rng=np.random.default_rng(3)))
    tg.check_grads(f, (x,), order=2)
    x = rng.standard_normal((2, 3, 2, 2))
    tg.check_grads(lambda x: tg.dropout2d(x, 0.4, rng=np.random.default_rng(3)), (x,), order=2,
                   linear=(0,))
