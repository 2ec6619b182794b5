"""How a drawing looks in every format: what it says of shapes, calls and lines of code; shapes and colours.

Each kind of box has a shape of its own; each mark, an alarm, a border and a word, on top of whatever the fill
says. All fills are light enough for black text, and nothing is shown by colour alone.
"""
import functools
import linecache
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels.geometry import brief
from ..tensor import Tensor
from ..primitive import Freed, Node, Primitive

FONT = {"fontname": "Helvetica", "fontsize": "10"}
INK, FAINT = "black", "#777777"

KINDS = {  # attributes of a node in DOT
    "op": {"shape": "box", "style": "rounded,filled", "fillcolor": "#e8f0f8"},
    "parameter": {"shape": "ellipse", "style": "filled", "fillcolor": "#fbf3dc"},
    "input": {"shape": "invtrapezium", "style": "filled", "fillcolor": "#e3f1ea"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#f4f4f4"},
    "seed": {"shape": "hexagon", "style": "filled", "fillcolor": "#f2e6f0"},
    "output": {"shape": "rect", "style": "filled,diagonals", "fillcolor": "#dcefe0"},
    "module": {"shape": "tab", "style": "filled", "fillcolor": "#f3eef2"},
}
ROOM = {  # by shape, how much larger than its text a box is
    "ellipse": (1.3, 1.45), "invtrapezium": (1.55, 1.0), "hexagon": (1.6, 1.0)}

MARKS = {  # the border under a mark, the most serious first; `style` is added to that of the kind
    "failed": {"color": "#a00000", "style": "bold", "penwidth": "4", "peripheries": "2"},
    "nan": {"color": "#a00000", "style": "bold", "penwidth": "2", "peripheries": "2"},
    "exploding": {"color": "#6a0d83", "style": "bold", "penwidth": "4"},
    "vanishing": {"color": "#0060a0", "style": "dashed", "penwidth": "3"},
    "no-gradient": {"color": "#444444", "style": "dotted", "penwidth": "3"},
    "found": {"color": "#8a5a00", "style": "bold", "penwidth": "3.5"},
    "changed": {"fillcolor": "#f7efa6", "color": "#8a5a00", "style": "bold", "penwidth": "1.5",
                "peripheries": "2"},
    "removed": {"fillcolor": "#fbe0d0", "color": "#b34700", "style": "dashed", "penwidth": "1.8"},
    "added": {"fillcolor": "#c6e8dc", "color": "#00664b", "style": "bold", "penwidth": "2.5"},
}

class Paint(NamedTuple):
    """The colours of a quantity: of its cells and their outline, and of the smallest and largest value."""

    fill: str
    line: str
    pale: tuple[int, int, int]
    dark: tuple[int, int, int]


PAINTS = {  # of a convolution: the input and its gradient blue, the gradient from above green, filters orange
    "x": Paint("#d3e8f6", "#0b5c8e", (240, 247, 252), (8, 72, 112)),
    "g": Paint("#c6e8dc", "#00664b", (238, 248, 244), (0, 82, 60)),
    "w": Paint("#fbe2b4", "#8a5a00", (255, 248, 232), (156, 84, 0)),
}

# Of " " to "~" in thousandths of the size, in Helvetica or DejaVu Sans, whichever is wider: viewers without
# the first show one of its width, or the second. Source: Adobe Font Metrics of Helvetica, DejaVuSans.ttf.
WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636,
    636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 556, 1015, 684, 686, 722, 770, 667,
    611, 778, 752, 295, 500, 667, 557, 863, 748, 787, 667, 787, 722, 667, 611, 732, 684, 989, 685,
    667, 685, 390, 337, 390, 838, 556, 500, 613, 635, 556, 635, 615, 352, 635, 634, 278, 278, 579,
    278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838)
SIZE, LINE, PADDING = 10, 12, (18, 10)  # points: letters, lines, and around the text of a box

LONGEST_VALUE, LONGEST_CODE, LONGEST_LINE = 32, 70, 150  # characters; of a longer line the middle is left out

dtype_name = functools.cache(str)  # NumPy takes its time to find a dtype's name, and a tape asks often


def shape_text(shape: Sequence[int]) -> str:
    """A shape as pictures show it.

    Example:
        >>> shape_text((8, 3, 32, 32)), shape_text(())
        ('8x3x32x32', 'scalar')
    """
    return "x".join(map(str, shape)) or "scalar"


def tensor_text(shape: Sequence[int], dtype: str) -> str:
    """Shape, and the dtype where it is not the default.

    Example:
        >>> tensor_text((2, 3), "float32"), tensor_text((2, 3), "int64")
        ('2x3', '2x3 int64')
    """
    return shape_text(shape) + (f" {dtype}" if dtype != "float32" else "")


def printable(line: str) -> str:
    """Text that stays on one line: control characters as Python writes them, and of a long one the two ends.

    Example:
        >>> printable("two" + chr(10) + "lines")
        'two\\\\nlines'
    """
    text = line if line.isprintable() else "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    half = LONGEST_LINE // 2 - 2
    return text if len(text) <= LONGEST_LINE else f"{text[:half]}...{text[-half:]}"


