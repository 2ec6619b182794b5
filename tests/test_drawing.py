"""Drawings as files: DOT text kept in tests/golden, pictures with and without a renderer, listings."""
from __future__ import annotations

import contextlib
import html
import os
import re
import stat
import subprocess
import sys
import time
import warnings
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tests.regenerate_golden import DRAWINGS, FOLDER, Deep, Residual, lenet, lenet_loss
from tinygrad_conv.draw.drawing import render
from tinygrad_conv.draw.formats import dot, simpler
from tinygrad_conv.draw.heat import SCALE
from tinygrad_conv.draw.style import INK, KINDS, MARKS, attributes, printable

ROOT = Path(__file__).parent.parent
PURE = Path(sys.executable).parent / "graphviz-pure"
needs_pure = pytest.mark.skipif(not PURE.exists(), reason="graphviz-pure is not installed")
NASTY = ['a "quoted" name', "<script>alert(1)</script>", "<b>", "&lt;&amp;", "back\\slash\\", "\\N\\l\\G",
         "two\nlines", "bell\x07", "ünï 卷积 😀", "half \ud800", "{a|b}", "-- -> ;", "*/ ]]>", "$(touch x)", "digraph"]


def square(name="x"):
    x = tg.ones(2, requires_grad=True)
    x.name = name
    return x * x


# ----- DOT -----

@pytest.mark.parametrize("name", DRAWINGS)
def test_dot_is_the_golden_one(name):
    """If the change is wanted: python -m tests.regenerate_golden, and look at the difference."""
    assert DRAWINGS[name]().dot == (FOLDER / f"{name}.dot").read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert {p.stem for p in FOLDER.iterdir()} == set(DRAWINGS)


@pytest.mark.parametrize("seed", ["0", "1"])
def test_dot_does_not_depend_on_hash_seeds(seed):
    code = ("from tests.regenerate_golden import DRAWINGS, FOLDER\n"
            "for name in ('lenet_gradient', 'residual', 'separable', 'deep_depth1'):\n"
            "    assert DRAWINGS[name]().dot == (FOLDER / (name + '.dot')).read_text(), name")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env={**os.environ, "PYTHONHASHSEED": seed})


def test_dot_is_the_same_after_backward():
    loss = lenet_loss()
    before = tg.draw(loss).dot
    loss.backward()
    assert tg.draw(loss).dot == before


def test_square_is_drawn_with_two_edges():
    assert tg.draw(square()).dot.count("leaf0 -> op0") == 2


def test_boxes_carry_shapes_and_dtypes_other_than_float32_and_edges_no_text():
    y = tg.exp(tg.neg(tg.tensor(np.ones((2, 3)), requires_grad=True)))
    assert r'label="exp\n2x3 float64"' in tg.draw(y).dot
    assert r'\n2x6x28x28"' in tg.draw(lenet_loss()).dot
    assert not re.search(r"(?m)^\s*\w+ -> \w+ .*label", tg.draw(lenet_loss()).dot)


def test_kinds_differ_in_shape_and_marks_in_line_and_word():
    assert len({look["shape"] for look in KINDS.values()}) == len(KINDS)
    lines = {(m["style"], m.get("penwidth"), m.get("peripheries")) for m in MARKS.values()}
    assert len(lines) == len(MARKS) and not any(  # the fill is for the heat
        "fillcolor" in MARKS[alarm] for alarm in ("failed", "nan", "exploding", "vanishing", "no-gradient"))
    g = tg.graph(tg.exp(tg.ones(1, requires_grad=True)))
    for mark in MARKS:
        marked = replace(g, boxes=(g.boxes[0], replace(g.boxes[1], mark=mark)), legend=((mark, "what it means"),))
        text = dot(marked)
        assert f"[{mark}]" in text and f'{attributes("op", mark)["color"]}" fillcolor' in text and "what it means" in text


def test_legend_explains_only_what_is_there():
    g = replace(tg.graph(square()), legend=(("nan", "not there"), ("", "always said")))
    assert "not there" not in dot(g) and "always said" in dot(g)
    assert "legend" not in dot(tg.graph(square()))


def test_gradient_is_a_frame_beside_the_forward_pass():
    text = DRAWINGS["lenet_gradient"]().dot
    assert re.search(r"label=backward|label=\"backward +.l\"", text)
    assert "sums over o, kh, kw" in text and "sums over n, oh, ow" in text
    crossing = [line for line in text.splitlines() if "dashed" in line and "->" in line]
    assert crossing and all("minlen=0" in line for line in crossing)


