"""Where the time of a training step goes: every op and its derivative timed while a block runs.

Nothing is added to an op when no profile is open. While one is, the class `Primitive` calls and
differentiates by functions that look at the clock, for the whole process; of several open profiles each sees
everything.
"""
from __future__ import annotations

import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..arguments import instance
from ..files import write_atomically
from ..kernels import table
from ..primitive import Node, Primitive
from ..state import current
from ..tensor import Tensor
from ..watching import Function, unwatch, watch
from . import annotate
from .graph import Graph
from .measure import multiply_adds

FORWARD, BACKWARD, KERNEL = "forward", "backward", "kernel"


@dataclass
class Event:
    """One stretch of time.

    Its `kind` is "forward", an op; "backward", all that one derivative of an op does, or an op that the
    backward pass calls itself; "kernel", outside of both: what an optimiser does. Ops that a derivative is
    made of are events of their own, `inside` it. Times are in seconds, `start` since the profile was opened;
    `bytes` are read and written, at least; `order` is the call's number on the tape.
    """

    name: str
    kind: str
    start: float
    seconds: float = 0.0
    scope: str = ""
    thread: int = 0
    inside: bool = False
    multiply_adds: int = 0
    bytes: int = 0
    families: set[str] = field(default_factory=set)
    order: int | None = None


