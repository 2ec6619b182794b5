"""Ops take what a tensor can be made of: lists, tuples, arrays, NumPy's and Python's numbers."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg

ROWS = [[0.5, 0.25], [0.75, 0.1]]
ENTRYWISE = ["abs", "cos", "elu", "erf", "exp", "expm1", "floor", "gelu", "hardtanh", "identity", "isfinite", "isnan",
             "leaky_relu", "log", "log1p", "logical_not", "neg", "relu", "relu6", "selu", "sigmoid", "sign", "silu",
             "sin", "softplus", "sqrt", "tanh", "acos", "asin", "asinh", "atan", "atanh", "ceil", "cosh", "exp2", "log10",
             "log2", "round", "sinh", "tan", "trunc"]
WHOLE = ["all", "amax", "amin", "any", "argmax", "argmin", "flatten", "flip", "log_softmax", "logsumexp", "max", "mean",
         "min", "norm", "prod", "softmax", "squeeze", "std", "sum", "transpose", "var"]
PAIRS = ["add", "div", "equal", "greater", "less", "logical_and", "matmul", "maximum", "minimum", "mul", "not_equal",
         "outer", "pow", "sub", "atan2", "floor_divide", "hypot", "logaddexp", "remainder"]
NOT_NUMBERS = [None, "a", [None], object(), [1, [2]], 1j, {}]


def same(found, expected):
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize("name", ENTRYWISE + WHOLE)
def test_lists_tuples_and_arrays_give_what_a_tensor_gives(name):
    op = getattr(tg, name)
    expected = op(tg.tensor(ROWS))
    for value in (ROWS, tuple(map(tuple, ROWS)), np.array(ROWS, np.float32), [np.array(r, np.float32) for r in ROWS]):
        same(op(value), expected)


@pytest.mark.parametrize("name", ENTRYWISE)
@pytest.mark.parametrize("number", [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_numbers_give_what_their_tensor_gives(name, number):
    same(getattr(tg, name)(number), getattr(tg, name)(tg.tensor(number)))


@pytest.mark.parametrize("name", PAIRS)
def test_two_arguments_may_be_of_different_kinds(name):
    op, t = getattr(tg, name), tg.tensor(ROWS[0])
    expected = op(t, t)
    for a in (t, ROWS[0], tuple(ROWS[0]), t.numpy()):
        for b in (t, ROWS[0], tuple(ROWS[0]), t.numpy()):
            same(op(a, b), expected)


@pytest.mark.parametrize("name", ENTRYWISE + WHOLE)
@pytest.mark.parametrize("value", NOT_NUMBERS, ids=lambda v: type(v).__name__)
def test_what_is_no_number_is_a_type_error_that_says_so(name, value):
    with pytest.raises(TypeError, match="expects real numbers|cannot make an array"):
        getattr(tg, name)(value)


def test_images_and_targets_may_be_lists():
    image, w = [[[[1.0, 2.0], [3.0, 4.0]]]], [[[[1.0]]]]
    same(tg.conv2d(image, w, [0.5]), tg.conv2d(tg.tensor(image), tg.tensor(w), tg.tensor([0.5])))
    same(tg.max_pool2d(image, [2, 2]), tg.max_pool2d(tg.tensor(image), 2))
    same(tg.cross_entropy(ROWS, [0, 1], weight=(1, 2)), tg.cross_entropy(tg.tensor(ROWS), np.array([0, 1]), np.array([1, 2])))
    same(tg.concatenate((ROWS, tg.tensor(ROWS)), np.int64(1)), tg.concatenate([tg.tensor(ROWS)] * 2, 1))


def test_instance_names_what_is_expected_and_the_advice():
    assert tg.arguments.instance([1], list, "op", "a list") == [1]
    with pytest.raises(TypeError, match="^op: expects a list, got int; pass one$"):
        tg.arguments.instance(1, list, "op", "a list", "; pass one")
