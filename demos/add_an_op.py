"""Add an op, in three acts: an elementwise one, a reduction with ties, a convolution by another algorithm.

    python -m demos.add_an_op
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg
from demos.program import parser, plainly

rng = np.random.default_rng(0)

# Act 1: a function on arrays, a VJP beside it, samples for its certificate.


@tg.primitive(samples=[(np.linspace(-3.0, 3.0, 7),), (rng.standard_normal((2, 3)),)])
def softplus_of_mine(x):
    return np.logaddexp(0, x)                                        # arrays in, array out


softplus_of_mine.defvjp(lambda g, ans, x: g * tg.sigmoid(x))         # tensors in, tensor out
softplus_of_mine.defmethod()                                         # t.softplus_of_mine()

# Act 2: several entries make one, and of equal ones the derivative must not count twice.


@tg.primitive(samples=[(rng.permutation(12).reshape(3, 4) / 4, {"axis": 1}),
                       (np.array([[2.0, 1.0, 2.0]]), {"axis": 1})])
def peak(x, *, axis):
    return x.max(axis)


def peak_vjp(g, ans, x, *, axis):
    hit = (x == tg.expand_dims(ans, axis)).astype(x.dtype)           # ties share the gradient
    return tg.expand_dims(g, axis) * hit / hit.sum(axis, keepdims=True)


peak.defvjp(peak_vjp)

# Act 3: a 3x3 convolution by Winograd's method, 16 products for four outputs instead of 36. It is the same
# bilinear map as conv2d, and so are its derivatives: a VJP does not know how the value was computed.
B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1.0]])
G = np.array([[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1.0]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1.0]])
IMAGES = [(rng.standard_normal((2, 3, 6, 8)), rng.standard_normal((4, 3, 3, 3)))]


@tg.primitive
def winograd(x, w):
    """y[n,o,i,j], of images with even sides, without padding."""
    tiles = np.lib.stride_tricks.sliding_window_view(x, (4, 4), (2, 3))[:, :, ::2, ::2]      # n c i j 4 4
    u, v = G @ w @ G.T, B @ tiles @ B.T
    y = A @ np.einsum("ocab,ncijab->noijab", u, v, optimize=True) @ A.T                     # n o i j 2 2
    n, o, i, j = y.shape[:4]
    return y.transpose(0, 1, 2, 4, 3, 5).reshape(n, o, 2 * i, 2 * j)


def to_images(g, ans, x, w):
    return tg.conv_transpose2d(g, w)


def to_filters(g, ans, x, w):
    return tg.conv2d_weight(g, x, 3)


winograd.defvjp(to_images, to_filters)
winograd.defsamples(IMAGES, x="n in h w", w="out in kh kw")          # names of axes, for reports


def mistaken() -> str:
    """The certificate of act 3 with a mistake: the filters' gradient is turned, as in many a tutorial."""
    winograd.defvjp(to_images, lambda *call: to_filters(*call)[:, :, ::-1, ::-1])
    try:
        return str(tg.certify(winograd))
    finally:
        winograd.defvjp(to_images, to_filters)


@plainly()
def main() -> None:
    parser(__doc__).parse_args()
    for act, op in enumerate((softplus_of_mine, peak, winograd), 1):
        print(f"Act {act}. {tg.certify(op)}\n")
    x = tg.tensor(np.linspace(-2.0, 2.0, 6), requires_grad=True)
    print("The tape of softplus_of_mine:", *repr(tg.tape(x.softplus_of_mine().sum())).splitlines(),
          sep="\n  ")
    print(f"\nAct 3 with the filters' gradient turned by 180 degrees. {mistaken()}")


if __name__ == "__main__":
    main()
