"""The ops, one file a family; every name here is public on `tg`."""
from .elementwise import (
    abs, add, astype, clip, cos, div, div_no_nan, elu, equal, erf, exp, expm1, floor, gelu, greater,
    greater_equal, hardtanh, identity, isfinite, isnan, leaky_relu, less, less_equal, log, log1p,
    logical_not, maximum, minimum, mul, neg, not_equal, pow, relu, relu6, relu_vjp, selu, sigmoid,
    sign, silu, sin, softplus, sqrt, sub, tanh, where,
)
