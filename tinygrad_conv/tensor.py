"""Tensor: Python's operators and PyTorch's methods on the record of an array.

NumPy's names and argument order live on the module (`tg.transpose(x, axes)`), PyTorch's on the tensor
(`x.transpose(0, 1)`); methods take `dim`/`keepdim` and `axis`/`keepdims` alike. Methods call the ops, which
are written in tensors and so stand above this file: the package's `__init__` hands them down.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import EllipsisType
from typing import (
    TYPE_CHECKING, Any, ClassVar, NamedTuple, Never, Protocol, SupportsIndex, TypeAlias, overload,
)

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .advice import DATA, DEVICE, IN_PLACE, METHODS, advised, missing
from .arguments import axis_of, checked_dtype, is_whole, whole
from .core import Fixed, Memory, Record, as_array
from .hooks import Handle, hang

ops: Any = None  # modules above this one, set by `__init__`
autodiff: Any = None
numpy_protocol: Any = None
package: Any = None  # whose names that draw are loaded when first used

Operand: TypeAlias = "Tensor | NDArray[Any] | np.generic | float | list[Any] | tuple[Any, ...]"
Axis: TypeAlias = int | Sequence[int] | None
Sizes: TypeAlias = int | Sequence[int]
Real: TypeAlias = float  # inside Tensor, `float` is the method
Position: TypeAlias = "SupportsIndex | slice | EllipsisType | Tensor | NDArray[Any] | list[Any] | None"
Index: TypeAlias = "Position | tuple[Position | tuple[Any, ...], ...]"


class Count(int):
    """How many entries there are; `t.size(0)`, as PyTorch has it, is told what that is here."""

    __slots__ = ()

    def __call__(self, *dim: Any) -> Never:
        raise TypeError(f"size: is the number of entries, {self}, as in NumPy; the lengths of the axes are "
                        f"t.shape, one of them is t.shape[{', '.join(map(str, dim)) or 0}]")


class Data(np.ndarray):
    """What `t.data` gives: a NumPy array, that says what to write where PyTorch's would be changed in place.

    What is computed from it is a plain array.
    """

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else np.asarray(array)

    def __reduce__(self) -> Any:
        return np.asarray(self).__reduce__()

    def __repr__(self) -> str:
        return repr(np.asarray(self))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("t.data, a NumPy array,", name, DATA), name=name, obj=self)


def _in_place(name: str) -> Any:
    def method(self: Any, *values: Any) -> Any:
        if not self.flags.writeable:
            raise ValueError("data: a graph relies on these values, so they are read-only; change a leaf by "
                             "t.mutate()[...] *= x and the like, or by t.data = t.data * x")
        return getattr(np.ndarray, name)(self, *values)
    return method


Data.__name__ = "ndarray"  # what errors say that one got
for _name in ("setitem", "iadd", "isub", "imul", "itruediv", "ipow"):
    setattr(Data, f"__{_name}__", _in_place(f"__{_name}__"))


class ValuesIndices(NamedTuple):
    """What max and min along an axis return."""

    values: Tensor
    indices: Tensor


class Extremum(Protocol):
    """max and min: one tensor of all entries, (values, indices) along an axis."""

    @overload
    def __call__(self, axis: None = None, keepdims: bool = False, *, dim: None = None,
                 keepdim: bool = False) -> Tensor: ...
    @overload
    def __call__(self, axis: int, keepdims: bool = False, *, dim: None = None,
                 keepdim: bool = False) -> ValuesIndices: ...
    @overload
    def __call__(self, axis: None = None, keepdims: bool = False, *, dim: int,
                 keepdim: bool = False) -> ValuesIndices: ...


Binary: TypeAlias = "Callable[[Tensor, Operand], Tensor]"


def _logical(sign: str, op: str) -> Binary:
    """An operator on booleans; on integers it would be bitwise, for which there is no op."""
    def method(*operands: Any) -> Any:
        for t in operands:
            kind = t.dtype if isinstance(t, Tensor) else np.asarray(t).dtype
            if kind.kind != "b":
                raise TypeError(f"{sign}: expects booleans, got {kind}; compare first, as in (a > 0) "
                                f"{sign} (b > 0), or call tg.{op}")
        return getattr(ops, op)(*operands)
    return method


def _extremum(op: str) -> Extremum:
    def method(self: Any, axis: Any = None, keepdims: bool = False, *, dim: Any = None,
               keepdim: bool = False) -> Any:
        axis, keep = _axes(axis, dim), _either(keepdims, keepdim)
        if axis is None:
            return getattr(ops, op)(self, None, keep)
        indices = getattr(ops, f"arg{op}")(self, axis, True)
        pair = ops.take_along_axis(self, indices, axis), indices
        return ValuesIndices(*(pair if keep else [ops.squeeze(t, axis) for t in pair]))
    method.__name__, method.__qualname__ = op, f"Tensor.{op}"
    method.__doc__ = (f"Of all entries: `tg.{op}`. Along an axis: (values, indices); the gradient goes to "
                      f"the first of equal values.")
    return method  # type: ignore[return-value]


def _refused(self: Tensor, other: Any) -> Any:
    """`t -= lr * g` would rebind the name t and leave the tensor as it is."""
    if type(self) is Tensor and not self.requires_grad:  # a parameter is refused even if it is frozen
        return NotImplemented  # a new tensor, by the operator without "="
    raise TypeError(f"{type(self).__name__}{f' {self.name}' if self.name else ''}: += and the like do not "
                    f"change a parameter, nor a tensor that requires a gradient; write t.mutate()[...] -= "
                    f"lr * t.grad.numpy() to change a leaf, or t = t + x for a new tensor")


def _axes(axis: Any, dim: Any) -> Any:
    """NumPy's word for it, or else PyTorch's; no axes are all axes, as in PyTorch."""
    axes = axis if dim is None else dim
    return None if isinstance(axes, tuple | list) and not axes else axes


def _either(keepdims: Any, keepdim: Any) -> Any:
    """NumPy's word for it, or else PyTorch's; the op sees to it that it is a bool."""
    return keepdim if keepdims is False else keepdims


def _sizes(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list) else args


class Tensor(Record):
    """An array that remembers how it was made.

    Args:
        data: anything `np.array` takes; copied. Python floats become float32, arrays keep their
            dtype; integers and booleans are not differentiable.
        requires_grad: whether `backward()` fills `.grad`. Floating point only.

    Raises:
        TypeError: for data that is not numeric, or `requires_grad` on a non-float.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.Tensor([1.0, 2.0]).shape
        (2,)
    """

    __slots__ = ()
    grad: Tensor | None

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        super().__init__(as_array(data, copy=True), Memory())
        self.requires_grad = requires_grad

    @property
    def data(self) -> Data:
        """The values; read-only once a graph relies on them (then `mutate()` is the way)."""
        return super().data.view(Data)

    @data.setter
    def data(self, value: Any) -> None:
        Record.data.__set__(self, value)  # type: ignore[attr-defined]

    # ----- Python's operators -----

    __add__: ClassVar[Binary] = lambda a, b: ops.add(a, b)
    __radd__: ClassVar[Binary] = lambda a, b: ops.add(b, a)
    __sub__: ClassVar[Binary] = lambda a, b: ops.sub(a, b)
    __rsub__: ClassVar[Binary] = lambda a, b: ops.sub(b, a)
    __mul__: ClassVar[Binary] = lambda a, b: ops.mul(a, b)
    __rmul__: ClassVar[Binary] = lambda a, b: ops.mul(b, a)
    __truediv__: ClassVar[Binary] = lambda a, b: ops.div(a, b)
    __rtruediv__: ClassVar[Binary] = lambda a, b: ops.div(b, a)
    __floordiv__: ClassVar[Binary] = lambda a, b: ops.floor_divide(a, b)
    __rfloordiv__: ClassVar[Binary] = lambda a, b: ops.floor_divide(b, a)
    __mod__: ClassVar[Binary] = lambda a, b: ops.remainder(a, b)
    __rmod__: ClassVar[Binary] = lambda a, b: ops.remainder(b, a)
    __pow__: ClassVar[Binary] = lambda a, b: ops.pow(a, b)
    __rpow__: ClassVar[Binary] = lambda a, b: ops.pow(b, a)
    __matmul__: ClassVar[Binary] = lambda a, b: ops.matmul(a, b)
    __rmatmul__: ClassVar[Binary] = lambda a, b: ops.matmul(b, a)
    __lt__: ClassVar[Binary] = lambda a, b: ops.less(a, b)
    __le__: ClassVar[Binary] = lambda a, b: ops.less_equal(a, b)
    __gt__: ClassVar[Binary] = lambda a, b: ops.greater(a, b)
    __ge__: ClassVar[Binary] = lambda a, b: ops.greater_equal(a, b)
    __eq__: ClassVar[Binary] = lambda a, b: ops.equal(a, b)  # type: ignore[assignment]
    __ne__: ClassVar[Binary] = lambda a, b: ops.not_equal(a, b)  # type: ignore[assignment]
    __and__ = __rand__ = _logical("&", "logical_and")
    __or__ = __ror__ = _logical("|", "logical_or")
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __ipow__ = __imatmul__ = __iand__ = __ior__ = _refused
    __ifloordiv__ = __imod__ = __ixor__ = __ilshift__ = __irshift__ = _refused
    __hash__ = object.__hash__

    def __neg__(self) -> Tensor:
        return ops.neg(self)

    def __abs__(self) -> Tensor:
        return ops.abs(self)

    def __invert__(self) -> Tensor:
        return _logical("~", "logical_not")(self)  # type: ignore[call-arg]

    def __getitem__(self, index: Index) -> Tensor:
        return ops.shape.numbers_first(self, index if isinstance(index, tuple) else (index,))

    def __setitem__(self, index: Never, value: Never) -> None:
        raise TypeError("Tensor does not support item assignment: a graph may rely on its values; "
                        "change a leaf with t.mutate()[index] = value, or build a new tensor with "
                        "tg.where(condition, x, y)")

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len: a tensor of shape () has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iter: a tensor of shape () cannot be iterated over; use .item()")
        return (self[i] for i in range(self.shape[0]))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"bool: the truth of a tensor of shape {self.shape} is not defined; use "
                             f"tg.any(t) or tg.all(t)")
        return bool(self.item())

    def __float__(self) -> Real:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __repr__(self) -> str:
        values = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=60, precision=4)
        made = f", op={self.node.primitive.name}" if self.node is not None else (
            ", requires_grad=True" if self.requires_grad else "")
        return f"Tensor({values}, shape={self.shape}, {self.dtype}{made})"

    def _repr_html_(self) -> str:
        """What a notebook shows: what it is, how it is spread, and the picture if it looks like one."""
        return package.tensor_html(self)  # type: ignore[no-any-return]

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)  # f"{loss:.3f}"

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return numpy_protocol.ufunc(ufunc, method, *inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple[Any, ...],
                           kwargs: dict[str, Any]) -> Any:
        return numpy_protocol.function(function, args, kwargs)

    if not TYPE_CHECKING:  # a checker would take every name for right
        def __getattr__(self, name: str) -> Never:
            if name.startswith("__"):  # NumPy asks each tensor for some
                raise AttributeError(name)
            advice = METHODS if not name.endswith("_") else {name: IN_PLACE, **METHODS}
            text = missing("Tensor", name, advice, ops.__all__, "tg.{}(t)")
            raise AttributeError(text, name=name, obj=self)

    # ----- what it is, and its gradient -----

    @property
    def size(self) -> int:
        """The number of entries."""
        return Count(self._data.size)

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return ops.transpose(self)

    def numpy(self) -> NDArray[Any]:
        """The values, as `.data`."""
        return self.data.view(np.ndarray)

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self._data.tolist()

    def numel(self) -> int:
        """The number of entries."""
        return self.size

    def detach(self) -> Tensor:
        """A tensor on the same memory, outside the graph."""
        return share(self._data, self.memory)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `.requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def backward(self, gradient: Operand | None = None, create_graph: bool = False,
                 retain_graph: bool | None = None) -> None:
        """Add the gradient of <gradient, self> to `.grad` of every leaf that requires one.

        Args:
            gradient: the cotangent, of the tensor's shape; default 1, which needs a single value.
            create_graph: record the backward pass, so that the gradients can be differentiated again.
            retain_graph: keep the graph for a second call; default: the value of `create_graph`.

        Raises:
            RuntimeError: if the tensor was not recorded, its graph was freed by an earlier backward(), or
                a value it relies on was changed. `.grad` is then untouched.

        Example:
            >>> import tinygrad_conv as tg
            >>> x = tg.tensor([3.0], requires_grad=True)
            >>> (x * x).sum().backward()
            >>> x.grad.item()
            6.0
        """
        autodiff.backward(self, gradient, create_graph, retain_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(g)` in every backward pass that has the gradient g of this tensor, before g goes on.

        What it returns replaces g; None leaves it as it is. Hooks run in the order in which they were
        registered, each with what the one before made of it, and may be registered after the tensor was used;
        those of leaves run at the end of the pass, before `.grad` is filled. Under `create_graph=True` what
        they compute is recorded.

        Args:
            hook: a function of a tensor of this one's shape and dtype; it returns such a tensor, or None.

        Returns:
            a handle: `handle.remove()`, or the end of `with handle:`, takes the hook away.

        Raises:
            RuntimeError: if the tensor requires no gradient. TypeError: if `hook` is no function, or, in the
                pass, returns no tensor. ValueError: in the pass, for another shape or dtype.

        Example:
            >>> import tinygrad_conv as tg
            >>> x, seen = tg.tensor([1.0, 2.0], requires_grad=True), []
            >>> y = x * x
            >>> with y.register_hook(seen.append), y.register_hook(lambda g: g * 10.0):
            ...     y.sum().backward()
            >>> seen[0].tolist(), x.grad.tolist()
            ([1.0, 1.0], [20.0, 40.0])
        """
        return hang(self, hook)

    # ----- reductions -----

    def sum(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
            keepdim: bool = False) -> Tensor:
        """The sum of all entries, or along axes."""
        return ops.sum(self, _axes(axis, dim), _either(keepdims, keepdim))

    def mean(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
             keepdim: bool = False) -> Tensor:
        """The mean of all entries, or along axes."""
        return ops.mean(self, _axes(axis, dim), _either(keepdims, keepdim))

    def prod(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
             keepdim: bool = False) -> Tensor:
        """The product of all entries, or along axes."""
        return ops.prod(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def amax(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
             keepdim: bool = False) -> Tensor:
        """The largest entry; equal ones share the gradient."""
        return ops.amax(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def amin(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
             keepdim: bool = False) -> Tensor:
        """The smallest entry; equal ones share the gradient."""
        return ops.amin(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def any(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
            keepdim: bool = False) -> Tensor:
        """Whether any entry is true."""
        return ops.any(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def all(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
            keepdim: bool = False) -> Tensor:
        """Whether all entries are true."""
        return ops.all(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def logsumexp(self, axis: Axis = None, keepdims: bool = False, *, dim: Axis = None,
                  keepdim: bool = False) -> Tensor:
        """The logarithm of the sum of exponentials, without overflow."""
        return ops.logsumexp(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def argmax(self, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
               keepdim: bool = False) -> Tensor:
        """Where the largest entry stands, the first of equal ones."""
        return ops.argmax(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def argmin(self, axis: int | None = None, keepdims: bool = False, *, dim: int | None = None,
               keepdim: bool = False) -> Tensor:
        """Where the smallest entry stands, the first of equal ones."""
        return ops.argmin(self, _axes(axis, dim), keepdims=_either(keepdims, keepdim))

    def var(self, axis: Axis = None, correction: Real = 1, keepdims: bool = False, *, dim: Axis = None,
            keepdim: bool = False, unbiased: bool = True) -> Tensor:
        """The variance, over n - correction; with unbiased=False over n."""
        return ops.var(self, _axes(axis, dim), correction if unbiased else 0, _either(keepdims, keepdim))

    def std(self, axis: Axis = None, correction: Real = 1, keepdims: bool = False, *, dim: Axis = None,
            keepdim: bool = False, unbiased: bool = True) -> Tensor:
        """The standard deviation, over n - correction; with unbiased=False over n."""
        return ops.std(self, _axes(axis, dim), correction if unbiased else 0, _either(keepdims, keepdim))

    def norm(self, p: Real | str = 2, dim: Axis = None, keepdim: bool = False, *, axis: Axis = None,
             keepdims: bool = False) -> Tensor:
        """The Euclidean norm, of all entries or along `dim`; there is no other `p` than 2."""
        return ops.norm(self, p, _axes(axis, dim), _either(keepdims, keepdim))

    max: Extremum = _extremum("max")
    min: Extremum = _extremum("min")

    def cumsum(self, dim: int) -> Tensor:
        """Running sums along an axis."""
        return ops.cumsum(self, dim)

    def softmax(self, dim: int) -> Tensor:
        """exp(x) over its sum along an axis."""
        return ops.softmax(self, dim)

    def log_softmax(self, dim: int) -> Tensor:
        """The logarithm of the softmax along an axis."""
        return ops.log_softmax(self, dim)

    # ----- entry by entry -----

    def exp(self) -> Tensor:
        """e to the power of each entry."""
        return ops.exp(self)

    def log(self) -> Tensor:
        """The natural logarithm."""
        return ops.log(self)

    def sqrt(self) -> Tensor:
        """The square root."""
        return ops.sqrt(self)

    def abs(self) -> Tensor:
        """The absolute value."""
        return ops.abs(self)

    def sin(self) -> Tensor:
        """The sine."""
        return ops.sin(self)

    def cos(self) -> Tensor:
        """The cosine."""
        return ops.cos(self)

    def tan(self) -> Tensor:
        """The tangent."""
        return ops.tan(self)

    def atan(self) -> Tensor:
        """The angle whose tangent it is."""
        return ops.atan(self)

    def log2(self) -> Tensor:
        """The logarithm to base 2."""
        return ops.log2(self)

    def floor(self) -> Tensor:
        """The largest whole number not above it."""
        return ops.floor(self)

    def ceil(self) -> Tensor:
        """The smallest whole number not below it."""
        return ops.ceil(self)

    def round(self, decimals: int = 0) -> Tensor:
        """The nearest whole number, of two the even one; or the nearest multiple of 10**-decimals."""
        return ops.round(self, decimals)

    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + e**-x)."""
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        """The larger one of the entry and 0."""
        return ops.relu(self)

    def clip(self, min: Real | None = None, max: Real | None = None) -> Tensor:
        """Entries below `min` become min, those above `max` max; None is no bound."""
        return ops.clip(self, min, max)

    clamp = clip

    def pow(self, exponent: Operand) -> Tensor:
        """Every entry to the power of `exponent`, a number or a tensor."""
        return ops.pow(self, exponent)

    def matmul(self, other: Operand) -> Tensor:
        """The matrix product, as `@`."""
        return ops.matmul(self, other)

    def astype(self, dtype: DTypeLike) -> Tensor:
        """The values in another dtype; the gradient comes back in this one."""
        return ops.astype(self, dtype)

    @advised
    def to(self, dtype: DTypeLike = "cpu") -> Tensor:
        """Same as `astype`; "cpu", where all tensors are, gives the tensor itself, other devices an error."""
        return self if str(dtype) == "cpu" else ops.astype(self, checked_dtype(f"to ({DEVICE})", dtype))

    def float(self) -> Tensor:
        """The values as float32."""
        return ops.astype(self, np.float32)

    def double(self) -> Tensor:
        """The values as float64."""
        return ops.astype(self, np.float64)

    def clone(self) -> Tensor:
        """A copy of the values, part of the graph."""
        return ops.mul(self, self.dtype.type(1))  # a Python 1 would make booleans int64

    # ----- shapes -----

    def reshape(self, *shape: Sizes) -> Tensor:
        """The same entries in another shape, given as numbers or a tuple; one may be -1."""
        return ops.reshape(self, _sizes(shape))

    view = reshape

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """The axes from `start_dim` to `end_dim` as one."""
        return ops.flatten(self, start_dim, end_dim)

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Two axes exchanged, as in PyTorch; `tg.transpose` takes a whole order."""
        return ops.swapaxes(self, dim0, dim1)

    def permute(self, *dims: Sizes) -> Tensor:
        """The axes in the order of `dims`, numbers or a tuple."""
        return ops.transpose(self, _sizes(dims))

    def squeeze(self, dim: Axis = None) -> Tensor:
        """Without the axis `dim`, of length 1; by default without all such axes."""
        return ops.squeeze(self, dim)

    def unsqueeze(self, dim: int) -> Tensor:
        """With a new axis of length 1 at `dim`."""
        return ops.expand_dims(self, dim)

    def expand(self, *sizes: Sizes) -> Tensor:
        """Broadcast to the sizes; -1 keeps an axis."""
        wanted = tuple([whole(n, "expand", "a size") for n in _sizes(sizes)])
        new = len(wanted) - self.ndim
        if -1 in wanted[:max(new, 0)]:
            raise ValueError(f"expand: -1 keeps an axis, and {wanted} has it where shape {self.shape} has "
                             f"none; say the size")
        own = (1,) * new + self.shape
        return ops.broadcast_to(self, tuple(m if n == -1 else n for n, m in zip(wanted, own)))

    def split(self, split_size: Sizes, dim: int = 0) -> list[Tensor]:
        """Pieces of `split_size` (the last may be smaller), or of the sizes in a list."""
        n = (self.shape or (0,))[axis_of(dim, self.ndim, "split")]
        sizes = split_size if isinstance(split_size, list | tuple) else (split_size,)
        if not all(map(is_whole, sizes)):
            raise TypeError(f"split: split_size must be a whole number or a list of them, got {split_size!r}")
        sizes = list(map(int, sizes))  # Python's, which do not overflow
        if not isinstance(split_size, list | tuple):
            if sizes[0] < 1:
                raise ValueError(f"split: split_size must be at least 1, got {split_size}")
            return ops.split(self, list(range(sizes[0], n, sizes[0])), dim)
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise ValueError(f"split: sizes {sizes} must be at least 0 and add up to {n}, the length of "
                             f"axis {dim}")
        return ops.split(self, np.cumsum(sizes, dtype=int)[:-1].tolist(), dim)

    def gather(self, dim: int, index: Operand) -> Tensor:
        """The entries that `index` names along `dim`; on other axes it may be shorter, and picks from the
        first rows. `tg.take_along_axis` is NumPy's, where one row stands for all."""
        return ops.gather(self, dim, index)

    def scatter_add(self, dim: int, index: Operand, src: Operand) -> Tensor:
        """The entries, with those of `src` added where `index` says along `dim`."""
        return ops.scatter_add(self, dim, index, src)

    def sort(self, dim: int = -1, descending: bool = False) -> ValuesIndices:
        """(values, indices): the entries along an axis in order, and where they were."""
        indices = ops.argsort(self, dim, descending)
        return ValuesIndices(ops.sort(self, dim, descending), indices)

    def argsort(self, dim: int = -1, descending: bool = False) -> Tensor:
        """Where the smallest entry along an axis is, the next one, and so on."""
        return ops.argsort(self, dim, descending)

    def topk(self, k: int, dim: int = -1, largest: bool = True,
             sorted: bool = True) -> ValuesIndices:
        """(values, indices) of the k largest entries along an axis."""
        return ops.topk(self, k, dim, largest, sorted)

    def repeat(self, *sizes: Sizes) -> Tensor:
        """The whole tensor one after the other, so many times along each axis."""
        return ops.tile(self, _sizes(sizes))

    def masked_fill(self, mask: Operand, value: Operand) -> Tensor:
        """`value` where the mask is true, and else the entries."""
        return ops.where(mask, value, self)

    def tril(self, diagonal: int = 0) -> Tensor:
        """The entries on and below a diagonal of the last two axes, and 0."""
        return ops.tril(self, diagonal)

    def triu(self, diagonal: int = 0) -> Tensor:
        """The entries on and above a diagonal of the last two axes, and 0."""
        return ops.triu(self, diagonal)

    def cumprod(self, dim: int) -> Tensor:
        """Running products along an axis."""
        return ops.cumprod(self, dim)

    def flip(self, *dims: Sizes) -> Tensor:
        """The order along the axes `dims`, numbers or a tuple, reversed."""
        return ops.flip(self, _sizes(dims) if dims else None)

    def roll(self, shifts: Sizes, dims: Axis = None) -> Tensor:
        """Entries moved by `shifts` along `dims`; what leaves at one end enters at the other."""
        return ops.roll(self, shifts, dims)


def share(array: np.ndarray, memory: Fixed | Memory | None = None) -> Tensor:
    """A leaf tensor on the memory of `array`; no copy."""
    t = Tensor.__new__(Tensor)
    Record.__init__(t, array, memory or Memory())
    return t
