"""A frame for each call of a module: an activation used twice in a block is drawn twice.

Otherwise one frame would reach around what lies between the two calls, and the collapsed module
would seem to get its own output: a loop where there is none. May import graph and tape.
"""
from __future__ import annotations

from dataclasses import replace

from .graph import Graph, Path, Scope, backwards, common
from ..tape import Entry


def calls_apart(graph: Graph) -> Graph:
    """The graph with calls of one module that are apart on the tape in frames of their own.

    The second call's frame is "relu#2", and so is its backward's, though that comes first; a backward
    of a backward is not numbered. Leaves belong to the first call. A list of modules, which is never
    called itself, remains one frame.

    Example:
        >>> import tinygrad_conv as tg
        >>> y = tg.ones(3, requires_grad=True)
        >>> for f in (tg.exp, tg.neg, tg.exp):
        ...     with tg.scope("a" if f is tg.exp else "b"):
        ...         y = f(y)
        >>> [".".join(path) for path in calls_apart(tg.graph(y)).scopes]
        ['a', 'b', 'a#2']
    """
    counts: dict[Path, int] = {}
    scopes: dict[Path, Scope] = {}
    before: Path = ()
    now: list[str] = []  # the names of `before`, each with its number
    boxes = []
    for box in graph.boxes:
        source = graph.sources.get(box.id)
        path = box.scope
        if isinstance(source, Entry):
            names = source.node.scope
            same = common(before, names)
            del now[same:]
            for name in names[same:]:
                number = _number(counts, (*now, name))
                now.append(f"{name}#{number}" if number > 1 else name)
            before, path = names, tuple(".".join(now).split(".")) if now else ()
        for depth in range(1, len(path) + 1):
            if path[:depth] not in scopes:
                scopes[path[:depth]] = replace(graph.scopes[box.scope[:depth]], path=path[:depth])
        boxes.append(replace(box, scope=path) if path != box.scope else box)
    return replace(graph, boxes=tuple(boxes), scopes=scopes)


def _number(counts: dict[Path, int], path: Path) -> int:
    """Which call of its module a new frame is; `counts` are those so far."""
    level = backwards(path)
    count = counts[path] = counts.get(path, 0) + 1
    if level == 0:
        return count
    return counts.get(path[1:], 0) + 1 - count if level == 1 else 1
