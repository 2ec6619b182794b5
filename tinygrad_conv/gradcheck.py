"""Are the derivatives right? Finite differences against VJPs, in random directions, any order.

For a random cotangent g and a random direction v, <g, J v> (differences) must equal <J^T g, v>
(the VJP). A VJP is itself a function of the inputs and of g, so the next order is the same check
on it.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .arguments import generator, instance, number, whole
from .autodiff import vjp
from .state import no_grad
from .tensor import Tensor, share

EXACT = 1e-12        # relative tolerance where differences are exact but for rounding
STEPS = (1e-12, 1e12)  # what may be a step: 0 and inf are none
SCANNED = 1000       # entries compared one by one to explain a failure


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
        eps: the step, default 1e-5; also taken at half the size, to extrapolate (the error is eps**4).
        atol, rtol: tolerance of the comparison.
        rng: the source of the directions; by default the same ones each time.
        linear: positions of arguments in which `f` is linear (or affine). There differences are exact, so the
            step is 1 and the relative tolerance 1e-12. Cotangents are always checked this way.

    Raises:
        AssertionError: a derivative is wrong, or a kink is within the step; names the op, the
            order, the argument, the worst entry, both numbers and their ratio.
        TypeError: an argument or output is floating point but not float64, or none of the arguments or none
            of the outputs is floating point.
        ValueError: a step or tolerance with which nothing would be checked.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.check_grads(lambda x, y: x * y, (np.array([1.0, 2.0]), np.array([3.0, -4.0])),
        ...                linear=(0, 1))
    """
    instance(f, Callable, "check_grads", "a function first")
    order = whole(order, "check_grads", "order", 1)
    instance(args, tuple | list, "check_grads", "a tuple of the function's arguments", "; write (x,)")
    for i in instance(linear, Sequence | Set, "check_grads", "linear=(0,), or other positions of arguments"):
        if whole(i, "check_grads", "a position in linear") not in range(len(args)):
            raise ValueError(f"check_grads: linear={linear} must be numbers of the {len(args)} arguments")
    own = {i: a for i, a in enumerate(map(_as_float64, range(len(args)), args)) if a is not None}
    if not own:
        raise TypeError("check_grads: none of the arguments is floating point; pass float64 arrays")

    def only_floats(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(own, values))
        return float_outputs(f(*[given.get(i, a) for i, a in enumerate(args)]))

    case = Case(only_floats, list(own.values()),
                 name=getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__),
                 labels=labels(f, list(own)), linear=[i in linear for i in own], order=1,
                 eps=1e-5 if eps is None else number(eps, "check_grads", "eps", *STEPS),
                 atol=number(atol, "check_grads", "atol", 0, STEPS[1]),
                 rtol=number(rtol, "check_grads", "rtol", 0, 1),
                 rng=np.random.default_rng(0) if rng is None else generator(rng, "check_grads"))
    for _ in range(order):
        case.check()
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


def float_outputs(out: Any) -> tuple[Tensor, ...]:
    """The outputs that have derivatives."""
    outputs = tuple(out) if isinstance(out, tuple | list) else (out,)
    for y in outputs:
        instance(y, Tensor, "check_grads", "a function that returns tensors")
        if y.dtype.kind == "f" and y.dtype != np.float64:
            raise TypeError(f"check_grads: the function returned {y.dtype} for float64 inputs; "
                            f"differences need float64")
    found = tuple(y for y in outputs if y.dtype.kind == "f")
    if not found:
        raise TypeError("check_grads: the function returned nothing floating point: there is no derivative "
                        "to check")
    return found


def labels(f: Any, argnums: list[int]) -> list[str]:
    """'argument 0 (x)' for each, as far as the signature can tell."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [f"argument {i} ({names[i]})" if i < len(names) else f"argument {i}" for i in argnums]


def direction(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random signs, sizes in [0.5, 1]: a component near zero would hide an error."""
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.0, shape))


