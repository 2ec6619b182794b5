"""Checks on what `fit` and `evaluate` are given: mistakes that would train nothing, or something else.

May import the engine's public names only.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..data.dataset import Dataset
from ..layers.module import Module
from ..optim.optimizer import Optimizer
from ..optim.schedule import ReduceLROnPlateau
from .progress import Callback

EMPTY = ("{} loader gave no batches; its data set is empty or, with drop_last, smaller than a batch, "
         "or it is an iterator that was used up")
BATCHES = "pass nn.data.DataLoader(nn.data.Dataset(x, y), 64)"


def check_model(op: str, model: Any, loss: Any, *loaders: Any) -> None:
    """Refuse what is not a module or a loss, and a data set where batches are wanted."""
    if not isinstance(model, Module):
        raise TypeError(f"{op}: expects a module first, got {type(model).__name__}")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"{op}: loss must be a function of (output, y), such as tg.cross_entropy or "
                        f"nn.CrossEntropyLoss() with its brackets, got {loss!r}")
    for loader in loaders:
        if isinstance(loader, Dataset):
            raise TypeError(f"{op}: expects batches, got a Dataset; pass nn.data.DataLoader(dataset, 64)")


def check_run(model: Module, optimizer: Any, epochs: Any, callbacks: Any) -> None:
    """Refuse an optimiser that does not train this model, and what cannot be counted or called."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"fit: optimizer must be an optimiser, as nn.Adam(model.parameters()), got "
                        f"{optimizer!r}")
    own = {id(p) for p in model.parameters() if p.requires_grad}
    if not any(id(p) in own for p in optimizer._params()):
        raise ValueError("fit: the optimizer holds none of the model's parameters that require a gradient; "
                         "make it from model.parameters() of this model (requires_grad_() ends a freeze)")
    if not hasattr(epochs, "__index__") or epochs < 0:
        raise ValueError(f"fit: epochs must be a whole number of at least 0, got {epochs!r}")
    listed = isinstance(callbacks, list | tuple)
    if callbacks is not None and not (listed and all(isinstance(c, Callback) for c in callbacks)):
        raise TypeError(f"fit: callbacks must be a list of nn.Callback objects, got {callbacks!r}")


def check_schedules(optimizer: Optimizer, schedule: Any, epoch_schedule: Any) -> None:
    """Refuse schedules that would set no rate, another optimiser's, or each other's."""
    for name, s in (("schedule", schedule), ("epoch_schedule", epoch_schedule)):
        if s is None:
            continue
        if isinstance(s, type) or not callable(getattr(s, "step", None)):
            raise TypeError(f"fit: {name} must be a schedule made from the optimizer, got {s!r}")
        if getattr(s, "optimizer", optimizer) is not optimizer:
            raise ValueError(f"fit: {name} {type(s).__name__} sets the rates of another optimizer; make it "
                             f"from the one that fit is given")
    if isinstance(schedule, ReduceLROnPlateau):
        raise TypeError("fit: ReduceLROnPlateau looks at the loss of an epoch; give it as epoch_schedule")
    if schedule is not None and epoch_schedule is not None:
        raise ValueError("fit: schedule sets the rate at every batch and would undo what epoch_schedule "
                         "sets; give one of them (nn.SequentialLR chains schedules)")


def checkpoint_file(path: str | os.PathLike[str] | None, resume: bool) -> Path | None:
    """The file of a run in the folder of its checkpoints, which need not be there yet."""
    if path is None:
        if resume:
            raise ValueError("fit: resume=True needs checkpoint=, the folder to resume from")
        return None
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"fit: checkpoint must be a folder, {os.fspath(path)!r} is a file; name a "
                                 f"folder, in which last.safetensors holds the run")
    return folder / "last.safetensors"


def check_weights(model: Module, epoch: int) -> None:
    """Refuse to go on, and to overwrite a good checkpoint, with weights that are lost."""
    for name, p in model.named_parameters():
        if not np.isfinite(p.detach().numpy()).all():
            raise FloatingPointError(f"fit: after epoch {epoch}, {name} holds nan or inf; the checkpoint is "
                                     f"left as it was; lower the learning rate or clip gradients")


def pairs(op: str, loader: Any) -> Iterator[tuple[Any, Any]]:
    """The loader's batches; a bare array is not taken apart for inputs and targets."""
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            got = (f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | dict)
                   else f"{type(batch).__name__} of shape {np.shape(batch)}")
            raise TypeError(f"{op}: expects batches (x, y), got {got}; {BATCHES}")
        yield batch[0], batch[1]


def one_value(op: str, value: Any) -> float:
    """The loss as a number."""
    if not isinstance(value, tg.Tensor) or value.size != 1:
        got = f"one of shape {value.shape}" if isinstance(value, tg.Tensor) else type(value).__name__
        raise TypeError(f"{op}: loss(output, y) must give a tensor with one value, the mean of the batch, "
                        f"got {got}; compute it with tg's functions and reduction='mean'")
    return value.item()
