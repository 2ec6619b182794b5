"""What goes wrong elsewhere: the defects found in other frameworks, rows a to r, then wishes.

Each test is named after its row; the numbers are the ones the defect was reported with.
"""
from __future__ import annotations

import gc

import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def leaf(data, dtype=np.float64):
    return tg.tensor(np.array(data, dtype), requires_grad=True)


def numeric(f, x, v, h=1e-5):
    """d/dt f(x + t v), extrapolated central differences."""
    slope = lambda h: (f(x + h * v) - f(x - h * v)) / (2 * h)
    return (4 * slope(h / 2) - slope(h)) / 3


# ----- rows a to r -----

def test_row_a_gradient_of_the_norm_of_the_conv2d_weight_gradient(rng):
    x, w = rng.standard_normal((2, 2, 6, 5)), rng.standard_normal((3, 2, 3, 3))

    def squared(x):
        dw = tg.grad(lambda w: tg.tanh(tg.conv2d(x, w, stride=2, padding=1)).sum())(tg.tensor(w))
        return (dw * dw).sum()
    v = rng.standard_normal(x.shape)
    ours = float((tg.grad(squared)(x).data * v).sum())
    assert ours == pytest.approx(numeric(lambda x: squared(tg.tensor(x)).item(), x, v), rel=1e-7)
    # the same with create_graph, as it was reported
    t, u = leaf(x), leaf(w)
    tg.tanh(tg.conv2d(t, u, stride=2, padding=1)).sum().backward(create_graph=True)
    loss = (u.grad * u.grad).sum()
    t.grad = None
    loss.backward()
    assert float((t.grad.data * v).sum()) == pytest.approx(ours, rel=1e-12)


def test_row_b_max_pool2d_pads_with_minus_infinity():
    y = tg.max_pool2d(-np.ones((1, 1, 2, 2)), 2, 2, padding=1)
    assert y.data.tolist() == [[[[-1.0, -1.0], [-1.0, -1.0]]]]


def test_row_c_max_with_ties_gives_gradients_that_sum_to_one():
    x = leaf([1.0, 1.0, 0.0])
    tg.max(x).backward()
    assert x.grad.data.tolist() == [0.5, 0.5, 0.0]


def test_row_d_a_change_between_forward_and_backward_is_an_error():
    x = leaf([2.0])
    view = x.data
    z = x * x
    view[:] = 100
    with pytest.raises(RuntimeError, match="argument 0 of mul.*was changed in place"):
        z.sum().backward()
    x = leaf([2.0])
    z = x * x
    with pytest.raises(ValueError, match="read-only"):
        x.data[:] = 100
    z.sum().backward()
    assert x.grad.data.tolist() == [4.0]


def test_row_e_conv2d_layer_is_float32():
    layer = nn.Conv2d(3, 8, 3)
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float32)}
    assert layer(tg.tensor(np.zeros((1, 3, 5, 5), np.float32))).dtype == np.float32


def test_row_f_mse_loss_divides_by_all_elements():
    x, y = np.arange(6.0).reshape(2, 3), np.zeros((2, 3))
    assert tg.mse_loss(tg.tensor(x), tg.tensor(y)).item() == 55.0 / 6
    assert "mean" in tg.mse_loss.__doc__


def test_row_g_writing_into_a_place_does_not_touch_the_incoming_gradient():
    a, b = leaf([1.0, 2.0, 3.0]), leaf([10.0, 20.0])
    idx = np.array([True, True, False])
    y = tg.where(idx, tg.concat([b, tg.tensor(np.zeros(1))]), a)
    y.sum().backward()
    assert b.grad.data.tolist() == [1.0, 1.0] and a.grad.data.tolist() == [0.0, 0.0, 1.0]
    seed = np.ones(3)
    a.grad = None
    tg.where(idx, 0.0, a).backward(gradient=seed)
    assert seed.tolist() == [1.0, 1.0, 1.0]


