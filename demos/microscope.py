"""The conv microscope: three numbers of a strided, grouped convolution taken apart.

    python -m demos.microscope [folder for the pictures]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/microscope")
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=2, dtype=np.float64, rng=rng),
                        nn.ReLU())
    x = tg.tensor(rng.integers(-4, 5, (2, 4, 7, 7)) / 2.0, requires_grad=True)
    net[0].weight.mutate()[...] = rng.integers(-4, 5, net[0].weight.shape) / 4.0
    loss = (net(x) ** 2.0).mean()

    y = tg.explain.find(loss, "0")  # what net[0] returned, found on the tape of the loss
    questions = {
        "output": tg.explain.output(y, (0, 3, 1, 3)),        # why does this output pixel have its value?
        "input": tg.explain.input(y, (0, 1, 3, 3), loss),    # which output gradients reach this pixel?
        "weight": tg.explain.weight(y, (3, 0, 1, 2), loss),  # what makes this weight's gradient?
    }
    for name, why in questions.items():
        print(f"{why}\n\n-> {why.save(out / f'microscope_{name}.svg')}, "
              f"{why.save(out / f'microscope_{name}.html')}\n")

    loss.backward()
    held = [y.data[0, 3, 1, 3], x.grad.data[0, 1, 3, 3], net[0].weight.grad.data[3, 0, 1, 2]]
    apart = max(abs(why.total - v) for why, v in zip(questions.values(), held))
    print(f"the three sums equal y, x.grad and weight.grad there, to {apart:.0e}")


if __name__ == "__main__":
    main()
