"""Are the derivatives right? Finite differences against VJPs, in random directions, any order.

For a random cotangent g and a random direction v, <g, J v> (differences) must equal <J^T g, v>
(the VJP). A VJP is itself a function of the inputs and of g, so the next order is the same check
on it. May import autodiff and what autodiff imports.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .autodiff import vjp
from .tensor import Tensor, share
from .arguments import generator, is_whole, number
from .state import no_grad

STEP = 1e-5          # the two step sizes are STEP and STEP / 2, extrapolated (error STEP**4)
EXACT = 1e-12        # relative tolerance where differences are exact but for rounding
SCANNED = 1000       # entries looked at, one by one, to explain a failure
Arrays = list[np.ndarray]


def check_grads(f: Callable[..., Any], args: Sequence[Any], order: int = 2,
                eps: float | None = None, atol: float = 1e-8, rtol: float = 1e-6,
                rng: np.random.Generator | None = None, linear: Sequence[int] = ()) -> None:
    """Check the gradients of `f` at `args`, up to the given order, against finite differences.

    Each argument is checked on its own, along one random direction whose components are all far from
    zero, with one random cotangent: a wrong entry is found unless its error is below the tolerance.

    Args:
        f: a function of tensors that returns a tensor, or a tuple of tensors.
        args: its arguments. Floating point ones (float64 arrays, tensors, Python floats) are
            differentiated; all others (integers, None, ...) are passed through as they are.
        order: 1 checks the VJPs, 2 also the VJPs of the VJPs, and so on.
        eps: the step, default 1e-5; also taken at half the size, to extrapolate.
        atol, rtol: tolerance of the comparison.
        rng: the source of the directions; by default the same ones each time.
        linear: positions of arguments in which `f` is linear (or affine). There differences are exact, so the
            step is 1 and the relative tolerance 1e-12. Cotangents are always checked this way.

    Raises:
        AssertionError: a derivative is wrong, or a kink is within the step; names the op, the
            order, the argument, the worst entry, both numbers and their ratio.
        TypeError: an argument or output is floating point but not float64, or no argument is
            floating point.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.check_grads(lambda x, y: x * y, (np.array([1.0, 2.0]), np.array([3.0, -4.0])),
        ...                linear=(0, 1))
    """
    if not callable(f):
        raise TypeError(f"check_grads: expects a function first, got {type(f).__name__}")
    if not is_whole(order) or order < 1:
        raise ValueError(f"check_grads: order must be a whole number of at least 1, got {order!r}")
    eps = number(eps, "check_grads", "eps") if eps else STEP
    atol, rtol = number(atol, "check_grads", "atol"), number(rtol, "check_grads", "rtol")
    if not isinstance(args, tuple | list):
        raise TypeError(f"check_grads: args must be a tuple of the function's arguments, got "
                        f"{type(args).__name__}; write (x,)")
    if not set(linear) <= set(range(len(args))):
        raise ValueError(f"check_grads: linear={linear} must be numbers of the {len(args)} arguments")
    own = {i: a for i, a in enumerate(map(_as_float64, range(len(args)), args)) if a is not None}
    if not own:
        raise TypeError("check_grads: none of the arguments is floating point; pass float64 arrays")

    def only_floats(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(own, values))
        out = f(*[given.get(i, a) for i, a in enumerate(args)])
        return tuple(y for y in _as_outputs(out) if y.dtype.kind == "f")

    case = _Case(only_floats, list(own.values()), _name(f), _labels(f, list(own)),
                 [i in linear for i in own], 1, eps, atol, rtol,
                 np.random.default_rng(0) if rng is None else generator(rng, "check_grads"))
    while True:
        case.check()
        if case.order >= order:
            return
        case = case.next_order()


def _as_float64(i: int, a: Any) -> np.ndarray | None:
    """A floating point argument as an array of our own; None for everything else."""
    value = a.data if isinstance(a, Tensor) else a
    dtype = np.float64 if isinstance(value, float) else getattr(value, "dtype", None)
    if dtype is None or np.dtype(dtype).kind != "f":
        return None
    if dtype != np.float64:
        raise TypeError(f"check_grads: argument {i} is {dtype}, differences need float64; pass "
                        f"x.astype(np.float64)")
    return np.array(value, np.float64, order="K")


def _as_outputs(out: Any) -> tuple[Tensor, ...]:
    outputs = tuple(out) if isinstance(out, tuple | list) else (out,)
    for y in outputs:
        if not isinstance(y, Tensor):
            raise TypeError(f"check_grads: the function must return tensors, got "
                            f"{type(y).__name__}")
        if y.dtype.kind == "f" and y.dtype != np.float64:
            raise TypeError(f"check_grads: the function returned {y.dtype} for float64 inputs; "
                            f"differences need float64")
    return outputs


def _name(f: Any) -> str:
    return getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__)


def _labels(f: Any, argnums: list[int]) -> list[str]:
    """'argument 0 (x)' for each, as far as the signature can tell."""
    try:
        parameters = list(inspect.signature(getattr(f, "fn", f)).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [f"argument {i} ({names[i]})" if i < len(names) else f"argument {i}" for i in argnums]


def _direction(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random signs, sizes in [0.5, 1]: a component near zero would hide an error."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.0, shape))


@dataclass
class _Case:
    """One order of one check: a function of float64 tensors only, and where to look at it."""

    f: Callable[..., tuple[Tensor, ...]]
    args: Arrays
    name: str
    labels: list[str]
    linear: list[bool]
    order: int
    eps: float
    atol: float
    rtol: float
    rng: np.random.Generator

    def check(self) -> None:
        outputs, pullback = vjp(self.f, *self.args)
        if self.name == "<lambda>":
            made_by = [y.node.primitive.name for y in outputs if y.node is not None]
            self.name = f"a lambda ending in {made_by[0]}" if made_by else "a lambda"
        self.cotangents = [_direction(y.shape, self.rng) for y in outputs]
        gradients = [t.data for t in pullback(*[share(g) for g in self.cotangents])]
        for i, gradient in enumerate(gradients):
            if self.args[i].size == 0:
                continue
            v = _direction(self.args[i].shape, self.rng)
            if not self.linear[i]:
                v = v / np.linalg.norm(v)
            self._compare(i, gradient, v)

    def next_order(self) -> _Case:
        """The VJP as a function of the inputs and the cotangents (in which it is linear)."""
        n = len(self.args)

        def pulled(*values: Tensor) -> tuple[Tensor, ...]:
            return vjp(self.f, *values[:n])[1](*values[n:])

        cotangents = [f"cotangent {k}" for k in range(len(self.cotangents))]
        return _Case(pulled, self.args + self.cotangents, self.name, self.labels + cotangents,
                     self.linear + [True] * len(cotangents), self.order + 1, self.eps, self.atol,
                     self.rtol, self.rng)

    def _values(self, i: int, x: np.ndarray) -> Arrays:
        """The outputs with argument i replaced."""
        with no_grad():
            return [y.data for y in self.f(*[share(np.asarray(x) if k == i else a)
                                             for k, a in enumerate(self.args)])]

    def _against(self, plus: Arrays, minus: Arrays) -> float:
        """<g, plus - minus>."""
        return sum(float(np.sum(g * (p - m))) for g, p, m in zip(self.cotangents, plus, minus))

    def _slopes(self, i: int, v: np.ndarray, middle: Arrays) -> tuple[float, bool]:
        """<g, J v> from four differences, and whether they show a kink."""
        x, h = self.args[i], self.eps
        plus, minus = self._values(i, x + h * v), self._values(i, x - h * v)
        half_plus, half_minus = (self._values(i, x + h / 2 * v), self._values(i, x - h / 2 * v))
        wide = self._against(plus, minus) / (2 * h)
        narrow = self._against(half_plus, half_minus) / h
        right, left = (self._against(half_plus, middle) / (h / 2),
                       self._against(middle, half_minus) / (h / 2))
        bend = self._against(plus, middle) / h - self._against(middle, minus) / h
        scale = max(abs(wide), abs(narrow), abs(right), abs(left))
        floor = 1e-4 * scale + self.atol
        # smooth: the one-sided slopes differ by h f'', half as much at half the step
        kink = (abs(right - left) > max(0.75 * abs(bend), floor) or abs(wide - narrow) > floor)
        return (4 * narrow - wide) / 3, kink

    def _compare(self, i: int, gradient: np.ndarray, v: np.ndarray) -> None:
        by_vjp = float(np.sum(gradient * v))
        if self.linear[i]:
            plus, middle = self._values(i, self.args[i] + v), self._values(i, self.args[i])
            by_difference = self._against(plus, middle)
            size = sum(float(np.sum(np.abs(g) * (np.abs(p) + np.abs(m)))) for g, p, m in zip(
                self.cotangents, plus, middle))
            allowed = EXACT * (size + float(np.sum(np.abs(gradient * v)))) + 1e-300
        else:
            by_difference, _ = self._slopes(i, v, self._values(i, self.args[i]))
            allowed = self.atol + self.rtol * max(abs(by_vjp), abs(by_difference))
        if not abs(by_vjp - by_difference) <= allowed:
            raise AssertionError(self._explain(i, gradient, by_difference, by_vjp))

    def _explain(self, i: int, gradient: np.ndarray, by_difference: float, by_vjp: float) -> str:
        """The worst entry, and whether a kink rather than a wrong VJP is to blame."""
        where = f"check_grads: {self.name}, order {self.order}, {self.labels[i]}: "
        middle = self._values(i, self.args[i])
        entries = list(np.ndindex(gradient.shape))
        if len(entries) > SCANNED:
            entries = [entries[k] for k in self.rng.choice(len(entries), SCANNED, replace=False)]
        smooth, kinks = [], []
        for index in entries:
            unit = np.zeros_like(gradient)
            unit[index] = 1.0
            slope, kink = self._slopes(i, unit, middle)
            error = abs(slope - gradient[index])
            found = (np.inf if np.isnan(error) else error, index, slope)
            (kinks if kink else smooth).append(found)
        worst = max(smooth, default=(0.0, (), 0.0))
        if kinks and worst[0] <= self.atol + self.rtol * abs(worst[2]):
            _, index, _ = max(kinks)
            return (f"{where}kink near index {index}, where the value is "
                    f"{self.args[i][index]:.6g}: the slopes to its two sides differ (relu, max, "
                    f"abs, clip?); move the sample at least {10 * self.eps:g} away from it")
        _, index, slope = worst
        return (f"{where}<g, J v> is {by_difference:.12g} by differences but {by_vjp:.12g} by the "
                f"VJP{_ratio(by_vjp, by_difference)}. Worst entry: index {index}, {slope:.12g} by "
                f"differences, {gradient[index]:.12g} by the VJP"
                f"{_ratio(gradient[index], slope)}")


def _ratio(a: float, b: float) -> str:
    return f" (ratio {a / b:.6g})" if b else ""
