"""Training: epochs of batches, validation, checkpoints, and exact resuming.

A run depends only on the weights, the optimiser, the schedules and the generators; the checkpoint after
each epoch holds all of them. A resumed run gives the same bits as one that was never interrupted; an
interrupted epoch is started again.
"""
from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .checkpoint import Run
from .checks import (
    EMPTY, check_model, check_run, check_schedules, check_weights, checkpoint_file, one_value, pairs,
)
from ..optim.clip import clip_grad_norm_
from .history import History, Row
from ..layers.module import Module, evaluating
from ..optim.optimizer import Optimizer
from ..optim.schedule import ReduceLROnPlateau
from .progress import Callback, ProgressBar
from .weights import save


class _Mean:
    """Running means of loss and, for class targets, accuracy."""

    def __init__(self) -> None:
        self.samples, self.loss, self.hits, self.classed = 0, 0.0, 0, False

    def add(self, n: int, loss: float, output: Any, y: Any) -> None:
        self.samples += n
        self.loss += loss * n
        if isinstance(y, tuple) or not isinstance(output, tg.Tensor) or output.shape[1:] in ((), (1,)):
            return  # several outputs or targets, or no classes
        labels = np.asarray(y)
        if output.ndim == 2 and labels.dtype.kind in "iu" and labels.shape == (n,):
            self.classed = True
            self.hits += int((output.detach().numpy().argmax(axis=1) == labels).sum())

    def row(self, prefix: str = "") -> Row:
        n = max(1, self.samples)
        row = {f"{prefix}loss": self.loss / n}
        return {**row, f"{prefix}accuracy": self.hits / n} if self.classed else row


def evaluate(model: Module, loader: Any, loss: Callable[..., tg.Tensor] = tg.cross_entropy) -> Row:
    """{"loss", "accuracy"} of a model over a loader's batches, in evaluation mode, unrecorded.

    The model's mode is restored afterwards.

    Raises:
        ValueError: if there are no batches. TypeError: for a Dataset instead of a loader, batches
            that are not (x, y), or a loss that is not a tensor with one value.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> sorted(nn.evaluate(net, nn.data.DataLoader(nn.data.digits("test"), 128)))
        ['accuracy', 'loss']
    """
    check_model("evaluate", model, loss, loader)
    mean = _Mean()
    with evaluating(model), tg.no_grad():
        for x, y in pairs("evaluate", loader):
            output = model(tg.tensor(x))
            mean.add(len(x), one_value("evaluate", loss(output, y)), output, y)
    if not mean.samples:
        raise ValueError(EMPTY.format("evaluate: the"))
    return mean.row()


def _train_epoch(model: Module, loader: Any, optimizer: Optimizer, loss: Callable[..., tg.Tensor],
                 schedule: Any, clip: float | None, callbacks: Sequence[Callback]) -> Row:
    mean, start = _Mean(), time.perf_counter()
    model.train()
    for x, y in pairs("fit", loader):
        optimizer.zero_grad()
        output = model(tg.tensor(x))
        value = loss(output, y)
        number = one_value("fit", value)
        if not math.isfinite(number):
            raise FloatingPointError(f"fit: the loss is {number} at sample {mean.samples}; lower the "
                                     f"learning rate, clip gradients, or look for nan in the data")
        value.backward()
        if clip is not None:
            clip_grad_norm_(optimizer._params(), clip)
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if schedule is not None:
            schedule.step()
        mean.add(len(x), number, output, y)
        speed = mean.samples / (time.perf_counter() - start)
        row = {**mean.row(), "images_per_second": speed, "lr": lr}
        for c in callbacks:
            c.batch_end(row)
    if not mean.samples:
        raise ValueError(EMPTY.format("fit: the training"))
    return {**row}  # the callbacks may have kept theirs


def _step_epochwise(schedule: Any, row: Row) -> None:
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(row.get("valid_loss", row["loss"]))
    elif schedule is not None:
        schedule.step()