class Profile:
    """What `tg.profile()` makes: a context manager, then a table (`print`), rows, events and a trace."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0
        self._began: float | None = None  # while it is open; opened again, it goes on
        self.making: list[float] = []  # seconds that each kernel took to be made or read from disk

    def __enter__(self) -> Profile:
        if self._began is not None:
            raise RuntimeError("profile: this one is open already; make another: with tg.profile() as p")
        self._began, self._made = time.perf_counter() - self.seconds, len(table.making)
        with _lock:
            _open.add(self)
            _watch()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        if self._began is None:
            raise RuntimeError("profile: this block was left that was not entered")
        self.seconds = self._so_far()
        with _lock:
            _open.discard(self)
            _watch()
        self.making += table.making[self._made:]
        self._began = None

    # ----- what was seen -----

    def _so_far(self) -> float:
        """Seconds from the beginning to the end of the block, or until now."""
        return self.seconds if self._began is None else time.perf_counter() - self._began

    def rows(self, by: str = "op") -> list[dict[str, Any]]:
        """A dictionary for each op, or scope ("scope"): calls, milliseconds both ways, costs; slowest first.

        The multiply-adds and bytes of the derivatives are those of the ops that they are made of. GFLOP/s are
        two operations a multiply-add, over the time both ways.

        Raises:
            ValueError: for anything else in `by`.
        """
        if by not in ("op", "scope"):
            raise ValueError(f"profile: by must be 'op' or 'scope', got {by!r}")
        found: dict[str, dict[str, Any]] = {}
        seconds = self._so_far()
        for event in self.events:
            key = (event.name if by == "op" else event.scope or "(no module)")
            if event.inside:
                continue
            row = found.setdefault(key, {by: key, "calls": 0, FORWARD: 0.0, BACKWARD: 0.0, "multiply_adds": 0,
                                         "bytes": 0, "families": set()})
            row["calls"] += event.kind != BACKWARD
            row[BACKWARD if event.kind == BACKWARD else FORWARD] += 1e3 * event.seconds
            row["multiply_adds"] += event.multiply_adds
            row["bytes"] += event.bytes
            row["families"] |= event.families
        for row in found.values():
            total = row[FORWARD] + row[BACKWARD]
            row["milliseconds"], row["families"] = total, " ".join(sorted(row["families"]))
            row["gflops"] = 2e-6 * row["multiply_adds"] / total if total else 0.0
            row["share"] = total / (1e3 * seconds) if seconds else 0.0
        return sorted(found.values(), key=lambda row: -row["milliseconds"])

    def table(self, by: str = "op") -> str:
        """The rows as text, and what lies between the ops: recording, modules, the data."""
        rows = self.rows(by)
        width = max([len(str(row[by])) for row in rows] + [len("between the ops")])
        lines = [f"{by:{width}}  calls  forward ms  backward ms  share  GFLOP/s   MB moved  kernels"]
        for row in rows:
            rate = f"{row['gflops']:.1f}" if row["gflops"] else ""
            line = (f"{row[by]:{width}} {row['calls']:6} {row[FORWARD]:11.3f} {row[BACKWARD]:12.3f} "
                    f"{row['share']:6.1%}  {rate:>7} {row['bytes'] / 1e6:10.2f}  {row['families']}")
            lines.append(line.rstrip())
        total, between = 1e3 * self._so_far(), max(0.0, 1 - sum(row["share"] for row in rows))
        lines += [f"{'between the ops':{width}} {'':6} {between * total:11.3f} {'':12} {between:6.1%}",
                  f"{'in all':{width}} {'':6} {total:11.3f} {'':12} {1:6.1%}"]
        if self.making:
            lines.append(f"(of that, to make {len(self.making)} kernels, or read them from disk, took "
                         f"{1e3 * sum(self.making):.1f} ms)")
        return "\n".join(lines)

    __str__ = __repr__ = lambda self: self.table()

    def _repr_html_(self) -> str:
        """The table for a notebook."""
        return f"<pre>{escape(self.table())}</pre>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a trace for chrome://tracing or ui.perfetto.dev (.json), or the tables (.txt).

        Raises:
            ValueError: for another ending.
        """
        path = Path(instance(path, str | os.PathLike, "save", "the path of a file"))
        texts = {".json": lambda: json.dumps({"traceEvents": self._trace(), "displayTimeUnit": "ms"}),
                 ".txt": lambda: f"{self.table()}\n\n{self.table('scope')}\n"}
        if path.suffix not in texts:
            raise ValueError(f"save: a profile's file ends in .json (a trace) or .txt, got {path.name!r}")
        write_atomically(path, texts[path.suffix]().encode())
        return path

    def _trace(self) -> list[dict[str, Any]]:
        """Complete events ("X") of the Trace Event Format, in microseconds."""
        return [{"name": e.name + (" (derivative)" if e.kind == BACKWARD else ""), "cat": e.kind, "ph": "X",
                 "ts": 1e6 * e.start, "dur": 1e6 * e.seconds, "pid": os.getpid(), "tid": e.thread,
                 "args": {"scope": e.scope, "multiply_adds": e.multiply_adds, "bytes": e.bytes,
                          "kernels": " ".join(sorted(e.families))}} for e in self.events]

    @property
    def time(self) -> annotate.Show:
        """These times for a drawing, also after `backward()`: `tg.draw(loss, show=profile.time)`."""
        def read(graph: Graph, legend: annotate.Legend) -> annotate.Figures:
            times: dict[int | None, dict[str, float]] = {}
            for event in self.events:
                if event.kind != KERNEL and not event.inside:
                    own = times.setdefault(event.order, {FORWARD: 0.0, BACKWARD: 0.0})
                    own[event.kind] += 1e3 * event.seconds
            found = {box: times[e.node.order] for box, e in annotate.calls(graph).items()
                     if e.node.order in times}
            if not found:
                legend.append(("", "time: the profile has seen none of these calls; compute what you draw "
                                   "inside its with block"))
            return found
        usual = annotate.SHOW["time"]
        return annotate.Show("time", read, usual.lines, usual.heat, usual.marks)


def profile() -> Profile:
    """Time every op and its derivative inside a `with` block, of all threads.

    What is timed is the call of an op with its recording, about a microsecond more than without a profile.
    Values and graphs stay the same. Costs are those of `tg.multiply_adds`. The first call of a shape makes
    its kernel, if there is machine code: the table's last line says how long that took; profile a later step.

    Returns:
        a context manager. Afterwards it prints as a table, by op; `table("scope")` is by module, `rows()` has
        the numbers, `save("trace.json")` writes a trace for a browser's viewer, and `tg.draw(loss, show=it)`
        writes the times into the boxes. In the table, "overwrite" is an optimiser's update, "normalize" a
        batch, layer or group norm, and "scale" one by running statistics.

    Example:
        >>> import tinygrad_conv as tg
        >>> w = tg.ones(3, 2, requires_grad=True)
        >>> with tg.profile() as p:
        ...     tg.linear(tg.ones(4, 2), w).sum().backward()
        >>> sorted((row["op"], row["calls"], row["multiply_adds"]) for row in p.rows())
        [('linear', 1, 48), ('sum', 1, 0)]
        >>> print(p.table().splitlines()[0])
        op               calls  forward ms  backward ms  share  GFLOP/s   MB moved  kernels
    """
    return Profile()


