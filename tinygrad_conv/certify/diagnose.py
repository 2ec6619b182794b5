"""Which classic mistake a wrong gradient fits: hypotheses, each compared with the numbers on every sample.

Some foretell the wrong gradient from the right one, which differences give: twice, negated, reversed. Others
mend it: they hand the VJP its arguments changed, and if the result is right, the change undoes the mistake. A
hypothesis must hold on every sample on which the VJP is wrong; the first that does is told.
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

import numpy as np

from ..kernels.table import use_kernels
from .call import Call
from .checks import Finding
from .evidence import FITS, Evidence

COMPARED = 4       # samples on which the VJP is wrong: the smallest; more take longer and tell no more
LARGEST = 1000000  # Jacobian of a sample that is compared entry by entry
Fit = Callable[[Evidence], bool]
Change = Callable[[dict[str, Any]], dict[str, Any]]
NOTHING = "{it} is zero, but the result depends on it: nothing flows back"


@dataclass(frozen=True)
class Diagnosis:
    """The mistake that fits, in a few words; the argument whose gradient shows it; and how."""

    mistake: str
    argument: str
    text: str

    def __str__(self) -> str:
        return f"{self.mistake}: {self.text}"


# ----- a number times the right gradient -----


def factor(case: Evidence) -> float | None:
    """The number, if there is one."""
    if any([t is None for t in case.given]):
        return None
    given, right = [np.concatenate([np.ravel(t) for t in ts])  # type: ignore[arg-type]
                    for ts in (case.given, case.right)]
    smooth = ~np.isnan(right)
    given, right = given[smooth], right[smooth]
    if not np.any(right):
        return None
    c = float(given @ right / (right @ right))
    allowed = FITS * np.max(np.abs(right)) * max(abs(c), 1e-3)
    return c if np.all(np.abs(given - c * right) <= allowed) else None


def factors(cases: list[Evidence]) -> Iterator[tuple[str, str]]:
    """What a number on each sample may mean: the same one on all, or a product of the sizes of each."""
    if all([t is not None and not np.any(t) for case in cases for t in case.given]):
        yield "detached branch", NOTHING
    found = [c for case in cases if (c := factor(case))]
    if len(found) < len(cases) or np.allclose(found, 1.0, rtol=FITS):
        return
    ratios, c = np.array(found), found[0]
    same = np.allclose(ratios, c, rtol=FITS)
    if same and np.isclose(c, -1.0):
        yield "sign", "{it} is the right one times -1"
    elif same and np.isclose(c, 2.0):
        yield "factor 2", "{it} is twice the right one: something is counted twice"
    minus = "-" * (c < 0)
    for name, sizes in _sizes(cases):
        if np.allclose(sizes * ratios, np.sign(c), rtol=1e-5):
            yield (f"factor {minus}1/({name})",
                   f"{{it}} is {minus}the right one divided by {name}: a mean for a sum")
        elif np.allclose(sizes, np.sign(c) * ratios, rtol=1e-5):
            yield f"factor {minus}({name})", f"{{it}} is {minus}the right one times {name}: a sum for a mean"
    if same:
        yield f"factor {c:.6g}", f"{{it}} is the right one times {c:.6g}"


def _sizes(cases: list[Evidence]) -> Iterator[tuple[str, np.ndarray]]:
    """Products of the sizes of each argument and of the result, on every sample; few axes first."""
    calls = [case.call for case in cases]
    for k in range(min([len(call.args) for call in calls])):
        yield from _products([np.shape(call.args[k]) for call in calls], lambda axis, k=k:  # type: ignore[misc]
                             calls[0].axis_of(k, axis))
    yield from _products([call.outputs[0].shape for call in calls], lambda axis: f"axis {axis} of the result")


def _products(shapes: list[tuple[int, ...]], name: Callable[[int], str]) -> Iterator[tuple[str, np.ndarray]]:
    ndim = min(map(len, shapes))
    for count in range(1, ndim + 1):
        for axes in itertools.combinations(range(ndim), count):
            yield " x ".join(map(name, axes)), np.array([np.prod([s[a] for a in axes]) for s in shapes])


# ----- other hypotheses that foretell the wrong gradient -----


def single(case: Evidence) -> bool:
    """Right but for the last digits."""
    return case.foretold(lambda right: right)


LAST_DIGITS: tuple[str, str, Fit] = (
    "float32 intermediate", "{it} is right but for the last digits: something between is float32", single)


def ones(case: Evidence) -> bool:
    """The gradient for a cotangent of ones, whatever it is."""
    of_ones = case.right_for([np.ones_like(g) for g in case.cotangents[0]])
    return case.foretold(lambda right: of_ones)


def constant(case: Evidence) -> bool:
    """A part that does not depend on the cotangent."""
    rest = case.fitted(case.vjp([np.zeros_like(g) for g in case.cotangents[0]]))
    return rest is not None and bool(np.any(rest)) and case.foretold(lambda right: right + rest)


def unsummed(case: Evidence) -> bool:
    """Larger, and right once it is summed over some axes."""
    def summed(t: np.ndarray) -> list[np.ndarray]:
        sums = [np.asarray(t.sum(axes)) for count in range(1, t.ndim + 1)
                for axes in itertools.combinations(range(t.ndim), count)]
        return [s.reshape(case.x.shape) for s in sums if s.size == case.x.size]
    return all([t is not None and (t.ndim > right.ndim or t.size > right.size) and any(
        [case.close(s, right) for s in summed(t)]) for t, right in zip(case.raw, case.right)])


def back(ways: Callable[[np.ndarray], Iterator[np.ndarray]]) -> Fit:
    """Right once it is moved back in one of some ways, the same for each cotangent."""
    def fit(case: Evidence) -> bool:
        fits = [[case.close(case.fitted(moved), right) for moved in ways(t)] if t is not None else []
                for t, right in zip(case.raw, case.right)]
        return any(map(all, zip(*fits)))
    return fit


def channels_exchanged(t: np.ndarray) -> Iterator[np.ndarray]:
    if t.ndim > 2:
        yield t.swapaxes(0, 1)


def axes_exchanged(t: np.ndarray) -> Iterator[np.ndarray]:
    for i, j in itertools.combinations(range(t.ndim), 2):
        yield t.swapaxes(i, j)


def reversed_along(t: np.ndarray) -> Iterator[np.ndarray]:
    for axes in ((-2, -1), (-1,), (-2,)):
        if t.ndim >= -min(axes):
            yield np.flip(t, axes)


def cropped(case: Evidence) -> bool:
    """The last rows or columns are missing, or zero where they should not be."""
    for t, right in zip(case.raw, case.right):
        if t is None or t.ndim != right.ndim:
            return False
        inside = tuple([slice(0, min(n, m)) for n, m in zip(t.shape, right.shape)])
        others = [tuple([m for m in range(t.ndim) if m != k]) for k in range(t.ndim)]
        filled = [np.flatnonzero(t[inside].any(axes)) for axes in others]
        box = tuple([slice(0, int(r[-1]) + 1 if len(r) else 0) for r in filled])
        padded, cut = np.zeros_like(right), np.zeros_like(right)
        padded[inside], cut[box] = t[inside], right[box]
        if not case.close(padded, cut) or t.shape == right.shape and case.close(cut, right):
            return False
    return True


def through_sum(case: Evidence) -> bool:
    """What is missing is, along some axes, a few functions of an entry, each times one number."""
    x = case.x
    bases = [[np.ones_like(x)], [np.ones_like(x), x]]
    for other in (*case.call.args, case.call.outputs[0]):
        if isinstance(other, np.ndarray) and other.dtype.kind == "f" and other.shape == x.shape:
            bases += [[other], [np.exp(np.minimum(other, 50.0))]]
    missing = [right - t for t, right in zip(case.given, case.right) if t is not None and np.any(t)]
    return len(missing) == len(case.right) and any([
        all([_spanned(m, basis, axes) for m in missing])
        for count in range(1, x.ndim + 1) for axes in itertools.combinations(range(x.ndim), count)
        for basis in bases if np.prod([x.shape[k] for k in axes]) > len(basis)])


def _spanned(missing: np.ndarray, basis: list[np.ndarray], axes: tuple[int, ...]) -> bool:
    """Whether along `axes` it is a combination of the basis, another one everywhere else."""
    def rows(t: np.ndarray) -> np.ndarray:
        last = np.moveaxis(t, axes, range(-len(axes), 0))
        return last.reshape(-1, int(np.prod([t.shape[k] for k in axes])))
    scale = np.max(np.abs(missing))
    for t, *functions in zip(rows(missing), *map(rows, basis)):
        columns = np.stack(functions, -1)
        found = np.linalg.lstsq(columns, t, rcond=None)[0]
        if not np.all(np.abs(columns @ found - t) <= 10 * FITS * scale):
            return False
    return bool(scale > 0)


def dense(case: Evidence) -> bool:
    """The gradient of the same with one group, each filter repeated for all channels."""
    call = case.call
    groups = next(_named(call.params, "groups"), 1)
    channels = {t.shape[1] for t in (*call.args, *call.outputs) if np.ndim(t) > 1}

    def tiled(t: np.ndarray, first: bool) -> np.ndarray:
        """Of all channels, if it has those of one group: repeated, or the first group's and zeros."""
        if np.ndim(t) < 2 or t.shape[1] * groups not in channels:
            return t
        wide = np.tile(t, (1, groups, *[1] * (t.ndim - 2)))
        if first:
            wide[:, t.shape[1]:] = 0.0
        return wide
    other = Evidence(replace(call, args=tuple([tiled(a, False) for a in call.args]),
                             params=_changed(call.params, lambda named: {"groups": 1})), case.i)
    n = case.x.shape[1] if case.x.ndim > 1 else 1
    for first in (False, True):
        rights = [other.right_for([tiled(c, first) if c.shape != y.shape else c
                                   for c, y in zip(g, other.call.outputs)]) for g in case.cotangents]
        for of_one in (lambda t: t, lambda t: t[:, :n],
                       lambda t: t.reshape(len(t), -1, n, *t.shape[2:]).sum(1)):
            if all([case.close(a, of_one(b)) for a, b in zip(case.given, rights)]):
                return groups > 1
    return False


