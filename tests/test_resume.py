"""An interrupted and resumed run equals one that was never interrupted, bit for bit."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import nn
import nn.train.saving
import tinygrad_conv as tg
from tinygrad_conv.kernels import table

EPOCHS = 4


class Interrupt(nn.Callback):
    """Presses Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.batches = epoch, 0

    def epoch_begin(self, epoch, epochs, batches):
        self.batches = 0 if epoch == self.epoch else -10**6

    def batch_end(self, row):
        self.batches += 1
        if self.batches == 3:
            raise KeyboardInterrupt


def parts(kind):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Dropout(0.3, rng=np.random.default_rng(5)), nn.Linear(36, 10, rng=rng))
    data = nn.data.digits("test")
    loader = nn.data.DataLoader(data, 32, shuffle=True, rng=np.random.default_rng(7), transform=nn.data.shift(1, 0.5))
    optimizer = (nn.Adam(net.parameters(), 1e-3) if kind == "adam"
                 else nn.SGD(net.parameters(), 0.05, momentum=0.9))
    return net, loader, optimizer


def train(kind, folder, resume=False, callbacks=()):
    net, loader, optimizer = parts(kind)
    schedules = ({"schedule": nn.OneCycleLR(optimizer, 0.01, total_steps=EPOCHS * len(loader) + 1)} if kind == "adam"
                 else {"epoch_schedule": nn.ReduceLROnPlateau(optimizer, patience=0, threshold=0.2)})
    valid = nn.data.DataLoader(nn.data.digits("test"), 128, shuffle=True, rng=np.random.default_rng(3))
    history = nn.fit(net, loader, valid, epochs=EPOCHS, optimizer=optimizer, checkpoint=folder, resume=resume,
                     callbacks=callbacks, **schedules)
    return net, history


@pytest.mark.parametrize("kind", ["adam", "sgd"])
@pytest.mark.parametrize("epoch", [1, 3])
def test_resume_is_exact(kind, epoch, tmp_path):
    whole, history = train(kind, tmp_path / "whole")
    _, broken = train(kind, tmp_path / "broken", callbacks=[Interrupt(epoch)])
    assert broken.interrupted and len(broken) == epoch - 1
    resumed, again = train(kind, tmp_path / "broken", resume=True)
    assert not again.interrupted
    assert all(again[key] == history[key] for key in ("loss", "valid_loss", "lr"))  # valid is shuffled too
    for (name, a), b in zip(whole.state_dict().items(), resumed.state_dict().values()):
        assert np.array_equal(a, b), name


def test_resume_of_another_model_changes_nothing(tmp_path):
    train("adam", tmp_path)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = net.state_dict()
    loader = nn.data.DataLoader(nn.data.digits("test"), 32, shuffle=True, rng=np.random.default_rng(0))
    with pytest.raises((RuntimeError, ValueError)):
        nn.fit(net, loader, epochs=1, optimizer=nn.Adam(net.parameters()), checkpoint=tmp_path, resume=True,
               callbacks=())
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    net, loader, _ = parts("sgd")
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf)"), np.errstate(all="ignore"):
        nn.fit(net, loader, epochs=3, optimizer=nn.SGD(net.parameters(), 1e38), callbacks=())


def test_curves_are_written_whole_into_new_folders_or_not_at_all(tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    history = nn.History([{"epoch": 1, "loss": 0.5}])
    history.plot(tmp_path / "new" / "curves.png")
    whole = (tmp_path / "new" / "curves.png").read_bytes()
    with pytest.raises(ValueError, match="plot: expects a picture file such as .png or .svg, got .*curves.xyz"):
        history.plot(tmp_path / "curves.xyz")

    def breaks_off(self, path, **options):
        Path(path).write_bytes(whole[:100])
        raise KeyboardInterrupt
    monkeypatch.setattr(figure, "savefig", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        history.plot(tmp_path / "new" / "curves.png")
    assert [p.read_bytes() == whole for p in tmp_path.rglob("*.*")] == [True]


def test_a_checkpoint_says_which_family_of_kernels_computed_and_resume_with_another_warns(tmp_path):
    with tg.use_kernels("numpy"):
        train("sgd", tmp_path, callbacks=[Interrupt(3)])
        train("sgd", tmp_path, resume=True, callbacks=[Interrupt(4)])  # the same: nothing to say
    _, metadata = nn.train.saving.load_with_metadata(tmp_path / "last.safetensors")
    assert metadata["kernels"] == "numpy"
    table.register("other", "conv2d", np.add, lambda *call: False)
    try:
        with tg.use_kernels("other"), pytest.warns(UserWarning, match=(
                "last.safetensors' was trained with the kernels 'numpy', those in use are 'other'.*use_kernels")):
            _, history = train("sgd", tmp_path, resume=True)
    finally:
        table.unregister("other")
    assert len(history) == EPOCHS


def test_a_checkpoint_of_an_earlier_version_says_nothing_of_kernels(tmp_path, recwarn):
    train("sgd", tmp_path, callbacks=[Interrupt(3)])
    arrays, metadata = nn.train.saving.load_with_metadata(tmp_path / "last.safetensors")
    nn.save(arrays, tmp_path / "last.safetensors", {k: metadata[k] for k in ("format", "run")})
    assert len(train("sgd", tmp_path, resume=True)[1]) == EPOCHS and not recwarn
