"""Every argument of every function may be given by its name: the same value, the same gradients.

And whatever NumPy's function of the same name takes is taken with that meaning, or refused by its name.
"""
from __future__ import annotations

import inspect
import itertools

import numpy as np
import pytest

import tinygrad_conv as tg
from tests import test_op_table as table
from tests.test_op_table import every_row
from tinygrad_conv import numpy_protocol
from tinygrad_conv.primitive import Primitive

RNG = np.random.default_rng(0)
A = RNG.uniform(0.5, 2.0, (2, 3))
B, V = A[::-1] + 0.25, A[0]
IMAGE, LINE = RNG.standard_normal((2, 2, 4, 4)), RNG.standard_normal((2, 2, 5))
FILTER, FILTER1 = RNG.standard_normal((4, 2, 3, 3)), RNG.standard_normal((4, 2, 3))
POOLED, INDICES = IMAGE[:, :, ::2, ::2], np.array([[0, 3], [8, 15]]) * np.ones((2, 2, 1, 1), int)
LABELS, ONE, PAIR = np.array([0, 2]), np.ones(3), np.ones(2)
PROBABLE = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])

CALLS = {  # what each function of the ops is called with, by position
    **dict.fromkeys("abs cos elu erf exp expm1 floor gelu identity isfinite isnan leaky_relu log log1p logical_not neg relu "
                    "relu6 selu sigmoid sign silu sin softplus sqrt tanh asinh atan ceil cosh exp2 log10 log2 sinh tan trunc".split(), (A,)),
    **dict.fromkeys("acos asin atanh".split(), (A - 1.25,)),
    "acosh": (A + 1.0,), "round": (A, 1),
    **dict.fromkeys("add div equal greater greater_equal less less_equal logical_and logical_or maximum minimum mul "
                    "not_equal outer pow sub atan2 floor_divide hypot logaddexp remainder".split(), (A, B)),
    **dict.fromkeys("all amax amin any argmax argmin logsumexp max mean min prod sum".split(), (A, 1, True)),
    **dict.fromkeys("cumsum expand_dims flatten flip log_softmax softmax squeeze".split(), (A, 1)),
    **dict.fromkeys(("global_avg_pool2d", "global_max_pool2d"), (IMAGE,)),
    "adaptive_avg_pool2d": (IMAGE, 2), "adaptive_max_pool2d": (IMAGE, 2, False), "astype": (A, np.float32),
    "avg_pool1d": (LINE, 2, 1, 1, True, False), "avg_pool2d": (IMAGE, 2, 1, 1, True, False),
    "batch_norm": (IMAGE, None, None, PAIR, PAIR, True, 0.1, 1e-5), "broadcast_to": (A, (2, 2, 3)),
    "binary_cross_entropy_with_logits": (A, PROBABLE), "clip": (A, 0.75, 1.5), "concat": ([A, B], 1),
    "concatenate": ([A, B], 1), "conv1d": (LINE, FILTER1, np.ones(4), 1, 1), "conv2d": (IMAGE, FILTER, np.ones(4), 1, 1),
    "conv2d_weight": (IMAGE[:, [0, 1, 0, 1], 1:3, 1:3], IMAGE, (3, 3)),
    "conv_transpose1d": (LINE, FILTER1[:2], PAIR, 2, 1, 1), "conv_transpose2d": (IMAGE, FILTER[:2], PAIR, 2, 1, 1),
    "cross_entropy": (A, LABELS, ONE, -100, "mean", 0.1), "dropout": (A, 0.5, True), "dropout2d": (IMAGE, 0.5, True),
    "einsum": ("ij,ij->j", A, B), "getitem": (A, (slice(None), [0, 2])), "group_norm": (IMAGE, 2, PAIR, PAIR, 1e-5),
    "hardtanh": (A, -1.0, 1.0), "hinge_loss": (A, LABELS), "huber_loss": (A, B, "sum", 0.1),
    "instance_norm": (IMAGE, None, None, PAIR, PAIR), "kl_div": (A, PROBABLE, "sum"), "l1_loss": (A, B, "sum"),
    "layer_norm": (A, 3, ONE, ONE, 1e-5), "linear": (A, B, PAIR), "matmul": (A, B.T),
    "max_pool1d": (LINE, 2, 1, 1), "max_pool2d": (IMAGE, 2, 1, 1), "max_unpool2d": (POOLED, INDICES, 2),
    "mse_loss": (A, B, "sum"), "nll_loss": (A, LABELS, ONE, -100, "sum"), "norm": (A, 2, 1, True),
    "pad": (A, 1, "constant", 2.0), "reshape": (A, (3, 2)), "roll": (A, 1, 1),
    "smooth_l1_loss": (A, B, "sum", 0.1), "split": (A, 3, 1), "stack": ([A, B], 1), "std": (A, 1, 0, True),
    "swapaxes": (A, 0, 1), "take_along_axis": (A, np.array([[0], [1]]), 1), "transpose": (A, (1, 0)),
    "var": (A, 1, 0, True), "where": (A > 1, A, B),
    "interpolate": (IMAGE, None, 1.5, "bilinear", True, True), "pixel_shuffle": (np.ones((1, 4, 2, 2)), 2),
    "pixel_unshuffle": (IMAGE, 2), "unfold": (IMAGE, 2, 1, 1, 2), "fold": (np.ones((2, 8, 9)), 4, 2, 1, 1, 2),
    "adaptive_avg_pool1d": (LINE, 2), "binary_cross_entropy": (PROBABLE, PROBABLE, ONE, "sum"),
    "margin_ranking_loss": (A, B, np.sign(A - 1), 0.5, "sum"), "triplet_margin_loss": (A, B, A + 1, 0.5, 2.0, 1e-3, True, "sum"),
    **dict.fromkeys("hardsigmoid hardswish logsigmoid mish".split(), (A,)), "prelu": (A, ONE[:1]),
    "argsort": (A, 1, True), "sort": (A, 1, True), "topk": (A, 2, 1, False, True), "cumprod": (A, 1), "diag": (A, 1),
    "gather": (A, 1, np.array([[0], [2]])), "scatter_add": (A, 1, np.array([[0], [2]]), A), "tile": (A, (2, 1)),
    "repeat": (A, 2, 1), "moveaxis": (A, 0, 1), "vstack": ([A, B],), "hstack": ([A, B],), "tril": (A, 1), "triu": (A, 1),
    "masked_fill": (A, A > 1, 0.5), "tensordot": (A, B.T, 1),
}
CONSTANT = {"cross_entropy": 2, "nll_loss": 2}  # the position of an array that must require no gradient
OPTIONS = {"dropout": {"rng": 0}, "dropout2d": {"rng": 0}}


