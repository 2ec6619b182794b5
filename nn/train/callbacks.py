"""Callbacks of a run: when to stop, averaged weights, and where its numbers are written."""
import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module
from .report import Callback, Row, Training


class EarlyStopping(Callback):
    """Stops a run whose monitored column has not improved for `patience` epochs.

    How long that is follows from the history, so that a resumed run stops where an unbroken one does.

    Args:
        monitor: a column of the history, as "valid_loss" or "valid_f1".
        patience: epochs without improvement that are borne; 0 is as 1.
        min_delta: what counts as an improvement.
        mode: "min", "max", or "auto": "min" for names that end in "loss".
        restore_best: whether the model has the weights of the best epoch in the end; they are in the
            checkpoint.

    Raises:
        KeyError: in the run, if there is no such column.

    Example:
        >>> import nn
        >>> data = nn.data.DataLoader(nn.data.digits("test"), 128)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> stop = nn.EarlyStopping("loss", patience=2)
        >>> history = nn.fit(net, data, epochs=9, optimizer=nn.SGD(net.parameters(), 0.0), callbacks=[stop])
        >>> len(history), history.stopped
        (3, 'loss has not improved for 2 epochs')
    """

    def __init__(self, monitor: str = "valid_loss", patience: int = 0, min_delta: float = 0.0,
                 mode: str = "auto", restore_best: bool = False) -> None:
        tg.arguments.one_of(mode, "EarlyStopping", "mode", ["auto", "min", "max"])
        self.monitor = tg.arguments.instance(monitor, str, "EarlyStopping", "the name of a column as monitor")
        self.patience = tg.arguments.whole(patience, "EarlyStopping", "patience", 0)
        self.min_delta = tg.arguments.number(min_delta, "EarlyStopping", "min_delta", 0)
        self.sign = 1 if mode == "min" or mode == "auto" and monitor.endswith("loss") else -1
        self.restore_best = tg.arguments.flag(restore_best, "EarlyStopping", "restore_best")
        self._best: dict[str, np.ndarray] = {}

    def _waited(self, rows: Sequence[Row]) -> int:
        """Epochs since the last improvement."""
        best, waited = math.inf, 0
        for row in rows:
            if self.monitor not in row:
                raise KeyError(f"EarlyStopping: no column {self.monitor!r}; there are {', '.join(row)}")
            value = self.sign * row[self.monitor]
            better = value + self.min_delta < best
            best, waited = (value, 0) if better else (best, waited + 1)
        return waited

    def _look(self, waited: int) -> None:
        if waited >= max(1, self.patience):
            self.training.stop(f"{self.monitor} has not improved for {waited} epochs")

    def train_begin(self, training: Training) -> None:
        self.training = training
        self._look(self._waited(training.history.rows))

    def before_checkpoint(self, row: Row) -> None:
        waited = self._waited([*self.training.history.rows, row])
        if waited == 0 and self.restore_best:
            self._best = self.training.model.state_dict()
        self._look(waited)

    def train_end(self) -> None:
        if self._best:
            self.training.model.load_state_dict(self._best)

    def state_dict(self) -> dict[str, Any]:
        return {"restore_best": True, "arrays": self._best} if self.restore_best else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._best = state["arrays"]


