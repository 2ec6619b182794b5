"""All that is needed to add an op, and nothing else.

An op is a function from arrays to an array, with one vector-Jacobian product per argument, written
in tensors. It can then be differentiated to any order, and appears on tapes and in pictures like the
built-in ones.

    >>> import numpy as np
    >>> import tinygrad_conv as tg
    >>> from tinygrad_conv.extend import check_grads, primitive
    >>> @primitive
    ... def softplus2(x):
    ...     return np.logaddexp2(0, x)
    >>> softplus2.defvjp(lambda g, ans, x: g * tg.sigmoid(x * float(np.log(2))))
    >>> check_grads(softplus2, (np.array([-1.0, 0.0, 2.0]),), order=3)
    >>> round(tg.grad(tg.grad(softplus2))(0.0).item(), 6)
    0.173287

The rules: arrays are positional; everything else is keyword-only (`def op(x, y, *, axis)`) and
reaches the VJP under the same keyword. A VJP is `vjp(g, ans, *inputs, **params)`: g is the
cotangent, ans the result. It uses only these and constants: an array kept from the forward pass
would make second derivatives silently wrong. Broadcasting need not be undone. `None` in place of
a VJP says that no gradient flows. An op with several outputs returns a tuple; g and ans are then
tuples. An op of any number of arrays takes one VJP, whose first argument is the position of the array:
`op.defvjp_variadic(lambda i, g, ans, *inputs: ...)`. Never write into an input.
"""
from .tensor import Tensor
from .gradcheck import check_grads
from .primitive import Primitive, primitive

__all__ = ["Primitive", "Tensor", "check_grads", "primitive"]
