"""float16 weights: float32 masters in the optimiser, and a scaled loss."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train import saving


def net_of(dtype, seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=rng, dtype=dtype), nn.ReLU(), nn.Linear(32, 10, rng=rng, dtype=dtype))


class Half:
    """A loader of float16 inputs."""

    def __init__(self, split, dtype):
        rng = np.random.default_rng(1)
        self.loader, self.dtype = nn.data.DataLoader(nn.data.digits(split), 64, shuffle=True, rng=rng), dtype
        self.rng = rng

    def __iter__(self):
        return ((x.astype(self.dtype), y) for x, y in self.loader)

    def __len__(self):
        return len(self.loader)


def trained(dtype, scaler, epochs=4, **options):
    net = net_of(dtype)
    optimizer = options.pop("optimizer", nn.Adam)(net.parameters(), 3e-3)
    history = nn.fit(net, Half("train", dtype), Half("test", dtype), epochs=epochs, optimizer=optimizer, scaler=scaler,
                     callbacks=(), **options)
    return net, optimizer, history


def test_a_float16_net_learns_digits_as_a_float32_one():
    _, _, wide = trained(np.float32, None)
    net, optimizer, half = trained(np.float16, nn.GradScaler())
    assert net[1].weight.dtype == np.float16
    assert wide.last["valid_accuracy"] > 0.9
    assert abs(half.last["valid_accuracy"] - wide.last["valid_accuracy"]) < 0.02
    master = optimizer.state[0]["master"]
    assert master.dtype == np.float32 and optimizer.state[0]["mean"].dtype == np.float32
    assert np.array_equal(master.astype(np.float16), net[1].weight.numpy())
    assert (master != net[1].weight.numpy()).any()


def test_updates_too_small_for_float16_add_up_in_the_master():
    p = nn.Parameter(np.ones(3, np.float16))
    optimizer = nn.SGD([p], lr=1e-4)
    for _ in range(100):
        p.grad = tg.tensor(np.ones(3, np.float16))
        optimizer.step()
    assert p.numpy().tolist() == np.float16(1 - 0.01).repeat(3).tolist()
    assert np.float16(1) - np.float16(1e-4) == 1  # without it, nothing would have changed


def test_a_parameter_that_is_changed_otherwise_keeps_the_change():
    p = nn.Parameter(np.ones(2, np.float16))
    optimizer = nn.SGD([p], lr=1e-4)
    p.grad = tg.tensor(np.ones(2, np.float16))
    optimizer.step()
    p.mutate()[0] = 5
    optimizer.step()
    assert p.numpy().tolist() == [5.0, 1.0]
    assert optimizer.state[0]["master"][1] == pytest.approx(1 - 2e-4, abs=1e-7)


def test_an_overflow_skips_the_step_and_halves_the_scale_which_grows_again():
    p = nn.Parameter(np.full(2, 100, np.float16))
    optimizer, scaler = nn.SGD([p], lr=1e-5), nn.GradScaler(init_scale=1024.0, growth_interval=3)
    scales, done = [], []
    for _ in range(6):
        optimizer.zero_grad()
        with np.errstate(over="ignore"):
            scaler.scale((p * p).sum()).backward()  # 200 x 1024 is beyond float16
        scaler.unscale_(optimizer)
        before = p.numpy().copy()
        done.append(scaler.step(optimizer))
        assert done[-1] or np.array_equal(p.numpy(), before)
        scales.append(scaler.value)
    assert done == [False, False, True, True, True, False] and scales == [512, 256, 256, 256, 512, 256]


def test_the_scaler_does_what_pytorchs_does():
    torch = pytest.importorskip("torch")
    own, other = nn.GradScaler(64.0, growth_interval=2), torch.amp.GradScaler("cpu", 64.0, growth_interval=2)
    p, q = nn.Parameter(np.array([1.0, 2.0], np.float32)), torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    mine, theirs = nn.SGD([p], 0.1), torch.optim.SGD([q], 0.1)
    for factor in (1.0, 2.0, np.inf, 1.0, 1.0, 1.0, np.inf, np.inf, 3.0):
        mine.zero_grad(), theirs.zero_grad()
        own.scale((p * float(factor)).sum()).backward()
        other.scale((q * float(factor)).sum()).backward()
        own.unscale_(mine), own.step(mine)
        other.unscale_(theirs), other.step(theirs), other.update()
        assert own.value == other.get_scale()
        assert np.allclose(p.numpy(), q.detach().numpy(), rtol=1e-6)


def test_a_resumed_float16_run_is_exact_with_its_masters_and_scale(tmp_path):
    def scaler():
        return nn.GradScaler(init_scale=2.0 ** 17, growth_interval=7)
    whole, _, rows = trained(np.float16, scaler(), 3)
    trained(np.float16, scaler(), 2, checkpoint=tmp_path)
    last = scaler()
    again, _, more = trained(np.float16, last, 3, checkpoint=tmp_path, resume=True)
    assert rows["loss"] == more["loss"]
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(whole.parameters(), again.parameters()))
    with pytest.raises(ValueError, match=r"it holds schedules \['scaler'\], this run has \[\]"):
        trained(np.float16, None, 3, checkpoint=tmp_path, resume=True)
    arrays, notes = saving.load_with_metadata(tmp_path / "last.safetensors")
    del arrays["optimizer.1.master"], notes["checksum"]
    nn.save(arrays, tmp_path / "last.safetensors", notes)
    with pytest.raises(ValueError, match="the saved state of parameter 1 has mean, square, step, expected master"):
        trained(np.float16, scaler(), 3, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("state", [{"scale": 0, "good_steps": 1}, {"scale": float("inf"), "good_steps": 1},
                                   {"scale": "x", "good_steps": 1}, {"scale": 2.0, "good_steps": -1}])
def test_a_scale_that_cannot_be_is_refused(state):
    scaler = nn.GradScaler(8.0)
    with pytest.raises((ValueError, TypeError), match="GradScaler"):
        scaler.load_state_dict(state)
    assert scaler.state_dict() == {"scale": 8.0, "good_steps": 0}
