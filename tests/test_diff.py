"""Differences of two drawings: what an edit did is found and nothing else, as lines and as a picture."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.nets import NETS, Block, ResNet, chain, modules, squares

ROOT = Path(__file__).resolve().parent.parent


def conv(c: int, o: int, k: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(c, o, k, padding=k // 2, rng=np.random.default_rng(0), **options)


def linear(i: int, o: int, **options) -> nn.Linear:
    return nn.Linear(i, o, rng=np.random.default_rng(0), **options)


def images(*layers: nn.Module, **options) -> tg.Drawing:
    return nn.draw(nn.Sequential(*layers), (2, 1, 8, 8), **options)


def rows(*layers: nn.Module, **options) -> tg.Drawing:
    return nn.draw(nn.Sequential(*layers), (2, 8), **options)


def deep(*extra: nn.Module, at: int = 20) -> list[nn.Module]:
    layers = [nn.Sequential(linear(8, 8), nn.ReLU()) if i % 3 else linear(8, 8) for i in range(50)]
    return [*layers[:at], *extra, *layers[at:]]


# ----- one edit each: the lines -----

def test_training_and_evaluation_differ_in_dropout_and_batch_norm():
    net = nn.Sequential(conv(1, 4), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    x = tg.ones(2, 1, 8, 8)
    train = tg.draw(net.train()(x))
    evaluation = tg.draw(net.eval()(x))
    assert str(tg.diff(train, evaluation)).splitlines() == [
        "~ 1  BatchNorm2d: reshape, reshape, normalize axes (0,2,3) eps 1e-05 -> scale eps 1e-05",
        "- 3  Dropout  -> 2x4x8x8"]


@pytest.mark.parametrize("loss", [None, squares], ids=["forward", "backward"])
def test_a_layer_that_is_inserted_is_one_line_and_the_shift_of_names_another(loss):
    d = tg.diff(rows(*deep(), loss=loss), rows(*deep(nn.Tanh()), loss=loss))
    assert str(d).splitlines() == ["+ 20  Tanh  -> 2x8", "> 20..49  -> 21..50"]


def test_a_layer_of_a_live_net_that_is_removed_is_known_by_its_parameters():
    net = ResNet(8)
    before = nn.draw(net, (1, 3, 8, 8), loss=squares)
    net.stage1 = nn.Sequential(*[block for i, block in enumerate(net.stage1) if i != 3])
    assert str(tg.diff(before, nn.draw(net, (1, 3, 8, 8), loss=squares))).splitlines() == [
        "- stage1.3  Block  -> 1x8x8x8  1,184 parameters", "> stage1.4..7  -> stage1.3..6"]


def test_a_layer_that_is_replaced_is_removed_and_added():
    d = tg.diff(rows(linear(8, 8), nn.ReLU(), linear(8, 4)), rows(linear(8, 8), nn.GELU(), linear(8, 4)))
    assert str(d) == "- 1  ReLU  -> 2x8\n+ 1  GELU  -> 2x8"


def test_a_kernel_of_another_size_is_one_line_with_old_and_new():
    d = tg.diff(images(conv(1, 4), nn.ReLU()), images(conv(1, 4, 5), nn.ReLU()))
    assert str(d) == "~ 0  Conv2d: conv2d 3x3 padding 1 -> conv2d 5x5 padding 2; weight 4x1x3x3 -> 4x1x5x5"


def test_shapes_that_follow_from_a_stride_are_counted_not_listed():
    d = tg.diff(images(conv(1, 4), nn.ReLU(), conv(4, 4)), images(conv(1, 4, stride=2), nn.ReLU(), conv(4, 4)))
    assert str(d).splitlines() == ["~ 0  Conv2d: conv2d 3x3 padding 1 -> conv2d 3x3 stride 2 padding 1",
                                   "and 2 of what follows in shape or dtype"]


def test_more_features_are_a_change_of_the_two_layers_that_have_them():
    d = tg.diff(rows(linear(8, 8), nn.ReLU(), linear(8, 4)), rows(linear(8, 6), nn.ReLU(), linear(6, 4)))
    assert [(c.mark, c.path) for c in d.changes] == [("changed", "0"), ("changed", "2")]
    assert d.changes[0].what == "Linear: weight 8x8 -> 6x8; bias 8 -> 6" and d.follow == 2


def test_a_batch_of_another_size_is_a_change_of_the_input():
    net = nn.Sequential(conv(1, 4), nn.ReLU())
    d = tg.diff(nn.draw(net, (2, 1, 8, 8)), nn.draw(net, (5, 1, 8, 8)))
    assert str(d) == "~ x 2x1x8x8 -> 5x1x8x8\nand 2 of what follows in shape or dtype"


class Skip(nn.Module):
    """Two layers; the second result is put beside what `skip` says."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.one, self.two, self.skip = linear(8, 8), linear(8, 8), skip

    def forward(self, x):
        y = self.one(x)
        z = self.two(y)
        return tg.concatenate([z, y] if self.skip else [z], axis=1)


