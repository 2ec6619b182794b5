"""tinygrad_conv: automatic differentiation on NumPy, with convolution as a primitive.

    import tinygrad_conv as tg
"""
import sys as _sys
import typing as _typing

from . import arguments, explain
from . import advice as _advice
from . import autodiff as _autodiff
from . import numpy_protocol as _numpy_protocol
from . import ops
from . import tensor as _tensor
from .autodiff import grad, vjp
from .config import show_config
from .draw.measure import multiply_adds
from .creation import (
    arange, eye, from_numpy, full, full_like, linspace, ones, ones_like, tensor, zeros, zeros_like,
)
from .draw.failure import attach_failure, failed_graph
from .files import write_atomically
from .gradcheck import check_grads
from .draw.graph import graph
from .kernels.parallel import get_num_threads, set_num_threads
from .ops import *
from .primitive import primitive
from .draw.drawing import Drawing, draw
from .sampling import normal, permutation, rand, randint, randn, uniform
from .state import is_recording, no_grad, scope
from .tape import tape
from .tensor import Tensor

_tensor.ops, _tensor.autodiff, _tensor.numpy_protocol = ops, _autodiff, _numpy_protocol  # what methods call

__all__ = [
    "Drawing", "Tensor", "arange", "arguments", "attach_failure", "check_grads", "draw", "eye", "failed_graph",
    "from_numpy", "full", "full_like", "get_num_threads", "grad", "graph", "is_recording", "linspace",
    "multiply_adds", "no_grad", "normal", "ones", "ones_like", "permutation", "primitive", "rand",
    "randint", "randn", "scope", "set_num_threads", "show_config", "tape", "tensor",
    "uniform", "vjp", "write_atomically", "zeros", "zeros_like",
]
__all__ += ops.__all__

__version__ = "0.1.0"

if not _typing.TYPE_CHECKING:  # a checker would take every name for one that exists
    def __getattr__(name):
        methods = [own for own, value in vars(Tensor).items() if callable(value)]
        text = _advice.missing("tinygrad_conv", name, _advice.FUNCTIONS, methods, "t.{}(...)")
        raise AttributeError(text, name=name, obj=_sys.modules[__name__])
