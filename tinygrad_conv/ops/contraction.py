"""einsum: any sum of products, its axes named by letters; its derivative is one too.

The primitive sees only letters; ellipses and implicit outputs are written out first. Imports
core, primitive, arguments and shape.
"""
from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from ..core import Tensor, share
from ..kernels.parallel import split
from ..primitive import primitive
from ..operands import as_tensor
from .shape import broadcast_to, reshape


@primitive
def _einsum(*xs, subscripts):
    # BLAS threads that wait for a busy core would make hundreds of times slower
    return split(1, False, lambda lo, hi: np.einsum(subscripts, *xs, optimize=len(xs) > 1))[0]


def _einsum_vjp(i, g, ans, *xs, subscripts):
    """g with the other operands, keeping the labels of operand i.

    A label that i repeats (a diagonal) gets a new name at its second place and an identity matrix
    that ties the two; one that no other term has was summed out of i alone: g is repeated along it.
    """
    terms, out = _terms(subscripts)
    sizes = _sizes(terms, xs)
    own, names, operands = "", [out], [g]
    for j, x in enumerate(xs):
        if j != i:
            names.append(terms[j])
            operands.append(x)
    unused = iter(k for k in string.ascii_letters if k not in sizes)
    for k in terms[i]:
        tied = next(unused) if k in own else ""
        own += tied or k
        if tied:
            names.append(k + tied)
            operands.append(share(np.eye(sizes[k], dtype=xs[i].dtype)))
    found = {k for labels, x in zip(names, operands) for k, n in zip(labels, x.shape)
             if n == sizes.get(k, n)}
    kept = "".join(k for k in own if k in found)
    gx = _einsum(*operands, subscripts=f"{','.join(names)}->{kept}")
    if kept == own:
        return gx
    lengths = iter(gx.shape)
    gx = reshape(gx, tuple(next(lengths) if k in found else 1 for k in own))
    return broadcast_to(gx, tuple(n if k in found else m
                                  for k, n, m in zip(own, gx.shape, xs[i].shape)))


_einsum.defvjp_variadic(_einsum_vjp)


def _einsum_cost(out, *shapes, subscripts):
    """Pair by pair as NumPy contracts them: the product of the lengths of all labels of a pair."""
    blanks = [np.broadcast_to(np.float32(0), shape) for shape in shapes]
    names, kept = _terms(subscripts)
    sizes, terms, count = _sizes(names, blanks), [set(labels) for labels in names], 0
    for picked in np.einsum_path(subscripts, *blanks, optimize="greedy")[0][1:]:
        met = [terms.pop(i) for i in sorted(picked, reverse=True)]
        labels = set().union(*met)
        count += math.prod(sizes[k] for k in labels) * (len(met) > 1)
        terms.append(labels & set(kept).union(*terms))
    return count


_einsum.defcost(_einsum_cost)


def _terms(subscripts: str) -> tuple[list[str], str]:
    left, out = subscripts.split("->")
    return left.split(","), out


def _sizes(terms: list[str], xs: Any) -> dict[str, int]:
    """The length of each label; 1 broadcasts to any other."""
    sizes: dict[str, int] = {}
    for labels, x in zip(terms, xs):
        for k, n in zip(labels, x.shape):
            if sizes.get(k, 1) == 1:
                sizes[k] = n
    return sizes


def einsum(subscripts: str, *operands: Any) -> Tensor:
    """Einstein's summation: labels that the output does not name are summed over.

    Args:
        subscripts: as for `np.einsum`: "ij,jk->ik", implicit output "ij,jk", diagonals "ii->i",
            "...ij,...jk->...ik". Letters only, at most 52.
        operands: tensors, arrays or numbers, one per term.

    Raises:
        ValueError: if labels and shapes do not fit; names the label or term, and the shapes.

    Example:
        >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).data.tolist()
        [3.0, 7.0]
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {type(subscripts).__name__}")
    xs = [x if isinstance(x, int | float) else as_tensor(x, "einsum") for x in operands]
    terms, out = _explicit(subscripts, [getattr(x, "shape", ()) for x in xs])
    return _einsum(*xs, subscripts=f"{','.join(terms)}->{out}")


def _explicit(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """Terms and output in letters only: ellipses named, an implicit output written out."""
    def refuse(why: str) -> ValueError:
        return ValueError(f"einsum: {subscripts!r} {why} (operand shapes {shapes})")

    left, arrow, out = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise refuse(f"has {len(terms)} terms for {len(shapes)} operands")
    named = [len(t.replace("...", "")) for t in terms]
    depth = max([len(s) - n for t, s, n in zip(terms, shapes, named) if "..." in t], default=0)
    fresh = [k for k in string.ascii_letters if k not in subscripts]
    if depth > len(fresh):
        raise refuse("needs more than the 52 letters")
    dots = "".join(fresh[:max(depth, 0)])
    for i, (t, s, n) in enumerate(zip(terms, shapes, named)):
        if len(s) != n if "..." not in t else len(s) < n:
            raise refuse(f"labels {n} axes of operand {i}, which has {len(s)}")
        terms[i] = t.replace("...", dots[len(dots) - (len(s) - n):])
    if arrow:
        out = out.replace("...", dots)
    else:
        once = {k for k in left if k.isalpha() and left.count(k) == 1}
        out = dots + "".join(sorted(once))
    _check_labels(terms, out, shapes, refuse)
    return terms, out


def _check_labels(terms: list[str], out: str, shapes: list[tuple[int, ...]], refuse: Any) -> None:
    lengths: dict[str, int] = {}
    for labels, s in zip(terms, shapes):
        for k, n in zip(labels, s):
            if k not in string.ascii_letters:
                raise refuse(f"has the label {k!r}, labels are letters")
            known = lengths.setdefault(k, n)
            if known != n and 1 not in (known, n):
                raise refuse(f"gives label {k!r} the lengths {known} and {n}")
            if any(j == k and m != n for j, m in zip(labels, s)):
                raise refuse(f"takes the diagonal {k!r} of axes that differ")
            lengths[k] = n if known == 1 else known
    for k in out:
        if k not in lengths or out.count(k) > 1:
            what = "twice in the output" if k in lengths else "in the output only"
            raise refuse(f"has the label {k!r} {what}")
