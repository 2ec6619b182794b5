"""Interpolation, pixel shuffling, unfold and fold, and three losses: beside PyTorch, over random shapes and options."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg


def options(rng):
    """A random call: shape, mode, how large."""
    axes = int(rng.integers(1, 3))
    shape = (2, 3, *(int(n) for n in rng.integers(1, 8, axes)))
    mode = str(rng.choice(["nearest", "nearest-exact", *(["linear"] if axes == 1 else ["bilinear", "bicubic", "area"])]))
    how = {"mode": mode}
    if mode in ("linear", "bilinear", "bicubic"):
        how["align_corners"] = bool(rng.integers(2))
    if rng.random() < 0.5:
        how["size"] = tuple(int(n) for n in rng.integers(1, 13, axes))
    else:
        how["scale_factor"] = tuple(float(f) for f in np.round(rng.uniform(1.0, 3.2, axes), 2))
        how["recompute_scale_factor"] = bool(rng.integers(2))
    return shape, how


@pytest.mark.parametrize("seed", range(120))
def test_interpolate_is_pytorchs_and_its_gradient_the_adjoint(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    shape, how = options(rng)
    a = rng.standard_normal(shape)
    theirs = torch.nn.functional.interpolate(torch.tensor(a), **how).numpy()
    x = tg.tensor(a, requires_grad=True)
    y = tg.interpolate(x, **how)
    np.testing.assert_allclose(y.data, theirs, atol=1e-12, err_msg=str((shape, how)))
    g, u = rng.standard_normal(y.shape), rng.standard_normal(shape)
    y.backward(tg.tensor(g))  # <g, f(u)> = <f'(g), u>; PyTorch's own gradient breaks this for some lines
    np.testing.assert_allclose((x.grad.data * u).sum(), (g * tg.interpolate(u, **how).data).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "area"])
def test_interpolate_has_two_derivatives_and_keeps_float32(mode):
    a = np.random.default_rng(0).standard_normal((1, 2, 3, 4))
    tg.check_grads(lambda x: tg.interpolate(x, (5, 3), mode=mode) ** 2.0, (a,), order=2)
    assert tg.interpolate(a.astype(np.float32), scale_factor=1.7, mode=mode).dtype == np.float32


@pytest.mark.parametrize("seed", range(40))
def test_unfold_and_fold_are_pytorchs_and_each_others_derivative(seed):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    channels = int(rng.integers(1, 4))
    kernel, dilation, padding, stride, size = (tuple(int(n) for n in rng.integers(*ends, 2)) for ends in
                                               ((1, 4), (1, 3), (0, 3), (1, 4), (6, 10)))
    a = rng.standard_normal((2, channels, *size))
    how = (kernel, dilation, padding, stride)
    x = tg.tensor(a, requires_grad=True)
    y = tg.unfold(x, *how)
    np.testing.assert_allclose(y.data, torch.nn.functional.unfold(torch.tensor(a), *how).numpy())
    g = rng.standard_normal(y.shape)
    folded = tg.fold(g, size, *how)
    np.testing.assert_allclose(folded.data, torch.nn.functional.fold(torch.tensor(g), size, *how).numpy(), atol=1e-12)
    y.backward(tg.tensor(g))
    np.testing.assert_allclose(x.grad.data, folded.data, atol=1e-12)
    assert tg.unfold(a[0], *how).shape == y.shape[1:]


@pytest.mark.parametrize("shape", [(8, 3, 2), (2, 8, 3, 2), (2, 3, 12, 2, 3)])
def test_pixels_and_channels_are_exchanged_as_in_pytorch(shape):
    torch = pytest.importorskip("torch")
    a = np.random.default_rng(0).standard_normal(shape)
    up = tg.pixel_shuffle(a, 2)
    np.testing.assert_array_equal(up.data, torch.nn.functional.pixel_shuffle(torch.tensor(a), 2).numpy())
    np.testing.assert_array_equal(tg.pixel_unshuffle(up, 2).data, a)
    tg.check_grads(lambda x: tg.pixel_shuffle(x, 2), (a,), linear=[0])


LOSSES = {
    "bce": (lambda t, x, y: t.nn.functional.binary_cross_entropy(t.sigmoid(x), t.sigmoid(y)),
            lambda x, y: tg.binary_cross_entropy(tg.sigmoid(x), tg.sigmoid(y))),
    "bce, weighted": (lambda t, x, y: t.nn.functional.binary_cross_entropy(t.sigmoid(x), t.sigmoid(y), t.arange(5.0), reduction="sum"),
                      lambda x, y: tg.binary_cross_entropy(tg.sigmoid(x), tg.sigmoid(y), np.arange(5.0), "sum")),
    "ranking": (lambda t, x, y: t.nn.functional.margin_ranking_loss(x, y, t.sign(y.detach() - 0.2), 0.3),
                lambda x, y: tg.margin_ranking_loss(x, y, tg.sign(y.detach() - 0.2), 0.3)),
    "triplet": (lambda t, x, y: t.nn.functional.triplet_margin_loss(x, y, x * y, 2.0),
                lambda x, y: tg.triplet_margin_loss(x, y, x * y, 2.0)),
    "triplet, swapped": (lambda t, x, y: t.nn.functional.triplet_margin_loss(x, y, x * y, 2.0, swap=True, reduction="none"),
                         lambda x, y: tg.triplet_margin_loss(x, y, x * y, 2.0, swap=True, reduction="none")),
}


@pytest.mark.parametrize("theirs, ours", LOSSES.values(), ids=LOSSES)
def test_losses_and_two_derivatives_are_pytorchs(theirs, ours):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 6, 5))
    x, y = (tg.tensor(v, requires_grad=True) for v in (a, b))
    t, u = (torch.tensor(v, requires_grad=True) for v in (a, b))
    loss, expected = ours(x, y), theirs(torch, t, u)
    np.testing.assert_allclose(loss.data, expected.detach().numpy(), rtol=1e-10)
    (loss * loss).sum().backward(create_graph=True)
    first = torch.autograd.grad((expected * expected).sum(), (t, u), create_graph=True)
    for own, other in zip((x, y), first):
        np.testing.assert_allclose(own.grad.data, other.detach().numpy(), rtol=1e-8, atol=1e-12)
    gx = x.grad
    x.grad = y.grad = None
    (gx * gx).sum().backward()
    second, = torch.autograd.grad((first[0] * first[0]).sum(), t)
    np.testing.assert_allclose(x.grad.data, second.numpy(), rtol=1e-7, atol=1e-11)


def test_probabilities_of_0_and_1_have_finite_losses_and_gradients_as_in_pytorch():
    torch = pytest.importorskip("torch")
    p, t = np.array([0.0, 0.0, 1.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    x, y = tg.tensor(p, requires_grad=True), torch.tensor(p, requires_grad=True)
    loss, expected = tg.binary_cross_entropy(x, t, None, "none"), torch.nn.functional.binary_cross_entropy(y, torch.tensor(t), reduction="none")
    np.testing.assert_allclose(loss.data, expected.detach().numpy())
    loss.sum().backward()
    expected.sum().backward()
    np.testing.assert_allclose(x.grad.data, y.grad.numpy())


IMAGE = np.ones((1, 4, 3, 3))


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.interpolate(IMAGE), ValueError, "interpolate: expects either size or scale_factor, got None and None"),
    (lambda: tg.interpolate(IMAGE, 3, 2), ValueError, "either size or scale_factor, got 3 and 2"),
    (lambda: tg.interpolate(IMAGE, (3, 3, 3)), ValueError, r"one number or 2, for x of shape \(1, 4, 3, 3\), got \(3, 3, 3\)"),
    (lambda: tg.interpolate(IMAGE, 0), ValueError, "interpolate: size"), (lambda: tg.interpolate(IMAGE, scale_factor=0.1), ValueError, "leaves nothing"),
    (lambda: tg.interpolate(IMAGE, 3, mode="linear"), ValueError, r"mode 'linear' is of x with axes \(N, C, L\)"),
    (lambda: tg.interpolate(IMAGE, 3, mode="cubic"), ValueError, "interpolate: mode must be"),
    (lambda: tg.interpolate(IMAGE, 3, align_corners=True), ValueError, "align_corners is for the modes .*got mode='nearest'"),
    (lambda: tg.interpolate(IMAGE.astype(int), 3), TypeError, "interpolate"),
    (lambda: tg.pixel_shuffle(IMAGE, 3), ValueError, r"multiple of 3 x 3, got shape \(1, 4, 3, 3\)"),
    (lambda: tg.pixel_unshuffle(IMAGE, 2), ValueError, r"multiples of 2, got shape \(1, 4, 3, 3\)"),
    (lambda: tg.unfold(IMAGE, 5), ValueError, "conv2d|unfold"), (lambda: tg.unfold(IMAGE[0, 0], 2), ValueError, "unfold: x must have axes NCHW"),
    (lambda: tg.fold(np.ones((1, 4, 5)), 3, 2), ValueError, r"fold: .*L = 2 x 2 windows of \(2, 2\) in \(3, 3\), got \(1, 4, 5\)"),
    (lambda: tg.fold(np.ones((1, 5, 4)), 3, 2), ValueError, "fold: .*KH KW = 4"),
    (lambda: tg.binary_cross_entropy([1.5], [1.0]), ValueError, "must be probabilities, from 0 to 1, got numbers from 1.5 to 1.5"),
    (lambda: tg.triplet_margin_loss(IMAGE, IMAGE, IMAGE, p=1), ValueError, "norm: expects p=2"),
    (lambda: tg.margin_ranking_loss(IMAGE, IMAGE, IMAGE[0]), ValueError, "margin_ranking_loss: input and target must have one shape"),
    (lambda: tg.adaptive_avg_pool1d(IMAGE[0], (2, 2)), TypeError, "adaptive_avg_pool1d: output_size"),
])
def test_mistakes_are_told_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call()