def test_a_skip_connection_is_a_change_of_where_it_enters():
    d = tg.diff(nn.draw(Skip(False), (2, 8)), nn.draw(Skip(True), (2, 8)))
    assert not d.added and not d.removed and len(d.changed) == 1
    assert "input of concatenate none -> one.linear" in d.changed[0].what
    assert [(e.source, e.mark) for e in d.graph.edges if e.mark] == [("module:one", "added")]


def test_inputs_that_swap_places():
    x, y = tg.ones(3, requires_grad=True), tg.ones(3, requires_grad=True)
    a, b = tg.exp(x), tg.tanh(y)
    assert "inputs of sub in another order" in str(tg.diff(tg.draw(a - b), tg.draw(b - a)))


def test_a_dtype_everywhere_is_one_line():
    layers = [[linear(8, 8, dtype=dtype) for _ in range(3)] for dtype in (np.float32, np.float64)]
    a, b = (nn.draw(nn.Sequential(*own), tg.ones(2, 8, dtype=dtype))
            for own, dtype in zip(layers, (np.float32, np.float64)))
    assert str(tg.diff(a, b)).splitlines()[0] == "~ 7 times float32 -> float64: x, 0.weight, 0.bias, 1.weight, ..."
    assert len(tg.diff(a, b).changes) == 1


def test_frozen_parameters():
    layer = nn.Sequential(linear(8, 8))
    before = nn.draw(layer, (2, 8))
    layer[0].weight.requires_grad = False
    d = tg.diff(before, nn.draw(layer, (2, 8)))
    assert len(d.changes) == 1 and "weight parameter -> constant" in str(d)


def test_a_number_is_compared_by_value():
    x = tg.ones(3, requires_grad=True)
    assert str(tg.diff(tg.draw(x * 2.0), tg.draw(x * 3.0))) == "~ y 2 -> 3"


def test_a_module_in_another_place_is_moved():
    one, two, act = linear(8, 8), linear(8, 8), nn.ReLU()
    d = tg.diff(rows(one, act, two), rows(two, act, one))
    assert {(c.path, c.what) for c in d.moved} == {("2", "-> 0"), ("0", "-> 2")}
    assert not d.added and not d.removed


def test_of_two_that_fit_the_one_of_the_same_name_is_the_same():
    class Branches(nn.Module):
        def __init__(self, **widths: int) -> None:
            super().__init__()
            for name, width in widths.items():
                setattr(self, name, linear(8, width))

        def forward(self, x):
            return tg.concatenate([branch(x) for _, branch in self.named_children()], axis=1)

    d = tg.diff(nn.draw(Branches(one=6, two=6), (2, 8)), nn.draw(Branches(one=7), (2, 8)))
    assert [(c.mark, c.path) for c in d.changes] == [("changed", "one"), ("removed", "two")]


def test_a_class_by_another_name_with_the_same_parameters_is_a_line():
    class Dense(nn.Linear):
        pass

    net = nn.Sequential(linear(8, 8), nn.ReLU())
    before, dense = nn.draw(net, (2, 8)), Dense(8, 8)
    dense.weight, dense.bias = net[0].weight, net[0].bias
    assert str(tg.diff(before, rows(dense, nn.ReLU()))) == "~ 0  Linear -> Dense"


def test_a_module_that_keeps_some_parameters_is_the_same_wherever_it_stands():
    class Pair(nn.Module):
        def __init__(self, one: nn.Module, two: nn.Module) -> None:
            super().__init__()
            self.one, self.two = one, two

        def forward(self, x):
            return self.two(self.one(x))

    class Couple(Pair):
        pass

    one = linear(8, 8)
    d = tg.diff(rows(Pair(one, linear(8, 8))), rows(nn.Sequential(linear(8, 8), nn.Tanh()), Couple(one, linear(8, 4))))
    assert str(d).splitlines() == ["+ 0  Sequential  -> 2x8  72 parameters", "> 0  -> 1", "~ 1  Pair -> Couple",
                                   "~ 1.two  Linear: weight 8x8 -> 4x8; bias 8 -> 4",
                                   "and 1 of what follows in shape or dtype"]


# ----- nothing where there is nothing -----

@pytest.mark.parametrize("name", NETS)
def test_a_net_made_twice_is_no_difference(name):
    a, b = NETS[name](), NETS[name](depth=0, show="parameters")  # however it is drawn
    d = tg.diff(a, b)
    assert str(d) == "no difference" and not d and not d.changes
    assert not any(box.mark for box in d.graph.boxes) and not any(e.mark for e in d.whole.edges)


