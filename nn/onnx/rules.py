"""What each ONNX operator is in ops of tinygrad_conv: one table, by the operator's name.

A rule takes the inputs by position, None for one that is left out, and the attributes by their ONNX names:
its signature says which there are, and an annotation that is a `Literal` which values they may have. What was
an attribute in older files and is an input in newer ones is a parameter of that name. Where a version changed
the meaning, the entry says since which version a rule holds. One with a parameter `at` is told where it runs.

Whole numbers and booleans are tensors that are on no tape: shapes are computed anew for every batch.
"""
import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple

import numpy as np

import tinygrad_conv as tg

Rule = Callable[..., Any]


class At(NamedTuple):
    """Where a rule runs."""

    training: bool
    rng: np.random.Generator
    outputs: int  # how many are asked for
    learns: bool  # whether its running statistics are buffers of the model


def ints(values: Any) -> list[int]:
    """Whole numbers, of an attribute or of a tensor."""
    return [int(n) for n in np.ravel(values.data if isinstance(values, tg.Tensor) else values)]


def single(value: Any) -> Any:
    """The number, of an attribute or of a tensor."""
    return value.item() if isinstance(value, tg.Tensor) else value


def plain(f: Callable[..., Any]) -> Rule:
    """NumPy's function, of what has no derivative."""
    return lambda *xs, **attributes: tg.tensor(np.asarray(f(*[x.data for x in xs], **attributes)))


def same(x: Any, y: Any) -> Any:
    """y, as wide as x: sums of int32 are int64 in NumPy."""
    return y if y.dtype == x.dtype else y.astype(x.dtype)


def dtype_of(number: int) -> np.dtype:
    """The NumPy type of an ONNX type's number."""
    return np.dtype(TYPES[number])


TYPES: dict[int, Any] = {  # ONNX's numbers of the types that tensors have
    1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool,
    10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64}
Type = Literal[1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13]
AutoPad = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]

# ----- elementwise -----


def divided(x: Any, y: Any) -> Any:
    """Whole numbers are rounded towards 0."""
    if x.dtype.kind == "f":
        return x / y
    down = x.data // y.data
    return tg.tensor((down + ((down < 0) & (down * y.data != x.data))).astype(x.dtype))


def modulo(x: Any, y: Any, *, fmod: int = 0) -> Any:
    if x.dtype.kind != "f":
        return plain(np.fmod if fmod else np.remainder)(x, y)
    return x - y * tg.trunc(x / y) if fmod else tg.remainder(x, y)


def clipped(x: Any, min: Any = None, max: Any = None) -> Any:
    bounds = [None if b is None else single(b) for b in (min, max)]
    return x if bounds == [None, None] else tg.clip(x, *bounds)


