"""What a training run measured: one row per epoch, to print and plot."""
import math
import os
from pathlib import Path

import tinygrad_conv as tg

Row = dict[str, float]


class History:
    """Rows of numbers, one per epoch; `interrupted` says that Ctrl-C ended the run.

    Example:
        >>> h = History([{"epoch": 1, "loss": 0.5}])
        >>> h["loss"], len(h)
        ([0.5], 1)
    """

    def __init__(self, rows: list[Row] | None = None) -> None:
        self.rows: list[Row] = list(rows or [])
        self.interrupted = False

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
        return "\n".join(lines) or "History(no epochs)"

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot loss and accuracy over the epochs into a picture file, written whole or not at all.

        Args:
            path: with an ending matplotlib can write, such as .png or .svg; missing folders are made.

        Raises:
            ImportError: without matplotlib; names the extra.
            ValueError: for another ending.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("plots need matplotlib; install the extra: pip install "
                              "'tinygrad_conv[viz]'") from None
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy")):
            for name, style, color, label in ((key, "-", "0.55", "training"),
                                              (f"valid_{key}", "o-", "tab:blue", "held out")):
                if any(name in row for row in self.rows):
                    axes.plot(self["epoch"], self[name], style, color=color, markersize=3.5, label=label)
            axes.set(xlabel="epoch", ylabel=key)
            axes.grid(alpha=0.3)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if axes.lines:
                axes.legend(frameon=False)
        ending = Path(path).suffix[1:].lower()
        if ending not in figure.canvas.get_supported_filetypes():
            raise ValueError(f"plot: expects a picture file such as .png or .svg, got {os.fspath(path)!r}")
        tg.write_atomically(path, lambda part: figure.savefig(part, dpi=120, format=ending))
