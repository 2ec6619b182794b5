"""What all optimisers share: parameter groups, state by position, and the loop of a step.

An optimiser defines `_update(p, g, state, group)`, which changes the array `p` in place given the
gradient `g`. PyTorch's rules and defaults throughout; float32 stays float32.
"""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .module import Module
from .parameter import Parameter

State = dict[str, Any]


class Optimizer:
    """Base class: holds groups of parameters with their options.

    Args:
        params: tensors that require a gradient, or groups: dictionaries with "params" and any of
            the options.
        defaults: the options of groups that do not say otherwise.

    Raises:
        ValueError: for no parameters, one given twice, or a negative option.
        TypeError: for something that is no trainable tensor.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        given = list(params) if not isinstance(params, tg.Tensor) else [params]
        if not given:
            raise ValueError(f"{name}: got no parameters; pass model.parameters()")
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[int, State] = {}  # by the parameter's position
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a dictionary with "params" and options of its own."""
        name = type(self).__name__
        unknown = set(group) - set(self.defaults) - {"params"}
        if unknown:
            raise ValueError(f"{name}: unknown option {', '.join(sorted(unknown))}; there are "
                             f"{', '.join(self.defaults)}")
        params = group["params"]
        params = [params] if isinstance(params, tg.Tensor) else list(params)
        known = {id(p) for p in self._params()}
        for i, p in enumerate(params):
            if not isinstance(p, tg.Tensor) or not p.is_leaf or p.dtype.kind != "f":
                raise TypeError(f"{name}: parameter {i} must be a floating point leaf tensor, got "
                                f"{type(p).__name__}")
            if id(p) in known:
                raise ValueError(f"{name}: parameter {i} of shape {p.shape} is given twice")
            known.add(id(p))
        options = {**self.defaults, **group, "params": params}
        for key, value in options.items():
            if isinstance(value, int | float) and value < 0:
                raise ValueError(f"{name}: {key} must not be negative, got {value}")
        self.param_groups.append(options)

    def _params(self) -> list[tg.Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self._params():
            p.grad = None

    def step(self) -> None:
        """Change every parameter that has a gradient."""
        position = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self.state.setdefault(position, {})
                    self._update(p.mutate(), p.grad.detach().numpy(), state, group)
                position += 1

    def _update(self, p: np.ndarray, g: np.ndarray, state: State, group: dict[str, Any]) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """{"arrays": {"0.momentum": array, ...}, "groups": [options, ...]}: arrays and numbers only.

        A parameter's state is filed under its position; step counts are arrays of no axes.
        """
        arrays = {f"{i}.{key}": np.array(value) for i, state in sorted(self.state.items())
                  for key, value in state.items() if key != "scratch"}
        groups = [{k: v for k, v in g.items() if k != "params"} for g in self.param_groups]
        return {"arrays": arrays, "groups": groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()` of an optimiser over the same parameters.

        Raises:
            ValueError: if groups or shapes do not fit; nothing has changed then.
        """
        name, params = type(self).__name__, self._params()
        if len(state["groups"]) != len(self.param_groups):
            raise ValueError(f"{name}: the saved state has {len(state['groups'])} groups, this optimiser "
                             f"{len(self.param_groups)}")
        new: dict[int, State] = {}
        for key, value in state["arrays"].items():
            i, _, field = key.partition(".")
            if not i.isdigit() or int(i) >= len(params):
                raise ValueError(f"{name}: the saved state {key!r} has no parameter among {len(params)}")
            value = np.array(value)
            if value.ndim and value.shape != params[int(i)].shape:
                raise ValueError(f"{name}: the saved state {key!r} has shape {value.shape}, parameter {i} "
                                 f"has {params[int(i)].shape}")
            new.setdefault(int(i), {})[field] = value if value.ndim or field != "step" else int(value)
        self.state = new
        for group, saved in zip(self.param_groups, state["groups"]):
            group.update({k: tuple(v) if isinstance(v, list) else v for k, v in saved.items()})


def scratch(state: State, p: np.ndarray) -> np.ndarray:
    """An array like `p` to compute in, kept between steps, not saved."""
    if "scratch" not in state:
        state["scratch"] = np.empty_like(p)
    return state["scratch"]


def decayed(p: np.ndarray, g: np.ndarray, weight_decay: float) -> np.ndarray:
    """The gradient with L2 decay in it."""
    return g + weight_decay * p if weight_decay else g


def no_decay(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: weights, decayed; biases and normalisation (parameters of one axis), not.

    Example:
        >>> import nn
        >>> groups = no_decay(nn.Linear(3, 2), 0.01)
        >>> [(len(g["params"]), g["weight_decay"]) for g in groups]
        [(1, 0.01), (1, 0.0)]
    """
    params: list[Parameter] = list(model.parameters())
    return [{"params": [p for p in params if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0}]
