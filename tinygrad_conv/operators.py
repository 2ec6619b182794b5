"""Python's operators and PyTorch's method names on Tensor: one explicit line per binding.

NumPy's names and argument order live on the module (`tg.transpose(x, axes)`), PyTorch's on the
tensor (`x.transpose(0, 1)`). Methods take `dim`/`keepdim` and `axis`/`keepdims` alike. The types
of what is bound here are in core.pyi, for type checkers.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import ops
from .autodiff import backward
from .core import Tensor
from .arguments import axis_of, is_whole, missing
from .advice import IN_PLACE, METHODS


class ValuesIndices(NamedTuple):
    """What max and min along an axis return."""

    values: Tensor
    indices: Tensor


def _named_after(op, method):
    method.__name__ = method.__qualname__ = op.__name__
    method.__doc__ = op.__doc__
    return method


def _unary(op):
    return _named_after(op, lambda self: op(self))


def _reducer(op):
    def method(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        return op(self, axis if dim is None else dim, keepdims=keepdims or keepdim)
    return _named_after(op, method)


def _norm(self, p=2, dim=None, keepdim=False, *, axis=None, keepdims=False):
    return ops.norm(self, p, axis if dim is None else dim, keepdims or keepdim)


def _spread_reducer(op):
    def method(self, axis=None, correction=1, keepdims=False, *, dim=None, keepdim=False):
        return op(self, axis if dim is None else dim, correction, keepdims or keepdim)
    return _named_after(op, method)


def _extremum(op, arg):
    def method(self, axis=None, keepdims=False, *, dim=None, keepdim=False):
        axis, keep = axis if dim is None else dim, keepdims or keepdim
        if axis is None:
            return op(self, None, keep)
        indices = arg(self, axis, True)
        values = ops.take_along_axis(self, indices, axis)
        pair = (values, indices) if keep else (ops.squeeze(values, axis), ops.squeeze(indices, axis))
        return ValuesIndices(*pair)
    _named_after(op, method)
    method.__doc__ = (f"Of all entries: `tg.{op.__name__}`. Along an axis: (values, indices); the "
                      f"gradient goes to the first of equal values.")
    return method


def _sizes(args: tuple[Any, ...]) -> tuple[int, ...]:
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], tuple | list) else args


def _expand(self: Tensor, *sizes: Any) -> Tensor:
    """Broadcast to the sizes; -1 keeps an axis."""
    sizes = _sizes(sizes)
    new = len(sizes) - self.ndim
    if -1 in sizes[:max(new, 0)]:
        raise ValueError(f"expand: -1 keeps an axis, and {sizes} has it where shape {self.shape} has none; "
                         f"say the size")
    own = (1,) * new + self.shape
    return ops.broadcast_to(self, tuple(m if n == -1 else n for n, m in zip(sizes, own)))


def _split(self: Tensor, split_size: Any, dim: int = 0) -> list[Tensor]:
    """Pieces of `split_size` (the last may be smaller), or of the sizes in a list."""
    n = self.shape[axis_of(dim, self.ndim, "split")]
    sizes = split_size if isinstance(split_size, list | tuple) else (split_size,)
    if not all(is_whole(size) for size in sizes):
        raise TypeError(f"split: split_size must be a whole number or a list of them, got {split_size!r}")
    if sizes is split_size:
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise ValueError(f"split: sizes {sizes} must be at least 0 and add up to {n}, the length of "
                             f"axis {dim}")
        cuts = np.cumsum(sizes, dtype=int)[:-1]
    else:
        if split_size < 1:
            raise ValueError(f"split: split_size must be at least 1, got {split_size}")
        cuts = range(split_size, n, split_size)
    return ops.split(self, [int(c) for c in cuts], dim)


def _setitem(self: Tensor, index: Any, value: Any) -> None:
    raise TypeError("Tensor does not support item assignment: a graph may rely on its values; "
                    "change a leaf with t.mutate()[index] = value, or build a new tensor with "
                    "tg.where(condition, x, y)")


def _length(self: Tensor) -> int:
    if self.ndim == 0:
        raise TypeError("len: a tensor of shape () has no length")
    return self.shape[0]


def _iterate(self: Tensor):
    if self.ndim == 0:
        raise TypeError("iter: a tensor of shape () cannot be iterated over; use .item()")
    return (self[i] for i in range(self.shape[0]))


def _truth(self: Tensor) -> bool:
    if self.size != 1:
        raise ValueError(f"bool: the truth of a tensor of shape {self.shape} is not defined; use "
                         f"tg.any(t) or tg.all(t)")
    return bool(self.item())


def _show(self: Tensor) -> str:
    values = np.array2string(self._data, separator=", ", prefix="Tensor(", threshold=60, precision=4)
    made = f", op={self.node.primitive.name}" if self.node is not None else (
        ", requires_grad=True" if self.requires_grad else "")
    return f"Tensor({values}, shape={self.shape}, {self.dtype}{made})"


def _missing(self: Tensor, name: str) -> Any:
    """Called for what a tensor does not have; NumPy asks each for names with underscores."""
    if name.startswith("__"):
        raise AttributeError(name)
    advice = METHODS if not name.endswith("_") else {name: IN_PLACE, **METHODS}
    raise AttributeError(missing("Tensor", name, advice, ops.__all__, "tg.{}(t)"), name=name, obj=self)


def _requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Set `.requires_grad` and return the tensor."""
    self.requires_grad = requires_grad
    return self


