"""Forward mode, Jacobians, Hessians, products with them, checkpoints and functional calls beside PyTorch.

Random programs of all ops, and a few functions with several outputs, integers, nothing at all, dictionaries.
"""
from __future__ import annotations

import warnings
from types import SimpleNamespace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

pytest.importorskip("torch")

import torch
from torch.autograd import functional
from torch.nn import functional as F

from tests.programs.ops import drawn
from tests.programs.program import Leaf, tame, wave

SEEDS = range(20_000, 20_150)


def of(library, program):
    """A program as a function of the leaves by which derivatives are taken."""
    def f(*xs):
        values = dict(zip(program.leaves, xs))
        for i in program.live:
            node = program.nodes[i]
            if i not in values:
                values[i] = getattr(node, library) if isinstance(node, Leaf) else node.evaluate(library, values)
        return tuple(values[i] for i in program.outputs)
    return f


def loss(library, program):
    f = of(library, program)
    as_theirs = torch.tensor if library == "theirs" else tg.tensor
    return lambda *xs: sum([(y * as_theirs(wave(i, y))).sum() for i, y in zip(program.outputs, f(*xs))])


def same(ours, theirs, scale=1.0, rtol=1e-9):
    """Trees of tensors, to rounding of the largest number among them."""
    ours, theirs = [leaves_of(tree) for tree in (ours, theirs)]
    assert len(ours) == len(theirs)
    scale = max([scale, *[float(b.detach().abs().max()) for b in theirs if b.numel()]])
    for a, b in zip(ours, theirs):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(a.data, (b.detach() + 0).numpy(), rtol=rtol, atol=rtol * scale)


def leaves_of(tree):
    if isinstance(tree, dict):
        return [t for key in sorted(tree) for t in leaves_of(tree[key])]
    return [t for part in tree for t in leaves_of(part)] if isinstance(tree, tuple | list) else [tree]


@pytest.mark.parametrize("seeds", [SEEDS[i::6] for i in range(6)], ids=str)
def test_random_programs(seeds):
    """J v; H v forward over reverse and reverse over reverse; gradients through a checkpoint to the last bit."""
    checked = 0
    for seed in seeds:
        with warnings.catch_warnings(action="ignore"):
            program = drawn(seed).finished()
            expected = program.numbers("theirs")
            if not (tame(expected) and program.leaves):
                continue
            xs = [program.nodes[i].ours.detach() for i in program.leaves]
            ys = tuple(program.nodes[i].theirs.detach() for i in program.leaves)
            vs = [wave(1000 + i, x) for i, x in zip(program.leaves, xs)]
            ws = tuple(map(torch.tensor, vs))
            scale = max([1.0, *[np.abs(a).max(initial=0.0) for order in expected for a in order]])
            try:
                pushed = functional.jvp(of("theirs", program), ys, ws)
                theirs = functional.hvp(loss("theirs", program), ys, ws)[1]
            except RuntimeError:  # "output_padding is not supported for ...", "grad_input must be contiguous"
                continue
            try:
                same(tg.jvp(of("ours", program), xs, vs), pushed, scale)
                for product in (tg.hvp, tg.vhp):
                    found = product(loss("ours", program), xs, vs)
                    same(found, theirs if len(xs) > 1 else theirs[0], scale)
                every = tuple(range(len(xs)))
                plain = tg.grad(loss("ours", program), every)(*xs)
                again = tg.grad(lambda *a, f=loss("ours", program): tg.checkpoint(f, *a), every)(*xs)
                assert all(np.array_equal(a.data, b.data) for a, b in zip(plain, again))
            except Exception as e:
                e.add_note(f"seed {seed}\n{program}")
                raise
            checked += 1
    assert checked > 0.7 * len(seeds)


