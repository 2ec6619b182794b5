"""t[...] and t.gather are PyTorch's, tg.getitem and tg.take_along_axis NumPy's; where they differ, both are tested."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg

torch = pytest.importorskip("torch")

ROW, COLUMN = np.array([1, 0]), np.array([[0], [1]])
MASK, PLANE = np.array([True, False]), np.array([[True, False], [True, True]])


def as_torch(index):
    return tuple(torch.tensor(i) if isinstance(i, np.ndarray) else i for i in index)


def assert_as_torch(x, index):
    """Both refuse, or the values and the gradients are the same."""
    t, q = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    try:
        expected = q[as_torch(index)]
    except (IndexError, ValueError, RuntimeError, TypeError):
        with pytest.raises((IndexError, TypeError)):
            t[index]
        return
    picked = t[index]
    assert picked.shape == tuple(expected.shape), index
    assert np.array_equal(picked.data, expected.detach().numpy()), index
    weight = np.arange(1.0, picked.size + 1).reshape(picked.shape)
    (picked * weight).sum().backward()
    (expected * torch.tensor(weight)).sum().backward()
    np.testing.assert_array_equal(t.grad.data, q.grad.numpy(), err_msg=str(index))


def one_ellipsis(index):
    return sum(i is Ellipsis for i in index) <= 1


@pytest.mark.parametrize("first", [0, -1, slice(None), None, Ellipsis, [0, 1], ROW, COLUMN, MASK, np.array(1), np.int64(0), True, PLANE],
                         ids=lambda i: f"{type(i).__name__}{getattr(i, 'shape', '')}")
def test_every_mixture_of_numbers_arrays_slices_and_masks_is_pytorchs(first):
    x = np.random.default_rng(0).standard_normal((2, 2, 2))
    parts = [-1, slice(None), slice(1, 2), None, Ellipsis, [0, 1], ROW, COLUMN, MASK, np.int64(1)]
    for count in range(3):
        for rest in itertools.product(parts, repeat=count):
            if one_ellipsis((first, *rest)):
                assert_as_torch(x, (first, *rest))


@pytest.mark.parametrize("index", [(1, slice(None), [0, 2]), ([0, 2], slice(None), 1), (1, Ellipsis, [0, 2]), (0, None, [0, 1]),
                                   (slice(None), [0, 1], Ellipsis, 0, [0, 1]), (0, slice(None), ROW, None, COLUMN)], ids=str)
def test_a_number_beside_arrays_does_not_move_axes(index):
    assert_as_torch(np.random.default_rng(1).standard_normal((3, 3, 3, 3)), index)


def test_the_function_getitem_is_numpys():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    for index in [(1, slice(None), [0, 2]), (1, Ellipsis, [0, 2]), (slice(None), [0, 1], Ellipsis, [0, 1])]:
        assert np.array_equal(tg.getitem(x, index).data, x[index])
    assert tg.tensor(x)[1, :, [0, 2]].shape == (3, 2) and tg.getitem(x, (1, slice(None), [0, 2])).shape == (2, 3)
    tg.check_grads(lambda t: t[1, :, [0, 2, 2]], (x,), order=2, linear=(0,))


def test_an_index_beyond_64_bits_is_an_index_error():
    for index in (2 ** 63, -2 ** 63 - 1, (0, 2 ** 63)):
        with pytest.raises(IndexError, match="^getitem: .*shape"):
            tg.ones(3, 4)[index]


def test_item_assignment_is_refused_with_what_to_write_for_every_index():
    for index in (0, slice(None), [0, 1], np.array([True, False, True]), (0, slice(None), [0])):
        with pytest.raises(TypeError, match=r"item assignment.*t\.mutate\(\)\[index\] = value"):
            tg.ones(3, 4)[index] = 1.0


GATHERED = [((3, 4), (3, 2), 1), ((3, 4), (2, 2), 1), ((3, 4), (1, 3), 1), ((3, 4), (5, 4), 0), ((3, 4), (2, 1), 0), ((2, 3, 4), (1, 2, 7), -1),
            ((3, 4), (0, 2), 1), ((3, 4), (3, 0), 1), ((), (), 0), ((1, 4), (1, 2), 1)]


@pytest.mark.parametrize(("shape", "count", "dim"), GATHERED, ids=str)
def test_gather_is_pytorchs_also_with_fewer_rows(shape, count, dim, rng):
    x, index = rng.standard_normal(shape), rng.integers(0, shape[dim] if shape else 1, count)
    t, q = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours, theirs = t.gather(dim, index), q.gather(dim, torch.tensor(index))
    assert np.array_equal(ours.data, theirs.detach().numpy())
    weight = rng.standard_normal(ours.shape)
    (ours * weight).sum().backward()
    (theirs * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(t.grad.data, q.grad.numpy(), rtol=1e-14)


@pytest.mark.parametrize(("shape", "count"), [((3, 4), (4, 2)), ((1, 4), (3, 2)), ((3, 4), (2,))], ids=str)
def test_gather_refuses_what_pytorch_refuses(shape, count):
    with pytest.raises(ValueError, match=r"^gather: index must have the 2 axes .* got \(.*for \("):
        tg.ones(shape).gather(1, np.zeros(count, int))


def test_take_along_axis_picks_from_the_first_rows_where_indices_have_fewer_and_one_row_stands_for_all(rng):
    x, index = rng.standard_normal((4, 5)), rng.integers(0, 5, (2, 3))
    expected = torch.tensor(x).gather(1, torch.tensor(index)).numpy()
    assert np.array_equal(tg.take_along_axis(x, index, 1).data, expected)
    tg.check_grads(lambda t: tg.take_along_axis(t, index, 1), (x,), order=2, linear=(0,))
    assert tg.take_along_axis(x, index[:1], 1).shape == (4, 3) and tg.tensor(x).gather(1, index[:1]).shape == (1, 3)
    with pytest.raises(IndexError, match="^take_along_axis: "):
        tg.take_along_axis(x, np.zeros((6, 2), int), 1)


def test_what_the_advice_says_in_place_of_pytorchs_picks_does_the_same(rng):
    x = rng.standard_normal((3, 4))
    t, q = tg.tensor(x), torch.tensor(x)
    for dim, write in ((0, t[[2, 0]]), (1, t[:, [2, 0]])):
        assert np.array_equal(write.data, q.index_select(dim, torch.tensor([2, 0])).numpy())
    assert np.array_equal(t[:, 1].data, q.select(1, 1).numpy()) and np.array_equal(t[:, 1:3].data, q.narrow(1, 1, 2).numpy())
    for ours, theirs in zip(t.split(-(-4 // 3), 1), q.chunk(3, 1), strict=True):
        assert np.array_equal(ours.data, theirs.numpy())
    for name, text in (("index_select", r"t\[:, indices\]"), ("select", r"t\[:, index\]"), ("narrow", r"t\[:, start:start \+ length\]"),
                       ("chunk", "t.split")):
        with pytest.raises(AttributeError, match=text):
            getattr(t, name)
    index = np.array([[0, 3], [1, 1], [2, 0]])
    assert np.array_equal(tg.gather(t, 1, index).data, q.gather(1, torch.tensor(index)).numpy())
