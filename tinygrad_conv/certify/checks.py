"""What a certificate checks: each check is a function of one call that yields what it finds, or is to note.

A kink or a tie at a sample is a note, not a failure. Errors of the op itself are findings, too (`found`).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..autodiff import jvp, vjp
from ..gradcheck import EXACT, Case, direction, ratio
from ..kernels.table import kernels, use_kernels
from ..primitive import Primitive, freed
from ..state import no_grad
from ..tensor import Tensor, share
from .call import RTOL, Call, floating, parameters, tensors

SINGLE = 2e-9  # numbers of single precision move in steps of 6e-8
REFUSALS = (ValueError, TypeError, IndexError, NotImplementedError)


@dataclass(frozen=True)
class Finding:
    """One thing found: of which sample, which argument if of one, and whether it is only to be noted."""

    sample: int
    text: str
    argument: int | None = None
    note: bool = False

    def __str__(self) -> str:
        return f"sample {self.sample}: {self.text}"


Check = Callable[[Call], Iterator[Finding]]


def told(e: BaseException) -> str:
    """An error with its notes, on one line."""
    return "; ".join([f"{type(e).__name__}: {e}", *getattr(e, "__notes__", ())])


def _of(call: Call, i: int, text: str) -> Finding:
    """What is found of one argument."""
    return Finding(call.number, f"argument {i} ({call.name_of(i)}){text}", i)


def found(check: Check, call: Call) -> list[Finding]:
    """What a check finds, of arrays of its own; an error is a finding."""
    findings: list[Finding] = []
    call = replace(call, args=tuple([a.copy() if isinstance(a, np.ndarray) else a for a in call.args]))
    try:
        with np.errstate(all="ignore"):
            findings += check(call)
    except Exception as e:  # the op's, or its VJPs'
        at = [i for i in call.active if any(f"VJP for argument {i}" in n for n in (str(e), *getattr(
            e, "__notes__", ())))]
        findings.append(Finding(call.number, told(e), at[0] if at else None))
    return findings


def _cotangents(call: Call, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [direction(y.shape, rng) for y in call.outputs]


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, beside the largest number; nan is equal to nan."""
    if a.shape != b.shape:
        return np.inf
    a, b = np.asarray(a, float), np.asarray(b, float)  # also booleans
    differ = np.abs(a - b)[~((a == b) | np.isnan(a) & np.isnan(b))]
    scale = np.max(np.abs(b), initial=1e-300, where=np.isfinite(b))
    return float(np.max(differ, initial=0.0) / scale) if not np.isnan(differ).any() else np.inf


