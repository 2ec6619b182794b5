"""From the tensor a reader asks about to the recorded convolution that made it.

Shape changes around the call (a sample without batch axis, conv1d, channels last) are undone,
so that an index is written with the axes the reader sees.
"""
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arguments import instance, is_whole
from ..core import as_array
from ..tensor import Tensor, share
from ..kernels.geometry import Geometry
from ..ops.shape import _reshape, _transpose
from ..primitive import Freed
from ..pullback import changed, pull
from ..state import no_grad
from ..tape import revive, walk

Index = tuple[int, int, int, int]


@dataclass(frozen=True)
class RecordedConv:
    """One recorded call. `axes` are those of (N, channels, rows, columns) that the reader sees."""

    y: Tensor              # what the primitive made, four axes
    x: Tensor
    w: Tensor
    geometry: Geometry
    axes: tuple[int, ...]

    @property
    def transposed(self) -> bool:
        return self.y.node.primitive.sides["ans"] == "large"

    @property
    def kernel_axes(self) -> tuple[int, ...]:
        return (0, 1, 3) if self.geometry.line else (0, 1, 2, 3)

    @property
    def label(self) -> str:
        op, scope = self.y.node.primitive, ".".join(self.y.node.scope)
        name = op.name.replace("2d", "1d") if self.geometry.line else op.name
        label = op.label(self.x.shape, self.w.shape, geometry=self.geometry.given)
        return f"{scope}: {name} {label}" if scope else f"{name} {label}"


def _is_conv(t: Tensor | Freed) -> bool:
    sides = t.node.primitive.sides if t.node else {}
    return bool(sides) and sides["ans"] != "kernel"


def recorded(y: Any, what: str) -> RecordedConv:
    """The convolution behind `y`, with what it read still there and unchanged."""
    steps, t = [], instance(y, Tensor, what, "the tensor that conv2d or conv_transpose2d returned")
    revive([y])
    while t.node is not None and t.node.primitive in (_reshape, _transpose):
        steps.append(t)
        t = t.node.inputs[0]
    if not _is_conv(t):
        origin = ("this tensor has no recorded call: let x or the weight require a gradient, and call the "
                  "convolution outside no_grad()") if y.node is None else (
                  f"this one was made by {y.node.primitive.name}: pass what the convolution itself returned, "
                  f"or find it with tg.explain.find(y, name)")
        raise TypeError(f"{what}: expects the result of tg.conv2d or tg.conv_transpose2d, {origin}")
    if t.node.freed or isinstance(t, Freed):
        raise RuntimeError(f"{what}: backward() has freed what this {t.node.primitive.name} read; call "
                           f"it with retain_graph=True, or compute y again")
    for i, name in enumerate(("x", "weight", "bias")[:len(t.node.inputs)]):
        if changed(t.node, i):
            raise RuntimeError(f"{what}: the {name} of this {t.node.primitive.name} was changed in place "
                               f"after the call; compute y again")
    geometry = t.node.params["geometry"]
    axes = _seen_axes(t, steps[::-1], geometry.line, what)
    return RecordedConv(t, *t.node.inputs[:2], replace(geometry, line=2 not in axes), axes)


def _seen_axes(conv: Tensor, steps: Sequence[Tensor], line: bool, what: str) -> tuple[int, ...]:
    """Which of the four axes are left after the shape changes in `steps`, in their order."""
    axes = (0, 1, 2, 3)
    for t in steps:
        if t.node.primitive is _transpose:
            axes = tuple(axes[k] for k in t.node.params["axes"])
        kept = [tuple(k for k in axes if k not in dropped or conv.shape[k] != 1)
                for dropped in (((2,), (0, 2)) if line else ((), (0,)))]
        axes = next((left for left in kept if tuple(conv.shape[k] for k in left) == t.shape), None)
        if axes is None:
            raise TypeError(f"{what}: y is {conv.node.primitive.name}'s result in another shape, {t.shape} "
                            f"for {conv.shape}; pass what the convolution itself returned")
    return axes


def index_on_four_axes(index: Any, axes: tuple[int, ...], shape: tuple[int, ...], letters: Sequence[str],
                       what: str) -> Index:
    """The reader's index with all four axes; one the reader does not see has one cell."""
    form = ",".join(letters[k] for k in axes)
    expects = f"{what}: the index must be {len(axes)} whole numbers ({form}), got {index!r}"
    if not np.iterable(index) or not all(map(is_whole, index)):
        raise TypeError(expects)
    if len(index) != len(axes):
        raise IndexError(expects)
    out = [0, 0, 0, 0]
    for axis, value in zip(axes, map(int, index)):
        if not -shape[axis] <= value < shape[axis]:
            raise IndexError(f"{what}: index {value} is out of range for axis {letters[axis]} of size "
                             f"{shape[axis]} (index ({form}) = {tuple(map(int, index))})")
        out[axis] = value % shape[axis]
    return tuple(out)


def cotangent(y: Tensor, call: RecordedConv, g: Any, what: str) -> Tensor:
    """What arrives at the convolution from above, with four axes.

    `g` is an array of y's shape, a tensor with one value computed from y, or None for ones.
    """
    if isinstance(g, Tensor) and g.size == 1 and any(e.node is call.y.node for e in walk([g])):
        with no_grad():
            found = pull([g], [share(np.ones_like(g.data))], [call.y])
        if id(call.y) not in found:
            raise ValueError(f"{what}: no gradient flows from this loss back to y; check for detach() and "
                             f"for comparisons on the way")
        return found[id(call.y)][1]
    array = np.ones(y.shape) if g is None else as_array(g, copy=False, what=f"{what} g")
    if array.shape != y.shape:
        raise ValueError(f"{what}: g must have the shape of y, {y.shape}, or be a loss computed from y, got "
                         f"shape {array.shape}")
    return share(np.transpose(array, np.argsort(call.axes)).reshape(call.y.shape).astype(call.y.dtype))


def find(t: Tensor, name: str) -> Tensor:
    """The output of a convolution inside a network, to be explained.

    Args:
        t: a tensor computed from it: the network's output, or the loss.
        name: the path of its module ("features.conv1"); outside a module the op's name; in a
            recorded backward, prefixed by "backward". Later calls are numbered: "conv2d#2".

    Returns:
        the four-axis result of that call.

    Raises:
        TypeError: if t is not a tensor.
        KeyError: if there is no such name; lists those there are.
        RuntimeError: if `backward()` has freed the values.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.ones(1, 1, 4, 4, requires_grad=True)
        >>> loss = tg.relu(tg.conv2d(x, tg.ones(1, 1, 3, 3))).sum()
        >>> tg.explain.find(loss, "conv2d").shape
        (1, 1, 2, 2)
    """
    instance(t, Tensor, "explain.find", "a tensor, the network's output or the loss")
    found: dict[str, Tensor | Freed] = {}
    for entry in revive([t]):
        if _is_conv(entry.output):
            path = ".".join(entry.node.scope) or entry.node.primitive.name
            count = sum(known.partition("#")[0] == path for known in found)
            found[f"{path}#{count + 1}" if count else path] = entry.output
    if name not in found:
        raise KeyError(f"explain.find: no convolution is called {name!r}; there are: "
                       f"{', '.join(found) or 'none'}")
    if isinstance(found[name], Freed) or found[name].node.freed:
        raise RuntimeError(f"explain.find: backward() has freed what {name!r} read; call it with "
                           f"retain_graph=True, or compute the output again")
    return found[name]
