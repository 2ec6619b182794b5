"""Initialisation: fill a tensor in place with numbers drawn from `rng`.

Names and formulas are PyTorch's torch.nn.init; lecun_normal_ is Flax's, truncated at two standard
deviations. All return the tensor and draw only from the generator they are given. `fans` and
`calculate_gain` say how a layer changes the variance of what passes through.
"""
import math

import numpy as np

import tinygrad_conv as tg

TRUNCATED_STD = 0.87962566103423978  # of a standard normal cut at 2


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel): inputs per output value, outputs per input value.

    With groups, `in` is the channels of one group. A transposed convolution's weight is
    (in, out, *kernel); as in PyTorch, its fan_in is counted on axis 1 all the same.

    Raises:
        ValueError: for fewer than two axes.

    Example:
        >>> fans((16, 3, 5, 5))
        (75, 400)
    """
    if len(shape) < 2:
        raise ValueError(f"init: expects a weight of at least two axes, got shape {tuple(shape)}")
    outputs, inputs, *kernel = map(int, shape)  # NumPy's wrap around
    field = math.prod(kernel)
    return inputs * field, outputs * field


def calculate_gain(nonlinearity: str, a: float = 0.01) -> float:
    """The factor that preserves the variance through a nonlinearity; `a` is leaky_relu's slope.

    Raises:
        ValueError: for a nonlinearity without a known factor; lists those there are.

    Example:
        >>> calculate_gain("tanh")
        1.6666666666666667
    """
    tg.arguments.number(a, "calculate_gain", "a")
    gains = {"linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv_transpose1d": 1.0,
             "conv_transpose2d": 1.0, "sigmoid": 1.0, "tanh": 5 / 3,
             "relu": math.sqrt(2), "leaky_relu": math.sqrt(2 / (1 + a * a)), "selu": 0.75}
    return gains[tg.arguments.one_of(nonlinearity, "calculate_gain", "nonlinearity", list(gains))]


def _check(op: str, t: tg.Tensor) -> None:
    tg.arguments.instance(t, tg.Tensor, op, "a floating point tensor to fill",
                          "; give the tensor itself, not its .data")
    if t.dtype.kind != "f":
        raise TypeError(f"{op}: expects a floating point tensor to fill, got {t.dtype}")


def _fill(op: str, t: tg.Tensor, values: object) -> tg.Tensor:
    """`t`, filled with an array or a number, or with what a function of its shape gives."""
    _check(op, t)
    t.mutate()[...] = values(t.shape) if callable(values) else values
    return t


def _fans(op: str, t: tg.Tensor) -> list[int]:
    """The weight's fans, at least 1: it may be empty."""
    _check(op, t)
    return [max(1, n) for n in fans(t.shape)]


def _fan(op: str, t: tg.Tensor, mode: str) -> int:
    return _fans(op, t)[tg.arguments.one_of(mode, op, "mode", ("fan_in", "fan_out")) == "fan_out"]


def uniform_(t: tg.Tensor, a: float = 0.0, b: float = 1.0, *,
             rng: np.random.Generator | None = None) -> tg.Tensor:
    """Uniform between a and b.

    Example:
        >>> t = uniform_(tg.zeros(3), -1, 1, rng=np.random.default_rng(0))
        >>> bool((abs(t.numpy()) < 1).all())
        True
    """
    tg.arguments.number(a, "uniform_", "a")
    tg.arguments.number(b, "uniform_", "b", a)
    return _fill("uniform_", t, lambda shape: tg.arguments.generator(rng, "uniform_").uniform(a, b, shape))


def normal_(t: tg.Tensor, mean: float = 0.0, std: float = 1.0, *,
            rng: np.random.Generator | None = None) -> tg.Tensor:
    """Normal.

    Example:
        >>> normal_(tg.zeros(2), 5.0, 0.0, rng=np.random.default_rng(0)).numpy().tolist()
        [5.0, 5.0]
    """
    tg.arguments.number(mean, "normal_", "mean")
    tg.arguments.number(std, "normal_", "std", 0)
    return _fill("normal_", t, lambda shape: tg.arguments.generator(rng, "normal_").normal(mean, std, shape))