def names_of(function):
    if isinstance(function, Primitive):
        return list(function.names)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]


def test_every_op_is_called_here():
    assert sorted(set(tg.ops.__all__) - set(CALLS)) == [] == sorted(set(CALLS) - set(tg.ops.__all__))


def is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def taken(a, kind):
    """An argument as a tensor of a graph, an array, or a nested list."""
    if isinstance(a, list) and is_float(a[0]):
        return [taken(part, kind) for part in a]
    if kind == "tensor" and is_float(a):
        return tg.tensor(a, requires_grad=True)
    return a.tolist() if kind == "list" and isinstance(a, np.ndarray) else a


def outcome(name, args, by_name):
    """Values, and gradients of all tensors among the arguments, of which the last `by_name` are named."""
    function, first = getattr(tg, name), len(args) - by_name
    leaves = [t for part in args for t in (part if isinstance(part, list) else [part]) if isinstance(t, tg.Tensor)]
    options = {k: np.random.default_rng(v) for k, v in OPTIONS.get(name, {}).items()}
    names = names_of(function)
    y = function(*args[:first], **dict(zip(names[first:], args[first:])), **options)
    parts = [t for t in (y if isinstance(y, tuple | list) else [y]) if isinstance(t, tg.Tensor)]
    total = [(t * np.cos(np.arange(t.size, dtype=t.dtype).reshape(t.shape))).sum() for t in parts if t.requires_grad]
    if total:
        sum(total[1:], total[0]).backward()
    return [t.detach().numpy() for t in parts], [t.grad for t in leaves]


