"""Pooling as closed pairs: over windows, over uneven bins, and back.

Fix which cell of each window is the largest: then max pooling picks numbers from fixed places and
its derivative adds numbers to the same places. `max_pool2d_scatter` and `max_pool2d_gather` are
that pair, each the adjoint and so the VJP of the other; `pick2d` and `pile2d` are the pair for places
given as indices, `max_unpool2d` and `max_unpool2d_pick` that for places of which the last written
stays. Averages are linear; their adjoints spread, and have averages as their VJP. So derivatives of
every order exist.

A tie goes to the first cell, row by row; padding never wins; NaN always does (the first one).
"""
import math
from typing import Any, Literal, overload

import numpy as np

from ..arguments import flag, number, sides, sizes
from ..tensor import Tensor
from ..kernels import planes
from ..kernels.geometry import Geometry, pool_geometry
from ..kernels.table import run
from ..operands import as_floats, as_tensor
from ..primitive import primitive
from .conv import as_given, as_images, bordered, windows
from .elementwise import astype
from .reduce import mean
from .shape import reshape

# ----- maxima -----


@primitive
def _max_pool2d(x, *, geometry):
    return run("maxima", x, geometry)


@primitive
def max_pool2d_scatter(g, x, y, *, geometry):
    return run("maxima_scatter", g, x, y, geometry)


@primitive
def max_pool2d_gather(u, x, y, *, geometry):
    return run("maxima_gather", u, x, y, geometry)


@primitive
def max_pool2d_indices(x, y, *, geometry):
    return run("maxima_indices", x, y, geometry)


_max_pool2d.defvjp(lambda g, ans, x, *, geometry: max_pool2d_scatter(g, x, ans, geometry=geometry))
max_pool2d_scatter.defvjp(
    lambda u, ans, g, x, y, *, geometry: max_pool2d_gather(u, x, y, geometry=geometry), None, None)
max_pool2d_gather.defvjp(
    lambda v, ans, u, x, y, *, geometry: max_pool2d_scatter(v, x, y, geometry=geometry), None, None)

_max_pool2d.defjvp(lambda t, ans, x, *, geometry: max_pool2d_gather(t, x, ans, geometry=geometry))
max_pool2d_scatter.defjvp("same")
max_pool2d_gather.defjvp("same")

# ----- averages -----


def _divisor(geometry: Geometry, count_include_pad: bool, divisor_override: float | None) -> np.ndarray:
    """How many cells each window averages, (OH, OW): its part inside the (padded) plane."""
    if divisor_override is not None:
        return np.asarray(divisor_override)
    per_axis = []
    for n, k, s, (before, after), out in zip(geometry.size, geometry.kernel, geometry.stride,
                                             geometry.padding, geometry.out):
        low, high = (-before, n + after) if count_include_pad else (0, min(n, n + after))
        first = np.arange(out) * min(s, n + before + after) - before  # a huge stride leaves one window
        per_axis.append(np.minimum(first + k, high) - np.maximum(first, low))
    return np.multiply.outer(*per_axis)


@primitive
def _avg_pool2d(x, *, geometry, **options):
    return run("averages", x, _divisor(geometry, **options), geometry)


@primitive
def avg_pool2d_spread(g, *, geometry, **options):
    return run("averages_adjoint", g, _divisor(geometry, **options), geometry)


_avg_pool2d.defvjp(lambda g, ans, x, **params: avg_pool2d_spread(g, **params))
_avg_pool2d.defsaved()
avg_pool2d_spread.defvjp(lambda u, ans, g, **params: _avg_pool2d(u, **params))
_avg_pool2d.defjvp("same")
avg_pool2d_spread.defjvp("same")


def _label(*shapes: Any, geometry: Geometry, count_include_pad: bool = True,
           divisor_override: float | None = None) -> str:
    options = [] if count_include_pad else ["count_include_pad False"]
    options += [] if divisor_override is None else [f"divisor_override {divisor_override:g}"]
    return geometry.label(*options, stride=True)


for pooling in (_max_pool2d, max_pool2d_scatter, max_pool2d_gather, max_pool2d_indices, _avg_pool2d,
                avg_pool2d_spread):
    pooling.deflabel(_label)


