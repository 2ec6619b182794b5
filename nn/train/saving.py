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
from .report import History

FORMAT = "tinygrad_conv checkpoint 1"


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
    it; names are PyTorch's.

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
    """
    tg.arguments.instance(path, str | os.PathLike, "save", "the path of a file second")
    if "\0" in str(path):
        raise ValueError(f"save: a path has no null character, got {path!r}")
    state = model.state_dict() if isinstance(model, Module) else model
    tg.arguments.instance(state, Mapping, "save", "a module or a mapping of names to arrays")
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


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, for `model.load_state_dict`.

    The path may be that of an index, as "model.safetensors.index.json": then the files beside it that it
    names are read. bfloat16 becomes float32.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.

    Example:
        >>> import nn, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save({"a": np.ones(3)}, f"{folder}/a.safetensors")
        ...     nn.load(f"{folder}/a.safetensors")
        {'a': array([1., 1., 1.])}
    """
    return load_with_metadata(path)[0]


class Run:
    """Everything on which the rest of a training run depends: what a checkpoint saves and restores.

    Args:
        model, optimizer: what is trained, and by what.
        schedules: schedules by name, or None.
        generators: generators outside the model (the loader's), by name; None is left out.
        history: the rows so far.
    """

    def __init__(self, model: Module, optimizer: Optimizer, schedules: dict[str, Any],
                 generators: dict[str, Any], history: History) -> None:
        self.model, self.optimizer, self.history = model, optimizer, history
        self.schedules = {k: s for k, s in schedules.items() if s is not None}
        self.generators = {**{k: g for k, g in generators.items() if isinstance(g, np.random.Generator)},
                           **{f"model.{name}": g for name, g in model.named_generators()}}

    def _contents(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The run as arrays and numbers."""
        optimizer = self.optimizer.state_dict()
        arrays = {**{f"model.{k}": v for k, v in self.model.state_dict().items()},
                  **{f"optimizer.{k}": v for k, v in optimizer["arrays"].items()}}
        return arrays, {"groups": optimizer["groups"],
                        "schedules": {k: s.state_dict() for k, s in self.schedules.items()},
                        "generators": {k: g.bit_generator.state for k, g in self.generators.items()},
                        "history": list(self.history.rows)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run; the file at `path` is whole at any moment."""
        arrays, numbers = self._contents()
        text, kernels = json.dumps(numbers, default=lambda a: a.tolist()), tg.kernels_in_use()
        save(arrays, path, {"format": FORMAT, "kernels": kernels, "run": text,
                            "checksum": _checksum(arrays, text + kernels)})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Restore the run as it was when `path` was written; on an error nothing has changed.

        Everything is read, checked and tried on copies before anything of the run is changed. A warning says
        if another family of kernels has computed until now: the rest differs from that of an unbroken run by
        rounding.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: if the file is missing, damaged, not a
                checkpoint, or of another model, optimiser, schedule or generator.
        """
        arrays, metadata = load_with_metadata(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"load: {os.fspath(path)!r} is not a checkpoint (format "
                             f"{metadata.get('format')!r}, expected {FORMAT!r})")
        try:
            numbers = tg.arguments.instance(json.loads(metadata["run"]), dict, "load", "the numbers of a run")
            weights, progress = self._tried(arrays, numbers)
            kernels = metadata.get("kernels", "")
            same = {"format": FORMAT, "kernels": kernels, "run": metadata["run"],
                    "checksum": _checksum(arrays, metadata["run"] + kernels)}
            if {**same, **metadata} != same:  # those of earlier versions have no checksum, nor kernels
                raise ValueError("its checksum does not fit its contents")
            _compare_kernels(path, kernels)
            before = self.model.state_dict()
            try:
                self.model.load_state_dict(weights)
            except (KeyboardInterrupt, SystemExit):
                self.model.load_state_dict(before)
                raise
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
            raise (RuntimeError if type(e) is RuntimeError else ValueError)(
                f"load: {os.fspath(path)!r} does not fit this run, or is damaged: "
                f"{f'there is no {e}' if isinstance(e, KeyError) else e}") from None
        self.optimizer.load_state_dict(progress)
        for k, s in self.schedules.items():
            s.load_state_dict(numbers["schedules"][k])
        for k, g in self.generators.items():
            g.bit_generator.state = numbers["generators"][k]
        self.history.rows = numbers["history"]

    def _tried(self, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """The states of model and optimiser, after all but the model's was checked or tried on copies."""
        for kind, own in (("schedules", self.schedules), ("generators", self.generators)):
            if set(numbers[kind]) != set(own):
                raise ValueError(f"it holds {kind} {sorted(numbers[kind])}, this run has {sorted(own)}")
        parts: dict[str, dict[str, np.ndarray]] = {"model": {}, "optimizer": {}}
        for name, array in arrays.items():
            part, _, inner = name.partition(".")
            parts[part][inner] = array
        _check_history(numbers["history"])
        for k, g in self.generators.items():
            _check_generator(k, g.bit_generator, numbers["generators"][k])
        progress = {"arrays": parts["optimizer"], "groups": numbers["groups"]}
        optimizer = copy.copy(self.optimizer)
        optimizer.param_groups = [dict(group) for group in self.optimizer.param_groups]
        optimizer.load_state_dict(progress)
        for k, s in self.schedules.items():
            copy.deepcopy(s, {id(self.optimizer): optimizer}).load_state_dict(numbers["schedules"][k])
        return parts["model"], progress


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
