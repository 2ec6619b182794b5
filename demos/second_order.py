"""Derivatives of derivatives through a CNN: a gradient penalty, and a Hessian times a vector.

    python -m demos.second_order
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import parser, plainly


def network(rng: np.random.Generator) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, dtype=np.float64, rng=rng), nn.Tanh(),
                         nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(64, 10, dtype=np.float64, rng=rng))


@plainly()
def main() -> None:
    parser(__doc__).parse_args()
    rng = np.random.default_rng(0)
    model = network(rng)
    x, y = nn.data.digits("test")[np.arange(8)]
    x = tg.tensor(x.astype(np.float64), requires_grad=True)

    loss = tg.cross_entropy(model(x), y)
    loss.backward(create_graph=True)
    penalty = tg.sum(x.grad * x.grad)              # how much the loss depends on single pixels
    model.zero_grad()
    penalty.backward()
    w = model[0].weight
    print(f"loss {loss.item():.4f}, gradient penalty {penalty.item():.6f}")

    step = np.zeros(w.shape)
    step[0, 0, 1, 1] = 1e-5

    def penalty_at(weight: np.ndarray) -> float:
        with_input = tg.grad(lambda a: tg.cross_entropy(model[1:](tg.conv2d(
            a, weight, model[0].bias, padding=1)), y))(x.detach())
        return float((with_input.numpy() ** 2).sum())

    numeric = (penalty_at(w.numpy() + step) - penalty_at(w.numpy() - step)) / 2e-5
    print(f"d penalty / d w[0,0,1,1]: tape {w.grad.numpy()[0, 0, 1, 1]:.9f}, differences {numeric:.9f}")

    v = rng.standard_normal(w.shape)

    def slope(weight):                             # <gradient, v>; its gradient is the Hessian times v
        f = lambda q: tg.cross_entropy(model[1:](tg.conv2d(x.detach(), q, model[0].bias, padding=1)), y)
        return tg.sum(tg.grad(f)(weight) * v)

    hv = tg.grad(slope)(w.detach()).numpy()
    print(f"Hessian times a vector: norm {np.linalg.norm(hv):.6f}, curvature along it "
          f"{(hv * v).sum() / (v * v).sum():.6f}")


if __name__ == "__main__":
    main()