def _logical(sign, op):
    """An operator on booleans; on integers it would be bitwise, for which there is no op."""
    def method(*operands):
        for t in operands:
            kind = t.dtype if isinstance(t, Tensor) else np.asarray(t).dtype
            if kind.kind != "b":
                raise TypeError(f"{sign}: expects booleans, got {kind}; compare first, as in (a > 0) "
                                f"{sign} (b > 0), or call tg.{op.__name__}")
        return op(*operands)
    return method


# ----- Python's operators -----

Tensor.__add__, Tensor.__radd__ = lambda a, b: ops.add(a, b), lambda a, b: ops.add(b, a)
Tensor.__sub__, Tensor.__rsub__ = lambda a, b: ops.sub(a, b), lambda a, b: ops.sub(b, a)
Tensor.__mul__, Tensor.__rmul__ = lambda a, b: ops.mul(a, b), lambda a, b: ops.mul(b, a)
Tensor.__truediv__, Tensor.__rtruediv__ = lambda a, b: ops.div(a, b), lambda a, b: ops.div(b, a)
Tensor.__pow__, Tensor.__rpow__ = lambda a, b: ops.pow(a, b), lambda a, b: ops.pow(b, a)
Tensor.__matmul__, Tensor.__rmatmul__ = lambda a, b: ops.matmul(a, b), lambda a, b: ops.matmul(b, a)
Tensor.__neg__ = lambda a: ops.neg(a)
Tensor.__abs__ = lambda a: ops.abs(a)
Tensor.__eq__, Tensor.__ne__ = lambda a, b: ops.equal(a, b), lambda a, b: ops.not_equal(a, b)
Tensor.__lt__, Tensor.__le__ = lambda a, b: ops.less(a, b), lambda a, b: ops.less_equal(a, b)
Tensor.__gt__, Tensor.__ge__ = lambda a, b: ops.greater(a, b), lambda a, b: ops.greater_equal(a, b)
Tensor.__and__ = Tensor.__rand__ = _logical("&", ops.logical_and)
Tensor.__or__ = Tensor.__ror__ = _logical("|", ops.logical_or)
Tensor.__invert__ = _logical("~", ops.logical_not)
Tensor.__getitem__, Tensor.__setitem__ = lambda a, index: ops.getitem(a, index), _setitem
Tensor.__len__, Tensor.__iter__, Tensor.__bool__ = _length, _iterate, _truth
Tensor.__float__, Tensor.__int__ = lambda a: float(a.item()), lambda a: int(a.item())
Tensor.__repr__, Tensor.__getattr__ = _show, _missing
Tensor.__format__ = lambda a, spec: format(a.item(), spec) if spec else str(a)  # f"{loss:.3f}"

# ----- PyTorch's methods -----

