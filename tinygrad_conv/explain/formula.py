"""The index equation of a convolution as one writes it, in letters or with numbers substituted.

Expressions are strings; simplest form first: no factor 1, no summand 0. Imports terms.
"""
from __future__ import annotations

from collections.abc import Mapping

from .meet import Line
from .terms import SIDES, Terms


def spell(e: Terms, name: str, side: str, parts: list[str]) -> str:
    """`x[n,c,u,v]` with the axes the reader sees."""
    axes = e.call.kernel_axes if side == "kernel" else e.call.axes
    return f"{name}[{','.join(parts[k] for k in axes)}]"


def _times(factor: int, letter: str) -> str:
    return letter if factor == 1 else f"{factor}*{letter}"


def _shift(text: str, by: int) -> str:
    return f"{text}{by:+d}" if by else text


def _large(axis: Line, i: str, a: str) -> str:
    """u = i*s + a*d - p."""
    return _shift(f"{_times(axis.stride, i)}+{_times(axis.dilation, a)}", -axis.padding[0])


def _small(axis: Line, u: str, a: str) -> str:
    """i = (u + p - a*d) / s."""
    text = f"{_shift(u, axis.padding[0])}-{_times(axis.dilation, a)}"
    return text if axis.stride == 1 else f"({text})/{axis.stride}"


def _channel(e: Terms, small: str, k: str) -> str:
    """The large side's channel: of the same group as `small`, number k in it."""
    c = e.meeting.channels
    if c.groups == 1:
        return k
    if k.isdigit():
        return str(int(small) // c.filters * c.depth + int(k))
    if small.isdigit():
        return f"{int(small) // c.filters * c.depth}+{k}"
    return f"{_times(c.depth, small if c.filters == 1 else f'({small}//{c.filters})')}+{k}"


def _kernel_channel(e: Terms, large: str) -> str:
    """The second index of the weight for a channel of the large side."""
    c = e.meeting.channels
    if c.groups == 1:
        return large
    return str(int(large) % c.depth) if large.isdigit() else f"{large}%{c.depth}"


def _indices(e: Terms, at: Mapping[str, str]) -> dict[str, list[str]]:
    """The index of each side's array, everything that follows from something else computed."""
    rows, columns = e.meeting.rows, e.meeting.columns
    sides = {side: [at[letter] for letter in letters] for side, letters in SIDES.items()}
    if e.side == "large":
        sides["small"][2:] = _small(rows, at["u"], at["a"]), _small(columns, at["v"], at["b"])
        sides["kernel"][1] = _kernel_channel(e, at["large"])
    else:
        sides["large"][1:] = (_channel(e, at["small"], at["k"]), _large(rows, at["i"], at["a"]),
                              _large(columns, at["j"], at["b"]))
    return sides


def depth_letter(e: Terms) -> str:
    """The second index of the weight: the large side's channel, or a number inside its group."""
    return e.letters["large"] if e.meeting.channels.groups == 1 else "k"


def _summed(e: Terms) -> str:
    letters = {"small": [depth_letter(e), "a", "b"], "large": [e.letters["small"], "a", "b"],
               "kernel": ["n", "i", "j"]}[e.side]
    seen = [x for x in letters if x not in "ia" or not e.call.geometry.line]
    return ",".join([x for x in seen if x != "n" or 0 in e.call.axes])


def _condition(e: Terms, numbers: bool) -> str:
    """What the letters may be, if that is not plain."""
    both = (e.meeting.rows, e.meeting.columns)
    if e.side != "large":
        return ", 0 in the padding" if any(max(line.padding) > 0 for line in both) else ""
    c, small, text = e.meeting.channels, e.letters["small"], ""
    if c.groups > 1:
        text = f", {small} = {c.small[0]}..{c.small[-1]}" if numbers else f", {small} of the same group"
    whole = "whole and " if max(line.stride for line in both) > 1 else ""
    return f"{text}, only where the index is {whole}in range"


def _sentence(e: Terms, held: Mapping[str, str]) -> str:
    letters = {name: name for name in "nijabuv"} | e.letters
    at = letters | {"k": depth_letter(e)} | held
    sides = _indices(e, at)
    factors = " ".join(spell(e, f.name, f.side, sides[f.side]) for f in (e.first, e.second))
    text = f"{spell(e, e.name, e.side, [at[x] for x in SIDES[e.side]])} = sum over {_summed(e)} of {factors}"
    if e.bias is not None:
        text += f" + bias[{at[SIDES[e.side][1]]}]"
    return text + _condition(e, bool(held))


def general(e: Terms) -> str:
    """The equation in letters, with this call's stride, padding, dilation and groups."""
    return _sentence(e, {})


def with_numbers(e: Terms) -> str:
    """The same equation at the asked index."""
    return _sentence(e, {letter: str(n) for letter, n in zip(SIDES[e.side], e.at)})


def result_label(e: Terms) -> str:
    """`y[0,3,2,5]`."""
    return spell(e, e.name, e.side, [str(n) for n in e.at])


def plane_label(e: Terms, name: str, side: str, plane: int) -> str:
    """`x[0,2]`: which plane of an array takes part, as the reader counts."""
    at = e.meeting.plane(plane)
    lead = [str(at[letter]) for letter in SIDES[side][:2]]
    axes = e.call.kernel_axes if side == "kernel" else e.call.axes
    return f"{name}[{','.join(lead[k] if k < 2 else ':' for k in axes)}]"