def test_row_h_doublings_are_linear():
    x = leaf([1.0])
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert x.grad.item() == 2.0 ** 60


def test_row_i_max_pool2d_of_negative_numbers_with_same_padding():
    y = tg.max_pool2d(-np.ones((1, 1, 3, 3)), 3, 1, padding=1)
    assert np.array_equal(y.data, -np.ones((1, 1, 3, 3)))


def test_row_j_a_gradient_times_12345_is_rejected():
    @tg.primitive
    def square(x):
        return x * x
    square.defvjp(lambda g, ans, x: g * x * 2.0 * 12345.0)
    with pytest.raises(AssertionError, match="ratio 12345"):
        tg.check_grads(square, (np.array([1.0, 2.0]),))


def test_row_k_conv2d_that_does_not_tile_is_rounded_down():
    x = leaf(np.ones((1, 1, 6, 6)))
    y = tg.conv2d(x, np.ones((1, 1, 3, 3)), stride=2)
    assert y.shape == (1, 1, 2, 2)
    y.sum().backward()
    assert x.grad.shape == (1, 1, 6, 6)
    assert np.all(x.grad.data[..., 5, :] == 0) and np.all(x.grad.data[..., :, 5] == 0)
    assert np.all(x.grad.data[..., :5, :5] > 0)


def test_row_l_a_chain_of_2000_adds():
    x = leaf([1.0])
    y = x
    for _ in range(2000):
        y = y + 1.0
    y.backward()
    assert x.grad.item() == 1.0


def test_row_m_200_muls_leave_nothing_to_the_collector():
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        x = leaf([1.0])
        y = x
        for _ in range(200):
            y = y * 1.1
        y.backward()
        del x, y
        assert len(gc.get_objects()) - before < 20
    finally:
        gc.enable()


def test_row_n_the_chosen_sub_gradients():
    at = lambda f, x: tg.grad(lambda t: f(t).sum())(np.array(x)).data.tolist()
    assert at(tg.relu, [0.0]) == [0.0]
    assert at(lambda x: tg.maximum(x, 0.0), [0.0]) == [0.5]
    assert at(lambda x: tg.clip(x, -1.0, 1.0), [-1.0, 1.0, 2.0]) == [1.0, 1.0, 0.0]
    assert at(tg.abs, [0.0]) == [0.0]
    assert at(lambda x: tg.leaky_relu(x, 0.1), [0.0]) == [0.1]
    assert at(tg.relu6, [6.0, 0.0]) == [0.0, 0.0]
    assert at(tg.sqrt, [4.0]) == [0.25]
    assert at(lambda x: x ** 0.0, [0.0]) == [0.0]


@pytest.mark.parametrize("op", ["batch_norm", "softmax"])
def test_row_o_a_zero_gradient_of_a_normalisation_is_rejected(op, rng):
    x = rng.standard_normal((5, 3))
    right = {"batch_norm": lambda x: (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5),
             "softmax": lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)}[op]
    broken = tg.primitive(right)
    broken.defvjp(lambda g, ans, x: x * 0.0)
    ones = np.ones(x.shape)
    with tg.no_grad():                                       # why a cotangent of ones sees nothing
        slope = numeric(lambda x: float((right(x) * ones).sum()), x, rng.standard_normal(x.shape))
    assert abs(slope) < 1e-6
    with pytest.raises(AssertionError, match="order 1"):
        tg.check_grads(broken, (x,))


def test_row_p_double_backward_through_batch_norm(rng):
    x, w, b = rng.standard_normal((4, 3, 3, 2)), rng.random(3) + 0.5, rng.standard_normal(3)
    tg.check_grads(lambda x, w, b: tg.batch_norm(x, None, None, w, b, training=True), (x, w, b),
                   order=2)


