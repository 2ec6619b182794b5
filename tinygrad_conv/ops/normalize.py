"""Normalisation to mean 0 and variance 1: a closed family of maps over any axes; batch, layer, group and
instance norm, which choose the axes.

With m and v the mean and the biased variance over the axes, n their number of entries, and
r = 1/sqrt(v + eps), let xhat = (x - m) r and look at the number

    T(g, x, w, b) = <g, w xhat(x) + b>,

which is linear in g and in (w, b). Read off what multiplies each, and differentiate with respect to x:

    times g:         normalize(x, w, b)          w xhat + b
    d/dx:            normalize_adjoint(g, x, w)  J(x)(g w),  J(x)h = r (h - mean(h) - xhat mean(h xhat))
    times w, b:                                  sum of g xhat, sum of g

Its three results come of the same sums, so one map returns them all. J is symmetric, and the derivatives of

    <h, J(x)(g w)> + <u, sum of g xhat> + <v, sum of g>

in g and w are the same maps again. What is left is the derivative of <h, J(x)f> in x; since
dr = -r^2/n <xhat, dx> and dxhat = J dx, it is

    -r/n [ r (<h,f> - n mean(h) mean(f) - <h,xhat><f,xhat>/n) xhat + <f,xhat> J h + <h,xhat> J f ].

Each is computed from x itself, not from saved values, so every order follows. Running statistics are
tensors outside the tape; they change through `core.change`.
"""
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..arguments import flag, is_whole, number, whole
from ..core import change
from ..kernels.table import run
from ..operands import as_floats, as_tensor
from ..primitive import primitive
from ..tensor import Tensor, share
from .elementwise import astype
from .reduce import count, kept, mean, sum
from .shape import _reshape


@primitive
def normalize(x, w, b, *, axes, eps):
    """xhat w + b, and the mean and variance: three outputs. w and b broadcast against x."""
    return run("normalize", x, w, b, axes, eps)


@primitive
def normalize_adjoint(g, x, w, *, axes, eps, shape):
    """J(x)(g w), and down to `shape`, that of w and b, the sums of g xhat and of g: three outputs."""
    return run("normalize_adjoint", g, x, w, axes, eps, shape)


def _normalize_vjp(g, ans, x, w, b, *, axes, eps):
    g, g_mean, g_var = g
    shape = w.shape if w.shape == b.shape else np.broadcast_shapes(w.shape, b.shape)  # which takes long
    dx, dw, db = normalize_adjoint(g, x, w, axes=axes, eps=eps, shape=shape)
    if any(t.requires_grad or t._data.any() for t in (g_mean, g_var)):  # not for running statistics only
        dx = dx + (g_mean + 2.0 * g_var * (x - mean(x, axes, keepdims=True))) * (1.0 / (count(x, axes) or 1))
    return dx, dw, db


def _around(g, x, w, axes, eps):
    """f = g w, n, xhat, r, h -> J(x)h, and sums of products over the axes."""
    xhat, _, var = normalize(x, 1.0, 0.0, axes=axes, eps=eps)
    return (g * w, count(x, axes) or 1, xhat, (var + eps) ** -0.5,
            lambda h: normalize_adjoint(h, x, 1.0, axes=axes, eps=eps, shape=())[0],
            lambda s, t: sum(s * t, axes, keepdims=True))


def _normalize_adjoint_vjp(cotangents, ans, g, x, w, *, axes, eps, shape):
    """The last formula at the head of this file, with f = g w."""
    h, u, v = cotangents
    f, n, xhat, r, jacobian, dot = _around(g, x, w, axes, eps)
    jh, hx, fx = jacobian(h), dot(h, xhat), dot(f, xhat)
    means = mean(h, axes, keepdims=True) * mean(f, axes, keepdims=True)
    along = r * (dot(h, f) - n * means - hx * fx * (1.0 / n)) * xhat
    dx = (along + fx * jh + hx * jacobian(f)) * (r * (-1.0 / n))
    return w * jh + u * xhat + v, dx + jacobian(g * u), g * jh


def _normalize_x_jvp(t, ans, x, w, b, *, axes, eps):
    """J is symmetric; the mean moves by mean(t), the variance by 2 mean(t (x - m)); x - m = xhat / r."""
    n, var = count(x, axes) or 1, normalize(x, 1.0, 0.0, axes=axes, eps=eps)[2]
    moved, of_xhat, of_one = normalize_adjoint(t, x, 1.0, axes=axes, eps=eps, shape=kept(x, axes))
    return w * moved, of_one * (1.0 / n), of_xhat * (var + eps) ** 0.5 * (2.0 / n)


