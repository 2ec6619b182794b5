"""Loops rolled: what is, what must not be, and that nothing is lost or made up by it."""
from __future__ import annotations

import cProfile
import pstats
import random
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.nets import NETS, RNN, modules, squares
from tests.test_page import content
from tinygrad_conv.draw.annotate import annotate, write_figures
from tinygrad_conv.draw.collapse import collapse, frame_each_call, without
from tinygrad_conv.draw.graph import CALLS, Loop, backwards, frames
from tinygrad_conv.draw.loops import roll


def leaf(*shape, name=""):
    t = tg.ones(*shape, requires_grad=True)
    t.name = name
    return t


def rolled(*outputs, hide=("constant",)):
    return roll(without(frame_each_call(tg.graph(*outputs)), hide))


def times(graph):
    return {".".join(path): scope.times for path, scope in graph.scopes.items() if scope.times > 1}


def labels(graph):
    return [box.label for box in graph.boxes]


def ways_back(graph):
    by_id = {box.id: box.label for box in graph.boxes}
    return [(by_id[e.source], by_id[e.target]) for e in graph.edges if e.back]


def forward(graph):
    return [box for box in graph.boxes if not backwards(box.scope)]


# ----- the nets -----

@pytest.mark.parametrize("loss", [None, squares])
def test_a_recurrent_net_of_20_steps_is_few_boxes(loss):
    g = NETS["rnn"](depth=0, loss=loss).graph
    assert len(forward(g)) <= 12 and times(g)["loop"] == 20
    cell = next(box for box in g.boxes if box.label == "cell  Cell")
    assert cell.notes[0] == "104 parameters, the same each time"
    assert [(e.source, e.target) for e in g.edges if e.back and e.source == cell.id] == [(cell.id, cell.id)]
    assert sum(box.kind == "module" and bool(backwards(box.scope)) for box in g.boxes) == (4 if loss else 0)


def test_the_backward_of_20_steps_is_no_wider_than_a_screen():
    dot = shutil.which("dot") or pytest.skip("no Graphviz")
    for name in ("rnn", "rnn_everywhere"):
        text = NETS[name](depth=0).dot
        svg = subprocess.run([dot, "-Tsvg"], input=text.encode(), capture_output=True, check=True, timeout=60).stdout
        assert int(re.search(rb'<svg width="(\d+)pt"', svg)[1]) < 1400


def test_a_step_takes_another_slice_each_time():
    g = NETS["rnn"](loss=None).graph
    assert times(g) == {"loop": 20} and "getitem index (:,0..19)" in labels(g)
    assert ways_back(g) == [("tanh", "linear")]
    assert g.scopes[(Loop("loop"),)].notes == ("same weights each time",)


def test_results_of_all_steps_that_meet_in_one_call_roll_too():
    g = NETS["rnn_everywhere"](loss=None).graph
    assert times(g) == {"loop": 20, "loop#2": 20}
    assert labels(g)[-3:] == ["reshape", "concatenate axis 1", "output"]


def test_a_backward_rolls_but_for_its_two_ends():
    g = NETS["rnn"](depth=0).graph
    assert [box.label for box in g.boxes if box.kind == "module" and backwards(box.scope)][1:] == [
        "backward of cell#20  Cell", "backward of cell#2  Cell  x18", "backward of cell  Cell"]


def test_eight_blocks_and_their_backward_are_one_each():
    g = NETS["resnet"](depth=1).graph
    assert times(collapse(roll(frame_each_call(NETS["resnet"]().whole)), 2)) == {"stage1.0": 8, "backward.stage1.0": 8}
    assert {box.label: box.notes[0] for box in g.boxes if box.label.endswith("x8")} == {
        "stage1.0  Block  x8": "8 x 1,184 parameters", "backward of stage1.0  Block  x8": "8 x 6 gradients"}