def _windows_export(to, operator, x, geometry, value, **attributes):
    """A pool padded as far as its windows reach, so that no rounding matters; of more than ONNX takes as
    padding, cells are made first."""
    pads, value = np.array(geometry.padding), x.dtype.type(value)
    x, size = bordered(to, x, np.minimum(pads, 0), value), geometry.size + np.minimum(pads, 0).sum(1)
    pads = np.maximum(pads, 0)
    reach = [(n - 1) * s + span for n, s, span in zip(geometry.out, geometry.stride, geometry.spans)]
    pads[:, 1] = np.maximum(pads[:, 1], reach - size - pads[:, 0])
    if (pads >= np.array(geometry.kernel)[:, None]).any():
        x, pads = bordered(to, x, pads, value), np.zeros_like(pads)
    return to(operator, x, **windows(geometry, pads), **attributes)


def _averages_export(to, x, *, geometry, **options):
    """The average of whole windows, and a factor where fewer cells, or others, are to be counted."""
    factor = math.prod(geometry.kernel) / _divisor(geometry, **options)
    y = _windows_export(to, "AveragePool", x, geometry, 0.0, count_include_pad=1)
    return y if (factor == 1).all() else to("Mul", y, factor.astype(x.dtype))


_max_pool2d.defexport(lambda to, x, *, geometry: _windows_export(to, "MaxPool", x, geometry, -np.inf))
_avg_pool2d.defexport(_averages_export)

# ----- bins and places -----


@primitive
def _adaptive_avg_pool2d(x, *, output_size):
    return planes.bin_averages(x, output_size)


@primitive
def adaptive_avg_pool2d_spread(g, *, size):
    return planes.bin_averages_adjoint(g, size)


@primitive
def pick2d(x, indices):
    return planes.pick(x, indices)


@primitive
def pile2d(g, indices, *, size):
    return planes.pile(g, indices, size)


@primitive
def _adaptive_max_pool2d(x, *, output_size):
    return planes.bin_maxima(x, output_size)


@primitive
def _max_unpool2d(x, indices, *, size):
    return planes.put(x, indices, size)


@primitive
def max_unpool2d_pick(u, indices):
    return planes.pick_put(u, indices)


for pooling in (_max_pool2d, _avg_pool2d, _adaptive_avg_pool2d):
    pooling.defapart()
_adaptive_avg_pool2d.defvjp(
    lambda g, ans, x, *, output_size: adaptive_avg_pool2d_spread(g, size=x.shape[2:]))
_adaptive_avg_pool2d.defsaved()
adaptive_avg_pool2d_spread.defvjp(
    lambda u, ans, g, *, size: _adaptive_avg_pool2d(u, output_size=g.shape[2:]))
pick2d.defvjp(lambda g, ans, x, indices: pile2d(g, indices, size=x.shape[2:]), None)
pile2d.defvjp(lambda u, ans, g, indices, *, size: pick2d(u, indices), None)
_adaptive_max_pool2d.defvjp(lambda g, ans, x, *, output_size: pile2d(g[0], ans[1], size=x.shape[2:]))
_max_unpool2d.defvjp(lambda g, ans, x, indices, *, size: max_unpool2d_pick(g, indices), None)
max_unpool2d_pick.defvjp(
    lambda v, ans, u, indices: _max_unpool2d(v, indices, size=u.shape[2:]), None)
for linear in (_adaptive_avg_pool2d, adaptive_avg_pool2d_spread, pick2d, pile2d, _max_unpool2d,
               max_unpool2d_pick):
    linear.defjvp("same")


