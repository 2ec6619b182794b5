"""The whole story of a gradient in a drawing: outputs, targets, seed, gradients, and what stands level."""
from __future__ import annotations

import functools
import math
import re

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.nets import NETS, Attention, LeNet, RNN, Siamese, ThreeOutputs, squares
from tests.test_page import content
from tinygrad_conv.draw.graph import backwards, module_path, title

LABELS, IMAGE = np.array([3, 1]), tg.ones(2, 10)
BACKWARD = [name for name in NETS if name != "chain"]  # drawn with their backward


@functools.cache
def whole(name):
    """A net as it is, each call with a frame of its own."""
    return NETS[name](unroll=True, hide=()).graph


def of_kind(graph, kind):
    return [box for box in graph.boxes if box.kind == kind]


def labels(graph, kind="output"):
    return [box.label for box in of_kind(graph, kind)]


def results(graph):
    """The outputs that are no gradients."""
    return [label for label in labels(graph) if not label.startswith("gradient of ")]


# ----- outputs -----

@pytest.mark.parametrize("name, expected", [
    ("lenet", {"output", "loss"}), ("three_outputs", {"label", "box", "score", "loss"}), ("gan", {"loss"}),
    ("chain", {"output"}), ("siamese", {"output", "loss"})])
def test_outputs_go_by_key_position_or_what_they_are(name, expected):
    g = whole(name)
    assert sorted(results(g)) == sorted(expected)
    for box in of_kind(g, "output"):
        source, *leaf = [edge for edge in g.edges if edge.target == box.id]
        assert source.shape == box.shape and bool(leaf) == box.label.startswith("gradient of")
        assert not any(edge.source == box.id for edge in g.edges)


class Pair(nn.Module):
    def forward(self, x):
        return tg.exp(x), [tg.neg(x), {"twice": x * 2.0}]


def test_outputs_of_a_model_go_by_their_positions():
    assert results(nn.draw(Pair(), (2, 3)).graph) == ["output 0", "output 1 0", "output 1 1 twice"]
    assert results(nn.draw(nn.ReLU(), (2, 3)).graph) == ["output"]


def test_an_output_goes_by_its_name_or_the_variable_that_holds_it():
    x = tg.ones(2, requires_grad=True)
    score, named = tg.exp(x), tg.neg(x)
    named.name = "hidden"
    assert results(tg.draw(score, named).graph) == ["score", "hidden"]
    assert not any("= hidden" in box.notes for box in tg.draw(score, named).graph.boxes)  # it is said once
    assert results(tg.draw(tg.exp(x), tg.neg(x), score).graph) == ["score", "output 0", "output 1"]
    assert results(tg.draw(score, score).graph) == ["score"]
    w = tg.ones(2, requires_grad=True)
    slope = tg.grad(lambda x: (x * x * w).sum())(x)
    assert results(tg.draw(slope).graph) == ["slope"]


def test_the_model_is_left_without_names_and_gradients():
    target = tg.ones(2, 10)
    nn.draw(LeNet(), (2, 1, 8, 8), loss=lambda y: tg.mse_loss(y, target))
    assert target.name == "" and target.grad is None


# ----- targets -----

TARGETS = {
    "closure": lambda labels: lambda y: tg.cross_entropy(y, labels),
    "module": lambda labels: lambda y: nn.CrossEntropyLoss()(y, labels),
    "default": lambda numbers: lambda y, labels=numbers: tg.cross_entropy(y, labels),
    "partial": lambda numbers: functools.partial(lambda y, labels: tg.cross_entropy(y, labels), labels=numbers),
    "batch": lambda numbers: (lambda batch: lambda y: tg.cross_entropy(y, batch["labels"]))({"labels": numbers}),
    "smoothed": lambda labels: lambda y: tg.cross_entropy(y, labels, label_smoothing=0.1)}


@pytest.mark.parametrize("how", TARGETS)
def test_targets_go_by_the_variables_of_the_loss(how):
    g = nn.draw(LeNet(), (2, 1, 8, 8), loss=TARGETS[how](np.array([3, 1]))).graph
    assert labels(g, "input") == ["x", "labels"]


@pytest.mark.parametrize("loss, expected", [
    (lambda y: tg.cross_entropy(y, LABELS), "LABELS"), (lambda y: tg.mse_loss(y, IMAGE), "IMAGE"),
    (lambda y: tg.cross_entropy(y, IMAGE / 10.0), "IMAGE"), (lambda y: tg.cross_entropy(y, np.array([3, 1])), "target"),
    (lambda y: tg.mse_loss(y * 2.0, tg.zeros(2, 10)), "y"),
    (lambda y: tg.mse_loss(y, IMAGE) + tg.mse_loss(y, tg.zeros(2, 10)), ["IMAGE", "y"]),
    (lambda y: tg.cross_entropy(y, LABELS) + tg.cross_entropy(y * 2.0, LABELS), ["LABELS", "LABELS"])])
