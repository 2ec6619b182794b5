"""The microscope of the page: what it adds up is what tg.explain and the tensors hold, or it says what is missing.

The data without a browser; the sums, which the page makes, in a headless Chromium.
"""
from __future__ import annotations

import base64
import json

import numpy as np
import pytest

import tinygrad_conv as tg
from tests.test_browser import Page, driver  # noqa: F401
from tests.test_page import content
from tinygrad_conv.draw.page.arrays import BUDGET
from tinygrad_conv.draw.page.page import page

# (x, w, options, transposed): strides, sides of padding, crops, dilation, groups, a line
CASES = {
    "plain": ((2, 3, 5, 6), (4, 3, 3, 3), {}, False),
    "strided": ((2, 2, 9, 8), (3, 2, 3, 2), {"stride": (2, 3), "padding": 1}, False),
    "sides": ((1, 2, 6, 5), (2, 2, 3, 3), {"padding": ((2, 0), (1, 3))}, False),
    "cropped": ((1, 2, 7, 8), (2, 2, 2, 3), {"padding": ((-1, 2), (1, -2)), "stride": (1, 2)}, False),
    "dilated": ((1, 2, 9, 9), (2, 2, 3, 2), {"dilation": (2, 3), "padding": 2}, False),
    "groups": ((2, 4, 6, 6), (6, 2, 3, 3), {"groups": 2, "stride": 2, "padding": 1}, False),
    "depthwise": ((2, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "padding": 1}, False),
    "back": ((2, 3, 4, 3), (3, 2, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}, True),
    "back groups": ((1, 4, 4, 4), (4, 3, 2, 3), {"stride": (1, 2), "groups": 2, "dilation": (2, 1)}, True),
    "line": ((2, 3, 9), (4, 3, 3), {"stride": 2, "padding": ((2, 1),)}, False),
    "back line": ((2, 3, 5), (3, 2, 4), {"stride": 3, "padding": 1}, True),
}
QUESTIONS = {"y": tg.explain.output, "dx": tg.explain.input, "dw": tg.explain.weight}


def convolved(name: str, dtype=np.float64):
    """x, w, b, y, g and the loss that has g as gradient of y."""
    shape, kernel, options, transposed = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    outputs = kernel[1] * options.get("groups", 1) if transposed else kernel[0]
    x, w, b = (tg.tensor(rng.standard_normal(s).astype(dtype), requires_grad=True) for s in (shape, kernel, (outputs,)))
    op = getattr(tg, ("conv_transpose" if transposed else "conv") + f"{len(shape) - 2}d")
    with tg.scope(name):
        y = op(x, w, b, **options)
    g = tg.tensor(rng.standard_normal(y.shape).astype(dtype))
    return x, w, b, y, g, (y * g).sum()


def numbers(array: dict) -> np.ndarray:
    raw = base64.b64decode(array["numbers"])
    return np.frombuffer(raw, f"<f{array['width']}").reshape(array["lengths"])


# ----- the data -----

@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_the_page_has_the_numbers_of_the_call_to_the_last_bit(name, dtype):
    x, w, b, y, g, loss = convolved(name, dtype)
    (seen,) = content(page(tg.graph(loss)))["microscopes"].values()
    loss.backward()
    held = {"x": x, "w": w, "y": y, "g": g, "dw": w.grad}
    assert seen["arrays"].keys() == held.keys() and seen["here"] == ""
    for key, array in seen["arrays"].items():
        assert numbers(array).dtype == dtype and (numbers(array).reshape(held[key].shape) == held[key].data).all(), key
        assert array["role"] == {"x": "input", "w": "filter", "dw": "filter", "y": "output", "g": "gradient"}[key]
    assert (numbers(seen["bias"][0]) == b.data).all()
    geometry = next(e.node.params["geometry"] for e in tg.tape(loss) if "geometry" in e.node.params)
    for key in ("size", "kernel", "out", "stride", "dilation", "padding"):
        assert [axis[key] if key != "padding" else tuple(axis[key]) for axis in seen["axes"]] == [*getattr(geometry, key)]
    assert (seen["groups"], seen["line"]) == (geometry.groups, geometry.line)


