"""Training on several processes, against one: real ones of mpiexec, also such as die."""
from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.parallel import World, summed, sync_batch_norm
from nn.train.saving import load_with_metadata

ROOT = Path(__file__).resolve().parent.parent
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")
pytestmark = [pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec; pip install mpich, or the system's MPI"),
              pytest.mark.skipif(importlib.util.find_spec("mpi4py") is None, reason="no mpi4py")]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "OMPI_ALLOW_RUN_AS_ROOT": "1",
               "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
               "OMPI_MCA_rmaps_base_oversubscribe": "1"}
SLOW = pytest.mark.slow
LIMIT = 60  # seconds for a job


def start(n, code, *arguments, **options):
    """`code` on n ranks; it knows `world`, `folder` and this module as `t`."""
    head = ("import sys, os, signal, time, zlib\nimport numpy as np\nimport nn\nimport tinygrad_conv as tg\n"
            "from tests import test_mpi as t\ntg.set_num_threads(1)\nworld = nn.parallel.world(30)\n"
            "folder = sys.argv[1] if len(sys.argv) > 1 else None\n"
            "say = lambda *what: os.write(1, (' '.join(map(str, what)) + '\\n').encode())  # a whole line\n")
    return subprocess.Popen([MPIEXEC, "-n", str(n), sys.executable, "-c", head + code, *map(str, arguments)], cwd=ROOT,
                            env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(n, code, *arguments):
    out, err, code = ended(start(n, code, *arguments))
    assert code == 0, err
    return out, err


def ended(job):
    """Output, errors and exit code of a job, which is ended if it does not."""
    with job:
        try:
            return *job.communicate(timeout=LIMIT), job.returncode
        except subprocess.TimeoutExpired:
            job.terminate()
            raise


def net(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 3, 3, rng=rng, dtype=np.float64), nn.BatchNorm2d(3, dtype=np.float64), nn.ReLU(),
                         nn.Flatten(), nn.Linear(108, 10, rng=rng, dtype=np.float64), nn.BatchNorm1d(10, momentum=None, dtype=np.float64))


def data(n):
    images = nn.data.digits("test")
    return nn.data.Dataset(images[:n][0].astype(np.float64), images.labels[:n])


# ----- the same numbers -----

def gradients(world, n, penalty):
    """Of a batch of n, and what batch norm has tracked."""
    model = net()
    sync_batch_norm(model, world)
    x, y = world.part(data(n)[:n])
    x = tg.tensor(x, requires_grad=True)
    loss = tg.cross_entropy(model(x), y) * world.share
    if penalty:  # of second order: the gradient of the gradient in x
        slope = tg.grad(lambda x: tg.cross_entropy(model(x), y) * world.share)(x)
        loss = loss + (slope[:len(x) * (world.share > 0)] ** 2).sum()
    loss.backward()
    world.sum_gradients(model.parameters())
    return {**{name: p.grad.numpy() for name, p in model.named_parameters()},
            **{name: b.numpy() for name, b in model.named_buffers()}}


def save_gradients(world, folder):
    for n in (11, 2):
        for penalty in (False, True):
            found = gradients(world, n, penalty)
            np.savez(f"{folder}/{n}-{penalty}-{world.rank}.npz", **found)
    tg.check_grads(lambda x: summed(summed(x, world=world) ** 3, world=world), (np.array([0.3, -0.7, 1.1]),), order=2)


@pytest.mark.parametrize("ranks", [pytest.param(2, marks=SLOW), pytest.param(3, marks=SLOW), 4])
def test_gradients_are_those_of_one_process(ranks, tmp_path):
    """Of uneven parts, and of fewer rows than ranks; with batch norm over all, and through a derivative."""
    run(ranks, "t.save_gradients(world, folder)", tmp_path)
    for n in (11, 2):
        for penalty in (False, True):
            files = [np.load(tmp_path / f"{n}-{penalty}-{rank}.npz") for rank in range(ranks)]
            for name, expected in gradients(World(), n, penalty).items():
                np.testing.assert_allclose(files[0][name], expected, rtol=1e-12, atol=1e-12, err_msg=name)
                assert {f[name].tobytes() for f in files} == {files[0][name].tobytes()}, name


# ----- a run -----

