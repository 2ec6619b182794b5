"""The families of kernels that tests run on: those of this package that are installed."""
from __future__ import annotations

from tinygrad_conv.kernels.table import families

FAMILIES = sorted(set(families()) & {"numpy", "compiled"})
