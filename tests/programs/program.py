"""Programs in tg and PyTorch: run to order two, compared, shrunk, printed.

A program is a list of nodes: leaves, and steps, each one line of Python for tg and one for PyTorch.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import tinygrad_conv as tg

NAMES = {"torch": torch, "F": F, "np": np, "tg": tg}


@dataclass(frozen=True)
class Leaf:
    """An input, and the expression that lays its array {} out in memory for tg."""

    array: np.ndarray
    layout: str = "{}"
    constant: bool = False

    @property
    def ours(self) -> tg.Tensor:
        x = tg.from_numpy(eval(self.layout.format("a"), {"a": self.array, "np": np}))
        x.requires_grad = not self.constant
        return x

    @property
    def theirs(self) -> torch.Tensor:
        return torch.tensor(self.array, requires_grad=not self.constant)

    def lines(self, i: int) -> list[str]:
        array = f"np.array({self.array.tolist()!r}, np.float64)"
        return [f"x{i} = tg.from_numpy({self.layout.format(array)})", f"x{i}.requires_grad = {not self.constant}",
                f"y{i} = torch.tensor({array}, requires_grad={not self.constant})"]


@dataclass(frozen=True)
class Step:
    """One line: what to evaluate in each library, {0}, {1} ... being the operands, numbers of nodes."""

    ours: str
    theirs: str
    operands: tuple[int, ...]

    def evaluate(self, library: str, values: Any) -> Any:
        code = getattr(self, library).format(*[f"x{k}" for k in self.operands])
        return eval(code, {**NAMES, **{f"x{k}": values[k] for k in self.operands}})

    def lines(self, i: int) -> list[str]:
        return [f"{z}{i} = {code.format(*[f'{z}{k}' for k in self.operands])}"
                for z, code in (("x", self.ours), ("y", self.theirs))]


@dataclass(frozen=True)
class Program:
    """Nodes, each of nodes before it, and those of which derivatives are taken."""

    nodes: tuple[Leaf | Step, ...]
    outputs: tuple[int, ...]

    @property
    def live(self) -> list[int]:
        """The nodes that the outputs need."""
        needed = set(self.outputs)
        for i in reversed(range(len(self.nodes))):
            if i in needed and isinstance(self.nodes[i], Step):
                needed.update(self.nodes[i].operands)
        return sorted(needed)

    @property
    def steps(self) -> list[int]:
        return [i for i in self.live if isinstance(self.nodes[i], Step)]

    @property
    def leaves(self) -> list[int]:
        """Those by which derivatives are taken."""
        return [i for i in self.live if isinstance(self.nodes[i], Leaf) and not self.nodes[i].constant]

    def values(self, library: str) -> dict[int, Any]:
        found: dict[int, Any] = {}
        for i in self.live:
            node = self.nodes[i]
            found[i] = getattr(node, library) if isinstance(node, Leaf) else node.evaluate(library, found)
        return found

    def numbers(self, library: str) -> Numbers:
        values = self.values(library)
        derivatives = {"ours": by_tg, "theirs": by_torch}[library]
        return derivatives({i: values[i] for i in self.outputs}, {i: values[i] for i in self.leaves})

    def __str__(self) -> str:
        """The program as Python, which prints the numbers of both libraries."""
        def named(z: str, numbers: Any) -> str:
            return "{" + ", ".join(f"{i}: {z}{i}" for i in numbers) + "}"
        return "\n".join([
            "import numpy as np, torch, tinygrad_conv as tg", "from torch.nn import functional as F",
            "from tests.programs.program import by_tg, by_torch",
            *[line for i in self.live for line in self.nodes[i].lines(i)],
            *[f"print({by}({named(z, self.outputs)}, {named(z, self.leaves)}))"
              for by, z in (("by_tg", "x"), ("by_torch", "y"))]])


# ----- derivatives -----

Numbers = list[list[np.ndarray]]  # values of the outputs, gradients, gradients of <gradients, directions>


def wave(number: int, t: Any) -> np.ndarray:
    """The cotangent of an output, or the direction at a leaf."""
    return np.random.default_rng(number).standard_normal(tuple(t.shape))


def by_tg(outputs: dict[int, tg.Tensor], leaves: dict[int, tg.Tensor]) -> Numbers:
    first = gradients(sum([(y * wave(i, y)).sum() for i, y in outputs.items()]), leaves)
    slopes = [(d * wave(i, d)).sum() for i, d in zip(leaves, first) if d is not None]
    second = gradients(sum(slopes, start=tg.tensor(0.0)), leaves)
    return [[np.zeros(x.shape) if t is None else t.data.copy() for t, x in zip(found, like)] for found, like in (
        (outputs.values(), outputs.values()), (first, leaves.values()), (second, leaves.values()))]


def gradients(loss: tg.Tensor, leaves: dict[int, tg.Tensor]) -> list[tg.Tensor | None]:
    if loss.requires_grad:
        loss.backward(create_graph=True)
    found = [x.grad for x in leaves.values()]
    for x in leaves.values():
        x.grad = None
    return found


def by_torch(outputs: dict[int, torch.Tensor], leaves: dict[int, torch.Tensor]) -> Numbers:
    xs = list(leaves.values())
    first = second = [None] * len(xs)
    loss = sum([(y * torch.tensor(wave(i, y))).sum() for i, y in outputs.items()])
    if loss.requires_grad:
        first = torch.autograd.grad(loss, xs, create_graph=True, allow_unused=True)
    slopes = [(d * torch.tensor(wave(i, d))).sum() for i, d in zip(leaves, first) if d is not None]
    slope = sum(slopes, start=torch.zeros(()))
    if slope.requires_grad:
        second = torch.autograd.grad(slope, xs, allow_unused=True)
    # + 0: the zeros of a derivative may have no memory, and numpy() of a part of those ends the process
    return [[np.zeros(tuple(x.shape)) if t is None else (t.detach() + 0).numpy() for t, x in zip(found, like)]
            for found, like in ((outputs.values(), outputs.values()), (first, xs), (second, xs))]


# ----- the comparison -----

def tame(numbers: Numbers) -> bool:
    """Whether rounding errors are far below the tolerance: nothing larger than a million."""
    return all(np.all(np.abs(a) < 1e6) for order in numbers for a in order)


def difference(program: Program, expected: Numbers) -> str | None:
    """What differs from PyTorch's numbers, or the exception that was raised; None if nothing."""
    try:
        found = program.numbers("ours")
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    scale = 1.0
    for what, ours, theirs in zip(("value", "gradient", "second derivative"), found, expected):
        scale = max([scale, *[np.abs(a).max(initial=0.0) for a in theirs]])
        for i, x, y in zip(program.outputs if what == "value" else program.leaves, ours, theirs):
            off = np.abs(x - y).max(initial=0.0) if x.shape == y.shape else np.inf
            if not off <= 1e-9 * scale:
                return f"{what} at node {i}, off by {off:.3g}:\n{x!r}\nPyTorch:\n{y!r}"
    return None


def fails(program: Program) -> str | None:
    """What differs; None also where PyTorch's numbers are too large to compare."""
    expected = program.numbers("theirs")
    return difference(program, expected) if tame(expected) else None


def shrunk(program: Program) -> Program:
    """A failing program with few steps: first the end is cut off, then the start.

    A step that is cut off at the start becomes a leaf with its value, so that what follows still fits.
    """
    for i in program.steps:
        shorter = replace(program, outputs=(i,))
        if fails(shorter):
            program = shorter
            break
    values = program.values("theirs")
    for i in reversed([i for i in program.steps if i not in program.outputs]):
        leaf = Leaf(values[i].numpy(force=True))
        shorter = replace(program, nodes=(*program.nodes[:i], leaf, *program.nodes[i + 1:]))
        if i in program.live and fails(shorter):
            program = shorter
    return program
