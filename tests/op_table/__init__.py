"""The op table: every row of every family module in this folder.

A family is one module with a list `ROWS`; adding the module adds its rows.
"""
from __future__ import annotations

import importlib
import pkgutil

from .row import Row


def all_rows() -> list[Row]:
    """The rows of every family, families in alphabetical order."""
    families = sorted(m.name for m in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{family}") for family in families]
    return [row for module in modules for row in getattr(module, "ROWS", [])]
