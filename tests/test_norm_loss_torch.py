"""Normalisation, softmax and losses beside PyTorch, where it is installed.

Values, gradients under a random cotangent, gradients of gradients, running statistics.
"""
from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

import tinygrad_conv as tg

torch = pytest.importorskip("torch")
functional = torch.nn.functional


def both(name, arrays, *rest, options=None, rng, order=2, rtol=1e-10):
    """The same call in both: value, gradients, and gradients of <v, gradients>.

    `arrays` are differentiated, `rest` are further positional arguments.
    """
    options = options or {}
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = getattr(tg, name)(*ours, *rest, **options)
    z = getattr(functional, name)(*theirs, *[as_torch(r) for r in rest],
                                  **{k: as_torch(v) for k, v in options.items()})
    same(y.data, z.detach(), rtol)
    g = rng.standard_normal(y.shape)
    y.backward(g, create_graph=order > 1)
    dz = torch.autograd.grad(z, theirs, torch.tensor(g), create_graph=order > 1)
    for t, d in zip(ours, dz):
        same(t.grad.data, d.detach(), rtol)
    if order < 2:
        return
    vs = [rng.standard_normal(a.shape) for a in arrays]
    grads = [t.grad for t in ours]
    for t in ours:
        t.grad = None
    sum_ours, sum_theirs = 0.0, 0.0
    for v, a, b in zip(vs, grads, dz):
        sum_ours, sum_theirs = sum_ours + (a * v).sum(), sum_theirs + (b * torch.tensor(v)).sum()
    if sum_theirs.requires_grad:
        second = torch.autograd.grad(sum_theirs, theirs, allow_unused=True)
        sum_ours.backward()
        for t, d in zip(ours, second):
            d = torch.zeros(t.shape) if d is None else d
            same(np.zeros(t.shape) if t.grad is None else t.grad.data, d, rtol * 100)


def as_torch(value):
    return torch.tensor(value) if isinstance(value, np.ndarray) else value


def same(a, b, rtol):
    b = b.numpy(force=True)
    size = np.abs(b[np.isfinite(b)]).max(initial=1.0)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size)


# ----- normalisation -----

