"""How the gradient gets through a convolution with several channels and filters, in numbers.

    python -m demos.conv_backward
"""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg
from demos.program import parser, plainly


@plainly()
def main() -> None:
    parser(__doc__).parse_args()
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 3, 8, 8)), rng.standard_normal((5, 3, 3, 3))
    g = rng.standard_normal((2, 5, 6, 6))                      # what comes from above
    geo = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1}

    xt, wt = tg.tensor(x, requires_grad=True), tg.tensor(w, requires_grad=True)
    y = tg.conv2d(xt, wt)
    y.backward(g)
    print("y", y.shape, " g", g.shape, " dx", xt.grad.shape, " dw", wt.grad.shape)

    print("\none number, three readings (they are equal: the map is linear in g, x and w):")
    print(f"  <g, conv2d(x, w)>           {np.vdot(g, y.data):.12f}")
    print(f"  <conv_transpose2d(g, w), x> {np.vdot(tg.conv_transpose2d(g, w).data, x):.12f}")
    weight = tg.conv2d_weight(g, x, kernel=(3, 3), **geo)
    print(f"  <conv2d_weight(g, x), w>    {np.vdot(weight.data, w):.12f}")

    turned = w[:, :, ::-1, ::-1].swapaxes(0, 1)                # 5 filters of 3 -> 3 filters of 5
    full = tg.conv2d(g, turned, padding=2)
    print("\ndx is a full convolution with turned, swapped filters:",
          np.allclose(full.data, xt.grad.data))

    plane = tg.conv2d(x[:, 1:2].swapaxes(0, 1), g[:, 4:5].swapaxes(0, 1))
    print("dw[4, 1] correlates plane 1 of x with plane 4 of g, over all positions and samples:",
          np.allclose(plane.data, wt.grad.data[4, 1]))

    tg.check_grads(lambda x, w: tg.conv2d(x, w, stride=2, padding=1, dilation=2), (x, w), order=2,
                   linear=(0, 1))
    print("stride 2, padding 1, dilation 2: exact to rounding, at orders 1 and 2")


if __name__ == "__main__":
    main()
