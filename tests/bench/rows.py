"""What the bench says: rows of figures beside targets, as lines of a table and as CSV."""
from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

from .clock import BUSY

VERDICTS = {True: "met", False: "NOT MET", None: "not judged"}


class Target(NamedTuple):
    """What a figure, or where there is one its ratio, has to keep."""

    most: float = math.inf
    least: float = -math.inf

    def __str__(self) -> str:
        return f"at most {self.most:g}" if self.most < math.inf else f"at least {self.least:g}"


class Row(NamedTuple):
    """One side of one case: a figure in milliseconds or another unit, nan if there is a ratio only.

    `work` are the floating-point operations of a call, `peak` those that the machine could do in a second.
    """

    name: str
    side: str
    figure: float
    unit: str = "ms"
    ratio: float | None = None
    spread: tuple[float, float] | None = None  # the least and the greatest ratio of a block
    target: Target | None = None
    work: float = 0.0
    peak: float = math.inf
    others: float = 0.0  # CPUs that other processes used meanwhile

    @property
    def rate(self) -> float:
        """Floating-point operations in a second, of a figure in milliseconds."""
        return self.work / self.figure * 1e3

    @property
    def share(self) -> float:
        """Of the machine's peak."""
        return self.rate / self.peak

    @property
    def met(self) -> bool | None:
        """Whether the target is; None where there is none, or where what others did may have changed the figure."""
        if self.target is None or self.others > BUSY:
            return None
        return self.target.least <= (self.figure if self.ratio is None else self.ratio) <= self.target.most


class Work(NamedTuple):
    """Floating-point operations of a call, and those that the machine could do in a second."""

    operations: float
    peak: float


def compared(name: str, sides: Sequence[str], rounds: Sequence[Sequence[float]], work: Work,
             targets: dict[str, Target]) -> list[Row]:
    """A row a side, from the seconds of each side in each round; ratios are to PyTorch, if it is a side."""
    rows = []
    for k, side in enumerate(sides):
        figure, ratio, spread = statistics.median(r[k] for r in rounds) * 1e3, None, None
        if "PyTorch" in sides and side != "PyTorch":
            ratios = [r[k] / r[sides.index("PyTorch")] for r in rounds]
            ratio, spread = statistics.median(ratios), (min(ratios), max(ratios))
        rows.append(Row(name, side, figure, "ms", ratio, spread, targets.get(side) if ratio else None, *work))
    return rows


def fastest_rival(ours: Sequence[Row], rivals: Sequence[Row], targets: dict[str, Target]) -> list[Row]:
    """For each side of ours that has a target: how many times as long the fastest rival takes."""
    if not rivals:
        return []
    best = min(rivals, key=lambda row: row.figure)
    return [row._replace(name=f"{row.name}: {best.side} / ours", ratio=best.figure / row.figure,
                         spread=None, target=targets[row.side]) for row in ours if row.side in targets]


def means(name: str, rows: Sequence[Row], names: Sequence[str], targets: dict[str, Target]) -> list[Row]:
    """The geometric mean of the ratios of these cases, for each side that has a ratio in all of them."""
    found = []
    for side, target in targets.items():
        these = [row for row in rows if row.name in names and row.side == side and row.ratio]
        if len(these) == len(names):
            found.append(Row(name, side, math.nan, "", statistics.geometric_mean(row.ratio for row in these),
                             target=target, others=max(row.others for row in these)))
    return found


# ----- on the screen -----

TITLES = f"{'case':56} {'side':14}{'figure':>13}   {'ratio (of blocks)':23}{'target':24}{'GFLOP/s':>9}{'of peak':>9}"


def lines(rows: Sequence[Row]) -> str:
    """A line a row, under TITLES; a name stands once."""
    return "\n".join(line(row, row.name * (k == 0 or rows[k - 1].name != row.name)) for k, row in enumerate(rows))


def line(row: Row, name: str) -> str:
    figure = "" if math.isnan(row.figure) else f"{row.figure:.2f} {row.unit:3}"
    ratio = "" if row.ratio is None else f"{row.ratio:5.2f}x"
    spread = f" ({row.spread[0]:.2f} to {row.spread[1]:.2f})" if row.spread else ""
    target = "" if row.target is None else f"{row.target}: {VERDICTS[row.met]}"
    rates = f"{row.rate / 1e9:9.1f}{row.share:9.0%}" if row.work and not math.isnan(row.figure) else ""
    busy = f"   others took {row.others:.1f} CPUs" if row.others > BUSY else ""
    return f"{name:56} {row.side:14}{figure:>13}   {ratio + spread:23}{target:24}{rates}{busy}".rstrip()


def summary(rows: Sequence[Row]) -> str:
    """How many targets are met, and which are not."""
    judged = [row for row in rows if row.target]
    missed, unsure = [[row for row in judged if row.met is answer] for answer in (False, None)]
    return "\n".join([
        f"{len(judged) - len(missed) - len(unsure)} of {len(judged)} targets met",
        *[f"  not met: {row.name}, {row.side}: {row.figure if row.ratio is None else row.ratio:.2f}, {row.target}"
          for row in missed],
        *[f"{len(unsure)} not judged, since other processes computed meanwhile; measure them again:"] * bool(unsure),
        *[f"  {name}" for name in dict.fromkeys(row.name for row in unsure)]])


# ----- in a file -----

HEAD = ["name", "side", "figure", "unit", "ratio", "GFLOP/s", "share of peak", "target", "met",
        "CPUs of others"]


def as_csv(rows: Sequence[Row]) -> bytes:
    """A line a row; empty where there is nothing to say."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEAD)
    for row in rows:
        rates = [f"{row.rate / 1e9:.4g}", f"{row.share:.4g}"] if row.work else ["", ""]
        writer.writerow([
            row.name, row.side, "" if math.isnan(row.figure) else f"{row.figure:.5g}", row.unit,
            "" if row.ratio is None else f"{row.ratio:.4g}", *rates, row.target or "",
            VERDICTS[row.met] if row.target else "", f"{row.others:.2f}"])
    return text.getvalue().encode()
