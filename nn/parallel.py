"""Training on several processes and machines: data-parallel, over MPI.

Every rank holds the whole model, takes its rows of the batch that one process would take, and adds its
gradients to those of the others; so all make the same step. Ranks that are not at the same place, or do not
have the same numbers, are told of it; one that is gone ends the job. Imports mpi4py where it is used.
"""
import atexit
import functools
import json
import os
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .layers.module import Module
from .layers.norm import BatchNorm1d, BatchNorm2d

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")  # what mpiexec of MPICH, of Open MPI, tells its processes
LAUNCHED = (*SIZES, "PMIX_RANK")  # Slurm's srun tells the last one only
PATIENCE = 2.0  # seconds for what a rank that is gone had sent before
GONE = 1  # tag of a message


class World:
    """The processes that train together; without a communicator, this one alone.

    Where a method is said to be collective, all ranks must call it, in the same order.

    Args:
        comm: a communicator of mpi4py's.
        timeout: seconds to wait for the other ranks. Whoever waits longer, or for one that has ended, raises
            TimeoutError; where that ends the process, `MPI_Abort` ends all.

    Attributes:
        rank, size: which process this is, from 0, and of how many.
        share: this rank's part of the batch whose rows it took last, between 0 and 1.

    Example:
        >>> one = World()
        >>> one.rank, one.size, one.part(np.arange(5)).tolist()
        (0, 1, [0, 1, 2, 3, 4])
    """

    def __init__(self, comm: Any = None, timeout: float = 600.0) -> None:
        self.rank, self.size = (0, 1) if comm is None else (comm.rank, comm.size)
        self.timeout = tg.arguments.number(timeout, "World", "timeout", 0)
        self.share = 1.0
        if self.size > 1:
            self._comm, self._waits = comm.Dup(), False
            atexit.register(self._leave)

    def __repr__(self) -> str:
        return f"World(rank {self.rank} of {self.size})"

    def __deepcopy__(self, memo: Any) -> "World":
        """The same: a copy of a model trains in the same world."""
        return self

    # ----- a batch -----

    def part(self, batch: Any) -> Any:
        """This rank's rows of a batch, (N, ...) or a tuple of such, that all ranks have; collective.

        Of N rows each takes N / size, one more or less. Where there are fewer rows than ranks, one that gets
        none is given a row of zeros, and `share` is 0.

        Raises:
            RuntimeError: if the ranks have different batches.

        Example:
            >>> x, y = World().part((np.zeros((3, 2)), np.arange(3)))
            >>> y.tolist()
            [0, 1, 2]
        """
        if self.size > 1:
            self.meet("a batch", _digest(batch))
        return self._rows(batch)

    def _rows(self, batch: Any) -> Any:
        if self.size == 1 or batch is None:
            return batch
        if isinstance(batch, tuple):
            return tuple([self._rows(b) for b in batch])
        n = len(batch)
        first, end = n * self.rank // self.size, n * (self.rank + 1) // self.size
        self.share = (end - first) / n if n else 1.0
        if n and first == end:
            return np.zeros((1, *np.shape(batch)[1:]), np.asarray(batch[:1]).dtype)
        return batch[first:end]

    # ----- collective -----

    def sum(self, numbers: Iterable[float]) -> list[float]:
        """The sums over all ranks; collective.

        Example:
            >>> World().sum([1.0, 2.0])
            [1.0, 2.0]
        """
        numbers = list(numbers)
        return self.total(np.array(numbers, np.float64)).tolist() if self.size > 1 else numbers

    def total(self, a: np.ndarray) -> np.ndarray:
        """The sum of an array over all ranks, float16 in float32; on each the same bits; collective."""
        wide = np.array(a, np.float32 if a.dtype == np.float16 else a.dtype, order="C")
        if self.size > 1:
            self._wait(self._comm.Iallreduce(_mpi().IN_PLACE, wide), "a sum")
        return wide.astype(a.dtype, copy=False)

    def sum_gradients(self, parameters: Iterable[tg.Tensor]) -> None:
        """Give each parameter the sum of its gradients over all ranks, in one message a dtype; collective.

        Before it, `loss.backward(world.share)` on each makes them parts of the gradient of the whole batch.
        A parameter without a gradient on one rank counts as zeros there; without one on all it stays so.

        Example:
            >>> p = tg.tensor([3.0], requires_grad=True)
            >>> (p * p).sum().backward()
            >>> World().sum_gradients([p])
            >>> p.grad.tolist()
            [6.0]
        """
        by_dtype: dict[np.dtype, list[tg.Tensor]] = {}
        for p in parameters if self.size > 1 else ():
            by_dtype.setdefault(p.dtype, []).append(p)
        for dtype, group in by_dtype.items():
            there = np.array([p.grad is not None for p in group], dtype)
            flat = self.total(np.concatenate([there] + [
                np.zeros(p.size, dtype) if p.grad is None else p.grad.numpy().ravel() for p in group]))
            pieces = np.split(flat, len(group) + np.cumsum([0, *[p.size for p in group]])[:-1])[1:]
            for p, n, g in zip(group, flat, pieces):
                p.grad = tg.tensor(g.reshape(p.shape)) if n else None

    def meet(self, place: str, *same: Any, pressed: int = 0) -> int:
        """Go on when all ranks are at this place, with the same numbers; collective.

        Returns:
            the most that is `pressed` on a rank.

        Raises:
            RuntimeError: if some are elsewhere or have other numbers; on all ranks.

        Example:
            >>> World().meet("the start", 3, pressed=1)
            1
        """
        if self.size == 1:
            return pressed
        mine = np.array([zlib.crc32(f"{place} {same}".encode()), pressed], np.int64)
        found = np.empty((self.size, 2), np.int64)
        self._wait(self._comm.Iallgather(mine, found), place)
        if others := np.flatnonzero(found[:, 0] != mine[0]).tolist():
            raise RuntimeError(f"nn.parallel: rank {self.rank} is at {place} with {same}, ranks {others} are "
                               f"elsewhere or have other numbers; all must train the same model on the same "
                               f"batches, shuffled by the same seed, and dropout have a generator of its own")
        return int(found[:, 1].max())

    def equalise(self, model: Module, generators: Iterable[np.random.Generator] = ()) -> None:
        """Give all ranks rank 0's parameters, buffers and generators; collective."""
        if self.size == 1:
            return
        state = model.state_dict()
        self.meet("the model", [(name, a.shape, a.dtype.name) for name, a in state.items()])
        model.load_state_dict({name: self._of_rank_0(a) for name, a in state.items()})
        for g in generators:
            g.bit_generator.state = self._state_of_rank_0(g)

    def part_generators(self, model: Module) -> None:
        """Give the generators of a model (dropout) a stream of its own on each rank, made of rank 0's, which
        goes on in its own; collective."""
        for _, g in model.named_generators() if self.size > 1 else ():
            state = self._state_of_rank_0(g)
            if self.rank:
                own = np.random.SeedSequence([self.rank, *json.dumps(state).encode()])
                g.bit_generator.state = type(g.bit_generator)(own).state

    def average_buffers(self, model: Module) -> None:
        """Give all ranks the means of the buffers of floats: running statistics; then compare all that the
        model holds; collective.

        Raises:
            RuntimeError: if the parameters are not the same on all ranks.
        """
        if self.size == 1:
            return
        buffers = [b for b in model.buffers() if b.dtype.kind == "f"]
        means = [self.total(b.numpy() / self.size) for b in buffers]
        tg.change(buffers, lambda _: means)
        self.meet("the weights", zlib.crc32(b"".join(a.tobytes() for a in model.state_dict().values())))

    def _of_rank_0(self, a: np.ndarray) -> np.ndarray:
        copy = np.array(a, order="C")
        self._wait(self._comm.Ibcast(copy.reshape(-1).view(np.uint8)), "what rank 0 has")
        return copy

    def _state_of_rank_0(self, g: np.random.Generator) -> Any:
        text = np.frombuffer(_text(g).encode(), np.uint8)
        length = self._of_rank_0(np.array(len(text))).item()
        return json.loads(self._of_rank_0(np.resize(text, length)).tobytes())

    # ----- waiting, and the end -----

    def _wait(self, request: Any, place: str) -> None:
        """Wait without holding the core, which another rank may need, nor for a rank that is gone."""
        begin, gone, self._waits = time.monotonic(), 0.0, True
        while not request.Test():
            waited = time.monotonic() - begin
            time.sleep(5e-5 if waited > 0.02 else 0)
            if not gone and waited > 0.01 and self._comm.Iprobe(tag=GONE):
                gone = waited + PATIENCE
            if waited > min(gone or self.timeout, self.timeout):
                others = "ranks that have ended" if gone else "ranks that did not come"
                raise TimeoutError(f"nn.parallel: rank {self.rank} waited {waited:.0f} s at {place} for "
                                   f"{others}")
        self._waits = False

    def _leave(self) -> None:
        """This process ends: whoever waits for it is to know; where it has waited in vain itself, all end."""
        if self._waits:  # MPI's own end would wait again
            try:
                sys.stdout.flush()
            finally:
                self._comm.Abort(1)
        for rank in range(self.size):
            if rank != self.rank:
                self._comm.Isend(np.zeros(0, np.uint8), rank, GONE)