def _bins_of(n: int, out: int) -> list[tuple[int, int]]:
    return [(i * n // out, -(-(i + 1) * n // out)) for i in range(out)]


def _bin_averages_export(to, x, *, output_size):
    """Global, or of even windows; else a product with the matrix of the bins on either side."""
    size = x.shape[2:]
    if output_size == (1, 1):
        return to("GlobalAveragePool", x)
    if not any(n % out for n, out in zip(size, output_size)):
        kernel = [n // out for n, out in zip(size, output_size)]
        return to("AveragePool", x, kernel_shape=kernel, strides=kernel)
    rows, columns = [np.array([[(lo <= u < hi) / (hi - lo) for u in range(n)] for lo, hi in _bins_of(n, out)],
                              x.dtype) for n, out in zip(size, output_size)]
    return to("MatMul", to("MatMul", rows, x), columns.T)


def _bin_maxima_export(to, x, *, output_size):
    """The largest of each bin of rows, then of each bin of columns; not where they are."""
    if output_size == (1, 1):
        return to("GlobalMaxPool", x),
    y = x
    for axis, out in zip((2, 3), output_size):
        y = to("Concat", *[to("ReduceMax", to("Slice", y, *np.array([[lo], [hi], [axis]])), np.array([axis]))
                           for lo, hi in _bins_of(x.shape[axis], out)], axis=axis)
    return y,


_adaptive_avg_pool2d.defexport(_bin_averages_export)
_adaptive_max_pool2d.defexport(_bin_maxima_export)

# ----- what users call -----


def _planes(op: str, x: Any, axes: str = "NCHW") -> tuple[Tensor, int]:
    """x as a float tensor (N, C, H, W), and how many axes it had."""
    x = as_floats(x, op)
    images = as_images(op, x, axes)
    if 0 in images.shape[2:]:
        raise ValueError(f"{op}: x has no cells to pool, got shape {x.shape}")
    return images, x.ndim


def _maxima(op: str, axes: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any,
            ceil_mode: bool, return_indices: bool) -> Any:
    x, ndim = _planes(op, x, axes)
    geometry = pool_geometry(op, x.shape[6 - len(axes):], kernel_size, stride, padding, dilation,
                             flag(ceil_mode, op, "ceil_mode"))
    y = _max_pool2d(x, geometry=geometry)
    maxima = as_given(y, ndim, axes)
    if not flag(return_indices, op, "return_indices"):
        return maxima
    return maxima, as_given(max_pool2d_indices(x, y, geometry=geometry), ndim, axes)


def _averages(op: str, axes: str, x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: bool,
              count_include_pad: bool, divisor_override: float | None = None) -> Tensor:
    x, ndim = _planes(op, x, axes)
    geometry = pool_geometry(op, x.shape[6 - len(axes):], kernel_size, stride, padding, 1,
                             flag(ceil_mode, op, "ceil_mode"))
    if divisor_override is not None:
        divisor_override = number(divisor_override, op, "divisor_override")
    if divisor_override == 0:
        raise ValueError(f"{op}: divisor_override must not be 0")
    count_include_pad = flag(count_include_pad, op, "count_include_pad")
    return as_given(_avg_pool2d(x, geometry=geometry, count_include_pad=count_include_pad,
                                divisor_override=divisor_override), ndim, axes)


@overload
def max_pool2d(x: Any, kernel_size: Any, stride: Any = ..., padding: Any = ..., dilation: Any = ...,
               ceil_mode: bool = ..., return_indices: Literal[False] = ...) -> Tensor: ...


@overload
def max_pool2d(x: Any, kernel_size: Any, stride: Any = ..., padding: Any = ..., dilation: Any = ...,
               ceil_mode: bool = ..., return_indices: bool = ...) -> Any: ...


def max_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest number of each window.

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        kernel_size, dilation: an int or a pair, at least 1.
        stride: an int or a pair; default: the kernel size.
        padding: an int or a pair, at most half the window; ((top, bottom), (left, right)), "valid" or
            "same" as for `conv2d`, if each window sees a cell of x; padded cells never win.
        ceil_mode: round the output size up, except for windows that begin beyond the padding.
        return_indices: also return the place of each maximum, u*W + v in its plane of x.

    Returns:
        (N, C, OH, OW), OH = floor((H + top + bottom - dilation*(KH-1) - 1) / stride) + 1; with
        `return_indices` a pair of it and the int64 indices of the same shape.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    A tie goes to the first cell, row by row, which gets the whole gradient; a NaN wins.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[1.0, 2.0, 0.0, 1.0], [4.0, 3.0, 1.0, 1.0]]])
        >>> tg.max_pool2d(x, 2).data.tolist()
        [[[4.0, 1.0]]]

    Source: PyTorch's torch.nn.functional.max_pool2d.
    """
    return _maxima("max_pool2d", "NCHW", x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@overload
def max_pool1d(x: Any, kernel_size: Any, stride: Any = ..., padding: Any = ..., dilation: Any = ...,
               ceil_mode: bool = ..., return_indices: Literal[False] = ...) -> Tensor: ...


@overload
def max_pool1d(x: Any, kernel_size: Any, stride: Any = ..., padding: Any = ..., dilation: Any = ...,
               ceil_mode: bool = ..., return_indices: bool = ...) -> Any: ...


def max_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
               ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """`max_pool2d` along one axis: x (N, C, L) or (C, L) -> (N, C, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.max_pool1d(tg.tensor([[1.0, 2.0, 0.0, 5.0]]), 2).data.tolist()
        [[2.0, 5.0]]
    """
    return _maxima("max_pool1d", "NCL", x, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool2d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True,
               divisor_override: float | None = None) -> Tensor:
    """The average of each window.

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        kernel_size, stride, padding, ceil_mode: as for `max_pool2d`; padded cells are 0.
        count_include_pad: whether padded cells count in the divisor; cells beyond the padding, which
            `ceil_mode` can reach, never do.
        divisor_override: divide by this instead.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([[[1.0, 2.0, 0.0, 1.0], [4.0, 3.0, 1.0, 1.0]]])
        >>> tg.avg_pool2d(x, 2).data.tolist()
        [[[2.5, 0.75]]]

    Source: PyTorch's torch.nn.functional.avg_pool2d.
    """
    return _averages("avg_pool2d", "NCHW", x, kernel_size, stride, padding, ceil_mode, count_include_pad,
                     divisor_override)


def avg_pool1d(x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """`avg_pool2d` along one axis: x (N, C, L) or (C, L) -> (N, C, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.avg_pool1d(tg.tensor([[1.0, 2.0, 0.0, 5.0]]), 2).data.tolist()
        [[1.5, 2.5]]
    """
    return _averages("avg_pool1d", "NCL", x, kernel_size, stride, padding, ceil_mode, count_include_pad)


def _bins(op: str, x: Any, output_size: Any) -> tuple[Tensor, int, tuple[int, ...]]:
    """Planes, how many axes x had, and the output size, where `None` keeps an axis as it is."""
    x, ndim = _planes(op, x)
    wanted = output_size if isinstance(output_size, list | tuple) else (output_size,) * 2
    if len(wanted) == 2:
        output_size = tuple(n if v is None else v for v, n in zip(wanted, x.shape[2:]))
    return x, ndim, sizes(output_size, op, "output_size", 2)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """Average pooling to a given size: bin i of OH covers rows floor(i*H/OH) to ceil((i+1)*H/OH).

    Args:
        x: (N, C, H, W), or (C, H, W) for one sample; floating point.
        output_size: an int or a pair (OH, OW); None for an axis keeps its size.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.adaptive_avg_pool2d(tg.tensor([[[1.0, 2.0, 3.0]]]), (1, 2)).data.tolist()
        [[[1.5, 2.5]]]

    Source: PyTorch's torch.nn.functional.adaptive_avg_pool2d.
    """
    x, ndim, size = _bins("adaptive_avg_pool2d", x, output_size)
    return as_given(_adaptive_avg_pool2d(x, output_size=size), ndim, "NCHW")


def adaptive_avg_pool1d(x: Any, output_size: int) -> Tensor:
    """`adaptive_avg_pool2d` along one axis: x (N, C, L) or (C, L) -> (N, C, OL).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.adaptive_avg_pool1d(tg.tensor([[1.0, 2.0, 3.0]]), 2).data.tolist()
        [[1.5, 2.5]]
    """
    x, ndim = _planes("adaptive_avg_pool1d", x, "NCL")
    out, = sizes(output_size, "adaptive_avg_pool1d", "output_size", 1)
    return as_given(_adaptive_avg_pool2d(x, output_size=(1, out)), ndim, "NCL")


@overload
def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: Literal[False] = ...) -> Tensor: ...


@overload
def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = ...) -> Any: ...


def adaptive_max_pool2d(x: Any, output_size: Any, return_indices: bool = False) -> Any:
    """Max pooling to a given size, over the bins of `adaptive_avg_pool2d`; ties as in `max_pool2d`.

    Args:
        x, output_size: as for `adaptive_avg_pool2d`.
        return_indices: also return the place of each maximum, u*W + v in its plane of x.

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.adaptive_max_pool2d(tg.tensor([[[1.0, 3.0, 2.0]]]), (1, 2)).data.tolist()
        [[[3.0, 3.0]]]

    Source: PyTorch's torch.nn.functional.adaptive_max_pool2d.
    """
    x, ndim, size = _bins("adaptive_max_pool2d", x, output_size)
    y, indices = (as_given(t, ndim, "NCHW") for t in _adaptive_max_pool2d(x, output_size=size))
    return (y, indices) if flag(return_indices, "adaptive_max_pool2d", "return_indices") else y


def global_avg_pool2d(x: Any) -> Tensor:
    """The average of each plane, (N, C, 1, 1) of (N, C, H, W).

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.global_avg_pool2d(tg.tensor([[[1.0, 2.0], [3.0, 6.0]]])).data.tolist()
        [[[3.0]]]
    """
    x, ndim = _planes("global_avg_pool2d", x)
    return as_given(mean(x, axis=(2, 3), keepdims=True), ndim, "NCHW")


def global_max_pool2d(x: Any) -> Tensor:
    """The largest number of each plane, (N, C, 1, 1) of (N, C, H, W); a tie goes to the first.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.global_max_pool2d(tg.tensor([[[1.0, 2.0], [3.0, 6.0]]])).data.tolist()
        [[[6.0]]]
    """
    x, ndim = _planes("global_max_pool2d", x)
    return as_given(_adaptive_max_pool2d(x, output_size=(1, 1))[0], ndim, "NCHW")


def _unpooled_size(output_size: Any, pooled: tuple[int, ...], kernel_size: Any, stride: Any,
                   padding: Any) -> tuple[int, int]:
    """The plane that was pooled: `output_size` if it is within a stride of the least one."""
    op = "max_unpool2d"
    kernel = sizes(kernel_size, op, "kernel_size", 2)
    stride = kernel if stride is None else sizes(stride, op, "stride", 2)
    least = tuple((n - 1) * s - sum(p) + k for n, s, p, k in zip(
        pooled, stride, sides(padding, op, 2, words=()), kernel))
    size = least
    if output_size is not None:
        size = sizes(output_size[-2:] if isinstance(output_size, list | tuple) else output_size, op,
                     "output_size", 2)
        if any(abs(n - m) >= s for n, m, s in zip(size, least, stride)):
            raise ValueError(f"{op}: output_size {size} must be less than a stride {stride} away "
                             f"from {least}, the size that pools to {pooled}")
    if min(size) < 1:
        raise ValueError(f"{op}: the output would have size {size} (input {pooled}, kernel "
                         f"{kernel}, padding {padding}); pass output_size")
    return size


def max_unpool2d(x: Any, indices: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                 output_size: Any = None) -> Tensor:
    """Zeros with each number of x at the place its maximum had before pooling.

    Args:
        x: (N, C, OH, OW) or (C, OH, OW); floating point.
        indices: integers of the shape of x, as `max_pool2d(..., return_indices=True)` gives them.
        kernel_size, stride, padding: those of the max pooling.
        output_size: (H, W), or the whole shape; default (OH-1)*stride - 2*padding + KH. Several
            sizes pool to the same one; this selects one.

    Returns:
        (N, C, H, W). Where windows overlap, a place may be named twice: the last number is kept and
        alone gets the gradient (PyTorch gives it to both, which is not the derivative).

    Raises:
        ValueError, TypeError: if shapes or numbers do not fit; both are named.
        IndexError: if an index lies outside the plane.

    Example:
        >>> import tinygrad_conv as tg
        >>> y, indices = tg.max_pool2d(tg.tensor([[[1.0, 2.0, 5.0, 3.0]]]), (1, 2),
        ...                            return_indices=True)
        >>> tg.max_unpool2d(y, indices, (1, 2)).data.tolist()
        [[[0.0, 2.0, 5.0, 0.0]]]

    Source: PyTorch's torch.nn.functional.max_unpool2d.
    """
    op = "max_unpool2d"
    x, ndim = _planes(op, x)
    indices = as_tensor(indices, f"{op} indices")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"{op}: indices must be integers, got {indices.dtype}")
    if indices.shape != x.shape[4 - ndim:]:
        raise ValueError(f"{op}: indices must have the shape of x, {x.shape[4 - ndim:]}, got {indices.shape}")
    size = _unpooled_size(output_size, x.shape[2:], kernel_size, stride, padding)
    indices = astype(indices, np.int64)  # np.divmod keeps a narrow type, which may not hold the width
    places = indices._data
    if places.size and (places.min() < 0 or places.max() >= size[0] * size[1]):
        raise IndexError(f"{op}: indices must lie in 0..{size[0] * size[1] - 1} for planes of "
                         f"{size[0]}x{size[1]}, got {places.min()}..{places.max()}; pass "
                         f"output_size, the size before pooling")
    return as_given(_max_unpool2d(x, reshape(indices, shape=x.shape), size=size), ndim, "NCHW")
