"""Which classic mistake a wrong gradient fits: hypotheses, each compared with the numbers on every sample.

Some foretell the wrong gradient from the right one, which differences give: twice, negated, flipped. Others
mend it: they hand the VJP its arguments changed, and if the result is right, the change undoes the mistake. A
hypothesis must hold on every sample on which the VJP is wrong; the first that does is told.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..gradcheck import direction
from ..kernels.table import use_kernels
from ..primitive import Primitive
from ..state import no_grad
from ..tensor import Tensor, share
from .call import Call, tensors
from .checks import SINGLE, Finding, roughness

FITS = 1e-6    # relative: differences are exact to 1e-8
COMPARED = 4   # samples on which the VJP is wrong: the smallest; more take longer and tell no more
Fit = Callable[["Evidence"], bool]


@dataclass(frozen=True)
class Diagnosis:
    """The mistake that fits, in a few words to compare and in a sentence to read; `argument` is its name."""

    mistake: str
    argument: str
    text: str

    def __str__(self) -> str:
        return f"{self.mistake}, in the VJP for {self.argument}: {self.text}" if self.argument else (
            f"{self.mistake}: {self.text}")


class Evidence:
    """The right and the given gradient of one argument on one sample, for two cotangents."""

    def __init__(self, call: Call, argument: int) -> None:
        self.call, self.i = call, argument
        rngs = [np.random.default_rng(seed) for seed in (1, 2)]
        self.cotangents = [[direction(y.shape, rng) for y in call.outputs] for rng in rngs]

    @property
    def size(self) -> int:
        """How much work its Jacobian is."""
        return self.call.args[self.i].size * sum([y.size for y in self.call.outputs])

    @cached_property
    def jacobian(self) -> np.ndarray:
        return self.call.jacobian(self.i)

    @cached_property
    def right(self) -> list[np.ndarray]:
        return [self.right_for(g) for g in self.cotangents]

    def right_for(self, cotangents: Sequence[np.ndarray]) -> np.ndarray:
        """J'g; nan at kinks."""
        g = np.concatenate([c.ravel() for c in cotangents])
        return np.tensordot(g, self.jacobian, 1)

    @cached_property
    def given(self) -> list[np.ndarray | None]:
        """What the VJP returns, as it is, of whatever shape; None if it fails."""
        return [self.vjp(g) for g in self.cotangents]

    def vjp(self, cotangents: Sequence[np.ndarray], args: Sequence[Any] | None = None, ans: Any = None,
            params: Any = None) -> np.ndarray | None:
        """The VJP of the argument alone, perhaps with other arguments, answer or parameters than it should get."""
        call, op = self.call, self.call.op
        inputs = call.args if args is None else args
        parameters = dict(call.params if params is None else params)
        try:
            with no_grad():
                if not isinstance(op, Primitive):
                    return call.pull(cotangents)[call.active.index(self.i)] if inputs is call.args and (
                        parameters == dict(call.params) and ans is None) else None
                outputs, left = call.run(), iter(cotangents)
                g = [share(next(left) if y.dtype.kind == "f" else np.zeros_like(y.data)) for y in outputs]
                given = outputs if ans is None else tensors(share(ans))
                several = len(outputs) > 1
                vjp = op.vjp_for(self.i)
                t = vjp(tuple(g) if several else g[0], tuple(given) if several else given[0],  # type: ignore[misc]
                        *[share(np.asarray(a)) for a in inputs], **parameters)
                return t.data if isinstance(t, Tensor) else None
        except Exception:  # which is what is to be explained
            return None

    def seen(self, gradient: np.ndarray | None) -> np.ndarray | None:
        """A gradient with broadcasting undone, as the pass does it; None if it does not fit."""
        shape = self.call.args[self.i].shape
        if gradient is None or gradient.shape == shape:
            return gradient
        lead = gradient.ndim - len(shape)
        if lead < 0 or any(m not in (1, n) for n, m in zip(gradient.shape[lead:], shape)):
            return None
        axes = [lead + k for k, m in enumerate(shape) if m == 1]
        return gradient.sum((*range(lead), *axes)).reshape(shape)

    def close(self, a: Any, b: Any, tolerance: float = FITS) -> bool:
        if a is None or b is None or np.shape(a) != np.shape(b):
            return False
        size = [np.nanmax(np.abs(c), initial=0.0) for c in (b, self.right[0])]
        return bool(np.all((np.abs(a - b) <= tolerance * max(size[0], 1e-3 * size[1]) + 1e-9) | np.isnan(b)))

    def foretold(self, f: Callable[[np.ndarray], np.ndarray]) -> bool:
        """Whether the given gradients are `f` of the right ones."""
        return all([self.close(self.seen(a), f(b)) for a, b in zip(self.given, self.right)])

    def mended(self, **change: Any) -> bool:
        """Whether the VJP is right if it is handed changed arguments."""
        return all([self.close(self.seen(self.vjp(g, **change)), b) for g, b in zip(self.cotangents, self.right)])

    @cached_property
    def wrong(self) -> bool:
        """Whether the gradient differs from differences, or there is none."""
        case = self.call.case()
        try:
            gradient = case.pull()[self.call.active.index(self.i)]
        except Exception:  # the VJP's
            return True
        return case.compare(self.call.active.index(self.i), gradient) is not None

    def axis(self, axis: int) -> str:
        return self.call.axis_of(self.i, axis)


