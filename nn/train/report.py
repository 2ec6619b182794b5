"""What a training run reports: a row of numbers per epoch, kept to print and plot, and told as it comes to
callbacks, by default a progress bar."""
import math
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import tinygrad_conv as tg

from . import curves

Row = dict[str, float]

PAUSE = 0.2  # seconds between two pictures of a run


class History:
    """Rows of numbers, one per epoch; `interrupted` says that Ctrl-C ended the run, `stopped` why a callback
    did.

    Example:
        >>> h = History([{"epoch": 1, "loss": 0.5}])
        >>> h["loss"], len(h)
        ([0.5], 1)
    """

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows: list[Row] = list(rows or [])
        self.interrupted, self.stopped = False, ""

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: str) -> list[float]:
        """A column, for the epochs that have it.

        Raises:
            KeyError: if no epoch has it.
        """
        if self.rows and not any(key in row for row in self.rows):
            raise KeyError(f"History: no column {key!r}; there are {', '.join(self.rows[-1])}")
        return [row[key] for row in self.rows if key in row]

    @property
    def last(self) -> Row:
        """The newest row."""
        if not self.rows:
            raise IndexError("History: no epoch has been completed")
        return self.rows[-1]

    def best(self, key: str) -> Row | None:
        """The row with the best value of a column: smallest for losses, largest otherwise; not nan."""
        rows = [row for row in self.rows if not math.isnan(row.get(key, math.nan))]
        return (min if key.endswith("loss") else max)(rows, key=lambda row: row[key], default=None)

    def __repr__(self) -> str:
        lines = [", ".join(f"{k} {v:.4g}" for k, v in row.items()) for row in self.rows]
        return "\n".join(lines or ["History(no epochs)"]) + "\n(interrupted)" * self.interrupted + (
            f"\n(stopped: {self.stopped})" * bool(self.stopped))

    def _repr_html_(self) -> str:
        """The curves, and a table of the epochs; of many the first and the last ones."""
        return _html(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Plot loss and accuracy over the epochs, for a notebook or into a file, whole or not at all.

        Args:
            path: with an ending matplotlib can write, such as .png or .svg; missing folders are made.

        Returns:
            without a path the figure, matplotlib's: as a cell's last line it shows itself.

        Raises:
            ImportError: without matplotlib; names the extra.
            ValueError: for another ending.
        """
        return curves.kept(curves.figure(self.rows), path)


class Training:
    """A run as its callbacks see it: `model`, `optimizer`, `history`, `epoch` of `epochs`, and `step`.

    Example:
        >>> import nn
        >>> class Enough(nn.Callback):
        ...     def train_begin(self, training):
        ...         self.training = training
        ...     def epoch_end(self, row):
        ...         if row["loss"] < 100:
        ...             self.training.stop("the loss is below 100")
        >>> data = nn.data.DataLoader(nn.data.digits("test"), 128)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> optimizer = nn.SGD(net.parameters(), 0.1)
        >>> history = nn.fit(net, data, epochs=9, optimizer=optimizer, callbacks=[Enough()])
        >>> len(history), history.stopped
        (1, 'the loss is below 100')
    """

    def __init__(self, model: Any, optimizer: Any, history: History, epochs: int) -> None:
        self.model, self.optimizer, self.history, self.epochs = model, optimizer, history, epochs
        self.epoch, self.stopped = len(history), ""

    @property
    def step(self) -> int:
        """How many steps the optimiser has done, those before a resume included."""
        return max([state.get("step", 0) for state in self.optimizer.state.values()], default=0)

    def stop(self, reason: str) -> None:
        """End the run after this epoch."""
        self.stopped = tg.arguments.instance(reason, str, "stop", "the reason, as text") or "stopped"


class Callback:
    """Override the methods you want called; by default they do nothing.

    A row is a dictionary: "epoch", "loss", "accuracy", "images_per_second", "lr", "seconds", and after
    validation "valid_loss" and "valid_accuracy". `training.stop(reason)` of what `train_begin` is given ends
    training after the epoch; raising KeyboardInterrupt ends it at once, as Ctrl-C does.

    Example:
        >>> import numpy as np, nn
        >>> class Tell(nn.Callback):
        ...     def epoch_end(self, row):
        ...         print(row["epoch"], sorted(row))
        >>> data = nn.data.Dataset(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1]))
        >>> net = nn.Linear(2, 2)
        >>> done = nn.fit(net, nn.data.DataLoader(data, 2), epochs=1, callbacks=[Tell()],
        ...               optimizer=nn.SGD(net.parameters(), 0.1))
        1 ['accuracy', 'epoch', 'images_per_second', 'loss', 'lr', 'seconds']
    """

    def train_begin(self, training: Training) -> None:
        """Training begins, or goes on; `training` knows the model, the optimiser and the history."""

    def epoch_begin(self, epoch: int, epochs: int, batches: int) -> None:
        """Epoch number `epoch` (from 1) of `epochs` begins, with `batches` batches."""

    def batch_end(self, row: Row) -> None:
        """A batch is done: running loss, accuracy, images per second, learning rate."""

    def evaluating(self) -> AbstractContextManager[Any]:
        """What surrounds validation, `before_checkpoint`, and the saving of the best weights."""
        return nullcontext()

    def before_checkpoint(self, row: Row) -> None:
        """An epoch is done, validation included; `state_dict` is saved next."""

    def epoch_end(self, row: Row) -> None:
        """An epoch is done, and its checkpoint saved."""

    def interrupted(self, history: History) -> None:
        """Ctrl-C has ended the training; the rows of `history` are the complete epochs."""

    def train_end(self) -> None:
        """The last epoch is done, or a callback stopped the run; not after Ctrl-C or an error."""

    def close(self) -> None:
        """Training ends, for whatever reason."""

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint keeps of it: numbers by name and, at "arrays", arrays by name."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict()`: check it first, then set attributes anew, change none in place."""


