"""Axes of length 0: forward, backward and the second derivative agree, or the call is refused by name.

Every op is called with each of its named axes empty in turn; the convention is the docstring of tinygrad_conv.ops.
"""
from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

import tinygrad_conv as tg

IMAGE = {"N": 2, "C": 2, "H": 3, "W": 4, "O": 4, "I": 1, "K": 3, "L": 2}
CUBE = {"I": 3, "J": 2, "K": 2, "L": 2}
LABELS = {"N": 3, "C": 2, "L": 2}


def zeros(*shape):
    return np.zeros(shape, int)


def statistics(x):
    return tg.zeros(x.shape[1], dtype=np.float64), tg.ones(x.shape[1], dtype=np.float64)


# name: function, lengths of the axes, axes of each input, and those that may not be empty
OPS = {
    "conv2d": (lambda x, w, b: tg.conv2d(x, w, b, padding=2), IMAGE, ("NCHW", "OCKL", "O"), "COKL"),
    "conv2d valid": (lambda x, w: tg.conv2d(x, w), IMAGE, ("NCHW", "OCKL"), "COKLHW"),
    "conv2d same": (lambda x, w: tg.conv2d(x, w, padding="same", stride=2), IMAGE, ("NCHW", "OCKL"), "COKLHW"),
    "conv2d strided": (lambda x, w: tg.conv2d(x, w, stride=2, dilation=2, padding=4), IMAGE, ("NCHW", "OCKL"), "COKL"),
    "conv2d depthwise": (lambda x, w: tg.conv2d(x, w, padding=2, groups=2), IMAGE, ("NCHW", "OIKL"), "COIKL"),
    "conv2d groups": (lambda x, w: tg.conv2d(x, w, padding=2, groups=2), {**IMAGE, "C": 4, "I": 2}, ("NCHW", "OIKL"), "COIKL"),
    "conv2d 1x1": (lambda x, w: tg.conv2d(x, w, padding=1), {**IMAGE, "K": 1, "L": 1}, ("NCHW", "OCKL"), "COKL"),
    "conv2d reflect": (lambda x, w: tg.conv2d(x, w, padding=1, padding_mode="reflect"), IMAGE, ("NCHW", "OCKL"), "COKLHW"),
    "conv2d replicate": (lambda x, w: tg.conv2d(x, w, padding=2, padding_mode="replicate"), IMAGE, ("NCHW", "OCKL"), "COKLHW"),
    "conv2d NHWC": (lambda x, w: tg.conv2d(x, w, padding=2, layout="NHWC"), IMAGE, ("NHWC", "OCKL"), "COKL"),
    "conv1d": (lambda x, w, b: tg.conv1d(x, w, b, padding=1), IMAGE, ("NCW", "OCL", "O"), "COL"),
    "conv2d_weight": (lambda g, x: tg.conv2d_weight(g, x, (3, 4)), {**IMAGE, "P": 1, "Q": 1}, ("NOPQ", "NCHW"), "COHWPQ"),
    "conv_transpose2d": (lambda x, w, b: tg.conv_transpose2d(x, w, b, 2), IMAGE, ("NCHW", "COKL", "O"), "COKLHW"),
    "conv_transpose1d": (lambda x, w, b: tg.conv_transpose1d(x, w, b), IMAGE, ("NCW", "COL", "O"), "COLW"),
    "max_pool2d": (lambda x: tg.max_pool2d(x, 3, 1, 1), IMAGE, ("NCHW",), "HW"),
    "max_pool2d apart": (lambda x: tg.max_pool2d(x, 2), IMAGE, ("NCHW",), "HW"),
    "max_pool2d indices": (lambda x: tg.max_pool2d(x, 2, return_indices=True)[0], IMAGE, ("NCHW",), "HW"),
    "max_pool1d": (lambda x: tg.max_pool1d(x, 2), IMAGE, ("NCW",), "W"),
    "avg_pool2d": (lambda x: tg.avg_pool2d(x, 3, 2, 1, count_include_pad=False), IMAGE, ("NCHW",), "HW"),
    "avg_pool1d": (lambda x: tg.avg_pool1d(x, 2), IMAGE, ("NCW",), "W"),
    "adaptive_avg_pool2d": (lambda x: tg.adaptive_avg_pool2d(x, 2), IMAGE, ("NCHW",), "HW"),
    "adaptive_max_pool2d": (lambda x: tg.adaptive_max_pool2d(x, 2), IMAGE, ("NCHW",), "HW"),
    "global_avg_pool2d": (tg.global_avg_pool2d, IMAGE, ("NCHW",), "HW"),
    "global_max_pool2d": (tg.global_max_pool2d, IMAGE, ("NCHW",), "HW"),
    "max_unpool2d": (lambda x: tg.max_unpool2d(x, zeros(*x.shape), 2), IMAGE, ("NCHW",), "HW"),
    "batch_norm": (lambda x, w, b: tg.batch_norm(x, *statistics(x), w, b, training=True), IMAGE, ("NCHW", "C", "C"), ""),
    "batch_norm running": (lambda x, w, b: tg.batch_norm(x, *statistics(x), w, b), IMAGE, ("NCHW", "C", "C"), ""),
    "instance_norm": (lambda x, w, b: tg.instance_norm(x, None, None, w, b), IMAGE, ("NCHW", "C", "C"), ""),
    "layer_norm": (lambda x, w, b: tg.layer_norm(x, w.shape, w, b), IMAGE, ("NCHW", "HW", "HW"), ""),
    "group_norm": (lambda x, w, b: tg.group_norm(x, 2, w, b), IMAGE, ("NCHW", "C", "C"), ""),
    "linear": (lambda x, w, b: tg.linear(x, w, b), CUBE, ("IJK", "LK", "L"), ""),
    "matmul": (tg.matmul, CUBE, ("LIJ", "LJK"), ""), "matmul stack": (tg.matmul, CUBE, ("LIJ", "JK"), ""),
    "matmul vectors": (tg.matmul, CUBE, ("J", "J"), ""), "matmul row": (tg.matmul, CUBE, ("J", "IJK"), ""),
    "matmul column": (tg.matmul, CUBE, ("IJ", "J"), ""), "outer": (tg.outer, CUBE, ("I", "J"), ""),
    "einsum": (lambda x, y, z: tg.einsum("ij,jk,k->i", x, y, z), CUBE, ("IJ", "JK", "K"), ""),
    "einsum diagonal": (lambda x: tg.einsum("iij->j", x), CUBE, ("IIJ",), ""),
    "sum": (lambda x: tg.sum(x, 1), CUBE, ("IJK",), ""), "mean": (lambda x: tg.mean(x, 1), CUBE, ("IJK",), ""),
    "prod": (lambda x: tg.prod(x, 1), CUBE, ("IJK",), ""), "logsumexp": (lambda x: tg.logsumexp(x, 1), CUBE, ("IJK",), ""),
    "sum all": (tg.sum, CUBE, ("IJK",), ""), "mean all": (tg.mean, CUBE, ("IJK",), ""), "logsumexp all": (tg.logsumexp, CUBE, ("IJK",), ""),
    "var": (lambda x: tg.var(x, 1), CUBE, ("IJK",), ""), "std": (lambda x: tg.std(x, 1), CUBE, ("IJK",), ""),
    "norm": (lambda x: tg.norm(x, axis=1), CUBE, ("IJK",), ""), "cumsum": (lambda x: tg.cumsum(x, 1), CUBE, ("IJK",), ""),
    "any": (lambda x: tg.any(x, 1), CUBE, ("IJK",), ""), "all": (lambda x: tg.all(x, 1), CUBE, ("IJK",), ""),
    "max": (lambda x: tg.max(x, 1), CUBE, ("IJK",), "J"), "min all": (tg.min, CUBE, ("IJK",), "IJK"),
    "t.max": (lambda x: x.max(1)[0], CUBE, ("IJK",), "J"), "argmin": (lambda x: tg.argmin(x, 1), CUBE, ("IJK",), "J"),
    "softmax": (lambda x: tg.softmax(x, 1), CUBE, ("IJK",), ""), "log_softmax": (lambda x: tg.log_softmax(x, 1), CUBE, ("IJK",), ""),
    "arithmetic": (lambda x, y: tg.maximum(x * y + x / y - y, tg.where(x > 0, x, y)) * abs(x) ** y, CUBE, ("IJK", "JK"), ""),
    "activations": (lambda x: sum(f(x) for f in (tg.gelu, tg.silu, tg.elu, tg.softplus, tg.sigmoid, tg.relu, tg.erf, tg.hardtanh,
                                                 tg.leaky_relu, tg.selu, tg.relu6, tg.tanh, tg.exp)), CUBE, ("IJK",), ""),
    "reshape": (lambda x: tg.reshape(x, (x.shape[0] * x.shape[1], x.shape[2])), CUBE, ("IJK",), ""),
    "flatten": (lambda x: tg.flatten(x, 1), CUBE, ("IJK",), ""), "transpose": (tg.transpose, CUBE, ("IJK",), ""),
    "broadcast_to": (lambda x: tg.broadcast_to(x, (2, *x.shape)), CUBE, ("IJK",), ""),
    "broadcast to nothing": (lambda x: tg.broadcast_to(x, (0, *x.shape)), CUBE, ("IJK",), ""),
    "flip": (tg.flip, CUBE, ("IJK",), ""), "roll": (lambda x: tg.roll(tg.roll(x, 1, 1), 1), CUBE, ("IJK",), ""),
    "concat": (lambda x, y: tg.concat([x, y], 1), CUBE, ("IJK", "ILK"), ""), "stack": (lambda x, y: tg.stack([x, y], 1), CUBE, ("IJK", "IJK"), ""),
    "split": (lambda x: tg.split(x, 2, 1)[1], CUBE, ("IJK",), ""), "t.split": (lambda x: x.split(1, 1)[0], CUBE, ("IJK",), ""),
    "pick": (lambda x: x[:, 0], CUBE, ("IJK",), "J"), "picks": (lambda x: x[:, [0, 0, 1]], CUBE, ("IJK",), "J"),
    "no picks": (lambda x: x[:, []], CUBE, ("IJK",), ""), "mask": (lambda x: x[x.data > 0], CUBE, ("IJK",), ""),
    "take_along_axis": (lambda x: tg.take_along_axis(x, zeros(x.shape[0], 2, x.shape[2]), 1), CUBE, ("IJK",), "J"),
    "gather": (lambda x: x.gather(1, zeros(x.shape[0], 0, x.shape[2])), CUBE, ("IJK",), ""),
    "pad": (lambda x: tg.pad(x, 1), CUBE, ("IJK",), ""), "pad reflect": (lambda x: tg.pad(x, ((0, 0), (1, 1), (0, 0)), "reflect"), CUBE, ("IJK",), "J"),
    "pad circular": (lambda x: tg.pad(x, ((0, 0), (1, 1), (0, 0)), "circular"), CUBE, ("IJK",), "J"),
    "crop": (lambda x: tg.pad(x, ((0, 0), (-2, 0), (0, 0))), CUBE, ("IJK",), "J"),
    "dropout": (lambda x: tg.dropout(x, rng=np.random.default_rng(0)), CUBE, ("IJK",), ""),
    "dropout2d": (lambda x: tg.dropout2d(x, rng=np.random.default_rng(0)), CUBE, ("IJK",), ""),
    "mse_loss": (tg.mse_loss, CUBE, ("IJ", "IJ"), ""), "l1_loss": (lambda x, y: tg.l1_loss(x, y, "sum"), CUBE, ("IJ", "IJ"), ""),
    "huber_loss": (tg.huber_loss, CUBE, ("IJ", "IJ"), ""), "bce": (tg.binary_cross_entropy_with_logits, CUBE, ("IJ", "IJ"), ""),
    "kl_div": (lambda x, y: tg.kl_div(x, tg.softmax(y, 1), "batchmean"), CUBE, ("IJ", "IJ"), ""),
    "cross_entropy": (lambda x: tg.cross_entropy(x, zeros(len(x), x.shape[2])), LABELS, ("NCL",), "C"),
    "cross_entropy smooth": (lambda x: tg.cross_entropy(x, zeros(len(x), x.shape[2]), label_smoothing=0.1, reduction="none"), LABELS, ("NCL",), "C"),
    "cross_entropy odds": (lambda x, p: tg.cross_entropy(x, p, reduction="none", label_smoothing=0.1), LABELS, ("NCL", "NCL"), "C"),
    "nll_loss": (lambda x: tg.nll_loss(x, zeros(len(x), x.shape[2]), reduction="sum"), LABELS, ("NCL",), "C"),
    "hinge_loss": (lambda x: tg.hinge_loss(x, zeros(len(x))), LABELS, ("NC",), "C"),
    "interpolate": (lambda x: tg.interpolate(x, (5, 2), mode="bilinear") + tg.interpolate(x, (5, 2)), IMAGE, ("NCHW",), "CHW"),
    "pixel_shuffle": (lambda x: tg.pixel_shuffle(x, 1), IMAGE, ("NCHW",), ""), "pixel_unshuffle": (lambda x: tg.pixel_unshuffle(x, 1), IMAGE, ("NCHW",), ""),
    "unfold": (lambda x: tg.unfold(x, 2, 1, 1), IMAGE, ("NCHW",), "C"), "fold": (lambda x: tg.fold(x, 3, 2), {"N": 2, "K": 4, "L": 4}, ("NKL",), "KL"),
    "adaptive_avg_pool1d": (lambda x: tg.adaptive_avg_pool1d(x, 2), IMAGE, ("NCW",), "W"),
    "bce of probabilities": (lambda x, y: tg.binary_cross_entropy(tg.sigmoid(x), tg.sigmoid(y)), CUBE, ("IJ", "IJ"), ""),
    "rankings": (lambda x, y: tg.margin_ranking_loss(x, y, np.ones(x.shape)) + tg.triplet_margin_loss(x, y, y), CUBE, ("IJ", "IJ"), ""),
    "order": (lambda x: tg.sort(x, 1) + tg.argsort(x, 1) + x.sort(1, True)[0], CUBE, ("IJK",), ""), "topk": (lambda x: tg.topk(x, 1, 1)[0], CUBE, ("IJK",), "J"),
    "scatter_add": (lambda x: tg.scatter_add(x, 1, zeros(*x.shape), x), CUBE, ("IJK",), ""),
    "tg.gather": (lambda x: tg.gather(x, 1, zeros(x.shape[0], 0, x.shape[2])), CUBE, ("IJK",), ""),
    "tile": (lambda x: tg.tile(x, (2, 1, 3)), CUBE, ("IJK",), ""), "repeat": (lambda x: tg.repeat(tg.repeat(x, 2, 1), 2), CUBE, ("IJK",), ""),
    "moveaxis": (lambda x: tg.moveaxis(x, 0, 2), CUBE, ("IJK",), ""), "stacks": (lambda x: tg.vstack([x, x]) + tg.vstack([x, x]), CUBE, ("IJK",), ""),
    "hstack": (lambda x: tg.hstack([x, x]), CUBE, ("IJK",), ""), "diff": (lambda x: np.diff(x, 2, 1), CUBE, ("IJK",), ""),
    "diag": (lambda x: tg.diag(tg.diag(x), 1), CUBE, ("IJ",), ""), "triangles": (lambda x: tg.tril(x) - tg.triu(x), CUBE, ("IJ",), ""),
    "cumprod": (lambda x: tg.cumprod(x, 1), CUBE, ("IJK",), ""), "tensordot": (lambda x, y: tg.tensordot(x, y, 1), CUBE, ("IJK", "KL"), ""),
    "softmax over two": (lambda x: tg.softmax(x, (0, 2)), CUBE, ("IJK",), ""),
    "more activations": (lambda x: tg.mish(x) + tg.hardswish(x) + tg.logsigmoid(x) + tg.prelu(x, np.ones(1)), CUBE, ("IJK",), ""),
}
CASES = [(name, empty) for name, (_, lengths, inputs, _) in OPS.items() for empty in lengths if empty in "".join(inputs)]


