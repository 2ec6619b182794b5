"""What every test file relies on: two threads, one of BLAS; repeatable random numbers; no proxy to itself.

Tests of kernels run on every family that is here.
"""
from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import nullcontext

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and PyTorch load their libraries
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "localhost,127.0.0.1"  # servers of the tests

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

import tinygrad_conv as tg
from tests.families import FAMILIES

CODE = tempfile.TemporaryDirectory(prefix="tinygrad_conv-code-")  # of this session and its processes
os.environ["TINYGRAD_CONV_CODE"] = CODE.name
if "compiled" in FAMILIES:
    from tinygrad_conv.kernels.compiled import arrays
    arrays.MOST = 1_000_000  # kernels of one generator: tests come with more shapes than any program
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


# ----- families of kernels -----

ON_EVERY_FAMILY = {"test_optim", "test_linalg", "test_norm", "test_norm_loss_torch", "test_conv", "test_conv_torch", "test_pool",
                   "test_pool_torch", "test_geometry"}


@pytest.fixture(autouse=True)
def kernels(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let the family compute that a test is run on: one of these files, or a row of the op table with a geometry."""
    with tg.use_kernels(request.param) if getattr(request, "param", None) else nullcontext():
        yield


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in ON_EVERY_FAMILY:
        metafunc.parametrize("kernels", FAMILIES, indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the grids of pools, whose kernels take long to make, machine code gets every third."""
    pools = [item for item in items if item.path.name.startswith("test_pool") and
             getattr(item, "callspec", None) and item.callspec.params.get("kernels") == "compiled"]
    left_out = set(pools) - set(pools[::3])
    items[:] = [item for item in items if item not in left_out]
