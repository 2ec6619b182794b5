"""The ops, one file per family; `__all__` is what is public on `tg`."""
from .activation import elu, gelu, hardtanh, leaky_relu, relu, relu6, relu_vjp, selu, silu, softplus
from .compare import (
    equal, floor, greater, greater_equal, isfinite, isnan, less, less_equal, logical_and,
    logical_not, logical_or, not_equal, sign, where,
)
from .elementwise import (
    abs, add, astype, clip, div, div_no_nan, identity, maximum, minimum, mul, neg, sub,
)
from .functions import cos, erf, exp, expm1, log, log1p, pow, sigmoid, sin, sqrt, tanh
from .indexing import getitem, take_along_axis
from .joining import concat, concatenate, split, stack
from .padding import pad
from .reduce import all, amax, amin, any, argmax, argmin, max, mean, min, sum
from .shape import (
    broadcast_to, expand_dims, flatten, flip, reshape, roll, squeeze, swapaxes, transpose,
)
from .linalg import linear, matmul, outer
from .contraction import einsum
from .conv import conv1d, conv2d, conv2d_weight, conv_transpose1d, conv_transpose2d
from .classification import cross_entropy, hinge_loss, nll_loss
from .dropout import dropout, dropout2d
from .loss import (
    binary_cross_entropy_with_logits, huber_loss, kl_div, l1_loss, mse_loss, smooth_l1_loss,
)
from .norm_layers import batch_norm, group_norm, instance_norm, layer_norm
from .pool import (
    adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool1d, avg_pool2d, global_avg_pool2d,
    global_max_pool2d, max_pool1d, max_pool2d, max_unpool2d,
)
from .softmax import log_softmax, softmax
from .cumulative import cumsum, logsumexp, norm, prod, std, var

__all__ = [
    "abs", "adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "all", "amax", "amin", "any",
    "argmax", "argmin", "astype", "avg_pool1d", "avg_pool2d", "batch_norm",
    "binary_cross_entropy_with_logits", "broadcast_to", "clip", "concat", "concatenate", "conv1d",
    "conv2d", "conv2d_weight", "conv_transpose1d", "conv_transpose2d", "cos", "cross_entropy",
    "cumsum", "div", "dropout", "dropout2d", "einsum", "elu", "equal", "erf", "exp", "expand_dims",
    "expm1", "flatten", "flip", "floor", "gelu", "getitem", "global_avg_pool2d",
    "global_max_pool2d", "greater", "greater_equal", "group_norm", "hardtanh", "hinge_loss",
    "huber_loss", "identity", "instance_norm", "isfinite", "isnan", "kl_div", "l1_loss",
    "layer_norm", "leaky_relu", "less", "less_equal", "linear", "log", "log1p", "log_softmax",
    "logical_and", "logical_not", "logical_or", "logsumexp", "matmul", "max", "max_pool1d",
    "max_pool2d", "max_unpool2d", "maximum", "mean", "min", "minimum", "mse_loss", "mul", "neg",
    "nll_loss", "norm", "not_equal", "outer", "pad", "pow", "prod", "relu", "relu6", "reshape",
    "roll", "selu", "sigmoid", "sign", "silu", "sin", "smooth_l1_loss", "softmax", "softplus",
    "split", "sqrt", "squeeze", "stack", "std", "sub", "sum", "swapaxes", "take_along_axis", "tanh",
    "transpose", "var", "where",
]
