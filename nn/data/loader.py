"""Batches of a data set, epoch by epoch: put together here, or ahead of the loop in threads."""
from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np

import tinygrad_conv as tg

from .augment import Joint, Transform
from .sampling import Sampler

T = TypeVar("T")
S = TypeVar("S")
AHEAD = 2  # batches a thread may be ahead of the loop


def collate(samples: Sequence[Any], pad: float | None = None) -> Any:
    """One batch of a list of samples: what lies at the same place in each is stacked along a new first axis.

    Args:
        samples: arrays or numbers, tuples or dicts of them, all built alike. Texts become a list. Of Python's
            numbers, integers become int64 and floats float32.
        pad: with a number, arrays of unequal shape are filled up with it at their ends, to the largest
            extent along each axis.

    Raises:
        ValueError: if there are no samples, shapes or structures differ. TypeError: for what cannot be
            stacked.

    Example:
        >>> x, y = collate([(np.ones(2), 0), (np.ones(2), 1)])
        >>> x.shape, y.tolist()
        ((2, 2), [0, 1])
        >>> collate([np.ones(1), np.ones(3)], pad=0).tolist()
        [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    if not len(samples):
        raise ValueError("collate: expects at least one sample, got none")
    first = samples[0]
    if isinstance(first, str):
        return list(samples)
    if isinstance(first, dict | tuple | list):
        names = list(first) if isinstance(first, dict) else range(len(first))
        for i, sample in enumerate(samples):
            if type(sample) is not type(first) or len(sample) != len(first) or (
                    isinstance(first, dict) and [*sample] != names):
                raise ValueError(f"collate: sample {i} is built otherwise than sample 0: {_kind(sample)}, "
                                 f"{_kind(first)}")
        parts = [collate([sample[name] for sample in samples], pad) for name in names]
        return dict(zip(names, parts)) if isinstance(first, dict) else tuple(parts)
    arrays = [_array(sample) for sample in samples]
    shapes = {a.shape: i for i, a in reversed([*enumerate(arrays)])}
    if len(shapes) > 1 and pad is None:
        (one, i), (other, j) = sorted(shapes.items(), key=lambda item: item[1])[:2]
        raise ValueError(f"collate: samples {i} and {j} have shapes {one} and {other}; give them one size "
                         f"(size= of an ImageFolder, a crop or nn.data.resize as augment=), or pad them: "
                         f"collate_fn=functools.partial(nn.data.collate, pad=0)")
    return np.stack(arrays) if len(shapes) == 1 else _padded(arrays, pad)


def _kind(sample: Any) -> str:
    inner = [*sample] if isinstance(sample, dict) else len(sample) if isinstance(sample, tuple | list) else ""
    return f"{type(sample).__name__} {inner}".strip()


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value, np.float32 if type(value) is float else None)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"collate: expects arrays, numbers, texts, tuples and dicts, got "
                        f"{type(value).__name__}")
    return array


def _padded(arrays: list[np.ndarray], pad: Any) -> np.ndarray:
    if len({a.ndim for a in arrays}) > 1:
        raise ValueError(f"collate: arrays of {sorted({a.ndim for a in arrays})} axes cannot be padded to "
                         f"one shape")
    batch = np.full((len(arrays), *np.max([a.shape for a in arrays], axis=0)), pad, np.result_type(*arrays))
    for row, a in zip(batch, arrays):
        row[tuple(map(slice, a.shape))] = a
    return batch


def _stream(key: np.ndarray, number: int) -> np.random.Generator:
    """One of 2**64 generators of a key, whose numbers have nothing to do with each other: the last word of
    Philox's counter, which no stream reaches by counting."""
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, number]))


def _changed(transform: Transform | Joint, batch: tuple[Any, ...], rng: Any) -> tuple[Any, ...]:
    """A batch after a transform of its inputs, or of inputs and targets."""
    if isinstance(transform, Joint):
        if len(batch) != 2:
            raise ValueError(f"DataLoader: a Joint changes batches (x, y), got {len(batch)} arrays")
        return transform(*batch, rng)  # type: ignore[call-arg]
    return transform(batch[0], rng), *batch[1:]