def train(world, folder, epochs, resume=False, seed=0, callbacks=(), dropout=0.0):
    """Clipped, by a schedule that looks at the loss; the last batch has two rows."""
    model = net(seed)
    if dropout:
        model.append(nn.Dropout(dropout, rng=np.random.default_rng(seed)))
    sync_batch_norm(model, world)
    loader = nn.data.DataLoader(data(50), 16, shuffle=True, rng=np.random.default_rng(seed), transform=nn.data.shift(1, 0.5))
    optimizer = nn.SGD(model.parameters(), 0.05, momentum=0.9)
    history = nn.fit(model, loader, nn.data.DataLoader(data(13), 5), epochs=epochs, optimizer=optimizer, world=world,
                     clip_grad_norm=0.5, epoch_schedule=nn.ReduceLROnPlateau(optimizer, patience=0, threshold=0.5),
                     checkpoint=folder, resume=resume, callbacks=callbacks)
    return model, history


TIMES = ("seconds", "images_per_second")


def rows(history):
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history.rows]


def numbers(folder):
    """What a checkpoint holds, but measured times: arrays, and the history; and everything, to compare bits."""
    arrays, metadata = load_with_metadata(Path(folder) / "last.safetensors")
    run = json.loads(metadata["run"])
    run["history"] = [{k: v for k, v in row.items() if k not in TIMES} for row in run["history"]]
    return arrays, run, [(k, a.tobytes()) for k, a in arrays.items()]


