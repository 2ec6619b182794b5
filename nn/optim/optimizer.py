"""What all optimisers share: parameter groups, state by position, and the loop of a step.

An optimiser names the arrays it keeps for each parameter (`slots`), says what they become in an arithmetic
`rule` of arrays and `numbers`, and so has all parameters of a group changed in one pass (`tg.overwrite`).
What is no arithmetic of entries defines `update` instead, which changes one parameter in place. PyTorch's
rules and defaults; float32 stays float32. The slots of a float16 parameter are float32, and so is a "master"
beside them: it is what changes, the parameter is its rounded copy.
"""
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module
from ..layers.norm import Norm

Group = dict[str, Any]
Slots = dict[str, np.ndarray]
Rule = Callable[..., tuple[Any, ...]]

COUNTS = 1 << 53  # steps; what a float64 counts exactly
LATER = {"amsgrad", "maximize"}  # options that states of earlier versions lack: off


class Optimizer:
    """Base class: holds groups of parameters with their options.

    Args:
        params: tensors that require a gradient, or groups: dictionaries with "params" and any of
            the options.
        defaults: the options of groups that do not set their own.

    Raises:
        ValueError: for no parameters, one given twice, or an option out of range.
        TypeError: for anything but trainable tensors.

    Example:
        >>> import nn
        >>> class Signs(nn.Optimizer):
        ...     def __init__(self, params, lr):
        ...         super().__init__(params, {"lr": lr})
        ...     def update(self, p, g, slots, t, group):
        ...         p -= group["lr"] * np.sign(g)
        >>> p = nn.Parameter([1.0])
        >>> (p * 5.0).sum().backward()
        >>> Signs([p], lr=0.25).step()
        >>> p.item()
        0.75

    The same with arithmetic only:

        >>> def descend(p, g, rate):
        ...     return (p - rate * g / (g * g) ** 0.5,)
        >>> class Directions(Signs):
        ...     def rule(self, group):
        ...         return descend
        ...     def numbers(self, t, group):
        ...         return (group["lr"],)
        >>> Directions([p], lr=0.25).step()
        >>> p.item()
        0.5
    """

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        given = _listed(type(self).__name__, params)
        if not given:
            raise ValueError(f"{type(self).__name__}: got no parameters; pass model.parameters(), of a "
                             f"model that keeps its modules in nn.ModuleList, not in a plain list; an "
                             f"iterator that another optimiser was made from is used up")
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[int, dict[str, Any]] = {}  # by the parameter's position over all groups
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    # ----- what a rule defines -----

    def slots(self, group: Group) -> dict[str, float]:
        """Names of the arrays kept for each parameter, and their initial values."""
        return {}

    def rule(self, group: Group) -> Rule | None:
        """What `tg.overwrite` does to (p, *slots, g), for the options of a group; None: see `update`."""
        return None

    def numbers(self, t: int, group: Group) -> tuple[float, ...]:
        """What the rule gets beside the arrays at step t = 1, 2, ..."""
        return ()

    def update(self, p: np.ndarray, g: np.ndarray, slots: Slots, t: int, group: Group) -> None:
        """Without a rule: change `p` and its slots in place, given the gradient `g`, at step t = 1, 2, ..."""
        raise NotImplementedError(f"{type(self).__name__} has no update(); define it")

    def check(self, group: Group) -> None:
        """Refuse an option that is no number of at least 0.

        Raises:
            TypeError, ValueError: naming the option and its value.
        """
        for key in self.defaults:
            pair = key == "betas" and isinstance(group[key], tuple | list)
            for n in group[key] if pair else [group[key]]:
                if isinstance(n, bool | np.bool) and key in ("lr", "momentum", "weight_decay"):
                    raise TypeError(f"{type(self).__name__}: {key} must be a number, got {n!r}")
                tg.arguments.number(n, type(self).__name__, key, 0)

    # ----- groups -----

    def add_param_group(self, group: Group) -> None:
        """Add a dictionary with "params" and options of its own.

        Raises:
            ValueError, TypeError: if it does not fit; nothing is added then.
        """
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(f"{name}: a group is a dictionary with 'params', got "
                            f"{list(group) if isinstance(group, dict) else type(group).__name__}")
        if unknown := set(group) - set(self.defaults) - {"params", "initial_lr"}:
            raise ValueError(f"{name}: unknown option {', '.join(sorted(unknown))}; there are "
                             f"{', '.join(self.defaults)}")
        params = _listed(name, group["params"])
        known = {id(p) for p in self.parameters()}
        for i, p in enumerate(params):
            tg.arguments.instance(p, tg.Tensor, name, f"a tensor as parameter {i}",
                                  "; pass model.parameters()")
            if not p.is_leaf or p.dtype.kind != "f":
                raise TypeError(f"{name}: parameter {i} must be a floating point leaf, got a tensor of "
                                f"{p.dtype}{'' if p.is_leaf else ' that an op computed'}")
            if id(p) in known:
                raise ValueError(f"{name}: parameter {i}, {p.name or 'unnamed'} of shape {p.shape}, is "
                                 f"given twice")
            known.add(id(p))
        options = {**self.defaults, **group}
        self.check(options)
        self.param_groups.append({key: v.item() if getattr(v, "ndim", None) == 0 else v
                                  for key, v in options.items()} | {"params": params})

    def parameters(self) -> list[tg.Tensor]:
        """The parameters of all groups."""
        return [p for group in self.param_groups for p in group["params"]]

    def positions(self) -> list[range]:
        """The positions of each group's parameters."""
        ends = itertools.accumulate((len(group["params"]) for group in self.param_groups), initial=0)
        return [range(first, end) for first, end in itertools.pairwise(ends)]

    def __repr__(self) -> str:
        """A line for each group: its options, how much it updates, and how often it did."""
        lines = []
        for group, positions in zip(self.param_groups, self.positions()):
            options = ", ".join(f"{key}={value!r}" for key, value in group.items() if key in self.defaults)
            steps = max([self.state.get(i, {}).get("step", 0) for i in positions], default=0)
            lines.append(f"{type(self).__name__}({options}): {len(positions)} parameters of "
                         f"{sum(p.size for p in group['params']):,} numbers, {steps:,} steps done")
        return "\n".join(lines)

    @tg.advice.advised
    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters():
            p.grad = None

    # ----- a step -----

    def step(self) -> None:
        """Update every parameter that has a gradient.

        Raises:
            ValueError, TypeError: if a gradient has another shape than its parameter, or is not of real
                numbers. RuntimeError: if a parameter cannot be changed. Nothing has changed then.
        """
        work = [[(i, p, p.grad.numpy() if isinstance(p.grad, tg.Tensor) else np.asarray(p.grad))
                 for i, p in zip(positions, group["params"]) if p.grad is not None]
                for group, positions in zip(self.param_groups, self.positions())]
        for i, p, g in itertools.chain(*work):
            if g.shape != p.shape:
                raise ValueError(f"{type(self).__name__}: the gradient of parameter {i}, "
                                 f"{p.name or 'unnamed'}, has shape {g.shape}, the parameter {p.shape}")
            if g.dtype.kind not in "fiub":
                raise TypeError(f"{type(self).__name__}: the gradient of parameter {i}, "
                                f"{p.name or 'unnamed'}, must be of real numbers, got {g.dtype}")
        parts = [[(i, p.mutate(), g) for i, p, g in part] for part in work]  # or one cannot be changed
        for group, part in zip(self.param_groups, parts):
            self._step(group, part)

    def _step(self, group: Group, work: list[tuple[int, np.ndarray, np.ndarray]]) -> None:
        """The step of a group's parameters: (position, values, gradient)."""
        starts, rule = self.slots(group), self.rule(group)
        passes: dict[Any, list[tuple[dict[str, Any], list[np.ndarray]]]] = {}
        narrow = []
        for i, values, g in work:
            g = np.negative(g) if group.get("maximize") else g
            state = self.state.setdefault(i, {"step": 0})
            if values.dtype == np.float16:
                narrow.append((values, state))
                values = _master(state, values)
            if missing := [key for key in starts if key not in state]:
                fresh = {key: np.full(values.shape, starts[key], values.dtype) for key in missing}
                state.update(fresh, step=0)
            t, slots = state["step"] + 1, [state[key] for key in starts]
            if rule is None:
                self.update(values, g, dict(zip(starts, slots)), t, group)
                state["step"] = t
            else:
                g = g if g.dtype == values.dtype else g.astype(values.dtype)
                passes.setdefault((t, values.dtype), []).append((state, [values, *slots, g]))
        for (t, _), found in passes.items():
            tg.overwrite(rule, [row for _, row in found], self.numbers(t, group))
            for state, _ in found:
                state["step"] = t
        with np.errstate(over="ignore"):
            for values, state in narrow:
                values[...] = state["master"]

    # ----- state -----

    def _kept(self, p: tg.Tensor, group: Group) -> set[str]:
        """What is saved of a parameter's state."""
        return {"step", *self.slots(group), *["master"] * (p.dtype == np.float16)}

    def state_dict(self) -> dict[str, Any]:
        """{"arrays": {"0.momentum": array, ...}, "groups": [options, ...]}: arrays and numbers only.

        A parameter's state is filed under its position, listed in "params" of its group; step
        counts are 0-d arrays.
        """
        arrays: dict[str, np.ndarray] = {}
        for group, positions in zip(self.param_groups, self.positions()):
            for i, p in zip(positions, group["params"]):
                kept = self._kept(p, group)
                if kept <= set(state := self.state.get(i, {})):  # or it lacks one, by a changed option
                    arrays.update({f"{i}.{key}": np.array(state[key]) for key in state if key in kept})
        return {"arrays": arrays, "groups": [{**group, "params": list(positions)} for group, positions
                                             in zip(self.param_groups, self.positions())]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the `state_dict()` of an optimiser over the same parameters.

        Raises:
            ValueError, TypeError: if groups, options, shapes or kinds of numbers do not fit; nothing has
                changed then.
        """
        name = type(self).__name__
        if not (isinstance(state, Mapping) and isinstance(state.get("arrays"), Mapping)
                and isinstance(state.get("groups"), list)):
            got = ", ".join(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise ValueError(f"{name}: a saved state has 'arrays' and 'groups', got {got}; PyTorch's "
                             f"optimiser states have another form")
        later = LATER & set(self.defaults)
        for saved in state["groups"]:
            known = {*self.defaults, "params"}
            if not isinstance(saved, Mapping) or {*saved, *later} - {"initial_lr"} != known:
                got = ", ".join(sorted(map(str, saved))) if isinstance(saved, Mapping) else repr(saved)
                raise ValueError(f"{name}: the saved state has the options {got}; it is another optimiser's, "
                                 f"this one has {', '.join(self.defaults)}")
        sizes, own = [np.size(saved["params"]) for saved in state["groups"]], [*map(len, self.positions())]
        if sizes != own:
            raise ValueError(f"{name}: the saved state has groups of {sizes} parameters, this optimiser of "
                             f"{own}")
        groups = [dict.fromkeys(later, False) | {
            key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()
            if key != "params"} for saved in state["groups"]]
        for group in groups:
            self.check(group)
            tg.arguments.number(group.get("initial_lr", 0), name, "initial_lr", 0)
            if infinite := [key for key, value in group.items() if math.inf in (
                    value if isinstance(value, tuple) else (value,))]:
                raise ValueError(f"{name}: the saved {infinite[0]} is {group[infinite[0]]}")
        kept: dict[int, dict[str, Any]] = {}
        for key, value in state["arrays"].items():
            i, slot, array = self._read_entry(str(key), np.asarray(value))
            kept.setdefault(i, {})[slot] = array
        for group, positions in zip(groups, self.positions()):
            for i in positions:
                expected = self._kept(self.parameters()[i], group)
                if i in kept and set(kept[i]) != expected:
                    raise ValueError(f"{name}: the saved state of parameter {i} has "
                                     f"{', '.join(sorted(kept[i]))}, expected {', '.join(sorted(expected))}")
        self.state = kept
        for group, saved in zip(self.param_groups, groups):
            group.update(saved)

    def _read_entry(self, key: str, value: np.ndarray) -> tuple[int, str, Any]:
        """(position, slot, copy of the array or the step count) of an entry of a saved state, checked."""
        name, params = type(self).__name__, self.parameters()
        i, _, slot = key.partition(".")
        if not i.isdecimal() or str(int(i)) != i or int(i) >= len(params):
            raise ValueError(f"{name}: the saved {key!r} belongs to none of the {len(params)} parameters")
        p, is_count = params[int(i)], slot == "step"
        kinds, shape = ("iu", ()) if is_count else ("fiu", p.shape)
        if value.dtype.kind not in kinds or value.shape != shape:
            raise ValueError(f"{name}: the saved {key!r} is {value.dtype} of shape {value.shape}, expected "
                             f"{'a count' if is_count else f'{p.dtype} of shape {shape}'}")
        if is_count and not 0 <= value <= COUNTS:
            raise ValueError(f"{name}: the saved {key!r} is {value}, expected a count up to {COUNTS}")
        return int(i), slot, int(value) if is_count else np.array(
            value, np.promote_types(p.dtype, np.float32), order="C")


def _master(state: dict[str, Any], values: np.ndarray) -> np.ndarray:
    """The float32 numbers of which a float16 parameter is the rounded copy; new where it was changed."""
    master = state.get("master", values)
    with np.errstate(over="ignore"):
        same = master.astype(values.dtype) == values
    state["master"] = np.where(same, master, values).astype(np.float32)
    return state["master"]


def _listed(name: str, params: Any) -> list[Any]:
    """One tensor or group, or many, as a list."""
    if isinstance(params, set | frozenset):
        raise TypeError(f"{name}: a set has no order, and saved states go by position; pass a list")
    tg.arguments.instance(params, Iterable, name, "tensors or groups", "; pass model.parameters()")
    return [params] if isinstance(params, tg.Tensor | dict) else list(params)


def no_decay(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: weights, which decay, and biases and normalisation parameters, which do not.

    Parameters with at most one axis count as biases.

    Example:
        >>> import nn
        >>> groups = no_decay(nn.Linear(3, 2), 0.01)
        >>> [(len(g["params"]), g["weight_decay"]) for g in groups]
        [(1, 0.01), (1, 0.0)]
    """
    params = list(tg.arguments.instance(model, Module, "no_decay", "a module first").parameters())
    undecayed = {id(p) for m in model.modules() for p in m.parameters() if isinstance(m, Norm) or p.ndim <= 1}
    return [{"params": [p for p in params if id(p) not in undecayed], "weight_decay": weight_decay},
            {"params": [p for p in params if id(p) in undecayed], "weight_decay": 0.0}]
