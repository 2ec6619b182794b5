"""Fifty steps of training a CNN with batch norm, from equal weights, beside PyTorch."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}), "momentum": ("SGD", {"lr": 0.02, "momentum": 0.9, "weight_decay": 1e-3}),
    "nesterov": ("SGD", {"lr": 0.02, "momentum": 0.9, "nesterov": True}), "adam": ("Adam", {"lr": 1e-3}),
    "adamw": ("AdamW", {"lr": 1e-3}), "rmsprop": ("RMSprop", {"lr": 1e-3}), "adagrad": ("Adagrad", {"lr": 1e-2}),
    "rmsprop-centered": ("RMSprop", {"lr": 1e-3, "centered": True, "momentum": 0.5}),
}


def network(m, **options):
    # No bias before batch norm: its gradient is zero but for rounding, and an optimiser that
    # divides by the gradient's size turns that rounding into steps, other ones on other CPUs.
    return m.Sequential(
        m.Conv2d(1, 8, 3, padding=1, bias=False, **options), m.BatchNorm2d(8, **options), m.ReLU(), m.MaxPool2d(2),
        m.Conv2d(8, 16, 3, padding=1, stride=2, bias=False, **options), m.BatchNorm2d(16, **options), m.ReLU(),
        m.Flatten(), m.Linear(64, 10, **options))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_curve_equals_torch(name):
    kind, options = OPTIMIZERS[name]
    torch.manual_seed(0)
    theirs = network(torch.nn, dtype=torch.float64)
    ours = network(nn, dtype=np.float64)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    optimizer = getattr(nn, kind)(ours.parameters(), **options)
    other = getattr(torch.optim, kind)(theirs.parameters(), **options)
    data, rng = nn.data.digits("train"), np.random.default_rng(0)
    for _ in range(50):
        x, y = data[rng.integers(0, len(data), 32)]
        x = x.astype(np.float64)
        optimizer.zero_grad()
        loss = tg.cross_entropy(ours(tg.tensor(x)), y)
        loss.backward()
        optimizer.step()
        other.zero_grad()
        reference = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        reference.backward()
        other.step()
        assert loss.item() == pytest.approx(reference.item(), rel=1e-10)
    for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values()):
        scale = b.abs().max().item()
        np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-10 * scale, err_msg=key)
