"""The plain model of a drawing: what is read off a tape, and how it is made smaller."""
from __future__ import annotations

import copy
import cProfile
import pstats
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.regenerate_golden import Deep, lenet, lenet_loss
from tinygrad_conv.draw.annotate import write_figures
from tinygrad_conv.draw.collapse import collapse, without
from tinygrad_conv.draw.loops import roll
from tinygrad_conv.draw.graph import title
from tinygrad_conv.draw.formats import dot


def leaf(*shape, name=""):
    t = tg.ones(*shape, requires_grad=True)
    t.name = name
    return t


def labels(graph):
    return [box.label for box in graph.boxes]


def kinds(graph):
    return {box.label: (box.kind, ".".join(box.scope)) for box in graph.boxes if box.kind != "op"}


def chain(blocks, x=None, inner=lambda y, i: tg.exp(tg.neg(y)), name="{}"):
    y = leaf(3) if x is None else x
    for i in range(blocks):
        with tg.scope(name.format(i)):
            y = inner(y, i)
    return y


def times(graph):
    return {".".join(path): scope.times for path, scope in graph.scopes.items() if scope.times > 1}


# ----- reading -----

def test_square_has_two_edges_with_their_slots():
    x = leaf(2)
    assert [(e.source, e.target, e.slot) for e in tg.graph(x * x).edges] == [("leaf0", "op0", 0), ("leaf0", "op0", 1)]


def test_diamond_is_drawn_once():
    x = leaf(2)
    y = tg.exp(x)
    g = tg.graph(y + tg.neg(y))
    assert labels(g) == ["x", "exp", "neg", "add"]
    assert [e.source for e in g.edges if e.target == "op2"] == ["op0", "op1"]


def test_graph_is_the_same_before_and_after_backward():
    loss = lenet_loss()
    before = tg.graph(loss)
    loss.backward()
    assert tg.graph(loss) == before


def test_dtype_of_edges_and_boxes():
    x = leaf(2)
    g = tg.graph(tg.astype(x, dtype=np.float64) * 2.0)
    assert [(e.source, e.dtype) for e in g.edges][:2] == [("leaf0", "float32"), ("op0", "float64")]


def test_parameters_inputs_and_constants_are_told_apart_and_stand_where_they_belong():
    net = nn.Sequential({"conv": nn.Conv2d(3, 4, 3), "bn": nn.BatchNorm2d(4), "drop": nn.Dropout(0.5)})
    net.eval()
    y = net(tg.ones(2, 3, 5, 5))
    g = tg.graph(tg.mse_loss(y * 0.5, tg.zeros(2, 4, 3, 3)))
    found = {scope: sorted(b.kind for b in g.boxes if b.scope == scope and b.kind != "op") for scope in (*g.scopes, ())}
    assert found == {("conv",): ["parameter"] * 2, ("bn",): ["constant"] * 2 + ["parameter"] * 2,
                     (): ["constant", "input", "input"]}


def test_mask_of_dropout_in_a_module_is_a_constant_and_the_target_of_a_loss_an_input():
    net = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    g = tg.graph(tg.cross_entropy(net(tg.ones(2, 3)), np.array([0, 1])))
    assert [(b.kind, b.scope) for b in g.boxes if b.label == "mask"] == [("constant", ("1",))]
    assert [b.kind for b in g.boxes if b.label == "target"] == ["input"]


def test_array_with_a_name_of_its_own_is_an_input_wherever_it_is_used():
    mask = tg.ones(3)
    mask.name = "mask"
    with tg.scope("attention"):
        y = leaf(3) * mask
    assert kinds(tg.graph(y))["mask"] == ("input", "")


def test_shared_weight_stands_around_all_that_use_it():
    w = leaf(3, 3, name="model.tied")
    with tg.scope("model"):
        with tg.scope("encoder"):
            y = tg.ones(2, 3) @ w
        with tg.scope("decoder"):
            y = y @ w
    assert kinds(tg.graph(y))["tied"] == ("parameter", "model")


