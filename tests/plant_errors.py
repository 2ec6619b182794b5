"""Plant an error in every derivative, one at a time, and see that the op table notices each.

    python tests/plant_errors.py [--only NAME]

For each primitive and each argument: the VJP times 1.001; plus 0.001; some entries of the
cotangent dropped; some of the result dropped; the inputs seen as constants (which is wrong only
at order 2); stride and dilation swapped, or the padding mirrored, where there are such. In the
kernels of the conv family: the flip left out, a tap dropped, planes averaged. Prints a table and
the survivors, and exits with their number: it must be 0.
"""
from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import tinygrad_conv as tg
from tests import test_op_table as table
from tests.op_table.row import Row
from tinygrad_conv.kernels import conv as kernels
from tinygrad_conv.primitive import Primitive


@dataclass(frozen=True)
class Plant:
    """One error: where, what, and a context manager that makes the op wrong."""

    row: Row
    what: str
    wrong: Callable[[], Any]
    order: int = 1

    @property
    def name(self) -> str:
        return f"{self.row.name}: {self.what}"


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
    ans = tuple(t.detach() for t in ans) if isinstance(ans, tuple) else ans.detach()
    return vjp(g, ans, *[x.detach() for x in xs], **params)


def stride_and_dilation_swapped(vjp, g, ans, *xs, **params):
    swapped = {"stride": params["dilation"], "dilation": params["stride"]}
    return vjp(g, ans, *xs, **{**params, **swapped})


def padding_mirrored(vjp, g, ans, *xs, **params):
    mirrored = tuple(sides[::-1] for sides in params["padding"])
    return vjp(g, ans, *xs, **{**params, "padding": mirrored})


def axes_swapped(vjp, g, ans, *xs, **params):
    return vjp(g, ans, *xs, **{**params, "stride": params["stride"][::-1]})


ERRORS = [("x 1.001", times, 1), ("+ 0.001", plus, 1),
          ("cotangent entries dropped", cotangent_entries_dropped, 1),
          ("result entries dropped", result_entries_dropped, 1),
          ("inputs as constants", inputs_as_constants, 2),
          ("stride and dilation swapped", stride_and_dilation_swapped, 1),
          ("padding mirrored", padding_mirrored, 1), ("stride transposed", axes_swapped, 1)]


@contextmanager
def planted(primitive: Primitive, argnum: int, error: Callable) -> Iterator[None]:
    """Replace one VJP by a wrong one."""
    vjps, variadic = primitive.vjps, primitive.variadic_vjp
    if variadic is not None:
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
        primitive.vjps, primitive.variadic_vjp = vjps, variadic


def vjp_plants(row: Row) -> Iterator[Plant]:
    counts = [len(args) for args, _ in table.samples(row)]
    for argnum in range(max(counts)):
        for what, error, order in ERRORS:
            if row.order >= order and changes_something(row, argnum, error, order):
                yield Plant(row, f"argument {argnum}, {what}",
                            lambda a=argnum, e=error: planted(row.primitive, a, e), order)


def changes_something(row: Row, argnum: int, error: Callable, order: int) -> bool:
    """Whether the error makes any difference: not to a zero, nor to what ignores the geometry."""
    for args, params in table.samples(row):
        if argnum not in table.floats(args) or row.primitive.vjp_for(argnum) is None:
            continue
        if order == 2:
            if depends_on_inputs(row, args, params, argnum):
                return True
            continue
        place = table.floats(args).index(argnum)
        try:
            right = table.raw_vjps(row, args, params)[place]
            with planted(row.primitive, argnum, error):
                wrong = table.raw_vjps(row, args, params)[place]
        except KeyError:
            return False                                      # no such parameter
        except (ValueError, IndexError, TypeError):
            return True
        if right is not None and not np.array_equal(right, wrong):
            return True
    return False


def depends_on_inputs(row: Row, args: tuple, params: dict, argnum: int) -> bool:
    nums = table.floats(args)

    def pulled(*values):
        inputs = [dict(zip(nums, values)).get(i, a) for i, a in enumerate(args)]
        _, pullback = tg.vjp(lambda x: row.primitive(
            *[x if i == argnum else a for i, a in enumerate(inputs)], **params), inputs[argnum])
        y = row.primitive(*inputs, **params)
        return pullback(*[np.cos(np.arange(t.size, dtype=t.dtype)).reshape(t.shape)
                          for t in table.as_tuple(y)])[0]
    g, pullback = tg.vjp(pulled, *[args[i] for i in nums])
    seed = np.sin(1.0 + np.arange(g.size)).reshape(g.shape)
    return any(np.any(t.data) for t in pullback(seed))


