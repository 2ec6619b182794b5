"""Training: epochs of batches, validation, checkpoints, and exact resuming.

A run depends only on the weights, the optimiser, the schedules and the generators; the checkpoint after
each epoch holds all of them. A resumed run gives the same bits as one that was never interrupted; an
interrupted epoch is started again. Mistakes that would train nothing, or something else, are refused.
"""
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module, evaluating, tensors_in
from ..optim.clip import clip_grad_norm_
from ..optim.optimizer import Optimizer
from ..optim.scaler import GradScaler
from ..optim.schedule import ReduceLROnPlateau
from ..parallel import World
from .given import check_model, one_value, pair
from .interrupt import CtrlC
from .metrics import Measure, Metric, checked
from .report import Callback, History, Row, Training, reporters
from .saving import Run, save

BEST_BY = ("valid_accuracy", "valid_loss", "accuracy", "loss")  # the first that is measured


def _batches(op: str, model: Module, loader: Any, loss: Callable[..., tg.Tensor], mean: Measure,
             what: str, ctrl_c: CtrlC, world: World) -> Iterator[tuple[Any, tg.Tensor]]:
    """What the model gives for each batch, and the loss, which `mean` takes in."""
    try:
        ctrl_c.breakable = True
        for batch in loader:
            batch = pair(op, batch)
            n, (x, y) = len(batch[0]), world.part(batch)
            output = model(tg.tensor(x))
            value = one_value(op, loss(output, y))
            mean.add(n, value.item(), output, y)
            ctrl_c.breakable = False
            yield output, value
            _check(ctrl_c, world)
            ctrl_c.breakable = True
        world.meet("the end of the batches")
    finally:
        ctrl_c.breakable = False
    if not mean.samples:
        raise ValueError(f"{op}: {what} loader gave no batches; its data set is empty or, with drop_last, "
                         f"smaller than a batch, or it is an iterator that was used up")


def _check(ctrl_c: CtrlC, world: World) -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed on any rank."""
    ctrl_c.pressed = world.meet("the end of a batch", pressed=ctrl_c.pressed)
    ctrl_c.check()


def evaluate(model: Module, loader: Any, loss: Callable[..., tg.Tensor] = tg.cross_entropy, *,
             metrics: Sequence[Metric] = (), world: World | None = None) -> dict[str, Any]:
    """{"loss", "accuracy"} of a model over a loader's batches, in evaluation mode, unrecorded.

    With `metrics` there are their values too, by their names.

    The model's mode is restored afterwards; Ctrl-C waits for that, and for the end of a batch unless it is
    pressed twice. The ranks of a `world` share each batch, and all get the result of one process.

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
    world = tg.arguments.instance(world or World(), World, "evaluate", "world=nn.parallel.world()")
    metrics = checked("evaluate", metrics)
    own = CtrlC()
    try:
        with own as ctrl_c, tg.state_kept():
            row = _evaluate(model, loader, loss, metrics, ctrl_c, world).row()
    finally:
        own.over = True
    ctrl_c.check()
    return row


def _evaluate(model: Module, loader: Any, loss: Callable[..., tg.Tensor], metrics: Sequence[Metric],
              ctrl_c: CtrlC, world: World) -> Measure:
    mean = Measure(metrics, world)
    with evaluating(model), tg.no_grad():
        for _ in _batches("evaluate", model, loader, loss, mean, "the", ctrl_c, world):
            pass
    return mean


def _tell(callbacks: Sequence[Callback], event: str, ctrl_c: CtrlC, *what: Any) -> None:
    ctrl_c.breakable = True
    try:
        for c in callbacks:
            getattr(c, event)(*what)
    finally:
        ctrl_c.breakable = False


@dataclass
class _Job:
    """What `fit` was asked to do."""

    run: Run
    training: Training
    train: Any
    valid: Any
    loss: Callable[..., tg.Tensor]
    metrics: Sequence[Metric]
    clip: float | None
    accumulate: int
    scaler: GradScaler | None
    callbacks: Sequence[Callback]
    last: Path | None
    world: World

    def backward(self, value: tg.Tensor, share: float) -> None:
        """Add a batch's gradients; one of several batches counts by its size."""
        value = value if self.scaler is None else self.scaler.scale(value)
        value.backward(tg.tensor(np.full(value.shape, share * self.world.share, value.dtype)))

    def step(self, shares: float) -> None:
        """Use the gradients of all batches since the last step."""
        optimizer, done = self.training.optimizer, True
        self.world.sum_gradients(optimizer.parameters())
        if self.accumulate > 1:
            for p in optimizer.parameters():
                p.grad = None if p.grad is None else p.grad.detach() / shares
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if self.clip is not None:
            clip_grad_norm_(optimizer.parameters(), self.clip)
        if self.scaler is not None:
            done = self.scaler.step(optimizer)
        else:
            optimizer.step()
        if done and "batch" in self.run.schedules:
            self.run.schedules["batch"].step()

    @contextmanager
    def judged(self) -> Iterator[None]:
        """The weights that are evaluated and kept as the best are there, inside the block."""
        with ExitStack() as stack:
            for c in self.callbacks:
                stack.enter_context(c.evaluating())
            yield


