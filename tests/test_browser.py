"""The HTML page in a real headless Chromium: everything a reader does with it, and no network.

Skipped where no Chromium is installed, unless BROWSER_TESTS=required says that it must be.
"""
from __future__ import annotations

import base64
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nets import NETS, RNN, modules
from tinygrad_conv.draw.graph import Edge
from tinygrad_conv.draw.page.page import page

EVIL = "<script>alert(1)</script>"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1400,900"]


def missing(what: str) -> None:
    if os.environ.get("BROWSER_TESTS") == "required":
        pytest.fail(f"BROWSER_TESTS=required, but {what} is not installed")
    pytest.skip(f"{what} is not installed (Debian: chromium and chromium-driver; pip: selenium)")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    browser = shutil.which("chromium") or shutil.which("google-chrome") or missing("Chromium")
    service = shutil.which("chromedriver") or missing("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        missing("selenium")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=service))
    made.set_script_timeout(300)
    yield made
    made.quit()


class Page:
    """A page of a graph, open in the browser, and what the tests do with it."""

    def __init__(self, driver, folder, text: str, part: str = "") -> None:
        file = folder / "page.html"
        file.write_text(text, encoding="utf-8")
        driver.get_log("browser"), driver.get_log("performance")
        self.driver, self.file = driver, file
        driver.get(file.as_uri() + part)
        self.wait("return document.documentElement.dataset.ready === 'yes'")

    def js(self, script: str, *args):
        return self.driver.execute_script(script, *args)

    def wait(self, script: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.js(script):
            assert time.monotonic() < end, script
            time.sleep(0.02)

    def one(self, css: str):
        return self.driver.find_element("css selector", css)

    def texts(self, css: str) -> list[str]:
        return self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)", css)

    def count(self, css: str) -> int:
        return self.js("return document.querySelectorAll(arguments[0]).length", css)

    def drawn(self, css: str) -> int:
        """Elements of the drawing; the legend shows some of their kinds too."""
        return self.js("return document.getElementById('drawing').querySelectorAll(arguments[0]).length", css)

    def key_of(self, label: str) -> str:
        """The data-key of the first box with this line of text."""
        return self.js("return [...document.querySelectorAll('.node')].find((node) => [...node.querySelectorAll("
                       "'text')].some((t) => t.textContent === arguments[0])).dataset.key", label)

    def node(self, key: str):
        return self.one(f".node[data-key={json.dumps(key)}]")

    def press(self, css: str, *keys: str) -> None:
        self.one(css).send_keys(*keys)

    def panel(self) -> str:
        return self.one("#panel").text

    def transform(self) -> str:
        return self.js("return document.getElementById('camera').getAttribute('transform')")

    def slide(self, to: int) -> None:
        self.js("const s = document.getElementById('step'); s.value = arguments[0];"
                "s.dispatchEvent(new Event('input'))", to)

    def severe(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [s["request"]["url"] for s in sent if not s["documentURL"].startswith("chrome:")]  # its own new tab


class LeNet(nn.Module):
    def __init__(self, rng) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(6, 16, 5, rng=rng), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Sequential(nn.Flatten(), nn.Linear(400, 10, rng=rng))

    def forward(self, x):
        return self.classifier(self.features(x))


def lenet_loss() -> tuple[nn.Module, tg.Tensor]:
    rng = np.random.default_rng(0)
    net = LeNet(rng)
    return net, tg.cross_entropy(net(tg.randn(2, 1, 28, 28, rng=rng)), np.array([1, 2]))


@pytest.fixture
def lenet(driver, tmp_path) -> Page:
    return Page(driver, tmp_path, page(tg.graph(lenet_loss()[1]), "LeNet"))


def test_it_loads_without_errors_and_asks_the_network_for_nothing(lenet):
    assert lenet.severe() == []
    assert lenet.requests() == [lenet.file.as_uri()]
    assert lenet.driver.title == "LeNet"
    assert lenet.drawn(".node.box") == 18 and lenet.drawn(".wire") == 17
    assert lenet.drawn(".frame") == 10


def test_its_policy_stops_requests(lenet):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/secret"
        outcome = lenet.driver.execute_async_script(
            "const [url, done] = arguments; const image = new Image(); image.src = url;"
            "fetch(url).then(() => done('sent'), () => setTimeout(() => done('stopped'), 200))", url)
    finally:
        server.shutdown()
        server.server_close()
    assert outcome == "stopped" and asked == []
    assert any("Content Security Policy" in message for message in lenet.severe())


def test_clicking_a_box_shows_its_shapes_numbers_and_pictures(lenet):
    lenet.one("#fit").click()
    lenet.node(lenet.key_of("conv2d 5x5")).click()
    told = lenet.panel()
    for text in ("conv2d 5x5", "features.3", "2x6x14x14 from max_pool2d", "2x16x10x10", "test_browser.py:",
                 "Values", "Gradient", "Feature maps", "sample 0, channels 0 to 15 of 16"):
        assert text in told, text
    assert lenet.count("#panel .histogram.values rect") == 32
    assert lenet.count("#panel .histogram.gradient rect") == 32
    assert lenet.count("#panel .pictures canvas") == 16
    pixels = lenet.js("const c = document.querySelector('#panel .pictures canvas');"
                      "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    assert len(pixels) == 4 * 10 * 10 and len(set(pixels)) > 10
    lenet.node(lenet.key_of("weight")).click()
    assert "Kernels" in lenet.panel() and "filters 0 to 5 of 6, channel 0 of each" in lenet.panel()


def test_search_marks_matches_and_enter_walks_through_them(lenet):
    lenet.press("#search", "conv2d 5x5")
    assert lenet.one("#found").text == "2 found" and lenet.drawn(".box.match") == 2
    lenet.press("#search", "\n")
    assert lenet.one("#found").text == "1 of 2 found" and "conv2d 5x5 padding 2" in lenet.panel()
    lenet.press("#search", "\n")
    assert "features.3" in lenet.panel() and lenet.drawn(".box.chosen") == 1
    lenet.press("#search", "\n")
    assert lenet.one("#found").text == "1 of 2 found"
    lenet.js("document.getElementById('search').value = ''")
    lenet.press("#search", "classifier 400x10 nothing-like-it")
    assert lenet.one("#found").text == "0 found" and lenet.drawn(".match") == 0


def test_modules_close_and_open_and_a_search_opens_them(lenet):
    lenet.one("#collapse-all").click()
    assert lenet.drawn(".closed") == 2 and lenet.drawn(".frame") == 0 and lenet.drawn(".wire") == 5
    assert "features" in " ".join(lenet.texts(".closed text"))
    lenet.press("#search", "max_pool2d", "\n")  # inside a closed module
    assert lenet.drawn(".box.chosen") == 1 and "max_pool2d" in lenet.panel()
    lenet.one("#expand-all").click()
    assert lenet.drawn(".frame") == 10 and lenet.drawn(".box") == 18
    lenet.js("const l = document.getElementById('level'); l.value = 1; l.dispatchEvent(new Event('change'))")
    assert lenet.drawn(".frame") == 2 and lenet.drawn(".closed") == 8


def test_a_click_on_a_modules_title_closes_it_and_on_the_closed_box_opens_it(lenet):
    lenet.one("#fit").click()
    key = 'frame 1 ["features"]'
    lenet.js("document.querySelector(`.node[data-key='${arguments[0]}'] .head`)"
             ".dispatchEvent(new MouseEvent('click', {bubbles: true}))", key)
    closed = lenet.node(key)
    assert "closed" in closed.get_attribute("class") and closed.get_attribute("aria-expanded") == "false"
    assert "2,572 numbers in 4 tensors" in lenet.panel()
    closed.click()
    assert lenet.node(key).get_attribute("aria-expanded") == "true"


def test_replay_runs_forward_then_backward_to_the_end(lenet):
    steps = int(lenet.one("#step").get_attribute("max"))
    assert steps == 2 * 10
    lenet.one("#forth").click()
    assert lenet.one("#narration").text.startswith("forward 1: conv2d 5x5 padding 2: x 2x1x28x28, w 6x1x5x5")
    assert lenet.drawn(".box.current") == 1 and lenet.drawn(".wire.active") == 3
    lenet.slide(10)
    assert lenet.drawn(".op.done-forward") == 10 and lenet.drawn(".done-backward") == 0
    lenet.slide(steps - 3)
    assert lenet.one("#narration").text.startswith("backward 7: conv2d 5x5: g 2x16x10x10 gives dx 2x6x14x14")
    assert "summed over n, oh, ow" in lenet.one("#narration").text and lenet.drawn(".wire.active.reverse") == 4
    lenet.slide(steps)
    assert lenet.drawn(".op.done-backward") == 10 and lenet.one("#count").text == f"{steps} of {steps}"
    assert "dx" not in lenet.one("#narration").text and lenet.severe() == []  # the image gets no gradient
    lenet.one("#to-start").click()
    assert lenet.drawn(".done-forward, .done-backward, .current, .active") == 0


def test_play_moves_on_by_itself(lenet):
    lenet.one("#play").click()
    lenet.wait("return document.getElementById('step').value > 0")
    lenet.one("#play").click()
    assert lenet.one("#play").text == "Play"


def test_what_is_at_work_stays_in_view_when_modules_open_and_close(lenet):
    lenet.slide(10)
    for css in ("#expand-all", "#collapse-all", "#expand-all"):
        lenet.one(css).click()
        area, box = lenet.one("#drawing").rect, lenet.one("#drawing .current").rect
        assert area["y"] <= box["y"] and box["y"] + box["height"] <= area["y"] + area["height"], css


def test_replay_shades_closed_modules(lenet):
    lenet.one("#collapse-all").click()
    lenet.slide(6)
    assert lenet.drawn(".closed.done-forward") == 1 and lenet.drawn(".closed.current") == 1


def test_wheel_buttons_and_drag_move_the_camera(lenet):
    def wheel(delta: int) -> float:
        lenet.js("document.getElementById('drawing').dispatchEvent(new WheelEvent('wheel',"
                 "{deltaY: arguments[0], clientX: 300, clientY: 300, bubbles: true, cancelable: true}))", delta)
        return float(lenet.transform().split("scale(")[1].rstrip(")"))

    start = lenet.transform()
    assert wheel(-300) > wheel(300)
    lenet.one("#zoom-in").click()
    near = lenet.transform()
    assert near != start
    from selenium.webdriver import ActionChains
    ActionChains(lenet.driver).move_to_element_with_offset(lenet.one("#drawing"), -480, 250).click_and_hold() \
        .move_by_offset(60, -40).release().perform()
    moved = lenet.transform()
    assert moved != near and moved.split("scale")[1] == near.split("scale")[1]
    lenet.one("#fit").click()
    box = lenet.js("const r = document.getElementById('camera').getBoundingClientRect(),"
                   "s = document.getElementById('drawing').getBoundingClientRect();"
                   "return [r.top >= s.top, r.bottom <= s.bottom, r.left >= s.left, r.right <= s.right]")
    assert box == [True] * 4


def test_everything_can_be_done_from_the_keyboard(lenet):
    keys = {"down": "\ue015", "up": "\ue013", "escape": "\ue00c"}
    lenet.press("#drawing", keys["down"])
    first = lenet.panel()
    lenet.press(".node[tabindex='0']", keys["down"])
    assert lenet.panel() != first and "conv2d" in lenet.panel()
    lenet.press(".node[tabindex='0']", keys["up"])
    assert lenet.panel() == first
    scale = lenet.transform()
    lenet.press("#drawing", "+")
    assert lenet.transform() != scale
    lenet.press("#drawing", keys["escape"])
    assert lenet.drawn(".chosen") == 0
    lenet.press("#drawing", "/")
    assert lenet.js("return document.activeElement.id") == "search"
    lenet.one("#collapse-all").click()
    lenet.js("document.querySelector('#drawing .closed').focus()")
    lenet.press("#drawing .closed", keys["down"], "\n")
    assert lenet.drawn(".closed") == 2 and lenet.drawn(".node[tabindex='0']") == 1


def test_an_edge_tells_its_shape_when_pointed_at(lenet):
    lenet.js("document.querySelectorAll('.wire .hit')[3].dispatchEvent(new PointerEvent('pointermove',"
             "{bubbles: true, clientX: 200, clientY: 200}))")
    assert lenet.one("#tip").text.split("\n") == ["2x6x28x28", "conv2d 5x5 padding 2 \u2192 relu"]


def test_names_with_markup_stay_text(driver, tmp_path):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.name = EVIL
    with tg.scope("</script>"):
        y = (x * x).sum()
    shown = Page(driver, tmp_path, page(tg.graph(y, kinds={"</script>": "<img src=x onerror=alert(1)>"}), EVIL))
    assert EVIL in shown.texts(".box .label") and driver.title == EVIL
    assert shown.count("script") == 2 and shown.count("img") == 0
    shown.press("#search", "script", "\n")
    shown.press("#search", "\n")
    assert EVIL in shown.panel() or "</script>" in shown.panel()
    shown.node(shown.key_of(EVIL)).click()
    assert EVIL in shown.panel() and shown.severe() == []
    assert shown.drawn(".wire") == 3  # x * x: two edges


def test_the_backward_stands_beside_the_forward(driver, tmp_path):
    net, loss = lenet_loss()
    loss.backward(create_graph=True)
    shown = Page(driver, tmp_path, page(tg.graph(loss, *[p.grad for p in net.parameters()])))
    assert shown.severe() == []
    left, right = shown.js("return ['frame 1 []', 'frame 1 [\"backward\"]'].map((key) => {"
                           "const r = document.querySelector(`.node[data-key='${key}']`).getBoundingClientRect();"
                           "return [r.left, r.right, r.bottom] })")
    assert left[1] < right[0] and left[2] == pytest.approx(right[2], abs=1)
    assert shown.drawn(".wire.across") > 5 and "conv2d_weight 5x5" in shown.texts(".label")
    shown.slide(int(shown.one("#step").get_attribute("max")))
    assert shown.one("#narration").text.startswith("backward ")
    assert shown.drawn(".op.done-forward, .op.done-backward") == shown.drawn(".op.box")


def test_layers_and_their_derivatives_stand_level(driver, tmp_path):
    drawing = nn.draw(lenet_loss()[0], tg.zeros(2, 1, 28, 28), loss=lambda y: tg.cross_entropy(y, np.array([1, 2])))
    shown = Page(driver, tmp_path, drawing.html())
    places = shown.js("""return Object.fromEntries([...document.querySelectorAll('.node.box, .node.frame')].map((node) =>
        [node.dataset.key, ['x', 'y', 'width', 'height'].map((name) => Number(node.querySelector('rect').getAttribute(name)))]))""")
    level = []
    for box in drawing.whole.boxes:
        if box.of and box.label.split()[0] in ("conv2d_weight", "relu_vjp", "max_pool2d_scatter", "transpose"):
            (_, y, _, h), (_, v, _, k) = places[f"box {box.id}"], places[f"box {box.of}"]
            level.append(abs(y + h / 2 - v - k / 2))
    assert len(level) > 5 and max(level) < 1
    for box in drawing.whole.boxes:  # and in their frames
        x, y, w, h = places[f"box {box.id}"]
        frame = next((v for key, v in places.items() if key.endswith(" " + json.dumps([*box.scope], separators=(",", ":")))), None)
        assert frame is None or frame[0] <= x and x + w <= frame[0] + frame[2] and frame[1] <= y and y + h <= frame[1] + frame[3]


BOXES = """return [...document.querySelectorAll('.node.box rect.shape, .node.closed rect.shape')]
    .map((r) => ['x', 'y', 'width', 'height'].map((name) => Number(r.getAttribute(name))))"""


@pytest.fixture(scope="module")
def deep_page() -> str:
    """Fifty layers with a skip around every other, in modules, a shared activation."""
    rng = np.random.default_rng(1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = (nn.Conv2d(4, 4, 3, padding=1, rng=rng) for _ in range(2))
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(x + self.conv2(self.relu(self.conv1(x))))

    net = nn.Sequential(*[Block() for _ in range(25)])
    return page(tg.graph((net(tg.randn(1, 4, 8, 8, rng=rng)) ** 2).mean()))


def test_a_deep_net_starts_closed_and_opened_no_boxes_overlap(driver, tmp_path, deep_page):
    shown = Page(driver, tmp_path, deep_page)
    assert shown.drawn(".closed") == 25 and shown.drawn(".box") < 10
    shown.one("#expand-all").click()
    assert shown.drawn(".closed") == 0 and shown.severe() == []
    x, y, w, h = np.array(shown.js(BOXES)).T
    assert len(x) > 225
    apart = ((x[:, None] + w[:, None] <= x) | (x + w <= x[:, None])
             | (y[:, None] + h[:, None] <= y) | (y + h <= y[:, None]))
    assert (apart | np.eye(len(x), dtype=bool)).all()


def test_lines_run_between_boxes_and_never_over_them(driver, tmp_path, deep_page):
    shown = Page(driver, tmp_path, deep_page)
    shown.one("#expand-all").click()
    points = shown.js("""return [...document.querySelectorAll('.wire .line')].flatMap((line) => {
        const all = line.getTotalLength(), found = [];
        for (let at = 2; at < all - 2; at += 6) { const p = line.getPointAtLength(at); found.push([p.x, p.y]); }
        return found })""")
    px, py = np.array(points).T[:, :, None]
    x, y, w, h = np.array(shown.js(BOXES)).T
    assert len(points) > 3000
    assert not ((x + 1 < px) & (px < x + w - 1) & (y + 1 < py) & (py < y + h - 1)).any()


@pytest.fixture(scope="module")
def large_page() -> str:
    """More than ten thousand boxes in a thousand modules."""
    with np.errstate(all="ignore"):
        return modules(1000, unroll=True).html()


def painted(shown: Page) -> np.ndarray:
    """Where the canvas for views from far away has any colour: (height, width)."""
    width, height, opaque = shown.js(
        "const c = document.getElementById('far'); const { data } = c.getContext('2d').getImageData(0, 0, c.width,"
        "c.height); return [c.width, c.height, btoa(Array.from({ length: c.width * c.height }, (_, i) =>"
        "data[4 * i + 3] ? '1' : '0').join(''))]")
    return (np.frombuffer(base64.b64decode(opaque), np.uint8) == ord("1")).reshape(height, width)


def all_is_in_view(shown: Page) -> bool:
    """Whether the picture fills the height, or the width, and stops before every border."""
    seen = painted(shown)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    within = rows[0] > 0 and columns[0] > 0 and rows[-1] < len(seen) - 1 and columns[-1] < len(seen[0]) - 1
    return within and (np.ptp(rows) > 0.9 * len(seen) or np.ptp(columns) > 0.9 * len(seen[0]))


PAN = """const [moves, pixels, done] = arguments, svg = document.getElementById('drawing');
    const tell = (target, name, x, y) => target.dispatchEvent(new PointerEvent(name, { bubbles: true, button: 0,
        buttons: 1, pointerId: 1, isPrimary: true, clientX: x, clientY: y }));
    let last = performance.now(), move = 0;
    const frames = [];
    tell(svg, 'pointerdown', 400, 400);
    const step = () => {
        const now = performance.now();
        frames.push(now - last);
        last = now;
        move += 1;
        tell(window, 'pointermove', 400, 400 - move * pixels);
        if (move < moves) { requestAnimationFrame(step); return; }
        tell(window, 'pointerup', 0, 0);
        window.dispatchEvent(new MouseEvent('click'));
        done(frames.slice(1));
    };
    requestAnimationFrame(step);"""


def test_a_page_of_ten_thousand_boxes_opens_and_moves(driver, tmp_path, large_page, capsys):
    shown = Page(driver, tmp_path, large_page, "#unrolled")
    opened = shown.js("return performance.now()")
    opening = shown.js("const start = performance.now(); document.getElementById('expand-all').click();"
                       "return performance.now() - start")
    first = set(shown.texts(".title"))
    assert 5 < shown.drawn(".node") < 1000 and shown.drawn("*") < 5000 and shown.severe() == []
    near = driver.execute_async_script(PAN, 60, 30)
    now = set(shown.texts(".title"))
    assert now - first and first - now and shown.drawn(".node") > 5  # some came into view, others left it
    assert shown.drawn("*") < 5000
    shown.one("#fit").click()
    assert shown.drawn(".node") == 0 and all_is_in_view(shown)
    for _ in range(6):
        shown.one("#zoom-in").click()
    far = driver.execute_async_script(PAN, 60, 5)
    assert shown.drawn(".node") == 0 and painted(shown).any()
    with capsys.disabled():
        print(f"\n10,000 boxes: ready after {opened:.0f} ms, all opened {opening:.0f} ms, slowest frames "
              f"{max(near):.0f} ms near, {max(far):.0f} ms far")
    assert opened < 60_000 and opening < 60_000 and np.median(near) < 1000 and np.median(far) < 1000


def test_a_chain_of_thousands_is_replayed_from_far_away(driver, tmp_path):
    x = tg.ones(3, requires_grad=True)
    y = x
    for _ in range(1000):
        y = tg.relu(y) + 1.0
    shown = Page(driver, tmp_path, page(tg.graph(y.sum())))
    assert 5 < shown.drawn(".box") < 300 and shown.severe() == []
    shown.one("#fit").click()
    assert all_is_in_view(shown)
    start = time.monotonic()
    shown.slide(3000)
    assert time.monotonic() - start < 60 and shown.drawn(".current") == 1
    shown.press("#search", "relu", "\n")
    box = shown.one(".box.chosen").rect
    assert box["width"] > 40  # found, and near enough to be read


@pytest.mark.parametrize("boxes", [0, 2])
def test_the_smallest_graphs_are_pages_too(driver, tmp_path, boxes):
    x = tg.ones(3, requires_grad=True)
    shown = Page(driver, tmp_path, page(tg.graph(tg.exp(x) if boxes else x)))
    assert shown.drawn(".box") == boxes and shown.severe() == []
    assert ("Nothing is recorded" in shown.panel()) == (boxes == 0)


def test_a_failed_op_is_in_view_and_told_when_the_page_opens(driver, tmp_path):
    rng = np.random.default_rng(2)
    net = nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1, rng=rng) for _ in range(12)],
                        nn.Flatten(), nn.Linear(100, 10, rng=rng))
    with pytest.raises(ValueError) as caught:
        net(tg.randn(2, 3, 8, 8, rng=rng))
    shown = Page(driver, tmp_path, tg.draw(caught.value).html())
    box = shown.one(".node.mark-failed.chosen").rect
    area = shown.one("#drawing").rect
    assert area["y"] < box["y"] and box["y"] + box["height"] < area["y"] + area["height"]
    assert "expects in_features=100" in shown.panel() and "this input needs in_features=192" in shown.panel()
    assert "\u2026" not in "".join(shown.texts(".mark-failed text"))  # the message is whole


def test_an_open_module_is_reached_and_closed_from_the_keyboard(lenet):
    lenet.press("#search", "relu", "\n", "\n")  # the module, then its call
    lenet.press("#drawing", "\ue003", "\n")
    assert lenet.one(".node.chosen").get_attribute("aria-label") == "module features.1 · ReLU, closed"
    lenet.press(".node.chosen", "\ue003")
    assert lenet.one(".node.chosen").get_attribute("aria-label") == "module features · Sequential, open"


def test_a_call_stands_below_the_middle_of_its_module(lenet):
    lenet.one("#fit").click()
    frame = lenet.node('frame 1 ["features","0"]').rect
    call = lenet.node(lenet.key_of("conv2d 5x5 padding 2")).rect
    left, right = call["x"] - frame["x"], frame["x"] + frame["width"] - call["x"] - call["width"]
    assert abs(left - right) < 0.3 * frame["width"]


def test_long_labels_are_broken_between_words(driver, tmp_path):
    x = tg.ones(1, 2, 9, 9, requires_grad=True)
    x.name = "a_name_that_is_one_long_word and a few short ones"
    shown = Page(driver, tmp_path, page(tg.graph(tg.exp(x))))
    lines = shown.texts(".parameter .label")
    assert len(lines) == 2 and " ".join(lines) == x.name


def test_values_of_the_forward_run_around_what_stands_beside_their_use(driver, tmp_path):
    net, loss = lenet_loss()
    loss.backward(create_graph=True)
    shown = Page(driver, tmp_path, page(tg.graph(loss, *[p.grad for p in net.parameters()])))
    points = np.array(shown.js("""return [...document.querySelectorAll('#camera .wire.across .line')].flatMap((line) => {
        const all = line.getTotalLength(), found = [];
        for (let at = 2; at < all - 2; at += 6) { const p = line.getPointAtLength(at); found.push([p.x, p.y]); }
        return found })"""))
    px, py = points.T[:, :, None]
    x, y, w, h = np.array(shown.js(BOXES)).T
    assert len(points) > 300
    assert not ((x + 1 < px) & (px < x + w - 1) & (y + 1 < py) & (py < y + h - 1)).any()


@pytest.mark.parametrize("width", [1000, 500])
def test_the_legend_leaves_its_button_free_and_the_story_moves_nothing(lenet, width):
    lenet.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False})
    try:
        lenet.one("#show-legend").click()
        lenet.one("#show-legend").click()  # raises if the legend covers it
        heights = set()
        for step in range(21):
            lenet.slide(step)
            heights.add(lenet.one("#drawing").rect["height"])
    finally:
        lenet.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert len(heights) == 1