@pytest.mark.parametrize("shape", [(6, 4), (3, 4, 5), (3, 4, 5, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape, training, rng):
    x, w, b = rng.standard_normal(shape), rng.random(4) + 0.5, rng.standard_normal(4)
    for momentum, eps in ((0.1, 1e-5), (0.7, 1e-2)):
        mean, var = tg.tensor(rng.random(4)), tg.tensor(rng.random(4))
        t_mean, t_var = torch.tensor(mean.data), torch.tensor(var.data)
        y = tg.batch_norm(x, mean, var, w, b, training, momentum, eps)
        z = functional.batch_norm(torch.tensor(x), t_mean, t_var, torch.tensor(w), torch.tensor(b),
                                  training, momentum, eps)
        same(y.data, z, 1e-12)
        same(mean.data, t_mean, 1e-12)
        same(var.data, t_var, 1e-12)
    ours = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = tg.batch_norm(ours[0], mean, var, *ours[1:], training=training)
    z = functional.batch_norm(theirs[0], t_mean, t_var, *theirs[1:], training=training)
    g, v = rng.standard_normal(shape), rng.standard_normal(shape)
    y.backward(g, create_graph=True)
    dz = torch.autograd.grad(z, theirs, torch.tensor(g), create_graph=True)
    for t, d in zip(ours, dz):
        same(t.grad.data, d.detach(), 1e-11)
    dx = ours[0].grad
    for t in ours:
        t.grad = None
    (dx * v).sum().backward()
    second = torch.autograd.grad((dz[0] * torch.tensor(v)).sum(), theirs, allow_unused=True)
    for t, d in zip(ours[:2], second):
        same(np.zeros(t.shape) if t.grad is None else t.grad.data,
             torch.zeros(t.shape) if d is None else d, 1e-9)


@pytest.mark.parametrize("layout", ["NCHW", "channels last"])
def test_batch_norm_in_float32_on_many_values(layout, rng):
    x = (rng.standard_normal((32, 16, 14, 14)) * 3 + 2).astype(np.float32)
    g, w = rng.standard_normal(x.shape).astype(np.float32), rng.random(16).astype(np.float32)
    if layout == "channels last":
        x, g = (np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1) for a in (x, g))
    mean, var = tg.zeros(16), tg.ones(16)
    a, b = tg.tensor(x, requires_grad=True), tg.tensor(w, requires_grad=True)
    tg.batch_norm(a, mean, var, b, None, training=True).backward(g)
    c, d = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    t_mean, t_var = torch.zeros(16), torch.ones(16)
    functional.batch_norm(c, t_mean, t_var, d, None, True).backward(torch.tensor(g))
    same(a.grad.data, c.grad, 1e-5)
    same(b.grad.data, d.grad, 1e-5)
    same(mean.data, t_mean, 4e-6)
    same(var.data, t_var, 4e-6)


@pytest.mark.parametrize("shape, normalized", [((4, 6), (6,)), ((2, 3, 4), (3, 4))])
def test_layer_norm(shape, normalized, rng):
    for eps in (1e-5, 1e-2):
        x, w, b = (rng.standard_normal(s) for s in (shape, normalized, normalized))
        f = {"normalized_shape": normalized, "eps": eps}
        ours = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
        theirs = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        y = tg.layer_norm(ours[0], weight=ours[1], bias=ours[2], **f)
        z = functional.layer_norm(theirs[0], weight=theirs[1], bias=theirs[2], **f)
        same(y.data, z.detach(), 1e-12)
        g = rng.standard_normal(shape)
        y.backward(g)
        for t, d in zip(ours, torch.autograd.grad(z, theirs, torch.tensor(g))):
            same(t.grad.data, d, 1e-11)
        both("layer_norm", [x], options=f, rng=rng)


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 5), (2, 6, 3, 4)])
@pytest.mark.parametrize("groups", [1, 2, 3])
def test_group_norm(shape, groups, rng):
    both("group_norm", [rng.standard_normal(shape)], groups, rng=rng)
    ours = [tg.tensor(rng.standard_normal(s), requires_grad=True) for s in (shape, 6, 6)]
    theirs = [torch.tensor(t.data, requires_grad=True) for t in ours]
    y = tg.group_norm(ours[0], groups, ours[1], ours[2], 1e-3)
    z = functional.group_norm(theirs[0], groups, theirs[1], theirs[2], 1e-3)
    g = rng.standard_normal(shape)
    y.backward(g)
    for t, d in zip(ours, torch.autograd.grad(z, theirs, torch.tensor(g))):
        same(t.grad.data, d, 1e-11)


def test_instance_norm(rng):
    x, w, b = rng.standard_normal((3, 4, 5, 2)), rng.random(4), rng.random(4)
    mean, var = tg.tensor(rng.random(4)), tg.tensor(rng.random(4))
    t_mean, t_var = torch.tensor(mean.data), torch.tensor(var.data)
    for use, momentum in ((True, 0.3), (False, 0.3), (True, 0.1)):
        y = tg.instance_norm(x, mean, var, w, b, use, momentum)
        z = functional.instance_norm(torch.tensor(x), t_mean, t_var, torch.tensor(w),
                                     torch.tensor(b), use, momentum)
        same(y.data, z, 1e-12)
        same(mean.data, t_mean, 1e-12)
        same(var.data, t_var, 1e-12)
    both("instance_norm", [x], rng=rng)


# ----- softmax -----

@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape, dim", [((4, 3), 1), ((4, 3), 0), ((2, 3, 4), 1)])
def test_softmax(name, shape, dim, rng):
    both(name, [rng.standard_normal(shape) * 5], options={"dim": dim}, rng=rng)


# ----- losses on classes -----

GRID = list(itertools.product([None, "weights"], [0.0, 0.1, 0.7], [-100, 1],
                              ["none", "sum", "mean"]))


@pytest.mark.parametrize("shape", [(6, 3), (3, 3, 4), (2, 3, 2, 3)])
@pytest.mark.parametrize("weight, smoothing, ignored, reduction", GRID)
def test_cross_entropy_of_classes(shape, weight, smoothing, ignored, reduction, rng):
    target = rng.integers(0, 3, (shape[0], *shape[2:]))
    target[0] = ignored
    options = {"weight": rng.random(3) if weight else None, "label_smoothing": smoothing,
               "ignore_index": ignored, "reduction": reduction}
    both("cross_entropy", [rng.standard_normal(shape) * 3], target, options=options, rng=rng)


