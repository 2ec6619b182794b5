"""How boxes look: each kind a shape of its own, each mark a colour, a line and a word.

Nothing is shown by colour alone; the colours are Okabe and Ito's, all light enough for black text.
Source: Okabe, Ito, "Color Universal Design", 2008. Imports nothing.
"""
FONT = {"fontname": "Helvetica", "fontsize": "10"}
INK, FAINT = "black", "#777777"

KINDS = {  # attributes of a node in DOT
    "op": {"shape": "box", "style": "rounded,filled", "fillcolor": "#e8f0f8"},
    "parameter": {"shape": "ellipse", "style": "filled", "fillcolor": "#fbf3dc"},
    "input": {"shape": "invhouse", "style": "filled", "fillcolor": "#e3f1ea"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#f4f4f4"},
    "module": {"shape": "box3d", "margin": "0.22,0.1", "style": "filled", "fillcolor": "#e8f0f8"},
}

MARKS = {  # what a mark changes, the most serious first; `style` is added to that of the kind
    "failed": {"fillcolor": "#d55e00", "style": "bold", "penwidth": "3", "peripheries": "2"},
    "nan": {"fillcolor": "#cc79a7", "style": "bold", "penwidth": "2", "peripheries": "2"},
    "exploding": {"fillcolor": "#e69f00", "style": "bold", "penwidth": "3"},
    "vanishing": {"fillcolor": "#56b4e9", "style": "dashed", "penwidth": "2"},
    "no-gradient": {"fillcolor": "#cccccc", "style": "dotted", "penwidth": "2"},
    "hot": {"fillcolor": "#f0e442", "style": "bold", "penwidth": "2"},
}


def attributes(kind: str, mark: str) -> dict[str, str]:
    """Those of a box of this kind under this mark ("" for none).

    Example:
        >>> attributes("op", "vanishing")["style"], attributes("op", "vanishing")["shape"]
        ('rounded,filled,dashed', 'box')
    """
    plain, changes = KINDS[kind], MARKS.get(mark, {})
    style = ",".join(each["style"] for each in (plain, changes) if each)
    return {**plain, **changes, "style": style}


def gravest(marks: set[str]) -> str:
    """The most serious of some marks; one that is not in the table (a user's) comes before "hot" alone.

    Example:
        >>> gravest({"hot", "nan"}), gravest({"mine", "hot"}), gravest({""})
        ('nan', 'mine', '')
    """
    known = [*MARKS]
    return min(filter(None, marks), default="", key=lambda mark: (
        known.index(mark if mark in known else "hot"), mark == "hot", mark))
