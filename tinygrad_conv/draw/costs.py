"""What the calls on a tape cost, from shapes alone: multiply-adds, and bytes kept for the backward.

Both are the same before and after `backward()`. May import core, primitive and tape.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..core import Tensor
from ..primitive import Freed, Primitive
from ..tape import Entry

Shape = tuple[int, ...]


def multiply_adds(op: Primitive, inputs: Sequence[Shape], output: Shape,
                  params: Mapping[str, Any] | None = None) -> int:
    """The multiply-adds of one call of an op, from shapes alone: what its `defcost` says, 0 if it has none.

    A convolution makes C/groups * KH * KW of them for each output value, whatever the stride,
    padding, dilation or groups: exactly the size of one filter. Products with padding count.

    Args:
        op: the primitive.
        inputs: the shapes of its arguments.
        output: the shape of what it returns.
        params: the call's parameters.

    Example:
        >>> import tinygrad_conv as tg
        >>> multiply_adds(tg.matmul, [(3, 4), (4, 5)], (3, 5))
        60
    """
    return op.cost(output, *inputs, **params or {}) if op.cost else 0


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
    seen: set[Any] = set()  # of memory: an object that all tensors on it share
    sizes = []
    for source in sources:
        call = isinstance(source, Entry)
        new = [t for t in (source.outputs if call else (source,)) if t.memory not in seen]
        seen.update(t.memory for t in new)
        size = sum(v.nbytes for v in source.node.params.values() if isinstance(v, np.ndarray)) if call else 0
        if call or not source.requires_grad:
            size += sum({t.memory: math.prod(t.shape) * t.dtype.itemsize for t in reversed(new)}.values())
        sizes.append(size)
    return sizes
