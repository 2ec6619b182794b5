"""3x3 convolutions by Winograd's method: the numbers of the definition, its limits, and when it is taken."""
from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.plant_errors import rewritten
from tinygrad_conv.kernels import conv as plain
from tinygrad_conv.kernels.geometry import conv_geometry

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import family, machine, tiled, winograd  # noqa: E402


def last(a: np.ndarray) -> np.ndarray:
    """The same numbers, channels last in memory."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def cases(rng: np.random.Generator, count: int):
    """(n, c, o, geometry): small, odd, padded and cropped on each side."""
    while count:
        padding = tuple(map(tuple, rng.integers(-1, 4, (2, 2)).tolist()))
        try:
            geometry = conv_geometry("conv2d", tuple(rng.integers(1, 10, 2).tolist()), (3, 3), 1, padding, 1, 1)
        except ValueError:
            continue
        count -= 1
        yield int(rng.integers(1, 4)), int(rng.integers(1, 41)), int(rng.integers(1, 70)), geometry


def operands(rng: np.random.Generator, n: int, c: int, o: int, geometry, kind: type) -> list[np.ndarray]:
    shapes = (n, c, *geometry.size), (o, c, 3, 3), (o,), (n, o, *geometry.out)
    return [rng.standard_normal(shape).astype(kind) for shape in shapes]


def near(found: np.ndarray | None, right: np.ndarray, scale: np.ndarray, kind: type) -> None:
    """Off by at most some roundings of the sum of the products' sizes."""
    assert found is not None and found.dtype == kind and found.shape == right.shape
    assert (np.abs(found - right) <= 8 * np.finfo(kind).eps * scale.max()).all()


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_the_three_maps_equal_the_definition(rng, kind):
    for n, c, o, geometry in cases(rng, 14):
        x, w, b, g = operands(rng, n, c, o, geometry, kind)
        if rng.random() < 0.5:
            x, g = last(x), last(g)
        wide = [a.astype(np.float64) for a in (x, w, b, g)]
        sizes = [np.abs(a) for a in wide]
        near(tiled.conv2d(x, w, b, geometry), plain.conv2d(*wide[:3], geometry), plain.conv2d(*sizes[:3], geometry), kind)
        near(tiled.weight_adjoint(g, x, geometry), plain.weight_adjoint(wide[3], wide[0], geometry),
             plain.weight_adjoint(sizes[3], sizes[0], geometry), kind)
        b = rng.standard_normal(c).astype(kind)
        near(tiled.input_adjoint(g, w, b, geometry), plain.input_adjoint(wide[3], wide[1], b.astype(np.float64), geometry),
             plain.input_adjoint(sizes[3], sizes[1], np.abs(b).astype(np.float64), geometry), kind)


def test_the_three_maps_are_adjoint(rng):
    for n, c, o, geometry in cases(rng, 5):
        x, w, _, g = operands(rng, n, c, o, geometry, np.float64)
        t = np.vdot(g, tiled.conv2d(x, w, None, geometry))
        scale = 1e-13 * np.abs(g).sum() * np.abs(w).max() * np.abs(x).max()
        assert abs(np.vdot(tiled.input_adjoint(g, w, None, geometry), x) - t) < scale
        assert abs(np.vdot(tiled.weight_adjoint(g, x, geometry), w) - t) < scale


LARGE = conv_geometry("conv2d", (12, 11), (3, 3), 1, 1, 1, 1)  # with these channels worth it


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("which", range(3))
def test_nan_inf_and_overflow_travel_as_in_numpy(rng, which, bad):
    """Sums of inputs spread them over a tile, or overflow before the products do: then the definition computes."""
    x, w, b, g = operands(rng, 4, 32, 32, LARGE, np.float32)
    assert tiled.worth(LARGE, 4, 32, 32, x.dtype)
    (x, w, g)[which][0, 3, 1:3, 1:3] = bad
    if bad == 3e38:
        w *= np.float32(1e-3)
        g *= np.float32(1e-3)
    with np.errstate(all="ignore"):
        for name, call in (("conv2d", (x, w, b)), ("input_adjoint", (g, w, None)), ("weight_adjoint", (g, x))):
            found, right = (getattr(where, name)(*call, LARGE) for where in (family, plain))
            np.testing.assert_array_equal(np.isnan(found), np.isnan(right))
            finite = np.isfinite(right) & np.isfinite(found)
            np.testing.assert_array_equal(np.isposinf(found) & ~finite, np.isposinf(right) & ~finite)
            np.testing.assert_allclose(found[finite], right[finite], rtol=1e-3, atol=1e-3 * np.abs(right[finite]).max())


def test_what_is_not_finite_is_told(rng):
    x, w, _, g = operands(rng, 4, 32, 32, LARGE, np.float64)
    for bad in (np.nan, np.inf):
        for a in (x, g):
            before, a[-1, -1, -1, -1] = a[-1, -1, -1, -1], bad
            assert tiled.weight_adjoint(g, x, LARGE) is None
            assert (tiled.conv2d(x, w, None, LARGE) is None) == (a is x)
            assert (tiled.input_adjoint(g, w, None, LARGE) is None) == (a is g)
            a[-1, -1, -1, -1] = before


def test_many_channels_take_it_and_few_or_other_kernels_do_not():
    def worth(c, o, kernel=(3, 3), stride=1, dilation=1, groups=1, n=64, size=(14, 14)):
        return tiled.worth(conv_geometry("conv2d", size, kernel, stride, 1, dilation, groups), n, c, o, np.dtype(np.float32))
    assert worth(32, 64) and worth(128, 128) and worth(64, 64, n=1)
    assert not worth(1, 32) and not worth(3, 32) and not worth(64, 1) and not worth(64, 64, n=1, size=(3, 3))
    assert not worth(64, 64, (5, 5)) and not worth(64, 64, stride=2) and not worth(64, 64, dilation=2)
    assert not worth(64, 64, groups=2)


