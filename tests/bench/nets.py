"""The networks that are trained, built of our layers and of PyTorch's by the same lines, and a training step."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import nn
import tinygrad_conv as tg

from .clock import Step
from .sides import torch


def lenet(m):
    """LeNet-5 with ReLU and max-pooling, 28x28 input; `m` is `nn` or `torch.nn`."""
    return m.Sequential(
        m.Conv2d(1, 6, 5, padding=2), m.ReLU(), m.MaxPool2d(2),
        m.Conv2d(6, 16, 5), m.ReLU(), m.MaxPool2d(2), m.Flatten(),
        m.Linear(400, 120), m.ReLU(), m.Linear(120, 84), m.ReLU(), m.Linear(84, 10))


def cnn(m):
    """Two 3x3 convolutions of 32 and 64 channels, two 2x2 pools, 128 hidden units."""
    return m.Sequential(
        m.Conv2d(1, 32, 3, padding=1), m.ReLU(), m.MaxPool2d(2),
        m.Conv2d(32, 64, 3, padding=1), m.ReLU(), m.MaxPool2d(2), m.Flatten(),
        m.Linear(3136, 128), m.ReLU(), m.Linear(128, 10))


def normed(m, c: int, o: int, k: int, stride: int = 1, groups: int = 1) -> list:
    """A convolution that keeps the size, or divides it by the stride, and batch norm."""
    return [m.Conv2d(c, o, k, stride=stride, padding=k // 2, groups=groups, bias=False), m.BatchNorm2d(o)]


def residual(m, c: int, o: int, stride: int):
    """relu(body(x) + short(x)): two convolutions, and past them a 1x1 one where the shape changes."""
    class Block(m.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = m.Sequential(*normed(m, c, o, 3, stride), m.ReLU(), *normed(m, o, o, 3))
            self.short = m.Identity() if c == o else m.Sequential(*normed(m, c, o, 1, stride))
            self.relu = m.ReLU()

        def forward(self, x):
            return self.relu(self.body(x) + self.short(x))

    return Block()


def resnet(m):
    """ResNet of depth 8 for 32x32 images: a convolution, stages of 16, 32, 64 channels, a linear layer."""
    return m.Sequential(
        *normed(m, 3, 16, 3), m.ReLU(), residual(m, 16, 16, 1), residual(m, 16, 32, 2), residual(m, 32, 64, 2),
        m.AdaptiveAvgPool2d(1), m.Flatten(), m.Linear(64, 10))


def separable(m, c: int, o: int, stride: int) -> list:
    """A 3x3 convolution of each channel by itself, and a 1x1 one across them."""
    return [*normed(m, c, c, 3, stride, groups=c), m.ReLU(), *normed(m, c, o, 1), m.ReLU()]


def mobilenet(m):
    """MobileNet-like, for 32x32 images: four separable blocks up to 256 channels."""
    return m.Sequential(
        *normed(m, 3, 32, 3), m.ReLU(), *separable(m, 32, 64, 1), *separable(m, 64, 128, 2),
        *separable(m, 128, 128, 1), *separable(m, 128, 256, 2), m.AdaptiveAvgPool2d(1), m.Flatten(), m.Linear(256, 10))


class Net(NamedTuple):
    build: Callable[..., Any]
    image: tuple[int, int, int]


NETS = {"lenet": Net(lenet, (1, 28, 28)), "cnn": Net(cnn, (1, 28, 28)),
        "resnet": Net(resnet, (3, 32, 32)), "mobilenet": Net(mobilenet, (3, 32, 32))}


def batch(net: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, *NETS[net].image), np.float32), rng.integers(0, 10, size)


def our_step(net: str, size: int) -> Step:
    model = NETS[net].build(nn)
    optimizer = nn.Adam(model.parameters(), lr=0.001)
    x, y = batch(net, size)

    def step() -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(tg.tensor(x)), y).backward()
        optimizer.step()

    return step


def torch_step(net: str, size: int, layout: str = "contiguous_format") -> Step:
    layout = getattr(torch, layout)
    model = NETS[net].build(torch.nn).to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    x, y = map(torch.tensor, batch(net, size))
    x = x.contiguous(memory_format=layout)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def operations(net: str, size: int) -> int:
    """Of a step: each product has two adjoints, but nobody asks for the gradient of the images."""
    table = nn.summary(NETS[net].build(nn), (1, *NETS[net].image))
    return 2 * size * (3 * table.multiply_adds - table.lines[0].multiply_adds)
