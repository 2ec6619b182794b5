"""A model as an ONNX file: one forward pass, whose tape is written down call by call.

How a call is written is said by its op (`Primitive.defexport`). A second pass, of a batch of another size and
other numbers, tells what follows the batch, and finds what would be written down as if it were constant: values
computed from the input which are not on the tape, like those of comparisons.
"""
import inspect
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module, evaluating, joined, tensors_in
from .graph import OPSET, Graph, Length, Value


def export(model: Module, x: Any, path: str | os.PathLike[str], *, batch: str | None = "batch") -> None:
    """Write a model, in evaluation mode, to an ONNX file that other programs can run.

    The model runs twice, on x and on a batch of other size and numbers, and is left as it was. Parameters keep
    their names in `state_dict()`; the first axis of each input and output is symbolic: any number of samples
    will do. Other lengths are those of x. Batch norm is one node.

    Args:
        model: a module; it may return tuples, lists or dictionaries of tensors.
        x: what to call it with: an array or tensor of floats whose first axis is the batch, or a shape such as
            (1, 1, 28, 28); for several inputs, a tuple of these.
        path: the file; missing folders are made. It is the old one or the new one, never half of it.
        batch: the name of the batch axis; None writes down that of x, for models that need one of this size.

    Raises:
        ModuleNotFoundError: without the package onnx, `pip install 'tinygrad_conv[onnx]'`.
        NotImplementedError: naming every op on the way that has no export rule.
        ValueError: if what the model computes depends on its input in a way that the tape does not show, or on
            the number of samples in a way that ONNX cannot say.
        TypeError: if an input is not floating point.
        RuntimeError: inside `tg.no_grad()`, where nothing is recorded.

    Example:
        >>> import nn, tempfile, pathlib
        >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.onnx.export(net, (1, 1, 28, 28), folder + "/net.onnx")
        ...     [file.name for file in pathlib.Path(folder).iterdir()]
        ['net.onnx']
    """
    tg.arguments.instance(model, Module, "onnx.export", "a module, its input and a path")
    tg.arguments.instance(path, str | os.PathLike, "onnx.export", "the path of a file third")
    if batch is not None:
        tg.arguments.instance(batch, str, "onnx.export", "batch to be a name or None")
    if not tg.is_recording():
        raise RuntimeError("onnx.export: nothing is recorded inside no_grad(), and the calls are read off the "
                           "record; call it outside")
    try:
        import onnx
    except ImportError as e:
        raise ModuleNotFoundError(f"onnx.export: needs the package onnx ({e}); pip install "
                                  f"'tinygrad_conv[onnx]'", name="onnx") from None
    inputs = _inputs(x, batch)
    written = _Export(onnx, model, _Pass(model, inputs), _Pass(model, _others(inputs, batch)), batch).model()
    try:
        onnx.checker.check_model(written, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise ValueError(f"onnx.export: an export rule made a graph that is not valid: {e}") from None
    tg.write_atomically(path, written.SerializeToString())


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(map(tg.arguments.is_whole, x))


def _inputs(x: Any, batch: str | None) -> list[tg.Tensor]:
    """Tensors of their own, that are recorded."""
    given = list(x) if isinstance(x, tuple) and not _is_shape(x) else [x]
    tensors = [tg.zeros(t) if _is_shape(t) else tg.tensor(t) for t in given]
    for t in tensors:
        if t.dtype.kind != "f":
            raise TypeError(f"onnx.export: inputs must be floating point, or nothing of what is done with them is "
                            f"recorded, got {t.dtype}")
        t.requires_grad = True
    if batch is not None and (not all(t.ndim for t in tensors) or len({t.shape[0] for t in tensors}) != 1):
        raise ValueError(f"onnx.export: the first axis of each input is the batch, got the shapes "
                         f"{', '.join(str(t.shape) for t in tensors)}; batch=None takes lengths as they are")
    return tensors


def _others(inputs: list[tg.Tensor], batch: str | None) -> list[tg.Tensor]:
    """As many numbers like these, and one sample more."""
    rng, made = np.random.default_rng(0), []
    for t in inputs:
        values = t.detach().numpy()
        shape = values.shape if batch is None else (len(values) + 1, *values.shape[1:])
        spread = np.std(values) if values.size else 0.0
        made.append(tg.tensor((rng.standard_normal(shape) * (spread or 1.0)).astype(t.dtype), requires_grad=True))
    return made


class _Pass:
    """One forward pass: its inputs, its outputs, and the calls in between, oldest first."""

    def __init__(self, model: Module, inputs: list[tg.Tensor]) -> None:
        self.inputs = inputs
        with evaluating(model), np.errstate(all="ignore"):
            y = model(*inputs)
        self.outputs = [*tensors_in(y)]
        if not self.outputs:
            raise TypeError(f"onnx.export: {type(model).__name__} returned {type(y).__name__} and no tensor")
        entries = {e.node.order: e for t in self.outputs for e in tg.tape(t)}
        self.entries = [entry for _, entry in sorted(entries.items())]
        self.numbers = {entry.node.order: i for i, entry in enumerate(self.entries)}

    def source(self, t: Any) -> Any:
        """What a tensor is, in terms that two passes share: an output of a call, an input, or None for a leaf."""
        if t.node is not None:
            return self.numbers[t.node.order], t.index
        return next((i for i, x in enumerate(self.inputs) if x is t), None)


class _Export:
    """The graph of two passes that went the same way."""

    def __init__(self, library: Any, model: Module, first: _Pass, second: _Pass, batch: str | None) -> None:
        self.library, self.first, self.second, self.batch = library, first, second, batch
        self.rows = [p.inputs[0].shape[:1] for p in (first, second)]
        self.state = {name: t.detach() for name, t in model._state().items()}
        self.named = {id(t): name for name, t in reversed(model._state().items())}
        self.paths = {m._frame: path for path, m in model.named_modules()}
        self.title = type(model).__name__
        self.graph = Graph(library, [*self.state])
        self.values: dict[Any, Value] = {}  # by what `_Pass.source` says, and of leaves by identity
        self.where = "the result"
        words = [p.name for p in inspect.signature(model.forward).parameters.values()
                 if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        words += [f"x{i}" for i in range(len(words), len(first.inputs))]
        for i, (x, z, word) in enumerate(zip(first.inputs, second.inputs, words)):
            self.values[i] = Value(self.graph.fresh(word), self._both(x.shape, z.shape, "shape"), x.dtype)
        self.graph.batch = self.values[0]

    def model(self) -> Any:
        """The whole file."""
        self._check_rules()
        pairs = [*zip(self.first.entries, self.second.entries)]
        if len(self.first.entries) != len(self.second.entries) or any(
                a.node.primitive is not b.node.primitive or len(a.node.inputs) != len(b.node.inputs)
                for a, b in pairs) or len(self.first.outputs) != len(self.second.outputs):
            raise ValueError("onnx.export: the model calls other ops for another batch, of other size and numbers; "
                             "a graph says one way only")
        for number, (a, b) in enumerate(pairs):
            self._call(number, a, b)
        self.graph.scope, self.where = "", "the result"
        several = len(self.first.outputs) > 1
        outputs = []
        for i, (y, z) in enumerate(zip(self.first.outputs, self.second.outputs)):
            value, name = self._value(y, z), self.graph.fresh(f"output_{i}" if several else "output")
            self.graph.nodes.append(self.library.helper.make_node("Identity", [value], [name]))
            outputs.append(Value(name, value.shape, value.dtype))
        inputs = [self.values[i] for i in range(len(self.first.inputs))]
        helper = self.library.helper
        graph = helper.make_graph(self.graph.nodes, self.title, [*map(self._info, inputs)],
                                  [*map(self._info, outputs)], self.graph.constants)
        opsets = [helper.make_opsetid(domain, OPSET if domain == "" else 1) for domain in
                  sorted(self.graph.domains)]
        return helper.make_model(graph, opset_imports=opsets, producer_name="tinygrad_conv",
                                 producer_version=tg.__version__,
                                 ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True))

    def _info(self, value: Value) -> Any:
        words = [n if not isinstance(n, Length) else None if n.times is None else
                 self.batch if n.times == 1 else f"{n.times}*{self.batch}" for n in value.shape]
        helper = self.library.helper
        return helper.make_tensor_value_info(value, helper.np_dtype_to_tensor_dtype(value.dtype), words)

    def _check_rules(self) -> None:
        missing = {}
        for entry in self.first.entries:
            if entry.node.primitive.export is None:
                missing.setdefault(entry.node.primitive.name, self._place(entry.node))
        if missing:
            found = ", ".join(f"{name} ({where})" for name, where in missing.items())
            name = next(iter(missing))
            raise NotImplementedError(f"onnx.export: there is no export rule for {found}; give an op one with "
                                      f"{name}.defexport(rule), the name of an ONNX operator or a function")

    def _path(self, node: Any) -> str:
        """The path of the module that made the call."""
        return next((self.paths[call.module] for call in reversed(node.calls) if call.module in self.paths), "")

    def _place(self, node: Any) -> str:
        file, line = node.where
        path = self._path(node)
        return f"in {path}, {file}:{line}" if path else f"{file}:{line}"

    def _call(self, number: int, a: Any, b: Any) -> None:
        """Write one call."""
        node, op = a.node, a.node.primitive
        self.where = f"{op.name}, called {self._place(node)}"
        params = {key: self._both(node.params[key], b.node.params.get(key), f"parameter {key!r}")
                  for key in node.params}
        inputs = [self._value(x, z, self._path(node)) for x, z in zip(node.inputs, b.node.inputs)]
        answers = [Value("", self._both(y.shape, z.shape, "shape"), y.dtype)
                   for y, z in zip(a.outputs, b.outputs)]
        graph = self.graph
        graph.scope = "/" + "/".join([*self._path(node).split(".")] * bool(self._path(node)) + [op.name])
        graph.ans = answers[0] if node.values is None else tuple(answers)
        inputs = [*self._of_one_dtype(inputs, answers[0].dtype, op.broadcasts)]
        try:
            made = graph(op.export, *inputs) if isinstance(op.export, str) else op.export(graph, *inputs, **params)
        except Exception as e:
            e.add_note(f"in the export rule of {self.where}")
            raise
        for i, name in enumerate(made if isinstance(made, tuple) else (made,)):
            self.values[number, i] = Value(name, answers[i].shape, answers[i].dtype)

    def _of_one_dtype(self, inputs: list[Value], dtype: np.dtype, broadcasts: bool) -> Iterator[Value]:
        """ONNX mixes no dtypes: of several inputs, floats (and beside them whole numbers) as wide as the result."""
        for value in inputs:
            kinds = "fiu" if broadcasts else "f"
            if len(inputs) > 1 and value.dtype != dtype and value.dtype.kind in kinds:
                value = Value(self.graph("Cast", value, to=dtype), value.shape, dtype)
            yield value

    def _value(self, x: Any, z: Any, path: str = "") -> Value:
        """What stands for a tensor: the result of a call, an input, or a constant that both passes share."""
        source = self.first.source(x)
        if source != self.second.source(z):
            raise ValueError(f"onnx.export: {self.where}: it takes other values for another batch; a graph says one "
                             f"way only")
        key = ("leaf", id(x)) if source is None else source
        if key not in self.values:
            if source is not None:
                raise NotImplementedError(f"onnx.export: {self.where}: takes output {source[1]} of "
                                          f"{self.first.entries[source[0]].node.primitive.name}, of which its "
                                          f"export rule says nothing")
            self.values[key] = self._leaf(x, z, path)
        return self.values[key]

    def _leaf(self, x: tg.Tensor, z: tg.Tensor, path: str) -> Value:
        """A parameter or buffer by its name, also one that an op has copied; or a constant without."""
        array, other = x.detach().numpy(), z.detach().numpy()
        if array.shape != other.shape or not np.array_equal(array, other, equal_nan=True):
            raise ValueError(
                f"onnx.export: {self.where}: takes {array.dtype}{list(array.shape)} that is no constant, it differs "
                f"from batch to batch, but how it is computed is not recorded; comparisons, argmax, numbers of "
                f".data and of generators, and what has the length of the batch are not on the tape")
        name = self.named.get(id(x), joined(path, x.name.rpartition(".")[2]))
        if name not in self.state or not np.array_equal(array, self.state[name].numpy(), equal_nan=True):
            return self.graph.constant(self.graph.fresh(f"/{path.replace('.', '/')}/constant"), array)
        value = self.values.get(name) or self.graph.constant(name, array)
        self.values[name] = value
        return value

    def _both(self, a: Any, b: Any, what: str) -> Any:
        """A shape or parameter of both passes: where whole numbers differ, lengths that follow the batch."""
        if type(a) is type(b):
            if isinstance(a, tuple | list) and len(a) == len(b):
                return type(a)([self._both(u, v, what) for u, v in zip(a, b)])
            if isinstance(a, slice):
                return slice(*[self._both(getattr(a, part), getattr(b, part), what)
                               for part in ("start", "stop", "step")])
            if isinstance(a, np.ndarray) and np.array_equal(a, b):
                return a
            if not isinstance(a, np.ndarray) and a == b:
                return a
            if type(a) is int and self.batch is not None:
                (n,), (m,) = self.rows
                times = (b - a) // (m - n)
                return Length(times if a == times * n and b == times * m else None)
        raise ValueError(f"onnx.export: {self.where}: its {what} differs from batch to batch, {a} and {b}, as ONNX "
                         f"cannot say; keep it the same, or batch=None for batches of one size")