def test_ops_with_many_channels_take_it_both_ways(rng, monkeypatch):
    names = []
    for name in ("conv2d", "input_adjoint", "weight_adjoint"):
        monkeypatch.setattr(tiled, name, lambda *call, name=name, real=getattr(tiled, name): (names.append(name), real(*call))[1])
    x, w = (tg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((2, 32, 16, 16), (48, 32, 3, 3)))
    y = tg.conv2d(x, w, padding=1)
    g = tg.tensor(rng.standard_normal(y.shape))
    y.backward(g)
    assert sorted(names) == ["conv2d", "input_adjoint", "weight_adjoint"]
    with tg.use_kernels("numpy"):
        u, v = (tg.tensor(t.data, requires_grad=True) for t in (x, w))
        z = tg.conv2d(u, v, padding=1)
        z.backward(g)
    for a, b in ((y, z), (x.grad, u.grad), (w.grad, v.grad)):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-11 * np.abs(b.data).max())


@pytest.mark.parametrize("width, registers", [(32, 16), (16, 16), (64, 32), (16, 32)])
def test_registers_of_other_sizes_give_the_same_numbers(rng, monkeypatch, width, registers):
    narrow = machine.target()._replace(width=width, registers=registers)
    tiled._tiling.cache_clear()
    for module in (tiled, sys.modules["tinygrad_conv.kernels.compiled.arrays"]):
        monkeypatch.setattr(module, "target", lambda: narrow)
    try:
        x, w, b, g = operands(rng, 2, 20, 37, LARGE, np.float64)
        shape = tiled._tiling("double", 20, 37)
        assert shape.lanes == width // 8 and shape.tile * shape.vectors <= (24 if registers == 32 else 12)
        np.testing.assert_allclose(tiled.conv2d(x, w, b, LARGE), plain.conv2d(x, w, b, LARGE), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(tiled.weight_adjoint(g, x, LARGE), plain.weight_adjoint(g, x, LARGE), rtol=1e-9, atol=1e-10)
    finally:
        tiled._tiling.cache_clear()


def test_the_matrices_make_a_convolution(rng):
    """y = A^T [(G w G^T) * (B^T d B)] A, by NumPy, against the definition; each number of them matters."""
    A, B, G = (np.array(m, float) for m in (winograd.A, winograd.B, winograd.G))
    d, w = rng.standard_normal((4, 4)), rng.standard_normal((3, 3))
    y = A.T @ ((G @ w @ G.T) * (B @ d @ B.T)) @ A
    np.testing.assert_allclose(y, [[(d[i:i + 3, j:j + 3] * w).sum() for j in range(2)] for i in range(2)], rtol=1e-12)


def test_results_are_the_same_bits_every_time(rng):
    x, w, b, g = operands(rng, 8, 32, 32, LARGE, np.float32)
    first = tiled.conv2d(x, w, b, LARGE), tiled.weight_adjoint(g, x, LARGE)
    for _ in range(20):
        assert np.array_equal(tiled.conv2d(x, w, b, LARGE), first[0])
        assert np.array_equal(tiled.weight_adjoint(g, x, LARGE), first[1])


ERRORS = {  # in the text of the kernels
    "the bias dropped": ("value = value + bias", "value = value"), "a product dropped": ("range(whole, length)", "range(whole, length - 1)"),
    "factors of the transforms dropped": ("if abs(factor) == 1 else", "if True else"),
    "signs of the transforms dropped": ("if factor > 0 else total - term", "if factor > 0 else total + term"),
    "a tap of the filter twice": ("(3 * a + b) * c * width", "(3 * a + a) * c * width"),
    "the first tile's gradient for all": ("n, i, j = tiles.place(start + t)", "n, i, j = tiles.place(start + 0)")}


@pytest.mark.parametrize("what", ERRORS)
def test_an_error_in_a_kernel_is_noticed(rng, what):
    x, w, b, g = operands(rng, 2, 18, 33, LARGE, np.float64)

    def differ() -> bool:
        return not (np.allclose(tiled.conv2d(x, w, b, LARGE), plain.conv2d(x, w, b, LARGE), rtol=1e-9)
                    and np.allclose(tiled.weight_adjoint(g, x, LARGE), plain.weight_adjoint(g, x, LARGE), rtol=1e-9))
    assert not differ()
    with rewritten("winograd", *ERRORS[what]):
        assert differ()


PROTECTED = """
import sys
from tests import test_compiled as fences
exec(fences.PROTECTED[:fences.PROTECTED.index("rng = ")])
from tests import test_winograd as cases
from tinygrad_conv.kernels.compiled import tiled

rng = np.random.default_rng(int(sys.argv[1]))
for n, c, o, geometry in cases.cases(rng, 6):
    at_end, kind = bool(rng.integers(2)), rng.choice([np.float32, np.float64])
    tiled.np = Numpy(at_end)
    x, w, b, g = [tiled.np.ascontiguousarray(a) for a in cases.operands(rng, n, c, o, geometry, kind)]
    tiled.conv2d(x, w, b, geometry), tiled.input_adjoint(g, w, None, geometry), tiled.weight_adjoint(g, x, geometry)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_its_kernels_stay_inside_their_arrays(seed):
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"
