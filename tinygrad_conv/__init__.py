"""tinygrad_conv: automatic differentiation on NumPy, with convolution as a primitive.

    import tinygrad_conv as tg

The engine is loaded at once; what draws, explains and reports, when it is first used.
"""
import sys as _sys
import typing as _typing

from . import advice, arguments
from . import autodiff as _autodiff
from . import numpy_protocol as _numpy_protocol
from . import ops
from . import tensor as _tensor
from .tensor import Tensor  # before the function `tensor`, which takes the name
from .autodiff import grad, jvp, linearize, value_and_grad, vjp
from .core import change
from .creation import (
    arange, eye, from_dlpack, from_numpy, full, full_like, linspace, normal, one_hot, ones, ones_like,
    permutation, rand, randint, randn, tensor, uniform, zeros, zeros_like,
)
from .files import write_atomically
from .hooks import Handle
from .kernels.overwrite import overwrite
from .kernels.parallel import get_num_threads, set_num_threads
from .kernels.table import kernels_in_use, use_kernels
from .ops import *
from .primitive import primitive
from .state import is_recording, no_grad, scope, state_kept
from .tape import tape

_tensor.ops, _tensor.autodiff, _tensor.numpy_protocol = ops, _autodiff, _numpy_protocol  # what methods call
_tensor.package = _sys.modules[__name__]

__all__ = [
    "Drawing", "Handle", "Tensor", "advice", "arange", "arguments", "attach_failure", "certify", "change",
    "check_grads", "checkpoint", "detect_anomaly", "diff", "draw", "explain", "eye", "failed_graph",
    "from_dlpack", "from_numpy", "full", "full_like", "get_num_threads", "grad", "graph", "hessian",
    "hvp", "is_recording", "jacobian", "jvp", "kernels_in_use", "linearize", "linspace", "multiply_adds",
    "no_grad", "normal", "one_hot", "ones", "ones_like", "overwrite", "per_example_vjp", "permutation",
    "primitive", "profile", "rand", "randint", "randn", "scope", "set_num_threads", "show_config",
    "state_kept", "table_html", "tape", "tensor", "tensor_html", "tree_html", "uniform", "use_kernels",
    "value_and_grad", "vhp", "vjp", "write_atomically", "zeros", "zeros_like",
]
__all__ += ops.__all__

__version__ = "0.1.0"

if _typing.TYPE_CHECKING:
    from . import explain
    from .anomaly import detect_anomaly
    from .config import show_config
    from .draw.diff import diff
    from .draw.drawing import Drawing, draw
    from .draw.failure import attach_failure, failed_graph
    from .draw.graph import graph
    from .draw.notebook import table_html, tensor_html, tree_html
    from .draw.measure import multiply_adds
    from .draw.profiling import profile
    from .gradcheck import check_grads
    from .certify.certificate import certify
    from .calculus import hessian, hvp, jacobian, vhp
    from .checkpoint import checkpoint
    from .per_example import per_example_vjp

advice.late(__name__, {
    "certify": "certify.certificate",
    "checkpoint": "checkpoint", "hessian": "calculus", "hvp": "calculus", "jacobian": "calculus",
    "vhp": "calculus",
    "Drawing": "draw.drawing", "diff": "draw.diff", "draw": "draw.drawing", "graph": "draw.graph",
    "multiply_adds": "draw.measure",
    "attach_failure": "draw.failure", "failed_graph": "draw.failure", "explain": "",
    "check_grads": "gradcheck", "show_config": "config", "profile": "draw.profiling",
    **dict.fromkeys(["table_html", "tensor_html", "tree_html"], "draw.notebook"),
    "detect_anomaly": "anomaly", "per_example_vjp": "per_example",
}, advice.FUNCTIONS, [name for name, value in vars(Tensor).items() if callable(value)], "t.{}(...)")
