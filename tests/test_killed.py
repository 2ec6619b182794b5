"""A training that is killed, as by a power failure or a full machine, loses at most the epoch it was in."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nn.train.saving import load_with_metadata

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")

# Trains to the end, from the last checkpoint if there is one; is killed in the n-th call of a function, if it is told
PROGRAM = """if True:
    import os, signal, sys
    from tests import test_resume
    folder, epochs, where, n = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    test_resume.EPOCHS = epochs
    calls = []

    def killed(original, after):
        def call(*args):
            calls.append(args)
            value = original(*args) if after or len(calls) != n else None
            if len(calls) == n:
                os.kill(os.getpid(), signal.SIGKILL)
            return value
        return call

    if where == "batch":
        test_resume.nn.Adam.step = killed(test_resume.nn.Adam.step, False)
    elif where != "nowhere":
        name, _, after = where.partition(" ")
        setattr(os, name, killed(getattr(os, name), bool(after)))
    print("ready", flush=True)
    test_resume.train("adam", folder, resume=True)
"""


def start(folder, epochs, where="nowhere", n=0):
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(epochs), where, str(n)], cwd=ROOT, text=True,
                            stdout=subprocess.PIPE)


def run_to_the_end(folder, epochs):
    with start(folder, epochs) as process:
        assert process.wait(300) == 0
    assert sorted(os.listdir(folder)) == ["best.safetensors", "last.safetensors"]


def contents(folder):
    """All bits of both files but the times that were measured, and with them the checksum."""
    arrays, metadata = load_with_metadata(folder / "last.safetensors")
    numbers = json.loads(metadata["run"])
    for row in numbers["history"]:
        del row["seconds"], row["images_per_second"]
    return ({k: (v.dtype, v.shape, v.tobytes()) for k, v in arrays.items()}, numbers,
            (folder / "best.safetensors").read_bytes())


def check_after_a_kill(folder):
    """What lies there can be read at any moment; what was begun is old enough to be removed by the next."""
    for path in folder.iterdir() if folder.exists() else ():
        if path.suffix == ".part":
            os.utime(path, (time.time() - 7200,) * 2)
        else:
            load_with_metadata(path)


def test_a_run_killed_three_times_ends_with_the_same_bits(tmp_path):
    """In a batch; in the middle of a save; and between the two files of an epoch."""
    run_to_the_end(tmp_path / "whole", 3)
    for where, n in (("batch", 15), ("fsync", 2), ("replace after", 1)):
        with start(tmp_path / "killed", 3, where, n) as process:
            assert process.wait(300) == -signal.SIGKILL
        check_after_a_kill(tmp_path / "killed")
    run_to_the_end(tmp_path / "killed", 3)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_runs_killed_a_hundred_times_at_random_end_with_the_same_bits(tmp_path):
    epochs, kills, unfinished, runs, rng = 40, 0, 0, 0, np.random.default_rng(0)
    run_to_the_end(tmp_path / "whole", epochs)
    expected = contents(tmp_path / "whole")
    while kills < 100:
        runs += 1
        folder = tmp_path / f"run{runs}"
        while kills < 100:
            with start(folder, epochs) as process:
                assert process.stdout.readline() == "ready\n"
                time.sleep(rng.uniform(0, 0.3))
                process.kill()
            if process.returncode == 0:
                break
            kills += 1
            unfinished += any(path.suffix == ".part" for path in folder.iterdir()) if folder.exists() else 0
            check_after_a_kill(folder)
        run_to_the_end(folder, epochs)
        assert contents(folder) == expected
    assert unfinished > 0  # some came in the middle of a save
