"""The general equations of question 5: as text, the way to them, and taken literally as code."""
from __future__ import annotations

import itertools

import numpy as np

FORMULAS = (
    "dX[n,u,m,q] = Σ<sub>k,a,b</sub> δ[n,k,(m+p−a·d)/s,(q+p−b·d)/s] · W[k,u,a,b]",
    "dW[k,u,a,b] = Σ<sub>n,i,j</sub> δ[n,k,i,j] · X[n,u,i·s+a·d−p,j·s+b·d−p]",
    "db[k] = Σ<sub>n,i,j</sub> δ[n,k,i,j]",
)

STEPS = (
    "The definition. n is the sample, k the filter, (i,j) the place in the output, u the channel, (a,b) "
    "the tap; X is 0 outside its range:<br>"
    "Y[n,k,i,j] = bias[k] + Σ<sub>u,a,b</sub> W[k,u,a,b] · X[n,u,i·s+a·d−p,j·s+b·d−p].",
    "The loss L depends on X, W and the bias through Y only. With δ = dL/dY the chain rule gives, for "
    "any number v among them,<br>dL/dv = Σ<sub>n,k,i,j</sub> δ[n,k,i,j] · dY[n,k,i,j]/dv.",
    "Let v be X[n,u,m,q]. Only outputs of the same sample n contain it: in Y[n,k,i,j] it is multiplied by "
    "the weight of the tap that lands on it, if one does. With […] = 1 where true, else 0:<br>"
    "dY[n,k,i,j]/dX[n,u,m,q] = Σ<sub>a,b</sub> W[k,u,a,b] · [i·s+a·d−p = m] · [j·s+b·d−p = q].",
    "Substitute 3 into 2. For a fixed tap the brackets leave at most one i and one j of the two sums: the "
    "solution i = (m+p−a·d)/s, j = (q+p−b·d)/s, provided that they are integers and in "
    "range, 0&nbsp;≤&nbsp;i&nbsp;&lt;&nbsp;OH and 0&nbsp;≤&nbsp;j&nbsp;&lt;&nbsp;OW. What is left is the "
    "sum over k, a, b: the equation for dX. No sum over u, since u is given; a sum over k, since every "
    "filter reads this pixel.",
    "Let v be W[k,u,a,b]. It appears in Y[n,k,i,j] exactly once, for every sample and place, and in no "
    "other filter's output:<br>dY[n,k′,i,j]/dW[k,u,a,b] = [k′ = k] · X[n,u,i·s+a·d−p,j·s+b·d−p].",
    "Substitute 5 into 2. The bracket removes the sum over filters; n, i, j stay. There is nothing to solve, "
    "so there is no division: the equation for dW. A term whose X lies in the padding is 0.",
    "Let v be bias[k]. It appears in Y[n,k,i,j] with factor 1: the equation for db.",
    "With groups, filter k reads the channels of its own group only. All sums stay; in dX, k runs over "
    "the filters of the group that u belongs to.",
)

WHERE = (
    ("stride s", "windows start s apart", "for each tap, only every s-th place has an integer i",
     "taps of δ lie s apart"),
    ("dilation d", "taps lie d apart", "taps lie d apart, backwards", "the window moves by d"),
    ("padding p", "shifts by −p", "shifts by +p", "shifts by −p; terms outside are 0"),
    ("depth, channels u", "summed", "one plane each", "one plane each"),
    ("filters k", "one plane each", "summed", "one kernel each"),
    ("samples n", "one each", "one each", "summed"),
)


def literal(x: np.ndarray, w: np.ndarray, delta: np.ndarray, s: int, p: int, d: int,
            groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dX, dW, db exactly as the equations read; filter k sees the channels of its group only.

    x (N, C, H, W), w (K, C/groups, KH, KW), delta (N, K, OH, OW).
    """
    (samples, _, height, width), (filters, depth, _, _) = x.shape, w.shape
    rows, columns = delta.shape[2:]
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for k, u, a, b in np.ndindex(*w.shape):
        c = k // (filters // groups) * depth + u
        for n, m, q in itertools.product(range(samples), range(height), range(width)):
            (i, i_left), (j, j_left) = divmod(m + p - a * d, s), divmod(q + p - b * d, s)
            if i_left == 0 == j_left and 0 <= i < rows and 0 <= j < columns:
                dx[n, c, m, q] += delta[n, k, i, j] * w[k, u, a, b]
        for n, i, j in itertools.product(range(samples), range(rows), range(columns)):
            m, q = i * s + a * d - p, j * s + b * d - p
            if 0 <= m < height and 0 <= q < width:
                dw[k, u, a, b] += delta[n, k, i, j] * x[n, c, m, q]
    return dx, dw, delta.sum(axis=(0, 2, 3))
