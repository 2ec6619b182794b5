"""What a trained model says of data, and where it is most wrong."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module, evaluating
from . import curves
from .given import pair
from .metrics import plain


def predict(model: Module, data: Any, batch_size: int = 256) -> Any:
    """What the model gives for all of the data, in evaluation mode, unrecorded; its mode is restored.

    Args:
        model: called with a tensor of a batch's inputs.
        data: inputs (N, ...), an array or tensor; or a data set, of whose (x, y) x is taken, in order.
        batch_size: how many are computed at once.

    Returns:
        an array (N, ...); of a model that returns a tuple or dictionary, one of arrays.

    Raises:
        TypeError: if `data` has no length, as a loader's shuffled batches have no order.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> nn.predict(net, nn.data.digits("test")).shape
        (355, 10)
    """
    tg.arguments.instance(model, Module, "predict", "a module first")
    size = tg.arguments.whole(batch_size, "predict", "batch_size", 1)
    with tg.state_kept(), evaluating(model), tg.no_grad():
        return _joined([plain(model(tg.tensor(batch[0] if isinstance(batch, tuple | list) else batch)))
                        for batch in _batches("predict", data, size)])


def _batches(op: str, data: Any, size: int) -> Iterator[Any]:
    """What the data give for each run of `size` indices; of no data one that is empty."""
    data = np.asarray(data) if isinstance(data, list) else data
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")) or isinstance(data, Mapping | str):
        raise TypeError(f"{op}: expects inputs (N, ...) or a data set, got {type(data).__name__}; of a "
                        f"loader, pass its dataset")
    for start in range(0, max(1, len(data)), size):
        yield data[np.arange(start, min(start + size, len(data)))]


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: _joined([part[key] for part in parts]) for key in parts[0]}
    if isinstance(parts[0], tuple | list):
        return tuple([_joined(same) for same in zip(*parts)])
    return np.concatenate(parts)


@dataclass(frozen=True)
class TopLosses:
    """The examples with the largest losses, the largest first: see `top_losses`."""

    indices: np.ndarray
    losses: np.ndarray
    outputs: np.ndarray
    data: Any = field(repr=False)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draw the images (1 or 3 channels) with what was said, what they are, and the loss.

        Args:
            path: as of `nn.History.plot`; without it the figure is returned.
        """
        images, labels = self.data[self.indices]
        columns = min(8, max(1, len(images)))
        rows = max(1, -(-len(images) // columns))
        figure = curves.figure_of(1.45 * columns + 0.3, 1.85 * rows + 0.2)
        names = [*getattr(self.data, "classes", ())] or range(10**9)
        for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
            axes.set_axis_off()
            if i < len(images):
                axes.imshow(_shown(images[i]), cmap="gray_r")
                said = (f"said {names[self.outputs[i].argmax()]}, is {names[labels[i]]}\n"
                        if np.ndim(labels) == 1 and np.ndim(self.outputs) == 2 else "")
                axes.set_title(f"{said}loss {self.losses[i]:.3g}", fontsize=8)
        return curves.kept(figure, path)


def _shown(image: np.ndarray) -> np.ndarray:
    """As matplotlib takes it: (H, W), or colours (H, W, 3) between 0 and 1."""
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(f"plot: expects images (1, H, W) or (3, H, W), got shape {image.shape}")
    low, high = image.min(), image.max()
    return image[0] if len(image) == 1 else ((image - low) / ((high - low) or 1)).transpose(1, 2, 0)


def top_losses(model: Module, data: Any, loss: Callable[..., tg.Tensor] = tg.cross_entropy, k: int = 16,
               batch_size: int = 256) -> TopLosses:
    """The k examples of a data set on which the model errs most; `plot` shows them.

    Args:
        model: in evaluation mode while it computes.
        data: `data[indices]` is a tuple of arrays, the inputs and the targets, as of `nn.data.Dataset`.
        loss: `loss(output, y)` of one example is one value.
        k: how many, or all there are.
        batch_size: how many are computed at once.

    Returns:
        what was found: `indices` in the data, `losses` and `outputs`, of length k each.

    Raises:
        ValueError: if a loss is not one value. TypeError: if the data do not give (x, y).

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        >>> worst = nn.top_losses(net, nn.data.digits("test"), k=3)
        >>> len(worst.indices), bool(worst.losses[0] >= worst.losses[1])
        (3, True)
    """
    tg.arguments.instance(model, Module, "top_losses", "a module first")
    k = tg.arguments.whole(k, "top_losses", "k", 1)
    size = tg.arguments.whole(batch_size, "top_losses", "batch_size", 1)
    said, there = [], []
    with tg.state_kept(), evaluating(model), tg.no_grad():
        for batch in _batches("top_losses", data, size):  # each is read once: it may be decoded from files
            x, y = pair("top_losses", batch, "nn.data.Dataset(x, y)")
            said.append(plain(model(tg.tensor(x))))
            there.append(y)
    outputs, labels = _joined(said), _joined(there)
    with tg.no_grad():
        found = [loss(tg.tensor(outputs[i:i + 1]), labels[i:i + 1]) for i in range(len(data))]
    if wrong := [value.shape for value in found if value.size != 1]:
        raise ValueError(f"top_losses: the loss of one example must be one value, got shape {wrong[0]}; "
                         f"leave reduction='none' out")
    losses = np.array([value.item() for value in found])
    order = np.argsort(-losses, kind="stable")[:k]  # nan is last
    return TopLosses(order, losses[order], outputs[order], data)
