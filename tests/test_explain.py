"""The conv microscope: the printed sum is the tensor's value, the terms are the index equation's."""
from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st

import nn
import tinygrad_conv as tg
from tinygrad_conv.explain.picture import Sheet, cut
from tinygrad_conv.explain.terms import line
from tinygrad_conv.explain.text import short

small = st.integers(1, 3)
sides = st.tuples(st.integers(-2, 3), st.integers(-2, 3))
geometry = st.fixed_dictionaries({
    "groups": small, "filters": small, "depth": small, "n": small,
    "size": st.tuples(st.integers(3, 8), st.integers(3, 8)), "kernel": st.tuples(small, small),
    "stride": st.tuples(small, small), "dilation": st.tuples(small, small), "padding": st.tuples(sides, sides),
    "extra": st.tuples(st.integers(0, 2), st.integers(0, 2)), "transposed": st.booleans(), "bias": st.booleans(),
    "seed": st.integers(0, 10**6)})


def call(case, dtype=np.float64):
    """x, w, b, g as tensors of `case` and the convolution's result; None if it has no output."""
    rng = np.random.default_rng(case["seed"])
    make = lambda *shape: tg.tensor(rng.standard_normal(shape).astype(dtype), requires_grad=True)
    inputs, outputs = case["groups"] * case["depth"], case["groups"] * case["filters"]
    x = make(case["n"], inputs, *case["size"])
    b = make(outputs) if case["bias"] else None
    options = {name: case[name] for name in ("stride", "padding", "dilation", "groups")}
    try:
        if case["transposed"]:
            w = make(inputs, case["filters"], *case["kernel"])
            extra = tuple(min(e, max(s, d) - 1) for e, s, d in zip(case["extra"], case["stride"], case["dilation"]))
            y = tg.conv_transpose2d(x, w, b, output_padding=extra, **options)
        else:
            w = make(outputs, case["depth"], *case["kernel"])
            y = tg.conv2d(x, w, b, **options)
    except ValueError:
        return None
    return x, w, b, y, rng


def pick(shape, rng):
    return tuple(int(rng.integers(n)) for n in shape)


@settings(max_examples=150)
@given(case=geometry)
@example(case={"groups": 2, "filters": 2, "depth": 1, "n": 2, "size": (8, 7), "kernel": (3, 2), "stride": (2, 3),
               "dilation": (2, 1), "padding": ((2, -1), (-2, 3)), "extra": (1, 2), "transposed": True,
               "bias": True, "seed": 1})
def test_each_sum_is_what_the_tensor_and_its_gradients_hold(case):
    made = call(case)
    assume(made is not None)
    x, w, b, y, rng = made
    g = rng.standard_normal(y.shape)
    at = {"y": pick(y.shape, rng), "x": pick(x.shape, rng), "w": pick(w.shape, rng)}
    found = {"y": tg.explain.output(y, at["y"]), "x": tg.explain.input(y, at["x"], g),
             "w": tg.explain.weight(y, at["w"], g)}
    y.backward(g)
    for name, array in (("y", y.data), ("x", x.grad.data), ("w", w.grad.data)):
        why = found[name]
        scale = np.abs(why.products).sum() + abs(why.bias or 0)
        assert why.value == array[at[name]]
        assert abs(why.total - why.value) <= 1e-12 * scale + 1e-300
        assert why.total == pytest.approx(why.partials.sum() + (why.bias or 0), rel=0, abs=1e-13 * scale)
        assert why.terms["product"].sum() == pytest.approx(why.total - (why.bias or 0), rel=0, abs=1e-13 * scale)