def test_a_recorded_backward_has_its_own_microscopes():
    x, w, _, y, _, loss = convolved("strided")
    loss.backward(create_graph=True)
    seen = content(page(tg.graph(loss, x.grad, w.grad)))["microscopes"].values()
    assert sorted(each["questions"][0]["name"] for each in seen) == ["dw", "dx", "y"]
    for each in seen:
        assert len(each["questions"]) == 1
        roles = {key: array["role"] for key, array in each["arrays"].items()}
        assert roles == {"y": {"x": "input", "w": "filter", "y": "output"},
                         "dx": {"g": "gradient", "w": "filter", "dx": "input"},
                         "dw": {"g": "gradient", "x": "input", "dw": "filter"}}[each["questions"][0]["name"]]


def test_numbers_that_are_gone_or_changed_are_not_shown():
    x, w, _, _, _, loss = convolved("plain")
    w.mutate()[...] = 0
    (seen,) = content(page(tg.graph(loss)))["microscopes"].values()
    assert "w was changed in place" in seen["missing"] and "arrays" not in seen
    _, _, _, _, _, loss = convolved("plain")
    loss.backward()
    (seen,) = content(page(tg.graph(loss)))["microscopes"].values()
    assert "freed by backward()" in seen["missing"]


def test_not_finite_numbers_do_not_break_the_page():
    x, w, b, y, g, _ = convolved("plain")
    x.mutate()[0, 0, 0, 0], b.mutate()[1] = np.nan, np.inf
    with np.errstate(all="ignore"):
        (seen,) = content(page(tg.graph((tg.conv2d(x, w, b) * g).sum())))["microscopes"].values()
    assert np.isnan(numbers(seen["arrays"]["x"])[0, 0, 0, 0]) and numbers(seen["bias"][0])[1] == np.inf


