"""A module from an ONNX file: its weights are parameters, its nodes run one after the other.

The table in `rules.py` says what each operator is. Nothing in a file is run as code, and of other files only
those in its folder are read.
"""
import contextlib
import inspect
import os
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import numpy as np

import tinygrad_conv as tg

from ..advice import HIDDEN
from ..layers.function import default_rng
from ..layers.module import Module, Parameter
from .rules import TYPES, At, Rule, rule_of

LARGEST = 2**31 - 1  # bytes in a file: the format's bound
OLDEST = 7  # of the operator sets: before it, operators did not broadcast
OWN = ("", "ai.onnx")  # the names of the domain of ONNX's own operators
DEEPEST = 64  # parts of a dotted name
STATISTICS = {"BatchNormalization": (3, 4)}  # which inputs are running statistics, kept but not trained,
NUMBERS = {"Resize": (1, 2), "Upsample": (1,)}  # and which are other floats that are no weights


def load(path: str | os.PathLike[str], *, rng: np.random.Generator | None = None) -> "Graph":
    """The model in an ONNX file, as a module that can be trained.

    It comes in evaluation mode; `train()` makes dropout drop and batch norm learn. Parameters are, under
    their names, the initializers that are floats with at least one axis, except running statistics, which
    are buffers, and what exporters computed, whose names begin with "/". Initializers that an exporter has
    merged, because they were equal, are parameters of their own again.

    Args:
        path: the file; weights that it keeps in other files are read from its folder.
        rng: of dropout; by default a fresh generator.

    Raises:
        ModuleNotFoundError: without the package onnx, `pip install 'tinygrad_conv[onnx]'`.
        NotImplementedError: naming every operator and attribute that has no rule, and its nodes.
        FileNotFoundError: if there is no such file. ValueError: if it is damaged, or no valid model.

    Example:
        >>> import nn, tempfile
        >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.onnx.export(net, (1, 1, 28, 28), folder + "/net.onnx")
        ...     again = nn.onnx.load(folder + "/net.onnx")
        >>> [name for name, _ in again.named_parameters()], again(tg.zeros(5, 1, 28, 28)).shape
        (['0.weight', '0.bias', '1.weight', '1.bias'], (5, 8, 26, 26))
    """
    tg.arguments.instance(path, str | os.PathLike, "onnx.load", "the path of a file")
    rng, file = default_rng(rng, "onnx.load"), tg.arguments.file(path, "onnx.load")
    try:
        import onnx
    except ImportError as e:
        raise ModuleNotFoundError(f"onnx.load: needs the package onnx ({e}); pip install "
                                  f"'tinygrad_conv[onnx]'", name="onnx") from None
    try:
        return _Reader(onnx, file).model(rng)
    except (onnx.checker.ValidationError, OSError, TypeError, ValueError) as e:
        raise ValueError(f"onnx.load: {os.fspath(path)!r} is no whole, valid ONNX file: {e}") from None


class Node(NamedTuple):
    """One call of a rule."""

    op: str
    name: str
    rule: Rule
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    scope: Any  # a block, shared by the nodes of one path
    told: bool  # whether the rule has a parameter `at`

    def run(self, values: dict[str, Any], model: "Graph") -> None:
        """Take inputs from the values by name, and add the outputs."""
        at = {}
        if self.told:
            learns = all([name in model.places for name in _chosen(STATISTICS, self.op, self.inputs)])
            at["at"] = At(model.training, model.rng, len(self.outputs), learns)
        try:
            with self.scope, np.errstate(all="ignore"):
                made = self.rule(*[values[name] if name else None for name in self.inputs],
                                 **self.attributes, **at)
        except Exception as e:
            e.add_note(f"in the ONNX node {self.name!r}, {self.op} of {', '.join(self.inputs)}")
            raise
        values.update(zip(self.outputs, made if isinstance(made, tuple) else (made,)))


class Part(Module):
    """Parameters and buffers whose names begin alike."""

    def extra_repr(self) -> str:
        own = {**self._of_kind("parameter"), **self._of_kind("buffer")}
        return ", ".join([f"{name}: {t.dtype}{list(t.shape)}" for name, t in own.items()])


