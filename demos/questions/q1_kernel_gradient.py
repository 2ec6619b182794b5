"""Question 1: the gradient to the kernels when X has 5 planes and dE/dO has 10.

    python -m demos.questions.q1_kernel_gradient
"""
from __future__ import annotations

import itertools

import numpy as np

import tinygrad_conv as tg

from .answer import Answer, Table, run
from .loops import kernel_gradient_by_rows
from .pictures.kernel_gradient import draw
from .proof import compare, finite_differences

NAME = "q1_kernel_gradient"


def gradient(x: np.ndarray, f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """dE/dF by backward(); x (1,5,100,100), f (10,5,5,5), g (1,10,96,96)."""
    filters = tg.tensor(f, requires_grad=True)
    tg.conv2d(x, filters).backward(g)
    return filters.grad.data


def answer() -> Answer:
    """Every plane of X is correlated with every plane of dE/dO: 50 pairs, 10x5x5x5."""
    rng = np.random.default_rng(1)
    x, f = rng.standard_normal((1, 5, 100, 100)), rng.standard_normal((10, 5, 5, 5))
    g = rng.standard_normal((1, 10, 96, 96))
    df = gradient(x, f, g)
    pairs = list(itertools.product(range(10), range(5)))
    one_each = [(o, c, *rng.integers(0, 5, 2)) for o, c in pairs]
    steps = finite_differences(lambda f: np.vdot(g, tg.conv2d(x, f).data), f, one_each)
    by_pair = np.array([tg.conv2d(x[:, c:c + 1], g[:, o:o + 1]).data for o, c in pairs])
    return Answer(
        NAME, 1, "Five planes, ten gradients: which is convolved with which?",
        "X is 5×100×100, ten filters of 5×5×5, output and dE/dO are 10×96×96. The depth of X is 5, the "
        "depth of dE/dO is 10: how can I convolve them?",
        "Every plane of X with every plane of dE/dO. The 5 and the 10 never have to match: they "
        "make a table of 50 pairs, and each pair gives its own 5×5 kernel.",
        draw(df),
        ["dE/dF[o,c,a,b] = Σ<sub>i,j</sub> dE/dO[o,i,j] · X[c,i+a,j+b]",
         "dE/dF[o,c] = correlate(X[c], dE/dO[o])"],
        Table("Shapes", ("what", "shape", "planes"), [
            ("X", "5 × 100 × 100", "5"), ("F, ten filters", "10 × 5 × 5 × 5", "10 · 5 kernels of 5 × 5"),
            ("O and dE/dO", "10 × 96 × 96", "10"),
            ("one pair, X[c] with dE/dO[o]", "100 × 100 with 96 × 96", "100 − 96 + 1 = 5, so 5 × 5"),
            ("dE/dF", " × ".join(map(str, df.shape)), f"{len(pairs)} pairs, one kernel each")],
            "o and c appear on both sides of the formula. The sum over the 96 × 96 positions is the "
            "only sum; nothing is tiled and nothing collapses."),
        [compare("dE/dF by backward()", "seven loops over single numbers (the innermost "
                 "by Python's sum(map(mul, …)))", df, kernel_gradient_by_rows(x[0], g[0], 5)),
         compare("dE/dF by backward()", "50 correlations of one plane with one plane",
                 df, by_pair.reshape(df.shape)),
         compare("dE/dF, one entry of every pair", "finite differences",
                 np.array([df[entry] for entry in one_each]), steps)],
        more=[collapse_test(x, f, g, df)])


def collapse_test(x: np.ndarray, f: np.ndarray, g: np.ndarray, df: np.ndarray) -> Table:
    """Which kernels of dE/dF notice that one plane of X has changed."""
    rows = []
    for c in range(5):
        other = x.copy()
        other[0, c] += 1
        changed = np.any(np.abs(gradient(other, f, g) - df) > 1e-6, axis=(2, 3))   # (10, 5)
        rows.append((f"X[{c}]", f"{changed.sum()} of {changed.size}",
                     "dE/dF[0…9, " + ", ".join(map(str, np.flatnonzero(changed.any(axis=0)))) + "]"))
    return Table("No plane leaks into another", ("plane changed", "kernels that change", "which"), rows)


if __name__ == "__main__":
    run(answer)
