"""Plant an error in every derivative, one at a time, and see that the op table notices each.

    python tests/plant_errors.py [--only NAME]

For each primitive and each argument: the VJP times 1.001; plus 0.001; some entries of the
cotangent dropped; some of the result dropped; the inputs seen as constants (which is wrong only
at order 2); where there is a geometry, its stride and dilation swapped, its padding mirrored, its
stride transposed. In the kernels of convolution and pooling: the same errors of the geometry, a tap
dropped, the flip left out, the wrong divisor, the wrong one of equal maxima, and more; for machine code, in
what generates it.

No planted error changes a shape: what finds it is a comparison of numbers. Only an AssertionError that
names a wrong number is a kill. Anything else that is raised is a mistake of the planting, a broken plant.
Prints a table, the survivors and the broken plants, and exits with their number: it must be 0.
"""
from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import tinygrad_conv as tg
from tests import test_op_table as table
from tests.families import FAMILIES
from tests.op_table.row import Row
from tinygrad_conv.kernels import planes
from tinygrad_conv.kernels import table as kernels
from tinygrad_conv.kernels.geometry import Geometry
from tinygrad_conv.primitive import Primitive


@dataclass(frozen=True)
class Plant:
    """One error: where, what, and a context manager that makes the op wrong.

    `order` says what is wrong then: 0 the value, 1 the gradient by `argnum`, 2 its derivative. `family` is that of
    the kernels which compute.
    """

    row: Row
    what: str
    wrong: Callable[[], AbstractContextManager[None]]
    order: int
    argnum: int = 0
    family: str = "auto"

    @property
    def name(self) -> str:
        return f"{self.row.name}: {self.what}"


# ----- errors of a geometry -----

def keeping_the_shape(geometry: Geometry, **changes: Any) -> Geometry:
    """The changed geometry where it has as many windows as the right one, else the right one."""
    changed = replace(geometry, **changes)
    return changed if changed.out == geometry.out else geometry


GEOMETRY_ERRORS: dict[str, Callable[[Geometry], Geometry]] = {
    "stride and dilation swapped": lambda geometry: keeping_the_shape(
        geometry, stride=geometry.dilation, dilation=geometry.stride),
    "padding mirrored": lambda geometry: keeping_the_shape(
        geometry, padding=tuple((after, before) for before, after in geometry.padding)),
    "stride transposed": lambda geometry: keeping_the_shape(geometry, stride=geometry.stride[::-1]),
}


# ----- errors in one VJP -----

def without_some(t: tg.Tensor) -> tg.Tensor:
    """`t` with about half of its entries zero, always the same ones for a shape: still linear."""
    rng = np.random.default_rng(zlib.crc32(str(t.shape).encode()))
    mask = (rng.random(t.shape) > 0.5).astype(t.dtype)
    if t.size:
        mask.flat[rng.integers(t.size)] = 0.0
    return tg.mul(t, mask)


def times(vjp, g, ans, *xs, **params):
    return tg.mul(vjp(g, ans, *xs, **params), 1.001)


def plus(vjp, g, ans, *xs, **params):
    return tg.add(vjp(g, ans, *xs, **params), 0.001)


def cotangent_entries_dropped(vjp, g, ans, *xs, **params):
    g = tuple(map(without_some, g)) if isinstance(g, tuple) else without_some(g)
    return vjp(g, ans, *xs, **params)


def result_entries_dropped(vjp, g, ans, *xs, **params):
    return without_some(vjp(g, ans, *xs, **params))


def inputs_as_constants(vjp, g, ans, *xs, **params):
    ans, *xs = [tuple(map(as_constant, t)) if isinstance(t, tuple) else as_constant(t) for t in (ans, *xs)]
    return vjp(g, ans, *xs, **params)


def as_constant(t):
    return t.detach() if isinstance(t, tg.Tensor) else t  # the tape has not kept its values


def with_geometry(change: Callable[[Geometry], Geometry]) -> Callable:
    def error(vjp, g, ans, *xs, geometry, **params):
        return vjp(g, ans, *xs, geometry=change(geometry), **params)
    return error


