"""The main job: train a small CNN on real images and leave everything worth looking at in a folder.

    python -m demos.train                                  LeNet-style, embedded digits
    python -m demos.train --data fashion-mnist --epochs 5
    mpiexec -n 4 python -m demos.train                     the same on four processes

Each run has a folder of its own: runs/digits, then runs/digits-2, ...
"""
from __future__ import annotations

import itertools
import shlex
import sys
import time
from pathlib import Path

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import parser, plainly, whole


def lenet(rng: np.random.Generator) -> nn.Module:
    """LeNet-style for 8x8 images: two convolutions, two pools, two linear layers."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 128, rng=rng), nn.ReLU(), nn.Linear(128, 10, rng=rng))


def cnn(rng: np.random.Generator) -> nn.Module:
    """Two 3x3 convolutions of 32 and 64 channels, two 2x2 pools, 128 hidden units, for 28x28."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128, rng=rng), nn.ReLU(), nn.Linear(128, 10, rng=rng))


JOBS = {  # data, model, epochs, batch, top learning rate, augmentation
    "digits": (nn.data.digits, lenet, 25, 32, 2e-3, nn.data.shift(1, p=0.5)),
    "fashion-mnist": (nn.data.fashion_mnist, cnn, 5, 64, 3e-3, nn.data.flip()),
}


def misses(model: nn.Module, data: nn.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Where the model errs on a data set, and what it says there."""
    said = nn.predict(model, data).argmax(axis=1)
    wrong = np.flatnonzero(said != data.labels)
    return wrong, said[wrong]


def folder(data: str, resume: bool) -> Path:
    """The first of runs/DATA, runs/DATA-2, ... that is not there yet; to resume, the last that is."""
    names = (Path("runs") / (data if n == 1 else f"{data}-{n}") for n in itertools.count(1))
    previous = None
    while (name := next(names)).exists():
        previous = name
    return previous if previous and resume else name


@plainly()
def main() -> None:
    takes = parser(__doc__)
    takes.add_argument("--data", choices=JOBS, default="digits")
    takes.add_argument("--epochs", type=whole(1), help="in all (default: digits 25, fashion-mnist 5)")
    takes.add_argument("--seed", type=whole(0), default=0)
    takes.add_argument("--out", type=Path, help="folder for the results (default runs/DATA, -2, ...)")
    takes.add_argument("--resume", action="store_true", help="resume from the folder's checkpoint")
    options = takes.parse_args()
    from demos.pictures import draw_misclassified  # needs an extra: say so before the training
    load, build, epochs, batch, lr, augment = JOBS[options.data]
    epochs, out = options.epochs or epochs, options.out or folder(options.data, options.resume)
    rng, world = np.random.default_rng(options.seed), nn.parallel.world()
    train, test, model = load("train"), load("test"), build(rng)
    loader = nn.data.DataLoader(train, batch, shuffle=True, rng=rng, transform=augment)
    optimizer = nn.AdamW(model.parameters(), lr)
    schedule = nn.OneCycleLR(optimizer, lr, total_steps=epochs * len(loader) + 1)
    anew, start = options.resume and not (out / "last.safetensors").exists(), time.perf_counter()
    if world.rank == 0:
        print(f"{options.data}: {len(train)} training images, {len(test)} held-out test images\n")
        print(nn.summary(model, (1, *train.images.shape[1:])), "\n")
        print(f"results in {out}" + "; there is nothing to resume, a new run begins" * anew, flush=True)
    history = nn.fit(model, loader, nn.data.DataLoader(test, 256), epochs=epochs, optimizer=optimizer,
                     schedule=schedule, checkpoint=out, resume=options.resume, world=world)
    if world.rank:
        return
    if history.interrupted:
        again = [sys.executable, "-m", "demos.train", *sys.argv[1:]] + ["--out", str(out)] * (not options.out)
        raise KeyboardInterrupt(f"after {len(history)} complete epochs; {out} has the checkpoint; resume:\n"
                                f"  {shlex.join(again + ['--resume'] * (not options.resume))}")

    nn.save(model, out / "weights.safetensors")
    history.plot(out / "curves.png")
    loss = tg.cross_entropy(model(tg.tensor(train[:1][0])), train[:1][1])
    tg.draw(loss).save(out / "graph.dot")
    tg.draw(loss).save(out / "graph.svg")
    wrong, said = misses(model, test)
    draw_misclassified(test, wrong, said, out / "misclassified.png")
    print(f"\ntest accuracy {1 - len(wrong) / len(test):.2%} ({len(wrong)} of {len(test)} wrong) after "
          f"{epochs} epoch{'s' * (epochs > 1)}, {time.perf_counter() - start:.0f} s")
    print(f"in {out}: " + ", ".join(sorted(p.name for p in out.iterdir() if not p.name.startswith("."))))


if __name__ == "__main__":
    main()