@dataclass
class Case:
    """One function at one point: its gradients for random cotangents, and differences to compare them with.

    `linear` says in which arguments it is; None: found out, along each direction.
    """

    f: Callable[..., tuple[Tensor, ...]]
    args: list[np.ndarray]
    name: str
    labels: list[str]
    linear: Sequence[bool | None]
    order: int
    eps: float
    atol: float
    rtol: float
    rng: np.random.Generator

    def pull(self) -> list[np.ndarray]:
        """The gradient of each argument, for new cotangents."""
        outputs, pullback = vjp(self.f, *self.args)
        made_by = [y.node.primitive.name for y in outputs if y.node is not None]
        if self.name == "<lambda>" and made_by:
            self.name = f"a lambda ending in {made_by[0]}"
        self.values = [y.data for y in outputs]
        self.cotangents = [direction(y.shape, self.rng) for y in outputs]
        return [gradient.data for gradient in pullback(*map(share, self.cotangents))]

    def check(self) -> None:
        for i, gradient in enumerate(self.pull()):
            wrong = self.compare(i, gradient)
            if wrong:
                raise AssertionError(self._explain(i, gradient, *wrong))

    def next_order(self) -> Case:
        """The VJP as a function of the inputs and the cotangents (in which it is linear)."""
        n = len(self.args)

        def pulled(*values: Tensor) -> tuple[Tensor, ...]:
            return vjp(self.f, *values[:n])[1](*values[n:])

        cotangents = [f"cotangent {k}" for k in range(len(self.cotangents))]
        return replace(self, f=pulled, args=self.args + self.cotangents, labels=self.labels + cotangents,
                       linear=[*self.linear, *[True] * len(cotangents)], order=self.order + 1)

    def moved(self, i: int, step: np.ndarray) -> list[np.ndarray]:
        """The outputs with `step` added to argument i."""
        with no_grad():
            return [y.data for y in self.f(*[share(np.asarray(a + step) if k == i else a)
                                             for k, a in enumerate(self.args)])]

    def _rise(self, moved: list[np.ndarray]) -> float:
        """<g, moved - values>."""
        return sum(float(np.sum(g * (y - y0))) for g, y, y0 in zip(self.cotangents, moved, self.values))

    def slope(self, i: int, v: np.ndarray) -> tuple[Any, Any]:
        """<g, J v> from four differences, and whether they show a kink."""
        return slope(lambda t: self._rise(self.moved(i, t * v)), self.eps, self.atol)

    def _exact(self, i: int, v: np.ndarray) -> tuple[float, float] | None:
        """<g, J v> and its tolerance, from one long step, if the function is linear in argument i."""
        moved = self.moved(i, v)
        rise = self._rise(moved)
        size = sum(float(np.sum(np.abs(g) * (np.abs(y) + np.abs(y0)))) for g, y, y0 in zip(
            self.cotangents, moved, self.values))
        if self.linear[i] is None and not all(
                abs(self._rise(self.moved(i, t * v)) - t * rise) <= 4 * EXACT * size for t in (-1.0, 2.0)):
            return None
        return rise, EXACT * size

    def compare(self, i: int, gradient: np.ndarray) -> tuple[float, float] | None:
        """<g, J v> by differences and by the VJP, for a random direction v of argument i, if they differ."""
        v = direction(gradient.shape, self.rng)
        exact = None if self.linear[i] is False else self._exact(i, v)
        if exact is not None:
            by_difference, allowed = exact
            allowed += EXACT * float(np.sum(np.abs(gradient * v))) + 1e-300
        else:
            v /= np.linalg.norm(v) or 1.0
            by_difference, _ = self.slope(i, v)
            allowed = self.atol + self.rtol * max(abs(float(np.sum(gradient * v))), abs(by_difference))
        by_vjp = float(np.sum(gradient * v))
        return None if abs(by_vjp - by_difference) <= allowed else (by_difference, by_vjp)

    def scan(self, i: int, gradient: np.ndarray) -> tuple[list[Any], list[Any]]:
        """(error, index, slope) of the entries of a gradient, where the function is smooth, and at kinks."""
        found: tuple[list[Any], list[Any]] = [], []
        for k in self.rng.permutation(gradient.size)[:SCANNED]:
            index = tuple(map(int, np.unravel_index(k, gradient.shape)))
            slope, kink = self.slope(i, np.eye(1, gradient.size, k).reshape(gradient.shape))
            error = abs(slope - gradient[index])
            found[bool(kink)].append((np.inf if np.isnan(error) else error, index, slope))
        return found

    def _explain(self, i: int, gradient: np.ndarray, by_difference: float, by_vjp: float) -> str:
        """The worst entry, and whether a kink rather than a wrong VJP is to blame."""
        where = f"check_grads: {self.name}, order {self.order}, {self.labels[i]}: "
        smooth, kinks = self.scan(i, gradient)
        error, index, slope = max(smooth, default=(0.0, (), 0.0))
        if kinks and error <= self.atol + self.rtol * abs(slope):
            _, index, _ = max(kinks)
            return (f"{where}kink near index {index}, where the value is "
                    f"{self.args[i][index]:.6g}: the slopes to its two sides differ (relu, max, "
                    f"abs, clip?); move the sample at least {10 * self.eps:g} away from it")
        return (f"{where}<g, J v> is {by_difference:.12g} by differences but {by_vjp:.12g} by the "
                f"VJP{ratio(by_vjp, by_difference)}. Worst entry: index {index}, {slope:.12g} by "
                f"differences, {gradient[index]:.12g} by the VJP"
                f"{ratio(gradient[index], slope)}")


def slope(rise: Callable[[float], Any], h: float, atol: float) -> tuple[Any, Any]:
    """The slope at 0 of what rises by `rise(t)`, from four differences, and whether they show a kink."""
    back, half_back, half, full = [rise(t) for t in (-h, -h / 2, h / 2, h)]
    wide, narrow = (full - back) / (2 * h), (half - half_back) / h
    left, right = -half_back / (h / 2), half / (h / 2)
    floor = 1e-4 * np.max(np.abs([wide, narrow, left, right]), axis=0) + atol
    # smooth: the one-sided slopes differ by h f'', half as much at half the step
    kink = (abs(right - left) > np.maximum(0.75 * abs(full + back) / h, floor)) | (abs(wide - narrow) > floor)
    return (4 * narrow - wide) / 3, kink


def ratio(a: Any, b: Any) -> str:
    return f" (ratio {a / b:.6g})" if b else ""