def assert_close(found, expected):
    assert found[1]["generators"] == expected[1]["generators"]
    assert [{**row} for row in found[1]["history"]] == [pytest.approx(row, rel=1e-9) for row in expected[1]["history"]]
    for name, a in expected[0].items():
        np.testing.assert_allclose(found[0][name], a, rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of one process."""
    folder = tmp_path_factory.mktemp("whole")
    train(World(), folder, 4)
    return numbers(folder)


def test_a_run_of_other_numbers_of_ranks_after_each_resume_is_that_of_one_process(whole, tmp_path):
    """Four, then two, then three; ranks begin with weights and generators of their own, and take rank 0's."""
    for ranks, epochs in ((4, 2), (2, 3), (3, 4)):
        out, _ = run(ranks, "if world.rank:\n    tg.write_atomically = None  # one alone writes\n"
                     f"model, history = t.train(world, folder, {epochs}, {epochs > 2}, seed=world.rank)\n"
                     "say(t.rows(history), {n: zlib.crc32(a) for n, a in model.state_dict().items()})", tmp_path)
        assert len({*out.splitlines()}) == 1 and len(out.splitlines()) == ranks, out
    assert_close(numbers(tmp_path), whole)
    assert sorted(os.listdir(tmp_path)) == ["best.safetensors", "last.safetensors"]


def test_one_rank_is_the_plain_run_bit_for_bit(whole, tmp_path):
    out, _ = run(1, "t.train(world, folder, 4, dropout=0.0)\nprint(world)", tmp_path)
    assert out == "World(rank 0 of 1)\n" and numbers(tmp_path)[1:] == whole[1:]


@SLOW
def test_dropout_differs_between_ranks_and_a_resumed_run_has_the_same_bits(tmp_path):
    code = ("import nn.parallel\nmodel, _ = t.train(world, folder, {}, {}, dropout=0.5)\n"
            "say(next(model.named_generators())[1].bit_generator.state['state']['state'])")
    out, _ = run(2, code.format(3, False), tmp_path / "whole")
    assert len({*out.split()}) == 2
    run(2, code.format(2, False), tmp_path / "broken")
    run(2, code.format(3, True), tmp_path / "broken")
    assert numbers(tmp_path / "broken")[1:] == numbers(tmp_path / "whole")[1:]


def test_batch_norm_of_its_own_has_the_means_of_the_ranks_statistics(tmp_path):
    """And every rank has the same."""
    out, _ = run(3, """
model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64))
loader = nn.data.DataLoader(t.data(300), 60)
nn.fit(model, loader, epochs=1, optimizer=nn.SGD(model.parameters(), 0.0), callbacks=(), world=world)
say(model[1].running_mean.tolist())""")
    found = [json.loads(line) for line in out.splitlines()]
    assert found[0] == found[1] == found[2]
    model = nn.BatchNorm1d(64)
    for x, _ in nn.data.DataLoader(data(300), 60):
        model(x.reshape(len(x), 64))
    np.testing.assert_allclose(found[0], model.running_mean.numpy(), atol=1e-6)


def test_callbacks_stop_all_ranks_or_the_job(tmp_path):
    stop = """
class Stop(nn.Callback):
    def epoch_end(self, row):
        if row["epoch"] == 2 and world.rank >= {}:
            raise KeyboardInterrupt
_, history = t.train(world, folder, 4, callbacks=[Stop()])
say(len(history), history.interrupted)"""
    assert run(2, stop.format(0), tmp_path / "all")[0] == "2 True\n" * 2
    fails(2, stop.format(1), "is at the end of fit with .True.., ranks .* are elsewhere", tmp_path / "one")


def train_with_more(world, folder):
    """Two batches and what is left of them a step, a scaled loss, averages; and a stop that one rank asks for."""
    class Stop(nn.Callback):
        def train_begin(self, training):
            self.training = training

        def epoch_end(self, row):
            if row["epoch"] == 2 and world.rank == world.size - 1:
                self.training.stop("enough")

    model = net()
    sync_batch_norm(model, world)
    loader = nn.data.DataLoader(data(50), 21, shuffle=True, rng=np.random.default_rng(0))
    optimizer = nn.SGD(model.parameters(), 0.05, momentum=0.9)
    return nn.fit(model, loader, nn.data.DataLoader(data(13), 5), epochs=9, optimizer=optimizer, world=world, accumulate=2,
                  clip_grad_norm=0.5, scaler=nn.GradScaler(256.0, growth_interval=3), checkpoint=folder,
                  callbacks=[Stop(), nn.EMA(model, 0.8), nn.EarlyStopping("loss", patience=99, restore_best=True)])


def test_accumulated_scaled_and_averaged_numbers_are_those_of_one_process(tmp_path):
    assert train_with_more(World(), tmp_path / "one").stopped == "enough"
    out, _ = run(3, "history = t.train_with_more(world, folder)\nsay(len(history), history.stopped)", tmp_path / "three")
    assert sorted(out.splitlines()) == ["2 enough", "2 on another rank", "2 on another rank"]
    found, expected = numbers(tmp_path / "three"), numbers(tmp_path / "one")
    assert_close(found, expected)
    for kind in ("callbacks", "schedules"):
        assert found[1][kind] == expected[1][kind]
    assert {"EMA.0.weight", "EarlyStopping.0.weight"} <= set(found[0])


def measured(world):
    """Batches of two rows leave one of three ranks without any."""
    metrics = [nn.TopK(3), nn.F1(), nn.ConfusionMatrix()]
    found = nn.evaluate(net(), nn.data.DataLoader(data(13), 2), metrics=metrics, world=world)
    return {name: value.tolist() if name == "confusion" else round(value, 12) for name, value in found.items()}


def test_metrics_are_those_of_one_process_on_every_rank():
    out, _ = run(3, "say(t.measured(world))")
    assert out.splitlines() == [repr(measured(World()))] * 3


LOOP = """
rng = np.random.default_rng(world.rank)
model = t.net(world.rank)
loader = nn.data.DataLoader(t.data(20), 8, shuffle=True, rng=rng)
optimizer = nn.Adam(model.parameters())
nn.parallel.sync_batch_norm(model, world)
{}
say(zlib.crc32(b"".join(a.tobytes() for a in model.state_dict().values())))
if world.rank == 0:
    nn.save(model, folder)"""


def test_the_loop_of_the_docs_trains_as_one_process_does(tmp_path):
    loop = re.findall(r"```python\nworld = nn.parallel.world\(\)\n(.*?)```", (ROOT / "docs" / "parallel.md").read_text(), re.DOTALL)[0]
    exec(LOOP.format(loop), {"t": sys.modules[__name__], "nn": nn, "tg": tg, "np": np, "zlib": zlib, "say": str,
                             "world": World(), "folder": tmp_path / "one.safetensors"})
    out, _ = run(3, LOOP.format(loop), tmp_path / "three.safetensors")
    assert len({*out.split()}) == 1 and len(out.split()) == 3
    one, three = [nn.load(tmp_path / f"{ranks}.safetensors") for ranks in ("one", "three")]
    for name in one:
        np.testing.assert_allclose(three[name], one[name], rtol=1e-8, atol=1e-10, err_msg=name)


# ----- an end with an error, never a hang -----

def fails(n, code, expected, *arguments):
    out, err, code = ended(start(n, code, *arguments))
    assert code != 0, (out, err)
    assert "survived" not in out
    assert re.search(expected, err + out), err


DIES = """
from demos import program
class Die(nn.Callback):
    def batch_end(self, row):
        if world.rank == 1:
            say("dies")
            {}
with program.plainly():  # also if what it tells of ranks that are gone is caught
    _, history = t.train(world, folder, 2, callbacks=[Die()])
say("survived")"""


@pytest.mark.parametrize("how, expected", [
    ("os.kill(os.getpid(), signal.SIGKILL)", "signal 9|killed"),
    ("raise ArithmeticError('no more')", "ArithmeticError: no more.*TimeoutError.*waited . s at .* for ranks that have ended"),
    ("sys.exit('given up')", "given up.*TimeoutError.*waited . s at .* for ranks that have ended"),
    pytest.param("os._exit(3)", "", marks=SLOW),
    pytest.param("os.kill(os.getpid(), signal.SIGTERM)", "", marks=SLOW),
    pytest.param("world.timeout = 3; world.sum([1.0])", "Error", marks=SLOW),  # what no other does: they are elsewhere
], ids=["killed", "exception", "exit", "_exit", "terminated", "astray"])
def test_a_rank_that_dies_ends_the_job(how, expected, tmp_path):
    fails(3, DIES.format(how), "(?is)" + expected + ".*dies", tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".safetensors"}
    for path in tmp_path.iterdir():
        load_with_metadata(path)


def test_a_rank_that_stands_still_is_waited_for_so_long_and_no_longer(tmp_path):
    fails(2, "world.timeout = 1 if world.rank == 0 else 30\n" + DIES.format("time.sleep(300)"),
          "TimeoutError: nn.parallel: rank 0 waited 1 s at the end of a batch for ranks that did not come", tmp_path)


def test_ctrl_c_ends_the_run_of_all_ranks_after_the_same_batch(tmp_path):
    job = start(2, DIES.format("time.sleep(0.3)") + "\nsay(len(history), history.interrupted)", tmp_path)
    assert job.stdout.readline() == "dies\n"
    job.send_signal(signal.SIGINT)
    out, err, code = ended(job)
    version = subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True).stdout
    assert (code, out.count("0 True\n")) == ((1, 0) if "Open MPI" in version else (0, 2)), (out, err)
    load_with_metadata(tmp_path / "last.safetensors")