def test_five_hundred_ops_are_two():
    g = NETS["chain"]().graph
    assert labels(g) == ["x", "tanh", "mul (_, 1..250)", "sum axis 0", "output"] and times(g) == {"loop": 250}
    assert ways_back(g) == [("mul (_, 1..250)", "tanh")]


def test_of_a_thousand_modules_nothing_is_lost():
    check(frame_each_call(annotate(modules(1000, unroll=True).whole, ["flops", "parameters"])))


def test_of_a_thousand_modules_no_two_equal_ones_stand_side_by_side():
    g = collapse(modules(1000).graph, 1)
    frame = [box for box in g.boxes if box.kind == "module"]
    kinds = [(box.scope, box.label.split("  ")[1]) for box in frame]
    assert len(frame) < 500 and all(a != b for a, b in zip(kinds, kinds[1:]))


# ----- what may differ -----

def test_a_stretch_of_calls_and_frames_has_a_frame_of_its_own():
    y = x = leaf(3, name="x")
    for i in range(4):
        with tg.scope(f"cell{i}"):
            y = tg.exp(y)
        y = tg.neg(y) + x
    g = rolled(y)
    assert times(g) == {"loop": 4} and labels(g) == ["x", "exp", "neg", "add"]
    assert [".".join(box.scope) for box in g.boxes] == ["", "loop.cell0", "loop", "loop"]


def test_loops_stand_in_loops():
    y = leaf(3)
    for _ in range(4):
        for _ in range(5):
            y = tg.exp(tg.neg(y))
        y = tg.sin(y)
    g = rolled(y)
    assert labels(g) == ["x", "neg", "exp", "sin"] and sorted(times(g).values()) == [4, 5]
    assert sorted(ways_back(g)) == [("exp", "neg"), ("sin", "neg")] and g.counts["op0"] == 20


def test_the_same_parts_twice_share_what_they_share():
    parts = [nn.Linear(3, 3) for _ in range(3)]
    acts = [tg.tanh, tg.exp, tg.sin]
    y = tg.ones(2, 3)
    for _ in range(4):
        for part, act in zip(parts, acts):
            y = act(part(y))
    g = nn.draw(nn.Sequential(*parts), tg.ones(2, 3), loss=None).graph
    assert sum(np.prod(box.shape) * g.counts.get(box.id, 1) for box in g.boxes if box.kind == "parameter") == 36
    g = rolled(y)
    assert list(times(g).values()) == [4] and sum(box.kind == "parameter" for box in g.boxes) == 6
    assert all(g.counts.get(box.id, 1) == 1 for box in g.boxes if box.kind == "parameter")


def test_constants_and_places_that_run_are_written_as_ranges():
    x = leaf(3, 6, name="x")
    g = rolled(tg.stack([tg.exp(x[:, i]) * (1.0 + i) for i in range(6)]))
    assert labels(g)[:4] == ["x", "getitem index (:,0..5)", "exp", "mul (_, 1..6)"]
    shown = rolled(tg.stack([tg.exp(x[:, i]) * (1.0 + i) for i in range(6)]), hide=())
    assert "y = 1..6" in labels(shown)


def test_a_users_op_says_which_of_its_parameters_are_places():
    @tg.primitive
    def pick(x, *, row, width):
        return x[row] * width
    pick.defvjp(lambda g, ans, x, *, row, width: g)
    x = leaf(5, 2, name="x")

    def g(width):
        return rolled(tg.stack([pick(x, row=i, width=width(i)) for i in range(5)]))
    assert times(g(lambda i: 3)) == {}
    pick.defvarying("row")
    assert "pick row 0..4 width 3" in labels(g(lambda i: 3)) and "pick row 1 width 1" in labels(g(lambda i: i))


# ----- what must not roll -----

def chain(calls, x=None):
    y = leaf(3) if x is None else x
    for call in calls:
        y = call(y)
    return y


