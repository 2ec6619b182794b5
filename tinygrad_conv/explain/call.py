"""From the tensor a reader asks about to the recorded call of the convolution that made it.

Shape changes around the call (a sample without batch axis, conv1d, channels last) are undone,
so that an index is written with the axes the reader sees. Imports core, primitive, tape,
labels and pullback.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core import Tensor, as_array, share
from ..draw.text import call_label
from ..primitive import Freed
from ..pullback import pull
from ..state import no_grad
from ..tape import walk

NAMES = ("conv2d", "conv_transpose2d")
GEOMETRY = {"stride", "padding", "dilation", "groups"}
Index = tuple[int, int, int, int]


@dataclass(frozen=True)
class Call:
    """One recorded call. `axes` are those of (N, channels, rows, columns) that the reader sees."""

    y: Tensor              # what the primitive made, four axes
    axes: tuple[int, ...]
    kernel_axes: tuple[int, ...]

    @property
    def x(self) -> Tensor:
        return self.y.node.inputs[0]

    @property
    def w(self) -> Tensor:
        return self.y.node.inputs[1]

    @property
    def bias(self) -> Tensor | None:
        return (*self.y.node.inputs, None)[2]

    @property
    def params(self) -> dict[str, Any]:
        return self.y.node.params

    @property
    def transposed(self) -> bool:
        return self.y.node.primitive.name == "conv_transpose2d"

    @property
    def line(self) -> bool:
        """Whether the reader knows no rows: a one-dimensional convolution."""
        return 2 not in self.kernel_axes

    @property
    def label(self) -> str:
        node = self.y.node
        shapes, params = [t.shape for t in node.inputs], node.params
        if self.line:
            shapes = [(*s[:2], *s[3:]) for s in shapes]
            params = params | {key: params[key][-1:] for key in ("stride", "padding", "dilation")}
        text = call_label(node.primitive, shapes, params)
        text = text.replace("2d", "1d", 1) if self.line else text
        return ".".join(node.scope) + ": " + text if node.scope else text


def _is_conv(t: Tensor | Freed) -> bool:
    return t.node is not None and t.node.primitive.name in NAMES and t.node.params.keys() >= GEOMETRY


def recorded(y: Any, what: str) -> Call:
    """The convolution behind `y`, with what it read still there and unchanged."""
    if not isinstance(y, Tensor):
        raise TypeError(f"{what}: expects the tensor that conv2d or conv_transpose2d returned, got "
                        f"{type(y).__name__}")
    steps, t = [], y
    while t.node is not None and t.node.primitive.name in ("reshape", "transpose"):
        steps.append(t)
        t = t.node.inputs[0]
    if not _is_conv(t):
        raise TypeError(f"{what}: expects the result of conv2d or conv_transpose2d, {_origin(y)}")
    if t.node.freed or isinstance(t, Freed):
        raise RuntimeError(f"{what}: backward() has freed what this {t.node.primitive.name} read; call "
                           f"it with retain_graph=True, or compute y again")
    for name, x, stamp in zip(("x", "weight", "bias"), t.node.inputs, t.node.stamps):
        if x.memory.stamp(x.data, stamp) != stamp:
            raise RuntimeError(f"{what}: the {name} of this {t.node.primitive.name} was changed in place "
                               f"after the call; compute y again")
    axes = _seen(t, steps[::-1], what)
    return Call(t, axes, (0, 1, 2, 3) if 2 in axes or len(axes) == 4 else (0, 1, 3))


def _origin(y: Tensor) -> str:
    if y.node is None:
        return ("this tensor has no recorded call: let x or the weight require a gradient, and call the "
                "convolution outside no_grad()")
    return (f"this one was made by {y.node.primitive.name}: pass what the convolution itself returned, or "
            f"find it with tg.explain.find(y, name)")


def _may_be_line(w: Tensor) -> bool:
    """Whether the weight was, or if unrecorded may have been, conv1d's: (O, C, K) reshaped."""
    return not w.requires_grad or (w.node is not None and w.node.primitive.name == "reshape"
                                   and w.node.inputs[0].ndim == 3)


def _seen(conv: Tensor, steps: Sequence[Tensor], what: str) -> tuple[int, ...]:
    """Which of the four axes are left after the shape changes in `steps`, in their order."""
    x, w = conv.node.inputs[:2]
    lines = w.shape[2] == 1 and x.shape[2] == 1 and _may_be_line(w)  # conv1d's images have height 1
    axes = (0, 1, 2, 3)
    for t in steps:
        if t.node.primitive.name == "transpose":
            axes = tuple(axes[k] for k in t.node.params["axes"])
        for dropped in ((), (2,), (0,), (0, 2)) if lines else ((), (0,)):
            left = tuple(k for k in axes if k not in dropped or conv.shape[k] != 1)
            if tuple(conv.shape[k] for k in left) == t.shape:
                break
        else:
            raise TypeError(f"{what}: y is {conv.node.primitive.name}'s result in another shape, {t.shape} "
                            f"for {conv.shape}; pass what the convolution itself returned")
        axes = left
    return axes


def place(index: Any, axes: tuple[int, ...], shape: tuple[int, ...], letters: Sequence[str],
          what: str) -> Index:
    """The reader's index on all four axes; an axis the reader does not see has one cell."""
    form = ",".join(letters[k] for k in axes)
    expects = f"{what}: the index must be {len(axes)} whole numbers ({form}), got {index!r}"
    try:
        values = [v.__index__() for v in index]
    except (TypeError, AttributeError):
        raise TypeError(expects) from None
    if len(values) != len(axes):
        raise IndexError(expects)
    out = [0, 0, 0, 0]
    for axis, value in zip(axes, values):
        if not -shape[axis] <= value < shape[axis]:
            raise IndexError(f"{what}: index {value} is out of range for axis {letters[axis]} of size "
                             f"{shape[axis]} (index ({form}) = {tuple(values)})")
        out[axis] = value % shape[axis]
    return tuple(out)


def cotangent(y: Tensor, call: Call, g: Any, what: str) -> Tensor:
    """What arrives at the convolution from above, with four axes.

    `g` is an array of y's shape, a tensor with one value computed from y, or None for ones.
    """
    if g is None:
        return share(np.ones(call.y.shape, call.y.dtype))
    if isinstance(g, Tensor) and g.size == 1 and any(e.node is call.y.node for e in walk([g])):
        with no_grad():
            found = pull([g], [share(np.ones_like(g.data))], [call.y])
        if id(call.y) not in found:
            raise ValueError(f"{what}: no gradient flows from this loss back to y; check for detach() and "
                             f"for comparisons on the way")
        return found[id(call.y)][1]
    array = as_array(g, copy=False, what=f"{what} g")
    if array.shape != y.shape:
        raise ValueError(f"{what}: g must have the shape of y, {y.shape}, or be a loss computed from y, got "
                         f"shape {array.shape}")
    full = np.transpose(array, np.argsort(call.axes)).reshape(call.y.shape)
    return share(full.astype(call.y.dtype))


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
    if not isinstance(t, Tensor):
        raise TypeError(f"explain.find: expects a tensor, the network's output or the loss, got "
                        f"{type(t).__name__}")
    found: dict[str, Tensor | Freed] = {}
    for entry in walk([t]):
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