def test_scopes_with_dots_are_nested_and_know_their_kind():
    with tg.scope("blocks.0"), tg.scope("conv"):
        y = tg.exp(leaf(2))
    g = tg.graph(y, kinds={"blocks": "ModuleList", "blocks.0.conv": "Conv2d", "": "Net"})
    assert {path: s.kind for path, s in g.scopes.items()} == {
        ("blocks",): "ModuleList", ("blocks", "0"): "", ("blocks", "0", "conv"): "Conv2d"}


def test_name_of_a_result_is_noted():
    y = tg.exp(leaf(2))
    y.name = "hidden"
    assert tg.graph(tg.neg(y)).boxes[1].notes == ("= hidden",)


def test_backward_has_scopes_of_its_own_and_its_frame_says_so():
    net = lenet()
    tg.cross_entropy(net(tg.ones(1, 1, 28, 28)), np.array([1])).backward(create_graph=True)
    g = tg.graph(*[p.grad for p in net.parameters()])
    scope = g.scopes["backward", "features", "conv1"]
    assert title(scope) == "backward of features.conv1  Conv2d"
    assert {b.scope for b in g.boxes if b.kind == "parameter"} >= {("features", "conv1"), ("head",)}


@pytest.mark.parametrize("groups", [1, 2])
def test_adjoints_of_conv2d_say_shapes_and_what_they_sum_over(groups):
    x, w = leaf(2, 4, 6, 6), leaf(8, 4 // groups, 3, 3)
    tg.conv2d(x, w, groups=groups).sum().backward(create_graph=True)
    notes = {box.label.split()[0]: box.notes for box in tg.graph(x.grad, w.grad).boxes if box.kind == "op"}
    filters = f"8x{4 // groups}x3x3"
    assert notes["conv_transpose2d"] == (f"2x8x4x4, {filters} -> 2x4x6x6", "sums over o, kh, kw")
    assert notes["conv2d_weight"] == (f"2x8x4x4, 2x4x6x6 -> {filters}", "sums over n, oh, ow")


def test_forward_convolution_says_its_sum_once_a_backward_is_beside_it():
    x, w = leaf(1, 1, 4, 4), leaf(1, 1, 3, 3)
    y = tg.conv2d(x, w)
    assert tg.graph(y).boxes[-1].notes == ()
    (y * y).sum().backward(create_graph=True)
    forward = next(b for b in tg.graph(w.grad).boxes if b.label == "conv2d 3x3")
    assert forward.notes[1] == "sums over c, kh, kw"


@tg.primitive
def op(x, *, text):
    return x


@pytest.mark.parametrize("call, said", [
    (lambda: tg.conv2d(tg.ones(1, 4, 9, 9), leaf(8, 1, 3, 3), stride=2, groups=4), "conv2d 3x3 stride 2 groups 4"),
    (lambda: tg.conv2d(tg.ones(1, 4, 9, 9), leaf(8, 4, 3, 5), stride=(2, 1), padding=(1, 2)),
     "conv2d 3x5 stride (2,1) padding (1,2)"),
    (lambda: tg.max_pool2d(leaf(1, 4, 9, 9), 2, stride=1), "max_pool2d 2x2 stride 1"),
    (lambda: leaf(9, 9)[1:, np.arange(3)], "getitem index (1:,int64[3])"),
    (lambda: op(leaf(), text="x" * 100), "op text " + "x" * 29 + "...")])
def test_call_label(call, said):
    assert tg.graph(call()).boxes[-1].label == said


# ----- leaves left out -----

def test_numbers_left_out_are_written_into_the_call():
    x = leaf(2)
    assert labels(without(tg.graph((1.0 - x) / 3.0), ["constant"])) == ["y", "sub (1, _)", "div (_, 3)"]


def test_arrays_left_out_are_not_told():
    with tg.scope("norm"):
        y = leaf(2) - np.ones(2, np.float32)
    g = without(tg.graph(y), ["constant"])
    assert labels(g) == ["x", "sub"] and len(g.edges) == 1


def test_numbers_are_the_same_after_backward():
    y = (leaf(2) * 3.0).sum()
    before = without(tg.graph(y), ["constant"])
    y.backward()
    assert without(tg.graph(y), ["constant"]) == before


def test_unknown_leaves_are_refused():
    with pytest.raises(ValueError, match="hide must be one of 'parameter', 'input', 'constant', 'seed', 'output', got 'weights'"):
        without(tg.graph(tg.exp(leaf(1))), ["weights"])


# ----- collapsed -----

def test_collapse_counts_parameters_and_drops_inner_edges():
    g = collapse(tg.graph(lenet_loss()), 0)
    by_id = {box.id: box for box in g.boxes}
    assert by_id["module:features"].notes == (f"{6 * 25 + 6 + 16 * 6 * 25 + 16:,} parameters",)
    assert by_id["module:features"].shape == (2, 16, 5, 5)
    assert [(e.source, e.target) for e in g.edges][:2] == [("leaf0", "module:features"), ("module:features", "module:flatten")]
    assert set(g.scopes) == set()


def test_collapse_at_one_level_keeps_the_frames_above():
    g = collapse(tg.graph(lenet_loss(), kinds={"features.conv1": "Conv2d"}), 1)
    box = next(box for box in g.boxes if box.id == "module:features.conv1")
    assert (box.kind, box.label, box.scope) == ("module", "features.conv1  Conv2d", ("features",))
    assert "module:head" not in [box.id for box in g.boxes] and ("head",) in g.scopes


def test_equal_edges_between_two_modules_become_one_and_others_stay():
    x = leaf(2)
    with tg.scope("a"):
        y, z = tg.exp(x), tg.reshape(tg.neg(x), (2, 1))
    with tg.scope("b"):
        out = y + y + z
    g = collapse(tg.graph(out), 0)
    assert [e.shape for e in g.edges if e.target == "module:b"] == [(2,), (2, 1)]


def test_module_called_twice_is_one_box():
    def layer(y):
        with tg.scope("layer"):
            return tg.exp(y)
    g = collapse(tg.graph(layer(tg.neg(layer(leaf(2))))), 0)
    assert [box.id for box in g.boxes] == ["leaf0", "module:layer", "op1"]
    assert {(e.source, e.target) for e in g.edges} == {
        ("leaf0", "module:layer"), ("module:layer", "op1"), ("op1", "module:layer")}


def test_gravest_mark_and_sums_survive_collapse():
    g = tg.graph(chain(1, inner=lambda y, i: tg.exp(tg.neg(y))))
    boxes = [replace(b, mark={"neg": "vanishing", "exp": "nan"}.get(b.label, "")) for b in g.boxes]
    g = replace(g, boxes=tuple(boxes), figures={"op0": {"flops": 2.0}, "op1": {"flops": 3.0, "time": 1.0}})
    g = collapse(g, 0)
    assert g.boxes[-1].mark == "nan" and g.figures == {"module:0": {"flops": 5.0, "time": 1.0}}


def test_levels_of_a_backward_are_those_of_its_modules():
    net = lenet()
    tg.cross_entropy(net(tg.ones(1, 1, 28, 28)), np.array([1])).backward(create_graph=True)
    g = collapse(tg.graph(*[p.grad for p in net.parameters()]), 0)
    assert {"module:features", "module:backward.features"} <= {box.id for box in g.boxes}
    assert set(g.scopes) == {("backward",)}
    box = next(box for box in g.boxes if box.id == "module:backward.features")
    assert box.notes == ("-> 16x6x5x5, 16, 6x1x5x5, 6",)


def test_negative_depth_is_refused():
    with pytest.raises(ValueError, match="depth must be at least 0, got -1"):
        collapse(tg.graph(tg.exp(leaf(1))), -1)


# ----- rolled -----

def test_equal_blocks_in_a_chain_roll():
    g = roll(tg.graph(tg.sum(chain(8))))
    assert labels(g) == ["x", "neg", "exp", "sum axis 0"] and times(g) == {"0": 8}
    assert [(e.source, e.target, e.back) for e in g.edges] == [
        ("leaf0", "op0", False), ("op1", "op0", True), ("op0", "op1", False), ("op1", "op16", False)]


def test_folding_is_done_twice_without_a_change():
    g = roll(tg.graph(chain(8)))
    assert roll(g) == g


@pytest.mark.parametrize("inner", [
    lambda y, i: tg.tanh(y) if i != 2 else tg.neg(y),                    # another call
    lambda y, i: tg.tanh(tg.reshape(y, (3, 1) if y.ndim == 1 else (3,))),  # another shape
    lambda y, i: tg.sum(y, axis=i % 2, keepdims=True) * np.ones((3, 3), np.float32)])
def test_blocks_that_differ_do_not_roll(inner):
    x = leaf(3, 3) if "sum" in inner.__code__.co_names else leaf(3)
    assert 4 not in times(roll(tg.graph(chain(4, x, inner)))).values()


def test_values_and_names_do_not_matter_for_folding():
    def inner(y, i):
        w = leaf(3, name=f"{i}.w{i}")
        w.mutate()[...] = i
        return y * w
    assert times(roll(tg.graph(chain(3, inner=inner)))) == {"0": 3}


def test_block_whose_inside_is_used_elsewhere_does_not_roll():
    kept = []

    def inner(y, i):
        kept.append(tg.neg(y))
        return tg.exp(kept[-1])
    y = chain(3, inner=inner)
    assert times(roll(tg.graph(y + kept[0]))) == {"1": 2}


def test_dense_skips_do_not_roll():
    x = leaf(3)
    one = chain(1, x)
    two = chain(1, one, name="1")
    with tg.scope("2"):
        out = tg.exp(tg.neg(two)) + one
    assert times(roll(tg.graph(out))) == {}


def slots(graph, ids):
    """The shape that arrives at each slot of some boxes."""
    return {(e.target, e.slot): e.shape for e in graph.edges if e.target in ids}


@pytest.mark.parametrize("order, counts", [(1, {"0": 5, "backward.0": 5}),
                                           (2, {"0": 5, "backward.0": 5, "backward.backward.0": 4})])
def test_blocks_roll_and_so_does_their_backward(order, counts):
    """At the ends of the chain higher derivatives have other sums."""
    def inner(y, i):
        return tg.tanh(y * leaf(3, name=f"{i}.w"))
    x = leaf(3)
    y = tg.sum(tg.sin(chain(5, tg.sin(x), inner)))
    for _ in range(order):
        x.grad = None
        y.backward(create_graph=True)
        y = tg.sum(x.grad)
    whole = tg.graph(y)
    g = roll(whole)
    assert times(g) == counts
    ids = {box.id for box in g.boxes}
    assert {e.source for e in g.edges} <= ids and slots(g, ids) == slots(whole, ids)
    assert roll(g) == g


def test_arrows_around_a_folded_backward_are_those_of_its_ends():
    x = leaf(3)
    tg.sum(tg.sin(chain(4, tg.sin(x), lambda y, i: tg.tanh(y)))).backward(create_graph=True)
    g = roll(without(tg.graph(x.grad), ["constant"]))
    scopes = {box.id: box.scope for box in g.boxes}
    assert times(g) == {"0": 4, "backward.0": 4}
    across = {(e.source, e.target) for e in g.edges if ("0" in scopes[e.source]) != ("0" in scopes[e.target])}
    assert across == {("op0", "op1"), ("op1", "op5"), ("op6", "op18"), ("op18", "op20")}


def test_backward_of_the_first_block_without_a_gradient_by_its_input_stays_apart():
    net = nn.Sequential(*[nn.Linear(3, 3) for _ in range(5)])
    g = nn.draw(net, tg.ones(2, 3), loss=lambda y: tg.sum(y * y)).graph
    assert times(g) == {"0": 5, "backward.1": 3}  # in the last one the two cotangents of y * y meet


def test_block_whose_gradient_is_used_elsewhere_does_not_roll():
    kept = []

    def inner(y, i):
        kept.append(leaf(3, name=f"{i}.w"))
        return y * kept[-1]
    x = leaf(3)
    tg.sum(chain(4, tg.sin(x), inner)).backward(create_graph=True)
    g = roll(tg.graph(x.grad + tg.exp(kept[0].grad)))
    assert "backward.0" not in times(g)


def test_nested_repetitions_fold_inside_the_folded():
    def outer(y, i):
        return chain(3, y, name="inner{}")
    g = roll(tg.graph(chain(4, inner=outer)))
    assert times(g) == {"0": 4, "0.inner0": 3}


def test_folded_and_collapsed_counts_all_parameters():
    g = collapse(roll(tg.graph(Deep()(tg.zeros(1, 3, 16, 16)))), 2)
    notes = {box.id: box.notes for box in g.boxes if box.kind == "module"}
    assert notes["module:stages.0.0"] == ("8 x 1,168 parameters",)
    g = collapse(roll(tg.graph(Deep()(tg.zeros(1, 3, 16, 16)))), 1)
    assert {box.id: box.notes for box in g.boxes}["module:stages.0"] == ("9,344 parameters",)


def test_figures_of_rolled_blocks_are_added_and_known_of_each():
    g = tg.graph(chain(3, inner=lambda y, i: tg.exp(y)))
    same = roll(replace(g, figures={f"op{i}": {"flops": 2.0} for i in range(3)}))
    assert same.figures == {"op0": {"flops": 6.0}} and "sums of all" in write_figures(same).legend[0][1]
    other = roll(replace(g, figures={f"op{i}": {"ms": float(i)} for i in range(3)}))
    assert other.figures == {"op0": {"ms": 3.0}} and other.each == {"op0": ({"ms": 0.0}, {"ms": 1.0}, {"ms": 2.0})}


# ----- size -----

def calls(ops):
    y = leaf(3)
    for i in range(ops // 4):
        with tg.scope(f"b{i // 10}"), tg.scope(str(i % 10)):
            y = tg.exp(tg.neg(y) * 0.5) + y
    profile = cProfile.Profile()
    profile.enable()
    g = tg.graph(y)
    dot(g), collapse(roll(without(g, ["constant"])), 1)
    profile.disable()
    return pstats.Stats(profile).total_calls


def test_work_grows_with_the_number_of_calls_and_not_faster():
    calls(40)  # imports
    small, large = calls(800), calls(3200)
    assert large < 5 * small


def test_deep_and_nested_graphs_need_no_recursion():
    y = leaf(2)
    limit = sys.getrecursionlimit()
    for i in range(3 * limit):
        with tg.scope(str(i // 2)):
            y = tg.neg(y)
    with tg.scope(*(f"level{i}" for i in range(limit // 4))):
        y = tg.exp(y)
    g = tg.graph(y)
    assert dot(g).count(" -> ") == 3 * limit + 1
    assert len(collapse(g, 0).boxes) == 3 * limit // 2 + 2
    assert times(roll(g))["0"] == 3 * limit // 2


# ----- ops from outside -----

def named(name, fn=lambda *xs: xs[0] * 2.0, vjp=None):
    """An op of the user's with the name of a built-in one."""
    fn.__name__ = name
    op = tg.primitive(fn)
    op.defvjp_variadic(vjp or (lambda i, g, ans, *xs, **params: g * (2.0 if i == 0 else 0.0)))
    return op


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "conv2d_weight", "max_pool2d", "linear", "matmul",
                                  "einsum", "sum", "reshape", "add"])
def test_an_op_from_outside_is_drawn_as_what_it_is_whatever_its_name(name):
    op = named(name, lambda a: a * 2.0)
    x = leaf(3, name="x")
    y = op(x)
    tg.sum(y).backward(create_graph=True)
    g = tg.graph(x.grad, y)
    assert [(box.label, box.notes) for box in g.boxes if box.label.startswith(name)][0] == (name, ())
    drawn = tg.draw(op(x), show=("flops", "memory", "grad", "time", "nan"))
    assert "multiply-adds" not in repr(drawn) and name in drawn.dot
    assert f"{name}: a 3 gives 3" in drawn.html()
    assert f"{name}: g 3 gives da 3\"" in drawn.html()


def test_an_op_from_outside_has_the_same_facets():
    op = named("mix", lambda a, b, *, size, how="both": a * 2.0 + 0.0 * b)
    a, b = leaf(4, 3, name="a"), leaf(3, name="b")

    def labels_of():
        return tg.graph(op(a, b, size=(4, 3), how="one")).boxes[-1].label, tg.graph(
            op(a, b, size=(), how="both")).boxes[-1].label
    assert labels_of() == ("mix size (4,3) how one", "mix")     # () is the end of the output's shape
    op.deflabel(lambda a, b, *, size, how: f"{how} of {a[0]}")
    op.defcost(lambda out, a, b, **params: a[0] * b[0] * 10)
    op.defbroadcast()
    assert labels_of()[0] == "mix one of 4"
    shown = tg.draw(op(a, b, size=3, how="one"), show="flops")
    assert "120 multiply-adds" in repr(shown)
    assert 'gives da 4x3; db 3, summed over axis 0"' in shown.html()
    op.defnotes("mixed", a="spread", b="gathered")
    assert 'gives da 4x3, spread; db 3, gathered"' in shown.html()
    y = op(a, b, size=3, how="one")
    tg.sum(y * y).backward(create_graph=True)
    box = next(box for box in tg.graph(y, a.grad).boxes if box.label == "mix one of 4")
    assert box.notes == ("4x3, 3 -> 4x3", "mixed")


def test_a_call_with_several_results_in_use_shows_them_all():
    op = named("split", lambda x: (x[:1], x[1:] * 1.0), vjp=lambda i, g, ans, x: tg.concatenate(list(g)))
    one, two = op(leaf(3))
    assert tg.graph(one).boxes[-1].notes == ()                   # the other leads nowhere
    box = next(b for b in tg.graph(two.sum() * one).boxes if b.label == "split")
    assert box.notes == ("-> 1, 2",) and box.shape == (1,)


def test_what_an_op_says_of_itself_may_fail_and_the_picture_says_so():
    op = named("mine", lambda x: x * 2.0)
    op.deflabel(lambda x: x[7])
    op.defcost(lambda out, x: 1 // 0)
    drawn = tg.draw(tg.linear(op(leaf(2, 3)), leaf(4, 3)), show="flops")
    box = next(box for box in drawn.graph.boxes if box.label == "mine")
    assert box.notes == ("its label failed: IndexError: tuple index out of range",)
    assert ("", "flops of mine: its cost failed: ZeroDivisionError: integer division or modulo by zero") in drawn.graph.legend
    assert "24 multiply-adds" in repr(drawn) and "mine" in drawn.dot and "mine" in drawn.html()


# ----- modules by identity -----

def notes(drawing):
    return {box.label: box.notes for box in drawing.graph.boxes if box.kind == "module"}


def two_layers(*sizes):
    return nn.Sequential(*[m for i in range(len(sizes) - 1) for m in (nn.Linear(sizes[i], sizes[i + 1]), nn.Tanh())])


def test_models_side_by_side_are_told_apart_and_counted_each():
    G, D = two_layers(2, 3, 4), two_layers(4, 5, 1)
    x = tg.ones(1, 2)
    y = D(G(x)).mean()
    assert notes(tg.draw(y, depth=0)) == {"G  Sequential": ("25 parameters",), "D  Sequential": ("31 parameters",)}
    assert notes(tg.draw(y, depth=1))["D.2  Linear"] == ("6 parameters",)
    names = {(box.label, box.scope) for box in tg.draw(y).graph.boxes if box.kind == "parameter"}
    assert names == {(name, (net, i)) for net in "GD" for i in "02" for name in ("0.weight", "0.bias", "weight", "bias")
                     if "." not in name}
    assert [box.label for box in tg.draw(G(x).mean(), depth=0).graph.boxes][1] == "0  Linear"  # alone, as ever
    fake = D(G(x)) + D(tg.ones(1, 4))
    assert notes(tg.draw(fake, depth=0))["D#2  Sequential"] == ("same weights as D",)
    fake.mean().backward(create_graph=True)
    back = tg.draw(fake, G[0].weight.grad, D[0].weight.grad, depth=0)
    assert {"backward of D#2  Sequential", "backward of D  Sequential", "backward of G  Sequential"} <= set(notes(back))


def test_a_model_without_a_variable_goes_by_its_class_and_a_second_by_its_number():
    def draw(models):
        return tg.draw(sum(m(tg.ones(1, 2)) for m in models), depth=0)
    assert [*notes(draw([nn.Linear(2, 3), nn.Linear(2, 3)]))] == ["Linear", "Linear (2)"]
    net = two_layers(2, 3)
    assert [*notes(draw([net, copy.deepcopy(net)]))] == ["Sequential", "Sequential (2)"]
    one, two = nn.Sequential(net), nn.Sequential(copy.deepcopy(net))
    y = one[0](tg.ones(1, 2)) + two[0](tg.ones(1, 2)) + one[0](tg.zeros(1, 2))
    assert notes(tg.draw(y, depth=0)) == {"0  Sequential": ("9 parameters",), "0 (2)  Sequential": ("9 parameters",),
                                          "0#2  Sequential": ("same weights as 0",)}


def test_a_loss_or_activation_beside_a_model_does_not_close_it():
    net, loss, last = two_layers(2, 3), nn.MSELoss(), nn.Sigmoid()
    y = loss(last(net(tg.ones(1, 2))), tg.zeros(1, 3))
    assert [*notes(tg.draw(y, depth=0))] == ["0  Linear", "1  Tanh"]


def test_a_tape_keeps_no_module_alive_and_its_picture_is_the_same_without():
    def build():
        net = two_layers(2, 3)
        return weakref.ref(net), net(tg.ones(1, 2)) + two_layers(2, 3)(tg.ones(1, 2))
    gone, y = build()
    assert gone() is None and [*notes(tg.draw(y, depth=0))] == ["Sequential", "Sequential (2)"]


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.head = two_layers(4, 4), nn.Linear(8, 1)

    def forward(self, a, b):
        return self.head(tg.concatenate([self.trunk(a), self.trunk(b)], axis=1))


@pytest.mark.parametrize("show", [(), "parameters"])
def test_each_call_of_a_shared_module_is_a_box_and_its_weights_count_once(show):
    inputs = tg.ones(2, 4), tg.zeros(2, 4)
    drawing = nn.draw(Siamese(), *inputs, depth=0, show=show)
    assert notes(drawing) == {"trunk  Sequential": ("20 parameters",), "head  Linear": ("9 parameters",),
                              "trunk#2  Sequential": ("same weights as trunk",)}
    assert [(e.source, e.target) for e in drawing.graph.edges if "trunk" in e.target] == [
        ("leaf0", "module:trunk"), ("leaf3", "module:trunk#2")]
    assert not show or ("", "in all: 29 parameters") in drawing.graph.legend
    assert notes(nn.draw(Siamese(), *inputs, depth=1))["trunk#2.0  Linear"] == ("same weights as trunk.0",)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(tg.tanh(self.encoder(x)))


@pytest.mark.parametrize("show", [(), "parameters"])
def test_a_weight_of_two_modules_counts_in_each_and_once_in_all(show):
    drawing = nn.draw(Tied(), tg.ones(2, 4), depth=0, show=show)
    count = "20 parameters, 16 of them shared"
    assert notes(drawing) == {"encoder  Linear": (count,), "decoder  Linear": ("same weight as encoder", count)}
    assert not show or ("", "in all: 24 parameters") in drawing.graph.legend


def test_a_module_called_again_and_again_under_any_name_counts_once():
    block = two_layers(4, 4)
    drawing = nn.draw(nn.Sequential(block, block, block), tg.ones(2, 4), depth=0)
    assert notes(drawing) == {"2  Sequential  x3": ("20 parameters, the same each time",)}
    inner = nn.Linear(4, 4)
    two_names = nn.Sequential(nn.Sequential({"a": inner}), nn.Sequential({"b": inner}))
    assert notes(nn.draw(two_names, tg.ones(2, 4), depth=1, unroll=True)) == {
        "0.b  Linear": ("20 parameters, 20 of them shared",), "1.b  Linear": ("same weights as 0.b",)}
    repeats = nn.Sequential(*[nn.Sequential(inner, nn.Linear(4, 4)) for _ in range(8)])
    assert notes(nn.draw(repeats, tg.ones(2, 4), depth=0)) == {
        "0  Sequential  x8": (f"{8 * 20 + 20} parameters, 20 of them shared",)}


# ----- where a backward starts -----

TARGETS = tg.ones(2, 3) / 3.0
LOSSES = {
    "nll": lambda y: tg.cross_entropy(y, np.array([0, 2])),
    "mean": lambda y: tg.mse_loss(y, TARGETS),
    "sum": lambda y: tg.sum(y),
    "neg": lambda y: -tg.binary_cross_entropy_with_logits(y, TARGETS),
    "mul": lambda y: tg.nll_loss(tg.log_softmax(y, 1), np.array([0, 2])) * 2.0}


@pytest.mark.parametrize("op", LOSSES)
@pytest.mark.parametrize("depth", [None, 0])
def test_the_backward_of_a_loss_starts_at_the_loss(op, depth):
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    g = nn.draw(net, tg.ones(2, 4), loss=LOSSES[op], depth=depth, hide=()).graph
    boxes = {box.id: box for box in g.boxes}
    seed, = [box for box in g.boxes if box.kind == "seed"]
    assert (seed.label, seed.shape, seed.scope) == ("seed 1", (), ("backward",))
    (loss,), reached = [[boxes[e.source] for e in g.edges if e.target == seed.id]], {seed.id}
    assert loss[0].label.split()[0] == op and loss[0].shape == ()
    for edge in g.edges:  # by target, in the order of the tape
        reached |= {edge.target} if edge.source in reached else set()
    behind = [box.label for box in g.boxes if box.scope[:1] == ("backward",) and box.id not in reached
              and box.kind in ("op", "module")]
    assert set(behind) <= ({"mul", "sigmoid"} if op == "neg" else set())  # slopes of softplus, which the seed's chain meets


def test_the_backward_of_a_cross_entropy_says_seed_target_and_softmax_minus_target():
    drawing = nn.draw(nn.Linear(4, 3), tg.ones(2, 4), loss=LOSSES["nll"])
    text = " ".join(repr(drawing).split())
    seed, target = "seed 1 -> scalar (seed) <- op2", "target -> 2x3 (input)"
    assert seed in text and target in text and "(softmax - target) / N" in text
    for told in (drawing.dot, drawing.html()):
        assert "seed 1" in told and "(softmax - target) / N" in told
    assert "seed" not in repr(nn.draw(nn.Linear(4, 3), tg.ones(2, 4), loss=LOSSES["nll"], hide=("constant", "seed")))


def test_of_a_backward_whose_first_calls_are_not_recorded_the_gradient_they_made_is_drawn():
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    for op in ("nll", "mean", "sum"):
        loss = LOSSES[op](net(tg.ones(2, 4)))
        loss.backward(create_graph=True)
        g = tg.draw(loss, net[0].weight.grad).graph
        boxes = {box.id: box for box in g.boxes}
        seeds = [box for box in g.boxes if box.kind == "seed"]
        assert seeds and {(box.label, box.notes) for box in seeds} == {("g", ("made by calls that are not recorded",))}
        assert {boxes[e.source].label.split()[0] for e in g.edges if boxes[e.target] in seeds} == {op}
        alone = tg.draw(net[0].weight.grad).graph
        assert [box.kind for box in alone.boxes].count("seed") == len(seeds)
        net.zero_grad()
