"""The largest eigenvalues of the Hessian of a CNN's loss, by Lanczos' method on products with vectors.

    python -m demos.hessian [folder for the picture]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly
from demos.trained import train


def smooth_cnn(rng: np.random.Generator) -> nn.Module:
    """No ReLU and no maximum: the Hessian exists everywhere."""
    how = {"dtype": np.float64, "rng": rng}
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, **how), nn.Tanh(), nn.AvgPool2d(2),
                         nn.Conv2d(8, 16, 3, padding=1, **how), nn.Tanh(), nn.AvgPool2d(2),
                         nn.Flatten(), nn.Linear(64, 10, **how))


def landscape(model: nn.Module, x: np.ndarray, y: np.ndarray):
    """The loss of all parameters in one vector, its gradient, Hessian times v, and where the model is."""
    params = dict(model.named_parameters())
    here = np.concatenate([p.detach().numpy().ravel() for p in params.values()])
    ends = np.cumsum([p.size for p in params.values()])

    def loss(at):
        parts = {name: at[end - p.size:end].reshape(p.shape) for (name, p), end in zip(params.items(), ends)}
        return tg.cross_entropy(nn.functional_call(model, parts, x), y)
    return (lambda at: loss(tg.tensor(at)).item(), lambda at: tg.grad(loss)(at).numpy(),
            lambda v: tg.hvp(loss, (here,), (v.ravel(),)).numpy(), here)


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/hessian")
    from demos.pictures import charts, finish, keep
    try:
        from scipy.sparse.linalg import LinearOperator, eigsh
    except ImportError:
        raise ImportError("Lanczos' method needs scipy; install the extra: pip install '.[test]'") from None
    rng, h = np.random.default_rng(0), 1e-4
    model, (x, y) = smooth_cnn(rng), nn.data.digits("train")[:300]
    data = nn.data.Dataset(x.astype(np.float64), y)
    loader = nn.data.DataLoader(data, 32, shuffle=True, rng=rng)
    figure, (spectrum, slices) = charts(2)
    for epochs in (0, 12):
        train(model, loader, epochs, nn.AdamW(model.parameters(), 5e-3))
        loss, gradient, hvp, here = landscape(model, *data[:])
        operator = LinearOperator((here.size, here.size), hvp, dtype=here.dtype)
        values, vectors = eigsh(operator, 12, which="LA", v0=np.ones(here.size))
        values, vectors = values[::-1], vectors.T[::-1]
        print(f"\n{epochs} epochs, loss {loss(here):.4f}\n"
              f"  eigenvalue    by differences   |Hv - value v|")
        for value, v in zip(values, vectors):
            numeric = v @ (gradient(here + h * v) - gradient(here - h * v)) / (2 * h)
            print(f"{value:12.6f}{numeric:18.6f}{np.linalg.norm(hvp(v) - value * v):17.0e}")
        spectrum.semilogy(range(1, 13), values, "o-", label=f"after {epochs} epochs")
    finish(spectrum, "the largest eigenvalues of the Hessian", "number")
    steps, other = np.linspace(-1, 1, 41), rng.standard_normal(here.size)
    for name, v in (("eigenvector 1", vectors[0]), ("eigenvector 3", vectors[2]), ("a random one", other)):
        v = v / np.linalg.norm(v)
        curve = [loss(here + s * v) for s in steps]
        line, = slices.plot(steps, curve, label=name)
        parabola = curve[20] + steps * (gradient(here) @ v) + steps ** 2 * (hvp(v) @ v) / 2
        slices.plot(steps, parabola, "--", color=line.get_color(), linewidth=1)
    finish(slices, "the loss along a direction; dashed: gradient and Hessian", "step", ylim=(0, None))
    print("\n->", keep(figure, out / "hessian.png"))


if __name__ == "__main__":
    main()