def test_a_second_call_has_the_same_name_forward_and_backward(driver, tmp_path):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(4)
            self.first, self.last, self.act = nn.Linear(2, 2, rng=rng), nn.Linear(2, 2, rng=rng), nn.ReLU()

        def forward(self, x):
            return self.act(self.last(self.act(self.first(x))))

    drawing = nn.draw(Twice(), tg.ones(1, 2), loss=lambda y: (y * y).mean())
    shown = Page(driver, tmp_path, drawing.html())
    assert [text.split(" ")[1] for text in shown.texts(".title")] == [
        "forward", "first", "act", "last", "act#2", "backward", "act#2", "last", "act", "first"]


@pytest.mark.parametrize("name", ["lenet", "unet", "attention"])
def test_lines_never_turn_back(driver, tmp_path, name):
    shown = Page(driver, tmp_path, NETS[name]().html())
    shown.one("#expand-all").click()
    heights = shown.js("""return [...document.querySelectorAll('#camera .wire:not(.across) .line')].map((line) => {
        const all = line.getTotalLength(), count = Math.ceil(all / 3);
        return Array.from({ length: count + 1 }, (_, i) => line.getPointAtLength(all * i / count).y) })""")
    assert len(heights) > 40
    for line in heights:
        steps = np.sign(line[-1] - line[0]) * np.diff(line)
        assert (steps > -0.1).all()  # down in the forward, up in the backward, without stubs


