"""log softmax along an axis, and its derivative: shifted by the largest value, so that nothing overflows."""
import numpy as np

from .table import register
from .total import total


def shifted(x: np.ndarray, axis: int) -> np.ndarray:
    """x less the largest value along the axis."""
    return x - np.maximum.reduce(x, axis=axis, keepdims=True, initial=-np.inf)


def log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    """x - log(sum(e**x)) along the axis."""
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        y = shifted(x, axis)
        y -= np.log(total(np.exp(y), (axis,), keepdims=True))
    return y


def log_softmax_vjp(g: np.ndarray, ans: np.ndarray, axis: int) -> np.ndarray:
    """g - e**ans sum(g) along the axis."""
    out = np.exp(ans)
    out *= total(g, (axis,), keepdims=True)
    return np.subtract(g, out, out=out)


register("numpy", "log_softmax", log_softmax)
register("numpy", "log_softmax_vjp", log_softmax_vjp)
