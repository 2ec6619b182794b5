"""A widely read recipe for the kernel gradient, taken literally, and by how much it is wrong.

Question 3's counterexample: tile dL/dZ over the channels, divide by C, sum over C, copy the result
to all channels. Channels last throughout: x (N, 10, 10, C), k (F, 3, 3, C), g (N, 8, 8, F).
"""
from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from .answer import Table
from .proof import compare, relative

Gradients = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def patches(x: np.ndarray) -> np.ndarray:
    """im2col: a row for each window (n, i, j), a column for each (a, b, c); (N*8*8, 3*3*C)."""
    samples, height, width, channels = x.shape
    rows = np.empty((samples, height - 2, width - 2, 3, 3, channels))
    for i, j in itertools.product(range(height - 2), range(width - 2)):
        rows[:, i, j] = x[:, i:i + 3, j:j + 3]
    return rows.reshape(-1, 9 * channels)


def tiled_and_averaged(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The recipe's dL/dK; (F, 3, 3, C). Without its division by N, which is the loss's business."""
    channels = x.shape[-1]
    rows = patches(x).reshape(*g.shape[:3], 3, 3, channels)             # (N, 8, 8, 3, 3, C)
    tiled = np.repeat(g[..., None], channels, axis=-1) / channels       # (N, 8, 8, F, C)
    summed = np.einsum("nijabc,nijfc->fab", rows, tiled)
    return np.repeat(summed[..., None], channels, axis=-1)


def by_channels(gradients: Gradients, rng: np.random.Generator) -> Table:
    """The recipe's error for more and more channels, and when it happens to be right."""
    rows = []
    for channels in (2, 3, 16, 64):
        x, k = rng.standard_normal((4, 10, 10, channels)), rng.standard_normal((6, 3, 3, channels))
        g = rng.standard_normal((4, 8, 8, 6))
        error = relative(tiled_and_averaged(x, g), gradients(x, k, g)[1])
        rows.append((f"C = {channels}, independent", f"{error:.3f}",
                     f"√(1 − 1/{channels}) = {(1 - 1 / channels) ** 0.5:.3f}"))
    for name, same in (("C = 1", x[..., :1]), ("C = 3, all equal (a grey picture)",
                                               np.repeat(x[..., :1], 3, axis=-1))):
        right = gradients(same, k[..., :same.shape[-1]], g)[1]
        error = compare("recipe", "backward", tiled_and_averaged(same, g), right)
        rows.append((name, error.says, "0: nothing to average"))
    note = ("‖recipe − gradient‖ / ‖gradient‖. The recipe gives every channel the mean over the "
            "channels, so it is right only where they are equal; with independent ones the error scatters "
            "around the expected value. It also divides by N: if the loss is "
            "a mean over the batch, the 1/N is in dL/dZ already; if not, it does not belong here.")
    return Table("How wrong the recipe is", ("channels", "measured", "expected"), rows, note)


def identity(conv: Callable, gradients: Gradients, x: np.ndarray, k: np.ndarray, g: np.ndarray,
             rng: np.random.Generator) -> Table:
    """<y', dy> = <x', dx> + <c', dc> for 100 random dx, dc; the right dL/dK and the recipe's."""
    gx, gk = gradients(x, k, g)
    left, right, recipe = [], [], []
    for _ in range(100):
        dx, dk = rng.standard_normal(x.shape), rng.standard_normal(k.shape)
        left.append(np.vdot(g, conv(dx, k).data + conv(x, dk).data))
        right.append(np.vdot(gx, dx) + np.vdot(gk, dk))
        recipe.append(np.vdot(gx, dx) + np.vdot(tiled_and_averaged(x, g), dk))
    rows = [(name, _signed(left[0]), _signed(sums[0]),
             compare(name, "", np.array(sums), np.array(left)).says)
            for name, sums in (("backward()", right), ("the recipe", recipe))]
    head = ("c' = dL/dK from", "⟨y', dy⟩", "⟨x', dx⟩ + ⟨c', dc⟩", "largest gap, 100 directions")
    note = ("y' = dL/dZ, x' = dL/dX, dy = conv(dx, c) + conv(x, dc), dx and dc random. A gradient must "
            "pass for all of them; this test needs no second implementation to compare with.")
    return Table("The structural proof: the adjoint identity", head, rows, note)


def _signed(value: float) -> str:
    return f"{value:.6f}".replace("-", "−")
