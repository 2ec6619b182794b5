"""What this installation computes with: versions, kernels, BLAS, threads, memory, CPU, optional parts.

Speed can differ several-fold between machines for reasons that no error message gives; this object
does. It only reads, and prints nothing.
"""
import html
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .kernels.compiled import description
from .kernels.memory import KEEP, VARIABLE, memory_is_kept
from .kernels.parallel import get_num_threads
from .kernels.table import families, kernels_in_use

EXTRAS = {"matplotlib": "viz", "graphviz-pure": "viz", "llvmlite": "fast"}
SHOWN_FLAGS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "amx_tile", "asimd", "sve")
SKYLAKEX_NEEDS = {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"}


@dataclass(frozen=True)
class Blas:
    """A library of matrix products in this process; `kernel` is the CPU type it was written for."""

    name: str
    version: str | None
    kernel: str | None
    threads: int | None

    def __str__(self) -> str:
        parts = [f"{self.name} {self.version or ''}".strip(), self.kernel and f"kernel {self.kernel}",
                 self.threads and _count(self.threads, "thread")]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, repr=False)
class Config:
    """What `show_config` found; print it, or leave it as a notebook cell's last line."""

    versions: dict[str, str]
    kernels: str
    blas: tuple[Blas, ...]
    threads: int
    memory: str
    cpu: str
    flags: frozenset[str]
    optional: dict[str, str | None]
    advice: tuple[str, ...]

    def rows(self) -> list[tuple[str, str]]:
        """(name, text) of each line."""
        flags = " ".join(f for f in SHOWN_FLAGS if f in self.flags)
        missing = sorted({EXTRAS[name] for name, version in self.optional.items()
                          if version is None and name in EXTRAS})
        optional = ", ".join(f"{name} {version or 'missing'}" for name, version in self.optional.items())
        how = f"; pip install 'tinygrad_conv[{','.join(missing)}]'" if missing else ""
        return [("versions", ", ".join(f"{name} {v}" for name, v in self.versions.items())),
                ("kernels", self.kernels),
                ("matrix products", "; ".join(map(str, self.blas)) or "not known"),
                ("threads", f"{self.threads} (tg.set_num_threads)"),
                ("memory", self.memory),
                ("CPU", self.cpu + (f" ({flags})" if flags else "")),
                ("optional", optional + how),
                *[("advice", text) for text in self.advice]]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(["<table>", *(f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
                                     f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
                                     for name, text in self.rows()), "</table>"])


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _kernels() -> str:
    """Which families are asked, and why."""
    made = description()
    try:
        chosen = kernels_in_use()
    except (ImportError, ValueError) as e:  # what the environment's variable says
        return str(e)
    asked = families() if chosen == "auto" else dict.fromkeys([chosen, "numpy"])
    text = ", else ".join(f"{name} ({made})" if name == "compiled" else name for name in asked)
    return ("auto: " * (chosen == "auto") + text
            + "; machine code needs pip install 'tinygrad_conv[fast]'" * (made is None))


def _memory() -> str:
    if memory_is_kept():
        return f"malloc keeps up to {KEEP >> 20} MB that this process freed ({VARIABLE}=off: it does not)"
    return "malloc is left as it is"


def _libraries() -> tuple[Blas, ...]:
    """Those in this process, or else the one NumPy was built with, whose kernel is not known that way."""
    import threadpoolctl
    loaded = [Blas(lib["internal_api"], lib.get("version"), lib.get("architecture"), lib.get("num_threads"))
              for lib in threadpoolctl.threadpool_info() if lib.get("user_api") == "blas"]
    built: dict[str, Any] = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return tuple(loaded) or (
        Blas(str(built.get("name", "BLAS of unknown name")), built.get("version"), None, None),)


def _processor(path: str = "/proc/cpuinfo") -> tuple[str, frozenset[str]]:
    """Name and instruction sets of the first CPU; where there is no such file, the name alone."""
    text = Path(path).read_text("utf-8", "replace") if os.access(path, os.R_OK) else ""
    lines = [line.partition(":") for line in text.splitlines()]
    found = {key.strip(): value.strip() for key, _, value in reversed(lines)}  # of equal keys the first stays
    return (found.get("model name") or platform.processor() or platform.machine(),
            frozenset(found.get("flags", found.get("Features", "")).split()))


def _advice(blas: tuple[Blas, ...], flags: frozenset[str]) -> tuple[str, ...]:
    haswell = any(b.name == "openblas" and b.kernel == "Haswell" for b in blas)
    return ("this CPU has AVX-512 but OpenBLAS uses its AVX2 kernel; float32 matrix products may be 1.5 "
            "times as fast with OPENBLAS_CORETYPE=SkylakeX set before Python starts",
            ) if haswell and flags >= SKYLAKEX_NEEDS else ()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def show_config() -> Config:
    """What this installation computes with, and advice if it could be faster.

    Returns:
        an object to print: versions, families of kernels, the BLAS library with its kernel and threads,
        threads of the heavy kernels, how freed memory is treated, CPU, optional parts, advice.

    Example:
        >>> print(show_config())  # doctest: +ELLIPSIS
        versions         tinygrad_conv ..., Python ..., NumPy ...
        kernels          ...
        matrix products  ...
    """
    versions = {"tinygrad_conv": sys.modules[__package__].__version__,
                "Python": platform.python_version(), "NumPy": np.__version__}
    optional = {name: _installed(name) for name in EXTRAS}
    optional["dot"] = "found" if shutil.which("dot") else None
    blas, (cpu, flags) = _libraries(), _processor()
    return Config(versions, _kernels(), blas, get_num_threads(), _memory(),
                  f"{cpu}, {_count(os.cpu_count() or 1, 'CPU')}", flags, optional, _advice(blas, flags))