class Graph(Part):
    """What `load` makes: called with the inputs in order, it returns the output, or a tuple of several."""

    def __init__(self, inputs: list[str], outputs: list[str], nodes: list[Node],
                 rng: np.random.Generator) -> None:
        super().__init__()
        self.inputs, self.outputs, self.nodes, self.rng = inputs, outputs, nodes, rng
        self.constants: dict[str, tg.Tensor] = {}  # by name
        self.places: dict[str, str] = {}  # where in the tree is what has that name in the file

    def forward(self, *inputs: Any) -> Any:
        if len(inputs) != len(self.inputs):
            raise TypeError(f"Graph: expects {len(self.inputs)} inputs, {', '.join(self.inputs)}; got "
                            f"{len(inputs)}")
        state = self._state()
        values = {**self.constants, **{name: state[place] for name, place in self.places.items()}}
        values |= {name: x if isinstance(x, tg.Tensor) else tg.tensor(x)
                   for name, x in zip(self.inputs, inputs)}
        for node in self.nodes:
            node.run(values, self)
        made = tuple([values[name] for name in self.outputs])
        return made[0] if len(made) == 1 else made

    def extra_repr(self) -> str:
        counts = sorted(Counter([node.op for node in self.nodes]).items())
        parts = [f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}",
                 ", ".join([f"{op} {n}" for op, n in counts]), super().extra_repr()]
        return "; ".join(filter(None, parts))

    def put(self, name: str, array: np.ndarray, trained: bool) -> None:
        """A parameter or buffer at the place that its dotted name says, or, if that is taken, beside it."""
        *path, last = name.split(".") if name.count(".") < DEEPEST else [name.replace(".", "_")]
        module: Module = self
        place = []
        for part in path:
            inner = module._of_kind("module").get(part)
            if inner is None:
                part, inner = _free(module, part), Part()
                module.add_module(part, inner)
            module, place = inner, [*place, part]
        last = _free(module, last)
        t = Parameter(array) if trained else tg.tensor(array)
        t.name = name
        (module.register_parameter if trained else module.register_buffer)(last, t)
        self.places[name] = ".".join([*place, last])


def _free(module: Module, name: str) -> str:
    while not name or name in HIDDEN or hasattr(module, name):
        name += "_"
    return name


def _chosen(table: dict[str, tuple[int, ...]], op: str, inputs: Any) -> list[str]:
    return [inputs[i] for i in table.get(op, ()) if i < len(inputs)]


