"""The demos run, fast and without a network; the README's code runs."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run([sys.executable, *command], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("demo, says", [("add_an_op", "is found out"), ("second_order", "gradient penalty"),
                                        ("conv_backward", "exact to rounding")])
def test_demo_runs(demo, says):
    assert says in run("-m", f"demos.{demo}")


def test_drawings_leave_pictures_and_a_page(tmp_path):
    said = run("-m", "demos.drawings", str(tmp_path))
    assert "this input needs in_features=32" in said and "came from head.1" in said
    made = {p.stem: p.suffix for p in tmp_path.iterdir() if p.suffix != ".dot" or p.stem not in said}
    assert set(made) == {"gradient", "blocks", "modules", "net", "failure"} and made["net"] == ".html"


def test_backward_picture(tmp_path):
    pytest.importorskip("matplotlib")
    run("-m", "demos.backward_picture", str(tmp_path / "p.svg"))
    assert "<svg" in (tmp_path / "p.svg").read_text()


def test_main_job_in_fast_mode_leaves_everything(tmp_path):
    pytest.importorskip("matplotlib")
    out = run("-m", "demos.train", "--epochs", "1", "--out", str(tmp_path))
    assert "test accuracy" in out and "multiply-adds" in out
    made = {p.name for p in tmp_path.iterdir()}
    assert {"weights.safetensors", "curves.png", "graph.dot", "misclassified.png", "best.safetensors",
            "last.safetensors"} <= made
    assert (tmp_path / "curves.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_readme_code_runs(number, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 3
    out = run("-c", blocks[number], cwd=tmp_path)
    if number == 0:
        assert float(re.search(r"accuracy ([\d.]+)%", out).group(1)) > 90
        assert len(blocks[0].strip().splitlines()) <= 17
    if number == 1:
        assert "<html" in (tmp_path / "net.html").read_text() and "(float32), difference" in out


@pytest.mark.parametrize("path", sorted((ROOT / "demos").glob("*.py")), ids=lambda p: p.name)
def test_demos_are_short(path):
    assert len(path.read_text().splitlines()) <= 110
