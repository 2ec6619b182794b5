"""The five questions this project exists to answer, with the askers' own shapes.

Each answer is proved against plain sums written here, not against the library's kernels.
"""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg


def correlate(plane, kernel):
    """The plain 2-d correlation of two planes ('valid')."""
    oh, ow = plane.shape[0] - kernel.shape[0] + 1, plane.shape[1] - kernel.shape[1] + 1
    return np.array([[np.sum(plane[i:i + kernel.shape[0], j:j + kernel.shape[1]] * kernel)
                      for j in range(ow)] for i in range(oh)])


def full_correlate(plane, kernel):
    kh, kw = kernel.shape
    return correlate(np.pad(plane, ((kh - 1, kh - 1), (kw - 1, kw - 1))), kernel)


def gradients(x, w, g, **geometry):
    """(y, dx, dw) of <g, conv2d(x, w)>."""
    y, pullback = tg.vjp(lambda x, w: tg.conv2d(x, w, **geometry), x, w)
    dx, dw = pullback(g)
    return y.data, dx.data, dw.data


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


# ----- 1: kernel gradient with several channels and filters -----

def test_question_1_conv2d_kernel_gradient_is_one_correlation_a_plane_pair(rng):
    x, w = rng.standard_normal((1, 5, 100, 100)), rng.standard_normal((10, 5, 5, 5))
    g = rng.standard_normal((1, 10, 96, 96))
    y, _, dw = gradients(x, w, g)
    assert y.shape == (1, 10, 96, 96) and dw.shape == (10, 5, 5, 5)
    pairs = list(itertools.product(range(10), range(5)))
    assert len(pairs) == 50
    for o, c in pairs:                                        # 5 with 10: every pair, 50 planes
        close(dw[o, c], correlate(x[0, c], g[0, o]))


def test_question_1_no_plane_collapses_into_another(rng):
    """A change of one channel of X changes that channel's 10 planes of dE/dF and no other."""
    x, w = rng.standard_normal((1, 5, 100, 100)), rng.standard_normal((10, 5, 5, 5))
    g = rng.standard_normal((1, 10, 96, 96))
    before = gradients(x, w, g)[2]
    x[0, 3] += 1.0
    changed = np.any(gradients(x, w, g)[2] != before, axis=(2, 3))
    assert np.array_equal(changed, np.tile(np.arange(5) == 3, (10, 1)))


# ----- 2: input gradient with several filters -----

def test_question_2_conv2d_input_gradient_is_a_full_convolution_summed_over_filters(rng):
    x, w = rng.standard_normal((1, 3, 20, 20)), rng.standard_normal((5, 3, 3, 3))
    g = rng.standard_normal((1, 5, 18, 18))
    dx = gradients(x, w, g)[1]
    rotated = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)       # five of depth 3: three of depth 5
    assert rotated.shape == (3, 5, 3, 3)
    for c in range(3):
        close(dx[0, c], sum(full_correlate(g[0, o], rotated[c, o]) for o in range(5)))
    # and so it is itself a conv2d: padding 2, swapped and rotated filters
    close(dx, tg.conv2d(g, np.ascontiguousarray(rotated), padding=2).data)


# ----- 3: the whole batch in NHWC with im2col -----

def patches_nhwc(x, k, stride=1):
    """[N, OH, OW, KH, KW, C], written as the definition."""
    n, h, w, c = x.shape
    oh, ow = (h - k) // stride + 1, (w - k) // stride + 1
    out = np.empty((n, oh, ow, k, k, c))
    for i, j in itertools.product(range(oh), range(ow)):
        out[:, i, j] = x[:, i * stride:i * stride + k, j * stride:j * stride + k]
    return out


def averaged_recipe(x, g):
    """The widely read recipe: dL/dZ tiled over C, divided by C, summed over C, copied to all."""
    c = x.shape[-1]
    p = patches_nhwc(x, 3)
    mixed = np.einsum("nijabc,nijf->fab", p, g) / c
    return np.repeat(mixed[..., None], c, axis=-1)


