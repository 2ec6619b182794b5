"""A model as an ONNX file: one forward pass, whose tape is written down call by call.

Its op says how a call is written (`Primitive.defexport`). A second pass, over a batch of another size and
other numbers, tells which lengths follow the batch, and finds what would be written down as if it were
constant: values computed from the input that are not on the tape, such as those of comparisons.
"""
import inspect
import os
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module, evaluating, joined, tensors_in
from .graph import OPSET, Graph, Length, Value


def export(model: Module, x: Any, path: str | os.PathLike[str], *, batch: str | None = "batch") -> None:
    """Write a model, in evaluation mode, to an ONNX file that other programs can run.

    The model runs twice, on x and on another batch, and is left as it was. Parameters keep the names of
    `state_dict()`. The first axis of each input and output is symbolic, any number of samples will do; other
    lengths are those of x. Batch norm is one node.

    Args:
        model: a module; it may return tuples, lists or dictionaries of tensors.
        x: what to call it with: an array or tensor of floats whose first axis is the batch, or a shape such
            as (1, 1, 28, 28); for several inputs, a tuple of these.
        path: the file; missing folders are made. It is the old one or the new one, never half of it.
        batch: the name of the batch axis; None keeps its length as it is, for a model that needs this one.

    Raises:
        ModuleNotFoundError: without the package onnx, `pip install 'tinygrad_conv[onnx]'`.
        NotImplementedError: naming every op on the way that has no export rule.
        ValueError: if the result depends on the input in a way that the tape does not show, or on the number
            of samples in a way that a graph cannot say.
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
        raise RuntimeError("onnx.export: nothing is recorded inside no_grad(), and the calls are read off "
                           "the record; call it outside")
    try:
        import onnx
    except ImportError as e:
        raise ModuleNotFoundError(f"onnx.export: needs the package onnx ({e}); pip install "
                                  f"'tinygrad_conv[onnx]'", name="onnx") from None
    inputs = _inputs(x, batch)
    first, others = _Pass(model, inputs), _others(inputs, batch)
    try:
        second = _Pass(model, others)
    except Exception as e:
        e.add_note(f"in the second pass of onnx.export, over {', '.join([str(t.shape) for t in others])}; "
                   f"batch=None is for models that take batches of one size")
        raise
    written = _Export(onnx, model, first, second, batch).model()
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
            raise TypeError(f"onnx.export: inputs must be floating point, or nothing of what is done with "
                            f"them is recorded, got {t.dtype}")
        t.requires_grad = True
    if batch is not None and (not all(t.ndim for t in tensors) or len({t.shape[0] for t in tensors}) != 1):
        raise ValueError(f"onnx.export: the first axis of each input is the batch, got the shapes "
                         f"{', '.join(str(t.shape) for t in tensors)}; batch=None takes lengths as they are")
    return tensors


def _others(inputs: list[tg.Tensor], batch: str | None) -> list[tg.Tensor]:
    """Other numbers of that size, and twice as many samples and one more: N // 2 is another number too."""
    rng, made = np.random.default_rng(0), []
    for t in inputs:
        values = t.detach().numpy()
        shape = values.shape if batch is None else (2 * len(values) + 1, *values.shape[1:])
        spread = np.std(values) if values.size else 0.0
        numbers = rng.standard_normal(shape) * (spread or 1.0)
        made.append(tg.tensor(numbers.astype(t.dtype), requires_grad=True))
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

    def alike(self, other: "_Pass") -> bool:
        """Whether both made the same calls."""
        return len(self.outputs) == len(other.outputs) and (
            [(e.node.primitive, len(e.node.inputs), [*e.node.params]) for e in self.entries]
            == [(e.node.primitive, len(e.node.inputs), [*e.node.params]) for e in other.entries])

    def source(self, t: Any) -> Any:
        """What a tensor is, in terms that two passes share: a call's output, an input, or None for a leaf."""
        if t.node is not None:
            return self.numbers[t.node.order], t.index
        return next((i for i, x in enumerate(self.inputs) if x is t), None)


