"""A small language for kernels: Python functions that write LLVM's intermediate representation as text.

A `Code` is one function in the making; what it computes are `Value`s: 64-bit integers (indices), numbers,
vectors of numbers, pointers. Python's operators on them write instructions; Python's own integers
are constants of the kernel, and Python's own loops unroll. So

    def scale(x, n, a):                              # what NumPy writes  x *= a
        vector = code.vector(16)
        code.loop(0, n, 16, lambda i: code.store(code.load(x, i, vector) * code.spread(a, vector), x, i))

reads like the loop that it is. A loop may carry values from one turn to the next (accumulators, which so stay
in registers): `code.loop(0, n, 1, lambda i, total: [total + ...], start)`.
"""
from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence
from typing import Any

INDEX, POINTER, TRUTH = "i64", "ptr", "i1"


class Value:
    """The result of an instruction: its name in the text, and its type."""

    __slots__ = ("code", "name", "type")

    def __init__(self, code: Code, name: str, type: str) -> None:
        self.code, self.name, self.type = code, name, type

    def __str__(self) -> str:
        return self.name

    def __add__(self, other: Any) -> Any:
        return self if _is(other, 0) else self.code.binary("add", self, other)

    def __sub__(self, other: Any) -> Any:
        return self if _is(other, 0) else self.code.binary("sub", self, other)

    def __mul__(self, other: Any) -> Any:
        return 0 if _is(other, 0) else self if _is(other, 1) else self.code.binary("mul", self, other)

    def __truediv__(self, other: Any) -> Any:
        return self.code.binary("div", self, other)

    def __floordiv__(self, other: Any) -> Any:
        return self.code.binary("div", self, other)

    def __mod__(self, other: Any) -> Any:
        return self.code.binary("rem", self, other)

    def __lt__(self, other: Any) -> Value:
        return self.code.compare("slt", self, other)

    def __gt__(self, other: Any) -> Value:
        return self.code.compare("sgt", self, other)

    def __radd__(self, other: Any) -> Any:
        return self + other

    def __rmul__(self, other: Any) -> Any:
        return self * other


def _is(value: Any, number: int) -> bool:
    return isinstance(value, int) and value == number


def lanes_of(type: str) -> int:
    """How many numbers a vector type holds; 1 for a number."""
    return int(type[1:].split()[0]) if type.startswith("<") else 1


