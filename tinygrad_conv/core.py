"""The record of an array: its memory, who may change it, and which call made it.

The array of a tensor is always locked (not writeable), recorded or not: NumPy refuses an op that writes into
its input, and no call has to lock or unlock anything. What an op made while recording can be changed
by nobody (`Fixed`). All other memory (`Memory`) is seen through locked views of an owner, and changed
through `data` and `mutate` only, which count and watch, so that `backward` notices. Nothing here knows an op,
a derivative or a picture.
"""
from __future__ import annotations

import copy
import operator
import weakref
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import chain, repeat, starmap
from typing import TYPE_CHECKING, Any

import numpy as np

from .state import is_recording, tick


NEW, EXPOSED = "new", "exposed"


class Fixed:
    """Memory that nobody can change: the result of a recorded op. Its identity says "same memory"."""

    __slots__ = ()
    changed, unsettled, watched = 0, (), False  # as of a Memory


class Memory:
    """What all tensors on one piece of changeable memory share.

    `changed` is when a writeable view was last handed out, by `mutate` or before a graph relied on the
    values; `version` is another object after each `change`; `closed` says that it is a read-only array of the
    user's. `unsettled` lists why a call has more to do than look at `changed`: NEW, until a graph relies on
    the values; EXPOSED, as those of one of the user's arrays; the views that were lent and are still alive.
    While there is more than NEW, only a checksum can tell a change (`watched`). The list's own methods change
    it, in C: no thread or interrupt comes between.

    Arrays are handed out by way of a `memoryview`, which is then their `.base`: NumPy refuses to unlock a
    locked one, and the `.base` of a lent one lives as long as any view of it. (NumPy's `ufunc.at` heeds no
    lock: `np.add.at(t.numpy(), i, x)` is the one write that nothing here can refuse.)
    """

    changed, version, closed = 0, 0, False
    unsettled: Any = (NEW,)  # of the class, for memory that has no list of its own yet

    @property
    def recorded(self) -> bool:
        return NEW not in self.unsettled

    @property
    def watched(self) -> bool:
        return len(self.unsettled) > self.unsettled.count(NEW)

    def lend(self, array: np.ndarray) -> np.ndarray:
        """A writeable twin of a locked view; it, and every view of it, keeps alive the twin that is watched.

        Raises:
            ValueError: if the memory is the user's, and read-only.
        """
        if self.closed:
            raise ValueError("the array that is shared is read-only")
        reasons = vars(self).setdefault("unsettled", [NEW])
        if isinstance(array.base, np.ndarray) and EXPOSED not in reasons:
            array.base.setflags(write=True)  # from now on; nobody but this object gets at it
        twin = array.view()
        twin.setflags(write=True)
        view = np.asarray(memoryview(twin))
        reasons.append(weakref.ref(twin, reasons.remove))
        self.changed = tick()  # last: a call after this one sees the list, one before it is told by the time
        return view

    def expose(self, array: np.ndarray) -> None:
        """Watch from now on: the memory is that of one of the user's arrays."""
        self.unsettled, self.closed = [NEW, EXPOSED], not array.flags.writeable

    def record(self) -> None:
        """A graph relies on the values from now on."""
        reasons = vars(self).setdefault("unsettled", [])
        if NEW in reasons:
            with suppress(ValueError):  # of another thread, which was quicker
                reasons.remove(NEW)


def exchange(owners: Sequence[Any], name: str, before: Iterable[Any], after: Iterable[Any],
             *copies: tuple[Any, Any, Any]) -> bool:
    """Set an attribute of all owners, and items (to, index, from), if the attributes still are `before`.

    One call into C, without a bytecode: no other thread, signal handler or interrupt comes between, and all
    of it is done, or nothing. This is how state that several threads share changes. The caller holds the
    objects of `before`, so that no finaliser runs. NumPy lets other threads in while it copies an array,
    a memoryview does not.
    """
    return all(chain(map(operator.is_, map(getattr, owners, repeat(name)), before),
                     map(operator.is_, map(setattr, owners, repeat(name), after), repeat(None)),
                     map(operator.is_, starmap(operator.setitem, copies), repeat(None))))


