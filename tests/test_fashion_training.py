"""The accuracies the README's commands promise. Slow: run by `make test-slow`."""
from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nn.data.download import DEBIAN_FASHION

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow


def accuracy(*options: str) -> float:
    done = subprocess.run([sys.executable, "-m", "demos.train", *options], cwd=ROOT, capture_output=True,
                          text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    return float(re.search(r"test accuracy ([\d.]+)%", done.stdout).group(1))


@pytest.mark.parametrize("seed", [0, 1])
def test_digits(seed, tmp_path):
    start = time.perf_counter()
    assert accuracy("--seed", str(seed), "--out", str(tmp_path)) >= 98.5
    print(f"{time.perf_counter() - start:.0f} s")


@pytest.mark.skipif(not DEBIAN_FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fashion_mnist_one_epoch(tmp_path):
    assert accuracy("--data", "fashion-mnist", "--epochs", "1", "--out", str(tmp_path)) >= 87
