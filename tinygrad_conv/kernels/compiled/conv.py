"""Direct convolution in machine code: generators of the three bilinear maps.

No columns are made. The images that a kernel works on are copied, band by band, into a small padded scratch
that stays in the cache, channels last: (rows, columns, C). There, what tap (a, b) of window (i, j) sees lies at
a fixed distance from the window's first cell, and no border needs care. A tile of outputs, T neighbours in a row
by V vectors of filters, is kept in registers while all its products are added up: V vectors of weights and T
cells, each spread over a vector, give T * V products.

The input adjoint at stride s is s*s convolutions of the gradient, one for each remainder of the cell's position
by s, each with those taps that meet such cells: the same generators serve both, by `Phase`s.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .ir import INDEX, POINTER, Code, Value, every_block

UNROLLED = 96      # products written out one after the other
IMAGE_FIELDS = 5   # of the plan's head: first column copied, columns copied, zeros left and right, columns in all
BAND_FIELDS = 4    # of a band: first row copied, rows copied, rows of zeros above and below
PLACE_FIELDS = 3   # of a phase, along each axis: where in the scratch it begins, how many outputs, where in y


@dataclass(frozen=True)
class Steps:
    """`count` taps along an axis, at first, first + step, ..."""

    count: int
    first: int = 0
    step: int = 1


@dataclass(frozen=True)
class Phase:
    """The taps, along both axes, of a set of outputs."""

    rows: Steps
    columns: Steps

    @property
    def taps(self) -> int:
        return self.rows.count * self.columns.count


@dataclass(frozen=True)
class Shape:
    """What a kernel is specialised on; batch and image sizes are its arguments.

    `channels` are the inputs and `filters` the outputs of each group; `vectors` (V) of so many `lanes` and `tile`
    (T) say what is kept in registers; windows lie `step` apart in the scratch, outputs `spacing` apart in y.
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
    def block(self) -> int:
        """Filters, or where each group has one, groups, of V vectors."""
        return self.vectors * self.lanes

    @property
    def blocks(self) -> int:
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

    def line(i: Value) -> None:
        to, source = code.at(scratch, (above + i) * pitch), code.at(first, i * sh)
        code.clear(to, before * channels)
        code.clear(code.at(to, (before + width) * channels), after * channels)
        to = code.at(to, before * channels)

        def one_by_one() -> None:
            code.loop(0, width, 1, lambda j: code.loop(0, channels, 1, lambda c: code.store(
                code.load(source, j * sw + c * sc, code.number), to, j * channels + c)))
        code.when(dense, lambda: code.copy(to, source, width * channels), one_by_one)
    code.loop(0, rows, 1, line)
    return pitch


def _along(code: Code, steps: Steps, cells: Value, distance: Any, weights: Value, size: int,
           body: Callable[..., Any], carried: Sequence[Value] = ()) -> Any:
    """`body(cells, weights, *carried)` for each tap along an axis; their cells lie a `distance` apart."""
    if steps.count == 1:
        return body(code.at(cells, distance * steps.first), weights, *carried)
    return code.loop(0, steps.count, 1, lambda a, *carried: body(
        code.at(cells, (a * steps.step + steps.first) * distance), code.at(weights, a * size), *carried), *carried)


