"""What the calls on a tape cost, from shapes alone: multiply-adds, and bytes kept for the backward.

Both are the same before and after `backward()`. May import core, primitive and tape.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..tensor import Tensor
from ..primitive import Freed
from ..tape import Entry

Shape = tuple[int, ...]


def multiply_adds(name: str, inputs: Sequence[Shape], output: Shape,
                  params: Mapping[str, Any] | None = None) -> int:
    """The multiply-adds of one call of an op, from shapes alone; 0 for ops that are not sums of products.

    A convolution makes C/groups * KH * KW of them for each output value, whatever the stride,
    padding, dilation or groups: exactly the size of one filter. Products with padding count.

    Args:
        name: of the primitive.
        inputs: the shapes of its arguments.
        output: the shape of what it returns.
        params: the call's parameters; only einsum's `subscripts` are looked at.

    Example:
        >>> multiply_adds("conv2d", [(1, 3, 8, 8), (16, 3, 3, 3)], (1, 16, 8, 8))
        27648
    """
    if name == "conv2d":
        return math.prod(output) * math.prod(inputs[1][1:])
    if name == "conv_transpose2d":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if name == "conv2d_weight":  # each number of g meets one window of x
        return math.prod(inputs[0]) * math.prod(output[1:])
    if name in ("linear", "matmul"):
        return math.prod(output) * inputs[0][-1]
    if name == "einsum" and params:
        return _einsum(params["subscripts"], inputs)
    return 0


def _einsum(subscripts: str, shapes: Sequence[Shape]) -> int:
    """Pair by pair as NumPy contracts them: the product of the lengths of all labels of a pair."""
    left, out = subscripts.split("->")
    terms = [set(term) for term in left.split(",")]
    sizes: dict[str, int] = {}
    for labels, shape in zip(left.split(","), shapes):
        for k, n in zip(labels, shape):
            sizes[k] = n if sizes.get(k, 1) == 1 else sizes[k]
    blanks = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    path = np.einsum_path(subscripts, *blanks, optimize="greedy")[0][1:]
    count = 0
    for picked in path:
        met = [terms.pop(i) for i in sorted(picked, reverse=True)]
        labels = set().union(*met)
        count += math.prod(sizes[k] for k in labels) * (len(met) > 1)
        terms.append(labels & set(out).union(*terms))
    return count


def saved_bytes(sources: Iterable[Entry | Tensor | Freed]) -> list[int]:
    """Bytes that each call or leaf of a tape keeps alive until `backward()`.

    Each piece of memory counts once, where it was made: a view (reshape, transpose, a slice) keeps
    nothing new. Parameters live on anyway and count 0; constants, index arrays and all outputs of
    an op count.

    Args:
        sources: `Graph.sources.values()`: leaves before the calls that use them.

    Example:
        >>> import tinygrad_conv as tg
        >>> w = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> y = tg.reshape(tg.exp(w), (4,))
        >>> saved_bytes(tg.graph(y).sources.values())         # w, exp, reshape
        [0, 16, 0]
    """
    seen: set[int] = set()
    return [_new_bytes(source, seen) for source in sources]


def _new_bytes(source: Entry | Tensor | Freed, seen: set[int]) -> int:
    extra, parameter = 0, False
    if isinstance(source, Entry):
        tensors: Sequence[Tensor | Freed] = source.node.values or [source.output]
        extra = sum(v.nbytes for v in source.node.params.values() if isinstance(v, np.ndarray))
    else:
        tensors, parameter = [source], source.requires_grad
    for t in tensors:
        if id(t.memory) not in seen:
            seen.add(id(t.memory))
            extra += 0 if parameter else math.prod(t.shape) * t.dtype.itemsize
    return extra
