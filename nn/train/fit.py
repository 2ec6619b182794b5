"""Training: epochs of batches, validation, checkpoints, and exact resuming.

A run depends only on the weights, the optimiser, the schedules and the generators; the checkpoint after
each epoch holds all of them. A resumed run gives the same bits as one that was never interrupted; an
interrupted epoch is started again. Mistakes that would train nothing, or something else, are refused.
"""
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..data.dataset import Dataset
from ..layers.module import Module, evaluating
from ..optim.clip import clip_grad_norm_
from ..optim.optimizer import Optimizer
from ..optim.schedule import ReduceLROnPlateau
from .report import Callback, History, ProgressBar, Row
from .saving import Run, save

BEST_BY = ("valid_accuracy", "valid_loss", "accuracy", "loss")  # the first that is measured


class _Mean:
    """Running means of loss and, for class targets, accuracy."""

    def __init__(self) -> None:
        self.samples, self.sums = 0, {"loss": 0.0}

    def add(self, n: int, loss: float, output: Any, y: Any) -> None:
        self.samples += n
        self.sums["loss"] += loss * n
        if (isinstance(output, tg.Tensor) and not isinstance(y, tuple)  # one output and one target
                and output.ndim == 2 and output.shape[1] > 1):
            labels = np.asarray(y)
            if labels.dtype.kind in "iu" and labels.shape == (n,):
                hits = (output.detach().numpy().argmax(axis=1) == labels).sum()
                self.sums["accuracy"] = self.sums.get("accuracy", 0.0) + float(hits)

    def row(self) -> Row:
        return {name: total / max(1, self.samples) for name, total in self.sums.items()}


def _losses(op: str, model: Module, loader: Any, loss: Callable[..., tg.Tensor], mean: _Mean,
            what: str) -> Iterator[tg.Tensor]:
    """The loss of each batch, which `mean` takes in."""
    for batch in loader:
        if not isinstance(batch, tuple | list) or len(batch) != 2:  # two rows of an array are no pair
            got = (f"a {type(batch).__name__} of {len(batch)}" if isinstance(batch, tuple | list | dict)
                   else f"{type(batch).__name__} of shape {np.shape(batch)}")
            raise TypeError(f"{op}: expects batches (x, y), got {got}; pass "
                            f"nn.data.DataLoader(nn.data.Dataset(x, y), 64)")
        x, y = batch
        output = model(tg.tensor(x))
        value = loss(output, y)
        if not isinstance(value, tg.Tensor) or value.size != 1:
            got = f"one of shape {value.shape}" if isinstance(value, tg.Tensor) else type(value).__name__
            raise TypeError(f"{op}: loss(output, y) must give a tensor with one value, the mean of the "
                            f"batch, got {got}; compute it with tg's functions and reduction='mean'")
        mean.add(len(x), value.item(), output, y)
        yield value
    if not mean.samples:
        raise ValueError(f"{op}: {what} loader gave no batches; its data set is empty or, with drop_last, "
                         f"smaller than a batch, or it is an iterator that was used up")


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
    _check_model("evaluate", model, loss, loader)
    mean = _Mean()
    with evaluating(model), tg.no_grad():
        for _ in _losses("evaluate", model, loader, loss, mean, "the"):
            pass
    return mean.row()


