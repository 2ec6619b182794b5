"""What the three questions return: the terms of a number, to print, show and save.

Imports terms, text and picture, and the writing of files from render.
"""
from __future__ import annotations

import os
from html import escape
from pathlib import Path

from ..files import write_atomically
from .picture import draw
from .terms import Terms
from .text import as_text

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font-family: sans-serif; margin: 1.5em }} svg {{ max-width: 100%; height: auto }}
pre {{ overflow-x: auto }}</style></head>
<body>
{body}
</body></html>
"""


class Explanation(Terms):
    """Why one number of a convolution is what it is; prints as text, shows as a picture in a notebook.

    Attributes: `index` as asked; `terms`, one record per product; `partials`, their sum for each
    channel (for a weight: each sample); `bias`; `total`, the float64 sum of all; `value`, what
    the tensor or its gradient holds; `im2col`, row number and row of the patch matrix.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.conv2d(tg.ones(1, 2, 3, 3, requires_grad=True), tg.ones(1, 2, 2, 2))
        >>> why = tg.explain.output(y, (0, 0, 1, 1))
        >>> why.partials.tolist(), why.total, why.value
        ([4.0, 4.0], 8.0, 8.0)
    """

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_svg_(self) -> str:
        return draw(self)

    def _repr_html_(self) -> str:
        text = escape(as_text(self))
        return f"{draw(self)}<details><summary>as text</summary><pre>{text}</pre></details>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture (.svg), or a page with picture and text (.html); old file or new one.

        Raises:
            ValueError: for another ending.

        Example:
            >>> import tempfile, tinygrad_conv as tg
            >>> y = tg.conv2d(tg.ones(1, 1, 3, 3, requires_grad=True), tg.ones(1, 1, 2, 2))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     tg.explain.output(y, (0, 0, 1, 1)).save(f"{folder}/pixel.svg").name
            'pixel.svg'
        """
        path = Path(path)
        if path.suffix not in (".svg", ".html"):
            raise ValueError(f"explain: a picture is saved as .svg or .html, got {str(path)!r}")
        page = PAGE.format(title=escape(self.call.label), body=self._repr_html_())
        write_atomically(path, (draw(self) if path.suffix == ".svg" else page).encode())
        return path
