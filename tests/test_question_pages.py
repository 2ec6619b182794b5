"""The answers to the five questions: they run, their proofs can fail, the gallery is what they make."""
from __future__ import annotations

import dataclasses
import doctest
import os
import re
import resource
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tinygrad_conv as tg
from demos.questions import answer as page
from demos.questions import __main__ as gallery
from demos.questions import equations, loops, planes, proof, recipe
from demos.questions.pictures import general_equations
from demos.questions.planes import Picture, shade
from tinygrad_conv.draw.style import PAINTS

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "demos" / "questions").glob("q*.py"))
NAMES = [path.stem for path in SCRIPTS]


@pytest.fixture(scope="module")
def answers():
    return [question.answer() for question in gallery.QUESTIONS]


@pytest.fixture(scope="module")
def made(answers):
    return gallery.pages(answers)


# ----- the command -----

def test_there_are_five_scripts_each_under_eighty_lines():
    assert [name[:2] for name in NAMES] == ["q1", "q2", "q3", "q4", "q5"]
    for path in SCRIPTS:
        assert len(path.read_text(encoding="utf-8").splitlines()) < 80, path.name


@pytest.mark.parametrize("name", NAMES)
def test_a_question_is_answered_in_the_terminal_within_ten_seconds(name, tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", f"demos.questions.{name}", "--picture",
                           str(tmp_path / "p.svg")], cwd=ROOT, capture_output=True, encoding="utf-8", timeout=600,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 0, done.stdout + done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)      # CPU time: other work must not count
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    for word in ("Σ", "Proof", "seven loops", "finite differences", "✓ equal"):
        assert word in done.stdout
    assert not re.search("DIFFERS|</|&[a-z]+;", done.stdout)
    ET.parse(tmp_path / "p.svg")


