"""Every example in a docstring runs and gives what it says; every public function has one."""
from __future__ import annotations

import doctest
import importlib
import pkgutil
import types

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.primitive import Primitive

MODULES = [info.name for package in (tg, nn)
           for info in [*pkgutil.walk_packages(package.__path__, package.__name__ + ".")]]
MODULES += ["tinygrad_conv", "nn"]


NAN, INF = float("nan"), float("inf")
OF_A_TABLE = {  # ops whose documentation is one line; what they give for one list of arguments
    "equal": (([1.0, 2.0], 2.0), [False, True]), "not_equal": (([1.0, 2.0], 2.0), [True, False]),
    "less": (([1.0, 2.0], 2.0), [True, False]), "less_equal": (([1.0, 2.0], 2.0), [True, True]),
    "greater": (([1.0, 2.0], 1.0), [False, True]), "greater_equal": (([1.0, 2.0], 1.0), [True, True]),
    "logical_not": (([True, False],), [False, True]),
    "logical_and": (([True, False], True), [True, False]),
    "logical_or": (([True, False], False), [True, False]),
    "isnan": (([0.0, NAN],), [False, True]), "isfinite": (([0.0, INF],), [True, False]),
    "sign": (([-2.0, 0.0, 5.0],), [-1.0, 0.0, 1.0]), "floor": (([1.5, -1.5],), [1.0, -2.0]),
    "identity": (([1.0, 2.0],), [1.0, 2.0]), "neg": (([1.0, -2.0],), [-1.0, 2.0]),
    "add": (([1.0, 2.0], 3.0), [4.0, 5.0]), "sub": (([1.0, 2.0], 3.0), [-2.0, -1.0]),
    "mul": (([1.0, 2.0], 3.0), [3.0, 6.0]), "div": (([1.0, 2.0], 4.0), [0.25, 0.5]),
    "abs": (([-2.0, 3.0],), [2.0, 3.0]),
    "maximum": (([1.0, 5.0], 3.0), [3.0, 5.0]), "minimum": (([1.0, 5.0], 3.0), [1.0, 3.0]),
    "pow": (([2.0, -3.0], 2.0), [4.0, 9.0]), "sqrt": (([4.0],), [2.0]), "exp": (([0.0],), [1.0]),
    "expm1": (([0.0],), [0.0]), "log": (([1.0],), [0.0]), "log1p": (([0.0],), [0.0]),
    "sin": (([0.0],), [0.0]), "cos": (([0.0],), [1.0]), "tanh": (([0.0, 1000.0],), [0.0, 1.0]),
    "tan": (([0.0],), [0.0]), "asin": (([0.0],), [0.0]), "acos": (([1.0],), [0.0]), "atan": (([0.0],), [0.0]),
    "sinh": (([0.0],), [0.0]), "cosh": (([0.0],), [1.0]), "asinh": (([0.0],), [0.0]), "acosh": (([1.0],), [0.0]),
    "atanh": (([0.0],), [0.0]), "log2": (([8.0],), [3.0]), "log10": (([1.0],), [0.0]), "exp2": (([3.0],), [8.0]),
    "ceil": (([1.5, -1.5],), [2.0, -1.0]), "trunc": (([1.5, -1.5],), [1.0, -1.0]),
    "floor_divide": (([7.0, -7.0], 2.0), [3.0, -4.0]), "remainder": (([7.0, -7.0], 4.0), [3.0, 1.0]),
    "atan2": (([0.0], 1.0), [0.0]), "hypot": (([3.0], 4.0), [5.0]),
    "logaddexp": (([1000.0], 1000.0), [float(np.float32(1000.0 + np.log(2.0)))]),
    "sigmoid": (([0.0, -1000.0, 1000.0],), [0.5, 0.0, 1.0]), "erf": (([0.0, 6.0],), [0.0, 1.0]),
    "relu": (([-1.0, 2.0],), [0.0, 2.0]), "silu": (([0.0],), [0.0]),
    "sum": (([[1.0, 2.0], [3.0, 4.0]], 0), [4.0, 6.0]),
    "mean": (([[1.0, 2.0], [3.0, 4.0]], (0, 1)), 2.5),
    "max": (([[1.0, 5.0], [3.0, 4.0]], 1), [5.0, 4.0]), "min": (([[1.0, 5.0], [3.0, 4.0]], 1), [1.0, 3.0]),
    "amax": (([[1.0, 5.0], [3.0, 4.0]], 1), [5.0, 4.0]), "amin": (([[1.0, 5.0], [3.0, 4.0]], 1), [1.0, 3.0]),
    "argmax": (([[1.0, 5.0], [3.0, 3.0]], 1), [1, 0]), "argmin": (([[1.0, 5.0], [3.0, 3.0]], 1), [0, 0]),
    "any": (([0.0, 1.0],), True), "all": (([0.0, 1.0],), False),
    "logsumexp": (([1000.0, 1000.0],), float(np.float32(1000.0 + np.log(2.0)))),
}


def examples(name: str) -> list[doctest.DocTest]:
    """Doctests of functions, classes and primitives that a module defines."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    handed_on = {f"{name}.{attribute}" for attribute, value in vars(module).items()
                 if isinstance(value, types.FunctionType) and getattr(value, "__wrapped__", value).__module__ != name}  # run there
    found = [test for test in finder.find(module, name) if test.name not in handed_on]
    for attribute, value in vars(module).items():
        if isinstance(value, Primitive) and value.__module__ == name:
            found += finder.find(value.__wrapped__, f"{name}.{attribute}", module=module,
                                 globs=vars(module).copy())
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    if name.startswith("nn.onnx"):
        pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tinygrad_conv[onnx]'")
    for test in examples(name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("package", [tg, tg.explain, nn, nn.data, nn.init, nn.onnx],
                         ids=lambda package: package.__name__)
def test_every_public_function_and_class_is_documented_with_an_example(package):
    missing = []
    for name in dir(package):
        value = getattr(package, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if callable(value) and ">>>" not in (value.__doc__ or "") and not (value.__doc__ and name in OF_A_TABLE):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize(("name", "example"), OF_A_TABLE.items())
def test_examples_of_the_ops_that_are_rows_of_a_table(name, example):
    arguments, result = example
    assert getattr(tg, name)(*arguments).tolist() == result
    assert getattr(tg, name).__name__ == name.removeprefix("a" * (name in ("amax", "amin")))


def test_the_examples_of_rows_are_those_of_ops_without_one_of_their_own():
    assert [name for name in OF_A_TABLE if ">>>" in getattr(tg, name).__doc__] == []


def test_every_method_of_a_tensor_says_what_it_does_and_what_it_is_called():
    methods = {name: m for name, m in vars(tg.Tensor).items() if callable(m) and not name.startswith("_")}
    assert [name for name, m in methods.items() if not m.__doc__ or "<lambda>" in m.__qualname__] == []
    with pytest.raises(TypeError, match=r"^Tensor\.softmax\(\) missing 1 required .*'dim'"):
        tg.ones(2).softmax()
