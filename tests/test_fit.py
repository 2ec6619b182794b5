"""`nn.fit` and `nn.evaluate`: what they measure, what they refuse, and what a checkpoint survives."""
from __future__ import annotations

import io
import itertools
import json
import os
import random
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train import saving

X = np.random.default_rng(0).standard_normal((20, 5)).astype(np.float32)
Y = np.arange(20) % 3


def batches(x=X, y=Y, size=8):
    return nn.data.DataLoader(nn.data.Dataset(x, y), size)


def run(net, train=None, valid=None, optimizer=None, **options):
    options = {"epochs": 1, "callbacks": (), **options}
    return nn.fit(net, batches() if train is None else train, valid,
                  optimizer=optimizer or nn.SGD(net.parameters(), 0.1), **options)


def bce(output, y):
    return tg.binary_cross_entropy_with_logits(output[:, 0], y.astype(np.float32))


def test_loss_and_accuracy_weigh_a_smaller_last_batch_by_its_size():
    net = nn.Linear(5, 3)
    whole = tg.cross_entropy(net(X), Y).item()
    hits = (net(X).numpy().argmax(1) == Y).mean()
    assert nn.evaluate(net, batches()) == pytest.approx({"loss": whole, "accuracy": hits}, rel=1e-6)


@pytest.mark.filterwarnings("ignore:__array__")
def test_batches_may_be_lists_tensors_or_pytorchs():
    torch = pytest.importorskip("torch")
    net = nn.Linear(5, 3)
    expected = nn.evaluate(net, [(X, Y)])
    for y in (list(Y), tg.tensor(Y), torch.from_numpy(Y)):
        assert nn.evaluate(net, [(X, y)]) == expected
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    assert nn.evaluate(net, torch.utils.data.DataLoader(data, 8)) == pytest.approx(expected)
    assert run(net, torch.utils.data.DataLoader(data, 8)).last["accuracy"] >= 0


def test_models_with_two_outputs_and_targets_are_trained():
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(5, 3), nn.Linear(5, 1)

        def forward(self, x):
            return self.one(x), self.two(x)

    def loss(output, y):
        return tg.cross_entropy(output[0], y[0]) + tg.mse_loss(output[1], y[1])

    history = run(Heads(), [(X, (Y, X[:, :1]))], [(X, (Y, X[:, :1]))], loss=loss, epochs=20)
    assert history["valid_loss"][-1] < history["valid_loss"][0] and "accuracy" not in history.last


def test_one_output_column_has_no_accuracy():
    """Its argmax is 0 whatever it says."""
    assert "accuracy" not in run(nn.Linear(5, 1), batches(y=Y % 2), loss=bce).last


def test_evaluate_without_batches_is_an_error_and_no_loss_of_zero():
    with pytest.raises(ValueError, match="evaluate: the loader gave no batches; its data set is empty"):
        nn.evaluate(nn.Linear(5, 3), batches(X[:0], Y[:0]))
    with pytest.raises(ValueError, match="evaluate: the loader gave no batches"):
        run(nn.Linear(5, 3), valid=batches(X[:0], Y[:0]))


def test_fit_without_batches_is_an_error():
    with pytest.raises(ValueError, match="the training loader gave no batches; .*drop_last"):
        run(nn.Linear(5, 3), nn.data.DataLoader(nn.data.Dataset(X, Y), 64, drop_last=True))
    with pytest.raises(ValueError, match="the training loader gave no batches; .*used up"):
        run(nn.Linear(5, 3), iter([(X, Y)]), epochs=2)


@pytest.mark.parametrize("what", ["train", "valid"])
def test_fit_refuses_a_data_set_for_a_loader(what):
    with pytest.raises(TypeError, match="fit: expects batches, got a Dataset; pass nn.data.DataLoader"):
        run(nn.Linear(5, 3), **{what: nn.data.Dataset(X, Y)})


def test_fit_refuses_another_models_optimizer():
    with pytest.raises(ValueError, match="holds none of the model's parameters"):
        run(nn.Linear(5, 3), optimizer=nn.SGD(nn.Linear(5, 3).parameters()))


def test_fit_refuses_a_model_that_is_frozen():
    net = nn.Linear(5, 3).requires_grad_(False)
    with pytest.raises(ValueError, match="none of the model's parameters that require a gradient"):
        run(net)