class _Export:
    """The graph of two passes that went the same way."""

    def __init__(self, library: Any, model: Module, first: _Pass, second: _Pass, batch: str | None) -> None:
        self.library, self.first, self.second, self.batch = library, first, second, batch
        self.rows = [p.inputs[0].shape[:1] for p in (first, second)]
        self.title, self.state = type(model).__name__, model._state()
        self.names = {id(t): name for name, t in reversed(self.state.items())}
        self.paths = {m._frame: path for path, m in model.named_modules()}
        self.path, self.where = "", "the result"  # of the module and the call that are being written
        self.graph = Graph(library, [*self.state])
        self.values: dict[Any, Value] = {}  # by what `_Pass.source` says, and of leaves by identity or name
        words = [p.name for p in inspect.signature(model.forward).parameters.values()
                 if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        words += [f"x{i}" for i in range(len(words), len(first.inputs))]
        for i, (x, z, word) in enumerate(zip(first.inputs, second.inputs, words)):
            self.values[i] = Value(self.graph.fresh(word), self._both(x.shape, z.shape, "shape"), x.dtype)
        self.graph.batch = self.values[0]

    def model(self) -> Any:
        """The whole file."""
        helper, graph, first, second = self.library.helper, self.graph, self.first, self.second
        self._check_rules()
        if not first.alike(second):
            raise ValueError("onnx.export: the model calls other ops for another batch, of other size and "
                             "numbers; a graph goes one way only")
        for number, (a, b) in enumerate(zip(first.entries, second.entries)):
            self._call(number, a, b)
        self.path, self.where, graph.scope = "", "the result", ""
        outputs = []
        for i, (y, z) in enumerate(zip(first.outputs, second.outputs)):
            value = self._value(y, z)
            name = graph.fresh(f"output_{i}" if len(first.outputs) > 1 else "output")
            graph.nodes.append(helper.make_node("Identity", [value], [name], f"/{name}"))
            outputs.append(Value(name, value.shape, value.dtype))
        inputs = [self.values[i] for i in range(len(first.inputs))]
        body = helper.make_graph(graph.nodes, self.title, [*map(self._info, inputs)],
                                 [*map(self._info, outputs)], graph.constants)
        opsets = [helper.make_opsetid(domain, 1 if domain else OPSET) for domain in sorted(graph.domains)]
        return helper.make_model(body, opset_imports=opsets, producer_name="tinygrad_conv",
                                 ir_version=helper.find_min_ir_version_for(opsets, ignore_unknown=True))

    def _info(self, value: Value) -> Any:
        words = [n if not isinstance(n, Length) else None if n.times is None else
                 self.batch if n.times == 1 else f"{n.times}*{self.batch}" for n in value.shape]
        helper = self.library.helper
        return helper.make_tensor_value_info(value, helper.np_dtype_to_tensor_dtype(value.dtype), words)

    def _check_rules(self) -> None:
        missing: dict[Any, Any] = {}
        for node, *_ in self.first.entries:
            if node.primitive.export is None:
                missing.setdefault(node.primitive, node)
        if missing:
            found = ", ".join([f"{op.name} ({self._place(node)})" for op, node in missing.items()])
            raise NotImplementedError(f"onnx.export: there is no export rule for {found}; an op of your own "
                                      f"gets one by op.defexport(rule), an ONNX operator or a function")

    def _path(self, node: Any) -> str:
        """The path of the module that made the call."""
        return next((self.paths[call.module] for call in node.calls[::-1] if call.module in self.paths), "")

    def _place(self, node: Any) -> str:
        path, (file, line) = self._path(node), node.where
        return f"in {path}, {file}:{line}" if path else f"{file}:{line}"

    def _call(self, number: int, a: Any, b: Any) -> None:
        """Write one call, that both passes made."""
        graph, node, op = self.graph, a.node, a.node.primitive
        self.path, self.where = self._path(node), f"{op.name} ({self._place(node)})"
        graph.scope = "/".join(["", *self.path.split(".")] if self.path else [""]) + f"/{op.name}"
        params = {key: self._both(value, b.node.params[key], f"parameter {key!r}")
                  for key, value in node.params.items()}
        answers = [Value("", self._both(y.shape, z.shape, "shape"), y.dtype)
                   for y, z in zip(a.outputs, b.outputs)]
        graph.ans = answers[0] if node.values is None else tuple(answers)
        inputs = [self._value(x, z) for x, z in zip(node.inputs, b.node.inputs)]
        if len(inputs) > 1:
            inputs = [self._as(answers[0].dtype, value, op.broadcasts) for value in inputs]
        try:
            if not isinstance(op.export, str):
                made = op.export(graph, *inputs, **params)
            elif not params:
                made = graph(op.export, *inputs)
            else:
                raise TypeError(f"{op.name}: the rule {op.export!r} would lose {', '.join(params)}; write a "
                                f"function, lambda to, x, *, {', '.join(params)}: to({op.export!r}, x, ...)")
        except Exception as e:
            e.add_note(f"in the export rule of {self.where}")
            raise
        for i, name in enumerate(made if isinstance(made, tuple) else (made,)):
            self.values[number, i] = Value(name, answers[i].shape, answers[i].dtype)

    def _as(self, dtype: np.dtype, value: Value, broadcasts: bool) -> Value:
        """ONNX mixes no dtypes: floats, and whole numbers among them, become as wide as the result."""
        if value.dtype == dtype or value.dtype.kind not in ("fiu" if broadcasts else "f"):
            return value
        return Value(self.graph("Cast", value, to=dtype), value.shape, dtype)

    def _value(self, x: Any, z: Any) -> Value:
        """What stands for a tensor: the result of a call, an input, or a constant that both passes share."""
        source = self.first.source(x)
        if source != self.second.source(z):
            raise ValueError(f"onnx.export: {self.where} takes the result of another call for another batch; "
                             f"a graph goes one way only")
        if source is None:
            return self._leaf(x, z)
        if source not in self.values:
            maker = self.first.entries[source[0]].node.primitive.name
            raise NotImplementedError(f"onnx.export: {self.where} takes output {source[1]} of {maker}, whose "
                                      f"export rule makes only those before it")
        return self.values[source]

    def _leaf(self, x: tg.Tensor, z: tg.Tensor) -> Value:
        """A parameter or buffer by its name, also one that an op has copied; or a constant without one."""
        array = x.detach().numpy()
        name = self.names.get(id(x), joined(self.path, x.name.rpartition(".")[2]))
        if not _equal(array, z.detach().numpy()):
            raise ValueError(
                f"onnx.export: {self.where} takes {array.dtype}{list(array.shape)} that differs from batch "
                f"to batch, but is not on the tape: comparisons, argmax and detach() are not recorded, nor "
                f"numbers of .data, of generators or under no_grad(), nor what has the length of the batch")
        kept = name in self.state and _equal(array, self.state[name].detach().numpy())
        key = name if kept else ("constant", id(x))
        if key not in self.values:
            self.values[key] = self.graph.constant(
                name if kept else self.graph.fresh(f"{self.graph.scope}/constant"), array)
        return self.values[key]

    def _both(self, a: Any, b: Any, what: str) -> Any:
        """A shape or parameter of both passes; where whole numbers differ they follow the batch."""
        if type(a) is type(b):
            if isinstance(a, tuple | list) and len(a) == len(b):
                return type(a)([self._both(u, v, what) for u, v in zip(a, b)])
            if isinstance(a, slice):
                return slice(*self._both((a.start, a.stop, a.step), (b.start, b.stop, b.step), what))
            if _equal(a, b) if isinstance(a, np.ndarray) else a == b:
                return a
            if type(a) is int and self.batch is not None:
                (n,), (m,) = self.rows
                times = (b - a) // (m - n)
                return Length(times if (a, b) == (times * n, times * m) else None)
        advice = "" if self.batch is None else "; batch=None is for batches of one size"
        raise ValueError(f"onnx.export: {self.where}: its {what} differs from batch to batch, {a} and {b}, "
                         f"as no graph can say{advice}")


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
