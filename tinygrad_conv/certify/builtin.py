"""Samples of every primitive of this package; importing this file registers them.

Small, inside each op's domain and away from its kinks, with sizes that differ from axis to axis and from
sample to sample, so that a report can tell N from C from 2.
"""
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..checkpoint import _checkpoint, checkpoint
from ..kernels.geometry import Geometry
from ..ops import activation, conv, elementwise, linalg, loss, normalize, padding, pool, reduce, shape
from ..ops.dropout import _dropout
from ..primitive import Primitive
from ..tensor import share

Sizes = tuple[int, ...]

_rng = np.random.default_rng(0)
_op: Primitive[Any]


def _normal(*size: int, away: Iterable[float] = ()) -> np.ndarray:
    """Numbers in about [-3, 3], none closer than 0.05 to a kink."""
    x = np.asarray(_rng.standard_normal(size) * 1.5)
    for kink in away:
        x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
    return x


def _positive(*size: int) -> np.ndarray:
    return np.asarray(_rng.uniform(0.3, 3.0, size))


def _distinct(*size: int) -> np.ndarray:
    """Numbers 0.1 apart in random order: no ties."""
    n = int(np.prod(size))
    return 0.1 * (_rng.permutation(n).reshape(size) - n // 2) + 0.03


def _truth(*size: int) -> np.ndarray:
    return _rng.random(size) < 0.5


SHAPES: list[Sizes] = [(), (4,), (3, 5), (2, 0)]
PAIRS: list[tuple[Sizes, Sizes]] = [((3, 5), (3, 5)), ((3, 4, 2), (4, 1)), ((), (4,)), ((0, 3), (3,))]


def _unary(ops: Iterable[Primitive[Any]], make: Any = _normal, params: Iterable[dict[str, Any]] = ({},),
           **how: Any) -> None:
    for op in ops:
        op.defsamples([(make(*size, **how), given) for size in SHAPES for given in params])


def _binary(ops: Iterable[Primitive[Any]], first: Any = _normal, second: Any = _normal) -> None:
    for op in ops:
        op.defsamples([(first(*a), second(*b)) for a, b in PAIRS])


# ----- entry by entry -----

e, a = elementwise, activation
_binary([e.equal, e.not_equal, e.less, e.less_equal, e.greater, e.greater_equal],
        lambda *n: np.round(_normal(*n)), lambda *n: np.round(_normal(*n)))
_binary([e.logical_and, e.logical_or], _truth, _truth)
_unary([e.logical_not], _truth)
_unary([e.isnan, e.isfinite], lambda *n: np.where(_truth(*n), np.nan, _normal(*n)))
_unary([e.identity, e.neg, e.exp, e.expm1, e.sin, e.cos, e.tanh, e.sigmoid, e.erf, a.silu])
_unary([e.sqrt, e.log, e.log1p, reduce._root], _positive)
_unary([e.sign, e.abs, a.relu], away=(0.0,))
_unary([e.floor, e.ceil, e.trunc], away=range(-6, 7))
_unary([e._round], away=np.arange(-6, 7) + 0.5, params=[{"decimals": 0}])
_unary([e.atan, e.sinh, e.cosh, e.asinh, e.exp2])
_unary([e.tan, e.asin, e.acos, e.atanh], lambda *n: np.tanh(_normal(*n)) * 0.9)
_unary([e.log2, e.log10], _positive)
_unary([e.acosh], lambda *n: _positive(*n) + 1.0)
_unary([e._astype], params=[{"dtype": np.dtype(np.float64)}])
_unary([e._clip], away=(-1.0, 0.5), params=[
    {"min": -1.0, "max": 0.5}, {"min": None, "max": 0.5}, {"min": -1.0, "max": None}])
_unary([a._leaky_relu], away=(0.0,), params=[{"negative_slope": 0.01}, {"negative_slope": -0.5}])
_unary([a._elu], away=(0.0,), params=[{"alpha": 1.0}, {"alpha": 0.3}])
_unary([a._softplus], away=(0.8,), params=[
    {"beta": 1.0, "threshold": 20.0}, {"beta": -0.7, "threshold": 20.0}, {"beta": 2.0, "threshold": 1.6}])
_unary([a._gelu], params=[{"approximate": "none"}, {"approximate": "tanh"}])
_unary([a._hardtanh], away=(-1.0, 0.5), params=[{"min_val": -1.0, "max_val": 0.5}])
_binary([e.add, e.sub, e.mul])
_binary([e.div, e.div_no_nan], second=_positive)
e.div_no_nan.defsamples([(_normal(*n), _positive(*n)) for n in SHAPES])
e.sqrt_vjp.defsamples([(_normal(*n), _positive(*n)) for n in SHAPES])
_binary([e.pow], _positive)
_binary([e.atan2, e.hypot, e.logaddexp])
_binary([e.floor_divide, e.remainder], lambda *n: _rng.uniform(0.1, 0.9, n),  # no whole quotients
        lambda *n: _rng.uniform(1.0, 3.0, n) * np.where(_truth(*n), -1, 1))
for _op in (e.maximum, e.minimum):
    _op.defsamples([(np.round(_normal(*m)), np.round(_normal(*n)) + 0.3) for m, n in PAIRS])
e.where.defsamples([(_truth(3, 5), _normal(3, 5), _normal(5)), (_truth(4, 1), _normal(3, 4, 2), _normal()),
                    (_truth(0, 3), _normal(0, 3), _normal(0, 3))])
a.relu_vjp.defsamples([(_normal(*n), _normal(*n, away=(0.0,))) for n in SHAPES])
a.leaky_relu_vjp.defsamples([(_normal(*n), _normal(*n, away=(0.0,)), {"negative_slope": slope})
                             for n in SHAPES for slope in (0.01, -0.5)])
a.hardtanh_vjp.defsamples([(_normal(*n), _normal(*n, away=(-1.0, 0.5)), {"min_val": -1.0, "max_val": 0.5})
                           for n in SHAPES])
_dropout.defsamples([(_normal(4, 3), _truth(4, 3) * 2.0), (_normal(3, 4, 2, 5), _truth(3, 4, 1, 1) * 1.5)])

# ----- softmax and the losses of classes -----

ALONG: list[tuple[Sizes, int]] = [((4, 3), 1), ((5, 3), 0), ((3, 4, 2, 5), 1), ((6,), 0), ((0, 3), 1)]


def _probabilities(size: Sizes, axis: int) -> np.ndarray:
    p = np.exp(_normal(*size))
    return p / p.sum(axis, keepdims=True)


for _op in (a._softmax, a._log_softmax):
    _op.defsamples([(_normal(*n), {"axis": axis}) for n, axis in ALONG])
a.softmax_vjp.defsamples([(_normal(*n), _probabilities(n, axis), {"axis": axis}) for n, axis in ALONG])
a.log_softmax_vjp.defsamples([(_normal(*n), np.log(_probabilities(n, axis)), {"axis": axis})
                              for n, axis in ALONG])
NLL: list[tuple[Sizes, Sizes]] = [((4, 3), (1,)), ((5, 3, 2), (1,)), ((4, 3), (0, 1))]
loss._nll.defsamples([(-_positive(*n), _positive(*n), {"axis": axis}) for n, axis in NLL])
loss.nll_vjp.defsamples([(_normal(*np.zeros(n).sum(axis).shape), _normal(*n), {"axis": axis})
                         for n, axis in NLL])

loss._bce.defsamples([(_rng.uniform(0.05, 0.95, n), _rng.uniform(0.05, 0.95, n)) for n in SHAPES])

# ----- sums, extrema, moves -----

AXES: list[tuple[Sizes, Sizes]] = [
    ((3, 5, 2), (1,)), ((3, 4, 5), (0, 2)), ((3, 4), (0, 1)), ((5,), (0,)), ((), ())]
for _op in (reduce._sum, reduce._mean, reduce._any, reduce._all):
    _op.defsamples([(_normal(*n), {"axis": axis, "keepdims": keep}) for n, axis in [*AXES, ((0, 3), (1,))]
                    for keep in (False, True)])
for _op in (reduce._max, reduce._min, reduce._logsumexp):
    _op.defsamples([(_distinct(*n), {"axis": axis, "keepdims": keep}) for n, axis in AXES[:4]
                    for keep in (False, True)])
for _op in (reduce._argmax, reduce._argmin):
    _op.defsamples([(_distinct(3, 4), {"axis": axis, "keepdims": keep}) for axis in (None, 0, 1)
                    for keep in (False, True)])
reduce._cumsum.defsamples([(_normal(3, 4), {"axis": axis}) for axis in (0, 1)])
shape._reshape.defsamples([(_normal(3, 4), {"shape": (2, 6)}), (_normal(), {"shape": (1,)})])
shape._transpose.defsamples([(_normal(2, 3, 4), {"axes": (2, 0, 1)}), (_normal(2, 3), {"axes": (1, 0)})])
shape._broadcast_to.defsamples([(_normal(3, 1), {"shape": (2, 3, 4)}), (_normal(), {"shape": (3,)})])
shape._roll.defsamples([(_normal(4, 3), {"shift": (1,), "axis": (0,)}),
                        (_normal(4, 3), {"shift": (-2, 5), "axis": (0, 1)})])
shape._concatenate.defsamples([(_normal(2, 3), _normal(1, 3), {"axis": 0}),
                               (_normal(2, 1), _normal(2, 3), _normal(2, 0), {"axis": 1}),
                               (_normal(2), _normal(1), _normal(3), {"axis": 0})])
padding._pad.defsamples([(_normal(2, 3), {"width": ((1, 0), (2, 3)), "value": 0.0}),
                         (_normal(3), {"width": ((2, 1),), "value": 7.0})])
INDICES: list[tuple[Sizes, tuple[Any, ...]]] = [
    ((4, 3), (slice(None), 1)), ((4, 3), (slice(3, 0, -2), None, Ellipsis)),
    ((4, 3), (np.array([0, 2, 0, 3, 0]),)), ((4, 3, 2), (slice(1, 3), np.array([[1, 1], [0, 2]]))),
    ((4, 3), (np.array([[True, False, True]] * 4),)), ((5,), (np.array([], np.int64),)), ((2, 3), (0, 1))]
shape._getitem.defsamples([(_normal(*n), {"index": index}) for n, index in INDICES])
shape._scatter_add.defsamples([(_normal(*np.zeros(n)[index].shape), {"index": index, "shape": n})
                               for n, index in INDICES])

# ----- products -----

linalg.matmul.defsamples([(_normal(*m), _normal(*n)) for m, n in (
    ((2, 3), (3, 4)), ((3, 3), (3, 3)), ((4,), (4,)), ((3,), (3, 4)), ((2, 3), (3,)),
    ((3, 1, 4, 2), (5, 2, 3)), ((0, 3), (3, 4)))])
linalg._linear.defsamples([
    (_normal(5, 3), _normal(4, 3), _normal(4)), (_normal(2, 3, 5), _normal(4, 5), _normal(4)),
    (_normal(4, 4), _normal(4, 4)), (_normal(3), _normal(2, 3)), (_normal(0, 3), _normal(4, 3), _normal(4))],
    w="out in", b="out")
EINSUMS: list[tuple[str, list[Sizes]]] = [
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij->ji", [(2, 3)]), ("i,i->", [(3,), (3,)]), ("ii->i", [(3, 3)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 5)]), ("ij,k->i", [(2, 3), (4,)]), ("ij,ij->i", [(1, 3), (2, 3)])]
linalg._einsum.defsamples([(*[_normal(*n) for n in sizes], {"subscripts": subscripts})
                           for subscripts, sizes in EINSUMS])

# ----- convolution: size, kernel, stride, padding, dilation, groups; N, C, O -----

CONVOLUTIONS: list[tuple[Any, ...]] = [
    ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 3, 2, 4),
    ((6, 7), (3, 2), (2, 3), ((0, 0), (0, 1)), (1, 1), 1, 2, 3, 5),  # rows that no window reaches
    ((6, 5), (3, 3), (2, 2), ((1, 1), (1, 0)), (1, 1), 1, 3, 3, 3),  # a last window over the edge
    ((5, 4), (2, 3), (1, 2), ((2, 0), (0, 1)), (2, 1), 2, 3, 4, 6),
    ((4, 5), (2, 3), (3, 2), ((0, 1), (1, 0)), (1, 1), 1, 4, 2, 3),  # as many windows of dilation (3,2)
    ((3, 4), (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 3, 5, 3, 3),
    ((3, 4), (2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 0, 3, 2)]


def _convolutions() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]]:
    for size, kernel, stride, pads, dilation, groups, n, c, o in CONVOLUTIONS:
        geometry = Geometry(size, kernel, stride, pads, dilation, groups)
        yield (_normal(n, c, *size), _normal(o, c // groups, *kernel), _normal(n, o, *geometry.out),
               {"geometry": geometry})


conv._conv2d.defsamples(
    [(x, w, _normal(len(w)), given) for x, w, _, given in _convolutions()]
    + [(x, w, given) for x, w, _, given in [*_convolutions()][:2]], x="n c h w", w="out in kh kw", b="out")
conv._conv_transpose2d.defsamples(
    [(g, w, _normal(x.shape[1]), given) for x, w, g, given in _convolutions()]
    + [(g, w, given) for _, w, g, given in [*_convolutions()][:2]], g="n out oh ow", w="out in kh kw", b="in")
conv._conv2d_weight.defsamples([(g, x, given) for x, _, g, given in _convolutions()], g="n out oh ow",
                               x="n c h w")

# ----- pools: size, kernel, stride, padding, dilation, ceil_mode; N, C -----

POOLS: list[tuple[Any, ...]] = [
    ((4, 6), (2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), False, 3, 2),   # tiles the plane
    ((5, 7), (2, 3), (2, 2), ((0, 1), (0, 0)), (1, 1), False, 2, 3),
    ((5, 6), (3, 2), (1, 2), ((1, 0), (0, 1)), (1, 1), False, 1, 5),   # overlapping
    ((6, 5), (3, 3), (2, 2), ((0, 0), (1, 1)), (1, 1), True, 4, 1),
    ((4, 5), (2, 3), (3, 2), ((0, 1), (1, 0)), (1, 1), False, 3, 4),   # as many with them exchanged
    ((6, 7), (2, 3), (3, 1), ((1, 1), (2, 2)), (2, 2), False, 2, 3)]


def _pools() -> Iterable[tuple[np.ndarray, Geometry]]:
    for size, kernel, stride, pads, dilation, ceil_mode, n, c in POOLS:
        yield _distinct(n, c, *size), Geometry(size, kernel, stride, pads, dilation, 1, ceil_mode)


def _with_maxima() -> Iterable[tuple[np.ndarray, np.ndarray, dict[str, Any]]]:
    for x, geometry in _pools():
        yield x, pool._max_pool2d(x, geometry=geometry).data, {"geometry": geometry}


CELLS, WINDOWS = "n c h w", "n c oh ow"
pool._max_pool2d.defsamples([(x, {"geometry": geometry}) for x, geometry in _pools()], x=CELLS)
pool.max_pool2d_scatter.defsamples([(_normal(*y.shape), x, y, given) for x, y, given in _with_maxima()],
                                   g=WINDOWS)
pool.max_pool2d_gather.defsamples([(_normal(*x.shape), x, y, given) for x, y, given in _with_maxima()],
                                  u=CELLS)
pool.max_pool2d_indices.defsamples([(x, y, given) for x, y, given in _with_maxima()])
COUNTS: list[dict[str, Any]] = [{"count_include_pad": pads, "divisor_override": divisor}
                                for pads, divisor in ((True, None), (False, None), (True, 7), (False, 2.5))]
AVERAGES = [(x, {"geometry": geometry, **COUNTS[i % 4]}) for i, (x, geometry) in enumerate(_pools())
            if geometry.dilation == (1, 1)]
pool._avg_pool2d.defsamples([(_normal(*x.shape), given) for x, given in AVERAGES], x=CELLS)
pool.avg_pool2d_spread.defsamples([(_normal(*x.shape[:2], *given["geometry"].out), given)
                                   for x, given in AVERAGES], g=WINDOWS)
Planes = list[tuple[Sizes, Sizes, Sizes]]  # N and C, the sizes of a plane, and of the result
BINS: Planes = [((3, 2), (7, 5), (3, 4)), ((2, 5), (3, 4), (5, 2)), ((1, 3), (4, 6), (2, 3))]
pool._adaptive_avg_pool2d.defsamples([(_normal(*nc, *n), {"output_size": out}) for nc, n, out in BINS],
                                     x=CELLS)
pool.adaptive_avg_pool2d_spread.defsamples([(_normal(*nc, *out), {"size": n}) for nc, n, out in BINS],
                                           g=WINDOWS)
pool._adaptive_max_pool2d.defsamples([(_distinct(*nc, *n), {"output_size": out}) for nc, n, out in BINS],
                                     x=CELLS)
PLACES: Planes = [((3, 2), (3, 4), (2, 3)), ((2, 5), (5, 2), (2, 2)), ((1, 3), (4, 5), (3, 1))]


def _places(batch: Sizes, size: Sizes, out: Sizes) -> np.ndarray:
    """Cells of planes, one or none several times."""
    cells, count = size[0] * size[1], out[0] * out[1]
    return np.array([_rng.choice(cells, count) for _ in range(batch[0] * batch[1])]).reshape(*batch, *out)


for _op in (pool.pile2d, pool._max_unpool2d):
    _op.defsamples([(_normal(*nc, *out), _places(nc, size, out), {"size": size}) for nc, size, out in PLACES])
for _op in (pool.pick2d, pool.max_unpool2d_pick):
    _op.defsamples([(_normal(*nc, *size), _places(nc, size, out)) for nc, size, out in PLACES])

# ----- normalisation: x, axes, w -----

NORMS: list[tuple[Sizes, Sizes, Sizes]] = [
    ((5, 3), (0,), (1, 3)), ((3, 2, 4, 5), (0, 2, 3), (1, 2, 1, 1)),
    ((2, 3, 2, 3, 4), (2, 3, 4), (1, 3, 2, 1, 1)), ((4, 6), (1,), (6,)),
    ((3, 2, 5), (2,), (1, 2, 1)), ((4, 3), (0, 1), ())]


def _norms() -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]]:
    for size, axes, small in NORMS:
        yield (_normal(*size) + 0.5, _normal(*size), _positive(*small), _normal(*small),
               {"axes": axes, "eps": 1e-3})


normalize.normalize.defsamples([(x, w, b, how) for x, _, w, b, how in _norms()])
normalize.normalize_adjoint.defsamples([(g, x, w, {**how, "shape": w.shape}) for x, g, w, _, how in _norms()])
normalize._scale.defsamples([
    (_normal(*n), _normal(n[1]), _normal(n[1]), _normal(n[1]), _positive(n[1]), {"eps": 1e-3})
    for n in ((5, 3), (2, 3, 5), (3, 4, 5, 2))])


def _of_a_function(*arrays: np.ndarray) -> tuple[Any, ...]:
    """The call that `checkpoint` makes of a function of these."""
    leaves = [share(a) for a in arrays]
    for t in leaves:
        t.requires_grad = True
    made: Any = checkpoint(lambda x, w: elementwise.tanh(x * w) * x, *leaves)
    return (*arrays, made.node.params)


_checkpoint.defsamples([_of_a_function(_normal(3, 4), _normal(4))])