ERRORS = [("x 1.001", times, 1), ("+ 0.001", plus, 1),
          ("cotangent entries dropped", cotangent_entries_dropped, 1),
          ("result entries dropped", result_entries_dropped, 1),
          ("inputs as constants", inputs_as_constants, 2)]
WITH_GEOMETRY = [(what, with_geometry(change), 1) for what, change in GEOMETRY_ERRORS.items()]


@contextmanager
def planted(primitive: Primitive, argnum: int, error: Callable) -> Iterator[None]:
    """Replace one VJP by a wrong one."""
    vjps, variadic, joint = primitive.vjps, primitive.variadic_vjp, primitive.joint_vjp
    if joint is not None:
        def wrong(*args, **params):
            found = list(joint(*args, **params))
            found[argnum] = error(lambda *a, **p: joint(*a, **p)[argnum], *args, **params)
            return tuple(found)
        primitive.joint_vjp = wrong
    elif variadic is not None:
        def wrong(i, *args, **params):
            def right(*a, **p):
                return variadic(i, *a, **p)
            return (error(right, *args, **params) if i == argnum else right(*args, **params))
        primitive.variadic_vjp = wrong
    else:
        def wrong(*args, **params):
            return error(vjps[argnum], *args, **params)
        primitive.vjps = (*vjps[:argnum], wrong, *vjps[argnum + 1:])
    try:
        yield
    finally:
        primitive.vjps, primitive.variadic_vjp, primitive.joint_vjp = vjps, variadic, joint


def vjp_plants(row: Row) -> Iterator[Plant]:
    primitive = row.primitive
    arguments = {i for args, _ in table.samples(row) for i in table.floats(args)}
    for argnum in sorted(arguments) if row.order else ():
        if primitive.vjp_for(argnum) is not None:
            for what, error, order in ERRORS + (WITH_GEOMETRY if table.has_geometry(row) else []):
                if order <= row.order:
                    yield Plant(row, f"argument {argnum}, {what}",
                                lambda a=argnum, e=error: planted(primitive, a, e), order, argnum)


# ----- errors in the kernels of convolution and pooling -----

def changed(i: int, change: Callable) -> Callable:
    """Error: the kernel gets its argument `i` changed."""
    return lambda right: lambda *call: right(*call[:i], change(call[i]), *call[i:][1:])


def flip(w):
    return np.ascontiguousarray(w[:, :, ::-1, ::-1])


def without_first_tap(w):
    w = w.copy()
    w[:, :, 0, 0] = 0
    return w


def without_last_sample(g):
    g = g.copy()
    g[-1] = 0
    return g


def averaged_over_channels(w):
    return np.broadcast_to(w.mean(axis=1, keepdims=True), w.shape).copy()


def tap_unseen(maxima):
    """Windows that see no cell any more keep their maximum."""
    def wrong(x, geometry):
        y = np.full_like(maxima(x, geometry), -np.inf)
        for outs, cells in geometry.taps[1:]:
            y[outs] = np.maximum(y[outs], x[cells])
        return np.where(np.isneginf(y), maxima(x, geometry), y)
    return wrong


def padding_as_zeros(maxima):
    def wrong(x, geometry):
        padded = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
        bare = keeping_the_shape(geometry, size=padded.shape[2:], padding=((0, 0), (0, 0)))
        return maxima(x if bare is geometry else padded, bare)
    return wrong


def tap_not_scattered(scatter):
    def wrong(g, x, y, geometry):
        dx, (outs, cells) = scatter(g, x, y, geometry).copy(), geometry.taps[0]
        dx[cells] -= np.where(x[cells] == y[outs], g[outs], 0)
        return dx
    return wrong


def written_over(scatter):
    """Where windows share their maximum, one gradient instead of the sum."""
    def wrong(g, x, y, geometry):
        dx = np.zeros_like(scatter(g, x, y, geometry))
        for outs, cells in geometry.taps:
            dx[cells] = np.where(x[cells] == y[outs], g[outs], dx[cells])
        return dx
    return wrong