@pytest.mark.parametrize("name", ["schedule", "epoch_schedule"])
def test_fit_refuses_a_schedule_that_sets_another_optimizers_rates(name):
    net = nn.Linear(5, 3)
    other = nn.SGD(net.parameters(), 0.1)
    with pytest.raises(ValueError, match=f"fit: {name} StepLR sets the rates of another optimizer"):
        run(net, **{name: nn.StepLR(other, 1)})
    with pytest.raises(TypeError, match=f"fit: {name} must be a schedule made from the optimizer, got <class"):
        run(net, **{name: nn.StepLR})


def test_fit_refuses_a_plateau_schedule_at_every_batch():
    net = nn.Linear(5, 3)
    optimizer = nn.SGD(net.parameters(), 0.1)
    with pytest.raises(TypeError, match="ReduceLROnPlateau looks at the loss of an epoch; give it as epoch_schedule"):
        run(net, optimizer=optimizer, schedule=nn.ReduceLROnPlateau(optimizer))


@pytest.mark.parametrize("wrong, got", [
    (X[:2], r"ndarray of shape \(5,\)"), ((X, Y), r"ndarray of shape \(\d+, 5\)"), ([(X, Y, Y)], "a tuple of 3"),
    ([X[:2]], r"ndarray of shape \(2, 5\)"), ([{"x": X, "y": Y}], "a dict of 2")])
def test_batches_that_are_no_pairs_are_not_taken_apart(wrong, got):
    for what in ({"train": wrong}, {"valid": wrong}):
        with pytest.raises(TypeError, match=f"expects batches \\(x, y\\), got {got}; pass nn.data.DataLoader"):
            run(nn.Linear(5, 3), **what)


@pytest.mark.parametrize("options, error, match", [
    ({"loss": nn.CrossEntropyLoss}, TypeError, r"loss must be a function of \(output, y\).* with its brackets"),
    ({"loss": lambda o, y: tg.cross_entropy(o, y, reduction="none")}, TypeError, r"one value.*got one of shape \(\d+,\)"),
    ({"loss": lambda o, y: np.float32(1)}, TypeError, "one value, .* got float32"),
    ({"epochs": -1}, ValueError, "epochs must be at least 0, got -1"),
    ({"epochs": 2.5}, TypeError, "epochs must be a whole number, got 2.5"),
    ({"callbacks": nn.Callback()}, TypeError, "callbacks must be a list of nn.Callback objects"),
    ({"callbacks": [nn.ProgressBar]}, TypeError, "callbacks must be a list of nn.Callback objects"),
    ({"optimizer": nn.SGD}, TypeError, r"expects an optimiser, such as nn.Adam\(model.parameters\(\)\), got type, .*SGD")])
def test_fit_says_which_argument_is_wrong(options, error, match):
    with pytest.raises(error, match=f"fit: .*{match}"):
        run(nn.Linear(5, 3), **options)


def test_fit_and_evaluate_refuse_what_is_no_module():
    with pytest.raises(TypeError, match="fit: expects a module first, got function"):
        nn.fit(lambda x: x, batches(), epochs=1, optimizer=nn.SGD(nn.Linear(5, 3).parameters()))
    with pytest.raises(TypeError, match="evaluate: expects a module first, got DataLoader"):
        nn.evaluate(batches(), nn.Linear(5, 3))


@pytest.mark.parametrize("resume", [False, True])
def test_a_checkpoint_that_is_a_file_is_refused_and_kept(resume, tmp_path):
    (tmp_path / "run.safetensors").write_bytes(b"mine")
    with pytest.raises(NotADirectoryError, match="no folder '.*run.safetensors' can be made for 'last.safetensors', a file is in its place; name"):
        run(nn.Linear(5, 3), checkpoint=tmp_path / "run.safetensors", resume=resume)
    assert (tmp_path / "run.safetensors").read_bytes() == b"mine"


def test_a_checkpoint_leaves_out_orders_that_are_no_numpy_generators(tmp_path):
    class Loader:
        rng = random.Random(0)

        def __iter__(self):
            return iter([(X, Y)])

    assert len(run(nn.Linear(5, 3), Loader(), checkpoint=tmp_path)) == 1


@pytest.mark.parametrize("make, valid, rates", [
    (lambda o: nn.ExponentialLR(o, 0.5), None, [0.5, 0.25, 0.125]),
    (lambda o: nn.ReduceLROnPlateau(o, factor=0.5, patience=0), None, [0.5, 0.5, 0.5]),
    (lambda o: nn.ReduceLROnPlateau(o, factor=0.5, patience=0), [(X, (Y + 1) % 3)], [0.5, 0.5, 0.25])])
