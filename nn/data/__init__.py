"""Data: data sets in memory, batches, augmentation, and four real image data sets."""
import importlib as _importlib
import sys as _sys
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
else:  # a checker would take every name for one that exists
    def __getattr__(name):
        if name in __all__:  # what needs the network: http, ssl and tarfile would take 20 ms of `import nn`
            return getattr(_importlib.import_module(".download", __name__), name)
        raise AttributeError(_tg.arguments.missing("nn.data", name, _advice.DATA), name=name,
                             obj=_sys.modules[__name__])

    def __dir__():
        return sorted({*globals(), *__all__})