def trunc_normal_(t: tg.Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
                  *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """Normal, redrawn until between a and b.

    Raises:
        ValueError: if (a, b) holds hardly any of the distribution.

    Example:
        >>> t = trunc_normal_(tg.zeros(100), a=-1.0, b=1.0, rng=np.random.default_rng(0))
        >>> bool((abs(t.numpy()) <= 1).all())
        True
    """
    _check("trunc_normal_", t)
    for name, value in (("mean", mean), ("std", std), ("a", a), ("b", b)):
        tg.arguments.number(value, "trunc_normal_", name)
    if not std > 0:
        raise ValueError(f"trunc_normal_: std must be above 0, got {std}")
    inside = math.erf((b - mean) / std / math.sqrt(2)) - math.erf((a - mean) / std / math.sqrt(2))
    if not inside >= 1e-3:
        raise ValueError(f"trunc_normal_: hardly any of N({mean}, {std}) lies between {a} and {b}")
    draw = tg.arguments.generator(rng, "trunc_normal_").normal
    values = draw(mean, std, math.prod(t.shape))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = draw(mean, std, outside.sum())
    return _fill("trunc_normal_", t, values.reshape(t.shape))


def constant_(t: tg.Tensor, value: float) -> tg.Tensor:
    """All equal to `value`.

    Example:
        >>> constant_(tg.zeros(2), 3.0).numpy().tolist()
        [3.0, 3.0]
    """
    return _fill("constant_", t, tg.arguments.number(value, "constant_", "value"))


def zeros_(t: tg.Tensor) -> tg.Tensor:
    """All 0.

    Example:
        >>> zeros_(tg.ones(2)).numpy().tolist()
        [0.0, 0.0]
    """
    return _fill("zeros_", t, 0.0)


def ones_(t: tg.Tensor) -> tg.Tensor:
    """All 1.

    Example:
        >>> ones_(tg.zeros(2)).numpy().tolist()
        [1.0, 1.0]
    """
    return _fill("ones_", t, 1.0)


def kaiming_uniform_(t: tg.Tensor, a: float = 0.0, mode: str = "fan_in",
                     nonlinearity: str = "leaky_relu", *,
                     rng: np.random.Generator | None = None) -> tg.Tensor:
    """U(-bound, bound), bound = gain sqrt(3 / fan) (He et al. 2015).

    Args:
        t: a weight, filled in place.
        a: the slope of the leaky ReLU that follows, for the gain.
        mode: "fan_in" preserves the variance in the forward pass, "fan_out" in the backward pass.
        nonlinearity: see `calculate_gain`.
        rng: the generator.

    Example:
        >>> w = kaiming_uniform_(tg.zeros(8, 1, 3, 3), a=5 ** 0.5, rng=np.random.default_rng(0))
        >>> bool(abs(w.numpy()).max() <= 1 / 3)
        True
    """
    bound = calculate_gain(nonlinearity, a) * math.sqrt(3 / _fan("kaiming_uniform_", t, mode))
    return uniform_(t, -bound, bound, rng=tg.arguments.generator(rng, "kaiming_uniform_"))


def kaiming_normal_(t: tg.Tensor, a: float = 0.0, mode: str = "fan_in",
                    nonlinearity: str = "leaky_relu", *,
                    rng: np.random.Generator | None = None) -> tg.Tensor:
    """N(0, gain^2 / fan) (He et al. 2015); arguments as `kaiming_uniform_`.

    Example:
        >>> w = kaiming_normal_(tg.zeros(64, 50), rng=np.random.default_rng(0))
        >>> round(float(w.numpy().std()), 2)
        0.2
    """
    std = calculate_gain(nonlinearity, a) / math.sqrt(_fan("kaiming_normal_", t, mode))
    return normal_(t, 0.0, std, rng=tg.arguments.generator(rng, "kaiming_normal_"))


def xavier_uniform_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """U(-bound, bound), bound = gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).

    Example:
        >>> w = xavier_uniform_(tg.zeros(2, 4), rng=np.random.default_rng(0))
        >>> bool(abs(w.numpy()).max() <= 1)
        True
    """
    bound = (tg.arguments.number(gain, "xavier_uniform_", "gain")
             * math.sqrt(6 / sum(_fans("xavier_uniform_", t))))
    return uniform_(t, -bound, bound, rng=tg.arguments.generator(rng, "xavier_uniform_"))


def xavier_normal_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """N(0, 2 gain^2 / (fan_in + fan_out)) (Glorot & Bengio 2010).

    Example:
        >>> w = xavier_normal_(tg.zeros(100, 100), rng=np.random.default_rng(0))
        >>> round(float(w.numpy().std()), 2)
        0.1
    """
    std = tg.arguments.number(gain, "xavier_normal_", "gain") * math.sqrt(2 / sum(_fans("xavier_normal_", t)))
    return normal_(t, 0.0, std, rng=tg.arguments.generator(rng, "xavier_normal_"))


def lecun_uniform_(t: tg.Tensor, *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """U(-bound, bound), bound = sqrt(3 / fan_in) (LeCun et al. 1998).

    Example:
        >>> w = lecun_uniform_(tg.zeros(2, 3), rng=np.random.default_rng(0))
        >>> bool(abs(w.numpy()).max() <= 1)
        True
    """
    bound = math.sqrt(3 / _fan("lecun_uniform_", t, "fan_in"))
    return uniform_(t, -bound, bound, rng=tg.arguments.generator(rng, "lecun_uniform_"))


def lecun_normal_(t: tg.Tensor, *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """Normal, truncated at two standard deviations, with variance 1 / fan_in after that (Flax's rule).

    Example:
        >>> w = lecun_normal_(tg.zeros(100, 100), rng=np.random.default_rng(0))
        >>> round(float(w.numpy().std()), 2)
        0.1
    """
    std = 1 / math.sqrt(_fan("lecun_normal_", t, "fan_in")) / TRUNCATED_STD
    return trunc_normal_(t, 0.0, std, -2 * std, 2 * std, rng=tg.arguments.generator(rng, "lecun_normal_"))


def orthogonal_(t: tg.Tensor, gain: float = 1.0, *, rng: np.random.Generator | None = None) -> tg.Tensor:
    """Rows (or columns, if there are fewer) orthonormal, times gain (Saxe et al. 2013).

    Example:
        >>> w = orthogonal_(tg.zeros(2, 3), rng=np.random.default_rng(0)).numpy()
        >>> bool(np.allclose(w @ w.T, np.eye(2), atol=1e-6))
        True
    """
    _check("orthogonal_", t)
    tg.arguments.number(gain, "orthogonal_", "gain")
    rows, columns = t.shape[0], fans(t.shape)[0]
    sizes = max(rows, columns), min(rows, columns)
    q, r = np.linalg.qr(tg.arguments.generator(rng, "orthogonal_").standard_normal(sizes))
    q *= np.sign(np.diag(r))
    return _fill("orthogonal_", t, gain * (q if rows >= columns else q.T).reshape(t.shape))