def test_make_questions_writes_the_folder_it_names(answers, tmp_path, monkeypatch, capsys):
    for question, answered in zip(gallery.QUESTIONS, answers):
        monkeypatch.setattr(question, "answer", lambda answered=answered: answered)
    monkeypatch.setattr(sys, "argv", ["questions", "--out", str(tmp_path / "new" / "place")])
    gallery.main()
    assert "index.html" in capsys.readouterr().out
    names = {p.name for p in (tmp_path / "new" / "place").iterdir()}
    assert names == {"index.html"} | {f"{n}.{end}" for n in NAMES for end in ("html", "svg")}
    rule = re.search(r"^questions:.*\n\t(.*)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M).group(1)
    assert rule == "$(BIN)/python -m demos.questions --out runs/questions"


# ----- the committed gallery -----

def test_the_committed_gallery_is_what_the_run_makes(made):
    folder = ROOT / "demos" / "gallery"
    assert {p.name for p in folder.iterdir()} == set(made)
    for name, text in made.items():
        same = (folder / name).read_text(encoding="utf-8") == text
        assert same, f"{name}: run python -m demos.questions --gallery and look at the difference"


class Check(HTMLParser):
    """Tags closed in order, ids unique, nothing fetched, links inside the gallery."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.ids, self.links, self.refers = [], [], [], set()

    def handle_starttag(self, tag, attributes):
        self.note(attributes)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        assert tag not in ("script", "img", "link", "iframe")

    def handle_startendtag(self, tag, attributes):
        self.note(attributes)

    def note(self, attributes):
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            if key == "href":
                self.links.append(value)
            self.refers |= set(re.findall(r"url\(#(.*?)\)", value or ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_pages_are_self_contained_well_formed_and_linked(made):
    for name in (n for n in made if n.endswith(".html")):
        check = Check()
        check.feed(made[name])
        assert check.open == [] and len(set(check.ids)) == len(check.ids)
        assert check.refers <= set(check.ids)
        assert set(check.links) <= set(made)
        assert "http" not in made[name].replace("http://www.w3.org/2000/svg", "")
    assert all(f"{n}.html" in made["index.html"] for n in NAMES)


def test_readme_links_the_gallery():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Five questions")[1].split("\n## ")[0]
    linked = re.findall(r"\]\((demos/gallery/[^)]*)\)", section)
    assert {f"demos/gallery/{n}.svg" for n in NAMES} <= set(linked)
    assert all((ROOT / path).exists() for path in linked) and "make questions" in section


# ----- the answers -----

def test_every_answer_has_its_parts(answers):
    for number, answered in enumerate(answers, 1):
        assert answered.number == number and answered.holds
        assert answered.formulas and answered.shapes.rows and answered.picture.startswith("<svg")
        against = " ".join(p.how for p in answered.proofs)
        assert "seven loops" in against and "finite differences" in against
    assert len(answers[4].steps) >= 6


def test_question_3_shows_the_recipes_error_and_when_it_is_right(answers):
    by_channels, identity = answers[2].more
    errors = {row[0]: row[1] for row in by_channels.rows}
    assert float(errors["C = 3, independent"]) == pytest.approx((2 / 3) ** 0.5, abs=0.1)
    assert errors["C = 1"] == errors["C = 3, all equal (a grey picture)"] == "< 10⁻¹²"
    right, wrong = identity.rows
    assert right[1] == right[2] and right[3] == "< 10⁻¹²"
    assert wrong[1] != wrong[2] and float(wrong[3]) > 0.01


def test_question_4_counts_the_matrix(answers):
    says = {row[0]: row[1] for row in answers[3].shapes.rows}
    assert says["M"] == "144 × 75" and says["different weights"] == 16 * 27
    assert says["copies of each"] == "9" and says["in a corner's column"] == 16


def test_question_5_varies_everything():
    columns = list(zip(*gallery.QUESTIONS[4].CASES))
    assert all(len(set(column)) >= 3 for column in columns)


# ----- the proofs can fail -----

@pytest.mark.parametrize("wrong", [1 + 1e-9, -1.0, np.nan])
def test_a_wrong_gradient_is_noticed(rng, wrong):
    right = rng.standard_normal((4, 3, 3, 3))
    planted = right.copy()
    planted[2, 1, 0, 2] *= wrong
    assert proof.compare("dW", "loops", right + 1e-15, right).holds
    assert not proof.compare("dW", "loops", planted, right).holds
    with pytest.raises(ValueError, match="shape"):
        proof.compare("dW", "loops", right[:1], right)


@pytest.mark.parametrize("number", range(5))
def test_an_error_planted_in_convs_derivative_fails_the_answer(number, monkeypatch):
    """The gradient of the question's own argument, off by a millionth."""
    from tinygrad_conv.ops import conv
    for row in (conv._conv_transpose2d, conv._conv2d_weight):
        monkeypatch.setattr(row, "fn", lambda *a, fn=row.fn, **k: fn(*a, **k) * (1 + 1e-6))
    planted = gallery.QUESTIONS[number].answer()
    assert not planted.holds and "DIFFERS" in page.as_text(planted)
    failed = {p.how for p in planted.proofs if not p.holds}
    assert any("seven loops" in how for how in failed) and "finite differences" in failed


def test_a_failed_proof_is_an_exit_code(answers, monkeypatch, capsys):
    first = answers[0].proofs[0]
    broken = dataclasses.replace(answers[0], proofs=[dataclasses.replace(first, error=0.1)])
    monkeypatch.setattr(sys, "argv", ["q1"])
    with pytest.raises(SystemExit, match="a proof failed"):
        page.run(lambda: broken)
    assert "✗ DIFFERS" in capsys.readouterr().out


# ----- the references are independent of each other -----

@pytest.mark.parametrize("stride, padding, dilation, groups", [(1, 0, 1, 1), (2, 1, 2, 2), (3, 2, 1, 1)])
def test_loops_and_equations_agree_with_each_other(rng, stride, padding, dilation, groups):
    x, w = rng.standard_normal((2, 4, 7, 6)), rng.standard_normal((4, 4 // groups, 3, 2))
    oh = (7 + 2 * padding - 2 * dilation - 1) // stride + 1
    ow = (6 + 2 * padding - dilation - 1) // stride + 1
    g = rng.standard_normal((2, 4, oh, ow))
    _, dx, dw = loops.seven_loops(x, w, g, stride, padding, dilation, groups)
    dx2, dw2, db = equations.literal(x, w, g, stride, padding, dilation, groups)
    np.testing.assert_allclose(dx, dx2, atol=1e-12)
    np.testing.assert_allclose(dw, dw2, atol=1e-12)
    np.testing.assert_allclose(db, g.sum(axis=(0, 2, 3)))


def test_loops_by_rows_are_the_seven_loops(rng):
    x, g = rng.standard_normal((1, 3, 9, 8)), rng.standard_normal((1, 2, 7, 6))
    _, _, dw = loops.seven_loops(x, np.zeros((2, 3, 3, 3)), g)
    np.testing.assert_allclose(loops.kernel_gradient_by_rows(x[0], g[0], 3), dw, atol=1e-12)


def test_patches_are_windows(rng):
    x = rng.standard_normal((2, 10, 10, 3))
    row = recipe.patches(x).reshape(2, 8, 8, 3, 3, 3)[1, 4, 6]
    np.testing.assert_array_equal(row, x[1, 4:7, 6:9])


def test_references_do_not_use_the_library():
    for module in (loops, equations, proof, recipe):
        assert not any(value is tg for value in vars(module).values()), module.__name__


@pytest.mark.parametrize("module", [loops, proof, planes, page])
def test_examples_in_the_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed


# ----- pictures -----

def test_pictures_are_well_formed_and_stay_inside(answers):
    for answered in answers:
        root = ET.fromstring(answered.picture)
        width, height = map(float, root.get("viewBox").split()[2:])
        for element in root.iter():
            tag = element.tag.split("}")[1]
            if tag in ("rect", "text") and element.get("x"):
                assert -1 <= float(element.get("x")) <= width and -1 <= float(element.get("y")) <= height
            if tag == "text":                                 # DejaVu, the widest usual font
                em = 0.66 if element.get("font-weight") else 0.6
                wide = len(element.text) * float(element.get("font-size")) * em
                left = {"middle": 0.5, "end": 1}.get(element.get("text-anchor"), 0) * wide
                x = float(element.get("x"))
                assert x - left >= -4 and x - left + wide <= width + 4, element.text


def test_the_wiring_of_question_5_is_the_index_equation():
    from demos.questions.pictures.general_equations import D, OUT, P, PIXEL, S, SIZE, TAPS
    assert OUT == (SIZE + 2 * P - D * (TAPS - 1) - 1) // S + 1
    reached = {(PIXEL + P - a * D) / S for a in range(TAPS)}
    assert {i for i in reached if i % 1 == 0} == {0, 3} and 1.5 in reached
    assert "1.5: no output" in general_equations.draw()


def test_one_palette_is_used_by_all():
    """Input blue, gradient green, filters orange: in the gallery, the README's picture, explain and the page."""
    from tinygrad_conv.explain import picture
    page = (Path(tg.__file__).parent / "draw" / "page" / "page.css").read_text(encoding="utf-8")
    readme = (ROOT / "demos" / "images" / "conv_backward.svg").read_text(encoding="utf-8")
    for kind, paint in PAINTS.items():
        assert planes.PAINTS[kind] == paint and tuple(picture.COLOURS[kind]) == paint[:2]
        assert all(colour in page and colour in readme for colour in paint[:2])


def test_question_3_names_its_batch(answers):
    assert "N = 4 images" in answers[2].picture and "all 4·8·8 rows" in answers[2].picture


def test_the_wires_of_question_5_have_the_colour_of_filters():
    assert set(re.findall('stroke="(#[0-9a-f]{6})" stroke-width="2.4"', general_equations.draw())) == {
        PAINTS["w"].line}


def test_shades_differ_in_lightness_not_only_in_hue():
    for kind in "xgw":
        grey = [int(shade(kind, level)[1:][k:k + 2], 16) for level in range(8) for k in (0, 2, 4)]
        light = np.array(grey).reshape(8, 3) @ [0.299, 0.587, 0.114]
        assert np.all(np.diff(light) < -8)


def test_text_in_pictures_is_escaped():
    picture = Picture("t", 10, 10, "a <b> & \"c\"")
    picture.text(0, 0, "<script> & co")
    assert ET.fromstring(picture.svg())[-1].text == "<script> & co"
