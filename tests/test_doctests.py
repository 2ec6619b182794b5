"""Every example in a docstring runs and gives what it says; every public function has one."""
from __future__ import annotations

import doctest
import importlib
import pkgutil
import types

import pytest

import nn
import tinygrad_conv as tg
import tinygrad_conv.extend
from tinygrad_conv.primitive import Primitive

MODULES = [info.name for package in (tg, nn)
           for info in [*pkgutil.walk_packages(package.__path__, package.__name__ + ".")]]
MODULES += ["tinygrad_conv", "nn"]


def examples(name: str) -> list[doctest.DocTest]:
    """Doctests of functions, classes and primitives that a module defines."""
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(module, name)
    for attribute, value in vars(module).items():
        if isinstance(value, Primitive) and value.fn.__module__ == name:
            found += finder.find(value.fn, f"{name}.{attribute}", module=module,
                                 globs=vars(module).copy())
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    for test in examples(name):
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("package", [tg, tg.explain, tg.extend, nn, nn.data, nn.init],
                         ids=lambda package: package.__name__)
def test_every_public_function_and_class_is_documented_with_an_example(package):
    missing = []
    for name in dir(package):
        value = getattr(package, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if callable(value) and ">>>" not in (value.__doc__ or ""):
            missing.append(name)
    assert missing == []


def test_every_method_of_a_tensor_says_what_it_does_and_what_it_is_called():
    methods = {name: m for name, m in vars(tg.Tensor).items() if callable(m) and not name.startswith("_")}
    assert [name for name, m in methods.items() if not m.__doc__ or "<lambda>" in m.__qualname__] == []
    with pytest.raises(TypeError, match=r"^Tensor\.softmax\(\) missing 1 required .*'dim'"):
        tg.ones(2).softmax()
