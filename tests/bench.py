"""Our training step beside PyTorch's: time and memory, all sides in one run, taking turns.

    python -m tests.bench            everything
    python -m tests.bench lenet      the cases whose name contains "lenet"
    python -m tests.bench record     what recording costs, each beside its floor

Sides are our families of kernels (machine code, where llvmlite is installed, and NumPy) and PyTorch in its
better memory format. A side runs for a short block, then the next; the first calls of a block are not counted, so
that the other library's waiting threads have gone to sleep. Printed: the median time of a call
on each side and, of each of our families, the median of the blocks' ratios to PyTorch (below 1.0 we are faster).
Memory is the peak resident size of three steps above that of the process before the model is made.
"""
from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable

import numpy as np

import nn
import tinygrad_conv as tg
from tinygrad_conv.kernels.table import families

try:
    import torch
except ImportError:
    torch = None

ROUNDS, SETTLE, COUNT = 10, 0.06, 0.15  # blocks a side; seconds not counted, seconds counted
CONVS = [(64, 1, 28, 32, 3, 1), (64, 32, 14, 64, 3, 1), (64, 64, 32, 64, 3, 1), (1, 5, 100, 10, 5, 0),
         (64, 1, 28, 6, 5, 2), (64, 6, 14, 16, 5, 0), (32, 3, 32, 32, 3, 1), (32, 128, 8, 128, 3, 1)]
FAMILIES = [family for family in ("compiled", "numpy") if family in families()]
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
    optimizer = nn.Adam(model.parameters(), lr=0.001)
    x, y = batch(size)

    def step() -> None:
        optimizer.zero_grad()
        tg.cross_entropy(model(tg.tensor(x)), y).backward()
        optimizer.step()

    return step


def by(family: str, step: Step) -> Step:
    """The step with that family of kernels."""
    def chosen() -> None:
        with tg.use_kernels(family):
            step()
    return chosen


def torch_step(net: str, size: int, layout: str = "contiguous_format") -> Step:
    layout = getattr(torch, layout)
    model = NETS[net](torch.nn).to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    x, y = map(torch.tensor, batch(size))
    x = x.contiguous(memory_format=layout)

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
    x, g = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) for a in (x, g)]  # as ops leave them
    x, w, b = [tg.tensor(a, requires_grad=True) for a in (x, w, b)]
    g = tg.tensor(g)

    def step() -> None:
        x.grad = w.grad = b.grad = None
        tg.conv2d(x, w, b, padding=shape[-1]).backward(g)

    return step


def torch_conv(shape: tuple[int, ...], layout: str = "contiguous_format") -> Step:
    *leaves, g = [torch.tensor(a).contiguous(memory_format=getattr(torch, layout)) if a.ndim == 4
                  else torch.tensor(a) for a in conv_arrays(*shape)]
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


def better(make: Callable[..., Step], *what: object) -> list[Step]:
    """PyTorch's step in the memory format in which it is faster; none without PyTorch."""
    sides = [make(*what, layout) for layout in ("contiguous_format", "channels_last")] if torch else []
    return [min(sides, key=lambda step: (step(), min(block(step) for _ in range(3)))[1])] if sides else []


def versus(name: str, ours: Step, theirs: list[Step]) -> list[float]:
    """Print a row; the ratio of each of our families to PyTorch."""
    sides = [*(by(family, ours) for family in FAMILIES), *theirs]
    for step in sides:
        step()
    rounds = [[block(step) for step in sides] for _ in range(ROUNDS)]
    times = [statistics.median(column) * 1e3 for column in zip(*rounds)]
    ratios = [[r[k] / r[-1] for r in rounds] for k in range(len(FAMILIES))] if theirs else []
    return report(name, times, ratios, "ms")


def report(name: str, figures: list[float], ratios: list[list[float]], unit: str) -> list[float]:
    row = f"{name:36}" + "".join(f"{f:9.2f} {unit}" for f in figures)
    row += "".join(f"   {statistics.median(r):5.2f}x ({min(r):.2f} to {max(r):.2f})" for r in ratios)
    print(row, flush=True)
    return [statistics.median(r) for r in ratios]


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


# ----- the record: what an op costs beside PyTorch, each figure with the floor it must keep -----

CHAIN = 2000


def our_chain(n: int = CHAIN) -> tg.Tensor:
    x = y = tg.tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + x
    return y


def torch_chain(n: int = CHAIN):
    x = y = torch.tensor(1.0, requires_grad=True)
    for _ in range(n):
        y = y + x
    return y