@settings(max_examples=60)
@given(case=geometry)
def test_each_term_is_a_solution_of_the_index_equation_and_none_is_missing(case):
    """Looked for independently: all indices, tried one by one."""
    made = call(case)
    assume(made is not None)
    x, w, b, y, rng = made
    s, d, groups = case["stride"], case["dilation"], case["groups"]
    few, many = (x, y) if case["transposed"] else (y, x)  # the small side and the large
    pad = y.node.params["geometry"].padding
    why = tg.explain.input(y, pick(x.shape, rng))
    small, large = ("c", "o") if case["transposed"] else ("o", "c")
    solutions = set()
    for o, k, a, b_, i, j in np.ndindex(w.shape[0], *w.shape[1:], *few.shape[2:]):
        c = o // (w.shape[0] // groups) * w.shape[1] + k
        u, v = i * s[0] + a * d[0] - pad[0][0], j * s[1] + b_ * d[1] - pad[1][0]
        asked = (o, i, j) if case["transposed"] else (c, u, v)
        if asked == why.at[1:]:
            solutions.add((why.at[0], o, c, k, i, j, a, b_, u, v, 0 <= u < many.shape[2] and 0 <= v < many.shape[3]))
    names = ["n", small, large, "k", "i", "j", "a", "b", "u", "v", "inside"]
    assert set(why.terms[names].tolist()) == solutions
    assert len(why.terms) == len(solutions)
    for t in why.terms:
        assert t["w"] == w.data[t[small], t["k"], t["a"], t["b"]] and t["product"] == t["g"] * t["w"]
        assert t["g"] == float(t["inside"])  # the default cotangent is ones, and 0 in the padding


@settings(max_examples=20)
@given(case=geometry)
def test_float32_agrees_to_its_rounding_and_the_picture_is_well_formed(case):
    made = call(case, np.float32)
    assume(made is not None)
    x, w, b, y, rng = made
    for why in (tg.explain.output(y, pick(y.shape, rng)), tg.explain.input(y, pick(x.shape, rng)),
                tg.explain.weight(y, pick(w.shape, rng))):
        assert abs(why.total - why.value) <= 1e-5 * (np.abs(why.products).sum() + abs(why.bias or 0))
        assert ET.fromstring(why._repr_svg_()).tag.endswith("svg")
        assert f"sum of {why.products.size} products" in str(why)
        assert repr(why.total) in str(why)


@pytest.fixture
def example_call(rng):
    """x (2, 4, 9, 9), w (4, 2, 3, 3), b, y = conv2d, stride 2, padding 1, groups 2."""
    x, w, b = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 4, 9, 9), (4, 2, 3, 3), (4,)))
    return x, w, b, tg.conv2d(x, w, b, stride=2, padding=1, groups=2)


def test_a_pixel_is_a_row_of_im2col_times_a_filter(example_call):
    x, w, b, y = example_call
    why = tg.explain.output(y, (1, 3, 2, 4))
    number, row = why.im2col
    padded = np.pad(x.data, [(0, 0), (0, 0), (1, 1), (1, 1)])
    assert number == (1 * 5 + 2) * 5 + 4
    assert np.array_equal(row, padded[1, 2:4, 4:7, 8:11].ravel())
    assert row @ w.data[3].ravel() + b.data[3] == pytest.approx(y.data[1, 3, 2, 4], rel=1e-12)
    assert why.terms["inside"].tolist() == ([True, True, False] * 6)
    assert tg.explain.input(y, (0, 0, 0, 0)).im2col is None


def test_the_formula_has_the_numbers_put_in(example_call):
    _, _, _, y = example_call
    text = str(tg.explain.output(y, (0, 3, 2, 4)))
    assert "y[n,o,i,j] = sum over k,a,b of x[n,2*(o//2)+k,2*i+a-1,2*j+b-1] w[o,k,a,b] + bias[o]" in text
    assert "y[0,3,2,4] = sum over k,a,b of x[0,2+k,2*2+a-1,2*4+b-1] w[3,k,a,b] + bias[3]" in text
    text = str(tg.explain.input(y, (0, 1, 3, 4)))
    assert "dx[0,1,3,4] = sum over o,a,b of g[0,o,(3+1-a)/2,(4+1-b)/2] w[o,1,a,b], o = 0..1" in text
    text = str(tg.explain.weight(y, (3, 0, 1, 2)))
    assert "dw[3,0,1,2] = sum over n,i,j of x[n,2,2*i+1-1,2*j+2-1] g[n,3,i,j]" in text
    plain = str(tg.explain.output(tg.conv2d(tg.ones(1, 1, 3, 3, requires_grad=True), tg.ones(1, 1, 2, 2)), (0, 0, 1, 0)))
    assert "y[n,o,i,j] = sum over c,a,b of x[n,c,i+a,j+b] w[o,c,a,b]\n" in plain


