"""Layers that apply one function of the engine and train nothing: activations, dropout, Flatten, Identity.

Loss and pooling layers begin here too: a class names its function and keeps the options.
"""
from collections.abc import Callable
from typing import Any, Self

import numpy as np

import tinygrad_conv as tg

from .module import Module, Parameter


class OptionLayer(Module):
    """Keeps the options of `function`, a function of the engine, as attributes, and prints them in order.

    Those that are `unprinted` PyTorch does not print either. It is called with its `inputs`.
    """

    function: Callable[..., tg.Tensor]
    unprinted: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ("x",)

    def __new__(cls, *options: Any, **named: Any) -> Self:
        """Refuse an array in the place of the last input: `ReLU(x)`, where `ReLU()(x)` is meant."""
        given = dict(zip(cls.inputs, options)).get(cls.inputs[-1])
        if getattr(given, "shape", ()):
            raise TypeError(f"{cls.__name__}: got {type(given).__name__} where an option belongs; create the "
                            f"layer first: {cls.__name__}()({', '.join(cls.inputs)})")
        return super().__new__(cls)

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.option_names = tuple(options)
        vars(self).update(options)

    def options(self) -> dict[str, Any]:
        """The options as they are now, to hand on as keyword arguments."""
        return {name: getattr(self, name) for name in self.option_names}

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v!r}" for k, v in self.options().items() if k not in self.unprinted)


class FunctionLayer(OptionLayer):
    """Applies the function, with the options as they are now, to one input."""

    def forward(self, x: Any) -> tg.Tensor:
        return self.function(x, **self.options())


class _InPlaceLayer(FunctionLayer):
    """One that PyTorch can also compute in place; here that would silently leave x as it is."""

    def __init__(self, inplace: bool, **options: Any) -> None:
        if inplace:
            raise ValueError(f"{type(self).__name__}: inplace must be False, got {inplace!r}: a graph may "
                             f"rely on x, so nothing overwrites it; leave it out, and write x = layer(x) "
                             f"where x is used again")
        super().__init__(**options)


