"""matmul, linear, outer and einsum where the op table does not look: shapes, errors, forms."""
from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import product


def draw(rng, *shape):
    return rng.standard_normal(shape)


# ----- matmul -----

STACKS = [(), (1,), (3,), (2, 1), (2, 3)]


@pytest.mark.parametrize("shared", [False, True], ids=["", "on threads"])
@pytest.mark.parametrize("a, b", [*itertools.product(STACKS, STACKS)], ids=str)
def test_matmul_stacks_broadcast(a, b, shared, rng, monkeypatch):
    if shared:
        monkeypatch.setattr(product, "BLAS_ALONE", 0)
        monkeypatch.setattr(product, "PRODUCTS_WORTH_THREADS", 0)
    x, y = draw(rng, *a, 4, 2), draw(rng, *b, 2, 5)
    np.testing.assert_allclose(tg.matmul(x, y).data, x @ y, rtol=1e-13, atol=1e-13)
    tg.check_grads(tg.matmul, (x, y), order=3, linear=(0, 1))


@pytest.mark.parametrize("a, b", [((3,), (3,)), ((3,), (3, 2)), ((3,), (2, 2, 3, 2)), ((2, 3), (3,)),
                                  ((2, 2, 4, 3), (3,)), ((1,), (1,)), ((1,), (2, 1, 1))], ids=str)
def test_matmul_with_vectors(a, b, rng):
    x, y = draw(rng, *a), draw(rng, *b)
    assert tg.matmul(x, y).shape == (x @ y).shape
    np.testing.assert_allclose(tg.matmul(x, y).data, x @ y, rtol=1e-13, atol=1e-13)
    tg.check_grads(tg.matmul, (x, y), order=3, linear=(0, 1))


@pytest.mark.parametrize("a, b", [((0, 3), (3, 2)), ((2, 0), (0, 3)), ((0,), (0,)), ((4, 2, 0), (0, 3)),
                                  ((0, 2, 3), (3, 2)), ((2, 3), (3, 0)), ((0, 2, 3), (0, 3, 1))],
                         ids=str)
def test_matmul_of_nothing(a, b):
    x, y = (tg.tensor(np.ones(s), requires_grad=True) for s in (a, b))
    z = tg.matmul(x, y)
    np.testing.assert_array_equal(z.data, np.ones(a) @ np.ones(b))
    z.sum().backward()
    assert x.grad.shape == a and y.grad.shape == b