# ----- hypotheses that foretell the wrong gradient -----


def factors(cases: list[Evidence]) -> Iterator[tuple[str, str]]:
    """One number times the right gradient: on every sample the same, or a product of its sizes."""
    ratios, given_all = [], []
    for case in cases:
        given = [case.seen(a) for a in case.given]
        if any([a is None for a in given]):
            return
        g, right = np.concatenate([np.ravel(a) for a in given]), np.concatenate([r.ravel() for r in case.right])
        g, right = g[~np.isnan(right)], right[~np.isnan(right)]
        if not np.any(right):
            return
        c = float(g @ right / (right @ right))
        if not np.all(np.abs(g - c * right) <= FITS * np.max(np.abs(right)) * max(abs(c), 1e-3)):
            return
        ratios.append(c)
        given_all.append(bool(np.any(g)))
    c, same = ratios[0], np.allclose(ratios, ratios[0], rtol=FITS)
    if not np.any(given_all):
        yield "detached branch", "it is zero, but the result depends on the argument: nothing flows back"
    if 0.0 in ratios or np.allclose(ratios, 1.0, rtol=FITS):
        return
    if same and np.isclose(c, -1.0):
        yield "sign", "it is the right gradient times -1"
    elif same and np.isclose(c, 2.0):
        yield "factor 2", "it is twice the right gradient: something is counted twice"
    sign = "-" * (c < 0)
    for name, sizes in _sizes(cases):
        if np.allclose(np.multiply(sizes, np.abs(ratios)), 1.0, rtol=1e-5) and max(sizes) > 1:
            yield f"factor {sign}1/({name})", f"it is {sign}the right gradient divided by {name}: a mean for a sum"
        elif np.allclose(sizes, np.abs(ratios), rtol=1e-5) and max(sizes) > 1:
            yield f"factor {sign}({name})", f"it is {sign}the right gradient times {name}: a sum for a mean"
    if same:
        yield f"factor {c:.6g}", f"it is the right gradient times {c:.6g}"


def _sizes(cases: list[Evidence]) -> Iterator[tuple[str, list[int]]]:
    """Products of the sizes of an argument or the output, few axes first, each with its value on every sample."""
    sources = [(case.call.args, case.call.outputs) for case in cases]
    for k in range(min([len(args) for args, _ in sources])):
        yield from _products(cases[0].call.name_of(k), [np.shape(args[k]) for args, _ in sources],
                             lambda axis, k=k: cases[0].call.axis_of(k, axis))
    yield from _products("ans", [outputs[0].shape for _, outputs in sources], lambda axis: f"axis {axis} of the result")


def _products(name: str, shapes: list[tuple[int, ...]], axis_name: Callable[[int], str]
              ) -> Iterator[tuple[str, list[int]]]:
    for count in range(1, min(map(len, shapes), default=0) + 1):
        for axes in itertools.combinations(range(min(map(len, shapes))), count):
            yield (" x ".join(map(axis_name, axes)), [int(np.prod([s[a] for a in axes])) for s in shapes])


def cropped(case: Evidence) -> bool:
    """The last rows or columns are lost: zero where they should not be, or missing."""
    for given, right in zip(case.given, case.right):
        if given is None or given.ndim != right.ndim:
            return False
        cut = np.zeros_like(right)
        inside = tuple(slice(0, n) for n in map(min, given.shape, right.shape))
        part = given[inside]
        reach = [np.flatnonzero(np.any(part, axis=tuple([k for k in range(part.ndim) if k != axis])))
                 for axis in range(part.ndim)]
        box = tuple([slice(0, int(r[-1]) + 1 if len(r) else 0) for r in reach])
        cut[box] = right[box]
        smaller = given.shape != right.shape and all([a <= b for a, b in zip(given.shape, right.shape)])
        padded = np.zeros_like(right)
        padded[inside] = part
        if not case.close(padded, cut) or not (smaller or not case.close(cut, right)):
            return False
    return True


