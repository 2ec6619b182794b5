"""The smallest change of the pixels that changes a CNN's answer, by one step and by many.

    python -m demos.adversarial [folder for the picture]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly
from demos.trained import digits_cnn

SHOWN, SIZES = 8, np.arange(1, 129, dtype=np.float32) / 128    # of the changes that are tried


def answers(model, x):
    with tg.no_grad():
        return model(x).numpy().argmax(axis=1)


def attack(model, x, y, eps, steps):
    """Steps up the loss by the sign of its gradient, none of which takes a pixel further than eps."""
    uphill = tg.grad(lambda x: tg.cross_entropy(model(x), y, reduction="sum"))
    there = x
    for _ in range(steps):
        there = there + eps * np.float32(max(1 / steps, 0.2)) * np.sign(uphill(there).numpy())
        there = np.clip(there, np.maximum(x - eps, 0), np.minimum(x + eps, 1))
    return there


def smallest(model, x, y, steps):
    """The smallest size at which each answer changes, and the image that does it."""
    size, found = np.full(len(x), np.inf, x.dtype), x.copy()
    for eps in SIZES:
        left = np.flatnonzero(np.isinf(size))
        there = attack(model, x[left], y[left], eps, steps)
        wrong = answers(model, there) != y[left]
        size[left[wrong]], found[left[wrong]] = eps, there[wrong]
    return size, found


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/adversarial")
    from demos.pictures import Figure, keep, show
    model, accuracy = digits_cnn()
    x, y = nn.data.digits("test")[:100]
    right = answers(model, x) == y
    x, y = x[right], y[right]
    one, by_one = smallest(model, x, y, steps=1)
    many, by_many = smallest(model, x, y, steps=10)
    print(f"a CNN that reads {accuracy:.1%} of the test digits; {len(x)} images that it reads. The smallest\n"
          f"change per pixel with which it says something else: in one step (FGSM) {np.median(one):.3f} in\n"
          f"the median, in 10 (PGD) {np.median(many):.3f}, which is less for {np.mean(many < one):.0%}, more "
          f"for {np.mean(many > one):.0%} of them")
    box = many.reshape(-1, 1, 1, 1)
    noise = np.random.default_rng(0).choice(np.float32([-1, 1]), (50, *x.shape))
    fooled = np.mean([answers(model, np.clip(x + box * n, 0, 1)) != y for n in noise])
    print(f"PGD changes {np.mean(answers(model, by_many) != y):.1%} of the answers, random signs of the same "
          f"size {fooled:.1%};\nno pixel moves further: {np.max(np.abs(by_many - x) - box) < 1e-6}")
    figure = Figure(figsize=(1.25 * SHOWN, 5.6), layout="constrained")
    rows = figure.subplots(4, SHOWN)
    for i, (before, step, after, change) in enumerate(rows.T):
        show(before, x[i], f"said {y[i]}", vmin=0, vmax=1)
        for axes, image, size in ((step, by_one[i:i + 1], one[i]), (after, by_many[i:i + 1], many[i])):
            show(axes, image, f"{size:.3f}: said {answers(model, image)[0]}", vmin=0, vmax=1)
        show(change, by_many[i] - x[i], cmap="RdBu_r", vmin=-0.3, vmax=0.3)
    for axes, name in zip(rows[:, 0], ("image", "FGSM", "PGD", "PGD - image")):
        axes.set_ylabel(name, fontsize=9)
    print("->", keep(figure, out / "adversarial.png"))


if __name__ == "__main__":
    main()
