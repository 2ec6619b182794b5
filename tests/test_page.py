"""The HTML page without a browser: what is in it, that it is safe, and that its numbers are right."""
from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.draw.failure import failed_graph
from tinygrad_conv.draw.page.arrays import BINS, BUDGET, SIZES, affordable, picture_size, statistics, thumbnails
from tinygrad_conv.draw.page.page import HERE, PROGRAM, gradients, narration, page
from tinygrad_conv.draw.style import KINDS, MARKS

EVIL = "</script><script>alert(1)</script><!--"


def content(text: str) -> dict:
    """The data in a page, read as a browser does: up to the first end of its element; records from columns."""
    raw = re.search(r'<script type="application/json" id="data">(.*?)</script', text, re.S).group(1)
    data = json.loads(raw)
    for name in ("boxes", "edges", "scopes", "steps"):
        rows = zip(*data[name].values(), strict=True)
        data[name] = [{key: v for key, v in zip(data[name], row) if v is not None} for row in rows]
    for box in data["boxes"]:
        for tensor in (box, *box.get("outputs", ())):
            tensor |= {name: dict(zip(data["fields"][name], tensor[name])) for name in data["fields"] if name in tensor}
    return data


def small_net(rng) -> tuple[nn.Module, tg.Tensor]:
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4, rng=rng))
    return net, tg.cross_entropy(net(tg.randn(5, 2, 6, 6, rng=rng)), np.arange(5) % 4)


# ----- safety -----

def test_names_of_the_user_cannot_end_the_data_or_become_markup(rng):
    x = tg.randn(2, rng=rng)
    x.requires_grad, x.name = True, EVIL
    with tg.scope("<img src=x onerror=alert(2)>"):
        y = (x * x).sum()
    text = page(tg.graph(y, kinds={"<img src=x onerror=alert(2)>": "<b>&amp;"}), title=EVIL)
    assert "<img" not in text and "alert(1)</script>" not in text and "<b>" not in text
    assert text.count("</script>") == 2 and text.count("<script") == 2
    data = content(text)
    assert data["boxes"][0]["label"] == EVIL
    assert data["boxes"][0]["scope"] == ["<img src=x onerror=alert(2)>"]
    assert data["scopes"][0]["kind"] == "<b>&amp;"
    assert f"<title>{EVIL}" not in text and "<title>&lt;/script&gt;" in text


def test_the_policy_allows_this_program_and_nothing_else():
    text = page(tg.graph(tg.ones(2, requires_grad=True).sum()))
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', text).group(1)
    assert policy.startswith("default-src &#x27;none&#x27;")
    for tag, directive in (("script type=\"module\"", "script-src"), ("style", "style-src")):
        inner = re.search(f"<{tag}>(.*?)</{tag.split()[0]}>", text, re.S).group(1)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{directive} &#x27;sha256-{digest}&#x27;" in policy
    assert "unsafe" not in policy and "http:" not in policy and "*" not in policy


