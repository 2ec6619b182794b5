"""Creation functions: dtypes, copies, sharing, and generators as arguments."""
from __future__ import annotations

import warnings

import numpy as np
import pytest

import tinygrad_conv as tg


def test_tensor_converts_to_the_dtype_asked_for():
    assert tg.tensor([1, 2], dtype=np.float64).data.tolist() == [1.0, 2.0]
    assert tg.tensor(np.ones(2), dtype="float32", requires_grad=True).requires_grad
    assert tg.tensor([1.0], dtype=float).dtype == np.float64


def test_tensor_copies():
    a = np.ones(2)
    t = tg.tensor(a)
    a[0] = 5
    assert t.data.tolist() == [1.0, 1.0]
    again = tg.tensor(t)
    again.mutate()[0] = 7
    assert t.data.tolist() == [1.0, 1.0]


def test_from_numpy_shares_in_both_directions_and_leaves_the_array_writeable():
    a = np.ones(2)
    t = tg.from_numpy(a, requires_grad=True)
    a[0] = 5
    assert t.data.tolist() == [5.0, 1.0]
    y = (t * t).sum()
    assert a.flags.writeable
    y.backward()
    t.mutate()[1] = 9
    assert a.tolist() == [5.0, 9.0]


def test_from_numpy_keeps_strides_and_takes_read_only_arrays():
    a = np.ones((2, 3)).T
    a.flags.writeable = False
    assert tg.from_numpy(a).data.strides == a.strides


@pytest.mark.parametrize("make, expected", [
    (lambda **k: tg.zeros(2, 3, **k), np.zeros((2, 3))),
    (lambda **k: tg.zeros((2, 3), **k), np.zeros((2, 3))),
    (lambda **k: tg.zeros(**k), np.zeros(())),
    (lambda **k: tg.ones([2], **k), np.ones(2)),
    (lambda **k: tg.full((2, 2), 3.0, **k), np.full((2, 2), 3.0)),
    (lambda **k: tg.full(2, 3.0, **k), np.full(2, 3.0)),
    (lambda **k: tg.arange(2.0, **k), np.arange(2.0)),
    (lambda **k: tg.arange(5, 1, -2.0, **k), np.arange(5, 1, -2.0)),
    (lambda **k: tg.linspace(0, 1, 5, **k), np.linspace(0, 1, 5)),
    (lambda **k: tg.eye(3, **k), np.eye(3)),
    (lambda **k: tg.eye(2, 3, **k), np.eye(2, 3)),
    (lambda **k: tg.zeros_like(np.ones((2, 3), np.float32), **k), np.zeros((2, 3))),
    (lambda **k: tg.ones_like(tg.zeros(2), **k), np.ones(2)),
    (lambda **k: tg.full_like(tg.zeros(2), 4.0, **k), np.full(2, 4.0)),
])
def test_filled_and_counted(make, expected):
    t = make()
    assert t.dtype == np.float32 and not t.requires_grad and t.data.flags.writeable
    np.testing.assert_allclose(t.data, expected, rtol=1e-7)
    t = make(dtype=np.float64, requires_grad=True)
    assert t.dtype == np.float64 and t.requires_grad
    np.testing.assert_array_equal(t.data, expected)


def test_arange_and_full_of_whole_numbers_are_integers():
    assert tg.arange(3).dtype == tg.arange(1, 7, 2).dtype == np.int64
    assert tg.full(2, 3).dtype == np.int64


def test_like_keeps_dtype_and_layout():
    a = np.ones((2, 3, 4, 5), np.float16).transpose(0, 3, 1, 2)
    t = tg.zeros_like(a)
    assert t.dtype == np.float16 and t.data.strides == a.strides


RANDOM = {
    "randn": lambda **k: tg.randn(2000, **k), "rand": lambda **k: tg.rand((50, 40), **k),
    "normal": lambda **k: tg.normal(0.0, 1.0, (2000,), **k),
    "uniform": lambda **k: tg.uniform(0.0, 1.0, 2000, **k),
    "randint": lambda **k: tg.randint(0, 2, (2000,), **k),
    "permutation": lambda **k: tg.permutation(2000, **k),
}


@pytest.mark.parametrize("name", RANDOM)
def test_random_numbers_come_from_the_generator_given(name):
    first, second = np.random.default_rng(7), np.random.default_rng(7)
    a, b = RANDOM[name](rng=first), RANDOM[name](rng=second)
    np.testing.assert_array_equal(a.data, b.data)
    assert (RANDOM[name](rng=first).data != a.data).any()
    assert a.dtype == (np.int64 if name in ("randint", "permutation") else np.float32)


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("rng, text", [
    ({}, ("rng must be a np.random.Generator, it is missing; make one with "
          r"rng=np.random.default_rng\(seed\)")),
    ({"rng": 42}, r"got 42; make one with rng=np.random.default_rng\(42\)"),
    ({"rng": np.random.RandomState(0)}, "got RandomState"),
])
def test_random_numbers_without_a_generator_are_refused(name, rng, text):
    with pytest.raises(TypeError, match=f"{name}: .*{text}|{name}: {text}"):
        RANDOM[name](**rng)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_random_distributions(dtype):
    rng = np.random.default_rng(0)
    for t, mean, std in [(tg.randn(200, 100, rng=rng, dtype=dtype), 0, 1),
                         (tg.rand(200, 100, rng=rng, dtype=dtype), 0.5, 12**-0.5),
                         (tg.normal(3.0, 2.0, (200, 100), rng, dtype=dtype), 3, 2),
                         (tg.uniform(-2.0, 4.0, (200, 100), rng, dtype=dtype), 1, 6 * 12**-0.5)]:
        assert t.dtype == dtype and t.shape == (200, 100)
        values = t.data.astype(np.float64)
        assert abs(values.mean() - mean) < 0.05 * max(std, 1) and abs(values.std() / std - 1) < 0.02
    whole = tg.randint(2, 5, (1000,), rng).data
    assert set(whole.tolist()) == {2, 3, 4}
    assert sorted(tg.permutation(50, rng).tolist()) == list(range(50))


