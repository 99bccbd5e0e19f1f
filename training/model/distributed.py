"""The processes of a run: one by default, several under `torchrun`, by torch.distributed alone.

A run of one process takes the same path: gathering gives back what it was given. torchrun sets RANK, WORLD_SIZE and
LOCAL_RANK; nothing else decides.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

T = TypeVar("T")

PATIENCE = datetime.timedelta(hours=2)  # the others wait so long while the first measures and writes


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those of the run."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that measures, writes and prints."""
        return self.rank == 0

    def everyone(self, value: T) -> list[T]:
        """What each process has, in their order."""
        if self.world == 1:
            return [value]
        values: list[T | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        """The rows of all processes in their order, with the gradient that goes back to each.

        Args:
            rows: (counts[rank], ...) of this process.
            counts: rows of each.

        Returns:
            (sum(counts), ...). The gradient of every process's loss comes back to the rows, summed: averaged over
            processes, as DistributedDataParallel does, it is that of the mean loss.
        """
        if self.world == 1:
            return rows
        width = max(counts)
        padded = F.pad(rows, (0, 0) * (rows.ndim - 1) + (0, width - len(rows)))  # a collective wants equal sizes
        everyone = _Gather.apply(padded.contiguous(), self.rank, self.world)  # type: ignore[no-untyped-call]
        return torch.cat([everyone[r * width : r * width + count] for r, count in enumerate(counts)])

    def from_first(self, value: T) -> T:
        """What the first process has."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until all are here."""
        if self.world > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    """Equally many rows of each process -> those of all, and back: a process's own rows get the sum of all gradients.

    Not torch's functional collectives: they keep the process group alive past its end, and a thread of it that is still
    at work when Python ends aborts the process.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, world: int) -> Tensor:
        ctx.rank, ctx.rows = rank, len(rows)
        everyone = [torch.empty_like(rows) for _ in range(world)]
        dist.all_gather(everyone, rows)
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rank * ctx.rows : (ctx.rank + 1) * ctx.rows], None, None


def is_first() -> bool:
    """Whether this process is the first, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """The place of this process in the run, by torchrun's environment; alone without it."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world)
        dist.barrier()  # FSDP keeps the group alive too: what its threads have to do is over then
    finally:
        dist.destroy_process_group()
