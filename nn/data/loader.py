"""Batches of a data set, in order or shuffled by the user's generator."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .augment import Transform


class DataLoader:
    """Iterates over (x, y) batches of arrays; each `for` is an epoch.

    Args:
        dataset: has a length; `dataset[array of indices]` returns a tuple of arrays.
        batch_size: samples per batch; the last may have fewer.
        shuffle: a new order every epoch.
        rng: the generator of the order and of `transform`. An epoch depends on its state alone, so
            saving that is enough to resume exactly.
        drop_last: leave out a last batch that is not full.
        transform: `transform(x, rng)` changes the inputs of a batch (augmentation).

    Raises:
        TypeError: for a list or a bare array, or if `shuffle` or `transform` is asked for without `rng`.

    Example:
        >>> from nn.data import Dataset
        >>> data = Dataset(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5))
        >>> [len(y) for x, y in DataLoader(data, 2)], len(DataLoader(data, 2, drop_last=True))
        ([2, 2, 1], 2)
    """

    def __init__(self, dataset: Any, batch_size: int = 64, shuffle: bool = False,
                 rng: np.random.Generator | None = None, drop_last: bool = False,
                 transform: Transform | None = None) -> None:
        if isinstance(dataset, list | tuple | np.ndarray | dict | str) or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: expects a data set, which takes an array of indices and gives a "
                            f"tuple of arrays, got {type(dataset).__name__}; pass nn.data.Dataset(x, y)")
        if not tg.arguments.is_whole(batch_size, 1):
            raise ValueError(f"DataLoader: batch_size must be a whole number of at least 1, got "
                             f"{batch_size!r}")
        if (shuffle or transform) and not isinstance(rng, np.random.Generator):
            raise TypeError(f"DataLoader: shuffle and transform need rng, a NumPy generator, got "
                            f"{type(rng).__name__}; pass rng=np.random.default_rng(seed)")
        self.dataset, self.batch_size, self.shuffle = dataset, int(batch_size), shuffle
        self.rng, self.drop_last, self.transform = rng, drop_last, transform

    def __len__(self) -> int:
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        n = len(self.dataset)
        order = self.rng.permutation(n) if self.shuffle else np.arange(n)
        for i in range(len(self)):
            batch = self.dataset[order[i * self.batch_size:(i + 1) * self.batch_size]]
            if not isinstance(batch, tuple | list):  # rows would be taken for inputs and targets
                raise TypeError(f"DataLoader: {type(self.dataset).__name__}[array of indices] must give a "
                                f"tuple of arrays, got {type(batch).__name__}; return (x[index], y[index])")
            x, *rest = batch
            yield (self.transform(x, self.rng) if self.transform else x, *rest)
