"""Nets that a drawing has to cope with: what each test of a picture draws, and at which depths.

`NETS` maps a name to a function that makes a drawing; its keywords are those of `tg.draw`: depth, show, ...
Most are drawn with their backward: `nn.draw(..., loss=)`, or `tg.draw` of a loss and gradients.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
import tinygrad_conv as tg


def _conv(c: int, o: int, k: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(c, o, k, padding=k // 2, rng=np.random.default_rng(c + o), **options)


def _linear(i: int, o: int) -> nn.Linear:
    return nn.Linear(i, o, rng=np.random.default_rng(i + o))


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(_conv(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), _conv(6, 16, 5), nn.ReLU(),
                                      nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Flatten(), _linear(64, 32), nn.ReLU(), _linear(32, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


class Block(nn.Module):
    """Of a ResNet; the activation is used twice."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(c, o, stride=stride, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = _conv(o, o, bias=False), nn.BatchNorm2d(o)
        self.shortcut = _conv(c, o, 1, stride=stride) if (c, stride) != (o, 1) else nn.Identity()
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.bn1(self.conv1(x)))
        return self.act(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, blocks: int = 8) -> None:
        super().__init__()
        self.stem = _conv(3, 8)
        self.stage1 = nn.Sequential(*[Block(8, 8) for _ in range(blocks)])
        self.stage2 = nn.Sequential(Block(8, 16, 2), Block(16, 16))
        self.head = _linear(16, 10)

    def forward(self, x):
        return self.head(tg.global_avg_pool2d(self.stage2(self.stage1(self.stem(x)))).flatten(1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Sequential(_conv(c, o), nn.ReLU()) for c, o in ((1, 4), (4, 8), (8, 16))])
        self.up = nn.ModuleList([nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ConvTranspose2d(8, 4, 2, stride=2)])
        self.merge = nn.ModuleList([nn.Sequential(_conv(16, 8), nn.ReLU()), nn.Sequential(_conv(8, 4), nn.ReLU())])
        self.pool, self.out = nn.MaxPool2d(2), _conv(4, 2, 1)

    def forward(self, x):
        skips = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge):
            x = merge(tg.concatenate([skips.pop(), up(x)], axis=1))
        return self.out(x)


class DenseNet(nn.Module):
    """Each layer sees the results of all before it."""

    def __init__(self, layers: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.BatchNorm2d(4 + 2 * i), nn.ReLU(), _conv(4 + 2 * i, 2))
                                     for i in range(layers)])

    def forward(self, x):
        seen = [x]
        for layer in self.layers:
            seen.append(layer(tg.concatenate(seen, axis=1)))
        return tg.concatenate(seen, axis=1)


class Inception(nn.Module):
    """Branches of unequal length from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.one = _conv(3, 4, 1)
        self.three = nn.Sequential(_conv(3, 4, 1), nn.ReLU(), _conv(4, 4))
        self.five = nn.Sequential(_conv(3, 4, 1), nn.ReLU(), _conv(4, 4), nn.ReLU(), _conv(4, 4))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), _conv(3, 4, 1))

    def forward(self, x):
        return tg.concatenate([self.one(x), self.three(x), self.five(x), self.pool(x)], axis=1)


class Siamese(nn.Module):
    """One trunk, called with two images."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(_conv(1, 4), nn.ReLU(), nn.Flatten(), _linear(256, 8))

    def forward(self, left, right):
        return ((self.trunk(left) - self.trunk(right)) ** 2).sum(axis=1)


class Cell(nn.Module):
    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.input, self.hidden = _linear(inputs, hidden), _linear(hidden, hidden)

    def forward(self, x, h):
        return tg.tanh(self.input(x) + self.hidden(h))


class RNN(nn.Module):
    """`steps` steps of one cell along the second axis, and a head on the last state."""

    def __init__(self, steps: int = 20) -> None:
        super().__init__()
        self.steps, self.cell, self.head = steps, Cell(3, 8), _linear(8, 2)

    def forward(self, x):
        h = tg.zeros(x.shape[0], 8)
        for t in range(self.steps):
            h = self.cell(x[:, t], h)
        return self.head(h)


