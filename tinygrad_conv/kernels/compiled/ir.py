"""A small language for kernels: Python functions that write LLVM's intermediate representation as text.

A `Code` is one function in the making; what it computes are `Value`s: 64-bit integers (indices), numbers,
vectors of numbers (as many as a register of the CPU holds: its lanes), pointers. Python's operators on them
write instructions; Python's own integers are constants of the kernel. Python's own loops write their body
again and again, so that it is unrolled; `code.range` writes it once, inside a loop of the kernel. So

    def scale(x, n, a):                              # what NumPy writes  x *= a, for n a multiple of 16
        vector = code.vector(16)
        for i in code.range(0, n, 16):
            code.store(code.load(x, i, vector) * code.spread(a, vector), x, i)

reads like the loop that it is. A loop may carry values from one turn to the next (sums, which so stay in
registers): `code.loop(0, n, 1, lambda i, total: [total + ...], start)`.

In the text, every value is written once and never again (static single assignment). What differs from turn to
turn is a `phi`: "this, if we come from before the loop; that, if from its end".
"""
from __future__ import annotations

import itertools
import linecache
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

INDEX, POINTER, TRUTH = "i64", "ptr", "i1"
END = "  ; end"  # of the loop that was begun last
GIVEN = "%first", "%last", "%part"  # to every kernel, if it asks for them


