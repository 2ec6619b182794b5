"""Draw what led to a tensor, or to an error: one call, and the result goes to any format.

Pictures are made by a program that is installed: Graphviz's `dot`, else the `graphviz-pure` command of the
`viz` extra, which needs nothing else but makes no PDF.
"""
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import replace
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any

from ..advice import missing
from ..arguments import flag, instance
from ..primitive import OURS
from ..state import Block
from ..tensor import Tensor
from ..files import write_atomically
from .annotate import Show, annotate, write_figures
from .collapse import collapse, frame_each_call, without
from .failure import failed_graph
from .formats import dot, listing, simpler, with_remark
from .graph import Box, Graph, graph, with_outputs
from .layout import mended
from .loops import roll
from .notebook import framed
from .page.arrays import BUDGET
from .page.page import page
from .style import gravest, printable

FORMATS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}  # what a picture holds
FONTS = b'font-family="Helvetica,Arial,Liberation Sans,DejaVu Sans,sans-serif"'  # for viewers of an SVG
PURE = ("svg", "png")  # what graphviz-pure can write
INLINE, INLINE_PICTURES = 4_000_000, 200_000  # characters of a page in a notebook, bytes of its pictures
INLINE_SVG, INLINE_BOXES = 900_000, 1_500  # characters of the picture beside it, and boxes in it


