"""Batch norm in machine code: sums over all entries of a channel, then one pass over all entries.

Memory is (outer, kept, inner). Of images with channels last, the channels are kept, inner is 1, and vectors
run along the channels; else they run along the inner axis.

A mean that is large beside the spread costs no digits: up to BLOCK entries of a lane are added up about a
number near their mean, in the dtype of x. In float64, these sums are moved to the channel's `origin`, its
first entry; there, those of all blocks just add up.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..geometry import REMEMBERED
from ..norm import Sums, alike
from .arrays import NUMBERS, lanes_for, made, one_run, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of

BLOCK = 128     # entries of a lane
LOOKED = 4      # entries of them, whose mean is near theirs
SIDE = 4        # running sums of a quantity: of vectors side by side, or of entries that follow
PERIOD = 256    # numbers of channels, repeated, or more, that a pass works on at a time
LONGEST = 4096  # and at most, if channels are repeated

Column = tuple[Value | int, int]  # of channels side by side: the first, and how many


# ----- kernels -----

def _strips(code: Code, kept: int, width: int, most: int) -> Iterator[list[Column]]:
    """The columns of channels, some together."""
    for k, many in code.blocks(kept // width, most):
        yield [((k * most + j) * width, width) for j in range(many)]
    if kept % width:
        yield [(kept - kept % width, kept % width)]


def _finite(code: Code, v: Value, scale: float = 1.0) -> Value:
    """v, but 0 where it is nan, or inf, or would be if it were multiplied."""
    large, zero = v * code.constant(scale, v.type), code.constant(0.0, v.type)
    return code.select(code.compare("ord", large - large, zero), v, zero)


def _near(code: Code, x: Value, n: Value, step: int, used: int, type: str) -> Value:
    """The mean of LOOKED of the n entries of each lane, but 0 if sums about it might be inf."""
    total = code.constant(0.0, type)
    for j in range(LOOKED):
        total = total + code.load(x, n * j // LOOKED * step, type, used)
    return _finite(code, total * code.constant(1 / LOOKED, type), BLOCK * BLOCK)


def _add_block(code: Code, arrays: Sequence[Value], n: Value, step: int, strip: Sequence[Column],
               origins: Sequence[Value], type: str, add: Callable[..., None]) -> None:
    """`add(column, quantity, sum, used)`: what n entries of each lane, `step` apart, have about an origin o.

    Quantities are, of x, sum(x - o) and sum((x - o)**2); of x and g, also sum(g) and sum(g (x - o)).
    """
    columns, each, zero = len(strip), 2 * len(arrays), code.constant(0.0, type)
    pointers = [[code.at(a, column) for a in arrays] for column, _ in strip]
    near = [_near(code, x, n, step, used, type) for (x, *_), (_, used) in zip(pointers, strip)]

    def one(i: Value, k: int, totals: Sequence[Value]) -> list[Value]:
        x, *g = [code.load(a, i, type, strip[k][1]) for a in pointers[k]]
        off = x - near[k]
        return [total for j, a in enumerate([off, *g]) for total in (
            totals[2 * j] + a, code.fma(a, off, totals[2 * j + 1]))]

    def rows(count: int, lo: Value | int, hi: Value, *start: Value) -> list[Value]:
        def turn(r: Value, *totals: Value) -> list[Value]:
            return [t for j in range(count) for k in range(columns) for t in one(
                (r + j) * step, k, totals[(j * columns + k) * each:])]
        return code.loop(lo, hi, count, turn, *start)

    many, row = max(1, SIDE // columns // len(arrays)), columns * each
    whole = n - n % many
    found = rows(many, 0, whole, *[zero] * (many * row))
    for j in range(1, many):
        found[:row] = [a + b for a, b in zip(found, found[j * row:(j + 1) * row])]
    found = rows(1, whole, n, *found[:row])
    count = code.emit("double", f"sitofp {INDEX} {n} to double")
    for k, (column, used) in enumerate(strip):
        first, square, *g = [code.widened(v) for v in found[k * each:(k + 1) * each]]
        off = code.widened(near[k]) - origins[k]
        moved = first + off * code.spread(count, off.type)
        if g:
            g[1] = g[1] + off * g[0]
        for q, value in enumerate([moved, square + off * (first + moved), *g]):
            add(column, q, value, used)


def sums_of_rows(number: str, width: int, arrays: int, kept: int) -> Code:
    """The quantities of x, or of x and g, (count, kept), in blocks `first` to `last` of rows.

    Each part adds to its own `sums` (quantities, kept).
    """
    code = Code(number, **dict.fromkeys(["x", "g"][:arrays], POINTER), sums=POINTER,
                count=INDEX, first=INDEX, last=INDEX, part=INDEX)
    *pointers, sums, count, first, last, part = code.arguments
    type, wide, own = code.vector(width), f"<{width} x double>", part * (2 * arrays * kept)

    def add(column: Value | int, q: int, value: Value, used: int) -> None:
        place = code.at(sums, own + (q * kept + column), "double")
        code.store(code.load(place, 0, wide, used) + value, place, 0, used)
    for u in code.range(first, last):
        starts = [code.at(a, u * BLOCK * kept) for a in pointers]
        n = code.least(count - u * BLOCK, BLOCK)
        for strip in _strips(code, kept, width, SIDE // arrays):
            origins = [code.widened(_finite(code, code.load(pointers[0], column, type, used)))
                       for column, used in strip]
            _add_block(code, starts, n, kept, strip, origins, type, add)
    return code


def sums_of_runs(number: str, width: int, arrays: int) -> Code:
    """The quantities of x, or of x and g, (outer, kept, inner), in pieces `first` to `last`.

    There are `pieces` of each run along the inner axis. Each part adds to its own `sums` (quantities, kept).
    """
    code = Code(number, **dict.fromkeys(["x", "g"][:arrays], POINTER), sums=POINTER,
                kept=INDEX, inner=INDEX, pieces=INDEX, first=INDEX, last=INDEX, part=INDEX)
    *pointers, sums, kept, inner, pieces, first, last, part = code.arguments
    for u in code.range(first, last):
        run, lo = u // pieces, (u % pieces) * (BLOCK * width)
        channel, n = run % kept, code.least(inner - lo, BLOCK * width)
        origin = code.widened(_finite(code, code.load(pointers[0], channel * inner, number)))
        own = code.at(sums, part * (2 * arrays) * kept + channel, "double")

        def add(column: int, q: int, value: Value, used: int, own: Value = own) -> None:
            place = code.at(own, kept * q, "double")
            code.store(code.load(place, 0, "double") + code.total(value), place, 0)
        whole = n - n % width
        for lanes, begin, count in ((width, lo, n // width), (1, lo + whole, n % width)):
            type = code.vector(lanes)
            for _ in code.range(0, code.least(count, 1)):  # none, or once
                starts = [code.at(a, run * inner + begin) for a in pointers]
                origins = [code.spread(origin, type.replace("float", "double"))]
                _add_block(code, starts, count, lanes, [(0, lanes)], origins, type, add)
    return code


def _combine(code: Code, arrays: Sequence[Value], out: Value, n: Value, width: int,
             coefficients: Callable[[Value, str], Sequence[Value]]) -> None:
    """(x - m) a + b or, of x and g, (x - m) a + b + g c, of n numbers; these are the coefficients at i."""
    whole = n - n % width
    for lo, hi, lanes in ((0, whole, width), (whole, n, 1)):
        type = code.vector(lanes)
        for i in code.range(lo, hi, lanes):
            (m, a, b, *c), (x, *g) = coefficients(i, type), [code.load(p, i, type) for p in arrays]
            value = code.fma(x - m, a, b)
            code.store(code.fma(g[0], c[0], value) if g else value, out, i)


def pass_over_rows(number: str, width: int, arrays: int, period: int) -> Code:
    """`_combine`, of periods `first` to `last` of n numbers; `table` has a row of each coefficient."""
    code = Code(number, **dict.fromkeys(["x", "g"][:arrays], POINTER), table=POINTER, out=POINTER, n=INDEX,
                first=INDEX, last=INDEX)
    *pointers, table, out, n, first, last = code.arguments
    rows = [code.at(table, k * period) for k in range(2 + arrays)]
    for u in code.range(first, last):
        lo = u * period
        count = code.least(n - lo, period)
        _combine(code, [code.at(a, lo) for a in pointers], code.at(out, lo), count, width,
                 lambda i, type: [code.load(row, i, type) for row in rows])
    return code


def pass_over_runs(number: str, width: int, arrays: int) -> Code:
    """`_combine`, of pieces `first` to `last`, as of `sums_of_runs`; `table` is (coefficients, kept)."""
    code = Code(number, **dict.fromkeys(["x", "g"][:arrays], POINTER), table=POINTER, out=POINTER,
                kept=INDEX, inner=INDEX, pieces=INDEX, first=INDEX, last=INDEX)
    *pointers, table, out, kept, inner, pieces, first, last = code.arguments
    for u in code.range(first, last):
        run, lo = u // pieces, (u % pieces) * (BLOCK * width)
        numbers = [code.load(table, kept * k + run % kept, number) for k in range(2 + arrays)]
        start, count = run * inner + lo, code.least(inner - lo, BLOCK * width)
        _combine(code, [code.at(a, start) for a in pointers], code.at(out, start), count, width,
                 lambda i, type, numbers=numbers: [code.spread(v, type) for v in numbers])
    return code


# ----- from arrays to kernels -----

class Form(NamedTuple):
    """How an array lies in memory: (outer, kept, inner), and how to come back."""

    outer: int
    kept: int
    inner: int
    order: tuple[int, ...]   # axes, in the order of memory
    back: tuple[int, ...]
    small: tuple[int, ...]   # the shape of what is kept, in that order

    def flat(self, a: np.ndarray) -> np.ndarray:
        """A small array, one number for each that is kept."""
        if a.size != self.kept or a.ndim != len(self.order):  # else left out: it takes as long as a kernel
            a = np.broadcast_to(a, [self.small[i] for i in self.back])
        return a.transpose(self.order).reshape(-1)

    def shaped(self, flat: np.ndarray) -> np.ndarray:
        """The small array again."""
        return flat.reshape(self.small).transpose(self.back)


@lru_cache(REMEMBERED)
def _form(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int,
          axes: tuple[int, ...]) -> Form | None:
    """None if the array has gaps, or if what is kept does not lie together."""
    order = sorted(range(len(shape)), key=lambda i: -strides[i] if shape[i] > 1 else -math.inf)
    kept = [k for k, i in enumerate(order) if i not in axes and shape[i] > 1] or [len(order)]
    sizes, expected = [shape[i] for i in order], itemsize
    for i in reversed(order):
        if shape[i] > 1 and strides[i] != expected:
            return None
        expected *= shape[i]
    if kept[-1] - kept[0] >= len(kept):
        return None
    outer, inner = math.prod(sizes[:kept[0]]), math.prod(sizes[kept[-1] + 1:])
    if kept == [len(order)]:
        outer, inner = 1, outer
    return Form(outer, math.prod(shape) // (outer * inner), inner, tuple(order),
                tuple(sorted(range(len(order)), key=order.__getitem__)),
                tuple([1 if i in axes else shape[i] for i in order]))


def _sums(form: Form, *arrays: np.ndarray) -> Sums:
    """Of x, or of x and g, for each channel."""
    x, (outer, kept, inner), count = arrays[0], form[:3], len(arrays)
    kernel, units, sizes = _sums_of(outer, kept, inner, NUMBERS[x.dtype], count)
    parts = parts_of(units, x.nbytes * count / BYTES_WORTH_THREADS)
    sums = np.zeros((parts, 2 * count, kept))
    launch(kernel, [*places(*arrays, sums), *sizes], units, parts)
    n, (first, square, *more) = outer * inner, sums[0] if parts == 1 else np.add.reduce(sums)
    off = first / n
    if more:
        more[1] -= off * more[0]
    origin = x.transpose(form.order).reshape(outer, kept, inner)[0, :, 0]
    return Sums(n, origin + off, np.maximum(square - off * first, 0.0), *more)


@lru_cache(REMEMBERED)
def _sums_of(outer: int, kept: int, inner: int, number: str, arrays: int) -> tuple[int, int, list[int]]:
    """The kernel, how many units of work it has, and the sizes that it is told."""
    lanes = lanes_for(number, kept if inner == 1 else inner)
    if inner == 1:
        return made(sums_of_rows, number, lanes, arrays, kept), -(-outer // BLOCK), [outer]
    pieces = -(-inner // (BLOCK * lanes))
    return made(sums_of_runs, number, lanes, arrays), outer * kept * pieces, [kept, inner, pieces]


def _passed(form: Form, table: Sequence[np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """(x - m) a + b, or (x - m) a + b + g c; the table is m, a, b, c, each of a number a channel."""
    x, out, (outer, kept, inner) = arrays[0], np.empty_like(arrays[0]), form[:3]
    kernel, units, sizes, period = _pass_of(outer, kept, inner, NUMBERS[x.dtype], len(arrays))
    rows = np.empty((len(table), period // kept, kept), x.dtype)
    for row, coefficient in zip(rows, table):
        row[...] = coefficient
    launch(kernel, [*places(*arrays, rows, out), *sizes], units,
           parts_of(units, x.nbytes * (len(arrays) + 1) / BYTES_WORTH_THREADS))
    return out


@lru_cache(REMEMBERED)
def _pass_of(outer: int, kept: int, inner: int, number: str, arrays: int) -> tuple[int, int, list[int], int]:
    """As above; and how many numbers a row of the table has: channels, repeated to fill vectors."""
    size = outer * kept * inner
    if inner == 1:
        lanes = lanes_for(number, size)
        period = math.lcm(kept, lanes)
        period *= -(-PERIOD // period)
        period = period if period <= LONGEST else kept
        return made(pass_over_rows, number, lanes, arrays, period), -(-size // period), [size], period
    lanes = lanes_for(number, inner)
    pieces = -(-inner // (BLOCK * lanes))
    return made(pass_over_runs, number, lanes, arrays), outer * kept * pieces, [kept, inner, pieces], kept


def _form_of(x: np.ndarray, axes: tuple[int, ...]) -> Form | None:
    return _form(x.shape, x.strides, x.itemsize, axes)


def serves(x: np.ndarray, axes: tuple[int, ...], *shapes: tuple[int, ...]) -> bool:
    """Whether x lies as kernels need it, and arrays of these shapes are the same all along the axes."""
    return x.flags.aligned and alike(axes, x.ndim, *shapes) == axes and _form_of(x, axes) is not None


def normalize(x: np.ndarray, w: np.ndarray, b: np.ndarray, axes: tuple[int, ...],
              eps: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """xhat * w + b for xhat = (x - mean) / sqrt(var + eps); the mean; the biased variance."""
    form = _form_of(x, axes)
    found = _sums(form, x)
    a = found.inverse_std(eps) * form.flat(w)
    near = found.mean.astype(x.dtype)
    y = _passed(form, [near, a, form.flat(b) + (near - found.mean) * a], x)
    return y, form.shaped(near), form.shaped(found.var().astype(x.dtype))


def normalize_adjoint(g: np.ndarray, x: np.ndarray, w: np.ndarray, axes: tuple[int, ...], eps: float,
                      shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """r (u - mean(u) - xhat mean(u xhat)) for u = g w, r = 1/sqrt(var + eps); down to `shape`, the sums of
    g xhat and of g.
    """
    form = _form_of(x, axes)
    if not one_run(x, g):
        other, g = g, np.empty_like(x)
        g[...] = other
    found = _sums(form, x, g)
    r, near = found.inverse_std(eps), found.mean.astype(x.dtype)
    inner, scale = r * found.inner, r * form.flat(w)
    slope = -scale * r * inner / found.n
    rest = (near - found.mean) * slope - scale * found.total / found.n
    dx = _passed(form, [near, slope, rest, scale], x, g)
    small = [form.shaped(a) for a in (inner, found.total)]
    if form.kept != math.prod(shape):
        small = [np.add.reduce(a, axis=alike(range(x.ndim), x.ndim, shape)) for a in small]
    dw, db = [a.reshape(shape).astype(x.dtype) for a in small]
    return dx, dw, db


def scale(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x * a + b."""
    form = _form_of(x, alike(range(x.ndim), x.ndim, a.shape, b.shape))
    return _passed(form, [np.zeros(form.kept), form.flat(a), form.flat(b)], x)
