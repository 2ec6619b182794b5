"""Dropout: random entries, or whole channels, set to 0 and the others scaled up.

The mask is a constant of the tape, so every order of derivative is exact. Randomness is an argument.
"""
from typing import Any

import numpy as np

from ..arguments import flag, generator, number
from ..operands import as_floats
from ..primitive import primitive
from ..tensor import Tensor, share


@primitive
def _dropout(x, mask):
    return x * mask


_dropout.defapart()
_dropout.defvjp(lambda g, ans, x, mask: _dropout(g, mask),
                lambda g, ans, x, mask: _dropout(g, x))
_dropout.defjvp("same", "same")


def _drop(op: str, x: Any, p: float, training: bool, rng: Any, channels: bool) -> Tensor:
    x, p = as_floats(x, op), number(p, op, "p", 0, 1)
    if channels and x.ndim not in (3, 4):
        raise ValueError(f"{op}: x must have axes NCHW or NCL, got shape {x.shape}")
    if not flag(training, op, "training") or p == 0:
        return x
    shape = x.shape[:2] + (1,) * (x.ndim - 2) if channels else x.shape
    scale = x.dtype.type(1.0 / (1.0 - p) if p < 1 else 0.0)
    return _dropout(x, share((generator(rng, op).random(shape, np.float32) >= p) * scale))


def dropout(x: Any, p: float = 0.5, training: bool = True, *,
            rng: np.random.Generator | None = None) -> Tensor:
    """In training each entry is 0 with probability p, else x / (1 - p); otherwise x itself.

    Args:
        x: floating point.
        p: between 0 and 1.
        training: whether to drop at all.
        rng: the generator of the mask; there is no global random state.

    Raises:
        ValueError: if p is not a probability.
        TypeError: if `rng` is needed and is not a generator, or x is not floating point.

    Example:
        >>> dropout(np.ones(4), 0.5, rng=np.random.default_rng(2)).data.tolist()
        [2.0, 0.0, 0.0, 0.0]

    Source: Srivastava et al. 2014, in the form that scales in training.
    """
    return _drop("dropout", x, p, training, rng, False)


def dropout2d(x: Any, p: float = 0.5, training: bool = True, *,
              rng: np.random.Generator | None = None) -> Tensor:
    """Dropout of whole channels of x (N, C, H, W), or (N, C, L); arguments as `dropout`.

    Raises:
        ValueError: if p is not a probability, or x has no channels.
        TypeError: if `rng` is needed and is not a generator, or x is not floating point.

    Example:
        >>> y = dropout2d(np.ones((1, 2, 3, 3)), 0.5, rng=np.random.default_rng(2))
        >>> y.data.sum(axis=(2, 3)).tolist()
        [[18.0, 0.0]]

    Source: Tompson et al. 2015.
    """
    return _drop("dropout2d", x, p, training, rng, True)
