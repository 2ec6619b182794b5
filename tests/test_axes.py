"""An axis, whatever it is given as, means the same in every op: PyTorch's for methods, NumPy's for functions."""
from __future__ import annotations

import numpy as np
import pytest

import tinygrad_conv as tg

torch = pytest.importorskip("torch")

SHAPES = [(), (3,), (2, 3), (2, 1, 3)]
METHODS = ["sum", "mean", "prod", "amax", "amin", "any", "all", "logsumexp", "argmax", "argmin", "var", "std", "norm", "max",
           "min", "cumsum", "softmax", "log_softmax", "squeeze", "unsqueeze", "flip", "roll", "gather", "transpose", "flatten"]
FUNCTIONS = {"sum": np.sum, "mean": np.mean, "prod": np.prod, "max": np.max, "min": np.min, "amax": np.max, "amin": np.min, "any": np.any,
             "all": np.all, "argmax": np.argmax, "argmin": np.argmin, "expand_dims": np.expand_dims, "flip": np.flip}
NO_AXIS = [True, 1.0, "0", np.array([0]), np.array([0, 1]), [None], object()]


def axes(ndim):
    """Numbers beyond both ends, NumPy's, pairs, and an axis named twice."""
    numbers = range(-ndim - 2, ndim + 3)
    return [*numbers, *map(np.int64, numbers), (0,), (-1,), (0, 1), (0, -1), (0, 0), (0, -max(ndim, 1))]


def outcome(call):
    """The values as arrays, or the kind of error."""
    try:
        made = call()
    except (TypeError, ValueError, IndexError, RuntimeError):
        return None
    return [np.asarray(v.detach() if isinstance(v, torch.Tensor) else v.data)
            for v in (made if isinstance(made, tuple) else (made,))]


def call_of(name, x, axis):
    special = {"flip": lambda: x.flip(axis), "roll": lambda: x.roll(1, axis), "norm": lambda: x.norm(dim=axis),
               "transpose": lambda: x.transpose(axis, -1), "flatten": lambda: x.flatten(axis),
               "gather": lambda: x.gather(axis, torch.zeros(tuple(x.shape), dtype=torch.int64) if isinstance(x, torch.Tensor)
                                          else np.zeros(x.shape, int))}
    return special.get(name, lambda: getattr(x, name)(dim=axis))


def taken_by_torch(name, axis):
    """PyTorch's prod, norm, softmax and rolls take neither NumPy's numbers nor, some of them, tuples."""
    return not (name == "norm" and isinstance(axis, np.generic)
                or name in ("prod", "softmax", "log_softmax") and isinstance(axis, tuple))


@pytest.mark.filterwarnings("ignore:.*degrees of freedom.*")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_method_takes_and_refuses_the_axes_that_pytorch_does(name, shape, rng):
    x = rng.standard_normal(shape)
    for axis in axes(len(shape)):
        if name == "roll" and not shape or not taken_by_torch(name, axis):
            continue
        ours = outcome(call_of(name, tg.tensor(x > 0 if name in ("any", "all") else x), axis))
        theirs = outcome(call_of(name, torch.tensor(x > 0 if name in ("any", "all") else x), axis))
        assert (ours is None) == (theirs is None), (axis, ours, theirs)
        for a, b in zip(ours or (), theirs or ()):
            assert a.shape == b.shape, axis
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=str(axis))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_function_takes_and_refuses_the_axes_that_numpy_does(name, shape, rng):
    x = rng.standard_normal(shape)
    for axis in axes(len(shape)):
        if name in ("expand_dims", "flip", "argmax", "argmin") and (isinstance(axis, tuple) or not shape):
            continue                                          # a number has an axis 0 here
        ours = outcome(lambda: getattr(tg, name)(tg.tensor(x), axis))
        theirs = outcome(lambda: tg.tensor(FUNCTIONS[name](x, axis)))
        if not shape and axis in ((0,), (-1,), 0, -1):
            theirs = outcome(lambda: tg.tensor(FUNCTIONS[name](x)))
        assert (ours is None) == (theirs is None), (axis, ours, theirs)
        for a, b in zip(ours or (), theirs or ()):
            assert a.shape == b.shape, axis
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=str(axis))


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "amax", "amin", "logsumexp", "norm", "max", "min", "cumsum", "softmax",
                                  "log_softmax", "squeeze", "unsqueeze", "flip", "gather", "transpose", "flatten"])
