"""softplus(x) = log(1 + e**x): an op from outside, drawn, printed, profiled and checked like a built-in."""
import math

import numpy as np
import tinygrad_conv as tg


@tg.primitive(samples=[(np.linspace(-3.0, 3.0, 7),), (np.ones((2, 3)),)])
def softplus(x):
    return np.logaddexp(0, x)


softplus.defvjp(lambda g, ans, x: g * tg.sigmoid(x))
softplus.defcost(lambda ans, x: math.prod(ans))
softplus.defmethod()
