"""Augmentation of batches: functions (x, rng) -> x, or (x, y, rng) -> (x, y) where targets change too."""
from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import tinygrad_conv as tg

# as text, so that importing it does not load numpy.random
Transform: TypeAlias = "Callable[[np.ndarray, np.random.Generator], np.ndarray]"


class Joint:
    """A transform of inputs and targets together: a function (x, y, rng) -> (x, y), marked as such.

    Example:
        >>> import nn
        >>> data = nn.data.Dataset(np.zeros((4, 1, 2, 2), np.uint8), np.arange(4))
        >>> negative = Joint(lambda x, y, rng: (1 - x, 9 - y))
        >>> loader = nn.data.DataLoader(data, transform=negative, rng=np.random.default_rng(0))
        >>> next(iter(loader))[1].tolist()
        [9, 8, 7, 6]
    """

    def __init__(self, function: Callable[..., tuple[Any, Any]]) -> None:
        self.function = tg.arguments.instance(function, Callable, "Joint", "a function of (x, y, rng)")

    def __call__(self, x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        return self.function(x, y, rng)


def compose(*transforms: Transform | Joint) -> Any:
    """One transform after the other; a `Joint` if one of them is.

    Example:
        >>> import nn
        >>> both = nn.data.compose(nn.data.shift(1), nn.data.flip())
        >>> both(np.zeros((8, 1, 28, 28), np.float32), np.random.default_rng(0)).shape
        (8, 1, 28, 28)
    """
    for t in transforms:
        tg.arguments.instance(t, Callable, "compose", "transforms, functions of (x, rng)")
    if not any(isinstance(t, Joint) for t in transforms):
        return lambda x, rng: functools.reduce(lambda changed, t: t(changed, rng), transforms, x)  # type: ignore

    def joint(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        for t in transforms:
            x, y = t(x, y, rng) if isinstance(t, Joint) else (t(x, rng), y)
        return x, y

    return Joint(joint)


def with_mask(transform: Transform) -> Joint:
    """A transform that moves the masks of a batch as it moves the images: with the same random numbers.

    A mask is an array of integers (N, H, W) or (N, 1, H, W), the class of each pixel. The transforms of
    `nn.data` take its values from the nearest pixel, and colours, which it has not, they leave.

    Raises:
        TypeError, ValueError: for targets that are no masks of the images.

    Example:
        >>> import nn
        >>> x = np.random.default_rng(0).random((8, 1, 5, 5), np.float32)
        >>> moved, mask = with_mask(nn.data.rotate(30))(x, np.where(x[:, 0] > 0.5, 1, 0),
        ...                                             np.random.default_rng(1))
        >>> moved.shape, mask.shape, np.unique(mask).tolist()
        ((8, 1, 5, 5), (8, 5, 5), [0, 1])
    """
    tg.arguments.instance(transform, Callable, "with_mask", "a transform, a function of (x, rng)")
    if isinstance(transform, Joint):
        raise TypeError("with_mask: expects a transform of images, this one changes targets by itself")

    def joint(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        mask = np.asarray(y)
        if mask.dtype.kind not in "iub" or mask.ndim not in (3, 4) or (
                mask.shape[:1] + mask.shape[-2:] != x.shape[:1] + x.shape[-2:]):
            raise ValueError(f"with_mask: expects masks of integers (N, H, W) or (N, 1, H, W) for images of "
                             f"shape {x.shape}, got {mask.dtype} of shape {mask.shape}")
        again = copy.deepcopy(rng)
        moved = transform(x, rng)
        mask = transform(mask[:, None], again)[:, 0] if mask.ndim == 3 else transform(mask, again)
        return moved, mask

    return Joint(joint)


def _shares(op: str, y: Any, classes: int) -> np.ndarray:
    """Targets as the share of each class, (N, classes) of float32."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == classes and y.dtype.kind == "f":
        return y
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(f"{op}: expects targets (N,) of integers below classes={classes}, or their shares "
                         f"(N, {classes}), got {y.dtype} of shape {y.shape}")
    return np.eye(classes, dtype=np.float32)[y]


def mixup(alpha: float, classes: int) -> Joint:
    """Mix each image of a batch with another by chance, and their targets: x = w x + (1 - w) x[other].

    For the `transform` of a DataLoader; the loss must take shares of classes, as `tg.cross_entropy` does.

    Args:
        alpha: one w a batch, from Beta(alpha, alpha): small values leave images nearly whole.
        classes: how many there are; targets become (N, classes).

    Raises:
        TypeError, ValueError: for alpha not above 0, or targets that are no classes.

    Example:
        >>> x, y = mixup(0.2, 10)(np.ones((2, 1, 4, 4), np.float32), np.array([3, 7]),
        ...                       np.random.default_rng(0))
        >>> y.shape, y.sum(axis=1).tolist()
        ((2, 10), [1.0, 1.0])

    Source: Zhang, Cisse, Dauphin & Lopez-Paz 2018.
    """
    alpha, classes = _mixing("mixup", alpha, classes)

    def joint(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        y = _shares("mixup", y, classes)
        w, other = x.dtype.type(rng.beta(alpha, alpha)), rng.permutation(len(x))
        return w * x + (1 - w) * x[other], y.dtype.type(w) * y + y.dtype.type(1 - w) * y[other]

    return Joint(joint)


def cutmix(alpha: float, classes: int) -> Joint:
    """Paste a box of another image, by chance, into each of a batch; targets get the shares of the areas.

    For the `transform` of a DataLoader, as `mixup`. The box has the image's proportions and is cut off at
    its edges.

    Args:
        alpha: 1 - w of the area is pasted, one w a batch from Beta(alpha, alpha).
        classes: how many there are; targets become (N, classes).

    Raises:
        TypeError, ValueError: for alpha not above 0, or targets that are no classes.

    Example:
        >>> x, y = cutmix(1.0, 10)(np.ones((2, 1, 4, 4), np.float32), np.array([3, 7]),
        ...                        np.random.default_rng(0))
        >>> y.shape, y.sum(axis=1).tolist()
        ((2, 10), [1.0, 1.0])

    Source: Yun et al. 2019.
    """
    alpha, classes = _mixing("cutmix", alpha, classes)

    def joint(x: np.ndarray, y: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        y, (height, width) = _shares("cutmix", y, classes), x.shape[-2:]
        half = np.sqrt(1 - rng.beta(alpha, alpha)) / 2
        row, column, other = rng.integers(height), rng.integers(width), rng.permutation(len(x))
        rows = slice(max(0, int(row - half * height)), min(height, int(row + half * height)))
        columns = slice(max(0, int(column - half * width)), min(width, int(column + half * width)))
        x = x.copy()
        x[..., rows, columns] = x[other][..., rows, columns]
        pasted = (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return x, y.dtype.type(1 - pasted) * y + y.dtype.type(pasted) * y[other]

    return Joint(joint)


def _mixing(op: str, alpha: float, classes: int) -> tuple[float, int]:
    if tg.arguments.number(alpha, op, "alpha", 0) == 0:
        raise ValueError(f"{op}: alpha must be above 0, got {alpha!r}")
    return float(alpha), tg.arguments.whole(classes, op, "classes", 2)
