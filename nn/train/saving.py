"""What is kept of a training run in files: weights alone, or everything on which the rest of it depends.

Files are safetensors: arrays by name and, in the header, text; a run's numbers are JSON there. They are
written atomically, and reading them runs no code.
"""
import copy
import json
import os
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module
from ..optim.optimizer import Optimizer
from .report import Callback, History

FORMAT = "tinygrad_conv checkpoint 1"
KINDS = Module | Optimizer | Callback | np.random.Generator | History


def _to_save(name: Any, value: Any) -> np.ndarray:
    array = np.array(value.detach() if isinstance(value, tg.Tensor) else value, order="C")
    if not isinstance(name, str) or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"save: expects numeric arrays by name, got {array.dtype} at {name!r}")
    if name == "__metadata__":
        raise ValueError("save: the format keeps the name '__metadata__' for itself; use another")
    _text(name)
    return array


def _text(text: Any) -> str:
    tg.arguments.instance(text, str, "save", "metadata to be text by name", "; use str() or json")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError(f"save: {text!r} cannot be written as text: it holds half of a surrogate pair")
    return text


def save(model: Module | Mapping[str, Any], path: str | os.PathLike[str],
         metadata: Mapping[str, str] | None = None) -> None:
    """Write a module's `state_dict()`, or a mapping of names to arrays, to a safetensors file.

    The file at `path` is either the old one or the new one, never half of it. Other programs can read
    it; names are PyTorch's. A mapping may also hold modules, optimisers, schedules, generators,
    callbacks and a history: the checkpoint of a loop of one's own, which `load(path, into=)` restores.

    Args:
        model: what to save.
        path: the file; missing folders are made.
        metadata: text to keep beside the arrays.

    Raises:
        TypeError, ValueError: for anything but numbers by name, or metadata that is not text.
        OSError: if the disk is full or cannot be written; the old file is as it was.

    Example:
        >>> import nn, tempfile
        >>> net = nn.Linear(3, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save(net, folder + "/net.safetensors")
        ...     sorted(nn.load(folder + "/net.safetensors"))
        ['bias', 'weight']
        >>> parts = {"model": net, "optimizer": nn.Adam(net.parameters())}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save({**parts, "epoch": 3}, folder + "/run.safetensors")
        ...     nn.load(folder + "/run.safetensors", into=parts)
        {'epoch': array(3)}
    """
    tg.arguments.instance(path, str | os.PathLike, "save", "the path of a file second")
    if "\0" in str(path):
        raise ValueError(f"save: a path has no null character, got {path!r}")
    state = model.state_dict() if isinstance(model, Module) else model
    tg.arguments.instance(state, Mapping, "save", "a module or a mapping of names to arrays")
    if any(map(_is_part, state.values())):
        if metadata:
            raise TypeError("save: parts cannot have metadata; give numbers and arrays names beside them")
        return Run(state).save(path)
    arrays = {name: _to_save(name, value) for name, value in state.items()}
    notes = {_text(key): _text(text) for key, text in (metadata or {}).items()}
    from safetensors.numpy import save as to_bytes  # its save_file leaves files of its own when it is killed

    tg.write_atomically(path, to_bytes(arrays, notes or None))


