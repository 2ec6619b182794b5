"""Losses: squared, absolute, Huber, binary cross entropy, KL divergence; of classes, cross entropy and hinge.

The first five want input and target of one shape: a loss that broadcasts (N, 1) against (N,) is nearly
always a mistake, so it is refused (PyTorch warns).

The losses on classes are -sum(target * logp). Class numbers, weights, ignored rows, smoothing and the
divisor of a mean only determine the coefficients `target`, (N, C, ...) like logp: for class numbers a
constant of the tape.
"""
import math
from typing import Any

import numpy as np

from ..arguments import flag, is_whole, number, one_of, whole
from ..kernels.pointwise import keep
from ..operands import as_floats, as_tensor
from ..primitive import primitive
from ..tensor import Tensor, share
from . import elementwise as ew
from .activation import _log_softmax, hardtanh, relu, softplus
from .reduce import kept, mean, norm, sum
from .shape import expand_dims, take_along_axis

REDUCTIONS = ("mean", "sum", "none")


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    """One number for the whole batch, or the losses themselves."""
    return loss if reduction == "none" else mean(loss) if reduction == "mean" else sum(loss)


def _pair(op: str, input: Any, target: Any, reduction: str,
          choices: tuple[str, ...] = REDUCTIONS) -> tuple[Tensor, Tensor]:
    one_of(reduction, op, "reduction", choices)
    x = as_floats(input, op, "input", target)
    t = as_tensor(target, op, x)
    if x.shape != t.shape:
        fix = "nothing is broadcast here, since (N, 1) against (N,) would compare all pairs"
        if [n for n in x.shape if n != 1] == [n for n in t.shape if n != 1]:
            fix = f"reshape one of them, e.g. target.reshape({x.shape})"
        raise ValueError(f"{op}: input and target must have one shape, got {x.shape} and {t.shape}; {fix}")
    return x, t if t.dtype.kind == "f" else ew.astype(t, x.dtype)


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """(input - target)**2; the mean is over all elements.

    Args:
        input, target: of one shape; PyTorch would broadcast, with a warning.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> mse_loss([1.0, 2.0], [0.0, 0.0]).item()
        2.5
    """
    x, t = _pair("mse_loss", input, target, reduction)
    r = x - t
    return _reduced(r * r, reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """|input - target|, with derivative 0 where they are equal; the mean is over all elements.

    Args:
        input, target: of one shape.
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> l1_loss([1.0, 2.0], [0.0, 0.0]).item()
        1.5
    """
    x, t = _pair("l1_loss", input, target, reduction)
    return _reduced(ew.abs(x - t), reduction)


def _huber(x: Tensor, t: Tensor, delta: float) -> Tensor:
    """e (r - e/2), with e = r cut off at +-delta: r**2/2 inside, delta (|r| - delta/2) outside."""
    r = x - t
    e = hardtanh(r, -delta, delta)  # flat at +-delta already, where clip is not: curvature 0, as outside
    return e * (r - 0.5 * e)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """r**2/2 where r = |input - target| is at most delta, else delta (r - delta/2).

    Args:
        input, target: of one shape.
        reduction: "mean" (over all elements), "sum" or "none".
        delta: above 0.

    Raises:
        ValueError: if the shapes differ, or for another reduction or delta.

    Example:
        >>> huber_loss([0.5, 3.0], [0.0, 0.0], "none").data.tolist()
        [0.125, 2.5]

    Source: Huber 1964; arguments as torch.nn.functional.huber_loss.
    """
    delta = number(delta, "huber_loss", "delta")
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be above 0, got {delta}")
    return _reduced(_huber(*_pair("huber_loss", input, target, reduction), delta), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """huber_loss with delta = beta, divided by beta: slope 1 outside. For beta = 0, l1_loss.

    Args:
        input, target: of one shape.
        reduction: "mean" (over all elements), "sum" or "none".
        beta: at least 0.

    Raises:
        ValueError: if the shapes differ, or for another reduction or beta.

    Example:
        >>> smooth_l1_loss([0.5, 3.0], [0.0, 0.0], "none", 2.0).data.tolist()
        [0.0625, 2.0]

    Source: Girshick 2015; arguments as torch.nn.functional.smooth_l1_loss.
    """
    beta = number(beta, "smooth_l1_loss", "beta", 0)
    x, t = _pair("smooth_l1_loss", input, target, reduction)
    return _reduced(_huber(x, t, beta) * (1.0 / beta) if beta else ew.abs(x - t), reduction)


LEAST = 1e-12  # what p (1 - p) counts as at least, in a derivative


@primitive
def _bce(p, t):
    with np.errstate(divide="ignore", invalid="ignore"):
        return -(t * np.maximum(np.log(p), -100) + (1 - t) * np.maximum(np.log1p(-p), -100)).astype(p.dtype)


def _odds(p: Tensor) -> Tensor:
    """log(p / (1 - p)), each logarithm at least -100."""
    logs = [ew.where(ew.equal(q, 0.0), -100.0, ew.maximum(ew.log(ew.where(ew.equal(q, 0.0), 1.0, q)), -100.0))
            for q in (p, 1.0 - p)]
    return logs[0] - logs[1]


_bce.defvjp(lambda g, ans, p, t: g * (p - t) / ew.maximum(p * (1.0 - p), LEAST),
            lambda g, ans, p, t: -g * _odds(p))
_bce.defjvp(*_bce.vjps)
_bce.defsaved("p", "t")


def _bce_export(to, p, t):
    logs = [to("Max", to("Log", q), p.dtype.type(-100)) for q in (p, to("Sub", p.dtype.type(1), p))]
    return to("Neg", to("Add", to("Mul", t, logs[0]), to("Mul", to("Sub", p.dtype.type(1), t), logs[1])))


_bce.defexport(_bce_export)


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, each logarithm at least -100.

    What comes before the sigmoid is safer in `binary_cross_entropy_with_logits`: near 0 and 1 the derivative
    is lost to rounding here.

    Args:
        input: probabilities from 0 to 1, any shape.
        target: of the same shape, from 0 to 1.
        weight: broadcasts to that shape, or None.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: if the shapes differ, an input is outside [0, 1], or for another reduction.

    Example:
        >>> round(binary_cross_entropy([0.5], [1.0]).item(), 4)
        0.6931

    Source: arguments and bounds as torch.nn.functional.binary_cross_entropy.
    """
    p, t = _pair("binary_cross_entropy", input, target, reduction)
    if p.size and not (p._data.min() >= 0 and p._data.max() <= 1):
        raise ValueError(f"binary_cross_entropy: input must be probabilities, from 0 to 1, got numbers from "
                         f"{p._data.min()} to {p._data.max()}; of logits, binary_cross_entropy_with_logits")
    loss = _bce(p, t)
    return _reduced(loss if weight is None else loss * weight, reduction)


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0,
                        reduction: str = "mean") -> Tensor:
    """max(0, -target (input1 - input2) + margin): input1 should be the larger where target is 1, else input2.

    Args:
        input1, input2: of one shape.
        target: of that shape, 1 or -1.
        margin: how much larger.
        reduction: "mean" (over all elements), "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> margin_ranking_loss([1.0, 1.0], [0.0, 3.0], [1.0, 1.0], 0.5, "none").data.tolist()
        [0.0, 2.5]
    """
    margin = number(margin, "margin_ranking_loss", "margin")
    x, y = _pair("margin_ranking_loss", input1, input2, reduction)
    x, t = _pair("margin_ranking_loss", x, target, reduction)
    return _reduced(relu(margin - t * (x - y)), reduction)


def triplet_margin_loss(anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0,
                        eps: float = 1e-6, swap: bool = False, reduction: str = "mean") -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d a distance along the last axis.

    Args:
        anchor, positive, negative: of one shape, (N, D) or (D,).
        margin: how much nearer the positive should be.
        p: 2, the Euclidean distance; there is no other.
        eps: added to each difference, so that no distance is 0.
        swap: whether a negative that is nearer to the positive than to the anchor counts from there.
        reduction: "mean" (over the N), "sum" or "none".

    Raises:
        ValueError: if the shapes differ, or for another reduction or p.

    Example:
        >>> triplet_margin_loss([[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 1.0]], eps=0.0).item()
        5.0

    Source: Schroff et al. 2015; Balntas et al. 2016 for swap; as torch.nn.functional.triplet_margin_loss.
    """
    op = "triplet_margin_loss"
    margin, eps = number(margin, op, "margin"), number(eps, op, "eps")
    a, close = _pair(op, anchor, positive, reduction)
    a, other = _pair(op, a, negative, reduction)
    near, far = norm(a - close + eps, p, -1), norm(a - other + eps, p, -1)
    if flag(swap, op, "swap"):
        far = ew.minimum(far, norm(close - other + eps, p, -1))
    return _reduced(relu(near - far + margin), reduction)


def binary_cross_entropy_with_logits(input: Any, target: Any, weight: Any = None,
                                     reduction: str = "mean", pos_weight: Any = None) -> Tensor:
    """-(p t log s + (1 - t) log(1 - s)), s = sigmoid(input), p = pos_weight; safe at any input.

    Args:
        input: logits, any shape.
        target: of that shape, between 0 and 1.
        weight: multiplies the loss; broadcasts to the shape of input.
        reduction: "mean" (over all elements, also with weights), "sum" or "none".
        pos_weight: multiplies the term of the positive targets; broadcasts to that shape.

    Raises:
        ValueError: if shapes do not fit, or for another reduction.

    Example:
        >>> binary_cross_entropy_with_logits([1000.0, -1000.0], [1.0, 0.0]).item()
        0.0

    Source: PyTorch's function of that name.
    """
    op = "binary_cross_entropy_with_logits"
    x, t = _pair(op, input, target, reduction)
    weight, pos_weight = [None if w is None else as_tensor(w, op, x) for w in (weight, pos_weight)]
    for name, w in (("weight", weight), ("pos_weight", pos_weight)):
        if w is not None and (w.ndim > x.ndim or any(
                n not in (1, m) for n, m in zip(w.shape[::-1], x.shape[::-1]))):
            raise ValueError(f"{op}: {name} must broadcast to the shape of input, {x.shape}, got "
                             f"{w.shape}")
    ones = t if pos_weight is None else t * pos_weight
    # softplus(-x) is -log(sigmoid(x))
    loss = ones * softplus(-x, threshold=math.inf) + (1.0 - t) * softplus(x, threshold=math.inf)
    return _reduced(loss if weight is None else loss * weight, reduction)


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """target (log target - input), elementwise: input holds log-probabilities.

    Args:
        input: log-probabilities, any shape.
        target: probabilities of that shape (0 counts 0), or their logarithms.
        reduction: "sum" and "batchmean" (divided by the length of the first axis) are the
            Kullback-Leibler divergence. "mean" is PyTorch's: divided by the number of elements,
            classes included. Or "none".
        log_target: whether target holds logarithms.

    Raises:
        ValueError: if the shapes differ, or for another reduction.

    Example:
        >>> kl_div([[-0.5, -1.0]], [[1.0, 0.0]], "batchmean").item()
        0.5

    Source: PyTorch's torch.nn.functional.kl_div.
    """
    x, t = _pair("kl_div", input, target, reduction, (*REDUCTIONS, "batchmean"))
    if flag(log_target, "kl_div", "log_target"):
        loss = ew.exp(t) * (t - x)
    else:
        positive = t != 0.0
        loss = ew.where(positive, t * (ew.log(ew.where(positive, t, 1.0)) - ew.where(positive, x, 0.0)), 0.0)
    if reduction != "batchmean":
        return _reduced(loss, reduction)
    n = x.shape[0] if x.ndim else 1
    return sum(loss) * (1.0 / n if n else float("nan"))


# ----- losses of classes -----


@primitive
def _nll(logp, target, *, axis):
    with np.errstate(invalid="ignore"):
        total = np.vdot(logp, target) if len(axis) == logp.ndim else np.add.reduce(logp * target, axis=axis)
        if np.count_nonzero(total != total):  # nan: a probability of 0 counts 0 also beside logp = -inf
            total = np.add.reduce(keep(target != 0, logp) * target, axis=axis)
    return -total


@primitive
def nll_vjp(g, other, *, axis):
    """-g * other, g repeated along the axes of the sum: nll is linear in both, this is its adjoint in either.

    >>> nll_vjp(2.0, [0.5, 0.25], axis=(0,)).data.tolist()
    [-1.0, -0.5]
    """
    return -(g.reshape(kept(other, axis)) if g.ndim else g) * other


nll_vjp.defnotes("-g x target, which holds the 1/N")
_nll.defvjp(lambda g, ans, logp, target, *, axis: nll_vjp(g, target, axis=axis),
            lambda g, ans, logp, target, *, axis: nll_vjp(g, logp, axis=axis))
_nll.defjvp("same", "same")
nll_vjp.defvjp(lambda h, out, g, other, *, axis: _nll(h, other, axis=axis),
               lambda h, out, g, other, *, axis: nll_vjp(g, h, axis=axis))
nll_vjp.defjvp("same", "same")


# ----- targets: checked, and turned into coefficients of log-probabilities -----


def _batched(op: str, input: Any, target: Any, reduction: str) -> tuple[Tensor, Any, tuple[int, ...]]:
    """Input and target with a batch axis, and the axes that "none" sums over: both if there was no batch."""
    one_of(reduction, op, "reduction", REDUCTIONS)
    x = as_floats(input, op, "input", target)
    target = target if isinstance(target, np.ndarray) else as_tensor(target, op, x)
    if x.ndim == 0 or x.shape[x.ndim > 1] == 0:
        raise ValueError(f"{op}: input must have shape (C,), (N, C) or (N, C, ...), of one class or more, "
                         f"got {x.shape}")
    return (x, target, (1,)) if x.ndim > 1 else (expand_dims(x, 0), target[None], (0, 1))


def _class_numbers(op: str, target: Any, shape: tuple[int, ...], ignore_index: int | None) -> np.ndarray:
    """Class numbers for input of `shape`, (N, C, ...), checked."""
    y, expected = target._data if isinstance(target, Tensor) else target, (shape[0], *shape[2:])
    if y.shape != expected:
        hint = "; probability targets must be floating point, of the shape of input" * (y.ndim == len(shape))
        raise ValueError(f"{op}: class targets must have shape {expected} for input of shape "
                         f"{shape}, got {y.shape}{hint}")
    if y.dtype.kind not in "iu":
        raise TypeError(f"{op}: class targets must be integers, got {y.dtype}; convert them, e.g. "
                        f"target.astype(np.int64)")
    wrong = y.view(y.dtype.str.replace("i", "u")) >= shape[1]  # unsigned, those below 0 are too large as well
    if ignore_index is not None and np.count_nonzero(wrong):
        wrong &= y != ignore_index
    if np.count_nonzero(wrong):
        but = "" if ignore_index is None else f", ignore_index={ignore_index}"
        raise ValueError(f"{op}: target {y[wrong].flat[0]} is out of range for {shape[1]} classes "
                         f"(input shape {shape}{but}); classes are numbered from 0")
    return y


def _class_weights(op: str, weight: Any, x: Tensor) -> np.ndarray | None:
    """The constant factor of each class, (C,), checked, in the dtype of x; None if there is none."""
    if weight is None:
        return None
    if isinstance(weight, Tensor) and weight.requires_grad:
        raise ValueError(f"{op}: weight is a constant, it must not require a gradient; pass "
                         f"weight.detach()")
    w = as_tensor(weight, f"{op} weight", x)._data
    if w.shape != x.shape[1:2]:
        raise ValueError(f"{op}: weight must have shape {x.shape[1:2]}, one number per class, got {w.shape}")
    return w.astype(x.dtype)


def _of_classes(op: str, x: Tensor, target: Any, weight: Any, ignore_index: int, smoothing: float,
                reduction: str) -> tuple[Tensor, bool]:
    """The factor of each -log-probability, (N, C, ...), and whether any row counts."""
    y = _class_numbers(op, target, x.shape, whole(ignore_index, op, "ignore_index"))
    (n, c, *rest), dtype = x.shape, x.dtype
    w = _class_weights(op, weight, x)
    counted = y != ignore_index
    y = y * counted                                                         # (N, ...), in range
    own = counted.astype(dtype) if w is None else np.where(counted, w[y], dtype.type(0))
    divisor = np.count_nonzero(counted) if w is None else float(np.sum(own, dtype=np.float64))
    scale = 1.0 if reduction != "mean" else 1.0 / divisor if divisor else 0.0
    m = math.prod(rest)
    t = np.zeros((n, c, m), dtype)
    t[np.arange(n)[:, None], y.reshape(n, m), np.arange(m)] = own.reshape(n, m) * ((1.0 - smoothing) * scale)
    if smoothing:
        t += counted.reshape(n, 1, m) * (dtype.type(smoothing / c * scale) * (1 if w is None else w[:, None]))
    return share(t.reshape(x.shape)), divisor != 0


def _of_probabilities(op: str, x: Tensor, target: Any, weight: Any, ignore_index: int, smoothing: float,
                      reduction: str) -> tuple[Tensor, bool]:
    """The same of probabilities, which may require a gradient."""
    t, c = as_tensor(target, op, x), x.shape[1]
    if ignore_index >= 0:
        raise ValueError(f"{op}: ignore_index={ignore_index} goes with class targets, these are "
                         f"probabilities")
    if smoothing:
        t = t * (1.0 - smoothing) + smoothing / c
    w = _class_weights(op, weight, x)
    if w is not None:
        t = t * share(w.reshape(c, *[1] * (x.ndim - 2)))
    return t * (c / x.size) if reduction == "mean" and x.size else t, x.size > 0


def _loss(logp: Tensor, target: Tensor, any_rows: bool, reduction: str, row: tuple[int, ...]) -> Tensor:
    loss = _nll(logp, target, axis=row if reduction == "none" else tuple(range(logp.ndim)))
    return loss if any_rows or reduction != "mean" else loss + float("nan")  # of no rows, and gradient 0


def cross_entropy(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(input) at the target class, or its mean under target probabilities.

    Args:
        input: logits (C,), (N, C) or (N, C, d1, ...).
        target: class numbers (integers; the shape of input without C), or probabilities (floating
            point; the shape of input), which may require a gradient.
        weight: (C,), a constant factor for each class, taken in the dtype of input. The mean over class
            targets is divided by the sum of the weights of the targets; over probabilities by the number
            of rows.
        ignore_index: class targets with this number count nothing; if all have it, the mean is nan.
        reduction: "mean", "sum", or "none" for one number per row, (), (N,) or (N, d1, ...).
        label_smoothing: between 0 and 1: the part of the target that is spread evenly over the classes.

    Raises:
        ValueError: if shapes, a class number or an option do not fit; both sides are named.
        TypeError: if class targets are not integers, or input is not floating point.

    Example:
        >>> loss = cross_entropy([[1.0, 2.0], [3.0, 0.4]], np.array([-100, 1]), weight=[0.2, 0.3],
        ...                      label_smoothing=0.1)
        >>> round(loss.item(), 5)
        2.54045

    Source: PyTorch's torch.nn.functional.cross_entropy.
    """
    op = "cross_entropy"
    smoothing = number(label_smoothing, op, "label_smoothing", 0, 1)
    x, target, row = _batched(op, input, target, reduction)
    probabilities = target.dtype.kind == "f" and target.shape == x.shape
    coefficients = _of_probabilities if probabilities else _of_classes
    t, any_rows = coefficients(op, x, target, weight, ignore_index, smoothing, reduction)
    return _loss(_log_softmax(x, axis=1), t, any_rows, reduction, row)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100,
             reduction: str = "mean") -> Tensor:
    """-input at the target class: `cross_entropy` for input that already holds log-probabilities.

    Args:
        input: log-probabilities (C,), (N, C) or (N, C, d1, ...).
        target, weight, ignore_index, reduction: as in `cross_entropy`, classes only.

    Raises:
        ValueError, TypeError: as `cross_entropy`.

    Example:
        >>> nll_loss([[-1.0, -2.0]], np.array([1])).item()
        2.0

    Source: PyTorch's torch.nn.functional.nll_loss.
    """
    x, target, row = _batched("nll_loss", input, target, reduction)
    t, any_rows = _of_classes("nll_loss", x, target, weight, ignore_index, 0.0, reduction)
    return _loss(x, t, any_rows, reduction, row)


def hinge_loss(input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None,
               reduction: str = "mean") -> Tensor:
    """Multi-class hinge (PyTorch's multi_margin_loss): by how much other classes violate the margin.

    For each row, w[y] / C times the sum over classes c other than the target y of
    max(0, margin - x[y] + x[c]) ** p.

    Args:
        input: scores (N, C) or (C,).
        target: class numbers, integers (N,) or one.
        p: 1 or 2.
        margin: by how much the target's score should exceed the others.
        weight: (C,), a constant factor for each target class.
        reduction: "mean" (over rows), "sum", or "none".

    Raises:
        ValueError, TypeError: if shapes, a class number or an option do not fit.

    Example:
        >>> hinge_loss([[0.0, 0.5, 1.25, 2.0]], np.array([3]), reduction="sum").item()
        0.0625

    Source: Crammer & Singer 2001; arguments as torch.nn.functional.multi_margin_loss.
    """
    op = "hinge_loss"
    margin = number(margin, op, "margin")
    if not is_whole(p) or p not in (1, 2):
        raise ValueError(f"{op}: p must be 1 or 2, got {p!r}")
    x, target, row = _batched(op, input, target, reduction)
    if x.ndim != 2:
        raise ValueError(f"{op}: input must have shape (N, C) or (C,), got {x.shape}")
    y, c = _class_numbers(op, target, x.shape, None), x.shape[1]
    w = _class_weights(op, weight, x)
    own = x.dtype.type(1.0 / c) * (1 if w is None else w[y][:, None])
    each = (np.arange(c) != y[:, None]) * own                        # (N, C), the target itself 0
    short = relu(x - take_along_axis(x, y[:, None], 1) + margin)
    return _reduced(sum((short if p == 1 else short * short) * share(each), row), reduction)