def test_only_drawings_have_differences():
    with pytest.raises(TypeError, match="diff: expects two drawings, of tg.draw or nn.draw"):
        tg.diff(NETS["lenet"](), nn.Sequential(linear(8, 8)))


@pytest.mark.parametrize("a, b", [("lenet", "unet"), ("resnet", "densenet"), ("rnn", "attention"),
                                  ("chain", "siamese"), ("gan", "three_outputs")])
def test_the_other_way_round_added_is_removed(a, b):
    one, two = NETS[a](), NETS[b]()
    there, back = tg.diff(one, two), tg.diff(two, one)
    assert there and back
    for mark, other in (("added", "removed"), ("removed", "added"), ("changed", "changed")):
        assert sum(box.mark == mark for box in there.whole.boxes) == sum(box.mark == other for box in back.whole.boxes)
    assert sorted(c.what for c in there.added) == sorted(c.what for c in back.removed)


def test_both_graphs_are_in_the_picture():
    one, two = NETS["lenet"](), NETS["unet"]()
    boxes = tg.diff(one, two).whole.boxes
    assert len({box.id for box in boxes}) == len(boxes)
    assert sum(box.mark != "added" for box in boxes) == len(one.whole.boxes)
    assert sum(box.mark != "removed" for box in boxes) == len(two.whole.boxes)


# ----- random edits of random nets -----

def stack(sizes: list[int], acts: list[type]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for i, o, act in zip(sizes, sizes[1:], acts):
        layers += [linear(i, o), act()]
    return layers


@pytest.mark.parametrize("seed", range(25))
def test_a_known_edit_is_found_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    depth = int(rng.integers(3, 9))
    sizes = [8, *[int(n) for n in rng.integers(2, 7, depth)]]
    acts = [(nn.ReLU, nn.Tanh, nn.Sigmoid)[i] for i in rng.integers(0, 3, depth)]
    before, after = stack(sizes, acts), stack(sizes, acts)
    at = int(rng.integers(1, len(after)))  # what comes before the first parameter has no gradient
    edit = ("insert", "remove", "replace", "bias")[int(rng.integers(0, 4))]
    at -= at % 2 if edit == "bias" else 0
    at += (at % 2 == 0) if edit in ("remove", "replace") else 0
    if edit == "insert":
        after.insert(at, nn.GELU())
    elif edit == "remove":
        del after[at]
    elif edit == "replace":
        after[at] = nn.GELU()
    else:
        after[at] = linear(after[at].weight.shape[1], after[at].weight.shape[0], bias=False)
    d = tg.diff(rows(*before, loss=squares), rows(*after, loss=squares))
    # of the backward: the two cotangents of y * y meet where the last layer is differentiated
    found = [(c.mark, c.path) for c in d.changes if c.mark != "moved" and not c.path.startswith("backward of")]
    assert found == {"insert": [("added", str(at))], "remove": [("removed", str(at))],
                     "replace": [("removed", str(at)), ("added", str(at))], "bias": [("changed", str(at))]}[edit]
    assert len(d.moved) == (edit in ("insert", "remove") and at < min(len(before), len(after))) and d.follow == 0


# ----- the picture -----

def test_the_picture_says_everything_without_colour():
    d = tg.diff(images(conv(1, 4), nn.ReLU()), images(conv(1, 4, 5), nn.GELU()))
    drawn = {box.label: box for box in d.graph.boxes}
    assert {"- 1 (old)  ReLU", "+ 1  GELU", "~ conv2d 5x5 padding 2", "~ weight"} <= {*drawn}
    assert drawn["~ weight"].notes == ("4x1x3x3 -> 4x1x5x5",)
    assert "dashed" in next(line for line in d.dot.splitlines() if "- 1 (old)" in line)
    assert [mark for mark, _ in d.graph.legend] == ["added", "removed", "changed"]


def different(*extra: nn.Module, at: int = 20) -> list[nn.Module]:
    """Modules of which no two neighbours, or pairs of them, are alike."""
    sizes = [8, *[2 + i * i % 31 for i in range(49)]]
    layers = [nn.Sequential(linear(i, o), nn.ReLU()) for i, o in zip(sizes, sizes[1:])]
    return [*layers[:at], *extra, *layers[at:]]


def test_what_is_the_same_is_one_box_and_what_is_far_is_left_out():
    d = tg.diff(rows(*different()), rows(*different(nn.Tanh())))
    assert [box.label for box in d.graph.boxes] == [
        "17  Sequential", "18  Sequential", "19  Sequential", "+ 20  Tanh", "21  Sequential", "22  Sequential",
        "23  Sequential"]
    assert any("boxes without a difference are left out" in text for _, text in d.graph.legend)
    assert len(d.whole.boxes) == len(rows(*different(nn.Tanh())).whole.boxes)


def test_a_change_in_the_middle_of_equal_blocks_is_shown_alone():
    """What is alike before and after it is drawn once each."""
    d = tg.diff(nn.draw(nn.Sequential(*[Block(2, 2) for _ in range(6)]), (1, 2, 4, 4)),
                nn.draw(nn.Sequential(*[Block(2, 2) for _ in range(3)], nn.ReLU(), *[Block(2, 2) for _ in range(3)]),
                        (1, 2, 4, 4)))
    boxes = {box.id: box.label for box in d.graph.boxes}
    assert [*boxes.values()] == ["x", "0  Block  x3", "+ 3  ReLU", "4  Block", "5  Block  x2", "output"]
    assert {(boxes[e.source][:3], boxes[e.target][:3], e.mark) for e in d.graph.edges if e.mark} == {
        ("0  ", "+ 3", "added"), ("+ 3", "4  ", "added"), ("0  ", "4  ", "removed")}


def test_equal_lines_in_a_row_are_one():
    d = tg.diff(NETS["rnn"](loss=None), NETS["rnn_everywhere"](loss=None))
    assert str(d).splitlines()[:2] == ["+ head  Linear  -> 2x2  x19", "+ reshape  -> 2x1x2  x20"] and len(d.added) > 39


@pytest.mark.parametrize("program", ["dot", "graphviz-pure"])
@pytest.mark.parametrize("pair", [("lenet", "unet"), ("rnn", "rnn_everywhere")], ids="-".join)
def test_both_engines_draw_it(program, pair, tmp_path, monkeypatch):
    import shutil

    from tinygrad_conv.draw import drawing
    which = shutil.which
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if which(program, path=beside) is None:
        pytest.skip(f"{program} is not installed")
    monkeypatch.setattr(drawing.shutil, "which", lambda name, path=None: (
        which(name, path=beside) if name == program else None))
    picture = tg.diff(*[NETS[name](loss=None) for name in pair]).save(tmp_path / "d.svg")
    assert picture.suffix == ".svg" and b"added" in picture.read_bytes()


def test_the_page_holds_the_marks_of_boxes_and_edges():
    d = tg.diff(rows(linear(8, 8), nn.ReLU()), rows(linear(8, 8), nn.GELU(), nn.Tanh()))
    page = d.html("diff")
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.S).group(1))
    assert data["boxes"]["mark"].count("removed") == 1 and data["boxes"]["mark"].count("added") == 2
    assert {*data["edges"]["mark"]} == {None, "added", "removed"}
    program, style = page.split("<script>")[-1], page.split("<style>")[1]
    for mark in ("added", "removed", "changed"):
        assert f"{mark}: " in program and f".mark-{mark} " in style