def test_third_derivatives_of_random_programs_agree_in_three_ways():
    """Forward over reverse, reverse over reverse, forward over forward; then reverse."""
    for seed in range(30_000, 30_030):
        with warnings.catch_warnings(action="ignore"):
            program = drawn(seed).finished()
            if not (tame(program.numbers("theirs")) and program.leaves):
                continue
            f, xs = loss("ours", program), [program.nodes[i].ours.detach() for i in program.leaves]
            vs, every = [wave(1000 + i, x) for i, x in zip(program.leaves, xs)], tuple(range(len(xs)))

            def along(product, f=f, vs=vs):
                def slope(*xs):
                    found = product(f, xs, vs)
                    return sum([(a * v).sum() for a, v in zip(found if isinstance(found, tuple) else (found,), vs)])
                return slope
            twice = lambda *xs, f=f, vs=vs: tg.jvp(lambda *xs: tg.jvp(f, xs, vs)[1], xs, vs)[1]
            a, b, c = [tg.grad(g, every)(*xs) for g in (along(tg.hvp), along(tg.vhp), twice)]
            scale = max([1.0, *[np.abs(t.data).max(initial=0.0) for t in a]])
            for p, q, r in zip(a, b, c):
                for other in (q, r):
                    np.testing.assert_allclose(p.data, other.data, rtol=1e-8, atol=1e-8 * scale, err_msg=f"seed {seed}")


OURS = SimpleNamespace(
    tanh=tg.tanh, sin=tg.sin, exp=tg.exp, conv=tg.conv2d, pool=tg.max_pool2d, softmax=lambda x: tg.softmax(x, -1),
    norm=lambda x: tg.batch_norm(x, None, None, training=True), entropy=lambda x, t: tg.cross_entropy(x, np.array(t)),
    argmax=lambda x: tg.argmax(x), zeros=lambda n: tg.zeros(n, dtype=np.float64), flatten=lambda x: x.flatten(1))
THEIRS = SimpleNamespace(
    tanh=torch.tanh, sin=torch.sin, exp=torch.exp, conv=F.conv2d, pool=F.max_pool2d, softmax=lambda x: F.softmax(x, -1),
    norm=lambda x: F.batch_norm(x, None, None, training=True), entropy=lambda x, t: F.cross_entropy(x, torch.tensor(t)),
    argmax=torch.argmax, zeros=lambda n: torch.zeros(n, dtype=torch.float64), flatten=lambda x: x.flatten(1))

