"""Telling the user how training goes: callbacks, and the default one, a progress bar."""
import sys
from typing import Any

from .history import Row


class Callback:
    """Override the methods you want called; by default they do nothing.

    A row is a dictionary: "epoch", "loss", "accuracy", "images_per_second", "lr", "seconds", and after
    validation "valid_loss" and "valid_accuracy". Raising KeyboardInterrupt, in `epoch_end` for
    example, ends training early, as Ctrl-C does.

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

    def epoch_begin(self, epoch: int, epochs: int, batches: int) -> None:
        """Epoch number `epoch` (from 1) of `epochs` begins, with `batches` batches."""

    def batch_end(self, row: Row) -> None:
        """A batch is done: running loss, accuracy, images per second, learning rate."""

    def epoch_end(self, row: Row) -> None:
        """An epoch is done, validation included."""

    def close(self) -> None:
        """Training ends, for whatever reason."""


LOG = 10.0  # seconds between lines where nobody watches: a log, a pipe


class ProgressBar(Callback):
    """One tqdm bar per epoch, on stderr.

    Example:
        >>> bar = ProgressBar()
        >>> bar.epoch_begin(1, epochs=1, batches=2)
        >>> bar.batch_end({"loss": 0.5})
        >>> bar.close()
    """

    def __init__(self) -> None:
        self._bar: Any = None

    def epoch_begin(self, epoch: int, epochs: int, batches: int) -> None:
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

        watched = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._bar = tqdm(total=batches, desc=f"epoch {epoch}/{epochs}", unit="batch", dynamic_ncols=True,
                         mininterval=0.1 if watched else LOG)

    def batch_end(self, row: Row) -> None:
        self._bar.set_postfix(_short(row), refresh=False)
        self._bar.update()

    def epoch_end(self, row: Row) -> None:
        self._bar.set_postfix(_short(row))
        self.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _short(row: Row) -> dict[str, str]:
    names = {"loss": "loss", "accuracy": "acc", "valid_loss": "val_loss", "valid_accuracy": "val_acc",
             "images_per_second": "img/s"}
    return {short: f"{row[key]:.0f}" if key == "images_per_second" else f"{row[key]:.4f}"
            for key, short in names.items() if key in row}
