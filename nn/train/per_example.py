"""The gradient of every example of a batch: who influences what is learned, and by how much."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module


def per_example_grads(model: Module, loss: Callable[[tg.Tensor, Any], tg.Tensor], x: Any, y: Any,
                      ) -> dict[str, tg.Tensor]:
    """The gradients of `loss(model(x[n:n+1]), y[n:n+1])` for every n, in one backward pass through the model.

    `.grad` stays as it is. What is drawn at random (dropout) is drawn once, for the whole batch.

    Args:
        model: each row of its result is of one row of x: batch norm is in evaluation mode.
        loss: gets one row of the model's result and of y, and returns one value.
        x: (N, ...), floating point.
        y: (N, ...), a tensor or array.

    Returns:
        by name, (N, *p.shape) of each parameter that requires a gradient.

    Raises:
        ValueError: if x and y have different lengths, the loss is not one value, or the model mixes
            the examples; its buffers are then as they were. TypeError: if x is not floating point.

    Example:
        >>> import nn
        >>> grads = nn.per_example_grads(nn.Linear(3, 2), tg.cross_entropy, tg.ones(5, 3), np.zeros(5, int))
        >>> {name: g.shape for name, g in grads.items()}
        {'weight': (5, 2, 3), 'bias': (5, 2)}
    """
    tg.arguments.instance(model, Module, "per_example_grads", "a module first")
    tg.arguments.instance(loss, Callable, "per_example_grads", "a function, the loss, second")
    labels = y.detach().numpy() if isinstance(y, tg.Tensor) else np.asarray(y)
    if np.ndim(x) < 1 or labels.shape[:1] != np.shape(x)[:1]:
        raise ValueError(f"per_example_grads: x and y must have an axis of examples, the first, of one "
                         f"length, got shapes {np.shape(x)} and {labels.shape}")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    buffers = [*model.buffers()]
    kept = [b.detach().numpy().copy() for b in buffers]
    try:
        out, pullback = tg.per_example_vjp(model, x, [*parameters.values()])
        grads = pullback(_cotangent(loss, out, labels))
    except BaseException:
        tg.change(buffers, lambda _: kept)
        raise
    return dict(zip(parameters, grads))


def _cotangent(loss: Callable[[tg.Tensor, Any], tg.Tensor], out: tg.Tensor, labels: np.ndarray) -> np.ndarray:
    """The gradient of each row's own loss with respect to the model's result."""
    values = out.detach().numpy()
    if not len(values):
        return values

    def losses(*rows: tg.Tensor) -> tuple[tg.Tensor, ...]:
        return tuple([tg.arguments.instance(
            loss(row, labels[n:n + 1]), tg.Tensor, "per_example_grads", "a loss that returns a tensor",
            "; does it lack a return, or end in item()?") for n, row in enumerate(rows)])
    found, pullback = tg.vjp(losses, *[values[n:n + 1] for n in range(len(values))])
    for value in found:
        if value.size != 1:
            raise ValueError(f"per_example_grads: the loss of one example must be one value, got shape "
                             f"{value.shape}; sum it, or leave reduction='none' out")
    return np.concatenate([g.numpy() for g in pullback(*[np.ones(v.shape, v.dtype) for v in found])])
