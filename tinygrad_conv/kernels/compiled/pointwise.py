"""Elementwise ops in machine code: an op is an expression on vectors, a row of the table below.

Arrays of one shape and one layout in memory are one long run of numbers, whatever their axes.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import NUMBERS, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of
from .softmax import exponential

BLOCK = 1 << 12  # numbers that a thread takes at least
UNROLLED = 4     # vectors written out one after the other


def _relu(code: Code, x: Value) -> Value:
    zero = code.constant(0.0, x.type)
    return code.select(code.compare("olt", x, zero), zero, x)


def _relu_vjp(code: Code, g: Value, ans: Value) -> Value:
    zero = code.constant(0.0, g.type)
    return code.select(code.compare("ole", ans, zero), zero, g)


def _leaky_relu(code: Code, x: Value, slope: Value) -> Value:
    return code.select(code.compare("ogt", x, code.constant(0.0, x.type)), x, x * slope)


def _leaky_relu_vjp(code: Code, g: Value, x: Value, slope: Value) -> Value:
    return code.select(code.compare("ogt", x, code.constant(0.0, x.type)), g, g * slope)


def _hardtanh(code: Code, x: Value, least: Value, most: Value) -> Value:
    x = code.select(code.compare("olt", x, least), least, x)
    return code.select(code.compare("ogt", x, most), most, x)


def _hardtanh_vjp(code: Code, g: Value, x: Value, least: Value, most: Value) -> Value:
    outside = code.either(code.compare("ole", x, least), code.compare("oge", x, most))
    return code.select(outside, code.constant(0.0, x.type), g)


def _sigmoid(code: Code, x: Value) -> Value:
    one = code.constant(1.0, x.type)
    return one / (one + exponential(code, code.constant(-0.0, x.type) - x))


EXPRESSIONS: dict[str, tuple[Callable[..., Value], int, int]] = {  # of how many arrays, and numbers
    "relu": (_relu, 1, 0),                      # max(x, 0)
    "relu_vjp": (_relu_vjp, 2, 0),              # g where the result is above 0
    "leaky_relu": (_leaky_relu, 1, 1),          # x, or where it is not above 0, slope x
    "leaky_relu_vjp": (_leaky_relu_vjp, 2, 1),  # g, or slope g
    "hardtanh": (_hardtanh, 1, 2),              # x limited to [least, most]
    "hardtanh_vjp": (_hardtanh_vjp, 2, 2),      # g between the two
    "sigmoid": (_sigmoid, 1, 0),                # 1 / (1 + e**-x)
}


def elementwise(name: str, number: str, width: int) -> Code:
    """out[i] = expression(array[i], ..., number, ...), for blocks `first` to `last` of n numbers."""
    expression, count, parameters = EXPRESSIONS[name]
    inputs = [f"x{k}" for k in range(count)]
    code = Code(number, **dict.fromkeys(inputs, POINTER), out=POINTER, numbers=POINTER, n=INDEX, first=INDEX,
                last=INDEX)
    *xs, out, numbers, n, first, last = code.arguments
    vector, step = code.vector(width), width * UNROLLED
    lo, hi = first * BLOCK, code.least(last * BLOCK, n)
    constants = [code.load(numbers, k, number) for k in range(parameters)]

    def one(i: Value, type: str) -> None:
        operands = [code.load(x, i, type) for x in xs]
        code.store(expression(code, *operands, *[code.spread(c, type) for c in constants]), out, i)
    whole = hi - (hi - lo) % step
    for i in code.range(lo, whole, step):
        for k in range(UNROLLED):
            one(i + k * width, vector)
    for i in code.range(whole, hi):
        one(i, number)
    return code


def computed(name: str, *call: Any) -> np.ndarray:
    """The op's result, which lies in memory as the arrays do, of one dtype and in one run."""
    arrays, numbers = call[:EXPRESSIONS[name][1]], call[EXPRESSIONS[name][1]:]
    out = np.empty_like(arrays[0])
    number, given = NUMBERS[out.dtype], np.array(numbers, out.dtype)
    launch(made(elementwise, name, number, lanes_for(number, out.size)),
           [*places(*arrays, out, given), out.size],
           blocks := -(-out.size // BLOCK), parts_of(blocks, out.nbytes * len(arrays) / BYTES_WORTH_THREADS))
    return out
