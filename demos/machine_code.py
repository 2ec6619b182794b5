"""Shows the machine code of a convolution: loops, LLVM's text, the CPU's instructions, and its speed.

    python -m demos.machine_code --channels 6 --filters 16 --kernel 5
    python -m demos.machine_code --operation weight_adjoint --show nest
"""
from __future__ import annotations

import argparse
import statistics
import timeit
from collections.abc import Callable

import numpy as np

import tinygrad_conv as tg
from demos.program import parser, plainly, whole
from tinygrad_conv.kernels.geometry import Geometry, conv_geometry
from tinygrad_conv.kernels.table import run

TITLES = {"nest": "the loops as Python writes them (kernels/compiled/), and what each iteration does",
          "hot": "the CPU's instructions where most multiply-adds are",
          "ir": "LLVM's text", "assembly": "all of the CPU's instructions"}
OPERATIONS = ("conv2d", "input_adjoint", "weight_adjoint")


def arguments() -> argparse.Namespace:
    takes = parser(__doc__)
    for name, default, meaning in (
            ("batch", 64, "images"), ("channels", 32, "of an image"), ("size", 14, "of an image, square"),
            ("filters", 64, "the output's channels"), ("kernel", 3, "the filters' size, square"),
            ("stride", 1, ""), ("dilation", 1, ""), ("groups", 1, "")):
        takes.add_argument(f"--{name}", type=whole(1), default=default, help=f"{meaning} (default {default})")
    takes.add_argument("--padding", type=whole(0), help="default: half the kernel")
    takes.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    takes.add_argument("--operation", choices=OPERATIONS, default="conv2d")
    takes.add_argument("--show", nargs="+", choices=[*TITLES], default=["nest", "hot"],
                       help="; ".join(f"{kind}: {title}" for kind, title in TITLES.items()))
    return takes.parse_args()


def operands(given: argparse.Namespace) -> tuple[tuple, Geometry, float]:
    """The operation's arrays and geometry, and its multiply-adds."""
    k, c, o = given.kernel, given.channels, given.filters
    if c % given.groups or o % given.groups:
        raise ValueError(f"channels ({c}) and filters ({o}) must be divisible by groups, {given.groups}")
    padding = k // 2 if given.padding is None else given.padding
    geometry = conv_geometry("conv2d", (given.size, given.size), (k, k), given.stride, padding,
                             given.dilation, given.groups)
    rng = np.random.default_rng(0)

    def images(channels: int, size: tuple[int, ...]) -> np.ndarray:
        values = rng.standard_normal((given.batch, *size, channels)).astype(given.dtype)
        return values.transpose(0, 3, 1, 2)  # channels last in memory, as the kernels leave them
    x, g = images(c, geometry.size), images(o, geometry.out)
    w = rng.standard_normal((o, c // given.groups, k, k)).astype(given.dtype)
    arrays = {"conv2d": (x, w, None), "input_adjoint": (g, w, None), "weight_adjoint": (g, x)}
    return arrays[given.operation], geometry, float(g.size * w[0].size)


def median(call: Callable[[], object]) -> float:
    """Seconds of a call."""
    timer = timeit.Timer(call)
    timer.timeit(2)
    return statistics.median(timer.repeat(15, 1))


@plainly()
def main() -> None:
    given = arguments()
    try:
        import llvmlite.binding  # noqa: F401
        from tinygrad_conv.kernels.compiled import anatomy
        arrays, geometry, products = operands(given)
    except ImportError:
        raise SystemExit("machine code needs llvmlite; install the extra: pip install '.[fast]'") from None
    except ValueError as e:
        raise SystemExit(e) from None
    call = (given.operation, *arrays, geometry)
    shapes = " and ".join("x".join(map(str, a.shape)) for a in arrays if a is not None)
    parts, peaks, times = anatomy.kernels_of(*call), [anatomy.peak(given.dtype)], {}
    for family in ("compiled", "numpy"):
        with tg.use_kernels(family):
            times[family] = median(lambda: run(*call))
        peaks.append(anatomy.peak(given.dtype))  # again: other programs may have had a core
    most = max(peaks)
    print(f"{given.operation} of {shapes}, {geometry.label()}: {products / 1e6:.1f} million multiply-adds")
    for family, seconds in times.items():
        rate = 2 * products / seconds
        print(f"  {family:9}{1e3 * seconds:9.3f} ms {rate / 1e9:9.1f} GFLOP/s {rate / most:7.0%} of "
              f"the {most / 1e9:.0f} that {tg.get_num_threads()} threads can do here")
    print(f"Its kernels: {', '.join(name for name, _ in parts)}")
    if "forward" in dict(parts) or "adjoint" in dict(parts):
        print("(by Winograd's method, with 16 multiply-adds where the definition, counted above, has "
              "36:\nmore than 100% is possible)")
    for name, code in parts:
        texts = {"nest": anatomy.nest(code), "hot": anatomy.hottest(anatomy.assembly(code)),
                 "ir": code.text(name), "assembly": anatomy.assembly(code)}
        for kind in given.show:
            if texts[kind]:
                print(f"\n----- {name}, {TITLES[kind]}\n{texts[kind]}")


if __name__ == "__main__":
    main()
