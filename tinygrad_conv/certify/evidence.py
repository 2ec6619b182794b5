"""The right gradient of one argument on one sample, the one its VJP gives, and how to compare the two."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from ..gradcheck import direction
from ..primitive import Primitive
from ..state import no_grad
from ..tensor import Tensor, share
from .call import Call, tensors

FITS = 1e-6  # relative: differences are exact to 1e-8


class Evidence:
    """Gradients of argument `i` of a call, for two cotangents: of all outputs, or of a given one."""

    def __init__(self, call: Call, i: int, output: int | None = None) -> None:
        self.call, self.i, self.x = call, i, call.args[i]
        rngs = [np.random.default_rng(seed) for seed in (1, 2)]
        self.cotangents = [[np.asarray(direction(y.shape, rng) * (output in (None, k)))
                            for k, y in enumerate(call.outputs)] for rng in rngs]

    @property
    def size(self) -> int:
        """How much work its Jacobian is."""
        return self.x.size * (100 + sum([y.size for y in self.call.outputs]))

    @cached_property
    def jacobian(self) -> np.ndarray:
        return self.call.jacobian(self.i)

    def right_for(self, cotangents: Sequence[np.ndarray]) -> np.ndarray:
        """J'g; nan at kinks."""
        return np.tensordot(np.concatenate([c.ravel() for c in cotangents]), self.jacobian, 1)

    @cached_property
    def right(self) -> list[np.ndarray]:
        return [self.right_for(g) for g in self.cotangents]

    @cached_property
    def raw(self) -> list[np.ndarray | None]:
        """What the VJP returns, of whatever shape; None if it fails."""
        return [self.vjp(g) for g in self.cotangents]

    @cached_property
    def given(self) -> list[np.ndarray | None]:
        """The same with broadcasting undone."""
        return [self.fitted(t) for t in self.raw]

    @cached_property
    def wrong(self) -> bool:
        """Whether the gradient differs from differences, or there is none."""
        case, k = self.call.case(), self.call.active.index(self.i)
        try:
            gradient = case.pull()[k]
        except Exception:  # the VJP's
            return True
        return case.compare(k, gradient) is not None

    def vjp(self, cotangents: Sequence[np.ndarray], args: Sequence[Any] | None = None,
            ans: np.ndarray | None = None, params: dict[str, Any] | None = None) -> np.ndarray | None:
        """What the VJP gives, perhaps for other arguments, answer or parameters than those it should get."""
        op, changed = self.call.op, not (args is ans is params is None)
        try:
            with no_grad():
                if not isinstance(op, Primitive):
                    return None if changed else self.call.pull(cotangents)[self.call.active.index(self.i)]
                outputs, left = self.call.run(), iter(cotangents)
                g = [share(next(left) if y.dtype.kind == "f" else np.zeros_like(y.data)) for y in outputs]
                results = outputs if ans is None else tensors(share(ans))
                vjp: Any = op.vjp_for(self.i)
                t = vjp(*[tuple(parts) if len(outputs) > 1 else parts[0] for parts in (g, results)],
                        *[share(np.asarray(a)) for a in (self.call.args if args is None else args)],
                        **(self.call.params if params is None else params))
                return t.data if isinstance(t, Tensor) else None
        except Exception:  # it is what is to be explained
            return None

    def fitted(self, t: np.ndarray | None) -> np.ndarray | None:
        """A gradient with broadcasting undone, as a backward pass does it; None if it does not fit."""
        shape = self.x.shape
        if t is None or t.shape == shape:
            return t
        lead = t.ndim - len(shape)
        if lead < 0 or any(m not in (1, n) for n, m in zip(t.shape[lead:], shape)):
            return None
        axes = [lead + k for k, m in enumerate(shape) if m == 1]
        return np.asarray(t.sum((*range(lead), *axes))).reshape(shape)

    def close(self, a: np.ndarray | None, b: np.ndarray) -> bool:
        """Whether the numbers are equal; where b is nan, they are."""
        if a is None or a.shape != b.shape:
            return False
        size, whole = [float(np.nanmax(np.abs(c), initial=0.0)) for c in (b, self.right[0])]
        return bool(np.all((np.abs(a - b) <= FITS * max(size, 1e-3 * whole) + 1e-9) | np.isnan(b)))

    def foretold(self, f: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether the given gradients are `f` of the right ones."""
        return all([self.close(a, f(b)) for a, b in zip(self.given, self.right)])

    def mended(self, **change: Any) -> bool:
        """Whether the VJP is right if it is handed changed arguments."""
        return all([self.close(self.fitted(self.vjp(g, **change)), b)
                    for g, b in zip(self.cotangents, self.right)])
