"""Colours of costs and sizes: a scale that every eye can read, and what a drawing and its legend say with it."""
from __future__ import annotations

import itertools
import math
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.nets import NETS
from tests.test_browser import driver  # noqa: F401, a fixture
from tests.test_page import content
from tests.test_drawing import PURE, luminance, needs_pure
from tinygrad_conv.draw.annotate import SHOW, annotate, write_figures
from tinygrad_conv.draw.formats import dot
from tinygrad_conv.draw.heat import NONE, SCALE, SPAN, Heat, Sizes, amount_text, color
from tinygrad_conv.draw.style import KINDS, MARKS

WORDS = ["time", "memory", "flops", "grad", "parameters"]

# ----- the scale, for every eye -----

# Linear sRGB as eyes without the M or L cones see it. Source: Machado, Oliveira, Fernandes,
# "A Physiologically-based Model for Simulation of Color Vision Deficiency", 2009, table of severity 1.
EYES = {
    "normal": np.eye(3),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
    "grey": np.array([[0.2126, 0.7152, 0.0722]] * 3)}
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # sRGB, D65


def linear(color: str) -> np.ndarray:
    parts = np.array([int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB."""
    x, y, z = TO_XYZ @ rgb.clip(0, 1) / TO_XYZ.sum(axis=1)
    fx, fy, fz = (t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29 for t in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def test_the_scale_falls_evenly_in_lightness_and_in_colour():
    places = np.array([lab(linear(each)) for each in SCALE])
    steps = np.diff(places, axis=0)
    assert (steps[:, 0] < 0).all()
    for sizes in (-steps[:, 0], np.linalg.norm(steps, axis=1)):
        assert sizes.max() / sizes.min() < 1.15, sizes
    line = np.linspace((94, 1, 18), (56, 46, 56), len(SCALE))
    assert np.abs(places - line).max() < 0.8  # as the table says


@pytest.mark.parametrize("eyes", EYES)
def test_the_steps_stay_distinct_and_in_order_for_colour_blind_eyes_and_in_grey(eyes):
    seen = [lab(EYES[eyes] @ linear(each)) for each in (NONE, *SCALE)]
    assert all(a[0] > b[0] + 2 for a, b in itertools.pairwise(seen))  # lightness alone gives the order
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 4


def test_text_and_alarms_are_readable_on_every_colour_of_the_scale():
    def contrast(a, b):
        dark, light = sorted([luminance(a), luminance(b)])
        return (light + 0.05) / (dark + 0.05)
    for fill in (NONE, *SCALE):
        assert contrast("#1a1a1a", fill) > 4.5 and contrast("#000000", fill) > 4.5  # the page's ink, and DOT's
        for mark, look in MARKS.items():
            assert contrast(look["color"], fill) > 1.4, (mark, fill)  # its line is thick, and it has a word
    assert all(contrast(look["color"], NONE) > 3 for look in MARKS.values())  # WCAG 2.2: graphics


def test_a_place_on_the_scale_is_one_of_the_colours_that_the_legend_shows():
    assert [color(i / 9 + 0.01) for i in range(9)] == [*SCALE]
    assert (color(0.0), color(1.0), color(None)) == (SCALE[0], SCALE[-1], "#ffffff")
    assert {color(t) for t in np.linspace(0, 1, 100)} == set(SCALE)


# ----- figures to places -----

def network():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3, rng=rng))
    x = tg.tensor(rng.standard_normal((2, 1, 8, 8)).astype(np.float32))
    return net, tg.cross_entropy(net(x), np.array([0, 1]))


def heats(graph):
    return {box.label.split()[0]: box.heat for box in graph.boxes if box.heat is not None}


def test_a_cost_is_coloured_from_nothing_to_the_most_by_hand():
    g = tg.draw(network()[1], show="flops").graph
    assert heats(g) == {"conv2d": 1.0, "linear": pytest.approx(864 / 2592)}
    assert (g.heat.what, g.heat.low, g.heat.high) == ("work", "0", "2.59k multiply-adds")
    assert g.legend[-1] == ("", "hottest: 0 conv2d 3x3 75%")
    relu = next(box for box in g.boxes if box.label == "relu")
    assert relu.heat is None and color(relu.heat) == "#ffffff"


def test_of_a_collapsed_module_the_sum_counts():
    g = tg.draw(network()[1], show="parameters", depth=0).graph
    by_id = {box.id: box.heat for box in g.boxes}
    assert by_id["module:3"] == 1.0 and by_id["module:0"] == pytest.approx(40 / 435) and by_id["module:1"] is None
    assert (g.heat.high, g.legend[-1][1]) == ("435 parameters", "hottest: 3 Linear 92%")


def test_of_a_frame_that_stands_for_several_the_sum_counts():
    g = NETS["resnet"](show="flops", depth=1).graph
    block = next(box for box in g.boxes if box.id == "module:stage1.0")
    assert block.label.endswith("x8") and block.heat > 0.3
    alone = NETS["resnet"](show="flops", depth=1, unroll=True).graph
    one = next(box for box in alone.boxes if box.id == "module:stage1.0")
    assert g.figures[block.id]["flops"] == 8 * alone.figures[one.id]["flops"]


def test_the_first_word_of_the_users_order_colours():
    _, loss = network()
    for words in itertools.permutations(["parameters", "flops", "memory"], 2):
        g = tg.draw(loss, show=["nan", *words]).graph
        assert g.heat.what == SHOW[words[0]].heat.what
    assert tg.draw(loss, show="nan").graph.heat is tg.draw(loss).graph.heat is None
    loss.backward()
    assert tg.draw(loss, show=["time", "flops"]).graph.heat.what == "work"  # times are not known any more


def test_a_profile_colours_as_the_measured_time_does():
    net = network()[0]
    with tg.profile() as p:
        loss = tg.cross_entropy(net(tg.ones(2, 1, 8, 8)), np.array([0, 1]))
        loss.backward()
    for show in (p, p.time, [p, "flops"]):
        g = tg.draw(loss, show=show).graph
        assert g.heat.what == "time, forward + backward" and g.heat.high.endswith(" ms")
        own = {box.id: sum(g.figures[box.id].get(name, 0.0) for name in ("forward", "backward"))
               for box in g.boxes if box.id in g.figures}
        most = max(own.values())
        assert {box.id: box.heat for box in g.boxes if box.heat is not None} == {
            box: pytest.approx(amount / most) for box, amount in own.items() if amount}


@pytest.mark.parametrize("small, decades", [(1e-3, 4), (1e-8, 8)])
def test_sizes_of_gradients_are_on_a_logarithmic_scale_of_four_decades_or_more(small, decades):
    w = [tg.tensor(np.ones(2), requires_grad=True) for _ in range(4)]
    for i, t in enumerate(w):
        t.name = f"w{i}"
    y = sum((t * 10.0 ** -i).sum() for i, t in enumerate(w[:3])) + (w[3] * small).sum()
    y.backward(retain_graph=True)
    g = tg.draw(y, show="grad", unroll=True).graph
    found = {box.label: box.heat for box in g.boxes if box.kind == "parameter"}
    assert found == {f"w{i}": pytest.approx(1 + math.log10(size) / decades, abs=1e-9)
                     for i, size in enumerate([1.0, 0.1, 0.01, small])}
    assert SPAN == 1e4 and (g.heat.low, g.heat.high) == (f"{10.0 ** -decades:.3g}", "1 rms")
    assert "(rms: root mean square of all values)" in g.legend[-1][1] and f"smallest: w3 {small:.3g} rms" in g.legend[-1][1]
    assert next(box for box in g.boxes if box.label == "w3").mark == ("vanishing" if decades == 8 else "")


def test_the_loss_itself_whose_gradient_is_one_by_definition_is_not_on_the_scale():
    x = tg.tensor([3.0, 4.0], requires_grad=True)
    g = tg.draw((x * x * 0.5).sum() * 1e-3, show="grad").graph
    boxes = {(box.label, box.id): (box.heat, box.notes) for box in g.boxes if box.kind == "op"}
    *inner, loss = boxes.values()
    assert loss == (None, ()) and all(heat is not None for heat, _ in inner) and g.heat.high == "0.001 rms"


def test_what_is_infinite_or_no_number_is_an_alarm_and_not_on_the_scale():
    x, v = tg.tensor([0.0, 1.0], requires_grad=True), tg.ones(2, requires_grad=True)
    x.name, v.name = "x", "v"
    y = tg.sqrt(x).sum() + (2.0 * v).sum()
    with np.errstate(divide="ignore"):
        y.backward(retain_graph=True)
    g = tg.draw(y, show="grad").graph
    box = next(box for box in g.boxes if box.label == "x")
    assert (box.mark, box.heat) == ("nan", None) and g.heat.high == "2 rms"
    told = next(each for each in content(tg.draw(y, show="grad").html())["boxes"] if each["id"] == box.id)
    assert told["mark"] == "nan" and "heat" not in told


def test_the_hottest_are_those_with_half_or_the_first_with_those_alike():
    heat = Heat("work", "", ()).over([5.0])
    def said(*amounts):
        found = dict(zip("abcdefgh", map(float, amounts)))
        return heat.over(found.values()).summary(found, {name: name for name in found})
    assert said(1, 5, 2) == "hottest: b 62%" and said(3, 3, 4) == "hottest: c 40%, a 30%"
    assert said(2, 1, 1, 1, 1, 1, 1) == "hottest: a 25%, b 12%, c 12%"
    assert said(*[1] * 8) == "hottest: a 12%, and 7 more like it"
    assert said(1, 1, 1, 1) == "hottest: a 25%, b 25%, and 2 more like it"
    assert said(3, 2, 2, 2, 2, 2, 2, 2) == "hottest: a 18%"


# ----- alarms -----

def test_alarms_are_lines_and_words_on_top_and_the_fill_stays_the_heat():
    net, loss = network()
    loss.backward(retain_graph=True)
    net[0].weight.grad = net[0].weight.grad * 1e-7
    net[0].bias.grad = net[0].bias.grad * 1e-7
    text = tg.draw(loss, show="grad").dot
    line = next(each for each in text.splitlines() if "[vanishing]" in each)
    assert f'fillcolor="{SCALE[0]}"' in line and f'color="{MARKS["vanishing"]["color"]}"' in line
    assert "dashed" in line


@pytest.mark.parametrize("show", [*WORDS, "nan", WORDS + ["nan"]], ids=str)
@pytest.mark.parametrize("name", ["lenet", "unet", "attention"])
def test_no_alarm_before_a_backward(name, show):
    drawing = NETS[name](show=show, loss=None)
    for graph in (drawing.graph, drawing.whole):
        assert {box.mark for box in graph.boxes} == {""} and not {mark for mark, _ in graph.legend if mark}
    _, loss = network()
    g = tg.draw(loss, show=show).graph
    assert {box.mark for box in g.boxes} == {""}


# ----- legend, picture, page -----

@pytest.mark.parametrize("word", WORDS)
def test_the_legend_shows_the_scale_with_both_ends_and_the_hottest(word):
    drawing = NETS["lenet"](show=word)
    heat = drawing.graph.heat
    legend = drawing.dot[drawing.dot.index("cluster_legend"):]
    assert re.findall(r'BGCOLOR="(#\w{6})"', legend) == [*SCALE]
    for said in (heat.what, heat.low, heat.high, "white: none", "largest: " if word == "grad" else "hottest: "):
        assert said in legend
    assert ("largest: " if word == "grad" else "hottest: ") in drawing.listing()
    fills = set(re.findall(r'fillcolor="(#\w{6})"', drawing.dot[:drawing.dot.index("cluster_legend")]))
    assert {SCALE[-1], NONE} <= fills <= {NONE, *SCALE, "#f7f7f7", "#efefef", KINDS["op"]["fillcolor"]}


@needs_pure
def test_both_programs_draw_the_scale(tmp_path):
    import shutil
    text = NETS["lenet"](show="flops", depth=1).dot
    for command in filter(None, [shutil.which("dot"), PURE]):
        done = subprocess.run([command, "-Tsvg"], input=text.encode(), capture_output=True, check=True, timeout=120)
        svg = done.stdout.decode()
        assert all(each in svg for each in SCALE) and "hottest: " in svg
        assert b"too small for label" not in done.stderr  # the legend's frame is around all of it


def test_the_page_has_amounts_that_add_up_and_the_same_scale():
    drawing = NETS["lenet"](show="time")
    data = content(drawing.html())
    assert data["heat"]["scale"] == [*SCALE] and data["heat"]["unit"] == "ms" and data["heat"]["span"] is None
    figures = drawing.whole.figures
    for box in data["boxes"]:
        own = figures.get(box["id"], {})
        assert box.get("heat", [0.0]) == [pytest.approx(own.get("forward", 0.0) + own.get("backward", 0.0), rel=1e-5)]
    grad = content(NETS["lenet"](show="grad").html())
    assert grad["heat"]["span"] == SPAN and {len(box["heat"]) for box in grad["boxes"] if "heat" in box} == {4}
    assert content(NETS["lenet"]().html())["heat"] is None


def fills(driver, css):  # noqa: F811
    """The colours that the browser fills things with, as in the table."""
    found = driver.execute_script("return [...document.querySelectorAll(arguments[0])].map((e) => getComputedStyle(e).fill)", css)
    return ["#" + "".join(f"{int(n):02x}" for n in re.findall(r"\d+", each)[:3]) for each in found]


def test_the_page_colours_boxes_and_closed_modules_anew_after_each_layout(driver, tmp_path):  # noqa: F811
    from selenium.webdriver.common.action_chains import ActionChains
    _, loss = network()
    file = tmp_path / "page.html"
    file.write_text(tg.draw(loss, show="flops").html(), encoding="utf-8")
    driver.get(file.as_uri())
    legend = driver.find_element("css selector", "#heat")
    driver.find_element("id", "expand-all").click()
    assert legend.text.split("\n")[-2:] == ["2.59k multiply-adds", "no colour: none"] and "work:" in legend.text
    assert fills(driver, "#heat rect") == [*SCALE]
    seen = fills(driver, "#camera .op > .shape")
    assert sorted(seen) == sorted([SCALE[-1], SCALE[3], *[NONE] * (len(seen) - 2)]) and len(seen) > 4
    conv = next(each for each in driver.find_elements("css selector", "#camera .op") if "conv2d" in each.text)
    ActionChains(driver).move_to_element(conv).perform()
    assert "2.59k multiply-adds (75%)" in driver.find_element("id", "tip").text
    driver.find_element("id", "collapse-all").click()
    closed = driver.find_elements("css selector", "#camera .closed")
    found = dict(zip([each.text.split()[1] for each in closed], fills(driver, "#camera .closed > .shape")))
    assert found["0"] == SCALE[-1] and found["3"] == SCALE[3] and found["1"] == NONE
    conv = next(each for each in closed if "Conv2d" in each.text)
    assert "2.59k multiply-adds (75%)" in conv.text


def test_without_a_heat_nothing_of_the_kinds_colours_changes():
    g = write_figures(annotate(tg.graph(network()[1]), "nan"))
    assert dot(g) == dot(replace(g, heat=None)) and KINDS["parameter"]["fillcolor"] in dot(g)
    assert not any(each in dot(g) for each in SCALE)


def test_sizes_of_a_box_that_has_both_are_those_of_its_parameters():
    heat = Sizes("gradient", "rms", (("squares", "values"), ("result squares", "result values")))
    assert heat.amount({"squares": 8.0, "values": 2, "result squares": 1.0, "result values": 1}) == 2.0
    assert heat.amount({"result squares": 27.0, "result values": 3}) == 3.0 and heat.amount({}) == 0.0
    assert math.isnan(heat.amount({"squares": math.nan, "values": 1}))


@pytest.mark.parametrize("factor, said", [(1e-170, "under 1e-150 rms"), (1e160, "over 1e+150 rms"), (0.0, "exactly zero"), (1e-3, "0.001 rms")])
def test_gradients_whose_squares_leave_the_range_are_neither_zero_nor_infinite(factor, said):
    p = tg.tensor(np.ones(3), requires_grad=True)
    loss = (p * factor).sum()
    loss.backward(retain_graph=True)
    leaf = next(box for box in tg.draw(loss, show="grad").graph.boxes if box.kind == "parameter")
    assert leaf.notes[-1] == f"gradient {said}" and leaf.mark != "nan"


def test_amounts_round_to_the_next_unit():
    assert [amount_text(v) for v in (999_999, 1.5e12, 999.9, 999.4)] == ["1M", "1.5T", "1k", "999"]


@pytest.mark.parametrize("options, text", [
    ({"show": 5}, "draw: expects words as show.*got int"), ({"show": None}, "draw: expects words as show"),
    ({"hide": None}, "draw: expects kinds of boxes as hide.*got NoneType"), ({"unroll": "no"}, "draw: unroll must be True or False, got 'no'")])
def test_mistakes_in_what_is_asked_for_are_told(options, text):
    with pytest.raises(TypeError, match=text):
        tg.draw(tg.ones(2, requires_grad=True) * 2.0, **options)