@needs_pure
@pytest.mark.parametrize("name", NASTY, ids=ascii)
def test_every_name_stays_text(name):
    x = tg.ones(2, requires_grad=True)
    x.name = name
    with tg.scope(name.replace(".", "")):
        y = tg.exp(x) + 1.0
    y.name = name
    for graph in (tg.draw(y).graph, tg.draw(y, depth=0).graph):
        graph = replace(graph, legend=(("", name),))
        svg = ET.fromstring(render(dot(graph), "svg"))
        shown = ["".join(t.itertext()).replace("\xa0", " ").strip() for t in svg.iter() if t.tag.endswith("text")]
        frames = [text for text in shown if text == printable(name)]
        assert len(frames) >= (3 if graph.scopes else 2), shown
        assert not [t for t in svg.iter() if t.tag.endswith(("script", "}b"))]


# ----- pictures -----

def executable(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """No renderer anywhere; a folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return folder


@needs_pure
def test_graphviz_pure_makes_svg_and_png_without_dot(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    drawing = tg.draw(lenet_loss())
    assert drawing.save(tmp_path / "deep" / "a b.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert drawing.save(tmp_path / "a.PNG").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.PNG", "deep"]


@needs_pure
def test_pdf_needs_dot_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match=r"to draw .pdf: install Graphviz .* are written instead"):
        assert tg.draw(square()).save(tmp_path / "a.pdf") == tmp_path / "a.html"


def test_without_a_renderer_the_page_and_the_dot_text_are_kept_with_one_line_of_advice(tmp_path, alone):
    drawing = tg.draw(square())
    with pytest.warns(UserWarning) as said:
        assert drawing.save(tmp_path / "a.svg") == tmp_path / "a.html"
    assert len(said) == 1 and "\n" not in str(said[0].message)
    assert "pip install 'tinygrad_conv[viz]'" in str(said[0].message)
    assert said[0].filename == __file__
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == drawing.dot
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == drawing.html("a")
    assert drawing._repr_svg_() is None and "mul" in repr(drawing)


def test_what_a_failing_renderer_says_is_told_and_nothing_is_half_written(tmp_path, alone):
    executable(alone / "dot", "echo half a picture; echo no layout for you >&2; exit 3")
    (tmp_path / "a.svg").write_text("the old one")
    with pytest.warns(UserWarning, match="no layout for you.*a.html.*a.dot"):
        assert tg.draw(square()).save(tmp_path / "a.svg") == tmp_path / "a.html"
    assert (tmp_path / "a.svg").read_text(encoding="utf-8") == "the old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dot", "a.html", "a.svg", "bin"]


def test_a_dot_that_fails_is_passed_over_for_the_next(tmp_path, alone):
    executable(alone / "dot", "exit 1")
    executable(alone / "graphviz-pure", "echo '<svg>by the other</svg>'")
    with pytest.warns(UserWarning, match="draw: .*dot: no output; drawn by .*graphviz-pure$"):
        assert tg.draw(square())._repr_svg_() == "<svg>by the other</svg>\n"


def test_a_renderer_that_hangs_is_given_up(alone):
    executable(alone / "dot", "exec /bin/sleep 20")
    with pytest.raises(RuntimeError, match=r"not done after 0.2 s; draw less"):
        render("digraph {}", "svg", patience=0.2)


def test_a_dot_that_cannot_be_run_is_told(alone):
    (alone / "dot").write_bytes(b"\x7fELF no program")
    (alone / "dot").chmod(0o755)
    with pytest.raises(RuntimeError, match="dot: "):
        render("digraph {}", "svg")


def test_path_and_text_are_no_commands(tmp_path, alone):
    executable(alone / "dot", "cat >/dev/null; echo '<svg/>'")
    os.symlink("/bin/cat", alone / "cat")
    folder = tmp_path / "$(touch hacked); rm"
    assert tg.draw(square("`touch hacked`")).save(folder / "a.svg").exists()
    assert not list(tmp_path.rglob("hacked"))


@pytest.mark.parametrize("ending, start", [("dot", "digraph"), ("gv", "digraph"), ("txt", "leaf0    x"), ("html", "<!DOCTYPE html>")])
def test_text_formats(tmp_path, ending, start):
    path = tg.draw(square()).save(tmp_path / f"a.{ending}")
    assert path.read_text(encoding="utf-8").startswith(start)
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{ending}"]


@pytest.mark.parametrize("name", ["a.gif", "a"])
def test_unknown_ending_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=f"got '{name}'"):
        tg.draw(square()).save(tmp_path / name)


@needs_pure
def test_notebook_shows_svg_and_text():
    drawing = tg.draw(square())
    assert "<svg" in drawing._repr_svg_() and "mul" in repr(drawing)


FAILURES = {"fails": ("echo no layout >&2; exit 1", "no layout"), "says nothing": ("exit 0", "no output"),
            "says no picture": ("echo garbage", "no picture"), "hangs": ("exec /bin/sleep 20", "not done after 0.2 s"),
            "cannot be run": (None, "Exec format error")}
ENGINES = {"dot": "graphviz-pure", "graphviz-pure": "dot"}


def broken(path, how):
    executable(path, FAILURES[how][0] or "")
    if how == "cannot be run":
        path.write_bytes(b"\x7fELF no program")


@pytest.mark.parametrize("how", FAILURES)
@pytest.mark.parametrize("engine", ENGINES)
def test_where_one_engine_fails_the_other_draws_and_the_reason_is_said(alone, engine, how):
    broken(alone / engine, how)
    executable(alone / ENGINES[engine], "echo '<svg>a picture</svg>'")
    if engine == "dot":  # comes first
        with pytest.warns(UserWarning, match=f"draw: .*dot: .*{FAILURES[how][1]}.*; drawn by .*graphviz-pure$"):
            assert render("digraph {}", "svg", patience=0.2) == b"<svg>a picture</svg>\n"
    else:
        assert render("digraph {}", "svg", patience=0.2) == b"<svg>a picture</svg>\n"


@pytest.mark.parametrize("how", FAILURES)
def test_where_every_engine_fails_there_is_the_page_and_the_reason_in_files_and_notebooks(
        tmp_path, alone, monkeypatch, how):
    monkeypatch.setattr(render, "__defaults__", (0.2,))
    for engine in ENGINES:
        broken(alone / engine, how)
    drawing = nn.draw(Residual(4, 4), tg.zeros(1, 4, 8, 8))
    with pytest.warns(UserWarning, match=f"dot: .*{FAILURES[how][1]}.*graphviz-pure: .*{FAILURES[how][1]}.* for a browser"):
        path = drawing.save(tmp_path / "a.png")
    assert path == tmp_path / "a.html" and path.read_text(encoding="utf-8") == drawing.html("a")
    if how != "hangs":  # a notebook waits longer
        shown = drawing._repr_html_()
        assert drawing._repr_svg_() is None and FAILURES[how][1] in shown
        assert html.unescape(shown.split('srcdoc="')[1].split('"')[0]) == drawing.html()


def test_an_engine_that_hangs_is_not_asked_again(alone):
    executable(alone / "dot", f"echo run >>{alone}/runs; exec /bin/sleep 20")
    drawing = nn.draw(Residual(4, 4), tg.zeros(1, 4, 8, 8))
    with pytest.raises(RuntimeError, match="not done after 0.2 s"):
        render(drawing.dot, "svg", patience=0.2)
    assert len([*simpler(drawing.dot)]) == 4 and (alone / "runs").read_text() == "run\n"


@pytest.mark.parametrize("refused, lost", [("newrank", "; drawn by .*dot, calls of different frames not level$"),
                                           ("cluster", "; drawn by .*dot, without frames$"),
                                           ("rank=same", "; drawn by .*dot, without frames$")])
def test_what_an_engine_stumbles_over_is_left_out_and_that_is_said(alone, refused, lost):
    executable(alone / "dot", f"if /bin/grep -q {refused}; then echo trouble in init_rank >&2; exit 1; fi; echo '<svg/>'")
    drawing = nn.draw(Residual(4, 4, stride=2), tg.zeros(1, 4, 8, 8), loss=lambda y: y.mean())
    with pytest.warns(UserWarning, match=f"draw: .*dot: trouble in init_rank{lost}"):
        assert render(drawing.dot, "svg") == b"<svg/>\n"


def test_simpler_text_has_every_box_and_edge_and_leaves_names_alone():
    x = tg.ones(3, requires_grad=True)
    x.name = "a\n\t{rank=same; op0} newrank=true [style=invis]"
    with tg.scope("subgraph cluster0"):
        drawing = tg.draw(tg.exp(x) * x)
    full, *less = [text for text, _ in simpler(drawing.dot)]
    assert full == drawing.dot and len(less) == 3
    for text in less:
        assert "rank=same; op0} newrank=true [style=invis]" in text and "label=\"subgraph cluster0" in text
        assert text.count(" -> ") == full.count(" -> ") == 4 and text.count("[label=") == full.count("[label=")


class Branches(nn.Module):
    """Branches of unequal length from the input, joined."""

    def __init__(self, *lengths):
        super().__init__()
        self.branches = nn.ModuleList([nn.ModuleList([nn.Conv2d(4 if i else 3, 4, 1) for i in range(n)])
                                       for n in lengths])
        self.act = nn.ReLU()

    def forward(self, x):
        ends = []
        for branch in self.branches:
            y = x
            for m in branch:
                y = self.act(m(y))
            ends.append(y)
        return tg.concatenate(ends, axis=1)


@needs_pure
@pytest.mark.filterwarnings("ignore:draw. .*init_rank")
@pytest.mark.parametrize("depth", [None, 0, 1])
@pytest.mark.parametrize("lengths", [(0, 2), (2, 3), (0, 0, 2), (3, 3, 0, 0)])  # open, too much for one layout
def test_branches_of_unequal_length_from_the_input_have_a_picture(monkeypatch, tmp_path, lengths, depth):
    monkeypatch.setenv("PATH", str(tmp_path))
    net, x = Branches(*lengths), tg.ones(1, 3, 4, 4)
    y = net(x)
    loss = (y * y).mean()
    loss.backward(create_graph=True)
    for drawing in (nn.draw(net, x, loss=lambda y: (y * y).mean(), depth=depth),
                    tg.draw(loss, *[p.grad for p in net.parameters()], depth=depth)):
        svg = ET.fromstring(drawing._repr_svg_())
        assert sum(g.get("class") == "node" for g in svg.iter()) == len(drawing.graph.boxes)


# ----- listing -----

def test_listing_indents_modules_and_names_inputs_from_afar():
    lines = nn.draw(Residual(4, 4), tg.zeros(1, 4, 8, 8)).listing().splitlines()
    assert lines[1].strip() == "conv1  Conv2d"
    assert re.search(r"op0 +  conv2d 3x3 padding 1 +-> 1x4x8x8$", lines[4])
    assert re.search(r"op3 +add +-> 1x4x8x8  <- op2, leaf0$", lines[-3])


def test_listing_shows_notes_and_marks_in_a_line():
    g = tg.graph(square("two\nlines"))
    g = replace(g, boxes=(g.boxes[0], replace(g.boxes[1], notes=("a", "b"), mark="nan")), legend=(("nan", "why"),))
    from tinygrad_conv.draw.formats import listing
    assert listing(g).splitlines() == [
        "leaf0  two\\nlines  -> 2  (parameter)", "op0    mul         -> 2  <- leaf0, leaf0  a; b  [nan]", "nan: why"]


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[31m", "\u202eabc", "long" * 100])
def test_a_listing_is_a_line_a_box_whatever_a_module_is_called(name):
    y = square()
    with tg.scope(name):
        y = tg.exp(y)
    lines = tg.draw(y + 1.0, depth=0).listing().splitlines()
    assert [line.split()[0] for line in lines] == ["leaf0", "op0", printable(f"module:{name}"), "op2", "output0"]
    assert all(line.isprintable() for line in lines) and len(lines[0]) < 150


# ----- draw -----

def test_draw_of_what_was_not_recorded_says_so():
    with tg.no_grad():
        y = square()
    with pytest.raises(ValueError, match=r"nothing was recorded behind \[\(2,\)\].*no_grad"):
        tg.draw(y)


@pytest.mark.parametrize("given", [np.ones(2), "y", None])
def test_draw_of_no_tensor_is_refused(given):
    with pytest.raises(TypeError, match="expects tensors, or one exception, got"):
        tg.draw(given)
    with pytest.raises(TypeError, match="expects tensors, or one exception, got"):
        tg.draw(square(), given)


@pytest.mark.parametrize("given", [nn.Linear(2, 2, rng=np.random.default_rng(0)), nn.ReLU()])
def test_draw_of_a_model_names_the_function_that_draws_models(given):
    kind = type(given).__name__
    with pytest.raises(TypeError, match=rf"one exception, got {kind}; of a model, use nn.draw\(model, x\)$"):
        tg.draw(given, np.ones(2))
    with pytest.raises(TypeError, match="got str$"):
        tg.draw("y")


def test_draw_of_an_error_marks_the_call():
    try:
        nn.Linear(3, 2)(tg.ones(1, 4))
    except ValueError as e:
        drawing = tg.draw(e)
    assert [box.mark for box in drawing.graph.boxes][-1] == "failed" and "[failed]" in drawing.dot


def test_options_are_those_of_the_steps():
    loss = lenet_loss()
    assert "param" not in tg.draw(loss, hide=("parameter", "constant")).listing()
    assert "module:features" in tg.draw(loss, depth=0).listing()
    assert "multiply-adds" in tg.draw(loss, show="flops").listing()
    y = Deep()(tg.zeros(1, 3, 16, 16))
    assert "  x8 " in tg.draw(y).dot and "  x8 " not in tg.draw(y, unroll=True).dot


def test_page_is_of_the_whole_graph():
    drawing = nn.draw(Deep(), tg.zeros(1, 3, 16, 16), depth=0)
    assert len(drawing.whole.boxes) > 20 * len(drawing.graph.boxes)


# ----- nn.draw -----

def test_nn_draw_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2))
    net[1].eval()
    x = tg.ones(3, 1, 4, 4)
    net(x).sum().backward()
    before = {k: v.copy() for k, v in net.state_dict().items()}
    grads, modes = [p.grad for p in net.parameters()], [m.training for m in net.modules()]
    nn.draw(net, x, loss=lambda y: tg.cross_entropy(y, np.array([0, 1, 0])))
    assert all(a is b for a, b in zip(grads, [p.grad for p in net.parameters()]))
    assert modes == [m.training for m in net.modules()] and not x.requires_grad and x.name == ""
    assert all(np.array_equal(v, before[k]) for k, v in net.state_dict().items())


def test_nn_draw_leaves_the_model_as_it_was_when_it_fails():
    net = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="in_features"):
        nn.draw(net, tg.ones(1, 4))
    assert net.training and net[0].training


def test_nn_draw_names_inputs_and_says_kinds():
    class Two(nn.Module):
        def forward(self, image, scale):
            return tg.relu(image) * scale

    drawing = nn.draw(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), np.ones((2, 4), np.float32))
    assert "0  Linear" in drawing.listing() and re.search(r"x +-> 2x4  \(input\)", drawing.listing())
    boxes = nn.draw(Two(), np.ones((2, 4), np.float32), np.ones(4, np.float32)).graph.boxes
    assert [(b.label, b.kind) for b in boxes if b.kind != "op"] == [
        ("image", "input"), ("scale", "input"), ("output", "output")]


def test_nn_draw_shows_frozen_models_from_the_first_call():
    net = lenet()
    for p in net.parameters():
        p.requires_grad = False
    assert "conv1  Conv2d" in nn.draw(net, tg.zeros(1, 1, 28, 28)).listing()


def test_nn_draw_with_a_loss_names_the_gradients():
    drawing = nn.draw(lenet(), tg.zeros(1, 1, 28, 28), loss=lambda y: tg.cross_entropy(y, np.array([1])))
    for name, _ in lenet().named_parameters():
        *path, last = name.split(".")
        assert [box.label for box in drawing.graph.boxes if box.kind == "output" and box.scope == ("backward", *path)
                and box.label == f"gradient of {last}"]


def test_nn_draw_with_a_loss_shows_the_gradients_it_draws():
    net, x = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1)), tg.ones(1, 3)
    drawing = nn.draw(net, x, loss=lambda y: (y * y).sum(), show="grad")
    assert all(p.grad is None for p in net.parameters())
    (net(x) * net(x)).sum().backward()
    notes = {".".join((*box.scope, box.label)): box.notes for box in drawing.graph.boxes if box.kind == "parameter"}
    assert notes == {name: (f"gradient {np.sqrt((p.grad.data ** 2).mean()):.2g} rms",) for name, p in net.named_parameters()}


def test_a_module_beside_its_backward_gives_what_the_forward_gets():
    net = nn.Sequential(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 5)), nn.Tanh())
    drawing = nn.draw(net, tg.ones(1, 3), loss=lambda y: y.sum(), depth=0)
    assert {box.id: box.shape for box in drawing.graph.boxes}["module:0"] == (1, 5)


@needs_pure
def test_a_backward_starts_on_the_ground_though_nothing_leads_to_it():
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1))
    loss = net(tg.ones(1, 3)).sum()
    loss.backward(create_graph=True)  # the gradient of a sum is ones, and not recorded
    drawing = tg.draw(loss, *[p.grad for p in net.parameters()])
    nodes = [g for g in ET.fromstring(render(drawing.dot, "svg")).iter() if g.get("class") == "node"]
    height = {g[0].text: min(float(t.get("y")) for t in g if t.tag.endswith("text")) for g in nodes}
    placed = {name: [height[box.id] for box in drawing.graph.boxes if box.scope[1:] == (name,) and box.kind == "op"]
              for name in "012"}
    assert min(placed["2"]) > max(placed["1"]) and min(placed["1"]) > max(placed["0"])


@pytest.mark.parametrize("depth, error, text", [
    (-1, ValueError, "at least 0"), ("all", TypeError, "a whole number"), (1.5, TypeError, "a whole number")])
def test_a_depth_that_is_no_count_is_refused(depth, error, text):
    with pytest.raises(error, match=f"draw: depth must be {text}, got {depth!r}"):
        tg.draw(square(), depth=depth)


def test_main_job_draws_without_a_warning_where_it_can(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if PURE.exists():
            tg.draw(lenet_loss()).save(tmp_path / "graph.svg")


def luminance(color):
    """Relative luminance of "#rrggbb"; source: WCAG 2.2."""
    parts = [int(color[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_black_text_is_readable_on_every_colour():
    assert INK == "black"
    for fill in (*[style["fillcolor"] for style in KINDS.values()], *SCALE):
        assert (luminance(fill) + 0.05) / 0.05 > 4.5  # WCAG 2.2, level AA


class Twice(nn.Module):
    """One activation and one layer, called twice each, the layer under two names."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()
        self.first = self.layer = nn.Linear(3, 3)

    def forward(self, x):
        return self.act(self.layer(self.act(self.layer(x))) + x)


def test_a_module_called_twice_is_drawn_twice_and_not_as_a_loop():
    g = nn.draw(Twice(), tg.ones(2, 3), depth=0).graph
    assert [box.label for box in g.boxes] == [
        "x", "layer  Linear", "act  ReLU", "layer#2  Linear", "add", "act#2  ReLU", "output"]
    number = {box.id: i for i, box in enumerate(g.boxes)}
    assert all(number[edge.source] < number[edge.target] for edge in g.edges)
    assert len(g.edges) == 7 and g.boxes[1].notes == ("12 parameters",) and g.boxes[1].shape == (2, 3)


def test_the_backward_of_a_second_call_has_its_number():
    g = nn.draw(Twice(), tg.ones(2, 3), depth=0, loss=lambda y: y.sum()).graph
    backward = [box.label for box in g.boxes if box.scope == ("backward",) and box.kind == "module"]
    assert backward == ["backward of act#2  ReLU", "backward of layer#2  Linear",
                        "backward of act  ReLU", "backward of layer  Linear"]


def test_modules_of_a_list_with_calls_between_them_stay_in_one_frame():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])

        def forward(self, x):
            for layer in self.layers:
                x = tg.relu(layer(x))
            return x
    assert [box.label for box in nn.draw(Net(), tg.ones(2, 3), depth=0).graph.boxes] == [
        "x", "layers  ModuleList", "relu", "relu", "output"]