class _Reader:
    """A file, read and checked."""

    def __init__(self, library: Any, path: Path) -> None:
        self.library, self.path, self.file = library, path, library.ModelProto()
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"it has {size:,} bytes, and the format allows {LARGEST:,}")
        try:
            self.file.ParseFromString(path.read_bytes())
        except Exception as e:  # the package's that onnx reads files with
            raise ValueError(f"it may be truncated, or of another format ({e})") from None
        self.graph = self.file.graph
        self.version = max([o.version for o in self.file.opset_import if o.domain in OWN], default=0)
        self.signatures: dict[Rule, dict[str, Any]] = {}
        self.blocks: dict[str, Any] = {}

    def model(self, rng: np.random.Generator) -> Graph:
        """The module."""
        self._check()
        graph, arrays = self.graph, self._arrays()
        nodes = [n for n in graph.node if not self._copies(n, arrays)]
        model = Graph([v.name for v in graph.input if v.name not in arrays],
                      [v.name for v in graph.output], [self._node(n) for n in nodes], rng)
        kept = {name for n in nodes for name in _chosen(STATISTICS, n.op_type, n.input)}
        used = {name for n in nodes for i, name in enumerate(n.input) if i not in NUMBERS.get(n.op_type, ())}
        for name, array in arrays.items():
            weight = name in used and name[0] != "/" and array.ndim and array.dtype.kind == "f"
            if name in kept or weight:
                model.put(name, array, name not in kept)
            else:
                model.constants[name] = tg.tensor(array)
        return model.eval()

    # ----- what cannot be read -----

    def _check(self) -> None:
        if not self.graph.node and not self.graph.output:
            raise ValueError("it has no graph")
        if self.graph.sparse_initializer:
            raise NotImplementedError(f"onnx.load: sparse initializers are not known, as in {self.path}")
        if 0 < self.version < OLDEST:
            raise NotImplementedError(f"onnx.load: version {self.version} of the operator set is not known, "
                                      f"only those from {OLDEST} on; onnx.version_converter makes newer ones")
        missing: dict[str, list[str]] = {}
        for n in self.graph.node:
            for what in self._refused(n):
                missing.setdefault(what, []).append(repr(n.name or ", ".join(n.output)))
        types = [(f"initializer {t.name!r}", t.data_type) for t in self.graph.initializer]
        types += [(f"input {v.name!r}", v.type.tensor_type.elem_type) for v in self.graph.input]
        names = {kind: name for name, kind in self.library.TensorProto.DataType.items()}
        for what, kind in types:
            if kind not in TYPES:
                missing.setdefault(f"the type {names.get(kind, kind)}", []).append(what)
        if missing:
            found = "; ".join([f"{what} ({', '.join(names[:20])}{', ...' * (len(names) > 20)})"
                               for what, names in missing.items()])
            raise NotImplementedError(f"onnx.load: there is no rule for {found}")
        self.library.checker.check_model(str(self.path))

    def _refused(self, n: Any) -> list[str]:
        """What there is no rule for in a node: its operator, or attributes that have not their default."""
        rule = rule_of(n.op_type, self.version) if n.domain in OWN else None
        if rule is None:
            return [f"{n.domain}::{n.op_type}" if n.domain else n.op_type]
        known, wrong = self._parameters(rule), []
        for a in n.attribute:
            parts = [known[a.name], *get_args(known[a.name])] if a.name in known else []
            choices = [v for part in parts if get_origin(part) is Literal for v in get_args(part)]
            fits = a.t.data_type in TYPES if a.HasField("t") else (
                parts and not choices or self._plain(a) in (choices or self._defaults(n, a)))
            if not fits:
                value = self.library.helper.get_attribute_value(a)
                text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                wrong.append(f"{n.op_type} with {a.name}={' '.join(text.split())[:40]}")
        return wrong

    def _parameters(self, rule: Rule) -> dict[str, Any]:
        """What a rule's parameters may be, by name."""
        if rule not in self.signatures:
            parameters = inspect.signature(rule).parameters.values()
            self.signatures[rule] = {p.name: p.annotation for p in parameters}
        return self.signatures[rule]

    def _defaults(self, n: Any, a: Any) -> list[Any]:
        """The default of an attribute, in a list, if it has one."""
        if a.name == "dilations":
            return [[1] * len(a.ints)]
        defs = self.library.defs
        schema = defs.get_schema(n.op_type, self.version) if defs.has(n.op_type, self.version) else None
        known = schema.attributes.get(a.name) if schema else None
        return [self._plain(known.default_value)] if known and known.default_value.type else []

    # ----- what is read -----

    def _plain(self, a: Any) -> Any:
        """The value of an attribute: a number, a text, a list of these, or a tensor."""
        value = self.library.helper.get_attribute_value(a)
        if isinstance(value, float):
            return float(str(np.float32(value)))  # kept in single precision: 1e-5, not 9.999999747378752e-06
        if isinstance(value, bytes):
            return value.decode()
        return tg.tensor(self._array(value)) if isinstance(value, self.library.TensorProto) else value

    def _array(self, t: Any) -> np.ndarray:
        return self.library.numpy_helper.to_array(t)

    def _arrays(self) -> dict[str, np.ndarray]:
        """The initializers by name, also those that are kept in other files."""
        self.library.external_data_helper.load_external_data_for_model(self.file, os.fspath(self.path.parent))
        return {t.name: self._array(t) for t in self.graph.initializer}

    def _copies(self, n: Any, arrays: dict[str, np.ndarray]) -> bool:
        """Whether a node repeats an initializer, which is then one more of them."""
        copies = n.op_type == "Identity" and n.input[0] in arrays
        if copies:
            arrays[n.output[0]] = arrays[n.input[0]]
        return copies

    def _node(self, n: Any) -> Node:
        rule = rule_of(n.op_type, self.version)
        known = self._parameters(rule)
        attributes = {a.name: self._plain(a) for a in n.attribute if a.name in known}
        outputs = [*n.output]
        return Node(n.op_type, n.name or outputs[0], rule, tuple(n.input), tuple(outputs), attributes,
                    self._block(n.name), "at" in known)

    def _block(self, name: str) -> Any:
        """The scope of a node called "/layer1/layer1.0/conv1/Conv", as PyTorch does: layer1.0.conv1."""
        parts = name.split("/")[1:-1]
        path = ".".join([part.removeprefix(f"{before}.") for before, part in zip(["", *parts], parts)])
        return self.blocks.setdefault(path, tg.scope(path) if path else contextlib.nullcontext())
