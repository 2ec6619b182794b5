"""A Wasserstein GAN with a gradient penalty draws digits: second derivatives through convolutions.

    python -m demos.gradient_penalty [folder for the picture]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import plainly, whole, with_folder


def networks(rng: np.random.Generator) -> tuple[nn.Module, nn.Module]:
    """Sixteen random numbers become an image; an image, smoothly, a score."""
    make = nn.Sequential(nn.ConvTranspose2d(16, 32, 4, rng=rng), nn.ReLU(),                        # 4x4
                         nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1, rng=rng), nn.ReLU(),   # 8x8
                         nn.Conv2d(32, 1, 3, padding=1, rng=rng), nn.Sigmoid())
    critic = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, rng=rng), nn.SiLU(),
                           nn.Conv2d(16, 32, 4, stride=2, padding=1, rng=rng), nn.SiLU(),
                           nn.Flatten(), nn.Linear(512, 1, rng=rng))
    return make, critic


def slopes(critic, x):
    """The length of the critic's gradient at each image; recorded, so it can be differentiated again."""
    g = tg.grad(lambda x: critic(x).sum())(x)
    return tg.sqrt((g * g).sum(axis=(1, 2, 3)) + 1e-12)


@plainly()
def main() -> None:
    takes = with_folder(__doc__, "runs/gradient_penalty")
    takes.add_argument("--iterations", type=whole(1), default=300, help="(default %(default)s)")
    options = takes.parse_args()
    from demos.pictures import charts, finish, keep, show
    rng, data, curve = np.random.default_rng(0), nn.data.digits("all"), []
    z = lambda n: rng.standard_normal((n, 16, 1, 1), np.float32)
    make, critic = networks(rng)
    first, second = (nn.Adam(m.parameters(), 2e-3, betas=(0.5, 0.9)) for m in (critic, make))
    for step in range(3 * options.iterations):
        real, made = data[rng.integers(len(data), size=32)][0], make(z(32)).detach()
        part = rng.random((32, 1, 1, 1), np.float32)
        between = part * real + (1 - part) * made.numpy()
        distance, length = critic(real).mean() - critic(made).mean(), slopes(critic, between)
        first.zero_grad()
        (3 * ((length - 1) ** 2).mean() - distance).backward()
        first.step()
        curve.append((distance.item(), length.mean().item(), length.std().item()))
        if step % 3 == 2:
            second.zero_grad()
            (-critic(make(z(32))).mean()).backward()
            second.step()
    params = {name: p.detach().numpy().astype(np.float64) for name, p in critic.named_parameters()}

    def penalty(w):
        wide = {name: tg.tensor(p) for name, p in params.items()} | {"0.weight": w}
        length = slopes(lambda x: nn.functional_call(critic, wide, x), between.astype(np.float64))
        return ((length - 1) ** 2).mean()
    w, v = tg.tensor(params["0.weight"]), rng.standard_normal((16, 1, 3, 3))
    distances, means, spreads = np.array(curve).T
    print(f"distance {distances.max():.2f} at most, {distances[-99:].mean():.2f} at the end; length of the "
          f"gradient {means[-99:].mean():.2f}\na slope of the penalty in the first filters: tape "
          f"{(tg.grad(penalty)(w).numpy() * v).sum():.8f}, differences "
          f"{(penalty(w + 1e-6 * v).item() - penalty(w - 1e-6 * v).item()) / 2e-6:.8f}")
    figure, (left, middle, right) = charts(3)
    left.plot(distances, label="critic(real) - critic(made)")
    middle.plot(means, label="mean")
    middle.fill_between(range(len(means)), means - spreads, means + spreads, alpha=0.3, label="spread")
    finish(left, "distance of made digits from real ones", "step of the critic")
    finish(middle, "length of the critic's gradient: to be 1", "step of the critic", ylim=(0, 2))
    with tg.no_grad():
        tiles = np.pad(make(z(64)).numpy().reshape(8, 8, 8, 8), [(0, 0), (0, 0), (1, 1), (1, 1)])
    show(right, tiles.transpose(0, 2, 1, 3).reshape(80, 80), "made digits", vmax=1)
    print("->", keep(figure, options.folder / "gradient_penalty.png"))


if __name__ == "__main__":
    main()
