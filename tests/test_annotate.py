"""Figures, notes and marks on a drawing: each said by hand somewhere, and added up when collapsed."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.draw.annotate import NO_LOSS, SHOW, Show, annotate, register, write_figures
from tinygrad_conv.draw.collapse import collapse
from tinygrad_conv.draw.heat import Heat

WORDS = ["parameters", "flops", "memory", "time", "grad", "nan"]


def network(rng=0):
    rng = np.random.default_rng(rng)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3, rng=rng))
    x = tg.tensor(rng.standard_normal((2, 1, 8, 8)).astype(np.float32))
    return net, tg.cross_entropy(net(x), np.array([0, 1]))


def drawn(y, show, depth=None):
    g = annotate(tg.graph(y), show)
    return write_figures(g if depth is None else collapse(g, depth))


def marks(g):
    return {box.label: box.mark for box in g.boxes if box.mark}


def by_label(g):
    return {(".".join([*box.scope, box.label]) if box.kind == "parameter" else box.label.split()[0]): box
            for box in g.boxes}


def test_parameters_and_multiply_adds_by_hand():
    g = by_label(drawn(network()[1], ["parameters", "flops"]))
    assert g["0.weight"].notes == ("36 parameters",) and g["0.bias"].notes == ("4 parameters",)
    assert g["conv2d"].notes == ("2.59k multiply-adds (75%)",)     # 2 * 4 * 36 * 9 of 3456
    assert g["linear"].notes == ("864 multiply-adds (25%)",)       # 2 * 3 * 144
    assert g["relu"].notes == ()


def test_a_module_drawn_as_one_box_has_the_sums():
    g = drawn(network()[1], ["parameters", "flops"], depth=0)
    boxes = {box.id: box for box in g.boxes}
    assert "40 parameters" in " ".join(boxes["module:0"].notes)
    assert "2.59k multiply-adds (75%)" in boxes["module:0"].notes
    assert ("", "in all: 475 parameters, 3.46k multiply-adds") in g.legend


def test_memory_is_what_the_backward_needs():
    g = drawn(network()[1], "memory")
    assert by_label(g)["relu"].notes[0].startswith("1.15k bytes kept")          # 2 * 4 * 36 floats
    assert by_label(g)["0.weight"].notes == ()


def test_times_stand_forward_and_backward():
    notes = by_label(drawn(network()[1], "time"))["conv2d"].notes
    forward, _, backward, ms = notes[0].split()[:4]
    assert float(forward) > 0 and float(backward) > 0 and ms == "ms"


def test_no_backward_yet_is_said_and_is_no_alarm():
    g = by_label(drawn(network()[1], "grad"))
    assert g["0.weight"].notes == ("no backward yet",) and g["0.weight"].mark == ""
    assert g["relu"].notes[0].startswith("gradient of the result ")


def rms(*arrays):
    return np.sqrt(np.mean(np.concatenate([a.reshape(-1) for a in arrays]).astype(float) ** 2))


def test_sizes_are_those_of_grad_and_add_up_in_a_module():
    net, loss = network()
    loss.backward(retain_graph=True)
    weight, bias = net[0].weight.grad.data, net[0].bias.grad.data
    assert by_label(drawn(loss, "grad"))["0.weight"].notes == (f"gradient {rms(weight):.2g} rms",)
    modules = {box.id: box for box in drawn(loss, "grad", depth=0).boxes}
    assert f"gradient {rms(weight, bias):.2g} rms" in modules["module:0"].notes
    assert not any("of the result" in note for note in modules["module:0"].notes)
    assert modules["module:1"].notes[0].startswith("gradient of the result ")     # it has no parameters


def test_a_parameter_that_no_gradient_reached_is_told_from_one_without_backward():
    @tg.primitive
    def first(x, y):
        return x * 1.0
    first.defvjp(lambda g, ans, x, y: g, None)
    a, b, c = (tg.ones(2, requires_grad=True) for _ in range(3))
    a.name, b.name, c.name = "a", "b", "c"
    y = first(a, b).sum()
    y.backward(retain_graph=True)
    g = by_label(drawn(y + (c * 2.0).sum(), "grad"))
    assert g["b"].notes == ("no gradient came here",) and g["b"].mark == "no-gradient"
    assert g["a"].mark == "" and (g["c"].notes, g["c"].mark) == (("no backward yet",), "")
    y.backward()                                             # the values are gone, .grad is what is known
    assert by_label(drawn(y, "grad"))["b"].mark == "no-gradient"


def deep(scale):
    """A chain of 12 layers whose gradients change by `scale` a layer on the way back."""
    x = tg.ones(1, 4)
    for number in range(12):
        w = tg.tensor(np.eye(4) * scale, dtype=np.float64, requires_grad=True)
        w.name = f"w{number}"
        h = tg.matmul(x, w)
        x = h / scale + (h - h.detach()) * (1 - 1 / scale)       # value of x, slope of h
    return tg.sum(x)


@pytest.mark.parametrize("scale, mark", [(0.2, "vanishing"), (5.0, "exploding"), (1.0, "")])
def test_gradients_far_from_the_last_ones_are_marked(scale, mark):
    y = deep(scale)
    y.backward(retain_graph=True)
    marks = [box.mark for box in drawn(y, "grad").boxes if box.kind == "parameter"]
    assert marks[0] == mark and marks[-1] == ""
    size = {box.label: float(np.abs(g.grad.data).mean()) for box in tg.graph(y).boxes
            if isinstance(g := tg.graph(y).sources[box.id], tg.Tensor) and g.grad is not None}
    assert (mark == "") == (1e-3 < size["w0"] / size["w11"] < 1e3)


def test_a_gradient_of_exactly_zero_is_said():
    w = tg.ones(3, requires_grad=True)
    y = tg.sum(tg.relu(w * -1.0))
    y.backward(retain_graph=True)
    g = by_label(drawn(y, "grad"))
    assert g["x"].notes == ("gradient exactly zero",) and g["x"].mark == "vanishing"
    assert g["mul"].notes == ("gradient of the result exactly zero",)


def test_vanishing_layers_are_counted_in_a_collapsed_module():
    w = tg.ones(3, requires_grad=True)
    v = tg.ones(3, requires_grad=True)
    w.name, v.name = "dead.w", "dead.v"
    with tg.scope("dead"):
        y = tg.sum(tg.relu(w * -1.0) + v)
    y.backward(retain_graph=True)
    box = next(box for box in drawn(y, "grad", depth=0).boxes if box.kind == "module")
    assert "1 of 2 vanishing" in box.notes and box.mark == "vanishing"


def test_the_first_nan_is_outlined_with_its_line():
    x = tg.tensor([1.0, -1.0], requires_grad=True)
    with np.errstate(invalid="ignore"):
        y = tg.sum(tg.exp(tg.log(x) * 2.0))
    g = drawn(y, "nan")
    assert [box.label for box in g.boxes if box.mark == "nan"] == ["log"]
    place, code = by_label(g)["log"].notes
    assert place.startswith("first nan, made at test_annotate.py:")
    assert code == "y = tg.sum(tg.exp(tg.log(x) * 2.0))" and ("nan", f"{place}: {code}") in g.legend


def test_the_mask_of_an_attention_is_no_first_infinity():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    mask = np.array([[0.0, -np.inf], [0.0, 0.0]], np.float32)
    fine = tg.softmax(x + mask, axis=1)
    assert not marks(drawn(tg.sum(fine), "nan"))
    with np.errstate(invalid="ignore", divide="ignore"):
        y = tg.sum(tg.log(fine - 2.0))
        all_masked = tg.softmax(x + np.full((2, 2), -np.inf, np.float32), axis=1)
    assert marks(drawn(y, "nan")) == {"log": "nan"}
    assert marks(drawn(tg.sum(all_masked), "nan")) == {"softmax axis 1": "nan"}


def test_an_infinity_in_the_data_is_still_the_source_of_an_infinite_result():
    w = tg.ones(3, 2, requires_grad=True)
    x = tg.tensor([[1.0, np.inf]])
    x.name = "data"
    with np.errstate(invalid="ignore"):
        y = tg.sum(tg.linear(x, w))
    assert marks(drawn(y, "nan")) == {"data": "nan"}


def test_what_a_dropout_keeps_is_counted_though_its_mask_is_not_drawn():
    x = tg.ones(4, 8, requires_grad=True)
    with tg.scope("drop"):
        y = tg.dropout(x, 0.5, rng=np.random.default_rng(0))
    shown, whole = tg.draw(y, show="memory"), tg.draw(y, show="memory", hide=())
    total = [text for _, text in whole.graph.legend if text.startswith("in all: ")]
    assert total and total == [text for _, text in shown.graph.legend if text.startswith("in all: ")]
    assert len(shown.graph.boxes) < len(whole.graph.boxes)


def test_the_gradient_of_hidden_parameters_is_told_by_their_call():
    w = tg.ones(3, 2, requires_grad=True)
    y = tg.sum(tg.linear(tg.ones(1, 2), w) * 2.0)
    y.backward(retain_graph=True)
    box = by_label(tg.draw(y, show=("grad", "parameters"), hide="parameter").graph)["linear"]
    assert box.notes == ("6 parameters", "gradient 2 rms", "gradient of the result 2 rms")


def test_sums_of_repeated_modules_are_explained_only_where_one_is_drawn():
    def legend(depth):
        y = tg.ones(2, requires_grad=True)
        for i in range(3):
            with tg.scope("list", str(i)):
                y = tg.exp(y)
        return tg.draw(y, show="memory", depth=depth).graph.legend
    for depth, said in ((0, False), (1, True), (None, True)):
        assert any("sums of all" in text for _, text in legend(depth)) is said


def test_an_infinite_gradient_is_found_where_the_forward_is_finite():
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    g = drawn(tg.sum(tg.sqrt(x)), "nan")
    assert [box.label for box in g.boxes if box.mark == "nan"] == ["sqrt"]
    assert by_label(g)["sqrt"].notes[0].startswith("first inf of the backward")


def test_a_bad_leaf_is_the_first():
    x = tg.tensor([np.nan], requires_grad=True)
    assert by_label(drawn(x * 2.0, "nan"))["x"].mark == "nan"
    _, loss = network()
    assert ("", "nan: all values and gradients are finite") in drawn(loss, "nan").legend


def test_a_tape_that_was_used_still_has_what_needs_no_values():
    net, loss = network()
    loss.backward()
    g = drawn(loss, WORDS)
    statements = [text for mark, text in g.legend if not mark]
    freed = "values freed by backward(); draw before it, or backward(retain_graph=True)"
    assert [s for s in statements if freed in s] == [f"{w}: {freed}" for w in
                                                     ("time", "grad of results", "nan")]
    assert by_label(g)["0.weight"].notes[-1].startswith("gradient ")
    assert "multiply-adds" in by_label(g)["conv2d"].notes[0]


def test_values_changed_since_are_stated_not_raised():
    net, loss = network()
    net[3].weight.mutate()[...] = 0.0
    assert any("was changed in place" in text for _, text in drawn(loss, ["grad", "time"]).legend)


def test_the_gravest_mark_wins_and_notes_stay():
    x = tg.tensor([np.nan], requires_grad=True)
    g = annotate(tg.graph(x * 2.0), ["nan", "grad"])
    g = replace(g, boxes=tuple(replace(b, notes=("before",)) for b in g.boxes))
    box = by_label(write_figures(g))["x"]
    assert box.mark == "nan" and box.notes[:2] == ("before", "no backward yet")


def test_an_unknown_word_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"show must be one of 'parameters', 'flops', .* got 'speed'"):
        annotate(tg.graph(tg.ones(1, requires_grad=True) * 2.0), ["flops", "speed"])


def test_annotating_changes_nothing_and_repeats():
    net, loss = network()
    show = ["parameters", "flops", "memory", "grad", "nan"]
    assert drawn(loss, show) == drawn(loss, show)
    assert all(p.grad is None for p in net.parameters())
    loss.backward()


def test_of_two_losses_it_is_said_that_gradients_are_of_their_sum():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    g = write_figures(annotate(tg.graph(x.sum(), (x * x).sum()), "grad"))
    assert ("", "grad of results: the gradient of the sum of the outputs") in g.legend


def test_beside_a_drawn_backward_gradients_are_still_those_of_the_loss():
    x = tg.tensor([1.0, 0.0], requires_grad=True)
    y = x * x
    loss = (y * tg.sqrt(y + 1.0)).sum()
    before = by_label(drawn(loss, "grad"))["sqrt"].notes
    loss.backward(create_graph=True)
    found, x.grad = x.grad, None
    boxes = write_figures(annotate(tg.graph(loss, found), "grad")).boxes
    assert [box.notes for box in boxes if box.label == "sqrt" and not box.scope] == [before]


@pytest.mark.parametrize("word", ["grad", "time", "nan"])
def test_a_derivative_that_fails_is_told_and_the_picture_drawn(word):
    @tg.primitive
    def twice(x):
        return 2 * x
    twice.defvjp(lambda g, ans, x: g.sum())
    g = drawn(twice(tg.exp(tg.ones(2, 5, requires_grad=True))).sum(), word)
    assert any("twice: the VJP for argument 0 returned shape ()" in text for _, text in g.legend)


# ----- words from outside, results beside the first -----

@pytest.fixture
def sparsity():
    """A seventh word: how many values of a result are zero; boxes of nothing else are marked."""
    def read(graph, legend):
        legend.append(("", "sparsity: of the results"))
        return {box: {"zeros": float((source.output.data == 0).sum()), "numbers": source.output.size}
                for box, source in graph.sources.items() if hasattr(source, "output")}
    register(Show("sparsity", read, lambda own, *_: [f"{own['zeros']:.0f} zeros"] if "zeros" in own else [],
                  marks={"empty": ("zeros alone", lambda own, box:
                                                   own.get("numbers") and own["zeros"] == own["numbers"])}))
    yield
    del SHOW["sparsity"]


def test_a_word_from_outside_is_one_registration(sparsity):
    with tg.scope("body"):
        y = tg.relu(tg.tensor([-1.0, -2.0], requires_grad=True))
    drawing = tg.draw(tg.exp(y), show=("sparsity", "memory"))
    boxes = {box.label: box for box in drawing.graph.boxes}
    assert boxes["relu"].notes[-1] == "2 zeros" and boxes["relu"].mark == "empty"
    assert boxes["exp"].notes[-1] == "0 zeros" and "zeros alone" in drawing.dot and "[empty]" in drawing.dot
    assert any(text.endswith("2 zeros") for _, text in drawing.graph.legend) and "sparsity: of the results" in repr(drawing)
    module = next(b for b in tg.draw(tg.exp(y), show="sparsity", depth=0).graph.boxes if b.kind == "module")
    assert module.notes[-1] == "2 zeros" and '"empty"' in drawing.html()
    register(replace(SHOW["sparsity"], heat=Heat("sparsity", "zeros", ("zeros",)), marks={}))
    g = tg.draw(tg.relu(-1.0 * tg.exp(y) * tg.relu(y)), show=("sparsity", "memory")).graph
    assert (g.heat.what, g.heat.high) == ("sparsity", "2 zeros") and max(box.heat or 0 for box in g.boxes) == 1.0
    with pytest.raises(ValueError, match="'nan', 'sparsity', got 'speed'"):
        tg.draw(y, show="speed")


def test_without_the_registration_the_word_is_unknown():
    with pytest.raises(ValueError, match="got 'sparsity'"):
        tg.draw(tg.exp(tg.ones(1, requires_grad=True)), show="sparsity")


def halves(bad=1.0):
    @tg.primitive
    def halve(x):
        return x[:1] * 1.0, x[1:] * bad
    halve.defvjp(lambda g, ans, x: tg.concatenate([g[0], g[1]]))
    return halve(tg.ones(3, requires_grad=True))


# ----- no alarm without evidence -----

HEALTHY = ["vanishing", "exploding", "no-gradient", "nan"]


def alarms(graph):
    return {mark for mark in marks(graph).values() if mark in HEALTHY} | {m for m, _ in graph.legend if m in HEALTHY}


def small_cnn(*norm):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *norm, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))


def test_a_picture_without_a_loss_asks_for_one_and_raises_no_alarm():
    net = small_cnn(nn.BatchNorm2d(4))
    for model in (net, nn.Sequential(*net, nn.Softmax(1))):       # the sum of a softmax has gradient 0
        g = nn.draw(model, tg.ones(2, 1, 6, 6), show=["grad", "nan"]).graph
        assert alarms(g) == set() and not any("gradient of the result" in note for box in g.boxes for note in box.notes)
        assert [text for _, text in g.legend if "nn.draw(model, x, loss=...)" in text] == [
            "grad of results: " + NO_LOSS, "nan: all values are finite; gradients: " + NO_LOSS]
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    assert alarms(drawn(tg.sqrt(x), "nan")) == set() and alarms(drawn(tg.sqrt(x).sum(), "nan")) == {"nan"}


@pytest.mark.parametrize("step", ["forward alone", "backward", "drawn backward", "zero_grad", "the next forward",
                                  "frozen", "one of two optimizers"])
def test_a_healthy_net_raises_no_alarm_at_any_step(step):
    net, x, labels = small_cnn(), tg.tensor(np.random.default_rng(0).standard_normal((2, 1, 6, 6))), np.array([0, 1])

    def loss():
        return tg.cross_entropy(net(x), labels)
    if step == "frozen":
        net[0].requires_grad_(False)
    y = loss()
    if step == "drawn backward":
        assert alarms(nn.draw(net, x, loss=lambda y: tg.cross_entropy(y, labels), show=["grad", "nan"]).graph) == set()
    elif step != "forward alone":
        y.backward()
    if step == "zero_grad":
        net.zero_grad()
    elif step == "one of two optimizers":
        net[0].zero_grad()
    if step in ("zero_grad", "the next forward", "one of two optimizers"):
        y = loss()
    assert alarms(drawn(y, ["grad", "nan"])) == set()


@pytest.mark.parametrize("dead", [False, True])
def test_a_bias_before_a_norm_has_no_gradient_and_is_healthy_unless_none_came(dead):
    net = small_cnn(nn.BatchNorm2d(4))
    loss = tg.cross_entropy(net(tg.tensor(np.random.default_rng(0).standard_normal((2, 1, 6, 6)))), np.array([0, 1]))
    loss = loss * 0.0 + net[4].weight.sum() if dead else loss
    loss.backward()
    found = {".".join((*box.scope, box.label)): box for box in tg.draw(loss, show="grad").graph.boxes}
    bias = found["0.bias"]
    assert float(np.abs(net[0].bias.grad.data).max()) < 1e-6 and bias.notes[0].startswith("gradient ")
    assert bias.mark == found["0.weight"].mark == ("vanishing" if dead else "")


def test_gradients_of_all_results_of_a_call_count():
    one, two = halves()
    g = drawn(one.sum() * 3.0 + two.sum() * 4.0, "grad")
    assert by_label(g)["halve"].notes[-1] == f"gradient of the result {np.sqrt((9 + 2 * 16) / 3):.2g} rms"
    g = tg.graph(one.sum(), two.sum())                        # both are ends, of different calls
    assert by_label(write_figures(annotate(g, "grad")))["x"].notes == ("no backward yet",)
    assert by_label(write_figures(annotate(g, "grad")))["halve"].notes[-1] == "gradient of the result 1 rms"


def test_a_nan_in_a_result_that_is_not_used_is_found():
    one, _ = halves(np.nan)
    assert marks(drawn(one.sum(), "nan")) == {"halve": "nan"}