def _outputs(shape: Shape, block: int, size: int, channel: Callable[[Any, Any], Any],
             tile: Callable[[Code, Phase, Value, Value, Value, Value, Value, int], None]) -> Code:
    """A kernel that fills y: all loops around the tile.

    `block` outputs of a group belong together, with `size` weights a tap; `channel(group, output)` is the first
    that they see. The tile is called as `tile(code, phase, cells, pitch, weights, bias, out, left)`: T neighbours,
    whose first window begins at `cells`.
    """
    code = Code(shape.number, x=POINTER, w=POINTER, b=POINTER, y=POINTER, scratch=POINTER, plan=POINTER,
                first=INDEX, last=INDEX, bands=INDEX, fields=INDEX, sn=INDEX, sh=INDEX, sw=INDEX, sc=INDEX,
                yn=INDEX, yh=INDEX)
    x, w, b, y, scratch, plan, first, last, bands, fields, sn, *strides, yn, yh = code.arguments
    every = shape.filters * shape.groups  # numbers of a cell of y
    head = IMAGE_FIELDS + PLACE_FIELDS * len(shape.phases)

    def unit(u: Value) -> None:
        n, band = u // bands, code.at(plan, (u % bands) * fields + head, INDEX)
        pitch = _copy_band(code, code.at(x, n * sn), scratch, plan, band, shape.scratch, strides)
        tap = 0
        for k, phase in enumerate(shape.phases):
            before = tap  # taps of the phases before
            column, columns, to = (code.read(plan, IMAGE_FIELDS + PLACE_FIELDS * k + f) for f in range(3))
            row, rows, to_row = (code.read(band, BAND_FIELDS + PLACE_FIELDS * k + f) for f in range(3))
            start = code.at(scratch, row * pitch + column * shape.scratch)
            end = code.at(y, n * yn + to_row * yh + to * every)

            def group(g: Any, phase: Phase = phase) -> None:
                def filters(number: Any, left: int) -> None:
                    o = g * shape.filters + number * block
                    weights = code.at(w, (g * -(-shape.filters // block) + number) * (shape.taps * size)
                                      + before * size)

                    def line(i: Value) -> None:
                        cells = code.at(start, (i * shape.step[0]) * pitch + channel(g, o))
                        out = code.at(end, (i * shape.spacing[0]) * yh + o)

                        def some(j: Value) -> None:
                            j = code.least(j, columns - shape.tile)  # the last tile may overlap the one before
                            tile(code, phase, code.at(cells, j * (shape.step[1] * shape.scratch)), pitch, weights,
                                 code.at(b, o), code.at(out, j * (shape.spacing[1] * every)), left)
                        code.loop(0, columns, shape.tile, some)
                    code.loop(0, rows, 1, line)
                every_block(code, shape.filters, block, filters)
            if shape.groups == 1:
                group(0)
            else:
                code.loop(0, shape.groups, 1, group)
            tap += phase.taps
    code.loop(first, last, 1, unit)
    return code


def gather(shape: Shape) -> Code:
    """y[n,p,q,o] = b[o] + sum over taps (a, b) and c of xp[n, p+a, q+b, c] w[a,b,c,o]; vectors along o.

    w is (groups, blocks, taps, C, V * lanes), the taps phase by phase.
    """
    def tile(code, phase, cells, pitch, weights, bias, out, left):
        counts, vector = shape.counts(left), code.vector(shape.lanes)
        apart, channels = shape.step[1] * shape.scratch, shape.channels

        def products(cells, weights, total, n):
            """n neighbouring numbers of the scratch times their weights."""
            for u in range(n):
                ws = [code.load(weights, u * shape.block + v * shape.lanes, vector) for v in range(len(counts))]
                spread = [code.spread(code.load(cells, t * apart + u, shape.number), vector)
                          for t in range(shape.tile)]
                total = [code.fma(cell, weight, total[t * len(ws) + v])
                         for t, cell in enumerate(spread) for v, weight in enumerate(ws)]
            return total

        def run(cells, weights, total, n):
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
            total = _along(code, phase.rows, cells, pitch, weights, phase.columns.count * channels * shape.block,
                           row, total)
        for t in range(shape.tile):
            for v, n in enumerate(counts):
                code.store(total[t * len(counts) + v], out,
                           t * (shape.spacing[1] * shape.filters * shape.groups) + v * shape.lanes, n)
    return _outputs(shape, shape.block, shape.channels * shape.block, lambda g, o: g * shape.channels, tile)


def gather_few(shape: Shape) -> Code:
    """The same for few filters, with vectors along c, whose lanes are added up at the end.

    w is (groups, taps, filters, C).
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
                               code, phase.columns, cells, shape.scratch, weights, shape.block, tap, total), total)
        for t in range(shape.tile):
            for v, n in enumerate(counts):
                code.store(total[t * len(counts) + v], out,
                           t * (shape.spacing[1] * shape.filters) + v * shape.lanes, n)
    return _outputs(shape, shape.block, shape.block, lambda g, o: o, tile)


def _sums(shape: Shape, group: Callable[..., None]) -> Code:
    """A kernel that adds to dw: the loops over bands. `group(code, g, cells, pitch, grads, dw, columns, rows)`."""
    code = Code(shape.number, x=POINTER, g=POINTER, dw=POINTER, scratch=POINTER, plan=POINTER,
                first=INDEX, last=INDEX, bands=INDEX, fields=INDEX, sn=INDEX, sh=INDEX, sw=INDEX, sc=INDEX,
                gn=INDEX, gh=INDEX)
    x, g, dw, scratch, plan, first, last, bands, fields, sn, *strides, gn, gh = code.arguments

    def unit(u: Value) -> None:
        n, band = u // bands, code.at(plan, (u % bands) * fields + IMAGE_FIELDS + PLACE_FIELDS, INDEX)
        pitch = _copy_band(code, code.at(x, n * sn), scratch, plan, band, shape.scratch, strides)
        column, columns = (code.read(plan, IMAGE_FIELDS + f) for f in range(2))
        row, rows, from_row = (code.read(band, BAND_FIELDS + f) for f in range(3))
        cells, grads = code.at(scratch, row * pitch + column * shape.scratch), code.at(g, n * gn + from_row * gh)

        def outputs(tap_cells: Sequence[Value], grads: Value, total: Sequence[Value],
                    products: Callable[..., Sequence[Value]]) -> Sequence[Value]:
            """`products(cells, grads, *total)` at every output of the band."""
            def line(i: Value, *total: Value) -> Sequence[Value]:
                here, there = [code.at(c, (i * shape.step[0]) * pitch) for c in tap_cells], code.at(grads, i * gh)
                return code.loop(0, columns, 1, lambda j, *total: products(
                    [code.at(c, j * (shape.step[1] * shape.scratch)) for c in here],
                    code.at(there, j * (shape.filters * shape.groups)), *total), *total)
            return code.loop(0, rows, 1, line, *total)
        group(code, cells, pitch, grads, dw, outputs)
    code.loop(first, last, 1, unit)
    return code


def correlate(shape: Shape) -> Code:
    """dw[a,b,c,o] += sum over n, i, j of xp[n, i+a, j+b, c] g[n,i,j,o]: the weight adjoint; vectors along o.

    T rows (a, b, c) by V vectors of filters stay in registers while a band passes by. dw is (groups, taps, C,
    blocks * V * lanes).
    """
    (phase,), channels, padded = shape.phases, shape.channels, shape.blocks * shape.block
    rows, columns, vector = phase.rows, phase.columns, f"<{shape.lanes} x {shape.number}>"

    def work(code, cells, pitch, grads, dw, outputs):
        def tile(spots: Sequence[Value], sums: Value, grads: Value, left: int) -> None:
            counts = shape.counts(left)

            def products(here, there, *total):
                gs = [code.load(there, v * shape.lanes, vector, n) for v, n in enumerate(counts)]
                values = [code.spread(code.load(c, 0, shape.number), vector) for c in here]
                return [code.fma(value, gv, total[t * len(gs) + v])
                        for t, value in enumerate(values) for v, gv in enumerate(gs)]
            total = outputs(spots, grads, [code.load(sums, t * padded + v * shape.lanes, vector)
                                           for t in range(len(spots)) for v in range(len(counts))], products)
            for k, value in enumerate(total):
                code.store(value, sums, k // len(counts) * padded + k % len(counts) * shape.lanes)

        def run(cells: Value, sums: Value, grads: Value, length: int, left: int) -> None:
            """The sums of so many neighbours in the scratch, T at a time."""
            every_block(code, length, shape.tile, lambda q, n: tile(
                [code.at(cells, q * shape.tile + t) for t in range(n)], code.at(sums, q * (shape.tile * padded)),
                grads, left))

        def group(g: Any) -> None:
            def filters(number: Any, left: int) -> None:
                there = code.at(grads, g * shape.filters + number * shape.block)
                sums = code.at(dw, g * (shape.taps * channels * padded) + number * shape.block)
                here = code.at(cells, g * channels)
                size = channels * padded
                if shape.taps * channels <= 2 * shape.tile:  # few: all written out
                    spots = [code.at(here, (rows.first + a * rows.step) * pitch
                                     + ((columns.first + b * columns.step) * shape.scratch + c))
                             for a in range(rows.count) for b in range(columns.count) for c in range(channels)]
                    for q in range(0, len(spots), shape.tile):
                        tile(spots[q:q + shape.tile], code.at(sums, q * padded), there, left)
                elif columns.step == 1 and shape.groups == 1:
                    _along(code, rows, here, pitch, sums, columns.count * size, lambda here, sums: run(
                        code.at(here, columns.first * shape.scratch), sums, there, columns.count * channels, left))
                else:
                    _along(code, rows, here, pitch, sums, columns.count * size, lambda here, sums: _along(
                        code, columns, here, shape.scratch, sums, size,
                        lambda here, sums: run(here, sums, there, channels, left)))
            every_block(code, shape.filters, shape.block, filters)
        if shape.groups == 1:
            group(0)
        else:
            code.loop(0, shape.groups, 1, group)
    return _sums(shape, work)


def correlate_each(shape: Shape) -> Code:
    """The same where each filter sees one channel, its own: dw is (blocks, taps, V * lanes)."""
    (phase,), vector = shape.phases, f"<{shape.lanes} x {shape.number}>"
    rows, columns = phase.rows, phase.columns

    def work(code, cells, pitch, grads, dw, outputs):
        def channels(number: Any, left: int) -> None:
            counts, o = shape.counts(left), number * shape.block
            spots = [(code.at(cells, (rows.first + a * rows.step) * pitch
                              + (columns.first + b * columns.step) * shape.scratch + o), a * columns.count + b)
                     for a in range(rows.count) for b in range(columns.count)]
            for q in range(0, len(spots), shape.tile):
                some = spots[q:q + shape.tile]
                at = [(code.at(dw, number * (shape.taps * shape.block) + tap * shape.block + v * shape.lanes))
                      for _, tap in some for v in range(len(counts))]

                def products(here, there, *total):
                    gs = [code.load(there, v * shape.lanes, vector, n) for v, n in enumerate(counts)]
                    return [code.fma(code.load(c, v * shape.lanes, vector, n), gs[v], total[t * len(gs) + v])
                            for t, c in enumerate(here) for v, n in enumerate(counts)]
                total = outputs([c for c, _ in some], code.at(grads, o), [code.load(p, 0, vector) for p in at],
                                products)
                for value, p in zip(total, at):
                    code.store(value, p, 0)
        every_block(code, shape.filters, shape.block, channels)
    return _sums(shape, work)


def pack(number: str, block: int) -> Code:
    """Weights as the kernels read them: (groups, blocks, taps, C, block), with zeros where filters are missing.

    `offsets` says where each tap lies in w; the strides, counted in numbers, lead to the next group, channel, filter.
    """
    code = Code(number, w=POINTER, packed=POINTER, offsets=POINTER, groups=INDEX, taps=INDEX, channels=INDEX,
                filters=INDEX, sg=INDEX, sc=INDEX, so=INDEX)
    w, packed, offsets, groups, taps, channels, filters, sg, sc, so = code.arguments
    blocks = (filters + (block - 1)) // block
    zero = code.constant(0.0)

    def row(g: Value, k: Value, tap: Value) -> None:
        source = code.at(w, g * sg + k * (so * block) + code.read(offsets, tap))
        to = code.at(packed, ((g * blocks + k) * taps + tap) * channels * block)
        left = code.least(filters - k * block, block)

        def channel(c: Value) -> None:
            code.loop(0, left, 1, lambda o: code.store(
                code.load(source, c * sc + o * so, number), to, c * block + o))
            code.loop(left, block, 1, lambda o: code.store(zero, to, c * block + o))
        code.loop(0, channels, 1, channel)
    code.loop(0, groups, 1, lambda g: code.loop(0, blocks, 1, lambda k: code.loop(
        0, taps, 1, lambda tap: row(g, k, tap))))
    return code
