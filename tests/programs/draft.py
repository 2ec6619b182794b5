"""A program while it is drawn.

It is run as it grows, so that every step fits the values before it: shapes agree, numbers stay small, and
where an op has kinks or ties both libraries hold the very same number there, or none close to it.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tinygrad_conv as tg

from .program import Leaf, Program, Step

GRID = [-2.0, -1.0, -0.5, 0.0, 0.0, 0.5, 1.0, 2.0]  # kinks, and many ties
LAYOUTS = ["{}", "{}", 'np.asarray({}, order="F")', "{}[..., ::-1].copy()[..., ::-1]", "np.repeat({}, 2, -1)[..., ::2]"]
CHANNELS_LAST = "np.ascontiguousarray({}.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)"
LARGEST = 8.0  # a value beyond is scaled down


class Draft:
    """Nodes, and their values in both libraries."""

    def __init__(self, seed: int):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Leaf | Step] = []
        self.ours: list[tg.Tensor] = []
        self.theirs: list[torch.Tensor] = []
        self.most = 100_000 if self.chance(0.015) else 300  # entries; a value with more is cut
        self.exact = 0  # how many ops met a kink or a tie exactly

    def finished(self) -> Program:
        """The program; its outputs are the nodes that no step uses."""
        used = {k for node in self.nodes if isinstance(node, Step) for k in node.operands}
        return Program(tuple(self.nodes), tuple(i for i in range(len(self.nodes)) if i not in used))

    # ----- choices -----

    def choice(self, options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def count(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def axis(self, i: int) -> int:
        n = self.ours[i].ndim
        return self.count(-n, n - 1)

    def shape(self, i: int) -> tuple[int, ...]:
        return self.ours[i].shape

    # ----- nodes -----

    def leaf(self, shape: tuple[int, ...], constant: bool | None = None) -> int:
        """A new leaf: of GRID, normal, some of each, or one number everywhere."""
        grid, normal = self.rng.choice(GRID, shape), self.rng.standard_normal(shape)
        kind = self.rng.random()
        array = np.asarray(grid if kind < 0.45 else normal if kind < 0.85 else
                           np.where(self.rng.random(shape) < 0.5, grid, normal) if kind < 0.95 else
                           np.full(shape, self.choice(GRID)))
        layout = self.choice(LAYOUTS + [CHANNELS_LAST] * 2 * (len(shape) == 4)) if shape else "{}"
        self.nodes.append(Leaf(array, layout, self.chance(0.1) if constant is None else constant))
        self.ours.append(self.nodes[-1].ours.detach())
        self.theirs.append(self.nodes[-1].theirs.detach())
        return len(self.nodes) - 1

    def step(self, code: str, *operands: int, torch: str | None = None) -> int:
        """A new step; PyTorch's code is tg's with another prefix unless given. Returns the node to go on with."""
        node = Step(code, code.replace("tg.", "torch.") if torch is None else torch, operands)
        try:
            ours, theirs = node.evaluate("ours", self.ours), node.evaluate("theirs", self.theirs)
        except Exception as e:
            e.add_note(f"in the step {node} of shapes {[self.shape(i) for i in operands]}")
            raise
        assert ours.dtype == np.float64 and theirs.isfinite().all(), f"{code}: {ours.dtype}, {theirs}"
        assert ours.shape == tuple(theirs.shape), f"{code}: {ours.shape}, PyTorch {tuple(theirs.shape)}"
        self.nodes.append(node)
        self.ours.append(ours)
        self.theirs.append(theirs)
        i = len(self.nodes) - 1
        if ours.size > max(self.most, *[self.ours[k].size for k in operands]):
            part = ", ".join([f":{max(2, int(self.most ** (1 / ours.ndim)))}"] * ours.ndim)
            return self.step(f"{{0}}[{part}]", i)
        size = np.abs(theirs.numpy()).max(initial=0.0)
        return i if size <= LARGEST else self.step(f"{{0}} * {2.0 ** -math.ceil(math.log2(size / LARGEST))}", i)

    def some(self, fits: Callable[[tg.Tensor], bool]) -> int | None:
        """A node that fits, later ones more often."""
        found = [i for i in range(len(self.nodes)) if fits(self.ours[i])]
        return found[min(int(self.rng.triangular(0, len(found), len(found))), len(found) - 1)] if found else None

    def tensor(self, least: int = 0, most: int = 5) -> int:
        """A node, or a new leaf, with at least and at most so many axes."""
        found = self.some(lambda a: least <= a.ndim <= most and a.size > 0)
        if found is not None and not self.chance(0.1):
            return found
        return self.leaf(tuple(self.count(1, 3) for _ in range(self.count(least, min(most, max(least, 3))))))

    def shaped(self, shape: tuple[int, ...]) -> int:
        """A node of that shape: there already, a new leaf, or picked from another node."""
        found = self.some(lambda a: a.shape == shape)
        if found is not None and self.chance(0.5):
            return found
        if self.chance(0.5) or math.prod(shape) > self.most:
            return self.leaf(shape)
        i = self.tensor()
        places = self.rng.integers(self.ours[i].size, size=shape).tolist()
        return self.step(f"{{0}}.reshape((-1,))[np.array({places})]", i,
                         torch=f"{{0}}.reshape(-1)[torch.tensor({places})]")

    def images(self, least: int = 3, channels: int | None = None) -> int:
        """A node (N, C, H, W)."""
        found = self.some(lambda a: a.ndim == 4 and min(a.shape[2:]) >= least and channels in (None, a.shape[1]))
        if found is not None and self.chance(0.7):
            return found
        most = 18 if self.chance(0.15) else 6
        return self.shaped((self.count(1, 2), channels or self.count(1, 4), self.count(least, most), self.count(least, most)))

    def against(self, i: int) -> int:
        """A node that broadcasts with node i; now and then node i itself."""
        if self.chance(0.15):
            return i
        shape = self.shape(i)
        cut = self.count(0, len(shape)) if self.chance(0.4) else 0
        own = tuple(1 if self.chance(0.25) else n for n in shape[cut:])
        return self.shaped((self.count(1, 2), *own) if self.chance(0.1) and len(own) == len(shape) < 4 else own)

    # ----- kinks: those of all ops are at multiples of a quarter, or where two numbers differ by one -----

    def settled(self, *numbers: int) -> tuple[int, ...]:
        """The nodes; rounded to quarters if one is close to a kink without being the same in both libraries."""
        if self.chance(0.3) or not self.is_settled(numbers):
            numbers = tuple(self.quarters(i) for i in numbers)
        phase, _ = self.phases(numbers)
        self.exact += bool((np.diff(phase) == 0).any())
        return numbers

    def phases(self, numbers: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """All entries and 0, modulo a quarter, in order, and whether both libraries have the same."""
        ours = np.concatenate([[0.0], *[self.ours[i].data.ravel() for i in numbers]])
        theirs = np.concatenate([[0.0], *[self.theirs[i].numpy().ravel() for i in numbers]])
        phase = np.mod(ours, 0.25)
        order = np.argsort(phase)
        return phase[order], (ours == theirs)[order]

    def is_settled(self, numbers: tuple[int, ...]) -> bool:
        phase, same = self.phases(numbers)
        gap = np.diff(phase)
        return phase[-1] < 0.25 - 1e-6 and bool(np.all((gap > 1e-6) | (gap == 0) & same[1:] & same[:-1]))

    def quarters(self, i: int) -> int:
        """Node i rounded to quarters; the gradient passes."""
        x, y = self.ours[i].data, self.theirs[i].numpy()
        if np.array_equal(x, y) and not np.mod(x, 0.25).any():
            return i
        for offset in (0.5, 0.37, 0.61, 0.13, 0.83):
            off = np.mod(x * 4 + offset, 1)
            if np.all((off > 1e-6) & (off < 1 - 1e-6)):
                return self.step(f"tg.floor({{0}}.detach() * 4 + {offset}) * 0.25 + ({{0}} - {{0}}.detach())", i)
        raise AssertionError("no offset rounds safely")
