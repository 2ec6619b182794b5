"""dropout: entries, or whole channels, set to 0 at random, the others scaled up.

The mask is a constant of the tape, so every order of derivative is exact. Randomness is an
argument. Imports core, primitive and shape.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor, share
from ..primitive import primitive
from . import shape as sh


@primitive
def _dropout(x, mask):
    return x * mask


_dropout.defvjp(lambda g, ans, x, mask: _dropout(g, mask), None)


def _drop(op: str, x: Any, p: float, training: bool, rng: Any, channels: bool) -> Tensor:
    x = sh.as_tensor(x, op)
    if not 0 <= p <= 1:
        raise ValueError(f"{op}: p must be a probability between 0 and 1, got {p!r}")
    if x.dtype.kind != "f":
        raise TypeError(f"{op}: expects floating point, got {x.dtype}")
    if not training or p == 0:
        return x
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{op}: rng must be a NumPy generator, got {type(rng).__name__}; pass "
                        f"rng=np.random.default_rng(seed)")
    shape = x.shape[:2] + (1,) * (x.ndim - 2) if channels else x.shape
    keep = rng.random(shape, np.float32) >= p
    return _dropout(x, share(keep * x.dtype.type(1 / (1 - p) if p < 1 else 0)))


def dropout(x: Any, p: float = 0.5, training: bool = True, *,
            rng: np.random.Generator | None = None) -> Tensor:
    """Each entry is 0 with probability p, else x / (1 - p); outside training x itself.

    Raises:
        ValueError: if p is no probability.
        TypeError: if `rng` is missing in training.

    Example:
        >>> dropout(np.ones(4), 0.5, rng=np.random.default_rng(2)).data.tolist()
        [2.0, 0.0, 0.0, 0.0]
    """
    return _drop("dropout", x, p, training, rng, False)


def dropout2d(x: Any, p: float = 0.5, training: bool = True, *,
              rng: np.random.Generator | None = None) -> Tensor:
    """Dropout of whole channels of x (N, C, H, W), or (N, C, L).

    Raises:
        ValueError: if p is no probability, or x has no channels.

    Example:
        >>> y = dropout2d(np.ones((1, 2, 3, 3)), 0.5, rng=np.random.default_rng(2))
        >>> y.data.sum(axis=(2, 3)).tolist()
        [[18.0, 0.0]]
    """
    x = sh.as_tensor(x, "dropout2d")
    if x.ndim not in (3, 4):
        raise ValueError(f"dropout2d: x must have axes NCHW or NCL, got shape {x.shape}")
    return _drop("dropout2d", x, p, training, rng, True)
