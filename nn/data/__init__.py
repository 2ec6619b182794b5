"""Data: data sets in memory, batches, augmentation, and four real image data sets."""
import typing as _typing

import tinygrad_conv as _tg

from .. import advice as _advice
from .augment import compose, flip, shift
from .dataset import DataLoader, Dataset, digits

__all__ = [
    "DataLoader", "Dataset", "cifar10", "compose", "digits", "fashion_mnist", "flip", "mnist",
    "shift",
]

if _typing.TYPE_CHECKING:
    from .download import cifar10, fashion_mnist, mnist

# http, ssl and tarfile would take 20 ms of `import nn`
_tg.advice.late(__name__, dict.fromkeys(["cifar10", "fashion_mnist", "mnist"], "download"), _advice.DATA)
