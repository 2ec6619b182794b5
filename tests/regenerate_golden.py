"""The drawings whose DOT text is kept in tests/golden, and the command that writes them anew:

    python -m tests.regenerate_golden

Look at what changed (`git diff tests/golden`) before you commit it.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import nn
import tinygrad_conv as tg

FOLDER = Path(__file__).parent / "golden"


def lenet() -> nn.Module:
    rng = np.random.default_rng(0)
    features = nn.Sequential({
        "conv1": nn.Conv2d(1, 6, 5, padding=2, rng=rng), "relu1": nn.ReLU(), "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 16, 5, rng=rng), "relu2": nn.ReLU(), "pool2": nn.MaxPool2d(2)})
    return nn.Sequential({
        "features": features, "flatten": nn.Flatten(), "head": nn.Linear(400, 10, rng=rng)})


class Residual(nn.Module):
    """A block of a ResNet, with a projection on the shortcut where the shape changes."""

    def __init__(self, channels: int, filters: int, stride: int = 1) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, padding=1, rng=rng)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, rng=rng)
        self.shortcut = (nn.Conv2d(channels, filters, 1, stride, rng=rng)
                         if (channels, stride) != (filters, 1) else nn.Identity())

    def forward(self, x):
        return tg.relu(self.conv2(tg.relu(self.conv1(x))) + self.shortcut(x))


class Deep(nn.Module):
    """Fifty layers: a stem, three stages of eight blocks of two convolutions, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.stages = nn.ModuleList([
            nn.Sequential(Residual(c, o, s), *[Residual(o, o) for _ in range(7)])
            for c, o, s in ((8, 8, 1), (8, 16, 2), (16, 32, 2))])
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(tg.global_avg_pool2d(x).flatten(1))


def separable() -> nn.Module:
    def block(channels: int, filters: int) -> nn.Module:
        return nn.Sequential({
            "depthwise": nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            "pointwise": nn.Conv2d(channels, filters, 1), "act": nn.ReLU6()})
    return nn.Sequential(block(4, 8), block(8, 8), block(8, 8), block(8, 8))


def lenet_loss() -> tg.Tensor:
    y = lenet()(tg.zeros(2, 1, 28, 28))
    return tg.cross_entropy(y, np.array([3, 1]))


def lenet_gradient() -> tg.Drawing:
    net = lenet()
    tg.cross_entropy(net(tg.zeros(2, 1, 28, 28)), np.array([3, 1])).backward(create_graph=True)
    return tg.draw(*[p.grad for p in net.parameters()])


DRAWINGS: dict[str, Callable[[], tg.Drawing]] = {
    "lenet_loss": lambda: tg.draw(lenet_loss()),
    "lenet_gradient": lenet_gradient,
    "lenet_gradient_depth0": lambda: nn.draw(
        lenet(), tg.zeros(2, 1, 28, 28), loss=lambda y: tg.cross_entropy(y, np.array([3, 1])), depth=0),
    "residual": lambda: nn.draw(Residual(4, 8, stride=2), tg.zeros(1, 4, 8, 8)),
    "separable": lambda: nn.draw(separable(), tg.zeros(1, 4, 8, 8), show=("parameters", "flops", "memory")),
    "deep_depth0": lambda: nn.draw(Deep(), tg.zeros(1, 3, 16, 16), depth=0),
    "deep_depth1": lambda: nn.draw(Deep(), tg.zeros(1, 3, 16, 16), depth=1),
    "deep_depth2": lambda: nn.draw(Deep(), tg.zeros(1, 3, 16, 16), depth=2),
    "deep_folded": lambda: nn.draw(Deep(), tg.zeros(1, 3, 16, 16)),
    "deep_gradient_folded": lambda: nn.draw(
        Deep(), tg.zeros(1, 3, 16, 16), loss=lambda y: tg.cross_entropy(y, np.array([3]))),
}

if __name__ == "__main__":
    for name, make in DRAWINGS.items():
        make().save(FOLDER / f"{name}.dot")
