"""An answer to one question, as text for the terminal and as a page that needs nothing else.

Every number in it comes from the run that made it.
"""
from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

import tinygrad_conv as tg

from ..program import parser, plainly, svg
from .proof import Proof

STYLE = Path(__file__).with_name("page.css")
PROVED = ("computed as", "compared with", "numbers", "largest difference", "")


@dataclass(frozen=True)
class Table:
    """A small table with a `note` below it. Cells are HTML."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """What a page says: `asked` in the asker's words, the rest ours. Texts are HTML, in plain tags."""

    name: str
    number: int
    title: str
    asked: str
    short: str
    picture: str
    formulas: Sequence[str]
    shapes: Table
    proofs: Sequence[Proof]
    steps: Sequence[str] = ()
    more: Sequence[Table] = ()

    @property
    def holds(self) -> bool:
        """Whether every comparison agrees to rounding."""
        return all(p.holds for p in self.proofs)

    @property
    def tables(self) -> list[Table]:
        """Shapes, proof and the rest, in the order of the page."""
        proved = [(p.what, p.how, f"{p.entries:,}", p.says, "✓ equal" if p.holds else "✗ DIFFERS")
                  for p in self.proofs]
        note = ("Float64, fixed seed. A difference is relative to the largest entry. A convolution "
                "is linear in each argument, so finite differences with step 1 are exact, too.")
        return [self.shapes, Table("Proof", PROVED, proved, note), *self.more]


def plain(html: str) -> str:
    """HTML without its tags, for a terminal.

    Example:
        >>> plain("&Sigma;<sub>i,j</sub> g[i,j]")
        'Σ(i,j) g[i,j]'
    """
    html = re.sub(r"<sub>(.*?)</sub>", r"(\1)", html.replace("<br>", "\n     "))
    return unescape(re.sub(r"<[^>]+>", "", html))


def _wrapped(html: str, indent: str = "") -> list[str]:
    return textwrap.wrap(plain(html), 100, initial_indent=indent, subsequent_indent=indent)


def as_text(answer: Answer) -> str:
    """The answer for a terminal."""
    lines = [f"{answer.number}. {answer.title}", "", *_wrapped(answer.short), ""]
    lines += ["    " + plain(f) for f in answer.formulas]
    lines += [""] * bool(answer.steps)
    lines += [f"  {k}. {plain(step)}" for k, step in enumerate(answer.steps, 1)]
    for table in answer.tables:
        grid = [[plain(str(cell)) for cell in row] for row in [table.head, *table.rows]]
        widths = [max(map(len, column)) for column in zip(*grid)]
        lines += ["", table.title]
        lines += ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in grid]
        lines += _wrapped(table.note, "  ")
    return "\n".join(lines)


def _html_table(table: Table) -> str:
    def row(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
    body = "\n".join(row(cells, "td") for cells in table.rows)
    note = f'\n<p class="note">{table.note}</p>' if table.note else ""
    return (f"<h2>{table.title}</h2>\n<div class=\"wide\"><table>\n<thead>{row(table.head, 'th')}"
            f"</thead>\n<tbody>\n{body}\n</tbody></table></div>{note}")


def _large_sums(formula: str) -> str:
    return formula.replace("Σ", '<span class="sum">Σ</span>')


def document(title: str, body: str) -> str:
    """A whole HTML page with its style inside."""
    style = STYLE.read_text(encoding="utf-8")
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n"
            f"<main>\n{body}\n</main>\n</body></html>\n")


def as_page(answer: Answer, names: Sequence[str]) -> str:
    """The page of one answer; `names` of all the answers, for the links."""
    links = ['<a href="index.html">Five questions</a>'] + [
        f'<a href="{name}.html"{" aria-current=page" if name == answer.name else ""}>{k}</a>'
        for k, name in enumerate(names, 1)]
    formulas = "\n".join(f"<p>{_large_sums(f)}</p>" for f in answer.formulas)
    steps = "\n".join(f"<li>{_large_sums(step)}</li>" for step in answer.steps)
    return document(answer.title, "\n".join([
        f"<nav>{' '.join(links)}</nav>", f"<h1>{answer.title}</h1>",
        f"<blockquote>{answer.asked}</blockquote>", f'<p class="short">{answer.short}</p>',
        f"<figure>{answer.picture}</figure>", f'<div class="formula">\n{formulas}\n</div>',
        *([f"<h2>The derivation</h2>\n<ol>\n{steps}\n</ol>"] if answer.steps else []),
        *map(_html_table, answer.tables),
        f"<footer><code>python -m demos.questions.{answer.name}</code> recomputes every number on "
        f"this page.</footer>"]))


@plainly()
def run(make: Callable[[], Answer]) -> None:
    """Print an answer; exit with an error if a proof fails. `--picture FILE` keeps the drawing."""
    takes = parser(sys.modules[make.__module__].__doc__)
    takes.add_argument("--picture", type=svg, metavar="FILE.svg", help="write the picture too")
    chosen = takes.parse_args()
    answer = make()
    print(as_text(answer))
    if chosen.picture:
        tg.write_atomically(chosen.picture, (answer.picture + "\n").encode())
    if not answer.holds:
        raise SystemExit("a proof failed: see the table above")
