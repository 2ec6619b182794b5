"""Convolution of 3x3 at stride 1 with 16 products for 4 outputs, where the definition takes 36.

Winograd's F(2x2, 3x3): for a tile of 2x2 outputs y, which sees 4x4 cells d of the image, and a filter w,

    y = A^T [ (G w G^T) * (B^T d B) ] A,     * entry by entry,

is the same sum of products (Lavin & Gray, "Fast algorithms for convolutional neural networks", 2016). Over
all channels, filters and tiles the products * are 16 matrix products, one for each entry of the 4x4:

    M[k,t,o] = sum over c of V[k,t,c] U[k,c,o],     V = B^T d B of tile t,     U = G w G^T.

A block of tiles at a time, V and M stay in the cache. The map is bilinear, so the weight adjoint has the same
factors: with A g A^T of the 2x2 gradients in place of M, dw = G^T [ sum over t of V (A g A^T) ] G. The
input adjoint is a convolution of the gradient.

Sums of inputs are multiplied, so results are off by about twice the rounding of the direct sum, relative to
the largest numbers in their tile and filter: where those are far larger than an output, it loses digits. And
an infinite number becomes a nan, in all of its tile. Whether anything was not finite is noted, and the caller
then computes directly.

Images are dense, channels last: x (N, H, W, C), y and g (N, OH, OW, O). A tile's cells outside the image are
zeros, its outputs outside of y are written to a spare place.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .ir import INDEX, POINTER, Code, Value

B = ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, -1, 0, 1))  # B^T
G = ((1, 0, 0), (.5, .5, .5), (.5, -.5, .5), (0, 0, 1))
A = ((1, 0), (1, 1), (1, -1), (0, 1))
ENTRIES = 16
UNROLLED = 96  # products written out one after the other

Matrix = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Tiling:
    """What a kernel is specialised on.

    `block` tiles are transformed at a time. Of their products, `tile` rows (tiles or, in the weight adjoint,
    channels) by `vectors` vectors of so many `lanes` of filters stay in registers.
    """

    number: str
    lanes: int
    vectors: int
    tile: int
    block: int
    channels: int
    filters: int

    @property
    def width(self) -> int:
        """Filters that go together."""
        return self.vectors * self.lanes

    @property
    def blocks(self) -> int:
        return -(-self.filters // self.width)

    @property
    def padded(self) -> int:
        """Filters, with those that fill up the last block."""
        return self.blocks * self.width

    @property
    def room(self) -> int:
        """Numbers that a part works in: V, M, a cell of zeros and a spare one."""
        return ENTRIES * (self.plane_v + self.plane_m) + 2 * max(self.channels, self.padded)

    @property
    def plane_v(self) -> int:
        """From one entry of V to the next: not a power of 2, or all 16 would meet in one set of the cache."""
        return self.block * self.channels + self.lanes

    @property
    def plane_m(self) -> int:
        return self.block * self.padded + self.lanes


def transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix))


def _combined(code: Code, factors: Sequence[float], values: Sequence[Value]) -> Value:
    """The sum of the values times constant factors, most of which are 0, 1 or -1."""
    total: Value | None = None
    for factor, value in sorted(zip(factors, values), key=lambda pair: -pair[0]):  # one that is added first
        if factor:
            term = value if abs(factor) == 1 else value * code.constant(abs(factor), value.type)
            total = (term if total is None else total + term) if factor > 0 else total - term
    return total


def _transform(code: Code, matrix: Matrix, tile: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """matrix tile matrix^T."""
    rows = [[_combined(code, row, column) for column in zip(*tile)] for row in matrix]
    return [[_combined(code, row, values) for row in matrix] for values in rows]


def weights(shape: Tiling) -> Code:
    """U (16, blocks, C, width) from packed weights (blocks, 9, C, width); `first` to `last` of blocks * C."""
    code = Code(shape.number, packed=POINTER, u=POINTER, first=INDEX, last=INDEX)
    packed, u, first, last = code.arguments
    vector, c, width = code.vector(shape.lanes), shape.channels, shape.width
    for row in code.range(first, last):
        source = code.at(packed, (row // c * 9 * c + row % c) * width)
        for v in range(0, width, shape.lanes):
            taps = [[code.load(source, (3 * a + b) * c * width + v, vector) for b in range(3)]
                    for a in range(3)]
            for k, value in enumerate(sum(_transform(code, G, taps), [])):
                code.store(value, u, row * width + (k * shape.blocks * c * width + v))
    return code


class _Tiles:
    """The loops that both kernels have: blocks of tiles, where their cells lie, and V."""

    def __init__(self, shape: Tiling, *arrays: str) -> None:
        self.shape = shape
        self.code = code = Code(shape.number, **dict.fromkeys(arrays, POINTER), first=INDEX, last=INDEX,
                                part=INDEX, h=INDEX, w=INDEX, oh=INDEX, ow=INDEX, rows=INDEX, columns=INDEX,
                                tiles=INDEX, top=INDEX, left=INDEX)
        *self.pointers, self.first, self.last, self.part, self.h, self.w, self.oh, self.ow, self.rows, \
            self.columns, self.tiles, self.top, self.left = code.arguments
        self.v = code.at(self.pointers[-1], self.part * shape.room)
        self.m = code.at(self.v, ENTRIES * shape.plane_v)
        self.zeros = code.at(self.m, ENTRIES * shape.plane_m)
        self.spare = code.at(self.zeros, max(shape.channels, shape.padded))
        code.clear(self.zeros, max(shape.channels, shape.padded))

    def blocks(self, work: Callable[[Value, Value], None]) -> Code:
        """`work(start, count)` for each block of the part's tiles; it has `first` to `last` times T tiles."""
        code, shape = self.code, self.shape
        end = code.least(self.last * shape.tile, self.tiles)
        for start in code.range(self.first * shape.tile, end, shape.block):
            work(start, code.least(end - start, shape.block))
        return code

    def cells(self, image: Value, number: Value, size: tuple[Value, Value], at: tuple[Value, Value],
              edge: int, channels: int, outside: Value) -> list[list[Value]]:
        """Where edge * edge cells of an image lie, from row and column `at` on, or `outside` of it."""
        code, (h, w) = self.code, size
        inside = [[code.compare("ult", start + i, n) for i in range(edge)] for start, n in zip(at, size)]
        origin = code.at(image, ((number * h + at[0]) * w + at[1]) * channels)
        return [[code.select(code.both(row, column), code.at(origin, (w * i + j) * channels), outside)
                 for j, column in enumerate(inside[1])] for i, row in enumerate(inside[0])]

    def place(self, tile: Value) -> tuple[Value, Value, Value]:
        """The image of a tile, and the row and column of its first output."""
        many = self.rows * self.columns
        return tile // many, tile % many // self.columns * 2, tile % self.columns * 2

    def transform_cells(self, x: Value, start: Value, count: Value) -> None:
        """V (16, block, C) of the tiles."""
        code, shape = self.code, self.shape
        for t in code.range(0, count):
            n, i, j = self.place(start + t)
            cells = self.cells(x, n, (self.h, self.w), (i - self.top, j - self.left), 4, shape.channels,
                               self.zeros)
            for c, used in code.blocks(shape.channels, shape.lanes):
                c = c * shape.lanes
                tile = [[code.load(cell, c, code.vector(shape.lanes), used) for cell in row] for row in cells]
                for k, value in enumerate(sum(_transform(code, B, tile), [])):
                    code.store(value, self.v, t * shape.channels + (c + k * shape.plane_v), used)


