"""The wheel: both packages, installed outside the checkout, import and train."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
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


def test_the_source_distribution_holds_the_project_and_is_made_alike_twice(tmp_path):
    """What its tests, programs and site need; the same bytes from the same files."""
    pytest.importorskip("hatchling")
    for folder in ("one", "two"):
        run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", tmp_path / folder, cwd=ROOT)
    one, two = [next((tmp_path / folder).glob("*.tar.gz")) for folder in ("one", "two")]
    assert one.read_bytes() == two.read_bytes()
    with tarfile.open(one) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"tinygrad_conv/py.typed", "nn/data/digits.npz", "tests/conftest.py", "tests/golden/residual.dot", "demos/train.py",
            "demos/notebooks/first_cnn.ipynb", "demos/gallery/index.html", "docs/recipes.md", "docs/pages.py", "mkdocs.yml", "Makefile",
            "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "site/", "runs/"))]


def fresh_environment(folder: Path, *what: Path) -> Path:
    """Its Python, with these installed; what they require is lent by this environment: no network is needed."""
    run(sys.executable, "-m", "venv", "--without-pip", folder / "fresh", cwd=folder)
    python = folder / "fresh" / ("Scripts" if os.name == "nt" else "bin") / "python"
    for path in what:
        run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index",
            *[] if path.suffix == ".whl" else ["--no-build-isolation"], path, cwd=folder)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    (site / "lent.pth").write_text(str(Path(np.__file__).parent.parent))
    return python


def test_wheel_trains_outside_the_checkout(wheel, tmp_path):
    assert "trained" in run(fresh_environment(tmp_path, wheel), "-c", TEN_STEPS, cwd=tmp_path)


OWN = "demos/own_package"
CALLED = """
import numpy as np, tg_softplus, tinygrad_conv as tg
x = tg.tensor([0.5, 1.0], requires_grad=True)
with tg.profile() as p:
    y = tg_softplus.softplus(x).sum()
    y.backward(create_graph=True)
x.grad.sum().backward()
print(tg.tape(y), tg.draw(y, show="flops"), p.table(), tg.certify(tg_softplus.softplus).summary)
"""


def test_a_package_made_from_the_template_is_installed_and_certified(wheel, tmp_path):
    """As a person would who copies the folder: installed beside the wheel, then `pytest --certify`."""
    shutil.copytree(ROOT / OWN, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    wheel_of_mine = tmp_path / "dist"
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheel_of_mine,
        tmp_path / "mine", cwd=tmp_path)
    python = fresh_environment(tmp_path, wheel, next(wheel_of_mine.glob("*.whl")))
    said = run(python, "-c", CALLED, cwd=tmp_path)
    assert "softplus(leaf0)" in said and "2 multiply-adds" in said and "certified: " in said
    said = run(python, "-m", "pytest", "--certify", "-v", "-p", "no:cacheprovider", "-k", "softplus", cwd=tmp_path / "mine")
    assert "tg_softplus.softplus PASSED" in said and "test_value_and_method PASSED" in said
    source = tmp_path / "mine" / "tg_softplus.py"
    source.write_text(source.read_text().replace("g * tg.sigmoid(x)", "g * tg.sigmoid(x) * 2.0"))
    done = subprocess.run([python, "-m", "pytest", "--certify", "-p", "no:cacheprovider", "-k", "softplus"], cwd=tmp_path / "mine",
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "mine")}, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and "most likely: factor 2" in done.stdout, done.stdout + done.stderr


def test_the_op_of_the_template_has_six_lines():
    text = (ROOT / OWN / "tg_softplus.py").read_text()
    lines = text[text.index("@tg.primitive"):].splitlines()
    assert len([line for line in lines if line]) <= 6


def test_pytest_finds_the_certificates_of_the_wheel(wheel, tmp_path):
    said = run(fresh_environment(tmp_path, wheel), "-m", "pytest", "-q", "--certify", "-k", "conv2d or matmul",
               "-p", "no:cacheprovider", cwd=tmp_path)
    assert "3 passed" in said  # conv2d, conv2d_weight, matmul
