"""Which samples are taken, and in which order: parts of a data set, and the orders of an epoch.

A sampler has a length and gives, when called with a generator, the indices of an epoch. It keeps no state:
that of the loader's generator is all there is to resume.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

import tinygrad_conv as tg


class Sampler(Protocol):
    """What a DataLoader takes as `sampler`."""

    def __len__(self) -> int:
        """How many indices an epoch has."""

    def __call__(self, rng: np.random.Generator, /) -> np.ndarray:
        """The indices of an epoch, in their order."""


def _line(values: Any, op: str, name: str, kinds: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or not array.size or array.dtype.kind not in kinds:
        what = "integers" if kinds == "iu" else "numbers"
        raise ValueError(f"{op}: {name} must be {what}, one for each sample, got {array.dtype} of shape "
                         f"{array.shape}")
    return array


class Subset:
    """Some samples of a data set, in the order of `indices`; repeated ones are there as often.

    Args:
        dataset: has a length; what `subset[i]` gives is `dataset[indices[i]]`, for one i or an array.
        indices: whole numbers between 0 and len(dataset) - 1.

    Raises:
        ValueError: if `indices` are no whole numbers. IndexError: if one is out of range.

    Example:
        >>> import nn
        >>> few = Subset(nn.data.digits(), [3, 1])
        >>> len(few), few[:][1].tolist(), int(few[1][1])
        (2, [3, 1], 1)
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | np.ndarray) -> None:
        self.dataset, self.indices = dataset, _line(indices, "Subset", "indices", "iu")
        if (low := self.indices.min()) < 0 or self.indices.max() >= len(dataset):
            wrong = low if low < 0 else self.indices.max()
            raise IndexError(f"Subset: index {wrong} is out of range for a data set of {len(dataset)} "
                             f"samples")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[self.indices[index]]

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.dataset!r})"


def random_split(dataset: Any, lengths: Sequence[float], rng: np.random.Generator,
                 labels: Sequence[int] | np.ndarray | None = None) -> list[Subset]:
    """Divide a data set by chance into parts that share no sample.

    Args:
        dataset: has a length.
        lengths: of the parts, in samples, adding up to len(dataset); or as fractions that add up to 1, where
            what rounding down leaves over goes to the first parts, one sample each.
        rng: the generator that decides.
        labels: (N,) the class of each sample; with them each part has each class in the proportion that the
            whole has, to one sample or two (a stratified split).

    Raises:
        TypeError, ValueError: if lengths do not add up, or `labels` has another length.

    Example:
        >>> import nn
        >>> data = nn.data.digits("all")
        >>> train, valid = random_split(data, [0.9, 0.1], np.random.default_rng(0), labels=data.labels)
        >>> len(train), len(valid), np.bincount(valid[:][1]).tolist()
        (1618, 179, [18, 18, 17, 18, 19, 18, 18, 18, 17, 18])
    """
    n, given = len(dataset), [tg.arguments.number(v, "random_split", "a length", 0) for v in lengths]
    tg.arguments.generator(rng, "random_split")
    sizes = [int(v) for v in given]
    if sizes != given or sum(sizes) == 1 != n:  # fractions
        if abs(sum(given) - 1) > 1e-6:
            raise ValueError(f"random_split: fractions must add up to 1, {[*lengths]} to {sum(given)}")
        sizes = [int(n * v + 1e-9) for v in given]
        sizes = [size + (i < n - sum(sizes)) for i, size in enumerate(sizes)]
    if sum(sizes) != n:
        raise ValueError(f"random_split: lengths must add up to the {n} samples there are, {[*lengths]} to "
                         f"{sum(sizes)}")
    if labels is not None and len(labels) != n:
        raise ValueError(f"random_split: expects a label for each of {n} samples, got {len(labels)}")
    order = rng.permutation(n) if labels is None else StratifiedSampler(labels)(rng)
    if not min(sizes, default=0):
        raise ValueError(f"random_split: {[*lengths]} of {n} samples leaves a part without any")
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(sizes)[:-1])]


class WeightedRandomSampler:
    """Each index with a probability in proportion to its weight, anew in each epoch.

    Weights of `1 / np.bincount(labels)[labels]` show each class equally often.

    Args:
        weights: (N,) numbers of at least 0.
        num_samples: how many indices an epoch has.
        replacement: whether an index may come more than once in it.

    Raises:
        TypeError, ValueError: for weights that are no numbers, below 0, not finite or all 0, or, without
            replacement, fewer weights above 0 than `num_samples`.

    Example:
        >>> import nn
        >>> data, rng = nn.data.digits(), np.random.default_rng(0)
        >>> often = WeightedRandomSampler(np.where(data.labels == 3, 9.0, 1.0), len(data))
        >>> loader = nn.data.DataLoader(data, 64, sampler=often, rng=rng)
        >>> round(float(np.mean([y == 3 for y in next(iter(loader))[1]])), 1)
        0.5
    """

    def __init__(self, weights: Sequence[float] | np.ndarray, num_samples: int,
                 replacement: bool = True) -> None:
        self.weights = _line(weights, "WeightedRandomSampler", "weights", "fiub").astype(np.float64)
        self.num_samples = tg.arguments.whole(num_samples, "WeightedRandomSampler", "num_samples", 1)
        self.replacement = tg.arguments.flag(replacement, "WeightedRandomSampler", "replacement")
        if not (self.weights >= 0).all() or not 0 < self.weights.sum() < np.inf:
            raise ValueError("WeightedRandomSampler: weights must be finite, at least 0, and not all 0")
        there = np.count_nonzero(self.weights)
        if not replacement and there < num_samples:
            raise ValueError(f"WeightedRandomSampler: {num_samples} samples without replacement need as many "
                             f"weights above 0, got {there}")

    def __len__(self) -> int:
        return self.num_samples

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        p = self.weights / self.weights.sum()
        return rng.choice(len(p), self.num_samples, self.replacement, p)


class StratifiedSampler:
    """Every index once, by chance, but so that each class is spread evenly over the epoch.

    Of whatever length a batch is, it has each class in the proportion that the whole has, to one sample or
    two. The k-th of the n samples of a class, which are shuffled, gets a place by chance between k/n and
    (k+1)/n of the epoch.

    Args:
        labels: (N,) the class of each sample, such as `data.labels`.

    Raises:
        ValueError: if labels are not a line of integers.

    Example:
        >>> order = StratifiedSampler([0] * 6 + [1] * 3)(np.random.default_rng(0))
        >>> sorted(order.tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
    """

    def __init__(self, labels: Sequence[int] | np.ndarray) -> None:
        self.labels = _line(labels, "StratifiedSampler", "labels", "iu")

    def __len__(self) -> int:
        return len(self.labels)

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        _, classes, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        shuffled = rng.permutation(len(classes))
        by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
        rank = np.arange(len(classes)) - np.repeat(np.cumsum(counts) - counts, counts)
        place = (rank + rng.random(len(classes))) / np.repeat(counts, counts)
        return by_class[np.argsort(place, kind="stable")]