def test_a_loop_leads_back_beside_its_boxes_and_says_how_often(driver, tmp_path):
    g = nn.draw(RNN(1), tg.zeros((2, 1, 3))).whole
    last, first = (next(box for box in g.boxes if box.label == label and box.scope[:1] == ("cell",))
                   for label in ("tanh", "linear"))
    way = Edge(last.id, first.id, last.shape, last.dtype, 0, back=True)
    scopes = {path: replace(s, times=20 if path == ("cell",) else 1) for path, s in g.scopes.items()}
    shown = Page(driver, tmp_path, page(replace(g, edges=(*g.edges, way), scopes=scopes)))
    shown.one("#expand-all").click()
    assert shown.drawn(".wire.loop") == 1 and shown.texts(".title .times")[0] == "x20"
    points = shown.js("""const line = document.querySelector('#camera .wire.loop .line'), all = line.getTotalLength();
        return Array.from({ length: 200 }, (_, i) => line.getPointAtLength(2 + (all - 4) * i / 199))
            .map((p) => [p.x, p.y])""")
    px, py = np.array(points).T[:, :, None]
    x, y, w, h = np.array(shown.js(BOXES)).T
    assert py[-1, 0] < py[0, 0] and not ((x + 1 < px) & (px < x + w - 1) & (y + 1 < py) & (py < y + h - 1)).any()
    shown.one("#collapse-all").click()
    assert "x20" in shown.texts(".closed .times") and shown.severe() == []


