"""The checker must be able to fail: wrong VJPs at order 1 and at order 2 only, kinks, float32."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg


def cube_with(vjp):
    """x**3 with the VJP to be tested."""
    @tg.primitive
    def cube(x):
        return x * x * x
    cube.defvjp(vjp)
    return cube


X = np.array([[1.5, -0.7, 2.0], [0.4, -1.2, 0.9]])


def test_a_right_vjp_passes_at_order_3():
    tg.check_grads(cube_with(lambda g, ans, x: g * 3.0 * x * x), (X,), order=3)


@pytest.mark.parametrize("factor", [3.003, 2.0, -3.0, 0.0, 3.0 * 12345, np.nan])
def test_a_wrong_factor_fails_at_order_1(factor):
    with pytest.raises(AssertionError, match=r"check_grads: cube, order 1, argument 0 \(x\)"):
        tg.check_grads(cube_with(lambda g, ans, x: g * factor * x * x), (X,), order=1)


def test_a_raw_intermediate_passes_order_1_and_fails_order_2():
    wrong = cube_with(lambda g, ans, x: g * (3.0 * x.data * x.data))
    tg.check_grads(wrong, (X,), order=1)
    with pytest.raises(AssertionError, match=r"order 2, argument 0 \(x\)"):
        tg.check_grads(wrong, (X,), order=2)


def test_a_vjp_wrong_only_at_order_3():
    half = cube_with(lambda g, ans, x: g * cubed_slope(x))

    @tg.primitive
    def cubed_slope(x):
        return 3 * x * x
    cubed_slope.defvjp(lambda g, ans, x: g * (6.0 * x.data))

    tg.check_grads(half, (X,), order=2)
    with pytest.raises(AssertionError, match="order 3"):
        tg.check_grads(half, (X,), order=3)


def test_a_vjp_that_is_not_linear_in_g_fails_at_the_cotangent():
    @tg.primitive
    def double(x):
        return 2 * x
    double.defvjp(lambda g, ans, x: 2.0 * g + 1e-9 * g * g)
    with pytest.raises(AssertionError, match=r"order 2, cotangent 0"):
        tg.check_grads(double, (X,), order=2)


def test_one_wrong_entry_is_found_and_named():
    mask = np.ones_like(X)
    mask[1, 2] = 1.01
    with pytest.raises(AssertionError) as e:
        tg.check_grads(cube_with(lambda g, ans, x: g * 3.0 * x * x * mask), (X,))
    assert "index (1, 2)" in str(e.value)
    assert "ratio 1.01" in str(e.value)


def test_the_failure_names_both_numbers_and_their_ratio():
    with pytest.raises(AssertionError) as e:
        tg.check_grads(cube_with(lambda g, ans, x: g * 6.0 * x * x), (np.array([2.0]),))
    assert "by differences" in str(e.value) and "by the VJP" in str(e.value)
    assert str(e.value).count("(ratio 2)") == 2


def test_only_the_wrong_argument_is_blamed():
    @tg.primitive
    def mul3(x, y):
        return x * y
    mul3.defvjp(lambda g, ans, x, y: g * y, lambda g, ans, x, y: g * x * 1.001)
    with pytest.raises(AssertionError, match=r"argument 1 \(y\)"):
        tg.check_grads(mul3, (X, X + 3.0), order=1)


def test_linear_slots_are_exact_to_rounding():
    @tg.primitive
    def scaled(x, y):
        return x * y
    scaled.defvjp(lambda g, ans, x, y: g * y * (1 + 1e-10), lambda g, ans, x, y: g * x)
    tg.check_grads(scaled, (X, X + 3.0), order=1)              # 1e-10: below any step's noise
    with pytest.raises(AssertionError, match=r"argument 0 \(x\)"):
        tg.check_grads(scaled, (X, X + 3.0), order=1, linear=(0,))


def test_a_slot_wrongly_called_linear_fails():
    with pytest.raises(AssertionError):
        tg.check_grads(lambda x: x * x * x, (X,), order=1, linear=(0,))


def test_affine_is_linear_enough():
    tg.check_grads(lambda x: 3.0 * x + 1000.0, (X,), linear=(0,))


@pytest.mark.parametrize("name, value", [("relu", 0.0), ("relu", 1e-7), ("relu", -2e-6),
                                         ("abs", 0.0), ("abs", 4e-6)])
def test_a_kink_is_called_a_kink(name, value):
    x = np.array([1.0, value, -2.0, 5.0])
    with pytest.raises(AssertionError, match=r"kink near index \(1,\)"):
        kinked = {"relu": tg.relu, "abs": lambda t: tg.relu(t) + 0.7 * tg.relu(-t)}[name]
        tg.check_grads(kinked, (x,))


def test_a_wrong_vjp_beside_a_kink_is_still_a_wrong_vjp():
    @tg.primitive
    def kinked(x):
        return np.maximum(x, 0) * x
    kinked.defvjp(lambda g, ans, x: g * tg.relu(x) * 3.0)      # 2 x would be right
    with pytest.raises(AssertionError, match="ratio 1.5"):
        tg.check_grads(kinked, (np.array([0.0, 1.0, 2.0]),))


def test_a_strongly_curved_function_is_no_kink():
    with pytest.raises(AssertionError, match="by the VJP") as e:
        tg.check_grads(lambda x: tg.exp(x) * tg.exp(x.detach()), (np.array([5.0, 6.0]),))
    assert "kink" not in str(e.value)


@pytest.mark.parametrize("bad", [np.ones(3, np.float32), np.float32(1.0), np.ones(2, np.float16)])
def test_only_float64(bad):
    with pytest.raises(TypeError, match=r"argument 1 is float.*float64"):
        tg.check_grads(lambda x, y: x * y, (np.ones(1), bad))


def test_float32_output_of_float64_input_is_refused():
    @tg.primitive
    def narrow(x):
        return x.astype(np.float32)
    narrow.defvjp(lambda g, ans, x: g)
    with pytest.raises(TypeError, match="returned float32 for float64"):
        tg.check_grads(narrow, (X,))


def test_integers_are_passed_through():
    def scaled_by(x, k, label):
        assert k == 3 and label.dtype == np.int64 and isinstance(label, np.ndarray)
        return x * float(k)
    tg.check_grads(scaled_by, (X, 3, np.arange(3)))


def test_arguments_are_a_tuple_and_linear_ones_exist():
    for args in (X[:1], tg.tensor(X[:1])):                    # its rows would be the arguments
        with pytest.raises(TypeError, match=r"expects a tuple of the function's arguments, got .*; write \(x,\)"):
            tg.check_grads(lambda x: x * x, args)
    with pytest.raises(ValueError, match=r"linear=\(-1,\) must be numbers of the 1 arguments"):
        tg.check_grads(lambda x: x * 2.0, (X,), linear=(-1,))


def test_nothing_to_differentiate_is_an_error():
    with pytest.raises(TypeError, match="none of the arguments is floating point"):
        tg.check_grads(lambda x: x, (np.arange(3),))


def test_something_else_than_tensors_is_an_error():
    with pytest.raises(TypeError, match="expects a function that returns tensors, got ndarray"):
        tg.check_grads(lambda x: x.data, (X,))


def test_several_outputs_and_integer_outputs():
    def three(x, y):
        return x * y, tg.tensor(np.array([1, 2])), tg.exp(y)
    tg.check_grads(three, (X, np.array([0.3])), order=3)
    with pytest.raises(AssertionError, match=r"argument 1 \(y\)"):
        tg.check_grads(lambda x, y: (x * y, tg.exp(y.detach())), (X, np.array([0.3])))


def test_tensors_floats_zero_size_and_scalars_are_arguments():
    tg.check_grads(lambda x, y, z: x * y + z, (tg.tensor(X), 2.0, np.zeros((0, 1, 1))))
    tg.check_grads(lambda x: x * x, (np.array(3.0),), order=3)


def test_arguments_are_not_touched_and_not_locked():
    x = X.copy()
    tg.check_grads(lambda t: t * t, (x,), order=3)
    assert x.flags.writeable and np.array_equal(x, X)


def test_deterministic_by_default_and_rng_is_used():
    wrong = cube_with(lambda g, ans, x: g * 3.3 * x * x)
    texts = []
    for rng in (None, None, np.random.default_rng(7)):
        with pytest.raises(AssertionError) as e:
            tg.check_grads(wrong, (X,), rng=rng)
        texts.append(str(e.value))
    assert texts[0] == texts[1] != texts[2]


def test_an_op_without_a_vjp_says_so():
    @tg.primitive
    def mystery(x):
        return x * x
    with pytest.raises(NotImplementedError, match=r"mystery has no VJP for argument 0 \('x'\)"):
        tg.check_grads(mystery, (X,))


def test_a_large_wrong_argument_is_explained_in_bounded_time(rng):
    x = rng.standard_normal((100, 30))
    with pytest.raises(AssertionError, match="Worst entry"):
        tg.check_grads(cube_with(lambda g, ans, x: g * x), (x,), order=1)


# ----- arguments with which nothing would be checked -----

@pytest.mark.parametrize("name, value, error", [
    *[("eps", v, ValueError) for v in (0, -1e-5, float("nan"), float("inf"), False, 1e-300)], ("eps", "a", TypeError),
    *[(name, v, ValueError) for name in ("atol", "rtol") for v in (-1e-8, float("nan"), float("inf"))],
    ("atol", None, TypeError), ("rtol", 2.0, ValueError), ("order", 0, ValueError), ("order", True, TypeError),
    ("order", 1.0, TypeError), ("rng", 3, TypeError), ("linear", 0, TypeError), ("linear", None, TypeError),
    ("linear", (5,), ValueError), ("linear", (-1,), ValueError), ("linear", (0.0,), TypeError), ("linear", ([0],), TypeError),
    ("linear", "0", TypeError), ("linear", (True,), TypeError)])
def test_an_option_with_which_nothing_would_be_checked_is_refused(name, value, error):
    with pytest.raises(error, match=f"^check_grads: .*{name}"):
        tg.check_grads(lambda x: x * x, (np.ones(2),), **{name: value})


def test_every_option_is_used():
    for options in ({"eps": 1e-4}, {"eps": None}, {"atol": 0, "rtol": 1e-4}, {"rtol": 0, "atol": 1e-4}, {"order": np.int64(1)},
                    {"linear": [0]}, {"linear": {0}}, {"linear": range(1)}, {"rng": np.random.default_rng(3)}):
        tg.check_grads(lambda x: x * 3.0, (np.array([1.0, -2.0]),), **options)
    with pytest.raises(AssertionError):
        tg.check_grads(lambda x: x * x * x, (np.ones(2),), atol=0, rtol=0)
    with pytest.raises(AssertionError):
        tg.check_grads(lambda x: x * x, (np.ones(2),), linear=(0,))


@pytest.mark.parametrize("f", [lambda x: x > 0, lambda x: (), lambda x: [tg.argmax(x)]])
def test_a_function_without_anything_to_differentiate_is_refused(f):
    with pytest.raises(TypeError, match="^check_grads: the function returned nothing floating point"):
        tg.check_grads(f, (np.ones(2),))
