"""What users pass, checked in one way for engine and nn: an error names the op, the argument and the value.

Pure checks of numbers, sizes, axes, dtypes and generators, which know no op and no tensor. Public as
`tg.arguments`.
"""
import math
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Axis = int | Sequence[int] | None
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")  # of a convolution


def is_whole(value: Any, least: float = -math.inf) -> bool:
    """Whether it is one integer of at least `least`, Python's or NumPy's; booleans, arrays and classes only
    look like it."""
    if isinstance(value, bool | np.bool):
        return False
    try:
        return operator.index(value) >= least
    except TypeError:
        return False


def whole(value: Any, op: str, name: str, least: float = -math.inf) -> int:
    """The argument `name` as an int.

    Raises:
        TypeError, ValueError: if it is not a whole number, or below `least`.

    Example:
        >>> whole(np.int8(3), "conv2d", "groups", 1)
        3
    """
    if not is_whole(value):
        raise TypeError(f"{op}: {name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {value!r}")
    return operator.index(value)


def sizes(value: Any, op: str, name: str, dims: int, least: float = 1) -> tuple[int, ...]:
    """One int, or one for each of `dims` axes, as a tuple.

    Raises:
        TypeError, ValueError: if it is not, or one is below `least`.

    Example:
        >>> sizes(3, "conv2d", "stride", 2), sizes([1, 2], "conv2d", "stride", 2)
        ((3, 3), (1, 2))
    """
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * dims
    if len(values) == dims and {*map(type, values)} == {int} and min(values) >= least:
        return values  # nearly every call's
    if len(values) != dims or not all(map(is_whole, values)):
        many = {1: "a tuple of one", 2: "a pair of ints"}.get(dims, f"{dims} ints")
        raise TypeError(f"{op}: {name} expects an int or {many}, got {value!r}")
    if min(values) < least:
        raise ValueError(f"{op}: {name} must be at least {least}, got {value!r}")
    return tuple(map(operator.index, values))


def sides(padding: Any, op: str, dims: int, words: Sequence[str] = ("same", "valid")
          ) -> str | tuple[tuple[int, int], ...]:
    """Padding in any form, as (before, after) for each of `dims` axes; one of the `words` stays.

    An int, or one for each axis, pads both sides alike; pairs give each side, where below 0 crops.

    Raises:
        TypeError, ValueError: for anything else.

    Example:
        >>> sides((1, 2), "conv2d", 2), sides(((1, 0), (0, -2)), "conv2d", 2), sides("same", "conv2d", 2)
        (((1, 1), (2, 2)), ((1, 0), (0, -2)), 'same')
    """
    if isinstance(padding, str):
        if padding not in words:
            meant = f", {' or '.join(map(repr, words))}" if words else ""
            why = "" if words else "; a word does not say which of several sizes is meant"
            raise ValueError(f"{op}: padding must be numbers{meant}, got {padding!r}{why}")
        return padding
    if isinstance(padding, list | tuple) and len(padding) == dims and all(
            [isinstance(side, list | tuple) for side in padding]):
        return tuple([sizes(side, op, "padding", 2, -math.inf) for side in padding])
    return tuple([(n, n) for n in sizes(padding, op, "padding", dims, 0)])