# ----- watching: what the class does while a profile is open -----

_lock = threading.RLock()
_open: weakref.WeakSet[Profile] = weakref.WeakSet()  # one that an interrupt left open goes with its last name
_mine = threading.local()  # `events` under way in this thread, innermost last


def _watch() -> None:
    """Let ops and the table of kernels be watched, or not, as there are open profiles."""
    (watch if _open else unwatch)(_timing)
    table.watched = _timed_kernel if _open else None


def _timed(name: str, kind: str, scope: Iterable[str], work: Callable[[Event], Any]) -> Any:
    under_way = vars(_mine).setdefault("events", [])
    depth, began = len(under_way), time.perf_counter()
    event = Event(name, kind, 0.0, scope=".".join(scope), thread=threading.get_ident(), inside=depth > 0)
    try:
        under_way.append(event)
        return work(event)
    finally:
        event.seconds = time.perf_counter() - began
        del under_way[depth:]  # also what an interrupt left there
        if under_way:  # what a derivative is made of
            under_way[-1].multiply_adds += event.multiply_adds
            under_way[-1].bytes += event.bytes
            under_way[-1].families |= event.families
        watching = [*_open]
        for seen in watching:
            event.start = began - (seen._began or began)
            seen.events.append(event if len(watching) == 1 else Event(**vars(event)))
        if not watching:
            _watch()


def _timing(call: Function, vjps_for: Function) -> tuple[Function, Function]:
    def timed_call(self: Primitive[Any], *args: Any, **params: Any) -> Any:
        def work(event: Event) -> Any:
            made = call(self, *args, **params)
            outs = made if isinstance(made, tuple) else (made,)
            arrays = [t._data for t in args if isinstance(t, Tensor)]
            event.bytes = sum([a.nbytes for a in (*arrays, *[out._data for out in outs])])
            node = outs[0].node
            if node is not None:
                event.order = node.order
            if self.cost is not None and len(arrays) == len(args):
                with suppress(Exception):  # of a user's `defcost`; a drawing says so
                    shapes = [a.shape for a in arrays]
                    event.multiply_adds = multiply_adds(self, shapes, outs[0].shape, params)
            return made
        state = current()
        return _timed(self.name, BACKWARD if state.backward else FORWARD, filter(None, state.calls), work)

    def timed_vjps_for(self: Primitive[Any], count: int) -> list[Any]:
        return [vjp and _timed_vjp(self, vjp) for vjp in vjps_for(self, count)]
    return timed_call, timed_vjps_for


def _timed_vjp(op: Primitive[Any], vjp: Function) -> Function:
    def timed(g: Any, ans: Any, *inputs: Any, **params: Any) -> Any:
        node: Node = (ans[0] if isinstance(ans, tuple) else ans).node

        def work(event: Event) -> Any:
            event.order = node.order
            return vjp(g, ans, *inputs, **params)
        return _timed(op.name, BACKWARD, node.scope, work)
    return timed


def _timed_kernel(operation: Any, kernel: table.Kernel, call: tuple[Any, ...],
                  params: dict[str, Any]) -> np.ndarray:
    under_way = vars(_mine).get("events")
    if under_way:
        under_way[-1].families.add(kernel.family)
        return kernel.function(*call, **params)

    def work(event: Event) -> Any:
        event.families.add(kernel.family)
        return kernel.function(*call, **params)
    return _timed(str(operation), KERNEL, (), work)
