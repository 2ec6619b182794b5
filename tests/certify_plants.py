"""Plant each classic mistake in each VJP of convolution, pooling, products, norms and softmax, and read the diagnosis.

    python -m tests.certify_plants [--only NAME]

Prints a table, one line a plant: the op, the argument, the mistake, the diagnosis, and whether it is right; then how
many are. A mistake is planted only where it changes something: padding is not mirrored in an op without padding.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tinygrad_conv as tg
from tests.plant_errors import as_constant, planted
from tinygrad_conv.certify import builtin  # noqa: F401  (which registers samples)
from tinygrad_conv.certify.call import calls
from tinygrad_conv.ops import activation, conv, linalg, normalize, pool
from tinygrad_conv.primitive import Primitive

CONVOLUTIONS = [conv._conv2d, conv._conv_transpose2d, conv._conv2d_weight]
WINDOWS = [pool._max_pool2d, pool.max_pool2d_scatter, pool.max_pool2d_gather, pool._avg_pool2d, pool.avg_pool2d_spread]
PLACES = [pool._adaptive_avg_pool2d, pool.adaptive_avg_pool2d_spread, pool._adaptive_max_pool2d, pool.pick2d,
          pool.pile2d, pool._max_unpool2d, pool.max_unpool2d_pick]
PRODUCTS = [linalg.matmul, linalg._linear, linalg._einsum]
NORMS = [normalize.normalize, normalize.normalize_adjoint, normalize._scale]
SOFTMAXES = [activation._softmax, activation._log_softmax, activation.softmax_vjp, activation.log_softmax_vjp]
OPS = [*CONVOLUTIONS, *WINDOWS, *PLACES, *PRODUCTS, *NORMS, *SOFTMAXES]


@dataclass(frozen=True)
class Plant:
    """One mistake in the VJP of one argument; `expected` is how the diagnosis begins, if it is right."""

    op: Primitive
    argnum: int
    what: str
    wrong: Callable[..., Any]
    expected: str

    def diagnosis(self) -> tuple[bool, str]:
        """Whether the certificate fails, and what it says."""
        before = self.op.certificate
        with planted(self.op, self.argnum, self.wrong), tg.use_kernels("numpy"):
            certificate = tg.certify(self.op)
        self.op.certificate = before
        return not certificate.ok, "-" if certificate.diagnosis is None else certificate.diagnosis.mistake


# ----- mistakes: a VJP gone wrong, from the right one and what it is called with -----

def through(change: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """The result changed, knowing the argument."""
    return lambda i: lambda vjp, g, ans, *xs, **params: change(vjp(g, ans, *xs, **params), xs[i])


def both(change: Callable[[Any], Any], g: Any) -> Any:
    return tuple(map(change, g)) if isinstance(g, tuple) else change(g)


def of_cotangent(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda i: lambda vjp, g, ans, *xs, **params: vjp(both(change, g), ans, *xs, **params)


def narrow(t: Any) -> Any:
    return tg.astype(tg.astype(t, np.float32), t.dtype) if t.dtype == np.float64 else t


def divided(axes: Callable[[tuple[int, ...]], Any]) -> Callable[..., Any]:
    """By some of the sizes of the first argument."""
    return lambda i: lambda vjp, g, ans, *xs, **params: vjp(g, ans, *xs, **params) * (
        1.0 / max(1, int(np.prod(axes(xs[0].shape)))))


def swapped(t: Any, i: int, j: int) -> Any:
    return tg.swapaxes(t, i, j) if t.ndim >= 2 else t


def flip(t: Any) -> Any:
    return tg.flip(t, (-2, -1)) if t.ndim >= 2 else t


def detached(i: int) -> Callable[..., Any]:
    def wrong(vjp, g, ans, *xs, **params):
        ans, *xs = [tuple(map(as_constant, t)) if isinstance(t, tuple) else as_constant(t) for t in (ans, *xs)]
        return vjp(g, ans, *xs, **params)
    return wrong


def with_geometry(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda i: lambda vjp, g, ans, *xs, geometry, **params: vjp(g, ans, *xs, geometry=change(geometry), **params)


def output_for_input(op: Primitive, k: int) -> Callable[..., Any]:
    """Argument k is taken to be the output, where it has its shape."""
    def at(i):
        def wrong(vjp, g, ans, *xs, **params):
            out = op(*xs, **params)  # not `ans`, which the op may say it does not need
            out = out[0] if isinstance(out, tuple) else out
            fits = out.shape == xs[k].shape
            return vjp(g, ans, *[out if fits and j == k else x for j, x in enumerate(xs)], **params)
        return wrong
    return at


def input_for_output(i: int) -> Callable[..., Any]:
    return lambda vjp, g, ans, *xs, **params: vjp(g, xs[0], *xs, **params)


def remainder(geometry: Any) -> list[int]:
    """How many of the last rows and columns the adjoint does not make, if it does not know the size."""
    made = [(n - 1) * s + span - before - after for n, s, span, (before, after) in zip(
        geometry.out, geometry.stride, geometry.spans, geometry.padding)]
    return [max(0, n - m) for n, m in zip(geometry.size, made)]


def without_remainder(cut: bool) -> Callable[..., Any]:
    def at(i):
        def wrong(vjp, g, ans, *xs, geometry, **params):
            right = vjp(g, ans, *xs, geometry=geometry, **params)
            h, w = [n - r for n, r in zip(right.shape[2:], remainder(geometry))]
            inside = right[:, :, :h, :w]
            return inside if cut else tg.pad(inside, ((0, 0), (0, 0), (0, right.shape[2] - h), (0, right.shape[3] - w)))
        return wrong
    return at


def changed_argument(k: int, change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda i: lambda vjp, g, ans, *xs, **params: vjp(
        g, ans, *[change(x) if j == k else x for j, x in enumerate(xs)], **params)


def tile(w: Any, groups: int) -> Any:
    return tg.concat([w] * groups, 1) if groups > 1 else w


def one_group_for_images(i: int) -> Callable[..., Any]:
    """The filters, or the filters' cotangent, repeated for all channels."""
    def wrong(vjp, g, ans, *xs, geometry):
        one = replace(geometry, groups=1)
        if len(xs) > 1 and i == 0 and vjp_is_of_weight(xs, geometry):
            return vjp(tile(g, geometry.groups), ans, *xs, geometry=one)
        if vjp_is_of_weight(xs, geometry):
            return vjp(tile(g, geometry.groups), ans, *xs, geometry=one)
        return vjp(g, ans, xs[0], tile(xs[1], geometry.groups), *xs[2:], geometry=one)
    return wrong