def test_epoch_schedule_steps_once_an_epoch_and_a_plateau_looks_at_the_validation(make, valid, rates):
    net = nn.Linear(5, 3, rng=np.random.default_rng(0))  # its loss falls, that of other labels rises
    optimizer = nn.SGD(net.parameters(), 0.5)
    assert run(net, valid=valid, optimizer=optimizer, epoch_schedule=make(optimizer), epochs=3)["lr"] == rates


def test_seconds_and_images_a_second_are_those_of_the_epoch(monkeypatch):
    ticks = itertools.count(0.0, 0.5)
    monkeypatch.setattr(sys.modules["nn.train.fit"], "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    history = run(nn.Linear(5, 3), epochs=2)
    assert history["seconds"] == [2.5, 2.5]  # two readings around and inside, one after each of 3 batches
    assert history["images_per_second"] == [20 / 1.5, 20 / 1.5]


def test_fit_refuses_two_schedules_of_which_one_would_do_nothing():
    net = nn.Linear(5, 3)
    optimizer = nn.SGD(net.parameters())
    with pytest.raises(ValueError, match="would undo what epoch_schedule sets"):
        run(net, optimizer=optimizer, schedule=nn.ExponentialLR(optimizer, 0.9),
            epoch_schedule=nn.ReduceLROnPlateau(optimizer))


def test_clipping_looks_at_the_parameters_that_are_trained():
    """Gradients of the rest are never cleared and would drown them."""
    def train(freeze):
        rng = np.random.default_rng(1)
        net = nn.Sequential(nn.Linear(5, 4, rng=rng), nn.Linear(4, 3, rng=rng))
        net[0].requires_grad_(not freeze)
        run(net, optimizer=nn.SGD(net[1].parameters(), 0.1), clip_grad_norm=0.1, epochs=5)
        return net[1].weight.numpy()

    assert np.array_equal(train(freeze=True), train(freeze=False))


def test_weights_that_are_lost_do_not_overwrite_the_checkpoint(tmp_path):
    """The loss of the last batch is finite, the step after it is not."""
    net = nn.Linear(5, 3)
    run(net, [(X, Y)], checkpoint=tmp_path)
    good = (tmp_path / "last.safetensors").read_bytes()
    optimizer = nn.SGD(net.parameters(), 0.1)
    with pytest.raises(FloatingPointError, match="after epoch 2, weight holds nan or inf"), np.errstate(all="ignore"):
        run(net, [(X, Y)], epochs=2, checkpoint=tmp_path, resume=True, optimizer=optimizer,
            loss=lambda output, y: tg.sqrt(output * 0.0).sum())
    assert (tmp_path / "last.safetensors").read_bytes() == good


def test_a_validation_loss_of_nan_is_not_the_best():
    rows = [{"epoch": 1, "valid_loss": np.nan}, {"epoch": 2, "valid_loss": 2.0}, {"epoch": 3, "valid_loss": 3.0}]
    assert nn.History(rows).best("valid_loss") == rows[1] and nn.History(rows[:1]).best("valid_loss") is None


def test_history_of_a_column_that_is_not_there_lists_those_that_are():
    with pytest.raises(KeyError, match="no column 'val_loss'; there are epoch, loss"):
        nn.History([{"epoch": 1, "loss": 0.5}])["val_loss"]
    assert nn.History()["loss"] == []
    assert nn.History([{"loss": 0.5}, {"loss": 0.4, "valid_loss": 0.6}])["valid_loss"] == [0.6]


def test_a_module_that_overrides_train_stays_frozen_through_fit():
    class Frozen(nn.BatchNorm1d):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(Frozen(5), nn.Linear(5, 3))
    run(net)
    assert net.training and not net[0].training and net[0].running_mean.numpy().tolist() == [0.0] * 5


class Stop(nn.Callback):
    """Stops when the training loss has not improved for an epoch."""

    def __init__(self):
        self.best = np.inf

    def epoch_end(self, row):
        if row["loss"] >= self.best:
            raise KeyboardInterrupt
        self.best = row["loss"]


def test_a_callback_stops_early_and_leaves_a_checkpoint(tmp_path):
    net = nn.Linear(5, 3)
    history = run(net, epochs=50, optimizer=nn.SGD(net.parameters(), 0.0), callbacks=[Stop()], checkpoint=tmp_path)
    assert history.interrupted and len(history) == 2
    assert len(run(net, epochs=2, checkpoint=tmp_path, resume=True)) == 2


PLACES = {"training": (nn.BatchNorm1d, "forward", 9), "step": (nn.Adam, "numbers", 5),
          "validation": (nn.Linear, "forward", 20), **{f"file {n}": (os, "replace", n) for n in (3, 4, 5)}}


@pytest.mark.parametrize("where", PLACES)
def test_ctrl_c_anywhere_leaves_a_checkpoint_that_goes_on_exactly(where, tmp_path, monkeypatch):
    def make():
        net = nn.Sequential(nn.Linear(5, 4, rng=np.random.default_rng(1)), nn.BatchNorm1d(4), nn.Linear(
            4, 3, rng=np.random.default_rng(2)))
        return net, nn.Adam(net.parameters())

    def train(folder, **options):
        net, optimizer = make()
        history = run(net, valid=batches(), optimizer=optimizer, epochs=3, checkpoint=tmp_path / folder, **options)
        return net, history

    def broken(holder, name, call):
        count, real = [0], getattr(holder, name)

        def f(*args, **kwargs):
            count[0] += 1
            if count[0] == call:
                raise KeyboardInterrupt
            return real(*args, **kwargs)
        m.setattr(holder, name, f)

    whole, _ = train("whole")
    with monkeypatch.context() as m:
        broken(*PLACES[where])
        _, history = train("broken")
    assert history.interrupted
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == ["best.safetensors", "last.safetensors"]
    again, _ = train("broken", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), again.state_dict().values()):
        assert np.array_equal(a, b), name


