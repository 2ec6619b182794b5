"""Learning to learn (MAML): weights from which one step of descent on ten points fits a sine curve.

    python -m demos.maml [folder for the picture]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly
ITERATIONS, RATE = 300, 0.05
loss = lambda model, params, x, y: tg.mse_loss(nn.functional_call(model, params, x), y)


def tasks(rng: np.random.Generator, count: int):
    """Curves a sin(x + b): of each, ten points to adapt to and ten others to be judged by."""
    a, b = rng.uniform(1, 4, (count, 1, 1)), rng.uniform(0, np.pi, (count, 1, 1))
    x = rng.uniform(-5, 5, (2, count, 10, 1))
    (x, others), (y, truth) = x, a * np.sin(x + b)
    return [*zip(x, y, others, truth)]


def adapted(model, params, x, y, steps):
    """The parameters after steps of descent on a task; recorded, so gradients go through the steps."""
    for _ in range(steps):
        g = tg.grad(loss, 1)(model, params, x, y)
        params = {name: p - RATE * g[name] for name, p in params.items()}
    return params


def judged(model, params, batch, steps):
    """The mean loss at the other points, after so many steps on each task."""
    losses = [loss(model, adapted(model, params, x, y, steps), *others) for x, y, *others in batch]
    return sum(losses) / len(losses)


def learnt(steps, rng):
    """A network whose loss after so many steps on a task was made small, and its losses before and after."""
    layers = [nn.Linear(*shape, dtype=np.float64, rng=rng) for shape in ((1, 40), (40, 40), (40, 1))]
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
    params, optimizer, curve = dict(model.named_parameters()), nn.Adam(model.parameters(), 6e-3), []
    for _ in range(ITERATIONS):
        batch = tasks(rng, 4)
        optimizer.zero_grad()
        after = judged(model, params, batch, steps)
        after.backward()                               # second derivatives: through the step of descent
        curve.append((judged(model, params, batch, 0).item(), after.item()))
        optimizer.step()
    return model, {name: p.detach() for name, p in params.items()}, np.array(curve)


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/maml")
    from demos.pictures import charts, finish, keep
    figure, (curves, *fits) = charts(3)
    new, grid = tasks(np.random.default_rng(1), 50), np.linspace(-5, 5, 101)[:, None]
    for axes, steps, name in zip(fits, (0, 1), ("trained without adapting", "MAML")):
        model, params, curve = learnt(steps, np.random.default_rng(0))
        print(f"{name}: loss on 50 new tasks after 0, 1, 2, 5 steps:",
              *(f"{judged(model, params, new, k).item():.3f}" for k in (0, 1, 2, 5)))
        for k, style in ((0, "C7:"), (1, "C0-"), (10, "C3-")):
            fit = nn.functional_call(model, adapted(model, params, *new[0][:2], k), grid)
            axes.plot(grid, fit.detach().numpy(), style, label=f"steps: {k}")
        axes.plot(*new[0][:2], "k^", label="its ten points")
        finish(axes, f"{name}: a new task", "x", ylim=(-3.2, 4.5))
    for values, label in zip(curve.T, ("before the step", "after it")):
        curves.plot(np.convolve(values, np.ones(20) / 20, "valid"), label=label)
    finish(curves, "MAML: loss on the tasks of an iteration", "iteration", ylim=(0, None))
    at = lambda w: judged(model, {**params, "2.weight": w}, new, 1)
    w, v = params["2.weight"], np.random.default_rng(2).standard_normal((40, 40))
    print(f"a slope of the loss after one step: tape {(tg.grad(at)(w).numpy() * v).sum():.7f}, differences "
          f"{(at(w + 1e-5 * v).item() - at(w - 1e-5 * v).item()) / 2e-5:.7f}")
    print("->", keep(figure, out / "maml.png"))


if __name__ == "__main__":
    main()
