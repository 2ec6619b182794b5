"""Ops that move values and compute nothing. Each is linear, and its VJP is its adjoint.

Pairs: reshape and reshape, transpose and transpose, broadcast and sum, a roll and the roll back,
concatenating and taking slices, picking by index and adding back.
"""
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arguments import Axis, axes_of, axis_of, is_whole, whole
from ..core import as_array
from ..operands import as_tensor, tensors_of
from ..primitive import primitive
from ..tensor import Tensor

END = 2 ** 63 - 1  # of an axis of any length, to ONNX


@primitive
def _reshape(x, *, shape):
    if min(shape, default=0) < -1:  # NumPy reads -2 as -1
        raise ValueError(f"{shape} is not a shape")
    return x.reshape(shape)


_reshape.defvjp(lambda g, ans, x, *, shape: _reshape(g, shape=x.shape))
_reshape.defjvp("same")
_reshape.defsaved()
_reshape.defapart()


def _reshape_export(to, x, *, shape):
    """A single length that follows the batch is what is left of it, -1."""
    shape = to.ans.shape
    varying = [i for i, n in enumerate(shape) if not is_whole(n)]
    if len(varying) == 1 and 0 not in shape:
        shape = (*shape[:varying[0]], -1, *shape[varying[0] + 1:])
    return to("Reshape", x, to.sizes(shape), allowzero=int(0 in shape))


_reshape.defexport(_reshape_export)


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """The same values in another shape; one entry may be -1.

    Raises:
        ValueError: if the sizes differ; names both shapes.

    Example:
        >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1)).shape
        (2, 2)
    """
    sizes = shape if np.iterable(shape) else (shape,)
    shape = tuple([whole(n, "reshape", "a size in shape") for n in sizes])
    return _reshape(as_tensor(x, "reshape"), shape=shape)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from `start_dim` to `end_dim` into one (C order of the logical axes).

    Raises:
        ValueError: if `start_dim` lies after `end_dim`.

    Example:
        >>> flatten(np.ones((2, 3, 4)), 1).shape
        (2, 12)
    """
    x = as_tensor(x, "flatten")
    lo, hi = axis_of(start_dim, x.ndim, "flatten"), axis_of(end_dim, x.ndim, "flatten")
    if lo > hi:
        raise ValueError(f"flatten: start_dim {start_dim} lies after end_dim {end_dim}")
    return _reshape(x, shape=(*x.shape[:lo], math.prod(x.shape[lo:hi + 1]), *x.shape[hi + 1:]))


@primitive
def _transpose(x, *, axes):
    return x.transpose(axes)


_transpose.defvjp(
    lambda g, ans, x, *, axes: _transpose(g, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__))))
_transpose.defjvp("same")
_transpose.defsaved()
_transpose.defexport(lambda to, x, *, axes: to("Transpose", x, perm=axes))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Permute the axes; without `axes` reverse them (NumPy's transpose).

    Raises:
        ValueError: if `axes` is not a permutation.

    Example:
        >>> transpose(np.ones((2, 3, 4)), (0, 2, 1)).shape
        (2, 4, 3)
    """
    x = as_tensor(x, "transpose")
    axes = axes_of(axes, x.ndim, "transpose") if axes is not None else tuple(range(x.ndim))[::-1]
    if len(axes) != x.ndim:
        raise ValueError(f"transpose: axes {axes} are not a permutation of the {x.ndim} axes of "
                         f"shape {x.shape}")
    return _transpose(x, axes=axes)


def swapaxes(x: Any, axis1: int, axis2: int) -> Tensor:
    """Exchange two axes.

    Example:
        >>> swapaxes(np.ones((2, 3, 4)), 0, -1).shape
        (4, 3, 2)
    """
    x = as_tensor(x, "swapaxes")
    i, j = axis_of(axis1, x.ndim, "swapaxes"), axis_of(axis2, x.ndim, "swapaxes")
    return _transpose(x, axes=tuple([{i: j, j: i}.get(k, k) for k in range(x.ndim)]))


