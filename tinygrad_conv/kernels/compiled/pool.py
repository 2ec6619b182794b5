"""Pooling in machine code: windows of channels-last images, vectors along the channels.

Each window is looked at once; a tap outside the image is left out. Of equal maxima the first wins, row by
row; NaN wins over numbers.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .ir import INDEX, POINTER, Code, Value


@dataclass(frozen=True)
class Windows:
    """What a kernel is specialised on; `inside` says that no tap lies outside the image."""

    number: str
    lanes: int
    channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    inside: bool
    overlap: bool  # a cell may be in two windows
    cover: bool    # every cell is in one


def _kernel(shape: Windows, work: Callable[..., None], *arrays: str) -> Code:
    """The loops over windows, of the images in `arrays`, (N, H, W, C) and (N, OH, OW, C), dense.

    `work(code, taps, c, count, place, window, *pointers)` does `count` channels of a window, from c on. Its
    result lies at `window` of (N, OH, OW, C), and at `place` of (OH, OW). `taps(body, *carried)` does
    `body(cell, *carried)` for each of its cells inside the image, row by row: those in rows 0 to `bottom` and
    columns 0 to `right`.
    """
    code = Code(shape.number, **dict.fromkeys(arrays, POINTER), first=INDEX, last=INDEX, h=INDEX, w=INDEX,
                oh=INDEX, ow=INDEX, top=INDEX, left=INDEX, bottom=INDEX, right=INDEX)
    *pointers, first, last, h, w, oh, ow, top, left, bottom, right = code.arguments
    (kh, kw), (sh, sw), (dh, dw), C = shape.kernel, shape.stride, shape.dilation, shape.channels

    def taps_of(u: Value, v: Value, first: Value) -> Callable[..., Sequence[Value]]:
        """The taps of the window that begins in row u and column v of the image, at `first` of x."""
        def taps(body: Callable[..., Sequence[Value]], *carried: Value) -> Sequence[Value]:
            for a in range(kh):
                for b in range(kw):
                    def here(*carried: Value, a: int = a, b: int = b) -> Sequence[Value]:
                        return body(first + (a * dh * w + b * dw) * C, *carried)
                    if shape.inside:
                        carried = tuple(here(*carried))
                    else:
                        there = code.both(code.compare("ult", u + a * dh, bottom),  # "u": without a sign, a
                                          code.compare("ult", v + b * dw, right))   # negative number is large
                        carried = tuple(code.choose(there, here, carried))
            return carried
        return taps

    for n in code.range(first, last):
        if arrays[-1] == "dx" and not shape.cover:
            code.clear(code.at(pointers[-1], n * h * w * C), h * w * C)
        for i in code.range(0, oh):
            for j in code.range(0, ow):
                u, v = i * sh - top, j * sw - left
                cell, window = ((n * h + u) * w + v) * C, ((n * oh + i) * ow + j) * C
                for k, count in code.blocks(C, shape.lanes):
                    work(code, taps_of(u, v, cell), k * shape.lanes, count, i * ow + j,
                         window + k * shape.lanes, *pointers)
    return code


def maxima(shape: Windows) -> Code:
    """y[n,i,j,c] = max over a,b of x[n,i*s+a*d-p,j*s+b*d-p,c]; NaN if one of them is."""
    def work(code, taps, c, count, place, window, x, y):
        vector = code.vector(shape.lanes)

        def larger(cell, best):
            value = code.load(x, cell + c, vector, count)
            take = code.both(code.compare("ugt", value, best), code.compare("ord", best, best))
            return [code.select(take, value, best)]
        code.store(*taps(larger, code.constant(-math.inf, vector)), y, window, count)
    return _kernel(shape, work, "x", "y")


def _won(code: Code, value: Value, best: Value, found: Value) -> tuple[Value, Value]:
    """Where a cell is the first to be its window's maximum; where one was found until now."""
    hit = code.both(code.either(code.compare("oeq", value, best), code.nan(value)), code.no(found))
    return hit, code.either(found, hit)


def maxima_scatter(shape: Windows) -> Code:
    """dx[n,u,v,c] = sum of g[n,i,j,c] over the windows (i, j) whose maximum y is cell (u, v)."""
    def work(code, taps, c, count, place, window, g, x, y, dx):
        vector = code.vector(shape.lanes)
        best, grad = code.load(y, window, vector, count), code.load(g, window, vector, count)
        zero = code.constant(0.0, vector)

        def one(cell, found):
            hit, found = _won(code, code.load(x, cell + c, vector, count), best, found)
            share = code.select(hit, grad, zero)
            if shape.overlap:
                share = share + code.load(dx, cell + c, vector, count)
            code.store(share, dx, cell + c, count)
            return [found]
        taps(one, code.none(vector))
    return _kernel(shape, work, "g", "x", "y", "dx")


def maxima_gather(shape: Windows) -> Code:
    """What stands in u where the maxima y of x stood: the adjoint of `maxima_scatter`."""
    def work(code, taps, c, count, place, window, u, x, y, v):
        vector = code.vector(shape.lanes)
        best = code.load(y, window, vector, count)

        def one(cell, found, value):
            hit, found = _won(code, code.load(x, cell + c, vector, count), best, found)
            return [found, code.select(hit, code.load(u, cell + c, vector, count), value)]
        code.store(taps(one, code.none(vector), code.constant(0.0, vector))[1], v, window, count)
    return _kernel(shape, work, "u", "x", "y", "v")


def averages(shape: Windows) -> Code:
    """y[n,i,j,c] = sum over a,b of x[n,i*s+a*d-p,j*s+b*d-p,c] / divisor[i,j]."""
    def work(code, taps, c, count, place, window, x, divisor, y):
        vector = code.vector(shape.lanes)
        total, = taps(lambda cell, total: [total + code.load(x, cell + c, vector, count)],
                      code.constant(0.0, vector))
        code.store(total / code.spread(code.load(divisor, place, code.number), vector), y, window, count)
    return _kernel(shape, work, "x", "divisor", "y")


def averages_adjoint(shape: Windows) -> Code:
    """dx[n,u,v,c] = sum over i,j,a,b with i*s+a*d-p = u, .. of g[n,i,j,c] / divisor[i,j]."""
    def work(code, taps, c, count, place, window, g, divisor, dx):
        vector = code.vector(shape.lanes)
        many = code.spread(code.load(divisor, place, code.number), vector)
        share = code.load(g, window, vector, count) / many

        def one(cell):
            more = share + code.load(dx, cell + c, vector, count) if shape.overlap else share
            code.store(more, dx, cell + c, count)
            return []
        taps(one)
    return _kernel(shape, work, "g", "divisor", "dx")
