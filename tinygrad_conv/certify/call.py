"""One sample of an op: a call of it in float64, its gradients, and its Jacobian by differences."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..autodiff import vjp
from ..core import as_array
from ..gradcheck import Case, direction, slope
from ..primitive import Primitive
from ..state import no_grad
from ..tensor import Tensor, share

STEP = 1e-4   # of differences: their error, of cutting off and of rounding, is below that of rtol
ATOL = 1e-11  # beside a result of 1
RTOL = 1e-8


def tensors(out: Any) -> tuple[Tensor, ...]:
    """The outputs of an op, of which there may be one."""
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def floating(out: Any) -> tuple[Tensor, ...]:
    """The outputs that have derivatives."""
    return tuple([t for t in tensors(out) if t.dtype.kind == "f"])


@dataclass(frozen=True, eq=False)
class Call:
    """`op(*args, **params)`, whose floating point arguments are float64; called, with others in their place.

    `number` is that of the sample; `active` the positions of the arguments that have a VJP, in the order of
    the values that a call takes.
    """

    op: Callable[..., Any]
    args: tuple[Any, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0

    @cached_property
    def floats(self) -> list[int]:
        return [i for i, a in enumerate(self.args) if isinstance(a, np.ndarray) and a.dtype.kind == "f"]

    @cached_property
    def active(self) -> list[int]:
        if not isinstance(self.op, Primitive):
            return self.floats
        return [i for i in self.floats if self.op.vjp_for(i) is not None]

    @cached_property
    def values(self) -> list[np.ndarray]:
        return [self.args[i] for i in self.active]

    def given(self, *values: Any) -> tuple[Any, ...]:
        """All arguments, these in place of the active ones."""
        new = dict(zip(self.active, values))
        return tuple([new.get(i, a) for i, a in enumerate(self.args)])

    def __call__(self, *values: Any) -> tuple[Tensor, ...]:
        return floating(self.op(*self.given(*values), **self.params))

    def run(self) -> tuple[Tensor, ...]:
        """All outputs."""
        with no_grad():
            return tensors(self.op(*self.given(*map(share, self.values)), **self.params))

    @cached_property
    def outputs(self) -> list[np.ndarray]:
        return [y.data for y in floating(self.run())]

    def pull(self, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The gradients of the active arguments."""
        return [g.data for g in vjp(self, *self.values)[1](*map(share, cotangents))]

    def case(self) -> Case:
        """The same as `check_grads` compares it."""
        size = sum([float(np.abs(y).sum()) for y in self.outputs if y.size])
        labels = [f"argument {i} ({self.name_of(i)})" for i in self.active]
        return Case(self, self.values, op_name(self.op), labels, [None] * len(labels), 1, STEP,
                    ATOL * (1.0 + size * np.isfinite(size)), RTOL, np.random.default_rng(0))

    def jacobian(self, i: int) -> np.ndarray:
        """By differences, d outputs / d argument i: (all outputs' numbers, *its shape); nan at kinks."""
        x, rng = self.args[i], np.random.default_rng(5)

        def rise(step: np.ndarray) -> np.ndarray:
            out = replace(self, args=(*self.args[:i], np.asarray(x + step), *self.args[i + 1:])).outputs
            return np.concatenate([(y - y0).ravel() for y, y0 in zip(out, self.outputs)])
        v = direction(x.shape, rng)
        once = rise(v)
        size = np.max(np.abs(once), initial=0.0) + sum([np.max(np.abs(y), initial=0.0) for y in self.outputs])
        linear = np.all(np.abs(rise(2.0 * v) - 2.0 * once) <= 1e-12 * size) and np.all(
            np.abs(rise(-v) + once) <= 1e-12 * size)
        columns = []
        for k in range(x.size):
            e = np.eye(1, x.size, k).reshape(x.shape)
            column, kink = (rise(e), False) if linear else slope(lambda t, e=e: rise(t * e),  # type: ignore[misc]
                                                                 STEP, 1e-8)
            columns.append(np.where(kink, np.nan, column))
        return np.array(columns, float).reshape(x.size, -1).T.reshape(-1, *x.shape)

    # ----- names -----

    def name_of(self, i: int) -> str:
        """What argument i is called."""
        names = parameters(self.op)
        return names[i] if i < len(names) else f"x{i}"

    def entry(self, i: int, index: tuple[int, ...]) -> str:
        """An entry of the gradient in the argument's own axes: dw[out=3, in=1, kh=0, kw=2]."""
        axes = getattr(self.op, "axes", {}).get(self.name_of(i), ())
        if len(axes) == len(index):
            at = ", ".join([f"{name}={k}" for name, k in zip(axes, index)])
        else:
            at = ", ".join(map(str, index))
        return f"d{self.name_of(i)}" + f"[{at}]" * bool(index)

    def axis_of(self, i: int, axis: int) -> str:
        """What an axis of argument i is called."""
        axes = getattr(self.op, "axes", {}).get(self.name_of(i), ())
        return axes[axis] if axis < len(axes) else f"axis {axis} of {self.name_of(i)}"


def op_name(op: Any) -> str:
    return str(getattr(op, "name", None) or getattr(op, "__name__", type(op).__name__))


def parameters(op: Any) -> tuple[str, ...]:
    """The names of what an op takes by position."""
    if isinstance(op, Primitive):
        return op.names
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return tuple([p.name for p in inspect.signature(op).parameters.values() if p.kind in kinds])


def calls(op: Any, samples: Sequence[tuple[Any, ...]]) -> list[Call]:
    """The samples as calls: of an op by their position, a dict at the end by keyword."""
    found = []
    for number, sample in enumerate(samples):
        *args, last = sample if isinstance(sample[-1], dict) else (*sample, {})
        found.append(Call(op, tuple(map(_as_float64, args)), last, number))
    return found


def _as_float64(a: Any) -> Any:
    """An array in float64 if it is floating point; what is no array stays as it is."""
    if a is None or isinstance(a, str | bool):
        return a
    given = a.data if isinstance(a, Tensor) else np.asarray(a)
    array = as_array(given, copy=True, what="certify: a sample")
    return array.astype(np.float64) if array.dtype.kind == "f" else array
