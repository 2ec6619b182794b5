"""Which training images taught a CNN its answer? By the gradient of every one of them.

    python -m demos.influence [folder for the picture]
"""
from __future__ import annotations

import time

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly
from demos.train import misses
from demos.trained import digits_cnn


def grads(model, x, y):
    """The gradient of the loss of each image by all parameters: (N, P)."""
    found = nn.per_example_grads(model, tg.cross_entropy, x, y)
    return np.concatenate([g.numpy().reshape(len(x), -1) for g in found.values()], axis=1)


def influence(model, train, x, y):
    """For each training image: how fast a step of descent on it lowers the loss of this one."""
    g = grads(model, x, y)[0]
    return np.concatenate([grads(model, *train[i:i + 103]) @ g for i in range(0, len(train), 103)])


def loss(model, x, y):
    return tg.cross_entropy(model(x), y).item()


def loss_after_a_step(model, example, x, y):
    """The loss of one image after a step of descent on another."""
    g = nn.per_example_grads(model, tg.cross_entropy, *example)
    moved = {name: p - 1e-5 * g[name][0] for name, p in model.named_parameters()}
    return tg.cross_entropy(nn.functional_call(model, moved, x), y).item()


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/influence")
    from demos.pictures import Figure, keep, show
    model, accuracy = digits_cnn(epochs=4)
    train, test = nn.data.digits("train"), nn.data.digits("test")
    wrong, said = misses(model, test)
    x, y = train[:64]
    grads(model, x, y), grads(model, x[:1], y[:1])              # kernels are made here, not in what is timed
    began = time.perf_counter()
    together = grads(model, x, y)
    between = time.perf_counter()
    apart = np.concatenate([grads(model, x[i:i + 1], y[i:i + 1]) for i in range(64)])
    end = time.perf_counter()
    print(f"a CNN that reads {accuracy:.1%} of the test digits; 64 gradients in one pass "
          f"{between - began:.3f} s,\none by one {end - between:.3f} s; they differ by "
          f"{np.abs(together - apart).max():.0e}. The loss of an image changes after a\n"
          f"step on another as the gradients say; correlation over some of them:")
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    for row, i, answer in zip(figure.subplots(3, 13), wrong[1:4], said[1:4]):
        x, y = test[[i]]
        scores = influence(model, train, x, y)
        order = np.argsort(-scores)
        show(row[0], x, f"is {y[0]}, said {answer}")
        for axes, j in zip(row[1:], [*order[:6], *order[-6:]]):
            show(axes, train.images[j], f"{train.labels[j]}: {scores[j]:+.0f}")
            axes.title.set_color("C2" if scores[j] > 0 else "C3")
        tried, before = order[::48], loss(model, x, y)
        change = [loss_after_a_step(model, train[[j]], x, y) - before for j in tried]
        print(f"test image {i}, a {y[0]}: {np.corrcoef(-scores[tried], change)[0, 1]:.5f}")
    left_out = (order[:30], order[-30:], np.random.default_rng(0).permutation(order)[:30])
    helpful, harmful, other = [loss(digits_cnn(epochs=4, without=some)[0], x, y) for some in left_out]
    print(f"its loss is {before:.2f}; learnt anew without the 30 training images that help it most "
          f"{helpful:.2f},\nwithout the 30 that harm it most {harmful:.2f}, without 30 at random {other:.2f}")
    print("->", keep(figure, out / "influence.png"))


if __name__ == "__main__":
    main()
