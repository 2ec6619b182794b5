"""Multiply-adds against counts by plain loops; bytes kept against what the memory really holds."""
from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.draw.measure import saved_bytes


def last_call(y):
    entry = tg.tape(y)[-1]
    return tg.multiply_adds(entry.node.primitive, [t.shape for t in entry.node.inputs],
                            entry.output.shape, entry.node.params)


def leaf(*shape, dtype=np.float32):
    return tg.ones(*shape, dtype=dtype, requires_grad=True)


CONVS = [{}, {"stride": 2}, {"padding": 2}, {"dilation": 2}, {"groups": 2},
         {"groups": 4, "stride": (1, 2), "dilation": (2, 1), "padding": 1}]


def conv_loops(y_shape, w_shape):
    """Count one for each product of the seven loops that define a convolution."""
    count = 0
    n, o, oh, ow = y_shape
    for _ in np.ndindex(n, o, oh, ow):
        for _ in np.ndindex(*w_shape[1:]):
            count += 1
    return count


@pytest.mark.parametrize("options", CONVS)
def test_a_convolution_and_its_adjoints_are_counted_as_the_loops_run(options):
    x, w = leaf(2, 4, 7, 8), leaf(8, 4 // options.get("groups", 1), 3, 2)
    y = tg.conv2d(x, w, **options)
    count = conv_loops(y.shape, w.shape)
    assert last_call(y) == count
    y.backward(tg.ones(*y.shape), create_graph=True)
    made = {g.node.primitive.name: last_call(g) for g in (x.grad, w.grad)}
    assert made == {"conv_transpose2d": count, "conv2d_weight": count}


def test_a_convolution_along_a_line_counts_its_one_call():
    y = tg.conv1d(leaf(2, 4, 9), leaf(6, 2, 3), groups=2)
    counts = [tg.multiply_adds(e.node.primitive, [t.shape for t in e.node.inputs],
                               e.output.shape, e.node.params) for e in tg.tape(y)]
    assert sum(counts) == 2 * 6 * 7 * (2 * 3)


@pytest.mark.parametrize("x, y, count", [
    ((3, 4), (4, 5), 60), ((7, 3, 4), (4, 5), 420), ((7, 3, 4), (7, 4, 5), 420),
    ((2, 1, 3, 4), (5, 4, 6), 2 * 5 * 72), ((4,), (4,), 4), ((4,), (4, 5), 20), ((3, 4), (4,), 12)])
def test_matrix_products(x, y, count):
    assert last_call(tg.matmul(leaf(*x), leaf(*y))) == count


def test_the_linear_layer():
    assert last_call(tg.linear(leaf(6, 3, 4), leaf(5, 4), leaf(5))) == 6 * 3 * 4 * 5


@pytest.mark.parametrize("subscripts, shapes, count", [
    ("ij,jk->ik", [(3, 4), (4, 5)], 60), ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)], 120),
    ("i,i->", [(7,), (7,)], 7), ("ij,kj->", [(3, 4), (1, 4)], 12), ("ii->i", [(3, 3)], 0),
    ("ij->", [(3, 4)], 0), ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)], 120),
    ("ij,jk,kl->il", [(2, 3), (3, 100), (100, 5)], 3 * 100 * 5 + 2 * 3 * 5)])
def test_einsum_counts_what_its_equation_says(subscripts, shapes, count):
    assert last_call(tg.einsum(subscripts, *[leaf(*s) for s in shapes])) == count


def test_other_calls_count_nothing():
    x = leaf(3, 4)
    assert last_call(x + x) == last_call(tg.exp(x)) == last_call(tg.sum(x)) == 0


def kept(y):
    g = tg.graph(y)
    return dict(zip([box.label for box in g.boxes], saved_bytes(g.sources.values())))


def test_views_and_parameters_keep_nothing_new():
    w = leaf(4, 6)
    y = tg.exp(tg.transpose(tg.exp(tg.reshape(w, (6, 4)))))
    sizes = [*saved_bytes(tg.graph(y).sources.values())]
    assert sizes == [0, 0, 96, 0, 96]             # w, reshape, exp, transpose, exp


def test_constants_and_inputs_count_once():
    x, w = tg.ones(5, 3), leaf(2, 3)
    y = tg.linear(x, w) + tg.sum(x * x, axis=1, keepdims=True)  # the second is not on the tape
    assert kept(y)["x"] == 60 and kept(y)["linear"] == 40 and kept(y)["w"] == 0


def test_all_outputs_of_a_call_count_before_and_after_backward():
    @tg.primitive
    def with_index(x):
        return x * 2.0, np.argsort(x)
    with_index.defvjp(lambda g, ans, x: g[0] * 2.0)
    y = tg.sum(with_index(leaf(10))[0])
    before = kept(y)
    assert [*before.values()] == [0, 40 + 80, 4]
    y.backward()
    assert kept(y) == before


def network():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, rng=rng), nn.BatchNorm2d(16), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, groups=4, rng=rng), nn.ReLU(),
                         nn.Flatten(), nn.Linear(32 * 14 * 14, 10, rng=rng))


def test_the_sum_is_what_the_tape_holds_in_memory():
    net, x = network(), tg.ones(8, 3, 32, 32)
    net(x).sum().backward()                       # workspaces are allocated
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        loss = net(x).sum()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    counted = sum(saved_bytes(tg.graph(loss).sources.values())) - x.size * 4
    assert counted == pytest.approx(held, rel=0.05)


def test_the_bytes_are_the_same_after_backward():
    loss = network()(tg.ones(2, 3, 32, 32)).sum()
    before = saved_bytes(tg.graph(loss).sources.values())
    loss.backward()
    assert saved_bytes(tg.graph(loss).sources.values()) == before