def tap_not_gathered(gather):
    def wrong(u, x, y, geometry):
        v, (outs, cells) = gather(u, x, y, geometry).copy(), geometry.taps[0]
        v[outs] = np.where(x[cells] == y[outs], 0, v[outs])
        return v
    return wrong


def last_gathered(gather):
    """Of equal maxima the last one, row by row."""
    def wrong(u, x, y, geometry):
        v = gather(u, x, y, geometry).copy()
        for outs, cells in geometry.taps:
            v[outs] = np.where(x[cells] == y[outs], u[cells], v[outs])
        return v
    return wrong


def last_index(indices):
    def wrong(x, y, geometry):
        cells = np.arange(x[0, 0].size).reshape(x.shape[2:])
        first = indices(x, y, geometry)
        return last_gathered(lambda *_: first)(np.broadcast_to(cells, x.shape), x, y, geometry)
    return wrong


def last_scattered(scatter):
    def wrong(g, x, y, geometry):
        last = last_index(functools.partial(kernels.run, "maxima_indices"))(x, y, geometry)
        return planes.pile(g, last, geometry.size)
    return wrong


def counted_by_columns(indices):
    def wrong(x, y, geometry):
        height, width = geometry.size
        row, column = np.divmod(indices(x, y, geometry), width)
        return column * height + row
    return wrong


def counted_from_one(indices):
    return lambda *call: indices(*call) + 1


def tap_not_summed(averages):
    def wrong(x, divisor, geometry):
        y, (outs, cells) = averages(x, divisor, geometry).copy(), geometry.taps[0]
        y[outs] -= x[cells] / np.broadcast_to(divisor, geometry.out)[outs[1:]]
        return y
    return wrong


def tap_not_spread(adjoint):
    def wrong(g, divisor, geometry):
        dx, (outs, cells) = adjoint(g, divisor, geometry).copy(), geometry.taps[0]
        dx[cells] -= (g / divisor)[outs]
        return dx
    return wrong


def by_the_whole_kernel(right):
    """Every window divided by its number of taps, also where some lie outside or a divisor was given."""
    return lambda x, divisor, geometry: right(
        x, np.full_like(divisor, np.prod(geometry.kernel)), geometry)


TIE = "a tie to the last"
KERNEL_ERRORS: dict[str, tuple[str, dict[str, Callable]]] = {  # operation: (the op it is the value of, errors)
    "conv2d": ("conv2d", {
        "the filter flipped": changed(1, flip), "a tap dropped": changed(1, without_first_tap),
        "the bias dropped": changed(2, lambda b: None), "the last sample dropped": changed(0, without_last_sample)}),
    "input_adjoint": ("conv_transpose2d", {
        "the flip left out": changed(1, flip), "a tap dropped": changed(1, without_first_tap),
        "the bias dropped": changed(2, lambda b: None), "the last sample dropped": changed(0, without_last_sample)}),
    "weight_adjoint": ("conv2d_weight", {
        "the result flipped": lambda right: lambda *call: flip(right(*call)),
        "a tap dropped": lambda right: lambda *call: without_first_tap(right(*call)),
        "averaged over the channels": lambda right: lambda *call: averaged_over_channels(right(*call)),
        "divided by the batch": lambda right: lambda g, *rest: right(g, *rest) / len(g)}),
    "maxima": ("max_pool2d", {"a tap dropped": tap_unseen, "padding seen as zeros": padding_as_zeros}),
    "maxima_scatter": ("max_pool2d_scatter", {
        "a tap dropped": tap_not_scattered, "a shared cell written over": written_over,
        TIE: last_scattered}),
    "maxima_gather": ("max_pool2d_gather", {"a tap dropped": tap_not_gathered, TIE: last_gathered}),
    "maxima_indices": ("max_pool2d_indices", {
        TIE: last_index, "counted by columns": counted_by_columns,
        "counted from one": counted_from_one}),
    "averages": ("avg_pool2d", {
        "a tap dropped": tap_not_summed, "divided by the whole kernel": by_the_whole_kernel,
        "divided by one more": changed(1, lambda divisor: divisor + 1)}),
    "averages_adjoint": ("avg_pool2d_spread", {
        "a tap dropped": tap_not_spread, "divided by the whole kernel": by_the_whole_kernel,
        "divided by one more": changed(1, lambda divisor: divisor + 1)}),
}