def squeeze(x: Any, axis: Axis = None) -> Tensor:
    """Drop axes of length 1: all of them, or those given (an axis of another length stays,
    as in PyTorch; NumPy raises).

    Example:
        >>> squeeze(np.ones((1, 3, 1)), 0).shape
        (3, 1)
    """
    x = as_tensor(x, "squeeze")
    drop = axes_of(axis, x.ndim, "squeeze")
    return _reshape(x, shape=tuple([n for i, n in enumerate(x.shape) if n != 1 or i not in drop]))


def expand_dims(x: Any, axis: int) -> Tensor:
    """Insert an axis of length 1 (PyTorch's unsqueeze).

    Example:
        >>> expand_dims(np.ones((2, 3)), -1).shape
        (2, 3, 1)
    """
    x = as_tensor(x, "expand_dims")
    i = axis_of(axis, x.ndim + 1, "expand_dims")
    return _reshape(x, shape=(*x.shape[:i], 1, *x.shape[i:]))


@primitive
def _broadcast_to(x, *, shape):
    return np.broadcast_to(x, shape)


_broadcast_to.defvjp(lambda g, ans, x, *, shape: g)  # summed in pullback.py, like all broadcasting
_broadcast_to.defjvp("same")
_broadcast_to.defsaved()
_broadcast_to.defbroadcast()
_broadcast_to.defexport(lambda to, x, *, shape: to("Expand", x, to.sizes(shape)))


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Repeat along new axes and axes of length 1, without a copy.

    Raises:
        ValueError: if the shapes do not broadcast; names both.

    Example:
        >>> broadcast_to([1.0, 2.0], (3, 2)).shape
        (3, 2)
    """
    x, sizes = as_tensor(x, "broadcast_to"), shape if np.iterable(shape) else (shape,)
    shape = tuple([whole(n, "broadcast_to", "a size in shape", 0) for n in sizes])
    try:
        return _broadcast_to(x, shape=shape)
    except ValueError:
        raise ValueError(f"broadcast_to: shape {x.shape} does not broadcast to {shape}; an axis must "
                         f"be equal, 1 or missing in front") from None


def flip(x: Any, axis: Axis = None) -> Tensor:
    """Reverse the order along axes (all by default).

    Example:
        >>> flip([1.0, 2.0, 3.0]).data.tolist()
        [3.0, 2.0, 1.0]
    """
    x = as_tensor(x, "flip")
    reversed_axes = axes_of(axis, x.ndim, "flip")
    return getitem(x, tuple(slice(None, None, -1 if i in reversed_axes else None) for i in range(x.ndim)))


@primitive
def _roll(x, *, shift, axis):
    return np.roll(x, shift, axis)


_roll.defvjp(lambda g, ans, x, *, shift, axis: _roll(g, shift=tuple(-s for s in shift), axis=axis))
_roll.defjvp("same")


def _roll_export(to, x, *, shift, axis):
    y = x
    for n, a in zip(shift, axis):
        cut = [-n % x.shape[a]] if x.shape[a] else [0]
        y = to("Concat", to("Slice", y, np.array(cut), np.array([END]), np.array([a])),
               to("Slice", y, np.array([0]), np.array(cut), np.array([a])), axis=a)
    return y


_roll.defexport(_roll_export)


def roll(x: Any, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
    """Shift values along axes; those shifted out at the end return at the start.

    Raises:
        ValueError: if there is not one shift per axis.

    Example:
        >>> roll([1.0, 2.0, 3.0], 1).data.tolist()
        [3.0, 1.0, 2.0]
    """
    x = as_tensor(x, "roll")
    if axis is None:
        return _reshape(roll(_reshape(x, shape=(x.size,)), shift, 0), shape=x.shape)
    axes = [axis_of(a, x.ndim, "roll") for a in (axis if isinstance(axis, Sequence) else (axis,))]
    shifts = [whole(n, "roll", "shift") for n in (
        shift if isinstance(shift, list | tuple) else (shift,))]
    if len(axes) != len(shifts):
        raise ValueError(f"roll: expects one shift per axis, got shift={shift} and axis={axis}")
    return _roll(x, shift=tuple(shifts), axis=tuple(axes))


# ----- joining and cutting -----


@primitive
def _concatenate(*xs, axis):
    return np.concatenate(xs, axis)


def _part(i, g, ans, *xs, axis):
    start = sum(x.shape[axis] for x in xs[:i])
    return getitem(g, (slice(None),) * axis + (slice(start, start + xs[i].shape[axis]),))


_concatenate.defvjp_variadic(_part)
_concatenate.defexport(lambda to, *xs, axis: to("Concat", *xs, axis=axis))


def _tensors(op: str, arrays: Any) -> list[Tensor]:
    if not np.iterable(arrays):
        raise TypeError(f"{op}: expects a list of tensors, got {arrays!r}")
    return list(tensors_of(op, tuple(arrays)))


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors along an axis they have.

    Raises:
        ValueError: if the shapes differ elsewhere; names them.

    Example:
        >>> concatenate([[1.0], [2.0, 3.0]]).data.tolist()
        [1.0, 2.0, 3.0]
    """
    xs = _tensors("concatenate", arrays)
    if not xs:
        raise ValueError("concatenate: expects at least one tensor, got none")
    return _concatenate(*xs, axis=axis_of(axis, xs[0].ndim, "concatenate"))


