"""One geometry: how the windows of a kernel lie on an image, for convolution and pooling alike.

Along an axis, tap a of window i is cell u = i*stride + a*dilation - before of the image; `before` cells
of padding lie in front of it, `after` behind it, and a negative number crops. Everything that users pass
is checked here, once, where they call; what is made is carried by the op, its derivatives, the kernels,
the label and the cost. It knows no array.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from ..arguments import is_whole, sides, sizes

Sizes = tuple[int, ...]
Sides = tuple[tuple[int, int], ...]  # ((top, bottom), (left, right))
Taps = list[tuple[slice, slice]]     # (outputs, cells) along one axis
USUAL = {"stride": "1", "padding": "0", "dilation": "1", "groups": "1", "ceil_mode": "False"}
REMEMBERED = 1024                    # geometries; the same few come again every step


def brief(value: Any, text: Callable[[Any], str] = str) -> str:
    """A value, shortest: (2, 2) is "2", ((1, 1), (1, 1)) is "1", (1, 2) is "(1,2)"; `text` of single ones."""
    if not isinstance(value, tuple):
        return text(value)
    parts = [brief(v, text) for v in value]
    return parts[0] if len(set(parts)) == 1 else f"({','.join(parts)})"


def _times(values: Sizes) -> str:
    return "x".join(map(str, values))


@dataclass(frozen=True, repr=False)
class Geometry:
    """Windows of `kernel` taps on an image of `size`, both as many numbers as there are spatial axes.

    Example:
        >>> geometry = Geometry((28, 28), (3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), groups=4)
        >>> geometry, geometry.out
        (Geometry(28x28, 3x3 stride 2 padding 1 groups 4), (14, 14))
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes
    padding: Sides
    dilation: Sizes
    groups: int = 1
    ceil_mode: bool = False
    line: bool = False  # of one axis, seen as a plane of height 1

    def __repr__(self) -> str:
        return f"Geometry({_times(self.size)}, {self.label()})"

    def label(self, *after_kernel: str, stride: bool = False) -> str:
        """As pictures write it: "3x3 stride 2 groups 4", without what is usual; `stride` keeps it."""
        said = [f"{name} {brief(getattr(self, name))}" for name, usual in USUAL.items()
                if brief(getattr(self, name)) != usual or stride and name == "stride"]
        return " ".join([_times(self.kernel), *after_kernel, *said])

    @cached_property
    def spans(self) -> Sizes:
        """How many cells the dilated kernel spans: d(k-1)+1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))

    @cached_property
    def padded(self) -> Sizes:
        return tuple(n + before + after for n, (before, after) in zip(self.size, self.padding))

    @cached_property
    def out(self) -> Sizes:
        """How many windows there are: floor((padded - span) / stride) + 1.

        In `ceil_mode` the last one may reach beyond the padding, if it begins before (PyTorch's rule).
        """
        out = tuple((padded - span) // s + 1 for padded, span, s in zip(self.padded, self.spans, self.stride))
        return tuple(i + 1 if (i - 1) * s + span < padded and i * s < padded - max(0, after) else i
                     for i, s, span, padded, (_, after) in zip(
                         out, self.stride, self.spans, self.padded, self.padding)) if self.ceil_mode else out

    @cached_property
    def bare(self) -> bool:
        """Whether nothing is padded or cropped."""
        return not any(map(any, self.padding))

    @cached_property
    def copied(self) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Which cells of the image are copied into the padded image, and where to."""
        def within(cells: Sizes, sign: int) -> tuple[slice, ...]:
            return tuple(slice(max(0, sign * before), max(0, n - max(0, sign * after)))
                         for n, (before, after) in zip(cells, self.padding))
        return within(self.size, -1), within(self.padded, 1)

    @cached_property
    def turned(self) -> Geometry:
        """That in which, at stride 1, the input adjoint is a convolution of the gradient."""
        full = tuple((span - 1 - before, span - 1 - after)
                     for span, (before, after) in zip(self.spans, self.padding))
        return replace(self, size=self.out, padding=full)

    @cached_property
    def unpadded(self) -> Geometry:
        """The same on an image that has its padding."""
        return replace(self, size=self.padded, padding=((0, 0),) * len(self.size))

    @cached_property
    def given(self) -> Geometry:
        """With the axes that the user sees."""
        return replace(self, size=self.size[1:], kernel=self.kernel[1:], stride=self.stride[1:],
                       padding=self.padding[1:], dilation=self.dilation[1:]) if self.line else self

    # ----- taps on the image itself, without a padded copy: one in the padding is left out -----

    @cached_property
    def along(self) -> list[Taps]:
        """For each axis its taps in order: the outputs i whose tap is a cell, and those cells."""
        return [[tap for a in range(max(0, (before - (out - 1) * s) // d), min(k, (n - 1 + before) // d + 1))
                 if (tap := _tap(n + min(0, after), out, s, a * d - before))]
                for n, k, out, s, d, (before, after) in zip(
                    self.size, self.kernel, self.out, self.stride, self.dilation, self.padding)]

    @cached_property
    def taps(self) -> list[tuple[tuple, tuple]]:
        """All taps in row-major order as indices (outputs, cells) of arrays (N, C, ., .)."""
        return [((..., *[outs for outs, _ in tap]), (..., *[cells for _, cells in tap]))
                for tap in itertools.product(*self.along)]

    @cached_property
    def overlap(self) -> bool:
        """Whether two windows may share a cell."""
        return any(span > s for span, s in zip(self.spans, self.stride))

    @cached_property
    def cover(self) -> bool:
        """Whether every cell is some tap of one window only."""
        return not self.overlap and all(
            sum(len(range(n)[cells]) for _, cells in taps) == n for n, taps in zip(self.size, self.along))

    @cached_property
    def blind(self) -> bool:
        """Whether some window sees padding only."""
        return any(_gap([outs for outs, _ in taps], out) for out, taps in zip(self.out, self.along))


def _gap(parts: list[slice], n: int) -> bool:
    """Whether one of range(n) lies in none of the parts."""
    seen = 0
    for part in sorted(parts, key=lambda part: part.start):
        if part.start > seen:
            return True
        seen = max(seen, part.stop)
    return seen < n


def _tap(n: int, out: int, s: int, shift: int) -> tuple[slice, slice] | None:
    """The outputs i for which u = i*s + shift is one of n cells, and those cells."""
    lo, hi = max(0, -(shift // s)), min(out, (n - 1 - shift) // s + 1)
    first = lo * s + shift
    return (slice(lo, hi), slice(first, first + (hi - lo - 1) * s + 1, s)) if lo < hi else None


# ----- from what users pass: checked, then looked up by the checked numbers, among which True is no 1 -----

def _resolved(op: str, padding: str | Sides, size: Sizes, kernel: Sizes, stride: Sizes,
              dilation: Sizes) -> Sides:
    """The sides of `padding`, "same" being TensorFlow's rule: ceil(n / stride) windows at any stride."""
    if padding == "valid":
        return ((0, 0),) * len(size)
    if padding == "same":
        totals = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
                  for n, k, s, d in zip(size, kernel, stride, dilation)]
        return tuple((total // 2, total - total // 2) for total in totals)
    for n, side in zip(size, padding):
        if min(side) < -n:
            raise ValueError(f"{op}: padding must be at least {-n}, got {side}: there is no more to crop")
    return padding


def _checked(op: str, g: Geometry) -> Geometry:
    """The geometry on a plane, if a window fits into the padded image; a line is a plane of height 1."""
    if len(g.size) == 1:
        g = replace(g, size=(1, *g.size), kernel=(1, *g.kernel), stride=(1, *g.stride),
                    padding=((0, 0), *g.padding), dilation=(1, *g.dilation), line=True)
    if min(g.out) < 1:
        raise ValueError(
            f"{op}: the kernel spans {_times(g.spans)} but the padded input is only {_times(g.padded)} "
            f"(input {_times(g.size)}, padding {g.padding}, kernel {_times(g.kernel)}, dilation "
            f"{g.dilation}); pad more or use a smaller kernel")
    return g


@lru_cache(maxsize=REMEMBERED)
def _of_conv(op: str, size: Sizes, kernel: Sizes, stride: Sizes, padding: str | Sides, dilation: Sizes,
             groups: int) -> Geometry:
    padding = _resolved(op, padding, size, kernel, stride, dilation)
    return _checked(op, Geometry(size, kernel, stride, padding, dilation, groups))


def conv_geometry(op: str, size: Sizes, kernel: Sizes, stride: Any, padding: Any, dilation: Any,
                  groups: int) -> Geometry:
    """Of a convolution of images of `size`; for one spatial axis, of planes of height 1."""
    dims = len(size)
    return _of_conv(op, size, kernel, sizes(stride, op, "stride", dims), sides(padding, op, dims),
                    sizes(dilation, op, "dilation", dims), groups)


@lru_cache(maxsize=REMEMBERED)
def _of_transposed(op: str, cells: Sizes, kernel: Sizes, stride: Sizes, padding: Sides, extra: Sizes,
                   dilation: Sizes, groups: int, wanted: Sizes | None) -> Geometry:
    if 0 in cells:
        raise ValueError(f"{op}: x has no cells, got {_times(cells)}")
    least = tuple((n - 1) * s - sum(p) + d * (k - 1) + 1 for n, s, p, k, d in zip(
        cells, stride, padding, kernel, dilation))
    if wanted is not None:
        extra = tuple(n - m for n, m in zip(wanted, least))
        if min(extra) < 0:
            raise ValueError(f"{op}: output_size {wanted} is smaller than the smallest possible output "
                             f"{least}")
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
        raise ValueError(f"{op}: output_padding {extra} must be smaller than stride {stride} or dilation "
                         f"{dilation}; the output is between {least} and a step larger")
    size = tuple(n + e for n, e in zip(least, extra))
    if min(size) < 1:
        raise ValueError(f"{op}: the output would have size {size} (input {cells}, padding {padding}, "
                         f"kernel {kernel}); pad less")
    # Cells added at the end lie outside the last window: the adjoint conv pads that much less.
    padding = tuple((before, after - e) for (before, after), e in zip(padding, extra))
    return _checked(op, Geometry(size, kernel, stride, padding, dilation, groups))


def transposed_geometry(op: str, cells: Sizes, kernel: Sizes, stride: Any, padding: Any,
                        output_padding: Any, dilation: Any, groups: int, output_size: Any) -> Geometry:
    """Of the convolution whose output has `cells` and whose input adjoint is wanted.

    Padding below 0 adds cells, as many as you like.
    """
    dims = len(cells)
    return _of_transposed(
        op, cells, kernel, sizes(stride, op, "stride", dims), sides(padding, op, dims, words=()),
        sizes(output_padding, op, "output_padding", dims, 0), sizes(dilation, op, "dilation", dims), groups,
        None if output_size is None else sizes(output_size, op, "output_size", dims, 0))


@lru_cache(maxsize=REMEMBERED)
def _of_pool(op: str, size: Sizes, kernel: Sizes, stride: Sizes, padding: str | Sides, dilation: Sizes,
             ceil_mode: bool, per_side: bool) -> Geometry:
    resolved = _resolved(op, padding, size, kernel, stride, dilation)
    geometry = Geometry(size, kernel, stride, resolved, dilation, ceil_mode=ceil_mode)
    if not per_side and any(before > span // 2 for (before, _), span in zip(resolved, geometry.spans)):
        raise ValueError(f"{op}: padding {tuple(before for before, _ in resolved)} must be at most half of "
                         f"what the kernel spans, {geometry.spans} (kernel_size {kernel}, dilation "
                         f"{dilation}); pad x first")
    geometry = _checked(op, geometry)
    if geometry.blind:
        raise ValueError(f"{op}: some windows see padding only (input {size}, kernel_size {kernel}, stride "
                         f"{stride}, padding {geometry.padding}, dilation {dilation}); pad less")
    return geometry


def pool_geometry(op: str, size: Sizes, kernel: Any, stride: Any, padding: Any, dilation: Any,
                  ceil_mode: bool) -> Geometry:
    """Of pooling planes of `size`; a stride of None is the kernel's size."""
    dims = len(size)
    kernel = sizes(kernel, op, "kernel_size", dims)
    per_side = isinstance(padding, str) or isinstance(padding, list | tuple) and not is_whole(padding[0])
    return _of_pool(op, size, kernel, kernel if stride is None else sizes(stride, op, "stride", dims),
                    sides(padding, op, dims), sizes(dilation, op, "dilation", dims), ceil_mode, per_side)
