"""Update rules, schedules and clipping; nn has all of them as well."""
from .clip import clip_grad_norm_
from .optimizer import Optimizer, no_decay
from .rules import SGD, Adagrad, Adam, AdamW, RMSprop
from .schedule import (
    CosineAnnealingLR, ExponentialLR, LinearLR, MultiStepLR, OneCycleLR, ReduceLROnPlateau, Schedule,
    SequentialLR, StepLR,
)
