"""Checkpoints: the same numbers at every order, in less memory; what f does besides happens once."""
from __future__ import annotations

import gc
import tracemalloc
import weakref

import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def leaf(*shape, rng):
    return tg.tensor(rng.standard_normal(shape), requires_grad=True)


def f(x, w):
    y = tg.tanh(x * w)
    return y * tg.exp(-y) + x


def test_derivatives_of_every_order_are_those_without_it(rng):
    x, w = rng.standard_normal((2, 3))
    kept = lambda x, w: tg.checkpoint(f, x, w)
    tg.check_grads(kept, (x, w), order=3)
    assert np.array_equal(tg.jacobian(kept)(x, w).data, tg.jacobian(f)(x, w).data)
    for by in (tg.hvp, tg.vhp):
        ours, plain = [by(lambda x, w, g=g: g(x, w).sum(), (x, w), (w, x)) for g in (kept, f)]
        for a, b in zip(ours, plain):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-13)
    np.testing.assert_allclose(tg.jvp(kept, (x, w), (w, x))[1].data, tg.jvp(f, (x, w), (w, x))[1].data, rtol=1e-13)


def network(rng):
    def block(m):
        return nn.Sequential(nn.Conv2d(m, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3, rng=rng),
                             nn.Conv2d(8, 8, 3, padding=1, rng=rng), nn.Tanh())
    return nn.Sequential(block(3), *[block(8) for _ in range(5)])


def trained(kept: bool):
    """Three steps of SGD: parameters, buffers, losses."""
    rng = np.random.default_rng(0)
    net, x = network(rng), tg.randn(4, 3, 8, 8, rng=rng)
    optimizer, losses = nn.SGD(net.parameters(), 0.1), []
    for _ in range(3):
        optimizer.zero_grad()
        h = x
        for block in net:
            h = tg.checkpoint(block, h) if kept else block(h)
        loss = (h * h).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {**net.state_dict(), "losses": np.array(losses), "random": np.array(next(net.named_generators())[1].random())}


def test_training_is_the_same_to_the_last_bit_with_dropout_and_batch_norm():
    """Masks are drawn once, running statistics updated once, generators left where they would be."""
    ours, plain = trained(True), trained(False)
    assert plain["0.1.num_batches_tracked"] == 3 and ours.keys() == plain.keys()
    assert all(np.array_equal(ours[name], plain[name]) for name in plain)


def peak(kept: bool) -> int:
    rng = np.random.default_rng(0)
    blocks = [nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, rng=rng), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1, rng=rng), nn.Tanh(),
                            nn.Conv2d(8, 8, 3, padding=1, rng=rng), nn.Tanh()) for _ in range(10)]
    h = x = tg.randn(8, 8, 32, 32, rng=rng)
    for _ in range(2):  # once to make the kernels and what they keep
        gc.collect()
        tracemalloc.start()
        h = x
        for block in blocks:
            h = tg.checkpoint(block, h) if kept else block(h)
        h.sum().backward()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return found


def test_memory_is_that_of_one_part_and_the_results_of_the_others():
    """Of 30 activations of 256 KiB each 10 are left, and 3 for a while."""
    activation = 8 * 8 * 32 * 32 * 4
    plain, kept = peak(False), peak(True)
    assert plain > 30 * activation and kept < 22 * activation and kept < 0.6 * plain, (plain, kept)


def test_it_is_freed_by_reference_counting(rng):
    x = leaf(50, 50, rng=rng)
    gc.collect()
    gc.disable()
    try:
        seen = []

        def g(x):
            y = tg.exp(x)
            seen.append(weakref.ref(y))
            return y * 2.0
        y = tg.checkpoint(g, x)
        assert seen[0]() is None
        node = y.node
        y.sum().backward()
        del y, node
        tg.hvp(lambda x: tg.checkpoint(g, x).sum(), (x,), (x,))
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_parameters_and_other_tensors_from_outside_get_their_gradients(rng):
    x, w = leaf(3, rng=rng), leaf(3, rng=rng)
    h = x * 2.0
    (tg.checkpoint(lambda y: y * w + h, x) * h).sum().backward()
    found = [t.grad.data.copy() for t in (x, w)]
    x.grad = w.grad = None
    h = x * 2.0
    ((x * w + h) * h).sum().backward()
    for a, b in zip(found, (x.grad, w.grad)):
        np.testing.assert_allclose(a, b.data, rtol=1e-14)


def test_what_no_call_inside_has_kept_is_found_all_the_same(rng):
    """A large tensor from outside, of which the calls inside need no values."""
    x = leaf(40, 40, rng=rng)
    h = tg.sin(x) + 1.0  # nobody needs the values of a sum
    for g in (lambda: tg.checkpoint(lambda: tg.relu(h) + h), lambda: tg.checkpoint(lambda t: tg.relu(t) + h, h),
              lambda: tg.checkpoint(lambda t: t["h"] + 1.0, {"h": h})):
        y = g()
        x.grad = None
        y.backward(np.ones(x.shape))
        expected = (2.0 if y.tolist() != (h.data + 1).tolist() else 1.0) * np.cos(x.data)
        np.testing.assert_allclose(x.grad.data, expected, rtol=1e-13)
        h = tg.sin(x) + 1.0