def _train_epoch(job: _Job, ctrl_c: CtrlC) -> Row:
    mean, start = Measure(job.metrics, job.world), time.perf_counter()
    model, optimizer = job.training.model, job.training.optimizer
    row: Row = {}
    first = waiting = batches = 0  # examples whose gradients are summed, and not used yet
    model.train()
    job.world.part_generators(model)
    for output, value in _batches("fit", model, job.train, job.loss, mean, "the training", ctrl_c, job.world):
        if not math.isfinite(mean.sums["loss"]):
            raise FloatingPointError(f"fit: the loss is {mean.sums['loss']} in the batch up to sample "
                                     f"{mean.samples}; lower the learning rate, clip gradients, or look for "
                                     f"nan in the data")
        if not row:  # the first batch
            _check_used(model, optimizer, output)
            if not value.requires_grad:
                raise RuntimeError(
                    "fit: the loss does not depend on the parameters: forward or the loss leaves the graph, "
                    "by numpy(), detach() or no_grad(), or fit was called inside no_grad(); compute with "
                    "tg's functions")
        if not waiting:
            optimizer.zero_grad()
            first = mean.size
        job.backward(value, mean.size / first)
        waiting, batches = waiting + mean.size, batches + 1
        lr = optimizer.param_groups[0]["lr"]
        if batches % job.accumulate == 0:
            job.step(waiting / first)
            waiting = 0
        row = {**mean.means(), "images_per_second": mean.samples / (time.perf_counter() - start), "lr": lr}
        _tell(job.callbacks, "batch_end", ctrl_c, row)
    if waiting:
        job.step(waiting / first)
    job.world.average_buffers(model)
    return {**row, **mean.numbers()}  # the callbacks may have kept theirs


def _epoch(job: _Job, epoch: int, ctrl_c: CtrlC) -> Row:
    """One epoch of training, and what was measured in it."""
    job.training.epoch = epoch
    batches = len(job.train) if hasattr(job.train, "__len__") else 0
    _tell(job.callbacks, "epoch_begin", ctrl_c, epoch, job.training.epochs, batches)
    start = time.perf_counter()
    row = _train_epoch(job, ctrl_c)
    _check_weights(job.training.model, epoch)
    with job.judged():
        if job.valid is not None:
            measured = _evaluate(job.training.model, job.valid, job.loss, job.metrics, ctrl_c, job.world)
            row.update({f"valid_{name}": value for name, value in measured.numbers().items()})
        row = {"epoch": epoch, **row, "seconds": time.perf_counter() - start}
        _tell(job.callbacks, "before_checkpoint", ctrl_c, row)
    return row


def _keep(job: _Job, row: Row) -> None:
    """An epoch is complete: what is counted by epochs goes on, and the checkpoint is written."""
    history = job.run.history
    if (schedule := job.run.schedules.get("epoch")) is not None:
        schedule.step(*[row.get("valid_loss", row["loss"])] * isinstance(schedule, ReduceLROnPlateau))
    history.rows.append(row)
    if job.last is not None and job.world.rank == 0:
        key = next(k for k in BEST_BY if k in row)
        if history.best(key) is row:
            with job.judged():
                save(job.training.model, job.last.with_name("best.safetensors"))
        job.run.save(job.last)


