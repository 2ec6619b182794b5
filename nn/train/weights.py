"""Weights in files: safetensors, written atomically, read without running any code."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tinygrad_conv as tg

from ..layers.module import Module


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError("weights are kept in safetensors files; install the extra: pip install "
                          "'tinygrad_conv[train]'") from None
    return safetensors


def _to_save(name: Any, value: Any) -> np.ndarray:
    array = np.array(value, order="C")
    if not isinstance(name, str) or array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(f"save: expects numeric arrays by name, got {array.dtype} at {name!r}")
    if name == "__metadata__":
        raise ValueError("save: the format keeps the name '__metadata__' for itself; use another")
    _text(name)
    return array


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError(f"save: metadata is text by name, got {type(text).__name__}; use str() or json")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueError(f"save: {text!r} cannot be written as text: {e.reason}") from None
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
        ImportError: without safetensors; names the extra.

    Example:
        >>> import nn, tempfile
        >>> net = nn.Linear(3, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save(net, folder + "/net.safetensors")
        ...     sorted(nn.load(folder + "/net.safetensors"))
        ['bias', 'weight']
    """
    state = model.state_dict() if isinstance(model, Module) else model
    if not isinstance(state, Mapping):
        raise TypeError(f"save: expects a module or a mapping of names to arrays, got "
                        f"{type(model).__name__}")
    arrays = {name: _to_save(name, value) for name, value in state.items()}
    notes = {_text(key): _text(text) for key, text in (metadata or {}).items()}
    library = _safetensors()
    try:
        tg.write_atomically(path, lambda temporary: library.numpy.save_file(
            arrays, temporary, metadata=notes or None))
    except library.SafetensorError as e:
        raise OSError(f"save: {os.fspath(path)!r} could not be written and was left as it was: {e}"
                      ) from None


def load_with_metadata(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file by name, and the text kept beside them.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"load: there is no file {os.fspath(path)!r}")
    library = _safetensors()
    try:
        with library.safe_open(path, framework="numpy") as f:
            names = f.keys()
            return {name: f.get_tensor(name) for name in names}, dict(f.metadata() or {})
    except (TypeError, AttributeError) as e:  # bfloat16, float8
        raise ValueError(f"load: {os.fspath(path)!r} holds numbers of a type NumPy does not have ({e}); "
                         f"convert them to float32 where the file was made") from None
    except (library.SafetensorError, OSError) as e:
        raise ValueError(f"load: {os.fspath(path)!r} is not a whole safetensors file ({e}); it may be "
                         f"truncated, or of another format") from None


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, for `model.load_state_dict`.

    Raises:
        FileNotFoundError, ValueError: if there is no such file, or it is damaged.
        ImportError: without safetensors; names the extra.

    Example:
        >>> import nn, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     nn.save({"a": np.ones(3)}, f"{folder}/a.safetensors")
        ...     nn.load(f"{folder}/a.safetensors")
        {'a': array([1., 1., 1.])}
    """
    return load_with_metadata(path)[0]