class ProgressBar(Callback):
    """One tqdm bar per epoch, on stderr; where nobody watches (a file, a pipe), one plain line per epoch.

    In a notebook the bar is a widget, or without ipywidgets a line of the cell, and is gone, or is the next
    epoch's, when its epoch is over: `LiveCurves` has the rows.

    Example:
        >>> bar = ProgressBar()
        >>> bar.epoch_begin(1, epochs=1, batches=2)
        >>> bar.batch_end({"loss": 0.5})
        >>> bar.close()
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._line = CellLine()

    def epoch_begin(self, epoch: int, epochs: int, batches: int) -> None:
        self._title = f"epoch {epoch}/{epochs}"
        if in_notebook() and not find_spec("ipywidgets"):  # of which tqdm.auto would complain
            from tqdm.std import tqdm  # type: ignore[import-untyped]

            self._bar = tqdm(total=batches, desc=self._title, file=self._line, ascii=False,
                             bar_format="{desc} {bar:20} {n_fmt}/{total_fmt}, {elapsed}{postfix}")
        elif in_notebook() or sys.stderr is not None and sys.stderr.isatty():
            from tqdm.auto import tqdm  # type: ignore[import-untyped]

            self._bar = tqdm(total=batches, desc=self._title, unit="batch", dynamic_ncols=True,
                             leave=not in_notebook())

    def batch_end(self, row: Row) -> None:
        if self._bar is not None:
            self._bar.set_postfix(_short(row), refresh=False)
            self._bar.update()

    def epoch_end(self, row: Row) -> None:
        if self._bar is not None:
            self._bar.set_postfix(_short(row))
        elif sys.stderr is not None:
            numbers = ", ".join(f"{name}={value}" for name, value in _short(row).items())
            sys.stderr.write(f"{self._title}: {numbers}, {row['seconds']:.1f} s\n")
            sys.stderr.flush()
        self.close()

    def interrupted(self, history: History) -> None:
        if sys.stderr is not None:
            sys.stderr.write(f"interrupted after {len(history)} complete epochs, in the midst of another\n")
            sys.stderr.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class CellLine:
    """A file for a bar in a notebook: what is written becomes one line of the cell, in the place of the last.

    On stderr each state of each bar would be kept, in red.
    """

    def __init__(self) -> None:
        self._cell: Any = None

    def write(self, text: str) -> None:
        if line := text.strip():
            self._cell = _displayed(self._cell, {"text/plain": line})

    def flush(self) -> None:
        """Nothing is kept back."""


class LiveCurves(Callback):
    """Curves and a table of the epochs in a notebook's cell, drawn anew after each; elsewhere nothing.

    Of epochs that take less than a moment not each is drawn, but the last.

    Example:
        >>> curves = LiveCurves()
        >>> curves.epoch_begin(1, epochs=2, batches=10)
        >>> curves.epoch_end({"epoch": 1, "loss": 0.5})
        >>> curves.history["loss"]
        [0.5]
    """

    def __init__(self) -> None:
        self.history, self._epochs, self._due = History(), 0, 0.0
        self._cell: Any = None

    def epoch_begin(self, epoch: int, epochs: int, batches: int) -> None:
        self._epochs = epochs

    def epoch_end(self, row: Row) -> None:
        self.history.rows.append(row)
        if time.monotonic() >= self._due:
            self._show()

    def close(self) -> None:
        self._show()

    def _show(self) -> None:
        if in_notebook() and self.history.rows:
            self._cell = _displayed(self._cell, {"text/plain": repr(History(self.history.rows[-1:])),
                                                 "text/html": _html(self.history, self._epochs)})
        self._due = time.monotonic() + PAUSE


def in_notebook() -> bool:
    """Whether this runs in the kernel of a notebook."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def _displayed(cell: Any, shown: dict[str, str]) -> Any:
    """Put something into the output of a notebook's cell, in the place of what `cell` showed before."""
    from IPython.display import display

    if cell is None:
        return display(shown, raw=True, display_id=True)
    cell.update(shown, raw=True)
    return cell


def reporters() -> list[Callback]:
    """What tells of a training run, if nothing else is asked for."""
    return [ProgressBar(), *[LiveCurves()] * in_notebook()]


def _html(history: History, epochs: int = 0) -> str:
    """A history for a cell; `epochs` is how many there will be."""
    names = [*dict.fromkeys(name for row in history.rows for name in row)]
    rows = [[f"{row[name]:{',.0f' if row[name] >= 1000 else '.4g'}}" if name in row else "" for name in names]
            for row in history.rows]
    table = tg.table_html([[name.replace("_", " ") for name in names], *rows]) if rows else "no epochs"
    return f"<div>{curves.svg(history.rows, epochs)}{table}{' interrupted' * history.interrupted}</div>"


def _short(row: Row) -> dict[str, str]:
    names = {"loss": "loss", "accuracy": "acc", "valid_loss": "val_loss", "valid_accuracy": "val_acc",
             "images_per_second": "img/s"}
    return {short: f"{row[key]:.0f}" if key == "images_per_second" else f"{row[key]:.4f}"
            for key, short in names.items() if key in row}
