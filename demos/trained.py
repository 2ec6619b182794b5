"""The CNN that some demos look into: `demos.train`'s, after a few seconds of the embedded digits."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import nn
from demos.train import lenet


def train(model: nn.Module, loader: nn.data.DataLoader, epochs: int, optimizer: nn.Optimizer,
          schedule: nn.Schedule | None = None) -> None:
    """Some epochs without a word; Ctrl-C ends the program, not the training alone."""
    if nn.fit(model, loader, epochs=epochs, optimizer=optimizer, schedule=schedule, callbacks=()).interrupted:
        raise KeyboardInterrupt


def digits_cnn(epochs: int = 6, without: Sequence[int] = ()) -> tuple[nn.Module, float]:
    """The network, trained on all training images but some, and its accuracy on the test images."""
    rng = np.random.default_rng(0)
    model = lenet(rng)
    data = nn.data.digits("train")
    used = np.setdiff1d(np.arange(len(data)), without)
    loader = nn.data.DataLoader(nn.data.Dataset(*data[used]), 32, shuffle=True, rng=rng)
    optimizer = nn.AdamW(model.parameters(), 2e-3)
    schedule = nn.OneCycleLR(optimizer, 2e-3, total_steps=epochs * len(loader) + 1)
    train(model, loader, epochs, optimizer, schedule)
    accuracy = nn.evaluate(model, nn.data.DataLoader(nn.data.digits("test"), 355))["accuracy"]
    return model.eval(), accuracy