def unsummed(case: Evidence) -> bool:
    """Of a larger shape, and right when summed over some axes; or one slice of what is to be summed."""
    for given, right in zip(case.given, case.right):
        if given is None or given.ndim <= right.ndim and given.size <= right.size:
            return False
        if not any([case.close(given.sum(axes).reshape(right.shape), right)
                    for count in range(1, given.ndim + 1)
                    for axes in itertools.combinations(range(given.ndim), count)
                    if given.sum(axes).size == right.size]):
            return False
    return True


def moved(change: Callable[[np.ndarray], Iterator[np.ndarray]]) -> Fit:
    """Right once it is changed in one of some ways, the same on each cotangent."""
    def fit(case: Evidence) -> bool:
        ways = [[case.close(case.seen(made), right) for made in change(given)] if given is not None else []
                for given, right in zip(case.given, case.right)]
        return any([all(way) for way in zip(*ways)])
    return fit


def channels_back(a: np.ndarray) -> Iterator[np.ndarray]:
    if a.ndim > 2:
        yield a.swapaxes(0, 1)


def axes_back(a: np.ndarray) -> Iterator[np.ndarray]:
    for i, j in itertools.combinations(range(a.ndim), 2):
        yield a.swapaxes(i, j)


def turned_back(a: np.ndarray) -> Iterator[np.ndarray]:
    for axes in ((-2, -1), (-1,), (-2,)):
        if a.ndim >= -min(axes):
            yield np.flip(a, axes)


def constant(case: Evidence) -> bool:
    """A part that does not depend on the cotangent."""
    rest = case.seen(case.vjp([np.zeros_like(g) for g in case.cotangents[0]]))
    return rest is not None and bool(np.any(rest)) and case.foretold(lambda right: right + rest)


def ones(case: Evidence) -> bool:
    """The gradient for a cotangent of ones, whatever it is."""
    of_ones = case.right_for([np.ones_like(g) for g in case.cotangents[0]])
    return case.foretold(lambda right: of_ones)


def unsteady(case: Evidence) -> bool:
    """It goes in steps of single precision."""
    return SINGLE < roughness(case.call).get(case.i, 0.0) < 1e-5


def single(case: Evidence) -> bool:
    """Right but for the last digits."""
    return case.foretold(lambda right: right)


def through_sum(case: Evidence) -> bool:
    """What is missing is the same for all entries along some axes, times a function of an entry: a detached sum."""
    x = case.call.args[case.i]
    ans = case.call.outputs[0]
    bases = [[np.ones_like(x)]] + [[np.ones_like(x), x]]
    bases += [[b] for other in (*case.call.args, ans) if isinstance(other, np.ndarray) and other.dtype.kind == "f"
              and np.broadcast_shapes(other.shape, x.shape) == x.shape
              for b in (np.broadcast_to(other, x.shape), np.exp(np.minimum(np.broadcast_to(other, x.shape), 50.0)))
              ] if _broadcast(case) else []
    for count in range(1, x.ndim + 1):
        for axes in itertools.combinations(range(x.ndim), count):
            for basis in bases:
                if int(np.prod([x.shape[k] for k in axes])) <= len(basis):
                    continue
                if all([a is not None and np.any(a) and _spanned(b - a, basis, axes)
                        for a, b in zip(map(case.seen, case.given), case.right)]):
                    return True
    return False


def _broadcast(case: Evidence) -> bool:
    try:
        np.broadcast_shapes(*[np.shape(a) for a in case.call.args], case.call.outputs[0].shape)
    except ValueError:
        return False
    return True


def _spanned(missing: np.ndarray, basis: list[np.ndarray], axes: tuple[int, ...]) -> bool:
    """Whether along `axes` it is a combination of the functions of the basis, another one everywhere else."""
    def rows(t: np.ndarray) -> np.ndarray:
        last = np.moveaxis(t, axes, range(-len(axes), 0))
        return last.reshape(-1, int(np.prod([t.shape[k] for k in axes])))
    target, parts = rows(missing), np.stack([rows(b) for b in basis], -1)  # (rows, n), (rows, n, functions)
    scale = np.max(np.abs(target), initial=0.0)
    for t, p in zip(target, parts):
        coefficients = np.linalg.lstsq(p, t, rcond=None)[0]
        if not np.all(np.abs(p @ coefficients - t) <= 1e-5 * scale + 1e-9):
            return False
    return scale > 0