def vjp_is_of_weight(xs: Any, geometry: Any) -> bool:
    """Whether neither argument is a filter: conv2d_weight's."""
    return tuple(xs[1].shape[2:]) != geometry.kernel


def one_group_for_filters(i: int) -> Callable[..., Any]:
    def wrong(vjp, g, ans, *xs, geometry):
        return vjp(g, ans, *xs, geometry=replace(geometry, groups=1))[:, :xs[1].shape[1]]
    return wrong


# ----- which are planted where -----

EVERYWHERE: list[tuple[str, Callable[..., Any], str]] = [
    ("twice", through(lambda t, x: t * 2.0), "factor 2"),
    ("negated", through(lambda t, x: -t), "sign"),
    ("divided by N", divided(lambda shape: shape[:1]), "factor 1/("),
    ("ones for g", of_cotangent(lambda g: g * 0.0 + 1.0 if g.dtype.kind == "f" else g), "ones instead of the cotangent"),
    ("a constant added", through(lambda t, x: t + 0.25), "constant term"),
    ("nothing flows back", through(lambda t, x: t * 0.0), "detached branch"),
    ("g in float32", of_cotangent(narrow), "float32 intermediate"),
    ("the result in float32", through(lambda t, x: narrow(t)), "float32 intermediate"),
]
OF_IMAGES: list[tuple[str, Callable[..., Any], str]] = [
    ("divided by C", divided(lambda shape: shape[1:2]), "factor 1/("),
    ("divided by HW", divided(lambda shape: shape[2:]), "factor 1/("),
    ("the result flipped", through(lambda t, x: flip(t)), "flipped"),
    ("the result transposed", through(lambda t, x: swapped(t, -2, -1)), "transposed"),
]
OF_WINDOWS: list[tuple[str, Callable[..., Any], str]] = [
    ("stride and dilation exchanged", with_geometry(lambda geo: replace(geo, stride=geo.dilation, dilation=geo.stride)),
     "stride and dilation exchanged"),
    ("padding mirrored", with_geometry(lambda geo: replace(geo, padding=tuple((b, a) for a, b in geo.padding))),
     "padding on the wrong side"),
]
REMAINDER: list[tuple[str, Callable[..., Any], str]] = [
    ("last rows zero", without_remainder(False), "stride remainder dropped"),
    ("last rows missing", without_remainder(True), "stride remainder dropped")]
NONLINEAR = [(conv._conv2d, (0, 1)), (conv._conv_transpose2d, (0, 1)), (conv._conv2d_weight, (0, 1)),
             (linalg.matmul, (0, 1)), (linalg._linear, (0, 1)), (linalg._einsum, (0, 1)),
             (normalize.normalize, (0, 1)), (normalize.normalize_adjoint, (0, 1, 2)), (normalize._scale, (0, 1)),
             *[(op, (0,)) for op in SOFTMAXES[:2]], *[(op, (0, 1)) for op in SOFTMAXES[2:]]]


def missing_sum(i):
    return lambda vjp, g, ans, x, *, axis: g * ans


def missing_normaliser(i):
    return lambda vjp, g, ans, x, *, axis: g


def statistics_as_constants(i):
    def wrong(vjp, g, ans, x, w, b, *, axes, eps):
        var = tg.var(x, axes, correction=0, keepdims=True)
        return g[0] * w * (var + eps) ** -0.5
    return wrong


