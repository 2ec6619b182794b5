"""What every test file relies on: two threads, one of BLAS; repeatable random numbers; no proxy to itself."""
from __future__ import annotations

import os
import zlib

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch load their libraries
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"  # servers of the tests

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import tinygrad_conv as tg

tg.set_num_threads(2)  # each takes workspace: what is measured of memory is to be the same on every machine

# A slow machine fails no test: neither by a deadline nor by the health check of slow examples.
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None, suppress_health_check=[
    HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture,
    HealthCheck.data_too_large])
settings.load_profile("repeatable")


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator of the test's own, the same in every run and whatever runs before it."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
