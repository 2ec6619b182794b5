"""Colours that say how much: one scale for every word of `show=`, from pale for little to strong for most.

The scale falls evenly in lightness, so that it reads the same in grey and by colour-blind eyes, and stays
light enough for black text. What has none of the quantity is white.
"""
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

SCALE = (  # nine even steps of a straight line in CIELAB (D65), from (94, 1, 18) to (56, 46, 56)
    "#feeccb", "#fddbb5", "#fbc9a0", "#f9b88b", "#f5a776", "#f09661", "#eb844c", "#e47238", "#dd6022")
NONE = "#ffffff"
SPAN = 1e4  # the ends of a scale of sizes are at least so many times apart
FEW = 3     # at most so many boxes are named as the hottest


def color(heat: float | None) -> str:
    """The colour of a box, one of the legend's; white for None.

    Example:
        >>> color(0.0), color(0.5), color(1.0), color(None)
        ('#feeccb', '#f5a776', '#dd6022', '#ffffff')
    """
    return NONE if heat is None else SCALE[min(int(heat * len(SCALE)), len(SCALE) - 1)]


def amount_text(amount: float) -> str:
    """A number in three digits and a letter, as pictures show amounts.

    Example:
        >>> amount_text(117600), amount_text(864), amount_text(0.04127)
        ('118k', '864', '0.0413')
    """
    units = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))  # 999,999 is 1M in three digits
    return next((f"{amount / size:.3g}{letter}" for size, letter in units if amount >= 0.9995 * size),
                f"{amount:.3g}")


@dataclass(frozen=True)
class Heat:
    """What the colours of a drawing say: here a cost, evenly from nothing to the most that a box has.

    Args:
        what: the quantity.
        unit: what its numbers count.
        names: figures that, added up, are the cost.
        least, most: the amounts at the two ends of the scale.

    Example:
        >>> heat = Heat("time", "ms", ("forward", "backward")).over([1.0, 4.0])
        >>> heat.high, heat.place(heat.amount({"forward": 0.5, "backward": 0.5}))
        ('4 ms', 0.25)
    """

    what: str
    unit: str
    names: tuple[Any, ...]
    least: float = 0.0
    most: float = 0.0

    def parts(self, own: Mapping[str, float]) -> list[float]:
        """What the amount follows from, in a form that adds up."""
        return [sum([own.get(name, 0.0) for name in self.names])]

    def amount(self, own: Mapping[str, float]) -> float:
        """How much of the quantity some figures are; 0 for none."""
        return self.parts(own)[0]

    def over(self, amounts: Iterable[float]) -> "Heat":
        """The same with its ends, for a drawing whose boxes have these amounts, one or more."""
        return replace(self, most=max(amounts))

    def place(self, amount: float) -> float:
        """Where an amount is on the scale, from 0 to 1."""
        return amount / self.most

    def text(self, amount: float) -> str:
        """An amount with its unit."""
        return f"{amount_text(amount)} {self.unit}".strip()

    @property
    def low(self) -> str:
        """What the pale end of the scale means."""
        return amount_text(self.least)

    @property
    def high(self) -> str:
        """What the strong end of the scale means."""
        return self.text(self.most)

    def summary(self, amounts: Mapping[str, float], names: Mapping[str, str]) -> str:
        """The hottest by name, with their shares: the fewest that hold half, if they are few; else the first.

        Example:
            >>> Heat("size", "bytes", ()).summary({"a": 60.0, "b": 40.0}, {"a": "conv", "b": "linear"})
            'hottest: conv 60%'
        """
        order, whole = sorted(amounts, key=amounts.__getitem__, reverse=True), sum(amounts.values())
        shares = [amounts[box] / whole for box in order]
        count = next((n for n in range(1, FEW + 1) if sum(shares[:n]) >= 0.5), 1)
        alike = shares.count(shares[0])
        named = [f"{names[box]} {share:.0%}" for box, share in zip(order[:count], shares)]
        return f"hottest: {', '.join(named)}" + f", and {alike - count} more like it" * (alike > count)


@dataclass(frozen=True)
class Sizes(Heat):
    """Here the root mean square of many values, on a logarithmic scale.

    `names` are pairs of figures: the sum of the squares, and the number of values. The first pair that a box
    has counts.

    Example:
        >>> heat = Sizes("gradient", "", (("squares", "values"),)).over([1.0, 0.01])
        >>> heat.low, heat.high, heat.place(0.01)
        ('0.0001', '1', 0.5)
    """

    def parts(self, own: Mapping[str, float]) -> list[float]:
        return [own.get(name, 0.0) for pair in self.names for name in pair]

    def amount(self, own: Mapping[str, float]) -> float:
        numbers = iter(self.parts(own))
        return next((math.sqrt(squares / values) for squares, values in zip(numbers, numbers) if values), 0.0)

    def over(self, amounts: Iterable[float]) -> "Heat":
        least, *_, most = sorted([*amounts, max(amounts) / SPAN])
        return replace(self, least=least, most=most)

    def place(self, amount: float) -> float:
        return math.log(amount / self.least) / math.log(self.most / self.least)

    def summary(self, amounts: Mapping[str, float], names: Mapping[str, str]) -> str:
        """The largest and the smallest by name."""
        order = sorted(amounts, key=amounts.__getitem__)
        largest, smallest = (f"{names[box]} {self.text(amounts[box])}" for box in (order[-1], order[0]))
        return f"largest: {largest}; smallest: {smallest} (rms: root mean square of all values)"
