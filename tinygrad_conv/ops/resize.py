"""Images of another size: interpolation along each axis, and channels laid out as pixels.

Interpolation is linear in the image, and each axis has a matrix of its own: y = R x C^T, with a row of R for
each row of the result, whose entries say which rows of x it is made of. So the derivatives of every order are
products with the same matrices.
"""
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arguments import number, one_of, whole
from ..operands import as_floats, as_tensor
from ..tensor import Tensor
from .linalg import matmul
from .pool import adaptive_avg_pool2d
from .shape import _reshape, _transpose, repeat


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.75, of distances up to 2."""
    a, d = -0.75, np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


KERNELS: dict[str, tuple[int, Callable[[Any], Any]]] = {  # cells on each side, weight by distance
    "linear": (1, lambda d: 1 - np.abs(d)), "bilinear": (1, lambda d: 1 - np.abs(d)),
    "bicubic": (2, _cubic)}
MODES = {"nearest": (1, 2), "nearest-exact": (1, 2), "area": (2,), "linear": (1,), "bilinear": (2,),
         "bicubic": (2,)}  # and how many axes the images have


def _matrix(n: int, out: int, step: float, mode: str, align_corners: bool) -> np.ndarray:
    """(out, n): row i has the weights of the cells that cell i of the result is made of.

    That stands for `step` cells of x. Beyond the border the last cell stands again.
    """
    if mode.startswith("nearest"):
        half = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        places = np.floor((np.arange(out, dtype=np.float32) + half) * np.float32(step)).astype(np.int64)
        return np.eye(n)[np.minimum(places, n - 1)]
    if align_corners:
        at = np.arange(out) * ((n - 1) / (out - 1) if out > 1 else 0.0)
    else:
        at = (np.arange(out) + 0.5) * step - 0.5
        at = np.maximum(at, 0.0) if mode != "bicubic" else at
    side, kernel = KERNELS[mode]
    first = np.floor(at).astype(np.int64)
    matrix = np.zeros((out, n))
    for offset in range(1 - side, side + 1):
        cell = first + offset
        np.add.at(matrix, (np.arange(out), np.clip(cell, 0, n - 1)), kernel(at - cell))
    return matrix


def _target(x: Tensor, size: Any, scale_factor: Any, fixed: bool) -> list[tuple[int, float]]:
    """For each axis of the image the new length, and how many cells of x one of the result stands for."""
    lengths, axes = x.shape[2:], x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise ValueError(f"interpolate: expects either size or scale_factor, got {size} and {scale_factor}")
    given = scale_factor if size is None else size
    each = list(given) if isinstance(given, tuple | list) else [given] * axes
    if len(each) != axes:
        raise ValueError(f"interpolate: expects one number or {axes}, for x of shape {x.shape}, got {given}")
    if size is not None:
        wanted = [whole(n, "interpolate", "size", 1) for n in each]
        return [(m, n / m) for n, m in zip(lengths, wanted)]
    factors = [number(f, "interpolate", "scale_factor") for f in each]
    wanted = [math.floor(n * f) for n, f in zip(lengths, factors)]
    if min(wanted) < 1:
        raise ValueError(f"interpolate: scale_factor {scale_factor} leaves nothing of shape {x.shape}")
    return [(m, n / m if fixed else 1 / f) for n, m, f in zip(lengths, wanted, factors)]


def interpolate(x: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None) -> Tensor:
    """Images or lines of another size, their cells mixed from those nearby.

    Args:
        x: (N, C, H, W), or (N, C, L); floating point.
        size: the new (OH, OW), or one number for both.
        scale_factor: instead, how many times as large, rounded down: one number, or one for each axis.
        mode: "nearest" (the cell in which the new one begins), "nearest-exact" (in which its middle lies),
            "linear" (of lines), "bilinear", "bicubic", or "area" (the mean of the cells covered).
        align_corners: of the linear and cubic modes: the corner cells' middles stay in the corners; else, and
            by default, their outer edges do.
        recompute_scale_factor: whether the step is worked out anew from the rounded sizes.

    Returns:
        (N, C, OH, OW), or (N, C, OL).

    Raises:
        ValueError, TypeError: if shapes, numbers or words do not fit; they are named.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.interpolate(tg.tensor([[[1.0, 2.0]]]), scale_factor=2).data.tolist()
        [[[1.0, 1.0, 2.0, 2.0]]]
        >>> tg.interpolate(tg.tensor([[[1.0, 2.0]]]), 4, mode="linear").data.tolist()
        [[[1.0, 1.25, 1.75, 2.0]]]

    Source: PyTorch's torch.nn.functional.interpolate; the cubic kernel is Keys 1981, with a = -0.75.
    """
    x = as_floats(x, "interpolate")
    one_of(mode, "interpolate", "mode", MODES)
    if x.ndim - 2 not in MODES[mode] or 0 in x.shape[1:]:
        axes = " or ".join({1: "(N, C, L)", 2: "(N, C, H, W)"}[n] for n in MODES[mode])
        raise ValueError(f"interpolate: mode {mode!r} is of x with axes {axes}, none but N empty, got "
                         f"{x.shape}")
    if align_corners is not None and mode not in KERNELS:
        raise ValueError(f"interpolate: align_corners is for the modes {', '.join(KERNELS)}, got "
                         f"mode={mode!r}")
    target = _target(x, size, scale_factor, bool(recompute_scale_factor))
    if mode == "area":
        return adaptive_avg_pool2d(x, tuple(m for m, _ in target))
    for axis, (m, step) in enumerate(target, 2):
        x = _resized(x, axis, m, step, mode, bool(align_corners))
    return x


def _resized(x: Tensor, axis: int, m: int, step: float, mode: str, align_corners: bool) -> Tensor:
    """x with m cells along one of its last two axes."""
    n = x.shape[axis]
    plane = mode == "nearest" and x.ndim == 4  # there PyTorch keeps whole factors whole, whatever the step
    if m == n and (plane or mode in ("linear", "bilinear")):
        return x
    if mode.startswith("nearest") and (plane and m == 2 * n or m % n == 0 and step == n / m):
        return repeat(x, m // n, axis)
    matrix = _matrix(n, m, step, mode, align_corners).astype(x.dtype)
    return matmul(x, matrix.T) if axis == x.ndim - 1 else matmul(matrix, x)


def pixel_shuffle(x: Any, upscale_factor: int) -> Tensor:
    """(N, C r r, H, W) to (N, C, H r, W r): r x r channels become r x r pixels (Shi et al. 2016).

    Raises:
        ValueError: if the channels are no multiple of r x r; names the shape.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.pixel_shuffle(tg.tensor([[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]]), 2).data.tolist()
        [[[[1.0, 2.0], [3.0, 4.0]]]]
    """
    x, r = as_tensor(x, "pixel_shuffle"), whole(upscale_factor, "pixel_shuffle", "upscale_factor", 1)
    if x.ndim < 3 or x.shape[-3] % (r * r):
        raise ValueError(f"pixel_shuffle: the channels of x (..., C, H, W) must be a multiple of {r} x {r}, "
                         f"got shape {x.shape}")
    *n, c, h, w = x.shape
    k = len(n)
    apart = _reshape(x, shape=(*n, c // (r * r), r, r, h, w))
    return _reshape(_transpose(apart, axes=(*range(k), k, k + 3, k + 1, k + 4, k + 2)),
                    shape=(*n, c // (r * r), h * r, w * r))


def pixel_unshuffle(x: Any, downscale_factor: int) -> Tensor:
    """(N, C, H r, W r) to (N, C r r, H, W): the way back of `pixel_shuffle`.

    Raises:
        ValueError: if height or width is no multiple of r; names the shape.

    Example:
        >>> import tinygrad_conv as tg
        >>> tg.pixel_unshuffle(tg.tensor([[[1.0, 2.0], [3.0, 4.0]]]), 2).data.ravel().tolist()
        [1.0, 2.0, 3.0, 4.0]
    """
    x, r = as_tensor(x, "pixel_unshuffle"), whole(downscale_factor, "pixel_unshuffle", "downscale_factor", 1)
    if x.ndim < 3 or x.shape[-2] % r or x.shape[-1] % r:
        raise ValueError(f"pixel_unshuffle: height and width of x (..., C, H, W) must be multiples of {r}, "
                         f"got shape {x.shape}")
    *n, c, h, w = x.shape
    k = len(n)
    apart = _reshape(x, shape=(*n, c, h // r, r, w // r, r))
    return _reshape(_transpose(apart, axes=(*range(k), k, k + 2, k + 4, k + 1, k + 3)),
                    shape=(*n, c * r * r, h // r, w // r))