def test_targets_go_by_globals_or_by_the_argument(loss, expected):
    assert labels(nn.draw(LeNet(), (2, 1, 8, 8), loss=loss).graph, "input") == [
        "x", *([expected] if isinstance(expected, str) else expected)]
    assert IMAGE.name == ""


def test_of_two_targets_each_has_its_name():
    boxes, labels_ = np.full((2, 4), 3.0, np.float32), np.array([1, 2])
    other = np.zeros((2, 4), np.float32)
    drawing = nn.draw(ThreeOutputs(), (2, 3, 8, 8), loss=lambda y: (
        tg.mse_loss(y["box"], boxes) + tg.cross_entropy(y["label"], labels_) + tg.mse_loss(y["box"], other)))
    assert labels(drawing.graph, "input") == ["x", "boxes", "labels_", "other"]


# ----- seed, gradients, level -----

@pytest.mark.parametrize("name", BACKWARD)
def test_a_backward_starts_at_the_loss(name):
    g = whole(name)
    loss = next(edge.source for edge in g.edges if edge.target == next(
        box.id for box in of_kind(g, "output") if box.label == "loss"))
    seeds = of_kind(g, "seed")
    assert seeds and {e.source for e in g.edges if e.target in [box.id for box in seeds]} == {loss}
    assert {box.label for box in seeds} == {"g" if name == "gan" else "seed 1"}


@pytest.mark.parametrize("name", BACKWARD)
def test_each_parameter_has_a_gradient_in_the_backward_of_its_module(name):
    g = whole(name)
    boxes = {box.id: box for box in g.boxes}
    gradients = [box for box in of_kind(g, "output") if box.label.startswith("gradient of ")]
    assert [boxes[box.of].kind for box in gradients] == ["parameter"] * len(of_kind(g, "parameter"))
    assert len({box.of for box in gradients}) == len(gradients)
    for box in gradients:
        leaf = boxes[box.of]
        assert box.label == f"gradient of {leaf.label}" and box.shape == leaf.shape
        assert box.scope == ("backward", *leaf.scope)
        link = next(edge for edge in g.edges if edge.target == box.id and edge.source == leaf.id)
        assert link.slot == 1 and link.shape == leaf.shape


@pytest.mark.parametrize("name", NETS)
def test_each_call_of_a_backward_knows_the_call_beside_it(name):
    g = whole(name)
    boxes = {box.id: box for box in g.boxes}
    for box in of_kind(g, "op"):
        if not backwards(box.scope):
            assert box.of == ""
            continue
        beside = boxes[box.of]
        assert beside.kind == "op" and beside.scope == module_path(box.scope)
        vjp = box.label.split()[0]
        assert not vjp.endswith("_vjp") or vjp.startswith(beside.label.split()[0])


@pytest.mark.parametrize("name", BACKWARD)
def test_closed_modules_stand_beside_their_backward_which_counts_the_gradients(name):
    g = NETS[name](unroll=True, depth=0).graph
    boxes = {box.id: box for box in g.boxes}
    counts = [int(n) for box in of_kind(g, "module") for note in box.notes for n in re.findall(r"^(\d+) gradients?$", note)]
    left = [box for box in of_kind(g, "output") if box.label.startswith("gradient of ")]
    assert sum(counts) + len(left) == len(of_kind(whole(name), "parameter"))
    for box in of_kind(g, "module"):
        assert box.of == (box.id.replace("module:backward.", "module:") if backwards(box.scope) else "")
        assert not box.of or boxes[box.of].label == box.label.removeprefix("backward of ")


def test_the_backward_of_functions_outside_modules_and_of_a_backward_knows_its_calls():
    x = tg.ones(3, requires_grad=True)
    loss = y = tg.sum(tg.sin(tg.exp(x)))
    for level in (1, 2):
        x.grad = None
        y.backward(create_graph=True)
        y = tg.sum(x.grad * x.grad)
        g = tg.graph(loss, y)
        boxes = {box.id: box for box in g.boxes}
        found = {(backwards(box.scope), backwards(boxes[box.of].scope)) for box in g.boxes if box.of}
        assert found == {(i, i - 1) for i in range(1, level + 1)}
    assert {boxes[box.of].label for box in g.boxes if box.of and backwards(box.scope) == 1} >= {"sin", "exp"}


