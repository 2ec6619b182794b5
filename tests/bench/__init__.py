"""Our speed and memory beside PyTorch's and other libraries', each figure beside its target.

    python -m tests.bench            everything but Fashion-MNIST: about ten minutes on two cores
    python -m tests.bench lenet      the cases whose name contains "lenet"; or "conv", "training", "peak memory", ..
    python -m tests.bench record     what recording costs, each beside its floor
    python -m tests.bench fashion    Fashion-MNIST, five epochs: some minutes
    make bench PART="peak memory"    the same of a part, with what it needs installed

Written: a table on the screen, runs/bench/bench.csv, and runs/bench/bench.png with the curves (those of a part,
lenet.csv, say, beside them).

Sides are `compiled` (what the library chooses by itself where llvmlite is installed), `numpy` (the NumPy family
of kernels alone), and PyTorch in its better memory format. A side runs for a short block, then the next; the
first calls of a block are not counted, so that the other library's waiting threads have gone to sleep. Times are
medians of blocks. Ratios are medians of the blocks' ratios to PyTorch: below 1.0 we are faster. A case during
which other processes computed is measured once more; if they still did, its rows say how
much, and are not judged.

A reader begins with `cases.py`, where all that is measured is listed beside its target.
"""
