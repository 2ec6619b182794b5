"""Our training step beside PyTorch's: time and memory, both sides in one run, taking turns.

    python -m tests.bench            everything
    python -m tests.bench lenet      the cases whose name contains "lenet"

A side runs for a short block, then the other; the first calls of a block are not counted, so
that the other library's waiting threads have gone to sleep. Printed: the median time of a call
on each side and the median of the blocks' ratios (below 1.0 we are faster). Memory is the peak
resident size of three steps above that of the process before the model is made.
"""
from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import nn
import tinygrad_conv as tg

try:
    import torch
except ImportError:
    torch = None

ROUNDS, SETTLE, COUNT = 10, 0.06, 0.15  # blocks a side; seconds not counted, seconds counted
CONVS = [(64, 1, 28, 32, 3, 1), (64, 32, 14, 64, 3, 1), (64, 6, 14, 16, 5, 0)]
Step = Callable[[], object]


def lenet(m):
    """LeNet-5 with ReLU and max-pooling, 28x28 input; `m` is `nn` or `torch.nn`."""
    return m.Sequential(
        m.Conv2d(1, 6, 5, padding=2), m.ReLU(), m.MaxPool2d(2),
        m.Conv2d(6, 16, 5), m.ReLU(), m.MaxPool2d(2), m.Flatten(),
        m.Linear(400, 120), m.ReLU(), m.Linear(120, 84), m.ReLU(), m.Linear(84, 10))


def cnn(m):
    """Two 3x3 convolutions of 32 and 64 channels, two 2x2 pools, 128 hidden units."""
    return m.Sequential(
        m.Conv2d(1, 32, 3, padding=1), m.ReLU(), m.MaxPool2d(2),
        m.Conv2d(32, 64, 3, padding=1), m.ReLU(), m.MaxPool2d(2), m.Flatten(),
        m.Linear(3136, 128), m.ReLU(), m.Linear(128, 10))


NETS = {"lenet": lenet, "cnn": cnn}


def batch(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((size, 1, 28, 28), np.float32), rng.integers(0, 10, size)


def our_step(net: str, size: int) -> Step:
    model = NETS[net](nn)
    optimizer = nn.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = batch(size)

    def step() -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(tg.tensor(x)), y).backward()
        optimizer.step()

    return step


def torch_step(net: str, size: int) -> Step:
    model = NETS[net](torch.nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = map(torch.tensor, batch(size))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step


def conv_arrays(n: int, c: int, h: int, o: int, k: int, p: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    out = h + 2 * p - k + 1
    shapes = [(n, c, h, h), (o, c, k, k), (o,), (n, o, out, out)]
    return [rng.standard_normal(s, np.float32) for s in shapes]


def our_conv(shape: tuple[int, ...]) -> Step:
    x, w, b, g = conv_arrays(*shape)
    x, w, b = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    g = tg.tensor(g)

    def step() -> None:
        x.grad = w.grad = b.grad = None
        tg.conv2d(x, w, b, padding=shape[-1]).backward(g)

    return step


def torch_conv(shape: tuple[int, ...]) -> Step:
    *leaves, g = [torch.tensor(a) for a in conv_arrays(*shape)]
    x, w, b = [t.requires_grad_() for t in leaves]

    def step() -> None:
        x.grad = w.grad = b.grad = None
        torch.nn.functional.conv2d(x, w, b, padding=shape[-1]).backward(g)

    return step


def block(step: Step) -> float:
    """Median seconds of a call, once the side has settled."""
    start = time.perf_counter()
    while time.perf_counter() - start < SETTLE:
        step()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < COUNT or len(times) < 3:
        before = time.perf_counter()
        step()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def versus(name: str, sides: list[Step]) -> None:
    for step in sides:
        step()
    rounds = [[block(step) for step in sides] for _ in range(ROUNDS)]
    times = [statistics.median(column) * 1e3 for column in zip(*rounds)]
    report(name, times, [r[0] / r[1] for r in rounds] if len(sides) == 2 else [], "ms")


def report(name: str, figures: list[float], ratios: list[float], unit: str) -> None:
    row = f"{name:34}" + "".join(f"{f:9.2f} {unit}" for f in figures)
    if ratios:
        row += f"   ratio {statistics.median(ratios):5.2f}  ({min(ratios):.2f} to {max(ratios):.2f})"
    print(row, flush=True)


def peak_memory(side: str, net: str, size: int) -> float:
    """MiB that three training steps need at their peak, in a process of their own."""
    out = subprocess.run([sys.executable, "-m", "tests.bench", "--memory", side, net, str(size)],
                         check=True, capture_output=True, text=True)
    return float(out.stdout.split()[-1])


def resident(field: str) -> float:
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith(field))


def measure_memory(side: str, net: str, size: str) -> None:
    make = {"ours": our_step, "torch": torch_step}[side]
    make("lenet", 1)()  # libraries loaded, threads started
    with open("/proc/self/clear_refs", "w") as f:
        f.write("5")  # the peak starts again from here
    before = resident("VmRSS")
    step = make(net, int(size))
    for _ in range(3):
        step()
    print(resident("VmHWM") - before)


def main(wanted: str = "") -> None:
    both = torch is not None
    if both:
        torch.set_num_threads(tg.get_num_threads())
    print(f"{'':34}{'ours':>12}" + (f"{'PyTorch':>12}" if both else "   (PyTorch is not installed)"))
    for net in NETS:
        for size in (1, 64):
            name = f"{net} training step, batch {size}"
            if wanted in name:
                versus(name, [f(net, size) for f in (our_step, torch_step)[:1 + both]])
    for shape in CONVS:
        n, c, h, o, k, _ = shape
        name = f"conv {n}x{c}x{h}x{h} -> {o}, k{k}, both ways"
        if wanted in name:
            versus(name, [f(shape) for f in (our_conv, torch_conv)[:1 + both]])
    for net in NETS:
        name = f"{net} peak memory, batch 64"
        if wanted in name and sys.platform == "linux":
            figures = [peak_memory(side, net, 64) for side in ("ours", "torch")[:1 + both]]
            report(name, figures, [figures[0] / figures[1]] if both else [], "MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(*sys.argv[2:5])
    else:
        main(*sys.argv[1:2])
