"""Data: data sets in memory and in folders, batches, augmentation, and seven real image data sets."""
import typing as _typing

import tinygrad_conv as _tg

from .. import advice as _advice
from .augment import Joint, compose, cutmix, mixup, with_mask
from .dataset import Dataset, digits
from .folder import ImageFolder, read_image
from .loader import DataLoader, collate
from .moving import center_crop, flip, random_crop, random_resized_crop, resize, rotate, shift
from .recolour import color_jitter, erase, normalize
from .sampling import StratifiedSampler, Subset, WeightedRandomSampler, random_split

__all__ = [
    "DataLoader", "Dataset", "ImageFolder", "Joint", "StratifiedSampler", "Subset", "WeightedRandomSampler",
    "center_crop", "cifar10", "cifar100", "collate", "color_jitter", "compose", "cutmix", "digits", "erase",
    "fashion_mnist", "flip", "kmnist", "mixup", "mnist", "normalize", "qmnist", "random_crop",
    "random_resized_crop", "random_split", "read_image", "resize", "rotate", "shift", "with_mask",
]

if _typing.TYPE_CHECKING:
    from .download import cifar10, cifar100, fashion_mnist, kmnist, mnist, qmnist

# http, ssl and tarfile would take 20 ms of `import nn`
_tg.advice.late(__name__, dict.fromkeys(
    ["cifar10", "cifar100", "fashion_mnist", "kmnist", "mnist", "qmnist"], "download"), _advice.DATA)
