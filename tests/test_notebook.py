"""What notebooks show: tensors, drawings, models and training runs; and the three notebooks, run and looked at."""
from __future__ import annotations

import html
import io
import re
import sys
import time
import warnings
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train import curves, report
from tests.nets import NETS
from tests.test_browser import driver  # noqa: F401  (a fixture)
from tinygrad_conv.draw import drawing as drawings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "demos" / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.ipynb"))
RNG = np.random.default_rng(0)
NAN, INF = float("nan"), float("inf")


def pictures(text: str) -> list[np.ndarray]:
    """The values of the PNG pictures in some HTML, each of which is a square of equal pixels."""
    Image = pytest.importorskip("PIL.Image")
    found = []
    for data in re.findall(r"data:image/png;base64,([^']+)'", text):
        pixels = np.asarray(Image.open(io.BytesIO(b64decode(data))))
        side = next(z for z in range(99, 0, -1) if pixels.shape[0] % z == pixels.shape[1] % z == 0 and (
            pixels == pixels[::z, ::z].repeat(z, 0).repeat(z, 1)).all())
        found.append(pixels[::side, ::side])
        assert 64 <= max(pixels.shape[:2]) <= 200
    return found


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


# ----- tensors -----

STRANGE = {
    "scalar": np.float32(3), "empty": np.zeros((0, 3)), "empty image": np.zeros((0, 3, 8, 8)), "no pixels": np.zeros((2, 1, 0, 9)),
    "all nan": np.full((9, 9), NAN), "inf": np.array([INF, -INF]), "huge": np.array([1e308, -1e308] * 40).reshape(8, 10),
    "int64": np.array([2**63 - 1] * 9), "bool": RNG.random((9, 9)) > 0.5, "half": RNG.standard_normal((9, 9)).astype(np.float16),
    "six axes": RNG.standard_normal((2, 1, 3, 1, 2, 2)), "flat": RNG.standard_normal((1, 100_000)), "uint8": np.arange(256, dtype=np.uint8).reshape(16, 16),
    "thin": RNG.standard_normal((1, 1, 1, 5000)), "reversed": RNG.standard_normal((8, 3, 20, 20))[::-1, ::-1, :, ::-1],
    "wide": RNG.standard_normal((1, 3, 500, 600)), "many": RNG.standard_normal((100, 64, 14, 14)), "subnormal": np.full((9, 9), 5e-324)}