def test_row_q_softmax_shifts_by_row():
    y = tg.softmax(tg.tensor(np.array([[1000.0, 0.0], [0.0, 1.0]])), -1)
    np.testing.assert_allclose(y.data, [[1.0, 0.0], [0.2689414213699951, 0.7310585786300049]],
                               rtol=1e-14)


@pytest.mark.parametrize("left", [np.ones(2), np.float64(1.0), np.ones((3, 2)), 1.0, 1, True,
                                  np.array(1.0), np.ones(2, int)])
def test_row_r_numpy_on_the_left_gives_a_tensor(left):
    x = leaf([1.0, 2.0])
    for y in (left * x, left + x, left - x, left / x):
        assert isinstance(y, tg.Tensor) and y.dtype == np.float64 and y.requires_grad
    assert (left * x).shape == np.broadcast_shapes(np.shape(left), (2,))
    (left * x).sum().backward()
    rows = np.shape(left)[0] if np.ndim(left) == 2 else 1
    assert x.grad.data.tolist() == [rows, rows]


# ----- wishes -----

def test_wish_1_conv2d_with_groups_and_stride_is_its_groups_side_by_side(rng):
    x, w = rng.standard_normal((2, 4, 7, 6)), rng.standard_normal((6, 2, 3, 2))
    g = rng.standard_normal((2, 6, 3, 3))
    y, pullback = tg.vjp(lambda x, w: tg.conv2d(x, w, stride=2, groups=2), x, w)
    dx, dw = pullback(g)
    for k in range(2):
        one, back = tg.vjp(lambda x, w: tg.conv2d(x, w, stride=2),
                           x[:, 2 * k:2 * k + 2], w[3 * k:3 * k + 3])
        dx1, dw1 = back(g[:, 3 * k:3 * k + 3])
        np.testing.assert_allclose(y.data[:, 3 * k:3 * k + 3], one.data, rtol=1e-12)
        np.testing.assert_allclose(dx.data[:, 2 * k:2 * k + 2], dx1.data, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(dw.data[3 * k:3 * k + 3], dw1.data, rtol=1e-12, atol=1e-14)


def test_wish_5_second_derivatives_through_a_whole_net(rng):
    """conv2d, batch norm, relu, both pools, linear, cross-entropy: order 2, all parameters."""
    x = rng.standard_normal((3, 2, 8, 8))
    w1, w2 = rng.standard_normal((4, 2, 3, 3)), rng.standard_normal((5, 4))

    def net(x, w1, w2):
        y = tg.conv2d(x, w1, padding=1)
        y = tg.batch_norm(y, None, None, None, None, training=True)
        y = tg.avg_pool2d(tg.max_pool2d(tg.softplus(y), 2), 2)
        y = tg.matmul(y.sum(axis=(2, 3)), w2.T)
        return tg.cross_entropy(y, np.array([0, 3, 4]))
    tg.check_grads(net, (x, w1, w2), order=2)


@pytest.mark.parametrize("n, k, s, p, size", [(32, 1, 2, 0, 16), (6, 1, 2, 0, 3), (9, 4, 4, 2, 3),
                                              (7, 3, 2, 0, 3), (6, 3, 2, 0, 3)])
def test_wish_7_ceil_mode_of_max_pool2d_and_avg_pool2d(n, k, s, p, size):
    x = -np.ones((1, 1, n, n))
    y = tg.max_pool2d(x, k, s, padding=p, ceil_mode=True)
    assert y.shape == (1, 1, size, size) and np.all(y.data == -1)   # no window outside: no -inf
    z = tg.avg_pool2d(x, k, s, padding=p, ceil_mode=True, count_include_pad=False)
    assert z.shape == y.shape and np.all(z.data == -1)


def test_wish_7_avg_pool2d_divisors():
    x = np.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    y = tg.avg_pool2d(x, 3, 2, padding=1, ceil_mode=True).data[0, 0]
    np.testing.assert_allclose(y, [[14 / 9, 10 / 3, 2], [19 / 3, 11, 6], [4.5, 7.5, 4]], rtol=1e-12)
    y = tg.avg_pool2d(x, 3, 2, ceil_mode=True).data[0, 0]
    np.testing.assert_allclose(y, [[6, 7.5], [12, 13.5]], rtol=1e-12)


def test_wish_8_conv_transpose2d_is_the_adjoint_and_its_size_can_be_given(rng):
    x, w = rng.standard_normal((2, 3, 8, 7)), rng.standard_normal((4, 3, 3, 2))
    y = tg.conv2d(x, w, stride=2)
    z = rng.standard_normal(y.shape)
    back = tg.conv_transpose2d(z, w, stride=2, output_size=(8, 7))
    assert back.shape == x.shape
    assert (y.data * z).sum() == pytest.approx((x * back.data).sum(), rel=1e-12)
    assert tg.conv_transpose2d(z, w, stride=2, output_padding=1).shape == (2, 3, 8, 7)


def test_wish_19_repeated_indices_accumulate():
    x = leaf([1.0, 2.0, 3.0])
    (x[np.array([0, 0, 2, 0])] * np.array([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert x.grad.data.tolist() == [1011.0, 0.0, 100.0]
    m = leaf(np.zeros((3, 2)))
    m[[0, 0, 1], [1, 1, 0]].sum().backward()
    assert m.grad.data.tolist() == [[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]]


def test_wish_20_no_nan_where_the_cotangent_is_zero():
    x = leaf([0.0, 4.0])
    (tg.sqrt(x) * np.array([0.0, 1.0])).sum().backward()
    assert x.grad.data.tolist() == [0.0, 0.25]


def test_wish_20_std_of_constants_has_gradient_zero():
    x = leaf([3.0, 3.0, 3.0])
    tg.std(x).backward()
    assert x.grad.data.tolist() == [0.0, 0.0, 0.0]


def test_wish_20_the_masked_branch_of_where_and_the_double_where():
    """A masked nan comes through where, as everywhere (0 * nan); the inner where is the cure."""
    x = leaf([-1.0, 4.0])
    with np.errstate(invalid="ignore"):
        safe = tg.where(x.data > 0, x, 1.0)
        tg.where(x.data > 0, tg.sqrt(safe), x).sum().backward()
    assert x.grad.data.tolist() == [1.0, 0.25]


def test_wish_20_cross_entropy_and_log_softmax_of_huge_logits():
    x = leaf([[1e4, -1e4, 0.0]])
    loss = tg.cross_entropy(x, np.array([1]))
    assert loss.item() == 2e4
    loss.backward()
    assert x.grad.data.tolist() == [[1.0, -1.0, 0.0]]


def test_wish_21_matmul_with_an_array_on_the_left(rng):
    a, x = rng.standard_normal((4, 3)), leaf(rng.standard_normal((3, 2)))
    y = a @ x
    assert isinstance(y, tg.Tensor)
    np.testing.assert_allclose(y.data, a @ x.data)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.data, np.tile(a.sum(0)[:, None], (1, 2)))
    assert (np.float64(2) * leaf([1.0], np.float32)).dtype == np.float32


def test_wish_21_comparisons_with_an_array_on_the_left():
    x = leaf([1.0, 3.0])
    assert (np.array([2.0, 2.0]) < x).data.tolist() == [False, True]


INDEX, LABELS = np.array([0, 2]), np.arange(12)
CELLS = np.tile(np.arange(36).reshape(6, 6), (2, 3, 1, 1))
EVEN = np.tile(np.arange(6) % 2 == 0, (2, 3, 6, 1))


def rows(x):
    return tg.reshape(x, (12, 18))


# op, an argument of its call, what the caller then changes it to
CHANGED_LATER = {
    "sum axis": (lambda x, a: tg.sum(x, axis=a), [0, 1], [2, 3]),
    "mean axis": (lambda x, a: tg.mean(x, axis=a), [0, 1], [2]),
    "max axis": (lambda x, a: tg.max(x, axis=a), [0, 1], [2]),
    "logsumexp axis": (lambda x, a: tg.logsumexp(x, axis=a), [0, 1], [2]),
    "var axis": (lambda x, a: tg.var(x, axis=a), [0, 1], [2]),
    "transpose axes": (lambda x, a: tg.transpose(x, a), [0, 2, 3, 1], [0, 1, 2, 3]),
    "reshape shape": (lambda x, a: tg.reshape(x, a), [6, 36], [36, 6]),
    "pad widths": (lambda x, a: tg.pad(x, a), [(0, 0), (0, 0), (1, 0), (0, 1)], [(0, 0)] * 4),
    "roll shift": (lambda x, a: tg.roll(x, a, [2, 3]), [1, 2], [0, 0]),
    "flip axes": (lambda x, a: tg.flip(x, a), [2], [3]),
    "split cuts": (lambda x, a: tg.split(x, a, 2)[1], [1, 4], [2, 3]),
    "take_along_axis": (lambda x, a: tg.take_along_axis(x, a, 3), CELLS[..., :2] % 6, 1),
    "getitem array": (lambda x, a: x[:, a], INDEX, 1),
    "getitem list": (lambda x, a: x[:, a], [0, 2], [1, 1]),
    "getitem mask": (lambda x, a: x[a], EVEN, True),
    "where": (lambda x, a: tg.where(a, x, 0.0), EVEN, True),
    "conv2d stride": (lambda x, a: tg.conv2d(x, np.ones((4, 3, 3, 3)), stride=a), [2, 1], [1, 2]),
    "conv2d padding": (lambda x, a: tg.conv2d(x, np.ones((4, 3, 3, 3)), padding=a), [2, 1], [1, 2]),
    "conv2d weight": (lambda x, a: tg.conv2d(x, a), np.ones((4, 3, 3, 3)), 2),
    "max_pool2d stride": (lambda x, a: tg.max_pool2d(x, 3, a), [2, 1], [1, 2]),
    "avg_pool2d padding": (lambda x, a: tg.avg_pool2d(x, 3, 1, a), [1, 1], [0, 1]),
    "adaptive_avg_pool2d": (lambda x, a: tg.adaptive_avg_pool2d(x, a), [2, 3], [1, 1]),
    "max_unpool2d": (lambda x, a: tg.max_unpool2d(x, a, 2), CELLS, 1),
    "matmul": (lambda x, a: x @ a, np.ones((6, 2)), 2),
    "linear": (lambda x, a: tg.linear(x, a), np.ones((2, 6)), 2),
    "einsum": (lambda x, a: tg.einsum("ncij,jk->ncik", x, a), np.ones((6, 2)), 2),
    "layer_norm": (lambda x, a: tg.layer_norm(x, a), [6], [3]),
    "cross_entropy": (lambda x, a: tg.cross_entropy(rows(x), a), LABELS, 1),
    "cross_entropy weight": (lambda x, a: tg.cross_entropy(rows(x), LABELS, weight=a),
                             np.arange(1.0, 19), 1),
    "nll_loss": (lambda x, a: tg.nll_loss(rows(x), a), LABELS, 1),
    "hinge_loss": (lambda x, a: tg.hinge_loss(rows(x), a), LABELS, 1),
    "mse_loss": (lambda x, a: tg.mse_loss(x, a), np.ones((2, 3, 6, 6)), 2),
    "batch_norm mean": (lambda x, a: tg.batch_norm(x, tg.from_numpy(a), tg.ones(3)),
                        np.zeros(3), 2),
    "concatenate": (lambda x, a: tg.concatenate([x, *a], 0), [np.ones((1, 3, 6, 6))], []),
}


@pytest.mark.parametrize("name", CHANGED_LATER)
def test_wish_12_an_argument_changed_after_the_call_is_refused_or_does_no_harm(name, rng):
    op, given, later = CHANGED_LATER[name]
    data = rng.standard_normal((2, 3, 6, 6))

    def gradient(change):
        x, a = leaf(data), given.copy()
        y = op(x, a)
        loss = (y * np.cos(np.arange(y.size)).reshape(y.shape)).sum()
        if change:
            a[:] = later
        loss.backward()
        return x.grad.data
    expected = gradient(False)
    try:
        assert np.array_equal(gradient(True), expected)
    except RuntimeError as e:
        assert "was changed in place" in str(e)


def test_wish_18_a_float32_net_is_float32_throughout(rng):
    """Every node of the forward tape and of the gradient's."""
    x = tg.tensor(rng.standard_normal((2, 1, 8, 8)).astype(np.float32))
    w = tg.tensor(rng.standard_normal((3, 1, 3, 3)).astype(np.float32), requires_grad=True)
    y = tg.batch_norm(tg.conv2d(x, w, padding=1), None, None, None, None, training=True)
    y = tg.max_pool2d(tg.relu(y), 2).reshape(2, -1)
    y = y / np.sqrt(2.0) * np.float64(1.5)
    loss = tg.cross_entropy(y, np.array([0, 1]), label_smoothing=0.1)
    loss.backward(create_graph=True)
    for entry in (*tg.tape(loss), *tg.tape(w.grad)):
        assert entry.output.dtype == np.float32, entry.node.primitive.name
        for t in entry.node.inputs:
            assert t.dtype != np.float64, entry.node.primitive.name


def test_numbers_conv2d_is_a_cross_correlation():
    x, w = np.arange(1.0, 6.0).reshape(1, 1, 1, 5), np.array([[[[1.0, 2.0, 3.0]]]])
    assert tg.conv2d(x, w).data.ravel().tolist() == [14.0, 20.0, 26.0]


def test_numbers_cross_entropy_with_weight_smoothing_and_ignored_rows():
    logits, target = np.array([[1.0, 2.0], [3.0, 0.4]]), np.array([-100, 1])
    loss = tg.cross_entropy(tg.tensor(logits), target, weight=np.array([0.2, 0.3]),
                            label_smoothing=0.1)
    assert loss.item() == pytest.approx(2.540450613768209, rel=1e-14)
    logits = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    loss = tg.cross_entropy(tg.tensor(logits), np.array([0, 2]), weight=np.array([1.0, 1.0, 4.0]))
    assert loss.item() == pytest.approx(0.8076059644, abs=1e-10)


def test_wish_23_the_line_that_made_a_nan_is_named_forward_or_backward():
    """HIPS#359, pytorch#43405: which forward line made this NaN?"""
    x = leaf([0.0, 4.0])
    with np.errstate(invalid="ignore"):
        y = (tg.log(x * 0.5 - 1.0) + 1.0).sum()
    forward = tg.draw(y, show="nan").graph
    backward = tg.draw((tg.sqrt(x) * 2.0).sum(), show="nan").graph
    for g, op, how in ((forward, "log", "made at"), (backward, "sqrt", "of the backward")):
        assert [box.label for box in g.boxes if box.mark == "nan"] == [op]
        assert any(how in note and "test_field.py:" in note for box in g.boxes for note in box.notes)


def test_wish_29_the_health_of_gradients_is_on_the_picture(rng):
    """pytorch#54375: vanishing ones are marked, in a net of sigmoids at the first layers."""
    layers = [m for _ in range(12) for m in (nn.Linear(8, 8, rng=rng), nn.Sigmoid())]
    loss = nn.Sequential(*layers)(tg.ones(4, 8)).mean()
    loss.backward()
    marks = {box.scope[0]: box.mark for box in tg.draw(loss, show="grad", unroll=True).graph.boxes
             if box.kind == "parameter"}
    assert marks["0"] == "vanishing" and marks["22"] == ""
