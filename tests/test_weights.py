"""Weights in files: exact, atomic, readable by others; damaged files are one clear error."""
from __future__ import annotations

import errno
import os
import stat

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

safetensors = pytest.importorskip("safetensors.numpy")


def net(seed):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2, rng=rng))


def test_save_and_load_are_exact(tmp_path):
    a, b = net(0), net(1)
    a(tg.ones(2, 1, 4, 4) * np.arange(4.0))
    nn.save(a, tmp_path / "new" / "w.safetensors")
    b.load_state_dict(nn.load(tmp_path / "new" / "w.safetensors"))
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values()):
        assert np.array_equal(x, y) and x.dtype == y.dtype, name
    assert os.listdir(tmp_path / "new") == ["w.safetensors"]
    assert set(safetensors.load_file(tmp_path / "new" / "w.safetensors")) == set(a.state_dict())


def test_save_takes_arrays_of_any_layout_and_tensors(tmp_path):
    state = {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "t": tg.ones(2), "n": np.float32(3), "h": np.ones(2, np.float16),
             "step": np.arange(10)[::2], "empty": np.zeros((0, 3))}
    nn.save(state, tmp_path / "s")
    loaded = nn.load(tmp_path / "s")
    for name, value in state.items():
        assert np.array_equal(loaded[name], np.asarray(value)) and loaded[name].shape == np.shape(value)


@pytest.mark.parametrize("damage", [
    lambda b: b[:-1], lambda b: b[:20], lambda b: b[:4], lambda b: b"", lambda b: b"\xff" * 8 + b[8:],
    lambda b: b[:8] + b"[" * (len(b) - 8), lambda b: b + b"tail", lambda b: b"\x80\x04cos\nsystem\n" * 40])
def test_load_of_a_damaged_file_is_a_clear_error(damage, tmp_path):
    path = tmp_path / "w.safetensors"
    nn.save(net(0), path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="w.safetensors' is not a whole safetensors file"):
        nn.load(path)


def test_load_of_no_file(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="load: there is no file"):
            nn.load(path)


def test_save_that_fails_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w"
    nn.save(net(0), path)
    old = path.read_bytes()
    for broken in ("fsync", "replace"):
        with monkeypatch.context() as m:
            m.setattr(os, broken, lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                nn.save(net(1), path)
        assert path.read_bytes() == old and os.listdir(tmp_path) == ["w"]
    with pytest.raises(TypeError, match="expects numeric arrays by name, got <U1 at 'a'"):
        nn.save({"a": np.array("x")}, path)
    with pytest.raises(TypeError, match="expects a module or a mapping"):
        nn.save([1], path)
    assert path.read_bytes() == old


def test_save_on_a_full_disk_is_an_oserror_that_names_the_file(tmp_path, monkeypatch):
    nn.save(net(0), tmp_path / "w")
    old = (tmp_path / "w").read_bytes()

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device: '.*w'"):
        nn.save(net(1), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == old and os.listdir(tmp_path) == ["w"]


@pytest.mark.skipif(os.name == "nt", reason="modes are those of POSIX")
def test_save_asks_for_the_mode_the_umask_allows(tmp_path):
    before = os.umask(0o027)
    try:
        nn.save({"a": np.ones(1)}, tmp_path / "w")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o640


def test_named_parameters_are_a_state_to_save_and_to_load(tmp_path):
    net, other, third = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(dict(net.named_parameters()))
    nn.save(dict(net.named_parameters()), tmp_path / "net.safetensors")
    third.load_state_dict(nn.load(tmp_path / "net.safetensors"))
    for copied in (other, third):
        assert all(np.array_equal(a, b) for a, b in zip(net.state_dict().values(), copied.state_dict().values()))
    with tg.no_grad():
        net.weight.mutate()[...] = 7.0
    assert not (other.weight.numpy() == 7.0).any() and net.weight.requires_grad


# ----- what other programs write -----

def test_bfloat16_is_read_as_float32_exactly_and_other_arrays_beside_it_as_they_are(tmp_path, rng):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file
    values = torch.tensor(rng.standard_normal((3, 4)) * 100.0).to(torch.bfloat16)
    special = torch.tensor([0.0, -0.0, float("inf"), float("nan"), 3e38, 1e-40]).to(torch.bfloat16)
    beside = {"half": values.half(), "single": values.float(), "double": values.double(), "truth": values > 0, "none": torch.zeros(0, 3, dtype=torch.bfloat16),
              **{f"int{n}": torch.arange(4).to(getattr(torch, f"int{n}")) for n in (8, 16, 32, 64)}, "byte": torch.arange(4, dtype=torch.uint8)}
    save_file({"values": values, "special": special, **beside}, tmp_path / "a.safetensors", {"note": "kept"})
    found = nn.load(tmp_path / "a.safetensors")
    assert found["values"].dtype == np.float32 and np.array_equal(found["values"], values.float().numpy())
    assert np.array_equal(found["special"], special.float().numpy(), equal_nan=True) and np.signbit(found["special"][1])
    for name, expected in beside.items():
        expected = expected.float().numpy() if name == "none" else expected.numpy()
        assert found[name].dtype == expected.dtype and np.array_equal(found[name], expected), name
        assert found[name].flags.writeable
    from nn.train.saving import load_with_metadata
    assert load_with_metadata(tmp_path / "a.safetensors")[1] == {"note": "kept"}


def shards(folder, weight_map=None, **files):
    import json
    for name, arrays in files.items():
        nn.save(arrays, folder / f"{name}.safetensors")
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map or {
        key: f"{name}.safetensors" for name, arrays in files.items() for key in arrays}}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def test_an_index_of_several_files_is_read_as_one(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    state = net.state_dict()
    path = shards(tmp_path, one={k: v for k, v in state.items() if k[0] == "0"}, two={k: v for k, v in state.items() if k[0] == "1"})
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    other.load_state_dict(nn.load(path))
    for a, b in zip(net.parameters(), other.parameters()):
        assert np.array_equal(a.data, b.data)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}', "[" * 100_000,
                                  '{"weight_map": {"a": "../secret.safetensors"}}', '{"weight_map": {"a": "/etc/passwd"}}',
                                  '{"weight_map": {"a": "one.pt"}}'])
def test_an_index_that_is_none_or_leads_elsewhere_is_refused(tmp_path, text):
    nn.save({"a": np.ones(2)}, tmp_path / "secret.safetensors")
    folder = tmp_path / "inner"
    folder.mkdir()
    (folder / "x.index.json").write_text(text)
    with pytest.raises(ValueError, match="load: .*x.index.json' is no index of safetensors files"):
        nn.load(folder / "x.index.json")


def test_an_index_whose_files_lack_something_is_refused(tmp_path):
    path = shards(tmp_path, {"a": "one.safetensors", "b": "one.safetensors"}, one={"a": np.ones(2)})
    with pytest.raises(ValueError, match="says that 'b' is in 'one.safetensors', where it is not"):
        nn.load(path)
    path = shards(tmp_path, {"a": "two.safetensors"})
    with pytest.raises(FileNotFoundError, match="two.safetensors"):
        nn.load(path)


def test_a_file_of_pytorchs_own_is_refused_as_what_it_is(tmp_path):
    torch = pytest.importorskip("torch")
    for kwargs in ({}, {"_use_new_zipfile_serialization": False}):
        torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "a.pt", **kwargs)
        with pytest.raises(ValueError, match="it looks like PyTorch's: load it there and nn.save its state_dict"):
            nn.load(tmp_path / "a.pt")
