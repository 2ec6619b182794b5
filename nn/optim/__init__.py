"""Update rules, schedules and clipping; nn has all of them as well."""
from .clip import clip_grad_norm_
from .optimizer import Optimizer, no_decay
from .rules import SGD, Adadelta, Adagrad, Adam, AdamW, Lion, NAdam, RAdam, RMSprop
from .scaler import GradScaler
from .schedule import (
    CosineAnnealingLR, CosineAnnealingWarmRestarts, ExponentialLR, LambdaLR, LinearLR, MultiStepLR,
    OneCycleLR, PolynomialLR, ReduceLROnPlateau, Schedule, SequentialLR, StepLR,
)