def nhwc_gradients(x, k, g, **geometry):
    """Input [N, H, W, C], kernels [F, KH, KW, C], output [N, OH, OW, F]."""
    y, pullback = tg.vjp(
        lambda x, k: tg.conv2d(x, tg.transpose(k, (0, 3, 1, 2)), layout="NHWC", **geometry), x, k)
    dx, dk = pullback(g)
    return y.data, dx.data, dk.data


@pytest.fixture
def batch(rng):
    n, c, f = 4, 3, 6
    return (rng.standard_normal((n, 10, 10, c)), rng.standard_normal((f, 3, 3, c)),
            rng.standard_normal((n, 8, 8, f)))


def test_question_3_conv2d_nhwc_kernel_gradient_is_one_contraction(batch):
    x, k, g = batch
    y, _, dk = nhwc_gradients(x, k, g)
    close(y, np.einsum("nijabc,fabc->nijf", patches_nhwc(x, 3), k))
    close(dk, np.einsum("nijabc,nijf->fabc", patches_nhwc(x, 3), g))


def test_question_3_conv2d_stride_and_dilation_change_places(rng):
    """dL/dK at stride 2 is a conv of the input by dL/dZ dilated by 2, with step 1; and back."""
    for stride, dilation in ((2, 1), (1, 2), (2, 3), (3, 2)):
        oh = 4
        h = (oh - 1) * stride + dilation * 2 + 1              # no remainder
        x, w = rng.standard_normal((2, 3, h, h)), rng.standard_normal((5, 3, 3, 3))
        g = rng.standard_normal((2, 5, oh, oh))
        dw = gradients(x, w, g, stride=stride, dilation=dilation)[2]
        swapped = tg.conv2d(x.transpose(1, 0, 2, 3), g.transpose(1, 0, 2, 3),
                            stride=dilation, dilation=stride)
        close(dw, swapped.data.transpose(1, 0, 2, 3))


def test_question_3_the_averaged_recipe_is_wrong_as_soon_as_channels_differ(batch):
    x, k, g = batch
    right = nhwc_gradients(x, k, g)[2]
    wrong = averaged_recipe(x, g)
    error = np.linalg.norm(wrong - right) / np.linalg.norm(right)
    assert 0.5 < error < 1.2                                  # for independent channels: sqrt(2/3)
    assert error == pytest.approx(np.sqrt(2 / 3), abs=0.1)
    # what it computes is the mean of the right planes over the channels, in every channel
    close(wrong, np.repeat(right.mean(axis=-1, keepdims=True), 3, axis=-1))
    # so it is right exactly where all channels are equal, or there is only one: a grey image test
    grey = np.repeat(x[..., :1], 3, axis=-1)
    close(averaged_recipe(grey, g), nhwc_gradients(grey, k, g)[2])
    close(averaged_recipe(x[..., :1], g), nhwc_gradients(x[..., :1], k[..., :1], g)[2])


def test_question_3_adjoint_identity_accepts_conv2d_and_rejects_the_recipe(batch, rng):
    """<y', dy> = <x', dx> + <c', dc> for all dx, dc, to rounding."""
    x, k, g = batch
    _, x_, k_ = nhwc_gradients(x, k, g)
    dx, dk = rng.standard_normal(x.shape), rng.standard_normal(k.shape)
    dy = (np.einsum("nijabc,fabc->nijf", patches_nhwc(dx, 3), k)
          + np.einsum("nijabc,fabc->nijf", patches_nhwc(x, 3), dk))
    left = np.sum(g * dy)
    assert left == pytest.approx(np.sum(x_ * dx) + np.sum(k_ * dk), rel=1e-12)
    recipe = np.sum(x_ * dx) + np.sum(averaged_recipe(x, g) * dk)
    assert abs(left - recipe) > 0.01 * abs(left)