def test_the_listing_is_what_is_saved_as_text(tmp_path):
    d = tg.diff(rows(linear(8, 8)), rows(linear(8, 8), nn.Tanh()))
    assert d.save(tmp_path / "d.txt").read_text() == "+ 1  Tanh  -> 2x8\n" == f"{d!r}\n"


def test_lines_and_picture_are_the_same_whatever_the_hash_seed():
    program = ("from tests.nets import NETS; import tinygrad_conv as tg;"
               "d = tg.diff(NETS['resnet'](loss=None), NETS['unet'](loss=None)); print(d); print(d.dot)")
    said = {subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, timeout=120,
                           env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}).stdout
            for seed in ("0", "1", "2")}
    assert len(said) == 1


def test_time_grows_as_the_net_does():
    """Ten times the boxes in less than sixty times the time; also of a chain in no module."""
    import time

    def seconds(*drawings: tg.Drawing) -> float:
        start = time.perf_counter()
        tg.diff(*drawings)
        return time.perf_counter() - start
    small, large = ([modules(count), modules(count + 10)] for count in (40, 400))
    assert seconds(*large) < 60 * max(seconds(*small), 0.01)
    assert seconds(chain(4000), chain(4002)) < 60 * max(seconds(chain(400), chain(402)), 0.01)


def test_another_result_of_the_same_call_and_the_last_digit_of_a_number_are_differences():
    @tg.primitive
    def two(x):
        return x * 1.0, x * 2.0
    two.defvjp(lambda g, ans, x: g[0] + 2 * g[1])
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    a, b = two(x)
    assert str(tg.diff(tg.draw(tg.exp(a)), tg.draw(tg.exp(b)))) == "~ input of exp two -> two result 2"
    assert not tg.diff(tg.draw(tg.exp(a)), tg.draw(tg.exp(two(x)[0])))
    assert tg.diff(tg.draw(x + 1234567.0), tg.draw(x + 1234568.0)) and not tg.diff(tg.draw(x + 0.1), tg.draw(x + 0.1))