concat = concatenate


def stack(arrays: Sequence[Any], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    Raises:
        ValueError: if the shapes differ.

    Example:
        >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1).data.tolist()
        [[1.0, 3.0], [2.0, 4.0]]
    """
    xs = _tensors("stack", arrays)
    if len({x.shape for x in xs}) != 1:
        raise ValueError(f"stack: expects tensors of one shape, got {[x.shape for x in xs]}")
    axis = axis_of(axis, xs[0].ndim + 1, "stack")
    return _concatenate(*[expand_dims(x, axis) for x in xs], axis=axis)


def split(x: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Cut along an axis into equal sections, or at the given indices (NumPy's split).

    Raises:
        ValueError: if the axis is not a multiple of the number of sections.

    Example:
        >>> [part.shape for part in split(np.ones((6, 2)), 3)]
        [(2, 2), (2, 2), (2, 2)]
    """
    x = as_tensor(x, "split")
    axis = axis_of(axis, x.ndim, "split")
    if not x.ndim:
        raise ValueError("split: a single number, of shape (), has no axis to cut")
    n, cut = x.shape[axis], indices_or_sections
    if is_whole(cut):
        cut = operator.index(cut)  # a Python int, which has no bound
        if cut < 1 or n % cut:
            raise ValueError(f"split: axis {axis} of shape {x.shape} cannot be cut into {cut} equal "
                             f"sections")
        cuts = [n * i // cut for i in range(cut + 1)]
    else:
        given = cut if isinstance(cut, Sequence | np.ndarray) and not isinstance(cut, str | bytes) else (cut,)
        cuts = [0, *[whole(i, "split", "indices_or_sections") for i in given], n]
    return [getitem(x, (slice(None),) * axis + (slice(a, b),)) for a, b in zip(cuts, cuts[1:])]


# ----- picking by index and adding back, each the other's VJP; to a place named twice it adds twice -----


@primitive
def _getitem(x, *, index):
    return x[index]


@primitive
def _scatter_add(g, *, index, shape):
    out = np.zeros(shape, g.dtype)
    if any(isinstance(i, np.ndarray) and i.dtype.kind != "b" for i in index):  # may name a place twice
        out = out.astype(np.promote_types(g.dtype, np.float32))  # in float16 2048 + 1 is 2048
        np.add.at(out, index, g)
    else:
        out[index] = g
    return out


_getitem.defvjp(lambda g, ans, x, *, index: _scatter_add(g, index=index, shape=x.shape))
_getitem.defjvp("same")
_getitem.defsaved()
_getitem.defvarying("index")
_scatter_add.defvjp(lambda u, ans, g, *, index, shape: _getitem(u, index=index))
_scatter_add.defjvp("same")
_scatter_add.defvarying("index")


def _getitem_export(to, x, *, index):
    """Slices in one go, then one array along its axis; ONNX counts negative places as NumPy does."""
    taken = sum(map(_axes_taken, index))
    rest = (slice(None),) * (len(x.shape) - taken)
    at = next((i for i, part in enumerate(index) if part is Ellipsis), len(index))
    index = (*index[:at], *rest, *index[at + 1:])
    along = [part for part in index if part is not None]
    arrays = [(a, part) for a, part in enumerate(along) if isinstance(part, np.ndarray)]
    if len(arrays) > 1 or any(part.dtype == bool for _, part in arrays) or arrays and int in map(type, along):
        raise NotImplementedError("getitem: an index with a mask, several arrays, or an array beside numbers "
                                  "has no ONNX rule; index one axis after the other, x[:, i][:, :, j]")
    cuts = []
    for a, part in enumerate(along):
        if type(part) is int:
            cuts.append((part, part + 1 or END, a, 1))
        elif isinstance(part, slice) and part != slice(None):
            step = 1 if part.step is None else part.step
            start, stop = (0, END) if step > 0 else (END, -END)
            start = start if part.start is None else part.start
            full = part.stop is None or step > 0 and part.stop == x.shape[a]
            cuts.append((start, stop if full else part.stop, a, step))
    y = to("Slice", x, *np.array(cuts, np.int64).T) if cuts else x
    y = to("Gather", y, arrays[0][1], axis=arrays[0][0]) if arrays else y
    numbers = [a for a, part in enumerate(along) if type(part) is int]
    y = to("Squeeze", y, np.array(numbers)) if numbers else y
    return _new_axes(to, y, [part for part in index if type(part) is not int])


def _new_axes(to, y, index):
    at, places = 0, []
    for part in index:
        if part is None:
            places.append(at)
        at += part.ndim if isinstance(part, np.ndarray) else 1
    return to("Unsqueeze", y, np.array(places)) if places else y


_getitem.defexport(_getitem_export)


def _plain(i: Any) -> Any:
    """An index as plain slices, integers and arrays."""
    if i is None or i is Ellipsis or isinstance(i, slice) or type(i) is int:
        return i
    array = as_array(i, copy=False, what="getitem: an index")
    if array.size == 0 and not isinstance(i, Tensor | np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub":
        raise TypeError(f"getitem: indices must be integers, booleans, slices, None or ..., got "
                        f"{type(i).__name__} of dtype {array.dtype}")
    return int(array) if array.ndim == 0 and array.dtype.kind != "b" else array


def _picked(op: str, x: Tensor, index: tuple[Any, ...]) -> Tensor:
    try:
        return _getitem(x, index=index)
    except (IndexError, OverflowError) as e:
        raise IndexError(f"{op}: {e.__cause__ or e} (index {index}, shape {x.shape})") from None


def getitem(x: Any, index: Any) -> Tensor:
    """x[index], NumPy's basic and advanced indexing; `t[index]` takes numbers beside arrays as PyTorch does.

    Raises:
        IndexError: if the index is out of range or has too many axes; names both.

    Example:
        >>> getitem([1.0, 2.0, 3.0], [0, 0, 2]).data.tolist()
        [1.0, 1.0, 3.0]
    """
    index = index if isinstance(index, tuple) else (index,)
    return _picked("getitem", as_tensor(x, "getitem"), tuple([_plain(i) for i in index]))


def _axes_taken(i: Any) -> int:
    """How many axes of a tensor one part of an index stands for."""
    return 0 if i is None or i is Ellipsis else i.ndim if isinstance(i, np.ndarray) and i.dtype == bool else 1


def numbers_first(x: Tensor, index: tuple[Any, ...]) -> Tensor:
    """x[index] as PyTorch reads it: each number is taken before any array is.

    To NumPy a number beside arrays is one of them, and what arrays pick comes first where they do not lie
    together: `x[0, :, [1, 2]]` of shape (2, 3, 4) is (2, 3) there, and (3, 2) here. An ellipsis that stands
    for no axis keeps them apart there, and not here.
    """
    parts = [_plain(i) for i in index]
    if any(isinstance(i, np.ndarray) for i in parts):
        all_of = [slice(None)]
        rest = all_of * (x.ndim - sum(map(_axes_taken, parts)))
        parts = [part for i in parts for part in (rest if i is Ellipsis else [i])]
        if any(type(i) is int for i in parts):
            basic = [part for i in parts for part in (
                all_of * _axes_taken(i) if isinstance(i, np.ndarray) else [i])]
            x = _picked("getitem", x, tuple(basic))
            parts = [i if isinstance(i, np.ndarray) else slice(None) for i in parts if type(i) is not int]
    return _picked("getitem", x, tuple(parts))


def take_along_axis(x: Any, indices: Any, axis: int) -> Tensor:
    """out[.., i, ..] = x[.., indices[.., i, ..], ..] (NumPy's name; see also `t.gather`, PyTorch's).

    On the other axes the lengths are equal, or one is 1, which broadcasts; or that of the indices is
    smaller, and they pick from the first rows of x.

    Raises:
        TypeError, IndexError: for indices that are not integers, lie outside, or do not fit x.

    Example:
        >>> take_along_axis([[1.0, 2.0], [3.0, 4.0]], [[1], [0]], 1).data.tolist()
        [[2.0], [3.0]]
    """
    x, indices = as_tensor(x, "take_along_axis"), np.asarray(indices)
    if indices.dtype.kind not in "iu" or indices.ndim != x.ndim:
        raise TypeError(f"take_along_axis: indices must be integers with {x.ndim} axes, got "
                        f"{indices.dtype} of shape {indices.shape}")
    axis = axis_of(axis, x.ndim, "take_along_axis")
    if not x.ndim:
        return _reshape(take_along_axis(_reshape(x, shape=(1,)), indices[None], 0), shape=())
    grid = np.indices([n if m == 1 else min(m, n) for m, n in zip(indices.shape, x.shape)], sparse=True)
    return _picked("take_along_axis", x, (*grid[:axis], indices, *grid[axis + 1:]))


def gather(x: Any, axis: int, index: Any) -> Tensor:
    """The entries that `index` names along an axis; on other axes it may be shorter, and picks from the
    first rows (PyTorch's; `take_along_axis` is NumPy's, where one row stands for all).

    Args:
        x: any shape.
        axis: the axis; `dim` is PyTorch's name for it.
        index: integers, with as many axes as x.

    Raises:
        ValueError: if `index` has other axes, or is longer on one of the others; names both shapes.

    Example:
        >>> gather([[1.0, 2.0], [3.0, 4.0]], 1, [[1, 1]]).data.tolist()
        [[2.0, 2.0]]
    """
    x = as_tensor(x, "gather")
    axis = axis_of(axis, x.ndim, "gather")
    rows = _rows(x, axis, np.shape(index), "gather", "index")
    return take_along_axis(getitem(x, rows), index, axis)


def _rows(x: Tensor, axis: int, sizes: tuple[int, ...], op: str, what: str) -> tuple[slice, ...]:
    """The part of x that an array of `sizes` lies beside, all of it along the axis."""
    if len(sizes) != x.ndim or any(m > n and k != axis for k, (m, n) in enumerate(zip(sizes, x.shape))):
        raise ValueError(f"{op}: {what} must have the {x.ndim} axes of the tensor and, but for axis {axis}, "
                         f"none longer, got {sizes} for {x.shape}")
    return tuple(slice(None if k == axis else m) for k, m in enumerate(sizes))


def scatter_add(x: Any, axis: int, index: Any, src: Any) -> Tensor:
    """x, with each entry of `src` added where `index` says along an axis; a place named twice gets both.

    Args:
        x: any shape.
        axis: the axis; `dim` is PyTorch's name for it.
        index: integers, with as many axes as x, not longer than it but along `axis`.
        src: the dtype of x; as large as `index`, or larger: then its first rows count.

    Raises:
        TypeError, ValueError, IndexError: for an index that is not of integers, too long, or out of range.

    Example:
        >>> scatter_add([0.0, 0.0, 0.0], 0, [2, 0, 2], [1.0, 2.0, 3.0]).data.tolist()
        [2.0, 0.0, 4.0]
    """
    x, src, index = as_tensor(x, "scatter_add"), as_tensor(src, "scatter_add"), np.asarray(index)
    axis = axis_of(axis, x.ndim, "scatter_add")
    if index.dtype.kind not in "iu":
        raise TypeError(f"scatter_add: index must be integers, got {index.dtype}")
    _rows(x, axis, index.shape, "scatter_add", "index")
    _rows(src, -1, index.shape, "scatter_add", "index, beside src,")
    if index.size and not (-x.shape[axis] <= index.min() and index.max() < x.shape[axis]):
        raise IndexError(f"scatter_add: index is from {index.min()} to {index.max()}, axis {axis} of shape "
                         f"{x.shape} has places 0 to {x.shape[axis] - 1}")
    grid = np.indices(index.shape, sparse=True)
    part = getitem(src, tuple([slice(n) for n in index.shape]))
    return x + _scatter_add(part, index=(*grid[:axis], index, *grid[axis + 1:]), shape=x.shape)


# ----- NumPy's ways to repeat and to arrange, made of the ops above -----


def tile(x: Any, reps: int | Sequence[int]) -> Tensor:
    """The whole of x one after the other, so many times along each axis (PyTorch's `t.repeat`).

    Example:
        >>> tile([1.0, 2.0], (2, 2)).data.tolist()
        [[1.0, 2.0, 1.0, 2.0], [1.0, 2.0, 1.0, 2.0]]
    """
    x = as_tensor(x, "tile")
    times = [whole(n, "tile", "reps", 0) for n in (reps if np.iterable(reps) else (reps,))]
    times = [1] * (x.ndim - len(times)) + times
    sizes = (1,) * (len(times) - x.ndim) + x.shape
    apart = _reshape(x, shape=tuple([n for size in sizes for n in (1, size)]))
    spread = _broadcast_to(apart, shape=tuple([n for pair in zip(times, sizes) for n in pair]))
    return _reshape(spread, shape=tuple([m * n for m, n in zip(times, sizes)]))


def repeat(x: Any, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Each entry so many times in a row (PyTorch's `repeat_interleave`; `t.repeat` is `tile`).

    Args:
        x: any shape.
        repeats: a number, or one for each entry along the axis.
        axis: None: of all entries in a row.

    Raises:
        ValueError: if there is not one number for each entry.

    Example:
        >>> repeat([1.0, 2.0], 2).data.tolist(), repeat([[1.0], [2.0]], [2, 1], 0).data.tolist()
        ([1.0, 1.0, 2.0, 2.0], [[1.0], [1.0], [2.0]])
    """
    x = as_tensor(x, "repeat")
    if axis is None or not x.ndim:
        x, axis = _reshape(x, shape=(x.size,)), 0
    axis = axis_of(axis, x.ndim, "repeat")
    if is_whole(repeats):
        times = whole(repeats, "repeat", "repeats", 0)
        sizes = x.shape[:axis + 1], (times,), x.shape[axis + 1:]
        spread = _broadcast_to(expand_dims(x, axis + 1), shape=sum(sizes, ()))
        return _reshape(spread, shape=(*x.shape[:axis], x.shape[axis] * times, *x.shape[axis + 1:]))
    counts = [whole(n, "repeat", "repeats", 0) for n in repeats]
    if len(counts) != x.shape[axis]:
        raise ValueError(f"repeat: expects a number of repeats for each of the {x.shape[axis]} entries along "
                         f"axis {axis}, got {len(counts)}")
    return getitem(x, (slice(None),) * axis + (np.repeat(np.arange(len(counts)), counts),))


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other places; the others keep their order.

    Example:
        >>> moveaxis(np.ones((2, 3, 4)), 0, -1).shape
        (3, 4, 2)
    """
    x = as_tensor(x, "moveaxis")
    old, new = [[axis_of(a, x.ndim, "moveaxis") for a in (given if np.iterable(given) else (given,))]
                for given in (source, destination)]
    if len(old) != len(new) or len({*old}) < len(old) or len({*new}) < len(new):
        raise ValueError(f"moveaxis: expects as many destinations as sources, no axis twice, got {source} "
                         f"and {destination}")
    order = [a for a in range(x.ndim) if a not in old]
    for place, a in sorted(zip(new, old)):
        order.insert(place, a)
    return _transpose(x, axes=tuple(order))


def vstack(arrays: Sequence[Any]) -> Tensor:
    """Join one below the other, along the first axis; a vector is a row.

    Example:
        >>> vstack([[1.0, 2.0], [3.0, 4.0]]).shape
        (2, 2)
    """
    return concatenate([_reshape(x, shape=(1, x.size)) if x.ndim < 2 else x
                        for x in _tensors("vstack", arrays)], 0)


def hstack(arrays: Sequence[Any]) -> Tensor:
    """Join one beside the other, along the second axis; vectors along their only one.

    Example:
        >>> hstack([[1.0, 2.0], [3.0]]).data.tolist()
        [1.0, 2.0, 3.0]
    """
    xs = [x if x.ndim else _reshape(x, shape=(1,)) for x in _tensors("hstack", arrays)]
    return concatenate(xs, 0 if not xs or xs[0].ndim == 1 else 1)


def diff(x: Any, n: int = 1, axis: int = -1) -> Tensor:
    """Each entry along an axis less the one before it; n times (`np.diff`; `tg.diff` compares drawings).

    Raises:
        ValueError: if x is a single number.

    Example:
        >>> diff([1.0, 4.0, 9.0]).data.tolist(), diff([1.0, 4.0, 9.0], 2).data.tolist()
        ([3.0, 5.0], [2.0])
    """
    x, n = as_tensor(x, "diff"), whole(n, "diff", "n", 0)
    if not x.ndim:
        raise ValueError("diff: a single number, of shape (), has no axis to go along")
    before = (slice(None),) * axis_of(axis, x.ndim, "diff")
    for _ in range(n):
        later, earlier = getitem(x, (*before, slice(1, None))), getitem(x, (*before, slice(None, -1)))
        x = later != earlier if x.dtype == bool else later - earlier
    return x


def diag(v: Any, k: int = 0) -> Tensor:
    """The k-th diagonal of a matrix; of a vector, the matrix with it there and 0 elsewhere.

    Raises:
        ValueError: if `v` is neither a vector nor a matrix.

    Example:
        >>> diag([[1.0, 2.0], [3.0, 4.0]]).data.tolist(), diag([5.0], 1).data.tolist()
        ([1.0, 4.0], [[0.0, 5.0], [0.0, 0.0]])
    """
    v, k = as_tensor(v, "diag"), whole(k, "diag", "k")
    down, right = max(-k, 0), max(k, 0)
    if v.ndim == 1:
        places, n = np.arange(v.size), v.size + abs(k)
        return _scatter_add(v, index=(places + down, places + right), shape=(n, n))
    if v.ndim != 2:
        raise ValueError(f"diag: expects a vector or a matrix, got shape {v.shape}")
    places = np.arange(max(min(v.shape[0] - down, v.shape[1] - right), 0))
    return getitem(v, (places + down, places + right))