def test_the_gradient_may_come_from_a_loss_an_array_or_nowhere(example_call):
    x, w, b, y = example_call
    loss = (tg.relu(y) ** 2.0).mean()
    from_loss = tg.explain.weight(y, (3, 0, 1, 2), loss)
    g = 2 * np.maximum(y.data, 0) / y.size
    assert from_loss.total == pytest.approx(tg.explain.weight(y, (3, 0, 1, 2), g).total, rel=1e-12)
    computed = tg.explain.weight(y, (3, 0, 1, 2), tg.relu(y) * (2 / y.size))  # of y's shape: a cotangent
    assert computed.total == pytest.approx(from_loss.total, rel=1e-6)
    ones = tg.explain.weight(y, (3, 0, 1, 2))
    assert w.grad is None and x.grad is None  # looking changes nothing
    loss.backward()
    assert from_loss.value == w.grad.data[3, 0, 1, 2]
    assert ones.total == pytest.approx(ones.terms["x"].sum(), rel=1e-12)


def test_indices_are_written_with_the_axes_one_sees(rng):
    x, w = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((2, 5, 6), (3, 2, 3, 3)))
    y = tg.conv2d(x, w, padding=1)
    why = tg.explain.output(y, (2, 4, 5))
    assert why.value == y.data[2, 4, 5] and "y[2,4,5] = sum over c,a,b of x[c,4+a-1,5+b-1] w[2,c,a,b]" in str(why)
    assert tg.explain.input(y, (1, 4, 5), y.data).total == pytest.approx(
        tg.grad(lambda x: (tg.conv2d(x, w, padding=1) ** 2.0).sum() * 0.5)(x).data[1, 4, 5], rel=1e-12)
    assert "sum over i,j of x[1,i+2-1,j+0-1] g[2,i,j]" in str(tg.explain.weight(y, (2, 1, 2, 0)))
    last = tg.conv2d(np.moveaxis(x.data, 0, 2)[None], w, padding=1, layout="NHWC")
    why = tg.explain.output(last, (0, 4, 5, 2))
    assert why.value == pytest.approx(y.data[2, 4, 5], rel=1e-12) and "y[0,4,5,2] = " in str(why)
    g = rng.standard_normal(last.shape)
    assert tg.explain.weight(last, (2, 1, 0, 0), g).total == pytest.approx(
        tg.explain.weight(y, (2, 1, 0, 0), np.moveaxis(g[0], 2, 0)).total, rel=1e-12)


@pytest.mark.parametrize("lead", [(2,), ()])
@pytest.mark.parametrize("op", [tg.conv1d, tg.conv_transpose1d])
def test_one_dimension_has_one_index(rng, lead, op):
    x, w = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((*lead, 3, 7), (3, 3, 2)))
    y = op(x, w, stride=2, padding=1)
    assert tg.explain.output(y, (0,) * len(lead) + (2, 1)).value == y.data[(0,) * len(lead) + (2, 1)]
    whys = [tg.explain.input(y, (1,) * len(lead) + (2, 3), y.data), tg.explain.weight(y, (1, 2, 1), y.data)]
    y.backward(y.data)
    assert [w.value for w in whys] == [x.grad.data[(1,) * len(lead) + (2, 3)], w.grad.data[1, 2, 1]]
    assert all(abs(w.total - w.value) < 1e-12 for w in whys)


