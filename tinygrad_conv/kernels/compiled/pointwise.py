"""Elementwise ops in machine code: an op is an expression on vectors, a row of the table below.

Arrays of one shape and one layout in memory are one long run of numbers, whatever their axes.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .arrays import NUMBERS, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of

BLOCK = 1 << 12  # numbers that a thread takes at least
UNROLLED = 4     # vectors written out one after the other


def _relu(code: Code, x: Value) -> Value:
    zero = code.constant(0.0, x.type)
    return code.select(code.compare("olt", x, zero), zero, x)


def _relu_vjp(code: Code, g: Value, ans: Value) -> Value:
    zero = code.constant(0.0, g.type)
    return code.select(code.compare("ole", ans, zero), zero, g)


EXPRESSIONS: dict[str, tuple[Callable[..., Value], int]] = {  # and of how many arrays
    "relu": (_relu, 1),          # max(x, 0)
    "relu_vjp": (_relu_vjp, 2),  # g where the result is above 0
}


def elementwise(name: str, number: str, width: int) -> Code:
    """out[i] = expression(array[i], ...), for blocks `first` to `last` of n numbers."""
    expression, count = EXPRESSIONS[name]
    inputs = [f"x{k}" for k in range(count)]
    code = Code(number, **dict.fromkeys(inputs, POINTER), out=POINTER, n=INDEX, first=INDEX, last=INDEX)
    *xs, out, n, first, last = code.arguments
    vector, step = code.vector(width), width * UNROLLED
    lo, hi = first * BLOCK, code.least(last * BLOCK, n)

    def one(i: Value, type: str) -> None:
        code.store(expression(code, *[code.load(x, i, type) for x in xs]), out, i)
    whole = hi - (hi - lo) % step
    for i in code.range(lo, whole, step):
        for k in range(UNROLLED):
            one(i + k * width, vector)
    for i in code.range(whole, hi):
        one(i, number)
    return code


def computed(name: str, *arrays: np.ndarray) -> np.ndarray:
    """The op's result, which lies in memory as the arrays do, of one dtype and in one run."""
    out = np.empty_like(arrays[0])
    number = NUMBERS[out.dtype]
    launch(made(elementwise, name, number, lanes_for(number, out.size)), [*places(*arrays, out), out.size],
           blocks := -(-out.size // BLOCK), parts_of(blocks, out.nbytes * len(arrays) > BYTES_WORTH_THREADS))
    return out