def _train_epoch(model: Module, loader: Any, optimizer: Optimizer, loss: Callable[..., tg.Tensor],
                 schedule: Any, clip: float | None, callbacks: Sequence[Callback]) -> Row:
    mean, start, row = _Mean(), time.perf_counter(), {}
    model.train()
    for value in _losses("fit", model, loader, loss, mean, "the training"):
        if not math.isfinite(value.item()):
            raise FloatingPointError(f"fit: the loss is {value.item()} in the batch up to sample "
                                     f"{mean.samples}; lower the learning rate, clip gradients, or look for "
                                     f"nan in the data")
        optimizer.zero_grad()
        value.backward()
        if clip is not None:
            clip_grad_norm_(optimizer.parameters(), clip)
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        if schedule is not None:
            schedule.step()
        row = {**mean.row(), "images_per_second": mean.samples / (time.perf_counter() - start), "lr": lr}
        for c in callbacks:
            c.batch_end(row)
    return {**row}  # the callbacks may have kept theirs


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
        resume: continue from the folder's `last.safetensors`, if there is one; bit for bit if the number of
            threads (`tg.set_num_threads`) is the same.
        callbacks: objects that are called at each step; by default a progress bar; () for silence.

    Returns:
        the history; after Ctrl-C its `interrupted` is True, and the checkpoint is that of the last
        complete epoch.

    Raises:
        FloatingPointError: if the loss or, after an epoch, a weight is not finite.
        ValueError, RuntimeError: if `resume` finds a checkpoint that does not fit, a loader gives no
            batches, the optimizer holds none of the model's parameters, or a schedule belongs to
            another optimizer.
        TypeError: if an argument is not a module, optimiser, schedule, callback or (x, y) batch, as
            it should be.
        OSError: if the checkpoint is no folder or cannot be written; what was there is left as it was.

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
    _check_model("fit", model, loss, train, valid)
    _check_training(model, optimizer, schedule, epoch_schedule, epochs, callbacks, checkpoint, resume)
    callbacks = [ProgressBar()] if callbacks is None else callbacks
    last, history = None if checkpoint is None else Path(checkpoint) / "last.safetensors", History()
    run = Run(model, optimizer, {"batch": schedule, "epoch": epoch_schedule},
              {"loader": getattr(train, "rng", None), "valid": getattr(valid, "rng", None)}, history)
    if last is not None:
        run.load(last) if resume and last.exists() else run.save(last)
    try:
        for epoch in range(len(history) + 1, epochs + 1):
            for c in callbacks:
                c.epoch_begin(epoch, epochs, len(train) if hasattr(train, "__len__") else 0)
            start = time.perf_counter()
            row = _train_epoch(model, train, optimizer, loss, schedule, clip_grad_norm, callbacks)
            _check_weights(model, epoch)
            if valid is not None:
                row.update({f"valid_{k}": v for k, v in evaluate(model, valid, loss).items()})
            if epoch_schedule is not None:
                wants_loss = isinstance(epoch_schedule, ReduceLROnPlateau)
                epoch_schedule.step(*[row.get("valid_loss", row["loss"])] * wants_loss)
            history.rows.append({"epoch": epoch, **row, "seconds": time.perf_counter() - start})
            if last is not None:
                key = next(k for k in BEST_BY if k in history.last)
                if history.best(key) is history.last:
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


def _check_model(op: str, model: Any, loss: Any, *loaders: Any) -> None:
    """Refuse what is not a module or a loss, and a data set where batches are wanted."""
    tg.arguments.instance(model, Module, op, "a module first")
    if isinstance(loss, type) or not callable(loss):
        raise TypeError(f"{op}: loss must be a function of (output, y), such as tg.cross_entropy or "
                        f"nn.CrossEntropyLoss() with its brackets, got {loss!r}")
    for loader in loaders:
        if isinstance(loader, Dataset):
            raise TypeError(f"{op}: expects batches, got a Dataset; pass nn.data.DataLoader(dataset, 64)")


def _check_training(model: Module, optimizer: Any, schedule: Any, epoch_schedule: Any, epochs: Any,
                    callbacks: Any, checkpoint: Any, resume: bool) -> None:
    """Refuse an optimiser that does not train this model, what cannot be counted or called, and schedules
    that would set no rate, another optimiser's, or each other's."""
    tg.arguments.instance(optimizer, Optimizer, "fit", "an optimiser, as nn.Adam(model.parameters())",
                          f", {optimizer!r}")
    if {id(p) for p in model.parameters() if p.requires_grad}.isdisjoint(map(id, optimizer.parameters())):
        raise ValueError("fit: the optimizer holds none of the model's parameters that require a gradient; "
                         "make it from model.parameters() of this model (requires_grad_() ends a freeze)")
    tg.arguments.whole(epochs, "fit", "epochs", 0)
    if callbacks is not None and not (isinstance(callbacks, list | tuple)
                                      and all(isinstance(c, Callback) for c in callbacks)):
        raise TypeError(f"fit: callbacks must be a list of nn.Callback objects, got {callbacks!r}")
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the folder to resume from")
    for name, s in (("schedule", schedule), ("epoch_schedule", epoch_schedule)):
        if s is not None and (isinstance(s, type) or not callable(getattr(s, "step", None))):
            raise TypeError(f"fit: {name} must be a schedule made from the optimizer, got {s!r}")
        if getattr(s, "optimizer", optimizer) is not optimizer:
            raise ValueError(f"fit: {name} {type(s).__name__} sets the rates of another optimizer; make it "
                             f"from the one that fit is given")
    if isinstance(schedule, ReduceLROnPlateau):
        raise TypeError("fit: ReduceLROnPlateau looks at the loss of an epoch; give it as epoch_schedule")
    if schedule is not None and epoch_schedule is not None:
        raise ValueError("fit: schedule sets the rate at every batch and would undo what epoch_schedule "
                         "sets; give one of them (nn.SequentialLR chains schedules)")


def _check_weights(model: Module, epoch: int) -> None:
    """Refuse to go on, and to overwrite a good checkpoint, with weights that are lost."""
    for name, p in model.named_parameters():
        if not np.isfinite(p.detach().numpy()).all():
            raise FloatingPointError(f"fit: after epoch {epoch}, {name} holds nan or inf; the checkpoint is "
                                     f"left as it was; lower the learning rate or clip gradients")
