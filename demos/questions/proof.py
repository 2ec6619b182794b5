"""Comparing two gradients, and saying by how much they differ in a way that never flickers.

A difference is measured against the largest entry. Below 1e-12 it is rounding, and only that is
said: its digits depend on the machine's BLAS, that statement does not.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

FLOOR = 1e-12


@dataclass(frozen=True)
class Proof:
    """One comparison: `what` was computed twice, the second time by `how`."""

    what: str
    how: str
    entries: int
    error: float

    @property
    def holds(self) -> bool:
        """Whether the two agree to rounding; a NaN does not."""
        return self.error < FLOOR

    @property
    def says(self) -> str:
        """The error for people: "< 10⁻¹²", or the number itself where there is one to see."""
        return "< 10⁻¹²" if self.holds else f"{self.error:.3g}"


def compare(what: str, how: str, ours: np.ndarray, other: np.ndarray) -> Proof:
    """The largest difference of two arrays, relative to the largest entry of the second.

    Raises:
        ValueError: if their shapes differ; nothing is broadcast in a proof.

    Example:
        >>> compare("dW", "by hand", np.array([1.0, 2.0]), np.array([1.0, 4.0])).says
        '0.5'
    """
    if ours.shape != other.shape:
        raise ValueError(f"compare: {what} has shape {ours.shape}, {how} gives {other.shape}")
    error = float(np.max(np.abs(ours - other)) / np.max(np.abs(other)))
    return Proof(what, how, other.size, math.inf if math.isnan(error) else error)


def finite_differences(f: Callable[[np.ndarray], float], at: np.ndarray,
                       entries: Iterable[tuple[int, ...]] | None = None) -> np.ndarray:
    """(f(at + e) - f(at - e)) / 2 for every unit step e, or for those of the given entries.

    The step is 1, not tiny: f is linear in `at`, so the quotient is exact up to rounding.

    Example:
        >>> finite_differences(lambda v: 3 * v[0] - v[1], np.array([0.5, 0.5])).tolist()
        [3.0, -1.0]
    """
    found = []
    for entry in np.ndindex(at.shape) if entries is None else entries:
        up, down = at.copy(), at.copy()
        up[entry] += 1
        down[entry] -= 1
        found.append((f(up) - f(down)) / 2)
    return np.array(found).reshape(at.shape if entries is None else -1)


def relative(ours: np.ndarray, other: np.ndarray) -> float:
    """The length of the difference over the length of the second: 0 is equal, 1 is all wrong."""
    return float(np.linalg.norm(ours - other) / np.linalg.norm(other))
