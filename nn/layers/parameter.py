"""Parameter: the tensors that a module trains. Imports the engine's public names only."""
from __future__ import annotations

from typing import Any

import tinygrad_conv as tg


class Parameter(tg.Tensor):
    """A tensor that a module trains: a leaf that requires a gradient.

    Args:
        data: anything `tg.Tensor` takes, floating point; copied.
        requires_grad: False for one that is kept fixed.

    Raises:
        TypeError: for data that cannot be differentiated.

    Example:
        >>> Parameter([1.0, 2.0]).requires_grad
        True
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)

    def _in_place(self, other: Any) -> Any:
        """`p -= lr * p.grad` would rebind the name p and leave the parameter as it is."""
        raise TypeError(f"Parameter{f' {self.name}' if self.name else ''}: += and the like do not change "
                        f"a parameter; write p.mutate()[...] -= lr * p.grad.numpy(), or p = p + x for a "
                        f"new tensor")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __imatmul__ = __ipow__ = _in_place