# ----- hypotheses that mend it -----


def _named(params: Any, name: str) -> Iterator[Any]:
    """The parameters of a name, also inside a geometry."""
    for key, value in params.items():
        if key == name:
            yield value
        elif hasattr(value, name):
            yield getattr(value, name)


def _changed(params: Any, change: Change) -> dict[str, Any]:
    """The parameters changed, also inside a geometry."""
    new = {key: replace(value, **change(vars(value))) if is_dataclass(value) else value  # type: ignore[type-var]
           for key, value in params.items()}
    return {**new, **{key: value for key, value in change(new).items() if key in new}}


def exchanged(named: dict[str, Any]) -> dict[str, Any]:
    pair = {"stride", "dilation"} <= named.keys()
    return {"stride": named["dilation"], "dilation": named["stride"]} if pair else {}


def sides(named: dict[str, Any]) -> dict[str, Any]:
    padding = named.get("padding")
    if not isinstance(padding, tuple):
        return {}
    nested = all([isinstance(side, tuple) for side in padding])
    return {"padding": tuple([side[::-1] for side in padding]) if nested else padding[::-1]}


def with_params(change: Change) -> Fit:
    """Right if the VJP is handed other parameters."""
    def fit(case: Evidence) -> bool:
        params = _changed(case.call.params, change)
        return params != case.call.params and case.mended(params=params)
    return fit


