"""Matrix products in machine code: C (M, N) = A (M, K) B (K, N), by one of two kernels, without copies.

Where rows of B are dense, `outer` spreads a number of A over a vector and multiplies it with a vector of B's
row; A may lie anyhow. Where columns of A^T and B are dense, as in a layer's x w^T, `inner` multiplies vectors
along K, whose lanes are added up at the end. Either keeps a tile of C in registers. B by columns and A by
rows is the first case of C^T = B^T A^T.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .arrays import NUMBERS, even, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import WORTH_THREADS, launch, parts_of
from .machine import target


PIECE = 1 << 14  # products that are added up in one go


@dataclass(frozen=True)
class Tile:
    """A tile of C: `rows` by `columns`, which are vectors of so many `lanes` in `outer`.

    `size` is N in `outer`, and K in `inner`.
    """

    number: str
    lanes: int
    rows: int
    columns: int
    size: int


def _tiles(code: Code, first: Value, last: Value, m: Value, rows: int, columns: int
           ) -> Iterator[tuple[Value, Value]]:
    """Row and column of each tile `first` to `last`, column by column; the last rows of m may overlap."""
    down = (m + (rows - 1)) // rows
    for u in code.range(first, last):
        yield code.least(u % down * rows, m - rows), u // down * columns


def outer(shape: Tile) -> Code:
    """C[i,j] = sum over k of A[i,k] B[k,j]; A's strides are am and ak, rows of B lie bk apart, C is dense."""
    code = Code(shape.number, a=POINTER, b=POINTER, c=POINTER, first=INDEX, last=INDEX, m=INDEX, k=INDEX,
                am=INDEX, ak=INDEX, bk=INDEX)
    a, b, c, first, last, m, length, am, ak, bk = code.arguments
    N, T, width = shape.size, shape.rows, shape.columns * shape.lanes
    vector, zero = code.vector(shape.lanes), code.constant(0.0, code.vector(shape.lanes))

    def tile(i: Value, j: Value, left: int) -> None:
        counts = [min(shape.lanes, left - v) for v in range(0, left, shape.lanes)]
        rows = [code.at(a, (i + r) * am) for r in range(T)]
        columns, out = code.at(b, j), code.at(c, i * N + j)

        def step(k: Value, *total: Value) -> list[Value]:
            bs = [code.load(columns, k * bk + v * shape.lanes, vector, n) for v, n in enumerate(counts)]
            values = [code.spread(code.load(row, k * ak, shape.number), vector) for row in rows]
            return [code.fma(x, y, total[r * len(bs) + v])
                    for r, x in enumerate(values) for v, y in enumerate(bs)]
        for p, value in enumerate(code.loop(0, length, 1, step, *[zero] * (T * len(counts)))):
            r, v = divmod(p, len(counts))
            code.store(value, out, r * N + v * shape.lanes, counts[v])
    for i, j in _tiles(code, first, last, m, T, width):
        if N % width and width < N:
            for whole in code.when(j < N // width * width):
                tile(i, j, width if whole else N % width)
        else:
            tile(i, j, min(N, width))
    return code


def inner(shape: Tile) -> Code:
    """C[i,j] = bias[j] + sum over k of A[i,k] B[j,k]; rows of A lie am apart, rows of B bn, C is dense."""
    code = Code(shape.number, a=POINTER, b=POINTER, bias=POINTER, c=POINTER, first=INDEX, last=INDEX, m=INDEX,
                n=INDEX, am=INDEX, bn=INDEX)
    a, b, bias, c, first, last, m, n, am, bn = code.arguments
    vector, K = code.vector(shape.lanes), shape.size
    for i, j in _tiles(code, first, last, m, shape.rows, shape.columns):
        j = code.least(j, n - shape.columns)
        xs = [code.at(a, (i + r) * am) for r in range(shape.rows)]
        ys = [code.at(b, (j + s) * bn) for s in range(shape.columns)]

        def step(k: Value | int, *total: Value, used: int = shape.lanes, xs=xs, ys=ys) -> list[Value]:
            values = [code.load(y, k, vector, used) for y in ys]
            return [code.fma(code.load(x, k, vector, used), y, total[r * len(ys) + s])
                    for r, x in enumerate(xs) for s, y in enumerate(values)]
        whole = K // shape.lanes * shape.lanes
        total = code.loop(0, whole, shape.lanes, step, *[code.constant(0.0, vector)] * (len(xs) * len(ys)))
        if K % shape.lanes:
            total = step(whole, *total, used=K % shape.lanes)
        for p, value in enumerate(total):
            r, s = divmod(p, len(ys))
            found = code.total(value) + code.load(bias, j + s, shape.number)
            code.store(found, code.at(c, (i + r) * n + j), s)
    return code


def _registers() -> int:
    """How many of them hold sums."""
    return 24 if target().registers == 32 else 12


def _strides(a: np.ndarray) -> list[int]:
    return [s // a.itemsize for s in a.strides]


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A B; a long K in pieces, since one long sum loses more digits."""
    (m, k), n, number = a.shape, b.shape[1], NUMBERS[a.dtype]
    if k > PIECE:
        return np.add.reduce([_outer(a[:, i:i + PIECE], b[i:i + PIECE]) for i in range(0, k, PIECE)])
    c, lanes, registers = np.empty((m, n), a.dtype), lanes_for(number, n), _registers()
    vectors = min(-(-n // lanes), 4 if registers == 24 else 2)
    shape = Tile(number, lanes, even(m, registers // vectors), vectors, n)
    count = -(-m // shape.rows) * -(-n // (vectors * lanes))
    launch(made(outer, shape), [*places(a, b, c), m, k, *_strides(a), _strides(b)[0]], count,
           parts_of(count, m * n * k / WORTH_THREADS))
    return c


def _inner(a: np.ndarray, b: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A B^T + bias."""
    (m, k), n, number = a.shape, len(b), NUMBERS[a.dtype]
    if k > PIECE:
        none = np.zeros_like(bias)
        return np.add.reduce([_inner(a[:, i:i + PIECE], b[:, i:i + PIECE], none if i else bias)
                              for i in range(0, k, PIECE)])
    c, lanes, registers = np.empty((m, n), a.dtype), lanes_for(number, k), _registers()
    columns = even(n, 6 if registers == 24 else 4)
    shape = Tile(number, lanes, even(m, min(4, registers // columns)), columns, k)
    count = -(-m // shape.rows) * -(-n // columns)
    launch(made(inner, shape), [*places(a, b, bias, c), m, n, _strides(a)[0], _strides(b)[0]], count,
           parts_of(count, m * n * k / WORTH_THREADS))
    return c


def _rows_dense(a: np.ndarray) -> bool:
    return a.strides[1] == a.itemsize


def product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """x @ y, for two matrices; if neither kind of product suits them, of a copy of y."""
    if _rows_dense(y):
        return _outer(x, y)
    if _rows_dense(x.T):
        return _outer(y.T, x.T).T
    if _rows_dense(x) and _rows_dense(y.T):
        return _inner(x, y.T, np.zeros(y.shape[1], x.dtype))
    return _outer(x, np.ascontiguousarray(y))


def linear(x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> np.ndarray:
    """x w^T + b, for x (M, K) and w (N, K)."""
    x, w = (a if _rows_dense(a) else np.ascontiguousarray(a) for a in (x, w))
    return _inner(x, w, np.zeros(len(w), x.dtype) if b is None else np.ascontiguousarray(b))