class RNNEverywhere(RNN):
    """The same, with the head on every state."""

    def forward(self, x):
        h, outputs = tg.zeros(x.shape[0], 8), []
        for t in range(self.steps):
            h = self.cell(x[:, t], h)
            outputs.append(self.head(h))
        return tg.stack(outputs, axis=1)


class Attention(nn.Module):
    """Self-attention of two heads, with a skip and a feed-forward part."""

    def __init__(self, size: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (_linear(size, size) for _ in range(4))
        self.feed = nn.Sequential(_linear(size, 16), nn.ReLU(), _linear(16, size))

    def forward(self, x):
        n, t, e = x.shape
        q, k, v = (tg.transpose(tg.reshape(m(x), (n, t, self.heads, e // self.heads)), (0, 2, 1, 3))
                   for m in (self.q, self.k, self.v))
        scores = tg.softmax(q @ tg.transpose(k, (0, 1, 3, 2)) / (e // self.heads) ** 0.5, axis=-1)
        y = tg.reshape(tg.transpose(scores @ v, (0, 2, 1, 3)), (n, t, e))
        x = x + self.out(y)
        return x + self.feed(x)


class ThreeOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(_conv(3, 8), nn.ReLU(), nn.Flatten())
        self.label, self.box, self.score = _linear(512, 10), _linear(512, 4), _linear(512, 1)

    def forward(self, x):
        y = self.trunk(x)
        return {"label": self.label(y), "box": self.box(y), "score": self.score(y)}


def squares(y: Any) -> tg.Tensor:
    return (y * y).mean()


def three_losses(y: dict[str, tg.Tensor]) -> tg.Tensor:
    return tg.cross_entropy(y["label"], np.array([1, 2])) + squares(y["box"]) + squares(y["score"])


def gan(**options: Any) -> tg.Drawing:
    """Generator and discriminator, the loss of the generator, and the gradients of both."""
    G = nn.Sequential(_linear(4, 16), nn.ReLU(), _linear(16, 64))
    D = nn.Sequential(_linear(64, 16), nn.LeakyReLU(), _linear(16, 1))
    loss = tg.binary_cross_entropy_with_logits(D(G(tg.ones(2, 4))), tg.ones(2, 1))
    loss.backward(create_graph=True)
    return tg.draw(loss, *[p.grad for p in (*G.parameters(), *D.parameters())], **options)


def chain(ops: int, **options: Any) -> tg.Drawing:
    """Ops in no module; all differ from their neighbours."""
    y = tg.ones(3, requires_grad=True)
    for i in range(ops // 2):
        y = tg.tanh(y) * (1.0 + i)
    return tg.draw(y.sum(), **options)


def modules(count: int, **options: Any) -> tg.Drawing:
    """`count` different modules in ten stages, about ten boxes each."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(*[nn.Sequential(*[Block(2, 2) if rng.random() < 0.7 else _conv(2, 2)
                                          for _ in range(count // 10)]) for _ in range(10)])
    return nn.draw(net, tg.zeros(1, 2, 4, 4), **options)


def _net(make: Callable[[], nn.Module], *shapes: tuple[int, ...],
         loss: Callable[[Any], tg.Tensor] | None = squares) -> Callable[..., tg.Drawing]:
    return lambda **options: nn.draw(make(), *map(tg.zeros, shapes), **{"loss": loss} | options)


NETS: dict[str, Callable[..., tg.Drawing]] = {
    "lenet": _net(LeNet, (2, 1, 8, 8), loss=lambda y: tg.cross_entropy(y, np.array([3, 1]))),
    "resnet": _net(ResNet, (1, 3, 8, 8)),
    "unet": _net(UNet, (1, 1, 16, 16)),
    "densenet": _net(DenseNet, (1, 4, 8, 8)),
    "inception": _net(Inception, (1, 3, 8, 8)),
    "siamese": _net(Siamese, (2, 1, 8, 8), (2, 1, 8, 8)),
    "rnn": _net(RNN, (2, 20, 3)),
    "rnn_everywhere": _net(RNNEverywhere, (2, 20, 3)),
    "gan": gan,
    "three_outputs": _net(ThreeOutputs, (2, 3, 8, 8), loss=three_losses),
    "attention": _net(Attention, (2, 6, 8)),
    "chain": lambda **options: chain(500, **options),
}