def number(value: Any, op: str, name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """The argument `name` as a float: a number, or an array or a tensor that holds one.

    Raises:
        TypeError, ValueError: for anything else, a tensor whose gradient would be lost, a number
            outside [least, most], or nan where there are such bounds.

    Example:
        >>> number(np.float32(0.5), "dropout", "p", 0, 1)
        0.5
    """
    if getattr(value, "requires_grad", False):
        raise TypeError(f"{op}: {name} must be a number, the gradient of this tensor would be lost; "
                        f"write {name}.item()")
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    if not isinstance(plain, int | float):
        raise TypeError(f"{op}: {name} must be a number, got {value!r}")
    if (least, most) != (-math.inf, math.inf) and not least <= plain <= most:
        where = f"at least {least}" if most == math.inf else f"between {least} and {most}"
        raise ValueError(f"{op}: {name} must be {where}, got {value!r}")
    try:
        return float(plain)
    except OverflowError:
        raise ValueError(f"{op}: {name}, an integer of {plain.bit_length()} bits, fits into no "
                         f"float") from None


def misplaced(shape: Sequence[int], channels: int, dims: int) -> str:
    """What an x, to be (N, channels, *`dims` axes), lacks or has elsewhere, by its shape; "" if unknown.

    Example:
        >>> misplaced((2, 8, 8, 3), 3, 2)
        '; it looks like channels-last: x.permute(0, 3, 1, 2)'
    """
    ndim, batched = len(shape), len(shape) == dims + 2
    if ndim in (dims + 1, dims + 2) and shape[-1] == channels != shape[int(batched)]:
        order = [0] * batched + [ndim - 1, *range(int(batched), ndim - 1)]
        return (f"; it looks like channels-last: x.permute({', '.join(map(str, order))})"
                + "[None], which adds the batch axis" * (not batched))
    if 0 < ndim < dims + 2 and shape[0] == channels:
        return "; the batch axis is missing: x[None] is a batch of one"
    if ndim == dims + 1 and channels == 1:
        return "; the channel axis is missing: x[:, None]"
    return ""


def axis_of(axis: Any, ndim: int, op: str) -> int:
    """The axis counted from the front; a single number is seen as a line of one, which has an axis 0.

    Raises:
        TypeError, IndexError: if it is not a whole number, or is out of range.
    """
    if not is_whole(axis):
        got = f"a {type(axis).__name__} of shape {axis.shape}" if getattr(axis, "shape", ()) else repr(axis)
        raise TypeError(f"{op}: axis must be a whole number, got {got}")
    axis, count = operator.index(axis), max(ndim, 1)
    if not -count <= axis < count:
        raise IndexError(f"{op}: axis {axis} is out of range for {ndim} dimensions")
    return axis % count


def axes_of(axis: Axis, ndim: int, op: str) -> tuple[int, ...]:
    """One axis, several or all (None), counted from the front; of a single number always none.

    Raises:
        TypeError, IndexError, ValueError: as `axis_of`, or if one is named twice.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple([axis_of(a, ndim, op) for a in (axis if isinstance(axis, Sequence) else (axis,))])
    if len(set(axes)) != len(axes):
        raise ValueError(f"{op}: axis {axis} names an axis twice")
    return axes if ndim else ()


def checked_dtype(op: str, dtype: Any, kinds: str = "fiub") -> np.dtype:
    """The dtype, of one of the kinds a tensor may have; None, which NumPy reads as float64, is none."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError):
        found = None
    if found is None or found.kind not in kinds:
        what = "a floating point dtype" if kinds == "f" else "a float, integer or boolean dtype"
        raise TypeError(f"{op}: dtype must be {what}, got {dtype!r}; e.g. dtype=np.float32")
    return found


def generator(rng: Any, op: str) -> np.random.Generator:
    """The generator itself; anything else is a TypeError that says how to make one."""
    if isinstance(rng, np.random.Generator):
        return rng
    seed = rng if isinstance(rng, int | np.integer) else "seed"
    got = "it is missing" if rng is None else f"got {rng!r}"
    raise TypeError(f"{op}: rng must be a np.random.Generator, {got}; make one with "
                    f"rng=np.random.default_rng({seed}) and pass it to every call")


def one_of(value: Any, op: str, name: str, choices: Sequence[str]) -> str:
    """The argument `name`, which must be one of the words in `choices`; else a ValueError that lists them.

    Example:
        >>> one_of("sum", "mse_loss", "reduction", ("mean", "sum"))
        'sum'
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{op}: {name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def flag(value: Any, op: str, name: str) -> bool:
    """The argument `name` as a bool; what is merely true or false, like 1 or an array, is a TypeError.

    Example:
        >>> flag(np.True_, "sum", "keepdims")
        True
    """
    if not isinstance(value, bool | np.bool):
        raise TypeError(f"{op}: {name} must be True or False, got {value!r}")
    return bool(value)


def file(path: str | os.PathLike[str], op: str) -> Path:
    """The path of a file that is there: what is read must have an end, as a pipe or a device has not.

    Raises:
        FileNotFoundError: if there is none, or a folder, a pipe, a socket or a device.
        PermissionError: if it may not be read.

    Example:
        >>> file("/dev/null", "load")
        Traceback (most recent call last):
        FileNotFoundError: load: there is no file '/dev/null', but a folder, a pipe, a socket or a device
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{op}: there is no file {os.fspath(path)!r}"
                                f"{', but a folder, a pipe, a socket or a device' if path.exists() else ''}")
    open(path, "rb").close()  # refuses one that may not be read
    return path


def instance(value: Any, kinds: Any, op: str, expected: str, advice: str = "") -> Any:
    """The value itself, of one of `kinds`; else a TypeError that says what is expected, and the advice.

    Example:
        >>> instance({}, dict, "load", "a mapping of names to arrays")
        {}
    """
    if not isinstance(value, kinds):
        raise TypeError(f"{op}: expects {expected}, got {type(value).__name__}{advice}")
    return value
