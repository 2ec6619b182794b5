"""A rule of arithmetic as machine code: it is run once, on stand-ins that write the kernel.

All rows of arrays go through one kernel, block by block; which array a block belongs to stands in a table.
"""
from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from ..geometry import REMEMBERED
from ..overwrite import Rule
from .arrays import NUMBERS, lanes_for, made, places
from .ir import INDEX, POINTER, Code, Value
from .launch import BYTES_WORTH_THREADS, launch, parts_of

BLOCK = 1 << 12  # entries


class Entry:
    """What a rule sees in place of an array or a number: some entries of it, in a vector."""

    def __init__(self, code: Code, value: Value) -> None:
        self.code, self.value = code, value

    def _taken(self, other: Any) -> Value:
        """Another operand; a number of the rule's own becomes a constant."""
        if isinstance(other, Entry):
            return other.value
        kind = {"float": np.float32, "double": np.float64}[self.code.number]
        return self.code.constant(float(kind(other)), self.value.type)

    def _with(self, name: str, a: Value, b: Value) -> Entry:
        return Entry(self.code, self.code.binary(name, a, b))

    def __add__(self, other: Any) -> Entry:
        return self._with("add", self.value, self._taken(other))

    def __radd__(self, other: Any) -> Entry:
        return self._with("add", self._taken(other), self.value)

    def __sub__(self, other: Any) -> Entry:
        return self._with("sub", self.value, self._taken(other))

    def __rsub__(self, other: Any) -> Entry:
        return self._with("sub", self._taken(other), self.value)

    def __mul__(self, other: Any) -> Entry:
        return self._with("mul", self.value, self._taken(other))

    def __rmul__(self, other: Any) -> Entry:
        return self._with("mul", self._taken(other), self.value)

    def __truediv__(self, other: Any) -> Entry:
        return self._with("div", self.value, self._taken(other))

    def __rtruediv__(self, other: Any) -> Entry:
        return self._with("div", self._taken(other), self.value)

    def __neg__(self) -> Entry:
        return Entry(self.code, self.code.emit(self.value.type, f"fneg {self.value.type} {self.value}"))

    def __pow__(self, exponent: Any) -> Entry:
        if exponent == 0.5:
            return Entry(self.code, self.code.root(self.value))
        if exponent in (2, -1):
            return self * self if exponent == 2 else 1.0 / self
        raise NotImplementedError(f"overwrite: a rule may take powers of 0.5, 2 and -1, got {exponent!r}")


def ruled(rule: Rule, constants: tuple[Any, ...], number: str, lanes: int, arrays: int, numbers: int
          ) -> Code:
    """The kernel of a rule with these constants, for `blocks` (row, its first entry, how many) from `first`.

    `table` holds the places of all arrays, row by row.
    """
    code = Code(number, table=POINTER, blocks=POINTER, numbers=POINTER, first=INDEX, last=INDEX)
    table, blocks, given, first, last = code.arguments
    vector = code.vector(lanes)
    constants = [code.load(given, k, number) for k in range(numbers)]

    def some(places: Sequence[Value], i: Value, type: str) -> None:
        entries = [Entry(code, code.load(place, i, type)) for place in places]
        for place, value in zip(places, rule(*entries, *[
                Entry(code, code.spread(constant, type)) for constant in constants])):
            code.store(value.value, place, i)
    for u in code.range(first, last):
        row, lo, count = (code.read(blocks, u * 3 + k) for k in range(3))
        places = [code.at(code.pointer(table, row * arrays + k), lo) for k in range(arrays)]
        whole = count - count % lanes
        for i in code.range(0, whole, lanes):
            some(places, i, vector)
        for i in code.range(whole, count):
            some(places, i, number)
    return code


@lru_cache(REMEMBERED)
def _blocks(sizes: tuple[int, ...]) -> np.ndarray:
    return np.array([(row, lo, min(BLOCK, size - lo)) for row, size in enumerate(sizes)
                     for lo in range(0, size, BLOCK)], np.int64).reshape(-1, 3)


def overwrite(rule: Rule, rows: Sequence[Sequence[np.ndarray]], numbers: Sequence[float],
              written: int) -> None:
    """a, b, ... = rule(a, b, ..., *numbers) for each row; arrays that are only read may lie anyhow."""
    dtype, count = rows[0][0].dtype, len(rows[0])
    rows = [[np.ascontiguousarray(a) for a in row] for row in rows]
    blocks = _blocks(tuple([row[0].size for row in rows]))
    table, given = np.array([places(*row) for row in rows], np.int64), np.array(numbers, dtype)
    number = NUMBERS[dtype]
    launch(made(ruled, rule, _constants(rule), number, lanes_for(number, BLOCK), count, len(numbers)),
           places(table, blocks, given), len(blocks),
           parts_of(len(blocks), BLOCK * len(blocks) * count * dtype.itemsize / BYTES_WORTH_THREADS))


def _constants(rule: Rule) -> tuple[Any, ...]:
    """The numbers that a rule has from the function around it, which may change: they are part of its kernel.

    Raises:
        ValueError: if one is not set yet.
    """
    return tuple([cell.cell_contents for cell in rule.__closure__ or ()])


@lru_cache(REMEMBERED)
def _writes(rule: Rule, constants: tuple[Any, ...], arrays: int, numbers: int) -> bool:
    """Whether a rule, tried on stand-ins, is arithmetic that a kernel can do."""
    try:
        ruled(rule, constants, "float", 1, arrays, numbers)
    except Exception:  # of the rule's own: NumPy computes it, or raises its error
        return False
    return True


@lru_cache(REMEMBERED)
def _closed(code: CodeType) -> bool:
    """Whether a function uses no global names, no attributes, and no functions inside it."""
    return not code.co_names and not any([isinstance(constant, CodeType) for constant in code.co_consts])


def _known(rule: Rule, arrays: int, numbers: int) -> bool:
    """Whether a rule is always the same arithmetic: it uses its arguments, and numbers of those around it."""
    if not isinstance(rule, FunctionType) or not _closed(rule.__code__) or rule.__defaults__:
        return False
    try:
        constants = _constants(rule)
    except ValueError:
        return False
    return all([isinstance(c, bool | int | float | None) for c in constants]) and _writes(
        rule, constants, arrays, numbers)


def serves(rule: Rule, rows: Sequence[Sequence[np.ndarray]], numbers: Sequence[float], written: int) -> bool:
    """Whether it is arithmetic of one dtype that LLVM knows, and what is written lies densely."""
    dtype = rows[0][0].dtype
    return dtype in NUMBERS and _known(rule, len(rows[0]), len(numbers)) and all([
        a.dtype == dtype and (k >= written or a.flags.c_contiguous and a.flags.aligned)
        for row in rows for k, a in enumerate(row)])
