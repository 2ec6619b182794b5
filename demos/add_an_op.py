"""Add an op: a function on arrays, a derivative beside it, and a check. Nothing to subclass.

    python -m demos.add_an_op
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg
from demos.program import parser, plainly


@tg.primitive
def swish(x, beta):
    return x / (1 + np.exp(-beta * x))          # arrays in, array out


def _slope(x, beta):
    s = tg.sigmoid(beta * x)
    return s + beta * x * s * (1 - s)


swish.defvjp(lambda g, ans, x, beta: g * _slope(x, beta),          # tensors in, tensor out:
             lambda g, ans, x, beta: g * x * x * tg.sigmoid(beta * x) * (1 - tg.sigmoid(beta * x)))


@tg.primitive
def wrong(x):
    return x * x


wrong.defvjp(lambda g, ans, x: 2.001 * g * x)


@plainly()
def main() -> None:
    parser(__doc__).parse_args()
    x, beta = np.linspace(-2.0, 2.0, 6), np.array(1.5)
    tg.check_grads(swish, (x, beta), order=3)
    print("swish: value and derivatives of order 1, 2 and 3 agree with finite differences")

    t = tg.tensor(x, requires_grad=True)
    y = swish(t, beta).sum()
    y.backward()
    print("its tape:", *repr(tg.tape(y)).splitlines(), sep="\n  ")

    try:
        tg.check_grads(wrong, (x,))
    except AssertionError as e:
        print("\na derivative that is 0.05 % off is caught:\n ", str(e).splitlines()[0])


if __name__ == "__main__":
    main()