SPECIAL: list[tuple[Primitive, int, str, Callable[..., Any], str]] = [
    *[(op, 0, "filters flipped", changed_argument(1, flip), "flipped") for op in CONVOLUTIONS[:2]],
    *[(op, 0, "filters' channels exchanged", changed_argument(1, lambda w: tg.swapaxes(w, 0, 1)),
       "in and out channels exchanged") for op in CONVOLUTIONS[:2]],
    *[(op, 1, "channels exchanged", through(lambda t, x: tg.swapaxes(t, 0, 1)), "in and out channels exchanged")
      for op in CONVOLUTIONS[:2]],
    *[(op, 0, "one group", one_group_for_images, "groups ignored") for op in CONVOLUTIONS],
    *[(op, 1, "one group", one_group_for_filters, "groups ignored") for op in CONVOLUTIONS[:2]],
    (conv._conv2d_weight, 1, "one group", one_group_for_images, "groups ignored"),
    *[(op, 2, "not summed", lambda i: lambda vjp, g, ans, *xs, **params: g, "missing broadcast reduction")
      for op in CONVOLUTIONS[:2]],
    *[(op, 2, "summed over the batch only", lambda i: lambda vjp, g, ans, *xs, **params: tg.sum(g, 0),
       "missing broadcast reduction") for op in CONVOLUTIONS[:2]],
    *[(op, i, what, wrong, expected) for op, i in ((conv._conv2d, 0), (conv._conv2d_weight, 1), (pool._max_pool2d, 0),
                                                   (pool._avg_pool2d, 0)) for what, wrong, expected in REMAINDER],
    *[(linalg.matmul, i, "the result transposed", through(lambda t, x: swapped(t, -2, -1)), "transposed") for i in (0, 1)],
    *[(linalg.matmul, i, "the other not transposed", changed_argument(1 - i, lambda t: swapped(t, -2, -1)), "transposed")
      for i in (0, 1)],
    (linalg._linear, 1, "the result transposed", through(lambda t, x: swapped(t, -2, -1)), "transposed"),
    (linalg._linear, 0, "the weight transposed", changed_argument(1, lambda w: swapped(w, -2, -1)), "transposed"),
    *[(op, 0, "the result transposed", through(lambda t, x: swapped(t, -2, -1)), "transposed") for op in SOFTMAXES],
    *[(linalg.matmul, i, "output for input", output_for_input(linalg.matmul, 1 - i), "output used for input") for i in (0, 1)],
    (normalize.normalize, 0, "output for input", output_for_input(normalize.normalize, 0), "output used for input"),
    (normalize.normalize, 1, "output for input", output_for_input(normalize.normalize, 0), "output used for input"),
    (normalize._scale, 1, "output for input", output_for_input(normalize._scale, 0), "output used for input"),
    (activation._softmax, 0, "input for output", input_for_output, "output used for input"),
    (activation._log_softmax, 0, "input for output", input_for_output, "output used for input"),
    (activation.softmax_vjp, 0, "output for input", output_for_input(activation.softmax_vjp, 1), "output used for input"),
    (activation.softmax_vjp, 1, "output for input", output_for_input(activation.softmax_vjp, 0), "output used for input"),
    (activation.log_softmax_vjp, 1, "output for input", output_for_input(activation.log_softmax_vjp, 1), "output used for input"),
    (activation._softmax, 0, "the sum detached", missing_sum, "detached branch"),
    (activation._log_softmax, 0, "the normaliser detached", missing_normaliser, "detached branch"),
    (normalize.normalize, 0, "mean and variance detached", statistics_as_constants, "detached branch"),
    *[(op, i, "raw arrays captured", detached, "detached branch") for op, arguments in NONLINEAR for i in arguments],
]


def plants() -> Iterator[Plant]:
    for op in OPS:
        made = calls(op, op.samples)
        for i in sorted({i for call in made for i in call.active}):
            images = all([call.args[i].ndim == 4 for call in made if i in call.active])
            for what, wrong, expected in [*EVERYWHERE, *OF_IMAGES * images, *OF_WINDOWS * (
                    op in CONVOLUTIONS + WINDOWS and images)]:
                yield Plant(op, i, what, wrong(i), expected)
    for op, i, what, wrong, expected in SPECIAL:
        yield Plant(op, i, what, wrong(i), expected)


def table(found: list[tuple[Plant, bool, str]]) -> str:
    lines = [f"{p.op.name:24} {p.op.names[p.argnum] if p.argnum < len(p.op.names) else p.argnum!s:5} {p.what:32} "
             f"{said:44} {'right' if said.startswith(p.expected) else 'WRONG' if failed else 'NOT NOTICED'}"
             for p, failed, said in found]
    right = sum(said.startswith(p.expected) for p, _, said in found)
    return "\n".join([*lines, f"{right} of {len(found)} right, {right / len(found):.1%}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="plants in ops of whose name this is a part")
    only = parser.parse_args().only
    print(table([(plant, *plant.diagnosis()) for plant in plants() if only in plant.op.name]))


if __name__ == "__main__":
    main()