def test_a_line_is_called_and_drawn_without_rows(rng):
    x, w = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((1, 3, 8), (1, 3, 3)))
    why = tg.explain.output(tg.conv1d(x, w, stride=2, padding=1), (0, 0, 0))
    assert str(why).startswith("conv1d 3 stride 2 padding 1\n")
    svg = why._repr_svg_()
    assert "in the order (c,b)" in svg and ">2,1<" in svg and ">2,0,1<" not in svg


def test_a_sample_of_height_1_is_no_line(rng):
    x, w = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 1, 7), (1, 3, 1, 3)))
    y = tg.conv2d(x, w)
    why = tg.explain.output(y, (0, 0, 2))
    assert str(why).startswith("conv2d 1x3\n  y[o,i,j] = ")
    flat = tg.tensor(w.data.reshape(1, 9), requires_grad=True)  # no conv1d's weight either
    assert str(tg.explain.output(tg.conv2d(x, flat.reshape(w.shape)), (0, 0, 2))).startswith("conv2d 1x3\n  y[o,i,j] = ")
    assert tg.explain.weight(y, (0, 2, 0, 1)).value == pytest.approx(x.data[2, 0, 1:6].sum())


def test_output_padding_is_named_as_it_was_given(rng):
    x, w = tg.tensor(rng.standard_normal((1, 2, 3, 3)), requires_grad=True), rng.standard_normal((2, 1, 3, 3))
    y = tg.conv_transpose2d(x, w, stride=2, padding=1, output_padding=(1, 0))
    assert str(tg.explain.output(y, (0, 0, 5, 4))).startswith(
        "conv_transpose2d 3x3 stride 2 padding 1 output_padding (1,0)\n")


def test_a_convolution_inside_a_network_is_found_by_its_name(rng):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 2, 3, padding=1, rng=rng)
            self.twice = nn.Conv2d(2, 2, 3, padding=1, rng=rng)

        def forward(self, x):
            return self.twice(tg.relu(self.twice(self.stem(x))))

    net = Net()
    loss = (net(tg.ones(1, 1, 5, 5)) ** 2.0).sum()
    first, second = (tg.explain.find(loss, name) for name in ("twice", "twice#2"))
    assert np.array_equal(second.data, net(tg.ones(1, 1, 5, 5)).data)
    whys = [tg.explain.weight(y, (1, 0, 2, 2), loss) for y in (first, second)]
    loss.backward()
    assert sum(why.total for why in whys) == pytest.approx(net.twice.weight.grad.data[1, 0, 2, 2], rel=1e-4)
    with pytest.raises(KeyError, match="stem, twice, twice#2"):
        tg.explain.find(loss, "head")
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        tg.explain.find(loss, "stem")


@pytest.mark.parametrize("ask, index, says", [
    ("output", (0, 4, 0, 0), r"output: index 4 is out of range for axis o of size 4"),
    ("output", (0, 0, 0, 5), r"axis j of size 5"), ("input", (0, 0, 9, 0), r"input: .*axis u of size 9"),
    ("input", (0, 0, 0, -10), r"axis v of size 9"), ("weight", (0, 2, 0, 0), r"weight: .*axis c of size 2"),
    ("weight", (0, 0, 3, 0), r"axis a of size 3"), ("output", (0, 1, 2), r"4 whole numbers \(n,o,i,j\)")])
def test_an_index_out_of_range_names_the_axis(example_call, ask, index, says):
    with pytest.raises(IndexError, match=says):
        getattr(tg.explain, ask)(example_call[3], index)


def test_negative_indices_count_from_the_end(example_call):
    y = example_call[3]
    assert tg.explain.output(y, (-1, -1, -1, -1)).at == (1, 3, 4, 4)
    with pytest.raises(TypeError, match="whole numbers"):
        tg.explain.output(y, (0, 0.5, 0, 0))
    with pytest.raises(TypeError, match="whole numbers"):
        tg.explain.output(y, 3)