@pytest.mark.parametrize("loader, expected", [
    pytest.param("nn.data.DataLoader(t.data(20 + 10 * world.rank), 10)", "rank 0 is at the end of the batches", marks=SLOW),
    ("[(t.data(30)[:10][0] + world.rank, np.zeros(10, int))]", r"rank 1 is at a batch with .* ranks \[0\] are elsewhere"),
    pytest.param("nn.data.DataLoader(t.data(10), 10) if world.rank else []", "elsewhere", marks=SLOW),
], ids=["longer", "other", "empty"])
def test_ranks_with_other_batches_are_told(loader, expected):
    fails(2, f"""
model = t.net()
nn.fit(model, {loader}, epochs=1, optimizer=nn.SGD(model.parameters(), 0.1), callbacks=(), world=world)
say("survived")""", expected)


def test_a_loss_that_is_not_finite_on_one_rank_is_told_on_all():
    code = """
model = t.net()
x, y = t.data(10)[:10]
x[9] = np.nan
try:
    nn.fit(model, [(x, y)], epochs=1, optimizer=nn.SGD(model.parameters(), 0.1), callbacks=(), world=world)
except FloatingPointError as e:
    say(e)"""
    lines = run(2, code)[0].splitlines()
    assert len(lines) == 2 and all("the loss is nan in the batch up to sample 10" in line for line in lines)


# ----- the program, and what is missing -----

def test_the_program_trains_on_two_ranks_and_one_of_them_speaks(tmp_path):
    job = subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-m", "demos.train", "--epochs", "1", "--out", tmp_path / "run"],
                         cwd=ROOT, env=ENVIRONMENT, text=True, capture_output=True, timeout=LIMIT)
    assert job.returncode == 0, job.stderr
    assert job.stderr.count("epoch 1/1") == job.stdout.count("test accuracy") == job.stdout.count("held-out") == 1
    assert {"last.safetensors", "best.safetensors", "weights.safetensors", "curves.png"} <= {*os.listdir(tmp_path / "run")}


@pytest.mark.parametrize("code, expected", [
    ("sys.modules['mpi4py'] = None; nn.parallel.world()", r"ImportError: .*pip install 'tinygrad_conv\[mpi\]'"),
    ("nn.parallel.world()", "RuntimeError: .*mpiexec has started 2 processes, mpi4py sees 1; they are of different MPIs"),
])
def test_what_is_missing_is_named(code, expected):
    job = subprocess.run([sys.executable, "-c", "import sys, nn; " + code], env={**ENVIRONMENT, "OMPI_COMM_WORLD_SIZE": "2"},
                         cwd=ROOT, text=True, capture_output=True, timeout=LIMIT)
    assert job.returncode == 1
    assert re.search(expected, job.stderr), job.stderr
