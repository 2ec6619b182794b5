"""Question 2: the gradient to the input, when five maps have to give three.

    python -m demos.questions.q2_input_gradient
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg

from .answer import Answer, Table, run
from .loops import seven_loops
from .pictures.input_gradient import draw
from .proof import compare, finite_differences, relative

NAME = "q2_input_gradient"


def gradient(x: np.ndarray, f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """dE/dX by backward(); x (1,3,20,20), f (5,3,3,3), g (1,5,18,18)."""
    image = tg.tensor(x, requires_grad=True)
    tg.conv2d(image, f).backward(g)
    return image.grad.data


def full(g: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Slide filters over every place where they touch g: 18x18 -> 20x20."""
    return tg.conv2d(g, f, padding=2).data


def answer() -> Answer:
    """Turn each filter by 180 degrees, swap its axes: five of depth 3 become three of depth 5."""
    rng = np.random.default_rng(2)
    x, f = rng.standard_normal((1, 3, 20, 20)), rng.standard_normal((5, 3, 3, 3))
    g = rng.standard_normal((1, 5, 18, 18))
    dx, turned = gradient(x, f, g), f[:, :, ::-1, ::-1]
    swapped = turned.swapaxes(0, 1).copy()                         # (5,3,3,3) -> (3,5,3,3)
    one_by_one = sum(full(g[:, o:o + 1], turned[o][:, None].copy()) for o in range(5))
    steps = finite_differences(lambda x: np.vdot(g, tg.conv2d(x, f).data), x)
    not_turned, ours = full(g, f.swapaxes(0, 1).copy()), "dE/dX by backward()"
    return Answer(
        NAME, 2, "A full convolution of five maps that gives three",
        "X is 3×20×20, five filters of 3×3×3, dE/dO is 5×18×18. How can a full convolution of five "
        "maps give three?",
        "Five filters of depth 3, read the other way, are three of depth 5. Turn every 3×3 kernel by "
        "180°, swap the two axes, and convolve: each of the three new filters sums over the five maps.",
        draw(f, swapped),
        ["dE/dX[c,u,v] = Σ<sub>o,a,b</sub> dE/dO[o,u−a,v−b] · F[o,c,a,b]",
         "dE/dX[c] = Σ<sub>o</sub> full(dE/dO[o], turn180(F[o,c]))"],
        Table("Shapes", ("what", "shape", "which is"), [
            ("X", "3 × 20 × 20", "3 planes"), ("F", "5 × 3 × 3 × 3", "five filters of depth 3"),
            ("O and dE/dO", "5 × 18 × 18", "5 planes; 20 − 3 + 1 = 18"),
            ("F turned and swapped", " × ".join(map(str, swapped.shape)), "three filters of depth 5"),
            ("dE/dO with a border of 2 zeros", "5 × 22 × 22", "so that every overlap counts"),
            ("dE/dX", " × ".join(map(str, dx.shape[1:])), "3 planes; 22 − 3 + 1 = 20")],
            "X[c,u,v] went into O[o,i,j] with weight F[o,c,a,b] where u = i + a, v = j + b. Solved "
            "for i: i = u − a; the minus is the turn by 180°, and outside dE/dO the term is 0. <i>full</i> "
            "itself turns nothing, like a layer; scipy.signal.convolve2d turns, so give it F[o,c] as it is."),
        [compare(ours, "seven loops over single numbers", dx, seven_loops(x, f, g)[1]),
         compare(ours, "one full convolution with the turned, swapped filters", dx, full(g, swapped)),
         compare(ours, "five full convolutions, one per filter, added", dx, one_by_one),
         compare(ours, "finite differences", dx, steps)],
        more=[Table("What each step is for", ("left out", "what happens"), [
            ("the turn by 180°", f"other numbers: relative error {relative(not_turned, dx):.2f}"),
            ("the swap of the axes", refusal(g, turned)),
            ("the sum: a mean over the five", f"relative error {relative(dx / 5, dx):.2f}")])])


def refusal(g: np.ndarray, f: np.ndarray) -> str:
    """What conv2d says of five maps and filters of depth 3."""
    try:
        full(g, f.copy())
    except ValueError as error:
        return f"<code>{str(error).partition(' (')[0]}</code>"
    return "nothing"


if __name__ == "__main__":
    run(answer)