def _all_apart(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return max(map(_apart, a, b), default=0.0) if len(a) == len(b) else np.inf


def _result(call: Call) -> list[np.ndarray]:
    """All outputs, and the gradients of the floating point ones."""
    values = [y.data for y in call.run()]
    return values + (call.pull(_cotangents(call)) if call.active and call.outputs else [])


# ----- derivatives -----


def _compared(call: Call, case: Case) -> Iterator[Finding]:
    """The gradients of a case beside differences."""
    for k, gradient in enumerate(case.pull()):
        wrong = case.compare(k, gradient)
        if wrong is None:
            continue
        smooth, kinks = case.scan(k, gradient)
        error, index, slope = max(smooth, default=(0.0, (), 0.0))
        i = call.active[k] if k < len(call.active) else None
        name = call.entry(i, index) if i is not None else f"the cotangent's {index}"
        if kinks and error <= case.atol + case.rtol * 10 * abs(slope):
            _, at, _ = max(kinks)
            where = call.entry(i, at) if i is not None else str(at)
            yield Finding(call.number, f"a kink or a tie at {where}, where the value is "
                          f"{case.args[k][at]:.6g}: the slopes to its sides differ", i, note=True)
        else:
            yield Finding(call.number, f"{case.labels[k]}: {name} is {slope:.10g} by differences, "
                          f"{gradient[index]:.10g} by the VJP{ratio(gradient[index], slope)}", i)


def gradient(call: Call) -> Iterator[Finding]:
    """VJP against finite differences, for a random cotangent in a random direction."""
    if call.active and call.outputs:
        yield from _compared(call, call.case())


def no_gradient(call: Call) -> Iterator[Finding]:
    """An argument registered to have no gradient (None) has none."""
    without = [i for i in call.floats if i not in call.active]
    if without and call.outputs:
        def f(*values: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(without, values))
            return floating(call.op(*[given.get(i, a) for i, a in enumerate(call.args)], **call.params))
        case = replace(call.case(), f=f, args=[call.args[i] for i in without])
        case.values, case.cotangents = call.outputs, _cotangents(call)
        for k, i in enumerate(without):
            slope, kink = case.slope(k, direction(case.args[k].shape, case.rng))
            if not kink and abs(slope) > case.atol + RTOL:
                yield _of(call, i, " is registered to have no gradient, but the result depends on it: its "
                                   f"slope is {slope:.6g}")


def linearity(call: Call) -> Iterator[Finding]:
    """The VJP of 2 g - 3 h is twice that of g minus three times that of h."""
    if call.active and call.outputs:
        g, h = _cotangents(call, 1), _cotangents(call, 2)
        of_g, of_h, of_zero = call.pull(g), call.pull(h), call.pull([*map(np.zeros_like, g)])
        both = call.pull([np.asarray(2.0 * a - 3.0 * b) for a, b in zip(g, h)])
        for i, a, b, zero, together in zip(call.active, of_g, of_h, of_zero, both):
            scale = np.max(np.abs(a), initial=0.0) + np.max(np.abs(b), initial=0.0)
            if not np.isfinite(scale):
                continue
            if np.any(zero):
                at = np.unravel_index(np.argmax(np.abs(zero)), zero.shape)
                yield _of(call, i, f": the VJP of a cotangent of zeros is {zero[at]:.6g} at "
                                   f"{call.entry(i, tuple(map(int, at)))}")
            elif np.max(np.abs(together - (2.0 * a - 3.0 * b)), initial=0.0) > 100 * EXACT * scale:
                yield _of(call, i, ": the VJP is not linear in g")


def second_order(call: Call) -> Iterator[Finding]:
    """The VJPs of the VJPs, against finite differences."""
    if call.active and call.outputs:
        case = call.case()
        case.pull()
        yield from _compared(call, case.next_order())


def adjoint(call: Call) -> Iterator[Finding]:
    """<g, J v> = <J'g, v>: the JVP, registered or derived from the VJP, is its transpose."""
    if not (call.active and call.outputs):
        return
    g, rng = _cotangents(call), np.random.default_rng(2)
    v = [direction(x.shape, rng) for x in call.values]
    for k, (i, back, step) in enumerate(zip(call.active, call.pull(g), v)):
        tangents = [share(s if m == k else np.zeros_like(s)) for m, s in enumerate(v)]
        along = [t.data for t in jvp(call, [*map(share, call.values)], tangents)[1]]
        left, right = [float(np.sum(a * b)) for a, b in zip(g, along)], float(np.sum(back * step))
        size = sum([float(np.sum(np.abs(a * b))) for a, b in ((back, step), *zip(g, along))])
        if np.isfinite(size) and not abs(sum(left) - right) <= 10 * EXACT * size:
            yield _of(call, i, f": <g, J v> is {sum(left):.10g}, but <J'g, v> is {right:.10g}")


# ----- arrays -----


def unchanged(call: Call) -> Iterator[Finding]:
    """Inputs and cotangent are as before."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in call.args]
    cotangents = _cotangents(call)
    if call.active and call.outputs:
        call.pull(cotangents)
    else:
        call.run()
    for i, (a, b) in enumerate(zip(call.args, before)):
        if isinstance(a, np.ndarray) and a.tobytes() != b.tobytes():
            yield _of(call, i, " was changed by the op")
    if any(g.tobytes() != h.tobytes() for g, h in zip(cotangents, _cotangents(call))):
        yield Finding(call.number, "the cotangent was changed by the VJP")


def own_outputs(call: Call) -> Iterator[Finding]:
    """Outputs lie on memory of their own, or on an input's; another call does not change them."""
    first = call.run()
    before = [y.data.copy() for y in first]
    moved = [np.asarray(a + 0.25) if i in call.floats else a for i, a in enumerate(call.args)]
    try:
        second: Sequence[Tensor] = replace(call, args=tuple(moved)).run()
    except REFUSALS:  # the op may refuse those values
        second = []
    arrays = [a for a in (*call.args, *moved) if isinstance(a, np.ndarray)]
    others = [*first, *second]
    for k, y in enumerate(first):
        if y.data.tobytes() != before[k].tobytes():
            yield Finding(call.number, f"output {k} was changed by another call of the op")
        if any(t is not y and np.shares_memory(t.data, y.data) for t in others) and not any(
                np.may_share_memory(a, y.data) for a in arrays):
            yield Finding(call.number, f"output {k} shares its memory with another output")


def _narrow(call: Call) -> Call:
    """The same with float32 arguments."""
    return replace(call, args=tuple([a.astype(np.float32) if i in call.floats else a
                                     for i, a in enumerate(call.args)]))


def dtype(call: Call) -> Iterator[Finding]:
    """float32 in, float32 out, in values and gradients, and about the same numbers."""
    single = _narrow(call)
    params = {k: np.dtype(np.float32) if v == np.float64 and isinstance(v, np.dtype | type) else v
              for k, v in call.params.items()}
    if not call.floats or params != dict(call.params):
        return
    outputs = floating(single.run())
    wrong = [y.dtype for y in outputs if y.dtype != np.float32]
    if wrong:
        yield Finding(call.number, f"float32 arguments give {wrong[0]}")
    elif call.active and outputs:
        g = [c.astype(np.float32) for c in _cotangents(call)]
        gradients = single.pull(g)
        for i, a in zip(single.active, gradients):
            if a.dtype != np.float32:
                yield _of(call, i, f": its gradient is {a.dtype}")
        narrow, wide = [y.data for y in outputs], call.pull([c.astype(float) for c in g])
        pairs = zip((*narrow, *gradients), (*call.outputs, *wide))
        if any(np.isfinite(b).all() and _apart(a, b) > 0.01 for a, b in pairs):
            yield Finding(call.number, "float32 arguments give other numbers than float64 ones")


def roughness(call: Call) -> dict[int | None, float]:
    """How unsteady the outputs (None) and each gradient are, moved by 1e-6: 1e-12 if computed in float64."""
    rng = np.random.default_rng(3)
    v = [1e-6 * direction(x.shape, rng) for x in call.values]
    g, u = _cotangents(call), [1e-6 * c for c in _cotangents(call, 4)]
    points = []
    for t in range(-6, 7):
        at = replace(call, args=call.given(*[np.asarray(x + t * step) for x, step in zip(call.values, v)]))
        points.append([np.concatenate([*[y.ravel() for y in at.outputs], np.zeros(1)]),
                       *at.pull([np.asarray(c + t * step) for c, step in zip(g, u)])])
    rough = {}
    for i, *line in zip((None, *call.active), *points):
        scale = np.max(np.abs(line), initial=0.0)
        bends = np.abs(np.diff(line, 3, axis=0)).reshape(10, -1).max(axis=1, initial=0.0)
        steady = not scale or not np.isfinite(scale)
        rough[i] = 0.0 if steady else float(np.median(bends) / scale)  # of which a kink bends four
    return rough


def precision(call: Call) -> Iterator[Finding]:
    """float64 all the way: no value or gradient goes in steps of a narrower type."""
    if not (call.active and call.outputs):
        return
    for i, rough in roughness(call).items():
        if SINGLE < rough < 1e-6:
            what = "the value" if i is None else f"argument {i} ({call.name_of(i)}): the gradient"
            yield Finding(call.number, f"{what} goes in steps of {rough:.1g} of its size: something between "
                          f"is float32", i)


# ----- how arguments may come -----


def _layouts(a: np.ndarray) -> dict[str, np.ndarray]:
    """The same numbers, lying otherwise in memory."""
    wide = np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a
    return {"in Fortran order": a.copy(order="F"), "strided": wide,
            "with negative strides": np.flip(np.flip(a).copy()) if a.ndim else a}


def layouts(call: Call) -> Iterator[Finding]:
    """Fortran order, strides, negative strides, and axes repeated by a stride of 0 give the same result."""
    right = _result(call)
    for what in _layouts(np.zeros(1)):
        args = tuple([_layouts(a)[what] if i in call.floats else a for i, a in enumerate(call.args)])
        if _all_apart(_result(replace(call, args=args)), right) > 1e-10:
            yield Finding(call.number, f"arguments {what} give another result")
    for i in call.active:
        a = call.args[i]
        if a.ndim and len(a):
            repeated = np.broadcast_to(a[:1], a.shape)
            try:
                results = [_result(replace(call, args=(*call.args[:i], b, *call.args[i + 1:])))
                           for b in (repeated, repeated.copy())]
            except REFUSALS:  # a matrix of equal rows has no inverse
                continue
            if _all_apart(*results) > 1e-10:
                yield _of(call, i, " repeated by a stride of 0 gives another result")


def broadcasting(call: Call) -> Iterator[Finding]:
    """An argument with an axis of length 1 counts as repeated: the same value, and the gradient summed."""
    if not getattr(call.op, "broadcasts", False) or len(call.floats) < 2:
        return
    for i in call.active:
        a = call.args[i]
        for axis in [k for k, n in enumerate(a.shape) if n > 1]:
            short = a.take([0], axis)
            one, many = [replace(call, args=(*call.args[:i], b, *call.args[i + 1:]))
                         for b in (short, np.repeat(short, a.shape[axis], axis))]
            try:
                same = [y.shape for y in one.outputs] == [y.shape for y in many.outputs]
            except REFUSALS:
                continue
            g, k = _cotangents(many), call.active.index(i)
            if same and _apart(one.pull(g)[k], many.pull(g)[k].sum(axis, keepdims=True)) > 1e-10:
                yield _of(call, i, f", broadcast along axis {axis}: its gradient is not the sum along it")


def _answered(call: Call, what: str, note: bool = False) -> Iterator[Finding]:
    """A call that may be refused, but then by name; if it is not, it has gradients, or that is to `note`."""
    try:
        outputs = call.run()
    except REFUSALS as e:
        if isinstance(call.op, Primitive) and call.op.name not in told(e):
            yield Finding(call.number, f"{what}: an error that does not name the op: {told(e)}")
        return
    except Exception as e:
        yield Finding(call.number, f"{what}: {told(e)}; expected a ValueError that names the op")
        return
    if call.active and floating(outputs):
        try:
            call.pull([np.ones_like(y.data) for y in floating(outputs)])
        except Exception as e:
            shapes = ", ".join(str(np.shape(a)) for a in call.args)
            yield Finding(call.number, f"{what}, shapes {shapes}: the op accepts them, its VJP does not; if "
                                       f"they are not meant, let the op raise ValueError: {told(e)}",
                          note=note and isinstance(e, REFUSALS))


def _sizes_are_given(call: Call) -> bool:
    """Whether a parameter carries sizes that were checked where it was made."""
    return any(hasattr(value, "__dataclass_fields__") for value in call.params.values())


def empty(call: Call) -> Iterator[Finding]:
    """Arguments without rows, and single numbers of shape (): a result, or an error that names the op."""
    outputs = call.outputs
    batch = {y.shape[:1] for y in outputs}
    rows = [i for i in call.floats if call.args[i].ndim and call.args[i].shape[:1] in batch]
    if rows and not _sizes_are_given(call):
        cut = [a[:0] if i in rows else a for i, a in enumerate(call.args)]
        yield from _answered(replace(call, args=tuple(cut)), "arguments without rows", True)
    if not _sizes_are_given(call) and all([call.args[i].size for i in call.floats]):
        points = [np.asarray(a.flat[0]) if i in call.floats else a for i, a in enumerate(call.args)]
        yield from _answered(replace(call, args=tuple(points)), "arguments of shape ()", True)


def errors(call: Call) -> Iterator[Finding]:
    """Shapes that do not fit are refused by an error that names the op, not in the VJP."""
    if _sizes_are_given(call) or len(call.args) < 2:
        return
    for i in call.floats:
        a = call.args[i]
        longer = {"an axis more": np.stack([a] * 7, -1)}
        if a.size and a.ndim:
            longer["an axis longer by 2"] = np.concatenate([a, a[..., -1:], a[..., -1:]], -1)
        for what, b in longer.items():
            yield from _answered(replace(call, args=(*call.args[:i], b, *call.args[i + 1:])),
                                 f"argument {i} ({call.name_of(i)}) with {what}", note=True)


def no_memory(call: Call) -> Iterator[Finding]:
    """A VJP reads its arguments, not what the function left elsewhere, which the next call overwrites."""
    if not call.active:
        return
    _, pullback = vjp(call, *call.values)
    g = [share(np.asarray(direction(y.shape, np.random.default_rng(3)))) for y in call.outputs]
    first = [t.data.copy() for t in pullback(*g)]
    with suppress(Exception), no_grad(), np.errstate(all="ignore"):  # outside the op's domain, perhaps
        call(*[-np.flip(a) for a in call.values])
    for i, a, t in zip(call.active, first, pullback(*g)):
        if not np.array_equal(a, t.data, equal_nan=True):
            yield _of(call, i, ": its gradient is another one after the op was called with other numbers; "
                               "the VJP must read only its arguments, not what the function has kept")


def deterministic(call: Call) -> Iterator[Finding]:
    """The same call gives the same bits."""
    if [a.tobytes() for a in _result(call)] != [a.tobytes() for a in _result(call)]:
        yield Finding(call.number, "two equal calls differ")


def keywords(call: Call) -> Iterator[Finding]:
    """Arrays by keyword are the same as by position, and so are numbers."""
    names = parameters(call.op)
    if len(call.args) > len(names):  # any number of arrays
        return
    right = [y.data for y in call.run()]
    by_name = tensors(call.op(**dict(zip(names, call.given(*map(share, call.values)))), **call.params))
    if _all_apart([y.data for y in by_name], right) > 1e-10:
        yield Finding(call.number, "arrays by keyword give another result")
    numbers = [float(a) if i in call.floats and a.ndim == 0 else a for i, a in enumerate(call.args)]
    if any(isinstance(a, float) for a in numbers):
        given = tensors(call.op(*numbers, **call.params))
        if _all_apart([y.data.astype(float) for y in given], [y.astype(float) for y in right]) > 1e-5:
            yield Finding(call.number, "numbers give another result than arrays of shape ()")


def families(call: Call) -> Iterator[Finding]:
    """The kernels that the op has (`defkernel`) give the same result, each if it takes the call."""
    single = _narrow(call)
    for family in {row.family for row in kernels.get(call.op, ())}:
        for one, allowed in ((call, 1e-10), (single, 1e-4)):
            results = []
            for chosen in ("numpy", family):
                with use_kernels(chosen):
                    results.append(_result(one))
            if _all_apart(*results) > allowed:
                yield Finding(call.number, f"the kernel of family {family!r} gives another result")


def saved(call: Call) -> Iterator[Finding]:
    """The VJPs read no values but those that `defsaved` names: the tape keeps no others."""
    op = call.op
    if not isinstance(op, Primitive) or not op.unsaved and op.saves_ans:
        return
    inputs = [freed(share(np.asarray(a))) if i in op.unsaved else share(np.asarray(a))
              for i, a in enumerate(call.args)]
    results = [t if op.saves_ans else freed(t) for t in call.run()]
    g = iter(_cotangents(call))
    parts = [share(next(g) if t.dtype.kind == "f" else np.zeros(t.shape, t.dtype)) for t in results]
    several = len(results) > 1
    for i in call.active:
        vjp_of_one: Any = op.vjp_for(i)
        try:
            with no_grad():
                vjp_of_one(tuple(parts) if several else parts[0], tuple(results) if several else results[0],
                           *inputs, **call.params)
        except Exception as e:
            yield _of(call, i, f": its VJP reads values that {op.name}.defsaved does not name: {told(e)}")


CHECKS: dict[str, Check] = {
    "VJP = differences": gradient, "None = no slope": no_gradient, "VJP linear in g": linearity,
    "second order": second_order, "<g, Jv> = <J'g, v>": adjoint, "inputs unchanged": unchanged,
    "outputs its own": own_outputs, "dtype kept": dtype, "float64 throughout": precision,
    "any memory order": layouts, "broadcasting": broadcasting, "empty and ()": empty,
    "wrong shapes refused": errors, "deterministic": deterministic, "no memory": no_memory,
    "by keyword": keywords,
    "kernels agree": families, "saved values": saved,
}