def conv(k, padding=None, dilation=1):
    w = tg.ones(2, 2, k, k, requires_grad=True)
    return lambda y: tg.relu(tg.conv2d(y, w, padding=k // 2 if padding is None else padding, dilation=dilation))


IMAGE = tg.ones(1, 2, 8, 8, requires_grad=True)
NEAR_MISSES = {
    "another call": lambda: chain([tg.exp, tg.neg, tg.sin, tg.exp, tg.neg, tg.cos]),
    "kernel sizes": lambda: chain([conv(3), conv(5), conv(7)], IMAGE),
    "dilations": lambda: chain([conv(3, d, d) for d in (1, 2, 3)], IMAGE),
    "shapes": lambda: chain([lambda y, n=n: tg.exp(tg.concatenate([y, y])) for n in range(3)]),
    "shapes of weights": lambda: chain([nn.Linear(a, a + 1) for a in (3, 4, 5)], leaf(1, 3)),
    "axes": lambda: chain([lambda y, a=a: tg.exp(tg.sum(y, axis=a, keepdims=True) + y) for a in (0, 1, 2)], leaf(2, 2, 2)),
    "dtype": lambda: tg.exp(tg.exp(leaf(3))) + tg.exp(tg.exp(tg.tensor(np.ones(3, np.float64), requires_grad=True))),
    "names without numbers": lambda: chain([lambda y, n=n: named(n)(y) for n in ("left", "right", "middle")]),
    "constants to and fro": lambda: chain([lambda y, c=c: tg.exp(y * c) for c in (1.0, 3.0, 2.0, 2.5)]),
    "a pair side by side": lambda: (lambda x: tg.exp(tg.neg(x)) * tg.exp(tg.neg(x)))(leaf(3)),
    "ends that go to different calls": lambda: (lambda ys: tg.sin(ys[0]) + tg.cos(ys[1]) + tg.tanh(ys[2]))(
        [tg.exp(tg.neg(x)) for x in [leaf(3)] * 3]),
    "results used before the end": lambda: (lambda a: (lambda b: tg.tanh(a) * tg.neg(tg.exp(b)))(tg.neg(tg.exp(a))))(
        tg.neg(tg.exp(leaf(3)))),
    "two stretches of calls": lambda: chain([tg.exp, tg.neg, tg.exp, tg.neg]),
    "two with other constants": lambda: chain([lambda y, c=c: tg.exp(y * c) for c in (1.0, 3.0)]),
}


def named(name):
    def call(y):
        with tg.scope(name):
            return tg.exp(tg.neg(y))
    return call


@pytest.mark.parametrize("what", NEAR_MISSES)
def test_what_differs_does_not_roll(what):
    assert times(rolled(NEAR_MISSES[what]())) == {}


def test_what_is_inside_the_first_time_and_outside_then_is_no_repetition():
    early, x = [tg.exp(leaf(3)) for _ in range(4)], leaf(3)
    parts = [tg.tanh(early[0])]
    for i in range(4):
        e = tg.exp(x)
        parts += [e, tg.sin(early[-i] if i else e)]
    g = rolled(tg.concatenate(parts))
    assert [count for box, count in g.counts.items() if box in {b.id for b in g.boxes if b.label == "sin"}] == [3]


@pytest.mark.parametrize("name", ["lenet", "densenet", "siamese", "attention", "three_outputs"])
def test_nets_without_a_loop_have_none(name):
    assert times(NETS[name](loss=None).graph) == {}


def test_queries_keys_and_values_are_three_in_the_backward_too():
    g = NETS["attention"](depth=0).graph
    assert {"q  Linear", "k  Linear", "v  Linear", "backward of q  Linear", "backward of k  Linear",
            "backward of v  Linear"} <= {*labels(g)}


# ----- nothing is lost -----

def program(seed):
    """Outputs of a random program of calls, modules, loops and skips."""
    rng = random.Random(seed)
    linear = [nn.Linear(4, 4, rng=np.random.default_rng(i)) for i in range(3)]
    steps = [tg.exp, tg.tanh, tg.neg, lambda y: y * rng.choice([2.0, 3.0]), lambda y: linear[0](y),
             lambda y: linear[1](y), lambda y: y + rng.choice(seen), lambda y: tg.relu(linear[2](y))]
    seen = [leaf(2, 4, name="x")]
    for _ in range(rng.randrange(2, 6)):
        body = rng.choices(steps, k=rng.randrange(1, 4))
        y, kept = rng.choice(seen[-3:]), []
        for i in range(rng.randrange(1, 7)):
            with tg.scope(f"part{i}" if rng.random() < 0.5 else "part"):
                for step in body if rng.random() < 0.9 else body[:1]:
                    y = step(y)
            kept.append(y)
            if rng.random() < 0.1:
                seen.append(y)
        seen.append(tg.concatenate(kept).sum() + y if rng.random() < 0.3 else y)
    return seen


def whole_of(seed):
    """A random program, and its first or second derivative."""
    seen = program(seed)
    loss, x = sum((y.sum() for y in seen[1:]), tg.sum(seen[0])), seen[0]
    results = [loss]
    for _ in range(seed % 3):
        x.grad = None
        results[-1].backward(create_graph=True)
        if x.grad is None or not x.grad.requires_grad:
            break
        results.append(tg.sum(x.grad * x.grad))
    return frame_each_call(annotate(tg.graph(*results), ["flops", "parameters"]))


def check(whole):
    g = roll(whole)
    stands = {box.id: g.stands.get(box.id, box.id) for box in whole.boxes}
    assert Counter(stands.values()) == {box.id: g.counts.get(box.id, 1) for box in g.boxes}
    for kind in {box.kind for box in whole.boxes}:
        assert sum(g.counts.get(box.id, 1) for box in g.boxes if box.kind == kind) == sum(
            box.kind == kind for box in whole.boxes)
    assert sum(np.prod(box.shape) * g.counts.get(box.id, 1) for box in g.boxes if box.kind == "parameter") == sum(
        np.prod(box.shape) for box in whole.boxes if box.kind == "parameter")
    for name in ("flops", "parameters"):
        assert sum(own.get(name, 0) for own in g.figures.values()) == sum(
            own.get(name, 0) for own in whole.figures.values())
    place = {box.id: i for i, box in enumerate(g.boxes)}
    assert {(e.source, e.target) for e in g.edges} == {(stands[e.source], stands[e.target]) for e in whole.edges}
    assert all(place[e.source] < place[e.target] for e in g.edges if not e.back)  # no circles but the ways back
    faces = {box.id: (box.kind, box.shape, box.dtype) for box in whole.boxes}
    assert all(faces[box] == faces[other] for box, other in stands.items())
    inside = {box.id: [path for path in map(box.scope.__getitem__, map(slice, range(1, len(box.scope) + 1)))
                       if g.scopes[path].times > 1] for box in g.boxes}
    for e in g.edges:
        assert not e.back or {*inside[e.source]} & {*inside[e.target]}
    for box in g.boxes:  # a box stands for as many as its frames say, or is the same in all repetitions
        assert g.counts.get(box.id, 1) in (1, np.prod([g.scopes[path].times for path in inside[box.id]], dtype=int))
    assert {path[:i] for path in g.scopes for i in range(1, len(path) + 1)} == {*g.scopes}
    assert empty(g) <= empty(whole)


def empty(graph):
    """The frames that no box lies in."""
    return {*graph.scopes} - {box.scope[:i] for box in graph.boxes for i in range(1, len(box.scope) + 1)}


@pytest.mark.parametrize("seed", range(60))
def test_of_a_random_program_nothing_is_lost(seed):
    check(whole_of(seed))


def test_random_programs_do_roll():
    assert sum(bool(roll(whole_of(seed)).counts) for seed in range(20)) > 10


@pytest.mark.parametrize("name", NETS)
def test_of_a_net_nothing_is_lost(name):
    check(frame_each_call(NETS[name](unroll=True, show=("flops", "parameters")).whole))


@pytest.mark.parametrize("name", ["rnn", "resnet", "chain"])
def test_unrolled_is_the_graph_without_rolling(name):
    drawing = NETS[name](unroll=True)
    assert drawing.graph == without(frame_each_call(drawing.whole), ["constant"])


def test_the_work_grows_with_the_boxes_and_not_faster():
    def boxes_seen(ops):
        y = leaf(3)
        for i in range(ops // 2):
            y = tg.tanh(y) * (1.0 + (i * 7919 % 13))  # no period
        g = frame_each_call(tg.graph(y))
        profile = cProfile.Profile()
        profile.runcall(roll, g)
        return pstats.Stats(profile).total_calls
    small, large = boxes_seen(400), boxes_seen(1600)
    assert large < 8 * small


# ----- figures of each repetition -----

def test_figures_are_sums_and_measured_ones_have_mean_and_range():
    net = RNN(5)
    drawing = nn.draw(net, tg.ones(2, 5, 3), show=("time", "flops"))
    linear = next(box for box in drawing.graph.boxes if box.label == "linear" and box.scope[-1] == "input")
    assert drawing.graph.figures[linear.id]["flops"] == 5 * 2 * 8 * 3
    assert any(re.fullmatch(r"each: mean [\d.]+, [\d.]+ to [\d.]+ ms", note) for note in linear.notes)
    assert sum("each:" in note for note in linear.notes) == 1  # the flops are the same each time


def test_figures_of_each_repetition_survive_closing():
    drawing = nn.draw(RNN(5), tg.ones(2, 5, 3), show="time", depth=0)
    cell = next(box for box in drawing.graph.boxes if box.label == "cell  Cell")
    each = drawing.graph.each[cell.id]
    assert len(each) == 5 and sum(own["forward"] for own in each) == pytest.approx(
        drawing.graph.figures[cell.id]["forward"])
    assert any(note.startswith("each: mean") for note in cell.notes)


def blocks(bad=None, count=6):
    w = [leaf(3, name=f"{i}.w") for i in range(count)]
    y = leaf(3)
    for i, each in enumerate(w):
        with tg.scope(str(i)):
            y = tg.tanh(y * each)
    y.sum().backward()
    if bad is not None:
        w[bad].grad.mutate()[...] = np.nan
    return y.sum()


def test_an_alarm_of_one_repetition_is_on_the_box_which_says_of_which():
    g = tg.draw(blocks(bad=3), show="grad").graph
    w = next(box for box in g.boxes if box.kind == "parameter" and box.label == "w")
    assert times(g) == {"0": 6} and w.mark == "nan" and "nan: repetition 4 of 6" in w.notes
    assert any(re.fullmatch(r"each: mean [\d.]+, [\d.]+ to [\d.]+ rms", note) for note in w.notes)


def test_a_mark_of_the_tape_keeps_its_repetition_apart():
    whole = frame_each_call(tg.graph(blocks()))
    marked = replace(whole, boxes=tuple(
        replace(box, mark="failed") if box.scope == ("3",) and box.label == "tanh" else box for box in whole.boxes))
    assert times(roll(marked)) == {"0": 3, "4": 2}


def test_legend_says_that_numbers_are_sums():
    g = write_figures(roll(annotate(frame_each_call(tg.graph(blocks())), "parameters")))
    assert ("", 'numbers in a frame "xN" are the sums of all N') in g.legend


# ----- the page -----

def test_a_page_holds_both_views_of_the_same_boxes():
    drawing = NETS["rnn"](loss=None)
    data = content(drawing.html())
    seen, whole = data["rolled"], data["boxes"]
    assert len(seen["boxes"]["box"]) == 15 < len(whole) == len(seen["stands"])
    assert "getitem index (:,0..19)" in seen["boxes"]["label"]
    for number, box in enumerate(whole):
        stand_in = whole[seen["boxes"]["box"][seen["stands"][number]]]
        assert (box["kind"], box["shape"]) == (stand_in["kind"], stand_in["shape"])
    assert sum(seen["edges"]["back"]) == 1
    assert content(NETS["lenet"](loss=None).html())["rolled"] is None
    assert content(tg.draw(tg.exp(leaf(2))).html())["rolled"] is None


def test_kinds_of_calls_are_those_of_graph():
    assert {box.kind for box in NETS["chain"]().graph.boxes} & {*CALLS} == {"op"}


def test_a_page_of_an_unrolled_drawing_has_no_other_view():
    assert content(NETS["rnn"](loss=None, unroll=True).html())["rolled"] is None


def test_gates_written_side_by_side_take_one_input_each_step():
    """The input of a step, a leaf here, is used by several modules of it; the first states by one alone."""
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.xi, self.xf, self.hi, self.hf = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            h = tg.zeros(2, 4)
            for t in range(6):
                x_t = x[:, t]
                h = tg.sigmoid(self.xf(x_t) + self.hf(h)) * h + tg.tanh(self.xi(x_t) + self.hi(h))
            return h
    for loss in (None, squares):
        g = nn.draw(Gated(), (2, 6, 3), depth=0, loss=loss).graph
        assert times(g)["loop"] == 6 and len(forward(g)) <= 16 + 2 * bool(loss)
        assert [box.label for box in g.boxes if box.kind == "input"] == ["x", "x"]


def test_a_call_belongs_to_one_loop():
    g = rolled(chain([tg.exp, tg.neg] * 3 + [tg.sin, tg.neg] * 3))
    assert labels(g) == ["x", "exp", "neg", "sin", "neg"] and times(g) == {"loop": 3, "loop#2": 3}


def test_parameters_used_twice_in_each_step_roll():
    y, w = leaf(3), [leaf(3) for _ in range(5)]
    for each in w:
        y = tg.tanh(y * each) + each
    g = rolled(y)
    assert times(g) == {"loop": 5} and [g.counts.get(box.id, 1) for box in g.boxes if box.kind == "parameter"] == [1, 5]


def test_blocks_of_two_lists_in_turn_roll_together():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(8) for _ in range(6)])
            self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(6)])

        def forward(self, x):
            for norm, layer in zip(self.norms, self.layers):
                x = x + layer(norm(x))
            return x
    assert empty(nn.draw(Net(), (2, 8)).graph) == set()
    g = nn.draw(Net(), (2, 8), depth=0).graph
    assert labels(g) == ["x", "norms  ModuleList", "layers  ModuleList", "add", "output"] and times(g) == {"loop": 6}
    assert {box.label: box.notes for box in g.boxes if box.notes} == {
        "norms  ModuleList": ("6 x 16 parameters",), "layers  ModuleList": ("6 x 72 parameters",)}


def parted(graph):
    """The frames whose boxes do not stand together in the order of the drawing."""
    found, seen, before = set(), set(), ()
    for box in graph.boxes:
        now = frames(box.scope)
        found |= {frame for frame in now if frame in seen and frame not in before}
        seen |= {*now}
        before = now
    return found


@pytest.mark.parametrize("name, loss", [("resnet", None), ("rnn", None), ("rnn_everywhere", None), ("resnet", squares), ("rnn", squares)])
def test_a_frame_that_repeats_is_not_parted_by_its_parameters(name, loss):
    drawing = NETS[name](loss=loss)
    assert any(scope.times > 1 for scope in drawing.graph.scopes.values())
    assert parted(drawing.graph) <= parted(NETS[name](loss=loss, unroll=True).graph)
