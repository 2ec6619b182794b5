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
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests import plant_errors
from tests import test_op_table as table
from tinygrad_conv.primitive import Primitive

pytest.importorskip("torch")

from tests.programs.ops import drawn
from tests.programs.program import Leaf, Program, Step, difference, fails, shrunk, tame

FEW, MANY = range(400), range(10_000, 17_000)


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
    """None is left out: those that PyTorch has no function for occur inside of steps and in VJPs."""
    seldom = {row.name: campaign.calls[id(row.primitive)] for row in table.ROWS
              if campaign.calls[id(row.primitive)] < 10}
    assert seldom == {}


@pytest.mark.slow
def test_thousands_of_programs_equal_pytorch_to_order_two():
    found = campaign_of(MANY)
    assert_none_failed(found)
    assert found.wild <= len(MANY) // 100


# ----- the fuzz itself: it finds what is wrong, and shows it briefly -----

WRONG = [("mul", "argument 1, x 1.001"), ("relu", "argument 0, + 0.001"), ("tanh", "argument 0, inputs as constants"),
         ("max", "argument 0, result entries dropped"), ("conv2d", "argument 1, cotangent entries dropped"),
         ("conv2d", "kernel conv2d, the filter flipped"), ("normalize", "argument 0, x 1.001"),
         ("concatenate", "argument 1, x 1.001"), ("softmax_vjp", "argument 1, x 1.001"), ("nll", "argument 0, + 0.001"),
         ("max_pool2d_scatter", "argument 0, x 1.001"), ("getitem", "argument 0, x 1.001")]


@contextmanager
def wrong(name: str, what: str) -> Iterator[None]:
    row = next(row for row in table.ROWS if row.name == name)
    plant = next(plant for plant in plant_errors.candidates([row]) if plant.what == what)
    with plant.wrong(), warnings.catch_warnings(action="ignore"):
        yield


@pytest.mark.parametrize("name, what", WRONG)
def test_a_planted_error_is_found_and_shrunk_to_two_steps(name, what):
    with wrong(name, what):
        failing = next(program for program in (drawn(seed).finished() for seed in FEW) if fails(program))
        program = shrunk(failing)
        assert fails(program) and len(program.steps) <= 2 < len(failing.steps), program
    assert fails(program) is None


def test_shrinking_cuts_off_both_ends():
    names = ["tanh", "sin", "relu", "cos", "exp"]
    steps = [Step(f"tg.{name}({{0}})", f"torch.{name}({{0}})", (i,)) for i, name in enumerate(names)]
    program = Program((Leaf(np.array([0.25, 0.75])), *steps), (len(steps),))
    assert fails(program) is None
    with wrong("relu", "argument 0, x 1.001"):
        program = shrunk(program)
    assert [program.nodes[i].ours for i in program.steps] == ["tg.relu({0})"]
    np.testing.assert_allclose(program.nodes[2].array, np.sin(np.tanh([0.25, 0.75])), rtol=1e-15)


def test_what_the_engine_raises_is_a_failure_and_shrunk_too():
    steps = Step("tg.tanh({0})", "torch.tanh({0})", (0,)), Step("tg.tanh({0}, 1)", "torch.tanh({0})", (1,))
    program = shrunk(Program((Leaf(np.ones(2)), *steps), (2,)))
    assert len(program.steps) == 1 and fails(program).startswith("TypeError: tanh")


def test_the_printed_program_prints_the_numbers_of_both():
    program = drawn(3).finished()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(action="ignore"):
        exec(str(program), {})
    assert printed.getvalue() == f"{program.numbers('ours')}\n{program.numbers('theirs')}\n"