def test_random_tensors_can_require_gradients():
    assert tg.randn(2, rng=np.random.default_rng(0), requires_grad=True).requires_grad


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.tensor(["a"]), TypeError, "tensor: expects real numbers"),
    (lambda: tg.tensor([1 + 2j]), TypeError, "complex"),
    (lambda: tg.tensor([[1.0], [1.0, 2.0]]), TypeError, "tensor: cannot make an array of list"),
    (lambda: tg.tensor([1.0], dtype=complex), TypeError, "tensor: dtype must be a float, integer"),
    (lambda: tg.tensor([1.0], dtype="quick"), TypeError, "tensor: dtype must be .* got 'quick'"),
    (lambda: tg.tensor([1], requires_grad=True), TypeError, "requires_grad: only floating point"),
    (lambda: tg.from_numpy([1.0]), TypeError, "from_numpy: expects a NumPy array, got list; use"),
    (lambda: tg.zeros(2, 3.0), TypeError, "zeros: a shape is made of whole numbers, got 3.0"),
    (lambda: tg.zeros(2, np.float64), TypeError, "zeros: .*other arguments by keyword"),
    (lambda: tg.ones(-1), ValueError, "ones: a size in shape must be at least 0, got -1"),
    (lambda: tg.full((2,), [1.0, 2.0]), ValueError, r"full value: expects shape \(\), got \(2,\)"),
    (lambda: tg.arange(0, 3, 0), ValueError, "arange: step must not be 0"),
    (lambda: tg.eye(2.5), TypeError, "eye: a shape is made of whole numbers, got 2.5"),
    (lambda: tg.randn(2, rng=np.random.default_rng(0), dtype=int), TypeError,
     "randn: dtype must be a floating point dtype"),
    (lambda: tg.uniform(2, 1, 3, np.random.default_rng(0)), ValueError,
     "uniform: low must not exceed high, got 2 and 1"),
    (lambda: tg.normal(0, -1, 3, np.random.default_rng(0)), ValueError,
     "normal: std must be at least 0, got -1"),
    (lambda: tg.randint(0, 300, 3, np.random.default_rng(0), dtype=np.uint8), ValueError,
     r"randint: numbers from 0 to 299 do not fit into uint8 \(0 to 255\)"),
    (lambda: tg.arange(0, 300, dtype=np.uint8), ValueError, "arange: numbers from 0 to 299 do not fit into uint8"),
    (lambda: tg.arange(3, -1, -1, dtype=np.uint8).shape == (4,) and tg.arange(3, -2, -1, dtype=np.uint8), ValueError,
     "arange: numbers from -1 to 3 do not fit into uint8"),
    (lambda: tg.tensor([300], dtype=np.uint8), TypeError, "tensor: cannot make an array of list: .* out of bounds"),
    (lambda: tg.permutation([1, 2], np.random.default_rng(0)), TypeError, "^permutation: .*whole number"),
    (lambda: tg.randint(2, 2, 3, np.random.default_rng(0)), ValueError,
     "randint: low must be below high, got 2 and 2"),
])
def test_errors_name_the_function_and_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("make, op", [(lambda: tg.zeros(2**70), "zeros"), (lambda: tg.ones(2**40, 2**40), "ones"),
                                      (lambda: tg.linspace(0, 1, 2**63), "linspace"), (lambda: tg.eye(2**35), "eye"),
                                      (lambda: tg.rand(2**62, rng=np.random.default_rng(0)), "rand")])
def test_a_tensor_beyond_all_memory_is_refused_by_name(make, op):
    with pytest.raises(MemoryError, match=f"^{op}: no memory holds a tensor of shape"):
        make()


def test_a_copy_of_a_result_says_that_no_gradient_flows_through_it():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.warns(UserWarning, match="tensor: a copy of the result of mul, through which no gradient flows.*detach"):
        tg.tensor(x * 2.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.tensor(x)                                   # a leaf is often copied
        tg.tensor((x * 2.0).detach())
        with tg.no_grad():
            tg.tensor(x * 2.0)


def test_full_like_keeps_every_digit_of_the_value():
    assert tg.full_like(tg.zeros(2, dtype=np.float64), 0.3).data.tolist() == [0.3, 0.3]
