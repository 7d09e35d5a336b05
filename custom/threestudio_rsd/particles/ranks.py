"""Particles that are spread over processes (ranks) of torch.distributed: each rank holds consecutive ones.

Without a process group there is one rank, which holds all particles, and nothing here communicates.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import UserError, first_line, shorten

T = TypeVar("T")
# Words in the errors of torch.distributed where another process has ended or does not answer
LOST = ("connection", "gloo", "nccl", "socket", "timed out", "timeout", "broken pipe", "store", "rendezvous")
LONGEST = 120  # characters of such an error that are quoted


class RankError(UserError):
    """Another process of the run has ended or cannot be reached."""


@dataclass(frozen=True)
class Shard:
    """The particles of one rank among those of all ranks.

    Attributes:
        counts: number of particles of each rank.
        rank: index of this rank.

    Example:
        >>> [Shard.of(5, rank, n_ranks=2).indices for rank in range(2)]
        [range(0, 3), range(3, 5)]
        >>> Shard.of(5, rank=1, n_ranks=2).views(2).indices  # rows of two views of each particle
        range(6, 10)
    """

    counts: tuple[int, ...]
    rank: int = 0

    @classmethod
    def whole(cls, total: int) -> "Shard":
        """All particles in one process."""
        return cls((total,))

    @classmethod
    def of(cls, total: int, rank: int, n_ranks: int) -> "Shard":
        """Particles of a rank; the first ranks hold one more where the number of ranks does not divide N."""
        share, rest = divmod(total, n_ranks)
        return cls(tuple(share + (each < rest) for each in range(n_ranks)), rank)

    @classmethod
    def own(cls, total: int) -> "Shard":
        """Particles of this process."""
        return cls.of(total, rank(), n_ranks())

    def views(self, v: int) -> "Shard":
        """Rows of V views of each particle, one particle after the other."""
        return Shard(tuple(v * count for count in self.counts), self.rank)

    @property
    def total(self) -> int:
        """Number of particles of all ranks, N."""
        return sum(self.counts)

    @property
    def count(self) -> int:
        """Number of particles of this rank."""
        return self.counts[self.rank]

    @property
    def first(self) -> int:
        """Index of the first particle of this rank."""
        return sum(self.counts[: self.rank])

    @property
    def indices(self) -> range:
        """Indices of the particles of this rank."""
        return range(self.first, self.first + self.count)

    @property
    def rows(self) -> slice:
        """The particles of this rank, as a slice of all."""
        return slice(self.first, self.first + self.count)

    @property
    def is_whole(self) -> bool:
        """Whether there is one rank."""
        return len(self.counts) == 1


def n_ranks() -> int:
    """Number of processes of the run."""
    return dist.get_world_size() if _has_group() else 1


def rank() -> int:
    """Index of this process in the run; 0 if it is the only one."""
    return dist.get_rank() if _has_group() else 0


def gather_rows(values: Tensor, shard: Shard, dim: int = 0) -> Tensor:
    """Rows of all ranks in the order of the particles, on every rank; without gradient.

    Args:
        values: rows of this rank, of which axis `dim` has shard.count.
        shard: rows of each rank.
        dim: axis of the rows.

    Returns:
        The same with shard.total rows.

    Raises:
        RankError: another rank cannot be reached.
    """
    if shard.is_whole:
        return values
    rows = values.detach().movedim(dim, 0).contiguous()
    padded = rows.new_zeros(max(shard.counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in shard.counts]
    with reachable():
        dist.all_gather(parts, padded, group=_group_for(padded))
    return torch.cat([part[:count] for part, count in zip(parts, shard.counts, strict=True)]).movedim(0, dim)


def sum_over_ranks(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by their sums over all ranks, in place, with one message for each dtype and device.

    Raises:
        RankError: another rank cannot be reached.
    """
    if n_ranks() > 1:
        _in_one_message(tensors, lambda flat: dist.all_reduce(flat, group=_group_for(flat)))


def copy_from_rank_0(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by those of rank 0, in place, with one message for each dtype and device.

    Raises:
        RankError: another rank cannot be reached.
    """
    if n_ranks() > 1:
        _in_one_message(tensors, lambda flat: dist.broadcast(flat, src=0, group=_group_for(flat)))


def gather_objects(value: T) -> list[T] | None:
    """Picklable objects of all ranks on rank 0, None on the others; [value] without other ranks.

    Raises:
        RankError: another rank cannot be reached.
    """
    if n_ranks() == 1:
        return [value]
    found: list[Any] | None = [None] * n_ranks() if rank() == 0 else None
    with reachable():
        dist.gather_object(value, found, dst=0, group=_control_group())
    return found


def share(value: T) -> T:
    """Picklable object of rank 0 on every rank.

    Raises:
        RankError: another rank cannot be reached.
    """
    if n_ranks() == 1:
        return value
    values = [value]
    with reachable():
        dist.broadcast_object_list(values, src=0, group=_control_group())
    return values[0]


def largest(value: int) -> int:
    """Largest of the integers of all ranks. It is exchanged between the CPUs, so that no GPU is waited for.

    Raises:
        RankError: another rank cannot be reached.
    """
    if n_ranks() == 1:
        return value
    number = torch.tensor(value)
    with reachable():
        dist.all_reduce(number, op=dist.ReduceOp.MAX, group=_control_group())
    return int(number)


@contextmanager
def reachable() -> Iterator[None]:
    """Context of communication.

    Raises:
        RankError: another process has ended or does not answer.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost(error):
            raise
        reason = shorten(first_line(error), LONGEST)
        raise RankError(f"Another process of this run has ended or cannot be reached: {reason}.") from error


def is_lost(error: BaseException) -> bool:
    """Whether an error of torch.distributed says that another process cannot be reached."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and "out of memory" not in text and any(word in text for word in LOST)


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()


_control: dict[Any, Any] = {}  # process group of the CPUs by the default group


def _control_group() -> Any:
    """Process group of the CPUs, made by the first call, which all ranks make at the same point of the program."""
    default = dist.group.WORLD
    if dist.get_backend() == "gloo":
        return default
    if default not in _control:
        _control.clear()
        _control[default] = dist.new_group(backend="gloo")
    return _control[default]


def _group_for(tensor: Tensor) -> Any:
    """Process group that can send a tensor: NCCL cannot send those of the CPU."""
    return _control_group() if tensor.device.type == "cpu" else dist.group.WORLD


def _in_one_message(tensors: Iterable[Tensor], send: Callable[[Tensor], object]) -> None:
    by_kind: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.numel():
            by_kind.setdefault((tensor.dtype, tensor.device), []).append(tensor)
    for same in by_kind.values():
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
        with reachable():
            send(flat)
        parts = flat.split([tensor.numel() for tensor in same])
        for tensor, part in zip(same, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))
