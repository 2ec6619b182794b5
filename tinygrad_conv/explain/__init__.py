"""The conv microscope: for one number of a real convolution, which numbers meet to make it.

    y = conv(x)
    tg.explain.output(y, (0, 3, 2, 5))        # why this output pixel has its value
    tg.explain.input(y, (0, 1, 4, 4), loss)   # which output gradients reach this input pixel
    tg.explain.weight(y, (3, 1, 0, 2), loss)  # all positions that make this weight's gradient
"""
from .call import find
from .explanation import Explanation, input, output, weight

__all__ = ["Explanation", "find", "input", "output", "weight"]
