"""tinygrad_conv: automatic differentiation on NumPy, with convolution as a primitive.

    import tinygrad_conv as tg
"""
from . import numpy_protocol as _numpy_protocol  # np.exp(t), np_array @ t
from . import operators as _operators  # t + t, t.sum(), ...
from .autodiff import grad, vjp
from .core import Tensor, is_recording, no_grad, scope
from .creation import (
    arange, eye, from_numpy, full, full_like, linspace, ones, ones_like, tensor, zeros, zeros_like,
)
from .gradcheck import check_grads
from .graph import graph
from .kernels.parallel import get_num_threads, set_num_threads
from .ops import (
    abs, adaptive_avg_pool2d, adaptive_max_pool2d, add, all, amax, amin, any, argmax, argmin,
    astype, avg_pool1d, avg_pool2d, batch_norm, binary_cross_entropy_with_logits, broadcast_to,
    clip, concat, concatenate, conv1d, conv2d, conv2d_weight, conv_transpose1d, conv_transpose2d, cos,
    cross_entropy, cumsum, div, dropout, dropout2d, einsum, elu, equal, erf, exp, expand_dims,
    expm1, flatten, flip, floor, gelu, getitem, global_avg_pool2d, global_max_pool2d, greater,
    greater_equal, group_norm, hardtanh, hinge_loss, huber_loss, identity, instance_norm, isfinite,
    isnan, kl_div, l1_loss, layer_norm, leaky_relu, less, less_equal, linear, log, log1p,
    log_softmax, logical_and, logical_not, logical_or, logsumexp, matmul, max, max_pool1d,
    max_pool2d, max_unpool2d, maximum, mean, min, minimum, mse_loss, mul, neg, nll_loss, norm,
    not_equal, outer, pad, pow, prod, relu, relu6, reshape, roll, selu, sigmoid, sign, silu, sin,
    smooth_l1_loss, softmax, softplus, split, sqrt, squeeze, stack, std, sub, sum, swapaxes,
    take_along_axis, tanh, transpose, var, where,
)
from .primitive import primitive
from .render.dot import save_graph, to_dot
from .sampling import normal, permutation, rand, randint, randn, uniform
from .tape import tape

__version__ = "0.1.0"