@pytest.mark.parametrize("name", STRANGE)
def test_any_tensor_shows_itself_in_a_few_kilobytes(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        t = tg.tensor(STRANGE[name])
        text = t._repr_html_()
    assert len(text) < 50_000 and "x".join(map(str, t.shape)) in text and str(t.dtype) in text
    assert text.count("<div") == text.count("</div>")
    assert all(source.startswith("data:") for source in re.findall(r"src='([^']*)'", text)) and "url(" not in text


def test_a_tensor_says_what_it_is_and_how_it_is_spread():
    x = tg.tensor(np.r_[np.zeros(50), np.linspace(1.0, 3.0, 48), NAN, INF].astype(np.float32).reshape(5, 20), requires_grad=True)
    x.name = "<script>alert(1)</script>"
    text = x._repr_html_()
    assert "<script" not in text and "alt='histogram'" in text
    said = words(text)
    assert "Tensor 5x20 float32, requires a gradient" in said and x.name in said
    assert "0 to 3, mean 0.9796" in said and "50 % zeros" in said and "2 not finite" in said
    assert "made by mul" in words((x * 2.0)._repr_html_()) and "made by sum axis 0" in words(x.sum(axis=0)._repr_html_())


def test_to_show_a_tensor_records_nothing_and_needs_nothing_that_was_freed():
    x = tg.tensor(RNG.standard_normal((4, 1, 8, 8)), requires_grad=True)
    y = tg.conv2d(x, np.ones((2, 1, 3, 3))).sum()
    before = len(tg.tape(y))
    x._repr_html_(), y._repr_html_()
    assert len(tg.tape(y)) == before and x.grad is None and x.requires_grad
    y.backward()
    assert "made by sum" in y._repr_html_() and "<img" in x.grad._repr_html_()
    x.mutate()[...] = 0.0  # nothing has locked it
    assert "all 0" in words(x._repr_html_())


@pytest.mark.parametrize("shape, shown", [((5,), True), ((16,), True), ((17,), False), ((3, 8), True), ((8, 8), False),
                                          ((9, 3), False), ((2, 2, 2), False)])
def test_few_numbers_are_written_out(shape, shown):
    text = tg.tensor(np.arange(np.prod(shape)).reshape(shape) + 0.5)._repr_html_()
    assert ("<pre" in text) == shown and ("0.5" in text.split("<pre")[-1] if shown else True)


IMAGES = {  # shape, and how many pictures of what shape
    (20, 1, 9, 8): (8, (9, 8)), (3, 3, 8, 8): (3, (8, 8, 3)), (10, 12, 3): (1, (10, 12, 3)), (3, 10, 12): (1, (10, 12, 3)),
    (1, 10, 12): (1, (10, 12)), (10, 12): (1, (10, 12)), (2, 5, 4, 4): (5, (4, 4)), (2, 3, 4, 4): (3, (4, 4)),
    (7, 7): (0, ()), (5, 10, 12): (0, ()), (4, 4, 1, 1): (0, ()), (10, 7, 3): (0, ())}


@pytest.mark.parametrize("shape", IMAGES)
def test_what_looks_like_an_image_is_one(shape):
    a = RNG.permutation(int(np.prod(shape))).reshape(shape).astype(float)
    many, size = IMAGES[shape]
    found = pictures(tg.tensor(a)._repr_html_())
    assert len(found) == many and all(p.shape == size for p in found)


def test_the_pixels_are_the_values_and_what_is_not_finite_has_a_colour_of_its_own():
    a = np.linspace(-1.0, 1.0, 128).reshape(2, 1, 8, 8)
    for plane, picture in zip(a[:, 0], pictures(tg.tensor(a)._repr_html_())):
        np.testing.assert_array_equal(picture, np.rint((plane + 1) * 127))
    a[0, 0, 2, 3] = NAN
    first, second = pictures(tg.tensor(a)._repr_html_())
    assert first[2, 3].tolist() == [204, 121, 167] and first[0, 0].tolist() == [0, 0, 0] and second.shape == (8, 8)
    colours = RNG.integers(0, 255, (8, 9, 3)).astype(np.uint8)
    colours[0, 0], colours[0, 1] = 0, 254
    np.testing.assert_array_equal(pictures(tg.tensor(colours)._repr_html_())[0], colours)


def test_filters_are_shown_one_by_one_and_feature_maps_of_one_sample():
    w = nn.Parameter(RNG.standard_normal((6, 4, 5, 5)))
    assert "6 filters, channel 0 of each" in w._repr_html_() and len(pictures(w._repr_html_())) == 6
    y = tg.conv2d(RNG.standard_normal((2, 4, 9, 9)), w)
    assert "sample 0, 6 channels" in y._repr_html_()


def test_a_large_tensor_is_judged_by_a_sample_and_says_so():
    t = tg.from_numpy(np.ones((16, 3, 700, 700), np.float32))
    t.mutate()[:, :, ::2] = 0.0
    start = time.perf_counter()
    text = t._repr_html_()
    assert time.perf_counter() - start < 2  # ten milliseconds, usually; a histogram of all takes more than two seconds
    assert "in a sample of" in text and re.search(r"(49|50|51)\S* % zeros", text) and len(text) < 50_000
    assert "in a sample of" not in tg.ones(300, 300)._repr_html_()


# ----- drawings -----

def test_a_drawing_in_a_notebook_is_its_page_in_a_sandbox_and_a_picture_for_those_that_run_nothing():
    drawing = NETS["lenet"]()
    text = drawing._repr_html_()
    assert re.findall(r"<iframe [^>]*?srcdoc", text) == ['<iframe sandbox="allow-scripts" srcdoc']
    inner = html.unescape(text.split('srcdoc="')[1].split('"')[0])
    assert inner == drawing.html() and "width: 100%" in text.split("srcdoc")[-1]
    assert drawing._repr_svg_().startswith("<?xml") and "<svg" in drawing._repr_svg_()


def test_ten_drawings_do_not_fill_a_notebook():
    """Pictures of feature maps are smaller than those of a page in a file; what is still too large is said."""
    x, w = RNG.standard_normal((1, 64, 64, 64)), tg.ones(64, 64, 1, 1, requires_grad=True)
    y = tg.tensor(x)
    for _ in range(28):
        y = tg.conv2d(y, w)
    drawing = tg.draw(y)
    inline = drawing._repr_html_()
    assert "<iframe" in inline and len(inline) < 800_000 < len(drawing.html())
    assert 10 * (drawings.INLINE + drawings.INLINE_SVG) < 50_000_000
    made = [net() for name, net in NETS.items() if "rnn" not in name]  # which take their time to lay out
    assert sum(len(d._repr_html_()) + len(d._repr_svg_() or "") for d in made) < 20_000_000


def test_a_page_too_large_for_a_notebook_gives_way_to_the_picture(monkeypatch):
    drawing = NETS["lenet"]()
    monkeypatch.setattr(drawings, "INLINE", 50_000)
    monkeypatch.setattr(drawings, "INLINE_SVG", 50_000)
    text = drawing._repr_html_()
    assert "<iframe" not in text and "<svg" not in text and "too much for a notebook: <code>drawing.save('net.html')</code> writes it" in text
    assert "the picture takes 0.1 MB" in text and drawing._repr_svg_() is None and len(text) < 50_000
    monkeypatch.setattr(drawings, "INLINE_SVG", 200_000)
    again = NETS["lenet"]()
    assert "<svg" in again._repr_html_() and again._repr_html_().startswith(again._repr_svg_())


def test_no_cell_waits_for_the_picture_of_thousands_of_boxes(monkeypatch):
    monkeypatch.setattr(drawings, "INLINE_BOXES", 20)
    monkeypatch.setattr(drawings, "render", lambda *_, **__: pytest.fail("asked for a picture"))
    drawing = NETS["lenet"]()
    assert drawing._repr_svg_() is None
    assert re.match(r"<p>\d+ boxes are too many for a picture in a notebook; draw less, .*<iframe", drawing._repr_html_())


def test_of_a_net_too_large_for_a_notebook_there_is_the_page_of_what_is_drawn(monkeypatch):
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(300)])
    drawing = nn.draw(net, tg.ones(1, 2), depth=0)
    monkeypatch.setattr(drawings, "INLINE", 150_000)
    text = drawing._repr_html_()
    assert len(drawing.html()) > 150_000 > len(text) and "too much for a notebook" in text and "<iframe" in text


