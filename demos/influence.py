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

EPOCHS, SHOWN, STEP = 4, 6, 1e-5


def grads(model, x, y):
    """The gradient of the loss of each image by all parameters: (N, P)."""
    found = nn.per_example_grads(model, tg.cross_entropy, x, y)
    return np.concatenate([g.numpy().reshape(len(x), -1) for g in found.values()], axis=1)


def influence(model, train, x, y):
    """For each training image: how fast a step of descent on it lowers the loss of this one."""
    g = grads(model, x, y)[0]
    return np.concatenate([grads(model, *train[i:i + 103]) @ g for i in range(0, len(train), 103)])


def loss(model, x, y):
    with tg.no_grad():
        return tg.cross_entropy(model(x), y).item()


def loss_after_a_step(model, example, x, y):
    """The loss of one image after a step of descent on another."""
    (g,), params = grads(model, *example), dict(model.named_parameters())
    ends = np.cumsum([p.size for p in params.values()])
    moved = {name: p.detach() - STEP * part.reshape(p.shape)
             for (name, p), part in zip(params.items(), np.split(g, ends))}
    return tg.cross_entropy(nn.functional_call(model, moved, x), y).item()


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/influence")
    from demos.pictures import Figure, keep, show
    model, accuracy = digits_cnn(EPOCHS)
    train, test = nn.data.digits("train"), nn.data.digits("test")
    wrong, said = misses(model, test)
    print(f"a CNN that reads {accuracy:.1%} of the test digits and misreads {len(wrong)}")
    x, y = train[:64]
    grads(model, x, y)
    start = time.perf_counter()
    together = grads(model, x, y)
    middle = time.perf_counter()
    alone = np.concatenate([grads(model, x[i:i + 1], y[i:i + 1]) for i in range(64)])
    end = time.perf_counter()
    print(f"64 gradients in one pass, {1e3 * (middle - start):.0f} ms, are those one by one, {1e3 * (end - middle):.0f} ms, to {np.abs(together - alone).max():.0e} of {np.abs(alone).max():.0f}")
    figure = Figure(figsize=(12, 5), layout="constrained")
    for row, i, answer in zip(figure.subplots(3, 1 + 2 * SHOWN), wrong[1:4], said[1:4]):
        x, y = test[[i]]
        scores = influence(model, train, x, y)
        order = np.argsort(-scores)
        show(row[0], x, f"is {y[0]}, said {answer}")
        for axes, j in zip(row[1:], [*order[:SHOWN], *order[-SHOWN:]]):
            show(axes, train.images[j], f"{train.labels[j]}: {scores[j]:+.0f}")
        tried = order[::48]
        change = [loss_after_a_step(model, train[[j]], x, y) - loss(model, x, y) for j in tried]
        print(i, np.corrcoef(-STEP * scores[tried], change)[0, 1])
        print([loss(digits_cnn(EPOCHS, without=some)[0], x, y) for some in ([], order[:30], order[-30:])], loss(model, x, y))
    print("->", keep(figure, out / "influence.png"))


if __name__ == "__main__":
    main()