normalize.defjvp(
    _normalize_x_jvp,
    lambda t, ans, x, w, b, *, axes, eps: (t * normalize(x, 1.0, 0.0, axes=axes, eps=eps)[0], None, None),
    lambda t, ans, x, w, b, *, axes, eps: (t, None, None))
def _normalize_adjoint_x_jvp(t, ans, g, x, w, *, axes, eps, shape):
    """In the last formula at the head of this file, dx meets t, and h is what it is a product with."""
    f, n, xhat, r, jacobian, dot = _around(g, x, w, axes, eps)
    jf, jt = jacobian(f), jacobian(t)
    moved = (dot(xhat, t) * jf + dot(f, xhat) * jt + dot(jf, t) * xhat) * (r * (-1.0 / n))
    lead = x.ndim - len(shape)
    down = tuple([i for i in range(x.ndim) if i < lead or shape[i - lead] == 1])
    return moved, _reshape(sum(g * jt, down), shape=shape), None


normalize_adjoint.defjvp(
    "same", _normalize_adjoint_x_jvp,
    lambda t, ans, g, x, w, *, axes, eps, shape:
        (normalize_adjoint(g, x, t, axes=axes, eps=eps, shape=shape)[0], None, None))
def _normalize_by_example(which, t, g, x, w, axes, eps):
    own = t.shape[1:] if t.ndim == x.ndim else t.shape
    rows = (len(x), *[1] * (x.ndim - 1 - len(own)), *own)
    return normalize_adjoint(g[0], x, w, axes=axes, eps=eps, shape=rows)[which]


normalize.defbroadcast()
normalize.defsaved("x", "w", "b")
normalize.defexamples(
    w=lambda g, ans, x, w, b, *, axes, eps: _normalize_by_example(1, w, g, x, w, axes, eps),
    b=lambda g, ans, x, w, b, *, axes, eps: _normalize_by_example(2, b, g, x, w, axes, eps))
normalize.defvjp_joint(_normalize_vjp)
normalize_adjoint.defvjp_joint(_normalize_adjoint_vjp)


def _normalize_export(to, x, w, b, *, axes, eps):
    """One node where it is what ONNX calls layer normalisation; else the formula at the head of this file."""
    last = tuple(range(len(x.shape) - len(axes), len(x.shape)))
    if axes == last and w.shape == b.shape == tuple([x.shape[i] for i in axes]):
        return to("LayerNormalization", x, w, b, axis=axes[0], epsilon=eps)
    over = np.array(axes, np.int64)
    mean = to("ReduceMean", x, over, noop_with_empty_axes=1)
    off = to("Sub", x, mean)
    var = to("ReduceMean", to("Mul", off, off), over, noop_with_empty_axes=1)
    xhat = to("Div", off, to("Sqrt", to("Add", var, x.dtype.type(eps))))
    return to("Add", to("Mul", xhat, w), b), mean, var


normalize.defexport(_normalize_export)


# ----- the four choices of axes -----


def _channels(t, ndim):
    """One value a channel, or one for all, beside arrays of so many axes."""
    return t.reshape(1, -1, *[1] * (ndim - 2))


@primitive
def _scale(x, w, b, mean, var, *, eps):
    """w (x - mean) / sqrt(var + eps) + b by given statistics; each is (C,), a value for each channel of x."""
    r = 1.0 / np.sqrt(var.astype(np.float64) + eps)
    mean, r = (mean * r).astype(x.dtype), r.astype(x.dtype)
    a, b, mean = [_channels(t, x.ndim) for t in (r * w, b, mean * w)]
    return run("scale", x, a, b - mean).astype(x.dtype, copy=False)


def _per_channel(t):
    return sum(t, (0, *range(2, t.ndim)))


def _xhat(x, mean, var, eps):
    return _scale(x, 1.0, 0.0, mean, var, eps=eps)


def _scale_x(g, ans, x, w, b, mean, var, *, eps):
    return _scale(g, w, 0.0, 0.0, var, eps=eps)


_scale.defvjp(
    _scale_x,
    lambda g, ans, x, w, b, mean, var, *, eps: _per_channel(g * _xhat(x, mean, var, eps)),
    lambda g, ans, x, w, b, mean, var, *, eps: _per_channel(g),
    lambda g, ans, x, w, b, mean, var, *, eps: -_per_channel(g) * w * (var + eps) ** -0.5,
    lambda g, ans, x, w, b, mean, var, *, eps:
        _per_channel(g * _xhat(x, mean, var, eps)) * w * (-0.5 / (var + eps)))
_scale.defjvp(
    _scale_x,
    lambda t, ans, x, w, b, mean, var, *, eps: _scale(x, t, 0.0, mean, var, eps=eps))
_scale.defsaved("x", "w", "mean", "var")