def test_results_keep_their_structure_and_what_is_no_result_of_f_its_identity(rng):
    x, other = leaf(3, rng=rng), tg.tensor([1, 2])
    made = tg.checkpoint(lambda x: {"a": x * 2.0, "b": (x, other, [tg.argmax(x * 3.0)]), "c": None}, x)
    assert made["b"][0] is x and made["b"][1] is other and made["c"] is None and made["b"][2][0].dtype == np.int64
    assert made["a"].node.primitive.name == "checkpoint"
    y, z, again = tg.checkpoint(lambda x: (x * 2.0, tg.exp(x), x * 1.0), x)
    assert y.node is z.node is again.node
    (y * z).sum().backward()
    np.testing.assert_allclose(x.grad.data, 2 * np.exp(x.data) * (1 + x.data))


def test_it_nests(rng):
    x, w = rng.standard_normal((2, 3))
    inner = lambda x, w: tg.checkpoint(f, x, w) * x
    tg.check_grads(lambda x, w: tg.checkpoint(lambda a, b: inner(inner(a, b), b), x, w), (x, w), order=2)


def test_nothing_is_kept_where_nothing_is_recorded(rng):
    x = leaf(3, rng=rng)
    with tg.no_grad():
        assert tg.checkpoint(f, x, x).is_leaf
    assert tg.checkpoint(f, x.detach(), x.detach()).is_leaf
    assert tg.checkpoint(lambda: 3) == 3


def test_a_change_in_place_is_noticed(rng):
    for changed in ("parameter", "constant", "users"):
        x, w, c, a = leaf(3, rng=rng), leaf(3, rng=rng), tg.tensor(np.ones(3)), np.ones(3)
        y = tg.checkpoint(lambda x: tg.exp(x * w) * c * tg.from_numpy(a), x)  # noqa: B023
        if changed == "users":
            a[0] = 5.0
        else:
            {"parameter": w, "constant": c}[changed].mutate()[0] = 5.0
        with pytest.raises(RuntimeError, match="of checkpoint, tensor .* was changed in place"):
            y.sum().backward()

    def g(x):
        y = tg.exp(x) * c
        c.mutate()[0] = 7.0
        return y
    with pytest.raises(RuntimeError, match="of mul, .* was changed in place"):
        tg.checkpoint(g, x)


def test_a_second_backward_needs_the_graph_retained(rng):
    x = leaf(3, rng=rng)
    y = tg.checkpoint(f, x, x).sum()
    y.backward(retain_graph=True)
    first = x.grad.data.copy()
    y.backward()
    np.testing.assert_allclose(x.grad.data, 2 * first)
    with pytest.raises(RuntimeError, match="already used by a backward"):
        y.backward()


def test_what_f_holds_can_still_be_differentiated(rng):
    x, held = leaf(3, rng=rng), []
    tg.checkpoint(lambda x: held.append(tg.exp(x) * x) or held[0] * 2.0, x)
    held[0].sum().backward()
    np.testing.assert_allclose(x.grad.data, np.exp(x.data) * (1 + x.data))


def test_an_error_inside_leaves_nothing_behind(rng):
    x = leaf(3, rng=rng)
    with pytest.raises(ZeroDivisionError):
        tg.checkpoint(lambda x: 1 / 0, x)
    with pytest.raises(TypeError, match="checkpoint: expects a function, got Tensor"):
        tg.checkpoint(x)
    assert tg.is_recording() and tg.checkpoint(f, x, x).requires_grad


def test_the_tape_says_how_many_calls_there_are(rng):
    x = leaf(3, rng=rng)
    assert "= checkpoint(leaf0, calls=<3 calls>)" in repr(tg.tape(tg.checkpoint(lambda x: tg.exp(tg.sin(tg.cos(x))), x)))
    assert "checkpoint 6 calls" in [box.label for box in tg.graph(tg.checkpoint(f, x, x).sum()).boxes]


def test_hooks_inside_are_called_and_may_replace_gradients():
    def f(t):
        h = t * t
        h.register_hook(lambda g: g * 10.0)
        y = tg.sin(h)
        y.register_hook(lambda g: g * 2.0)
        return y
    found = []
    for call in (f, lambda t: tg.checkpoint(f, t)):
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        call(x).sum().backward()
        found.append(x.grad.tolist())
    assert found[0] == found[1]
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with nn.capture(net, "1") as seen:
        tg.checkpoint(net, tg.ones(4, 2, requires_grad=True)).sum().backward()
    assert seen.grads["1"].shape == (4, 3)


def test_a_generator_given_to_an_op_draws_the_same_again():
    @tg.primitive
    def drop(x, *, rng):
        return x * (rng.random(x.shape) > 0.5)
    drop.defvjp(lambda g, ans, x, *, rng: g * tg.not_equal(ans, 0))
    x = tg.tensor(np.arange(1.0, 41.0), requires_grad=True)
    rng = np.random.default_rng(0)
    y = tg.checkpoint(lambda t: drop(t, rng=rng) * 1.0, x)
    y.sum().backward()
    assert ((y.data != 0) == (x.grad.data != 0)).all() and (x.grad.data == 0).any()