def load_with_metadata(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and the text kept beside them; also of an index of several.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged or of another format.
    """
    tg.arguments.instance(path, str | os.PathLike, "load", "the path of a file")
    path = tg.arguments.file(path, "load")
    if path.suffix == ".json":
        return _load_shards(path)
    from safetensors import SafetensorError, deserialize, safe_open

    try:
        with safe_open(path, framework="numpy") as f:
            notes, names = dict(f.metadata() or {}), [*f.keys()]
            if not any([f.get_slice(name).get_dtype() == "BF16" for name in names]):
                return _of_numpy({name: f.get_tensor(name) for name in names}), notes
        return _of_numpy({name: _array(kept) for name, kept in deserialize(path.read_bytes())}), notes
    except (TypeError, AttributeError) as e:  # float8
        raise ValueError(f"load: {os.fspath(path)!r} holds numbers of a type NumPy does not have ({e}); "
                         f"convert them to float32 where the file was made") from None
    except (SafetensorError, ValueError) as e:
        raise ValueError(f"load: {os.fspath(path)!r} is not a whole safetensors file ({e}); "
                         f"{_other_format(path)}") from None


def _of_numpy(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if other := {str(a.dtype) for a in arrays.values() if a.dtype.kind not in "fiub"}:
        raise TypeError(", ".join(other))  # a package has taught NumPy more types
    return arrays


def _array(kept: Mapping[str, Any]) -> np.ndarray:
    """An array from its bytes; bfloat16, the upper half of a float32, becomes one."""
    kind, data = kept["dtype"], kept["data"]
    if kind == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(kept["shape"])
    types = {"BOOL": "?", **{f"{k}{n}": f"<{c}{n // 8}" for k, c in (("F", "f"), ("I", "i"), ("U", "u"))
                             for n in (8, 16, 32, 64) if f"{k}{n}" != "F8"}}
    if kind not in types:
        raise TypeError(kind)
    return np.frombuffer(data, types[kind]).reshape(kept["shape"]).copy()


def _load_shards(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of several files, which lie beside the index that says which of them holds what."""
    try:
        places = tg.arguments.instance(json.loads(path.read_bytes()), dict, "load", "an index")["weight_map"]
        shards = sorted({*places.values()})
        if not shards or any(Path(shard).name != shard or Path(shard).suffix != ".safetensors"
                             for shard in shards):
            raise ValueError(f"its files are {shards}")
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as e:
        raise ValueError(f"load: {os.fspath(path)!r} is no index of safetensors files ({type(e).__name__}: "
                         f"{e}); such a one has a \"weight_map\" of names to files beside it") from None
    found = {shard: load_with_metadata(path.parent / shard)[0] for shard in shards}
    if missing := [name for name, shard in places.items() if name not in found[shard]]:
        raise ValueError(f"load: {os.fspath(path)!r} says that {missing[0]!r} is in {places[missing[0]]!r}, "
                         f"where it is not")
    return {name: found[shard][name] for name, shard in places.items()}, {}


def _other_format(path: Path) -> str:
    """What a file that is not safetensors may be, and what to do with it."""
    with open(path, "rb") as f:
        begin = f.read(600)  # of a zip archive, the name of its first member
    if begin.startswith(b"\x80") or b"data.pkl" in begin:
        return "it looks like PyTorch's: load it there and nn.save its state_dict()"
    if begin.startswith(b"\x93NUMPY") or begin.startswith(b"PK") and b".npy" in begin:
        return "it looks like NumPy's: nn.save(dict(np.load(path)), ...) makes a safetensors file of a .npz"
    return "it may be truncated, or of another format"


def load(path: str | os.PathLike[str], into: Mapping[str, Any] | None = None) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, for `model.load_state_dict`.

    The path may be that of an index, as "model.safetensors.index.json": then the files beside it that it
    names are read. bfloat16 becomes float32.

    Args:
        path: the file.
        into: for a file that `save` made of modules, optimisers, schedules, generators, ...: those to be
            put into the states saved under the same names, all of them. What else was saved is returned.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
        ValueError, RuntimeError: if it does not fit `into`; nothing has changed then.
        TypeError: if `into` holds what cannot be restored in place.

    Example:
        >>> import nn, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save({"a": np.ones(3)}, f"{folder}/a.safetensors")
        ...     nn.load(f"{folder}/a.safetensors")
        {'a': array([1., 1., 1.])}
    """
    if into is None:
        return load_with_metadata(path)[0]
    for name, part in tg.arguments.instance(into, Mapping, "load", "a mapping of parts as into").items():
        if not _is_part(part):
            raise TypeError(f"load: into has {type(part).__name__} at {name!r}, which cannot be restored in "
                            f"place; leave numbers and arrays out, they are returned")
    return Run(into).load(path)


def _is_part(value: Any) -> bool:
    """Whether it is restored in place."""
    return isinstance(value, KINDS) or hasattr(value, "load_state_dict")


class Run:
    """Everything on which the rest of a training run depends: what a checkpoint saves and restores.

    Args:
        parts: by name, modules, optimisers, schedules, callbacks, generators and a history: what is restored
            in place; and numbers and arrays. None is left out, and so are callbacks without a state.
    """

    def __init__(self, parts: Mapping[str, Any]) -> None:
        def of(kind: Any) -> dict[str, Any]:
            return {name: part for name, part in parts.items() if isinstance(part, kind)}

        for name in parts:
            if "." in tg.arguments.instance(name, str, "save", "parts by name"):
                raise ValueError(f"save: the name of a part has no dot, got {name!r}")
        self.models, self.optimizers, histories = of(Module), of(Optimizer), of(History)
        self.schedules = {name: s for name, s in parts.items()
                          if hasattr(s, "load_state_dict") and not isinstance(s, KINDS)}
        self.callbacks = {name: c for name, c in of(Callback).items() if c.state_dict()}
        self.generators = {**of(np.random.Generator),
                           **{f"{part}.{name}": g for part, model in self.models.items()
                              for name, g in model.named_generators()}}
        if len(histories) > 1:
            raise ValueError(f"save: there is room for one history, got {', '.join(histories)}")
        self.history, self.keeps_history = next(iter(histories.values()), History()), bool(histories)
        self.values = {name: value for name, value in parts.items()
                       if not (value is None or _is_part(value))}

    def _contents(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The run as arrays and numbers; the groups are those of all optimisers, one after another."""
        states = {k: part.state_dict() for k, part in {**self.optimizers, **self.callbacks}.items()}
        kept = {**{k: model.state_dict() for k, model in self.models.items()},
                **{k: state.pop("arrays", {}) for k, state in states.items()}}
        arrays = {f"{k}.{name}": array for k, part in kept.items() for name, array in part.items()}
        numbers = {"groups": [group for k in self.optimizers for group in states[k]["groups"]],
                   "schedules": {k: s.state_dict() for k, s in self.schedules.items()},
                   "generators": {k: g.bit_generator.state for k, g in self.generators.items()},
                   "history": list(self.history.rows)}
        if self.callbacks:
            numbers["callbacks"] = {k: states[k] for k in self.callbacks}
        if self.values:
            numbers["values"] = sorted(self.values)
        return {**{k: _to_save(k, v) for k, v in self.values.items()}, **arrays}, numbers

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run; the file at `path` is whole at any moment."""
        arrays, numbers = self._contents()
        text, kernels = json.dumps(numbers, default=lambda a: a.tolist()), tg.kernels_in_use()
        save(arrays, path, {"format": FORMAT, "kernels": kernels, "run": text,
                            "checksum": _checksum(arrays, text + kernels)})

    def load(self, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
        """Restore the run as it was when `path` was written; on an error nothing has changed.

        Everything is read, checked and tried on copies before anything of the run is changed. A warning says
        if another family of kernels has computed until now: the rest differs from that of an unbroken run by
        rounding.

        Returns:
            the numbers and arrays that were saved beside the parts.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: if the file is missing, damaged, not a
                checkpoint, or of another model, optimiser, schedule, callback or generator.
        """
        arrays, metadata = load_with_metadata(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"load: {os.fspath(path)!r} is not a checkpoint (format "
                             f"{metadata.get('format')!r}, expected {FORMAT!r})")
        before = {k: model.state_dict() for k, model in self.models.items()}
        try:
            numbers = tg.arguments.instance(json.loads(metadata["run"]), dict, "load", "the numbers of a run")
            values, weights, progress = self._tried(arrays, numbers)
            kernels = metadata.get("kernels", "")
            same = {"format": FORMAT, "kernels": kernels, "run": metadata["run"],
                    "checksum": _checksum(arrays, metadata["run"] + kernels)}
            if {**same, **metadata} != same:  # those of earlier versions have no checksum, nor kernels
                raise ValueError("its checksum does not fit its contents")
            _compare_kernels(path, kernels)
            try:
                for k, model in self.models.items():
                    model.load_state_dict(weights[k])
            except BaseException:
                for k, model in self.models.items():
                    model.load_state_dict(before[k])
                raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
            raise (RuntimeError if type(e) is RuntimeError else ValueError)(
                f"load: {os.fspath(path)!r} does not fit this run, or is damaged: "
                f"{f'there is no {e}' if isinstance(e, KeyError) else e}") from None
        for k, part in {**self.optimizers, **self.callbacks}.items():
            part.load_state_dict(progress[k])
        for k, s in self.schedules.items():
            s.load_state_dict(numbers["schedules"][k])
        for k, g in self.generators.items():
            g.bit_generator.state = numbers["generators"][k]
        self.history.rows = numbers["history"]
        return values

    def _tried(self, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """The values, and the states of models, and of optimisers and callbacks, after all but the models'
        were checked or tried on copies."""
        for kind in ("schedules", "generators", "callbacks"):
            if set(held := numbers.get(kind, {})) != set(own := vars(self)[kind]):
                raise ValueError(f"it holds {kind} {sorted(held)}, this run has {sorted(own)}")
        values: dict[str, Any] = {}
        parts: dict[str, dict[str, Any]] = {k: {} for k in (*self.models, *self.optimizers, *self.callbacks)}
        for name, array in arrays.items():
            part, dot, inner = name.partition(".")
            (parts[part] if dot else values)[inner or part] = array
        if sorted(values) != numbers.get("values", []):
            raise ValueError(f"it holds the arrays {sorted(values)}, should hold {numbers.get('values', [])}")
        _check_history(numbers["history"])
        if numbers["history"] and not self.keeps_history:
            raise ValueError("it holds a history, this run has none")
        for k, g in self.generators.items():
            _check_generator(k, g.bit_generator, numbers["generators"][k])
        groups, copies, progress = tg.arguments.instance(numbers["groups"], list, "load", "groups"), {}, {}
        for k, own in self.optimizers.items():
            count = len(own.param_groups) if k != [*self.optimizers][-1] else len(groups)
            progress[k], groups = {"arrays": parts[k], "groups": groups[:count]}, groups[count:]
            copies[id(own)] = optimizer = copy.copy(own)
            optimizer.param_groups = [dict(group) for group in own.param_groups]
            optimizer.load_state_dict(progress[k])
        if groups:
            raise ValueError("it holds an optimiser, this run has none")
        for k, s in self.schedules.items():
            copy.deepcopy(s, {**copies}).load_state_dict(numbers["schedules"][k])
        for k, c in self.callbacks.items():
            progress[k] = {**numbers["callbacks"][k], "arrays": parts[k]}
            copy.copy(c).load_state_dict(progress[k])
        return values, parts, progress


def _compare_kernels(path: str | os.PathLike[str], before: str) -> None:
    if before not in ("", now := tg.kernels_in_use()):
        warnings.warn(f"load: {os.fspath(path)!r} was trained with the kernels {before!r}, those in use are "
                      f"{now!r}: results will differ by rounding; tg.use_kernels({before!r}) goes on exactly",
                      stacklevel=5)


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    """Of a checkpoint's contents, against damage: safetensors has none."""
    value = zlib.crc32(text.encode())
    for name, array in sorted(arrays.items()):
        value = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), value)
        value = zlib.crc32(np.ascontiguousarray(array, array.dtype.newbyteorder("<")), value)
    return f"crc32 {value:08x}"


