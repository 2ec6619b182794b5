"""What has to be measured in a process of its own: peak memory of a step, the first step, a whole training.

    python -m tests.bench.processes memory compiled lenet 64     peak MiB of three steps
    python -m tests.bench.processes first cnn 64                 seconds of the first step, and what it compiled
"""
from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tinygrad_conv as tg

from .clock import seconds
from .nets import our_step, torch_step
from .rows import Row, Target
from .sides import FAMILIES, FORMATS, at_most, torch

ROOT = Path(__file__).parents[2]
REPEATS = 3


def run(*command: str, **environment: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True,
                          cwd=ROOT, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def measured(*what: object, **environment: str) -> Any:
    return json.loads(run("tests.bench.processes", *map(str, what), **environment))


# ----- peak memory -----

def resident(field: str) -> float:
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(field))


def memory(side: str, net: str, size: str) -> float:
    """MiB at the peak of three steps, above those when libraries are loaded and threads started."""
    make = (lambda *step: torch_step(*step, side)) if side in FORMATS else our_step
    with tg.use_kernels(FAMILIES.get(side, "auto")):
        make("lenet", 1)()
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")  # the peak starts again from here
        before = resident("VmRSS")
        step = make(net, int(size))
        for _ in range(3):
            step()
        return resident("VmHWM") - before


def peak_memory(name: str, net: str, size: int) -> list[Row]:
    """Each side twice: the first one may have had to compile its kernels, and the lower one counts."""
    sides = {side: [side] for side in FAMILIES} | ({"PyTorch": list(FORMATS)} if torch else {})
    peaks = {side: min(measured("memory", way, net, size) for way in ways for _ in range(2))
             for side, ways in sides.items()}
    theirs, targets = peaks.get("PyTorch"), at_most(1.0, 1.0)
    return [Row(name, side, figure, "MiB", None if theirs is None or side == "PyTorch" else figure / theirs,
                target=targets.get(side) if theirs else None) for side, figure in peaks.items()]


# ----- the first step -----

def first(net: str, size: str) -> dict[str, Any]:
    """Seconds of the first step and of a later one, and of each kernel that was made or read from disk."""
    from tinygrad_conv.kernels.compiled import machine
    kernels, load = [], machine.loaded

    def timed(*what: Any) -> list[int]:
        start = time.perf_counter()
        addresses = load(*what)
        kernels.append(time.perf_counter() - start)
        return addresses
    machine.loaded = timed
    step = our_step(net, int(size))
    return {"first": seconds(step), "later": statistics.median(seconds(step) for _ in range(5)), "kernels": kernels}


def first_steps(name: str, net: str, size: int) -> list[Row]:
    """Of a process that finds no kernel on disk, and of one that finds all."""
    anew, kept = [], []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            for found in (anew, kept):
                found.append(measured("first", net, size, TINYGRAD_CONV_CODE=folder, TINYGRAD_CONV_KERNELS="auto"))
    rows = []
    for how, each, found, most in (("all kernels compiled anew", "compile time of a kernel", anew, 1500),
                                   ("all kernels from disk", "reading a kernel", kept, 150)):
        beyond = statistics.median(one["first"] - one["later"] for one in found) * 1e3
        kernels = [statistics.median(times) * 1e3 for times in zip(*[one["kernels"] for one in found])]
        rows += [Row(f"{name}, {how}", "compiled", beyond, target=Target(most=most)),
                 Row(f"{each}, median of {len(kernels)}", "compiled", statistics.median(kernels)),
                 Row(f"{each}, longest of {len(kernels)}", "compiled", max(kernels))]
    return rows


# ----- Fashion-MNIST -----

def fashion(name: str, family: str) -> list[Row]:
    """`make train DATA=fashion-mnist EPOCHS=5`, the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        said = run("demos.train", "--data", "fashion-mnist", "--epochs", "5", "--out", f"{folder}/run",
                   TINYGRAD_CONV_KERNELS=FAMILIES[family])
        taken = time.perf_counter() - start
    accuracy = float(re.search(r"test accuracy ([\d.]+)%", said)[1])
    return [Row(name, family, taken, "s", target=Target(most=100) if family == "compiled" else None),
            Row(f"{name}, accuracy", family, accuracy, "%", target=Target(least=91.8))]


if __name__ == "__main__":
    if torch is not None:
        torch.set_num_threads(tg.get_num_threads())
    print(json.dumps({"memory": memory, "first": first}[sys.argv[1]](*sys.argv[2:])))