def world(timeout: float = 600.0) -> World:
    """The processes that `mpiexec` has started, each with its share of the machine's threads.

    Without mpiexec, this process alone.

    Args:
        timeout: seconds to wait for the other ranks before an error ends the job.

    Raises:
        ImportError: under mpiexec without mpi4py; names the extra.
        RuntimeError: if mpi4py speaks another MPI than this mpiexec.

    Example:
        >>> world()
        World(rank 0 of 1)
    """
    if not any([name in os.environ for name in LAUNCHED]):
        return World()
    comm = _mpi().COMM_WORLD
    launched = max([int(os.environ.get(name, comm.size)) for name in SIZES])
    if comm.size != launched:
        raise RuntimeError(f"nn.parallel: mpiexec has started {launched} processes, mpi4py sees {comm.size}; "
                           f"they are of different MPIs: use the mpiexec beside this Python, or build mpi4py "
                           f"with the system's (pip install --no-binary mpi4py mpi4py)")
    here = comm.Split_type(_mpi().COMM_TYPE_SHARED).size
    tg.set_num_threads(max(1, tg.get_num_threads() // here))
    return World(comm, timeout)


def _digest(batch: Any) -> int:
    parts = batch if isinstance(batch, tuple) else (batch,)
    return zlib.crc32(b"".join([np.asarray(b).tobytes() for b in parts if b is not None]))


def _text(g: np.random.Generator) -> str:
    return json.dumps(g.bit_generator.state, default=lambda a: a.tolist())


def _mpi() -> Any:
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as e:  # the latter: there is no MPI library
        raise ImportError(f"nn.parallel needs mpi4py and MPI ({e}); install the extra: pip install "
                          f"'tinygrad_conv[mpi]'") from None
    return MPI


# ----- batch norm over all ranks -----


@tg.primitive
def summed(x, *, world):
    """The sum of x over all ranks of a world: its own adjoint."""
    return world.total(x)


summed.defvjp(lambda g, ans, x, *, world: summed(g, world=world))
summed.defjvp("same")
summed.defsaved()


def sync_batch_norm(model: Module, world: World) -> None:
    """Make a model's BatchNorm layers take mean and variance over the batches of all ranks, in training.

    Then several ranks compute what one process does, to rounding; it takes each layer five short messages a
    step.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        >>> sync_batch_norm(net, World())
    """
    for m in model.modules():
        if isinstance(m, BatchNorm1d | BatchNorm2d) and world.size > 1:
            m.op = functools.partial(_batch_norm, world)


def _batch_norm(world: World, x: tg.Tensor, running_mean: tg.Tensor | None, running_var: tg.Tensor | None,
                weight: Any, bias: Any, training: bool, momentum: float | None, eps: float, *,
                num_batches_tracked: tg.Tensor | None) -> tg.Tensor:
    """`tg.batch_norm` with the statistics of all ranks; the rows that stand in for none do not count."""
    if not training:
        return tg.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    axes, channels = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    own = slice(None if world.share else 0)
    n = world.sum([x[own].size / x.shape[1]])[0]
    if n == 1:
        raise ValueError(f"batch_norm: training needs more than one value per channel on all ranks together, "
                         f"got shape {x.shape} on rank {world.rank}; use larger batches")
    mean = summed(x[own].sum(axes), world=world) / n
    off = x - mean.reshape(channels)
    var = summed((off[own] ** 2).sum(axes), world=world) / n
    y = off * ((var + eps) ** -0.5).reshape(channels)

    def learned(old: list[np.ndarray]) -> Iterator[Any]:
        new = 1 / (int(old[-1]) + 1) if momentum is None else momentum
        yield (1.0 - new) * old[0] + new * mean.detach().numpy()
        yield (1.0 - new) * old[1] + new * var.detach().numpy() * (n / (n - 1))
        yield old[2] + 1
    if running_mean is not None and running_var is not None and num_batches_tracked is not None:
        tg.change([running_mean, running_var, num_batches_tracked], learned)
    for f, t in ((tg.mul, weight), (tg.add, bias)):
        y = y if t is None else f(y, t.reshape(channels))
    return y
