"""What every primitive must satisfy, run on every row of the op table.

The checks are functions of a row, so that `plant_errors.py` can run them on an op that it has
made wrong.
"""
from __future__ import annotations

import functools
import importlib
import pkgutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.families import FAMILIES
from tests.op_table import all_rows
from tests.op_table.row import Row, Sample
from tinygrad_conv.kernels.table import kernels
from tinygrad_conv.primitive import Primitive

ROWS = all_rows()


# ----- the table is complete -----

def all_primitives() -> dict[int, tuple[str, Primitive]]:
    """Every primitive that a module of the engine holds, by identity, with where it was found."""
    found = {}
    for info in pkgutil.walk_packages(tg.__path__, "tinygrad_conv."):
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            if isinstance(value, Primitive):
                found.setdefault(id(value), (f"{info.name}.{name}", value))
    return found


def test_every_primitive_has_a_row():
    in_table = {id(row.primitive) for row in ROWS}
    missing = [where for key, (where, _) in all_primitives().items() if key not in in_table]
    assert not missing, f"add a row to tests/op_table for: {', '.join(sorted(missing))}"


def test_every_row_is_of_a_primitive_and_there_is_one_each():
    known = all_primitives()
    assert [row.name for row in ROWS if id(row.primitive) not in known] == []
    names = [row.name for row in ROWS]
    assert sorted({name for name in names if names.count(name) > 1}) == []


# ----- samples -----

def samples(row: Row) -> list[Sample]:
    """The row's samples, the same in every run."""
    found = list(row.samples(np.random.default_rng(zlib.crc32(row.name.encode()))))
    assert found, f"{row.name}: the row has no samples"
    return found


def has_geometry(row: Row) -> bool:
    return any("geometry" in params for _, params in samples(row))


def has_kernels(row: Row) -> bool:
    return has_geometry(row) or row.name in kernels


RUNS = [(row, family) for row in ROWS for family in (FAMILIES if has_kernels(row) else [None])]
every_row = pytest.mark.parametrize(("row", "kernels"), RUNS, indirect=["kernels"], ids=[
    row.name + f"-{family}" * bool(family) for row, family in RUNS])


@contextmanager
def noted(row: Row, number: int, args: tuple, params: dict) -> Iterator[None]:
    """Say which sample it was if something fails."""
    try:
        yield
    except Exception as e:
        arrays = ", ".join(f"{np.asarray(a).dtype}{list(np.shape(a))}" for a in args)
        e.add_note(f"{row.name}, sample {number}: {arrays}, {params}")
        raise


def each_sample(row: Row) -> Iterator[Sample]:
    for number, (args, params) in enumerate(samples(row)):
        with noted(row, number, args, params):
            yield args, params


def floats(args: tuple) -> list[int]:
    return [i for i, a in enumerate(args) if np.asarray(a).dtype.kind == "f"]


