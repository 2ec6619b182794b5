"""Memory kept for the next step: glibc is told not to give freed arrays back to the system.

A training step frees what the next one needs again. Returned to the system, every page of it costs a
page fault to get back, as much time as the arithmetic of an elementwise op: a step of a CNN with two
convolutions took 1.6 times as long with NumPy's kernels, and three times with machine code; with one of the
two settings alone, two to three times. It is the whole process's malloc that is told: with the variable
TINYGRAD_CONV_MALLOC=off it is left as it is, and so are other C libraries.
"""
import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEEP = 1 << 30  # bytes; older versions take no more than LEAST
LEAST = 1 << 25
VARIABLE = "TINYGRAD_CONV_MALLOC"


def memory_is_kept() -> bool:
    """Whether `keep_memory` tells the C library anything."""
    return (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")
            and os.environ.get(VARIABLE) != "off")


def keep_memory() -> None:
    """Let the process keep what it frees, up to `KEEP`, where the C library can be told."""
    if memory_is_kept():
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_TRIM_THRESHOLD, KEEP)
        for size in (LEAST, KEEP):  # what is refused changes nothing
            mallopt(M_MMAP_THRESHOLD, size)