# ----- errors in the structure of a convolution -----

def swap(window):
    return replace(window, stride=window.dilation, dilation=window.stride)


def flip(w):
    return np.ascontiguousarray(w[:, :, ::-1, ::-1])


def without_first_tap(w):
    w = w.copy()
    w[:, :, 0, 0] = 0
    return w


KERNEL_ERRORS = {
    "conv2d": {
        "the filter flipped": lambda f: lambda x, w, b, *a: f(x, flip(w), b, *a),
        "a tap dropped": lambda f: lambda x, w, b, *a: f(x, without_first_tap(w), b, *a),
        "stride and dilation swapped": lambda f: lambda x, w, b, win, n: f(x, w, b, swap(win), n),
        "the bias dropped": lambda f: lambda x, w, b, *a: f(x, w, None, *a),
    },
    "input_adjoint": {
        "the flip left out": lambda f: lambda g, w, b, *a: f(g, flip(w), b, *a),
        "a tap dropped": lambda f: lambda g, w, b, *a: f(g, without_first_tap(w), b, *a),
        "stride and dilation swapped": lambda f: lambda g, w, b, win, n: f(g, w, b, swap(win), n),
        "the last sample dropped": lambda f: lambda g, *a: f(
            g * (np.arange(len(g)) < len(g) - 1)[:, None, None, None], *a),
    },
    "weight_adjoint": {
        "the result flipped": lambda f: lambda *a: flip(f(*a)),
        "a tap dropped": lambda f: lambda *a: without_first_tap(f(*a)),
        "stride and dilation swapped": lambda f: lambda g, x, win, n: f(g, x, swap(win), n),
        "averaged over the channels": lambda f: lambda *a: np.broadcast_to(
            (r := f(*a)).mean(axis=1, keepdims=True), r.shape).copy(),
        "divided by the batch": lambda f: lambda g, *a: f(g, *a) / len(g),
    },
}
MADE_BY = {"conv2d": "conv2d", "input_adjoint": "conv_transpose2d",
           "weight_adjoint": "conv2d_weight"}


@contextmanager
def patched(name: str, wrap: Callable) -> Iterator[None]:
    right = getattr(kernels, name)
    setattr(kernels, name, wrap(right))
    try:
        yield
    finally:
        setattr(kernels, name, right)


def kernel_plants(row: Row) -> Iterator[Plant]:
    for name, errors in KERNEL_ERRORS.items():
        if MADE_BY[name] == row.name:
            for what, wrap in errors.items():
                yield Plant(row, what, lambda n=name, w=wrap: patched(n, w), 0)


# ----- the run -----

def plants(rows: list[Row]) -> list[Plant]:
    """Every error there is to plant, by primitive."""
    return [plant for row in rows for plant in (*vjp_plants(row), *kernel_plants(row))]


def survives(plant: Plant) -> bool:
    """Whether the checks of the op stay green although it is wrong."""
    with plant.wrong():
        try:
            if plant.order:
                table.check_gradients(plant.row, plant.order)
            else:
                table.check_value(plant.row)
        except Exception:
            return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only primitives whose name contains this")
    only = parser.parse_args().only
    start, alive, counts = time.perf_counter(), [], {}
    everything = plants([row for row in table.ROWS if only in row.name])
    for number, plant in enumerate(everything, 1):
        print(f"\r{number}/{len(everything)} {plant.name:<70.70}", end="", file=sys.stderr)
        lives = survives(plant)
        planted_, survived = counts.get(plant.row.name, (0, 0))
        counts[plant.row.name] = (planted_ + 1, survived + lives)
        alive += [plant] if lives else []
    print(file=sys.stderr)
    print(f"{'primitive':<28}{'planted':>8}{'survived':>10}")
    for name, (planted_, survived) in counts.items():
        print(f"{name:<28}{planted_:>8}{survived:>10}")
    for plant in alive:
        print(f"SURVIVED  {plant.name}")
    print(f"{len(everything)} errors planted in {len(counts)} primitives, {len(alive)} survived, "
          f"{time.perf_counter() - start:.0f} s")
    return min(len(alive), 100)


if __name__ == "__main__":
    sys.exit(main())
