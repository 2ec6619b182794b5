"""Training on several processes, against one: real ones of mpiexec, also such as die."""
from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
LIMIT = 60  # seconds for a job


def start(n, code, *arguments, **options):
    """`code` on n ranks; it knows `world`, `folder` and this module as `t`."""
    head = ("import sys, os, signal, time\nimport numpy as np\nimport nn\nimport tinygrad_conv as tg\n"
            "from tests import test_mpi as t\ntg.set_num_threads(1)\nworld = nn.parallel.world(30)\n"
            "folder = sys.argv[1] if len(sys.argv) > 1 else None\n")
    return subprocess.Popen([MPIEXEC, "-n", str(n), sys.executable, "-c", head + code, *map(str, arguments)], cwd=ROOT,
                            env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def run(n, code, *arguments):
    with start(n, code, *arguments) as job:
        out, err = job.communicate(timeout=LIMIT)
        assert job.returncode == 0, err
    return out, err


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
        slope = tg.grad(lambda x: tg.cross_entropy(model(x), y) * world.share, create_graph=True)(x)
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


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_gradients_are_those_of_one_process(ranks, tmp_path):
    """Of uneven parts, and of fewer rows than ranks; with batch norm over all, and through a derivative."""
    run(ranks, "t.save_gradients(world, folder)", tmp_path)
    for n in (11, 2):
        for penalty in (False, True):
            files = [np.load(tmp_path / f"{n}-{penalty}-{rank}.npz") for rank in range(ranks)]
            for name, expected in gradients(World(), n, penalty).items():
                np.testing.assert_allclose(files[0][name], expected, rtol=1e-12, atol=1e-12, err_msg=name)
                assert {f[name].tobytes() for f in files} == {files[0][name].tobytes()}, name