# ----- the minimap, the replay's keys, colours and small windows -----

def test_the_minimap_shows_where_one_is_and_takes_one_there(lenet):
    lenet.one("#fit").click()
    assert not lenet.one("#minimap").is_displayed()  # nothing is out of view
    for _ in range(6):
        lenet.one("#zoom-in").click()
    whole, part = lenet.one("#minimap").rect, lenet.one("#minimap div").rect
    assert lenet.one("#minimap").is_displayed() and part["height"] < 0.8 * whole["height"]
    from selenium.webdriver import ActionChains
    reach = whole["height"] / 2 - 2
    hand = ActionChains(lenet.driver).move_to_element_with_offset(lenet.one("#minimap"), 0, int(-reach))
    hand.click_and_hold().perform()
    top = lenet.one("#minimap div").rect["y"]
    hand = ActionChains(lenet.driver).move_by_offset(0, int(reach)).release().perform()
    middle = lenet.one("#minimap div").rect
    assert top < middle["y"] and middle["y"] + middle["height"] / 2 == pytest.approx(
        whole["y"] + whole["height"] / 2, abs=4)


def count(shown: Page) -> int:
    return int(shown.one("#count").text.split(" ")[0])


def test_the_replay_obeys_keys_and_buttons(lenet):
    keys = {"left": "\ue012", "right": "\ue014", "home": "\ue011", "end": "\ue010"}
    lenet.press("body", keys["right"], keys["right"], keys["left"])
    assert count(lenet) == 1
    lenet.press("#drawing", "..,")
    assert count(lenet) == 2
    lenet.press("#drawing", "b")
    assert count(lenet) == 11 and lenet.one("#narration").text.startswith("backward 1: ")
    lenet.press("#drawing", keys["end"])
    assert count(lenet) == 20
    lenet.press("#drawing", keys["home"])
    assert count(lenet) == 0
    lenet.one("#to-backward").click()
    assert count(lenet) == 11
    lenet.press("#search", "b .")
    assert count(lenet) == 11  # a letter in a field is a letter
    lenet.press("#drawing", " ")
    assert lenet.one("#play").text == "Pause"
    lenet.press("#drawing", " ")
    assert lenet.one("#play").text == "Play"
    for key in ("space", "b", "Home End", "[ ]"):
        assert key in lenet.texts("#panel th") or lenet.one("#help").click() or key in lenet.texts("#panel th")


