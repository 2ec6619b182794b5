"""The wheel: both packages, installed outside the checkout, import and train."""
from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
TEN_STEPS = """
import sys
from importlib.metadata import requires
import numpy as np
import nn
import tinygrad_conv as tg
assert tg.__file__.startswith(sys.prefix) and nn.__file__.startswith(sys.prefix), (tg.__file__, nn.__file__)
assert {r.split(">")[0] for r in requires("tinygrad_conv") if "extra" not in r} == {
    "numpy", "graphviz", "safetensors", "threadpoolctl", "tqdm"}
net = nn.Sequential(nn.Conv2d(1, 4, 3, rng=np.random.default_rng(0)), nn.ReLU(), nn.Flatten(),
                    nn.Linear(144, 10, rng=np.random.default_rng(1)))
x, y = nn.data.digits("train")[np.arange(64)]
optimizer = nn.Adam(net.parameters(), 0.01)
losses = []
for _ in range(10):
    optimizer.zero_grad()
    loss = tg.cross_entropy(net(tg.tensor(x)), y)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
assert losses[-1] < losses[0], losses
print("trained", tg.__version__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT,
        cwd=folder)
    return next(folder.glob("*.whl"))


def test_wheel_holds_both_packages_and_their_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"tinygrad_conv/__init__.py", "tinygrad_conv/py.typed", "tinygrad_conv/tensor.py", "tinygrad_conv/ops/conv.py", "tinygrad_conv/draw/page/page.js",
            "tinygrad_conv/draw/page/page.css", "tinygrad_conv/draw/page/page.html", "nn/__init__.py",
            "nn/py.typed", "nn/data/digits.npz"} <= names
    assert not [n for n in names if n.startswith(("tests/", "demos/"))]


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """Of a fresh environment that has the wheel; what it requires is lent by this one, so no network is needed."""
    folder = tmp_path_factory.mktemp("outside")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "fresh", cwd=folder)
    python = folder / "fresh" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel,
        cwd=folder)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "lent.pth").write_text(str(Path(np.__file__).parent.parent))
    return python


def test_wheel_trains_outside_the_checkout(python, tmp_path):
    assert "trained" in run(python, "-c", TEN_STEPS, cwd=tmp_path)


def test_pytest_finds_the_certificates_of_the_wheel(python, tmp_path):
    said = run(python, "-m", "pytest", "-q", "--certify", "-k", "conv2d or matmul", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "3 passed" in said  # conv2d, conv2d_weight, matmul