def change(leaves: Sequence[Record], rule: Callable[[list[np.ndarray]], Iterable[Any]]) -> None:
    """Give all leaves the values `rule(values)` at once: an interrupt comes before or after, not between.

    If another thread has changed one of them since `rule` read it, `rule` is asked again: no change is lost.
    (Other threads may see part of a change, if there are leaves of several axes.)

    Args:
        leaves: tensors that `mutate()` could change.
        rule: gets their arrays, changes none, returns the new values in the same order.

    Raises:
        RuntimeError: as `mutate()`. ValueError: for a value of another shape. Nothing has changed then.

    Example:
        >>> import tinygrad_conv as tg
        >>> total, count = tg.tensor([1.0, 2.0]), tg.tensor(0)
        >>> tg.change([total, count], lambda values: [values[0] + 5.0, values[1] + 1])
        >>> total.tolist(), count.item()
        ([6.0, 7.0], 1)
    """
    arrays, memories, done = [t.mutate() for t in leaves], [t.memory for t in leaves], False
    while not done:
        before = [memory.version for memory in memories]
        new = [np.empty(a.shape, a.dtype) for a in arrays]
        values = list(rule(arrays))
        if len(values) != len(new):
            raise ValueError(f"change: the rule gave {len(values)} values for {len(new)} tensors")
        for a, value in zip(new, values):
            a[...] = value  # what does not fit is noticed here
        copies = [(memoryview(a), slice(None), memoryview(b)) if a.ndim == 1 and a.dtype.isnative
                  else (a, ..., b) for a, b in zip(arrays, new)]
        times = [(vars(memory), "changed", tick()) for memory in memories]
        done = exchange(memories, "version", before, [object() for _ in memories], *times, *copies)


def checksum(array: np.ndarray) -> int:
    """A number that changes when the entries do."""
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1))


class Record:
    """An array, the memory it looks at, and the call (node and number of the output) that made it.

    Nothing points forward, so reference counting alone frees a graph.
    """

    __slots__ = ("_data", "memory", "_requires_grad", "grad", "node", "index", "name", "hooks",
                 "__weakref__")  # `hooks` of a leaf that has any: see `hooks.py`

    def __init__(self, array: np.ndarray, memory: Fixed | Memory) -> None:
        self._data, self.memory, self._requires_grad = array.view(), memory, False
        self._data.setflags(write=False)
        self.grad = self.node = None
        self.index, self.name = 0, ""

    @property
    def data(self) -> np.ndarray:
        """The values; read-only once a graph relies on them (then `mutate()` is the way)."""
        memory = self.memory
        if isinstance(memory, Memory) and not memory.recorded:
            try:
                return memory.lend(self._data)
            except ValueError:  # an array of the user's that is read-only
                pass
        return np.asarray(memoryview(self._data.view()))  # no flag opens it, nor does `.base.obj`

    @data.setter
    def data(self, value: Any) -> None:
        self.mutate()[...] = as_array(value, False, self.dtype, self.shape, "data")

    def mutate(self) -> np.ndarray:
        """The only way to change a leaf's values in place: a writeable array of them.

        Graphs that have recorded the old values notice: their `backward()` raises.

        Raises:
            RuntimeError: on a tensor that an op made; change the leaf it came from.

        Example:
            >>> import tinygrad_conv as tg
            >>> t = tg.tensor([1.0, 2.0])
            >>> t.mutate()[0] = 5
            >>> t.data.tolist()
            [5.0, 2.0]
        """
        memory = self.memory
        if self.node is not None or isinstance(memory, Fixed):
            what = f"the result of {self.node.primitive.name}" if self.node else "one of an op's"
            raise RuntimeError(f"mutate: only leaves can be changed in place, this tensor's memory "
                               f"is {what}; copy it with tg.tensor(t)")
        try:
            return memory.lend(self._data)
        except ValueError:
            raise RuntimeError("mutate: the memory this tensor shares (a view of another tensor, "
                               "or from_numpy) is locked; mutate that tensor, or copy this one "
                               "with tg.tensor(t)") from None

    @property
    def requires_grad(self) -> bool:
        """Whether `backward()` fills `.grad`, and calls with this tensor are recorded."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool | np.bool):  # a dtype, given where PyTorch has none either
            raise TypeError(f"requires_grad: expects True or False, got {value!r}")
        if value and self._data.dtype.kind != "f":
            raise TypeError(f"requires_grad: only floating point tensors can be differentiated, "
                            f"got {self._data.dtype}; use tg.tensor(x, dtype=np.float32)")
        if not value and self.node is not None:
            raise RuntimeError("requires_grad: this tensor was computed from ones that require "
                               "gradients; use t.detach()")
        self._requires_grad = bool(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the entries."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return self._data.ndim

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded call made it."""
        return self.node is None

    def item(self) -> Any:
        """The single value as a Python number.

        Raises:
            ValueError: if there is not exactly one value.
        """
        if self._data.size != 1:
            raise ValueError(f"item: expects one value, got shape {self.shape}; index first")
        return self._data.item()

    def _leave(self, how: str, instead: str = "") -> None:
        """Refuse a silent way out of the graph; `detach()` and `numpy()` are the spoken ones."""
        if self._requires_grad and is_recording():
            raise TypeError(f"Tensor: {how} of a tensor that requires a gradient, which would be lost; "
                            f"{instead}say so: t.detach() or t.numpy()")

    if not TYPE_CHECKING:  # NumPy's types would take `array * t` for an array
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            self._leave("NumPy would make an array", "join tensors with tg.stack, or ")
            return np.array(self.data, dtype=dtype, copy=copy)

    def __dlpack__(self, **how: Any) -> Any:
        """The memory, for other libraries; a copy if a graph relies on it: few know read-only memory."""
        self._leave("DLPack would make an array")
        array = self.data
        if not array.flags.writeable:
            if how.get("copy") is False:
                raise BufferError("Tensor: a graph relies on these values, or their owner has locked them; "
                                  "DLPack can have a copy")
            array = array.copy()
        return array.__dlpack__(**how)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __copy__(self) -> Any:
        self._leave("copy.copy would make a twin")
        return copy.deepcopy(self)

    def __reduce__(self) -> Any:
        """How `copy.deepcopy` and `pickle` take a leaf: between processes, for no reader here unpickles."""
        if self.node is not None:
            raise RuntimeError(f"Tensor: only leaves can be copied and pickled, this is the result of "
                               f"{self.node.primitive.name}; use t.detach()")
        return _restored, (type(self), self._data, self._requires_grad, self.name)