def as_tuple(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def evaluate(row: Row, args: tuple, params: dict) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Values and, under cotangents that depend on their place, gradients of the float inputs."""
    inputs = [tg.from_numpy(a) for a in args]                 # shares, so that the layout is kept
    for i in floats(args) if row.order else ():
        inputs[i].requires_grad = True
    outputs = as_tuple(row.primitive(*inputs, **params))
    differentiable = [y for y in outputs if y.requires_grad]
    loss = None
    for y in differentiable:
        weight = np.cos(np.arange(y.size, dtype=y.dtype)).reshape(y.shape)
        part = (y * tg.tensor(weight)).sum()
        loss = part if loss is None else loss + part
    if loss is not None:
        loss.backward()
    gradients = [t.grad.data for t in inputs if t.grad is not None]
    return [y.data for y in outputs], gradients


def assert_same(ours: list, theirs: list, rtol: float = 1e-9, what: str = "") -> None:
    assert len(ours) == len(theirs), what
    for a, b in zip(ours, theirs):
        scale = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b))) if b.size else 0.0
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, err_msg=what)


# ----- the checks -----

def check_value(row: Row) -> None:
    for args, params in each_sample(row):
        ours = as_tuple(row.primitive(*args, **params))
        theirs = as_tuple(row.reference(*args, **params))
        assert len(ours) == len(theirs)
        for y, expected in zip(ours, theirs):
            expected = np.asarray(expected)
            assert y.shape == expected.shape
            np.testing.assert_allclose(y.data, expected, rtol=row.rtol, atol=row.atol)


def check_gradients(row: Row, order: int | None = None) -> None:
    for args, params in each_sample(row):
        if floats(args) and row.order:
            @functools.wraps(row.primitive.fn)
            def f(*tensors, _params=params):
                return row.primitive(*tensors, **_params)
            f.__name__ = row.name
            entries = max(np.size(a) for a in args)  # what a difference of sums loses to rounding grows with them
            tg.check_grads(f, args, order=order or row.order, atol=1e-9 * max(10, entries ** 0.5),
                           linear=[i for i in row.linear if i < len(args)])  # some samples have no bias


@every_row
def test_value(row):
    check_value(row)


@every_row
def test_gradients(row):
    check_gradients(row)


@every_row
def test_float32_is_kept(row):
    """By the kernel, by each VJP on its own, and by the gradient that arrives at the leaf."""
    for args, params in each_sample(row):
        if not floats(args) or "dtype" in params:             # told its dtype: astype
            continue
        narrow = tuple(a.astype(np.float32) if a.dtype.kind == "f" else a
                       for a in map(np.asarray, args))
        for y in as_tuple(row.primitive.fn(*narrow, **params)):
            assert np.asarray(y).dtype != np.float64, "the function itself computes in float64"
        values, gradients = evaluate(row, narrow, params)
        assert all(y.dtype != np.float64 for y in values)
        assert all(g.dtype == np.float32 for g in gradients)
        wide, wide_gradients = evaluate(row, tuple(map(np.asarray, args)), params)
        assert_same(values, wide, 1e-4, "float32 value")
        assert_same(gradients, wide_gradients, 1e-3, "float32 gradient")
        for gx in raw_vjps(row, narrow, params):
            assert gx is None or gx.dtype == np.float32, "a VJP computes in float64"


def raw_vjps(row: Row, args: tuple, params: dict) -> list[np.ndarray | None]:
    """What each VJP returns when called by hand, before autodiff makes it fit."""
    if not row.order:
        return []
    with tg.no_grad():
        inputs = [tg.tensor(a) for a in args]
        ans = row.primitive(*inputs, **params)
        seeds = [tg.tensor(np.ones_like(y.data)) for y in as_tuple(ans)]
        if any(y.dtype.kind == "f" for y in as_tuple(ans)):
            g = tuple(seeds) if isinstance(ans, tuple) else seeds[0]
            vjps = [row.primitive.vjp_for(i) for i in floats(args)]
            found = [None if vjp is None else vjp(g, ans, *inputs, **params) for vjp in vjps]
            return [None if gx is None else gx.data for gx in found]
    return []


def strided(a: np.ndarray) -> np.ndarray:
    """The same values as every second element, backwards, of a larger array."""
    if a.ndim == 0:
        return a
    big = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    view = big[..., ::-2] if a.shape[-1] else big
    view[...] = a
    return view


def fortran(a: np.ndarray) -> np.ndarray:
    return np.asarray(a, order="F")                           # np.asfortranarray adds an axis to ()


def channels_last(a: np.ndarray) -> np.ndarray:
    return (np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
            if a.ndim == 4 else a)


@every_row
@pytest.mark.parametrize("layout", [fortran, strided, channels_last])
def test_memory_layout_makes_no_difference(row, layout):
    for args, params in each_sample(row):
        args = tuple(map(np.asarray, args))
        moved = tuple(layout(a) for a in args)
        assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(args, moved))
        values, gradients = evaluate(row, args, params)
        moved_values, moved_gradients = evaluate(row, moved, params)
        assert_same(moved_values, values, what="value")
        assert_same(moved_gradients, gradients, what="gradient")


def empty_batches(args: tuple) -> Iterator[tuple]:
    """The arguments without any sample: the first alone, with its likes, with all of its length."""
    if args and args[0].ndim:
        rows, ndim = args[0].shape[0], args[0].ndim
        yield (args[0][:0], *args[1:])
        yield tuple(a[:0] if a.ndim == ndim and a.shape[0] == rows else a for a in args)
        yield tuple(a[:0] if a.ndim and a.shape[0] == rows else a for a in args)


@every_row
def test_zero_size(row):
    """Where the reference takes no rows at all (an empty batch), so does the op."""
    for args, params in each_sample(row) if row.empty else ():
        for empty in empty_batches(tuple(map(np.asarray, args))):
            try:
                with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
                    expected = as_tuple(row.reference(*empty, **params))
            except Exception:
                continue                                      # not defined there
            values, gradients = evaluate(row, empty, params)
            assert [y.shape for y in values] == [np.shape(y) for y in expected]
            shapes = {empty[i].shape for i in floats(empty)}
            assert all(g.shape in shapes for g in gradients)
            for y, e in zip(values, expected):
                np.testing.assert_allclose(y, e, rtol=row.rtol, atol=row.atol)
            break


@every_row
def test_inputs_and_cotangents_are_not_written_to(row):
    for args, params in each_sample(row):
        arrays = [np.array(a) for a in args]
        row.primitive.fn(*arrays, **params)
        for a, b in zip(arrays, args):
            same = np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
            assert same, "the function wrote into an input"
        if not row.order:
            continue
        with tg.no_grad():
            inputs = [tg.tensor(a) for a in arrays]
            ans = row.primitive(*inputs, **params)
            g = [tg.tensor(np.full_like(y.data, 3)) for y in as_tuple(ans)]
            before = [t.data.copy() for t in (*inputs, *as_tuple(ans), *g)]
            for i in floats(args):
                vjp = row.primitive.vjp_for(i)
                if vjp is not None:
                    vjp(tuple(g) if isinstance(ans, tuple) else g[0], ans, *inputs, **params)
            for t, b in zip((*inputs, *as_tuple(ans), *g), before):
                assert np.array_equal(t.data, b, equal_nan=b.dtype.kind == "f"), "a VJP wrote"


@every_row
def test_deterministic(row):
    for args, params in each_sample(row):
        args = tuple(map(np.asarray, args))
        first, second = evaluate(row, args, params), evaluate(row, args, params)
        for a, b in zip(first[0] + first[1], second[0] + second[1]):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@every_row
def test_a_result_is_not_overwritten_by_the_next_call(row):
    """Kernels may keep workspaces, never the memory of a result."""
    for args, params in each_sample(row):
        args = tuple(map(np.asarray, args))
        values, gradients = evaluate(row, args, params)
        before = [a.copy() for a in values + gradients]
        evaluate(row, tuple(a[::-1] if a.ndim and a.dtype.kind == "f" else a for a in args), params)
        for a, b in zip(values + gradients, before):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@every_row
def test_the_tape_can_print_it(row):
    args, params = samples(row)[0]
    if not (row.order and floats(args)):
        return
    inputs = [tg.tensor(a, requires_grad=i in floats(args)) for i, a in enumerate(args)]
    for y in as_tuple(row.primitive(*inputs, **params)):
        if y.requires_grad:
            assert f" = {row.name}(" in repr(tg.tape(y))
