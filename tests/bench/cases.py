"""All that is measured, in order, each beside its target: ratios to PyTorch unless `rows.py` says otherwise."""
from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from . import curves, processes
from .clock import best
from .convs import EIGHT, SINGLE, Conv, our_conv, torch_conv
from .nets import operations, our_step, torch_step
from .peak import peak
from .record import RECORD
from .rivals import installed
from .rows import Row, Target, Work, fastest_rival
from .sides import FAMILIES, at_most, better, versus

STEPS = [(net, size, at_most(0.5, 1.0) if size == 1 else at_most(0.67, 1.4))
         for net in ("lenet", "cnn") for size in (1, 32, 64, 256)]
STEPS += [("resnet", 64, at_most(0.8, 1.6)), ("mobilenet", 32, at_most(0.8, 1.6))]
CONVS = {str(conv): (conv, targets) for convs, targets in ((EIGHT, at_most(0.9, 2.0)), (SINGLE, at_most(1.2, 2.5)))
         for conv in convs}
MEAN = "geometric mean of the eight convs", list(map(str, EIGHT)), at_most(0.67, 1.4)
RIVAL = {"compiled": Target(least=15), "numpy": Target(least=8)}
MEMORY = [("lenet", 64), ("cnn", 64), ("resnet", 64)]


class Case(NamedTuple):
    """`measure(name)` gives the rows."""

    name: str
    measure: Callable[[str], list[Row]]


def step(net: str, size: int, targets: dict[str, Target], name: str) -> list[Row]:
    return versus(name, our_step(net, size), better(torch_step, net, size), Work(operations(net, size), peak("float32")), targets)


def convolution(conv: Conv, targets: dict[str, Target], name: str, budget: float = 7.0) -> list[Row]:
    return versus(name, our_conv(conv), better(torch_conv, conv), Work(conv.operations, peak(conv.dtype)), targets,
                  budget)


def beside_rivals(conv: Conv, targets: dict[str, Target], name: str) -> list[Row]:
    """Our families and PyTorch, then the rivals that know this convolution."""
    ours, work = convolution(conv, targets, name), Work(conv.operations, peak(conv.dtype))
    rivals = [Row(name, rival.name, best(rival.step(conv)) * 1e3, "ms", None, None, None, *work)
              for rival in installed()[0] if rival.serves(conv)]
    return [*ours, *rivals, *fastest_rival(ours, rivals, RIVAL)]


def cases() -> list[Case]:
    """All but Fashion-MNIST."""
    found = [Case(f"record: {name}", measure) for name, measure in RECORD.items()]
    found += [Case(f"{net} training step, batch {size}", partial(step, net, size, targets))
              for net, size, targets in STEPS]
    found += [Case(name, partial(beside_rivals, conv, targets)) for name, (conv, targets) in CONVS.items()]
    if "compiled" in FAMILIES:
        found.append(Case("first step of cnn", lambda name: processes.first_steps(name, "cnn", 64)))
    if sys.platform == "linux":
        found += [Case(f"{net} peak memory, batch {size}", lambda name, net=net, size=size: processes.peak_memory(
            name, net, size)) for net, size in MEMORY]
    found += [Case(curves.name(axis, value), partial(convolution, curves.convolution(axis, value), {}, budget=0))
              for axis, values in curves.CURVES.items() for value in values]
    return found


def fashion() -> list[Case]:
    return [Case(f"fashion-mnist, five epochs, {family}", lambda name, family=family: processes.fashion(name, family))
            for family in FAMILIES]
