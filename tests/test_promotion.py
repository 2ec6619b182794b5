"""One rule for the dtype of a result: that of the plain expression; lists and numbers are as narrow as what they meet."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg

KINDS = (np.float16, np.float32, np.float64)


def per_channel(t, *after):
    return tg.reshape(t, (-1, *after))


# name: shapes of the inputs, the op, and the expression it stands for, of the same inputs
OPS = {
    "linear": (((2, 3), (4, 3), (4,)), tg.linear, lambda x, w, b: x @ tg.transpose(w) + b),
    "conv2d": (((1, 2, 4, 4), (3, 2, 2, 2), (3,)), tg.conv2d, lambda x, w, b: tg.conv2d(x, w) + per_channel(b, 1, 1)),
    "conv2d of groups": (((1, 4, 4, 4), (4, 2, 2, 2), (4,)), lambda x, w, b: tg.conv2d(x, w, b, groups=2),
                         lambda x, w, b: tg.conv2d(x, w, groups=2) + per_channel(b, 1, 1)),
    "conv2d depthwise": (((1, 2, 4, 4), (2, 1, 2, 2), (2,)), lambda x, w, b: tg.conv2d(x, w, b, groups=2),
                         lambda x, w, b: tg.conv2d(x, w, groups=2) + per_channel(b, 1, 1)),
    "conv1d": (((1, 2, 4), (3, 2, 2), (3,)), tg.conv1d, lambda x, w, b: tg.conv1d(x, w) + per_channel(b, 1)),
    "conv_transpose2d": (((1, 2, 4, 4), (2, 3, 2, 2), (3,)), tg.conv_transpose2d, lambda x, w, b: tg.conv_transpose2d(x, w) + per_channel(b, 1, 1)),
    "conv_transpose2d strided": (((1, 2, 4, 4), (2, 3, 2, 2), (3,)), lambda x, w, b: tg.conv_transpose2d(x, w, b, 2),
                                 lambda x, w, b: tg.conv_transpose2d(x, w, None, 2) + per_channel(b, 1, 1)),
    "conv_transpose2d depthwise": (((1, 2, 4, 4), (2, 1, 2, 2), (2,)), lambda x, w, b: tg.conv_transpose2d(x, w, b, 2, groups=2),
                                   lambda x, w, b: tg.conv_transpose2d(x, w, None, 2, groups=2) + per_channel(b, 1, 1)),
    "conv2d_weight": (((1, 3, 3, 3), (1, 2, 4, 4)), lambda g, x: tg.conv2d_weight(g, x, 2), lambda g, x: (g[:, :2] * x[..., :3, :3])),
    "batch_norm": (((3, 2), (2,), (2,)), lambda x, w, b: tg.batch_norm(x, None, None, w, b, True), lambda x, w, b: tg.batch_norm(x, None, None, None, None, True) * w + b),
    "batch_norm running": (((3, 2), (2,), (2,)), lambda x, w, b: tg.batch_norm(x, tg.zeros(2), tg.ones(2), w, b),
                           lambda x, w, b: tg.batch_norm(x, tg.zeros(2), tg.ones(2)) * w + b),
    "layer_norm": (((3, 2), (2,), (2,)), lambda x, w, b: tg.layer_norm(x, 2, w, b), lambda x, w, b: tg.layer_norm(x, 2) * w + b),
    "group_norm": (((3, 2, 2), (2,), (2,)), lambda x, w, b: tg.group_norm(x, 1, w, b), lambda x, w, b: tg.group_norm(x, 1) * per_channel(w, 1) + per_channel(b, 1)),
    "instance_norm": (((3, 2, 4), (2,), (2,)), lambda x, w, b: tg.instance_norm(x, None, None, w, b),
                      lambda x, w, b: tg.instance_norm(x) * per_channel(w, 1) + per_channel(b, 1)),
    "matmul": (((2, 3), (3, 4)), tg.matmul, lambda x, y: x[:1, :1] * y), "matmul stack": (((2, 2, 3), (3, 4)), tg.matmul, lambda x, y: x[..., :1] * y[:1]),
    "matmul outer": (((3, 1), (1, 3)), tg.matmul, lambda x, y: x * y), "outer": (((2,), (3,)), tg.outer, lambda x, y: x[:1] * y),
    "einsum": (((2, 3), (3, 4), (4,)), lambda x, y, z: tg.einsum("ij,jk,k->i", x, y, z), lambda x, y, z: x[0, 0] * y[0, 0] * z),
    "where": (((2, 3), (3,)), lambda x, y: tg.where(x > 1, x, y), lambda x, y: x + y), "where number": (((2, 3), ()), lambda x, y: tg.where(x > 1, x, y), lambda x, y: x + y),
    "concat": (((2, 3), (2, 3)), lambda x, y: tg.concat([x, y]), lambda x, y: x + y), "stack": (((2, 3), (2, 3)), lambda x, y: tg.stack([x, y]), lambda x, y: x + y),
    "maximum": (((2, 3), (2, 3)), tg.maximum, lambda x, y: x + y), "pow": (((2, 3), (2, 3)), tg.pow, lambda x, y: x + y),
    "mse_loss": (((2, 3), (2, 3)), tg.mse_loss, lambda x, y: tg.mean((x - y) * (x - y))), "l1_loss": (((2, 3), (2, 3)), tg.l1_loss, lambda x, y: tg.mean(abs(x - y))),
    "huber_loss": (((2, 3), (2, 3)), tg.huber_loss, lambda x, y: tg.mean(x - y)), "kl_div": (((2, 3), (2, 3)), tg.kl_div, lambda x, y: tg.mean(y * (tg.log(y) - x))),
    "binary cross entropy": (((2, 3), (2, 3), (3,), (3,)), lambda x, y, w, p: tg.binary_cross_entropy_with_logits(x, y, w, pos_weight=p), lambda x, y, w, p: tg.mean(x * y * w * p)),
    "cross_entropy of odds": (((2, 3), (2, 3)), tg.cross_entropy, lambda x, p: -tg.sum(tg.log_softmax(x, 1) * p)),
}


@pytest.mark.parametrize("name", OPS)
def test_a_fused_op_has_the_dtype_of_the_expression_and_gradients_that_of_their_input(name, rng):
    shapes, fused, plain = OPS[name]
    for kinds in itertools.product(KINDS, repeat=len(shapes)):
        inputs = [tg.tensor(rng.uniform(0.5, 1.5, s).astype(k), requires_grad=True) for s, k in zip(shapes, kinds)]
        y = fused(*inputs)
        assert y.dtype == plain(*inputs).dtype == np.result_type(*kinds), kinds
        y.sum().backward()
        assert [t.grad.dtype for t in inputs] == list(kinds), kinds


LISTS = {  # x, and a list beside it that holds what no float32 does
    "conv2d": lambda x, v: tg.conv2d(tg.reshape(x, (1, 1, 1, 2)), [[[[v]]]], [v]), "linear": lambda x, v: tg.linear(x, [[v, v]], [v]),
    "layer_norm": lambda x, v: tg.layer_norm(x, 2, [v, v], [v, v]), "batch_norm": lambda x, v: tg.batch_norm(x, tg.zeros(2), tg.ones(2), [v, v], [v, v]),
    "concat": lambda x, v: tg.concat([x, [[v, v]]]), "stack": lambda x, v: tg.stack([x, [[v, v]]]), "outer": lambda x, v: tg.outer(x, [v]),
    "einsum": lambda x, v: tg.einsum("ij,j->i", x, [v, v]), "mse_loss": lambda x, v: tg.mse_loss(x, [[v, v]]),
    "cross_entropy": lambda x, v: tg.cross_entropy(x, [0], weight=[v, 0.5], reduction="sum"), "odds": lambda x, v: tg.cross_entropy(x, [[v, 1 - v]]),
    "binary cross entropy": lambda x, v: tg.binary_cross_entropy_with_logits(x, [[v, v]], [v, v], pos_weight=[v, v]), "mul": lambda x, v: x * [v, v],
    "hinge_loss": lambda x, v: tg.hinge_loss(x, [0], weight=[v, v]), "where": lambda x, v: tg.where([[True, False]], x, [v, v]),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_has_the_width_of_what_it_meets_and_no_less_precision(name):
    x = np.array([[0.3, -0.2]])
    for kind in KINDS:
        assert LISTS[name](tg.tensor(x.astype(kind)), 0.1).dtype == kind
    wide, rounded = LISTS[name](tg.tensor(x), 0.1), LISTS[name](tg.tensor(x), float(np.float32(0.1)))
    assert not np.array_equal(wide.data, rounded.data), "the list went through float32"


FIRST = {  # a list in the first place, and a tensor beside it
    "conv2d": lambda v, t: tg.conv2d([[[[v]]]], tg.reshape(t, (1, 1, 1, 1))), "conv_transpose2d": lambda v, t: tg.conv_transpose2d([[[[v]]]], tg.reshape(t, (1, 1, 1, 1))),
    "conv2d_weight": lambda v, t: tg.conv2d_weight([[[[v]]]], tg.reshape(t, (1, 1, 1, 1)), 1), "linear": lambda v, t: tg.linear([[v]], tg.reshape(t, (1, 1))),
    "mse_loss": lambda v, t: tg.mse_loss([v], t), "cross_entropy": lambda v, t: tg.cross_entropy([[v, 0.3]], tg.stack([t, 1.0 - t], 1)),
    "layer_norm": lambda v, t: tg.layer_norm([[v, 0.3]], 2, tg.concat([t, t])), "group_norm": lambda v, t: tg.group_norm([[v, 0.3]], 1, tg.concat([t, t])),
    "matmul": lambda v, t: tg.matmul([v], t), "stack": lambda v, t: tg.stack([[v], t]), "einsum": lambda v, t: tg.einsum("i,i->", [v], t),
}


@pytest.mark.parametrize("name", FIRST)
def test_so_has_a_list_in_the_first_place(name):
    for kind in KINDS:
        assert FIRST[name](0.1, tg.tensor(np.array([0.7], kind))).dtype == kind
    t = tg.tensor(np.array([0.7]))
    assert not np.array_equal(FIRST[name](0.1, t).data, FIRST[name](float(np.float32(0.1)), t).data), "the list went through float32"


def test_weights_of_classes_are_taken_in_the_dtype_of_the_input():
    for kind in KINDS:
        x = tg.tensor(np.ones((2, 3), kind))
        for loss in (tg.cross_entropy, tg.nll_loss, tg.hinge_loss):
            assert loss(x, [0, 1], weight=np.ones(3)).dtype == kind