def without_first_cell(x):
    x = x.copy()
    x[:, :, 0, 0] = 0
    return x


def bins_by_columns(maxima):
    def wrong(x, out):
        y, indices = maxima(x, out)
        row, column = np.divmod(indices, x.shape[3])
        return y, column * x.shape[2] + row
    return wrong


CELL = {"a cell dropped": changed(0, without_first_cell)}
PLANE_ERRORS: dict[str, tuple[str, dict[str, Callable]]] = {  # function of kernels.planes: as above
    "bin_averages": ("adaptive_avg_pool2d", CELL), "bin_averages_adjoint": ("adaptive_avg_pool2d_spread", CELL),
    "bin_maxima": ("adaptive_max_pool2d", {"counted by columns": bins_by_columns}),
    "pick": ("pick2d", CELL),
    "pile": ("pile2d", {"a shared cell written over": lambda right: planes.put}),
    "put": ("max_unpool2d", {"a shared cell added up": lambda right: planes.pile}),
    "pick_put": ("max_unpool2d_pick", {"numbers written over picked": lambda right: planes.pick}),
}


@contextmanager
def patched(function: str, error: Callable) -> Iterator[None]:
    """Put a wrong function of planes in the place of the right one."""
    right = getattr(planes, function)
    setattr(planes, function, error(right))
    try:
        yield
    finally:
        setattr(planes, function, right)


@contextmanager
def registered(operation: str, error: Callable, family: str) -> Iterator[None]:
    """Put a wrong kernel of a family in front of those that are there."""
    rows = [*kernels.kernels[operation]]
    own = [row for row in rows if row.family in (family, "numpy")]

    def right(*call):
        return next(row.function for row in own if row.serves is None or row.serves(*call))(*call)
    kernels.register(family, operation, error(right))
    try:
        yield
    finally:
        kernels.kernels[operation] = rows


