"""Where the numbers in kernels/pointwise.py come from: `python tests/fit_erf.py` (needs mpmath).

erfc(x) = exp(-x q(x)) defines q. A rational function P/Q is fitted to q on [0, 6] by least squares
in 60 digits, made linear by multiplying with the last Q and reweighted until the largest error is
least (Lawson's method). The error of q is counted as the relative error of erf that it causes.
"""
from __future__ import annotations

import mpmath as mp

mp.mp.dps = 60


def q(x: mp.mpf) -> mp.mpf:
    """-log(erfc(x)) / x."""
    return -mp.log(mp.erfc(x)) / x


def fit(m: int, n: int, top: int = 6, rounds: int = 14) -> tuple[mp.mpf, list, list]:
    """Coefficients of P (degree m) and Q (degree n, Q(0) = 1), lowest first, and the error."""
    count = 12 * (m + n + 2)
    xs = [mp.mpf(top) / 2 * (1 + mp.cos(mp.pi * (2 * k + 1) / (2 * count))) for k in range(count)]
    fs = [q(x) for x in xs]
    scale = [x / mp.expm1(x * f) for x, f in zip(xs, fs)]      # d(log erf) / dq
    qs, lawson = [mp.mpf(1)] * count, [mp.mpf(1)] * count
    best = (mp.inf, [], [])
    for _ in range(rounds):
        a, b = mp.matrix(count, m + n + 1), mp.matrix(count, 1)
        for i, (x, f) in enumerate(zip(xs, fs)):
            w = scale[i] / abs(qs[i]) * mp.sqrt(lawson[i])
            for j in range(m + 1):
                a[i, j] = w * x**j
            for j in range(1, n + 1):
                a[i, m + j] = -w * f * x**j
            b[i] = w * f
        c = list(mp.lu_solve(a.T * a, a.T * b))
        p_fit, q_fit = c[:m + 1], [mp.mpf(1), *c[m + 1:]]
        qs = [mp.polyval(q_fit[::-1], x) for x in xs]
        errors = [abs(mp.polyval(p_fit[::-1], x) / d - f) * s
                  for x, f, d, s in zip(xs, fs, qs, scale)]
        if max(errors) < best[0]:
            best = (max(errors), p_fit, q_fit)
        mean = sum(errors) / count
        lawson = [w * (e / mean + mp.mpf("0.02")) for w, e in zip(lawson, errors)]
        total = sum(lawson) / count
        lawson = [w / total for w in lawson]
    return best


if __name__ == "__main__":
    for degrees in ((8, 7), (4, 3)):
        error, p_fit, q_fit = fit(*degrees)
        print(f"degrees {degrees}, largest relative error of erf {mp.nstr(error, 4)}")
        print("P", ", ".join(mp.nstr(c, 19) for c in p_fit))
        print("Q", ", ".join(mp.nstr(c, 19) for c in q_fit))
