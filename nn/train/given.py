"""What training is given, by whoever calls it: refused where it would not train, with what to pass."""
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..data import Dataset, ImageFolder, Subset
from ..layers.module import Module


def check_model(op: str, model: Any, loss: Any, *loaders: Any) -> None:
    """Refuse what is not a module or a loss, and a data set where batches are wanted."""
    tg.arguments.instance(model, Module, op, "a module first")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"{op}: loss must be a function of (output, y), such as tg.cross_entropy or "
                        f"nn.CrossEntropyLoss() with its brackets, got {loss!r}")
    for loader in loaders:
        if isinstance(loader, Dataset | ImageFolder | Subset):
            raise TypeError(f"{op}: expects batches, got a {type(loader).__name__}; pass "
                            f"nn.data.DataLoader(dataset, 64)")
        if not (np.iterable(loader) or op == "fit" and loader is None):
            raise TypeError(f"{op}: expects an iterable of batches, such as nn.data.DataLoader(dataset, 64), "
                            f"got {type(loader).__name__}")


def pair(op: str, batch: Any, instead: str = "nn.data.DataLoader(nn.data.Dataset(x, y), 64)"
         ) -> tuple[Any, Any]:
    """A batch that is one: (x, y)."""
    if not isinstance(batch, tuple | list) or len(batch) != 2:  # two rows of an array are no pair
        got = (f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | dict)
               else f"{type(batch).__name__} of shape {np.shape(batch)}")
        raise TypeError(f"{op}: expects batches (x, y), got {got}; pass {instead}")
    x, y = batch
    return x, y


def one_value(op: str, value: Any) -> tg.Tensor:
    """What a loss gave, if it can be descended."""
    if not isinstance(value, tg.Tensor) or value.size != 1:
        got = f"one of shape {value.shape}" if isinstance(value, tg.Tensor) else type(value).__name__
        raise TypeError(f"{op}: loss(output, y) must give a tensor with one value, the mean of the batch, "
                        f"got {got}; compute it with tg's functions and reduction='mean'")
    return value
