"""The layout of static pictures: twelve nets at three depths by both engines, measured in their SVG."""
from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import nn
import tinygrad_conv as tg
from tests.layout import faults
from tests.nets import NETS
from tinygrad_conv.draw.drawing import render

ENGINES = {name: shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/bin:/usr/local/bin")
           for name in ("dot", "graphviz-pure")}
FONTS = ("Helvetica", "DejaVu Sans")
NEVER = {"text over text", "text leaves its box", "title leaves its frame", "title over a box", "title over a frame",
         "cut at the margin"}
# Where both run across frames, Graphviz leads some edges through boxes and titles: by net at most so many.
MOST = {"resnet": 20, "unet": 12, "densenet": 20, "inception": 8, "rnn": 4, "rnn_everywhere": 6, "gan": 4,
        "three_outputs": 3, "attention": 5, "siamese": 2, "lenet": 3}


@pytest.fixture(params=[name for name, path in ENGINES.items() if path])
def engine(request, tmp_path, monkeypatch):
    """Only one of the engines is there."""
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / request.param).symlink_to(ENGINES[request.param])
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    return request.param


def found(svg):
    """The faults in either font, the longer list of each kind."""
    both = [faults(svg, font) for font in FONTS]
    return {kind: max((each.get(kind, []) for each in both), key=len) for kind in {*both[0], *both[1]}}


@pytest.mark.parametrize("depth", [None, 0, 1])
@pytest.mark.parametrize("net", NETS)
def test_texts_and_edges_keep_out_of_each_other(net, depth, engine):
    if net == "chain" and depth is not None:
        pytest.skip("it has no modules")
    bad = found(render(NETS[net](depth=depth).dot, "svg", patience=60.0))
    assert not NEVER & {*bad}, bad
    if (net, depth, engine) != ("attention", None, "graphviz-pure"):  # which leaves room at the left for nothing
        assert "uneven margins" not in bad, bad
    assert sum(map(len, bad.values())) <= MOST.get(net, 0), bad


def test_the_message_of_a_failure_stands_whole_in_its_box(engine):
    with pytest.raises(ValueError, match="in_features") as caught:
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(9, 2))(tg.ones(1, 3, 8, 8))
    assert not found(render(tg.draw(caught.value).dot, "svg"))


def test_a_plainer_picture_says_so_in_itself(tmp_path, monkeypatch):
    real = ENGINES["graphviz-pure"] or ENGINES["dot"]
    (tmp_path / "dot").write_text(f"""#!/bin/sh
text=$(/bin/cat)
case "$1 $text" in -Tdot*newrank*) echo trouble in init_rank >&2; exit 1;; esac
echo "$text" | exec {real} "$@"
""")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.warns(UserWarning, match="not level$"):
        svg = render(NETS["lenet"](depth=0).dot, "svg").decode()
    assert "drawn plainer, calls of different frames not level: dot: trouble in init_rank" in svg