def test_matmul_of_a_transposed_stack_equals_the_contiguous_one(rng):
    x, y = draw(rng, 3, 2, 4).transpose(2, 0, 1), draw(rng, 2, 5)
    np.testing.assert_allclose(tg.matmul(x, y).data, x @ y, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("a, b, text", [
    ((2, 3), (4, 5), (r"matmul: the last axis of x has length 3 but y has 4 rows "
                      r"\(x.shape=\(2, 3\), y.shape=\(4, 5\)\)")),
    ((3,), (4,), r"length 3 but y has 4 rows \(x.shape=\(3,\), y.shape=\(4,\)\)"),
    ((2, 2, 3), (4,), "length 3 but y has 4 rows"),
    ((2, 5, 3), (3, 3, 4), r"stacks of \(2,\) and of \(3,\) matrices do not broadcast"),
    ((), (3,), r"needs vectors or matrices .*; for a number use x \* y"),
])
def test_matmul_errors_name_both_shapes(a, b, text):
    with pytest.raises(ValueError, match=text):
        tg.matmul(np.ones(a), np.ones(b))


# ----- linear -----

@pytest.mark.parametrize("lead", [(), (1,), (7,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_matmul_and_add(lead, bias, rng):
    x, w, b = draw(rng, *lead, 3), draw(rng, 4, 3), draw(rng, 4)
    args = (x, w, b) if bias else (x, w)
    np.testing.assert_allclose(tg.linear(*args).data, x @ w.T + (b if bias else 0), rtol=1e-13, atol=1e-13)
    if x.size:
        tg.check_grads(tg.linear, args, order=3, linear=range(len(args)))
    else:
        t = tg.tensor(w, requires_grad=True)
        tg.linear(x, t).sum().backward()
        assert not t.grad.data.any()


def test_linear_gradients_equal_pytorch(rng):
    torch = pytest.importorskip("torch")
    arrays = [draw(rng, 5, 2, 3), draw(rng, 4, 3), draw(rng, 4)]
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    g = draw(rng, 5, 2, 4)
    tg.linear(*ours).backward(g)
    torch.nn.functional.linear(*theirs).backward(torch.tensor(g))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.data, b.grad.numpy(), rtol=1e-12)


@pytest.mark.parametrize("x, w, b, text", [
    ((2, 4), (5, 3), None, (r"linear: weight expects 3 inputs but the last axis of x has length "
                            r"4 \(x.shape=\(2, 4\), weight.shape=\(5, 3\)\)")),
    ((), (5, 3), None, "linear: weight expects 3 inputs but x is a single number"),
    ((2, 3), (3,), None, r"linear: weight must have two axes, \(outputs, inputs\), got \(3,\)"),
    ((2, 3), (5, 3), (3,), r"linear: bias must have shape \(5,\), one value per output, got \(3,\)"),
])
def test_linear_errors_name_the_shapes(x, w, b, text):
    with pytest.raises(ValueError, match=text):
        tg.linear(np.ones(x), np.ones(w), None if b is None else np.ones(b))


@pytest.mark.parametrize("dtypes", [*itertools.product([np.float16, np.float32, np.float64, np.int64], repeat=3)],
                         ids=lambda dtypes: "-".join(d.__name__ for d in dtypes))
def test_linear_has_the_dtype_of_the_product_and_the_sum_it_stands_for(dtypes, rng):
    """A wide bias widens, a whole one does not."""
    x, w, b = (tg.tensor(draw(rng, *s) * 4, dtype=d) for s, d in zip([(2, 3), (4, 3), (4,)], dtypes))
    ours, longhand = tg.linear(x, w, b), x @ w.T + b
    assert ours.dtype == longhand.dtype
    np.testing.assert_allclose(ours.data, longhand.data, rtol=1e-2)
    for t in (x, w, b):
        t.requires_grad_(t.dtype.kind == "f")
    if any(t.requires_grad for t in (x, w, b)):
        tg.linear(x, w, b).sum().backward()
        assert [t.grad.dtype for t in (x, w, b) if t.requires_grad] == [t.dtype for t in (x, w, b) if t.requires_grad]


# ----- outer -----

def test_outer_flattens_like_numpy(rng):
    x, y = draw(rng, 2, 2), draw(rng, 3)
    np.testing.assert_array_equal(tg.outer(x, y).data, np.outer(x, y))
    tg.check_grads(tg.outer, (x, y), order=2, linear=(0, 1))


# ----- einsum -----

FORMS = [
    ("ij,jk", (2, 3), (3, 4)), ("ba", (2, 3)), ("ii", (3, 3)), ("i", (3,)),
    ("ij, jk -> ik", (2, 3), (3, 4)),
    ("...ij,...jk->...ik", (5, 2, 3), (5, 3, 2)), ("...ij,...jk", (5, 2, 3), (3, 2)),
    ("...i,i", (2, 3), (3,)), ("i...,i...->...", (2, 3), (2, 3)), ("...,...", (2, 3), (3,)),
    ("...a,...b->...ab", (4, 1, 2), (3, 2)), ("...ii->...i", (2, 3, 3)), ("...->...", ()),
    ("Aa,aB->AB", (2, 3), (3, 4)), ("ij,ij->", (2, 3), (2, 3)), ("ijk->", (2, 3, 4)),
    ("i,i,i->i", (3,), (3,), (3,)), ("nchw,oc->nohw", (2, 3, 2, 2), (4, 3)), (",->", (), ()),
    ("iij,jkk->ik", (2, 2, 3), (3, 2, 2)), ("iii->i", (2, 2, 2)), ("iii->", (2, 2, 2)),
    ("ij,ji->", (2, 3), (3, 2)), ("ab,cd->", (2, 3), (2, 2)), ("ab,b,b->a", (2, 3), (1,), (3,)),
    ("ij,jk,kl,l->i", (2, 3), (3, 4), (4, 2), (2,)),
]


@pytest.mark.parametrize("form", FORMS, ids=[f[0] for f in FORMS])
def test_einsum_equals_numpy_and_differentiates_three_times(form, rng):
    subscripts, *shapes = form
    xs = [draw(rng, *s) for s in shapes]
    ours = tg.einsum(subscripts, *xs)
    np.testing.assert_allclose(ours.data, np.einsum(subscripts, *xs), rtol=1e-12, atol=1e-14)
    tg.check_grads(lambda *ts: tg.einsum(subscripts, *ts), xs, order=3, linear=range(len(xs)))


def test_einsum_of_one_tensor_twice(rng):
    x = draw(rng, 3, 3)
    tg.check_grads(lambda t: tg.einsum("ij,jk,ki->", t, t, t), (x,), order=3)
    tg.check_grads(lambda t: tg.einsum("ii,ij->j", t, t), (x,), order=3)


def test_einsum_broadcasts_axes_of_length_one(rng):
    x, y = draw(rng, 1, 3), draw(rng, 2, 3)
    np.testing.assert_allclose(tg.einsum("ij,ij->ij", x, y).data, x * y)
    tg.check_grads(lambda a, b: tg.einsum("ij,ij->j", a, b), (x, y), order=2, linear=(0, 1))


def test_einsum_of_nothing():
    x, y = (tg.tensor(np.ones(s), requires_grad=True) for s in ((0, 3), (3, 2)))
    tg.einsum("ij,jk->ik", x, y).sum().backward()
    assert x.grad.shape == (0, 3) and y.grad.data.tolist() == [[0.0, 0.0]] * 3
    t = tg.tensor(np.ones((0, 2)), requires_grad=True)
    assert tg.einsum("ij->j", t).data.tolist() == [0.0, 0.0]
    tg.einsum("ij->", t).backward()
    assert t.grad.shape == (0, 2)


def test_einsum_takes_numbers_and_keeps_float32():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = tg.einsum(",i->i", 2.0, x)
    assert y.dtype == np.float32 and y.data.tolist() == [2.0, 4.0]


def test_einsum_tape_shows_letters_only():
    x = tg.tensor(np.ones((2, 3)), requires_grad=True)
    assert "einsum(leaf0, subscripts='ab->ba')" in repr(tg.tape(tg.einsum("ab->ba", x)))


@pytest.mark.parametrize("subscripts, shapes, text", [
    ("ij,jk->ik", [(2, 3)], "einsum: 'ij,jk->ik' has 2 terms for 1 operands"),
    ("ij,jk->ik", [(2, 3), (4, 5)], r"gives label 'j' the lengths 3 and 4 \(operand shapes"),
    ("ijk->i", [(2, 3)], r"too many subscripts for operand 0 .*\[2, 3\].*'ijk->i'"),
    ("...ijk->i", [(2, 3)], r"too many subscripts for operand 0 .*\[2, 3\]"),
    ("ij->ik", [(2, 3)], "output subscript 'k' which never appeared in an input"),
    ("ij->ii", [(2, 3)], "output subscript 'i' multiple times"),
    ("ii->i", [(2, 3)], "gives label 'i' the lengths 2 and 3"),
    ("i1->i", [(2, 3)], "invalid subscript '1' .*subscripts must be letters"),
    ("...->", [(1,) * 53], "needs more than the 52 letters"),
])
def test_einsum_errors_say_what_does_not_fit(subscripts, shapes, text):
    with pytest.raises(ValueError, match=text):
        tg.einsum(subscripts, *[np.ones(s) for s in shapes])


def test_einsum_wants_a_string_first():
    with pytest.raises(TypeError, match="einsum: subscripts must be a string, got ndarray"):
        tg.einsum(np.ones(2), "i")