@pytest.mark.parametrize("shape", [(6, 3), (3, 3, 4), (3,)])
@pytest.mark.parametrize("weight, smoothing, reduction", list(itertools.product(
    [None, "weights"], [0.0, 0.3], ["none", "sum", "mean"])))
def test_cross_entropy_of_probabilities(shape, weight, smoothing, reduction, rng):
    options = {"weight": rng.random(3) if weight else None, "label_smoothing": smoothing,
               "reduction": reduction}
    both("cross_entropy", [rng.standard_normal(shape), rng.random(shape)], options=options, rng=rng)


@pytest.mark.parametrize("weight, _, ignored, reduction", [c for c in GRID if c[1] == 0.0])
def test_nll_loss(weight, _, ignored, reduction, rng):
    target = rng.integers(0, 3, (5, 2))
    target[0] = ignored
    options = {"weight": rng.random(3) if weight else None, "ignore_index": ignored,
               "reduction": reduction}
    both("nll_loss", [-rng.random((5, 3, 2))], target, options=options, rng=rng, order=1)


def test_cross_entropy_with_every_row_ignored(rng):
    target = np.full(2, -100)
    for reduction in ("mean", "sum", "none"):
        both("cross_entropy", [rng.standard_normal((2, 3))], target,
             options={"reduction": reduction}, rng=rng, order=1)


@pytest.mark.parametrize("p, weight, reduction", list(itertools.product(
    [1, 2], [None, "weights"], ["none", "sum", "mean"])))
def test_hinge_loss_is_multi_margin_loss(p, weight, reduction, rng):
    x, y = rng.standard_normal((5, 4)), rng.integers(0, 4, 5)
    w = rng.random(4) if weight else None
    a = tg.tensor(x, requires_grad=True)
    loss = tg.hinge_loss(a, y, p, 0.8, w, reduction)
    b = torch.tensor(x, requires_grad=True)
    other = functional.multi_margin_loss(b, torch.tensor(y), p, 0.8, as_torch(w),
                                         reduction=reduction)
    same(loss.data, other.detach(), 1e-12)
    g = rng.standard_normal(loss.shape)
    loss.backward(g)
    other.backward(torch.tensor(g))
    same(a.grad.data, b.grad, 1e-12)


# ----- losses on values -----

@pytest.mark.parametrize("name, options", [
    ("mse_loss", {}), ("l1_loss", {}), ("huber_loss", {"delta": 0.4}), ("huber_loss", {}),
    ("smooth_l1_loss", {"beta": 0.4}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.0})])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_losses_on_values(name, options, reduction, rng):
    x, t = rng.standard_normal((4, 3)), rng.standard_normal((4, 3))
    order = 1 if name == "huber_loss" else 2                 # PyTorch has no second one there
    both(name, [x, t], options={**options, "reduction": reduction}, rng=rng, order=order)


@pytest.mark.parametrize("weight, positive, reduction", list(itertools.product(
    [None, "weights"], [None, "positive"], ["none", "sum", "mean"])))
def test_binary_cross_entropy_with_logits(weight, positive, reduction, rng):
    options = {"weight": rng.random((4, 1)) if weight else None, "reduction": reduction,
               "pos_weight": rng.random(3) * 3 if positive else None}
    x, t = rng.standard_normal((4, 3)) * 4, rng.random((4, 3))
    both("binary_cross_entropy_with_logits", [x, t], options=options, rng=rng)


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean", "batchmean"])
def test_kl_div(log_target, reduction, rng):
    x, t = np.log(rng.random((4, 3))), rng.random((4, 3))
    if not log_target:
        t[1, 1] = 0
    options = {"reduction": reduction, "log_target": log_target}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                      # PyTorch's, on its 'mean'
        ours = tg.tensor(x, requires_grad=True)
        theirs = torch.tensor(x, requires_grad=True)
        y, z = (m.kl_div(a, b, **options) for m, a, b in (
            (tg, ours, t), (functional, theirs, torch.tensor(t))))
        same(y.data, z.detach(), 1e-12)
        g = rng.standard_normal(y.shape)
        y.backward(g)
        z.backward(torch.tensor(g))
        same(ours.grad.data, theirs.grad, 1e-12)
        if log_target:
            both("kl_div", [x, t], options=options, rng=rng)
