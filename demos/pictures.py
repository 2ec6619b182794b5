"""Pictures the demos share."""
from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

import nn
import tinygrad_conv as tg

try:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError:
    raise ImportError("pictures need matplotlib; install the extra: pip install '.[viz]'") from None


def keep(figure: Figure, path: Path) -> Path:
    """Write a figure without blank margins as a PNG file, all of it or nothing."""
    content = io.BytesIO()
    figure.savefig(content, dpi=130, bbox_inches="tight", pad_inches=0.1)
    tg.write_atomically(path, content.getvalue())
    return path


def show(axes: Axes, image: np.ndarray, title: str = "", **how: Any) -> None:
    """An image without ticks, dark ink on white unless told otherwise."""
    axes.imshow(image.squeeze(), **{"cmap": "gray_r", **how})
    axes.set_title(title, fontsize=8)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.7")


def charts(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with charts side by side."""
    figure = Figure(figsize=(1.8 + 3.2 * count, 3.5), layout="constrained")
    return figure, [*figure.subplots(1, count)]


def finish(axes: Axes, title: str, x: str, **limits: Any) -> None:
    """What a chart needs beside its lines."""
    axes.set_title(title, fontsize=10)
    axes.set(xlabel=x, **limits)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_misclassified(data: nn.data.Dataset, wrong: np.ndarray, said: np.ndarray, path: Path,
                       most: int = 40) -> None:
    """A page of the images a model got wrong: what it said, and what they are."""
    shown = min(len(wrong), most)
    rows = max(1, -(-shown // 8))
    columns = max(1, -(-shown // rows))  # so that the last row is about full
    figure = Figure(figsize=(1.35 * columns, 1.6 * rows + 0.6), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(data)} test images wrong"
                    + (f", the first {most} shown" if len(wrong) > most else ""), fontsize=11)
    cells = [*figure.subplots(rows, columns, squeeze=False).flat]
    for axes in cells[shown:]:
        axes.remove()
    for axes, i, guess in zip(cells, wrong[:most], said):
        show(axes, data.images[i], f"said {data.classes[guess]}\nis {data.classes[int(data.labels[i])]}")
    keep(figure, path)