def of_elements(x):
    """Batch norm in plain operations: PyTorch's own takes mean and deviation for constants in its third derivative."""
    off = x - x.mean((0, 2, 3), keepdim=True)
    return off / ((off * off).mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()


FUNCTIONS = {  # of a module of functions m and two arrays; shapes
    "elementwise": (lambda m, x, w: m.tanh(x * w) + m.sin(x) * m.exp(w), [(3, 2), (2,)]),
    "matrices": (lambda m, x, w: m.softmax(x @ w), [(2, 3), (3, 4)]),
    "convolution": (lambda m, x, w: m.pool(m.tanh(m.conv(x, w, padding=1)), 2), [(2, 1, 4, 4), (2, 1, 3, 3)]),
    "normalised": (lambda m, x, w: m.norm(m.conv(x, w)), [(2, 1, 4, 4), (2, 1, 3, 3)]),
    "several outputs": (lambda m, x, w: (x * w, (m.sin(x).sum(), m.exp(w))), [(3,), (3,)]),
    "a dictionary": (lambda m, x, w: {"a": m.sin(x * w), "b": [x.sum()]}, [(3,), (3,)]),
    "unused": (lambda m, x, w: m.sin(x), [(3,), (2,)]),
    "constant": (lambda m, x, w: (m.zeros(2), x * 1.0), [(3,), (2,)]),
    "itself": (lambda m, x, w: (x, w), [(3,), (2,)]),
    "nothing": (lambda m, x, w: m.sin(x) * 2.0, [(0, 3), (2,)]),
    "one number": (lambda m, x, w: m.sin(x) * w, [(), ()]),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def both(name, rng):
    f, shapes = FUNCTIONS[name]
    arrays = [rng.standard_normal(shape) for shape in shapes]
    return (lambda *a: f(OURS, *a), [tg.tensor(a) for a in arrays],
            lambda *a: f(THEIRS, *a), tuple(torch.tensor(a) for a in arrays))


@every_function
def test_jvp_and_linearize(name, rng):
    f, xs, g, ys = both(name, rng)
    vs = [rng.standard_normal(x.shape) for x in xs]
    theirs = torch.func.jvp(g, ys, tuple(map(torch.tensor, vs)))
    same(tg.jvp(f, xs, vs), theirs)
    value, pushforward = tg.linearize(f, *xs)
    same(value, theirs[0])
    for _ in range(2):
        same(pushforward(*vs), theirs[1])


@every_function
def test_vjp_of_trees(name, rng):
    f, xs, g, ys = both(name, rng)
    y, pullback = tg.vjp(f, *xs)
    z, back = torch.func.vjp(g, *ys)
    same(y, z)

    def ones(tree, made):
        if isinstance(tree, dict):
            return {key: ones(part, made) for key, part in tree.items()}
        return type(tree)(ones(part, made) for part in tree) if isinstance(tree, tuple | list) else made(tree)
    cotangents = ones(y, lambda t: tg.ones(*t.shape, dtype=np.float64))
    same(pullback(*(cotangents if isinstance(y, tuple) else [cotangents])), back(ones(z, torch.ones_like)))


@every_function
@pytest.mark.parametrize("argnums", [0, 1, (0, 1)], ids=str)
def test_jacobians_both_ways(name, argnums, rng):
    f, xs, g, ys = both(name, rng)
    if name == "nothing":  # where PyTorch stacks no rows and fails
        shapes = [(0, 3) + xs[i].shape for i in (argnums if isinstance(argnums, tuple) else (argnums,))]
    for mode in ("reverse", "forward"):
        ours = tg.jacobian(f, argnums, mode)(*xs)
        if name == "nothing":
            assert [t.shape for t in leaves_of(ours)] == shapes
        else:
            same(ours, torch.func.jacrev(g, argnums)(*ys))


@pytest.mark.parametrize("name", ["elementwise", "matrices", "convolution", "normalised", "one number"])
@pytest.mark.parametrize("argnums", [0, (0, 1)], ids=str)
def test_hessian_and_its_products(name, argnums, rng):
    f, xs, g, ys = both(name, rng)
    weight = rng.standard_normal(tuple(f(*xs).shape))
    ours, theirs = lambda *a: (f(*a) * weight).sum(), lambda *a: (g(*a) * torch.tensor(weight)).sum()
    expected = functional.hessian(theirs, ys)
    same(tg.hessian(ours, argnums)(*xs), expected if argnums else expected[0][0], rtol=1e-8)
    vs = [rng.standard_normal(x.shape) for x in xs]
    products = functional.hvp(theirs, ys, tuple(map(torch.tensor, vs)))[1]
    same(tg.hvp(ours, xs, vs), products, rtol=1e-8)
    same(tg.vhp(ours, xs, vs), products, rtol=1e-8)


def test_integer_outputs_have_zero_tangents_and_no_jacobian(rng):
    x, v = rng.standard_normal(5), rng.standard_normal(5)
    f, g = [lambda x, m=m: (m.argmax(x), x * x) for m in (OURS, THEIRS)]
    ours, theirs = tg.jvp(f, (x,), (v,)), torch.func.jvp(g, (torch.tensor(x),), (torch.tensor(v),))
    same(ours, theirs)
    assert ours[1][0].dtype == np.int64 and ours[1][0].item() == 0
    with pytest.raises(TypeError, match="jacobian: the function returned int64"):
        tg.jacobian(f)(x)


def test_gradients_of_dictionaries_with_aux(rng):
    params = {"w": rng.standard_normal((3, 2)), "b": [rng.standard_normal(2)]}
    x = rng.standard_normal((4, 3))

    def model(m, params, x):
        y = m.tanh(x @ params["w"] + params["b"][0])
        return (y * y).sum(), {"y": y}
    ours = tg.value_and_grad(lambda p: model(OURS, p, tg.tensor(x)), has_aux=True)(params)
    theirs_params = {"w": torch.tensor(params["w"]), "b": [torch.tensor(params["b"][0])]}
    gradient, value = torch.func.grad_and_value(lambda p: model(THEIRS, p, torch.tensor(x)), has_aux=True)(theirs_params)
    same(ours, (value, gradient))
    assert ours[1].keys() == {"w", "b"} and isinstance(ours[1]["b"], list)


# ----- order 3 -----

NETS = {
    "conv": lambda m, x, w: m.conv(m.tanh(m.conv(x, w[:2], padding=1, stride=2)), m.exp(w), padding=1),
    "pool": lambda m, x, w: m.pool(m.tanh(m.conv(x, w, padding=1)), 2),
    "norm": lambda m, x, w: m.norm(m.tanh(m.conv(x, w))),
    "entropy": lambda m, x, w: m.entropy(m.flatten(m.pool(m.norm(m.tanh(m.conv(x, w))), 2)), [0, 2]),
}


@pytest.mark.parametrize("name", NETS)
def test_order_three(name, rng):
    """The third derivative along u, v: forward three times, reverse three times, and mixed; beside PyTorch."""
    x, w = rng.standard_normal((2, 2, 6, 6)), rng.standard_normal((3, 2, 3, 3)) / 3
    u, v = rng.standard_normal((2, *w.shape))
    weight = rng.standard_normal(tuple(NETS[name](OURS, tg.tensor(x), tg.tensor(w)).shape))

    def f(w):
        return (NETS[name](OURS, tg.tensor(x), w) * tg.tensor(weight)).sum()

    def along(f, direction):
        return lambda w: tg.jvp(f, (w,), (direction,))[1]

    def pulled(f, direction):
        return lambda w: (tg.grad(f)(w) * tg.tensor(direction)).sum()
    t, plain = torch.tensor(w, requires_grad=True), SimpleNamespace(**{**vars(THEIRS), "norm": of_elements})
    y = (NETS[name](plain, torch.tensor(x), t) * torch.tensor(weight)).sum()
    for direction in (u, v):
        g, = torch.autograd.grad(y, t, create_graph=True)
        y = (g * torch.tensor(direction)).sum()
    expected, = torch.autograd.grad(y, t)
    assert float(expected.abs().max()) > 1e-3
    same(tg.grad(pulled(pulled(f, u), v))(w), expected, rtol=1e-8)
    same(tg.grad(along(along(f, u), v))(w), expected, rtol=1e-8)
    same(tg.grad(along(pulled(f, u), v))(w), expected, rtol=1e-8)
    same(along(lambda w: tg.hvp(f, (w,), (u,)), v)(w), expected, rtol=1e-8)
    third = along(along(along(f, u), v), u)(w)
    np.testing.assert_allclose(third.item(), float((expected * torch.tensor(u)).sum()), rtol=1e-8)


# ----- modules -----

class Net:
    def __new__(cls, m, k):
        return m.Sequential(m.Conv2d(2, 4, 3, padding=1, **k), m.BatchNorm2d(4, **k), m.ReLU(), m.MaxPool2d(2),
                            m.Flatten(), m.Linear(16, 3, **k))


def test_functional_call_with_buffers_and_its_derivatives(rng):
    ours, theirs = Net(nn, {"dtype": np.float64}), Net(torch.nn, {"dtype": torch.float64})
    state = {name: rng.uniform(0.5, 1.5, tuple(t.shape)) if t.is_floating_point() else np.array(3)
             for name, t in theirs.state_dict().items()}
    x, labels = rng.standard_normal((5, 2, 4, 4)), [0, 1, 2, 1, 0]
    names = [name for name, _ in theirs.named_parameters()]
    before = ours.state_dict()
    for training in (True, False):
        ours.train(training), theirs.train(training)
        mine, other = ({name: made(a) for name, a in state.items()} for made in (tg.tensor, torch.tensor))
        p, v = {name: mine[name] for name in names}, {name: rng.standard_normal(state[name].shape) for name in names}

        def f(p, mine=mine):
            return tg.cross_entropy(nn.functional_call(ours, {**mine, **p}, tg.tensor(x)), np.array(labels))
        leaves = [other[name].requires_grad_() for name in names]
        y = F.cross_entropy(torch.func.functional_call(theirs, other, torch.tensor(x)), torch.tensor(labels))
        gradient = torch.autograd.grad(y, leaves, create_graph=True)
        same(tg.value_and_grad(f)(p), (y.detach(), dict(zip(names, gradient))))
        same(mine, {name: t.detach() for name, t in other.items()})  # running statistics
        slope = sum((g * torch.tensor(v[name])).sum() for name, g in zip(names, gradient))
        second = torch.autograd.grad(slope, leaves, allow_unused=True, materialize_grads=True)
        same(tg.hvp(f, (p,), (v,)), dict(zip(names, second)), rtol=1e-8)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), ours.state_dict().values()))


def test_a_checkpoint_beside_pytorchs(rng):
    from torch.utils.checkpoint import checkpoint
    ours, theirs = Net(nn, {"dtype": np.float64}), Net(torch.nn, {"dtype": torch.float64})
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    x = rng.standard_normal((5, 2, 4, 4))
    a, b = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = tg.checkpoint(ours, a), checkpoint(theirs, b, use_reentrant=False)
    (y * y).sum().backward(), (z * z).sum().backward()
    same([y, a.grad, *[p.grad for p in ours.parameters()]], [z, b.grad, *[p.grad for p in theirs.parameters()]])
    assert ours[1].num_batches_tracked.item() == 1  # PyTorch's counts twice: it runs the module again