# ----- what nn shows -----

def trained(epochs=3):
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(64, 16, rng=np.random.default_rng(0)), nn.ReLU()),
                        nn.Linear(16, 10, rng=np.random.default_rng(1)))
    optimizer = nn.Adam(net.parameters(), 0.01)
    loader = nn.data.DataLoader(nn.data.digits("test"), 64)
    return net, optimizer, loader, nn.fit(net, loader, loader, epochs=epochs, optimizer=optimizer, callbacks=())


def test_a_history_shows_curves_and_a_table_of_bounded_size():
    history = trained()[3]
    text = history._repr_html_()
    assert text.count("<polyline") == 4 and text.count("<tr>") == 4 and "valid accuracy" in text
    assert f"{history.last['loss']:.4g}" in text
    long = nn.History([{"epoch": n, "loss": 1 / n, "<b>": 1.0} for n in range(1, 501)])
    text = long._repr_html_()
    assert "..." in text and text.count("<tr>") < 30 and "<td>500</td>" in text and "<b>" not in text and len(text) < 20_000
    assert "no epochs" in nn.History()._repr_html_() and float(re.findall(r"[\d.]+,[\d.]+", text)[-1].split(",")[0]) == 288
    history.interrupted = True
    assert "interrupted" in history._repr_html_()