def arrays(name, empty, rng):
    _, lengths, inputs, _ = OPS[name]
    return [rng.standard_normal([0 if axis == empty else lengths[axis] for axis in axes]) for axes in inputs]


@pytest.mark.parametrize(("name", "empty"), CASES, ids=" ".join)
def test_forward_backward_and_second_derivative_agree_on_an_empty_axis(name, empty, rng):
    f, _, _, refused = OPS[name]
    inputs = [tg.tensor(a, requires_grad=True) for a in arrays(name, empty, rng)]
    if empty in refused:
        with pytest.raises((ValueError, IndexError), match=r"^\w+: "):
            f(*inputs)
        return
    with warnings.catch_warnings(action="error"):
        y = f(*inputs)
        if not y.requires_grad:
            return
        (y * tg.tensor(np.ones(y.shape), requires_grad=True)).sum().backward(create_graph=True)
        first = [t.grad for t in inputs]
        assert [g.shape for g in first] == [t.shape for t in inputs]
        for t in inputs:
            t.grad = None
        total = sum([(g * g).sum() for g in first])
        if total.requires_grad:
            total.backward()
    assert all(t.grad is None or t.grad.shape == t.shape for t in inputs)
    if name.startswith(("conv", "max_pool", "avg_pool", "linear", "matmul")):
        assert all(np.isfinite(g.data).all() for g in first)