@pytest.mark.parametrize("name", [name for name in CALLS if name != "einsum"])  # any number of operands, by position
def test_every_argument_may_be_given_by_its_name(name):
    args = CALLS[name]
    assert len(args) <= len(names_of(getattr(tg, name)))
    for kinds in itertools.islice(itertools.product(("tensor", "array", "list"), repeat=len(args)), 30):
        if name in ("where", "take_along_axis", "max_unpool2d") and "list" in kinds:
            continue                                          # lists of whole numbers and booleans, and a float32 one
        if name in CONSTANT and kinds[CONSTANT[name]] == "tensor":
            continue
        given = lambda: [taken(a, kind) for a, kind in zip(args, kinds)]
        values, gradients = outcome(name, given(), 0)
        for by_name in range(1, len(args) + 1):
            others, theirs = outcome(name, given(), by_name)
            assert len(values) == len(others) and len(gradients) == len(theirs)
            for a, b in zip(values, others):
                assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
            for a, b in zip(gradients, theirs):
                assert (a is None) == (b is None) and (a is None or np.array_equal(a.numpy(), b.numpy()))


@every_row
def test_every_array_of_every_primitive_may_be_given_by_its_name(row):
    names = row.primitive.names
    for args, params in table.each_sample(row) if names else ():
        plain = [np.asarray(a) for a in args]
        results = []
        for by_name in range(len(args) + 1):
            inputs = [tg.tensor(a, requires_grad=i in table.floats(args) and bool(row.order)) for i, a in enumerate(plain)]
            first = len(args) - by_name
            outputs = table.as_tuple(row.primitive(*inputs[:first], **dict(zip(names[first:], inputs[first:])), **params))
            for y in outputs:
                if y.requires_grad:
                    y.backward(np.ones(y.shape), retain_graph=True)
            results.append(([y.numpy() for y in outputs], [None if t.grad is None else t.grad.numpy() for t in inputs]))
        for values, gradients in results[1:]:
            for a, b in zip([*values, *gradients], [*results[0][0], *results[0][1]]):
                assert (a is b is None) or np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