class EMA(Callback):
    """Averages of a model's weights over the steps, which are evaluated and saved as the best in their place.

    average = decay average + (1 - decay) weight, after each step; it begins as the weight after the first.
    Buffers are not averaged. `swapped` puts the averages into the model, in `nn.fit` while it validates;
    in a loop of one's own call `update` after each step. The checkpoint has the weights and the averages.

    Args:
        model: whose parameters are averaged, in float32 at least.
        decay: between 0 and 1.

    Example:
        >>> import nn
        >>> net = nn.Linear(3, 2)
        >>> ema = nn.EMA(net, decay=0.99)
        >>> loader = [(np.ones((4, 3), np.float32), np.zeros(4, int))]
        >>> history = nn.fit(net, loader, epochs=3, optimizer=nn.SGD(net.parameters(), 0.1), callbacks=[ema])
        >>> before = net.weight.numpy().copy()
        >>> with ema.swapped():
        ...     bool((net.weight.numpy() == before).any())
        False

    Source: PyTorch's torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn.
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        self.model = tg.arguments.instance(model, Module, "EMA", "a module first")
        self.decay = tg.arguments.number(decay, "EMA", "decay", 0, 1)
        self.updates, self.averages = 0, self._weights()
        self._step = 0

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: p.detach().numpy().astype(np.promote_types(p.dtype, np.float32))
                for name, p in self.model.named_parameters()}

    def update(self) -> None:
        """Take in the weights as they are now."""
        weights = self._weights()
        if self.updates:
            for name, average in self.averages.items():
                weights[name] = average + (weights[name] - average) * average.dtype.type(1 - self.decay)
        self.averages, self.updates = weights, self.updates + 1

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The averages are the model's weights inside the `with` block."""
        own = dict(self.model.named_parameters())
        kept = [p.detach().numpy().copy() for p in own.values()]
        averages = self.averages if self.updates else self._weights()  # before the first step
        try:
            tg.change([*own.values()], lambda _: [averages[k].astype(p.dtype) for k, p in own.items()])
            yield
        finally:
            tg.change([*own.values()], lambda _: kept)

    def train_begin(self, training: Training) -> None:
        self.training, self._step = training, training.step

    def batch_end(self, row: Row) -> None:
        if self.training.step != self._step:
            self._step = self.training.step
            self.update()

    def evaluating(self) -> AbstractContextManager[None]:
        self.batch_end({})  # the last step of an epoch may follow its last batch
        return self.swapped()

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "arrays": dict(self.averages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        arrays, own = state["arrays"], self._weights()
        form = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        if form != {name: (a.shape, a.dtype) for name, a in own.items()}:
            raise ValueError("EMA: the saved averages are not of this model's parameters")
        self.updates = tg.arguments.whole(state["updates"], "EMA", "updates", 0)
        self.averages = dict(arrays)


class CSVLogger(Callback):
    """Writes the history as a CSV file after each epoch: whole at any moment, and whole after a resume.

    Args:
        path: the file; missing folders are made.

    Raises:
        FileExistsError: when a new run begins, if there is such a file.

    Example:
        >>> import nn, tempfile
        >>> net, loader = nn.Linear(3, 2), [(np.ones((4, 3), np.float32), np.zeros(4, int))]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history = nn.fit(net, loader, epochs=2, optimizer=nn.SGD(net.parameters(), 0.1),
        ...                      callbacks=[nn.CSVLogger(folder + "/run.csv")])
        ...     open(folder + "/run.csv").readline()
        'epoch,loss,accuracy,images_per_second,lr,seconds\\n'
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(tg.arguments.instance(path, str | os.PathLike, "CSVLogger", "the path of a file"))

    def train_begin(self, training: Training) -> None:
        self.history = training.history
        if not self.history.rows and os.path.lexists(self.path):
            raise FileExistsError(f"CSVLogger: there is a file {os.fspath(self.path)!r} of another run; name "
                                  f"another, or resume that run")

    def epoch_end(self, row: Row) -> None:
        names = dict.fromkeys(name for row in self.history.rows for name in row)
        table = csv.DictWriter(text := io.StringIO(), [*names], lineterminator="\n")
        table.writeheader()
        table.writerows(self.history.rows)
        tg.write_atomically(self.path, text.getvalue().encode())


class TensorBoard(Callback):
    """Writes the numbers of each epoch for TensorBoard, as "loss/train" and "loss/valid".

    Args:
        folder: for the event files of one run; `tensorboard --logdir` of it, or of the folder around it,
            shows them.

    Raises:
        ImportError: without tensorboardX; names the extra.
        FileExistsError: when a new run begins, if the folder holds files.

    Example:
        >>> TensorBoard("runs/digits/events").folder.name
        'events'
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(tg.arguments.instance(folder, str | os.PathLike, "TensorBoard", "a folder's path"))
        self._writer: Any = None

    def train_begin(self, training: Training) -> None:
        try:
            from tensorboardX import SummaryWriter  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            raise ImportError("TensorBoard needs tensorboardX; install the extra: pip install "
                              "'tinygrad_conv[tensorboard]'") from None
        done = len(training.history)
        if not done and self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(f"TensorBoard: {os.fspath(self.folder)!r} holds another run; name another "
                                  f"folder, or resume that run")
        self._writer = SummaryWriter(os.fspath(self.folder), purge_step=done + 1 if done else None,
                                     filename_suffix=f".{done}")  # its own names are by the second

    def epoch_end(self, row: Row) -> None:
        for name, value in row.items():
            part = "valid" if name.startswith("valid_") else "train"
            if name != "epoch":
                self._writer.add_scalar(f"{name.removeprefix('valid_')}/{part}", value, row["epoch"])
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
