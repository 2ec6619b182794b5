"""Question 5: where stride, depth, dilation, padding and the number of filters enter.

    python -m demos.questions.q5_general_equations
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg

from .answer import Answer, Table, run
from .equations import FORMULAS, STEPS, WHERE, literal
from .loops import seven_loops
from .pictures.general_equations import draw
from .proof import Proof, compare, finite_differences

NAME = "q5_general_equations"
CASES = [  # stride, padding, dilation, groups, channels, filters
    (1, 0, 1, 1, 3, 4), (2, 0, 1, 1, 3, 4), (3, 1, 1, 1, 2, 5), (1, 2, 2, 1, 3, 2), (2, 1, 3, 1, 2, 3),
    (1, 1, 1, 2, 4, 6), (2, 1, 2, 4, 4, 4), (3, 3, 2, 3, 6, 3)]


def check(rng: np.random.Generator, s: int, p: int, d: int, groups: int, channels: int,
          filters: int) -> list[Proof]:
    """One geometry, odd sizes: backward() beside the equations, the loops, finite differences."""
    shapes = (2, channels, 7, 6), (filters, channels // groups, 3, 2), (filters,)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    x, w, b = (tg.tensor(a, requires_grad=True) for a in arrays)
    geometry = {"stride": s, "padding": p, "dilation": d, "groups": groups}
    y = tg.conv2d(x, w, b, **geometry)
    delta = rng.standard_normal(y.shape)
    y.backward(delta)

    def loss(k: int, changed: np.ndarray) -> float:
        return np.vdot(delta, tg.conv2d(*arrays[:k], changed, *arrays[k + 1:], **geometry).data)
    ours = [t.grad.data for t in (x, w, b)]
    read = literal(*arrays[:2], delta, s, p, d, groups)
    steps = [finite_differences(lambda v, k=k: loss(k, v), arrays[k]) for k in range(3)]
    loops = seven_loops(*arrays[:2], delta, s, p, d, groups)[1:]
    return [compare(name, how, a, b) for how, others in (
        ("the equations, taken literally", read), ("seven loops over single numbers", loops),
        ("finite differences", steps))
        for name, a, b in zip(("dX", "dW", "db"), ours, others)]


def answer() -> Answer:
    """Solve i*s + a*d - p = m for i and you have dX; leave it as it is and you have dW."""
    rng = np.random.default_rng(5)
    checks = [check(rng, *case) for case in CASES]
    proofs = [Proof(f"{c[0].what} by backward()", c[0].how, sum(p.entries for p in c),
                    max(p.error for p in c)) for c in zip(*checks)]
    rows = [(s, p, d, groups, f"{channels} → {filters}", *(max(
        proved[k::3], key=lambda proof: proof.error).says for k in range(3)))
        for (s, p, d, groups, channels, filters), proved in zip(CASES, checks)]
    return Answer(
        NAME, 5, "The general equations: one wiring, three readings",
        "Where do stride, depth, dilation, padding and the number of filters enter? And the derivation?",
        "One equation connects input and output: <i>m = i·s + a·d − p</i>. Forward, collect what arrives "
        "at an output. For dX, solve it for i. For dW, hold the tap and go through all outputs.",
        draw(), FORMULAS,
        Table("Where each enters", ("", "forward", "dX", "dW"), WHERE, "δ = dL/dY. The term in dX exists "
              "only where both divisions are exact and the results are in range."),
        proofs, STEPS, [Table("The geometries checked", (
            "stride", "padding", "dilation", "groups", "C → K", "dX", "dW", "db"), rows,
            "Two samples of 7 × 6, kernels of 3 × 2; the worst of the three comparisons, every entry.")])


if __name__ == "__main__":
    run(answer)
