"""Callbacks that stop, average and write; gradients of several batches; all of it bit for bit after a resume."""
from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train import saving

X = np.random.default_rng(0).standard_normal((44, 5)).astype(np.float32)
Y = np.arange(44) % 3


def parts(dropout=0.2, seed=0):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(nn.Linear(5, 8, rng=rng), nn.BatchNorm1d(8), nn.ReLU(),
                        nn.Dropout(dropout, rng=np.random.default_rng(1)), nn.Linear(8, 3, rng=rng))
    loader = nn.data.DataLoader(nn.data.Dataset(X, Y), 8, shuffle=True, rng=np.random.default_rng(2))
    return net, loader, nn.Adam(net.parameters(), 1e-2)


VALID = nn.data.DataLoader(nn.data.Dataset(X[:20], Y[:20]), 20)


def train(callbacks=(), epochs=5, made=None, valid=VALID, **options):
    net, loader, optimizer = made or parts()
    return net, nn.fit(net, loader, valid, epochs=epochs, optimizer=optimizer, callbacks=callbacks, **options)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return all(np.array_equal(a[k], b[k]) for k in a)


# ----- stopping -----

class Stop(nn.Callback):
    def __init__(self, epoch, where):
        self.epoch, self.where, self.seen = epoch, where, []

    def train_begin(self, training):
        self.training = training

    def stop(self, *what):
        self.seen.append((self.training.epoch, self.training.step, len(self.training.history)))
        if self.training.epoch == self.epoch:
            self.training.stop("it is enough")

    def train_end(self):
        self.ended = True


@pytest.mark.parametrize("where", ["batch_end", "before_checkpoint", "epoch_end", "epoch_begin"])
def test_a_callback_stops_the_run_after_the_epoch_and_without_an_exception(where, tmp_path):
    callback = Stop(2, where)
    setattr(callback, where, callback.stop)
    net, history = train([callback], checkpoint=tmp_path)
    assert len(history) == 2 and history.stopped == "it is enough" and not history.interrupted and callback.ended
    assert "(stopped: it is enough)" in repr(history)
    assert callback.training.model is net and callback.training.step == 12 and callback.training.history is history
    again, more = train(checkpoint=tmp_path, resume=True)
    assert len(more) == 5 and same(again, train()[0])


def told(values, **options):
    """After which epoch early stopping stops a run that measures these."""
    stop = nn.EarlyStopping("valid_loss", **options)
    history = nn.History()
    training = nn.Training(nn.Identity(), parts()[2], history, 99)
    stop.train_begin(training)
    for epoch, value in enumerate(values, 1):
        row = {"epoch": epoch, "valid_loss": value}
        stop.before_checkpoint(row)
        history.rows.append(row)
        if training.stopped:
            return epoch
    return None


@pytest.mark.parametrize("options", [{}, {"patience": 1}, {"patience": 2}, {"patience": 3, "min_delta": 0.15},
                                     {"patience": 2, "mode": "max"}, {"patience": 2, "mode": "max", "min_delta": 0.1}])
@pytest.mark.parametrize("seed", range(6))
def test_early_stopping_is_keras(options, seed):
    """Its rule, written out from its source."""
    values = np.random.default_rng(seed).random(12).round(2).tolist()
    sign, best, wait, expected = -1 if options.get("mode") == "max" else 1, None, 0, None
    for epoch, value in enumerate(values, 1):
        wait += 1
        if best is None or sign * value + options.get("min_delta", 0) < sign * best:
            best, wait = value, 0
            continue
        if wait >= options.get("patience", 0) and epoch > 1:
            expected = epoch
            break
    assert told(values, **options) == expected


def test_nan_is_no_improvement():
    assert told([np.nan, np.nan], patience=2) == 2 and told([1.0, np.nan, 0.5, np.nan, np.nan], patience=2) == 5


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="no column 'valid_f1'; there are epoch, loss"):
        train([nn.EarlyStopping("valid_f1")])


def stopper():
    return nn.EarlyStopping("valid_loss", patience=3, min_delta=0.02, restore_best=True)


