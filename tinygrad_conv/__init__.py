"""tinygrad_conv: automatic differentiation on NumPy, with convolution as a primitive.

    import tinygrad_conv as tg

The engine is loaded at once; what draws, explains and reports, when it is first used.
"""
import importlib as _importlib
import sys as _sys
import types as _types
import typing as _typing

from . import advice as _advice
from . import arguments
from . import autodiff as _autodiff
from . import numpy_protocol as _numpy_protocol
from . import ops
from . import tensor as _tensor
from .autodiff import grad, vjp
from .creation import (
    arange, eye, from_numpy, full, full_like, linspace, normal, ones, ones_like, permutation, rand, randint, randn,
    tensor, uniform, zeros, zeros_like,
)
from .files import write_atomically
from .kernels.parallel import get_num_threads, set_num_threads
from .ops import *
from .primitive import primitive
from .state import is_recording, no_grad, scope
from .tape import tape
from .tensor import Tensor

_tensor.ops, _tensor.autodiff, _tensor.numpy_protocol = ops, _autodiff, _numpy_protocol  # what methods call

_LATE = {  # names, and the module that has each: "" is the name's own
    "Drawing": "draw.drawing", "draw": "draw.drawing", "graph": "draw.graph", "multiply_adds": "draw.measure",
    "attach_failure": "draw.failure", "failed_graph": "draw.failure", "explain": "",
    "check_grads": "gradcheck", "show_config": "config",
}
__all__ = [
    *_LATE, "Tensor", "arange", "arguments", "eye", "from_numpy", "full", "full_like", "get_num_threads", "grad",
    "is_recording", "linspace", "no_grad", "normal", "ones", "ones_like", "permutation", "primitive", "rand",
    "randint", "randn", "scope", "set_num_threads", "tape", "tensor", "uniform", "vjp", "write_atomically", "zeros",
    "zeros_like",
]
__all__ += ops.__all__

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from . import explain
    from .config import show_config
    from .draw.drawing import Drawing, draw
    from .draw.failure import attach_failure, failed_graph
    from .draw.graph import graph
    from .draw.measure import multiply_adds
    from .gradcheck import check_grads
else:  # a checker would take every name for one that exists
    def __getattr__(name):
        if name in _LATE:
            module = _importlib.import_module(f".{_LATE[name] or name}", __name__)
            value = globals()[name] = getattr(module, name) if _LATE[name] else module
            return value
        methods = [own for own, value in vars(Tensor).items() if callable(value)]
        text = arguments.missing("tinygrad_conv", name, _advice.FUNCTIONS, methods, "t.{}(...)")
        raise AttributeError(text, name=name, obj=_sys.modules[__name__])

    def __dir__():
        return sorted({*globals(), *__all__})

    class _Package(_types.ModuleType):
        def __setattr__(self, name, value):
            """Loading the folder `draw` would put the module in the place of the function."""
            if name != "draw" or not isinstance(value, _types.ModuleType):
                super().__setattr__(name, value)

    _sys.modules[__name__].__class__ = _Package