def ahead(work: Callable[[T], S], items: Iterable[T], workers: int) -> Iterator[S]:
    """What `work` gives for each item, in their order, computed by threads a bounded way ahead.

    An error is raised where its item's turn is. When this ends, in whatever way, so have the threads. They
    wait in C: an interrupt leaves no lock taken, and daemons do not hold up the end of the process.

    Example:
        >>> list(ahead(lambda n: n * n, range(5), workers=2))
        [0, 1, 4, 9, 16]
    """
    tasks: SimpleQueue[Any] = SimpleQueue()
    answers: deque[SimpleQueue[tuple[Any, BaseException | None]]] = deque()

    def serve() -> None:
        while (task := tasks.get()) is not None:
            item, answer = task
            try:
                answer.put((work(item), None))
            except BaseException as e:
                answer.put((None, e))
            del task, item, answer  # nothing is kept while it waits

    def next_answer() -> S:
        value, error = answers.popleft().get()
        if error is not None:
            raise error
        return value

    threads = [threading.Thread(target=serve, name="nn.data.DataLoader", daemon=True) for _ in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for item in items:
            answers.append(SimpleQueue())
            tasks.put((item, answers[-1]))
            if len(answers) >= AHEAD * workers:
                yield next_answer()
        while answers:
            yield next_answer()
    finally:
        with suppress(Empty):
            while True:
                tasks.get_nowait()
        for _ in threads:
            tasks.put(None)
        for thread in threads:
            if thread.is_alive():
                thread.join()


class DataLoader:
    """Iterates over (x, y) batches of arrays; each `for` is an epoch.

    Args:
        dataset: has a length; `dataset[array of indices]` returns a tuple of arrays.
        batch_size: samples per batch; the last may have fewer.
        shuffle: a new order every epoch.
        rng: the generator of the order, of `transform` and of `augment`. An epoch depends on its state alone,
            so saving that is enough to resume exactly.
        drop_last: leave out a last batch that is not full.
        transform: `transform(x, rng)` changes the inputs of a batch (augmentation), or an `nn.data.Joint`
            the targets too.
        sampler: gives the indices of an epoch instead of `shuffle`, such as `nn.data.StratifiedSampler`.
        augment: the same as `transform`, for each sample, as a batch of one and with a generator of its own:
            what sample i is in epoch e depends on the state `rng` began with, e and i, and neither on the
            order, nor on the batch size or on threads. Slower than `transform`. Samples may have
            different sizes before it.
        num_workers: threads that read, augment and put together the next batches while one is used; 0 does
            that when a batch is asked for. `dataset[...]`, `augment` and `collate_fn` run in them.
        collate_fn: makes a batch of a list of samples `dataset[i]`; `nn.data.collate` if there is `augment`,
            else `dataset` makes it itself.

    Raises:
        TypeError: for a list or a bare array, or if `shuffle`, `sampler`, `transform` or `augment` is asked
            for without `rng`. ValueError: for `shuffle` with `sampler`.

    Example:
        >>> import nn
        >>> data = nn.data.Dataset(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5))
        >>> [len(y) for x, y in DataLoader(data, 2)], len(DataLoader(data, 2, drop_last=True))
        ([2, 2, 1], 2)
    """

    def __init__(self, dataset: Any, batch_size: int = 64, shuffle: bool = False,
                 rng: np.random.Generator | None = None, drop_last: bool = False,
                 transform: Transform | Joint | None = None, *, sampler: Sampler | None = None,
                 augment: Transform | Joint | None = None, num_workers: int = 0,
                 collate_fn: Callable[[list[Any]], Any] | None = None) -> None:
        if isinstance(dataset, list | tuple | np.ndarray | dict | str) or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: expects a data set, which takes an array of indices and gives a "
                            f"tuple of arrays, got {type(dataset).__name__}; pass nn.data.Dataset(x, y)")
        self.batch_size = tg.arguments.whole(batch_size, "DataLoader", "batch_size", 1)
        self.num_workers = tg.arguments.whole(num_workers, "DataLoader", "num_workers", 0)
        if sampler is not None and not (callable(sampler) and hasattr(sampler, "__len__")):
            raise TypeError(f"DataLoader: sampler must have a length and be a function of rng, such as "
                            f"nn.data.StratifiedSampler(labels), got {type(sampler).__name__}; for a fixed "
                            f"order pass nn.data.Subset(dataset, indices)")
        if sampler is not None and shuffle:
            raise ValueError("DataLoader: sampler decides the order, leave out shuffle")
        if shuffle or transform or sampler is not None or augment:
            needs = "sampler or augment" if sampler is not None or augment else "shuffle or transform"
            tg.arguments.generator(rng, f"DataLoader with {needs}")
        self.rng: Any = rng
        self.dataset, self.shuffle, self.drop_last, self.transform = dataset, shuffle, drop_last, transform
        self.sampler, self.augment, self.collate_fn = sampler, augment, collate_fn

    def __len__(self) -> int:
        n = len(self.dataset) if self.sampler is None else len(self.sampler)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __repr__(self) -> str:
        options = [f"{name}={value!r}" for name, value in (
            ("batch_size", self.batch_size), ("shuffle", self.shuffle), ("drop_last", self.drop_last),
            ("transform", self.transform), ("sampler", self.sampler), ("augment", self.augment),
            ("num_workers", self.num_workers), ("collate_fn", self.collate_fn)) if value]
        return f"DataLoader({self.dataset!r}, {', '.join(options)}): {len(self)} batches"

    def _order(self, rng: Any) -> np.ndarray:
        if self.sampler is not None:
            return np.asarray(self.sampler(rng))
        return rng.permutation(len(self.dataset)) if self.shuffle else np.arange(len(self.dataset))

    def _sample(self, index: int, key: np.ndarray | None) -> Any:
        sample = self.dataset[index]
        if self.augment is None or key is None:
            return sample
        if not isinstance(sample, tuple | list):
            raise TypeError(f"DataLoader: augment changes samples (x, ...), {type(self.dataset).__name__}"
                            f"[{index}] is a {type(sample).__name__}")
        one = tuple(np.asarray(part)[None] for part in sample)
        return tuple(part[0] for part in _changed(self.augment, one, _stream(key, index + 1)))

    def _batch(self, indices: np.ndarray, key: np.ndarray | None) -> Any:
        if self.augment is None and self.collate_fn is None:
            batch = self.dataset[indices]
        else:
            batch = (self.collate_fn or collate)([self._sample(int(i), key) for i in indices])
        if isinstance(batch, dict) and self.transform is None:
            return batch
        if not isinstance(batch, tuple | list):  # rows would be taken for inputs and targets
            raise TypeError(f"DataLoader: {type(self.dataset).__name__}[array of indices] must give a "
                            f"tuple of arrays, got {type(batch).__name__}; return (x[index], y[index])")
        return tuple(batch)

    def __iter__(self) -> Iterator[Any]:
        rng, key = self.rng, None
        if self.augment is not None:  # one key an epoch: how it is gone through changes no later one
            key = rng.integers(1 << 64, size=2, dtype=np.uint64)
            rng = _stream(key, 0)
        order, size = self._order(rng), self.batch_size
        parts = [order[i * size:(i + 1) * size] for i in range(len(self))]
        load = functools.partial(self._batch, key=key)
        if not self.num_workers:
            batches: Any = (load(part) for part in parts)
        else:
            batches = ahead(load, parts, self.num_workers)
        with closing(batches):
            for batch in batches:
                yield _changed(self.transform, batch, rng) if self.transform else batch
