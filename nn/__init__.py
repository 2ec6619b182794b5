"""nn: layers, losses, optimisers, schedules, data and training on top of tinygrad_conv.

    import nn
"""
import typing as _typing

import tinygrad_conv as _tg

from . import data, init, parallel
from . import advice as _advice
from .layers.capture import Captured, capture
from .layers.containers import ModuleDict, ModuleList, Sequential
from .layers.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d
from .layers.function import (
    ELU, GELU, SELU, Dropout, Dropout2d, Flatten, Hardsigmoid, Hardswish, Hardtanh, Identity, LeakyReLU,
    LogSigmoid, LogSoftmax, Mish, PReLU, ReLU, ReLU6, SiLU, Sigmoid, Softmax, Softplus, Tanh,
)
from .layers.functional import functional_call
from .layers.linear import Linear
from .layers.loss import (
    BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, KLDivLoss, L1Loss, MSELoss,
    MarginRankingLoss, MultiMarginLoss, NLLLoss, SmoothL1Loss, TripletMarginLoss,
)
from .layers.module import Module, Parameter
from .layers.norm import BatchNorm1d, BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm
from .layers.padding import (
    CircularPad1d, CircularPad2d, ConstantPad1d, ConstantPad2d, ReflectionPad1d, ReflectionPad2d,
    ReplicationPad1d, ReplicationPad2d, ZeroPad1d, ZeroPad2d,
)
from .layers.pool import (
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d, GlobalAvgPool2d,
    GlobalMaxPool2d, MaxPool1d, MaxPool2d, MaxUnpool2d,
)
from .layers.resize import (
    Fold, PixelShuffle, PixelUnshuffle, Unfold, Upsample, UpsamplingBilinear2d, UpsamplingNearest2d,
)
from .optim import (
    SGD, Adadelta, Adagrad, Adam, AdamW, CosineAnnealingLR, CosineAnnealingWarmRestarts, ExponentialLR,
    GradScaler, LambdaLR, LinearLR, Lion, MultiStepLR, NAdam, OneCycleLR, Optimizer, PolynomialLR, RAdam,
    RMSprop, ReduceLROnPlateau, Schedule, SequentialLR, StepLR, clip_grad_norm_, no_decay,
)
from .train.callbacks import EMA, CSVLogger, EarlyStopping, TensorBoard
from .train.fit import evaluate, fit
from .train.lr_find import lr_find
from .train.metrics import F1, Accuracy, ConfusionMatrix, IoU, Metric, TopK
from .train.per_example import per_example_grads
from .train.predict import predict, top_losses
from .train.report import Callback, History, LiveCurves, ProgressBar, Training
from .train.saving import load, save

__all__ = [
    "Accuracy", "Adadelta", "Adagrad", "Adam", "AdamW", "AdaptiveAvgPool1d", "AdaptiveAvgPool2d",
    "AdaptiveMaxPool2d", "AvgPool1d", "AvgPool2d", "BCELoss", "BCEWithLogitsLoss", "BatchNorm1d",
    "BatchNorm2d", "CSVLogger", "Callback", "Captured", "CircularPad1d", "CircularPad2d", "ConfusionMatrix",
    "ConstantPad1d", "ConstantPad2d", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d",
    "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CrossEntropyLoss", "Diagnosis", "Dropout",
    "Dropout2d", "ELU", "EMA", "EarlyStopping", "ExponentialLR", "F1", "Flatten", "Fold", "GELU",
    "GlobalAvgPool2d", "GlobalMaxPool2d", "GradScaler", "GroupNorm", "Hardsigmoid", "Hardswish", "Hardtanh",
    "History", "HuberLoss", "Identity", "InstanceNorm2d", "IoU", "KLDivLoss", "L1Loss", "LambdaLR",
    "LayerNorm", "LeakyReLU", "Linear", "LinearLR", "Lion", "LiveCurves", "LogSigmoid", "LogSoftmax",
    "MSELoss", "MarginRankingLoss", "MaxPool1d", "MaxPool2d", "MaxUnpool2d", "Metric", "Mish", "Module",
    "ModuleDict", "ModuleList", "MultiMarginLoss", "MultiStepLR", "NAdam", "NLLLoss", "OneCycleLR",
    "Optimizer", "PReLU", "Parameter", "PixelShuffle", "PixelUnshuffle", "PolynomialLR", "ProgressBar",
    "RAdam", "RMSprop", "ReLU", "ReLU6", "ReduceLROnPlateau", "ReflectionPad1d", "ReflectionPad2d",
    "ReplicationPad1d", "ReplicationPad2d", "SELU", "SGD", "Schedule", "Sequential", "SequentialLR", "SiLU",
    "Sigmoid", "SmoothL1Loss", "Softmax", "Softplus", "StepLR", "Summary", "Tanh", "TensorBoard", "TopK",
    "Training", "TripletMarginLoss", "Unfold", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d",
    "ZeroPad1d", "ZeroPad2d", "capture", "clip_grad_norm_", "doctor", "draw", "evaluate", "fit",
    "functional_call", "load", "lr_find", "no_decay", "per_example_grads", "predict", "save", "summary",
    "top_losses", "data", "init", "models", "onnx", "parallel",
]

if _typing.TYPE_CHECKING:
    from . import models, onnx
    from .doctor import Diagnosis, doctor
    from .drawing import draw
    from .summary import Summary, summary

for _part in ("layers", "optim", "train"):
    _tg.advice.late(f"{__name__}.{_part}", {}, _advice.NAMES, __all__, "nn.{}")
_tg.advice.late(f"{__name__}.init", {}, _advice.INIT, [name[:-1] for name in vars(init)], "nn.init.{}_")
_tg.advice.late(__name__, {"Diagnosis": "doctor", "doctor": "doctor", "draw": "drawing", "Summary": "summary",
                        "summary": "summary", "onnx": "", "models": ""},
                _advice.NAMES)
