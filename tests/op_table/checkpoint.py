"""The row of a checkpoint: calls without their values, here those of one small function."""
from __future__ import annotations

import numpy as np

import tinygrad_conv as tg
from tests.op_table.row import Row
from tinygrad_conv.checkpoint import _checkpoint


def checkpoint_samples(rng):
    leaves = [tg.tensor(rng.standard_normal(shape), requires_grad=True) for shape in ((3, 4), (4,))]
    node = tg.checkpoint(lambda x, w: tg.tanh(x * w) * x, *leaves).node
    yield tuple(np.array(t.data) for t in node.inputs), node.params


ROWS = [Row(_checkpoint, lambda rng: list(checkpoint_samples(rng)), lambda x, w, *, calls: np.tanh(x * w) * x,
            order=3)]
