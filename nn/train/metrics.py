"""What is measured of a classifier beside its loss: counts over all batches, from which one value comes.

A metric sums counts, never means, so that a smaller last batch counts as what it is.
"""
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..parallel import World
from . import curves


class Metric:
    """Base class: `begin` before the batches, `update` with each of them, `value` at their end.

    Its name is its column in a history; for held-out data "valid_" stands before it. What it knows of the
    batches are sums, in an array `counts`: the ranks of a `world` add theirs.

    Example:
        >>> import nn
        >>> class Near(nn.Metric):
        ...     name = "near"
        ...     def begin(self):
        ...         self.counts = np.zeros(2)
        ...     def update(self, output, y):
        ...         self.counts += (abs(output[:, 0] - y) < 0.5).sum(), len(y)
        ...     def value(self):
        ...         return self.counts[0] / self.counts[1]
        >>> batches = [(np.ones((2, 1)), np.array([1.0, 2.0]))]
        >>> nn.evaluate(nn.Identity(), batches, lambda o, y: ((o[:, 0] - y) ** 2.0).mean(), metrics=[Near()])
        {'loss': 0.5, 'near': 0.5}
    """

    name: str
    counts: np.ndarray

    def begin(self) -> None:
        """Forget what was counted."""
        raise NotImplementedError(f"{type(self).__name__} has no begin(); define it")

    def update(self, output: Any, y: Any) -> None:
        """Count a batch: what the model gave, an array or a tuple of them, and the targets."""
        raise NotImplementedError(f"{type(self).__name__} has no update(); define it")

    def value(self) -> Any:
        """A number, or an array of them; nan of no example at all."""
        raise NotImplementedError(f"{type(self).__name__} has no value(); define it")


