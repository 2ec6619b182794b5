"""Trees: lists, tuples and dictionaries of tensors, nested, as the arguments and results of functions.

`None` is a tree without leaves. A list or tuple of plain numbers is no tree, but one array, as elsewhere.
"""
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from .tensor import Tensor


def _keys(container: Any) -> Sequence[Any] | None:
    if container is None:
        return ()
    if isinstance(container, dict):
        return [*container]
    return range(len(container)) if isinstance(container, list | tuple) else None


def is_tree(value: Any) -> bool:
    """Whether it is a container whose parts are leaves or trees, not a leaf itself."""
    if not isinstance(value, list | tuple):
        return value is None or isinstance(value, dict)
    return not value or any([isinstance(part, Tensor | np.ndarray) or is_tree(part) for part in value])


def matched(tree: Any, other: Any, what: str) -> list[Any]:
    """The leaves of `other`, in the order of those of `tree`; None stands for all of its place.

    Raises:
        TypeError: if `other` has another structure; `what` says what it is.

    Example:
        >>> import tinygrad_conv as tg
        >>> matched({"w": tg.ones(2), "b": [tg.ones(1)]}, {"b": [3], "w": 4}, "tangent")
        [4, 3]
    """
    if not is_tree(tree):
        return [other]
    keys, theirs = _keys(tree), _keys(other)
    if other is None and tree is not None:
        return [None] * len(leaves(tree))
    if theirs is None or {*theirs} != {*keys}:  # type: ignore[misc]
        wanted = f"keys {keys}" if isinstance(tree, dict) else f"{len(keys)} parts"  # type: ignore[arg-type]
        got = f"keys {theirs}" if isinstance(other, dict) else (
            type(other).__name__ if theirs is None else f"{len(theirs)} parts")
        raise TypeError(f"{what}: must have the structure of what it belongs to, expects {wanted}, got {got}")
    return [leaf for key in keys for leaf in matched(tree[key], other[key], f"{what}[{key!r}]")]


def leaves(tree: Any) -> list[Any]:
    """What is in a tree, in order.

    Example:
        >>> leaves([{"w": 1.0, "b": 2.0}, None, [1.0, 2.0]])
        [1.0, 2.0, [1.0, 2.0]]
    """
    return matched(tree, tree, "tree")


def rebuilt(tree: Any, values: Iterable[Any]) -> Any:
    """The same structure with other leaves.

    Example:
        >>> rebuilt({"w": 1.0, "b": (2.0, None, {})}, "xy")
        {'w': 'x', 'b': ('y', None, {})}
    """
    return _built(tree, iter(values))


def _built(tree: Any, left: Iterator[Any]) -> Any:
    if tree is None:
        return None
    if not is_tree(tree):
        return next(left)
    if isinstance(tree, dict):
        return {key: _built(part, left) for key, part in tree.items()}
    parts = [_built(part, left) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
