"""`tg.certify`: all checks on all samples of an op, and a report that says what is wrong."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..primitive import Primitive
from . import builtin  # noqa: F401  (which registers samples)
from .call import Call, calls, op_name
from .checks import CHECKS, Finding, found
from .diagnose import Diagnosis, diagnose


@dataclass(frozen=True)
class Checked:
    """One check on the samples: what failed, on the first that did, and what is to note."""

    name: str
    failures: tuple[Finding, ...]
    notes: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.failures


@dataclass(frozen=True)
class Certificate:
    """What `certify` found; its text is the report.

    `checks` are all that were made; `diagnosis` is what the first failure of a derivative fits, if any.
    """

    name: str
    samples: int
    checks: tuple[Checked, ...]
    diagnosis: Diagnosis | None

    @property
    def ok(self) -> bool:
        return all([check.ok for check in self.checks])

    @property
    def summary(self) -> str:
        """In one line: how many checks it passed, or which it failed and why."""
        failed = [check.name for check in self.checks if not check.ok]
        if not failed:
            notes = sum([len(check.notes) for check in self.checks])
            noted = f", {notes} notes" * bool(notes)
            return f"certified: {len(self.checks)} checks on {self.samples} samples{noted}"
        return f"fails {', '.join(failed)}" + f": {self.diagnosis}" * (self.diagnosis is not None)

    def __repr__(self) -> str:
        lines = [f"{self.name}: {'certified' if self.ok else 'NOT certified'}, {len(self.checks)} checks on "
                 f"{self.samples} samples"]
        width = max([len(check.name) for check in self.checks])
        told: dict[str, str] = {}  # by what was found, the check that told it
        for check in self.checks:
            found = [str(finding) for finding in (*check.failures, *check.notes)]
            first = told.setdefault(found[0], check.name) if found else ""
            said = "" if not found else found[0] if first == check.name else f"as for {first}"
            more = f" (and {len(check.failures) - 1} more)" * (len(check.failures) > 1)
            lines.append(f"  {'ok' if check.ok else 'FAILS':5}  {check.name:{width}}  {said}{more}".rstrip())
        if self.diagnosis is not None and self.diagnosis.mistake not in told.values():
            lines.append(f"  most likely: {self.diagnosis}")
        return "\n".join(lines)


def certify(op: Callable[..., Any], samples: Iterable[tuple[Any, ...]] | None = None) -> Certificate:
    """Check an op in every way that a mistake is made in: its VJPs, their VJPs, dtypes, layouts, errors, ...

    On failure the certificate names the worst entry and says which classic mistake the numbers fit. A kink or
    a tie at a sample is noted, not failed.

    Args:
        op: a primitive; or any function of tensors.
        samples: tuples of arguments, with a dict of keywords at the end if there are any; small arrays of
            sizes that differ, away from kinks. Computed with in float64. Default: those of `defsamples`.

    Returns:
        a `Certificate`: `.ok`, `.checks`, `.diagnosis`; `str()` is the report. It is kept as `op.certificate`
        of a primitive, and pictures show it.

    Raises:
        TypeError: for what is no function.
        ValueError: if there are no samples.

    Example:
        >>> import numpy as np
        >>> import tinygrad_conv as tg
        >>> @tg.primitive(samples=[(np.array([0.5, -1.0, 2.0]),)])
        ... def cube(x):
        ...     return x ** 3
        >>> cube.defvjp(lambda g, ans, x: g * x * x * 6.0)
        >>> certificate = tg.certify(cube)
        >>> certificate.ok, certificate.diagnosis.mistake
        (False, 'factor 2')
    """
    if not callable(op):
        raise TypeError(f"certify: expects a primitive or a function of tensors, got {type(op).__name__}")
    given = samples_of(op) if samples is None else [*samples]
    if not given:
        raise ValueError(f"certify: there are no samples of {op_name(op)}; write certify(op, [(x,)]), "
                         f"@tg.primitive(samples=[(x,)]) or op.defsamples([(x,)])")
    if not all([isinstance(sample, tuple) and sample for sample in given]):
        raise TypeError("certify: expects a list of tuples of arguments; write [(x,)]")
    made = calls(op, given)
    checks = tuple([_check(name, made) for name in CHECKS])
    checks += (_telling(made),)
    certificate = Certificate(op_name(op), len(made), checks, _diagnosis(made, checks))
    if isinstance(op, Primitive):
        op.certificate = certificate
    return certificate


def _diagnosis(made: list[Call], checks: tuple[Checked, ...]) -> Diagnosis | None:
    """What the failures fit; if nothing, the first of them."""
    failures = {check.name: check.failures for check in checks if check.failures}
    first = next(iter(failures), None)
    if first is None:
        return None
    return diagnose(made, failures) or Diagnosis(first, "", str(failures[first][0]))


def _telling(made: list[Call]) -> Checked:
    """Where all numbers of an argument are equal, or there are none, a wrong derivative may agree."""
    failures = []
    op = made[0].op
    if isinstance(op, Primitive) and not any([call.active for call in made]) and (
            any(op.vjps) or op.joint_vjp or op.variadic_vjp):
        failures.append(Finding(0, "no derivative was compared: no sample has a floating point argument"))
    for i in sorted({i for call in made for i in call.active}):
        calls = [call for call in made if i in call.active]
        numbers = np.concatenate([call.args[i].ravel() for call in calls])
        if not numbers.size or numbers.size > 1 and np.ptp(numbers) == 0:
            name = f"argument {i} ({calls[0].name_of(i)})"
            failures.append(Finding(calls[0].number, f"{name} has no two different numbers in any sample; "
                                                     f"give some, at random"))
    return Checked("samples tell", tuple(failures), ())


def samples_of(op: Any) -> list[tuple[Any, ...]]:
    """Those registered with an op, or those that this package has for its own."""
    return getattr(op, "samples", [])


def _check(name: str, made: list[Call]) -> Checked:
    """One check, up to the first sample that fails it: the others seldom fail otherwise."""
    findings: list[Finding] = []
    for call in made:
        findings += found(CHECKS[name], call)
        if not all([finding.note for finding in findings]):
            break
    return Checked(name, tuple([f for f in findings if not f.note]), tuple([f for f in findings if f.note]))
