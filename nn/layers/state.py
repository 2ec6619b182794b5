"""Named tensors to arrays and back: what a module's `state_dict` and `load_state_dict` do.

May import the engine's public names only.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

import tinygrad_conv as tg


class LoadResult(NamedTuple):
    """What a load did not find in the state, and what it found no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def copies(own: Mapping[str, tg.Tensor]) -> dict[str, np.ndarray]:
    """Read-only copies of the values, contiguous."""
    state = {name: np.array(t.detach().numpy(), order="C") for name, t in own.items()}
    for a in state.values():
        a.flags.writeable = False
    return state


def _array(name: str, value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as e:  # ragged lists; torch's bfloat16, and its parameters
        raise TypeError(f"load_state_dict: {name} is not an array: {e}") from None


def load_into(own: Mapping[str, tg.Tensor], state: Mapping[str, Any], strict: bool,
              owner: str) -> LoadResult:
    """Copy values into the tensors of the same names, all of them or, on an error, none.

    Raises:
        RuntimeError: listing every missing, unexpected and mis-shaped entry.
        TypeError: if `state` is not a mapping.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: expects a mapping of names to arrays, got "
                        f"{type(state).__name__}; pass module.state_dict() or nn.load(path)")
    given = {name: _array(name, state[name]) for name in own if name in state}
    result = LoadResult([name for name in own if name not in state],
                        [name for name in state if name not in own])
    faults = {
        "missing": result.missing_keys if strict else [],
        "unexpected": result.unexpected_keys if strict else [],
        "of another shape": [f"{name} (expects {own[name].shape}, got {a.shape})"
                             for name, a in given.items() if a.shape != own[name].shape],
        "of another kind": [f"{name} (expects {own[name].dtype}, got {a.dtype})"
                            for name, a in given.items()
                            if not np.can_cast(a.dtype, own[name].dtype, "same_kind")]}
    text = "; ".join(f"{what}: {', '.join(map(str, names))}" for what, names in faults.items() if names)
    if text:
        raise RuntimeError(f"load_state_dict: {owner} was not changed; {text}")
    doors = {name: own[name].mutate() for name in given}
    for name, door in doors.items():
        door[...] = given[name]
    return result
