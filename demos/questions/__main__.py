"""Answers all five questions and writes their pages.

    python -m demos.questions                 into runs/questions
    python -m demos.questions --gallery       into demos/gallery, the copy the README links
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tinygrad_conv as tg

from . import (
    q1_kernel_gradient, q2_input_gradient, q3_nhwc_im2col, q4_dense_matrix, q5_general_equations,
)
from ..program import parser, plainly
from .answer import Answer, as_page, as_text, document

QUESTIONS = (q1_kernel_gradient, q2_input_gradient, q3_nhwc_im2col, q4_dense_matrix,
             q5_general_equations)
GALLERY = Path(__file__).resolve().parent.parent / "gallery"
LEGEND = ("In all pictures the input is blue and plain, the gradient that arrives from above is green and "
          "hatched, and filters are orange grids; darker cells hold larger numbers, and a result has a "
          "heavy outline.")


def index(answers: Sequence[Answer]) -> str:
    """The page that links to the others."""
    cards = "\n".join(
        f'<a class="card" href="{a.name}.html">{a.picture}<div><h2>{a.number}. {a.title}</h2>'
        f"<p>{a.asked}</p><span>{sum(p.holds for p in a.proofs)} of {len(a.proofs)} comparisons agree "
        f"to rounding</span></div></a>" for a in answers)
    return document("Five questions about the gradient of a convolution", (
        "<h1>Five questions about the gradient of a convolution</h1>\n<p class=\"short\">People who "
        "write a convolutional network by hand keep asking these. Each is answered with the asker's own "
        "shapes: a picture, a formula, and numbers checked against plain loops and finite "
        f"differences.</p>\n<p class=\"note\">{LEGEND}</p>\n<div class=\"cards\">\n{cards}\n</div>\n"
        "<footer><code>make questions</code> recomputes every number on these pages.</footer>"))


def pages(answers: Sequence[Answer]) -> dict[str, str]:
    """File name to content: the index, and a page and a picture for each answer."""
    names = [a.name for a in answers]
    return {"index.html": index(answers)} | {
        f"{a.name}.html": as_page(a, names) for a in answers} | {
        f"{a.name}.svg": a.picture + "\n" for a in answers}


@plainly()
def main() -> None:
    takes = parser(__doc__)
    takes.add_argument("--out", type=Path, default="runs/questions", metavar="DIR",
                       help="folder for the pages (default %(default)s)")
    takes.add_argument("--gallery", action="store_const", dest="out", const=GALLERY,
                       help="write the committed copy in demos/gallery")
    out = takes.parse_args().out
    answers = [question.answer() for question in QUESTIONS]
    for name, content in pages(answers).items():
        tg.write_atomically(out / name, content.encode())
    print(*map(as_text, answers), sep="\n\n" + "-" * 100 + "\n\n")
    print(f"\nopen {out / 'index.html'}")
    if not all(a.holds for a in answers):
        raise SystemExit("a proof failed: see the tables above")


if __name__ == "__main__":
    main()