def test_resume_that_does_not_fit_changes_nothing(tmp_path):
    def parts(schedule, bits=np.random.PCG64):
        net = nn.Linear(5, 3)
        optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
        loader = nn.data.DataLoader(nn.data.Dataset(X, Y), 8, shuffle=True, rng=np.random.Generator(bits(0)))
        return net, loader, optimizer, schedule(optimizer)

    def step(optimizer):
        return nn.StepLR(optimizer, 1)

    def go(net, loader, optimizer, schedule, epochs):
        run(net, loader, optimizer=optimizer, epoch_schedule=schedule, checkpoint=tmp_path, epochs=epochs,
            resume=epochs > 1)

    go(*parts(step), epochs=1)
    for other in (parts(nn.ReduceLROnPlateau), parts(step, np.random.MT19937)):
        net, loader, optimizer, schedule = other
        before = net.state_dict(), str(loader.rng.bit_generator.state), optimizer.param_groups[0]["lr"]
        with pytest.raises(ValueError, match="does not fit this run, or is damaged"):
            go(*other, epochs=2)
        after = net.state_dict(), str(loader.rng.bit_generator.state), optimizer.param_groups[0]["lr"]
        assert before[1:] == after[1:] and optimizer.state == {}
        assert all(np.array_equal(a, b) for a, b in zip(before[0].values(), after[0].values()))


@pytest.mark.parametrize("history", [5, [5], {"a": 5}, None])
def test_a_checkpoint_with_a_history_that_is_none_changes_nothing(history, tmp_path):
    run(nn.Linear(5, 3), checkpoint=tmp_path)
    arrays, metadata = saving.load_with_metadata(tmp_path / "last.safetensors")
    numbers = {**json.loads(metadata["run"]), "history": history}
    nn.save(arrays, tmp_path / "last.safetensors", {**metadata, "run": json.dumps(numbers)})
    net = nn.Linear(5, 3)
    before = net.state_dict()
    with pytest.raises(ValueError, match="last.safetensors' does not fit this run, or is damaged: its history is no"):
        run(net, checkpoint=tmp_path, resume=True)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


FOREIGN = ["last.safetensors", "best.safetensors"]


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("resume", [False, True])
def test_nothing_is_overwritten_unasked(name, resume, tmp_path):
    """Not before the first epoch either; a folder is gone on with only where there is what to go on from."""
    net, events = nn.Linear(5, 3), []
    run(net, checkpoint=tmp_path)
    other = next(file for file in FOREIGN if file != name)
    (tmp_path / other).unlink()
    kept, before = (tmp_path / name).read_bytes(), net.state_dict()

    class Told(nn.Callback):
        def epoch_begin(self, *_):
            events.append(0)

    if resume and name == "last.safetensors":
        assert len(run(net, checkpoint=tmp_path, resume=True, epochs=2)) == 2
        return
    what = "there is nothing to resume from, name another" if resume else "go on with it by resume=True, or name another"
    with pytest.raises(FileExistsError, match=f"^fit: '.*' holds {name} of another run, which would be overwritten; {what}"):
        run(net, checkpoint=tmp_path, resume=resume, callbacks=[Told()])
    assert (tmp_path / name).read_bytes() == kept and not events and not (tmp_path / other).exists()
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