def infinite(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    below, above = np.isneginf(x.data), np.isposinf(x.data)
    return tg.tensor(below * bool(detect_negative) | above * bool(detect_positive))


def shifted(x: Any, by: Any, *, direction: Literal["LEFT", "RIGHT"]) -> Any:
    return plain(np.left_shift if direction == "LEFT" else np.right_shift)(x, by)


def many(f: Rule) -> Rule:
    """Of two or more, from the left."""
    return lambda *xs: reduce(f, xs)


# ----- sums, and what is taken along axes -----


def over(f: Rule) -> Rule:
    """A reduction: of all axes if none are named, unless an attribute says that these are none."""
    def rule(x: Any, axes: Any = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Any:
        named = [] if axes is None else ints(axes)
        axis = tuple(named) if named or noop_with_empty_axes else None
        return same(x, f(x, axis, bool(keepdims)))
    return rule


def arg(f: Callable[..., Any]) -> Rule:
    def rule(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
        values = np.flip(x.data, axis) if select_last_index else x.data
        found = f(values, axis, keepdims=bool(keepdims))
        return tg.tensor(np.asarray(x.shape[axis] - 1 - found if select_last_index else found))
    return rule


def flattened(f: Rule) -> Rule:
    """As a matrix whose rows begin at an axis: what softmax meant before version 13."""
    def rule(x: Any, *, axis: int = 1) -> Any:
        return tg.reshape(f(flat(x, axis=axis), axis=1), x.shape)
    return rule


def hardmax(x: Any, *, axis: int = -1) -> Any:
    largest = np.argmax(x.data, axis, keepdims=True)
    places = np.arange(x.shape[axis]).reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    return tg.tensor((places == largest).astype(x.dtype))


def running(f: Rule) -> Rule:
    """A running sum or product, of all before if it is exclusive."""
    def rule(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
        a = single(axis) % x.ndim
        y = f(tg.flip(x, a) if reverse else x, a)
        if exclusive:
            first = y[(slice(None),) * a + (slice(1),)]
            one = first * 0 + (1 if f is tg.cumprod else 0)
            y = tg.concat([one, y[(slice(None),) * a + (slice(-1),)]], a)
        return same(x, tg.flip(y, a) if reverse else y)
    return rule


def topk(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return tuple(tg.topk(x, *ints(k), axis, bool(largest)))


# ----- shapes -----


def shape(x: Any, *, start: int = 0, end: int | None = None) -> Any:
    return tg.tensor(np.array(x.shape[start:end], np.int64))


def reshaped(x: Any, shape: Any, *, allowzero: int = 0) -> Any:
    sizes = ints(shape)
    return tg.reshape(x, [x.shape[i] if n == 0 and not allowzero else n for i, n in enumerate(sizes)])


def flat(x: Any, *, axis: int = 1) -> Any:
    axis = axis + x.ndim if axis < 0 else axis
    return tg.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def squeezed(x: Any, axes: Any = None) -> Any:
    if axes is None:
        return tg.squeeze(x)
    drop = {a % x.ndim for a in ints(axes)}
    if wrong := [a for a in drop if x.shape[a] != 1]:
        raise ValueError(f"axes {wrong} of shape {x.shape} are not of length 1")
    return tg.reshape(x, [n for i, n in enumerate(x.shape) if i not in drop])


def unsqueezed(x: Any, axes: Any) -> Any:
    new = {a % (x.ndim + len(ints(axes))) for a in ints(axes)}
    lengths = iter(x.shape)
    return tg.reshape(x, [1 if i in new else next(lengths) for i in range(x.ndim + len(new))])


def expanded(x: Any, shape: Any) -> Any:
    return tg.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(ints(shape))))


def transposed(x: Any, *, perm: Sequence[int] | None = None) -> Any:
    return tg.transpose(x, None if perm is None else tuple(perm))


def split(x: Any, split: Any = None, *, axis: int = 0, num_outputs: int | None = None, at: At) -> Any:
    """Into parts of the given lengths, or equal ones, of which the last may be smaller."""
    n, parts = x.shape[axis], num_outputs or at.outputs
    lengths = [-(-n // parts)] * (parts - 1) if split is None else ints(split)[:-1]
    return tuple(tg.split(x, [int(i) for i in np.cumsum(lengths)], axis)) if lengths else (x,)


def sliced(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    starts, ends = ints(starts), ints(ends)
    axes = range(len(starts)) if axes is None else ints(axes)
    steps = [1] * len(starts) if steps is None else ints(steps)
    index = [slice(None)] * x.ndim
    for start, end, a, step in zip(starts, ends, axes, steps):
        n = x.shape[a]
        before = step < 0 and end < -n  # the first entry is to be taken as well
        index[a] = slice(start, None if before else end, step)
    return x[tuple(index)]


def gathered(x: Any, indices: Any, *, axis: int = 0) -> Any:
    places = indices.data
    return x[(slice(None),) * (axis % x.ndim) + (int(places) if places.ndim == 0 else places,)]


def gathered_elements(x: Any, indices: Any, *, axis: int = 0) -> Any:
    return tg.gather(x, axis, indices.data % x.shape[axis])


def gathered_nd(x: Any, indices: Any, *, batch_dims: int = 0) -> Any:
    places = indices.data
    rows = np.indices(places.shape[:-1], sparse=True)[:batch_dims]
    return x[(*rows, *np.moveaxis(places, -1, 0))]


def scattered(x: Any, places: np.ndarray, updates: Any, reduction: str) -> Any:
    """x with updates put, or added, where they belong in x as one line."""
    line, places = tg.reshape(x, (-1,)), places.ravel()
    if reduction == "none":
        kept = np.ones(x.size, bool)
        kept[places] = False
        line = tg.where(kept, line, line * 0)
    return same(x, tg.reshape(tg.scatter_add(line, 0, places, tg.reshape(updates, (-1,))), x.shape))


def scattered_elements(x: Any, indices: Any, updates: Any, *, axis: int = 0,
                       reduction: Literal["none", "add"] = "none") -> Any:
    at = [*np.indices(indices.shape, sparse=True)]
    at[axis] = indices.data % x.shape[axis]
    return scattered(x, np.ravel_multi_index(np.broadcast_arrays(*at), x.shape), updates, reduction)


def scattered_nd(x: Any, indices: Any, updates: Any, *, reduction: Literal["none", "add"] = "none") -> Any:
    sizes = x.shape[:indices.shape[-1]]
    block = math.prod(x.shape[len(sizes):])
    first = np.ravel_multi_index(tuple(np.moveaxis(indices.data % np.array(sizes), -1, 0)), sizes)
    return scattered(x, first[..., None] * block + np.arange(block), updates, reduction)


def padded(x: Any, pads: Any, value: Any = None, axes: Any = None, *,
           mode: Literal["constant", "reflect", "edge", "wrap"] = "constant") -> Any:
    sides, named = ints(pads), range(x.ndim) if axes is None else [a % x.ndim for a in ints(axes)]
    width = [(0, 0)] * x.ndim
    for i, a in enumerate(named):
        width[a] = sides[i], sides[i + len(sides) // 2]
    fill = 0 if value is None else single(value)
    return tg.pad(x, width, {"wrap": "circular"}.get(mode, mode), fill)


def one_hot(indices: Any, depth: Any, values: Any, *, axis: int = -1) -> Any:
    [n], off_on = ints(depth), values.data
    places = np.expand_dims(indices.data, axis)
    classes = np.arange(n).reshape([n if i == axis % places.ndim else 1 for i in range(places.ndim)])
    return tg.tensor(off_on[(np.where(places < 0, places + n, places) == classes).astype(int)])


def depth_to_space(x: Any, *, blocksize: int, mode: Literal["DCR", "CRD"] = "DCR") -> Any:
    if mode == "CRD":
        return tg.pixel_shuffle(x, blocksize)
    (n, c, h, w), b = x.shape, blocksize
    parts = tg.transpose(tg.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    return tg.reshape(parts, (n, c // b**2, h * b, w * b))


def space_to_depth(x: Any, *, blocksize: int, mode: Literal["DCR", "CRD"] = "DCR") -> Any:
    if mode == "CRD":
        return tg.pixel_unshuffle(x, blocksize)
    (n, c, h, w), b = x.shape, blocksize
    parts = tg.transpose(tg.reshape(x, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return tg.reshape(parts, (n, c * b**2, h // b, w // b))


# ----- made from nothing -----


def constant(*, value: Any = None, value_float: float | None = None, value_floats: Any = None,
             value_int: int | None = None, value_ints: Any = None) -> Any:
    if value is not None:
        return value
    floats = value_floats if value_float is None else value_float
    return tg.tensor(np.array(value_ints if value_int is None else value_int, np.int64) if floats is None else
                     np.array(floats, np.float32))


def constant_of_shape(shape: Any, *, value: Any = None) -> Any:
    fill = np.float32(0) if value is None else value.data.reshape(())
    return tg.tensor(np.full(ints(shape), fill, fill.dtype))


def eye_like(x: Any, *, dtype: Type | None = None, k: int = 0) -> Any:
    return tg.tensor(np.eye(*x.shape, k, dtype=x.dtype if dtype is None else dtype_of(dtype)))


def trilu(x: Any, k: Any = None, *, upper: int = 1) -> Any:
    return (tg.triu if upper else tg.tril)(x, 0 if k is None else single(k))


def cast(x: Any, *, to: Type) -> Any:
    return tg.astype(x, dtype_of(to))


# ----- products -----


def gemm(a: Any, b: Any, c: Any = None, *, alpha: float = 1.0, beta: float = 1.0, transA: int = 0,
         transB: int = 0) -> Any:
    a = tg.transpose(a) if transA else a
    if transB and alpha == beta == 1 and (c is None or c.shape == b.shape[:1]):
        return tg.linear(a, b, c)
    y = tg.matmul(a, tg.transpose(b) if transB else b)
    y = y if alpha == 1 else same(y, y * alpha)
    return y if c is None else y + (c if beta == 1 else same(y, c * beta))


def sides(auto_pad: str, pads: Any, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
          dilation: Sequence[int]) -> list[tuple[int, int]]:
    """Cells before and after each axis."""
    dims = len(size)
    if auto_pad in ("NOTSET", "VALID"):
        pads = [0] * 2 * dims if pads is None or auto_pad == "VALID" else pads
        return [*zip(pads[:dims], pads[dims:])]
    total = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
             for n, k, s, d in zip(size, kernel, stride, dilation)]
    return [halves(n, auto_pad) for n in total]


def halves(n: int, auto_pad: str) -> tuple[int, int]:
    """The odd cell comes last in SAME_UPPER, else first."""
    return (n // 2, n - n // 2) if auto_pad == "SAME_UPPER" else (n - n // 2, n // 2)


def lines_or_planes(x: Any, name: str, of: str) -> Any:
    """The op for x, which has one or two spatial axes."""
    if x.ndim not in (3, 4):
        raise NotImplementedError(f"{of} of x of shape {x.shape}: there are convolutions and pools of lines "
                                  f"(N, C, L) and of images (N, C, H, W) only")
    return getattr(tg, f"{name}{x.ndim - 2}d")


def conv(x: Any, w: Any, b: Any = None, *, auto_pad: AutoPad = "NOTSET", dilations: Any = None,
         group: int = 1, kernel_shape: Any = None, pads: Any = None, strides: Any = None) -> Any:
    ones = [1] * (x.ndim - 2)
    s, d = strides or ones, dilations or ones
    padding = sides(auto_pad, pads, x.shape[2:], w.shape[2:], s, d)
    return lines_or_planes(x, "conv", "Conv")(x, w, b, s, padding, d, group)


def conv_transpose(x: Any, w: Any, b: Any = None, *, auto_pad: AutoPad = "NOTSET", dilations: Any = None,
                   group: int = 1, kernel_shape: Any = None, output_padding: Any = None,
                   output_shape: Any = None, pads: Any = None, strides: Any = None) -> Any:
    """A size that is given, or the same times the stride, says how much is padded."""
    dims = x.ndim - 2
    s, d, extra = strides or [1] * dims, dilations or [1] * dims, output_padding or [0] * dims
    if output_shape is None and auto_pad.startswith("SAME"):
        output_shape = [n * k for n, k in zip(x.shape[2:], s)]
    padding = sides("NOTSET", pads, x.shape[2:], w.shape[2:], s, d)
    if output_shape is not None:
        total = [k * (n - 1) + e + (m - 1) * g + 1 - out for n, m, k, g, e, out in zip(
            x.shape[2:], w.shape[2:], s, d, extra, output_shape[-dims:])]
        padding = [halves(n, auto_pad) for n in total]
    return lines_or_planes(x, "conv_transpose", "ConvTranspose")(x, w, b, s, padding, extra, group, d)


# ----- pools -----


def max_pool(x: Any, *, kernel_shape: Any, auto_pad: AutoPad = "NOTSET", ceil_mode: int = 0,
             dilations: Any = None, pads: Any = None, strides: Any = None, at: At) -> Any:
    """Places are counted through the whole of x."""
    ones = [1] * len(kernel_shape)
    s, d = strides or ones, dilations or ones
    padding = sides(auto_pad, pads, x.shape[2:], kernel_shape, s, d)
    op = lines_or_planes(x, "max_pool", "MaxPool")
    y = op(x, kernel_shape, s, padding, d, bool(ceil_mode), at.outputs > 1)
    if at.outputs == 1:
        return y
    planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *ones) * math.prod(x.shape[2:])
    return y[0], tg.tensor(y[1].data + planes)


def average_pool(x: Any, *, kernel_shape: Any, auto_pad: AutoPad = "NOTSET", ceil_mode: int = 0,
                 count_include_pad: int = 0, pads: Any = None, strides: Any = None) -> Any:
    ones = [1] * len(kernel_shape)
    padding = sides(auto_pad, pads, x.shape[2:], kernel_shape, strides or ones, ones)
    op = lines_or_planes(x, "avg_pool", "AveragePool")
    return op(x, kernel_shape, strides or ones, padding, bool(ceil_mode), bool(count_include_pad))


def beyond_channels(x: Any) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


def lp_pool(x: Any, *, kernel_shape: Any, p: int = 2, auto_pad: AutoPad = "NOTSET", ceil_mode: int = 0,
            pads: Any = None, strides: Any = None) -> Any:
    mean = average_pool(tg.abs(x) ** p, kernel_shape=kernel_shape, auto_pad=auto_pad, ceil_mode=ceil_mode,
                        count_include_pad=1, pads=pads, strides=strides)
    return (mean * math.prod(kernel_shape)) ** (1 / p)


# ----- normalisation -----


def batch_norm(x: Any, w: Any, b: Any, mean: Any, var: Any, *, epsilon: float = 1e-5, momentum: float = 0.9,
               training_mode: int = 0, at: At) -> Any:
    """By running statistics; while the model trains, by the batch's, and its buffers learn."""
    if at.learns:
        y = tg.batch_norm(x, mean, var, w, b, at.training, 1 - momentum, epsilon)
        return (y, mean, var)[:at.outputs]
    if not training_mode:
        return tg.batch_norm(x, mean.detach(), var.detach(), w, b, False, eps=epsilon)
    axes = (0, *beyond_channels(x))
    new = [old * momentum + now * (1 - momentum) for old, now in (
        (mean, tg.mean(x, axes)), (var, tg.var(x, axes, 0)))]
    return tg.batch_norm(x, None, None, w, b, True, eps=epsilon), *new


def layer_norm(x: Any, w: Any, b: Any = None, *, axis: int = -1, epsilon: float = 1e-5,
               stash_type: Literal[1] = 1, at: At) -> Any:
    over = tuple(range(axis % x.ndim, x.ndim))
    size = x.shape[over[0]:]
    fits = w.shape == size and (b is None or b.shape == size)
    y = tg.layer_norm(x, size, *((w, b) if fits else ()), eps=epsilon)
    if not fits:
        y = y * w if b is None else y * w + b
    spread = tg.var(x, over, 0, True) + epsilon
    return (y, tg.mean(x, over, True), 1.0 / tg.sqrt(spread))[:at.outputs]


def group_norm(x: Any, w: Any, b: Any, *, num_groups: int, epsilon: float = 1e-5,
               stash_type: Literal[1] = 1) -> Any:
    return tg.group_norm(x, num_groups, w, b, epsilon)


def rms_norm(x: Any, w: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: Literal[1] = 1) -> Any:
    over = tuple(range(axis % x.ndim, x.ndim))
    return x / tg.sqrt(tg.mean(x * x, over, True) + epsilon) * w


def local_response_norm(x: Any, *, size: int, alpha: float = 1e-4, beta: float = 0.75,
                        bias: float = 1.0) -> Any:
    n = x.shape[1]
    squares = tg.pad(x * x, [(0, 0), ((size - 1) // 2, size // 2)] + [(0, 0)] * (x.ndim - 2))
    total = reduce(tg.add, [squares[:, i:i + n] for i in range(size)])
    return x / (total * (alpha / size) + bias) ** beta


def mean_variance_norm(x: Any, *, axes: Any = (0, 2, 3)) -> Any:
    axes = tuple(axes)
    return (x - tg.mean(x, axes, True)) / (tg.std(x, axes, 0, True) + 1e-9)


def length(x: Any, p: int, axis: int) -> Any:
    return tg.norm(x, 2, axis, True) if p == 2 else tg.sum(tg.abs(x) ** p, axis, True) ** (1 / p)


def dropout(x: Any, ratio: Any = 0.5, training_mode: Any = None, *, seed: int = 0, at: At) -> Any:
    """While the model trains; the second output says what is kept."""
    if not at.training:
        return (x, tg.tensor(np.ones(x.shape, np.bool)))[:at.outputs]
    kept = tg.dropout(tg.ones(x.shape, dtype=x.dtype), single(ratio), rng=at.rng)
    return (x * kept, tg.tensor(kept.data != 0))[:at.outputs]


# ----- images of another size -----

ROUND: dict[str, Callable[[Any], Any]] = {
    "floor": np.floor, "ceil": np.ceil, "round_prefer_floor": lambda at: np.ceil(at - 0.5),
    "round_prefer_ceil": lambda at: np.floor(at + 0.5)}
ORIGIN: dict[str, Callable[..., Any]] = {  # where in n cells the middle of cell i of `size` lies
    "half_pixel": lambda i, scale, n, size: (i + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda i, scale, n, size: (i + 0.5) / scale - 0.5 if size > 1 else i * 0.0,
    "align_corners": lambda i, scale, n, size: i * ((n - 1) / (size - 1) if size > 1 else 0.0),
    "half_pixel_symmetric": lambda i, scale, n, size: (
        n / 2 * (1 - math.floor(size) / (scale * n)) + (i + 0.5) / scale - 0.5),
    "asymmetric": lambda i, scale, n, size: i / scale}
Origin = Literal["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]
Nearest = Literal["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def weights(n: int, at: np.ndarray, mode: str, a: float, exclude_outside: int) -> np.ndarray:
    """(len(at), n): each row says of which of n cells the value at that place is made."""
    cells = {"linear": 1, "cubic": 2}[mode]
    kernel = (lambda d: 1 - d) if mode == "linear" else lambda d: np.where(
        d <= 1, ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)
    matrix = np.zeros((len(at), n))
    for cell in [np.floor(at).astype(int) + offset for offset in range(1 - cells, cells + 1)]:
        within = (cell >= 0) & (cell < n) | (not exclude_outside)
        np.add.at(matrix, (np.arange(len(at)), np.clip(cell, 0, n - 1)), kernel(np.abs(at - cell)) * within)
    return matrix / matrix.sum(1, keepdims=True)


def resized(x: Any, roi: Any = None, scales: Any = None, sizes: Any = None, *,
            mode: Literal["nearest", "linear", "cubic"] = "nearest",
            coordinate_transformation_mode: Origin = "half_pixel",
            nearest_mode: Nearest = "round_prefer_floor", cubic_coeff_a: float = -0.75,
            exclude_outside: int = 0, axes: Any = None) -> Any:
    """Along each axis in turn the nearest cell is picked, or several are mixed; cells at the border go on."""
    named = range(x.ndim) if axes is None else [a % x.ndim for a in axes]
    lengths = [x.shape[a] for a in named]
    factors = [n / m for n, m in zip(ints(sizes), lengths)] if sizes is not None else scales.data.tolist()
    wanted = [n * f for n, f in zip(lengths, factors)] if sizes is None else ints(sizes)
    for a, n, factor, size in zip(named, lengths, factors, wanted):
        if factor == 1:
            continue
        at = ORIGIN[coordinate_transformation_mode](np.arange(math.floor(size)), factor, n, size)
        if mode == "nearest":
            x = x[(slice(None),) * a + (np.clip(ROUND[nearest_mode](at).astype(int), 0, n - 1),)]
        else:
            matrix = weights(n, at, mode, cubic_coeff_a, exclude_outside).astype(x.dtype)
            x = tg.moveaxis(tg.matmul(tg.moveaxis(x, a, -1), matrix.T), -1, a)
    return x


def upsampled(x: Any, scales: Any, *, mode: Literal["nearest", "linear"] = "nearest") -> Any:
    scales = scales if isinstance(scales, tg.Tensor) else tg.tensor(np.array(scales))
    return resized(x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")


OPS: dict[str, Rule | dict[int, Rule]] = {
    "Abs": tg.abs, "Acos": tg.acos, "Acosh": tg.acosh, "Add": tg.add, "Asin": tg.asin, "Asinh": tg.asinh,
    "Atan": tg.atan, "Atanh": tg.atanh, "Ceil": tg.ceil, "Cos": tg.cos, "Cosh": tg.cosh, "Erf": tg.erf,
    "Exp": tg.exp, "Floor": tg.floor, "HardSwish": tg.hardswish, "Log": tg.log, "Mish": tg.mish,
    "Mul": tg.mul, "Neg": tg.neg, "Relu": tg.relu, "Round": tg.round, "Sigmoid": tg.sigmoid,
    "Sign": tg.sign, "Sin": tg.sin, "Sinh": tg.sinh, "Sqrt": tg.sqrt, "Sub": tg.sub, "Tan": tg.tan,
    "Tanh": tg.tanh, "Where": tg.where,
    "And": plain(np.logical_and), "BitwiseAnd": plain(np.bitwise_and), "BitwiseNot": plain(np.bitwise_not),
    "BitwiseOr": plain(np.bitwise_or), "BitwiseXor": plain(np.bitwise_xor), "Equal": plain(np.equal),
    "Greater": plain(np.greater), "GreaterOrEqual": plain(np.greater_equal), "IsNaN": plain(np.isnan),
    "Less": plain(np.less), "LessOrEqual": plain(np.less_equal), "NonZero": plain(np.nonzero),
    "Not": plain(np.logical_not), "Or": plain(np.logical_or), "Size": plain(np.size),
    "Xor": plain(np.logical_xor),
    "ArgMax": arg(np.argmax), "ArgMin": arg(np.argmin),
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "BitShift": shifted,
    "Cast": cast, "CastLike": lambda x, like: tg.astype(x, like.dtype),
    "Celu": lambda x, *, alpha=1.0: tg.elu(x / alpha) * alpha,
    "Clip": clipped,
    "Concat": lambda *xs, axis: tg.concat(xs, axis),
    "Constant": constant, "ConstantOfShape": constant_of_shape,
    "Conv": conv, "ConvTranspose": conv_transpose,
    "CumProd": running(tg.cumprod), "CumSum": running(tg.cumsum),
    "DepthToSpace": depth_to_space,
    "Div": divided,
    "Dropout": dropout,
    "Einsum": lambda *xs, equation: tg.einsum(equation, *xs),
    "Elu": tg.elu,
    "Expand": expanded,
    "EyeLike": eye_like,
    "Flatten": flat,
    "Gather": gathered, "GatherElements": gathered_elements, "GatherND": gathered_nd,
    "Gelu": tg.gelu,
    "Gemm": gemm,
    "GlobalAveragePool": lambda x: tg.mean(x, beyond_channels(x), True),
    "GlobalMaxPool": lambda x: tg.amax(x, beyond_channels(x), True),
    "GroupNormalization": group_norm,
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: tg.clip(x * alpha + beta, 0, 1),
    "Hardmax": {1: flattened(hardmax), 13: hardmax},
    "Identity": lambda x: x,
    "InstanceNormalization": lambda x, w, b, *, epsilon=1e-5: tg.instance_norm(
        x, weight=w, bias=b, eps=epsilon),
    "IsInf": infinite,
    "LRN": local_response_norm,
    "LayerNormalization": layer_norm,
    "LeakyRelu": lambda x, *, alpha=0.01: tg.leaky_relu(x, alpha),
    "LogSoftmax": {1: flattened(tg.log_softmax), 13: tg.log_softmax},
    "LpNormalization": lambda x, *, axis=-1, p=2: x / tg.maximum(length(x, p, axis), np.finfo(x.dtype).tiny),
    "LpPool": lp_pool,
    "MatMul": tg.matmul,
    "Max": many(tg.maximum), "MaxPool": max_pool,
    "Mean": lambda *xs: reduce(tg.add, xs) / len(xs),
    "MeanVarianceNormalization": mean_variance_norm,
    "Min": many(tg.minimum), "Mod": modulo,
    "OneHot": one_hot,
    "PRelu": lambda x, slope: tg.relu(x) - slope * tg.relu(-x),
    "Pad": padded,
    "Pow": lambda x, y: same(x, tg.pow(x, y)),
    "RMSNormalization": rms_norm,
    "Range": plain(lambda start, limit, step: np.arange(start, limit, step, start.dtype)),
    "Reciprocal": lambda x: 1.0 / x,
    "ReduceL1": over(lambda x, *how: tg.sum(tg.abs(x), *how)),
    "ReduceL2": over(lambda x, *how: tg.norm(x, 2, *how)),
    "ReduceLogSum": over(lambda x, *how: tg.log(tg.sum(x, *how))), "ReduceLogSumExp": over(tg.logsumexp),
    "ReduceMax": over(tg.amax), "ReduceMean": over(tg.mean), "ReduceMin": over(tg.amin),
    "ReduceProd": over(tg.prod),
    "ReduceSum": over(tg.sum), "ReduceSumSquare": over(lambda x, *how: tg.sum(x * x, *how)),
    "Reshape": reshaped,
    "Resize": {10: upsampled, 11: resized},
    "ScatterElements": scattered_elements, "ScatterND": scattered_nd,
    "Selu": lambda x, *, alpha=1.67326319217681884765625, gamma=1.05070102214813232421875: (
        tg.elu(x, alpha) * gamma),
    "Shape": shape,
    "Shrink": lambda x, *, lambd=0.5, bias=0.0: tg.where(tg.abs(x) > lambd, x - tg.sign(x) * bias, x * 0),
    "Slice": sliced,
    "Softmax": {1: flattened(tg.softmax), 13: tg.softmax},
    "Softplus": tg.softplus,
    "Softsign": lambda x: x / (tg.abs(x) + 1),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeezed,
    "Sum": many(tg.add),
    "Swish": lambda x, *, alpha=1.0: x * tg.sigmoid(x * alpha),
    "ThresholdedRelu": lambda x, *, alpha=1.0: tg.where(x > alpha, x, x * 0),
    "Tile": lambda x, repeats: tg.tile(x, ints(repeats)),
    "TopK": topk,
    "Transpose": transposed,
    "Trilu": trilu,
    "Unsqueeze": unsqueezed,
    "Upsample": upsampled,
}


def rule_of(op: str, version: int) -> Rule | None:
    """The rule of an operator in a version of the operator set; None if there is none."""
    rule = OPS.get(op)
    if isinstance(rule, dict):
        return rule.get(max([since for since in rule if since <= version], default=0))
    return rule