def test_the_replay_runs_at_the_speed_that_is_chosen(lenet):
    lenet.press("#drawing", "]" * 9)
    assert lenet.js("return document.getElementById('speed').value") == "64"
    start = time.monotonic()
    lenet.one("#play").click()
    lenet.wait("return document.getElementById('count').textContent.startsWith('20 of')", 15)
    assert time.monotonic() - start < 15  # 18 s at the usual speed, and 0.3 s at this
    lenet.press("#drawing", "[" * 9)
    assert lenet.js("return document.getElementById('speed').value") == "0.5"
    assert lenet.one("#play").text == "Play"


CONTRAST = """
    const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const over = (colours) => {  // as many colours as there are, one over the other
        probe.clearRect(0, 0, 1, 1);
        for (const colour of colours) { probe.fillStyle = colour; probe.fillRect(0, 0, 1, 1); }
        return [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const grounds = (element) => {
        const own = [];
        for (let at = element; at; at = at.parentElement) own.unshift(getComputedStyle(at).backgroundColor);
        const shape = element.closest('.node, .across, .wire')?.querySelector('.shape');
        const fill = shape && getComputedStyle(shape).fill;
        return [...own, ...(fill && !fill.startsWith('url') ? [fill] : [])];
    };
    return [...document.querySelectorAll('button, input, select, p, th, td, h2, h3, output, span, #drawing text')]
        .filter((e) => e.textContent.trim() && e.getClientRects().length)
        .map((e) => {
            const style = getComputedStyle(e), ground = grounds(e);
            const ink = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
            const [a, b] = [light(over(ground)), light(over([...ground, ink]))];
            return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + '.' + e.getAttribute('class')
                + ' ' + e.textContent.trim().slice(0, 30)];
        });"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(lenet, theme):
    lenet.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": theme}]})
    try:
        lenet.one("#show-legend").click()
        lenet.one("#collapse-all").click()
        lenet.press("#search", "conv2d 5x5", "\n")
        lenet.slide(12)
        found = lenet.js(CONTRAST)
        assert len(found) > 60 and {"current", "done-forward", "match"} <= {
            name for name in ("current", "done-forward", "match") if lenet.drawn(f".{name}")}
        weak = [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5]
        assert not weak
        background = lenet.js("return getComputedStyle(document.body).backgroundColor")
        lenet.one("#theme").click()
        assert lenet.js("return getComputedStyle(document.body).backgroundColor") != background
        assert lenet.one("#theme").text == theme.capitalize()
        assert not [text for ratio, text in lenet.js(CONTRAST) if ratio < 4.5]
    finally:
        lenet.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_page_on_a_telephone_is_of_use(lenet):
    lenet.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True})
    lenet.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        lenet.wait("return innerWidth === 390")
        assert lenet.js("return document.documentElement.scrollWidth") <= 390
        assert lenet.one("#drawing").rect["height"] > 400 and not lenet.one("#panel").is_displayed()
        sizes = lenet.js("return [...document.querySelectorAll('button, select, input:not([type=range])')].filter("
                         "(e) => e.offsetWidth).map((e) => Math.min(e.offsetWidth, e.offsetHeight))")
        assert len(sizes) > 12 and min(sizes) >= 32
        lenet.slide(3)
        panel = lenet.one("#panel").rect
        assert lenet.one("#panel").is_displayed() and "max_pool2d" in lenet.panel()
        assert panel["x"] == 0 and panel["width"] == 390 and panel["height"] < 500
        assert lenet.drawn(".current") == 1 and lenet.one(".node.current").rect["y"] < panel["y"]
        lenet.one("#close-panel").click()
        assert not lenet.one("#panel").is_displayed()
        before = lenet.transform()
        for name, points in (("touchStart", [(150, 300), (250, 300)]), ("touchMove", [(100, 300), (300, 300)]),
                             ("touchEnd", [])):
            lenet.driver.execute_cdp_cmd("Input.dispatchTouchEvent", {
                "type": name, "touchPoints": [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]})
        near, far = (float(text.split("scale(")[1].rstrip(")")) for text in (lenet.transform(), before))
        assert near == pytest.approx(2 * far, rel=0.1)
    finally:
        lenet.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        lenet.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_in_a_sandboxed_frame_of_a_notebook_it_works_too(driver, tmp_path):
    from html import escape
    rng = np.random.default_rng(0)
    net = nn.Sequential(*[nn.Conv2d(2, 2, 3, padding=1, rng=rng) for _ in range(8)])
    text = nn.draw(net, tg.zeros((1, 2, 6, 6))).html()
    file = tmp_path / "notebook.html"
    file.write_text(f'<iframe sandbox="allow-scripts" srcdoc="{escape(text)}" style="width: 900px; height: 500px">',
                    encoding="utf-8")
    driver.get_log("browser")
    driver.get(file.as_uri())
    driver.switch_to.frame(driver.find_element("css selector", "iframe"))
    try:
        inside = Page.__new__(Page)
        inside.driver = driver
        inside.wait("return document.documentElement.dataset.ready === 'yes'")
        assert inside.drawn(".times") == 1 and inside.one("#drawing").rect["height"] > 300
        inside.one("#theme").click()
        ground = inside.js("return getComputedStyle(document.body).backgroundColor")
        inside.one("#unroll").click()
        inside.wait("return document.getElementById('unroll')?.textContent === 'Roll loops'"
                    " && document.documentElement.dataset.ready === 'yes'")
        assert inside.js("return getComputedStyle(document.body).backgroundColor") == ground
        inside.one("#forth").click()
        assert inside.drawn(".current") == 1 and "conv2d" in inside.panel() and inside.severe() == []
    finally:
        driver.switch_to.default_content()


def test_loops_are_rolled_at_first_and_a_button_shows_each_step(driver, tmp_path):
    shown = Page(driver, tmp_path, nn.draw(RNN(6), (2, 6, 3)).html())
    assert shown.one("#unroll").text == "Unroll loops"
    assert shown.texts(".times") == ["x6"]
    few, steps = shown.drawn(".node"), shown.one("#step").get_attribute("max")
    assert shown.drawn(".wire.loop") == 1
    shown.one("#unroll").click()
    shown.wait("return document.getElementById('unroll').textContent === 'Roll loops' "
               "&& document.documentElement.dataset.ready === 'yes'")
    assert shown.drawn(".node") > 2 * few and shown.drawn(".wire.loop") == 0
    assert shown.one("#step").get_attribute("max") == steps and shown.severe() == []
    shown.one("#unroll").click()
    shown.wait("return document.getElementById('unroll').textContent === 'Unroll loops' "
               "&& document.documentElement.dataset.ready === 'yes'")
    shown.slide(9)  # the second step of six: the same boxes light up again
    assert shown.drawn(".node") == few and shown.drawn(".current") == 1
