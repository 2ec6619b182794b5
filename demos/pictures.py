"""Pictures the demos share."""
from __future__ import annotations

import io
from pathlib import Path

import numpy as np

import nn
import tinygrad_conv as tg

try:
    from matplotlib.figure import Figure
except ImportError:
    raise ImportError("pictures need matplotlib; install the extra: pip install '.[viz]'") from None


def draw_misclassified(data: nn.data.Dataset, wrong: np.ndarray, said: np.ndarray, path: Path,
                       most: int = 40) -> None:
    """A page of the images a model got wrong: what it said, and what they are."""
    shown = min(len(wrong), most)
    columns = min(8, max(2, shown))
    rows = max(1, -(-shown // columns))
    figure = Figure(figsize=(1.35 * columns, 1.6 * rows + 0.6), layout="constrained")
    figure.suptitle(f"{len(wrong)} of {len(data)} test images wrong"
                    + (f", the first {most} shown" if len(wrong) > most else ""), fontsize=11)
    cells = figure.subplots(rows, columns, squeeze=False).flat
    for axes in cells[shown:]:
        axes.set_axis_off()
    for axes, i, guess in zip(cells, wrong[:most], said):
        axes.imshow(data.images[i].squeeze(), cmap="gray_r")
        axes.set_title(f"said {data.classes[guess]}\nis {data.classes[int(data.labels[i])]}", fontsize=8)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color("0.7")
    content = io.BytesIO()
    figure.savefig(content, dpi=130)
    tg.write_atomically(path, content.getvalue())
