"""Question 4: the convolution as a dense layer, and dL/dx as its matrix transposed.

    python -m demos.questions.q4_dense_matrix
"""
from __future__ import annotations

import itertools

import numpy as np

import tinygrad_conv as tg

from .answer import Answer, Table, run
from .loops import seven_loops
from .pictures.dense_matrix import draw
from .proof import compare, finite_differences

NAME = "q4_dense_matrix"


def matrix(w: np.ndarray) -> np.ndarray:
    """w (16,3,3,3) as (16, C, KH, KW) -> (144, 75): rows (i, j, o), columns (m, n, c)."""
    dense = np.zeros((3, 3, 16, 5, 5, 3))
    for i, j, a, b in itertools.product(range(3), repeat=4):
        dense[i, j, :, i + a, j + b, :] = w[:, :, a, b]
    return dense.reshape(144, 75)


def backward(x: np.ndarray, w: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h, dL/dx), channels last."""
    image = tg.tensor(x, requires_grad=True)
    h = tg.conv2d(image[None], w, layout="NHWC")
    h.backward(g[None])
    return h.data[0], image.grad.data


def shares(w: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """What each of the 16 filters sends back: a full convolution of its map; (5,5,3) each."""
    turned = w[:, :, ::-1, ::-1]
    return [tg.conv2d(g[None, :, :, o:o + 1], turned[o][:, None].copy(), padding=2, layout="NHWC")
            .data[0] for o in range(16)]


def answer() -> Answer:
    """A 144x75 matrix with 432 different weights, nine copies of each; dL/dx is its transpose's."""
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal((5, 5, 3)), rng.standard_normal((16, 3, 3, 3))
    g = rng.standard_normal((3, 3, 16))
    m, (h, dx), vector = matrix(w), backward(x, w, g), tg.tensor(x.ravel(), requires_grad=True)
    tg.matmul(m, vector).backward(g.ravel())
    loops = seven_loops(x.transpose(2, 0, 1)[None], w, g.transpose(2, 0, 1)[None])[1]
    steps = finite_differences(lambda x: np.vdot(g, backward(x, w, g)[0]), x)
    values, copies = np.unique(m[m != 0], return_counts=True)
    used, ours = np.count_nonzero(m, axis=0).reshape(5, 5, 3), "dL/dx by backward()"
    return Answer(
        NAME, 4, "The convolution is a dense layer with shared weights",
        "x is 5×5×3 (H, W, C), 16 3×3×3 filters, dL/dh is 3×3×16. What is dL/dx from a dense view?",
        f"Flatten x and h: the convolution is a sparse matrix in which every weight occurs {copies.max()} "
        "times. dL/dx is its transpose times dL/dh: the sum of 16 full convolutions.", draw(m, x, g),
        ["M[(i,j,o),(m,n,c)] = W[o,c,m−i,n−j] &nbsp;if 0 ≤ m−i, n−j &lt; 3, else 0",
         "h = M x, &nbsp; dL/dx = Mᵀ dL/dh = Σ<sub>o</sub> full(dL/dh[o], turn180(W[o]))"],
        Table("Shapes and counts", ("what", "shape or number", "why"), [
            ("x, flattened", "5·5·3 = 75", "columns m,n,c"), ("h and dL/dh", "3·3·16 = 144", "rows i,j,o"),
            ("M", f"{m.shape[0]} × {m.shape[1]}", f"{m.size:,} entries"),
            ("not zero", f"{np.count_nonzero(m):,}, {np.count_nonzero(m) / m.size:.0%}", "144 rows · 27"),
            ("different weights", len(values), "16 · 27"),
            ("copies of each", ", ".join(map(str, set(copies.tolist()))), "one for each of 3·3 windows"),
            ("in a corner's column", used[0, 0, 0], "1 window · 16 filters"),
            ("in the centre's column", used[2, 2, 0], "9 windows · 16 filters")]),
        [compare("h by conv2d", "M x", h, (m @ x.reshape(75)).reshape(h.shape)),
         compare(ours, "Mᵀ dL/dh", dx, (m.T @ g.reshape(144)).reshape(x.shape)),
         compare(ours, "backward() through the dense layer M x", dx, vector.grad.data.reshape(x.shape)),
         compare(ours, "16 full convolutions, one per filter, added", dx, sum(shares(w, g))),
         compare(ours, "seven loops over single numbers", dx, loops[0].transpose(1, 2, 0)),
         compare(ours, "finite differences", dx, steps)])


if __name__ == "__main__":
    run(answer)
