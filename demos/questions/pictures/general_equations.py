"""Question 5 drawn in one dimension: the wires m = i*s + a*d - p, read in three ways."""
from __future__ import annotations

from collections.abc import Callable

from ..planes import FAINT, INK, PAINTS, SOFT, Picture

S, D, P, TAPS, SIZE, OUT = 2, 3, 1, 3, 11, 4
DASHES = (None, "8 4", "2 4")               # of the wires of each tap, all in the filters' colour
LEFT, STEP, CELL = 34, 37, 28
PIXEL, TAP, PLACE = 5, 1, 1                 # what the three readings follow


def draw() -> str:
    """Stride 2, dilation 3, padding 1, three taps; 11 inputs, 4 outputs."""
    p = Picture("q5", 760, 850, "One wiring between inputs and outputs, read three ways: the wires into "
                "one output, the wires from one input, and all wires of one tap")
    p.text(18, 32, "m = i·s + a·d − p", 16, bold=True)
    for a in range(TAPS):
        p.line(400 + a * 120, 27, 434 + a * 120, 27, PAINTS["w"].line, 2.4, DASHES[a])
        p.text(442 + a * 120, 32, f"tap a = {a}", 13)
    _reading(p, 96, lambda i, a: i == PLACE, ("Y", "X"), f"forward: Y[{PLACE}]",
             "the wires that arrive\nat one output", "+ sum over channels u")
    _measures(p, 96)
    _reading(p, 376, lambda i, a: i * S + a * D - P == PIXEL, ("δ", "dX"), f"backward: dX[{PIXEL}]",
             f"the wires that leave\none input: solve\ni = ({PIXEL} + p − a·d) / s",
             "+ sum over filters k")
    _not_whole(p, 376)
    _reading(p, 646, lambda i, a: a == TAP, ("δ", "X"), f"backward: dW[{TAP}]",
             "all wires of one tap,\none from each output",
             "+ sum over samples n;\none for each pair (k,u)")
    for a in range(TAPS):
        p.box(558 + a * 22, 710, 22, 22, PAINTS["w"].line, 1, fill=PAINTS["w"].fill)
        p.text(569 + a * 22, 726, str(a), 12, "middle", a == TAP)
    p.box(558 + TAP * 22, 710, 22, 22, PAINTS["w"].line, 3.4)
    for y in (326, 596):
        p.line(20, y, 740, y, FAINT)
    return p.svg()


def _x(m: int) -> float:
    return LEFT + (m + P) * STEP


def _y_of(i: int) -> float:
    """Outputs stand above the middle of their windows."""
    return _x(i * S - P) + (TAPS - 1) * D * STEP / 2


def _reading(p: Picture, top: float, chosen: Callable[[int, int], bool], names: tuple[str, str],
             title: str, words: str, rest: str) -> None:
    """Outputs above, inputs below, the chosen wires heavy and the others pale; so the result."""
    low = top + 140
    wires = [(i, a, i * S + a * D - P) for i in range(OUT) for a in range(TAPS)]
    for i, a, m in sorted(wires, key=lambda wire: chosen(*wire[:2])):
        lit = chosen(i, a)
        p.line(_y_of(i) + CELL / 2, top + CELL, _x(m) + CELL / 2, low,
               PAINTS["w"].line if lit else FAINT, 2.4 if lit else 1, DASHES[a])
    ends = {m for i, a, m in wires if chosen(i, a)}
    for m in range(-P, SIZE + P):
        inside = 0 <= m < SIZE
        p.box(_x(m), low, CELL, CELL, PAINTS["x"].line if inside else SOFT,
              3.4 if ends == {m} else 1.8 if m in ends else 1, None if inside else "4 3",
              PAINTS["x"].fill if inside else "#fff")
        p.text(_x(m) + CELL / 2, low + 19, f"{m}".replace("-", "−"), 12, "middle", m in ends,
               INK if inside else SOFT)
    met = {i for i, a, m in wires if chosen(i, a)}
    for i in range(OUT):
        p.plane(_y_of(i), top, CELL, CELL, "y" if names[0] == "Y" else "g", heavy=met == {i})
        p.text(_y_of(i) + CELL / 2, top + 19, str(i), 13, "middle", i in met, halo=True)
    p.text(_y_of(0) - 14, top + 20, names[0], 15, "end", True)
    p.text(_x(SIZE) + CELL + 10, low + 20, names[1], 15, bold=True)
    p.text(558, top + 10, title, 16, bold=True)
    p.text(558, top + 36, words, 13)
    p.text(558, top + 112, rest, 13, color=SOFT)


def _measures(p: Picture, top: float) -> None:
    """Stride, dilation and padding as lengths."""
    low, first = top + 140 + CELL, _x(S * PLACE - P)
    for k in range(TAPS - 1):
        x = first + CELL / 2 + k * D * STEP
        p.line(x + 3, low + 14, x + D * STEP - 3, low + 14, INK, 1.3, arrow=True)
        p.text(x + D * STEP / 2, low + 30, f"d = {D}", 12, "middle")
    p.text(_x(-P), low + 18, f"p = {P}: zeros", 12)
    for i in range(OUT - 1):
        x = _y_of(i) + CELL / 2
        p.line(x + 3, top - 9, x + S * STEP - 3, top - 9, INK, 1.3, arrow=True)
        p.text(x + S * STEP / 2, top - 15, f"s = {S}", 12, "middle")


def _not_whole(p: Picture, top: float) -> None:
    """What the solved line gives for every tap."""
    for a in range(TAPS):
        total = PIXEL + P - a * D
        whole = total % S == 0
        says = f"i = {total // S}" if whole else f"i = {total / S:g}: no output"
        p.line(LEFT + a * 165, top + 190, LEFT + 26 + a * 165, top + 190, PAINTS["w"].line, 2.4, DASHES[a])
        p.text(LEFT + 33 + a * 165, top + 195, says, 12, bold=whole)