def floor(name: str, figure: float, unit: str, most: float, ours: float = 0.0, theirs: float = 0.0) -> None:
    """One row: the figure, the most it may be, and what it is a ratio of, in microseconds."""
    parts = f"   {ours:8.2f} us against {theirs:.2f} us" if theirs else ""
    print(f"{name:44}{figure:9.2f} {unit:4} at most {most:g}  {'ok' if figure <= most else 'ABOVE'}{parts}",
          flush=True)


def floor_of_ratio(name: str, sides: list[Step], most: float, calls: int = 1) -> None:
    """Median of the rounds' ratios; `calls` ops in a step."""
    for step in sides:
        step()
    rounds = [[block(step) for step in sides] for _ in range(ROUNDS)]
    ours, theirs = [statistics.median(column) / calls * 1e6 for column in zip(*rounds)]
    floor(name, statistics.median(r[0] / r[1] for r in rounds), "x", most, ours, theirs)


def unrecorded_above_numpy() -> float:
    """Microseconds of an unrecorded add above those of NumPy's, on arrays of 10."""
    a, t = np.ones(10, np.float32), tg.ones(10)

    def repeat(step: Step, n: int = 1000) -> Step:
        return lambda: [step() for _ in range(n)]
    sides = [repeat(lambda: tg.add(t, t)), repeat(lambda: np.add(a, a))]
    rounds = [[block(step) for step in sides] for _ in range(ROUNDS)]
    return statistics.median(ours - numpys for ours, numpys in rounds) * 1e3


def seconds_an_op(n: int) -> float:
    start = time.process_time()  # of this process alone: the two figures are not taken at the same time
    our_chain(n).backward()
    return (time.process_time() - start) / n


def memory_an_op(n: int = 10_000) -> float:
    """Kilobytes that a recorded scalar add keeps."""
    tracemalloc.start()
    kept = our_chain(n)
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del kept
    return size / n / 1000


def import_time(statement: str, times: int = 9) -> float:
    """Median milliseconds of an import, each in a process that has imported NumPy, from compiled files."""
    code = f"import numpy, time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        taken = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True,
                                env=environment).stdout for _ in range(times + 1)]
    return statistics.median(map(float, taken[1:])) * 1e3  # the first one compiles


def record() -> None:
    if torch is not None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        floor_of_ratio("recorded scalar add, both ways", [
            lambda: our_chain().backward(), lambda: torch_chain().backward()], 1.5, CHAIN)
        torch.set_num_threads(threads)
        floor_of_ratio("LeNet-5 training step, batch 1", [our_step("lenet", 1), torch_step("lenet", 1)], 1.0)
    floor("unrecorded add above NumPy's", unrecorded_above_numpy(), "us", 2)
    pairs = [(seconds_an_op(10_000), seconds_an_op(100_000)) for _ in range(3)]
    short, long = [statistics.median(column) * 1e6 for column in zip(*pairs)]
    floor("an op of 100,000 against one of 10,000", long / short, "x", 2, long, short)  # the collector walks more
    floor("memory of a recorded scalar add", memory_an_op(), "kB", 1)
    floor("import tinygrad_conv, nn, above NumPy", import_time("import tinygrad_conv, nn"), "ms", 60)


def main(wanted: str = "") -> None:
    both = torch is not None
    if both:
        torch.set_num_threads(tg.get_num_threads())
    if wanted in ("", "record"):
        record()
    if wanted == "record":
        return
    sides = [*FAMILIES, "PyTorch" if both else "(PyTorch is not installed)"]
    print(f"{'':36}" + "".join(f"{side:>12}" for side in sides) + "   ours / PyTorch, in this order")
    for net in NETS:
        for size in (1, 32, 64, 256):
            name = f"{net} training step, batch {size}"
            if wanted in name:
                versus(name, our_step(net, size), better(torch_step, net, size))
    ratios = []
    for shape in CONVS:
        n, c, h, o, k, _ = shape
        name = f"conv {n}x{c}x{h}x{h} -> {o}, k{k}, both ways"
        if wanted in name:
            ratios.append(versus(name, our_conv(shape), better(torch_conv, shape)))
    if len(ratios) > 1 and both:
        means = [statistics.geometric_mean(column) for column in zip(*ratios)]
        print("convs, geometric mean" + "".join(f"  {family} {mean:.2f}x" for family, mean in zip(FAMILIES, means)))
    for net in NETS:
        name = f"{net} peak memory, batch 64"
        if wanted in name and sys.platform == "linux":
            figures = [peak_memory(side, net, 64) for side in ("ours", "torch")[:1 + both]]
            report(name, figures, [[figures[0] / figures[1]]] if both else [], "MiB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        measure_memory(*sys.argv[2:5])
    else:
        main(*sys.argv[1:2])
