"""Data: data sets in memory, batches, augmentation, and four real image data sets."""
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