def number_text(t: Tensor) -> str:
    """The number that a tensor of shape () is, as short as tells it from all others of its dtype.

    Example:
        >>> import tinygrad_conv as tg
        >>> number_text(tg.tensor(2.0)), number_text(tg.tensor(0.1)), number_text(tg.tensor(1234567.0))
        ('2', '0.1', '1.234567e+06')
    """
    value = t._data[()]
    text = f"{value.item():g}"
    return text if t.dtype.kind == "b" or t.dtype.type(text) == value else str(value)


def parameters_text(count: float, shared: float = 0) -> str:
    """How many parameters something has, and how many of them it shares with others.

    Example:
        >>> parameters_text(1), parameters_text(1200, 200)
        ('1 parameter', '1,200 parameters, 200 of them shared')
    """
    return f"{count:,.0f} parameter{'s' * (count > 1)}" + f", {shared:,.0f} of them shared" * (shared > 0)


def text_width(line: str, size: float = SIZE) -> float:
    """How wide a line may become, in points, whatever font a viewer takes for Helvetica.

    Example:
        >>> round(text_width("conv2d 5x5")), text_width("")
        (58, 0.0)
    """
    return sum([WIDTHS[n] if 0 <= (n := ord(c) - 32) < len(WIDTHS) else 1000 for c in line]) * size / 1000


def box_size(lines: Sequence[str], shape: str) -> tuple[float, float]:
    """Width and height, in points, of a box of a shape that holds some lines."""
    wide, high = ROOM.get(shape, (1.0, 1.0))
    return (max(map(text_width, lines)) * wide + PADDING[0], len(lines) * LINE * high + PADDING[1])


def value_text(v: Any) -> str:
    """A parameter's value, shortest: (2, 2) is 2, ((1, 1), (1, 1)) is 1, a long one is cut."""
    if isinstance(v, tuple):
        text = brief(v, value_text)
    elif isinstance(v, np.ndarray):
        text = f"{v.dtype}[{shape_text(v.shape)}]"
    elif isinstance(v, slice):
        ends = (v.start, v.stop, v.step)[:2 + (v.step is not None)]
        text = ":".join("" if n is None else str(n) for n in ends)
    else:
        text = str(v).replace(" ", "")
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE - 3] + "..."


def call_label(node: Node, output: Tensor | Freed) -> str:
    """One call in a line, as the op's `deflabel` says; else with its parameters: "sum axis 0".

    Left out are None, False, the function's own defaults, and what the edges show: a `shape`, `size` or
    `dtype` that is the output's.

    Example:
        >>> import tinygrad_conv as tg
        >>> @tg.primitive
        ... def blur(x, *, size, times=1):
        ...     return x
        >>> y = blur(tg.ones(9, 9, requires_grad=True), size=(3, 3), times=1)
        >>> call_label(y.node, y)
        'blur size 3'
    """
    op, params = node.primitive, node.params
    if op.label is not None:
        return f"{op.name} {op.label(*[t.shape for t in node.inputs], **params)}".rstrip()
    plain = {**op.defaults, "shape": output.shape, "size": output.shape[2:], "dtype": output.dtype}
    return " ".join([op.name, *(f"{key} {value_text(v)}" for key, v in params.items()
                                if v is not None and v is not False
                                and not (key in plain and value_text(v) == value_text(plain[key])))])


def argument_name(op: Primitive, slot: int) -> str:
    """What the op calls its argument: "w"; "x1" for the second of many."""
    return op.names[slot] if slot < len(op.names) else f"x{slot}"


def source_line(where: tuple[str, int]) -> tuple[str, ...]:
    """A file and line as the reader knows them, and the code there if it can be read.

    A notebook's cells are files with a number for a name, in a folder named after the kernel.

    Example:
        >>> source_line(("/home/me/train.py", 12)), source_line(("/tmp/ipykernel_7/4711.py", 2))
        (('train.py:12',), ('notebook cell:2',))
    """
    file, number = where
    folder, name = os.path.split(file)
    linecache.checkcache(file)
    code = linecache.getline(file, number).strip()
    code = code if len(code) <= LONGEST_CODE else code[:LONGEST_CODE - 3] + "..."
    name = "notebook cell" if os.path.basename(folder).startswith("ipykernel_") else name
    return (f"{name}:{number}", code) if code else (f"{name}:{number}",)


def attributes(kind: str, mark: str) -> dict[str, str]:
    """Those of a box of this kind under this mark ("" for none).

    Example:
        >>> attributes("op", "vanishing")["style"], attributes("op", "vanishing")["shape"]
        ('rounded,filled,dashed', 'box')
    """
    plain, changes = KINDS[kind], MARKS.get(mark, {})
    return {**plain, **changes, "style": ",".join(each["style"] for each in (plain, changes) if each)}


def gravest(marks: set[str]) -> str:
    """The most serious of some marks; one that is not in the table (a user's) comes last.

    Example:
        >>> gravest({"vanishing", "nan"}), gravest({"mine", "vanishing"}), gravest({""})
        ('nan', 'vanishing', '')
    """
    return min(filter(None, marks), default="", key=lambda mark: ([*MARKS, mark].index(mark), mark))