COMPILED = "tinygrad_conv.kernels.compiled."
BIAS = "code.load(bias, v * shape.lanes, vector, n)"
GENERATOR_ERRORS: dict[str, dict[str, tuple[str, str, str]]] = {  # op: error: (file, what it says, what it is to say)
    "conv2d": {
        "the bias dropped": ("conv", BIAS, "code.constant(0.0, vector)"),
        "the bias of few filters dropped": ("conv", " + code.load(bias, o, shape.number)", ""),
        "a tap dropped": ("conv", "code.loop(0, steps.count, 1", "code.loop(1, steps.count, 1"),
        "lanes of a channel left out": ("conv", "range(0, shape.channels, shape.lanes)", "range(0, 1)"),
        "taps side by side": ("conv", "a * steps.step + steps.first", "a + steps.first"),
        "all groups see the first": ("conv", "lambda g, o: g * shape.channels", "lambda g, o: 0"),
        "the rest of a row's products left out": ("conv", "total, n - main)", "total, 0)"),
        "padding mirrored": ("plan", "-geometry.padding[axis][0])", "-geometry.padding[axis][1])"),
        "stride and dilation swapped": ("plan", "Steps(k, 0, d), 0, 1, s", "Steps(k, 0, s), 0, 1, d"),
        "stride transposed": ("plan", "geometry.stride[axis]", "geometry.stride[1 - axis]")},
    "conv_transpose2d": {
        "the bias dropped": ("conv", BIAS, "code.constant(0.0, vector)"),
        "the bias of few filters dropped": ("conv", " + code.load(bias, o, shape.number)", ""),
        "the flip left out": ("plan", "Axis(tuple(met)", "Axis(tuple(met[::-1])"),
        "a tap dropped": ("conv", "code.loop(0, steps.count, 1", "code.loop(1, steps.count, 1"),
        "padding mirrored": ("plan", "p, found = geometry.padding[axis][0]", "p, found = geometry.padding[axis][1]")},
    "conv2d_weight": {
        "a tap seen twice": ("conv", "(columns.first + b * columns.step)", "(columns.first + 0 * b)"),
        "all groups add to the first": ("conv", "g * (shape.taps * size)", "0"),
        "the first row of a band dropped": ("conv", "code.loop(0, rows, 1, line", "code.loop(1, rows, 1, line")},
    "max_pool2d": {"a tap dropped": ("pool", "for b in range(kw)", "for b in range(max(1, kw - 1))")},
    "max_pool2d_scatter": {
        TIE: ("pool", "code.nan(value)), code.no(found))", "code.nan(value)), code.either(found, code.no(found)))"),
        "a shared cell written over": ("pool", "if shape.overlap:", "if False:")},
    "max_pool2d_gather": {
        TIE: ("pool", "code.nan(value)), code.no(found))", "code.nan(value)), code.either(found, code.no(found)))"),
        "a tap dropped": ("pool", "for a in range(kh)", "for a in range(max(1, kh - 1))")},
    "avg_pool2d": {
        "divided by the first divisor": ("pool", "code.load(divisor, place,", "code.load(divisor, 0,"),
        "a tap dropped": ("pool", "for b in range(kw)", "for b in range(max(1, kw - 1))")},
    "avg_pool2d_spread": {
        "divided by the first divisor": ("pool", "code.load(divisor, place,", "code.load(divisor, 0,"),
        "a shared cell written over": ("pool", "if shape.overlap else", "if False else")},
    "matmul": {
        "the first of K dropped": ("product", "code.loop(0, length, 1, step", "code.loop(1, length, 1, step"),
        "strides swapped": ("product", "code.at(a, (i + r) * am) for r in range(T)", "code.at(a, (i + r) * ak) for r in range(T)")},
    "linear": {
        "the bias dropped": ("product", " + code.load(bias, j + s, shape.number)", ""),
        "the first filter for all": ("product", "code.at(b, (j + s) * bn)", "code.at(b, j * bn)")},
    "relu": {"everything kept": ("pointwise", '"olt", x, zero), zero, x)', '"olt", x, zero), x, x)')},
    "relu_vjp": {"everything kept": ("pointwise", '"ole", ans, zero), zero, g)', '"ole", ans, zero), g, g)')},
    "leaky_relu": {"the slope dropped": ("pointwise", "x, x * slope)", "x, x)")},
    "leaky_relu_vjp": {"the slope dropped": ("pointwise", "g, g * slope)", "g, g)")},
    "hardtanh": {"no upper bound": ("pointwise", '"ogt", x, most), most, x)', '"ogt", x, most), x, x)')},
    "hardtanh_vjp": {"no upper bound": ("pointwise", 'code.compare("oge", x, most)', 'code.compare("ole", x, least)')},
    "sigmoid": {"the sign lost": ("pointwise", "code.constant(-0.0, x.type) - x", "x")},
    "log_softmax": {
        "lanes counted that are not there": ("softmax", "code.kept(exponential(code, shifted), zero, count)",
                                             "exponential(code, shifted)"),
        "a series of ones": ("softmax", "constant(1 / math.factorial(k)))", "constant(1.0))")},
    "log_softmax_vjp": {
        "the rest of a row left out": ("softmax", "total + code.load(at_g, whole, vector, rest)", "total"),
        "not times the sum": ("softmax", "code.load(at_ans, k, vector, count)) * total", "code.load(at_ans, k, vector, count))")},
    "normalize": {
        "the origin left out": ("norm", "code.widened(near[k]) - origins[k]", "code.widened(near[k])"),
        "squares about another number": ("norm", "square + off * (first + moved)", "square + off * first"),
        "running sums dropped": ("norm", "for j in range(1, many)", "for j in range(1, 1)"),
        "the last entries dropped": ("norm", "rows(1, whole, n,", "rows(1, whole, whole,"),
        "the end of a run dropped": ("norm", "(1, lo + whole, n % width)", "(1, lo + whole, n - n)"),
        "blocks of rows at the first": ("norm", "code.at(a, u * BLOCK * kept)", "code.at(a, u * 0 * kept)"),
        "all channels as the first": ("norm", "kept * k + run % kept", "kept * k + run * 0"),
        "each period's first": ("norm", "code.load(row, i, type)", "code.load(row, 0, type)")},
    "normalize_adjoint": {
        "sum(g x) about another number": ("norm", "g[1] = g[1] + off * g[0]", "g[1] = g[1] + g[0]"),
        "the mean of g dropped": ("norm", " - scale * found.total / found.n", ""),
        "the slope dropped": ("norm", "slope = -scale * r * inner / found.n", "slope = 0 * r"),
        "g dropped": ("norm", "if g else value, out", "if False else value, out"),
        "g added up with itself": ("norm", "code.fma(a, off,", "code.fma(a, a,")},
    "scale": {
        "the bias dropped": ("norm", "form.flat(a), form.flat(b)], x)", "form.flat(a), 0 * form.flat(b)], x)"),
        "each period's first": ("norm", "code.load(row, i, type)", "code.load(row, 0, type)")},
}