Tensor.backward = backward
Tensor.requires_grad_ = _requires_grad_
Tensor.T = property(lambda self: ops.transpose(self), doc="The tensor with its axes reversed.")
Tensor.sum, Tensor.mean, Tensor.prod = _reducer(ops.sum), _reducer(ops.mean), _reducer(ops.prod)
Tensor.amax, Tensor.amin = _reducer(ops.amax), _reducer(ops.amin)
Tensor.max, Tensor.min = _extremum(ops.max, ops.argmax), _extremum(ops.min, ops.argmin)
Tensor.argmax, Tensor.argmin = _reducer(ops.argmax), _reducer(ops.argmin)
Tensor.any, Tensor.all = _reducer(ops.any), _reducer(ops.all)
Tensor.var, Tensor.std = _spread_reducer(ops.var), _spread_reducer(ops.std)
Tensor.logsumexp, Tensor.norm = _reducer(ops.logsumexp), _norm
Tensor.cumsum = lambda self, dim: ops.cumsum(self, dim)
Tensor.exp, Tensor.log, Tensor.sqrt = _unary(ops.exp), _unary(ops.log), _unary(ops.sqrt)
Tensor.abs, Tensor.sin, Tensor.cos = _unary(ops.abs), _unary(ops.sin), _unary(ops.cos)
Tensor.tanh, Tensor.sigmoid, Tensor.relu = _unary(ops.tanh), _unary(ops.sigmoid), _unary(ops.relu)
Tensor.softmax = lambda self, dim: ops.softmax(self, dim)
Tensor.log_softmax = lambda self, dim: ops.log_softmax(self, dim)
Tensor.clamp = Tensor.clip = lambda self, min=None, max=None: ops.clip(self, min, max)
Tensor.pow = lambda self, exponent: ops.pow(self, exponent)
Tensor.matmul = lambda self, other: ops.matmul(self, other)
Tensor.reshape = Tensor.view = lambda self, *shape: ops.reshape(self, _sizes(shape))
Tensor.flatten = lambda self, start_dim=0, end_dim=-1: ops.flatten(self, start_dim, end_dim)
Tensor.transpose = lambda self, dim0, dim1: ops.swapaxes(self, dim0, dim1)
Tensor.permute = lambda self, *dims: ops.transpose(self, _sizes(dims))
Tensor.squeeze = lambda self, dim=None: ops.squeeze(self, dim)
Tensor.unsqueeze = lambda self, dim: ops.expand_dims(self, dim)
Tensor.expand, Tensor.split = _expand, _split
Tensor.flip = lambda self, *dims: ops.flip(self, _sizes(dims) if dims else None)
Tensor.roll = lambda self, shifts, dims=None: ops.roll(self, shifts, dims)
Tensor.astype = Tensor.to = lambda self, dtype: ops.astype(self, dtype)
Tensor.float = lambda self: ops.astype(self, np.float32)
Tensor.double = lambda self: ops.astype(self, np.float64)
Tensor.clone = lambda self: ops.mul(self, self.dtype.type(1))  # a Python 1 would make booleans int64
Tensor.tolist = lambda self: self._data.tolist()
Tensor.numel = lambda self: self.size

# ----- What help() says of the methods that are not called as the op of their name -----

SAYS = {
    "norm": "The Euclidean norm, of all entries or along `dim`; there is no other `p` than 2.",
    "cumsum": "Running sums along an axis.",
    "softmax": "exp(x) over its sum along an axis.",
    "log_softmax": "The logarithm of the softmax along an axis.",
    "clip": "Entries below `min` become min, those above `max` max; None is no bound.",
    "pow": "Every entry to the power of `exponent`, a number or a tensor.",
    "matmul": "The matrix product, as `@`.",
    "reshape": "The same entries in another shape, given as numbers or a tuple; one may be -1.",
    "flatten": "The axes from `start_dim` to `end_dim` as one.",
    "transpose": "Two axes exchanged, as in PyTorch; `tg.transpose` takes a whole order.",
    "permute": "The axes in the order of `dims`, numbers or a tuple.",
    "squeeze": "Without the axis `dim`, of length 1; by default without all such axes.",
    "unsqueeze": "With a new axis of length 1 at `dim`.",
    "flip": "The order along the axes `dims`, numbers or a tuple, reversed.",
    "roll": "Entries moved by `shifts` along `dims`; what leaves at one end enters at the other.",
    "astype": "The values in another dtype; the gradient comes back in this one.",
    "float": "The values as float32.",
    "double": "The values as float64.",
    "clone": "A copy of the values, part of the graph.",
    "tolist": "The values as nested Python lists.",
    "numel": "The number of entries.",
}
for _name, _says in SAYS.items():
    _bound = vars(Tensor)[_name]
    _bound.__name__, _bound.__qualname__, _bound.__doc__ = _name, f"Tensor.{_name}", _says