METHODS = {  # arguments of the methods that take any, by position
    "sum": (1, True), "mean": (1, True), "prod": (1, True), "amax": (1, True), "amin": (1, True), "any": (1, True),
    "all": (1, True), "logsumexp": (1, True), "argmax": (1, True), "argmin": (1, True), "var": (1, 0, True),
    "std": (1, 0, True), "norm": (2, 1, True), "max": (1, True), "min": (1, True), "cumsum": (1,), "softmax": (1,),
    "log_softmax": (1,), "clip": (0.75, 1.5), "clamp": (0.75, 1.5), "pow": (2.0,), "matmul": (B.T,),
    "astype": (np.float32,), "flatten": (0, 1), "transpose": (0, 1), "squeeze": (0,), "unsqueeze": (1,),
    "split": (1, 1), "roll": (1, 1), "round": (1,), "to": (np.float32,), "requires_grad_": (True,),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_argument_of_a_method_may_be_given_by_its_name(name):
    args, method = METHODS[name], getattr(tg.Tensor, name)
    names = [p.name for p in inspect.signature(method).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]
    results = []
    for by_name in range(len(args) + 1):
        t = tg.tensor(A, requires_grad=True)
        first = len(args) - by_name
        y = method(t, *args[:first], **dict(zip(names[first:], args[first:])))
        parts = y if isinstance(y, list | tuple) else [y]
        for part in parts:
            if part.requires_grad:
                part.backward(np.ones(part.shape), retain_graph=True)
        results.append(([part.detach().numpy() for part in parts], t.grad))
    for values, gradient in results[1:]:
        for a, b in zip(values, results[0][0]):
            assert np.array_equal(a, b)
        assert (gradient is results[0][1] is None) or np.array_equal(gradient.numpy(), results[0][1].numpy())


# ----- NumPy's arguments -----

SHARED = sorted(name for name in tg.__all__ if callable(getattr(np, name, None)) and name not in (
    "identity", "show_config", "tensor", "diff"))  # words that mean something else there
START = {  # the call that another argument is added to: arrays, or what NumPy's function takes first
    **dict.fromkeys(("zeros", "ones"), (2, 3)), "eye": (3,), "from_dlpack": (A,), "full": ((2,), 1.0), "arange": (3,), "linspace": (0, 1),
    "zeros_like": (A,), "ones_like": (A,), "full_like": (A, 1.0)}
VALUES = {  # NumPy's arguments: a value that is not its default
    "axis": 0, "dtype": np.float32, "out": np.zeros(()), "keepdims": True, "initial": 3.0, "where": A > 1, "casting": "unsafe",
    "order": "F", "subok": True, "signature": "d->d", "like": A, "device": "gpu", "copy": True, "ddof": 1, "mean": A,
    "correction": 1, "decimals": 1, "a_min": 1.0, "a_max": 1.5, "min": 1.0, "max": 1.5, "k": 1, "M": 2, "N": 3, "endpoint": False,
    "retstep": True, "num": 5, "start": 1, "stop": 7, "step": 2, "fill_value": 2.0, "shape": (3, 2), "optimize": True,
    "axes": (1, 0), "axis1": 0, "axis2": 1, "shift": 1, "indices": np.array([[1], [0]]), "indices_or_sections": 1,
    "kind": "heapsort", "stable": True, "prepend": 1.0, "append": 1.0, "n": 2, "repeats": 2, "source": 0, "destination": 1, "reps": 2,
    "ord": 1, "pad_width": 1, "mode": "reflect", "constant_values": 2.0, "end_values": 2.0, "stat_length": 2, "reflect_type": "odd",
}
UFUNC = ["out", "where", "casting", "order", "dtype", "subok", "signature"]


def numpy_arguments(function):
    """The names that NumPy's function can be given by keyword."""
    if isinstance(function, np.ufunc):
        return [*UFUNC, *(["axes", "axis", "keepdims"] if function.signature else [])]
    found = [p.name for p in inspect.signature(function).parameters.values() if p.kind in (
        p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return found + (["constant_values", "end_values", "stat_length", "reflect_type"] if function is np.pad else [])


def test_this_table_knows_all_of_numpys_arguments():
    known = set(VALUES) | {"a", "b", "m", "x", "ary", "arr", "array", "arrays", "condition", "y", "start_or_stop", "tup", "A", "v"}
    for name in SHARED:
        assert set(numpy_arguments(getattr(np, name))) <= known, name


@pytest.mark.parametrize("name", SHARED)
def test_an_argument_of_numpys_is_taken_with_its_meaning_or_refused_by_its_name(name):
    ours, theirs = getattr(tg, name), getattr(np, name)
    names, args = names_of(ours), START.get(name) or CALLS[name]
    if name not in START and name != "einsum":
        needed = [p for p in inspect.signature(ours).parameters.values() if p.default is p.empty]
        args = args[:len(needed) if not isinstance(ours, Primitive) else len(names)]
    for argument in [a for a in numpy_arguments(theirs) if a in VALUES]:
        i = names.index(argument) if argument in names else len(args)
        named = {argument: VALUES[argument], **dict(zip(names[i + 1:], args[i + 1:]))}
        try:
            found = ours(*args[:i], **named)
        except (TypeError, ValueError) as e:
            assert repr(argument) in str(e) or f" {argument} " in str(e), f"{name}({argument}=): {e}"
            assert ours.__name__ in str(e)
            continue
        if name in ("var", "std"):
            named["correction"] = named.get("correction", 1)  # PyTorch's default
        if name == "squeeze":                                 # as in PyTorch, an axis of another length stays
            continue
        expected = theirs(*([(2, 3)] if name in ("zeros", "ones") else args[:i]), **named)
        same(found, expected, f"{name}({argument}={VALUES[argument]})")


def same(found, expected, what):
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected), what
        for a, b in zip(found, expected):
            same(a, b, what)
        return
    assert isinstance(found, tg.Tensor) and found.shape == np.shape(expected), what
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-6, err_msg=what)


THROUGH = {**numpy_protocol.FUNCTIONS}
FIRST = {np.clip: (A, 0.75, 1.5), np.split: (A, 2), np.dot: (A, B.T), np.pad: (A, 1), np.astype: (A, np.float32), np.linalg.norm: (A,),
         np.tensordot: (A, B), np.diff: (A, 1, 0)}


@pytest.mark.parametrize("function", THROUGH, ids=lambda f: f.__name__)
def test_numpys_own_function_takes_its_arguments_with_a_tensor_or_refuses_them_by_name(function):
    name = function.__name__
    parameters = inspect.signature(function).parameters
    required = sum(p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
                   for p in parameters.values())
    args = FIRST.get(function) or CALLS[name]
    args = args if name in ("einsum", "where", "swapaxes", "clip") else args[:required]

    def tensors():
        return [[tg.tensor(x, requires_grad=True) for x in a] if isinstance(a, list) and is_float(a[0]) else
                tg.tensor(a, requires_grad=True) if is_float(a) else a for a in args]
    same(function(*tensors()), function(*args), name)
    for argument in [a for a in numpy_arguments(function) if a in VALUES and a not in [*parameters][:len(args)]]:
        named = {argument: VALUES[argument]}
        try:
            found = function(*tensors(), **named)
        except (TypeError, ValueError) as e:
            assert repr(argument) in str(e) or f" {argument} " in str(e), f"np.{name}({argument}=): {e}"
            continue
        if name != "squeeze":
            same(found, function(*args, **named), f"np.{name}({argument}=)")


@pytest.mark.parametrize("ufunc", numpy_protocol.UFUNCS, ids=lambda f: f.__name__)
def test_numpys_ufuncs_refuse_what_there_is_no_op_for_by_name(ufunc):
    operands = [(A > 1) if "bitwise" in ufunc.__name__ or ufunc is np.invert else A] * ufunc.nin
    if ufunc is np.matmul:
        operands = [A, A.T]
    tensors = [tg.tensor(a) for a in operands]
    same(ufunc(*tensors), ufunc(*operands), ufunc.__name__)
    same(ufunc(*tensors, casting="same_kind", dtype=None), ufunc(*operands), ufunc.__name__)
    for argument in ("dtype", "order", "casting") + ("where",) * (ufunc is not np.matmul):
        with pytest.raises(TypeError, match=rf"^np\.{ufunc.__name__}: no op for tensors with {argument}; use"):
            ufunc(*tensors, **{argument: VALUES[argument]})
    with pytest.raises(TypeError, match=rf"^np\.{ufunc.__name__}: cannot write a tensor's result into an array"):
        ufunc(*tensors, out=np.zeros((2, 3)))


@pytest.mark.parametrize("call, expected", [
    (lambda t: np.cumsum(t), np.cumsum(A)), (lambda t: tg.cumsum(t), np.cumsum(A)), (lambda t: np.std(t), np.std(A)),
    (lambda t: np.clip(t, a_min=0.75, a_max=1.5), np.clip(A, 0.75, 1.5)), (lambda t: np.var(t, ddof=1), np.var(A, ddof=1)),
    (lambda t: np.einsum("ij->j", t, optimize=True), A.sum(0)), (lambda t: np.sum(t, 0, None, None, True), A.sum(0)[None]),
    (lambda t: np.var(t, axis=0, correction=1), np.var(A, 0, ddof=1)), (lambda t: np.reshape(t, (3, 2), "C"), A.reshape(3, 2)),
    (lambda t: np.take_along_axis(t, np.array([[0], [2]])), A[[0, 1], [0, 2]][:, None])])
def test_numpys_defaults_are_those_of_its_functions(call, expected):
    t = tg.tensor(A, requires_grad=True)
    y = call(t)
    same(y, expected, "")
    y.sum().backward()
    assert t.grad is not None


def test_numpys_where_of_a_condition_alone_says_where_it_is_true():
    for a, b in zip(np.where(tg.tensor(A) > 1), np.where(A > 1)):
        assert a.tolist() == b.tolist()


def test_what_creates_tensors_carries_numpys_arguments():
    same(tg.full((2,), fill_value=3.0), np.full(2, 3.0), "full")
    same(tg.eye(3, k=-1), np.eye(3, k=-1), "eye")
    same(tg.eye(3, 4, 1), np.eye(3, 4, 1), "eye")
    same(tg.linspace(0, 1, 4, False), np.linspace(0, 1, 4, False), "linspace")
    with pytest.raises(TypeError, match="linspace: expects True or False as endpoint, got"):
        tg.linspace(0, 1, 4, np.float64)
    with pytest.raises(TypeError, match="eye: k must be a whole number"):
        tg.eye(3, 3, np.float64)
