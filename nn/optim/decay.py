"""Parameter groups: weight decay for weights, none for biases and normalisation."""
from __future__ import annotations

from typing import Any

from ..layers.module import Module
from ..layers.norm import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm

NORMS = (BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm)


def no_decay(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two parameter groups: weights, which decay, and biases and normalisation parameters, which do not.

    Parameters with at most one axis count as biases.

    Example:
        >>> import nn
        >>> groups = no_decay(nn.Linear(3, 2), 0.01)
        >>> [(len(g["params"]), g["weight_decay"]) for g in groups]
        [(1, 0.01), (1, 0.0)]
    """
    if not isinstance(model, Module):
        raise TypeError(f"no_decay: expects a module first, got {type(model).__name__}")
    params = list(model.parameters())
    spared = {id(p) for m in model.modules() if isinstance(m, NORMS) for p in m.parameters()}
    spared |= {id(p) for p in params if p.ndim <= 1}
    return [{"params": [p for p in params if id(p) not in spared], "weight_decay": weight_decay},
            {"params": [p for p in params if id(p) in spared], "weight_decay": 0.0}]