@pytest.mark.parametrize("values", [[1.0], [0.5, 0.5], [NAN, 1.0, 2.0], [INF], [1e30, 1e-30], [0.0, -1.0]])
def test_curves_of_any_values_are_numbers(values):
    rows = [{"epoch": n, "loss": value, "accuracy": 0.5} for n, value in enumerate(values, 1)]
    text = curves.svg(rows)
    assert "nan" not in text and "inf" not in text and text.count("<svg") == 1
    for x, y in re.findall(r"([\d.-]+),([\d.-]+)", " ".join(re.findall(r"points='([^']*)'", text))):
        assert 0 <= float(x) <= curves.WIDTH and 0 <= float(y) <= curves.HEIGHT


def test_a_plot_without_a_path_is_a_figure_that_shows_itself_and_that_pyplot_does_not_know(tmp_path):
    pytest.importorskip("matplotlib")
    history = nn.History([{"epoch": n, "loss": 10.0 ** -n, "accuracy": n / 5, "valid_loss": 0.1} for n in range(1, 5)])
    figure = history.plot()
    assert figure._repr_png_()[:4] == b"\x89PNG"
    loss, accuracy = figure.axes
    assert loss.get_yscale() == "log" and accuracy.get_yscale() == "linear" and len(loss.lines) == 2
    assert "matplotlib.pyplot" not in sys.modules or figure not in map(
        sys.modules["matplotlib.pyplot"].figure, sys.modules["matplotlib.pyplot"].get_fignums())
    assert history.plot(tmp_path / "a.svg") is None and b"<svg" in (tmp_path / "a.svg").read_bytes()


def test_optimisers_schedules_loaders_and_data_say_what_they_are():
    net, optimizer, loader, _ = trained()
    assert repr(optimizer) == ("Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, "
                               "amsgrad=False, maximize=False): 4 parameters of 1,210 numbers, 18 steps done")
    two = nn.SGD(nn.no_decay(net, 0.1), 0.5, momentum=0.9)
    assert [line.split(": ")[1] for line in repr(two).splitlines()] == [
        "2 parameters of 1,184 numbers, 0 steps done", "2 parameters of 26 numbers, 0 steps done"]
    schedule = nn.StepLR(two, 2, gamma=0.5)
    schedule.step()
    assert repr(schedule) == "StepLR(step_size=2, gamma=0.5): step 1, rate 0.5, 0.5"
    assert repr(nn.ReduceLROnPlateau(optimizer, patience=3)).startswith("ReduceLROnPlateau(mode='min', factor=0.1, patience=3,")
    assert "nn.LinearLR" not in repr(s := nn.SequentialLR(two, [nn.StepLR(two, 1), nn.ExponentialLR(two, 0.5)], [3])) and "StepLR(" in repr(s)
    assert repr(nn.OneCycleLR(optimizer, 0.1, total_steps=10)).startswith("OneCycleLR(total_steps=10, ")
    assert repr(loader) == "DataLoader(Dataset(355 images of shape (1, 8, 8), uint8), batch_size=64): 6 batches"
    text = loader.dataset._repr_html_()
    assert len(pictures(text)) == 8 and "labels 5, 0, 9, 8" in words(text)
    assert nn.data.Dataset(np.zeros((2, 3)), np.zeros((2, 1)))._repr_html_()


def test_a_model_shows_a_tree_with_the_parameters_of_each_branch():
    net = trained(0)[0]
    text = net._repr_html_()
    assert text.count("<details") == text.count("</details>") == 2 and text.count(" open") == 2
    said = words(text)
    assert "Sequential: 1,210 parameters" in said and "1 Sequential: 1,040 parameters" in said and "1 ReLU()" in said
    deep = nn.Sequential(*[nn.Sequential(nn.Linear(2, 2)) for _ in range(30)])._repr_html_()
    assert deep.count(" open") == 1 and deep.count("<details") == deep.count("</details>") == 31

    class Evil(nn.Linear):
        def extra_repr(self):
            return "<script>"
    assert "<script" not in Evil(1, 1)._repr_html_()


# ----- training in a notebook -----

def test_elsewhere_there_are_no_live_curves():
    assert not report.in_notebook() and [type(c) for c in report.reporters()] == [nn.ProgressBar]


@pytest.fixture
def kernel(monkeypatch):
    """A kernel to send cells to."""
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    started, client = manager.start_new_kernel(kernel_name="python3", startup_timeout=120)
    yield started, client
    client.stop_channels()
    started.shutdown_kernel(now=True)


