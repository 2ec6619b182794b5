"""Why does a CNN see this digit? Saliency, integrated gradients and Grad-CAM, side by side.

    python -m demos.explain_image [folder for the picture]
"""
from __future__ import annotations

import numpy as np

import nn
import tinygrad_conv as tg
from demos.program import folder, plainly
from demos.train import misses
from demos.trained import digits_cnn

STEPS = 128


def saliency(score, x):
    """How much each pixel changes the score, whatever the sign."""
    return np.abs(tg.grad(score)(x).numpy())


def integrated_gradients(score, x):
    """The gradient, averaged on the way from an empty image, times the image: its sum is the score's rise."""
    way = (np.arange(STEPS, dtype=x.dtype) + 0.5) / STEPS
    slopes = tg.grad(lambda images: score(images).sum())(way[:, None, None, None] * x)
    return slopes.numpy().mean(axis=0) * x[0]


def grad_cam(model, score, x):
    """The maps of the last convolution, each weighted by the mean of its gradient; what is positive of it."""
    with nn.capture(model, "4") as seen:
        score(x).sum().backward()
    maps, g = seen.values["4"].numpy()[0], seen.grads["4"].numpy()[0]
    return np.maximum((maps * g.mean(axis=(1, 2), keepdims=True)).sum(axis=0), 0)


@plainly()
def main() -> None:
    out = folder(__doc__, "runs/explain_image")
    from demos.pictures import Figure, keep, show
    model, accuracy = digits_cnn()
    test, rng = nn.data.digits("test"), np.random.default_rng(0)
    (misread, *_), _ = misses(model, test)
    print(f"a CNN that reads {accuracy:.1%} of the test digits; its score for what it says, and how sure it\n"
          f"is after 8 pixels are erased: the largest integrated gradients, or any of the ink\n\n"
          f"image  is  says  score  of an empty image   rise  sum of gradients    sure  largest erased  any")
    figure = Figure(figsize=(6.6, 7.2), layout="constrained")
    for row, i in zip(figure.subplots(4, 4), [3, 34, 215, misread]):
        x, (label,) = test[[i]]
        said = int(model(x).numpy().argmax())
        def score(images, said=said):
            return model(images)[:, said]

        parts = integrated_gradients(score, x)
        erased = np.repeat(x.reshape(1, 64), 102, axis=0)       # nothing, the largest, 100 times any
        ink = np.flatnonzero(x)
        for k, image in enumerate(erased[1:]):
            image[rng.choice(ink, 8, replace=False) if k else np.argsort(-parts.ravel())[:8]] = 0
        with tg.no_grad():
            full, empty = score(np.concatenate([x, 0 * x])).numpy()
            sure = tg.softmax(model(erased.reshape(-1, 1, 8, 8))).numpy()[:, said]
        print(f"{i:5}{label:4}{said:6}{full:7.2f}{empty:19.2f}{full - empty:7.2f}{parts.sum():18.2f}"
              f"{sure[0]:8.1%}{sure[1]:16.1%}{sure[2:].mean():7.1%}")

        most = np.abs(parts).max()
        show(row[0], x, f"is {label}, said {said}")
        show(row[1], saliency(score, x), "saliency", cmap="magma")
        show(row[2], parts, f"integrated gradients\n{parts.sum():.2f} of {full - empty:.2f}", cmap="RdBu_r",
             vmin=-most, vmax=most)
        show(row[3], grad_cam(model, score, x), "Grad-CAM", cmap="magma", interpolation="bilinear",
             extent=(-0.5, 7.5, 7.5, -0.5))
        for axes in (row[1], row[3]):
            axes.contour(x[0, 0], [0.45], colors="white", linewidths=0.8)
    print("\n->", keep(figure, out / "explain_image.png"))


if __name__ == "__main__":
    main()
