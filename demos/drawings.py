"""Drawings of nets: numbers in the boxes, the backward beside the forward, repetition, a failure.

    python -m demos.drawings [folder for the pictures]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly


class Block(nn.Module):
    """Two convolutions and a skip."""

    def __init__(self, channels: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, rng=rng)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, rng=rng)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return tg.relu(x + self.conv2(tg.relu(self.conv1(x))))


class Net(nn.Module):
    """A stem, six equal blocks, and a head for `features` numbers."""

    def __init__(self, features: int, rng: np.random.Generator) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, rng=rng)
        self.blocks = nn.Sequential(*[Block(8, rng) for _ in range(6)])
        self.head = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(features, 10, rng=rng))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.head(self.blocks(tg.relu(self.stem(x))))


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/drawings")
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    x, labels = nn.data.digits("train")[np.arange(8)]

    small = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1, rng=rng), nn.ReLU(),
                          nn.Conv2d(4, 10, 4, rng=rng), nn.Flatten())
    gradient = nn.draw(small, x, loss=lambda y: tg.cross_entropy(y, labels))
    made = [gradient.save(out / "gradient.svg")]

    net = Net(32, rng)
    made.append(nn.draw(net, x).save(out / "blocks.svg"))
    made.append(nn.draw(net, x, depth=0, show="parameters").save(out / "modules.svg"))

    loss = tg.cross_entropy(net(tg.tensor(x)), labels)
    loss.backward(retain_graph=True)
    page = tg.draw(loss, show=("parameters", "flops", "memory", "grad"))
    made.append(page.save(out / "net.html"))  # one file to open: pan, zoom, search, replay

    noisy = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=rng), nn.BatchNorm1d(32), nn.ReLU(),
                          nn.Dropout(0.5, rng=rng), nn.Linear(32, 10, rng=rng))
    train, evaluation = (tg.draw(mode()(tg.tensor(x))) for mode in (noisy.train, noisy.eval))
    made.append(tg.diff(train, evaluation).save(out / "difference.svg"))

    try:
        Net(48, rng)(tg.tensor(x))
    except ValueError as error:
        print("a net whose last layer does not fit, on purpose:", error, *error.__notes__, sep="\n    ")
        made.append(tg.draw(error, depth=1).save(out / "failure.svg"))
    print("->", *made)


if __name__ == "__main__":
    main()
