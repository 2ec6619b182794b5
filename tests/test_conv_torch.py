"""The conv family beside PyTorch, where it is installed."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional


def compare(ours, theirs, arrays):
    mine = [tg.tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(*other)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=1e-11, atol=1e-11)
    g = np.random.default_rng(9).standard_normal(y.shape)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(mine, other):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-11, atol=1e-11)


GRID = list(itertools.product([1, 2, (3, 1)], [0, 1, (2, 3)], [1, 2, (1, 3)], [1, 2, 4]))


@pytest.mark.parametrize("stride, padding, dilation, groups", GRID, ids=str)
def test_conv2d_equals_torch(stride, padding, dilation, groups):
    rng = np.random.default_rng(0)
    arrays = (rng.standard_normal((2, 4, 9, 8)), rng.standard_normal((8, 4 // groups, 3, 2)),
              rng.standard_normal(8))
    compare(lambda x, w, b: tg.conv2d(x, w, b, stride, padding, dilation, groups),
            lambda x, w, b: F.conv2d(x, w, b, stride, padding, dilation, groups), arrays)


@pytest.mark.parametrize("stride, padding, dilation, groups", GRID, ids=str)
def test_conv_transpose2d_equals_torch(stride, padding, dilation, groups):
    rng = np.random.default_rng(0)
    arrays = (rng.standard_normal((2, 4, 5, 6)), rng.standard_normal((4, 3, 3, 2)),
              rng.standard_normal(3 * groups))
    for extra in [0, (1, 0), (0, 1), (2, 2)]:
        try:
            F.conv_transpose2d(*map(torch.tensor, arrays), stride, padding, extra, groups, dilation)
        except RuntimeError:
            with pytest.raises(ValueError, match="conv_transpose2d"):
                tg.conv_transpose2d(*arrays, stride, padding, extra, groups, dilation)
            continue
        compare(lambda x, w, b: tg.conv_transpose2d(x, w, b, stride, padding, extra, groups, dilation),
                lambda x, w, b: F.conv_transpose2d(x, w, b, stride, padding, extra, groups, dilation),
                arrays)


@pytest.mark.parametrize("stride, padding, groups", list(itertools.product([1, 2], [0, 2], [1, 2])))
def test_conv1d_equals_torch(stride, padding, groups):
    rng = np.random.default_rng(0)
    arrays = (rng.standard_normal((2, 4, 9)), rng.standard_normal((4, 4 // groups, 3)),
              rng.standard_normal(4))
    compare(lambda x, w, b: tg.conv1d(x, w, b, stride, padding, 1, groups),
            lambda x, w, b: F.conv1d(x, w, b, stride, padding, 1, groups), arrays)
    compare(lambda x, w, b: tg.conv_transpose1d(x, w, b, stride, padding, stride - 1),
            lambda x, w, b: F.conv_transpose1d(x, w, b, stride, padding, stride - 1),
            (arrays[0], rng.standard_normal((4, 4, 3)), arrays[2]))


@pytest.mark.parametrize("dilation", [1, 2])
def test_conv2d_same_equals_torch(dilation):
    rng = np.random.default_rng(0)
    arrays = (rng.standard_normal((2, 3, 9, 8)), rng.standard_normal((4, 3, 4, 3)))
    compare(lambda x, w: tg.conv2d(x, w, padding="same", dilation=dilation),
            lambda x, w: F.conv2d(x, w, padding="same", dilation=dilation), arrays)