def test_a_complete_run_that_is_resumed_is_left_as_it_is(tmp_path):
    net = nn.Linear(5, 3)
    run(net, checkpoint=tmp_path, epochs=2)
    files = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for epochs in (1, 2):
        other = nn.Linear(5, 3)
        history = run(other, checkpoint=tmp_path, epochs=epochs, resume=True)
        assert len(history) == 2 and not history.interrupted
        assert np.array_equal(other.weight.numpy(), net.weight.numpy())
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == files


class Listed(nn.Module):
    """Keeps a part in a function, where it is not looked for."""

    def __init__(self, part):
        super().__init__()
        self.head, self.part = nn.Linear(5, 3), lambda x: part(x)

    def forward(self, x):
        return self.head(self.part(x))


def test_fit_refuses_a_used_parameter_that_is_nobodys():
    net = Listed(nn.Linear(5, 5))
    before = net.state_dict()
    with pytest.raises(ValueError, match=r"^fit: Listed uses weight of shape \(5, 5\) \(line \d+ of .*test_fit.py\) but does "
                                         r"not hold it.*neither trained nor saved.*nn.ModuleList.*requires_grad_\(False\)"):
        run(net)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


def test_fit_refuses_a_part_in_a_list_that_grew():
    net = Listed(nn.ReLU())
    net.drops = []
    net.drops.append(nn.Dropout(0.5))
    with pytest.raises(TypeError, match="^Listed: 'drops' is a plain list that holds a Dropout"):
        run(net)


def test_fit_takes_a_judge_that_is_hidden_on_purpose():
    net, judge = nn.Linear(5, 3), nn.Linear(3, 3)
    object.__setattr__(net, "judge", judge)
    net.forward = lambda x: judge(tg.linear(x, net.weight, net.bias))
    before = judge.state_dict()
    run(net)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), judge.state_dict().values()))


def test_fit_refuses_a_used_tensor_that_is_no_parameter():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.scale = nn.Linear(5, 3), tg.ones(3, requires_grad=True)

        def forward(self, x):
            return self.inner(x) * self.scale

    with pytest.raises(ValueError, match=r"^fit: Scaled uses a tensor of shape \(3,\) .* make tensors nn.Parameter"):
        run(Scaled())


def test_fit_takes_frozen_partly_trained_foreign_and_unused_parameters():
    run(Listed(nn.Linear(5, 5).requires_grad_(False)))
    net = Listed(part := nn.Linear(5, 5))
    run(net, optimizer=nn.SGD([*net.parameters(), *part.parameters()], 0.1))
    run(net, optimizer=nn.SGD([*net.head.parameters(), *part.parameters()], 0.1))
    two = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 3))
    run(two, optimizer=nn.SGD(two[1].parameters(), 0.1))
    judge = nn.Linear(3, 1)  # one of two networks that are trained in turn
    run(two, loss=lambda output, y: judge(output).mean())
    net = Listed(nn.ReLU())
    net.unused = nn.Linear(2, 2)
    run(net)


def test_an_exploding_loss_is_told_by_the_error_alone(recwarn):
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        run(net, epochs=30, optimizer=nn.SGD(net.parameters(), 1e30))
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
    with np.errstate(over="raise", invalid="raise"), pytest.raises(FloatingPointError, match="encountered"):
        run(nn.Linear(5, 3), [(X * np.float32(1e38), Y)] * 2)


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_a_bar_on_a_terminal_and_a_line_an_epoch_elsewhere(terminal, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Stream(terminal))
    run(nn.Linear(5, 3), valid=batches(), epochs=3, callbacks=None)
    said = sys.stderr.getvalue()
    if terminal:
        assert "3/3 [" in said and said.count("\r") > 3
    else:
        assert "\r" not in said and [line.split(":")[0] for line in said.splitlines()] == [
            "epoch 1/3", "epoch 2/3", "epoch 3/3"]
        assert re.fullmatch(r"loss=[\d.]+, acc=[\d.]+, val_loss=[\d.]+, val_acc=[\d.]+, img/s=\d+, [\d.]+ s",
                            said.splitlines()[0].split(": ")[1])


