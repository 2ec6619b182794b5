"""Both derivatives exactly at a kink, a tie or a singular point: the table of `tinygrad_conv/ops/__init__.py`.

The first is PyTorch's, and the second one too but where PyTorch's belongs to another side than its first.
"""
from __future__ import annotations

import math

import numpy as np
import pytest

import tinygrad_conv as tg

E, SCALE, ALPHA, INF, NAN = math.e, 1.0507009873554805, 1.6732632423543772, math.inf, math.nan
HALF = 1 / (1 + 1 / E)  # sigmoid(1)


def at_zeros(loss, **options):
    return lambda x: getattr(tg, loss)(x, np.zeros(x.shape, x.dtype), "none", **options)


def image(pool, *args):
    return lambda x: pool(tg.reshape(x, (1, 1, 2, -1)), *args)


KINKS = [  # name, function, points, first derivatives there, second derivatives: by each entry of itself
    ("relu", tg.relu, [-1.0, 0.0, -0.0, 2.0], [0, 0, 0, 1], [0, 0, 0, 0]),
    ("leaky_relu", lambda x: tg.leaky_relu(x, 0.2), [-1.0, 0.0, 2.0], [0.2, 0.2, 1], [0, 0, 0]),
    ("elu", tg.elu, [-1.0, 0.0, 2.0], [1 / E, 1, 1], [1 / E, 1, 0]),
    ("elu, bent", lambda x: tg.elu(x, 0.5), [0.0, -0.0, 2.0], [0.5, 0.5, 1], [0.5, 0.5, 0]),
    ("elu, of a negative alpha", lambda x: tg.elu(x, -0.5), [0.0, 2.0], [-0.5, 1], [-0.5, 0]),
    ("selu", tg.selu, [0.0, 2.0], [SCALE * ALPHA, SCALE], [SCALE * ALPHA, 0]),
    ("softplus", lambda x: tg.softplus(x, 1.0, 1.0), [1.0, 1.5], [HALF, 1], [HALF * (1 - HALF), 0]),
    ("softplus, with a beta", lambda x: tg.softplus(x, 2.0, 1.0), [0.5, 1.0], [HALF, 1], [2 * HALF * (1 - HALF), 0]),
    ("softplus above its threshold", tg.softplus, [20.0, 20.1], [1 / (1 + math.exp(-20)), 1], [math.exp(-20), 0]),
    ("relu6", tg.relu6, [-1.0, 0.0, 3.0, 6.0, 7.0], [0, 0, 1, 0, 0], [0] * 5),
    ("hardtanh", tg.hardtanh, [-1.0, 0.0, 1.0], [0, 1, 0], [0] * 3),
    ("clip", lambda x: tg.clip(x, -1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0], [0, 1, 1, 1, 0], [0] * 5),
    ("clip from below", lambda x: tg.clip(x, min=0), [-1.0, 0.0, 9.0], [0, 1, 1], [0] * 3),
    ("clip from above", lambda x: tg.clip(x, max=0), [-1.0, 0.0, 9.0], [1, 1, 0], [0] * 3),
    ("clip, squared", lambda x: tg.clip(x, -1, 1) ** 2, [-2.0, -1.0, 1.0], [0, -2, 2], [0, 2, 2]),
    ("abs", tg.abs, [-2.0, 0.0, 2.0], [-1, 0, 1], [0] * 3),
    ("sign", tg.sign, [-2.0, 0.0, 2.0], [0, 0, 0], [0] * 3),
    ("floor", tg.floor, [-2.0, 0.5, 2.0], [0, 0, 0], [0] * 3),
    ("ceil", tg.ceil, [-2.0, 0.5, 2.0], [0, 0, 0], [0] * 3),
    ("trunc", tg.trunc, [-2.0, 0.5, 2.0], [0, 0, 0], [0] * 3),
    ("round", tg.round, [-2.5, 0.5, 2.0], [0, 0, 0], [0] * 3),
    ("floor_divide", lambda x: x // 2.0, [-2.0, 0.5, 2.0], [0, 0, 0], [0] * 3),
    ("remainder", lambda x: x % 2.0, [-2.0, 0.5, 2.0], [1, 1, 1], [0] * 3),
    ("remainder by the divisor", lambda y: tg.remainder(6.0, y), [3.0, 4.0], [-2, -1], [0] * 2),
    ("atan2", lambda x: tg.atan2(x, 0.0 * x.detach()), [0.0], [0], [0]),
    ("hypot", lambda x: tg.hypot(x, 0.0 * x.detach()), [0.0, 2.0], [0, 1], [0, 0]),
    ("clip by a tensor", lambda x: tg.clip(x, tg.zeros(3), tg.ones(3)), [0.0, 1.0, 2.0], [1, 1, 0], [0] * 3),
    ("l1_loss", at_zeros("l1_loss"), [-1.0, 0.0, 1.0], [-1, 0, 1], [0] * 3),
    ("huber_loss", at_zeros("huber_loss"), [-1.0, 0.0, 0.5, 1.0], [-1, 0, 0.5, 1], [0, 1, 1, 0]),
    ("huber_loss, delta 0.5", at_zeros("huber_loss", delta=0.5), [-0.5, 0.25, 0.5], [-0.5, 0.25, 0.5], [0, 1, 0]),
    ("smooth_l1_loss", at_zeros("smooth_l1_loss", beta=0.5), [-0.5, 0.0, 0.25, 0.5], [-1, 0, 0.5, 1], [0, 2, 2, 0]),
    ("smooth_l1_loss, beta 0", at_zeros("smooth_l1_loss", beta=0.0), [-1.0, 0.0, 1.0], [-1, 0, 1], [0] * 3),
    ("hinge_loss", lambda x: tg.hinge_loss(x, np.array(0)), [1.0, 0.0, 2.0], [-1 / 3, 0, 1 / 3], [0] * 3),
    ("hinge_loss, squared", lambda x: tg.hinge_loss(x, np.array(0), 2), [1.0, 0.0, 2.0], [-4 / 3, 0, 4 / 3], [2 / 3, 0, 2 / 3]),
    ("maximum", lambda x: tg.maximum(x, 1.0), [0.0, 1.0, 2.0], [0, 0.5, 1], [0] * 3),
    ("minimum", lambda x: tg.minimum(x, 1.0), [0.0, 1.0, 2.0], [1, 0.5, 0], [0] * 3),
    ("maximum of curves", lambda x: tg.maximum(x, x * x), [0.0, 1.0], [0.5, 1.5], [1, 1]),
    ("minimum of curves", lambda x: tg.minimum(x, x * x), [0.0, 1.0], [0.5, 1.5], [1, 1]),
    ("max", tg.max, [1.0, 1.0, 0.0], [0.5, 0.5, 0], [0] * 3),
    ("max along an axis", lambda x: tg.max(x, 0), [1.0, 1.0, 1.0, 0.0], [1 / 3] * 3 + [0], [0] * 4),
    ("max, squared", lambda x: tg.max(x) ** 2, [1.0, 1.0, 0.0], [1, 1, 0], [0.5, 0.5, 0]),
    ("min", tg.min, [2.0, 1.0, 1.0], [0, 0.5, 0.5], [0] * 3),
    ("max_pool2d", image(tg.max_pool2d, 2), [0.0, 1.0, 1.0, 1.0], [0, 1, 0, 0], [0] * 4),
    ("adaptive_max_pool2d", image(tg.adaptive_max_pool2d, 1), [0.0, 1.0, 1.0, 1.0], [0, 1, 0, 0], [0] * 4),
    ("global_max_pool2d", image(tg.global_max_pool2d), [1.0, 1.0, 1.0, 0.0], [1, 0, 0, 0], [0] * 4),
    ("norm", tg.norm, [0.0, 0.0], [0, 0], [0, 0]),
    ("std", tg.std, [1.0, 1.0, 1.0], [0, 0, 0], [0, 0, 0]),
    ("var", tg.var, [1.0, 1.0, 1.0], [0, 0, 0], [2 / 3] * 3),
    ("prod", tg.prod, [0.0, 2.0, 3.0], [6, 0, 0], [0, 0, 0]),
    ("x**0", lambda x: x ** 0.0, [0.0, 2.0], [0, 0], [0, 0]),
    ("x**1", lambda x: x ** 1.0, [0.0, 2.0], [1, 1], [0, 0]),
    ("x**1.5", lambda x: x ** 1.5, [0.0, 1.0], [0, 1.5], [INF, 0.75]),
    ("x**2", lambda x: x ** 2.0, [0.0, 2.0], [0, 4], [2, 2]),
    ("x**-1", lambda x: x ** -1.0, [0.0, 1.0], [-INF, -1], [INF, 2]),
    ("0**y", lambda y: 0.0 ** y, [0.0, 1.0, 2.0], [0, 0, 0], [0, 0, 0]),
    ("sqrt", tg.sqrt, [0.0, 4.0], [INF, 0.25], [-INF, -1 / 32]),
    ("kl_div by the target", lambda t: tg.kl_div(np.full(2, -1.0, t.dtype), t, "none"), [0.0, 1.0], [0, 2], [0, 1]),
    ("where", lambda x: tg.where(x > 0, x * x, x), [0.0, 1.0], [1, 2], [0, 2]),
]
every_kink = pytest.mark.parametrize("f, x, first, second", [k[1:] for k in KINKS], ids=[k[0] for k in KINKS])


def derivatives(f, x):
    """The gradient of sum(f), and of each of its entries the derivative by the same entry of x."""
    slope = tg.grad(lambda t: f(t).sum())
    return slope(x).data, np.array([tg.grad(lambda t: slope(t)[i])(x).data[i] for i in range(x.size)])


@every_kink
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_derivatives_at_kinks_ties_and_singular_points(f, x, first, second, dtype):
    with np.errstate(divide="ignore", invalid="ignore"):
        found = derivatives(f, tg.tensor(np.array(x, dtype)))
    assert found[0].dtype == dtype
    rounding = float(np.finfo(dtype).eps)
    for ours, golden in zip(found, (first, second)):
        np.testing.assert_allclose(ours, golden, rtol=8 * rounding, atol=rounding)


# ----- beside PyTorch -----

TORCH = {  # how PyTorch spells it; None: it has no second derivative there, or another meaning (max of an axis)
    "leaky_relu": "F.leaky_relu(x, 0.2)", "elu": "F.elu(x)", "elu, bent": "F.elu(x, 0.5)",
    "elu, of a negative alpha": "F.elu(x, -0.5)", "selu": "F.selu(x)", "softplus": "F.softplus(x, 1.0, 1.0)",
    "softplus, with a beta": "F.softplus(x, 2.0, 1.0)", "softplus above its threshold": "F.softplus(x)",
    "relu6": "F.relu6(x)", "hardtanh": "F.hardtanh(x)", "clip": "torch.clip(x, -1, 1)",
    "clip from below": "torch.clip(x, min=0)", "clip from above": "torch.clip(x, max=0)",
    "clip, squared": "torch.clip(x, -1, 1) ** 2", "l1_loss": "F.l1_loss(x, 0 * x.detach(), reduction='none')",
    "huber_loss": "F.huber_loss(x, 0 * x.detach(), reduction='none')",
    "huber_loss, delta 0.5": "F.huber_loss(x, 0 * x.detach(), reduction='none', delta=0.5)",
    "smooth_l1_loss": "F.smooth_l1_loss(x, 0 * x.detach(), reduction='none', beta=0.5)",
    "smooth_l1_loss, beta 0": "F.smooth_l1_loss(x, 0 * x.detach(), reduction='none', beta=0.0)",
    "hinge_loss": None, "hinge_loss, squared": None, "maximum": "torch.maximum(x, 0 * x.detach() + 1)",
    "minimum": "torch.minimum(x, 0 * x.detach() + 1)", "maximum of curves": "torch.maximum(x, x * x)",
    "minimum of curves": "torch.minimum(x, x * x)", "max along an axis": "torch.amax(x, 0)",
    "max, squared": "torch.max(x) ** 2", "max_pool2d": "F.max_pool2d(x.reshape(1, 1, 2, -1), 2)",
    "adaptive_max_pool2d": "F.adaptive_max_pool2d(x.reshape(1, 1, 2, -1), 1)",
    "global_max_pool2d": "F.adaptive_max_pool2d(x.reshape(1, 1, 2, -1), 1)", "x**0": "x ** 0.0", "x**1": "x ** 1.0",
    "x**1.5": "x ** 1.5", "x**2": "x ** 2.0", "x**-1": "x ** -1.0", "0**y": "0.0 ** x",
    "ceil": "torch.ceil(x)", "trunc": "torch.trunc(x)", "round": "torch.round(x)", "floor_divide": None,
    "remainder": "x % 2.0", "remainder by the divisor": "torch.remainder(0 * x.detach() + 6.0, x)",
    "atan2": "torch.atan2(x, 0 * x.detach())", "hypot": None,
    "clip by a tensor": "torch.clip(x, torch.zeros(3), torch.ones(3))",
    "kl_div by the target": None, "where": "torch.where(x > 0, x * x, x)",
}
UNLIKE = {  # PyTorch's second derivatives where ours are others: of the other side than its first, or nan
    "elu": [1 / E, 0, 0], "elu, bent": [0, 0, 0], "elu, of a negative alpha": [0, 0], "selu": [0, 0], "softplus": [0, 0],
    "softplus, with a beta": [0, 0], "softplus above its threshold": [0, 0], "norm": [NAN, NAN],
    "0**y": [NAN, NAN, NAN], "atan2": [NAN],
}


@pytest.mark.parametrize("name, x, first, second", [(k[0], *k[2:]) for k in KINKS if TORCH.get(k[0], "") is not None],
                         ids=[k[0] for k in KINKS if TORCH.get(k[0], "") is not None])
def test_the_first_is_pytorchs_and_the_second_but_for_those_listed(name, x, first, second):
    torch = pytest.importorskip("torch")
    t = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = eval(TORCH.get(name, f"torch.{name}(x)"), {"torch": torch, "F": torch.nn.functional, "x": t})
    slope, = torch.autograd.grad(y.sum(), t, create_graph=True)
    np.testing.assert_allclose(slope.numpy(force=True), first, rtol=1e-13)
    seconds = [torch.autograd.grad(slope[i], t, retain_graph=True, allow_unused=True)[0] if slope.requires_grad else None
               for i in range(len(x))]
    found = [0.0 if d is None else d[i].item() for i, d in enumerate(seconds)]
    np.testing.assert_allclose(found, UNLIKE.get(name, second), rtol=1e-13, atol=1e-20)