def _products(code: Code, shape: Tiling, count: int, length: int | Value, left: Value, along: int,
              apart: int, right: Value, step: int, total: Sequence[Value]) -> list[Value]:
    """total[r,v] + sum over q < `length` of left[r,q] right[q,v], for `count` rows r and some vectors v.

    Number q of row r lies at q * `along` + r * `apart` of `left`, vector v at q * `step` + v * lanes of
    `right`.
    """
    vectors = len(total) // count

    def one(q: int | Value, *total: Value) -> list[Value]:
        ws = [code.load(right, q * step + v * shape.lanes, total[0].type) for v in range(vectors)]
        xs = [code.spread(code.load(left, q * along + r * apart, shape.number), total[0].type)
              for r in range(count)]
        return [code.fma(x, w, total[r * vectors + v]) for r, x in enumerate(xs) for v, w in enumerate(ws)]

    def some(q: Value, *total: Value) -> list[Value]:
        for k in range(many):
            total = one(q + k, *total)
        return list(total)
    many = max(1, UNROLLED // (count * vectors))
    if isinstance(length, Value):
        return code.loop(0, length, 1, one, *total)
    whole = length // many * many
    total = code.loop(0, whole, many, some, *total)
    for q in range(whole, length):
        total = one(q, *total)
    return total


def _multiply(tiles: _Tiles, u: Value, count: Value) -> None:
    """M (16, block, P) of a block of tiles."""
    code, shape = tiles.code, tiles.shape
    C, P, zero = shape.channels, shape.padded, code.constant(0.0, code.vector(shape.lanes))
    for k in code.range(0, ENTRIES):
        for number, left in code.blocks(shape.filters, shape.width):
            vectors = -(-min(left, shape.width) // shape.lanes)
            weights = code.at(u, (k * shape.blocks + number) * (C * shape.width))
            for t in code.range(0, count, shape.tile):
                out = code.at(tiles.m, k * shape.plane_m + t * P + number * shape.width)
                cells = code.at(tiles.v, k * shape.plane_v + t * C)
                total = _products(code, shape, shape.tile, C, cells, 1, C, weights, shape.width,
                                  [zero] * (shape.tile * vectors))
                for r, value in enumerate(total):
                    code.store(value, out, r // vectors * P + r % vectors * shape.lanes)


def forward(shape: Tiling) -> Code:
    """y[n,i,j,o] = b[o] + sum over a,b,c of xp[n,i+a,j+b,c] w[o,c,a,b]; `bad` is nan if y is not finite."""
    tiles = _Tiles(shape, "x", "u", "b", "y", "bad", "scratch")
    code, (x, u, b, y, bad, _) = tiles.code, tiles.pointers
    vector, zero = code.vector(shape.lanes), code.constant(0.0, code.vector(shape.lanes))
    bad = code.at(bad, tiles.part * shape.lanes)

    def finish(start: Value, count: Value) -> None:
        """The outputs of the tiles."""
        for t in code.range(0, count):
            n, i, j = tiles.place(start + t)
            outs = tiles.cells(y, n, (tiles.oh, tiles.ow), (i, j), 2, shape.filters, tiles.spare)
            for v, used in code.blocks(shape.filters, shape.lanes):
                v = v * shape.lanes
                entries = [[code.load(tiles.m, t * shape.padded + (v + k * shape.plane_m), vector)
                            for k in range(row, row + 4)] for row in range(0, ENTRIES, 4)]
                bias, found = code.load(b, v, vector, used), code.load(bad, 0, vector)
                for row, values in zip(outs, _transform(code, transposed(A), entries)):
                    for out, value in zip(row, values):
                        value = value + bias
                        found = code.fma(value, zero, found)
                        code.store(value, out, v, used)
                code.store(found, bad, 0)

    def work(start: Value, count: Value) -> None:
        tiles.transform_cells(x, start, count)
        _multiply(tiles, u, count)
        finish(start, count)
    return tiles.blocks(work)


def adjoint(shape: Tiling) -> Code:
    """sums[k,c,o] += sum over tiles t of V[k,t,c] (A g A^T)[k,t,o], of which each part has its own."""
    tiles = _Tiles(shape, "x", "g", "sums", "scratch")
    code, (x, g, sums, _) = tiles.code, tiles.pointers
    vector, C, P = code.vector(shape.lanes), shape.channels, shape.padded
    sums = code.at(sums, tiles.part * (ENTRIES * C * P))

    def transform_gradients(start: Value, count: Value) -> None:
        for t in code.range(0, count):
            n, i, j = tiles.place(start + t)
            cells = tiles.cells(g, n, (tiles.oh, tiles.ow), (i, j), 2, shape.filters, tiles.zeros)
            for v, used in code.blocks(shape.filters, shape.lanes):
                v = v * shape.lanes
                tile = [[code.load(cell, v, vector, used) for cell in row] for row in cells]
                for k, value in enumerate(sum(_transform(code, A, tile), [])):
                    code.store(value, tiles.m, t * P + (v + k * shape.plane_m))

    def multiply(count: Value) -> None:
        for k in code.range(0, ENTRIES):
            for number, left in code.blocks(shape.filters, shape.width):
                vectors = -(-min(left, shape.width) // shape.lanes)
                gradients = code.at(tiles.m, k * shape.plane_m + number * shape.width)
                for q, rows in code.blocks(C, shape.tile):
                    c = q * shape.tile
                    out = code.at(sums, (k * C + c) * P + number * shape.width)
                    place = [r * P + v * shape.lanes for r in range(rows) for v in range(vectors)]
                    cells = code.at(tiles.v, k * shape.plane_v + c)
                    total = _products(code, shape, rows, count, cells, C, 1, gradients, P,
                                      [code.load(out, p, vector) for p in place])
                    for p, value in zip(place, total):
                        code.store(value, out, p)

    def work(start: Value, count: Value) -> None:
        tiles.transform_cells(x, start, count)
        transform_gradients(start, count)
        multiply(count)
    return tiles.blocks(work)


def filters(shape: Tiling) -> Code:
    """dw (9, C, P) = G^T sums G, of sums (16, C, P); `first` to `last` of the vectors of C * P."""
    code = Code(shape.number, sums=POINTER, dw=POINTER, first=INDEX, last=INDEX)
    sums, dw, first, last = code.arguments
    vector, size = code.vector(shape.lanes), shape.channels * shape.padded
    for u in code.range(first, last):
        entries = [[code.load(sums, u * shape.lanes + k * size, vector) for k in range(row, row + 4)]
                   for row in range(0, ENTRIES, 4)]
        for k, value in enumerate(sum(_transform(code, transposed(G), entries), [])):
            code.store(value, dw, u * shape.lanes + k * size)
    return code
