"""Transforms that change colours: images (N, C, H, W) of floats between 0 and 1. Masks, of integers, stay.

For masks the same numbers are drawn: whatever comes next is the same for an image and its mask.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .augment import Transform
from .moving import _check, draw_box, span

GREY = (0.2989, 0.587, 0.114)  # red, green and blue in it; ITU-R BT.601


def normalize(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """(x - mean) / std of each channel.

    Args:
        mean, std: one number, or one for each channel, as `x.mean(axis=(0, 2, 3))` of a data set gives.

    Raises:
        ValueError: for std of 0 or below, numbers that are not finite, or images of other channels.

    Example:
        >>> normalize(0.5, [0.5])(np.ones((1, 1, 1, 1), np.float32), None).item()
        1.0
    """
    m, s = (np.atleast_1d(np.asarray(v, np.float64)) for v in (mean, std))
    if m.ndim != 1 or s.ndim != 1 or not np.isfinite([*m, *s]).all() or not (s > 0).all():
        raise ValueError(f"normalize: expects a mean and a std above 0 for each channel, got {mean!r}, "
                         f"{std!r}")

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("normalize", x)
        if x.dtype.kind != "f":
            return x
        if {len(m), len(s)} - {1, x.shape[1]}:
            raise ValueError(f"normalize: expects {max(len(m), len(s))} channels, got shape {x.shape}")
        return (x - m.astype(x.dtype)[:, None, None]) / s.astype(x.dtype)[:, None, None]

    return transform


def erase(p: float = 0.5, scale: tuple[float, float] = (0.02, 0.33), ratio: tuple[float, float] = (0.3, 3.3),
          value: float = 0.0) -> Transform:
    """Fill a box of each image, with probability p, of an area, proportions and a place by chance.

    Args:
        p: the probability.
        scale: the least and largest share of the image's area.
        ratio: the least and largest width divided by height.
        value: what the box is filled with.

    Raises:
        TypeError, ValueError: for p outside [0, 1], spans that are none, or a batch of another shape.

    Example:
        >>> x = np.ones((4, 1, 8, 8), np.float32)
        >>> bool(erase(1.0)(x, np.random.default_rng(0)).mean() < 1)
        True

    Source: Zhong et al. 2017.
    """
    p = tg.arguments.number(p, "erase", "p", 0, 1)
    scale, ratio = span("erase", "scale", scale, 0, 1), span("erase", "ratio", ratio, 1e-3, 1e3)
    value = tg.arguments.number(value, "erase", "value")

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("erase", x)
        chosen = rng.random(len(x)) < p
        boxes = draw_box(rng, len(x), x.shape[2], x.shape[3], scale, ratio)
        if x.dtype.kind != "f":
            return x
        x = x.copy()
        for image, box, this in zip(x, boxes, chosen):
            if this and box is not None:
                top, left, h, w = box
                image[:, top:top + h, left:left + w] = value
        return x

    return transform


def _blend(a: np.ndarray, b: Any, factor: Any) -> np.ndarray:
    return np.clip(factor * a + (1 - factor) * b, 0, 1)


def _grey(image: np.ndarray) -> np.ndarray:
    """(1, H, W): of one channel itself."""
    return image if len(image) == 1 else np.tensordot(np.array(GREY, image.dtype), image, 1)[None]


def _hue(image: np.ndarray, turn: Any) -> np.ndarray:
    """(3, H, W) with its hues turned by `turn` of the circle."""
    high, low = image.max(axis=0), image.min(axis=0)
    spread = high - low
    safe = np.where(spread > 0, spread, 1)
    r, g, b = image
    hue = np.where(high == r, (g - b) / safe, np.where(high == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    hue = (hue / 6 + turn) % 1
    # each of red, green, blue is high, falls to low, stays and rises again as the hue goes round
    k = (np.array([5, 3, 1], image.dtype)[:, None, None] + hue * 6) % 6
    return high - spread * np.clip(np.minimum(k, 4 - k), 0, 1)


def color_jitter(brightness: float = 0.0, contrast: float = 0.0, saturation: float = 0.0,
                 hue: float = 0.0) -> Transform:
    """Change brightness, contrast, saturation and hue of each image by chance, in an order by chance.

    Args:
        brightness, contrast, saturation: b draws a factor from [max(0, 1 - b), 1 + b]. The image is blended
            with black, with the mean of its grey image, with its grey image.
        hue: at most 0.5, half of the circle of colours, either way.

    Values are kept between 0 and 1. Images have 3 channels, or, if saturation and hue are 0, one.

    Raises:
        TypeError, ValueError: for numbers out of range, or images of other channels.

    Example:
        >>> x = np.random.default_rng(0).random((2, 3, 4, 4), np.float32)
        >>> color_jitter(0.4, 0.4, 0.4, 0.1)(x, np.random.default_rng(0)).shape
        (2, 3, 4, 4)

    The formulas are torchvision's.
    """
    three = [tg.arguments.number(v, "color_jitter", name, 0, 1e3) for name, v in (
        ("brightness", brightness), ("contrast", contrast), ("saturation", saturation))]
    hue = tg.arguments.number(hue, "color_jitter", "hue", 0, 0.5)
    low, high = [max(0.0, 1 - v) for v in three] + [-hue], [1 + v for v in three] + [hue]

    def transform(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check("color_jitter", x)
        factors = rng.uniform(low, high, (len(x), 4))
        orders = rng.permuted(np.tile(np.arange(4), (len(x), 1)), axis=1)
        if x.dtype.kind != "f" or not len(x):
            return x
        if x.shape[1] != 3 and (x.shape[1] != 1 or three[2] or hue):
            raise ValueError(f"color_jitter: expects images of 3 channels, or of 1 without saturation and "
                             f"hue, got shape {x.shape}")
        return np.stack([_jittered(image, f.astype(x.dtype), order, three[:3] + [hue])
                         for image, f, order in zip(x, factors, orders)])

    return transform


def _jittered(image: np.ndarray, factors: np.ndarray, order: np.ndarray, asked: list[float]) -> np.ndarray:
    for step in order:
        if not asked[step]:
            continue
        f = factors[step]
        if step == 0:
            image = np.clip(f * image, 0, 1)
        elif step == 1:
            image = _blend(image, _grey(image).mean(), f)
        elif step == 2:
            image = _blend(image, _grey(image), f)
        else:
            image = _hue(image, f)
    return image
