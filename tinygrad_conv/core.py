"""The record, first half: Tensor and the memory it looks at.

A Tensor holds an array and points back to the Node that made it (primitive.py); nothing points
forward, so reference counting alone frees a graph. This file knows no op, no derivative and no
picture, and imports only NumPy.
"""
from __future__ import annotations

import weakref
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from .state import state

if TYPE_CHECKING:
    from .primitive import Node


class Memory:
    """What all tensors on one piece of memory share.

    `version` counts sanctioned changes (`Tensor.mutate`); `recorded` says that a graph relies
    on the values; `result` that a recorded op made them; `exposed` that they belong to one of the
    user's arrays. `lent` holds the writeable views handed out that are still alive: while there are
    any, or if `exposed`, only a checksum can tell that values have changed.
    """

    __slots__ = ("version", "recorded", "result", "exposed", "lent")

    def __init__(self) -> None:
        self.version = 0
        self.recorded = self.result = self.exposed = False
        self.lent: dict[int, weakref.ref[memoryview]] = {}

    def lend(self, array: np.ndarray) -> np.ndarray:
        """A writeable view; it, and every view of it, keeps alive the object watched here."""
        view = np.asarray(memoryview(array))
        lent = self.lent
        watch = weakref.ref(view.base, lambda gone: lent.pop(id(gone), None))
        lent[id(watch)] = watch
        return view

    def stamp(self, array: np.ndarray, like: Any = None) -> Any:
        """A value that changes when the memory does: taken at record time, compared at backward."""
        if not (self.exposed or self.lent or isinstance(like, tuple)):
            return self.version
        return self.version, zlib.crc32(np.ascontiguousarray(array).view(np.uint8).reshape(-1))


class _Count(int):
    """How many entries there are; `t.size(0)`, as PyTorch has it, is told what that is here."""

    __slots__ = ()

    def __call__(self, *dim: Any) -> Any:
        raise TypeError(f"size: is the number of entries, {self}, as in NumPy; the lengths of the axes are "
                        f"t.shape, one of them is t.shape[{', '.join(map(str, dim)) or 0}]")


class Tensor:
    """An array that remembers how it was made.

    Args:
        data: anything `np.array` takes; copied. Python floats become float32, arrays keep their
            dtype; integers and booleans are not differentiable.
        requires_grad: whether `backward()` fills `.grad`. Floating point only.

    Raises:
        TypeError: for data that is not numeric, or `requires_grad` on a non-float.

    Example:
        >>> Tensor([1.0, 2.0]).shape
        (2,)
    """

    __slots__ = ("_data", "memory", "_requires_grad", "grad", "node", "index", "name",
                 "__weakref__")

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self._set(as_array(data, copy=True), Memory())
        self.requires_grad = requires_grad

    def _set(self, array: np.ndarray, memory: Memory) -> None:
        self._data, self.memory, self._requires_grad = array, memory, False
        self.grad: Tensor | None = None
        self.node: Node | None = None
        self.index, self.name = 0, ""

    @property
    def data(self) -> np.ndarray:
        """The values; read-only once a graph relies on them (then `mutate()` is the way)."""
        if self.memory.recorded:
            self._data.flags.writeable = False
        # a view of locked memory cannot be made writeable, an array that owns it can
        return self.memory.lend(self._data) if self._data.flags.writeable else self._data.view()

    @data.setter
    def data(self, value: Any) -> None:
        self.mutate()[...] = as_array(value, False, self.dtype, self.shape, "data")

    def numpy(self) -> np.ndarray:
        """Same as `.data`."""
        return self.data

    def mutate(self) -> np.ndarray:
        """The only way to change a leaf's values in place: a writeable array of them.

        Graphs that have recorded the old values notice: their `backward()` raises.

        Raises:
            RuntimeError: on a tensor that an op made; change the leaf it came from.

        Example:
            >>> t = Tensor([1.0, 2.0])
            >>> t.mutate()[0] = 5
            >>> t.data.tolist()
            [5.0, 2.0]
        """
        if self.node is not None or self.memory.result:
            what = f"the result of {self.node.primitive.name}" if self.node else "one of an op's"
            raise RuntimeError(f"mutate: only leaves can be changed in place, this tensor's memory "
                               f"is {what}; copy it with tg.tensor(t)")
        locked = not self._data.flags.writeable
        try:
            self._data.flags.writeable = True
        except ValueError:
            raise RuntimeError("mutate: the memory this tensor shares (a view of another tensor, "
                               "or from_numpy) is locked; mutate that tensor, or copy this one "
                               "with tg.tensor(t)") from None
        view = self.memory.lend(self._data)
        self._data.flags.writeable = not locked
        self.memory.version += 1
        return view

    @property
    def requires_grad(self) -> bool:
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

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: _Count(self._data.size))
    is_leaf = property(lambda self: self.node is None)

    def detach(self) -> Tensor:
        """A tensor on the same memory, outside the graph."""
        return share(self._data, self.memory)

    def item(self) -> Any:
        """The single value as a Python number.

        Raises:
            ValueError: if there is not exactly one value.
        """
        if self._data.size != 1:
            raise ValueError(f"item: expects one value, got shape {self.shape}; index first")
        return self._data.item()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __reduce__(self) -> Any:
        raise TypeError("Tensor: pickle is not supported, files must not run code; save arrays "
                        "(t.numpy()) or a state_dict with safetensors, and copy with tg.tensor(t)")

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise RuntimeError("deepcopy: only leaves can be copied; use t.detach()")
        copy = memo[id(self)] = type(self).__new__(type(self))
        copy._set(self._data.copy(), Memory())
        copy._requires_grad, copy.name = self._requires_grad, self.name
        return copy


def as_array(data: Any, copy: bool, dtype: Any = None, shape: tuple[int, ...] | None = None,
             what: str = "tensor") -> np.ndarray:
    """`np.array` with this project's defaults and errors: Python floats are float32."""
    if isinstance(data, Tensor):
        data = data._data
    if isinstance(data, list | tuple) and state.recording and _is_part_of_a_graph(data):
        raise TypeError(f"{what}: got a {type(data).__name__} of tensors that require gradients, "
                        f"which would be lost; join them with tg.stack, or detach() them")
    if isinstance(data, np.ndarray) and hasattr(data, "mask"):  # np.ma is imported at need
        raise TypeError(f"{what}: a masked array would lose its mask; fill it first, e.g. "
                        f"a.filled(0), and compute with the mask by tg.where")
    try:
        array = np.array(data, dtype=dtype, copy=True if copy else None)
    except (ValueError, TypeError, OverflowError) as e:
        raise TypeError(f"{what}: cannot make an array of {type(data).__name__}: {e}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expects real numbers, got dtype {array.dtype}; complex, object "
                        f"and string data are not supported")
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
        array = array.astype(np.float32)
    if shape is not None and array.shape != shape:
        raise ValueError(f"{what}: expects shape {shape}, got {array.shape}")
    return array


def _is_part_of_a_graph(data: Any) -> bool:
    """Whether a tensor that requires a gradient is somewhere in nested lists."""
    if set(map(type, data)) <= {int, float, bool}:  # quickly done with long lists of numbers
        return False
    return any([v.requires_grad if isinstance(v, Tensor) else
                isinstance(v, list | tuple) and _is_part_of_a_graph(v) for v in data])


def share(array: np.ndarray, memory: Memory | None = None) -> Tensor:
    """A leaf tensor on `array` itself, no copy."""
    t = Tensor.__new__(Tensor)
    t._set(array, memory or Memory())
    return t
