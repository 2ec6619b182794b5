"""The plain drawing: deterministic DOT text, before and after backward, two edges for x*x."""
from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def network_loss():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3, rng=rng))
    return tg.cross_entropy(net(tg.tensor(np.ones((2, 1, 8, 8), np.float32))), np.array([0, 1]))


def test_dot_is_the_same_each_time_and_after_backward():
    loss = network_loss()
    before = tg.to_dot(loss)
    assert before == tg.to_dot(network_loss())
    loss.backward()
    assert tg.to_dot(loss) == before
    assert "conv2d" in before and "stride=(1, 1)" in before and "2x1x8x8" in before


def test_dot_of_a_square_has_two_edges():
    x = tg.tensor([1.0], requires_grad=True)
    assert tg.to_dot(x * x).count("leaf0 -> op0") == 2


def test_dot_escapes_names():
    x = tg.tensor([1.0], requires_grad=True)
    x.name = 'a "quoted" <name>'
    assert '\\"quoted\\"' in tg.to_dot(x * 2.0)


def test_dot_of_a_deep_chain_is_iterative():
    x = tg.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(3000):
        y = y + 1.0
    assert tg.to_dot(y).count("->") == 6000


def test_save_graph_writes_dot_and_svg_if_it_can(tmp_path, monkeypatch):
    files = tg.save_graph(network_loss(), tmp_path / "graph")
    renderer = shutil.which("dot") or (Path(sys.executable).parent / "graphviz-pure").exists()
    assert [p.suffix for p in files] == ([".dot", ".svg"] if renderer else [".dot"])
    monkeypatch.setattr(shutil, "which", lambda *a, **k: None)
    assert [p.suffix for p in tg.save_graph(network_loss(), tmp_path / "alone")] == [".dot"]
    if renderer:
        assert "<svg" in (tmp_path / "graph.svg").read_text()
    with pytest.raises(OSError):
        tg.save_graph(network_loss(), tmp_path / "nowhere" / "graph")
