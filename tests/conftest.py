"""What every test file relies on: one BLAS thread, repeatable random numbers."""
from __future__ import annotations

import os
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch load their libraries

import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own, the same in every run and whatever runs before it."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