def test_models_may_return_dictionaries_and_lists():
    class Net(nn.Module):
        def __init__(self, result):
            super().__init__()
            self.a, self.b, self.result = nn.Linear(3, 2), nn.Linear(3, 1), result

        def forward(self, x):
            return self.result(self.a(x), self.b(x))
    for result, one, two in ((lambda a, b: {"a": a, "b": [b, 3, None]}, "a", "b 0"),
                             (lambda a, b: [a, (b,)], "output 0", "output 1 0")):
        labels = [box.label for box in nn.draw(Net(result), tg.ones(2, 3), depth=0).graph.boxes]
        assert labels == ["x", "a  Linear", one, "b  Linear", two]
    with pytest.raises(TypeError, match="draw: Net returned int and no tensor"):
        nn.draw(Net(lambda a, b: 3), tg.ones(2, 3))


def test_drawing_a_gradient_fills_no_grad_of_tensors_outside_the_model():
    scale = tg.ones(1, requires_grad=True)
    nn.draw(nn.Linear(3, 2), tg.ones(2, 3), loss=lambda y: (y * scale).sum())
    assert scale.grad is None


def test_hundreds_of_nested_modules_are_drawn_in_time():
    y = tg.ones(2, requires_grad=True)
    with contextlib.ExitStack() as nest:
        for i in range(300):
            nest.enter_context(tg.scope(f"level{i}"))
            y = tg.tanh(y * 0.5)
    start = time.process_time()
    tg.draw(y)
    assert time.process_time() - start < 5