class Value:
    """The result of an instruction: its name in the text, and its type.

    The operators need a value on the left, or + and *. They leave out what changes nothing: x + 0, x * 1.
    """

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
    """One function in the making, of numbers of one kind ("float" or "double"), its `arguments`, its `text`.

    Example:
        >>> code = Code("double", x=POINTER)
        >>> x, = code.arguments
        >>> code.store(code.load(x, 2, "double") + code.constant(1.0), x, 0)
        >>> print(code.text("first_is_third_and_one"))
        define internal void @body(ptr noalias %x) {
        entry:
          %v0 = getelementptr double, ptr %x, i64 2
          %v1 = load double, ptr %v0, align 8
          %v2 = fadd double %v1, 0x3FF0000000000000
          store double %v2, ptr %x, align 8
          ret void
        }
        define void @first_is_third_and_one(ptr %given, i64 %first, i64 %last, i64 %part) {
          %at0 = getelementptr i64, ptr %given, i64 0
          %place0 = load ptr, ptr %at0
          %x = load ptr, ptr %place0
          call void @body(ptr %x)
          ret void
        }
        <BLANKLINE>

    The arguments first, last and part are given to every kernel: see `launch`. All others lie in one array;
    for a pointer, the place where it stands: see `arrays.places`.
    """

    def __init__(self, number: str, **arguments: str) -> None:
        self.number, self.lines = number, ["entry:"]
        self.block, self.names, self.declared = "entry", itertools.count(), set[str]()
        self.arguments = [Value(self, f"%{key}", kind) for key, kind in arguments.items()]

    def text(self, name: str) -> str:
        """The whole module, with the function under that name; what one pointer writes, no other leads to."""
        arguments = ", ".join(f"{v.type}{' noalias' * (v.type == POINTER)} {v}" for v in self.arguments)
        given = [v for v in self.arguments if v.name not in GIVEN]
        return "\n".join([
            *sorted(self.declared), f"define internal void @body({arguments}) {{", *self.lines, "  ret void",
            "}", f"define void @{name}(ptr %given, {', '.join(f'{INDEX} {key}' for key in GIVEN)}) {{",
            *[f"  %at{k} = getelementptr i64, ptr %given, i64 {k}\n" + (
                f"  %place{k} = load ptr, ptr %at{k}\n  {v} = load ptr, ptr %place{k}" if v.type == POINTER
                else f"  {v} = load {v.type}, ptr %at{k}") for k, v in enumerate(given)],
            f"  call void @body({', '.join(f'{v.type} {v}' for v in self.arguments)})", "  ret void", "}",
            ""])

    def vector(self, lanes: int) -> str:
        """The type of that many numbers in one register."""
        return f"<{lanes} x {self.number}>" if lanes > 1 else self.number

    def constant(self, value: float, type: str = "") -> Value:
        """A number of the kernel's own, one that its type holds exactly, in every lane of a vector."""
        text = "0x" + struct.pack(">d", value).hex().upper()  # LLVM writes floats as doubles, too
        return self.spread(Value(self, text, self.number), type or self.number)

    # ----- instructions -----

    def emit(self, type: str, instruction: str) -> Value:
        """The result, of that type, of an instruction written as text."""
        value = Value(self, f"%v{next(self.names)}", type)
        self.lines.append(f"  {value} = {instruction}")
        return value

    def binary(self, name: str, a: Value, b: Any) -> Value:
        """ "add", "sub", "mul", "div" or "rem", of two indices, numbers or vectors."""
        prefix = {"div": "s", "rem": "s"}.get(name, "") if a.type == INDEX else "f"
        return self.emit(a.type, f"{prefix}{name} {a.type} {a}, {b}")

    def compare(self, how: str, a: Value, b: Any) -> Value:
        """LLVM's names: of indices "slt", of numbers "oeq" or "ugt" (o: false for NaN, u: true for NaN)."""
        return self.emit(a.type.replace(self.number, TRUTH) if a.type != INDEX else TRUTH,
                         f"{'icmp' if a.type == INDEX else 'fcmp'} {how} {a.type} {a}, {b}")

    def both(self, a: Value, b: Value) -> Value:
        """Whether a and b hold, lane by lane."""
        return self.emit(a.type, f"and {a.type} {a}, {b}")

    def either(self, a: Value, b: Value) -> Value:
        """Whether one of a and b holds, lane by lane."""
        return self.emit(a.type, f"or {a.type} {a}, {b}")

    def no(self, a: Value) -> Value:
        """The opposite of a truth, or of each of a vector."""
        return self.emit(a.type, f"xor {a.type} {a}, {'true' if a.type == TRUTH else 'splat (i1 true)'}")

    def none(self, type: str) -> Value:
        """False, for every lane of a vector."""
        return Value(self, "zeroinitializer" if type.startswith("<") else "false",
                     type.replace(self.number, TRUTH))

    def nan(self, a: Value) -> Value:
        """Where a is not a number."""
        return self.compare("uno", a, a)

    def select(self, condition: Value, a: Any, b: Any) -> Value:
        """a where the condition holds, else b: of indices, or lane by lane."""
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

    def root(self, v: Value) -> Value:
        """The square root."""
        return self.call(f"llvm.sqrt.{_suffix(v.type)}", v.type, v)

    def rounded(self, v: Value) -> Value:
        """The nearest whole number; of two, the even one."""
        return self.call(f"llvm.rint.{_suffix(v.type)}", v.type, v)

    def power_of_two(self, v: Value) -> Value:
        """2 to a power that is a whole number and whose result is neither 0 nor infinite; of nan, 1."""
        kind, bias, bits = ("i64", 1023, 52) if "double" in v.type else ("i32", 127, 23)
        whole, several = v.type.replace(self.number, kind), v.type.startswith("<")
        n = self.call(f"llvm.fptosi.sat.{f'v{lanes_of(v.type)}' * several}{kind}.{_suffix(v.type)}", whole, v)
        biased = self.emit(whole, f"add {whole} {n}, {f'splat ({kind} {bias})' if several else bias}")
        shifted = self.emit(whole, f"shl {whole} {biased}, {f'splat ({kind} {bits})' if several else bits}")
        return self.emit(v.type, f"bitcast {whole} {shifted} to {v.type}")

    def kept(self, v: Value, other: Value, count: int) -> Value:
        """The first `count` numbers of v, and else those of `other`."""
        if count == lanes_of(v.type):
            return v
        return self.emit(v.type, f"select {self._first(count, v.type)}, {v.type} {v}, {v.type} {other}")

    def largest(self, v: Value) -> Value:
        """The largest of a vector's numbers; nan counts nothing."""
        if not v.type.startswith("<"):
            return v
        name = f"llvm.vector.reduce.fmax.{_suffix(v.type)}"
        return self.call(name, self.number, v)

    def widened(self, v: Value) -> Value:
        """A number or vector as float64."""
        if "double" in v.type:
            return v
        wide = v.type.replace("float", "double")
        return self.emit(wide, f"fpext {v.type} {v} to {wide}")

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

    def pointer(self, table: Value, index: Any) -> Value:
        """The pointer that stands at a place, an entry of an array of places."""
        place = self.emit(POINTER, f"load ptr, ptr {self.at(table, index, INDEX)}, align 8")
        return self.emit(POINTER, f"load ptr, ptr {place}, align 8")

    def copy(self, to: Value, source: Value, count: Any) -> None:
        """So many numbers from one place to another."""
        self.call("llvm.memcpy.p0.p0.i64", "void", to, source, f"i64 {self.bytes(count)}", "i1 false")

    def clear(self, to: Value, count: Any) -> None:
        """So many zeros."""
        self.call("llvm.memset.p0.i64", "void", to, "i8 0", f"i64 {self.bytes(count)}", "i1 false")

    def bytes(self, count: Any) -> Any:
        """How many bytes so many numbers take."""
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
        """The mask that holds for the first lanes."""
        n = lanes_of(type)
        return f"<{n} x i1> <{', '.join(f'i1 {int(k < count)}' for k in range(n))}>"

    # ----- control -----

    def range(self, lo: Any, hi: Any, step: Any = 1) -> Iterator[Value]:
        """`for i in code.range(lo, hi):` a loop of the kernel, whose body Python runs once, to write it."""
        return self._turns(lo, hi, step, [], [], [])

    def loop(self, lo: Any, hi: Any, step: Any, body: Callable[..., Any], *carried: Value) -> list[Value]:
        """`body(i, *carried)` for i in range(lo, hi, step); what it returns is carried to the next turn.

        Returns what the last turn gave, or `carried` if there was none.
        """
        values = [Value(self, f"%v{next(self.names)}", v.type) for v in carried]
        given: list[Value] = []
        for i in self._turns(lo, hi, step, values, carried, given):
            given += body(i, *values) or ()
        return values

    def _turns(self, lo: Any, hi: Any, step: Any, values: Sequence[Value], starts: Sequence[Value],
               ends: Sequence[Value]) -> Iterator[Value]:
        """A loop around what is written while this waits; `values` are `starts` first, and then `ends`."""
        head, inside, after = (f"b{next(self.names)}" for _ in range(3))
        before, i = self.block, Value(self, f"%v{next(self.names)}", INDEX)
        self.lines.append(f"  ; {_written_as(sys._getframe())}")
        self._branch(head)
        self._begin(head)
        mark = len(self.lines)
        go = self.emit(TRUTH, f"icmp slt i64 {i}, {hi}")
        self.lines.append(f"  br i1 {go}, label %{inside}, label %{after}")
        self._begin(inside)
        yield i
        following, last = self.emit(INDEX, f"add i64 {i}, {step}"), self.block
        self._branch(head)
        self.lines.append(END)
        self.lines[mark:mark] = [f"  {i} = phi i64 [{lo}, %{before}], [{following}, %{last}]", *[
            f"  {v} = phi {v.type} [{start}, %{before}], [{end}, %{last}]"
            for v, start, end in zip(values, starts, ends)]]
        self._begin(after)

    def blocks(self, count: int, block: int) -> Iterator[tuple[Any, int]]:
        """`for k, left in code.blocks(count, block):` each block of `count`, of which `left` are there.

        All are but in the last, which is written apart: there may be less to do.
        """
        if count // block == 1:
            yield 0, block
        elif count >= block:
            for k in self.range(0, count // block):
                yield k, block
        if count % block:
            yield count // block, count % block

    def when(self, condition: Value) -> Iterator[bool]:
        """`for true in code.when(condition):` the body is written twice, for the one case and the other."""
        yes, no, after = (f"b{next(self.names)}" for _ in range(3))
        self.lines.append(f"  br i1 {condition}, label %{yes}, label %{no}")
        for label in (yes, no):
            self._begin(label)
            yield label == yes
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
        return [self.emit(a.type, f"phi {a.type} [{a}, %{last}], [{b}, %{before}]")
                for a, b in zip(given, carried)]

    def _branch(self, label: str) -> None:
        self.lines.append(f"  br label %{label}")

    def _begin(self, label: str) -> None:
        self.block = label
        self.lines.append(f"{label}:")


def _written_as(frame: Any) -> str:
    """The line of the generator's source from which this file was called: a loop's name, for readers."""
    while frame.f_back is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()


def _type_of(constant: str) -> str:
    """The type at the head of "i64 3" or "<4 x float> zeroinitializer"."""
    return constant[:constant.index(">") + 1] if constant.startswith("<") else constant.split()[0]


def _suffix(type: str) -> str:
    """How LLVM writes a type within a name: v16f32."""
    number = "f64" if "double" in type else "f32"
    return f"v{lanes_of(type)}{number}" if type.startswith("<") else number