def test_a_seed_comes_of_no_loss_that_its_gradient_led_to():
    x = tg.ones(3, requires_grad=True)
    tg.sum(tg.tanh(x)).backward(create_graph=True)
    g = tg.graph(tg.sum(x.grad * x.grad))
    number = {box.id: i for i, box in enumerate(g.boxes)}
    assert labels(g, "seed") == ["g"] and all(number[e.source] < number[e.target] for e in g.edges)


def test_a_gradient_that_two_leaves_share_belongs_to_the_backward():
    one, two = (tg.ones(3, requires_grad=True) for _ in "ab")
    tg.sum(tg.exp(one + two)).backward(create_graph=True)
    g = tg.draw(one.grad, two.grad).graph
    copied = next(box for box in g.boxes if box.label.startswith("identity"))
    assert copied.scope == ("backward",) and {box.scope for box in of_kind(g, "output")} == {("backward",)}


def test_a_gradient_that_was_not_recorded_is_drawn_beside_others_alone():
    w, b = (tg.ones(3, requires_grad=True) for _ in "wb")
    loss = tg.sum(tg.exp(w) + b)
    loss.backward(create_graph=True)
    assert b.grad.node is None
    drawn = tg.draw(loss, w.grad, b.grad).graph
    notes = {box.of: box.notes for box in of_kind(drawn, "output") if box.of}
    assert sorted(notes.values()) == [(), ("made by calls that are not recorded",)]
    loss = tg.sum(tg.exp(w))
    w.grad = None
    loss.backward()
    assert labels(tg.draw(loss, w.grad).graph) == ["loss"]


def test_outputs_can_be_hidden():
    assert not labels(NETS["lenet"](hide=("constant", "output")).graph)
    listed = NETS["lenet"](hide="parameter", depth=None).graph
    assert len(labels(listed)) == 10 and "(" not in "".join(labels(listed))


def test_a_page_has_the_outputs_with_their_values_and_what_stands_level():
    data = content(NETS["three_outputs"]().html())
    outputs = [box for box in data["boxes"] if box["kind"] == "output"]
    assert {box["label"] for box in outputs} >= {"loss", "label", "box", "score", "gradient of weight"}
    assert all(box["values"]["count"] == math.prod(box["shape"]) for box in outputs)
    for box in outputs:
        beside = None if box.get("of") is None else data["boxes"][box["of"]]["label"]
        assert box["label"].removeprefix("gradient of ") == (beside or box["label"])
    assert not any(step["box"] in map(data["boxes"].index, outputs) for step in data["steps"])


# ----- weights used again -----

def frames_of(drawing):
    return [title(scope) for scope in drawing.graph.scopes.values()]


def notes_of(drawing):
    return {box.label: box.notes for box in drawing.graph.boxes if box.kind != "input"}


def test_a_second_call_says_so_open_closed_and_in_the_page():
    inputs = (2, 1, 8, 8), (2, 1, 8, 8)
    assert [f for f in frames_of(nn.draw(Siamese(), *inputs)) if "same" in f] == [
        "trunk#2  Sequential  same weights as trunk", "trunk#2.0  Conv2d  same weights as trunk.0",
        "trunk#2.3  Linear  same weights as trunk.3"]
    assert notes_of(nn.draw(Siamese(), *inputs, depth=0))["trunk#2  Sequential"] == ("same weights as trunk",)
    assert notes_of(nn.draw(Siamese(), *inputs, depth=1))["trunk#2.0  Conv2d"] == ("same weights as trunk.0",)
    told = {".".join(scope["path"]): scope["notes"] for scope in content(NETS["siamese"]().html())["scopes"]}
    assert {path: notes for path, notes in told.items() if notes} == {
        "trunk#2": ["same weights as trunk"], "trunk#2.0": ["same weights as trunk.0"],
        "trunk#2.3": ["same weights as trunk.3"]}


class Auto(nn.Module):
    """An autoencoder whose decoder has the encoder's weights, transposed."""

    def __init__(self):
        super().__init__()
        self.enc, self.bias = nn.Linear(6, 3), nn.Parameter(np.zeros(6, np.float32))

    def forward(self, x):
        return tg.linear(tg.tanh(self.enc(x)), self.enc.weight.T, self.bias)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = (nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in "ed")
        self.decoder[0].weight = self.encoder[0].weight

    def forward(self, x):
        return self.decoder(self.encoder(x))


def test_a_weight_of_another_module_says_whose_it_is():
    for depth in (None, 0):
        said = notes_of(nn.draw(Auto(), (2, 6), depth=depth))
        assert said["transpose axes (1,0)"] == ("same weight as enc",)
        assert not depth or said["enc  Linear"] == ("21 parameters, 18 of them shared",)
    assert "decoder.0  Linear  same weight as encoder.0" in frames_of(nn.draw(Tied(), (2, 4), unroll=True))
    count = "20 parameters, 16 of them shared"
    said = notes_of(nn.draw(Tied(), (2, 4), depth=0, unroll=True))
    assert said["encoder  Sequential"] == (count,)
    assert said["decoder  Sequential"] == ("0: same weight as encoder.0", count)


