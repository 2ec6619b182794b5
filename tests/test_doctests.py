"""Every example in a docstring runs and gives what it says; every public function has one."""
from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import types

import pytest

import nn
import tinygrad_conv as tg
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


@pytest.mark.parametrize("package", [tg, nn])
def test_every_public_function_and_class_is_documented(package):
    missing = []
    for name in dir(package):
        value = getattr(package, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if callable(value) and not inspect.getdoc(value):
            missing.append(name)
    assert missing == []
