"""Composites of the shape family: values against NumPy, derivatives at order 2, error texts."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg

A = np.random.default_rng(0).standard_normal((3, 4))
CASES = {
    "flatten": (lambda x: tg.flatten(x), lambda a: a.ravel()), "squeeze": (lambda x: tg.squeeze(x[:, :1]), lambda a: a[:, 0]),
    "squeeze keeps": (lambda x: tg.squeeze(x, 0), lambda a: a), "expand_dims": (lambda x: tg.expand_dims(x, -1), lambda a: a[..., None]),
    "swapaxes": (lambda x: tg.swapaxes(x, 0, 1), lambda a: a.T), "stack": (lambda x: tg.stack([x, x * 2.0], 1), lambda a: np.stack([a, 2 * a], 1)),
    "split": (lambda x: tg.split(x, [1, 3], 1)[1], lambda a: a[:, 1:3]), "split equal": (lambda x: tg.split(x, 2, 1)[1], lambda a: a[:, 2:]),
    "flip": (lambda x: tg.flip(x), lambda a: a[::-1, ::-1]), "roll": (lambda x: tg.roll(x, 5), lambda a: np.roll(a, 5)),
    "pad": (lambda x: tg.pad(x, ((1, 2), (0, 3)), constant_values=2.0), lambda a: np.pad(a, ((1, 2), (0, 3)), constant_values=2.0)),
    "pad reflect": (lambda x: tg.pad(x, ((2, 1), (3, 2)), "reflect"), lambda a: np.pad(a, ((2, 1), (3, 2)), "reflect")),
    "pad replicate": (lambda x: tg.pad(x, 4, "replicate"), lambda a: np.pad(a, 4, "edge")),
    "pad crops": (lambda x: tg.pad(x, ((-1, 1), (0, -2))), lambda a: np.pad(a[1:, :-2], ((0, 1), (0, 0)))),
    "concatenate": (lambda x: tg.concatenate([x, x[:1]], 0), lambda a: np.concatenate([a, a[:1]])),
    "broadcast": (lambda x: tg.broadcast_to(x[:, :1], (2, 3, 5)), lambda a: np.broadcast_to(a[:, :1], (2, 3, 5))),
    "duplicates": (lambda x: x[np.array([0, 0, 2]), np.array([1, 1, 3])], lambda a: a[[0, 0, 2], [1, 1, 3]]),
    "prod": (lambda x: tg.prod(x, axis=1), lambda a: a.prod(1)), "var": (lambda x: tg.var(x, axis=0), lambda a: a.var(0, ddof=1)),
    "std": (lambda x: tg.std(x), lambda a: a.std(ddof=1)), "norm": (lambda x: tg.norm(x, axis=1), lambda a: np.linalg.norm(a, axis=1)),
}


@pytest.mark.parametrize("name", CASES)
def test_shape_op_value_and_derivatives(name):
    ours, theirs = CASES[name]
    np.testing.assert_allclose(ours(tg.tensor(A)).data, theirs(A), rtol=1e-13)
    tg.check_grads(ours, (A,), order=2)


def test_prod_gradient_is_right_where_factors_are_zero():
    for row in ([0.0, 2.0, 3.0], [0.0, 0.0, 3.0]):
        x = tg.tensor(np.array(row), requires_grad=True)
        tg.prod(x).backward()
        expected = [np.prod(np.delete(row, i)) for i in range(3)]
        assert x.grad.data.tolist() == expected
    tg.check_grads(tg.prod, (np.array([0.0, 2.0, 0.0, 3.0, 1.0]),), order=3)


def test_std_and_norm_of_constants_have_gradient_zero():
    for f in (tg.std, tg.norm):
        x = tg.tensor(np.zeros(4), requires_grad=True)
        f(x).backward()
        assert x.grad.data.tolist() == [0.0] * 4


def test_ties_share_the_gradient_and_sum_to_the_cotangent():
    x = tg.tensor([[1.0, 1.0, 0.0], [2.0, 2.0, 2.0]], requires_grad=True)
    tg.max(x, axis=1).backward([1.0, 3.0])
    assert x.grad.data.tolist() == [[0.5, 0.5, 0.0], [1.0, 1.0, 1.0]]


def test_logsumexp_at_extremes():
    x = tg.tensor([[1000.0, 1000.0], [-np.inf, -np.inf], [-1000.0, 0.0]], requires_grad=True)
    y = tg.logsumexp(x, axis=1)
    y.backward([1.0, 1.0, 1.0])
    assert np.isfinite(x.grad.data[[0, 2]]).all() and np.isneginf(y.data[1])


def test_the_gradient_of_logsumexp_is_nan_where_its_value_has_none():
    x = tg.tensor([[np.nan, 1.0], [np.inf, 1.0], [-np.inf, -np.inf]], requires_grad=True)
    tg.logsumexp(x, axis=1).backward([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(x.grad.data, [[np.nan, np.nan], [np.nan, 0.0], [0.0, 0.0]])


def test_8_bit_integers_do_not_wrap_around_in_reductions():
    x = np.array([16, 16, 3], np.uint8)
    assert tg.prod(x).item() == 768 and tg.prod(x > 3).item() == 0
    np.testing.assert_allclose(tg.logsumexp(x).item(), 16 + np.log(2 + np.exp(-13)), rtol=1e-6)
    for op in (tg.norm, tg.var, tg.std):
        with pytest.raises(TypeError, match=f"^{op.__name__}: x must be floating point, got uint8"):
            op(x)


def test_an_empty_product_is_1_and_part_of_the_graph():
    x = tg.tensor(np.ones((0, 3)), requires_grad=True)
    y = tg.prod(x, axis=0)
    y.backward(np.ones(3))
    assert y.data.tolist() == [1.0] * 3 and x.grad.shape == (0, 3)


def test_methods_and_shapes_refuse_what_they_cannot_read():
    assert tg.reshape(A, np.array([2, 6])).shape == (2, 6) and tg.broadcast_to(1.0, 3).shape == (3,)
    x = tg.tensor(A)
    for call, text in [(lambda: x.split(2, 7), "split: axis 7 is out of range for 2"), (lambda: x.split(1.5), "split: split_size must be"),
                       (lambda: tg.transpose(x, 1), "transpose: axes"), (lambda: tg.roll(x, 1.5, 0), "roll: shift must be a whole number"),
                       (lambda: tg.take_along_axis(x, [[0]], None), "take_along_axis: axis must be a whole number, got None"),
                       (lambda: tg.var(x, correction=None), "var: correction must be a number, got None")]:
        with pytest.raises((TypeError, ValueError, IndexError), match=f"^{text}"):
            call()


def test_mean_of_nothing_is_nan_without_a_warning():
    assert np.isnan(tg.mean(tg.zeros(0)).item())


@pytest.mark.parametrize("pick", [lambda x, i: x[i], lambda x, i: tg.take_along_axis(x, i, 0)])
def test_a_float16_entry_picked_5000_times_has_all_of_its_gradient(pick):
    x = tg.tensor(np.ones(2, np.float16), requires_grad=True)
    pick(x, np.zeros(5000, int)).sum().backward()
    assert x.grad.data.tolist() == [5000.0, 0.0] and x.grad.dtype == np.float16


def test_take_along_axis_and_its_gradient_entry_by_entry(rng):
    for size, count, axis in [((3, 4), (3, 2), 1), ((3, 4), (5, 4), 0), ((2, 3, 2), (2, 1, 2), 1)]:
        x, indices, g = rng.standard_normal(size), rng.integers(0, size[axis], count), rng.standard_normal(count)
        taken, put = np.empty(count), np.zeros(size)
        for place in np.ndindex(count):
            source = (*place[:axis], indices[place], *place[axis + 1:])
            taken[place] = x[source]
            put[source] += g[place]
        t = tg.tensor(x, requires_grad=True)
        y = tg.take_along_axis(t, indices, axis)
        y.backward(g)
        assert (y.data == taken).all()
        np.testing.assert_allclose(t.grad.data, put, rtol=1e-14)
    with pytest.raises(IndexError, match=r"(?s)^take_along_axis: index 4 is out of bounds .* shape \(3, 4\)"):
        tg.take_along_axis(A, [[4]], 1)


@pytest.mark.parametrize("shape, indices, axis", [((3, 4), [[0, 3, 3]], 1), ((1, 4), [[0], [0], [2]], 1), ((2, 1, 3), [[[1, 0]]], 2)])
def test_take_along_axis_broadcasts_indices_and_values_also_in_the_gradient(shape, indices, axis):
    x = np.random.default_rng(0).standard_normal(shape)
    tg.check_grads(lambda t: tg.take_along_axis(t, indices, axis), (x,), linear=(0,))
    assert (tg.take_along_axis(x, indices, axis).data == np.take_along_axis(x, np.array(indices), axis)).all()


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.take_along_axis(A, [[0]], None), TypeError, "take_along_axis: axis must be a whole number, got None"),
    (lambda: tg.take_along_axis(A, [0], 0), TypeError, r"take_along_axis: indices must be integers with 2 axes, got int64 of shape \(1,\)"),
    (lambda: tg.concatenate([A, A[:, :2]]), ValueError, r"^concatenate: .*must match exactly, .*inputs float64\[3, 4\], float64\[3, 2\]"),
    (lambda: tg.stack([A, A], 3), IndexError, "^stack: axis 3"), (lambda: tg.stack([A, A[:2]]), ValueError, "stack: expects tensors of one shape"),
    (lambda: tg.split(A, 3, 1), ValueError, r"split: axis 1 of shape \(3, 4\) cannot be cut into 3"),
    (lambda: tg.pad(A, 1, "wrap"), ValueError, "pad: mode must be"), (lambda: tg.pad(A, 5, "reflect"), ValueError, "cannot reflect"),
    (lambda: tg.pad([1, 2], 1, constant_values=0.5), ValueError, "pad: constant_values 0.5 does not fit x's dtype, int64"),
    (lambda: tg.pad(np.ones(2, np.uint8), 1, constant_values=-1), ValueError, "pad: constant_values -1 does not fit"),
    (lambda: tg.pad([1, 2], 1, constant_values=np.inf), ValueError, "pad: constant_values inf does not fit"),
    (lambda: tg.pad(A, 1, constant_values="1"), TypeError, "pad: constant_values must be a number"),
    (lambda: tg.pad(A, -2), ValueError, r"pad: pad_width -2 crops more than shape \(3, 4\) has"),
    (lambda: tg.pad(A, 1.5), ValueError, "pad_width must be"), (lambda: tg.transpose(A, (0, 0)), ValueError, "^transpose: axis .* names an axis twice"),
    (lambda: tg.broadcast_to(A, (3, 5)), ValueError, r"shape \(3, 4\) does not broadcast to \(3, 5\)"),
    (lambda: tg.sum(A, axis=(0, 0)), ValueError, "names an axis twice"), (lambda: tg.flip(A, (0, -2)), ValueError, "^flip: .* an axis twice"), (lambda: tg.max(np.ones((0, 2)), axis=0), ValueError, r"^max: .* no identity \(inputs float64\[0, 2\], parameters .*'axis': \(0,\)"),
    (lambda: tg.mean(np.array([1, 2])), TypeError, "mean: x must be floating point, got int64"),
    (lambda: tg.getitem(A, 1.5), TypeError, "indices must be integers"), (lambda: tg.getitem(A, (0, 9)), IndexError, r"out of bounds .* shape \(3, 4\)"),
])
def test_shape_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_mixed_signs_pad_first_and_then_crop_in_every_mode():
    """A cell of the border is a cell of the image before anything is cropped: by PyTorch, and by definition where it fails."""
    torch = pytest.importorskip("torch")
    assert tg.pad(np.arange(4), (3, -2), "reflect").data.tolist() == [3, 2, 1, 0, 1]
    for n, before, after in itertools.product((1, 2, 4), range(-4, 5), range(-4, 5)):
        x = np.arange(1.0, n + 1).reshape(1, 1, n)
        for mode in ("constant", "reflect", "replicate", "circular"):
            border = np.pad(x, ((0, 0), (0, 0), (max(before, 0), max(after, 0))), {"replicate": "edge", "circular": "wrap"}.get(mode, mode))
            expected = border[..., max(-before, 0):border.shape[2] - max(-after, 0)]
            refused = max(-before, 0) + max(-after, 0) > n or mode == "reflect" and max(before, after) >= n
            if refused:
                with pytest.raises(ValueError, match="^pad: "):
                    tg.pad(x, ((0, 0), (0, 0), (before, after)), mode)
                continue
            t = tg.tensor(x, requires_grad=True)
            y = tg.pad(t, ((0, 0), (0, 0), (before, after)), mode)
            assert np.array_equal(y.data, expected), (n, before, after, mode)
            if mode == "circular" or y.size == 0:
                continue                                      # PyTorch fails, or returns memory that it has not written
            q = torch.tensor(x, requires_grad=True)
            theirs = torch.nn.functional.pad(q, (before, after), mode=mode)
            assert np.array_equal(y.data, theirs.detach().numpy())
            weight = np.arange(1.0, y.size + 1).reshape(y.shape)
            (y * weight).sum().backward()
            (theirs * torch.tensor(weight)).sum().backward()
            assert np.array_equal(t.grad.data, q.grad.numpy())