def test_what_is_no_convolution_is_refused_with_advice(example_call):
    x, w, b, y = example_call
    with pytest.raises(TypeError, match=r"made by relu: pass what the convolution itself returned.*explain.find"):
        tg.explain.output(tg.relu(y), (0, 0, 0, 0))
    with pytest.raises(TypeError, match="no recorded call.*outside no_grad"):
        tg.explain.output(tg.conv2d(x.data, w.data, groups=2), (0, 0, 0, 0))
    with pytest.raises(TypeError, match="got ndarray"):
        tg.explain.output(y.data, (0, 0, 0, 0))
    with pytest.raises(TypeError, match="find: expects a tensor, .* got ndarray"):
        tg.explain.find(y.data, "conv2d")
    with pytest.raises(TypeError, match="in another shape"):
        tg.explain.output(tg.reshape(y, (2, -1)), (0, 0))
    with pytest.raises(ValueError, match=r"g must have the shape of y, \(2, 4, 5, 5\)"):
        tg.explain.weight(y, (0, 0, 0, 0), np.ones((2, 4, 5)))

    @tg.primitive
    def conv2d(x):  # a reader's own op of the same name
        return x * 1.0

    with pytest.raises(TypeError, match="made by conv2d"):
        tg.explain.output(conv2d(x), (0, 0, 0, 0))


def test_used_up_or_changed_calls_are_refused(example_call):
    x, w, b, y = example_call
    y.backward(y.data, retain_graph=True)
    tg.explain.output(y, (0, 0, 0, 0))
    w.mutate()[0] = 1.0
    with pytest.raises(RuntimeError, match="the weight of this conv2d was changed in place"):
        tg.explain.output(y, (0, 0, 0, 0))
    again = tg.conv2d(x, w, groups=2)
    again.sum().backward()
    for ask in (tg.explain.output, tg.explain.input, tg.explain.weight):
        with pytest.raises(RuntimeError, match=r"backward\(\) has freed.*retain_graph=True"):
            ask(again, (0, 0, 0, 0))


def test_a_loss_without_a_way_back_is_refused(example_call):
    y = example_call[3]
    with pytest.raises(ValueError, match="or be a loss computed from y"):
        tg.explain.input(y, (0, 0, 0, 0), (y.detach() * 2.0).sum())


def test_a_pixel_that_nothing_reaches_says_so():
    x = tg.ones(1, 1, 6, 6, requires_grad=True)
    why = tg.explain.input(tg.conv2d(x, tg.ones(1, 1, 1, 1), stride=3), (0, 0, 1, 1))
    assert (why.total, why.value, len(why.terms)) == (0.0, 0.0, 0)
    assert "Nothing meets here" in str(why) and "Nothing meets here" in why._repr_svg_()
    assert 'class="unread"' in why._repr_svg_()