def test_the_gradient_of_a_number_along_its_axis_is_that_of_pytorch(name):
    x, q = tg.tensor(0.7, requires_grad=True), torch.tensor(0.7, requires_grad=True)
    for t in (x, q):
        made = call_of(name, t, 0)()
        y = made[0] if isinstance(made, tuple) else made
        (y * y).sum().backward()
    np.testing.assert_allclose(x.grad.data, q.grad.numpy(), rtol=1e-6)
    assert x.grad.shape == ()


@pytest.mark.parametrize("name", [n for n in METHODS if n != "flip"])
@pytest.mark.parametrize("axis", NO_AXIS, ids=lambda a: type(a).__name__)
def test_what_is_no_axis_is_a_type_error_that_says_so(name, axis):
    with pytest.raises(TypeError, match="axis must be a whole number, got"):
        call_of(name, tg.ones(2, 3), axis)()


@pytest.mark.parametrize("cut", [lambda t: t.split(1), lambda t: t.split([1]), lambda t: tg.split(t, 1), lambda t: tg.split(t, [0], -1),
                                 lambda t: tg.concat([t, t])])
def test_a_number_is_neither_cut_nor_joined(cut):
    with pytest.raises(ValueError, match="^(split|concatenate): "):
        cut(tg.tensor(2.0))


def test_cumsum_and_stack_of_numbers():
    assert tg.cumsum(2.0, 0).shape == () and tg.cumsum(2.0, -1).item() == 2.0
    assert tg.stack([1.0, 2.0], -1).data.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("word", ["keepdims", "keepdim"])
@pytest.mark.parametrize("name", ["sum", "mean", "prod", "amax", "amin", "any", "all", "logsumexp", "argmax", "argmin", "var", "std", "norm"])
def test_keepdims_is_a_bool_and_nothing_that_is_merely_true(name, word):
    x = tg.ones(2, 3)
    for value in (1, 0.0, None, "True", np.array([True, False]), np.array(True), np.float32):
        with pytest.raises(TypeError, match="keepdims must be True or False, got"):
            getattr(x, name)(axis=1, **{word: value})
    assert getattr(x, name)(axis=1, **{word: np.True_}).shape == (2, 1)


@pytest.mark.parametrize(("call", "name"), [
    (lambda v: tg.max_pool2d(tg.ones(1, 1, 4, 4), 2, ceil_mode=v), "ceil_mode"), (lambda v: tg.avg_pool1d(tg.ones(1, 4), 2, ceil_mode=v), "ceil_mode"),
    (lambda v: tg.max_pool2d(tg.ones(1, 1, 4, 4), 2, return_indices=v), "return_indices"),
    (lambda v: tg.adaptive_max_pool2d(tg.ones(1, 1, 4, 4), 2, v), "return_indices"),
    (lambda v: tg.avg_pool2d(tg.ones(1, 1, 4, 4), 2, count_include_pad=v), "count_include_pad"),
    (lambda v: tg.dropout(tg.ones(4), 0.5, v, rng=np.random.default_rng(0)), "training"),
    (lambda v: tg.batch_norm(tg.ones(4, 2), tg.zeros(2), tg.ones(2), training=v), "training"),
    (lambda v: tg.instance_norm(tg.ones(1, 2, 3), tg.zeros(2), tg.ones(2), use_input_stats=v), "use_input_stats"),
    (lambda v: tg.kl_div(tg.zeros(2, 2), tg.ones(2, 2), "sum", v), "log_target")])
@pytest.mark.parametrize("value", [1, None, "no", np.array([0, 1])], ids=lambda v: type(v).__name__)
def test_every_flag_is_a_bool(call, name, value):
    with pytest.raises(TypeError, match=f"{name} must be True or False, got"):
        call(value)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "var", "std", "logsumexp", "prod"])
def test_no_axes_are_all_axes_to_a_method_as_in_pytorch(name):
    x = tg.tensor([[1.0, 2.0, 4.0], [0.0, 3.0, 5.0]])
    assert getattr(x, name)(dim=()).tolist() == pytest.approx(getattr(x, name)().tolist())
