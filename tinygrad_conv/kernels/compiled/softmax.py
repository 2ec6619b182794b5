"""log softmax both ways in machine code: rows of C numbers that lie side by side in memory."""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .arrays import NUMBERS, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of

# e**x = 2**n e**r, with n whole and |r| <= log(2)/2: then few terms of the series are exact to rounding.
# log(2) in two parts: n times the first is exact. Beyond LEAST and MOST the result is 0 or infinite anyway.
TERMS = {"float": 7, "double": 13}
LOG2 = 0.693145751953125, 1.42860682030941723212e-6
LEAST = {"float": -104.0, "double": -746.0}
MOST = {"float": 89.0, "double": 710.0}


def exponential(code: Code, x: Value) -> Value:
    """e**x, to about one rounding; of nan, nan."""
    kind = {"float": np.float32, "double": np.float64}[code.number]

    def constant(value: float) -> Value:
        return code.constant(float(kind(value)), x.type)
    for how, bound in (("olt", constant(LEAST[code.number])), ("ogt", constant(MOST[code.number]))):
        x = code.select(code.compare(how, x, bound), bound, x)
    n = code.rounded(x * constant(1 / math.log(2)))
    r = code.fma(n, constant(-LOG2[1]), code.fma(n, constant(-LOG2[0]), x))
    total = constant(1 / math.factorial(TERMS[code.number]))
    for k in range(TERMS[code.number] - 1, -1, -1):
        total = code.fma(total, r, constant(1 / math.factorial(k)))
    half = code.rounded(n * constant(0.5))  # in two steps: 2**n itself may be too large, or too small
    return total * code.power_of_two(half) * code.power_of_two(n - half)


def log_softmax(number: str, lanes: int, size: int) -> Code:
    """y = x - max, and sums = sum of e**y, of rows `first` to `last` of so many numbers."""
    code = Code(number, x=POINTER, y=POINTER, sums=POINTER, first=INDEX, last=INDEX)
    x, y, sums, first, last = code.arguments
    vector = code.vector(lanes)
    zero, least = code.constant(0.0, vector), code.constant(-math.inf, vector)
    parts = [(k, size - k) for k in range(size // lanes * lanes, size, lanes)]  # of less than a vector
    for row in code.range(first, last):
        source, to = code.at(x, row * size), code.at(y, row * size)
        top, = code.loop(0, size // lanes * lanes, lanes, lambda k, top, source=source: [
            code.select(code.compare("ogt", v := code.load(source, k, vector), top), v, top)], least)
        for k, count in parts:
            v = code.kept(code.load(source, k, vector, count), least, count)
            top = code.select(code.compare("ogt", v, top), v, top)
        top = code.spread(code.largest(top), vector)

        def part(k: Value | int, count: int, total: Value, source=source, to=to, top=top) -> Value:
            shifted = code.load(source, k, vector, count) - top
            code.store(shifted, to, k, count)
            return total + code.kept(exponential(code, shifted), zero, count)
        total, = code.loop(0, size // lanes * lanes, lanes,
                           lambda k, total, part=part: [part(k, lanes, total)], zero)
        for k, count in parts:
            total = part(k, count, total)
        code.store(code.total(total), sums, row)
    return code


def log_softmax_vjp(number: str, lanes: int, size: int) -> Code:
    """dx = g - e**ans sum(g), of rows `first` to `last`."""
    code = Code(number, g=POINTER, ans=POINTER, dx=POINTER, first=INDEX, last=INDEX)
    g, ans, dx, first, last = code.arguments
    vector = code.vector(lanes)
    whole, rest = size // lanes * lanes, size % lanes
    for row in code.range(first, last):
        at_g, at_ans, to = (code.at(p, row * size) for p in (g, ans, dx))
        total, = code.loop(0, whole, lanes, lambda k, total, at_g=at_g: [total + code.load(at_g, k, vector)],
                           code.constant(0.0, vector))
        if rest:
            total = total + code.load(at_g, whole, vector, rest)
        total = code.spread(code.total(total), vector)

        def part(k: Value | int, count: int, at_g=at_g, at_ans=at_ans, to=to, total=total) -> None:
            share = exponential(code, code.load(at_ans, k, vector, count)) * total
            code.store(code.load(at_g, k, vector, count) - share, to, k, count)
        for k in code.range(0, whole, lanes):
            part(k, lanes)
        if rest:
            part(whole, rest)
    return code


def _run(generator: Callable[..., Code], axis: int, inputs: list[np.ndarray], *results: np.ndarray) -> None:
    size, number = inputs[0].shape[axis], NUMBERS[inputs[0].dtype]
    rows = inputs[0].size // size
    launch(made(generator, number, lanes_for(number, size), size), places(*inputs, *results), rows,
           parts_of(rows, inputs[0].nbytes * 2 / BYTES_WORTH_THREADS))


def forward(x: np.ndarray, axis: int) -> np.ndarray:
    """x - log(sum(e**x)) along an axis whose numbers lie side by side, of an array in one run."""
    y = np.empty_like(x)
    order = sorted(range(x.ndim), key=lambda i: (i == axis, -x.strides[i]))  # as memory has them
    sums = np.empty([x.shape[i] for i in order if i != axis], x.dtype)
    _run(log_softmax, axis, [x], y, sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        across = y.transpose(order)
        across -= np.log(sums)[..., None]
    return y


def adjoint(g: np.ndarray, ans: np.ndarray, axis: int) -> np.ndarray:
    """g - e**ans sum(g) along such an axis."""
    dx = np.empty_like(g)
    _run(log_softmax_vjp, axis, [g, ans], dx)
    return dx