def fit(model: Module, train: Any, valid: Any = None, *, epochs: int, optimizer: Optimizer,
        loss: Callable[..., tg.Tensor] = tg.cross_entropy, schedule: Any = None,
        epoch_schedule: Any = None, clip_grad_norm: float | None = None,
        checkpoint: str | os.PathLike[str] | None = None, resume: bool = False,
        callbacks: Sequence[Callback] | None = None, metrics: Sequence[Metric] = (), accumulate: int = 1,
        scaler: GradScaler | None = None, world: World | None = None) -> History:
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
            `best.safetensors` (the weights with the best validation accuracy, else loss). A run that fails
            before its first epoch is complete leaves none.
        resume: continue from the folder's `last.safetensors`, if there is one; bit for bit if the number of
            threads (`tg.set_num_threads`) is the same.
        callbacks: objects that are called at each step; by default a progress bar, and in a
            notebook live curves; () for silence.
        metrics: what is measured beside loss and accuracy, as [nn.F1()]; those that are numbers are in the
            history.
        accumulate: how many batches make a step, with the gradient of the joined batch, if the loss is a
            plain mean; those left over at the end of an epoch make one. `schedule` counts steps.
        scaler: for a model of float16 numbers: gradients are those of a scaled loss, and steps that overflow
            are left out.
        world: `nn.parallel.world()`: the processes that train this model together, each with its part of
            each batch. Only the first writes checkpoints and has a progress bar; callbacks are called on
            each rank.

    Returns:
        the history; its `stopped` is the reason if a callback ended the run; after Ctrl-C its `interrupted`
        is True, and the checkpoint is that of the last
        complete epoch. Ctrl-C ends the run after the batch or the saving it finds; pressed twice it does
        not wait for a loader, the model or a callback.

    Raises:
        FloatingPointError: if the loss or, after an epoch, a weight is not finite.
        ValueError, RuntimeError: if `resume` finds a checkpoint that does not fit, a loader gives no
            batches, the optimizer holds none of the model's parameters, the model uses one that neither
            of them holds, or a schedule belongs to another optimizer.
        TypeError: if an argument is not a module, optimiser, schedule, callback or (x, y) batch, as
            it should be.
        FileExistsError: if the folder holds another run and `resume` is not asked for; nothing was run.
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
    quiet: Any = {kind: "ignore" for kind, how in np.geterr().items() if how == "warn"}  # the loss will tell
    own, world = CtrlC(), tg.arguments.instance(world or World(), World, "fit", "world=nn.parallel.world()")
    try:
        with own as ctrl_c, tg.state_kept(), np.errstate(**quiet):
            check_model("fit", model, loss, train, valid)
            epochs = tg.arguments.whole(epochs, "fit", "epochs", 0)
            _check_training(model, optimizer, schedule, epoch_schedule, callbacks, checkpoint, resume)
            tg.arguments.instance(scaler, GradScaler | None, "fit", "an nn.GradScaler as scaler")
            callbacks = reporters() * (world.rank == 0) if callbacks is None else callbacks
            last, history = None if checkpoint is None else Path(checkpoint) / "last.safetensors", History()
            run = _run(model, optimizer, schedule, epoch_schedule, train, valid, history, scaler, callbacks)
            job = _Job(run, Training(model, optimizer, history, epochs), train, valid, loss,
                       checked("fit", metrics), clip_grad_norm,
                       tg.arguments.whole(accumulate, "fit", "accumulate", 1), scaler, callbacks, last, world)
            resumed = resume and last is not None and os.path.lexists(last)
            try:
                _begin(run, last, resumed, epochs, world)
                _train(job, ctrl_c)
            except KeyboardInterrupt:
                history.interrupted = True
                for c in callbacks:
                    c.interrupted(history)
            except BaseException:
                if last is not None and not resumed and not history.rows:  # nothing that could be lost
                    with suppress(OSError):  # where no folder can be
                        last.unlink()
                raise
    finally:
        own.over = True
    history.interrupted |= world.meet("the end of fit", history.interrupted, pressed=ctrl_c.pressed) > 0
    return history


def _train(job: _Job, ctrl_c: CtrlC) -> None:
    """The epochs that are left, up to a stop."""
    training, history = job.training, job.run.history
    with ExitStack() as closing:
        for c in job.callbacks:
            closing.callback(c.close)
        _tell(job.callbacks, "train_begin", ctrl_c, training)
        for epoch in range(len(history) + 1, training.epochs + 1):
            _check(ctrl_c, job.world)
            if job.world.meet("the end of an epoch", pressed=bool(training.stopped)):
                training.stop(training.stopped or "on another rank")
                break
            _keep(job, _epoch(job, epoch, ctrl_c))
            _tell(job.callbacks, "epoch_end", ctrl_c, history.last)
        _tell(job.callbacks, "train_end", ctrl_c)
    history.stopped = training.stopped


def _run(model: Module, optimizer: Optimizer, schedule: Any, epoch_schedule: Any, train: Any, valid: Any,
         history: History, scaler: GradScaler | None, callbacks: Sequence[Callback]) -> Run:
    generators = {name: g for name, loader in (("loader", train), ("valid", valid))
                  if isinstance(g := getattr(loader, "rng", None), np.random.Generator)}
    kinds = [type(c).__name__ for c in callbacks]
    named = {f"{kind}{kinds[:i].count(kind) or ''}": c for i, (kind, c) in enumerate(zip(kinds, callbacks))}
    return Run({"model": model, "optimizer": optimizer, "batch": schedule, "epoch": epoch_schedule,
                "scaler": scaler, **generators, **named, "history": history})