def test_question_3_a_mean_over_the_batch_is_the_losses_business(batch):
    x, k, g = batch
    summed = nhwc_gradients(x, k, g)[2]
    close(nhwc_gradients(x, k, g / len(x))[2], summed / len(x))


# ----- 4: dL/dx from a dense point of view -----

def test_question_4_conv2d_is_a_dense_layer_and_dx_its_transpose(rng):
    x, w = rng.standard_normal((5, 5, 3)), rng.standard_normal((16, 3, 3, 3))  # H W C; O C KH KW
    g = rng.standard_normal((3, 3, 16))
    dense = np.zeros((3, 3, 16, 5, 5, 3))                     # [i, j, o, m, n, c]
    for i, j, a, b in itertools.product(range(3), repeat=4):
        dense[i, j, :, i + a, j + b, :] = w[:, :, a, b]
    matrix = dense.reshape(144, 75)
    assert np.count_nonzero(matrix) == 144 * 27 and len(np.unique(matrix)) == 16 * 27 + 1
    y, dx, _ = gradients(x.transpose(2, 0, 1)[None], w, g.transpose(2, 0, 1)[None])
    close(y[0].transpose(1, 2, 0).ravel(), matrix @ x.ravel())
    close(dx[0].transpose(1, 2, 0).ravel(), matrix.T @ g.ravel())
    for c in range(3):                                        # full convolutions, summed
        close(dx[0, c], sum(full_correlate(g[:, :, o], w[o, c, ::-1, ::-1]) for o in range(16)))
    # the engine's own matmul agrees, value and gradient
    y2, pullback = tg.vjp(lambda v: tg.matmul(matrix, v), x.ravel())
    close(pullback(g.ravel())[0].data, matrix.T @ g.ravel())
    close(y2.data, matrix @ x.ravel())


# ----- 5: the general equations -----

def equations(x, w, delta, s, p, d):
    """dX, dW, db exactly as the equations read."""
    (n_all, u_all, h, wd), (k_all, _, kh, kw) = x.shape, w.shape
    oh, ow = delta.shape[2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for n, u, m, q, k, a, b in itertools.product(*map(range, (n_all, u_all, h, wd, k_all, kh, kw))):
        (i, ri), (j, rj) = divmod(m + p - a * d, s), divmod(q + p - b * d, s)
        if ri == 0 and rj == 0 and 0 <= i < oh and 0 <= j < ow:
            dx[n, u, m, q] += delta[n, k, i, j] * w[k, u, a, b]
    sizes = (k_all, u_all, kh, kw, n_all, oh, ow)
    for k, u, a, b, n, i, j in itertools.product(*map(range, sizes)):
        m, q = i * s + a * d - p, j * s + b * d - p
        if 0 <= m < h and 0 <= q < wd:
            dw[k, u, a, b] += delta[n, k, i, j] * x[n, u, m, q]
    return dx, dw, delta.sum(axis=(0, 2, 3))


@pytest.mark.parametrize("stride, padding, dilation", [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 1, 2),
                                                       (2, 3, 1), (2, 0, 3)])
def test_question_5_conv2d_general_equations(rng, stride, padding, dilation):
    x, w, b = (rng.standard_normal(s) for s in ((2, 3, 8, 7), (4, 3, 3, 2), (4,)))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    y, pullback = tg.vjp(lambda x, w, b: tg.conv2d(x, w, b, **geometry), x, w, b)
    delta = rng.standard_normal(y.shape)
    for ours, equation in zip(pullback(delta), equations(x, w, delta, stride, padding, dilation)):
        close(ours.data, equation)


def test_question_5_is_answered_where_the_maths_lives():
    from tinygrad_conv.ops import conv
    assert "i*s+a*d-p" in conv.__doc__ and "g[n,o,(u+p-a*d)/s" in conv.__doc__
