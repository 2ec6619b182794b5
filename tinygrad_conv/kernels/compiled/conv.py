"""Direct convolution in machine code: generators of the three bilinear maps.

No columns are made, as patches.py makes them. The image that a kernel works on is copied, band by band (some
rows of outputs at a time), into a small padded scratch that stays in the cache, channels last: (rows,
columns, C). There, what tap (a, b) of window (i, j) sees lies at a fixed distance from the window's first
cell, and no border needs care. A tile of outputs, T neighbours in a row by V vectors of filters, is kept in
registers while all its products are added up: V vectors of weights and T cells, each spread over a vector,
give T * V products. (Register blocking, as in Georganas et al., "Anatomy of high-performance deep learning
convolutions on SIMD architectures", 2018.)

The input adjoint at stride s is s*s convolutions of the gradient, one for each remainder of the cell's
position by s, each with those taps that meet such cells: the same generators serve both, by `Phase`s.

What the kernels are given, counted in numbers of their dtype unless it says otherwise:

    x        (N, C, H, W) of any strides sn, sc, sh, sw: what is copied; for the input adjoint, the gradient
    w        weights, packed in the order in which they are read: see each generator
    b        (O,)
    y        (N, OH, OW, O), dense; an image is yn numbers, a row yh
    scratch  (rows, columns, C), one band
    plan     64-bit integers, made by plan.py: IMAGE_FIELDS, and PLACE_FIELDS along the columns for each
    phase;
             then for each band BAND_FIELDS, and PLACE_FIELDS along the rows for each phase (`fields` in all)
    first, last  which bands of all images are to be done: band u % `bands` of image u // `bands`
    part     which part of the call these are: it has `room` numbers of the scratch

and the weight adjoint g (N, OH, OW, O), dense, and dw, to which it adds: each part to `sums` numbers of its
own.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .ir import INDEX, POINTER, Code, Value

UNROLLED = 96      # products written out one after the other
IMAGE_FIELDS = 5   # first column that is copied, how many are, columns of zeros left and right, sum of these
BAND_FIELDS = 4    # first row that is copied, how many are, rows of zeros above and below
PLACE_FIELDS = 3   # where the first window begins in the scratch, how many outputs, where the first lies in y


@dataclass(frozen=True)
class Steps:
    """`count` taps along an axis, at first, first + step, ..."""

    count: int
    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class Phase:
    """The taps, along both axes, of a set of outputs: all of them in `conv2d`, every s-th in its adjoint."""

    rows: Steps
    columns: Steps

    @property
    def taps(self) -> int:
        return self.rows.count * self.columns.count


@dataclass(frozen=True)
class Shape:
    """What a kernel is specialised on; batch and image sizes are its arguments.

    `channels` are the inputs and `filters` the outputs of each group; `vectors` (V) of so many `lanes` and
    `tile` (T) say what is kept in registers; windows lie `step` apart in the scratch, outputs `spacing` apart
    in y.
    """

    number: str
    lanes: int
    vectors: int
    tile: int
    channels: int
    filters: int
    groups: int
    phases: tuple[Phase, ...]
    step: tuple[int, int] = (1, 1)
    spacing: tuple[int, int] = (1, 1)

    @property
    def vector(self) -> str:
        """The type of a vector; sums of weights are kept in whole ones, also of one lane."""
        return f"<{self.lanes} x {self.number}>"

    @property
    def block(self) -> int:
        """Filters of V vectors; groups, where each has one filter."""
        return self.vectors * self.lanes

    @property
    def blocks(self) -> int:
        """How many blocks the filters of a group make."""
        return -(-self.filters // self.block)

    @property
    def taps(self) -> int:
        return sum(phase.taps for phase in self.phases)

    @property
    def scratch(self) -> int:
        """Numbers of a cell of the scratch."""
        return self.channels * self.groups

    def counts(self, left: int) -> list[int]:
        """Of each vector of a block with `left` filters, how many lanes are used."""
        return [min(self.lanes, left - v) for v in range(0, min(left, self.block), self.lanes)]


def _copy_band(code: Code, x: Value, scratch: Value, plan: Value, band: Value, channels: int,
               strides: Sequence[Value]) -> Value:
    """Write a band of one image x and its border of zeros to the scratch; the length of a row there."""
    sh, sw, sc = strides
    left, width, before, after, columns = (code.read(plan, k) for k in range(IMAGE_FIELDS))
    row, rows, above, below = (code.read(band, k) for k in range(BAND_FIELDS))
    pitch = columns * channels
    code.clear(scratch, above * pitch)
    code.clear(code.at(scratch, (above + rows) * pitch), below * pitch)
    first = code.at(x, row * sh + left * sw)
    dense = code.both(code.compare("eq", sw, channels), code.compare("eq", sc, 1))
    for i in code.range(0, rows):
        to, source = code.at(scratch, (above + i) * pitch), code.at(first, i * sh)
        code.clear(to, before * channels)
        code.clear(code.at(to, (before + width) * channels), after * channels)
        to = code.at(to, before * channels)
        for is_dense in code.when(dense):
            if is_dense:
                code.copy(to, source, width * channels)
            else:
                for j in code.range(0, width):
                    for c in code.range(0, channels):
                        code.store(code.load(source, j * sw + c * sc, code.number), to, j * channels + c)
    return pitch


def _along(code: Code, steps: Steps, cells: Value, distance: Any, weights: Value, size: int,
           body: Callable[..., Any], carried: Sequence[Value] = ()) -> Any:
    """`body(cells, weights, *carried)` for each tap along an axis.

    Neighbouring cells of the axis lie a `distance` apart; each tap has weights of this `size`.
    """
    if steps.count == 1:
        return body(code.at(cells, distance * steps.first), weights, *carried)
    return code.loop(0, steps.count, 1, lambda a, *carried: body(
        code.at(cells, (a * steps.step + steps.first) * distance), code.at(weights, a * size), *carried),
        *carried)


def _outputs(shape: Shape, block: int, size: int, channel: Callable[[Any, Any], Any],
             tile: Callable[[Code, Phase, Value, Value, Value, Value, Value, int], None]) -> Code:
    """A kernel that fills y: all loops around the tile.

    `block` outputs of a group belong together, with `size` weights a tap; `channel(group, output)` is the
    first that they see. The tile is called as `tile(code, phase, cells, pitch, weights, bias, out, left)`: T
    neighbours, the first of which lies at `out` and has its window at `cells`, of the `left` outputs of the
    block.
    """
    code = Code(shape.number, x=POINTER, w=POINTER, b=POINTER, y=POINTER, scratch=POINTER, plan=POINTER,
                first=INDEX, last=INDEX, part=INDEX, room=INDEX, bands=INDEX, fields=INDEX,
                sn=INDEX, sh=INDEX, sw=INDEX, sc=INDEX, yn=INDEX, yh=INDEX)
    x, w, b, y, scratch, plan, first, last, part, room, bands, fields, sn, *strides, yn, yh = code.arguments
    scratch = code.at(scratch, part * room)
    cell, blocks = shape.filters * shape.groups, -(-shape.filters // block)  # a cell is so many numbers of y
    head, before = IMAGE_FIELDS + PLACE_FIELDS * len(shape.phases), 0        # taps of the phases before
    for u in code.range(first, last):
        n, band = u // bands, code.at(plan, (u % bands) * fields + head, INDEX)
        pitch = _copy_band(code, code.at(x, n * sn), scratch, plan, band, shape.scratch, strides)
        for k, phase in enumerate(shape.phases):
            column, columns, to = (code.read(plan, IMAGE_FIELDS + PLACE_FIELDS * k + f) for f in range(3))
            row, rows, to_row = (code.read(band, BAND_FIELDS + PLACE_FIELDS * k + f) for f in range(3))
            start = code.at(scratch, row * pitch + column * shape.scratch)
            end = code.at(y, n * yn + to_row * yh + to * cell)
            for g, _ in code.blocks(shape.groups, 1):
                for number, left in code.blocks(shape.filters, block):
                    o = g * shape.filters + number * block
                    weights = code.at(w, (g * blocks + number) * (shape.taps * size) + before * size)
                    for i in code.range(0, rows):
                        cells = code.at(start, (i * shape.step[0]) * pitch + channel(g, o))
                        out = code.at(end, (i * shape.spacing[0]) * yh + o)
                        for j in code.range(0, columns, shape.tile):
                            j = code.least(j, columns - shape.tile)  # the last may overlap the one before
                            tile(code, phase, code.at(cells, j * (shape.step[1] * shape.scratch)), pitch,
                                 weights, code.at(b, o), code.at(out, j * (shape.spacing[1] * cell)), left)
            before += phase.taps
    return code


def gather(shape: Shape) -> Code:
    """y[n,p,q,o] = b[o] + sum over taps (a, b) and c of xp[n, p+a, q+b, c] w[a,b,c,o]; vectors along o.

    w is (groups, blocks, taps, C, V * lanes), the taps phase by phase. The sums of a tile are a list of T * V
    vectors, those of one output side by side.
    """
    def tile(code, phase, cells, pitch, weights, bias, out, left):
        counts, vector = shape.counts(left), code.vector(shape.lanes)
        apart, channels = shape.step[1] * shape.scratch, shape.channels

        def products(cells, weights, total, n):
            """n neighbouring numbers of the scratch times their weights."""
            for u in range(n):
                ws = [code.load(weights, u * shape.block + v * shape.lanes, vector)
                      for v in range(len(counts))]
                spread = [code.spread(code.load(cells, t * apart + u, shape.number), vector)
                          for t in range(shape.tile)]
                total = [code.fma(cell, weight, total[t * len(ws) + v])
                         for t, cell in enumerate(spread) for v, weight in enumerate(ws)]
            return total

        def run(cells, weights, total, n):
            """The same for any n: some written out in a loop, and the rest."""
            some = max(1, min(n, UNROLLED // (shape.tile * len(counts))))
            main = n // some * some if n > 2 * some else 0
            if main:
                total = code.loop(0, main, some, lambda r, *total: products(
                    code.at(cells, r), code.at(weights, r * shape.block), total, some), *total)
            return products(code.at(cells, main), code.at(weights, main * shape.block), total, n - main)

        def row(cells, weights, *total):
            if phase.columns.step == 1 and shape.groups == 1:  # the cells of a row's taps lie side by side
                return run(code.at(cells, phase.columns.first * shape.scratch), weights, total,
                           phase.columns.count * channels)
            return _along(code, phase.columns, cells, shape.scratch, weights, channels * shape.block,
                          lambda cells, weights, *total: run(cells, weights, total, channels), total)
        total = [code.load(bias, v * shape.lanes, vector, n) for v, n in enumerate(counts)] * shape.tile
        if phase.taps:
            total = _along(code, phase.rows, cells, pitch, weights,
                           phase.columns.count * channels * shape.block, row, total)
        for t in range(shape.tile):
            for v, n in enumerate(counts):
                code.store(total[t * len(counts) + v], out,
                           t * (shape.spacing[1] * shape.filters * shape.groups) + v * shape.lanes, n)
    return _outputs(shape, shape.block, shape.channels * shape.block, lambda g, o: g * shape.channels, tile)


def gather_few(shape: Shape) -> Code:
    """The same for few filters, with vectors along c, whose lanes are added up at the end.

    w is (groups, taps, filters, C). The sums of a tile are a list of T * filters vectors.
    """
    def tile(code, phase, cells, pitch, weights, bias, out, left):
        vector, filters, apart = code.vector(shape.lanes), shape.filters, shape.step[1] * shape.scratch

        def tap(cells, weights, *total):
            for c in range(0, shape.channels, shape.lanes):
                n = min(shape.lanes, shape.channels - c)
                ws = [code.load(weights, o * shape.channels + c, vector, n) for o in range(filters)]
                xs = [code.load(cells, t * apart + c, vector, n) for t in range(shape.tile)]
                total = [code.fma(cell, weight, total[t * filters + o])
                         for t, cell in enumerate(xs) for o, weight in enumerate(ws)]
            return total
        zero = code.constant(0.0, vector)
        total = [zero] * (shape.tile * filters)
        if phase.taps:
            size = filters * shape.channels
            total = _along(code, phase.rows, cells, pitch, weights, phase.columns.count * size,
                           lambda cells, weights, *total: _along(
                               code, phase.columns, cells, shape.scratch, weights, size, tap, total), total)
        for t in range(shape.tile):
            for o in range(filters):
                code.store(code.total(total[t * filters + o]) + code.load(bias, o, shape.number), out,
                           t * (shape.spacing[1] * filters * shape.groups) + o)
    return _outputs(shape, shape.filters, shape.filters * shape.channels,
                    lambda g, o: g * shape.channels, tile)


def gather_each(shape: Shape) -> Code:
    """y[n,p,q,c] = b[c] + sum over taps of xp[n, p+a, q+b, c] w[a,b,c], channels apart; vectors along c.

    `shape` has one group, with as many channels as filters; w is (blocks, taps, V * lanes).
    """
    def tile(code, phase, cells, pitch, weights, bias, out, left):
        counts, vector, apart = shape.counts(left), code.vector(shape.lanes), shape.step[1] * shape.scratch

        def tap(cells, weights, *total):
            ws = [code.load(weights, v * shape.lanes, vector) for v in range(len(counts))]
            return [code.fma(code.load(cells, t * apart + v * shape.lanes, vector, n), ws[v],
                             total[t * len(ws) + v]) for t in range(shape.tile) for v, n in enumerate(counts)]
        total = [code.load(bias, v * shape.lanes, vector, n) for v, n in enumerate(counts)] * shape.tile
        if phase.taps:
            total = _along(code, phase.rows, cells, pitch, weights, phase.columns.count * shape.block,
                           lambda cells, weights, *total: _along(
                               code, phase.columns, cells, shape.scratch, weights, shape.block, tap, total),
                           total)
        for t in range(shape.tile):
            for v, n in enumerate(counts):
                code.store(total[t * len(counts) + v], out,
                           t * (shape.spacing[1] * shape.filters) + v * shape.lanes, n)
    return _outputs(shape, shape.block, shape.block, lambda g, o: o, tile)


def _sums(shape: Shape, work: Callable[..., None]) -> Code:
    """A kernel that adds to dw: the loop over bands. Each is done by `work(code, cells, pitch, grads, dw,
    outputs)`.

    The first window begins at `cells`, its gradients lie at `grads`. `outputs(cells, grads, total, products)`
    adds up `products(cells, grads, *total)` at every output of the band, for a list of cells of the window.
    """
    code = Code(shape.number, x=POINTER, g=POINTER, dw=POINTER, scratch=POINTER, plan=POINTER,
                first=INDEX, last=INDEX, part=INDEX, room=INDEX, sums=INDEX, bands=INDEX, fields=INDEX,
                sn=INDEX, sh=INDEX, sw=INDEX, sc=INDEX, gn=INDEX, gh=INDEX)
    x, g, dw, scratch, plan, first, last, part, *sizes, gn, gh = code.arguments
    room, sums, bands, fields, sn, *strides = sizes
    scratch, dw = code.at(scratch, part * room), code.at(dw, part * sums)
    for u in code.range(first, last):
        n, band = u // bands, code.at(plan, (u % bands) * fields + IMAGE_FIELDS + PLACE_FIELDS, INDEX)
        pitch = _copy_band(code, code.at(x, n * sn), scratch, plan, band, shape.scratch, strides)
        column, columns = (code.read(plan, IMAGE_FIELDS + f) for f in range(2))
        row, rows, from_row = (code.read(band, BAND_FIELDS + f) for f in range(3))

        def outputs(cells: Sequence[Value], grads: Value, total: Sequence[Value],
                    products: Callable[..., Sequence[Value]], rows: Value = rows, columns: Value = columns,
                    pitch: Value = pitch) -> Sequence[Value]:
            def line(i: Value, *total: Value) -> Sequence[Value]:
                here = [code.at(c, (i * shape.step[0]) * pitch) for c in cells]
                there = code.at(grads, i * gh)
                return code.loop(0, columns, 1, lambda j, *total: products(
                    [code.at(c, j * (shape.step[1] * shape.scratch)) for c in here],
                    code.at(there, j * (shape.filters * shape.groups)), *total), *total)
            return code.loop(0, rows, 1, line, *total)
        work(code, code.at(scratch, row * pitch + column * shape.scratch), pitch,
             code.at(g, n * gn + from_row * gh), dw, outputs)
    return code


def _spots(code: Code, shape: Shape, cells: Value, pitch: Value, channels: Sequence[Any]) -> list[Value]:
    """Where a window has the cells of all its taps, (KH, KW, channels) in one list."""
    rows, columns = shape.phases[0].rows, shape.phases[0].columns
    return [code.at(cells, (rows.first + a * rows.step) * pitch
                    + ((columns.first + b * columns.step) * shape.scratch + c))
            for a in range(rows.count) for b in range(columns.count) for c in channels]


def _correlated(code: Code, shape: Shape, outputs: Callable[..., Sequence[Value]], spots: Sequence[Value],
                sums: Value, grads: Value, left: int) -> None:
    """Add to the rows of dw from `sums` on, one for each of the cells at `spots`.

    What a band adds is summed up on its own first: one long sum would lose more digits.
    """
    vector, counts, padded = shape.vector, shape.counts(left), shape.blocks * shape.block

    def products(here, there, *total):
        gs = [code.load(there, v * shape.lanes, vector, n) for v, n in enumerate(counts)]
        values = [code.spread(code.load(c, 0, shape.number), vector) for c in here]
        return [code.fma(value, gv, total[t * len(gs) + v])
                for t, value in enumerate(values) for v, gv in enumerate(gs)]
    zero = code.constant(0.0, vector)
    for k, value in enumerate(outputs(spots, grads, [zero] * (len(spots) * len(counts)), products)):
        at = code.at(sums, k // len(counts) * padded + k % len(counts) * shape.lanes)
        code.store(code.load(at, 0, vector) + value, at, 0)


def correlate(shape: Shape) -> Code:
    """dw[a,b,c,o] += sum over n, i, j of xp[n, i+a, j+b, c] g[n,i,j,o]: the weight adjoint; vectors along o.

    T rows (a, b, c) by V vectors of filters stay in registers while a band passes by. dw is (groups, taps, C,
    blocks * V * lanes).
    """
    (phase,), channels, padded = shape.phases, shape.channels, shape.blocks * shape.block
    rows, columns, size = phase.rows, phase.columns, channels * padded

    def filters(code, cells, pitch, sums, grads, outputs, left):
        """All rows of dw, for V vectors of filters."""
        def run(cells, sums, length):
            """Those of so many neighbours in the scratch, T at a time."""
            for q, n in code.blocks(length, shape.tile):
                _correlated(code, shape, outputs, [code.at(cells, q * shape.tile + t) for t in range(n)],
                            code.at(sums, q * (shape.tile * padded)), grads, left)

        if shape.taps * channels <= 2 * shape.tile:  # few: all written out
            spots = _spots(code, shape, cells, pitch, range(channels))
            for q in range(0, len(spots), shape.tile):
                _correlated(code, shape, outputs, spots[q:q + shape.tile], code.at(sums, q * padded), grads,
                            left)
        elif columns.step == 1 and shape.groups == 1:  # the cells of a row's taps lie side by side
            _along(code, rows, cells, pitch, sums, columns.count * size, lambda cells, sums: run(
                code.at(cells, columns.first * shape.scratch), sums, columns.count * channels))
        else:
            _along(code, rows, cells, pitch, sums, columns.count * size, lambda cells, sums: _along(
                code, columns, cells, shape.scratch, sums, size,
                lambda cells, sums: run(cells, sums, channels)))

    def work(code, cells, pitch, grads, dw, outputs):
        for g, _ in code.blocks(shape.groups, 1):
            for number, left in code.blocks(shape.filters, shape.block):
                there = code.at(grads, g * shape.filters + number * shape.block)
                sums = code.at(dw, g * (shape.taps * size) + number * shape.block)
                filters(code, code.at(cells, g * channels), pitch, sums, there, outputs, left)
    return _sums(shape, work)


def correlate_each(shape: Shape) -> Code:
    """The same where each filter sees one channel, its own: dw is (blocks, taps, V * lanes)."""
    vector = shape.vector

    def tile(code, outputs, spots, sums, grads, left):
        counts = shape.counts(left)
        at = [code.at(sums, t * shape.block + v * shape.lanes)
              for t in range(len(spots)) for v in range(len(counts))]

        def products(here, there, *total):
            gs = [code.load(there, v * shape.lanes, vector, n) for v, n in enumerate(counts)]
            return [code.fma(code.load(c, v * shape.lanes, vector, n), gs[v], total[t * len(gs) + v])
                    for t, c in enumerate(here) for v, n in enumerate(counts)]
        for value, p in zip(outputs(spots, grads, [code.constant(0.0, vector)] * len(at), products), at):
            code.store(code.load(p, 0, vector) + value, p, 0)

    def work(code, cells, pitch, grads, dw, outputs):
        for number, left in code.blocks(shape.filters, shape.block):
            o, sums = number * shape.block, code.at(dw, number * (shape.taps * shape.block))
            spots = _spots(code, shape, cells, pitch, [o])
            for t in range(0, len(spots), shape.tile):
                tile(code, outputs, spots[t:t + shape.tile], code.at(sums, t * shape.block),
                     code.at(grads, o), left)
    return _sums(shape, work)


def pack(number: str, block: int) -> Code:
    """Weights as the kernels read them: (groups, blocks, taps, C, block), with zeros where filters are
    missing.

    `offsets` says where each tap lies in w; the strides, counted in numbers, lead to the next group, channel,
    filter.
    """
    code = Code(number, w=POINTER, packed=POINTER, offsets=POINTER, groups=INDEX, taps=INDEX, channels=INDEX,
                filters=INDEX, sg=INDEX, sc=INDEX, so=INDEX)
    w, packed, offsets, groups, taps, channels, filters, sg, sc, so = code.arguments
    blocks, zero = (filters + (block - 1)) // block, code.constant(0.0)
    for g in code.range(0, groups):
        for k in code.range(0, blocks):
            for tap in code.range(0, taps):
                source = code.at(w, g * sg + k * (so * block) + code.read(offsets, tap))
                to = code.at(packed, ((g * blocks + k) * taps + tap) * channels * block)
                left = code.least(filters - k * block, block)
                for c in code.range(0, channels):
                    for o in code.range(0, left):
                        code.store(code.load(source, c * sc + o * so, number), to, c * block + o)
                    for o in code.range(left, block):
                        code.store(zero, to, c * block + o)
    return code