TRAIN = """
import numpy as np, nn
net = nn.Linear(5, 3, rng=np.random.default_rng(0))
data = nn.data.Dataset(np.ones((64, 5), np.float32), np.arange(64) % 3)
history = nn.fit(net, nn.data.DataLoader(data, 8), epochs={epochs}, optimizer=nn.SGD(net.parameters(), 0.1))
print("epochs", len(history), "interrupted", history.interrupted)
"""


def test_curves_are_alive_after_each_epoch_and_an_interrupt_ends_the_run(kernel):
    manager, client = kernel
    messages = []

    def hook(message):
        messages.append((message["msg_type"], message["content"]))
        updates = [c["data"] for kind, c in messages if kind == "update_display_data" and "text/html" in c["data"]]
        if len(updates) == 4 and not any(kind == "asked" for kind, _ in messages):
            messages.append(("asked", {}))
            manager.interrupt_kernel()

    reply = client.execute_interactive(TRAIN.format(epochs=100_000), output_hook=hook, timeout=120)
    assert reply["content"]["status"] == "ok"
    shown = [c["data"] for kind, c in messages if kind in ("display_data", "update_display_data")]
    curves_ = [data["text/html"] for data in shown if "text/html" in data]
    epochs = [int(data["text/plain"].split(",")[0].removeprefix("epoch ")) for data in shown if "text/html" in data]
    assert epochs[0] == 1 and sorted(set(epochs[:-1])) == epochs[:-1] and len(epochs) >= 5  # each with new rows
    assert len(curves_) < 200 and all("<svg" in text for text in curves_)  # not one for each of many fast epochs
    assert any(re.match(r"epoch \d+/100000 .*8/8", data["text/plain"]) for data in shown)
    said = "".join(c["text"] for kind, c in messages if kind == "stream" and c["name"] == "stdout")
    assert re.search(r"epochs \d+ interrupted True", said)
    assert not [c for kind, c in messages if kind == "stream" and "Warning" in c["text"]]


def test_a_plot_is_shown_once_whether_pyplot_is_loaded_or_not(kernel):
    pytest.importorskip("matplotlib")
    for first in ("", "import matplotlib.pyplot; "):
        messages = []
        kernel[1].execute_interactive(f"{first}import nn; nn.History([{{'epoch': 1, 'loss': 0.5}}]).plot()",
                                      output_hook=lambda m: messages.append(m), timeout=120)
        shown = [m["content"]["data"] for m in messages if m["msg_type"] in ("display_data", "execute_result")]
        assert [sorted(data) for data in shown] == [["image/png", "text/plain"]]


# ----- the three notebooks -----

@pytest.fixture(scope="module")
def run():
    """The notebooks, each run in a fresh kernel when it is first asked for."""
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from demos.notebooks.__main__ import executed
    made = {}

    def get(name: str):
        if name not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("PYTHONPATH", str(ROOT))
                made[name] = executed(FOLDER / f"{name}.ipynb")
        return made[name]
    return get


def outputs(notebook) -> list:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def printed(notebook) -> str:
    return "".join(o.text for o in outputs(notebook) if o.get("name") == "stdout")


