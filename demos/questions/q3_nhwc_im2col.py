"""Question 3: the whole batch at once in NHWC with im2col, and a recipe that is wrong.

    python -m demos.questions.q3_nhwc_im2col
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg

from .answer import Answer, Table, run
from .loops import seven_loops
from .pictures.nhwc_im2col import draw
from .proof import Proof, compare, finite_differences, relative
from .recipe import by_channels, identity, patches, tiled_and_averaged

NAME = "q3_nhwc_im2col"
N, C, F = 4, 3, 6


def conv(x: object, k: object, **geometry: int) -> tg.Tensor:
    """x (N,H,W,C), kernels (F,3,3,C) -> (N,OH,OW,F)."""
    return tg.conv2d(x, tg.transpose(k, (0, 3, 1, 2)), layout="NHWC", **geometry)


def gradients(x: np.ndarray, k: np.ndarray, g: np.ndarray, **geometry: int) -> tuple:
    """(dL/dX, dL/dK) by backward()."""
    images, kernels = tg.tensor(x, requires_grad=True), tg.tensor(k, requires_grad=True)
    conv(images, kernels, **geometry).backward(g)
    return images.grad.data, kernels.grad.data


def swapped(rng: np.random.Generator, s: int, d: int) -> Proof:
    """dL/dK of a conv with stride s and dilation d is a conv with stride d and dilation s."""
    size = 3 * s + 2 * d + 1                                           # 4 windows, no remainder
    x, k = rng.standard_normal((N, size, size, C)), rng.standard_normal((F, 3, 3, C))
    g = rng.standard_normal((N, 4, 4, F))
    dk = gradients(x, k, g, stride=s, dilation=d)[1]
    as_conv = tg.conv2d(x.transpose(3, 0, 1, 2), g.transpose(3, 0, 1, 2), stride=d, dilation=s)
    return compare(f"dL/dK at stride {s}, dilation {d}", f"conv2d(X, dL/dZ) at stride {d}, dilation "
                   f"{s}", dk, as_conv.data.transpose(1, 2, 3, 0))


def answer() -> Answer:
    """dL/dK is one contraction over (n, i, j); the average over channels is not a gradient."""
    rng = np.random.default_rng(3)
    x, k = rng.standard_normal((N, 10, 10, C)), rng.standard_normal((F, 3, 3, C))
    g = rng.standard_normal((N, 8, 8, F))
    dx, dk = gradients(x, k, g)
    rows, wrong = patches(x), tiled_and_averaged(x, g)                 # (256, 27), (F, 3, 3, C)
    _, dx_loops, dk_loops = seven_loops(*(a.transpose(0, 3, 1, 2) for a in (x, k, g)))
    steps, ours = finite_differences(lambda k: np.vdot(g, conv(x, k).data), k), "dL/dK by backward()"
    return Answer(
        NAME, 3, "The whole batch in NHWC: one contraction, and no average",
        "Input [N,10,10,C], kernels [F,3,3,C], output and dL/dZ [N,8,8,F]. What is dL/dK with im2col?",
        "One matrix product: dL/dZ transposed times the matrix of patches. The sum runs over the "
        "samples and the positions, never over channels. A recipe that averages over the channels is "
        f"wrong as soon as they differ: here by {relative(wrong, dk):.0%}.",
        draw(x, dk, wrong, relative(wrong, dk), len(rows)),
        ["dL/dK[f,a,b,c] = Σ<sub>n,i,j</sub> dL/dZ[n,i,j,f] · X[n,i·s+a·d,j·s+b·d,c]",
         "dL/dK = (dL/dZ)ᵀ · P, &nbsp; P[(n,i,j),(a,b,c)] = X[n,i·s+a·d,j·s+b·d,c]"],
        Table("Shapes", ("what", "shape", f"here, N = {N}, C = {C}, F = {F}"), [
            ("X", "[N, 10, 10, C]", x.shape), ("K", "[F, 3, 3, C]", k.shape),
            ("Z and dL/dZ", "[N, 8, 8, F]", g.shape), ("P, the patches", "[N·8·8, 3·3·C]", rows.shape),
            ("dL/dZ as a matrix", "[N·8·8, F]", g.reshape(-1, F).shape),
            ("dL/dK", "[F, 3·3·C] = [F, 3, 3, C]", dk.shape)],
            "In the forward pass i moves in steps of s and a in steps of d (both 1 here). In dL/dK a is held "
            "and i is summed: dL/dZ acts as a kernel whose taps lie s apart and that moves in steps of d. "
            "Stride and dilation have changed places."),
        [compare(ours, "seven loops over single numbers", dk, dk_loops.transpose(0, 2, 3, 1)),
         compare(ours, "(dL/dZ)ᵀ · P", dk, (g.reshape(-1, F).T @ rows).reshape(k.shape)),
         compare(ours, "finite differences", dk, steps),
         compare("dL/dX by backward()", "seven loops over single numbers", dx,
                 dx_loops.transpose(0, 2, 3, 1)), *(swapped(rng, *p) for p in [(2, 1), (1, 2), (2, 3)])],
        more=[by_channels(gradients, rng), identity(conv, gradients, x, k, g, rng)])


if __name__ == "__main__":
    run(answer)
