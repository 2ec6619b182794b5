"""What is kept of a training run in files: weights alone, or everything on which the rest of it depends.

Files are safetensors: arrays by name and, in the header, text; a run's numbers are JSON there. They are
written atomically, and reading them runs no code.
"""
import json
import os
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
    array = np.array(value, order="C")
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
    state = model.state_dict() if isinstance(model, Module) else model
    tg.arguments.instance(state, Mapping, "save", "a module or a mapping of names to arrays")
    arrays = {name: _to_save(name, value) for name, value in state.items()}
    notes = {_text(key): _text(text) for key, text in (metadata or {}).items()}
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        tg.write_atomically(path, lambda temporary: save_file(
            arrays, temporary, metadata=notes or None))
    except SafetensorError as e:
        raise OSError(f"save: {os.fspath(path)!r} could not be written and was left as it was: {e}"
                      ) from None


def load_with_metadata(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and the text kept beside them.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {os.fspath(path)!r}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as f:
            return {name: f.get_tensor(name) for name in f.keys()}, dict(f.metadata() or {})
    except (TypeError, AttributeError) as e:  # bfloat16, float8
        raise ValueError(f"load: {os.fspath(path)!r} holds numbers of a type NumPy does not have ({e}); "
                         f"convert them to float32 where the file was made") from None
    except (SafetensorError, OSError) as e:
        raise ValueError(f"load: {os.fspath(path)!r} is not a whole safetensors file ({e}); it may be "
                         f"truncated, or of another format") from None


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, for `model.load_state_dict`.

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

    def _restore(self, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        """Make the run what `_contents` says."""
        parts = {part: {k.removeprefix(part): v for k, v in arrays.items() if k.startswith(part)}
                 for part in ("model.", "optimizer.")}
        self.model.load_state_dict(parts["model."])
        self.optimizer.load_state_dict({"arrays": parts["optimizer."], "groups": numbers["groups"]})
        for k, s in self.schedules.items():
            s.load_state_dict(numbers["schedules"][k])
        for k, g in self.generators.items():
            g.bit_generator.state = numbers["generators"][k]
        self.history.rows = numbers["history"]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run; the file at `path` is whole at any moment."""
        arrays, numbers = self._contents()
        save(arrays, path, {"format": FORMAT, "run": json.dumps(numbers, default=lambda a: a.tolist())})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Restore the run as it was when `path` was written; on an error nothing has changed.

        Raises:
            FileNotFoundError, ValueError, RuntimeError: if the file is missing, damaged, not a
                checkpoint, or of another model, optimiser, schedule or generator.
        """
        arrays, metadata = load_with_metadata(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"load: {os.fspath(path)!r} is not a checkpoint (format "
                             f"{metadata.get('format')!r}, expected {FORMAT!r})")
        before = self._contents()
        try:
            numbers = json.loads(metadata["run"])
            for kind, own in (("schedules", self.schedules), ("generators", self.generators)):
                if set(numbers[kind]) != set(own):
                    raise ValueError(f"it holds {kind} {sorted(numbers[kind])}, this run has {sorted(own)}")
            if not isinstance(numbers["history"], list) or not all(isinstance(row, dict)
                                                                   for row in numbers["history"]):
                raise ValueError("its history is not a list of rows")
            self._restore(arrays, numbers)
        except BaseException as e:
            self._restore(*before)
            if not isinstance(e, KeyError | TypeError | ValueError):
                raise
            raise ValueError(f"load: {os.fspath(path)!r} does not fit this run, or is damaged: "
                             f"{f'there is no {e}' if isinstance(e, KeyError) else e}") from None