def _scale_export(to, x, w, b, mean, var, *, eps):
    w, b = [t if t.shape else to("Expand", t, np.array(mean.shape)) for t in (w, b)]
    return to("BatchNormalization", x, w, b, mean, var, epsilon=eps)


_scale.defexport(_scale_export)


def _checked(op: str, x: Any, least: int, weight: Any) -> Tensor:
    x = as_floats(x, op, beside=weight)
    if x.ndim < least:
        raise ValueError(f"{op}: x must have at least {least} axes, got shape {x.shape}")
    return x


def _affine(op: str, x: Tensor, weight: Any, bias: Any, shape: tuple[int, ...],
            view: tuple[int, ...]) -> tuple[Tensor, Any, Any]:
    """x, as wide as the widest of the three, and weight and bias of `shape`, seen as `view`; or 1 and 0."""
    weight, bias = [None if t is None else as_tensor(t, op, x) for t in (weight, bias)]
    dtypes = [t.dtype for t in (x, weight, bias) if t is not None and t.dtype.kind == "f"]
    x = x if x.dtype == np.result_type(*dtypes) else astype(x, np.result_type(*dtypes))
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t.shape != shape:
            raise ValueError(f"{op}: {name} must have shape {shape}, got {t.shape}")
    weight, bias = [t if t is None or view == shape else _reshape(t, shape=view) for t in (weight, bias)]
    return x, 1.0 if weight is None else weight, 0.0 if bias is None else bias


def _by_channel(op: str, x: Any, per_sample: bool, running: dict[str, Any], weight: Any, bias: Any,
                own: bool, momentum: float | None, eps: float, counted: Tensor | None) -> Tensor:
    """Each channel, of the batch or of each sample, by x's own statistics or by the running ones."""
    x, eps = _checked(op, x, 3 if per_sample else 2, weight), number(eps, op, "eps", 0)
    c, view = x.shape[1], (1, x.shape[1], *[1] * (x.ndim - 2))
    for name, t in running.items():
        if t is None and not own:
            raise ValueError(f"{op}: {name} is needed to normalise without the batch's statistics")
        if t is not None and (not isinstance(t, Tensor) or t.shape != (c,) or t.requires_grad
                              or t.dtype.kind != "f"):
            raise ValueError(f"{op}: {name} must be a tensor of shape ({c},) of floats that requires no "
                             f"gradient (it is changed in place), got {type(t).__name__} of shape "
                             f"{np.shape(t)}, {getattr(t, 'dtype', 'no dtype')}, requires_grad="
                             f"{getattr(t, 'requires_grad', False)}")
    x, weight, bias = _affine(op, x, weight, bias, (c,), view if own else (c,))
    if not own:  # as they are now: the buffers may change any time
        statistics = [share(t._data.copy()) for t in running.values()]
        for t, of in zip(statistics, running.values()):
            t.name = of.name
        return _scale(x, weight, bias, *statistics, eps=eps)
    if momentum is not None or counted is None:
        momentum = number(momentum, op, "momentum", 0, 1)
    axes = tuple(range(2, x.ndim)) if per_sample else (0, *range(2, x.ndim))
    n = count(x, axes)
    if n == 1 and x.size:
        raise ValueError(f"{op}: training needs more than one value per channel, got shape {x.shape}; use "
                         f"larger batches or images, or the running statistics (eval())")
    y, own_mean, own_var = normalize(x, weight, bias, axes=axes, eps=eps)
    new = [(t, np.add.reduce(a._data.reshape(-1, c)) * (c / a.size * unbiased)) for t, a, unbiased in zip(
        running.values(), (own_mean, own_var), (1.0, n / max(n - 1, 1))) if t is not None and x.size]

    def learned(old: list[np.ndarray]) -> Iterator[Any]:
        weight = 1 / (int(old[-1]) + 1) if momentum is None else momentum
        for values, (_, own_values) in zip(old, new):
            yield (1.0 - weight) * values + weight * own_values
        yield from [values + 1 for values in old[len(new):]]
    change([*[t for t, _ in new], *([] if counted is None else [counted])], learned)
    return y