def test_the_page_refers_to_nothing_outside():
    text = page(tg.graph(tg.ones(2, requires_grad=True).sum()))
    addresses = set(re.findall(r"https?://[^\s\"'<)]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name space, never fetched
    assert not re.search(r"\b(src|href)=|@import|url\((?!#)", text)


def test_the_program_makes_no_markup_from_text_and_is_all_in_the_page():
    assert {path.name for path in HERE.glob("*.js")} == set(PROGRAM)
    for name in PROGRAM:
        source = (HERE / name).read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|"
                             r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", source), name
        assert "</script" not in source and len(source.splitlines()) <= 250, name


# ----- what is told -----

def test_boxes_tell_op_parameters_shapes_and_the_line(rng):
    x = tg.randn(1, 2, 5, 5, rng=rng)
    w = tg.randn(3, 2, 3, 3, rng=rng)
    w.requires_grad = True
    data = content(page(tg.graph(tg.conv2d(x, w, stride=2, padding=1))))
    call = data["boxes"][2]
    assert (call["op"], call["shape"], call["dtype"]) == ("conv2d", [1, 3, 3, 3], "float32")
    assert "3x3 stride 2 padding 1" in call["parameters"]["geometry"]
    assert re.fullmatch(r"tests.test_page\.py:\d+", call["where"])
    assert [(e["source"], e["target"], e["argument"], e["gradient"]) for e in data["edges"]] == [
        (0, 2, "x", False), (1, 2, "w", True)]


def test_a_constant_that_is_a_number_tells_it():
    x = tg.ones(3, requires_grad=True)
    assert [box["label"] for box in content(page(tg.graph(x * 1.5)))["boxes"]] == ["x", "y = 1.5", "mul"]


def test_a_title_that_is_no_unicode_costs_the_odd_letters_alone():
    text = page(tg.graph(tg.ones(2, requires_grad=True).sum()), "net \udcff 2")
    assert b"<title>net ? 2</title>" in text.encode()


def test_the_same_program_gives_the_same_page():
    def made():
        x = tg.arange(6, dtype=np.float32)
        x.requires_grad = True
        return page(tg.graph((x * x).sum()))
    assert made() == made()


def test_gradients_are_those_of_backward_and_change_nothing(rng):
    net, loss = small_net(rng)
    g = tg.graph(loss)
    found, what = gradients(g)
    data = content(page(g))
    assert what == data["about"] == "Gradients are those of the result."
    assert all(p.grad is None for p in net.parameters())
    loss.backward()
    by_id = {box: found[id(s.output if hasattr(s, "output") else s)] for box, s in g.sources.items()
             if not isinstance(s, tg.Tensor) or s.requires_grad}
    by_label = {box.label: by_id[box.id] for box in g.boxes if box.kind == "parameter"}
    for box in data["boxes"]:
        if box["kind"] == "parameter":
            assert box["gradient"]["max"] == pytest.approx(by_id[box["id"]].max(), rel=1e-5)
    assert len(by_label) == 2 and len(found) == 4 + sum(box.kind == "op" for box in g.boxes)
    for box, t in g.sources.items():
        if isinstance(t, tg.Tensor) and t.requires_grad:
            np.testing.assert_array_equal(by_id[box], t.grad.data)


def test_gradients_of_several_results_are_of_their_sum():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    found, what = gradients(tg.graph(x * 3.0, x * x))
    assert found[id(x)].tolist() == [5.0, 7.0] and "sum of the results" in what


def test_after_backward_the_page_says_that_values_are_gone(rng):
    net, loss = small_net(rng)
    loss.backward()
    data = content(page(tg.graph(loss)))
    assert "freed by backward()" in data["about"] and "retain_graph=True" in data["about"]
    conv = next(box for box in data["boxes"] if box.get("op") == "conv2d")
    assert conv["freed"] and "values" not in conv and "gradient" not in conv
    weight = next(box for box in data["boxes"] if box["kind"] == "parameter")
    assert weight["values"]["count"] == 54 and weight["gradient"]["count"] == 54  # kept in .grad


def test_a_value_that_was_changed_costs_the_gradients_not_the_page():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (x * x).sum()
    x.mutate()[0] = 5
    data = content(page(tg.graph(y)))
    assert data["about"].startswith("No gradients: backward: argument 0 of mul")
    assert data["boxes"][0]["values"]["max"] == 5.0


def test_a_derivative_that_fails_costs_the_gradients_not_the_page():
    @tg.primitive
    def twice(x):
        return 2 * x
    twice.defvjp(lambda g, ans, x: g.sum())
    data = content(page(tg.graph(twice(tg.ones(2, 5, requires_grad=True)).sum())))
    assert data["about"].startswith("No gradients: twice: the VJP for argument 0 returned shape ()")


def test_control_characters_in_names_are_written_out():
    x = tg.ones(2, requires_grad=True)
    with tg.scope("a\u202eb"):
        y = tg.exp(x)
    y.name = "c\x1bd"
    data = content(page(tg.graph(y)))
    assert data["scopes"][0]["path"] == data["boxes"][1]["scope"] == ["a\\u202eb"]
    assert data["boxes"][1]["notes"] == ["= c\\x1bd"]


def test_a_forward_that_failed_is_a_page_that_ends_there():
    x = tg.ones(2, 3, requires_grad=True)
    with pytest.raises(ValueError) as caught:
        tg.exp(x) @ tg.ones(4, 5)
    data = content(page(failed_graph(caught.value)))
    assert data["boxes"][-1]["mark"] == "failed"
    assert [s["phase"] for s in data["steps"]] == ["forward", "forward"]
    assert "matmul" in data["steps"][-1]["text"] and "fails with" in data["steps"][-1]["text"]


def test_a_leaf_alone_is_a_page():
    assert content(page(tg.graph(tg.ones(2, requires_grad=True))))["boxes"] == []


def test_a_drawing_is_saved_as_a_page_of_the_whole_graph(rng, tmp_path):
    _, loss = small_net(rng)
    drawing = tg.draw(loss, depth=0, show="grad")
    text = drawing.save(tmp_path / "small <net>.html").read_text(encoding="utf-8")
    assert text == drawing.html("small <net>") and "<title>small &lt;net&gt;</title>" in text
    told = content(text)
    assert len(told["boxes"]) == len(tg.graph(loss).boxes) + 1 and told["boxes"][-1]["label"] == "loss"
    assert any(box["notes"] == ["no backward yet"] for box in told["boxes"])


# ----- the replay's words -----

def texts(*outputs: tg.Tensor) -> list[str]:
    return [step["text"] for step in narration(tg.graph(*outputs))]


def test_the_story_of_a_convolution_names_both_gradients_and_their_sums():
    x, w = tg.ones(8, 6, 28, 28, requires_grad=True), tg.ones(16, 6, 3, 3, requires_grad=True)
    told = texts(tg.conv2d(x, w))
    assert told == [
        "forward 1: conv2d 3x3: x 8x6x28x28 and w 16x6x3x3 give 8x16x26x26",
        "backward 1: conv2d 3x3: g 8x16x26x26 gives dx 8x6x28x28, summed over o, kh, kw; "
        "dw 16x6x3x3, summed over n, oh, ow"]


def test_the_story_tells_of_broadcasting_and_of_tensors_used_twice():
    x, b = tg.ones(4, 3, requires_grad=True), tg.ones(3, requires_grad=True)
    y = x + b
    told = texts((y * y).sum())
    assert told[-1] == ("backward 3: add: g 4x3, summed over 2 uses, gives dx 4x3; dy 3, "
                        "summed over axis 0")
    assert told[-2] == "backward 2: mul: g 4x3 gives dx 4x3; dy 4x3"


def test_the_story_of_a_transposed_convolution_sums_over_its_own_axes():
    x, w, b = (tg.ones(*shape, requires_grad=True) for shape in [(2, 8, 4, 4), (8, 3, 2, 2), (3,)])
    assert texts(tg.conv_transpose2d(x, w, b, stride=2))[-1].endswith(
        "gives dg 2x8x4x4, summed over c, kh, kw; dw 8x3x2x2, summed over n, oh, ow; "
        "db 3, summed over n, h, w")


def test_the_story_of_a_normalisation_tells_the_axes_of_weight_and_bias(rng):
    told = texts(nn.BatchNorm2d(3)(tg.randn(4, 3, 5, 5, rng=rng)))
    assert any(text.endswith("gives dw 1x3x1x1, summed over axes 0, 2, 3; "
                             "db 1x3x1x1, summed over axes 0, 2, 3") for text in told)


def test_the_story_leaves_out_what_gets_no_gradient():
    x, w = tg.ones(1, 1, 4, 4), tg.ones(1, 1, 3, 3, requires_grad=True)
    assert "dx" not in texts(tg.conv2d(x, w))[-1]


def test_a_recorded_backward_is_told_by_its_own_calls(rng):
    net, loss = small_net(rng)
    loss.backward(create_graph=True)
    g = tg.graph(loss, *[p.grad for p in net.parameters()])
    steps = narration(g)
    boxes = {box.id: box for box in g.boxes}
    assert {step["phase"] == "backward" for step in steps if boxes[step["box"]].scope[:1] == ("backward",)} == {True}
    told = next(step["text"] for step in steps if "conv2d_weight" in step["text"])
    assert told.startswith("backward ") and told.endswith("give 3x2x3x3, summed over n, oh, ow")
    assert gradients(g)[1].startswith("The backward is drawn as boxes of its own")


# ----- numbers -----

def test_statistics_are_numpys(rng):
    x = rng.normal(3, 2, (40, 50)).astype(np.float32)
    x[:4] = 0
    s = statistics(x)
    assert (s["min"], s["max"]) == (pytest.approx(x.min(), rel=1e-5), pytest.approx(x.max(), rel=1e-5))
    assert s["mean"] == pytest.approx(x.mean(), rel=1e-5) and s["std"] == pytest.approx(x.std(), rel=1e-5)
    assert s["zeros"] == 0.1 and s["nonfinite"] == 0 and s["count"] == 2000
    assert s["histogram"] == np.histogram(x.astype(np.float64), BINS)[0].tolist()


@pytest.mark.parametrize("values,expected", [
    ([np.nan, np.inf, -np.inf], {"count": 3, "nonfinite": 3, "zeros": 0.0}),
    ([], {"count": 0, "nonfinite": 0, "zeros": 0.0})])
def test_statistics_of_nothing_finite_are_counts_alone(values, expected):
    assert statistics(np.array(values)) == expected


@pytest.mark.parametrize("array", [
    np.full(7, 1e200), np.array([-1.7e308, 1.7e308]), np.array([5e-324, 0.0]), np.array(True),
    np.array([[3, -4]]), np.zeros((2, 0)), np.array([1.0, np.nan], np.float16),
    np.array([1.0, np.nextafter(1.0, 2.0)]), np.array([1e300, np.nextafter(1e300, np.inf)])])
def test_statistics_of_odd_arrays_are_json_without_warnings(array):
    with np.errstate(all="raise", under="ignore"):
        s = statistics(array)
    json.dumps(s, allow_nan=False)
    finite = array[np.isfinite(array)]
    apart = finite.size and np.ptp(finite / np.abs(finite).max()) > 1e-12
    assert sum(s.get("histogram", [])) == (finite.size if apart else 0)


def test_a_huge_array_is_counted_by_a_sample():
    s = statistics(np.arange(2_500_000, dtype=np.float32))
    assert s["sampled"] and 800_000 < sum(s["histogram"]) <= 1_000_000 and s["count"] == 2_500_000


def levels(picture: dict) -> np.ndarray:
    raw = np.frombuffer(base64.b64decode(picture["pixels"]), np.uint8)
    return raw.reshape(picture["count"], picture["height"], picture["width"])


def test_feature_maps_are_the_first_samples_channels_shrunk_by_means(rng):
    x = rng.normal(size=(2, 3, 10, 7))
    picture = thumbnails(x, 4, 2, kernels=False)  # blocks of 3 by 3, the last ones smaller
    want = np.array([[[x[0, c, i:i + 3, j:j + 3].mean() for j in range(0, 7, 3)] for i in range(0, 10, 3)]
                     for c in range(2)])
    assert picture["what"] == "sample 0, channels 0 to 1 of 3"
    low, high = want.min(), want.max()
    np.testing.assert_array_equal(levels(picture), np.rint((want - low) * 254 / (high - low)))
    assert picture["low"] == pytest.approx(low, rel=1e-5)


def test_kernels_are_the_first_input_channel_of_each_filter():
    w = np.arange(2 * 5 * 2 * 2, dtype=np.float32).reshape(2, 5, 2, 2)
    picture = thumbnails(w, 64, 16, kernels=True)
    assert picture["what"] == "filters 0 to 1 of 2, channel 0 of each"
    assert levels(picture)[1, 1, 1] == 254 and picture["high"] == w[1, 0, 1, 1]


@pytest.mark.parametrize("values", [[-1.7e308, 1.7e308], [0.0, 5e-324], [3.0, 4.0]])
def test_pictures_span_black_to_white_at_any_scale(values):
    with np.errstate(all="raise", under="ignore"):
        picture = thumbnails(np.array(values).reshape(1, 1, 1, 2), 64, 16, kernels=False)
    assert levels(picture).tolist() == [[[0, 254]]]


def test_a_mean_over_infinities_is_not_finite_and_no_warning():
    x = np.zeros((1, 1, 4, 4))
    x[0, 0, 0] = [np.inf, -np.inf, 0, 0]
    with np.errstate(all="raise"):
        picture = thumbnails(x, 2, 1, kernels=False)
    assert levels(picture).tolist() == [[[255, 0], [0, 0]]]


def test_a_pixel_that_is_not_finite_has_a_level_of_its_own():
    x = np.zeros((1, 1, 2, 2))
    x[0, 0, 0, 1] = np.nan
    assert levels(thumbnails(x, 8, 1, kernels=False)).tolist() == [[[0, 255], [0, 0]]]


@pytest.mark.parametrize("shapes", [
    [(8, 6, 28, 28)], [(32, 64, 224, 224)] * 200, [(1, 512, 64, 64)] * 5000, [(1, 1, 1, 100_000)] * 3])
def test_pictures_of_a_page_fit_the_budget(shapes):
    size = affordable(shapes)
    assert sum(picture_size(s, *size) for s in shapes) <= BUDGET
    better = SIZES[:SIZES.index(size)]
    assert all(sum(picture_size(s, *b) for s in shapes) > BUDGET for b in better)


def test_the_page_of_two_thousand_boxes_is_bounded(rng):
    x = tg.randn(2, 3, 8, 8, rng=rng)
    x.requires_grad = True
    y = x
    for _ in range(1000):
        y = tg.relu(y + 0.1)
    text = page(tg.graph(y.sum()))
    assert len(content(text)["boxes"]) > 2000 and len(text) < 6_000_000


def test_all_results_of_a_call_are_described():
    @tg.primitive
    def halve(x):
        return x[:, :1] * 1.0, x[:, 1:] * 2.0, np.argsort(x, axis=1)
    halve.defvjp(lambda g, ans, x: tg.concatenate([g[0], g[1]], axis=1))
    one, two, _ = halve(tg.ones(1, 3, 2, 2, requires_grad=True))
    y = one.sum() * two.sum()
    box = next(box for box in content(page(tg.graph(y)))["boxes"] if box["label"] == "halve")
    assert box["shape"] == [1, 1, 2, 2] and box["gradient"]["max"] == 16 and "picture" in box
    second, third = box["outputs"]
    assert second["shape"] == [1, 2, 2, 2] and second["values"]["max"] == 2 and second["gradient"]["max"] == 4
    assert third["dtype"] == "int64" and third["values"]["count"] == 12 and "gradient" not in third
    y.backward()
    box = next(box for box in content(page(tg.graph(y)))["boxes"] if box["label"] == "halve")
    assert box["freed"] and all(each["freed"] for each in box["outputs"])


def test_gradients_of_weights_are_drawn_as_kernels():
    x, w = tg.ones(1, 2, 5, 5), tg.ones(3, 2, 3, 3, requires_grad=True)
    y = tg.conv2d(x, w)
    (y * y).sum().backward(create_graph=True)
    boxes = {box["label"]: box for box in content(page(tg.graph(y, w.grad)))["boxes"]}
    assert boxes["conv2d_weight 3x3"]["picture"]["title"] == boxes["w"]["picture"]["title"] == "Kernels"
    assert boxes["conv2d 3x3"]["picture"]["title"] == "Feature maps"


def test_pictures_and_the_page_have_one_set_of_colours_and_words():
    text = page(tg.graph(tg.ones(2, requires_grad=True) * 2.0))
    css, symbols = (HERE / "page.css").read_text(encoding="utf-8"), (HERE / "sizes.js").read_text(encoding="utf-8")
    for name, colour in {**{kind: look["fillcolor"] for kind, look in KINDS.items()}, **{mark: look["color"] for mark, look in MARKS.items()}}.items():
        assert f"--light-{name}: {colour};" in text
        assert name == "failed" or f"--{name}: light-dark(var(--light-{name})," in css, name  # that is nan's
    assert all(re.search(rf'\b"?{mark}"?: "', symbols) for mark in MARKS)