def test_progress_without_a_stderr_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert len(run(nn.Linear(5, 3), callbacks=None)) == 1


def test_a_run_that_fails_before_an_epoch_is_complete_leaves_no_checkpoint(tmp_path):
    """The corrected run is not refused; one that was resumed is left as it was."""
    for wrong in ([(X[:, :4], Y)], [(X, Y), 3]):
        with pytest.raises((ValueError, TypeError)):
            run(nn.Linear(5, 3), wrong, checkpoint=tmp_path)
        assert not [*tmp_path.iterdir()]
    run(nn.Linear(5, 3), epochs=0, checkpoint=tmp_path)
    assert len(run(net := nn.Linear(5, 3), checkpoint=tmp_path, resume=True)) == 1
    kept = (tmp_path / "last.safetensors").read_bytes()
    with pytest.raises((ValueError, TypeError)):
        run(net, [3], checkpoint=tmp_path, resume=True, epochs=2)
    assert (tmp_path / "last.safetensors").read_bytes() == kept


def test_a_link_to_a_checkpoint_that_is_gone_is_no_new_run(tmp_path):
    (tmp_path / "last.safetensors").symlink_to(tmp_path / "far" / "gone.safetensors")
    for resume, error in ((True, FileNotFoundError), (False, FileExistsError)):
        with pytest.raises(error):
            run(nn.Linear(5, 3), checkpoint=tmp_path, resume=resume)
        assert not (tmp_path / "far").exists() and (tmp_path / "last.safetensors").is_symlink()


def test_an_interrupted_run_says_so(tmp_path, capsys):
    class Stop(nn.Callback):
        def epoch_end(self, row):
            if row["epoch"] == 2:
                raise KeyboardInterrupt
    net, told = nn.Linear(2, 2), []

    class Told(nn.Callback):
        def interrupted(self, history):
            told.append(len(history))
    loader = nn.data.DataLoader(nn.data.Dataset(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), 2)
    history = nn.fit(net, loader, epochs=5, optimizer=nn.SGD(net.parameters(), 0.1),
                     callbacks=[nn.ProgressBar(), Told(), Stop()])
    assert history.interrupted and told == [2] and repr(history).endswith("(interrupted)")
    assert "interrupted after 2 complete epochs" in capsys.readouterr().err


def test_a_file_is_no_checkpoint_folder_and_a_run_that_has_more_epochs_says_so(tmp_path):
    net = nn.Linear(2, 2)
    loader = nn.data.DataLoader(nn.data.Dataset(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), 2)
    options = {"optimizer": nn.SGD(net.parameters(), 0.1), "callbacks": ()}
    with pytest.raises(ValueError, match="checkpoint is a folder.*model.safetensors' looks like a file"):
        nn.fit(net, loader, epochs=1, checkpoint=tmp_path / "model.safetensors", **options)
    assert not any(tmp_path.iterdir())
    nn.fit(net, loader, epochs=3, checkpoint=tmp_path / "run", **options)
    with pytest.warns(UserWarning, match="has 3 epochs already, more than epochs=2; nothing is trained"):
        nn.fit(net, loader, epochs=2, checkpoint=tmp_path / "run", resume=True, **options)
    with pytest.raises(RuntimeError, match="this is the checkpoint of a whole run; nn.fit.*best.safetensors"):
        net.load_state_dict(nn.load(tmp_path / "run" / "last.safetensors"))


def test_a_loss_that_has_left_the_graph_is_told():
    class Cut(nn.Linear):
        def forward(self, x):
            return tg.tensor(super().forward(x).detach().numpy())
    net = Cut(2, 2)
    loader = nn.data.DataLoader(nn.data.Dataset(np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])), 2)
    with pytest.raises(RuntimeError, match="fit: the loss does not depend on the parameters: .*detach"):
        nn.fit(net, loader, epochs=1, optimizer=nn.SGD(net.parameters(), 0.1), callbacks=())
    with pytest.raises(TypeError, match="evaluate: expects an iterable of batches"):
        nn.evaluate(net, None)


def test_the_function_is_no_world():
    net = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"fit: expects world=nn.parallel.world\(\), got function"):
        nn.fit(net, [], epochs=1, optimizer=nn.SGD(net.parameters(), 0.1), world=nn.parallel.world)
    with pytest.raises(TypeError, match=r"evaluate: expects world=nn.parallel.world\(\), got function"):
        nn.evaluate(net, [], world=nn.parallel.world)