def _is_best(history: History) -> bool:
    key = next(k for k in ("valid_accuracy", "valid_loss", "accuracy", "loss") if k in history.last)
    return history.best(key) is history.last


def fit(model: Module, train: Any, valid: Any = None, *, epochs: int, optimizer: Optimizer,
        loss: Callable[..., tg.Tensor] = tg.cross_entropy, schedule: Any = None,
        epoch_schedule: Any = None, clip_grad_norm: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
        callbacks: Sequence[Callback] | None = None) -> History:
    """Train a model and return what was measured, one row per epoch.

    Args:
        model: called with a tensor of a batch's inputs.
        train: an iterable of (x, y) batches of arrays, usually an `nn.data.DataLoader`; one of
            PyTorch's works too, but its order is not in the checkpoint.
        valid: the same, to evaluate on after each epoch.
        epochs: how many in all, including those before a resume.
        optimizer: over the model's parameters.
        loss: `loss(output, y)`, a tensor with one value, the mean of the batch.
        schedule: stepped after each batch.
        epoch_schedule: an alternative, stepped after each epoch; `ReduceLROnPlateau` gets the
            validation loss.
        clip_grad_norm: the largest joint norm allowed for the gradients of the optimizer's parameters.
        checkpoint: a folder for `last.safetensors` (the whole run, after each epoch) and
            `best.safetensors` (the weights with the best validation accuracy, else loss).
        resume: continue from the folder's `last.safetensors`, if there is one.
        callbacks: objects told of each step; by default a progress bar; () for silence.

    Returns:
        the history; after Ctrl-C its `interrupted` is True, and the checkpoint is that of the last
        complete epoch.

    Raises:
        FloatingPointError: if the loss or, after an epoch, a weight is not finite.
        ValueError, RuntimeError: if `resume` finds a checkpoint that does not fit, a loader gives no
            batches, the optimizer holds none of the model's parameters, or a schedule is another's.
        TypeError: if an argument is not a module, optimiser, schedule, callback or (x, y) batch, as
            it should be.
        OSError: if the checkpoint cannot be written; the previous one is left as it was.

    Example:
        >>> import nn, numpy as np
        >>> rng = np.random.default_rng(0)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=rng))
        >>> train = nn.data.DataLoader(nn.data.digits("train"), 64, shuffle=True, rng=rng)
        >>> history = nn.fit(net, train, epochs=2, optimizer=nn.Adam(net.parameters(), 0.01),
        ...                  callbacks=())
        >>> history.last["accuracy"] > 0.8
        True
    """
    check_model("fit", model, loss, train, valid)
    check_run(model, optimizer, epochs, callbacks)
    check_schedules(optimizer, schedule, epoch_schedule)
    callbacks = [ProgressBar()] if callbacks is None else list(callbacks)
    last, history = checkpoint_file(checkpoint, resume), History()
    run = Run(model, optimizer, {"batch": schedule, "epoch": epoch_schedule},
              {"loader": getattr(train, "rng", None), "valid": getattr(valid, "rng", None)}, history)
    if last is not None and resume and last.exists():
        run.load(last)
    elif last is not None:
        run.save(last)
    try:
        for epoch in range(len(history) + 1, epochs + 1):
            for c in callbacks:
                c.epoch_begin(epoch, epochs, len(train) if hasattr(train, "__len__") else 0)
            start = time.perf_counter()
            row = _train_epoch(model, train, optimizer, loss, schedule, clip_grad_norm, callbacks)
            check_weights(model, epoch)
            if valid is not None:
                row.update({f"valid_{k}": v for k, v in evaluate(model, valid, loss).items()})
            _step_epochwise(epoch_schedule, row)
            history.rows.append({"epoch": epoch, **row, "seconds": time.perf_counter() - start})
            if last is not None:
                if _is_best(history):
                    save(model, last.with_name("best.safetensors"))
                run.save(last)
            for c in callbacks:
                c.epoch_end(history.last)
    except KeyboardInterrupt:
        history.interrupted = True
    finally:
        for c in callbacks:
            c.close()
    return history