def test_the_picture_marks_padding_and_letters_and_counts_what_it_leaves_out(rng):
    x = tg.tensor(rng.standard_normal((1, 6, 30, 30)), requires_grad=True)
    y = tg.conv2d(x, tg.tensor(rng.standard_normal((2, 6, 3, 3))), padding=1)
    corner, middle = (tg.explain.output(y, (0, 1, k, k))._repr_svg_() for k in (0, 15))
    assert 'class="padding"' in corner and 'class="padding"' not in middle
    strips = [svg[svg.rindex("im2col"):].count('class="padding"') for svg in (corner, middle)]
    assert strips == [12 + 1, 0]  # cells of the row, and the legend's
    for svg in (corner, middle):
        assert "Not shown: 3 of 6 channels" in svg and "…" in svg and "⋮" in svg
        texts = [t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        # each letter on the patch, the weights and the products of three channels, and in the im2col strip
        assert [texts.count(letter) for letter in "AI"] == [9 + 2 * 3, 9 + 2 * 2]
    assert "Not shown: 3 of 6 channels" in str(tg.explain.output(y, (0, 1, 0, 0)))
    why = str(tg.explain.weight(y, (1, 0, 0, 0)))
    assert "900 products, sum" in why and "sum of 900 products" in why and "..29" in why


# x, w, options: the usual ones, and those with most cells: long kernels, many samples, many digits
SHAPES = [((64, 64, 32, 32), (64, 64, 3, 3), {"padding": 1}), ((64, 8, 28, 28), (16, 8, 5, 5), {"padding": 2}),
          ((8, 3, 64, 64), (16, 3, 7, 7), {"stride": 2, "padding": 3}), ((4, 6, 40, 40), (4, 6, 11, 11), {"padding": 5}),
          ((2, 3, 60, 60), (4, 3, 25, 25), {"padding": 12}), ((2, 3, 60, 60), (4, 3, 26, 26), {}), ((2, 3, 60, 60), (4, 3, 27, 27), {}),
          ((2, 3, 70, 70), (4, 3, 20, 20), {"dilation": 2, "padding": (19, 19)}), ((2, 4, 30, 30), (4, 4, 9, 26), {}),
          ((32, 32, 14, 14), (32, 1, 3, 3), {"groups": 32, "padding": 1}), ((16, 4, 400), (4, 4, 200), {"padding": 99})]


@pytest.mark.parametrize("scale", [1.0, 1.23456e-9])
@pytest.mark.parametrize("x_shape, w_shape, options", SHAPES)
def test_a_cell_of_a_notebook_is_below_100_kilobytes(x_shape, w_shape, options, scale, rng):
    x, w = (tg.tensor(-scale * rng.random(s).astype(np.float32), requires_grad=True) for s in (x_shape, w_shape))
    y = (tg.conv2d if len(x_shape) == 4 else tg.conv1d)(x, w, **options)
    for ask, shape in ((tg.explain.output, y.shape), (tg.explain.input, x.shape), (tg.explain.weight, w.shape)):
        cell = ask(y, tuple(n // 2 for n in shape))._repr_html_()  # begins with the picture
        assert len(cell.encode()) < 100_000 and ET.fromstring(cell[:cell.index("</svg>") + 6]) is not None, ask


def test_a_picture_says_how_many_channels_it_leaves_out_for_want_of_room(rng):
    x = tg.tensor(rng.standard_normal((1, 3, 60, 60)), requires_grad=True)
    why = tg.explain.output(tg.conv2d(x, tg.tensor(rng.standard_normal((1, 3, 25, 25)))), (0, 0, 9, 9))
    shown = why._repr_svg_().partition("</desc>")[2]
    assert [c for c in range(3) if f"x[0,{c},:,:]" in shown] == [np.abs(why.partials).argmax()]
    assert "Not shown: 2 of 3 channels" in shown and "Not shown" not in str(why)  # text has all three


def test_the_largest_channels_come_first(rng):
    x = tg.tensor(np.ones((1, 5, 3, 3)), requires_grad=True)
    y = tg.conv2d(x, tg.tensor(np.array([1.0, -5.0, 0.0, np.nan, 3.0]).reshape(1, 5, 1, 1)))
    for text in (str(tg.explain.output(y, (0, 0, 1, 1))), tg.explain.output(y, (0, 0, 1, 1))._repr_svg_().partition("</desc>")[2]):
        places = [text.index(f"x[0,{c},:,:]") for c in (3, 1, 4)]
        assert places == sorted(places) and "x[0,0,:,:]" not in text and "Not shown: 2 of 5 channels" in text
    assert "sum of 5 products: nan - 5 + 3 + 2 more (1)" in str(tg.explain.output(y, (0, 0, 1, 1)))


def test_a_quantity_has_one_colour_whatever_is_asked(example_call):
    """As in the gallery: input blue, gradient green, filter orange."""
    fills = {"x": "#d3e8f6", "g": "#c6e8dc", "w": "#fbe2b4"}
    y = example_call[3]
    for ask, names in ((tg.explain.output, "xw"), (tg.explain.input, "gw"), (tg.explain.weight, "xg")):
        svg = ask(y, (0, 0, 1, 1))._repr_svg_()
        assert {name for name, fill in fills.items() if fill in svg} == {*names}


def test_names_are_escaped_and_the_picture_is_the_same_each_time(example_call):
    x, w, b, _ = example_call
    with tg.scope("<script>alert(1)</script>"):
        y = tg.conv2d(x, w, b, stride=2, padding=1, groups=2)
    why = tg.explain.input(y, (0, 0, 4, 4))
    assert "<script" not in why._repr_html_() and "&lt;script" in why._repr_svg_()
    assert why._repr_svg_() == tg.explain.input(y, (0, 0, 4, 4))._repr_svg_()


def test_save_writes_a_whole_file_or_none(example_call, tmp_path, monkeypatch):
    why = tg.explain.output(example_call[3], (0, 0, 0, 0))
    assert why.save(tmp_path / "new" / "y.svg").read_text(encoding="utf-8") == why._repr_svg_()
    page = why.save(tmp_path / "y.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and "sum of 18 products" in page and "http" not in re.sub(
        r'xmlns="[^"]*"', "", page)
    with pytest.raises(ValueError, match=r"\.svg or \.html"):
        why.save(tmp_path / "y.png")
    before = (tmp_path / "y.html").read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        why.save(tmp_path / "y.html")
    assert (tmp_path / "y.html").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "y.html"]


def test_the_demo_shows_all_three_questions(tmp_path):
    done = subprocess.run([sys.executable, "-m", "demos.microscope", str(tmp_path)], capture_output=True, text=True,
                          cwd=Path(__file__).parent.parent, timeout=600)
    assert "the three sums equal y, x.grad and weight.grad there" in done.stdout, done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        f"microscope_{name}.{ending}" for name in ("input", "output", "weight") for ending in ("html", "svg")]


@given(st.integers(1, 40), st.integers(-3, 0), st.integers(1, 20), st.data())
def test_a_cut_keeps_what_it_should(count, first, fits, data):
    hits = data.draw(st.lists(st.integers(first, first + count - 1), max_size=4))
    shown = cut(first, first + count - 1, hits, fits)
    kept = [p for p in shown if p is not None]
    assert kept == list(range(kept[0], kept[-1] + 1)) and len(kept) == min(count, max(len(kept), 1))
    assert len(kept) <= max(fits, 1) and first <= kept[0] and kept[-1] < first + count
    assert (shown[0] is None) == (kept[0] > first) and (shown[-1] is None) == (kept[-1] < first + count - 1)
    if hits and max(hits) - min(hits) < fits:
        assert set(hits) <= set(kept)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_short_number_fits_its_cell(v):
    assert len(short(v)) <= 9 and (np.isnan(v) or not np.isfinite(v) or abs(float(short(v)) - v) <= 0.06 * abs(v))


def test_the_large_side_knows_which_cells_no_window_covers():
    axis = line((3, 1, 7), 3, 1, (0, 0), i=0)
    assert axis.read == {0, 3, 6}


def test_the_cells_a_line_reads_begin_at_the_padding_before_it():
    assert line((3, 2, 8), 3, 1, (2, 0), u=0).read == {-2, -1, 1, 2, 4, 5}


def test_positions_around_hits_that_can_be_read_once():
    assert cut(0, 99, iter([50, 52]), 11) == cut(0, 99, [50, 52], 11)


def test_the_sheet_ends_a_margin_beyond_the_feet_of_its_lowest_line():
    sheet = Sheet()
    width = sheet.text(10, 20, "words", 10)
    assert f'viewBox="0 0 {round(10 + width + 14)} 37"' in sheet.svg("", "")