class PlainLayer(_InPlaceLayer):
    """A function without options.

    Raises:
        ValueError: for `inplace=True`.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(inplace)


class ReLU(PlainLayer):
    """max(x, 0).

    Example:
        >>> ReLU()(tg.tensor([-1.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """

    function = staticmethod(tg.relu)


class ReLU6(PlainLayer):
    """min(max(x, 0), 6).

    Example:
        >>> ReLU6()(tg.tensor([-1.0, 9.0])).numpy().tolist()
        [0.0, 6.0]
    """

    function = staticmethod(tg.relu6)


class Sigmoid(PlainLayer):
    """1 / (1 + exp(-x)).

    Example:
        >>> Sigmoid()(tg.tensor([0.0])).item()
        0.5
    """

    function = staticmethod(tg.sigmoid)


class Tanh(PlainLayer):
    """tanh(x).

    Example:
        >>> Tanh()(tg.tensor([0.0])).item()
        0.0
    """

    function = staticmethod(tg.tanh)


class SiLU(PlainLayer):
    """x sigmoid(x), also called swish.

    Example:
        >>> SiLU()(tg.tensor([0.0])).item()
        0.0
    """

    function = staticmethod(tg.silu)


class SELU(PlainLayer):
    """The self-normalising ELU (Klambauer et al. 2017).

    Example:
        >>> round(SELU()(tg.tensor([1.0])).item(), 4)
        1.0507
    """

    function = staticmethod(tg.selu)


class Mish(PlainLayer):
    """x tanh(softplus(x)).

    Example:
        >>> Mish()(tg.tensor([0.0])).item()
        0.0
    """

    function = staticmethod(tg.mish)


class Hardswish(PlainLayer):
    """x relu6(x + 3) / 6.

    Example:
        >>> Hardswish()(tg.tensor([3.0])).item()
        3.0
    """

    function = staticmethod(tg.hardswish)


class Hardsigmoid(PlainLayer):
    """relu6(x + 3) / 6.

    Example:
        >>> Hardsigmoid()(tg.tensor([0.0])).item()
        0.5
    """

    function = staticmethod(tg.hardsigmoid)


class LogSigmoid(FunctionLayer):
    """log(sigmoid(x)).

    Example:
        >>> LogSigmoid()(tg.tensor([-1000.0])).item()
        -1000.0
    """

    function = staticmethod(tg.logsigmoid)


class PReLU(Module):
    """x, or weight x below 0, with a weight that is learnt: one, or one for each channel (axis 1).

    Args:
        num_parameters: 1, or the number of channels.
        init: the weights at the beginning.
        dtype: of the weights.

    Example:
        >>> PReLU()(tg.tensor([[-1.0, 2.0]])).numpy().tolist()
        [[-0.25, 2.0]]
    """

    weight: Parameter

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: Any = np.float32) -> None:
        super().__init__()
        self.num_parameters = tg.arguments.whole(num_parameters, "PReLU", "num_parameters", 1)
        self.weight = Parameter(tg.full((self.num_parameters,), tg.arguments.number(init, "PReLU", "init"),
                                        dtype=dtype))

    def forward(self, x: Any) -> tg.Tensor:
        return tg.prelu(x, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class LeakyReLU(_InPlaceLayer):
    """x, or negative_slope x below 0.

    Example:
        >>> LeakyReLU(0.5)(tg.tensor([-1.0, 2.0])).numpy().tolist()
        [-0.5, 2.0]
    """

    function = staticmethod(tg.leaky_relu)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__(inplace, negative_slope=negative_slope)


class ELU(_InPlaceLayer):
    """x, or alpha (exp(x) - 1) below 0.

    Example:
        >>> ELU()(tg.tensor([0.0, 2.0])).numpy().tolist()
        [0.0, 2.0]
    """

    function = staticmethod(tg.elu)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace, alpha=alpha)


class GELU(FunctionLayer):
    """x Phi(x), Phi the normal distribution function; approximate="tanh" for the approximation.

    Example:
        >>> GELU()(tg.tensor([0.0])).item()
        0.0
    """

    function = staticmethod(tg.gelu)

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(FunctionLayer):
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold.

    Example:
        >>> round(Softplus()(tg.tensor([0.0])).item(), 4)
        0.6931
    """

    function = staticmethod(tg.softplus)

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Hardtanh(_InPlaceLayer):
    """x between min_val and max_val.

    Example:
        >>> Hardtanh()(tg.tensor([-3.0, 0.5])).numpy().tolist()
        [-1.0, 0.5]
    """

    function = staticmethod(tg.hardtanh)

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        super().__init__(inplace, min_val=min_val, max_val=max_val)


class _Softmax(FunctionLayer):
    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Softmax(_Softmax):
    """exp(x) / sum(exp(x)) along `dim`, by default the last axis.

    Example:
        >>> Softmax()(tg.zeros(1, 4)).numpy().tolist()
        [[0.25, 0.25, 0.25, 0.25]]
    """

    function = staticmethod(tg.softmax)


class LogSoftmax(_Softmax):
    """log(softmax(x)) along `dim`, by default the last axis.

    Example:
        >>> round(LogSoftmax()(tg.zeros(1, 4))[0, 0].item(), 4)
        -1.3863
    """

    function = staticmethod(tg.log_softmax)


class Dropout(_InPlaceLayer):
    """In training, sets each entry to 0 with probability p and divides the others by 1 - p.

    Args:
        p: probability.
        inplace: False; nothing here is computed in place.
        rng: the generator masks are drawn from; by default a fresh one.

    Example:
        >>> Dropout(0.5, rng=np.random.default_rng(2))(tg.ones(4)).numpy().tolist()
        [2.0, 0.0, 0.0, 0.0]
    """

    function = staticmethod(tg.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False, *,
                 rng: np.random.Generator | None = None) -> None:
        if isinstance(p, bool | np.bool):
            raise TypeError(f"{type(self).__name__}: p must be a number between 0 and 1, got {p!r}")
        super().__init__(inplace, p=tg.arguments.number(p, type(self).__name__, "p", 0, 1))
        self.rng = default_rng(rng, type(self).__name__)

    def forward(self, x: Any) -> tg.Tensor:
        return self.function(x, self.p, self.training, rng=self.rng)


class Dropout2d(Dropout):
    """Dropout of whole channels of x (N, C, H, W).

    Example:
        >>> Dropout2d(0.0)(tg.ones(1, 2, 3, 3)).shape
        (1, 2, 3, 3)
    """

    function = staticmethod(tg.dropout2d)


class Flatten(FunctionLayer):
    """Merge the axes from `start_dim` to `end_dim`; by default all but the first, the batch.

    Example:
        >>> Flatten()(tg.ones(2, 3, 4, 4)).shape
        (2, 48)
    """

    function = staticmethod(tg.flatten)

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)


class Identity(Module):
    """Returns x; takes and ignores any arguments, as in PyTorch.

    Example:
        >>> import nn
        >>> nn.Identity(54, unused=True)([1.0])
        [1.0]
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, x: Any) -> Any:
        return x


def default_rng(rng: np.random.Generator | None, op: str) -> np.random.Generator:
    """The generator given, or a fresh one seeded by the system."""
    return np.random.default_rng() if rng is None else tg.arguments.generator(rng, op)
