"""An optimiser's saved state, read and checked before anything changes.

May import NumPy only; it knows optimisers by their groups, options and slots.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .optimizer import Optimizer

PARTS = {"arrays": Mapping, "groups": list}


def read(optimizer: Optimizer, state: Any) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:
    """The options of each group, and what is kept for each parameter by its position.

    Raises:
        ValueError, TypeError: if groups, options, shapes or kinds of numbers do not fit.
    """
    name = type(optimizer).__name__
    if not isinstance(state, Mapping) or not all(isinstance(state.get(k), t) for k, t in PARTS.items()):
        got = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(f"{name}: a saved state has 'arrays' and 'groups', got {got}; PyTorch's optimiser "
                         f"states have another form")
    groups = _options(optimizer, state["groups"])
    kept: dict[int, dict[str, Any]] = {}
    for key, value in state["arrays"].items():
        i, slot, array = _entry(optimizer, str(key), np.asarray(value))
        kept.setdefault(i, {})[slot] = array
    for group, positions in zip(groups, optimizer.positions()):
        expected = {"step", *optimizer.slots(group)}
        for i in positions:
            if i in kept and set(kept[i]) != expected:
                raise ValueError(f"{name}: the saved state of parameter {i} has "
                                 f"{', '.join(sorted(kept[i]))}, expected {', '.join(sorted(expected))}")
    return groups, kept


def _options(optimizer: Optimizer, groups: list[Any]) -> list[dict[str, Any]]:
    name = type(optimizer).__name__
    own, sizes = [len(positions) for positions in optimizer.positions()], []
    for saved in groups:
        if not isinstance(saved, Mapping) or set(saved) - {"initial_lr"} != {*optimizer.defaults, "params"}:
            got = ", ".join(sorted(map(str, saved))) if isinstance(saved, Mapping) else repr(saved)
            raise ValueError(f"{name}: the saved state has the options {got}; it is another optimiser's, "
                             f"this one has {', '.join(optimizer.defaults)}")
        sizes.append(np.size(saved["params"]))
    if sizes != own:
        raise ValueError(f"{name}: the saved state has groups of {sizes} parameters, this optimiser of {own}")
    options = [{key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
                if key != "params"} for saved in groups]
    for group in options:
        optimizer.check(group)
    return options


def _entry(optimizer: Optimizer, key: str, value: np.ndarray) -> tuple[int, str, Any]:
    """(position, slot, copy of the array or the step count) of an entry of a saved state."""
    name, params = type(optimizer).__name__, [p for g in optimizer.param_groups for p in g["params"]]
    i, _, slot = key.partition(".")
    if not i.isdecimal() or int(i) >= len(params):
        raise ValueError(f"{name}: the saved {key!r} belongs to none of the {len(params)} parameters")
    p, counts = params[int(i)], slot == "step"
    if value.dtype.kind not in ("iu" if counts else "fiu"):
        raise ValueError(f"{name}: the saved {key!r} is {value.dtype}, expected "
                         f"{'a count' if counts else p.dtype}")
    if value.shape != (() if counts else p.shape):
        what = "a count has none" if counts else f"the parameter {p.shape}"
        raise ValueError(f"{name}: the saved {key!r} has shape {value.shape}, {what}")
    return int(i), slot, int(value) if counts else np.array(value, p.dtype, order="C")