class Code:
    """One function in the making: `Code("float", x=POINTER, n=INDEX)`, its `arguments`, its text."""

    def __init__(self, number: str, **arguments: str) -> None:
        self.number, self.lines = number, ["entry:"]
        self.block, self.names, self.declared = "entry", itertools.count(), set[str]()
        self.arguments = [Value(self, f"%{key}", kind) for key, kind in arguments.items()]

    def text(self, name: str) -> str:
        """The whole module, with the function under that name."""
        arguments = ", ".join(f"{v.type}{' noalias' * (v.type == POINTER)} {v}" for v in self.arguments)
        return "\n".join([*sorted(self.declared), f"define void @{name}({arguments}) {{",
                          *self.lines, "  ret void", "}", ""])

    def vector(self, lanes: int) -> str:
        """The type of that many numbers in one register."""
        return f"<{lanes} x {self.number}>" if lanes > 1 else self.number

    def constant(self, value: float, type: str = "") -> Value:
        """A number of the kernel's own, in every lane of a vector."""
        text = "0x" + struct.pack(">d", value).hex().upper()  # LLVM writes floats as doubles, too
        return self.spread(Value(self, text, self.number), type or self.number)

    # ----- instructions -----

    def emit(self, type: str, instruction: str) -> Value:
        value = Value(self, f"%v{next(self.names)}", type)
        self.lines.append(f"  {value} = {instruction}")
        return value

    def binary(self, name: str, a: Value, b: Any) -> Value:
        prefix = {"div": "s", "rem": "s"}.get(name, "") if a.type == INDEX else "f"
        return self.emit(a.type, f"{prefix}{name} {a.type} {a}, {b}")

    def compare(self, how: str, a: Value, b: Any) -> Value:
        """LLVM's names: of indices "slt", of numbers "oeq" or "ugt" (o: false for NaN, u: true for NaN)."""
        return self.emit(a.type.replace(self.number, TRUTH) if a.type != INDEX else TRUTH,
                         f"{'icmp' if a.type == INDEX else 'fcmp'} {how} {a.type} {a}, {b}")

    def both(self, a: Value, b: Value) -> Value:
        return self.emit(a.type, f"and {a.type} {a}, {b}")

    def either(self, a: Value, b: Value) -> Value:
        return self.emit(a.type, f"or {a.type} {a}, {b}")

    def no(self, a: Value) -> Value:
        """The opposite of a truth, or of each of a vector."""
        return self.emit(a.type, f"xor {a.type} {a}, {'true' if a.type == TRUTH else 'splat (i1 true)'}")

    def none(self, type: str) -> Value:
        """False, for every lane of a vector."""
        return Value(self, "zeroinitializer" if type.startswith("<") else "false", type.replace(self.number, TRUTH))

    def nan(self, a: Value) -> Value:
        """Where a is not a number."""
        return self.compare("uno", a, a)

    def select(self, condition: Value, a: Any, b: Any) -> Value:
        kind = next(v.type for v in (a, b, condition) if isinstance(v, Value))
        return self.emit(kind, f"select {condition.type} {condition}, {kind} {a}, {kind} {b}")

    def least(self, a: Value, b: Any) -> Value:
        """The smaller of two indices."""
        return self.select(a < b, a, b)

    def call(self, name: str, type: str, *arguments: Value | str) -> Value:
        """An intrinsic of LLVM's, declared where first used."""
        kinds = [a.type if isinstance(a, Value) else _type_of(a) for a in arguments]
        self.declared.add(f"declare {type} @{name}({', '.join(kinds)})")
        given = ", ".join(f"{a.type} {a}" if isinstance(a, Value) else a for a in arguments)
        if type == "void":
            self.lines.append(f"  call void @{name}({given})")
            return Value(self, "", type)
        return self.emit(type, f"call {type} @{name}({given})")

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """a * b + c, rounded once."""
        return self.call(f"llvm.fma.{_suffix(c.type)}", c.type, a, b, c)

    def total(self, v: Value) -> Value:
        """The sum of a vector's numbers, added up pairwise."""
        if lanes_of(v.type) == 1:
            return v
        name = f"llvm.vector.reduce.fadd.{_suffix(v.type)}"
        self.declared.add(f"declare {self.number} @{name}({self.number}, {v.type})")
        return self.emit(self.number, f"call reassoc {self.number} @{name}({self.number} -0.0, {v.type} {v})")

    # ----- memory: pointers count in numbers -----

    def at(self, pointer: Value, index: Any, type: str = "") -> Value:
        """The address `index` numbers further."""
        if _is(index, 0):
            return pointer
        return self.emit(POINTER, f"getelementptr {type or self.number}, ptr {pointer}, i64 {index}")

    def load(self, pointer: Value, index: Any, type: str, count: int = 0) -> Value:
        """A number or vector; only its first `count` numbers are read, if given, and the rest are 0."""
        where, align = self.at(pointer, index), self._align(type)
        if not count or count == lanes_of(type):
            return self.emit(type, f"load {type}, ptr {where}, align {align}")
        return self.call(f"llvm.masked.load.{_suffix(type)}.p0", type, where, f"i32 {align}",
                         self._first(count, type), f"{type} zeroinitializer")

    def store(self, v: Value, pointer: Value, index: Any, count: int = 0) -> None:
        """Write a number or vector; only its first `count` numbers, if given."""
        where, align = self.at(pointer, index), self._align(v.type)
        if not count or count == lanes_of(v.type):
            self.lines.append(f"  store {v.type} {v}, ptr {where}, align {align}")
        else:
            self.call(f"llvm.masked.store.{_suffix(v.type)}.p0", "void", v, where, f"i32 {align}",
                      self._first(count, v.type))

    def read(self, table: Value, index: Any) -> Value:
        """An entry of an array of indices."""
        return self.emit(INDEX, f"load i64, ptr {self.at(table, index, INDEX)}, align 8")

    def copy(self, to: Value, source: Value, count: Any) -> None:
        """So many numbers from one place to another."""
        self.call("llvm.memcpy.p0.p0.i64", "void", to, source, f"i64 {self.bytes(count)}", "i1 false")

    def clear(self, to: Value, count: Any) -> None:
        """So many zeros."""
        self.call("llvm.memset.p0.i64", "void", to, "i8 0", f"i64 {self.bytes(count)}", "i1 false")

    def bytes(self, count: Any) -> Any:
        return count * {"float": 4, "double": 8}[self.number]

    def spread(self, v: Value, type: str) -> Value:
        """A number in every lane of a vector."""
        if lanes_of(type) == 1:
            return v
        one = self.emit(type, f"insertelement {type} poison, {v.type} {v}, i32 0")
        return self.emit(type, f"shufflevector {type} {one}, {type} poison, "
                               f"<{lanes_of(type)} x i32> zeroinitializer")

    def _align(self, type: str) -> int:
        return 8 if "double" in type else 4

    def _first(self, count: int, type: str) -> str:
        n = lanes_of(type)
        return f"<{n} x i1> <{', '.join(f'i1 {int(k < count)}' for k in range(n))}>"

    # ----- control -----

    def loop(self, lo: Any, hi: Any, step: Any, body: Callable[..., Any],
             *carried: Value) -> list[Value]:
        """`body(i, *carried)` for i in range(lo, hi, step); what it returns is carried to the next turn.

        Returns what the last turn gave, or `carried` if there was none.
        """
        head, inside, after = (f"b{next(self.names)}" for _ in range(3))
        before, i = self.block, Value(self, f"%v{next(self.names)}", INDEX)
        values = [Value(self, f"%v{next(self.names)}", v.type) for v in carried]
        self._branch(head)
        self._begin(head)
        mark = len(self.lines)
        go = self.emit(TRUTH, f"icmp slt i64 {i}, {hi}")
        self.lines.append(f"  br i1 {go}, label %{inside}, label %{after}")
        self._begin(inside)
        result = body(i, *values)
        given = list(result) if carried else []
        following = self.emit(INDEX, f"add i64 {i}, {step}")
        last = self.block
        self._branch(head)
        self.lines[mark:mark] = [f"  {i} = phi i64 [{lo}, %{before}], [{following}, %{last}]", *[
            f"  {v} = phi {v.type} [{start}, %{before}], [{end}, %{last}]"
            for v, start, end in zip(values, carried, given)]]
        self._begin(after)
        return values

    def when(self, condition: Value, body: Callable[[], None], otherwise: Callable[[], None] | None = None
             ) -> None:
        """Do the one or the other."""
        yes, no, after = (f"b{next(self.names)}" for _ in range(3))
        self.lines.append(f"  br i1 {condition}, label %{yes}, label %{no}")
        for label, part in ((yes, body), (no, otherwise)):
            self._begin(label)
            if part is not None:
                part()
            self._branch(after)
        self._begin(after)

    def choose(self, condition: Value, body: Callable[..., Sequence[Value]], carried: Sequence[Value]
               ) -> list[Value]:
        """`body(*carried)` where the condition holds, else `carried`."""
        yes, after, before = f"b{next(self.names)}", f"b{next(self.names)}", self.block
        self.lines.append(f"  br i1 {condition}, label %{yes}, label %{after}")
        self._begin(yes)
        given, last = body(*carried), self.block
        self._branch(after)
        self._begin(after)
        return [self.emit(a.type, f"phi {a.type} [{a}, %{last}], [{b}, %{before}]") for a, b in zip(given, carried)]

    def _branch(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def _begin(self, label: str) -> None:
        self.block = label
        self.lines.append(f"{label}:")


def every_block(code: Code, count: int, block: int, body: Callable[[Any, int], None]) -> None:
    """`body(k, left)` for each block of `count`, of which `left` are there: all of them but in the last."""
    if count // block == 1:
        body(0, block)
    elif count >= block:
        code.loop(0, count // block, 1, lambda k: body(k, block))
    if count % block:
        body(count // block, count % block)


def _type_of(constant: str) -> str:
    """The type at the head of "i64 3" or "<4 x float> zeroinitializer"."""
    return constant[:constant.index(">") + 1] if constant.startswith("<") else constant.split()[0]


def _suffix(type: str) -> str:
    """How LLVM writes a type within a name: v16f32."""
    number = "f64" if "double" in type else "f32"
    return f"v{lanes_of(type)}{number}" if type.startswith("<") else number