def test_the_best_weights_are_restored_also_by_a_run_that_was_broken_off(tmp_path):
    options = {"epochs": 40, "metrics": [nn.F1()]}
    whole, history = train([stopper()], **options)
    assert history.stopped and 4 < len(history) < 40
    assert nn.evaluate(whole, VALID)["loss"] == history.rows[-4]["valid_loss"] != history.last["valid_loss"]
    broken = len(history) - 2  # when the best is behind it
    train([stopper()], **{**options, "epochs": broken}, checkpoint=tmp_path)
    again, more = train([stopper()], **options, checkpoint=tmp_path, resume=True)
    assert more["loss"] == history["loss"] and more.stopped == history.stopped and same(again, whole)
    done, rows = train([stopper()], **options, checkpoint=tmp_path, resume=True)  # it had stopped: nothing is trained
    assert rows["loss"] == history["loss"] and rows.stopped == history.stopped and same(done, whole)
    with pytest.raises(ValueError, match=r"it holds callbacks \['EarlyStopping'\], this run has \[\]"):
        train(**options, checkpoint=tmp_path, resume=True)


# ----- averages -----

def test_ema_is_pytorchs():
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    net, other = nn.Linear(3, 2), torch.nn.Linear(3, 2)
    ema, averaged = nn.EMA(net, 0.9), AveragedModel(other, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    rng = np.random.default_rng(0)
    for _ in range(5):
        for p, q in zip(net.parameters(), other.parameters()):
            new = rng.standard_normal(p.shape).astype(np.float32)
            p.mutate()[...] = new
            with torch.no_grad():
                q.copy_(torch.from_numpy(new))
        ema.update()
        averaged.update_parameters(other)
    for a, b in zip(ema.averages.values(), averaged.module.parameters()):
        assert np.allclose(a, b.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_the_averages_are_evaluated_and_saved_as_the_best_and_the_weights_go_on(tmp_path):
    made = parts()
    ema = nn.EMA(made[0], 0.8)
    net, history = train([ema], made=made, checkpoint=tmp_path)
    plain, unaveraged = train()
    assert same(net, plain) and history["loss"] == unaveraged["loss"] and history["valid_loss"] != unaveraged["valid_loss"]
    assert ema.updates == 6 * 5
    with ema.swapped():
        assert nn.evaluate(net, VALID)["loss"] == history.last["valid_loss"]
        averaged = net.state_dict()
    assert same(net, plain)
    best = nn.load(tmp_path / "best.safetensors")
    assert history.best("valid_accuracy") is not None and set(best) == set(averaged)
    net.load_state_dict(best)
    assert nn.evaluate(net, VALID)["loss"] == history.best("valid_accuracy")["valid_loss"]


def test_the_weights_are_back_when_validation_fails():
    made = parts()
    ema = nn.EMA(made[0], 0.8)
    for _ in range(2):
        for p in made[0].parameters():
            p.mutate()[...] += 1
        ema.update()
    before = made[0].state_dict()
    with pytest.raises(RuntimeError, match="no"), ema.swapped():
        assert not np.array_equal(made[0][0].weight.numpy(), before["0.weight"])
        raise RuntimeError("no")
    assert all(np.array_equal(a, b) for a, b in zip(made[0].state_dict().values(), before.values()))


def test_averages_are_resumed_exactly_and_refused_if_missing_or_damaged(tmp_path):
    def go(epochs, **options):
        made = parts()
        ema = nn.EMA(made[0], 0.9)
        return ema, train([ema], epochs, made, accumulate=4, **options)
    whole, (_, rows) = go(5)
    go(3, checkpoint=tmp_path)
    again, (_, more) = go(5, checkpoint=tmp_path, resume=True)
    assert rows["valid_loss"] == more["valid_loss"] and whole.updates == again.updates == 2 * 5
    assert all(np.array_equal(a, again.averages[k]) for k, a in whole.averages.items())
    path = tmp_path / "last.safetensors"
    arrays, notes = saving.load_with_metadata(path)
    numbers = json.loads(notes["run"])
    del notes["checksum"]
    lacking = {k: v for k, v in arrays.items() if k != "EMA.0.bias"}
    for kept, said in ((lacking, numbers), ({**arrays, "EMA.0.bias": np.zeros(3, np.float32)}, numbers),
                       ({**arrays, "EMA.extra": np.zeros(3)}, numbers),
                       (arrays, {**numbers, "callbacks": {"EMA": {"updates": -1}}}), (arrays, {**numbers, "callbacks": {"EMA": {}}}),
                       (arrays, {**numbers, "callbacks": {"EMA": 5}}), (arrays, {**numbers, "callbacks": {}}),
                       (arrays, {**numbers, "callbacks": 5})):
        nn.save(kept, path, {**notes, "run": json.dumps(said)})
        made = parts()
        ema, before = nn.EMA(made[0], 0.9), made[0].state_dict()
        with pytest.raises(ValueError, match="does not fit this run, or is damaged"):
            train([ema], 9, made, checkpoint=tmp_path, resume=True)
        assert ema.updates == 0 and all(np.array_equal(a, b) for a, b in zip(made[0].state_dict().values(), before.values()))


def test_the_best_weights_are_the_averages_that_were_measured():
    made = parts()
    stop = nn.EarlyStopping("valid_loss", patience=99, restore_best=True)
    net, history = train([stop, nn.EMA(made[0], 0.8)], 5, made, accumulate=4)
    assert nn.evaluate(net, VALID)["loss"] == history.best("valid_loss")["valid_loss"]


# ----- accumulation and clipping -----

class Sized:
    """X and Y in batches of the given sizes."""

    def __init__(self, sizes, x=X, y=Y):
        ends = np.cumsum(sizes)
        self.batches = [(x[e - n:e], y[e - n:e]) for n, e in zip(sizes, ends)]

    def __iter__(self):
        return iter(self.batches)


def wide(sizes, **options):
    net = nn.Linear(5, 3, dtype=np.float64, rng=np.random.default_rng(0))
    optimizer = nn.SGD(net.parameters(), 0.5, momentum=0.9)
    nn.fit(net, Sized(sizes, X.astype(np.float64)), epochs=3, optimizer=optimizer, callbacks=(), **options)
    return net.state_dict()


@pytest.mark.parametrize("clip", [None, 0.1])
def test_several_batches_are_as_the_joined_one_also_uneven_and_at_the_end(clip):
    joined = wide([15, 16, 13], clip_grad_norm=clip)
    for small in ([5, 5, 5, 4, 4, 8, 6, 7], [4, 4, 7, 8, 6, 2, 13]):
        apart = wide(small, accumulate=3, clip_grad_norm=clip)
        assert all(np.allclose(apart[k], joined[k], rtol=0, atol=1e-14) for k in joined)
    assert not np.allclose(wide([5, 5, 5, 4, 4, 8, 6, 7], clip_grad_norm=clip)["weight"], joined["weight"])


def test_the_schedule_counts_steps_and_the_rest_of_an_epoch_is_one():
    net, loader, optimizer = parts()
    schedule = nn.StepLR(optimizer, 1000)
    nn.fit(net, loader, epochs=2, optimizer=optimizer, schedule=schedule, accumulate=4, callbacks=())  # 6 batches
    assert schedule.t == 4 and optimizer.state[0]["step"] == 4


@pytest.mark.parametrize("accumulate", [0, -1, 1.5, "2", True])
def test_accumulate_is_a_count(accumulate):
    with pytest.raises((TypeError, ValueError), match="fit: accumulate"):
        train(accumulate=accumulate)


# ----- files -----

def test_a_csv_file_has_the_history_also_after_a_resume(tmp_path):
    path = tmp_path / "new" / "run.csv"
    train([nn.CSVLogger(path)], 2, checkpoint=tmp_path / "run", metrics=[nn.F1()])
    with pytest.raises(FileExistsError, match="CSVLogger: there is a file '.*run.csv' of another run"):
        train([nn.CSVLogger(path)])
    _, history = train([nn.CSVLogger(path)], checkpoint=tmp_path / "run", resume=True)
    with open(path, newline="") as f:
        rows = [*csv.DictReader(f)]
    assert [{k: float(v) for k, v in row.items() if v} for row in rows] == history.rows and len(rows) == 5
    assert os.listdir(path.parent) == ["run.csv"]


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    folder = tmp_path / "events"
    train([nn.TensorBoard(folder)], 2, checkpoint=tmp_path / "run")
    with pytest.raises(FileExistsError, match="TensorBoard: '.*events' holds another run"):
        train([nn.TensorBoard(folder)])
    _, history = train([nn.TensorBoard(folder)], checkpoint=tmp_path / "run", resume=True)
    found = {}
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):  # a record: length, checksum, data, checksum
            size = int.from_bytes(content[at:at + 8], "little")
            event = Event.FromString(content[at + 12:at + 12 + size])
            found.update({(v.tag, event.step): v.simple_value for v in event.summary.value})
            at += size + 16
    for row in history.rows:
        assert found["loss/train", row["epoch"]] == np.float32(row["loss"])
        assert found["accuracy/valid", row["epoch"]] == np.float32(row["valid_accuracy"])


def test_without_tensorboardx_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tinygrad_conv\[tensorboard\]"):
        train([nn.TensorBoard(tmp_path / "events")])


# ----- a rate to begin with -----

def test_lr_find_leaves_everything_as_it_was():
    net, loader, optimizer = parts()
    train(made=(net, loader, optimizer), epochs=1)
    net[0].eval()
    for p in net.parameters():
        p.grad = tg.ones(*p.shape)
    schedule = nn.StepLR(optimizer, 10)

    def everything():
        return (repr(net.state_dict()), repr(optimizer.state), repr([{k: v for k, v in g.items() if k != "params"}
                for g in optimizer.param_groups]), str(loader.rng.bit_generator.state), str(net[3].rng.bit_generator.state),
                [m.training for m in net.modules()], [p.grad.numpy().tolist() for p in net.parameters()])
    before = everything()
    found = nn.lr_find(net, loader, optimizer, start=1e-5, end=10.0, steps=60)
    assert everything() == before
    assert len(found.rates) == len(found.losses) == len(found.smoothed) > 20 and 1e-5 <= found.suggestion < 10
    schedule.step()
    with pytest.raises(ZeroDivisionError):
        nn.lr_find(net, loader, optimizer, lambda output, y: 1 / 0)
    assert everything() == before


def test_lr_find_finds_where_the_loss_falls():
    """0.5 c w^2 is lowered by the factor (1 - rate c) a step: slow below 1 / c, and beyond 2 / c it grows."""
    for c in (1.0, 100.0):
        net = nn.Linear(1, 1, bias=False, dtype=np.float64)
        net.weight.mutate()[...] = 3.0
        found = nn.lr_find(net, [(np.ones((1, 1)), 0)], nn.SGD(net.parameters()), lambda y, _: (y * y).sum() * (c / 2),
                           start=1e-4 / c, end=100 / c, steps=200)
        assert 0.005 < found.suggestion * c < 1
        assert found.smoothed[-1] > 4 * found.smoothed.min() or not np.isfinite(found.losses[-1]) or found.rates[-1] * c > 2


def test_lr_find_draws_what_it_saw_and_refuses_what_cannot_be(tmp_path):
    pytest.importorskip("matplotlib")
    net, loader, optimizer = parts()
    found = nn.lr_find(net, loader, optimizer, steps=40)
    axes, = found.plot().axes
    assert axes.get_xscale() == "log" and np.array_equal(axes.lines[1].get_ydata(), found.smoothed)
    assert found.plot(tmp_path / "p.png") is None and (tmp_path / "p.png").exists()
    with pytest.raises(ValueError, match="the rates must be 0 < start < end, got 1.0 and 0.1"):
        nn.lr_find(net, loader, optimizer, start=1.0, end=0.1)
    with pytest.raises(ValueError, match="lr_find: the loader gave no batches"):
        nn.lr_find(net, [], optimizer)
    with pytest.raises(TypeError, match="lr_find: expects an optimiser third"):
        nn.lr_find(net, loader, 0.1)
    with pytest.raises(TypeError, match=r"lr_find: expects batches \(x, y\), got a tuple of 3; pass nn.data.DataLoader"):
        nn.lr_find(net, [(1, 2, 3)], optimizer)
    with pytest.raises(TypeError, match="lr_find: expects batches, got a Dataset"):
        nn.lr_find(net, loader.dataset, optimizer)
    with pytest.raises(TypeError, match=r"lr_find: loss\(output, y\) must give a tensor with one value, .* got one of shape"):
        nn.lr_find(net, loader, optimizer, lambda output, y: output)