@contextmanager
def rewritten(file: str, old: str, new: str) -> Iterator[None]:
    """Let the functions of a file of the family `compiled` be those of a text with an error."""
    module, family = (importlib.import_module(COMPILED + name) for name in (file, "family"))
    source = inspect.getsource(module)
    if old not in source:
        raise Broken(f"{file}.py does not say {old!r}")
    right, wrong = dict(vars(module)), dict(vars(module))
    exec(compile(source.replace(old, new), module.__file__, "exec"), wrong)
    made = [value for value in (*vars(family).values(), *vars(module).values()) if hasattr(value, "cache_clear")]
    try:
        vars(module).update({k: f for k, f in wrong.items() if callable(f) and not isinstance(f, type)})
        for cache in made:
            cache.cache_clear()
        yield
    finally:
        vars(module).update(right)
        for cache in made:
            cache.cache_clear()


def with_ties(row: Row) -> Row:
    """The row with maxima that are reached several times: for its value only, whose gradient jumps there."""
    return replace(row, samples=lambda rng: [((*given, np.round(x), np.round(y)), params)
                                             for (*given, x, y), params in row.samples(rng)])


def kernel_plants(row: Row) -> Iterator[Plant]:
    for operation, (op, errors) in KERNEL_ERRORS.items():
        if op == row.name:
            geometrical = {what: changed(-1, change) for what, change in GEOMETRY_ERRORS.items()}
            for what, error in {**errors, **geometrical}.items():
                yield Plant(with_ties(row) if what == TIE else row, f"kernel {operation}, {what}",
                            lambda o=operation, e=error: registered(o, e, "numpy"), 0, family="numpy")
            if any(kernel.family == "compiled" for kernel in kernels.kernels[operation]):
                for what, error in geometrical.items():
                    yield Plant(row, f"compiled {operation}, {what}",
                                lambda o=operation, e=error: registered(o, e, "compiled"), 0, family="compiled")
    for what, error in GENERATOR_ERRORS.get(row.name, {}).items() if "compiled" in FAMILIES else ():
        yield Plant(with_ties(row) if what == TIE else row, f"machine code, {what}",
                    lambda e=error: rewritten(*e), 0, family="compiled")
    for function, (op, errors) in PLANE_ERRORS.items():
        for what, error in errors.items() if op == row.name else ():
            yield Plant(row, f"kernel {function}, {what}", lambda f=function, e=error: patched(f, e), 0)


# ----- the run -----

def candidates(rows: list[Row]) -> list[Plant]:
    """Every error there may be to plant, by primitive."""
    return [plant for row in rows for plant in (*vjp_plants(row), *kernel_plants(row))]


COMPARED = ("Not equal to tolerance", "<g, J v> is ")  # of a value, and of a derivative


class Broken(Exception):
    """A plant that does something else than make a number wrong."""


def measure(plant: Plant) -> list[np.ndarray]:
    """The numbers that the plant is to make wrong, on all samples of its row."""
    found: list[np.ndarray] = []
    for args, params in table.samples(plant.row):
        if plant.order == 0:
            found += [y.data for y in table.as_tuple(plant.row.primitive(*args, **params))]
        elif plant.argnum in table.floats(args):
            found += (first_derivative if plant.order == 1 else second_derivatives)(plant, args, params)
    return found