def _restored(kind: type[Record], array: np.ndarray, requires_grad: bool, name: str) -> Record:
    t = kind.__new__(kind)
    Record.__init__(t, array.copy(order="K"), Memory())
    t._requires_grad, t.name = requires_grad, name
    return t


def as_array(data: Any, copy: bool, dtype: Any = None, shape: tuple[int, ...] | None = None,
             what: str = "tensor") -> np.ndarray:
    """`np.array` with this project's defaults and errors: Python floats are float32."""
    if isinstance(data, Record):
        data = data._data
    if isinstance(data, list | tuple):
        _check_lists(data, what)
    if isinstance(data, np.ndarray) and hasattr(data, "mask"):  # np.ma is imported at need
        raise TypeError(f"{what}: a masked array would lose its mask; fill it first, e.g. "
                        f"a.filled(0), and compute with the mask by tg.where")
    try:
        array = np.array(data, copy=True if copy and dtype is None else None)
        if dtype is not None and array.dtype.kind in "fiub":  # not before: it would make nan of None
            array = np.array(data, dtype=dtype, copy=True if copy else None)
    except (ValueError, TypeError, OverflowError, RuntimeError) as e:  # the last is PyTorch's, of its graph
        raise TypeError(f"{what}: cannot make an array of {type(data).__name__}: {e}") from None
    if array.dtype.kind not in "fiub":
        kinds = sorted({type(v).__name__ for v in array.flat}) if array.dtype == object else []
        held = f" of {', '.join(kinds)}" * bool(kinds)
        held = " (integers of more than 64 bits)" if kinds == ["int"] else held
        raise TypeError(f"{what}: expects real numbers, got dtype {array.dtype}{held}; complex, object "
                        f"and string data are not supported")
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
        array = array.astype(np.float32)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{what}: expects shape {shape}, got {array.shape}")
    return array


def _check_lists(data: Any, what: str) -> None:
    """Refuse nested lists that hold a tensor of a graph, or more levels than an array has axes."""
    level, depth = [data], 0
    while level:
        inner: dict[int, Any] = {}  # each list once, however often it is met
        for part in level:
            if set(map(type, part)) <= {int, float, bool}:  # quickly done with long lists of numbers
                continue
            for v in part:
                if isinstance(v, list | tuple):
                    inner[id(v)] = v
                elif isinstance(v, Record) and v._requires_grad and is_recording():
                    raise TypeError(f"{what}: got a {type(data).__name__} of tensors that require gradients, "
                                    f"which would be lost; join them with tg.stack, or detach() them")
        level, depth = list(inner.values()), depth + 1
        if depth > 64:
            raise TypeError(f"{what}: a {type(data).__name__} that is nested in more than 64 levels, or "
                            f"contains itself, makes no array")