# ----- hypotheses that mend it -----


def _changed(call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The parameters with some changed, also inside a geometry."""
    new = {}
    for key, value in call.params.items():
        if is_dataclass(value):
            named = {f.name: getattr(value, f.name) for f in fields(value)}
            new[key] = replace(value, **_pairs(named, change))  # type: ignore[type-var]
        else:
            new[key] = value
    return {**new, **_pairs({k: v for k, v in new.items() if not is_dataclass(v)}, change)}


def _pairs(named: dict[str, Any], change: Any) -> dict[str, Any]:
    return {**named, **change(named)}


def exchanged(named: dict[str, Any]) -> dict[str, Any]:
    if not {"stride", "dilation"} <= named.keys():
        return {}
    return {"stride": named["dilation"], "dilation": named["stride"]}


def mirrored(named: dict[str, Any]) -> dict[str, Any]:
    padding = named.get("padding")
    if not isinstance(padding, tuple) or not all([isinstance(side, tuple) for side in padding]):
        return {}
    return {"padding": tuple([side[::-1] for side in padding])}


def turned(named: dict[str, Any]) -> dict[str, Any]:
    return {"stride": named["stride"][::-1]} if isinstance(named.get("stride"), tuple) else {}


def with_params(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Fit:
    def fit(case: Evidence) -> bool:
        params = _changed(case.call, change)
        return params != case.call.params and case.mended(params=params)
    return fit


def with_arguments(change: Callable[[np.ndarray], np.ndarray | None]) -> Fit:
    """One argument changed, or the cotangent."""
    def fit(case: Evidence) -> bool:
        args = case.call.args
        for k, a in enumerate(args):
            new = change(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else None
            if new is not None and case.mended(args=[*args[:k], new, *args[k + 1:]]):
                return True
        changed = [[change(c) for c in g] for g in case.cotangents]
        return all([None not in [c if c is None else 0 for c in g] and case.close(case.seen(case.vjp(g)), b)
                    for g, b in zip(changed, case.right)])
    return fit


def flipped(a: np.ndarray) -> np.ndarray | None:
    return np.flip(a, (-2, -1)).copy() if a.ndim >= 2 else np.flip(a).copy() if a.ndim else None


def with_last_axes_exchanged(a: np.ndarray) -> np.ndarray | None:
    return a.swapaxes(-2, -1).copy() if a.ndim >= 2 else None


def with_channels_exchanged(a: np.ndarray) -> np.ndarray | None:
    return a.swapaxes(0, 1).copy() if a.ndim > 2 else None


def output_for_input(case: Evidence) -> bool:
    """Right if it is handed the input in the place of the output, or the output's place is the input's."""
    args, ans = case.call.args, case.call.outputs[0]
    for k, a in enumerate(args):
        if isinstance(a, np.ndarray) and a.shape == ans.shape and a.dtype.kind == "f":
            if case.mended(ans=a) or case.mended(args=[*args[:k], ans, *args[k + 1:]]):
                return True
            other = replace(case.call, args=(*args[:k], ans, *args[k + 1:]))
            if np.isfinite(ans).all():
                foretold = Evidence(other, case.i)
                if all([case.close(case.seen(x), y) for x, y in zip(case.given, foretold.right)]):
                    return True
    return False


def dense(case: Evidence) -> bool:
    """The gradient of the same with one group: each filter sees all channels, through filters repeated."""
    ungrouped = _changed(case.call, lambda named: {"groups": 1} if "groups" in named else {})  # type: ignore
    groups = next((n for n in _found(case.call, "groups")), 1)
    if groups == 1:
        return False
    channels = {a.shape[1] for a in (*case.call.args, *case.call.outputs) if isinstance(a, np.ndarray) and a.ndim > 1}

    def tiled(a: Any, first: bool) -> Any:
        if isinstance(a, np.ndarray) and a.ndim > 1 and a.shape[1] * groups in channels:
            wide = np.tile(a, (1, groups, *[1] * (a.ndim - 2)))
            if first:
                wide[:, a.shape[1]:] = 0.0
            return wide
        return a
    for first in (False, True):
        call = replace(case.call, args=tuple([tiled(a, False) for a in case.call.args]), params=ungrouped)
        other = Evidence(call, case.i)
        try:
            rights = [other.right_for([tiled(c, first) if c.shape != y.shape else c for c, y in zip(g, call.outputs)])
                      for g in case.cotangents]
        except Exception:  # the op does not take these shapes
            continue
        n = case.call.args[case.i].shape[1] if case.call.args[case.i].ndim > 1 else 0
        for reduce in (lambda t: t, lambda t: t[:, :n], lambda t: t.reshape(
                len(t), -1, n, *t.shape[2:]).sum(1) if n else t):
            if all([case.close(case.seen(a), reduce(b)) for a, b in zip(case.given, rights)]):
                return True
    return False


def _found(call: Call, name: str) -> Iterator[Any]:
    for key, value in call.params.items():
        if key == name:
            yield value
        elif is_dataclass(value) and hasattr(value, name):
            yield getattr(value, name)


HYPOTHESES: list[tuple[str, str, Fit]] = [
    ("float32 intermediate", "it is right but for the last digits: something between is float32", single),
    ("ones instead of the cotangent", "it is the gradient for a cotangent of ones, whatever g is", ones),
    ("constant term", "it has a part that is there for a cotangent of zeros, too", constant),
    ("missing broadcast reduction", "it is right once it is summed over the axes that were broadcast", unsummed),
    ("in and out channels exchanged", "its first two axes are exchanged", moved(channels_back)),
    ("transposed", "two of its axes are exchanged", moved(axes_back)),
    ("flipped", "it is reversed along the last axes", moved(turned_back)),
    ("stride remainder dropped", "it is right but for the last rows or columns, which are zero or missing", cropped),
    ("stride and dilation exchanged", "it is right if stride and dilation are exchanged", with_params(exchanged)),
    ("padding on the wrong side", "it is right if the padding of the two sides is exchanged", with_params(mirrored)),
    ("stride transposed", "it is right if the strides of the two axes are exchanged", with_params(turned)),
    ("flipped", "it is right if one of its arguments, or the cotangent, is reversed along the last axes",
     with_arguments(flipped)),
    ("in and out channels exchanged", "it is right if the first two axes of an argument are exchanged",
     with_arguments(with_channels_exchanged)),
    ("transposed", "it is right if the last two axes of an argument, or the cotangent, are exchanged",
     with_arguments(with_last_axes_exchanged)),
    ("output used for input", "it is right if the output is taken for the input, or the input for the output",
     output_for_input),
    ("groups ignored", "it is the gradient of one group of all channels", dense),
    ("detached branch", "what is missing goes through a sum along some axes, taken for a constant", through_sum),
]


def diagnose(made: Sequence[Call], failures: Sequence[Finding]) -> Diagnosis | None:
    """The mistake that the first wrong gradient fits; None if the failures are of another kind."""
    arguments = list(dict.fromkeys([f.argument for f in failures if f.argument is not None]))
    with use_kernels("numpy"), np.errstate(all="ignore"):  # these kernels notice arrays of a wrong shape
        for i in arguments:
            cases = [Evidence(call, i) for call in made if i in call.active and call.outputs
                     and call.args[i].size and np.isfinite(np.concatenate([y.ravel() for y in call.outputs])).all()]
            wrong = sorted([case for case in cases if case.wrong], key=lambda case: case.size)[:COMPARED]
            name = made[0].name_of(i)
            if wrong:
                return _fitting(name, wrong)
            if any([_holds(unsteady, case) for case in cases]):
                return Diagnosis("float32 intermediate", name, HYPOTHESES[0][1])
            if cases:
                return Diagnosis("detached branch", name, "the first order is right, the second is not: the VJP uses "
                                 "raw arrays or detached tensors, which the next derivative does not see")
    return None


def _fitting(name: str, wrong: list[Evidence]) -> Diagnosis:
    """The first hypothesis that holds wherever the VJP is wrong."""
    for mistake, text, fit in HYPOTHESES[:1]:
        if all([_holds(fit, case) for case in wrong]):
            return Diagnosis(mistake, name, text)
    fits = [*factors(wrong), *[(mistake, text) for mistake, text, fit in HYPOTHESES[1:]
                               if all([_holds(fit, case) for case in wrong])]]
    if fits:
        return Diagnosis(fits[0][0], name, fits[0][1])
    if all([case.foretold(np.zeros_like) for case in wrong]):
        return Diagnosis("detached branch", name, "it is zero, but the result depends on the argument")
    if wrong[0].given[0] is None:
        return Diagnosis("unknown", name, "the VJP fails, and no known change of its arguments mends it")
    return Diagnosis("unknown", name, "the numbers fit none of the known mistakes")


def _holds(fit: Fit, case: Evidence) -> bool:
    try:
        return fit(case)
    except Exception:  # the op refuses what the hypothesis hands it
        return False