def with_arguments(change: Callable[[np.ndarray], np.ndarray | None]) -> Fit:
    """Right if one argument is changed, or the cotangent."""
    def fit(case: Evidence) -> bool:
        args = case.call.args
        for k in case.call.floats:
            new = change(args[k])
            if new is not None and case.mended(args=[*args[:k], new, *args[k + 1:]]):
                return True
        changed = [[c for c in map(change, g) if c is not None] for g in case.cotangents]
        return all([len(g) == len(case.call.outputs) and case.close(case.fitted(case.vjp(g)), right)
                    for g, right in zip(changed, case.right)])
    return fit


def turned(a: np.ndarray) -> np.ndarray | None:
    return np.flip(a, (-2, -1)).copy() if a.ndim > 1 else None


def last_exchanged(a: np.ndarray) -> np.ndarray | None:
    return a.swapaxes(-2, -1).copy() if a.ndim > 1 else None


def first_exchanged(a: np.ndarray) -> np.ndarray | None:
    return a.swapaxes(0, 1).copy() if a.ndim > 2 else None


def output_for_input(case: Evidence) -> bool:
    """Right if it gets the input for the output, or the other way; or it is that at the output."""
    args, ans = case.call.args, case.call.outputs[0]
    for k in case.call.floats:
        if args[k].shape == ans.shape:
            swapped = (*args[:k], ans, *args[k + 1:])
            if case.mended(ans=args[k]) or case.mended(args=swapped):
                return True
            there = Evidence(replace(case.call, args=swapped), case.i)
            if all([case.close(a, b) for a, b in zip(case.given, there.right)]):
                return True
    return False