def _begin(run: Run, last: Path | None, resumed: bool, epochs: int, world: World) -> None:
    """Where the run stands, from the checkpoint; or a checkpoint of no epoch yet."""
    world.meet("the beginning of fit", epochs, resumed)
    if last is not None and resumed:
        run.load(last)
    elif last is not None and world.rank == 0:
        run.save(last)
    world.equalise(run.models["model"], run.generators.values())
    if len(run.history) > epochs:
        warnings.warn(f"fit: the run to be resumed has {len(run.history)} epochs already, more than "
                      f"epochs={epochs}; nothing is trained", stacklevel=4)


def _check_training(model: Module, optimizer: Any, schedule: Any, epoch_schedule: Any, callbacks: Any,
                    checkpoint: Any, resume: bool) -> None:
    """Refuse an optimiser that does not train this model, what cannot be counted or called, and schedules
    that would set no rate, another optimiser's, or each other's."""
    tg.arguments.instance(optimizer, Optimizer, "fit", "an optimiser, such as nn.Adam(model.parameters())",
                          f", {optimizer!r}")
    if {id(p) for p in model.parameters() if p.requires_grad}.isdisjoint(map(id, optimizer.parameters())):
        raise ValueError("fit: the optimizer holds none of the model's parameters that require a gradient; "
                         "make it from model.parameters() of this model (requires_grad_() ends a freeze)")
    if callbacks is not None and not (isinstance(callbacks, list | tuple)
                                      and all(isinstance(c, Callback) for c in callbacks)):
        raise TypeError(f"fit: callbacks must be a list of nn.Callback objects, got {callbacks!r}")
    if resume and checkpoint is None:
        raise ValueError("fit: resume=True needs checkpoint=, the folder to resume from")
    _check_folder(checkpoint, resume)
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


def _check_folder(checkpoint: Any, resume: bool) -> None:
    """Refuse to write over another run."""
    tg.arguments.instance(checkpoint, str | os.PathLike | None, "fit", "a folder's path as checkpoint")
    if checkpoint is not None and not os.path.lexists(checkpoint) and (
            Path(checkpoint).suffix == ".safetensors"):
        raise ValueError(f"fit: checkpoint is a folder, for last.safetensors and best.safetensors; "
                         f"{os.fspath(checkpoint)!r} looks like a file, name a folder")
    found = [name for name in ("last.safetensors", "best.safetensors")
             if checkpoint is not None and os.path.lexists(Path(checkpoint) / name)]
    if found and not (resume and found[0] == "last.safetensors"):
        raise FileExistsError(f"fit: {os.fspath(checkpoint)!r} holds {' and '.join(found)} of another run, "
                              f"which would be overwritten; " + (
            "there is nothing to resume from, name another folder" if resume else
            "go on with it by resume=True, or name another folder"))


def _check_used(model: Module, optimizer: Optimizer, output: Any) -> None:
    """Refuse a leaf that the model uses, but neither holds nor has trained: a parameter in a plain list, or a
    tensor that is no Parameter."""
    hidden = [part for m in model.modules() for part in vars(m).values() if isinstance(part, Module)]
    known = {id(p) for m in (model, optimizer, *hidden) for p in m.parameters()}
    for t in tensors_in(output):
        for node in (entry.node for entry in tg.tape(t)):
            for p in node.inputs:
                if p.node is None and p.requires_grad and id(p) not in known:
                    raise ValueError(
                        f"fit: {type(model).__name__} uses {p.name or 'a tensor'} of shape {p.shape} (line "
                        f"{node.where[1]} of {node.where[0]}) but does not hold it, nor does the optimizer: "
                        f"it would be neither trained nor saved; keep modules in nn.ModuleList or "
                        f"nn.ModuleDict instead of a plain list, make tensors nn.Parameter, or freeze what "
                        f"is not to be trained with requires_grad_(False)")


def _check_weights(model: Module, epoch: int) -> None:
    """Refuse to go on, and to overwrite a good checkpoint, with weights that are lost."""
    for name, p in model.named_parameters():
        if not np.isfinite(p.detach().numpy()).all():
            raise FloatingPointError(f"fit: after epoch {epoch}, {name} holds nan or inf; the checkpoint is "
                                     f"left as it was; lower the learning rate or clip gradients")