ALIKE = {  # entry by entry, or made of those above
    "abs", "add", "amax", "amin", "astype", "binary_cross_entropy_with_logits", "clip", "concatenate", "cos", "div", "equal",
    "expand_dims", "expm1", "floor", "getitem", "greater", "greater_equal", "identity", "isfinite", "isnan", "less", "less_equal", "log",
    "log1p", "logical_and", "logical_not", "logical_or", "minimum", "mul", "neg", "not_equal", "pow", "sign", "sin", "smooth_l1_loss",
    "sqrt", "squeeze", "sub", "swapaxes", "hardsigmoid", "masked_fill", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cosh", "exp2", "log10", "log2", "round", "sinh", "tan", "trunc", "atan2", "floor_divide", "hypot", "logaddexp", "remainder"}


def test_every_op_is_called_with_empty_axes():
    called = {name for f, *_ in OPS.values() for name in (f.__name__, *getattr(getattr(f, "__code__", None), "co_names", ()))}
    assert set(tg.ops.__all__) - called - ALIKE == {"argmax"}  # as argmin


@pytest.mark.parametrize(("op", "value"), [(tg.sum, 0.0), (tg.prod, 1.0), (tg.logsumexp, -math.inf), (tg.norm, 0.0), (tg.mean, math.nan),
                                           (tg.var, math.nan), (tg.std, math.nan), (tg.any, False), (tg.all, True)])
def test_what_is_made_of_nothing_is_the_identity_or_nan_as_in_pytorch(op, value):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings(action="error"):
        np.testing.assert_array_equal(op(tg.zeros(2, 0), axis=1).data, [value] * 2)
        np.testing.assert_array_equal(op(tg.zeros(0)).data, value)
    if op not in (tg.var, tg.std):  # of which PyTorch warns
        np.testing.assert_array_equal(getattr(torch.zeros(2, 0), op.__name__)(dim=1).numpy(), [value] * 2)


def test_a_convolution_of_no_cells_sees_the_bias_and_padding_only():
    x, w, b = (tg.tensor(np.ones(s), requires_grad=True) for s in ((1, 1, 0, 4), (3, 1, 1, 2), (3,)))
    y = tg.conv2d(x, w, b, padding=1)
    assert y.shape == (1, 3, 2, 5) and (y.data == 1.0).all()
    y.sum().backward()
    assert x.grad.shape == (1, 1, 0, 4) and (w.grad.data == 0).all() and (b.grad.data == 10.0).all()
