"""A training run in a file: weights, optimiser, schedules, generators and history.

One safetensors file holds the arrays, and the numbers as JSON in its header. It is written atomically,
and loading it runs no code.
"""
from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from .history import History
from ..layers.module import Module
from ..optim.optimizer import Optimizer
from .weights import load_with_metadata, save

FORMAT = "tinygrad_conv checkpoint 1"


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
        self.model, self.optimizer = model, optimizer
        self.schedules = {k: s for k, s in schedules.items() if s is not None}
        inside = {f"model.{name}": g for name, g in model.named_generators()}
        given = {k: g for k, g in generators.items() if isinstance(g, np.random.Generator)}
        self.generators = {**given, **inside}
        self.history = history

    def _parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The run as arrays and numbers."""
        optimizer = self.optimizer.state_dict()
        arrays = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        arrays.update({f"optimizer.{k}": v for k, v in optimizer["arrays"].items()})
        return arrays, {"groups": optimizer["groups"],
                        "schedules": {k: s.state_dict() for k, s in self.schedules.items()},
                        "generators": {k: g.bit_generator.state for k, g in self.generators.items()},
                        "history": list(self.history.rows)}

    def _put(self, arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> None:
        """Make the run what `_parts` says."""
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
        arrays, numbers = self._parts()
        save(arrays, path, {"format": FORMAT, "run": json.dumps(numbers, default=_plain)})

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
        before = self._parts()
        try:
            numbers = json.loads(metadata["run"])
            for kind, own in (("schedules", self.schedules), ("generators", self.generators)):
                if set(numbers[kind]) != set(own):
                    raise ValueError(f"it holds {kind} {sorted(numbers[kind])}, this run has {sorted(own)}")
            rows = numbers["history"]
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("its history is not a list of rows")
            self._put(arrays, numbers)
        except BaseException as e:
            self._put(*before)
            if not isinstance(e, KeyError | TypeError | ValueError):
                raise
            what = f"there is no {e}" if isinstance(e, KeyError) else e
            raise ValueError(f"load: {os.fspath(path)!r} does not fit this run, or is damaged: "
                             f"{what}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"checkpoint: cannot save {type(value).__name__}")
