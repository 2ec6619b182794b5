"""Data: data sets in memory, batches, augmentation, and four real image data sets."""
import sys as _sys
import typing as _typing

from .. import advice as _advice
from .augment import compose, flip, shift
from .cifar10 import cifar10
from .dataset import Dataset
from .digits import digits
from .idx import fashion_mnist, mnist
from .loader import DataLoader

__all__ = [
    "DataLoader", "Dataset", "cifar10", "compose", "digits", "fashion_mnist", "flip", "mnist",
    "shift",
]

if not _typing.TYPE_CHECKING:  # a checker would take every name for one that exists
    def __getattr__(name):
        text = _advice.missing("nn.data", name, _advice.DATA)
        raise AttributeError(text, name=name, obj=_sys.modules[__name__])
