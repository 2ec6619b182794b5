"""Initialisation: fill a tensor in place with numbers drawn from `rng`.

Names and formulas are PyTorch's torch.nn.init; lecun_normal_ is Flax's, truncated at two standard
deviations. All return the tensor and are seeded by the generator they are given, nothing else.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

import tinygrad_conv as tg

TRUNCATED_STD = 0.87962566103423978  # of a standard normal cut at 2


def _generator(op: str, rng: np.random.Generator) -> np.random.Generator:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{op}: rng must be a NumPy generator, got {type(rng).__name__}; use "
                        f"np.random.default_rng(seed)")
    return rng


def fans(shape: Sequence[int]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): inputs and outputs a value is summed over.

    With groups, `in` is the channels of one group. A transposed convolution's weight is
    (in, out, *kernel); as in PyTorch, its fan_in is counted on axis 1 all the same.

    Raises:
        ValueError: for fewer than two axes.

    Example:
        >>> fans((16, 3, 5, 5))
        (75, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"init: fans need a weight of at least two axes, got shape {tuple(shape)}")
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor that keeps the variance through a nonlinearity; `a` is leaky_relu's slope.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
    """
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3,
             "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + a * a)), "selu": 0.75}
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: expects one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


def _fan(op: str, t: tg.Tensor, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"{op}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return max(1, fans(t.shape)[mode == "fan_out"])


def uniform_(t: tg.Tensor, a: float = 0.0, b: float = 1.0, *, rng: np.random.Generator) -> tg.Tensor:
    """Uniform between a and b.

    Example:
        >>> t = uniform_(tg.zeros(3), -1, 1, rng=np.random.default_rng(0))
        >>> bool((abs(t.numpy()) < 1).all())
        True
    """
    t.mutate()[...] = _generator("uniform_", rng).uniform(a, b, t.shape)
    return t


def normal_(t: tg.Tensor, mean: float = 0.0, std: float = 1.0, *,
            rng: np.random.Generator) -> tg.Tensor:
    """Normal."""
    t.mutate()[...] = _generator("normal_", rng).normal(mean, std, t.shape)
    return t


def trunc_normal_(t: tg.Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  *, rng: np.random.Generator) -> tg.Tensor:
    """Normal, drawn again until between a and b.

    Raises:
        ValueError: if (a, b) holds hardly any of the distribution.
    """
    _generator("trunc_normal_", rng)
    inside = math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2))
    if inside < 1e-3:
        raise ValueError(f"trunc_normal_: hardly any of N({mean}, {std}) lies between {a} and {b}")
    values = rng.normal(mean, std, t.size)
    while (outside := (values < a) | (values > b)).any():
        values[outside] = rng.normal(mean, std, outside.sum())
    t.mutate()[...] = values.reshape(t.shape)
    return t


def constant_(t: tg.Tensor, value: float) -> tg.Tensor:
    """All equal to `value`."""
    t.mutate()[...] = value
    return t


def zeros_(t: tg.Tensor) -> tg.Tensor:
    """All 0."""
    return constant_(t, 0.0)


def ones_(t: tg.Tensor) -> tg.Tensor:
    """All 1."""
    return constant_(t, 1.0)


def kaiming_uniform_(t: tg.Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu", *, rng: np.random.Generator) -> tg.Tensor:
    """U(-bound, bound), bound = gain sqrt(3 / fan) (He et al. 2015).

    Example:
        >>> w = kaiming_uniform_(tg.zeros(8, 1, 3, 3), a=5 ** 0.5, rng=np.random.default_rng(0))
        >>> bool(abs(w.numpy()).max() <= 1 / 3)
        True
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan("kaiming_uniform_", t, mode))
    return uniform_(t, -bound, bound, rng=rng)


def kaiming_normal_(t: tg.Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu", *, rng: np.random.Generator) -> tg.Tensor:
    """N(0, gain^2 / fan) (He et al. 2015)."""
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", t, mode))
    return normal_(t, 0.0, std, rng=rng)


def xavier_uniform_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator) -> tg.Tensor:
    """U(-bound, bound), bound = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    bound = gain * math.sqrt(6 / max(1, sum(fans(t.shape))))
    return uniform_(t, -bound, bound, rng=rng)


def xavier_normal_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator) -> tg.Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)) (Glorot & Bengio 2010)."""
    return normal_(t, 0.0, gain * math.sqrt(2 / max(1, sum(fans(t.shape)))), rng=rng)


def lecun_uniform_(t: tg.Tensor, *, rng: np.random.Generator) -> tg.Tensor:
    """U(-bound, bound), bound = sqrt(3 / fan_in) (LeCun et al. 1998)."""
    bound = math.sqrt(3 / _fan("lecun_uniform_", t, "fan_in"))
    return uniform_(t, -bound, bound, rng=rng)


def lecun_normal_(t: tg.Tensor, *, rng: np.random.Generator) -> tg.Tensor:
    """Normal cut at two standard deviations, of variance 1 / fan_in after the cut (Flax's rule)."""
    std = 1 / math.sqrt(_fan("lecun_normal_", t, "fan_in")) / TRUNCATED_STD
    return trunc_normal_(t, 0.0, std, -2 * std, 2 * std, rng=rng)


def orthogonal_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator) -> tg.Tensor:
    """Rows (or columns, if there are fewer) orthonormal, times gain (Saxe et al. 2013).

    Example:
        >>> w = orthogonal_(tg.zeros(2, 3), rng=np.random.default_rng(0)).numpy()
        >>> bool(np.allclose(w @ w.T, np.eye(2), atol=1e-6))
        True
    """
    if t.ndim < 2:
        raise ValueError(f"orthogonal_: expects at least two axes, got shape {t.shape}")
    rows, columns = t.shape[0], math.prod(t.shape[1:])
    flat = _generator("orthogonal_", rng).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(flat)
    q *= np.sign(np.diag(r))
    t.mutate()[...] = gain * (q if rows >= columns else q.T).reshape(t.shape)
    return t