def _check_history(rows: Any) -> None:
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.get("epoch") == n
                                             for n, row in enumerate(rows, 1)):
        raise ValueError("its history is not a list of rows, one for each epoch")
    for row in rows:
        for name, value in row.items():
            tg.arguments.number(value, f"epoch {row['epoch']} of its history", name)


def _form(state: Any) -> Any:
    return {k: _form(v) for k, v in state.items()} if isinstance(state, dict) else np.shape(state)


def _check_generator(name: str, own: np.random.BitGenerator, state: Any) -> None:
    """Refuse a state that a generator of this kind cannot be in; NumPy takes some that read beyond memory."""
    now: Any = own.state
    if _form(state) != _form(now) or state["bit_generator"] != now["bit_generator"]:
        raise ValueError(f"its generator {name!r} is not a {now['bit_generator']}, as this run's is")
    trial = type(own)(0)
    trial.state = state
    if (json.loads(json.dumps(trial.state, default=lambda a: a.tolist())) != state
            or state["state"].get("pos", 0) not in range(625)  # of the 624 words of MT19937
            or state.get("buffer_pos", 0) not in range(5)  # of the 4 of Philox
            or state.get("has_uint32", 0) not in range(2) or not state["state"].get("inc", 1) % 2):
        raise ValueError(f"its generator {name!r} has numbers that no {now['bit_generator']} has")