class Drawing:
    """What `draw` returns: prints as a listing, shows itself in a notebook, saves as a file.

    `graph` is what is drawn, `whole` the same with nothing rolled, collapsed or left out.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> tg.draw(x * x)
        leaf0    x       -> 2  (parameter)
        op0      mul     -> 2  <- leaf0, leaf0
        output0  output  -> 2  (output)
    """

    def __init__(self, graph: Graph, whole: Graph, read: Graph | None = None,
                 hide: Iterable[str] = ()) -> None:
        self.graph, self.whole = graph, whole
        self._read = read  # with figures, before they are written; None if no loop is to be rolled
        self._hide = hide  # from the page, too

    @property
    def dot(self) -> str:
        """The DOT text."""
        return dot(self.graph)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing("a drawing", name, dict.fromkeys(
            ("show", "view", "open", "render", "display", "plot"),
            "drawing.save('net.html'), or .svg, .png, .pdf; in a notebook, the drawing itself")),
            name=name, obj=self)

    def remarked(self, line: str) -> "Drawing":
        """The same drawing with one more line in its legend."""
        return self._with(lambda graph: replace(graph, legend=(*graph.legend, ("", line))))

    def marked(self, mark: str, notes: Callable[[Box], Iterable[str]]) -> "Drawing":
        """The same drawing with lines on the boxes that `notes(box)` has some for, and a mark."""
        def on(box: Box) -> Box:
            lines = (*notes(box),)
            return replace(box, notes=(*box.notes, *lines), mark=gravest({box.mark, mark})) if lines else box
        return self._with(lambda graph: replace(graph, boxes=(*map(on, graph.boxes),)))

    def _with(self, change: Callable[[Graph], Graph]) -> "Drawing":
        """The same drawing of changed graphs."""
        graphs = self.graph, self.whole, self._read
        return Drawing(*[graph and change(graph) for graph in graphs], self._hide)

    def listing(self) -> str:
        """The text for a terminal."""
        return listing(self.graph)

    __repr__ = listing

    def html(self, title: str = "", budget: int = BUDGET) -> str:
        """The interactive page as text: the whole graph, its modules fold when clicked, its loops are rolled.

        `budget` is how many bytes its pictures may take.
        """
        rolled = write_figures(roll(frame_each_call(without(self._read, self._hide)))) if self._read else None
        return page(without(self.whole, self._hide), title, rolled, budget)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file in the format of its ending: .dot, .svg, .png, .pdf, .html or .txt (the listing).

        Pictures need a renderer (see `render`); where there is none, or it fails, the page and the DOT text
        are written beside it. The page holds the whole graph; its modules fold when clicked.

        Returns:
            the file written: `path`, or else the page, with a warning that says why, or what to install.

        Raises:
            ValueError: for another ending.
        """
        path = Path(instance(path, str | os.PathLike, "save", "the path of a file"))
        kind = path.suffix.lower().removeprefix(".")
        texts = {"dot": lambda: self.dot, "gv": lambda: self.dot, "txt": lambda: self.listing() + "\n",
                 "html": lambda: self.html(path.stem)}
        if kind not in (*texts, *FORMATS):
            raise ValueError(f"save: expects a file ending .dot, .svg, .png, .pdf, .html or .txt, got "
                             f"{path.name!r}")
        if kind in texts:
            write_atomically(path, texts[kind]().encode())
            return path
        try:
            write_atomically(path, render(self.dot, kind))
            return path
        except (FileNotFoundError, RuntimeError) as e:
            text, shown = (self.save(path.with_suffix(ending)) for ending in (".dot", ".html"))
            warnings.warn(f"{e}; {shown}, for a browser, and {text} are written instead", stacklevel=2)
            return shown

    @functools.cached_property
    def _picture(self) -> tuple[str | None, str]:
        """The SVG for a notebook, or why there is none."""
        if len(self.graph.boxes) > INLINE_BOXES:
            return None, (f"{len(self.graph.boxes):,} boxes are too many for a picture in a notebook; draw "
                          f"less, e.g. with depth=1")
        try:
            picture = render(self.dot, "svg", patience=10.0).decode()
        except (FileNotFoundError, RuntimeError) as e:
            return None, str(e)
        if len(picture) > INLINE_SVG:
            return None, f"the picture takes {len(picture) / 1e6:.1f} MB, too much for a notebook"
        return picture, ""

    def _repr_svg_(self) -> str | None:
        """The picture for a notebook; None where none can be made."""
        return self._picture[0]

    def _repr_html_(self) -> str:
        """For a notebook the page, with smaller pictures, and why there is no picture where there is none.

        Where that is too large for a notebook, it is the page of what is drawn, or else the picture.
        """
        picture, why = self._picture
        said = "" if picture else f"<p>{escape(why)}; here is the page alone:</p>"
        for made in (self.html, functools.partial(page, self.graph)):
            text = framed(made(budget=INLINE_PICTURES), len(self.graph.boxes))
            if len(text) <= INLINE:
                return said + text
            said = (f"<p>The page of this drawing takes {len(text) / 1e6:.1f} MB, too much for a notebook: "
                    f"<code>drawing.save('net.html')</code> writes it, <code>print(drawing)</code> lists it."
                    f"</p>")
        return (picture or f"<p>{escape(why)}</p>") + said


def draw(*outputs: Tensor | BaseException, show: str | Show | Iterable[str | Show] = (),
         depth: int | None = None, unroll: bool = False, hide: Iterable[str] = ("constant",)) -> Drawing:
    """Draw what was computed to get `outputs`; or, given an error, what failed.

    Each call of a module is a frame; the second call of `relu` is named "relu#2". Of several models each has
    a frame, which goes by the variable that holds the model where `draw` is called, or by its class. So does
    an output: by its `.name`, or the variable that holds it; the `.grad` of a parameter is its gradient.

    Args:
        outputs: tensors that were recorded: results, a loss, gradients made with
            `create_graph=True` (each is drawn beside the call it belongs to); or one exception.
        show: numbers to write into the boxes, one word or several: "parameters"; "flops", multiply-adds;
            "memory", bytes that the call keeps for the backward pass; "time", milliseconds forward +
            backward, measured now, each call alone; "grad", the root mean square of gradients; "nan", the
            first value that is not finite; what was registered; or `profile.time` of a `tg.profile()`. The
            first that says how much of something colours the boxes.
        depth: modules nested deeper than this become one box each: 0 closes every module, None none.
        unroll: whether equal modules, or stretches of calls, that follow one another are all drawn, instead
            of once, as "x8".
        hide: kinds of boxes to leave out: "constant", "input", "parameter", "seed" (which a backward
            starts with), "output". A constant that is a number is then written into its call.

    Returns:
        a `Drawing`: print it, leave it as a notebook cell's last line, or `.save("net.svg")` (or .html, the
        page; .png, .pdf, .dot, .txt).

    Raises:
        TypeError: for anything but tensors or one exception, or a `depth` that is not a whole number.
        ValueError: if nothing was recorded, for a negative `depth`, or an unknown word in `show` or `hide`.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> draw((2.0 * x).sum())
        leaf1    y           -> 2  (parameter)
        op0      mul (2, _)  -> 2
        op1      sum axis 0  -> scalar
        output0  output      -> scalar  (output)
    """
    variables = _variables()
    if len(outputs) == 1 and isinstance(outputs[0], BaseException):
        read = failed_graph(outputs[0])
    elif all([instance(t, Tensor, "draw", "tensors, or one exception", "; of a model, use nn.draw(model, x)" *
                       hasattr(t, "forward")).node is None for t in outputs]):
        raise ValueError(f"draw: nothing was recorded behind {[t.shape for t in outputs]}; compute from "
                         f"tensors with requires_grad=True, outside no_grad()")
    else:
        read = graph(*outputs, variables=variables)
    whole = with_outputs(annotate(read, show), [t for t in outputs if isinstance(t, Tensor)], variables)
    drawn = without(frame_each_call(whole), hide)
    drawn = drawn if flag(unroll, "draw", "unroll") else roll(drawn)
    drawn = drawn if depth is None else collapse(drawn, depth)
    return Drawing(write_figures(drawn), write_figures(whole), None if unroll else whole, hide)


def _variables() -> dict[int, str]:
    """The names of the user's variables by the `id` of their tensor, or the block their module enters."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith(OURS):
        frame = frame.f_back
    names: dict[int, str] = {}
    for name, value in [*frame.f_globals.items(), *frame.f_locals.items()]:
        with contextlib.suppress(Exception):  # most have no `vars`, and a stranger's may do anything
            if name.startswith("_") or not name.isidentifier() or isinstance(value, type | ModuleType):
                continue
            held = {} if isinstance(value, Tensor) else vars(value)
            for own, each in [*held.items(), (name, value)]:  # the variable last: its name is the shorter way
                names |= {id(block): own for block in getattr(each, "__dict__", {}).values()
                          if isinstance(block, Block)} if not isinstance(each, Tensor) else {id(each): own}
    return names