HYPOTHESES: list[tuple[str, str, Fit]] = [
    ("ones instead of the cotangent", "{it} is that for a cotangent of ones, whatever g is", ones),
    ("constant term", "a part of {it} is there for a cotangent of zeros, too", constant),
    ("missing broadcast reduction", "{it} is right once it is summed over some axes", unsummed),
    ("in and out channels exchanged", "the first two axes of {it} are exchanged", back(channels_exchanged)),
    ("transposed", "two axes of {it} are exchanged", back(axes_exchanged)),
    ("flipped", "{it} is reversed along the last axes", back(reversed_along)),
    ("stride remainder dropped", "the last rows or columns of {it} are zero or missing", cropped),
    ("stride and dilation exchanged", "{it} is right if they are exchanged back", with_params(exchanged)),
    ("padding on the wrong side", "{it} is right if the two sides are exchanged", with_params(sides)),
    ("flipped", "{it} is right if an argument, or the cotangent, is reversed along the last axes",
     with_arguments(turned)),
    ("in and out channels exchanged", "{it} is right if the first two axes of an argument are exchanged",
     with_arguments(first_exchanged)),
    ("transposed", "{it} is right if the last two axes of an argument, or of the cotangent, are exchanged",
     with_arguments(last_exchanged)),
    ("output used for input", "{it} is right if output and input change places", output_for_input),
    ("groups ignored", "{it} is that of one group of all channels", dense),
    ("detached branch", "what {it} lacks goes through a sum along some axes, taken for a constant",
     through_sum),
    ("detached branch", NOTHING, lambda case: case.foretold(np.zeros_like)),
]


def diagnose(made: Sequence[Call], failures: Mapping[str, Sequence[Finding]]) -> Diagnosis | None:
    """The mistake that the first wrong gradient fits; None if the failures, by check, are of another kind."""
    blamed = [f.argument for findings in failures.values() for f in findings if f.argument is not None]
    with use_kernels("numpy"), np.errstate(all="ignore"):  # these kernels notice arrays of a wrong shape
        for i in dict.fromkeys(blamed):
            wrong = [case for call in made if i in call.active and call.outputs and call.args[i].size
                     and np.isfinite(np.concatenate([y.ravel() for y in call.outputs])).all()
                     and (case := Evidence(call, i)).wrong]
            small = sorted([case for case in wrong if case.size <= LARGEST], key=lambda case: case.size)
            if small:
                return _said(made[0], i, *_fitting(small[:COMPARED]))
            if wrong:
                return _said(made[0], i, "unknown", "the samples are too large to look into {it}")
    if "VJP = differences" in failures:  # of the op itself
        return None
    for finding in failures.get("float64 throughout", ()):
        if finding.argument is not None:
            return _said(made[0], finding.argument, *LAST_DIGITS[:2])
    for finding in failures.get("second order", ()):
        name = "the cotangent" if finding.argument is None else made[0].name_of(finding.argument)
        return Diagnosis("detached branch", name, "the gradients are right, but their derivative by "
                         f"{name} is not: a VJP uses raw arrays or detached tensors")
    return None


def _said(call: Call, i: int, mistake: str, text: str) -> Diagnosis:
    return Diagnosis(mistake, call.name_of(i), text.format(it=f"the gradient of {call.name_of(i)}"))


def _fitting(wrong: list[Evidence]) -> tuple[str, str]:
    """The first hypothesis that holds wherever the VJP is wrong."""
    def fits(hypotheses: list[tuple[str, str, Fit]]) -> Iterator[tuple[str, str]]:
        for mistake, text, fit in hypotheses:
            if all([_holds(fit, case) for case in wrong]):
                yield mistake, text
    failed = ("unknown", "the VJP fails, and no known change of its arguments mends it")
    unlike = ("unknown", "{it} fits none of the known mistakes")
    found = itertools.chain(fits([LAST_DIGITS]), factors(wrong), fits(HYPOTHESES))
    mistake, text = next(found, failed if wrong[0].raw[0] is None else unlike)
    return (mistake, text) if mistake != "unknown" else _by_output(wrong) or (mistake, text)


def _by_output(wrong: list[Evidence]) -> tuple[str, str] | None:
    """What fits if only one of several outputs has a cotangent."""
    several = range(len(wrong[0].call.outputs)) if len(wrong[0].call.outputs) > 1 else ()
    for k in several:
        alone = [part for case in wrong if not single(part := Evidence(case.call, case.i, k))]
        mistake, text = _fitting(alone) if alone else ("unknown", "")
        if mistake != "unknown":
            return mistake, f"{text} (of output {k})"
    return None


def _holds(fit: Fit, case: Evidence) -> bool:
    try:
        return fit(case)
    except Exception:  # the op refuses what the hypothesis hands it
        return False
