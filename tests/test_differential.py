"""Random programs beside PyTorch, where it is installed: values, gradients, gradients of gradients, in float64.

A program has 8 to 25 steps, drawn from all ops, and ends in random cotangents; kinks and ties are met on
purpose. What differs is shrunk and printed as Python. Every primitive of the op table must have occurred.
"""
from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from tests import plant_errors
from tests import test_op_table as table
from tinygrad_conv.primitive import Primitive

pytest.importorskip("torch")

from tests.programs.ops import drawn
from tests.programs.program import Program, fails, shrunk, difference, tame

FEW, MANY = range(400), range(10_000, 15_000)


@dataclass
class Campaign:
    """What was found in a number of programs."""

    failed: list[int] = field(default_factory=list)
    wild: int = 0
    exact: int = 0
    steps: list[int] = field(default_factory=list)
    calls: Counter[int] = field(default_factory=Counter)


@contextmanager
def counted(calls: Counter[int]) -> Iterator[None]:
    """Count the calls of each primitive, those of VJPs too."""
    call = Primitive.__call__

    def counting(self, *args, **params):
        calls[id(self)] += 1
        return call(self, *args, **params)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Primitive, "__call__", counting)
        yield


def campaign_of(seeds: Iterable[int]) -> Campaign:
    found = Campaign()
    with counted(found.calls), warnings.catch_warnings(action="ignore"):
        for seed in seeds:
            draft = drawn(seed)
            program = draft.finished()
            expected = program.numbers("theirs")
            found.exact += draft.exact
            found.steps.append(len(program.steps))
            if not tame(expected):
                found.wild += 1
            elif difference(program, expected):
                found.failed.append(seed)
    return found


def assert_none_failed(found: Campaign) -> None:
    if found.failed:
        program = shrunk(drawn(found.failed[0]).finished())
        pytest.fail(f"{len(found.failed)} of {len(found.steps)} programs differ from PyTorch, seeds "
                    f"{found.failed[:20]}; the first, shrunk: {fails(program)}\n\n{program}")


@pytest.fixture(scope="module")
def campaign() -> Campaign:
    return campaign_of(FEW)


def test_programs_equal_pytorch_to_order_two(campaign):
    assert_none_failed(campaign)


def test_programs_are_long_tame_and_meet_kinks_and_ties(campaign):
    assert min(campaign.steps) >= 8 and max(campaign.steps) >= 20
    assert campaign.wild <= len(FEW) // 100
    assert campaign.exact > 2 * len(FEW)


def test_every_primitive_of_the_op_table_occurs(campaign):
    """None is left out: those without a function in PyTorch occur inside steps and in VJPs."""
    seldom = {row.name: campaign.calls[id(row.primitive)] for row in table.ROWS
              if campaign.calls[id(row.primitive)] < 10}
    assert seldom == {}


@pytest.mark.slow
def test_thousands_of_programs_equal_pytorch_to_order_two():
    found = campaign_of(MANY)
    assert_none_failed(found)
    assert found.wild <= len(MANY) // 100


# ----- the fuzz itself: it finds what is wrong, and shows it briefly -----

WRONG = [("mul", 1, "x 1.001"), ("relu", 0, "+ 0.001"), ("tanh", 0, "inputs as constants"), ("max", 0, "result entries dropped"),
         ("conv2d", 1, "cotangent entries dropped"), ("normalize", 0, "x 1.001"), ("concatenate", 1, "x 1.001"),
         ("softmax_vjp", 1, "x 1.001"), ("max_pool2d_scatter", 0, "x 1.001"), ("nll", 0, "+ 0.001"), ("getitem", 0, "x 1.001")]


@contextmanager
def wrong(name: str, argnum: int, what: str) -> Iterator[None]:
    row = next(row for row in table.ROWS if row.name == name)
    plant = next(plant for plant in plant_errors.vjp_plants(row) if plant.what == f"argument {argnum}, {what}")
    with plant.wrong(), warnings.catch_warnings(action="ignore"):
        yield


def first_failing() -> Program:
    return next(program for program in (drawn(seed).finished() for seed in FEW) if fails(program))


@pytest.mark.parametrize("name, argnum, what", WRONG)
def test_a_planted_error_is_found_and_shrunk_to_two_steps(name, argnum, what):
    with wrong(name, argnum, what):
        program = shrunk(first_failing())
        assert len(program.steps) <= 2, program
    assert fails(program) is None


def test_shrinking_keeps_what_only_several_outputs_show():
    """A step is cut off only if what is left still fails."""
    program = first = drawn(0).finished()
    with wrong("mul", 1, "x 1.001"):
        program = shrunk(first_failing())
        smaller = [replace(program, outputs=(i,)) for i in program.steps[:-1]]
        assert [str(p) for p in smaller if fails(p)] == []
    assert fails(first) is None


def test_the_printed_program_prints_the_numbers_of_both():
    program = shrunk_of_seed = drawn(3).finished()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(action="ignore"):
        exec(str(program), {})
    with contextlib.redirect_stdout(io.StringIO()) as expected:
        print(program.numbers("ours"))
        print(shrunk_of_seed.numbers("theirs"))
    assert printed.getvalue() == expected.getvalue()
    assert np.isfinite(program.numbers("ours")[0][0]).all()
