"""What a notebook shows of a tensor, in a few kilobytes, and how a page stands in a cell.

All of it is HTML that loads nothing and takes its text colour from the notebook, light or dark; what it shows
stands in images, which a viewer leaves in that takes away drawings, styles and programs. A cell must
never fail, nor take long: a large tensor is judged by a regular sample, which is then said.
"""
import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import numpy as np

from ..primitive import Node
from ..tensor import Tensor
from .page.arrays import MISSING, levels, shrunk, statistics
from .style import call_label, dtype_name, printable, shape_text

SAMPLE = 100_000  # values that are looked at
FEW = 8           # rows and columns that are written out, and half of what is of a vector
TILES = 8         # pictures at most, of
PIXELS = 24_000   # bytes in all, before they are compressed
SMALLEST = 8      # pixels of a side that make a matrix a picture, and three channels colours
WIDE = 96         # pixels on the screen of a picture's longer side, at least
ROUNDING = 1e-12  # part of the greatest value below which a mean is nothing else
LOST = (204, 121, 167)  # the colour of a value that is not finite
ROWS = 20         # of a table or a tree that are shown at once
FAINT = "color: #777"


def tensor_html(t: Tensor) -> str:
    """What a tensor is, how its values are spread, and the numbers, or the picture if it looks like one.

    Example:
        >>> import tinygrad_conv as tg
        >>> text = tensor_html(tg.arange(128.0).reshape(2, 1, 8, 8))
        >>> text.count("image/png"), "<b>2x1x8x8</b> float32" in text, len(text) < 50_000
        (2, True, True)
    """
    array = t._data
    parts = [_heading(t), _spread(array)]
    if _few(array.shape):
        text = np.array2string(array, precision=4, separator=" ")
        parts.append(f"<pre style='margin: 4px 0; background: none'>{escape(text)}</pre>")
    else:
        parts.append(_pictures(array, kernels=t.is_leaf and t.requires_grad))
    return f"<div style='line-height: 1.4'>{''.join(parts)}</div>"


def _few(shape: tuple[int, ...]) -> bool:
    """Whether the numbers of a vector or a matrix are written out: few, and no picture."""
    return (len(shape) == 1 and 1 < shape[0] <= 2 * FEW
            or len(shape) == 2 and 0 < min(shape) < SMALLEST and max(shape) <= FEW)


def _heading(t: Tensor) -> str:
    """ "weight Parameter 6x1x5x5 float32, requires a gradient" """
    name = f"<b>{escape(printable(t.name))}</b> " * bool(t.name)
    made = (f"made by {escape(printable(call_label(t.node, t)))}" if isinstance(t.node, Node) else
            "requires a gradient" if t.requires_grad else "")
    return (f"<div>{name}{escape(type(t).__name__)} <b>{shape_text(t.shape)}</b> {dtype_name(t.dtype)}"
            f"{f', {made}' * bool(made)}</div>")


def _spread(array: np.ndarray) -> str:
    """Range, mean, zeros and what is not finite, beside a histogram if the values differ."""
    step = math.ceil(array.size / SAMPLE) | 1  # odd: it does not fall in step with axes of even length
    numbers = statistics(array.flat[::step] if step > 1 else array)
    words = [f"in a sample of one value in {step:,}" if step > 1 else ""]
    if array.size == 0:
        words.append("no values")
    elif array.size == 1:
        words.append(f"= {array.item():.6g}")
    elif "min" in numbers and numbers["min"] == numbers["max"]:
        words.append(f"all {numbers['min']:.4g}")
    elif "min" in numbers:
        low, high, mean = (numbers[key] for key in ("min", "max", "mean"))
        mean = mean if abs(mean) > ROUNDING * max(abs(low), abs(high)) else 0.0
        words.append(f"{low:.4g} to {high:.4g}, mean {mean:.4g}, deviation {numbers['std']:.4g}")
    if 0 < numbers["zeros"] < 1:
        words.append(f"{100 * numbers['zeros']:.3g} % zeros")
    if numbers["nonfinite"]:
        words.append(f"<b>{numbers['nonfinite']:,} not finite</b>")
    bars = _histogram(numbers["histogram"]) if "histogram" in numbers and array.size > FEW else ""
    return f"<div>{bars}<span style='{FAINT}'>{', '.join(filter(None, words))}</span></div>"


def _histogram(counts: Sequence[int]) -> str:
    tallest = max(counts)
    bars = "".join(f"M{i} 24v-{max(1.0, 24 * n / tallest):.1f}h1V24z" for i, n in enumerate(counts) if n)
    svg = (f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {len(counts)} 25' "
           f"preserveAspectRatio='none'><path d='{bars}' fill='#0072b2'/>"
           f"<path d='M0 24.5h{len(counts)}' stroke='#777' stroke-width='.6'/></svg>")
    return (f"<img alt='histogram' width='128' height='26' style='display: inline-block; vertical-align: "
            f"bottom; margin: 0 8px 0 0' src='data:image/svg+xml,{quote(svg)}'>")


# ----- pictures -----