def _classes(op: str, output: Any, y: Any, ignore: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Scores (M, C) and labels (M,) of all places that count; of one score a 0 is set against it."""
    scores, labels = np.asarray(output), np.asarray(y)
    if scores.ndim == labels.ndim:
        scores = scores[:, None] if scores.ndim == 1 else scores
        labels = labels[:, 0] if labels.ndim > 1 and labels.shape[1] == 1 else labels
    if scores.ndim < 2 or scores.shape[:1] + scores.shape[2:] != labels.shape:
        raise ValueError(f"{op}: expects scores (N, classes, ...) and labels (N, ...), got shapes "
                         f"{scores.shape} and {labels.shape}")
    scores, labels = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1]), labels.reshape(-1)
    if scores.shape[1] == 1:
        scores = np.concatenate([np.zeros_like(scores), scores], axis=1)
    if ignore is not None:
        scores, labels = scores[labels != ignore], labels[labels != ignore]
    whole = labels.astype(np.int64)
    if len(whole) and not ((whole == labels) & (whole >= 0) & (whole < scores.shape[1])).all():
        raise ValueError(f"{op}: the labels of {scores.shape[1]} classes are 0 to {scores.shape[1] - 1}, got "
                         f"{labels.min()} to {labels.max()}; ignore_index leaves one out")
    return scores, whole


class TopK(Metric):
    """The share of labels that are among the k highest scores; of equal scores the first classes count.

    Args:
        k: how many.
        ignore_index: a label that is not counted.

    Example:
        >>> top = TopK(2)
        >>> top.begin()
        >>> top.update(np.array([[0.1, 0.5, 0.4], [0.7, 0.2, 0.1]]), np.array([2, 2]))
        >>> top.name, top.value()
        ('top2', 0.5)
    """

    def __init__(self, k: int = 5, ignore_index: int | None = None) -> None:
        self.k, self.ignore_index = tg.arguments.whole(k, type(self).__name__, "k", 1), ignore_index
        self.name = f"top{k}"
        self.begin()

    def begin(self) -> None:
        self.counts = np.zeros(2, np.int64)  # hits, and of how many

    def update(self, output: Any, y: Any) -> None:
        scores, labels = _classes(type(self).__name__, output, y, self.ignore_index)
        own, places = scores[np.arange(len(labels)), labels][:, None], np.arange(scores.shape[1])
        before = (scores > own) | (scores == own) & (places < labels[:, None])
        self.counts += (before.sum(axis=1) < self.k)[~np.isnan(scores).any(axis=1)].sum(), len(labels)

    def value(self) -> float:
        return float(self.counts[0] / self.counts[1]) if self.counts[1] else np.nan


class Accuracy(TopK):
    """The share of labels that have the highest score: of images (N, C), or of pixels (N, C, H, W).

    `nn.fit` measures that of images unasked.

    Example:
        >>> right = Accuracy()
        >>> right.update(np.array([[0.1, 0.5], [0.7, 0.2]]), np.array([1, 1]))
        >>> right.value()
        0.5
    """

    def __init__(self, ignore_index: int | None = None) -> None:
        super().__init__(1, ignore_index)
        self.name = "accuracy"


class ConfusionMatrix(Metric):
    """How often a class (row) was taken for another (column), as counts.

    One score for each example instead of several is the logit of class 1. A history has numbers only: after
    `nn.fit` the matrix is that of the last pass, over the held-out data if there are any.

    Args:
        ignore_index: a label that is not counted.

    Raises:
        ValueError: if a batch has other shapes, classes or labels.

    Example:
        >>> matrix = ConfusionMatrix()
        >>> matrix.update(np.array([[0.1, 0.5], [0.7, 0.2]]), np.array([1, 1]))
        >>> matrix.value().tolist()
        [[0, 0], [1, 1]]
    """

    name = "confusion"

    def __init__(self, ignore_index: int | None = None) -> None:
        self.ignore_index = ignore_index
        self.begin()

    def begin(self) -> None:
        self.counts = np.zeros((0, 0), np.int64)

    def update(self, output: Any, y: Any) -> None:
        scores, labels = _classes(type(self).__name__, output, y, self.ignore_index)
        n = scores.shape[1]
        if len(self.counts) not in (0, n):
            raise ValueError(f"{type(self).__name__}: this batch has {n} classes, those before had "
                             f"{len(self.counts)}")
        found = np.bincount(labels * n + scores.argmax(axis=1), minlength=n * n).reshape(n, n)
        self.counts = found if not len(self.counts) else self.counts + found

    def value(self) -> Any:
        return self.counts

    def plot(self, path: str | os.PathLike[str] | None = None, classes: Sequence[str] = ()) -> Any:
        """Draw the matrix: counts as numbers, the share of its row as colour.

        Args:
            path: as of `nn.History.plot`; without it the figure is returned.
            classes: their names.
        """
        return curves.kept(_matrix(self.counts, classes), path)


def _parts(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the classes that were there or said: how often both, how often there, how often said."""
    there, said = counts.sum(axis=1), counts.sum(axis=0)
    met = there + said > 0
    return counts.diagonal()[met], there[met], said[met]


class F1(ConfusionMatrix):
    """2 TP / (2 TP + FP + FN) of a class, and what it is of several.

    Args:
        average: "macro", the mean over the classes that were there or said; "weighted", by how often they
            were there; "binary", that of class 1.
        ignore_index: a label that is not counted.

    Example:
        >>> f1 = F1("binary")
        >>> f1.update(np.array([2.0, -1.0, 3.0]), np.array([1, 1, 0]))
        >>> f1.value()
        0.5

    Source: van Rijsbergen, Information Retrieval, 1979; the averages are scikit-learn's.
    """

    name = "f1"

    def __init__(self, average: str = "macro", ignore_index: int | None = None) -> None:
        self.average = tg.arguments.one_of(average, "F1", "average", ["macro", "weighted", "binary"])
        super().__init__(ignore_index)

    def value(self) -> float:
        if not self.counts.sum():
            return np.nan
        both, there, said = _parts(self.counts)
        if self.average == "binary":
            both, there, said = (np.array([n]) for n in (
                self.counts[1, 1], self.counts[1].sum(), self.counts[:, 1].sum()))
        scores = 2 * both / np.maximum(there + said, 1)
        return float(np.average(scores, weights=there if self.average == "weighted" else None))


class IoU(ConfusionMatrix):
    """The intersection over the union of each class's pixels, as the mean over the classes there or said.

    Args:
        ignore_index: a label that is not counted, such as 255 for the borders of objects.

    Example:
        >>> iou = IoU()
        >>> scores = np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]])
        >>> iou.update(scores, np.array([[[0, 0]]]))
        >>> iou.value()
        0.25

    Source: Everingham et al., The Pascal Visual Object Classes Challenge, 2010.
    """

    name = "iou"

    def value(self) -> float:
        both, there, said = _parts(self.counts)
        return float(np.mean(both / (there + said - both))) if len(both) else np.nan


def checked(op: str, metrics: Any) -> list[Metric]:
    """The metrics, after refusing what is none, and names that a column has already."""
    tg.arguments.instance(metrics, Sequence, op, "a list of metrics, such as [nn.F1()]")
    names = ["loss", "epoch", "lr", "seconds", "images_per_second"]
    for metric in metrics:
        tg.arguments.instance(metric, Metric, op, "metrics that are nn.Metric objects, such as nn.F1()")
        if metric.name in names:
            raise ValueError(f"{op}: there are two columns {metric.name!r}; give one metric another name")
        names.append(metric.name)
    return [*metrics]


class Measure:
    """What was measured over batches: means of loss and, for class targets, accuracy; and metrics."""

    def __init__(self, metrics: Sequence[Metric], world: World) -> None:
        self.world = world
        self.samples, self.size, self.sums, self.metrics = 0, 0, {"loss": 0.0}, metrics
        for metric in metrics:
            metric.begin()

    def add(self, n: int, loss: float, output: Any, y: Any) -> None:
        """A batch of n, of which the world's ranks have parts."""
        world = self.world
        found, rows = {"loss": loss * n * world.share if world.share else 0.0}, round(n * world.share)
        if (isinstance(output, tg.Tensor) and not isinstance(y, tuple)  # one output and one target
                and output.ndim == 2 and output.shape[1] > 1):
            labels = np.asarray(y)
            if labels.dtype.kind in "iu" and labels.shape == (len(output),):
                hits = (output.detach().numpy().argmax(axis=1) == labels)[:rows].sum()
                found["accuracy"] = float(hits)
        self.samples, self.size = self.samples + n, n
        for name, value in zip(found, world.sum(found.values())):
            self.sums[name] = self.sums.get(name, 0.0) + value
        for metric in self.metrics:
            metric.update(*[plain(value, None if world.share else 0) for value in (output, y)])

    def means(self) -> dict[str, float]:
        return {name: total / max(1, self.samples) for name, total in self.sums.items()}

    def row(self) -> dict[str, Any]:
        """The means, and the values of the metrics by name; once, and on all ranks."""
        for metric in self.metrics if self.world.size > 1 else ():
            metric.counts = self.world.total(metric.counts)
        values = {metric.name: metric.value() for metric in self.metrics}
        return {**self.means(), **{name: float(v) if np.ndim(v) == 0 else v for name, v in values.items()}}

    def numbers(self) -> dict[str, float]:
        """Those of the row that are one number: what a history keeps."""
        return {name: value for name, value in self.row().items() if isinstance(value, float)}


def plain(value: Any, rows: int | None = None) -> Any:
    """What a model returned, or targets, with arrays in the place of tensors; the first rows, or all."""
    if isinstance(value, Mapping):
        return {key: plain(part, rows) for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple([plain(part, rows) for part in value])
    value = value.detach().numpy() if isinstance(value, tg.Tensor) else value
    return value if rows is None else value[:rows]


def _matrix(counts: np.ndarray, classes: Sequence[str]) -> Any:
    n = len(counts)
    names = [str(name) for name in classes] or [str(i) for i in range(n)]
    if len(names) != n:
        raise ValueError(f"plot: expects {n} classes, got {len(names)}")
    size = max(3.2, 0.45 * n + 1.6)
    figure = curves.figure_of(size, size)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            axes.text(j, i, f"{count:,}", ha="center", va="center", fontsize=8,
                      color="white" if shares[i, j] > 0.5 else "black")
    turn = 90 if max(map(len, names), default=0) > 3 else 0
    axes.set_xticks(range(n), names, rotation=turn)
    axes.set_yticks(range(n), names)
    axes.set(xlabel="said", ylabel="is", title=f"{counts.diagonal().sum():,} of {counts.sum():,} right")
    return figure