def waves(t: tg.Tensor) -> tg.Tensor:
    """A cotangent whose entries all differ."""
    return tg.tensor(np.cos(np.arange(t.size, dtype=t.dtype)).reshape(t.shape))


def first_derivative(plant: Plant, args: tuple, params: dict[str, Any]) -> list[np.ndarray]:
    """What the VJP of `argnum` returns when called by hand, before autodiff makes it fit."""
    with tg.no_grad():
        inputs = [tg.tensor(a) for a in args]
        ans = plant.row.primitive(*inputs, **params)
        g = tuple(map(waves, ans)) if isinstance(ans, tuple) else waves(ans)
        gx = plant.row.primitive.vjp_for(plant.argnum)(g, ans, *inputs, **params)
    return [] if gx is None else [gx.data]


def second_derivatives(plant: Plant, args: tuple, params: dict[str, Any]) -> list[np.ndarray]:
    """The gradient of the gradient by argument `argnum`, by all float arguments."""
    numbers = table.floats(args)

    def gradient(*values: tg.Tensor) -> tg.Tensor:
        inputs = list(args)
        for i, value in zip(numbers, values):
            inputs[i] = value

        def of_one(x: tg.Tensor) -> Any:
            return plant.row.primitive(*inputs[:plant.argnum], x, *inputs[plant.argnum + 1:], **params)
        y, pullback = tg.vjp(of_one, inputs[plant.argnum])
        return pullback(*map(waves, table.as_tuple(y)))[0]
    g, pullback = tg.vjp(gradient, *[args[i] for i in numbers])
    return [t.data for t in pullback(np.sin(1.0 + np.arange(g.size)).reshape(g.shape))]


def changes_something(plant: Plant) -> bool:
    """Whether the error makes a number wrong: not so a factor on zeros, a geometry where it does not matter.

    Raises:
        Broken: if it changes a shape.
    """
    with kernels.use_kernels(plant.family):
        right = measure(plant)
        with plant.wrong():
            wrong = measure(plant)
    if [a.shape for a in right] != [a.shape for a in wrong]:
        raise Broken(f"shapes {[a.shape for a in right]} became {[a.shape for a in wrong]}")
    return not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(right, wrong))


def outcome(plant: Plant) -> str:
    """ "killed" or "survived"; "harmless" if nothing changes; "broken: ..." if planting failed."""
    try:
        if not changes_something(plant):
            return "harmless"
        with kernels.use_kernels(plant.family), plant.wrong():
            if plant.order:
                table.check_gradients(plant.row, plant.order)
            else:
                table.check_value(plant.row)
    except Exception as e:
        compared = isinstance(e, AssertionError) and any(words in str(e) for words in COMPARED)
        return "killed" if compared else f"broken: {type(e).__name__}: {e}"
    return "survived"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only primitives whose name contains this")
    only = parser.parse_args().only
    start, counts, bad = time.perf_counter(), {}, []
    plants = candidates([row for row in table.ROWS if only in row.name])
    for number, plant in enumerate(plants, 1):
        print(f"\r{number}/{len(plants)} {plant.name:<70.70}", end="", file=sys.stderr)
        ending = outcome(plant)
        count = counts.setdefault(plant.row.name, {"killed": 0, "survived": 0, "broken": 0, "harmless": 0})
        count[ending.split(":")[0]] += 1
        bad += [(ending, plant)] if ending not in ("killed", "harmless") else []
    print(file=sys.stderr)
    print(f"{'primitive':<28}{'killed':>8}{'survived':>10}{'broken':>8}")
    for name, count in counts.items():
        print(f"{name:<28}{count['killed']:>8}{count['survived']:>10}{count['broken']:>8}")
    for ending, plant in bad:
        print(f"{plant.name}  {ending}")
    total = {ending: sum(count[ending] for count in counts.values()) for ending in ("killed", "survived", "broken")}
    print(f"{sum(total.values())} errors planted in {len(counts)} primitives: {total['killed']} killed, "
          f"{total['survived']} survived, {total['broken']} broken; {time.perf_counter() - start:.0f} s")
    return min(len(bad), 100)


if __name__ == "__main__":
    sys.exit(main())