@pytest.mark.parametrize("sizes", [(1, 2, 5, 3), (32, 16, 28, 3), (2, 64, 56, 3), (2, 512, 7, 3), (1, 4, 224, 7), (8, 256, 7, 5)])
@pytest.mark.parametrize("groups", [1, 2])
def test_all_numbers_of_a_page_fit_into_the_budget_and_say_what_is_left_out(sizes, groups):
    n, channels, side, kernel = sizes
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((n, channels, side, side)).astype(np.float32), requires_grad=True)
    for _ in range(2):
        w = rng.standard_normal((channels, max(1, channels // groups), kernel, kernel)).astype(np.float32)
        x = tg.conv2d(x, tg.tensor(w, requires_grad=True), groups=channels // w.shape[1], padding=1)
    seen = content(page(tg.graph(x.sum())))["microscopes"].values()
    assert sum(numbers(array).nbytes for each in seen for array in each["arrays"].values()) <= BUDGET / 2
    for each in seen:
        whole = all([*array["shape"]] == [*array["lengths"]] for array in each["arrays"].values())
        assert (each["here"] == "") == whole
        assert all(np.prod(array["lengths"]) for array in each["arrays"].values())


# ----- the sums, in the browser -----

@pytest.fixture(scope="module")
def all_cases(tmp_path_factory):
    made = {name: convolved(name) for name in CASES}
    return made, tmp_path_factory.mktemp("microscope"), page(tg.graph(*(loss for *_, loss in made.values())))


@pytest.fixture
def cases(driver, all_cases):  # noqa: F811
    made, folder, text = all_cases
    return made, Page(driver, folder, text), text


def box_of(text: str, name: str) -> str:
    """The box of the convolution in a scope."""
    data = content(text)
    (box,) = [box["id"] for box in data["boxes"] if box["id"] in data["microscopes"] and box["scope"] == [name]]
    return box


def opened(view: Page, box: str) -> None:
    """Choose a box."""
    view.js("document.getElementById('expand-all').click()")
    view.js("document.querySelector(`.node[data-key='${arguments[0]}']`).dispatchEvent(new MouseEvent('click', "
            "{ bubbles: true }))", f"box {box}")


def moved(view: Page, question: str, places: dict[str, int]) -> dict:
    """Ask a question, move the sliders, and what the section then says."""
    view.js("""
        const section = document.querySelector('.microscope');
        [...section.querySelectorAll('.questions button')].find((b) => b.textContent === arguments[0]).click();
        for (const [name, value] of arguments[1]) { // in this order: a driver sorts keys
          const field = section.querySelector(`.sliders input[aria-label="${name}"]`);
          field.value = value;
          field.dispatchEvent(new Event('input'));
        }""", question, [*places.items()])
    return view.js("""
        const section = document.querySelector('.microscope');
        return { ...section.dataset, rows: [...section.querySelectorAll('.terms tr[data-product]')].map((row) =>
            [Number(row.dataset.product), JSON.parse(row.dataset.indices)]),
          grids: [...section.querySelectorAll('.grid')].map((grid) => [...grid.rows].map((row) => [...row.cells].map((c) => c.textContent))),
          sums: [...section.querySelectorAll('.terms .summed')].map((row) => row.textContent), text: section.textContent }""")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", CASES)
def test_the_page_adds_up_what_explain_does(cases, name, question):
    made, view, text = cases
    x, w, b, y, g, loss = made[name]
    opened(view, box_of(text, name))
    letters = (tg.explain.explanation.TRANSPOSED if CASES[name][3] else tg.explain.explanation.LETTERS)[question]
    if y.ndim == 3:
        letters = letters.replace("i", "").replace("u", "") if question != "dw" else letters.replace("a", "")
    shape = {"y": y, "dx": x, "dw": w}[question].shape
    rng, groups = np.random.default_rng(3), CASES[name][2].get("groups", 1)
    for _ in range(6):
        index = tuple(int(rng.integers(n)) for n in shape)
        why = QUESTIONS[question](y, index, *([] if question == "y" else [g.data]))
        places = dict(zip(letters, index))
        if question == "dw":  # the slider of the second channel counts all of them
            places[letters[1]] += index[0] // (w.shape[0] // groups) * w.shape[1]
        said = moved(view, question, places)
        assert json.loads(said["index"]) == [*index[:2], *[0] * (4 - len(index)), *index[2:]]
        assert (int(said["terms"]), int(said["missing"])) == (why.products.size, 0)
        assert float(said["total"]) == pytest.approx(why.total, rel=1e-12, abs=1e-12)
        if said["value"]:
            assert float(said["value"]) == why.value
        assert (question == "dx") == (said["value"] == "")
        largest = [v for v in sorted(np.abs(why.products.reshape(-1)), reverse=True)[:12] if v]
        assert [abs(product) for product, _ in said["rows"]] == pytest.approx(largest, rel=1e-12)
        arrays = {"x": x.data, "w": w.data, "g": g.data}
        for product, indices in said["rows"]:
            values = [number_at(arrays[key], at) for key, at in zip((why.first.name, why.second.name), indices)]
            assert product == pytest.approx(values[0] * values[1], rel=1e-12)


@pytest.mark.parametrize("name", ["strided", "groups", "back groups", "back line"])
def test_the_page_adds_up_a_recorded_backward(driver, tmp_path, name):  # noqa: F811
    x, w, _, _, _, loss = convolved(name)
    loss.backward(create_graph=True)
    text = page(tg.graph(loss, x.grad, w.grad))
    view, rng = Page(driver, tmp_path, text), np.random.default_rng(0)
    data = content(text)
    for box, seen in data["microscopes"].items():
        opened(view, box)
        name = seen["questions"][0]["name"]
        for _ in range(4):
            said = moved(view, name, {letter: int(rng.integers(6)) for letter in "noc" + "ijuvab" if view.count(
                f'.sliders input[aria-label="{letter}"]')})
            index = tuple(json.loads(said["index"]))
            assert said["missing"] == "0" and float(said["value"]) == numbers(seen["arrays"][name])[index]
            assert float(said["total"]) == pytest.approx(float(said["value"]), rel=1e-12, abs=1e-12)
    assert len(data["microscopes"]) == 3


def number_at(array: np.ndarray, index: list[int]) -> float:
    array = array if array.ndim == 4 else array[:, :, None]
    inside = all(0 <= k < n for k, n in zip(index, array.shape))
    return array[tuple(index)] if inside else 0.0


def test_a_click_on_a_pixel_asks_for_it(cases):
    made, view, text = cases
    opened(view, box_of(text, "strided"))
    view.js("document.querySelector('.microscope').scrollIntoView()")
    for array, question in (("x", "dx"), ("w", "dw"), ("y", "y")):
        if not view.count(f".planes canvas[data-array={array}]"):
            moved(view, "y", {})
        view.js("""
            const canvas = document.querySelector(`.planes canvas[data-array=${arguments[0]}]`);
            const box = canvas.getBoundingClientRect(), cells = arguments[1];
            canvas.dispatchEvent(new MouseEvent('click', { bubbles: true,
              clientX: box.left + canvas.clientLeft + canvas.clientWidth * 1.5 / cells[1], clientY: box.top + canvas.clientTop + canvas.clientHeight * 0.5 / cells[0] }))""",
                array, {"x": (9, 8), "w": (3, 2), "y": (5, 3)}[array])
        said = view.js("return { ...document.querySelector('.microscope').dataset }")
        assert said["question"] == question and json.loads(said["index"])[2:] == [0, 1], array


def test_what_is_not_in_the_page_is_counted_and_never_added_as_the_whole(driver, tmp_path):  # noqa: F811
    rng = np.random.default_rng(0)
    x, w = (tg.tensor(rng.standard_normal(s), requires_grad=True) for s in ((3, 2, 20, 20), (4, 2, 3, 3)))
    with tg.scope("cut"):
        y = tg.conv2d(x, w, padding=1)
    text = page(tg.graph(y.sum()), budget=24_000)
    view = Page(driver, tmp_path, text)
    opened(view, box_of(text, "cut"))
    said = moved(view, "dw", {"o": 1, "c": 1, "a": 0, "b": 2})
    whole = tg.explain.weight(y, (1, 1, 0, 2))
    assert int(said["missing"]) > 0 and int(said["missing"]) + int(said["terms"]) == whole.products.size
    assert float(said["value"]) == whole.value and f"{int(said['missing']):,} of them are not in this page" in said["text"]
    assert "Here: sample 0 of 3;" in said["text"] and "not here" in said["sums"][-1]
    assert float(said["total"]) != pytest.approx(whole.total)
    assert said["grids"] and not any("?" in row for grid in said["grids"] for row in grid)
    said = moved(view, "y", {"n": 2, "i": 0, "j": 19})  # held to what is here
    n, o, i, j = json.loads(said["index"])
    assert n == 0 and said["missing"] == "0" and 0 < i < 19 and 0 < j < 19
    assert float(said["total"]) == pytest.approx(y.data[n, o, i, j], rel=1e-12)


def test_the_sliders_work_from_the_keyboard_and_keep_the_focus(cases):
    from selenium.webdriver.common.keys import Keys
    made, view, text = cases
    opened(view, box_of(text, "groups"))
    moved(view, "y", {"n": 0, "o": 0, "i": 1, "j": 1})
    view.press('.sliders input[aria-label="o"]', Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    said = view.js("return { ...document.querySelector('.microscope').dataset, focus: document.activeElement.ariaLabel }")
    assert json.loads(said["index"]) == [0, 3, 1, 1] and said["focus"] == "o"
    assert float(said["total"]) == pytest.approx(made["groups"][3].data[0, 3, 1, 1], rel=1e-12)
    grids = moved(view, "y", {})["grids"]
    assert [len(grid) for grid in grids] == [3, 3, 3] and grids[0] != grids[1]


def test_another_question_goes_on_with_what_contributes_most(cases):
    made, view, text = cases
    opened(view, box_of(text, "sides"))
    moved(view, "y", {"n": 0, "o": 1, "i": 3, "j": 2})
    _, (pixel, tap) = moved(view, "y", {"n": 0, "o": 1, "i": 3, "j": 2})["rows"][0]
    assert json.loads(moved(view, "dw", {})["index"]) == tap
    moved(view, "y", {"n": 0, "o": 1, "i": 3, "j": 2})
    assert json.loads(moved(view, "dx", {})["index"]) == pixel


def test_the_section_fits_a_narrow_panel_and_breaks_no_policy(cases):
    made, view, text = cases
    view.js("document.getElementById('panel').style.width = '320px'")
    for name in ("plain", "line", "back"):
        opened(view, box_of(text, name))
        assert view.js("const p = document.getElementById('panel'); return p.scrollWidth <= p.clientWidth")
    view.js("document.getElementById('panel').style.width = ''")
    assert view.severe() == []
