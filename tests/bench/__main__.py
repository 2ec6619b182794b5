"""Measures the cases that are asked for, and writes what it found: see the package."""
from __future__ import annotations

import contextlib
import re
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

import tinygrad_conv as tg

from . import curves
from .cases import MEAN, cases, fashion
from .clock import quietest
from .peak import peak
from .rivals import installed
from .rows import TITLES, Row, as_csv, lines, means, summary
from .sides import torch

OUT = Path("runs/bench")


def measure(word: str) -> list[Row]:
    """The rows of the cases whose name contains the word, each printed when it is known."""
    wanted = [case for case in (fashion() if word.startswith("fashion") else cases()) if word in case.name]
    if not wanted:
        raise SystemExit(f"bench: no case has {word!r} in its name; the names are:\n  " + "\n  ".join(
            case.name for case in cases() + fashion()))
    rows: list[Row] = []
    for case in (bar := tqdm(wanted, unit="case", leave=False, disable=None)):
        bar.set_description(case.name)
        measured, others = quietest(partial(case.measure, case.name))
        found = [row._replace(others=others) for row in measured]
        bar.write(lines(found))
        rows += found
    if mean := means(*MEAN[:1], rows, *MEAN[1:]):
        print(lines(mean))
    return rows + mean


def main(word: str = "") -> None:
    if word.startswith("-"):
        print("python -m tests.bench [WORD]: all cases, or those whose name contains the word:\n  "
              + "\n  ".join(case.name for case in cases() + fashion()))
        return
    absent = installed()[1]
    if torch is None:
        absent.append("PyTorch")
    else:
        torch.set_num_threads(tg.get_num_threads())
    print("".join(f"not installed, skipped: {name}\n" for name in absent)
          + f"{tg.get_num_threads()} threads; this machine's peak: {peak('float32') / 1e9:.0f} GFLOP/s in float32, "
          f"{peak('float64') / 1e9:.0f} in float64\n\n{TITLES}", flush=True)
    rows = measure(word)
    stem = re.sub(r"\W+", "-", word) or "bench"
    tg.write_atomically(OUT / f"{stem}.csv", as_csv(rows))
    print(f"\n{summary(rows)}\nwritten: {OUT / stem}.csv", end="")
    if curves.NAMES <= {row.name for row in rows}:
        with contextlib.suppress(ImportError):  # no matplotlib
            tg.write_atomically(OUT / f"{stem}.png", partial(curves.draw, rows))
            print(f", {OUT / stem}.png", end="")
    print()


if __name__ == "__main__":
    main(*sys.argv[1:2])