def _pictures(array: np.ndarray, kernels: bool) -> str:
    """Images, the channels of one, filters or a matrix, small, on one scale."""
    stack, what = _planes(array, kernels)
    if not len(stack):
        return ""
    side = max(1, math.isqrt(PIXELS // (len(stack) * stack.shape[3])))
    step = math.ceil(max(stack.shape[1:3]) / side)
    coarse = max(1, step // 4)  # a mean of 16 to 49 pixels is as good as one of thousands
    rough = stack[:, ::coarse, ::coarse].astype(np.float64)
    small = np.stack([shrunk(plane, math.ceil(step / coarse)) for plane in np.moveaxis(rough, 3, 0)], axis=3)
    shown, low, high = levels(small)
    if (shown == shown.flat[0]).all():
        return ""
    height, width = shown.shape[1:3]
    zoom = max(1, round(WIDE / max(height, width)))
    zoomed = shown.repeat(zoom, axis=1).repeat(zoom, axis=2)  # viewers that drop styles would blur it
    images = "".join(f"<img alt='' style='margin: 0; display: inline-block' src='data:image/png;base64,"
                     f"{base64.b64encode(png(tile)).decode()}'>" for tile in zoomed)
    scale = f"black {low:.4g}, white {high:.4g}" + f", means of {step}x{step} pixels" * (step > 1)
    return (f"<div style='display: flex; flex-wrap: wrap; gap: 4px; margin: 4px 0'>{images}</div>"
            f"<div style='{FAINT}'>{', '.join(filter(None, (what, scale)))}</div>")


def _planes(array: np.ndarray, kernels: bool) -> tuple[np.ndarray, str]:
    """Up to TILES planes, (n, H, W, 1) grey or (n, H, W, 3) in colour, and which of how many they are."""
    shape, nothing = array.shape, (np.empty((0, 1, 1, 1)), "")
    if 0 in shape or not 2 <= array.ndim <= 4:
        return nothing
    if array.ndim == 4:
        if shape[2] * shape[3] == 1:
            return nothing
        many = _of("filters" if kernels else "images", shape[0])
        if shape[1] == 3 and min(shape[2:]) >= SMALLEST:
            return array[:TILES].transpose(0, 2, 3, 1), many
        if kernels or shape[1] == 1:
            return array[:TILES, 0, :, :, None], many + ", channel 0 of each" * (shape[1] > 1)
        return array[0, :TILES, :, :, None], f"sample 0, {_of('channels', shape[1])}"
    if array.ndim == 3 and shape[0] in (1, 3) and min(shape[1:]) >= SMALLEST:
        return array.transpose(1, 2, 0)[None], ""
    if min(shape[:2]) < SMALLEST or shape[2:] not in ((), (3,)):
        return nothing
    return array.reshape(1, *shape[:2], -1), ""


def _of(what: str, n: int) -> str:
    return f"the first {TILES} of {n:,} {what}" if n > TILES else f"{n} {what if n > 1 else what[:-1]}"


def png(levels: np.ndarray) -> bytes:
    """A PNG file of grey levels (H, W, 1) or colours (H, W, 3); 255 marks what is not finite.

    Example:
        >>> png(np.zeros((2, 3, 1), np.uint8))[:8]
        b'\\x89PNG\\r\\n\\x1a\\n'
    """
    missing = (levels == MISSING).any(2, keepdims=True)
    if missing.any():
        levels = np.where(missing, np.uint8(LOST), levels)
    height, width, colours = levels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), levels.reshape(height, -1)], axis=1)  # no filter
    kind = 2 if colours == 3 else 0
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)),
              (b"IDAT", zlib.compress(rows.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks)


# ----- tables, trees and pages in a cell -----

def table_html(rows: Sequence[Sequence[str]]) -> str:
    """A table for a cell, of texts; the first row is its head. Of many rows the first and last ones.

    Example:
        >>> table_html([["a", "b"], ["1", "<2>"]])
        '<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>&lt;2&gt;</td></tr></table>'
    """
    shown = rows if len(rows) <= ROWS else [*rows[:ROWS // 2], ["..."] * len(rows[0]), *rows[-ROWS // 2:]]
    lines = ["".join(f"<td>{escape(printable(cell))}</td>" for cell in row) for row in shown]
    return f"<table><tr>{'</tr><tr>'.join([lines[0].replace('td>', 'th>'), *lines[1:]])}</tr></table>"


def tree_html(lines: Sequence[tuple[int, str]]) -> str:
    """A tree for a cell, whose branches open when clicked: (depth, text) of each node, root first.

    The root is open, and a small tree wholly.

    Example:
        >>> tree_html([(0, "net"), (1, "conv"), (1, "head")]).count("<details")
        1
    """
    parts, depths = [], [*(depth for depth, _ in lines), 0]
    for (depth, text), following in zip(lines, depths[1:]):
        line = escape(printable(text))
        parts.append(f"<details{' open' * (depth == 0 or len(lines) <= ROWS)}><summary>{line}</summary>"
                     "<div style='margin-left: 1.3em'>" if following > depth else
                     f"<div style='margin-left: {.9 if depth else 0}em'>{line}</div>")
        parts += ["</div></details>"] * (depth - following)
    return f"<div style='font-family: monospace; line-height: 1.5'>{''.join(parts)}</div>"


def framed(page: str, boxes: int) -> str:
    """A page as part of a cell's output: alone in a sandbox, which may run the page's program and no more.

    Args:
        page: the HTML; of `boxes` boxes, by which its height is chosen.
    """
    return (f'<iframe sandbox="allow-scripts" srcdoc="{escape(page)}" title="Drawing of {boxes} boxes" '
            f'style="width: 100%; height: {min(44, 24 + boxes)}em; border: 1px solid #8888; '
            f'box-sizing: border-box"></iframe>')
