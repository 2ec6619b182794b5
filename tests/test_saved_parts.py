"""`nn.save` and `nn.load` of the parts of a loop of one's own: it goes on as if it had never been broken off."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

EPOCHS = 4


def parts(**more):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, rng=rng), nn.BatchNorm1d(16), nn.ReLU(),
                        nn.Dropout(0.3, rng=np.random.default_rng(5)), nn.Linear(16, 10, rng=rng))
    optimizer = nn.AdamW(nn.no_decay(net, 0.01), 1e-2)
    return {"model": net, "optimizer": optimizer, "rng": np.random.default_rng(7),
            "schedule": nn.CosineAnnealingLR(optimizer, 60), **more}


def epoch_of(kept):
    data = nn.data.digits("test")
    for x, y in nn.data.DataLoader(data, 64, shuffle=True, rng=kept["rng"]):
        kept["optimizer"].zero_grad()
        tg.cross_entropy(kept["model"](tg.tensor(x)), y).backward()
        kept["optimizer"].step()
        kept["schedule"].step()


def bits(kept):
    optimizer = kept["optimizer"].state_dict()
    arrays = {**kept["model"].state_dict(), **optimizer["arrays"]}
    generators = [str(g.bit_generator.state) for g in (kept["rng"], kept["model"][4].rng)]
    return {k: (v.dtype, v.tobytes()) for k, v in arrays.items()}, generators, optimizer["groups"], kept["schedule"].t


def test_a_loop_of_ones_own_goes_on_bit_for_bit(tmp_path):
    whole = parts()
    for _ in range(EPOCHS):
        epoch_of(whole)
    broken = parts()
    for epoch in range(2):
        epoch_of(broken)
        nn.save({**broken, "epoch": epoch}, tmp_path / "run.safetensors")
    again = parts()
    assert bits(again) != bits(broken)
    rest = nn.load(tmp_path / "run.safetensors", into=again)
    assert rest == {"epoch": 1} and bits(again) == bits(broken)
    for _ in range(rest["epoch"] + 1, EPOCHS):
        epoch_of(again)
    assert bits(again) == bits(whole)


def test_two_models_and_two_optimisers_arrays_and_a_history(tmp_path):
    def pair():
        nets = nn.Linear(3, 2), nn.Linear(2, 3)
        return {"g": nets[0], "d": nets[1], "history": nn.History(),
                "of_d": nn.SGD([{"params": [p]} for p in nets[1].parameters()], 0.2, momentum=0.5),
                "of_g": nn.Adam(nets[0].parameters(), 0.1)}
    first, second = pair(), pair()
    for _ in range(2):
        (first["d"](first["g"](tg.ones(4, 3))) ** 2.0).sum().backward()
        first["of_g"].step()
        first["of_d"].step()
    first["history"].rows.append({"epoch": 1, "loss": 0.5})
    nn.save({**first, "seen": np.arange(3), "nothing": None}, tmp_path / "pair")
    rest = nn.load(tmp_path / "pair", into=second)
    assert list(rest) == ["seen"] and rest["seen"].tolist() == [0, 1, 2]
    for name in "gd":
        for a, b in zip(first[name].parameters(), second[name].parameters()):
            assert np.array_equal(a.numpy(), b.numpy())
        a, b = (kept[f"of_{name}"].state_dict() for kept in (first, second))
        assert a["groups"] == b["groups"] and all(np.array_equal(v, b["arrays"][k]) for k, v in a["arrays"].items())
    assert second["history"].rows == first["history"].rows
    assert nn.load(tmp_path / "pair")["g.weight"].shape == (2, 3)  # without into, its arrays


def without(name):
    return lambda kept: kept.pop(name)


def replaced(name, value):
    return lambda kept: kept.update({name: value(kept) if callable(value) else value})


@pytest.mark.parametrize("change", [
    without("model"), without("optimizer"), without("rng"), without("schedule"),
    replaced("model", lambda kept: nn.Linear(3, 2)), replaced("other", lambda kept: nn.Linear(3, 2)),
    replaced("optimizer", lambda kept: nn.SGD(kept["model"].parameters(), 0.1)),
    replaced("other", lambda kept: nn.SGD(kept["model"].parameters(), 0.1)),
    replaced("rng", lambda kept: np.random.Generator(np.random.MT19937(0))),
    replaced("schedule", lambda kept: nn.ReduceLROnPlateau(kept["optimizer"])), without("history")])
def test_what_does_not_fit_is_refused_and_changes_nothing(change, tmp_path):
    saved = parts(history=nn.History([{"epoch": 1, "loss": 0.5}]))
    epoch_of(saved)
    nn.save(saved, tmp_path / "run")
    whole = parts(history=nn.History())
    kept = dict(whole)
    change(kept)
    before = bits(whole)
    with pytest.raises((ValueError, RuntimeError), match="load: '.*run' does not fit this run, or is damaged"):
        nn.load(tmp_path / "run", into=kept)
    assert bits(whole) == before and whole["history"].rows == []


def test_an_optimiser_that_has_done_nothing_is_missed_too(tmp_path):
    net = nn.Linear(3, 2)
    nn.save({"model": net, "optimizer": nn.SGD(net.parameters(), 0.1)}, tmp_path / "run")
    with pytest.raises(ValueError, match="it holds an optimiser, this run has none"):
        nn.load(tmp_path / "run", into={"model": net})


def test_a_damaged_file_or_one_of_another_kind_is_refused(tmp_path):
    kept = parts()
    nn.save(kept, tmp_path / "run")
    content = (tmp_path / "run").read_bytes()
    epoch_of(kept)
    before = bits(kept)
    for i in np.random.default_rng(0).integers(len(content), size=100):
        (tmp_path / "bad").write_bytes(content[:i] + bytes([content[i] ^ 4]) + content[i + 1:])
        with pytest.raises((ValueError, RuntimeError), match="load: '.*bad'"):
            nn.load(tmp_path / "bad", into=kept)
    nn.save(kept["model"], tmp_path / "weights")
    with pytest.raises(ValueError, match="weights' is not a checkpoint"):
        nn.load(tmp_path / "weights", into=kept)
    assert bits(kept) == before


def test_what_is_no_part_is_told_so(tmp_path):
    net = nn.Linear(3, 2)
    with pytest.raises(TypeError, match="load: into has int at 'epoch', which cannot be restored in place"):
        nn.load(tmp_path / "run", into={"model": net, "epoch": 3})
    with pytest.raises(TypeError, match="load: expects a mapping of parts as into, got Linear"):
        nn.load(tmp_path / "run", into=net)
    with pytest.raises(ValueError, match="save: the name of a part has no dot, got 'a.b'"):
        nn.save({"a.b": net}, tmp_path / "run")
    with pytest.raises(TypeError, match="save: parts cannot have metadata"):
        nn.save({"a": net}, tmp_path / "run", {"note": "text"})
    with pytest.raises(TypeError, match="save: expects numeric arrays by name, got <U4 at 'note'"):
        nn.save({"a": net, "note": "text"}, tmp_path / "run")
    with pytest.raises(ValueError, match="save: there is room for one history"):
        nn.save({"a": nn.History(), "b": nn.History()}, tmp_path / "run")
    assert not list(tmp_path.iterdir())