def test_a_use_before_the_module_is_named_by_its_call():
    net = nn.Linear(3, 3)
    with tg.scope("other"):
        y = tg.tanh(tg.ones(2, 3) @ net.weight)
    outer = nn.Sequential(net)
    assert "0  Linear  same weight as other" in frames_of(tg.draw(outer(y)))
    y = tg.tanh(tg.ones(2, 3) @ net.weight)
    assert "0  Linear  same weight as matmul" in frames_of(tg.draw(outer(y)))


@pytest.mark.parametrize("depth", [None, 0, 1])
@pytest.mark.parametrize("name", NETS)
def test_each_parameter_counts_once_in_all(name, depth):
    numbers = sum(math.prod(box.shape) for box in of_kind(whole(name), "parameter"))
    legend = NETS[name](depth=depth, show="parameters", unroll=True).graph.legend
    assert ("", f"in all: {numbers:,} parameter{'s' * (numbers > 1)}") in legend


# ----- modules by identity -----

@pytest.mark.parametrize("make, shape", [
    (LeNet, (2, 1, 8, 8)), (RNN, (2, 20, 3)), (Attention, (2, 6, 8)), (ThreeOutputs, (2, 3, 8, 8)),
    (lambda: nn.Sequential(nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Sequential(nn.Linear(3, 3))), (2, 3))])
def test_frames_are_the_same_by_both_ways_to_draw(make, shape):
    net = make()
    y = net(tg.ones(*shape))
    outputs = [*y.values()] if isinstance(y, dict) else [y]
    assert frames_of(tg.draw(*outputs, unroll=True)) == frames_of(nn.draw(net, shape, unroll=True))


class Trainer:
    def __init__(self):
        self.G, self.D = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(3, 1))

    def drawn(self):
        loss = self.D(self.G(tg.ones(1, 2))).mean()
        return tg.draw(loss, depth=0)


def test_models_in_attributes_go_by_these_and_local_ones_by_their_class():
    assert labels(Trainer().drawn().graph, "module") == ["G  Sequential", "D  Sequential"]

    def inside(x):
        first, second = nn.Sequential(nn.Linear(3, 2)), nn.Linear(2, 1)
        return second(first(x))
    assert labels(tg.draw(inside(tg.ones(1, 3)), depth=0).graph, "module") == ["Sequential", "Linear"]


def test_a_model_called_twice_has_a_frame_for_each_call():
    net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    y = net(net(tg.ones(2, 3)))
    assert notes_of(tg.draw(y, depth=0, unroll=True)) == {
        "net  Sequential": ("12 parameters",), "net#2  Sequential": ("same weights as net",), "y": ()}


def test_a_sum_of_cotangents_stands_where_the_paths_part_and_not_in_a_module_that_only_one_passes():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.pool, self.up = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            y = self.first(x)
            return self.up(self.pool(y)) + y

    drawing = nn.draw(Skip(), tg.zeros(2, 4), loss=lambda y: (y * y).mean())
    sums = [box.scope for box in drawing.graph.boxes if box.label == "add" and box.scope[:1] == ("backward",)]
    assert ("backward", "first") in sums and not {("backward", "pool"), ("backward", "up")} & {*sums}


def test_the_legend_names_parameters_that_no_gradient_reaches_or_that_are_not_used():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(2, 2)

        def forward(self, x):
            return self.last(self.first(x).detach())

    def said(**options):
        return [text for _, text in nn.draw(Cut(), (2, 4), **options).graph.legend]
    assert said(loss=squares)[-1] == "no gradient reaches: first.weight, first.bias, unused.weight, unused.bias"
    assert said()[-1] == "not used: first.weight, first.bias, unused.weight, unused.bias"  # a cut is the end of the record
    assert not any("reaches" in text or "not used" in text for _, text in NETS["lenet"]().graph.legend)


def test_the_page_leaves_out_what_the_picture_does():
    drawing = NETS["siamese"]()
    kinds = {box["kind"] for box in content(drawing.html())["boxes"]}
    assert "constant" not in kinds and "constant" in {box["kind"] for box in content(NETS["siamese"](hide=()).html())["boxes"]}


def test_a_drawing_says_how_it_is_shown():
    for name in ("show", "view", "render", "open"):
        with pytest.raises(AttributeError, match=f"a drawing has no attribute '{name}'; instead: drawing.save"):
            getattr(NETS["lenet"](), name)
