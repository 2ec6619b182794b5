"""Elementwise kernels that NumPy lacks, or has only slow ones of: choosing by a mask, sigmoid, erf.

Arrays in, arrays out, any strides; the output keeps the input's memory layout (K order).
"""
import numpy as np

from .table import register

CHUNK = 1 << 14  # elements worked on at a time, with temporaries, in the L2 cache

# erfc(x) = exp(-x q(x)) defines q, smooth and positive on [0, 6]; erf(x) = -expm1(-x q(x)) then has
# full relative accuracy everywhere, without branches. q = P/Q, fitted in 60 digits so that the
# largest relative error of erf is least (tests/fit_erf.py prints these numbers again). All terms
# are positive, nothing cancels. Degrees 8/7: 1.8e-18; degrees 4/3: 2.2e-10, enough for float32.
ERF_P = (1.128379167095512572, 2.522238641954852837, 2.668213022133686344, 1.712817462329736701,
         0.7195806304520153668, 0.1996150909240416367, 0.03491935641277984549,
         0.003362942672068257184, 0.0001181615593518605779)
ERF_Q = (1.0, 1.67108621337003207, 1.330752940019895613, 0.631897872530021493,
         0.1885106457290158762, 0.03436106555695956709, 0.00336050275601994241,
         0.0001181826033486950578)
ERF_P_SINGLE = (1.128379167340736993, 1.517491557300530351, 0.9142865025337489851,
                0.2805905771885549905, 0.03723703712421987768)
ERF_Q_SINGLE = (1.0, 0.7806523203700995122, 0.2787490464576962192, 0.03725374312114128787)


def keep(mask: np.ndarray, x: np.ndarray) -> np.ndarray:
    """x where the mask is true, else 0 (also for infinite and nan x).

    Multiplies the bits, as integers, by 0 or 1: several times faster than `np.where`, whose
    branch on each element is mispredicted.
    """
    bits = f"i{x.itemsize}"
    return np.multiply(mask, x.view(bits), dtype=bits).view(x.dtype)


def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0); nan stays nan. `clip` is faster than `np.maximum`."""
    return x.clip(0, np.inf if x.dtype.kind == "f" else None)


def relu_vjp(g: np.ndarray, ans: np.ndarray) -> np.ndarray:
    """g where ans > 0 (or nan), else 0."""
    return keep(np.logical_not(np.less_equal(ans, 0)), g)


def leaky_relu(x: np.ndarray, slope: float) -> np.ndarray:
    """x where x > 0, else slope x."""
    if 0 < slope <= 1:
        return np.maximum(x, x * slope)
    return np.where(x > 0, x, x * slope)


def leaky_relu_vjp(g: np.ndarray, x: np.ndarray, slope: float) -> np.ndarray:
    """g where x > 0, else slope g."""
    return np.where(x > 0, g, g * slope)


def hardtanh_vjp(g: np.ndarray, x: np.ndarray, least: float, most: float) -> np.ndarray:
    """g where least < x < most (or x is nan), else 0."""
    return keep(np.logical_not((x <= least) | (x >= most)), g)




def choose(mask: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """`np.where` for two float arrays of one dtype, without branches: y ^ ((x ^ y) * mask)."""
    bits = f"i{x.itemsize}"
    y = y.view(bits)
    out = np.multiply(np.bitwise_xor(x.view(bits), y), mask, dtype=bits)
    return np.bitwise_xor(out, y, out=out if out.ndim else None).view(x.dtype)


def floating(x: np.ndarray) -> np.ndarray:
    """x itself if floating point, else as float64, which the engine narrows to float32; NumPy
    itself would take float16 for 8 bits."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)); where exp overflows the quotient is 0, as it should be."""
    out = np.array(floating(x))  # dense, to work on in place
    with np.errstate(over="ignore"):
        np.exp(np.negative(out, out=out), out=out)
    out += 1
    return np.reciprocal(out, out=out)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)), which cannot overflow."""
    out = np.array(floating(x))
    np.abs(out, out=out)
    np.exp(np.negative(out, out=out), out=out)
    np.log1p(out, out=out)
    return np.add(out, np.maximum(x, 0), out=out)


def _horner(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    out = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        out *= x
        out += c
    return out


def erf(x: np.ndarray) -> np.ndarray:
    """The error function: relative error below 5e-16 in float64, 3e-7 in float32."""
    out = np.array(floating(x))
    flat = out.ravel(order="K")
    p, q = (ERF_P, ERF_Q) if out.dtype == np.float64 else (ERF_P_SINGLE, ERF_Q_SINGLE)
    bits = np.dtype(f"i{out.itemsize}")
    for i in range(0, flat.size, CHUNK):
        part = flat[i:i + CHUNK]
        a = np.minimum(np.abs(part), 6.0)  # erf(6) rounds to 1; nan stays nan
        xq = _horner(p, a)
        xq *= a
        xq /= _horner(q, a)
        y = np.expm1(np.negative(xq, out=xq), out=xq)  # -erf(|x|): its sign bit is always set
        sign = part.view(bits)
        np.bitwise_or(sign, np.iinfo(bits).max, out=sign)
        np.bitwise_and(sign, y.view(bits), out=sign)  # keep y's sign bit where x is negative
    return out


for operation, function in (("relu", relu), ("relu_vjp", relu_vjp), ("leaky_relu", leaky_relu),
                            ("leaky_relu_vjp", leaky_relu_vjp), ("hardtanh", np.clip),
                            ("hardtanh_vjp", hardtanh_vjp), ("sigmoid", sigmoid)):
    register("numpy", operation, function)
