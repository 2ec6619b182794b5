"""The ops, one file per family; `__all__` is what is public on `tg`.

An axis of length 0 is an axis: of nothing a sum is 0, a product 1, `logsumexp` -inf, `all` True, a mean or a
variance nan, without a warning, and gradients have the shape of what they belong to. A batch may be empty. An
image without cells is convolved where its padding holds a window. Refused, by name, where no value would be
right: `max` and `argmax` of nothing, pooling an image without cells, filters, kernels and sets of classes of
which there are none.

Kinks, ties and singular points. The first derivative there is PyTorch's; the second is that of the side which
the first belongs to, so that the two are always derivatives of one smooth function:

    op                          where                    first               second
    relu                        0                        0                   0
    leaky_relu                  0                        negative_slope      0
    elu, selu                   0                        alpha (selu: times  the same: the left side's
                                                         its scale)          (PyTorch's 0 is the right side's)
    softplus                    beta x = threshold       below it, curved    below it (PyTorch: 0, above it)
    huber_loss, smooth_l1_loss  r = +-delta              that of both sides  0: outside, straight
    hardtanh, relu6             both bounds              0                   0
    clip                        both bounds              1                   0
    abs, l1_loss                0                        0                   0
    hinge_loss                  margin just kept         0                   0
    sign, floor, ceil, trunc,   everywhere               0                   0
    round, floor_divide
    remainder                   where it jumps           that of both sides  0
    atan2, hypot                (0, 0)                   0 (hypot in         0
                                                         PyTorch: nan)
    maximum, minimum            x = y                    half to each        0
    max, min, over all or axes  k equal ones             1/k to each         0
    max pools                   equal ones               all to the first    0
    norm, std                   0                        0                   0 (PyTorch's norm: nan)
    pow                         0**0, by either          0                   0
                                0**y with y > 0, by y    0                   0 (PyTorch: nan)
    kl_div                      target 0                 0, by the target    0
    sqrt                        0                        infinite; 0 if the cotangent is 0 (PyTorch: nan)

The gradients of a tie add up to the cotangent. `where` passes it to the side chosen, 0 to the other.
"""
from .activation import (
    elu, gelu, hardsigmoid, hardswish, hardtanh, leaky_relu, log_softmax, logsigmoid, mish, prelu, relu,
    relu6, relu_vjp, selu, silu, softmax, softplus,
)
from .conv import conv1d, conv2d, conv2d_weight, conv_transpose1d, conv_transpose2d
from .dropout import dropout, dropout2d
from .elementwise import (
    abs, acos, acosh, add, asin, asinh, astype, atan, atan2, atanh, ceil, clip, cos, cosh, div,
    div_no_nan, equal, erf, exp, exp2, expm1, floor, floor_divide, greater, greater_equal, hypot,
    identity, isfinite, isnan, less, less_equal, log, log10, log1p, log2, logaddexp, logical_and,
    logical_not, logical_or, masked_fill, maximum, minimum, mul, neg, not_equal, pow, remainder, round,
    sigmoid, sign, sin, sinh, sqrt, sub, tan, tanh, tril, triu, trunc, where,
)
from .linalg import (
    einsum, linear, matmul, outer, tensordot,
)
from .loss import (
    binary_cross_entropy, binary_cross_entropy_with_logits, margin_ranking_loss, triplet_margin_loss,
    cross_entropy, hinge_loss, huber_loss, kl_div, l1_loss, mse_loss,
    nll_loss, smooth_l1_loss,
)
from .normalize import batch_norm, group_norm, instance_norm, layer_norm
from .order import argsort, sort, topk
from .padding import pad
from .pool import (
    adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool1d, avg_pool2d, global_avg_pool2d,
    global_max_pool2d, max_pool1d, max_pool2d, max_unpool2d,
)
from .reduce import (
    all, amax, amin, any, argmax, argmin, cumprod, cumsum, logsumexp, max, mean, min, norm, prod, std,
    sum, var,
)
from .resize import interpolate, pixel_shuffle, pixel_unshuffle
from .shape import (
    broadcast_to, concat, concatenate, diag, expand_dims, flatten, flip, gather, getitem, hstack,
    moveaxis, repeat, reshape, roll, scatter_add, split, squeeze, stack, swapaxes, take_along_axis, tile,
    transpose, vstack,
)
from .unfold import fold, unfold

__all__ = [
    "abs", "acos", "acosh", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "add",
    "all", "amax", "amin", "any", "argmax", "argmin", "argsort", "asin", "asinh", "astype", "atan",
    "atan2", "atanh", "avg_pool1d", "avg_pool2d", "batch_norm", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "broadcast_to", "ceil", "clip", "concat", "concatenate", "conv1d",
    "conv2d", "conv2d_weight", "conv_transpose1d", "conv_transpose2d", "cos", "cosh", "cross_entropy",
    "cumprod", "cumsum", "diag", "div", "dropout", "dropout2d", "einsum", "elu", "equal", "erf",
    "exp", "exp2", "expand_dims", "expm1", "flatten", "flip", "floor", "floor_divide", "fold", "gather",
    "gelu", "getitem", "global_avg_pool2d", "global_max_pool2d", "greater", "greater_equal", "group_norm",
    "hardsigmoid", "hardswish", "hardtanh", "hinge_loss", "hstack", "huber_loss", "hypot", "identity",
    "instance_norm", "interpolate", "isfinite", "isnan", "kl_div", "l1_loss", "layer_norm", "leaky_relu",
    "less", "less_equal", "linear", "log", "log10", "log1p", "log2", "log_softmax", "logaddexp",
    "logical_and", "logical_not", "logical_or", "logsigmoid", "logsumexp", "margin_ranking_loss",
    "masked_fill", "matmul", "max", "max_pool1d", "max_pool2d", "max_unpool2d", "maximum", "mean", "min",
    "minimum", "mish", "moveaxis", "mse_loss", "mul", "neg", "nll_loss", "norm", "not_equal", "outer",
    "pad", "pixel_shuffle", "pixel_unshuffle", "pow", "prelu", "prod", "relu", "relu6", "remainder",
    "repeat", "reshape", "roll", "round", "scatter_add", "selu", "sigmoid", "sign", "silu", "sin", "sinh",
    "smooth_l1_loss", "softmax", "softplus", "sort", "split", "sqrt", "squeeze", "stack", "std", "sub",
    "sum", "swapaxes", "take_along_axis", "tan", "tanh", "tensordot", "tile", "topk", "transpose", "tril",
    "triplet_margin_loss", "triu", "trunc", "unfold", "var", "vstack", "where",
]
