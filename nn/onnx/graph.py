"""An ONNX graph in the making: what the export rules of ops add their nodes to."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

OPSET = 20  # of 2023: the first with Gelu


@dataclass(frozen=True)
class Length:
    """The length of an axis that follows the batch: `times` the number of samples, None if it is no multiple.

    It is no number: a rule that computes with it fails, instead of writing down the length of one batch.
    """

    times: int | None

    def __index__(self) -> int:
        raise TypeError("a length that follows the batch is no number; to.sizes(shape) makes an input of a "
                        "shape that holds one")


class Value(str):
    """The name of a value, with its shape, in which a `Length` may be, and dtype."""

    shape: tuple[Any, ...]
    dtype: np.dtype

    def __new__(cls, name: str, shape: Sequence[Any], dtype: np.dtype) -> "Value":
        value = super().__new__(cls, name)
        value.shape, value.dtype = tuple(shape), dtype
        return value


class Graph:
    """Nodes and constants, in order; called to add a node (see `Primitive.defexport`).

    `scope` begins the names of what is made; `ans` is the result of the call that is being written, or a
    tuple of several; `batch` is an input whose first axis is the batch.
    """

    def __init__(self, library: Any, names: Sequence[str]) -> None:
        self.library = library
        self.taken = set(names)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.domains = {""}
        self.scope = ""
        self.ans: Any = None
        self.batch: Value | None = None

    def fresh(self, name: str) -> str:
        """A name that nothing has yet."""
        candidate, number = name, 0
        while candidate in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add(candidate)
        return candidate

    def constant(self, name: str, array: Any) -> Value:
        """An array, written down under that name."""
        array = np.asarray(array, order="C")
        if array.dtype == object:
            array = array.astype(np.int64)  # which a length refuses
        self.constants.append(self.library.numpy_helper.from_array(array, name))
        return Value(name, array.shape, array.dtype)

    def __call__(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        names = [x if isinstance(x, str) else "" if x is None else
                 self.constant(self.fresh(f"{self.scope}/constant"), x) for x in inputs]
        helper = self.library.helper
        for key, value in attributes.items():
            if isinstance(value, np.dtype):
                attributes[key] = helper.np_dtype_to_tensor_dtype(value)
        name = self.fresh(f"{self.scope}/{operator}")
        made = [self.fresh(f"{name}:{i}") for i in range(outputs)]
        self.domains.add(attributes.get("domain", ""))
        self.nodes.append(helper.make_node(operator, names, made, name, **attributes))
        return made[0] if outputs == 1 else tuple(made)

    def sizes(self, shape: Sequence[Any]) -> Any:
        """A shape as an input of a node: a constant, or computed from the batch if a length follows it."""
        if not any(isinstance(n, Length) for n in shape):
            return np.array(shape, np.int64)
        rows = self("Shape", self.batch, start=0, end=1)
        parts = []
        for n in shape:
            if not isinstance(n, Length):
                parts.append(np.array([n], np.int64))
            elif n.times is None:
                raise ValueError(f"a length in {shape} follows the batch, but is no multiple of it")
            else:
                parts.append(rows if n.times == 1 else self("Mul", rows, np.array([n.times], np.int64)))
        return self("Concat", *parts, axis=0)