def batch_norm(x: Any, running_mean: Tensor | None, running_var: Tensor | None, weight: Any = None,
               bias: Any = None, training: bool = False, momentum: float | None = 0.1,
               eps: float = 1e-5, *, num_batches_tracked: Tensor | None = None) -> Tensor:
    """Normalise each channel of x (N, C), (N, C, L) or (N, C, H, W) over all other axes.

    In training it uses the batch's mean and biased variance; the running tensors, if given, are then
    updated in place (by `Tensor.mutate`) to (1 - momentum) * running + momentum * new, with unbiased
    new variances, n/(n-1), and the count goes up: all of them or, after an interrupt or an error, none, and
    no update of another thread is lost. Otherwise it uses the running tensors, as constants.

    Args:
        x: floating point.
        running_mean, running_var: tensors (C,) that require no gradient, or None in training.
        weight, bias: (C,) or None.
        training: whether to use the batch's statistics.
        momentum: the weight of the new value (PyTorch's meaning), in [0, 1]; None averages all batches
            counted so far.
        eps: added to the variance.
        num_batches_tracked: a whole number, counted up in training; None counts nothing.

    Raises:
        ValueError: in training with one value per channel, or if shapes or numbers do not fit.
        TypeError: if x is not floating point.

    Example:
        >>> import tinygrad_conv as tg
        >>> x, var = tg.tensor([[1.0], [2.0], [3.0], [4.0]]), tg.ones(1)
        >>> y = tg.batch_norm(x, tg.zeros(1), var, training=True)
        >>> round(var.item(), 4)
        1.0667

    Source: Ioffe & Szegedy 2015; arguments as torch.nn.functional.batch_norm.
    """
    return _by_channel("batch_norm", x, False, {"running_mean": running_mean, "running_var": running_var},
                       weight, bias, flag(training, "batch_norm", "training"), momentum, eps,
                       num_batches_tracked)


def instance_norm(x: Any, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Any = None, bias: Any = None, use_input_stats: bool = True,
                  momentum: float | None = 0.1, eps: float = 1e-5, *,
                  num_batches_tracked: Tensor | None = None) -> Tensor:
    """Normalise each channel of each sample of x (N, C, L) or (N, C, H, W).

    Args:
        x: floating point.
        running_mean, running_var: as in `batch_norm`: updated with the averages over samples of the
            means and unbiased variances; used unless `use_input_stats`.
        weight, bias: (C,) or None.
        use_input_stats, momentum, eps, num_batches_tracked: as `training` and the others of `batch_norm`.

    Raises:
        ValueError: with one value per channel and sample, or if shapes do not fit.

    Example:
        >>> instance_norm([[[1.0, 3.0], [2.0, 2.0]]], eps=1e-12).data.tolist()
        [[[-1.0, 1.0], [0.0, 0.0]]]

    Source: Ulyanov et al. 2016; arguments as torch.nn.functional.instance_norm.
    """
    return _by_channel("instance_norm", x, True, {"running_mean": running_mean, "running_var": running_var},
                       weight, bias, flag(use_input_stats, "instance_norm", "use_input_stats"), momentum, eps,
                       num_batches_tracked)


def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise over the last axes, of shape `normalized_shape`, as are weight and bias.

    Raises:
        ValueError: if x does not end in `normalized_shape`.

    Example:
        >>> layer_norm([[1.0, 3.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0]]

    Source: Ba et al. 2016; arguments as torch.nn.functional.layer_norm.
    """
    sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
    shape = tuple([whole(n, "layer_norm", "normalized_shape", 0) for n in sizes])
    x, eps = as_floats(x, "layer_norm", beside=weight), number(eps, "layer_norm", "eps", 0)
    if not shape or x.shape[-len(shape):] != shape:
        raise ValueError(f"layer_norm: x must end in normalized_shape {shape}, got shape {x.shape}")
    x, weight, bias = _affine("layer_norm", x, weight, bias, shape, shape)
    return normalize(x, weight, bias, axes=tuple(range(x.ndim - len(shape), x.ndim)), eps=eps)[0]


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None,
               eps: float = 1e-5) -> Tensor:
    """Normalise each sample of x (N, C, ...) over groups of C / num_groups channels.

    Args:
        x: floating point.
        num_groups: a divisor of C.
        weight, bias: (C,) or None.
        eps: added to the variance.

    Raises:
        ValueError: if C is not a multiple of `num_groups`, or shapes do not fit.

    Example:
        >>> group_norm([[1.0, 3.0, 5.0, 9.0]], 2, eps=0.0).data.tolist()
        [[-1.0, 1.0, -1.0, 1.0]]

    Source: Wu & He 2018; arguments as torch.nn.functional.group_norm.
    """
    x, eps = _checked("group_norm", x, 2, weight), number(eps, "group_norm", "eps", 0)
    n, c, *rest = x.shape
    if not is_whole(num_groups, 1) or c % int(num_groups):
        raise ValueError(f"group_norm: {c} channels cannot be cut into {num_groups!r} groups (shape "
                         f"{x.shape})")
    grouped = (int(num_groups), c // int(num_groups))
    x, weight, bias = _affine("group_norm", x, weight, bias, (c,), (1, *grouped, *[1] * len(rest)))
    y = normalize(_reshape(x, shape=(n, *grouped, *rest)), weight, bias,
                  axes=tuple(range(2, x.ndim + 1)), eps=eps)[0]
    return _reshape(y, shape=x.shape)
