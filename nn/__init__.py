"""nn: layers, losses, optimisers, schedules, data and training on top of tinygrad_conv.

    import nn
"""
import sys as _sys
import typing as _typing

from . import data, init
from . import spelling as _spelling
from .activation import (
    ELU, GELU, SELU, Hardtanh, LeakyReLU, LogSoftmax, ReLU, ReLU6, Sigmoid, SiLU, Softmax, Softplus,
    Tanh,
)
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .clip import clip_grad_norm_
from .containers import ModuleDict, ModuleList, Sequential
from .conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .decay import no_decay
from .drawing import draw
from .dropout import Dropout, Dropout2d
from .fit import evaluate, fit
from .history import History
from .linear import Flatten, Identity, Linear
from .loss import (
    BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss, MultiMarginLoss,
    NLLLoss, SmoothL1Loss,
)
from .module import Module
from .norm import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from .one_cycle import OneCycleLR
from .optim import Optimizer
from .parameter import Parameter
from .plateau import ReduceLROnPlateau
from .pool import (
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d,
    MaxPool1d, MaxPool2d, MaxUnpool2d,
)
from .progress import Callback, ProgressBar
from .rmsprop import RMSprop
from .schedule import (
    CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, Schedule, SequentialLR, StepLR,
)
from .sgd import SGD
from .summary import Summary, summary
from .weights import load, save

__all__ = [
    "Adagrad", "Adam", "AdamW", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d",
    "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Callback", "Conv1d", "Conv2d",
    "ConvTranspose1d", "ConvTranspose2d", "CosineAnnealingLR", "CrossEntropyLoss", "Dropout",
    "Dropout2d", "ELU", "ExponentialLR", "Flatten", "GELU", "GlobalAvgPool2d", "GlobalMaxPool2d",
    "GroupNorm", "Hardtanh", "History", "HuberLoss", "Identity", "InstanceNorm2d", "KLDivLoss",
    "L1Loss", "LayerNorm", "LeakyReLU", "Linear", "LinearLR", "LogSoftmax", "MSELoss", "MaxPool1d",
    "MaxPool2d", "MaxUnpool2d", "Module", "ModuleDict", "ModuleList", "MultiMarginLoss",
    "MultiStepLR", "NLLLoss", "OneCycleLR", "Optimizer", "Parameter", "ProgressBar", "RMSprop",
    "ReLU", "ReLU6", "ReduceLROnPlateau", "SELU", "SGD", "Schedule", "Sequential", "SequentialLR",
    "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "StepLR", "Summary", "Tanh",
    "clip_grad_norm_", "draw", "evaluate", "fit", "load", "no_decay", "save", "summary", "data", "init",
]

if not _typing.TYPE_CHECKING:  # a checker would take every name for one that exists
    def __getattr__(name):
        text = _spelling.missing("nn", name, _spelling.NAMES)
        raise AttributeError(text, name=name, obj=_sys.modules[__name__])
