"""Texts that every format of a drawing has: of tensors, of names with odd characters.

May import labels.
"""
from __future__ import annotations

from .labels import shape_text

LONGEST = 150  # characters of a line; of a longer one the middle is left out


def tensor_text(shape: tuple[int, ...], dtype: str) -> str:
    """Shape, and the dtype where it is not the default.

    Example:
        >>> tensor_text((2, 3), "float32"), tensor_text((2, 3), "int64")
        ('2x3', '2x3 int64')
    """
    return shape_text(shape) + (f" {dtype}" if dtype != "float32" else "")


def printable(line: str) -> str:
    """Text that stays in its line: control characters as Python writes them, and no end to end of it.

    Example:
        >>> printable("two" + chr(10) + "lines")
        'two\\\\nlines'
    """
    text = line if line.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    half = LONGEST // 2 - 2
    return text if len(text) <= LONGEST else f"{text[:half]}...{text[-half:]}"
