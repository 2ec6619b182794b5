"""nn: layers, losses, optimisers, schedules, data and training on top of tinygrad_conv.

    import nn
"""
import typing as _typing

import tinygrad_conv as _tg

from . import data, init
from . import advice as _advice
from .layers.capture import Captured, capture
from .layers.containers import ModuleDict, ModuleList, Sequential
from .layers.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .layers.function import (
    ELU, GELU, SELU, Dropout, Dropout2d, Flatten, Hardtanh, Identity, LeakyReLU, LogSoftmax, ReLU, ReLU6,
    Sigmoid, SiLU, Softmax, Softplus, Tanh,
)
from .layers.functional import functional_call
from .layers.linear import Linear
from .layers.loss import (
    BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss, MultiMarginLoss,
    NLLLoss, SmoothL1Loss,
)
from .layers.module import Module, Parameter
from .layers.norm import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from .layers.pool import (
    AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool2d, GlobalMaxPool2d,
    MaxPool1d, MaxPool2d, MaxUnpool2d,
)
from .optim import (
    SGD, Adagrad, Adam, AdamW, CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, OneCycleLR,
    Optimizer, ReduceLROnPlateau, RMSprop, Schedule, SequentialLR, StepLR, clip_grad_norm_, no_decay,
)
from .train.fit import evaluate, fit
from .train.per_example import per_example_grads
from .train.report import Callback, History, LiveCurves, ProgressBar
from .train.saving import load, save

__all__ = [
    "Adagrad", "Adam", "AdamW", "AdaptiveAvgPool2d", "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d",
    "BCEWithLogitsLoss", "BatchNorm1d", "BatchNorm2d", "Callback", "Captured", "Conv1d", "Conv2d",
    "ConvTranspose1d", "ConvTranspose2d", "CosineAnnealingLR", "CrossEntropyLoss", "Dropout",
    "Dropout2d", "ELU", "ExponentialLR", "Flatten", "GELU", "GlobalAvgPool2d", "GlobalMaxPool2d",
    "GroupNorm", "Hardtanh", "History", "HuberLoss", "Identity", "InstanceNorm2d", "KLDivLoss",
    "L1Loss", "LayerNorm", "LeakyReLU", "Linear", "LinearLR", "LiveCurves", "LogSoftmax", "MSELoss",
    "MaxPool1d", "MaxPool2d", "MaxUnpool2d", "Module", "ModuleDict", "ModuleList", "MultiMarginLoss",
    "MultiStepLR", "NLLLoss", "OneCycleLR", "Optimizer", "Parameter", "ProgressBar", "RMSprop",
    "ReLU", "ReLU6", "ReduceLROnPlateau", "SELU", "SGD", "Schedule", "Sequential", "SequentialLR",
    "SiLU", "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "StepLR", "Summary", "Tanh",
    "capture", "clip_grad_norm_", "draw", "evaluate", "fit", "functional_call", "load", "no_decay",
    "per_example_grads", "save", "summary", "data", "init", "onnx",
]

if _typing.TYPE_CHECKING:
    from . import onnx
    from .drawing import draw
    from .summary import Summary, summary

for _part in ("layers", "optim", "train"):
    _tg.advice.late(f"{__name__}.{_part}", {}, _advice.NAMES, __all__, "nn.{}")
_tg.advice.late(f"{__name__}.init", {}, _advice.INIT, [name[:-1] for name in vars(init)], "nn.init.{}_")
_tg.advice.late(__name__, {"draw": "drawing", "Summary": "summary", "summary": "summary", "onnx": ""},
                _advice.NAMES)