def test_there_are_three():
    assert NAMES == ["first_cnn", "gradient_of_a_convolution", "op_of_your_own"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_and_every_drawing_is_a_page_and_a_picture(run, name):
    notebook = run(name)
    assert len(notebook.cells) < 27 and not [o for o in outputs(notebook) if o.output_type == "error" or o.get("name") == "stderr"]
    drawn = [o.data for o in outputs(notebook) if "<iframe" in o.get("data", {}).get("text/html", "")]
    assert drawn and all("<svg" in data["image/svg+xml"] and len(data["text/html"]) < 500_000 for data in drawn)
    assert sum(len(str(o)) for o in outputs(notebook)) < 2_000_000


def test_first_cnn_learns_and_shows_its_curves_once(run):
    notebook = run("first_cnn")
    assert float(re.search(r"accuracy ([\d.]+)", printed(notebook)).group(1)) > 0.95
    live, = [o for o in outputs(notebook) if o.output_type == "display_data" and "text/html" in o.data]
    assert live.data["text/html"].count("<tr>") == 13 and live.data["text/html"].count("<polyline") == 4
    assert len([o for o in outputs(notebook) if "image/png" in o.get("data", {})]) == 1  # history.plot()


def test_gradient_of_a_convolution_agrees_with_differences(run):
    said = printed(run("gradient_of_a_convolution"))
    assert len(set(re.search(r"<dw, w>: (\S+) (\S+) (\S+)", said).groups())) == 1 and said.count("True") == 2
    errors = [float(e) for e in re.findall(r"(\S+) from the difference quotient", said)]
    assert len(errors) == 2 and max(errors) < 1e-4 and "first and second derivatives: right" in said
    shown = [o.data["text/plain"] for o in outputs(run("gradient_of_a_convolution")) if "text/plain" in o.get("data", {})]
    assert sum("difference 0" in text for text in shown) == 3  # the microscope, of an output, a pixel and a weight


def test_op_of_your_own_is_certified_and_its_mistake_is_not(run):
    notebook = run("op_of_your_own")
    found = [o.data["text/plain"] for o in outputs(notebook) if "certified, " in o.get("data", {}).get("text/plain", "")]
    assert [text.splitlines()[0].split(",")[0] for text in found] == ["shrink: certified", "shrink: NOT certified", "shrink: certified"]
    before, after = map(float, re.search(r"noisy images (\S+), of the cleaned ones (\S+)", printed(notebook)).groups())
    assert after < before / 2
    assert float(re.search(r"largest difference: (\S+)", printed(notebook)).group(1)) < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_in_the_repository_has_outputs_that_every_viewer_shows(run, name):
    """If this fails: run python -m demos.notebooks and look at the difference."""
    nbformat = pytest.importorskip("nbformat")
    path = FOLDER / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    kept, fresh = nbformat.reads(text, as_version=4), run(name)
    nbformat.validate(kept)
    assert len(text) < 500_000 and "<iframe" not in text and str(ROOT) not in text
    assert "batch/s" not in text  # a bar, state by state
    for a, b in zip(kept.cells, fresh.cells, strict=True):
        if a.cell_type == "code":
            assert a.execution_count == b.execution_count
            kinds = [sorted({*o.get("data", {})} - {"text/html"}) or o.get("name") for o in a.outputs]
            assert kinds == [sorted({*o.get("data", {})} - {"text/html"}) or o.get("name") for o in b.outputs]


def frame_in(driver, folder, text: str) -> None:  # noqa: F811
    """Open some output of a cell in the browser, and go into its frame."""
    file = folder / "cell.html"
    file.write_text(f"<!DOCTYPE html><meta charset='utf-8'><div style='width: 0' id='late'>{text}</div>", encoding="utf-8")
    driver.get(file.as_uri())
    driver.execute_script("setTimeout(() => { document.getElementById('late').style.width = '900px'; }, 300)")  # as notebooks do
    driver.switch_to.frame(driver.find_element("css selector", "iframe"))
    end = time.monotonic() + 60
    while driver.execute_script("return document.documentElement.dataset.ready !== 'yes' || innerWidth < 600"):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_in_a_cell_draws_its_boxes_inside_the_sandbox(run, name, driver, tmp_path):  # noqa: F811
    text = next(o.data["text/html"] for o in outputs(run(name)) if "<iframe" in o.get("data", {}).get("text/html", ""))
    driver.get_log("browser")
    frame_in(driver, tmp_path, text)
    js = driver.execute_script
    assert js("return window.origin") == "null"  # it has no access to the notebook
    visible = """return [...document.querySelectorAll('.node')].filter((node) => {
        const at = node.getBoundingClientRect();
        return at.width > 20 && at.left >= 0 && at.right <= innerWidth && at.top >= 0 && at.top < innerHeight; }).length"""
    end = time.monotonic() + 20
    while js(visible) < 4:  # boxes of a size to be read, in the window
        assert time.monotonic() < end, js(visible)
        time.sleep(0.05)
    first = driver.find_element("css selector", ".node.op")
    first.click()
    assert "float" in driver.find_element("css selector", "#panel").text
    driver.switch_to.default_content()
    assert not [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
