"""Memory kept for the next step: glibc is told not to give freed arrays back to the system.

A training step frees what the next one needs again. Returned to the system, every page of it costs a
page fault to get back, as much time as the arithmetic of an elementwise op. Other C libraries
are left as they are.
"""
import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
KEEP = 1 << 30  # bytes; older versions take no more than LEAST
LEAST = 1 << 25


def keep_memory() -> None:
    """Let the process keep what it frees, up to `KEEP`, where the C library can be told."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEEP)
        for size in (LEAST, KEEP):  # what is refused changes nothing
            mallopt(M_MMAP_THRESHOLD, size)