def render(dot: str, format: str, patience: float = 120.0) -> bytes:
    """The picture of some DOT text, by the first program that can draw it; where none can, of simpler text.

    A warning says which ways failed before, and why.

    Args:
        dot: the text.
        format: "svg", "png" or "pdf".
        patience: seconds to wait for a program.

    Raises:
        FileNotFoundError: if no program for it is installed; says what to install.
        RuntimeError: if every program there is fails; quotes their messages.
    """
    beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    pure = shutil.which("graphviz-pure", path=beside) if format in PURE else None
    commands = [command for command in (shutil.which("dot"), pure) if command]
    if not commands:
        extra = "pip install 'tinygrad_conv[viz]', or " if format in PURE else ""
        raise FileNotFoundError(f"to draw .{format}: {extra}install Graphviz "
                                f"(https://graphviz.org/download) so that `dot` is on the PATH")
    failures: dict[str, str] = {}  # of each program the first
    useless: set[str] = set()      # what hangs or cannot be run, whatever the text
    for text, lost in simpler(dot):
        why = "; ".join([f"{os.path.basename(command)}: {e}" for command, e in failures.items()])
        text = with_remark(text, f"drawn plainer{lost}: {why}") if lost else text
        for command in (command for command in commands if command not in useless):
            try:
                picture = _picture(command, text, format, patience)
            except (OSError, RuntimeError) as e:
                failures.setdefault(command, str(e))
                useless |= {command} if isinstance(e, OSError) else set()
                continue
            if failures:
                why = "; ".join([f"{failed}: {e}" for failed, e in failures.items()])
                warnings.warn(f"draw: {why}; drawn by {command}{lost}", stacklevel=3)
            return picture
    why = "; ".join([f"{command}: {e}" for command, e in failures.items()])
    raise RuntimeError(f"render: drawing .{format} failed: {why}")


def _picture(command: str, dot: str, format: str, patience: float) -> bytes:
    """The picture a program makes of DOT text: a layout, and what is drawn from it with its titles moved."""
    layout = mended(_run(command, ["-Tdot"], dot, patience).decode(errors="replace"))
    sharp = ["-Gdpi=144"] if format == "png" else []
    picture = _run(command, ["-Knop2", f"-T{format}", *sharp], layout, patience, FORMATS[format])
    return picture.replace(b'font-family="Helvetica,sans-Serif"', FONTS) if format == "svg" else picture


def _run(command: str, options: list[str], dot: str, patience: float, holds: bytes = b"") -> bytes:
    """What a program makes of DOT text, if it holds what it must."""
    try:
        done = subprocess.run([command, *options], input=dot.encode(), capture_output=True, check=False,
                              timeout=patience)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"not done after {patience:g} s; draw less, e.g. with depth=1") from None
    if done.returncode or holds not in done.stdout or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [
            "no picture" if done.stdout else "no output"]
        raise RuntimeError(printable(next((line for line in said if "rror" in line), said[0])))
    return done.stdout
